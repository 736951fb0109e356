"""Bias: errors of speaker groups and the gaps between them, layer by layer, with intervals and nulls.

Speakers, not utterances, are the sample: one person's utterances share a voice, a microphone and a room. So intervals
resample speakers and nulls permute speakers' labels. A speaker's random numbers come from the speaker's name alone, so
every layer, encoder, checkpoint, grouping and subset meets the same resamples, and their estimates compare in pairs.

**Intervals** are percentiles of a bootstrap with exponential speaker weights (Rubin 1981, Annals of Statistics
9:130-134), stretched from the estimate to the width that few speakers need (Hesterberg 2015, The American Statistician
69:371-386, tells why). ``bench/calibration.py`` measures what they hold, beside plain percentile, BCa and studentised
intervals of resampled speakers: the first two hold too little with few speakers; studentised ones hold as much as these
but are wider, and their resamples cannot be shared by groupings that divide the speakers differently.

**Nulls** are studentised permutation tests (DiCiccio and Romano 2017, JASA 112:1211-1220), which also hold where the
groups differ in spread, with a family-wise p by the largest statistic (Westfall and Young 1993).
"""

from __future__ import annotations

import functools
import hashlib
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from fairlib.contrasts import BETWEEN, WORST, contrast_name
from fairlib.corpora import speaker_columns
from fairlib.corpora.labels import as_text, is_measure, two_answers

SCALES = ("difference", "ratio", "log_odds")
FEWEST_SHOWN = 5  # people; of fewer a group is not shown, and is in no comparison of the chapters

# The group that the other one is set against, where there are two. Fixed beforehand: an order that followed the
# results would turn every gap positive.
REFERENCE = {"sex": "male", "age_group": "adult", "group": "clear"}
CELL = ["encoder", "task", "unit", "probe", "layer"]
NEEDED = [*CELL, "speaker_id", "utterance_id", "errors", "length"]


class BiasError(ValueError):
    """Outcomes cannot be compared as asked; the message names what is wrong and what is allowed."""


def layer_order(layers) -> list[str]:
    """Layers from the signal upwards: logmel, cnn, 0, 1, 2, ...

    Example:
        >>> layer_order(["10", "2", "cnn", "0"])
        ['cnn', '0', '2', '10']
    """
    return sorted(set(layers), key=_depth)


def _depth(layer: str) -> int:
    return {"logmel": -2, "cnn": -1}[layer] if layer in ("logmel", "cnn") else int(layer)


def group_columns(outcomes: pd.DataFrame, speakers: int = 2) -> list[str]:
    """Speaker columns that can be compared: two groups or more with at least ``speakers`` speakers each."""
    people = outcomes.drop_duplicates("speaker_id")
    columns = [column for column in speaker_columns(outcomes) if column != "age"]
    return [column for column in columns if (people[column].value_counts() >= speakers).sum() >= 2]


# ---- errors and gaps ----


