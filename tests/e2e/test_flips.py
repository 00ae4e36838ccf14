"""Flipped bits: found, never spread, and mended from the others."""

import http.client
import os
import signal
import struct

import pytest

from cluster import Http, free_ports, wait_for
from disk import flip, flip_in, sqlite

PAGE = 4096
BODIES = "select hex(body) from messages"


@pytest.fixture
def pair(cluster):
    """Two brokers with the same messages; both are down, the last one is the first to stop."""
    ports = free_ports(3)
    cluster.write_peers(ports[:2])
    a, b = (cluster.add(p, args=["--tail-bytes", "1M"]).start(ready=False) for p in ports[:2])
    for broker in (a, b):
        broker.wait_ready()
    cluster.wait_linked()
    for i in range(60):
        last = (a, b)[i % 2].publish("x", f"the message {i:03} {'.' * 40}")
    settled(cluster)
    assert last
    for broker in (b, a):
        assert broker.stop() == 0
        assert os.path.getsize(broker.db) > 0 and not os.path.exists(broker.db + "-wal")
    cluster.spare_port = ports[2]
    return cluster, a, b


def settled(cluster, brokers=None):
    cluster.wait_equal(timeout=30, brokers=brokers)


def page_of(broker, query="filter=%23&cursor=earliest&wait=0&limit=1000"):
    """(bodies, gaps) of one long poll."""
    a = broker.http("GET", f"/topics?{query}")
    if a.status == 204:
        return [], []
    assert a.status == 200, a
    page = a.json()
    return [m["body"] for m in page["messages"]], page.get("gaps") or []


ALL = [f"the message {i:03} {'.' * 40}" for i in range(60)]


def is_whole(broker):
    bodies, gaps = page_of(broker)
    return sorted(bodies) == ALL and not gaps


# ---- messages --------------------------------------------------------------


def test_a_flipped_message(pair):
    # Broken if a client or a peer gets what nobody published, or a message stays lost here
    # though the other broker has it.
    cluster, a, b = pair
    flip_in(a.db, b"the message 017", seen_by=BODIES)
    a.start()
    bodies, gaps = page_of(a)
    assert sorted(bodies) == ALL[:17] + ALL[18:]
    assert len(gaps) == 1 and gaps[0]["from"] == gaps[0]["to"], gaps

    # Who gets its log from here gets nothing in the place of that message.
    c = cluster.add(cluster.spare_port, args=["--join", f"127.0.0.1:{a.port}"]).start()
    settled(cluster, [a, c])
    bodies, gaps_there = page_of(c)
    assert sorted(bodies) == ALL[:17] + ALL[18:]
    assert gaps_there == gaps
    with open(c.db, "rb") as f, open(c.db + "-wal", "rb") as wal:
        assert b" message 017" not in f.read() + wal.read()

    b.start()
    for broker in (a, c):
        wait_for(lambda: is_whole(broker), 15, f"the message to come back at {broker.port}")
        assert broker.metric("batches_mended_total") == 1
    settled(cluster)
    assert a.sqlite("pragma integrity_check") == ["ok"]
    bodies = a.sqlite("select body from log where body like 'the message%'")
    assert sorted(bodies) == ALL


def test_the_first_reader_waits_for_what_a_linked_broker_has(pair):
    # Broken if a reader is told that a message is lost while the broker beside this one has it.
    cluster, a, b = pair
    flip_in(a.db, b"the message 017", seen_by=BODIES)
    a.start(ready=False)
    b.start()
    a.wait_ready()
    cluster.wait_linked()
    bodies, cursor = [], "earliest"
    while len(bodies) < len(ALL):
        answer = a.http("GET", f"/topics?filter=%23&cursor={cursor}&wait=10&limit=1000")
        assert answer.status == 200, answer
        page = answer.json()
        assert not page.get("gaps"), page["gaps"]
        bodies += [m["body"] for m in page["messages"]]
        cursor = page["cursor"]
    assert bodies[17] == ALL[17] and sorted(bodies) == ALL
    assert a.metric("batches_mended_total") == 1


