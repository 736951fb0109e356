"""What stands in the cells of a table: numbers, until `fairlib.display.tables` writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ESTIMATE = ("estimate", "low", "high")


@dataclass(frozen=True)
class Number:
    """A number and what it is of, with its interval if it has one.

    Attributes:
        kind: ``share`` (of one), ``change`` (a share, signed), ``per cent`` (a share, in a column that says so),
            ``difference`` (of shares), ``points``, ``least points`` (a smallest gap), ``log odds``, ``slope`` (three
            digits), ``ratio``, ``size`` (no sign), ``small`` (three digits) or ``p``.
        low, high: of the interval.
        starred: chance would not make it so large.
    """

    kind: str
    value: float
    low: float | None = None
    high: float | None = None
    starred: bool = False


@dataclass(frozen=True)
class Cell:
    """Several numbers with words between them; a line break begins the cell's second line.

    Example:
        >>> Cell("error ", Number("share", 0.12), "\\nlayer 3").parts[1].value
        0.12
    """

    parts: tuple[Any, ...]

    def __init__(self, *parts: Any) -> None:
        object.__setattr__(self, "parts", parts)


def with_interval(kind: str, row: Mapping[str, Any], names: Sequence[str] = ESTIMATE) -> Number:
    """A row's estimate and interval.

    Example:
        >>> with_interval("log odds", {"estimate": 0.5, "low": 0.2, "high": 0.8}).high
        0.8
    """
    estimate, low, high = (float(row[name]) for name in names)
    return Number(kind, estimate, low, high)


def error_of(row: Any) -> Number:
    """A row's ``error, low, high``, as a share."""
    return Number("share", float(row.error), float(row.low), float(row.high))


def numbers(kind: str, *columns: Iterable[float]) -> list[Number]:
    """A column of numbers; of intervals, given their estimates, lower and upper ends.

    Example:
        >>> numbers("p", [0.5, 0.01])[1]
        Number(kind='p', value=0.01, low=None, high=None, starred=False)
    """
    return [Number(kind, *values) for values in zip(*columns, strict=True)]
