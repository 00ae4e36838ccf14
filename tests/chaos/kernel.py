"""kernel.py - what of the kernel the chaos needs, whether it is there, and a room of our own.

Everything happens behind one `unshare`: a network, the mounts and the processes of that room
go with its first process, however that ends, so nothing of ours can be left behind in the
machine's own network.  What does stay is a folder of files; its name says whose it was.
"""

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

PREFIX = "hearsay-chaos."
SKIPPED = 77  # the exit code of a run that could not be made
PROBE = """
set -e
ip link set lo up
ip link add br0 type bridge
unshare -n sleep 10 &
sleeper=$!
until [ "$(readlink /proc/$sleeper/ns/net)" != "$(readlink /proc/$$/ns/net)" ]; do :; done
ip link add v0 type veth peer name e0 netns $sleeper
ip link set v0 master br0
nsenter --net=/proc/$sleeper/ns/net ip link set e0 up
nft add table inet probe
nft add chain inet probe out '{ type filter hook output priority 0; }'
nft add rule inet probe out numgen random mod 100 '<' 5 counter drop
nft add table ip pnat
nft add chain ip pnat out '{ type nat hook output priority -100; }'
nft add rule ip pnat out ip daddr 10.77.0.9 tcp dport 3000 dnat to 10.77.1.9:3000
mount -t tmpfs -o size=1M none /mnt
mount -t tmpfs -o remount,size=2M none /mnt
tc qdisc add dev v0 root netem delay 1ms 2>/dev/null && echo netem || true
echo fine
"""


def unshare_command():
    """Root makes the room directly, others as root of a user namespace of their own."""
    room = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return room if os.geteuid() == 0 else room + ["--map-root-user"]


def missing():
    """Why the chaos cannot run here, or None."""
    for tool in ("unshare", "nsenter", "ip", "nft"):
        if not shutil.which(tool):
            return f"{tool} is not installed (util-linux, iproute2, nftables)"
    try:
        done = subprocess.run([*unshare_command(), "sh", "-c", PROBE], capture_output=True,
                              text=True, timeout=30, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as e:
        return str(e)
    if "fine" in done.stdout.split():
        return None
    said = (done.stderr.strip().splitlines() or ["no reason given"])[0]
    return f"network namespaces, veth, bridges, nftables or tmpfs cannot be had here: {said}"


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def sweep(parent):
    """Removes the folders of runs whose process is gone."""
    for name in os.listdir(parent):
        found = re.fullmatch(re.escape(PREFIX) + r"(\d+)\.\w+", name)
        if found and not is_running(int(found[1])):
            shutil.rmtree(os.path.join(parent, name), ignore_errors=True)


def die_with_parent():
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def enter(argv, parent):
    """Runs argv + [--inside FOLDER --lifeline FD] in a room of its own; its exit code.

    The lifeline is a pipe that only we hold: when we end, however, the first process of the
    room reads its end and ends too, and the kernel ends all others with it."""
    sweep(parent)
    folder = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}.", dir=parent)
    os.chmod(folder, 0o755)
    ours, theirs = os.pipe()  # theirs is read inside
    ours, theirs = theirs, ours
    inside = None

    def end(number, _frame):
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, end)
    try:
        inside = subprocess.Popen(
            [*unshare_command(), *argv, "--inside", folder, "--lifeline", str(theirs)],
            pass_fds=(theirs,), stdin=subprocess.DEVNULL, start_new_session=True,
            preexec_fn=die_with_parent)
        os.close(theirs)
        return inside.wait()
    finally:
        os.close(ours)
        if inside and inside.poll() is None:
            try:
                inside.wait(5)
            except subprocess.TimeoutExpired:
                inside.kill()
                inside.wait(10)
        shutil.rmtree(folder, ignore_errors=True)
        sys.stdout.flush()
