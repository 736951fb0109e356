"""What is recorded of speakers is checked once, whoever made the table; splits are honoured; file names may repeat."""

import itertools
import re
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

import fairlib
from fairlib.corpora import (
    CorpusError,
    as_corpus,
    corpus_fingerprint,
    halves,
    labels,
    load_corpus,
    own_groups,
    why_no_groups,
)
from fairlib.corpora.labels import _may_be_one, alike, settle


def settled(values: dict[str, list], column: str = "region") -> tuple[pd.Series, str]:
    """A column by speaker, from the answers of each in turn, and what was said."""
    rows = [(speaker, answer) for speaker, answers in values.items() for answer in answers]
    table, remarks = settle(pd.DataFrame(rows, columns=["speaker_id", column]), [column])
    if column not in table:
        return pd.Series(dtype=object), " ".join(remarks)
    return table.groupby("speaker_id")[column].agg(lambda its: its.iloc[0]), " ".join(remarks)


@pytest.mark.parametrize(
    "other",
    ["Zu\u0308rich", "Zürich\u200b", "Zürich ", "\u00a0Zürich", "Zü\u00adrich", "\ufeffZürich", "Zürich\u200e"],
)
def test_labels_that_look_the_same_are_one_group(other):
    values, said = settled({"a": ["Zürich"], "b": [other], "c": ["Bern"]})
    assert values.tolist() == ["Zürich", "Zürich", "Bern"]
    assert "may be" not in said and ("look the same" in said) == (other.strip() != "Zürich")


def test_joiners_that_spell_words_are_kept():
    persian = "می\u200cشود"
    assert settled({"a": [persian], "b": ["x y"]})[0]["a"] == persian


UNKNOWN = ["N/A", "nan", "NULL", "Unknown", "-", "--", "?", "not specified", "<NA>", "#N/A", "keine Angabe"]
UNKNOWN += ["prefer not to say", "do_not_wish_to_say", "I prefer not to answer"]


@pytest.mark.parametrize("word", UNKNOWN)
def test_what_was_not_recorded_is_missing_and_said(word):
    values, said = settled({"a": ["north"], "b": [word], "c": ["south"], "d": [word]})
    assert values.isna().tolist() == [False, True, False, True]
    assert f"Taken as not recorded: region “{word}” (2 speakers)" in said


@pytest.mark.parametrize("word", ["other", "+", "no", "mixed", "unknown territory", "nana"])
def test_what_is_an_answer_stays_one(word):
    values, said = settled({"a": ["north"], "b": [word]})
    assert values["b"] == word and "not recorded" not in said


def test_none_stays_a_group_and_is_said():
    values, said = settled({"a": ["dysarthria"], "b": ["none"]}, "condition")
    assert values["b"] == "none" and "condition has “none” (1 speaker): it stays a group" in said


@pytest.mark.parametrize(
    ("groups", "pairs"),
    [
        (["Female", "female", "male"], [("Female", "female")]),
        (["F", "female", "m"], [("F", "female")]),
        (["woman", "female", "man"], [("female", "woman")]),
        (["fourties", "forties", "fifties"], [("forties", "fourties")]),
        (["Britsih", "British"], [("British", "Britsih")]),
        (["non-binary", "Non binary"], [("Non binary", "non-binary")]),
        (["new york", "New_York"], [("New_York", "new york")]),
        (["male", "female"], []),
        (["6-9", "69", "60"], []),
        (["sixties", "sixteen", "fifties"], []),
        (["northeast", "northwest", "north"], []),
        (["region 1", "region 2"], []),
        (["Austria", "Australia"], []),
        (["child", "adult"], []),
        (["हिंदी", "हिदी", "हद"], []),
    ],
)
def test_groups_that_may_be_one_are_named(groups, pairs):
    assert alike(groups) == pairs


def test_of_thousands_of_labels_few_pairs_are_compared(monkeypatch):
    compared = []
    monkeypatch.setattr(labels, "_may_be_one", lambda *pair: bool(compared.append(pair)) or _may_be_one(*pair))
    syllables = ["bar", "den", "fil", "gop", "hus", "kem", "lin", "mor", "nat", "ruv", "sel", "tip"]
    words = ["".join(parts) for parts in itertools.product(syllables, repeat=3)]
    assert alike([*words, "British accent", "Britsih accent", "Barbarbar"]) == [
        ("Barbarbar", "barbarbar"),
        ("British accent", "Britsih accent"),
    ]
    assert len(words) == 1728 and len(compared) < 5 * len(words)


