"""Simulated outcomes with planted truth: error rates per group and layer, and speakers who differ among themselves.

Whoever measures bias must first show that the measure finds what was planted, and nothing where nothing was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import expit, logit

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(31)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


def simulate_outcomes(
    errors: Mapping[str, Sequence[float]],
    speakers: int | Mapping[str, int] = 30,
    utterances: int = 20,
    units: int = 25,
    spread: float | Mapping[str, float] = 0.5,
    layer_correlation: float = 0.8,
    seeds: int = 1,
    seed_spread: float = 0.0,
    seed: int = 0,
    by: str = "group",
) -> pd.DataFrame:
    """Outcomes of one encoder whose groups have these error rates at these layers.

    Each speaker's log odds of error are normal around the group's, so that speakers are overdispersed as people are; a
    layer's errors are then binomial. The rates are what a group errs on average over all speakers there could be.

    Args:
        errors: error rate, above 0 and below 1, of each group at each layer.
        speakers: in each group, or in every group.
        utterances: of each speaker.
        units: mean length of an utterance, drawn between half and one and a half times this; 1 makes it a speaker
            identification task, else it is speech recognition in characters.
        spread: standard deviation between speakers in log odds, of each group or of every group.
        layer_correlation: of a speaker's deviations at two layers, from 0 to 1.
        seeds: how many probe seeds; the utterances are the same.
        seed_spread: standard deviation between seeds, in log odds, that a seed gives each group at each layer.
        seed: of the simulation.
        by: name of the group column.

    Raises:
        ValueError: an error rate outside 0 to 1, or groups with different numbers of layers.

    Example:
        >>> outcomes = simulate_outcomes({"clear": [0.1, 0.2], "quiet": [0.2, 0.3]}, speakers=400)
        >>> totals = outcomes.groupby(["group", "layer"])[["errors", "length"]].sum()
        >>> (totals["errors"] / totals["length"]).round(1).tolist()
        [0.1, 0.2, 0.2, 0.3]
    """
    groups, rates = list(errors), _rates(errors)
    rng = np.random.default_rng(seed)
    counts = [speakers if isinstance(speakers, int) else speakers[group] for group in groups]
    group_of = np.repeat(np.arange(len(groups)), counts)
    layers = rates.shape[1]
    common = rng.standard_normal((len(group_of), 1))
    own = rng.standard_normal((len(group_of), layers))
    deviation = np.sqrt(layer_correlation) * common + np.sqrt(1 - layer_correlation) * own
    of_seed = seed_spread * rng.standard_normal((seeds, len(groups), layers))
    spreads = np.array([spread[group] if isinstance(spread, Mapping) else spread for group in groups])[:, None]
    centre = _centre(rates, np.hypot(spreads, seed_spread))
    odds = centre[group_of] + spreads[group_of] * deviation + of_seed[:, group_of]  # [seeds, speakers, layers]
    if units == 1:
        lengths = np.ones((len(group_of), utterances), dtype=int)
    else:
        lengths = rng.integers(max(1, units // 2), units + units // 2 + 1, (len(group_of), utterances))
    made = rng.binomial(lengths[None, :, :, None], expit(odds)[:, :, None, :])  # [seeds, speakers, utterances, layers]
    seed_at, speaker_at, utterance_at, layer_at = (place.ravel() for place in np.indices(made.shape))
    names = np.array([f"{groups[group]}-{number:04d}" for number, group in enumerate(group_of)])
    utterance_names = np.array([f"{name}-{number:03d}" for name in names for number in range(utterances)])
    return pd.DataFrame(
        {
            "encoder": "simulated",
            "layer": np.arange(layers).astype(str)[layer_at],
            "task": "sid" if units == 1 else "asr",
            "unit": "speaker" if units == 1 else "char",
            "probe": "simulated",
            "seed": seed_at,
            "corpus": "simulated",
            "utterance_id": utterance_names[speaker_at * utterances + utterance_at],
            "speaker_id": names[speaker_at],
            "errors": made.ravel(),
            "length": lengths[speaker_at, utterance_at],
            by: np.array(groups)[group_of[speaker_at]],
        }
    )


def _rates(errors: Mapping[str, Sequence[float]]) -> np.ndarray:
    """Error rates ``[groups, layers]``, if they are any."""
    given = [np.asarray(rates, dtype=float) for rates in errors.values()]
    if len({len(rate) for rate in given}) != 1:
        raise ValueError(f"Every group needs an error rate at every layer; there are {[len(rate) for rate in given]}.")
    rates = np.stack(given)
    if not ((rates > 0) & (rates < 1)).all():
        raise ValueError(f"Error rates must be above 0 and below 1; there are {rates.min()} to {rates.max()}.")
    return rates


def constant_odds(
    levels: ArrayLike, log_odds_ratio: float | Sequence[float], share: ArrayLike = 0.5, spread: ArrayLike = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Error rates of two groups that have the same odds ratio at every layer, and these errors over all units.

    Args:
        levels: error over both groups at each layer, ``[layers]``, as either result.
        log_odds_ratio: of the first group against the second: one for all layers, or one for each.
        share: of the units that the first group has; 0.5, or one for each layer.
        spread: standard deviation between a group's speakers in log odds, one or one for each layer. Where it is not 0,
            the odds ratio is the conditional one, between two speakers of like rank in their groups; that of the
            groups' errors is then smaller, the more so the larger the spread and the nearer errors are to a half.

    Example:
        >>> worse, other = constant_odds([0.05, 0.4], 0.5)
        >>> (worse - other).round(3).tolist(), (worse / other).round(2).tolist()
        ([0.023, 0.119], [1.61, 1.35])
        >>> worse, other = constant_odds([0.04, 0.44], 1.25, spread=1.5)
        >>> (logit(worse) - logit(other)).round(2).tolist()
        [1.11, 0.89]
    """
    wanted, ratio, first = (np.asarray(values, dtype=float) for values in (levels, log_odds_ratio, share))
    deviation = np.broadcast_to(np.asarray(spread, dtype=float), wanted.shape)
    low, high = np.full_like(wanted, -40.0), np.full_like(wanted, 40.0)
    for _ in range(60):  # halving: the error over both groups rises with the second group's odds
        middle = (low + high) / 2
        above = first * _averaged(middle + ratio, deviation) + (1 - first) * _averaged(middle, deviation) > wanted
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return _averaged(middle + ratio, deviation), _averaged(middle, deviation)


