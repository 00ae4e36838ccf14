"""Raw bytes to a broker's port and what comes back: no HTTP library, since these tests
send what no library would."""
import http.client
import json
import socket


class Closed(Exception):
    """The broker closed the connection before the answer was whole."""


class Raw:
    """One TCP connection; every read has a deadline and none waits for longer than needed."""

    def __init__(self, broker, timeout=10.0):
        self.host, self.port = broker.host, broker.port
        self.sock = socket.create_connection((broker.host, broker.port), timeout=timeout)
        self.sock.settimeout(timeout)
        self.kept = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def fileno(self):
        return self.sock.fileno()

    def send(self, data):
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # an early answer closes; what was answered is still to be read

    def send_end(self):
        self.sock.shutdown(socket.SHUT_WR)

    def more(self):
        """Reads once; False at the end."""
        try:
            data = self.sock.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        self.kept += data
        return bool(data)

    def line(self):
        while b"\n" not in self.kept:
            if not self.more():
                raise Closed(self.kept)
        line, _, self.kept = self.kept.partition(b"\n")
        return line

    def json_line(self):
        return json.loads(self.line())

    def json_lines(self, count):
        return [self.json_line() for _ in range(count)]

    def rest(self):
        while self.more():
            pass
        rest, self.kept = self.kept, b""
        return rest

    def answer(self):
        """One HTTP answer: (status, headers, body); 100 Continue is an answer of its own."""
        while b"\r\n\r\n" not in self.kept:
            if not self.more():
                raise Closed(self.kept)
        head, _, self.kept = self.kept.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        status = int(lines[0].split(" ")[1])
        length = int(headers.get("content-length", 0))
        while len(self.kept) < length:
            if not self.more():
                raise Closed(self.kept)
        body, self.kept = self.kept[:length], self.kept[length:]
        return status, headers, body

    def is_closed(self):
        """True once the broker closed; False when it kept quiet for half a second."""
        self.sock.settimeout(0.5)
        try:
            return not self.more()
        except (TimeoutError, socket.timeout):
            return False
        finally:
            self.sock.settimeout(10.0)


def request(broker, method, target, body=None, headers=()):
    """A plain request over a connection of its own."""
    with Raw(broker) as raw:
        raw.send(request_bytes(broker, method, target, body, headers))
        return raw.answer()


def request_bytes(broker, method, target, body=None, headers=()):
    if isinstance(body, str):
        body = body.encode()
    head = [f"{method} {target} HTTP/1.1", f"Host: {broker.host}:{broker.port}"]
    head += [f"{name}: {value}" for name, value in headers]
    if body is not None:
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + (body or b"")


def get_json(broker, target, headers=()):
    status, _, body = request(broker, "GET", target, headers=headers)
    assert status == 200, (status, body)
    return json.loads(body)


def publish(broker, topic, body, query="", headers=()):
    status, _, answer = request(broker, "POST", f"/topics/{topic}{query}", body, headers)
    assert status == 201, (status, answer)
    return json.loads(answer)


class Stream:
    """An endless answer, read line by line by a client that knows chunks."""

    def __init__(self, broker, path, accept, **headers):
        self.conn = http.client.HTTPConnection(broker.ip, broker.port, timeout=60)
        self.conn.request("GET", path, headers={
            "Accept": accept, **{k.replace("_", "-"): v for k, v in headers.items()}})
        self.answer = self.conn.getresponse()
        assert self.answer.status == 200

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.conn.close()

    def line(self):
        return self.answer.readline().decode().rstrip("\n")

    def reads(self, text):
        """Up to the line that has it."""
        while text not in (line := self.answer.readline().decode()):
            assert line, f"it ended before {text!r}"

    def row(self):
        return json.loads(self.line())

    def block(self):
        """[(name, value)] of one block."""
        fields = []
        while text := self.line():
            name, _, value = text.partition(":")
            fields.append((name, value.removeprefix(" ")))
        return fields

    def messages(self, count):
        got = []
        while len(got) < count:
            fields = dict(self.block())
            if "event" not in fields and "data" in fields:
                got.append(json.loads(fields["data"])["body"])
        return got
