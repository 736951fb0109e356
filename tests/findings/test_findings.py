"""Findings: the rules of judgement on bias tables made by hand, and sentences that stay true whatever the run."""

import itertools

import pandas as pd
import pytest

from fairlib import findings
from fairlib.bias import group_bias, group_errors
from fairlib.bias.simulation import simulate_outcomes
from fairlib.display import sentences
from fairlib.display.tables import written
from fairlib.display.words import percent
from fairlib.findings import after_fine_tuning, tuned_table, where_bias_begins, whose_gap

SHOWN, NONE, BELOW = (1.0, 0.5, 1.5), (0.1, -0.4, 0.6), (-1.0, -1.5, -0.5)
NARROW = (0.05, -0.05, 0.15)  # hardly a gap, and surely so
NAMED = ["cnn", "0", "1", "2"]


def bias_table(by_encoder: dict[str, dict[str, tuple]], contrast="child vs adult", **more) -> pd.DataFrame:
    """Log odds rows, and difference and ratio rows that say the same."""
    rows = []
    for encoder, layers in by_encoder.items():
        for layer, gap in layers.items():
            for scale, values in {
                "log_odds": gap,
                "difference": [value / 10 for value in gap],
                "ratio": [2.0**value for value in gap],
            }.items():
                rows.append(
                    {"encoder": encoder, "layer": layer, "scale": scale}
                    | dict(zip(("estimate", "low", "high"), values, strict=True))
                )
    frame = pd.DataFrame(rows).assign(task="sid", unit="speaker", probe="linear", by="age_group", contrast=contrast)
    return frame.assign(n_speakers_a=10, n_speakers_b=12, n_utterances=100, **more)


def differences(bias: pd.DataFrame, reach: float = 0.1) -> pd.DataFrame:
    """Paired differences to both controls; apart where the intervals of the bias table do not overlap."""
    rows = bias[bias["scale"] == "log_odds"].set_index(["encoder", "layer"])
    made = []
    for (encoder, layer), mine in rows.loc[["pocket"]].iterrows():
        for control in (("logmel", "logmel"), ("random:pocket", layer)):
            if control in rows.index:
                other = rows.loc[control]
                apart = mine["low"] > other["high"] or mine["high"] < other["low"]
                made.append((encoder, layer, control[0], mine["estimate"] - other["estimate"], 0.01 if apart else 0.5))
    frame = pd.DataFrame(made, columns=["encoder", "layer", "encoder_b", "estimate", "p_holm"])
    frame = frame.assign(low=frame["estimate"] - reach, high=frame["estimate"] + reach)
    return frame.assign(contrast="child vs adult", scale="log_odds")


def s3m(*gaps) -> pd.DataFrame:
    return bias_table({"pocket": dict(zip(NAMED, gaps, strict=False))})


@pytest.mark.parametrize(
    ("gaps", "verdict"),
    [
        ((SHOWN, SHOWN, SHOWN, SHOWN), "supported"),
        ((SHOWN, SHOWN, NONE, NONE), "supported"),
        ((BELOW, BELOW, NONE, NONE), "supported"),
        ((NARROW, NONE, SHOWN, NONE), "contradicted"),
        ((SHOWN, NARROW, NONE, SHOWN), "contradicted"),
        ((NARROW, SHOWN, BELOW, NONE), "contradicted"),
        ((NONE, NONE, SHOWN, NONE), "inconclusive"),  # not shown is not shown to be absent
        ((SHOWN, NONE, NONE, SHOWN), "inconclusive"),
        ((NARROW, NARROW, NONE, NONE), "inconclusive"),  # nothing begins later
        ((NONE, NONE, NONE, NONE), "inconclusive"),
        ((SHOWN, NONE, NONE, NONE), "inconclusive"),
        ((NONE, SHOWN, NONE, NONE), "inconclusive"),
        (
            ((1.0, 0.0, 2.0), SHOWN, NONE, NONE),
            "inconclusive",
        ),  # an interval that touches zero does not exclude it
        (((float("nan"),) * 3, SHOWN, SHOWN, SHOWN), "inconclusive"),
    ],
)
def test_where_bias_begins(gaps, verdict):
    finding = where_bias_begins(s3m(*gaps), "pocket", "child vs adult")
    assert finding.verdict == verdict
    assert finding.claim == findings.BEGINS_CLAIM and finding.criterion == findings.BEGINS_CRITERION
    assert [row["layer"] for row in finding.evidence] == NAMED


