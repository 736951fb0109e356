"""What each layer holds: its errors over all speakers, and whether that was learnt."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logit

from fairlib.base.files import ASSETS
from fairlib.base.tasks import unit_named
from fairlib.bias import everybody, group_errors, layer_order, stretched_interval
from fairlib.encoders.names import encoder_label, is_untrained, untrained_twin
from fairlib.findings.cells import ESTIMATE, Cell, Number, error_of
from fairlib.findings.finding import Finding, judged
from fairlib.findings.rules import NUMBERS
from fairlib.findings.wording import say

ABLATIONS = ASSETS / "ablations.csv"
BELOW_LOGMEL, BELOW_TWIN = NUMBERS["below_logmel"], NUMBERS["below_twin"]


def layer_errors(outcomes: pd.DataFrame, resamples: int = 2000, confidence: float = 0.95) -> pd.DataFrame:
    """Error of each layer over all speakers, with its interval over speakers (`fairlib.bias.group_errors`).

    Args:
        outcomes: see `fairlib.outcomes`; several encoders, tasks and units may be concatenated.

    Returns:
        One row per encoder, task, unit, probe and layer: ``error, low, high, n_speakers``.

    Example:
        >>> from fairlib.bias.simulation import simulate_outcomes
        >>> layer_errors(simulate_outcomes({"a": [0.1, 0.3], "b": [0.1, 0.3]}, speakers=200))["error"].round(1).tolist()
        [0.1, 0.3]
    """
    table = group_errors(outcomes, None, resamples, confidence)
    return table[["encoder", "task", "unit", "probe", "layer", "error", "low", "high", "n_speakers"]]


def reduction(outcomes: pd.DataFrame, encoder: str, control: str, resamples: int = 2000) -> dict[str, float]:
    """How far, as a share, the encoder's best layer is below the control's best in error: ``estimate, low, high``.

    Both are judged on the same resamples of the speakers, and in each of them both choose their best layer anew.

    Args:
        outcomes: of one task and unit, of the same test utterances for both.
    """
    _, mine, whole, people = _drawn(outcomes[outcomes["encoder"] == encoder], resamples)
    _, others, other_whole, _ = _drawn(outcomes[outcomes["encoder"] == control], resamples)
    estimate = np.array([1 - whole.min() / other_whole.min()])
    drawn = (1 - mine.min(axis=1) / others.min(axis=1))[:, None]
    low, high = stretched_interval(estimate, drawn, np.ones((1, 1)), np.array([people]), 0.95)
    return {"estimate": float(estimate[0]), "low": float(low[0]), "high": float(high[0])}


def what_was_learnt(outcomes: pd.DataFrame, encoder: str) -> Finding:
    """Is the best layer's phone error below log-mel's and the untrained twin's?

    Args:
        outcomes: of phones, with the encoder and both controls.
    """
    phones = outcomes[outcomes["task"] == "phone"]
    if phones.empty:
        return judged("learnt", "inconclusive", {}, [], said="no_phones")
    errors = layer_errors(phones, resamples=200)
    best = errors.loc[errors.groupby("encoder")["error"].idxmin()].set_index("encoder")
    against = {"logmel": BELOW_LOGMEL, untrained_twin(encoder): BELOW_TWIN}
    rows: list[dict[str, Any]] = [
        {"control": name, "mark": mark, **reduction(phones, encoder, name)} for name, mark in against.items()
    ]
    if all(row["low"] >= row["mark"] for row in rows):
        verdict = "supported"
    elif all(row["estimate"] <= 0 for row in rows):
        verdict = "contradicted"
    else:
        verdict = "inconclusive"
    facts = {
        "encoder": encoder, "layer": best.loc[encoder, "layer"], "error": float(best.loc[encoder, "error"]),
        "less": [[100 * row[name] for name in ESTIMATE] for row in rows], "marks": list(against.values()),
    }  # fmt: skip
    return judged("learnt", verdict, facts, rows, said="less" if verdict != "inconclusive" else "")


def which_depths(outcomes: pd.DataFrame, encoder: str, resamples: int = 2000) -> Finding:
    """Do the layers best for speaker identification and for phone classification differ?

    Args:
        outcomes: of speakers and of phones.
    """
    own = outcomes[outcomes["encoder"] == encoder]
    if not {"sid", "phone"} <= set(own["task"]):
        return judged("depth", "inconclusive", {}, [], said="lacking")
    layers, drawn, whole = {}, {}, {}
    for task in ("sid", "phone"):
        layers[task], drawn[task], whole[task], _ = _drawn(own[own["task"] == task], resamples)
    order = [layer for layer in layers["sid"] if layer in layers["phone"]]
    place = {task: {layer: layers[task].index(layer) for layer in order} for task in layers}
    best = {task: order[int(np.argmin([whole[task][place[task][layer]] for layer in order]))] for task in layers}
    rows, apart = [], []
    for task, other in (("sid", "phone"), ("phone", "sid")):
        columns = drawn[task][:, [place[task][best[task]], place[task][best[other]]]]
        share = float((columns[:, 0] < columns[:, 1]).mean())
        apart.append(share >= 0.95)
        rows.append({"task": task, "best": best[task], "better_than": best[other], "share_of_resamples": share})
    one = best["sid"] == best["phone"]
    verdict = "contradicted" if one else "supported" if all(apart) else "inconclusive"
    facts = {**best, "apart": all(apart)}
    return judged("depth", verdict, facts, rows, said="one" if one else "apart")


def along_training(outcomes: dict[int, pd.DataFrame], hours: dict[int, float]) -> pd.DataFrame:
    """Lowest error of any layer at steps of the pretraining, over the hours of speech heard by then.

    Args:
        outcomes: of one task, by step.
        hours: by step, from `fairlib.findings.pretraining.hours_heard`.

    Returns:
        ``x`` (hours), ``value, low, high`` (of the layer that is best then) and ``layer``, a row each step.
    """
    rows = []
    for step, table in sorted(outcomes.items()):
        errors = layer_errors(table)
        best = errors.loc[errors["error"].idxmin()]
        rows.append({"x": hours[step], "value": best["error"], "low": best["low"], "high": best["high"]})
        rows[-1]["layer"] = best["layer"]
    return pd.DataFrame(rows)


def told(errors: pd.DataFrame, encoder: str) -> dict[str, str]:
    """Title and description of a chart of one unit's errors by layer, from `layer_errors`."""
    lowest = errors.loc[errors.groupby("encoder", sort=False)["error"].idxmin()].set_index("encoder")
    others = lowest.drop(encoder)["error"]
    facts = {
        "what": unit_named(errors["unit"].iloc[0]).error, "layer": lowest.loc[encoder, "layer"],
        "error": lowest.loc[encoder, "error"],
        "others": [{"encoder": name, "twin": is_untrained(name), "error": error} for name, error in others.items()],
        "lines": [{"encoder": name, "layers": list(rows["layer"]), "errors": list(rows["error"])}
                  for name, rows in errors.groupby("encoder", sort=False)],
    }  # fmt: skip
    return {part: say(f"by_layer.{part}", **facts) for part in ("title", "description")}


