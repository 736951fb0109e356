"""Calibration: on simulated studies the measures find what was planted, and nothing where nothing was.

A few hundred studies here; `bench/calibration.py` runs a thousand and more of each, and its table ships.
"""

import numpy as np
import pandas as pd
import pytest

from fairlib.bias import BETWEEN, WORST, bias_differences, group_bias, group_errors
from fairlib.bias.simulation import constant_odds, simulate_outcomes
from fairlib.findings.calibration import CALIBRATION, lines

# ---- the simulation itself ----


def test_simulated_rates_are_the_planted_ones_and_speakers_differ():
    planted = {"a": [0.05, 0.4], "b": [0.1, 0.7]}
    outcomes = simulate_outcomes(planted, 3000, utterances=4, spread=1.0, layer_correlation=0.5, seed=1)
    totals = outcomes.groupby(["group", "layer"])[["errors", "length"]].sum()
    assert (totals["errors"] / totals["length"]).tolist() == pytest.approx([0.05, 0.4, 0.1, 0.7], rel=0.03)
    of_speaker = outcomes[outcomes["group"] == "b"].groupby(["layer", "speaker_id"])[["errors", "length"]].sum()
    rates = (of_speaker["errors"] / of_speaker["length"]).unstack("layer")
    odds = np.log(rates["1"] / (1 - rates["1"])).replace([np.inf, -np.inf], np.nan)
    assert odds.std() == pytest.approx(1.0, abs=0.1)
    assert 0.35 < rates.corr().loc["0", "1"] < 0.55
    assert outcomes["utterance_id"].nunique() == 6000 * 4


def test_identification_seeds_and_bad_rates():
    outcomes = simulate_outcomes({"a": [0.3], "b": [0.3]}, {"a": 4, "b": 6}, units=1, seeds=3, seed_spread=0.5)
    assert set(outcomes["errors"]) == {0, 1} and set(outcomes["length"]) == {1} and set(outcomes["task"]) == {"sid"}
    assert outcomes.groupby("group")["speaker_id"].nunique().to_dict() == {"a": 4, "b": 6}
    assert outcomes["seed"].nunique() == 3 and outcomes.groupby("seed")["utterance_id"].nunique().eq(200).all()
    with pytest.raises(ValueError, match="above 0 and below 1; there are 0.0 to 0.5"):
        simulate_outcomes({"a": [0.0], "b": [0.5]})
    with pytest.raises(ValueError, match=r"every layer; there are \[1, 2\]"):
        simulate_outcomes({"a": [0.1], "b": [0.5, 0.2]})


# ---- the metric artefact ----


def test_the_artefact_has_the_size_that_was_worked_out_for_an_odds_ratio_of_one_and_a_half():
    base = np.array([0.02, 0.05, 0.10, 0.20, 0.40, 0.60, 0.80, 0.95])  # of the second group
    odds = 1.5 * base / (1 - base)
    level = (odds / (1 + odds) + base) / 2
    worse, other = constant_odds(level, np.log(1.5))
    assert other == pytest.approx(base, abs=1e-6)
    assert (worse - other).round(3).tolist() == [0.010, 0.023, 0.043, 0.073, 0.100, 0.092, 0.057, 0.016]
    assert (worse / other).round(2).tolist() == [1.49, 1.46, 1.43, 1.36, 1.25, 1.15, 1.07, 1.02]


def test_constant_odds_keep_the_error_over_both_groups():
    worse, other = constant_odds([0.1, 0.5], [0.7, -0.7], share=0.25)
    assert (0.25 * worse + 0.75 * other).tolist() == pytest.approx([0.1, 0.5])
    assert np.log(worse / (1 - worse) / (other / (1 - other))).tolist() == pytest.approx([0.7, -0.7])


# ---- nothing planted, nothing found ----
#
# Where only one layer at a time is looked at, the layers of one table are as many studies: they have nothing in common.


def many(rates: dict, studies: int, speakers, seed=0, **more) -> pd.DataFrame:
    rates = {group: [rate] * studies for group, rate in rates.items()}
    return simulate_outcomes(rates, speakers, utterances=10, layer_correlation=0.0, seed=seed, **more)


@pytest.mark.parametrize("speakers", [5, 25])
def test_false_alarms_of_a_gap_come_as_often_as_claimed(speakers):
    bias = group_bias(many({"a": 0.3, "b": 0.3}, 400, speakers), "group", resamples=2, permutations=500)
    for _, rows in bias.groupby("scale"):
        assert 0.02 < (rows["p"] < 0.05).mean() < 0.085
        assert np.quantile(rows["p"], [0.25, 0.5, 0.75]) == pytest.approx([0.25, 0.5, 0.75], abs=0.08)  # spread evenly


def test_false_alarms_are_kept_down_over_a_family_of_layers():
    """60 studies of 6 layers: without care up to a quarter of them alarm; at 5 %, 9 do so once in 400 times."""
    alarms = []
    for seed in range(60):
        outcomes = simulate_outcomes({"a": [0.3] * 6, "b": [0.3] * 6}, 8, 8, layer_correlation=0.2, seed=seed)
        bias = group_bias(outcomes, "group", resamples=2, permutations=300).query("scale == 'log_odds'")
        alarms.append([(bias[column] < 0.05).any() for column in ("p", "p_familywise", "p_holm")])
    each, family, by_holm = np.sum(alarms, axis=0)
    assert family < 9 and by_holm < 9 and each > family


