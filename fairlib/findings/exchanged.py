"""Pairs of encoders that were pretrained alike but for a part of the speech: what that does to a gap."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from fairlib.base.tasks import TASKS
from fairlib.bias import group_bias, layer_order, only_groups
from fairlib.corpora import CorpusError, is_synthetic
from fairlib.encoders import HUB_ID, EncoderError, heard, pretrained_alike
from fairlib.encoders.names import is_untrained
from fairlib.findings.cells import Cell, Number
from fairlib.findings.finding import Finding, refused
from fairlib.findings.gap_tables import gaps, mark_saturated
from fairlib.findings.pretraining import EARLY, best_layer, changes_by_speech, does_it_help, pairs_of
from fairlib.findings.survey import published, strangers
from fairlib.findings.wording import say
from fairlib.probes import ProbeError


@dataclass(frozen=True)
class Effect:
    """What other speech in pretraining does to a gap.

    Attributes:
        bias: the gaps of the encoder, of its counterpart and of their second trainings (`group_bias`).
        changes: how much these differ, in pairs (`changes_by_speech`).
        finding: judged by the rule "cause"; where too few people are left, it says so, and the tables are empty.
    """

    bias: pd.DataFrame
    changes: pd.DataFrame
    finding: Finding


def compared_with(counterpart: str, encoder: str) -> str:
    """What a counterpart is compared with: an encoder of ours that was pretrained alike but for the speech; where none
    was, or this one was, the encoder given.

    Example:
        >>> compared_with("pocket-hubert-children", "mini-hubert-long"), compared_with("/my/other", "/my/encoder")
        ('pocket-hubert', '/my/encoder')
    """
    alike = [
        name for names in pretrained_alike("data") if counterpart in names for name in names if name != counterpart
    ]
    return encoder if encoder in alike or not alike else alike[0]


def at_hand(encoder: str, counterpart: str, ask: Callable[[str], pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Outcomes of an encoder, of its counterpart and of their second trainings, by name. Left out is of whom nothing is
    published where weights or speech are not here.

    Args:
        ask: gives the outcomes of an encoder by its name.
    """
    pairs, found = pairs_of(encoder, counterpart).values(), {}
    for name in dict.fromkeys(name for pair in pairs for name in (pair.one, pair.other)):
        with contextlib.suppress(EncoderError, CorpusError, ProbeError):
            found[name] = ask(name)
    return found


def lacking_sentence(task: str, names: Sequence[str]) -> str:
    """That there is nothing of these encoders to compare.

    Example:
        >>> lacking_sentence("sid", ["mini-hubert"])
        'Speaker identification: there are no outcomes of mini-hubert, published or computed here.'
    """
    return say("cause.lacking", heading=TASKS[task].heading, names=names)


def no_such_exchange(encoder: str, counterpart: str, corpus: str) -> str:
    """Why two encoders cannot tell what it does to have heard a corpus's speakers; empty where they can, and where it
    is not on record what the counterpart heard.

    Example:
        >>> no_such_exchange("pocket-hubert", "pocket-hubert-children", "speechocean762")
        ''
        >>> print(no_such_exchange("mini-hubert-learners", "mini-hubert", "speechocean762"))
        mini-hubert heard no speech of speechocean762: choose a counterpart that did (mini-hubert-learners,
        pocket-hubert-children).
    """
    if is_synthetic(corpus):  # no encoder heard these voices: they show how a chapter works
        return ""
    on_record = _heard(counterpart)
    if corpus not in on_record and (on_record or is_untrained(counterpart)):
        with_it = [name for _, name in exchanged_pairs(corpus)]
        return say("cause.not_heard", counterpart=counterpart, corpus=corpus, with_it=with_it)
    return say("cause.heard_before", encoder=encoder, corpus=corpus) if corpus in _heard(encoder) else ""


def _heard(encoder: str) -> set[str]:
    """As `heard`, of any name; what a hub id heard is not on record, so nothing of it is fetched."""
    return set() if is_untrained(encoder) or HUB_ID.fullmatch(encoder) else heard(encoder)


