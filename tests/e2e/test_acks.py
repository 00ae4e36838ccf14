"""acks=N|majority|all: who says "so many copies" and means it.

A copy is a member that has the message on its disk and said so over a link of its own."""

import json
import os
import threading
import time

import pytest

from cluster import free_ports, wait_for
from peer import Peer
from raw import Raw, publish, request, request_bytes

LINES = ("Content-Type", "application/x-ndjson")


def ask(broker, query, body="x", topic="t"):
    """(status, copies) of one publish."""
    status, _, answer = request(broker, "POST", f"/topics/{topic}{query}", body)
    return status, json.loads(answer)["copies"]


class Pending(threading.Thread):
    """A publish that waits."""

    def __init__(self, broker, query):
        super().__init__(daemon=True)
        self.broker, self.query, self.got = broker, query, None
        self.start()

    def run(self):
        a = self.broker.http("POST", f"/topics/t{self.query}", "pending", timeout=60)
        self.got = a.status, a.json()["copies"]

    def result(self):
        self.join(40)
        return self.got

    def wait_stored(self):
        wait_for(lambda: "pending" in [m["body"] for m in self.broker.poll("t")[0]], 10, "it on disk here")
        assert self.got is None
        return self


@pytest.fixture
def five(cluster):
    brokers = cluster.make(5)
    cluster.wait_linked(30)
    return brokers


def test_so_many_and_no_fewer(five, cluster):
    # Broken if a promise of copies were made that nobody kept, or one that is kept were denied.
    a, b, c, d, e = five
    assert ask(a, "?acks=all&timeout=20s") == (201, 5)
    assert ask(a, "?acks=1") == (201, 1)
    for paused, broker in enumerate((e, d, c), 1):
        broker.pause()
        live = 5 - paused
        for acks, want in (("2", 2), ("3", 3), ("4", 4), ("5", 5), ("majority", 3), ("all", 5)):
            if want == live:  # exactly so many can say so
                assert ask(a, f"?acks={acks}&timeout=20s") == (201, live), (acks, live)
            elif want > live:
                assert ask(a, f"?acks={acks}&timeout=300ms") == (202, live), (acks, live)
            else:
                status, copies = ask(a, f"?acks={acks}&timeout=20s")
                assert status == 201 and want <= copies <= live
    waiting = Pending(a, "?acks=all&timeout=40s").wait_stored()
    for broker in (c, d):
        broker.resume()
    assert ask(a, "?acks=4&timeout=20s") == (201, 4)
    assert waiting.got is None, "one is still missing"
    e.resume()
    assert waiting.result() == (201, 5)


def test_forget_changes_the_count(five):
    # Broken if members that are gone for good counted for majorities for ever: with three of
    # five lost, no publish would ever have one again.
    a, b, c, d, e = five
    assert ask(a, "?acks=all&timeout=20s") == (201, 5)
    for broker in (c, d, e):
        broker.kill()
    assert ask(a, "?acks=majority&timeout=300ms") == (202, 2)
    majority = Pending(a, "?acks=majority&timeout=40s").wait_stored()
    everybody = Pending(a, "?acks=all&timeout=40s").wait_stored()
    assert a.http("DELETE", f"/cluster/127.0.0.1:{d.port}").status == 200
    assert ask(a, "?acks=majority&timeout=300ms") == (202, 2), "three of four"
    assert majority.got is None
    assert b.http("DELETE", f"/cluster/127.0.0.1:{e.port}").status == 200
    assert majority.result() == (201, 2), "two of three, as soon as the other broker forgot it"
    assert ask(a, "?acks=all&timeout=300ms") == (202, 2)
    assert everybody.got is None
    assert a.http("DELETE", f"/cluster/127.0.0.1:{c.port}").status == 200
    assert everybody.result() == (201, 2)
    assert ask(a, "?acks=all&timeout=20s") == ask(b, "?acks=all&timeout=20s") == (201, 2)


def test_more_than_there_are(broker):
    # Broken if a number beyond the cluster were refused (a member may be about to join),
    # answered before its time, or never.
    begin = time.monotonic()
    assert ask(broker, "?acks=2&timeout=400ms") == (202, 1)
    assert 0.4 <= time.monotonic() - begin < 4
    assert ask(broker, "?acks=all") == ask(broker, "?acks=majority") == (201, 1)
    assert ask(broker, "?acks=16&timeout=0ms") == (202, 1)


