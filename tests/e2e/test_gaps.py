"""What retention took before it was read is named, exactly once: docs/HTTP.md, Gaps."""
import json
import sqlite3
import socket
import time

import pytest

import cluster as harness
from peer import Peer, Stream, message
from raw import Raw, publish, request, request_bytes

SHORT = ["--retention", "2s"]


def place(receipt):
    stream, seq = receipt["id"].split("-")
    return stream, int(seq)


def floor(broker, stream):
    rows = broker.sqlite(f"select floor from streams where stream = {int(stream, 16)}")
    return int(rows[0]) if rows else 0


def wait_expired(broker, receipt, timeout=20):
    stream, seq = place(receipt)
    harness.wait_for(lambda: floor(broker, stream) >= seq, timeout, f"{receipt['id']} to expire")


def get_page(broker, target):
    status, headers, body = request(broker, "GET", target)
    if status == 204:
        return {"messages": [], "gaps": [], "cursor": headers["hearsay-cursor"]}
    assert status == 200, body
    return json.loads(body)


# ---- the faces: each yields (seqs of messages, gaps, cursor) until `last` was read or named ----


def reached(seqs, gaps):
    return max([0, *seqs[-1:], *[g["to"] for g in gaps[-1:]]])


def by_poll(broker, topic, cursor, last):
    seqs, gaps = [], []
    while reached(seqs, gaps) < last:
        page = get_page(broker, f"/topics/{topic}?cursor={cursor}&wait=10&limit=2")
        here = [place(m)[1] for m in page["messages"]]
        for gap in page["gaps"]:  # all of one stream
            assert gap.pop("at") == len([seq for seq in here if seq < gap["from"]])
        seqs, gaps = seqs + here, gaps + page["gaps"]
        cursor = page["cursor"]
    return seqs, gaps, cursor


def by_stream(broker, topic, cursor, last, accept):
    with Raw(broker) as raw:
        raw.send(request_bytes(broker, "GET", f"/topics/{topic}?cursor={cursor}",
                               headers=[("Accept", accept)]))
        return read_stream(raw, last, accept)


def read_stream(raw, last, accept):
    seqs, gaps, event, cursor = [], [], None, None
    while reached(seqs, gaps) < last:
        line = raw.line().strip()
        if line.startswith(b"id: "):
            cursor, event = line[4:].decode(), "message"
        elif line.startswith(b"event: "):
            event = line[7:].decode()
        elif line.startswith(b"data: ") or line.startswith(b"{"):
            m = json.loads(line.removeprefix(b"data: "))
            if accept == "application/x-ndjson":
                cursor = m["cursor"]
            if event == "gap" or "gap" in m:
                gaps.append(m.get("gap", m))
            elif "id" in m:
                seqs.append(place(m)[1])
    return seqs, gaps, cursor


def by_events(broker, topic, cursor, last):
    return by_stream(broker, topic, cursor, last, "text/event-stream")


def by_lines(broker, topic, cursor, last):
    return by_stream(broker, topic, cursor, last, "application/x-ndjson")


def by_json(broker, topic, cursor, last):
    conn = harness.JsonSocket(broker.port, broker.ip)
    conn.send({"type": "subscribe", "topic": topic, "cursor": cursor})
    seqs, gaps = [], []
    while reached(seqs, gaps) < last:
        m = conn.read()
        cursor = m.pop("cursor")
        if m.pop("type") == "gap":
            gaps.append(m)
        else:
            seqs.append(place(m)[1])
    conn.close()
    return seqs, gaps, cursor


FACES = [by_poll, by_events, by_lines, by_json]


def assert_all_once(first, last, seqs, gaps, where):
    """Messages first..last each came once, or were named once, by rising seq."""
    stream, origin = where
    named = []
    for g in gaps:
        assert set(g) == {"stream", "origin", "from", "to"}, g
        assert (g["stream"], g["origin"]) == (stream, origin)
        named += range(g["from"], g["to"] + 1)
    assert sorted(named + seqs) == list(range(first, last + 1))
    assert named == sorted(named) and seqs == sorted(seqs)
    assert not named or not seqs or named[-1] < seqs[0]


