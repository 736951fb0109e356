"""Charts of chapter 7: gaps over errors, and the slopes of the one on the other."""

from __future__ import annotations

import altair as alt
import pandas as pd

from fairlib.base.tasks import TASKS
from fairlib.display import charts
from fairlib.display.sentences import describe_gaps
from fairlib.findings import gaps
from fairlib.findings.wording import estimate_of, of_chart


def gap_over_error(task: str, bias: pd.DataFrame, encoder: str, contrast: str) -> alt.LayerChart:
    """The gap at each layer of an encoder over the layer's error.

    Args:
        task: a key of `fairlib.base.tasks.TASKS`.
        bias: of that task, from `fairlib.findings.mark_saturated`, which gives the errors.
    """
    rows = gaps(bias, encoder, contrast)
    facts = {"task": TASKS[task], "encoder": encoder, "gaps": describe_gaps(bias, encoder, contrast)}
    return charts.gap_against_error(rows.assign(error=rows["overall"]), **of_chart("gap_over_error", **facts))


def slopes_chart(task: str, rows: pd.DataFrame, seen: str) -> alt.LayerChart:
    """The slopes of an encoder, of its twin, and of the one less the other.

    Args:
        rows, seen: from `fairlib.findings.opposite.slope_rows` and `slope_title`.
    """
    slopes = list(zip(rows["name"], map(estimate_of, rows.to_dict("records"))))
    said = of_chart("slopes_chart", heading=TASKS[task].heading, seen=seen, slopes=slopes)
    return charts.forest(rows, x_title="slope of the log odds ratio of error", **said)
