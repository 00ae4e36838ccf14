"""Topics ruled `store = no`: delivered to whoever listens, and nowhere later.

Clients are curl and nc as users run them, and our own command line."""

import json
import os
import re
import socket
import subprocess

import pytest

from cluster import BIN, Http, clean_env, curl, free_ports, wait_for

RULES = """
[topic "ticks/#"]
store = no

[topic "ticks/audit"]
store = yes
"""


def ruled(cluster, port, rules=RULES, *args):
    path = os.path.join(cluster.folder, f"{port}.ini")
    with open(path, "w") as f:
        f.write(rules)
    return cluster.add(port, args=["--config", path, *args])


@pytest.fixture
def pair(cluster):
    """The first rules ticks/# live; the second has no rules at all."""
    ports = free_ports(2)
    cluster.write_peers(ports)
    a = ruled(cluster, ports[0]).start()
    b = cluster.add(ports[1]).start()
    cluster.wait_linked()
    return a, b


@pytest.fixture
def alone(cluster):
    return ruled(cluster, free_ports(1)[0]).start()


class Listener:
    """curl or nc in the background; its lines so far."""

    def __init__(self, folder, name, *command, say=b""):
        self.path = os.path.join(folder, name)
        with open(self.path, "wb") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out,
                                            env=clean_env())
        self.process.stdin.write(say)
        self.process.stdin.flush()

    def text(self):
        with open(self.path) as f:
            return f.read()

    def lines(self):
        return [json.loads(line) for line in self.text().splitlines() if line.startswith("{")]

    def wait(self, condition, what):
        return wait_for(lambda: condition(self), 10, f"{what}; it has\n{self.text()}")

    def close(self):
        self.process.kill()
        self.process.wait(10)
        self.process.stdin.close()


@pytest.fixture
def listen(cluster):
    """SSE, NDJSON and a JSON socket at one broker, all of which have begun."""
    made = []

    def at(broker, topic="#"):
        url = broker.url("/topics?filter=" + topic.replace("#", "%23"))
        hello = json.dumps({"type": "subscribe", "topic": topic, "ack": True}).encode()
        name = f"{broker.port}-{len(made)}"
        three = [Listener(cluster.folder, name + ".sse", "curl", "-sN", "-H",
                          "Accept: text/event-stream", url),
                 Listener(cluster.folder, name + ".nd", "curl", "-sN", "-H",
                          "Accept: application/x-ndjson", url),
                 Listener(cluster.folder, name + ".nc", "nc", broker.ip, str(broker.port),
                          say=hello)]
        made.extend(three)
        for x, sign in zip(three, ("event: cursor", '{"cursor"', '"subscribed"')):
            x.wait(lambda x, sign=sign: sign in x.text(), sign)
        return three

    yield at
    for x in made:
        x.close()


def send(broker, topic, body, *more):
    code, out = curl("-w", "\n%{http_code}", broker.url(f"/topics/{topic}"), "-d", body, "-H",
                     "Content-Type:", *more)
    assert code == 0
    text, _, status = out.rpartition("\n")
    return int(status), json.loads(text)


def test_a_receipt_says_that_nothing_is_stored(alone):
    # Broken if a client took a live publish for one that is on disk.
    status, receipt = send(alone, "ticks/a", "up")
    assert status == 200
    assert receipt["stored"] is False and receipt["copies"] == 0 and "id" not in receipt
    assert receipt["origin"].endswith(f":{alone.port}") and receipt["lamport"] > 0
    stored = send(alone, "ticks/audit", "up")
    assert stored[0] == 201 and stored[1]["copies"] == 1 and "stored" not in stored[1]
    assert stored[1]["lamport"] > receipt["lamport"]
    out = subprocess.run(["nc", "-N", alone.ip, str(alone.port)], capture_output=True, timeout=10,
                         input=b'{"type":"publish","topic":"ticks/a","message":"m","ack":true,"ref":7}')
    ack = json.loads(out.stdout)
    assert (ack["type"], ack["stored"], ack["ref"]) == ("ack", False, 7) and "id" not in ack


def test_answers_keep_the_order_of_the_requests(alone):
    # Broken if a live receipt overtook that of a stored message published before it on the
    # same connection: clients count receipts.
    lines = [{"topic": "ticks/a" if i % 3 else "kept", "body": str(i)} for i in range(60)]
    body = "".join(json.dumps(x) + "\n" for x in lines)
    _, out = curl("-X", "POST", "-H", "Content-Type: application/x-ndjson", "--data-binary", body,
                  alone.url("/topics"))
    receipts = [json.loads(x) for x in out.splitlines()]
    assert ["id" not in r for r in receipts] == [bool(i % 3) for i in range(60)]
    ask = b"".join(json.dumps({"type": "publish", "topic": x["topic"], "message": "m", "ack": True,
                               "ref": i}).encode() for i, x in enumerate(lines))
    out = subprocess.run(["nc", "-N", alone.ip, str(alone.port)], capture_output=True, timeout=10,
                         input=ask)
    acks = [json.loads(x) for x in out.stdout.splitlines()]
    assert [a["ref"] for a in acks] == list(range(60))
    assert ["id" not in a for a in acks] == [bool(i % 3) for i in range(60)]


