"""libhearsay as others get it: `make install`, pkg-config, a compiler, a broker."""

import os
import re
import subprocess

import pytest

from cluster import ROOT, SLOW, clean_env, install, wait_for

pytestmark = pytest.mark.skipif(SLOW, reason="what is installed is the plain build")

CXX = r"""
#include <hearsay.h>
#include <cstdio>
#include <cstring>
#include <string>

int main(int argc, char **argv)
{
    if (argc != 2 || std::string(HEARSAY_VERSION) != hearsay_version())
        return 100;
    struct hearsay *h = hearsay_open(argv[1]);
    const char *filter[] = {"cxx/#"};
    struct hearsay_subscribe s = {};
    struct hearsay_publish p = {};
    struct hearsay_message m;
    struct hearsay_receipt r;
    s.filter = filter;
    s.filter_count = 1;
    p.topic = "cxx/x";
    p.body = "from C++";
    p.body_bytes = std::strlen("from C++");
    enum hearsay_status status = hearsay_subscribe(h, &s);
    if (status == HEARSAY_OK)
        status = hearsay_publish(h, &p, &r);
    if (status == HEARSAY_OK)
        status = hearsay_next(h, 10000, &m);
    if (status == HEARSAY_OK && std::string(m.id) == r.id)
        std::printf("%s\n", static_cast<const char *>(m.body));
    else
        std::fprintf(stderr, "%s\n", hearsay_text(h));
    hearsay_close(h);
    return status;
}
"""


def run(*command, env=None, cwd=ROOT, timeout=240):
    done = subprocess.run(command, cwd=cwd, env=env or clean_env(), capture_output=True, text=True,
                          timeout=timeout)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


class Place:
    """Where it was installed, and the compilers' way there."""

    def __init__(self, folder):
        self.folder = str(folder)
        self.prefix = os.path.join(self.folder, "usr")
        self.lib = os.path.join(self.prefix, "lib")
        install(f"prefix={self.prefix}")
        self.env = clean_env({"PKG_CONFIG_PATH": os.path.join(self.lib, "pkgconfig"),
                              "LD_LIBRARY_PATH": self.lib})

    def flags(self, *what):
        return run("pkg-config", *what, "hearsay", env=self.env).split()

    def build(self, compiler, source, name, static=False):
        out = os.path.join(self.folder, name)
        libs = self.flags("--libs", *(["--static"] if static else []))
        if static:  # a folder that has both is searched for the shared one first
            libs = [os.path.join(self.lib, "libhearsay.a") if f == "-lhearsay" else f for f in libs]
        run(*compiler, "-Wall", "-Wextra", "-Werror", "-pedantic", *self.flags("--cflags"), source,
            "-o", out, *libs, cwd=self.folder)
        return out


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("installed"))


def test_what_is_installed(place, tmp_path):
    # Broken if DESTDIR or prefix do not lead, if a file is missing or left behind.
    found = sorted(os.path.relpath(os.path.join(top, f), place.prefix)
                   for top, _, files in os.walk(place.prefix) for f in files)
    version = run(os.path.join(place.prefix, "bin", "hearsay"), "--version").split()[1]
    abi = ".".join(version.split(".")[:2]) if version.startswith("0.") else version.split(".")[0]
    assert found == sorted(["bin/hearsay", "include/hearsay.h", "lib/libhearsay.a",
                            "lib/libhearsay.so", f"lib/libhearsay.so.{abi}",
                            f"lib/libhearsay.so.{version}", "lib/pkgconfig/hearsay.pc"])
    assert place.flags("--modversion") == [version]
    install(f"DESTDIR={tmp_path}/root", "prefix=/opt/h")
    assert os.path.exists(f"{tmp_path}/root/opt/h/include/hearsay.h")
    with open(f"{tmp_path}/root/opt/h/lib/pkgconfig/hearsay.pc") as f:
        assert "prefix=/opt/h\n" in f.read()
    run("make", "-s", "uninstall", f"DESTDIR={tmp_path}/root", "prefix=/opt/h")
    assert not [f for _, _, files in os.walk(f"{tmp_path}/root") for f in files]


