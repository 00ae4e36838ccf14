"""A peer that is no broker: hearsay-peer/1, written from docs/PEER.md alone.

What the page says is here as tables of fields; encode() and decode() are strict, so that
decode() tells which frames the page calls malformed.  Nothing is taken from the C code.
"""

import secrets
import select
import socket
import struct
import time
import zlib

import xxhash

PROTOCOL = "hearsay-peer/1"
FRAME_MAX = 2 << 20
STAMP_MAX = (1 << 53) - 1
U63_MAX = (1 << 63) - 1
STREAMS_MAX = 6144
MEMBERS_MAX = 80
BODY_MAX = 1 << 20
REST_MAX = 128 << 10
HEADERS_MAX = 16 << 10
MESSAGES_MAX = 1024

VERSION, CLUSTER, SELF, DUPLICATE, COPY, FORGOTTEN, FULL, MALFORMED = range(1, 9)
HEADS_FULL, HEADS_CATCHING_UP, HEADS_NO_STORE, HEADS_GAPS = 1, 2, 4, 8
ZERO = bytes(16)


class Malformed(Exception):
    """Not a frame by docs/PEER.md."""


def demand(condition, why):
    if not condition:
        raise Malformed(why)


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        demand(self.at + n <= len(self.data), "the payload ends too early")
        self.at += n
        return self.data[self.at - n : self.at]

    def uint(self, n):
        return int.from_bytes(self.take(n), "big")


# ---- types: put(value) -> bytes; get(reader, fields so far) -> value -------------


class Uint:
    def __init__(self, n, low=0, high=None):
        self.n, self.low, self.high = n, low, (1 << 8 * n) - 1 if high is None else high

    def put(self, value):
        return value.to_bytes(self.n, "big")

    def get(self, reader, _):
        value = reader.uint(self.n)
        demand(self.low <= value <= self.high, f"{value} is out of its range")
        return value


class Varint:
    def __init__(self, low=0):
        self.low = low

    def put(self, value):
        out = bytearray()
        while True:
            out.append(value & 127 | (128 if value > 127 else 0))
            value >>= 7
            if not value:
                return bytes(out)

    def get(self, reader, _):
        value = 0
        for i in range(9):
            byte = reader.uint(1)
            value |= (byte & 127) << 7 * i
            if byte < 128:
                demand(byte > 0 or i == 0, "a varint that could be shorter")
                demand(value >= self.low, "a varint out of its range")
                return value
        raise Malformed("a varint of more than 9 bytes")


class Bytes:
    def __init__(self, n):
        self.n = n

    def put(self, value):
        assert len(value) == self.n
        return value

    def get(self, reader, _):
        return reader.take(self.n)


class Text:
    """Given as bytes it is sent as it is, so that tests can send what is no text."""

    def __init__(self, length, low=0, high=None):
        self.length, self.low = length, low
        self.high = (1 << 8 * length) - 1 if high is None else high

    def put(self, value):
        raw = value.encode() if isinstance(value, str) else value
        return len(raw).to_bytes(self.length, "big") + raw

    def get(self, reader, _):
        n = reader.uint(self.length)
        demand(self.low <= n <= self.high, "a text of that length")
        return plain(reader.take(n))


def plain(raw):
    try:
        text = raw.decode()
    except UnicodeDecodeError as e:
        raise Malformed("not UTF-8") from e
    demand(not any(c < " " or c == "\x7f" for c in text), "a control character")
    return text


class Addr:
    """(ip as text, port)."""

    def put(self, value):
        if isinstance(value, bytes):
            return value
        ip, port = value
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        kind = b"\6" if ":" in ip else b"\4"
        return kind + socket.inet_pton(family, ip) + port.to_bytes(2, "big")

    def get(self, reader, _):
        kind = reader.uint(1)
        demand(kind in (4, 6), "an address family")
        ip = reader.take(4 if kind == 4 else 16)
        port = reader.uint(2)
        demand(port > 0, "port 0")
        return socket.inet_ntop(socket.AF_INET if kind == 4 else socket.AF_INET6, ip), port


