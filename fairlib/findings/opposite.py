"""Claim C2 as a finding: does the gap go with error from layer to layer, by more than the scale's own arithmetic, and
by more than in random layers?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from fairlib.bias.association import ALL, WITHOUT_CNN, mean_slopes
from fairlib.bias.contrasts import SCALE_WORDS
from fairlib.encoders import encoder_layers, finetuned_from, pretraining_task, shipped_encoders
from fairlib.encoders.names import encoder_label, is_untrained, untrained_twin
from fairlib.findings.finding import Finding, of_people, power
from fairlib.findings.rules import NUMBERS, rule
from fairlib.findings.survey import published, published_twin
from fairlib.tasks import TASKS
from fairlib.writing import interval, listing, p_words

MARGIN = NUMBERS["slope_margin"]
RULE = rule("pattern")


def families_together(corpus: str, by: str) -> pd.DataFrame:
    """`mean_slopes` over one published pretrained encoder of each family and depth, the shortest name's; empty where
    fewer than two are published with their twins."""
    tables = []
    for task in (task for task in TASKS.values() if task.c2):
        outcomes, twins = [], {}
        for name in sorted(shipped_encoders(), key=lambda name: (len(name), name)):
            family = pretraining_task(name), encoder_layers(name)
            mine, twin = published(name, corpus, *task.main), published_twin(name, corpus, *task.main)
            if finetuned_from(name) or family in twins or mine.empty or twin.empty:
                continue
            twins[family] = name
            outcomes += [mine, twin]
        if len(twins) > 1:
            named = {name: untrained_twin(name) for name in twins.values()}
            tables.append(mean_slopes(pd.concat(outcomes), by, named))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def primary(slopes: pd.DataFrame, task: str, contrast: str) -> pd.DataFrame:
    """The rows that `RULE` judges, by scale: of all layers, the twin subtracted where the table has that."""
    rows = slopes[(slopes["task"] == task) & (slopes["contrast"] == contrast) & (slopes["layers"] == ALL)]
    beside = rows["twin"].notna()
    return (rows[beside] if beside.any() else rows).set_index("scale")


def c2_finding(slopes: pd.DataFrame, task: str, contrast: str) -> Finding:
    """Judge by `RULE`.

    Args:
        slopes: from `fairlib.bias.association.error_slopes`, of one encoder (rows of its twin alone left out).
    """
    rows = primary(slopes, task, contrast)
    row, other = rows.loc["log_odds"], _without_cnn(slopes, rows.loc["log_odds"])
    beside = rows.iloc[:0]
    if isinstance(row["twin"], str):
        alone = slopes[slopes["twin"].isna() & (slopes["task"] == task) & (slopes["contrast"] == contrast)]
        beside = alone[(alone["layers"] == ALL) & (alone["scale"] == "log_odds")].head(1)
    verdict, sentence = _c2_verdict(rows, TASKS[task].c2, _measured(row, beside, other))
    evidence = pd.concat([rows.reset_index(), beside, other], ignore_index=True).to_dict("records")
    found = Finding(TASKS[task].c2_claim, RULE, verdict, sentence, evidence)
    return of_people(found, rows, str(row["by"]), contrast)


def _c2_verdict(rows: pd.DataFrame, claimed: int, measured: str) -> tuple[str, str]:
    """Verdict and sentence by `RULE`, from the primary slopes by scale; ``claimed`` is 1 where the gap is to rise with
    the error, -1 where it is to fall."""
    row = rows.loc["log_odds"]
    name, side = encoder_label(row["encoder"]), np.sign(row["gap"]) if row["gap_p"] < 0.05 else 0.0
    narrow = (row["excess_high"] - row["excess_low"]) / 2 * 1.645 / 1.96
    turned = rows["p"].get("difference", 1.0) < 0.05 and rows.loc["difference", "excess"] * row["excess"] < 0
    more = "more" if side * row["excess"] > 0 else "less"
    if np.isnan(row["p"]):
        return "inconclusive", (
            f"At some layers of {name} there are as many errors as units or more, so no odds can be compared."
        )
    if not side:
        return "inconclusive", (
            f"In {name} neither group is shown to err more over all layers, so there is no gap whose size could vary"
            f" with the error ({measured})."
        )
    if row["p"] < 0.05 and turned:
        return "depends on the scale", (
            f"In {name} the odds ratio is farther from 1 in the layers that err {more}, but the difference between the"
            f" error rates is smaller there; both by more than a constant odds ratio would give ({measured})."
        )
    if row["p"] < 0.05:
        as_claimed = side * np.sign(row["excess"]) * claimed > 0
        return "supported" if as_claimed else "contradicted", (
            f"In {name} the gap is larger in the layers that err {more} ({measured})."
        )
    if abs(row["excess"]) + narrow < MARGIN:
        return "contradicted", (
            f"In {name} the gap hardly varies with the error: slopes beyond ±{MARGIN} are ruled out ({measured})."
        )
    return "inconclusive", (
        f"In {name} the gap does not vary detectably with the error ({measured}). "
        + power(f"a slope of {row['detectable']:.2f}")
    )


def _measured(row: pd.Series, beside: pd.DataFrame, other: pd.DataFrame) -> str:
    """The slope in words; the encoder's own too where a twin is subtracted; and that without the convolutions."""
    measured = f"slope {_stated(row)}"
    if len(beside):
        alone = beside.iloc[0]
        twin = f"{alone['excess'] - row['excess']:+.2f}".replace("-", "−")
        measured += f", beyond the untrained twin's; on its own {_stated(alone)}; the twin's {twin}"
    if len(other):
        span = f"{other['error_span'].iloc[0]:.2f} in log odds"
        measured += f"; without layer cnn {_stated(other.iloc[0])}, over layers whose errors span {span}"
    return measured


