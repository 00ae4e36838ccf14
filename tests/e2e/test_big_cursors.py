"""Cursors of thousands of streams, which fit no HTTP head: docs/HTTP.md, long cursors."""
import json
import time

import pytest

import cluster as harness
from cursors import Cursor, strange
from raw import Raw, publish, request, request_bytes

STREAMS = 5000
FORM = ("Content-Type", "application/x-www-form-urlencoded")


def big(broker, count=STREAMS, stamp=0):
    """The broker's own cursor, merged with one that has been everywhere."""
    c = Cursor(publish(broker, "first", "x")["cursor"])
    c.marks.update(strange(count))
    c.stamp = max(c.stamp, stamp)
    return c.text()


def get(broker, target, form, headers=()):
    return request(broker, "GET", target, form, [FORM, *headers])


def poll(broker, topic, cursor):
    """(bodies, cursor) of one read, by a cursor in the body."""
    status, headers, body = get(broker, f"/topics/{topic}?wait=0", f"cursor={cursor}")
    assert status == 200, (status, body)
    assert "hearsay-cursor" not in headers, "it would be a head of a hundred KiB"
    page = json.loads(body)
    assert page["gaps"] == []
    return [m["body"] for m in page["messages"]], page["cursor"]


def poll_by_curl(broker, folder, topic, cursor):
    path = folder / "form"
    path.write_text(f"cursor={cursor}&wait=0")
    url = f"http://127.0.0.1:{broker.port}/topics/{topic}"
    code, out = harness.curl("-X", "GET", "-d", f"@{path}", url)
    assert code == 0, out
    page = json.loads(out)
    return [m["body"] for m in page["messages"]], page["cursor"]


def read_json(broker, topic, cursor, count):
    """(bodies, cursor) by a JSON socket."""
    conn = harness.JsonSocket(broker.port, broker.ip)
    conn.send({"type": "subscribe", "topic": topic, "cursor": cursor, "ack": True})
    got = conn.read()
    assert got["type"] == "subscribed", got
    assert Cursor(got["cursor"]).marks == Cursor(cursor).marks
    bodies = []
    for _ in range(count):
        got = conn.read()
        assert got["type"] == "publish", got
        bodies.append(got["message"])
    assert conn.is_silent()
    conn.close()
    return bodies, got["cursor"]


def read_stream(broker, topic, cursor, accept, count):
    """(bodies, cursor) by an endless answer, whose first line or block is the cursor."""
    with Raw(broker) as raw:
        raw.send(request_bytes(broker, "GET", f"/topics/{topic}", f"cursor={cursor}",
                               [FORM, ("Accept", accept), ("Connection", "close")]))
        bodies, last, event = [], None, None
        while len(bodies) < count or last is None:
            line = raw.line().strip()
            if line.startswith(b"id: "):
                last = line[4:].decode()
                event = Cursor(last)
            elif line.startswith(b"data: ") and line != b"data: {}":  # which says the place alone
                bodies.append(json.loads(line[6:])["body"])
            elif line.startswith(b"{"):
                m = json.loads(line)
                last = m["cursor"]
                event = Cursor(last)
                bodies += [m["body"]] if "body" in m else []
        assert len(event.marks) >= STREAMS
        return bodies, last


def test_a_cursor_of_5000_streams_goes_round(three, tmp_path):
    # Broken if a face refused or cut a long cursor, or if anything were lost or repeated on
    # the way from one broker and one face to the next.
    brokers = three.brokers
    cursor = big(brokers[0])
    readers = [
        lambda b, n: poll(b, "t", cursor),
        lambda b, n: poll_by_curl(b, tmp_path, "t", cursor),
        lambda b, n: read_json(b, "t", cursor, n),
        lambda b, n: read_stream(b, "t", cursor, "text/event-stream", n),
        lambda b, n: read_stream(b, "t", cursor, "application/x-ndjson", n),
    ]
    sent, got = [], []
    for turn in range(15):
        fresh = [f"{turn}-{i}" for i in range(turn % 4 + 1)]
        for body in fresh:
            receipt = publish(brokers[turn % 3], "t", body)
            publish(brokers[turn % 3], "other", body)
        sent += fresh
        three.wait_equal()
        reader = brokers[(turn + 1) % 3]
        bodies, cursor = readers[turn % 5](reader, len(fresh))
        assert bodies == fresh
        got += bodies
        marks = Cursor(cursor).marks
        assert strange(STREAMS).items() <= marks.items(), "what is unknown is carried along"
        stream, seq = receipt["id"].split("-")
        assert marks[int(stream, 16)] >= int(seq)
        # Whoever asks again gets nothing twice.
        bodies, cursor = poll(reader, "t", cursor)
        assert bodies == []
    assert got == sent


def test_covered_and_after(three):
    # Broken if what waits for a long cursor answered at once, or never.
    a, b, _ = three.brokers
    cursor = big(a)
    status, _, body = get(b, "/topics/t?covered=1&wait=0", f"cursor={cursor}")
    assert status == 409, body
    start = time.monotonic()
    conn = harness.JsonSocket(a.port, a.ip)
    conn.send({"type": "publish", "topic": "t", "message": "m", "after": cursor, "ack": True})
    assert conn.read()["causal"] is False
    assert 0.9 < time.monotonic() - start < 10
    conn.close()


