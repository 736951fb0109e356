"""Penalties of a probe trained on others, against known truth."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from fairlib.bias import BiasError
from fairlib.bias.training_groups import (
    DEEPENING,
    GAP,
    MEAN_PENALTY,
    OWN_GAP,
    PENALTY,
    RANDOM_PENALTY,
    training_group_gaps,
)
from fairlib.outcomes.training_groups import MIXED, OTHER_HALF, OWN_HALF, trained_on

LAYERS = ("cnn", "0", "1")


def study(rng, penalties=(0.0, 0.0), own=0.0, speakers=40, draws=5, units=2000, of_draw=0.0, layers=LAYERS):
    """Outcomes in which the log odds of error of each group, trained on the other, are higher by its penalty;
    ``own`` is what the first group's are higher by under its own probe. Draws of training speakers scatter about the
    study's own mean as studies do about the truth."""
    group = np.repeat(["a", "b"], speakers)
    person = rng.normal(0, 0.5, 2 * speakers)
    probes = (MIXED, OWN_HALF, OTHER_HALF, "a", "b")
    names = [f"p{number:03d}" for number in range(2 * speakers)]
    of_study = {name: rng.normal(0, of_draw) for name in probes}
    rows = []
    for draw in range(draws):
        for name in probes:
            shift = of_study[name] + rng.normal(0, of_draw)
            for layer in layers:
                odds = -1 + person + own * (group == "a") + shift
                for side, penalty in zip("ab", penalties):
                    odds = odds + penalty * ((group == side) & (name in "ab") & (name != side))
                errors = rng.binomial(units, expit(odds))
                about = {"layer": layer, "seed": draw, "probe": trained_on(name)}
                rows.append(pd.DataFrame({"errors": errors, "group": group, "speaker_id": names}).assign(**about))
    table = pd.concat(rows, ignore_index=True)
    return table.assign(
        encoder="made", task="phone", unit="phone", corpus="made", utterance_id=table["speaker_id"], length=units
    )


def cells(table, quantity, group="", scale="log_odds"):
    found = table[(table["quantity"] == quantity) & (table["scale"] == scale) & (table["group"] == group)]
    return found.set_index("layer")


def test_what_was_planted_is_found():
    rng = np.random.default_rng(0)
    table = training_group_gaps(study(rng, penalties=(0.4, 0.2), own=0.5, speakers=300), by="group")
    # What holds for a person holds for a group a little less: people's log odds scatter.
    assert cells(table, PENALTY, "a")["estimate"].between(0.36, 0.41).all()
    assert cells(table, PENALTY, "b")["estimate"].between(0.17, 0.21).all()
    assert cells(table, OWN_GAP)["estimate"].between(0.40, 0.56).all()
    assert cells(table, RANDOM_PENALTY, "a")["estimate"].abs().max() < 0.02
    assert cells(table, MEAN_PENALTY)["estimate"].between(0.27, 0.31).all()
    assert cells(table, DEEPENING)["estimate"].abs().max() < 0.02
    assert list(cells(table, DEEPENING).index) == ["0", "1"]  # the first layer is not compared with itself


def test_the_gaps_of_the_two_probes_lie_both_penalties_apart():
    table = training_group_gaps(study(np.random.default_rng(1), penalties=(0.3, 0.1), own=0.2), by="group")
    for scale in ("difference", "log_odds"):
        apart = cells(table, GAP, "b", scale)["estimate"] - cells(table, GAP, "a", scale)["estimate"]
        both = cells(table, PENALTY, "a", scale)["estimate"] + cells(table, PENALTY, "b", scale)["estimate"]
        assert np.allclose(apart, both)


def test_intervals_hold_what_they_say_where_draws_of_training_speakers_scatter():
    covered, alarms = [], []
    for seed in range(200):
        outcomes = study(np.random.default_rng(seed), penalties=(0.2, 0.2), of_draw=0.05, units=400, layers=("cnn",))
        rows = cells(training_group_gaps(outcomes, by="group"), PENALTY, "a")
        covered.append(((rows["low"] < 0.19) & (rows["high"] > 0.19)).iloc[0])
        null = study(np.random.default_rng(seed), of_draw=0.05, units=400, layers=("cnn",))
        alarms.append(cells(training_group_gaps(null, by="group"), PENALTY, "a")["p"].iloc[0] < 0.05)
    assert 0.92 <= np.mean(covered) <= 0.99
    assert np.mean(alarms) <= 0.08


def test_the_speakers_variance_is_that_of_drawing_them_anew():
    outcomes = study(np.random.default_rng(3), penalties=(0.3, 0.3), own=0.4)
    row = cells(training_group_gaps(outcomes, by="group"), OWN_GAP, scale="difference").loc["1"]
    mine = outcomes[(outcomes["layer"] == "1") & (outcomes["probe"] == "taught on " + outcomes["group"])]
    person = mine.groupby(["group", "speaker_id"])[["errors", "length"]].sum()
    rng, drawn = np.random.default_rng(0), []
    for _ in range(2000):
        rates = []
        for side in "ab":
            some = person.loc[side].to_numpy()[rng.integers(0, 40, 40)].sum(axis=0)
            rates.append(some[0] / some[1])
        drawn.append(rates[0] - rates[1])
    assert row["variance_speakers"] == pytest.approx(np.var(drawn) * 40 / 39, rel=0.1)


def test_other_outcomes_are_refused():
    outcomes = study(np.random.default_rng(0))
    with pytest.raises(BiasError, match="no outcomes of probes trained on two groups"):
        training_group_gaps(outcomes[outcomes["probe"] != trained_on("a")], by="group")
