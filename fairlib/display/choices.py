"""The chart of chapter 11: one question, asked in every available way."""

from __future__ import annotations

import altair as alt
import pandas as pd

from fairlib.base.tasks import TASKS
from fairlib.display import charts
from fairlib.findings.robustness import BOOK, in_order
from fairlib.findings.wording import estimate_of, of_chart


def choices_chart(task: str, table: pd.DataFrame, by: str, contrast: str) -> alt.LayerChart:
    """The gap under every choice at its best layer, and below it, paler, at layer cnn; the book's own stands out.

    Args:
        task: a key of `fairlib.base.tasks.TASKS`.
        table: from `fairlib.findings.robustness.gaps_of`.
    """
    order, best = in_order(table), table[table["at"] == "best"]
    starred = set(best.loc[best["saturated"], "name"])
    rows = table.assign(order=table["name"].map(order.index), marked=table["name"] == BOOK)
    rows = rows.sort_values(["order", "at"])
    rows["name"] = [f"{name} *" if name in starred else name for name in rows["name"]]
    largest_first = best.sort_values("estimate", ascending=False)
    facts = {
        "heading": TASKS[task].heading, "by": by, "contrast": contrast, "ways": len(best), "starred": starred,
        "above": (best["low"] > 0).sum(), "below": (best["high"] < 0).sum(),
        "gaps": list(zip(largest_first["name"], map(estimate_of, largest_first.to_dict("records")))),
    }  # fmt: skip
    return charts.forest(rows, x_title=f"log odds ratio of error, {contrast}", **of_chart("choices_chart", **facts))
