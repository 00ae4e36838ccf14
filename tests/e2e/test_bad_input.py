"""What bad input gets: raw bytes -> the exact status, code or frame.

If one of these failed, a broker would take a request that another HTTP program between us
and the client reads differently (smuggling), store what cannot be subscribed to, or go down
or forget something because of what a stranger sent."""
import json
import os
import sqlite3
import struct

import pytest

import cluster as harness
from raw import Raw, get_json, publish, request

HOST = b"Host: localhost\r\n"
POST = b"POST /topics/t HTTP/1.1\r\n" + HOST
LONG_TOPIC = b"x" * 513
DEEP_TOPIC = b"/".join([b"x"] * 33)

# name, bytes, status, code, does the broker close the connection?
HTTP = [
    ("no version", b"GET /topics\r\n\r\n", 400, "bad_request", True),
    ("no target", b"GET\r\n\r\n", 400, "bad_request", True),
    ("a word", b"hello\r\n\r\n", 400, "bad_request", True),
    ("unknown method", b"BREW /topics/t HTTP/1.1\r\n" + HOST + b"\r\n", 501, "method_unknown", True),
    ("blank in target", b"GET /topics/a b HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad_request", True),
    ("HTTP/2 by text", b"GET /topics HTTP/2.0\r\n" + HOST + b"\r\n", 505, "version_unsupported", True),
    ("high byte in target", b"GET /topics/\xff HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad_request", True),
    ("control in target", b"GET /topics/\x01 HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad_request", True),
    ("both lengths", POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     400, "bad_request", True),
    ("two lengths", POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400, "bad_request", True),
    ("negative length", POST + b"Content-Length: -1\r\n\r\n", 400, "bad_request", True),
    ("length with plus", POST + b"Content-Length: +3\r\n\r\nabc", 400, "bad_request", True),
    ("length beyond 2^64", POST + b"Content-Length: 99999999999999999999\r\n\r\n", 400, "bad_request", True),
    ("unknown encoding", POST + b"Transfer-Encoding: gzip\r\n\r\n", 501, "transfer_encoding_unknown", True),
    ("bad chunk size", POST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\nabc\r\n0\r\n\r\n",
     400, "bad_request", True),
    ("negative chunk", POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\nabc\r\n0\r\n\r\n",
     400, "bad_request", True),
    ("chunk without its end", POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
     400, "bad_request", True),
    ("chunk line too long", POST + b"Transfer-Encoding: chunked\r\n\r\n3;" + b"x" * 400 + b"\r\nabc\r\n0\r\n\r\n",
     400, "bad_request", True),
    ("space before colon", b"GET /topics HTTP/1.1\r\nHost : localhost\r\n\r\n", 400, "bad_request", True),
    ("folded line", b"GET /topics HTTP/1.1\r\n" + HOST + b"X-A: b\r\n c\r\n\r\n", 400, "bad_request", True),
    ("no Host", b"GET /topics HTTP/1.1\r\n\r\n", 400, "bad_request", True),
    ("double Host", b"GET /topics HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400, "bad_request", True),
    ("NUL in a header", b"GET /topics HTTP/1.1\r\n" + HOST + b"X-A: b\x00c\r\n\r\n", 400, "bad_request", True),
    ("oversized head", b"GET /topics HTTP/1.1\r\n" + HOST + b"X-A: " + b"a" * 17000 + b"\r\n\r\n",
     431, "head_too_large", True),
    ("endless head", b"GET /" + b"a" * 40000, 431, "head_too_large", True),
    ("oversized body", POST + b"Content-Length: 1048577\r\n\r\n" + b"a" * 1000, 413, "body_too_large", True),
    ("oversized chunks", POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"80000\r\n" + b"a" * 0x80000 + b"\r\n"
     + b"80000\r\n" + b"a" * 0x80000 + b"\r\n1\r\na\r\n0\r\n\r\n", 413, "body_too_large", True),
    ("missing length", POST + b"\r\n", 411, "length_required", True),
    ("empty topic", b"POST /topics/ HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\na", 400, "bad_topic", False),
    ("wildcard +", b"POST /topics/a/+ HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\na",
     400, "bad_topic", False),
    ("wildcard #", b"POST /topics/a/%23 HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\na",
     400, "bad_topic", False),
    ("topic not UTF-8", b"POST /topics/%ff HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\na",
     400, "bad_topic", False),
    ("topic with NUL", b"POST /topics/a%00b HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\na",
     400, "bad_topic", False),
    ("topic with newline", b"POST /topics/a%0Ab HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\na",
     400, "bad_topic", False),
    ("topic too long", b"POST /topics/" + LONG_TOPIC + b" HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\na",
     400, "bad_topic", False),
    ("topic too deep", b"POST /topics/" + DEEP_TOPIC + b" HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\na",
     400, "bad_topic", False),
    ("half an escape", b"POST /topics/a%2 HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\na",
     400, "bad_request", False),
    ("no escape", b"POST /topics/a%zz HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\na",
     400, "bad_request", False),
    ("bad filter", b"GET /topics/a%23b?wait=0 HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad_filter", False),
    ("bad filter, in the query", b"GET /topics?filter=a%2b&wait=0 HTTP/1.1\r\n" + HOST + b"\r\n",
     400, "bad_filter", False),
    ("undecodable cursor", b"GET /topics/t?cursor=nonsense&wait=0 HTTP/1.1\r\n" + HOST + b"\r\n",
     400, "bad_cursor", False),
    ("empty cursor", b"GET /topics/t?cursor=&wait=0 HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad_cursor", False),
    ("undecodable after", POST + b"Hearsay-After: !!!\r\nContent-Length: 1\r\n\r\na", 400, "bad_cursor", False),
    ("bad wait", b"GET /topics/t?wait=61 HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad_parameter", False),
    ("bad since", b"GET /topics/t?since=never HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad_parameter", False),
    ("bad limit", b"GET /topics/t?limit=0 HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad_parameter", False),
    ("bad acks", b"POST /topics/t?acks=most HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\na",
     400, "bad_parameter", False),
    ("no acks", b"POST /topics/t?acks=0 HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\na",
     400, "bad_parameter", False),
    ("acks beyond any cluster", b"POST /topics/t?acks=17 HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\na",
     400, "bad_parameter", False),
    ("timeout too long", b"POST /topics/t?timeout=601s HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\na",
     400, "bad_parameter", False),
    ("17 filters", b"GET /topics?wait=0" + b"&filter=a" * 17 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
     400, "bad_parameter", False),
    ("bad acks of lines", b"POST /topics/t?acks=0 HTTP/1.1\r\n" + HOST
     + b"Content-Type: application/x-ndjson\r\nContent-Length: 2\r\n\r\na\n", 400, "bad_parameter", True),
    ("undecodable after of lines", POST + b"Hearsay-After: !!!\r\nContent-Type: application/x-ndjson\r\n"
     b"Content-Length: 2\r\n\r\na\n", 400, "bad_cursor", True),
    ("bad timeout", b"POST /topics/t?timeout=5 HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\na",
     400, "bad_parameter", False),
    ("bad stamp", POST + b"Hearsay-Lamport: -4\r\nContent-Length: 1\r\n\r\na", 400, "bad_parameter", False),
    ("stamp beyond 2^53", POST + b"Hearsay-Lamport: 9007199254740992\r\nContent-Length: 1\r\n\r\na",
     400, "bad_parameter", False),
    ("latest of a pattern", b"GET /latest/a/+ HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad_topic", False),
    ("latest of all", b"GET /latest/%23 HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad_topic", False),
    ("latest of no topic", b"GET /latest/ HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad_topic", False),
    ("latest of a long topic", b"GET /latest/" + LONG_TOPIC + b" HTTP/1.1\r\n" + HOST + b"\r\n",
     400, "bad_topic", False),
    ("latest, half an escape", b"GET /latest/a%2 HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad_request", False),
    ("latest without a topic", b"GET /latest HTTP/1.1\r\n" + HOST + b"\r\n", 404, "not_found", False),
    ("unknown path", b"GET /nothing HTTP/1.1\r\n" + HOST + b"\r\n", 404, "not_found", False),
    ("no such member", b"DELETE /cluster/127.0.0.1:1 HTTP/1.1\r\n" + HOST + b"\r\n", 404, "not_found", False),
    ("no address", b"DELETE /cluster/nonsense HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad_member", False),
    ("peer without upgrade", b"GET /peer HTTP/1.1\r\n" + HOST + b"\r\n", 426, "upgrade_required", False),
    ("foreign Origin", POST + b"Origin: http://evil.example\r\nContent-Length: 1\r\n\r\na",
     403, "foreign_origin", False),
    ("Origin null", POST + b"Origin: null\r\nContent-Length: 1\r\n\r\na", 403, "foreign_origin", False),
    ("rebound name", b"GET /topics HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n\r\n",
     403, "foreign_origin", False),
]

METHODS = [
    (b"PUT /topics/t", "GET, POST"),
    (b"DELETE /topics/t", "GET, POST"),
    (b"DELETE /topics", "GET, POST"),
    (b"HEAD /topics", "GET"),
    (b"HEAD /latest/t", "GET"),
    (b"POST /latest/t", "GET"),
    (b"POST /cluster", "GET"),
    (b"GET /cluster/localhost:1", "DELETE"),
    (b"POST /healthz", "GET"),
    (b"DELETE /readyz", "GET"),
    (b"OPTIONS /metrics", "GET"),
    (b"PATCH /peer", "GET"),
]

DEEP = b'{"type":"publish","topic":"t","message":"m","x":' + b"[" * 40 + b"]" * 40 + b"}"
# name, bytes; the connection lives on in every case.
JSON = [
    ("no type", b'{"topic":"t","message":"m"}'),
    ("unknown type", b'{"type":"shout","topic":"t","message":"m"}'),
    ("type not a string", b'{"type":1}'),
    ("topic not a string", b'{"type":"publish","topic":1,"message":"m"}'),
    ("no topic", b'{"type":"publish","message":"m"}'),
    ("no message", b'{"type":"publish","topic":"t"}'),
    ("message a number", b'{"type":"publish","topic":"t","message":5}'),
    ("message an object", b'{"type":"publish","topic":"t","message":{"a":1}}'),
    ("message null", b'{"type":"publish","topic":"t","message":null}'),
    ("two messages", b'{"type":"publish","topic":"t","message":"a","message_base64":"YQ=="}'),
    ("bad base64", b'{"type":"publish","topic":"t","message_base64":"%%%"}'),
    ("duplicate key", b'{"type":"publish","topic":"t","topic":"u","message":"m"}'),
    ("duplicate key, escaped", b'{"type":"publish","topic":"t","t\\u006fpic":"u","message":"m"}'),
    ("duplicate unknown key", b'{"type":"publish","topic":"t","message":"m","x":1,"x":2}'),
    ("depth bomb", DEEP),
    ("wildcard", b'{"type":"publish","topic":"t/#","message":"m"}'),
    ("empty topic", b'{"type":"publish","topic":"","message":"m"}'),
    ("NUL in topic", b'{"type":"publish","topic":"a\\u0000","message":"m"}'),
    ("negative stamp", b'{"type":"publish","topic":"t","message":"m","lamport_timestamp":-1}'),
    ("broken stamp", b'{"type":"publish","topic":"t","message":"m","lamport_timestamp":1.5}'),
    ("stamp a string", b'{"type":"publish","topic":"t","message":"m","lamport_timestamp":"1"}'),
    ("stamp beyond 2^53", b'{"type":"publish","topic":"t","message":"m","lamport_timestamp":9007199254740992}'),
    ("ack not a boolean", b'{"type":"publish","topic":"t","message":"m","ack":1}'),
    ("ref an object", b'{"type":"publish","topic":"t","message":"m","ref":{}}'),
    ("bad after", b'{"type":"publish","topic":"t","message":"m","after":"?"}'),
    ("bad filter", b'{"type":"subscribe","topic":"a#"}'),
    ("bad filter in a list", b'{"type":"subscribe","topic":["a","b#"]}'),
    ("a list without a filter", b'{"type":"subscribe","topic":[]}'),
    ("a list of other things", b'{"type":"subscribe","topic":[["a"]]}'),
    ("17 filters", b'{"type":"subscribe","topic":[' + b",".join([b'"a"'] * 17) + b']}'),
    ("topics to publish to", b'{"type":"publish","topic":["t"],"message":"m"}'),
    ("bad cursor", b'{"type":"subscribe","topic":"a","cursor":"nonsense"}'),
    ("cursor a number", b'{"type":"subscribe","topic":"a","cursor":1}'),
    ("message too long", b'{"type":"publish","topic":"t","message":"' + b"a" * ((1 << 20) + 1) + b'"}'),
    ("half a surrogate", b'{"type":"publish","topic":"t","message":"\\ud800"}'),
    ("garbage behind", b'{"type":"publish","topic":"t"}garbage'),
    ("not closed properly", b'{"type":"publish","topic":"t"]'),
    ("unquoted key", b"{type:1}"),
    ("endless object", b'{"type":"publish","topic":"t","message":"' + b"a" * (9 << 20)),
]


# What the store writes at its own time: the counts of topics (docs/STORE.md).
LAZY = {"topics": "select id, name from topics",
        "meta": "select * from meta where name <> 'topics_lsn'",
        "removals": "select 1 where 0"}


def dump(broker):
    """All that bad input may not change: the log, and the cluster without what counts on."""
    path = os.path.join(str(broker.data), "broker.db")
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        tables = [r[0] for r in db.execute(
            "select name from sqlite_master where type = 'table' and name not like 'sqlite_%' order by 1")]
        log = {t: sorted(map(repr, db.execute(LAZY.get(t, f'select * from "{t}"'))))
               for t in tables}
    cluster = get_json(broker, "/cluster")
    stable = {k: cluster[k] for k in ("self", "cluster", "coordinator", "epoch", "heads")}
    stable["members"] = [m["address"] for m in cluster["members"]]
    return log, stable


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    """One broker for the whole table: what one row does to it, the next ones see."""
    c = harness.Cluster(tmp_path_factory.mktemp("bad"))
    one = c.make(1)[0]
    publish(one, "before", "kept")
    harness.wait_for(lambda: get_json(one, "/cluster")["coordinator"], 20, "a coordinator")
    yield one
    problems = c.close()
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("name,data,status,code,closes", HTTP, ids=[r[0] for r in HTTP])
def test_http(broker, name, data, status, code, closes):
    # Broken if a byte that HTTP forbids gets through, or is refused with the wrong status.
    before = dump(broker)
    with Raw(broker) as raw:
        raw.send(data)
        got, headers, body = raw.answer()
        problem = json.loads(body)
        assert (got, problem["code"]) == (status, code), problem
        assert headers["content-type"] == "application/problem+json"
        assert headers["cache-control"] == "no-store"
        assert problem["status"] == status and problem["detail"]
        if closes:
            assert headers["connection"] == "close"
            assert raw.is_closed()
        else:
            raw.send(b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n")
            assert raw.answer()[0] == 200
    assert dump(broker) == before


@pytest.mark.parametrize("line,allow", METHODS, ids=[m[0].decode() for m in METHODS])
def test_wrong_method(broker, line, allow):
    # Broken if a method is taken for another, or nobody is told which there are.
    with Raw(broker) as raw:
        raw.send(line + b" HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n")
        if line.startswith(b"HEAD"):  # the answer to a HEAD has no body
            assert b" 405 " in raw.line()
            return
        status, headers, body = raw.answer()
        assert (status, json.loads(body)["code"]) == (405, "wrong_method")
        assert headers["allow"] == allow


@pytest.mark.parametrize("name,data", JSON, ids=[r[0] for r in JSON])
def test_json(broker, name, data):
    # Broken if what is no request is taken for one, or ends the connection without a reason.
    before = dump(broker)
    with Raw(broker) as raw:
        raw.send(data)
        error = raw.json_line()
        assert error["type"] == "error" and error["error"]
        raw.send(b'\n{"type":"subscribe","topic":"still/here","ack":true}\n')
        while error["type"] == "error":  # an object may be wrong in itself and in what follows
            error = raw.json_line()
        assert error["type"] == "subscribed"
    assert dump(broker) == before


def test_answers_before_an_error_are_not_lost(broker):
    """What came before the garbage was taken and is answered, in its place."""
    with Raw(broker) as raw:
        raw.send(b'{"type":"publish","topic":"t","message":"m","ack":true,"ref":1}'
                 b'{"type":"publish","topic":"t","ref":2}'
                 b'{"type":"publish","topic":"t","message":"m","ack":true,"ref":3}')
        lines = raw.json_lines(3)
        assert [(line["type"], line["ref"]) for line in lines] == [("ack", 1), ("error", 2), ("ack", 3)]


# Frames: u32 length, then as docs/PEER.md says.
PEER = [
    ("zero length", struct.pack(">I", 0) + b"\0" * 16),
    ("oversized frame", struct.pack(">I", 0xFFFFFFFF) + b"\0" * 64),
    ("bad CRC", struct.pack(">I", 32) + b"\x01" + b"\0" * 31),
    ("garbage", bytes(range(256)) * 4),
]


@pytest.mark.parametrize("name,data", PEER, ids=[r[0] for r in PEER])
def test_peer_garbage(broker, name, data):
    """Undecodable bytes on a peer link close that link and change nothing else."""
    before = dump(broker)
    with Raw(broker) as raw:
        raw.send(b"GET /peer HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: hearsay-peer/1\r\n\r\n")
        status, headers, _ = raw.answer()
        assert status == 101 and headers["upgrade"] == "hearsay-peer/1"
        raw.send(data)
        raw.rest()  # REFUSE may come, then the end does
    assert dump(broker) == before


def test_origin_of_our_own_is_taken(broker):
    """The broker's own page may use it."""
    own = f"http://{broker.host}:{broker.port}"
    status, headers, _ = request(broker, "GET", "/topics", headers=[("Origin", own)])
    assert status == 200


def test_ten_thousand_rounds_leave_memory_flat(cluster):
    """A leak on a path that only bad input takes would let a stranger fill the memory."""
    # The sanitizer keeps freed memory for a while: that is not a leak.
    broker = cluster.make(1, env={"ASAN_OPTIONS": "quarantine_size_mb=1"})[0]
    publish(broker, "before", "kept")
    harness.wait_for(lambda: get_json(broker, "/cluster")["coordinator"], 20, "a coordinator")
    rows = [r[1] for r in HTTP + JSON if len(r[1]) < 50000]
    rows += [line + b" HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n" for line, _ in METHODS]
    before = dump(broker)

    def play(count):
        for i in range(count):
            with Raw(broker) as raw:
                raw.send(rows[i % len(rows)])
                assert raw.more(), rows[i % len(rows)][:200]

    play(2000)
    warm = broker.resident_kib()
    play(10000)
    grown = broker.resident_kib() - warm
    assert grown < 4096, f"{grown} KiB more after 10 000 rounds"
    after = dump(broker)
    assert after == before
