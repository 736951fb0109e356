"""Calibration: how the measures of bias behave on simulated studies of known truth; bench/calibration.py makes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from fairlib.base.files import ASSETS
from fairlib.bias.contrasts import SCALE_WORDS
from fairlib.findings.cells import numbers
from fairlib.findings.wording import say

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


def family_table() -> pd.DataFrame:
    """How often at least one gap is claimed in studies without any, by what guards against it and by the people in each
    group.

    Example:
        >>> family_table().columns.tolist()[:3]
        ['test', 'groups and layers', '5 people']
    """
    rows = calibration().query("topic == 'false_positives' and scale == 'difference'")
    tests = {name: name for name in ("gap, Holm", "gap, family-wise", "worst vs best, family-wise")}
    sizes = {size: f"{size} people" for size in sorted(rows["n_speakers"].unique())}
    shares = _shares(rows, ["test", "condition"], "n_speakers", {"test": tests, "n_speakers": sizes})
    return shares.rename(columns={"condition": "groups and layers"})


def association_table() -> pd.DataFrame:
    """How often two tests find that bias follows error, by what was planted, on each scale; thirty people a group.

    Example:
        >>> association_table().columns.tolist()
        ['planted', 'test', 'difference', 'ratio', 'log odds ratio']
    """
    planted = {
        "constant odds": "nothing (constant odds)", "planted: rises with error": "bias rises with error",
        "planted: falls with error": "bias falls with error", "planted: without order": "bias without order",
    }  # fmt: skip
    tests = {"rank test over layers, as usual": "usual test", "slope beyond one odds ratio": "this book's test"}
    rows = calibration().query("topic == 'association' and n_speakers == 30")
    names = {"condition": planted, "test": tests, "scale": SCALE_WORDS}
    return _shares(rows, ["condition", "test"], "scale", names).rename(columns={"condition": "planted"})


def design_table() -> pd.DataFrame:
    """How often the slope is significant among the book's own people, by how unequal the gap of the layers was made.

    Example:
        >>> design_table().columns.tolist()[:3]
        ['instrument', 'mean gap, log odds', 'nothing (R 1)']
    """
    rows = calibration().query("topic == 'design' and scale == 'log_odds'")
    parts = rows["condition"].str.extract(r"^(?P<instrument>\w+), gap (?P<gap>[\d.]+), (?P<planted>R .*)$")
    ratios = {ratio: ratio for ratio in parts["planted"]} | {"R 1.0": "nothing (R 1)"}
    names = {"instrument": {"sid": "speakers", "asr": "characters"}, "planted": ratios}
    shares = _shares(rows.join(parts), ["instrument", "gap"], "planted", names)
    return shares.rename(columns={"gap": "mean gap, log odds"})


def crossed_table() -> pd.DataFrame:
    """How often probes trained on one group each show a shift or noise, by what was planted in the voices.

    Example:
        >>> crossed_table()["people tested in each group"].tolist()
        [10, 30, 10, 30, 10, 30]
    """
    worlds = {
        "alike": "the groups are alike", "shifted": "the second is shifted", "noisier": "the second varies more"
    }  # fmt: skip
    shown = {
        "penalty of both": "a penalty of both is shown", "own-taught gap": "a remaining gap is shown",
        "random penalty": "a penalty of random halves is shown",
    }  # fmt: skip
    rows = calibration().query("topic == 'teaching' and scale == 'log_odds'")
    shares = _shares(rows, ["condition", "n_speakers"], "test", {"condition": worlds, "test": shown})
    return shares.rename(columns={"condition": "world", "n_speakers": "people tested in each group"})


def crossed_sentence() -> str:
    """The same with the most people, in words.

    Example:
        >>> crossed_sentence().partition(",")[0]
        'With 30 people tested in each group'
    """
    people = int(calibration().query("topic == 'teaching'")["n_speakers"].max())

    def share(test: str, world: str) -> float:
        return value("teaching", test, "log_odds", world, people)

    return say(
        "simulated.crossed",
        people=people,
        shift_found=share("penalty of both", "shifted"),
        shift_claimed=share("penalty of both", "noisier"),
        gap_found=share("own-taught gap", "noisier"),
        gap_claimed=share("own-taught gap", "alike"),
    )


def _shares(rows: pd.DataFrame, by: Sequence[str], across: str, names: Mapping[str, Mapping]) -> pd.DataFrame:
    """Shares of studies: a line for the values of some columns, a column for each of another.

    Args:
        names: by column, what to call its values, in their order; rows with others are left out.
    """
    for column, called in names.items():
        rows = rows[rows[column].isin(list(called))]
        named = pd.Categorical(rows[column].map(called), categories=list(called.values()))
        rows = rows.assign(**{column: named})
    wide = rows.assign(value=numbers("share", rows["value"])).pivot(index=list(by), columns=across, values="value")
    wide.columns = list(wide.columns)
    return wide.reset_index().fillna("")
