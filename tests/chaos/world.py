"""world.py - brokers in network namespaces around a hub, and what can be done to them.

        hub: 10.77.0.1 (clients), 10.77.1.K (the relay, in the name of broker K)
          |
        bridge ---- veth ---- namespace of broker K: 10.77.0.(10+K), port 3000

Brokers dial each other's announced address; nftables in the dialler's namespace turns that
into the relay's address for the goal, and the relay goes on from its address for the dialler.
So in the namespace of A all that is exchanged with B has the address 10.77.1.B, and a rule on
that address cuts the pair, in one direction or both.  Clients come from 10.77.0.1, unhindered.
"""

import glob
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))
import cluster as harness  # noqa: E402

PORT = 3000
HUB = "10.77.0.1"
DISK_FULL = "the disk is full; free some space and start again"
ROOM_BYTES = 3 << 30  # of a broker's tmpfs: taken only as it fills


def broker_ip(k):
    return f"10.77.0.{10 + k}"


def proxy_ip(k):
    return f"10.77.1.{k}"


def run(*command, text=None):
    done = subprocess.run(command, capture_output=True, text=True, input=text, timeout=20)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


class Cell:
    """A network namespace with one interface, kept open by a sleeping process."""

    def __init__(self, k):
        self.holder = subprocess.Popen(["unshare", "-n", "sleep", "infinity"])
        self.net = f"/proc/{self.holder.pid}/ns/net"
        here = os.readlink("/proc/self/ns/net")
        harness.wait_for(lambda: os.readlink(self.net) != here, 10, "a namespace")
        run("ip", "link", "add", f"v{k}", "type", "veth", "peer", "name", "e0", "netns",
            str(self.holder.pid))
        run("ip", "link", "set", f"v{k}", "master", "br0", "up")
        self.do("ip", "link", "set", "lo", "up")
        self.do("ip", "addr", "add", f"{broker_ip(k)}/16", "dev", "e0")
        self.do("ip", "link", "set", "e0", "up")

    def enter(self, *command):
        return ["nsenter", f"--net={self.net}", "--", *command]

    def do(self, *command, text=None):
        return run(*self.enter(*command), text=text)


class Filter:
    """The nftables of one broker's namespace: links through the relay, and rules that drop."""

    def __init__(self, cell, k, count):
        self.cell, self.rules, self.fired = cell, {}, {}
        self.lock = threading.RLock()  # lanes share it
        goals = "\n".join(
            f"ip daddr {broker_ip(j)} tcp dport {PORT} dnat to {proxy_ip(j)}:{PORT}"
            for j in range(1, count + 1) if j != k)
        cell.do("nft", "-f", "-", text=f"""
            table ip relayed {{
              chain out {{
                type nat hook output priority -100;
                {goals}
              }}
            }}
            table inet faults {{
              chain out {{
                type filter hook output priority 0;
              }}
            }}
            """)

    def put(self, name, match):
        with self.lock:
            self.rules[name] = match
            self.write()

    def take(self, name):
        """Removes the rule; how many packets it dropped."""
        with self.lock:
            dropped = self.fired.get(name, 0) + dict(self.count()).get(name, 0)
            del self.rules[name]
            self.write()
            return dropped

    def count(self):
        listed = json.loads(self.cell.do("nft", "-j", "list", "chain", "inet", "faults", "out"))
        for item in listed["nftables"]:
            rule = item.get("rule")
            if rule and "comment" in rule:
                for part in rule["expr"]:
                    if "counter" in part:
                        name = rule["comment"]
                        yield name, part["counter"]["packets"]

    def write(self):
        for name, packets in self.count():
            self.fired[name] = self.fired.get(name, 0) + packets
        rules = "\n".join(f'add rule inet faults out {match} counter drop comment "{name}"'
                          for name, match in self.rules.items())
        self.cell.do("nft", "-f", "-", text=f"flush chain inet faults out\n{rules}\n")
        for name in [n for n in self.fired if n not in self.rules]:
            del self.fired[name]


