"""What happens along an encoder's pretraining, drawn: gaps, errors and how well its own task goes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import altair as alt
import pandas as pd

from fairlib.base.tasks import TASKS
from fairlib.bias import layer_order
from fairlib.display import charts, words
from fairlib.encoders.names import encoder_label
from fairlib.findings import Finding
from fairlib.findings.cells import ESTIMATE, Number, with_interval
from fairlib.findings.pretraining import hours_at, hours_heard
from fairlib.findings.wording import estimate_of, of_chart


def gap_map(task: str, along: pd.DataFrame, encoder: str, contrast: str, signal: pd.Series) -> alt.Chart:
    """The gap of every layer at every step, signed.

    Args:
        task: a key of `fairlib.base.tasks.TASKS`.
        along: from `fairlib.findings.pretraining.map_along`.
        signal: log-mel's row of `fairlib.findings.gaps`.
    """
    shown, hours = along.groupby("step")["biased"].sum(), _hours(along, encoder)
    rows = along.assign(
        name=along["step"].map(hours), value=along["estimate"], text=along["estimate"].map(words.short),
        marked=along["biased"],
    )  # fmt: skip
    return charts.heat(
        rows,
        signed=True,
        layers_down=True,
        named="speech heard",
        value_title="log odds ratio",
        **of_chart(
            "gap_map",
            by=str(along["by"].iloc[0]),
            contrast=contrast,
            encoder=encoder,
            heading=TASKS[task].heading,
            before=shown.iloc[0],
            after=shown.iloc[-1],
            layers=along["layer"].nunique(),
            steps=_by_step(along, hours, "estimate"),
            logmel=estimate_of(signal),
        ),
    )


def error_map(task: str, along: pd.DataFrame, encoder: str) -> alt.Chart:
    """The error of every layer at every step; arguments as `gap_map`."""
    best, hours = along.loc[along.groupby("step")["error"].idxmin()], _hours(along, encoder)
    rows = along.assign(
        name=along["step"].map(hours), value=along["error"], low=along["error_low"], high=along["error_high"],
        text=along["error"].map(lambda error: f"{100 * error:.0f}"),
    )  # fmt: skip
    return charts.heat(
        rows,
        layers_down=True,
        named="speech heard",
        value_title="error",
        **of_chart(
            "error_map",
            heading=TASKS[task].heading,
            ends=best.iloc[[0, -1]].to_dict("records"),
            steps=_by_step(along, hours, "error"),
        ),
    )


def three_layers(task: str, along: pd.DataFrame, changes: pd.DataFrame, encoder: str, contrast: str) -> alt.LayerChart:
    """The gap over hours at the first layer, the one that is most accurate in the end, and the last.

    Args:
        changes: from `fairlib.findings.pretraining.since_the_start`.
    """
    layers = layer_order(along["layer"].unique())
    best = _best_at_the_end(along)
    chosen = {layers[0]: layers[0], best: f"{best}, best", layers[-1]: f"{layers[-1]}, last"}
    rows = along[along["layer"].isin(chosen)].assign(
        line="layer " + along["layer"].map(chosen).fillna(""),
        x=along["step"].map(hours_heard(encoder)).fillna(1),
        value=along["estimate"],
    )
    at = {layer: along[along["layer"] == layer] for layer in chosen}
    return _over_hours(
        rows,
        contrast,
        of_chart(
            "three_layers",
            heading=TASKS[task].heading,
            best=best,
            change=estimate_of(_changes(changes, contrast).loc[best]),
            lines={layer: [estimate_of(row) for row in mine.to_dict("records")] for layer, mine in at.items()},
        ),
    )


def families(task: str, maps: Mapping[str, pd.DataFrame], contrast: str) -> alt.LayerChart:
    """The gap of several encoders over the hours that each has heard, at the layer that is most accurate in its end.

    Args:
        maps: by encoder, from `fairlib.findings.pretraining.map_along`.
    """
    lines = []
    for name, along in maps.items():
        best = _best_at_the_end(along)
        mine = along[along["layer"] == best]
        x, label = mine["step"].map(hours_heard(name)), f"{words.encoder_label(name)}, layer {best}"
        lines.append(mine.assign(line=label, x=x, value=mine["estimate"]))
    rows = pd.concat(lines)
    ends = rows.groupby("line", sort=False)["value"].last()
    extremes = ends if len(ends) < 3 else ends.loc[[ends.idxmin(), ends.idxmax()]]  # a title holds no more
    said = of_chart("families", heading=TASKS[task].heading, ends=ends.to_dict(), extremes=extremes.to_dict())
    return _over_hours(rows, contrast, said)


def _over_hours(rows: pd.DataFrame, contrast: str, said: Mapping[str, Any]) -> alt.LayerChart:
    return charts.curves(
        rows.drop(columns="layer"),  # each line is of one, but has many points
        x_title="hours of speech heard in training",
        y_title=f"log odds ratio of error, {contrast}",
        format="+~f",
        log_x=True,
        reference=(0, "no gap"),
        **said,
    )


def opening_table(
    opens: Mapping[str, Finding], changes: Mapping[str, pd.DataFrame], encoder: str, contrast: str
) -> pd.DataFrame:
    """The gap before and after pretraining at each layer of each task.

    Args:
        opens: by task, from `fairlib.findings.pretraining.when_it_opens`.
        changes: by task, from `fairlib.findings.pretraining.since_the_start`.
    """
    rows = []
    for task, finding in opens.items():
        change = _changes(changes[task], contrast)
        for row in finding.evidence:
            since = row["biased_since_step"]
            rows.append(
                {"task": TASKS[task].title, "layer": row["layer"]}
                | {f"gap at the {when}": _gap_at(row, when) for when in ("start", "end")}
                | {
                    "change": with_interval("log odds", change.loc[row["layer"]]),
                    "p (Holm)": Number("p", row["p_holm"]),
                }
                | {"shown from": "" if pd.isna(since) else hours_at(encoder, [since])[since]}
            )
    return pd.DataFrame(rows)


def _gap_at(row: Mapping[str, Any], when: str) -> Number:
    return with_interval("log odds", row, [f"{name}_at_{when}" for name in ESTIMATE])


def _hours(along: pd.DataFrame, encoder: str) -> dict[int, str]:
    """What to call each step."""
    return hours_at(encoder, sorted(along["step"].unique()))


def _best_at_the_end(along: pd.DataFrame) -> str:
    return str(along[along["step"] == along["step"].max()].set_index("layer")["error"].idxmin())


def best_errors(paths: Mapping[str, pd.DataFrame], corpus: str) -> alt.LayerChart:
    """The best layer's phone error over the hours of speech heard, of each encoder that was measured on the way.

    Args:
        paths: from `fairlib.findings.layers.along_training`, by encoder.
    """
    ends = {name: path["value"].iloc[[0, -2, -1]].to_list() for name, path in paths.items()}
    fell = sorted(100 * (before - last) for _, before, last in ends.values())
    lasted = sorted(path["x"].iloc[-1] - path["x"].iloc[-2] for path in paths.values())
    return charts.curves(
        pd.concat(path.assign(line=encoder_label(name)) for name, path in paths.items()),
        x_title="hours of speech heard in training",
        y_title="misclassified frames (%)",
        format="%",
        log_x=True,
        height=240,
        **of_chart(
            "best_errors",
            hours=dict.fromkeys(f"{hours:.0f}" for hours in (lasted[0], lasted[-1])),
            fell=dict.fromkeys(f"{points:.1f}" for points in (fell[0], fell[-1])),
            corpus=corpus,
            ends=ends,
        ),
    )


def pretraining_task(log: pd.DataFrame) -> alt.LayerChart:
    """How many of the hidden frames an encoder predicts over the hours of speech heard.

    Args:
        log: from `fairlib.encoders.pretraining_log`.
    """
    several = math.ceil(len(log) / 20)  # of the log's rows stand together in one point
    drawn = log.iloc[len(log) % several :].groupby(lambda row: row // several).mean()
    return charts.curves(
        drawn.assign(line="hidden frames", x=drawn["hours_heard"], value=drawn["masked_accuracy"]),
        x_title="hours of speech heard in training",
        y_title="hidden frames predicted correctly (%)",
        format="%",
        **of_chart("pretraining_task", share=log["masked_accuracy"].iloc[-5:].mean()),
    )


def _changes(changes: pd.DataFrame, contrast: str) -> pd.DataFrame:
    return changes[(changes["contrast"] == contrast) & (changes["scale"] == "log_odds")].set_index("layer")


def _by_step(along: pd.DataFrame, hours: Mapping[int, str], column: str) -> list[tuple[str, dict[str, float]]]:
    """Every layer's number at every step, for who does not see the chart."""
    return [(hours[step], dict(zip(mine["layer"], mine[column]))) for step, mine in along.groupby("step")]