def group_errors(
    outcomes: pd.DataFrame,
    by: str | Sequence[str],
    resamples: int = 2000,
    confidence: float = 0.95,
    min_speakers: int = 5,
) -> pd.DataFrame:
    """Error of each speaker group at every layer, all utterances and seeds together.

    Args:
        outcomes: see `fairlib.outcomes`; several encoders may be concatenated.
        by: a column with one value a speaker, or several for their intersections ("female × child"). Speakers for whom
            one is missing are left out, and so, with a warning, are those with two answers and groups of one speaker.
        resamples: of the speakers, and of the seeds where there is more than one.
        confidence: of the interval.
        min_speakers: smaller groups are flagged in ``few_speakers``.

    Returns:
        One row per encoder, task, unit, probe, layer and group: ``error, low, high`` over units (micro: errors over
        units), ``error_macro, low_macro, high_macro`` over speakers (each speaker's error counts the same),
        ``n_speakers, n_utterances, few_speakers``. Intervals are missing where no speaker differs from another, as in
        a group without a single error: nothing tells how much such a group could vary.

    Raises:
        BiasError: ``by`` is no column or differs within a speaker, fewer than two groups have two speakers, or a layer
            lacks seeds or speakers that the other layers of its encoder have.
    """
    rows = []
    for sums in speaker_sums(outcomes, by, min_speakers):
        heard = sums.lengths > 0
        rates = np.divide(sums.errors, sums.lengths, where=heard, out=np.zeros_like(sums.errors))
        for name, members in sums.groups.items():
            columns = {}
            for suffix, counted in (("", sums), ("_macro", replace(sums, errors=rates, lengths=heard * 1.0))):
                errors, units, *squares = np.split(_products(counted)[members].sum(axis=0), 5)
                variance = _rate_variance(errors, units, *squares, len(members))
                rates_drawn = np.divide(*counted.resample(members, resamples))
                low, high = _interval(errors / units, rates_drawn, variance[None], sums.sizes([name]), confidence)
                low = np.maximum(low, 0)
                if sums.cells["task"][0] != "asr":  # where insertions count, there may be more errors than units
                    high = np.minimum(high, 1)
                columns |= {f"error{suffix}": errors / units, f"low{suffix}": low, f"high{suffix}": high}
            frame = sums.cells.assign(by=sums.by, group=name, **columns, n_speakers=len(members))
            rows.append(frame.assign(n_utterances=sums.utterances[name], few_speakers=len(members) < min_speakers))
    return pd.concat(rows, ignore_index=True)


def group_bias(
    outcomes: pd.DataFrame,
    by: str | Sequence[str],
    strata: str | Sequence[str] | None = None,
    resamples: int = 2000,
    permutations: int = 2000,
    confidence: float = 0.95,
    min_speakers: int = 5,
) -> pd.DataFrame:
    """Gaps between speaker groups at every layer, on three scales side by side, each with its interval and its null.

    ``difference`` is the first group's error less the second's, ``ratio`` the first over the second, ``log_odds`` the
    natural logarithm of the odds ratio. No one of them will do: with the same odds ratio everywhere, a ratio rises as
    errors fall, and a difference is largest near 45 % error. With two groups there is one contrast, against the group
    of `REFERENCE` (or else the last by name). With more, each group is set against all others, and two contrasts look
    at all groups of at least ``min_speakers`` speakers at once: "worst vs best", the largest gap between two of them,
    and "between groups", their standard deviation (of errors, of their logarithms for ``ratio``, whose exponential is
    given, and of log odds). These two are never below zero, so that their estimates are too large even where all groups
    are alike: read ``excess``. Their intervals hold the true value at least as often as claimed (as in a triangle, the
    gap cannot be further from the truth than the groups' deviations are apart).

    Ratios and odds add half an error and half a hit to each side, so that a cell without errors stays finite; odds of
    an error rate of 1 or more are missing.

    Args:
        outcomes, by, resamples, confidence: as `group_errors`.
        strata: speakers' labels are permuted within the groups of this column (or of these): what it explains of a gap
            then belongs to the null. Without it they are permuted over all speakers.
        permutations: of the speakers' labels, the same for all layers and encoders.
        min_speakers: groups below are flagged in ``few_speakers`` and left out of the contrasts over all groups.

    Returns:
        One row per encoder, task, unit, probe, layer, contrast ("child vs adult") and scale: ``estimate, low, high``;
        ``null_mean, null_low, null_high``, mean and 95 % range under permutation; ``excess``, the estimate less the
        null mean; ``p`` (two-sided for a gap, one-sided for the contrasts over all groups); ``p_familywise`` over all
        layers and groups of one encoder, task, unit, probe and scale, by the largest statistic; ``p_holm``, Holm's,
        over the same; ``n_speakers_a, n_speakers_b`` (all and 0 for "between groups"), ``n_utterances, few_speakers``.

    Raises:
        BiasError: as `group_errors`; or ``strata`` is no column, is missing for a speaker, or leaves nothing
            to permute.

    Example:
        >>> from fairlib.simulation import simulate_outcomes
        >>> outcomes = simulate_outcomes({"child": [0.30], "adult": [0.20]}, speakers=40, by="age_group")
        >>> bias = group_bias(outcomes, by="age_group").set_index("scale")
        >>> bool(bias.loc["difference", "low"] < 0.1 < bias.loc["difference", "high"])
        True
    """
    tables = []
    for sums in speaker_sums(outcomes, by, min_speakers, strata):
        drawn = {name: sums.resample(members, resamples) for name, members in sums.groups.items()}
        observed = {name: np.split(_products(sums)[members].sum(axis=0), 5) for name, members in sums.groups.items()}
        permuted = _permuted(sums, permutations)
        family = []
        for contrast, group, others in contrasts_of(sums):
            sizes = sums.sizes([group], others)
            about = {
                "contrast": contrast, "n_speakers_a": sizes[0], "n_speakers_b": sizes[1],
                "n_utterances": sum(sums.utterances[name] for name in (group, *others)),
                "few_speakers": bool(sizes.min() < min_speakers),
            }  # fmt: skip
            for scale in SCALES:
                estimate, variance = _gap(scale, observed[group], pool(observed, others), sizes)
                values = link(scale, *drawn[group]) - link(scale, *pool(drawn, others))
                low, high = _interval(estimate, values, variance, sizes, confidence)
                null, null_variance = _gap(scale, permuted[group], pool(permuted, others), sizes)
                centre = _nanmean(null)
                statistic = np.abs(_studentised(estimate - centre, variance.sum(axis=0)))
                null_statistic = np.abs(_studentised(null - centre, null_variance.sum(axis=0)))
                family.append((scale, about, estimate, low, high, null, statistic, null_statistic))
        rows = _family_rows(family, sums.by)
        if len(sums.groups) > 2:
            rows += _overall(sums, observed, drawn, permuted, confidence, min_speakers)
        tables.append(_table(sums.cells, rows))
    return pd.concat(tables, ignore_index=True)


