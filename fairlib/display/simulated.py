"""Charts of chapter 4: what measures of bias do in simulated studies whose truth is known."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from fairlib.display import charts
from fairlib.findings.wording import of_chart

_OVER_PEOPLE = {"x_title": "people in each group", "log_x": True}
_OVER_ERROR = {"x_title": "errors of both groups together", "x_format": "%"}
_LOOKS: dict[str, dict[str, Any]] = {
    "claims": _OVER_PEOPLE | {"y_title": "studies that claim a gap (%)", "format": "%", "reference": (0.05, "nominal"),
                              "span": (0, 0.7), "height": 200},
    "coverage": _OVER_PEOPLE | {"y_title": "intervals that contain the gap (%)", "format": "%",
                                "reference": (0.95, "nominal"), "span": (0.3, 1.0)},
    "worst_vs_best": _OVER_PEOPLE | {"y_title": "worst less best of eight (points)", "reference": (0, "the truth"),
                                     "height": 200},
    "scales": _OVER_ERROR | {"y_title": "in percent of its own largest value", "format": "%", "span": (0, 1.05),
                             "height": 200},
    "difference": _OVER_ERROR | {"y_title": "difference of errors (points)", "height": 190},
    "ratio": _OVER_ERROR | {"y_title": "ratio of errors", "height": 190},
    "log_odds": _OVER_ERROR | {"y_title": "log odds ratio", "span": (0, 0.6), "height": 190},
}  # fmt: skip


def curves(name: str, rows: pd.DataFrame, **facts: float) -> alt.LayerChart:
    """One of the chapter's charts of lines.

    Args:
        name: of its look and its words: "claims", "coverage", "worst_vs_best", "scales" (all three metrics) or one of
            them.
        rows: as `fairlib.display.charts.curves` takes them.
        facts: what its title names.

    Example:
        >>> from fairlib.findings.calibration import lines
        >>> curves("claims", lines("false_positives", {"gap": "people"}), share=0.5).title.text[0]
        'Counting utterances as people claims a gap that is not there in 50\xa0% of'
    """
    return charts.curves(rows, **_LOOKS[name], **of_chart(f"simulated.{name}", **facts))


def power_chart(smallest: pd.Series) -> alt.LayerChart:
    """The smallest gap that a study detects with 80 % power, by its size.

    Args:
        smallest: in points, by the number of people in each group; ten among them.

    Example:
        >>> power_chart(pd.Series({10: 16.2, 40: 8.1})).title.text[0]
        'With ten people in each group, a gap of 16 points is detectable; half of'
    """
    return charts.curves(
        pd.DataFrame({"line": "smallest gap", "x": smallest.index, "value": smallest.to_numpy()}),
        x_title="people in each group",
        y_title="smallest detectable gap (points)",
        log_x=True,
        span=(0, float(smallest.max()) * 1.08),
        height=200,
        **of_chart("simulated.power", points=smallest[10]),
    )


def study_chart(people: pd.DataFrame, gap: float) -> alt.LayerChart:
    """The people of one study, by how often they err: how far groups lie apart, and two people of one group.

    Args:
        people: ``group`` and ``value``, the error rate of each person.
        gap: between the groups' error rates.
    """
    typical = 2**0.5 * people.groupby("group")["value"].std().mean()
    words = of_chart("simulated.study", apart=abs(100 * gap), typical=100 * typical)
    return charts.strips(people, value_title="errors of one person, in all their words", **words)
