"""The questions of docs/STORE.md, asked of a broker under load."""

import os
import re
import sqlite3
import statistics
import time

from cluster import wait_for
from load import Load

DOC = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "STORE.md")
RATE, WINDOW_S = 10_000, 0.7


def questions():
    with open(DOC) as f:
        block = re.search(r"```sql\n(.*?)```", f.read(), re.S).group(1)
    lines = [line for line in block.splitlines() if not line.startswith("--")]
    return [q.strip() for q in "\n".join(lines).split(";") if q.strip()]


def ask(db, seconds=0.0):
    """All of them, again and again for so long; how many rows each gave."""
    began, rows = time.monotonic(), None
    while rows is None or time.monotonic() - began < seconds:
        rows = [len(db.execute(q).fetchall()) for q in questions()]
    return rows


def rate_of(load, while_it):
    began, acked = time.monotonic(), load.acked
    while_it()
    return (load.acked - acked) / (time.monotonic() - began)


def test_ten_questions_are_answered_under_load(broker):
    # Broken if a question of STORE.md answers nothing, or holds up who publishes.
    assert len(questions()) >= 10
    broker.publish("stocks/a", '{"price": 3}')
    broker.publish("sensors/one", "17")
    load = Load(broker, RATE)
    db = sqlite3.connect(f"file:{broker.db}?mode=ro", uri=True)
    alone, asked = [], []
    wait_for(lambda: load.acked > RATE / 4, 20, "the load to run")
    for _ in range(3):
        alone.append(rate_of(load, lambda: time.sleep(WINDOW_S)))
        asked.append(rate_of(load, lambda: ask(db, WINDOW_S)))
    load.stop()
    rows = dict(zip(questions(), ask(db)))
    empty = [q for q, n in rows.items() if n == 0 and not re.search(r"lag|floor|kind", q)]
    assert not empty, empty
    first, last, count = db.execute("SELECT min(lsn), max(lsn), count(*) FROM messages").fetchone()
    assert (first, last, count) == (1, load.sent + 2, load.sent + 2)
    assert db.execute("SELECT count(*) FROM log").fetchone()[0] == count
    assert statistics.median(asked) >= 0.8 * statistics.median(alone)
