"""Adjusted gaps against published coefficients, formulas written out, and planted confounds."""

import numpy as np
import pandas as pd
import pytest

from fairlib.bias import BiasError, adjustment
from fairlib.bias.adjustment import adjusted_gaps
from fairlib.bias.simulation import simulate_outcomes


def outcomes(errors, length, speakers, groups, task="asr", **columns) -> pd.DataFrame:
    table = pd.DataFrame({"errors": errors, "length": length, "speaker_id": speakers, "group": groups, **columns})
    table["utterance_id"] = [f"u{number}" for number in range(len(table))]
    return table.assign(encoder="e", task=task, unit="char", probe="linear", layer="1", seed=0)


# Dobson (1990, An Introduction to Generalized Linear Models), page 93, the first example of R's help on glm: counts of
# outcomes 1 and 2 under three treatments. R prints -4.543e-01 for outcome 2.
DOBSON = {"counts": [18, 17, 20, 10, 25, 13], "outcome": [1, 2, 1, 2, 1, 2], "treatment": [1, 1, 2, 2, 3, 3]}


def test_the_coefficient_is_the_published_one():
    table = outcomes(
        DOBSON["counts"] * 2, 1, [f"s{i}" for i in range(12)], [{1: "b", 2: "a"}[o] for o in DOBSON["outcome"]] * 2,
        treatment=[str(t) for t in DOBSON["treatment"]] * 2,
    )  # fmt: skip
    row = adjusted_gaps(table, "group", ["treatment"]).iloc[0]
    assert (row["family"], row["scale"], row["problem"]) == ("Poisson", "log_ratio", "")
    assert row["estimate"] == pytest.approx(-0.4543, abs=5e-5)


def _poisson_by_hand(errors, units, design, speaker):
    """Fisher scoring with an offset, and the sandwich of Liang and Zeger with its small-sample factor."""
    beta = np.zeros(design.shape[1])
    beta[0] = np.log(errors.sum() / units.sum())
    for _ in range(50):
        mean = units * np.exp(design @ beta)
        information = design.T @ (mean[:, None] * design)
        beta = beta + np.linalg.solve(information, design.T @ (errors - mean))
    mean = units * np.exp(design @ beta)
    scores = np.array([design[speaker == s].T @ (errors - mean)[speaker == s] for s in np.unique(speaker)])
    bread, clusters, (rows, columns) = np.linalg.inv(information), len(scores), design.shape
    factor = clusters / (clusters - 1) * (rows - 1) / (rows - columns)
    return beta, np.sqrt(np.diag(factor * bread @ scores.T @ scores @ bread))


def test_estimate_and_clustered_error_are_those_of_the_formula():
    rng = np.random.default_rng(0)
    speaker = np.repeat(np.arange(24), 10)
    group = speaker < 12
    units = rng.integers(5, 60, 240) + 40 * group  # one group reads longer texts: without the offset it errs more
    rate = np.exp(rng.normal(0, 0.15, 24))[speaker] * np.where(group, 0.12, 0.1)
    errors, rate_of_speech = rng.poisson(units * rate), rng.normal(5, 1, 240)
    table = outcomes(errors, units, [f"s{i:02d}" for i in speaker], np.where(group, "a", "b"), rate=rate_of_speech)
    row = adjusted_gaps(table, "group", ["rate"]).iloc[0]
    assert row["family"] == "Poisson"
    beta, error = _poisson_by_hand(errors, units, np.column_stack([np.ones(240), group, rate_of_speech]), speaker)
    assert row["estimate"] == pytest.approx(beta[1], abs=1e-6)
    reach = 2.0686576104190406  # R: qt(0.975, 23)
    assert row["high"] - row["low"] == pytest.approx(2 * reach * error[1], rel=1e-5)
    plain, _ = _poisson_by_hand(errors, units, np.column_stack([np.ones(240), group]), speaker)
    assert row["raw"] == pytest.approx(plain[1], abs=1e-6)
    assert row["raw"] == pytest.approx(
        np.log(errors[group].sum() / units[group].sum() / (errors[~group].sum() / units[~group].sum()))
    )
    assert row[["n_speakers_a", "n_speakers_b", "n_utterances", "n_left_out"]].tolist() == [12, 12, 240, 0]


def test_speaker_identification_is_logistic():
    errors = [1] * 12 + [0] * 8 + [1] * 5 + [0] * 15
    speakers = [f"s{number // 2:02d}" for number in range(40)]
    table = outcomes(errors, 1, speakers, ["a"] * 20 + ["b"] * 20, task="sid", snr=np.tile([1.0, 2.0], 20))
    row = adjusted_gaps(table, "group", ["snr"]).iloc[0]
    assert (row["family"], row["scale"]) == ("logistic", "log_odds")
    assert row["raw"] == pytest.approx(np.log(12 / 8 / (5 / 15)))


def test_a_confound_is_taken_out_and_a_true_gap_stays():
    """Noise makes errors and is louder in one group; beside it stands a gap of 0.5 in log rate, or none."""
    rng = np.random.default_rng(1)
    speaker = np.repeat(np.arange(120), 10)
    group = speaker < 60
    noise = rng.normal(0, 1, 1200) + 1.0 * group
    for planted in (0.0, 0.5):
        own = rng.normal(0, 0.2, 120)[speaker]
        errors = rng.poisson(30 * np.exp(-2 + 0.5 * noise + planted * group + own))
        table = outcomes(errors, 30, [f"s{i:03d}" for i in speaker], np.where(group, "a", "b"), noise=noise)
        row = adjusted_gaps(table, "group", ["noise"]).iloc[0]
        assert row["low"] < planted < row["high"] and row["high"] - row["low"] < 0.35
        assert row["raw_low"] > planted + 0.2
        assert (row["p"] < 0.05) == (planted > 0)


