"""What a study will take, before it is begun: time, memory and disk of each encoder, from its configuration alone.

Parameters and the size of what is kept are counted and exact. Time is operations over speed: operations of the
encoder's layers and of the probes' products, speed that of a matrix product on this very machine, measured now, times
`SHARE`; to this comes CTC's recursion. Not counted are decoding audio, aligning phones and downloading; memory is what
the largest arrays and the libraries take.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from fairlib.corpora import CORPORA, CorpusError, borrowed, load_corpus
from fairlib.corpora.audio import SAMPLE_RATE
from fairlib.encoders import LOGMEL, LOGMEL_AROUND, EncoderError, configuration
from fairlib.encoders.checkpoints import LOGMEL_COSINES
from fairlib.encoders.devices import best_device, half_precision
from fairlib.encoders.extraction import BATCH_SECONDS
from fairlib.encoders.names import without_random
from fairlib.probes import CharacterProbe, PhoneProbe
from fairlib.probes.speakers import BALANCED_SPEECH

# Of a matrix product's speed. One core of a processor reached 0.67 with a pocket encoder and 0.97 with one of base
# size; on a GPU it was not measured.
SHARE = 0.8

# CTC's recursion goes step by step, however wide the layers are: seconds for each second of speech, in each pass, as
# published log-mel outcomes took on one core. On a GPU it was not measured.
RECURSION = 2e-3

_LIBRARIES = 1.0e9  # bytes that Python and its libraries take; 0.93e9 were measured before there was any speech
_SOUNDING = 0.6  # of all frames; the others are silence
_PHONES, _CHARACTERS, _EVALUATIONS = 40, 30, 1.25  # classes; evaluations of the loss in one step of L-BFGS
_SPEAKER_STEPS = 70  # of L-BFGS, until a speaker probe has converged; 58 to 99 at seven layers on speechocean762
_TRAININGS = {"train_across_groups": 2, "erase_group": 4}  # of a seed, in those on all that trains


def encoder_size(config: Mapping[str, Any], seconds: float = 4.0) -> dict[str, Any]:
    """Parameters, layers and operations of an encoder of a configuration; no weight is made.

    Args:
        config: as in config.json; what it leaves out is its family's default.
        seconds: of one utterance; attention costs more in longer ones.

    Returns:
        ``parameters``; ``widths``, of each layer; ``steps``, kernel and stride of each convolution; ``operations``, for
        a second of speech (two for a multiplication and an addition); ``inner``, the width of all that lives at once
        within a block.

    Raises:
        EncoderError: of families without convolutions on the waveform, for which nothing is predicted.

    Example:
        >>> base = encoder_size({"model_type": "hubert"})
        >>> base["parameters"], base["widths"]["cnn"], base["widths"]["12"]
        (94371712, 512, 768)
    """
    from transformers import AutoConfig, AutoModel

    known = dict(config)
    full = AutoConfig.for_model(known.pop("model_type"), **known)
    if not hasattr(full, "conv_dim"):
        raise EncoderError(f"No prediction for {full.model_type}: it has no convolutions on the waveform.")
    with torch.device("meta"):
        model = AutoModel.from_config(full)
    steps = list(zip(full.conv_kernel, full.conv_stride))
    samples, operations = int(seconds * SAMPLE_RATE), 0
    first = {id(module) for module in model.feature_extractor.modules()}
    length = samples
    for module in model.modules():
        if isinstance(module, torch.nn.Conv1d) and id(module) in first:
            length = (length - module.kernel_size[0]) // module.stride[0] + 1
            operations += 2 * length * _weights(module)
    frames = length
    for module in model.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv1d) and id(module) not in first:
            operations += 2 * frames * _weights(module)
    operations += 4 * frames**2 * full.hidden_size * full.num_hidden_layers  # attention's two products
    widths = {"cnn": full.conv_dim[-1]} | {str(layer): full.hidden_size for layer in range(full.num_hidden_layers + 1)}
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "widths": widths,
        "steps": steps,
        "operations": operations / seconds,
        "inner": 2 * full.intermediate_size + 4 * full.hidden_size,
    }


def _weights(module: torch.nn.Module) -> int:
    if isinstance(module, torch.nn.Linear):
        return module.in_features * module.out_features
    return module.out_channels * module.in_channels // module.groups * module.kernel_size[0]


def frames_of(seconds: np.ndarray, steps: Sequence[tuple[int, int]]) -> np.ndarray:
    """Frames that convolutions without padding leave of utterances."""
    lengths = np.round(np.asarray(seconds) * SAMPLE_RATE).astype(int)
    for kernel, stride in steps:
        lengths = (lengths - kernel) // stride + 1
    return lengths


def measured_speed(dtype: torch.dtype, device: str, seconds: float = 1.0) -> float:
    """Operations a second of the fastest of many products of two square matrices: what else the machine is doing just
    now slows most of them, and will not do so for hours."""
    size = 1024 if device == "cpu" else 4096
    one, other = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    (one @ other).sum().item()
    started, fastest = time.perf_counter(), float("inf")
    while time.perf_counter() - started < seconds:
        begun = time.perf_counter()
        (one @ other)[0, 0].item()  # waits for the device
        fastest = min(fastest, time.perf_counter() - begun)
    return 2 * size**3 / fastest


def predict(
    calls: pd.DataFrame,
    shapes: Mapping[str, Mapping[str, Any]],
    device: str | None = None,
    speed: float | None = None,
) -> pd.DataFrame:
    """Time, memory and disk of a study's calls, for each encoder.

    Args:
        calls: from `fairlib.book.studies.read_study`.
        shapes: configurations of encoders that are not at hand, by name.
        device: as in `fairlib.load_encoder`.
        speed: of a GPU that is not here, in operations a second of a product of two matrices in half precision; by
            default the device's is measured.

    Returns:
        One row an encoder: ``parameters``, ``download_gb``, ``disk_gb`` (features of one encoder, removed when it is
        done), ``memory_gb`` (of the process; on a GPU, most of it there), ``hours``; those that cannot be predicted
        have ``unknown``, the reason, instead.
    """
    device = "cuda" if speed else device or best_device()
    if speed:
        speeds = {"encoder": SHARE * speed, "probe": SHARE * speed}
    else:
        half = half_precision(device) or torch.float32
        speeds = {"encoder": SHARE * measured_speed(half if device == "cuda" else torch.float32, device)}
        speeds["probe"] = SHARE * measured_speed(half, device)
    speech = {name: corpus_size(name) for name in _corpora(calls)}
    rows = []
    for encoder, mine in calls.groupby("encoder", sort=False):
        try:
            batch = BATCH_SECONDS[torch.device(device).type]
            rows.append({"encoder": encoder, **_predicted(str(encoder), mine, shapes, speech, speeds, batch)})
        except EncoderError as error:
            rows.append({"encoder": encoder, "unknown": str(error)})
    return pd.DataFrame(rows)


def told(predicted: pd.DataFrame, device: str | None = None) -> str:
    """A prediction as a table for a terminal, and what it rests on."""
    lines = [f"{'encoder':48}{'parameters':>12}{'download':>11}{'disk':>11}{'memory':>11}{'time':>9}"]
    for row in predicted.fillna({"unknown": ""} if "unknown" in predicted else {}).to_dict("records"):
        if row.get("unknown"):
            lines.append(f"{row['encoder']:48}{row['unknown']}")
            continue
        sizes = "".join(f"{row[f'{kind}_gb']:>8.1f} GB" for kind in ("download", "disk", "memory"))
        lines.append(f"{row['encoder']:48}{row['parameters'] / 1e6:>10.1f} M{sizes}{row['hours']:>7.1f} h")
    hours = predicted["hours"].sum() if "hours" in predicted else 0.0
    lines.append(
        f"Total: about {hours:,.0f} hours on {device or best_device()}, one encoder after the other; the disk space is"
        f" freed after each.\nTime: number of operations, at {SHARE:g} of the speed of a matrix product"
        f"{'' if device and 'TFLOPS' in device else ' measured on this machine just now'}; decoding, aligning and"
        " downloading are not included.\nMemory: the largest arrays and"
        " the libraries."
    )
    return "\n".join(lines)


def corpus_size(name: str) -> tuple[np.ndarray, int]:
    """Seconds of each utterance and number of speakers; of a corpus that is not at hand, as it was published."""
    try:
        table = load_corpus(name)
        return table["duration_s"].to_numpy(), table["speaker_id"].nunique()
    except CorpusError:
        size = CORPORA[name].size if name in CORPORA else None
        if size is None:
            raise
        return np.full(size.utterances, 3600 * size.hours / size.utterances), size.speakers


def _corpora(calls: pd.DataFrame) -> list[str]:
    asr = calls.loc[calls["call"] == "probe_characters", "corpus"].unique()
    lent = [other for name in asr for other in borrowed(name)]
    return list(dict.fromkeys([*calls["corpus"], *lent]))


def _logmel_size(name: str) -> dict[str, Any]:
    """As `encoder_size`, of log-mel, or of one that sees more around the encoders' own frames."""
    around = LOGMEL_AROUND.get(name)
    stacked = LOGMEL["stacked"] if around is None else min(LOGMEL_COSINES, 2 * around + 1)
    steps = [(320 if around is None else 400, 320)]
    widths = {"logmel": LOGMEL["mels"] * stacked}
    return {"parameters": 0, "widths": widths, "steps": steps, "operations": 1e7, "inner": 0}


