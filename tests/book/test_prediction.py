"""What a study will take: counted numbers are exact, for models that are really made; the rest is of the right size."""

import json

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from torch.nn.utils import parametrize
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModel

from bench import full_width
from fairlib.book import prediction
from fairlib.book.prediction import encoder_size, frames_of, measured_speed, predict, told
from fairlib.book.studies import load_study, read_study, study_file
from fairlib.encoders.extraction import extract

TINY = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48,
    "conv_dim": [16] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip


@pytest.mark.parametrize("family", ["hubert", "wav2vec2", "data2vec-audio", "wavlm"])
def test_parameters_and_operations_are_those_of_the_model(family):
    """Against torch's own counter; WavLM's attention is one call that it cannot see into."""
    config = {"model_type": family, **TINY}
    size = encoder_size(config, seconds=3)
    model = AutoModel.from_config(AutoConfig.for_model(**config), attn_implementation="eager").eval()
    assert size["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    for module in model.modules():  # the counter stumbles over weights that are computed
        if parametrize.is_parametrized(module):
            parametrize.remove_parametrizations(module, "weight")
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        frames = model(torch.zeros(1, 48000)).last_hidden_state.shape[1]
    assert frames == frames_of(np.array([3.0]), size["steps"])[0]
    if family != "wavlm":
        assert counter.get_total_flops() / 3 == pytest.approx(size["operations"], rel=0.02)


def test_a_base_model_has_the_size_that_is_published():
    size = encoder_size({"model_type": "wav2vec2"})
    assert size["parameters"] == 94_371_712 and list(size["widths"]) == ["cnn", *map(str, range(13))]


def corpus(folder, seconds):
    rng = np.random.default_rng(0)
    rows = []
    for number, length in enumerate(seconds):
        path = folder / f"{number}.wav"
        soundfile.write(path, 0.1 * rng.standard_normal(int(16000 * length)), 16000)
        rows.append({"utterance_id": str(number), "path": str(path), "speaker_id": f"s{number % 4}"})
    return pd.DataFrame(rows).assign(corpus="noise", duration_s=seconds)


@pytest.mark.parametrize("name", ["random:{folder}", "logmel-25ms", "logmel-345ms"])
def test_the_disk_that_is_predicted_is_what_the_features_take(name, tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRLIB_CACHE", str(tmp_path / "cache"))
    from fairlib.encoders import load_encoder

    (tmp_path / "config.json").write_text(json.dumps({"model_type": "hubert", **TINY}))
    table, name = corpus(tmp_path, [0.5, 1.1, 2.03, 0.9]), name.format(folder=tmp_path)
    extract(load_encoder(name, device="cpu"), table, tmp_path / "features", frames=True)
    kept = [np.load(path) for path in (tmp_path / "features").rglob("*.npy") if "index" not in path.name]
    monkeypatch.setattr(prediction, "load_corpus", lambda name: table)
    calls = pd.DataFrame([{"encoder": name, "corpus": "noise", "call": "probe_speakers", "settings": {"seeds": 1}}])
    [row] = predict(calls, {}, device="cpu").to_dict("records")
    assert row["disk_gb"] * 1e9 == pytest.approx(sum(array.nbytes for array in kept))


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param({"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 6, "intermediate_size": 1536}),
        pytest.param({"do_stable_layer_norm": True, "feat_extract_norm": "layer"}, marks=pytest.mark.slow),
    ],
    ids=["small", "base width, stable layer norm"],
)
def test_from_audio_to_outcomes_it_takes_the_memory_that_was_predicted(tmp_path, shape):
    """Randomly initialised, in a process of its own, through probes of speakers and characters of all layers."""
    corpus_of = full_width.speech(tmp_path, utterances=4)
    name = full_width.encoder(tmp_path / "encoder", {"model_type": "hubert", **shape})
    foretold = full_width.predicted(name, corpus_of)
    went = full_width.alone("whole path", name, str(corpus_of), str(tmp_path))
    assert went["layers"] == [sorted(map(str, ["cnn", *range(foretold["layers"] - 1)]))] * 2
    assert 0.8 < went["memory_gb"] / foretold["memory_gb"] < 1.2


def test_half_precision_is_compared_with_single_at_every_layer(tmp_path):
    name = full_width.encoder(tmp_path / "encoder", {"model_type": "hubert", **TINY})
    apart = full_width.in_half_precision(name, full_width.speech(tmp_path, utterances=1))
    assert list(apart.index) == ["cnn", "0", "1", "2", "3"] and (apart > 0).all() and (apart < 0.1).all()


def test_the_full_size_study_is_predicted_without_a_network_or_corpora(monkeypatch):
    monkeypatch.delenv("FAIRLIB_DATA", raising=False)
    monkeypatch.setattr(prediction, "measured_speed", lambda *_, **__: 1e12)
    study, calls, jobs = load_study(study_file("full-size"))
    predicted = predict(calls, study.shape_of(), device="cpu").set_index("encoder")
    assert "unknown" not in predicted and len(predicted) == 28
    base, large = (predicted.loc[f"facebook/wav2vec2-{size}"] for size in ("base", "large"))
    assert 300e6 < large["parameters"] < 330e6 and large["hours"] > 2 * base["hours"] > 0
    assert large["disk_gb"] > 2 * base["disk_gb"] and large["memory_gb"] > base["memory_gb"]
    assert "facebook/wav2vec2-large " in told(predicted.reset_index(), "cpu")


def test_the_full_size_study_asks_what_the_published_one_asks():
    published, full = read_study(), read_study(study_file("full-size"))
    asked = {
        (row["call"], str(row["settings"]))
        for row in published[published["corpus"] == "speechocean762"].to_dict("records")
        if "iterations" not in row["settings"]  # which repeats a probe of encoders along our own pretraining
    }
    assert asked == {(row["call"], str(row["settings"])) for row in full.to_dict("records")}


def test_an_encoder_whose_shape_is_nowhere_is_said_to_be_unknown(monkeypatch):
    monkeypatch.setattr(prediction, "measured_speed", lambda *_, **__: 1e12)
    calls = pd.DataFrame(
        [
            {"encoder": name, "corpus": "speechocean762", "call": "probe_speakers", "settings": {"seeds": 1}}
            for name in ("lab/no-such-encoder", "lab/a-whisper", "logmel")
        ]
    )
    predicted = predict(calls, {"lab/a-whisper": {"model_type": "whisper"}}, device="cpu")
    table = told(predicted, "cpu")
    assert "No configuration of lab/no-such-encoder is available" in table
    assert "No prediction for whisper" in table and "logmel" in table


def test_speed_is_measured_on_the_device_at_hand():
    assert 1e8 < measured_speed(torch.float32, "cpu", seconds=0.05) < 1e14
