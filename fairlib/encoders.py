"""Encoders: any `transformers` speech encoder, shipped, local or from the hub, and two controls, as one function.

An `Encoder` takes utterances and gives every layer's frames. Layers are named as the book names them: ``cnn`` (output
of the convolutional feature encoder), ``0`` (what enters the transformer), ``1`` to ``L`` (output of each block). Layer
``L`` is `transformers`' ``last_hidden_state``: after the final layer norm where an encoder has one, which
``hidden_states[-1]`` is not in transformers 5, and before the downsampling that ``add_adapter`` puts behind it.

How a checkpoint wants its waveforms, which files hold its weights, and whether it may be padded, its own files say and
not its family's name. Its features are those of transformers' own forward pass of one utterance; a setting that cannot
be obeyed is refused.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import pickle
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
# features of one utterance at a time (but see `_batches`). The other families are run utterance by utterance: data2vec
# stacks positional convolutions that leak across the mask, SEW pools over time, w2v-BERT convolves inside its blocks.
_BATCHED = {"wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat"}
_CONVOLUTIONAL = _BATCHED | {"data2vec-audio", "sew", "wav2vec2-conformer"}
_SUPPORTED = _CONVOLUTIONAL | {"wav2vec2-bert", "whisper"}

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_SETTINGS = ["config.json", "preprocessor_config.json", "processor_config.json", "adapter_config.json"]

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
    record = None if name.startswith("random:") else encoder_folder(name) / "finetuning.json"
    if record is None or not record.is_file():
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
    file = _place(name) / "config.json"
    if not file.is_file() and HUB_ID.fullmatch(name):
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(name, "config.json")
        file = Path(cached) if isinstance(cached, str) else file
    try:
        return _read(file) or None
    except EncoderError:
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
            Of a checkpoint with adapters for many languages (``facebook/mms-1b-all``) the adapter inside its weights is
            used, and no other is fetched. For another language, load it with transformers
            (``Wav2Vec2ForCTC.from_pretrained(..., target_lang="fra", ignore_mismatched_sizes=True)``), save it with
            ``save_pretrained``, and give that folder.
        device: ``cuda``, ``mps``, ``cpu``; the best there is by default.
        dtype: ``float32``, ``bfloat16`` or ``float16``; half precision on CUDA by default, else float32.
        compiled: have `torch.compile` write kernels for the transformer's blocks: a minute or so at the first batch,
            worth it on a GPU before many hours of speech. Needs a C++ compiler.

    Raises:
        EncoderError: the encoder is not found, is of a family without speech layers, its weights do not fit it or are
            more than tensors, or it wants what cannot be given (another sampling rate, say).

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
    if name == "logmel":
        return Encoder(name, ("logmel",), encoder_fingerprint(name), device, "float32", _logmel(device))

    untrained = name.startswith("random:")
    folder = encoder_folder(name.removeprefix("random:"), weights=not untrained)
    check_folder(folder, untrained)
    fingerprint = encoder_fingerprint(name)
    model = _load_model(folder, untrained).to(device, getattr(torch, dtype)).eval()
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

    return Encoder(name, layers, fingerprint, device, dtype, layers_of, model, pads=_batches(model.config))


def _place(name: str) -> Path:
    """Where a name's files lie on this machine, if they do: among the shipped encoders, else the folder it spells."""
    shipped = SHIPPED / name
    if Path(name).name == name and (shipped / "config.json").is_file():  # ./pocket-hubert is a folder of one's own
        return shipped
    return Path(os.path.expanduser(name))


def encoder_folder(name: str, weights: bool = True) -> Path:
    """The folder that holds an encoder's files; downloads a hub id's configuration and weights on first use.

    Args:
        name: as for `load_encoder`, without ``random:``.
        weights: fetch them too; the configuration alone is a few kilobytes.

    Raises:
        EncoderError: no such encoder, or the hub does not answer.
    """
    if re.fullmatch(r"[^/@]+@\d+", name):
        return _checkpoint_folder(name)
    folder = _place(name)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            model_family(folder)  # says what is amiss
        return folder
    if not HUB_ID.fullmatch(name) or name.startswith("."):
        known = [*shipped_encoders(), "logmel"]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise EncoderError(
            f"There is no encoder {name!r}.{hint} Shipped: {', '.join(known)}; or give a folder, a hub id such as "
            "facebook/hubert-base-ls960, or random:<encoder>."
        )
    return _fetched(name, weights)