class Member(harness.Broker):
    """A broker in its namespace, with a disk of its own."""

    def __init__(self, world, k, cell, on_tmpfs, reserve):
        folder = os.path.join(world.folder, f"b{k}")
        os.mkdir(folder)
        options = ["--peers", world.peers, "--disk-reserve", reserve, *world.options]
        super().__init__(folder, PORT, host=broker_ip(k), args=options)
        self.k, self.ip, self.cell, self.on_tmpfs = k, broker_ip(k), cell, on_tmpfs
        self.bin, self.reserve = world.bin, reserve
        self.exits = []  # codes with which it ended although nobody killed it
        self.refusals = 0  # of a start on a full disk
        if on_tmpfs:
            os.mkdir(os.path.join(folder, "hearsay-data"))
            run("mount", "-t", "tmpfs", "-o", f"size={ROOM_BYTES}", "disk", self.disk)

    @property
    def disk(self):
        return os.path.join(self.folder, "hearsay-data")

    def command(self):
        plain = super().command()
        return self.cell.enter(self.bin, *plain[1:])

    def fill(self, room):
        """Shrinks the disk to what is on it and `room` bytes more; what was written between
        the look and the act makes it impossible, and it is done again."""
        def shrink():
            s = os.statvfs(self.disk)
            used = (s.f_blocks - s.f_bfree) * s.f_frsize
            run("mount", "-t", "tmpfs", "-o", f"remount,size={used + room}", "disk", self.disk)

        patiently(shrink, 5)

    def free(self):
        run("mount", "-t", "tmpfs", "-o", f"remount,size={ROOM_BYTES}", "disk", self.disk)

    def files(self):
        return glob.glob(glob.escape(self.db) + "*")

    def lose(self):
        """Deletes the data folder of a broker that is down."""
        shutil.rmtree(self.data)

    def backup(self, folder):
        """A copy of a running broker's file, as docs/STORE.md has it."""
        os.makedirs(folder, exist_ok=True)
        goal = os.path.join(folder, "broker.db")
        if os.path.exists(goal):  # of an attempt that failed
            os.unlink(goal)
        c = sqlite3.connect(f"file:{self.db}?mode=ro", uri=True, timeout=20)
        try:
            c.execute("vacuum into ?", (goal,))
        finally:
            c.close()

    def snapshot(self, folder):
        """A copy of all files at one instant, as a snapshot of the disk would have it."""
        os.makedirs(folder, exist_ok=True)
        self.pause()
        try:
            harness.wait_for(self.is_stopped, 5, "SIGSTOP to work")
            for path in self.files():
                shutil.copy(path, folder)
        finally:
            self.resume()

    def is_stopped(self):
        states = []
        for task in os.listdir(f"/proc/{self.pid}/task"):
            with open(f"/proc/{self.pid}/task/{task}/stat") as f:
                states.append(f.read().rsplit(")", 1)[1].split()[0])
        return all(s in "TtZ" for s in states)

    def look_after(self):
        """Starts it anew when it ended by itself.  A start on a full disk may fail, and has to
        say what to do."""
        if self.process is None or self.process.poll() is None:
            return
        code, self.process = self.process.returncode, None
        if code == 1 and self.stderr().rstrip().endswith(DISK_FULL):
            self.refusals += 1
        else:
            self.exits.append(code)
        self.start(ready=False)

    def restore(self, folder):
        for path in self.files():
            os.unlink(path)
        for name in os.listdir(folder):
            if not name.endswith("-shm"):
                shutil.copy(os.path.join(folder, name), self.data)

    def heads(self):
        """stream -> highest seq on this disk, whether the broker runs or not."""
        return heads_of(self.db, self.is_running(), os.path.join(self.folder, "look"))


def patiently(do, seconds=10):
    """Again and again while a disk that fills up makes it impossible."""
    end = time.monotonic() + seconds
    while True:
        try:
            return do()
        except (OSError, sqlite3.OperationalError):
            if time.monotonic() > end:
                raise
        harness.pause(0.1)