def test_copies_of_what_is_not_stored(alone):
    # Broken if somebody who asks for copies on disk is told that there are some.
    for acks in ("2", "all", "majority"):
        status, problem = send(alone, f"ticks/a?acks={acks}", "up")
        assert (status, problem["code"]) == (400, "not_stored")
    assert send(alone, "ticks/a?acks=1", "up")[0] == 200
    status, problem = send(alone, "ticks/a?acks=2", "x", "-H", "Content-Type: application/x-ndjson")
    assert (status, problem["code"]) == (400, "not_stored")
    _, out = curl("-X", "POST", "-H", "Content-Type: application/x-ndjson", "--data-binary",
                  '{"topic":"ticks/a","body":"1"}\n{"topic":"kept","body":"2"}\n',
                  alone.url("/topics?acks=majority"))
    first, second = (json.loads(x) for x in out.splitlines())
    assert first["code"] == "not_stored" and second["copies"] == 1


def test_it_is_delivered_at_both_brokers(pair, listen):
    # Broken if a subscriber at another broker, whose own rules say nothing, did not get it, got
    # it twice, got it in another order, or had its cursor moved by it.
    a, b = pair
    here, there = listen(a), listen(b, "ticks/+")
    before = [x.text().splitlines()[0] for x in there[:2]]
    for i in range(20):
        send(a, "ticks/a", str(i))
    for sse, nd, nc in (here, there):
        want = [str(i) for i in range(20)]
        sse.wait(lambda x: x.text().count("\ndata: {\"stored\":false") == 20, "20 events")
        assert sse.text().count("id: ") == 1  # the place, first of all
        got = [json.loads(x[6:]) for x in sse.text().splitlines() if x.startswith("data: {\"s")]
        assert [m["body"] for m in got] == want
        nd.wait(lambda x: len(x.lines()) == 21, "20 lines")
        assert [m["body"] for m in nd.lines()[1:]] == want
        assert not any("cursor" in m or "id" in m for m in nd.lines()[1:])
        nc.wait(lambda x: len(x.lines()) == 21, "20 objects")
        assert [m["message"] for m in nc.lines()[1:]] == want
        assert not any("cursor" in m or "id" in m for m in nc.lines()[1:])
        stamps = [m["lamport"] for m in got]
        assert stamps == sorted(set(stamps)) and got[0]["origin"].endswith(f":{a.port}")
    assert [x.text().splitlines()[0] for x in there[:2]] == before
    assert b.metric("live_from_peers_total") == 20 and a.metric("live_publishes_total") == 20
    assert b.metric("live_deliveries_total") == 60
    assert b.metric("stamp") == 0 and b.metric("lamport") >= stamps[-1]


def test_nothing_is_in_the_file_and_a_restart_leaves_nothing(pair, listen):
    # Broken if a live message reached broker.db, its WAL, the list of topics or the newest messages.
    a, b = pair
    ears = listen(b)
    secret = "not-on-any-disk-0123456789"
    for i in range(50):
        send(a, "ticks/only-live", f"{secret}-{i}")
    send(a, "kept", "on disk")
    ears[1].wait(lambda x: len(x.lines()) >= 52, "52 lines")
    for broker in pair:
        wait_for(lambda x=broker: x.sqlite("select body from log") == ["on disk"], 10, "one row")
        assert broker.sqlite("select name from topics") == ["kept"]
        assert broker.sqlite("select count(*) from messages where body like '%not-on-any-disk%'") == ["0"]
        for name in os.listdir(broker.data):
            with open(os.path.join(broker.data, name), "rb") as f:
                assert secret.encode() not in f.read(), name
        assert [t["topic"] for t in broker.http("GET", "/topics").json()["topics"]] == ["kept"]
        assert broker.http("GET", "/latest/ticks/only-live").status == 404
    for broker in pair:
        broker.restart()
        assert [m["body"] for m in broker.read_all()] == ["on disk"]
        assert broker.poll("ticks/#".replace("#", "%23"))[0] == []


