"""Claim C2: does the gap go with the error from layer to layer, by more than the scale's own arithmetic brings about?

The slope of the gap on the error's log odds, over an encoder's layers. The gap keeps its sign; layers in which the
other group errs more pull the slope the other way.

If all layers multiply the odds of an error by one and the same factor, nothing happens from layer to layer; and yet a
ratio of errors falls as error rises, a difference rises with it, and even the log odds ratio of the groups shrinks a
little, because people differ: it is less than each person's own (it is not collapsible; Gail, Wieand and Piantadosi
1984). So each slope is set against that of one *conditional* log odds ratio at all layers, among people who differ as
these do.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit, logit

from fairlib.bias.inference import gap_with_variance
from fairlib.bias.simulation import constant_odds, spread_of_speakers
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

FEWEST_LAYERS = 5
ALL, WITHOUT_CNN = "all layers", "without cnn"


def error_slopes(
    outcomes: pd.DataFrame,
    by: str | Sequence[str],
    twins: Mapping[str, str] | None = None,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    min_speakers: int = FEWEST_SHOWN,
) -> pd.DataFrame:
    """How much an encoder's gap changes, from layer to layer, with the log odds of the error.

    By least squares, every layer counting the same. ``null`` is the slope under one conditional log odds ratio: the one
    that comes nearest to the gaps found (weighted by precision), between people of the spread that the layer's outcomes
    show, at the layer's own error. ``excess`` is what goes beyond it. The noise is that of speakers (and seeds)
    resampled at all layers, and encoders, at once; p is two-sided, by the resamples about the null.

    Args:
        outcomes: see `fairlib.outcomes`; several encoders may be concatenated.
        by: a column with one value a speaker, or several for their intersections ("female × child").
        twins: by an encoder's name, that of another whose excess is subtracted: its untrained twin, say. What the
            features of random layers do as well is not of the training.
        resamples: of the speakers; 2000.
        confidence: of the intervals; 0.95.
        min_speakers: smaller groups are flagged, with a warning; 5.

    Returns:
        One row per encoder, task, unit, probe, contrast, scale and ``layers`` ("all layers"; "without cnn" where there
        is one): ``twin`` (missing: none is subtracted; an encoder with a twin has rows with and without), ``slope, low,
        high, null, excess, excess_low, excess_high, p``, ``detectable`` (the excess that would be found with a power of
        .8), ``gap`` and ``gap_p`` (mean log odds ratio over the layers, and its p), ``error_span`` (of the layers, in
        log odds), ``n_layers, n_speakers_a, n_speakers_b, few_speakers``.
        Missing are slopes where an error rate is 1 or more, and what goes beyond the null, with its p, where at some
        layer all of a group err alike, as where none of them errs: their odds are not known. Encoders of fewer than 5
        layers, as log-mel, are left out.

    Raises:
        BiasError: as `fairlib.bias.group_bias`; or no encoder has 5 layers, or a twin is not among the outcomes.

    Example:
        >>> from fairlib.bias.simulation import constant_odds, simulate_outcomes
        >>> worse, other = constant_odds([0.05, 0.1, 0.2, 0.3, 0.4, 0.45], 0.8, spread=0.5)
        >>> outcomes = simulate_outcomes({"quiet": worse, "clear": other}, speakers=60, spread=0.5)
        >>> table = error_slopes(outcomes, by="group").set_index("scale")
        >>> bool(table.loc["difference", "low"] > 0), bool(table.loc["difference", "p"] > 0.05)
        (True, True)
    """
    found = list(_all_slopes(outcomes, by, resamples, min_speakers))
    rows = [_row(one, confidence) for one in found]
    for one in found:
        if twins and one.about["encoder"] in twins:
            rows.append(_row(one.less(_twin_of(one, twins[one.about["encoder"]], found)), confidence))
    return pd.DataFrame(rows)


def mean_slopes(
    outcomes: pd.DataFrame,
    by: str | Sequence[str],
    twins: Mapping[str, str],
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    min_speakers: int = FEWEST_SHOWN,
) -> pd.DataFrame:
    """`error_slopes`' mean over the encoders that have a twin: what holds for encoders of their kind.

    The same speakers are resampled for all encoders. Where the encoders differ by more than that noise explains, the
    variance between them, by the method of moments (DerSimonian and Laird 1986), is added: encoders are a sample, too;
    it is small, so Student's quantiles have the degrees of freedom of Satterthwaite (1946) for the sum of both.

    Returns:
        One row per task, unit, probe, contrast, scale and ``layers``, without and with the twins subtracted (``twin``:
        missing, "untrained"): the columns of `error_slopes`, ``encoders`` (how many) and ``between`` (the standard
        deviation between them).

    Raises:
        BiasError: as `error_slopes`; or only one encoder has a twin.

    Example:
        >>> from fairlib.bias.simulation import simulate_outcomes
        >>> errors = {"child": [0.1, 0.2, 0.3, 0.4, 0.45], "adult": [0.1, 0.15, 0.2, 0.25, 0.3]}
        >>> three = [simulate_outcomes(errors, 90, by="age_group").assign(encoder=name) for name in ("e", "f", "twin")]
        >>> table = mean_slopes(pd.concat(three), "age_group", {"e": "twin", "f": "twin"})
        >>> table = table.fillna({"twin": "none"}).set_index(["twin", "scale"])
        >>> bool(table.loc[("none", "log_odds"), "low"] > 0), table.loc[("untrained", "log_odds"), "excess"].item()
        (True, 0.0)
    """
    found = list(_all_slopes(outcomes, by, resamples, min_speakers))
    chosen = [one for one in found if one.about["encoder"] in twins]
    if len({one.about["encoder"] for one in chosen}) < 2:
        raise BiasError("A mean over encoders needs two that have a twin.")
    rows = []
    for _, same in itertools.groupby(sorted(chosen, key=_kind), key=_kind):
        alone = list(same)
        beside = [one.less(_twin_of(one, twins[one.about["encoder"]], found)) for one in alone]
        for members, twin in ((alone, None), (beside, "untrained")):
            mean, between = _mean(members)
            told = _row(mean, confidence, between, len(members))
            rows.append(told | {"encoder": "mean", "twin": twin, "encoders": len(members), "between": between})
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class _Slope:
    """One encoder's slope on one scale, and how it moves when speakers are resampled."""

    about: dict
    slope: float
    null: float
    moved: np.ndarray  # the slope in each resample, less the slope; wide enough for so few speakers
    moved_null: np.ndarray  # the same under the null

    def less(self, other: _Slope) -> _Slope:
        return _Slope(
            self.about | {"twin": other.about["encoder"]}, self.slope - other.slope, self.null - other.null,
            self.moved - other.moved, self.moved_null - other.moved_null,
        )  # fmt: skip


