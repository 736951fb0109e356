"""Calibration: how the measures of bias behave on simulated studies of known truth; bench/calibration.py makes it."""

from __future__ import annotations

import pandas as pd

from fairlib.base.files import ASSETS

CALIBRATION = ASSETS / "calibration.parquet"


def calibration() -> pd.DataFrame:
    """Every figure of the calibration: ``topic, test, scale, condition, n_speakers`` (in each group), ``value, low,
    high`` (95 % over studies) and ``studies``.

    Example:
        >>> sorted(calibration()["topic"].unique())[:3]
        ['artefact', 'association', 'coverage']
    """
    return pd.read_parquet(CALIBRATION)


def lines(topic: str, tests: dict[str, str], scale: str = "difference", condition: str = "two groups") -> pd.DataFrame:
    """Rows of the calibration for `fairlib.display.charts.curves`: a line a test, over the number of speakers.

    Args:
        tests: the line's name by the test's name in the calibration.

    Raises:
        ValueError: the calibration has no such rows.

    Example:
        >>> lines("coverage", {"utterance bootstrap": "utterances"})["line"].unique().tolist()
        ['utterances']
    """
    table = calibration()
    chosen = table[(table["topic"] == topic) & (table["scale"] == scale) & (table["condition"] == condition)]
    chosen = chosen[chosen["test"].isin(list(tests))]
    missing = set(tests) - set(chosen["test"])
    if missing:
        raise ValueError(f"The calibration has no {topic} of {', '.join(sorted(missing))} ({scale}, {condition}).")
    chosen = chosen.assign(line=chosen["test"].map(tests), x=chosen["n_speakers"])
    order = {name: place for place, name in enumerate(tests.values())}
    return chosen.sort_values(["line", "x"], key=lambda c: c.map(order) if c.name == "line" else c, ignore_index=True)


def value(topic: str, test: str, scale: str = "difference", condition: str = "two groups", speakers: int = 30) -> float:
    """One figure of the calibration.

    Example:
        >>> 0.03 < value("false_positives", "gap") < 0.07
        True
    """
    table = calibration()
    chosen = {"topic": topic, "test": test, "scale": scale, "condition": condition, "n_speakers": speakers}
    for column, wanted in chosen.items():
        table = table[table[column] == wanted]
    return float(table["value"].iloc[0])
