"""Encoders of every family with drawn configurations: features are those of transformers' model and preprocessing."""

import contextlib
import gc
import json
import random
import weakref

import numpy as np
import pytest
import torch
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
    WhisperModel,
)

from fairlib.encoders import SUPPORTED, load_encoder, quiet_transformers

DRAWS = 4


def _convolutional(draw):
    """What any wav2vec 2.0 or relative may say, much of it for training only, which must not show in features."""
    return dict(
        hidden_size=draw([16, 32]), num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        hidden_act=draw(["gelu", "relu", "swish"]), feat_extract_activation=draw(["gelu", "relu"]),
        conv_bias=draw([True, False]), conv_dim=(16,) * 7,
        conv_kernel=(10, 3, 3, 3, 3, 2, 2), conv_stride=(5, 2, 2, 2, 2, 2, 2), num_conv_pos_embeddings=draw([7, 16]),
        num_conv_pos_embedding_groups=draw([1, 2]),
        mask_time_prob=draw([0.0, 0.5]), mask_feature_prob=draw([0.0, 0.5]), layerdrop=0.5, hidden_dropout=0.3,
        attention_dropout=0.3, activation_dropout=0.3, feat_proj_dropout=0.3,
    )  # fmt: skip


def _whisper(draw):
    return dict(
        d_model=16, encoder_layers=2, encoder_attention_heads=2, decoder_layers=1, decoder_attention_heads=2,
        encoder_ffn_dim=24, decoder_ffn_dim=24, vocab_size=50, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        decoder_start_token_id=1, num_mel_bins=draw([80, 128]), max_source_positions=draw([100, 1500]),
        activation_function=draw(["gelu", "relu"]), scale_embedding=draw([True, False]),
    )  # fmt: skip


def _w2v_bert(draw):
    return dict(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, layerdrop=0.5,
        feature_projection_input_dim=draw([160, 80]), hidden_act=draw(["swish", "gelu"]),
        add_adapter=draw([True, False]),
        position_embeddings_type=draw(["relative_key", "relative", "rotary", None]), apply_spec_augment=True,
        conv_depthwise_kernel_size=draw([3, 31]), left_max_position_embeddings=draw([8, 64]),
    )  # fmt: skip


# What is peculiar to a family, beside what its kind has.
PECULIAR = {
    "wav2vec2": lambda draw: dict(adapter_attn_dim=draw([None, 4]), add_adapter=draw([True, False])),
    "hubert": lambda draw: dict(
        conv_pos_batch_norm=draw([True, False]),
        feat_proj_layer_norm=draw([True, False]),
        adapter_attn_dim=draw([None, 4]),
    ),
    "wavlm": lambda draw: dict(num_buckets=draw([32, 320]), max_bucket_distance=draw([40, 800])),
    "unispeech": lambda draw: dict(adapter_attn_dim=draw([None, 4])),
    "unispeech-sat": lambda draw: dict(adapter_attn_dim=draw([None, 4])),
    "data2vec-audio": lambda draw: dict(conv_pos_kernel_size=draw([4, 5]), num_conv_pos_embeddings=draw([1, 3])),
    "sew": lambda draw: dict(squeeze_factor=draw([1, 2, 3])),
    "wav2vec2-conformer": lambda draw: dict(
        position_embeddings_type=draw(["relative", "rotary", None]), conv_depthwise_kernel_size=draw([3, 7])
    ),
    "whisper": _whisper,
    "wav2vec2-bert": _w2v_bert,
}


def configuration(family, number):
    """A family's configuration of that number; the norms, which matter most, come in all four pairs."""
    draw = random.Random(f"{family} {number} 41").choice
    if family in ("whisper", "wav2vec2-bert"):
        return PECULIAR[family](draw)
    norms = {"feat_extract_norm": ["group", "layer"][number % 2], "do_stable_layer_norm": number > 1}
    return _convolutional(draw) | norms | PECULIAR[family](draw)