def effect_of(
    tables: Mapping[str, pd.DataFrame], encoder: str, counterpart: str, corpus: str, by: str, contrast: str,
    groups: Sequence[str],
) -> Effect:  # fmt: skip
    """Whether the gap is smaller in the counterpart, among people whom neither has heard, at the layers that both have;
    not judged where the counterpart has not heard the corpus's other people, or the encoder has.

    Args:
        tables: outcomes by encoder, as from `at_hand`; both are there.
    """
    if why := no_such_exchange(encoder, counterpart, corpus):
        return Effect(pd.DataFrame(), pd.DataFrame(), refused("cause", why))
    kept = pd.concat(tables.values(), ignore_index=True)
    if corpus in _heard(counterpart):  # of the half that is tested on transcripts it has heard nobody
        kept = kept[kept["speaker_id"].isin(strangers(corpus))]
    kept = kept[kept["layer"].isin(set.intersection(*(set(table["layer"]) for table in tables.values())))]
    kept = only_groups(kept, by, groups)
    try:
        bias = mark_saturated(group_bias(kept, by=by), kept)
        gaps(bias, encoder, contrast)
    except ValueError:
        return Effect(pd.DataFrame(), pd.DataFrame(), refused("cause", say("cause.too_few")))
    changes = changes_by_speech(kept, by, pairs_of(encoder, counterpart))
    return Effect(bias, changes, does_it_help(bias, changes, encoder, contrast, best_layer(kept, encoder)))


def changes_table(effects: Mapping[str, Effect], contrast: str) -> pd.DataFrame:
    """How much the gap changes at each layer of each task, a column for each pair of encoders, with Holm's p."""
    rows = []
    for task, effect in effects.items():
        table = effect.changes
        table = table[(table["contrast"] == contrast) & (table["scale"] == "log_odds")]
        for layer in layer_order(table["layer"].unique()):
            row: dict[str, Any] = {"task": TASKS[task].title, "layer": layer}
            for pair in table[table["layer"] == layer].itertuples():
                moved, low, high = (Number("log odds", value) for value in (pair.estimate, pair.low, pair.high))
                row[pair.pair] = Cell(moved, ", p ", Number("p", pair.p_holm), "\n", low, " to ", high)
            rows.append(row)
    return pd.DataFrame(rows).fillna("")


def exchanged_pairs(corpus: str) -> list[tuple[str, str]]:
    """Encoders of ours and, of each, one that heard speech of this corpus in place of other speech, all else alike.

    Example:
        >>> exchanged_pairs("speechocean762")
        [('mini-hubert', 'mini-hubert-learners'), ('pocket-hubert', 'pocket-hubert-children')]
    """
    pairs = []
    for names in pretrained_alike("data"):
        with_it = [name for name in names if corpus in heard(name)]
        pairs += [(name, other) for name in names for other in with_it if name not in with_it]
    return pairs


def published_effect(
    encoder: str, counterpart: str, task: str, corpus: str, by: str, contrast: str, groups: Sequence[str]
) -> Finding | None:
    """Whether the gap is smaller in the counterpart, judged by the rule "cause" on what is published of both, and of
    the same pair from another seed.

    Whom the counterpart heard in pretraining are left out. None where nothing is published of one of them, or too few
    people of a group are left.

    Args:
        task: a key of `fairlib.base.tasks.TASKS`, whose main unit and probe are taken; of speakers the one that stops
            early (`EARLY`), where that is published of both.

    Example:
        >>> pair = ("pocket-hubert", "pocket-hubert-children")
        >>> contrast, groups = "child vs adult", ["child", "adult"]
        >>> published_effect(*pair, "sid", "speechocean762", "age_group", contrast, groups).verdict
        'inconclusive'
    """
    for probe in dict.fromkeys([EARLY.name if task == "sid" else TASKS[task].main[2], TASKS[task].main[2]]):
        ask = partial(published, corpus=corpus, task=task, unit=TASKS[task].main[1], probe=probe)
        tables = at_hand(encoder, counterpart, ask)
        tables = {name: table for name, table in tables.items() if len(table) and by in table}
        if {encoder, counterpart} <= set(tables):
            break
    else:
        return None
    effect = effect_of(tables, encoder, counterpart, corpus, by, contrast, groups)
    return effect.finding if len(effect.bias) else None
