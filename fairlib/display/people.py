"""Charts of chapter 2: who the speakers are, and in what their groups differ."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from fairlib.display import charts
from fairlib.findings.speakers import NEGLIGIBLE
from fairlib.findings.wording import estimate_of, of_chart


def ages_chart(speakers: pd.DataFrame, by: str) -> alt.LayerChart:
    """The age of every speaker who gives one, a row for each group.

    Args:
        speakers: from `fairlib.findings.speakers.speaker_table`, with ages.
        by: a recorded column; where there is no such column, all are in one row.
    """
    known = speakers.dropna(subset=["age"])
    known = known.assign(**{by: known.get(by, "people")}).dropna(subset=[by])
    rows = known.assign(group=known[by].astype(str), value=known["age"])
    spans = rows.groupby("group")["value"].agg(["min", "max"])
    # The widest gap in age with one person in ten or more on either side.
    years = rows["age"].sort_values(ignore_index=True)
    steps = years.diff()[len(years) // 10 : len(years) - len(years) // 10]
    after = steps.idxmax() if steps.max() > 3 else 0  # of one person alone there is no step
    facts = {
        "people": len(rows), "least": years.min(), "most": years.max(),
        "hole": [years[after - 1], years[after]] if after else [],
        "groups": list(spans.itertuples(name=None)),
    }  # fmt: skip
    return charts.strips(rows, value_title="age in years", format="d", means=False, **of_chart("ages_chart", **facts))


def lengths_chart(speakers: pd.DataFrame, by: str) -> alt.LayerChart:
    """The mean length of every speaker's utterances, a row for each group.

    Args:
        speakers: from `fairlib.findings.speakers.speaker_table`.
        by: the column that groups are compared by.
    """
    rows = speakers.assign(group=speakers[by], value=speakers["seconds"]).dropna(subset=["group"])
    rows["group"] = rows["group"].map(str)
    means = rows.groupby("group")["value"].mean().to_dict()
    title = "seconds an utterance, mean of each person"
    return charts.strips(rows, value_title=title, format="~f", **of_chart("lengths_chart", by=by, means=means))


def differences_chart(apart: pd.DataFrame, by: str, contrast: str, differ: bool) -> alt.LayerChart:
    """How far two groups' means lie apart in all that is recorded or measured of their speakers.

    Args:
        apart: from `fairlib.findings.speakers.differences`, by the same column and contrast.
        differ: whether that is more than negligible in any of it (`fairlib.findings.speakers.are_they_alike`).
    """
    rows = apart.assign(name=apart["name"] + ": " + apart["first"] + " vs " + apart["second"])
    drawn = np.isfinite(rows["estimate"])  # what lies infinitely far apart has no place on the axis
    estimates = {row["name"]: estimate_of(row) if shown else None for row, shown in zip(rows.to_dict("records"), drawn)}
    facts = {"by": by, "contrast": contrast, "differ": differ, "most": apart["name"].iloc[0], "estimates": estimates}
    x_title = f"{contrast}, in deviations between people"
    return charts.forest(rows[drawn], x_title=x_title, within=NEGLIGIBLE, **of_chart("differences_chart", **facts))
