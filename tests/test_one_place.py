"""A corpus is one value, a task is one entry: whoever adds one of them touches nothing else."""

import numpy as np
import pandas as pd
import soundfile

import fairlib
from fairlib import cli, corpora
from fairlib.base import tasks
from fairlib.base.tasks import Task, Unit
from fairlib.bias import group_bias
from fairlib.book import chapters, comparison
from fairlib.book.prediction import corpus_size
from fairlib.corpora.corpus import Caution, Corpus, Groups, Size
from fairlib.corpora.table import Problems, find_root, finish_table
from fairlib.display import charts, sentences, words
from fairlib.findings import mark_saturated
from fairlib.findings.layers import knowledge_table, layer_errors, told


def load_toy(root=None, on_error="raise"):
    """Four people of two accents, in files named PERSON-ACCENT.wav."""
    folder = find_root(TOY, root)
    rows = [
        {"utterance_id": path.stem, "path": str(path), "speaker_id": person, "text": "a word", "split": "test"}
        | {"accent": accent}
        for path in sorted(folder.glob("*.wav"))
        for person, accent in [path.stem.split("-")]
    ]
    return finish_table(rows, "toy", ("accent",), Problems(on_error))


TOY = Corpus(
    name="toy",
    title="Toy Accents",
    load=load_toy,
    folder="toy-*",
    size=Size(4, 0.5, 4),
    on_request="Ask its maker for it",
    groups={"accent": Groups({"hill": "hill people", "coast": "coast people"}, reference="hill")},
    cautions=(Caution("**Toys.** Nobody speaks here."), Caution("**Of speakers alone.**", task="sid")),
)


def test_a_corpus_that_is_one_value_is_listed_loaded_compared_and_warned_about(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(corpora.CORPORA, "toy", TOY)
    monkeypatch.setenv("FAIRLIB_DATA", str(tmp_path))

    assert cli.main(["corpora"]) == 0  # not there: what it would allow, and where to ask
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("toy "))
    assert "groups by accent" in line and line.endswith("Ask its maker for it.")
    seconds, people = corpus_size("toy")
    assert (len(seconds), people, seconds.sum()) == (4, 4, 1800)

    folder = tmp_path / "toy-1.0"
    folder.mkdir()
    for name in ("ann-hill", "bob-hill", "cat-coast", "dan-coast"):
        soundfile.write(folder / f"{name}.wav", np.zeros(1600), 16000)
    table = fairlib.load_corpus("toy")
    assert table["accent"].tolist() == ["hill", "hill", "coast", "coast"] and table["duration_s"].eq(0.1).all()
    assert cli.main(["corpora"]) == 0
    assert "4 speakers, 4 utterances" in capsys.readouterr().out

    assert chapters.check("speaker-identification", {"corpus": "toy"}).group == "accent"
    assert words.people("accent", "coast") == "coast people" and words.people("accent", "dale").endswith("“dale”")
    assert charts.group_colours(["coast", "other"])["coast"] == charts.group_colours(["coast", "hill"])["coast"]
    cautions = {task: sentences.cautions(task, "pocket-hubert", "toy", "accent") for task in ("sid", "asr")}
    assert all("Nobody speaks here." in text for text in cautions.values())
    assert [task for task, text in cautions.items() if "Of speakers alone." in text] == ["sid"]


def test_the_reference_group_is_the_one_that_a_corpus_names(monkeypatch):
    rows = pd.DataFrame({"speaker_id": [f"{at:02}" for at in range(20)], "accent": ["coast", "hill"] * 10})
    rows = rows.assign(encoder="e", task="sid", unit="speaker", probe="linear", layer="1", seed=0, corpus="toy")
    rows = rows.assign(utterance_id=rows["speaker_id"], errors=[1, 0, 0, 0, 1] * 4, length=1)

    def contrasts():
        return group_bias(rows, by="accent", resamples=50, permutations=50)["contrast"].unique().tolist()

    assert contrasts() == ["coast vs hill"]
    reference = Corpus("toy", "Toy", load_toy, {"accent": Groups(reference="coast")})
    monkeypatch.setitem(corpora.CORPORA, "toy", reference)
    assert contrasts() == ["hill vs coast"]


def test_a_task_that_is_one_entry_has_its_words_in_tables_charts_and_sentences(monkeypatch):
    tone = Unit("tone", "tone", "tones", "tone error rate", wrong="of syllables a wrong tone",
                plainly="are misrecognised in {} of their tones", saturates=True)  # fmt: skip
    task = Task("tone", "tone classification", "tones", (tone,), c2=-1, cautions=("**Tones.** Two may sound alike.",))
    monkeypatch.setitem(tasks.TASKS, "tone", task)
    rows = pd.DataFrame({"speaker_id": ["a", "b"] * 2, "layer": ["0", "0", "1", "1"], "errors": [3, 3, 1, 2]})
    rows = rows.assign(encoder="mine", task="tone", unit="tone", probe="linear", length=4, utterance_id="u")

    errors = layer_errors(rows, resamples=20)
    assert list(knowledge_table(errors)) == ["encoder", "layer", "wrong tones"]
    chart = charts.encoders_by_layer(errors, **told(errors, "mine")).to_dict()
    assert chart["title"]["text"] == ["Tone error rate is lowest at layer 1: 38\N{NO-BREAK SPACE}%"]
    assert "tone error rate (%)" in str(chart)
    assert mark_saturated(errors, rows)["saturated"].tolist() == [True, False]
    assert "Two may sound alike." in sentences.cautions("tone", "mine", "toy")
    assert task.c2_claim.startswith("In tone classification, bias is highest")
    runs = [{"parameters": {"encoder": "mine"}}] * 2
    compared = comparison._tasks(*runs, *[rows.assign(seed=0, corpus="toy", utterance_id="u")] * 2)
    assert [each["task"] for each in compared] == ["tone"]
