"""hearsay commands that run beside a test: what they print, and when."""

import os
import pty
import subprocess
import threading
import time

from cluster import BIN, clean_env, wait_for


def broker_list(*brokers):
    """For --broker; what is no broker is a port."""
    return ",".join(f"127.0.0.1:{getattr(b, 'port', b)}" for b in brokers)


class Client:
    """A command whose lines are read as they come; tty=True gives it a terminal as stderr."""

    def __init__(self, *args, tty=False, stdin=subprocess.DEVNULL, env=None, preexec_fn=None):
        self.out, self.out_at, self.err = [], [], ""
        self.torn = ""  # what came behind the last newline
        self.lock = threading.Lock()
        near, far = pty.openpty() if tty else os.pipe()
        self.process = subprocess.Popen(
            [BIN, *args], stdin=stdin, stdout=subprocess.PIPE, stderr=far,
            env=clean_env(env), preexec_fn=preexec_fn)
        os.close(far)
        self.near = near
        self.threads = [threading.Thread(target=f, daemon=True)
                        for f in (self._read_out, self._read_err)]
        for t in self.threads:
            t.start()

    def _read_out(self):
        rest = b""
        while piece := os.read(self.process.stdout.fileno(), 1 << 16):
            *lines, rest = (rest + piece).split(b"\n")
            now = time.monotonic()
            with self.lock:
                self.out += [line.decode() for line in lines]
                self.out_at += [now] * len(lines)
        self.torn = rest.decode(errors="replace")

    def _read_err(self):
        while True:
            try:
                piece = os.read(self.near, 4096)
            except OSError:  # the other end of a terminal is gone
                return
            if not piece:
                return
            self.err += piece.decode(errors="replace")

    def lines(self):
        with self.lock:
            return list(self.out)

    def wait_lines(self, count, timeout=20):
        wait_for(lambda: len(self.out) >= count or self.process.poll() is not None, timeout,
                 f"{count} lines; it said: {self.err}")
        assert len(self.out) >= count, f"it ended: {self.err}"

    def wait_err(self, text, timeout=20):
        wait_for(lambda: text in self.err, timeout, f"{text!r}; it said: {self.err!r}")

    def longest_pause(self):
        with self.lock:
            return max((b - a for a, b in zip(self.out_at, self.out_at[1:])), default=0)

    def signal(self, number):
        self.process.send_signal(number)

    def end(self, timeout=30):
        """Waits for its end; returns the exit code."""
        code = self.process.wait(timeout)
        for t in self.threads:
            t.join(10)
        os.close(self.near)
        self.process.stdout.close()
        return code

    def kill(self, number=9):
        if self.process.poll() is None:
            self.signal(number)
        return self.end()


class Feeder:
    """Lines into the standard input of a client, more than it can take, until end()."""

    def __init__(self, client, line=lambda i: f"line {i}\n"):
        self.client, self.line, self.count = client, line, 0
        self.stop = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            with self.client.process.stdin as f:
                while not self.stop:
                    block = range(self.count + 1, self.count + 2001)
                    f.write("".join(map(self.line, block)).encode())
                    self.count += len(block)
        except BrokenPipeError:  # it ended before we did
            pass

    def end(self):
        self.stop = True
        self.thread.join(30)
        return self.count
