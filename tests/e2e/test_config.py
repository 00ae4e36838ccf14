"""The options, as a file, and read again while clients are connected: docs/CONFIG.md."""

import http.client
import signal

import pytest

from cluster import free_ports, hearsay, wait_for
from raw import Stream


@pytest.fixture
def configured(cluster):
    port = free_ports(1)[0]
    path = f"{cluster.folder}/hearsay.conf"

    def write(text):
        with open(path, "w") as f:
            f.write(f"port = {port}\n{text}")

    write("retention = 1h\n")
    broker = cluster.add(port, args=["--config", path]).start()
    return broker, write


def said(broker, text):
    wait_for(lambda: text in broker.stderr(), 10, f"'{text}' in what the broker says")


def test_reading_the_options_again(configured):
    # Broken if SIGHUP drops a client, changes what it says it does not, or leaves out what it can.
    broker, write = configured
    stream = Stream(broker, "/topics/x", "text/event-stream")
    first = broker.publish("x", "one")
    stream.reads('"body":"one"')
    write('retention = 1s\ntrace = debug\ncluster = another\n[topic "live"]\nstore = no\n')
    broker.signal(signal.SIGHUP)
    said(broker, "takes a new start to change --cluster")
    # What is older than a second goes: the new bound holds at once, not at the next start.
    wait_for(lambda: broker.http("GET", "/topics/x?cursor=earliest&wait=0").status == 204 or
             not any(m["id"] == first["id"] for m in broker.read_all("x")), 15, "the message to go")
    assert not is_stored(broker, "live")
    broker.publish("x", "two")
    stream.reads('"body":"two"')
    assert broker.cluster()["cluster"] == "hearsay"


def is_stored(broker, topic):
    return broker.http("POST", f"/topics/{topic}", b"?").json().get("stored", True)


def again(broker, write, text):
    before = broker.stderr().count("the options were read again")
    write(text)
    broker.signal(signal.SIGHUP)
    wait_for(lambda: broker.stderr().count("the options were read again") > before, 10,
             "the options to be read")


def test_topics_are_stored_or_not_from_now_on(configured):
    # Broken if what was stored is lost with a rule, or a rule that went still holds.
    broker, write = configured
    receipt = broker.publish("ticks", "stored")
    again(broker, write, '[topic "ticks"]\nstore = no\n')
    assert not is_stored(broker, "ticks")
    again(broker, write, "")
    last = broker.publish("ticks", "stored again")
    assert [m["id"] for m in broker.read_all("ticks")] == [receipt["id"], last["id"]]


def test_the_reserve_of_the_disk_moves(configured):
    # Broken if room that an operator makes, by a smaller reserve, takes a new start.
    broker, write = configured
    again(broker, write, "disk-reserve = 16000G\n")
    wait_for(lambda: broker.http("POST", "/topics/x", b"x").status == 507, 10, "a full disk")
    again(broker, write, "disk-reserve = 1M\n")
    wait_for(lambda: broker.http("POST", "/topics/x", b"y").status == 201, 10, "room")


def test_peers_come_and_go(configured):
    # Broken if a place that nobody names any more is looked for, for ever, or takes the room of
    # those that are named; or if a mistyped name is silent.
    broker, write = configured
    for i in range(6):
        again(broker, write, "".join(f"join = 127.0.0.1:{1000 + 10 * i + k}\n" for k in range(10)))
    assert "places to look for peers" not in broker.stderr()
    again(broker, write, "join = nobody.invalid:1\n")
    said(broker, "no address for the peer nobody.invalid")
    again(broker, write, "join = nobody.invalid:1\n")
    assert broker.stderr().count("no address for the peer") == 1


PAGE = "https://page.example"


def allowed(answer):
    return answer.headers.get("Access-Control-Allow-Origin")


def test_pages_are_allowed_and_forbidden(configured):
    # Broken if a page has to wait for a new start, or keeps what was taken from it: also with the
    # answer that it waits for.
    broker, write = configured
    of_page = {"Origin": PAGE}
    assert broker.http("GET", "/topics/x?wait=0", headers=of_page).status == 403
    again(broker, write, f"cors = {PAGE}\n")
    first = broker.http("GET", "/topics/x?wait=0", headers=of_page)
    assert first.status == 204 and allowed(first) == PAGE
    for config, origin in ((f"cors = https://other.example\ncors = {PAGE}\n", PAGE), ("", None)):
        conn = http.client.HTTPConnection(broker.ip, broker.port, timeout=20)
        subscriptions = broker.metric("subscriptions")
        conn.request("GET", "/topics/x?wait=20", headers=of_page)
        wait_for(lambda: broker.metric("subscriptions") > subscriptions, 10, "the long poll")
        again(broker, write, config)
        broker.publish("x", "one")
        answer = conn.getresponse()
        assert answer.status == 200 and b'"one"' in answer.read()
        assert allowed(answer) == origin
        conn.close()
    assert broker.http("GET", "/topics/x?wait=0", headers=of_page).status == 403


def test_a_faulty_file_changes_nothing(configured):
    # Broken if a typing error takes a running broker down, or half of the file takes effect.
    broker, write = configured
    stream = Stream(broker, "/topics/x", "text/event-stream")
    receipt = broker.publish("x", "one")
    write("retention = 1s\nretention-byte = 5\n")
    broker.signal(signal.SIGHUP)
    said(broker, "hearsay.conf', line 3: unknown option 'retention-byte'; did you mean "
                 "retention-bytes?")
    said(broker, "the options stay as they are")
    stream.reads('"body":"one"')
    write("retention = 1h\n")
    broker.signal(signal.SIGHUP)
    said(broker, "the options were read again")
    assert [m["id"] for m in broker.read_all("x")] == [receipt["id"]]


@pytest.mark.parametrize("line, told", [
    ("prot = 1", "line 2: unknown option 'prot'; did you mean port?"),
    ("causal-wait = 1ms", "line 2: causal-wait: it must be from 100ms to 24h"),
    ("tail-bytes = much", "line 2: tail-bytes: a size is a number of bytes"),
    ("[brokers]", "section"),
    ("nothing", "line 2: write name = value"),
])
def test_what_is_wrong_is_named(tmp_path, line, told):
    # Broken if an operator has to search for the faulty line, or a faulty file starts a broker.
    path = tmp_path / "hearsay.conf"
    path.write_text(f"host = localhost\n{line}\ntrace = info\n")
    for check in (["--check-config"], []):
        done = hearsay("broker", *check, "--config", str(path), cwd=tmp_path)
        assert done.returncode == 1, done
        assert str(path) in done.stderr and told in done.stderr, done.stderr
    assert not (tmp_path / "hearsay-data").exists()