def test_a_speaker_with_two_answers_has_none_and_is_named():
    answers = {f"s{i}": ["north", "north"] for i in range(5)} | {"grown": ["north", "south"], "half": [None, "south"]}
    values, said = settled(answers)
    assert values.isna().sum() == 1 and pd.isna(values["grown"])
    assert "left out of that column: region of grown (north, south)" in said
    table, _ = settle(pd.DataFrame({"speaker_id": ["half"] * 2, "region": [None, "south"]}), ["region"])
    assert table["region"].tolist() == ["south", "south"]  # one answer holds for all


def test_what_differs_within_most_speakers_describes_utterances():
    values, said = settled({"a": ["near", "far"], "b": ["near", "far"], "c": ["far", "far"]}, "microphone")
    assert values.empty and "microphone differs within a speaker" in said
    _, said = settled({"a": ["teens", "twenties"], "b": ["teens", "twenties"]}, "age_group")
    assert "left out of that column: age_group of a (teens, twenties), b (teens, twenties)" in said


def test_types():
    assert settled({"a": [True], "b": [False]})[0].tolist() == ["True", "False"]
    assert settled({"a": [1], "b": [2]})[0].tolist() == ["1", "2"]
    assert settled({"a": [1.0], "b": [np.nan]})[0].fillna("").tolist() == ["1", ""]
    assert settled({"a": ["01"], "b": ["1"]})[0].tolist() == ["01", "1"]
    height, said = settled({"a": ["170.5"], "b": ["181"]}, "height")
    assert height.tolist() == [170.5, 181] and "height (2 different): numbers, and no groups of people" in said
    codes, _ = settled({f"s{i:02}": [str(i)] for i in range(21)}, "score")
    assert pd.api.types.is_float_dtype(codes)


def test_an_empty_column_stays_empty_and_is_no_trouble():
    values, said = settled({"a": [None], "b": [None]})
    assert values.isna().all() and said == ""


