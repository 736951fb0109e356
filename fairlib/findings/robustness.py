"""One question, every available analysis: how much of a gap rests on choices that could have been made otherwise.

The idea is that of a multiverse analysis (Steegen, Tuerlinckx, Gelman and Vanpaemel 2016, Perspectives on Psychological
Science 11:702-712): every defensible analysis of the data is run, and all results are shown.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fairlib.base.tasks import TASKS, unit_named
from fairlib.bias import BiasError, group_bias, groups_of_speakers
from fairlib.corpora import CorpusError
from fairlib.encoders import heard, our_encoders
from fairlib.encoders.names import parsed
from fairlib.findings import SATURATED, Finding, mean_error
from fairlib.findings.cells import Cell, Number, with_interval
from fairlib.findings.finding import judged
from fairlib.findings.gap_tables import SCALES, adjusted_for_recorded
from fairlib.findings.pretraining import EARLY, second_seed
from fairlib.findings.questions import fewest_compared
from fairlib.findings.rules import rule
from fairlib.findings.survey import published, strangers
from fairlib.findings.views import PLAIN, speaker_views
from fairlib.findings.wording import estimate_of, say
from fairlib.outcomes import entries_of, published_outcomes
from fairlib.probes import PhoneProbe, ProbeError, probe_characters, probe_of, probe_phones, probe_speakers

BOOK = "as in the book"
PHONES = "phones instead of characters"
ROBUST_CRITERION = rule("robust")


def speaker_choices(encoder: str, corpus: str, by: str, seeds: int = 5, force: bool = False) -> dict[str, pd.DataFrame]:
    """Outcomes of speaker identification in every available way, by what to call it; the book's own way comes first.

    Other encoders stand in it as far as outcomes of them are published for this corpus, without the people whom they
    heard in their own training.

    Args: as `fairlib.findings.views.speaker_views`.
    """
    views = speaker_views(encoder, corpus, by, seeds, force)
    plain = views.pop(PLAIN)
    choices = {BOOK: plain}
    choices |= {f"seed {seed} alone": plain[plain["seed"] == seed] for seed in sorted(plain["seed"].unique())}
    with contextlib.suppress(ProbeError):  # too few utterances to identify anybody by
        choices["a probe with a hidden layer"] = probe_speakers(encoder, corpus, probe="hidden", seeds=1, force=force)
    choices |= views
    for name in _others(encoder):
        theirs, label = published(name, corpus, *TASKS["sid"].main), f"{_named(name)} instead"
        if theirs.empty:
            theirs = published(name, corpus, "sid", "speaker", EARLY.name)
            label = f"{_named(name)}, early stop"  # of the probe; see `EARLY`
        if corpus in heard(parsed(name).plain):
            theirs = theirs[theirs["speaker_id"].isin(strangers(corpus))]
        if len(theirs):
            choices[label] = theirs
    return choices


def speech_choices(encoder: str, corpus: str, force: bool = False) -> dict[str, pd.DataFrame]:
    """Outcomes of speech recognition in every available way, as `speaker_choices`: units, probes and other encoders."""
    written = probe_characters(encoder, corpus, force=force)
    choices = {
        BOOK: written[written["unit"] == "char"],
        "counted in words": written[written["unit"] == "word"],
    }
    if choices["counted in words"].empty:  # a script without spaces
        del choices["counted in words"]
    with contextlib.suppress(CorpusError, ProbeError):  # no phones of this language
        choices[PHONES] = probe_phones(encoder, corpus, force=force)
    for made, rows in _phone_probes(encoder, corpus):
        if made.balance:
            choices["phones by a probe trained on equal shares"] = rows
        elif made.name == "hidden":
            choices["phones by a probe with a hidden layer"] = rows
    for name in _others(encoder):
        for task in ("asr", "phone"):
            theirs = published(name, corpus, *TASKS[task].main)
            if len(theirs):
                label = _named(name)
                choices[f"phones from {label}" if task == "phone" else f"{label} instead"] = theirs
    return choices


def other_phone_probes(encoders: Sequence[str], corpus: str) -> dict[str, pd.DataFrame]:
    """What is published by phone probes of every kind, the linear one first, as `fairlib.findings.views.controls_table`
    takes it: of the encoders of which several kinds are published, and of kinds that all of these were probed with.

    Nothing is computed for it: on a corpus of one's own these probes would take longer than all else in a chapter.
    """
    of_each = [{made.name: rows for made, rows in _phone_probes(encoder, corpus)} for encoder in encoders]
    of_each = [of_each[0], *(probes for probes in of_each[1:] if len(probes) > 1)]
    common = [kind for kind in of_each[0] if all(kind in probes for probes in of_each)]
    return {f"errors, {kind}": pd.concat([probes[kind] for probes in of_each]) for kind in common}


def _phone_probes(encoder: str, corpus: str) -> list[tuple[PhoneProbe, pd.DataFrame]]:
    table = published_outcomes(encoder, corpus, "phone")
    made = [probe_of(entry.key) for entry in entries_of(table)] if len(table) else []  # None: no plain probe
    probes = {probe.name: probe for probe in made if isinstance(probe, PhoneProbe) and not probe.by_phone}
    order = sorted(probes, key=lambda name: (name != "linear", name))
    return [(probes[name], table[table["probe"] == name]) for name in order]


def _named(encoder: str) -> str:
    """A name that fits beside its stroke on a telephone."""
    said = parsed(encoder)
    return said.plain + (" (again)" if said.second_seed else "")


def _others(encoder: str) -> list[str]:
    second = filter(None, map(second_seed, our_encoders()))
    return [name for name in [*our_encoders(), *second] if name != encoder]


def gaps_of(choices: Mapping[str, pd.DataFrame], by: str, contrast: str) -> pd.DataFrame:
    """Gap of each choice at its own best layer and, where it has one, at layer cnn.

    Choices that leave too few people of a group to be shown are left out.

    Returns:
        ``name, at`` ("best" or "cnn"), ``layer, error, saturated``, ``estimate, low, high`` of the log odds ratio,
        ``n_speakers_a, n_speakers_b``.
    """
    rows = []
    for name, outcomes in choices.items():
        error = mean_error(outcomes).set_index("layer")["error"]
        places = {"best": error.idxmin()} | ({"cnn": "cnn"} if "cnn" in error.index else {})
        kept = outcomes[outcomes["layer"].isin(list(places.values()))]
        try:
            bias = group_bias(kept, by=by, permutations=50)
        except BiasError:
            continue
        if (groups_of_speakers(outcomes, by).value_counts() < fewest_compared(outcomes)).any():
            continue
        bias = bias[(bias["contrast"] == contrast) & (bias["scale"] == "log_odds")].set_index("layer")
        for at, layer in places.items():
            if layer in bias.index and np.isfinite(bias.loc[layer, "estimate"]):
                gap = bias.loc[layer, ["estimate", "low", "high", "n_speakers_a", "n_speakers_b"]].to_dict()
                saturated = bool(error[layer] > SATURATED and unit_named(outcomes["unit"].iloc[0]).saturates)
                rows.append(
                    {"name": name, "at": at, "layer": layer, "error": error[layer], "saturated": saturated} | gap
                )
    return _with_best(rows)


def adjusted_choice(outcomes: pd.DataFrame, by: str, contrast: str, corpus: str) -> pd.DataFrame:
    """As `gaps_of`: the gap in speaker identification at equal length, noise and other recorded groups.

    Empty where the regression cannot be made.
    """
    error = mean_error(outcomes).set_index("layer")["error"]
    places = {"best": error.idxmin()} | ({"cnn": "cnn"} if "cnn" in error.index else {})
    kept = outcomes[outcomes["layer"].isin(list(places.values()))]
    table = adjusted_for_recorded(kept, by, corpus, ["duration_s"])
    table = table[(table["contrast"] == contrast) & (table["problem"] == "")].set_index("layer")
    rows = [
        {"name": "adjusted for what else differs", "at": at, "layer": layer, "error": error[layer], "saturated": False}
        | table.loc[layer, ["estimate", "low", "high", "n_speakers_a", "n_speakers_b"]].to_dict()
        for at, layer in places.items()
        if layer in table.index
    ]
    return _with_best(rows)


def _with_best(rows: list[dict]) -> pd.DataFrame:
    """The choices that have a gap at their best layer; one at layer cnn alone has nothing to stand beside."""
    columns = ["name", "at", "layer", "error", "saturated", "estimate", "low", "high", "n_speakers_a", "n_speakers_b"]
    table = pd.DataFrame(rows, columns=columns)
    return table[table["name"].isin(table.loc[table["at"] == "best", "name"])].reset_index(drop=True)


def does_it_hold(table: pd.DataFrame, by: str, contrast: str, what: str) -> Finding:
    """Judge by `ROBUST_CRITERION`; ``table`` is from `gaps_of`, ``what`` the task in words."""
    best = table[table["at"] == "best"]
    if BOOK not in set(best["name"]):
        return judged("robust", "inconclusive", {"by": by, "contrast": contrast}, [], said="unknown")
    says = pd.Series(np.where(best["low"] > 0, 1, np.where(best["high"] < 0, -1, 0)), index=best["name"])
    book, others = int(says[BOOK]), says.drop(BOOK)
    same = list(others.index[others == book])
    turned = list(others.index[(others != book) & (others != 0)])
    silent = list(others.index[(others != book) & (others == 0)])
    undecided = silent or not len(others) or not book  # where nothing shows in any way, nothing has been shown to hold
    verdict = "contradicted" if turned else "inconclusive" if undecided else "supported"
    row = best.set_index("name").loc[BOOK]
    facts = {
        "what": what, "by": by, "contrast": contrast, "found": book, "layer": row["layer"], "gap": estimate_of(row),
        "alternatives": len(others), "same": same, "silent": silent,
        "turned": {sign: [name for name in turned if others[name] == sign] for sign in (1, -1)},
    }  # fmt: skip
    return judged("robust", verdict, facts, table.to_dict("records"), best[best["name"] == BOOK], said="ways")


def farthest_sentence(task: str, table: pd.DataFrame) -> str:
    """Which choices move the gap most, and least, from that of the book's own; empty where nothing can be compared.

    Args:
        task: a key of `fairlib.base.tasks.TASKS`.
        table: from `gaps_of`.
    """
    best = table[table["at"] == "best"].set_index("name")["estimate"]
    if BOOK not in best.index or len(best) == 1:
        return ""
    away = list((best - best[BOOK]).drop(BOOK).sort_values(key=lambda column: -column.abs()).items())
    return say("robust.farthest", heading=TASKS[task].heading, farthest=away[:3], nearest=away[-3:])


def choices_table(table: pd.DataFrame) -> pd.DataFrame:
    """Every choice with its layers, errors and gaps; sorted by the gap at the best layer."""
    best = table[table["at"] == "best"].sort_values("estimate", ascending=False)
    cnn = table[table["at"] == "cnn"].set_index("name")
    rows = []
    for row in best.itertuples():
        entry = {"analysis": row.name, "best layer": Cell(row.layer, "\nerror ", Number("share", row.error))}
        entry["gap there"] = Number("log odds", row.estimate, row.low, row.high)
        other = cnn.loc[row.name] if row.name in cnn.index else None
        entry["gap at layer cnn"] = "" if other is None else with_interval("log odds", other)
        rows.append(entry)
    return pd.DataFrame(rows)


def scales_at_best(outcomes: Mapping[str, pd.DataFrame], by: str, contrast: str) -> pd.DataFrame:
    """The book's own way on all three scales at its best layer: the only choice that changes the unit.

    Args:
        outcomes: by task, in words.
    """
    rows = []
    for task, mine in outcomes.items():
        error = mean_error(mine).set_index("layer")["error"]
        bias = group_bias(mine[mine["layer"] == error.idxmin()], by=by, permutations=50)
        bias = bias[bias["contrast"] == contrast].set_index("scale")
        entry: dict[str, Any] = {"task": f"{task}\nlayer {error.idxmin()}"}
        entry |= {told: with_interval(kind, bias.loc[scale]) for scale, (told, kind) in SCALES.items()}
        rows.append(entry)
    return pd.DataFrame(rows)


def in_order(table: pd.DataFrame) -> list[str]:
    """Names of the choices by the size of the gap at the best layer, as the chart has them."""
    return table[table["at"] == "best"].sort_values("estimate", ascending=False)["name"].tolist()
