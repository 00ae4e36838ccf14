#!/usr/bin/python3
"""chaos.py - real brokers, real trouble, and a look at everything that clients were told.

usage: chaos.py [--seconds T] [--seed N] [--brokers N] [--rate N] [--build DIR] [--plan]
                [--must] [--keep DIR]

Brokers in network namespaces of their own (world.py), links through a relay (relay.py), a plan
of faults from one seed (plan.py), clients at all brokers (clients.py), and at the end a check
of all they wrote down, and of every broker.db (check.py).  The exit code is 0 when nothing was
lost, duplicated, reordered, made up, inverted or passed over in silence; 77 when the machine
cannot do it (1 with --must).
"""

import argparse
import collections
import faulthandler
import gc
import http.client
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)
import check  # noqa: E402
import kernel  # noqa: E402
import plan  # noqa: E402
import records  # noqa: E402

CONVERGE_S = 60  # from the end of all trouble to equal heads, at most
SETTLE_S = 1.5
FAULT_S = 60  # what a fault takes longer than planned
CHECK_S = 300
READ_S = 20  # and T more until every reader was given all of it


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--seconds", type=float, default=120)
    p.add_argument("--seed", type=int)
    p.add_argument("--brokers", type=int, default=3, choices=range(2, 9))
    p.add_argument("--rate", type=int, default=12_500, help="messages a second, of all brokers")
    p.add_argument("--build", default=os.path.join(ROOT, "build"))
    p.add_argument("--plan", action="store_true", help="print the plan, do nothing")
    p.add_argument("--must", action="store_true", help="that it cannot run here is a failure")
    p.add_argument("--keep", help="put everything there when something was found")
    p.add_argument("--inside", help=argparse.SUPPRESS)
    p.add_argument("--lifeline", type=int, help=argparse.SUPPRESS)
    args = p.parse_args()
    if not args.seconds >= 1:
        p.error(f"argument --seconds: {args.seconds}: at least 1")
    return args


# ---- the faults ------------------------------------------------------------


