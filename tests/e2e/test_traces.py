"""What a broker says on standard error: docs/OPERATIONS.md, Traces."""

import json
import signal
import socket

import pytest

from cluster import free_ports, hearsay, wait_for
from peer import Peer, encode

FORGED = 'no", "level":"error"} \\ {"level":"error'


def lines(broker):
    """The whole ones, each with the members that it may have and no other."""
    text = broker.stderr()
    told = [json.loads(line) for line in text[:text.rfind("\n") + 1].splitlines()]
    for line in told:
        of = [name for name in ("conn", "request") if name in line]
        assert list(line) == ["time", "level", "module", *of, "text"], line
        assert all(isinstance(line[name], int) for name in of) and of != ["request"], line
        assert line["level"] in ("error", "warning", "info", "debug"), line
    return told


def refuse(broker):
    """A peer that gives up on us, with a text of its own."""
    with Peer(broker) as link:
        link.up()
        link.send(encode("REFUSE", reason=99, text=FORGED))
        link.until_closed()


def shout(broker, data):
    with socket.create_connection((broker.ip, broker.port), 10) as s:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        while s.recv(4096):
            pass


def test_lines_that_nobody_forges(cluster):
    # Broken if a byte from outside ends a line, or what a stranger says passes for our own words.
    [port] = free_ports(1)
    broker = cluster.add(port, args=["--trace", "debug", "--trace-format", "json"]).start()
    shout(broker, b"GET /topics/\x1b[2J\n{\"level\":\"error\"} HTTP/1.1\r\n\r\n")
    shout(broker, b'{"type":"publish","topic":"a\\nb","message":"\\n{}"}\n')
    shout(broker, b"\x00\xff\n{\"level\":\"error\"}\n")
    refuse(broker)
    wait_for(lambda: any(FORGED in line["text"] for line in lines(broker)), 10, "the refusal")
    [line] = [line for line in lines(broker) if FORGED in line["text"]]
    assert line["level"] == "warning" and line["module"] == "core" and line["conn"] > 0
    assert not [line for line in lines(broker) if line["level"] == "error"]
    assert "listening on" in lines(broker)[0]["text"]


def test_whose_request_it_was(cluster):
    # Broken if, of two clients at once, nobody can tell whose request was refused.
    [port] = free_ports(1)
    broker = cluster.add(port, args=["--trace", "debug", "--trace-format", "json"]).start()
    said = {}
    with socket.create_connection((broker.ip, port), 10) as one, \
            socket.create_connection((broker.ip, port), 10) as two:
        for s, data, until in ((one, b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", b"OK"),
                               (two, b'{"type":"nothing"}\n', b"\n"),
                               (one, b"GET /one HTTP/1.1\r\nHost: h\r\n\r\n", b"404"),
                               (two, b'{"type":"publish","topic":"x","message":"m","ack":true}\n'
                                     b'{"type":"publish","topic":"#","message":"m"}\n', b"error"),
                               (one, b"POST /topics/x HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n"
                                     b"\r\nxGET /topics/%23%23 HTTP/1.1\r\nHost: h\r\n\r\n", b"400")):
            s.sendall(data)
            said[s] = b""
            while until not in said[s]:
                said[s] += s.recv(4096)
    told = [(line["module"], line["conn"], line["request"], line["text"].split(":")[0])
            for line in lines(broker) if line.get("request")]
    first, second = [line["conn"] for line in lines(broker) if ": opened from" in line["text"]
                     and "peer" not in line["text"]][-2:]
    assert [line for line in told if line[1] in (first, second)] == [
        ("http", first, 1, "GET /healthz"),
        ("json", second, 1, "refused"),
        ("http", first, 2, "GET /one"), ("http", first, 2, "answered 404 not_found"),
        ("json", second, 3, "refused"),
        ("http", first, 3, "POST /topics/x"),
        ("http", first, 4, "GET /topics/%23%23"), ("http", first, 4, "answered 400 bad_filter"),
    ]


def break_link(broker, ip):
    """Each of another address: the same one is complained about once."""
    with Peer(broker, (ip, 9)) as link:
        link.up()
        link.send(b"\xff" * 64)
        link.until_closed()


def test_a_part_by_itself(cluster):
    # Broken if a part cannot be silenced, or its level needs a new start.
    [port] = free_ports(1)
    path = f"{cluster.folder}/conf"

    def configure(text):
        with open(path, "w") as f:
            f.write(text)

    configure("trace = core=error\n")
    broker = cluster.add(port, args=["--config", path]).start()
    break_link(broker, "127.0.0.8")
    configure("trace = core=warn\ntrace-format = json\n")
    broker.signal(signal.SIGHUP)
    wait_for(lambda: "options were read again" in broker.stderr(), 10, "the new level")
    assert "malformed" not in broker.stderr()
    break_link(broker, "127.0.0.9")
    wait_for(lambda: "malformed" in broker.stderr(), 10, "the line about the link")
    line = json.loads(broker.stderr().splitlines()[-1])
    assert line["module"] == "core" and line["level"] == "warning"


def test_a_stranger_fills_no_disk(cluster):
    # Broken if each connection that says nonsense is a line.
    [port] = free_ports(1)
    broker = cluster.add(port).start()
    for i in range(50):
        break_link(broker, "127.0.0.9")
        shout(broker, b"nonsense\r\n\r\n")
    assert broker.http("GET", "/readyz").status == 200
    assert len(broker.stderr().splitlines()) <= 5, broker.stderr()


@pytest.mark.parametrize("levels", ["stoer=debug", "loud"])
def test_a_level_that_is_none(tmp_path, levels):
    # Broken if a mistyped part leaves a broker silent.
    done = hearsay("broker", "--trace", levels, "--check-config", cwd=tmp_path)
    assert done.returncode == 2 and "info,store=debug" in done.stderr, done.stderr
