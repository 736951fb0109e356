"""Sentences that say what a chart or a chapter shows, true whatever the run: tables in, words out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from fairlib.base.tasks import task_named, unit_named
from fairlib.bias import layer_order
from fairlib.bias.contrasts import SCALE_WORDS, contrast_groups
from fairlib.corpora import CORPORA
from fairlib.display.tables import written
from fairlib.encoders import our_encoders
from fairlib.encoders.names import without_random
from fairlib.findings import Finding, gaps, mean_error
from fairlib.findings.cells import Cell, with_interval
from fairlib.findings.wording import say, unbound


def errors_title(bias: pd.DataFrame, encoder: str, contrast: str, counted: str = "") -> str:
    """A chart title that states which group errs more, at the layers where the interval excludes no gap, and, if given,
    what errors are counted in."""
    rows = gaps(bias, encoder, contrast)
    higher, lower = (int((rows["biased"] & (rows["estimate"] * sign > 0)).sum()) for sign in (1, -1))
    kind = "none" if not higher + lower else "more" if higher >= lower else "less"
    return say(f"errors_title.{kind}", at=max(higher, lower), counted=counted, **_about(rows))


def gap_title(bias: pd.DataFrame, encoder: str, contrast: str, scale: str = "log_odds", counted: str = "") -> str:
    """A chart title that states where the interval of the gap excludes zero; begins with what is counted, if given."""
    rows = gaps(bias, encoder, contrast, scale)
    kind = "none" if not rows["biased"].any() else "every" if rows["biased"].all() else "some"
    return say(f"gap_title.{kind}", counted=counted, **_about(rows))


def _about(rows: pd.DataFrame) -> dict[str, Any]:
    """What is said of an encoder's gaps begins with: whose, between whom, and at which layers."""
    encoder, by, contrast, task = (str(rows[column].iloc[0]) for column in ("encoder", "by", "contrast", "task"))
    return {
        "encoder": encoder, "by": by, "contrast": contrast, "mistaken": task_named(task).mistaken,
        "layers": list(rows["layer"]), "biased": list(rows.loc[rows["biased"], "layer"]),
    }  # fmt: skip


def in_plain_words(errors: pd.DataFrame, bias: pd.DataFrame, encoder: str, contrast: str, whose: Finding) -> str:
    """What was found, for a reader who has never met a log odds ratio: errors at the best layer, where there is a gap,
    and whose it is.

    Args:
        errors, bias: from `fairlib.bias.group_errors` and `group_bias`, of one task and unit.
        whose: from `fairlib.findings.whose_gap`.
    """
    rows = gaps(bias, encoder, contrast)
    mine = errors[errors["encoder"] == encoder]
    best = (mine["error"] * mine["n_utterances"]).groupby(mine["layer"]).sum().idxmin()
    at_best = mine[mine["layer"] == best].set_index("group")["error"]
    one, other = contrast_groups(contrast)
    facts = {
        "best": best, "error": at_best[one], "other_error": at_best.get(other),
        "plainly": unit_named(rows["unit"].iloc[0]).plainly,
        "wrong": "saturated" in rows and bool(rows["saturated"].all()),
    }  # fmt: skip
    return say(f"in_plain_words.{whose.verdict if rows['biased'].any() else 'no_gap'}", **facts, **_about(rows))


def in_one_sentence(errors: pd.DataFrame, bias: pd.DataFrame, encoder: str, contrast: str, where: Finding) -> str:
    """Where the groups are served unequally, and by how much, in a sentence for everybody.

    Args:
        errors, bias: from `fairlib.bias.group_errors` and `group_bias`, of one task and unit.
        where: from `fairlib.findings.where.do_layers_differ`.
    """
    rows = gaps(bias, encoder, contrast)
    facts, biased = _about(rows), rows[rows["biased"]]
    one, other = contrast_groups(contrast)
    rate = errors.pivot_table(index=["encoder", "layer"], columns="group", values="error", observed=True)
    if biased.empty or other not in rate:
        return say("in_one_sentence.none", **facts)
    ratio = rate[one] / rate[other]
    times = ratio.loc[encoder][facts["biased"]]
    # Where the other group makes no error, no number of times can be given.
    if (biased["estimate"] > 0).nunique() > 1 or not times.between(1, np.inf, inclusive="left").all():
        return say("in_one_sentence.both_ways", **facts)
    plain = "logmel" in set(bias["encoder"]) and gaps(bias, "logmel", contrast).iloc[0]["biased"]
    points = 100 * (rate[one] - rate[other])
    own = points.loc[encoder][facts["biased"]]
    facts |= {
        "least": times.min(), "most": times.max(), "apart": where.verdict == "supported",
        "plain": ratio.loc[("logmel", "logmel")] if plain else 1,
        "points": {"plain": points.get(("logmel", "logmel")), "least": own.min(), "most": own.max()},
    }  # fmt: skip
    return say(f"in_one_sentence.{'every' if rows['biased'].all() else 'some'}", **facts)


