"""Encoders of every family, untrained and tiny: layers as transformers has them, and independent of the batch."""

import json

import numpy as np
import pytest
import torch
from transformers import (
    AutoModel,
    BertConfig,
    Data2VecAudioConfig,
    Data2VecAudioModel,
    HubertConfig,
    HubertForCTC,
    HubertModel,
    SEWConfig,
    SEWModel,
    UniSpeechSatConfig,
    UniSpeechSatModel,
    Wav2Vec2BertConfig,
    Wav2Vec2BertModel,
    Wav2Vec2Config,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
    WhisperModel,
)

from fairlib.cards import card
from fairlib.encoders import (
    SHIPPED,
    EncoderError,
    encoder_fingerprint,
    encoder_layers,
    load_encoder,
    shipped_encoders,
)

SMALL = dict(
    hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=48, conv_dim=(16,) * 7,
    num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2,
)  # fmt: skip
FAMILIES = {
    "hubert group norm": (HubertModel, HubertConfig(**SMALL, feat_extract_norm="group")),
    "hubert pre-norm": (HubertModel, HubertConfig(**SMALL, do_stable_layer_norm=True)),
    "wav2vec2 layer norm": (
        Wav2Vec2Model,
        Wav2Vec2Config(**SMALL, feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True),
    ),
    "wavlm": (WavLMModel, WavLMConfig(**SMALL)),
    "unispeech-sat": (UniSpeechSatModel, UniSpeechSatConfig(**SMALL)),
    "data2vec": (Data2VecAudioModel, Data2VecAudioConfig(**SMALL, conv_pos_kernel_size=5)),
    "sew": (
        SEWModel,
        SEWConfig(
            **{**SMALL, "conv_dim": (16,) * 7},
            squeeze_factor=2,
            conv_kernel=(10, 3, 3, 3, 3, 2, 2),
            conv_stride=(5, 2, 2, 2, 2, 2, 2),
        ),
    ),  # fmt: skip
}


@pytest.fixture(scope="module")
def speech():
    """Noise with a slow envelope, of unequal lengths: enough to tell frames apart."""
    rng = np.random.default_rng(0)
    return [
        (rng.standard_normal(n) * np.sin(np.arange(n) / 900)).astype(np.float32) * 0.1 for n in (16000, 41234, 7777)
    ]


@pytest.fixture(params=FAMILIES, ids=lambda name: name.replace(" ", "-"))
def folder(request, tmp_path):
    model_class, config = FAMILIES[request.param]
    torch.manual_seed(1)
    model_class(config).save_pretrained(tmp_path)
    return tmp_path


def test_layers_equal_the_whole_models_hidden_states(folder, speech):
    encoder = load_encoder(str(folder), device="cpu")
    layers = encoder.layers_of(speech[:1])
    assert encoder_layers(str(folder)) == encoder.layers == tuple(layers)
    audio = speech[0]
    if getattr(encoder.model.config, "feat_extract_norm", "layer") == "layer":
        audio = ((audio - audio.mean()) / audio.std()).astype(np.float32)
    with torch.inference_mode():
        whole = encoder.model(torch.from_numpy(audio)[None], output_hidden_states=True)
    assert encoder.layers == ("cnn", "0", "1", "2", "3")
    for number, expected in enumerate([*whole.hidden_states[:-1], whole.last_hidden_state]):
        torch.testing.assert_close(layers[str(number)][0], expected[0], atol=1e-4, rtol=1e-4)
    with torch.inference_mode():
        cnn = encoder.model.feature_extractor(torch.from_numpy(audio)[None])[0].T
    torch.testing.assert_close(layers["cnn"][0], cnn, atol=1e-4, rtol=1e-4)


def test_features_do_not_depend_on_the_batch(folder, speech):
    encoder = load_encoder(str(folder), device="cpu")
    together = encoder.layers_of(speech)
    for index, audio in enumerate(speech):
        alone = encoder.layers_of([audio])
        for layer in encoder.layers:
            torch.testing.assert_close(together[layer][index], alone[layer][0], atol=1e-5, rtol=1e-4)


def test_plain_padding_would_change_group_norm_features(tmp_path, speech):
    """The trap is real: this test guards the one above against passing for a trivial reason."""
    model = HubertModel(HubertConfig(**SMALL, feat_extract_norm="group")).eval()
    short, long = torch.from_numpy(speech[2]), torch.from_numpy(speech[1])
    padded = torch.nn.utils.rnn.pad_sequence([short, long], batch_first=True)
    with torch.inference_mode():
        alone = model.feature_extractor(short[None])[0].T
        batched = model.feature_extractor(padded)[0].T[: len(alone)]
    assert (alone - batched).abs().max() > 0.1 * alone.abs().mean()


