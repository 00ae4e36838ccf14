"""Web pages: those that the option `cors` lists may use a broker, no other may."""

import json

import pytest

from cluster import hearsay
from raw import Raw, publish, request, request_bytes

PAGE = "https://page.example"
LISTED = [PAGE, "http://other.example:8080"]


@pytest.fixture
def broker(cluster):
    return cluster.make(1, args=["--cors", ", ".join(LISTED), "--cors", "http://third.example"])[0]


def names(headers, name):
    return {x.strip() for x in headers[name].lower().split(",")}


@pytest.mark.parametrize("page", [*LISTED, "http://third.example"])
def test_a_listed_page_may_read_and_write(broker, page):
    # Broken if a page that the operator allowed could not read its answer, or the cursor in it.
    origin = [("Origin", page)]
    status, headers, _ = request(broker, "POST", "/topics/t", "x", origin)
    assert status == 201 and headers["access-control-allow-origin"] == page
    for target in ("/topics/t?cursor=earliest&wait=0", "/topics/t?wait=0", "/latest/t", "/latest/none",
                   "/topics", "/cluster", "/nothing", "/topics/t?cursor=x"):
        _, headers, _ = request(broker, "GET", target, headers=origin)
        assert headers["access-control-allow-origin"] == page, target
        assert headers["vary"] == "Origin", target
        assert {"hearsay-cursor", "hearsay-id", "etag", "*"} <= names(
            headers, "access-control-expose-headers"), target
        assert "access-control-allow-credentials" not in headers


def test_what_a_browser_asks_before(broker):
    # Broken if a page could post text, but not JSON, metadata or a cursor.
    ask = [("Access-Control-Request-Method", "POST"),
           ("Access-Control-Request-Headers", "content-type,hearsay-after,hearsay-meta-x")]
    for target in ("/topics/t", "/topics", "/latest/t", "/cluster/localhost:1"):
        status, headers, body = request(broker, "OPTIONS", target, headers=[("Origin", PAGE)] + ask)
        assert (status, body, headers["access-control-allow-origin"]) == (204, b"", PAGE), target
        assert {"get", "post", "delete"} <= names(headers, "access-control-allow-methods")
        assert {"content-type", "hearsay-after", "hearsay-lamport", "last-event-id", "*"} <= names(
            headers, "access-control-allow-headers")
        assert headers["vary"] == "Origin" and int(headers["access-control-max-age"]) > 0
        status, headers, _ = request(broker, "OPTIONS", target, headers=[("Origin", PAGE + ".evil")] + ask)
        assert status == 403 and "access-control-allow-origin" not in headers
    # Without an Origin, or from its own page, it is a method like any other.
    assert request(broker, "OPTIONS", "/topics/t", headers=ask)[0] == 405
    assert request(broker, "OPTIONS", "/nothing", headers=[("Origin", PAGE)])[0] == 404


@pytest.mark.parametrize("page", ["http://page.example", PAGE + ":444", PAGE + ".", "https://evil.page.example",
                                  "https://Page.example", PAGE + "/", ", ".join(LISTED), "null", "*", ""])
def test_no_other_page_may(broker, page):
    # Broken if a page that is like a listed one were taken for it.
    for method, target, body in (("GET", "/topics/t?wait=0", None), ("POST", "/topics/t", "x"),
                                 ("GET", "/latest/t", None), ("DELETE", "/cluster/127.0.0.1:1", None)):
        status, headers, text = request(broker, method, target, body, [("Origin", page)])
        assert (status, json.loads(text)["code"]) == (403, "foreign_origin")
        assert "access-control-allow-origin" not in headers and headers["vary"] == "Origin"
    assert request(broker, "GET", "/latest/t")[0] == 404, "nothing was stored"


def test_streams_of_a_listed_page(broker):
    # Broken if an EventSource of a listed page were refused by the browser, or lines of it by us.
    publish(broker, "t", "1")
    with Raw(broker) as raw:
        raw.send(request_bytes(broker, "GET", "/topics/t?cursor=earliest", headers=[
            ("Origin", PAGE), ("Accept", "text/event-stream")]))
        _, headers, _ = raw.answer()
        assert headers["access-control-allow-origin"] == PAGE and headers["vary"] == "Origin"
        assert headers["content-type"] == "text/event-stream"
    with Raw(broker) as raw:
        raw.send(request_bytes(broker, "POST", "/topics/t", "2\n", [
            ("Origin", PAGE), ("Content-Type", "application/x-ndjson"), ("Connection", "close")]))
        status, headers, _ = raw.answer()
        assert (status, headers["access-control-allow-origin"]) == (200, PAGE)
        assert b'"id"' in raw.rest()
    with Raw(broker) as raw:
        raw.send(request_bytes(broker, "GET", "/topics/t", headers=[
            ("Origin", "http://evil.example"), ("Accept", "text/event-stream")]))
        assert raw.answer()[0] == 403


@pytest.mark.parametrize("value, says", [
    ("*", "name each page"), ("null", "https://x.org"), ("x.org", "https://x.org"),
    ("https://x.org/", "no path"), ("https://x.org/app", "no path"), ("https://x.org:443", "leave out"),
    ("https://x.org:0", "1 to 65535"), ("https://*.x.org", "name"), ("https://X.org", "lower case"),
    ("https://fine.example,ftp", "https://x.org"),
])
def test_nonsense_is_refused_at_the_start(tmp_path, value, says):
    # Broken if an operator learned from a browser's console that an option has no effect.
    for run in (hearsay("broker", "--cors", value, cwd=tmp_path),
                hearsay("broker", "--check-config", cwd=tmp_path, env={"HEARSAY_CORS": value})):
        assert run.returncode == 2 and "cors" in run.stderr.lower() and says in run.stderr, run
        assert len(run.stderr.splitlines()) == 1


def test_a_page_may_read_why_its_request_was_broken_off(broker):
    # Broken if a browser hides a refusal whose request could not be read to its end.
    for head, status in ((b"Content-Type: application/x-ndjson\r\nContent-Length: 2\r\n", 400),
                         (b"Content-Length: 99999999\r\n", 413)):
        with Raw(broker) as raw:
            raw.send(b"POST /topics/%23 HTTP/1.1\r\nHost: x\r\nOrigin: " + PAGE.encode() + b"\r\n"
                     + head + b"\r\n")
            code, headers, _ = raw.answer()
            assert code == status and headers["access-control-allow-origin"] == PAGE
            assert headers["connection"] == "close"