@pytest.mark.parametrize("face", FACES, ids=lambda f: f.__name__)
def test_an_old_cursor_is_told_what_is_gone(cluster, face):
    # Broken if what expired while a client was away were lost in silence, named wrongly, or
    # named again to one that goes on with the cursor that came with it.
    b = cluster.make(1, args=SHORT)[0]
    seen = publish(b, "t", "1")
    where = place(seen)[0], f"127.0.0.1:{b.port}"
    for body in "234":
        gone = publish(b, "t", body)
    wait_expired(b, gone)
    last = place(publish(b, "t", "alive"))[1]
    seqs, gaps, cursor = face(b, "t", seen["cursor"], last)
    assert gaps[0] == {"stream": where[0], "origin": where[1], "from": 2, "to": gaps[0]["to"]}
    assert_all_once(2, last, seqs, gaps, where)
    again = place(publish(b, "t", "more"))[1]
    seqs, gaps, _ = face(b, "t", cursor, again)
    assert_all_once(last + 1, again, seqs, gaps, where)


def test_gaps_alone_are_an_answer(cluster):
    # Broken if a poll that found nothing but gaps waited on, forgot them, or hid them from who
    # reads another topic; or if who starts at the beginning were told of what was before it.
    b = cluster.make(1, args=SHORT)[0]
    seen = publish(b, "t", "1")
    gone = publish(b, "t", "2")
    wait_expired(b, gone)
    want = [{"stream": place(seen)[0], "origin": f"127.0.0.1:{b.port}", "from": 2, "to": 2,
             "at": 0}]
    for target in (f"/topics/t?cursor={seen['cursor']}&wait=60",
                   f"/topics/no/such?cursor={seen['cursor']}&wait=0",
                   f"/topics?filter=%23&cursor={seen['cursor']}&covered=1&limit=1"):
        page = get_page(b, target)
        assert page["messages"] == [] and page["gaps"] == want, target
        assert get_page(b, f"/topics/t?cursor={page['cursor']}&wait=0")["gaps"] == []
    for start in ("cursor=earliest", "cursor=latest", "since=1h"):
        page = get_page(b, f"/topics/t?{start}&wait=0")
        assert page["gaps"] == [] and (start == "since=1h" or page["messages"] == []), start
        # ... nor when it goes on from there.
        publish(b, "t", "new")
        page = get_page(b, f"/topics/t?cursor={page['cursor']}&wait=10")
        assert [m["body"] for m in page["messages"]] == ["new"] and page["gaps"] == []
    b.restart()
    assert get_page(b, f"/topics/t?cursor={seen['cursor']}&wait=0")["gaps"][0]["from"] == 2


@pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson"])
def test_a_live_stream_that_lags_is_told(cluster, accept):
    # Broken if a client that does not read for long lost in silence what expired meanwhile.
    b = cluster.make(1, args=SHORT)[0]
    first = publish(b, "t", b"0")
    where = place(first)[0], f"127.0.0.1:{b.port}"
    with Raw(b, timeout=30) as raw:
        raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        raw.send(request_bytes(b, "GET", f"/topics/t?cursor={first['cursor']}",
                               headers=[("Accept", accept)]))
        raw.line()
        big = b"x" * (1 << 20)
        for _ in range(24):  # more than sockets keep
            gone = publish(b, "t", big)
        wait_expired(b, gone)
        last = place(publish(b, "t", "alive"))[1]
        seqs, gaps, _ = read_stream(raw, last, accept)
    named = [n for g in gaps for n in range(g["from"], g["to"] + 1)]
    assert gaps and seqs[0] == 2, "it had begun to read"
    assert sorted(named + seqs) == list(range(2, last + 1))
    assert all((g["stream"], g["origin"]) == where for g in gaps)


