"""Encoders of every family, untrained and tiny: layers as transformers has them, and independent of the batch."""

import json
import os
import shutil
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
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
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
    WhisperModel,
)

from fairlib.book import chapters
from fairlib.book.cards import card
from fairlib.book.runs import made_from
from fairlib.encoders import (
    SHIPPED,
    EncoderError,
    encoder_fingerprint,
    encoder_layers,
    load_encoder,
    our_encoders,
    parameters_of,
    pretraining_folder,
    shipped_encoders,
)
from fairlib.encoders.checkpoints import LOGMEL_AROUND
from fairlib.outcomes import published_outcomes

pytestmark = pytest.mark.filterwarnings("ignore:.*has no preprocessor_config.json")

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
    monkeypatch.setattr("fairlib.encoders.checkpoints.CHECKPOINTS", known)
    assert encoder_fingerprint("tiny@400") == "0123"
    with pytest.raises(EncoderError, match="no weights of tiny at step 800"):
        encoder_fingerprint("tiny@800")


@pytest.mark.parametrize("name", shipped_encoders())
def test_a_shipped_encoder_loads_without_fairlib_and_its_card_says_what_its_sources_say(name):
    folder = SHIPPED / name
    model = AutoModel.from_pretrained(folder)
    assert sum(parameter.numel() for parameter in model.parameters()) < 4e6
    assert (folder / "README.md").read_text() == card(name)


@pytest.mark.parametrize("name", sorted({*our_encoders()} - {*shipped_encoders()}))
def test_an_encoder_that_does_not_ship_has_a_card_and_published_outcomes(name):
    assert (SHIPPED / name / "README.md").read_text() == card(name) and "do not ship" in card(name)
    assert len(published_outcomes(name, "speechocean762"))
    config = AutoConfig.from_pretrained(SHIPPED / name)
    with torch.device("meta"):
        assert sum(each.numel() for each in AutoModel.from_config(config).parameters()) == parameters_of(name)