def test_a_member_that_joins_while_somebody_waits(cluster):
    # Broken if who joins did not count, or counted before it has what it is counted for.
    a, b = cluster.make(2)
    cluster.wait_linked()
    b.pause()
    three = Pending(a, "?acks=3&timeout=60s").wait_stored()
    everybody = Pending(a, "?acks=all&timeout=60s").wait_stored()
    c = cluster.add(free_ports(1)[0]).start()
    assert ask(a, "?acks=2&timeout=20s") == (201, 2)
    assert three.got is None and everybody.got is None
    b.resume()
    assert three.result() == everybody.result() == (201, 3)
    assert c.publish("t", "y", "?acks=all&timeout=20s")["copies"] == 3


def test_a_restart_is_no_second_member(cluster):
    # Broken if a member that comes back with a new nonce counted twice.
    a, b = cluster.make(2)
    cluster.wait_linked()
    for _ in range(2):
        b.kill()
        b.start()
        assert ask(a, "?acks=2&timeout=20s") == (201, 2)
        assert ask(a, "?acks=3&timeout=300ms") == (202, 2)
    assert ask(a, "?acks=all&timeout=20s") == (201, 2)


def test_links_are_no_members(broker):
    # Broken if one member with two links, or with one after another, were two copies.
    addr = ("127.0.0.9", 9)
    mark = publish(broker, "t", "1")["id"]
    stream = int(mark[:16], 16)

    def tell(*links):
        for link in links:
            link.say_heads({stream: 1 << 20})
            link.settle()

    with Peer(broker, addr, 7).up() as one:
        tell(one)
        assert ask(broker, "?acks=2&timeout=20s") == (201, 2)
        assert ask(broker, "?acks=3&timeout=200ms") == (202, 2)
        with Peer(broker, addr, 7).up() as again:  # the same instance: this link takes over
            assert one.until_closed() is not None
            assert ask(broker, "?acks=2&timeout=200ms") == (202, 1), "this link said nothing yet"
            tell(again)
            assert ask(broker, "?acks=2&timeout=20s") == (201, 2)
            assert ask(broker, "?acks=3&timeout=200ms") == (202, 2)
            again.answers_pings = False
            with Peer(broker, addr, 8) as restarted:
                restarted.up()
                tell(restarted)
                assert ask(broker, "?acks=2&timeout=20s") == (201, 2)
                assert ask(broker, "?acks=3&timeout=200ms") == (202, 2)
                with Peer(broker, ("127.0.0.9", 10), 7).up() as other:
                    tell(other)
                    assert ask(broker, "?acks=3&timeout=20s") == (201, 3)
    wait_for(lambda: ask(broker, "?acks=2&timeout=0ms") == (202, 1), 10, "links that are gone to count no more")


def test_who_answered_and_died(three):
    # Broken if a broker that is gone were still one of the copies, while others are waited for.
    a, b, c = three.brokers
    c.pause()
    waiting = Pending(a, "?acks=3&timeout=40s").wait_stored()
    assert ask(a, "?acks=2&timeout=20s") == (201, 2)
    short = Pending(a, "?acks=3&timeout=3s").wait_stored()
    b.kill()
    assert short.result() == (202, 1)
    c.resume()
    assert ask(a, "?acks=2&timeout=20s") == (201, 2)
    assert waiting.got is None, "one of them is dead"
    b.start()
    assert waiting.result() == (201, 3)


def test_a_full_disk_is_no_copy(three):
    # Broken if a broker that cannot write said that it has it.
    a, b, c = three.brokers
    assert ask(a, "?acks=all&timeout=20s") == (201, 3)
    os.rename(c.db, c.db + "-aside")
    wait_for(lambda: c.http("POST", "/topics/t", "lost").status == 507, 10, "507")
    assert ask(a, "?acks=2&timeout=20s") == (201, 2)
    assert ask(a, "?acks=3&timeout=500ms") == (202, 2)
    waiting = Pending(a, "?acks=all&timeout=40s").wait_stored()
    os.rename(c.db + "-aside", c.db)
    assert waiting.result() == (201, 3)


# ---- lines ----------------------------------------------------------------------


class Lines(Raw):
    """A request of lines that goes on, and its receipts."""

    def __init__(self, broker, query, headers=(), topic="/t"):
        super().__init__(broker, timeout=30)
        self.send(request_bytes(broker, "POST", f"/topics{topic}{query}", headers=[
            LINES, ("Transfer-Encoding", "chunked"), *headers]))
        self.status, _, self.problem = self.answer()

    def put(self, *lines):
        body = b"".join(x.encode() + b"\n" for x in lines)
        self.send(b"%x\r\n%s\r\n" % (len(body), body))

    def end(self):
        self.send(b"0\r\n\r\n")

    def receipt(self):
        size = int(self.line(), 16)
        if size == 0:
            return None
        return json.loads(self.line())

    def receipts(self, count):
        got = []
        for _ in range(count):
            got.append(self.receipt())
            assert self.line() == b"\r"
        return got


