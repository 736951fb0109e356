"""The ruler: the same features with the error moved by other means, and layers set against it."""

import numpy as np
import pandas as pd
import pytest

from fairlib.bias.simulation import constant_odds, simulate_outcomes
from fairlib.findings.ruler import MOVED_BY, against_ruler, ruler, ruler_sentence

LEVELS = np.array([0.05, 0.1, 0.2, 0.3, 0.4])


def outcomes(gaps, encoder, seed=0):
    """Of five layers or steps whose conditional log odds ratios are these; the people are the same in every table."""
    rates = [constant_odds(LEVELS[at : at + 1], gap) for at, gap in enumerate(gaps)]
    sides = {"child": [a[0] for a, _ in rates], "adult": [b[0] for _, b in rates]}
    table = simulate_outcomes(sides, 60, units=20, seed=seed, by="age_group")
    return table.assign(encoder=encoder, task="sid", unit="speaker", probe="linear")


def test_layers_are_set_against_the_ruler_whatever_it_shows_itself():
    steps = outcomes(np.linspace(1.0, 0.6, 5), MOVED_BY["sid"], seed=1)  # a gap that falls with error by itself
    same = against_ruler(outcomes(np.linspace(1.0, 0.6, 5), "e"), steps, "e", "age_group", "child vs adult")
    beside = same[same["twin"].notna()].iloc[0]
    assert abs(beside["excess"]) < 0.1 and beside["p"] > 0.05
    apart = against_ruler(outcomes(np.linspace(0.3, 1.3, 5), "e"), steps, "e", "age_group", "child vs adult")
    assert apart[apart["twin"].notna()].iloc[0]["excess_low"] > 0


def test_layers_with_cnn_have_a_ruler_too():
    mine = outcomes(np.linspace(1.0, 0.6, 5), "e")
    mine["layer"] = mine["layer"].map({"4": "cnn", "3": "0", "2": "1", "1": "2", "0": "3"})
    more = mine[mine["layer"] == "3"].assign(layer="4")
    table = against_ruler(
        pd.concat([mine, more]), outcomes([0.8] * 5, MOVED_BY["sid"]), "e", "age_group", "child vs adult"
    )
    assert len(table) == 3 and table["p"].notna().all()


def test_the_sentence_tells_the_three_slopes():
    steps = outcomes([0.8] * 5, MOVED_BY["sid"], seed=1)
    table = against_ruler(outcomes(np.linspace(0.3, 1.3, 5), "e"), steps, "e", "age_group", "child vs adult")
    said, alone = ruler_sentence(table, "e"), table[table["twin"].isna()].set_index("encoder")
    assert f"{alone.loc['e', 'slope']:+.2f}" in said and MOVED_BY["sid"] in said
    assert f"{table[table['twin'].notna()].iloc[0]['excess']:+.2f}" in said


def test_the_published_ruler_has_a_step_for_each_number_of_candidates():
    steps = ruler("sid", "pocket-hubert", "speechocean762", "age_group")
    rate = steps.groupby("step")[["errors", "length"]].sum()
    error = rate["errors"] / rate["length"]
    assert list(error.index) == [10, 26, 50, 100, 200] and error.is_monotonic_increasing
    assert error.loc[200] == pytest.approx(0.12, abs=0.02)  # as of all candidates, 12 %
    assert steps["layer"].nunique() == 5 and set(steps["encoder"]) == {MOVED_BY["sid"]}


def test_steps_that_were_trained_from_more_seeds_than_others_do_not_take_the_ruler_away():
    steps = ruler("asr", "pocket-hubert", "speechocean762", "age_group")
    assert set(steps["step"]) == {2, 4, 6, 12, 24} and set(steps["seed"]) == {0}
    rate = steps.groupby("step")[["errors", "length"]].sum()
    assert (rate["errors"] / rate["length"]).is_monotonic_decreasing
