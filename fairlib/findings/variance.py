"""What a gap's uncertainty is made of: the people tested, the people who train the probe, its seed, the encoder's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from fairlib.base.tasks import TASKS
from fairlib.bias import BiasError, group_bias, layer_order
from fairlib.bias.contrasts import contrast_groups
from fairlib.bias.training_groups import GAP, training_group_gaps
from fairlib.encoders import our_encoders
from fairlib.findings.gap_tables import main_contrast, mean_error
from fairlib.findings.pretraining import EARLY, second_seed
from fairlib.findings.survey import published
from fairlib.findings.wording import say
from fairlib.outcomes import published_outcomes
from fairlib.outcomes.training_groups import MIXED, trained_on
from fairlib.probes import CharacterProbe

PEOPLE, TRAINERS, PROBE_SEED, ENCODER_SEED = "test speakers", "training speakers", "probe seed", "pretraining seed"
_LONGER = CharacterProbe(passes=12).name


def spread(draws: Sequence[Sequence[float]] | np.ndarray) -> tuple[float, int]:
    """Standard deviation within sets of draws, pooled over the sets, and its degrees of freedom.

    Example:
        >>> spread([[1.0, 3.0], [5.0, 5.0, 5.0]])
        (0.816496580927726, 3)
    """
    squares = sum(float(np.var(one) * len(one)) for one in draws)
    freedom = sum(len(one) - 1 for one in draws)
    return float(np.sqrt(squares / freedom)), freedom


def variance_sources(encoder: str, corpus: str, by: str) -> pd.DataFrame:
    """How much the log odds ratio of one layer's gap would vary, by what is drawn anew, as far as that is published.

    At the layer with the lowest error. ``test speakers`` is the standard error over speakers of `fairlib.group_bias`;
    ``training speakers`` that over draws of them in `fairlib.training_group_gaps`, with a probe of mixed speakers;
    ``probe seed`` the standard deviation from one probe to the next that differs by its seed alone (of all layers);
    ``pretraining seed`` that between two encoders which differ by the seed of their pretraining alone (of all layers,
    and all such pairs that ship).

    What a pair of encoders shares at its layers makes one draw of it, not one a layer: its interval is wide.

    Returns:
        One row per task and source: ``task, source, layer, sd, low, high`` (95 %, by the chi-square distribution, where
        draws were few), ``draws``. Sources that nobody measured are left out.
    """
    tables = [_of_task(encoder, corpus, by, task) for task in TASKS]
    tables = [table for table in tables if len(table)]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _of_task(encoder: str, corpus: str, by: str, task: str) -> pd.DataFrame:
    main = TASKS[task].main
    outcomes = published(encoder, corpus, *main[:2], _LONGER) if task == "asr" else pd.DataFrame()
    outcomes = outcomes if len(outcomes) else published(encoder, corpus, *main)
    if outcomes.empty or by not in outcomes:
        return pd.DataFrame()
    error = mean_error(outcomes)
    layer = str(error.loc[error["error"].idxmin(), "layer"])
    try:
        bias = group_bias(outcomes, by=by, permutations=50)
    except BiasError:
        return pd.DataFrame()
    contrast = main_contrast(bias, encoder)
    gap = bias[(bias["contrast"] == contrast) & (bias["scale"] == "log_odds") & (bias["layer"] == layer)].iloc[0]
    people = int(gap["n_speakers_a"] + gap["n_speakers_b"])
    parts = [(PEOPLE, (gap["high"] - gap["low"]) / 2 / stats.norm.ppf(0.975), people - 2, people)]
    draws = _over_draws(encoder, corpus, task, by, contrast)
    if draws is not None:
        row = draws.set_index("layer").loc[layer]
        parts.append((TRAINERS, float(np.sqrt(row["variance_draws"])), row["n_draws"] - 1, int(row["n_draws"])))
    seeds = [_gaps(one, by, contrast) for _, one in outcomes.groupby("seed")]
    if len(seeds) > 1:
        parts.append((PROBE_SEED, spread(np.transpose(seeds))[0], len(seeds) - 1, len(seeds)))
    pairs = [[_gaps(one, by, contrast) for one in pair] for pair in _pairs(corpus, task)]
    if pairs:
        sd = spread([draw for pair in pairs for draw in np.transpose(pair)])[0]
        parts.append((ENCODER_SEED, sd, len(pairs), 2 * len(pairs)))
    rows = []
    for source, sd, freedom, draws in parts:
        low, high = (sd * np.sqrt(freedom / stats.chi2.ppf(tail, freedom)) for tail in (0.975, 0.025))
        rows.append([task, source, layer, sd, low, high, draws])
    return pd.DataFrame(rows, columns=["task", "source", "layer", "sd", "low", "high", "draws"])


def _over_draws(encoder: str, corpus: str, task: str, by: str, contrast: str) -> pd.DataFrame | None:
    """The gap by a probe of mixed speakers, as `fairlib.training_group_gaps` gives it; None where none was."""
    groups = contrast_groups(contrast)
    named = [trained_on(name) for name in (MIXED, *groups) if name]
    rows = published_outcomes(encoder, corpus, task)
    rows = rows[(rows["unit"] == TASKS[task].main[1]) & rows["probe"].str.startswith(trained_on(""))]
    if not set(named) <= set(rows["probe"]) or set(groups) != set(rows[by].dropna()):
        return None
    taught = training_group_gaps(rows, by)
    return taught[(taught["quantity"] == GAP) & (taught["group"] == MIXED) & (taught["scale"] == "log_odds")]


def _gaps(outcomes: pd.DataFrame, by: str, contrast: str) -> np.ndarray:
    """Log odds ratio at each layer, in the layers' order, of one seed of one encoder."""
    bias = group_bias(outcomes, by=by, resamples=2, permutations=2)
    bias = bias[(bias["contrast"] == contrast) & (bias["scale"] == "log_odds")].set_index("layer")["estimate"]
    return bias.loc[layer_order(bias.index)].to_numpy(float)


