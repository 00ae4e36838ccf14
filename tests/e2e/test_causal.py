"""What cannot come, and publishes after what a client has seen: real brokers, and a peer (peer.py)
that has what the test wants it to have."""

import json
import threading
import time

import pytest

from cluster import SLOW, JsonSocket, hearsay, wait_for
from cursors import Cursor, strange
from peer import Peer, Stream
from raw import Raw, publish, request, request_bytes

ADDR = ("127.0.0.1", 9)  # below every broker: nobody waits for it to lead
KEEP = ["--retention", "0"]  # what the peer sends is years old
SLACK = 3 if SLOW else 1


def seconds_of(call):
    start = time.monotonic()
    result = call()
    return time.monotonic() - start, result


def wait_body(broker, body, timeout=10):
    wait_for(lambda: [m for m in broker.read_all() if m["body"] == body], timeout, body)


# ---- late --------------------------------------------------------------------


@pytest.fixture
def short(cluster):
    """One broker that waits 1 s for what nobody has."""
    return cluster.make(1, args=["--causal-wait", "1s", *KEEP])[0]


def faces(broker):
    """Each way to read, from the beginning: name -> [(body, late)]."""
    seen = {}
    page = broker.http("GET", "/topics/peer/topic?cursor=earliest&wait=0").json()
    seen["poll"] = [(m["body"], m.get("late", False)) for m in page["messages"]]
    n = len(page["messages"])
    for name in ("text/event-stream", "application/x-ndjson"):
        seen[name] = []
        with Raw(broker) as raw:
            raw.send(request_bytes(broker, "GET", "/topics/peer/topic?cursor=earliest",
                                   headers=[("Accept", name)]))
            while len(seen[name]) < n:
                line = raw.line().decode().removeprefix("data: ").strip()
                if line.startswith("{") and "body" in line:
                    m = json.loads(line)
                    seen[name].append((m["body"], m.get("late", False)))
    conn = JsonSocket(broker.port)
    conn.send({"type": "subscribe", "topic": "peer/topic", "cursor": "earliest"})
    got = [conn.read() for _ in range(n)]
    conn.close()
    seen["sockets"] = [(m["message"], m.get("late", False)) for m in got]
    done = hearsay("subscribe", "--host", broker.host, "--port", str(broker.port), "--topic",
                   "peer/topic", "--from", "earliest", "--json", "--count", str(n))
    got = [json.loads(line) for line in done.stdout.splitlines()]
    seen["cli"] = [(m["body"], m.get("late", False)) for m in got]
    return seen


def test_what_nobody_has_comes_late_once(short):
    # Broken if one lost message held up all that came after it, at each of them anew; or if
    # what comes in good order were called late, or what is late not.
    lost, b, c, d = (Stream() for _ in range(4))
    question = lost.batch("question")
    subscriber = short.subscribe("peer/topic")
    with Peer(short, ADDR).up() as link:
        start = time.monotonic()
        link.push(b.batch("answer", deps={lost.id: 1}), b.batch("and more"))
        subscriber.wait_count(2)
        assert 1 <= time.monotonic() - start < 1 + 1.5 * SLACK
        spent, _ = seconds_of(lambda: (link.push(c.batch("another", deps={lost.id: 1})),
                                       subscriber.wait_count(3)))
        assert spent < 0.5 * SLACK
        link.push(question, d.batch("a third", deps={lost.id: 1, b.id: 2}))
        subscriber.wait_count(5)
    want = [("answer", True), ("and more", False), ("another", True), ("question", False),
            ("a third", False)]
    assert [(m["message"], m.get("late", False)) for m in subscriber.messages] == want
    subscriber.close()
    assert faces(short) == dict.fromkeys(faces(short), want)
    rows = short.sqlite("select l.body, m.flags & 2 from log l join messages m using (lsn)")
    assert rows == [f"{body}|{2 if late else 0}" for body, late in want]


def test_a_waiver_outlives_the_process(short):
    # Broken if a restart waited once more for what was given up before it, or forgot on disk
    # what came late.
    lost, b, c = (Stream() for _ in range(3))
    with Peer(short, ADDR).up() as link:
        link.push(b.batch("answer", deps={lost.id: 7}))
        wait_body(short, "answer")
    short.restart()
    with Peer(short, ADDR).up() as link:
        spent, _ = seconds_of(lambda: (link.push(c.batch("another", deps={lost.id: 7})),
                                       wait_body(short, "another")))
        assert spent < 0.5 * SLACK
        spent, _ = seconds_of(lambda: (link.push(c.batch("a longer one", deps={lost.id: 8})),
                                       wait_body(short, "a longer one")))
        assert spent >= 0.9
    want = [("answer", True), ("another", True), ("a longer one", True)]
    assert faces(short) == dict.fromkeys(faces(short), want)


