"""Gaps adjusted for what else differs between groups: text length, speaking rate, noise, and other groups.

Regression of each utterance's errors (statsmodels), one for each layer and contrast. Speech and phone recognition:
Poisson with the logarithm of the reference length as offset (Liu, Veliche and Peng 2021, arXiv 2109.09061), or negative
binomial where the errors scatter more than Poisson's; speaker identification: logistic. Standard errors are clustered
by speaker (Liang and Zeger 1986, Biometrika 73:13-22), so that what speakers have in common is not counted twice.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy import stats

from fairlib.bias import CELL, BiasError, contrasts_of, speaker_sums
from fairlib.bias.sums import CONFIDENCE, FEWEST_SHOWN

# Pearson's chi-square over its degrees of freedom; beyond this, negative binomial. Clustering keeps standard errors
# right on either side; the choice only weighs long utterances against short ones.
OVERDISPERSED = 1.5
ITERATIONS = 100


def adjusted_gaps(
    outcomes: pd.DataFrame,
    by: str | Sequence[str],
    covariates: Sequence[str],
    confidence: float = CONFIDENCE,
    min_speakers: int = FEWEST_SHOWN,
) -> pd.DataFrame:
    """Gap between groups at equal covariates, beside the gap without them, from the same regression.

    Args:
        outcomes: see `fairlib.outcomes`, with the covariates as columns; several seeds are averaged.
        by: a column with one value a speaker, or several for their intersections ("female × child"). Speakers for whom
            one is missing are left out, and so, with a warning, are those with two answers and groups of one speaker. A
            regression is made for each contrast of `fairlib.bias.group_bias`.
        covariates: columns. Numbers enter as they are, anything else as one indicator for each value but the first.
        confidence: of the intervals; 0.95.
        min_speakers: smaller groups are flagged in ``few_speakers``; 5.

    Returns:
        One row per encoder, task, unit, probe, layer and contrast: ``scale`` ("log_ratio" of error rates, or "log_odds"
        for speaker identification), ``estimate, low, high, p`` adjusted (t with one degree of freedom less than there
        are speakers), ``raw, raw_low, raw_high`` without covariates on the same utterances, ``family``
        (Poisson, negative binomial, logistic), ``dispersion`` (Pearson's chi-square over degrees of freedom, of the
        Poisson or logistic model), ``problem``, ``n_speakers_a, n_speakers_b, n_utterances, n_left_out`` (utterances
        that lack a covariate), ``few_speakers``. Where a regression could not be made or did not converge, ``problem``
        says why and the numbers are missing.

    Raises:
        BiasError: ``by`` is no column or differs within a speaker, fewer than two groups have two speakers, or a layer
            lacks seeds or speakers that the other layers of its encoder have;
            or a covariate is no column, or is the grouping itself.

    Example:
        >>> from fairlib.bias.simulation import simulate_outcomes
        >>> outcomes = simulate_outcomes({"quiet": [0.3], "clear": [0.2]}, speakers=40)
        >>> table = adjusted_gaps(outcomes.assign(noise=1.0 * (outcomes["errors"] % 2)), "group", ["noise"])
        >>> table.loc[0, ["contrast", "scale", "problem"]].tolist()
        ['quiet vs clear', 'log_ratio', '']
    """
    columns = [by] if isinstance(by, str) else list(by)
    for name in covariates:
        if name not in outcomes:
            raise BiasError(f"There is no covariate column {name!r}; columns: {', '.join(map(str, outcomes.columns))}.")
        if name in columns:
            raise BiasError(f"{name!r} is what is compared and cannot be a covariate too.")
    rows = []
    for sums in speaker_sums(outcomes, by, min_speakers):
        mine = outcomes[outcomes["speaker_id"].isin(sums.speakers)]
        for column in CELL[:-1]:
            mine = mine[mine[column] == sums.cells[column][0]]
        place = pd.Series(range(len(sums.speakers)), index=sums.speakers)
        for cell in sums.cells.itertuples(index=False):
            table = _one_row_an_utterance(mine[mine["layer"] == cell.layer], covariates)
            complete = table.dropna(subset=list(covariates))
            speaker = place.loc[complete["speaker_id"]].to_numpy()
            for contrast, group, others in contrasts_of(sums):
                sizes = sums.sizes([group], others)
                indicator = np.isin(speaker, sums.groups[group])
                rows.append(
                    cell._asdict()
                    | {"by": sums.by, "contrast": contrast, "scale": "log_odds" if cell.task == "sid" else "log_ratio"}
                    | _regression(cell.task, complete, speaker, indicator, covariates, confidence)
                    | {
                        "n_speakers_a": sizes[0], "n_speakers_b": sizes[1], "n_utterances": len(complete),
                        "n_left_out": len(table) - len(complete), "few_speakers": bool(sizes.min() < min_speakers),
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def _one_row_an_utterance(rows: pd.DataFrame, covariates: Sequence[str]) -> pd.DataFrame:
    """Errors and units of an average seed: seeds repeat an utterance, they do not add one."""
    first = {name: "first" for name in ("speaker_id", *covariates) if name not in ("errors", "length")}
    table = rows.groupby("utterance_id", sort=False).agg({"errors": "sum", "length": "sum"} | first)
    seeds = rows["seed"].nunique() if "seed" in rows else 1
    return table.assign(errors=table["errors"] / seeds, length=table["length"] / seeds)


def _regression(task, table, speaker, group, covariates, confidence) -> dict:
    """Adjusted and raw coefficient of the group, or why there is none."""
    names = ("estimate", "low", "high", "p", "raw", "raw_low", "raw_high", "dispersion")
    blank = dict.fromkeys(names, np.nan) | {"family": "logistic" if task == "sid" else "Poisson"}
    problem = _separated(task, table, group)
    if problem:
        return blank | {"problem": problem}
    plain = np.column_stack([np.ones(len(table)), group])
    full = np.hstack([plain, _design(table, covariates)])
    if len(table) <= full.shape[1]:
        return blank | {"problem": f"{len(table)} utterances are too few for {full.shape[1]} coefficients"}
    if np.linalg.matrix_rank(full) < full.shape[1]:
        return blank | {"problem": "collinear: a covariate follows from the others or from the group"}
    raw, problem = _fit(task, table, speaker, plain, confidence)
    if not problem:
        adjusted, problem = _fit(task, table, speaker, full, confidence)
    if problem:
        return blank | {"problem": problem}
    kept = {"raw": raw["estimate"], "raw_low": raw["low"], "raw_high": raw["high"]}
    return blank | adjusted | kept | {"problem": ""}


def _separated(task, table, group) -> str:
    """A group without errors, or with nothing else, has no finite coefficient."""
    for side, members in (("first", group), ("second", ~group)):
        errors, units = table["errors"][members].sum(), table["length"][members].sum()
        if not members.any():
            return f"no utterance of the {side} group has all covariates"
        if errors == 0:
            return f"separation: the {side} group has no errors"
        if task == "sid" and errors == units:
            return f"separation: the {side} group has nothing but errors"
    return ""


def _design(table: pd.DataFrame, covariates: Sequence[str]) -> np.ndarray:
    """Covariates as numbers, each of mean 0 and deviation 1: the gap stays the same and fits are stable."""
    parts = [np.empty((len(table), 0))]
    for name in covariates:
        values = table[name]
        if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
            parts.append(values.to_numpy(float)[:, None])
        else:
            parts.append(pd.get_dummies(values.astype(str), drop_first=True).to_numpy(float))
    design = np.hstack(parts)
    spread = design.std(axis=0)
    return (design - design.mean(axis=0)) / np.where(spread > 0, spread, 1)


def _fit(task, table, speaker, design, confidence) -> tuple[dict, str]:
    errors, units = table["errors"].to_numpy(float), table["length"].to_numpy(float)
    clustered = {"cov_type": "cluster", "cov_kwds": {"groups": speaker}, "use_t": True, "maxiter": ITERATIONS}
    name = "logistic" if task == "sid" else "Poisson"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they warn of is looked at below
        try:
            if task == "sid":
                fit = sm.GLM(np.column_stack([errors, units - errors]), design, sm.families.Binomial()).fit(**clustered)
            else:
                offset = np.log(units)
                fit = sm.GLM(errors, design, sm.families.Poisson(), offset=offset).fit(**clustered)
            dispersion = fit.pearson_chi2 / fit.df_resid
            if task != "sid" and dispersion > OVERDISPERSED:
                name = "negative binomial"
                family = sm.families.NegativeBinomial(alpha=_extra_variance(errors, fit.fittedvalues))
                fit = sm.GLM(errors, design, family, offset=offset).fit(**clustered)
        except (np.linalg.LinAlgError, ValueError, FloatingPointError) as reason:
            return {}, f"not fitted: {reason}"
    if not fit.converged:
        return {}, f"not converged after {ITERATIONS} steps"
    estimate, error = float(fit.params[1]), float(fit.bse[1])
    if not np.isfinite([estimate, error]).all() or np.abs(fit.params[1:]).max() > 15:
        return {}, "separation: a coefficient grows without bound"
    freedom = len(np.unique(speaker)) - 1
    reach = stats.t.ppf((1 + confidence) / 2, freedom) * error
    p = float(2 * stats.t.sf(abs(estimate) / error, freedom))
    return {
        "estimate": estimate, "low": estimate - reach, "high": estimate + reach, "p": p, "family": name,
        "dispersion": float(dispersion),
    }, ""  # fmt: skip


def _extra_variance(errors: np.ndarray, fitted: np.ndarray) -> float:
    """Alpha in variance = mean + alpha mean^2, by regression (Cameron and Trivedi 1990, J. Econometrics 46:347-364)."""
    return float(max(((errors - fitted) ** 2 - errors).sum() / (fitted**2).sum(), 1e-6))