class Trouble:
    """Carries out the plan: a thread for each lane, and what came of each fault."""

    def __init__(self, world, faults, began):
        self.world, self.began = world, began
        self.planned = collections.Counter(f.kind for f in faults)
        self.fired, self.notes = collections.Counter(), []
        self.problems, self.doing = [], {}
        self.busy = {k: threading.Lock() for k in world.numbers}  # whose process is in a fault
        self.threads = [
            threading.Thread(target=self.lane, daemon=True,
                             args=([f for f in faults if f.lane == lane],))
            for lane in plan.LANES]
        for t in self.threads:
            t.start()

    def lane(self, faults):
        for f in faults:
            wait = self.began + f.at - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            self.doing[f.lane] = str(f)
            try:
                self.do(f)
            except Exception as e:  # told at the end; the plan goes on
                self.problems.append(f"{f}: {type(e).__name__} {e}")
            self.doing[f.lane] = "nothing"

    def do(self, f):
        lane = {"network": self.network, "relay": self.relay, "process": self.process,
                "disk": self.disk}[f.lane]
        lane(f, **f.how)

    # -- by nftables

    def network(self, f, **how):
        rules = self.rules(f.kind, **how)
        for k, match in rules:
            self.world.filters[k].put(f.kind, match)
        time.sleep(f.seconds)
        if sum(self.world.filters[k].take(f.kind) for k, _ in rules):
            self.fired[f.kind] += 1

    def rules(self, kind, a=None, b=None, side=(), percent=0):
        """(broker in whose namespace, what is dropped on its way out)."""
        from world import HUB, PORT, proxy_ip

        def to(k, *others):
            return k, f"ip daddr {{ {', '.join(proxy_ip(j) for j in others)} }}"

        if kind == "split":
            rest = [k for k in self.world.numbers if k not in side]
            return [to(k, *rest) for k in side] + [to(k, *side) for k in rest]
        if kind == "one way":
            return [to(a, b)]
        if kind == "partial":
            return [to(a, b), to(b, a)]
        if kind == "loss":
            return [(k, f"{match} numgen random mod 100 < {percent}")
                    for k, match in (to(a, b), to(b, a))]
        return [(a, f"ip daddr {HUB} tcp sport {PORT}")]

    # -- by the relay

    def relay(self, f, a, b, ms=0, rate=0, bytes=0):
        tell, before = self.world.relay, self.world.relay.fired.get(f.kind, 0)
        on, off = {
            "delay": ({"delay": ms / 1000}, {"delay": 0}),
            "throttle": ({"rate": rate}, {"rate": 0}),
            "stall": ({"stall": True}, {"stall": False}),
            "half_close": ({"half_close": bytes}, {"half_close": None}),
            "reset": ({"reset": bytes}, {"reset": None}),
        }[f.kind]
        tell.set(a, b, **on)
        time.sleep(f.seconds)
        tell.set(a, b, **off)
        if tell.fired.get(f.kind, 0) > before:
            self.fired[f.kind] += 1

    # -- to processes

    def process(self, f, a, alone=False):
        m = self.world.members[a]
        with self.busy[a]:
            m.look_after()
            if f.kind in ("pause", "long pause"):
                m.pause()
                time.sleep(f.seconds)
                m.resume()
            elif f.kind == "SIGTERM":
                code = m.stop(30)
                if code != 0:
                    self.problems.append(f"{f}: it ended with {code}")
                self.back(m, f.seconds)
            elif f.kind == "kill -9":
                m.kill()
                self.back(m, f.seconds)
            else:
                self.lose(m, f, alone)
        self.fired[f.kind] += 1

    @staticmethod
    def back(m, after):
        time.sleep(after)
        m.start(ready=False)

    def lose(self, m, f, alone):
        """Its disk is lost or set back; when it was alone before, with messages of its own."""
        from world import heads_of, patiently

        copy, kept = os.path.join(m.folder, "copy"), {}
        if f.kind != "deleted folder":
            make = m.backup if f.kind == "old copy" else m.snapshot
            patiently(lambda: (m.look_after(), make(copy)))
        if alone:
            rest = [k for k in self.world.numbers if k != m.k]
            self.cut_off(m.k, rest)
        time.sleep(f.seconds)
        m.kill()
        if f.kind == "deleted folder":
            self.world.note_loss(m.k)
            m.lose()
        else:
            kept = heads_of(os.path.join(copy, "broker.db"), False, copy + ".look")
            self.world.note_loss(m.k, kept)
            patiently(lambda: m.restore(copy))
            shutil.rmtree(copy)
        if alone:
            self.world.filters[m.k].take("alone")
            for k in rest:
                self.world.filters[k].take("alone")
        m.start(ready=False)

    def cut_off(self, victim, rest):
        from world import proxy_ip

        for k in rest:
            self.world.filters[k].put("alone", f"ip daddr {proxy_ip(victim)}")
        them = ", ".join(proxy_ip(k) for k in rest)
        self.world.filters[victim].put("alone", f"ip daddr {{ {them} }}")

    # -- to disks

    def disk(self, f, a, room):
        m = self.world.members[a]
        before = refusals(m)
        m.fill(room)
        time.sleep(f.seconds)
        after = refusals(m)
        m.free()
        # A broker that was down or stood still says nothing of what it refused.
        if before is None or after is None or after != before:
            self.fired[f.kind] += 1

    def end(self, seconds):
        """Every lane is through by then."""
        until = time.monotonic() + seconds
        while any(t.is_alive() for t in self.threads):
            assert time.monotonic() < until, f"a fault does not end: {self.doing}"
            self.look_after()
            time.sleep(0.2)

    def look_after(self):
        """Who ended by itself is started again, unless it is being dealt with."""
        for k, m in self.world.members.items():
            if self.busy[k].acquire(blocking=False):
                try:
                    m.look_after()
                finally:
                    self.busy[k].release()


def refusals(m):
    """How often this broker said that its disk is full."""
    try:
        answer = m.http("GET", "/cluster", timeout=1).json()
    except (OSError, ValueError, http.client.HTTPException):
        return None
    return answer["disk"]


# ---- the clients -----------------------------------------------------------


