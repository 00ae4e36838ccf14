"""Streams: a real EventSource that changes brokers, places before the first message, pings."""

import fcntl
import json
import os
import shutil
import subprocess
import threading
import time
import urllib.parse

import pytest

from cluster import (ROOT, SLOW, Cluster, JsonSocket, Relay, clean_env, free_ports, wait_for)
from raw import Raw, Stream, publish, request, request_bytes

HERE = os.path.dirname(os.path.abspath(__file__))


# ---- an EventSource ------------------------------------------------------------


def install_eventsource():
    """The folder of the client, as npm installs it from its lock file; once for each build."""
    source, folder = os.path.join(HERE, "eventsource"), os.path.join(ROOT, "build", "eventsource")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = os.path.join(folder, "installed.json")
        with open(os.path.join(source, "package-lock.json")) as f:
            wanted = f.read()
        if not os.path.exists(done) or open(done).read() != wanted:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(os.path.join(source, name), folder)
            ran = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder,
                                 capture_output=True, text=True, timeout=300)
            assert ran.returncode == 0, f"npm could not install the EventSource client:\n{ran.stderr}"
            with open(done, "w") as f:
                f.write(wanted)
        shutil.copy(os.path.join(source, "client.mjs"), folder)
    return folder


class Page:
    """A program that follows a URL by the EventSource of npm, and what it saw."""

    def __init__(self, url):
        self.said, self.lock = [], threading.Lock()
        self.process = subprocess.Popen(["node", "client.mjs", url], cwd=install_eventsource(),
                                        stdout=subprocess.PIPE, text=True, env=clean_env())
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        for line in self.process.stdout:
            with self.lock:
                self.said.append(json.loads(line))

    def get(self, name):
        with self.lock:
            return [x[name] for x in self.said if name in x]

    def ids(self):
        return [m["id"] for m in self.get("message")]

    def wait(self, name, count, timeout=30):
        wait_for(lambda: len(self.get(name)) >= count, timeout, f"{count} x {name}")
        return self

    def close(self):
        self.process.kill()
        self.process.wait(10)
        self.thread.join(10)


class Publisher(threading.Thread):
    """Publishes numbers, a window of them at a time, until they are all acknowledged or the
    broker dies; `acked` are the ids."""

    def __init__(self, broker, topic, count):
        super().__init__(daemon=True)
        self.topic, self.count, self.acked = topic, count, []
        self.conn = JsonSocket(broker.port, broker.ip)
        self.start()

    def run(self):
        try:
            for i in range(self.count):
                self.conn.send({"type": "publish", "topic": self.topic, "message": str(i), "ack": True})
                if i % 20 == 19:
                    self.take(20)
            self.take(self.count % 20)
        except OSError:
            pass
        self.conn.close()

    def take(self, count):
        for _ in range(count):
            answer = self.conn.read(60)
            if answer is None:
                raise OSError("the broker is gone")
            self.acked.append(answer["id"])


@pytest.fixture
def two(cluster):
    """Two brokers, and a relay that may lead to either."""
    cluster.make(2)
    cluster.wait_linked()
    relay = Relay(free_ports(1)[0], "127.0.0.1")
    cluster.relays.append(relay)

    def lead_to(broker):
        relay.goal = (broker.ip, broker.port)

    relay.lead_to = lead_to
    return cluster, relay, *cluster.brokers


def follow(cluster, relay, path):
    page = Page(f"http://127.0.0.1:{relay.port}{path}")
    cluster.closers.append(page.close)
    return page.wait("cursor", 1)


