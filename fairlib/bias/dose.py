"""A speaker column that is a number, such as age: how error changes with it from speaker to speaker, layer by layer."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from fairlib.bias.inference import quantiles, studentised
from fairlib.bias.sums import (
    CELL,
    CONFIDENCE,
    PERMUTATIONS,
    POWER,
    RESAMPLES,
    SCALES,
    BiasError,
    everybody,
    link,
    random_numbers,
)
from fairlib.corpora.labels import is_number

MOST_BANDS = 4
FEWEST_SPEAKERS = 10


def dose_slopes(
    outcomes: pd.DataFrame,
    column: str = "age",
    resamples: int = RESAMPLES,
    permutations: int = PERMUTATIONS,
    confidence: float = CONFIDENCE,
) -> pd.DataFrame:
    """Slope of each speaker's error on a number that is recorded of the speaker, at every layer.

    By least squares over speakers, every speaker counting the same. On the scale ``difference`` it is the change of the
    error rate for one more unit (a year, say), on ``ratio`` the factor by which the error rate changes, on ``log_odds``
    the change of its log odds; the last two add half an error and half a hit to each speaker. Intervals resample
    speakers; the null permutes their numbers and studentises the slope by White's standard error, which allows for
    speakers whose errors vary more (White 1980, Econometrica 48:817-838).

    Args:
        outcomes: see `fairlib.outcomes`; several encoders may be concatenated. To look within one group, give the
            outcomes of its speakers alone.
        column: holds one number a speaker. Speakers for whom it is missing are left out.
        resamples: of the speakers; 2000.
        permutations: of the numbers, the same at all layers; 2000.
        confidence: of the intervals; 0.95.

    Returns:
        One row per encoder, task, unit, probe, layer and scale: ``column``; ``estimate, low, high``; ``null_low,
        null_high``, the 95 % range under permutation; ``p`` and ``p_familywise`` over the layers of one encoder, task,
        unit, probe and scale, by the largest statistic; ``detectable``, the slope that would be found with a power of
        .8; ``n_speakers``, ``least`` and ``most`` of the column. On ``log_odds`` a layer at which somebody has more
        errors than units has no numbers, and is not among those that ``p_familywise`` is over.

    Raises:
        BiasError: ``column`` is missing, is no number, differs within a speaker, or is known of fewer than ten
            speakers or of speakers who are all alike.

    Example:
        >>> from fairlib.bias.simulation import simulate_outcomes
        >>> outcomes = simulate_outcomes({"all": [0.3]}, speakers=50)
        >>> age = outcomes["speaker_id"].str[-4:].astype(int) % 10
        >>> dose_slopes(outcomes.assign(age=age))[["scale", "n_speakers", "least", "most"]].values.tolist()[0]
        ['difference', 50, 0.0, 9.0]
    """
    numbers = _numbers(outcomes, column)
    outcomes = outcomes[outcomes["speaker_id"].isin(numbers.index)]
    tables = []
    for sums in everybody(outcomes):
        errors, lengths = sums.errors.sum(axis=1), sums.lengths.sum(axis=1)  # [speakers, layers]
        x, names = numbers.loc[sums.speakers].to_numpy(float), tuple(sums.speakers)
        count = len(x)
        weights = random_numbers(names, resamples, "resample")
        order = np.argsort(random_numbers(names, permutations, "permute"), axis=1)
        stretch = stats.t.ppf(0.5 + confidence / 2, count - 2) / stats.norm.ppf(0.5 + confidence / 2)
        stretch *= np.sqrt((count + 1) / (count - 1))  # exponential weights are too narrow by this
        for scale in SCALES:
            y = link(scale, errors, lengths)
            slope, error = _slopes(x[None], y)
            drawn = _weighted(x, y, weights)
            low, high = (slope + (bound - slope) * stretch for bound in quantiles(drawn, (1 - confidence) / 2))
            moved, moved_error = _slopes(x[order], y)
            statistic, null = np.abs(studentised(slope, error**2)), np.abs(studentised(moved, moved_error**2))
            p, p_familywise = _p_of_layers(statistic[0], null)
            null_low, null_high = quantiles(moved, 0.025)
            spread = stats.t.ppf(0.5 + confidence / 2, count - 2) + stats.t.ppf(POWER, count - 2)
            values = {
                "estimate": slope[0], "low": low[0], "high": high[0], "null_low": null_low, "null_high": null_high,
                "detectable": spread * error[0],
            }  # fmt: skip
            unlink = np.exp if scale == "ratio" else np.asarray
            tables.append(
                sums.cells[CELL].assign(
                    column=column,
                    scale=scale,
                    **{name: unlink(value) for name, value in values.items()},
                    p=p,
                    p_familywise=p_familywise,
                    n_speakers=count,
                    least=x.min(),
                    most=x.max(),
                )
            )
    return pd.concat(tables, ignore_index=True)


def number_of(column: str) -> str:
    """Where the numbers stand of a column that holds their bands."""
    return f"{column}, as a number"


def bands_of(numbers: pd.Series, fewest: int = FEWEST_SPEAKERS) -> pd.Series:
    """The band of each speaker's number, such as "6 to 9": up to four, as equal in size as equal numbers allow.

    Args:
        numbers: one a speaker; where it is missing, so is the band.
        fewest: speakers in a band; with too few there are fewer bands.

    Raises:
        BiasError: there are too few speakers for two bands.

    Example:
        >>> bands_of(pd.Series([6.0, 7.0, 9.0, 30.0, 31.0, 40.0]), fewest=3).tolist()
        ['6 to 9', '6 to 9', '6 to 9', '30 to 40', '30 to 40', '30 to 40']
    """
    for count in range(MOST_BANDS, 1, -1):
        cut = pd.qcut(numbers, count, labels=False, duplicates="drop")
        sizes = cut.value_counts()
        if len(sizes) > 1 and sizes.min() >= fewest:
            ends = numbers.groupby(cut).agg(["min", "max"])
            names = {band: f"{low:g} to {high:g}" for band, low, high in ends.itertuples()}
            return cut.map(names)
    raise BiasError(f"{numbers.name} has no two bands of {fewest} speakers: it is known of {numbers.notna().sum()}.")


def with_bands(outcomes: pd.DataFrame, by: str) -> pd.DataFrame:
    """The outcomes; where ``by`` holds numbers, each speaker's band stands in their place (`bands_of`).

    Example:
        >>> people = pd.DataFrame({"speaker_id": [f"s{n}" for n in range(20)], "age": range(20, 40)})
        >>> with_bands(people, "age")["age"].unique().tolist()
        ['20 to 29', '30 to 39']
    """
    if not is_number(outcomes[by]):
        return outcomes
    known = outcomes[["speaker_id", by]].dropna().drop_duplicates("speaker_id").set_index("speaker_id")[by]
    return outcomes.assign(**{by: outcomes["speaker_id"].map(bands_of(known.astype(float)))})


def _numbers(outcomes: pd.DataFrame, column: str) -> pd.Series:
    """Each speaker's number, where it is known."""
    if column not in outcomes:
        raise BiasError(f"There is no column {column!r} in these outcomes.")
    known = outcomes[["speaker_id", column]].dropna().drop_duplicates()
    numbers = pd.to_numeric(known[column], errors="coerce")
    if numbers.isna().any():
        raise BiasError(f"{column} is no number of speaker {known['speaker_id'][numbers.isna()].iloc[0]}.")
    twice = known["speaker_id"][known["speaker_id"].duplicated()]
    if len(twice):
        raise BiasError(f"{column} differs within speaker {twice.iloc[0]}: it must be the same for a speaker.")
    if len(known) < FEWEST_SPEAKERS or numbers.nunique() < 2:
        raise BiasError(
            f"A slope on {column} needs {FEWEST_SPEAKERS} speakers who are not all alike; it is known of {len(known)}."
        )
    return numbers.set_axis(known["speaker_id"])


