"""Pretraining a pocket encoder: HuBERT's masked prediction, small enough for a laptop's processor.

`pretrain` reads a recipe, turns its corpora into one memory-mapped audio file with cluster targets, and trains.
Everything a step does follows from the recipe's seed and the step's number, so a stopped and resumed run takes
the same steps as one that was never stopped.
"""

from __future__ import annotations

import csv
import functools
import json
import math
import os
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torchaudio
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tqdm import tqdm
from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

from fairlib.audio import SAMPLE_RATE, read_audio

RECIPES = Path(__file__).parent / "assets" / "recipes"
CHECKPOINT_EVERY = 200  # steps
# HuBERT's convolutions: one frame every 320 samples, the first one centred on sample 200.
FRAME_STEP, FRAME_WIDTH = 320, 400


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Data(_Part):
    corpus: str


class Targets(_Part):
    clusters: int = Field(gt=1, le=256)
    smoothing_frames: int = Field(gt=0)


class Training(_Part):
    steps: int = Field(gt=0)
    seconds_per_step: float = Field(gt=0)
    longest_crop_s: float = Field(gt=0)
    learning_rate: float = Field(gt=0)
    warm_up: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0)
    gradient_clip: float = Field(gt=0)
    mask_share: float = Field(gt=0, lt=1)
    mask_span: int = Field(gt=0)
    unmasked_weight: float = Field(ge=0)


class Recipe(_Part):
    name: str
    seed: int
    data: list[Data] = Field(min_length=1)
    targets: Targets
    training: Training
    model: dict


class RecipeError(ValueError):
    """A recipe cannot be read or has a wrong key or value; the message names it."""


class PretrainingError(RuntimeError):
    """Training cannot go on; the last checkpoint is intact."""


def read_recipe(recipe: str | Path) -> Recipe:
    """Read and check a recipe: a TOML file, or the name of a shipped one.

    Raises:
        RecipeError: no such recipe, broken TOML, an unknown key or a value out of range.

    Example:
        >>> read_recipe("pocket-hubert").targets.clusters
        64
    """
    path = Path(recipe)
    if not path.exists() and (RECIPES / f"{recipe}.toml").exists():
        path = RECIPES / f"{recipe}.toml"
    if not path.is_file():
        shipped = ", ".join(sorted(file.stem for file in RECIPES.glob("*.toml")))
        raise RecipeError(f"There is no recipe {str(recipe)!r}: give a TOML file or one of {shipped}.")
    try:
        return Recipe(**tomllib.loads(path.read_text()))
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path} is not valid TOML: {error}.") from None
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, p['loc']))}: {p['msg'][0].lower()}{p['msg'][1:]}" for p in error.errors()
        )
        raise RecipeError(f"{path}: {problems}.") from None


@dataclass(frozen=True)
class Speech:
    """Audio of many utterances end to end, with their frame targets."""

    audio: np.ndarray  # int16 [samples], memory-mapped
    audio_starts: np.ndarray  # int64 [utterances + 1]
    targets: np.ndarray  # uint8 [frames]
    target_starts: np.ndarray  # int64 [utterances + 1]

    @property
    def hours(self) -> float:
        return len(self.audio) / SAMPLE_RATE / 3600


def pretrain(recipe: str | Path, output: str | Path) -> Path:
    """Train the recipe's encoder and save it in the `transformers` folder format at ``output/encoder``.

    ``output`` also keeps the prepared audio (about 115 MB an hour of speech), ``checkpoint.pt`` and
    ``losses.csv``. Called again after a stop, it goes on from the last checkpoint, at most 200 steps back.

    Raises:
        RecipeError: as `read_recipe`.
        PretrainingError: the loss is not a finite number.
    """
    recipe = read_recipe(recipe)
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    _same_recipe_as_before(recipe, output)
    speech = prepare_speech(recipe, output)
    return train(recipe, speech, output)


