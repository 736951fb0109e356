"""The corpus loaders: on small corpora written here in each published layout, and on the real ones."""

import os
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from fairlib.corpora import (
    CORPORA,
    SPEAKER_COLUMNS,
    CorpusError,
    corpus_fingerprint,
    load_corpus,
    require_text,
)
from fairlib.corpora.table import Problems, finish_table

FIRST_COLUMNS = ["corpus", "utterance_id", "path", "speaker_id", "text", "duration_s", "split"]
HAS_REAL_SPEECH = pytest.mark.skipif(not os.environ.get("FAIRLIB_DATA"), reason="FAIRLIB_DATA is not set")


def write_audio(path: Path, seconds: float = 0.5, pitch: float = 200.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(int(16_000 * seconds)) / 16_000
    soundfile.write(path, 0.1 * np.sin(2 * np.pi * pitch * time), 16_000)


def write_lines(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


@pytest.fixture
def speechocean(tmp_path: Path) -> Path:
    """Four speakers, five utterances, as OpenSLR 101 lays them out; one audio file has another extension."""
    root = tmp_path / "speechocean762"
    people = {"train": [("0001", "m", 6), ("0002", "f", 15)], "test": [("0003", "f", 19), ("0004", "m", 17)]}
    for split, speakers in people.items():
        utterances = [(f"{speaker}0", speaker) for speaker, _, _ in speakers]
        if split == "train":
            utterances.append(("00011", "0001"))
        wave = {utterance: f"WAVE/SPEAKER{speaker}/{utterance}.WAV" for utterance, speaker in utterances}
        write_lines(root / split / "wav.scp", *(f"{utterance}\t{path}" for utterance, path in wave.items()))
        write_lines(root / split / "utt2spk", *(f"{utterance}\t{speaker}" for utterance, speaker in utterances))
        write_lines(root / split / "text", *(f"{utterance}\tWE CALL IT BEAR" for utterance, _ in utterances))
        write_lines(root / split / "spk2gender", *(f"{speaker}\t{sex}" for speaker, sex, _ in speakers))
        write_lines(root / split / "spk2age", *(f"{speaker}\t{age}" for speaker, _, age in speakers))
        for number, (utterance, path) in enumerate(wave.items()):
            found = Path(path).with_suffix(".flac") if utterance == "00030" else Path(path)
            write_audio(root / found, seconds=0.5 + number / 4)
    return root


@pytest.fixture
def librispeech(tmp_path: Path) -> Path:
    root = tmp_path / "LibriSpeech"
    write_lines(
        root / "SPEAKERS.TXT",
        ";ID  |SEX| SUBSET           |MINUTES| NAME",
        "14   | F | dev-clean        | 25.03 | A | B",  # a bar in a name is no more than a bar in a name
        "17   | M | train-clean-5    | 25.04 | Gord",
        "19   | ? | train-clean-100  | 25.19 | not loaded, so not looked at",
    )
    for subset, speaker in (("dev-clean", "14"), ("train-clean-5", "17")):
        for number in range(2):
            write_audio(root / subset / speaker / "208" / f"{speaker}-208-000{number}.flac")
        write_lines(
            root / subset / speaker / "208" / f"{speaker}-208.trans.txt",
            f"{speaker}-208-0000 CHAPTER ONE",
            f"{speaker}-208-0001 SHE SAID",
        )
    return root


OLD_HEADER = "client_id path sentence up_votes down_votes age gender accent locale segment".split()
NEW_HEADER = "client_id path sentence_id sentence age gender accents variant locale segment".split()


def write_list(path: Path, header: list[str], *rows: dict) -> None:
    write_lines(path, "\t".join(header), *("\t".join(row.get(name, "") for name in header) for row in rows))


def clip(number: int, language: str = "en", **values: str) -> dict:
    return {
        "client_id": f"speaker{number}",
        "path": f"common_voice_{language}_{number}.mp3",
        "sentence": f'He said "{number}',  # a lone quotation mark quotes nothing
        "locale": language,
    } | values


@pytest.fixture
def commonvoice(tmp_path: Path) -> Path:
    """An old-style and a new-style language of one release."""
    root = tmp_path / "cv-corpus-6.1"
    write_list(
        root / "en" / "validated.tsv",
        OLD_HEADER,
        clip(1, age="fourties", gender="female", accent="us"),
        clip(2, age="teens", gender="male"),
        clip(3, gender="other"),
    )
    write_list(
        root / "de" / "train.tsv",
        NEW_HEADER,
        clip(4, "de", age="forties", gender="male_masculine", accents="Wien"),
    )
    write_list(root / "de" / "test.tsv", NEW_HEADER, clip(5, "de", gender="do_not_wish_to_say"))
    write_list(
        root / "de" / "validated.tsv",
        NEW_HEADER,
        *(clip(number, "de", gender="female_feminine" if number == 6 else "") for number in (4, 5, 6)),
    )
    for number in range(1, 7):
        language = "en" if number <= 3 else "de"
        extension = "mp3" if number == 1 else "wav"
        write_audio(root / language / "clips" / f"common_voice_{language}_{number}.{extension}")
    return root


def error_of(name: str, root: Path | None, **settings) -> str:
    with pytest.raises(CorpusError) as caught:
        load_corpus(name, root, **settings)
    message = str(caught.value)
    assert "\n" not in message
    return message


def load_skipping(name: str, root: Path, left_out: int) -> pd.DataFrame:
    with pytest.warns(UserWarning, match=f"{left_out} left out of"):
        corpus = load_corpus(name, root, on_error="skip")
    assert len(corpus.attrs["skipped"]) == left_out
    return corpus


# --- what each loader makes of a sound corpus ---------------------------------------------------------------


def test_speechocean762(speechocean: Path) -> None:
    corpus = load_corpus("speechocean762", speechocean)
    assert list(corpus.columns) == [*FIRST_COLUMNS, "sex", "age", "age_group", "first_language"]
    assert corpus["utterance_id"].tolist() == ["00010", "00011", "00020", "00030", "00040"]
    assert corpus["speaker_id"].tolist() == ["0001", "0001", "0002", "0003", "0004"]
    assert corpus["split"].tolist() == ["train", "train", "train", "test", "test"]
    assert corpus["sex"].tolist() == ["male", "male", "female", "female", "male"]
    assert corpus["age"].tolist() == [6, 6, 15, 19, 17]
    assert corpus["age_group"].fillna("missing").tolist() == ["child", "child", "child", "adult", "missing"]
    assert corpus["duration_s"].tolist() == [0.5, 1.0, 0.75, 0.5, 0.75]
    assert Path(corpus["path"][3]).suffix == ".flac"
    assert all(Path(path).is_absolute() and Path(path).exists() for path in corpus["path"])
    assert set(corpus["corpus"]) == {"speechocean762"} and set(corpus["first_language"]) == {"Mandarin"}
    assert corpus.attrs["skipped"] == []


def test_column_types_do_not_depend_on_what_is_missing(commonvoice: Path, speechocean: Path) -> None:
    for corpus in (
        load_corpus("commonvoice", commonvoice / "en"),
        load_corpus("speechocean762", speechocean),
    ):
        for column in corpus.columns:
            assert corpus[column].dtype == ("float64" if column in ("duration_s", "age") else "str"), column


def test_a_folder_that_holds_the_corpus_will_do(speechocean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRLIB_DATA", str(speechocean.parent))
    direct = load_corpus("speechocean762", speechocean)
    pd.testing.assert_frame_equal(load_corpus("speechocean762", speechocean.parent), direct)
    pd.testing.assert_frame_equal(load_corpus("speechocean762"), direct)


def test_librispeech(librispeech: Path) -> None:
    corpus = load_corpus("librispeech", librispeech)
    assert list(corpus.columns) == [*FIRST_COLUMNS, "sex"]
    assert corpus["utterance_id"].tolist() == ["14-208-0000", "14-208-0001", "17-208-0000", "17-208-0001"]
    assert corpus["split"].tolist() == ["dev-clean"] * 2 + ["train-clean-5"] * 2
    assert corpus["sex"].tolist() == ["female"] * 2 + ["male"] * 2
    assert corpus["text"].tolist() == ["CHAPTER ONE", "SHE SAID"] * 2
    assert set(load_corpus("librispeech", librispeech, subsets="dev-clean")["speaker_id"]) == {"14"}
    assert len(load_corpus("librispeech", librispeech, subsets=["dev-clean", "train-clean-5"])) == 4


def test_commonvoice_old_and_new_spellings(commonvoice: Path) -> None:
    corpus = load_corpus("commonvoice", commonvoice).set_index("speaker_id")
    assert list(corpus.columns) == [c for c in FIRST_COLUMNS if c != "speaker_id"] + [
        "sex",
        "age_group",
        "accent",
        "language",
    ]
    known = corpus.fillna("missing")
    assert known["sex"].to_dict() == {
        "speaker1": "female",
        "speaker2": "male",
        "speaker3": "other",
        "speaker4": "male",
        "speaker5": "missing",
        "speaker6": "female",
    }
    assert known["age_group"]["speaker1"] == known["age_group"]["speaker4"] == "forties"
    assert known["accent"]["speaker1"] == "us" and known["accent"]["speaker4"] == "Wien"
    assert known["split"][["speaker1", "speaker4", "speaker5", "speaker6"]].tolist() == [
        "missing",
        "train",
        "test",
        "missing",
    ]
    assert known["language"]["speaker1"] == "en" and known["language"]["speaker6"] == "de"
    assert known["text"]["speaker1"] == 'He said "1'


def test_commonvoice_choices(commonvoice: Path) -> None:
    assert set(load_corpus("commonvoice", commonvoice / "de")["language"]) == {"de"}
    assert set(load_corpus("commonvoice", commonvoice, languages="en")["language"]) == {"en"}
    assert load_corpus("commonvoice", commonvoice / "de", splits="test")["speaker_id"].tolist() == ["speaker5"]
    assert "no split 'validation'" in error_of("commonvoice", commonvoice, splits="validation")
    assert "ask for one of ['de', 'en']" in error_of("commonvoice", commonvoice, languages="fr")


def test_commonvoice_is_found_by_the_beginning_of_its_name(commonvoice: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRLIB_DATA", str(commonvoice.parent))
    assert len(load_corpus("commonvoice")) == 6
    (commonvoice.parent / "cv-corpus-17.0").mkdir()
    assert "several folders cv-corpus-* (cv-corpus-17.0, cv-corpus-6.1)" in error_of("commonvoice", None)


# --- what is said when something is wrong -------------------------------------------------------------------


@pytest.mark.parametrize(("typo", "meant"), [("speechocean", "speechocean762"), ("LibriSpeach", "librispeech")])
def test_unknown_corpus_name_suggests_the_nearest(typo: str, meant: str) -> None:
    message = error_of(typo, None)
    assert f"did you mean '{meant}'" in message and all(name in message for name in CORPORA)


def test_unknown_setting_and_unknown_on_error(librispeech: Path) -> None:
    assert "no setting 'subset'; it has subsets" in error_of("librispeech", librispeech, subset="dev-clean")
    assert "must be 'raise' or 'skip'" in error_of("librispeech", librispeech, on_error="ignore")


@pytest.mark.parametrize(
    ("name", "looked_for"),
    [("speechocean762", "speechocean762"), ("librispeech", "LibriSpeech"), ("commonvoice", "cv-corpus-*")],
)
def test_missing_root(name: str, looked_for: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAIRLIB_DATA", raising=False)
    message = error_of(name, None)
    assert f"set FAIRLIB_DATA to the folder that holds {looked_for}" in message
    monkeypatch.setenv("FAIRLIB_DATA", str(tmp_path))
    message = error_of(name, None)
    assert f"{tmp_path / looked_for} is not there" in message and "root=" in message
    message = error_of(name, tmp_path / "nowhere")
    assert f"root is {tmp_path / 'nowhere'}, which is not a folder" in message


@pytest.mark.parametrize("file", ["wav.scp", "utt2spk", "text", "spk2gender", "spk2age"])
def test_missing_metadata_file_speechocean762(speechocean: Path, file: str) -> None:
    (speechocean / "test" / file).unlink()
    # Nothing would be left of the corpus without it, so "skip" does not go on either.
    for on_error in ("raise", "skip"):
        assert f"{speechocean / 'test' / file} is missing" in error_of("speechocean762", speechocean, on_error=on_error)


def test_missing_metadata_file_elsewhere(librispeech: Path, commonvoice: Path, tmp_path: Path) -> None:
    (librispeech / "SPEAKERS.TXT").unlink()
    assert f"{librispeech / 'SPEAKERS.TXT'} is missing" in error_of("librispeech", librispeech)
    (commonvoice / "en" / "validated.tsv").unlink()
    assert f"{commonvoice / 'en' / 'validated.tsv'} is missing" in error_of("commonvoice", commonvoice)
    (commonvoice / "de" / "test.tsv").unlink()
    assert f"{commonvoice / 'de' / 'test.tsv'} is missing" in error_of("commonvoice", commonvoice / "de", splits="test")
    (tmp_path / "empty").mkdir()
    assert "has no Common Voice list" in error_of("commonvoice", tmp_path / "empty")


def test_missing_subset(librispeech: Path) -> None:
    message = error_of("librispeech", librispeech, subsets="test-other")
    assert f"{librispeech / 'test-other'} is missing" in message and "dev-clean, train-clean-5" in message


@pytest.mark.parametrize("name", ["speechocean762", "librispeech", "commonvoice"])
@pytest.mark.parametrize("damage", ["absent", "empty", "corrupt", "no samples"])
def test_bad_audio(name: str, damage: str, speechocean: Path, librispeech: Path, commonvoice: Path) -> None:
    root, path = {
        "speechocean762": (speechocean, speechocean / "WAVE/SPEAKER0002/00020.WAV"),
        "librispeech": (librispeech, librispeech / "dev-clean/14/208/14-208-0001.flac"),
        "commonvoice": (commonvoice, commonvoice / "en/clips/common_voice_en_2.wav"),
    }[name]
    whole = load_corpus(name, root)
    if damage == "absent":
        path.unlink()
    elif damage == "no samples":
        soundfile.write(path, np.zeros(0), 16_000)
    else:
        path.write_bytes(b"" if damage == "empty" else b"not audio at all" * 100)
    message = error_of(name, root)
    assert str(path.with_suffix("")) in message
    assert "fetch" in message
    rest = load_skipping(name, root, left_out=1)
    assert set(whole["utterance_id"]) - set(rest["utterance_id"]) == {path.stem}
    assert path.stem in rest.attrs["skipped"][0]


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


# corpus, file, text to replace, by what, what the message says, ids that "skip" leaves out
BROKEN = {
    "unknown sex": (
        "speechocean762",
        "train/spk2gender",
        "0001\tm",
        "0001\tx",
        "speaker 0001: unknown code 'x'; known are 'f', 'm'",
        {"00010", "00011"},
    ),
    "age in words": (
        "speechocean762",
        "train/spk2age",
        "\t6",
        "\tsix",
        "the age 'six' is not a whole number",
        {"00010", "00011"},
    ),
    "speaker without age": (
        "speechocean762",
        "test/spk2age",
        "0003\t19\n",
        "",
        "has no line for speaker '0003'",
        {"00030"},
    ),
    "utterance without speaker": (
        "speechocean762",
        "train/utt2spk",
        "00011\t0001\n",
        "",
        "has no line for utterance '00011'",
        {"00011"},
    ),
    "id alone": (
        "speechocean762",
        "train/text",
        "00010\tWE CALL IT BEAR",
        "00010",
        "train/text line 1 is malformed",
        {"00010"},
    ),
    "listed twice": (
        "speechocean762",
        "train/wav.scp",
        "00020\t",
        "00010\t",
        "wav.scp line 2 lists '00010' a second time",
        {"00010", "00020"},
    ),
    "listed nowhere": (
        "speechocean762",
        "train/text",
        "00020\t",
        "00099\t",
        "has utterance '00099', which",
        set(),
    ),
    "reader's unknown sex": (
        "librispeech",
        "SPEAKERS.TXT",
        "| F |",
        "| W |",
        "SPEAKERS.TXT line 2: unknown code 'W'",
        {"14-208-0000", "14-208-0001"},
    ),
    "reader not listed": (
        "librispeech",
        "SPEAKERS.TXT",
        "17   |",
        "18   |",
        "has no line for speaker '17'",
        {"17-208-0000", "17-208-0001"},
    ),
    "transcript cut off": (
        "librispeech",
        "dev-clean/14/208/14-208.trans.txt",
        "14-208-0001 SHE SAID",
        "14-208-0001",
        "14-208.trans.txt line 2 is malformed",
        {"14-208-0001"},
    ),
    "unknown gender": (
        "commonvoice",
        "en/validated.tsv",
        "female",
        "x",
        "validated.tsv line 2, gender: unknown code 'x'; known are 'female'",
        {"common_voice_en_1"},
    ),
    "unknown age": (
        "commonvoice",
        "en/validated.tsv",
        "fourties",
        "41",
        "validated.tsv line 2, age: unknown code '41'",
        {"common_voice_en_1"},
    ),
    "no client": (
        "commonvoice",
        "en/validated.tsv",
        "speaker3",
        "",
        "line 4 has no client_id",
        {"common_voice_en_3"},
    ),
    "a field too few": (
        "commonvoice",
        "en/validated.tsv",
        "speaker3\t",
        "speaker3",
        "line 4 is malformed: it has 9 fields where the first line has 10",
        {"common_voice_en_3"},
    ),
    "no file": (
        "commonvoice",
        "en/validated.tsv",
        "common_voice_en_3.mp3",
        "",
        "line 4 names no audio file",
        {"common_voice_en_3"},
    ),
    "clip twice": (
        "commonvoice",
        "en/validated.tsv",
        "common_voice_en_3",
        "common_voice_en_2",
        "line 4 lists common_voice_en_2.mp3 a second time",
        {"common_voice_en_3"},
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_metadata(case: str, speechocean: Path, librispeech: Path, commonvoice: Path) -> None:
    name, file, old, new, said, lost = BROKEN[case]
    root = {"speechocean762": speechocean, "librispeech": librispeech, "commonvoice": commonvoice}[name]
    whole = load_corpus(name, root)
    edit(root / file, old, new)
    message = error_of(name, root)
    assert said in message and str(root / file) in message
    assert re.search(r"correct|add|keep|remove|fetch", message.rsplit(":", 1)[-1].rsplit(";", 1)[-1])
    with pytest.warns(UserWarning, match="left out of"):
        rest = load_corpus(name, root, on_error="skip")
    assert set(whole["utterance_id"]) - set(rest["utterance_id"]) == lost
    assert any(said in sentence for sentence in rest.attrs["skipped"])
    assert len(rest.attrs["skipped"]) >= len(lost)


def test_malformed_speakers_file(librispeech: Path) -> None:
    edit(librispeech / "SPEAKERS.TXT", "17   | M |", "17   M |")
    assert "SPEAKERS.TXT line 3 is malformed: it has 4 fields" in error_of("librispeech", librispeech)


def test_file_that_is_not_utf8(librispeech: Path) -> None:
    (librispeech / "SPEAKERS.TXT").write_bytes(b"14 | F | dev-clean | 1 | Ren\xe9\n")
    assert f"{librispeech / 'SPEAKERS.TXT'} is not UTF-8" in error_of("librispeech", librispeech)


def test_list_without_its_columns(commonvoice: Path) -> None:
    edit(commonvoice / "en" / "validated.tsv", "client_id", "speaker")
    assert "has no column 'client_id'" in error_of("commonvoice", commonvoice)
    (commonvoice / "en" / "validated.tsv").write_text("")
    assert "has no column 'client_id'" in error_of("commonvoice", commonvoice)


def test_clip_in_two_splits(commonvoice: Path) -> None:
    write_list(commonvoice / "de" / "dev.tsv", NEW_HEADER, clip(4, "de"))
    message = error_of("commonvoice", commonvoice)
    assert "dev.tsv line 2 lists common_voice_de_4.mp3, which is also in train.tsv" in message


def test_same_id_in_two_languages(commonvoice: Path) -> None:
    write_audio(commonvoice / "en" / "clips" / "common_voice_de_6.wav")
    edit(commonvoice / "en" / "validated.tsv", "common_voice_en_3", "common_voice_de_6")
    assert "Utterance 'common_voice_de_6' comes twice" in error_of("commonvoice", commonvoice)


def test_nothing_left(librispeech: Path) -> None:
    for path in librispeech.glob("*/*/*/*.flac"):
        path.write_bytes(b"")
    message = error_of("librispeech", librispeech, on_error="skip")
    assert "no utterance could be read" in message and "is empty (0 bytes)" in message


def test_a_sound_corpus_gives_no_warning(librispeech: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_corpus("librispeech", librispeech, on_error="skip")


def test_audio_is_looked_for_before_it_is_opened(librispeech: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_audio(path: str) -> None:
        raise AssertionError(f"{path} was opened although another file is absent")

    monkeypatch.setattr("fairlib.corpora.table.audio_header", open_audio)
    (librispeech / "train-clean-5/17/208/17-208-0001.flac").unlink()
    assert "is not there with any extension" in error_of("librispeech", librispeech)


def test_require_text(librispeech: Path) -> None:
    require_text(load_corpus("librispeech", librispeech))
    (librispeech / "dev-clean/14/208/14-208.trans.txt").unlink()
    corpus = load_corpus("librispeech", librispeech)
    assert corpus["text"].isna().tolist() == [True, True, False, False]
    require_text(corpus)  # who has none is left out where words are needed
    for without in (corpus.drop(columns="text"), corpus.assign(text=None), corpus.assign(text=" ")):
        with pytest.raises(CorpusError, match="Corpus 'librispeech' has no transcripts.* give it a column text"):
            require_text(without)


def test_a_row_may_bring_its_duration() -> None:
    row = {
        "utterance_id": "u",
        "path": "/nowhere.wav",
        "speaker_id": "s",
        "text": None,
        "split": None,
        "duration_s": 2.0,
    }
    assert finish_table([row], "toy", (), Problems("raise"))["duration_s"].tolist() == [2.0]


# --- fingerprint --------------------------------------------------------------------------------------------


def test_fingerprint_knows_neither_place_nor_order(speechocean: Path, tmp_path: Path) -> None:
    corpus = load_corpus("speechocean762", speechocean)
    fingerprint = corpus_fingerprint(corpus)
    assert re.fullmatch("[0-9a-f]{64}", fingerprint)
    speechocean.rename(tmp_path / "elsewhere")
    moved = load_corpus("speechocean762", tmp_path / "elsewhere")
    assert set(moved["path"]).isdisjoint(corpus["path"])
    assert corpus_fingerprint(moved) == fingerprint
    assert corpus_fingerprint(moved.sample(frac=1, random_state=1)) == fingerprint
    assert corpus_fingerprint(moved.assign(accent=None)) == fingerprint


@pytest.mark.parametrize("column", ["utterance_id", "speaker_id", "text", "split", "sex", "age", "age_group"])
def test_fingerprint_changes_with_every_label(speechocean: Path, column: str) -> None:
    corpus = load_corpus("speechocean762", speechocean)
    changed = corpus.copy()
    changed.loc[1, column] = 99.0 if column == "age" else "changed"
    missing = corpus.copy()
    missing.loc[1, column] = None
    assert len({corpus_fingerprint(table) for table in (corpus, changed, missing)}) == 3


def test_fingerprint_changes_with_one_byte_of_audio_and_with_which_audio_is_whose(speechocean: Path) -> None:
    corpus = load_corpus("speechocean762", speechocean)
    fingerprint = corpus_fingerprint(corpus)
    swapped = corpus.copy()
    swapped.loc[[0, 1], "path"] = corpus.loc[[1, 0], "path"].to_numpy()
    assert corpus_fingerprint(swapped) != fingerprint
    path = Path(corpus["path"][0])
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert corpus_fingerprint(load_corpus("speechocean762", speechocean)) != fingerprint
    path.unlink()
    with pytest.raises(CorpusError, match=re.escape(str(path))):
        corpus_fingerprint(corpus)


# --- the real corpora ---------------------------------------------------------------------------------------


@HAS_REAL_SPEECH
def test_real_speechocean762() -> None:
    corpus = load_corpus("speechocean762")
    assert len(corpus) == 5000
    speakers = corpus.drop_duplicates("speaker_id")
    assert speakers.groupby(["age_group", "sex"]).size().to_dict() == {
        ("adult", "female"): 72,
        ("adult", "male"): 56,
        ("child", "female"): 53,
        ("child", "male"): 69,
    }
    assert (corpus.groupby("speaker_id").size() == 20).all()
    splits = corpus.groupby("split")["speaker_id"].agg(set)
    assert len(splits["train"]) == len(splits["test"]) == 125 and splits["train"].isdisjoint(splits["test"])
    assert corpus["duration_s"].sum() / 3600 == pytest.approx(5.567, abs=0.01)
    require_text(corpus)


@HAS_REAL_SPEECH
def test_real_librispeech() -> None:
    corpus = load_corpus("librispeech", subsets="train-clean-5")
    assert len(corpus) == 1519
    assert corpus.drop_duplicates("speaker_id")["sex"].value_counts().to_dict() == {"female": 16, "male": 12}
    require_text(corpus)


@HAS_REAL_SPEECH
def test_real_commonvoice() -> None:
    corpus = load_corpus("commonvoice")
    assert len(corpus) == 5734
    assert corpus["language"].nunique() == 59
    assert set(corpus["sex"].dropna()) == {"female", "male", "other"}
    assert "forties" in set(corpus["age_group"]) and "fourties" not in set(corpus["age_group"])
    assert set(corpus.columns) - set(FIRST_COLUMNS) - set(SPEAKER_COLUMNS) == {"language"}
    require_text(corpus)