def describe_errors(errors: pd.DataFrame, encoder: str) -> str:
    """For screen readers: each group's error at the first and last layer, and where it is lowest."""
    mine = errors[errors["encoder"] == encoder]
    layers = layer_order(mine["layer"].unique())
    groups = []
    for group, rows in mine.groupby("group", sort=True, observed=True):
        error = rows.set_index("layer")["error"].reindex(layers)
        groups.append(
            {"group": group, "first": error.iloc[0], "last": error.iloc[-1], "best": error.idxmin()}
            | {"lowest": error.min()}
        )
    return say("describe.errors", encoder=encoder, layers=layers, groups=groups)


def describe_gaps(bias: pd.DataFrame, encoder: str, contrast: str, scale: str = "log_odds") -> str:
    """For screen readers: the gap at the first and last layer, on the scale and in the unit that the chart shows, and
    where its interval excludes no gap, with the controls."""
    kind, lines = {"log_odds": "log odds"}.get(scale, scale), []
    for name in [name for name in dict.fromkeys([encoder, *bias["encoder"]]) if name in set(bias["encoder"])]:
        rows = gaps(bias, name, contrast, scale)
        ends = rows.iloc[[0, -1]].to_dict("records")
        lines.append(_about(rows) | {"gaps": [written(Cell(with_interval(kind, row))) for row in ends]})
    points = scale == "difference"
    return say(
        "describe.gaps", scale=SCALE_WORDS[scale], points=points, lines=lines, by=lines[0]["by"], contrast=contrast
    )


def layer_sentences(errors: pd.DataFrame, bias: pd.DataFrame, encoder: str, contrast: str) -> list[str]:
    """The gap layer by layer in words: one sentence for each run of neighbouring layers that show the
    same."""
    rows = gaps(bias, encoder, contrast)
    beyond = (rows["low"] > 0) | (rows["high"] < 0)
    unknown = rows[["low", "high"]].isna().any(axis=1)
    shown = [rows["biased"] & (rows["estimate"] > 0), rows["biased"]]
    state = pd.Series(np.select([*shown, beyond, unknown], ["higher", "lower", "by_chance", "unknown"], "none"))
    table = errors[errors["encoder"] == encoder].set_index(["layer", "group"])["error"]
    sentences = []
    for _, run in rows.groupby((state != state.shift()).cumsum().to_numpy()):
        facts = {"run": list(run["layer"]), "odds": [run["estimate"].min(), run["estimate"].max()], "errors": []}
        for group in contrast_groups(contrast):
            at = [table[(layer, group)] for layer in run["layer"] if (layer, group) in table.index]
            facts["errors"] += [(group, min(at), max(at))] if at else []
        sentences.append(say(f"layer_sentences.{state[run.index[0]]}", **_about(rows) | facts))
    return sentences


def best_layer_sentence(outcomes: pd.DataFrame, encoder: str) -> str:
    """Where the error over all speakers is lowest, set beside the controls' lowest."""
    table = mean_error(outcomes)
    lowest = table.loc[table.groupby("encoder", sort=False)["error"].idxmin()]
    of_encoder = lowest["encoder"] == encoder
    [mine], others = lowest[of_encoder].to_dict("records"), lowest[~of_encoder].to_dict("records")
    return say("best_layer.lowest", encoder=encoder, layer=mine["layer"], error=mine["error"], others=others)


