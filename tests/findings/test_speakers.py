"""Who the speakers are: distances between groups agree with an independent formula, the rule with what is planted."""

import json

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.meta_analysis import effectsize_smd

from fairlib.bias.simulation import simulate_outcomes
from fairlib.display.people import differences_chart
from fairlib.display.tables import written
from fairlib.findings.speakers import (
    are_they_alike,
    corpus_sentence,
    differences,
    sizes_table,
    smallest_table,
    speaker_table,
    too_few_errors,
)


def people(shift: float, size: int = 4000, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    seconds = np.r_[rng.normal(4 + shift, 1, size), rng.normal(4, 1, size)]
    return pd.DataFrame(
        {
            "age_group": ["child"] * size + ["adult"] * size,
            "sex": np.where(rng.random(2 * size) < 0.5, "female", "male"),
            "age": np.r_[np.full(size, 9.0), np.full(size, 30.0)],
            "seconds": seconds,
            "utterances": 2,
        }
    )


def test_a_distance_is_the_standardised_mean_difference():
    speakers = people(0.7, size=60)
    row = differences(speakers, "age_group", "child vs adult").set_index("name").loc["utterance length"]
    child, adult = (speakers.loc[speakers["age_group"] == name, "seconds"] for name in ("child", "adult"))
    theirs, variance = effectsize_smd(child.mean(), child.std(), 60, adult.mean(), adult.std(), 60)
    assert row["estimate"] == pytest.approx(theirs, rel=0.01)  # theirs takes off a little for small groups
    assert (row["high"] - row["low"]) / 2 == pytest.approx(1.98 * variance**0.5, rel=0.05)


@pytest.mark.parametrize(
    ("shift", "size", "verdict"), [(0.0, 4000, "supported"), (0.5, 4000, "contradicted"), (0.0, 20, "inconclusive")]
)
def test_the_rule_says_what_was_planted(shift, size, verdict):
    apart = differences(people(shift, size), "age_group", "child vs adult")
    found = are_they_alike(apart, "age_group", "child vs adult")
    assert found.verdict == verdict
    assert ("utterance length" in found.sentence) == (verdict == "contradicted")
    assert "age" not in set(apart["name"])  # it is what the groups are made of


def test_groups_that_share_nothing_of_a_thing_are_not_alike_in_it():
    speakers = people(0.0, 4000)
    child = speakers["age_group"] == "child"
    speakers = speakers.assign(khz=np.where(child, 16.0, 48.0), accent=np.where(child, "north", "south"), region="here")
    apart = differences(speakers, "age_group", "child vs adult").set_index("name")
    assert apart.loc[["sampling rate", "share recorded as north"], "estimate"].tolist() == [-np.inf, np.inf]
    found = are_they_alike(apart.reset_index(), "age_group", "child vs adult")
    assert found.verdict == "contradicted" and "sampling rate (16.0 against 48.0" in found.sentence
    chart = differences_chart(apart.reset_index(), "age_group", "child vs adult", differ=True).to_dict()
    assert "differ most in sampling rate" in str(chart) and "Infinity" not in json.dumps(chart)


def test_two_questions_with_the_same_answer_are_both_compared():
    answers = np.random.default_rng(0).random((80, 2)) < [0.6, 0.7]
    speakers = people(0.0, 40).assign(**dict(zip(("reads", "sings"), np.where(answers, "yes", "no").T)))
    names = set(differences(speakers, "age_group", "child vs adult")["name"])
    assert {"share recorded as yes", "share recorded as yes (sings)"} <= names


def test_a_speaker_is_counted_once_and_lacks_what_is_not_known():
    utterances = pd.DataFrame(
        {
            "utterance_id": ["a1", "a2", "b1", "b1"],
            "speaker_id": ["a", "a", "b", "b"],
            "duration_s": [1.0, 3.0, 5.0, 5.0],
            "sex": ["female", "female", "male", "male"],
            "accent": None,
        }
    )
    transcribed = utterances[:2].assign(length=[10, 30])
    table = speaker_table(utterances, transcribed, {"a1": 20.0, "a2": 30.0, "b1": 40.0})
    assert table["utterances"].to_dict() == {"a": 2, "b": 1}
    assert table.loc["a", ["seconds", "characters", "rate", "snr_db"]].tolist() == [2, 20, 10, 25]
    assert np.isnan(table.loc["b", "rate"]) and "accent" not in table


def test_small_groups_are_flagged():
    speakers = people(0, size=10)
    speakers.loc[0, "age"] = 3.0
    table = sizes_table(speakers, ["age_group", "sex"])
    assert table.set_index("group").loc["0 to 9 years", "people"] == 10
    few = sizes_table(speakers[9:], ["age_group"]).set_index("group").loc["child", "people"]
    assert written(few).endswith("too few to compare")
    assert {"child × female", "adult × male"} <= set(table["group"])


def test_the_smallest_gap_is_that_of_the_best_layer():
    study = simulate_outcomes({"child": [0.4, 0.1], "adult": [0.4, 0.1]}, speakers=40, by="age_group")
    table = smallest_table({"writing": study}, "simulated")
    assert table["contrast"].tolist() == ["child vs adult"]
    assert written(table.iloc[0].filter(like="error").item()).endswith("layer 1")
    assert 0 < table["points"].item() < 5 and 0 < table["log_odds"].item() < 1


@pytest.mark.filterwarnings("ignore:Groups of")
def test_groups_and_intersections_of_too_few_people_are_left_out():
    study = simulate_outcomes({"child": [0.2], "adult": [0.2]}, speakers=6, by="age_group")
    number = study["speaker_id"].str[-1].astype(int)
    study = study.assign(accent=number.map("accent {}".format))  # one child and one adult of each
    table = smallest_table({"writing": study}, "simulated")
    assert table["contrast"].tolist() == ["child vs adult"]


def test_a_task_with_hardly_an_error_is_named():
    study = simulate_outcomes({"child": [0.3], "adult": [0.3]}, speakers=20, by="age_group")
    table = smallest_table({"writing": study, "reading": study.assign(errors=0)}, "simulated")
    [said] = too_few_errors(table, "logmel")
    assert said.startswith("In reading log-mel makes too few errors to say")


def test_synthetic_speech_is_called_so():
    voices = pd.DataFrame({"utterances": [600, 600], "seconds": [6.0, 6.0]})
    assert corpus_sentence(voices, "planted") == (
        "This page was made from synthetic speech, 2 speakers, 1,200 utterances and 120 minutes spoken by a program, "
        "and says nothing about people."
    )
