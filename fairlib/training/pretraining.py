"""Pretraining a pocket encoder of one of four families, small enough for one core of a laptop.

A recipe (a TOML file) names the speech, the targets and the schedule; `pretrain` does what it says. The families, on
`transformers`' own model classes:

- **hubert**: masked prediction of clusters (Hsu et al. 2021), of MFCC first, then of an earlier encoder's layer;
- **wavlm**: the same, with another utterance or noise mixed into part of the input (Chen et al. 2022);
- **wav2vec2**: a contrastive task against a learnt codebook (Baevski et al. 2020);
- **data2vec**: the features that a slowly moving copy of the encoder makes of unmasked speech (Baevski et al. 2022), in
  wav2vec 2.0's network.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fairlib.base.files import replace
from fairlib.corpora.audio import SAMPLE_RATE
from fairlib.encoders import pretraining_folder
from fairlib.encoders.devices import best_device, exact_grouped_convolutions
from fairlib.training.batches import batch_plan, crop, mix, span_mask
from fairlib.training.loop import claimed, save_transformers, train, training_hours
from fairlib.training.objectives import OBJECTIVES
from fairlib.training.recipe import Recipe, RecipeError, read_recipe
from fairlib.training.speech import Speech, prepare_speech

__all__ = ["RecipeError", "pretrain", "read_recipe"]


def pretrain(recipe: str | Path, output: str | Path | None = None, seed: int | None = None) -> Path:
    """Train the recipe's encoder and save it in the `transformers` folder format at ``output/encoder``.

    ``output`` also keeps the prepared audio (about 115 MB an hour of speech), ``checkpoint.pt``, ``training.csv`` and,
    in ``output/steps``, the encoder at steps spaced by logarithm. Called again after a stop, it goes on from the last
    checkpoint.

    Args:
        recipe: name of a shipped one, or a TOML file (see `read_recipe`).
        output: None is a folder in the user's cache, where `load_encoder` finds ``NAME@STEP``.
        seed: in place of the recipe's (None); the encoder is then named ``NAME-seedSEED``.

    Returns:
        The encoder's folder.

    Raises:
        RecipeError: there is no such recipe or it says what it may not, its corpora hold no speech, or an encoder that
            it learns from has not that layer, or no convolutions.
        fairlib.encoders.EncoderError: there is no such encoder, or its weights are not there.
        fairlib.training.loop.RunError: ``output`` holds another run, or another process trains in it.
        fairlib.training.loop.TrainingError: the loss, or its gradient, is not a finite number.

    Example:
        >>> folder = pretrain("pocket-hubert-it1")  # about an hour on one core  # doctest: +SKIP
    """
    chosen = read_recipe(recipe)
    if seed is not None and seed != chosen.seed:  # another encoder, so it has a name of its own
        chosen = chosen.model_copy(update={"seed": seed, "name": f"{chosen.name}-seed{seed}"})
    output = Path(output) if output else pretraining_folder(chosen.name)
    model = _untrained(chosen)  # first: it may refuse
    with claimed(output, chosen.model_dump_json(indent=1)):
        return _train_encoder(chosen, model, prepare_speech(chosen, output), output)


def train_encoder(recipe: Recipe, speech: Speech, output: Path) -> Path:
    """`pretrain` on speech that is prepared already (`fairlib.training.speech.prepare_speech`), of several recipes say.

    Returns:
        The encoder's folder.
    """
    model = _untrained(recipe)
    with claimed(output, recipe.model_dump_json(indent=1)):
        return _train_encoder(recipe, model, speech, output)


def _untrained(recipe: Recipe) -> torch.nn.Module:
    """What is trained, as it is before its first step."""
    torch.manual_seed(recipe.seed)
    return OBJECTIVES[recipe.family](recipe)


def _train_encoder(recipe: Recipe, model: torch.nn.Module, speech: Speech, output: Path) -> Path:
    """Train on prepared speech, from the last checkpoint in ``output`` if there is one; see `pretrain`."""
    device = torch.device(best_device())
    model = model.to(device)
    if device.type == "cpu":
        exact_grouped_convolutions(model)
    batch = batch_plan(speech.lengths, recipe.batches, recipe.seed)

    batches = recipe.schedule.steps * recipe.batches.per_step

    def heard(number: int, seconds: int, utterances: np.ndarray) -> list[torch.Tensor]:
        rng = np.random.default_rng([recipe.seed, 1, number])
        audio, targets = crop(speech, seconds, utterances, rng, recipe.augmentation)
        mask = span_mask(tuple(targets.shape), recipe.batches.mask_share, recipe.batches.mask_span, rng)
        if recipe.mixing:
            audio = mix(audio, recipe.mixing, rng)
        return [tensor.pin_memory() if device.type == "cuda" else tensor for tensor in (audio, targets, mask)]

    ahead = _ahead(lambda number: partial(heard, number, *batch(number)), batches, 0 if device.type == "cpu" else 4)

    def loss_of(number: int):
        audio, targets, mask = ahead(number)
        seconds = audio.numel() / SAMPLE_RATE
        audio, targets, mask = (tensor.to(device, non_blocking=True) for tensor in (audio, targets, mask))
        loss, figures = model(audio, targets, mask, number / batches)
        return loss, seconds, figures

    def keep(step: int) -> None:
        save_transformers(model.encoder, output / "steps" / str(step))

    log = train(recipe.name, model, loss_of, recipe.schedule, recipe.seed, output, keep, recipe.batches.per_step)
    folder = output / "encoder"
    save_transformers(model.encoder, folder)
    record = {
        "recipe": recipe.model_dump(exclude_none=True),
        "parameters": sum(parameter.numel() for parameter in model.encoder.parameters()),
        "hours_of_speech": round(speech.hours, 2),
        "hours_heard": round(log["hours_heard"].iloc[-1], 1),
        "training_hours": training_hours(log),
        "device": device.type,
        "cores": torch.get_num_threads() if device.type == "cpu" else 1,
        "final": log.iloc[-5:].drop(columns=["step", "hours_heard", "times_real_time"]).mean().round(4).to_dict(),
    }
    replace(folder / "pretraining.json", lambda path: path.write_text(json.dumps(record, indent=1)))
    replace(folder / "pretraining.csv", lambda path: log.round(4).to_csv(path, index=False))
    return folder


def _ahead(task_of: Callable[[int], Callable], last: int, threads: int) -> Callable[[int], Any]:
    """What the tasks of consecutive numbers give, up to the last; with threads, the next ones are begun early.

    ``task_of`` is called in the order of the numbers, in the caller's thread.
    """
    if not threads:
        return lambda number: task_of(number)()
    pool, begun = ThreadPoolExecutor(threads, "ahead"), {}

    def result(number: int) -> Any:
        for coming in range(number, min(number + 2 * threads, last) + 1):
            if coming not in begun:
                begun[coming] = pool.submit(task_of(coming))
        return begun.pop(number).result()

    return result
