"""Brokers that die, stop, forget or come back from a backup."""

import collections
import functools
import glob
import http.client
import itertools
import os
import threading
import time

from cluster import Http, copy_file, wait_for
from load import Worker


class Load:
    """Publishers that go on for ever, one for each broker; what was acknowledged is kept."""

    def __init__(self, cluster):
        brokers = cluster.brokers
        cluster.closers.append(self.stop)
        self.acked, self.lock, self.stopping = {}, threading.Lock(), False
        self.counter = itertools.count()
        self.workers = [Worker(functools.partial(self._run, b)) for b in brokers]

    def _run(self, broker):
        conn = None
        while not self.stopping:
            body = f"{broker.port}-{next(self.counter)}"  # used once, also when it fails
            try:
                conn = conn or Http(broker.port, broker.ip, timeout=20)
                answer = conn("POST", "/topics/load", body)
                if answer.status == 201:
                    with self.lock:
                        self.acked[answer.json()["id"]] = body
                else:
                    assert answer.status == 503, answer
            except (OSError, http.client.HTTPException):
                conn = None

    def count(self):
        with self.lock:
            return len(self.acked)

    def wait_more(self, count):
        goal = self.count() + count
        wait_for(lambda: self.count() >= goal, 30, f"{count} more acknowledged")

    def stop(self):
        self.stopping = True
        for w in self.workers:
            w.end(60)
        return dict(self.acked)


class Hopper:
    """Reads by long poll, at another broker with every read, on one cursor."""

    def __init__(self, cluster):
        self.brokers = cluster.brokers
        cluster.closers.append(self.stop)
        self.messages, self.stopping, self.problem = [], False, None
        self.cursor = "earliest"
        self.hops = 0
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        for broker in itertools.cycle(self.brokers):
            if self.stopping:
                return
            try:
                got, self.cursor = broker.poll("load", self.cursor, wait=1, extra="&limit=50")
                self.messages += got
                self.hops += 1
            except (OSError, http.client.HTTPException):
                continue
            except Exception as e:
                self.problem = e
                return

    def wait_ids(self, ids, timeout=60):
        def has_all():
            assert self.problem is None, self.problem
            return ids <= {m["id"] for m in list(self.messages)}

        wait_for(has_all, timeout, "every acknowledged message at the hopping reader")
        self.stop()

    def stop(self):
        self.stopping = True
        self.thread.join(90)

    def check(self):
        twice = [i for i, n in collections.Counter(m["id"] for m in self.messages).items() if n > 1]
        assert not twice, f"seen twice: {twice[:5]}"
        last = {}
        for m in self.messages:
            stream, seq = m["id"].split("-")
            assert int(seq) > last.get(stream, (0, 0))[0], f"{m['id']} out of order"
            assert m["lamport"] > last.get(stream, (0, 0))[1], f"{m['id']}: stamps fall"
            last[stream] = (int(seq), m["lamport"])


def check_everywhere(cluster, acked):
    """Every acknowledged message at every broker, once, in the answers and in the file."""
    cluster.wait_equal(timeout=60)
    bodies = None
    for broker in cluster.brokers:
        got = broker.read_all()
        ids = collections.Counter(m["id"] for m in got)
        assert not set(acked) - set(ids), f"{broker.port} lost acknowledged messages"
        assert max(ids.values()) == 1
        for m in got:
            assert acked.get(m["id"], m["body"]) == m["body"]
        assert broker.sqlite("select count(*) from log") == [str(len(got))]
        content = sorted((m["id"], m["body"]) for m in got)
        bodies = bodies or content
        assert content == bodies, "brokers differ"
        assert max(collections.Counter(b for _, b in content).values()) == 1


def test_kill_9_three_times_under_load(three):
    # Broken if a crash loses what was acknowledged, repeats it, or breaks a cursor.
    load, hopper = Load(three), Hopper(three)
    for victim in (0, 1, 2):
        load.wait_more(300)
        three.brokers[victim].kill()
        load.wait_more(100)
        three.brokers[victim].start()
    load.wait_more(300)
    acked = load.stop()
    hopper.wait_ids(set(acked))
    hopper.check()
    assert hopper.hops > 10
    check_everywhere(three, acked)


def test_a_hop_at_every_read_while_all_publish(three):
    # Broken if a cursor means anything else at another broker.
    load, hopper = Load(three), Hopper(three)
    load.wait_more(2000)
    acked = load.stop()
    hopper.wait_ids(set(acked))
    hopper.check()
    assert len(hopper.messages) == len(acked)
    check_everywhere(three, acked)