def test_a_gap_that_many_looks_explain_is_no_bias():
    bias = s3m(SHOWN, SHOWN, SHOWN, SHOWN)
    familywise = bias.assign(p_familywise=bias["layer"].map({"cnn": 0.01, "0": 0.2, "1": 0.01, "2": 0.04}))
    finding = where_bias_begins(familywise, "pocket", "child vs adult")
    assert [row["biased"] for row in finding.evidence] == [True, False, True, True]
    assert (
        finding.verdict == "inconclusive" and "would be detected with 80\N{NO-BREAK SPACE}% power" in finding.sentence
    )


def test_differences_to_the_controls_are_paired_and_have_the_right_sign():
    from fairlib.bias.simulation import simulate_outcomes

    def made(encoder, child, layers):
        rates = {"child": child, "adult": [0.2] * len(child)}
        rows = simulate_outcomes(rates, speakers=60, by="age_group", seed=len(encoder))
        return rows.assign(encoder=encoder, layer=rows["layer"].astype(int).map(dict(enumerate(layers))))

    outcomes = pd.concat(
        [
            made("pocket", [0.2, 0.4], ["cnn", "0"]),
            made("random:pocket", [0.2, 0.2], ["cnn", "0"]),
            made("logmel", [0.3], ["logmel"]),
        ]
    )
    table = findings.control_differences(outcomes, "age_group", "pocket").query("scale == 'log_odds'")
    found = table.set_index(["layer", "encoder_b"])
    assert found.loc[("cnn", "logmel"), "estimate"] < 0 < found.loc[("0", "logmel"), "estimate"]
    assert found.loc[("0", "random:pocket"), "p_holm"] < 0.05 < found.loc[("cnn", "random:pocket"), "p_holm"]
    assert findings.control_differences(outcomes[outcomes["encoder"] == "pocket"], "age_group", "pocket").empty


def test_a_layer_is_compared_with_the_log_mel_that_hears_as_much():
    def made(encoder, child, layers):
        rates = {"child": child, "adult": [0.2] * len(child)}
        rows = simulate_outcomes(rates, speakers=100, by="age_group", seed=1)
        return rows.assign(encoder=encoder, layer=rows["layer"].astype(int).map(dict(enumerate(layers))))

    gaps_of = {"": [0.3, 0.5], "random:": [0.23, 0.23]}

    def judged(*signal):
        trained, twin = (made(f"{name}pocket-hubert", errors, ["cnn", "0"]) for name, errors in gaps_of.items())
        outcomes = pd.concat([trained, twin, *signal])
        bias = group_bias(outcomes, by="age_group", permutations=200)
        differences = findings.control_differences(outcomes, "age_group", "pocket-hubert")
        return differences, whose_gap(bias, differences, "pocket-hubert", "child vs adult")

    plain, near, wide = (
        made(name, [error], ["logmel"])
        for name, error in (("logmel", 0.3), ("logmel-25ms", 0.3), ("logmel-645ms", 0.5))
    )
    differences, finding = judged(plain, near, wide)
    odds = differences[differences["scale"] == "log_odds"].set_index(["layer", "encoder_b"])["estimate"]
    assert {control for _, control in odds.index} == {"random:pocket-hubert", "logmel-25ms", "logmel-645ms"}
    assert odds.xs("logmel-25ms", level=1).abs().max() < 0.1 > odds.xs("logmel-645ms", level=1).abs().max()
    assert finding.verdict == "contradicted"
    assert " over 25 ms and " in finding.sentence and " over 645 ms)" in finding.sentence
    # Beside the plain one, which hears 35 ms, layer 0 seems to have enlarged the gap.
    assert "larger than log-mel's at layer 0" in judged(plain)[1].sentence


def test_without_first_layers_there_is_nothing_to_judge_by():
    finding = where_bias_begins(bias_table({"logmel": {"logmel": SHOWN}}), "logmel", "child vs adult")
    assert finding.verdict == "inconclusive" and "cnn and 0" in finding.sentence


def test_the_sentence_names_the_side_that_fares_worse_and_the_layers():
    sentence = where_bias_begins(s3m(SHOWN, SHOWN, NONE, SHOWN), "pocket", "child vs adult").sentence
    assert "children have the higher error" in sentence and "3 of 4 layers" in sentence
    sentence = where_bias_begins(s3m(BELOW, BELOW, NONE, NONE), "pocket", "child vs adult").sentence
    assert "children have the lower error" in sentence
    sentence = where_bias_begins(s3m(SHOWN, BELOW, NONE, NONE), "pocket", "child vs adult").sentence
    assert "both directions" in sentence


