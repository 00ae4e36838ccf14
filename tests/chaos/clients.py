"""clients.py - one client of the chaos; each is a process of its own.

usage: clients.py ROLE --name N --brokers H,H,.. --home I --out FILE [--rate N] --seed N

Publishers write a log, readers what they were given (records.py).  All of them go to another
broker when theirs fails, stands still, or when they feel like it, and go on by cursor there.
SIGUSR1 ends the publishing: answers that are due are waited for.  SIGTERM ends all of it.
"""

import argparse
import collections
import http.client
import json
import os
import random
import re
import select
import signal
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from records import make_body  # noqa: E402

PORT = 3000
PATIENCE_S = 4.0  # without a sign of life, before another broker is tried
ACK = re.compile(rb'\{"type":"ack","id":"([0-9a-f]{16}-\d+)","lamport_timestamp":\d+,'
                 rb'"ref":(\d+)(?:,"causal":(true|false))?')
DRAIN_S = 8.0  # for answers at the end

stopping = quiet = False


def stop(number, _frame):
    global stopping, quiet
    quiet = True
    stopping = stopping or number == signal.SIGTERM


class Log:
    """What became of each number."""

    def __init__(self, path):
        self.file = open(path, "w", buffering=1 << 16)

    def acked(self, number, message_id, causal="-", copies=1):
        self.file.write(f"A {number} {message_id} {causal} {copies}\n")

    def refused(self, number, why=""):
        self.file.write(f"R {number} {why}\n")

    def unknown(self, number):
        self.file.write(f"U {number}\n")


class Tour:
    """Which broker to talk to: from home around, and home again after a while."""

    def __init__(self, brokers, home, dice):
        self.brokers, self.home, self.now, self.dice = brokers, home, home, dice
        self.since = time.monotonic()

    def connect(self, timeout=1.0):
        """A connection to one of them, sooner or later; None when it is time to end."""
        while not stopping:
            try:
                s = socket.create_connection((self.brokers[self.now], PORT), timeout=timeout)
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.since = time.monotonic()
                return s
            except OSError:
                self.move()
                time.sleep(0.05)
        return None

    def move(self):
        self.now = (self.now + 1) % len(self.brokers)

    def wants_home(self):
        return self.now != self.home and time.monotonic() - self.since > 2

    def go_home(self):
        self.now = self.home


class Publisher:
    """Talks to one broker after the other; what a broker did not answer is of unknown outcome."""

    def __init__(self, args, tour, dice):
        self.args, self.tour, self.dice = args, tour, dice
        self.log, self.number = Log(args.out), 0

    def run(self):
        while not self.is_over():
            sock = self.tour.connect()
            if sock is None:
                return
            waiting = collections.deque()
            try:
                self.talk(sock, waiting)
            except OSError:
                pass
            sock.close()
            for number in waiting:
                self.log.unknown(number)
            self.move()


# ---- bulk: many messages by JSON socket, each acknowledged ------------------


class Bulk(Publisher):
    WINDOW = 2048
    EVERY = 16  # so many messages carry one id that was seen acknowledged

    def is_over(self):
        return quiet

    def move(self):
        if self.tour.wants_home():
            self.tour.go_home()
        else:
            self.tour.move()

    def talk(self, sock, waiting):
        sock.setblocking(False)
        out, rest, last_id = b"", b"", None
        began = heard = time.monotonic()
        sent, ending, self.full = 0, None, False
        while True:
            now = time.monotonic()
            if quiet or self.full or self.tour.wants_home():
                ending = ending or now
                if not waiting or now - ending > DRAIN_S:
                    return
            elif not out:
                due = min(int((now - began) * self.args.rate) - sent, self.WINDOW - len(waiting))
                if due < 0 or now - began > 1:  # what could not be sent in time is not owed
                    began, sent = now, 0
                elif due > 0:
                    out = self.some(due, waiting, last_id)
                    sent += due
            readable = select.select([sock], [sock] if out else [], [], 0.01)[0]
            if out:
                try:
                    out = out[sock.send(out):]
                except BlockingIOError:
                    pass
            if not readable:
                if waiting and now - heard > PATIENCE_S:
                    return
                if not waiting:
                    heard = now
                continue
            data = sock.recv(1 << 18)
            if not data:
                return
            heard = now
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                last_id = self.answer(line, waiting) or last_id

    def some(self, count, waiting, last_id):
        made = []
        for _ in range(count):
            n = self.number
            self.number += 1
            waiting.append(n)
            ids = [last_id] if last_id and n % self.EVERY == 0 else []
            size = self.dice.choice((0, 8, 30)) if n % 1000 else 60_000
            body = make_body(self.args.name, n, "s" if ids else "-", ids, "x" * size)
            made.append(f'{{"type":"publish","topic":"bulk/{self.args.name}/{n % 7}",'
                        f'"message":"{body}","ack":true,"ref":{n}}}\n')
        return "".join(made).encode()

    def answer(self, line, waiting):
        number = waiting.popleft()
        found = ACK.match(line)
        if found:
            if int(found[2]) != number:
                raise AssertionError(f"the answer to {number} is {line!r}")
            self.log.acked(number, found[1].decode())
            return found[1].decode()
        o = json.loads(line)
        if o["type"] != "error" or o["ref"] != number:
            raise AssertionError(f"the answer to {number} is {line!r}")
        if "id" in o:
            self.log.unknown(number)
        else:
            self.log.refused(number, o["error"])
            self.full = True
        return None


