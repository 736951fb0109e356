"""Sentences that say what a chart or a chapter shows, true whatever the run: tables in, words out."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fairlib.base.tasks import task_named, unit_named
from fairlib.base.writing import capital, interval, layers_named, listing, number, percent
from fairlib.bias import layer_order
from fairlib.bias.contrasts import SCALE_WORDS, contrast_groups, sides
from fairlib.corpora import CORPORA
from fairlib.encoders import shipped_encoders
from fairlib.encoders.names import encoder_label, without_random
from fairlib.findings import Finding, gaps, mean_error


def errors_title(bias: pd.DataFrame, encoder: str, contrast: str) -> str:
    """A chart title that states which group errs more, at the layers where the interval excludes no gap."""
    rows = gaps(bias, encoder, contrast)
    first, second = sides(str(rows["by"].iloc[0]), contrast)
    higher, lower = (int((rows["biased"] & (rows["estimate"] * sign > 0)).sum()) for sign in (1, -1))
    n = len(rows)
    what = task_named(rows["task"].iloc[0]).mistaken
    if not higher and not lower:
        return f"At no layer do the errors of {first} and {second} differ detectably"
    if higher >= lower:
        return f"{capital(first)} {what} more often than {second} at {higher} of {n} layers"
    return f"{capital(first)} {what} less often than {second} at {lower} of {n} layers"


def gap_title(bias: pd.DataFrame, encoder: str, contrast: str, scale: str = "log_odds") -> str:
    """A chart title that states where the interval of the gap excludes zero."""
    rows = gaps(bias, encoder, contrast, scale)
    first, second = sides(str(rows["by"].iloc[0]), contrast)
    layers, biased = list(rows["layer"]), list(rows.loc[rows["biased"], "layer"])
    if not biased:
        return f"No layer of {encoder_label(encoder)} shows a gap between {first} and {second}"
    if len(biased) == len(layers):
        return f"Every layer of {encoder_label(encoder)} shows a gap between {first} and {second}"
    return f"{encoder_label(encoder)} shows a gap between {first} and {second} at {layers_named(layers, biased)}"


def in_plain_words(errors: pd.DataFrame, bias: pd.DataFrame, encoder: str, contrast: str, whose: Finding) -> str:
    """What was found, for a reader who has never met a log odds ratio: errors at the best layer, where there is a gap,
    and whose it is.

    Args:
        errors, bias: from `fairlib.bias.group_errors` and `group_bias`, of one task and unit.
        whose: from `fairlib.findings.whose_gap`.
    """
    rows = gaps(bias, encoder, contrast)
    first, second = sides(str(rows["by"].iloc[0]), contrast)
    mine = errors[errors["encoder"] == encoder]
    table = mine.set_index(["layer", "group"])["error"]
    best = (mine["error"] * mine["n_utterances"]).groupby(mine["layer"]).sum().idxmin()
    one, other = contrast_groups(contrast)
    plainly = unit_named(rows["unit"].iloc[0]).plainly
    sentence = f"{capital(first)} {plainly.format(percent(table[(best, one)]))}"
    if (best, other) in table.index:
        sentence += f", {second} {'in ' if 'in {}' in plainly else ''}{percent(table[(best, other)])}"
    sentence += f", at the most accurate layer (layer {best})."
    biased = int(rows["biased"].sum())
    if not biased:
        return f"{sentence} No layer's gap differs detectably from zero."
    where = "Every layer shows a gap" if biased == len(rows) else f"{biased} of {len(rows)} layers show a gap"
    owner = {
        "contradicted": ", and so does the plain spectrogram: the gap is in the sound before any encoder.",
        "supported": ", at some layers larger than in the plain spectrogram and in the same network, randomly"
        " initialised: the encoder adds to it.",
        "depends on the scale": "; whether the encoder adds to it depends on the scale: in percentage points it does.",
        "inconclusive": "; whether the encoder creates it remains open.",
    }
    return f"{sentence} {where}{owner[whose.verdict]}"


def in_one_sentence(errors: pd.DataFrame, bias: pd.DataFrame, encoder: str, contrast: str, where: Finding) -> str:
    """Where the groups are served unequally, and by how much, in a sentence for everybody.

    Args:
        errors, bias: from `fairlib.bias.group_errors` and `group_bias`, of one task and unit.
        where: from `fairlib.findings.where.do_layers_differ`.
    """
    rows = gaps(bias, encoder, contrast)
    layers, biased = list(rows["layer"]), rows[rows["biased"]]
    first, second = sides(str(rows["by"].iloc[0]), contrast)
    one, other = contrast_groups(contrast)
    mistaken = task_named(rows["task"].iloc[0]).mistaken
    rate = errors.pivot_table(index=["encoder", "layer"], columns="group", values="error", observed=True)
    if biased.empty or other not in rate:
        return f"At no layer is there a detectable difference in how often {first} and {second} {mistaken}."
    times = (rate[one] / rate[other]).loc[encoder][list(biased["layer"])]
    if (biased["estimate"] > 0).nunique() > 1 or (times < 1).any():
        return f"At {layers_named(layers, list(biased['layer']))} the errors of {first} and {second} differ."
    every, apart = len(biased) == len(layers), ""
    if every:
        apart = "; no layer's gap differs detectably from the others'"
        if where.verdict == "supported":
            apart = "; the gap differs between layers"
    place = "At every layer, from the first one on," if every else f"At {layers_named(layers, list(biased['layer']))},"
    least, most = f"{times.min():.1f}", f"{times.max():.1f}"
    often = f"{least} times" if least == most else f"{least} to {most} times"
    sentence = f"{place} {first} {mistaken} {often} as often as {second}{apart}."
    if "logmel" in set(bias["encoder"]) and gaps(bias, "logmel", contrast).iloc[0]["biased"]:
        plain = (rate[one] / rate[other]).loc[("logmel", "logmel")]
        if plain > 1:
            sentence += f" From the plain spectrogram, before any layer, it is {plain:.1f} times as often."
    return sentence


def describe_errors(errors: pd.DataFrame, encoder: str) -> str:
    """For screen readers: each group's error at the first and last layer, and where it is lowest."""
    mine = errors[errors["encoder"] == encoder]
    layers = layer_order(mine["layer"].unique())
    parts = []
    for group, rows in mine.groupby("group", sort=True, observed=True):
        error = rows.set_index("layer")["error"].reindex(layers)
        parts.append(
            f"{group}: {percent(error.iloc[0])} at {layers[0]}, {percent(error.iloc[-1])} at {layers[-1]}, "
            f"lowest at {error.idxmin()} with {percent(error.min())}"
        )
    return (
        f"Line chart of error by layer of {encoder_label(encoder)}, one line per group with 95 percent"
        f" intervals. {'. '.join(parts)}."
    )


