"""Calibration: what the measures of bias do on simulated studies whose truth is planted.

Run: python bench/calibration.py [--studies 1000] [--out fairlib/assets/calibration.parquet]
Each block of studies is kept in --parts when it is done; a run that was stopped goes on from there.

Writes one tidy table: topic, test, scale, condition, n_speakers (per group), value, low, high (95 % over studies),
studies. Topics:
- false_positives: share of studies without any gap in which p < 0.05 (value should be 0.05, family-wise too)
- coverage: share of studies whose 95 % interval holds the planted gap, by method (value should be 0.95)
- width, missing: mean width of the same intervals, and share of studies in which there is none
- largest_gap: mean of the estimate, of its null mean, and of the excess, where groups are alike or differ as planted
- artefact: gaps that one constant odds ratio makes at each error (exact, no simulation)
- association: share of studies with an association of bias and error, by a rank test over layers as usual, and by slope
- design: the same share, by slope, with the people and errors of published outcomes and gaps that are planted
- teaching: share of studies of made-up voices, alike, shifted or noisier, in which cross-group training shows a penalty
  of both groups, or a gap where each group has its own back end
- power: share of studies in which a gap of the size that `smallest_gap` names is found (value should be 0.80)

What concerns one layer alone is simulated many studies at a time, as layers that have nothing in common.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import os
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from fairlib.base.tasks import TASKS
from fairlib.bias import BETWEEN, SCALES, WORST, bias_differences, group_bias, group_errors, link, slope
from fairlib.bias.adjustment import adjusted_gaps
from fairlib.bias.association import ALL, error_slopes
from fairlib.bias.power import smallest_gap
from fairlib.bias.simulation import constant_odds, simulate_outcomes, spread_of_speakers
from fairlib.bias.sums import speaker_sums
from fairlib.bias.training_groups import OWN_GAP, PENALTY, RANDOM_PENALTY, training_group_gaps
from fairlib.encoders.simulated import simulate_voices
from fairlib.probes import probe_characters, probe_speakers
from fairlib.probes.training_groups import train_across_groups

SPEAKERS = (5, 10, 30, 100)
LEVELS = (0.05, 0.15, 0.30, 0.45)
ODDS = 0.5  # planted log odds ratio
VOICES = {"alike": {}, "shifted": {"shift": 0.2}, "noisier": {"noise": 1.5}}  # of the second group
CROSSED = 200  # studies at most that are crossed: each trains twenty back ends
DRAWS = 1000  # resamples and permutations in each study


def truth(scale: str, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Planted gap on a scale."""
    if scale == "log_odds":
        return np.log(one / (1 - one)) - np.log(other / (1 - other))
    return one - other if scale == "difference" else one / other


# ---- blocks of many studies at once: each study is len(LEVELS) layers ----


def gap_planted(n: int, studies: int):
    """A constant odds ratio: do intervals hold the gap?"""
    worse, other = constant_odds(LEVELS, ODDS)
    for count, seed in _batches(studies, 2 * n * 20):
        outcomes = _many({"a": worse, "b": other}, count, n, seed)
        bias = group_bias(outcomes, "group", resamples=DRAWS, permutations=2)
        yield _held("stretched percentile", bias, "two groups", lambda scale: truth(scale, worse, other))
        errors = group_errors(outcomes, "group", DRAWS).assign(scale="error")
        for group, planted in (("a", worse), ("b", other)):
            rows = errors[errors["group"] == group]
            yield _held("error of a group, over units", rows, f"group {group}", lambda scale, at=planted: at)
            over_speakers = rows.drop(columns=["low", "high"]).rename(
                columns={"low_macro": "low", "high_macro": "high"}
            )
            yield _held(
                "error of a group, over speakers", over_speakers, f"group {group}", lambda scale, at=planted: at
            )
        for method, rows in _other_intervals(outcomes, np.random.default_rng(seed)).groupby("method", sort=False):
            yield _held(method, rows, "two groups", lambda scale: truth(scale, worse, other))


