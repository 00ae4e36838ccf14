"""JSON over TCP.  docs/JSON.md is the promise."""
import base64
import json
import subprocess
import threading

import pytest

import cluster as harness
from raw import Raw, get_json, publish, request


def line(**members):
    return json.dumps(members).encode() + b"\n"


def pub(topic="t", message="m", **more):
    return line(type="publish", topic=topic, message=message, **more)


def sub(topic="t", **more):
    return line(type="subscribe", topic=topic, **more)


def test_the_three_lines_of_the_reference(broker):
    # Broken if the protocol as it is described to students did not work.
    with Raw(broker) as reader, Raw(broker) as writer:
        reader.send(b'{"type":"subscribe","topic":"stocks","lamport_timestamp":1,"ack":true}')
        assert reader.json_line()["type"] == "subscribed"
        writer.send(b'{"type":"publish","topic":"stocks","message":"up","lamport_timestamp":7}')
        got = reader.json_line()
        assert got["type"] == "publish" and got["topic"] == "stocks" and got["message"] == "up"
        assert got["lamport_timestamp"] > 7 and got["id"] and got["cursor"]
        writer.send(pub("stocks", "down"))
        assert reader.json_line()["lamport_timestamp"] > got["lamport_timestamp"]


def test_acks_in_order_with_refs(broker):
    # Broken if a client that pipelines could not tell which of its publishes is on disk.
    with Raw(broker) as raw:
        refs = [1, "two", 3.5, -4, 'q"\\u00e9\n', 6]
        raw.send(b"".join(pub(message=str(i), ack=True, ref=r) for i, r in enumerate(refs)))
        answers = raw.json_lines(len(refs))
        assert [a["ref"] for a in answers] == refs
        assert all(a["type"] == "ack" for a in answers)
        stamps = [a["lamport_timestamp"] for a in answers]
        assert stamps == sorted(set(stamps))
        raw.send(pub(message="no ref", ack=True))
        assert "ref" not in raw.json_line()
    ids = [m["id"] for m in broker.poll("t")[0]]
    assert ids[:len(refs)] == [a["id"] for a in answers]


def test_errors_keep_their_place(broker):
    # Broken if an error came before the ack of what was sent earlier.
    with Raw(broker) as raw:
        kinds = ["ack", "error", "subscribed", "ack", "error", "ack"]
        raw.send(pub(ack=True, ref=0) + line(type="publish", topic="t", ref=1)
                 + sub("quiet", ack=True, ref=2) + pub(ack=True, ref=3) + line(type="x", ref=4)
                 + pub(ack=True, ref=5))
        assert [(a["type"], a["ref"]) for a in raw.json_lines(6)] == list(zip(kinds, range(6)))


def test_subscribed_comes_before_the_first_delivery(broker):
    # Broken if a client could not know which cursor its first delivery goes on from.
    for i in range(5):
        publish(broker, "t", str(i))
    with Raw(broker) as raw:
        raw.send(pub(message="5", ack=True) + sub(cursor="earliest", ack=True))
        first, second = raw.json_lines(2)
        assert (first["type"], second["type"]) == ("ack", "subscribed")
        got = raw.json_lines(6)
        assert [g["message"] for g in got] == [str(i) for i in range(6)]
        assert len({g["cursor"] for g in got}) == 6
    with Raw(broker) as raw:
        raw.send(sub(cursor=got[2]["cursor"]))
        assert [g["message"] for g in raw.json_lines(3)] == ["3", "4", "5"]
    with Raw(broker) as raw:
        raw.send(sub(cursor=second["cursor"]))
        assert raw.json_line()["message"] == "0", "the cursor of `subscribed` is where it began"


def test_every_cut(broker):
    # Broken if parsing depended on how the network cuts the text.
    text = pub(message='a"\\ \u00e9 \U0001d11e {}[]', ack=True, ref=1) + sub(ack=True, ref=2)
    for cut in range(1, len(text)):
        with Raw(broker) as raw:
            raw.send(text[:cut])
            raw.send(text[cut:])
            assert [a["ref"] for a in raw.json_lines(2)] == [1, 2]
    with Raw(broker) as raw:
        for byte in b"  \r\n\t" + text:
            raw.send(bytes([byte]))
        assert [a["ref"] for a in raw.json_lines(2)] == [1, 2]
    assert {m["body"] for m in broker.poll("t")[0]} == {'a"\\ \u00e9 \U0001d11e {}[]'}


def test_joined_without_newlines(broker):
    # Broken if a device that sends no newlines lost messages.
    with Raw(broker) as raw:
        raw.send(b"".join(pub(message=str(i), ack=True).strip() for i in range(100)))
        assert len({a["id"] for a in raw.json_lines(100)}) == 100


def test_one_object_and_gone(broker):
    # Broken if the simplest of clients had to wait for something.
    for i in range(20):
        raw = Raw(broker)
        raw.send(pub("brief", str(i)))
        raw.close()
    harness.wait_for(lambda: len(broker.poll("brief")[0]) == 20, 10, "all of them")


def test_half_close(broker):
    # Broken if `nc -N` lost answers or deliveries.
    with Raw(broker) as raw:
        raw.send(pub(ack=True) + pub(ack=True))
        raw.send_end()
        answers = raw.rest().splitlines()
        assert [json.loads(a)["type"] for a in answers] == ["ack", "ack"]
    with Raw(broker) as raw:
        raw.send(sub("later", ack=True))
        raw.send_end()
        assert raw.json_line()["type"] == "subscribed"
        publish(broker, "later", "still comes")
        assert raw.json_line()["message"] == "still comes"
    with Raw(broker) as raw:
        raw.send(b'{"type":"publish","topic":"t","mess')
        raw.send_end()
        (error,) = raw.rest().splitlines()
        assert json.loads(error)["type"] == "error"


