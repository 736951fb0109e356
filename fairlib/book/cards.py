"""Model cards of the shipped encoders, written from their training records and from the published outcomes.

``python -m fairlib.book.cards`` writes them all; the tests refuse a card that its sources would no longer give.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from fairlib.base.files import write_text
from fairlib.base.tasks import TASKS, unit_named
from fairlib.bias import layer_order
from fairlib.corpora import CORPORA
from fairlib.encoders import SHIPPED, finetuned_from, heard, our_encoders, parameters_of, shipped_encoders, started_from
from fairlib.encoders.checkpoints import training_command
from fairlib.encoders.names import parsed
from fairlib.findings import mean_error
from fairlib.findings.pretraining import UNTRAINED, published_along
from fairlib.outcomes import entries_of, entry_name, published_outcomes

_METHODS = {
    "hubert": "HuBERT (Hsu et al. 2021): masked prediction of clusters",
    "wavlm": "WavLM (Chen et al. 2022): masked prediction of clusters, with speech or noise mixed in",
    "wav2vec2": "wav2vec 2.0 (Baevski et al. 2020): a contrastive task against a learnt codebook",
}
_NETWORKS = {"wavlm": "WavLM's, with relative positions"}
_UNITS = ("phone", "char", "speaker")
# Settings of probes that stand in chapter 10 alone: trained on some of the speakers, without the group, phone by phone.
_OF_CHAPTER_10 = {"groups", "leace", "geometry", "by_phone"}


def card(name: str) -> str:
    """The card (Markdown) of an encoder of ours."""
    folder = SHIPPED / name
    config = json.loads((folder / "config.json").read_text())
    tuning, training = (_record(folder / file) for file in ("finetuning.json", "pretraining.json"))
    rows = _finetuning_rows(name, tuning) if tuning else _pretraining_rows(training or {})
    table = "\n".join(f"| {left} | {right} |" for left, right in rows)
    lineage = (
        f"fine-tuned for speech recognition from {tuning['finetuned_from']}" if tuning else "pretrained from scratch"
    )
    licences = ", ".join(f"{about.title} ({about.licence})" for about in CORPORA.values() if about.described)
    return f"""---
library_name: transformers
license: cc-by-4.0
tags: [audio, speech, {config["model_type"]}, {"automatic-speech-recognition" if tuning else "self-supervised"}]
---

# {name}

A very small speech encoder ({config["num_hidden_layers"]} transformer layers of width {config["hidden_size"]},
{parameters_of(name) / 1e6:.1f} million parameters), {lineage}, for a book on layerwise fairness. It was made to be
inspected, layer by layer, on a laptop. Do not use it for anything else: it recognises speech far worse than any public
S3M.

| | |
|---|---|
{table}

`{"training" if tuning else "pretraining"}.csv` holds the loss and the other quantities logged during training.

## What its layers hold
{_figures(name)}
## Limits

- It is small, and was trained on hours of speech where public S3Ms are trained on tens of thousands: it shows how such
  an encoder develops, not how good one can be.
- It was trained on read speech; how it handles spontaneous speech is unknown.
- Give it unnormalised waveforms at 16 kHz: it was not trained on normalised ones.
{_lent(name)}
## Licence

