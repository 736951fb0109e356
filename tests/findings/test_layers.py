"""Errors by layer, and findings of what was learnt, on outcomes with known truth."""

import re

import numpy as np
import pandas as pd
import pytest

from fairlib.encoders import heard
from fairlib.findings.layers import along_training, layer_errors, reduction, what_was_learnt, which_depths
from fairlib.findings.marks import marks_in_context, marks_table
from fairlib.findings.survey import strangers
from fairlib.outcomes import published_outcomes

LAYERS = ["cnn", "0", "1", "2"]


def outcomes(errors: dict[str, list[float]], task="phone", speakers=60, length=400, spread=0.2, seed=0):
    """Speakers with a rate of their own, alike at all layers and encoders, around each layer's error."""
    rng = np.random.default_rng(seed)
    own = np.exp(spread * rng.standard_normal(speakers))
    rows = []
    for encoder, rates in errors.items():
        for layer, rate in zip(LAYERS if len(rates) > 1 else ["logmel"], rates):
            wrong = rng.binomial(length, np.clip(rate * own, 0, 1))
            people = [f"s{number}" for number in range(speakers)]
            table = pd.DataFrame({"speaker_id": people, "errors": wrong, "length": length, "layer": layer})
            table["utterance_id"] = table["speaker_id"]
            rows.append(table.assign(encoder=encoder, task=task, unit="u", probe="linear"))
    return pd.concat(rows, ignore_index=True)


def test_intervals_cover_the_true_error():
    covered = []
    for seed in range(200):
        rows = outcomes({"e": [0.3, 0.3, 0.3, 0.3]}, speakers=40, seed=seed)
        rows["speaker_id"] += f"-{seed}"  # other people, other resamples
        table = layer_errors(rows, resamples=400)
        assert table["layer"].tolist() == LAYERS and (table["n_speakers"] == 40).all()
        truth = 0.3 * np.exp(0.2**2 / 2)
        covered.append((table["low"] <= truth) & (truth <= table["high"]))
    assert 0.90 <= np.mean(covered) <= 0.99


def test_errors_count_units_not_speakers():
    rows = outcomes({"e": [0.2, 0.2, 0.2, 0.2]})
    rows.loc[0, ["errors", "length"]] = [4000, 4000]
    mine = rows[rows["layer"] == "cnn"]
    assert layer_errors(rows)["error"].iloc[0] == mine["errors"].sum() / mine["length"].sum()


def test_reduction_is_relative_and_paired():
    rows = outcomes({"e": [0.4, 0.3, 0.2, 0.3], "logmel": [0.4]}, spread=0.5)
    found = reduction(rows, "e", "logmel")
    assert found["low"] < found["estimate"] < found["high"]
    assert found["estimate"] == pytest.approx(0.5, abs=0.03)
    # Speakers differ by far more than the interval is wide, since both encoders meet the same ones.
    assert found["high"] - found["low"] < 0.06


@pytest.mark.parametrize(
    ("mine", "verdict"), [([0.6, 0.5, 0.3, 0.4], "supported"), ([0.7, 0.68, 0.68, 0.7], "contradicted"),
                          ([0.6, 0.56, 0.55, 0.6], "inconclusive")],
)  # fmt: skip
def test_what_was_learnt(mine, verdict):
    rows = outcomes({"e": mine, "random:e": [0.7, 0.66, 0.66, 0.7], "logmel": [0.6]})
    finding = what_was_learnt(rows, "e")
    assert finding.verdict == verdict
    assert {row["control"] for row in finding.evidence} == {"logmel", "random:e"}
    if verdict == "supported":
        assert "layer 1" in finding.sentence
        below = re.search(r"([\d.]+)\s% \[([\d.]+), ([\d.]+)\] below log-mel’s and", finding.sentence)
        assert [float(value) for value in below.groups()] == pytest.approx([49, 48, 50], abs=1)