def test_weights_that_do_not_ship_are_known_by_their_fingerprint_and_found_where_they_were_made(tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRLIB_CACHE", str(tmp_path / "cache"))
    for name in ("small", "large"):
        shutil.copytree(SHIPPED / "micro-hubert", tmp_path / "ours" / name)
    made = pretraining_folder("large") / "encoder"
    made.parent.mkdir(parents=True)
    (tmp_path / "ours" / "large" / "model.safetensors").rename(tmp_path / "weights")
    (tmp_path / "known.json").write_text(json.dumps({"large": "0123"}))
    monkeypatch.setattr("fairlib.encoders.checkpoints.SHIPPED", tmp_path / "ours")
    monkeypatch.setattr("fairlib.encoders.checkpoints.CHECKPOINTS", tmp_path / "known.json")
    assert our_encoders() == ["large", "small"] and shipped_encoders() == ["small"]
    assert encoder_fingerprint("large") == "0123"
    assert encoder_fingerprint("random:large") == encoder_fingerprint("random:small")
    with pytest.raises(EncoderError, match="weights of large do not ship; make them: fairlib pretrain large"):
        load_encoder("large")
    shutil.copytree(tmp_path / "ours" / "large", made)
    (tmp_path / "weights").rename(made / "model.safetensors")
    assert encoder_fingerprint("large") == encoder_fingerprint("small")
    assert load_encoder("large").layers == load_encoder("small").layers


def test_shipped_weights_stay_small():
    assert sum(file.stat().st_size for file in SHIPPED.glob("*/*.safetensors")) < 100e6


@pytest.fixture
def small(tmp_path):
    """A folder with a small HuBERT that says everything it wants."""
    HubertModel(HubertConfig(**SMALL)).save_pretrained(tmp_path / "small")
    Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(tmp_path / "small")
    return tmp_path / "small"


def say(file, **settings):
    file.write_text(json.dumps((json.loads(file.read_text()) if file.exists() else {}) | settings))


# Published outcomes are known by these. A change here takes every one of them from the book.
PUBLISHED = {
    "mini-hubert": ("cd1b49168c83df09", "2ad13baa3476541f"),
    "mini-hubert-asr-librispeech": ("d3cbc6097488b02c", "a06b699fc7373ccc"),
    "mini-hubert-long": ("27ad953f9a277e53", "2ad13baa3476541f"),
    "mini-hubert-long-asr-librispeech": ("ab295111a247f757", "a06b699fc7373ccc"),
    "mini-hubert-learners": ("cbbb90ada11a0b37", "2ad13baa3476541f"),
    "mini-wavlm": ("65a5c1584e99d03f", "2ad13baa3476541f"),
    "mini-wavlm-long": ("f6f7521d8e3bd087", "2ad13baa3476541f"),
    "mini-wavlm-long-asr-librispeech": ("c7e391df70086bb5", "a06b699fc7373ccc"),
    "pocket-hubert": ("78f1e061e4bfedea", "9fcde509303f5fac"),
    "pocket-hubert-asr-librispeech": ("baa2240fb27ba702", "8b92ef571efcd930"),
    "pocket-hubert-asr-speechocean762": ("41c5ec2b1e6c3c87", "8b92ef571efcd930"),
    "pocket-hubert-children": ("9f3279bf63396ce5", "9fcde509303f5fac"),
    "pocket-hubert-it1": ("49f58906d3ba5918", "9fcde509303f5fac"),
    "pocket-wav2vec2": ("bc98b41ecf01a588", "690f7b3c2648060b"),
    "pocket-wav2vec2-asr-librispeech": ("7ee1360f4899836a", "addbe683ca3f9aa0"),
    "pocket-wavlm": ("ddb99b24072d2513", "47826501066f2dde"),
    "pocket-wavlm-asr-librispeech": ("7a7404c51f98a7cd", "87057b2e6733bb0c"),
}


def test_the_fingerprints_that_published_outcomes_are_known_by_stay():
    for name, (trained, untrained) in PUBLISHED.items():
        assert encoder_fingerprint(name)[:16] == trained
        assert encoder_fingerprint(f"random:{name}")[:16] == untrained
    assert encoder_fingerprint("logmel")[:16] == "cb47bdf093d0f48e"


def test_log_mel_in_context_stands_where_the_encoders_frames_do():
    """A click is heard in the frames that it is as near to as their name says, the nearest one loudest."""
    click = np.zeros(32000, np.float32)
    click[320 * 50 + 200] = 0.9  # the centre of frame 50
    near = {}
    for name, steps in LOGMEL_AROUND.items():
        encoder = load_encoder(name, device="cpu")
        frames, alone = (encoder.layers_of([audio])["logmel"][0] for audio in (click, click * 0))
        assert len(frames) == (32000 - 400) // 320 + 1
        heard = np.flatnonzero((frames - alone).abs().amax(dim=1) > 0.1)
        # 12.5 ms of window and the steps to either side, in frames of 20 ms.
        assert abs(heard - 50).max() == int((12.4 + 10 * steps) / 20)
        near[name] = encoder.fingerprint
        short = encoder.layers_of([click[:300]])["logmel"][0]
        assert short.shape == (0, frames.shape[1])
    assert len(set(near.values())) == len(LOGMEL_AROUND)
    single = load_encoder("logmel-25ms", device="cpu").layers_of([click])["logmel"][0]
    assert single.amax(dim=1).argmax() == 50


@pytest.mark.parametrize("file", ["preprocessor_config.json", "processor_config.json"])
def test_what_a_checkpoint_wants_is_obeyed_and_fingerprinted_wherever_it_says_it(small, file, speech):
    own = json.loads((small / "preprocessor_config.json").read_text())
    (small / "preprocessor_config.json").unlink()
    found = {}
    for normalise in (False, True):
        settings = own | {"do_normalize": normalise}
        nested = file.startswith("processor")
        (small / file).write_text(json.dumps({"feature_extractor": settings} if nested else settings))
        found[normalise] = load_encoder(str(small), device="cpu")
    assert found[False].fingerprint != found[True].fingerprint
    quiet = [0.1 * speech[0] + np.float32(0.02)]  # a group norm takes most of it away, but not all
    one, other = (encoder.layers_of(quiet)["1"][0] for encoder in found.values())
    assert not torch.allclose(one, other, atol=1e-2)
    if nested:  # what else it says is the tokenizer's
        say(small / file, decoder={"beams": 3})
        assert encoder_fingerprint(str(small)) == found[True].fingerprint


def test_a_setting_left_out_is_the_feature_extractors_own_and_none_at_all_is_said(small, speech):
    (small / "preprocessor_config.json").write_text("{}")
    with pytest.warns(UserWarning, match="no preprocessor_config.json to say .* normalised .* taken as false"):
        guessed = load_encoder(str(small), device="cpu")
    say(small / "preprocessor_config.json", sampling_rate=16000)
    left_out = load_encoder(str(small), device="cpu")
    say(small / "preprocessor_config.json", do_normalize=True)
    quiet = [0.1 * speech[0] + np.float32(0.02)]
    wanted = load_encoder(str(small), device="cpu").layers_of(quiet)["3"][0]
    assert torch.equal(left_out.layers_of(quiet)["3"][0], wanted)
    assert not torch.allclose(guessed.layers_of(quiet)["3"][0], wanted, atol=1e-2)


@pytest.mark.parametrize(
    ("file", "said", "sentence"),
    [
        ("preprocessor_config.json", {"sampling_rate": 8000}, "wants sampling_rate 8000, .* only 16000"),
        ("preprocessor_config.json", {"feature_size": 80}, "wants feature_size 80, .* only 1"),
        ("preprocessor_config.json", {"feature_extractor_type": "Mine"}, "wants feature_extractor_type 'Mine'"),
        ("processor_config.json", {"feature_extractor": {"sampling_rate": 8000}}, "processor_config.json wants sampl"),
        ("adapter_config.json", {"peft_type": "LORA"}, "holds a PEFT adapter .LORA.* merge it"),
        ("config.json", {"num_attention_heads": 5}, "cannot be made .* divisible by num_heads"),
        ("config.json", {"num_attention_heads": "two"}, "cannot be made .* expected int"),
        ("config.json", {"hidden_size": 16}, r"do not fit .* tensors have another shape, .*\(\(32,\), not \(16,\)\)"),
    ],
)
def test_what_cannot_be_obeyed_is_refused_in_one_sentence(small, file, said, sentence):
    say(small / file, **said)
    with pytest.raises(EncoderError, match=sentence) as refused:
        load_encoder(str(small), device="cpu")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("config.json", b"\xef\xbb\xbf{}", "config.json is not valid JSON: .*BOM"),
        ("config.json", b'{"name": "\xe9"}', "config.json is not valid JSON: .*codec"),
        ("config.json", b"[1]", "config.json is not valid JSON of settings: it holds a list"),
        ("preprocessor_config.json", b"{nope", "preprocessor_config.json is not valid JSON"),
        ("model.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "model.safetensors is Git LFS's note"),
        ("model.safetensors", b"half of it", "cannot be made from its config.json and weights: SafetensorError"),
    ],
)
def test_damaged_files_are_named(small, file, content, sentence):
    (small / file).write_bytes(content)
    with pytest.raises(EncoderError, match=sentence):
        load_encoder(str(small), device="cpu")


