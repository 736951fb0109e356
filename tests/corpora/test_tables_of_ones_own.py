"""A list of one's own as TSV, JSON lines or Parquet: the same corpus as the CSV, with the same care for mistakes."""

import gzip
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
import soundfile
from own_speech import complaint, in_folders_of_their_own  # noqa: F401 (a fixture)

import fairlib
from fairlib.book import chapters
from fairlib.corpora import is_own, load_corpus, own_groups, own_name

PEOPLE = {"anna": ("north", 31), "ben": ("north", 40), "cleo": ("south", 52), "dan": ("south", 67)}


@pytest.fixture
def voices(tmp_path: Path) -> pd.DataFrame:
    rows = []
    for place, (who, (region, age)) in enumerate(PEOPLE.items()):
        for number in range(4):
            file = tmp_path / f"{who}{number}.wav"
            noise = np.random.default_rng(4 * place + number).standard_normal(8000) / 100
            soundfile.write(file, 0.1 * np.sin((200 + 40 * place) * np.arange(8000) / 2546) + noise, 16_000)
            rows.append(
                {"path": file.name, "Speaker_ID": who, "text": f'"Well", {number}', "region": region, "age": age}
            )
    return pd.DataFrame(rows)


WRITERS = {
    "tsv": lambda table, path: path.write_text(
        "\n".join("\t".join(map(str, row)) for row in [table.columns, *table.to_numpy().tolist()])
    ),
    "jsonl": lambda table, path: table.to_json(path, orient="records", lines=True),
    "jsonl.gz": lambda table, path: table.to_json(path, orient="records", lines=True),
    "parquet": lambda table, path: table.to_parquet(path),
}


def written(table: pd.DataFrame, path: Path) -> Path:
    WRITERS[path.name.split(".", 1)[1]](table, path)
    return path


@pytest.mark.parametrize("ending", WRITERS)
def test_it_is_the_same_corpus_as_the_csv(voices: pd.DataFrame, tmp_path: Path, ending: str) -> None:
    voices.to_csv(tmp_path / "voices.csv", index=False)
    path = written(voices, tmp_path / f"voices.{ending}")
    table = load_corpus(str(path))
    assert table.equals(load_corpus(str(tmp_path / "voices.csv"))) and table["text"][0] == '"Well", 0'
    assert own_name(path) == "own-voices" and own_groups(path) == {"region": ["north", "south"]}
    chosen = chapters.check("speaker-identification", {"corpus": str(path)})
    assert (chosen.corpus, chosen.group) == (str(path), "region")


def test_a_probe_runs_on_it(voices: pd.DataFrame, tmp_path: Path) -> None:
    path = written(voices, tmp_path / "voices.parquet")
    outcomes = fairlib.probe("logmel", fairlib.SpeakerProbe(seeds=1, iterations=20), str(path))
    assert set(outcomes["corpus"]) == {"own-voices"} and set(outcomes["region"]) == {"north", "south"}


def test_audio_in_a_parquet_file_is_read_as_from_a_saved_dataset(voices: pd.DataFrame, tmp_path: Path) -> None:
    columns = voices.drop(columns=["path", "age"]).rename(columns={"Speaker_ID": "speaker_id"})
    table = pyarrow.Table.from_pandas(columns.assign(sex=[0, 1] * 8, words=[["a", "list"]] * 16), preserve_index=False)
    sounds = [{"bytes": (tmp_path / name).read_bytes(), "path": name} for name in voices["path"]]
    table = table.append_column("audio", pyarrow.array(sounds))
    path = tmp_path / "train-00000-of-00001.parquet"
    pyarrow.parquet.write_table(table, path)
    plain = load_corpus(str(path))
    assert plain["utterance_id"][0] == "anna0" and "words" not in plain and len(plain) == 16
    assert [Path(file).read_bytes() for file in plain["path"]] == [sound["bytes"] for sound in sounds]
    value = {"_type": "Value", "dtype": "string"}
    features = {"audio": {"_type": "Audio"}, "speaker_id": value, "text": value, "region": value}
    features["sex"] = {"names": ["female", "male"], "_type": "ClassLabel"}
    told = json.dumps({"info": {"features": features}})
    pyarrow.parquet.write_table(table.replace_schema_metadata({"huggingface": told}), path)
    with pytest.warns(UserWarning, match="more than one answer.*sex of anna .*female, male"):
        load_corpus(str(path))
    wrong = json.dumps({"info": {"features": features | {"sex": {"names": ["female"], "_type": "ClassLabel"}}}})
    pyarrow.parquet.write_table(table.replace_schema_metadata({"huggingface": wrong}), path)
    assert "row 1: the label 1 has no name among female." in complaint(path)
    nameless = [{"bytes": sound["bytes"], "path": None} for sound in sounds]
    pyarrow.parquet.write_table(table.set_column(table.num_columns - 1, "audio", pyarrow.array(nameless)), path)
    assert load_corpus(str(path))["utterance_id"][0] == "train-00000-of-00001-000000"
    rated = [sound | {"sampling_rate": 16_000} for sound in sounds]
    pyarrow.parquet.write_table(table.set_column(table.num_columns - 1, "audio", pyarrow.array(rated)), path)
    assert load_corpus(str(path))["path"].tolist() == plain["path"].tolist()


