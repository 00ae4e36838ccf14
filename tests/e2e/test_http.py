"""The HTTP face: receipts, cursors, waiting, pipelining.  docs/HTTP.md is the promise."""
import base64
import http.client
import json
import threading

import pytest

import cluster as harness
from raw import Raw, Stream, get_json, publish, request, request_bytes

HOST = b"Host: localhost\r\n"


def poll(broker, query):
    """(messages, cursor) of one read."""
    status, headers, body = request(broker, "GET", query)
    if status == 204:
        assert body == b""
        return [], headers["hearsay-cursor"]
    assert status == 200, body
    page = json.loads(body)
    assert headers["hearsay-cursor"] == page["cursor"] and page["gaps"] == []
    return page["messages"], page["cursor"]


def test_a_message_comes_back_as_it_was_sent(broker):
    # Broken if type, meta or any byte of a body were lost on the way.
    body = bytes(range(256))
    sent = publish(broker, "a/%C3%A9/b", body, headers=[
        ("Content-Type", "application/x-thing; v=1"), ("Hearsay-Meta-Name", "x \"y\""),
        ("hearsay-meta-other", "1"), ("Hearsay-Lamport", "41")])
    (m,), _ = poll(broker, "/topics/a/%C3%A9/b?cursor=earliest&wait=0")
    assert base64.b64decode(m["body_base64"]) == body and "body" not in m
    assert m["topic"] == "a/é/b" and m["type"] == "application/x-thing; v=1"
    assert m["meta"] == {"name": 'x "y"', "other": "1"}
    assert (m["id"], m["lamport"], m["origin"]) == (sent["id"], sent["lamport"], sent["origin"])
    assert sent["lamport"] > 41 and sent["copies"] == 1 and sent["causal"] is True
    publish(broker, "text", 'quote " backslash \\ nul \0 é 𝄞')
    (m,), _ = poll(broker, "/topics/text?cursor=earliest&wait=0")
    assert m["body"] == 'quote " backslash \\ nul \0 é 𝄞'
    publish(broker, "text", b"")
    assert poll(broker, "/topics/text?cursor=earliest&wait=0")[0][1]["body"] == ""


def test_the_receipt_cursor_covers_its_own_message(broker):
    # Broken if reading on from a receipt repeated or skipped something.
    first = publish(broker, "t", "1")
    assert poll(broker, f"/topics/t?cursor={first['cursor']}&wait=0")[0] == []
    publish(broker, "t", "2")
    messages, cursor = poll(broker, f"/topics/t?cursor={first['cursor']}&wait=0")
    assert [m["body"] for m in messages] == ["2"]
    assert poll(broker, f"/topics/t?cursor={cursor}&wait=0")[0] == []
    assert poll(broker, "/topics/t?wait=0")[0] == [], "the default is latest"


def test_a_poll_waits_for_the_first_message(broker):
    # Broken if a poll answered too early, or slept although something had come.
    _, cursor = poll(broker, "/topics/w?wait=0")
    with Raw(broker) as raw:
        raw.send(request_bytes(broker, "GET", f"/topics/w?cursor={cursor}&wait=30"))
        publish(broker, "other", "not wanted")
        publish(broker, "w", "wanted")
        status, _, body = raw.answer()
        assert status == 200
        assert [m["body"] for m in json.loads(body)["messages"]] == ["wanted"]
    messages, again = poll(broker, f"/topics/w?cursor={cursor}&wait=0")
    assert [m["body"] for m in messages] == ["wanted"]
    assert poll(broker, f"/topics/w?cursor={again}&wait=1")[0] == []


def test_limit_and_pages(broker):
    # Broken if a page boundary lost or doubled a message.
    for i in range(25):
        publish(broker, "p", str(i))
    seen, cursor = [], "earliest"
    while True:
        messages, cursor = poll(broker, f"/topics/p?cursor={cursor}&wait=0&limit=7")
        if not messages:
            break
        assert len(messages) <= 7
        seen += [m["body"] for m in messages]
    assert seen == [str(i) for i in range(25)]


def test_a_page_is_bounded(broker):
    # Broken if one answer could take any amount of memory.
    for i in range(8):
        publish(broker, "big", b"x" * (1 << 20))
    seen, cursor = 0, "earliest"
    while seen < 8:
        status, headers, body = request(broker, "GET", f"/topics/big?cursor={cursor}&wait=0")
        assert status == 200 and len(body) < (4 << 20) + 4096
        seen += len(json.loads(body)["messages"])
        cursor = headers["hearsay-cursor"]
    assert seen == 8


