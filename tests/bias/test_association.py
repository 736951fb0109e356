"""The slope of the gap on the error: not fooled by the scales' arithmetic nor by people who differ, and not blind."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import expit, logit

from fairlib.bias import SCALES, BiasError
from fairlib.bias.association import ALL, WITHOUT_CNN, error_slopes, mean_slopes
from fairlib.bias.simulation import constant_odds, simulate_outcomes, spread_of_speakers
from fairlib.findings.opposite import MARGIN, RULE, c2_finding, scales_title, slope_rows

LEVELS = np.linspace(0.05, 0.45, 8)


def study(odds, speakers=60, seed=0, units=25, spread=0.5, **more) -> pd.DataFrame:
    worse, other = constant_odds(LEVELS, odds, spread=spread)
    return simulate_outcomes({"quiet": worse, "clear": other}, speakers, units=units, seed=seed, spread=spread, **more)


def table(outcomes, **more) -> pd.DataFrame:
    return error_slopes(outcomes, "group", resamples=800, **more).set_index("scale")


def test_the_slope_is_that_of_least_squares_on_the_layers_own_errors():
    outcomes = study(np.linspace(0.1, 1.1, 8), speakers=20)
    found = table(outcomes)
    sums = outcomes.groupby(["layer", "group"])[["errors", "length"]].sum().unstack()
    rate = (sums["errors"] + 0.5) / (sums["length"] + 1)
    level = logit((sums["errors"].sum(axis=1) + 0.5) / (sums["length"].sum(axis=1) + 1))
    plain = sums["errors"] / sums["length"]
    gaps = {
        "log_odds": logit(rate["quiet"]) - logit(rate["clear"]),
        "ratio": np.log(rate["quiet"] / rate["clear"]),
        "difference": plain["quiet"] - plain["clear"],
    }
    assert found["contrast"].unique().tolist() == ["quiet vs clear"]
    for scale, gap in gaps.items():
        assert found.loc[scale, "slope"] == pytest.approx(np.polyfit(level, gap, 1)[0], abs=1e-9)
    assert found["error_span"].tolist() == pytest.approx([np.ptp(level)] * 3)
    assert found["gap"].tolist() == pytest.approx([gaps["log_odds"].mean()] * 3) and (found["gap_p"] < 1e-4).all()
    assert found["excess"].tolist() == pytest.approx((found["slope"] - found["null"]).tolist())


def test_one_odds_ratio_everywhere_is_not_taken_for_an_effect_of_layers():
    """A difference rises with error and a ratio falls, surely and in every interval; the null takes both along."""
    found = table(study(0.6, speakers=150))
    assert found.loc["difference", "low"] > 0 and found.loc["ratio", "high"] < 0
    assert (found["p"] > 0.05).all()
    assert found.loc["difference", "null"] == pytest.approx(found.loc["difference", "slope"], abs=0.01)
    assert found.loc["ratio", "null"] == pytest.approx(found.loc["ratio", "slope"], abs=0.03)


def test_the_groups_odds_ratio_shrinks_where_people_differ_and_the_null_knows_it():
    """One conditional log odds ratio of 1.25 among people of spread 1.5 is 1.11 at 4 % error and .89 at 44 %."""
    worse, other = constant_odds([0.04, 0.24, 0.44], 1.25, spread=1.5)
    rng = np.random.default_rng(0)
    people = 1.5 * rng.standard_normal(400_000)
    for level, one, two in zip([0.04, 0.24, 0.44], worse, other):
        centres = np.linspace(-6, 2, 4000)
        of_other = np.interp(centres, centres, [expit(c + people[:2000]).mean() for c in centres])
        centre = centres[np.abs(of_other - two).argmin()]
        assert expit(centre + 1.25 + people).mean() == pytest.approx(one, abs=0.02)
        assert (one + two) / 2 == pytest.approx(level, abs=1e-6)
    assert (logit(worse) - logit(other)).round(2).tolist() == [1.11, 0.93, 0.89]
    found = table(study(1.25, speakers=400, spread=1.5, layer_correlation=1.0)).loc["log_odds"]
    # Its slope is one, and surely: a marginal null would call this an effect of layers.
    assert found["high"] < 0 and found["null"] == pytest.approx(-0.08, abs=0.03)
    assert found["p"] > 0.05


def test_the_spread_between_people_is_found_without_the_chance_of_few_units():
    for planted, utterances in ((0.0, 5), (0.8, 5), (1.5, 20)):
        outcomes = simulate_outcomes({"a": [0.1, 0.4], "b": [0.2, 0.3]}, 3000, utterances, units=1, spread=planted)
        sums = outcomes.groupby(["speaker_id", "layer"])[["errors", "length"]].sum().unstack()
        half = np.arange(6000) < 3000
        found = spread_of_speakers(sums["errors"].to_numpy(), sums["length"].to_numpy(), [half, ~half])
        assert found == pytest.approx([planted] * 2, abs=0.25 if planted == 0 else 0.12)


@pytest.mark.parametrize(
    ("odds", "units", "verdict"),
    [
        (np.linspace(0.1, 1.1, 8), 25, "contradicted"),  # C2: falls in speech recognition
        (np.linspace(1.1, 0.1, 8), 25, "supported"),
        (np.linspace(0.0, 2.0, 8), 1, "supported"),  # C2: rises in speaker identification
        (np.linspace(2.0, 0.0, 8), 1, "contradicted"),
        (np.full(8, 0.8), 25, "contradicted"),  # no slope beyond the margin
    ],
)
def test_a_planted_effect_of_layers_is_found_in_its_direction(odds, units, verdict):
    outcomes = study(odds, speakers=300, units=units, utterances=25, layer_correlation=0.95)
    found = error_slopes(outcomes, "group", resamples=800)
    task = "sid" if units == 1 else "asr"
    finding = c2_finding(found, task, "quiet vs clear")
    assert finding.verdict in ({verdict} if len(set(odds)) > 1 else {verdict, "inconclusive"})
    if len(set(odds)) > 1:
        more = "more" if odds[-1] > odds[0] else "less"
        assert f"larger in the layers that err {more}" in finding.sentence
    # Whichever group the names put first.
    swapped = outcomes.assign(group=outcomes["group"].map({"quiet": "clear", "clear": "quiet"}))
    assert c2_finding(error_slopes(swapped, "group", resamples=800), task, "quiet vs clear").verdict == finding.verdict


def test_few_people_decide_nothing_and_are_told_what_they_would_have_seen():
    found = error_slopes(study(np.linspace(0.5, 0.6, 8), speakers=12, utterances=4), "group", resamples=400)
    finding = c2_finding(found, "asr", "quiet vs clear")
    detectable = found.set_index("scale").loc["log_odds", "detectable"]
    assert finding.verdict == "inconclusive"
    if "not shown to go with error" in finding.sentence:
        assert f"{detectable:.2f} would be detected" in finding.sentence


def test_where_no_group_errs_more_there_is_no_size_to_go_with_error():
    found = error_slopes(study(np.linspace(-0.8, 0.8, 8), speakers=100), "group", resamples=400)
    assert found.set_index("scale").loc["log_odds", "p"] < 0.001
    if found["gap_p"].iloc[0] >= 0.05:
        finding = c2_finding(found, "asr", "quiet vs clear")
        assert finding.verdict == "inconclusive" and "neither group is shown to err more" in finding.sentence


def test_scales_that_point_apart_are_said_to():
    """At constant differences the odds ratio falls with error, and beyond what one odds ratio would give both move."""
    levels = np.linspace(0.1, 0.48, 8)
    outcomes = simulate_outcomes({"quiet": levels + 0.03, "clear": levels - 0.03}, 400, 25, layer_correlation=0.98)
    found = error_slopes(outcomes, "group", resamples=800)
    one = found.set_index("scale")
    assert one.loc["log_odds", "p"] < 0.05 and one.loc["difference", "p"] < 0.05
    # Forced apart, as it can be where the noise of layers differs: the rule is about signs alone.
    flipped = found.copy()
    flipped.loc[flipped["scale"] == "difference", "excess"] *= -1
    assert c2_finding(flipped, "asr", "quiet vs clear").verdict == "depends on the scale"
    assert c2_finding(found, "asr", "quiet vs clear").verdict == "supported"
    assert "fall" in scales_title(found, "asr", "quiet vs clear")


def test_false_alarms_are_as_rare_as_claimed():
    """60 studies with one odds ratio: at 5 %, more than 8 false alarms would come once in 300 times."""
    alarms = dict.fromkeys(SCALES, 0)
    for seed in range(60):
        found = error_slopes(study(0.5, speakers=25, seed=seed, utterances=8), "group", resamples=300)
        for row in found.itertuples():
            alarms[row.scale] += row.p < 0.05
    assert max(alarms.values()) <= 8


def test_intervals_hold_the_planted_slope():
    odds, held = np.linspace(0.2, 0.9, 8), 0
    worse, other = constant_odds(LEVELS, odds, spread=0.5)
    planted = np.polyfit(logit(LEVELS), logit(worse) - logit(other), 1)[0]
    for seed in range(60):
        row = table(study(odds, speakers=25, seed=seed)).loc["log_odds"]
        held += row["low"] <= planted <= row["high"]
    assert held >= 51  # of 60, at 95 %: fewer would come once in 200 times


def test_what_a_twin_does_as_well_is_taken_away():
    risen, flat = study(np.linspace(0.1, 1.1, 8), 100), study(np.full(8, 0.6), 100)
    twin = risen.assign(encoder="random:simulated")
    for other, left in ((twin, 0.0), (flat.assign(encoder="random:simulated"), 0.38)):
        found = table(pd.concat([risen, other]), twins={"simulated": "random:simulated"})
        beside = found[found["twin"].notna()].loc["log_odds"]
        assert beside["excess"] == pytest.approx(left, abs=0.06)
        assert beside["p"] > 0.9 if left == 0.0 else beside["p"] < 0.01
    with pytest.raises(BiasError, match="none of 'nobody', the twin of 'simulated'"):
        error_slopes(risen, "group", twins={"simulated": "nobody"})


def test_encoders_that_differ_make_the_mean_less_sure():
    odds = {"e": np.linspace(0.1, 1.1, 8), "f": np.linspace(1.1, 0.1, 8), "g": np.full(8, 0.6)}
    alike = [study(odds["e"], 80).assign(encoder=name) for name in "efg"]
    apart = [study(odds[name], 80).assign(encoder=name) for name in "efg"]
    twins = dict.fromkeys("efg", "e")
    one, other = (
        mean_slopes(pd.concat(each), "group", twins, resamples=400).query("scale == 'log_odds' and twin.isna()").iloc[0]
        for each in (alike, apart)
    )
    assert one["between"] == 0 and one["p"] < 0.001 and one["encoders"] == 3
    assert other["between"] > 0.2 and other["p"] > 0.2
    assert other["high"] - other["low"] > 2 * (one["high"] - one["low"])
    with pytest.raises(BiasError, match="two that have a twin"):
        mean_slopes(pd.concat(alike), "group", {"e": "f"})


def test_a_mean_over_few_encoders_that_differ_is_no_surer_than_they_allow():
    """Four encoders whose slopes differ about zero: with the people's degrees of freedom 12 in 100 such means were
    called significant."""
    rng, named = np.random.default_rng(1), list("efgh")
    called = 0
    for seed in range(40):
        turns = 0.6 + rng.normal(0, 1, 4)[:, None] * np.linspace(-0.5, 0.5, 8)
        each = [study(one, 40, seed=100 * seed + n).assign(encoder=named[n]) for n, one in enumerate(turns)]
        means = mean_slopes(pd.concat(each), "group", dict.fromkeys(named, "e"), resamples=100)
        called += means[(means["scale"] == "log_odds") & means["twin"].isna()]["p"].iloc[0] < 0.05
    assert called <= 3


def test_several_groups_and_encoders_have_their_own_answers_and_log_mel_none():
    three = simulate_outcomes({"x": LEVELS, "y": LEVELS + 0.05, "z": LEVELS}, 10)
    mel = three[three["layer"] == "0"].assign(encoder="logmel", layer="logmel")
    found = error_slopes(pd.concat([three, mel, three.assign(encoder="f")]), "group", resamples=50)
    assert set(found["encoder"]) == {"simulated", "f"} and len(found) == 2 * 3 * 3
    mine, twin = (found[found["encoder"] == name].drop(columns="encoder").reset_index(drop=True) for name in
                  ("simulated", "f"))  # fmt: skip
    pd.testing.assert_frame_equal(mine, twin)  # the same resamples for every encoder


def test_the_convolutions_are_left_out_beside():
    outcomes = study(np.r_[2.0, np.full(7, 0.6)], 100)
    named = outcomes.assign(layer=outcomes["layer"].map({str(n): "cnn" if n == 7 else str(n) for n in range(8)}))
    found = table(named)
    assert set(found["layers"]) == {ALL, WITHOUT_CNN}
    assert found[found["layers"] == WITHOUT_CNN]["n_layers"].tolist() == [7] * 3
    without = table(named[named["layer"] != "cnn"])["slope"]
    assert found[found["layers"] == WITHOUT_CNN]["slope"].tolist() == pytest.approx(without.tolist())
    assert len(slope_rows(found.reset_index(), "asr", "quiet vs clear")) == 2


def test_errors_above_one_leave_no_odds_and_are_not_judged():
    found = table(study(0.5).assign(errors=lambda rows: rows["errors"] + rows["length"]))
    assert found["p"].isna().all()
    finding = c2_finding(found.reset_index(), "asr", "quiet vs clear")
    assert finding.verdict == "inconclusive" and "no odds" in finding.sentence


def test_a_group_without_errors_has_no_odds_and_is_not_judged():
    outcomes = study(0.0)  # whose slope is the half error's that stands for none
    found = table(outcomes.assign(errors=outcomes["errors"].where(outcomes["group"] == "quiet", 0)))
    assert found["p"].isna().all() and found["excess"].isna().all() and found["slope"].notna().all()
    finding = c2_finding(found.reset_index(), "asr", "quiet vs clear")
    assert finding.verdict == "inconclusive" and "no odds" in finding.sentence


def test_too_few_layers_are_refused():
    short = study(0.5, speakers=5)
    with pytest.raises(BiasError, match="No encoder in these outcomes has 5 layers"):
        error_slopes(short[short["layer"].isin(["0", "1", "2", "3"])], "group")


def test_the_rule_says_what_is_judged():
    assert f"±{MARGIN}" in RULE and "p below 0.05" in RULE and "twin" in RULE


def test_with_few_people_the_error_of_a_slope_is_as_large_as_slopes_really_vary():
    """Exponential weights vary too little by (n - 1) / (n + 1): a half, of three people a group."""
    rows = pd.concat(
        [
            error_slopes(study(0.6, speakers=3, seed=seed, units=40), "group", resamples=100, min_speakers=2)
            for seed in range(150)
        ]
    ).query("scale == 'log_odds'")
    error = (rows["high"] - rows["low"]) / 2 / stats.t.ppf(0.975, 4)
    assert 0.8 < np.sqrt((error**2).mean()) / rows["slope"].std() < 1.25
