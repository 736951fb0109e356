"""Gaps kind by kind: rare kinds are drawn towards the others, and what was planted is found."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import multivariate_normal

from fairlib.bias import BiasError
from fairlib.bias.kinds import drawn_together, gaps_by_kind
from fairlib.outcomes.mix import same_mix

KINDS = [f"k{number:02d}" for number in range(24)]


def study(seed, between=0.4, speakers=40, spread=0.6):
    """Counts of 24 kinds, some of them rare, whose true log odds ratios scatter about .2; and these."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(0.2, between, len(KINDS))
    units = np.geomspace(4, 60, len(KINDS)).astype(int)
    rows = []
    for group, sign in (("a", 0.5), ("b", -0.5)):
        for number in range(speakers):
            own = rng.normal(0, spread)  # of all the person's kinds: their errors are not independent
            errors = rng.binomial(units, expit(-0.3 + own + sign * truth + rng.normal(0, 0.2, len(KINDS))))
            rows.append(
                pd.DataFrame({"phone": KINDS, "errors": errors, "length": units, "speaker_id": f"{group}{number}"})
            )
            rows[-1]["group"] = group
    table = pd.concat(rows, ignore_index=True).assign(
        encoder="made", layer="0", task="phone", unit="phone", probe="made", seed=0, corpus="made", duration="all"
    )
    return table.assign(utterance_id=table["speaker_id"]), dict(zip(KINDS, truth))


def test_drawn_together_they_are_nearer_the_truth_and_their_intervals_hold_it():
    raw, drawn, held = [], [], []
    for seed in range(30):
        outcomes, truth = study(seed, between=0.15)
        table = gaps_by_kind(outcomes, by="group")
        true = table["phone"].map(truth) * 0.96  # a group's odds ratio is a little less than its people's
        # What all kinds have in common is who the speakers are, and no drawing together mends that.
        raw.append((table["raw"] - true).var())
        drawn.append((table["estimate"] - true).var())
        held.append(((table["low"] < true) & (table["high"] > true)).mean())
    assert np.mean(drawn) < 0.8 * np.mean(raw)
    assert 0.9 <= np.mean(held) <= 0.98


def test_kinds_without_true_differences_are_drawn_to_one_value():
    spans = []
    for seed in range(20):
        table = gaps_by_kind(study(seed, between=0.0)[0], by="group")
        spans.append(np.ptp(table["estimate"]) / np.ptp(table["raw"]))
    assert np.median(spans) < 0.35


def test_the_points_of_all_kinds_add_up_to_the_difference_at_one_mix():
    outcomes, _ = study(1)
    outcomes = outcomes[~((outcomes["group"] == "a") & (outcomes.index % 5 == 0))]  # another mix in one group
    table = gaps_by_kind(outcomes, by="group")
    sums = same_mix(outcomes, "group").groupby("group")[["errors", "length"]].sum()
    rates = 100 * sums["errors"] / sums["length"]
    assert table["points"].sum() == pytest.approx(rates["a"] - rates["b"], abs=1e-9)
    assert table["share"].sum() == pytest.approx(1)


def test_the_posterior_is_that_of_another_way_to_it():
    rng = np.random.default_rng(0)
    root = rng.normal(0, 0.2, (12, 12))
    covariance = root @ root.T + 0.05 * np.eye(12)
    classes = ["x"] * 5 + ["y"] * 7
    raw = rng.multivariate_normal(np.r_[np.full(5, 0.5), np.full(7, -0.5)], covariance + 0.3 * np.eye(12))
    estimate, deviation, between = drawn_together(raw, covariance, classes)
    # By drawing: standard deviations by the likelihood of contrasts that the classes' means are no part of, then means
    # of wide prior and true values, from their joint normal distribution with what was observed.
    design = pd.get_dummies(pd.Series(classes)).to_numpy(float)
    contrasts = np.linalg.svd(design.T)[2][2:]
    grid = np.linspace(0.001, 4 * np.std(raw), 400)
    spreads = [contrasts @ (covariance + value**2 * np.eye(12)) @ contrasts.T for value in grid]
    likelihood = np.exp([multivariate_normal(np.zeros(10), spread).logpdf(contrasts @ raw) for spread in spreads])
    drawn = rng.choice(grid, 4000, p=likelihood / likelihood.sum())
    values = []
    for value in drawn:
        prior = 1e4 * design @ design.T + value**2 * np.eye(12)
        gain = prior @ np.linalg.inv(prior + covariance)
        root = np.linalg.svd(prior - gain @ prior)
        values.append(gain @ raw + root[0] @ (np.sqrt(root[1].clip(0)) * rng.normal(0, 1, 12)))
    assert between == pytest.approx(drawn.mean(), rel=0.03)
    assert np.allclose(estimate, np.mean(values, axis=0), atol=0.04)
    assert np.allclose(deviation, np.std(values, axis=0), rtol=0.08)


def test_of_what_is_nearly_always_wrong_no_odds_are_told():
    outcomes, _ = study(0)
    outcomes.loc[outcomes["phone"] == "k05", "errors"] = outcomes["length"]
    row = gaps_by_kind(outcomes, by="group").set_index("phone").loc["k05"]
    assert np.isnan(row["estimate"]) and row["points"] == 0


def test_three_groups_are_refused():
    outcomes, _ = study(0, speakers=6)
    outcomes.loc[outcomes["speaker_id"].isin(["a0", "a1"]), "group"] = "c"
    with pytest.raises(BiasError, match="between two groups; group has a, b, c"):
        gaps_by_kind(outcomes, by="group")
