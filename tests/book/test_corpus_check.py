"""What is said of a corpus before anything is computed from it."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from fairlib.bias import FEWEST_SHOWN
from fairlib.book import check as checking
from fairlib.book import runs
from fairlib.book.check import (
    LEAST_PEOPLE,
    LEAST_UTTERANCES,
    check_corpus,
    look_over,
    of_chapters,
    warnings_of,
    written,
)
from fairlib.cli import main
from fairlib.corpora import CorpusError, load_corpus
from fairlib.probes.speakers import FEWEST_UTTERANCES


@pytest.fixture
def voices(tmp_path: Path, monkeypatch) -> Path:
    """Ten speakers in two regions, four utterances each."""
    monkeypatch.setenv("FAIRLIB_CACHE", str(tmp_path / "cache"))
    rng, rows = np.random.default_rng(0), []
    for speaker in "abcdefghij":
        (tmp_path / speaker).mkdir()
        for number in range(4):
            soundfile.write(tmp_path / speaker / f"{number}.wav", 0.1 * rng.standard_normal(8000), 16_000)
            rows.append([f"{speaker}/{number}.wav", speaker, "hello", "north" if speaker < "f" else "south"])
    table = pd.DataFrame(rows, columns=["path", "speaker_id", "text", "region"])
    table.to_csv(tmp_path / "voices.csv", index=False)
    return tmp_path / "voices.csv"


def change(voices: Path, edit) -> None:
    edit(pd.read_csv(voices)).to_csv(voices, index=False)


def set_value(column: str, rows, value):
    return lambda table: table.assign(**{column: table[column].mask(table.index.isin(rows), value)})


def test_a_sound_corpus(voices):
    check = check_corpus(voices)
    assert (check.corpus, len(check.people), check.people["utterances"].tolist()) == ("own-voices", 10, [4] * 10)
    assert check.groups[["by", "group", "speakers", "utterances"]].values.tolist() == [
        ["region", "north", 5, 20], ["region", "south", 5, 20],
    ]  # fmt: skip
    assert not (check.remarks or check.unreadable or len(check.faults) or check.left_out or check.impossible)
    assert warnings_of(check) == []


def test_the_least_that_is_said_is_the_least_that_is_needed():
    assert (LEAST_UTTERANCES, LEAST_PEOPLE) == (FEWEST_UTTERANCES, FEWEST_SHOWN)


def test_odd_audio_is_named(voices):
    silent, short, copy = (voices.parent / name for name in ("a/0.wav", "b/1.wav", "d/2.wav"))
    soundfile.write(silent, np.zeros(8000), 16_000)
    soundfile.write(short, np.arange(100) / 200, 16_000)
    shutil.copyfile(voices.parent / "c/3.wav", copy)
    shutil.copyfile(voices.parent / "c/3.wav", voices.parent / "c/2.wav")
    check = check_corpus(voices)
    faults = check.faults.groupby("utterance_id")["fault"].agg(" and ".join).to_dict()
    assert faults["a/0"] == "silent throughout" and "shorter than one frame" in faults["b/1"]
    # Of copies, the first that the table has is the original.
    assert faults["d/2"] == "a copy of c/2 of speaker c" and faults["c/3"] == "a copy of c/2 of the same speaker"
    assert check.unreadable == [] and set(faults) == {"a/0", "b/1", "c/3", "d/2"}
    told = warnings_of(check)[0]
    assert told.startswith("4 audio files should be checked. Silent throughout: a/0; ")
    assert "Under two speakers: d/2 of d is a copy of c/2 of speaker c." in told


def test_audio_that_cannot_be_used_stops_a_run(voices, capsys):
    samples = np.full(8000, 0.1, np.float32)
    samples[17] = np.nan
    soundfile.write(voices.parent / "a/0.wav", samples, 16_000, subtype="FLOAT")
    assert len(check_corpus(voices).unreadable) == 1
    with pytest.raises(CorpusError, match=r"1 utterance of .*voices.csv cannot be read; the first: .*a/0\.wav"):
        look_over(str(voices))
    assert main(["check", str(voices)]) == 1
    assert "Cannot be read: 1 utterance" in capsys.readouterr().out


def test_audio_is_listened_to_once_and_again_where_it_changed(voices, monkeypatch):
    heard = []
    monkeypatch.setattr(checking, "audio_faults", lambda path: heard.append(path) or [])
    check_corpus(voices)
    assert len(heard) == 40
    check_corpus(voices)
    assert len(heard) == 40
    soundfile.write(voices.parent / "a/0.wav", np.ones(4000) / 10, 16_000)
    check_corpus(voices)
    assert len(heard) == 80


def test_transcripts_are_counted(voices):
    change(voices, set_value("text", [0, 1], ""))
    change(voices, set_value("text", [5], "48 Ridge Road"))
    check = check_corpus(voices)
    assert (check.untranscribed, check.with_digits) == (2, 1)
    assert check.left_out["speech recognition"] == "2 utterances without a transcript" and not check.impossible
    assert "transcripts     2 of 40 missing, 1 with digits" in written(check)
    change(voices, lambda table: table.assign(text=""))
    check = check_corpus(voices)
    assert "there are no transcripts" in check.impossible["phone classification"]
    assert "speech recognition" not in check.left_out


def test_few_utterances_leave_out_speakers_or_all(voices):
    change(voices, lambda table: table.drop(index=[0]))
    check = check_corpus(voices)
    assert check.left_out == {"speaker identification": "1 speaker with fewer than 4 utterances"}
    assert "; speaker identification leaves out 1 speaker with fewer" in of_chapters(check)["encoders-and-layers"]
    change(voices, lambda table: table[~table["path"].str.contains("0")])
    check = check_corpus(voices)
    assert "verification is used instead" in check.left_out["speaker identification"] and not check.impossible


def test_which_chapters_can_be_run(voices):
    told = of_chapters(check_corpus(voices))
    assert told["speaker-identification"] == "runs by region" and told["measuring-bias"] == "runs; it reads no corpus"
    change(voices, lambda table: table.drop(columns="text"))
    told = of_chapters(check_corpus(voices))
    assert told["opposite-patterns"] == "runs by region; without speech recognition"
    assert told["speech-recognition"].startswith("cannot be run: there are no transcripts")
    change(voices, set_value("region", range(4), "south"))
    told = of_chapters(check_corpus(voices))
    assert told["speaker-identification"].startswith(
        "cannot be run: comparing region needs two groups of at least 5 speakers"
    )
    assert told["your-own-model"].startswith("describes it by region")


def test_what_loading_says_and_what_is_missing(voices):
    change(voices, set_value("region", range(4), "Unknown"))
    change(voices, set_value("region", range(8, 12), "South"))
    check = check_corpus(voices)
    assert [remark.partition(":")[0] for remark in check.remarks] == [
        "Taken as not recorded", "Groups that may be the same people's",
    ]  # fmt: skip
    assert "region          south 5, north 3, South 1, not recorded 1" in written(check)


def test_a_table_can_be_checked(voices):
    table = load_corpus(str(voices))[["path", "speaker_id", "region"]]
    check = check_corpus(table)
    assert len(check.people) == 10 and check.untranscribed == 40
    empty = check_corpus(table.drop(columns="region"))
    assert empty.groups.empty and "Groups cannot be compared" in " ".join(warnings_of(empty))


def test_the_command_and_its_mistakes(voices, capsys):
    assert main(["check", str(voices)]) == 0
    told = capsys.readouterr().out
    assert told.startswith("own-voices: 10 speakers, 40 utterances, 0.0 h; 4 to 4 utterances a speaker (median 4)\n")
    assert "speaker-identification    runs by region\n" in told
    assert main(["check", "librespeech"]) == 2
    assert "did you mean 'librispeech'" in capsys.readouterr().err


def test_a_run_says_what_is_odd_before_its_kernel_starts(voices, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runs, "RUNS", tmp_path / "_runs")
    soundfile.write(voices.parent / "a/0.wav", np.zeros(8000), 16_000)
    values = {"corpus": str(voices), "group": "region"}
    runs.plan("speaker-identification", values)
    assert "own-voices: 1 audio file should be checked. Silent throughout: a/0." in capsys.readouterr().err
    runs.plan("robustness", values)
    assert "Silent" not in capsys.readouterr().err  # once
