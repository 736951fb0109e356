"""What is published of every encoder of ours, side by side: on people whom it has not heard, with its controls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from fairlib.base.tasks import PERTURBED, TASKS, unit_named
from fairlib.bias import CELL, NEEDED, layer_order
from fairlib.corpora import speaker_columns
from fairlib.encoders import LOGMEL_AROUND, encoder_fingerprint, finetuned_from, heard, our_encoders
from fairlib.encoders.names import encoder_label, untrained_twin
from fairlib.findings.cells import ESTIMATE, Cell, Number
from fairlib.findings.layers import layer_errors, reduction
from fairlib.findings.wording import say
from fairlib.outcomes import published_outcomes

SHOWN = ("phone", "char", "speaker", PERTURBED)  # units, in the order of the charts


def published(encoder: str, corpus: str, task: str, unit: str, probe: str) -> pd.DataFrame:
    """What is published of one encoder, corpus, task, unit and probe, all seeds together; empty if there is nothing."""
    table = published_outcomes(encoder, corpus, task, probe)
    return table[table["unit"] == unit]


def published_twin(encoder: str, corpus: str, task: str, unit: str, probe: str) -> pd.DataFrame:
    """What is published of the untrained twin: encoders of one shape share it, and so do fine-tuned ones with what they
    were."""
    before = finetuned_from(encoder)
    weights = encoder_fingerprint(untrained_twin(before[0] if before else encoder))
    for twin in dict.fromkeys(untrained_twin(name) for name in (encoder, *our_encoders())):
        if encoder_fingerprint(twin) == weights and len(outcomes := published(twin, corpus, task, unit, probe)):
            return outcomes.assign(encoder=untrained_twin(encoder))
    return published(untrained_twin(encoder), corpus, task, unit, probe).iloc[:0]


def strangers(corpus: str) -> set[str]:
    """Speakers of a corpus whom no encoder of ours has heard, whichever corpora it was trained on: of the test half."""
    tested = [published("logmel", corpus, *TASKS[task].main) for task in ("phone", "asr")]
    return set(pd.concat(tested)["speaker_id"].unique())


def every_encoder(corpus: str) -> dict[str, pd.DataFrame]:
    """Published outcomes of each encoder of ours on people whom it has not heard, with those of its twin and log-mel.

    Where nobody is left whom it has not heard, it is left out, as is one of which nothing is published.

    Of the probes, those that the chapters lead with: linear for phones and speakers, with context for characters; and
    speakers once more with the channel perturbed, as the unit `PERTURBED`.

    Returns:
        By encoder, pretrained ones first; as `by_speaker` gives them.

    Example:
        >>> sorted(every_encoder("planted"))
        ['mini-hubert', 'mini-hubert-long', 'pocket-hubert']
    """

    measured = [(task.main, task.main[1]) for task in TASKS.values()]
    measured.append((("sid", "speaker", "linear, perturbed channel"), PERTURBED))

    def all_of(ask: Callable, name: str) -> pd.DataFrame:
        return pd.concat([by_speaker(ask(name, corpus, *which).assign(unit=unit)) for which, unit in measured])

    unheard = strangers(corpus)
    # A frame has a context, whether log-mel's or a layer's; the mean over an utterance has all of it.
    framewise = [by_speaker(published(control, corpus, *TASKS["phone"].main)) for control in LOGMEL_AROUND]
    signal = pd.concat([all_of(published, "logmel"), *framewise])
    found, twins = {}, {}
    for name in sorted(our_encoders(), key=lambda name: finetuned_from(name) is not None):
        own = all_of(published, name)
        tested = set(own["speaker_id"].unique())
        kept = tested & unheard if corpus in heard(name) else tested
        if kept:
            shape = encoder_fingerprint(untrained_twin((finetuned_from(name) or (name,))[0]))
            if shape not in twins:
                twins[shape] = all_of(published_twin, name)
            twin = twins[shape].assign(encoder=untrained_twin(name))
            together = pd.concat([own, twin, signal], ignore_index=True)
            found[name] = together[together["speaker_id"].isin(kept)]
    return found


def by_speaker(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Outcomes with one row for each speaker, seed and layer, errors and units summed, and of other columns those that
    describe a speaker: a twentieth of the rows, and all that errors, gaps and their intervals are computed from. Only
    numbers of utterances cannot be told from it any more.

    Example:
        >>> rows = {"encoder": "e", "task": "sid", "unit": "speaker", "probe": "linear", "layer": ["0", "0", "1", "1"]}
        >>> rows |= {"seed": 0, "speaker_id": "anna", "utterance_id": ["a", "b"] * 2}
        >>> rows |= {"sex": "female", "errors": [0, 1, 1, 1], "length": 1}
        >>> by_speaker(pd.DataFrame(rows))[["layer", "sex", "errors", "length"]].to_numpy().tolist()
        [['0', 'female', 1, 2], ['1', 'female', 2, 2]]
    """
    place = np.zeros(len(outcomes), int)
    for column in (*CELL, "seed", "speaker_id"):
        codes, values = pd.factorize(outcomes[column])
        place = pd.factorize(place * max(len(values), 1) + codes)[0]
    described = [column for column in (*NEEDED, "seed", "corpus", *speaker_columns(outcomes)) if column in outcomes]
    sums = {column: np.bincount(place, outcomes[column]).astype(int) for column in ("errors", "length")}
    return outcomes.loc[~pd.Series(place).duplicated().to_numpy(), described].assign(**sums)


