"""Bias against error over layers: not fooled by the scales' arithmetic, and not blind to what is planted."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from fairlib.bias import SCALES, BiasError
from fairlib.bias.association import bias_error_association, rank_correlation
from fairlib.bias.simulation import constant_odds, simulate_outcomes
from fairlib.findings.opposite import RULE, c2_finding, scales_title

LEVELS = np.linspace(0.05, 0.45, 8)


def study(odds, speakers=60, seed=0, units=25, **more) -> pd.DataFrame:
    worse, other = constant_odds(LEVELS, odds)
    return simulate_outcomes({"quiet": worse, "clear": other}, speakers, units=units, seed=seed, **more)


def table(outcomes, **more) -> pd.DataFrame:
    return bias_error_association(outcomes, "group", resamples=800, **more).set_index("scale")


def test_rank_correlation_is_scipy_s_with_ties_too():
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 5, (20, 8)), rng.integers(0, 5, (20, 8))
    expected = [stats.spearmanr(a, b).statistic for a, b in zip(one, other)]
    assert rank_correlation(one, other) == pytest.approx(expected)
    assert np.isnan(rank_correlation([1, 1, 1], [1, 2, 3]))


def test_one_odds_ratio_everywhere_is_not_taken_for_an_effect_of_layers():
    """A difference rises with error and a ratio falls, surely and in every interval; neither is called a finding."""
    found = table(study(0.6, speakers=150))
    assert found.loc["difference", "estimate"] > 0.9 and found.loc["difference", "low"] > 0
    assert found.loc["ratio", "estimate"] < -0.9 and found.loc["ratio", "high"] < 0
    assert (found["p"] > 0.05).all() and set(found["verdict"]) == {"inconclusive"}
    assert found.loc["difference", "association"] == found.loc["ratio", "association"] == "as constant odds would"
    # The null brings the artefact along: it stands where the estimate stands.
    assert found.loc["difference", "null_mean"] > 0.8 and found.loc["ratio", "null_mean"] < -0.8
    assert abs(found.loc["log_odds", "null_mean"]) < 0.15
    assert found["common_log_odds"].tolist() == pytest.approx([0.6] * 3, abs=0.2)
    assert found["excess"].tolist() == pytest.approx((found["estimate"] - found["null_mean"]).tolist())


@pytest.mark.parametrize(
    ("odds", "units", "association", "verdict"),
    [
        (np.linspace(0.1, 1.1, 8), 25, "rises with error", "contradicted"),  # C2: falls in speech recognition
        (np.linspace(1.1, 0.1, 8), 25, "falls with error", "supported"),
        (np.linspace(0.0, 2.0, 8), 1, "rises with error", "supported"),  # C2: rises in speaker identification
        (np.linspace(2.0, 0.0, 8), 1, "falls with error", "contradicted"),
    ],
)
def test_a_planted_effect_of_layers_is_found_in_its_direction(odds, units, association, verdict):
    found = table(study(odds, speakers=150, units=units, utterances=25)).loc["log_odds"]
    assert (found["association"], found["verdict"]) == (association, verdict)
    assert found["p"] < 0.01 and found["low"] * found["high"] > 0


def test_the_size_of_the_gap_counts_and_not_its_side():
    """A layer that wrongs the other group is as biased: swapping the groups changes nothing."""
    outcomes = study(np.linspace(-0.8, 0.8, 8))
    swapped = outcomes.assign(group=outcomes["group"].map({"quiet": "clear", "clear": "quiet"}))
    one, other = table(outcomes), table(swapped)
    assert one["estimate"].tolist() == pytest.approx(other["estimate"].tolist())
    assert one.loc["log_odds", "estimate"] < 0.6  # falls to the middle, then rises: no rank order


def test_false_alarms_of_the_test_are_as_rare_as_claimed():
    """60 studies with one odds ratio: at 5 %, more than 8 false alarms would come once in 300 times."""
    alarms = dict.fromkeys(SCALES, 0)
    for seed in range(60):
        outcomes = study(0.5, speakers=15, seed=seed, utterances=8)
        found = bias_error_association(outcomes, "group", resamples=300).set_index("scale")
        for scale in SCALES:
            alarms[scale] += found.loc[scale, "p"] < 0.05
    assert max(alarms.values()) <= 8


def test_several_groups_and_encoders_have_their_own_answers_and_log_mel_none():
    three = simulate_outcomes({"x": LEVELS, "y": LEVELS + 0.05, "z": LEVELS}, 10)
    mel = three[three["layer"] == "0"].assign(encoder="logmel", layer="logmel")
    found = bias_error_association(pd.concat([three, mel, three.assign(encoder="f")]), "group", resamples=50)
    assert set(found["encoder"]) == {"simulated", "f"} and len(found) == 2 * 3 * 3
    assert (found["p_holm"] >= found["p"]).all()
    mine, twin = (found[found["encoder"] == name].drop(columns="encoder").reset_index(drop=True) for name in
                  ("simulated", "f"))  # fmt: skip
    pd.testing.assert_frame_equal(mine, twin)  # the same resamples for every encoder


def test_claims_are_made_of_two_tasks_only():
    found = table(study(np.linspace(0.1, 1.1, 8)).assign(task="phone"))
    assert found["verdict"].isna().all() and found.loc["log_odds", "association"] == "rises with error"
    assert "excludes zero" in RULE and "p below 0.05" in RULE


def test_errors_above_one_leave_no_odds_and_are_not_judged():
    found = table(study(0.5).assign(errors=lambda rows: rows["errors"] + rows["length"]))
    assert found["p"].isna().all() and set(found["verdict"]) == {"inconclusive"}
    assert not {"rises with error", "falls with error", "as constant odds would"} & set(found["association"])


def test_too_few_layers_are_refused():
    short = study(0.5, speakers=5)
    with pytest.raises(BiasError, match="No encoder in these outcomes has 5 layers"):
        bias_error_association(short[short["layer"].isin(["0", "1", "2", "3"])], "group")


@pytest.mark.parametrize(
    ("task", "verdict"), [("sid", "supported"), ("asr", "contradicted")], ids=["as claimed", "against the claim"]
)
def test_a_finding_tells_the_direction_and_judges_the_claim_of_its_task(task, verdict):
    outcomes = study(np.linspace(0.1, 1.1, 8)).assign(task=task)
    found = bias_error_association(outcomes, "group", resamples=800)
    contrast = found["contrast"].iloc[0]
    finding = c2_finding(found, task, contrast)
    assert finding.verdict == verdict and finding.criterion == RULE
    assert "the gap is larger in the layers that err more" in finding.sentence
    assert {row["scale"] for row in finding.evidence} == set(SCALES)
    assert scales_title(found).startswith("on ")
