"""Power: the smallest gap that a corpus of so many speakers per group would show.

A gap that is not found may be absent or merely too small for the speakers there are; only this tells which.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats
from scipy.optimize import brentq

from fairlib.bias import SCALES, BiasError, contrasts_of, slope, speaker_sums
from fairlib.bias.sums import FEWEST_SHOWN, LEVEL, POWER


def smallest_gap(
    deviation_a: float,
    deviation_b: float,
    speakers_a: int,
    speakers_b: int,
    power: float = POWER,
    alpha: float = LEVEL,
) -> float:
    """Smallest true gap that a two-sided Welch test at level ``alpha`` finds with probability ``power``.

    Args:
        deviation_a, deviation_b: standard deviation over speakers of what is compared, in each group: a speaker's own
            error rate where a difference is meant, its logarithm or log odds where a ratio is.
        speakers_a, speakers_b: two or more each.
        power, alpha: as probabilities; 0.8 and 0.05.

    Returns:
        The gap, in the unit of the deviations. Missing where neither group has any deviation.

    Raises:
        BiasError: fewer than two speakers in a group, or power or level outside 0 to 1.

    Example: 64 a group find half a standard deviation (Cohen 1988, Statistical Power Analysis, table 2.4.1).
        >>> round(smallest_gap(1.0, 1.0, 64, 64), 2)
        0.5
    """
    if min(speakers_a, speakers_b) < 2:
        raise BiasError(f"A test needs two speakers in each group; there are {speakers_a} and {speakers_b}.")
    if not (0 < alpha < power < 1):
        raise BiasError(f"Power {power} and level {alpha} must lie between 0 and 1, the level below the power.")
    of_mean = np.array([deviation_a**2 / speakers_a, deviation_b**2 / speakers_b])
    error = np.sqrt(of_mean.sum())
    if not np.isfinite(error) or error == 0:
        return float("nan")
    freedom = of_mean.sum() ** 2 / (of_mean**2 / [speakers_a - 1, speakers_b - 1]).sum()
    limit = stats.t.ppf(1 - alpha / 2, freedom)
    # The other tail adds less than alpha / 2 and nothing near the solution.
    found = brentq(lambda gap: stats.nct.sf(limit, freedom, gap) - power, 0, limit + 20)
    return float(found * error)


def smallest_gaps(
    outcomes: pd.DataFrame,
    by: str | Sequence[str],
    speakers: Sequence[int] = (5, 10, 20, 50, 100, 200),
    power: float = POWER,
    alpha: float = LEVEL,
    min_speakers: int = FEWEST_SHOWN,
) -> pd.DataFrame:
    """Smallest gap that would show at every layer: with the speakers there are, and with others of their kind.

    How much speakers of a group differ, and how far their few utterances tell, is taken from the outcomes.

    Args:
        outcomes: see `fairlib.outcomes`; several encoders may be concatenated.
        by: a column with one value a speaker, or several for their intersections ("female × child"). Speakers for whom
            one is missing are left out, and so, with a warning, are those with two answers and groups of one speaker.
        speakers: numbers of speakers in each group to answer for, with as many utterances each as now.
        power: the probability of finding the gap; 0.8.
        alpha: the level of the two-sided test; 0.05.
        min_speakers: smaller groups are flagged, with a warning; 5.

    Returns:
        One row per encoder, task, unit, probe, layer, contrast, scale and number of speakers: ``n_speakers_a,
        n_speakers_b, observed`` (true for the numbers there are), ``error`` over both groups, ``smallest``: a
        difference, a ratio above 1 (its inverse shows as well), or a log odds ratio; missing where speakers do not
        differ or odds do not exist.

    Raises:
        BiasError: ``by`` is no column or differs within a speaker, fewer than two groups have two speakers, or a layer
            lacks seeds or speakers that the other layers of its encoder have;
            or power or level lie outside 0 to 1.

    Example:
        >>> from fairlib.bias.simulation import simulate_outcomes
        >>> outcomes = simulate_outcomes({"quiet": [0.2], "clear": [0.2]}, speakers=50)
        >>> table = smallest_gaps(outcomes, "group", speakers=[10, 40]).query("scale == 'difference' and not observed")
        >>> bool(1.9 < table["smallest"].iloc[0] / table["smallest"].iloc[1] < 2.3)  # nearly by the root of four
        True
    """
    rows = []
    for sums in speaker_sums(outcomes, by, min_speakers):
        errors, units = sums.errors.sum(axis=1), sums.lengths.sum(axis=1)  # [speakers, layers]
        for contrast, group, others in contrasts_of(sums):
            sides = [np.concatenate([sums.groups[name] for name in names]) for names in ([group], others)]
            both = np.concatenate(sides)
            level = errors[both].sum(axis=0) / units[both].sum(axis=0)
            asked = [(len(sides[0]), len(sides[1]), True), *((count, count, False) for count in speakers)]
            for scale in SCALES:
                deviations = [_deviation(scale, errors[side], units[side]) for side in sides]
                for a, b, observed in asked:
                    pairs = zip(*deviations)
                    smallest = np.array([smallest_gap(one, other, a, b, power, alpha) for one, other in pairs])
                    rows.append(
                        sums.cells.assign(
                            by=sums.by, contrast=contrast, scale=scale, n_speakers_a=a, n_speakers_b=b,
                            observed=observed, error=level, smallest=np.exp(smallest) if scale == "ratio" else smallest,
                        )
                    )  # fmt: skip
    return pd.concat(rows, ignore_index=True)


def _deviation(scale: str, errors: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Deviation between speakers of what they add to a group's error, on a scale (delta method), at each layer."""
    total, all_units = errors.sum(axis=0), units.sum(axis=0)
    pull = (errors - total / all_units * units) / (all_units / len(errors))
    return pull.std(axis=0, ddof=1) * slope(scale, total, all_units)