class Clients:
    """Processes: publishers, and readers from before the first message to the last."""

    def __init__(self, world, seed, rate):
        self.world, self.seed, self.processes = world, seed, {}
        self.folder = os.path.join(world.folder, "clients")
        os.mkdir(self.folder)
        self.publishers, self.of_all, self.of_talk, self.pages = [], [], [], []
        n = world.count
        for i in range(n):
            self.reader(i)
        self.python("hopper", "hopper", 0, self.pages)
        self.python("sse", "sse", 0, self.of_talk)
        self.python("ndjson", "ndjson", n - 1, self.of_talk)
        for i in range(n):
            self.python("bulk", f"bulk{i + 1}", i, self.publishers, rate * 0.95 / n)
            self.python("talk", f"talk{i + 1}", i, self.publishers, 40)
            self.of_talk.append(f"talk{i + 1}.read")
        self.python("web", "web", 0, self.publishers, rate * 0.05)

    def path(self, name):
        return os.path.join(self.folder, name)

    def python(self, role, name, home, kind, rate=0):
        from world import broker_ip

        command = [sys.executable, os.path.join(HERE, "clients.py"), role, "--name", name,
                   "--brokers", ",".join(broker_ip(k) for k in self.world.numbers), "--home",
                   str(home), "--out", self.path(name), "--rate", str(rate), "--seed",
                   str(self.seed)]
        with open(self.path(name + ".err"), "ab") as err:
            self.processes[name] = subprocess.Popen(command, stderr=err)
        kind.append(name)

    def reader(self, home):
        """hearsay subscribe, with all brokers to choose from, beginning at `home`."""
        from world import PORT, broker_ip, harness

        name, n = f"reader{home + 1}", self.world.count
        brokers = [f"{broker_ip((home + i) % n + 1)}:{PORT}" for i in range(n)]
        with open(self.path(name), "ab") as out, open(self.path(name + ".err"), "ab") as err:
            self.processes[name] = subprocess.Popen(
                [self.world.bin, "subscribe", "--broker", ",".join(brokers), "--topic", "#",
                 "--from", "earliest", "--json", "--cursor-file", self.path(name + ".cursor")],
                stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=harness.clean_env())
        self.of_all.append(name)

    def quiet(self):
        """Publishers end; those that also read go on reading."""
        for name in self.publishers:
            self.processes[name].send_signal(signal.SIGUSR1)
        for name in self.publishers:
            if not name.startswith("talk"):
                self.processes[name].wait(60)

    def behind(self, ends):
        """Readers that were not yet given the last messages."""
        late = []
        for name in self.of_all + self.of_talk + self.pages:
            try:
                with open(self.path(name), "rb") as f:
                    f.seek(max(0, os.fstat(f.fileno()).st_size - (1 << 20)))
                    tail = f.read()
            except FileNotFoundError:
                tail = b""
            if not all(body.encode() in tail for body in ends):
                late.append(name)
        return late

    def end(self):
        for p in self.processes.values():
            if p.poll() is None:
                p.send_signal(signal.SIGTERM)
        problems = []
        for name, p in self.processes.items():
            try:
                code = p.wait(30)
            except subprocess.TimeoutExpired:
                p.kill()
                code = p.wait(10)
            if code not in (0, -signal.SIGTERM):
                with open(self.path(name + ".err"), errors="replace") as f:
                    problems.append(f"client {name} ended with {code}: {f.read()[-1500:]}")
        return problems


# ---- the run ---------------------------------------------------------------


def progress(text):
    print(text, flush=True)


def heads_if_equal(world):
    """The heads that all brokers have, when nobody lacks anything and one leads; and why not."""
    told = []
    for m in world.members.values():
        try:
            told.append(m.cluster())
        except (OSError, ValueError, KeyError, http.client.HTTPException) as e:
            return None, f"broker {m.k} does not answer: {e}"
    heads = [{h["stream"]: h["head"] for h in t["heads"]} for t in told]
    leads = {t["coordinator"] and t["coordinator"]["address"] for t in told}
    if not all(h == heads[0] for h in heads):
        return None, f"heads {json.dumps(heads)}"
    if len(leads) != 1 or None in leads:
        return None, f"coordinators {leads}"
    if any(t["lack"] for t in told) or not all(t["ready"] for t in told):
        return None, f"lacking {[t['lack'] for t in told]}, ready {[t['ready'] for t in told]}"
    return heads[0], None


