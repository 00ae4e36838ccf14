"""libhearsay in somebody else's event loop: one descriptor a handle, and no call that waits."""

import os
import re
import socket
import subprocess

import pytest

from cluster import ROOT, SLOW, clean_env, free_ports, install

pytestmark = pytest.mark.skipif(SLOW, reason="the library is the plain build")


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """The example and the probe, with the static library as it would be installed."""
    folder = tmp_path_factory.mktemp("loop")
    install(f"prefix={folder}/usr")

    def build(source):
        out = str(folder / os.path.basename(source)[:-2])
        run("cc", "-std=c99", "-D_POSIX_C_SOURCE=200809L", "-pedantic", "-Wall", "-Wextra",
            "-Werror", f"-I{folder}/usr/include", os.path.join(ROOT, source), "-o", out,
            f"{folder}/usr/lib/libhearsay.a")
        return out

    return build("examples/loop.c"), build("tests/e2e/loop_probe.c")


def run(*command, timeout=240):
    done = subprocess.run(command, cwd=ROOT, env=clean_env(), capture_output=True, text=True,
                          timeout=timeout)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def probe(program, brokers, messages, idle_ms=0, connect_ms=3000, answer_ms=10000, during=None,
          when="100"):
    """`during` is called when it prints `when`: so many receipts are there, or "idle"."""
    process = subprocess.Popen(
        [program, ",".join(brokers), str(messages), str(idle_ms), str(connect_ms), str(answer_ms)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_env())
    try:
        for said in process.stdout:
            if said == when + "\n" and during:
                during()
            last = said
        assert process.wait(60) == 0, process.stderr.read()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
    print(last)
    found = dict(re.findall(r"(receipts|messages|longest_ms|calls|idle_calls) (\d+)", last))
    return {k: int(v) for k, v in found.items()}, last.split()[-1]


def at(*brokers):
    return [f"127.0.0.1:{b.port}" for b in brokers]


def test_idle(programs, broker):
    # Broken if the descriptor is readable while there is nothing to do, or a poll that ended is
    # not followed by another: polls of 1 s, over 5 s.
    got, _ = probe(programs[1], at(broker), 300, idle_ms=5000, answer_ms=2000)
    assert got["receipts"] == got["messages"] == 300
    assert 4 <= got["idle_calls"] < 60, got
    assert got["longest_ms"] < 250, got


def test_idle_without_a_broker(programs, broker):
    # Broken if the end of a connection that waits for nothing leaves the descriptor readable, or
    # brokers that are gone are tried without a pause.
    got, _ = probe(programs[1], at(broker), 300, idle_ms=3000, during=broker.kill, when="idle")
    assert 1 <= got["idle_calls"] < 60, got


def test_a_broker_is_killed(programs, three):
    # Broken if the descriptors do not tell of the failure, or of the broker that takes over.
    a, b, _ = three.brokers
    got, last = probe(programs[1], at(a, b), 3000, during=a.kill)
    assert got["receipts"] == got["messages"] == 3000
    assert last == at(b)[0]
    assert got["longest_ms"] < 250, got


def test_a_broker_stands_still(programs, three):
    # Broken if a call waits for an answer, or nothing wakes the loop when none comes in time.
    a, b, _ = three.brokers
    try:
        got, last = probe(programs[1], at(a, b), 1000, answer_ms=2000, during=a.pause)
    finally:
        a.resume()
    assert got["receipts"] == got["messages"] == 1000
    assert last == at(b)[0]
    assert got["longest_ms"] < 250, got


def test_a_machine_that_says_nothing(programs, broker):
    # Broken if connecting waits: nobody answers at the first address of the list.
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", free_ports(1)[0]))
        silent.listen(0)
        full = []
        try:
            for _ in range(4):  # more than its backlog takes: what comes now is not answered
                s = socket.socket()
                s.setblocking(False)
                s.connect_ex(silent.getsockname())
                full.append(s)
            first = f"127.0.0.1:{silent.getsockname()[1]}"
            got, last = probe(programs[1], [first, *at(broker)], 200, connect_ms=1500)
        finally:
            for s in full:
                s.close()
    assert got["receipts"] == got["messages"] == 200
    assert last == at(broker)[0]
    assert got["longest_ms"] < 250, got
    assert got["calls"] < 20000, got


def test_example(programs, three):
    # Broken if the example loses a line or a message when its broker is killed in between.
    a, b, _ = three.brokers
    process = subprocess.Popen([programs[0], ",".join(at(a, b)), "chat/x", "chat/#"], text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=clean_env())
    try:
        assert process.stdout.readline() == "listening\n"

        def says(text):
            process.stdin.write(text + "\n")
            process.stdin.flush()
            got = sorted(process.stdout.readline() for _ in range(2))
            assert got[0] == f"chat/x: {text}\n" and got[1].startswith("receipt "), got

        says("one")
        a.kill()
        says("two")
        b.publish("chat/y", "from elsewhere")
        assert process.stdout.readline() == "chat/y: from elsewhere\n"
        process.stdin.close()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