def test_saturated_layers_are_mentioned():
    bias = s3m(SHOWN, SHOWN, SHOWN, SHOWN)
    early = where_bias_begins(bias.assign(saturated=bias["layer"].isin(["cnn", "0"])), "pocket", "child vs adult")
    assert "Caution" in early.sentence and "verdict rests partly on such layers" in early.sentence
    late = where_bias_begins(bias.assign(saturated=bias["layer"] == "2"), "pocket", "child vs adult")
    assert "Caution" in late.sentence and "verdict rests partly on such layers" not in late.sentence
    every = where_bias_begins(bias.assign(saturated=True), "pocket", "child vs adult")
    assert "verdict rests only on such layers" in every.sentence
    assert "Caution" not in where_bias_begins(bias.assign(saturated=False), "pocket", "child vs adult").sentence


LARGE = (3.0, 2.5, 3.5)


@pytest.mark.parametrize(
    ("gap", "mel", "twin", "verdict"),
    [
        (LARGE, SHOWN, SHOWN, "supported"),
        (LARGE, NONE, NONE, "supported"),
        (tuple(-value for value in (3.0, 3.5, 2.5)), BELOW, BELOW, "supported"),
        (SHOWN, SHOWN, SHOWN, "contradicted"),
        (SHOWN, LARGE, NONE, "contradicted"),
        (LARGE, SHOWN, LARGE, "inconclusive"),  # larger than log-mel's, but the untrained twin has it too
        (SHOWN, NONE, NONE, "inconclusive"),  # overlapping intervals tell nothing apart
        (SHOWN, BELOW, NONE, "inconclusive"),  # log-mel's gap runs the other way
        (NONE, SHOWN, SHOWN, "inconclusive"),  # no gap to trace
    ],
)
def test_whose_gap_it_is(gap, mel, twin, verdict):
    table = bias_table(
        {
            "pocket": {"cnn": gap, "0": NONE},
            "random:pocket": {"cnn": twin, "0": twin},
            "logmel": {"logmel": mel},
        }
    )
    finding = whose_gap(table, differences(table), "pocket", "child vs adult")
    assert finding.verdict == verdict, finding.sentence
    if verdict == "contradicted":  # where more could hide in the intervals, nothing is contradicted
        unsure = whose_gap(table, differences(table, reach=1.3), "pocket", "child vs adult")
        assert (unsure.verdict == "inconclusive") == (gap == mel)


def test_a_gap_that_is_larger_in_points_alone_depends_on_the_scale():
    table = bias_table(
        {"pocket": {"cnn": SHOWN, "0": SHOWN}, "random:pocket": {"cnn": SHOWN, "0": SHOWN}, "logmel": {"logmel": SHOWN}}
    )
    odds = differences(table)
    points = odds.assign(scale="difference", estimate=0.05, low=0.03, high=0.07, p_holm=0.01)
    finding = whose_gap(table, pd.concat([odds, points]), "pocket", "child vs adult")
    assert finding.verdict == "depends on the scale"
    assert "larger than both controls' at layers cnn and 0" in finding.sentence
    beside_mel = points.assign(p_holm=points["encoder_b"].map({"logmel": 0.01, "random:pocket": 0.5}))
    finding = whose_gap(table, pd.concat([odds, beside_mel]), "pocket", "child vs adult")
    assert finding.verdict == "depends on the scale" and "at no layer larger than both controls'" in finding.sentence
    beside_twin = points.assign(p_holm=points["encoder_b"].map({"logmel": 0.5, "random:pocket": 0.01}))
    assert whose_gap(table, pd.concat([odds, beside_twin]), "pocket", "child vs adult").verdict == "contradicted"
    # Where the odds ratios leave it open, both controls must be behind.
    open_odds = differences(table, reach=1.3)
    for rows, verdict in ((points, "depends on the scale"), (beside_mel, "inconclusive")):
        assert whose_gap(table, pd.concat([open_odds, rows]), "pocket", "child vs adult").verdict == verdict


def test_a_missing_control_leaves_it_open():
    alone = bias_table({"pocket": {"cnn": LARGE, "0": LARGE}})
    finding = whose_gap(alone, differences(alone), "pocket", "child vs adult")
    assert finding.verdict == "inconclusive" and "log-mel and untrained twin" in finding.sentence


def test_a_verdict_is_one_of_four():
    with pytest.raises(ValueError, match="supported, contradicted, depends on the scale, inconclusive"):
        findings.Finding("c", "r", "true", "s")