class Token:
    """(epoch, addr or None, nonce)."""

    def put(self, value):
        epoch, addr, nonce = value
        return u64.put(epoch) + (ADDR.put(addr) if addr else b"\0") + u64.put(nonce)

    def get(self, reader, fields):
        epoch = reader.uint(8)
        if epoch == 0 and reader.data[reader.at : reader.at + 1] == b"\0":
            reader.take(1)
            return 0, None, reader.uint(8)
        return epoch, ADDR.get(reader, fields), reader.uint(8)


class List:
    """A count, then records; `rising` names the field that has to rise."""

    def __init__(self, count, most, fields, rising=None):
        self.count, self.most, self.fields, self.rising = count, most, fields, rising

    def put(self, records):
        return self.count.put(len(records)) + b"".join(put(self.fields, r) for r in records)

    def get(self, reader, outer):
        n = self.count.get(reader, outer)
        demand(n <= self.most, f"a list of {n}")
        records = [get(self.fields, reader) for _ in range(n)]
        if self.rising:
            keys = [r[self.rising] for r in records]
            demand(all(a < b for a, b in zip(keys, keys[1:])), "a list that is not sorted")
        return records


class Flagged:
    """A list that is there when a flag says so, and is not empty then."""

    def __init__(self, flag, records):
        self.flag, self.records = flag, records

    def put(self, value):
        return self.records.put(value) if value is not None else b""

    def get(self, reader, outer):
        if not outer["flags"] & self.flag:
            return None
        records = self.records.get(reader, outer)
        demand(records, "a flag, and nothing of it")
        return records


class Marks(List):
    """{stream: seq}; a list of pairs is sent in its own order."""

    def __init__(self):
        super().__init__(Varint(), STREAMS_MAX, [("stream", STREAM), ("seq", Varint(1))], "stream")

    def put(self, value):
        pairs = sorted(value.items()) if isinstance(value, dict) else value
        return super().put([{"stream": a, "seq": b} for a, b in pairs])

    def get(self, reader, outer):
        return {r["stream"]: r["seq"] for r in super().get(reader, outer)}


class Message:
    def put(self, m):
        if m["flags"] & 1:
            return b"\1" + m["digest"]
        return bytes([m["flags"]]) + u32.put(len(m["body"])) + digested(m)

    def get(self, reader, _):
        flags = reader.uint(1)
        demand(flags in (0, 1), "unknown flags of a message")
        if flags:
            return {"flags": 1, "digest": reader.take(16)}
        n = reader.uint(4)
        demand(n <= BODY_MAX, "a body too long")
        topic_n = reader.uint(2)
        demand(1 <= topic_n <= 512, "a topic of that length")
        topic = reader.take(topic_n)
        headers_n = reader.uint(4)
        demand(headers_n <= HEADERS_MAX, "headers too long")
        headers = reader.take(headers_n)
        plain(headers.replace(b"\t", b"").replace(b"\n", b""))
        return {"flags": 0, "topic": topic, "headers": headers, "body": reader.take(n)}


class Messages:
    def put(self, messages):
        return b"".join(MESSAGE.put(m) for m in messages)

    def get(self, reader, outer):
        messages = [MESSAGE.get(reader, outer) for _ in range(outer["count"])]
        whole = [m for m in messages if not m["flags"]]
        demand(all(is_topic(plain(m["topic"])) for m in whole), "not a topic to publish to")
        rest = sum(len(m["topic"]) + len(m["headers"]) for m in whole)
        rest += len(outer["origin"].encode()) + 16 * len(outer.get("deps", ()))
        demand(sum(len(m["body"]) for m in whole) <= BODY_MAX, "bodies too long")
        demand(rest <= REST_MAX, "topics, headers, origin and deps too long")
        return messages


def is_topic(text):
    return "+" not in text and "#" not in text and text.count("/") < 32


