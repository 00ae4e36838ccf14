#!/usr/bin/python3
"""bench/three.py - what bench/peers asks of three brokers on one machine.

Catch-up and bytes are measured on loopback.  For what follows a cut each broker stands in a
network namespace of its own, on a bridge (tests/chaos/world.py): nftables drop whatever goes
between the first broker and the two others, as a broken line does, so that nobody is told.

usage: bench/three.py [--build DIR] heal SECONDS ROUNDS     a JSON object for each round
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
for folder in ("tests/chaos", "tests/e2e"):
    sys.path.insert(0, os.path.join(ROOT, folder))
sys.dont_write_bytecode = True
import cluster as harness  # noqa: E402
from kit import check_ids, say  # noqa: E402

BROKERS = 3
AWAY = 2_000_000  # messages that a broker missed
CUTS_S = (2, 5, 15)
LOOK_S = 0.02  # between two looks at a broker that catches up
HEAL_LOOK_S = 0.005
APART = 2000  # messages for each side of a cut


# ---- on loopback ---------------------------------------------------------------


class Three:
    """Three linked brokers in a folder of their own."""

    def __init__(self, **options):
        self.options = options

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="hearsay-three.")
        self.cluster = harness.Cluster(self.folder.name)
        brokers = self.cluster.make(BROKERS, **self.options)
        self.cluster.wait_linked()
        return self.cluster, brokers

    def __exit__(self, *failed):
        problems = self.cluster.close()
        self.folder.cleanup()
        if problems and not failed[0]:
            sys.exit("three: " + "\n".join(problems))


def stored(broker):
    """How many messages are on its disk; 0 while it does not answer."""
    try:
        return broker.metric("lsn", timeout=2)
    except OSError:
        return 0


def catch_up(publish, messages, check):
    """Messages a second, from the start of a broker that lacks them until it has all; `publish`
    is given a broker and stores them there, `check` looks for them in a database."""
    with Three() as (cluster, brokers):
        first, _, away = brokers
        away.stop()
        publish(first, messages)
        cluster.wait_equal(60, brokers[:2])
        goal, begin = stored(first), time.monotonic()
        away.start(ready=False)
        harness.wait_for(lambda: stored(away) >= goal, 120, "the broker that was away")
        rate = goal / (time.monotonic() - begin)
        cluster.wait_equal()
        check(away.db)
    return rate


def link_bytes(publish, messages, size):
    """Bytes on all links, counted by relays between the brokers, for each byte of body and
    topic that two brokers had to get; and what the brokers count themselves, for each of them."""
    with Three(relays=True) as (cluster, brokers):
        def sent():
            return sum(b.metric("link_bytes_out_total") for b in brokers)

        def total():
            return sum(r.bytes for r in cluster.relays)

        before, told = total(), sent()
        publish(brokers[0], messages)
        cluster.wait_equal(60)
        moved, told = total() - before, sent() - told
        count = sum(brokers[2].vector().values())
    return moved / ((BROKERS - 1) * count * size), told / moved


# ---- a cut ---------------------------------------------------------------------


class Cut:
    """Three brokers in namespaces; the first can be cut off from the others."""

    def __init__(self, folder, binary):
        import world

        self.world = world
        world.run("ip", "link", "set", "lo", "up")
        world.run("ip", "link", "add", "br0", "type", "bridge")
        world.run("ip", "addr", "add", f"{world.HUB}/16", "dev", "br0")
        world.run("ip", "link", "set", "br0", "up")
        harness.BIN = binary
        peers = os.path.join(folder, "globalState.csv")
        with open(peers, "w") as f:
            f.writelines(f"{world.broker_ip(k)},{world.PORT}\n" for k in self.numbers)
        self.brokers = [self.member(folder, peers, k) for k in self.numbers]
        for b in self.brokers:
            b.start(ready=False)
        for b in self.brokers:
            b.wait_ready()
        harness.wait_for(lambda: all(self.reachable(b) == BROKERS for b in self.brokers), 20,
                         "all links")

    numbers = range(1, BROKERS + 1)

    @staticmethod
    def reachable(broker):
        return harness.Cluster.reachable(broker)

    def member(self, folder, peers, k):
        cell = self.world.Cell(k)
        home = os.path.join(folder, f"b{k}")
        os.mkdir(home)
        ip = self.world.broker_ip(k)
        b = harness.Broker(home, self.world.PORT, host=ip, args=["--peers", peers])
        b.ip, b.cell = ip, cell
        plain = b.command
        b.command = lambda: cell.enter(*plain())
        return b

    def cut(self):
        others = ", ".join(self.world.broker_ip(k) for k in self.numbers if k > 1)
        self.brokers[0].cell.do("nft", "-f", "-", text=f"""
            table inet cut {{
              chain out {{ type filter hook output priority 0; ip daddr {{ {others} }} drop; }}
              chain in {{ type filter hook input priority 0; ip saddr {{ {others} }} drop; }}
            }}""")

    def heal(self):
        self.brokers[0].cell.do("nft", "delete", "table", "inet", "cut")

    def close(self):
        for b in self.brokers:
            b.stop()


def fill(broker, count):
    """`count` messages of 100 bytes, acknowledged."""
    lines = b"x" * 99 + b"\n"
    a = broker.http("POST", "/topics/cut", lines * count,
                    {"Content-Type": "application/x-ndjson"})
    assert a.status in (200, 201), a


def heal_once(cut, seconds):
    """From the end of a cut of so long until all three have the same heads; while it lasts both
    sides publish.  In ms; the bytes of bodies that had to move to the side that got more."""
    first, second, third = cut.brokers
    cut.cut()
    began = time.monotonic()
    fill(first, APART)
    fill(second, APART)
    harness.pause(max(0, began + seconds - time.monotonic()))
    assert first.vector() != second.vector()
    mine, theirs = first.vector(), third.vector()
    goal = {s: max(mine.get(s, 0), theirs.get(s, 0)) for s in mine.keys() | theirs.keys()}
    healed = time.monotonic()
    cut.heal()
    done = {}

    def watch(b):
        with harness.Http(b.port, b.ip) as http:
            while {h["stream"]: h["head"] for h in http("GET", "/cluster").json()["heads"]} != goal:
                harness.pause(HEAL_LOOK_S)
        done[b.host] = (time.monotonic() - healed) * 1000

    threads = [threading.Thread(target=watch, args=(b,), daemon=True) for b in cut.brokers]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert len(done) == BROKERS, f"not all have the same heads: {done}"
    harness.wait_for(lambda: all(cut.reachable(b) == BROKERS for b in cut.brokers), 20, "all links")
    return {"ms": max(done.values()), "messages": APART}


def inside(args):
    binary = os.path.join(args.build, "hearsay")
    cut = Cut(args.inside, binary)
    try:
        for _ in range(args.rounds):
            print(json.dumps(heal_once(cut, args.seconds)), flush=True)
    finally:
        cut.close()
    return 0


def heal(build, seconds, rounds):
    """What the rounds took, or the reason why this machine cannot say."""
    command = [sys.executable, os.path.abspath(__file__), "--build", build, "heal", str(seconds),
               str(rounds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        return [], (done.stderr.strip().splitlines() or ["it failed"])[-1]
    return [json.loads(line) for line in done.stdout.splitlines()], None


# ---- the question --------------------------------------------------------------


def ask_catch_up(results, store, rounds):
    rates = []
    for _ in range(rounds):
        with tempfile.NamedTemporaryFile(prefix="hearsay-three.") as ids:
            def check(db, path=ids.name):
                problem = check_ids(db, path)
                if problem:
                    sys.exit(f"three: {problem}")

            rates.append(catch_up(lambda b, n, path=ids.name: store(b, n, window=500, ids=path),
                                  AWAY, check))
        say(f"  three: catch-up {rates[-1]:,.0f}/s")
    rate = statistics.median(rates)
    results.add(f"catch-up of one of three that missed {AWAY / 1e6:g} M",
                f"{rate:,.0f}/s ({min(rates):,.0f} .. {max(rates):,.0f})", ">= 300,000/s",
                rate >= 300_000)
    return rate


def ask_heal(results, build, rounds, rate):
    for seconds in CUTS_S:
        found, why = heal(build, seconds, rounds)
        if why:
            results.add("  after a cut", why)
            return
        times = [r["ms"] - 1000 * r["messages"] / rate for r in found]
        say(f"  three: after {seconds} s apart: " + " ".join(f"{t:.0f}" for t in times) + " ms")
        results.add(f"  equal heads after a cut of {seconds} s, less the transfer",
                    f"{statistics.median(times):,.0f} ms ({min(times):,.0f} .. {max(times):,.0f})",
                    "<= 400 ms", statistics.median(times) <= 400)


def ask_bytes(results, store):
    size = 1024 + len("bench")
    for what, count, options in (("500 in flight", 50_000, {"window": 500}),
                                 ("1,000/s", 5_000, {"rate": 1000})):
        ratio, told = link_bytes(lambda b, n, o=options: store(b, n, bytes=1024, **o), count, size)
        results.add(f"  bytes on links, 1 KiB, {what} / two copies with topics",
                    f"{ratio:.3f} x", "<= 1.15 x", ratio <= 1.15)
        results.add("  the same by metrics / by relays between them", f"{told:.3f}")


def ask(results, load, build, rounds):
    """`load` is that of bench/peers."""
    def store(broker, count, **options):
        peer = argparse.Namespace(name="Hearsay", ip=broker.ip, port=broker.port)
        load(peer, "json", "-", count=count, warm=0, seconds=600, **options)

    rate = ask_catch_up(results, store, rounds)
    ask_heal(results, build, rounds, rate)
    ask_bytes(results, store)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--build", default=os.path.join(ROOT, "build"))
    p.add_argument("--inside", help=argparse.SUPPRESS)
    p.add_argument("--lifeline", type=int, help=argparse.SUPPRESS)
    p.add_argument("what", choices=["heal"])
    p.add_argument("seconds", type=float)
    p.add_argument("rounds", type=int)
    args = p.parse_args()
    import kernel

    if args.inside:
        def end_with_parent():
            os.read(args.lifeline, 1)
            os._exit(1)

        threading.Thread(target=end_with_parent, daemon=True).start()
        return inside(args)
    why = kernel.missing()
    if why:
        sys.exit(why)
    argv = [sys.executable, os.path.abspath(__file__), "--build", os.path.abspath(args.build),
            args.what, str(args.seconds), str(args.rounds)]
    return kernel.enter(argv, tempfile.gettempdir())


if __name__ == "__main__":
    sys.exit(main())
