"""Disks that are small, fail or lie: a tmpfs of a few MiB, and a library that is preloaded
into a broker and does to its files what a bad disk does.
"""

import contextlib
import ctypes
import functools
import inspect
import os
import subprocess
import sys
import tempfile

import pytest

from cluster import SLOW, clean_env, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
CLONE_NEWNS = 0x00020000
MS_REC, MS_PRIVATE = 0x4000, 1 << 18
libc = ctypes.CDLL(None, use_errno=True)
MiB = 1 << 20


# ---- small disks -----------------------------------------------------------


def cannot(why):
    """A test that cannot run: on a machine that tests for all (MUST=1), that is a failure."""
    if os.environ.get("MUST"):
        pytest.fail(why)
    pytest.skip(why)


def check(result, what):
    if result != 0:
        cannot(f"{what}: {os.strerror(ctypes.get_errno())}; run as root, or allow user namespaces")


_private = False


def mount_tmpfs(path, size):
    """In a mount namespace of this process, which goes with it."""
    global _private
    if not _private:
        check(libc.unshare(CLONE_NEWNS), "unshare(CLONE_NEWNS)")
        check(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "mount --make-rprivate /")
        _private = True
    os.makedirs(path, exist_ok=True)
    check(libc.mount(b"tmpfs", os.fsencode(path), b"tmpfs", 0, b"size=%d" % size), "mount tmpfs")


def unmount(path):
    MNT_DETACH = 2
    libc.umount2(os.fsencode(path), MNT_DETACH)


def runs_as_root(function):
    """Without root the test is run again, alone, as the root of a user namespace."""
    names = inspect.signature(function).parameters

    @functools.wraps(function)
    def test(request, **fixtures):
        if os.geteuid() == 0:
            return function(**fixtures)
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                ["unshare", "-Ur", sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
                 f"--basetemp={folder}/t", f"{request.node.path}::{request.node.name}"],
                capture_output=True, text=True, timeout=300)
        if done.returncode != 0 and "unshare:" in done.stderr:
            cannot(done.stderr.strip())
        assert done.returncode == 0, done.stdout + done.stderr
        if "passed" not in done.stdout:
            cannot(done.stdout)

    request = inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    test.__signature__ = inspect.Signature([request, *names.values()])
    return test


class SmallDisk:
    """A tmpfs of `size` bytes at `path`."""

    def __init__(self, path, size):
        self.path, self.size = path, size
        self.hog = os.path.join(path, "hog")
        mount_tmpfs(path, size)

    def free(self):
        v = os.statvfs(self.path)
        return v.f_bavail * v.f_frsize

    def eat(self, leave):
        """Another program's file takes all but `leave` bytes."""
        have = os.path.getsize(self.hog) if os.path.exists(self.hog) else 0
        with open(self.hog, "ab") as f:
            os.posix_fallocate(f.fileno(), have, max(1, self.free() - leave))

    def give_back(self):
        os.unlink(self.hog)

    def close(self):
        unmount(self.path)


# ---- disks that fail -------------------------------------------------------


class Shim:
    """While `fail(what)` holds the broker's files fail; see disk_shim.c for the words."""

    def __init__(self, folder):
        self.library = os.path.join(folder, "disk_shim.so")
        if not os.path.exists(self.library):
            subprocess.run(
                ["gcc", "-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Werror", "-fPIC",
                 "-shared", "-o", self.library, os.path.join(HERE, "disk_shim.c")], check=True)
        self.word = os.path.join(folder, f"disk_shim.{len(os.listdir(folder))}")

    def env(self):
        env = {"LD_PRELOAD": self.library, "DISK_SHIM": self.word}
        if SLOW:  # the sanitizer's own library is linked, and wants to be the first
            env["ASAN_OPTIONS"] = "verify_asan_link_order=0"
        return env

    def fail(self, what):
        with open(self.word + ".new", "w") as f:
            f.write(what)
        os.rename(self.word + ".new", self.word)

    def work(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.word)

    def wait_blocked(self):
        """A sync hangs, after fail("fsync-waits")."""
        wait_for(lambda: os.path.exists(self.word + ".waits"), 10, "a blocked fsync")


# ---- flipped bits ----------------------------------------------------------


def sqlite(db, sql, timeout=60):
    """The sqlite3 command, with the right to write: the broker must be down."""
    done = subprocess.run(["sqlite3", db, sql], capture_output=True, text=True,
                          timeout=timeout, env=clean_env())
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def flip(path, at, mask=0x10):
    """One bit, at an offset from the front."""
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ mask]))


def flip_in(path, text, mask=0x10, seen_by=None):
    """One bit of `text` where it stands in the file: that place where the answer to the query
    `seen_by` changes, since pages keep what was there before."""
    with open(path, "rb") as f:
        data = f.read()
    before = sqlite(path, seen_by) if seen_by else None
    at = data.find(text)
    while at >= 0:
        flip(path, at, mask)
        if not seen_by or sqlite(path, seen_by) != before:
            return at
        flip(path, at, mask)
        at = data.find(text, at + 1)
    raise AssertionError(f"{text!r} is not in {path}")
