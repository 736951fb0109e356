"""The files of an encoder: where they lie, what they say of how it wants to be run, and their fingerprint. Loads no
model."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
from pathlib import Path

from fairlib.base.files import ASSETS, cache_folder
from fairlib.corpora.audio import SAMPLE_RATE
from fairlib.encoders.names import is_logmel, is_untrained, without_random

SHIPPED = ASSETS / "encoders"
CHECKPOINTS = SHIPPED.parent / "checkpoints.json"  # fingerprints of encoders whose weights do not ship
RANDOM_SEED = 0
LOGMEL = {"mels": 80, "window_s": 0.025, "step_s": 0.010, "stacked": 2, "floor": 1e-6}
# Log-mel on the encoders' own frames, with what lies around each: steps of 10 ms to either side, by name. The name says
# how much speech a frame sees: 25 ms as the convolutions do, up to what a positional convolution of 32 frames adds.
LOGMEL_AROUND = {"logmel-25ms": 0, "logmel-105ms": 4, "logmel-345ms": 16, "logmel-645ms": 31}
LOGMEL_COSINES = 8  # of the course over time of each mel band


# Padding reaches these encoders' transformers only through a mask that they obey everywhere, so that a batch gives the
# features of one utterance at a time (but see `batches_exactly`). The other families are run utterance by utterance:
# data2vec stacks positional convolutions that leak across the mask, SEW pools over time, w2v-BERT convolves inside its
# blocks.
BATCHED = {"wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat"}
CONVOLUTIONAL = BATCHED | {"data2vec-audio", "sew", "wav2vec2-conformer"}
SUPPORTED = CONVOLUTIONAL | {"wav2vec2-bert", "whisper"}
CITE = {  # what describes each family: keys in book/references.bib
    "wav2vec2": "baevski2020", "hubert": "hsu2021", "wavlm": "chen2022", "unispeech": "unispeech2021",
    "unispeech-sat": "unispeechsat2021", "data2vec-audio": "data2vec2022", "sew": "sew2021",
    "wav2vec2-conformer": "fairseqs2t2020", "wav2vec2-bert": "seamless2023", "whisper": "whisper2022",
}  # fmt: skip


HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_SETTINGS = ["config.json", "preprocessor_config.json", "processor_config.json", "adapter_config.json"]


class EncoderError(ValueError):
    """An encoder cannot be found, loaded, or is not a speech encoder; the message names it and what is allowed."""


def our_encoders() -> list[str]:
    """Names of the encoders that this project trained; the weights of some do not ship, their outcomes do."""
    return sorted(folder.parent.name for folder in SHIPPED.glob("*/config.json"))


def shipped_encoders() -> list[str]:
    """Names of the encoders whose weights come with the package."""
    return [name for name in our_encoders() if (SHIPPED / name / "model.safetensors").is_file()]


def training_command(name: str, output: str = "FOLDER") -> str:
    """The command that trains one of our encoders once more; one that was fine-tuned is then found in that folder.

    Example:
        >>> training_command("mini-hubert"), training_command("pocket-hubert-asr-librispeech", "mine")
        ('fairlib pretrain mini-hubert', 'fairlib finetune pocket-hubert --corpus librispeech --output mine')
    """
    tuned = read_json(SHIPPED / name / "finetuning.json")
    if not tuned:
        return f"fairlib pretrain {name}"
    return f"fairlib finetune {tuned['finetuned_from']} --corpus {tuned['corpus']} --output {output}"


def _place(name: str) -> Path:
    """Where a name's files lie on this machine, if they do: among the shipped encoders, else the folder it spells."""
    shipped = SHIPPED / name
    if Path(name).name != name or not (shipped / "config.json").is_file():  # ./pocket-hubert is a folder of one's own
        return Path(os.path.expanduser(name))
    made = pretraining_folder(name) / "encoder"  # where `fairlib pretrain` leaves weights that do not ship
    return made if name not in shipped_encoders() and (made / "config.json").is_file() else shipped


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
    if is_logmel(name):
        raise EncoderError(f"{name} is the plain spectrogram: it has neither weights nor a folder.")
    folder = _place(name)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            model_family(folder)  # says what is amiss
        return folder
    if not HUB_ID.fullmatch(name) or name.startswith("."):
        known = [*shipped_encoders(), "logmel", *LOGMEL_AROUND]
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


