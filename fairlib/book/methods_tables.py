"""The tables of the page of methods (see `fairlib.book.methods`), from what the code and the published files say."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fairlib.base.tasks import TASKS
from fairlib.base.writing import capital, listing
from fairlib.bias import FEWEST_SHOWN
from fairlib.book.chapters import ROOT
from fairlib.book.studies import PUBLISHED_STUDY, read_study
from fairlib.corpora import CORPORA, Corpus, audio
from fairlib.display.words import plain
from fairlib.encoders.catalogue import encoder_layers, finetuned_from, hears_ms, parameters_of
from fairlib.encoders.checkpoints import LOGMEL_AROUND, SHIPPED, our_encoders
from fairlib.outcomes import PUBLISHED, published_outcomes
from fairlib.outcomes.shipped import listed
from fairlib.probes import alignment, characters
from fairlib.training import finetuning, speech
from fairlib.training.recipe import read_recipe

FAMILIES = {"hubert": "HuBERT", "wavlm": "WavLM", "wav2vec2": "wav2vec 2.0"}
CALLS = {
    "probe_speakers": "speaker identification", "probe_phones": "phone classification",
    "probe_characters": "speech recognition", "identify_among": "speaker identification among few",
    "verify_speakers": "speaker verification", "description_length": "description length",
    "train_across_groups": "cross-group training", "speaker_geometry": "where speakers lie",
    "erase_group": "group erased",
}  # fmt: skip


def shown(value: Any, form: str = "") -> str:
    """A value in words.

    Args:
        form: of a number, as in Python; of a range, ``to``.

    Example:
        >>> shown(20000), shown(1e-05), shown((15, 35), "to"), shown(False), shown(("a", "b")), shown(None)
        ('20,000', '0.00001', '15 to 35', 'no', 'a and b', 'none')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        each = [shown(one) for one in value]
        return " to ".join([each[0], each[-1]]) if form == "to" else listing(each)
    if isinstance(value, (int, float)):
        if not form:
            form = "," if isinstance(value, int) or value == int(value) else ".10f"
        written = format(int(value) if form == "," else value, form)
        written = written.rstrip("0") if form == ".10f" else written.replace("%", "\N{NO-BREAK SPACE}%")
        return written.replace("-", "\N{MINUS SIGN}")
    return "none" if value is None else str(value)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def published_corpora() -> list[Corpus]:
    """The corpora whose outcomes are published."""
    names = {one.key["corpus"] for path in sorted(PUBLISHED.glob("*.parquet")) for one in listed(path)}
    return [about for name, about in CORPORA.items() if name in names]


def corpora_table() -> str:
    """Who speaks in the corpora whose outcomes are published, how much there is, and the licence."""
    rows = []
    for about in published_corpora():
        size = about.size
        told = (
            f"{size.speakers:,} people, {size.utterances:,} utterances, {size.hours}\N{NO-BREAK SPACE}h"
            if size
            else "made as needed"
        )
        rows.append((plain(about.title), capital(about.people), told, about.licence or "none is needed"))
    return table(("Corpus", "Who speaks", "Size", "Licence"), rows)


def consent_list() -> str:
    """What is known of the speakers' consent, corpus by corpus."""
    return "\n".join(f"- *{plain(about.title)}*: {about.consent}" for about in published_corpora())


def groups_table() -> str:
    """How many people of each group are tested, by log-mel's published outcomes."""
    rows = []
    for about in published_corpora():
        for column in about.groups:
            cells = [_tested(about.name, task, column) for task in ("sid", "asr")]
            if any(cells):
                rows.append((plain(about.title), column.replace("_", " "), *(cell or "not asked" for cell in cells)))
    return table(("Corpus", "Recorded", "Speaker identification", "Recognition and phones"), rows)


def _tested(corpus: str, task: str, column: str) -> str:
    outcomes = published_outcomes("logmel", corpus, task, TASKS[task].probe)
    if outcomes.empty or column not in outcomes:
        return ""
    sizes = outcomes.drop_duplicates("speaker_id")[column].value_counts()
    large = sizes[sizes >= FEWEST_SHOWN].sort_index()
    told = [f"{plain(group)} {size}" for group, size in large.items()]
    others = int(sizes.sum() - large.sum())
    return ", ".join([*told, *([f"{others} in smaller groups"] if others else [])])