def wait_equal(world):
    """Until equal heads stand still: a publish may wait 1 s for its cursor; how long it took
    until they were equal."""
    from world import harness

    began, before, since = time.monotonic(), None, 0
    while True:
        heads, why = heads_if_equal(world)
        now = time.monotonic()
        if heads is None or heads != before:
            before, since = heads, now
        elif now - since > SETTLE_S:
            return since - began
        if now - began > CONVERGE_S * (3 if harness.SLOW else 1):
            raise AssertionError(f"no agreement within {CONVERGE_S} s: {why}")
        harness.pause(0.1)


def say_ends(world, published):
    """A last message at each broker: who was given these is at the end."""
    ends = records.Published()
    published["end"] = ends
    bodies = []
    for k, m in world.members.items():
        bodies.append(records.make_body("end", k))
        receipt = m.publish("talk/end", bodies[-1])
        ends.outcomes[k] = ("A", records.parse_id(receipt["id"]), "1", 1)
    return bodies


def run(world, clients, args):
    """The faults and their end; whatever is not as it should be, as lines."""
    from world import harness

    began = time.monotonic()
    trouble = Trouble(world, plan.make(args.seed, args.seconds - 2, world.count), began)
    trouble.end(args.seconds + FAULT_S)
    left = began + args.seconds - time.monotonic()
    if left > 0:
        time.sleep(left)
    clients.quiet()
    trouble.look_after()
    took = wait_equal(world)
    progress(f"all trouble is over: equal heads after {took:.1f} s")
    published = {}
    bodies = say_ends(world, published)
    problems = list(trouble.problems)
    began = time.monotonic()
    while late := clients.behind(bodies):
        if time.monotonic() - began > READ_S + args.seconds:
            problems.append(f"not at the end in time: {', '.join(late)}")
            break
        harness.pause(0.1)
    progress(f"every reader is at the end, {time.monotonic() - began:.1f} s later")
    wait_equal(world)
    problems += clients.end() + world.close()
    return trouble, published, took, problems


def rows(db):
    """A broker's log by lsn, as a reader."""
    c = sqlite3.connect(f"file:{db}?mode=ro", uri=True)
    names = dict(c.execute("select id, name from topics"))
    for stream, seq, lamport, topic, flags, body in c.execute(
            "select stream, seq, lamport, topic, flags, body from messages order by lsn"):
        if flags & 4:
            (first,) = c.execute("select first from batches where stream = ? and last = ?",
                                 (stream, seq)).fetchone()
            yield "gap", stream, first, seq
        elif flags & 1:
            yield "gap", stream, seq, seq
        else:
            yield "m", stream, seq, lamport, names[topic], body.decode(), bool(flags & 2)
    c.close()


def is_talk(topic):
    return topic.startswith("talk/")


def judge(world, clients, published):
    """All checks; (verdict, truth, readers)."""
    verdict = check.Verdict()
    for name in clients.publishers:
        published[name] = records.Published.read(clients.path(name))
    truth = check.Truth(published, world.lost, verdict)
    dbs = [(f"broker {k}", m.db) for k, m in world.members.items()]
    for event in rows(dbs[0][1]):
        truth.add(event)
    truth.check_acknowledged()
    for name, db in dbs[1:]:
        check.compare(name, rows(db), truth)
    told = [(name, rows(db), None) for name, db in dbs]
    told += [(name, records.lines(clients.path(name)), None) for name in clients.of_all]
    told += [(name, records.pages(clients.path(name)), None) for name in clients.pages]
    told += [(name, records.lines(clients.path(name)), is_talk) for name in clients.of_talk]
    readers = []
    for name, events, owed in told:
        reader = check.Reader(name, truth, owed)
        for event in events:
            reader.take(event)
        reader.end()
        readers.append(reader)
        # Of the next reader as much memory is needed.
        reader.seen, reader.last = None, None
    return verdict, truth, readers


