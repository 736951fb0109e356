"""Encoders side by side: each on people whom it has not heard, with its own controls."""

import pandas as pd
import pytest
from test_layers import outcomes

from fairlib.base.tasks import TASKS
from fairlib.display.tables import written
from fairlib.encoders import encoder_fingerprint, heard
from fairlib.findings.survey import (
    by_depth,
    encoders_table,
    every_encoder,
    layers_table,
    published,
    published_twin,
    side_by_side,
    strangers,
)


def test_the_table_tells_the_best_layer_and_its_controls():
    phones = {"a": [0.5, 0.4, 0.3, 0.4], "random:a": [0.6, 0.6, 0.6, 0.6], "logmel": [0.4], "b": [0.5, 0.5, 0.5, 0.45]}
    drawn = outcomes(phones, spread=0.05, length=4000).assign(unit="phone")
    family = {name: drawn[drawn["encoder"].isin([name, f"random:{name}", "logmel"])] for name in "ab"}
    table = encoders_table(family).set_index("encoder")
    assert table.index.tolist() == ["a", "b"]
    best, less = written(table.loc["a", "phone error rate"]).replace("\N{NO-BREAK SPACE}%", " %").split("\n")
    assert best == "30 % (layer 1)"
    logmel, twin = (float(value.replace("\N{MINUS SIGN}", "-").removesuffix(" %")) for value in less.split(", "))
    assert logmel == pytest.approx(-25, abs=1) and twin == pytest.approx(-50, abs=1)
    best, less = written(table.loc["b", "phone error rate"]).split("\n")
    assert best.endswith("(layer 2)") and less.startswith("+") and "," not in less  # no twin
    assert "speaker identification error rate" not in table  # of which nothing was given


def test_every_layer_is_told_beside_log_mel_and_a_shared_twin_once():
    phones = {"a": [0.5, 0.4, 0.3, 0.4], "random:a": [0.6, 0.6, 0.6, 0.6], "logmel": [0.4]}
    drawn = outcomes(phones, spread=0.05, length=4000).assign(unit="phone")
    shared = drawn.replace({"encoder": {"a": "b", "random:a": "random:b"}})
    shared["errors"] = shared["errors"].where(shared["encoder"] != "b", 0)
    family = {"a": drawn, "b": shared}
    table = layers_table(family, "phone").set_index("encoder")
    assert table.columns.tolist() == ["cnn", "0", "1", "2", "log-mel"]
    assert table.index.tolist() == ["a", "untrained twin of a", "b"]
    sums = drawn[(drawn["encoder"] == "a") & (drawn["layer"] == "1")][["errors", "length"]].sum()
    assert table.loc["a", "1"].value == sums["errors"] / sums["length"]
    assert set(table.loc["b", ["cnn", "0", "1", "2"]].map(written)) == {"0.0"}
    assert layers_table(family, "char").empty


def test_encoders_of_one_depth_stand_together_the_deepest_first():
    family = every_encoder("speechocean762")
    depths = by_depth(family)
    assert list(depths) == [12, 6] and sum(map(len, depths.values())) == len(family)
    assert "midi-hubert" in depths[12] and "pocket-hubert" in depths[6]
    shown = side_by_side(depths[6], "phone", "mini-hubert-long", " with 6 blocks")
    assert "random:pocket-hubert" in set(shown["errors"]["encoder"])
    assert shown["title"].startswith("Phone error rate with 6 blocks, at each pretrained encoder")


def test_side_by_side_stand_the_pretrained_with_one_twin():
    family = every_encoder("speechocean762")
    shown = side_by_side(family, "phone", "pocket-hubert", ", here")
    minis = {
        "micro-hubert", "midi-hubert", "mini-hubert", "mini-hubert-learners", "mini-hubert-long", "mini-wavlm",
        "mini-wavlm-long",
    }  # fmt: skip
    first = {"pocket-hubert", "pocket-hubert-children", "pocket-wav2vec2", "pocket-wavlm"}
    assert set(shown["errors"]["encoder"]) == {*first, *minis, "random:pocket-hubert", "logmel"}
    told, less = shown["title"].split("; relative reduction ")
    assert told.endswith("(micro-hubert)") and told.startswith("Phone error rate, here, at each pretrained encoder")
    lowest = shown["errors"].groupby("encoder")["error"].min()
    share = 1 - lowest["pocket-hubert-children"] / lowest["micro-hubert"]
    assert less.startswith(f"{100 * share:.1f}\N{NO-BREAK SPACE}% [")
    assert side_by_side(every_encoder("planted"), "phone") is None


def test_an_encoder_that_has_heard_some_people_stands_among_strangers():
    family = every_encoder("speechocean762")
    assert "speechocean762" in heard("pocket-hubert-children") and "speechocean762" not in heard("pocket-hubert")
    unheard = strangers("speechocean762")
    assert set(family["pocket-hubert-children"]["speaker_id"]) == unheard
    speakers = family["pocket-hubert"].query("unit == 'speaker'")
    assert unheard < set(speakers["speaker_id"])
    assert set(speakers["encoder"]) == {"pocket-hubert", "random:pocket-hubert", "logmel"}


def test_encoders_of_one_shape_share_their_untrained_twin():
    which = TASKS["phone"].main
    one, other = (
        published_twin(name, "speechocean762", *which) for name in ("pocket-hubert", "pocket-hubert-children")
    )
    assert encoder_fingerprint("random:pocket-hubert") == encoder_fingerprint("random:pocket-hubert-children")
    assert set(other["encoder"]) == {"random:pocket-hubert-children"}
    pd.testing.assert_frame_equal(one.drop(columns="encoder"), other.drop(columns="encoder"))
    assert published("random:pocket-hubert-children", "speechocean762", *which).empty
    assert encoder_fingerprint("random:pocket-wav2vec2") != encoder_fingerprint("random:pocket-hubert")


def test_an_encoder_that_has_heard_everybody_is_left_out():
    assert len(published("pocket-hubert", "commonvoice", *TASKS["sid"].main))
    assert "commonvoice" in heard("pocket-hubert") and every_encoder("commonvoice") == {}