def _without_cnn(slopes: pd.DataFrame, row: pd.Series) -> pd.DataFrame:
    """The same slope of the layers above the convolutions, where it is shown: what the verdict does not rest on."""
    same = (slopes["layers"] == WITHOUT_CNN) & (slopes["scale"] == "log_odds")
    for name in ("encoder", "task", "contrast"):
        same &= slopes[name] == row[name]
    same &= slopes["twin"].isna() if not isinstance(row["twin"], str) else slopes["twin"] == row["twin"]
    return slopes[same & (slopes["p"] < 0.05)].head(1)


def _stated(row: pd.Series) -> str:
    return f"{interval(row['excess'], row['excess_low'], row['excess_high'])}, {p_words(row['p'])}"


def slope_rows(slopes: pd.DataFrame, task: str, contrast: str, scale: str = "log_odds") -> pd.DataFrame:
    """The slopes beyond one odds ratio of an encoder, its twin and both compared, for
    `fairlib.display.charts.forest`."""
    rows = slopes[
        (slopes["task"] == task) & (slopes["contrast"] == contrast) & (slopes["scale"] == scale) & slopes["p"].notna()
    ]
    names = [
        encoder_label(row.encoder)
        + (f", less {encoder_label(row.twin)}" if isinstance(row.twin, str) else "")
        + (", without cnn" if row.layers == WITHOUT_CNN else "")
        for row in rows.itertuples()
    ]
    shown = rows[["excess", "excess_low", "excess_high"]].set_axis(["estimate", "low", "high"], axis=1)
    return shown.assign(name=names, marked=(rows["p"] < 0.05).to_numpy()).reset_index(drop=True)


def slope_title(slopes: pd.DataFrame, task: str, contrast: str) -> str:
    """What is seen of the slope of the log odds ratio of an encoder by itself and less its twin's, in a few words.

    Example:
        >>> rows = pd.DataFrame({"encoder": "e", "task": "sid", "contrast": "a vs b", "layers": "all layers",
        ...     "scale": "log_odds", "twin": [None, "random:e"], "excess": [0.3, 0.1], "p": [0.01, 0.4]})
        >>> slope_title(rows, "sid", "a vs b")
        'over all layers e has a slope, but none beyond its untrained twin’s is shown'
    """
    rows = slopes[(slopes["task"] == task) & (slopes["contrast"] == contrast) & (slopes["layers"] == ALL)]
    rows = rows[(rows["scale"] == "log_odds") & ~rows["encoder"].map(is_untrained).astype(bool)]
    name = encoder_label(rows["encoder"].iloc[0])
    alone, beside = (bool((rows.loc[twin, "p"] < 0.05).any()) for twin in (rows["twin"].isna(), rows["twin"].notna()))
    if not rows["twin"].notna().any():
        return f"over all layers {'a' if alone else 'no'} slope is shown for {name}"
    if alone:
        more = "also beyond its untrained twin’s" if beside else "but none beyond its untrained twin’s is shown"
        return f"over all layers {name} has a slope, {more}"
    if beside:
        return f"over all layers {name} has no detectable slope, but one beyond its untrained twin’s"
    return f"over all layers {name} has no detectable slope, nor one beyond its untrained twin’s"


def scales_title(slopes: pd.DataFrame, task: str, contrast: str) -> str:
    """What the three scales say of one task, one contrast and one encoder, in a few words.

    Example:
        >>> rows = pd.DataFrame({"task": "sid", "contrast": "a vs b", "layers": "all layers", "twin": None,
        ...     "scale": ["difference", "ratio"], "excess": [0.2, -0.1], "gap": 1.0, "gap_p": 0.01, "p": [0.01, 0.4]})
        >>> scales_title(rows, "sid", "a vs b")
        'the difference rises with the error; no trend is shown for the ratio'
    """
    said: dict[str, list[str]] = {}
    for scale, row in primary(slopes, task, contrast).iterrows():
        what = "no trend"
        if row["p"] < 0.05 and row["gap_p"] < 0.05:
            what = "rises with the error" if row["excess"] * row["gap"] > 0 else "falls with the error"
        said.setdefault(what, []).append(SCALE_WORDS[str(scale)])
    if list(said) == ["no trend"]:
        return "on no scale does the gap vary detectably with the error"
    return "; ".join(
        f"no trend is shown for the {listing(scales)}"
        if what == "no trend"
        else f"the {listing(scales)} {what if len(scales) == 1 else what.replace('ses ', 'se ').replace('lls ', 'll ')}"
        for what, scales in said.items()
    )