def test_an_event_source_changes_brokers(two):
    # Broken if a browser that loses its broker lost or repeated a message at the next one.
    cluster, relay, a, b = two
    count = 500 if SLOW else 2500
    relay.lead_to(a)
    page = follow(cluster, relay, "/topics?filter=t/%2B&filter=t/a")
    at_a, at_b = Publisher(a, "t/a", 1 << 20), Publisher(b, "t/b", count)
    page.wait("message", count // 2)
    relay.lead_to(b)
    a.kill()
    page.wait("open", 2)
    at_a.join(60)
    a.start()  # what it had acknowledged and nobody else has comes only now
    again = Publisher(a, "t/a", count)
    page.wait("message", count * 2, 60)
    relay.lead_to(a)
    relay.cut()
    wait_for(lambda: not relay.pairs, 10, "the relay to drop the page")
    relay.heal()
    more = Publisher(b, "t/b", 200)
    page.wait("open", 3)
    for publisher in (at_b, again, more):
        publisher.join(60)
    assert (len(at_b.acked), len(again.acked), len(more.acked)) == (count, count, 200)
    publish(b, "t/end", "end")
    cluster.wait_equal()
    stored = [m["id"] for m in b.read_all("t/%2B")]
    assert set(at_a.acked + at_b.acked + again.acked + more.acked) <= set(stored)
    page.wait("message", len(stored))
    ids = page.ids()
    assert len(ids) == len(set(ids)), "a message came twice"
    assert set(ids) == set(stored)
    last = {}
    for i in ids:
        stream, seq = i.split("-")
        assert int(seq) > last.get(stream, 0), "out of order"
        last[stream] = int(seq)


def test_an_event_source_that_has_seen_nothing_yet(two):
    # Broken if a browser whose broker dies before the first message missed what was published
    # until it came back: it would begin at `latest` once more.
    cluster, relay, a, b = two
    relay.lead_to(a)
    page = follow(cluster, relay, "/topics/t")
    relay.lead_to(b)
    a.kill()
    sent = [publish(b, "t", str(i))["id"] for i in range(50)]
    page.wait("message", 50)
    assert page.ids() == sent and len(page.get("open")) == 2
    (first, second) = page.get("cursor")[:2]
    assert first == second, "it came back to where it was"


# ---- each face: a place before the first message -------------------------------


class Sse:
    @staticmethod
    def place(broker, filters):
        with Stream(broker, path_of(filters), "text/event-stream") as s:
            name, cursor = s.block()[0]
            assert name == "id"
            return cursor

    @staticmethod
    def read(broker, filters, cursor, count):
        with Stream(broker, path_of(filters), "text/event-stream", Last_Event_ID=cursor) as s:
            return s.messages(count)


class Ndjson:
    @staticmethod
    def place(broker, filters):
        with Stream(broker, path_of(filters), "application/x-ndjson") as s:
            return s.row()["cursor"]

    @staticmethod
    def read(broker, filters, cursor, count):
        with Stream(broker, path_of(filters, cursor), "application/x-ndjson") as s:
            assert set(s.row()) == {"cursor"}
            return [s.row()["body"] for _ in range(count)]


class Poll:
    @staticmethod
    def place(broker, filters):
        status, headers, _ = request(broker, "GET", path_of(filters) + "&wait=0")
        assert status == 204
        return headers["hearsay-cursor"]

    @staticmethod
    def read(broker, filters, cursor, count):
        got = []
        while len(got) < count:
            status, headers, body = request(broker, "GET", path_of(filters, cursor) + "&wait=10")
            assert status == 200
            got += [m["body"] for m in json.loads(body)["messages"]]
            cursor = headers["hearsay-cursor"]
        return got


class PollThatWaits(Poll):
    """Asks before anything is there, and goes away before the answer: with the cursor it had."""

    @staticmethod
    def place(broker, filters):
        cursor = Poll.place(broker, filters)
        with Raw(broker) as raw:
            raw.send(request_bytes(broker, "GET", path_of(filters, cursor) + "&wait=30"))
        return cursor


class Json:
    @staticmethod
    def place(broker, filters):
        return Json.open(broker, filters)[1]

    @staticmethod
    def open(broker, filters, **more):
        conn = JsonSocket(broker.port, broker.ip)
        topic = filters if len(filters) > 1 else filters[0]
        conn.send({"type": "subscribe", "topic": topic, "ack": True, **more})
        answer = conn.read(10)
        assert answer["type"] == "subscribed", answer
        return conn, answer["cursor"]

    @staticmethod
    def read(broker, filters, cursor, count):
        conn, _ = Json.open(broker, filters, cursor=cursor)
        got = [conn.read(10)["message"] for _ in range(count)]
        conn.close()
        return got


class Latest(Poll):
    @staticmethod
    def place(broker, filters):
        status, headers, _ = request(broker, "GET", "/latest/nothing/here")
        assert status == 404
        return headers["hearsay-cursor"]


def path_of(filters, cursor=None):
    query = [("filter", f) for f in filters] + ([("cursor", cursor)] if cursor else [])
    return "/topics?" + urllib.parse.urlencode(query)


FACES = [Sse, Ndjson, Poll, PollThatWaits, Json, Latest]


def test_a_place_before_the_first_message(three):
    # Broken if a subscription made while nothing was there lost what came between the drop of
    # its connection and its return, at whichever broker and by whichever face.
    a, b, c = three.brokers
    empty = [face.place(a, ["t"]) for face in FACES]
    publish(b, "other", "x", "?acks=all&timeout=20s")
    quiet = [face.place(a, ["t"]) for face in FACES]
    for i, broker in enumerate((b, a, c)):
        publish(broker, "t", f"{i}", "?acks=all&timeout=20s")
    a.kill()  # whoever gave the places is gone
    publish(b, "t", "3")
    for face, one, other in zip(FACES, empty, quiet):
        for cursor in (one, other):
            assert sorted(face.read(b, ["t"], cursor, 4)) == ["0", "1", "2", "3"], face


@pytest.mark.parametrize("face", [Sse, Ndjson, Poll, Json])
def test_several_filters_in_one_subscription(broker, face):
    # Broken if a message that two filters match came twice, or one of sixteen were forgotten.
    filters = [f"only/{i}" for i in range(13)] + ["a/+", "a/b", "#"]
    place = face.place(broker, filters[:15])
    sent = ["a/b", "a/c", "only/0", "elsewhere", "only/12", "a/b/c", "a/b"]
    for topic in sent:
        publish(broker, topic, topic)
    assert face.read(broker, filters, place, len(sent)) == sent
    wanted = [t for t in sent if t not in ("elsewhere", "a/b/c")]
    assert face.read(broker, filters[:15], place, len(wanted)) == wanted
    assert face.read(broker, ["a/b", "a/b"], place, 2) == ["a/b", "a/b"]


def test_too_many_filters(broker):
    # Broken if one request could ask for as much work as it likes.
    filters = [f"t/{i}" for i in range(17)]
    for accept in ("text/event-stream", "application/x-ndjson", "application/json"):
        status, _, body = request(broker, "GET", path_of(filters), headers=[("Accept", accept)])
        assert (status, json.loads(body)["code"]) == (400, "bad_parameter")
    conn = JsonSocket(broker.port)
    for topic in (filters, [], [1], ["a", "b#"], {"a": 1}):
        conn.send({"type": "subscribe", "topic": topic})
        assert conn.read()["type"] == "error"
    conn.send({"type": "subscribe", "topic": filters[:16], "ack": True})
    assert conn.read()["type"] == "subscribed"
    conn.close()


# ---- pings -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """Streams that were opened when the first test of this file began, at a broker where other
    topics move and at one where nothing does."""
    clusters = [Cluster(tmp_path_factory.mktemp(name)) for name in ("moving", "still")]
    moving, still = (c.make(1)[0] for c in clusters)
    began = time.monotonic()
    streams = {(name, accept): Stream(broker, "/topics/t?cursor=latest", accept)
               for name, broker in (("moving", moving), ("still", still))
               for accept in ("text/event-stream", "application/x-ndjson")}
    first = {key: s.block() if "event" in key[1] else s.row() for key, s in streams.items()}
    publish(moving, "other", "x")
    yield began, first, streams, still
    for s in streams.values():
        s.conn.close()
    problems = [p for c in clusters for p in c.close()]
    assert not problems, "\n".join(problems)


@pytest.fixture(autouse=True)
def opened_early(quiet):
    pass


def test_pings(quiet):
    # Broken if a proxy on the way took a quiet stream for dead, or if the cursor of a client on
    # a quiet topic stood still until retention passed it.
    began, first, streams, still = quiet
    for name in ("moving", "still"):
        sse, ndjson = streams[name, "text/event-stream"], streams[name, "application/x-ndjson"]
        assert sse.block() == [("", "")], "a comment, for those on the way"
        assert 14.5 < time.monotonic() - began < 60
        place = dict(first[name, "text/event-stream"])["id"]
        row = ndjson.row()
        assert set(row) == {"cursor"}
        assert first[name, "application/x-ndjson"]["cursor"] == place
        if name == "still":
            assert row["cursor"] == place
            publish(still, "t", "x")
            assert "event" not in dict(sse.block()), "a place that did not move is not said again"
            continue
        fields = sse.block()
        assert fields == [("id", row["cursor"]), ("event", "cursor"), ("data", "{}")]
        assert row["cursor"] != place
