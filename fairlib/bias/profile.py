"""Where? Whether a gap differs between the layers of an encoder, and which layer's gap differs from the others'."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from fairlib.bias.inference import gap_with_variance
from fairlib.bias.sums import (
    CONFIDENCE,
    FEWEST_SHOWN,
    POWER,
    RESAMPLES,
    SCALES,
    BiasError,
    SpeakerSums,
    contrasts_of,
    link,
    pool,
    speaker_products,
    speaker_sums,
)

OTHERS, FIRST = "the other layers", "layer 0"


def gap_profile(
    outcomes: pd.DataFrame,
    by: str | Sequence[str],
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    min_speakers: int = FEWEST_SHOWN,
) -> pd.DataFrame:
    """How far each layer's gap is from the mean of the other layers' and from layer 0's, and whether any is.

    Layers share their speakers, so their gaps go up and down together, and a layer's own interval says little of
    whether it differs from the next. Here the speakers are resampled at all layers at once. Two tests answer for an
    encoder as a whole: ``p_joint``, of all differences together, and the smallest ``p``, by the largest of them. The
    first sees many small differences, the second one large one.

    The joint test is Hotelling's: the differences' squared length in their own covariance, which the resamples give,
    against F (Johnson and Wichern, Applied Multivariate Statistical Analysis, 2007, ch. 5), with Welch's degrees of
    freedom. ``p``, and the intervals, which hold all at once, are by the largest difference in standard errors among
    the centred resamples (Westfall and Young 1993), widened as Student's quantiles are wider than normal ones. In
    simulated studies of the published sizes without any difference, ``p`` was below .05 in .035 to .067 of 600, and
    ``p_joint`` in .047 to .078. Both are missing where a layer's gap is: odds need fewer errors than units, and odds
    and ratios somebody in either group who errs more than another.

    Args:
        outcomes: see `fairlib.outcomes`; several encoders may be concatenated. Those of one layer are left out.
        by: a column with one value a speaker, or several for their intersections ("female × child").
        resamples: of the speakers, and of the seeds where there is more than one; 2000.
        confidence: of the intervals; 0.95.
        min_speakers: smaller groups are flagged in ``few_speakers``; 5.

    Returns:
        One row per encoder, task, unit, probe, contrast, scale, layer and ``against`` ("the other layers", "layer 0";
        the second only where there is a layer 0): ``gap``, the layer's own; ``estimate, low, high`` of its difference
        (of ``ratio``: one ratio over the other); ``p``, family-wise over the layers; ``detectable``, the difference
        that would be found with a power of .8; ``p_joint``, the same in all rows of a test; ``n_layers, n_speakers_a,
        n_speakers_b, few_speakers``.

    Raises:
        BiasError: as `fairlib.bias.group_bias`; or no encoder has two layers.

    Example:
        >>> from fairlib.bias.simulation import simulate_outcomes
        >>> errors = {"child": [0.3, 0.3, 0.5], "adult": [0.2, 0.2, 0.2]}
        >>> table = gap_profile(simulate_outcomes(errors, speakers=100, by="age_group"), by="age_group")
        >>> table = table[(table["scale"] == "difference") & (table["against"] == "the other layers")]
        >>> table.set_index("layer")["estimate"].round(1).to_dict(), bool(table["p_joint"].iloc[0] < 0.001)
        ({'0': -0.1, '1': -0.1, '2': 0.2}, True)
    """
    tables = []
    for sums in speaker_sums(outcomes, by, min_speakers):
        if len(sums.cells) < 2:
            continue
        drawn = {name: sums.resample(members, resamples) for name, members in sums.groups.items()}
        observed = {
            name: np.split(speaker_products(sums)[members].sum(axis=0), 5) for name, members in sums.groups.items()
        }
        for contrast, group, others in contrasts_of(sums):
            sizes = sums.sizes([group], others)
            about = {
                "by": sums.by, "contrast": contrast, "n_layers": len(sums.cells), "n_speakers_a": sizes[0],
                "n_speakers_b": sizes[1], "few_speakers": bool(sizes.min() < min_speakers),
            }  # fmt: skip
            for scale in SCALES:
                gap, variance = gap_with_variance(scale, observed[group], pool(observed, others), sizes)
                moved = link(scale, *drawn[group]) - link(scale, *pool(drawn, others))
                freedom, widen = _between_speakers(variance, sizes)
                if scale != "difference":  # where all of a group err alike, all that is known is the half error added
                    gap = np.where((variance > 0).all(axis=0), gap, np.nan)
                for against, weights in _comparisons(sums).items():
                    tested = _tested(weights, gap, moved, freedom, widen, confidence)
                    unlink = np.exp if scale == "ratio" else np.asarray
                    for name in ("estimate", "low", "high", "detectable"):
                        tested[name] = unlink(tested[name])
                    own = {"scale": scale, "against": against, "gap": unlink(gap)}
                    tables.append(sums.cells.assign(**about, **own, **tested).dropna(subset="estimate"))
    if not tables:
        raise BiasError("No encoder in these outcomes has two layers whose gaps could be compared.")
    return pd.concat(tables, ignore_index=True)


def _comparisons(sums: SpeakerSums) -> dict[str, np.ndarray]:
    """By what each layer is set against, the weights of all layers' gaps in its difference, ``[layers, layers]``; a row
    of zeros where a layer would be set against itself."""
    layers, count = sums.cells["layer"].to_list(), len(sums.cells)
    found = {OTHERS: (np.eye(count) * count - 1) / (count - 1)}
    if "0" in layers:
        first = np.eye(count)
        first[:, layers.index("0")] -= 1
        found[FIRST] = first
    return found


def _between_speakers(variance: np.ndarray, sizes: np.ndarray) -> tuple[float, float]:
    """Welch's degrees of freedom, and how much too narrow exponential weights are, of the layers together.

    Args:
        variance: of each group's side of the gap, ``[2, layers]``.
    """
    sides = variance.mean(axis=1)
    if not (np.isfinite(sides).all() and sides.sum() > 0):
        return np.nan, np.nan
    freedom = sides.sum() ** 2 / (sides**2 / (sizes - 1)).sum()
    return float(freedom), float(np.sqrt(sides.sum() / (sides * (sizes - 1) / (sizes + 1)).sum()))


def _tested(
    weights: np.ndarray, gap: np.ndarray, moved: np.ndarray, freedom: float, widen: float, confidence: float
) -> dict[str, np.ndarray]:
    """Differences of the gaps ``[layers]`` by ``weights``, judged by the resampled gaps ``[resamples, layers]``."""
    compared = np.abs(weights).sum(axis=1) > 0
    difference, shaken = weights @ gap, (moved - moved.mean(axis=0)) @ weights.T * widen
    error = shaken.std(axis=0, ddof=1)
    known = compared & (error > 1e-9) & np.isfinite(difference)
    nothing = np.full(len(gap), np.nan)
    result = {"estimate": np.where(compared, difference, np.nan)}
    if not known.any():
        return result | dict.fromkeys(("low", "high", "p", "detectable", "p_joint"), nothing)
    largest = np.abs(shaken[:, known] / error[known]).max(axis=1)
    # As much wider as Student's quantile is than the normal one, which the resamples' largest is like.
    tail = (1 - confidence) / 2
    stretch = stats.t.ppf(tail, freedom) / stats.norm.ppf(tail)
    reach = np.quantile(largest, confidence) * stretch
    with np.errstate(invalid="ignore", divide="ignore"):
        size = np.abs(difference) / error
    p = (1 + (largest[:, None] * stretch >= size[None, :]).sum(axis=0)) / (1 + len(largest))
    half = np.where(known, reach * error, np.nan)
    return result | {
        "low": difference - half,
        "high": difference + half,
        "p": np.where(known, p, np.nan),
        "detectable": half + stats.t.ppf(POWER, freedom) * np.where(known, error, np.nan),
        "p_joint": np.full(len(gap), _joint(difference, shaken, known, freedom)),
    }


def _joint(difference: np.ndarray, shaken: np.ndarray, known: np.ndarray, freedom: float) -> float:
    """Hotelling's p of no difference at all; dimensions in which the layers do not vary apart are left out."""
    spread, axes = np.linalg.eigh(np.cov(shaken[:, known], rowvar=False).reshape(known.sum(), known.sum()))
    kept = spread > 1e-6 * spread[-1]
    count = int(kept.sum())
    if freedom <= count:
        return np.nan
    squared = float(((axes[:, kept].T @ difference[known]) ** 2 / spread[kept]).sum())
    return float(stats.f.sf(squared * (freedom - count + 1) / (freedom * count), count, freedom - count + 1))