def post_lines(broker, *lines):
    body = "".join(json.dumps(line) + "\n" for line in lines)
    code, out = harness.curl("-X", "POST", "-H", "Content-Type: application/x-ndjson",
                             "--data-binary", body, f"http://127.0.0.1:{broker.port}/topics")
    assert code == 0
    return [json.loads(line) for line in out.splitlines()]


def test_a_line_may_wait_for_a_cursor(three):
    # Broken if a line were published before what it says that it has seen, if others took on
    # what became of its wait, or if its receipt forgot what the client had seen.
    a, b, _ = three.brokers
    cursor = big(a, stamp=10**12)
    start = time.monotonic()
    got = post_lines(
        a,
        {"topic": "t", "body": "1"},
        {"topic": "t", "body": "2", "after": cursor},
        {"topic": "t", "body": "3", "after": "?"},
        {"topic": "t", "body": "4", "after": 4},
        {"topic": "t", "body": "5"},
    )
    assert 0.9 < time.monotonic() - start < 10
    assert [m.get("causal") for m in got] == [True, False, None, None, True]
    assert [m.get("code") for m in got[2:4]] == ["bad_line"] * 2
    assert strange(STREAMS).items() <= Cursor(got[1]["cursor"]).marks.items()
    assert strange(STREAMS).items() <= Cursor(got[4]["cursor"]).marks.items()
    assert Cursor(got[4]["cursor"]).stamp == 10**12
    assert [int(m["id"].split("-")[1]) for m in got if "id" in m] == [2, 3, 4]
    seen = publish(a, "cause", "x")["cursor"]
    got = post_lines(b, {"topic": "t", "body": "effect", "after": seen})
    assert got[0]["causal"] is True
    assert Cursor(seen).marks.items() <= Cursor(got[0]["cursor"]).marks.items()


def test_parameters_in_the_body(broker):
    # Broken if the body counted for less, or for more, than the query.
    for topic in ("a/x", "a/y", "b"):
        publish(broker, topic, topic)
    form = "filter=a/%2B&filter=b&cursor=earliest&wait=0&limit=2"
    status, _, body = get(broker, "/topics", form)
    assert status == 200
    assert [m["body"] for m in json.loads(body)["messages"]] == ["a/x", "a/y"]
    status, _, body = get(broker, "/topics?filter=b&wait=0", "cursor=earliest")
    assert [m["body"] for m in json.loads(body)["messages"]] == ["b"]
    status, _, body = get(broker, "/topics/b?wait=0", "since=1h&unknown=1")
    assert [m["body"] for m in json.loads(body)["messages"]] == ["b"]
    # Another type of body is none of ours.
    status, _, _ = request(broker, "GET", "/topics/b?wait=0", "cursor=earliest",
                           [("Content-Type", "text/plain")])
    assert status == 204
    for query, form in (
        ("cursor=earliest&wait=0", "cursor=latest"),
        ("wait=0", "w%61it=1"),
        ("filter=a&wait=0", "filter=b"),
        ("limit=1", "limit=1"),
        ("covered=0", "covered=1"),
        ("since=1s", "since=2s"),
    ):
        target = "/topics?" if "filter" in query else "/topics/t?"
        status, _, body = get(broker, target + query, form)
        assert status == 400 and json.loads(body)["code"] == "bad_parameter", (query, form, body)
        assert "not in both" in json.loads(body)["detail"]
    for form, code in (
        ("cursor=earliest&since=1s", "bad_parameter"),
        ("limit=0", "bad_parameter"),
        ("cursor=!", "bad_cursor"),
        ("filter=%4", "bad_request"),
        ("filter=a%23b", "bad_filter"),
    ):
        status, _, body = get(broker, "/topics" if "filter" in form else "/topics/t", form)
        assert status == 400 and json.loads(body)["code"] == code, (form, body)


def test_what_is_too_long(broker):
    # Broken if a body of a read were unbounded, or a refusal did not say where to go.
    most = (256 << 10) + (16 << 10)
    status, _, body = get(broker, "/topics/t?wait=0", "x=" + "y" * (most - 2))
    assert status == 204
    status, _, body = get(broker, "/topics/t?wait=0", "x=" + "y" * (most - 1))
    assert status == 413 and json.loads(body)["code"] == "body_too_large"
    cursor = big(broker)
    for headers, target in (
        ([("Last-Event-ID", cursor)], "/topics/t"),
        ([], f"/topics/t?cursor={cursor}"),
    ):
        status, _, body = request(broker, "GET", target, None, headers)
        assert status == 431
        problem = json.loads(body)
        assert problem["code"] == "head_too_large" and "body of a GET" in problem["detail"]
    status, _, body = get(broker, "/topics/t?wait=0", "cursor=" + "A" * ((256 << 10) + 4))
    assert status == 400 and "too long" in json.loads(body)["detail"]


@pytest.mark.parametrize("count", [400, 1000])
def test_the_header_stands_there_while_it_is_short(broker, count):
    # Broken if clients that read the header alone lost it without need, or got one that their
    # libraries refuse.
    status, headers, body = get(broker, "/topics/t?wait=0", f"cursor={big(broker, count)}")
    if count == 400:
        assert status == 204 and Cursor(headers["hearsay-cursor"]).marks
    else:
        assert status == 200 and "hearsay-cursor" not in headers
        assert json.loads(body)["messages"] == [] and json.loads(body)["gaps"] == []
