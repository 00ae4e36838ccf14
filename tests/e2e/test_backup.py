"""A copy of broker.db, made while it is written to, and what it means to go back to it:
docs/OPERATIONS.md, Backup and Restoring."""

import os
import shutil
import subprocess
import threading

import pytest

COPIES = {  # what the document says to type
    "vacuum": "vacuum into '{}'",
    "backup": ".backup {}",
}


def copy(broker, how, to):
    done = subprocess.run(["sqlite3", "-readonly", broker.db, COPIES[how].format(to)],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    sound = subprocess.run(["sqlite3", "-readonly", to, "pragma integrity_check"],
                           capture_output=True, text=True, timeout=60)
    assert sound.stdout.strip() == "ok", sound


def restore(broker, of):
    assert broker.stop() == 0
    folder = os.path.dirname(broker.db)
    shutil.move(folder, folder + ".old")
    os.mkdir(folder, 0o750)
    shutil.copy(of, broker.db)
    broker.start()


class Publisher(threading.Thread):
    """One message after the other until it is told to end; `ids` are acknowledged."""

    def __init__(self, broker):
        super().__init__(daemon=True)
        self.broker, self.ids, self.failed, self.over = broker, [], None, threading.Event()

    def run(self):
        try:
            while not self.over.is_set():
                self.ids.append(self.broker.publish("t", f"{len(self.ids)} " + "x" * 5000)["id"])
        except (AssertionError, OSError) as e:
            self.failed = e

    def end(self):
        self.over.set()
        self.join(30)
        assert not self.failed, self.failed


def test_a_copy_made_under_load(cluster, tmp_path):
    # Broken if a copy lacks what was acknowledged before it was begun, or is no log that a
    # broker starts from; or if making it disturbs who publishes.
    [broker] = cluster.make(1)
    publisher = Publisher(broker)
    publisher.start()
    while len(publisher.ids) < 200 and not publisher.failed:
        publisher.over.wait(0.01)
    before, to = list(publisher.ids), str(tmp_path / "backup.db")
    copy(broker, "vacuum", to)
    publisher.end()
    assert len(publisher.ids) > len(before), "nothing was published meanwhile"
    restore(broker, to)
    kept = [m["id"] for m in broker.read_all("t")]
    assert kept[:len(before)] == before
    assert kept == publisher.ids[:len(kept)], "not a beginning of what was published"


@pytest.mark.parametrize("how", sorted(COPIES))
def test_a_broker_alone_is_as_it_was(cluster, tmp_path, how):
    # Broken if what came behind the copy is half there, a position is used twice, or a cursor of
    # that time is refused, repeats what it has seen or passes over what is new.
    [broker] = cluster.make(1)
    kept = [broker.publish("t", f"kept {i}")["id"] for i in range(5)]
    _, old = broker.poll("t")
    copy(broker, how, str(tmp_path / "backup.db"))
    lost = [broker.publish("t", f"lost {i}")["id"] for i in range(5)]
    _, newer = broker.poll("t")
    restore(broker, str(tmp_path / "backup.db"))
    assert [m["id"] for m in broker.read_all("t")] == kept
    for cursor in (old, newer):
        assert broker.poll("t", cursor)[0] == []
    fresh = [broker.publish("t", f"fresh {i}")["id"] for i in range(3)]
    assert not set(fresh) & set(kept + lost)
    for cursor in (old, newer):
        assert [m["id"] for m in broker.poll("t", cursor)[0]] == fresh
    assert [m["id"] for m in broker.read_all("t")] == kept + fresh


def test_in_a_cluster_nothing_is_lost(cluster, tmp_path):
    # Broken if a broker that was set back keeps a hole, or the others take its new messages for
    # those that they have.
    a, b = cluster.make(2)
    cluster.wait_linked()
    ids = [a.publish("t", "before")["id"]]
    copy(a, "vacuum", str(tmp_path / "backup.db"))
    ids += [a.publish("t", f"after {i}")["id"] for i in range(5)]
    cluster.wait_equal()
    restore(a, str(tmp_path / "backup.db"))
    cluster.wait_linked()
    cluster.wait_equal()
    ids.append(a.publish("t", "a new stream")["id"])
    cluster.wait_equal()
    for broker in (a, b):
        assert [m["id"] for m in broker.read_all("t")] == ids
