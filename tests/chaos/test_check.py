"""The checker is no good if it overlooks anything: one broken history for each violation."""

import json
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import check  # noqa: E402
import plan  # noqa: E402
import records  # noqa: E402
from test_chaos import SEED  # noqa: E402

S, T = 0x1111111111111111, 0x2222222222222222


def body(number, kind="-", ids=()):
    return records.make_body("p", number, kind, [check.name_of(*i) for i in ids])


def event(stream, seq, text, late=False, topic="t", lamport=None):
    return "m", stream, seq, seq * 10 if lamport is None else lamport, topic, text, late


class Story:
    """Three messages of S, and one of T whose publisher had seen the second of them."""

    def __init__(self):
        self.p = records.Published()
        self.lost = []
        self.log = [event(S, n, body(n)) for n in (1, 2, 3)]
        self.log.append(event(T, 1, body(4, "s", [(S, 2)]), lamport=35))
        for number, (_, stream, seq, *_) in enumerate(self.log, 1):
            self.p.outcomes[number] = ("A", (stream, seq), "1", 1)

    def judge(self, *given, owed=None, log=None):
        self.verdict = check.Verdict()
        truth = check.Truth({"p": self.p}, self.lost, self.verdict)
        for e in self.log if log is None else log:
            truth.add(e)
        truth.check_acknowledged()
        self.reader = check.Reader("reader", truth, owed)
        for e in given:
            self.reader.take(e)
        self.reader.end()
        return {k: n for k, n in self.verdict.found.items() if n}


@pytest.fixture
def story():
    return Story()


def test_nothing_wrong_is_found_where_nothing_is(story):
    # Broken if the checker cries wolf: every run would fail.
    assert story.judge(*story.log) == {}
    # All but `unequal`, which no reader is asked for.
    assert set(story.verdict.looks) == set(check.CLASSES) - {"unequal"}


def test_acknowledged_and_nowhere(story):
    # Broken if an acknowledged message that no broker has passes.
    log = [e for e in story.log if e[1:3] != (S, 3)]
    assert story.judge(*log, log=log) == {"lost": 1}


def test_gone_with_its_only_disk_is_excused(story):
    # Broken if what was on one disk alone is owed when that is gone, or more is excused.
    log = [e for e in story.log if e[1:3] != (S, 3)]
    story.lost = [(1, {S: (2, 3)}, {S: (2, 3)})]
    assert story.judge(*log, log=log) == {}
    # Who read it before the disk was lost may keep it.
    assert story.judge(*story.log, log=log) == {}
    # It was said to be on two disks, and one was lost.
    story.p.outcomes[3] = ("A", (S, 3), "1", 2)
    assert story.judge(*log, log=log) == {"lost": 1}
    # It was: another went before, when the first still had it.
    story.lost.insert(0, (2, {}, {S: (1, 3)}))
    assert story.judge(*log, log=log) == {}
    # Two went, and none was the last: then somebody else has to have it.
    story.lost = [(k, {}, {S: (1, 3)}) for k in (1, 2)]
    assert story.judge(*log, log=log) == {"lost": 1}
    # One went with two other messages.
    story.lost = [(1, {S: (2, 3)}, {S: (2, 3)}), (2, {}, {S: (0, 2)})]
    assert story.judge(*log, log=log) == {"lost": 1}
    # A disk that went with another message excuses nothing.
    story.p.outcomes[3] = ("A", (S, 3), "1", 1)
    other = {S: (3, 9), T: (0, 9)}
    story.lost = [(1, other, other)]
    assert story.judge(*log, log=log) == {"lost": 1}


def test_shown_and_nowhere_any_more(story):
    # Broken if what a reader was shown may vanish, because nobody acknowledged it.
    story.p.outcomes[3] = ("U", None, "-", 0)
    log = [e for e in story.log if e[1:3] != (S, 3)]
    assert story.judge(*story.log, log=log) == {"lost": 1}


def test_held_and_never_given(story):
    # Broken if a broker may keep a message from its readers.
    assert story.judge(*story.log[:3]) == {"lost": 1}
    assert story.judge(*story.log[:2], story.log[3]) == {"lost": 1}


def test_held_and_never_given_to_a_reader_of_a_part(story):
    # Broken if a reader of some topics may miss one of them.
    story.log[1] = event(S, 2, body(2), topic="other")
    story.log[3] = event(T, 1, body(4), lamport=35)
    given = [e for e in story.log if e[4] == "t"]
    assert story.judge(*given, owed=lambda topic: topic == "t") == {}
    assert story.judge(*given[1:], owed=lambda topic: topic == "t") == {"lost": 1}


def test_told_as_a_gap_is_not_lost(story):
    # Broken if what is named as gone is held against the broker, too.
    given = [story.log[0], ("gap", S, 2, 3), story.log[3]]
    assert story.judge(*given) == {}


def test_given_twice(story):
    # Broken if a reader may be given a message again.
    assert story.judge(*story.log, story.log[1]) == {"duplicated": 1}
    assert story.judge(*story.log, story.log[3], owed=lambda t: True) == {"duplicated": 1}


def test_told_as_gone_after_it_was_given(story):
    # Broken if a gap may be told of what was given.
    assert story.judge(*story.log, ("gap", S, 2, 3)) == {"duplicated": 1}
    assert story.judge(*story.log, ("gap", S, 3, 3)) == {"duplicated": 1}


def test_stored_twice(story):
    # Broken if one publish may be two messages.
    story.log.append(event(T, 2, body(3), lamport=50))
    found = story.judge(*story.log)
    assert found["duplicated"] == 1