def _fetched(name: str, weights: bool) -> Path:
    """A hub id's files in the hub's own cache: what transformers would load, and nothing beside it."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        # The configuration first: it is small, and says whether the rest is worth fetching.
        folder = Path(snapshot_download(name, allow_patterns=_SETTINGS))
        if any((folder / file).is_file() for file in _SETTINGS):
            check_folder(folder, untrained=True)
        # Older checkpoints hold a pickle, of which torch reads tensors only (weights_only). Adapters of languages, and
        # weights for other frameworks or in other precisions, are not what is loaded.
        for kind in ("model{}.safetensors", "pytorch_model{}.bin") if weights else ():
            if not any(folder.glob(kind.format("*"))):
                files = [kind.format(""), kind.format("-*"), kind.format("") + ".index.json"]
                folder = Path(snapshot_download(name, allow_patterns=[*_SETTINGS, *files]))
            if any(folder.glob(kind.format("*"))):
                break
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise EncoderError(
            f"{name} cannot be fetched from the model hub ({reason}), and there is no such folder: check the name, and "
            "the network."
        ) from None
    if not (folder / "config.json").is_file():
        raise EncoderError(f"{name} on the model hub holds no config.json: it is not a transformers checkpoint.")
    return folder


def _read(file: Path) -> dict:
    """What a checkpoint's JSON file says; nothing where there is no such file."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise EncoderError(f"{file} is not valid JSON: {error}.") from None
    if not isinstance(content, dict):
        raise EncoderError(f"{file} is not valid JSON of settings: it holds a {type(content).__name__}.")
    return content


def model_family(folder: Path) -> str:
    """The family of the model in a folder, such as hubert.

    Raises:
        EncoderError: the folder holds no model, or one of a family without speech layers.
    """
    adapter = _read(folder / "adapter_config.json")
    if adapter:  # transformers would use it or not, by whether peft happens to be installed
        raise EncoderError(
            f"{folder} holds a PEFT adapter ({adapter.get('peft_type', 'of unknown type')}) of "
            f"{adapter.get('base_model_name_or_path')}: merge it (merge_and_unload), and give the folder of the whole."
        )
    if not (folder / "config.json").is_file():
        raise EncoderError(f"{folder} holds no config.json: give a folder in the transformers format.")
    family = _read(folder / "config.json").get("model_type")
    if family not in _SUPPORTED:
        raise EncoderError(
            f"{folder} is a {family or 'nameless'} model, not a supported speech encoder: choose one of the families "
            f"{', '.join(sorted(_SUPPORTED))}."
        )
    return family


def check_folder(folder: Path, untrained: bool = False) -> None:
    """Refuse at once a folder that `load_encoder` would refuse later, as far as its files tell without loading them.

    Raises:
        EncoderError: it holds no supported model, or lacks weights, or wants what cannot be given.
    """
    model_family(folder)
    _preprocessing(folder)
    if not untrained:
        _weight_files(folder)


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
        folder = encoder_folder(name.removeprefix("random:"), weights=not untrained)
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
    settings, source = _settings(folder)
    if source.name == "processor_config.json":  # the rest of it is the tokenizer's
        digest.update(json.dumps(settings, sort_keys=True).encode())
    config = _read(folder / "config.json")
    if config.get("conv_pos_batch_norm") or config["model_type"] == "wav2vec2-bert" and config.get("add_adapter"):
        digest.update(b"layers of one utterance")  # earlier editions stored others under the same files
    return digest.hexdigest()


def _settings(folder: Path) -> tuple[dict, Path]:
    """What a checkpoint says of its feature extractor, and the file that says it, found as transformers finds it."""
    processor, own = folder / "processor_config.json", folder / "preprocessor_config.json"
    parts = _read(processor)
    nested = parts.get("feature_extractor", parts.get("audio_processor"))
    return (nested, processor) if isinstance(nested, dict) else (_read(own), own)


