"""What bench/run and bench/peers share: figures, the machine, ids, docs/BENCH.md."""

import array
import datetime
import os
import platform
import re
import sqlite3
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def say(text):
    print(text, file=sys.stderr, flush=True)


class Results:
    """Lines of the table: what, figure, wanted, whether it is so."""

    def __init__(self):
        self.lines = []

    def add(self, what, figure, wanted="", good=None):
        mark = "" if good is None else ("yes" if good else "NO")
        self.lines.append((what, figure, wanted, mark))
        print(f"{what:<58} {figure:>26}  {wanted:<14} {mark}", flush=True)

    def markdown(self):
        yield "| what | figure | wanted | reached |"
        yield "|---|---|---|---|"
        for line in self.lines:
            yield "| " + " | ".join(line) + " |"


# ---- what the machine can do -------------------------------------------------


def sync_rate(seconds=1.0):
    """How many fdatasync a second, each after 4 KiB written: the floor under everything."""
    with tempfile.NamedTemporaryFile(prefix="hearsay-bench.") as f:
        block, n, end = b"x" * 4096, 0, time.monotonic() + seconds
        while time.monotonic() < end:
            os.write(f.fileno(), block)
            os.fdatasync(f.fileno())
            n += 1
        return round(n / seconds)


def machine():
    cpu = "unknown processor"
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                cpu = line.split(":", 1)[1].strip()
                break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    disk = subprocess.run(["stat", "-f", "-c", "%T", tempfile.gettempdir()],
                          capture_output=True, text=True).stdout.strip()
    return (f"{os.cpu_count()} x {cpu}, {memory:.0f} GiB, Linux {platform.release()}, data on "
            f"{disk}; load average {os.getloadavg()[0]:.1f} beforehand")


# ---- every acknowledged id is in the database --------------------------------


def check_ids(db, path):
    """Each id of the file is in the log, once; what is missing or doubled is an error."""
    ids = array.array("Q")
    with open(path, "rb") as f:
        ids.frombytes(f.read())
    acked = {}
    for stream, seq in zip(ids[0::2], ids[1::2]):
        acked.setdefault(stream, []).append(seq)
    with sqlite3.connect(f"file:{db}?mode=ro", uri=True) as c:
        for stream, seqs in acked.items():
            wanted = set(seqs)
            if len(wanted) != len(seqs):
                return f"{len(seqs) - len(wanted)} ids acknowledged twice"
            stored = {}
            for (seq,) in c.execute("SELECT seq FROM messages WHERE stream = ?", (stream,)):
                stored[seq] = stored.get(seq, 0) + 1
            missing = [s for s in wanted if stored.get(s) != 1]
            if missing:
                return f"{len(missing)} acknowledged ids are not there once, such as {missing[0]}"
    return None


# ---- docs/BENCH.md -------------------------------------------------------------


def version():
    done = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"],
                          capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def today():
    return f"- {datetime.date.today().isoformat()}, version {version()}"


def record(title, lines):
    """Writes the section of this title and leaves the others as they are."""
    path = os.path.join(ROOT, "docs", "BENCH.md")
    with open(path) as f:
        sections = re.split(r"(?m)^(?=# )", f.read())
    text = "\n".join([f"# {title}", "", *lines, ""])
    for i, section in enumerate(sections):
        if section.startswith(f"# {title}\n"):
            sections[i] = text
            break
    else:
        sections.append(text)
    with open(path, "w") as f:
        f.write("\n".join(s.strip("\n") + "\n" for s in sections if s.strip()))
    say("written to docs/BENCH.md")
