"""Disks that fill up, fail, turn read-only or lie on a network; and a log that others read."""

import functools
import http.client
import itertools
import json
import os
import sqlite3
import subprocess

import pytest

from cluster import Http, JsonSocket, free_ports, hearsay, wait_for
from disk import MiB, Shim, SmallDisk, runs_as_root
from load import Worker


@pytest.fixture
def small(cluster, tmp_path):
    """Makes brokers whose data lies on a tmpfs of so many bytes."""
    disks = []

    def make(port, size, *args):
        d = SmallDisk(str(tmp_path / f"disk-{port}"), size)
        disks.append(d)
        b = cluster.add(port, args=["--data", os.path.join(d.path, "data"), *args])
        b.data = os.path.join(d.path, "data")
        b.db = os.path.join(b.data, "broker.db")
        b.disk = d
        return b

    yield make
    for b in cluster.brokers:
        if b.process is not None and hasattr(b, "disk"):
            assert b.stop() == 0
    for d in disks:
        d.close()


def post(broker, body, topic="load", query="", timeout=30):
    a = broker.http("POST", f"/topics/{topic}{query}", body, timeout=timeout)
    return a.status, a.json()


def fill(broker, bytes_each, most=2000):
    """Publishes until it is refused: (bodies acknowledged by id, the body that was refused).
    None in its place: all of them were taken."""
    acked = {}
    with Http(broker.port, broker.ip) as http:
        for i in range(most):
            body = f"{broker.port}-{i}-".ljust(bytes_each, "x")
            a = http("POST", "/topics/load", body)
            if a.status == 507:
                assert a.json()["code"] == "disk_full"
                return acked, body
            assert a.status == 201, a
            acked[a.json()["id"]] = body
    return acked, None


def is_full(broker):
    try:
        a = broker.http("GET", "/readyz")
    except OSError:
        return False  # it has only just started
    return a.status == 503 and a.json()["code"] == "disk_full"


def takes(broker, body="it takes again"):
    return post(broker, body)[0] == 201


def bodies_in_file(broker):
    return set(broker.sqlite("select substr(body, 1, 40) from log"))


def streams_of(broker, origin):
    return int(broker.sqlite(
        f"select count(*) from streams where origin like '%:{origin.port}'")[0])


# ---- full ------------------------------------------------------------------


@runs_as_root
def test_full_disk(cluster, small):
    # Broken if a refused publish leaves a trace anywhere, a stream is burned for nothing,
    # or a broker with a full disk does not serve what it has.
    ports = free_ports(2)
    cluster.write_peers(ports)
    a = small(ports[0], 24 * MiB, "--disk-reserve", "6M").start()
    b = cluster.add(ports[1])
    subscriber = a.subscribe("load")
    acked, refused = fill(a, 20000)
    assert refused and len(acked) > 200
    assert a.disk.free() > 2 * MiB, "a part of the reserve is for what was handed over"
    a.disk.eat(leave=2 * MiB)  # it stays full when the WAL is cut
    assert is_full(a) and a.cluster()["disk"] == "full"
    status, problem = post(a, "refused too", query="?acks=all&timeout=2s")
    assert (status, problem["code"]) == (507, "disk_full")

    # It serves readers, and a broker that comes now gets everything from it.
    subscriber.wait_count(len(acked))
    b.start()
    cluster.wait_linked()
    cluster.wait_equal()
    assert {m["id"]: m["body"] for m in a.read_all()} == acked
    assert {m["id"]: m["body"] for m in b.read_all()} == acked

    # The other one publishes; that stays there until there is room.
    there = b.publish("load", "published there")["id"]
    assert not takes(a)
    assert there not in {m["id"] for m in a.read_all()}

    a.stop()
    a.start(ready=False)
    wait_for(lambda: is_full(a), 10, "a start on a full disk")
    assert not takes(a), "a start on a full disk takes publishes"
    a.disk.give_back()
    wait_for(lambda: takes(a), 10, "publishes to resume by themselves")
    wait_for(lambda: a.http("GET", "/readyz").status == 200, 5, "/readyz")
    cluster.wait_equal()
    for broker in (a, b):
        found = bodies_in_file(broker)
        assert refused[:40] not in found and "refused too" not in found
        assert "published there" in found and "it takes again" in found
        assert len(broker.read_all()) == len(acked) + 2
        # One of the first life, one of the second: nothing was minted for what was refused.
        assert streams_of(broker, a) == 2
    assert len(subscriber.bodies()) == len(acked)
    subscriber.close()