def nothing_planted(n: int, studies: int):
    """Two groups of recognised speech without a gap; and what comes of taking utterances for people."""
    for count, seed in _batches(studies, 2 * n * 20):
        outcomes = _many({"a": LEVELS, "b": LEVELS}, count, n, seed)
        bias = group_bias(outcomes, "group", resamples=2, permutations=DRAWS)
        yield _alarms("gap", bias, "two groups", bias["p"] < 0.05)
        table = outcomes.pivot(index=["group", "utterance_id"], columns="layer", values=["errors", "length"])
        rate = table["errors"] / table["length"]
        rate = rate[sorted(rate.columns, key=int)]
        p = stats.ttest_ind(rate.loc["a"], rate.loc["b"], equal_var=False).pvalue
        rows = pd.DataFrame({"layer": rate.columns, "scale": "difference"})
        yield _alarms("utterances as sample", rows, "two groups", p < 0.05)


def nothing_planted_identification(n: int, studies: int):
    """Two groups without a gap, right or wrong, five seeds that each bring something of their own."""
    condition = "speaker identification, five seeds"
    for count, seed in _batches(studies, 2 * n * 5 * 5):
        outcomes = _many(
            {"a": LEVELS, "b": LEVELS}, count, n, seed, utterances=5, units=1, spread=1.0, seeds=5, seed_spread=0.1
        )
        bias = group_bias(outcomes, "group", resamples=DRAWS, permutations=DRAWS)
        yield _alarms("gap", bias, condition, bias["p"] < 0.05)
        yield _held("stretched percentile", bias, condition, _none)


def unequal_groups(n: int, studies: int):
    """No gap, but one group four times as large and three times as alike: where plain permutation goes wrong."""
    condition = "unequal sizes and spreads"
    for count, seed in _batches(studies, 5 * n * 20):
        outcomes = _many({"a": LEVELS, "b": LEVELS}, count, {"a": n, "b": 4 * n}, seed, spread={"a": 0.9, "b": 0.3})
        bias = group_bias(outcomes, "group", resamples=DRAWS, permutations=DRAWS)
        yield _alarms("gap", bias, condition, bias["p"] < 0.05)
        outside = (bias["estimate"] < bias["null_low"]) | (bias["estimate"] > bias["null_high"])
        yield _alarms("permutation, not studentised", bias, condition, outside)
        yield _held("stretched percentile", bias, condition, _none)


def many_groups(n: int, studies: int):
    """Eight groups that are alike, and eight that differ."""
    alike = dict.fromkeys("abcdefgh", np.array(LEVELS))
    differ = {name: np.array(LEVELS) + 0.015 * place for place, name in enumerate("abcdefgh")}
    for condition, rates in (("eight groups alike", alike), ("eight groups that differ", differ)):
        levels = np.stack(list(rates.values()))
        planted = {WORST: np.ptp(levels, axis=0), BETWEEN: np.std(levels, axis=0, ddof=1)}
        for count, seed in _batches(studies, 8 * n * 20):
            bias = group_bias(_many(rates, count, n, seed), "group", resamples=DRAWS, permutations=DRAWS)
            over_all = bias["contrast"].isin([WORST, BETWEEN])
            if rates is alike:
                yield _alarms("gap", bias[~over_all], condition, bias[~over_all]["p"] < 0.05)
            for contrast, rows in bias[over_all].groupby("contrast"):
                if rates is alike:
                    yield _alarms(contrast, rows, condition, rows["p"] < 0.05)
                rows = rows[rows["scale"] == "difference"]
                for what in ("estimate", "null_mean", "excess"):
                    test = f"{contrast}: {what.replace('_', ' ')}"
                    yield _rows("largest_gap", test, rows, condition, rows[what])
                study, level = _place(rows)
                yield _rows("largest_gap", f"{contrast}: planted", rows, condition, planted[contrast][level])
                yield _held(contrast, rows, condition, lambda scale, at=planted[contrast]: at)


def gap_as_named(n: int, studies: int):
    """A difference of the size that `smallest_gap` names: is it found as often as promised?"""
    gap = smallest_gap(_deviation(), _deviation(), n, n)
    for count, seed in _batches(studies, 2 * n * 20):
        rates = {"a": np.full(len(LEVELS), 0.25 + gap / 2), "b": np.full(len(LEVELS), 0.25 - gap / 2)}
        bias = group_bias(_many(rates, count, n, seed), "group", resamples=2, permutations=DRAWS)
        rows = bias[bias["scale"] == "difference"]
        yield _rows("power", "found at the smallest gap", rows, "two groups", rows["p"] < 0.05)


