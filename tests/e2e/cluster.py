"""Real brokers for the end-to-end tests: processes, relays, clients.

Only the standard library.  Nothing here waits for a fixed time: wait_for() polls a
condition, sockets are read with timeouts.  BROKER_BIN names the binary under test.
"""

import fcntl
import http.client
import json
import os
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.parse

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.path.abspath(os.environ.get("BROKER_BIN", os.path.join(ROOT, "build", "hearsay")))
# The sanitized binary is several times slower: limits on time are for the plain one.
SLOW = "asan" in BIN or "tsan" in BIN
SANITIZER = re.compile(
    r"(ERROR|WARNING|SUMMARY): \w+Sanitizer|runtime error:|CHECK failed|Assertion", re.I
)


def clean_env(extra=None):
    """Without HEARSAY_*: each of those is an option of the broker."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("HEARSAY_")}
    env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
    env.update(extra or {})
    return env


def install(*where):
    """`make install`, one at a time: it builds in the tree, and hearsay.pc for each prefix."""
    with open(os.path.join(ROOT, "build", "install.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(["make", "-s", "install", *where], cwd=ROOT, env=clean_env(),
                              capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr


def pause(seconds):
    """The gap between two looks at a condition."""
    select.select([], [], [], seconds)


def wait_for(condition, timeout=10.0, what="the condition"):
    """Polls until condition() is true and returns what it returned."""
    end = time.monotonic() + timeout * (3 if SLOW else 1)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout} s in vain for {what}")
        pause(0.02)


# ---- ports -----------------------------------------------------------------

def my_ports():
    """Of the range E2E_PORTS the part that is this worker's (pytest -n)."""
    low, high = (int(p) for p in os.environ.get("E2E_PORTS", "24000-25999").split("-"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    each = (high - low + 1) // workers
    return low + worker * each, low + (worker + 1) * each - 1


_low, _high = my_ports()
_next = random.randrange(_low, _high)


def port_is_free(port):
    for ip in ("127.0.0.1", "127.0.0.2"):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind((ip, port))
            except OSError:
                return False
    return True


def free_ports(count):
    """Rising, so that the last broker of a cluster has the highest address."""
    global _next
    found = []
    for _ in range(_high - _low + 1):
        _next = _next + 1 if _next < _high else _low
        if port_is_free(_next):
            found.append(_next)
            if len(found) == count:
                return sorted(found)
    raise AssertionError(f"no {count} free ports between {_low} and {_high}")


# ---- HTTP ------------------------------------------------------------------


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


class Http:
    """A keep-alive connection."""

    def __init__(self, port, ip="127.0.0.1", timeout=30):
        self.conn = http.client.HTTPConnection(ip, port, timeout=timeout)

    def __call__(self, method, path, body=None, headers=None):
        self.conn.request(method, path, body=body, headers=headers or {})
        r = self.conn.getresponse()
        return Answer(r.status, r.headers, r.read())

    def close(self):
        self.conn.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def curl(*args, timeout=60):
    """curl as a user runs it; returns (exit code, stdout)."""
    done = subprocess.run(
        ["curl", "-sS", *args], capture_output=True, text=True, timeout=timeout, env=clean_env()
    )
    return done.returncode, done.stdout


# ---- a broker --------------------------------------------------------------


class Broker:
    """One broker process; the folder and the address outlive its restarts."""

    def __init__(self, folder, port, host="127.0.0.1", args=(), env=None, bind=None, rlimit=None):
        self.folder, self.port, self.host = str(folder), port, host
        self.args, self.env, self.bind, self.rlimit = list(args), env, bind, rlimit
        self.ip = bind or "127.0.0.1"
        self.data = os.path.join(self.folder, "hearsay-data", f"{host}-{port}")
        self.db = os.path.join(self.data, "broker.db")
        self.process = None
        self.log = os.path.join(self.folder, f"broker-{port}.err")

    def command(self):
        cmd = [BIN, "broker", "--host", self.host, "--port", str(self.port)]
        if self.bind:
            cmd += ["--bind", self.bind]
        return cmd + self.args

    def start(self, ready=True):
        assert self.process is None, "already started"
        limits = None
        if self.rlimit:
            import resource

            limits = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, self.rlimit)
        with open(self.log, "ab") as err:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env=clean_env(self.env),
                stdin=subprocess.DEVNULL,
                stdout=err,
                stderr=err,
                preexec_fn=limits,
            )
        if ready:
            self.wait_ready()
        return self

    def wait_ready(self, timeout=10):
        wait_for(self.is_ready, timeout, f"/readyz of {self.port}; it said:\n{self.stderr()}")

    def is_ready(self):
        if self.process.poll() is not None:
            raise AssertionError(
                f"broker {self.port} ended with {self.process.returncode}:\n{self.stderr()}"
            )
        try:
            return self.http("GET", "/readyz", timeout=2).status == 200
        except OSError:
            return False

    def stderr(self):
        try:
            with open(self.log, errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    @property
    def pid(self):
        return self.process.pid

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.process.wait(10)
        self.process = None

    def pause(self):
        self.signal(signal.SIGSTOP)

    def resume(self):
        self.signal(signal.SIGCONT)

    def stop(self, timeout=15):
        """SIGTERM, which drains; returns the exit code."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        try:
            code = self.process.wait(timeout * (3 if SLOW else 1))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
            raise AssertionError(f"broker {self.port} ignored SIGTERM:\n{self.stderr()[-4000:]}")
        finally:
            self.process = None
        return code

    def restart(self):
        assert self.stop() == 0, f"broker {self.port} ended badly:\n{self.stderr()[-4000:]}"
        return self.start()

    def resident_kib(self):
        with open(f"/proc/{self.pid}/status") as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read())[1])

    def cpu_seconds(self):
        with open(f"/proc/{self.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    # -- talking to it

    def url(self, path=""):
        return f"http://{self.ip}:{self.port}{path}"

    def http(self, method, path, body=None, headers=None, timeout=30):
        with Http(self.port, self.ip, timeout) as h:
            return h(method, path, body, headers)

    def metric(self, name, timeout=30):
        """Of /metrics, without hearsay_; 0 or more."""
        text = self.http("GET", "/metrics", timeout=timeout).body.decode()
        return int(re.search(rf"^hearsay_{name} (\d+)$", text, re.M)[1])

    def publish(self, topic, body, query="", headers=None, timeout=30):
        """Returns the receipt; raises when it was not acknowledged."""
        path = "/topics/" + urllib.parse.quote(topic, safe="/") + query
        a = self.http("POST", path, body.encode() if isinstance(body, str) else body,
                      headers, timeout)
        assert a.status == 201, f"publish at {self.port}: {a}"
        return a.json()

    def poll(self, topic_filter, cursor="earliest", wait=0, timeout=70, extra=""):
        """One long poll: (messages, cursor)."""
        path = "/topics/" + urllib.parse.quote(topic_filter, safe="/+")
        a = self.http("GET", f"{path}?cursor={cursor}&wait={wait}{extra}", timeout=timeout)
        if a.status == 204:
            return [], a.headers["Hearsay-Cursor"]
        assert a.status == 200, f"poll at {self.port}: {a}"
        page = a.json()
        assert not page.get("gaps"), f"a gap that nobody expected: {page['gaps']}"
        return page["messages"], page["cursor"]

    def read_all(self, topic_filter="%23"):
        """Everything this broker holds, by cursor."""
        got, cursor = [], "earliest"
        while True:
            a = self.http("GET", f"/topics?filter={topic_filter}&cursor={cursor}&wait=0")
            if a.status == 204:
                return got
            assert a.status == 200, a
            page = a.json()
            got += page["messages"]
            if not page["messages"]:
                return got
            cursor = page["cursor"]

    def told(self, cursor, limit=1000):
        """Ids of all that comes after the cursor, there or named as gone."""
        ids = set()
        while True:
            a = self.http("GET", f"/topics/%23?cursor={cursor}&limit={limit}&wait=0")
            if a.status == 204:
                return ids
            assert a.status == 200, a
            page = a.json()
            cursor = page["cursor"]
            ids |= {m["id"] for m in page["messages"]}
            for g in page["gaps"]:
                ids |= {f"{g['stream']}-{n}" for n in range(g["from"], g["to"] + 1)}

    def cluster(self):
        return self.http("GET", "/cluster").json()

    def coordinator(self):
        """host:port of whom this broker follows, or None."""
        try:
            leader = self.cluster()["coordinator"]
        except OSError:
            return None
        return leader and leader["address"]

    def vector(self):
        """stream -> highest durable seq."""
        return {h["stream"]: h["head"] for h in self.cluster()["heads"]}

    def cli(self, command, *args, timeout=30, stdin=None):
        return hearsay(command, "--host", self.host if not self.bind else self.bind,
                       "--port", str(self.port), *args, timeout=timeout, stdin=stdin,
                       cwd=self.folder)

    def sqlite(self, sql):
        """The sqlite3 command, beside the running broker."""
        done = subprocess.run(["sqlite3", "-readonly", "-cmd", ".timeout 5000", self.db, sql],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def subscribe(self, topic, cursor=None):
        return Subscriber(self, topic, cursor)


def hearsay(*args, timeout=30, stdin=None, cwd=None, env=None):
    """The command line, to its end."""
    return subprocess.run([BIN, *args], capture_output=True, text=True, input=stdin,
                          timeout=timeout * (3 if SLOW else 1), cwd=cwd, env=clean_env(env))


# ---- a cluster -------------------------------------------------------------


class Cluster:
    """Brokers in one folder, from one globalState.csv; each later behind a relay or not."""

    def __init__(self, folder):
        self.folder = str(folder)
        self.brokers, self.relays, self.closers = [], [], []

    def write_peers(self, ports, host="127.0.0.1"):
        with open(os.path.join(self.folder, "globalState.csv"), "w") as f:
            f.writelines(f"{host},{p}\n" for p in ports)

    def add(self, port, **options):
        b = Broker(self.folder, port, **options)
        self.brokers.append(b)
        return b

    def pair_on(self, shim):
        """Two linked brokers, the first on the disk of `shim`, which works again at the end."""
        self.closers.append(shim.work)
        ports = free_ports(2)
        self.write_peers(ports)
        a = self.add(ports[0], env=shim.env()).start()
        b = self.add(ports[1]).start()
        self.wait_linked()
        return self, shim, a, b

    def make(self, count, relays=False, host="127.0.0.1", start=True, **options):
        """`count` brokers with rising addresses.  With relays=True peers meet through a
        counting relay at the announced address, while clients go straight to --bind."""
        ports = free_ports(count)
        self.write_peers(ports, host)
        for p in ports:
            if relays:
                self.relays.append(Relay(p, "127.0.0.2"))
                options["bind"] = "127.0.0.2"
            self.add(p, host=host, **options)
        if start:
            for b in self.brokers:
                b.start(ready=False)
            for b in self.brokers:
                b.wait_ready()
        return self.brokers

    def wait_linked(self, timeout=15):
        """Every broker reaches every other."""
        n = len(self.brokers)
        wait_for(
            lambda: all(self.reachable(b) >= n for b in self.brokers), timeout, "all links"
        )

    @staticmethod
    def reachable(broker):
        return sum(m["reachable"] for m in broker.cluster()["members"])

    def wait_coordinator(self, who, brokers=None, timeout=20):
        want = f"127.0.0.1:{who.port}"
        wait_for(
            lambda: all(b.coordinator() == want for b in brokers or self.brokers),
            timeout,
            f"{want} to lead",
        )

    def wait_equal(self, timeout=20, brokers=None):
        """All vectors are equal; returns the vector."""
        brokers = brokers or self.brokers

        def equal():
            v = [b.vector() for b in brokers]
            return v[0] if all(x == v[0] for x in v) else None

        return wait_for(equal, timeout, "equal vectors")

    def close(self):
        """Ends all of it, by pid, and tells what went wrong in the brokers."""
        problems = []
        for c in self.closers:
            c()
        for b in self.brokers:
            if b.process is not None:
                try:
                    code = b.stop()
                    if code != 0:
                        problems.append(f"broker {b.port} ended with {code}")
                except AssertionError as e:
                    problems.append(str(e))
        for r in self.relays:
            r.close()
        for b in self.brokers:
            if SANITIZER.search(b.stderr()):
                problems.append(f"broker {b.port} reported:\n{b.stderr()[-8000:]}")
        return problems


# ---- a subscriber by JSON socket -------------------------------------------


class JsonSocket:
    """A raw JSON connection, read line by line."""

    def __init__(self, port, ip="127.0.0.1", timeout=10):
        self.sock = socket.create_connection((ip, port), timeout=timeout)
        self.rest = b""

    def send(self, *objects):
        self.sock.sendall(b"".join(json.dumps(o).encode() + b"\n" for o in objects))

    def read(self, timeout=10):
        """The next object; None at the end of the stream; TimeoutError."""
        end = time.monotonic() + timeout
        while b"\n" not in self.rest:
            self.sock.settimeout(max(0.001, end - time.monotonic()))
            more = self.sock.recv(65536)
            if not more:
                return None
            self.rest += more
        line, self.rest = self.rest.split(b"\n", 1)
        return json.loads(line)

    def is_silent(self):
        """Nothing has come that was not read."""
        return not self.rest and not select.select([self.sock], [], [], 0)[0]

    def close(self):
        self.sock.close()


class Subscriber:
    """Collects what a subscription delivers, in a thread."""

    def __init__(self, broker, topic, cursor=None):
        self.messages, self.cursor = [], cursor
        self.lock = threading.Lock()
        self.conn = JsonSocket(broker.port, broker.ip)
        request = {"type": "subscribe", "topic": topic, "lamport_timestamp": 1, "ack": True}
        if cursor:
            request["cursor"] = cursor
        self.conn.send(request)
        answer = self.conn.read(30)
        assert answer and answer["type"] == "subscribed", answer
        self.cursor = answer["cursor"]
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            while True:
                m = self.conn.read(3600)
                if m is None:
                    return
                with self.lock:
                    self.messages.append(m)
                    self.cursor = m.get("cursor", self.cursor)
        except OSError:
            return

    def bodies(self):
        with self.lock:
            return [m.get("message") for m in self.messages]

    def ids(self):
        with self.lock:
            return [m.get("id") for m in self.messages]

    def wait_count(self, count, timeout=10):
        wait_for(lambda: len(self.bodies()) >= count, timeout, f"{count} messages")

    def close(self):
        try:
            self.conn.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.thread.join(10)
        self.conn.close()


# ---- a relay that counts ---------------------------------------------------


class Relay:
    """Listens at 127.0.0.1:port and passes on to target:port, counting both ways.

    One thread for all connections.  cut() drops every connection and takes no new
    one until heal().  `goal` is where new ones go."""

    def __init__(self, port, target):
        self.port, self.goal = port, (target, port)
        self.bytes = 0
        self.is_cut = False
        self.pairs = {}  # socket -> the other end
        self.pending = {}  # socket -> bytes it still has to take
        self.wake, self.woken = socket.socketpair()
        self.closing = False
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen(64)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def cut(self):
        self.is_cut = True
        self.wake.send(b"x")

    def heal(self):
        self.is_cut = False

    def close(self):
        self.closing = True
        self.wake.send(b"x")
        self.thread.join(10)

    def _drop(self, sock):
        for s in (sock, self.pairs.get(sock)):
            if s is not None and s in self.pairs:
                del self.pairs[s]
                self.pending.pop(s, None)
                s.close()

    def _accept(self):
        near, _ = self.listener.accept()
        if self.is_cut:
            near.close()
            return
        try:
            far = socket.create_connection(self.goal, timeout=2)
        except OSError:
            near.close()
            return
        for a, b in ((near, far), (far, near)):
            a.setblocking(False)
            a.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.pairs[a] = b
            self.pending[a] = b""

    def _pump(self, sock):
        try:
            data = sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(sock)
            return
        self.bytes += len(data)
        other = self.pairs[sock]
        self.pending[other] += data
        self._flush(other)

    def _flush(self, sock):
        try:
            while self.pending[sock]:
                sent = sock.send(self.pending[sock])
                self.pending[sock] = self.pending[sock][sent:]
        except BlockingIOError:
            pass
        except OSError:
            self._drop(sock)

    def _run(self):
        while not self.closing:
            # Who cannot take more is not read from on the other side.
            readers = [s for s in self.pairs if len(self.pending[self.pairs[s]]) < 1 << 20]
            writers = [s for s in self.pairs if self.pending[s]]
            ready, writable, _ = select.select(
                [self.listener, self.woken, *readers], writers, [], 1
            )
            if self.woken in ready:
                self.woken.recv(100)
            if self.is_cut:
                for s in list(self.pairs):
                    self._drop(s)
            if self.listener in ready:
                self._accept()
            for s in writable:
                if s in self.pairs:
                    self._flush(s)
            for s in ready:
                if s in self.pairs:
                    self._pump(s)
        for s in list(self.pairs):
            self._drop(s)
        self.listener.close()
        self.wake.close()
        self.woken.close()


def copy_file(source, target):
    shutil.copyfile(source, target)
