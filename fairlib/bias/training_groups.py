"""What it costs a speaker group that a probe was trained on others, and how groups differ each under its own probe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from fairlib.bias.inference import holm
from fairlib.bias.sums import (
    CELL,
    CONFIDENCE,
    BiasError,
    SpeakerSums,
    contrasts_of,
    link,
    slope,
    speaker_sums,
)
from fairlib.outcomes.training_groups import MIXED, OTHER_HALF, OWN_HALF, trained_on

PENALTY, RANDOM_PENALTY, MEAN_PENALTY, DEEPENING = (
    "penalty",
    "random penalty",
    "mean penalty",
    "mean penalty less cnn's",
)
GAP, OWN_GAP = "gap", "own-taught gap"
_SCALES = ("difference", "log_odds")


def training_group_gaps(outcomes: pd.DataFrame, by: str, confidence: float = CONFIDENCE) -> pd.DataFrame:
    """Penalties of being served by a probe that was trained on others, and gaps by each probe, layer by layer.

    With a group's error under a probe trained on itself and on the other group, on the scale of `fairlib.group_bias`:

    - ``penalty``: of a group, trained on the other less trained on itself, the same people. Zero where the groups do
      not differ by a shift that a probe of one's own undoes.
    - ``random penalty``: the same of halves of the people that were drawn at random: what there is without any groups.
    - ``gap``: first group less second, under a probe trained on the one named in ``group``, or on mixed speakers. The
      gap trained on the second less that trained on the first is the sum of both penalties.
    - ``own-taught gap``: first group less second, each under its own probe.
    - ``mean penalty``, and ``mean penalty less cnn's``: of both groups, and how far it is from the first layer's.

    Intervals and p are of Student's t: the variance over test speakers (by linearisation; speakers are independent, all
    draws, probes and layers of one are taken together), and that over draws of the training speakers. A draw being half
    of them, the variance from draw to draw is that of a study with all of them (half-samples, McCarthy 1969, Review of
    the International Statistical Institute 37:239-264), so it is added whole and not divided by the number of draws.
    Degrees of freedom are Satterthwaite's.

    Args:
        outcomes: from `fairlib.train_across_groups`; several encoders, tasks and units may be concatenated.
        by: the column whose two groups were compared.
        confidence: of the intervals; 0.95.

    Returns:
        One row per encoder, task, unit, layer, ``quantity``, ``group`` and scale ("difference", "log_odds"):
        ``estimate, low, high, p, p_holm`` (over the layers, and for penalties over both groups), ``variance_speakers``
        and ``variance_draws``, whose sum is the variance, ``n_speakers_a, n_speakers_b, n_draws``.

    Raises:
        BiasError: as `fairlib.group_bias`, or outcomes of no such probes, or not of two groups.

    Example:
        >>> gaps = training_group_gaps(outcomes, by="age_group")  # doctest: +SKIP
        >>> gaps.query("quantity == 'penalty' and scale == 'log_odds'")  # doctest: +SKIP
    """
    tables = []
    for kind, mine in outcomes.groupby(["encoder", "task", "unit"], sort=False):
        probes = {sums.cells["probe"].iloc[0]: sums for sums in speaker_sums(mine, by)}
        first = next(iter(probes.values()))
        contrast, group, others = contrasts_of(first)[0]
        wanted = [trained_on(name) for name in (group, *others, MIXED, OWN_HALF, OTHER_HALF)]
        if len(first.groups) != 2 or set(wanted) - set(probes):
            raise BiasError(
                f"{kind[0]} ({kind[1]}, {kind[2]}) has no outcomes of probes trained on two groups of {by} and on "
                "mixed speakers, as fairlib.train_across_groups gives them."
            )
        about = dict(zip(CELL, kind)) | {"by": by, "contrast": contrast, "scale": ""}
        for scale in _SCALES:
            rows = _rows(probes, group, others[0], scale, confidence)
            tables.append(pd.DataFrame(rows).assign(**(about | {"scale": scale})))
    return pd.concat(tables, ignore_index=True)


@dataclass(frozen=True)
class _Estimate:
    """A quantity at every layer: its value, what each speaker of either group adds to it, its value in each draw."""

    value: np.ndarray  # [layers]
    influence: tuple[np.ndarray, ...]  # of each group, [speakers, layers]
    drawn: np.ndarray  # [draws, layers]

    def plus(self, other: _Estimate, times: float = 1.0) -> _Estimate:
        influence = tuple(mine + times * its for mine, its in zip(self.influence, other.influence))
        return _Estimate(self.value + times * other.value, influence, self.drawn + times * other.drawn)

    def less_first(self) -> _Estimate:
        influence = tuple(mine - mine[:, :1] for mine in self.influence)
        return _Estimate(self.value - self.value[:1], influence, self.drawn - self.drawn[:, :1])


def _rows(probes: Mapping[str, SpeakerSums], group: str, other: str, scale: str, confidence: float) -> Iterator[dict]:
    """Rows of one encoder, task, unit and scale."""

    def error(of: str, training: str) -> _Estimate:
        return _error(probes[trained_on(training)], (group, other), of, scale)

    penalties: dict[str, list[tuple[str, _Estimate]]] = {PENALTY: [], RANDOM_PENALTY: []}
    for name, opposite in ((group, other), (other, group)):
        penalties[PENALTY].append((name, error(name, opposite).plus(error(name, name), -1)))
        penalties[RANDOM_PENALTY].append((name, error(name, OTHER_HALF).plus(error(name, OWN_HALF), -1)))
    (_, one), (_, two) = penalties[PENALTY]
    both = one.plus(two)
    mean = _Estimate(both.value / 2, tuple(part / 2 for part in both.influence), both.drawn / 2)
    families = list(penalties.items())
    families += [(MEAN_PENALTY, [("", mean)]), (DEEPENING, [("", mean.less_first())])]
    families += [
        (GAP, [(training, error(group, training).plus(error(other, training), -1))])
        for training in (group, other, MIXED)
    ]
    families += [(OWN_GAP, [("", error(group, group).plus(error(other, other), -1))])]
    sums = next(iter(probes.values()))
    for quantity, made in families:
        tables = [_tested(estimate, confidence) for _, estimate in made]
        adjusted = holm(np.concatenate([table["p"] for table in tables])).reshape(len(tables), -1)
        for (name, _), table, p_holm in zip(made, tables, adjusted):
            sizes = {"n_speakers_a": len(sums.groups[group]), "n_speakers_b": len(sums.groups[other])}
            for place, layer in enumerate(sums.cells["layer"]):
                if quantity == DEEPENING and place == 0:
                    continue  # the first layer itself
                about = {"layer": layer, "quantity": quantity, "group": name, "p_holm": p_holm[place]}
                yield (
                    about | {key: values[place] for key, values in table.items()} | sizes | {"n_draws": len(sums.seeds)}
                )


def _error(sums: SpeakerSums, groups: tuple[str, str], of: str, scale: str) -> _Estimate:
    """A group's error on a scale."""
    members = sums.groups[of]
    errors, units = sums.errors[members].sum(axis=1), sums.lengths[members].sum(axis=1)  # over draws
    total, all_units = errors.sum(axis=0), units.sum(axis=0)
    apart = (errors - total / all_units * units) / all_units * slope(scale, total, all_units)
    influence = tuple(apart if name == of else np.zeros((len(sums.groups[name]), apart.shape[1])) for name in groups)
    drawn = link(scale, sums.errors[members].sum(axis=0), sums.lengths[members].sum(axis=0))
    return _Estimate(link(scale, total, all_units), influence, drawn)


def _tested(estimate: _Estimate, confidence: float) -> dict[str, np.ndarray]:
    """Interval, p and the two variances at every layer."""
    sizes = np.array([len(part) for part in estimate.influence])[:, None]
    parts = np.stack([(part**2).sum(axis=0) for part in estimate.influence]) * sizes / (sizes - 1)
    draws = len(estimate.drawn)
    of_draws = estimate.drawn.var(axis=0, ddof=1) if draws > 1 else np.zeros(len(estimate.value))
    variance = parts.sum(axis=0) + of_draws
    with np.errstate(all="ignore"):
        spent = (parts**2 / (sizes - 1)).sum(axis=0) + of_draws**2 / max(1, draws - 1)
        freedom = variance**2 / spent
        reach = stats.t.ppf((1 + confidence) / 2, freedom) * np.sqrt(variance)
        p = 2 * stats.t.sf(np.abs(estimate.value) / np.sqrt(variance), freedom)
    return {
        "estimate": estimate.value, "low": estimate.value - reach, "high": estimate.value + reach, "p": p,
        "variance_speakers": parts.sum(axis=0), "variance_draws": of_draws,
    }  # fmt: skip
