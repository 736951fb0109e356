"""Short trainings that change one thing of a recipe each, and how much their layers then differ (`bench.yardstick`).

    OMP_NUM_THREADS=1 python -m bench.ablations FOLDER [NAME ...]

Half of them hear 39 hours, an hour or so of a core each, the others 71 to 160. What is finished is not done again, and
what was stopped goes on. The figures are gathered in FOLDER/ablations.csv, a row for each layer.
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
from fairlib.base.files import replace, write_text
from fairlib.training.pretraining import train_encoder
from fairlib.training.recipe import RECIPES, Recipe
from fairlib.training.speech import prepare_speech

STEPS = 1100  # of 128 s, 39 hours of speech

BATCHES = {"batches.seconds": 128, "schedule.warm_up_steps": 110}
SHORT_CONTEXT = BATCHES | {"model.num_conv_pos_embeddings": 5}
DEEP = SHORT_CONTEXT | {"model.num_hidden_layers": 12, "model.hidden_size": 144, "model.intermediate_size": 576}
SECOND = {"targets.features": "pocket-hubert", "targets.layer": "4"}
MANY = DEEP | SECOND | {"targets.clusters": 500}
FADING = {"targets.unmasked_weight_end": 0.0}
FEW_CHANNELS = {"model.conv_dim": [16, 16, 32, 32, 64, 64, 128]}
NORMS_AFTER = {"model.do_stable_layer_norm": False, "schedule.learning_rate": 1e-3}
WIDE = SHORT_CONTEXT | SECOND | {"model.num_hidden_layers": 12, "schedule.warm_up_steps": 450, "schedule.steps": 4500}
MIXED = {"family": "wavlm", "mixing.share": 0.2, "mixing.noise_share": 0.1}
OWN_TEACHER = {
    "family": "data2vec", "targets": None, "schedule.learning_rate": 1e-3,
    "distillation.top_blocks": 6, "distillation.decay_start": 0.99, "distillation.decay_end": 0.999,
    "distillation.decay_rise": 0.3, "distillation.convolutions": "pocket-hubert-it1",
}  # fmt: skip

# No positional convolution: layer 0 hears one frame, as the convolutions do, and context must form in the blocks.
ALONE = SECOND | {
    "network": "wavlm", "batches.seconds": 256, "schedule.steps": 1500, "schedule.warm_up_steps": 200,
    "model.num_hidden_layers": 12, "model.hidden_size": 144, "model.intermediate_size": 576,
    "model.num_conv_pos_embeddings": 1, "model.num_conv_pos_embedding_groups": 1,
}  # fmt: skip
LEARNERS = {
    "data": [
        {"corpus": "librispeech", "split": "train"}, {"corpus": "commonvoice", "hours": 4.6},
        {"corpus": "speechocean762", "split": "train"},
    ]
}  # fmt: skip
# Tempo and pitch together: a voice that is a fifth faster sounds like a smaller person's.
OTHER_VOICES = {"augmentation.share": 0.8, "augmentation.speeds": [0.85, 0.9, 1.1, 1.2]}
CONTRASTIVE = {
    "family": "wav2vec2", "targets": None, "schedule.learning_rate": 1e-3, "contrast.negatives": 50,
    "contrast.temperature": 0.1, "contrast.diversity_weight": 0.1, "contrast.feature_penalty": 3e-7,
    "contrast.convolutions": "pocket-hubert-it1", "contrast.gumbel_start": 2.0, "contrast.gumbel_end": 0.5,
    "model.num_codevectors_per_group": 64, "model.num_codevector_groups": 2, "model.codevector_dim": 128,
    "model.proj_codevector_dim": 128,
}  # fmt: skip

# By name, what is changed of pocket-hubert's recipe; dots lead into its parts, None takes a part away. Those published
# (`fairlib/assets/ablations.csv`) were trained in half precision, on one H200; that of other voices on a processor.
ABLATIONS: dict[str, dict] = {
    "first edition's recipe: 6 × 192, kernel of 32": BATCHES,
    "6 × 192, kernel of 5": SHORT_CONTEXT,
    "12 × 144, kernel of 5, clusters of the second iteration": DEEP | SECOND,
    "12 × 144, kernel of 5, 500 of these clusters": MANY,
    "12 × 144, kernel of 5, 500 clusters, weight of unmasked frames falling to 0": MANY | FADING,
    "12 × 144, kernel of 5, 500 clusters, half the channels in the convolutions": MANY | FEW_CHANNELS,
    "12 × 144, kernel of 5, 500 clusters, norms after the blocks, half the learning rate": MANY | NORMS_AFTER,
    "12 × 144, kernel of 5, 500 clusters, the last three together": MANY | NORMS_AFTER | FADING | FEW_CHANNELS,
    "12 × 192, kernel of 5, clusters of the second iteration": WIDE,
    "12 × 192, kernel of 5, as WavLM: relative positions, mixed speech": WIDE
    | MIXED
    | {"schedule.steps": 2000, "schedule.warm_up_steps": 200},
    "12 × 192, kernel of 5, data2vec: own teacher, trained convolutions, half the learning rate": WIDE | OWN_TEACHER,
    "12 × 144, relative positions alone, 256 s a step: HuBERT (mini-hubert)": ALONE,
    "12 × 144, relative positions alone, 256 s a step: WavLM (mini-wavlm)": ALONE | MIXED | {"network": None},
    "12 × 144, relative positions alone, 256 s a step: HuBERT, learners' speech in part (mini-hubert-learners)": ALONE
    | LEARNERS,
    "12 × 144, relative positions alone, 256 s a step: HuBERT, most batches slower or faster": ALONE | OTHER_VOICES,
    "12 × 144, relative positions alone, 256 s a step: data2vec, trained convolutions, half the learning rate": ALONE
    | OWN_TEACHER
    | {"schedule.steps": 1200},
    "12 × 144, relative positions alone, 256 s a step: wav2vec 2.0, trained convolutions, half the learning rate": ALONE
    | CONTRASTIVE,
}


def changed(changes: dict, steps: int = STEPS) -> Recipe:
    """Pocket-hubert's recipe with some changes.

    Example:
        >>> changed({"model.num_hidden_layers": 12}).model["num_hidden_layers"], changed(OWN_TEACHER).family
        (12, 'data2vec')
    """
    recipe = tomllib.loads((RECIPES / "pocket-hubert.toml").read_text())
    for name, value in ({"schedule.steps": steps} | changes).items():
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
        loaded = load_encoder(str(encoder))
        write_text(table, yardstick(loaded.layers_of, loaded.device).to_csv(index=False))
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