def test_lines_wait_for_copies(three):
    # Broken if a client that sends line by line learned too early, too late or in another order
    # what is safe.
    a, b, c = three.brokers
    with Lines(a, "?acks=2&timeout=20s") as lines:
        for i in range(20):
            lines.put(f"{i}")
            (receipt,) = lines.receipts(1)
            assert receipt["copies"] >= 2 and "status" not in receipt
    c.pause()
    with Lines(a, "?acks=majority&timeout=20s", topic="") as lines:
        rows = [{"topic": f"t/{i}", "body": str(i)} for i in range(600)]
        rows[300] = {"topic": "a/#", "body": ""}
        lines.put(*map(json.dumps, rows))
        lines.end()
        got = lines.receipts(600)
        assert lines.receipt() is None
    assert got[300]["code"] == "bad_line" and got[300]["status"] == 400
    got.pop(300)
    assert {g["copies"] for g in got} == {2} and not any("status" in g for g in got)
    assert [int(g["id"].split("-")[1]) for g in got] == sorted(int(g["id"].split("-")[1]) for g in got)
    with Lines(a, "?acks=all&timeout=400ms") as lines:
        begin = time.monotonic()
        lines.put(*map(str, range(100)))
        got = lines.receipts(100)
        assert {(g["status"], g["copies"]) for g in got} == {(202, 2)}
        assert 0.4 <= time.monotonic() - begin < 5, "the times of lines that wait together do not add up"
        lines.put("later")
        c.resume()
        lines.end()
        (last,) = lines.receipts(1)
        assert last["id"]
        assert lines.receipt() is None


def test_lines_that_wait_are_bounded(three):
    # Broken if a client that sends on while a member is down filled the memory with lines that
    # wait, or lost one when the member is back.
    a, _, c = three.brokers
    c.pause()
    with Lines(a, "?acks=all&timeout=1m") as lines:
        lines.put(*map(str, range(1000)))
        lines.end()
        wait_for(lambda: a.vector() and max(a.vector().values()) >= 256, 20, "256 on disk")
        for _ in range(3):
            assert a.http("GET", "/healthz").status == 200
        assert max(a.vector().values()) == 256
        c.resume()
        got = lines.receipts(1000)
        assert {g["copies"] for g in got} == {3}
        assert [g["id"].split("-")[1] for g in got] == [str(i + 1) for i in range(1000)]
    assert len(c.read_all()) == 1000


def test_lines_after_what_was_seen(cluster):
    # Broken if `causal` were said of lines that nobody made wait, or their receipts forgot what
    # the client had seen.
    a, b = cluster.make(2, start=False)
    a.start()
    seen = publish(a, "t", "seen")["cursor"]
    a.kill()
    b.start()
    after = ("Hearsay-After", seen)
    with Lines(b, "", [after, ("Hearsay-Lamport", "1000")]) as lines:
        lines.put("1", "2")
        one, two = lines.receipts(2)
        assert one["causal"] is False and two["causal"] is False
        assert two["lamport"] > one["lamport"] > 1000
    a.start()
    cluster.wait_equal()
    for broker in (a, b):
        assert broker.poll("t", two["cursor"], extra="&covered=1")[0] == []
    with Lines(b, "", [after]) as lines:
        lines.put("3")
        assert lines.receipts(1)[0]["causal"] is True
    cluster.wait_equal()
    assert [m["body"] for m in a.read_all()] == ["seen", "1", "2", "3"]


def test_lines_whose_head_is_wrong(broker):
    # Broken if a misspelt promise were taken for none.
    for query, headers, code in (
            ("?acks=0", (), "bad_parameter"), ("?acks=most", (), "bad_parameter"),
            ("?acks=17", (), "bad_parameter"), ("?timeout=5", (), "bad_parameter"),
            ("?timeout=11m", (), "bad_parameter"), ("", [("Hearsay-After", "!!")], "bad_cursor"),
            ("", [("Hearsay-Lamport", "-1")], "bad_parameter")):
        with Lines(broker, query, headers) as lines:
            assert (lines.status, json.loads(lines.problem)["code"]) == (400, code), query
    assert broker.vector() == {}


@pytest.mark.parametrize("headers", [(), (LINES,)])
def test_who_stops_says_what_is_stored(cluster, headers):
    # Broken if a broker that drains leaves those that wait for copies without a word.
    a, b = cluster.make(2)
    cluster.wait_linked()
    b.pause()
    raw = Raw(a)
    raw.send(request_bytes(a, "POST", "/topics/t?acks=2&timeout=60s", "pending\n", headers))
    wait_for(lambda: a.poll("t")[0], 10, "it on disk here")
    a.process.terminate()
    answer = raw.rest()
    assert b'"copies":1' in answer and b'"id"' in answer, answer
    assert a.process.wait(20) == 0
    b.resume()