def _predicted(encoder: str, calls: pd.DataFrame, shapes, speech, speeds, batch_seconds) -> dict[str, Any]:
    plain = without_random(encoder)
    if encoder in ("logmel", *LOGMEL_AROUND):
        size = _logmel_size(encoder)
    else:
        config = configuration(plain) or shapes.get(plain)
        if config is None:
            raise EncoderError(f"No configuration of {plain} is available, and the study's [shapes] do not give one.")
        size = encoder_size(config)
    total, layers = sum(size["widths"].values()), len(size["widths"])
    passes, kept = {}, {}  # seconds of speech that the encoder hears; bytes of features
    probes, largest, waiting = 0.0, 0.0, 0.0
    for row in calls.to_dict("records"):
        seconds, speakers = speech[row["corpus"]]
        altered = (bool(row["settings"].get("perturbed")), bool(row["settings"].get("balance")))
        heard = [(row["corpus"], *altered)]
        if row["call"] == "probe_characters":
            heard = [(name, False, False) for name in (row["corpus"], *borrowed(row["corpus"]))]
        for corpus, perturbed, cut in heard:
            lengths = speech[corpus][0]
            lengths = (
                lengths[lengths >= BALANCED_SPEECH["seconds"]] * 0 + BALANCED_SPEECH["seconds"] if cut else lengths
            )
            passes[corpus, perturbed, cut] = lengths.sum()
            frames = 0 if perturbed or cut else frames_of(lengths, size["steps"]).sum()
            kept[corpus, perturbed, cut] = total * (2 * frames + 8 * len(lengths))
        work, memory, trained = _probe(row, seconds, speakers, heard, speech, size)
        probes, largest, waiting = probes + work, max(largest, memory), waiting + trained * RECURSION
    longest_batch = max(min(batch_seconds, heard) for heard in passes.values())  # there may be less speech than that
    batch_frames = longest_batch * 50
    longest = max(float(speech[name][0].max()) for name in _corpora(calls))
    encoding = (
        4 * size["parameters"]
        + 8 * batch_frames * total  # every layer of a batch, as the model made it and as it is kept
        + 4 * batch_frames * size["inner"]  # within a block: before and behind its activation, and attention's
        + 3 * 4 * longest * SAMPLE_RATE / size["steps"][0][1] * size["widths"].get("cnn", 0)
    )
    heard_s = sum(passes.values())
    return {
        "parameters": size["parameters"],
        "layers": layers,
        "download_gb": 0.0 if configuration(plain) or encoder == "logmel" else 4 * size["parameters"] / 1e9,
        "disk_gb": sum(kept.values()) / 1e9,
        "memory_gb": (_LIBRARIES + max(encoding, largest)) / 1e9,
        "hours": (heard_s * size["operations"] / speeds["encoder"] + probes / speeds["probe"] + waiting) / 3600,
    }


