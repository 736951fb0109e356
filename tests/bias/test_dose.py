"""Slopes on a speaker's number: against an independent fit, planted truth, and nothing where nothing was planted."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from scipy.special import expit, logit

from fairlib.bias import BiasError, dose_slopes
from fairlib.bias.simulation import simulate_outcomes


def planted(per_year, speakers=60, seed=0, layers=3):
    """Outcomes of children aged 6 to 15 whose log odds of error fall by so much a year at every layer."""
    rng = np.random.default_rng(seed)
    ages = rng.integers(6, 16, speakers)
    odds = (
        -0.5
        + per_year * (ages - 10)[:, None]
        + 0.4 * rng.normal(size=(speakers, 1))
        + 0.2 * rng.normal(size=(speakers, layers))
    )
    errors = rng.binomial(300, expit(odds))
    speaker, layer = np.indices(errors.shape)
    rows = pd.DataFrame({"speaker_id": speaker.ravel(), "layer": layer.ravel().astype(str), "errors": errors.ravel()})
    rows["age"] = ages[rows["speaker_id"]]
    rows["speaker_id"] = "s" + rows["speaker_id"].astype(str).str.zfill(3) + f"-{seed}"
    return rows.assign(
        encoder="e", task="asr", unit="char", probe="p", seed=0, corpus="c", length=300, utterance_id=rows["speaker_id"]
    )


def test_the_slope_and_its_error_are_those_of_another_program():
    outcomes = planted(-0.1)
    table = dose_slopes(outcomes, permutations=50)
    for layer, mine in outcomes.groupby("layer"):
        rate = (mine["errors"] + 0.5) / (mine["length"] + 1)
        for scale, y in (
            ("difference", mine["errors"] / mine["length"]),
            ("log_odds", logit(rate)),
            ("ratio", np.log(rate)),
        ):
            row = table[(table["layer"] == layer) & (table["scale"] == scale)].iloc[0]
            fit = sm.OLS(y.to_numpy(), sm.add_constant(mine["age"].to_numpy(float))).fit(cov_type="HC1")
            assert (np.log(row["estimate"]) if scale == "ratio" else row["estimate"]) == pytest.approx(fit.params[1])
            found = np.log(row["detectable"]) if scale == "ratio" else row["detectable"]
            freedom = len(mine) - 2
            assert found == pytest.approx(fit.bse[1] * (stats.t.ppf(0.975, freedom) + stats.t.ppf(0.8, freedom)))


def test_planted_slopes_lie_in_their_intervals_and_none_is_found_where_there_is_none():
    inside, found, missed = [], [], []
    for seed in range(150):
        table = dose_slopes(planted(-0.12, 40, seed), resamples=400, permutations=200).query("scale == 'log_odds'")
        inside.append(((table["low"] < -0.12) & (-0.12 < table["high"])).mean())
        missed.append(table["p_familywise"].min() >= 0.05)
        nothing = dose_slopes(planted(0.0, 40, seed), resamples=10, permutations=400).query("scale == 'log_odds'")
        found.append(nothing["p_familywise"].min() < 0.05)
    assert 0.91 < np.mean(inside) < 0.99
    assert np.mean(missed) < 0.1
    assert np.mean(found) < 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / 150)


def test_a_number_in_other_units_gives_the_same_p():
    outcomes = planted(-0.1)
    years, months = dose_slopes(outcomes), dose_slopes(outcomes.assign(age=outcomes["age"] * 12))
    assert years["p"].equals(months["p"])
    difference = years["scale"] == "difference"
    np.testing.assert_allclose(years["estimate"][difference], 12 * months["estimate"][difference])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"age": "old"}, "age is no number of speaker"),
        ({"age": 9}, "not all alike"),
        ({"years": 1}, "no column 'years'"),
    ],
)
def test_what_has_no_slope_is_refused_in_one_sentence(change, sentence):
    outcomes = simulate_outcomes({"all": [0.3]}, speakers=20)
    if "years" not in change:
        outcomes = outcomes.assign(**change)
    with pytest.raises(BiasError, match=sentence):
        dose_slopes(outcomes, column=next(iter(change)))


def test_a_speaker_of_two_ages_is_refused():
    outcomes = planted(0.0)
    outcomes.loc[outcomes.index[0], "age"] += 1
    with pytest.raises(BiasError, match="differs within speaker s000"):
        dose_slopes(outcomes)


def test_somebody_with_more_errors_than_units_makes_no_slope_significant():
    outcomes = planted(0.0)
    someone = outcomes["speaker_id"].iloc[0]
    outcomes.loc[(outcomes["speaker_id"] == someone) & (outcomes["layer"] == "0"), "errors"] = 400
    odds = dose_slopes(outcomes, permutations=200).query("scale == 'log_odds'").set_index("layer")
    assert odds.loc["0", ["estimate", "p", "p_familywise"]].isna().all()
    alone = dose_slopes(outcomes[outcomes["layer"] != "0"], permutations=200).query("scale == 'log_odds'")
    assert odds.loc[["1", "2"], "p_familywise"].tolist() == alone["p_familywise"].tolist()
    assert (odds.loc[["1", "2"], "p_familywise"] > 0.05).all()
