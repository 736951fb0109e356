"""Encoders: any `transformers` speech encoder, shipped, local or from the hub, and two controls, as one function.

An `Encoder` takes utterances and gives every layer's frames. Layers are named as the book names them: ``cnn`` (output
of the convolutional feature encoder), ``0`` (what enters the transformer), ``1`` to ``L`` (output of each block). Layer
``L`` is `transformers`' ``last_hidden_state``: after the final layer norm where an encoder has one, which
``hidden_states[-1]`` is not in transformers 5.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fairlib.audio import SAMPLE_RATE
from fairlib.folders import cache_folder

if TYPE_CHECKING:
    import pandas as pd
    import torch

SHIPPED = Path(__file__).parent / "assets" / "encoders"
CHECKPOINTS = SHIPPED.parent / "checkpoints.json"  # fingerprints of encoders along pretraining
RANDOM_SEED = 0
LOGMEL = {"mels": 80, "window_s": 0.025, "step_s": 0.010, "stacked": 2, "floor": 1e-6}

# Padding reaches these encoders' transformers only through a mask that they obey everywhere, so that a batch gives the
# features of one utterance at a time. The other families are run utterance by utterance: data2vec stacks positional
# convolutions that leak across the mask, SEW pools over time, w2v-BERT convolves inside its blocks.
_BATCHED = {"wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat"}
_CONVOLUTIONAL = _BATCHED | {"data2vec-audio", "sew"}
_SUPPORTED = _CONVOLUTIONAL | {"wav2vec2-bert", "whisper"}


# Seconds of speech, padding counted, that pass the convolutions at once: their values take most of the memory.
CONVOLVED_SECONDS = {"cpu": 20.0, "gpu": 120.0}


class EncoderError(ValueError):
    """An encoder cannot be found, loaded, or is not a speech encoder; the message names it and what is allowed."""


@dataclass(frozen=True)
class Encoder:
    """A loaded encoder: call ``encoder.layers_of(utterances)``.

    ``layers_of`` takes a list of 16 kHz mono arrays ``[samples]`` and returns ``{layer: [frames of each utterance]}``,
    each a float32 tensor ``[T, D]`` on the encoder's device. T and D may differ between layers (SEW squeezes time).
    """

    name: str
    layers: tuple[str, ...]
    fingerprint: str
    device: str
    dtype: str
    layers_of: Callable[[list[np.ndarray]], dict[str, list[torch.Tensor]]] = field(repr=False)
    model: torch.nn.Module | None = field(default=None, repr=False)
    pads: bool = False  # whether shorter utterances of a batch are padded


def shipped_encoders() -> list[str]:
    """Names of the encoders that come with the package."""
    return sorted(folder.parent.name for folder in SHIPPED.glob("*/config.json"))


def finetuned_from(name: str) -> tuple[str, str] | None:
    """The pretrained encoder that a fine-tuned one was made from, and the corpus it was tuned on; else None.

    Known of encoders that `fairlib.finetuning` made; others do not say it in a way that a program could read.

    Example:
        >>> finetuned_from("pocket-hubert") is None
        True
    """
    record = encoder_folder(name) / "finetuning.json"
    if not record.is_file():
        return None
    written = json.loads(record.read_text())
    return written["finetuned_from"], written["corpus"]


def pretraining_data(name: str) -> list[dict]:
    """What an encoder of ours was pretrained on, part by part as in its recipe; empty for others, of which it is not
    known."""
    record = encoder_folder(name) / "pretraining.json"
    return json.loads(record.read_text())["recipe"]["data"] if record.is_file() else []


def started_from(name: str) -> str | None:
    """The encoder of ours whose convolutions a pretraining began with; None where all began as random numbers.

    Example:
        >>> started_from("pocket-wav2vec2"), started_from("pocket-wavlm")
        ('pocket-hubert-it1', None)
    """
    made = finetuned_from(name)
    record = encoder_folder(made[0] if made else name) / "pretraining.json"
    recipe = json.loads(record.read_text())["recipe"] if record.is_file() else {}
    return recipe.get("contrast", {}).get("convolutions")


def heard(name: str) -> set[str]:
    """Names of the corpora that an encoder of ours was pretrained or fine-tuned on; of others they are not known.

    Example:
        >>> sorted(heard("pocket-hubert-children"))
        ['commonvoice', 'librispeech', 'speechocean762']
    """
    before = finetuned_from(name)
    mine = {part["corpus"] for part in pretraining_data(name)}
    return mine | {before[1]} | heard(before[0]) if before else mine


def encoder_layers(name: str) -> tuple[str, ...] | None:
    """Names of an encoder's layers, from its configuration alone; None where no configuration is at hand.

    Example:
        >>> encoder_layers("random:pocket-hubert")
        ('cnn', '0', '1', '2', '3', '4', '5', '6')
    """
    if name == "logmel":
        return ("logmel",)
    config = configuration(name) or {}
    blocks = config.get("encoder_layers" if config.get("model_type") == "whisper" else "num_hidden_layers")
    if config.get("model_type") not in _SUPPORTED or not isinstance(blocks, int):
        return None
    first = () if config["model_type"] == "wav2vec2-bert" else ("cnn",)
    return (*first, *(str(number) for number in range(blocks + 1)))


def configuration(name: str) -> dict | None:
    """What an encoder's config.json says, if it is shipped, a folder, or a hub id that was fetched before."""
    # Along its pretraining, and from another seed, an encoder keeps its shape.
    name = re.sub(r"(-seed\d+)?@\d+$", "", name.removeprefix("random:"))
    file = next((f / "config.json" for f in (SHIPPED / name, Path(name)) if (f / "config.json").is_file()), None)
    if file is None and re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(name, "config.json")
        file = Path(cached) if isinstance(cached, str) else None
    try:
        return json.loads(file.read_text()) if file else None
    except (OSError, ValueError):
        return None