def describe_gaps(bias: pd.DataFrame, encoder: str, contrast: str, scale: str = "log_odds") -> str:
    """For screen readers: the gap at the first and last layer and where its interval excludes no gap, with
    the controls."""
    parts = []
    for name in [name for name in dict.fromkeys([encoder, *bias["encoder"]]) if name in set(bias["encoder"])]:
        rows = gaps(bias, name, contrast, scale)
        layers = list(rows["layer"])
        first, last = (interval(*rows.iloc[place][["estimate", "low", "high"]].astype(float)) for place in (0, -1))
        if name == "logmel":
            parts.append(f"log-mel: {first}")
        else:
            clear = layers_named(layers, list(rows.loc[rows["biased"], "layer"]))
            parts.append(
                f"{encoder_label(name)}: {first} at {layers[0]}, {last} at {layers[-1]}, a gap is shown at {clear}"
            )
    return (
        f"Line chart of the gap {contrast} by layer, {scale.replace('_', ' ')} of error with 95 percent"
        f" intervals. {'. '.join(parts)}."
    )


def layer_sentences(errors: pd.DataFrame, bias: pd.DataFrame, encoder: str, contrast: str) -> list[str]:
    """The gap layer by layer in words: one sentence for each run of neighbouring layers that show the
    same."""
    rows = gaps(bias, encoder, contrast)
    first, second = sides(str(rows["by"].iloc[0]), contrast)
    beyond = (rows["low"] > 0) | (rows["high"] < 0)
    unknown = rows[["low", "high"]].isna().any(axis=1)
    kinds = [np.sign(rows["estimate"]), _BY_CHANCE, _UNKNOWN]
    state = np.select([rows["biased"], beyond, unknown], kinds, 0).astype(int)
    one, other = contrast_groups(contrast)
    table = errors[errors["encoder"] == encoder].set_index(["layer", "group"])["error"]
    sentences = []
    for _, run in rows.groupby((pd.Series(state).diff() != 0).cumsum().to_numpy()):
        where = f"At {layers_named(list(rows['layer']), list(run['layer']))}"
        low, high = run["estimate"].min(), run["estimate"].max()
        odds = f"log odds ratio {number(low, 2)}" + (f" to {number(high, 2)}" if len(run) > 1 else "")
        kind = state[run.index[0]]
        errs = ", ".join(
            _range(table, run["layer"], group)
            for group in (one, other)
            if group is not None and (run["layer"].iloc[0], group) in table.index
        )
        errs = f"{errs}; " if errs else ""
        if why := _NOT_SHOWN.get(kind):
            sentences.append(f"{where} no gap between {first} and {second} is shown: {why} ({errs}{odds}).")
        else:
            more = "higher" if kind > 0 else "lower"
            sentences.append(f"{where} {first} have the {more} error ({errs}{odds}, the interval excluding zero).")
    return sentences


