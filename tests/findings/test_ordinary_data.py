"""Every chapter on corpora as people have them: each runs and says what it leaves out, or refuses in one sentence."""

import functools
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile
from cells import run_cells

import fairlib
from fairlib import bias
from fairlib.bias import FEWEST_SHOWN
from fairlib.book import chapters, preflight, runs
from fairlib.book.chapters import ChapterError
from fairlib.display.words import people
from fairlib.findings import questions
from fairlib.probes import alignment, characters, classifiers, codes, stored

ASKED = [name for name in chapters.chapters() if name != "measuring-bias"]
QUICK = {"resamples": 60, "permutations": 60}

# A column of twelve people or more, by what is odd about it.
COLUMNS = {
    "two groups": ["north"] * 6 + ["south"] * 6,
    "one person without a value": ["north"] * 6 + ["south"] * 6 + [None],
    "two beside many": ["north"] * 6 + ["south"] * 6 + ["islands"] * 2,
    "people alone": ["north"] * 6 + ["south"] * 6 + ["isle of man", "jersey", "wight"],
    "three groups": ["north"] * 5 + ["south"] * 6 + ["west"] * 5,
    "called other": ["other"] * 6 + ["others"] * 5 + ["rest"] * 5,
    "numbers": [1] * 6 + [2] * 7,
    "true or false": [True] * 6 + [False] * 6,
    "names that look like contrasts": ["a vs b"] * 5 + ["vs"] * 5 + ["all others"] * 6,
    "worst and best": ["worst"] * 6 + ["best"] * 6,
    "markup, quotes and commas": ["<b>*x*</b>"] * 6 + ['"a, b" | c'] * 6,
    "long names": ["n" * 300] * 6 + ["a valley " * 30] * 6,
    "everybody alike": ["north"] * 12,
    "nobody's known": [None] * 12,
    "too few": ["north"] * 4 + ["south"] * 4,
}
OTHER = {"sex": lambda at: "female" if at % 2 else "male", "accent": lambda at: f"accent {at % 9}"}
OTHER["age"] = lambda at: 20 + at


