"""How far the layers of an encoder lie apart, by the marks that were set before the second encoders were trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logit

from fairlib.encoders import logmel_as_wide
from fairlib.encoders.names import encoder_label, parsed
from fairlib.findings.cells import Cell, Number
from fairlib.findings.gap_tables import mean_error
from fairlib.findings.layers import GATE, which_depths
from fairlib.findings.survey import every_encoder
from fairlib.findings.wording import say

CORPORA = ("librispeech", "speechocean762")  # the last has most people: spans and best layers are of it
WIDER = "logmel-105ms"
_DIFFER = {"supported": "they differ", "contradicted": "the same", "inconclusive": "not shown to differ"}


def marks_table(families: Mapping[str, dict[str, pd.DataFrame]] | None = None) -> pd.DataFrame:
    """Each encoder of ours on people whom it has not heard, a row each, from the published outcomes; those that were
    fine-tuned come last.

    In phones: points of error between layer 0 and the best block; how far, as a share, that block is below log-mel with
    the context of layer 0; and the span over all layers in log odds, which is given for speakers, too. Then the layers
    best for speakers and for phones, and whether they differ by the rule "depth". The first column counts the marks
    that are met: those of `fairlib.findings.layers.GATE`, two for each corpus and a span of each kind, and that.

    Args:
        families: what `every_encoder` gives of corpora that were asked before, by corpus; the others are asked now.

    Example:
        >>> marks_table().set_index("encoder").loc["mini-hubert", "marks met"]
        '5 of 7'
    """
    given = families or {}
    families = {corpus: given.get(corpus) or every_encoder(corpus) for corpus in CORPORA}
    names = dict.fromkeys(name for family in families.values() for name in family)
    return pd.DataFrame([_marks(name, families) for name in names if all(name in one for one in families.values())])


def marks_in_context(name: str, families: Mapping[str, dict[str, pd.DataFrame]] | None = None) -> str:
    """How many marks an encoder would meet if log-mel had 105 ms of context, which is more than its layer 0 may hear.

    Args: as `marks_table`.
    """
    given = families or {}
    families = {corpus: given.get(corpus) or every_encoder(corpus) for corpus in CORPORA}
    row = _marks(name, families, WIDER)
    less = {corpus: row[f"phones, {corpus}: below log-mel (%)"].value for corpus in families}
    return say("marks.in_context", encoder=name, ms=parsed(WIDER).heard_ms, less=less, met=row["marks met"])


def _marks(name: str, families: Mapping[str, dict[str, pd.DataFrame]], control: str = "") -> dict[str, Any]:
    """A row of `marks_table`; ``control``: the log-mel to compare with, by default the one of layer 0's context."""
    row: dict[str, Any] = {"encoder": encoder_label(name), "marks met": ""}  # what counts stands first
    met = []
    for corpus, family in families.items():
        phones = _errors(family[name], name, "phone")
        best = phones.drop(["cnn", "0"]).idxmin()
        below = 100 * (phones["0"] - phones[best])
        less = 1 - phones[best] / _errors(family[name], control or logmel_as_wide(name, "0"), "phone").iloc[0]
        row[f"phones, {corpus}: below layer 0 (points)"] = Cell(Number("size", below), f" ({best})")
        row[f"phones, {corpus}: below log-mel (%)"] = Number("per cent", less)
        met += [below >= GATE["below layer 0"], 100 * less >= GATE["below log-mel"]]
    most = families[CORPORA[-1]][name]
    spans = [float(np.ptp(logit(_errors(most, name, unit).to_numpy(float)))) for unit in ("phone", "speaker")]
    row["span, log odds"] = Cell(Number("size", spans[0]), " phones\n", Number("size", spans[1]), " speakers")
    met += [span >= GATE["span"] for span in spans]
    depths = which_depths(most[most["unit"].isin(("speaker", "phone"))], name)
    row["best for speakers, for phones"] = f"{depths.facts['sid']}, {depths.facts['phone']}\n{_DIFFER[depths.verdict]}"
    met.append(depths.verdict == "supported")
    return row | {"marks met": f"{sum(met)} of {len(met)}"}


def _errors(outcomes: pd.DataFrame, encoder: str, unit: str) -> pd.Series:
    """Error over all speakers by layer, of one encoder and unit."""
    own = outcomes[(outcomes["encoder"] == encoder) & (outcomes["unit"] == unit)]
    return mean_error(own).set_index("layer")["error"]
