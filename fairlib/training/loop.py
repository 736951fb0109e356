"""The training loop of pretraining and fine-tuning: it can be stopped at any time, and resumed as if it had not been.

All that a step does follows from the seed and the step's number, so nothing but weights, optimiser and log needs to be
kept: a resumed run takes the same steps, on the same crops with the same random numbers, as one never stopped.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock
import numpy as np
import pandas as pd
import torch
from pydantic import BaseModel, ConfigDict, Field
from transformers import Wav2Vec2FeatureExtractor

from fairlib.base.files import replace
from fairlib.base.progress import stage
from fairlib.encoders import quiet_transformers
from fairlib.encoders.devices import half_precision_of_gradients

LOG_EVERY = 100  # steps
CHECKPOINT_EVERY = 100
BETAS = (0.9, 0.98)  # of AdamW


class TrainingError(RuntimeError):
    """Training cannot go on; the last checkpoint is intact."""


class RunError(ValueError):
    """A folder cannot be used for a run; the message says why."""


class Schedule(BaseModel):
    """How long and how fast: the learning rate rises, stays, and falls to zero."""

    model_config = ConfigDict(extra="forbid")
    steps: int = Field(gt=0)
    learning_rate: float = Field(gt=0)
    warm_up_steps: int = Field(ge=0)
    decay_share: float = Field(ge=0, le=1)
    weight_decay: float = Field(ge=0)
    gradient_clip: float = Field(gt=0)

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 1.

        Example:
            >>> s = Schedule(
            ...     steps=100, learning_rate=1.0, warm_up_steps=10, decay_share=0.5, weight_decay=0, gradient_clip=1
            ... )
            >>> s.rate(5), s.rate(40), s.rate(75), s.rate(100)
            (0.5, 1.0, 0.52, 0.02)
        """
        rising = step / self.warm_up_steps if step < self.warm_up_steps else 1.0
        falling = (self.steps - step + 1) / (self.decay_share * self.steps) if self.decay_share else 1.0
        return self.learning_rate * min(rising, falling, 1.0)


def snapshot_steps(steps: int) -> list[int]:
    """Steps spaced by logarithm at which an encoder is kept: 0, 100, 200, 400, ... and the last.

    Example:
        >>> snapshot_steps(1000)
        [0, 100, 200, 400, 800, 1000]
    """
    doubling = [100 * 2**n for n in range(30) if 100 * 2**n < steps]
    return [0, *doubling, steps]