def _slopes(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least-squares slopes ``[draws, layers]`` of ``y`` ``[speakers, layers]`` on ``x`` ``[draws, speakers]``, and
    White's standard errors, with the small-sample factor n / (n - 2)."""
    away = x - x.mean(axis=1, keepdims=True)
    total = (away**2).sum(axis=1, keepdims=True)
    centred = y - y.mean(axis=0)
    slope = away @ centred / total
    # Of each speaker: away² (centred - slope · away)², without the array of draws by speakers by layers.
    squares = away**2 @ centred**2 - 2 * slope * (away**3 @ centred) + slope**2 * (away**4).sum(axis=1, keepdims=True)
    return slope, np.sqrt(np.maximum(squares, 0) * len(y) / (len(y) - 2)) / total


def _p_of_layers(statistic: np.ndarray, null: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each layer's p, and that over all layers, of statistics ``[layers]`` and permuted ones ``[draws, layers]``.

    Odds need fewer errors than units: a layer at which somebody has more has no p, and is not of the family.
    """
    known = ~np.isnan(statistic)
    largest = np.where(known, null, -np.inf).max(axis=1, keepdims=True)
    alone, familywise = ((1 + (one >= statistic - 1e-12).sum(axis=0)) / (1 + len(null)) for one in (null, largest))
    return np.where(known, alone, np.nan), np.where(known, familywise, np.nan)


def _weighted(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Slopes ``[draws, layers]`` when speakers weigh ``weights`` ``[draws, speakers]``."""
    share = weights / weights.sum(axis=1, keepdims=True)
    mean_x, mean_y = share @ x, share @ y
    covariance = (share * x) @ y - mean_x[:, None] * mean_y
    return covariance / (share @ x**2 - mean_x**2)[:, None]