def heads_of(db, is_live, spare):
    """Of a file without a broker a copy is read: reading a WAL may change it."""
    if not os.path.exists(db):
        return {}
    path = db
    if not is_live:
        shutil.rmtree(spare, ignore_errors=True)
        os.mkdir(spare)
        for part in ("", "-wal"):
            if os.path.exists(db + part):
                shutil.copy(db + part, os.path.join(spare, "broker.db" + part))
        path = os.path.join(spare, "broker.db")
    c = sqlite3.connect(f"file:{path}?mode={'ro' if is_live else 'rw'}", uri=True, timeout=20)
    try:
        return dict(c.execute("select stream, head from streams where head > 0"))
    finally:
        c.close()
        shutil.rmtree(spare, ignore_errors=True)


class Relay:
    """The relay process, told by lines what to do to a directed link, telling what it did."""

    def __init__(self, world, count):
        self.fired, self.log = {}, open(os.path.join(world.folder, "relay.err"), "ab")
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "relay.py"), str(count)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True)
        assert self.process.stdout.readline() == "listening\n"
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        for line in self.process.stdout:
            what = line.strip()
            self.fired[what] = self.fired.get(what, 0) + 1

    def set(self, a, b, **what):
        self.process.stdin.write(json.dumps({"from": a, "to": b, **what}) + "\n")
        self.process.stdin.flush()


class World:
    """The hub, its cells, the relay and the brokers.  Numbers of brokers are 1..count."""

    def __init__(self, folder, count, binary, options=()):
        self.folder, self.count, self.bin = folder, count, binary
        self.options = ["--cluster", "chaos", *options]
        self.lock = threading.Lock()  # of what several faults change
        self.peers = os.path.join(folder, "globalState.csv")
        with open(self.peers, "w") as f:
            f.writelines(f"{broker_ip(k)},{PORT}\n" for k in self.numbers)
        self.lost = []  # what went with disks: see check.Excused
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "br0", "type", "bridge")
        run("ip", "addr", "add", f"{HUB}/16", "dev", "br0")
        for k in self.numbers:
            run("ip", "addr", "add", f"{proxy_ip(k)}/16", "dev", "br0")
        run("ip", "link", "set", "br0", "up")
        cells = {k: Cell(k) for k in self.numbers}
        self.filters = {k: Filter(cells[k], k, count) for k in self.numbers}
        self.relay = Relay(self, count)
        # Odd ones lie on a disk that can be shrunk; the first keeps a reserve, the others
        # meet the end of the disk in the middle of a write.  Even ones are on a real disk.
        self.members = {
            k: Member(self, k, cells[k], on_tmpfs=k % 2 == 1,
                      reserve="16M" if k == 1 else "0" if k % 2 else "1M")
            for k in self.numbers}

    @property
    def numbers(self):
        return range(1, self.count + 1)

    def start(self):
        for m in self.members.values():
            m.start(ready=False)
        for m in self.members.values():
            m.wait_ready(30)

    def note_loss(self, k, kept=None):
        """Broker k is down and about to lose its disk, but for what is in `kept`: what is
        nowhere else is not owed any more.  What is in no more than sockets may still come."""
        with self.lock:
            mine = patiently(self.members[k].heads)
            elsewhere = dict(kept or {})
            for j, m in self.members.items():
                if j != k:
                    for stream, head in patiently(m.heads).items():
                        elsewhere[stream] = max(elsewhere.get(stream, 0), head)
            gone = {s: (elsewhere.get(s, 0), head) for s, head in mine.items()
                    if head > elsewhere.get(s, 0)}
            kept = kept or {}
            self.lost.append((k, gone, {s: (kept.get(s, 0), head) for s, head in mine.items()
                                        if head > kept.get(s, 0)}))

    def close(self):
        problems = []
        for m in self.members.values():
            if m.process is not None:
                try:
                    code = m.stop(30)
                    if code != 0:
                        problems.append(f"broker {m.k} ended with {code}")
                except AssertionError as e:
                    problems.append(str(e))
            if m.exits:
                problems.append(f"broker {m.k} ended by itself, with {m.exits}: "
                                f"{m.stderr()[-2000:]}")
            if harness.SANITIZER.search(m.stderr()):
                problems.append(f"broker {m.k} reported:\n{m.stderr()[-8000:]}")
        return problems