@runs_as_root
def test_space_that_others_take_and_free(cluster, small):
    # Broken if the disk is looked at only when something is committed, or a stream is burned
    # each time another program fills it.
    a = small(free_ports(1)[0], 24 * MiB, "--disk-reserve", "4M").start()
    a.publish("load", "first")
    for i in range(2):
        a.disk.eat(leave=MiB if i % 2 else 3 * MiB)
        wait_for(lambda: is_full(a), 5, "a broker that sees the disk fill up")
        assert post(a, f"refused {i}")[0] == 507
        a.disk.give_back()
        wait_for(lambda: takes(a, f"taken {i}"), 5, "publishes to resume by themselves")
    got = [m["body"] for m in a.read_all()]
    assert got == ["first", "taken 0", "taken 1"]
    assert streams_of(a, a) == 1
    log = a.stderr()
    assert log.count("publishes are refused until then") == 2, log
    assert log.count("there is room again") == 2, log


@runs_as_root
def test_a_disk_at_the_edge_does_not_flap(cluster, small):
    # Broken if each publish that fits is followed by one that does not, for ever.
    a = small(free_ports(1)[0], 32 * MiB, "--disk-reserve", "8M").start()
    a.publish("load", "first")
    rounds = 0
    while not is_full(a):
        rounds += 1
        fill(a, 50000)
        # What the WAL takes is given back when it is quiet: then there may be room once more.
        wait_for(lambda: a.metric("wal_bytes") == 0, 10, "the WAL to be cut")
    assert rounds <= 2
    assert a.stderr().count("there is room again") < rounds
    assert 7 * MiB < a.disk.free() < 12 * MiB


@runs_as_root
def test_retention_makes_room(cluster, small):
    # Broken if pages that retention freed within the file do not count as room.
    a = small(free_ports(1)[0], 40 * MiB, "--disk-reserve", "8M", "--retention-bytes", "16M")
    a.start()
    acked, refused = fill(a, 200000)
    assert refused
    newest = max(int(i.split("-")[1]) for i in acked)
    wait_for(lambda: takes(a), 10, "retention to make room")
    assert len(fill(a, 100000, 200)[0]) > 20
    wait_for(lambda: takes(a), 10, "retention to make room once more")
    assert streams_of(a, a) == 1
    left = [int(i.split("-")[1]) for i in a.sqlite("select id from log where topic is not null")]
    assert left == list(range(min(left), max(left) + 1)) and min(left) > 1 and max(left) > newest


def lines(broker, count, bytes_each):
    """Receipts of so many lines in one request."""
    body = "".join(json.dumps({"topic": f"d/{i % 3}", "body": "x" * bytes_each}) + "\n"
                   for i in range(count))
    a = broker.http("POST", "/topics", body, {"Content-Type": "application/x-ndjson"}, timeout=30)
    assert a.status == 200, a
    return [json.loads(line) for line in a.body.splitlines()]


