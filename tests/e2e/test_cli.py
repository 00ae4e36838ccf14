"""The command line: places kept in files, exit codes, progress."""

import fcntl
import json
import os
import random
import re
import select
import signal
import subprocess
import time

import pytest

from client import Client, Feeder, broker_list
from cluster import BIN, clean_env, free_ports, hearsay, wait_for
from cursors import Cursor, strange
from disk import Shim, SmallDisk, flip_in, runs_as_root
from peer import Peer, Stream, message

PAGE = 1000  # messages: what a kill -9 may print again


def text(count, start=0):
    return "".join(f"line {i}\n" for i in range(start, start + count))


def publish(broker, lines, *args, topic="x"):
    done = broker.cli("publish", "--topic", topic, "--lines", "--quiet", *args, stdin=lines,
                      timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def read_on(broker, file, *args, topic="x", timeout=30):
    return broker.cli("subscribe", "--topic", topic, "--cursor-file", str(file), "--quiet", *args,
                      timeout=timeout)


# ---- a cursor file ---------------------------------------------------------


def test_a_cursor_file_goes_on_at_any_broker(three, tmp_path):
    # Broken if a run skips or repeats what lies between it and the one before.
    a, b, c = three.brokers
    file = tmp_path / "cursor"
    publish(a, text(30), "--acks", "all")
    done = read_on(a, file, "--from", "earliest", "--count", "10")
    assert (done.returncode, done.stdout) == (0, text(10))
    assert os.stat(file).st_mode & 0o777 == 0o600
    publish(b, text(30, 30), "--acks", "all")
    done = read_on(b, file, "--from", "earliest", "--count", "35")
    assert (done.returncode, done.stdout) == (0, text(35, 10))
    # The place is in the file, whatever --from says; the end of the log is a place too.
    done = read_on(c, file, "--from", "latest", "--timeout", "300ms")
    assert (done.returncode, done.stdout) == (124, text(15, 45))
    publish(a, "other\n", topic="y")
    publish(a, text(1, 60), "--acks", "all")
    done = read_on(c, file, "--count", "1")
    assert done.stdout == text(1, 60)


def test_a_cursor_file_of_a_quiet_topic_moves(broker, tmp_path):
    # Broken if a run on a quiet topic scans the whole log again at each start.
    file = tmp_path / "cursor"
    publish(broker, text(50), topic="busy")
    assert read_on(broker, file, "--timeout", "100ms", topic="quiet").returncode == 124
    first = file.read_text()
    publish(broker, text(50), topic="busy")
    assert read_on(broker, file, "--timeout", "100ms", topic="quiet").returncode == 124
    assert file.read_text() != first


def read_some(broker, file, bytes, how):
    """Reads so much through a narrow pipe, kills the reader, and reads the rest; a line that
    was torn does not count."""
    near, far = os.pipe()
    fcntl.fcntl(near, fcntl.F_SETPIPE_SZ, 4096)
    p = subprocess.Popen([BIN, "subscribe", "--broker", broker_list(broker), "--topic", "x",
                          "--from", "earliest", "--cursor-file", str(file), "--quiet"],
                         stdout=far, env=clean_env())
    os.close(far)
    out = b""
    while len(out) < bytes and select.select([near], [], [], 0.2)[0]:
        out += os.read(near, bytes - len(out))
    p.send_signal(how)
    with os.fdopen(near, "rb") as rest:
        out += rest.read()
    assert p.wait(10) == -how
    return [int(line.split()[1]) for line in out.decode().split("\n")[:-1]]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_reader_is_killed_again_and_again(three, tmp_path, how):
    # Broken if a kill loses the place; or if Ctrl-C, or a kill -9, prints more again than is
    # promised: nothing, and a page.
    rng = random.Random(how)
    file = tmp_path / "cursor"
    want, done, runs, most = 15000, 0, 0, 0
    publish(three.brokers[0], text(want))
    three.wait_equal()
    while done < want:
        new = read_some(rng.choice(three.brokers), file, rng.randrange(20000), how)
        runs += 1
        if new:
            assert new == list(range(new[0], new[0] + len(new)))
            assert new[0] <= done, "lines are lost"
            most = max(most, done - new[0])
            done = new[-1] + 1
    assert runs > 5
    assert most == 0 if how == signal.SIGINT else 0 < most <= PAGE


def test_two_runs_with_one_file(broker, tmp_path):
    # Broken if two runs move one place, each skipping what the other has read.
    file = tmp_path / "cursor"
    reader = Client("subscribe", "--broker", broker_list(broker), "--topic", "x",
                    "--cursor-file", str(file))
    reader.wait_err("subscribed to")
    for i in range(3):
        publish(broker, f"{i}\n")
        reader.wait_lines(i + 1)
        done = read_on(broker, file)
        assert done.returncode == 1
        assert done.stderr == (f"hearsay subscribe: {file} is in use by another hearsay "
                               "subscribe; give each its own file\n")
    reader.kill(signal.SIGTERM)
    publish(broker, "3\n")
    assert read_on(broker, file, "--count", "1").stdout == "3\n"


def test_files_that_are_no_cursors(cluster, tmp_path):
    # Broken if a wrong file is overwritten, or a wrong place begun at, or nobody is told what
    # to do.
    ours, theirs = cluster.add(*free_ports(1)), cluster.add(*free_ports(1), args=["--cluster", "b"])
    ours.start()
    theirs.start()
    file = tmp_path / "cursor"
    publish(ours, text(3))
    file.write_text("precious\ndata\n")
    done = read_on(ours, file)
    assert done.returncode == 1 and "is not a cursor" in done.stderr and "remove" in done.stderr
    assert file.read_text() == "precious\ndata\n"

    file.unlink()
    assert read_on(theirs, file, "--timeout", "1ms").returncode == 124
    before = file.read_text()
    done = read_on(ours, file)
    assert done.returncode == 5
    assert "another cluster" in done.stderr and "remove the file" in done.stderr
    assert file.read_text() == before

    for damage in (before[:-2], before[:5] + ("A" if before[5] != "A" else "B") + before[6:]):
        file.write_text(damage)
        done = read_on(theirs, file)
        assert done.returncode == 5 and str(file) in done.stderr
        assert file.read_text() == damage
    # What mktemp(1) makes is no cursor yet.
    file.write_text("")
    done = read_on(ours, file, "--from", "earliest", "--count", "3")
    assert (done.returncode, done.stdout) == (0, text(3)), done.stderr
    os.mkfifo(tmp_path / "fifo")
    for wrong in (tmp_path / "fifo", tmp_path):
        done = read_on(ours, wrong)
        assert done.returncode == 1 and str(wrong) in done.stderr, done.stderr


@runs_as_root
def test_a_disk_without_room_for_the_cursor(broker, tmp_path):
    # Broken if messages are printed whose place cannot be kept, time and again; or if a full
    # disk takes the place that was there.
    disk = SmallDisk(str(tmp_path / "small"), 1 << 20)
    try:
        file = os.path.join(disk.path, "cursor")
        publish(broker, text(10))
        assert read_on(broker, file, "--from", "earliest", "--count", "4").stdout == text(4)
        disk.eat(0)
        done = read_on(broker, file, "--count", "3")
        assert done.returncode == 1
        assert f"cannot write the cursor to {file}: No space left on device" in done.stderr
        disk.give_back()
        done = read_on(broker, file, "--count", "6")
        assert (done.returncode, done.stdout) == (0, text(6, 4)), done.stderr
    finally:
        disk.close()


@runs_as_root
def test_a_folder_that_cannot_be_written(broker, tmp_path):
    # Broken if that shows only behind the first messages.
    publish(broker, text(3))
    folder = tmp_path / "theirs"
    folder.mkdir()
    file = folder / "cursor"
    for existing in (False, True):
        if existing:
            file.write_text("")
            os.chmod(file, 0o666)
        os.chmod(folder, 0o555)
        os.chmod(tmp_path, 0o755)
        done = subprocess.run(
            ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", BIN, "subscribe", "--port",
             str(broker.port), "--host", "127.0.0.1", "--topic", "x", "--from", "earliest",
             "--cursor-file", str(file)], capture_output=True, text=True, timeout=30)
        os.chmod(folder, 0o755)
        assert (done.returncode, done.stdout) == (1, ""), done
        assert str(file) in done.stderr and "Permission denied" in done.stderr