def test_what_is_not_in_the_table_is_named():
    with pytest.raises(ValueError, match="encoder 'other'"):
        where_bias_begins(s3m(SHOWN, SHOWN), "other", "child vs adult")
    twice = pd.concat([s3m(SHOWN, SHOWN), s3m(SHOWN, SHOWN).assign(unit="word")])
    with pytest.raises(ValueError, match="several rows per layer"):
        where_bias_begins(twice, "pocket", "child vs adult")


def test_layers_are_read_in_their_order_whatever_the_table_s():
    bias = bias_table({"pocket": dict.fromkeys(["10", "2", "cnn", "0"], SHOWN)})
    assert list(findings.gaps(bias, "pocket", "child vs adult")["layer"]) == ["cnn", "0", "2", "10"]


def test_the_leading_contrast_is_chosen_by_group_size_and_not_by_gap():
    small = bias_table({"pocket": dict.fromkeys(NAMED, LARGE)}, contrast="a vs all others").assign(n_speakers_a=3)
    large = bias_table({"pocket": dict.fromkeys(NAMED, NONE)}, contrast="b vs all others").assign(n_speakers_a=9)
    assert findings.main_contrast(pd.concat([small, large]), "pocket") == "b vs all others"


def outcomes() -> pd.DataFrame:
    rows = [
        {"encoder": encoder, "unit": "char", "layer": layer, "errors": errors, "length": 10}
        for encoder, layer, errors in [
            ("pocket", "cnn", 9),
            ("pocket", "cnn", 7),
            ("pocket", "0", 6),
            ("logmel", "logmel", 2),
        ]
    ]
    return pd.DataFrame(rows)


def test_saturation_is_over_all_speakers_and_starts_above_sixty_percent():
    table = pd.DataFrame({"encoder": ["pocket", "pocket", "logmel"], "unit": "char", "layer": ["0", "cnn", "logmel"]})
    assert list(findings.mark_saturated(table, outcomes())["saturated"]) == [False, True, False]


def test_best_layer_is_set_beside_the_controls():
    sentence = sentences.best_layer_sentence(outcomes(), "pocket")
    assert "lowest at layer 0, 60" in sentence and "log-mel 20" in sentence


def group_rates(bias: pd.DataFrame) -> pd.DataFrame:
    cells = bias.loc[bias["scale"] == "log_odds", ["encoder", "layer"]]
    return pd.concat(
        [
            cells.assign(group=group, error=error, low=error - 0.1, high=error + 0.1)
            for group, error in (("adult", 0.2), ("child", 0.4))
        ]
    )


@pytest.mark.parametrize("gaps", list(itertools.product([SHOWN, NONE, BELOW], repeat=3)))
def test_every_sentence_holds_for_any_pattern_of_gaps(gaps):
    layers = dict(zip(NAMED, gaps, strict=False))
    bias = bias_table({"pocket": layers, "random:pocket": layers, "logmel": {"logmel": gaps[0]}})
    errors, contrast = group_rates(bias), "child vs adult"
    told = sentences.layer_sentences(errors, bias, "pocket", contrast)
    # Neighbours that tell the same share a sentence; together they cover every layer once.
    assert len(told) == 1 + sum(one is not other for one, other in itertools.pairwise(gaps))
    assert sum("interval includes zero" in sentence for sentence in told) == sum(
        gap is NONE for gap, _ in itertools.groupby(gaps)
    )
    title = sentences.gap_title(bias, "pocket", contrast)
    assert title.startswith("No layer") == all(gap is NONE for gap in gaps)
    assert title.startswith("Every layer") == all(gap is not NONE for gap in gaps)
    # The title counts layers whose interval excludes no gap, never mere estimates.
    higher, lower = (sum(gap is kind for gap in gaps) for kind in (SHOWN, BELOW))
    word = "differ detectably" if not higher + lower else f"less often than adults at {lower} of 3"
    if higher and higher >= lower:
        word = f"more often than adults at {higher} of 3"
    assert word in sentences.errors_title(bias, "pocket", contrast)
    assert "log-mel" in sentences.describe_gaps(bias, "pocket", contrast)
    assert "child: 40" in sentences.describe_errors(errors, "pocket")
    titles = sentences.scale_titles(bias, "pocket", contrast)
    assert set(titles) == {"difference", "ratio", "log_odds"}
    assert all(("no layer shows" in title) == all(gap is NONE for gap in gaps) for title in titles.values())
    assert sentences.scales_sentence(bias, "pocket", contrast).startswith("Here the three scales")
    assert len(findings.layer_table(errors, bias, contrast)) == 7
    assert list(findings.all_contrasts({"age_group": bias}, "pocket")["recorded"]) == ["age group"]