def test_an_answer_is_never_seen_before_its_question(three):
    # Broken if causal order holds only where a message was published.
    a, b, c = three.brokers
    hopper = Hopper(three)
    ids, parents, cursor, parent = set(), {}, None, None
    for i in range(100):
        headers = {"Hearsay-After": cursor} if cursor else {}
        receipt = (a, b, c)[i % 3].publish("load", f"answer {i}", headers=headers)
        assert receipt["causal"] is True
        parents[receipt["id"]] = parent
        parent, cursor = receipt["id"], receipt["cursor"]
        ids.add(parent)
    hopper.wait_ids(ids)
    hopper.check()
    seen = set()
    for m in hopper.messages:
        assert parents[m["id"]] is None or parents[m["id"]] in seen
        assert "late" not in m
        seen.add(m["id"])
    stamps = [m["lamport"] for m in hopper.messages]
    assert stamps == sorted(stamps), "a chain of answers has rising stamps"
    for broker in three.brokers:
        assert [m["body"] for m in broker.read_all()] == [f"answer {i}" for i in range(100)]


def test_paused_for_20_s(three):
    # Broken if a stopped process is waited for, or leads on when it should not, or does not
    # lead again.
    a, b, c = three.brokers
    three.wait_coordinator(c, three.brokers)
    c.pause()
    start = time.monotonic()
    try:
        three.wait_coordinator(b, [a, b])
        for i in range(10):
            assert a.publish("x", f"while paused {i}")["id"]
        wait_for(lambda: time.monotonic() - start > 20, 60)
    finally:
        c.resume()
    wait_for(lambda: len(c.read_all()) == 10, 20, "the paused broker to catch up")
    three.wait_coordinator(c, three.brokers)
    three.wait_equal()
    assert c.publish("x", "back", "?acks=all&timeout=20s")["copies"] == 3


def remove_db(broker):
    for path in glob.glob(broker.db + "*"):
        os.unlink(path)


def test_an_old_copy_put_back(three):
    # Broken if a restored broker reuses a position that others have filled already.
    a, b, _ = three.brokers
    first = a.publish("x", "one", "?acks=all&timeout=20s")
    assert a.stop() == 0
    backup = os.path.join(three.folder, "backup.db")
    copy_file(a.db, backup)
    a.start()
    three.wait_linked()
    second = a.publish("x", "two", "?acks=all&timeout=20s")
    a.kill()
    remove_db(a)
    copy_file(backup, a.db)
    a.start()
    third = a.publish("x", "three", timeout=30)
    assert len({r["id"] for r in (first, second, third)}) == 3
    streams = {r["id"].split("-")[0] for r in (first, second, third)}
    assert len(streams) == 3, "each lifetime has a stream of its own"
    three.wait_equal(timeout=30)
    for broker in three.brokers:
        assert sorted(m["body"] for m in broker.read_all()) == ["one", "three", "two"]


def test_a_lost_database_is_rebuilt(three):
    # Broken if an emptied broker stays empty, or forks the stream it had.
    a, _, _ = three.brokers
    for i in range(50):
        last = a.publish("x", str(i), "?acks=all&timeout=20s")
    a.kill()
    remove_db(a)
    a.start()
    three.wait_equal(timeout=30)
    new = a.publish("x", "after")
    assert new["id"].split("-")[0] != last["id"].split("-")[0]
    assert new["lamport"] > last["lamport"]
    three.wait_equal(timeout=30)
    for broker in three.brokers:
        assert [m["body"] for m in broker.read_all()] == [str(i) for i in range(50)] + ["after"]


def test_the_coordinator_dies(three):
    # Broken if the others wait for a dead coordinator, or if a restart of a lower broker
    # changes who leads.
    a, b, c = three.brokers
    three.wait_coordinator(c, three.brokers)
    epoch = int(a.cluster()["epoch"])
    a.kill()
    a.start()
    three.wait_coordinator(c, three.brokers)
    assert int(b.cluster()["epoch"]) == epoch, "a lower broker's restart changed the term"
    c.kill()
    three.wait_coordinator(b, [a, b])
    assert int(a.cluster()["epoch"]) > epoch
    c.start()
    three.wait_coordinator(c, three.brokers)
    wait_for(lambda: len({int(x.cluster()["epoch"]) for x in three.brokers}) == 1, 10, "one epoch")
