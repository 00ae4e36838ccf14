"""What spreads between brokers: everything, once, and then quiet."""

import json
import socket
import time

from cluster import SLOW, free_ports, wait_for

IDLE_WINDOW = 5.5  # a whole HEADS leaves every 5 s


def bytes_in_window(cluster):
    """What all links carry in one window."""
    before = sum(r.bytes for r in cluster.relays)
    end = time.monotonic() + IDLE_WINDOW
    wait_for(lambda: time.monotonic() > end, 60)
    return sum(r.bytes for r in cluster.relays) - before


def test_a_burst_of_300_connections(cluster):
    # Broken if a closed socket loses what was written, or if redundant copies travel.
    brokers = cluster.make(3, relays=True)
    cluster.wait_linked()
    subscribers = [b.subscribe("burst") for b in brokers]
    bodies = [f"{i:04d}" + "x" * 996 for i in range(300)]
    before = sum(r.bytes for r in cluster.relays)
    start = time.monotonic()
    for body in bodies:
        request = {"type": "publish", "topic": "burst", "message": body, "lamport_timestamp": 1}
        with socket.create_connection((brokers[0].ip, brokers[0].port), timeout=10) as s:
            s.sendall(json.dumps(request).encode())
    for s in subscribers:
        s.wait_count(300, timeout=2)
    took = time.monotonic() - start
    for s in subscribers:
        assert sorted(s.bodies()) == bodies
        s.close()
    moved = sum(r.bytes for r in cluster.relays) - before
    payload = sum(len(b) for b in bodies)
    headers = 300 * 64  # topic, lengths, digests, a batch of its own for some
    assert moved <= 1.2 * 2 * (payload + headers), f"{moved} bytes for {payload}"
    if not SLOW:
        assert took < 2, f"{took} s"


def test_alternating_ends_in_quiet(cluster):
    # Broken if a message that comes back, or a stamp that rises, keeps brokers talking.
    a, b = cluster.make(2, relays=True)
    cluster.wait_linked()
    wait_for(lambda: a.coordinator() and a.coordinator() == b.coordinator(), 20, "a coordinator")
    idle = bytes_in_window(cluster)
    assert idle < 4000 * IDLE_WINDOW, f"{idle} bytes while idle"
    for i in range(10):
        a.publish("x", f"a{i}")
        b.publish("x", f"b{i}")
    cluster.wait_equal()
    wait_for(lambda: bytes_in_window(cluster) <= 1.5 * idle + 500, 30, "the idle rate")
    for broker in (a, b):
        assert len(broker.read_all()) == 20


def test_the_same_text_twice_arrives_twice(three):
    # Broken if messages are told apart by what they say.
    a, b, c = three.brokers
    subscriber = b.subscribe("x")
    a.publish("x", "same")
    a.publish("x", "same")
    c.publish("x", "same")
    subscriber.wait_count(3)
    three.wait_equal()
    for broker in three.brokers:
        assert [m["body"] for m in broker.read_all()] == ["same"] * 3
    assert subscriber.bodies() == ["same"] * 3
    subscriber.close()


def test_a_broker_that_was_down_gets_it_when_it_starts(cluster):
    # Broken if only those who were there hear of a message.
    ports = free_ports(2)
    cluster.write_peers(ports)
    a = cluster.add(ports[0]).start()
    b = cluster.add(ports[1]).start()
    cluster.wait_linked()
    first = b.subscribe("x")
    cursor = first.cursor
    first.close()
    assert b.stop() == 0
    a.publish("x", "while you were out")
    b.start()
    again = b.subscribe("x", cursor=cursor)
    again.wait_count(1)
    assert again.bodies() == ["while you were out"]
    again.close()


def test_a_cut_link_heals(cluster):
    # Broken if either side stops taking publishes, or if healing loses or doubles one.
    a, b = cluster.make(2, relays=True)
    cluster.wait_linked()
    for r in cluster.relays:
        r.cut()
    wait_for(lambda: cluster.reachable(a) == cluster.reachable(b) == 1, 20, "the cut to be seen")
    a.publish("x", "at a")
    b.publish("x", "at b")
    wait_for(lambda: a.coordinator() != b.coordinator(), 20, "a coordinator on either side")
    for r in cluster.relays:
        r.heal()
    cluster.wait_equal(timeout=30)
    for broker in (a, b):
        assert sorted(m["body"] for m in broker.read_all()) == ["at a", "at b"]
    wait_for(lambda: a.coordinator() == b.coordinator() != None, 20, "one coordinator")  # noqa: E711


def test_a_megabyte_crosses(three):
    # Broken if a message at the limit does not fit a batch or a frame.
    a, _, c = three.brokers
    body = bytes(i % 251 for i in range(1 << 20))
    receipt = a.publish("big", body, "?acks=all&timeout=20s")
    assert receipt["copies"] == 3
    answer = c.http("GET", "/topics/big?cursor=earliest&wait=5")
    import base64

    [message] = answer.json()["messages"]
    assert base64.b64decode(message["body_base64"]) == body
