"""Frames streamed through the encoder against frames from disk: the same batches, the same outcomes."""

import dataclasses
from collections import namedtuple

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import noises, tiny_encoder

from fairlib.encoders.extraction import extract, reader
from fairlib.encoders.features import told_bytes
from fairlib.probes import CharacterProbe, ProbeError, ctc, probe, probe_characters, stored
from fairlib.probes import frames as frames_module
from fairlib.probes.frames import StoredFrames, StreamedFrames, compare_frame_modes


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    table = noises(tmp_path_factory.mktemp("audio"), 24)
    texts = ["".join("ABC"[(row * step) % 3] for step in range(1, 4)) for row in range(24)]
    speakers = [f"s{row % 6}" for row in range(24)]
    split = np.where(np.arange(24) % 6 < 4, "train", "test")
    return table.assign(text=texts, speaker_id=speakers, corpus="noises", split=split)


def test_streamed_batches_are_those_from_disk(encoder, corpus, tmp_path):
    features = extract(encoder, corpus, tmp_path, frames=True)
    from_disk = StoredFrames([features.utterances(layer) for layer in encoder.layers])
    counts = np.array([features.counts(layer) for layer in encoder.layers])
    streamed = StreamedFrames(encoder, reader(corpus), counts, from_disk.widths)
    np.testing.assert_array_equal(streamed.lengths, from_disk.lengths)
    groups = [[3], [9, 0, 22], [5, 4]]
    for one, other in zip(from_disk.batches(groups), streamed.batches(groups), strict=True):
        for stored_layer, streamed_layer in zip(one, other, strict=True):
            torch.testing.assert_close(streamed_layer, stored_layer, atol=2e-3, rtol=2e-3)
    for one, other in zip(from_disk.statistics(range(20)), streamed.statistics(range(20)), strict=True):
        for stored_layer, streamed_layer in zip(one, other, strict=True):
            torch.testing.assert_close(streamed_layer, stored_layer, atol=1e-4, rtol=1e-4)


def test_squeezed_layers_are_stretched_alike(encoder, corpus, tmp_path):
    def squeezed(utterances):
        layers = encoder.layers_of(utterances)
        return {**layers, "1": [one[::2] for one in layers["1"]]}

    sew = dataclasses.replace(encoder, layers_of=squeezed)
    features = extract(sew, corpus, tmp_path, frames=True)
    from_disk = StoredFrames([features.utterances(layer) for layer in sew.layers])
    counts = np.array([features.counts(layer) for layer in sew.layers])
    streamed = StreamedFrames(sew, reader(corpus), counts, from_disk.widths)
    [one], [other] = from_disk.batches([[7, 1]]), streamed.batches([[7, 1]])
    assert len({len(layer) for layer in one}) == 1
    for stored_layer, streamed_layer in zip(one, other, strict=True):
        torch.testing.assert_close(streamed_layer, stored_layer, atol=2e-3, rtol=2e-3)


@pytest.mark.slow
def test_outcomes_of_streamed_frames_are_those_of_stored_ones(encoder, corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRLIB_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("FAIRLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ctc, "LEAST_STEPS", 24)
    corpus = corpus.iloc[:12]
    monkeypatch.setattr(stored.Work, "clear", lambda self: None)
    results = {}
    for mode in ("streamed", "stored"):
        short = CharacterProbe("linear", frames=mode, learning_rate=0.1, passes=2)
        rows = probe(encoder.name, short, corpus, force=True)
        results[mode] = rows.sort_values(["layer", "unit", "utterance_id"], ignore_index=True)
        kept = [path for path in (tmp_path / "cache").rglob("1.npy")]
        assert len(kept) == (0 if mode == "streamed" else 1)
    one, other = results["streamed"], results["stored"]
    chars = one[one["unit"] == "char"]
    assert chars["errors"].sum() > 0 and chars["deletions"].sum() < 0.9 * chars["length"].sum(), "nothing is compared"
    pd.testing.assert_frame_equal(one.drop(columns="errors"), other.drop(columns="errors"), check_dtype=False)
    assert (one["errors"] != other["errors"]).mean() < 0.05  # sums in another order


def test_the_cheaper_mode_follows_disk_and_passes(encoder, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(frames_module, "_encoder_speed", lambda *_: 10.0)
    monkeypatch.setattr(frames_module, "_disk_speed", lambda folder: (1e6, 1e6, 1e9))
    costs = compare_frame_modes(encoder, [corpus], 6, tmp_path)
    seconds = corpus["duration_s"].sum()
    size = costs.loc["stored", "bytes"]
    assert costs["hours"].to_list() == pytest.approx(
        [(seconds / 10 + size / 1e6 + 6 * size / 1e9) / 3600, seconds / 10 * 8 / 3600]
    )
    assert costs["cheaper"].to_list() == [True, False]
    monkeypatch.setattr(frames_module, "_disk_speed", lambda folder: (1e3, 1e3, 1e3))
    assert compare_frame_modes(encoder, [corpus], 6, tmp_path)["cheaper"].to_list() == [False, True]
    monkeypatch.setattr(frames_module, "_disk_speed", lambda folder: (1e9, 1e9, 1e9))
    full = namedtuple("usage", "free")(size - 1)
    monkeypatch.setattr(frames_module.psutil, "disk_usage", lambda _: full)
    costs = compare_frame_modes(encoder, [corpus], 6, tmp_path)
    assert costs["cheaper"].to_list() == [False, True] and not costs.loc["stored", "fits"]
    assert f"stored {told_bytes(size)}, which the disk has not" in frames_module.told_comparison(costs)


def test_speeds_are_measured(encoder, corpus, tmp_path):
    assert frames_module._encoder_speed(encoder, corpus) > 1  # times real time, of a tiny encoder
    assert min(frames_module._disk_speed(tmp_path, 1_000_000)) > 1000


def test_an_unknown_mode_is_refused(corpus):
    with pytest.raises(ProbeError, match="stored, streamed, or whichever is cheaper, not 'ram'"):
        probe_characters("logmel", corpus, frames="ram")