def _record(name: str) -> dict[str, Any]:
    """How an encoder of ours was trained."""
    file = "finetuning.json" if finetuned_from(name) else "pretraining.json"
    return json.loads((SHIPPED / name / file).read_text())


def pretrained() -> list[str]:
    """Our encoders that were pretrained here, without those fine-tuned from them."""
    return [name for name in our_encoders() if not finetuned_from(name)]


def encoders_table() -> str:
    """Task, size and width of every encoder of ours."""
    rows = []
    for name in our_encoders():
        config = json.loads((SHIPPED / name / "config.json").read_text())
        base, record = finetuned_from(name), _record(name)
        made = f"fine-tuned from {base[0]} on {CORPORA[base[1]].title}" if base else _task_of(record["recipe"])
        size = f"{config['num_hidden_layers']} × {config['hidden_size']}, {config['num_attention_heads']} heads"
        rows.append((name, made, size, f"{parameters_of(name) / 1e6:.2f} million"))
    return table(("Encoder", "Trained for", "Blocks × width", "Weights"), rows)


def _task_of(recipe: dict[str, Any]) -> str:
    targets = recipe.get("targets")
    if targets is None:
        return f"{FAMILIES[recipe['family']]}: codes of masked frames"
    source = "MFCC" if targets["features"] == "mfcc" else f"{targets['features']}, layer {targets['layer']}"
    return f"{FAMILIES[recipe['family']]}: {targets['clusters']} clusters of {source}"


def context_table() -> str:
    """How much speech a frame of the first layers is made from."""

    def heard(layer: str, name: str) -> str:
        return f"{hears_ms(name, layer):,.0f} ms"

    rows: dict[tuple[str, str, str], list[str]] = {}
    for name in pretrained():
        last = (encoder_layers(name) or ("",))[-1]
        rows.setdefault((heard("cnn", name), heard("0", name), f"1 to {last}"), []).append(name)
    cells = (
        (", ".join(names), cnn, first, f"{blocks}: all of the utterance")
        for (cnn, first, blocks), names in rows.items()
    )
    return table(("Encoders", "Layer cnn", "Layer 0", "Layers"), cells)


def hours() -> dict[str, dict[str, str]]:
    """Of every encoder of ours: hours of distinct speech, hours heard, the most that its steps could hear, passes."""
    found = {}
    for name in our_encoders():
        record = _record(name)
        distinct, heard = record["hours_of_speech"], record["hours_heard"]
        steps = record.get("recipe", record)["schedule"]["steps"]
        seconds = record["recipe"]["batches"]["seconds"] if "recipe" in record else finetuning.SECONDS_PER_STEP
        found[name] = {
            "distinct": f"{distinct:.2f}", "heard": f"{heard:.1f}", "most": f"{steps * seconds / 3600:.1f}",
            "passes": f"{heard / distinct:.1f}", "steps": f"{steps:,}", "seconds": f"{seconds}",
        }  # fmt: skip
    return found


def hours_table() -> str:
    """Which speech every encoder of ours heard: distinct hours, and hours with repetition."""
    rows = []
    for name, each in hours().items():
        record = _record(name)
        parts = record["recipe"]["data"] if "recipe" in record else [{"corpus": record["corpus"], "split": "train"}]
        before = f"; before that, what {record['finetuned_from']} heard" if "finetuned_from" in record else ""
        rows.append(
            (name, "; ".join(map(_part, parts)) + before, each["distinct"], f"{each['heard']} ({each['passes']} ×)")
        )
    return table(("Encoder", "Speech", "Distinct, h", "Heard, h"), rows)


def _part(part: Mapping[str, Any]) -> str:
    which = f"{part['hours']:g} h" if part.get("hours") else "train half" if part.get("split") == "train" else "all"
    return f"{CORPORA[part['corpus']].title} ({which})"