def _averaged(centre: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Mean error rate of people whose log odds are normal about the centre."""
    return expit(centre[..., None] + deviation[..., None] * _NODES) @ _WEIGHTS


def spread_of_speakers(errors: np.ndarray, lengths: np.ndarray, groups: Sequence[np.ndarray]) -> np.ndarray:
    """Standard deviation between a group's speakers in log odds of error, at each layer.

    By moments: the variance of the speakers' rates about their group's, less what chance gives so few units, is that of
    normal log odds. Where there is less of it than chance gives, 0.

    Args:
        errors, lengths: ``[speakers, layers]``.
        groups: places of each group's speakers; groups count by their speakers.

    Example:
        >>> outcomes = simulate_outcomes({"a": [0.2, 0.4], "b": [0.1, 0.3]}, speakers=2000, spread=0.8)
        >>> sums = outcomes.groupby(["speaker_id", "layer"])[["errors", "length"]].sum().unstack()
        >>> half = np.arange(4000) < 2000
        >>> spread_of_speakers(sums["errors"].to_numpy(), sums["length"].to_numpy(), [half, ~half]).round(1).tolist()
        [0.8, 0.8]
    """
    wanted, centre = np.zeros(errors.shape[1]), np.zeros(errors.shape[1])
    people = sum(len(errors[members]) for members in groups)
    for members in groups:
        own, units = errors[members], lengths[members]
        rate = own.sum(axis=0) / units.sum(axis=0)
        expected = (rate * (1 - rate) / units).mean(axis=0)
        wanted += len(own) / people * np.maximum(((own / units - rate) ** 2).mean(axis=0) - expected, 0)
        centre += len(own) / people * rate
    low, high = np.zeros_like(wanted), np.full_like(wanted, 5.0)
    centre = np.clip(centre, 1e-4, 1 - 1e-4)
    for _ in range(40):
        middle = (low + high) / 2
        rates = expit(_centre(centre, middle)[:, None] + middle[:, None] * _NODES)
        above = (rates - centre[:, None]) ** 2 @ _WEIGHTS > wanted
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.where(wanted > 0, middle, 0.0)


def _centre(rates: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Log odds around which speakers must lie so that their errors average to these rates (Newton, Gauss-Hermite)."""
    centre = logit(rates)
    for _ in range(30):
        probability = expit(centre[..., None] + deviation[..., None] * _NODES)
        step = (probability @ _WEIGHTS - rates) / ((probability * (1 - probability)) @ _WEIGHTS)
        centre = centre - np.clip(step, -1, 1)
    return centre
