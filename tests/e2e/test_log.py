"""The log is a documented SQLite schema: people read it while the broker runs."""

import re

from cluster import wait_for


def test_select_from_the_views_while_it_runs(three):
    # Broken if the promise "a log you can SELECT" holds only after a stop.
    a, b, c = three.brokers
    ids = [a.publish("stocks/nyse", "up")["id"], a.publish("stocks/nyse", "down")["id"]]
    other = b.publish("weather", "Grüße, \N{SNOWMAN}")["id"]
    three.wait_equal()

    for broker in (a, b, c):
        rows = broker.sqlite("select topic, origin, lamport, body from log order by lsn")
        assert len(rows) == 3, rows
        at_a = [r for r in rows if r.startswith("stocks/nyse")]
        assert [r.rsplit("|", 1)[1] for r in at_a] == ["up", "down"]
        assert all(f"127.0.0.1:{a.port}" in r for r in at_a)
        assert any(r.startswith("weather") and r.endswith("Grüße, \N{SNOWMAN}") for r in rows)
        # Lamport times are those of the receipts, everywhere the same.
        assert broker.sqlite("select count(*) from log where lamport > 0") == ["3"]
        newest = broker.sqlite("select body from latest where topic = 'stocks/nyse'")
        assert newest == ["down"]
    assert len(set(ids + [other])) == 3


def test_a_time_that_people_can_read(broker):
    # Broken if the view shows milliseconds instead of UTC.
    broker.publish("x", "y", headers={"Content-Type": "text/plain"})
    [row] = broker.sqlite("select * from log")  # one line: what ends stored headers is not shown
    assert "y" in row
    [time] = broker.sqlite("select time from log")
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time), time
    header = broker.sqlite("select group_concat(name) from pragma_table_info('log')")[0]
    for column in ("topic", "origin", "lamport", "body"):
        assert column in header.split(","), header


def test_a_reader_does_not_stop_the_broker(broker):
    # Broken if a person's open transaction holds up commits.
    import sqlite3

    broker.publish("x", "before")
    reader = sqlite3.connect(f"file:{broker.db}?mode=ro", uri=True)
    reader.execute("begin")
    assert reader.execute("select count(*) from log").fetchone() == (1,)
    for i in range(50):
        broker.publish("x", str(i))
    assert reader.execute("select count(*) from log").fetchone() == (1,)
    reader.close()
    assert broker.sqlite("select count(*) from log") == ["51"]


def test_the_log_survives_a_stop(broker):
    # Broken if an orderly stop leaves the last messages in a WAL that nobody reads.
    for i in range(20):
        broker.publish("x", str(i))
    assert broker.stop() == 0
    assert broker.sqlite("select count(*) from log") == ["20"]
    assert broker.sqlite("pragma integrity_check") == ["ok"]
    broker.start()
    assert [m["body"] for m in broker.read_all()] == [str(i) for i in range(20)]


def test_status_and_topics_agree_with_the_log(broker):
    # Broken if the counts in memory drift from what is stored.
    for i in range(7):
        broker.publish("a", str(i))
    broker.publish("b", "x")

    def counts():
        rows = broker.http("GET", "/topics").json()["topics"]
        return {r["topic"]: r["messages"] for r in rows} == {"a": 7, "b": 1}

    wait_for(counts, 5, "the counts")
    broker.kill()
    broker.start()
    wait_for(counts, 5, "the counts after a crash")


def test_the_lag_of_a_peer_that_is_behind(three):
    # Broken if nothing is written of what peers have, or if a peer that is behind looks level.
    a, b, c = three.brokers
    for n in range(3):
        a.publish("x", str(n))
    three.wait_equal()
    query = "select peer, sum(behind) from lag group by peer order by peer"
    level = sorted(f"127.0.0.1:{p.port}|0" for p in (b, c))
    wait_for(lambda: sorted(a.sqlite(query)) == level, 12, "what the peers have")
    c.kill()
    for n in range(4):
        a.publish("x", str(n))
    behind = sorted([f"127.0.0.1:{b.port}|0", f"127.0.0.1:{c.port}|4"])
    wait_for(lambda: sorted(a.sqlite(query)) == behind, 12, "the lag")