def test_seq_falls(story):
    # Broken if the order of a stream may turn round.
    a, b, c, d = story.log
    found = story.judge(a, b, event(S, 3, body(3), lamport=5), d)
    assert found == {"reordered": 1}, "the stamp falls"
    found = story.judge(a, b, event(S, 3, body(3), lamport=20), d)
    assert found == {"reordered": 1}, "the stamp stands still"
    found = story.judge(a, c, b, d)
    assert found == {"silent gap": 1, "reordered": 1}
    assert story.judge(a, c, b, d, owed=lambda t: True) == {"reordered": 1}


def test_what_nobody_published(story):
    # Broken if messages may come out of nowhere.
    story.p.outcomes[5] = ("U", None, "-", 0)
    for text in ("boo", body(9), body(1)[:-1] + "g", body(5).replace("~", "x~"),
                 records.make_body("q", 1)):
        log = story.log + [event(T, 2, text, lamport=50)]
        assert story.judge(*log, log=log)["phantom"] == 1, text


def test_what_was_refused(story):
    # Broken if a refused publish may be stored.
    story.p.outcomes[5] = ("R", None, "-", 0)
    log = story.log + [event(T, 2, body(5), lamport=50)]
    assert story.judge(*log, log=log) == {"phantom": 1}


def test_other_bytes(story):
    # Broken if a message may change on its way.
    given = list(story.log)
    given[1] = event(S, 2, body(3))
    assert story.judge(*given) == {"phantom": 1}
    # And under another id than it was acknowledged as.
    story.p.outcomes[2] = ("A", (S, 7), "1", 1)
    assert story.judge(*story.log)["phantom"] == 1


def test_answer_before_question(story):
    # Broken if an answer may be read before what it follows.
    a, b, c, d = story.log
    assert story.judge(a, d, b, c) == {"inverted": 1}
    assert story.judge(a, d, b, c, owed=lambda t: True) == {"inverted": 1}
    # Flagged, it is what the broker said that it would be.
    late = event(T, 1, d[5], late=True, lamport=35)
    assert story.judge(a, late, b, c) == {}


def test_a_cursor_that_was_not_waited_for_promises_nothing(story):
    # Broken if an order is demanded that the receipt said was given up.
    d = event(T, 1, body(4, "a", [(S, 2)]), lamport=35)
    story.log[3] = d
    a, b, c, _ = story.log
    assert story.judge(a, d, b, c) == {"inverted": 1}
    for said in ("0", "-"):
        story.p.outcomes[4] = ("A", (T, 1), said, 1)
        assert story.judge(a, d, b, c) == {}


def test_passed_over_in_silence(story):
    # Broken if a hole in a stream may be passed over without a word.
    a, b, c, d = story.log
    assert story.judge(a, c, d) == {"silent gap": 1}
    assert story.judge(b, c, d) == {"silent gap": 1}, "from the first on"
    assert story.judge(a, ("gap", S, 3, 3), d) == {"silent gap": 1}


def test_brokers_that_differ(story):
    # Broken if brokers may end with different logs.
    story.judge(*story.log)
    truth, verdict = story.reader.truth, story.verdict
    check.compare("same", story.log, truth)
    assert not verdict.found["unequal"] and verdict.looks["unequal"] == 4
    check.compare("less", story.log[:3], truth)
    assert verdict.found["unequal"] == 1
    check.compare("other", [event(S, 1, body(2)), *story.log[1:]], truth)
    assert verdict.found["unequal"] == 2


def test_records_are_read_as_they_were_written(tmp_path):
    # Broken if the checker judges something else than what clients saw.
    path = tmp_path / "r"
    m = {"id": check.name_of(S, 2), "topic": 't"', "lamport": 7, "origin": "h:1",
         "time": "x", "body": body(1)}
    late = {**m, "late": True, "body": "\u00fc"}
    gone = {"gap": {"stream": f"{S:016x}", "origin": "", "from": 3, "to": 4}, "cursor": "c"}
    socket = {"type": "publish", "topic": "t", "message": "b", "lamport_timestamp": 9,
              "id": check.name_of(T, 1), "cursor": "c", "late": True}
    lines = [json.dumps(o, separators=(",", ":"), ensure_ascii=False)
             for o in (m, late, gone, socket, {"cursor": "c"})]
    path.write_text("\n".join(lines) + "\n")
    assert list(records.lines(path)) == [
        ("m", S, 2, 7, 't"', body(1), False), ("m", S, 2, 7, 't"', "\u00fc", True),
        ("gap", S, 3, 4), ("m", T, 1, 9, "t", "b", True)]
    page = {"messages": [m, late], "cursor": "c", "gaps": [{**gone["gap"], "at": 1}]}
    path.write_text(json.dumps(page) + "\n")
    assert [e[0] for e in records.pages(path)] == ["m", "gap", "m"]


def test_every_kind_of_fault_has_a_turn():
    # Broken if the half minute that `./test` runs leaves out a kind of fault.
    assert {f.kind for f in plan.make(SEED, 28, 3)} == set(plan.KINDS)


def test_a_plan_is_its_seed():
    # Broken if a run cannot be repeated by its seed.
    plans = [[str(f) for f in plan.make(seed, 60, 3)] for seed in (1, 1, 2)]
    assert plans[0] == plans[1] != plans[2]
    for count in (3, 5):
        assert {f.kind for f in plan.make(1, 118, count)} == set(plan.KINDS)
