"""History: what a subscriber reads that is not in memory any more, and at what cost."""

import json
import os
import re
import selectors
import socket
import sqlite3
import threading
import time

import pytest

from cluster import SLOW, JsonSocket, free_ports, wait_for
from load import Worker

GATHERING_S = 0.09  # of a poll, and a little less: MORE_MS of front_http_poll.c
PAUSE = 15_000  # messages of 100 bytes: more than what is in memory and on the way
NUMBER = re.compile(rb'"(?:message|body)":"(\d{8})')


def start(cluster, *args):
    broker = cluster.add(free_ports(1)[0])
    broker.args = list(args)
    return broker.start()


def body_of(i, size):
    return f"{i:08d}".ljust(size, "x")


def publish_many(broker, numbers, topic, size=100):
    """Bodies begin with their number; topic(i) says where to.  All are acknowledged."""
    conn = JsonSocket(broker.port, broker.ip, timeout=120)
    lines, last = [], numbers[-1]
    for i in numbers:
        publish = {"type": "publish", "topic": topic(i), "message": body_of(i, size),
                   "lamport_timestamp": 1}
        if i == last:
            publish["ack"] = True
        lines.append(json.dumps(publish))
        if len(lines) == 500 or i == last:
            conn.sock.sendall("\n".join(lines).encode() + b"\n")
            lines = []
    assert conn.read(120)["type"] == "ack"
    conn.close()


def ask_stream(broker, query, accept, receive_bytes=None):
    """A stream that nobody reads yet."""
    sock = socket.socket()
    if receive_bytes:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    sock.connect((broker.ip, broker.port))
    sock.settimeout(60)
    sock.sendall(f"GET /topics{query} HTTP/1.1\r\nHost: {broker.ip}:{broker.port}\r\n"
                 f"Accept: {accept}\r\n\r\n".encode())
    return sock


class Numbers:
    """Takes what comes apart into the numbers of messages."""

    def __init__(self):
        self.rest, self.got = b"", []

    def take(self, data):
        data = self.rest + data
        end = data.rfind(b"\n") + 1
        self.rest = data[end:]
        self.got += [int(n) for n in NUMBER.findall(data[:end])]


# ---- between disk and memory ------------------------------------------------------


class Bursts(threading.Thread):
    """Reads a stream in bursts with pauses between them, so that it falls behind what is in
    memory, and at the end catches up."""

    def __init__(self, broker, sock, burst):
        super().__init__(daemon=True)
        self.broker, self.sock, self.burst = broker, sock, burst
        self.numbers, self.calm, self.problem = Numbers(), threading.Event(), None
        self.start()

    def run(self):
        try:
            while True:
                taken = 0
                while taken < self.burst or self.calm.is_set():
                    data = self.sock.recv(1 << 16)
                    if not data:
                        return
                    taken += len(data)
                    self.numbers.take(data)
                # A pause ends when this much more was published: no clock is asked.
                lsn = self.broker.metric("lsn")
                while not self.calm.is_set() and self.broker.metric("lsn") < lsn + PAUSE:
                    time.sleep(0.01)
        except OSError as e:
            self.problem = e


@pytest.mark.parametrize("accept", ["application/x-ndjson", "text/event-stream"])
def test_who_lags_goes_from_memory_to_disk_and_back(cluster, accept):
    # Broken if a message is lost or comes twice where a subscription changes between the two,
    # or if one that lagged once stays on disk for ever.
    total = 60_000 if not SLOW else 30_000
    broker = start(cluster, "--tail-bytes", "1M")
    readers = [Bursts(broker, ask_stream(broker, query, accept, 16384), burst)
               for query, burst in (("/a?cursor=earliest", 50_000), ("/b?cursor=earliest", 200_000),
                                    ("?filter=%23&cursor=earliest", 400_000),
                                    ("?filter=b&filter=c&cursor=earliest", 100_000))]
    wanted = ["a", "b", "abc", "bc"]
    topic = lambda i: "aab"[i % 3] if i % 1000 else "c"
    publish_many(broker, range(total), topic)
    assert broker.metric("reads_total") > 0, "nobody fell behind what is in memory"
    for r in readers:
        r.calm.set()
    expected = [[i for i in range(total) if topic(i) in w] for w in wanted]
    for r, e in zip(readers, expected):
        wait_for(lambda: len(r.numbers.got) >= len(e) or r.problem, 60, "the rest to come")
        assert r.numbers.got == e
    reads = broker.metric("reads_total")
    publish_many(broker, range(total, total + 300), lambda i: "abc"[i % 3])
    for r, w, e in zip(readers, wanted, expected):
        more = [i for i in range(total, total + 300) if "abc"[i % 3] in w]
        wait_for(lambda: len(r.numbers.got) >= len(e) + len(more) or r.problem, 20, "what is new")
        assert r.numbers.got == e + more
    assert broker.metric("reads_total") == reads, "live messages were read from disk"
    for r in readers:
        r.sock.shutdown(socket.SHUT_RDWR)
        r.join(10)
        r.sock.close()


