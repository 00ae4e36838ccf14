"""load.py - steady load by one client, at a fixed rate."""

import re
import socket
import threading
import time

ID = re.compile(rb'"id":"([0-9a-f]{16})-(\d+)"')
TICK_S = 0.02


class Worker(threading.Thread):
    """A thread whose failure is told by whoever waits for it."""

    def __init__(self, run):
        super().__init__(daemon=True)
        self.work, self.problem = run, None
        self.start()

    def run(self):
        try:
            self.work()
        except BaseException as e:  # told at the end, whatever it is
            self.problem = e

    def end(self, timeout):
        self.join(timeout)
        assert not self.is_alive(), "it does not end"
        if self.problem:
            raise self.problem


class Load:
    """Publishes at a fixed rate, as lines of one request; counts what was acknowledged."""

    def __init__(self, broker, rate, topic="load"):
        self.sent = self.acked = 0
        self.rate, self.stopping = rate, False
        self.sock = socket.create_connection((broker.ip, broker.port))
        self.sock.sendall(b"POST /topics/%s HTTP/1.1\r\nHost: x\r\n"
                          b"Transfer-Encoding: chunked\r\n"
                          b"Content-Type: application/x-ndjson\r\n\r\n" % topic.encode())
        self.reader = Worker(self.read)
        self.writer = Worker(self.write)

    def write(self):
        line, began = b"x" * 99 + b"\n", time.monotonic()
        while not self.stopping:
            due = int((time.monotonic() - began) * self.rate) - self.sent
            if due > 0:
                body = line * due
                self.sock.sendall(b"%x\r\n%s\r\n" % (len(body), body))
                self.sent += due
            time.sleep(TICK_S)
        self.sock.sendall(b"0\r\n\r\n")

    def read(self):
        rest = b""
        while data := self.sock.recv(1 << 20):
            rest += data
            end = rest.rfind(b"\n") + 1
            lines, rest = rest[:end], rest[end:]
            assert b'"code"' not in lines, f"a publish failed: {lines[:400]}"
            self.acked += len(ID.findall(lines))
            if self.stopping and self.acked == self.sent:
                return

    def stop(self):
        """Everything that was sent is acknowledged."""
        self.stopping = True
        for w in (self.writer, self.reader):
            w.end(20)  # else answers are missing
        self.sock.close()
