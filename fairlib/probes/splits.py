"""Who is trained on and who is tested: splits, balance between groups, and the checks that a corpus can be probed."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import pandas as pd

from fairlib.corpora import CORPORA, own_name, speaker_columns
from fairlib.corpora.labels import is_number


class ProbeError(ValueError):
    """A corpus cannot be probed as asked; the message says what is lacking."""


def held_out(speakers: pd.Series, share: float, seed: int) -> np.ndarray:
    """Mark ``share`` of each speaker's utterances (at least one) for testing; a boolean array, one entry a row.

    Example:
        >>> held_out(pd.Series(["a"] * 4 + ["b"] * 4), share=0.25, seed=0).sum()
        np.int64(2)
    """
    rng = np.random.default_rng(seed)
    test = np.zeros(len(speakers), bool)
    for rows in speakers.reset_index(drop=True).groupby(speakers.to_numpy()).indices.values():
        test[rng.permutation(rows)[: max(1, round(share * len(rows)))]] = True
    return test


def balanced_speech(utterances: pd.DataFrame, by: Sequence[str], seed: int) -> np.ndarray:
    """Rows with as many speakers of each group and as many utterances of each speaker, both drawn at random.

    Example:
        >>> rows = pd.DataFrame({"speaker_id": list("aaabbccc"), "sex": ["f"] * 5 + ["m"] * 3})
        >>> rows.iloc[balanced_speech(rows, ["sex"], seed=0)].groupby("sex").size().to_dict()
        {'f': 3, 'm': 3}
    """
    rng = np.random.default_rng(seed)
    rows = utterances.reset_index(drop=True)
    people = rows.drop_duplicates("speaker_id").sort_values("speaker_id")
    groups = pd.Series(group_of(people, by), index=people["speaker_id"])
    groups = groups[groups != ""]
    if groups.nunique() < 2:
        raise ProbeError(
            f"Balancing by {listed(by)} needs two groups with usable speakers; there are {groups.nunique()}."
        )
    size = groups.value_counts().min()
    speakers = np.concatenate(
        [rng.permutation(names)[:size] for _, names in sorted(groups.groupby(groups).groups.items())]
    )
    each = rows[rows["speaker_id"].isin(speakers)].groupby("speaker_id").size().min()
    indices = rows.groupby("speaker_id").indices
    return np.sort(np.concatenate([rng.permutation(indices[speaker])[:each] for speaker in np.sort(speakers)]))


def balanced_seconds(utterances: pd.DataFrame, by: Sequence[str], seed: int) -> np.ndarray:
    """Rows with as many seconds of each group as the smallest has, to within an utterance, drawn at random.

    Example:
        >>> rows = pd.DataFrame({"speaker_id": list("abcd"), "sex": list("ffmf"), "duration_s": [1.0, 1.0, 2.0, 1.0]})
        >>> len(balanced_seconds(rows, ["sex"], seed=0))
        3
    """
    for column in by:
        if column not in utterances:
            raise ProbeError(f"No training speech records {column!r}, which it should be balanced by.")
    rng = np.random.default_rng(seed)
    groups, seconds = group_of(utterances, by), utterances["duration_s"].to_numpy()
    names = sorted(set(groups) - {""})
    if len(names) < 2:
        raise ProbeError(f"Balancing by {listed(by)} needs training speech of two groups; there is {len(names)}.")
    most = min(seconds[groups == name].sum() for name in names)
    chosen = []
    for name in names:
        rows = rng.permutation(np.flatnonzero(groups == name))
        chosen.append(rows[np.cumsum(seconds[rows]) <= most + 1e-6])
    return np.sort(np.concatenate(chosen))


def enough(table: pd.DataFrame, least: int, usable: pd.Series | None = None) -> tuple[np.ndarray, list[str]]:
    """Rows of the speakers with ``least`` usable utterances, and the speakers without, who are named on the way."""
    usable = np.ones(len(table), bool) if usable is None else usable.to_numpy()
    counts = pd.Series(usable).groupby(table["speaker_id"].to_numpy()).sum()
    few = sorted(counts.index[counts < least])
    if len(counts) - len(few) < 2:
        raise ProbeError(
            f"Probing speakers needs at least two with {least} utterances each; {corpus_name(table)} has fewer."
        )
    if few:
        print(f"{len(few)} speakers with fewer than {least} utterances are left out.", file=sys.stderr)
    return np.flatnonzero(usable & ~table["speaker_id"].isin(few).to_numpy()), few


def group_of(rows: pd.DataFrame, by: Sequence[str]) -> np.ndarray:
    """The group of each row, "female, adult" by two columns; empty where one of them is missing."""
    known = rows[list(by)].notna().all(axis=1)
    names = rows[list(by)].astype("object").where(known, "").astype("str").agg(", ".join, axis=1)
    return names.where(known, "").to_numpy()


def corpus_name(corpus: str | pd.DataFrame) -> str:
    if isinstance(corpus, str):
        return corpus if corpus in CORPORA else own_name(corpus)
    return str(corpus["corpus"].iloc[0])


def columns_of(by: str | Sequence[str]) -> list[str]:
    return [by] if isinstance(by, str) else list(by)


def listed(names: Sequence[str]) -> str:
    return " and ".join(names)


def check_probe(probe: str, known) -> None:
    if probe not in known:
        raise ProbeError(f"Unknown probe {probe!r}: choose {' or '.join(known)}.")


def check_columns(table: pd.DataFrame, columns: Sequence[str]) -> None:
    there = [column for column in speaker_columns(table) if column != "age" or not is_number(table[column])]
    for column in columns:
        if column not in there:
            raise ProbeError(
                f"There is no speaker group column {column!r} here; there are: {', '.join(there) or 'none'}."
            )