def _same_recipe_as_before(recipe: Recipe, output: Path) -> None:
    record, text = output / "recipe.json", recipe.model_dump_json(indent=1)
    if record.exists() and record.read_text() != text:
        raise RecipeError(f"{output} holds a run of another recipe: choose an empty folder, or delete it.")
    record.write_text(text)


# ---------------------------------------------------------------------------------------------- speech and targets


def prepare_speech(recipe: Recipe, output: Path) -> Speech:
    """Decode the recipe's corpora into one file and give every 20 ms frame its cluster. Done once per ``output``."""
    names = ("audio", "audio_starts", "targets", "target_starts")
    files = {name: output / f"{name}.npy" for name in names}
    if not all(file.exists() for file in files.values()):
        from fairlib.corpora import load_corpus

        paths = [path for part in recipe.data for path in load_corpus(part.corpus)["path"]]
        _prepare(recipe, paths, files)
    return Speech(**{name: np.load(file, mmap_mode="r") for name, file in files.items()})


def _prepare(recipe: Recipe, paths: list[str], files: dict[str, Path]) -> None:
    def decode(path: str) -> tuple[np.ndarray, np.ndarray]:
        audio = read_audio(path)
        # Decoders of lossy formats can overshoot; loudness is left as recorded.
        return (np.clip(audio, -1, 1) * 32767).astype(np.int16), frame_mfcc(audio, recipe.targets.smoothing_frames)

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        decoded = list(tqdm(pool.map(decode, paths), total=len(paths), desc="decode", mininterval=5, unit="utt"))
    audio, mfcc = zip(*decoded, strict=True)
    targets = _cluster(np.concatenate(mfcc), recipe.targets.clusters, recipe.seed)
    _save(files["audio"], np.concatenate(audio))
    _save(files["audio_starts"], np.cumsum([0] + [len(a) for a in audio]))
    _save(files["targets"], targets)
    _save(files["target_starts"], np.cumsum([0] + [len(m) for m in mfcc]))


