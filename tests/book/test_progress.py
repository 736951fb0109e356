"""Progress: told while it happens, once for each stage that took long, and by nobody who was not asked."""

import io
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from fairlib.base import progress
from fairlib.base.progress import Teller, listening, stage, steps


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def heard(**more) -> dict:
    told = {"stage": "1", "what": "encoding", "total": 3, "unit": "utterances", "done": 0, "started": time.time()}
    return told | more


def test_nothing_is_said_where_nobody_listens(capsys, monkeypatch):
    monkeypatch.delenv(progress.FILE, raising=False)
    assert list(steps("encoding", range(3))) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


def test_a_long_stage_is_told_with_what_how_far_and_how_long(monkeypatch):
    monkeypatch.delenv(progress.FILE, raising=False)
    monkeypatch.setattr(progress, "EVERY_S", 0.3)
    monkeypatch.setattr(progress, "LONG_S", 0.5)
    stream = io.StringIO()
    with listening(stream):
        for _ in steps("encoding", range(4), unit="utterances"):
            time.sleep(0.3)
        for _ in steps("too short to tell of", range(2)):
            pass
    lines = stream.getvalue().splitlines()
    assert lines[-1] == "encoding: 4 of 4 utterances, 1 s" and 1 < len(lines) <= 6
    assert lines[0].startswith("encoding: ") and "short" not in stream.getvalue() and "\r" not in stream.getvalue()


def test_the_stages_of_another_process_are_told_here(monkeypatch):
    monkeypatch.delenv(progress.FILE, raising=False)
    monkeypatch.setattr(progress, "LONG_S", 0.0)
    stream = io.StringIO()
    with listening(stream), listening(io.StringIO()):  # the inner one has nothing to say
        code = "from fairlib.base.progress import steps; list(steps('there', [1, 2], unit='things'))"
        subprocess.run([sys.executable, "-c", code], check=True)
    assert stream.getvalue().splitlines()[-1] == "there: 2 of 2 things, 0 s"


def test_a_terminal_sees_one_line_that_goes_on(monkeypatch):
    monkeypatch.setattr("os.get_terminal_size", lambda *_: type("Size", (), {"columns": 30}))
    monkeypatch.setattr(Terminal, "fileno", lambda self: 2)
    stream = Terminal()
    teller = Teller(stream)
    for done in (0, 1, 1, 2):
        teller.hear(heard(done=done))
        teller.tick()
    teller.hear(heard(done=3, end="done", seconds=7.2))
    teller.tick()
    *moving, last, rest = stream.getvalue().split("\r")
    assert [line.strip() for line in moving if line.strip()] == [
        f"encoding: {done} of 3 utterances," for done in (0, 1, 2)
    ]
    assert not last.strip() and rest == "encoding: 3 of 3 utterances, 7 s\n"


def test_the_stage_around_is_told_again_when_the_inner_one_has_ended():
    stream = io.StringIO()
    teller = Teller(stream)
    teller.hear(heard(what="outer", total=0))
    teller.hear(heard(stage="2", what="inner"))
    teller.hear(heard(stage="2", what="inner", end="broken"))
    teller._last -= progress.EVERY_S
    teller.tick()
    assert stream.getvalue() == "outer: 0 s\n"


def test_whoever_reads_no_longer_does_not_stop_the_work(monkeypatch):
    monkeypatch.delenv(progress.FILE, raising=False)
    monkeypatch.setattr(progress, "LONG_S", 0.0)
    stream = io.StringIO()
    stream.close()
    with listening(sys.stderr):  # the file may be gone, too
        monkeypatch.setenv(progress.FILE, "/nowhere/at all")
        assert list(steps("encoding", [1])) == [1]
    with stage("alone"):
        Teller(open(__file__)).hear(heard(end="done", seconds=2.0))  # not to be written


def test_what_nobody_goes_on_with_is_not_made():
    slow = []
    with pytest.raises(KeyboardInterrupt), ThreadPoolExecutor(1) as pool:
        with closing(steps("speaking", pool.map(lambda n: slow.append(n) or time.sleep(0.02), range(100)))) as all_:
            next(all_)
            raise KeyboardInterrupt
    assert len(slow) < 50