def symbols(*command):
    return {line.split()[-1] for line in run(*command).splitlines() if line.strip()}


def test_the_names_it_shows(place):
    # Broken if a name is shown that is not promised, or one that is promised is not.
    with open(os.path.join(ROOT, "include", "hearsay.symbols")) as f:
        promised = f.read().split()
    assert promised == sorted(promised)
    with open(os.path.join(ROOT, "include", "hearsay.h")) as f:
        declared = set(re.findall(r"^[a-z].*?\b(hearsay_\w+)\(", f.read(), re.M))
    assert set(promised) == declared
    so, a = (os.path.join(place.lib, f"libhearsay.{x}") for x in ("so", "a"))
    assert symbols("nm", "-D", "--defined-only", so) == set(promised)
    assert {s for s in symbols("nm", "-g", "--defined-only", a) if ":" not in s} == set(promised)


def test_a_guest_in_the_process(place):
    # Broken if it could end the process or touch its signals, or keeps anything that two
    # handles would share.
    a = os.path.join(place.lib, "libhearsay.a")
    asks = symbols("nm", "-u", a)
    assert not asks & {"exit", "_exit", "quick_exit", "signal", "sigaction", "raise", "setlocale"}
    kept = re.findall(r"^\S+ +\S+ +O (\.(?:data|bss|tbss|tdata)(?!\.rel\.ro)\S*)\s+\S+ (\S+)$",
                      run("objdump", "-t", a), re.M)
    assert not kept, f"writable data: {kept}"


@pytest.mark.parametrize("static", [False, True], ids=["shared", "static"])
def test_a_program_in_c(place, broker, static):
    # Broken if the header is not C99, or the library lacks something that it needs.
    at = f"127.0.0.1:{broker.port}"
    publish = place.build(["cc", "-std=c99"], os.path.join(ROOT, "examples", "publish.c"),
                          f"publish-{static}", static)
    said = run(publish, at, "stocks", "Stock update", env=place.env)
    assert re.fullmatch(rf"[0-9a-f]{{16}}-1 at {re.escape(at)}, on 1 disk\n", said)
    assert [m["body"] for m in broker.read_all()] == ["Stock update"]
    linked = run("ldd", publish, env=place.env)
    assert ("libhearsay" in linked) != static


@pytest.mark.parametrize("static", [False, True], ids=["shared", "static"])
def test_a_program_in_cxx(place, broker, static):
    # Broken if the header is not C++, or its names are mangled.
    source = os.path.join(place.folder, "program.cpp")
    with open(source, "w") as f:
        f.write(CXX)
    program = place.build(["c++", "-std=c++11"], source, f"cxx-{static}", static)
    assert run(program, f"127.0.0.1:{broker.port}", env=place.env) == "from C++\n"


def test_following_with_a_kept_cursor(place, three, tmp_path):
    # Broken if a message is lost or repeated between two runs, at two brokers.
    follow = place.build(["cc", "-std=c99"], os.path.join(ROOT, "examples", "follow.c"), "follow")
    cursor = tmp_path / "cursor"

    def follows(broker, want):
        process = subprocess.Popen(
            [follow, f"127.0.0.1:{broker.port}", "stocks/#", str(cursor)], env=place.env,
            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            got = [process.stdout.readline() for _ in want]
            wait_for(lambda: covers(broker), 10, "the cursor in its file")
        finally:
            process.terminate()
            rest, said = process.communicate(timeout=10)
        assert got == want and not rest, (got, rest, said)

    def covers(broker):
        kept = cursor.read_text().strip() if cursor.exists() else ""
        return bool(kept) and broker.poll("stocks/#", cursor=kept)[0] == []

    a, b, _ = three.brokers
    a.publish("stocks/x", "one")
    three.wait_equal()
    follows(a, ["stocks/x one\n"])
    b.publish("stocks/y", "two")
    a.publish("bonds/x", "not for us")
    three.wait_equal()
    follows(b, ["stocks/y two\n"])