def test_the_first_reader_and_the_linked_broker_has_it_no_better(pair):
    # Broken if a reader waits for what will not come, or is told nothing in its place.
    cluster, a, b = pair
    for broker in (a, b):
        flip_in(broker.db, b"the message 017", seen_by=BODIES)
        broker.start(ready=False)
    a.wait_ready()
    cluster.wait_linked()
    bodies, gaps, cursor = [], [], "earliest"
    while len(bodies) < len(ALL) - 1:
        answer = a.http("GET", f"/topics?filter=%23&cursor={cursor}&wait=12&limit=1000")
        assert answer.status == 200, answer
        page = answer.json()
        bodies += [m["body"] for m in page["messages"]]
        gaps += page.get("gaps") or []
        cursor = page["cursor"]
    assert sorted(bodies) == ALL[:17] + ALL[18:] and len(gaps) == 1


def test_a_flipped_row_of_batches(pair):
    # Broken if a peer gets what was not sealed so, or all of a stream behind it is held up.
    cluster, a, b = pair
    chains = "select hex(chain) from batches order by lsn"
    flip_in(a.db, bytes.fromhex(sqlite(a.db, chains)[9]), seen_by=chains)
    a.start()
    c = cluster.add(cluster.spare_port, args=["--join", f"127.0.0.1:{a.port}"]).start()
    wait_for(lambda: a.metric("batches_damaged_total") >= 1, 10, "the damage to be found")
    b.start()
    settled(cluster)
    for broker in (a, b, c):
        wait_for(lambda: is_whole(broker), 15, f"all of it at {broker.port}")
    wait_for(lambda: a.metric("batches_mended_total") >= 1, 15, "the row to be mended")
    chains = [sorted(x.sqlite("select hex(chain) from batches")) for x in (a, b)]
    assert chains[0] == chains[1]


# What is set in the row of a batch of one message, or in its message, at that lsn; and whether
# the rest of the file says what it was.
WOUNDS = [
    ("batches", "chain = randomblob(16)", True),
    ("batches", "chain = zeroblob(3)", True),
    ("batches", "prev = randomblob(16)", True),
    ("batches", "deps = x'0100000000000055550a'", True),
    ("batches", "deps = x'ff'", True),
    ("batches", "last = last + 1", True),
    ("batches", "last = 0", True),
    ("batches", "first = first + 16777216", True),
    ("batches", "stream = stream + 1", True),
    ("batches", "lsn = lsn + 4096", True),
    ("batches", "lamport_first = lamport_first + 64", True),
    ("batches", "lamport_first = 'x'", True),
    ("batches", "wall_ms = wall_ms + 1024", True),
    ("batches", "flags = 4", True),
    ("messages", "stream = stream + 1", True),
    ("messages", "seq = seq + 2", True),
    ("messages", "lamport = 0", True),
    ("messages", "wall_ms = 0", True),
    ("messages", "flags = 1", True),
    ("messages", "digest = randomblob(16)", True),
    ("messages", "topic = NULL", False),
    ("messages", "headers = 'content-type: a/b' || char(10)", False),
    ("messages", "body = 'forged'", False),
    ("messages", "body = NULL", False),
    ("messages", "digest = zeroblob(16), body = 'forged'", False),
]


def hurt(db):
    """One wound in every second batch; the bodies of those that cannot be told any more."""
    lost = []
    for i, (table, what, proved) in enumerate(WOUNDS):
        lsn = 2 * i + 2
        body = sqlite(db, f"select body from messages where lsn = {lsn}")[0]
        sqlite(db, f"update {table} set {what} where lsn = {lsn}")
        if not proved:
            lost.append(body)
    return lost