def _batches(studies: int, rows_of_layer: int):
    """Number of studies and seed of each batch, so that a table stays below a few hundred thousand rows."""
    size = int(np.clip(400_000 // (rows_of_layer * len(LEVELS)), 1, 100))
    for start in range(0, studies, size):
        yield min(size, studies - start), rows_of_layer * 100_000 + start


def _many(rates: dict, count: int, speakers, seed: int, **named) -> pd.DataFrame:
    """As many studies as `count`, each `len(LEVELS)` layers."""
    rates = {group: np.tile(levels, count) for group, levels in rates.items()}
    return simulate_outcomes(rates, speakers, seed=seed, layer_correlation=0.0, **named)


def _place(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Study within its batch, and number of the level, of each row."""
    return np.divmod(rows["layer"].astype(int).to_numpy(), len(LEVELS))


def _rows(topic, test, rows, condition, values) -> pd.DataFrame:
    study, _ = _place(rows)
    return pd.DataFrame(
        {"topic": topic, "test": test, "scale": rows["scale"].to_numpy(), "condition": condition, "study": study,
         "value": np.asarray(values, dtype=float)}
    )  # fmt: skip


def _alarms(test, rows, condition, values) -> pd.DataFrame:
    return _rows("false_positives", test, rows, condition, values)


def _none(scale: str) -> np.ndarray:
    return np.full(len(LEVELS), 1.0 if scale == "ratio" else 0.0)


def _held(method, rows, condition, planted) -> pd.DataFrame:
    """Coverage and width of intervals; `planted` gives the truth at each level."""
    tables = []
    for scale, mine in rows.groupby("scale", sort=False):
        there = np.isfinite(mine["low"]) & np.isfinite(mine["high"])
        tables.append(_rows("missing", method, mine, condition, ~there))
        mine = mine[there]
        true = planted(scale)[_place(mine)[1]]
        tables.append(_rows("coverage", method, mine, condition, (mine["low"] <= true) & (true <= mine["high"])))
        tables.append(_rows("width", method, mine, condition, mine["high"] - mine["low"]))
    return pd.concat(tables)


# ---- blocks of one study at a time: what concerns several layers together ----


def layers_together(n: int, studies: int):
    """Family-wise tests over layers and groups, differences between layers, and regressions, without any gap."""
    for study in range(studies):
        values = []
        outcomes = simulate_outcomes({"a": LEVELS, "b": LEVELS}, speakers=n, seed=study + 10_000 * n)
        bias = group_bias(outcomes, "group", resamples=2, permutations=DRAWS)
        for scale, rows in bias.groupby("scale"):
            values.append(("gap, family-wise", scale, "two groups, four layers", (rows["p_familywise"] < 0.05).any()))
            values.append(("gap, Holm", scale, "two groups, four layers", (rows["p_holm"] < 0.05).any()))
        ends = [(("simulated", "3"), ("simulated", "0"))]
        for row in bias_differences(outcomes, "group", ends, resamples=DRAWS).itertuples():
            values.append(("difference between layers", row.scale, "two groups", row.p < 0.05))
        noise = np.random.default_rng(study).standard_normal(len(outcomes))
        adjusted = adjusted_gaps(outcomes.assign(noise=noise).query("layer == '2'"), "group", ["noise"])
        values.append(("adjusted, Poisson", "log_ratio", "two groups", adjusted["p"][0] < 0.05))
        outcomes = simulate_outcomes({"a": [0.3], "b": [0.3]}, n, 5, units=1, spread=1.0, seed=study + 10_000 * n)
        noise = np.random.default_rng(study).standard_normal(len(outcomes))
        adjusted = adjusted_gaps(outcomes.assign(noise=noise), "group", ["noise"])
        values.append(("adjusted, logistic", "log_odds", "two groups", adjusted["p"][0] < 0.05))
        if n <= 30:
            outcomes = simulate_outcomes(dict.fromkeys("abcdefgh", LEVELS[:2]), n, 10, seed=study + 10_000 * n)
            bias = group_bias(outcomes, "group", resamples=2, permutations=DRAWS)
            kind = bias["contrast"].where(bias["contrast"].isin([WORST, BETWEEN]), "gap")
            for (test, scale), rows in bias.groupby([kind, "scale"]):
                alarm = (rows["p_familywise"] < 0.05).any()
                values.append((f"{test}, family-wise", scale, "eight groups, two layers", alarm))
        table = pd.DataFrame(values, columns=["test", "scale", "condition", "value"])
        yield table.assign(topic="false_positives", study=study)


def layers_together_planted(n: int, studies: int):
    """Do intervals of differences between layers, and of regressions, hold what was planted?"""
    worse, other = constant_odds(LEVELS, ODDS)
    for study in range(studies):
        outcomes = simulate_outcomes({"a": worse, "b": other}, speakers=n, seed=study + 10_000 * n)
        values = []
        for row in bias_differences(outcomes, "group", [(("simulated", "3"), ("simulated", "0"))], DRAWS).itertuples():
            gaps = truth(row.scale, worse, other)
            planted = gaps[3] / gaps[0] if row.scale == "ratio" else gaps[3] - gaps[0]
            values.append(("difference between layers", row.scale, row.low <= planted <= row.high))
        noise = np.random.default_rng(study).standard_normal(len(outcomes))
        row = adjusted_gaps(outcomes.assign(noise=noise).query("layer == '2'"), "group", ["noise"]).iloc[0]
        held = row["low"] <= np.log(worse[2] / other[2]) <= row["high"]
        values.append(("adjusted, Poisson", "log_ratio", held))
        table = pd.DataFrame(values, columns=["test", "scale", "value"])
        yield table.assign(topic="coverage", condition="two groups", study=study)


def bias_and_error(n: int, studies: int):
    """Eight layers of falling error: one odds ratio for all, or bias that goes with error, against it, or neither."""
    levels, spread = np.linspace(0.05, 0.45, 8), 0.5
    odds = {
        "constant odds": ODDS,
        "planted: rises with error": np.linspace(0.1, 1.1, 8),
        "planted: falls with error": np.linspace(1.1, 0.1, 8),
        "planted: without order": np.array([0.3, 0.9, 0.5, 1.1, 0.2, 0.7, 0.4, 0.6]),
    }
    for study in range(studies):
        values = []
        for condition, planted in odds.items():
            a, b = constant_odds(levels, planted, spread=spread)
            outcomes = simulate_outcomes({"a": a, "b": b}, speakers=n, seed=study + 10_000 * n, spread=spread)
            usual = _usual_rank_test(outcomes)
            for row in error_slopes(outcomes, "group", resamples=DRAWS).itertuples():
                said = {
                    "rank test over layers, as usual": usual[row.scale],
                    "slope beyond one odds ratio": row.p < 0.05,
                }
                if condition.endswith("with error"):
                    direction = 1 if "rises" in condition else -1
                    said["slope, as planted"] = row.p < 0.05 and row.excess * direction > 0
                values += [("association", test, row.scale, condition, value) for test, value in said.items()]
                if condition == "constant odds":
                    alarm = row.p < 0.05
                    values.append(("false_positives", "bias and error, by slope", row.scale, condition, alarm))
                values.append(("coverage", "slope", row.scale, condition, _holds_slope(row, levels, a, b)))
        yield pd.DataFrame(values, columns=["topic", "test", "scale", "condition", "value"]).assign(study=study)


def _usual_rank_test(outcomes: pd.DataFrame) -> dict[str, bool]:
    """Is the rank correlation over layers of error and size of the gap significant, as if layers were a sample?"""
    sums = outcomes.groupby(["layer", "group"])[["errors", "length"]].sum().unstack()
    level = sums["errors"].sum(axis=1) / sums["length"].sum(axis=1)
    sides = [(sums["errors"][group].to_numpy(float), sums["length"][group].to_numpy(float)) for group in ("a", "b")]
    sizes = {scale: np.abs(link(scale, *sides[0]) - link(scale, *sides[1])) for scale in SCALES}
    return {scale: stats.spearmanr(level, size).pvalue < 0.05 for scale, size in sizes.items()}


def _holds_slope(row, levels: np.ndarray, a: np.ndarray, b: np.ndarray) -> bool:
    """Does the interval hold the slope of the planted gaps?"""
    gaps = truth(row.scale, a, b)
    x = np.log(levels / (1 - levels))
    planted = np.polyfit(x, np.log(gaps) if row.scale == "ratio" else gaps, 1)[0]
    return row.low <= planted <= row.high


DESIGN = "pocket-hubert"  # whose errors and people `bias_and_error_as_published` keeps
RATIOS = (1.0, 1.5, 2.0, 3.0)  # of the gap where the error is largest to that where it is smallest
NULL_TIMES = 5  # as many studies where nothing is planted: 5 % is to be known from 7 %
GAPS = {"sid": (0.9,), "asr": (0.15, 0.3)}  # their mean, in log odds between persons


def bias_and_error_as_published(n: int, studies: int):
    """As `bias_and_error`, with the people and the errors of published outcomes: what can this design find?

    People are drawn with replacement from each group; their errors are thinned, or units that were right turned wrong,
    until the group errs as planted. So people, their likeness at all layers, and the layers' errors are the real ones.
    """
    for task, probed in (("sid", probe_speakers), ("asr", probe_characters)):
        outcomes = probed(DESIGN, "speechocean762")
        sums = next(speaker_sums(outcomes[outcomes["unit"] == TASKS[task].units[0].name], "age_group"))
        spread = spread_of_speakers(sums.errors.sum(axis=1), sums.lengths.sum(axis=1), list(sums.groups.values()))
        wrong, units = ([values[members].sum(axis=(0, 1)) for members in sums.groups.values()]
                        for values in (sums.errors, sums.lengths))  # fmt: skip
        level = sum(wrong) / sum(units)
        x = np.log(level / (1 - level))
        place = (x - x.min()) / np.ptp(x)
        for gap, ratio, direction in itertools.product(GAPS[task], RATIOS, (1, -1)):
            if ratio == 1 and direction == -1:
                continue
            planted = 1 + (ratio - 1) * (place if direction == 1 else 1 - place)
            rates = constant_odds(level, gap * planted / planted.mean(), units[0] / sum(units), spread)
            name = f"{task}, gap {gap}, R {ratio}" + (
                "" if ratio == 1 else " with error" if direction == 1 else " against"
            )
            for study in range(studies * (NULL_TIMES if ratio == 1 else 1)):
                made = _redrawn(sums, rates, np.random.default_rng([study, direction + 1, int(10 * ratio)]))
                values = [
                    ("design", "slope beyond one odds ratio", row.scale, name, row.p < 0.05)
                    for row in error_slopes(made, "group", resamples=DRAWS).itertuples() if row.layers == ALL
                ]  # fmt: skip
                yield pd.DataFrame(values, columns=["topic", "test", "scale", "condition", "value"]).assign(study=study)


def _redrawn(sums, rates, rng: np.random.Generator) -> pd.DataFrame:
    """Outcomes of people drawn from the real ones whose groups err at these rates; a person's units in one row."""
    tables = []
    for (group, members), wanted in zip(sums.groups.items(), rates):
        drawn = rng.choice(members, len(members))
        errors, lengths = sums.errors[drawn].astype(int), sums.lengths[drawn].astype(int)
        found = sums.errors[members].sum(axis=(0, 1)) / sums.lengths[members].sum(axis=(0, 1))
        errors = rng.binomial(errors, np.minimum(1, wanted / found)) + rng.binomial(
            lengths - errors, np.maximum(0, (wanted - found) / (1 - found))
        )
        who, seed, layer = (place.ravel() for place in np.indices(errors.shape))
        names = np.char.add(f"{group}-", who.astype(str))
        tables.append(
            pd.DataFrame(
                {
                    "speaker_id": names,
                    "utterance_id": names,
                    "seed": seed,
                    "layer": sums.cells["layer"].to_numpy()[layer],
                    "errors": errors.ravel(),
                    "length": lengths.ravel(),
                    "group": group,
                }
            )  # fmt: skip
        )
    constants = {column: sums.cells[column][0] for column in ("encoder", "task", "unit", "probe")}
    return pd.concat(tables).assign(**constants)


@functools.cache
def _deviation() -> float:
    """Deviation between the error rates of speakers of the kind that `gap_as_named` simulates, known well."""
    of_speaker = simulate_outcomes({"a": [0.25]}, 5000, seed=1).groupby("speaker_id")[["errors", "length"]].sum()
    return float((of_speaker["errors"] / of_speaker["length"]).std())


def taught_on_others(n: int, studies: int):
    """Voices of two groups that are alike, shifted or noisier: which of them show a penalty, and which a gap?

    As many people are trained on as are tested.
    """
    for study in range(min(studies, CROSSED) if n in (10, 30) else 0):
        values = []
        for condition, planted in VOICES.items():
            voices = simulate_voices(2 * n, seed=study + 10_000 * n, **planted)
            with tempfile.TemporaryDirectory() as store:
                os.environ["FAIRLIB_STORE"] = store
                crossed = training_group_gaps(train_across_groups(voices, by="group", task="sid"), by="group")
            for scale, rows in crossed.groupby("scale"):
                shown = rows["p"] < 0.05
                of = {name: rows["quantity"] == name for name in (PENALTY, RANDOM_PENALTY, OWN_GAP)}
                values += [
                    ("one group's penalty", scale, condition, shown[of[PENALTY]].iloc[0]),
                    ("random penalty", scale, condition, shown[of[RANDOM_PENALTY]].iloc[0]),
                    ("own-taught gap", scale, condition, shown[of[OWN_GAP]].iloc[0]),
                    # As the rule has it: of both groups, above zero, by Holm's p.
                    ("penalty of both", scale, condition,
                     ((rows["p_holm"] < 0.05) & (rows["estimate"] > 0))[of[PENALTY]].all()),
                ]  # fmt: skip
        table = pd.DataFrame(values, columns=["test", "scale", "condition", "value"])
        yield table.assign(topic="teaching", study=study)


# ---- what others do, to stand beside ----


def _other_intervals(outcomes: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Utterance bootstrap; and over speakers percentile, BCa and studentised intervals of each layer."""
    table = outcomes.pivot(index=["group", "speaker_id", "utterance_id"], columns="layer", values=["errors", "length"])
    layers = sorted(table["errors"].columns, key=int)
    counts, drawn = [], []
    for group in ("a", "b"):
        utterances = [table.loc[group][column][layers] for column in ("errors", "length")]
        e, n = (values.groupby(level="speaker_id").sum().to_numpy(float) for values in utterances)
        over_utterances, over_speakers = _multinomial(rng, len(utterances[0])), _multinomial(rng, len(e))
        counts.append((e, n))
        of_utterances = [over_utterances @ values.to_numpy(float) for values in utterances]
        drawn.append((of_utterances, [over_speakers @ values for values in (e, n, e * e, e * n, n * n)]))
    tails, found = np.array([0.025, 0.975]), []
    for scale in SCALES:
        estimate = np.subtract(*(link(scale, e.sum(axis=0), n.sum(axis=0)) for e, n in counts))
        by_utterance, by_speaker = (np.subtract(*(link(scale, *side[kind][:2]) for side in drawn)) for kind in (0, 1))
        pulls, variance, drawn_variance = [], 0.0, 0.0
        for sign, (e, n), (_, (de, dn, ee, en, nn)) in zip((1, -1), counts, drawn):
            total, units, m = e.sum(axis=0), n.sum(axis=0), len(e)
            pulls.append(sign * slope(scale, total, units) * (e - total / units * n) / units)
            variance = variance + m / (m - 1) * (pulls[-1] ** 2).sum(axis=0)
            squares = np.maximum(ee - 2 * de / dn * en + (de / dn) ** 2 * nn, 0) / dn**2
            drawn_variance = drawn_variance + m / (m - 1) * squares * slope(scale, de, dn) ** 2
        pull = np.concatenate(pulls)
        with np.errstate(all="ignore"):
            acceleration = (pull**3).sum(axis=0) / (6 * (pull**2).sum(axis=0) ** 1.5)
            t = (by_speaker - estimate) / np.sqrt(drawn_variance)
        centre = stats.norm.ppf(np.clip((by_speaker < estimate).mean(axis=0), 1e-3, 1 - 1e-3))
        z = centre + stats.norm.ppf(tails)[:, None]
        levels = stats.norm.cdf(centre + z / (1 - acceleration * z))
        studentised = np.nanquantile(np.where(np.isfinite(t), t, np.nan), tails[::-1], axis=0)
        bounds = {
            "utterance bootstrap": np.quantile(by_utterance, tails, axis=0),
            "percentile": np.quantile(by_speaker, tails, axis=0),
            "BCa": np.array([np.quantile(column, level) if np.isfinite(level).all() else [np.nan] * 2
                             for column, level in zip(by_speaker.T, levels.T)]).T,
            "studentised": estimate - studentised * np.sqrt(variance),
        }  # fmt: skip
        for method, (low, high) in bounds.items():
            if scale == "ratio":
                low, high = np.exp(low), np.exp(high)
            found.append(pd.DataFrame({"layer": layers, "scale": scale, "method": method, "low": low, "high": high}))
    return pd.concat(found)


def _multinomial(rng: np.random.Generator, count: int) -> np.ndarray:
    places = rng.integers(0, count, (DRAWS, count)) + count * np.arange(DRAWS)[:, None]
    return np.bincount(places.ravel(), minlength=DRAWS * count).reshape(DRAWS, count).astype(float)


# ---- all blocks ----

BLOCKS = (
    gap_planted, nothing_planted, unequal_groups, nothing_planted_identification, many_groups, gap_as_named,
    bias_and_error, bias_and_error_as_published, layers_together, layers_together_planted, taught_on_others,
)  # fmt: skip


def artefact() -> pd.DataFrame:
    """Gaps at each error under one odds ratio of 1.5 (no simulation)."""
    levels = np.r_[0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95]
    worse, other = constant_odds(levels, np.log(1.5))
    rows = [
        {"topic": "artefact", "test": "odds ratio 1.5", "scale": scale, "condition": f"{level:.2f}", "n_speakers": 0,
         "value": truth(scale, a, b), "low": np.nan, "high": np.nan, "studies": 0}
        for level, a, b in zip(levels, worse, other) for scale in SCALES
    ]  # fmt: skip
    return pd.DataFrame(rows)


def block_table(block, n: int, studies: int) -> pd.DataFrame:
    """Mean over studies, with the interval that their number allows."""
    keys = ["topic", "test", "scale", "condition"]
    parts = []
    for number, part in enumerate(block(n, studies)):
        # One value a study, whatever the number of its layers; a batch numbers its studies from nought.
        of_study = part.assign(value=part["value"].astype(float)).groupby([*keys, "study"], sort=False)["value"].mean()
        parts.append(of_study.reset_index().assign(batch=number))
    if not parts:
        return pd.DataFrame()
    summary = pd.concat(parts).groupby(keys, sort=False)["value"].agg(["mean", "std", "size"]).reset_index()
    reach = 1.96 * summary["std"] / np.sqrt(summary["size"])
    return summary[keys].assign(
        n_speakers=n, value=summary["mean"], low=summary["mean"] - reach, high=summary["mean"] + reach,
        studies=summary["size"],
    )  # fmt: skip


def main() -> None:
    root = Path(__file__).parent.parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=root / "fairlib" / "assets" / "calibration.parquet")
    parser.add_argument("--parts", type=Path, default=root / "_runs" / "calibration")
    asked = parser.parse_args()
    asked.parts.mkdir(parents=True, exist_ok=True)
    tables = [artefact()]
    for block in BLOCKS:
        for n in SPEAKERS if block is not bias_and_error_as_published else (0,):  # whose people are the corpus's own
            part = asked.parts / f"{block.__name__}-{n}-{asked.studies}.parquet"
            start = time.perf_counter()
            if not part.exists():
                temporary = part.with_suffix(".partial")
                block_table(block, n, asked.studies).to_parquet(temporary)
                temporary.rename(part)
            tables.append(pd.read_parquet(part))
            print(f"{block.__name__}, {n} speakers a group: {time.perf_counter() - start:.0f} s", flush=True)
    pd.concat(tables, ignore_index=True).to_parquet(asked.out, index=False)
    print(f"Wrote {asked.out}.")


if __name__ == "__main__":
    warnings.filterwarnings(
        "ignore", message="Groups of"
    )  # groups of five are below no limit; those of one never occur
    main()