def test_who_has_it_is_waited_for(short):
    # Broken if a message came late while a member said that it has what came before.
    lost, b = Stream(), Stream()
    question = lost.batch("question")
    with Peer(short, ADDR).up() as link:
        link.say_heads({lost.id: 1})
        link.push(b.batch("answer", deps={lost.id: 1}))
        assert link.expect("PULL")
        end = time.monotonic() + 2
        while time.monotonic() < end:
            link.settle()
        assert short.read_all() == []
        link.push(question)
        wait_body(short, "answer")
    assert [m["body"] for m in short.read_all()] == ["question", "answer"]
    assert not any("late" in m for m in short.read_all())


def test_what_lies_behind_a_hole_is_dropped(short):
    # Broken if batches that can never be stored filled the memory for ever, or if they could
    # not come again.
    def held_back():
        return short.metric("held_back")

    b = Stream()
    one, two = b.batch("one"), b.batch("two")
    with Peer(short, ADDR).up() as link:
        link.push(two)
        link.settle()
        assert held_back() == 1
        spent, _ = seconds_of(lambda: wait_for(lambda: held_back() == 0, 10, "it to be dropped"))
        assert 0.5 < spent < 1 + 1.5 * SLACK
        link.say_heads({b.id: 2})
        link.expect("PULL")
        link.push(one, two)
        wait_body(short, "two")
    assert [(m["body"], m.get("late")) for m in short.read_all()] == [("one", None), ("two", None)]


# ---- after -------------------------------------------------------------------


def by_http(broker, cursor, body):
    return [publish(broker, "x", body, headers=[("Hearsay-After", cursor)])]


def by_lines(broker, cursor, body):
    status, _, answer = lines(broker, cursor, body)
    assert status == 200, answer
    return [json.loads(line) for line in answer.splitlines()]


def lines(broker, cursor, body):
    with Raw(broker) as raw:
        raw.send(request_bytes(broker, "POST", "/topics/x", f"{body}\n{body} too\n", headers=[
            ("Content-Type", "application/x-ndjson"), ("Hearsay-After", cursor),
            ("Connection", "close")]))
        head, _, rest = raw.rest().partition(b"\r\n\r\n")
    if b"chunked" in head:
        whole = b""
        while rest and (size := int(rest.split(b"\r\n", 1)[0], 16)):
            rest = rest.split(b"\r\n", 1)[1]
            whole, rest = whole + rest[:size], rest[size + 2:]
        rest = whole
    return int(head.split(b" ")[1]), head, rest


def by_socket(broker, cursor, body):
    conn = JsonSocket(broker.port)
    conn.send({"type": "publish", "topic": "x", "message": body, "after": cursor, "ack": True})
    answer = conn.read()
    conn.close()
    return [answer]


FACES = [by_http, by_lines, by_socket]


@pytest.fixture
def pair(cluster):
    """A cursor that has seen a message of an origin that is no broker, and the broker that
    lacks it: (broker, cursor, the message's batch)."""
    near, far = cluster.make(2, start=False, args=KEEP)
    far.start()
    seen = Stream()
    batch = seen.batch("cause")
    with Peer(far, ADDR).up() as link:
        link.push(batch)
        wait_body(far, "cause")
        cursor = far.poll("peer/topic")[1]
    far.stop()
    near.start()
    return near, cursor, batch


@pytest.mark.parametrize("face", FACES)
def test_after_what_is_here(broker, face):
    # Broken if a publish waited for what is here, or said nothing of it.
    cursor = publish(broker, "x", "cause")["cursor"]
    spent, answers = seconds_of(lambda: face(broker, cursor, "effect"))
    assert spent < 0.5 * SLACK
    assert [a["causal"] for a in answers] == [True] * len(answers)


