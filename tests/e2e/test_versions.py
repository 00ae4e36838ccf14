"""An earlier broker and the one of now: in one cluster, and its file. docs/OPERATIONS.md, Upgrade."""

import os
import subprocess
import tempfile

import pytest

from cluster import BIN, ROOT, SLOW, Broker, clean_env, free_ports, wait_for

KEPT = os.path.join(ROOT, "build", "earlier")


def commit():
    with open(os.path.join(ROOT, "tests", "earlier")) as f:
        return [line.strip() for line in f if not line.startswith("#")][0]


@pytest.fixture(scope="module")
def earlier():
    """The broker of that commit, built once and kept below build/."""
    binary = os.path.join(KEPT, commit(), "build", "hearsay")
    if os.path.exists(binary):
        return binary
    known = subprocess.run(["git", "-C", ROOT, "cat-file", "-e", commit() + "^{commit}"],
                           capture_output=True)
    if known.returncode != 0:
        pytest.skip(f"the history that is here lacks {commit()}: git fetch --unshallow")
    os.makedirs(KEPT, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=KEPT) as folder:
        tree = subprocess.run(["git", "-C", ROOT, "archive", commit()], capture_output=True,
                              check=True).stdout
        subprocess.run(["tar", "x", "-C", folder], input=tree, check=True)
        made = subprocess.run(["make", "-s", "-j2", "build/hearsay"], cwd=folder, timeout=300,
                              env=clean_env(), capture_output=True, text=True)
        assert made.returncode == 0, made.stdout + made.stderr
        os.makedirs(os.path.dirname(binary), exist_ok=True)
        os.replace(os.path.join(folder, "build", "hearsay"), binary)
    return binary


class Versioned(Broker):
    """A broker of some binary, that finds others by --join alone."""

    def __init__(self, binary, folder, port, join=None):
        super().__init__(folder, port, args=["--join", f"127.0.0.1:{join}"] if join else [])
        self.binary = binary

    def command(self):
        return [self.binary, *super().command()[1:]]


def pair(cluster, first, second):
    """Two brokers, the second joins the first."""
    ports = free_ports(2)
    a = Versioned(first, cluster.folder, ports[0])
    b = Versioned(second, cluster.folder, ports[1], join=ports[0])
    cluster.brokers += [a, b]
    a.start()
    b.start()
    cluster.wait_linked()
    return a, b


def bodies(broker):
    return sorted(m["body"] for m in broker.read_all())


@pytest.mark.parametrize("old_first", [True, False], ids=["new-joins-old", "old-joins-new"])
def test_both_in_one_cluster(cluster, earlier, old_first):
    # Broken if a cluster cannot be upgraded broker by broker: what one writes has to be on the
    # other's disk, what it missed has to be fetched, and they have to agree on who leads.
    a, b = pair(cluster, *([earlier, BIN] if old_first else [BIN, earlier]))
    for broker in (a, b):
        for i in range(20):
            receipt = broker.publish("x", f"{broker.port} {i}", "?acks=all&timeout=20s")
            assert receipt["copies"] == 2
    cluster.wait_equal()
    cluster.wait_coordinator(b)
    want = sorted(f"{broker.port} {i}" for broker in (a, b) for i in range(20))
    assert bodies(a) == bodies(b) == want
    for gone, stays in ((a, b), (b, a)):
        gone.stop()
        stays.publish("x", f"while {gone.port} was away")
        gone.start()
        cluster.wait_linked()
        cluster.wait_equal()
    assert bodies(a) == bodies(b)
    assert len(bodies(a)) == len(want) + 2
    cursor = a.poll("x")[1]
    assert b.poll("x", cursor=cursor)[0] == []


def test_its_file(cluster, earlier):
    # Broken if an upgrade loses a message, an order or a cursor of the older file.
    port = free_ports(1)[0]
    old = Versioned(earlier, cluster.folder, port)
    cluster.brokers.append(old)
    old.start()
    for i in range(50):
        old.publish(f"stocks/{i % 5}", f"message {i}")
        if i == 19:
            cursor = old.poll("stocks/#")[1]
    before = old.read_all()
    schema = old.sqlite("pragma user_version")
    assert old.stop() == 0
    new = Versioned(BIN, cluster.folder, port)
    cluster.brokers.append(new)
    new.start()
    assert [(m["id"], m["lamport"], m["topic"], m["body"]) for m in new.read_all()] == \
        [(m["id"], m["lamport"], m["topic"], m["body"]) for m in before]
    assert len(new.poll("stocks/#", cursor=cursor)[0]) == 30
    new.publish("stocks/1", "and on")
    assert len(new.read_all()) == 51
    assert new.sqlite("pragma integrity_check") == ["ok"]
    newer = new.sqlite("pragma user_version")
    assert new.stop() == 0
    if schema == newer or SLOW:
        return
    # The way back: the older broker refuses what it does not know, and changes nothing.
    old.start(ready=False)
    wait_for(lambda: old.process.poll() is not None, 10, "the older broker to refuse the file")
    assert old.process.returncode == 1 and "broker.db" in old.stderr()
    old.process = None
    assert len(new.start().read_all()) == 51