# --- splits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "test"),
    [("Train", "Test"), ("TRAIN", "EVAL"), ("training", "testing"), ("train", "validation"), ("trn", "dev"),
     ("train-clean-100", "test-other"), (" train", "test_set")],
)  # fmt: skip
def test_splits_are_honoured_by_their_usual_names(train, test):
    corpus = pd.DataFrame({"speaker_id": list("abcd"), "split": [test, train, train, train]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert halves(corpus).tolist() == ["test", "train", "train", "train"]


def test_a_split_that_is_not_used_is_said():
    corpus = pd.DataFrame({"speaker_id": list("abcd"), "split": ["fold1", "fold2", "fold1", "fold2"]})
    with pytest.warns(UserWarning, match=r"its split \(fold1, fold2\) is not used"):
        half = halves(corpus)
    assert half.equals(halves(corpus.drop(columns="split")))
    three = pd.DataFrame({"speaker_id": list("abcd"), "split": ["train", "dev", "test", None]})
    with pytest.warns(UserWarning, match="2 of 4 utterances are in neither half"):
        assert halves(three).tolist() == ["train", "neither", "test", "neither"]


def test_nobody_is_tested_who_was_trained_on():
    corpus = pd.DataFrame({"speaker_id": list("abba"), "split": ["train", "train", "test", "train"]})
    with pytest.raises(CorpusError, match="every speaker of the test split is in train too"):
        halves(corpus)
    more = pd.concat([corpus, pd.DataFrame({"speaker_id": ["c"], "split": ["test"]})], ignore_index=True)
    with pytest.warns(UserWarning, match=r"1 speakers of the test split are in train too, b first"):
        assert halves(more).tolist() == ["train", "train", "neither", "train", "test"]


# --- corpora of one's own, and tables that are handed over --------------------------------------------------------


def speech(folder: Path, speakers: int = 4, each: int = 4) -> pd.DataFrame:
    """Files called alike in each speaker's folder, and a list of them."""
    rng, rows = np.random.default_rng(0), []
    for speaker in range(speakers):
        (folder / f"s{speaker}").mkdir(parents=True)
        for number in range(each):
            path = folder / f"s{speaker}" / f"{number}.wav"
            soundfile.write(path, 0.1 * rng.standard_normal(4000), 16_000)
            rows.append({"path": str(path), "speaker_id": f"s{speaker}", "region": "ab"[speaker % 2]})
    return pd.DataFrame(rows)


def write(table: pd.DataFrame, folder: Path) -> Path:
    table.to_csv(folder / "list.csv", index=False)
    return folder / "list.csv"


def test_files_called_alike_are_named_by_their_folders(tmp_path):
    table = speech(tmp_path)
    corpus = load_corpus("csv", root=write(table, tmp_path))
    assert corpus["utterance_id"].tolist()[:2] == ["s0/0", "s0/1"] and len(corpus) == 16
    relative = table.assign(path=[str(Path(path).relative_to(tmp_path)) for path in table["path"]])
    assert corpus_fingerprint(load_corpus("csv", root=write(relative, tmp_path))) == corpus_fingerprint(corpus)
    # Names that are different are as short as they were.
    assert load_corpus("csv", root=write(table[:4], tmp_path))["utterance_id"].tolist() == ["0", "1", "2", "3"]
    again = pd.concat([relative, relative[:1]])
    with pytest.raises(CorpusError, match="line 18 lists utterance 's0/0' a second time"):
        load_corpus("csv", root=write(again, tmp_path))


@pytest.mark.parametrize("written", ["a\\b c.wav", "a/b%20c.wav", "file://a/b c.wav", "./a/b c.wav", "a/b c.flac"])
def test_paths_are_found_whichever_way_they_are_written(tmp_path, written):
    (tmp_path / "a").mkdir()
    soundfile.write(tmp_path / "a" / "b c.wav", np.ones(1600) / 10, 16_000)
    list_ = write(pd.DataFrame({"path": [written], "speaker_id": ["s"]}), tmp_path)
    corpus = load_corpus("csv", root=list_)
    assert Path(corpus["path"][0]) == tmp_path / "a" / "b c.wav"
    assert "\\" not in corpus["utterance_id"][0] and "%" not in corpus["utterance_id"][0]


@pytest.mark.parametrize(("on_disk", "in_list"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_unicode_forms_of_folders_and_files_do_not_matter(tmp_path, on_disk, in_list):
    folder, name = (unicodedata.normalize(on_disk, text) for text in ("Jürgen", "ä.wav"))
    (tmp_path / folder / "x").mkdir(parents=True)
    soundfile.write(tmp_path / folder / "x" / name, np.ones(1600) / 10, 16_000)
    listed = unicodedata.normalize(in_list, "Jürgen/x/ä.wav")
    corpus = load_corpus("csv", root=write(pd.DataFrame({"path": [listed], "speaker_id": ["s"]}), tmp_path))
    assert Path(corpus["path"][0]).samefile(tmp_path / folder / "x" / name)


def test_advice_for_a_file_that_is_not_there_fits_a_list_of_ones_own(tmp_path):
    speech(tmp_path, 1, 1)
    for path, words in (
        ("s0/1.wav", r"correct the list, or put the file there\.$"),
        ("S0/0.wav", "there is '.*/s0', in other capitals"),
        ("C:\\speech\\0.wav", "a path of another machine; give it as seen from"),
    ):
        with pytest.raises(CorpusError, match=words) as caught:
            load_corpus("csv", root=write(pd.DataFrame({"path": [path], "speaker_id": ["s"]}), tmp_path))
        assert "fetch" not in str(caught.value)


def test_known_columns_are_known_in_any_capitals(tmp_path):
    table = speech(tmp_path).rename(columns={"path": "Path", "speaker_id": "Speaker_ID", "region": "Sex"})
    assert own_groups(write(table, tmp_path)) == {"sex": ["a", "b"]}


def test_ages_in_bands_are_age_groups_and_ages_in_years_are_numbers(tmp_path):
    table = speech(tmp_path)
    speaker = table["speaker_id"].str[1].astype(int)
    bands = write(table.assign(age=speaker.map(["6-9", "6-9", "twenties", "unknown"].__getitem__)), tmp_path)
    with pytest.warns(UserWarning, match="age holds words or bands; it is read as age_group"):
        corpus = load_corpus("csv", root=bands)
    assert "age" not in corpus and set(corpus["age_group"].dropna()) == {"6-9", "twenties"}
    assert own_groups(bands)["age_group"] == ["6-9", "twenties"]
    years = write(table.assign(age=speaker.map(["7", "34.5", "n/a", "7"].__getitem__)), tmp_path)
    with pytest.warns(UserWarning, match=r"Taken as not recorded: age “n/a” \(1 speaker\)"):
        corpus = load_corpus("csv", root=years)
    assert corpus.groupby("speaker_id")["age"].first().fillna(0).tolist() == [7, 34.5, 0, 7]
    assert set(own_groups(years)) == {"region"} and "add a column with bands" in why_no_groups(str(years), "age")
    mixed = write(table.assign(age=speaker.map(["7", "6-9", "8", "9"].__getitem__)), tmp_path)
    with pytest.raises(CorpusError, match=r"line 6: the age '6-9' is no number of years.*bands such as 6-9 throughout"):
        load_corpus("csv", root=mixed)


def test_why_a_column_has_no_groups_is_said(tmp_path):
    table = speech(tmp_path).assign(all="x", height=np.repeat([1.5, 1.6, 1.7, 1.8], 4), take=list(range(4)) * 4)
    path = str(write(table, tmp_path))
    for column, words in (
        ("height", "holds numbers, no groups"),
        ("all", "has one value, or none"),
        ("take", "differs within a speaker"),
        ("nothing", "^$"),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert re.search(words, why_no_groups(path, column))


def test_speakers_who_may_be_one_person_are_named(tmp_path):
    table = speech(tmp_path)
    ids = table["speaker_id"].replace({"s0": "Anna", "s1": "anna", "s2": "ben\u00a0k", "s3": "ben  k"})
    table = table.assign(speaker_id=ids, region=ids.map(lambda name: "ab"["nn" in name]))
    with pytest.warns(UserWarning, match="Speakers that may be one person: Anna and anna; write"):
        corpus = load_corpus("csv", root=write(table, tmp_path))
    assert set(corpus["speaker_id"]) == {"Anna", "anna", "ben k"}


def test_a_table_that_was_handed_over_is_completed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = speech(tmp_path)
    made = as_corpus(table.assign(speaker_id=table["speaker_id"].str[1].astype(int), path=table["path"].map(Path)))
    assert made["speaker_id"].tolist()[::4] == ["0", "1", "2", "3"] and made["utterance_id"][5] == "s1/1"
    assert made["duration_s"].tolist() == [0.25] * 16 and made["text"].isna().all()
    assert set(made["corpus"]) == {"own-table"}
    loaded = load_corpus("csv", root=write(table, tmp_path))
    pd.testing.assert_frame_equal(as_corpus(loaded), loaded)
    # As datasets' to_pandas() has them: what is no single value describes nobody.
    sounds = {"audio": [{"bytes": b"", "path": None}] * 16, "array": [np.zeros(2)] * 16, "words": [["well"]] * 16}
    pd.testing.assert_frame_equal(as_corpus(loaded.assign(**sounds, age=30)), as_corpus(loaded.assign(age=30.0)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: table.drop(columns=["path", "speaker_id"]), "lacks path and speaker_id: it has region"),
        (lambda table: table.iloc[:0], "lists no utterance"),
        (lambda table: table.assign(speaker_id=[None, *table["speaker_id"][1:]]), "Row 0 .* has no speaker_id"),
        (lambda table: table.assign(utterance_id="u"), "Utterance 'u' .* comes twice, again in row 1"),
        (lambda table: table.assign(path=[*table["path"][1:], "nowhere.wav"]), "nowhere.wav does not exist"),
        (lambda table: table.assign(age=["six", *["7"] * 15]), "row 0: the age 'six' is no number"),
        (lambda table: table.assign(age=[-1, *[30] * 15]), "row 0: the age '-1' is no number of years between 0 and"),
        (lambda table: pd.concat([table, table["region"]], axis=1), "has two columns 'region': rename or remove one"),
    ],
)
def test_a_table_that_cannot_be_used_gets_one_sentence(tmp_path, change, words):
    with pytest.raises(CorpusError, match=words):
        as_corpus(change(speech(tmp_path)))


def test_groups_of_any_type_are_compared(tmp_path, monkeypatch):
    for name in ("FAIRLIB_STORE", "FAIRLIB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    table = speech(tmp_path)
    number = table["speaker_id"].str[1].astype(int) % 2
    kinds = {"bool": number == 1, "int": number, "category": number.map({0: "no", 1: "yes"}).astype("category")}
    outcomes = fairlib.probe_speakers("logmel", table.assign(**kinds), seeds=1)
    assert {"region", *kinds} <= set(fairlib.group_columns(outcomes))
    for kind, contrast in (("bool", "False vs True"), ("int", "0 vs 1"), ("category", "no vs yes")):
        bias = fairlib.group_bias(outcomes, by=kind, min_speakers=2, resamples=20, permutations=20)
        assert set(bias["contrast"]) == {contrast}
    with pytest.raises(ValueError, match="these lack probe"):
        fairlib.group_bias(outcomes.drop(columns="probe"), by="region")
    with pytest.raises(ValueError, match="age is a number, no group of people.*age_group"):
        fairlib.group_bias(outcomes.assign(age=7.0), by="age")


# --- what users of neighbouring tools have reported ---------------------------------------------------------------


def test_two_people_under_one_id_are_noticed_where_their_sex_is_recorded(tmp_path):
    table = speech(tmp_path)
    table["sex"] = ["female", "male", "female", "male"] + ["female"] * 8 + ["male"] * 4
    with pytest.warns(UserWarning, match=r"more than one answer.*sex of s0 \(female, male\)"):
        corpus = load_corpus("csv", root=write(table, tmp_path))
    assert corpus.groupby("speaker_id")["sex"].first().fillna("?").tolist() == ["?", "female", "female", "male"]


def test_a_speaker_or_a_text_may_be_called_what_other_readers_take_for_missing(tmp_path):
    table = speech(tmp_path).assign(text="null")
    table["speaker_id"] = table["speaker_id"].replace({"s0": "NA", "s1": "nan", "s2": "None"})
    # As R and pandas write a missing one, which would make one person of all: it is said, and left to who knows.
    told = "Speakers named as if it was not recorded who spoke, each taken for one person: NA and nan [(]8 utterances"
    with pytest.warns(UserWarning, match=told):
        corpus = load_corpus("csv", root=write(table, tmp_path))
    assert set(corpus["speaker_id"]) == {"NA", "nan", "None", "s3"} and set(corpus["text"]) == {"null"}
    assert set(as_corpus(table)["speaker_id"]) == {"NA", "nan", "None", "s3"}


def test_na_for_north_america_is_missing_and_how_to_keep_it_is_said(tmp_path):
    table = speech(tmp_path)
    continent = table["speaker_id"].map({"s0": "NA", "s1": "SA", "s2": "EU", "s3": "SA"})
    with pytest.warns(UserWarning, match=r"continent “NA” \(1 speaker\); give another name to what is a group"):
        corpus = load_corpus("csv", root=write(table.assign(continent=continent), tmp_path))
    assert set(corpus["continent"].dropna()) == {"SA", "EU"}


def test_a_volunteer_in_the_train_list_of_one_language_and_the_test_list_of_another_is_not_tested(tmp_path):
    lists = (("en", "train", "both"), ("de", "test", "both"), ("de", "train", "one"), ("en", "test", "other"))
    for language, name, who in lists:
        clips = tmp_path / "cv-corpus-1" / language / "clips"
        clips.mkdir(parents=True, exist_ok=True)
        soundfile.write(clips / f"{language}{name}.wav", np.ones(4000) / 10, 16_000)
        line = f"client_id\tpath\tsentence\n{who}\t{language}{name}.mp3\thello\n"
        (clips.parent / f"{name}.tsv").write_text(line)
    corpus = load_corpus("commonvoice", root=tmp_path)
    with pytest.warns(UserWarning, match="1 of 4 utterances are in neither half.*both first"):
        half = halves(corpus)
    assert dict(zip(corpus["utterance_id"], half)) == {
        "entrain": "train", "detrain": "train", "entest": "test", "detest": "neither",
    }  # fmt: skip
