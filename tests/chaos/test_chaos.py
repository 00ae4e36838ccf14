"""Half a minute of chaos, as `make chaos` makes it: the plan is always the same, what comes of it
is not.  MUST=1: that the machine cannot do it is a failure."""

import os
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BIN = os.path.abspath(os.environ.get("BROKER_BIN", os.path.join(ROOT, "build", "hearsay")))
SEED = 9  # in its plan every kind of fault has a turn
SKIPPED = 77


def test_where_it_cannot_run_it_says_so():
    # Broken if a machine without namespaces is told that all is well, or the one that tests for
    # all passes it over.
    for must, code, word in (([], SKIPPED, "skipped"), (["--must"], 1, "FAILED")):
        done = subprocess.run(
            [sys.executable, os.path.join(HERE, "chaos.py"), *must], env={"PATH": "/nowhere"},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        assert done.returncode == code, done.stdout
        assert done.stdout.splitlines()[-1].startswith(f"chaos: {word}: unshare is not installed")


def test_nothing_lost_nothing_hidden_in_30_s():
    # Broken if what a client was told is not true, whatever happened to brokers meanwhile.
    must = ["--must"] if os.environ.get("MUST") else []
    # The sanitized binary is slower: fewer messages, that it is not always behind.
    rate = "2000" if "asan" in BIN else "6000"
    done = subprocess.run(
        [sys.executable, os.path.join(HERE, "chaos.py"), "--build", os.path.dirname(BIN),
         "--seconds", "30", "--seed", str(SEED), "--rate", rate, *must],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    print(done.stdout)
    if done.returncode == SKIPPED:
        pytest.skip(done.stdout.splitlines()[-1])
    assert done.returncode == 0, done.stdout
