"""Intervals and nulls of gaps between groups of speakers.

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

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from fairlib.bias.sums import SCALES, SpeakerSums, link, random_numbers, slope, speaker_products


def holm(p: ArrayLike) -> np.ndarray:
    """Holm's adjusted p values (Holm 1979, Scandinavian Journal of Statistics 6:65-70); missing ones stay missing.

    Args:
        p: ``[tests]``, as the result.

    Example:
        >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
        [0.03, 0.06, 0.06]
    """
    raw = np.asarray(p, dtype=float)
    known = np.flatnonzero(np.isfinite(raw))
    order = known[np.argsort(raw[known])]
    adjusted = np.full(len(raw), np.nan)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(raw[order] * np.arange(len(order), 0, -1)))
    return adjusted


def gap_with_variance(scale: str, moments_a, moments_b, sizes) -> tuple[np.ndarray, np.ndarray]:
    """Gap on the scale of `link` and, stacked first, the two groups' sampling variances of it (delta method)."""
    parts = []
    for moments, size in zip((moments_a, moments_b), sizes):
        errors, units = moments[:2]
        variance = rate_variance(moments, size) * slope(scale, errors, units) ** 2
        parts.append((link(scale, errors, units), variance))
    return parts[0][0] - parts[1][0], np.stack([parts[0][1], parts[1][1]])


def rate_variance(moments: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Sampling variance of errors over units, from how far each speaker's errors are from what the rate foretells.

    Args:
        moments: sums over ``size`` speakers of what `fairlib.bias.sums.speaker_products` gives of each: errors, units
            and their three products, each ``[..., layers]``.
    """
    errors, units, errors_errors, errors_units, units_units = moments
    rate = errors / units
    squares = errors_errors - 2 * rate * errors_units + rate**2 * units_units
    squares = np.where(squares > 1e-9 * np.maximum(errors_errors, 1), squares, 0)  # below that it is rounding
    return size / (size - 1) * squares / units**2


def mean_of_known(values: np.ndarray) -> np.ndarray:
    """Mean of each column over what is not missing; missing where nothing is there."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(axis=0) / known.sum(axis=0)


def stretched_interval(estimate, values, variance, sizes, confidence) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval of each column, stretched from the estimate to the width that a t interval has.

    Exponential weights of m speakers give a mean the variance of (m - 1) / (m + 1) times what it should be, and normal
    quantiles where Student's are due: both are made good. Missing where a group shows no spread.
    """
    tail = (1 - confidence) / 2
    low, high = quantiles(values, tail)
    stretch = _stretch(tail, variance, sizes)
    return estimate - (estimate - low) * stretch, estimate + (high - estimate) * stretch


def interval_p(estimate: float, values: np.ndarray, variance: np.ndarray, sizes: np.ndarray) -> float:
    """Two-sided p of no difference: one less the confidence at which the stretched interval touches zero."""
    tails = np.geomspace(0.499, 1e-5, 400)
    side = np.sign(estimate) or 1.0
    ordered = np.sort(side * values)[:, None]  # once for all tails
    # So many resamples reach no farther than this; beyond it their tail goes on as a normal one. Without that all p
    # below 2 / (resamples + 1) would be the smallest there is, which Holm's many tests need apart.
    reached = np.maximum(tails, 1 / (len(values) + 1))
    bounds = _quantiles(np.broadcast_to(ordered, (len(values), len(tails))), reached)[0]
    beyond = stats.norm.ppf(tails) / stats.norm.ppf(reached)
    bounds = side * estimate - (side * estimate - bounds) * beyond * _stretch(tails, variance, sizes)
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


def quantiles(values: np.ndarray, tail) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles at ``tail`` and ``1 - tail`` (one, or one a column) of each column; missing where a value is.

    The k-th of n values is the quantile k / (n + 1), without which far quantiles of few draws lie too near the middle.
    """
    return _quantiles(np.sort(values, axis=0), tail)  # missing values come last


def _quantiles(ordered: np.ndarray, tail) -> tuple[np.ndarray, np.ndarray]:
    last, columns = len(ordered) - 1, np.arange(ordered.shape[1])
    bounds = []
    for share in (tail, 1 - tail):
        place = np.clip(np.broadcast_to(share, len(columns)) * (last + 2) - 1, 0, last)
        below = np.floor(place).astype(int)
        above, part = np.minimum(below + 1, last), place - below
        bound = ordered[below, columns] * (1 - part) + ordered[above, columns] * part
        bounds.append(np.where(np.isfinite(ordered[-1]), bound, np.nan))
    return bounds[0], bounds[1]


def permuted_sums(sums: SpeakerSums, permutations: int) -> dict[str, list[np.ndarray]]:
    """`_moments` of each group, ``[permutations, layers]``, with speakers' labels permuted within their strata."""
    labels = np.empty(len(sums.speakers), dtype=int)
    for number, members in enumerate(sums.groups.values()):
        labels[members] = number
    keys = random_numbers(tuple(sums.speakers), permutations, "permute")
    moved = np.empty(keys.shape, dtype=int)
    for stratum in np.unique(sums.strata):
        members = np.flatnonzero(sums.strata == stratum)
        moved[:, members] = labels[members][np.argsort(keys[:, members], axis=1)]
    products = speaker_products(sums)
    return {
        name: np.split((moved == number).astype(float) @ products, 5, axis=1) for number, name in enumerate(sums.groups)
    }


def studentised(gap: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Gap in standard errors; without any spread a gap that is there is beyond all measure, and none is none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        statistic = gap / np.sqrt(variance)
    still = (variance == 0) & np.isfinite(gap)
    return np.where(still, np.where(np.abs(gap) > 1e-9, np.inf, 0.0), statistic)


def family_rows(family: list[tuple], by: str) -> list[dict]:
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
            null_mean = mean_of_known(moved)
            null_low, null_high = quantiles(moved, 0.025)
            columns = {
                "by": by, "contrast": about["contrast"], "scale": scale, "estimate": estimate, "low": low,
                "high": high, "null_mean": null_mean, "null_low": null_low, "null_high": null_high,
                "excess": estimate - null_mean, "p": p[number], "p_familywise": p_familywise[number],
                "p_holm": p_holm[number],
            }  # fmt: skip
            rows.append(columns | about)
    return rows