def put(fields, values):
    return b"".join(kind.put(values.get(name) if isinstance(kind, Flagged) else values[name])
                    for name, kind in fields)


def get(fields, reader):
    values = {}
    for name, kind in fields:
        values[name] = kind.get(reader, values)
    return values


u8, u16, u32, u64, BOOL = Uint(1), Uint(2), Uint(4), Uint(8), Uint(1, 0, 1)
STREAM = SEQ = Uint(8, 1, U63_MAX)
STAMP = Uint(8, 0, STAMP_MAX)
WALL = Bytes(8)
HASH, ADDR, TOKEN, MESSAGE = Bytes(16), Addr(), Token(), Message()
MARKS = Marks()
STREAM_HEAD = [("stream", STREAM), ("head", Varint(1)), ("floor", Varint())]
HEAD_GAP = [("place", Varint()), ("gap", Varint(1))]
MEMBER = [("addr", ADDR), ("host", Text(1)), ("version", u64), ("nonce", u64),
          ("flags", Uint(1, 0, 3))]
ROW = [("member", u8), ("able", BOOL), ("nonce", u64), ("count", u64), ("heard", u32)]
ELECTION = [("stamp", STAMP), ("token", TOKEN)]

KINDS = {
    1: ("HELLO", [("magic", Bytes(8)), ("version_min", Uint(1, 1)), ("version_max", u8),
                  ("cluster", Text(1, 1, 64)), ("addr", ADDR), ("host", Text(1)),
                  ("nonce", u64), ("capabilities", u32)]),
    2: ("REFUSE", [("reason", u8), ("text", Text(2, 0, 1024))]),
    3: ("MEMBERS", [("members", List(u8, MEMBERS_MAX, MEMBER)),
                    ("rows", List(u8, MEMBERS_MAX, ROW))]),
    4: ("HEADS", [("flags", Uint(1, 0, 15)), ("token", TOKEN),
                  ("heads", List(Varint(), STREAMS_MAX, STREAM_HEAD, "stream")),
                  ("gaps", Flagged(HEADS_GAPS, List(Varint(), STREAMS_MAX, HEAD_GAP, "place")))]),
    5: ("PUSH", [("flags", Uint(1, 0, 1)), ("stream", STREAM), ("first", SEQ),
                 ("count", Uint(4, 1, MESSAGES_MAX)), ("prev", HASH), ("chain", HASH),
                 ("lamport_first", Uint(8, 1, STAMP_MAX)), ("wall", WALL), ("origin", Text(1)),
                 ("deps", MARKS), ("messages", Messages())]),
    6: ("PULL", [("have", MARKS), ("credit", u64)]),
    7: ("CREDIT", [("more", u64)]),
    8: ("GAP", [("stream", STREAM), ("from", SEQ), ("to", SEQ), ("chain", HASH),
                ("stamp", Uint(8, 1, STAMP_MAX)), ("came", WALL), ("origin", Text(1, 1)),
                ("deps", MARKS)]),
    9: ("LATEST", [("stream", STREAM), ("seq", SEQ), ("stamp", Uint(8, 1, STAMP_MAX)),
                   ("wall", WALL), ("message", MESSAGE)]),
    10: ("PING", [("id", u64), ("reply", BOOL), ("token", TOKEN)]),
    11: ("ELECTION", ELECTION),
    12: ("OK", ELECTION),
    13: ("COORDINATOR", ELECTION),
    14: ("AWAY", []),
    15: ("FORGET", [("addr", ADDR), ("version", u64), ("nonce", u64)]),
    16: ("LIVE", [("count", Uint(4, 1, MESSAGES_MAX)), ("lamport_first", Uint(8, 1, STAMP_MAX)),
                  ("wall", WALL), ("origin", Text(1, 1)), ("messages", Messages())]),
}
NUMBER = {name: number for number, (name, _) in KINDS.items()}


# ---- batches ---------------------------------------------------------------