@pytest.mark.parametrize(
    ("phones", "verdict", "words"),
    [
        ([0.5, 0.4, 0.3, 0.2], "supported", "identified best at layer cnn, phones classified best at layer 2."),
        ([0.2, 0.4, 0.3, 0.4], "contradicted", "Layer cnn is best for both"),
        ([0.2005, 0.4, 0.3, 0.2], "inconclusive", "with other speakers this could be reversed"),
    ],
)
def test_which_depths(phones, verdict, words):
    # One unit a frame, so that chance matters, in the third case most.
    rows = [outcomes({"e": [0.1, 0.2, 0.3, 0.3]}, "sid"), outcomes({"e": phones}, "phone", seed=7)]
    finding = which_depths(pd.concat(rows), "e")
    assert finding.verdict == verdict and words in finding.sentence


def test_along_training_takes_the_layer_that_is_best_then():
    tables = {200: outcomes({"e": [0.6, 0.5, 0.4, 0.3]}), 0: outcomes({"e": [0.7, 0.8, 0.8, 0.9]})}
    path = along_training(tables, {0: 0.0, 100: 0.5, 200: 1.0})
    assert path["x"].tolist() == [0.0, 1.0] and path["layer"].tolist() == ["cnn", "2"]
    assert path["value"].iloc[1] < path["value"].iloc[0] and (path["low"] < path["high"]).all()


def test_the_marks_of_a_shipped_encoder_are_those_of_its_published_outcomes():
    def error(encoder: str, layer: str) -> float:
        rows = published_outcomes(encoder, "speechocean762", "phone", "linear")
        rows = rows[rows["layer"] == layer]
        return rows["errors"].sum() / rows["length"].sum()

    row = marks_table().set_index("encoder").loc["mini-hubert"]
    points, at = row["phones, speechocean762: below layer 0 (points)"].parts
    best = at.strip(" ()")
    assert points.value == pytest.approx(100 * (error("mini-hubert", "0") - error("mini-hubert", best)))
    # Its layer 0 hears a single frame, and so does this log-mel.
    less = 1 - error("mini-hubert", best) / error("logmel-25ms", "logmel")
    assert row["phones, speechocean762: below log-mel (%)"].value == pytest.approx(less)


def test_the_marks_are_told_against_a_wider_spectrogram_too():
    said = marks_in_context("mini-hubert-long").replace("\N{NO-BREAK SPACE}", " ")
    for corpus in ("librispeech", "speechocean762"):
        rows = published_outcomes("mini-hubert-long", corpus, "phone", "linear")
        mel = published_outcomes("logmel-105ms", corpus, "phone", "linear")
        mel = mel[mel["speaker_id"].isin(rows["speaker_id"])]
        sums = rows[~rows["layer"].isin(["cnn", "0"])].groupby("layer")[["errors", "length"]].sum()
        less = 1 - (sums["errors"] / sums["length"]).min() / (mel["errors"].sum() / mel["length"].sum())
        assert 0 < less < 0.15 and f"{100 * less:.0f} % ({corpus})" in said
    met = int(marks_table().set_index("encoder").loc["mini-hubert-long", "marks met"].split()[0])
    assert f"and {met - 2} of 7 marks would be met" in said


def test_the_last_mark_is_whether_speakers_and_phones_are_best_at_different_layers():
    table = marks_table().set_index("encoder")
    for name, row in table.iterrows():
        best = []
        for task, unit in (("sid", "speaker"), ("phone", "phone")):
            rows = published_outcomes(name, "speechocean762", task, "linear")
            if {"speechocean762"} & heard(name):
                rows = rows[rows["speaker_id"].isin(strangers("speechocean762"))]
            sums = rows[rows["unit"] == unit].groupby("layer")[["errors", "length"]].sum()
            best.append((sums["errors"] / sums["length"]).idxmin())
        layers, differ = row["best for speakers, for phones"].split("\n")
        assert layers.split(", ") == best
        assert (differ == "the same") == (best[0] == best[1])
    # Fine-tuning moves what phones need to late blocks, and speakers lose there.
    assert table.loc["mini-hubert-asr-librispeech", "best for speakers, for phones"] == "2, 11\nthey differ"