def table(trouble, published, verdict, readers, world):
    sums = collections.Counter(o[0] for p in published.values() for o in p.outcomes.values())
    given = sum(r.count for r in readers if not r.name.startswith("broker"))
    lines = [f"messages    {sum(sums.values()):,} sent: {sums['A']:,} acknowledged, "
             f"{sums['U']:,} unknown, {sums['R']:,} refused; {given:,} delivered to "
             f"{sum(not r.name.startswith('broker') for r in readers)} readers, "
             f"{sum(r.late for r in readers):,} late"]
    lines.append("fault           planned   fired")
    for kind in plan.KINDS:
        never = "   never fired" if not trouble.fired[kind] else ""
        lines.append(f"  {kind:15}{trouble.planned[kind]:6}{trouble.fired[kind]:8}{never}")
    lines.append("violation         found   looked at")
    for what in check.CLASSES:
        lines.append(f"  {what:15}{verdict.found[what]:8}{verdict.looks[what]:12,}")
    gone = sum(b - a for _, alone, _ in world.lost for a, b in alone.values())
    lines.append(f"disks lost or set back: {len(world.lost)}, with {gone:,} messages that were on "
                 "no other")
    lines += [f"{count:,} {what}" for what, count in verdict.notes.items()]
    refused = sum(m.refusals for m in world.members.values())
    if refused:
        lines.append(f"{refused} starts on a full disk, which were refused and said so")
    return "\n".join(lines)


def inside(args):
    """In the room: everything there ends with this process."""
    def end_with_parent():
        os.read(args.lifeline, 1)
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whatever hangs says where, and ends.
    faulthandler.dump_traceback_later(
        2 * args.seconds + FAULT_S + 3 * CONVERGE_S + READ_S + CHECK_S, exit=True)
    os.environ["BROKER_BIN"] = os.path.join(args.build, "hearsay")
    import world as worlds

    world = worlds.World(args.inside, args.brokers, worlds.harness.BIN)
    world.start()
    clients = Clients(world, args.seed, args.rate)
    try:
        trouble, published, took, problems = run(world, clients, args)
    except BaseException:
        clients.end()
        for problem in world.close():
            progress(problem)
        keep(args)
        raise
    gc.disable()  # millions of small things, and no rings
    began = time.monotonic()
    verdict, _truth, readers = judge(world, clients, published)
    progress(table(trouble, published, verdict, readers, world))
    progress(f"convergence {took:.1f} s; the check took {time.monotonic() - began:.1f} s")
    for what, text in verdict.examples:
        progress(f"{what}: {text}")
    for problem in problems:
        progress(f"problem: {problem}")
    ok = not problems and not sum(verdict.found.values())
    if not ok:
        keep(args)
    again = f"make chaos T={args.seconds:g} SEED={args.seed} BROKERS={args.brokers}"
    progress(f"chaos: {'nothing lost, nothing hidden' if ok else 'FAILED'} ({again})")
    return 0 if ok else 1


def keep(args):
    if args.keep:
        shutil.copytree(args.inside, args.keep, dirs_exist_ok=True)
        progress(f"all of it is kept in {args.keep}")


def main():
    args = arguments()
    if args.inside:
        return inside(args)
    if args.seed is None:
        args.seed = random.SystemRandom().randrange(1 << 32)
    progress(f"chaos: seed {args.seed}, {args.brokers} brokers, {args.seconds:g} s")
    if args.plan:
        for fault in plan.make(args.seed, args.seconds - 2, args.brokers):
            progress(str(fault))
        return 0
    why = kernel.missing()
    if why:
        progress(f"chaos: {'FAILED' if args.must else 'skipped'}: {why}")
        return 1 if args.must else kernel.SKIPPED
    argv = [sys.executable, os.path.abspath(__file__)]
    for name in ("seconds", "seed", "brokers", "rate"):
        argv += [f"--{name}", str(getattr(args, name))]
    argv += ["--build", os.path.abspath(args.build)]
    if args.keep:
        argv += ["--keep", os.path.abspath(args.keep)]
    return kernel.enter(argv, tempfile.gettempdir())


if __name__ == "__main__":
    sys.exit(main())