def _row(one: _Slope, confidence: float, between: float = 0.0, encoders: int = 1) -> dict:
    """A slope with its interval, its null and its p; ``between`` is the standard deviation between the encoders that it
    is a mean of."""
    people = one.about["n_speakers_a"] + one.about["n_speakers_b"]
    error, freedom = _noise(one.moved, people, between, encoders)
    null_error, null_freedom = _noise(one.moved_null, people, between, encoders)
    quantile = stats.t.ppf((1 + confidence) / 2, freedom)
    reach = quantile * error
    excess = one.slope - one.null
    p = np.nan
    if np.isfinite(excess):
        p = float(2 * stats.t.sf(abs(excess) / null_error, null_freedom)) if null_error > 0 else float(excess == 0)
    return {
        **one.about, "slope": one.slope, "low": one.slope - reach, "high": one.slope + reach, "null": one.null,
        "excess": excess, "excess_low": excess - reach, "excess_high": excess + reach,
        "p": p,
        "detectable": (quantile + stats.t.ppf(POWER, freedom)) * error,
    }  # fmt: skip


def _noise(moved: np.ndarray, people: int, between: float, encoders: int) -> tuple[float, float]:
    """Standard error of a mean over encoders, and its degrees of freedom: the noise is known from so many people only,
    and how much encoders differ from so few of them."""
    of_people, of_encoders = moved.var(), between**2 / encoders
    if not of_encoders:
        return float(np.sqrt(of_people)), people - 2
    weighed = of_people**2 / (people - 2) + of_encoders**2 / (encoders - 1)
    return float(np.sqrt(of_people + of_encoders)), float((of_people + of_encoders) ** 2 / weighed)


def _all_slopes(outcomes, by, resamples: int, min_speakers: int) -> Iterable[_Slope]:
    any_encoder = False
    for sums in speaker_sums(outcomes, by, min_speakers):
        if len(sums.cells) < FEWEST_LAYERS:
            continue
        any_encoder = True
        drawn = {name: sums.resample(members, resamples) for name, members in sums.groups.items()}
        points = {
            name: np.split(speaker_products(sums)[members].sum(axis=0), 5) for name, members in sums.groups.items()
        }
        spread = spread_of_speakers(sums.errors.sum(axis=1), sums.lengths.sum(axis=1), list(sums.groups.values()))
        for contrast, group, others in contrasts_of(sums):
            sizes = sums.sizes([group], others)
            sides, shaken = ([values[group], pool(values, others)] for values in (points, drawn))
            observed = [side[:2] for side in sides]  # errors and units
            # All of a group err alike, as where none of them errs: the odds rest on the half error that is added.
            still = (gap_with_variance("difference", sides[0], sides[1], sizes)[1] == 0).any()
            about = {
                **{column: sums.cells[column][0] for column in ("encoder", "task", "unit", "probe")}, "by": sums.by,
                "contrast": contrast, "n_speakers_a": sizes[0], "n_speakers_b": sizes[1],
                "few_speakers": bool(sizes.min() < min_speakers), "twin": None,
            }  # fmt: skip
            yield from _slopes_of(sums, about, observed, shaken, np.where(still, np.nan, spread), sizes)
    if not any_encoder:
        raise BiasError(f"No encoder in these outcomes has {FEWEST_LAYERS} layers, which a slope over layers needs.")


