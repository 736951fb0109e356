"""The sentence above the landing page's chart says what the table holds, and no more."""

import pandas as pd
import pytest

from fairlib.bias import group_bias, group_errors
from fairlib.bias.simulation import simulate_outcomes
from fairlib.display.sentences import in_one_sentence
from fairlib.findings import Finding
from fairlib.findings.wording import say

MISTAKEN = "are misidentified"


def told(child, adult, plain=(), verdict="inconclusive"):
    outcomes = simulate_outcomes({"child": child, "adult": adult}, speakers=60, units=1, by="age_group")
    if plain:
        control = simulate_outcomes({"child": plain[:1], "adult": plain[1:]}, speakers=60, units=1, by="age_group")
        outcomes = pd.concat([outcomes, control.assign(encoder="logmel", layer="logmel")])
    errors, bias = group_errors(outcomes, by="age_group"), group_bias(outcomes, by="age_group")
    where = Finding("c", "r", verdict, "s")
    return in_one_sentence(errors, bias, "simulated", "child vs adult", where), errors


def test_a_gap_everywhere_is_told_with_its_size_and_the_spectrogram_s():
    said, errors = told([0.4, 0.3], [0.1, 0.1], (0.3, 0.1))
    rate = errors.pivot_table(index=["encoder", "layer"], columns="group", values="error")
    times = rate["child"] / rate["adult"]
    own = sorted(times.loc["simulated"])
    assert said.startswith("At every layer, from the first one on, children")
    assert "no layer's gap differs detectably from the others'." in said
    assert f"{own[0]:.1f} to {own[1]:.1f} times as often as adults" in said
    plain = f"{times.loc[('logmel', 'logmel')]:.1f}"
    assert said.endswith(f"From the plain spectrogram, before any layer, they {MISTAKEN} {plain} times as often.")
    assert "the gap differs between layers" in told([0.5, 0.3], [0.1, 0.1], verdict="supported")[0]


@pytest.mark.parametrize(
    ("child", "adult", "words"),
    [
        ([0.2, 0.2], [0.2, 0.2], "At no layer is there a detectable difference in how often children and adults"),
        ([0.2, 0.4], [0.2, 0.1], "At layer 1, children"),
        ([0.1, 0.1], [0.3, 0.4], "At layers 0 and 1 the errors of children and adults differ."),
    ],
)
def test_what_is_not_shown_is_not_told(child, adult, words):
    assert words in told(child, adult)[0]


def test_where_the_ratio_and_the_difference_point_opposite_ways_both_are_told():
    said, errors = told([0.4, 0.35], [0.2, 0.15], (0.1, 0.025))
    rate = errors.pivot_table(index=["encoder", "layer"], columns="group", values="error")
    points = 100 * (rate["child"] - rate["adult"])
    own = sorted(points.loc["simulated"])
    assert "though fewer percentage points apart" in said
    assert f"({points.loc[('logmel', 'logmel')]:.1f} against {own[0]:.1f} to {own[1]:.1f})" in said


def test_where_the_other_group_makes_no_error_no_number_of_times_is_told():
    _, errors = told([0.4, 0.3], [0.1, 0.1])
    errors.loc[(errors["group"] == "adult") & (errors["layer"] == "1"), "error"] = 0.0
    outcomes = simulate_outcomes({"child": [0.4, 0.3], "adult": [0.1, 0.1]}, speakers=60, units=1, by="age_group")
    where = Finding("c", "r", "inconclusive", "s")
    said = in_one_sentence(errors, group_bias(outcomes, by="age_group"), "simulated", "child vs adult", where)
    assert said == "At layers 0 and 1 the errors of children and adults differ."


@pytest.mark.parametrize(("biased", "words"), [(["1"], "1 of 2 layers shows a gap"), (["0", "1"], "Every layer shows")])
def test_one_layer_shows_and_several_show(biased, words):
    facts = {"by": "age_group", "contrast": "child vs adult", "layers": ["0", "1"], "biased": biased, "best": "0"}
    facts |= {"error": 0.3, "other_error": 0.2, "plainly": "are misidentified in {}", "wrong": False}
    assert words in say("in_plain_words.contradicted", **facts)
