"""A folder of audio in the place of a corpus's name: with and without metadata, and what is said of wrong ones."""

import csv
import io
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import soundfile
from own_speech import complaint, in_folders_of_their_own  # noqa: F401 (a fixture)

import fairlib
from fairlib.book.check import check_corpus, written
from fairlib.corpora import load_corpus, own_groups
from fairlib.corpora.audio import AudioError, read_audio

PEOPLE = {"anna": "north", "ben": "north", "cleo": "south", "dan": "south"}
RULE = "the first folder level names the speaker (below folders such as train and test, the next one), unless metadata"


def sound(file: Path, pitch: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(pitch).standard_normal(8000) / 100
    soundfile.write(file, 0.1 * np.sin(2 * np.pi * pitch * np.arange(8000) / 16_000) + noise, 16_000)


@pytest.fixture
def voices(tmp_path: Path) -> Path:
    """Four people, four utterances each, half of them a folder deeper."""
    for place, who in enumerate(PEOPLE):
        for number in range(4):
            deeper = "later/" if number % 2 else ""
            sound(
                tmp_path / "voices" / who / f"{deeper}{number}.{'flac' if number else 'wav'}", 200 + 40 * place + number
            )
    return tmp_path / "voices"


def names(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.suffix in (".wav", ".flac"))


def write(path: Path, rows: list[dict]) -> Path:
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
        path.write_text(text.getvalue())
    return path


def same_as(table, folder: Path, rows: list[dict]) -> bool:
    """Whether a table is that of a CSV beside the audio, the corpus's name aside."""
    same = load_corpus(str(write(folder / "same.csv", rows)))
    (folder / "same.csv").unlink()
    return table.drop(columns="corpus").equals(same.drop(columns="corpus")[[c for c in table if c != "corpus"]])


def test_the_first_folder_level_is_the_speaker(voices: Path) -> None:
    rows = [{"path": name, "speaker_id": name.split("/")[0]} for name in names(voices)]
    sound(voices / ".cache" / "0.wav", 100)
    with pytest.warns(
        UserWarning, match=r"4 folders are taken as speakers, by their names \(anna, ben, cleo, \.\.\.\)"
    ):
        table = load_corpus(str(voices))
    assert set(table["corpus"]) == {"own-voices"} and table["utterance_id"][:2].tolist() == ["anna/0", "anna/2"]
    assert same_as(table, voices, rows)


def test_below_train_and_test_the_next_level_is_the_speaker(voices: Path) -> None:
    for split, who in (("train", "anna"), ("train", "ben"), ("test", "cleo"), ("test", "dan")):
        (voices / split).mkdir(exist_ok=True)
        (voices / who).rename(voices / split / who)
    table = load_corpus(str(voices))
    assert table["speaker_id"].nunique() == 4
    assert table.groupby("speaker_id")["split"].first().to_dict() == {
        "anna": "train",
        "ben": "train",
        "cleo": "test",
        "dan": "test",
    }


def test_splits_are_never_taken_for_speakers(voices: Path) -> None:
    for split, who in (("train", "anna"), ("train", "ben"), ("test", "cleo")):
        (voices / split).mkdir(exist_ok=True)
        (voices / who).rename(voices / split / who)
    assert f"{voices} has test, train beside dan: the first are splits and no speakers" in complaint(voices)
    # Where a list names the speakers, what it does not list changes no split; nor do a Windows list's backslashes.
    for mark in ("/", "\\"):
        for split in ("train", "test"):
            listed = [name for name in names(voices / split) if name.endswith(".flac")]
            rows = [{"file_name": name.replace("/", mark), "speaker_id": name.split("/")[0]} for name in listed]
            write(voices / split / "metadata.csv", rows)
        with pytest.warns(UserWarning, match="7 audio files that its metadata do not list are left out"):
            table = load_corpus(str(voices))
        splits = table.groupby("speaker_id")["split"].first().to_dict()
        assert splits == {"anna": "train", "ben": "train", "cleo": "test"}
    for split in ("train", "test"):
        (voices / split / "metadata.csv").unlink()
    (voices / "dan" / "0.wav").rename(voices / "noise.wav")
    shutil.rmtree(voices / "dan")
    with pytest.warns(UserWarning, match="1 left out of 13 utterances"):
        table = load_corpus(str(voices), on_error="skip")
    assert set(table["speaker_id"]) == {"anna", "ben", "cleo"} and set(table["split"]) == {"train", "test"}


def test_what_is_recorded_of_the_speakers_stands_in_a_list_of_its_own(voices: Path) -> None:
    speakers = [{"speaker_id": who, "region": region, "Age": 30} for who, region in PEOPLE.items()]
    write(voices / "speakers.csv", speakers[:3])
    with pytest.warns(UserWarning, match=r"1 speakers are not in speakers\.csv \(dan first\)"):
        table = load_corpus(str(voices))
    assert table["region"].isna().sum() == 4 and own_groups(voices) == {"region": ["north", "south"]}
    write(voices / "speakers.csv", speakers)
    rows = [{"path": name, "speaker_id": name.split("/")[0]} for name in names(voices)]
    described = [row | {"region": PEOPLE[row["speaker_id"]], "age": 30} for row in rows]
    assert same_as(load_corpus(str(voices)), voices, described)
    outcomes = fairlib.probe("logmel", fairlib.SpeakerProbe(seeds=1, iterations=20), str(voices))
    assert set(outcomes["corpus"]) == {"own-voices"} and set(outcomes["region"]) == {"north", "south"}


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_metadata_are_read_as_hugging_face_has_them(voices: Path, ending: str) -> None:
    listed = names(voices)[:-1]
    said = [
        {
            "file_name": name,
            "transcription": f"Well, {name[-6]}",
            "speaker_id": name[0],
            "region": PEOPLE[name.split("/")[0]],
        }
        for name in listed
    ]
    write(voices / f"metadata.{ending}", said)
    (voices / "old.m4a").write_bytes(b"")
    (voices / "notes.csv").write_text("a,b\n")
    with pytest.warns(UserWarning) as warned:
        table = load_corpus(str(voices))
    told = " ".join(str(one.message) for one in warned)
    assert "1 audio files that its metadata do not list are left out; 1 files are left out whose format" in told
    assert "(.m4a): make FLAC of them; not read: notes.csv." in told
    same = [
        {
            "path": one["file_name"],
            "speaker_id": one["speaker_id"],
            "text": one["transcription"],
            "region": one["region"],
        }
        for one in said
    ]
    assert same_as(table, voices, same)


def test_metadata_that_name_no_speaker_leave_it_to_the_folders_and_may_stand_in_each_split(voices: Path) -> None:
    for split, who in (("train", "anna"), ("train", "ben"), ("test", "cleo")):
        (voices / split).mkdir(exist_ok=True)
        (voices / who).rename(voices / split / who)
    (voices / "test" / "dan").symlink_to((voices / "dan").rename(voices.parent / "dan"))
    for split in ("train", "test"):
        rows = [
            {"file_name": f"{who}/0.wav", "text": f"I am {who}"} for who in PEOPLE if (voices / split / who).exists()
        ]
        write(voices / split / "metadata.csv", [row | {"region": "here"} if split == "test" else row for row in rows])
    with pytest.warns(UserWarning, match="12 audio files that its metadata do not list are left out"):
        table = load_corpus(str(voices))
    assert table["speaker_id"].tolist() == ["cleo", "dan", "anna", "ben"]
    assert table["text"].tolist() == ["I am cleo", "I am dan", "I am anna", "I am ben"]
    assert table["split"].tolist() == ["test"] * 2 + ["train"] * 2


def test_where_nobody_says_who_speaks_the_rule_is_told(voices: Path, tmp_path: Path) -> None:
    assert f"{voices / 'anna'} has its audio in one folder alone, 'later': {RULE}" in complaint(voices / "anna")
    message = complaint(voices / "anna" / "later")
    assert f"has its audio in no speaker's folder: {RULE}" in message and message.endswith("file_name and speaker_id.")
    write(voices / "anna" / "later" / "list.csv", [{"path": "1.flac", "speaker_id": "anna"}])
    assert complaint(voices / "anna" / "later").endswith(
        "; or give " + str(voices / "anna/later/list.csv") + " itself."
    )
    sound(voices / "noise.wav", 100)
    assert f"{voices / 'noise.wav'} lies in no speaker's folder: {RULE}" in complaint(voices)
    with pytest.warns(UserWarning, match="1 left out of 17 utterances"):
        assert len(load_corpus(str(voices), on_error="skip")) == 16


@pytest.mark.skipif(sys.platform != "linux", reason="other systems give no file such a name")
def test_a_name_whose_bytes_are_no_utf8_costs_its_file_alone(voices: Path, capsys) -> None:
    for name in (b"anna/4\xfc.flac", b"M\xfcller/0.flac"):
        os.makedirs(os.path.dirname(os.fsencode(voices) + b"/" + name), exist_ok=True)
        shutil.copy(voices / "anna" / "2.flac", os.fsencode(voices) + b"/" + name)
    assert r"M\xfcller/0.flac has a name that is not UTF-8: rename it, or leave it out" in complaint(voices)
    with pytest.warns(UserWarning, match=r"4 folders are taken as speakers"):
        assert len(load_corpus(str(voices), on_error="skip")) == 16
    with pytest.raises(AudioError, match=r"4\\xfc.flac has a name that is not UTF-8"):
        read_audio(os.fsdecode(os.fsencode(voices) + b"/anna/4\xfc.flac"))
    print(written(check_corpus(str(voices))))
    assert "Cannot be read: 2 utterances" in capsys.readouterr().out


def test_a_folder_that_holds_none_of_the_formats_is_told_which_there_are(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    message = complaint(tmp_path / "empty")
    assert "holds no audio (.wav, .flac, .ogg, .opus, .mp3), no Kaldi data (wav.scp), no lhotse manifests" in message
    assert "no dataset that save_to_disk of datasets wrote (state.json or dataset_dict.json)" in message


def test_metadata_and_speakers_that_do_not_fit_get_one_sentence(voices: Path) -> None:
    said = [{"file_name": name, "text": "well"} for name in names(voices)]
    write(voices / "metadata.csv", [*said, {"file_name": "anna/9.wav", "text": "gone"}])
    assert "anna/9.wav is listed in " in complaint(voices) and "metadata.csv line 18" in complaint(voices)
    write(voices / "metadata.csv", [*said, {"file_name": "", "text": "none"}])
    assert "metadata.csv line 18 has no file_name: fill it in" in complaint(voices)
    write(voices / "metadata.csv", [{"path": name} for name in names(voices)])
    assert "metadata.csv has no column 'file_name'" in complaint(voices)
    write(voices / "metadata.jsonl", said)
    assert f"two files of metadata, {voices / 'metadata.csv'} and {voices / 'metadata.jsonl'}" in complaint(voices)
    (voices / "metadata.csv").unlink()
    write(voices / "speakers.csv", [{"speaker_id": "anna", "text": "well"}])
    assert "speakers.csv has a column 'text' that the utterances have too" in complaint(voices)
    write(voices / "speakers.csv", [{"speaker_id": f"p{n}", "sex": "f"} for n in range(3)])
    assert "names none of the folder's speakers (anna, ben, cleo, ...)" in complaint(voices)
    write(voices / "speakers.csv", [{"speaker_id": "anna", "sex": sex} for sex in "fm"])
    assert "speakers.csv line 3 lists speaker 'anna' a second time, after " in complaint(voices)