def test_whisper_and_w2v_bert(tmp_path, speech):
    whisper = WhisperConfig(
        d_model=32, encoder_layers=2, encoder_attention_heads=2, decoder_layers=1, decoder_attention_heads=2,
        encoder_ffn_dim=32, decoder_ffn_dim=32, vocab_size=100, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        decoder_start_token_id=1,
    )  # fmt: skip
    WhisperModel(whisper).save_pretrained(tmp_path / "whisper")
    encoder = load_encoder(str(tmp_path / "whisper"), device="cpu")
    layers = encoder.layers_of(speech)
    assert encoder.layers == ("cnn", "0", "1", "2")
    assert [len(frames) for frames in layers["cnn"]] == [50, 129, 25]
    torch.testing.assert_close(layers["2"][2], encoder.layers_of(speech[2:])["2"][0], atol=1e-5, rtol=1e-4)
    with pytest.raises(EncoderError, match="at most 30 s"):
        encoder.layers_of([np.zeros(31 * 16000, np.float32)])

    bert = Wav2Vec2BertConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    Wav2Vec2BertModel(bert).save_pretrained(tmp_path / "w2v-bert")
    encoder = load_encoder(str(tmp_path / "w2v-bert"), device="cpu")
    layers = encoder.layers_of(speech)
    assert encoder.layers == ("0", "1", "2")
    torch.testing.assert_close(layers["2"][2], encoder.layers_of(speech[2:])["2"][0], atol=1e-5, rtol=1e-4)


def test_a_fine_tuned_checkpoint_gives_its_encoder(tmp_path, speech):
    model = HubertForCTC(HubertConfig(**SMALL, vocab_size=30)).eval()
    model.save_pretrained(tmp_path)
    layers = load_encoder(str(tmp_path), device="cpu").layers_of(speech[:1])
    with torch.inference_mode():
        expected = model.hubert(torch.from_numpy(speech[0])[None]).last_hidden_state[0]
    torch.testing.assert_close(layers["3"][0], expected, atol=1e-5, rtol=1e-4)


def test_random_twin_is_untrained_and_the_same_each_time(tmp_path, speech):
    torch.manual_seed(5)
    HubertModel(HubertConfig(**SMALL)).save_pretrained(tmp_path)
    state = torch.random.get_rng_state()
    first, second = (load_encoder(f"random:{tmp_path}", device="cpu") for _ in range(2))
    assert torch.equal(state, torch.random.get_rng_state())
    trained = load_encoder(str(tmp_path), device="cpu")
    layer = [e.layers_of(speech[:1])["3"][0] for e in (first, second, trained)]
    assert torch.equal(layer[0], layer[1])
    assert not torch.allclose(layer[0], layer[2], atol=1e-2)
    assert first.fingerprint == second.fingerprint != trained.fingerprint


def test_fingerprint_follows_the_weights(tmp_path):
    model = HubertModel(HubertConfig(**SMALL))
    model.save_pretrained(tmp_path)
    before = encoder_fingerprint(str(tmp_path))
    assert encoder_fingerprint(str(tmp_path)) == before
    with torch.no_grad():
        model.encoder.layers[0].final_layer_norm.bias[0] += 1e-3
    model.save_pretrained(tmp_path)
    assert encoder_fingerprint(str(tmp_path)) != before


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("pocket-huber", "no encoder 'pocket-huber'.*logmel"), ("logmal", "Did you mean 'logmel'")],
)
def test_an_unknown_name_suggests_a_known_one(name, sentence):
    with pytest.raises(EncoderError, match=sentence):
        load_encoder(name)


def test_unfit_folders_are_refused_in_one_sentence(tmp_path):
    with pytest.raises(EncoderError, match="holds no config.json"):
        load_encoder(str(tmp_path))
    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match="is a bert model, not a supported speech encoder"):
        load_encoder(f"random:{tmp_path}")
    HubertConfig(**SMALL).save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match="holds no weights"):
        load_encoder(str(tmp_path))


def test_missing_tensors_are_not_filled_with_random_numbers(tmp_path):
    HubertModel(HubertConfig(**SMALL)).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 4}))
    with pytest.raises(EncoderError, match="lack .* tensors, encoder.layers.3"):
        load_encoder(str(tmp_path))


def test_an_encoder_along_pretraining_is_found_by_its_step(tmp_path, monkeypatch, speech):
    monkeypatch.setenv("FAIRLIB_CACHE", str(tmp_path))
    with pytest.raises(EncoderError, match="no weights of tiny at step 400.*make them: fairlib pretrain tiny"):
        load_encoder("tiny@400")
    steps = tmp_path / "pretraining" / "tiny" / "steps"
    HubertModel(HubertConfig(**SMALL)).save_pretrained(steps / "400")
    assert load_encoder("tiny@400", device="cpu").name == "tiny@400"
    with pytest.raises(EncoderError, match="at step 800.*at hand are 400"):
        load_encoder("tiny@800")


def test_a_published_checkpoint_is_known_without_its_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRLIB_CACHE", str(tmp_path))
    known = tmp_path / "checkpoints.json"
    known.write_text(json.dumps({"tiny@400": "0123"}))
    monkeypatch.setattr("fairlib.encoders.CHECKPOINTS", known)
    assert encoder_fingerprint("tiny@400") == "0123"
    with pytest.raises(EncoderError, match="no weights of tiny at step 800"):
        encoder_fingerprint("tiny@800")


@pytest.mark.parametrize("name", shipped_encoders())
def test_a_shipped_encoder_loads_without_fairlib_and_its_card_says_what_its_sources_say(name):
    folder = SHIPPED / name
    model = AutoModel.from_pretrained(folder)
    assert sum(parameter.numel() for parameter in model.parameters()) < 4e6
    assert (folder / "README.md").read_text() == card(name)


def test_shipped_weights_stay_small():
    assert sum(file.stat().st_size for file in SHIPPED.glob("*/*.safetensors")) < 60e6
