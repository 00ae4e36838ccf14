"""GAP and LATEST as docs/PEER.md has them, with a peer that is not ours; and many at once."""
import struct
import time

import cluster as harness
import peer
from peer import HEADS_FULL, Peer, Stream, message

ADDR = ("127.0.0.9", 9)


def now():
    return struct.pack(">q", int(time.time() * 1000))


def gap(stream, deps):
    """Of all that the stream wrote so far."""
    return peer.encode("GAP", **{
        "stream": stream.id, "from": 1, "to": stream.next - 1, "chain": stream.chain,
        "stamp": stream.lamport - 1, "came": now(), "origin": stream.origin, "deps": deps})


def tell(link, *heads):
    link.say("HEADS", flags=HEADS_FULL, token=peer.NO_TOKEN,
             heads=[dict(zip(("stream", "head", "floor"), h)) for h in sorted(heads)])


def newest(broker, topic):
    a = broker.http("GET", f"/latest/{topic}")
    return a.body if a.status == 200 else None


def test_a_gap_is_taken_with_what_comes_with_it(broker):
    # Broken if a newcomer does not get over what is gone, forgets the newest message of a topic
    # that lies in it, or shows what comes after it before what it may depend on.
    s, t = Stream(), Stream(origin="127.0.0.8:8")
    for _ in range(3):
        s.batch("gone")
    end, offer = s.next - 1, gap(s, {t.id: 1})
    after = s.batch("after")
    t1 = t.batch("first")
    with Peer(broker, ADDR).up() as link:
        tell(link, (s.id, end + 1, end))
        assert link.expect("PULL")["have"] == {}
        link.send(offer)
        link.say("LATEST", stream=s.id, seq=2, stamp=2, wall=now(),
                 message=message("newest", topic="peer/kept"))
        link.push({**after, "flags": 1})
        f = link.expect_head(s.id, end)
        # It is a floor, but it owes what lies below none: so it is not told.
        assert [h["floor"] for h in f["heads"] if h["stream"] == s.id] == [0]
        assert broker.sqlite(f"select floor from streams where stream = {s.id}") == [str(end)]
        assert newest(broker, "peer/kept") == b"newest"
        assert broker.poll("peer/topic")[0] == []  # `after` may depend on what t says
        link.push(t1)
        link.expect_head(s.id, end + 1)
        messages, _ = broker.poll("peer/topic")
        assert [m["body"] for m in messages] == ["first", "after"]


def test_a_floor_is_served_as_a_gap(cluster):
    # Broken if what is below our floor is passed over in silence, or is told before the floors
    # that tell its past.
    b = cluster.make(1, args=["--retention", "1s"])[0]
    ids = [b.publish(f"topic/{i % 2}", f"m{i}")["id"] for i in range(4)]
    stream = int(ids[0].split("-")[0], 16)
    harness.wait_for(lambda: b.sqlite("select floor from streams") == ["4"], 20, "expiry")
    with Peer(b, ADDR).up() as link:
        link.send(peer.encode("PULL", have={stream: 1}, credit=1 << 20))
        f = link.expect("GAP")
        told = [h for g in link.seen if g.name == "HEADS" for h in g["heads"]]
        assert {"stream": stream, "head": 4, "floor": 4} in told
        assert (f["stream"], f["from"], f["to"], f["deps"]) == (stream, 2, 4, {})
        latest = [link.expect("LATEST") for _ in range(2)]
        assert [(m["seq"], m["message"]["topic"], m["message"]["body"]) for m in latest] == [
            (3, b"topic/0", b"m2"), (4, b"topic/1", b"m3")]
        receipt = b.publish("topic/0", "next")
        pushed = link.expect("PUSH")
        assert (pushed["first"], receipt["id"].split("-")[1]) == (5, "5")


def test_a_newcomer_takes_thousands_of_gaps(cluster):
    # Broken if joining a cluster with a long past takes minutes, or a file of gigabytes.
    count = 3000
    a, b = cluster.make(2, start=False)
    a.start()
    streams = [Stream(origin=f"h{i}:9") for i in range(count)]
    with Peer(a).up() as p:
        for at in range(0, count, 500):
            p.push(*[s.batch(message("y", topic=b"p")) for s in streams[at:at + 500]])
            p.settle()
        harness.wait_for(lambda: len(a.vector()) == count, 60, "all of them on disk")
    a.stop()
    a.args = ["--retention", "1s"]
    a.start()
    gone = "select count(*) from streams where floor = head"
    harness.wait_for(lambda: a.sqlite(gone) == [str(count)], 30, "expiry")
    last = a.publish("t", "left")
    b.start()
    harness.wait_for(lambda: b.vector() == a.vector(), 30, "the newcomer")
    assert last["id"].split("-")[0] in b.vector()
    assert b.sqlite("select count(*) from messages where flags & 4") == [str(count)]
    # Not each gap names all the others: at most what was published last.
    assert int(b.sqlite("select max(length(deps)) from batches where flags & 4")[0]) <= 10
    assert newest(b, "p") == b"y"
