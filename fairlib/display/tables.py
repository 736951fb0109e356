"""Tables as pages show them."""

from __future__ import annotations

from html import escape

import pandas as pd
from IPython.display import HTML


def table(frame: pd.DataFrame, caption: str, folded: bool = False) -> HTML:
    """A table for reading that scrolls by itself where the page is narrow; cells' second lines are small.

    Numbers with their intervals stay on one line, longer words do not.

    Args:
        folded: show the caption only, until it is opened.
    """
    head = "".join(f'<th scope="col">{escape(str(name))}</th>' for name in frame.columns)
    lines = ["".join(map(_cell, row)) for row in frame.astype(str).itertuples(index=False)]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    above = "" if folded else f"<caption>{escape(caption)}</caption>"
    html = (
        '<div class="fairlib-table" style="overflow-x:auto" tabindex="0" role="region"'
        f' aria-label="{escape(caption)}">'
        f"<table>{above}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
    return HTML(f"<details><summary>{escape(caption)}</summary>{html}</details>" if folded else html)


def _cell(text: str) -> str:
    first, *second = text.split("\n", 1)
    # Numbers with their intervals, and names, stay on one line; words need not.
    kind = ' class="words"' if max(map(_letters, (first, *second))) > 20 else ""
    small = f"<br><small>{escape(second[0])}</small>" if second else ""
    return f"<td{kind}>{escape(first)}{small}</td>"


def _letters(text: str) -> int:
    return sum(character.isalpha() or character == " " for character in text)
