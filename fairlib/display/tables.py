"""Tables as pages show them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from html import escape, unescape
from typing import Any, NamedTuple

import pandas as pd
from IPython.display import HTML, Markdown, display

from fairlib.base.writing import in_points, number, p_value, percent, size
from fairlib.findings.cells import Cell, Number


def table(frame: pd.DataFrame, caption: str, folded: bool = False) -> HTML:
    """A table for reading that scrolls by itself where the page is narrow; cells' second lines are small.

    The one place that writes numbers of tables: see `written`.

    Numbers with their intervals stay on one line, longer words do not. The output's metadata keep them unrounded, for
    `read_table`.

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
    html = f"<details><summary>{escape(caption)}</summary>{html}</details>" if folded else html
    return HTML(html, metadata={"fairlib_numbers": _numbers(frame)})


def show_table(frame: pd.DataFrame, caption: str, otherwise: str = "") -> None:
    """Show a `table`, if it has rows; else what is said in its place, in Markdown, if anything."""
    if len(frame):
        display(table(frame, caption))
    elif otherwise:
        display(Markdown(otherwise))


class ReadTable(NamedTuple):
    """A table read back from a page.

    Attributes:
        rows: cells as shown; a second line stands after a line break.
        numbers: by column (its place) and row, the cell's numbers as ``[value, low, high]``, unrounded and in the unit
            that is shown (12 % is 12); empty where they were not kept.
    """

    caption: str
    columns: list[str]
    rows: list[list[str]]
    numbers: dict[int, list[list[list[float | None]]]]


def read_table(html: str, metadata: dict[str, Any] | None = None) -> ReadTable | None:
    """The table in a page's HTML, if `table` wrote it; with the output's metadata, its numbers too.

    Example:
        >>> shown = table(pd.DataFrame({"error": [Number("share", 0.1234, 0.1, 0.15)]}), "Errors")
        >>> read = read_table(shown.data, shown.metadata)
        >>> read.caption, read.columns, read.rows, read.numbers
        ('Errors', ['error'], [['12\\xa0%\\n10\\xa0% to 15\\xa0%']], {0: [[[12.34, 10.0, 15.0]]]})
    """
    label = re.search(r'<div class="fairlib-table"[^>]* aria-label="([^"]*)">', html)
    if not label:
        return None
    columns = [unescape(name) for name in re.findall(r'<th scope="col">(.*?)</th>', html, re.S)]
    body = html[html.index("<tbody>") : html.index("</tbody>")]
    rows = [
        [
            unescape(cell.replace("<br><small>", "\n").replace("</small>", ""))
            for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.S)
        ]
        for row in re.findall(r"<tr>(.*?)</tr>", body, re.S)
    ]
    kept = (metadata or {}).get("fairlib_numbers", {})
    return ReadTable(unescape(label[1]), columns, rows, {int(place): column for place, column in kept.items()})


def _numbers(frame: pd.DataFrame) -> dict[str, list[list[list[float | None]]]]:
    """The numbers of every column that has some, as `ReadTable` says; keys are text, as those of JSON are."""
    found = {}
    for place in range(frame.shape[1]):
        column = [
            [
                _unrounded(part)
                for part in (cell.parts if isinstance(cell, Cell) else [cell])
                if isinstance(part, Number)
            ]
            for cell in frame.iloc[:, place]
        ]
        if any(column):
            found[str(place)] = column
    return found


def _unrounded(number: Number) -> list[float | None]:
    scale = 100 if number.kind in _IN_PERCENT else 1
    three = (number.value, number.low, number.high)
    # To fifteen digits, so that a share of 0.07 is 7 and not 7.000000000000001.
    return [None if x is None or not math.isfinite(x) else float(f"{scale * x:.15g}") for x in three]


_WRITTEN: dict[str, Callable[[float], str]] = {
    "share": percent,
    "change": lambda share: number(100 * share, 1 if abs(share) < 0.0995 else 0) + "\N{NO-BREAK SPACE}%",
    "per cent": lambda share: size(100 * share, 1),
    "log odds": lambda value: number(value, 2),
    "slope": lambda value: number(value, 3),
    "difference": lambda share: number(100 * share, 1),
    "points": lambda value: number(value, 1),
    "ratio": size,
    "size": size,
    "small": lambda value: size(value, 3),
    "least points": in_points,
    "p": p_value,
}
_IN_PERCENT = {"share", "change", "per cent", "difference"}  # kinds whose numbers are written times a hundred


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
    interval = []
    if cell.low is not None and cell.high is not None:
        known = math.isfinite(cell.low) or math.isfinite(cell.high)
        interval = [write(cell.low), write(cell.high)] if known else ["no interval"]
    return write(cell.value) + (" *" if cell.starred else ""), interval


def _cell(text: str) -> str:
    first, *second = text.split("\n", 1)
    # Numbers with their intervals, and names, stay on one line; words need not.
    kind = ' class="words"' if max(map(_letters, (first, *second))) > 20 else ""
    small = f"<br><small>{escape(second[0])}</small>" if second else ""
    return f"<td{kind}>{escape(first)}{small}</td>"


def _letters(text: str) -> int:
    return sum(character.isalpha() or character == " " for character in text)
