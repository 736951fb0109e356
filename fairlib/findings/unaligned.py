"""Utterances whose phones could not be laid over the sound: whose they are, and how much they could matter."""

from __future__ import annotations

import pandas as pd

from fairlib.bias import link
from fairlib.bias.contrasts import contrast_groups
from fairlib.findings.wording import say


def unaligned_table(phones: pd.DataFrame, tested: pd.DataFrame, by: str) -> pd.DataFrame:
    """How many tested utterances of each group have no phones, and the group's error at the worst and at the best.

    At the worst, every frame of an utterance that is missing is wrong, at the best none is; it is taken to have as many
    frames as the group's others have on average.

    Args:
        phones: outcomes of one encoder and layer.
        tested: outcomes on all utterances of the same test half: of a character probe, say.
        by: a column with one value a speaker.

    Returns:
        A row a group: ``group, tested, missing, errors, frames`` of what was aligned, ``unheard``, the frames that are
        missing.

    Example:
        >>> phones = pd.DataFrame({"utterance_id": ["a"], "sex": ["f"], "errors": [4], "length": [10]})
        >>> tested = pd.DataFrame({"utterance_id": ["a", "b"], "sex": ["f", "f"]})
        >>> unaligned_table(phones, tested, "sex").to_numpy().tolist()
        [['f', 2, 1, 4, 10, 10.0]]
    """
    every = tested.drop_duplicates("utterance_id")
    rows = []
    for group, mine in every.groupby(by):
        own = phones[phones["utterance_id"].isin(mine["utterance_id"])]
        missing = len(mine) - own["utterance_id"].nunique()
        errors, frames = int(own["errors"].sum()), int(own["length"].sum())
        mean = frames / max(1, own["utterance_id"].nunique())
        rows.append((group, len(mine), missing, errors, frames, missing * mean))
    return pd.DataFrame(rows, columns=["group", "tested", "missing", "errors", "frames", "unheard"])


def unaligned_sentence(table: pd.DataFrame, by: str, contrast: str, encoder: str, layer: str) -> str:
    """Who is missing, and between which values the gap would lie whatever the missing utterances hold.

    Args:
        table: from `unaligned_table`.
        contrast: of two of its groups.
    """
    if not table["missing"].any():
        return say("unaligned.none")
    counts = table[["group", "tested", "missing"]].to_dict("records")
    if contrast_groups(contrast)[1] is None:
        return say("unaligned.some", by=by, counts=counts)
    one, other = (table[table["group"] == group].iloc[0] for group in contrast_groups(contrast))

    def gap(first_wrong: bool, second_wrong: bool) -> float:
        return float(_odds(one, first_wrong) - _odds(other, second_wrong))

    found = float(link("log_odds", one["errors"], one["frames"]) - link("log_odds", other["errors"], other["frames"]))
    bounds = [gap(True, False), gap(False, True)]
    facts = {"encoder": encoder, "layer": layer, "bounds": bounds, "gap": found}
    return say("unaligned.bounds", by=by, contrast=contrast, counts=counts, **facts)


def _odds(row: pd.Series, wrong: bool) -> float:
    """Log odds of error with the missing frames all wrong, or all right."""
    return link("log_odds", row["errors"] + wrong * row["unheard"], row["frames"] + row["unheard"])