@runs_as_root
def test_age_makes_room_on_a_small_disk(cluster, small):
    # Broken if what is written in one go takes the room that the WAL needs to be copied, and
    # retention to be stored: then nothing is ever taken again.
    ports = free_ports(2)
    cluster.write_peers(ports)
    keep = ["--retention", "4s"]
    a = small(ports[0], 20 * MiB, "--disk-reserve", "2M", *keep).start(ready=False)
    b = cluster.add(ports[1], args=["--disk-reserve", "1M", *keep]).start(ready=False)
    for broker in (a, b):
        broker.wait_ready()
    cluster.wait_linked()
    acked, refused, start = set(), [], a.poll("d/0", cursor="latest")[1]

    def load(broker):
        receipts = lines(broker, 300, 3000)
        acked.update(r["id"] for r in receipts if "lamport" in r)
        refused.extend(r["code"] for r in receipts if "lamport" not in r)
        return "lamport" in receipts[-1]

    for i in range(100):  # a slow machine needs more of them until the disk is full
        load(a)
        load(b)
        if i >= 20 and "disk_full" in refused:
            break
    # What was on its way to the store when the room ran out may be more than so small a reserve.
    assert "disk_full" in refused and set(refused) <= {"disk_full", "outcome_unknown"}
    for _ in range(3):
        wait_for(lambda: load(a), 20, "retention to make room")
    cluster.wait_equal(timeout=30)
    assert len(acked) > 3000 and acked <= a.told(start), "neither there nor named"
    assert a.sqlite("pragma integrity_check") == ["ok"]


class Load:
    """Publishers at several brokers, each with its own words; what became of each is kept."""

    def __init__(self, cluster, brokers, count):
        cluster.closers.append(self.stop)
        self.acked, self.refused, self.unknown = {}, set(), set()
        self.counter, self.stopping = itertools.count(), False
        self.workers = [Worker(functools.partial(self._run, brokers[i % len(brokers)]))
                        for i in range(count)]

    def _run(self, broker):
        conn = None
        while not self.stopping:
            body = f"{broker.port}-{next(self.counter)}-"
            try:
                conn = conn or Http(broker.port, broker.ip, timeout=20)
                a = conn("POST", "/topics/load?acks=all&timeout=2s", body.ljust(3000, "x"))
            except (OSError, http.client.HTTPException):
                conn = None
                self.unknown.add(body)
                continue
            if a.status in (201, 202):
                self.acked[a.json()["id"]] = body
            elif a.status == 507:
                self.refused.add(body)
            else:
                assert a.status == 503, a
                self.unknown.add(body)

    def wait_more(self, count):
        goal = len(self.acked) + count
        wait_for(lambda: len(self.acked) >= goal, 30, f"{count} more acknowledged")

    def wait_refused(self):
        goal = len(self.refused) + 5
        wait_for(lambda: len(self.refused) >= goal, 30, "refused publishes")

    def stop(self):
        self.stopping = True
        for w in self.workers:
            w.end(60)


@runs_as_root
def test_full_twice_under_load_with_kill_9(cluster, small):
    # Broken if a full disk, or a crash while it is full, loses what was acknowledged or keeps
    # what was refused.
    ports = free_ports(3)
    cluster.write_peers(ports)
    a = small(ports[0], 48 * MiB, "--disk-reserve", "8M").start(ready=False)
    others = [cluster.add(p).start(ready=False) for p in ports[1:]]
    for b in cluster.brokers:
        b.wait_ready()
    cluster.wait_linked()
    load = Load(cluster, [a, a, a, others[0]], 8)
    for _ in range(2):
        load.wait_more(200)
        a.disk.eat(leave=5 * MiB)
        load.wait_refused()
        a.kill()
        a.start(ready=False)
        load.wait_refused()
        a.disk.give_back()
        wait_for(lambda: a.http("GET", "/readyz").status == 200, 10, "/readyz")
    load.wait_more(200)
    load.stop()
    cluster.wait_linked()
    cluster.wait_equal(timeout=30)
    for broker in cluster.brokers:
        got = broker.read_all()
        held = {m["id"]: m["body"].rstrip("x") for m in got}
        assert len(held) == len(got)
        assert load.acked.items() <= held.items(), "lost what was acknowledged"
        assert not load.refused & set(held.values()), "kept what was refused"
        assert set(held.values()) <= set(load.acked.values()) | load.unknown
        assert streams_of(broker, a) <= 3, "a life of a broker is one stream"


# ---- failing ---------------------------------------------------------------


@pytest.fixture
def failing(cluster):
    """Two brokers; the first has a disk that fails when told."""
    shim = Shim(cluster.folder)
    return cluster.pair_on(shim)


def stream_of(mark):
    return mark.split("-")[0]


