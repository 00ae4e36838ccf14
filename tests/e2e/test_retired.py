"""Streams of thousands of lifetimes: gone from cursors once they expired and were long quiet."""

import json
import random
import sqlite3
import time

from cluster import wait_for
from cursors import Cursor, strange

STREAMS, DAY_MS = 5000, 86_400_000


def put_streams(db, days, count=STREAMS, seed=7):
    """As a broker's file looks after so many restarts, when all that they published expired."""
    rng = random.Random(seed)
    then = int(time.time() * 1000) - days * DAY_MS
    chain = bytes(16)
    streams = {rng.randrange(1, 1 << 63): n + 1 for n in range(count)}
    file = sqlite3.connect(db)
    file.executemany(
        "INSERT INTO streams(stream, origin, head, head_chain, head_stamp, head_lsn, head_ms,"
        " floor, floor_chain, floor_stamp, flags) VALUES (?, 'localhost:1', 3, ?, ?, ?, ?, 3, ?, ?, 0)",
        [(s, chain, stamp, 1, then, chain, stamp) for s, stamp in streams.items()])
    file.commit()
    file.close()
    return streams


def heads(broker):
    return len(broker.cluster()["heads"])


def test_cursors_are_short_again_and_old_ones_hold(broker):
    # Broken if vectors and cursors grow with each restart for ever, if a cursor from before is
    # told of gaps that it has not, or if one that saw nothing of it is told of none.
    first = broker.publish("x", "1")
    early = Cursor(first["cursor"])
    broker.stop()
    broker.args += ["--retention", "1d"]  # so they retire after a week
    streams = put_streams(broker.db, days=8)
    broker.start()
    wait_for(lambda: heads(broker) == 1, 20, "5 000 streams to retire")
    messages, cursor = broker.poll("x")
    assert [m["body"] for m in messages] == ["1"]
    assert len(cursor) < 2048, len(cursor)

    full = Cursor(first["cursor"])
    full.marks.update({s: 3 for s in streams})
    full.stamp = STREAMS + 10
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    a = broker.http("GET", "/topics/x?wait=0", f"cursor={full.text()}".encode(), form)
    assert a.status == 204, a
    assert len(a.headers["Hearsay-Cursor"]) < 2048

    # All of it counts as seen here; of what was forgotten nobody can say that.
    def read(cursor, query=""):
        return broker.http("GET", f"/topics/x?wait=0{query}", f"cursor={cursor}".encode(), form)

    def publish_after(cursor):
        line = json.dumps({"topic": "y", "body": "z", "after": cursor}) + "\n"
        return broker.http("POST", "/topics", line.encode(),
                           {"Content-Type": "application/x-ndjson"}).json()

    a = read(full.text(), "&covered=1")
    assert a.status == 204 and len(a.headers["Hearsay-Cursor"]) < 2048, a
    receipt = publish_after(full.text())
    assert receipt["causal"] is True and len(receipt["cursor"]) < 2048
    forgotten = strange(2)
    full.marks.update(forgotten)
    a = read(full.text(), "&covered=1")
    name = f"{min(forgotten):016x}-{forgotten[min(forgotten)]}"
    assert a.status == 409 and f"2 streams than this broker has, such as {name}:" in str(a.body)
    receipt = publish_after(full.text())
    assert receipt["causal"] is False and len(receipt["cursor"]) < 2048
    assert forgotten.items() <= Cursor(receipt["cursor"]).marks.items()
    a = read(full.text())
    assert a.status == 204, a
    carried = Cursor(a.headers["Hearsay-Cursor"]).marks
    assert forgotten.items() <= carried.items() and len(carried) < 10

    page = broker.http("GET", f"/topics/x?wait=0&cursor={early.text()}").json()
    assert page["messages"] == [] and len(page["gaps"]) > 0
    told = list(page["gaps"])
    while page["gaps"]:
        a = broker.http("GET", f"/topics/x?wait=0&cursor={page['cursor']}")
        page = a.json() if a.status == 200 else {"gaps": []}
        told += page["gaps"]
    stamp = early.stamp
    missed = {s for s, last in streams.items() if last > stamp}
    assert sorted(int(g["stream"], 16) for g in told) == sorted(missed)
    assert all((g["from"], g["to"]) == (1, 3) for g in told)

    broker.restart()  # retired they stay
    assert heads(broker) == 2  # with that of these publishes
    flags = broker.sqlite("select count(*) from streams where flags & 2")
    assert flags == [str(STREAMS)]


def test_what_is_quiet_for_less_stays(broker):
    # Broken if streams retire before another broker may have given up on theirs.
    broker.publish("x", "1")
    broker.stop()
    broker.args += ["--retention", "1d"]
    put_streams(broker.db, days=6)
    put_streams(broker.db, days=8, count=1, seed=8)
    broker.start()
    broker.publish("x", "2")
    wait_for(lambda: heads(broker) == STREAMS + 2, 20, "the one that is quiet for longer to retire")
    messages, cursor = broker.poll("x")
    assert [m["body"] for m in messages] == ["1", "2"]
    assert len(Cursor(cursor).marks) == STREAMS + 2
