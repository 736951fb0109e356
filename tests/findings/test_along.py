"""Along pretraining: what is planted to open, to be there or to become smaller is found to, and nothing else."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fairlib.bias import group_bias
from fairlib.bias.simulation import simulate_outcomes
from fairlib.encoders import EncoderError, heard
from fairlib.findings import exchanged, pretraining
from fairlib.findings.pretraining import Pair

CONTRAST = "child vs adult"
NONE, GAP = [0.3, 0.3], [0.45, 0.45]


def made(child: list[float], name: str, seed: int = 0) -> pd.DataFrame:
    """Outcomes of the layers cnn and 0; the same people each time, so that pairs can be compared."""
    table = simulate_outcomes({"child": child, "adult": NONE}, speakers=60, by="age_group", seed=seed)
    return table.assign(encoder=name, layer=table["layer"].map({"0": "cnn", "1": "0"}))


@pytest.mark.parametrize(
    ("start", "end", "verdict"),
    [
        (NONE, GAP, "supported"),
        (GAP, GAP, "contradicted"),
        ([0.45, 0.3], GAP, "inconclusive"),
        (NONE, NONE, "inconclusive"),
    ],
)
def test_when_a_gap_opens(start, end, verdict):
    steps = {0: made(start, "e@0"), 400: made(end, "e@400"), 1000: made(end, "e", seed=1)}
    table = pretraining.map_along(steps, "age_group", CONTRAST)
    found = pretraining.when_it_opens(table, pretraining.since_the_start(steps, "age_group"), "pocket-hubert", CONTRAST)
    assert found.verdict == verdict
    if verdict == "supported":
        assert "opened at layers cnn and 0" in found.sentence and {
            row["biased_since_step"] for row in found.evidence
        } == {400}
    assert len(table) == 6 and table.groupby("step")["error"].mean().between(0.25, 0.5).all()


def test_a_gap_is_not_said_to_have_opened_where_none_could_show_before():
    start = simulate_outcomes({"child": [0.85, 0.85], "adult": [0.85, 0.85]}, speakers=60, by="age_group")
    start = start.assign(encoder="e@0", layer=start["layer"].map({"0": "cnn", "1": "0"}))
    steps = {0: start, 1000: made(GAP, "e", seed=1)}
    assert {table["unit"].iloc[0] for table in steps.values()} == {"char"}
    table = pretraining.map_along(steps, "age_group", CONTRAST)
    changes = pretraining.since_the_start(steps, "age_group")
    found = pretraining.when_it_opens(table, changes, "pocket-hubert", CONTRAST)
    assert found.verdict == "inconclusive" and "a gap could hardly show" in found.sentence
    assert "grew detectably at" in found.sentence and "error there was too high" in found.sentence
    seen = pretraining.when_it_opens(table.assign(saturated=False), changes, "pocket-hubert", CONTRAST)
    assert seen.verdict == "supported"


def test_a_gap_that_ran_the_other_way_before_has_turned_and_not_opened():
    steps = {0: made([0.2, 0.2], "e@0"), 1000: made(GAP, "e", seed=1)}
    table = pretraining.map_along(steps, "age_group", CONTRAST)
    assert table["biased"].all() and (np.sign(table["estimate"]) == [-1, -1, 1, 1]).all()
    found = pretraining.when_it_opens(table, pretraining.since_the_start(steps, "age_group"), "pocket-hubert", CONTRAST)
    assert found.verdict == "inconclusive" and "The gap turned at layers cnn and 0" in found.sentence


def test_a_layer_with_more_errors_than_units_before_training_is_not_said_to_have_opened():
    start = made(NONE, "e@0")
    start.loc[(start["layer"] == "0") & (start["age_group"] == "child"), "errors"] = 2 * start["length"]
    steps = {0: start, 1000: made(GAP, "e", seed=1)}
    table = pretraining.map_along(steps, "age_group", CONTRAST)
    found = pretraining.when_it_opens(table, pretraining.since_the_start(steps, "age_group"), "pocket-hubert", CONTRAST)
    assert found.facts["opened"] == ["cnn"] and found.facts["rest"] == ["0"] and found.facts["hidden"]


@pytest.mark.parametrize(
    ("gaps", "verdict"),
    [
        ((GAP, NONE), "supported"),
        ((NONE, GAP), "inconclusive"),
        ((GAP, GAP), "inconclusive"),
        ((GAP, [0.6, 0.6]), "contradicted"),
        (([0.38, 0.38], [0.15, 0.15]), "contradicted"),  # beyond zero, and farther from it
    ],
)
def test_whether_it_helps_to_have_heard_them(gaps, verdict):
    outcomes = pd.concat([made(gaps[0], "without"), made(gaps[1], "with", seed=1)])
    changes = pretraining.changes_by_speech(outcomes, "age_group", {"heard such speakers": Pair("with", "without")})
    found = pretraining.does_it_help(group_bias(outcomes, "age_group"), changes, "without", CONTRAST, "cnn")
    assert found.verdict == verdict


def test_a_second_pair_must_agree():
    outcomes = pd.concat([made(GAP, "a"), made(NONE, "b", 1), made(GAP, "a2", 2), made(GAP, "b2", 3)])
    pairs = {"heard": Pair("b", "a"), "heard, second seed": Pair("b2", "a2")}
    pairs["only another seed"] = Pair("a2", "a", by_speech=False)
    changes = pretraining.changes_by_speech(outcomes, "age_group", pairs)
    found = pretraining.does_it_help(group_bias(outcomes, "age_group"), changes, "a", CONTRAST, "cnn")
    assert found.verdict == "inconclusive" and "Another seed alone changes" in found.sentence
    assert "In one pair alone it differs detectably at layers cnn and 0." in found.sentence
    alone = changes[changes["pair"] != "heard, second seed"]
    assert (
        pretraining.does_it_help(group_bias(outcomes, "age_group"), alone, "a", CONTRAST, "cnn").verdict == "supported"
    )


def test_steps_that_are_not_at_hand_are_left_out_and_the_twin_stands_in_when_none_is():
    def ask(name):
        if "@" in name:
            raise EncoderError("not here")
        return name

    assert pretraining.outcomes_along("pocket-hubert", ask) == {
        pretraining.UNTRAINED: "random:pocket-hubert",
        10000: "pocket-hubert",
    }
    assert exchanged.at_hand("x", "y@3", ask) == {"x": "x"}


def test_outcomes_along_are_found_again_in_one_table():
    along = {400: made(NONE, "pocket-hubert@400"), 10000: made(GAP, "pocket-hubert")}
    table = pd.concat([*along.values(), made(NONE, "logmel")], ignore_index=True)
    found = pretraining.by_step(table, "pocket-hubert")
    assert list(found) == [400, 10000]
    assert all(mine["errors"].tolist() == along[step]["errors"].tolist() for step, mine in found.items())
    twin = pd.concat([made(NONE, "random:pocket-hubert"), made(GAP, "pocket-hubert")])
    assert list(pretraining.by_step(twin, "pocket-hubert")) == [pretraining.UNTRAINED, 10000]


def test_other_speech_is_judged_at_every_task_and_layer_or_is_said_not_to_be(monkeypatch):
    monkeypatch.setattr(exchanged, "heard", lambda name: {"mine"} if name == "mini-wavlm" else {"librispeech"})
    monkeypatch.setattr(exchanged, "strangers", lambda _: set(tables["mini-hubert"]["speaker_id"]))
    tables = {"mini-wavlm": made(NONE, "mini-wavlm"), "mini-hubert": made(GAP, "mini-hubert", seed=1)}
    about = ("mini-hubert", "mini-wavlm", "mine", "age_group", CONTRAST)
    effect = exchanged.effect_of(tables, *about, ["child", "adult"])
    assert effect.finding.verdict == "supported" and set(effect.bias["encoder"]) == set(tables)
    table = exchanged.changes_table({"phone": effect}, CONTRAST)
    assert list(table) == ["task", "layer", "heard such speakers"] and list(table["layer"]) == ["cnn", "0"]
    moved = table["heard such speakers"].iloc[0].parts[0].value
    assert moved == pytest.approx(effect.finding.evidence[0]["estimate"]) and moved < -0.3
    few = exchanged.effect_of(tables, *about, ["child"])
    assert few.bias.empty and few.finding.sentence.startswith("Not tested: too few people")
    assert exchanged.changes_table({}, CONTRAST).empty


def test_of_encoders_of_other_depth_the_layers_that_both_have_are_compared():
    deeper = made(GAP, "/my/encoder", seed=1)
    deeper = pd.concat([deeper, deeper[deeper["layer"] == "0"].assign(layer="1")])
    for names in (("/my/encoder", "lab/other"), ("lab/other", "/my/encoder")):
        tables = {"/my/encoder": deeper, "lab/other": made(NONE, "lab/other")}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(exchanged, "heard", lambda _: set())
            effect = exchanged.effect_of(tables, *names, "mine", "age_group", CONTRAST, ["child", "adult"])
        assert set(effect.bias["layer"]) == set(effect.changes["layer"]) == {"cnn", "0"}
        assert effect.finding.verdict == ("supported" if names[0] == "/my/encoder" else "inconclusive")


@pytest.mark.parametrize(
    ("encoder", "counterpart", "corpus", "words"),
    [
        ("mini-hubert-learners", "mini-hubert", "speechocean762", "mini-hubert heard no speech of speechocean762"),
        ("mini-hubert-long", "pocket-wavlm", "speechocean762", "did (mini-hubert-learners, pocket-hubert-children)."),
        ("pocket-hubert", "random:pocket-hubert-children", "speechocean762", "untrained twin heard no speech"),
        ("pocket-hubert", "pocket-hubert-children", "librispeech", "pocket-hubert itself heard speech of librispeech"),
    ],
)
def test_a_pair_that_does_not_differ_in_having_heard_the_corpus_is_not_judged(encoder, counterpart, corpus, words):
    tables = {encoder: made(GAP, encoder), counterpart: made(NONE, counterpart, seed=1)}
    effect = exchanged.effect_of(tables, encoder, counterpart, corpus, "age_group", CONTRAST, ["child", "adult"])
    assert effect.finding.sentence.startswith("Not tested: ") and words in effect.finding.sentence
    assert effect.finding.verdict == "inconclusive" and effect.bias.empty and effect.changes.empty


def test_heard_is_what_the_record_says():
    assert heard("pocket-hubert-children") - heard("pocket-hubert") == {"speechocean762"}
    assert np.isin(["0\xa0h", "1.8\xa0h"], list(pretraining.hours_at("pocket-hubert", [0, 400]).values())).all()


def test_every_family_was_watched_from_before_its_first_step_to_its_end():
    for task in ("sid", "phone"):
        watched = pretraining.published_along("speechocean762", task)
        minis = {"mini-hubert-seed1": [0, 100, 400, 800, 1500]}
        minis |= dict.fromkeys(("mini-hubert-long", "mini-wavlm-long"), [0, 100, 400, 1600, 5630])
        assert set(watched) == {"pocket-hubert", "pocket-wavlm", "pocket-wav2vec2-seed1", *minis}
        for name, tables in watched.items():
            # The convolutions of wav2vec 2.0 began trained, so its first step is not the beginning.
            steps = minis.get(name, [0, 400, 1600, 6400, 10000])
            assert list(tables) == ([-1] if "wav2vec2" in name else []) + steps
            assert pretraining.hours_heard(name).keys() >= tables.keys()
            assert tables[400]["encoder"].unique().tolist() == [f"{name}@400"]
            first, last = (tables[step].groupby("layer")["errors"].sum() for step in (min(tables), max(tables)))
            assert (last < first).all()  # it has learnt, at every layer
    heard = pretraining.hours_heard("pocket-wav2vec2-seed1")
    lent = pretraining.hours_heard("pocket-hubert-it1")[max(pretraining.hours_heard("pocket-hubert-it1"))]
    assert (heard[-1], heard[0]) == (0, lent) and heard[10000] == pytest.approx(lent + 44, abs=0.1)


def test_nothing_is_published_along_pretraining_on_other_speech():
    assert pretraining.published_along("synthetic", "phone") == {}


def test_a_published_pair_is_judged_as_its_chapter_judges_it():
    """With both seeds: of the first pair alone the gap in phones would count as changed."""
    golden = json.loads((Path(__file__).parents[1] / "golden" / "findings.json").read_text())
    chapter = [one["verdict"] for one in golden["09_along_pretraining"]]
    about = ("speechocean762", "age_group", "child vs adult", ["child", "adult"])
    for task, verdict in zip(("sid", "phone"), chapter[2:4]):
        effect = exchanged.published_effect("pocket-hubert", "pocket-hubert-children", task, *about)
        assert effect.verdict == verdict and "in both pairs" in effect.sentence
