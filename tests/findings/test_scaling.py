"""Encoders that differ in scale alone, compared."""

import pandas as pd
import pytest

from fairlib.bias import group_bias
from fairlib.bias.simulation import simulate_outcomes
from fairlib.findings import scaling

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
    found = scaling.does_it_close("size", outcomes, "age_group", "child vs adult", "small", "large")
    assert found is not None and found.verdict == verdict
    assert "large, the larger encoder" in found.sentence


@pytest.mark.parametrize(("again", "verdict"), [(NONE, "supported"), (GAP, "inconclusive")])
def test_a_second_seed_must_agree(again, verdict, monkeypatch):
    monkeypatch.setattr("fairlib.findings.pretraining.second_seed", lambda name: f"{name}-seed1@9")
    tables = {"small": GAP, "large": NONE, "small-seed1@9": GAP, "large-seed1@9": again}
    outcomes = pd.concat([made(children, name, seed) for seed, (name, children) in enumerate(tables.items())])
    found = scaling.does_it_close("size", outcomes, "age_group", "child vs adult", "small", "large")
    assert found is not None and found.verdict == verdict and len(found.facts["changes"]) == 2
    assert "in both pairs" in found.sentence and "Another seed alone changes" in found.sentence
    # Without the larger encoder's second training there is nothing to agree with.
    alone = outcomes[outcomes["encoder"] != "large-seed1@9"]
    found = scaling.does_it_close("size", alone, "age_group", "child vs adult", "small", "large")
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
    found = scaling.does_it_close("size", pd.concat(tables), "age_group", "child vs adult", "small", "large")
    assert found is not None and bool(found.facts["too_wrong"]) == warned == ("Caution" in found.sentence)


def test_each_step_of_a_ladder_is_judged_as_far_as_it_is_there():
    outcomes = pd.concat([made(GAP, "small", 0), made(GAP, "large", 1), made(NONE, "largest", 2)])
    names = ["small", "middle", "large", "largest"]
    found = scaling.up_the_ladder("size", outcomes, names, "age_group", "child vs adult")
    assert {larger: finding.verdict for larger, finding in found.items()} == {
        "large": "inconclusive",
        "largest": "supported",
    }
    assert scaling.up_the_ladder("size", pd.DataFrame(), names, "age_group", "child vs adult") == {}


def test_without_a_gap_none_can_become_smaller():
    outcomes = pd.concat([made(NONE, "small", 0), made(GAP, "large", 1)])
    found = scaling.does_it_close("size", outcomes, "age_group", "child vs adult", "small", "large")
    assert found is not None and found.verdict == "inconclusive" and "shows no gap" in found.sentence


def test_what_is_not_at_hand_is_not_judged():
    assert scaling.does_it_close("size", made(GAP, "small", 0), "age_group", "child vs adult", "small", "large") is None
    assert scaling.does_it_close("size", pd.DataFrame(), "age_group", "child vs adult", "small", "large") is None
    assert scaling.published_of(["no-such-encoder"], "phone", "speechocean762", "age_group").empty


def test_encoders_on_a_ladder_differ_in_scale_alone():
    for names in scaling.ladders("size"):
        weights = [scaling.parameters_of(name) for name in names]
        assert len(names) > 1 and weights == sorted(set(weights))
        assert len({max(scaling.hours_heard(name).values()) for name in names}) == 1
    for names in scaling.ladders("hours"):
        heard = [max(scaling.hours_heard(name).values()) for name in names]
        assert len(names) > 1 and heard == sorted(set(heard))
        assert len({scaling.parameters_of(name) for name in names}) == 1


@pytest.mark.parametrize(
    ("rule", "said"), [("size", "large, the larger encoder,"), ("hours", "large, which heard more,")]
)
def test_the_sentence_says_what_there_is_more_of(rule, said):
    outcomes = pd.concat([made(GAP, "small", 0), made(NONE, "large", 1)])
    found = scaling.does_it_close(rule, outcomes, "age_group", "child vs adult", "small", "large")
    assert found is not None and said in found.sentence and found.criterion == scaling.CRITERIA[rule]


def test_each_encoder_has_its_row():
    outcomes = pd.concat([made(GAP, "mini-wavlm", 0), made(NONE, "mini-hubert", 1), made(GAP, "mini-wavlm-seed1@9", 2)])
    table = scaling.scaling_table(outcomes, group_bias(outcomes, "age_group"), "child vs adult")
    assert list(table["encoder"]) == ["mini-wavlm", "mini-hubert", "mini-wavlm, second seed"]
    assert table["million weights"].iloc[0] == table["million weights"].iloc[2]
    errors = [number.value for number in table["error"]]
    assert errors[0] > errors[1] == pytest.approx(0.3, abs=0.03)


def test_a_ladder_of_three_is_judged_step_by_step():
    made_of = {"small": GAP, "middle": NONE, "large": [0.65, 0.65]}
    outcomes = pd.concat([made(children, name, seed) for seed, (name, children) in enumerate(made_of.items())])
    steps = scaling.up_the_ladder(
        "size", outcomes, ["small", "absent", "middle", "large"], "age_group", "child vs adult"
    )
    assert {larger: found.verdict for larger, found in steps.items()} == {
        "middle": "supported",
        "large": "inconclusive",
    }
    assert scaling.ladder_verdict("size", steps) == "supported (up to middle), inconclusive (up to large)"
    assert scaling.ladder_verdict("hours", steps) == "supported (in middle), inconclusive (in large)"
    assert scaling.ladder_verdict("size", {"middle": steps["middle"]}) == "supported"
    assert scaling.ladder_verdict("size", {}) == "not judged"
    assert scaling.step_named("sid", steps["large"]) == "Speaker identification, from middle to large: inconclusive"
    sums = outcomes.groupby(["encoder", "layer"])[["errors", "length"]].sum()
    shares = [(sums.loc[name, "errors"] / sums.loc[name, "length"]).min() for name in made_of]
    told = scaling.errors_sentence("size", "sid", outcomes, list(made_of)).replace("\N{NO-BREAK SPACE}", " ")
    assert told.endswith(
        " is {:.0f} % (small), {:.0f} % (middle) and {:.0f} % (large).".format(*(100 * share for share in shares))
    )