def digested(m):
    """The bytes of a message that its digest is over."""
    return (u16.put(len(m["topic"])) + m["topic"] + u32.put(len(m["headers"])) + m["headers"]
            + m["body"])


def digest(m):
    return m["digest"] if m["flags"] & 1 else xxhash.xxh3_128_digest(digested(m))


def chain(p):
    deps = sorted(p["deps"].items()) if isinstance(p["deps"], dict) else p["deps"]
    origin = p["origin"].encode() if isinstance(p["origin"], str) else p["origin"]
    return xxhash.xxh3_128_digest(
        p["prev"] + u64.put(p["stream"]) + u64.put(p["first"]) + u32.put(p["count"])
        + u64.put(p["lamport_first"]) + p["wall"] + u8.put(len(origin)) + origin
        + u32.put(len(deps)) + b"".join(u64.put(a) + u64.put(b) for a, b in deps)
        + b"".join(digest(m) for m in p["messages"])
    )


def cost(p):
    """What a batch takes of a pull's credit."""
    n = 128 + len(p["origin"].encode()) + 16 * len(p["deps"])
    for m in p["messages"]:
        n += 16 if m["flags"] else 16 + len(m["topic"]) + len(m["headers"]) + len(m["body"])
    return n


def message(body, topic=b"peer/topic", headers=b""):
    as_bytes = lambda x: x.encode() if isinstance(x, str) else x
    return {"flags": 0, "topic": as_bytes(topic), "headers": as_bytes(headers),
            "body": as_bytes(body)}


def sealed(p, **changes):
    """The batch with changes, its chain fitting again."""
    p = {**p, **changes}
    return {**p, "chain": chain(p)}


class Stream:
    """The log of an origin that is no broker."""

    def __init__(self, origin="127.0.0.9:9", lamport=1):
        self.id = secrets.randbelow(U63_MAX) + 1
        self.origin, self.lamport, self.next, self.chain = origin, lamport, 1, ZERO

    def make(self, *messages, **changes):
        """The next batch, without going on to the one after it."""
        messages = [m if isinstance(m, dict) else message(m) for m in messages]
        p = {"flags": 0, "stream": self.id, "first": self.next, "count": len(messages),
             "prev": self.chain, "lamport_first": self.lamport,
             "wall": struct.pack(">q", int(time.time() * 1000)),
             "origin": self.origin if self.next == 1 else "", "deps": {}, "messages": messages}
        return sealed(p, **changes)

    def batch(self, *messages, **changes):
        """The next batch."""
        p = self.make(*messages, **changes)
        self.next += p["count"]
        self.lamport = p["lamport_first"] + p["count"]
        self.chain = p["chain"]
        return p


# ---- frames ----------------------------------------------------------------


def frame(number, payload):
    behind = bytes([number]) + payload
    return struct.pack(">II", len(behind) + 4, zlib.crc32(behind)) + behind


def encode(name, **fields):
    number = NUMBER[name]
    return frame(number, put(KINDS[number][1], fields))


def push(p, **changes):
    return encode("PUSH", **{**p, **changes})


def fitting(raw):
    """The frame with its length and CRC made to fit, whatever else is wrong with it."""
    return frame(raw[8], raw[9:])


class Frame(dict):
    """Its fields; `name`, and `raw` with all of its bytes."""

    def __init__(self, name, fields, raw):
        super().__init__(fields)
        self.name, self.raw = name, raw

    def __repr__(self):
        return f"{self.name} {dict(self)}"[:500]


def split(data):
    """The first frame's bytes, or None when it is not whole."""
    if len(data) < 4:
        return None
    (n,) = struct.unpack_from(">I", data)
    demand(5 <= n <= FRAME_MAX - 4, f"a length of {n}")
    return bytes(data[: n + 4]) if len(data) >= n + 4 else None