def told(broker, want):
    """It answers with those bodies, each once, and with as many gaps for the rest."""
    bodies, gaps = page_of(broker)
    assert not set(bodies) - set(ALL), "what nobody published"
    count = sum(gap["to"] - gap["from"] + 1 for gap in gaps)
    return sorted(bodies) == want and count == len(ALL) - len(want)


def test_each_column_of_the_only_holder(cluster):
    # Broken if one flipped bit keeps a joiner from all that lies behind it, or is spread to it; or
    # if what the rest of the file says is not mended.
    a = cluster.make(1, args=["--tail-bytes", "1M"])[0]
    for body in ALL:
        a.publish("x", body)
    assert a.stop() == 0
    lost = hurt(a.db)
    want = sorted(set(ALL) - set(lost))
    a.start()
    c = cluster.add(free_ports(1)[0], args=["--join", f"127.0.0.1:{a.port}"]).start()
    settled(cluster)
    for broker in (a, c):
        wait_for(lambda: told(broker, want), 15, f"what can be told at {broker.port}")
    proved = len(WOUNDS) - len(lost)
    wait_for(lambda: a.metric("batches_mended_total") == proved, 15, "the file to be mended")
    a.publish("x", ALL[0])
    settled(cluster)
    assert a.stop() == 0
    a.start()
    assert not os.path.exists(a.db + ".corrupt-1")


def test_each_column_and_a_peer_has_all(pair):
    # Broken if what a peer has is not fetched from it, or a joiner takes a gap meanwhile.
    cluster, a, b = pair
    hurt(a.db)
    a.start()
    b.start()
    c = cluster.add(cluster.spare_port, args=["--join", f"127.0.0.1:{a.port}"]).start()
    settled(cluster)
    for broker in (a, c):
        wait_for(lambda: is_whole(broker), 20, f"all of it at {broker.port}")
    assert not os.path.exists(a.db + ".corrupt-1")


def test_a_flipped_message_and_nobody_else_has_it(cluster):
    # Broken if a broker alone serves what it cannot read, or stops for one message.
    a = cluster.make(1, args=["--tail-bytes", "1M"])[0]
    for body in ALL:
        a.publish("x", body)
    assert a.stop() == 0
    flip_in(a.db, b"the message 030", seen_by=BODIES)
    a.start()
    for _ in range(3):
        bodies, gaps = page_of(a)
        assert bodies == ALL[:30] + ALL[31:] and len(gaps) == 1
    assert "cannot be read as they were published" in a.stderr()
    assert a.publish("x", "it goes on")["id"]


def test_the_newest_that_can_be_read(cluster):
    # Broken if /latest differs between who holds the newest message, damaged, and who got but its
    # digest; or if a damaged message is its answer.
    a = cluster.make(1, args=["--tail-bytes", "1M"])[0]
    older = a.publish("x", ALL[0])["id"]
    newest = a.publish("x", ALL[1])["id"]
    a.publish("y", "another topic")
    assert a.stop() == 0
    flip_in(a.db, b"the message 001", seen_by=BODIES)
    a.start()
    c = cluster.add(free_ports(1)[0], args=["--join", f"127.0.0.1:{a.port}"]).start()
    settled(cluster)
    for broker in (a, c):
        answer = broker.http("GET", "/latest/x")
        assert answer.status == 200 and answer.body.decode() == ALL[0], answer
        assert answer.headers["hearsay-id"] == older != newest


# ---- the file --------------------------------------------------------------


def tables_of(db):
    """(page number, kind) of the pages of messages' tree, by the file format."""
    root = int(sqlite(db, "select rootpage from sqlite_schema where name = 'messages'")[0])
    with open(db, "rb") as f:
        data = f.read()
    leaves, todo = [], [root]
    while todo:
        number = todo.pop()
        page = data[(number - 1) * PAGE:number * PAGE]
        if page[0] == 13:
            leaves.append(number)
            continue
        assert page[0] == 5, "an interior page of a table"
        cells = struct.unpack(">H", page[3:5])[0]
        for i in range(cells):
            at = struct.unpack(">H", page[12 + 2 * i:14 + 2 * i])[0]
            todo.append(struct.unpack(">I", page[at:at + 4])[0])
        todo.append(struct.unpack(">I", page[8:12])[0])
    return root, leaves


