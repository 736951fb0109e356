"""How much of what a probe reads is the layer's: code length of the labels, and selectivity."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fairlib.probes.codes import online_code
from fairlib.probes.phones import PhoneFrames, PhoneProbe
from fairlib.probes.speakers import FEWEST_UTTERANCES, SpeakerProbe
from fairlib.probes.splits import ProbeError, enough
from fairlib.probes.stored import Work, stored, with_left_out


def description_length(
    encoder: str, corpus: str | pd.DataFrame, task: str = "sid", seeds: int = 1, force: bool = False
) -> pd.DataFrame:
    """Online code length of the labels given each layer: how hard a layer makes its probe work.

    Voita and Titov 2020: labels are sent in blocks of growing size, each coded with a linear probe trained on all
    before; the first block costs log2(classes) a label (see `fairlib.probes.codes.online_code`). A layer from which a
    few examples suffice has a short code; labels that it does not tell cost log2(classes) bits each.

    Args:
        task: ``sid`` (speakers of utterances) or ``phone`` (phones of frames; of one frame in ten).
        encoder, corpus, force: as `fairlib.probe`'s ``what`` and ``corpus``.
        seeds: each with its own order of the labels.

    Returns:
        Outcomes in unit ``millibit``: code length of each utterance's labels in thousandths of a bit (``errors``) and
        their number (``length``); ``probe`` is ``online code``, and ``uniform code`` for the code that knows nothing.

    Example:
        >>> code = description_length("pocket-hubert", "speechocean762")  # doctest: +SKIP
        >>> code.groupby(["layer", "probe"])["errors"].sum()  # doctest: +SKIP
    """
    if task not in ("sid", "phone"):
        raise ProbeError(f"Unknown task {task!r}: choose sid or phone.")
    # The code is that of a probe that stops early, whose code length is published.
    settings = {**(SpeakerProbe(iterations=20) if task == "sid" else PhoneProbe()).settings(), "code": 1}

    def compute(work: Work, seed: int) -> tuple[pd.DataFrame, dict]:
        few: list[str] = []
        utterances = None
        if task == "sid":
            kept, few = enough(work.table, FEWEST_UTTERANCES)
            table, features = work.table.iloc[kept].reset_index(drop=True), work.features(work.table)
            owner, codes = np.arange(len(table)), pd.factorize(table["speaker_id"])[0]
            layers = features.layers

            def matrix(layer: str) -> np.ndarray:
                return features.pooled(layer)[kept]
        else:
            frames = PhoneFrames(work)
            chosen = np.sort(np.random.default_rng(seed).permutation(len(frames.owner))[: len(frames.owner) // 10])
            utterances = frames.left_out
            table, owner, codes = frames.table, frames.owner[chosen], pd.factorize(frames.codes[chosen])[0]
            layers = frames.features.layers

            def matrix(layer: str) -> np.ndarray:
                return frames.matrix(layer)[chosen]

        tables = []
        for layer in layers:
            bits = online_code(
                matrix(layer), codes, groups=owner, seed=seed, l2=settings["l2"], iterations=settings["iterations"],
                device=work.device,
            )  # fmt: skip
            for name, lengths in (
                ("online code", bits),
                ("uniform code", np.full(len(bits), np.log2(codes.max() + 1))),
            ):
                sums = pd.DataFrame({"row": owner, "errors": 1000 * lengths, "length": 1}).groupby("row").sum()
                sums["errors"] = sums["errors"].round().astype(int)
                tables.append(pd.concat([table.loc[sums.index], sums], axis=1).assign(layer=layer, probe=name))
        return with_left_out(pd.concat(tables).assign(unit="millibit", predicted=""), few, utterances)

    return stored(task, "online code", encoder, corpus, (), settings, seeds, force, compute)


def selectivity(outcomes: pd.DataFrame, control: pd.DataFrame) -> pd.DataFrame:
    """Error on the control task less error on the task, layer by layer (Hewitt and Liang 2019).

    Args:
        outcomes, control: of the same encoders, corpus and layers, the second with ``shuffled`` or ``control``.

    Returns:
        One row per encoder, task, unit and layer: ``error, control_error, selectivity``.

    Raises:
        ProbeError: the two have no layer in common.

    Example:
        >>> rows = pd.DataFrame({"encoder": "e", "task": "sid", "unit": "speaker", "layer": "1", "length": [1, 1]})
        >>> selectivity(rows.assign(errors=[0, 1]), rows.assign(errors=1))["selectivity"].tolist()
        [0.5]
    """
    cells = ["encoder", "task", "unit", "layer"]
    errors = [
        rows.groupby(cells, sort=False)["errors"].sum() / rows.groupby(cells, sort=False)["length"].sum()
        for rows in (outcomes, control)
    ]
    table = pd.concat([errors[0].rename("error"), errors[1].rename("control_error")], axis=1, join="inner")
    if table.empty:
        raise ProbeError("The task's and the control's outcomes share no encoder, task, unit and layer.")
    return table.assign(selectivity=table["control_error"] - table["error"]).reset_index()
