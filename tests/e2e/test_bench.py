"""hearsay bench: what it says happened is what the broker holds."""

import array
import json
import sqlite3
import subprocess
import threading
import time

import pytest

from cluster import BIN, free_ports, hearsay, wait_for

SHORT = ["--time", "300ms", "--warm", "0"]


def bench(broker, *words):
    done = hearsay("bench", "--port", str(broker.port), "--json", *words, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@pytest.mark.parametrize("publish", ["http", "ndjson", "json"])
@pytest.mark.parametrize("subscribe", ["ndjson", "sse", "poll", "json"])
def test_every_face_carries_every_message(broker, publish, subscribe):
    # Broken if a face counts what did not come, or misses what did.
    r = bench(broker, *SHORT, "--publish", publish, "--subscribe", subscribe, "--subscribers", "3",
              "--count", "200", "--window", "10")
    assert (r["published"], r["acked"], r["delivered"]) == (200, 200, 600)
    assert (r["lost"], r["repeated"], r["errors"]) == (0, 0, 0)
    assert r["ack_us"]["count"] == 200 and r["delivery_us"]["count"] == 600
    times = [r["delivery_us"][p] for p in ("p50", "p90", "p99", "p999", "p9999", "max")]
    assert times == sorted(times) and times[0] > 0


def test_acknowledged_ids_are_in_the_database(broker, tmp_path):
    # Broken if what the load generator counts as acknowledged is not on disk.
    ids = tmp_path / "ids"
    r = bench(broker, *SHORT, "--subscribe", "none", "--topics", "20", "--topic", "a/b",
              "--ids", str(ids), "--count", "500")
    numbers = array.array("Q", ids.read_bytes())
    acked = sorted(zip(numbers[0::2], numbers[1::2]))
    with sqlite3.connect(f"file:{broker.db}?mode=ro", uri=True) as db:
        rows = db.execute("SELECT stream, seq FROM messages").fetchall()
        topics = db.execute("SELECT name FROM topics ORDER BY name").fetchall()
    assert acked == sorted((stream % 2**64, seq) for stream, seq in rows)
    assert len(acked) == r["acked"] == 500
    assert topics == [(f"a/b/{i:06}",) for i in range(20)]


def test_a_rate_is_kept_whatever_comes_back(broker):
    # Broken if a stall of the broker makes the load wait: then nobody would see the stall.
    found = {}
    load = threading.Thread(target=lambda: found.update(
        bench(broker, "--rate", "1000", "--time", "1s", "--warm", "0")))
    load.start()
    wait_for(broker.vector, 10, "the first message")
    broker.pause()
    time.sleep(0.4)  # the stall itself
    broker.resume()
    load.join()
    assert found["published"] == found["delivered"] == 1000
    assert found["delivery_us"]["max"] > 300_000
    # Of 1000 messages 400 were due meanwhile: half of the stall is the lot of a fifth of all.
    assert found["delivery_us"]["p90"] > 100_000


def test_a_table_for_people(broker):
    # Broken if a figure is missing from what people read.
    done = hearsay("bench", "--port", str(broker.port), *SHORT, "--rate", "500", timeout=60)
    assert done.returncode == 0
    for word in ("acknowledged", "delivered", "99.99 %", "sent late", "500 a second in all"):
        assert word in done.stdout
    assert " lost" not in done.stdout


@pytest.mark.parametrize("words, said", [
    (["--topic", "#"], "--topic has to be"), (["--topic", "a b"], "--topic has to be"),
    (["--topic", "/a"], "--topic has to be"), (["--topic", "a/"], "--topic has to be"),
    (["--topic", "x" * 256], "at most 255 bytes"),
    (["--publish", "mqtt"], "there is http ndjson json"),
    (["--subscribe", "http"], "there is ndjson sse poll json none"),
    (["--size", "28"], "within 29 and 65536"), (["--window", "0"], "within 1 and"),
    (["--publishers", "5000"], "within 1 and 4096"), (["--subscribers", "30001"], "30000"),
    (["--topics", "0"], "within 1 and 1000000"), (["--time", "2h"], "1ms to 1h"),
    (["--time", "0"], "1ms to 1h"), (["--rate", "x"], "--rate"), (["--port", "0"], "65535")])
def test_what_cannot_be_asked_for(words, said):
    # Broken if a senseless measure is made all the same.
    done = hearsay("bench", *words)
    assert done.returncode == 2 and done.stdout == ""
    assert said in done.stderr and done.stderr.count("\n") == 1


def test_nobody_is_there():
    # Broken if it hangs, or measures nothing and says so in no word.
    done = hearsay("bench", "--port", str(free_ports(1)[0]))
    assert done.returncode == 3 and "is a broker running there?" in done.stderr


def test_a_broker_that_refuses(cluster):
    # Broken if refusals count as messages.
    broker = cluster.make(1, start=False, args=["--disk-reserve", "900G"])[0]
    broker.start(ready=False)
    wait_for(lambda: "listening" in broker.stderr(), 10, "the broker to listen")
    done = hearsay("bench", "--port", str(broker.port), *SHORT, "--publish", "http",
                   "--subscribe", "none", "--count", "5")
    assert done.returncode == 1
    assert "5 errors" in done.stdout and "507" in done.stderr
    assert broker.sqlite("SELECT count(*) FROM messages") == ["0"]


def test_a_broker_that_dies(broker):
    # Broken if a figure is printed of a broker that died meanwhile.
    load = subprocess.Popen([BIN, "bench", "--port", str(broker.port), "--time", "20s"],
                            stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    wait_for(broker.vector, 10, "the first message")
    broker.kill()
    out, err = load.communicate(timeout=10)
    assert load.returncode == 1 and out == ""
    assert "connection" in err


def test_where_it_goes_by_itself():
    # Broken if the port that --help names is not the one that is asked.
    done = hearsay("bench", "--host", "127.0.0.9", "--time", "200ms", timeout=30)
    assert done.returncode == 3 and "127.0.0.9:3000" in done.stderr, done
