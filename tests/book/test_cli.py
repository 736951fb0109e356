"""The command line: exit statuses, one sentence for a mistake, answers at once."""

import resource
import subprocess
import sys

import pytest

from fairlib import cli
from fairlib.book import chapters, runs


def fairlib(capsys, *arguments: str) -> tuple[int, str, str]:
    status = cli.main(arguments)
    said = capsys.readouterr()
    return status, said.out, said.err


@pytest.fixture
def no_run(monkeypatch):
    def run(*_, **__):
        raise AssertionError("the chapter was run")

    monkeypatch.setattr(runs, "run", run)


def test_chapters_lists_every_chapter(capsys):
    status, out, _ = fairlib(capsys, "chapters")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == list(chapters.chapters())


@pytest.mark.parametrize("chapter", chapters.chapters().values(), ids=lambda chapter: chapter.name)
def test_the_help_of_a_chapter_lists_its_parameters(capsys, chapter, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    status, out, _ = fairlib(capsys, "run", chapter.name, "--help")
    assert status == 0
    for name, field in chapter.parameters.model_fields.items():
        assert f"--{name}" in out
        assert field.description.split(",")[0][:30] in out
        if name not in ("force", "group") and field.default != "":
            assert f"[default: {field.default}]" in out
    assert "[default: age_group]" not in out  # the corpus decides, as the help says


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "speach-recognition"], "did you mean 'speech-recognition'?"),
        (["run", "speech-recognition", "--prob", "linear"], "no parameter 'prob': did you mean 'probe'?"),
        (["run", "speech-recognition", "--prob=linear"], "no parameter 'prob': did you mean 'probe'?"),
        (["run", "speech-recognition", "--seeds", "nine"], "seeds must be a whole number, not 'nine'"),
        (["run", "speech-recognition", "--seeds", "0"], "seeds must be at least 1"),
        (["run", "speech-recognition", "--seeds"], "'--seeds' requires an argument"),
        (["run", "speech-recognition", "--corpus", "libri"], "did you mean 'librispeech'?"),
        (["run", "speech-recognition", "stray"], "no parameter 'stray'"),
        (["probe", "speakers", "--corpus", "synthetic"], "Missing option '--encoder'"),
        (["probe", "speakrs", "--encoder", "logmel", "--corpus", "synthetic"], "'speakrs' is not one of"),
        (["pretrain", "no-such-recipe", "--output", "nowhere"], "no-such-recipe"),
        (["finetune", "pocket-hubbert", "--corpus", "librispeech", "--output", "x"], "Did you mean 'pocket-hubert'?"),
        (["finetune", "pocket-hubert", "--corpus", "libri", "--output", "nowhere"], "There is no corpus 'libri'"),
        (["probe", "phones", "--encoder", "logmel", "--corpus", "synthetic", "--perturbed"], "for the task speakers"),
        (["probe", "phones", "--encoder", "logmel", "--corpus", "synthetic", "--frames", "cheaper"], "task characters"),
        (["run", "speech-recognition", "--corpus", "~no-one/list.csv"], "not '~no-one/list.csv'"),
        (["run", "speech-recognition", "--encoder", "x" * 300], "no shipped encoder"),
        (["check", "~no-one/list.csv"], "~no-one/list.csv is not there: give a list"),
        (["show", "/nowhere/run"], "there is no run '/nowhere/run'"),
        (["bogus"], "No such command 'bogus'"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(capsys, no_run, arguments, words):
    status, out, err = fairlib(capsys, *arguments)
    assert (status, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1 and err.startswith("fairlib: ")


def test_parameters_reach_the_chapter_as_their_types(capsys, monkeypatch, tmp_path):
    asked = {}

    def run(chapter, values, force):
        asked.update(values, chapter=chapter, forced=force)
        return tmp_path

    monkeypatch.setattr(runs, "run", run)
    options = ["--corpus", "synthetic", "--seeds=2", "--probe", "linear", "--force"]
    status, out, _ = fairlib(capsys, "run", "speech-recognition", *options)
    assert (status, out.strip()) == (0, str(tmp_path))
    assert asked == {
        "chapter": "speech-recognition",
        "encoder": "mini-hubert-long",
        "corpus": "synthetic",
        "group": "group",
        "seeds": 2,
        "probe": "linear",
        "force": True,
        "forced": True,
    }


def test_work_that_failed_is_one_sentence_and_status_1(capsys, monkeypatch):
    def run(*_):
        raise runs.ChapterStopped("speech-recognition stopped with KeyError: 'x'")

    monkeypatch.setattr(runs, "run", run)
    status, _, err = fairlib(capsys, "run", "speech-recognition")
    assert (status, err) == (1, "fairlib: speech-recognition stopped with KeyError: 'x'\n")


def test_an_error_that_is_not_ours_keeps_its_traceback(monkeypatch):
    def run(*_):
        raise ValueError("operands could not be broadcast together")

    monkeypatch.setattr(runs, "run", run)
    with pytest.raises(ValueError, match="broadcast"):
        cli.main(["run", "speech-recognition"])


def test_encoders_lists_the_controls(capsys):
    status, out, _ = fairlib(capsys, "encoders")
    assert status == 0 and "logmel" in out


def test_corpora_says_what_is_missing_and_what_needs_no_data(capsys, monkeypatch):
    monkeypatch.delenv("FAIRLIB_DATA", raising=False)
    status, out, _ = fairlib(capsys, "corpora")
    assert status == 0
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert lines["speechocean762"].startswith("not found") and "FAIRLIB_DATA" in lines["speechocean762"]
    assert "no data needed" in lines["synthetic"]


def test_help_and_typos_are_answered_without_loading_anything_heavy():
    code = (
        "import sys; from fairlib import cli; "
        "status = cli.main(['run', 'speech-recognition', '--prob', 'x']); "
        "heavy = {'torch', 'transformers', 'pandas', 'papermill', 'altair', 'sklearn'} & set(sys.modules); "
        "print(status, sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "2 []\n"


def test_the_help_is_there_within_two_seconds():
    command = [sys.executable, "-m", "fairlib", "run", "speech-recognition", "--help"]

    def seconds() -> float:
        # Processor time: what else the machine is doing at the moment is not what is tested.
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 2, "the help loads what it does not need"