def _table(cells: pd.DataFrame, rows: list[dict]) -> pd.DataFrame:
    """A table of all rows, each a set of columns over layers; built at once, since pandas is slow column by column."""
    repeated = cells.iloc[np.tile(np.arange(len(cells)), len(rows))].reset_index(drop=True)
    columns = {name: np.concatenate([np.broadcast_to(row[name], len(cells)) for row in rows]) for name in rows[0]}
    return pd.concat([repeated, pd.DataFrame(columns)], axis=1)


def bias_differences(
    outcomes: pd.DataFrame,
    by: str | Sequence[str],
    pairs: Sequence[tuple[tuple[str, str], tuple[str, str]]],
    resamples: int = 2000,
    confidence: float = 0.95,
    min_speakers: int = 5,
) -> pd.DataFrame:
    """How much a gap differs between two layers, encoders or checkpoints, the same speakers being resampled in both.

    Args:
        outcomes, by, resamples, confidence, min_speakers: as `group_bias`.
        pairs: ``((encoder, layer), (encoder, layer))``: the second's gap is taken from the first's.

    Returns:
        One row per task, unit, probe, pair, contrast and scale: ``encoder, layer, encoder_b, layer_b, estimate, low,
        high`` (for ``ratio``, one ratio over the other), ``p`` that inverts the interval, ``p_holm`` over all pairs and
        contrasts of a scale, ``n_speakers_a, n_speakers_b, few_speakers``.

    Raises:
        BiasError: as `group_errors`; or a pair names an encoder and layer that are not there, or two with different
            seeds or speakers.
    """
    cells = {}
    for sums in speaker_sums(outcomes, by, min_speakers):
        drawn = {name: sums.resample(members, resamples) for name, members in sums.groups.items()}
        for place, cell in enumerate(sums.cells.itertuples(index=False)):
            at = {name: tuple(values[:, place] for values in drawn[name]) for name in drawn}
            cells[(cell.task, cell.unit, cell.probe), (cell.encoder, cell.layer)] = (sums, place, at)
    rows = []
    for kind in dict.fromkeys(kind for kind, _ in cells):
        for pair in pairs:
            one, other = _both(cells, kind, pair)
            for contrast, group, others in contrasts_of(one[0]):
                sizes = one[0].sizes([group], others)
                for scale in SCALES:
                    mine, theirs = (_influences(scale, *side, group, others) for side in (one, other))
                    gap, values = mine[0] - theirs[0], mine[1] - theirs[1]
                    squares = np.array([((pull - its) ** 2).sum() for pull, its in zip(mine[2], theirs[2])])
                    variance = (sizes / (sizes - 1) * squares)[:, None]
                    low, high = _interval(np.array([gap]), values[:, None], variance, sizes, confidence)
                    unlink = np.exp if scale == "ratio" else np.asarray
                    rows.append(
                        {
                            "encoder": pair[0][0],
                            "layer": pair[0][1],
                            "encoder_b": pair[1][0],
                            "layer_b": pair[1][1],
                            "task": kind[0],
                            "unit": kind[1],
                            "probe": kind[2],
                            "by": one[0].by,
                            "contrast": contrast,
                            "scale": scale,
                            "estimate": float(unlink(gap)),
                            "low": float(unlink(low[0])),
                            "high": float(unlink(high[0])),
                            "p": _interval_p(gap, values, variance, sizes),
                            "n_speakers_a": sizes[0],
                            "n_speakers_b": sizes[1],
                            "few_speakers": bool(sizes.min() < min_speakers),
                        }  # fmt: skip
                    )
    table = pd.DataFrame(rows)
    table["p_holm"] = table.groupby(["task", "unit", "probe", "scale"], sort=False)["p"].transform(holm)
    return table


