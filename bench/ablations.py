"""Short trainings that change one thing of a recipe each, and how much their layers then differ (`bench.yardstick`).

    OMP_NUM_THREADS=1 python -m bench.ablations FOLDER [NAME ...]

Every training hears the same speech for as many steps; one takes about half an hour of a core. What is finished is not
done again, and what was stopped goes on. The figures are gathered in FOLDER/ablations.csv, a row for each layer.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tomllib
from pathlib import Path

import pandas as pd

from bench.yardstick import yardstick
from fairlib import load_encoder
from fairlib.files import replace, write_text
from fairlib.training.pretraining import train_encoder
from fairlib.training.recipe import RECIPES, Recipe
from fairlib.training.speech import prepare_speech

STEPS = 4000

SHORT_CONTEXT = {"model.num_conv_pos_embeddings": 5}
NARROW_DEEP = {"model.num_hidden_layers": 12, "model.hidden_size": 144, "model.intermediate_size": 576}
DEEP = {"model.num_hidden_layers": 12}
FADING = {"targets.unmasked_weight_end": 0.0}
THIRD = {"targets.features": "pocket-hubert", "targets.layer": "4", "targets.clusters": 500}
FASTER_AND_SLOWER = {"augmentation.share": 0.5, "augmentation.speeds": (0.85, 0.9, 1.1, 1.2, 1.3)}
OWN_TEACHER = {
    "family": "data2vec", "targets": None, "schedule.learning_rate": 1e-3,
    "distillation.top_blocks": 6, "distillation.decay_start": 0.99, "distillation.decay_end": 0.999,
    "distillation.decay_rise": 0.3, "distillation.convolutions": "pocket-hubert-it1",
}  # fmt: skip

# By name, what is changed of pocket-hubert's recipe; dots lead into its parts, None takes a part away.
ABLATIONS: dict[str, dict] = {
    "as shipped": {},
    "kernel of 5": SHORT_CONTEXT,
    "kernel of 5, unmasked fade": SHORT_CONTEXT | FADING,
    "12 x 144, kernel of 5": SHORT_CONTEXT | NARROW_DEEP,
    "12 x 192, kernel of 5": SHORT_CONTEXT | DEEP,
    "12 x 144, kernel of 5, unmasked fade": SHORT_CONTEXT | NARROW_DEEP | FADING,
    "12 x 144, kernel of 5, 500 clusters of the second iteration": SHORT_CONTEXT | NARROW_DEEP | THIRD,
    "12 x 144, kernel of 5, four batches a step": SHORT_CONTEXT | NARROW_DEEP | {"batches.per_step": 4},
    "12 x 144, kernel of 5, speeds": SHORT_CONTEXT | NARROW_DEEP | FASTER_AND_SLOWER,
    "12 x 144, kernel of 5, own teacher": SHORT_CONTEXT | NARROW_DEEP | OWN_TEACHER,
    "12 x 144, kernel of 5, longer masks": SHORT_CONTEXT | NARROW_DEEP | {"batches.mask_span": 20},
    "12 x 144, kernel of 5, half the learning rate": SHORT_CONTEXT | NARROW_DEEP | {"schedule.learning_rate": 1e-3},
}


def changed(changes: dict, steps: int = STEPS) -> Recipe:
    """Pocket-hubert's recipe with some changes.

    Example:
        >>> changed({"model.num_hidden_layers": 12}).model["num_hidden_layers"], changed(OWN_TEACHER).family
        (12, 'data2vec')
    """
    recipe = tomllib.loads((RECIPES / "pocket-hubert.toml").read_text())
    for name, value in (changes | {"schedule.steps": steps}).items():
        *parts, last = name.split(".")
        place = recipe
        for part in parts:
            place = place.setdefault(part, {})
        place[last] = value
    recipe = {name: value for name, value in recipe.items() if value is not None}
    return Recipe(**recipe)


def measured(name: str, folder: Path) -> pd.DataFrame:
    """The yardstick of one ablation, trained first if it was not: a row for each layer."""
    own = folder / "".join(sign if sign.isalnum() else "-" for sign in name)
    table = own / "yardstick.csv"
    if not table.exists():
        recipe = changed(ABLATIONS[name])
        # Speech and targets are the same for all that name the same targets.
        said = json.dumps(recipe.targets.model_dump() if recipe.targets else None, sort_keys=True)
        shared = folder / f"speech-{hashlib.sha256(said.encode()).hexdigest()[:8]}"
        encoder = train_encoder(recipe, prepare_speech(recipe, shared), own)
        write_text(table, yardstick(load_encoder(str(encoder), device="cpu").layers_of).to_csv(index=False))
    log = pd.read_csv(own / "training.csv").iloc[-1]
    told = {"hours_heard": log["hours_heard"], "masked_accuracy": log.get("masked_accuracy")}
    return pd.read_csv(table).assign(ablation=name, **told)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("names", nargs="*", help=f"of {', '.join(ABLATIONS)}; all of them by default")
    chosen = arguments.parse_args()
    unknown = [name for name in chosen.names if name not in ABLATIONS]
    if unknown:
        arguments.error(f"there is no ablation {unknown[0]!r}; there are {', '.join(ABLATIONS)}")
    chosen.folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in chosen.names or ABLATIONS:
        rows.append(measured(name, chosen.folder))
        print(rows[-1].filter(regex="^(?!cka_)").to_string(index=False), flush=True)
        every = pd.concat(rows, ignore_index=True)
        replace(chosen.folder / "ablations.csv", lambda path, every=every: every.to_csv(path, index=False))


if __name__ == "__main__":
    main()
