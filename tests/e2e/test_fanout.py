"""Many subscribers at once: what is encoded once for all of them is right for each."""

import http.client
import json
import socket
import threading

from cluster import wait_for

BIG = "b" * 200_000  # more than is shared in one piece


class Reader(threading.Thread):
    """A subscription that runs on a thread; `got` are (topic, body, cursor)."""

    def __init__(self, broker, pattern):
        super().__init__(daemon=True)
        self.broker, self.pattern, self.got, self.ready = broker, pattern, [], threading.Event()
        self.sock = None
        self.start()
        assert self.ready.wait(10)

    def run(self):
        try:
            for line in self.lines():
                self.take(line)
        except (OSError, ValueError, http.client.HTTPException):
            pass  # closed

    def wait(self, count):
        wait_for(lambda: len(self.got) >= count, 30, f"{count} messages, not {len(self.got)}")
        return self.got

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.join(10)
        self.sock.close()


class Json(Reader):
    def lines(self):
        self.sock = socket.create_connection(("127.0.0.1", self.broker.port), 30)
        ask = {"type": "subscribe", "topic": self.pattern, "ack": True}
        self.sock.sendall(json.dumps(ask).encode())
        with self.sock.makefile("rb") as lines:
            yield from lines

    def take(self, line):
        o = json.loads(line)
        if o["type"] == "publish":
            self.got.append((o["topic"], o["message"], o["cursor"]))
        self.ready.set()


class Stream(Reader):
    accept, version = "application/x-ndjson", 11

    def lines(self):
        conn = http.client.HTTPConnection("127.0.0.1", self.broker.port, timeout=30)
        conn._http_vsn, conn._http_vsn_str = self.version, f"HTTP/1.{self.version - 10}"
        conn.request("GET", "/topics/" + self.pattern.replace("#", "%23"),
                     headers={"Accept": self.accept})
        self.sock = socket.socket(fileno=socket.dup(conn.sock.fileno()))
        with conn.getresponse() as answer:
            while line := answer.readline():
                yield line

    def take(self, line):
        o = json.loads(line)
        if "body" in o:
            self.got.append((o["topic"], o["body"], o["cursor"]))
        self.ready.set()


class Stream10(Stream):
    version = 10


class Sse(Stream):
    accept, id = "text/event-stream", None

    def take(self, line):
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name == "id":
            self.id = value
        elif name == "data" and "body" in (o := json.loads(value)):
            self.got.append((o["topic"], o["body"], self.id))
        self.ready.set()


class Sse10(Sse):
    version = 10


def publish(broker, messages):
    """All of them, in order, on one connection."""
    with socket.create_connection(("127.0.0.1", broker.port), 30) as sock:
        sock.sendall(b"".join(json.dumps({"type": "publish", "topic": t, "message": b, "ack": i ==
                                          len(messages) - 1}).encode()
                              for i, (t, b) in enumerate(messages)))
        assert json.loads(sock.makefile("rb").readline())["type"] == "ack"


def messages_of(count):
    return [(("a/x", "b", "a/y")[i % 3], BIG if i % 500 == 77 else f"{i} \"\u00e9\n" + "." * (i % 97))
            for i in range(count)]


def test_each_of_many_gets_all_with_its_cursors(broker):
    """Broken when what was encoded for one is not what another is to get: another order, a
    repeat, another face's framing, a message that its filter does not want, a cursor that is
    not where the message is."""
    readers = []
    try:
        kinds = [Json, Json, Stream, Stream, Stream10, Stream10, Sse, Sse, Sse10, Sse10]
        readers = [k(broker, pattern) for pattern in ("#", "a/+") for k in kinds]
        first, second = messages_of(1500), messages_of(900)
        publish(broker, first)
        late = [k(broker, "#") for k in kinds]  # in other places than the rest
        readers += late
        publish(broker, second)
        for r in readers:
            want = [m for m in (second if r in late else first + second)
                    if r.pattern == "#" or m[0].startswith("a/")]
            got = r.wait(len(want))
            assert [g[:2] for g in got] == want, type(r).__name__
            for i in (0, len(want) // 2, len(want) - 2):
                left, _ = broker.poll(r.pattern, got[i][2], extra="&limit=1")
                assert left[0]["body"] == want[i + 1][1]
        for a in readers:  # who wants the same in the same face is told the same
            for b in readers:
                if type(a) is type(b) and a.pattern == b.pattern and (a in late) == (b in late):
                    assert a.got == b.got
    finally:
        for r in readers:
            r.close()
