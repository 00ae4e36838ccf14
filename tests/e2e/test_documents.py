"""Each command that a document shows is run as it stands there.

A block of code whose first line begins with a command is run, line by line, by bash, in a
folder of the document's own, with ports of the test's in place of 3000 to 3002.  Three
brokers run there already, unless the first command of a document starts one.  What a
reader does besides is said in comments that a rendered page does not show, before a block.
In a block that begins with `$ ` each such line is a command, and what follows is what it says:
numbers, ids and times may be others, and dots stand for anything.

    <!-- test: file NAME -->          the block is what the file holds
    <!-- test: stop 3000 -->          that broker is ended with SIGTERM; `kill`: with SIGKILL
    <!-- test: in the tree -->        it is run in the source tree, as what is tested stands there
    <!-- test: elsewhere PATH -->     the test at PATH runs the block
    <!-- test: not run: REASON -->    nothing runs it
"""

import glob
import os
import re
import signal
import subprocess
import tempfile
import textwrap

import pytest

from cluster import BIN, ROOT, Http, clean_env, free_ports, wait_for

COMMAND = re.compile(
    r"\(?(curl|hearsay|nc|sqlite3|echo|printf|for|kill|cp|mv|rm|mkdir|cd|make|git|ls|grep|tail|cc|sudo"
    r"|\./run|\./test|tools/\S+|[A-Z_]+=\S+ (hearsay|make|\./\S+))(\s|$)")
DIRECTIVE = re.compile(r"<!-- test: (file|stop|kill|in|elsewhere|not run:) (.*?) -->$")
# These go on until somebody ends them: a message has to come out of each.
STAYS = re.compile(r"hearsay subscribe (?!.*--count)|curl -N|wait=60|cat\) \| nc")
HEARD = ("stocks", "stocks/nyse", "news/today")
GIVEN = {"access.log": "GET /index.html\nGET /favicon.ico\n", "lines.txt": "one\ntwo\n"}


def documents():
    found = glob.glob(os.path.join(ROOT, "*.md")) + glob.glob(os.path.join(ROOT, "docs", "*.md"))
    return sorted(os.path.relpath(f, ROOT) for f in found)


def blocks(name):
    """(line, directive or None, its argument, lines) of each block of code, and of each
    directive that stands by itself."""
    with open(os.path.join(ROOT, name)) as f:
        lines = f.read().split("\n")
    found, told, i = [], None, 0
    while i < len(lines):
        directive = DIRECTIVE.match(lines[i])
        if directive:
            told = (i + 1, directive.group(1).rstrip(":"), directive.group(2))
            if told[1] in ("stop", "kill"):
                found.append((*told, []))
                told = None
            i += 1
            continue
        fenced, indented = lines[i].startswith("```"), is_indented(lines, i)
        if not (fenced or indented):
            assert not told or not lines[i].strip(), f"{name}:{told[0]}: no block follows"
            i += 1
            continue
        start, i = i, i + 1
        while i < len(lines) and (not lines[i].startswith("```") if fenced else
                                  lines[i].startswith("    ") or inner_blank(lines, i)):
            i += 1
        inside = lines[start + 1:i] if fenced else lines[start:i]
        text = textwrap.dedent("\n".join(inside)).split("\n")
        i += fenced
        where, what, argument = told or (start + 1, None, None)
        found.append((start + 1 if not told else where, what, argument, text))
        told = None
    return found


def is_indented(lines, i):
    before = lines[i - 1].strip() if i > 0 else ""
    return lines[i].startswith("    ") and (not before or bool(DIRECTIVE.match(before)))


def inner_blank(lines, i):
    return not lines[i].strip() and i + 1 < len(lines) and lines[i + 1].startswith("    ")