def _both(cells: dict, kind: tuple, pair: tuple) -> list[tuple]:
    for encoder, layer in pair:
        if (kind, (encoder, layer)) not in cells:
            there = "; ".join(f"{cell[0]} {cell[1]}" for other, cell in cells if other == kind)
            raise BiasError(f"There is no layer {layer} of {encoder} for {', '.join(kind)}; there are: {there}.")
    one, other = (cells[kind, tuple(cell)] for cell in pair)
    if one[0].seeds != other[0].seeds:
        raise BiasError(
            f"{pair[0][0]} has seeds {one[0].seeds} and {pair[1][0]} {other[0].seeds}: a paired difference needs the "
            "same seeds."
        )
    if not np.array_equal(one[0].speakers, other[0].speakers):
        lacking = sorted(set(one[0].speakers) ^ set(other[0].speakers))[0]
        raise BiasError(f"{pair[0][0]} and {pair[1][0]} were not tested on the same speakers: one lacks {lacking}.")
    return [one, other]


def _influences(scale: str, sums: SpeakerSums, place: int, drawn: dict, group: str, others: list[str]):
    """A layer's gap, its resampled values, and how far each speaker of either side pulls it."""
    gap, values, pulls = 0.0, 0.0, []
    for sign, names in ((1, [group]), (-1, others)):
        members = np.concatenate([sums.groups[name] for name in names])
        errors, lengths = (table[members, :, place].sum(axis=1) for table in (sums.errors, sums.lengths))
        total, units = errors.sum(), lengths.sum()
        gap += sign * float(link(scale, total, units))
        values = values + sign * link(scale, *pool(drawn, names))
        pulls.append(sign * slope(scale, total, units) * (errors - total / units * lengths) / units)
    return gap, values, pulls


def holm(p: Sequence[float]) -> np.ndarray:
    """Holm's adjusted p values (Holm 1979, Scandinavian Journal of Statistics 6:65-70); missing ones stay missing.

    Example:
        >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
        [0.03, 0.06, 0.06]
    """
    p = np.asarray(p, dtype=float)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known])]
    adjusted = np.full(len(p), np.nan)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return adjusted