def by_depth(family: dict[str, pd.DataFrame]) -> dict[int, dict[str, pd.DataFrame]]:
    """Encoders of as many blocks together, by that number, the deepest first: a chart of all would have too many lines.

    Args:
        family: from `every_encoder`.

    Example:
        >>> {blocks: len(some) for blocks, some in by_depth(every_encoder("planted")).items()}
        {12: 2, 6: 1}
    """
    depths: dict[int, dict[str, pd.DataFrame]] = {}
    for name, outcomes in family.items():
        last = layer_order(outcomes.loc[outcomes["encoder"] == name, "layer"].unique())[-1]
        depths.setdefault(int(last), {})[name] = outcomes
    return dict(sorted(depths.items(), reverse=True))


def side_by_side(family: dict[str, pd.DataFrame], unit: str, encoder: str = "", where: str = "") -> dict | None:
    """What `fairlib.display.charts.encoders_by_layer` draws of the pretrained encoders and log-mel, and the words for
    it.

    Args:
        family: from `every_encoder`.
        unit: one of `SHOWN`.
        encoder: whose untrained twin is drawn too; where it is not among them, the first one's.
        where: of what, in the title, such as ", on LibriSpeech".

    Returns:
        ``errors, title, description``; None where nothing is published of that unit.

    Example:
        >>> print(side_by_side(every_encoder("speechocean762"), "phone")["title"].partition(",")[0])
        Phone error rate
    """
    drawn: dict[str, pd.DataFrame] = {}
    pretrained = [name for name in family if finetuned_from(name) is None]
    beside = encoder if encoder in pretrained else next(iter(pretrained), "")
    for name in pretrained:
        outcomes = family[name]
        shown = [name, "logmel", *([untrained_twin(name)] if name == beside else [])]
        here = outcomes[(outcomes["unit"] == unit) & outcomes["encoder"].isin(shown)]
        drawn |= {one: table for one, table in here.groupby("encoder")}
    trained = [name for name in drawn if name in family]
    if not trained:
        return None
    errors = layer_errors(pd.concat(drawn.values()))
    lowest = errors[errors["encoder"].isin(trained)].groupby("encoder")["error"].min().sort_values()
    facts: dict[str, Any] = {
        "error": unit_named(unit).error, "wrong": unit_named(unit).wrong, "perturbed": unit == PERTURBED,
        "where": where,
        "lowest": [{"encoder": name, "error": error} for name, error in lowest.items()], "less": None,
    }  # fmt: skip
    if len(lowest) > 1:
        ends = [drawn[name] for name in lowest.index[[0, -1]]]
        both = set(ends[0]["speaker_id"]) & set(ends[1]["speaker_id"])
        together = pd.concat([table[table["speaker_id"].isin(both)] for table in ends])
        less = reduction(together, *lowest.index[[0, -1]])
        facts["less"] = [100 * less[name] for name in ESTIMATE]
    return {"errors": errors} | {part: say(f"survey.{part}", **facts) for part in ("title", "description")}


def layers_table(family: dict[str, pd.DataFrame], unit: str) -> pd.DataFrame:
    """Every layer's error in per cent, of encoders and untrained twins; log-mel's, on the same people, last.

    Args:
        family: from `every_encoder`.
        unit: one of `SHOWN`.
    """
    rows = []
    for name, outcomes in family.items():
        sums = outcomes[outcomes["unit"] == unit].groupby(["encoder", "layer"])[["errors", "length"]].sum()
        errors = (sums["errors"] / sums["length"]).map(lambda share: Number("per cent", share))
        if name not in errors:
            continue
        logmel = {"log-mel": errors["logmel"].iloc[0]}
        for one, label in ((name, ""), (untrained_twin(name), "untrained twin of ")):
            if one in errors:
                rows.append({"encoder": label + encoder_label(name), **errors[one], **logmel})
    if not rows:
        return pd.DataFrame(columns=["encoder", "log-mel"])
    table = pd.DataFrame(rows)
    layers = layer_order(set(table.columns) - {"encoder", "log-mel"})
    # Encoders of one shape share their twin; on the same people its row need not stand there twice.
    return table[["encoder", *layers, "log-mel"]].fillna("").drop_duplicates([*layers, "log-mel"], ignore_index=True)


def encoders_table(family: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One row per encoder: its best layer's errors, and how they differ, relatively, from log-mel's and from
    the untrained twin's best.

    Args:
        family: from `every_encoder`.
    """
    rows = []
    for name, outcomes in family.items():
        row: dict[str, Any] = {"encoder": encoder_label(name)}
        for unit in SHOWN:
            told_as = unit_named(unit).error + (", channel perturbed" if unit == PERTURBED else "")
            same = outcomes[outcomes["unit"] == unit]
            mine = same[same["encoder"] == name]
            if mine.empty:
                row[told_as] = ""
                continue
            errors = layer_errors(mine, resamples=200)
            best = errors.loc[errors["error"].idxmin()]
            less = []
            for control in ("logmel", untrained_twin(name)):
                wrong = same[same["encoder"] == control].groupby("layer")["errors"].sum()
                if len(wrong) and wrong.min() > 0:
                    less += [", ", Number("change", -reduction(same, name, control)["estimate"])]
                elif len(wrong):
                    less += [", ", f"{encoder_label(control)}: none wrong"]
            row[told_as] = Cell(Number("share", best["error"]), f" (layer {best['layer']})\n", *less[1:])
        rows.append(row)
    table = pd.DataFrame(rows)
    return table.loc[:, (table != "").any()]
