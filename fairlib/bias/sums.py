"""Sums over speakers: errors and units of each speaker at every layer, resampled by whole speakers, on three scales.

Speakers, not utterances, are the sample: one person's utterances share a voice, a microphone and a room. A speaker's
random numbers come from the speaker's name alone, so every layer, encoder, checkpoint, grouping and subset meets the
same resamples, and their estimates compare in pairs.
"""

from __future__ import annotations

import functools
import hashlib
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import pandas as pd

from fairlib.bias.contrasts import contrast_name
from fairlib.corpora import groups_by, speaker_columns
from fairlib.corpora.labels import as_text, is_number, two_answers

SCALES = ("difference", "ratio", "log_odds")
FEWEST_SHOWN = 5  # people; of fewer a group is not shown, and is in no comparison of the chapters
RESAMPLES, PERMUTATIONS = 2000, 2000  # of the speakers, and of their labels, unless other numbers are asked for
CONFIDENCE = 0.95  # of intervals
POWER, LEVEL = 0.8, 0.05  # with which the smallest gap that would be found is found, and the level of its test


CELL = ["encoder", "task", "unit", "probe", "layer"]
NEEDED = [*CELL, "speaker_id", "utterance_id", "errors", "length"]


class BiasError(ValueError):
    """Outcomes cannot be compared as asked; the message names what is wrong and what is allowed."""


def layer_order(layers: Iterable[str]) -> list[str]:
    """Layers from the signal upwards: logmel, cnn, 0, 1, 2, ...; behind them those with other names, as they come.

    Example:
        >>> layer_order(["10", "2", "cnn", "0"])
        ['cnn', '0', '2', '10']
        >>> layer_order(["late", "early", "1"])
        ['1', 'late', 'early']
    """
    return sorted(dict.fromkeys(layers), key=_depth)


def _depth(layer: str) -> float:
    if layer in ("logmel", "cnn"):
        return {"logmel": -2, "cnn": -1}[layer]
    return int(layer) if layer.isdecimal() else math.inf


def group_columns(outcomes: pd.DataFrame, speakers: int = 2) -> list[str]:
    """Speaker columns that can be compared: two groups or more with at least ``speakers`` speakers each.

    Example:
        >>> rows = {"speaker_id": list("abcd"), "sex": ["female", "male"] * 2, "accent": ["north"] * 3 + ["south"]}
        >>> group_columns(pd.DataFrame(rows))
        ['sex']
    """
    people = outcomes.drop_duplicates("speaker_id")
    columns = [column for column in speaker_columns(outcomes) if column != "age"]
    return [column for column in columns if (people[column].value_counts() >= speakers).sum() >= 2]


@dataclass(frozen=True)
class SpeakerSums:
    """Errors and units of each speaker, seed and layer, for one encoder, task, unit and probe.

    Attributes:
        cells: encoder, task, unit, probe and layer, one row a layer.
        by: name of the grouping.
        speakers: names, sorted.
        groups: places among ``speakers`` of each group's speakers.
        utterances: how many each group has.
        seeds: sorted.
        strata: number of each speaker's stratum.
        errors, lengths: ``[speakers, seeds, layers]``.
    """

    cells: pd.DataFrame
    by: str
    speakers: np.ndarray
    groups: dict[str, np.ndarray]
    utterances: dict[str, int]
    seeds: list[int]
    strata: np.ndarray
    errors: np.ndarray
    lengths: np.ndarray

    def sizes(self, *sides: list[str]) -> np.ndarray:
        """Number of speakers of each side, a side being one group or several."""
        return np.array([sum(len(self.groups[name]) for name in names) for names in sides])

    def resample(self, members: np.ndarray, resamples: int) -> tuple[np.ndarray, np.ndarray]:
        """Weighted sums of some speakers' errors and units, each ``[resamples, layers]``.

        Speakers and, where there are several, seeds get independent exponential weights, whose product weighs an
        outcome (Owen 2007, Annals of Applied Statistics 1:386-411).
        """
        of_speakers = random_numbers(tuple(self.speakers), resamples, "resample")[:, members]
        of_seeds = random_numbers(tuple(f"seed {seed}" for seed in self.seeds), resamples, "resample")
        # Of mean one, so that the half error that ratios and odds add weighs the same in every resample.
        of_speakers, of_seeds = (weights / weights.mean(axis=1, keepdims=True) for weights in (of_speakers, of_seeds))
        sums = []
        for values in (self.errors[members], self.lengths[members]):
            per_seed = (of_speakers @ values.reshape(len(values), -1)).reshape(resamples, *values.shape[1:])
            sums.append(np.einsum("bk,bkl->bl", of_seeds, per_seed))
        return sums[0], sums[1]