def read_json(file: Path) -> dict:
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
    adapter = read_json(folder / "adapter_config.json")
    if adapter:  # transformers would use it or not, by whether peft happens to be installed
        raise EncoderError(
            f"{folder} holds a PEFT adapter ({adapter.get('peft_type', 'of unknown type')}) of "
            f"{adapter.get('base_model_name_or_path')}: merge it (merge_and_unload), and give the folder of the whole."
        )
    if not (folder / "config.json").is_file():
        raise EncoderError(f"{folder} holds no config.json: give a folder in the transformers format.")
    family = read_json(folder / "config.json").get("model_type")
    if family not in SUPPORTED:
        raise EncoderError(
            f"{folder} is a {family or 'nameless'} model, not a supported speech encoder: choose one of the families "
            f"{', '.join(sorted(SUPPORTED))}."
        )
    return family


def check_folder(folder: Path, untrained: bool = False) -> None:
    """Refuse at once a folder that `load_encoder` would refuse later, as far as its files tell without loading them.

    Raises:
        EncoderError: it holds no supported model, or lacks weights, or wants what cannot be given.
    """
    model_family(folder)
    preprocessing(folder)
    if not untrained:
        weight_files(folder)


def pretraining_folder(name: str) -> Path:
    """Where `fairlib.training.pretraining` keeps a run, its steps among it, unless it is told otherwise."""
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
    if name in LOGMEL_AROUND:
        said = LOGMEL | {"around": LOGMEL_AROUND[name], "cosines": LOGMEL_COSINES}
        digest.update(json.dumps(said, sort_keys=True).encode())
        return digest.hexdigest()
    untrained = is_untrained(name)
    try:
        folder = encoder_folder(without_random(name), weights=not untrained)
        files = [] if untrained else weight_files(folder)
    except EncoderError:
        # Some weights do not ship, but their outcomes do, and are known by the weights' fingerprint.
        published = json.loads(CHECKPOINTS.read_text()) if CHECKPOINTS.is_file() else {}
        if name not in published:
            raise
        return published[name]
    if untrained:
        digest.update(f"random weights, seed {RANDOM_SEED}".encode())
    for file in [folder / "config.json", folder / "preprocessor_config.json", *files]:
        if file.is_file():
            digest.update(file.name.encode() + b"\0")
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    settings, source = settings_of(folder)
    if source.name == "processor_config.json":  # the rest of it is the tokenizer's
        digest.update(json.dumps(settings, sort_keys=True).encode())
    config = read_json(folder / "config.json")
    if config.get("conv_pos_batch_norm") or config["model_type"] == "wav2vec2-bert" and config.get("add_adapter"):
        digest.update(b"layers of one utterance")  # earlier editions stored others under the same files
    return digest.hexdigest()


def settings_of(folder: Path) -> tuple[dict, Path]:
    """What a checkpoint says of its feature extractor, and the file that says it, found as transformers finds it."""
    processor, own = folder / "processor_config.json", folder / "preprocessor_config.json"
    parts = read_json(processor)
    nested = parts.get("feature_extractor", parts.get("audio_processor"))
    return (nested, processor) if isinstance(nested, dict) else (read_json(own), own)


def preprocessing(folder: Path) -> dict:
    """The settings of a checkpoint's feature extractor, all of which can be obeyed.

    Raises:
        EncoderError: it wants what an encoder is not given here, or settings that do not fit its model.
    """
    config = read_json(folder / "config.json")
    settings, file = settings_of(folder)
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


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a checkpoint's weights, found as transformers finds them."""
    own = read_json(folder / "config.json").get("transformers_weights")
    for name in filter(None, (own, "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                              "pytorch_model.bin.index.json")):  # fmt: skip
        files = [folder / name]
        if name.endswith(".index.json"):
            files = sorted({folder / shard for shard in read_json(folder / name).get("weight_map", {}).values()})
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
    if folder.parent == SHIPPED:
        raise EncoderError(f"The weights of {folder.name} do not ship; make them: {training_command(folder.name)}.")
    raise EncoderError(f"{folder} holds no weights: model.safetensors (or pytorch_model.bin) is needed.")