def numbers_of(page):
    return [int(m["body"][:8]) for m in page["messages"]]


def poll_disk(broker, query, limit, left):
    """One answer with as much as was asked for; with less only when the tenth of a second in
    which a poll gathers was not enough for the disk (docs/HTTP.md), which a busy machine, or a
    sanitizer, takes care of."""
    began = time.monotonic()
    a = broker.http("GET", f"/topics{query}&limit={limit}&wait=0")
    took = time.monotonic() - began
    if a.status == 204:
        assert left == 0, query
        return None
    page = a.json()
    count = len(page["messages"])
    assert not page["gaps"]
    assert count == min(limit, left) or (0 < count < limit and took > GATHERING_S), (query, limit)
    return page


def test_a_poll_takes_what_it_asked_for_from_disk(cluster):
    # Broken if one request brings a page of the disk's instead of what `limit` says, or if
    # pages of any size do not join up.
    broker = start(cluster, "--tail-bytes", "1M")
    publish_many(broker, range(30_000), lambda i: "rare" if i % 10 == 7 else f"t/{i % 300}")
    wanted = list(range(7, 30_000, 10))
    for query in ("/rare?", "?filter=rare&filter=none&", "?filter=rare/%23&"):
        for limit in (1, 7, 1000, 10_000):
            got, cursor = [], "earliest"
            for _ in range(3 if limit < 1000 else 100):
                page = poll_disk(broker, f"{query}cursor={cursor}", limit, len(wanted) - len(got))
                if not page:
                    break
                got += numbers_of(page)
                cursor = page["cursor"]
            assert got == wanted[:len(got)], (query, limit)
            assert limit < 1000 or got == wanted, (query, limit)


def test_since_begins_at_a_time_of_arrival(cluster):
    # Broken if `since` misses what came in that time, or brings what came before, on disk or
    # in memory, or if its cursor does not hold what came before.
    broker = start(cluster, "--tail-bytes", "1M")
    publish_many(broker, range(20_000), lambda i: f"t/{i % 7}")
    broker.stop()
    with sqlite3.connect(broker.db) as c:  # as if it had come an hour earlier
        first = c.execute("SELECT min(lsn) FROM batches WHERE lsn > 9000").fetchone()[0]
        c.execute("UPDATE batches SET received_ms = received_ms - 3600000 WHERE lsn < ?", (first,))
    c.close()
    broker.start()
    publish_many(broker, range(20_000, 21_000), lambda i: f"t/{i % 7}")

    def read(topics, since, wanted):
        got, place = [], f"since={since}"
        while page := poll_disk(broker, f"?filter={topics}&{place}", 10_000, len(wanted) - len(got)):
            got += numbers_of(page)
            place = f"cursor={page['cursor']}"
        assert got == wanted

    read("t/%2B", "30m", list(range(first - 1, 21_000)))
    read("t/3", "2h", list(range(3, 21_000, 7)))
    assert broker.http("GET", "/topics/none?since=30m&wait=0").status == 204


# ---- what it costs --------------------------------------------------------------------


def read_each(socks, count):
    """Each sock gets the numbers 0 to count - 1, in order."""
    ready, left = selectors.DefaultSelector(), len(socks)
    for s in socks:
        s.setblocking(False)
        ready.register(s, selectors.EVENT_READ, Numbers())
    end = time.monotonic() + 240
    while left > 0:
        assert time.monotonic() < end, f"{left} did not get all"
        for key, _ in ready.select(1):
            data = key.fileobj.recv(1 << 18)
            assert data, "a subscriber was dropped"
            key.data.take(data)
            if len(key.data.got) >= count:
                assert key.data.got == list(range(count))
                ready.unregister(key.fileobj)
                left -= 1


