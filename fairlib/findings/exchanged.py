"""Pairs of encoders that were pretrained alike but for a part of the speech: the experiment on cause, once more."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from fairlib.base.tasks import TASKS
from fairlib.bias import BiasError, group_bias, only_groups
from fairlib.encoders import heard, pretrained_alike
from fairlib.findings.finding import Finding
from fairlib.findings.gap_tables import mark_saturated
from fairlib.findings.pretraining import EARLY, best_layer, changes_by_speech, does_it_help, pairs_of
from fairlib.findings.survey import published, strangers


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
    pairs = pairs_of(encoder, counterpart)
    names = dict.fromkeys(name for pair in pairs.values() for name in (pair.one, pair.other))
    for probe in dict.fromkeys([EARLY.name if task == "sid" else TASKS[task].main[2], TASKS[task].main[2]]):
        tables = {name: published(name, corpus, *TASKS[task].main[:2], probe) for name in names}
        tables = {name: table for name, table in tables.items() if len(table) and by in table}
        if {encoder, counterpart} <= set(tables):
            break
    else:
        return None
    kept = pd.concat(tables.values(), ignore_index=True)
    kept = only_groups(kept[kept["speaker_id"].isin(strangers(corpus))], by, groups)
    try:
        bias = mark_saturated(group_bias(kept, by=by), kept)
    except BiasError:
        return None
    paired = {what: pair for what, pair in pairs.items() if {pair.one, pair.other} <= set(tables)}
    effects = changes_by_speech(kept, by, paired)
    return does_it_help(bias, effects, encoder, contrast, best_layer(kept, encoder))