@pytest.mark.parametrize("face", FACES)
def test_after_what_is_on_its_way(pair, face):
    # Broken if a publish went ahead of its cause though that came 300 ms later.
    broker, cursor, batch = pair
    with Peer(broker, ADDR).up() as link:
        later = threading.Timer(0.3, link.push, [batch])
        later.start()
        spent, answers = seconds_of(lambda: face(broker, cursor, "effect"))
        later.join()
    assert 0.25 < spent < 0.9 + (SLACK - 1)
    assert [a["causal"] for a in answers] == [True] * len(answers)
    bodies = [m["body"] for m in broker.read_all()]
    assert bodies[:2] == ["cause", "effect"]


@pytest.mark.parametrize("face", FACES)
def test_after_what_does_not_come(pair, face):
    # Broken if a publish waited for ever, was refused, or passed for one after its cause.
    broker, cursor, batch = pair
    spent, answers = seconds_of(lambda: face(broker, cursor, "effect"))
    assert 0.95 < spent < 1.5 + (SLACK - 1)
    assert [a["causal"] for a in answers] == [False] * len(answers)
    assert broker.read_all()[0]["body"] == "effect"
    if "cursor" in answers[0]:  # it goes on from both, wherever that is
        with Peer(broker, ADDR).up() as link:
            link.push(batch)
            wait_body(broker, "cause")
        path = f"/topics/x?cursor={answers[0]['cursor']}&covered=1&wait=0"
        assert broker.http("GET", path).status in (200, 204)


def test_what_does_not_come_is_waited_for_once(pair):
    # Broken if a client that moved from a broker that is gone publishes once a second, on its
    # connection or each time anew; or if what comes after all is not waited for any more.
    broker, cursor, batch = pair
    conn = JsonSocket(broker.port)
    one = {"type": "publish", "topic": "x", "message": "m", "after": cursor, "ack": True}

    def many(count):
        for _ in range(count):
            conn.send(one)
        return [conn.read()["causal"] for _ in range(count)]

    spent, causal = seconds_of(lambda: many(1))
    assert 0.95 < spent and causal == [False]
    spent, causal = seconds_of(lambda: many(200) + many(1) + many(1))
    assert spent < 0.5 * SLACK and causal == 202 * [False]
    for face in FACES:
        spent, answers = seconds_of(lambda: face(broker, cursor, "effect"))
        assert spent < 0.5 * SLACK and not any(a["causal"] for a in answers)
    with Peer(broker, ADDR).up() as link:
        later = threading.Timer(0.3, link.push, [batch])
        later.start()
        spent, causal = seconds_of(lambda: many(1))
        assert 0.2 < spent < 0.9 + (SLACK - 1) and causal == [True]
        later.join()
    conn.close()


def test_what_is_sent_together_waits_together(pair):
    # Broken if each of the publishes that stand behind one another waits for a second of its own.
    broker, cursor, batch = pair
    conn = JsonSocket(broker.port)
    lines = []
    for i in range(5):
        after = Cursor(cursor)
        after.marks = strange(1, i)
        lines.append({"type": "publish", "topic": "x", "message": f"{i}", "after": after.text(),
                      "ack": True})

    def send(lines):
        conn.send(*lines)
        return [conn.read()["causal"] for _ in lines]

    spent, causal = seconds_of(lambda: send(lines))
    assert 0.95 < spent < 1.5 + (SLACK - 1) and causal == 5 * [False]
    lines[0]["after"] = cursor  # what is sent later has a time of its own
    spent, causal = seconds_of(lambda: send(lines))
    assert 0.95 < spent < 1.5 + (SLACK - 1) and causal == 5 * [False]
    conn.close()


NONSENSE = {"empty": "", "short": "x", "no check": "AAAA", "no base64": "\u00e9", "long": "A" * 5000}


@pytest.mark.parametrize("bad", NONSENSE.values(), ids=NONSENSE)
def test_after_nonsense(broker, bad):
    # Broken if a broken cursor were taken for none, and the order lost in silence.
    status, _, body = request(broker, "POST", "/topics/x", "y",
                              [("Hearsay-After", bad.encode().decode("latin-1"))])
    assert (status, json.loads(body)["code"]) == (400, "bad_cursor"), body
    status, _, body = lines(broker, bad.encode().decode("latin-1"), "y")
    assert (status, json.loads(body)["code"]) == (400, "bad_cursor"), body
    answer = by_socket(broker, bad, "y")[0]
    assert answer["type"] == "error" and answer["error"]
    assert broker.read_all() == []