def test_filters(broker):
    # Broken if a pattern matched too much or too little, or two of them doubled a message.
    for topic in ("a/b", "a/c/d", "e", "$sys/x"):
        publish(broker, topic, topic)

    def got(query):
        return [m["body"] for m in poll(broker, query + "cursor=earliest&wait=0")[0]]

    assert got("/topics/a/+?") == ["a/b"]
    assert got("/topics/a/%23?") == ["a/b", "a/c/d"]
    assert got("/topics?filter=%23&") == ["a/b", "a/c/d", "e"]
    assert got("/topics?filter=a/%2B&filter=a/b&filter=e&") == ["a/b", "e"]
    assert got("/topics?filter=a/+&") == ["a/b"]
    assert got("/topics/$sys/%23?") == ["$sys/x"]
    assert got("/topics/nothing?") == []


def test_since(broker):
    # Broken if "the last hour" gave nothing, or anything at all were older than it.
    publish(broker, "s", "now")
    assert [m["body"] for m in poll(broker, "/topics/s?since=1h&wait=0")[0]] == ["now"]


def test_topics_are_listed(broker):
    # Broken if `hearsay topics` had nothing to show.
    for i in range(3):
        publish(broker, "x", str(i))
    publish(broker, "y/z", "1")
    rows = {t["topic"]: t for t in get_json(broker, "/topics")["topics"]}
    assert {k: v["messages"] for k, v in rows.items()} == {"x": 3, "y/z": 1}
    assert rows["y/z"]["newest_lsn"] > rows["x"]["newest_lsn"]


def test_pipelining_keeps_the_order(broker):
    # Broken if an answer overtook another: a client would take one receipt for the other's.
    count = 500  # more than may be outstanding at once
    with Raw(broker) as raw:
        sender = threading.Thread(target=raw.send, args=(b"".join(
            request_bytes(broker, "POST", "/topics/o", str(i)) if i % 10 else
            request_bytes(broker, "GET", "/healthz") for i in range(count)),))
        sender.start()
        receipts = []
        for i in range(count):
            status, _, body = raw.answer()
            assert status == (201 if i % 10 else 200), (i, body)
            if i % 10:
                receipts.append(json.loads(body))
        sender.join()
    stamps = [r["lamport"] for r in receipts]
    assert stamps == sorted(stamps) and len(set(stamps)) == len(stamps)
    got = []
    cursor = "earliest"
    while len(got) < len(receipts):
        messages, cursor = poll(broker, f"/topics/o?cursor={cursor}&wait=0")
        got += messages
    assert [m["id"] for m in got] == [r["id"] for r in receipts]
    assert [m["body"] for m in got] == [str(i) for i in range(count) if i % 10]


def test_a_pipelined_poll_sees_the_publish_before_it(broker):
    # Broken if a read ran ahead of what was asked before it on the same connection.
    with Raw(broker) as raw:
        raw.send(request_bytes(broker, "POST", "/topics/q", "one")
                 + request_bytes(broker, "GET", "/topics/q?cursor=earliest&wait=0")
                 + b"NONSENSE\r\n\r\n")
        assert raw.answer()[0] == 201
        status, _, body = raw.answer()
        assert status == 200 and json.loads(body)["messages"][0]["body"] == "one"
        assert raw.answer()[0] == 400
        assert raw.is_closed()


def test_requests_cut_at_every_byte(broker):
    # Broken if parsing depended on how the network cuts a request.
    whole = (b"POST /topics/c HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc"
             + b"POST /topics/c HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
             + b"2\r\nde\r\n1;x=y\r\nf\r\n0\r\nTrailer: x\r\n\r\n")
    with Raw(broker) as raw:
        for cut in range(1, len(whole)):
            raw.send(whole[:cut])
            raw.send(whole[cut:])
            assert raw.answer()[0] == 201
            assert raw.answer()[0] == 201
        for byte in whole:
            raw.send(bytes([byte]))
        assert raw.answer()[0] == 201
        assert raw.answer()[0] == 201
    messages, _ = poll(broker, "/topics/c?cursor=earliest&wait=0")
    assert [m["body"] for m in messages] == ["abc", "def"] * len(whole)