def test_a_commit_that_fails(failing):
    # Broken if a failed commit is answered as stored or as refused, its stream goes on, or
    # the brokers do not agree afterwards.
    cluster, shim, a, b = failing
    before = a.publish("x", "before", "?acks=all&timeout=20s")["id"]
    shim.fail("wal-eio")
    status, problem = post(a, "unknown", "x")
    assert (status, problem["code"]) == (503, "outcome_unknown"), problem
    assert problem["id"].startswith(stream_of(before) + "-")
    assert post(a, "refused", "x")[0] == 507
    assert is_full(a)
    assert [m["body"] for m in a.read_all()] == ["before"]
    shim.work()
    wait_for(lambda: takes(a, "after"), 10, "publishes to resume by themselves")
    cluster.wait_equal()
    held = [{m["id"]: m["body"] for m in x.read_all()} for x in (a, b)]
    assert held[0] == held[1]
    # It was pushed beside its commit, so it is at the other one, and comes home from there.
    assert held[0][problem["id"]] == "unknown"
    assert "refused" not in held[0].values()
    after = next(i for i, body in held[0].items() if body == "after")
    assert stream_of(after) != stream_of(before), "the stream is burned"
    assert streams_of(a, a) == streams_of(b, a) == 2


def test_lines_whose_commit_fails(failing):
    # Broken if lines that may be stored are answered as refused: their client sends them again.
    cluster, shim, a, b = failing
    before = a.publish("x", "before", "?acks=all&timeout=20s")["id"]
    for query in ("", "?acks=2&timeout=1s"):
        shim.fail("wal-eio")
        answer = a.http("POST", "/topics/x" + query, "one\ntwo\n",
                        {"Content-Type": "application/x-ndjson"})
        problems = [json.loads(line) for line in answer.body.splitlines()]
        assert [(p["status"], p["code"]) for p in problems] == [(503, "outcome_unknown")] * 2
        seq = int(before.split("-")[1])
        assert [p["id"] for p in problems] == [f"{stream_of(before)}-{seq + n}" for n in (1, 2)]
        shim.work()
        wait_for(lambda: takes(a, "between"), 10, "publishes to resume by themselves")
        before = a.publish("x", "before", "?acks=all&timeout=20s")["id"]
    cluster.wait_equal()


def test_the_first_commit_of_a_stream_fails(failing):
    # Broken if a message that never reached a disk spreads, or leaves its stream behind.
    cluster, shim, a, b = failing
    shim.fail("write-eio")
    conn = JsonSocket(a.port)
    conn.send({"type": "publish", "topic": "x", "message": "lost", "ack": True, "ref": 7})
    answer = conn.read()
    assert answer["type"] == "error" and answer["ref"] == 7 and "id" in answer, answer
    assert "outcome unknown" in answer["error"]
    conn.close()
    assert post(b, "from b", "x", "?acks=all&timeout=1s")[0] == 202
    shim.work()
    wait_for(lambda: takes(a, "after"), 10, "publishes to resume by themselves")
    cluster.wait_equal()
    for broker in (a, b):
        assert sorted(m["body"] for m in broker.read_all()) == ["after", "from b"]
        assert streams_of(broker, a) == 1


def test_a_failed_fsync(failing):
    # Broken if a broker goes on after a failed fsync, does not say why it ended, or what it
    # had acknowledged is gone.
    cluster, shim, a, b = failing
    acked = {a.publish("x", str(i))["id"] for i in range(20)}
    shim.fail("fsync-eio")
    with pytest.raises((OSError, http.client.HTTPException)):
        a.publish("x", "never acknowledged")
    assert a.process.wait(10) == 1
    a.process = None
    last = a.stderr().splitlines()[-1]
    assert "failed to sync" in last and "start again" in last, last
    shim.work()
    a.start()
    cluster.wait_linked()
    cluster.wait_equal()
    for broker in (a, b):
        got = [m["id"] for m in broker.read_all()]
        assert acked <= set(got) and len(set(got)) == len(got)
        assert len(got) <= len(acked) + 1
    assert stream_of(a.publish("x", "again")["id"]) not in {stream_of(i) for i in acked}


