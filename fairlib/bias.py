"""Bias: errors of speaker groups and the gaps between them, layer by layer, with intervals that resample speakers.

Speakers, not utterances, are the sample: one person's utterances share a voice, a microphone and a room. The same
resampled speakers serve every layer and encoder, so that their estimates can be compared in pairs.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from fairlib.corpora import SPEAKER_COLUMNS

SCALES = ("difference", "ratio", "log_odds")

# The group that the other one is set against, where there are two. Fixed beforehand: an order that followed the
# results would turn every gap positive.
REFERENCE = {"sex": "male", "age_group": "adult", "group": "clear"}
CELL = ["encoder", "task", "unit", "probe", "layer"]


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
    columns = [column for column in SPEAKER_COLUMNS if column in people and column != "age"]
    return [column for column in columns if (people[column].value_counts() >= speakers).sum() >= 2]


def group_errors(outcomes: pd.DataFrame, by: str, resamples: int = 2000, confidence: float = 0.95) -> pd.DataFrame:
    """Error of each speaker group at every layer: errors over units, all utterances and seeds together.

    Args:
        outcomes: see `fairlib.outcomes`; several encoders may be concatenated.
        by: a speaker column. Speakers for whom it is missing are left out, and so are groups of one speaker.
        resamples: speakers of each group are drawn with replacement this many times.
        confidence: of the percentile interval.

    Returns:
        One row per encoder, task, unit, probe, layer and group: ``error, low, high, n_speakers, n_utterances``.

    Raises:
        BiasError: ``by`` is no column, or fewer than two groups have two speakers.
    """
    rows = []
    for cells, groups, sample in _samples(outcomes, by, resamples):
        rates = {name: sample[name][0] / sample[name][1] for name in groups}
        for name, (n_speakers, n_utterances) in groups.items():
            low, high = _interval(rates[name][1:], confidence)
            frame = cells.assign(by=by, group=name, error=rates[name][0], low=low, high=high)
            rows.append(frame.assign(n_speakers=n_speakers, n_utterances=n_utterances))
    return pd.concat(rows, ignore_index=True)


def group_bias(outcomes: pd.DataFrame, by: str, resamples: int = 2000, confidence: float = 0.95) -> pd.DataFrame:
    """Gaps between speaker groups at every layer, on three scales side by side.

    ``difference`` is the first group's error less the second's, ``ratio`` the first over the second, ``log_odds`` the
    natural logarithm of the odds ratio. No one of them will do: with the same odds ratio everywhere, a ratio rises as
    errors fall, and a difference is largest near 45 % error. With two groups there is one contrast, against the group
    of `REFERENCE` (or else the last by name); with more, each group against all others. Ratios and odds add half an
    error to each side, so that a cell without errors stays finite; odds of an error rate of 1 or more are missing.

    Args, Raises:
        as `group_errors`.

    Returns:
        One row per encoder, task, unit, probe, layer, contrast ("child vs adult") and scale:
        ``estimate, low, high, n_speakers_a, n_speakers_b, n_utterances``.
    """
    rows = []
    for cells, groups, sample in _samples(outcomes, by, resamples):
        names = sorted(groups, key=lambda name: (name == REFERENCE.get(by), name))
        if len(names) == 2:
            contrasts = [(names[0], names[1], [names[1]])]
        else:
            contrasts = [(name, "all others", [other for other in names if other != name]) for name in names]
        for a, b, members in contrasts:
            errors_b = sum(sample[member][0] for member in members)
            lengths_b = sum(sample[member][1] for member in members)
            for scale in SCALES:
                values = _gap(scale, *sample[a], errors_b, lengths_b)
                low, high = _interval(values[1:], confidence)
                frame = cells.assign(by=by, contrast=f"{a} vs {b}", scale=scale, estimate=values[0], low=low, high=high)
                rows.append(
                    frame.assign(
                        n_speakers_a=groups[a][0],
                        n_speakers_b=sum(groups[member][0] for member in members),
                        n_utterances=sum(groups[name][1] for name in (a, *members)),
                    )
                )
    return pd.concat(rows, ignore_index=True)


def _gap(scale: str, errors_a, lengths_a, errors_b, lengths_b) -> np.ndarray:
    if scale == "difference":
        return errors_a / lengths_a - errors_b / lengths_b
    rate_a, rate_b = ((e + 0.5) / (n + 1) for e, n in ((errors_a, lengths_a), (errors_b, lengths_b)))
    if scale == "ratio":
        return rate_a / rate_b
    with np.errstate(invalid="ignore", divide="ignore"):
        odds = [np.where(rate < 1, rate / (1 - rate), np.nan) for rate in (rate_a, rate_b)]
        return np.log(odds[0]) - np.log(odds[1])


def _interval(values: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    tail = (1 - confidence) / 2
    return tuple(np.quantile(values, [tail, 1 - tail], axis=0))


def _check(outcomes: pd.DataFrame, by: str) -> None:
    if by not in outcomes or by not in SPEAKER_COLUMNS:
        allowed = ", ".join(group_columns(outcomes)) or "none"
        raise BiasError(f"There is no speaker group column {by!r} in these outcomes; columns with groups: {allowed}.")


def _samples(outcomes: pd.DataFrame, by: str, resamples: int):
    """For each set of layers that share speakers: its cells, its groups, and resampled error and unit counts.

    Counts are ``[1 + resamples, cells]`` a group; row 0 is the sample itself.
    """
    _check(outcomes, by)
    known = outcomes[outcomes[by].notna()]
    for _, part in known.groupby(["encoder", "task", "unit", "probe"], sort=False):
        people = part.groupby("speaker_id")[by].first()
        counts = people.value_counts()
        if (counts >= 2).sum() < 2:
            raise BiasError(
                f"Comparing {by} needs two groups with two speakers each; there are "
                + ", ".join(f"{n} {name}" for name, n in counts.sort_index().items())
                + "."
            )
        sums = part.groupby(["speaker_id", "layer"])[["errors", "length"]].sum().unstack("layer")
        layers = layer_order(part["layer"])
        cells = part[CELL].drop_duplicates().set_index("layer").loc[layers].reset_index()[CELL]
        groups, sample = {}, {}
        for number, name in enumerate(sorted(counts.index[counts >= 2])):
            members = people.index[people == name].sort_values()
            errors = sums.loc[members, "errors"][layers].to_numpy(float)
            lengths = sums.loc[members, "length"][layers].to_numpy(float)
            # Seed and order of speakers depend on names alone: every encoder meets the same resamples.
            draws = np.random.default_rng([0, number]).multinomial(
                len(members), [1 / len(members)] * len(members), size=resamples
            )
            weights = np.vstack([np.ones(len(members)), draws])
            sample[name] = (weights @ errors, weights @ lengths)
            utterances = part.loc[part["speaker_id"].isin(members), "utterance_id"].nunique()
            groups[name] = (len(members), utterances)
        yield cells, groups, sample