def commands(name):
    """What is to be run of a document, in order: (line, what, argument or text)."""
    todo = []
    for line, told, argument, text in blocks(name):
        if told == "file":
            todo.append((line, "file", (argument, "\n".join(text) + "\n")))
        elif told in ("stop", "kill"):
            todo.append((line, told, argument))
        elif told == "elsewhere":
            assert os.path.exists(os.path.join(ROOT, argument)), f"{name}:{line}: no {argument}"
        elif told == "in":
            todo += [(line, "tree", command) for command in text if command.strip()]
        elif told is None and text and text[0].startswith("$ "):
            for part in re.split(r"^\$ ", "\n".join(text), flags=re.M)[1:]:
                command, _, says = part.partition("\n")
                assert COMMAND.match(command), f"{name}:{line}: no command: {command}"
                todo.append((line, "session", (command, says.strip())))
        elif told is None and text and COMMAND.match(text[0]):
            joined = "\n".join(text).replace("\\\n", " ").split("\n")
            todo += [(line, "run", command) for command in joined if command.strip()]
    return todo


def pattern(says):
    """What a session shows, as what may stand there."""
    kinds = [(r"\bA[XYZ](?:…|\.\.\.)", r"[\w-]+"), (r"…|\.\.\.", ".*?"), (r"\b[0-9a-f]{16}\b", "[0-9a-f]{16}"),
             (r"\d{4}-\d\d-\d\dT[\d:.]+Z", r"[-0-9T:.]+Z"), (r"\d+", r"\d+")]
    any_kind = "|".join(f"({of})" for of, _ in kinds)
    out, at = "", 0
    for m in re.finditer(any_kind, says):
        out += re.escape(says[at:m.start()]) + kinds[m.lastindex - 1][1]
        at = m.end()
    return out + re.escape(says[at:])


def is_ready(port):
    try:
        with Http(port, "localhost", 2) as h:
            return h("GET", "/readyz").status == 200
    except OSError:
        return False


def is_broker(command):
    return command.startswith("hearsay broker") and "--check-config" not in command


