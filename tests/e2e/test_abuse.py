"""What an ill-meaning or unlucky client, operator or disk does to brokers that run.

If one of these failed, somebody who may only publish could end a broker or fill its memory,
or an accident with the disk would cost what was acknowledged."""

import json

from raw import Raw, request_bytes


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
