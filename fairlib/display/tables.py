"""Tables as pages show them."""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape
from typing import Any

import pandas as pd
from IPython.display import HTML

from fairlib.findings.cells import Cell, Number
from fairlib.writing import in_points, number, p_value, percent


def table(frame: pd.DataFrame, caption: str, folded: bool = False) -> HTML:
    """A table for reading that scrolls by itself where the page is narrow; cells' second lines are small.

    The one place that writes numbers of tables: see `written`.

    Numbers with their intervals stay on one line, longer words do not.

    Args:
        folded: show the caption only, until it is opened.
    """
    head = "".join(f'<th scope="col">{escape(str(name))}</th>' for name in frame.columns)
    lines = ["".join(map(_cell, row)) for row in frame.map(written).itertuples(index=False)]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    above = "" if folded else f"<caption>{escape(caption)}</caption>"
    html = (
        '<div class="fairlib-table" style="overflow-x:auto" tabindex="0" role="region"'
        f' aria-label="{escape(caption)}">'
        f"<table>{above}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
    return HTML(f"<details><summary>{escape(caption)}</summary>{html}</details>" if folded else html)


_WRITTEN: dict[str, Callable[[float], str]] = {
    "share": percent,
    "change": lambda share: number(100 * share, 1 if abs(share) < 0.0995 else 0) + "\N{NO-BREAK SPACE}%",
    "per cent": lambda share: number(100 * share, 1).lstrip("+"),
    "log odds": lambda value: number(value, 2),
    "slope": lambda value: number(value, 3),
    "difference": lambda share: number(100 * share, 1),
    "points": lambda value: number(value, 1),
    "ratio": lambda value: number(value, 2).lstrip("+"),
    "size": lambda value: number(value, 2).lstrip("+"),
    "small": lambda value: number(value, 3).lstrip("+"),
    "least points": in_points,
    "p": p_value,
}


def written(cell: Any) -> str:
    """A table's cell as text: an interval stands on a second line or, among other things, beside its number.

    Example:
        >>> written(Number("log odds", 0.5, 0.25, 0.75))
        '+0.50\\n+0.25 to +0.75'
        >>> written(Cell("error ", Number("share", 0.12))), written(3), written(None)
        ('error 12\\xa0%', '3', '')
    """
    if isinstance(cell, Number):
        value, interval = _parts(cell)
        return f"{value}\n{' to '.join(interval)}" if interval else value
    if isinstance(cell, Cell):
        return "".join(_inline(part) for part in cell.parts)
    return "" if cell is None or cell is pd.NA or isinstance(cell, float) and math.isnan(cell) else str(cell)


def _inline(part: Any) -> str:
    if not isinstance(part, Number):
        return str(part)
    value, interval = _parts(part)
    return f"{value} [{', '.join(interval)}]" if interval else value


def _parts(cell: Number) -> tuple[str, list[str]]:
    write = _WRITTEN[cell.kind]
    interval = [] if cell.low is None or cell.high is None else [write(cell.low), write(cell.high)]
    return write(cell.value) + (" *" if cell.starred else ""), interval


def _cell(text: str) -> str:
    first, *second = text.split("\n", 1)
    # Numbers with their intervals, and names, stay on one line; words need not.
    kind = ' class="words"' if max(map(_letters, (first, *second))) > 20 else ""
    small = f"<br><small>{escape(second[0])}</small>" if second else ""
    return f"<td{kind}>{escape(first)}{small}</td>"


def _letters(text: str) -> int:
    return sum(character.isalpha() or character == " " for character in text)