class Reader:
    """Somebody who pastes what the document says."""

    def __init__(self, name, folder):
        self.name, self.folder = name, str(folder)
        self.ports = free_ports(3)
        self.running = {}  # port -> broker
        home = os.path.join(self.folder, ".home")
        os.makedirs(os.path.join(home, "bin"))
        os.symlink(BIN, os.path.join(home, "bin", "hearsay"))
        self.write(".home/.curlrc", "fail\nsilent\nshow-error\n")  # 404 is a failure here
        self.env = clean_env({
            "PATH": os.path.join(home, "bin") + ":" + os.environ["PATH"],
            "CURL_HOME": home, "HOME": home, "HEARSAY_PORT": str(self.ports[0]),
        })
        for given, text in GIVEN.items():
            self.write(given, text)

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w") as f:
            f.write(text)

    def ported(self, text):
        return re.sub(r"\b300([0-2])\b", lambda m: str(self.ports[int(m[1])]), text)

    def begin(self, command):
        output = tempfile.TemporaryFile("w+", dir=self.folder)
        process = subprocess.Popen(
            ["bash", "-c", command], cwd=self.folder, env=self.env, text=True, stdout=output,
            stderr=subprocess.STDOUT, stdin=subprocess.PIPE, start_new_session=True)
        process.output = output
        return process

    @staticmethod
    def said(process):
        process.output.seek(0)
        return process.output.read()

    @staticmethod
    def end(process, how=signal.SIGTERM):
        if process.poll() is None:
            os.killpg(process.pid, how)  # its session: bash and what it started
        process.wait(20)
        process.stdin.close()

    def broker(self, command, where):
        port = int(re.search(r"--port (\d+)", command)[1])
        assert port not in self.running, f"{where}: that broker runs already"
        process = self.running[port] = self.begin("exec " + command)

        def ready():
            assert process.poll() is None, f"{where}: {command}\n{self.said(process)}"
            return is_ready(port)

        wait_for(ready, 15, f"{where}: {command}")

    def session(self, command, says, where):
        """Runs it, and looks at what came out."""
        if STAYS.search(command):
            self.stays(command, where, pattern(says))
            return
        said = self.run(command, where)
        fits = not says or re.fullmatch(pattern(says), said.strip(), re.S)
        assert fits, f"{where}: {command}\nsays\n{said}\nwhere the document has\n{says}"

    def stays(self, command, where, wanted="Stock update"):
        process = self.begin(command)
        try:
            def speaks():
                for topic in HEARD:
                    self.run(f"hearsay publish --topic {topic} 'Stock update' >/dev/null", where)
                assert process.poll() in (None, 0), f"{where}: {command}\n{self.said(process)}"
                return re.search(wanted, self.said(process), re.S)

            wait_for(speaks, 15, f"{where}: {wanted} out of: {command}")
        finally:
            self.end(process)

    def run(self, command, where, env=None):
        """A reading curl that finds nothing yet is tried again, as a person would."""
        patient = command.startswith("curl") and " -d " not in command and " -X" not in command
        outcome = []

        def works():
            done = subprocess.run(["bash", "-c", command], cwd=self.folder, env=env or self.env,
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=120)
            outcome[:] = [done.returncode, done.stdout + done.stderr]
            return done.returncode == 0

        if patient:
            wait_for(works, 10, f"{where}: {command}")
        else:
            assert works(), f"{where}: {command}\nended with {outcome[0]}:\n{outcome[1]}"
        return outcome[1]

    def do(self, line, what, argument):
        where = f"{self.name}:{line}"
        if what == "file":
            self.write(argument[0], self.ported(argument[1]))
        elif what in ("stop", "kill"):
            process = self.running.pop(int(self.ported(argument)))
            self.end(process, signal.SIGTERM if what == "stop" else signal.SIGKILL)
            if what == "stop":
                assert process.returncode == 0, f"{where}:\n{self.said(process)}"
        elif what == "tree":
            self.run(f"cd {ROOT} && {argument}", where, 
                     env=clean_env({"PATH": "/usr/bin:" + os.environ["PATH"]}))
        elif what == "session":
            self.session(*map(self.ported, argument), where)
        elif is_broker(argument):
            self.broker(self.ported(argument), where)
        elif STAYS.search(argument):
            self.stays(self.ported(argument), where)
        else:
            self.run(self.ported(argument), where)

    def start_three(self):
        self.write("globalState.csv", "".join(f"localhost,{port}\n" for port in self.ports))
        for port in self.ports:
            self.broker(f"hearsay broker --host localhost --port {port}", "the three brokers")

    def close(self):
        for process in self.running.values():
            self.end(process)


WITH_COMMANDS = [d for d in documents()
                 if any(what in ("run", "session", "tree") for _, what, _ in commands(d))]


@pytest.mark.parametrize("name", WITH_COMMANDS)
def test_what_a_document_says_works(name, tmp_path):
    # Broken if a command of a document fails, or one that shows messages shows none.
    todo = commands(name)
    reader = Reader(name, tmp_path)
    try:
        first = [text for _, what, text in todo if what == "run" and "--check" not in text]
        if not first or not is_broker(first[0]):
            reader.start_three()
        for step in todo:
            reader.do(*step)
    finally:
        reader.close()


def test_the_commands_are_found():
    # Broken if the above looks at nothing, or a block of commands escapes it.
    assert {"README.md", "docs/HTTP.md", "docs/STORE.md"} <= set(WITH_COMMANDS)
    assert len([1 for _, what, _ in commands("README.md") if what == "run"]) >= 15
    for name in documents():
        for line, told, _, text in blocks(name):
            if told is None and text and not re.match(r"\$ ", text[0]) and \
                    not COMMAND.match(text[0]):
                hidden = [x for x in text if COMMAND.match(x) and not x.startswith("for")]
                assert not hidden, f"{name}:{line}: begins with no command, but holds: {hidden}"


def source(name):
    with open(os.path.join(ROOT, name)) as f:
        return f.read()


def rows(name, pattern):
    found = re.findall(pattern, source(name), re.M)
    assert found, f"{name} has no such rows"
    return found


