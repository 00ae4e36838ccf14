"""A broker that cannot start says in one line what to do, and changes nothing."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile

import pytest

from cluster import BIN, clean_env, curl, free_ports, hearsay, wait_for


def start(folder, *args, port=None):
    """Runs a broker that is expected to end by itself: (exit code, stderr)."""
    port = port or free_ports(1)[0]
    done = hearsay("broker", "--host", "127.0.0.1", "--port", str(port), *args,
                   cwd=folder, timeout=15)
    assert "Sanitizer" not in done.stderr, done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "line, reason",
    [
        ("localhost", "port"),
        ("localhost,", "port"),
        ("localhost,abc", "port"),
        ("localhost,0", "port"),
        ("localhost,99999", "port"),
        (",3000", "host"),
        ("localhost,3000,7", ""),
        ("a" * 300 + ",3000", "host"),
        ("local\x01host,3000", ""),
    ],
)
def test_malformed_peers_line(tmp_path, line, reason):
    # Broken if an operator has to search for the faulty line.
    (tmp_path / "globalState.csv").write_text(f"host,port\n# ours\nlocalhost,24000\n{line}\n")
    code, err = start(tmp_path)
    assert code == 1, err
    assert "globalState.csv" in err and "4" in err and reason in err, err
    assert not (tmp_path / "hearsay-data").exists()


def test_peers_file_with_header_blanks_and_comments(cluster):
    # Broken if the friendly parts of the format are taken for errors.
    port = free_ports(1)[0]
    with open(os.path.join(cluster.folder, "globalState.csv"), "w") as f:
        f.write(f"host,port\r\n\r\n# a comment\r\n  127.0.0.1 , {port} \r\n")
    b = cluster.add(port).start()
    assert len(b.cluster()["members"]) == 1


def test_too_few_files(tmp_path):
    # Broken if a broker starts that can hardly serve anybody, or ends without saying why.
    port = free_ports(1)[0]
    done = subprocess.run(["bash", "-c", f"ulimit -n 40; exec {BIN} broker --port {port}"],
                          cwd=tmp_path, env=clean_env(), capture_output=True, text=True, timeout=15)
    assert done.returncode == 1, done
    assert "may have 40 files" in done.stderr and "ulimit -n" in done.stderr, done.stderr
    assert os.listdir(tmp_path) == []


def test_clients_that_take_every_connection_are_told_of(cluster):
    # Broken if an operator does not learn why nobody else gets in; or reads it for each of them.
    b = cluster.make(1, rlimit=(64, 64))[0]
    socks = [socket.create_connection((b.host, b.port)) for _ in range(60)]
    wait_for(lambda: "the limit: others are closed" in b.stderr(), 10, "the line")
    for s in socks:
        s.close()
    wait_for(lambda: curl(b.url("/healthz"), "-m", "2")[0] == 0, 10, "room again")
    assert b.stderr().count("the limit: others are closed") == 1, b.stderr()


def test_named_peers_file_that_is_missing(tmp_path):
    # Broken if a mistyped --peers starts a lonely broker in silence.
    code, err = start(tmp_path, "--peers", "nowhere.csv")
    assert code == 1 and "nowhere.csv" in err, err


def test_port_in_use(tmp_path):
    # Broken if a second broker at a port starts deaf, or does not name the port.
    port = free_ports(1)[0]
    with socket.socket() as s:
        s.bind(("127.0.0.1", port))
        s.listen()
        code, err = start(tmp_path, port=port)
    assert code == 1 and str(port) in err and "use" in err, err


def test_data_folder_held_by_another_broker(cluster):
    # Broken if two processes can write one broker.db.
    b = cluster.make(1)[0]
    b.publish("x", "kept")
    code, err = start(cluster.folder, "--data", b.data)
    assert code == 1 and b.data in err, err
    assert [m["body"] for m in b.read_all()] == ["kept"]


def test_the_lock_of_a_killed_broker_is_free(cluster):
    # Broken if kill -9 leaves a lock behind.
    b = cluster.make(1)[0]
    b.publish("x", "kept")
    b.kill()
    b.start()
    assert [m["body"] for m in b.read_all()] == ["kept"]


def test_unknown_option(tmp_path):
    # Broken if a typing error is ignored.
    code, err = start(tmp_path, "--prot", "1")
    assert code == 2 and "--prot" in err and "help" in err, err


@pytest.mark.parametrize("port", ["0", "70000", "-1", "x", ""])
def test_bad_port(tmp_path, port):
    # Broken if a port that cannot be is cut down to one that can.
    done = hearsay("broker", "--port", port, cwd=tmp_path)
    assert done.returncode == 2 and "port" in done.stderr, done


def test_unwritable_folder(tmp_path):
    # Broken if a broker without a disk starts, or hides which folder it wanted.
    (tmp_path / "file").write_text("in the way")
    data = str(tmp_path / "file" / "data")
    code, err = start(tmp_path, "--data", data)
    assert code == 1 and data in err, err
    assert (tmp_path / "file").read_text() == "in the way"


def test_folder_without_permission():
    # Broken if a permission problem is reported as something else.  Root may write
    # everywhere, so it becomes nobody here, with a binary that nobody may read.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        binary = shutil.copy(BIN, folder)
        data = os.path.join(folder, "locked", "data")
        os.mkdir(os.path.dirname(data), mode=0o500)
        done = subprocess.run(
            [binary, "broker", "--host", "127.0.0.1", "--port", str(free_ports(1)[0]),
             "--data", data],
            cwd=folder, env=clean_env(), capture_output=True, text=True, timeout=60,
            user=65534 if os.getuid() == 0 else None)
    assert done.returncode == 1, done.stderr
    assert data in done.stderr and "ermission" in done.stderr, done.stderr


def test_data_file_of_a_newer_schema(cluster):
    # Broken if an older binary writes into a file that it does not understand.
    b = cluster.make(1)[0]
    b.publish("x", "kept")
    assert b.stop() == 0
    raise_schema_version(b.db)
    before = dump(b.db)
    code, err = start(cluster.folder, "--data", b.data, port=b.port)
    assert code == 1 and "newer" in err and "broker.db" in err, err
    assert dump(b.db) == before


def sqlite(db, sql):
    done = subprocess.run(["sqlite3", db, sql], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def raise_schema_version(db):
    sqlite(db, "pragma user_version = 999")


def dump(db):
    return sqlite(db, ".dump")


def test_file_of_another_cluster(cluster):
    # Broken if a broker of one cluster serves another one's messages.
    b = cluster.make(1)[0]
    b.publish("x", "kept")
    assert b.stop() == 0
    code, err = start(cluster.folder, "--data", b.data, "--cluster", "other", port=b.port)
    assert code == 1 and "cluster" in err, err


def test_check_config_starts_nothing(tmp_path):
    # Broken if --check-config makes files or listens.
    code, err = start(tmp_path, "--check-config")
    assert code == 0, err
    assert not (tmp_path / "hearsay-data").exists()


def test_environment_and_file_give_options_too(cluster):
    # Broken if the three sources of an option do not rank flag, environment, file.
    port, other, third = free_ports(3)
    config = os.path.join(cluster.folder, "hearsay.ini")
    with open(config, "w") as f:
        f.write(f"port = {third}\nhost = 127.0.0.1\ncluster = named\n")
    done = subprocess.Popen(
        [BIN, "broker", "--config", config, "--port", str(port)],
        cwd=cluster.folder, env=clean_env({"HEARSAY_PORT": str(other)}),
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        b = cluster.add(port)
        b.process = done
        wait_for(b.is_ready, 10, "/readyz")
        assert b.cluster()["cluster"] == "named"
    finally:
        done.send_signal(signal.SIGTERM)
        _, err = done.communicate(timeout=30)
        b.process = None
    assert done.returncode == 0, err


def test_sigterm_says_goodbye(cluster):
    # Broken if an orderly stop looks like a failure, or loses what was acknowledged.
    a, b = cluster.make(2)
    cluster.wait_linked()
    a.publish("x", "last words")
    assert a.stop() == 0
    wait_for(lambda: [m["body"] for m in b.read_all()] == ["last words"], 5, "the last words")


def test_soft_limit_of_descriptors_is_raised(cluster):
    # Broken if a login shell's 1024 limits a broker that may have more.
    b = cluster.make(1, rlimit=(64, 512))[0]
    with open(f"/proc/{b.pid}/limits") as f:
        line = next(x for x in f if x.startswith("Max open files"))
    assert line.split()[3:5] == ["512", "512"]
