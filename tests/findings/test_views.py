"""Speaker identification in several views: what is judged, and what is told, on outcomes with known truth."""

import numpy as np
import pandas as pd
import pytest

from fairlib.bias.adjustment import adjusted_gaps
from fairlib.display.tables import written
from fairlib.findings import gap_tables
from fairlib.findings.robustness import other_phone_probes
from fairlib.findings.views import (
    FAIRER,
    PLAIN,
    controls_table,
    is_it_the_voice,
    own_group_table,
    verification_table,
    views_bias,
    views_table,
)

LAYERS = ("cnn", "0", "1")


def outcomes(gap: float, encoder="e", speakers=60, probe="linear", seed=0) -> pd.DataFrame:
    """Speakers of two groups, twenty utterances each; the second group has `gap` more errors at every layer."""
    rng = np.random.default_rng(seed)
    rows = []
    for layer, error in zip(LAYERS if encoder != "logmel" else ["logmel"], (0.4, 0.3, 0.2)):
        for speaker in range(speakers):
            group = "adult" if speaker % 2 else "child"
            rate = np.clip(error + (gap if group == "child" else 0) + 0.05 * rng.standard_normal(), 0.01, 0.99)
            rows.append(pd.DataFrame({"errors": rng.binomial(1, rate, 20)}).assign(
                layer=layer, speaker_id=f"s{speaker}", age_group=group,
                utterance_id=[f"s{speaker}-{take}" for take in range(20)],
            ))  # fmt: skip
    table = pd.concat(rows, ignore_index=True)
    return table.assign(encoder=encoder, task="sid", unit="speaker", probe=probe, seed=0, length=1, predicted="s1")


def views(gaps: dict[str, float]) -> dict[str, pd.DataFrame]:
    return {name: outcomes(gap, seed=place) for place, (name, gap) in enumerate(gaps.items())}


@pytest.mark.parametrize(
    ("gaps", "verdict"),
    [
        (dict.fromkeys((PLAIN, *FAIRER), 0.25), "supported"),
        ({PLAIN: 0.25} | dict.fromkeys(FAIRER, 0.0), "contradicted"),
        ({PLAIN: 0.25} | dict.fromkeys(FAIRER, -0.15), "contradicted"),  # turned round
        ({PLAIN: 0.25, **dict.fromkeys(FAIRER, 0.25), FAIRER[0]: 0.0}, "inconclusive"),
        (dict.fromkeys((PLAIN, *FAIRER), 0.0), "inconclusive"),
        ({PLAIN: 0.25, FAIRER[0]: 0.25, FAIRER[1]: 0.25}, "inconclusive"),  # the corpus does not allow the third
    ],
)
def test_the_voice_is_judged_by_all_fairer_views(gaps, verdict):
    finding = is_it_the_voice(views_bias([views(gaps)], "age_group"), "e", "child vs adult")
    assert finding.verdict == verdict
    assert finding.evidence[0]["layer"] == "1"  # the best one as it is
    assert ("does not allow: among a few" in finding.sentence) == (len(gaps) == 3)


def test_a_layer_that_is_asked_for_is_looked_at_and_the_criterion_says_so():
    bias = views_bias([views(dict.fromkeys((PLAIN, *FAIRER), 0.25))], "age_group")
    finding = is_it_the_voice(bias, "e", "child vs adult", layer="cnn")
    assert {row["layer"] for row in finding.evidence} == {"cnn"}
    assert (
        "The layer compared is layer cnn, as asked for." in finding.criterion
        and "At layer cnn of e, the layer asked for," in finding.sentence
    )
    assert list(views_table(bias, "e", "child vs adult", "cnn")) == ["view", "e, layer cnn"]
    with pytest.raises(ValueError, match="e has no layer '7': it has cnn, 0 and 1"):
        is_it_the_voice(bias, "e", "child vs adult", layer="7")


