"""check.py - what clients wrote down, held against what was promised.

A reader is anything that gives messages in an order: a subscriber, a cursor that hops from
broker to broker, or a broker's log read by lsn.  What is owed is what all brokers hold in the
end; what went with a lost disk, known stream by stream, is excused.

    lost        acknowledged or shown to a reader, and gone; or held, and not given to a reader
    duplicated  given twice to one reader, or stored twice though published once
    reordered   a stream's seq or stamp falls
    phantom     nobody published it, it was refused, or its bytes are others
    inverted    B before A, where B's publisher had seen A, and B is not flagged late
    silent gap  a reader of everything is led past a seq and not told
    unequal     brokers hold different messages in the end
"""

import bisect
import collections

from records import parse_body

CLASSES = ("lost", "duplicated", "reordered", "phantom", "inverted", "silent gap", "unequal")
EXAMPLES = 5  # of each class are shown


class Verdict:
    """Violations, and how often each check had something to look at."""

    def __init__(self):
        self.found, self.looks = collections.Counter(), collections.Counter()
        self.examples, self.notes = [], collections.Counter()

    def bad(self, what, text, count=1):
        assert what in CLASSES
        self.found[what] += count
        if sum(e[0] == what for e in self.examples) < EXAMPLES:
            self.examples.append((what, text))

    def looked(self, *classes, count=1):
        for c in classes:
            self.looks[c] += count


class Excused:
    """What went with disks, as (broker, what was on no other, all that was on it): the latter two
    are {stream: (above, up to)}."""

    def __init__(self, losses):
        self.alone, self.all = (collections.defaultdict(list) for _ in range(2))
        for _broker, *gone in losses:
            for ranges, lost in zip((self.alone, self.all), gone):
                for stream, (above, up_to) in lost.items():
                    ranges[stream].append((above, up_to))

    def is_gone(self, stream, seq):
        """At some time the last disk that had it was lost."""
        return self._times(self.alone, stream, seq) > 0

    def disks(self, stream, seq):
        """How many disks that had it were lost, whoever else had it then."""
        return self._times(self.all, stream, seq)

    @staticmethod
    def _times(ranges, stream, seq):
        return sum(above < seq <= up_to for above, up_to in ranges.get(stream, ()))


def name_of(stream, seq):
    return f"{stream:016x}-{seq}"


class Truth:
    """What is held in the end, by the log of one broker, and what its bodies say."""

    def __init__(self, published, losses, verdict):
        self.published, self.excused, self.verdict = published, Excused(losses), verdict
        self.bodies = {}  # stream -> seq -> body
        self.topics = {}  # the same of topics
        self.links = {}  # stream -> seq -> [(stream, seq)] that have to come before it
        self.writers = {}  # (name, number) -> (stream, seq)

    def add(self, event):
        if event[0] != "m":
            return
        _, stream, seq, _, topic, body, _ = event
        self.bodies.setdefault(stream, {})[seq] = body
        self.topics.setdefault(stream, {})[seq] = topic
        self.judge_body(stream, seq, body)

    def judge_body(self, stream, seq, body):
        v, at = self.verdict, name_of(stream, seq)
        v.looked("phantom")
        parsed = parse_body(body)
        if parsed is None:
            v.bad("phantom", f"{at} is nobody's: {body[:100]!r}")
            return
        name, number, kind, ids = parsed
        outcome = self.published[name].outcomes.get(number) if name in self.published else None
        if outcome is None or outcome[0] == "R":
            why = "was refused" if outcome else "was never sent"
            v.bad("phantom", f"{at} is {name}.{number}, which {why}")
            return
        if outcome[1] and outcome[1] != (stream, seq):
            v.bad("phantom", f"{at} is {name}.{number}, acknowledged as {name_of(*outcome[1])}")
        if (name, number) in self.writers:
            v.bad("duplicated", f"{name}.{number} is stored as {at} and as "
                                f"{name_of(*self.writers[name, number])}")
        self.writers[name, number] = stream, seq
        if ids and (kind == "s" or (kind == "a" and outcome[2] == "1")):
            links = [(int(i[:16], 16), int(i[17:])) for i in ids]
            self.links.setdefault(stream, {})[seq] = links

    def check_acknowledged(self):
        for name, p in self.published.items():
            for number, (status, place, _, copies) in p.outcomes.items():
                if status != "A":
                    continue
                self.verdict.looked("lost")
                if self.bodies.get(place[0], {}).get(place[1]) is None:
                    self.judge_absent(place, copies, f"{name}.{number}, acknowledged")

    def judge_absent(self, place, copies, what):
        """It had to be on `copies` disks: that many must have been lost."""
        if self.excused.is_gone(*place) and copies == 1:
            self.verdict.notes["gone with a disk, as its only copy"] += 1
        elif self.excused.is_gone(*place) and self.excused.disks(*place) >= copies:
            self.verdict.notes["gone with as many disks as had a copy"] += 1
        else:
            self.verdict.bad("lost", f"{name_of(*place)} ({what}) is nowhere")