# ---- places without a file -------------------------------------------------


def test_where_to_begin(broker):
    # Broken if --from means something else than its help says.
    first = broker.publish("x", "line 0")["cursor"]
    publish(broker, text(4, 1))
    for place, want in (("earliest", text(5)), (first, text(4, 1)), ("10m", text(5)),
                        ("1ms", ""), ("latest", "")):
        done = broker.cli("subscribe", "--topic", "x", "--from", place, "--timeout", "200ms")
        assert (done.returncode, done.stdout) == (124, want), place
    reader = Client("subscribe", "--broker", broker_list(broker), "--topic", "x", "--count", "1")
    reader.wait_err("subscribed to")
    publish(broker, "new\n")
    assert reader.end() == 0 and reader.lines() == ["new"]


def test_count_and_json(broker):
    # Broken if --count prints more or fewer, or --json something else than the broker says.
    for i in range(3):
        broker.publish("a/b", f"{i}\n", headers={"Content-Type": "x/y", "Hearsay-Meta-k": "v"})
    done = broker.cli("subscribe", "--topic", "a/+", "--from", "earliest", "--count", "2", "--json")
    want, _ = broker.poll("a/b")
    assert done.returncode == 0
    assert [json.loads(line) for line in done.stdout.splitlines()] == want[:2]
    done = broker.cli("subscribe", "--topic", "a/+", "--from", "earliest", "--count", "3")
    assert done.stdout == "a/b 0\na/b 1\na/b 2\n"
    assert done.stderr == f"subscribed to a/+ at 127.0.0.1:{broker.port}\n"