def test_the_documents_know_what_there_is():
    # Broken if something is added that a reader finds in no document: a call, a refusal, a frame, a
    # command, a metric of which an operator is told to watch that is none.
    http = source("docs/HTTP.md")
    for method, path in rows("src/server/routes.def", r'^ROUTE\((\w+), "([^"{]+)'):
        assert re.search(rf"`{method} {re.escape(path)}", http), f"HTTP.md lacks {method} {path}"
    codes = {code for f in glob.glob(os.path.join(ROOT, "src/server/front_http*.c")) +
             glob.glob(os.path.join(ROOT, "src/codec/http*.c"))
             for code in re.findall(r'\b[45]\d\d,\s*"([a-z_]+)"', source(f))}
    assert len(codes) > 15
    assert not [code for code in codes if f"`{code}`" not in http], "HTTP.md lacks refusals"
    peer = source("docs/PEER.md")
    for number, name in rows("src/codec/wire.def", r'^X\(\w+, (\d+), "(\w+)"'):
        assert f"| {number} | {name} |" in peer, name
    words = "".join(source(name) for name in documents())
    for name in rows("src/cli/commands.def", r"^COMMAND\((\w+)"):
        assert f"hearsay {name}" in words, f"no document has hearsay {name}"
    known = set(rows("src/server/metrics.def", r"^METRIC\((\w+)")) | set(
        rows("include/hearsay.h", r"\bhearsay_(\w+)"))
    told = set(re.findall(r"`hearsay_(\w+)", words))
    assert len(told) > 15 and not told - known, told - known


def traced():
    """What is traced as an error or a warning: (where, its text with X for what comes in)."""
    for path in glob.glob(os.path.join(ROOT, "src", "*", "*.c")):
        if path.endswith("_test.c"):
            continue
        name = os.path.relpath(path, ROOT)
        for m in re.finditer(r'tracef\(\s*TRACE_(?:ERROR|WARN),\s*((?:"(?:[^"\\]|\\.)*"\s*)+)',
                             source(name)):
            text = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', m[1]))
            text = re.sub(r"%[-.*0-9]*(?:ll|z)?[a-z]", "X", text)
            if text != "X":
                yield name, text


def test_an_operator_is_told_of_each_alarm():
    # Broken if a line that asks for something is in no table of what to do.
    alarms = source("docs/OPERATIONS.md").split("## Alarms")[1].split("\n## ")[0]
    known = [re.escape(text).replace(re.escape("..."), ".+")
             for row in re.findall(r"^\| (`.*?) \|", alarms, re.M)
             for text in re.findall(r"`([^`]+)`", row)]
    told = list(traced())
    assert len(told) > 30
    unknown = [(name, text) for name, text in told if not any(re.match(k, text) for k in known)]
    assert not unknown, "\n".join(f"{name}: {text}" for name, text in unknown)


def test_links_lead_somewhere():
    # Broken if a document points at a file or a heading that is not there.
    for name in documents():
        text = re.sub(r"^(    |```).*", "", source(name), flags=re.M)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"https?:|mailto:", target):
                continue
            path, _, heading = target.partition("#")
            to = os.path.normpath(os.path.join(os.path.dirname(name), path)) if path else name
            assert os.path.exists(os.path.join(ROOT, to)), f"{name}: no {target}"
            assert not heading or heading in headings(to), f"{name}: no heading {target}"


def headings(name):
    return [re.sub(r"[^\w -]", "", h).strip().lower().replace(" ", "-")
            for h in re.findall(r"^#+ (.*)", source(name), re.M)]


def test_the_demonstration(tmp_path):
    # Broken if `./run` does not build, start three brokers and send a message across.
    done = subprocess.run(["./run", "--once"], cwd=ROOT, env=clean_env({"TMPDIR": str(tmp_path)}),
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "coordinator" in done.stdout
    assert not os.listdir(tmp_path), "it leaves files behind"