def speaker_sums(
    outcomes: pd.DataFrame,
    by: str | Sequence[str],
    min_speakers: int = FEWEST_SHOWN,
    strata: str | Sequence[str] | None = None,
) -> Iterator[SpeakerSums]:
    """Sums over speakers, one for each encoder, task, unit and probe; bad requests are refused before the first.

    Args:
        outcomes: see `fairlib.outcomes`; several encoders may be concatenated.
        by: a column with one value a speaker, or several for their intersections.
        min_speakers: smaller groups are named in a warning; 5.
        strata: columns within whose groups labels may be permuted.

    Raises:
        BiasError: a column is missing, ``by`` or ``strata`` differ within a speaker, or fewer than two groups have two
            speakers.
    """
    lacking = [column for column in NEEDED if column not in outcomes]
    if lacking:
        raise BiasError(f"Outcomes need the columns {', '.join(NEEDED)}; these lack {', '.join(lacking)}.")
    columns = [by] if isinstance(by, str) else list(by)
    name = " × ".join(columns)
    labels = _labels(outcomes, columns)
    strata_columns = [] if strata is None else [strata] if isinstance(strata, str) else list(strata)
    strata_labels = _labels(outcomes, strata_columns) if strata_columns else pd.Series("", index=labels.index)
    # Only what is needed: copying columns of names is most of the time that a table of a few thousand rows takes.
    known = outcomes[[*NEEDED, *(["seed"] if "seed" in outcomes else [])]]
    if labels.isna().any():
        known = known[known["speaker_id"].isin(labels.dropna().index)]
    if known.empty:
        raise BiasError(f"There are no outcomes of speakers whose {name} is recorded.")
    found, small = [], {}
    kinds = known[CELL[:-1]].drop_duplicates()
    for kind in kinds.itertuples(index=False):
        part = known
        if len(kinds) > 1:
            for column, value in zip(kinds.columns, kind):
                part = part[part[column] == value]
        sums = _sums_of(part, name, labels, strata_labels, strata_columns)
        for group, size in labels[labels.index.isin(part["speaker_id"].unique())].value_counts().items():
            if size < max(min_speakers, 2):
                small[group] = int(size)
        found.append(sums)
    if small:
        listed = ", ".join(f"{group} ({size})" for group, size in sorted(small.items()))
        warnings.warn(
            f"Groups of {name} with fewer than {min_speakers} speakers are flagged and stay out of comparisons over "
            f"all groups, those with one speaker out of everything: {listed}.",
            stacklevel=3,
        )
    return iter(found)


def everybody(outcomes: pd.DataFrame) -> Iterator[SpeakerSums]:
    """As `speaker_sums`, with all speakers in one group, named "everybody".

    Example:
        >>> from fairlib.bias.simulation import simulate_outcomes
        >>> sums = next(everybody(simulate_outcomes({"child": [0.3], "adult": [0.2]}, speakers=10)))
        >>> {group: len(members) for group, members in sums.groups.items()}
        {'everybody': 20}
    """
    lacking = [column for column in NEEDED if column not in outcomes]
    if lacking:
        raise BiasError(f"Outcomes need the columns {', '.join(NEEDED)}; these lack {', '.join(lacking)}.")
    for _, part in outcomes.groupby(CELL[:-1], sort=False):
        groups = pd.Series("everybody", index=np.sort(part["speaker_id"].unique()))
        yield _counted(part, groups, "everybody", np.zeros(len(groups), int))


def contrasts_of(sums: SpeakerSums) -> list[tuple[str, str, list[str]]]:
    """Name, group and other groups of each contrast: two groups once, more of them each against all others."""
    return contrasts_between(sums.groups, sums.by)


def contrasts_between(groups: Iterable[str], by: str) -> list[tuple[str, str, list[str]]]:
    """As `contrasts_of`, of groups by name.

    Example:
        >>> contrasts_between(["male", "female"], "sex")
        [('female vs male', 'female', ['male'])]
    """
    references = {groups.reference for groups in groups_by(by)}
    names = sorted(groups, key=lambda name: (name in references, name))
    if len(names) == 2:
        return [(contrast_name(*names), names[0], [names[1]])]
    return [(contrast_name(name), name, [other for other in names if other != name]) for name in names]