# ---- gaps ------------------------------------------------------------------


def test_gaps_are_named(cluster, tmp_path):
    # Broken if what retention took is passed over in silence, ends a run, or is named twice.
    b = cluster.make(1, args=["--retention", "1s"])[0]
    start = b.publish("x", "seen")["cursor"]
    file = tmp_path / "cursor"
    file.write_text(start)
    publish(b, text(3), topic="y")
    last = b.publish("x", "late")["id"]
    stream, seq = last.split("-")
    wait_for(lambda: b.sqlite(f"select floor from streams where stream = {int(stream, 16)}")
             == [seq], 20, "retention")
    b.publish("x", "new")
    gap = {"stream": stream, "origin": f"127.0.0.1:{b.port}", "from": 2, "to": 5}
    says = (f"hearsay subscribe: gap: 4 messages of 127.0.0.1:{b.port} were removed by retention "
            "before they could be read\n")
    done = b.cli("subscribe", "--topic", "x", "--from", start, "--count", "1", "--json")
    assert done.returncode == 0
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[0] == {"gap": gap} and [m["body"] for m in lines[1:]] == ["new"]
    assert done.stderr.endswith(says)

    done = read_on(b, file, "--count", "1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "new\n", says)
    done = read_on(b, file, "--timeout", "200ms")
    assert (done.returncode, done.stdout) == (124, "")
    assert "gap" not in done.stderr


def test_a_gap_is_printed_where_it_is(broker):
    # Broken if a gap is named before the messages of its stream that come before it.
    ids = [broker.publish("x", f"the message {i}")["id"] for i in range(6)]
    assert broker.stop() == 0
    for i in (2, 5):
        flip_in(broker.db, b"the message %d" % i, seen_by="select hex(body) from messages")
    broker.start()
    lines = broker.cli("subscribe", "--topic", "x", "--from", "earliest", "--count", "5", "--json",
                       "--timeout", "1s").stdout.splitlines()
    told = [json.loads(line) for line in lines]
    assert [t.get("id") for t in told] == [*ids[:2], None, *ids[3:5], None]
    for line, seq in ((told[2], 3), (told[5], 6)):
        assert line == {"gap": {"stream": ids[0].split("-")[0], "from": seq, "to": seq,
                                "origin": f"127.0.0.1:{broker.port}"}}
    page = broker.http("GET", "/topics/x?cursor=earliest&wait=0").json()
    assert [g["at"] for g in page["gaps"]] == [2, 4]


def test_late_messages_say_so(cluster):
    # Broken if --json hides that a message came before something it may depend on.
    b = cluster.make(1, args=["--causal-wait", "1s"])[0]
    stream = Stream()
    with Peer(b) as p:
        p.up()
        p.push(stream.batch(message("early", topic=b"x"), deps={Stream().id: 7}))
        done = b.cli("subscribe", "--topic", "x", "--from", "earliest", "--count", "1", "--json")
    assert done.returncode == 0
    m = json.loads(done.stdout)
    assert (m["body"], m["late"]) == ("early", True)


# ---- exit codes ------------------------------------------------------------


def test_exit_codes(broker):
    # Broken if a script cannot tell what went wrong.
    dead = free_ports(1)[0]
    here = ["--broker", broker_list(broker)]
    there = ["--broker", broker_list(dead)]
    for want, command in (
        (0, ["publish", *here, "--topic", "x", "y"]),
        (0, ["publish", *here, "--topic", "x", "--lines"]),
        (0, ["subscribe", *here, "--topic", "x", "--from", "earliest", "--count", "1"]),
        (0, ["status", *here]),
        (0, ["topics", *here]),
        (1, ["subscribe", *here, "--topic", "x", "--cursor-file", "/nowhere/c"]),
        (2, ["publish", *here]),
        (2, ["publish", "--broker", "a:b", "--topic", "x", "y"]),
        (2, ["subscribe", *here, "--topic", "x", "--count", "many"]),
        (3, ["publish", *there, "--topic", "x", "y"]),
        (3, ["publish", *there, "--topic", "x", "--lines"]),
        (3, ["subscribe", *there, "--topic", "x", "--timeout", "200ms"]),
        (3, ["status", *there]),
        (3, ["topics", *there]),
        (3, ["forget", *there, "127.0.0.1:1"]),
        (5, ["publish", *here, "--topic", "x/+", "y"]),
        (5, ["publish", *here, "--topic", "x/+", "--lines"]),
        (5, ["subscribe", *here, "--topic", "x/#/y"]),
        (5, ["subscribe", *here, "--topic", "x", "--from", "yesterday"]),
        (5, ["forget", *here, "127.0.0.1:1"]),
        (124, ["publish", *here, "--topic", "x", "--acks", "2", "--timeout", "100ms", "y"]),
        (124, ["publish", *here, "--topic", "x", "--acks", "2", "--timeout", "100ms", "--lines"]),
        (124, ["subscribe", *here, "--topic", "x", "--timeout", "100ms"]),
    ):
        done = hearsay(*command, stdin="y\nz\n")
        assert done.returncode == want, (command, done)
        assert (done.stderr != "") == (want != 0) or command[0] in ("publish", "subscribe")


def test_an_outcome_that_is_unknown(cluster):
    # Broken if who published is not told under which ids to look, or is told that all is well.
    shim = Shim(cluster.folder)
    b = cluster.add(*free_ports(1), env=shim.env()).start()
    publish(b, "before\n")
    shim.fail("wal-eio")
    done = b.cli("publish", "--topic", "x", "--lines", "--timeout", "2s", stdin="one\ntwo\n")
    ids = re.findall(r"line (\d): outcome unknown, it would have the id (\w{16}-\d+): ",
                     done.stderr)
    assert done.returncode == 1 and [n for n, _ in ids] == ["1", "2"], done.stderr
    assert "0 published, 0 failed, 2 of unknown outcome\n" in done.stderr
    done = b.cli("publish", "--topic", "x", "three", "--timeout", "2s")
    assert done.returncode in (1, 5), done
    shim.work()
    wait_for(lambda: b.cli("publish", "--topic", "x", "after").returncode == 0, 20, "a good disk")
    assert [m["body"] for m in b.read_all()] == ["before", "after"]


# ---- progress --------------------------------------------------------------


def shown(client, pattern):
    """What stood on the terminal's line, time after time."""
    return [re.fullmatch(pattern, line) for line in re.split(r"[\r\n]", client.err)
            if line.strip() and not line.startswith(("subscribed", "hearsay"))]


def test_progress_of_lines(broker):
    # Broken if nobody sees how far a long run is; or if files fill up with it.
    pattern = r"(\d+) lines acknowledged, (\d+) on their way, (\d+) lines/s *"
    seen = Client("publish", "--broker", broker_list(broker), "--topic", "x", "--lines", tty=True,
                  stdin=subprocess.PIPE)
    feeder = Feeder(seen)
    wait_for(lambda: seen.err.count("on their way") >= 3, 20, "progress")
    count = feeder.end()
    assert seen.end() == 0
    end = f"{count} published, 0 failed"
    assert seen.err.replace("\r\n", "\n").endswith(f"\r{end}\n")
    steps = [m for m in shown(seen, pattern) if m]
    assert len(steps) >= 3
    acked = [int(m[1]) for m in steps]
    assert acked == sorted(acked) and 0 < acked[-1] <= count
    assert all(0 <= int(m[2]) <= 64 and int(m[3]) > 0 for m in steps)
    assert max(len(line) for line in re.split(r"[\r\n]", seen.err)) < 80

    for tty, quiet, want in ((False, [], "{} published, 0 failed\n"), (True, ["--quiet"], "")):
        run = Client("publish", "--broker", broker_list(broker), "--topic", "x", "--lines", *quiet,
                     tty=tty, stdin=subprocess.PIPE)
        feeder = Feeder(run)
        wait_for(lambda: feeder.count > count, 30, "a long run")
        sent = feeder.end()
        assert run.end() == 0
        assert run.err == want.format(sent)


def test_progress_of_a_count(broker):
    # Broken if nobody sees how far --count is; or if it stands between messages.
    args = ["subscribe", "--broker", broker_list(broker), "--topic", "x"]
    for tty, extra in ((True, []), (False, []), (True, ["--quiet"])):
        place = broker.publish("y", "before")["cursor"]
        run = Client(*args, "--from", place, "--count", "3", *extra, tty=tty)
        for i in range(2):
            broker.publish("x", f"{i}")
            run.wait_lines(i + 1)
            start = time.monotonic()
            wait_for(lambda: time.monotonic() - start > 0.3)
        broker.publish("x", "2")
        assert run.end() == 0
        steps = [m for m in shown(run, r"(\d) messages, (\d) to come, \d+ messages/s *") if m]
        assert [m[1] for m in steps] == (["2", "3"] if tty and not extra else [])
        assert run.lines() == ["0", "1", "2"]
        assert run.err == "" if extra else run.err.startswith("subscribed to x")


# ---- status ----------------------------------------------------------------


def test_status_of_oneself(three):
    # Broken if a broker seems to have lost the link to itself.
    done = three.brokers[0].cli("status")
    assert done.returncode == 0
    head, *rows = [line.split() for line in done.stdout.split("\n\n")[1].splitlines()]
    linked = {row[0]: row[head.index("LINKED")] for row in rows}
    own, *others = [f"127.0.0.1:{b.port}" for b in three.brokers]
    assert linked == {own: "-", **{o: "yes" for o in others}}


# ---- thousands of streams --------------------------------------------------


def test_a_cursor_of_5000_streams(three, tmp_path):
    # Broken if who has seen thousands of streams can read, or publish, no more; or forgets some.
    a, b, c = three.brokers
    file = tmp_path / "cursor"
    place = Cursor(a.publish("x", "first")["cursor"])
    place.marks.update(strange(5000))
    file.write_text(place.text())
    for i, broker in enumerate((a, b, c, a)):
        publish(broker, f"{i}\n", "--acks", "all")
        assert read_on(c if i % 2 else b, file, "--count", "1").stdout == f"{i}\n"
    assert strange(5000).items() <= Cursor(file.read_text().strip()).marks.items()
    assert read_on(a, file, "--timeout", "200ms").returncode == 124


def test_publishing_among_5000_streams(cluster):
    # Broken if receipts of 75 KiB stop a pipeline, or what was seen is too long to be told to
    # the next broker.
    a, b = cluster.make(2)
    cluster.wait_linked()
    streams = [Stream(origin=f"h{i}:9") for i in range(5000)]
    with Peer(a) as p:
        p.up()
        for at in range(0, 5000, 500):
            p.push(*[s.batch(message("y", topic=b"p")) for s in streams[at:at + 500]])
            p.settle()
        wait_for(lambda: len(a.vector()) == 5000, 60, "all of them on disk")
    cluster.wait_equal(60)
    writer = Client("publish", "--broker", broker_list(a, b), "--topic", "x", "--lines", "--json",
                    stdin=subprocess.PIPE)
    write = lambda line: (writer.process.stdin.write(line), writer.process.stdin.flush())
    write(b"question\n" * 200)
    writer.wait_lines(200)
    cluster.wait_equal()
    a.kill()
    write(b"answer\n")
    writer.wait_lines(201)
    writer.process.stdin.close()
    assert writer.end() == 0, writer.err
    receipt = json.loads(writer.lines()[-1])
    assert receipt["origin"] == f"127.0.0.1:{b.port}" and receipt["causal"] is True
    assert len(Cursor(receipt["cursor"]).marks) >= 5000


# ---- standard streams that are closed ---------------------------------------


def closed(command, **kwargs):
    """The command by a shell, which closes what it is told to."""
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30,
                          env=clean_env(), **kwargs)