def test_where_no_recorded_group_is_large_enough_the_chapter_says_so():
    assert "No other comparison" in sentences.contrasts_sentence(findings.all_contrasts({}, "pocket"))


def test_scales_that_disagree_are_said_to():
    bias = s3m(SHOWN, LARGE, NONE, NONE)
    assert "agree: the gap is largest at layer 0" in sentences.scales_sentence(bias, "pocket", "child vs adult")
    bias.loc[(bias["scale"] == "ratio") & (bias["layer"] == "cnn"), "estimate"] = 0.01  # far from one, downwards
    assert "disagree" in sentences.scales_sentence(bias, "pocket", "child vs adult")


def test_cautions_fit_the_run():
    real = sentences.cautions("sid", "pocket-hubert", "speechocean762", "age_group")
    assert "recording session" in real and "Mandarin" in real and "Our encoders" in real and "Synthetic" not in real
    made = sentences.cautions("asr", "facebook/hubert-base-ls960", "synthetic", "group")
    assert "says nothing about people" in made and "Saturation" in made
    assert "Mandarin" not in made and "Our encoders" not in made and "session" not in made


# ---- after fine-tuning


def changes(moved: dict[str, float], shown: set[str]) -> pd.DataFrame:
    rows = [
        {"encoder": "tuned", "layer": layer, "encoder_b": "pocket", "contrast": "child vs adult", "scale": "log_odds",
         "estimate": change, "low": change - 0.1, "high": change + 0.1, "p_holm": 0.01 if layer in shown else 0.5}
        for layer, change in moved.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("before", "after", "moved", "shown", "verdict", "words"),
    [
        (SHOWN, SHOWN, 0.0, set(), "supported", "a change of more than 0.2 in log odds is ruled out"),
        (SHOWN, SHOWN, 0.3, {"1"}, "contradicted", "larger at layer 1"),
        (SHOWN, SHOWN, -0.3, {"1", "2"}, "contradicted", "smaller at layers 1 and 2"),
        (BELOW, BELOW, 0.3, {"2"}, "contradicted", "smaller at layer 2"),  # towards zero, from below
        (SHOWN, NONE, -0.3, set(), "inconclusive", "0 still show it in the same direction"),
        (SHOWN, SHOWN, 0.15, set(), "inconclusive", "would be detected with 80"),
        (SHOWN, SHOWN, 0.05, {"1"}, "supported", "larger at layer 1. At every one a change of more than 0.2"),
        (NONE, SHOWN, 0.5, {"1"}, "inconclusive", "no gap between children and adults to begin with"),
    ],
)
def test_what_fine_tuning_did_to_the_gap(before, after, moved, shown, verdict, words):
    bias = bias_table({"tuned": dict.fromkeys(NAMED, after), "pocket": dict.fromkeys(NAMED, before)})
    finding = after_fine_tuning(bias, changes(dict.fromkeys(NAMED, moved), shown), "tuned", "child vs adult")
    assert finding.verdict == verdict and words in finding.sentence
    assert len(finding.evidence) == len(NAMED)


def test_smaller_here_and_larger_there_is_a_change():
    bias = bias_table({"tuned": dict.fromkeys(NAMED, SHOWN), "pocket": dict.fromkeys(NAMED, SHOWN)})
    moved = changes({"cnn": 0.0, "0": 0.3, "1": -0.3, "2": 0.0}, {"0", "1"})
    found = after_fine_tuning(bias, moved, "tuned", "child vs adult")
    assert found.verdict == "contradicted" and "smaller at layer 1 and larger at layer 0" in found.sentence


def test_a_frozen_layer_says_nothing_of_fine_tuning():
    bias = bias_table({"tuned": dict.fromkeys(NAMED, SHOWN), "pocket": dict.fromkeys(NAMED, SHOWN)})
    moved = changes(dict.fromkeys(NAMED, 0.0), set())
    moved.loc[moved["layer"] == "cnn", ["low", "high"]] = 0.0
    found = after_fine_tuning(bias, moved, "tuned", "child vs adult")
    assert "Of the 3 layers that fine-tuning updated" in found.sentence
    moved.loc[moved["layer"] == "cnn", "p_holm"] = float("nan")
    found = after_fine_tuning(bias, moved, "tuned", "child vs adult")
    table = tuned_table({"sid": found}).set_index("layer")
    assert table.loc["cnn", ["after less before", "p (Holm)"]].to_list() == ["the very same errors", ""]
    assert written(table.loc["1", "after less before"]).startswith("+0.00\n") and len(table) == len(NAMED)