def frame_mfcc(audio: np.ndarray, smoothing: int) -> np.ndarray:
    """Smoothed MFCC with deltas for each encoder frame, less their mean over the utterance, ``[frames, 26]``.

    The mean carries speaker and channel, which the targets should not name. Row i is centred where the encoder's
    frame i is, on sample ``320 i + 200``.
    """
    mfcc = torchaudio.compliance.kaldi.mfcc(
        torch.from_numpy(audio)[None] * 32768, num_ceps=13, dither=0.0, frame_length=25.0, frame_shift=10.0
    )
    mfcc = torch.cat([mfcc, torchaudio.functional.compute_deltas(mfcc.T[None])[0].T], dim=1)
    kernel = torch.full((1, 1, smoothing), 1 / smoothing)
    padded = torch.nn.functional.pad(mfcc.T[:, None], (smoothing // 2, smoothing - 1 - smoothing // 2), "replicate")
    smooth = torch.nn.functional.conv1d(padded, kernel)[:, 0].T
    frames = smooth[:: FRAME_STEP // 160][: (len(audio) - FRAME_WIDTH) // FRAME_STEP + 1]
    return (frames - frames.mean(dim=0)).numpy()


def _cluster(mfcc: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    from sklearn.cluster import MiniBatchKMeans

    mfcc = mfcc / mfcc.std(axis=0)
    rows = np.random.default_rng(seed).permutation(len(mfcc))[:400_000]
    means = MiniBatchKMeans(clusters, batch_size=10_000, n_init=3, random_state=seed).fit(mfcc[rows])
    return means.predict(mfcc).astype(np.uint8)


def _save(path: Path, array: np.ndarray) -> None:
    temporary = path.with_suffix(".partial.npy")
    np.save(temporary, array)
    temporary.replace(path)


# --------------------------------------------------------------------------------------------------------- training


def batches(recipe: Recipe, speech: Speech) -> Iterator[list[int]]:
    """Utterances of similar length, about ``seconds_per_step`` together, in an order that the seed alone decides."""
    lengths = np.diff(speech.audio_starts) / SAMPLE_RATE
    usable = np.flatnonzero(lengths >= 1.0)
    if len(usable) == 0:
        raise PretrainingError("The recipe's corpora hold no utterance of at least one second: nothing to train on.")
    for epoch in range(10**9):
        rng = np.random.default_rng([recipe.seed, epoch])
        # A little noise on the lengths makes other neighbours in each epoch.
        order = usable[np.argsort(lengths[usable] * rng.uniform(0.9, 1.1, len(usable)))]
        groups, group = [], []
        for utterance in order:
            shortest = min(lengths[group[0]] if group else math.inf, lengths[utterance], recipe.training.longest_crop_s)
            if group and shortest * (len(group) + 1) > recipe.training.seconds_per_step:
                groups.append(group)
                group = []
            group.append(utterance)
        groups.append(group)
        for index in rng.permutation(len(groups)):
            yield groups[index]


def crop(recipe: Recipe, speech: Speech, utterances: list[int], rng: np.random.Generator):
    """Cut the utterances to their shortest length: audio ``[B, samples]`` and targets ``[B, frames]``.

    Equal lengths need no padding, which a group-norm encoder would see.
    """
    lengths = np.diff(speech.audio_starts)[utterances]
    samples = int(min(lengths.min(), recipe.training.longest_crop_s * SAMPLE_RATE))
    frames = (samples - FRAME_WIDTH) // FRAME_STEP + 1
    audio = np.empty((len(utterances), samples), np.float32)
    targets = np.empty((len(utterances), frames), np.int64)
    for row, utterance in enumerate(utterances):
        offset = int(rng.integers(0, (lengths[row] - samples) // FRAME_STEP + 1))  # in frames
        start = speech.audio_starts[utterance] + offset * FRAME_STEP
        audio[row] = speech.audio[start : start + samples].astype(np.float32) / 32767
        start = speech.target_starts[utterance] + offset
        targets[row] = speech.targets[start : start + frames]
    return torch.from_numpy(audio), torch.from_numpy(targets)


def span_mask(shape: tuple[int, int], share: float, span: int, rng: np.random.Generator) -> torch.Tensor:
    """A boolean mask ``[B, frames]`` of random spans, expected to cover ``share`` of the frames."""
    # Spans overlap: a frame stays free with probability (1 - p) ** span.
    starts = rng.random((shape[0], shape[1] + span - 1)) < 1 - (1 - share) ** (1 / span)
    mask = np.lib.stride_tricks.sliding_window_view(starts, span, axis=1).any(axis=2)
    return torch.from_numpy(mask)


def train(recipe: Recipe, speech: Speech, output: Path) -> Path:
    """Train on prepared speech, from the last checkpoint in ``output`` if there is one."""
    training = recipe.training
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(recipe.seed)
    encoder = HubertModel(HubertConfig(**_model_settings(recipe))).to(device)
    head = torch.nn.Linear(encoder.config.hidden_size, recipe.targets.clusters).to(device)
    parameters = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(
        parameters, lr=training.learning_rate, betas=(0.9, 0.98), weight_decay=training.weight_decay
    )
    checkpoint = output / "checkpoint.pt"
    done, log = 0, []
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        encoder.load_state_dict(state["encoder"])
        head.load_state_dict(state["head"])
        optimizer.load_state_dict(state["optimizer"])
        done, log = state["step"], state["log"]

    encoder.train()
    started, seconds_seen, recent = time.monotonic(), 0.0, []
    bar = tqdm(total=training.steps, initial=done, desc=recipe.name, mininterval=10, unit="step")
    for step, utterances in enumerate(batches(recipe, speech), start=1):
        if step <= done:  # a resumed run walks past the batches it has had
            continue
        if step > training.steps:
            break
        rng = np.random.default_rng([recipe.seed, 1, step])
        audio, targets = crop(recipe, speech, utterances, rng)
        mask = span_mask(tuple(targets.shape), training.mask_share, training.mask_span, rng)
        for group in optimizer.param_groups:
            group["lr"] = training.learning_rate * _schedule(step / training.steps, training.warm_up)

        audio, targets, mask = audio.to(device), targets.to(device), mask.to(device)
        with torch.autocast(device.type, torch.bfloat16):
            logits = head(encoder(audio, mask_time_indices=mask).last_hidden_state)
        loss_per_frame = torch.nn.functional.cross_entropy(logits.float().transpose(1, 2), targets, reduction="none")
        weight = torch.where(mask, 1.0, training.unmasked_weight)
        loss = (loss_per_frame * weight).sum() / weight.sum()
        if not torch.isfinite(loss):
            raise PretrainingError(
                f"The loss at step {step} is {loss.item()}: lower the learning rate; {checkpoint} is intact."
            )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, training.gradient_clip)
        optimizer.step()

        seconds_seen += audio.numel() / SAMPLE_RATE
        guesses = logits.detach().argmax(dim=-1)
        recent.append(
            (
                loss.item(),
                (guesses == targets)[mask].float().mean().item(),
                guesses[mask].unique().numel(),
            )
        )
        bar.update()
        if step % 50 == 0 or step == training.steps:
            loss_mean, accuracy, used = np.mean(recent, axis=0)
            speed = seconds_seen / (time.monotonic() - started)
            bar.set_postfix_str(f"loss {loss_mean:.3f} masked accuracy {accuracy:.3f} {speed:.0f}x real time")
            log.append([step, float(loss_mean), float(accuracy), float(used), float(speed)])
            recent = []
        if step % CHECKPOINT_EVERY == 0 or step == training.steps:
            state = {
                "encoder": encoder.state_dict(),
                "head": head.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": step,
                "log": log,
            }
            _replace(checkpoint, functools.partial(torch.save, state))
            _write_log(output / "losses.csv", log)
    bar.close()
    return _save_encoder(encoder, recipe, speech, log, output)


def _model_settings(recipe: Recipe) -> dict:
    # Dropout and layer drop guard large models against small data; here the model is the small one.
    no_dropout = dict.fromkeys(
        (
            "hidden_dropout",
            "attention_dropout",
            "activation_dropout",
            "feat_proj_dropout",
            "final_dropout",
            "layerdrop",
        ),
        0.0,
    )
    return {**no_dropout, **recipe.model}


def _schedule(progress: float, warm_up: float) -> float:
    """Linear warm-up to 1, then linear decay to 0."""
    return progress / warm_up if progress < warm_up else (1 - progress) / (1 - warm_up)


def _write_log(path: Path, log: list[list[float]]) -> None:
    def write(temporary: Path) -> None:
        with temporary.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["step", "loss", "masked_accuracy", "clusters_used", "times_real_time"])
            rows.writerows([[step, *(round(value, 4) for value in values)] for step, *values in log])

    _replace(path, write)


def _replace(path: Path, write) -> None:
    """Call ``write`` with a temporary name beside ``path``, then rename: a stop never leaves half a file."""
    temporary = path.with_name(path.name + ".partial")
    write(temporary)
    temporary.replace(path)


def _save_encoder(encoder: HubertModel, recipe: Recipe, speech: Speech, log: list, output: Path) -> Path:
    folder = output / "encoder"
    encoder.half().save_pretrained(folder)
    # Trained on waveforms as they are: whoever loads the encoder must not normalise them.
    Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True).save_pretrained(folder)
    record = {
        "recipe": recipe.model_dump(),
        "steps": log[-1][0],
        "hours_of_speech": round(speech.hours, 2),
        "final_loss": round(log[-1][1], 4),
        "final_masked_accuracy": round(log[-1][2], 4),
    }
    _replace(folder / "pretraining.json", lambda path: path.write_text(json.dumps(record, indent=1)))
    return folder