def _preprocessing(folder: Path) -> dict:
    """The settings of a checkpoint's feature extractor, all of which can be obeyed.

    Raises:
        EncoderError: it wants what an encoder is not given here, or settings that do not fit its model.
    """
    config = _read(folder / "config.json")
    settings, file = _settings(folder)
    usual = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": SAMPLE_RATE}
    if config["model_type"] == "whisper":
        usual["feature_extractor_type"] = "WhisperFeatureExtractor"
        usual |= {"feature_size": config.get("num_mel_bins", 80), "padding_side": "right", "dither": 0.0}
        hop = settings.get("hop_length", 160)
        usual["chunk_length"] = 2 * config.get("max_source_positions", 1500) * hop / SAMPLE_RATE
        settings = {"feature_size": usual["feature_size"], "chunk_length": 30} | settings
    elif config["model_type"] == "wav2vec2-bert":
        usual["feature_extractor_type"] = "SeamlessM4TFeatureExtractor"
        settings = {"num_mel_bins": 80, "stride": 2} | settings
        usual["stride"] = config.get("feature_projection_input_dim", 160) / settings["num_mel_bins"]
    else:
        usual["feature_size"] = 1
    for name, value in usual.items():
        if settings.get(name, value) != value:
            raise EncoderError(
                f"{file} wants {name} {settings[name]!r}, but here this {config['model_type']} model can be given only "
                f"{value!r}."
            )
    return settings


