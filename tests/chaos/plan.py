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
KINDS = [kind for kinds in LANES.values() for kind in kinds]


class Fault:
    def __init__(self, at, lane, kind, seconds, **how):
        self.at, self.lane, self.kind, self.seconds, self.how = at, lane, kind, seconds, how

    def __str__(self):
        how = " ".join(f"{k}={v}" for k, v in self.how.items())
        return f"{self.at:7.2f} s  {self.lane:8} {self.kind:15} {self.seconds:5.2f} s  {how}"


def how_of(kind, dice, count):
    """Who is hit, and how hard."""
    numbers = list(range(1, count + 1))
    a, b = dice.sample(numbers, 2)
    if kind == "split":
        return {"side": tuple(sorted(dice.sample(numbers, dice.randint(1, count - 1))))}
    if kind in ("one way", "partial"):
        return {"a": a, "b": b}
    if kind == "loss":
        return {"a": a, "b": b, "percent": dice.randint(5, 40)}
    if kind == "delay":
        return {"a": a, "b": b, "ms": dice.randint(20, 400)}
    if kind == "throttle":
        return {"a": a, "b": b, "rate": dice.randint(20, 400) * 1000}
    if kind == "stall":
        return {"a": a, "b": b}
    if kind in ("half_close", "reset"):
        return {"a": a, "b": b, "bytes": int(2 ** dice.uniform(0, 18))}
    if kind == "full disk":  # odd brokers have a disk that can be
        return {"a": dice.choice(numbers[::2]), "room": int(2 ** dice.uniform(0, 20))}
    return {"a": a}


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
        now, hand = dice.uniform(1, 2), dice.sample(kinds, len(kinds))
        hand.sort(key=lambda kind: kind == "long pause")
        while True:
            if not hand:
                hand = dice.sample(kinds, len(kinds))
            kind = hand.pop()
            length = seconds_of(kind, dice)
            how = how_of(kind, dice, count)
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