@pytest.mark.skipif(SLOW, reason="the sanitizer's memory is another")
def test_thousands_that_never_read_take_next_to_no_memory(cluster):
    # Broken if a subscriber that does not read costs memory for what it does not take, or does
    # not get it later.  Of the thousand 20 read all of it later over the same connection, and
    # each other reads the last part by cursor.
    count, last, idle, readers, mib = 15_000, 100, 1000, 20, 8
    broker = start(cluster, "--tail-bytes", f"{mib}M")
    kinds = ["application/x-ndjson", "text/event-stream"]
    # The kernel would take megabytes for each, which is not the broker's memory.
    socks = [ask_stream(broker, "/t", kinds[i % 2], None if i < readers else 4096)
             for i in range(idle)]
    wait_for(lambda: broker.metric("conns_open") >= idle, 20, "all subscriptions")
    # An answer's head says that the subscription stands.
    for s in socks:
        assert s.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 200"
    most, done = [0.0], threading.Event()

    def watch():
        while not done.wait(0.05):
            most[0] = max(most[0], broker.resident_kib() / 1024)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        publish_many(broker, range(count - last), lambda i: "t", size=1024)
        near_the_end = broker.poll("t", "latest", wait=0)[1]
        publish_many(broker, range(count - last, count), lambda i: "t", size=1024)
        read_each(socks[:readers], count)
        for s in socks[readers:]:
            s.close()
            page = broker.http("GET", f"/topics/t?cursor={near_the_end}&wait=0").json()
            assert [int(m["body"][:8]) for m in page["messages"]] == list(range(count - last, count))
    finally:
        done.set()
        watcher.join()
    for s in socks[:readers]:
        s.close()
    assert most[0] <= mib + 64, f"{most[0]:.0f} MiB"


def unread_poll(broker, topic, cursor):
    """A long poll whose answer nobody reads yet."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect((broker.ip, broker.port))
    sock.settimeout(60)
    sock.sendall(f"GET /topics/{topic}?cursor={cursor}&limit=10000 HTTP/1.1\r\n"
                 f"Host: {broker.ip}:{broker.port}\r\nConnection: close\r\n\r\n".encode())
    return sock


@pytest.mark.skipif(SLOW, reason="the sanitizer's memory is another")
def test_answers_that_nobody_reads_share_what_memory_there_is(cluster):
    # Broken if each of a thousand long polls is answered with a megabyte that it does not
    # read, or if one that gets less does not get the rest by its cursor.
    count, polls, mib = 1000, 1000, 8
    broker = start(cluster, "--tail-bytes", f"{mib}M")
    publish_many(broker, range(count), lambda i: "t", size=1024)
    socks = [unread_poll(broker, "t", "earliest") for _ in range(polls)]
    for s in socks:
        assert s.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 200"
    most = broker.resident_kib() / 1024
    assert most <= mib + 64, f"{most:.0f} MiB"
    sizes = []
    for s in socks[:3] + socks[-3:]:
        with s.makefile("rb") as f:
            page = json.loads(f.read().split(b"\r\n\r\n", 1)[1])
        got = page["messages"]
        sizes.append(len(got))
        while len(got) < count:
            page = broker.http("GET", f"/topics/t?cursor={page['cursor']}&limit=10000&wait=0")
            page = page.json()
            assert not page["gaps"]
            got += page["messages"]
        assert [int(m["body"][:8]) for m in got] == list(range(count))
    for s in socks:
        s.close()
    assert sizes[0] == count and sizes[-1] >= 1


def test_readers_do_not_hold_up_the_log_beside_the_file(cluster):
    # Broken if a read of history keeps a transaction open: the WAL could not be begun anew
    # while anybody reads, and would take all that is published.
    broker = start(cluster, "--tail-bytes", "1M")
    publish_many(broker, range(20_000), lambda i: "t", size=1024)
    stop = threading.Event()

    def read():
        while not stop.is_set():
            s = ask_stream(broker, "/t?cursor=earliest", "application/x-ndjson")
            taken = 0
            while taken < 20 << 20 and not stop.is_set():
                data = s.recv(1 << 18)
                assert data, "a reader was dropped"
                taken += len(data)
            s.close()

    readers = [Worker(read) for _ in range(20)]
    most = 0
    for part in range(20):
        publish_many(broker, range(part * 5000, part * 5000 + 5000), lambda i: "t", size=1024)
        most = max(most, os.path.getsize(broker.db + "-wal"))
    stop.set()
    for r in readers:
        r.end(30)
    assert broker.metric("reads_total") > 200
    assert most < 48 << 20, f"{most >> 20} MiB of WAL for 100 MiB published"
