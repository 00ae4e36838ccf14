"""GET /latest/{topic}: the newest message of a topic, as it was sent."""

import json
import resource
import select

from cluster import free_ports, wait_for
from raw import Raw, publish, request, request_bytes
from disk import Shim


def latest(broker, topic, headers=()):
    return request(broker, "GET", f"/latest/{topic}", headers=headers)


def test_it_comes_as_it_was_sent(broker):
    # Broken if a byte, the type or a header of a message were changed on the way.
    publish(broker, "a/%C3%A9", "old")
    body = bytes(range(256)) * 4096  # 1 MiB
    sent = publish(broker, "a/%C3%A9", body, headers=[
        ("Content-Type", "image/x-thing; v=1"), ("Hearsay-Meta-Name", 'x "y"'), ("hearsay-meta-b", "")])
    publish(broker, "a", "of another topic")
    status, headers, got = latest(broker, "a/%C3%A9")
    assert status == 200 and got == body
    assert headers["content-type"] == "image/x-thing; v=1"
    assert headers["hearsay-meta-name"] == 'x "y"' and headers["hearsay-meta-b"] == ""
    assert headers["hearsay-id"] == sent["id"] and headers["etag"] == f'"{sent["id"]}"'
    assert headers["hearsay-lamport"] == str(sent["lamport"])
    assert headers["hearsay-origin"] == sent["origin"]
    status, _, page = request(broker, "GET", "/topics/a/%C3%A9?cursor=earliest&wait=0")
    assert headers["hearsay-time"] == json.loads(page)["messages"][1]["time"]
    publish(broker, "a/%C3%A9", b"")
    status, headers, got = latest(broker, "a/%C3%A9")
    assert (status, got) == (200, b"") and "content-type" not in headers


def test_no_message_yet_and_then_on_from_there(broker):
    # Broken if who asks for the newest message and then follows its topic missed one between.
    status, headers, body = latest(broker, "t")
    assert (status, json.loads(body)["code"]) == (404, "no_message")
    nothing = headers["hearsay-cursor"]
    publish(broker, "t", "1")
    _, headers, _ = latest(broker, "t")
    one = headers["hearsay-cursor"]
    publish(broker, "t", "2")

    def after(cursor):
        return [m["body"] for m in broker.poll("t", cursor)[0]]

    assert after(nothing) == ["1", "2"]
    assert after(one) == ["2"]


def test_who_has_it_already(broker):
    # Broken if a client that asks each second were sent the same megabyte each second, or
    # were not told of a new one.
    tag = f'"{publish(broker, "t", "1")["id"]}"'
    for known in (tag, f"W/{tag}", f'"x-1", {tag}', "*"):
        status, headers, body = latest(broker, "t", [("If-None-Match", known)])
        assert (status, body, headers["etag"]) == (304, b"", tag), known
        assert "content-length" not in headers and "content-type" not in headers
    status, _, _ = latest(broker, "t", [("If-None-Match", '"x-1"'), ("If-None-Match", tag)])
    assert status == 304
    for other in (tag.strip('"'), '"', '""', "", tag[:-2] + '"', '"0000000000000001-1"'):
        assert latest(broker, "t", [("If-None-Match", other)])[0] == 200, other
    publish(broker, "t", "2")
    status, headers, body = latest(broker, "t", [("If-None-Match", tag)])
    assert (status, body) == (200, b"2") and headers["etag"] != tag


def test_every_broker_has_the_same(three):
    # Broken if "the newest" depended on the broker that is asked.
    a, b, c = three.brokers
    cursor = a.publish("t", "1", "?acks=all&timeout=20s")["cursor"]
    for i, broker in enumerate((b, c, a, c, b)):
        cursor = broker.publish("t", f"{i}", headers={"Hearsay-After": cursor})["cursor"]
    three.wait_equal()
    assert [x.http("GET", "/latest/t").body for x in three.brokers] == [b"4"] * 3
    ids = {x.http("GET", "/latest/t").headers["Hearsay-Id"] for x in three.brokers}
    assert len(ids) == 1
    a.restart()
    assert a.http("GET", "/latest/t").headers["Hearsay-Id"] in ids


def test_it_outlives_its_topic(cluster):
    # Broken if the state of a thing that seldom changes were gone with the history around it,
    # at a broker that was there or at one that never saw it.
    ports = free_ports(2)
    cluster.write_peers(ports)
    a, b = (cluster.add(p, args=["--retention", "2s"]) for p in ports)
    a.start()
    publish(a, "t", "old")
    sent = publish(a, "t", b"state", headers=[("Content-Type", "x/y"), ("Hearsay-Meta-A", "b")])
    publish(a, "u", "other")

    def is_gone(broker):
        page = broker.http("GET", "/topics?filter=%23&cursor=earliest&wait=0")
        return page.status == 204 or not page.json()["messages"]

    wait_for(lambda: is_gone(a), 30, "the messages to expire")
    b.start()
    wait_for(lambda: latest(b, "t")[0] == 200, 30, "the newest to reach who joins")
    for broker in (a, b, a.restart()):
        status, headers, body = latest(broker, "t")
        assert (status, body, headers["hearsay-id"]) == (200, b"state", sent["id"])
        assert headers["content-type"] == "x/y" and headers["hearsay-meta-a"] == "b"
        assert headers["hearsay-lamport"] == str(sent["lamport"])
        assert headers["hearsay-origin"] == sent["origin"]
    assert is_gone(b)


