"""Chapters: parameters are checked before any kernel starts, and runs are complete or absent."""

import errno
import html
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest
import soundfile

from fairlib import cli
from fairlib.base.files import FolderError
from fairlib.book import build, chapters, preflight, provenance, run_keys, runs
from fairlib.book.chapters import ChapterError
from fairlib.book.pairs import read_notebook
from fairlib.book.runs import ChapterStopped

FINDINGS = {"speakers-and-groups": 1, "measuring-bias": 0, "speaker-identification": 4, "speech-recognition": 6}
FINDINGS |= {"fine-tuning": 4, "along-pretraining": 5, "why": 8, "your-own-model": 5}
TINY = """\
# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A tiny chapter

# %% tags=["parameters"]
encoder = "pocket-hubert"
corpus = "speechocean762"
group = "age_group"
seeds = 5
layer = ""
force = False

# %%
import os, sys
print(sys.executable, os.getcwd())
print(os.environ.get("TQDM_DISABLE"), os.environ.get("FAIRLIB_DATA"), seeds, force)

# %%
if encoder == "random:pocket-hubert":
    raise KeyError("no such layer")
"""


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Chapter 5 replaced by a notebook that takes a second; runs and builds go to a temporary folder."""
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    (notebooks / "05_speaker_identification.py").write_text(TINY)
    monkeypatch.setattr(chapters, "NOTEBOOKS", notebooks)
    monkeypatch.setattr(runs, "RUNS", tmp_path / "_runs")
    monkeypatch.setattr(build, "BUILD", tmp_path / "_build")
    (tmp_path / "library.py").write_text("# stands for fairlib's own files")
    monkeypatch.setattr(run_keys, "_library_files", lambda: {"fairlib/library.py": tmp_path / "library.py"})
    monkeypatch.setattr(runs, "require", lambda *_: None)
    return notebooks / "05_speaker_identification.py"


@pytest.fixture
def no_kernel(monkeypatch):
    def start(*_, **__):
        raise AssertionError("a kernel was started")

    monkeypatch.setattr(papermill, "execute_notebook", start)


def printed(notebook: Path) -> str:
    cells = nbformat.read(notebook, as_version=4).cells
    return "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", []))


# Parameters


@pytest.mark.parametrize(
    ("chapter", "values", "words"),
    [
        ("speaker-identificaton", {}, "did you mean 'speaker-identification'?"),
        (
            "nothing-like-it",
            {},
            "the chapters are speakers-and-groups, encoders-and-layers, measuring-bias, speaker-identification",
        ),
        ("speaker-identification", {"encodr": "logmel"}, "no parameter 'encodr': did you mean 'encoder'?"),
        ("speaker-identification", {"probe": "linear"}, "no parameter 'probe': it has encoder, corpus,"),
        ("speaker-identification", {"seeds": "3"}, "seeds must be a whole number, not '3'"),
        ("speaker-identification", {"seeds": 2.5}, "seeds must be a whole number, not 2.5"),
        ("speaker-identification", {"seeds": 0}, "seeds must be at least 1, not 0"),
        ("speaker-identification", {"seeds": 1000}, "seeds must be at most 100, not 1000"),
        ("speaker-identification", {"force": 1}, "force must be true or false, not 1"),
        ("speaker-identification", {"corpus": "libri"}, "not 'libri': did you mean 'librispeech'?"),
        ("speaker-identification", {"group": "age_grup"}, "by age_group, sex: did you mean 'age_group'?"),
        ("speaker-identification", {"corpus": "librispeech", "group": "age_group"}, "only by sex."),
        ("speaker-identification", {"encoder": "pocket-huber"}, "did you mean 'pocket-hubert'?"),
        ("speaker-identification", {"encoder": "./nowhere"}, "no shipped encoder"),
        ("speaker-identification", {"encoder": "logmel"}, "logmel is the control beside every encoder"),
        ("speaker-identification", {"layer": "13"}, "mini-hubert-long has no layer '13', it has cnn, 0 to 12"),
        ("speaker-identification", {"layer": "cn"}, "did you mean 'cnn'?"),
        ("speech-recognition", {"probe": "lin"}, "one of linear, context, not 'lin': did you mean 'linear'?"),
        ("why", {"between": "child"}, "between: it must be two groups with a comma between them, as in child,adult"),
        ("why", {"between": "child,child"}, "between: it must be two groups"),
    ],
)
def test_a_wrong_request_is_answered_with_one_sentence_before_a_kernel_starts(
    chapter, values, words, no_kernel, tmp_path
):
    with pytest.raises(ChapterError) as caught:
        runs.execute(chapter, values, folder=tmp_path / "out")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_parameter_given_as_text_is_converted_or_refused():
    chosen = chapters.check("speech-recognition", {"seeds": "3", "probe": "linear"}, as_text=True)
    assert (chosen.seeds, chosen.probe) == (3, "linear")
    with pytest.raises(ChapterError, match="whole number, not 'nine'"):
        chapters.check("speech-recognition", {"seeds": "nine"}, as_text=True)


def test_a_corpus_brings_its_own_main_group_unless_one_is_given():
    assert chapters.check("speech-recognition", {"corpus": "librispeech"}).group == "sex"
    assert chapters.check("speech-recognition", {"corpus": "speechocean762", "group": "sex"}).group == "sex"


def test_every_corpus_has_its_groups_declared():
    from fairlib.corpora import CORPORA, SPEAKER_COLUMNS

    assert {column for about in CORPORA.values() for column in about.groups} <= set(SPEAKER_COLUMNS)


def test_a_folder_encoder_is_made_absolute_for_the_kernel(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text('{"model_type": "hubert"}')
    monkeypatch.chdir(tmp_path)
    chosen = chapters.check("speaker-identification", {"encoder": "random:mine"})
    assert chosen.encoder == f"random:{tmp_path / 'mine'}"


@pytest.mark.parametrize("chapter", chapters.chapters().values(), ids=lambda chapter: chapter.name)
def test_the_notebooks_parameters_cell_is_the_declaration(chapter):
    cells = read_notebook(chapter.source).cells
    [cell] = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    assigned = {}
    exec(cell.source, assigned)
    del assigned["__builtins__"]
    assert assigned == chapter.parameters().model_dump()


def test_the_printed_parameters_and_command_come_from_the_declaration():
    box = provenance.rerun("speech-recognition", {"corpus": "librispeech", "probe": "linear"}).data
    for name, field in chapters.parameters("speech-recognition").model_fields.items():
        assert f"<code>--{name}</code>" in box and html.escape(field.description) in box
    assert "linear<br>" in box and "(linear, context; default: context)" in box and "(1 to 100)" in box
    assert "fairlib run speech-recognition --encoder mini-hubert-long --corpus librispeech --group sex" in box


@pytest.mark.parametrize(
    ("chapter", "values", "words"),
    [
        (
            "speech-recognition",
            {"corpus": "librispeech", "seeds": 2},
            "of mini-hubert-long there are no published outcomes",
        ),
        ("speaker-identification", {"encoder": "pocket-hubert-it1"}, "of pocket-hubert-it1 there are"),
        ("speech-recognition", {"seeds": 2}, "of mini-hubert-long there are no published outcomes"),
        ("encoders-and-layers", {"force": True}, "force was given"),
        ("why", {"between": "child,adult"}, "of mini-hubert-long there are no published outcomes"),
        ("fine-tuning", {"pretrained": "pocket-hubert-it1"}, "of pocket-hubert-it1 there are no published outcomes"),
    ],
)
def test_a_corpus_that_is_needed_and_not_there_is_refused_before_a_kernel_starts(
    chapter, values, words, no_kernel, tmp_path, monkeypatch
):
    monkeypatch.setattr(runs, "RUNS", tmp_path / "_runs")
    monkeypatch.setenv("FAIRLIB_DATA", str(tmp_path))
    with pytest.raises(ChapterError, match=words) as caught:
        runs.run(chapter, values)
    assert "put the corpus into FAIRLIB_DATA" in str(caught.value) and not (tmp_path / "_runs").exists()


def test_two_groups_that_were_chosen_are_there_before_a_kernel_starts(monkeypatch):
    voices = pd.DataFrame(
        [
            {"speaker_id": f"{group}{number}", "age_group": group, "split": "test" if number > 6 else "train"}
            for group in ("child", "adult", "senior")
            for number in range(12 if group != "senior" else 8)
        ]
    )
    voices = pd.concat([voices] * 6, ignore_index=True).assign(corpus="speechocean762", text="one")
    monkeypatch.setattr("fairlib.book.check.look_over", lambda _: voices)
    preflight.require("why", chapters.check("why", {"between": "child,adult"}))
    for between, words in (("child,old", "no 'old': name two of adult, child,"), ("child,senior", "1 of senior")):
        with pytest.raises(ChapterError, match=f"why: between: Cross-group training .*{words}"):
            preflight.require("why", chapters.check("why", {"between": between}))


def test_weights_that_do_not_ship_are_missed_before_a_kernel_starts(tmp_path, monkeypatch):
    """Where all that is asked for is published, none are needed, nor are a twin's."""
    monkeypatch.setenv("FAIRLIB_CACHE", str(tmp_path))  # one that was trained here is there
    name = "speaker-identification"
    for values in ({}, {"encoder": "random:midi-hubert", "corpus": "synthetic"}):
        preflight.require(name, chapters.check(name, {"encoder": "midi-hubert"} | values))
    with pytest.raises(ChapterError, match="weights of midi-hubert do not ship; make them: fairlib pretrain"):
        preflight.require(name, chapters.check(name, {"encoder": "midi-hubert", "corpus": "synthetic"}))