def test_where_the_errors_of_one_group_alone_stay_the_same_there_is_a_change():
    bias = bias_table({"tuned": dict.fromkeys(NAMED, SHOWN), "pocket": dict.fromkeys(NAMED, SHOWN)})
    moved = changes(dict.fromkeys(NAMED, 0.0), set())
    moved.loc[moved["layer"] == "1", ["estimate", "low", "high", "p_holm"]] = 1.2, *[float("nan")] * 3
    found = after_fine_tuning(bias, moved, "tuned", "child vs adult")
    assert found.verdict == "inconclusive" and "Of the 4 layers that fine-tuning updated" in found.sentence
    told = written(tuned_table({"sid": found}).set_index("layer").loc["1", "after less before"])
    assert told.startswith("+1.20")
    unknown = after_fine_tuning(bias, moved.assign(estimate=1.2, low=float("nan"), high=float("nan")), "tuned",
                                "child vs adult")  # fmt: skip
    assert unknown.verdict == "inconclusive" and "nan" not in unknown.sentence


def test_where_no_interval_tells_how_much_larger_a_gap_may_be_nothing_is_contradicted():
    every = dict.fromkeys(("cnn", "0"), SHOWN)
    table = bias_table({"pocket": every, "random:pocket": every, "logmel": {"logmel": SHOWN}})
    apart = differences(table)
    beside_mel = (apart["layer"] == "0") & (apart["encoder_b"] == "logmel")
    apart.loc[beside_mel, ["low", "high", "p_holm"]] = float("nan")
    # The very same errors as log-mel's: no interval is needed.
    assert whose_gap(table, apart, "pocket", "child vs adult").verdict == "contradicted"
    apart.loc[beside_mel, "estimate"] = 0.15  # one group's errors differ
    assert whose_gap(table, apart, "pocket", "child vs adult").verdict == "inconclusive"
    every = dict.fromkeys(("cnn", "0"), BELOW)
    below = bias_table({"pocket": every, "random:pocket": every, "logmel": {"logmel": BELOW}})
    apart["estimate"] *= -1
    assert whose_gap(below, apart, "pocket", "child vs adult").verdict == "inconclusive"


def test_log_mel_s_gap_counts_by_its_interval_as_the_rule_says():
    every = dict.fromkeys(("cnn", "0"), SHOWN)
    table = bias_table({"pocket": every, "random:pocket": every, "logmel": {"logmel": SHOWN}}, p_familywise=0.001)
    table.loc[table["encoder"] == "logmel", "p_familywise"] = 0.06
    assert whose_gap(table, differences(table), "pocket", "child vs adult").verdict == "contradicted"


@pytest.mark.parametrize(
    ("child", "adult", "words"),
    [
        (0.45, 0.3, "Every layer shows a gap, and so does the plain spectrogram"),
        (0.3, 0.3, "No layer's gap differs detectably from zero."),
    ],
)
def test_in_plain_words_the_errors_of_both_groups_are_told_where_they_are_fewest(child, adult, words):
    # The same people's outcomes for the encoder, its twin and log-mel, so that nothing is the encoder's own.
    rates = {"child": [0.6, child], "adult": [0.45 if child > adult else 0.6, adult]}
    made = simulate_outcomes(rates, speakers=600, by="age_group").replace({"layer": {"0": "cnn", "1": "0"}})
    mel = made[made["layer"] == "0"].assign(encoder="logmel", layer="logmel")
    outcomes = pd.concat([made.assign(encoder="x"), made.assign(encoder="random:x"), mel])
    bias, errors = group_bias(outcomes, "age_group"), group_errors(outcomes, "age_group", resamples=100)
    apart = findings.control_differences(outcomes, "age_group", "x")
    whose = whose_gap(bias, apart, "x", "child vs adult")
    sentence = sentences.in_plain_words(errors, bias, "x", "child vs adult", whose)
    told = errors[(errors["encoder"] == "x") & (errors["layer"] == "0")].set_index("group")["error"].map(percent)
    assert sentence.startswith(
        f"Children are misrecognised in {told['child']} of their characters, adults in {told['adult']}, at the most"
        " accurate layer (layer 0)."
    )
    assert words in sentence
