"""Group errors and gaps against numbers worked out by hand, and their intervals against known truth."""

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from fairlib.bias import (
    BETWEEN,
    WORST,
    BiasError,
    bias_differences,
    group_bias,
    group_columns,
    group_errors,
    holm,
    layer_order,
    link,
    quantiles,
    random_numbers,
    rate_variance,
    slope,
)
from fairlib.bias.inference import interval_p
from fairlib.bias.simulation import simulate_outcomes

# Most tables here are small on purpose; the tests of the warning ask for it themselves.
pytestmark = pytest.mark.filterwarnings("ignore:Groups of")


def outcomes(speakers: dict, group_of: dict[str, str], layer="1", **columns) -> pd.DataFrame:
    """``{speaker: [(errors, length), ...]}`` as an outcomes table."""
    rows = [
        {
            "encoder": "e", "task": "asr", "unit": "char", "probe": "linear", "layer": layer, "speaker_id": speaker,
            "utterance_id": f"{speaker}-{number}", "errors": errors, "length": length, "sex": group_of[speaker],
            **columns,
        }
        for speaker, pairs in speakers.items()
        for number, (errors, length) in enumerate(pairs)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture
def small():
    speakers = {"a": [(1, 10), (2, 10)], "b": [(3, 20)], "c": [(4, 10)], "d": [(2, 10), (0, 10)]}
    return outcomes(speakers, {"a": "male", "b": "male", "c": "female", "d": "female"})


def test_group_errors_pool_units_not_utterances(small):
    errors = group_errors(small, by="sex").set_index("group")
    assert errors.loc["male", "error"] == pytest.approx(6 / 40)
    assert errors.loc["female", "error"] == pytest.approx(6 / 30)
    assert errors.loc["male", ["n_speakers", "n_utterances"]].tolist() == [2, 3]


def test_gaps_on_three_scales_by_hand(small):
    bias = group_bias(small, by="sex").set_index("scale")
    assert set(bias["contrast"]) == {"female vs male"}
    assert bias.loc["difference", "estimate"] == pytest.approx(6 / 30 - 6 / 40)
    female, male = 6.5 / 31, 6.5 / 41
    assert bias.loc["ratio", "estimate"] == pytest.approx(female / male)
    odds = (female / (1 - female)) / (male / (1 - male))
    assert bias.loc["log_odds", "estimate"] == pytest.approx(np.log(odds))


def test_the_order_of_a_contrast_does_not_follow_the_result(small):
    swapped = small.assign(sex=small["sex"].map({"male": "female", "female": "male"}))
    for table in (small, swapped):
        assert set(group_bias(table, by="sex")["contrast"]) == {"female vs male"}


def test_more_than_two_groups_are_set_against_all_others():
    speakers = {name: [(number, 10)] for number, name in enumerate("abcdef")}
    table = outcomes(speakers, dict(zip("abcdef", "xxyyzz", strict=True)))
    bias = group_bias(table, by="sex")
    assert list(dict.fromkeys(bias["contrast"])) == ["x vs all others", "y vs all others", "z vs all others"]
    row = bias[(bias["contrast"] == "x vs all others") & (bias["scale"] == "difference")].iloc[0]
    assert row["estimate"] == pytest.approx(1 / 20 - 14 / 40)
    assert (row["n_speakers_a"], row["n_speakers_b"]) == (2, 4)


def test_speakers_without_the_label_and_groups_of_one_are_left_out(small):
    more = pd.concat([small, outcomes({"x": [(10, 10)], "y": [(10, 10)]}, {"x": None, "y": "other"})])
    pd.testing.assert_frame_equal(group_bias(more, by="sex"), group_bias(small, by="sex"))


def test_without_errors_and_with_nothing_but_errors_estimates_are_finite_or_missing():
    sexes = {"a": "male", "b": "male", "c": "female", "d": "female"}
    none = outcomes({speaker: [(0, 10)] for speaker in sexes}, sexes)
    bias = group_bias(none, by="sex")
    assert np.isfinite(bias["estimate"]).all()
    assert bias.set_index("scale").loc["log_odds", "estimate"] == pytest.approx(0)
    # More errors than characters: insertions do that; an error rate above 1 has no odds.
    many = none.assign(errors=12)
    bias = group_bias(many, by="sex").set_index("scale")
    assert np.isnan(bias.loc["log_odds", "estimate"])
    assert bias.loc["difference", "estimate"] == 0


def test_layers_meet_the_same_resamples():
    """A layer that repeats another must have the same interval to the last digit."""
    table = _study(np.random.default_rng(0), 8, 5, 0.5)
    twice = pd.concat([table, table.assign(layer="2")])
    bias = group_bias(twice, by="sex").set_index(["layer", "scale"])
    for column in ("low", "high"):
        np.testing.assert_array_equal(bias.loc["1", column], bias.loc["2", column])


def _study(rng, speakers: int, utterances: int, gap: float) -> pd.DataFrame:
    """Speakers who differ (deviation 0.5 in log odds), and a gap between their groups."""
    names = [f"s{i}" for i in range(2 * speakers)]
    sex = np.repeat(["male", "female"], speakers)
    logit = -1 + 0.5 * rng.standard_normal(2 * speakers) + gap * (sex == "female")
    errors = rng.binomial(10, 1 / (1 + np.exp(-logit))[:, None], (2 * speakers, utterances))
    table = pd.DataFrame(
        {
            "speaker_id": np.repeat(names, utterances),
            "sex": np.repeat(sex, utterances),
            "errors": errors.ravel(),
            "length": 10,
        }
    )
    table["utterance_id"] = [str(i) for i in range(len(table))]
    return table.assign(encoder="e", task="asr", unit="char", probe="linear", layer="1")


def test_speaker_intervals_cover_and_utterance_intervals_would_not():
    """Two groups without a gap, 30 speakers each: the interval of the difference should hold zero 95 times in 100.

    The same bootstrap over utterances, written out here, shows how far off it would be.
    """
    rng = np.random.default_rng(0)
    studies = [_study(rng, speakers=30, utterances=50, gap=0.0).assign(layer=str(study)) for study in range(120)]
    bias = group_bias(pd.concat(studies), by="sex", resamples=1000, permutations=2)
    rows = bias[bias["scale"] == "difference"]
    assert 0.90 <= ((rows["low"] <= 0) & (rows["high"] >= 0)).mean() <= 0.99
    covered_by_utterances = 0
    for table in studies[:40]:
        rates = []
        for group in ("female", "male"):
            errors = table.loc[table["sex"] == group, "errors"].to_numpy()
            rates.append(errors[rng.integers(0, len(errors), (300, len(errors)))].sum(axis=1) / (10 * len(errors)))
        low, high = np.quantile(rates[0] - rates[1], [0.025, 0.975])
        covered_by_utterances += low <= 0 <= high
    assert covered_by_utterances / 40 < 0.7


def test_a_planted_gap_is_found_at_its_size():
    table = _study(np.random.default_rng(1), speakers=150, utterances=40, gap=0.8)
    row = group_bias(table, by="sex").set_index("scale").loc["log_odds"]
    # Averaging over speakers shrinks a log odds ratio a little.
    assert 0.5 < row["low"] < row["estimate"] < row["high"] < 1.05


def test_group_columns_and_layer_order(small):
    assert group_columns(small) == ["sex"]
    assert layer_order(["3", "cnn", "0", "12", "logmel"]) == ["logmel", "cnn", "0", "3", "12"]


def test_layers_of_ones_own_are_compared_in_the_order_in_which_they_come(small):
    layers = ["stem", "early", "cnn", "late"]
    own = pd.concat([small.assign(layer=layer) for layer in layers])
    alike = pd.concat([small.assign(layer=layer) for layer in "2103"])
    found, wanted = (group_bias(table, by="sex") for table in (own, alike))
    assert list(dict.fromkeys(found["layer"])) == ["cnn", "stem", "early", "late"]
    pd.testing.assert_frame_equal(found.drop(columns="layer"), wanted.drop(columns="layer"))


def test_bad_requests_get_one_sentence(small):
    with pytest.raises(BiasError, match="no speaker group column 'gender'.*: sex"):
        group_bias(small, by="gender")
    with pytest.raises(BiasError, match="two groups with two speakers each; there are 1 female, 1 male"):
        group_bias(small[small["speaker_id"].isin(["a", "c"])], by="sex")


# ---- errors and contrasts ----


def test_macro_error_counts_each_speaker_the_same(small):
    errors = group_errors(small, by="sex").set_index("group")
    assert errors.loc["male", "error_macro"] == pytest.approx((3 / 20 + 3 / 20) / 2)
    assert errors.loc["female", "error_macro"] == pytest.approx((4 / 10 + 2 / 20) / 2)


def test_intersections_and_any_column_of_the_corpus(small):
    table = small.assign(room=small["speaker_id"].map({"a": "x", "b": "x", "c": "y", "d": "y"}))
    assert set(group_errors(table, by="room")["group"]) == {"x", "y"}
    both = group_errors(table, by=["sex", "room"])
    assert set(both["group"]) == {"male × x", "female × y"} and set(both["by"]) == {"sex × room"}
    partly = table.assign(room=table["room"].where(table["speaker_id"] != "d"))
    with pytest.raises(BiasError, match="there are 1 female × y, 2 male × x"):
        group_errors(partly, by=["sex", "room"])


def _four_groups() -> pd.DataFrame:
    sizes = {"w": 6, "x": 6, "y": 6, "z": 3}
    rng = np.random.default_rng(4)
    groups = {f"{group}{number}": group for group, size in sizes.items() for number in range(size)}
    rates = {"w": 0.1, "x": 0.2, "y": 0.3, "z": 0.9}
    return outcomes(
        {name: [(int(rng.binomial(50, rates[group])), 50) for _ in range(4)] for name, group in groups.items()}, groups
    )


def test_contrasts_over_all_groups_by_hand_and_without_the_small_group():
    table = _four_groups()
    with pytest.warns(UserWarning, match=r"fewer than 5 speakers .* out of everything: z \(3\)"):
        bias = group_bias(table, by="sex", permutations=50)
    totals = table[table["sex"] != "z"].groupby("sex")[["errors", "length"]].sum()
    rates = (totals["errors"] / totals["length"]).to_numpy()
    half = ((totals["errors"] + 0.5) / (totals["length"] + 1)).to_numpy()
    odds = np.log(half / (1 - half))
    found = bias.set_index(["contrast", "scale"])
    assert found.loc[(WORST, "difference"), "estimate"] == pytest.approx(rates.max() - rates.min())
    assert found.loc[(WORST, "ratio"), "estimate"] == pytest.approx(half.max() / half.min())
    assert found.loc[(WORST, "log_odds"), "estimate"] == pytest.approx(odds.max() - odds.min())
    assert found.loc[(BETWEEN, "difference"), "estimate"] == pytest.approx(np.std(rates, ddof=1))
    assert found.loc[(BETWEEN, "ratio"), "estimate"] == pytest.approx(np.exp(np.std(np.log(half), ddof=1)))
    assert found.loc[("z vs all others", "difference"), "few_speakers"]
    assert not found.loc[("w vs all others", "difference"), "few_speakers"]
    assert (bias["excess"] == bias["estimate"] - bias["null_mean"]).all()


def test_with_two_groups_nothing_is_added(small):
    assert group_bias(small, by="sex")["contrast"].nunique() == 1


# ---- intervals ----


@pytest.mark.parametrize(("n_a", "n_b"), [(5, 5), (5, 30), (40, 40)])
def test_intervals_are_as_wide_as_welch_s(n_a, n_b):
    """With utterances of one length the pooled rate is the mean over speakers, and scipy knows the interval."""
    ratios, centres = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        rates = {"male": rng.normal(0.4, 0.05, n_a), "female": rng.normal(0.5, 0.08, n_b)}
        speakers = {f"{sex}{i}{seed}": [(1000 * rate, 1000)] for sex in rates for i, rate in enumerate(rates[sex])}
        table = outcomes(speakers, {name: name.rstrip("0123456789") for name in speakers})
        row = group_bias(table, by="sex", resamples=4000, permutations=2).set_index("scale").loc["difference"]
        welch = stats.ttest_ind(rates["female"], rates["male"], equal_var=False).confidence_interval()
        ratios.append((row["high"] - row["low"]) / (welch.high - welch.low))
        centres.append(((row["high"] + row["low"]) - (welch.high + welch.low)) / 2 / (welch.high - welch.low))
    assert np.mean(ratios) == pytest.approx(1, abs=0.06)
    assert np.mean(centres) == pytest.approx(0, abs=0.05)


def test_the_variance_of_a_rate_is_that_of_a_mean_over_speakers_where_texts_are_equally_long():
    rates = np.random.default_rng(0).uniform(0.1, 0.5, 7)
    errors, lengths = rates * 50, np.full(7, 50.0)
    moments = [values.sum() for values in (errors, lengths, errors**2, errors * lengths, lengths**2)]
    assert rate_variance(moments, 7) == pytest.approx(rates.var(ddof=1) / 7)
    several = [*(value * 3 for value in moments[:2]), *(value * 9 for value in moments[2:])]
    assert rate_variance(several, 7) == pytest.approx(rates.var(ddof=1) / 7)  # seeds added up change nothing


@pytest.mark.parametrize(("scale", "more_units"), [("difference", 0), ("ratio", 1), ("log_odds", 1)])
def test_the_slope_of_a_scale_is_its_derivative(scale, more_units):
    errors, units, step = np.array([3.0, 40.0, 90.0]), np.array([100.0, 100.0, 100.0]), 1e-5
    rise = link(scale, errors + step, units) - link(scale, errors - step, units)
    assert slope(scale, errors, units) == pytest.approx(rise / (2 * step / (units + more_units)), rel=1e-6)


def test_far_quantiles_are_those_of_weibull():
    values, level = np.random.default_rng(0).normal(size=(99, 3)), np.array([0.01, 0.025, 0.2])
    low, high = quantiles(values, level)
    for column in range(3):
        both = np.quantile(values[:, column], [level[column], 1 - level[column]], method="weibull")
        assert [low[column], high[column]] == pytest.approx(both)
    assert np.isnan(quantiles(np.where(values > 2, np.nan, values), level)[0]).tolist() == (values > 2).any(0).tolist()


def test_a_speaker_brings_the_same_numbers_whoever_else_is_there():
    together, alone = random_numbers(("a", "b", "c"), 50, "resample"), random_numbers(("c", "a"), 50, "resample")
    assert (together[:, [2, 0]] == alone).all()
    assert abs(np.corrcoef(together.T)[0, 1]) < 0.5
    # Another encoder that lacks speakers of one group leaves the other group's interval as it was.
    table = _study(np.random.default_rng(0), 8, 10, 0.0)
    fewer = table[~table["speaker_id"].isin(["s8", "s9"])]
    one, other = (group_errors(part, by="sex").set_index("group").loc["male"] for part in (table, fewer))
    assert one[["low", "high"]].tolist() == other[["low", "high"]].tolist()


def test_seeds_are_a_second_source_of_variation():
    """All speakers alike, seeds that shift one group: the interval must know of the seeds."""
    rng = np.random.default_rng(0)
    shifts = [-60, -30, 0, 30, 60]
    names = {f"{sex}{i}": sex for sex in ("male", "female") for i in range(20)}
    parts = [
        outcomes({n: [(400 + shift * (s == "male") + int(rng.integers(-3, 4)), 1000)] for n, s in names.items()}, names)
        .assign(seed=seed)
        for seed, shift in enumerate(shifts)
    ]  # fmt: skip
    table = pd.concat(parts)
    row = group_bias(table, by="sex").set_index("scale").loc["difference"]
    # Exponential weights over 5 seeds: variance of the mean is the mean square over 6.
    expected = 2 * 1.96 * np.sqrt(np.mean(np.square(shifts)) / 6) / 1000
    assert row["high"] - row["low"] == pytest.approx(expected, rel=0.12)
    still = pd.concat([part.assign(errors=parts[2]["errors"]) for part in parts])
    narrow = group_bias(still, by="sex").set_index("scale").loc["difference"]
    assert narrow["high"] - narrow["low"] < 0.05 * (row["high"] - row["low"])


# ---- nulls ----


def test_the_null_and_its_p_agree_with_all_permutations_written_out():
    """Three against six speakers: all 84 labellings, each gap and its standard error in plain loops."""
    rng = np.random.default_rng(21)
    names = [f"s{i}" for i in range(9)]
    counts = {name: (int(rng.integers(5, 30)), int(rng.integers(40, 80))) for name in names}
    sexes = {name: "female" if i < 3 else "male" for i, name in enumerate(names)}
    table = outcomes({name: [pair] for name, pair in counts.items()}, sexes)

    def gap_and_error(members):
        gap, variance = 0.0, 0.0
        for sign, group in ((1, members), (-1, [name for name in names if name not in members])):
            e, n = (np.array([counts[name][place] for name in group], float) for place in (0, 1))
            rate = e.sum() / n.sum()
            gap += sign * rate
            variance += len(e) / (len(e) - 1) * sum((e - rate * n) ** 2) / n.sum() ** 2
        return gap, np.sqrt(variance)

    every = np.array([gap_and_error(list(chosen)) for chosen in itertools.combinations(names, 3)])
    gap, error = gap_and_error(names[:3])
    centre = every[:, 0].mean()
    p = np.mean(np.abs(every[:, 0] - centre) / every[:, 1] >= abs(gap - centre) / error - 1e-9)
    row = group_bias(table, by="sex", permutations=20000).set_index("scale").loc["difference"]
    assert row["null_mean"] == pytest.approx(centre, abs=3 * every[:, 0].std() / np.sqrt(20000))
    assert row["p"] == pytest.approx(p, abs=0.015)
    assert row["excess"] == pytest.approx(gap - row["null_mean"])


def test_family_wise_p_grows_with_layers_that_differ_and_not_with_repeated_ones():
    table = _study(np.random.default_rng(5), 20, 10, 0.5)
    alone = group_bias(table, by="sex")
    repeated = group_bias(pd.concat([table.assign(layer=str(layer)) for layer in range(4)]), by="sex")
    assert alone["p_familywise"].tolist() == alone["p"].tolist() == alone["p_holm"].tolist()
    assert repeated.set_index(["scale", "layer"]).loc["difference", "p_familywise"].tolist() == [alone["p"][0]] * 4
    # Holm knows nothing of the repetition and pays for it.
    assert repeated.set_index(["scale", "layer"]).loc["difference", "p_holm"].tolist() == pytest.approx(
        [4 * alone["p"][0]] * 4
    )
    others = [_study(np.random.default_rng(10 + layer), 20, 10, 0.0).assign(layer=str(layer)) for layer in range(1, 8)]
    wide = group_bias(pd.concat(others), by="sex")
    many = wide[wide["scale"] == "difference"]
    assert (many["p_familywise"] >= many["p"]).all()
    sidak = 1 - (1 - many["p"]) ** len(many)  # exact for independent layers
    assert np.allclose(many["p_familywise"], sidak, atol=0.12)


def test_holm_agrees_with_statsmodels():
    p = np.array([0.01, 0.04, 0.03, 0.2, 0.005])
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    assert np.isnan(holm([0.01, np.nan])[1]) and holm([0.01, np.nan])[0] == 0.01


def test_what_strata_explain_belongs_to_the_null():
    """Errors depend on age alone, and age is tied to sex: the raw gap is real, its excess within ages is none."""
    rng = np.random.default_rng(0)
    ages = {f"s{i}": "child" if i < 60 else "adult" for i in range(120)}
    sexes = {
        name: "male" if rng.random() < (0.8 if age == "child" else 0.2) else "female" for name, age in ages.items()
    }
    rate = {"child": 0.4, "adult": 0.2}
    table = outcomes({name: [(int(rng.binomial(200, rate[age])), 200)] for name, age in ages.items()}, sexes)
    table["age_group"] = table["speaker_id"].map(ages)
    raw = group_bias(table, by="sex").set_index("scale").loc["difference"]
    within = group_bias(table, by="sex", strata="age_group").set_index("scale").loc["difference"]
    assert raw["p"] < 0.01 and abs(raw["excess"]) > 0.08
    assert within["p"] > 0.05 and abs(within["excess"]) < 0.02
    assert within["estimate"] == raw["estimate"]


# ---- pairs ----


def test_paired_differences_are_differences_and_narrower_than_unpaired_ones():
    outcomes_ = simulate_outcomes({"a": [0.2, 0.3], "b": [0.2, 0.2]}, 40, layer_correlation=0.95, seed=2)
    bias = group_bias(outcomes_, by="group").set_index(["scale", "layer"])
    pair = bias_differences(outcomes_, "group", [(("simulated", "1"), ("simulated", "0"))]).set_index("scale")
    for scale in ("difference", "log_odds"):
        gap = bias.loc[scale, "estimate"]
        assert pair.loc[scale, "estimate"] == pytest.approx(gap["1"] - gap["0"])
    assert pair.loc["ratio", "estimate"] == pytest.approx(
        bias.loc[("ratio", "1"), "estimate"] / bias.loc[("ratio", "0"), "estimate"]
    )
    widths = bias.loc["log_odds", "high"] - bias.loc["log_odds", "low"]
    assert pair.loc["log_odds", "high"] - pair.loc["log_odds", "low"] < 0.7 * np.hypot(*widths)
    neutral = {"difference": 0, "ratio": 1, "log_odds": 0}
    for scale, row in pair.iterrows():
        assert (row["p"] < 0.05) == (not row["low"] <= neutral[scale] <= row["high"])


def test_a_layer_does_not_differ_from_itself():
    table = _study(np.random.default_rng(0), 10, 10, 0.5)
    twice = pd.concat([table, table.assign(encoder="f")])
    pair = bias_differences(twice, "sex", [(("e", "1"), ("f", "1"))]).set_index("scale")
    assert pair.loc["difference", "estimate"] == 0 and pair.loc["ratio", "estimate"] == 1
    assert pair["p"].isna().all()  # without any spread there is no test


# ---- bad input, on purpose ----


def test_a_missing_seed_is_named():
    table = _study(np.random.default_rng(0), 6, 4, 0.0)
    full = pd.concat([table.assign(layer=layer, seed=seed) for layer in ("0", "1") for seed in (0, 1)])
    assert len(group_bias(full, by="sex")) == 6
    with pytest.raises(BiasError, match=r"Layer 1 of e \(asr, char, linear\) lacks seed 1"):
        group_bias(full[(full["layer"] != "1") | (full["seed"] != 1)], by="sex")
    with pytest.raises(BiasError, match="Layer 1 of e .* lacks speaker s3"):
        group_bias(full[(full["layer"] != "1") | (full["speaker_id"] != "s3")], by="sex")
    with pytest.raises(BiasError, match="lacks outcomes of speaker s3 with seed 0"):
        group_bias(full[(full["layer"] != "1") | (full["speaker_id"] != "s3") | (full["seed"] != 0)], by="sex")


def test_a_layer_that_one_encoder_lacks_is_not_made_up():
    table = _study(np.random.default_rng(0), 6, 4, 0.0)
    both = pd.concat([table.assign(layer="0"), table, table.assign(encoder="f")])
    bias = group_bias(both, by="sex")
    assert bias[bias["encoder"] == "f"]["layer"].unique().tolist() == ["1"]
    with pytest.raises(BiasError, match="no layer 0 of f for asr, char, linear; there are: e 0; e 1; f 1"):
        bias_differences(both, "sex", [(("e", "0"), ("f", "0"))])


def test_pairs_need_the_same_seeds_and_speakers():
    table = _study(np.random.default_rng(0), 6, 4, 0.0).assign(seed=0)
    pair = [(("e", "1"), ("f", "1"))]
    with pytest.raises(BiasError, match=r"e has seeds \[0\] and f \[1\]"):
        bias_differences(pd.concat([table, table.assign(encoder="f", seed=1)]), "sex", pair)
    fewer = table[table["speaker_id"] != "s0"].assign(encoder="f")
    with pytest.raises(BiasError, match="not tested on the same speakers: one lacks s0"):
        bias_differences(pd.concat([table, fewer]), "sex", pair)


def test_cells_of_nothing_but_hits_or_errors_have_no_interval_but_a_test():
    rng = np.random.default_rng(0)
    names = {f"{sex}{i}": sex for sex in ("male", "female") for i in range(8)}
    table = outcomes({n: [(0 if s == "male" else int(rng.integers(1, 9)), 10)] for n, s in names.items()}, names)
    bias = group_bias(table, by="sex")
    assert np.isfinite(bias["estimate"]).all() and bias[["low", "high"]].isna().all(axis=None)
    assert (bias["p"] < 0.01).all()
    errors = group_errors(table, by="sex").set_index("group")
    assert errors.loc["male", "error"] == 0 and np.isnan(errors.loc["male", "low"])
    assert np.isfinite(errors.loc["female", "low"])
    wrong = group_bias(table.assign(errors=10), by="sex")
    assert (wrong["p"] == 1).all() and wrong["low"].isna().all()


def test_groups_of_one_are_named_in_a_warning(small):
    more = pd.concat([small, outcomes({"y": [(10, 10)]}, {"y": "other"})])
    with pytest.warns(UserWarning, match=r"other \(1\)"):
        assert "other" not in set(group_errors(more, by="sex")["group"])


def test_what_is_missing_in_one_utterance_is_known_from_another(small):
    gaps = group_bias(small, by="sex")
    forgotten = small.assign(sex=small["sex"].where(small["utterance_id"] != small["utterance_id"].iloc[0]))
    assert forgotten["sex"].isna().any() and forgotten.groupby("speaker_id")["sex"].count().min() > 0
    pd.testing.assert_frame_equal(group_bias(forgotten, by="sex"), gaps)


def test_bad_columns_and_strata_get_one_sentence(small):
    with pytest.raises(BiasError, match="utterance_id differs within speaker a .*group by what stays the same"):
        group_bias(small, by="utterance_id")
    with pytest.raises(BiasError, match="no speaker group column 'region'"):
        group_bias(small, by="sex", strata="region")
    with pytest.raises(BiasError, match="No stratum of sex holds two groups of sex: there is nothing to permute"):
        group_bias(small, by="sex", strata="sex")
    unknown = small.assign(age_group=small["speaker_id"].map({"a": "child", "b": "adult", "c": "adult"}))
    with pytest.raises(BiasError, match="Strata age_group are not recorded for 1 speakers, the first of them d"):
        group_bias(unknown, by="sex", strata="age_group")
    with pytest.raises(BiasError, match="no outcomes of speakers whose sex is recorded"):
        group_bias(small.assign(sex=None), by="sex")


def test_categories_are_read_as_text_and_unused_ones_are_nobody_s():
    table = simulate_outcomes({"child": [0.3], "adult": [0.2]}, speakers=12, by="age_group")
    table["sex"] = np.where(table["speaker_id"].str[-1].astype(int) % 2, "male", "female")
    named = table.assign(
        age_group=pd.Categorical(table["age_group"], ["senior", "child", "adult"]),
        sex=table["sex"].astype("category"), speaker_id=table["speaker_id"].astype("category"),
    )  # fmt: skip
    for by in ("age_group", ["sex", "age_group"]):
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of groups of nobody, too
            found = group_bias(named, by, resamples=20, permutations=20)
        pd.testing.assert_frame_equal(found, group_bias(table, by, resamples=20, permutations=20), check_dtype=False)


def test_a_p_beyond_what_the_resamples_reach_is_not_the_smallest_there_is():
    values, many = stats.norm.ppf(np.arange(1, 2001) / 2001), np.array([10**6, 10**6])
    for size in (2.0, 3.0, 3.5, 4.0):
        p = interval_p(size, size + values, np.full((2, 1), 0.5), many)
        assert p == pytest.approx(2 * stats.norm.sf(size), rel=0.05)
    assert interval_p(-4.0, values - 4, np.full((2, 1), 0.5), many) == pytest.approx(p, rel=0.05)


# ---- independent implementation ----


def test_group_errors_are_those_of_fairlearn():
    """MetricFrame of fairlearn 0.15.0 gave these rates and this difference, with zero_one_loss on the same rows."""
    wrong = [1, 0, 0, 1, 1, 0, 1, 0, 0, 0, 1, 0]
    who = ["a", "a", "b", "b", "c", "c", "d", "d", "e", "e", "f", "f"]
    sexes = dict(zip("abcdef", ["x", "x", "x", "y", "y", "y"], strict=True))
    pairs = {name: [(w, 1) for w, speaker in zip(wrong, who, strict=True) if speaker == name] for name in sexes}
    table = outcomes(pairs, sexes)
    errors = group_errors(table, by="sex").set_index("group")["error"]
    assert errors.to_dict() == pytest.approx({"x": 0.5, "y": 1 / 3})
    row = group_bias(table, by="sex").set_index("scale").loc["difference"]
    assert row["estimate"] == pytest.approx(1 / 6)


def test_intervals_are_those_of_confidence_intervals():
    """evaluate_with_conf_int of confidence_intervals 0.0.3 (Ferrer and Riera), with speakers as conditions and 2,000
    bootstraps, gave 0.0876 [0.0545, 0.1200] for the difference in these outcomes."""
    table = simulate_outcomes({"child": [0.3], "adult": [0.2]}, 80, 10, units=20, seed=3, by="age_group")
    row = group_bias(table, by="age_group", permutations=10).set_index("scale").loc["difference"]
    assert row["estimate"] == pytest.approx(0.0876067, abs=1e-6)
    # Both draw speakers at random: the ends differ by some hundredths of the width.
    assert [row["low"], row["high"]] == pytest.approx([0.0545, 0.1200], abs=0.004)