def test_a_long_poll_that_waits_gets_it_and_its_cursor_stays(alone):
    # Broken if a poll slept through a live message, or came back with another cursor, behind which
    # something that is stored would be skipped.
    cursor = alone.publish("kept", "1")["cursor"]
    poll = subprocess.Popen(["curl", "-s", alone.url(f"/topics/%23?wait=20&cursor={cursor}")],
                            stdout=subprocess.PIPE, env=clean_env())
    wait_for(lambda: alone.metric("conns_open") >= 2, 10, "the poll")
    while poll.poll() is None:
        send(alone, "ticks/a", "wake up")
    page = json.loads(poll.communicate()[0])
    assert page["messages"][0]["body"] == "wake up" and page["messages"][0]["stored"] is False
    assert page["cursor"] == cursor and page["gaps"] == []


def test_between_two_polls_of_one_connection_none_is_lost(alone):
    # Broken if who polls over one connection, as our command line does, lost what was published
    # while it was not waiting, or got it with other filters, or on another connection.
    with Http(alone.port) as one, Http(alone.port) as other:
        cursor = one("GET", "/topics/ticks/%23?wait=0").headers["Hearsay-Cursor"]
        other("GET", "/topics/ticks/b?wait=0")
        for i in range(5):
            send(alone, "ticks/a", str(i))
        got = []
        for limit in (2, 2, 1):
            page = one("GET", f"/topics/ticks/%23?wait=0&limit={limit}&cursor={cursor}").json()
            got += [m["body"] for m in page["messages"]]
            cursor = page["cursor"]
        assert got == [str(i) for i in range(5)]
        assert one("GET", "/topics/ticks/%23?wait=0").status == 204
        assert other("GET", "/topics/ticks/%23?wait=0").status == 204


def test_a_full_disk_does_not_matter(cluster, listen):
    # Broken if what is never written waited for room on the disk.
    a = ruled(cluster, free_ports(1)[0], RULES, "--disk-reserve", "16000G").start(ready=False)
    wait_for(lambda: a.stderr().count("listening"), 10, "it to listen")
    wait_for(lambda: send(a, "kept", "x")[0] == 507, 10, "a full disk")
    sse, nd, nc = listen(a)
    for i in range(10):
        assert send(a, "ticks/a", str(i))[0] == 200
    nd.wait(lambda x: len(x.lines()) == 11, "10 lines")
    assert send(a, "kept", "x")[0] == 507


def test_who_does_not_read_is_told_what_it_lost(alone):
    # Broken if a subscriber that stands still held up the others or took memory without end, or
    # were not told that it lost something.
    slow = socket.create_connection((alone.ip, alone.port))
    slow.sendall(b'{"type":"subscribe","topic":"ticks/#","ack":true}')
    slow.settimeout(20)
    kept = slow.recv(4096)
    assert b"subscribed" in kept
    lines = ("x" * 60000 + "\n") * 100
    for _ in range(50):
        if alone.metric("live_lost_total") > 0:
            break
        alone.http("POST", "/topics/ticks/a", lines, {"Content-Type": "application/x-ndjson"})
    assert alone.metric("live_waiting_bytes") <= 33 << 20
    while b'"lost":' not in kept:
        more = slow.recv(1 << 20)
        assert more
        kept = kept[-40000:] + more
    assert int(re.search(rb'"lost":(\d+)', kept)[1]) >= 1
    slow.close()


def test_the_command_line(pair):
    # Broken if `hearsay subscribe` lost live messages between its polls, or `hearsay publish` took
    # a receipt without an id for a failure.
    a, b = pair
    done = a.cli("publish", "--topic", "ticks/a", "one")
    assert done.returncode == 0 and "not stored" in done.stderr
    done = a.cli("publish", "--topic", "ticks/a", "--json", "one")
    assert json.loads(done.stdout)["stored"] is False
    reader = subprocess.Popen([BIN, "subscribe", "--host", b.host, "--port", str(b.port), "--topic",
                               "ticks/#", "--count", "2000"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=clean_env())
    assert b"subscribed to" in reader.stderr.readline()
    done = a.cli("publish", "--topic", "ticks/a", "--lines", stdin="line\n" * 2000)
    assert done.returncode == 0, done.stderr
    assert reader.communicate(timeout=30)[0] == b"ticks/a line\n" * 2000


def test_rules_that_are_wrong_are_named(cluster):
    # Broken if a broker started with a rule that its operator did not mean.
    port = free_ports(1)[0]
    for rules, said in (("[topic ticks]\nstore = no\n", 'line 1: write [topic "FILTER"]'),
                        ('[topic "a/#/b"]\nstore = no\n', "line 1: "),
                        ('[topic "a"]\nstore = never\n', '[topic "a"], store: it is yes or no'),
                        ('[topic "a"]\nkeep = no\n', "nothing can be said but store")):
        b = ruled(cluster, port, rules, "--check-config")
        done = subprocess.run(b.command(), capture_output=True, text=True, timeout=20,
                              cwd=cluster.folder, env=clean_env())
        assert done.returncode != 0 and said in done.stderr, (rules, done.stderr)
        cluster.brokers.remove(b)