def saved(family, number, folder):
    """A checkpoint with that configuration, its feature extractor in one of the two files; transformers' own model."""
    config = AutoConfig.for_model(family, **configuration(family, number))
    model_class = WhisperModel if family == "whisper" else AutoModel
    torch.manual_seed(number)
    model = WhisperModel(config) if family == "whisper" else AutoModel.from_config(config)
    with torch.no_grad():  # norms begin as ones and zeros, and batch norms as if they had seen nothing
        for values in [*model.parameters(), *model.buffers()]:
            if values.is_floating_point():
                values.add_(0.1 * torch.rand_like(values))
    with quiet_transformers():
        model.save_pretrained(folder)
    normalise = number in (0, 3)  # with each of the norms once, and without
    if family == "whisper":
        extractor = WhisperFeatureExtractor(config.num_mel_bins, chunk_length=config.max_source_positions // 50)
    elif family == "wav2vec2-bert":
        extractor = SeamlessM4TFeatureExtractor(num_mel_bins=config.feature_projection_input_dim // 2)
    else:
        extractor = Wav2Vec2FeatureExtractor(do_normalize=normalise, return_attention_mask=True)
    if number > 1:
        extractor.save_pretrained(folder)
    else:  # as transformers 5 saves a processor
        (folder / "processor_config.json").write_text(json.dumps({"feature_extractor": extractor.to_dict()}))
    return model_class.from_pretrained(folder).eval()


def theirs(model, folder, audio):
    """Layers 0 to L of transformers' own forward pass, ``[frames, D]`` each, without what only fills up.

    w2v-BERT fills an odd number of filter-bank frames up to an even one, and masks the frame that half of it is.
    """
    inputs = AutoFeatureExtractor.from_pretrained(folder)(audio, sampling_rate=16000, return_tensors="pt")
    encoder, last = model.encoder, {}
    hook = encoder.register_forward_hook(lambda _module, _arguments, output: last.update(frames=output[0]))
    with torch.no_grad():
        run = encoder if model.config.model_type == "whisper" else model
        states = run(**inputs, output_hidden_states=True).hidden_states
    hook.remove()
    filled = model.config.model_type == "wav2vec2-bert"
    heard = int(inputs["attention_mask"].sum()) if filled else last["frames"].shape[1]
    return [layer[0, :heard] for layer in (*states[:-1], last["frames"])]


@pytest.mark.filterwarnings("ignore:.*the language adapter")
@pytest.mark.parametrize("family", sorted(SUPPORTED))
def test_features_are_transformers_own_whatever_the_configuration(family, tmp_path):
    rng = np.random.default_rng(0)
    speech = [
        (0.02 + 0.1 * rng.standard_normal(n) * np.sin(np.arange(n) / 900)).astype(np.float32)
        for n in (6170, 9999, 5000)
    ]
    for number in range(DRAWS):
        folder = tmp_path / str(number)
        model = saved(family, number, folder)
        config = json.loads((folder / "config.json").read_text())
        returns = {"return_dict": number != 1, "output_hidden_states": number == 2, "architectures": None}
        (folder / "config.json").write_text(json.dumps(config | returns))
        encoder = load_encoder(str(folder), device="cpu")
        together, alone = encoder.layers_of(speech), encoder.layers_of(speech[:1])
        for layer, expected in zip(
            [name for name in encoder.layers if name != "cnn"], theirs(model, folder, speech[0])
        ):
            frames = alone[layer][0]
            assert len(frames) == len(expected) or family == "whisper"  # which fills up half a minute
            torch.testing.assert_close(frames, expected[: len(frames)], atol=1e-5, rtol=1e-5, msg=f"{layer} {config}")
        for layer in encoder.layers:
            apart = (together[layer][0] - alone[layer][0]).abs().max() / alone[layer][0].abs().max()
            assert apart < 1e-4, (layer, config)


@pytest.mark.parametrize("family", ["hubert", "whisper", "wav2vec2-bert"])
def test_a_batch_that_the_memory_did_not_hold_is_let_go(family, tmp_path, monkeypatch):
    """Half as many are tried next, and find the memory that it took."""
    saved(family, 0, tmp_path)
    encoder, left = load_encoder(str(tmp_path), device="cpu"), []
    last = (encoder.model.layers if family == "whisper" else encoder.model.encoder.layers)[-1]

    def too_much(hidden, *_, **__):
        left.append(weakref.ref(hidden))
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(last, "forward", too_much)
    with contextlib.suppress(torch.OutOfMemoryError):
        encoder.layers_of([np.ones(8000, np.float32)] * 2)
    gc.collect()
    assert [one() for one in left] == [None]


def test_the_draws_meet_every_configuration_that_once_gave_wrong_features():
    """Guards the test above: an unlucky draw would let it pass without the configurations that it is for."""
    met = {
        (family, name, value)
        for family in PECULIAR
        for number in range(DRAWS)
        for name, value in configuration(family, number).items()
        if not isinstance(value, tuple)
    }
    assert any(configuration("wav2vec2", number)["adapter_attn_dim"] for number in (2, 3))  # pre-norm blocks have it
    assert met >= {
        *(("hubert", "conv_pos_batch_norm", value) for value in (True, False)),
        ("wav2vec2", "add_adapter", True),
        ("wav2vec2-bert", "add_adapter", True),
        *(("wav2vec2-bert", "feature_projection_input_dim", value) for value in (80, 160)),
        *(("wav2vec2-bert", "position_embeddings_type", value) for value in ("relative_key", "relative", "rotary")),
        *(("wav2vec2-conformer", "position_embeddings_type", value) for value in ("relative", "rotary", None)),
        *(("whisper", "max_source_positions", value) for value in (100, 1500)),
        *(("sew", "squeeze_factor", value) for value in (1, 2, 3)),
    }