def _probe(row, seconds, speakers, heard, speech, size) -> tuple[float, float, float]:
    """A probe's training: operations, three for each product (forward and two gradients), bytes of its arrays, and
    seconds of speech that CTC passes over, all passes together."""
    widths, settings = list(size["widths"].values()), row["settings"]
    usual = 5 if row["call"] in ("identify_among", "train_across_groups") else 1
    seeds = settings.get("seeds", settings.get("draws", usual)) * _TRAININGS.get(row["call"], 1)
    if row["call"] == "probe_characters":
        probe = CharacterProbe()
        trained = sum(speech[name][0].sum() / (2 if name == row["corpus"] else 1) for name, *_ in heard)
        frames = trained * 50 / probe.stride * probe.passes
        inner = probe.kernel * probe.width**2 + probe.width * _CHARACTERS
        # Narrower layers are padded to the widest.
        each = len(widths) * (probe.kernel * max(widths) * probe.width + inner)
        batch = min(probe.seconds_per_batch, trained) * 50 / probe.stride
        # The neighbouring frames side by side, and their gradient; weights with both of Adam's averages.
        memory = batch * len(widths) * probe.kernel * max(widths) * (2 + 2) + 16 * each
        return seeds * 6 * frames * each, memory, seeds * trained * probe.passes
    if row["call"] == "probe_phones" or settings.get("task") == "phone":
        rows, classes, iterations, columns = seconds.sum() * 50 * _SOUNDING, _PHONES, PhoneProbe().iterations, 1
    else:
        rows, classes, iterations, columns = len(seconds), speakers, _SPEAKER_STEPS, 2
    # Half of the frames, or three quarters of the utterances, are trained on.
    work = sum(4 * rows * columns * width * classes * iterations * _EVALUATIONS for width in widths)
    # One layer's frames in half precision, and three times in single: as read, standardised, with the bias.
    return seeds * work, 14 * rows * columns * max(widths), 0.0
