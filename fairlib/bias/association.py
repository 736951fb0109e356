"""Claim C2: does bias go with error from layer to layer, by more than the scale's own arithmetic brings about?

With one and the same odds ratio at every layer, a ratio of errors falls as error rises, and a difference rises with it
up to about 45 % error: an association between bias and error that says nothing about layers. So the rank correlation is
set against outcomes in which every layer keeps its own error and all share one odds ratio, with the data's own noise:
speakers who differ, and layers that err on the same speakers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats
from scipy.special import expit, logit

from fairlib.bias import SCALES, BiasError, contrasts_of, holm, link, pool, speaker_sums
from fairlib.bias.simulation import constant_odds
from fairlib.tasks import task_named

FEWEST_LAYERS = 5


def bias_error_association(
    outcomes: pd.DataFrame,
    by: str | Sequence[str],
    resamples: int = 2000,
    confidence: float = 0.95,
    min_speakers: int = 5,
) -> pd.DataFrame:
    """Rank correlation over layers between error and size of the gap, beside the same under constant odds.

    The gap counts by its size, whichever group it disfavours (for ratio and log odds, the size of the logarithm): C2
    speaks of how biased a layer is. Resampling speakers gives the interval. The null takes each layer's error and the
    layers' common log odds ratio (weighted by precision), works out the two groups' errors under these, and adds the
    resamples' deviations, which hold the noise of both groups at all layers together.

    Args:
        outcomes: see `fairlib.outcomes`; several encoders may be concatenated.
        by: a column with one value a speaker, or several for their intersections ("female × child"). Speakers for whom
            one is missing are left out, and so, with a warning, are those with two answers and groups of one speaker.
        resamples: of the speakers, and as many simulated nulls; 2000.
        confidence: of the interval; 0.95.
        min_speakers: smaller groups are flagged, with a warning; 5.

    Returns:
        One row per encoder, task, unit, probe, contrast and scale: ``n_layers, estimate`` (rank correlation), ``low,
        high, null_mean, null_low, null_high, excess, p``, ``p_holm`` (over an encoder's and task's contrasts and
        scales), ``common_log_odds``, ``association`` ("rises with error", "falls with error", "as constant odds would",
        "no odds to compare with" where an error rate is 1 or more, "not shown") and ``verdict`` on C2 by `RULE`
        (missing for tasks of which C2 says nothing). Encoders of fewer than 5 layers, as log-mel, are left out.

    Raises:
        BiasError: ``by`` is no column or differs within a speaker, fewer than two groups have two speakers, or a layer
            lacks seeds or speakers that the other layers of its encoder have;
            or no encoder has 5 layers.

    Example:
        >>> from fairlib.bias.simulation import constant_odds, simulate_outcomes
        >>> worse, other = constant_odds([0.05, 0.1, 0.2, 0.3, 0.4, 0.45], 0.8)
        >>> outcomes = simulate_outcomes({"quiet": worse, "clear": other}, speakers=60)
        >>> table = bias_error_association(outcomes, by="group").set_index("scale")
        >>> bool(table.loc["difference", "estimate"] > 0.8), table.loc["difference", "verdict"]
        (True, 'inconclusive')
    """
    tables = []
    for sums in speaker_sums(outcomes, by, min_speakers):
        if len(sums.cells) < FEWEST_LAYERS:
            continue
        rows = []
        drawn = {name: sums.resample(members, resamples) for name, members in sums.groups.items()}
        points = {
            name: [values[members].sum(axis=(0, 1)) for values in (sums.errors, sums.lengths)]
            for name, members in sums.groups.items()
        }
        for contrast, group, others in contrasts_of(sums):
            sizes = sums.sizes([group], others)
            # Per side: errors and units.
            observed, shaken = ([values[group], pool(values, others)] for values in (points, drawn))
            noise = [
                (link("log_odds", *moved) - link("log_odds", *found)) * np.sqrt((size + 1) / (size - 1))
                for moved, found, size in zip(shaken, observed, sizes)
            ]
            null, common = _constant_odds_null(observed, noise)
            for scale in SCALES:
                estimate = rank_correlation(*_level_and_size(scale, *observed))
                values = rank_correlation(*_level_and_size(scale, *shaken))
                rows.append(
                    {
                        "contrast": contrast,
                        "scale": scale,
                        "n_layers": len(sums.cells),
                        "estimate": float(estimate),
                        **_judged(sums.cells["task"][0], float(estimate), values, null[scale], confidence),
                        "common_log_odds": common,
                        "n_speakers_a": sizes[0],
                        "n_speakers_b": sizes[1],
                        "few_speakers": bool(sizes.min() < min_speakers),
                    }  # fmt: skip
                )
        table = pd.DataFrame(rows)
        table.insert(0, "by", sums.by)
        for column in ("probe", "unit", "task", "encoder"):
            table.insert(0, column, sums.cells[column][0])
        tables.append(table.assign(p_holm=holm(table["p"])))
    if not tables:
        raise BiasError(f"No encoder in these outcomes has {FEWEST_LAYERS} layers, which a rank correlation needs.")
    return pd.concat(tables, ignore_index=True)


def rank_correlation(one: ArrayLike, other: ArrayLike) -> np.ndarray:
    """Spearman's correlation along the last axis, ties sharing their mean rank; missing where a row is constant.

    Args:
        one, other: ``[..., n]``; the result is ``[...]``.

    Example:
        >>> float(rank_correlation([1, 2, 3, 4], [1, 3, 2, 4]).round(3))
        0.8
    """
    ranks = [stats.rankdata(values, axis=-1, nan_policy="propagate") for values in (one, other)]
    a, b = (rank - rank.mean(axis=-1, keepdims=True) for rank in ranks)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (a * b).sum(axis=-1) / np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))


def _level_and_size(scale: str, side, other) -> tuple[np.ndarray, np.ndarray]:
    """Error over both groups, and size of the gap, at each layer."""
    level = (side[0] + other[0]) / (side[1] + other[1])
    return level, np.abs(link(scale, *side) - link(scale, *other))


def _constant_odds_null(observed, noise) -> tuple[dict[str, np.ndarray], float]:
    """Rank correlations of simulated outcomes with one odds ratio at all layers, and its logarithm."""
    (errors_a, units_a), (errors_b, units_b) = observed
    gap = link("log_odds", errors_a, units_a) - link("log_odds", errors_b, units_b)
    weight = 1 / np.maximum(np.var(noise[0] - noise[1], axis=0), 1e-12)
    common = float((gap * weight).sum() / weight.sum())
    share = units_a / (units_a + units_b)
    level = (errors_a + errors_b + 1) / (units_a + units_b + 2)
    level = np.where(level < 1, level, np.nan)  # more errors than units: there are no odds
    centres = [logit(rate) for rate in constant_odds(level, common, share)]
    sides = [(expit(centre + moved) * units, units) for centre, moved, units in zip(centres, noise, (units_a, units_b))]
    return {scale: rank_correlation(*_level_and_size(scale, *sides)) for scale in SCALES}, common


def _judged(task: str, estimate: float, values: np.ndarray, null: np.ndarray, confidence: float) -> dict:
    """Interval, null, p, association and verdict by `RULE`; missing where an error above 1 leaves no odds."""
    tail = (1 - confidence) / 2
    (low, high), (null_low, null_high) = np.quantile(values, [tail, 1 - tail]), np.quantile(null, [0.025, 0.975])
    p = np.nan
    if np.isfinite(estimate) and np.isfinite(null).all():
        # A hair's breadth, so that equal correlations count as equal whatever the rounding.
        below, above = (null <= estimate + 1e-9).sum(), (null >= estimate - 1e-9).sum()
        p = min(1.0, 2 * (1 + min(below, above)) / (1 + len(null)))
    shown = low > 0 or high < 0
    beyond = shown and p < 0.05 and (estimate - np.median(null)) * estimate > 0
    association = "not shown"
    if shown:
        direction = "rises with error" if estimate > 0 else "falls with error"
        association = direction if beyond else "as constant odds would" if np.isfinite(p) else "no odds to compare with"
    verdict = None
    if claimed := task_named(task).c2:
        verdict = ("supported" if estimate * claimed > 0 else "contradicted") if beyond else "inconclusive"
    return {
        "low": low, "high": high, "null_mean": null.mean(), "null_low": null_low, "null_high": null_high,
        "excess": estimate - null.mean(), "p": p, "association": association, "verdict": verdict,
    }  # fmt: skip