def _weight_files(folder: Path) -> list[Path]:
    """The files that hold a checkpoint's weights, found as transformers finds them."""
    own = _read(folder / "config.json").get("transformers_weights")
    for name in filter(None, (own, "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                              "pytorch_model.bin.index.json")):  # fmt: skip
        files = [folder / name]
        if name.endswith(".index.json"):
            files = sorted({folder / shard for shard in _read(folder / name).get("weight_map", {}).values()})
        missing = [file.name for file in files if not file.is_file()]
        if len(files) > 1 and missing:
            raise EncoderError(f"{folder} lacks {len(missing)} of {len(files)} files of weights, {missing[0]} first.")
        if not files or missing:
            continue
        for file in files:
            with file.open("rb") as stream:
                if stream.read(20).startswith(b"version https://git"):
                    raise EncoderError(f"{file} is Git LFS's note of where the weights are: fetch them (git lfs pull).")
        return files
    raise EncoderError(f"{folder} holds no weights: model.safetensors (or pytorch_model.bin) is needed.")


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
    if "auto_map" in _read(folder / "config.json"):
        warnings.warn(f"{folder} brings code of its own, which is not run: it is loaded as any {family}.", stacklevel=3)
    model_class = WhisperModel if family == "whisper" else AutoModel
    report: dict[str, list] = {}
    try:
        # A checkpoint's wishes on what a forward pass returns are not for us, who take the layers with hooks.
        plain = {"return_dict": True, "output_hidden_states": False, "output_attentions": False}
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, **plain)
        if untrained:
            # The seed is set in a fork, so that loading a control leaves the caller's random numbers alone.
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(RANDOM_SEED)
                make = WhisperModel._from_config if family == "whisper" else AutoModel.from_config
                model = make(config, dtype=torch.float32)
        else:
            with quiet_transformers():
                model, report = model_class.from_pretrained(
                    folder, config=config, trust_remote_code=False, dtype=torch.float32, weights_only=True,
                    ignore_mismatched_sizes=True, output_loading_info=True,
                )  # fmt: skip
    except pickle.UnpicklingError:
        raise EncoderError(
            f"{_weight_files(folder)[0]} holds more than tensors, or is damaged: it is not opened, for it could run "
            "code; ask its authors for model.safetensors."
        ) from None
    except Exception as error:  # each library has errors of its own for a file that it cannot read
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise EncoderError(f"The model in {folder} cannot be made from its config.json and weights: {reason}") from None
    _check_loaded(folder, model, report)
    return model.get_encoder() if family == "whisper" else model


def _check_loaded(folder: Path, model: torch.nn.Module, report: dict[str, list]) -> None:
    """Whether the weights were those of the model that config.json describes; what is left over is said."""
    # The mask embedding serves pretraining only; everything else missing would be random numbers in disguise.
    missing = sorted(key for key in report.get("missing_keys", ()) if "masked_spec_embed" not in key)
    if missing:
        raise EncoderError(
            f"The weights in {folder} lack {len(missing)} tensors, {missing[0]} first: it is incomplete."
        )
    misshapen = sorted(report.get("mismatched_keys", ()))
    if misshapen:
        name, found, wanted = misshapen[0]
        raise EncoderError(
            f"The weights in {folder} do not fit its config.json: {len(misshapen)} tensors have another shape, {name} "
            f"first ({tuple(found)}, not {tuple(wanted)})."
        )
    # Heads are left over wherever a checkpoint was trained for a task; parts of the encoder should not be.
    parts = {name for name, _ in model.named_children()}
    unused = sorted(key for key in report.get("unexpected_keys", ()) if parts & set(key.split(".")[:2]))
    if unused:
        warnings.warn(
            f"{len(unused)} tensors of the weights in {folder} have no place in the model of its config.json and are "
            f"left out, {unused[0]} first.",
            stacklevel=4,
        )
    if report and any("adapter_layer" in name for name, _ in model.named_modules()):
        warnings.warn(
            f"Of {folder} the language adapter inside its weights is used (load_encoder says how to take another).",
            stacklevel=4,
        )


def _batches(config) -> bool:
    """Whether a padded batch gives each utterance the layers that it has alone.

    A batch norm before the positional convolution makes something of the zeros behind an utterance's end, which the
    convolution then carries into it.
    """
    return config.model_type in _BATCHED and not getattr(config, "conv_pos_batch_norm", False)


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

    normalise = _normalises(folder, model.config)
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
        parts = [transform(part) for part in ([projected] if _batches(model.config) else [[p] for p in projected])]
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

    extractor = WhisperFeatureExtractor(**_preprocessing(folder))
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
        lengths = [-(-len(audio) // (2 * extractor.hop_length)) for audio in utterances]
        result = {layer: [h[:n] for h, n in zip(kept[layer].float(), lengths)] for layer in layers}
        kept.clear()
        return result

    return layers, run


def _w2v_bert(model, folder: Path):
    """w2v-BERT 2.0: filter banks instead of convolutions on the waveform, so there is no layer ``cnn``."""
    from transformers import SeamlessM4TFeatureExtractor

    extractor = SeamlessM4TFeatureExtractor(**_preprocessing(folder))
    layers = tuple(str(n) for n in range(len(model.encoder.layers) + 1))
    kept: dict[str, torch.Tensor] = {}
    _record_layers(model.encoder.layers, kept)

    def run(utterances: list[np.ndarray]) -> dict[str, list[torch.Tensor]]:
        result: dict[str, list[torch.Tensor]] = {layer: [] for layer in layers}
        for audio in utterances:
            features = extractor(audio, sampling_rate=SAMPLE_RATE, return_tensors="pt")
            frames = int(features.attention_mask.sum())
            projected = model.feature_projection(_sent(features.input_features[:, :frames], model))[0]
            model.encoder(projected)  # whose last block's output is its own; what add_adapter adds is no layer
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


def _normalises(folder: Path, config) -> bool:
    """Whether a checkpoint wants normalised waveforms.

    Where none of its files says so, the rule of wav2vec 2.0's authors is followed: with layer norm in the convolutions
    yes, with group norm no.
    """
    settings = _preprocessing(folder)
    if settings:
        return settings.get("do_normalize", True)  # the feature extractor's own default
    guessed = getattr(config, "feat_extract_norm", "layer") == "layer"
    warnings.warn(
        f"{folder} has no preprocessor_config.json to say whether waveforms are normalised (do_normalize): taken as "
        f"{str(guessed).lower()}, from the norm of its convolutions.",
        stacklevel=4,
    )
    return guessed