# ---- sums over speakers ----


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
    outcomes: pd.DataFrame, by: str | Sequence[str], min_speakers: int = 5, strata: str | Sequence[str] | None = None
) -> Iterator[SpeakerSums]:
    """Sums over speakers, one for each encoder, task, unit and probe; bad requests are refused before the first.

    Args, Raises: as `group_bias`.
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


def contrasts_of(sums: SpeakerSums) -> list[tuple[str, str, list[str]]]:
    """Name, group and other groups of each contrast: two groups once, more of them each against all others."""
    return contrasts_between(sums.groups, sums.by)


def contrasts_between(groups: Iterable[str], by: str) -> list[tuple[str, str, list[str]]]:
    """As `contrasts_of`, of groups by name.

    Example:
        >>> contrasts_between(["male", "female"], "sex")
        [('female vs male', 'female', ['male'])]
    """
    names = sorted(groups, key=lambda name: (name == REFERENCE.get(by), name))
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
        if column == "age" or is_measure(outcomes[column]):
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
        people[column] = known.set_index("speaker_id")[column].map(as_text)
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
    speakers, layers = kept.index.to_numpy(), layer_order(part["layer"].unique())
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
    utterances = kept.loc[of_utterance].value_counts().to_dict()
    strata = strata_labels.loc[speakers]
    if strata.isna().any():
        raise BiasError(
            f"Strata {' × '.join(strata_columns)} are not recorded for {strata.isna().sum()} speakers, the first of "
            f"them {strata.index[strata.isna()][0]}: leave these speakers out or choose another column."
        )
    if strata_columns and kept.groupby(strata).nunique().max() < 2:
        raise BiasError(
            f"No stratum of {' × '.join(strata_columns)} holds two groups of {name}: there is nothing to permute."
        )
    groups = {str(group): np.flatnonzero(kept.to_numpy() == group) for group in sorted(kept.unique())}
    numbers = pd.factorize(strata)[0]
    return SpeakerSums(cells, name, speakers, groups, utterances, seeds, numbers, errors, lengths)


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


# ---- scales ----


def link(scale: str, errors, lengths):
    """What a scale subtracts: error, log error, log odds of error (the last two with half an error and a half hit)."""
    if scale == "difference":
        return errors / lengths
    rate = np.asarray((errors + 0.5) / (lengths + 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        if scale == "ratio":
            return np.log(rate)
        return np.where(rate < 1, np.log(rate) - np.log(np.where(rate < 1, 1 - rate, np.nan)), np.nan)


def slope(scale: str, errors, lengths):
    """Derivative of `link` by the error rate."""
    if scale == "difference":
        return np.ones_like(np.asarray(errors, dtype=float))
    rate = np.asarray((errors + 0.5) / (lengths + 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return 1 / rate if scale == "ratio" else np.where(rate < 1, 1 / (rate * (1 - rate)), np.nan)


def _gap(scale: str, moments_a, moments_b, sizes) -> tuple[np.ndarray, np.ndarray]:
    """Gap on the scale of `link` and, stacked first, the two groups' sampling variances of it (delta method)."""
    parts = []
    for (errors, units, *squares), size in zip((moments_a, moments_b), sizes):
        variance = _rate_variance(errors, units, *squares, size) * slope(scale, errors, units) ** 2
        parts.append((link(scale, errors, units), variance))
    return parts[0][0] - parts[1][0], np.stack([parts[0][1], parts[1][1]])


def _rate_variance(errors, units, errors_errors, errors_units, units_units, size):
    """Sampling variance of errors over units, from how far each speaker's errors are from what the rate foretells."""
    rate = errors / units
    squares = errors_errors - 2 * rate * errors_units + rate**2 * units_units
    squares = np.where(squares > 1e-9 * np.maximum(errors_errors, 1), squares, 0)  # below that it is rounding
    return size / (size - 1) * squares / units**2


def _products(sums: SpeakerSums) -> np.ndarray:
    """Errors, units and their products for each speaker, seeds together: ``[speakers, 5 * layers]``."""
    errors, lengths = sums.errors.sum(axis=1), sums.lengths.sum(axis=1)
    return np.hstack([errors, lengths, errors**2, errors * lengths, lengths**2])


def pool(values: dict[str, Sequence[np.ndarray]], names: list[str]) -> list[np.ndarray]:
    """The same sums for several groups together."""
    return [sum(parts) for parts in zip(*(values[name] for name in names))]


