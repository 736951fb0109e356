"""A study is read from its file, computed again, compared with what is published, and published."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from fairlib import outcomes as outcomes_module
from fairlib.book import grids, prediction, runs
from fairlib.book import studies as study_module
from fairlib.book.studies import StudyError, call, load_study, publish, read_study, reproduce
from fairlib.cli import main
from fairlib.corpora import CorpusError
from fairlib.probes import stored as stored_module

STUDY = """
title = "Two calls"
[encoders]
controls = ["logmel"]
[[probes]]
call = "probe_speakers"
encoders = ["controls"]
corpora = ["hums"]
seeds = 2
[[probes]]
call = "verify_speakers"
encoders = ["controls"]
corpora = ["hums"]
options = { by = ["group"] }
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    return path


@pytest.fixture
def hums(tmp_path, monkeypatch):
    """Eight people who hum, each at a pitch of their own; published outcomes, store and cache are the test's own."""
    monkeypatch.setenv("FAIRLIB_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("FAIRLIB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "published").mkdir()
    monkeypatch.setattr(outcomes_module, "PUBLISHED", tmp_path / "published")
    rng, rows = np.random.default_rng(0), []
    for speaker in range(8):
        for take in range(6):
            path = tmp_path / f"{speaker}{take}.wav"
            time = np.arange(12000) / 16000
            sound = np.sin(2 * np.pi * (200 + 60 * speaker) * time) + 0.5 * rng.standard_normal(12000)
            soundfile.write(path, 0.1 * sound, 16000)
            rows.append({"utterance_id": path.stem, "path": str(path), "speaker_id": f"s{speaker}", "text": None})
    table = pd.DataFrame(rows).assign(duration_s=0.75, corpus="hums", group=["a", "b"] * 24)
    table["group"] = np.where(table["speaker_id"].isin(["s0", "s2", "s4", "s6"]), "low", "high")
    monkeypatch.setattr(stored_module, "load_corpus", lambda name: table)
    return table


def test_a_study_is_reproduced_published_and_compared(file, hums, tmp_path, capsys):
    calls = read_study(file)
    first = reproduce(calls)
    assert first["deviation"].isna().all() and "not published" in capsys.readouterr().out
    publish(first)
    assert len(outcomes_module.published_names()) == 3  # two seeds of one probe, one of the other

    again = reproduce(calls)  # from the store: the same numbers
    assert (again["deviation"] == 0).all() and again["lowest"].tolist() == first["lowest"].tolist()

    # Published numbers that the audio does not give are told.
    entry = outcomes_module.find_entry(first["entries"][0][0])
    rows = entry.outcomes
    wrong = rows.assign(errors=np.where(np.arange(len(rows)) == 0, 1 - rows["errors"], rows["errors"]))
    outcomes_module.publish_entries([outcomes_module.write_outcomes(wrong, entry.key, entry.about).name])
    outcomes_module.write_outcomes(rows, entry.key, entry.about)
    assert reproduce(calls)["deviation"].tolist() == pytest.approx([100 / 16 / 2, 0])


def test_encoders_along_pretraining_are_published_by_their_fingerprints(tmp_path, monkeypatch):
    monkeypatch.setattr(study_module, "CHECKPOINTS", tmp_path / "checkpoints.json")
    monkeypatch.setattr(study_module, "encoder_fingerprint", lambda name: f"weights of {name}")
    published = []
    monkeypatch.setattr(study_module, "publish_entries", published.extend)
    for step in ("100", "200"):
        rows = {"encoder": [f"pocket@{step}", "logmel"], "corpus": "synthetic", "entries": [[f"{step}.parquet"]] * 2}
        publish(pd.DataFrame(rows))
    known = json.loads((tmp_path / "checkpoints.json").read_text())
    assert known == {"pocket@100": "weights of pocket@100", "pocket@200": "weights of pocket@200"}
    assert published == ["100.parquet"] * 2 + ["200.parquet"] * 2


def test_a_call_that_fails_is_told_and_the_others_go_on(file, hums, monkeypatch, capsys):
    real = study_module.call

    def call(row):
        if row["call"] == "probe_speakers":
            raise MemoryError("no room")
        return real(row)

    monkeypatch.setattr(study_module, "call", call)
    done = reproduce(read_study(file))
    assert done["failed"].tolist() == ["MemoryError: no room", ""] and done["entries"].map(len).tolist() == [0, 1]
    publish(done)
    capsys.readouterr()
    assert main(["reproduce", str(file)]) == 1
    said = capsys.readouterr()
    assert "1 of 2 calls computed; largest deviation 0.00." in said.out
    assert said.err == "failed: logmel hums probe_speakers(seeds=2): MemoryError: no room\n"


