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

import pickle
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fairlib.encoders.checkpoints import (
    LOGMEL_AROUND,
    RANDOM_SEED,
    EncoderError,
    check_folder,
    encoder_fingerprint,
    encoder_folder,
    model_family,
    read_json,
    weight_files,
)
from fairlib.encoders.names import is_untrained, without_random

if TYPE_CHECKING:
    import torch


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


def load_encoder(
    name: str, device: str | None = None, dtype: str | None = None, compiled: bool = False
) -> Encoder:  # fmt: skip
    """Load an encoder by name.

    Args:
        name: a shipped encoder (``pocket-hubert``), a folder in the `transformers` format, a hub id
            (``facebook/hubert-base-ls960``), ``random:<any of these>`` (same architecture, untrained), ``logmel``, or
            log-mel with the context of an encoder's layer (``logmel-25ms``, ``-105ms``, ``-345ms``, ``-645ms``).
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

    from fairlib.encoders import families
    from fairlib.encoders.devices import best_device, exact_grouped_convolutions, half_precision

    device = device or best_device()
    if dtype is None:
        # On a processor half precision would gain little in inference and cost reproducibility between machines.
        dtype = str(half_precision(device)).removeprefix("torch.") if device.startswith("cuda") else "float32"
    if dtype not in ("float32", "bfloat16", "float16"):
        raise EncoderError(f"Unknown precision {dtype!r}: choose float32, bfloat16 or float16.")
    if name == "logmel":
        return Encoder(name, ("logmel",), encoder_fingerprint(name), device, "float32", families.logmel(device))
    if name in LOGMEL_AROUND:
        around = families.logmel_around(LOGMEL_AROUND[name], device)
        return Encoder(name, ("logmel",), encoder_fingerprint(name), device, "float32", around)

    untrained = is_untrained(name)
    folder = encoder_folder(without_random(name), weights=not untrained)
    check_folder(folder, untrained)
    fingerprint = encoder_fingerprint(name)
    model = _load_model(folder, untrained).to(device, getattr(torch, dtype)).eval()
    if torch.device(device).type == "cpu" and dtype != "float32":
        exact_grouped_convolutions(model)
    family = model.config.model_type
    if family == "whisper":
        layers, run = families.whisper(model, folder)
    elif family == "wav2vec2-bert":
        layers, run = families.w2v_bert(model, folder)
    else:
        layers, run = families.convolutional(model, folder)
    if compiled:
        # Each block's own function, so that the hooks around the blocks stay outside; all blocks share the kernels.
        for block in model.layers if family == "whisper" else model.encoder.layers:
            block.forward = torch.compile(block.forward, dynamic=True)

    @torch.inference_mode()
    def layers_of(utterances: list[np.ndarray]) -> dict[str, list[torch.Tensor]]:
        return run(utterances)

    return Encoder(
        name, layers, fingerprint, device, dtype, layers_of, model, pads=families.batches_exactly(model.config)
    )


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
    if "auto_map" in read_json(folder / "config.json"):
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
            f"{weight_files(folder)[0]} holds more than tensors, or is damaged: it is not opened, for it could run "
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
