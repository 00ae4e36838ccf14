"""What an ill-meaning or unlucky client, operator or disk does to brokers that run.

If one of these failed, somebody who may only publish could end a broker or fill its memory,
or an accident with the disk would cost what was acknowledged."""

import collections
import json
import os
import socket
import struct

from cluster import SLOW, pause, wait_for
from raw import Raw, publish, request_bytes


def test_a_type_longer_than_all_stored_headers(broker):
    # Broken if a limit that is kept for `meta` were forgotten for `type`: the broker ended.
    lines = [{"topic": "t", "body": "a", "type": "x" * size} for size in (20000, 200000, 7000000)]
    lines.append({"topic": "t", "body": "b", "type": "x" * 16000, "meta": {"m": "y" * 1000}})
    lines.append({"topic": "t", "body": "good", "type": "x" * 16000})
    body = "".join(json.dumps(x) + "\n" for x in lines)
    with Raw(broker, timeout=30) as raw:
        raw.send(request_bytes(broker, "POST", "/topics", body,
                               [("Content-Type", "application/x-ndjson"), ("Connection", "close")]))
        answer = raw.rest()
    assert answer.count(b'"code":"bad_line"') == 4, answer[:1000]
    assert [m["body"] for m in broker.poll("t")[0]] == ["good"]


def test_subscriptions_that_do_not_read_hold_little(cluster):
    # Broken if each of thousands of subscriptions kept a message in memory that its client
    # does not take.
    # The sanitizer keeps freed memory for a while: nobody holds it.
    broker = cluster.make(1, args=["--tail-bytes", "1M"],
                          env={"ASAN_OPTIONS": "quarantine_size_mb=1"})[0]
    for i in range(4):
        publish(broker, "big", f"{i}" + "x" * ((1 << 20) - 1))
    before = (broker.resident_kib() >> 10)
    raws = [Raw(broker, timeout=60) for _ in range(8 if SLOW else 20)]
    for raw in raws:
        raw.send(b'{"type":"subscribe","topic":"big","cursor":"earliest"}\n' * 64)
    last = broker.cpu_seconds()

    def is_quiet():
        nonlocal last
        pause(0.3)
        before, last = last, broker.cpu_seconds()
        return last - before < 0.05

    wait_for(is_quiet, 30, "the broker to have nothing left to do for who does not read")
    grown = (broker.resident_kib() >> 10) - before
    assert grown < 250, f"{grown} MiB for {64 * len(raws)} subscriptions"
    got = collections.Counter(m["message"][0] for m in raws[7].json_lines(4 * 64))
    assert got == {str(i): 64 for i in range(4)}
    for raw in raws:
        raw.close()


def test_a_log_that_is_removed_under_the_broker(three):
    # Broken if publishes were acknowledged into a file without a name: all of them would be
    # gone with the process.
    broker = three.brokers[0]
    broker.publish("t", "kept", "?acks=all&timeout=20s")
    os.rename(broker.db, broker.db + "-aside")
    wait_for(lambda: broker.http("POST", "/topics/t", "lost").status == 507, 10, "507")
    assert "removed or replaced" in broker.stderr()
    assert three.brokers[1].publish("t", "elsewhere")["id"]
    os.rename(broker.db + "-aside", broker.db)
    wait_for(lambda: broker.http("POST", "/topics/t", "resumed").status == 201, 20, "201")
    three.wait_equal()
    assert "kept" in [m["body"] for m in broker.read_all()]


def test_a_listener_that_is_gone_for_good(broker):
    # Broken if each device that subscribed to a quiet topic and went away kept a connection
    # and a subscription for ever: nothing is sent there that could fail.
    def open_conns():
        return broker.metric("conns_open")

    for _ in range(20):
        raw = Raw(broker)
        raw.send(b'{"type":"subscribe","topic":"quiet","ack":true}\n')
        raw.send_end()
        assert raw.json_line()["type"] == "subscribed"
        raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.close()  # a reset, which no read meets
    stays = Raw(broker)
    stays.send(b'{"type":"subscribe","topic":"quiet","ack":true}\n')
    stays.send_end()
    assert stays.json_line()["type"] == "subscribed"
    wait_for(lambda: open_conns() == 2, 15, "the connections of who is gone to end")
    publish(broker, "quiet", "still comes")
    assert stays.json_line()["message"] == "still comes"
    stays.close()


def test_lists_of_topics_that_nobody_reads(cluster):
    # Broken if each client that asks for all topics and does not read holds a copy of the list:
    # 600 MiB, where 128 MiB and eight that are being made are allowed.
    broker = cluster.make(1, args=["--tail-bytes", "1M"],
                          env={"ASAN_OPTIONS": "quarantine_size_mb=1"})[0]
    lines = b"".join(
        json.dumps({"type": "publish", "topic": f"{i:05d}" + "t" * 480, "message": ""}).encode()
        + b"\n" for i in range(20000))
    with socket.create_connection((broker.ip, broker.port), timeout=60) as s:
        s.sendall(lines + b'{"type":"publish","topic":"last","message":"","ack":true}\n')
        assert b'"ack"' in s.recv(1000)
    request = b"GET /topics HTTP/1.1\r\nHost: x\r\n\r\n"
    idle = []
    for _ in range(60):  # ten megabytes each
        s = socket.create_connection((broker.ip, broker.port), timeout=60)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.sendall(request)
        s.recv(1)  # it was answered, with the list or with 503
        idle.append(s)
    refused = broker.http("GET", "/topics")
    assert refused.status == 503 and refused.json()["code"] == "too_many", refused
    assert (broker.resident_kib() >> 10) < 400
    for s in idle:
        s.close()
    wait_for(lambda: broker.http("GET", "/topics").status == 200, 20)