def pretraining_log(name: str) -> pd.DataFrame | None:
    """How the pretraining of an encoder of ours went: a row every hundred steps; of another encoder, None.

    Example:
        >>> pretraining_log("pocket-hubert")["step"].iloc[-1]
        np.int64(10000)
    """
    import pandas as pd

    made = finetuned_from(name)
    log = encoder_folder(made[0] if made else name) / "pretraining.csv"
    return pd.read_csv(log) if log.is_file() else None


def published_steps(name: str) -> list[int]:
    """Steps of an encoder's pretraining at which outcomes are published, in order.

    Example:
        >>> published_steps("logmel")
        []
    """
    known = json.loads(CHECKPOINTS.read_text()) if CHECKPOINTS.is_file() else {}
    return sorted(int(step) for encoder, _, step in (entry.partition("@") for entry in known) if encoder == name)


def load_encoder(
    name: str, device: str | None = None, dtype: str | None = None, compiled: bool = False
) -> Encoder:  # fmt: skip
    """Load an encoder by name.

    Args:
        name: a shipped encoder (``pocket-hubert``), a folder in the `transformers` format, a hub id
            (``facebook/hubert-base-ls960``), ``random:<any of these>`` (same architecture, untrained) or ``logmel``.
        device: ``cuda``, ``mps``, ``cpu``; the best there is by default.
        dtype: ``float32``, ``bfloat16`` or ``float16``; half precision on CUDA by default, else float32.
        compiled: have `torch.compile` write kernels for the transformer's blocks: a minute or so at the first batch,
            worth it on a GPU before many hours of speech. Needs a C++ compiler.

    Raises:
        EncoderError: the encoder is not found, is of a family without speech layers, or its weights do not fit it.

    Example:
        >>> encoder = load_encoder("logmel")
        >>> encoder.layers_of([np.zeros(16000, np.float32)])["logmel"][0].shape
        torch.Size([50, 160])
    """
    import torch

    from fairlib.devices import best_device, exact_grouped_convolutions, half_precision

    device = device or best_device()
    if dtype is None:
        # On a processor half precision would gain little in inference and cost reproducibility between machines.
        dtype = str(half_precision(device)).removeprefix("torch.") if device.startswith("cuda") else "float32"
    if dtype not in ("float32", "bfloat16", "float16"):
        raise EncoderError(f"Unknown precision {dtype!r}: choose float32, bfloat16 or float16.")
    fingerprint = encoder_fingerprint(name)
    if name == "logmel":
        return Encoder(name, ("logmel",), fingerprint, device, "float32", _logmel(device))

    folder = encoder_folder(name.removeprefix("random:"))
    model = _load_model(folder, untrained=name.startswith("random:")).to(device, getattr(torch, dtype)).eval()
    if torch.device(device).type == "cpu" and dtype != "float32":
        exact_grouped_convolutions(model)
    family = model.config.model_type
    if family == "whisper":
        layers, run = _whisper(model, folder)
    elif family == "wav2vec2-bert":
        layers, run = _w2v_bert(model, folder)
    else:
        layers, run = _convolutional(model, folder)
    if compiled:
        # Each block's own function, so that the hooks around the blocks stay outside; all blocks share the kernels.
        for block in model.layers if family == "whisper" else model.encoder.layers:
            block.forward = torch.compile(block.forward, dynamic=True)

    @torch.inference_mode()
    def layers_of(utterances: list[np.ndarray]) -> dict[str, list[torch.Tensor]]:
        return run(utterances)

    return Encoder(name, layers, fingerprint, device, dtype, layers_of, model, pads=family in _BATCHED)