CHAPTERS = """
title = "Two chapters"
[encoders]
ours = ["pocket-hubert", "pocket-wav2vec2"]
[[chapters]]
chapter = "speech-recognition"
encoders = ["ours"]
group = ["sex", "age_group"]
probe = "linear"
[[chapters]]
chapter = "measuring-bias"
speakers = [20, 40]
"""


def test_a_study_may_run_chapters_for_every_combination(file, monkeypatch, capsys):
    file.write_text(CHAPTERS)
    _, calls, jobs = load_study(file)
    assert calls.empty and [chapter for chapter, _ in jobs] == ["speech-recognition"] * 4 + ["measuring-bias"] * 2
    asked = [(values["encoder"], values["group"], values["probe"]) for _, values in jobs[:4]]
    assert set(asked) == {(e, g, "linear") for e in ("pocket-hubert", "pocket-wav2vec2") for g in ("sex", "age_group")}

    monkeypatch.setattr(runs, "plan", lambda chapter, values, force=False: (Path(chapter), "new: never run"))
    assert main(["reproduce", str(file), "--dry-run", "--encoder", "pocket-wav2vec2"]) == 0
    assert capsys.readouterr().out == "run    speech-recognition  (new: never run)\n" * 2

    given = {}
    monkeypatch.setattr(grids, "run_all", lambda jobs, **settings: given.update(settings, jobs=jobs) or [])
    assert main(["reproduce", str(file), "--workers", "2"]) == 0
    assert given["jobs"] == jobs and given["workers"] == 2


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"measuring-bias"', '"measuring-bais"', "did you mean 'measuring-bias'"),
        ("probe = ", "prob = ", "has no parameter 'prob': did you mean 'probe'"),
        ("[20, 40]", '["many"]', "speakers must be a whole number, not 'many'"),
        ('["ours"]', '["theirs"]', "unknown group of encoders 'theirs', there are: ours"),
        (CHAPTERS[CHAPTERS.index("[[") :], "", "it asks for nothing"),
    ],
)
def test_a_wrong_chapter_of_a_study_is_told_before_anything_is_run(file, old, new, sentence):
    file.write_text(CHAPTERS.replace(old, new))
    with pytest.raises(StudyError, match=sentence):
        load_study(file)


def test_computing_again_does_not_read_what_is_published(file, hums, tmp_path):
    calls = read_study(file)
    publish(reproduce(calls))
    for path in (tmp_path / "store").glob("*"):
        path.unlink()
    assert outcomes_module.provenance(call(calls.to_dict("records")[0]))["origin"] == "published"
    reproduce(calls)
    assert len(list((tmp_path / "store").glob("*.parquet"))) == 3  # made anew


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"probe_speakers"', '"probe_singers"', r"wrong at probes\.0\.call"),
        ('encoders = ["controls"]', 'encoders = ["giants"]', "unknown group of encoders 'giants', there are: controls"),
        ("seeds = 2", "seeds = 0", r"wrong at probes\.0\.seeds"),
        ("title", "tilte", "wrong at title"),
        ("[encoders]", "[encoders", "cannot be read"),
        ("seeds = 2", "seeds = 2\noptions = { seeds = 3 }", r"wrong at probes\.0: .*seeds stands in options, too"),
    ],
)
def test_a_wrong_study_is_told_in_one_sentence(file, old, new, sentence):
    file.write_text(STUDY.replace(old, new, 1))
    with pytest.raises(StudyError, match=sentence):
        read_study(file)


def test_a_study_is_read_as_utf_8_or_is_said_not_to_be(file):
    file.write_text(STUDY.replace("Two calls", "Zwei Aufrufe für alle"), encoding="utf-8")
    assert load_study(file)[0].title == "Zwei Aufrufe für alle"
    file.write_text(STUDY.replace("Two calls", "Zwei Aufrufe für alle"), encoding="latin-1")
    with pytest.raises(StudyError, match="cannot be read: 'utf-8' codec can't decode"):
        read_study(file)


def test_the_command_lists_and_names_what_the_study_lacks(file, capsys, hums, monkeypatch):
    monkeypatch.setattr(prediction, "load_corpus", lambda name: hums)
    assert main(["reproduce", str(file), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "probe_speakers(seeds=2)" in said and "Total: about 0 hours" in said
    assert main(["reproduce", str(file), "--encoder", "wav2vec3"]) == 2
    assert "the study has no encoder 'wav2vec3': logmel" in capsys.readouterr().err


def test_the_published_study_is_what_is_published(monkeypatch, tmp_path):
    """Every call of the study is answered without audio, and nothing else lies beside its entries."""
    monkeypatch.delenv("FAIRLIB_DATA", raising=False)
    monkeypatch.setenv("FAIRLIB_STORE", str(tmp_path))
    entries = set()
    for row in read_study().to_dict("records"):
        try:
            entries |= set(call(row)["entry"])
        except CorpusError:
            pytest.fail(f"not published: {row}")
    assert entries == set(outcomes_module.published_names())