def test_a_pickle_that_would_run_code_is_refused_by_name(small, monkeypatch):
    class Malicious:
        def __reduce__(self):
            return os.mkdir, (str(small / "it ran"),)

    (small / "model.safetensors").unlink()
    torch.save({"weights": Malicious()}, small / "pytorch_model.bin")
    with pytest.raises(EncoderError, match="pytorch_model.bin holds more than tensors") as refused:
        load_encoder(str(small), device="cpu")
    assert not (small / "it ran").exists() and "\n" not in str(refused.value) and refused.value.__cause__ is None


def test_code_beside_a_model_is_never_run_and_that_is_said(small):
    say(small / "config.json", auto_map={"AutoModel": "modeling.Mine"})
    (small / "modeling.py").write_text("raise SystemExit('it ran')")
    with pytest.warns(UserWarning, match="code of its own, which is not run: it is loaded as any hubert"):
        load_encoder(str(small), device="cpu")


def test_weights_that_are_left_over_are_said_unless_they_are_a_head(small, tmp_path):
    say(small / "config.json", num_hidden_layers=2)
    with pytest.warns(UserWarning, match="16 tensors .* left out, encoder.layers.2"):
        load_encoder(str(small), device="cpu")
    HubertForCTC(HubertConfig(**SMALL, vocab_size=30)).save_pretrained(tmp_path / "tuned")
    shutil.copy(small / "preprocessor_config.json", tmp_path / "tuned")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_encoder(str(tmp_path / "tuned"), device="cpu")


