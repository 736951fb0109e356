"""Errors of speaker groups and the gaps between them, layer by layer, with intervals and nulls."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import stats

from fairlib.bias.contrasts import BETWEEN, WORST
from fairlib.bias.inference import (
    family_rows,
    gap_with_variance,
    holm,
    interval_p,
    mean_of_known,
    permuted_sums,
    rate_variance,
    stretched_interval,
    studentised,
)
from fairlib.bias.sums import (
    CONFIDENCE,
    FEWEST_SHOWN,
    PERMUTATIONS,
    RESAMPLES,
    SCALES,
    BiasError,
    SpeakerSums,
    contrasts_of,
    everybody,
    link,
    pool,
    slope,
    speaker_products,
    speaker_sums,
)


def group_errors(
    outcomes: pd.DataFrame,
    by: str | Sequence[str] | None,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    min_speakers: int = FEWEST_SHOWN,
) -> pd.DataFrame:
    """Error of each speaker group at every layer, all utterances and seeds together.

    Args:
        outcomes: see `fairlib.outcomes`; several encoders may be concatenated.
        by: a column with one value a speaker, or several for their intersections ("female × child"). Speakers for whom
            one is missing are left out, and so, with a warning, are those with two answers and groups of one speaker.
            None for all speakers as one group, "everybody".
        resamples: of the speakers, and of the seeds where there is more than one; 2000.
        confidence: of the interval; 0.95.
        min_speakers: smaller groups are flagged in ``few_speakers``; 5.

    Returns:
        One row per encoder, task, unit, probe, layer and group: ``error, low, high`` over units (micro: errors over
        units), ``error_macro, low_macro, high_macro`` over speakers (each speaker's error counts the same),
        ``n_speakers, n_utterances, few_speakers``. Intervals are missing where no speaker differs from another, as in
        a group without a single error: nothing tells how much such a group could vary.

    Raises:
        BiasError: ``by`` is no column or differs within a speaker, fewer than two groups have two speakers, or a layer
            lacks seeds or speakers that the other layers of its encoder have.

    Example:
        >>> from fairlib.bias.simulation import simulate_outcomes
        >>> outcomes = simulate_outcomes({"child": [0.30], "adult": [0.20]}, speakers=200, by="age_group")
        >>> group_errors(outcomes, by="age_group").set_index("group")["error"].round(1).to_dict()
        {'adult': 0.2, 'child': 0.3}
    """
    rows = []
    for sums in everybody(outcomes) if by is None else speaker_sums(outcomes, by, min_speakers):
        heard = sums.lengths > 0
        rates = np.divide(sums.errors, sums.lengths, where=heard, out=np.zeros_like(sums.errors))
        for name, members in sums.groups.items():
            columns: dict[str, np.ndarray] = {}
            for suffix, counted in (("", sums), ("_macro", replace(sums, errors=rates, lengths=heard * 1.0))):
                moments = np.split(speaker_products(counted)[members].sum(axis=0), 5)
                errors, units = moments[:2]
                variance = rate_variance(moments, len(members))
                rates_drawn = np.divide(*counted.resample(members, resamples))
                low, high = stretched_interval(
                    errors / units, rates_drawn, variance[None], sums.sizes([name]), confidence
                )
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
    resamples: int = RESAMPLES,
    permutations: int = PERMUTATIONS,
    confidence: float = CONFIDENCE,
    min_speakers: int = FEWEST_SHOWN,
) -> pd.DataFrame:
    """Gaps between speaker groups at every layer, on three scales side by side, each with its interval and its null.

    ``difference`` is the first group's error less the second's, ``ratio`` the first over the second, ``log_odds`` the
    natural logarithm of the odds ratio. No one of them will do: with the same odds ratio everywhere, a ratio rises as
    errors fall, and a difference is largest near 45 % error. With two groups there is one contrast, against the
    reference that the corpora name (or else the last by name). With more, each group is set against all others, and two
    contrasts look at all groups of at least ``min_speakers`` speakers at once: "worst vs best", the largest gap between
    two of them, and "between groups", their standard deviation (of errors, of their logarithms for ``ratio``, whose
    exponential is given, and of log odds). These two are never below zero, so that their estimates are too large even
    where all groups are alike: read ``excess``. Their intervals hold the true value at least as often as claimed (as in
    a triangle, the gap cannot be further from the truth than the groups' deviations are apart).

    Ratios and odds add half an error and half a hit to each side, so that a cell without errors stays finite; odds of
    an error rate of 1 or more are missing.

    Args:
        outcomes: see `fairlib.outcomes`; several encoders may be concatenated.
        by: a column with one value a speaker, or several for their intersections ("female × child"). Speakers for whom
            one is missing are left out, and so, with a warning, are those with two answers and groups of one speaker.
        resamples: of the speakers, and of the seeds where there is more than one; 2000.
        confidence: of the interval; 0.95.
        strata: speakers' labels are permuted within the groups of this column (or of these): what it explains of a gap
            then belongs to the null. Without it they are permuted over all speakers.
        permutations: of the speakers' labels, the same for all layers and encoders; 2000.
        min_speakers: groups below are flagged in ``few_speakers`` and left out of the contrasts over all groups; 5.

    Returns:
        One row per encoder, task, unit, probe, layer, contrast ("child vs adult") and scale: ``estimate, low, high``;
        ``null_mean, null_low, null_high``, mean and 95 % range under permutation; ``excess``, the estimate less the
        null mean; ``p`` (two-sided for a gap, one-sided for the contrasts over all groups); ``p_familywise`` over all
        layers and groups of one encoder, task, unit, probe and scale, by the largest statistic; ``p_holm``, Holm's,
        over the same; ``n_speakers_a, n_speakers_b`` (all and 0 for "between groups"), ``n_utterances, few_speakers``.

    Raises:
        BiasError: ``by`` is no column or differs within a speaker, fewer than two groups have two speakers, or a layer
            lacks seeds or speakers that the other layers of its encoder have;
            or ``strata`` is no column, is missing for a speaker, or leaves nothing to permute.

    Example:
        >>> from fairlib.bias.simulation import simulate_outcomes
        >>> outcomes = simulate_outcomes({"child": [0.30], "adult": [0.20]}, speakers=40, by="age_group")
        >>> bias = group_bias(outcomes, by="age_group").set_index("scale")
        >>> bool(bias.loc["difference", "low"] < 0.1 < bias.loc["difference", "high"])
        True
    """
    tables = []
    for sums in speaker_sums(outcomes, by, min_speakers, strata):
        drawn = {name: sums.resample(members, resamples) for name, members in sums.groups.items()}
        observed = {
            name: np.split(speaker_products(sums)[members].sum(axis=0), 5) for name, members in sums.groups.items()
        }
        permuted = permuted_sums(sums, permutations)
        family = []
        for contrast, group, others in contrasts_of(sums):
            sizes = sums.sizes([group], others)
            about = {
                "contrast": contrast, "n_speakers_a": sizes[0], "n_speakers_b": sizes[1],
                "n_utterances": sum(sums.utterances[name] for name in (group, *others)),
                "few_speakers": bool(sizes.min() < min_speakers),
            }  # fmt: skip
            for scale in SCALES:
                estimate, variance = gap_with_variance(scale, observed[group], pool(observed, others), sizes)
                values = link(scale, *drawn[group]) - link(scale, *pool(drawn, others))
                low, high = stretched_interval(estimate, values, variance, sizes, confidence)
                null, null_variance = gap_with_variance(scale, permuted[group], pool(permuted, others), sizes)
                centre = mean_of_known(null)
                statistic = np.abs(studentised(estimate - centre, variance.sum(axis=0)))
                null_statistic = np.abs(studentised(null - centre, null_variance.sum(axis=0)))
                family.append((scale, about, estimate, low, high, null, statistic, null_statistic))
        rows = family_rows(family, sums.by)
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
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    min_speakers: int = FEWEST_SHOWN,
) -> pd.DataFrame:
    """How much a gap differs between two layers, encoders or checkpoints, the same speakers being resampled in both.

    Args:
        outcomes: see `fairlib.outcomes`; of all the encoders that the pairs name.
        by: a column with one value a speaker, or several for their intersections ("female × child"). Speakers for whom
            one is missing are left out, and so, with a warning, are those with two answers and groups of one speaker.
        pairs: ``((encoder, layer), (encoder, layer))``: the second's gap is taken from the first's.
        resamples: of the speakers, and of the seeds where there is more than one; 2000.
        confidence: of the interval; 0.95.
        min_speakers: smaller groups are flagged in ``few_speakers``; 5.

    Returns:
        One row per task, unit, probe, pair, contrast and scale: ``encoder, layer, encoder_b, layer_b, estimate, low,
        high`` (for ``ratio``, one ratio over the other), ``p`` that inverts the interval, ``p_holm`` over all pairs and
        contrasts of a scale, ``n_speakers_a, n_speakers_b, few_speakers``.

    Raises:
        BiasError: ``by`` is no column or differs within a speaker, fewer than two groups have two speakers, or a layer
            lacks seeds or speakers that the other layers of its encoder have;
            or a pair names an encoder and layer that are not there, or two with different seeds or speakers.

    Example:
        >>> from fairlib.bias.simulation import simulate_outcomes
        >>> outcomes = simulate_outcomes({"child": [0.2, 0.4], "adult": [0.2, 0.2]}, speakers=200, by="age_group")
        >>> encoder, first, second = outcomes["encoder"][0], *outcomes["layer"].unique()
        >>> table = bias_differences(outcomes, "age_group", [((encoder, second), (encoder, first))])
        >>> table.set_index("scale")["estimate"].round(1)["difference"].item()
        0.2
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
                    mine, theirs = (_influences(scale, side, group, others) for side in (one, other))
                    gap, values = mine[0] - theirs[0], mine[1] - theirs[1]
                    squares = np.array([((pull - its) ** 2).sum() for pull, its in zip(mine[2], theirs[2])])
                    variance = (sizes / (sizes - 1) * squares)[:, None]
                    low, high = stretched_interval(np.array([gap]), values[:, None], variance, sizes, confidence)
                    unlink = np.exp if scale == "ratio" else np.asarray
                    rows.append(
                        {
                            **dict(zip(("encoder", "layer"), pair[0])),
                            **dict(zip(("encoder_b", "layer_b"), pair[1])),
                            **dict(zip(("task", "unit", "probe"), kind)),
                            "by": one[0].by,
                            "contrast": contrast,
                            "scale": scale,
                            "estimate": float(unlink(gap)),
                            "low": float(unlink(low[0])),
                            "high": float(unlink(high[0])),
                            "p": interval_p(gap, values, variance, sizes),
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


def _influences(scale: str, side: tuple[SpeakerSums, int, dict], group: str, others: list[str]):
    """A layer's gap, its resampled values, and how far each speaker of either side pulls it."""
    sums, place, drawn = side
    values: np.ndarray | float = 0.0
    gap, pulls = 0.0, []
    for sign, names in ((1, [group]), (-1, others)):
        members = np.concatenate([sums.groups[name] for name in names])
        errors, lengths = (table[members, :, place].sum(axis=1) for table in (sums.errors, sums.lengths))
        total, units = errors.sum(), lengths.sum()
        gap += sign * float(link(scale, total, units))
        values = values + sign * link(scale, *pool(drawn, names))
        pulls.append(sign * slope(scale, total, units) * (errors - total / units * lengths) / units)
    return gap, values, pulls


def _overall(sums, observed, drawn, permuted, confidence, min_speakers) -> list[dict]:
    """Worst against best, and the deviation between groups, over the groups that are large enough."""
    names = [name for name, members in sums.groups.items() if len(members) >= min_speakers]
    if len(names) < 2:
        return []
    sizes = sums.sizes(*([name] for name in names))
    widen = np.sqrt((sizes + 1) / (sizes - 1))[:, None, None]
    tails = stats.t.ppf((1 + confidence) / 2, sizes.sum() - len(sizes)) / stats.norm.ppf((1 + confidence) / 2)
    rows = []
    spreads: dict[str, Callable] = {WORST: np.ptp, BETWEEN: functools.partial(np.std, ddof=1)}
    for contrast, spread in spreads.items():
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
            centre, deviation = mean_of_known(null), np.std(null, axis=0)
            deviation = np.where(deviation > 0, deviation, 1)
            statistics = (estimate - centre) / deviation, (null - centre) / deviation
            family.append(
                (scale, about, estimate, np.maximum(estimate - margin, 0), estimate + margin, null, *statistics)
            )
        rows += family_rows(family, sums.by)
    return rows