# ---- read-only -------------------------------------------------------------


def test_a_disk_that_turns_read_only(failing):
    # Broken if a broker burns a stream, or stops serving, when the system makes its disk
    # read-only; or waits for a restart when it is writable again.
    cluster, shim, a, b = failing
    first = a.publish("x", "first", "?acks=all&timeout=20s")["id"]
    shim.fail("read-only")
    wait_for(lambda: is_full(a), 5, "a broker that sees it")
    assert "has become read-only" in a.stderr()
    assert post(a, "refused", "x")[0] == 507
    there = b.publish("x", "there")["id"]
    assert [m["id"] for m in a.read_all()] == [first]
    assert a.poll("x")[0][0]["id"] == first
    shim.work()
    wait_for(lambda: takes(a, "again"), 5, "publishes to resume by themselves")
    cluster.wait_equal()
    got = {m["body"]: m["id"] for m in a.read_all()}
    assert set(got) == {"first", "there", "again"} and got["there"] == there
    assert streams_of(a, a) == 1


def refuses_to_start(broker):
    """What it says on the way out."""
    done = hearsay(*broker.command()[1:], cwd=broker.folder, env=broker.env, timeout=20)
    assert done.returncode == 1, done.stderr
    assert "Sanitizer" not in done.stderr, done.stderr
    return done.stderr


@runs_as_root
def test_a_start_on_a_read_only_disk(cluster, small):
    # Broken if a broker starts that can store nothing, or does not say what to do.
    a = small(free_ports(1)[0], 8 * MiB, "--disk-reserve", "1M").start()
    a.publish("x", "kept")
    assert a.stop() == 0
    subprocess.run(["mount", "-o", "remount,ro", a.disk.path], check=True)
    said = refuses_to_start(a)
    assert "read-only" in said and "--data" in said and a.data in said, said
    subprocess.run(["mount", "-o", "remount,rw", a.disk.path], check=True)
    a.start()
    assert [m["body"] for m in a.read_all()] == ["kept"]


def test_network_file_systems(cluster):
    # Broken if a broker trusts locks and syncs that a network does not keep.
    shim = Shim(cluster.folder)
    a = cluster.add(free_ports(1)[0], env=shim.env())
    for word, name in (("nfs", "NFS"), ("smb", "SMB2")):
        shim.fail(word)
        said = refuses_to_start(a)
        assert name in said and "--data" in said, said
        assert not os.path.exists(a.db)
    shim.fail("fuse")  # may be a fine local one
    a.start()
    assert "lies on FUSE" in a.stderr()


# ---- other readers ---------------------------------------------------------


def test_a_reader_that_does_not_end(broker):
    # Broken if a WAL that grows for another program's sake is not told, stops the broker, or
    # stays long when that program is done.
    wait_for(lambda: broker.metric("coordinates"), 10, "the last commit of a start")
    broker.publish("x", "first")
    reader = sqlite3.connect(f"file:{broker.db}?mode=ro", uri=True, isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM messages").fetchone() == (1,)
    with Http(broker.port) as connection:
        for i in range(110):
            assert connection("POST", "/topics/x", b"x" * 1000000).status == 201
    assert reader.execute("SELECT count(*) FROM messages").fetchone() == (1,)
    said = [line for line in broker.stderr().splitlines() if "read transaction" in line]
    assert 1 <= len(said) <= 2 and "broker.db-wal holds" in said[0] and "end it" in said[0], said
    # By then it was tidied up, as far as the reader allows; nothing follows that it could
    # be tidied up after.
    wait_for(lambda: broker.metric("tail_bytes") <= 2 * MiB, 10, "a quiet second")
    assert broker.metric("wal_bytes") > 100 * MiB
    reader.close()
    wait_for(lambda: broker.metric("wal_bytes") == 0, 10, "the WAL to be cut")
    assert os.path.getsize(broker.db + "-wal") < MiB
    assert broker.metric("file_bytes") == os.path.getsize(broker.db) > 100 * MiB
    assert broker.metric("disk_free_bytes") > 0