def test_only_the_files_that_are_loaded_are_fingerprinted(small, tmp_path, speech):
    model = HubertModel.from_pretrained(small)
    before, layer = encoder_fingerprint(str(small)), load_encoder(str(small), device="cpu").layers_of(speech[:1])["3"]
    torch.save({name: 2 * values for name, values in model.state_dict().items()}, small / "pytorch_model.bin")
    save_file(load_file(small / "model.safetensors"), small / "model.fp16.safetensors")
    assert encoder_fingerprint(str(small)) == before
    assert torch.equal(load_encoder(str(small), device="cpu").layers_of(speech[:1])["3"][0], layer[0])

    model.save_pretrained(tmp_path / "parts", max_shard_size="20KB")
    parts = sorted((tmp_path / "parts").glob("model-*.safetensors"))
    shutil.copy(small / "preprocessor_config.json", tmp_path / "parts")
    assert len(parts) > 2
    assert torch.equal(load_encoder(str(tmp_path / "parts"), device="cpu").layers_of(speech[:1])["3"][0], layer[0])
    parts[1].unlink()
    with pytest.raises(EncoderError, match=f"lacks 1 of {len(parts)} files of weights, {parts[1].name} first"):
        load_encoder(str(tmp_path / "parts"), device="cpu")


def test_adapters_of_languages_beside_the_weights(tmp_path, speech):
    """As in MMS: the adapter inside the weights counts, and the way to another language that is documented works."""
    torch.manual_seed(0)
    model = Wav2Vec2ForCTC(Wav2Vec2Config(**SMALL, vocab_size=32, adapter_attn_dim=4, do_stable_layer_norm=True))
    mms = tmp_path / "mms"
    model.save_pretrained(mms)
    Wav2Vec2FeatureExtractor().save_pretrained(mms)
    french = {name: values + 0.5 for name, values in model._get_adapters().items() if "lm_head" not in name}
    assert french
    french |= {"lm_head.weight": torch.zeros(40, 32), "lm_head.bias": torch.zeros(40)}
    before = encoder_fingerprint(str(mms))
    save_file(french, mms / "adapter.fra.safetensors", metadata={"format": "pt"})
    assert encoder_fingerprint(str(mms)) == before
    with pytest.warns(UserWarning, match="the language adapter inside its weights is used"):
        own = load_encoder(str(mms), device="cpu").layers_of(speech[:1])
    values = Wav2Vec2FeatureExtractor()(speech[0], sampling_rate=16000, return_tensors="pt").input_values
    with torch.no_grad():
        expected = model.eval().wav2vec2(values).last_hidden_state
    torch.testing.assert_close(own["3"], list(expected), atol=1e-5, rtol=1e-4)

    other = Wav2Vec2ForCTC.from_pretrained(mms, target_lang="fra", ignore_mismatched_sizes=True)
    other.save_pretrained(tmp_path / "french")
    Wav2Vec2FeatureExtractor().save_pretrained(tmp_path / "french")
    with pytest.warns(UserWarning, match="the language adapter"):
        chosen = load_encoder(str(tmp_path / "french"), device="cpu")
    assert chosen.fingerprint != before
    with torch.no_grad():
        expected = other.eval().wav2vec2(values).last_hidden_state
    torch.testing.assert_close(chosen.layers_of(speech[:1])["3"], list(expected), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(expected[0], own["3"][0], atol=1e-2)


def test_a_folder_is_found_by_home_sign_by_link_and_beside_a_shipped_name(small, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    expected = encoder_fingerprint(str(small))
    (tmp_path / "link").symlink_to(small)
    shutil.copytree(small, tmp_path / "pocket-hubert")
    assert {encoder_fingerprint(name) for name in ("~/small", "small", "./link", "./pocket-hubert")} == {expected}
    assert encoder_fingerprint("random:~/small") == encoder_fingerprint("random:./small")
    assert encoder_layers("~/small") == encoder_layers("random:./pocket-hubert") == ("cnn", "0", "1", "2", "3")
    assert encoder_fingerprint("pocket-hubert")[:16] == PUBLISHED["pocket-hubert"][0]


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_half_precision_weights_are_taken_in_full_precision(small, kind, speech):
    model = HubertModel.from_pretrained(small).to(getattr(torch, kind))
    model.save_pretrained(small)
    values = torch.from_numpy(speech[0])[None]
    with torch.no_grad():
        expected = model.float().eval()(values).last_hidden_state[0]
    torch.testing.assert_close(
        load_encoder(str(small), device="cpu").layers_of(speech[:1])["3"][0], expected, atol=1e-5, rtol=1e-4
    )


# Names that chapters are given


@pytest.mark.parametrize(
    ("chapter", "what"),
    [("speaker-identification", "encoder"), ("fine-tuning", "pretrained"), ("along-pretraining", "counterpart")],
)
def test_a_chapters_encoders_are_folders_from_where_the_reader_stands(chapter, what, small, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(small.parent)
    for name in ("small", "./small", "~/small", "../" + str(tmp_path.name) + "/small", str(small)):
        for kind in ("", "random:"):
            chosen = chapters.check(chapter, {what: kind + name})
            assert getattr(chosen, what) == kind + str(small)
    others = {"encoder": "facebook/hubert-base-ls960", "pretrained": "pocket-hubert-it1"}
    for name in (others.get(what, "pocket-hubert-it1"), "random:pocket-hubert"):
        assert getattr(chapters.check(chapter, {what: name}), what) == name


@pytest.mark.parametrize("what", ["encoder", "pretrained"])
def test_a_chapters_encoder_that_cannot_be_loaded_is_refused_before_it_runs(what, small, monkeypatch):
    monkeypatch.chdir(small.parent)
    usual = {"pretrained": "pocket-hubert"} if what == "encoder" else {}

    def refused(name):
        with pytest.raises(chapters.ChapterError) as error:
            chapters.check("fine-tuning", usual | {what: name})
        return str(error.value)

    assert "did you mean 'pocket-hubert-it1'?" in refused("pocket-hubert-it")
    assert f"did you mean '{small}'?" in refused(f"{small.parent}/smal")
    assert "did you mean 'small'?" in refused("./smal")
    assert "logmel is the control" in refused("logmel")
    (small / "model.safetensors").unlink()
    assert "holds no weights" in refused("small")
    assert getattr(chapters.check("fine-tuning", {"pretrained": "pocket-hubert"} | {what: "random:small"}), what)
    say(small / "preprocessor_config.json", sampling_rate=8000)
    assert "wants sampling_rate 8000" in refused("random:small")


def test_a_run_follows_the_files_of_every_encoder_that_it_uses(small):
    chosen = chapters.check("fine-tuning", {"pretrained": str(small)})
    before = made_from("fine-tuning", chosen)
    say(small / "preprocessor_config.json", do_normalize=True, remark="of another length")
    assert [name for name, value in made_from("fine-tuning", chosen).items() if before[name] != value] == [
        "the pretrained's files"
    ]
