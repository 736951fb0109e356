"""Encoders that differ in size alone, compared."""

import pandas as pd
import pytest

from fairlib.bias import group_bias
from fairlib.bias.simulation import simulate_outcomes
from fairlib.findings import sizes

NONE, GAP = [0.3, 0.3], [0.45, 0.45]


def made(children: list[float], name: str, seed: int) -> pd.DataFrame:
    table = simulate_outcomes({"child": children, "adult": NONE}, speakers=60, by="age_group", seed=seed)
    return table.assign(encoder=name)


@pytest.mark.parametrize(
    ("small", "large", "verdict"),
    [(GAP, NONE, "supported"), (GAP, [0.65, 0.65], "contradicted"), (GAP, GAP, "inconclusive")],
)
def test_whether_the_larger_encoder_has_the_smaller_gap(small, large, verdict):
    outcomes = pd.concat([made(small, "small", 0), made(large, "large", 1)])
    found = sizes.does_size_help(outcomes, "age_group", "child vs adult", "small", "large")
    assert found is not None and found.verdict == verdict
    assert "large, the larger encoder" in found.sentence


@pytest.mark.parametrize(("again", "verdict"), [(NONE, "supported"), (GAP, "inconclusive")])
def test_a_second_seed_must_agree(again, verdict, monkeypatch):
    monkeypatch.setattr("fairlib.findings.pretraining.second_seed", lambda name: f"{name}-seed1@9")
    tables = {"small": GAP, "large": NONE, "small-seed1@9": GAP, "large-seed1@9": again}
    outcomes = pd.concat([made(children, name, seed) for seed, (name, children) in enumerate(tables.items())])
    found = sizes.does_size_help(outcomes, "age_group", "child vs adult", "small", "large")
    assert found is not None and found.verdict == verdict and len(found.facts["changes"]) == 2
    assert "in both pairs" in found.sentence and "Another seed alone changes" in found.sentence
    # Without the larger encoder's second training there is nothing to agree with.
    alone = outcomes[outcomes["encoder"] != "large-seed1@9"]
    found = sizes.does_size_help(alone, "age_group", "child vs adult", "small", "large")
    assert found is not None and found.verdict == "supported" and "both pairs" not in found.sentence


@pytest.mark.parametrize(("adults", "warned"), [([0.6, 0.6], True), ([0.3, 0.3], False)])
def test_where_most_is_wrong_the_sentence_warns(adults, warned):
    rates = {"child": [adults[0] + 0.25] * 2, "adult": adults}
    tables = [
        simulate_outcomes(rates, speakers=60, by="age_group", seed=seed).assign(
            encoder=name, task="phone", unit="phone"
        )
        for seed, name in enumerate(("small", "large"))
    ]
    found = sizes.does_size_help(pd.concat(tables), "age_group", "child vs adult", "small", "large")
    assert found is not None and bool(found.facts["too_wrong"]) == warned == ("Caution" in found.sentence)


def test_each_step_of_a_ladder_is_judged_as_far_as_it_is_there():
    outcomes = pd.concat([made(GAP, "small", 0), made(GAP, "large", 1), made(NONE, "largest", 2)])
    names = ["small", "middle", "large", "largest"]
    found = sizes.up_the_ladder(outcomes, names, "age_group", "child vs adult")
    assert {larger: finding.verdict for larger, finding in found.items()} == {
        "large": "inconclusive",
        "largest": "supported",
    }
    assert sizes.up_the_ladder(pd.DataFrame(), names, "age_group", "child vs adult") == {}


def test_without_a_gap_none_can_become_smaller():
    outcomes = pd.concat([made(NONE, "small", 0), made(GAP, "large", 1)])
    found = sizes.does_size_help(outcomes, "age_group", "child vs adult", "small", "large")
    assert found is not None and found.verdict == "inconclusive" and "shows no gap" in found.sentence


def test_what_is_not_at_hand_is_not_judged():
    assert sizes.does_size_help(made(GAP, "small", 0), "age_group", "child vs adult", "small", "large") is None
    assert sizes.does_size_help(pd.DataFrame(), "age_group", "child vs adult", "small", "large") is None
    assert sizes.published_of(["no-such-encoder"], "phone", "speechocean762", "age_group").empty


def test_encoders_on_a_ladder_differ_in_width_alone():
    for names in sizes.ladders():
        assert len(names) > 1 and [sizes.parameters_of(name) for name in names] == sorted(
            map(sizes.parameters_of, names)
        )


def test_each_encoder_has_its_row():
    outcomes = pd.concat([made(GAP, "mini-wavlm", 0), made(NONE, "mini-hubert", 1), made(GAP, "mini-wavlm-seed1@9", 2)])
    table = sizes.sizes_table(outcomes, group_bias(outcomes, "age_group"), "child vs adult")
    assert list(table["encoder"]) == ["mini-wavlm", "mini-hubert", "mini-wavlm, second seed"]
    assert table["million weights"].iloc[0] == table["million weights"].iloc[2]
    errors = [number.value for number in table["error"]]
    assert errors[0] > errors[1] == pytest.approx(0.3, abs=0.03)


def test_a_ladder_of_three_is_judged_step_by_step():
    made_of = {"small": GAP, "middle": NONE, "large": [0.65, 0.65]}
    outcomes = pd.concat([made(children, name, seed) for seed, (name, children) in enumerate(made_of.items())])
    steps = sizes.up_the_ladder(outcomes, ["small", "absent", "middle", "large"], "age_group", "child vs adult")
    assert {larger: found.verdict for larger, found in steps.items()} == {
        "middle": "supported",
        "large": "inconclusive",
    }
    assert sizes.ladder_verdict(steps) == "supported (up to middle), inconclusive (up to large)"
    assert sizes.ladder_verdict({"middle": steps["middle"]}) == "supported"
    assert sizes.step_named("sid", steps["large"]) == "Speaker identification, from middle to large: inconclusive"
    sums = outcomes.groupby(["encoder", "layer"])[["errors", "length"]].sum()
    shares = [(sums.loc[name, "errors"] / sums.loc[name, "length"]).min() for name in made_of]
    told = sizes.errors_sentence("sid", outcomes, list(made_of)).replace("\N{NO-BREAK SPACE}", " ")
    assert told.endswith(" is {:.0f} %, {:.0f} % and {:.0f} %.".format(*(100 * share for share in shares)))