def train(
    name: str, model: torch.nn.Module, loss_of: Callable[[int], tuple[torch.Tensor, float, dict[str, torch.Tensor]]],
    schedule: Schedule, seed: int, output: Path, keep: Callable[[int], None] = lambda step: None,
    batches_per_step: int = 1,
) -> pd.DataFrame:  # fmt: skip
    """Train ``model`` on its device, from the last checkpoint in ``output`` if there is one.

    Args:
        name: shown where its progress is told.
        model: everything that is trained; a parameter that asks for no gradient stays as it is.
        loss_of: runs batch number n (from 1) and gives its loss, the seconds of speech in it and figures for the log.
        schedule: steps and learning rate.
        seed: torch's random numbers of step n follow from it and from n alone.
        output: keeps ``checkpoint.pt`` and ``training.csv``.
        keep: called with the number of steps done at each of `snapshot_steps`; a resumed run may call it again with
            the same weights.
        batches_per_step: batches whose gradients are added up in a step.

    Returns:
        The log: ``step, loss``, the figures (means over 100 steps), ``hours_heard`` and ``times_real_time``.

    Raises:
        TrainingError: the loss, or its gradient, is not a finite number.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = _optimizer(trained, schedule)
    device = next(model.parameters()).device
    half = half_precision_of_gradients(device.type)
    checkpoint = output / "checkpoint.pt"
    done, log, heard = _resume(checkpoint, model, optimizer, device)
    kept = set(snapshot_steps(schedule.steps))
    if done in kept:
        keep(done)
    model.train()
    recent, recent_s, since = [], 0.0, time.monotonic()
    with stage(f"training {name}", schedule.steps, "steps") as went_on:
        went_on(done)
        for step in range(done + 1, schedule.steps + 1):
            _begin_step(optimizer, schedule.rate(step), seed * 1_000_003 + step)
            due = step % LOG_EVERY == 0 or step % CHECKPOINT_EVERY == 0 or step == schedule.steps
            read = due or device.type == "cpu"  # a GPU would stand still until its numbers are read
            for batch in range((step - 1) * batches_per_step + 1, step * batches_per_step + 1):
                with torch.autocast(device.type, half, enabled=half is not None):
                    loss, seconds, figures = loss_of(batch)
                if read:
                    _require_finite(loss.item(), f"{name}: the loss at step {step}", checkpoint)
                (loss / batches_per_step).backward()
                recent.append({"loss": loss.detach(), **figures})
                recent_s += seconds
                heard += seconds
            norm = torch.nn.utils.clip_grad_norm_(trained, schedule.gradient_clip)
            if read:  # a finite loss can have a gradient that is not, which would go into every weight
                _require_finite(norm.item(), f"{name}: the norm of the gradient at step {step}", checkpoint)
            optimizer.step()
            note = ""
            if step % LOG_EVERY == 0 or step == schedule.steps:
                speed = recent_s / (time.monotonic() - since)
                log.append({"step": step, **_means(recent), "hours_heard": heard / 3600, "times_real_time": speed})
                note = _write_log(log, output)
                recent, recent_s, since = [], 0.0, time.monotonic()
            went_on(1, note)
            if step % CHECKPOINT_EVERY == 0 or step == schedule.steps:
                _save(checkpoint, model, optimizer, step, log, heard)
            if step in kept:
                keep(step)
    return pd.DataFrame(log)


def _require_finite(value: float, what: str, checkpoint: Path) -> None:
    if not math.isfinite(value):
        intact = f"; {checkpoint} is intact" if checkpoint.exists() else ""
        raise TrainingError(f"{what} is {value}: lower the learning rate{intact}.")


def _optimizer(trained: list[torch.nn.Parameter], schedule: Schedule) -> torch.optim.Optimizer:
    """AdamW; norms, biases and embeddings of one dimension are not pulled to zero."""
    return torch.optim.AdamW(
        [
            {"params": [p for p in trained if p.dim() > 1], "weight_decay": schedule.weight_decay},
            {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
        ],
        lr=schedule.learning_rate,
        betas=BETAS,
        fused=True,
    )


def _resume(
    checkpoint: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, device: torch.device
) -> tuple[int, list[dict], float]:
    """Steps done, the log, and seconds heard, by the last checkpoint; model and optimiser are then as they were."""
    if not checkpoint.exists():
        return 0, [], 0.0
    state = torch.load(checkpoint, map_location=device, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"], state["log"], state["heard_s"]


def _save(
    checkpoint: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, step: int, log: list[dict], heard: float
) -> None:
    """What `_resume` reads."""
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    state |= {"step": step, "log": log, "heard_s": heard}
    replace(checkpoint, lambda path: torch.save(state, path))


def _begin_step(optimizer: torch.optim.Optimizer, rate: float, seed: int) -> None:
    torch.manual_seed(seed)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()


def _write_log(log: list[dict], output: Path) -> str:
    """Write the log, and say its last row."""
    replace(output / "training.csv", lambda path: pd.DataFrame(log).round(4).to_csv(path, index=False))
    return " ".join(f"{key} {value:.3g}" for key, value in log[-1].items() if key != "step")


def save_array(path: Path, array: np.ndarray) -> None:
    """`numpy.save` that a stop never leaves half done."""

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.save(file, array)

    replace(path, write)


@contextlib.contextmanager
def claimed(output: Path, run: str) -> Iterator[None]:
    """Within it the folder is this run's, and no other process trains in it; it is made if need be. Who dies lets go.

    One that holds another run is refused: what lies there would be taken for this one's.

    Raises:
        RunError: names the folder.
    """
    output.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(output / "lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise RunError(
            f"another process is training in {output}: wait for it, stop it, or choose another folder."
        ) from None
    try:
        record = output / "run.json"
        if record.exists() and record.read_text() != run:
            raise RunError(f"{output} holds another run: choose an empty folder, or delete it.")
        replace(record, lambda path: path.write_text(run))
        yield
    finally:
        lock.release()


def _means(rows: list[dict[str, torch.Tensor]]) -> dict[str, float]:
    return {key: float(sum(row[key] for row in rows)) / len(rows) for key in rows[0]}


def training_hours(log: pd.DataFrame) -> float:
    """Hours that the steps took, from the log of `train`.

    Example:
        >>> training_hours(pd.DataFrame({"hours_heard": [1.0, 3.0], "times_real_time": [50.0, 100.0]}))
        0.04
    """
    heard = log["hours_heard"].diff().fillna(log["hours_heard"].iloc[0])
    return round(float((heard / log["times_real_time"]).sum()), 2)


def save_transformers(model: torch.nn.Module, folder: Path, normalise: bool = False) -> None:
    """Write the model's half-precision weights and its configuration to ``folder``, in the `transformers` format.

    Args:
        normalise: whether it was trained on normalised waveforms, as whoever loads it must then give it.
    """
    partial = folder.with_name(folder.name + ".partial")
    weights = {name: tensor.detach().half().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with quiet_transformers():
        model.save_pretrained(partial, state_dict=weights)
    Wav2Vec2FeatureExtractor(do_normalize=normalise, return_attention_mask=True).save_pretrained(partial)
    folder.mkdir(parents=True, exist_ok=True)
    for file in partial.iterdir():
        file.replace(folder / file.name)
    partial.rmdir()