def test_false_alarms_of_differences_between_layers():
    outcomes = simulate_outcomes({"a": [0.3] * 200, "b": [0.3] * 200}, 12, 10, layer_correlation=0.0)
    pairs = [(("simulated", str(2 * k)), ("simulated", str(2 * k + 1))) for k in range(100)]
    table = bias_differences(outcomes, "group", pairs, resamples=1000)
    for _, rows in table.groupby("scale"):
        assert 0 < (rows["p"] < 0.05).mean() < 0.12


def test_groups_that_differ_in_spread_and_size_do_not_alarm():
    """A small scattered group beside a large even one: permuting the bare gap alarms several times too often."""
    outcomes = many({"a": 0.3, "b": 0.3}, 300, {"a": 12, "b": 60}, spread={"a": 1.0, "b": 0.2})
    rows = group_bias(outcomes, "group", resamples=2, permutations=500).query("scale == 'difference'")
    assert (rows["p"] < 0.05).mean() < 0.10
    assert ((rows["estimate"] < rows["null_low"]) | (rows["estimate"] > rows["null_high"])).mean() > 0.18


def test_the_largest_gap_is_biased_upward_and_its_excess_is_not():
    """Eight groups of five who are alike: the largest gap averages near 10 points, its excess near none."""
    bias = group_bias(many(dict.fromkeys("abcdefgh", 0.15), 200, 5), "group", resamples=500, permutations=300)
    for contrast, typical in ((WORST, 0.10), (BETWEEN, 0.03)):
        rows = bias[(bias["contrast"] == contrast) & (bias["scale"] == "difference")]
        assert rows["estimate"].mean() == pytest.approx(typical, rel=0.15)
        assert abs(rows["excess"].mean()) < 0.05 * typical
        assert (rows["low"] == 0).mean() >= 0.91  # the interval holds the truth, which is none
        assert 0.01 < (rows["p"] < 0.05).mean() < 0.10


def test_the_largest_gap_that_is_there_is_found_and_covered():
    planted = {"a": 0.10, "b": 0.15, "c": 0.30}
    bias = group_bias(many(planted, 100, 40), "group", resamples=500, permutations=200)
    for contrast, truth in ((WORST, 0.2), (BETWEEN, np.std([0.10, 0.15, 0.30], ddof=1))):
        rows = bias[(bias["contrast"] == contrast) & (bias["scale"] == "difference")]
        assert ((rows["low"] <= truth) & (rows["high"] >= truth)).mean() >= 0.94
        assert (rows["p"] < 0.05).all() and rows["estimate"].mean() == pytest.approx(truth, rel=0.05)


# ---- what is planted is covered ----


@pytest.mark.parametrize("speakers", [5, 30])
def test_intervals_hold_the_planted_gap_on_every_scale(speakers):
    worse, other = (float(rate) for rate in np.ravel(constant_odds([0.2], 0.5)))
    planted = {
        "difference": worse - other, "ratio": worse / other,
        "log_odds": np.log(worse / (1 - worse)) - np.log(other / (1 - other)),
    }  # fmt: skip
    outcomes = many({"a": worse, "b": other}, 400, speakers)
    for scale, rows in group_bias(outcomes, "group", resamples=1000, permutations=2).groupby("scale"):
        assert 0.90 <= ((rows["low"] <= planted[scale]) & (rows["high"] >= planted[scale])).mean() <= 0.985
    errors = group_errors(outcomes, "group", resamples=1000)
    truth = errors["group"].map({"a": worse, "b": other})
    for suffix in ("", "_macro"):
        assert 0.89 <= ((errors[f"low{suffix}"] <= truth) & (errors[f"high{suffix}"] >= truth)).mean() <= 0.985


# ---- the shipped table ----


def test_the_shipped_table_tells_of_a_calibrated_method():
    table = pd.read_parquet(CALIBRATION)
    assert {"topic", "test", "scale", "condition", "n_speakers", "value", "low", "high", "studies"} == set(table)
    assert table.loc[table["topic"] != "artefact", "studies"].max() >= 1000
    alarms = table[(table["topic"] == "false_positives")]
    others = alarms["test"].isin(["utterances as sample", "permutation, not studentised"])
    hard = alarms["condition"] == "unequal sizes and spreads"  # five scattered speakers beside twenty that are alike
    assert (alarms.loc[~others & ~hard, "value"] < 0.10).all()
    assert (alarms.loc[~others & hard, "value"] < 0.13).all()
    assert (alarms.loc[alarms["test"] == "utterances as sample", "value"] > 0.4).all()
    held = table[table["topic"] == "coverage"].set_index("test")
    assert held.loc["stretched percentile", "value"].min() > 0.89
    even = held[held["condition"] == "two groups"]["value"]
    assert even.loc["stretched percentile"].between(0.93, 0.97).all()
    assert even.loc["utterance bootstrap"].max() < 0.6
    excess = table[(table["test"] == "worst vs best: excess") & (table["condition"] == "eight groups alike")]
    assert (excess["value"].abs() < 0.005).all()
    assert table.loc[table["topic"] == "power", "value"].between(0.7, 0.95).all()


def test_lines_of_the_calibration_keep_the_order_they_were_asked_in():
    rows = lines("coverage", {"utterance bootstrap": "utterances", "percentile": "people"})
    assert rows["line"].unique().tolist() == ["utterances", "people"]
    assert rows.groupby("line")["x"].apply(list).map(lambda x: x == sorted(x)).all()
    with pytest.raises(ValueError, match="no coverage of guesswork"):
        lines("coverage", {"guesswork": "guesses"})