def _nanmean(values: np.ndarray) -> np.ndarray:
    """Mean of each column over what is not missing; missing where nothing is there."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(axis=0) / known.sum(axis=0)


# ---- intervals ----


def _interval(estimate, values, variance, sizes, confidence) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval of each column, stretched from the estimate to the width that a t interval has.

    Exponential weights of m speakers give a mean the variance of (m - 1) / (m + 1) times what it should be, and normal
    quantiles where Student's are due: both are made good. Missing where a group shows no spread.
    """
    tail = (1 - confidence) / 2
    low, high = _quantiles(values, tail)
    stretch = _stretch(tail, variance, sizes)
    return estimate - (estimate - low) * stretch, estimate + (high - estimate) * stretch


def _interval_p(estimate: float, values: np.ndarray, variance: np.ndarray, sizes: np.ndarray) -> float:
    """Two-sided p of no difference: one less the confidence at which the stretched interval touches zero."""
    tails = np.geomspace(0.499, 1e-5, 400)
    side = np.sign(estimate) or 1.0
    bounds = _quantiles(side * values[:, None].repeat(len(tails), axis=1), tails)[0]
    bounds = side * estimate - (side * estimate - bounds) * _stretch(tails, variance, sizes)
    if not np.isfinite(bounds).all():
        return float("nan")
    touching = np.flatnonzero(bounds <= 0)
    return float(min(1.0, 2 * tails[touching[0]])) if len(touching) else float(2 * tails[-1])


