"""Which encoders there are: what ships, how each was trained, what it has heard, and what its layers are called."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairlib.encoders.checkpoints import (
    CHECKPOINTS,
    HUB_ID,
    LOGMEL_AROUND,
    SHIPPED,
    SUPPORTED,
    EncoderError,
    _place,
    encoder_folder,
    our_encoders,
    read_json,
    shipped_encoders,
)
from fairlib.encoders.names import is_untrained, parsed, without_random

if TYPE_CHECKING:
    import pandas as pd


def finetuned_from(name: str) -> tuple[str, str] | None:
    """The pretrained encoder that a fine-tuned one was made from, and the corpus it was tuned on; else None.

    Known of encoders that `fairlib.training.finetuning` made; others do not say it in a way that a program could read.

    Example:
        >>> finetuned_from("pocket-hubert") is None
        True
    """
    record = None if is_untrained(name) else encoder_folder(name) / "finetuning.json"
    if record is None or not record.is_file():
        return None
    written = json.loads(record.read_text())
    return written["finetuned_from"], written["corpus"]


def pretraining_data(name: str) -> list[dict]:
    """What an encoder of ours was pretrained on, part by part as in its recipe; empty for others, of which it is not
    known."""
    return pretraining_recipe(name).get("data", [])


def pretraining_recipe(name: str) -> dict:
    """The recipe that an encoder of ours was pretrained by, as its record keeps it; empty for others.

    Example:
        >>> pretraining_recipe("mini-hubert")["schedule"]["steps"]
        1500
    """
    record = encoder_folder(name) / "pretraining.json"
    return json.loads(record.read_text())["recipe"] if record.is_file() else {}


def pretrained_alike(*but: str) -> list[list[str]]:
    """Encoders of ours whose recipes are the same but for their names and these parts; each group has two or more.

    Args:
        but: parts of a recipe, such as ``data``, or of its tables, such as ``model.hidden_size``.

    Example:
        >>> pretrained_alike("data")
        [['mini-hubert', 'mini-hubert-learners'], ['pocket-hubert', 'pocket-hubert-children']]
    """
    groups: dict[str, list[str]] = {}
    for name in our_encoders():
        recipe = pretraining_recipe(name)
        rest: dict[str, Any] = {}
        for part, value in recipe.items():
            rest |= {f"{part}.{key}": each for key, each in value.items()} if isinstance(value, dict) else {part: value}
        for part in ("name", *but):
            rest.pop(part, None)
        if rest:
            groups.setdefault(json.dumps(rest, sort_keys=True), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def parameters_of(name: str) -> int:
    """How many weights an encoder of ours has, from the head of its file; where that does not ship, from its record, or
    as many as the encoder has that it was fine-tuned from.

    Example:
        >>> round(parameters_of("mini-hubert") / 1e6, 1)
        3.2
    """
    if name not in shipped_encoders():
        made = finetuned_from(name)
        return parameters_of(made[0]) if made else read_json(SHIPPED / name / "pretraining.json")["parameters"]
    with (SHIPPED / name / "model.safetensors").open("rb") as file:
        head = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    return sum(math.prod(tensor["shape"]) for key, tensor in head.items() if key != "__metadata__")


def pretraining_task(name: str) -> str | None:
    """The family whose task an encoder was pretrained with, such as hubert; its network may be another's. Of encoders
    that are not ours, the network's family.

    Example:
        >>> pretraining_task("mini-hubert"), pretraining_task("mini-wavlm")
        ('hubert', 'wavlm')
    """
    return pretraining_recipe(name).get("family") or (configuration(name) or {}).get("model_type")


def started_from(name: str) -> str | None:
    """The encoder of ours whose convolutions a pretraining began with; None where all began as random numbers.

    Example:
        >>> started_from("pocket-wav2vec2"), started_from("pocket-wavlm")
        ('pocket-hubert-it1', None)
    """
    made = finetuned_from(name)
    recipe = pretraining_recipe(made[0] if made else name)
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
    if name == "logmel" or name in LOGMEL_AROUND:
        return ("logmel",)
    config = configuration(name) or {}
    blocks = config.get("encoder_layers" if config.get("model_type") == "whisper" else "num_hidden_layers")
    if config.get("model_type") not in SUPPORTED or not isinstance(blocks, int):
        return None
    first = () if config["model_type"] == "wav2vec2-bert" else ("cnn",)
    return (*first, *(str(number) for number in range(blocks + 1)))


def hears_ms(name: str, layer: str) -> float | None:
    """How much speech a frame of a layer is made from, in milliseconds; None where it is not known.

    The convolutions hear a stretch of fixed length, and a positional convolution before the blocks widens it for layer
    ``0``. A block hears the whole utterance.

    Example:
        >>> [hears_ms("pocket-hubert", layer) for layer in ("cnn", "0", "1")]
        [25.0, 645.0, inf]
    """
    config = configuration(name) or {}
    if not {"conv_kernel", "conv_stride", "num_conv_pos_embeddings"} <= set(config):
        return None
    samples, step = 1, 1
    for kernel, stride in zip(config["conv_kernel"], config["conv_stride"]):
        samples += (kernel - 1) * step
        step *= stride
    if layer == "0":
        samples += (config["num_conv_pos_embeddings"] - 1) * step
    return samples / 16 if layer in ("cnn", "0") else math.inf


def logmel_as_wide(name: str, layer: str) -> str:
    """The log-mel that hears as much speech in a frame as a layer does, or the widest one.

    Example:
        >>> [logmel_as_wide("pocket-hubert", layer) for layer in ("cnn", "0", "6")], logmel_as_wide("mine", "0")
        (['logmel-25ms', 'logmel-645ms', 'logmel-645ms'], 'logmel')
    """
    heard = hears_ms(name, layer)
    if heard is None:
        return "logmel"
    wide = [control for control, steps in LOGMEL_AROUND.items() if 25 + 20 * steps >= heard]
    return wide[0] if wide else list(LOGMEL_AROUND)[-1]


def configuration(name: str) -> dict | None:
    """What an encoder's config.json says, if it is shipped, a folder, or a hub id that was fetched before."""
    # Along its pretraining, and from another seed, an encoder keeps its shape.
    said = parsed(name)
    name = without_random(name) if said.step is None else said.plain
    file = _place(name) / "config.json"
    if not file.is_file() and HUB_ID.fullmatch(name):
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(name, "config.json")
        file = Path(cached) if isinstance(cached, str) else file
    try:
        return read_json(file) or None
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
    return sorted(
        int(step) for encoder, _, step in (entry.partition("@") for entry in known) if encoder == name and step
    )