class Reader:
    """Follows what one reader was given."""

    def __init__(self, name, truth, owed=None):
        """`owed`: a predicate of topics; None: everything, by an unbroken run of seqs."""
        self.name, self.truth, self.owed, self.verdict = name, truth, owed, truth.verdict
        self.last, self.stamps = {}, {}
        self.missing = collections.defaultdict(set)  # jumped over and not told
        self.seen = collections.defaultdict(set)  # of readers of a part
        self.told = collections.defaultdict(list)  # [first, last] of gaps
        self.awaited = {}  # A that has to come before B, but B came: A -> B
        self.count = self.late = self.gone = 0

    def bad(self, what, text, count=1):
        self.verdict.bad(what, f"{self.name}: {text}", count)

    def take(self, event):
        if event[0] == "m":
            self.message(*event[1:])
        else:
            self.gap(*event[1:])

    def message(self, stream, seq, lamport, _topic, body, late):
        self.count += 1
        self.late += late
        last = self.last.get(stream, 0)
        if seq <= last:
            self.came_back(stream, seq)
        else:
            if seq > last + 1 and self.owed is None:
                self.jumped(stream, last + 1, seq - 1)
            self.last[stream] = seq
            if lamport <= self.stamps.get(stream, -1):
                self.bad("reordered", f"{name_of(stream, seq)} has the stamp {lamport} after "
                                      f"{self.stamps[stream]}")
            self.stamps[stream] = lamport
        if self.owed is not None:
            self.seen[stream].add(seq)
        true = self.truth.bodies.get(stream, {}).get(seq)
        if true != body:
            self.other(stream, seq, body, true)
        if self.awaited and (stream, seq) in self.awaited:
            b = self.awaited.pop((stream, seq))
            self.bad("inverted", f"{name_of(*b)} came before {name_of(stream, seq)}, which its "
                                 f"publisher had seen")
        links = self.truth.links.get(stream, {}).get(seq)
        if links:
            self.precede(stream, seq, links, late)

    def precede(self, stream, seq, links, late):
        for a in links:
            self.verdict.looks["inverted"] += 1
            if not self.has(*a):
                if late:
                    self.verdict.notes["late, and before what its publisher had seen"] += 1
                else:
                    self.awaited.setdefault(a, (stream, seq))

    def has(self, stream, seq):
        if self.owed is not None:
            return seq in self.seen[stream] or self.was_told(stream, seq)
        return seq <= self.last.get(stream, 0) and seq not in self.missing[stream]

    def came_back(self, stream, seq):
        fresh = seq in self.missing[stream] if self.owed is None else seq not in self.seen[stream]
        self.missing[stream].discard(seq)
        if fresh:
            self.bad("reordered", f"{name_of(stream, seq)} after {self.last[stream]}")
        else:
            self.bad("duplicated", f"{name_of(stream, seq)} again")

    def jumped(self, stream, first, last):
        self.missing[stream].update(range(first, last + 1))
        self.bad("silent gap", f"{name_of(stream, first)}..{last} left out", last - first + 1)

    def other(self, stream, seq, body, true):
        if true is not None:
            self.bad("phantom", f"{name_of(stream, seq)} is {body[:100]!r}, stored as "
                                f"{true[:100]!r}")
        elif self.truth.excused.is_gone(stream, seq):
            self.gone += 1  # it was shown before its only disk was lost
        else:
            self.bad("lost", f"{name_of(stream, seq)} was given, and is nowhere any more")

    def gap(self, stream, first, last):
        before = self.last.get(stream, 0)
        if first <= before:
            self.bad("duplicated", f"gap {name_of(stream, first)}..{last} after {before}")
        elif first > before + 1 and self.owed is None:
            self.jumped(stream, before + 1, first - 1)
        self.last[stream] = max(before, last)
        bisect.insort(self.told[stream], (first, last))

    def was_told(self, stream, seq):
        return any(first <= seq <= last for first, last in self.told.get(stream, ()))

    def end(self):
        """Everything that is held was given, or told as gone."""
        self.verdict.looked("duplicated", "reordered", "phantom", count=self.count)
        if self.owed is None:
            self.verdict.looked("silent gap", count=self.count)
        for stream, bodies in self.truth.bodies.items():
            self.verdict.looked("lost", count=len(bodies))
            if self.owed is None:
                self.end_of_all(stream, bodies)
            else:
                topics = self.truth.topics[stream]
                for seq in bodies:
                    if self.owed(topics[seq]) and not self.has(stream, seq):
                        self.bad("lost", f"{name_of(stream, seq)} was never given")

    def end_of_all(self, stream, bodies):
        last, highest = self.last.get(stream, 0), max(bodies)
        if last < highest:
            self.bad("lost", f"{name_of(stream, last + 1)}..{highest} was never given",
                     highest - last)


def compare(name, rows, truth):
    """Another broker's messages are the same, each with the same bytes."""
    count = 0
    for event in rows:
        if event[0] != "m":
            continue
        count += 1
        if truth.bodies.get(event[1], {}).get(event[2]) != event[5]:
            truth.verdict.bad("unequal", f"{name}: {name_of(event[1], event[2])} differs")
    truth.verdict.looked("unequal", count=count)
    held = sum(len(b) for b in truth.bodies.values())
    if count != held:
        truth.verdict.bad("unequal", f"{name} holds {count} messages, another one {held}")
