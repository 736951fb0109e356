"""The reference curve: the same features with the error moved by other means, and layers set against it."""

import numpy as np
import pandas as pd
import pytest

from fairlib.bias.simulation import constant_odds, simulate_outcomes
from fairlib.findings.reference import (
    MOVED_BY,
    against_reference,
    at_equal_error,
    equal_error_sentence,
    reference_sentence,
    reference_steps,
)
from fairlib.probes import identify_among

LEVELS = np.array([0.05, 0.1, 0.2, 0.3, 0.4])


def outcomes(gaps, encoder, seed=0):
    """Of five layers or steps whose conditional log odds ratios are these; the people are the same in every table."""
    rates = [constant_odds(LEVELS[at : at + 1], gap) for at, gap in enumerate(gaps)]
    sides = {"child": [a[0] for a, _ in rates], "adult": [b[0] for _, b in rates]}
    table = simulate_outcomes(sides, 60, units=20, seed=seed, by="age_group")
    return table.assign(encoder=encoder, task="sid", unit="speaker", probe="linear")


def test_layers_are_set_against_the_reference_whatever_it_shows_itself():
    steps = outcomes(np.linspace(1.0, 0.6, 5), MOVED_BY["sid"], seed=1)  # a gap that falls with error by itself
    same = against_reference(outcomes(np.linspace(1.0, 0.6, 5), "e"), steps, "e", "age_group", "child vs adult")
    beside = same[same["twin"].notna()].iloc[0]
    assert abs(beside["excess"]) < 0.1 and beside["p"] > 0.05
    apart = against_reference(outcomes(np.linspace(0.3, 1.3, 5), "e"), steps, "e", "age_group", "child vs adult")
    assert apart[apart["twin"].notna()].iloc[0]["excess_low"] > 0


def test_layers_with_cnn_have_a_reference_too():
    mine = outcomes(np.linspace(1.0, 0.6, 5), "e")
    mine["layer"] = mine["layer"].map({"4": "cnn", "3": "0", "2": "1", "1": "2", "0": "3"})
    more = mine[mine["layer"] == "3"].assign(layer="4")
    table = against_reference(
        pd.concat([mine, more]), outcomes([0.8] * 5, MOVED_BY["sid"]), "e", "age_group", "child vs adult"
    )
    assert len(table) == 3 and table["p"].notna().all()


def test_the_sentence_tells_the_three_slopes():
    steps = outcomes([0.8] * 5, MOVED_BY["sid"], seed=1)
    table = against_reference(outcomes(np.linspace(0.3, 1.3, 5), "e"), steps, "e", "age_group", "child vs adult")
    said, alone = reference_sentence(table, "e"), table[table["twin"].isna()].set_index("encoder")
    assert f"{alone.loc['e', 'slope']:+.2f}" in said and MOVED_BY["sid"] in said
    assert f"{table[table['twin'].notna()].iloc[0]['excess']:+.2f}" in said


def test_without_a_reference_it_is_said_that_there_is_none():
    mine, none = outcomes(np.linspace(0.3, 1.3, 5), "e"), pd.DataFrame()
    assert reference_sentence(against_reference(mine, none, "e", "age_group", "child vs adult"), "e").startswith(
        "No such"
    )


def test_the_published_reference_has_a_step_for_each_number_of_candidates():
    steps = reference_steps("sid", "pocket-hubert", "speechocean762", "age_group")
    rate = steps.groupby("step")[["errors", "length"]].sum()
    error = rate["errors"] / rate["length"]
    assert list(error.index) == [10, 26, 50, 100, 200] and error.is_monotonic_increasing
    assert error.loc[200] == pytest.approx(0.12, abs=0.02)  # as of all candidates, 12 %
    assert steps["layer"].nunique() == 5 and set(steps["encoder"]) == {MOVED_BY["sid"]}


def test_steps_that_were_trained_from_more_seeds_than_others_do_not_take_the_reference_away():
    steps = reference_steps("asr", "pocket-hubert", "speechocean762", "age_group")
    assert set(steps["step"]) == {2, 4, 6, 12, 24} and set(steps["seed"]) == {0}
    rate = steps.groupby("step")[["errors", "length"]].sum()
    assert (rate["errors"] / rate["length"]).is_monotonic_decreasing


def test_layers_are_compared_with_the_convolutions_at_about_the_same_error():
    matched = at_equal_error("pocket-hubert", "speechocean762", "age_group", "child vs adult")
    assert matched["layer"].tolist() == ["0", "1", "2", "3", "4", "5", "6"]
    assert set(matched["candidates"]) == {200} and set(matched["candidates_cnn"]) == {50}
    assert (matched["error"] - matched["error_cnn"]).abs().max() < 0.03  # without it they lie .12 apart
    # By hand: the same log odds ratios from the sums of errors.
    among = identify_among("pocket-hubert", "speechocean762", by=["age_group"], seeds=5)
    gaps = {}
    for layer, size in (("6", 200), ("cnn", 50)):
        mine = among[(among["layer"] == layer) & among["probe"].str.contains(f" {size} candidates")]
        sums = mine.groupby("age_group")[["errors", "length"]].sum()
        odds = sums["errors"] / (sums["length"] - sums["errors"])
        gaps[layer] = np.log(odds["child"] / odds["adult"])
    found = matched.set_index("layer").loc["6", "estimate"]
    assert found == pytest.approx(gaps["6"] - gaps["cnn"], abs=0.01)
    said = equal_error_sentence(matched)
    assert "among 50 candidates" in said and "among 200" in said
    assert "none of these differences is detected" in said or "detected at layer" in said


def test_where_no_layer_can_be_compared_the_sentence_says_so():
    assert equal_error_sentence(pd.DataFrame()).startswith("These data do not allow")