def encoder_folder(name: str) -> Path:
    """The folder that holds an encoder's files; downloads a hub id's configuration and weights on first use.

    Raises:
        EncoderError: no such encoder, or the hub does not answer.
    """
    if re.fullmatch(r"[^/@]+@\d+", name):
        return _checkpoint_folder(name)
    for folder in (SHIPPED / name, Path(name)):
        if (folder / "config.json").is_file():
            return folder
    if Path(name).is_dir():
        raise EncoderError(f"{name} holds no config.json: give a folder in the transformers format.")
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        known = [*shipped_encoders(), "logmel"]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise EncoderError(
            f"There is no encoder {name!r}.{hint} Shipped: {', '.join(known)}; or give a folder, a hub id such as "
            "facebook/hubert-base-ls960, or random:<encoder>."
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        # The configuration first: it is small, and says whether the rest is worth fetching.
        folder = Path(snapshot_download(name, allow_patterns=["*config.json"]))
        if (folder / "config.json").is_file():
            model_family(folder)
        wanted = ["*config.json", "*.safetensors", "*.safetensors.index.json"]
        folder = Path(snapshot_download(name, allow_patterns=wanted))
        if not any(folder.glob("*.safetensors")):
            # Older checkpoints: a pickle, of which torch reads tensors only (weights_only).
            folder = Path(snapshot_download(name, allow_patterns=["*config.json", "pytorch_model*"]))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise EncoderError(
            f"{name} cannot be fetched from the model hub ({reason}): check the id and the network."
        ) from None
    if not (folder / "config.json").is_file():
        raise EncoderError(f"{name} on the model hub holds no config.json: it is not a transformers checkpoint.")
    return folder


def model_family(folder: Path) -> str:
    """The family of the model in a folder, such as hubert.

    Raises:
        EncoderError: it has no configuration that can be read, or is no speech encoder that is supported here.
    """
    try:
        family = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except FileNotFoundError:
        raise EncoderError(f"{folder} holds no config.json: give a folder in the transformers format.") from None
    except (ValueError, AttributeError) as error:
        raise EncoderError(f"{folder / 'config.json'} is not valid JSON: {error}.") from None
    if family not in _SUPPORTED:
        raise EncoderError(
            f"{folder} is a {family or 'nameless'} model, not a supported speech encoder: choose one of the families "
            f"{', '.join(sorted(_SUPPORTED))}."
        )
    return family


def pretraining_folder(name: str) -> Path:
    """Where `fairlib.pretraining` keeps a run, its steps among it, unless it is told otherwise."""
    return cache_folder() / "pretraining" / name


def _checkpoint_folder(name: str) -> Path:
    encoder, step = name.split("@")
    folder = pretraining_folder(encoder) / "steps" / step
    if not (folder / "config.json").is_file():
        steps = sorted(int(path.name) for path in folder.parent.glob("*") if path.name.isdecimal())
        there = f"those at hand are {', '.join(map(str, steps))}" if steps else f"make them: fairlib pretrain {encoder}"
        raise EncoderError(f"There are no weights of {encoder} at step {step}, for they do not ship; {there}.")
    return folder


def encoder_fingerprint(name: str) -> str:
    """A hash of everything in the encoder that changes its features: configuration and weights. Loads no model."""
    digest = hashlib.sha256()
    if name == "logmel":
        digest.update(json.dumps(LOGMEL, sort_keys=True).encode())
        return digest.hexdigest()
    untrained = name.startswith("random:")
    try:
        folder = encoder_folder(name.removeprefix("random:"))
    except EncoderError:
        # Weights along pretraining do not ship, but their outcomes do, and are known by the weights' fingerprint.
        published = json.loads(CHECKPOINTS.read_text()) if CHECKPOINTS.is_file() else {}
        if name not in published:
            raise
        return published[name]
    files = [folder / "config.json", folder / "preprocessor_config.json"]
    if untrained:
        digest.update(f"random weights, seed {RANDOM_SEED}".encode())
    else:
        files += _weight_files(folder)
    for file in files:
        if file.is_file():
            digest.update(file.name.encode() + b"\0")
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _weight_files(folder: Path) -> list[Path]:
    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    if not files:
        raise EncoderError(f"{folder} holds no weights: model.safetensors (or pytorch_model.bin) is needed.")
    return files


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Within it, transformers neither draws bars nor reports what this library checks itself."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _load_model(folder: Path, untrained: bool) -> torch.nn.Module:
    import torch
    from transformers import AutoConfig, AutoModel, WhisperModel

    family = model_family(folder)
    if family == "wavlm":  # it hands torch two masks of different types; torch adds them up rightly, and warns
        warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask")
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    model_class = WhisperModel if family == "whisper" else AutoModel
    if untrained:
        # The seed is set in a fork, so that loading a control leaves the caller's random numbers alone.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(RANDOM_SEED)
            make = WhisperModel._from_config if family == "whisper" else AutoModel.from_config
            model = make(config, dtype=torch.float32)
    else:
        _weight_files(folder)
        try:
            with quiet_transformers():
                model, report = model_class.from_pretrained(
                    folder, trust_remote_code=False, dtype=torch.float32, output_loading_info=True
                )
        except (RuntimeError, OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise EncoderError(f"The weights in {folder} do not fit its config.json: {reason}") from None
        # The mask embedding serves pretraining only; everything else missing would be random numbers in disguise.
        missing = [key for key in report["missing_keys"] if "masked_spec_embed" not in key]
        if missing:
            raise EncoderError(
                f"The weights in {folder} lack {len(missing)} tensors, {missing[0]} first: it is incomplete."
            )
    return model.get_encoder() if family == "whisper" else model


def _record_layers(blocks: torch.nn.ModuleList, kept: dict[str, torch.Tensor]) -> None:
    """Hook the transformer's blocks, so that a forward pass leaves its layers in ``kept``."""

    def entering(_module, arguments, keywords):
        kept["0"] = arguments[0] if arguments else keywords["hidden_states"]

    blocks[0].register_forward_pre_hook(entering, with_kwargs=True)
    for number, block in enumerate(blocks, start=1):

        def leaving(_module, _arguments, output, layer=str(number)):
            kept[layer] = output[0] if isinstance(output, tuple) else output

        block.register_forward_hook(leaving)


def _convolutional(model, folder: Path):
    """wav2vec 2.0 and its relatives: convolutions, then the transformer, each batched where that is exact."""
    import torch

    convolve = _convolutions(model)

    normalise = _normalises(folder, default=getattr(model.config, "feat_extract_norm", "layer") == "layer")
    blocks = model.encoder.layers
    layers = ("cnn", "0", *(str(n) for n in range(1, len(blocks) + 1)))
    kept: dict[str, torch.Tensor] = {}
    _record_layers(blocks, kept)

    def project(features: torch.Tensor) -> torch.Tensor:
        if model.config.model_type == "sew":  # SEW normalises and projects in the model itself
            features = model.layer_norm(features)
            return model.feature_projection(features) if model.project_features else features
        projected = model.feature_projection(features)
        return projected[0] if isinstance(projected, tuple) else projected

    def transform(projected: list[torch.Tensor]) -> dict[str, list[torch.Tensor]]:
        lengths = [len(p) for p in projected]
        batch = torch.nn.utils.rnn.pad_sequence(projected, batch_first=True)
        mask = None
        if min(lengths) < max(lengths):
            positions = torch.arange(max(lengths), device=batch.device)
            mask = positions[None] < torch.tensor(lengths, device=batch.device)[:, None]
        kept[layers[-1]] = model.encoder(batch, attention_mask=mask).last_hidden_state
        if mask is None:  # SEW's squeezed layers have lengths of their own
            return {layer: list(kept[layer].float()) for layer in layers[1:]}
        return {layer: [h[:n] for h, n in zip(kept[layer].float(), lengths)] for layer in layers[1:]}

    def run(utterances: list[np.ndarray]) -> dict[str, list[torch.Tensor]]:
        cnn = convolve([_normalised(audio) if normalise else audio for audio in utterances])
        projected = [project(features[None])[0] for features in cnn]
        whole_batch = model.config.model_type in _BATCHED
        parts = [transform(part) for part in ([projected] if whole_batch else [[p] for p in projected])]
        result = {layer: [frames for part in parts for frames in part[layer]] for layer in layers[1:]}
        kept.clear()
        return {"cnn": [features.float() for features in cnn], **result}

    return layers, run


def _convolutions(model) -> Callable[[list[np.ndarray]], list[torch.Tensor]]:
    """Waveforms to frames ``[T, D]`` each, several at once, as if each were alone.

    Convolutions without padding of their own give the same frames however long the silence after the utterance. A group
    norm does not, for it takes its statistics over all time: it is given each utterance's own stretch.
    """
    import torch

    norm = getattr(model.feature_extractor.conv_layers[0], "layer_norm", None)
    stretches: list[int] = []  # frames of each utterance where the norm stands

    def own_statistics(hidden: torch.Tensor) -> torch.Tensor:
        if not stretches:  # somebody else runs the model
            return whole(hidden)
        normed = torch.zeros_like(hidden)
        for row, length in enumerate(stretches):
            normed[row, :, :length] = whole(hidden[row : row + 1, :, :length])[0]
        return normed

    if isinstance(norm, torch.nn.GroupNorm):
        whole, norm.forward = norm.forward, own_statistics
    most = SAMPLE_RATE * CONVOLVED_SECONDS["cpu" if model.device.type == "cpu" else "gpu"]

    def convolve(utterances: list[np.ndarray]) -> list[torch.Tensor]:
        frames: list[torch.Tensor] = []
        for part in _parts([len(audio) for audio in utterances], most):
            waveforms = [torch.from_numpy(audio) for audio in utterances[part]]
            lengths = [[len(waveform) for waveform in waveforms]]
            for kernel, stride in zip(model.config.conv_kernel, model.config.conv_stride):
                lengths.append([(length - kernel) // stride + 1 for length in lengths[-1]])
            stretches[:] = lengths[1]
            batch = _sent(torch.nn.utils.rnn.pad_sequence(waveforms, batch_first=True), model)
            try:
                hidden = model.feature_extractor(batch)
            finally:  # also where the memory does not suffice, and fewer will be tried
                stretches.clear()
            frames += [one[:, :length].T for one, length in zip(hidden, lengths[-1])]
        return frames

    return convolve


def _parts(lengths: list[int], most: float) -> list[slice]:
    """Neighbours that together, padded to the longest of them, are no longer than ``most``; one at least.

    Example:
        >>> _parts([2, 3, 3, 9, 1], 9)
        [slice(0, 3, None), slice(3, 4, None), slice(4, 5, None)]
    """
    starts, longest = [0], 0
    for at, length in enumerate(lengths):
        longest = max(longest, length)
        if at > starts[-1] and longest * (at + 1 - starts[-1]) > most:
            starts.append(at)
            longest = length
    return [slice(one, other) for one, other in zip(starts, [*starts[1:], len(lengths)])]


def _whisper(model, folder: Path):
    """Whisper's encoder, a supervised contrast: 30 s windows, of which the frames that hold speech are kept."""
    import torch
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(feature_size=model.config.num_mel_bins)
    layers = ("cnn", "0", *(str(n) for n in range(1, len(model.layers) + 1)))
    kept: dict[str, torch.Tensor] = {}
    _record_layers(model.layers, kept)

    def stem(_module, _arguments, output):
        kept["cnn"] = torch.nn.functional.gelu(output).transpose(1, 2)

    model.conv2.register_forward_hook(stem)

    def run(utterances: list[np.ndarray]) -> dict[str, list[torch.Tensor]]:
        longest = max(len(audio) for audio in utterances) / SAMPLE_RATE
        if longest > extractor.chunk_length:
            raise EncoderError(
                f"Whisper hears at most {extractor.chunk_length} s; an utterance of {longest:.1f} s was given."
            )
        features = extractor(utterances, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features
        kept[layers[-1]] = model(_sent(features, model)).last_hidden_state
        lengths = [-(-len(audio) // 320) for audio in utterances]
        result = {layer: [h[:n] for h, n in zip(kept[layer].float(), lengths)] for layer in layers}
        kept.clear()
        return result

    return layers, run


def _w2v_bert(model, folder: Path):
    """w2v-BERT 2.0: filter banks instead of convolutions on the waveform, so there is no layer ``cnn``."""
    from transformers import SeamlessM4TFeatureExtractor

    extractor = SeamlessM4TFeatureExtractor()
    layers = tuple(str(n) for n in range(len(model.encoder.layers) + 1))
    kept: dict[str, torch.Tensor] = {}
    _record_layers(model.encoder.layers, kept)

    def run(utterances: list[np.ndarray]) -> dict[str, list[torch.Tensor]]:
        result: dict[str, list[torch.Tensor]] = {layer: [] for layer in layers}
        for audio in utterances:
            features = extractor(audio, sampling_rate=SAMPLE_RATE, return_tensors="pt")
            frames = int(features.attention_mask.sum())
            output = model(_sent(features.input_features[:, :frames], model))
            kept[layers[-1]] = output.last_hidden_state
            for layer in layers:
                result[layer].append(kept[layer][0].float())
        kept.clear()
        return result

    return layers, run


def _logmel(device: str):
    """Log-mel energies, two 10 ms frames side by side, so that a frame lasts 20 ms as the encoders' do."""
    import torch
    from torchaudio.transforms import MelSpectrogram

    step = round(LOGMEL["step_s"] * SAMPLE_RATE)
    mel = MelSpectrogram(
        SAMPLE_RATE,
        n_fft=512,
        win_length=round(LOGMEL["window_s"] * SAMPLE_RATE),
        hop_length=step,
        n_mels=LOGMEL["mels"],
    ).to(device)

    @torch.inference_mode()
    def layers_of(utterances: list[np.ndarray]) -> dict[str, list[torch.Tensor]]:
        frames = []
        for audio in utterances:
            log = (mel(torch.from_numpy(audio).to(device)) + LOGMEL["floor"]).log().T
            pairs = len(log) // LOGMEL["stacked"]
            frames.append(log[: pairs * LOGMEL["stacked"]].reshape(pairs, -1))
        return {"logmel": frames}

    return layers_of


def _sent(values: torch.Tensor, model) -> torch.Tensor:
    """On the model's device and in its precision; to a GPU from pinned memory, so that nobody waits for the copy."""
    pinned = values.pin_memory() if model.device.type == "cuda" else values
    return pinned.to(model.device, non_blocking=True).to(model.dtype)


def _normalised(audio: np.ndarray) -> np.ndarray:
    """Zero mean and unit variance, as wav2vec 2.0's feature extractor does it."""
    return ((audio - audio.mean()) / np.sqrt(audio.var() + 1e-7)).astype(np.float32)


def _normalises(folder: Path, default: bool) -> bool:
    """Whether the checkpoint wants normalised waveforms; it says so in preprocessor_config.json, if it has one."""
    file = folder / "preprocessor_config.json"
    return json.loads(file.read_text()).get("do_normalize", default) if file.is_file() else default