def decode(raw, exact=True):
    """A whole frame; None for a kind that is not known.  Exact: without fields that are not."""
    crc = struct.unpack_from(">I", raw, 4)[0]
    demand(crc == zlib.crc32(raw[8:]), "the CRC")
    number = raw[8]
    if number not in KINDS:
        return None
    name, fields = KINDS[number]
    reader = Reader(raw[9:])
    values = get(fields, reader)
    demand(not exact or reader.at == len(reader.data), "bytes behind the payload")
    CHECKS.get(name, lambda _: None)(values)
    return Frame(name, values, raw)


def check_hello(f):
    demand(f["magic"] == b"HEARSAY1", "the magic")
    demand(f["version_max"] >= f["version_min"], "the versions")


def check_members(f):
    n = len(f["members"])
    for r in f["rows"]:
        demand(r["member"] < n and r["heard"] >> n == 0, "an index beyond the members")


def check_heads(f):
    demand(all(h["floor"] <= h["head"] for h in f["heads"]), "a floor above its head")
    for gap in f["gaps"] or ():
        demand(gap["place"] < len(f["heads"]), "a gap of no stream")
        head = f["heads"][gap["place"]]
        demand(head["floor"] < gap["gap"] <= head["head"], "a gap out of its range")


def check_push(f):
    demand(f["first"] + f["count"] - 1 <= U63_MAX, "a seq beyond 2^63-1")
    demand(f["lamport_first"] + f["count"] - 1 <= STAMP_MAX, "a stamp beyond 2^53-1")
    demand((f["first"] == 1) == bool(f["origin"]), "an origin where none belongs, or none")
    demand(f["stream"] not in f["deps"], "deps on the stream itself")
    demand(f["chain"] == chain(f), "the chain")


def check_gap(f):
    demand(f["to"] >= f["from"], "to below from")
    demand(f["stream"] not in f["deps"], "deps on the stream itself")


def check_latest(f):
    m = f["message"]
    demand(not m["flags"] and is_topic(plain(m["topic"])), "no message that may be published")


def check_live(f):
    demand(f["lamport_first"] + f["count"] - 1 <= STAMP_MAX, "a stamp beyond 2^53-1")
    demand(not any(m["flags"] for m in f["messages"]), "a digest in place of a message")


CHECKS = {"HELLO": check_hello, "MEMBERS": check_members, "HEADS": check_heads,
          "PUSH": check_push, "GAP": check_gap, "LATEST": check_latest,
          "LIVE": check_live}
NO_TOKEN = (0, None, 0)


# ---- a link ----------------------------------------------------------------


class Refused(Exception):
    def __init__(self, f):
        super().__init__(repr(f))
        self.reason = f["reason"]