# Why no gap is shown at a layer, where none is.
_BY_CHANCE, _UNKNOWN = 2, 3
_NOT_SHOWN = {
    0: "the interval includes zero",
    _BY_CHANCE: "the interval excludes zero, but the gap is not significant after correction for all layers and groups",
    _UNKNOWN: "no interval can be given, because on one side all speakers have the same error",
}


def _range(table: pd.Series, layers: pd.Series, group: str) -> str:
    values = [table[(layer, group)] for layer in layers if (layer, group) in table.index]
    low, high = percent(min(values)), percent(max(values))
    return f"{group} {low}" if low == high else f"{group} {low} to {high}"


def best_layer_sentence(outcomes: pd.DataFrame, encoder: str) -> str:
    """Where the error over all speakers is lowest, set beside the controls' lowest."""
    table = mean_error(outcomes)
    lowest = table.loc[table.groupby("encoder", sort=False)["error"].idxmin()].set_index("encoder")
    mine = lowest.loc[encoder]
    others = [
        f"{encoder_label(name)} {percent(row['error'])}"
        + ("" if row["layer"] == "logmel" else f" (layer {row['layer']})")
        for name, row in lowest.iterrows()
        if name != encoder
    ]
    beside = f" (lowest for the controls: {listing(others)})" if others else ""
    return (
        f"Over all speakers the error of {encoder_label(encoder)} is lowest at layer {mine['layer']},"
        f" {percent(mine['error'])}{beside}."
    )


def scales_sentence(bias: pd.DataFrame, encoder: str, contrast: str) -> str:
    """Whether difference, ratio and log odds ratio put the largest gap at the same layer."""
    largest = {word: _largest(bias, encoder, contrast, scale) for scale, word in SCALE_WORDS.items()}
    where = listing([f"layer {layer} as a {word}" for word, layer in largest.items()])
    caution = ""
    if not any(gaps(bias, encoder, contrast, scale)["biased"].any() for scale in SCALE_WORDS):
        caution = " On none of them does any layer’s gap differ detectably from zero."
    if len(set(largest.values())) == 1:
        return f"Here the three scales agree: the gap is largest at layer {next(iter(largest.values()))}.{caution}"
    return f"Here the three scales disagree on where the gap is largest: {where}.{caution}"


