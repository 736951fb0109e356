"""Whether a gap differs between layers: right where the truth is planted, and no more often wrong than it claims."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import expit, logit

from fairlib.base.writing import p_words
from fairlib.bias import BiasError, bias_differences, gap_profile, group_bias
from fairlib.bias.profile import FIRST, OTHERS
from fairlib.bias.simulation import simulate_outcomes
from fairlib.findings import WHOSE_CLAIM, where_bias_begins
from fairlib.findings.where import do_layers_differ, where_and_whose

LEVELS = [0.25, 0.13, 0.12, 0.12, 0.11, 0.11]  # an encoder's errors in speaker identification


def planted(gaps, speakers=100, seed=0, units=1, **more) -> pd.DataFrame:
    """Two groups whose log odds of error differ by ``gaps`` at the layers of `LEVELS`."""
    sides = {name: expit(logit(LEVELS) + sign * np.array(gaps) / 2) for name, sign in (("child", 1), ("adult", -1))}
    settings = dict(utterances=8, units=units, layer_correlation=0.9, by="age_group") | more
    return simulate_outcomes({name: list(rates) for name, rates in sides.items()}, speakers, seed=seed, **settings)


def of(table: pd.DataFrame, scale="log_odds", against=OTHERS) -> pd.DataFrame:
    return table[(table["scale"] == scale) & (table["against"] == against)].set_index("layer")


def test_a_layer_that_differs_is_found_with_its_size_and_the_others_are_not():
    table = gap_profile(planted([0.6, 0.6, 0.6, 0.6, 2.0, 0.6], speakers=400), by="age_group")
    others, first = of(table), of(table, against=FIRST)
    assert others["estimate"].abs().idxmax() == "4" and others.loc["4", "p"] < 0.001
    assert others["p_joint"].iloc[0] < 0.001
    assert others.loc["4", "low"] < 1.4 < others.loc["4", "high"]
    assert first.loc["4", "low"] < 1.4 < first.loc["4", "high"] and (first.drop("4")["p"] > 0.05).all()
    assert "0" not in first.index and list(others.index) == list("012345")


def test_differences_and_their_errors_are_those_that_two_layers_alone_give():
    """An independent way: `bias_differences` of one pair of layers."""
    outcomes = planted([0.6, 0.6, 0.6, 0.6, 1.2, 0.6])
    pair = bias_differences(outcomes, "age_group", [(("simulated", "4"), ("simulated", "0"))])
    for scale in ("difference", "ratio", "log_odds"):
        mine, theirs = (
            of(gap_profile(outcomes, by="age_group"), scale, FIRST).loc["4"],
            pair.set_index("scale").loc[scale],
        )
        assert mine["estimate"] == pytest.approx(theirs["estimate"])
        to_zero = np.log if scale == "ratio" else float
        width, other = (to_zero(row["high"]) - to_zero(row["low"]) for row in (mine, theirs))
        assert 1.1 < width / other < 1.6  # all five differences hold together: wider than one alone, not by much


@pytest.mark.parametrize(("speakers", "units"), [(100, 1), (40, 1), (60, 25)])
def test_equal_gaps_are_told_apart_in_one_study_of_twenty(speakers, units):
    found = [
        of(gap_profile(planted([0.8] * 6, speakers, seed, units), by="age_group", resamples=500)) for seed in range(120)
    ]
    largest = np.mean([table["p"].min() < 0.05 for table in found])
    together = np.mean([table["p_joint"].iloc[0] < 0.05 for table in found])
    assert largest <= 0.10 and together <= 0.12  # .05 by rights; binomial noise of 120 studies


def test_what_is_called_detectable_is_found_in_four_of_five_studies():
    table = of(gap_profile(planted([0.6] * 6), by="age_group"))
    step = float(table.loc["4", "detectable"])  # from the mean of the others
    found = [
        of(gap_profile(planted([0.6] * 4 + [0.6 + step, 0.6], seed=seed), by="age_group", resamples=500)).loc["4", "p"]
        for seed in range(60)
    ]
    assert 0.65 <= np.mean(np.array(found) < 0.05) <= 0.95


def test_the_sign_is_the_contrasts_own():
    outcomes = planted([0.2, 0.6, 0.6, 0.6, 0.6, 0.6], speakers=200)
    table = of(gap_profile(outcomes, by="age_group"))["estimate"]
    assert table["0"] < 0
    swapped = outcomes.assign(age_group=outcomes["age_group"].map({"child": "adult", "adult": "child"}))
    assert of(gap_profile(swapped, by="age_group"))["estimate"].tolist() == pytest.approx((-table).tolist())


def test_layers_share_their_speakers_which_makes_their_differences_certain():
    """Lost pairs, as by resampling each layer for itself, would show as intervals of the second kind."""

    def widths(outcomes):
        table = of(gap_profile(outcomes, by="age_group"))
        return (table["high"] - table["low"]).mean()

    outcomes = planted([0.6] * 6, units=25, utterances=20, layer_correlation=0.98)
    rng = np.random.default_rng(0)
    layers = []
    for _, rows in outcomes.groupby("layer", sort=False):  # the same numbers, of other people of the same group
        people = rows.groupby("age_group")["speaker_id"].unique()
        names = {old: new for mine in people for old, new in zip(mine, rng.permutation(mine))}
        layers.append(rows.assign(speaker_id=rows["speaker_id"].map(names)))
    assert widths(outcomes) < 0.4 * widths(pd.concat(layers))


def test_where_there_are_no_odds_or_no_errors_that_is_said():
    outcomes = planted([0.6] * 6, units=25)
    child_at_0 = (outcomes["layer"] == "0") & (outcomes["age_group"] == "child")
    own = outcomes["speaker_id"].isin(outcomes["speaker_id"].unique()[::2])
    about_all = outcomes["length"] + np.where(own, 1, -1)  # over the groups' edge in some resamples only
    for errors in (
        outcomes["errors"].mask(child_at_0, outcomes["length"] + 1), outcomes["errors"].mask(child_at_0, about_all),
        0 * outcomes["errors"],
    ):  # fmt: skip
        finding = do_layers_differ(outcomes.assign(errors=errors), "age_group", "simulated", "child vs adult")
        assert finding.verdict == "inconclusive" and finding.sentence.endswith("gaps cannot be compared.")


def test_where_a_group_has_no_errors_at_a_layer_its_odds_are_not_compared():
    outcomes = planted([0.6] * 6, units=25)
    adult_at_0 = (outcomes["layer"] == "0") & (outcomes["age_group"] == "adult")
    none = outcomes.assign(errors=outcomes["errors"].mask(adult_at_0, 0))
    finding = do_layers_differ(none, "age_group", "simulated", "child vs adult")
    assert finding.verdict == "inconclusive" and finding.sentence.endswith("gaps cannot be compared.")
    assert set(gap_profile(none, "age_group", resamples=50)["scale"]) == {"difference"}


def test_one_layer_has_nothing_to_be_compared_with():
    outcomes = simulate_outcomes({"child": [0.3], "adult": [0.2]}, speakers=20, by="age_group")
    with pytest.raises(BiasError, match="two layers"):
        gap_profile(outcomes, by="age_group")
    assert "one layer" in do_layers_differ(outcomes, "age_group", "simulated", "child vs adult").sentence


@pytest.mark.parametrize(
    ("gaps", "speakers", "verdict", "said"),
    [
        ([0.6] * 4 + [2.2, 0.6], 200, "supported", "at layer 4 differs from the mean of its other layers by"),
        ([0.6] * 6, 3000, "contradicted", "a difference of more than 0.2 in log odds between any layer's gap"),
        ([0.6] * 4 + [0.7, 0.6], 20000, "supported", "At every layer a difference of more than 0.2 is ruled out"),
        ([0.6] * 6, 20, "inconclusive", "would be detected with 80"),
        ([0.6] * 6, 9, "inconclusive", "Not judged"),
    ],
)
def test_verdicts_follow_the_rule(gaps, speakers, verdict, said):
    finding = do_layers_differ(planted(gaps, speakers), "age_group", "simulated", "child vs adult")
    assert (finding.verdict, said in finding.sentence) == (verdict, True), finding.sentence
    if said != "Not judged":  # the p that the sentence gives first is the one that decides
        deciding = finding.facts["p_largest"]
        assert (deciding < 0.05) == (
            verdict == "supported"
        ) and f"largest difference: {p_words(deciding)}" in finding.sentence


def test_a_chapter_s_three_questions_are_judged_together():
    of_both = planted([0.6] * 4 + [2.2, 0.6], 60)
    signal = of_both[of_both["layer"] == "0"].assign(encoder="logmel", layer="logmel")
    outcomes = pd.concat([of_both, signal])
    asked = ("age_group", "simulated", "child vs adult")
    bias = group_bias(outcomes, by="age_group", permutations=200)
    found = where_and_whose(outcomes, bias, *asked)
    assert list(found) == ["where", "begins", "whose"]
    assert found["where"] == do_layers_differ(outcomes, *asked)
    assert found["begins"] == where_bias_begins(bias, "simulated", "child vs adult")
    assert found["whose"].claim == WHOSE_CLAIM and "untrained twin" in found["whose"].sentence


def test_layer_0_is_the_one_of_that_name_and_not_the_first():
    outcomes = planted([0.2, 0.8, 0.4, 0.4, 0.4, 0.4], units=20)
    layers = outcomes["layer"].unique()
    outcomes["layer"] = outcomes["layer"].map(dict(zip(layers, ["cnn", *layers[:-1]])))
    table = of(gap_profile(outcomes, "age_group"), against=FIRST)
    assert table.loc["cnn", "estimate"] == pytest.approx(-0.6, abs=0.15)
    assert table["estimate"].drop("0", errors="ignore").loc["1":].abs().max() < 0.7
    assert (table["estimate"] - table["gap"]).nunique() == 1 or np.ptp(table["estimate"] - table["gap"]) < 1e-9


def test_with_few_people_the_error_of_a_difference_is_as_large_as_differences_really_vary():
    """Exponential weights vary too little by (n - 1) / (n + 1): a half, of three people a group."""
    tables = [
        of(gap_profile(planted([0.4] * 6, speakers=3, units=40, seed=seed), "age_group", resamples=100, min_speakers=2))
        for seed in range(150)
    ]
    rows = pd.concat([table.loc["2"].to_frame().T for table in tables]).astype({"estimate": float})
    half = (rows["high"] - rows["low"]).astype(float) / 2
    error = (rows["detectable"].astype(float) - half) / stats.t.ppf(0.8, 4)
    assert 0.8 < np.sqrt((error**2).mean()) / rows["estimate"].std() < 1.3
    # Still too sure of so few (of fewer than ten nothing is judged), but for Student's quantiles it would be in 36 %.
    assert np.mean([table["p"].min() < 0.05 for table in tables]) < 0.25
