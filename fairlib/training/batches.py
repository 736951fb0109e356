"""What a training step hears: crops of equal length, masks, and mixed-in speech or noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.signal import lfilter, resample_poly

from fairlib.corpora.audio import SAMPLE_RATE, from_int16
from fairlib.training.recipe import SHORTEST_CROP_S, Augmentation, Batches, Mixing
from fairlib.training.speech import FRAME_STEP, FRAME_WIDTH, Speech, frame_count


def batch_plan(lengths: np.ndarray, batches: Batches, seed: int) -> Callable[[int], tuple[int, np.ndarray]]:
    """A function from the step's number (from 1) to the batch's length in seconds and its utterances.

    Crops of one batch are equally long, in whole seconds: no padding, which a group-norm encoder would see, and few
    shapes, for which a processor's kernels are compiled once. An utterance longer than the longest crop comes once
    for each such stretch in it, so that an epoch hears about all of the speech.
    """
    longest = batches.longest_crop_s
    seconds = np.minimum(lengths // SAMPLE_RATE, longest)
    groups = {}
    for length in range(SHORTEST_CROP_S, longest + 1):
        members = np.flatnonzero(seconds == length)
        members = np.repeat(members, lengths[members] // (length * SAMPLE_RATE))
        size = max(1, batches.seconds // length)
        if len(members):
            groups[length] = (np.resize(members, max(len(members), size)), size)  # at least one full batch
    counts = {length: len(members) // size for length, (members, size) in groups.items()}
    per_epoch = sum(counts.values())

    def batch(step: int) -> tuple[int, np.ndarray]:
        epoch, index = divmod(step - 1, per_epoch)
        if epoch not in plans:
            plans.clear()
            plans[epoch] = plan(epoch)
        return plans[epoch][index]

    def plan(epoch: int) -> list[tuple[int, np.ndarray]]:
        rng = np.random.default_rng([seed, 0, epoch])
        made = []
        for length, (members, size) in groups.items():
            order = rng.permutation(members)[: counts[length] * size]  # what does not fill a batch waits an epoch
            made += [(length, part) for part in order.reshape(-1, size)]
        return [made[i] for i in rng.permutation(len(made))]

    plans: dict[int, list] = {}
    return batch


def crop(
    speech: Speech, seconds: int, utterances: np.ndarray, rng: np.random.Generator,
    augmentation: Augmentation | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """A random stretch of each utterance: audio ``[B, samples]`` and, if there are targets, ``[B, frames]``."""
    samples = seconds * SAMPLE_RATE
    frames = int(frame_count(samples))
    altered = augmentation if augmentation is not None and rng.random() < augmentation.share else None
    speed = float(rng.choice(altered.speeds)) if altered and altered.speeds else 1.0
    stretch = int(np.ceil(samples * speed))
    if speed != 1.0 and speech.lengths[utterances].min() < stretch:
        speed, stretch = 1.0, samples
    # The frame of the recording under each frame of what is heard.
    source = np.round(((FRAME_STEP * np.arange(frames) + FRAME_WIDTH // 2) * speed - FRAME_WIDTH // 2) / FRAME_STEP)
    source = np.minimum(source.astype(int), frame_count(stretch) - 1)
    audio = np.empty((len(utterances), samples), np.float32)
    targets = np.empty((len(utterances), frames), np.int64)
    for row, utterance in enumerate(utterances):
        offset = int(rng.integers(0, (speech.lengths[utterance] - stretch) // FRAME_STEP + 1))  # in frames
        start = speech.starts[utterance] + offset * FRAME_STEP
        heard = from_int16(speech.audio[start : start + stretch])
        if speed != 1.0:
            heard = resample_poly(heard, 20, round(20 * speed))[:samples]
            heard = np.pad(heard, (0, samples - len(heard)))
        if altered and altered.snr_db:
            heard = heard + noise_under(heard, rng.uniform(*altered.snr_db), rng)
        audio[row] = heard
        if speech.targets is not None:
            targets[row] = speech.targets[speech.frame_starts[utterance] + offset + source]
    return torch.from_numpy(audio), torch.from_numpy(targets)


def noise_under(audio: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """Noise, white or falling with frequency, so many decibels under an utterance ``[samples]``."""
    noise = _noise(len(audio), rng)
    return noise * np.sqrt(np.square(audio).mean() / (np.square(noise).mean() * 10 ** (snr_db / 10) + 1e-10))


def _noise(samples: int, rng: np.random.Generator) -> np.ndarray:
    noise = rng.standard_normal(samples)
    return (lfilter([1.0], [1.0, -0.9], noise) if rng.random() < 0.5 else noise).astype(np.float32)


def span_mask(shape: tuple[int, int], share: float, span: int, rng: np.random.Generator) -> torch.Tensor:
    """A boolean mask ``[B, frames]`` of random spans, expected to cover ``share`` of the frames."""
    # Spans overlap: a frame stays free with probability (1 - p) ** span.
    starts = rng.random((shape[0], shape[1] + span - 1)) < 1 - (1 - share) ** (1 / span)
    mask = np.lib.stride_tricks.sliding_window_view(starts, span, axis=1).any(axis=2)
    return torch.from_numpy(mask)


def mix(audio: torch.Tensor, mixing: Mixing, rng: np.random.Generator) -> torch.Tensor:
    """WavLM's mixing (Chen et al. 2022, algorithm 1): part of an utterance is covered by another one or by noise.

    The stretch lasts up to half of the utterance. Speech is mixed at an energy ratio of -5 to 5 dB, noise (white or
    falling with frequency: the pocket encoders have no recorded noise) at -5 to 20 dB.
    """
    mixed = audio.clone()
    samples = audio.shape[1]
    for row in range(len(audio)):
        if rng.random() >= mixing.share:
            continue
        length = int(rng.integers(1, samples // 2 + 1))
        start, other_start = rng.integers(0, samples - length + 1, size=2)
        if len(audio) == 1 or rng.random() < mixing.noise_share:
            other = torch.from_numpy(_noise(length, rng))
            ratio = rng.uniform(-5, 20)
        else:
            donor = (row + int(rng.integers(1, len(audio)))) % len(audio)
            other = audio[donor, other_start : other_start + length]
            ratio = rng.uniform(-5, 5)
        power, other_power = audio[row].square().mean(), other.square().mean()
        gain = torch.sqrt(power / (other_power * 10 ** (ratio / 10) + 1e-10))
        mixed[row, start : start + length] += gain * other
    return mixed