def test_a_flipped_header_and_nobody_is_there(pair):
    # Broken if a corrupt file is deleted, or a broker that lost all says that it is ready.
    cluster, a, b = pair
    size = os.path.getsize(a.db)
    flip(a.db, 3)
    a.start(ready=False)
    wait_for(lambda: answers(a), 10, "an answer")
    said = a.http("GET", "/readyz")
    assert said.status == 503 and said.json()["code"] == "not_ready", said
    assert "waits for another broker" in said.json()["detail"]
    assert a.metric("ready") == 0 and a.cluster()["ready"] is False
    assert os.path.getsize(a.db + ".corrupt-1") == size
    assert a.stop() == 0
    a.start(ready=False)  # still, after a restart
    wait_for(lambda: answers(a), 10, "an answer")
    assert a.http("GET", "/readyz").status == 503
    b.start()
    a.wait_ready()
    wait_for(lambda: is_whole(a), 15, "all of it")
    settled(cluster)
    assert a.stop() == 0
    a.start()
    assert os.path.exists(a.db + ".corrupt-1")


def answers(broker):
    try:
        return broker.http("GET", "/healthz", timeout=2).status == 200
    except OSError:
        return False


def test_accept_empty(pair):
    # Broken if an operator cannot say that there is nobody to wait for.
    _, a, _ = pair
    flip(a.db, 5)
    a.args += ["--accept-empty", "yes"]
    a.start()
    assert page_of(a) == ([], [])
    assert a.publish("x", "begun anew")["id"]
    assert os.path.exists(a.db + ".corrupt-1")


def test_accept_empty_while_it_runs(pair, tmp_path):
    # Broken if saying so takes another start of a broker that waits.
    _, a, _ = pair
    flip(a.db, 5)
    options = tmp_path / "hearsay.conf"
    options.write_text("")
    a.args += ["--config", str(options)]
    a.start(ready=False)
    wait_for(lambda: answers(a), 10, "an answer")
    assert a.http("GET", "/readyz").status == 503
    options.write_text("accept-empty = yes\n")
    a.signal(signal.SIGHUP)
    a.wait_ready()
    assert "is taken as it is" in a.stderr()
    assert a.publish("x", "begun anew")["id"]


def test_a_fresh_folder_is_ready_at_once(cluster):
    # Broken if a broker that never had a file waits for one to come back.
    a = cluster.make(1)[0]
    assert a.http("GET", "/readyz").status == 200


