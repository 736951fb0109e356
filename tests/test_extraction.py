"""Extraction: all layers on disk, the same whatever the shards and batches, and nothing lost by a stop."""

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from transformers import HubertConfig, HubertModel

from fairlib import extraction
from fairlib.audio import AudioError, read_audio
from fairlib.encoders import load_encoder
from fairlib.extraction import ExtractionError, extract


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    HubertModel(
        HubertConfig(
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=16,
            conv_dim=(8,) * 7,
            num_conv_pos_embeddings=8,
            num_conv_pos_embedding_groups=2,
        )  # fmt: skip
    ).save_pretrained(folder)
    return load_encoder(str(folder), device="cpu")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder, rng, rows = tmp_path_factory.mktemp("audio"), np.random.default_rng(0), []
    for number in range(11):
        samples = int(rng.integers(4000, 20000))
        path = folder / f"u{number:02d}.wav"
        soundfile.write(path, 0.1 * rng.standard_normal(samples), 16000)
        rows.append((f"u{number:02d}", str(path), samples / 16000))
    return pd.DataFrame(rows, columns=["utterance_id", "path", "duration_s"])


def test_frames_and_pooled_agree_with_one_utterance_at_a_time(encoder, corpus, tmp_path):
    features = extract(encoder, corpus, tmp_path, frames=True)
    for row, path in enumerate(corpus["path"]):
        alone = encoder.layers_of([read_audio(path)])
        for layer in encoder.layers:
            expected = alone[layer][0].numpy()
            np.testing.assert_allclose(
                features.utterances(layer)[row], expected, atol=2e-3, rtol=2e-3
            )  # half precision
            statistics = np.concatenate([expected.mean(axis=0), expected.std(axis=0)])
            np.testing.assert_allclose(features.matrix(layer)[row], statistics, atol=1e-4)


def test_shards_and_batches_change_nothing(encoder, corpus, tmp_path, monkeypatch):
    whole = extract(encoder, corpus, tmp_path / "whole", frames=False)
    monkeypatch.setattr(extraction, "SHARD_UTTERANCES", 3)
    monkeypatch.setattr(extraction, "BATCH_SECONDS", 2.0)
    pieces = extract(encoder, corpus, tmp_path / "pieces", frames=False)
    assert len(pieces.shards) == 4
    for layer in encoder.layers:
        np.testing.assert_allclose(pieces.matrix(layer), whole.matrix(layer), atol=1e-5)


def test_a_stopped_run_goes_on_where_it_stopped(encoder, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(extraction, "SHARD_UTTERANCES", 3)
    decode, seen = extraction.read_audio, []

    def stops_after_seven(path):
        seen.append(path)
        if len(seen) > 7:
            raise KeyboardInterrupt
        return decode(path)

    monkeypatch.setattr(extraction, "read_audio", stops_after_seven)
    with pytest.raises(KeyboardInterrupt):
        extract(encoder, corpus, tmp_path, frames=False)
    finished = {shard.name: shard.stat().st_mtime_ns for shard in tmp_path.glob("0000?")}
    assert sorted(finished) == ["00000", "00001"]

    monkeypatch.setattr(extraction, "read_audio", decode)
    features = extract(encoder, corpus, tmp_path, frames=False)
    assert all((tmp_path / name).stat().st_mtime_ns == time for name, time in finished.items())
    assert len(features.matrix("1")) == len(corpus)


def test_shards_of_other_utterances_are_not_taken_for_ours(encoder, corpus, tmp_path):
    extract(encoder, corpus, tmp_path, frames=False)
    others = corpus.iloc[::-1].reset_index(drop=True)
    features = extract(encoder, others, tmp_path, frames=False)
    fresh = extract(encoder, others, tmp_path / "fresh", frames=False)
    np.testing.assert_array_equal(features.matrix("1"), fresh.matrix("1"))


def test_shards_without_frames_do_not_do_where_frames_are_asked_for(encoder, corpus, tmp_path):
    pooled = extract(encoder, corpus, tmp_path, frames=False).matrix("1")
    features = extract(encoder, corpus, tmp_path, frames=True)
    assert len(features.utterances("1")) == len(corpus)
    np.testing.assert_allclose(features.matrix("1"), pooled, atol=1e-6)


def test_bad_audio_is_named(encoder, corpus, tmp_path):
    short = corpus.assign(duration_s=[0.05, *corpus["duration_s"][1:]])
    with pytest.raises(ExtractionError, match="u00 lasts 0.050 s"):
        extract(encoder, short, tmp_path, frames=False)
    gone = corpus.assign(path=[*corpus["path"][:-1], str(tmp_path / "gone.wav")])
    with pytest.raises(AudioError, match=r"gone\.wav does not exist"):
        extract(encoder, gone, tmp_path / "b", frames=False)
    assert not list((tmp_path / "b").glob("0000?"))