def scales_sentence(bias: pd.DataFrame, encoder: str, contrast: str) -> str:
    """Whether difference, ratio and log odds ratio put the largest gap at the same layer."""
    at: dict[str, list[str]] = {}
    for scale, word in SCALE_WORDS.items():
        at.setdefault(_largest(bias, encoder, contrast, scale), []).append(word)
    shown = any(gaps(bias, encoder, contrast, scale)["biased"].any() for scale in SCALE_WORDS)
    kind = "agree" if len(at) == 1 else "disagree"
    return say(f"scales.{kind}", at=at, layer=next(iter(at)), shown=shown)


def _largest(bias: pd.DataFrame, encoder: str, contrast: str, scale: str) -> str:
    """Layer of the gap furthest from none, whatever its sign."""
    gap = gaps(bias, encoder, contrast, scale).set_index("layer")["estimate"].astype(float)
    size = np.log(gap.where(gap > 0)).abs() if scale == "ratio" else gap.abs()
    size = size[np.isfinite(size)]
    return str(size.idxmax()) if len(size) else "unknown"


def scale_titles(bias: pd.DataFrame, encoder: str, contrast: str) -> dict[str, str]:
    """A chart title for each scale, that states where the gap is largest on it, if any is shown."""
    titles = {}
    for scale, word in SCALE_WORDS.items():
        facts = _about(gaps(bias, encoder, contrast, scale)) | {"scale": word}
        layer = _largest(bias, encoder, contrast, scale)
        titles[scale] = say(f"scales.{'title' if facts['biased'] else 'no_gap'}", layer=layer, **facts)
    return titles


def contrasts_sentence(table: pd.DataFrame) -> str:
    """How many contrasts show a gap from the first layers on, and which.

    Args:
        table: from `fairlib.findings.all_contrasts`.

    Example:
        >>> column = "biased from the first layers on?"
        >>> contrasts_sentence(pd.DataFrame({"contrast": ["a vs b", "c vs d"], column: ["supported", "inconclusive"]}))
        'Of the 2 contrasts that can be made, 1 shows a gap from the first layers on: a vs b.'
    """
    if table.empty:
        return say("contrasts.nothing")
    shown = list(table.loc[table["biased from the first layers on?"] == "supported", "contrast"])
    return say(f"contrasts.{'some' if shown else 'none'}", many=len(table), shown=shown)


def cautions(task: str, encoder: str, corpus: str, by: str | None = None) -> str:
    """What could be wrong with a chapter's answer, as a Markdown list: what holds for every run, and for this
    one."""
    of_corpus = CORPORA[corpus].cautions if corpus in CORPORA else ()
    points = [caution.text for caution in of_corpus if caution.task in ("", task)]
    if without_random(encoder) in our_encoders():
        points.append(say("cautions.small"))
    points += task_named(task).cautions
    if by:
        points += [say("cautions.absence"), say("cautions.compared", by=by)]
    return "\n".join(f"- {point}" for point in points)


def adjusted_sentence(adjusted: pd.DataFrame, contrast: str) -> str:
    """At how many layers a gap remains once other differences between the groups are held equal.

    Args:
        adjusted: from `fairlib.bias.adjustment.adjusted_gaps`, of one encoder, task and unit.
        contrast: one of its contrasts.
    """
    every = adjusted[adjusted["contrast"] == contrast]
    rows = every[every["problem"] == ""]
    if rows.empty:
        return say("adjusted.none")
    return unbound(
        "adjusted.gaps",
        by=str(rows["by"].iloc[0]),
        contrast=contrast,
        scale=rows["scale"].iloc[0],
        fitted=len(rows),
        lacking=len(every) - len(rows),
        gaps=[rows["estimate"].min(), rows["estimate"].max()],
        raw=[rows["raw"].min(), rows["raw"].max()],
        shown=_excluding_zero(rows["low"], rows["high"]),
        raw_shown=_excluding_zero(rows["raw_low"], rows["raw_high"]),
    )


def _excluding_zero(low: pd.Series, high: pd.Series) -> int:
    return int(((low > 0) | (high < 0)).sum())