def _pairs(corpus: str, task: str) -> list[list[pd.DataFrame]]:
    """Outcomes of each encoder of ours and of the one that differs by the seed of its pretraining alone, by the same
    probe: the task's main one or, for speakers, the one that stops early."""
    main = TASKS[task].main
    probes = [main[2], EARLY.name] if task == "sid" else [main[2]]
    pairs = []
    for name in our_encoders():
        if other := second_seed(name):
            tables = [[published(one, corpus, *main[:2], probe) for one in (name, other)] for probe in probes]
            pairs += [pair for pair in tables if all(map(len, pair))][:1]
    return pairs


def variance_rows(table: pd.DataFrame) -> pd.DataFrame:
    """What `variance_sources` found, for `fairlib.display.charts.forest`; people stand out."""
    name = [f"{TASKS[row.task].heading}: {row.source} ({row.draws})" for row in table.itertuples()]
    rows = table[["sd", "low", "high"]].set_axis(["estimate", "low", "high"], axis=1)
    return rows.assign(name=name, marked=(table["source"] == PEOPLE).to_numpy())


def variance_title(table: pd.DataFrame) -> str:
    """Which source is the largest, in a few words.

    Example:
        >>> rows = {"task": ["sid"] * 2, "source": [PEOPLE, PROBE_SEED], "sd": [0.2, 0.1]}
        >>> variance_title(pd.DataFrame(rows))
        'Which speakers are tested contributes most to the uncertainty of a gap, in every task'
    """
    largest = table.loc[table.groupby("task")["sd"].idxmax()].set_index("task")["source"]
    sources = {TASKS[str(task)].title: source for task, source in largest.items()}
    return say("variance.title", people=bool((largest == PEOPLE).all()), sources=sources)


def variance_sentences(table: pd.DataFrame) -> list[str]:
    """Each task's sources, the largest first, and how much of the variance is the test speakers' own.

    Example:
        >>> rows = {"task": "sid", "source": [PEOPLE, PROBE_SEED], "layer": "6", "sd": [0.2, 0.1], "draws": [250, 5]}
        >>> variance_sentences(pd.DataFrame(rows))[0]
        'Speaker identification, layer 6: test speakers 0.20, probe seed 0.10. Test speakers: 80\xa0% of the variance.'
    """
    said = []
    for task, mine in table.groupby("task", sort=False):
        largest_first = mine.sort_values("sd", ascending=False)
        share = (mine.loc[mine["source"] == PEOPLE, "sd"] ** 2).sum() / (mine["sd"] ** 2).sum()
        sources = dict(zip(largest_first["source"], largest_first["sd"]))
        facts = {"task": TASKS[task].heading, "layer": mine["layer"].iloc[0], "sources": sources, "share": share}
        said.append(say("variance.sources", **facts))
    return said