def test_a_gap_wakes_who_reads_something_else(cluster):
    # Broken if a broker that gets a gap from a peer told only those whose filter might match, or
    # if a client were told of it again at the next broker.
    a, b = cluster.make(2, start=False, args=SHORT)
    a.start()
    seen = publish(a, "t", "1")
    gone = publish(a, "t", "2")
    wait_expired(a, gone)
    a.stop()
    b.start()
    want = {"stream": place(seen)[0], "origin": f"127.0.0.1:{a.port}", "from": 1, "to": 2}
    conn = harness.JsonSocket(b.port, b.ip)
    conn.send({"type": "subscribe", "topic": "no/such", "ack": True})
    assert conn.read()["type"] == "subscribed"
    a.start()
    told = conn.read(30)
    cursor = told.pop("cursor")
    assert told == {"type": "gap", **want}
    conn.close()
    for broker in (a, b):
        page = get_page(broker, f"/topics/%23?cursor={seen['cursor']}&wait=0")
        assert page["gaps"] == [{**want, "from": 2, "at": 0}]
    for broker in (a, b):
        page = get_page(broker, f"/topics/%23?cursor={cursor}&wait=0")
        assert page["gaps"] == [] and page["messages"] == []
        cursor = page["cursor"]


def test_thousands_of_gaps(cluster):
    # Broken if an answer with a gap for each of thousands of streams were cut, or if the limit
    # on messages counted them.
    count = 5000
    b = cluster.make(1)[0]
    start = publish(b, "t", "x")["cursor"]
    streams = [Stream(origin=f"h{i}:9") for i in range(count)]
    with Peer(b) as p:
        p.up()
        for at in range(0, count, 500):
            p.push(*[s.batch(message("y", topic=b"p")) for s in streams[at:at + 500]])
            p.settle()
        harness.wait_for(lambda: len(b.vector()) == count + 1, 60, "all of them on disk")
    b.stop()
    b.args = SHORT
    b.start()
    gone = "select count(*) from streams where floor = head"
    harness.wait_for(lambda: b.sqlite(gone) == [str(count + 1)], 30, "expiry")
    page = get_page(b, f"/topics/t?cursor={start}&wait=10&limit=1")
    assert page["messages"] == []
    want = {f"{s.id:016x}": {"stream": f"{s.id:016x}", "origin": s.origin, "from": 1, "to": 1,
                            "at": 0} for s in streams}
    assert {g["stream"]: g for g in page["gaps"]} == want and len(page["gaps"]) == count
    # The cursor is too long for a query by now.
    status, _, body = request(b, "GET", "/topics/t?wait=0", f"cursor={page['cursor']}",
                              [("Content-Type", "application/x-www-form-urlencoded")])
    assert status == 200 and json.loads(body)["gaps"] == []
    # One by one, over a socket that is not read at first.
    conn = harness.JsonSocket(b.port, b.ip)
    conn.send({"type": "subscribe", "topic": "t", "cursor": start})
    began, named = time.monotonic(), set()
    while len(named) < 1000:
        m = conn.read(30)
        assert m["type"] == "gap" and m["stream"] not in named
        named.add(m["stream"])
    assert time.monotonic() - began < 60
    conn.close()


def test_a_damaged_place_in_the_log_hides_nothing(broker):
    # Broken if who resumes begins where a damaged row of batches says, and passes over the rest.
    start = broker.http("GET", "/topics/x?cursor=latest&wait=0").headers["Hearsay-Cursor"]
    lines = {"Content-Type": "application/x-ndjson"}
    broker.http("POST", "/topics/x", b"".join(b"%d\n" % n for n in range(3000)), lines)
    broker.stop()
    file = sqlite3.connect(broker.db)
    moved = "select first from batches order by first limit 1 offset 1"
    file.execute(f"update batches set lsn = lsn + 64 where first = ({moved})")
    file.commit()
    file.close()
    broker.args += ["--tail-bytes", "1K"]
    broker.start()
    told = {int(i.split("-")[1]) for i in broker.told(start, limit=100)}
    assert len(told) == 3000, sorted(set(range(1, 3001)) - told)[:5]