def recipes() -> dict[str, Any]:
    """Every setting of the pretraining recipes: what most of them have, and who has something else."""
    found: dict[str, dict[str, list[str]]] = {}
    for name in pretrained():
        for section, values in read_recipe(name).model_dump(exclude={"model", "data"}, exclude_none=True).items():
            if isinstance(values, dict):
                for key, value in values.items():
                    found.setdefault(f"{section}.{key}", {}).setdefault(shown(value), []).append(name)
    made: dict[str, Any] = {}
    for path, values in found.items():
        section, key = path.split(".")
        usual, *others = sorted(values, key=lambda value: -len(values[value]))
        each = [f"{value} for {listing(values[value])}" for value in others]
        made.setdefault(section, {})[key] = "; ".join([usual, *each])
    return made


def recipe_seeds() -> str:
    """The seeds of our pretrainings."""
    return listing(sorted({str(read_recipe(name).seed) for name in pretrained()}))


def logmel_names() -> list[str]:
    """Log-mel with more context, by name."""
    return list(LOGMEL_AROUND)


def beams() -> int:
    """How many beams the aligner tries."""
    return len(alignment.BEAMS)


def alphabet_size() -> int:
    """Characters that fine-tuned encoders write."""
    return len(finetuning.ALPHABET)


def frame_ms() -> float:
    """From one frame to the next, in milliseconds."""
    return 1000 * speech.FRAME_STEP / audio.SAMPLE_RATE


def head_ms() -> float:
    """How much speech the context head of the character probe sees, in milliseconds: two convolutions, one on the
    other."""
    probe = characters.CharacterProbe()
    return (2 * (probe.kernel - 1) + 1) * probe.stride * frame_ms()


def study_table() -> str:
    """What the published study computed: one row for each probe and corpus."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for row in read_study(PUBLISHED_STUDY).to_dict("records"):
        told = "; ".join(_setting(name, value) for name, value in row["settings"].items())
        rows.setdefault((CALLS[row["call"]], row["corpus"], plain(told)), []).append(row["encoder"])
    cells = ((call, corpus, told or "as usual", str(len(names))) for (call, corpus, told), names in rows.items())
    return table(("Probe", "Corpus", "Settings", "Encoders"), cells)


def _setting(name: str, value: Any) -> str:
    if name == "task":
        return f"of {TASKS[value].title}"
    return f"{name} {shown(value)}".removesuffix(" yes").replace("_", " ")


def study_encoders() -> str:
    """The groups of encoders that the published study names."""
    groups = tomllib.loads(PUBLISHED_STUDY.read_text())["encoders"]
    return table(("Group", "Encoders"), ((name.replace("_", " "), ", ".join(names)) for name, names in groups.items()))


def sample_of_common_voice() -> str:
    """Which part of Common Voice lies here, as the encoders' cards say."""
    return CORPORA["commonvoice"].described.format(part="all")


def origin_of_audio() -> str:
    """Which copy of the speech was used, as the published outcomes say."""
    said = (PUBLISHED / "README.md").read_text(encoding="utf-8")
    return (
        next(part for part in said.split("\n\n") if part.startswith("They were"))
        .replace("\n", " ")
        .replace("They", "The published outcomes", 1)
    )


def licence_of_code() -> str:
    """As pyproject.toml names it."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"]


def licence_of_text() -> str:
    """Of the book's pages and charts, by the address in LICENSE."""
    kind, version = re.findall(r"licenses/([\w-]+)/([\d.]+)/", (ROOT / "LICENSE").read_text())[0]
    return f"CC {kind.upper()} {version}"


def licence_of_weights() -> str:
    """Of our encoders, by their cards."""
    cards = [(SHIPPED / name / "README.md").read_text() for name in our_encoders()]
    found = {re.findall(r"(?m)^license: (\S+)$", card)[0] for card in cards}
    return listing([re.sub(r"^cc-(.*)-(\d[\d.]*)$", r"cc \1 \2", name).upper() for name in sorted(found)])