def test_the_table_sets_the_best_layer_beside_its_controls():
    both = [views(dict.fromkeys((PLAIN, FAIRER[0]), 0.2))]
    both.append({name: outcomes(0.2, "logmel", seed=9) for name in (PLAIN, FAIRER[0])})
    table = views_table(views_bias(both, "age_group"), "e", "child vs adult")
    assert list(table.columns) == ["view", "e, layer 1", "log-mel"] and len(table) == 2
    assert table["e, layer 1"].map(written).str.match(r"error \d\d\N{NO-BREAK SPACE}%\ngap \+\d\.\d\d \[").all()


def test_errors_that_name_the_own_group_are_set_beside_chance():
    rows = outcomes(0.0, speakers=10)
    someone = np.where(rows["speaker_id"] == "s1", "s3", "s1")  # all errors name an adult
    rows["predicted"] = np.where(rows["errors"] == 1, someone, rows["speaker_id"])
    table = own_group_table(rows, "age_group", "e").set_index("layer")
    assert list(table.index) == list(LAYERS)
    assert all(cell.parts[0].value == 0 for cell in table["errors of children"])
    told = "100\N{NO-BREAK SPACE}%\nby chance 44\N{NO-BREAK SPACE}%"  # four of nine others
    assert (table["errors of adults"].map(written) == told).all()


def test_controls_stand_in_the_order_of_the_encoders_and_layers():
    tables = {"linear": pd.concat([outcomes(0), outcomes(0, "logmel")])}
    code = pd.concat([t.assign(probe=p, errors=1500, length=1) for t in tables.values()
                      for p in ("online code", "uniform code")])  # fmt: skip
    table = controls_table(tables, code)
    assert table["encoder"].tolist() == ["e", "e", "e", "log-mel"]
    assert table["layer"].tolist() == ["cnn", "0", "1", "all"]
    assert (table["bits per speaker label"].map(written) == "1.50").all()


def test_verification_is_told_at_the_layer_of_the_lowest_equal_error():
    trials = {"verification: missed": outcomes(0.2, speakers=200), "verification: own group": outcomes(-0.1, seed=1)}
    table = verification_table([{PLAIN: outcomes(0.0)}, trials], "age_group")
    assert len(table) == 1  # what has no verification is left out
    row = table.iloc[0]
    assert row["layer"] == "1"

    def value(column: str) -> float:
        return 100 * row[column].value

    assert value("equal error rate") == pytest.approx(30, abs=2)  # half of the trials err at 20, half at 40
    assert value("false rejections: children") == pytest.approx(40, abs=2)
    assert value("false rejections: adults") == pytest.approx(20, abs=2)
    assert value("false acceptances: children") == pytest.approx(10, abs=2)
    assert value("false acceptances: adults") == pytest.approx(20, abs=2)


def test_gaps_are_adjusted_for_noise_and_for_every_other_group(monkeypatch):
    table = outcomes(0.2).query("layer == '0'")
    table = table.assign(sex=np.where(table["speaker_id"].str[1:].astype(int) % 3, "female", "male"), duration_s=2.0)
    noise = pd.Series(np.random.default_rng(1).normal(20, 3, len(table)), index=table["utterance_id"])
    monkeypatch.setattr(gap_tables, "recording_noise", lambda corpus: {"made": noise}[corpus])
    found = gap_tables.adjusted_for_recorded(table.assign(pace=noise.to_numpy() ** 2), "age_group", "made", ["pace"])
    measured = table.assign(snr_db=noise.to_numpy(), pace=noise.to_numpy() ** 2)
    pd.testing.assert_frame_equal(found, adjusted_gaps(measured, "age_group", ["pace", "snr_db", "sex"]))


def test_other_phone_probes_are_those_that_every_encoder_was_probed_with():
    kinds = other_phone_probes(["mini-hubert", "logmel"], "speechocean762")
    assert next(iter(kinds)) == "errors, linear"
    assert all(set(rows["encoder"]) == {"mini-hubert", "logmel"} for rows in kinds.values())
    assert other_phone_probes(["mini-hubert", "logmel"], "nowhere") == {}