@pytest.fixture
def instruments(tmp_path, monkeypatch):
    """What needs an encoder, real speech or long training is invented; who is asked, tested and compared is not.

    Returns the folder of an encoder, whose weights nobody reads.
    """
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "config.json").write_text('{"model_type": "hubert", "num_hidden_layers": 3}')
    (tmp_path / "encoder" / "model.safetensors").write_bytes(b"")
    for name in ("FAIRLIB_CACHE", "FAIRLIB_STORE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setattr(runs, "RUNS", tmp_path / "_runs")
    for ask in (bias.group_bias, bias.group_errors, bias.bias_differences, fairlib.error_slopes):
        names = ask.__code__.co_varnames[: ask.__code__.co_argcount][-len(ask.__defaults__) :]
        few = tuple(QUICK.get(name, value) for name, value in zip(names, ask.__defaults__))
        monkeypatch.setattr(ask, "__defaults__", few)
    rng = np.random.default_rng(0)

    def features(work, table, *_, **__):
        rows = len(table)
        return SimpleNamespace(
            layers=work.encoder.layers,
            pooled=lambda layer: rng.standard_normal((rows, 8)),
            utterances=lambda layer: [np.zeros((int(50 * seconds), 4), np.float16) for seconds in table["duration_s"]],
        )

    def guessed(matrix, labels, train, **_):
        return rng.standard_normal((len(labels), labels.max() + 1)) + 2 * np.eye(labels.max() + 1)[labels]

    def written(frames, texts, training, **_):
        return [["".join(c for c in text if rng.random() > 0.3) for text in texts[training:]] for _ in frames]

    def aligned(table):
        spoken = table[table["text"].notna()]
        return {row.utterance_id: [("AA", 0.0, 0.15), ("T", 0.15, 0.3)] for row in spoken.itertuples()}

    layers = {"logmel": ["logmel"]}
    loaded = lambda name, *_: SimpleNamespace(name=name, device="cpu", layers=layers.get(name, ["cnn", *"0123"]))  # noqa: E731
    monkeypatch.setattr(stored, "load_encoder", loaded)
    monkeypatch.setattr(stored.Work, "features", features)
    for module in (classifiers, codes):
        monkeypatch.setattr(module, "fit_softmax", guessed)
    monkeypatch.setattr(classifiers, "fit_hidden", guessed)
    monkeypatch.setattr(characters, "fit_ctc", written)
    monkeypatch.setattr(alignment, "align", aligned)
    return tmp_path / "encoder"


def corpus(folder, column, utterances=4, text="good morning", split=False, seed=0):
    """A CSV of noise: one person for each value of the column ``region``, and what else is recorded of people."""
    rng, rows = np.random.default_rng(seed), []
    for person, region in enumerate(column):
        for take in range(utterances):
            path = folder / f"p{person}-{take}.wav"
            soundfile.write(path, 0.1 * rng.standard_normal(int(rng.integers(4800, 8000))), 16000)
            row = {"path": path.name, "speaker_id": f"p{person}", "text": text, "region": region}
            row |= {name: make(person) for name, make in OTHER.items()}
            # So many are tested that groups of six have five tested people.
            row |= {"split": "train" if person in (0, len(column) - 1) else "test"} if split else {}
            rows.append(row)
    pd.DataFrame(rows).to_csv(folder / "voices.csv", index=False)
    return str(folder / "voices.csv")


def run(monkeypatch, chapter, values):
    """The chapter's page, or the sentence that refuses it before anything is computed."""
    try:
        chosen = chapters.check(chapter, {name: value for name, value in values.items() if name in fields(chapter)})
        preflight.require(chapter, chosen)
    except ChapterError as error:
        assert "\n" not in str(error) and str(error).endswith(".")
        return str(error)
    return run_cells(monkeypatch, chapter, **chosen.model_dump())


@functools.cache
def fields(chapter):
    return set(chapters.parameters(chapter).model_fields)


def values_for(chapter, path, encoder):
    values = {"corpus": path, "encoder": str(encoder), "group": "region", "seeds": 1}
    return values | {"pretrained": f"random:{encoder}"} if chapter == "fine-tuning" else values


def holds(page, column):
    """What must be true of any page: groups of too few people are named once, and in no comparison."""
    known = pd.Series(column, dtype=object).dropna().map(str)
    few = [group for group, size in known.value_counts().items() if size < FEWEST_SHOWN]
    for name, value in page.glued.items():
        assert not isinstance(value, str) or "nan" not in re.findall(r"\w+", value), (name, value)
    contrasts = {str(page.scope.get("contrast", "")), str(page.scope.get("leading", ""))} - {""}
    for contrast in contrasts:
        assert not set(fairlib.bias.contrasts.contrast_groups(contrast)) & set(few)
    if few and contrasts:
        assert any(people("region", group) in page.said.replace("\\", "") for group in few)


CASES = [(name, *rest) for name in COLUMNS for rest in [(4, "good morning", True)]]
CASES += [(name, 3, None, False) for name in ("two beside many", "three groups", "numbers")]
CASES += [(name, 4, None, False) for name in ("two groups", "people alone", "true or false")]
CASES += [("two groups", 1, "good morning", False), ("one person without a value", 2, "good morning", True)]
EVERY = [(chapter, *case) for case in CASES for chapter in ASKED]
DRAWN = {int(place) for place in np.random.default_rng(7).permutation(len(EVERY))[:9]}


@pytest.mark.parametrize(
    ("chapter", "name", "utterances", "text", "split"),
    [pytest.param(*case, marks=[] if place in DRAWN else pytest.mark.slow) for place, case in enumerate(EVERY)],
)
def test_a_chapter_runs_and_says_what_it_leaves_out_or_refuses(
    chapter, name, utterances, text, split, instruments, tmp_path, monkeypatch
):
    path = corpus(tmp_path, COLUMNS[name], utterances, text, split)
    page = run(monkeypatch, chapter, values_for(chapter, path, instruments))
    if not isinstance(page, str):
        holds(page, COLUMNS[name])
    elif chapter in questions.DESCRIBES:
        assert "region" in page  # only where the column itself divides nobody


def test_a_script_without_spaces_has_no_words_and_who_wrote_nothing_is_counted(instruments, tmp_path, monkeypatch):
    path = corpus(tmp_path, COLUMNS["two groups"], 4, "你好，世界", True)
    table = pd.read_csv(path)
    table["text"] = table["text"].mask(table.index % 8 == 1)
    table.to_csv(path, index=False)
    page = run(monkeypatch, "speech-recognition", values_for("speech-recognition", path, instruments))
    assert "without spaces between words" in page.scope["said"]
    missing = table["text"].isna().sum()
    assert (
        f"{missing} of {len(table)} utterances are left out of speech recognition: {missing} for no transcript"
        in page.said
    )
    assert set(page.scope["asked"].runs[0]["unit"]) <= {"char"}
