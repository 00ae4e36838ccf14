"""What a newcomer does first, literally."""

import os
import signal
import subprocess

from client import Client
from cluster import curl, free_ports, hearsay, wait_for


def test_the_walk_through(cluster):
    # Broken if the first page of the README does not work as it is written.
    low, high = free_ports(2)
    cluster.write_peers([low, high], host="localhost")
    first = cluster.add(low, host="localhost").start(ready=False)
    second = cluster.add(high, host="localhost").start(ready=False)
    first.wait_ready()
    second.wait_ready()

    subscriber = Client("subscribe", "--host", "localhost", "--port", str(high), "--topic", "stocks")
    cluster.closers.append(lambda: subscriber.kill(signal.SIGTERM))
    # The third terminal says nothing of its own accord, so publish until it hears.
    published = []

    def arrives():
        done = hearsay("publish", "--host", "localhost", "--port", str(low), "--topic", "stocks",
                       "Stock update", cwd=cluster.folder)
        assert done.returncode == 0, done.stderr
        published.append(1)
        return any("Stock update" in line for line in subscriber.lines())

    wait_for(arrives, 10, "the message in the third terminal")

    def leads(broker):
        status = broker.cli("status")
        return status.returncode == 0 and f"{high}" in coordinator_line(status.stdout)

    # The higher address, within 8 s of the start.
    for broker in (first, second):
        wait_for(lambda: leads(broker), 8, "the higher address to lead")
        status = broker.cli("status").stdout
        assert str(low) in status and str(high) in status, status
        for word in ("coordinator", "epoch", "lamport", "stocks"):
            assert word in status.lower(), f"no {word} in:\n{status}"

    wait_for(lambda: len(first.read_all()) == len(second.read_all()) == len(published), 10,
             "every publish at both, once")


def coordinator_line(status):
    return next((x for x in status.splitlines() if "coordinator" in x.lower()), "")


def test_a_publish_is_heard_at_once(three):
    # Broken if delivery waits for a tick of gossip instead of following the push.
    subscriber = three.brokers[1].subscribe("stocks")
    done = three.brokers[0].cli("publish", "--topic", "stocks", "Stock update")
    assert done.returncode == 0, done.stderr
    subscriber.wait_count(1, timeout=1)
    assert subscriber.bodies() == ["Stock update"]
    subscriber.close()


def test_two_brokers_in_one_folder_share_no_file(cluster):
    # Broken if the default data folder does not depend on host and port.
    a, b = cluster.make(2)
    a.publish("x", "one")

    def files(broker):
        found = set()
        for fd in os.listdir(f"/proc/{broker.pid}/fd"):
            try:
                target = os.readlink(f"/proc/{broker.pid}/fd/{fd}")
            except FileNotFoundError:
                continue
            if target.startswith(cluster.folder) and not target.endswith(".err"):
                found.add(target)
        return found

    assert files(a) and files(b)
    assert not files(a) & files(b)
    assert os.path.exists(a.db) and os.path.exists(b.db)
    assert os.stat(a.db).st_mode & 0o777 == 0o640
    assert os.stat(a.data).st_mode & 0o777 == 0o750


def test_curl_alone_is_enough(three):
    # Broken if a plain curl needs a header or an escape to publish and read.
    a, b, _ = three.brokers
    code, out = curl(a.url("/topics/stocks/nyse"), "-d", "up")
    assert code == 0 and '"id"' in out, out

    def read():
        code, out = curl(b.url("/topics/stocks/nyse?cursor=earliest&wait=5"))
        return code == 0 and '"body":"up"' in out.replace(" ", "")

    wait_for(read, 5, "the message at the other broker")
    code, out = curl(b.url("/topics"))
    assert code == 0 and "stocks/nyse" in out


def test_nc_alone_is_enough(three):
    # Broken if one object and a closed socket do not make a publish, or if a subscriber
    # needs more than one line to be served.
    a, b, _ = three.brokers
    line = '{"type":"subscribe","topic":"stocks/#","lamport_timestamp":1,"ack":true}\n'
    nc = subprocess.Popen(["nc", b.ip, str(b.port)], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True)
    try:
        nc.stdin.write(line)
        nc.stdin.flush()
        assert '"subscribed"' in nc.stdout.readline()
        subprocess.run(
            ["nc", "-N", a.ip, str(a.port)], timeout=20, text=True, capture_output=True,
            input='{"type":"publish","topic":"stocks/x","message":"up","lamport_timestamp":1}',
        )
        assert '"message":"up"' in nc.stdout.readline().replace(" ", "")
    finally:
        nc.kill()
        nc.communicate()


def test_publish_by_lines_and_read_by_count(three):
    # Broken if --lines loses, joins or reorders what comes on standard input.
    a, b, _ = three.brokers
    text = "".join(f"line {i}\n" for i in range(200))
    done = a.cli("publish", "--topic", "lines", "--lines", stdin=text)
    assert done.returncode == 0, done.stderr
    done = b.cli("subscribe", "--topic", "lines", "--from", "earliest", "--count", "200")
    assert done.returncode == 0, done.stderr
    assert done.stdout == text
    topics = b.cli("topics")
    assert topics.returncode == 0 and "lines" in topics.stdout and "200" in topics.stdout


def test_a_broker_that_knows_only_join(cluster):
    # Broken if members come by the peers file alone.
    ports = free_ports(2)
    first = cluster.add(ports[0]).start()
    second = cluster.add(ports[1], args=["--join", f"127.0.0.1:{ports[0]}"]).start()
    cluster.wait_linked()
    receipt = second.publish("x", "hello", "?acks=all&timeout=20s")
    assert receipt["copies"] == 2
    assert [m["body"] for m in first.read_all()] == ["hello"]


def test_forget_removes_a_member(cluster):
    # Broken if `acks=all` waits for ever for a broker that an operator took away.
    brokers = cluster.make(3)
    cluster.wait_linked()
    gone = brokers.pop()
    assert gone.stop() == 0
    done = brokers[0].cli("forget", f"127.0.0.1:{gone.port}")
    assert done.returncode == 0, done.stderr
    wait_for(lambda: all(len(b.cluster()["members"]) == 2 for b in brokers), 10,
             "two members everywhere")
    assert brokers[1].publish("x", "y", "?acks=all&timeout=20s")["copies"] == 2


def test_help_everywhere(tmp_path):
    # Broken if somebody who asks for help gets an error.
    for command in ("broker", "publish", "subscribe", "status", "topics", "forget"):
        done = hearsay(command, "--help", cwd=tmp_path)
        assert done.returncode == 0 and "--host" in done.stdout, (command, done)
    assert hearsay("--help", cwd=tmp_path).returncode == 0
    assert hearsay("nonsense", cwd=tmp_path).returncode == 2