def test_expect_continue(broker):
    # Broken if curl had to wait a second for every larger body.
    with Raw(broker) as raw:
        raw.send(b"POST /topics/e HTTP/1.1\r\n" + HOST
                 + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert raw.answer()[0] == 100
        raw.send(b"hello")
        assert raw.answer()[0] == 201


def test_http_1_0_and_close(broker):
    # Broken if old clients waited for more after the answer.
    with Raw(broker) as raw:
        raw.send(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert raw.answer()[0] == 200
        assert raw.is_closed()
    with Raw(broker) as raw:
        raw.send(b"GET /healthz HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
        status, headers, _ = raw.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert raw.is_closed()


def test_half_close_is_answered(broker):
    # Broken if `nc -N` lost its answer.
    with Raw(broker) as raw:
        raw.send(request_bytes(broker, "POST", "/topics/h", "bye"))
        raw.send_end()
        assert raw.answer()[0] == 201
        assert raw.rest() == b""


def test_acks(cluster):
    # Broken if a promise of copies were made that nobody kept, or never kept at all.
    brokers = cluster.make(3)
    cluster.wait_linked()
    one, _, last = brokers
    sent = [publish(one, "k", "x", f"?acks={acks}") for acks in ("1", "2", "majority", "all", "3")]
    assert [s["copies"] >= want for s, want in zip(sent, (1, 2, 2, 3, 3))] == [True] * 5
    last.kill()
    status, _, body = request(one, "POST", "/topics/k?acks=all&timeout=300ms", "late")
    receipt = json.loads(body)
    assert status == 202 and 1 <= receipt["copies"] <= 2
    assert publish(one, "k", "x", "?acks=majority&timeout=10s")["copies"] >= 2


def test_cursors_hop_and_after_orders(three):
    # Broken if a client that changes brokers saw a gap, a repeat, or an effect before its cause.
    a, b, c = three.brokers
    first = publish(a, "hop", "cause")
    second = publish(b, "hop", "effect", headers=[("Hearsay-After", first["cursor"])])
    assert second["causal"] is True and second["lamport"] > first["lamport"]
    messages, _ = poll(c, f"/topics/hop?cursor={first['cursor']}&wait=10")
    assert [m["body"] for m in messages] == ["effect"]
    messages, _ = poll(c, "/topics/hop?cursor=earliest&wait=0")
    assert [m["body"] for m in messages] == ["cause", "effect"]
    messages, _ = poll(c, f"/topics/hop?cursor={second['cursor']}&covered=1&wait=1")
    assert messages == []


def test_after_what_nobody_has(cluster):
    # Broken if a cursor from a lost broker blocked its client for ever, or were called covered.
    a, b = cluster.make(2, start=False)
    a.start()
    only = publish(a, "x", "only here")
    cursor = only["cursor"]
    a.kill()
    b.start()
    got = publish(b, "x", "y", headers=[("Hearsay-After", cursor)])
    assert got["causal"] is False
    status, _, body = request(b, "GET", f"/topics/x?cursor={cursor}&covered=1&wait=1")
    assert (status, json.loads(body)["code"]) == (409, "not_covered")
    assert f"more of 1 stream than this broker has, such as {only['id']}:" in str(body)
    joined = publish(b, "x", "z", headers=[("Hearsay-After", cursor)])["cursor"]
    a.start()
    cluster.wait_equal()
    assert poll(a, f"/topics/x?cursor={joined}&covered=1&wait=5")[0] == [], "it covers both"


def test_forget(cluster):
    # Broken if a member that is gone for good counted for majorities for ever.
    a, b = cluster.make(2)
    cluster.wait_linked()
    name = f"{b.host}:{b.port}"
    b.kill()
    assert request(a, "DELETE", f"/cluster/{name}")[0] == 200
    assert [m["address"] for m in get_json(a, "/cluster")["members"]] == [f"127.0.0.1:{a.port}"]
    status, _, body = request(a, "DELETE", f"/cluster/127.0.0.1:{a.port}")
    assert (status, json.loads(body)["code"]) == (400, "bad_member")


def test_two_that_forgot_each_other_meet_by_join(cluster):
    # Broken if nobody dials whom it has forgotten, although an operator names it.
    a, b = cluster.make(2)
    cluster.wait_linked()
    for here, there in ((a, b), (b, a)):
        assert here.http("DELETE", f"/cluster/127.0.0.1:{there.port}").status == 200
    assert [len(x.cluster()["members"]) for x in (a, b)] == [1, 1]
    a.restart()  # both are in its peers file, which is no word against what was forgotten
    assert len(a.cluster()["members"]) == 1
    a.args = ["--join", f"127.0.0.1:{b.port}"]
    a.restart()
    cluster.wait_linked()
    assert [len(x.cluster()["members"]) for x in (a, b)] == [2, 2]


def test_metrics(broker):
    # Broken if Prometheus could not read it, or it did not count.
    publish(broker, "m", "x")
    status, headers, body = request(broker, "GET", "/metrics")
    assert status == 200 and headers["content-type"].startswith("text/plain")
    rows = dict(x.split(" ") for x in body.decode().splitlines() if not x.startswith("#"))
    assert rows["hearsay_publishes_total"] == "1" and rows["hearsay_ready"] == "1"
    assert body.count(b"# TYPE ") == body.count(b"# HELP ") == len(rows)


@pytest.mark.parametrize("payload", ["-d", "--data-binary"])
def test_curl(broker, payload):
    # Broken if the first line of the README did not work.
    code, out = harness.curl(broker.url("/topics/stocks"), payload, "Stock update")
    assert code == 0 and json.loads(out)["copies"] == 1
    code, out = harness.curl(broker.url("/topics/stocks?cursor=earliest"))
    assert code == 0 and json.loads(out)["messages"][0]["body"] == "Stock update"


def test_event_stream(three):
    # Broken if a browser that loses its broker could not go on at another one.
    a, b, _ = three.brokers
    publish(a, "sse", "before")
    with Stream(a, "/topics/sse", "text/event-stream") as s:
        assert s.answer.headers["Content-Type"] == "text/event-stream"
        assert s.answer.headers["X-Accel-Buffering"] == "no"
        first = dict(s.block())
        assert first == {"id": first["id"], "event": "cursor", "data": "{}"}
        publish(a, "other", "not wanted")
        publish(a, "sse", "1\n2")
        block = dict(s.block())
        assert json.loads(block["data"])["body"] == "1\n2"
        assert block["id"] != first["id"]
    publish(a, "sse", "meanwhile")
    three.wait_equal()
    with Stream(b, "/topics/sse?cursor=earliest", "text/event-stream",
                Last_Event_ID=block["id"]) as s:
        assert dict(s.block())["id"] == block["id"], "Last-Event-ID wins over the query"
        assert json.loads(dict(s.block())["data"])["body"] == "meanwhile"
        publish(b, "sse", "and on")
        assert json.loads(dict(s.block())["data"])["body"] == "and on"


def test_ndjson_stream(broker):
    # Broken if a shell script could not follow a topic with curl.
    for i in range(3):
        publish(broker, "nd", str(i))
    with Stream(broker, "/topics/nd?cursor=earliest", "application/x-ndjson") as s:
        where = json.loads(s.answer.readline())
        assert set(where) == {"cursor"}
        rows = [json.loads(s.answer.readline()) for _ in range(3)]
        assert [r["body"] for r in rows] == ["0", "1", "2"]
        publish(broker, "nd", "3")
        assert json.loads(s.answer.readline())["body"] == "3"
    messages, _ = poll(broker, f"/topics/nd?cursor={rows[1]['cursor']}&wait=0")
    assert [m["body"] for m in messages] == ["2", "3"]
    with Raw(broker) as raw:  # HTTP/1.0 knows no chunks
        raw.send(b"GET /topics/nd?cursor=earliest HTTP/1.0\r\nAccept: application/x-ndjson\r\n\r\n")
        while raw.line() != b"\r":
            pass
        assert set(raw.json_line()) == {"cursor"}
        assert [m["body"] for m in raw.json_lines(4)] == ["0", "1", "2", "3"]


def test_a_slow_stream_loses_nothing(broker):
    # Broken if a stream that is read slowly skipped something or filled the memory.
    with Stream(broker, "/topics/slow", "application/x-ndjson") as s:
        s.answer.readline()
        for i in range(300):
            publish(broker, "slow", f"{i} " + "x" * 50000)
        got = [json.loads(s.answer.readline()) for _ in range(300)]
    assert [int(m["body"].split()[0]) for m in got] == list(range(300))


def post_lines(broker, target, body, headers=()):
    """(status, receipts) of a request of lines."""
    conn = http.client.HTTPConnection(broker.ip, broker.port, timeout=30)
    conn.request("POST", target, body=body, headers={"Content-Type": "application/x-ndjson",
                                                     **dict(headers)})
    answer = conn.getresponse()
    text = answer.read()
    conn.close()
    return answer.status, [json.loads(x) for x in text.splitlines()]


def read_all(broker, topic):
    got, cursor = [], "earliest"
    while True:
        messages, cursor = poll(broker, f"/topics/{topic}?cursor={cursor}&wait=0")
        if not messages:
            return got
        got += messages


def test_lines_of_one_topic(broker):
    # Broken if a file of a million lines took a million requests, or a line were changed.
    lines = [b"%d " % i + b"x" * (i % 300) for i in range(5000)]
    status, receipts = post_lines(broker, "/topics/lines", b"\n".join(lines), [("Hearsay-Meta-A", "1")])
    assert status == 200 and len(receipts) == len(lines)
    got = read_all(broker, "lines")
    assert [m["id"] for m in got] == [r["id"] for r in receipts]
    assert [m["body"].encode() for m in got] == lines
    assert got[0]["meta"] == {"a": "1"} and "type" not in got[0]


def test_lines_that_name_their_topics(broker):
    # Broken if one bad line took others along, or answers changed places.
    rows = [{"topic": "a", "body": "1"}, {"topic": "b", "body_base64": "/w=="}, {"topic": "a/#", "body": "x"},
            {"topic": "a", "body": "q\u00e9\n", "type": "text/x", "meta": {"n": "v", "m": ""}},
            {"topic": "a"}, {"topic": "a", "body": 1}, {"topic": "a", "body": "x", "meta": {"n": 1}},
            {"topic": "a", "body": "x", "type": "a\nb"}, {"topic": "a", "body": "last"}]
    body = b"\n\n".join(json.dumps(r).encode() for r in rows) + b"\nnonsense\n"
    status, receipts = post_lines(broker, "/topics", body)
    assert status == 200
    good = ["id" in r for r in receipts]
    assert good == [True, True, False, True, False, False, False, False, True, False]
    assert {r["code"] for r in receipts if "id" not in r} == {"bad_line"}
    got = read_all(broker, "a")
    assert [m["body"] for m in got] == ["1", "q\u00e9\n", "last"]
    assert got[1]["type"] == "text/x" and got[1]["meta"] == {"n": "v", "m": ""}
    assert read_all(broker, "b")[0]["body_base64"] == "/w=="


def test_receipts_come_while_the_request_is_sent(broker):
    # Broken if a client that never ends its request never learned what is on disk.
    with Raw(broker) as raw:
        raw.send(b"POST /topics/live HTTP/1.1\r\n" + HOST + b"Content-Type: application/x-ndjson\r\n"
                 b"Transfer-Encoding: chunked\r\n\r\n")
        while raw.line() != b"\r":
            pass
        for i in range(5):
            raw.send(b"3\r\n%d x\r\n" % i + b"1\r\n\n\r\n")
            raw.line()
            assert raw.json_line()["copies"] == 1
            assert raw.line() == b"\r"
        raw.send(b"4\r\nlast\r\n0\r\n\r\n" + request_bytes(broker, "GET", "/healthz"))
        raw.line()
        assert raw.json_line()["id"]
        assert [raw.line() for _ in range(3)] == [b"\r", b"0\r", b"\r"]
        assert raw.answer()[0] == 200, "the connection goes on"
    assert [m["body"] for m in read_all(broker, "live")] == [f"{i} x" for i in range(5)] + ["last"]


def test_lines_that_are_refused(broker):
    # Broken if a line without an end filled the memory, or a bad request were half taken.
    huge = b"x" * ((1 << 20) + 1)
    status, receipts = post_lines(broker, "/topics/r", b"one\n" + huge * 3 + b"\ntwo\n" + huge + b"\n" + huge)
    assert status == 200
    assert [r.get("code") for r in receipts] == [None, "body_too_large", None, "body_too_large", "body_too_large"]
    assert [m["body"] for m in read_all(broker, "r")] == ["one", "two"]
    for target, code in (("/topics/a%23", "bad_topic"), ("/topics/r?acks=none", "bad_parameter")):
        status, (problem,) = post_lines(broker, target, b"x\n")
        assert (status, problem["code"]) == (400, code)
    status, (problem,) = post_lines(broker, "/topics/r", b"x\n", [("Origin", "http://evil.example")])
    assert (status, problem["code"]) == (403, "foreign_origin")
    assert request(broker, "POST", "/topics", "x")[0] == 415
    with Raw(broker) as raw:
        raw.send(b"POST /topics/r HTTP/1.1\r\n" + HOST + b"Content-Type: application/x-ndjson\r\n"
                 b"Transfer-Encoding: chunked\r\n\r\n6\r\nthree\n\r\n2\r\nfo\r\nzz\r\n")
        assert b'"code":"bad_request"' in raw.rest()
    assert [m["body"] for m in read_all(broker, "r")] == ["one", "two", "three"]
