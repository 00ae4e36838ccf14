"""The options, as a file, and read again while clients are connected: docs/CONFIG.md."""

import http.client
import signal

import pytest

from cluster import free_ports, hearsay, wait_for


class Stream:
    """Server-Sent Events of one topic, that must not end."""

    def __init__(self, broker, topic):
        self.conn = http.client.HTTPConnection(broker.ip, broker.port, timeout=20)
        self.conn.request("GET", f"/topics/{topic}", headers={"Accept": "text/event-stream"})
        self.answer = self.conn.getresponse()
        assert self.answer.status == 200

    def reads(self, text):
        while True:
            line = self.answer.readline().decode()
            assert line, "the stream has ended"
            if text in line:
                return


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
    stream = Stream(broker, "x")
    first = broker.publish("x", "one")
    stream.reads('"body":"one"')
    write('retention = 1s\ntrace = debug\ncluster = another\n[topic "live"]\nstore = no\n')
    broker.signal(signal.SIGHUP)
    said(broker, "takes a new start to change --cluster, [topic] sections")
    # What is older than a second goes: the new bound holds at once, not at the next start.
    wait_for(lambda: broker.http("GET", "/topics/x?cursor=earliest&wait=0").status == 204 or
             not any(m["id"] == first["id"] for m in broker.read_all("x")), 15, "the message to go")
    assert broker.publish("live", "still on disk").get("stored", True)
    broker.publish("x", "two")
    stream.reads('"body":"two"')
    assert broker.cluster()["cluster"] == "hearsay"


def test_a_faulty_file_changes_nothing(configured):
    # Broken if a typing error takes a running broker down, or half of the file takes effect.
    broker, write = configured
    stream = Stream(broker, "x")
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
