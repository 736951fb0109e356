"""Grids: every combination is checked before the first runs, and one that fails does not stop the others."""

import os
import shlex
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import pytest

from fairlib import cli
from fairlib.book import grids, runs
from fairlib.book.chapters import ChapterError, chapter_named, command


@pytest.fixture
def pretended(tmp_path, monkeypatch):
    """Chapters that take no time; one of them stops, one is there already. Returns what was run."""
    done = []

    def run(chapter, values, force):
        if values["probe"] == "context" and values["group"] == "sex":
            raise runs.ChapterStopped(f"{chapter} stopped with KeyError: 'no such layer'")
        done.append((values["group"], values["probe"], force))
        return tmp_path / f"{values['group']}-{values['probe']}"

    def plan(chapter, values, force=False):
        there = values == {**values, "group": "sex", "probe": "linear"} and not force
        return tmp_path / f"{values['group']}-{values['probe']}", "" if there else "new: never run"

    monkeypatch.setattr(runs, "run", run)
    monkeypatch.setattr(runs, "plan", plan)
    return done


def jobs():
    given = {"group": "sex,age_group", "probe": "linear,context"}
    return [("speech-recognition", one.model_dump()) for one in grids.combinations("speech-recognition", given)]


def test_the_combinations_are_the_product_without_repetition():
    grid = grids.combinations("speech-recognition", {"corpus": "synthetic,librispeech", "seeds": "2,1,2"})
    assert [(one.corpus, one.group, one.seeds) for one in grid] == [
        ("synthetic", "group", 2), ("synthetic", "group", 1), ("librispeech", "sex", 2), ("librispeech", "sex", 1),
    ]  # fmt: skip
    with pytest.raises(ChapterError, match="one of linear, context, not 'lin'"):
        grids.combinations("speech-recognition", {"probe": "linear,lin"})


def test_two_groups_are_one_value_also_in_the_command_that_a_page_prints():
    [one] = grids.combinations("why", {"between": "child, adult"})
    assert one.between == "child,adult"
    _, _, chapter, *words = shlex.split(command("why", one))
    given = {name.removeprefix("--"): value for name, value in zip(words[::2], words[1::2], strict=True)}
    assert grids.combinations(chapter, given) == [one]


def test_a_path_keeps_its_commas(tmp_path):
    (tmp_path / "a, b.csv").write_text("path,speaker_id,text,sex\n1.wav,a,one,female\n2.wav,b,two,male\n")
    [one] = grids.combinations("speech-recognition", {"corpus": str(tmp_path / "a, b.csv"), "group": "sex"})
    assert one.corpus.endswith("a, b.csv")


def test_a_list_may_be_longer_than_a_path_can_be():
    encoders = ["pocket-hubert", "mini-hubert"] * 20
    grid = grids.combinations("speech-recognition", {"encoder": ",".join(encoders)})
    assert [one.encoder for one in grid] == encoders[:2]


def test_one_that_fails_is_told_and_the_others_go_on(pretended):
    told = []
    with ThreadPoolExecutor(1) as executor:
        rows = grids.run_all(jobs(), executor=executor, report=told.append)
    assert [row["status"] for row in rows] == ["reused", "failed", "run", "run"] and told == rows
    assert pretended == [("age_group", "linear", False), ("age_group", "context", False)]
    table = grids.failures(rows)
    assert table.startswith("1 of 4 failed:") and table.count("\n") == 2
    assert "--group sex --seeds 1 --probe context" in table and "KeyError: 'no such layer'" in table


class Vanishing(Executor):
    """Its workers die, as the system ends processes that take too much memory."""

    def submit(self, *_):
        future = Future()
        future.set_exception(OSError("a worker is gone"))
        return future


def test_a_worker_that_is_gone_is_a_failure_like_any_other():
    rows = grids.run_all(jobs()[:2], executor=Vanishing())
    assert [(row["status"], row["why"]) for row in rows] == [("failed", "OSError: a worker is gone")] * 2


def test_local_workers_are_fresh_processes(monkeypatch, tmp_path):
    """A request that cannot be run comes back from a real pool as a row, with its sentence."""
    monkeypatch.setenv("FAIRLIB_DATA", str(tmp_path))
    [row] = grids.run_all([("speech-recognition", {"corpus": "librispeech", "seeds": 2})])
    assert row["status"] == "failed" and "put the corpus into FAIRLIB_DATA" in row["why"]


def test_the_command_runs_all_and_says_by_its_status_that_one_failed(pretended, monkeypatch, capsys):
    real = grids.run_all
    monkeypatch.setattr(grids, "run_all", lambda *args, **kw: real(*args, **kw, executor=ThreadPoolExecutor(1)))
    command = ["run", "speech-recognition", "--group", "sex,age_group", "--probe", "linear,context"]
    assert cli.main(command) == 1
    said = capsys.readouterr()
    assert [line.rpartition("/")[2] for line in said.out.split()] == [
        "sex-linear",
        "age_group-linear",
        "age_group-context",
    ]
    assert "2/4 failed in" in said.err and "1 of 4 failed:" in said.err
    assert cli.main([*command[:4], "--probe", "linear"]) == 0


def test_a_dry_run_says_what_and_why_and_runs_nothing(pretended, capsys):
    assert cli.main(["run", "speech-recognition", "--group", "sex,age_group", "--probe", "linear", "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines() == ["reuse  sex-linear", "run    age_group-linear  (new: never run)"]
    assert pretended == []


def test_workers_share_the_cores_unless_told_otherwise(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "")  # so that what is set here does not stay
    monkeypatch.delenv("OMP_NUM_THREADS")
    grids._share_cores(3)
    assert os.environ["OMP_NUM_THREADS"] == "2"
    grids._share_cores(1)
    assert os.environ["OMP_NUM_THREADS"] == "2"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_call_for_each_name_is_made_once_and_the_first_that_fails_ends_all(workers, tmp_path):
    folders = [str(tmp_path / str(number)) for number in range(3)]
    grids.each_in_a_process(os.mkdir, folders, workers)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2"]
    with pytest.raises(FileExistsError):
        grids.each_in_a_process(os.mkdir, [folders[0], str(tmp_path / "new")], workers)


def test_a_chapter_that_fails_beside_others_is_told_as_alone():
    with pytest.raises(ChapterError, match="there is no chapter|no chapter"):
        grids.each_in_a_process(chapter_named, ["speaker-identification", "speakers"], 2)