# ---- talk: reads what others say and answers it, on one JSON connection -----


class Talk(Publisher):
    SEEN = 3

    def __init__(self, args, tour, dice):
        super().__init__(args, tour, dice)
        self.story = open(args.out + ".read", "wb", buffering=0)
        self.cursor, self.seen = "earliest", collections.deque(maxlen=self.SEEN)

    def is_over(self):
        return stopping

    def move(self):
        self.tour.move()

    def talk(self, sock, waiting):
        sock.sendall(json.dumps({"type": "subscribe", "topic": "talk/#", "cursor": self.cursor,
                                 "ack": True}).encode() + b"\n")
        sock.settimeout(0.01)
        due = heard = time.monotonic()
        until = due + self.dice.uniform(2, 6)  # then it moves on, anywhere
        rest, here = b"", collections.deque(maxlen=self.SEEN)
        from_before = list(self.seen)
        while not stopping and (waiting or time.monotonic() < until):
            now = time.monotonic()
            if not quiet and due <= now < until and len(waiting) < 64:
                due = now + 1 / self.args.rate
                self.answer_them(sock, waiting, here, from_before)
            try:
                data = sock.recv(1 << 16)
            except TimeoutError:
                if now - heard > PATIENCE_S:
                    return
                continue
            if not data:
                return
            heard = now
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self.take(line, waiting, here)

    def answer_them(self, sock, waiting, here, from_before):
        if here:
            self.say(sock, waiting, "s", list(here), self.dice.random() < 0.3)
        elif from_before:
            self.say(sock, waiting, "a", from_before, True)
        else:
            self.say(sock, waiting, "-", [], False)

    def say(self, sock, waiting, kind, ids, with_cursor):
        n = self.number
        self.number += 1
        waiting.append(n)
        o = {"type": "publish", "topic": f"talk/{self.args.name}", "ack": True, "ref": n,
             "message": make_body(self.args.name, n, kind, ids)}
        if with_cursor:
            o["after"] = self.cursor
        sock.sendall(json.dumps(o).encode() + b"\n")

    def take(self, line, waiting, here):
        o = json.loads(line)
        if o["type"] in ("publish", "gap"):
            self.story.write(line + b"\n")
            self.cursor = o["cursor"]
            if "id" in o:
                here.append(o["id"])
                self.seen.append(o["id"])
            return
        if o["type"] == "subscribed":
            self.cursor = o["cursor"]
            return
        if "ref" not in o:
            raise AssertionError(f"what is this? {line!r}")
        number = waiting.popleft()
        if o["ref"] != number:
            raise AssertionError(f"the answer to {number} is {line!r}")
        if o["type"] == "ack":
            causal = {True: "1", False: "0", None: "-"}[o.get("causal")]
            self.log.acked(number, o["id"], causal)
        elif "id" in o:
            self.log.unknown(number)
        else:
            self.log.refused(number, o["error"])


# ---- web: many lines in a request, with acks, hopping with Hearsay-After ----


class Web:
    LINES = 100

    def __init__(self, args, tour, dice):
        self.args, self.tour, self.dice = args, tour, dice
        self.log, self.number = Log(args.out), 0
        self.cursor = self.last_id = None

    def run(self):
        while not quiet:
            conn = http.client.HTTPConnection(self.tour.brokers[self.tour.now], PORT,
                                              timeout=PATIENCE_S)
            try:
                conn.connect()
                self.talk(conn)
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)
            conn.close()
            self.tour.move()

    def talk(self, conn):
        """Some requests on one connection; the first follows what was seen elsewhere."""
        before = self.last_id
        for _ in range(self.dice.randint(1, 20)):
            if quiet:
                return
            # Until something was acknowledged here, what was seen was seen elsewhere.
            self.request(conn, "s" if self.last_id != before else "a" if before else "-")
            time.sleep(self.LINES / self.args.rate)

    def request(self, conn, kind):
        headers = {"Content-Type": "application/x-ndjson"}
        if kind == "a":
            headers["Hearsay-After"] = self.cursor
        numbers = collections.deque(range(self.number, self.number + self.LINES))
        self.number += self.LINES
        ids = [self.last_id] if self.last_id and kind != "-" else []
        body = "\n".join(make_body(self.args.name, n, kind, ids) for n in numbers)
        copies = self.dice.choice(("1", "1", "2"))
        try:
            conn.request("POST", f"/topics/web/{self.args.name}?acks={copies}&timeout=2s", body,
                         headers)
            answer = conn.getresponse()
            if answer.status != 200:
                answer.read()
                return self.all_refused(answer.status, numbers)
            while numbers:
                line = answer.readline()
                if not line.endswith(b"\n"):
                    raise http.client.HTTPException("the answer ended early")
                self.answer(json.loads(line), numbers.popleft())
            answer.read()
        finally:
            for number in numbers:
                self.log.unknown(number)

    def all_refused(self, status, numbers):
        while numbers:
            self.log.refused(numbers.popleft(), status)
        raise http.client.HTTPException(f"refused: {status}")

    def answer(self, o, number):
        if "copies" in o:
            self.log.acked(number, o["id"], "1" if o["causal"] else "0", o["copies"])
            self.last_id, self.cursor = o["id"], o["cursor"]
        elif o["code"] == "outcome_unknown":
            self.log.unknown(number)
        else:
            self.log.refused(number, o["code"])