Weights: CC BY 4.0. Data: {licences}.
"""


def _record(path: Path) -> dict | None:
    return json.loads(path.read_text()) if path.is_file() else None


def _weights(name: str) -> str:
    if name not in shipped_encoders():
        return "do not ship, to keep the clone small; the command below makes them, and what was measured is published"
    loads = (
        "`AutoModel` or `AutoModelForCTC.from_pretrained`" if finetuned_from(name) else "`AutoModel.from_pretrained`"
    )
    return f"half precision, safetensors; {loads} loads them"


def _pretraining_rows(record: dict) -> list[tuple[str, str]]:
    recipe = record["recipe"]
    targets = recipe.get("targets")
    task = "the codes of masked frames"
    if targets:
        source = (
            "smoothed MFCC" if targets["features"] == "mfcc" else f"{targets['features']}, layer {targets['layer']}"
        )
        task = f"{targets['clusters']} clusters of {source}"
    elif recipe["contrast"].get("convolutions"):
        task += f"; the convolutions started from those of {recipe['contrast']['convolutions']}"
    seed = "" if recipe["seed"] == 0 else f" --seed {recipe['seed']}"
    return [
        ("method", _METHODS[recipe["family"]]),
        *([("network", _NETWORKS[recipe["network"]])] if recipe.get("network") else []),
        ("targets", task),
        ("speech", f"{record['hours_of_speech']} hours: " + "; ".join(_part(part) for part in recipe["data"])),
        ("not heard", _not_heard({part["corpus"] for part in recipe["data"]})),
        ("steps", f"{recipe['schedule']['steps']:,} of {recipe['batches']['seconds']} s of speech"),
        (
            "heard in all",
            f"{record['hours_heard']} hours ({record['hours_heard'] / record['hours_of_speech']:.1f} passes)",
        ),
        ("compute", f"{record['training_hours']} hours on {_device(record)}"),
        ("at the end", ", ".join(f"{key.replace('_', ' ')} {value:.3g}" for key, value in record["final"].items())),
        ("weights", _weights(recipe["name"])),
        ("command", f"`{training_command(recipe['name'])}{seed}`"),
    ]


def _finetuning_rows(name: str, record: dict) -> list[tuple[str, str]]:
    part = _part({"corpus": record["corpus"], "split": "train"})
    return [
        ("made from", record["finetuned_from"]),
        ("method", "CTC over characters; the convolutions stay frozen"),
        ("speech", f"{record['hours_of_speech']} hours: {part}"),
        ("steps", f"{record['schedule']['steps']:,}; {record['hours_heard']} hours heard in all"),
        ("compute", f"{record['training_hours']} hours on {_device(record)}"),
        ("character error", f"{record['test_character_error']:.1%} on the corpus's test half, decoded greedily"),
        ("weights", _weights(name)),
        ("command", f"`{training_command(name, name)}`"),
    ]


def _part(part: dict) -> str:
    about, which = CORPORA[part["corpus"]], "all"
    if part.get("split") == "train":
        which = "its train half" if about.own_halves else "three quarters of its speakers"  # see `halves`
    return about.described.format(part=f"{part['hours']:g} hours" if "hours" in part else which)


def _not_heard(corpora: set[str]) -> str:
    rest = "a quarter of the speakers of LibriSpeech `train-clean-5`"
    if "speechocean762" in corpora:
        return f"{rest}; the test half of speechocean762"
    return f"{rest}; speechocean762, or any other corpus of children or learners"


def _device(record: dict) -> str:
    if record["device"] != "cpu":
        return "one graphics card"
    cores = record.get("cores", 1)  # records of earlier trainings, each on one, do not say
    return "one processor core" if cores == 1 else f"{cores} processor cores"


def _figures(name: str) -> str:
    outcomes = published_outcomes(name)
    if len(outcomes):
        others = [
            entry_name(entry.key) for entry in entries_of(outcomes) if _OF_CHAPTER_10 & set(entry.key["settings"])
        ]
        outcomes = outcomes[outcomes["unit"].isin(_UNITS) & ~outcomes["entry"].isin(others)]
    if outcomes.empty:
        return "\nNo outcomes of its layers are published.\n"
    layers = layer_order(outcomes["layer"])
    sums = outcomes.groupby(["corpus", "unit", "probe", "layer"])[["errors", "length"]].sum()
    error = (100 * sums["errors"] / sums["length"]).unstack("layer")[layers]
    lines = [
        "\nError rates of the book's probes, in percent, by layer (from the published outcomes):\n",
        "| corpus | what | probe | " + " | ".join(layers) + " |",
        "|---|---|---|" + "---|" * len(layers),
    ]
    for (corpus, unit, probe), row in error.iterrows():
        values = " | ".join("" if pd.isna(value) else f"{value:.1f}" for value in row)
        lines.append(f"| {corpus} | {unit_named(unit).error} | {probe} | {values} |")
    known = sorted({corpus for corpus, unit, _ in error.index if unit == "speaker" and corpus in heard(name)})
    if known:
        lines += [
            "",
            f"Speakers are identified among all of a corpus; many of {', '.join(known)} were in its training data.",
        ]
    return "\n".join(lines) + "\n"


def _lent(name: str) -> str:
    """What came with convolutions that another encoder lent, and what its own training changed."""
    lender = started_from(name)
    if not lender or finetuned_from(name):
        return ""
    told = []
    for task in ("phone", "sid"):
        watched = published_along("speechocean762", task)
        steps = next(mine for encoder, mine in watched.items() if parsed(encoder).plain == name)
        untrained, first, last = (mean_error(steps[step])["error"].min() for step in (UNTRAINED, 0, max(steps)))
        told.append(f"{TASKS[task].units[0].error} {100 * untrained:.1f}, {100 * first:.1f} and {100 * last:.1f}")
    return (
        f"- Its convolutions were initialised with those of {lender}, which had been trained. Lowest errors of any\n"
        "  layer on speechocean762, in percent, in a second training (another seed): untrained, with these\n"
        f"  convolutions before the first step, and at the end: {'; '.join(told)}.\n"
    )


def main() -> None:
    """Write every shipped encoder's card."""
    for name in our_encoders():
        write_text(SHIPPED / name / "README.md", card(name))
        print(SHIPPED / name / "README.md")


if __name__ == "__main__":
    main()