def test_nc(broker):
    # Broken if the line in the README did not work.
    done = subprocess.run(["nc", "-N", broker.ip, str(broker.port)], capture_output=True, timeout=20,
                          input=b'{"type":"publish","topic":"n","message":"up","ack":true}')
    assert json.loads(done.stdout)["type"] == "ack"


def test_bytes_and_escapes(broker):
    # Broken if what one face takes another showed differently.
    body = bytes(range(256))
    with Raw(broker) as raw:
        raw.send(sub("b", ack=True))
        raw.json_line()
        raw.send(line(type="publish", topic="b", message_base64=base64.b64encode(body).decode()))
        got = raw.json_line()
        assert base64.b64decode(got["message_base64"]) == body and "message" not in got
        raw.send(b'{"type":"publish","topic":"\\u0062","message":"\\u0000\\ud834\\udd1e\\/"}')
        assert raw.json_line()["message"] == "\0\U0001d11e/"
        publish(broker, "b", body)
        assert base64.b64decode(raw.json_line()["message_base64"]) == body
    one = broker.poll("b")[0][1]
    assert one["body"] == "\0\U0001d11e/"


def test_the_largest_message(broker):
    # Broken if the limit on objects were smaller than a whole message with every byte escaped.
    text = b'{"type":"publish","topic":"l","ack":true,"message":"' + b"\\u0001" * (1 << 20) + b'"}'
    with Raw(broker) as raw:
        raw.send(text)
        assert raw.json_line()["type"] == "ack"
        raw.send(text.replace(b'"}', b'x"}') + b"\n" + pub(ack=True))
        assert raw.json_line()["type"] == "error"
        assert raw.json_line()["type"] == "ack"
    assert broker.poll("l")[0][0]["body"] == "\x01" * (1 << 20)


def test_many_outstanding(broker):
    # Broken if a client that reads no answers while it writes lost some, or stopped the broker.
    count = 60000
    with Raw(broker, timeout=60) as raw:
        data = b"".join(pub("many", str(i), ack=True, ref=i) for i in range(count))
        sender = threading.Thread(target=raw.sock.sendall, args=(data,))
        sender.start()
        assert get_json(broker, "/cluster")["ready"]
        assert [raw.json_line()["ref"] for _ in range(count)] == list(range(count))
        sender.join()


def test_a_slow_reader_loses_nothing(broker):
    # Broken if a subscriber that pauses were dropped, skipped ahead, or filled the memory.
    with Raw(broker) as slow:
        slow.send(sub("slow", ack=True))
        assert slow.json_line()["type"] == "subscribed"
        body = "x" * 20000
        with Raw(broker, timeout=60) as raw:
            raw.send(b"".join(pub("slow", f"{i} {body}", ack=True) for i in range(1000)))
            raw.json_lines(1000)
        got = [slow.json_line()["message"].split()[0] for _ in range(1000)]
        assert got == [str(i) for i in range(1000)]


def test_subscription_limit(broker):
    # Broken if one connection could take all that the broker has.
    with Raw(broker) as raw:
        raw.send(b"".join(sub(f"s/{i}", ack=True) for i in range(65)))
        kinds = [a["type"] for a in raw.json_lines(65)]
        assert kinds == ["subscribed"] * 64 + ["error"]
        publish(broker, "s/63", "works")
        assert raw.json_line()["message"] == "works"


def test_after(three):
    # Broken if an effect could be read before its cause by who is careful to say `after`.
    a, b, c = three.brokers
    with Raw(a) as at_a, Raw(b) as at_b, Raw(c) as at_c:
        at_c.send(sub("x", ack=True))
        at_c.json_line()
        at_b.send(sub("x", ack=True))
        at_b.json_line()
        at_a.send(pub("x", "cause"))
        cause = at_b.json_line()
        at_b.send(pub("x", "effect", after=cause["cursor"], ack=True, ref=1)
                  + pub("x", "more", after=cause["cursor"], ack=True, ref=2))
        answers = [x for x in at_b.json_lines(4) if x["type"] == "ack"]
        assert [(x["ref"], x["causal"]) for x in answers] == [(1, True), (2, True)]
        assert [m["message"] for m in at_c.json_lines(3)] == ["cause", "effect", "more"]


def test_after_what_nobody_has(cluster):
    # Broken if a cursor from a lost broker blocked its client for ever.
    a, b = cluster.make(2, start=False)
    a.start()
    cursor = publish(a, "x", "only here")["cursor"]
    a.kill()
    b.start()
    with Raw(b) as raw:
        raw.send(pub("x", "1", ack=True, ref=1, after=cursor) + pub("x", "2", ack=True, ref=2))
        assert [(x["ref"], x.get("causal")) for x in raw.json_lines(2)] == [(1, False), (2, None)]


@pytest.mark.parametrize("good", [pub("g", "good", ack=True, ref="good")])
def test_good_behind_bad(broker, good):
    # Broken if one faulty line took the next one along.
    bad = [b"garbage", b"]", b"{", b'{"type":"publish","topic":"t","message":"never closed',
           b'{"a":}', b'{"a":1,}', b"[1,2]", b"\xff\xfe", b'"string"', b"{]}"]
    for text in bad:
        with Raw(broker) as raw:
            raw.send(b"{}\n")  # so that it is a JSON connection
            assert raw.json_line()["type"] == "error"
            raw.send(text + b"\n" + good)
            answer = raw.json_line()
            assert answer["type"] == "error", (text, answer)
            while answer["type"] == "error":
                answer = raw.json_line()
            assert answer["ref"] == "good", (text, answer)
    assert request(broker, "GET", "/readyz")[0] == 200