class Peer:
    """One link that we dialled, or (with a listening socket for a broker) that we accept.
    Every frame that comes is decoded strictly and encoded again: a broker that strays from
    the page fails whatever test is running."""

    def __init__(self, broker, addr=("127.0.0.9", 9), nonce=None, hello=True, **changes):
        self.addr, self.nonce = addr, nonce or secrets.randbits(64)
        self.answers_pings, self.seen, self.kept = True, [], bytearray()
        if isinstance(broker, socket.socket):
            self.sock = broker.accept()[0]
            self.accept_upgrade()
        else:
            self.sock = socket.create_connection((broker.ip, broker.port), timeout=10)
            self.ask_upgrade(broker)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hello:
            self.send(self.hello(**changes))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def head(self):
        while b"\r\n\r\n" not in self.kept:
            assert self.more(10), f"no head of HTTP: {self.kept}"
        head, _, rest = bytes(self.kept).partition(b"\r\n\r\n")
        self.kept = bytearray(rest)
        lines = head.decode().split("\r\n")
        assert f"Upgrade: {PROTOCOL}" in lines and "Connection: Upgrade" in lines, lines
        return lines

    def ask_upgrade(self, broker):
        self.send(f"GET /peer HTTP/1.1\r\nHost: {broker.ip}:{broker.port}\r\n"
                  f"Connection: Upgrade\r\nUpgrade: {PROTOCOL}\r\n\r\n".encode())
        lines = self.head()
        assert lines[0] == "HTTP/1.1 101 Switching Protocols", lines

    def accept_upgrade(self):
        lines = self.head()
        assert lines[0] == "GET /peer HTTP/1.1", lines
        assert "Host: {}:{}".format(*self.addr) in lines, lines
        self.send(f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                  f"Upgrade: {PROTOCOL}\r\n\r\n".encode())

    def hello(self, **changes):
        fields = {"magic": b"HEARSAY1", "version_min": 1, "version_max": 1, "cluster": "hearsay",
                  "addr": self.addr, "host": "python", "nonce": self.nonce, "capabilities": 0}
        return encode("HELLO", **{**fields, **changes})

    def send(self, data):
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # what the broker said before it closed is still to be read

    def say(self, name, **fields):
        self.send(encode(name, **fields))

    def push(self, *batches):
        self.send(b"".join(push(b) for b in batches))

    def say_heads(self, heads, flags=0):
        self.say("HEADS", flags=flags, token=NO_TOKEN,
                 heads=[{"stream": s, "head": h, "floor": 0} for s, h in sorted(heads.items())])

    def more(self, timeout):
        """Reads once; False at the end; TimeoutError."""
        if not select.select([self.sock], [], [], max(0, timeout))[0]:
            raise TimeoutError(f"nothing came; before it: {self.seen[-5:]}")
        try:
            data = self.sock.recv(1 << 18)
        except ConnectionResetError:
            data = b""
        self.kept += data
        return bool(data)

    def read(self, timeout=10.0):
        """The next frame that is no PING of theirs; None at the end."""
        end = time.monotonic() + timeout
        while True:
            raw = split(self.kept)
            if raw is None:
                if not self.more(end - time.monotonic()):
                    assert not self.kept, "the broker closed in the midst of a frame"
                    return None
                continue
            del self.kept[: len(raw)]
            f = decode(raw)
            assert f is not None, f"an unknown kind: {raw[:64].hex()}"
            assert encode(f.name, **f) == raw, f
            self.seen.append(f)
            if f.name != "PING" or f["reply"]:
                return f
            if self.answers_pings:
                self.say("PING", id=f["id"], reply=1, token=NO_TOKEN)

    def expect(self, name, timeout=10.0, where=lambda f: True):
        """The next frame of that kind; others are skipped.  Raises Refused."""
        end = time.monotonic() + timeout
        while True:
            f = self.read(end - time.monotonic())
            assert f is not None, f"closed instead of {name}; it said {self.seen[-5:]}"
            if f.name == name and where(f):
                return f
            if f.name == "REFUSE":
                raise Refused(f)

    def up(self):
        """Both HELLOs are fine: the broker tells members and all of its heads."""
        self.expect("HELLO")
        self.expect("MEMBERS")
        self.full = self.expect("HEADS", where=lambda f: f["flags"] & HEADS_FULL)
        return self

    def settle(self):
        """All that we sent was read by the broker: it answered a ping behind it."""
        mark = secrets.randbits(64)
        before = len(self.seen)
        self.say("PING", id=mark, reply=0, token=NO_TOKEN)
        self.expect("PING", where=lambda f: f["id"] == mark)
        return self.seen[before:-1]

    def expect_head(self, stream, head, timeout=10.0):
        """HEADS that says that this is on disk."""
        return self.expect("HEADS", timeout, lambda f: any(
            h["stream"] == stream and h["head"] >= head for h in f["heads"]))

    def until_closed(self, timeout=10.0):
        """The reason of the REFUSE that was the last frame before the end, or None."""
        end, last = time.monotonic() + timeout, None
        while True:
            f = self.read(end - time.monotonic())
            if f is None:
                return last["reason"] if last is not None and last.name == "REFUSE" else None
            assert last is None or last.name != "REFUSE", f"{f} behind a REFUSE"
            last = f