def test_a_counterpart_that_has_not_heard_the_corpus_is_refused_before_a_kernel_starts():
    with pytest.raises(ChapterError, match="counterpart: mini-hubert heard no speech of speechocean762"):
        preflight.require("along-pretraining", chapters.check("along-pretraining", {"counterpart": "mini-hubert"}))
    for counterpart in ("mini-hubert-learners", "facebook/hubert-base-ls960"):  # of the latter it is not on record
        preflight.require("along-pretraining", chapters.check("along-pretraining", {"counterpart": counterpart}))


@pytest.mark.parametrize("chapter", chapters.chapters())
def test_no_corpus_is_needed_where_outcomes_are_published(chapter, monkeypatch):
    monkeypatch.delenv("FAIRLIB_DATA", raising=False)
    preflight.require(chapter, chapters.check(chapter, {}))
    if "corpus" in chapters.parameters(chapter).model_fields and chapter != "fine-tuning":
        preflight.require(chapter, chapters.check(chapter, {"corpus": "synthetic", "force": True}))


# Runs


def test_a_run_holds_its_notebook_and_its_provenance(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAIRLIB_DATA", "speech")
    folder = runs.run("speaker-identification", {"corpus": "synthetic", "seeds": 2})
    stem, _, digits = folder.name.rpartition("__")
    assert stem == "speaker-identification__corpus-synthetic__seeds-2"
    assert len(digits) == 8 and int(digits, 16) >= 0
    names = ["chapter.html", "chapter.ipynb", "findings.json", "outcomes", "provenance.json"]
    assert sorted(path.name for path in folder.iterdir()) == names

    said = printed(folder / "chapter.ipynb").split()
    assert said == [sys.executable, str(chapters.ROOT), "1", str(tmp_path / "speech"), "2", "False"]
    assert os.environ["FAIRLIB_DATA"] == "speech" and "TQDM_DISABLE" not in os.environ

    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance["parameters"] == {
        "encoder": "mini-hubert-long",
        "corpus": "synthetic",
        "group": "group",
        "seeds": 2,
        "layer": "",
    }
    options = "--encoder mini-hubert-long --corpus synthetic --group group --seeds 2"
    assert provenance["command"] == f"fairlib run speaker-identification {options}"
    assert provenance["code"].startswith("fairlib ")
    assert "torch" in provenance["packages"] and provenance["duration_s"] > 0
    assert isinstance(provenance["dirty"], bool) and set(provenance["files"]) == {*names} - {"outcomes", names[-1]}


def test_the_printed_command_of_a_run_is_answered_by_that_run(tiny, tmp_path, capsys, monkeypatch, no_kernel):
    """Whatever was chosen, the command says all of it: same parameters, same key, same folder."""
    (tmp_path / "an encoder").mkdir()
    (tmp_path / "an encoder" / "config.json").write_text('{"model_type": "hubert"}')
    (tmp_path / "an encoder" / "model.safetensors").touch()
    for values in (
        {},
        {"corpus": "librispeech", "layer": "cnn"},
        {"group": "sex", "encoder": "random:pocket-hubert"},
        {"encoder": str(tmp_path / "an encoder"), "seeds": 3},
        {"encoder": "facebook/hubert-base-ls960"},
    ):
        chosen = chapters.check("speaker-identification", values)
        words = shlex.split(chapters.command("speaker-identification", chosen))
        monkeypatch.setattr(runs, "run", lambda *asked: runs.plan(*asked)[0])
        assert cli.main(words[1:]) == 0
        assert Path(capsys.readouterr().out.strip()).name == runs.run_name("speaker-identification", chosen)


def test_the_injected_parameters_are_hidden_and_nothing_random_is_left(tiny, tmp_path):
    done = runs.execute("speaker-identification", {"seeds": 2}, folder=tmp_path / "one")
    again = runs.execute("speaker-identification", {"seeds": 2}, folder=tmp_path / "two")
    assert done.read_text() == again.read_text()
    cells = nbformat.read(done, as_version=4).cells
    [injected] = [cell for cell in cells if "injected-parameters" in cell.metadata.get("tags", [])]
    assert "remove-input" in injected.metadata["tags"]
    assert str(tmp_path) not in done.read_text()


def test_a_finished_run_is_reused_until_something_it_follows_from_changes(tiny, tmp_path, monkeypatch):
    executed = []
    real = runs.execute
    monkeypatch.setattr(runs, "execute", lambda *args, **kw: executed.append(args) or real(*args, **kw))
    first = runs.run("speaker-identification", {"seeds": 1})
    assert runs.run("speaker-identification", {"seeds": 1}) == first and len(executed) == 1
    assert runs.run("speaker-identification", {"seeds": 1}, force=True) == first and len(executed) == 2
    assert executed[-1][1]["force"] is True
    (first / "provenance.json").unlink()  # as a run that was killed leaves it
    assert runs.run("speaker-identification", {"seeds": 1}) == first and len(executed) == 3
    tiny.write_text(TINY + "\n# %%\n1 + 1\n")
    second = runs.run("speaker-identification", {"seeds": 1})
    assert second != first and len(executed) == 4
    (tmp_path / "library.py").write_text("# changed")
    assert runs.run("speaker-identification", {"seeds": 1}) not in (first, second) and len(executed) == 5


def test_two_equal_runs_at_once_are_one(tiny, capsys, monkeypatch):
    """The second waits for the first and takes its result; in threads here, as the lock is on a file."""
    executed, begun, go_on = [], threading.Event(), threading.Event()
    real = runs.execute

    def execute(*args, **kw):
        executed.append(args)
        begun.set()
        assert go_on.wait(60)
        return real(*args, **kw)

    monkeypatch.setattr(runs, "execute", execute)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(runs.run, "speaker-identification", {"seeds": 1})
        assert begun.wait(60)
        second = pool.submit(runs.run, "speaker-identification", {"seeds": 1})
        while "another process is running" not in (said := capsys.readouterr().err):
            assert not said and not second.done()
            time.sleep(0.05)
        go_on.set()
        assert first.result() == second.result() and len(executed) == 1
    assert "is finished; it is reused" in capsys.readouterr().err
    assert runs.read_run(first.result())["parameters"]["seeds"] == 1


def test_who_died_while_running_a_chapter_does_not_block_it(tiny):
    folder, _ = runs.plan("speaker-identification", {"seeds": 1})
    code = (
        "import os, sys; from pathlib import Path; from fairlib.book import runs; runs.RUNS = Path(sys.argv[1])\n"
        "with runs._alone(Path(sys.argv[2])): os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(runs.RUNS), str(folder)])
    assert done.returncode == -9 and list(runs.RUNS.glob("locks/*.lock"))
    assert runs.run("speaker-identification", {"seeds": 1}) == folder


def test_runs_with_long_paths_have_names_that_tell_them_apart(tmp_path):
    names = []
    for folder in ("a/very/long/way/to/the/place/of/it", "another/very/long/way/to/the/place/of/it"):
        path = tmp_path / folder / "Our voices.csv"
        path.parent.mkdir(parents=True)
        path.write_text("path,speaker_id,sex\n1.wav,a,female\n2.wav,b,male\n")
        chosen = chapters.check("speaker-identification", {"corpus": str(path), "group": "sex"})
        names.append(runs.run_name("speaker-identification", chosen).rpartition("__")[0])
    assert names[0] != names[1] and len({len(name) for name in names}) == 1
    assert all("corpus-Our-voices.csv-" in name and len(name) < 100 for name in names)


def test_changed_audio_under_an_unchanged_list_is_another_run(tmp_path):
    rng = np.random.default_rng(0)
    rows = ["path,speaker_id,sex"] + [f"{n}.wav,{'ab'[n % 2]},{['female', 'male'][n % 2]}" for n in range(4)]
    (tmp_path / "mine.csv").write_text("\n".join(rows))
    for number in range(4):
        soundfile.write(tmp_path / f"{number}.wav", 0.1 * rng.standard_normal(16000), 16000)
    chosen = chapters.check("speaker-identification", {"corpus": str(tmp_path / "mine.csv")})
    before = runs.made_from("speaker-identification", chosen)
    assert runs.made_from("speaker-identification", chosen) == before
    soundfile.write(tmp_path / "2.wav", 0.1 * rng.standard_normal(16000), 16000)  # as long as it was
    after = runs.made_from("speaker-identification", chosen)
    assert runs.changes(before, after) == ["the corpus's files"]


def test_changed_audio_that_a_kaldi_folder_points_to_is_another_run(tmp_path):
    rng, data = np.random.default_rng(0), tmp_path / "data"
    data.mkdir()
    for number in range(4):
        soundfile.write(tmp_path / f"{number}.wav", 0.1 * rng.standard_normal(16000), 16000)
    lines = {
        "wav.scp": [f"u{n} {tmp_path / f'{n}.wav'}" for n in range(4)],
        "utt2spk": [f"u{n} {'ab'[n % 2]}" for n in range(4)],
        "spk2gender": ["a f", "b m"],
    }
    for name, written in lines.items():
        (data / name).write_text("\n".join(written) + "\n")
    chosen = chapters.check("speaker-identification", {"corpus": str(data)})
    before = runs.made_from("speaker-identification", chosen)
    soundfile.write(tmp_path / "2.wav", 0.1 * rng.standard_normal(16000), 16000)
    assert runs.changes(before, runs.made_from("speaker-identification", chosen)) == ["the corpus's files"]


@pytest.mark.parametrize("variable", ["FAIRLIB_CACHE", "FAIRLIB_STORE"])
def test_a_folder_that_cannot_be_written_is_named_before_a_kernel_starts(variable, no_kernel, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    monkeypatch.setenv(variable, str(tmp_path / "file" / "below"))
    with pytest.raises(FolderError, match=rf"file/below cannot be written: .* name another folder by {variable}\."):
        runs.run("speaker-identification", {"corpus": "synthetic"})


def test_runs_that_cannot_be_kept_are_told_in_one_sentence(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "RUNS", tmp_path / "library.py" / "runs")
    with pytest.raises(FolderError, match="library.py/runs/.* cannot be written"):
        runs.plan("speaker-identification")

    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(100, 100, 0))
    with pytest.raises(FolderError, match="the disk of .*runs.* is full: free some space there"):
        runs.run("speaker-identification")
    monkeypatch.undo()


def test_a_disk_that_becomes_full_on_the_way_is_told_in_one_sentence(tiny, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(papermill, "execute_notebook", full)
    with pytest.raises(FolderError, match="the disk of .*_runs/speaker-identification__.* is full") as caught:
        runs.run("speaker-identification")
    assert "\n" not in str(caught.value)


def test_a_group_that_the_corpus_at_hand_does_not_divide_by_is_refused_before_a_kernel_starts(monkeypatch, no_kernel):
    """What Common Voice could record, a sample of it need not."""
    table = pd.DataFrame({"speaker_id": ["a", "b"], "sex": "female", "age_group": ["teens", "twenties"]})
    monkeypatch.setattr("fairlib.book.check.look_over", lambda *_: table)
    for group, words in (("sex", "only one group by 'sex'"), ("accent", "no groups by 'accent'")):
        with pytest.raises(ChapterError, match=f"{words}; it has groups by age_group"):
            runs.run("speaker-identification", {"corpus": "commonvoice", "group": group, "seeds": 7})


def test_a_hub_id_that_is_not_there_is_refused_before_a_kernel_starts(monkeypatch, no_kernel):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    asked = {"corpus": "synthetic", "encoder": "nobody/has-this-one"}
    with pytest.raises(ChapterError, match="nobody/has-this-one cannot be fetched from the model hub") as caught:
        runs.plan("speaker-identification", asked)
    assert "\n" not in str(caught.value)


def test_a_plan_says_why_a_chapter_would_be_executed(tiny, tmp_path):
    def why(values=None, **more):
        return runs.plan("speaker-identification", values or {"seeds": 1}, **more)[1]

    assert why() == "new: no run with these parameters yet"
    folder = runs.run("speaker-identification", {"seeds": 1})
    assert why() == "" and runs.plan("speaker-identification", {"seeds": 1})[0] == folder
    assert why({"seeds": 2}).startswith("new") and why(force=True) == "force was given"

    (folder / "chapter.html").write_text("half a p")
    assert why() == "damaged: chapter.html is not as the run left it"
    (folder / "chapter.html").unlink()
    assert why() == "damaged: chapter.html is missing"
    tiny.write_text(TINY + "\n# %%\n1 + 1\n")
    assert why().startswith("since the last run 20") and why().endswith("code: notebooks/05_speaker_identification.py")
    assert not runs.run("speaker-identification", {"seeds": 1}) == folder and why() == ""


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda folder: (folder / "provenance.json").write_text('{"chapter": "sp'), "its provenance.json is not what"),
        (lambda folder: (folder / "provenance.json").write_text("[]"), "its provenance.json is not what a run writes"),
        (lambda folder: (folder / "findings.json").write_text("[{}]"), "findings.json is not as the run left it"),
        (lambda folder: (folder / "chapter.ipynb").unlink(), "chapter.ipynb is missing"),
    ],
)
def test_a_damaged_run_is_named_and_run_again(tiny, capsys, harm, words):
    folder = runs.run("speaker-identification")
    whole = sorted(folder.iterdir())
    harm(folder)
    with pytest.raises(runs.RunError, match=words) as caught:
        runs.read_run(folder.name)
    assert "\n" not in str(caught.value)
    assert runs.run("speaker-identification") == folder
    assert words in capsys.readouterr().err
    assert runs.read_run(folder)["chapter"] == "speaker-identification" and sorted(folder.iterdir()) == whole