def _stretch(tail, variance: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    freedom, widen = _welch(variance, sizes)
    with np.errstate(invalid="ignore"):
        stretch = stats.t.ppf(tail, freedom) / stats.norm.ppf(tail) * widen
    return np.where((variance > 0).all(axis=0), stretch, np.nan)


def _welch(variance: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Welch's degrees of freedom, and how much too narrow the exponential weights are; groups come first."""
    less = (sizes - 1).reshape(-1, *[1] * (variance.ndim - 1))
    with np.errstate(all="ignore"):
        freedom = variance.sum(axis=0) ** 2 / (variance**2 / less).sum(axis=0)
        return freedom, np.sqrt(variance.sum(axis=0) / (variance * less / (less + 2)).sum(axis=0))


def _quantiles(values: np.ndarray, tail) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles at ``tail`` and ``1 - tail`` (one, or one a column) of each column; missing where a value is.

    The k-th of n values is the quantile k / (n + 1), without which far quantiles of few draws lie too near the middle.
    """
    ordered = np.sort(values, axis=0)  # missing values come last
    last, columns = len(ordered) - 1, np.arange(ordered.shape[1])
    bounds = []
    for share in (tail, 1 - tail):
        place = np.clip(np.broadcast_to(share, len(columns)) * (last + 2) - 1, 0, last)
        below = np.floor(place).astype(int)
        above, part = np.minimum(below + 1, last), place - below
        bound = ordered[below, columns] * (1 - part) + ordered[above, columns] * part
        bounds.append(np.where(np.isfinite(ordered[-1]), bound, np.nan))
    return bounds[0], bounds[1]


# ---- nulls ----


def _permuted(sums: SpeakerSums, permutations: int) -> dict[str, list[np.ndarray]]:
    """`_moments` of each group, ``[permutations, layers]``, with speakers' labels permuted within their strata."""
    labels = np.empty(len(sums.speakers), dtype=int)
    for number, members in enumerate(sums.groups.values()):
        labels[members] = number
    keys = random_numbers(tuple(sums.speakers), permutations, "permute")
    moved = np.empty(keys.shape, dtype=int)
    for stratum in np.unique(sums.strata):
        members = np.flatnonzero(sums.strata == stratum)
        moved[:, members] = labels[members][np.argsort(keys[:, members], axis=1)]
    products = _products(sums)
    return {
        name: np.split((moved == number).astype(float) @ products, 5, axis=1) for number, name in enumerate(sums.groups)
    }


def _studentised(gap: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Gap in standard errors; without any spread a gap that is there is beyond all measure, and none is none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        statistic = gap / np.sqrt(variance)
    still = (variance == 0) & np.isfinite(gap)
    return np.where(still, np.where(np.abs(gap) > 1e-9, np.inf, 0.0), statistic)


def _family_rows(family: list[tuple], by: str) -> list[dict]:
    """Rows with null, p, family-wise p and Holm's, the family being all layers and contrasts of a scale."""
    rows = []
    for scale in SCALES:
        members = [entry for entry in family if entry[0] == scale]
        observed = np.stack([entry[6] for entry in members])  # [contrasts, layers]
        null = np.stack([np.where(np.isnan(entry[7]), np.inf, entry[7]) for entry in members], axis=1)
        largest = np.where(np.isnan(observed), -np.inf, null).max(axis=(1, 2))
        p = (1 + (null >= observed - 1e-12).sum(axis=0)) / (1 + len(null))
        p_familywise = (1 + (largest[:, None, None] >= observed - 1e-12).sum(axis=0)) / (1 + len(null))
        p, p_familywise = (np.where(np.isnan(observed), np.nan, value) for value in (p, p_familywise))
        p_holm = holm(p.ravel()).reshape(p.shape)
        unlink = np.exp if scale == "ratio" else np.asarray
        for number, (_, about, estimate, low, high, moved, _, _) in enumerate(members):
            estimate, low, high, moved = (unlink(values) for values in (estimate, low, high, moved))
            null_mean = _nanmean(moved)
            null_low, null_high = _quantiles(moved, 0.025)
            columns = {
                "by": by, "contrast": about["contrast"], "scale": scale, "estimate": estimate, "low": low,
                "high": high, "null_mean": null_mean, "null_low": null_low, "null_high": null_high,
                "excess": estimate - null_mean, "p": p[number], "p_familywise": p_familywise[number],
                "p_holm": p_holm[number],
            }  # fmt: skip
            rows.append(columns | about)
    return rows


def _overall(sums, observed, drawn, permuted, confidence, min_speakers) -> list[dict]:
    """Worst against best, and the deviation between groups, over the groups that are large enough."""
    names = [name for name, members in sums.groups.items() if len(members) >= min_speakers]
    if len(names) < 2:
        return []
    sizes = sums.sizes(*([name] for name in names))
    widen = np.sqrt((sizes + 1) / (sizes - 1))[:, None, None]
    tails = stats.t.ppf((1 + confidence) / 2, sizes.sum() - len(sizes)) / stats.norm.ppf((1 + confidence) / 2)
    rows = []
    for contrast, spread in {WORST: np.ptp, BETWEEN: functools.partial(np.std, ddof=1)}.items():
        about = {
            "contrast": contrast, "n_speakers_a": sizes.max() if contrast == WORST else sizes.sum(),
            "n_speakers_b": sizes.min() if contrast == WORST else 0,
            "n_utterances": sum(sums.utterances[name] for name in names), "few_speakers": False,
        }  # fmt: skip
        family = []
        for scale in SCALES:
            point, moved, shaken = (
                np.stack([link(scale, *values[name][:2]) for name in names]) for values in (observed, permuted, drawn)
            )
            estimate, null = spread(point, axis=0), spread(moved, axis=0)
            # Range and deviation are seminorms, so |spread(found) - spread(true)| <= spread(found - true).
            apart = spread((shaken - point[:, None]) * widen, axis=0)
            margin = np.quantile(apart, confidence, axis=0) * tails
            still = (np.ptp(shaken, axis=1) < 1e-12).any(axis=0)  # a group without any spread between its speakers
            margin = np.where(still, np.nan, margin)
            centre, deviation = _nanmean(null), np.std(null, axis=0)
            deviation = np.where(deviation > 0, deviation, 1)
            statistics = (estimate - centre) / deviation, (null - centre) / deviation
            family.append(
                (scale, about, estimate, np.maximum(estimate - margin, 0), estimate + margin, null, *statistics)
            )
        rows += _family_rows(family, sums.by)
    return rows