def groups_of_speakers(outcomes: pd.DataFrame, by: str | Sequence[str]) -> pd.Series:
    """Each speaker's group, as contrasts name it; missing where it is not recorded.

    Example:
        >>> rows = pd.DataFrame({"speaker_id": ["a", "a", "b"], "sex": ["male", None, None]})
        >>> groups_of_speakers(rows, "sex").to_list()
        ['male', nan]
    """
    return _labels(outcomes, [by] if isinstance(by, str) else list(by))


def only_groups(outcomes: pd.DataFrame, by: str, groups: Iterable[str]) -> pd.DataFrame:
    """The same outcomes, in which people of other groups belong to none."""
    of_speakers = groups_of_speakers(outcomes, by)
    kept = of_speakers.where(of_speakers.isin(list(groups)))
    return outcomes.assign(**{by: outcomes["speaker_id"].map(kept)})


@functools.lru_cache(maxsize=8)
def random_numbers(names: tuple[str, ...], count: int, purpose: str) -> np.ndarray:
    """Exponential random numbers of mean 1, ``[count, names]``: each name's own, whichever others stand beside it.

    Example:
        >>> together, alone = random_numbers(("anna", "ben"), 3, "x"), random_numbers(("ben",), 3, "x")
        >>> bool((together[:, 1] == alone[:, 0]).all())
        True
    """
    columns = np.empty((len(names), count))
    for row, name in zip(columns, names):
        seed = int.from_bytes(hashlib.blake2b(f"{purpose}:{name}".encode(), digest_size=16).digest())
        np.random.default_rng(seed).standard_exponential(out=row)
    columns.flags.writeable = False  # kept for the next encoder and grouping
    return columns.T


def _labels(outcomes: pd.DataFrame, columns: list[str]) -> pd.Series:
    """Each speaker's group; missing where one of the columns is."""
    for column in columns:
        if column not in outcomes:
            allowed = ", ".join(group_columns(outcomes)) or "none"
            raise BiasError(
                f"There is no speaker group column {column!r} in these outcomes; columns with groups: {allowed}."
            )
    people, several = {}, []
    for column in dict.fromkeys(columns):
        if is_number(outcomes[column]):
            raise BiasError(
                f"{column} is a number, no group of people: compare by a column with bands of it"
                f"{', such as age_group' if column == 'age' else ''}."
            )
        # What is recorded of a person in one utterance and missing in another is known of the person.
        known = outcomes[["speaker_id", column]].dropna().drop_duplicates()
        twice = known.loc[known["speaker_id"].duplicated(), "speaker_id"].unique()
        answers = known.rename(columns={column: "answer"})
        if len(twice) and 2 * len(twice) >= known["speaker_id"].nunique():
            raise BiasError(
                f"{' × '.join(columns)} differs within speaker {two_answers(answers, [twice[0]])}: group by what stays "
                "the same for a speaker."
            )
        if len(twice):
            several.append(f"{column} of {two_answers(answers, sorted(twice))}")
            known = known[~known["speaker_id"].isin(twice)]
        # Text whatever it was: values of a category cannot be joined, and unused ones would be groups of nobody.
        people[column] = known.set_index("speaker_id")[column].astype(object).map(as_text)
    if several:
        warnings.warn(
            f"Speakers with more than one answer are left out of comparisons by it: {'; '.join(several)}.", stacklevel=4
        )
    table = pd.DataFrame(people, index=outcomes["speaker_id"].drop_duplicates())
    joined = table[columns[0]]
    for column in columns[1:]:
        joined = joined + " × " + table[column]
    return joined.where(table[columns].notna().all(axis=1))


def _sums_of(part, name, labels, strata_labels, strata_columns) -> SpeakerSums:
    present = labels.loc[part["speaker_id"].unique()]
    counts = present.value_counts()
    if (counts >= 2).sum() < 2:
        raise BiasError(
            f"Comparing {name} needs two groups with two speakers each; there are "
            + ", ".join(f"{n} {group}" for group, n in counts.sort_index().items())
            + "."
        )
    kept = present[present.isin(counts.index[counts >= 2])].sort_index()
    if len(kept) < len(present):
        part = part[part["speaker_id"].isin(kept.index)]
    strata = strata_labels.loc[kept.index]
    if strata.isna().any():
        raise BiasError(
            f"Strata {' × '.join(strata_columns)} are not recorded for {strata.isna().sum()} speakers, the first of "
            f"them {strata.index[strata.isna()][0]}: leave these speakers out or choose another column."
        )
    if strata_columns and kept.groupby(strata).nunique().max() < 2:
        raise BiasError(
            f"No stratum of {' × '.join(strata_columns)} holds two groups of {name}: there is nothing to permute."
        )
    return _counted(part, kept, name, pd.factorize(strata)[0])