def _largest(bias: pd.DataFrame, encoder: str, contrast: str, scale: str) -> str:
    """Layer of the gap furthest from none, whatever its sign."""
    gap = gaps(bias, encoder, contrast, scale).set_index("layer")["estimate"].astype(float)
    size = np.log(gap.where(gap > 0)).abs() if scale == "ratio" else gap.abs()
    size = size[np.isfinite(size)]
    return str(size.idxmax()) if len(size) else "unknown"


def scale_titles(bias: pd.DataFrame, encoder: str, contrast: str) -> dict[str, str]:
    """A chart title for each scale, that states where the gap is largest on it, if any is shown."""
    first, second = sides(str(bias.loc[bias["contrast"] == contrast, "by"].iloc[0]), contrast)
    return {
        scale: (
            f"As a {word}, the gap between {first} and {second} is largest at layer"
            f" {_largest(bias, encoder, contrast, scale)}"
            if gaps(bias, encoder, contrast, scale)["biased"].any()
            else f"As a {word}, no layer shows a gap between {first} and {second}"
        )
        for scale, word in SCALE_WORDS.items()
    }


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
        return "No other comparison can be made: of no recorded group were enough people tested."
    shown = list(table.loc[table["biased from the first layers on?"] == "supported", "contrast"])
    of = f"Of the {len(table)} contrasts that can be made" if len(table) > 1 else "Of the one contrast that can be made"
    if not shown:
        return f"{of}, none shows a gap from the first layers on."
    show = "shows" if len(shown) == 1 else "show"
    return f"{of}, {len(shown)} {show} a gap from the first layers on: {listing(shown)}."


def cautions(task: str, encoder: str, corpus: str, by: str | None = None) -> str:
    """What could be wrong with a chapter's answer, as a Markdown list: what holds for every run, and for this
    one."""
    of_corpus = CORPORA[corpus].cautions if corpus in CORPORA else ()
    points = [caution.text for caution in of_corpus if caution.task in ("", task)]
    if without_random(encoder) in shipped_encoders():
        points.append(
            "**Our encoders are small.** They have about three million parameters and were trained on hours of"
            " speech, others on thousands of hours; what holds for them need not hold for encoders of full size."
        )
    points += task_named(task).cautions
    if by:
        points += [
            (
                "**Absence of a gap.** Verdicts are adjusted for testing many layers, the bands in the charts are"
                " not; and a layer without a detectable gap has not been shown to be fair."
            ),
            f"**What is compared** is what the corpus records as `{by}`, nothing more.",
        ]
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
        return "No regression could be fitted to these data."
    first, second = sides(str(rows["by"].iloc[0]), contrast)
    scale = {"log_ratio": "log ratio of errors", "log_odds": "log odds ratio"}[str(rows["scale"].iloc[0])]
    shown = {name: _excluding_zero(rows, low, high) for name, (low, high) in _BOUNDS.items()}
    lowest, highest = (number(end(rows["estimate"]), 2) for end in (min, max))
    raw = [number(end(rows["raw"]), 2) for end in (min, max)]
    return (
        f"With these held equal, the 95 % interval of the gap between {first} and {second} excludes zero at"
        f" {shown['adjusted']} of {len(rows)} layers ({scale} {lowest} to {highest}). Without, it excludes zero at"
        f" {shown['raw']} ({raw[0]} to {raw[1]})."
        + (f" At {len(every) - len(rows)} layers no regression could be fitted." if len(rows) < len(every) else "")
    )


_BOUNDS = {"adjusted": ("low", "high"), "raw": ("raw_low", "raw_high")}


def _excluding_zero(rows: pd.DataFrame, low: str, high: str) -> int:
    return int(((rows[low] > 0) | (rows[high] < 0)).sum())