def test_errors_that_scatter_more_than_poisson_s_get_a_negative_binomial():
    rng = np.random.default_rng(0)
    speaker = np.repeat(np.arange(60), 8)
    units = np.where(speaker < 30, 160, 80)  # one group reads texts of twice the length
    mean = 0.1 * units * np.exp(0.4 * (speaker < 30))
    errors = rng.negative_binomial(2, 2 / (2 + mean))
    table = outcomes(
        errors, units, [f"s{i}" for i in speaker], np.where(speaker < 30, "a", "b"), z=rng.normal(size=480)
    )
    row = adjusted_gaps(table, "group", ["z"]).iloc[0]
    assert row["family"] == "negative binomial" and row["dispersion"] > 3
    assert row["low"] < 0.4 < row["high"]
    assert adjustment._extra_variance(errors, mean) == pytest.approx(0.5, abs=0.15)  # planted: 1 / 2


def test_seeds_repeat_utterances_and_add_none():
    table = simulate_outcomes({"a": [0.3], "b": [0.2]}, 12, seeds=1).assign(z=lambda t: t["errors"] % 3)
    alone = adjusted_gaps(table, "group", ["z", "length"])  # a text's length may well be a covariate
    thrice = pd.concat([table.assign(seed=seed) for seed in range(3)])
    repeated = adjusted_gaps(thrice, "group", ["z", "length"])
    columns = ["estimate", "low", "high", "raw", "n_utterances"]
    pd.testing.assert_frame_equal(alone[columns], repeated[columns])
    assert alone["dispersion"][0] == pytest.approx(repeated["dispersion"][0])


def test_every_layer_and_contrast_has_a_row():
    table = simulate_outcomes({"x": [0.2, 0.3], "y": [0.2, 0.3], "z": [0.3, 0.4]}, 8).assign(
        z=lambda t: t["length"] % 3
    )
    found = adjusted_gaps(table, "group", ["z", "length"])
    assert len(found) == 6 and set(found["contrast"]) == {f"{g} vs all others" for g in "xyz"}
    assert (found["problem"] == "").all()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"errors": lambda t: t["errors"].where(t["group"] == "b", 0)}, "separation: the first group has no errors"),
        ({"same": lambda t: t["group"]}, "collinear"),
        ({"same": 1.0}, "collinear"),
        ({"same": lambda t: pd.Series(range(len(t)), index=t.index).where(t["group"] == "b")},
         "no utterance of the first group has all covariates"),
        ({"same": lambda t: t["utterance_id"]}, "too few"),
    ],
)  # fmt: skip
def test_what_cannot_be_fitted_is_said_in_the_table(change, problem):
    table = simulate_outcomes({"a": [0.3], "b": [0.2]}, 6, utterances=4).assign(**change)
    row = adjusted_gaps(table, "group", ["same"] if "same" in table else ["length"]).iloc[0]
    assert problem in row["problem"]
    assert np.isnan(row[["estimate", "low", "high", "p"]].to_numpy(float)).all()


def test_separation_by_a_covariate_or_by_the_task_is_said_too():
    table = simulate_outcomes({"a": [0.4], "b": [0.3]}, 20, utterances=5, units=1)
    row = adjusted_gaps(table.assign(tell=table["errors"] * 1.0), "group", ["tell"]).iloc[0]
    assert "separation" in row["problem"] and np.isnan(row["estimate"])
    wrong = table.assign(errors=table["errors"].where(table["group"] == "a", 1), z=table["utterance_id"].str[-1])
    assert adjusted_gaps(wrong, "group", ["z"])["problem"][0] == "separation: the second group has nothing but errors"


def test_not_converging_is_said(monkeypatch):
    monkeypatch.setattr(adjustment, "ITERATIONS", 1)
    table = simulate_outcomes({"a": [0.3], "b": [0.2]}, 6).assign(z=lambda t: t["length"] % 3)
    row = adjusted_gaps(table, "group", ["z"]).iloc[0]
    assert row["problem"] == "not converged after 1 steps" and np.isnan(row["estimate"])


def test_utterances_without_a_covariate_are_counted():
    table = simulate_outcomes({"a": [0.3], "b": [0.2]}, 6).assign(snr=lambda t: t["length"] * 1.0)
    table.loc[table.index[:7], "snr"] = np.nan
    row = adjusted_gaps(table, "group", ["snr"]).iloc[0]
    assert (row["n_left_out"], row["n_utterances"], row["problem"]) == (7, 233, "")


def test_bad_covariates_get_one_sentence():
    table = simulate_outcomes({"a": [0.3], "b": [0.2]}, 5)
    with pytest.raises(BiasError, match="no covariate column 'snr'; columns: encoder, layer"):
        adjusted_gaps(table, "group", ["snr"])
    with pytest.raises(BiasError, match="'group' is what is compared"):
        adjusted_gaps(table, "group", ["group"])