# ---- hopper: a long poll at another broker with every read ------------------


def hopper(args, tour, dice):
    cursor = "earliest"
    conns = [http.client.HTTPConnection(h, PORT, timeout=PATIENCE_S) for h in tour.brokers]
    with open(args.out, "wb", buffering=0) as story:
        while not stopping:
            tour.move()
            conn = conns[tour.now]
            try:
                conn.request("GET", "/topics?filter=%23&wait=1&limit=10000",
                             headers={"Content-Type": "application/x-www-form-urlencoded"},
                             body=f"cursor={cursor}")
                answer = conn.getresponse()
                page = answer.read()
            except (OSError, http.client.HTTPException):
                conn.close()
                time.sleep(0.02)
                continue
            if answer.status == 204:
                cursor = answer.headers["Hearsay-Cursor"]
            elif answer.status == 200:
                story.write(page.replace(b"\n", b"") + b"\n")
                cursor = re.search(rb'"cursor":"([^"]*)"[^{}]*(?:"gaps":\[.*\])?\}\s*$',
                                   page[-300_000:])[1].decode()
            elif answer.status < 500:
                raise AssertionError(f"{answer.status} {page[:500]!r}")


# ---- sse and ndjson: endless answers, left in the middle ---------------------


class Stream:
    def __init__(self, args, tour, dice):
        self.args, self.tour, self.dice = args, tour, dice
        self.cursor = "earliest"
        self.story = open(args.out, "wb", buffering=0)

    def run(self):
        while not stopping:
            conn = http.client.HTTPConnection(self.tour.brokers[self.tour.now], PORT, timeout=1)
            try:
                self.listen(conn)
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)
            conn.close()
            self.tour.move()

    def listen(self, conn):
        sse = self.args.role == "sse"
        headers = {"Accept": "text/event-stream" if sse else "application/x-ndjson"}
        path = "/topics/talk/%23"
        if sse and self.cursor != "earliest":
            headers["Last-Event-ID"] = self.cursor
        else:
            path += f"?cursor={self.cursor}"
        conn.request("GET", path, headers=headers)
        answer = conn.getresponse()
        if answer.status != 200:
            answer.read()
            return
        until, rest = time.monotonic() + self.dice.uniform(1, 5), b""
        end = b"\n\n" if sse else b"\n"
        while time.monotonic() < until and not stopping:
            data = answer.read1(1 << 16)
            if not data:
                return
            *whole, rest = (rest + data).split(end)
            for unit in whole:
                (self.block if sse else self.line)(unit)

    def line(self, line):
        if line:
            o = json.loads(line)
            self.story.write(line + b"\n")
            self.cursor = o["cursor"]

    def block(self, block):
        event, data = "message", None
        for line in block.split(b"\n"):
            name, _, value = line.partition(b": ")
            if name == b"id":
                self.cursor = value.decode()
            elif name == b"event":
                event = value.decode()
            elif name == b"data":
                data = value
        if data is None or event == "cursor":
            return
        self.story.write((b'{"gap":%s}' % data if event == "gap" else data) + b"\n")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("role", choices=("bulk", "talk", "web", "hopper", "sse", "ndjson"))
    p.add_argument("--name", required=True)
    p.add_argument("--brokers", required=True)
    p.add_argument("--home", type=int, required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--rate", type=float, default=100)
    p.add_argument("--seed", required=True)
    args = p.parse_args()
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGUSR1, stop)
    dice = random.Random(f"{args.seed} {args.name}")
    # Ctrl-C is for who started us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tour = Tour(args.brokers.split(","), args.home, dice)
    if args.role == "hopper":
        hopper(args, tour, dice)
    else:
        roles = {"bulk": Bulk, "talk": Talk, "web": Web, "sse": Stream, "ndjson": Stream}
        roles[args.role](args, tour, dice).run()


main()
