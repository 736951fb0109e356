"""One claim over many encoders: each verdict's p, Holm by hand, and who counts for which side."""

import numpy as np
import pandas as pd
import pytest

from fairlib.bias.simulation import simulate_outcomes
from fairlib.findings import Finding
from fairlib.findings.jointly import Judged, equivalence_p, jointly, judged, whole_claim


def each(*verdicts: tuple[str, float]) -> list[Judged]:
    return [
        Judged(f"lab/e{place}", None, excluded="gated")
        if verdict == "out"
        else Judged(f"lab/e{place}", Finding("c", "r", verdict, "s"), p)
        for place, (verdict, p) in enumerate(verdicts)
    ]


@pytest.mark.parametrize(
    ("verdicts", "holm", "over_all"),
    [
        # Five named: .004 × 5, .011 × 4, .016 × 3: three of five count, more than half.
        ("s.004 s.011 s.016 i1 out1", [0.02, 0.044, 0.048, 1, 1], "supported"),
        # The third times 3 is .06: two of five are not enough.
        ("s.004 s.011 s.02 i1 out1", [0.02, 0.044, 0.06, 1, 1], "inconclusive"),
        # Encoders that could not be judged are named, too: .02 × 5 would have been .02 × 1.
        ("s.02 out1 out1 out1 out1", [0.1, 1, 1, 1, 1], "inconclusive"),
        # One that counts against is enough to leave it open; its p is corrected among those against.
        ("s.001 s.001 s.001 c.009 i1", [0.005, 0.005, 0.005, 0.045, 1], "inconclusive"),
        ("s.001 s.001 s.001 c.02 i1", [0.005, 0.005, 0.005, 0.1, 1], "supported"),
        ("c.001 c.001 c.001 d1 i1", [0.005, 0.005, 0.005, 1, 1], "contradicted"),
        # A half is not more than half.
        ("s.001 s.001 i1 i1", [0.004, 0.004, 1, 1], "inconclusive"),
    ],
)
def test_over_all_encoders_against_hand_computed_examples(verdicts, holm, over_all):
    names = {
        "s": "supported",
        "c": "contradicted",
        "i": "inconclusive",
        "d": "depends on the scale",
        "out": "out",
    }
    read = [(word.rstrip(".0123456789"), word.lstrip("abcdefghijklmnopqrstuvwxyz")) for word in verdicts.split()]
    finding, corrected = jointly("a claim", each(*((names[name], float(p)) for name, p in read)))
    assert [one.holm for one in corrected] == pytest.approx(holm)
    assert finding.verdict == over_all
    assert len(finding.evidence) == len(holm) and f"all {len(holm)} encoders" in finding.criterion


def test_the_sentence_says_who_counts_for_what():
    finding, _ = jointly("c", each(("supported", 0.001), ("contradicted", 0.001), ("inconclusive", 1), ("out", 1)))
    assert finding.sentence == (
        "1 of 4 encoders count for the claim (e0); 1 against it (e1); 1 for neither; 1 could not be judged (e3)."
    )


def test_a_claim_with_two_tests_needs_both():
    assert whole_claim(["contradicted", "contradicted"]) == "contradicted"
    assert whole_claim(["supported", "inconclusive"]) == "inconclusive"
    assert whole_claim(["inconclusive", "inconclusive"]) == "inconclusive"


@pytest.mark.parametrize("high", [0.19, 0.2, 0.21])
def test_an_equivalence_p_says_just_what_the_interval_says(high):
    p = equivalence_p(0.1, -0.05, high, 0.2)
    assert (p < 0.05) == (high < 0.2) or p == pytest.approx(0.05)
    assert equivalence_p(-0.1, -high, 0.05, 0.2) == pytest.approx(p)


