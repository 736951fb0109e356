"""The gap kind by kind of what was spoken: phones, say, of which some are rare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from fairlib.bias.sums import (
    CONFIDENCE,
    BiasError,
    contrasts_of,
    layer_order,
    link,
    slope,
    speaker_sums,
)
from fairlib.outcomes.mix import same_mix

FEWEST_WHO_SPOKE = 5  # who spoke a kind, in either group; other kinds are left out
_GRID = 80  # standard deviations between kinds that the posterior is summed over
FEWEST_EITHER = 10  # errors, and units that are right, of a kind in either group; of others no odds are told


def gaps_by_kind(
    outcomes: pd.DataFrame,
    by: str,
    kind: str = "phone",
    within: Sequence[str] = ("duration",),
    classes: Mapping[str, str] | None = None,
    confidence: float = CONFIDENCE,
) -> pd.DataFrame:
    """Each kind's gap between two groups, drawn towards the others' where it rests on little, and its share in the gap.

    The kinds of a layer are taken together: their true log odds ratios are normal about the mean of their class, with
    one standard deviation, of which nothing is known beforehand; their errors have the covariance that the speakers
    give (one person's phones go up and down together). A kind's estimate is the posterior mean, its interval the
    posterior's, over all standard deviations (a normal hierarchical model: Gelman et al., Bayesian Data Analysis, 2013,
    ch. 5.4).

    Args:
        outcomes: counted by kind, as of ``PhoneProbe(by_phone=True)``; several encoders may be concatenated.
        by: a column with one value a speaker; two groups.
        kind: column of the kinds.
        within: columns whose mix within a kind is made the same in both groups (`fairlib.outcomes.mix.same_mix`).
        classes: of the kinds, towards whose means they are drawn; without it there is one. Kinds of no class are left
            out.
        confidence: of the intervals; 0.95.

    Returns:
        One row per encoder, layer and kind: ``class``, ``share`` of the units, ``error`` over both groups, ``raw``, the
        log odds ratio as counted, with ``raw_error``, its standard error; ``estimate, low, high``, drawn together;
        ``points``, what the kind adds to the difference between the groups' errors at the same mix, in percentage
        points, with ``points_low, points_high``; ``between``, the standard deviation of true gaps about their class's
        mean (the posterior's mean); ``contrast, by``. The points of all kinds add up to the difference. Odds are
        missing of kinds that are nearly always wrong or nearly always right.

    Raises:
        BiasError: as `fairlib.group_bias`, or there are not two groups.

    Example:
        >>> by_phone = fairlib.probe("pocket-hubert", PhoneProbe(by_phone=True), "speechocean762")  # doctest: +SKIP
        >>> gaps_by_kind(by_phone, by="age_group").nlargest(5, "points")  # doctest: +SKIP
    """
    tables = []
    for _, mine in outcomes.groupby("encoder", sort=False):
        sums = next(speaker_sums(mine.drop_duplicates(["speaker_id", "layer", by]).assign(errors=0, length=1), by))
        contrast, group, others = contrasts_of(sums)[0]
        if len(sums.groups) != 2:
            raise BiasError(f"Kinds are compared between two groups; {by} has {', '.join(sums.groups)}.")
        chosen = mine[mine["speaker_id"].isin(sums.speakers)]
        for layer in layer_order(chosen["layer"].unique()):
            rows = same_mix(chosen[chosen["layer"] == layer], by, [kind, *within])
            table = _of_layer(rows, by, kind, (group, others[0]), classes, confidence)
            about = {"encoder": mine["encoder"].iloc[0], "layer": layer, "by": by, "contrast": contrast}
            tables.append(table.assign(**about))
    return pd.concat(tables, ignore_index=True)


def _of_layer(rows, by, kind, groups, classes, confidence) -> pd.DataFrame:
    """All kinds of one layer."""
    counts = rows.groupby([by, "speaker_id", kind], observed=True)[["errors", "length"]].sum()
    sides = [counts.loc[group].unstack(kind, fill_value=0.0) for group in groups]
    spoken = [set(side["length"].columns[(side["length"] > 0).sum() >= FEWEST_WHO_SPOKE]) for side in sides]
    kinds = sorted(name for name in set.intersection(*spoken) if classes is None or name in classes)
    gap, points, error, share = (np.zeros(len(kinds)) for _ in range(4))
    covariance, points_variance, known = (
        np.zeros((len(kinds), len(kinds))),
        np.zeros(len(kinds)),
        np.full(len(kinds), True),
    )
    for sign, side in zip((1, -1), sides):
        wrong, units = (side[column][kinds].to_numpy(float) for column in ("errors", "length"))
        errors, total, people = wrong.sum(axis=0), units.sum(axis=0), len(units)
        rate, of_all = errors / total, total / side["length"].to_numpy().sum()
        apart = (wrong - rate * units) / total  # what each speaker adds to a kind's error
        odds = apart * slope("log_odds", errors, total)
        gap, points = gap + sign * link("log_odds", errors, total), points + sign * 100 * of_all * rate
        error, share = error + rate / 2, share + of_all / 2
        covariance = covariance + odds.T @ odds * people / (people - 1)
        points_variance = points_variance + ((100 * of_all * apart) ** 2).sum(axis=0) * people / (people - 1)
        known &= (errors >= FEWEST_EITHER) & (total - errors >= FEWEST_EITHER)
    table = pd.DataFrame({kind: kinds, "share": share, "error": error, "points": points})
    table["class"] = [classes[name] if classes else "all" for name in kinds]
    reach = stats.norm.ppf((1 + confidence) / 2)
    table["points_low"], table["points_high"] = (points + side * reach * np.sqrt(points_variance) for side in (-1, 1))
    told = table[known].assign(raw=gap[known], raw_error=np.sqrt(np.diag(covariance))[known])
    if len(told) > 2:
        made = drawn_together(gap[known], covariance[np.ix_(known, known)], told["class"].tolist())
        told["estimate"], deviation, told["between"] = made
        told["low"], told["high"] = told["estimate"] - reach * deviation, told["estimate"] + reach * deviation
    columns = ["raw", "raw_error", "estimate", "low", "high", "between"]
    return table.join(told.reindex(columns=columns))


def drawn_together(
    raw: np.ndarray, covariance: np.ndarray, classes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, float]:
    """Estimates drawn towards the mean of their class, their standard deviations, and that of the true values.

    Args:
        raw: estimates ``[kinds]``, normal about the true values with this ``covariance`` ``[kinds, kinds]``.
        classes: of each kind; the means of the classes are estimated too.

    Example:
        >>> estimate, deviation, between = drawn_together(np.array([0.0, 1.0, 0.5]), np.diag([0.01, 0.01, 4.0]), "aaa")
        >>> estimate.round(1).tolist(), round(between, 1)
        ([0.0, 1.0, 0.5], 0.9)
    """
    design = pd.get_dummies(pd.Series(list(classes))).to_numpy(float)
    identity = np.eye(len(raw))
    between = np.linspace(0, 1, _GRID + 1)[1:] * 4 * max(float(np.std(raw)), 1e-3)
    likelihood, means, spreads = [], [], []
    for variance in between**2:
        precision = np.linalg.inv(covariance + variance * identity)
        weight = np.linalg.inv(design.T @ precision @ design)
        mean = weight @ design.T @ precision @ raw
        rest = raw - design @ mean
        determinants = np.linalg.slogdet(precision)[1] + np.linalg.slogdet(weight)[1]
        likelihood.append((determinants - rest @ precision @ rest) / 2)  # restricted: Patterson and Thompson 1971
        gain = variance * precision
        left = (identity - gain) @ design
        means.append(design @ mean + gain @ rest)
        # The posterior's variance, and that of the estimated means.
        spreads.append(np.diag(variance * (identity - gain) + left @ weight @ left.T))
    weights = np.exp(np.array(likelihood) - np.max(likelihood))
    weights /= weights.sum()
    estimate = weights @ np.array(means)
    variance_of = weights @ np.array(spreads) + weights @ (np.array(means) - estimate) ** 2
    return estimate, np.sqrt(variance_of.clip(0)), float(weights @ between)