def knowledge_table(errors: pd.DataFrame) -> pd.DataFrame:
    """One row per encoder and layer, one column per unit of `layer_errors`."""
    many = errors["unit"].map(lambda unit: unit_named(unit).many)
    cells = errors.assign(cell=[error_of(row) for row in errors.itertuples()], unit=many)
    rows = []
    for name, mine in cells.groupby("encoder", sort=False):
        for layer in layer_order(mine["layer"].unique()):
            of_layer = mine[mine["layer"] == layer].set_index("unit")["cell"]
            shown = "all" if layer == "logmel" else layer
            rows.append({"encoder": encoder_label(name), "layer": shown, **of_layer.add_prefix("wrong ")})
    return pd.DataFrame(rows).fillna("")


# What an encoder needs for its layers to differ clearly, set before any group gap was looked at.
GATE = {"below layer 0": 3.0, "below log-mel": 15.0, "span": 0.3}


def ablations_table() -> pd.DataFrame:
    """How far the layers of short trainings differ, a row each (`bench/yardstick.py` measured it).

    Example:
        >>> ablations_table().columns[0], len(ablations_table()) > 8
        ('training', True)
    """
    table = pd.read_csv(ABLATIONS)
    mel = table[table["training"] == "log-mel"].set_index("layer").loc["logmel-100ms"]
    rows = []
    for name, mine in table[table["training"] != "log-mel"].groupby("training", sort=False):
        of_layer = mine.set_index("layer")
        blocks = of_layer.drop(index=["cnn", "0"])
        size = f"{mine['parameters'].iloc[0] / 1e6:.1f} million parameters, {mine['hours_heard'].iloc[0]:.0f} hours"
        row: dict[str, Any] = {"training": f"{name}\n{size}"}
        for corpus in ("librispeech", "speechocean762"):
            errors = of_layer[f"phones_{corpus}"]
            best, first = str(blocks[f"phones_{corpus}"].idxmin()), errors["0"]
            against = Number("change", errors[best] / mel[f"phones_{corpus}"] - 1)
            row[f"phone error (%), {corpus}: layer 0, best block"] = Cell(
                Number("per cent", first), ", ", Number("per cent", errors[best]), f" ({best})\n", against,
                " against log-mel",
            )  # fmt: skip
        best = of_layer["speakers"].idxmin()
        row["speaker error (%): best layer"] = Cell(Number("per cent", of_layer.loc[best, "speakers"]), f" ({best})")
        spans = [float(np.ptp(logit(of_layer[column]))) for column in ("phones_librispeech", "speakers")]
        row["span, log odds"] = Cell(Number("size", spans[0]), " phones\n", Number("size", spans[1]), " speakers")
        rows.append(row)
    return pd.DataFrame(rows)


def _drawn(outcomes: pd.DataFrame, resamples: int) -> tuple[list[str], np.ndarray, np.ndarray, int]:
    """Layers, their errors in each resample of the speakers ``[resamples, layers]``, and over all ``[layers]``; number
    of speakers."""
    (sums,) = everybody(outcomes)
    members = sums.groups["everybody"]
    whole = sums.errors.sum(axis=(0, 1)) / sums.lengths.sum(axis=(0, 1))
    return sums.cells["layer"].to_list(), np.divide(*sums.resample(members, resamples)), whole, len(members)
