"""Clients that are slow, many or gone."""

import select
import signal
import socket
import threading
import time

from cluster import Http, JsonSocket, curl, wait_for


def test_a_head_that_comes_a_byte_a_second(broker):
    # Broken if a handful of slow clients can hold connections for ever.
    head = b"POST /topics/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
    start = time.monotonic()
    with socket.create_connection((broker.ip, broker.port), timeout=10) as s:
        for byte in head:
            try:
                s.sendall(bytes([byte]))
            except OSError:
                break
            # Its answer, 408 or nothing, and then the end.
            if select.select([s], [], [], 1)[0]:
                break
            assert time.monotonic() - start < 20, "still open"
        answer = b""
        try:
            while more := s.recv(4096):
                answer += more
        except ConnectionResetError:
            pass
    assert 8 < time.monotonic() - start < 16
    assert answer == b"" or answer.startswith(b"HTTP/1.1 408"), answer
    assert broker.publish("x", "y")["id"]


def test_descriptors_used_up(cluster):
    # Broken if accept() that fails is tried again at once, for ever.
    broker = cluster.make(1, rlimit=(64, 64))[0]
    conns = []
    try:
        for _ in range(200):
            conns.append(socket.create_connection((broker.ip, broker.port), timeout=5))
        before, start = broker.cpu_seconds(), time.monotonic()
        wait_for(lambda: time.monotonic() - start > 2, 60)
        used = (broker.cpu_seconds() - before) / (time.monotonic() - start)
        assert used < 0.2, f"{used:.0%} of a core while out of descriptors"
        assert broker.is_running()
    finally:
        for c in conns:
            c.close()
    wait_for(lambda: curl(broker.url("/healthz"), "-m", "2")[0] == 0, 20, "new connections")
    assert broker.publish("x", "y")["id"]


def test_a_subscriber_that_does_not_read(cluster):
    # Broken if a slow reader is dropped, loses messages, or holds up the others.  What it has
    # not read is more than the sockets and the memory of the broker keep: the rest is on disk.
    broker = cluster.make(1, args=["--tail-bytes", "1M"])[0]
    slow = JsonSocket(broker.port)
    slow.send({"type": "subscribe", "topic": "x", "ack": True})
    assert slow.read()["type"] == "subscribed"
    fast = broker.subscribe("x")
    body = "y" * 100_000
    for i in range(200):
        broker.publish("x", f"{i}:{body}")
    fast.wait_count(200)
    for i in range(200):
        assert slow.read(20)["message"].startswith(f"{i}:")
    slow.close()
    fast.close()


def test_a_client_that_resets(broker):
    # Broken if an answer to somebody who left takes the broker with it.
    import struct

    for _ in range(50):
        s = socket.create_connection((broker.ip, broker.port), timeout=5)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.sendall(b'{"type":"subscribe","topic":"#"}{"type":"publish","topic":"x","message":"y"}')
        s.close()
    subscriber = broker.subscribe("z")
    broker.publish("z", "alive")
    subscriber.wait_count(1)
    assert subscriber.bodies() == ["alive"]
    subscriber.close()


def test_idle_costs_nothing(three):
    # Broken if a timer or a poll keeps an idle broker busy.
    before = [b.cpu_seconds() for b in three.brokers]
    start = time.monotonic()
    wait_for(lambda: time.monotonic() - start > 5, 60)
    for b, was in zip(three.brokers, before):
        used = (b.cpu_seconds() - was) / (time.monotonic() - start)
        assert used < 0.03, f"{used:.1%} of a core while idle"


def test_a_long_answer_that_leaves_at_once(broker):
    # Broken if a connection is read no more after an answer of over a MiB that its socket took
    # without having to wait.
    text = "".join(f"{i}-".ljust(1200, "x") + "\n" for i in range(1000))
    assert broker.cli("publish", "--topic", "x", "--lines", stdin=text).returncode == 0
    with Http(broker.port, timeout=10) as http:
        for _ in range(3):
            a = http("GET", "/topics/x?cursor=earliest&wait=0")
            assert len(a.body) > 1 << 20 and len(a.json()["messages"]) == 1000


def test_metrics_while_it_stops(broker):
    # Broken if whoever asks on an open connection ends a broker that says goodbye.
    waits = threading.Thread(target=lambda: broker.http("POST", "/topics/x?acks=2&timeout=20s", b"x"))
    with Http(broker.port, broker.ip) as http:
        assert http("GET", "/metrics").status == 200
        waits.start()
        wait_for(lambda: broker.metric("publishes_total") == 1, 10, "the publish")
        broker.signal(signal.SIGTERM)
        wait_for(lambda: http("GET", "/readyz").status == 503, 10, "it to stop")
        assert b"hearsay_conns_accepted_total" in http("GET", "/metrics").body
    waits.join(20)
    wait_for(lambda: not broker.is_running(), 20, "its end")
    assert broker.stop() == 0