def _slopes_of(sums: SpeakerSums, about: dict, observed, shaken, spread, sizes) -> Iterable[_Slope]:
    """On every scale, of all layers and of those above the convolutions."""
    noise = [
        (link("log_odds", *moved) - link("log_odds", *found)) * np.sqrt((size + 1) / (size - 1))
        for moved, found, size in zip(shaken, observed, sizes)
    ]
    level = _level(observed)
    null_sides = [(rates * units, units) for rates, (_, units) in zip(_one_odds(observed, noise, spread), observed)]
    # As the sides lie, moved by the noise that the resamples have.
    found_moved, null_moved = (
        [(expit(link("log_odds", *side) + shift) * side[1], side[1]) for side, shift in zip(sides, noise)]
        for sides in (observed, null_sides)
    )
    layers = sums.cells["layer"].to_numpy()
    chosen = {ALL: np.ones(len(layers), bool)}
    if "cnn" in layers and len(layers) > FEWEST_LAYERS:
        chosen[WITHOUT_CNN] = layers != "cnn"
    gap = (link("log_odds", *observed[0]) - link("log_odds", *observed[1])).mean()
    error = (noise[0] - noise[1]).mean(axis=1).std()
    about = about | {"gap": gap, "gap_p": float(2 * stats.norm.sf(abs(gap) / error)) if error > 0 else np.nan}
    for scale in SCALES:
        for name, kept in chosen.items():
            slope, null, moved, moved_null = (
                _slope(_level(sides)[..., kept], (link(scale, *sides[0]) - link(scale, *sides[1]))[..., kept])
                for sides in (observed, null_sides, found_moved, null_moved)
            )
            more = {"scale": scale, "layers": name, "n_layers": int(kept.sum()), "error_span": np.ptp(level[kept])}
            yield _Slope(about | more, float(slope), float(null), moved - moved.mean(), moved_null - moved_null.mean())


def _level(sides) -> np.ndarray:
    """Log odds of the error over both groups, at each layer."""
    return link("log_odds", sides[0][0] + sides[1][0], sides[0][1] + sides[1][1])


def _slope(level: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """By least squares along the last axis."""
    level = level - level.mean(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (level * gap).sum(axis=-1) / (level**2).sum(axis=-1)


def _one_odds(observed, noise, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both groups' error rates under one conditional log odds ratio at all layers, that nearest to the gaps found."""
    (errors_a, units_a), (errors_b, units_b) = observed
    level = (errors_a + errors_b + 1) / (units_a + units_b + 2)
    if not (level < 1).all() or np.isnan(spread).any():
        return np.full(len(level), np.nan), np.full(len(level), np.nan)
    share = units_a / (units_a + units_b)
    gap = link("log_odds", errors_a, units_a) - link("log_odds", errors_b, units_b)
    weight = 1 / np.maximum(np.var(noise[0] - noise[1], axis=0), 1e-12)
    low, high = -8.0, 8.0
    for _ in range(40):  # the gap between groups rises with that between persons
        middle = (low + high) / 2
        rates = constant_odds(level, middle, share, spread)
        below = (weight * (logit(rates[0]) - logit(rates[1]) - gap)).sum() < 0
        low, high = (middle, high) if below else (low, middle)
    return rates


def _kind(one: _Slope) -> tuple[str, ...]:
    return tuple(one.about[name] for name in ("task", "unit", "probe", "contrast", "scale", "layers"))


def _twin_of(one: _Slope, name: str, found: list[_Slope]) -> _Slope:
    *kind, layers = _kind(one)
    for wanted in dict.fromkeys((layers, ALL)):  # a twin that has no cnn is the same with and without
        for other in found:
            if other.about["encoder"] == name and _kind(other) == (*kind, wanted):
                return other
    raise BiasError(f"These outcomes have none of {name!r}, the twin of {one.about['encoder']!r}, by the same probe.")


def _mean(members: list[_Slope]) -> tuple[_Slope, float]:
    """The mean of some encoders' slopes, and the standard deviation between them beyond the speakers' noise."""
    about = members[0].about | {"n_layers": int(np.mean([one.about["n_layers"] for one in members]))}
    for name in ("error_span", "gap"):
        about[name] = float(np.mean([one.about[name] for one in members]))
    about["gap_p"] = max(one.about["gap_p"] for one in members)
    moved, moved_null = (np.array([getattr(one, name) for one in members]) for name in ("moved", "moved_null"))
    mean = _Slope(
        about, float(np.mean([one.slope for one in members])), float(np.mean([one.null for one in members])),
        moved.mean(axis=0), moved_null.mean(axis=0),
    )  # fmt: skip
    excess = [one.slope - one.null for one in members]
    by_chance = (moved - moved.mean(axis=0)).var(axis=1).sum() / (len(members) - 1)
    return mean, float(np.sqrt(max(0.0, np.var(excess, ddof=1) - by_chance)))
