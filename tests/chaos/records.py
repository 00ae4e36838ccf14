"""records.py - what clients write down, and how it is read back.

A body says who wrote it, the how-manieth it is there, what its publisher had seen, and a check
sum, so that it can be judged wherever it turns up:

    NAME.NUMBER KIND IDS PADDING~CRC32
    KIND  -  nothing is claimed      s  IDS were seen on the same connection as it was sent
          a  it was sent with a cursor (`after`) that covers IDS

A publisher's log has one line for each number that it used:

    A NUMBER ID CAUSAL COPIES   acknowledged; CAUSAL is 1, 0, or - where nothing was said
    R NUMBER WHY                refused before it was stored
    U NUMBER                    nobody knows
"""

import json
import re
import zlib

BODY = re.compile(r"(\w+)\.(\d+) ([-sa]) (\S*) (\S*)~([0-9a-f]{8})")
CLI_LINE = re.compile(rb'\{"id":"([0-9a-f]{16})-(\d+)","topic":"([^"]*)","lamport":(\d+),'
                      rb'[^{}]*?"body":"([^"]*)"[^{}]*?(\}|,"late":true[^{}]*\})\s*')


def make_body(name, number, kind="-", ids=(), padding=""):
    text = f"{name}.{number} {kind} {','.join(ids)} {padding}"
    return f"{text}~{zlib.crc32(text.encode()):08x}"


def parse_body(body):
    """(name, number, kind, ids), or None when it is nobody's."""
    found = BODY.fullmatch(body)
    if not found or zlib.crc32(body[:-9].encode()) != int(found[6], 16):
        return None
    return found[1], int(found[2]), found[3], found[4].split(",") if found[4] else []


def parse_id(text):
    stream, seq = text.split("-")
    return int(stream, 16), int(seq)


class Published:
    """A publisher's log: number -> (status, id, causal, copies)."""

    def __init__(self):
        self.outcomes = {}

    @classmethod
    def read(cls, path):
        p = cls()
        with open(path) as f:
            for line in f:
                part = line.split()
                if part[0] == "A":
                    p.outcomes[int(part[1])] = ("A", parse_id(part[2]), part[3], int(part[4]))
                else:
                    p.outcomes[int(part[1])] = (part[0], None, "-", 0)
        return p


# ---- what a reader was given: ("m", stream, seq, lamport, topic, body, late)
# ----                          ("gap", stream, first, last)


def message(m):
    stream, seq = parse_id(m["id"])
    body = m["body"] if "body" in m else m.get("message", "")
    lamport = m["lamport"] if "lamport" in m else m["lamport_timestamp"]
    return "m", stream, seq, lamport, m["topic"], body, m.get("late", False)


def gap(g):
    return "gap", int(g["stream"], 16), g["from"], g["to"]


def from_object(o):
    """One line of the command line, of NDJSON, or of a JSON socket; None: neither."""
    if "gap" in o:
        return gap(o["gap"])
    if o.get("type") == "gap":
        return gap(o)
    if "id" in o and "topic" in o:
        return message(o)
    return None


def lines(path):
    """A whole message a line: hearsay subscribe --json, NDJSON, JSON sockets."""
    topics = {}
    with open(path, "rb") as f:
        for line in f:
            found = CLI_LINE.fullmatch(line)
            if found:
                stream, seq, topic, lamport, body, end = found.groups()
                if topic not in topics:
                    topics[topic] = json.loads(b'"' + topic + b'"')
                yield ("m", int(stream, 16), int(seq), int(lamport), topics[topic], body.decode(),
                       len(end) > 1)
                continue
            event = from_object(json.loads(line))
            if event:
                yield event


def pages(path):
    """An answer of a long poll a line."""
    with open(path, "rb") as f:
        for line in f:
            page = json.loads(line)
            gaps = page.get("gaps", [])
            for i, m in enumerate(page["messages"]):
                while gaps and gaps[0]["at"] <= i:
                    yield gap(gaps.pop(0))
                yield message(m)
            for g in gaps:
                yield gap(g)