def test_a_run_that_is_not_there_is_told_with_the_nearest(tiny, monkeypatch):
    for name in ("fine-tuning__1234", "fine-tuning__1299"):
        (runs.RUNS / name).mkdir(parents=True)
    assert runs.find_run("fine-tuning__1234").name == "fine-tuning__1234"
    with pytest.raises(runs.RunError, match="several runs begin with 'fine': fine-tuning__1234, fine-tuning__1299"):
        runs.find_run("fine")
    with pytest.raises(runs.RunError, match="no run 'fin-tuning__1299'.*did you mean 'fine-tuning__1299'"):
        runs.find_run("fin-tuning__1299")
    with pytest.raises(runs.RunError, match="holds no finished run"):
        runs.read_run("fine-tuning__1234")


def test_no_chapter_loads_what_is_not_part_of_a_runs_key():
    """Whatever a notebook imports of fairlib, and all that this imports, is in the key."""
    imports = set()
    for source in chapters.NOTEBOOKS.glob("*.py"):
        for line in source.read_text().splitlines():
            found = re.match(r"\s*(?:from fairlib(\.[\w.]+)? import (.*)|import fairlib)", line)
            if found:
                names = re.findall(r"\w+", found.group(2) or "") if not found.group(1) else []
                imports |= {f"fairlib{found.group(1) or ''}", *(f"fairlib.{name}" for name in names)}
    code = (
        "import importlib, sys\n"
        f"for name in {sorted(imports)}:\n"
        "    try: importlib.import_module(name)\n"
        "    except ModuleNotFoundError: pass\n"  # a function, say
        "import fairlib\n"
        "for name in fairlib.__all__: getattr(fairlib, name)\n"
        "print(*[module.__file__ for name, module in sys.modules.items() if name.startswith('fairlib')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {Path(file).relative_to(chapters.ROOT).as_posix() for file in done.stdout.split()}
    # Of the book's own room a chapter loads the box at its end, and what that asks: how the chapter is declared.
    book = {name for name in loaded if name.startswith("fairlib/book/")}
    allowed = ("__init__", "chapters", "parameters", "provenance", "refusals")
    assert book <= {f"fairlib/book/{name}.py" for name in allowed}
    assert {"fairlib/bias/gaps.py", "fairlib/findings/views.py"} <= loaded - book <= set(run_keys._library_files())


def test_a_run_follows_from_the_commit_of_an_encoder_on_the_hub(monkeypatch):
    chosen, found = chapters.check("speaker-identification", {"encoder": "random:lab/moving"}), []
    for commit in ("aa", "bb"):
        monkeypatch.setattr(run_keys, "encoder_folder", lambda *_, at=commit, **__: Path("snapshots") / at)
        run_keys._commit.cache_clear()
        found.append(run_keys.made_from("speaker-identification", chosen))
    run_keys._commit.cache_clear()
    assert run_keys.changes(*found) == ["the encoder's commit"] and found[1]["the encoder's commit"] == "bb"


def test_the_library_that_a_run_follows_from_is_code_and_shipped_data():
    names = set(run_keys._library_files())
    assert {"fairlib/bias/gaps.py", "fairlib/assets/recipes/pocket-hubert.toml", "fairlib/book/provenance.py"} <= names
    assert not {"fairlib/cli.py", "fairlib/book/build.py", "fairlib/display/formats.py"} & names
    assert not [name for name in names if name.endswith(".pyc")]


def test_a_notebook_that_stops_leaves_what_it_had_but_no_result(tiny, tmp_path):
    with pytest.raises(ChapterStopped, match=r"stopped with KeyError: 'no such layer'.*stopped\.ipynb"):
        runs.execute("speaker-identification", {"encoder": "random:pocket-hubert"}, folder=tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["stopped.ipynb"]


@pytest.mark.parametrize(
    ("message", "words", "starts"),
    [
        ("Kernel died before replying to kernel_info", "its kernel did not start, 3 times", 3),
        ("something else", "something else", 1),
    ],
)
def test_only_a_kernel_that_did_not_start_is_started_again(tiny, tmp_path, monkeypatch, message, words, starts):
    tried = []

    def start(*_, **__):
        tried.append(1)
        raise RuntimeError(message)

    monkeypatch.setattr(papermill, "execute_notebook", start)
    with pytest.raises(RuntimeError, match=words):
        runs.execute("speaker-identification", folder=tmp_path / "out")
    assert len(tried) == starts


# The provenance box


def test_the_provenance_box_tells_what_the_outcomes_came_from(monkeypatch):
    outcomes = pd.DataFrame({"encoder": "pocket-<hubert>", "corpus": "c", "task": "sid", "seed": [0, 1]})
    facts = {"origin": "published", "encoder_fingerprint": "a" * 64, "corpus_fingerprint": "b" * 64}
    facts |= {"device": "cpu", "duration_s": 1234.5}
    monkeypatch.setattr("fairlib.outcomes.provenance", lambda table: facts)
    box = provenance.provenance_box([outcomes], {"corpus": "synthetic", "seeds": 2})
    for words in ("published", "a" * 12, "b" * 12, "on cpu", "1,234 s", "0, 1", "pocket-&lt;hubert&gt;"):
        assert words in box.data
    assert "fairlib run speaker-identification --encoder mini-hubert-long --corpus synthetic" in box.data
    assert box.metadata["fairlib"]["outcomes"][0]["encoder_fingerprint"] == "a" * 64


def test_a_run_keeps_the_facts_of_its_box(tiny):
    tiny.write_text(
        TINY
        + """
# %%
import fairlib.outcomes
import pandas as pd
from fairlib.book.provenance import provenance_box
outcomes = pd.DataFrame({"encoder": ["e"], "corpus": "c", "task": "sid", "seed": 3})
fairlib.outcomes.provenance = lambda table: {"device": "cuda:0", "encoder_fingerprint": "abc"}
provenance_box([outcomes], dict(encoder=encoder, corpus=corpus, group=group, seeds=seeds, force=force))
"""
    )
    folder = runs.run("speaker-identification")
    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance["seeds"] == [3] and provenance["device"] == "cuda:0"
    assert provenance["outcomes"][0]["encoder_fingerprint"] == "abc"


def test_a_run_keeps_the_outcomes_that_it_used(tiny):
    tiny.write_text(
        TINY
        + """
# %%
import fairlib
from fairlib.book.provenance import provenance_box
outcomes = fairlib.probe_speakers("logmel", corpus, seeds=2)
provenance_box([outcomes], dict(encoder=encoder, corpus=corpus, group=group, seeds=seeds, layer=layer, force=force))
"""
    )
    folder = runs.run("speaker-identification")
    kept = runs.run_outcomes(folder)
    assert kept["entry"].nunique() == 2 and set(kept["encoder"]) == {"logmel"} and len(kept) > 1000
    assert len(pd.read_parquet(folder / "outcomes")) == len(kept)  # as anybody would read it
    files = json.loads((folder / "provenance.json").read_text())["files"]
    assert {f"outcomes/{name}" for name in kept["entry"]} <= set(files)


# The real chapters, live on the synthetic corpus


@pytest.mark.slow
@pytest.mark.parametrize("chapter", chapters.chapters())
def test_a_chapter_runs_end_to_end_on_synthetic_speech_without_any_data(chapter, tmp_path):
    about_an_encoder = "corpus" in chapters.parameters(chapter).model_fields
    options = ["--corpus", "synthetic", "--seeds", "1"] if about_an_encoder else ["--planted", "0.5"]
    if chapter == "fine-tuning":  # two encoders that need no fine-tuning of a test's own
        options += ["--encoder", "pocket-hubert", "--pretrained", "pocket-hubert-it1"]
    environment = {name: value for name, value in os.environ.items() if name != "FAIRLIB_DATA"}
    environment |= {"FAIRLIB_STORE": str(tmp_path / "store"), "HF_HUB_OFFLINE": "1"}
    code = (
        "import sys; from pathlib import Path; from fairlib import cli; from fairlib.book import runs; "
        f"runs.RUNS = Path({str(tmp_path / 'runs')!r}); sys.exit(cli.main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "run", chapter, *options],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.splitlines()[-1])
    notebook = nbformat.read(folder / "chapter.ipynb", as_version=4)
    pages = [
        output.data.get("text/html", "")
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type in ("display_data", "execute_result")
    ]
    assert any("fairlib-chart" in page for page in pages)
    provenance = json.loads((folder / "provenance.json").read_text())
    corpus = "synthetic" if about_an_encoder else "planted"
    assert {facts["corpus"] for facts in provenance["outcomes"]} == {corpus}
    found = json.loads((folder / "findings.json").read_text())
    assert len(found) == FINDINGS.get(chapter, 2)
    for finding in found:
        assert finding["criterion"] and finding["sentence"] and finding["evidence"]
        assert finding["verdict"] in ("supported", "contradicted", "inconclusive")
    for facts in provenance["outcomes"]:
        assert facts["encoder_fingerprint"] and facts["corpus_fingerprint"]


# The book


def test_a_book_that_does_not_build_says_why_and_leaves_the_last_one(tiny, tmp_path, monkeypatch):
    project = tmp_path / "project"
    (project / "book").mkdir(parents=True)
    (project / "_config.yml").write_text("title: A tiny book\nexecute: {execute_notebooks: 'off'}\n")
    (project / "_toc.yml").write_text("format: jb-book\nroot: book/first\n")
    (project / "book" / "first.md").write_text("# First\n\nA page.\n")
    monkeypatch.setattr(build, "ROOT", project)
    monkeypatch.setattr(chapters, "_CHAPTERS", ())
    page = build.build_book(tmp_path / "html")
    assert page.name == "index.html" and "A page." in (tmp_path / "html" / "book" / "first.html").read_text()

    (project / "book" / "first.md").write_text("# First\n\n[nowhere](nowhere.md)\n")
    with pytest.raises(build.BookError, match=r"book\.log(?s:.*)WARNING.*nowhere"):
        build.build_book(tmp_path / "html")
    assert "A page." in (tmp_path / "html" / "book" / "first.html").read_text()


def test_a_chapter_of_the_book_is_executed_once(tiny, monkeypatch):
    chapter = chapters.chapters()["speaker-identification"]
    executed = []
    real = runs.execute
    monkeypatch.setattr(build, "execute", lambda *args, **kw: executed.append(args) or real(*args, **kw))
    for times, text in ((1, TINY), (1, TINY), (2, TINY + "\n# %%\n1 + 1\n")):
        tiny.write_text(text)
        if not build._is_current(chapter):
            build._execute(chapter.name)
        assert build._is_current(chapter) and len(executed) == times