def test_a_page_among_the_messages_is_no_page_of_the_broker(broker):
    # Broken if whoever may publish could run a script with the rights of the broker's own page,
    # or add headers to what others are answered.
    publish(broker, "evil", "<script>fetch('/topics/t')</script>", headers=[("Content-Type", "text/html")])
    _, headers, _ = latest(broker, "evil")
    assert headers["content-security-policy"] == "sandbox"
    assert headers["x-content-type-options"] == "nosniff"
    # Names that JSON can give and a header cannot are left out.
    receipt = post_line(broker, {"topic": "odd", "body": "x", "meta": {"c(": "1", "\u00e9": "2", "good": "\u00e9"}})
    status, headers, body = latest(broker, "odd")
    assert (status, body, headers["hearsay-id"]) == (200, b"x", receipt["id"])
    assert headers["hearsay-meta-good"].encode("latin-1").decode() == "\u00e9"
    assert [h for h in headers if h.startswith("hearsay-meta-")] == ["hearsay-meta-good"]


def post_line(broker, row):
    with Raw(broker) as raw:
        raw.send(request_bytes(broker, "POST", "/topics", json.dumps(row) + "\n",
                               [("Content-Type", "application/x-ndjson"), ("Connection", "close")]))
        assert raw.answer()[0] == 200
        text = raw.rest()
    return json.loads(text[text.index(b"{"):text.rindex(b"}") + 1])


def test_only_what_is_on_disk(cluster):
    # Broken if it showed what a crash could still take back; or if those who wait for the disk
    # were without a limit, or more than those beyond it were refused.
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    shim = Shim(cluster.folder)
    cluster.closers.append(shim.work)
    broker = cluster.make(1, env=shim.env())[0]
    publish(broker, "t", "old")
    shim.fail("fsync-waits")
    with Raw(broker, timeout=60) as writer, Raw(broker, timeout=60) as reader:
        writer.send(request_bytes(broker, "POST", "/topics/t", "new"))
        shim.wait_blocked()
        reader.send(request_bytes(broker, "GET", "/latest/t"))
        crowd = [Raw(broker, timeout=60) for _ in range(1100)]
        for raw in crowd:
            raw.send(request_bytes(broker, "GET", "/latest/t"))
        refused, ready = 1 + len(crowd) - 1024, select.poll()
        for raw in crowd:
            ready.register(raw, select.POLLIN)
        wait_for(lambda: len(ready.poll(0)) == refused, 20, "the refusals")
        shim.work()
        assert writer.answer()[0] == 201
        status, _, body = reader.answer()
        assert (status, body) == (200, b"new"), "asked while it was being written"
        answers = [raw.answer() for raw in crowd]
        assert sum(a[0] == 503 for a in answers) == refused
        assert {a[2] for a in answers if a[0] == 200} == {b"new"}
        for raw in crowd:
            raw.close()
    assert latest(broker, "t")[0] == 200


def test_many_at_once_get_all_of_it(broker):
    # Broken if more askers than fit into memory at a time were sent away, or held publishers up.
    publish(broker, "big", b"x" * (1 << 20))
    crowd = [Raw(broker, timeout=60) for _ in range(100)]
    for raw in crowd:
        raw.send(request_bytes(broker, "GET", "/latest/big"))
    assert publish(broker, "other", "meanwhile")["id"]
    answers = [raw.answer() for raw in crowd]
    assert {(a[0], len(a[2])) for a in answers} == {(200, 1 << 20)}
    for raw in crowd:
        raw.close()


def test_a_damaged_newest_message_goes_to_nobody(cluster):
    # Broken if /latest, or what a newcomer is given of topics whose history expired, is not
    # checked against the digest.
    a = cluster.add(free_ports(1)[0], args=["--retention", "1s"])
    a.start()
    a.publish("k/1", "good body one")
    wait_for(lambda: a.sqlite("select count(*) from kept") == ["1"], 15, "the message to expire")
    a.stop()
    with open(a.db, "r+b") as f:
        data = f.read()
        assert data.count(b"good body one") >= 1
        f.seek(0)
        f.write(data.replace(b"good body one", b"good bXdy one"))
    a.start()
    answer = a.http("GET", "/latest/k/1")
    assert answer.status == 503 and answer.json()["code"] == "unreadable", answer
    b = cluster.add(free_ports(1)[0], args=["--join", f"127.0.0.1:{a.port}"])
    b.start()
    cluster.wait_equal()
    a.publish("k/2", "after")  # when this is there, all that comes before it has come
    wait_for(lambda: b.http("GET", "/latest/k/2").status == 200, 10, "the join")
    assert b.http("GET", "/latest/k/1").status == 404