def test_a_folder_as_the_hugging_face_hub_keeps_it_is_read_with_its_splits(
    voices: pd.DataFrame, tmp_path: Path
) -> None:
    shards = {"train-00000-of-00002": "anna", "train-00001-of-00002": "ben", "test-00000-of-00001": "cleo"}
    (tmp_path / "hub" / "data").mkdir(parents=True)
    for name, who in shards.items():
        of = voices[voices["Speaker_ID"] == who]
        sounds = [{"bytes": (tmp_path / file).read_bytes(), "path": file} for file in of["path"]]
        table = pyarrow.Table.from_pandas(of.drop(columns="path"), preserve_index=False)
        table = table.append_column("audio", pyarrow.array(sounds))
        pyarrow.parquet.write_table(table, tmp_path / "hub" / "data" / f"{name}.parquet")
    table = load_corpus(str(tmp_path / "hub"))
    assert table.groupby("speaker_id")["split"].first().to_dict() == {"anna": "train", "ben": "train", "cleo": "test"}
    assert len(table) == 12 and own_groups(tmp_path / "hub") == {"region": ["north", "south"]}

    # As older versions of datasets named them, with a hash.
    data = tmp_path / "hub" / "data"
    for file in list(data.iterdir()):
        file.rename(file.with_name(f"{file.stem}-0123456789abcdef.parquet"))
    assert load_corpus(str(tmp_path / "hub")).equals(table)
    first, second = sorted(data.glob("train*"))
    first.rename(tmp_path / first.name)
    with pytest.warns(UserWarning, match="of the 2 Parquet files of train, 1 are not there, nor are their utterances"):
        assert set(load_corpus(str(tmp_path / "hub"))["speaker_id"]) == {"ben", "cleo"}
    shutil.copy(second, data / "train-00000-of-00001.parquet")
    assert "holds train more than once (train-00000-of-00001.parquet and train-00001-of" in complaint(tmp_path / "hub")


BROKEN = {
    "voices.jsonl": {
        '{"path": "anna0.wav", "speaker_id": }': "line 1 is no JSON (Expecting value at character 37): correct it",
        '["anna0.wav"]': "line 1 is no JSON object ({...})",
        '{"path": "anna0.wav"}': "has no column 'speaker_id'; its columns are 'path': add or rename one",
        '{"path": "anna0.wav", "speaker_id": "a", "layer": 1}': "a column 'layer', a name that outcomes use themselves",
        '{"path": ["anna0.wav"], "speaker_id": "a"}': "'path' holds lists or objects: it must be one text in each line",
        '{"path": "a.wav", "Text": "a", "text": "b"}': "line 1 has a column twice, in other capitals",
        '{"path": "anna0.wav", "speaker_id": null}': "line 1 has no speaker_id: fill it in",
        '{"path": "away.wav", "speaker_id": "a"}': "away.wav is listed in ",
        "[" * 100_000: "line 1 is no JSON that can be read",
        "": "lists no utterance",
    },
    "voices.tsv": {
        "path\tspeaker_id\nanna0.wav\n": "line 2 has 1 fields where the first line has 2: correct it.",
        "path,speaker_id\nanna0.wav,a\n": "its columns are separated by ',', save it with tabs",
        "path\tspeaker_id\tspeaker_id\n": "has two columns 'speaker_id'",
    },
    "voices.parquet": {"PAR1": "cannot be read ("},
    "voices.xlsx": {
        "": "is no list that can be read by its extension: .csv, .tsv, .jsonl, .jsonl.gz and .parquet are known"
    },
    "voices.json": {"[]": "is no list that can be read by its extension"},
}


@pytest.mark.parametrize(("name", "content"), [(name, content) for name in BROKEN for content in BROKEN[name]])
def test_what_is_wrong_gets_one_sentence(voices: pd.DataFrame, tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    message = complaint(tmp_path / name)
    assert BROKEN[name][content] in message and str(tmp_path / name) in message


def test_files_that_cannot_be_unpacked_or_decoded_get_one_sentence(voices: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "voices.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"path": "anna0.wav", "speaker_id": "a"}\n' * 99)[:-9])
    assert f"{path} cannot be read" in complaint(path)
    path.write_bytes(b"no gzip")
    assert f"{path} cannot be read" in complaint(path)
    other = tmp_path / "voices.jsonl"
    other.write_bytes(b'{"path": "anna0.wav", "speaker_id": "a"}\n{"path": "anna1.wav", "speaker_id": "\xe9"}\n')
    assert "is not UTF-8 text: save the file as UTF-8" in complaint(other)
    good = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"path": ["anna0.wav"], "speaker_id": ["a"]}), good)
    (tmp_path / "cut.parquet").write_bytes(good.getvalue()[:-30])
    assert "cut.parquet cannot be read" in complaint(tmp_path / "cut.parquet")


def test_a_list_that_is_not_there_is_one_of_ones_own(tmp_path: Path) -> None:
    assert all(is_own(f"voices.{ending}") for ending in WRITERS) and not is_own("voices.xlsx")
    assert "is not there: give a list (.csv, .tsv, .jsonl, .jsonl.gz, .parquet)" in complaint(tmp_path / "away.tsv")
