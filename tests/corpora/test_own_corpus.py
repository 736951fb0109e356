"""A corpus of one's own, as CSV or as a saved dataset: what is made of it, and what is said when something is wrong."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import soundfile

import fairlib
from fairlib.book import chapters, runs
from fairlib.corpora import CorpusError, corpus_fingerprint, load_corpus, own_groups, speaker_columns
from fairlib.corpora.table import CorpusWarning
from fairlib.findings.speakers import cannot_be_told, differences, recorded_table, speakers_of

pytestmark = pytest.mark.filterwarnings("ignore:.*microphone differs")

SPEAKERS = {"anna": "north", "ben": "north", "cleo": "south", "dan": "south"}
HEADER = "path,speaker_id,text,region,microphone"


def sound(pitch: float, rate: int = 16_000, file=None) -> bytes:
    time = np.arange(rate // 2) / rate
    noise = np.random.default_rng(int(pitch)).standard_normal(len(time)) / 100
    buffer = io.BytesIO() if file is None else file
    soundfile.write(buffer, 0.1 * np.sin(2 * np.pi * pitch * time) + noise, rate, format="WAV")
    return b"" if file else buffer.getvalue()


@pytest.fixture
def voices(tmp_path: Path) -> Path:
    """Four speakers in two regions, four utterances each, every other one through another microphone."""
    lines = [HEADER]
    for place, (speaker, region) in enumerate(SPEAKERS.items()):
        (tmp_path / "audio" / speaker).mkdir(parents=True)
        for number in range(4):
            path = f"audio/{speaker}/{number}.wav"
            sound(200 + 40 * place + number, file=str(tmp_path / path))
            lines.append(f'{path},{speaker},"Well, {number}",{region},{"near" if number % 2 else "far"}')
    (tmp_path / "my voices.csv").write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
    return tmp_path / "my voices.csv"


def edit(path: Path, old: str, new: str, count: int = 1) -> None:
    text = path.read_text(encoding="utf-8-sig")
    assert old in text
    path.write_text(text.replace(old, new, count), encoding="utf-8")


def complaint(path: Path | None) -> str:
    with pytest.raises(CorpusError) as caught:
        load_corpus("csv", root=path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_csv_becomes_a_corpus_with_its_own_groups(voices: Path) -> None:
    with pytest.warns(UserWarning, match="microphone differs within a speaker"):
        corpus = load_corpus("csv", root=voices)
    assert list(corpus.columns) == [*"corpus utterance_id path speaker_id text duration_s split region".split()]
    assert len(corpus) == 16 and set(corpus["corpus"]) == {"own-my-voices"}
    first = corpus.iloc[0]
    assert (first["utterance_id"], first["speaker_id"], first["text"]) == ("audio/anna/0", "anna", "Well, 0")
    assert Path(first["path"]) == voices.parent / "audio/anna/0.wav" and first["duration_s"] == 0.5
    assert dict(zip(corpus["speaker_id"], corpus["region"])) == SPEAKERS
    assert own_groups(voices) == {"region": ["north", "south"]}
    assert corpus.attrs["sample_rates"] == {16_000: 16}


def test_the_language_of_a_text_is_no_group_and_may_differ_within_a_speaker(voices: Path) -> None:
    edit(voices, HEADER, HEADER + ",Language")
    lines = voices.read_text(encoding="utf-8").splitlines()
    ends = ["", *(",fr" if number % 2 else ",en" for number in range(16))]
    voices.write_text("\n".join(line + end for line, end in zip(lines, ends)), encoding="utf-8")
    corpus = load_corpus("csv", root=voices)
    assert corpus["language"].tolist() == ["en", "fr"] * 8
    assert own_groups(voices) == {"region": ["north", "south"]}


def test_what_was_written_from_a_table_can_be_read_again(voices: Path) -> None:
    corpus = load_corpus(str(voices))
    again = voices.with_name("again.csv")
    corpus.to_csv(again)  # with pandas' own index, the corpus' name and durations
    assert corpus_fingerprint(load_corpus("csv", root=again)) == corpus_fingerprint(corpus)


def test_the_fingerprint_knows_the_own_columns(voices: Path) -> None:
    before = corpus_fingerprint(load_corpus("csv", root=voices))
    edit(voices, "north", "west", count=-1)
    assert corpus_fingerprint(load_corpus("csv", root=voices)) != before


def test_what_a_speaker_is_recorded_as_once_holds_for_all_their_rows(voices: Path) -> None:
    edit(voices, '"Well, 0",north', '"Well, 0",')
    corpus = load_corpus("csv", root=voices)
    assert corpus["region"].notna().all()


def test_outcomes_carry_the_own_columns_and_gaps_are_found_by_them(voices, tmp_path, monkeypatch) -> None:
    for name in ("FAIRLIB_STORE", "FAIRLIB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    outcomes = fairlib.probe_speakers("logmel", str(voices), seeds=2)
    assert set(outcomes["corpus"]) == {"own-my-voices"} and set(outcomes["region"]) == {"north", "south"}
    assert fairlib.group_columns(outcomes) == ["region"]
    assert set(fairlib.group_bias(outcomes, by="region", min_speakers=2)["contrast"]) == {"north vs south"}
    assert set(fairlib.probe_speakers("logmel", str(voices), seeds=2)["entry"]) == set(outcomes["entry"])
    edit(voices, "north", "west", count=-1)  # other groups are another corpus
    assert set(fairlib.probe_speakers("logmel", str(voices), seeds=2)["region"]) == {"west", "south"}


def test_sampling_rates_that_differ_are_told(voices: Path) -> None:
    sound(300, rate=8_000, file=str(voices.parent / "audio/ben/2.wav"))
    with pytest.warns(UserWarning, match="15 at 16,000 Hz, 1 at 8,000 Hz.*resampled"):
        corpus = load_corpus("csv", root=voices)
    assert corpus.attrs["sample_rates"] == {16_000: 15, 8_000: 1}


BROKEN = {
    "no such column": (HEADER, "path,speaker,text,region,microphone", "has no column 'speaker_id'"),
    "semicolons": (HEADER, HEADER.replace(",", ";"), "separated by ';', save it with commas"),
    "two columns of one name": (HEADER, "path,speaker_id,text,region,region", "two columns 'region'"),
    "a name that outcomes use": (HEADER, "path,speaker_id,text,region,layer", "column 'layer', a name that outcomes"),
    "missing audio": ("audio/ben/2.wav", "audio/ben/22.wav", "line 8 but is not there with any extension"),
    "no speaker": ("3.wav,anna", "3.wav,", "line 5 has no speaker_id"),
    "an audio file twice": ("anna/1.wav", "anna/0.wav", "line 3 lists utterance 'audio/anna/0' a second time, after"),
    "a field too many": ("ben,", "ben,,", "line 6 has 6 fields where the first line has 5"),
    "an open quotation": ('"Well, 3",south', '"Well, 3,south', "is no CSV"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_csv_gets_one_sentence(voices: Path, case: str) -> None:
    old, new, words = BROKEN[case]
    edit(voices, old, new)
    message = complaint(voices)
    assert words in message and str(voices) in message


def test_a_speaker_with_two_answers_is_in_no_group(voices: Path) -> None:
    edit(voices, "region", "sex")
    edit(voices, '"Well, 3",north', '"Well, 3",south')
    with pytest.warns(UserWarning, match=r"left out of that column: sex of anna \(north, south\)"):
        corpus = load_corpus("csv", root=voices)
    assert set(corpus.loc[corpus["sex"].isna(), "speaker_id"]) == {"anna"}


def test_ages_are_numbers(voices: Path) -> None:
    edit(voices, "region", "age")
    edit(voices, "south", "7", count=-1)
    assert "line 2: the age 'north' is no number of years" in complaint(voices)


def test_ids_come_once_and_halves_share_no_speaker(voices: Path) -> None:
    text = voices.read_text(encoding="utf-8-sig")
    voices.write_text(text.replace("region,microphone", "utterance_id,split").replace("north,", "u1,"))
    assert "line 3 lists utterance 'u1' a second time" in complaint(voices)
    voices.write_text(text.replace("microphone", "split").replace("near", "train").replace("far", "test"))
    assert "4 speakers stand in both train and test, anna first" in complaint(voices)
    voices.write_text(text.replace("audio/ben/0.wav", "audio/ben/../anna/0.wav"))  # anna's
    assert "anna/0.wav' a second time, after " in complaint(voices)


def test_a_sentence_in_the_place_of_a_path_costs_its_row_alone(voices: Path) -> None:
    edit(voices, "audio/anna/0.wav", "well " * 60)
    edit(voices, "audio/anna/1.wav", "well " * 60 + "/1.wav")
    assert "well is listed in " in complaint(voices) and "line 2 but is not there" in complaint(voices)
    with pytest.warns(CorpusWarning, match="2 left out of 16 utterances"):
        assert len(load_corpus("csv", root=voices, on_error="skip")) == 14


def test_encodings_and_files_that_cannot_be_read(voices: Path) -> None:
    text = voices.read_text(encoding="utf-8-sig")
    voices.write_bytes(text.replace("Well, 1", "Größe").encode("latin-1"))
    assert f"{voices} line 3 is not UTF-8 text: save the file as UTF-8" in complaint(voices)
    voices.write_text("")
    assert "has no column 'path'" in complaint(voices)
    voices.write_text(HEADER + "\n")
    assert "lists no utterance" in complaint(voices)
    assert "is not there" in complaint(voices.with_name("other.csv"))
    beside = complaint(voices.parent)
    assert "its audio in one folder alone, 'audio': the first folder level names the speaker" in beside
    assert beside.endswith(f"; or give {voices} itself.")
    assert "pass its file or folder as root=" in complaint(None)


# --- a dataset that save_to_disk wrote; the files are as version 5.2 of the package writes them -----------------


def write_dataset(folder: Path, speakers: list[str], **state) -> None:
    base = 300 if folder.name == "test" else 200
    sounds = [{"bytes": sound(base + place), "path": f"{folder.name}-{place}.wav"} for place in range(len(speakers))]
    table = pyarrow.table(
        {
            "audio": pyarrow.array(sounds, pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})),
            "speaker_id": speakers,
            "text": pyarrow.array([None] * len(speakers), pyarrow.string()),
            "sex": pyarrow.array([len(speaker) % 2 for speaker in speakers], pyarrow.int64()),
            "age": pyarrow.array([float(len(speaker)) for speaker in speakers], pyarrow.float32()),
            "words": [["a", "list"]] * len(speakers),
        }
    )
    folder.mkdir(parents=True)
    with pyarrow.ipc.new_stream(folder / "data-00000-of-00001.arrow", table.schema) as stream:
        stream.write_table(table, max_chunksize=2)
    value = {"_type": "Value", "dtype": "string"}
    features = {"audio": {"decode": False, "_type": "Audio"}, "speaker_id": value, "text": value}
    features |= {"sex": {"names": ["female", "male"], "_type": "ClassLabel"}, "age": value}
    features |= {"words": {"feature": value, "_type": "List"}}
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
    files = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}
    (folder / "state.json").write_text(json.dumps(files | state))


def test_a_saved_dataset_becomes_a_corpus(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("FAIRLIB_CACHE", str(tmp_path / "cache"))
    write_dataset(tmp_path / "set", ["eve", "eve", "adam", "adam", "adam"])
    corpus = load_corpus("datasets", root=tmp_path / "set")
    assert corpus["utterance_id"].tolist() == [f"set-{place}" for place in range(5)]
    assert corpus["sex"].tolist() == ["male", "male", "female", "female", "female"]
    assert corpus["age"].tolist() == [3, 3, 4, 4, 4] and "words" not in corpus
    assert [Path(path).read_bytes() for path in corpus["path"]] == [sound(200 + place) for place in range(5)]
    assert own_groups(tmp_path / "set") == {"sex": ["female", "male"]}


def test_the_parts_of_a_saved_dataset_are_its_splits(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("FAIRLIB_CACHE", str(tmp_path / "cache"))
    write_dataset(tmp_path / "set" / "train", ["eve", "eve"])
    write_dataset(tmp_path / "set" / "test", ["adam"])
    (tmp_path / "set" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    corpus = load_corpus("datasets", root=tmp_path / "set").set_index("utterance_id")
    assert corpus["split"].to_dict() == {"train-0": "train", "train-1": "train", "test-0": "test"}


def test_a_damaged_dataset_gets_one_sentence(tmp_path: Path) -> None:
    write_dataset(tmp_path / "picked", ["eve"], _indices_files=[{"filename": "indices.arrow"}])
    assert "call flatten_indices()" in complaint(tmp_path / "picked")
    write_dataset(tmp_path / "cut", ["eve"])
    data = tmp_path / "cut" / "data-00000-of-00001.arrow"
    data.write_bytes(data.read_bytes()[:200])
    assert f"{data} cannot be read" in complaint(tmp_path / "cut")
    (tmp_path / "cut" / "state.json").write_text("{")
    assert "state.json cannot be read" in complaint(tmp_path / "cut")


# --- who is in it -------------------------------------------------------------------------------------------------


def test_who_is_in_it_is_told_from_the_list_and_the_recordings(voices: Path, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("FAIRLIB_CACHE", str(tmp_path / "cache"))
    sound(300, rate=8_000, file=str(voices.parent / "audio/ben/2.wav"))
    (voices.parent / "audio/dan/3.wav").unlink()
    edit(voices, 'audio/dan/3.wav,dan,"Well, 3",south,near\n', "")
    with pytest.warns(UserWarning, match="several sampling rates"):
        people = speakers_of(str(voices))
    assert people["region"].to_dict() == SPEAKERS and people["utterances"].tolist() == [4, 4, 4, 3]
    assert people["khz"].tolist() == [16, 14, 16, 16] and people["characters"].tolist() == [7] * 4
    assert set(recorded_table(people)["recorded"]) == {"region"}
    apart = differences(people, "region", "north vs south").set_index("name")
    assert apart.loc["sampling rate", ["first", "second"]].tolist() == ["15.0", "16.0\N{NO-BREAK SPACE}kHz"]
    few, utterances, rates = cannot_be_told(people, "region", least_utterances=4)
    assert "speakers with region “north” (2) and speakers with region “south” (2)" in few
    assert utterances.startswith("1 of 4 speakers have fewer than 4 utterances") and "several sampling rates" in rates


def test_known_corpora_have_no_columns_but_the_known_ones() -> None:
    assert speaker_columns(load_corpus("synthetic", speakers_per_group=2, utterances_per_speaker=1)) == [
        "accent",
        "group",
    ]  # others would change the fingerprint of what is published


# --- as a chapter's parameter -----------------------------------------------------------------------------------


def test_a_chapter_takes_a_csv_and_compares_by_its_columns(voices: Path, monkeypatch) -> None:
    monkeypatch.chdir(voices.parent)
    chosen = chapters.check("speaker-identification", {"corpus": voices.name}, as_text=True)
    assert (chosen.corpus, chosen.group) == (str(voices), "region")
    assert f"--corpus '{voices}' --group region" in chapters.command("speaker-identification", chosen)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"group": "regoin"}, "only by region: did you mean 'region'?"),
        ({"group": "microphone"}, "no groups by 'microphone', only by region"),
        (
            {"corpus": "nowhere.csv"},
            "a list or a folder of your own that is there, or hf:owner/name, not 'nowhere.csv'",
        ),
        ({"corpus": "alike.csv"}, "(region is north throughout): add one"),
        ({"encoder": "bert"}, "is a bert model, not a supported speech encoder"),
        ({"encoder": "audio"}, "holds no config.json"),
    ],
)
def test_a_chapter_refuses_what_is_not_there(voices: Path, monkeypatch, values, words) -> None:
    monkeypatch.chdir(voices.parent)
    alike = voices.read_text(encoding="utf-8-sig").replace("south", "north")
    voices.with_name("alike.csv").write_text(alike)
    (voices.parent / "bert").mkdir()
    (voices.parent / "bert" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(chapters.ChapterError) as caught:
        chapters.check("speaker-identification", {"corpus": voices.name} | values, as_text=True)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_wrong_in_the_corpus_is_said_before_a_kernel_starts(voices: Path, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(runs, "RUNS", tmp_path / "_runs")
    (voices.parent / "audio" / "ben" / "2.wav").unlink()
    with pytest.raises(chapters.ChapterError, match=r"ben/2\.wav is listed in .*line 8 but is not there"):
        runs.run("speaker-identification", {"corpus": str(voices), "group": "region"})
    assert not (tmp_path / "_runs").exists()


# --- long recordings and Kaldi's folders --------------------------------------------------------------------------


def kaldi(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in files.items():
        (folder / name.replace("_", ".")).write_text(lines.replace("; ", "\n") + "\n")


def test_a_kaldi_folder_with_segments_and_maps_becomes_a_corpus(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("FAIRLIB_CACHE", str(tmp_path / "cache"))
    for split, who, region in (("train", "a", "north"), ("test", "b", "south")):
        sound(200 + ord(who), file=str(tmp_path / f"{who}.wav"))
        part = tmp_path / "data" / split
        kaldi(part, wav_scp=f"{who} {tmp_path}/{who}.wav", segments=f"{who}1 {who} 0 0.2; {who}2 {who} 0.25 0.5")
        kaldi(part, text=f"{who}1 well; {who}2 yes", utt2spk=f"{who}1 {who}; {who}2 {who}")
        kaldi(part, spk2gender=f"{who} {'f' if who == 'a' else 'F'}", spk2region=f"{who} {region}")
    corpus = load_corpus(str(tmp_path / "data"))
    assert corpus["utterance_id"].tolist() == ["a1", "a2", "b1", "b2"]
    assert corpus["text"].tolist() == ["well", "yes"] * 2 and corpus["duration_s"].tolist() == [0.2, 0.25] * 2
    assert corpus["split"].tolist() == ["train"] * 2 + ["test"] * 2
    assert set(corpus["sex"]) == {"female"} and own_groups(tmp_path / "data") == {"region": ["north", "south"]}
    kaldi(tmp_path / "data" / "train", spk2text="a well")
    assert "has a file spk2text, a name that means something else here: rename it." in complaint(tmp_path / "data")
    (tmp_path / "data" / "train" / "spk2text").unlink()
    kaldi(tmp_path / "data" / "train", wav_scp="a sph2pipe -f wav one.sph |")
    assert "as a command (sph2pipe -f wav one.sph |...), which is not run here" in complaint(tmp_path / "data")


@pytest.mark.parametrize("recorded", ["train", "test"])
def test_what_is_recorded_in_one_part_of_a_kaldi_folder_is_kept(tmp_path: Path, recorded: str) -> None:
    for place, split in enumerate(("train", "test")):
        lines = {"wav_scp": "", "utt2spk": ""} | ({"spk2region": ""} if split == recorded else {})
        for number, who in enumerate(("north", "south")):
            sound(200 + 40 * place + number, file=str(tmp_path / f"{split}{who}.wav"))
            said = {"wav_scp": f"{tmp_path}/{split}{who}.wav", "utt2spk": f"{split}{who}", "spk2region": who}
            lines = {name: text + f"{split}{who} {said[name]}; " for name, text in lines.items()}
        kaldi(tmp_path / "data" / split, **lines)
    assert load_corpus(str(tmp_path / "data")).set_index("utterance_id")["region"].dropna().to_dict() == {
        f"{recorded}north": "north",
        f"{recorded}south": "south",
    }
    assert own_groups(tmp_path / "data") == {"region": ["north", "south"]}


def test_a_line_of_a_kaldi_folder_that_cannot_be_used_costs_its_utterance_alone(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("FAIRLIB_CACHE", str(tmp_path / "cache"))
    for who in "ab":
        sound(200 + ord(who), file=str(tmp_path / f"{who}.wav"))
    data, known = tmp_path / "data", f"a1 {tmp_path}/a.wav; b1 {tmp_path}/b.wav"
    kaldi(data, wav_scp=f"a0 sph2pipe -f wav one.sph |; {known}; b2; b3 {tmp_path}/b.wav")
    kaldi(data, utt2spk="a0 a; a1 a; b1 b; b2 b", spk2region="a north; b south", text="a1 well; b1 yes")
    assert own_groups(data) == {"region": ["north", "south"]}
    with pytest.warns(CorpusWarning, match="3 left out of 5 utterances"):
        corpus = load_corpus(str(data), on_error="skip")
    assert corpus["utterance_id"].tolist() == ["a1", "b1"] and corpus["region"].tolist() == ["north", "south"]
    first, second, third = corpus.attrs["skipped"]
    assert "gives 'a0' as a command" in first
    assert second.endswith("utt2spk has no line for b3: add one.") and "line 4 is malformed" in third
    assert complaint(data) == first

    # Of segments, too: here the first recording is the command.
    kaldi(data, segments="a0 a0 0 0.2; a1 a1 0 0.2; b1 b1 0 inf; b2 b1 0.2", utt2spk="a0 a; a1 a; b1 b; b2 b")
    with pytest.warns(CorpusWarning, match="3 left out of 4 utterances"):
        assert load_corpus(str(data), on_error="skip")["utterance_id"].tolist() == ["a1"]


def test_a_csv_may_name_parts_of_a_recording(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("FAIRLIB_CACHE", str(tmp_path / "cache"))
    sound(200, file=str(tmp_path / "one.wav"))
    listed = tmp_path / "list.csv"
    listed.write_text("path,speaker_id,start,end,sex\none.wav,a,0,0.25,female\none.wav,b,0.25,0.5,male\n")
    corpus = load_corpus(str(listed))
    assert corpus["utterance_id"].tolist() == ["one-000000-000025", "one-000025-000050"]
    assert corpus["duration_s"].tolist() == [0.25] * 2 and "start" not in corpus
    written = "0.25,0.5"
    for wrong in ("late", "inf", "nan"):
        edit(listed, written, written := f"0.25,{wrong}")
        assert f"end '{wrong}' must be seconds" in complaint(listed)
    with pytest.warns(CorpusWarning, match="1 left out of 2 utterances"):
        assert load_corpus(str(listed), on_error="skip")["speaker_id"].tolist() == ["a"]
    for part in ("0.5,0.55", "0.25,0.25001"):
        edit(listed, written, written := part)
        assert f"holds no sound, from {' s to '.join(part.split(','))} s of {tmp_path / 'one.wav'}" in complaint(listed)