def break_tree(broker):
    """The leaves of messages in the file become nothing that SQLite knows."""
    _, leaves = tables_of(broker.db)
    assert len(leaves) > 20
    with open(broker.db, "r+b") as f:
        for number in leaves[len(leaves) // 3:2 * len(leaves) // 3]:
            f.seek((number - 1) * PAGE)
            f.write(b"\xee")


def fill(brokers, count=4000):
    """So much that the first of it is neither in memory nor in SQLite's cache."""
    for broker in brokers:
        lines = b"".join(b"%d-%06d %s\n" % (broker.port, i, b"." * 900) for i in range(count))
        with Http(broker.port) as connection:
            a = connection("POST", "/topics/big", lines,
                           {"Content-Type": "application/x-ndjson"})
        assert a.status == 200 and a.body.count(b'"id"') == count, a


def read_until_it_ends(broker):
    """Reads all history, until the broker gives up."""
    cursor = "earliest"

    def read_on():
        nonlocal cursor
        try:
            a = broker.http("GET", f"/topics?filter=%23&cursor={cursor}&wait=1", timeout=10)
            cursor = a.json()["cursor"] if a.status == 200 else cursor
        except (OSError, http.client.HTTPException):
            pass  # it may be on its way out
        return broker.process.poll() is not None

    wait_for(read_on, 20, "the broker to end")


def test_a_file_that_breaks_while_it_is_used(cluster):
    # Broken if a broker goes on with a broken file though another one has all of it; or what
    # was acknowledged is lost on the way to a new one.
    a, b = cluster.make(2, args=["--tail-bytes", "1M"])
    cluster.wait_linked()
    fill([a, b])
    settled(cluster)
    wait_for(lambda: a.metric("wal_bytes") == 0, 10, "the WAL to be copied")
    count = len(b.read_all("big"))
    break_tree(a)
    read_until_it_ends(a)
    assert a.process.wait(10) == 1
    a.process = None
    last = a.stderr().splitlines()[-1]
    assert "broken" in last and "next start" in last, last
    b.publish("big", "meanwhile")
    a.start()
    assert os.path.exists(a.db + ".corrupt-1")
    settled(cluster)
    assert len(a.read_all("big")) == count + 1
    assert a.sqlite("pragma quick_check") == ["ok"]


def test_a_file_that_breaks_and_is_the_only_one(cluster):
    # Broken if a broker throws away the only copy of what it has, or serves nothing any more.
    a = cluster.make(1, args=["--tail-bytes", "1M"])[0]
    fill([a])
    wait_for(lambda: a.metric("wal_bytes") == 0, 10, "the WAL to be copied")
    break_tree(a)
    a.publish("x", "still taken")
    cursor, got = "earliest", 0
    while got < 500:
        messages, cursor = a.poll("big", cursor)
        got += len(messages)
    wait_for(lambda: poll_fails(a, cursor) or "broken" in a.stderr(), 10, "the broken part")
    assert "until then goes on" in a.stderr()
    assert a.is_running() and a.http("GET", "/readyz").status == 200
    assert a.http("GET", "/latest/x").body == b"still taken"
    assert a.publish("x", "and more")["id"]
    assert a.stop() == 0
    assert not os.path.exists(a.db + ".broken")


def poll_fails(broker, cursor):
    try:
        return broker.http("GET", f"/topics/big?cursor={cursor}&wait=0&limit=4000").status != 200
    except OSError:
        return True


# ---- the WAL ---------------------------------------------------------------


def test_a_flipped_wal(pair):
    # Broken if what was acknowledged and lies behind the flipped bit is lost for good.
    cluster, a, b = pair
    a.start()
    b.start()
    cluster.wait_linked()
    acked = [a.publish("x", f"in the WAL {i}")["id"] for i in range(40)]
    settled(cluster)
    a.kill()
    assert os.path.getsize(a.db + "-wal") > 40 * PAGE
    flip_in(a.db + "-wal", b"in the WAL 20")
    a.start()
    log = a.stderr()
    assert "transactions at the end of" in log and "cannot be read" in log, log
    assert os.path.exists(a.db + "-wal.damaged-1")
    settled(cluster)
    held = {m["id"]: m["body"] for m in a.read_all()}
    assert all(held[i] == f"in the WAL {n}" for n, i in enumerate(acked))
    assert len(held) == len(ALL) + len(acked)
    assert held == {m["id"]: m["body"] for m in b.read_all()}


def test_a_flipped_wal_of_a_broker_alone(broker):
    # Broken if it does not say that something is lost, or does not go on with the rest.
    for i in range(30):
        broker.publish("x", f"in the WAL {i}")
    broker.kill()
    flip_in(broker.db + "-wal", b"in the WAL 20")
    broker.start()
    assert "a broker alone has lost it" in broker.stderr()
    bodies, gaps = page_of(broker)
    assert bodies == [f"in the WAL {i}" for i in range(20)] and not gaps
    assert broker.publish("x", "it goes on")["id"]
