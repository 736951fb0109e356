"""A shown table as a file: CSV, LaTeX (booktabs) or Markdown."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Sequence

from fairlib.display.tables import ReadTable
from fairlib.display.words import plain

PACKAGES = "booktabs, longtable, graphicx"  # of LaTeX, that the tables need
_FITTED = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{"  # a table wider than its page is shrunk
_PARTS = ("value", "low", "high")
_WORDY = 32  # letters, from which on a column's cells wrap
_HEAD = 18  # letters, to a line of a head
_PAGE = 40  # lines, beyond which a table may break over pages
_TEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "[": "{[}",  # after the end of a row it would be an option of that
        "*": "{*}",  # as would this
        "\N{NO-BREAK SPACE}": "~",
        "\N{MINUS SIGN}": r"\ensuremath{-}",
        "\N{MULTIPLICATION SIGN}": r"\ensuremath{\times}",
        "\N{PLUS-MINUS SIGN}": r"\ensuremath{\pm}",
        "\N{RIGHTWARDS ARROW}": r"\ensuremath{\rightarrow}",
        "\N{LESS-THAN OR EQUAL TO}": r"\ensuremath{\leq}",
        "\N{GREATER-THAN OR EQUAL TO}": r"\ensuremath{\geq}",
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    }
)


def tex(text: str) -> str:
    """Text as LaTeX shows it.

    Example:
        >>> print(tex("age_group: 12\\xa0% [−0.1]"))
        age\\_group: 12~\\% {[}\\ensuremath{-}0.1]
    """
    return text.translate(_TEX)


def in_line(cell: str) -> str:
    """A cell in one line: what stands on its second one in brackets, spaces plain.

    Example:
        >>> in_line("+0.50\\n+0.25 to +0.75")
        '+0.50 (+0.25 to +0.75)'
    """
    first, *second = cell.split("\n", 1)
    text = f"{first} ({second[0]})" if second else first
    return " ".join(text.replace("\N{NO-BREAK SPACE}", " ").split())


def as_csv(table: ReadTable) -> str:
    """Columns as shown, then those that hold the same numbers unrounded: ``error: value``, ``error: low`` and
    ``error: high``; of cells that hold several numbers ``error: value 1`` and so on."""
    columns, extra = [in_line(name) for name in table.columns], []
    for place, cells in table.numbers.items():
        for which in range(max(map(len, cells))):
            for part, name in enumerate(_PARTS):
                values = [cell[which][part] if which < len(cell) else None for cell in cells]
                if part == 0 or any(value is not None for value in values):
                    several = f" {which + 1}" if max(map(len, cells)) > 1 else ""
                    columns.append(f"{in_line(table.columns[place])}: {name}{several}")
                    extra.append(values)
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(columns)
    for number, row in enumerate(table.rows):
        unrounded = ["" if values[number] is None else repr(values[number]) for values in extra]
        writer.writerow([*map(in_line, row), *unrounded])
    return written.getvalue()


def as_markdown(table: ReadTable) -> str:
    """A table of pipes below its caption."""

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(plain(in_line(cell)) for cell in cells)} |"

    lines = [line(table.columns), "|" + "---|" * len(table.columns), *map(line, table.rows)]
    return f"{plain(table.caption)}\n\n" + "\n".join(lines) + "\n"


def as_latex(table: ReadTable, label: str) -> str:
    """A floating table, or, if it would not fit on a page, one that breaks over several; needs `PACKAGES`."""
    by_column = list(zip(table.columns, *table.rows))
    wordy = [max(len(line) for cell in cells[1:] for line in cell.split("\n")) > _WORDY if cells[1:] else False
             for cells in by_column]  # fmt: skip
    layout = "".join(f"p{{{max(0.15, 0.8 / len(wordy)):.2f}\\linewidth}}" if words else "l" for words in wordy)
    head = " & ".join(_stacked("b", [tex(line) for line in textwrap.wrap(name, _HEAD)]) for name in table.columns)
    rows = [" & ".join(_tex_cell(cell, words) for cell, words in zip(row, wordy)) + r" \\" for row in table.rows]
    caption = rf"\caption{{{tex(table.caption)}}}\label{{{label}}}"
    if sum(max(cell.count("\n") for cell in row) + 1 for row in table.rows) > _PAGE:
        return _long(layout, caption, head, rows)
    lines = [
        rf"% needs \usepackage{{{PACKAGES}}}", r"\begin{table}", r"\centering\footnotesize", caption,
        rf"{_FITTED}\begin{{tabular}}{{@{{}}{layout}@{{}}}}", r"\toprule", rf"{head} \\", r"\midrule", *rows,
        r"\bottomrule", r"\end{tabular}}", r"\end{table}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _long(layout: str, caption: str, head: str, rows: list[str]) -> str:
    lines = [
        rf"% needs \usepackage{{{PACKAGES}}}", r"\begingroup\footnotesize",
        rf"\begin{{longtable}}{{@{{}}{layout}@{{}}}}", rf"{caption}\\", r"\toprule", rf"{head} \\", r"\midrule",
        r"\endfirsthead", r"\toprule", rf"{head} \\", r"\midrule", r"\endhead", r"\bottomrule", r"\endfoot", *rows,
        r"\end{longtable}", r"\endgroup",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _tex_cell(cell: str, words: bool) -> str:
    first, *second = (tex(line) for line in cell.split("\n", 1))
    small = [rf"{{\scriptsize {line}}}" for line in second]
    return r" \newline ".join([first, *small]) if words else _stacked("t", [first, *small])


def _stacked(place: str, lines: list[str]) -> str:
    """Lines above each other in one cell, of which the top or bottom one stands on its row's line."""
    joined = r" \\ ".join(lines)
    return rf"\begin{{tabular}}[{place}]{{@{{}}l@{{}}}}{joined}\end{{tabular}}" if len(lines) > 1 else joined
