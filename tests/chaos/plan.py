"""plan.py - from one seed, what goes wrong when.

Four lanes run side by side; in each one trouble follows the other.  A lane deals its kinds of
fault like cards: each of them comes before any comes again.  The longest comes first, so that
a run of half a minute has room for it.
"""

import random

LONG_PAUSE_S = 11.0  # beyond every patience in a broker: 10 s
LANES = {
    "network": ("split", "one way", "partial", "loss", "no clients"),
    "relay": ("delay", "throttle", "stall", "half_close", "reset"),
    "process": ("kill -9", "SIGTERM", "pause", "long pause", "old copy", "old snapshot",
                "deleted folder"),
    "disk": ("full disk",),
}
DISK_LOSSES = ("old copy", "old snapshot", "deleted folder")
KINDS = [kind for kinds in LANES.values() for kind in kinds]


class Fault:
    def __init__(self, at, lane, kind, seconds, **how):
        self.at, self.lane, self.kind, self.seconds, self.how = at, lane, kind, seconds, how

    def __str__(self):
        how = " ".join(f"{k}={v}" for k, v in self.how.items())
        return f"{self.at:7.2f} s  {self.lane:8} {self.kind:15} {self.seconds:5.2f} s  {how}"


class Deck:
    """Cards that are all dealt before any comes again."""

    def __init__(self, dice, cards):
        self.dice, self.cards, self.hand = dice, list(cards), []

    def deal(self):
        if not self.hand:
            self.hand = self.dice.sample(self.cards, len(self.cards))
        return self.hand.pop()


class Victims:
    """Who is hit: everybody in turn, in an order that nobody can tell."""

    def __init__(self, dice, count):
        numbers = range(1, count + 1)
        self.one = Deck(dice, numbers)
        self.odd = Deck(dice, numbers[::2])  # their disks can be shrunk
        self.pair = Deck(dice, [(a, b) for a in numbers for b in numbers if a != b])
        self.size = Deck(dice, range(1, count))  # of a side of a cut
        self.alone = Deck(dice, (True, False))  # cut off before its disk is lost
        self.numbers, self.dice = numbers, dice

    def of(self, kind):
        """Who, and how hard."""
        dice = self.dice
        if kind == "split":
            return {"side": tuple(sorted(dice.sample(self.numbers, self.size.deal())))}
        if kind in DISK_LOSSES:
            return {"a": self.one.deal(), "alone": self.alone.deal()}
        if kind == "full disk":
            return {"a": self.odd.deal(), "room": int(2 ** dice.uniform(0, 20))}
        if kind in LANES["process"] or kind == "no clients":
            return {"a": self.one.deal()}
        how = {
            "loss": ("percent", dice.randint(5, 40)),
            "delay": ("ms", dice.randint(20, 400)),
            "throttle": ("rate", dice.randint(20, 400) * 1000),
            "half_close": ("bytes", int(2 ** dice.uniform(0, 18))),
            "reset": ("bytes", int(2 ** dice.uniform(0, 18))),
        }
        a, b = self.pair.deal()
        return {"a": a, "b": b, **dict([how[kind]] if kind in how else [])}


def seconds_of(kind, dice):
    """How long it lasts; of an old copy, the time from its making to its return."""
    if kind == "long pause":
        return LONG_PAUSE_S + dice.random()
    return dice.uniform(0.2, 1.5) if kind in LANES["process"] else dice.uniform(0.3, 3)


def make(seed, seconds, count):
    """The faults of a run, by the time at which they are due."""
    faults = []
    for lane, kinds in LANES.items():
        dice = random.Random(f"{seed} {lane} {count}")
        victims = Victims(dice, count)
        now, hand = dice.uniform(1, 2), dice.sample(kinds, len(kinds))
        hand.sort(key=lambda kind: kind == "long pause")
        while True:
            if not hand:
                hand = dice.sample(kinds, len(kinds))
            kind = hand.pop()
            length = seconds_of(kind, dice)
            how = victims.of(kind)
            pause = dice.uniform(0.2, 1.5) * (3 if lane == "disk" else 1)
            # A broker that was started needs a moment to be one again.
            pause += 0.5 if lane == "process" else 0
            if now + length > seconds:
                if not hand or now + 1 > seconds:
                    break
                continue  # another one may still fit
            faults.append(Fault(now, lane, kind, length, **how))
            now += length + pause
    return sorted(faults, key=lambda f: f.at)
