"""fsync is real: what was not fsynced is not acknowledged, delivered or announced."""

import threading

import pytest

from cluster import Http, JsonSocket
from disk import Shim
from load import Worker


@pytest.fixture
def slow_disk(cluster):
    shim = Shim(cluster.folder)
    return cluster.pair_on(shim)


class Post(threading.Thread):
    """A publish whose answer may take long."""

    def __init__(self, broker, body):
        super().__init__(daemon=True)
        self.broker, self.body, self.answer = broker, body, None
        self.start()

    def run(self):
        self.answer = self.broker.http("POST", "/topics/x", self.body, timeout=120)


def test_nothing_leaves_before_fsync(slow_disk):
    # Broken if an acknowledgement, a delivery or a durable ack runs ahead of the disk.
    cluster, shim, a, b = slow_disk
    # Both streams exist, so a later batch may be pushed beside its commit.
    for broker in (a, b):
        assert broker.publish("x", "first", "?acks=all&timeout=20s")["copies"] == 2
    subscriber = a.subscribe("x")
    publisher = JsonSocket(a.port)
    known = a.vector()

    shim.fail("fsync-waits")
    post = Post(a, b"by HTTP")
    publisher.send({"type": "publish", "topic": "x", "message": "by JSON", "ack": True})
    shim.wait_blocked()

    # B's message reaches A, which cannot store it: so A never counts as a copy.  That
    # answer's timeout is also the time for which A has to be silent: longer than 5 s, so
    # that the HEADS which leaves when nothing happens is among what has to be.
    with Http(b.port) as http:
        answer = http("POST", "/topics/x?acks=all&timeout=6s", b"from B")
    assert answer.status == 202 and answer.json()["copies"] == 1, answer
    assert a.http("GET", "/healthz").status == 200, "its loop goes on while its disk hangs"
    assert post.answer is None, "acknowledged before the fsync"
    assert publisher.is_silent(), "acknowledged before the fsync"
    assert subscriber.bodies() == [], "delivered before the fsync"
    assert a.vector() == known, "announced as durable before the fsync"

    shim.work()
    post.join(30)
    assert post.answer is not None and post.answer.status == 201
    assert publisher.read(10)["type"] == "ack"
    subscriber.wait_count(3)
    assert sorted(subscriber.bodies()) == ["by HTTP", "by JSON", "from B"]
    cluster.wait_equal()
    assert b.publish("x", "again", "?acks=all&timeout=20s")["copies"] == 2
    publisher.close()
    subscriber.close()


def test_the_first_batch_of_a_stream_waits_too(slow_disk):
    # Broken if a peer learns of a stream whose birth is not on its broker's disk.
    cluster, shim, a, b = slow_disk
    subscriber = b.subscribe("x")
    shim.fail("fsync-waits")
    post = Post(a, b"born")
    shim.wait_blocked()
    with Http(b.port) as http:
        answer = http("POST", "/topics/y?acks=all&timeout=2s", b"from B")
    assert answer.status == 202, answer
    assert subscriber.bodies() == [] and post.answer is None
    shim.work()
    subscriber.wait_count(1)
    assert subscriber.bodies() == ["born"]
    post.join(30)
    assert post.answer.status == 201
    subscriber.close()


def test_crash_with_a_commit_under_way(slow_disk):
    # Broken if a message that was never acknowledged comes back twice, or one that was
    # acknowledged is lost with the commit that hung.
    cluster, shim, a, b = slow_disk
    kept = a.publish("x", "kept")["id"]
    shim.fail("fsync-waits")
    post = Worker(lambda: swallow(a))
    shim.wait_blocked()
    a.kill()
    post.end(30)
    shim.work()
    a.start()
    cluster.wait_linked()
    cluster.wait_equal()
    for broker in (a, b):
        got = broker.read_all()
        assert [m["id"] for m in got].count(kept) == 1
        assert [m["body"] for m in got].count("perhaps") <= 1


def swallow(broker):
    try:
        broker.http("POST", "/topics/x", b"perhaps", timeout=60)
    except OSError:
        pass
    except Exception as e:  # http.client has errors of its own for a closed connection
        assert type(e).__module__ == "http.client", e