def _counted(part: pd.DataFrame, groups: pd.Series, name: str, strata: np.ndarray) -> SpeakerSums:
    """The sums of one encoder, task, unit and probe, of speakers with their groups, sorted by speaker."""
    speakers, layers = groups.index.to_numpy(), layer_order(part["layer"].unique())
    seeds = sorted(part["seed"].unique().tolist()) if "seed" in part else [0]
    shape = (len(speakers), len(seeds), len(layers))
    seed_places = pd.Index(seeds).get_indexer(part["seed"]) if "seed" in part else np.zeros(len(part), dtype=int)
    place = np.ravel_multi_index(
        (_places(part["speaker_id"], speakers), seed_places, _places(part["layer"], layers)), shape
    )
    errors, lengths = (
        np.bincount(place, part[column].to_numpy(float), np.prod(shape)).reshape(shape)
        for column in ("errors", "length")
    )
    cells = part[CELL].iloc[[0] * len(layers)].assign(layer=layers).reset_index(drop=True)
    _check_complete(cells, speakers, seeds, layers, lengths)
    of_utterance = part.drop_duplicates("utterance_id")["speaker_id"]
    utterances = groups.loc[of_utterance].value_counts().to_dict()
    members = {str(group): np.flatnonzero(groups.to_numpy() == group) for group in sorted(groups.unique())}
    return SpeakerSums(cells, name, speakers, members, utterances, seeds, strata, errors, lengths)


def _places(values: pd.Series, order: Sequence[str]) -> np.ndarray:
    codes, found = pd.factorize(values)
    return pd.Index(order).get_indexer(found)[codes]


def _check_complete(cells, speakers, seeds, layers, lengths) -> None:
    """Layers are compared in pairs, so each needs outcomes of the same speakers and seeds."""
    there = lengths > 0
    lacking = there.any(axis=2, keepdims=True) & ~there
    if not lacking.any():
        return
    where = f"{cells.encoder[0]} ({', '.join(str(cells[column][0]) for column in ('task', 'unit', 'probe'))})"
    for layer in range(len(layers)):
        for what, names, axis in (("seed", seeds, 0), ("speaker", speakers, 1)):
            absent = ~there[:, :, layer].any(axis=axis)
            if absent.any():
                raise BiasError(
                    f"Layer {layers[layer]} of {where} lacks {what} {names[np.flatnonzero(absent)[0]]}, which other "
                    f"layers have: layers are compared in pairs, so probe it too or leave that {what} out everywhere."
                )
    speaker, seed, layer = np.argwhere(lacking)[0]
    raise BiasError(
        f"Layer {layers[layer]} of {where} lacks outcomes of speaker {speakers[speaker]} with seed {seeds[seed]}, "
        "which other layers have: probe it again."
    )


@overload
def link(scale: str, errors: np.ndarray, lengths: np.ndarray) -> np.ndarray: ...


@overload
def link(scale: str, errors: float, lengths: float) -> float: ...


def link(scale, errors, lengths):
    """What a scale subtracts: error, log error, log odds of error (the last two with half an error and a half hit)."""
    if scale == "difference":
        return errors / lengths
    rate = np.asarray((errors + 0.5) / (lengths + 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        if scale == "ratio":
            return np.log(rate)
        return np.where(rate < 1, np.log(rate) - np.log(np.where(rate < 1, 1 - rate, np.nan)), np.nan)


def slope(scale: str, errors: np.ndarray | float, lengths: np.ndarray | float) -> np.ndarray:
    """Derivative of `link` by the error rate."""
    if scale == "difference":
        return np.ones_like(np.asarray(errors, dtype=float))
    rate = np.asarray((errors + 0.5) / (lengths + 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return 1 / rate if scale == "ratio" else np.where(rate < 1, 1 / (rate * (1 - rate)), np.nan)


def speaker_products(sums: SpeakerSums) -> np.ndarray:
    """Errors, units and their products for each speaker, seeds together: ``[speakers, 5 * layers]``."""
    errors, lengths = sums.errors.sum(axis=1), sums.lengths.sum(axis=1)
    return np.hstack([errors, lengths, errors**2, errors * lengths, lengths**2])


def pool(values: Mapping[str, Sequence[np.ndarray]], names: list[str]) -> list[np.ndarray]:
    """The same sums for several groups together."""
    return [functools.reduce(np.add, parts) for parts in zip(*(values[name] for name in names))]
