"""Group errors and gaps against numbers worked out by hand, and their intervals against known truth."""

import numpy as np
import pandas as pd
import pytest

from fairlib.bias import BiasError, group_bias, group_columns, group_errors, layer_order


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
    assert set(bias["contrast"]) == {"x vs all others", "y vs all others", "z vs all others"}
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


def test_layers_meet_the_same_resamples(small):
    """A layer that repeats another must have the same interval to the last digit."""
    twice = pd.concat([small, small.assign(layer="2")])
    bias = group_bias(twice, by="sex").set_index(["layer", "scale"])
    for column in ("low", "high"):
        assert bias.loc["1", column].tolist() == bias.loc["2", column].tolist()


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
    covered, covered_by_utterances, studies = 0, 0, 120
    for _ in range(studies):
        table = _study(rng, speakers=30, utterances=50, gap=0.0)
        row = group_bias(table, by="sex", resamples=300).set_index("scale").loc["difference"]
        covered += row["low"] <= 0 <= row["high"]
        rates = []
        for group in ("female", "male"):
            errors = table.loc[table["sex"] == group, "errors"].to_numpy()
            rates.append(errors[rng.integers(0, len(errors), (300, len(errors)))].sum(axis=1) / (10 * len(errors)))
        low, high = np.quantile(rates[0] - rates[1], [0.025, 0.975])
        covered_by_utterances += low <= 0 <= high
    assert 0.88 <= covered / studies <= 0.99
    assert covered_by_utterances / studies < 0.6


def test_a_planted_gap_is_found_at_its_size():
    table = _study(np.random.default_rng(1), speakers=150, utterances=40, gap=0.8)
    row = group_bias(table, by="sex").set_index("scale").loc["log_odds"]
    # Averaging over speakers shrinks a log odds ratio a little.
    assert 0.5 < row["low"] < row["estimate"] < row["high"] < 1.05


def test_group_columns_and_layer_order(small):
    assert group_columns(small) == ["sex"]
    assert layer_order(["3", "cnn", "0", "12", "logmel"]) == ["logmel", "cnn", "0", "3", "12"]


def test_bad_requests_get_one_sentence(small):
    with pytest.raises(BiasError, match="no speaker group column 'gender'.*: sex"):
        group_bias(small, by="gender")
    with pytest.raises(BiasError, match="two groups with two speakers each; there are 1 female, 1 male"):
        group_bias(small[small["speaker_id"].isin(["a", "c"])], by="sex")