def outcomes(
    rates: dict[str, list[float]], name: str = "e", speakers: int = 150, units: int = 1, utterances: int = 20, **more
):
    """Outcomes at layers cnn, 0, 1, ...; 1 unit: of speaker identification, else in characters."""
    table = simulate_outcomes(rates, speakers=speakers, by="age_group", units=units, **more)
    layers = {str(place): "cnn" if place == 0 else str(place - 1) for place in range(20)}
    probe = "linear" if units == 1 else "context"
    return table.assign(layer=table["layer"].map(layers), encoder=name, probe=probe)


def judge(rule: str, table: pd.DataFrame, task: str = "sid", encoder: str = "e", pretrained: str = "") -> Judged:
    return judged(rule, encoder, table, task, "age_group", "child vs adult", pretrained)


def test_a_gap_from_the_first_layers_on_has_a_small_p_and_none_there_a_small_one_for_the_other_side():
    from_the_first = judge("begins", outcomes({"child": [0.3] * 6, "adult": [0.15] * 6}))
    assert from_the_first.verdict == "supported" and from_the_first.p < 0.05
    assert from_the_first.estimate.startswith("cnn: +") and "; 0: +" in from_the_first.estimate
    later = judge(
        "begins",
        outcomes(
            {"child": [0.25] * 2 + [0.4] * 4, "adult": [0.25] * 2 + [0.15] * 4}, speakers=900, spread=0.2, utterances=40
        ),
    )
    assert later.verdict == "contradicted" and later.p < 0.05
    nowhere = judge("begins", outcomes({"child": [0.25] * 6, "adult": [0.25] * 6}))
    assert nowhere.verdict == "inconclusive" and nowhere.p == 1


def test_at_a_saturated_first_layer_no_gap_is_no_evidence_and_where_all_are_saturated_nothing_is_judged():
    rates = {"child": [0.75] * 2 + [0.4] * 4, "adult": [0.75] * 2 + [0.2] * 4}
    open_ones = judge("begins", outcomes(rates, speakers=400, units=20, spread=0.2), "asr")
    assert open_ones.verdict == "contradicted" and open_ones.p == 1
    out = judge("begins", outcomes({"child": [0.8] * 6, "adult": [0.7] * 6}, units=20), "asr")
    assert out.verdict == "not judged" and out.excluded.startswith("saturated: even its best layer has 7")


def test_a_gap_that_goes_with_the_error_beyond_the_twins_is_found_in_its_direction():
    adult = np.array([0.1, 0.15, 0.2, 0.25, 0.3, 0.35])
    child = adult + np.array([0.02, 0.06, 0.12, 0.18, 0.24, 0.3])
    trained = outcomes({"child": list(child), "adult": list(adult)}, speakers=300)
    twin = outcomes({"child": list(adult + 0.1), "adult": list(adult)}, "random:e", speakers=300, seed=1)
    one = judge("pattern", pd.concat([trained, twin]))
    assert one.verdict == "supported" and one.p < 0.05 and one.estimate.startswith("slope +")


def test_what_fine_tuning_leaves_as_it_was_and_what_it_changes():
    rates = {"child": [0.3] * 4, "adult": [0.15] * 4}
    before = outcomes(rates, "before", speakers=150, units=20)
    same = before.assign(encoder="e")
    same.loc[same.index[::50], "errors"] += 1  # a few other errors: of layers without any nothing is said
    kept = judge("tuned", pd.concat([before, same]), "asr", pretrained="before")
    assert kept.verdict == "supported" and kept.p < 0.05 and "largest change" in kept.estimate
    moved = outcomes({"child": [0.15] * 4, "adult": [0.15] * 4}, "e", speakers=150, units=20, seed=1)
    changed = judge("tuned", pd.concat([before, moved]), "asr", pretrained="before")
    assert changed.verdict == "contradicted" and changed.p < 0.05


def test_a_contrast_that_is_not_there_excludes():
    table = outcomes({"old": [0.3] * 5, "young": [0.2] * 5})
    assert "no contrast 'child vs adult' among its outcomes: " in judge("begins", table).excluded
