"""Smallest gaps against published tables, statsmodels, and studies with a gap of that size."""

import numpy as np
import pytest
from statsmodels.stats.power import TTestIndPower, TTestPower

from fairlib.bias import BiasError, group_bias
from fairlib.bias.power import smallest_gap, smallest_gaps
from fairlib.bias.simulation import simulate_outcomes


@pytest.mark.parametrize(("effect", "speakers"), [(0.2, 393), (0.5, 64), (0.8, 26)])
def test_the_published_numbers_of_cohen(effect, speakers):
    """Cohen 1992, A Power Primer, Psychological Bulletin 112:155-159, table 2: N per group at power .80, alpha .05."""
    assert smallest_gap(1, 1, speakers, speakers) == pytest.approx(effect, rel=0.01)


@pytest.mark.parametrize(("n", "power", "alpha"), [(5, 0.8, 0.05), (20, 0.9, 0.01), (100, 0.5, 0.05)])
def test_equal_groups_agree_with_statsmodels(n, power, alpha):
    expected = TTestIndPower().solve_power(effect_size=None, nobs1=n, ratio=1.0, alpha=alpha, power=power)
    assert smallest_gap(0.3, 0.3, n, n, power, alpha) == pytest.approx(0.3 * expected, rel=1e-3)


def test_unequal_groups_follow_welch():
    """The larger group adds nothing once it is known: then this is a one-sample test of the smaller."""
    one_sample = TTestPower().solve_power(effect_size=None, nobs=20, alpha=0.05, power=0.8)
    assert smallest_gap(1, 1, 20, 10**7) == pytest.approx(one_sample, rel=1e-3)
    assert smallest_gap(2, 1, 30, 40) == smallest_gap(1, 2, 40, 30)
    assert np.isnan(smallest_gap(0, 0, 5, 5))


def test_a_gap_of_that_size_is_found_as_often_as_promised():
    kind = simulate_outcomes({"a": [0.2], "b": [0.2]}, 400, seed=1)
    table = smallest_gaps(kind, "group", speakers=[12])
    gap = table.query("scale == 'difference' and n_speakers_a == 12")["smallest"].iloc[0]
    found, studies = 0, 80
    for seed in range(studies):
        outcomes = simulate_outcomes({"a": [0.2 + gap / 2], "b": [0.2 - gap / 2]}, 12, seed=seed + 100)
        found += group_bias(outcomes, "group", resamples=2, permutations=300).iloc[0]["p"] < 0.05
    assert 0.66 < found / studies < 0.94  # 0.80, within three standard errors


def test_the_table_has_what_is_there_and_what_was_asked_on_all_scales():
    outcomes = simulate_outcomes({"a": [0.1, 0.4], "b": [0.1, 0.4]}, {"a": 10, "b": 30}, seed=2)
    table = smallest_gaps(outcomes, "group", speakers=[5, 50])
    assert len(table) == 2 * 3 * 3
    assert table[table["observed"]][["n_speakers_a", "n_speakers_b"]].drop_duplicates().to_numpy().tolist() == [
        [10, 30]
    ]
    wide = table[table["n_speakers_a"] == 50].pivot(index="layer", columns="scale", values="smallest")
    assert (wide["ratio"] > 1).all()
    error = table.drop_duplicates("layer").set_index("layer")["error"]
    assert wide["log_odds"].to_numpy() == pytest.approx(
        (wide["difference"] / (error * (1 - error))).to_numpy(), rel=0.1
    )
    assert np.log(wide["ratio"]).to_numpy() == pytest.approx((wide["difference"] / error).to_numpy(), rel=0.1)


def test_more_utterances_tell_smaller_gaps_up_to_what_speakers_allow():
    few, many, all_ = (
        smallest_gaps(simulate_outcomes({"a": [0.2], "b": [0.2]}, 200, utterances=count, units=4), "group", speakers=[])
        .set_index("scale")
        .loc["difference", "smallest"]
        for count in (2, 10, 200)
    )
    assert few > 1.2 * many and many > all_ > 0.75 * many


def test_bad_requests_get_one_sentence():
    with pytest.raises(BiasError, match="two speakers in each group; there are 1 and 9"):
        smallest_gap(1, 1, 1, 9)
    with pytest.raises(BiasError, match="between 0 and 1, the level below the power"):
        smallest_gap(1, 1, 9, 9, power=1.2)