def test_nothing_is_lost_to_a_closed_output(broker, tmp_path):
    # Broken if what cannot be printed is taken for printed, or goes into the next socket.
    publish(broker, text(3))
    read = (f"{BIN} subscribe --host {broker.ip} --port {broker.port} --topic x --count 3 --quiet"
            f" --from earliest --cursor-file {tmp_path}/cursor")
    done = closed(read + " >&-")
    assert done.returncode == 1 and "cannot write to standard output" in done.stderr
    assert closed(read).stdout == text(3)
    for command in (f"{BIN} status --host {broker.ip} --port {broker.port}", f"{BIN} --help",
                    f"{BIN} publish --host {broker.ip} --port {broker.port} --topic y --json z"):
        assert closed(command + " >&-").returncode == 1, command


@pytest.mark.parametrize("redirect", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_broker_without_standard_streams(cluster, tmp_path, redirect):
    # Broken if its sockets or pipes take their place: the end aborted, and traces went into them.
    port = free_ports(1)[0]
    run = subprocess.Popen(
        ["sh", "-c", f"exec {BIN} broker --host 127.0.0.1 --port {port} --data {tmp_path}/d {redirect}"],
        env=clean_env(), cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: hearsay("publish", "--host", "127.0.0.1", "--port", str(port), "--topic", "t",
                                 "x").returncode == 0, 10, "the broker")
        for fd in range(3):
            assert not re.search("socket|pipe|anon", os.readlink(f"/proc/{run.pid}/fd/{fd}"))
        run.terminate()
        assert run.wait(15) == 0
    finally:
        run.kill()
        run.wait()
