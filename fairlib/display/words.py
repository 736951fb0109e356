"""What people, encoders, layers and numbers are called in the book: what the rooms below call them, and what Markdown
needs."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fairlib.base.writing import capital, interval, layers_named, listing, number, p_value, percent, spans
from fairlib.bias.contrasts import SCALE_WORDS, people, sides
from fairlib.encoders.names import encoder_label

__all__ = [
    "SCALE_WORDS", "bullets", "capital", "encoder_label", "interval", "layers_named", "listing", "number", "p_value",
    "people", "percent", "plain", "short", "sides", "spans",
]  # fmt: skip


def short(value: float) -> str:
    """A number below ten, signed, in as few letters as two digits need.

    Example:
        >>> short(0.157), short(-0.03), short(1.06)
        ('+.16', '−.03', '+1.1')
    """
    digits = 1 if abs(value) >= 0.995 else 2
    return number(value, digits).replace("0.", ".", 1) if digits == 2 else number(value, digits)


def plain(text: str) -> str:
    """Text in which Markdown finds nothing to mark up.

    Example:
        >>> plain("a *b* [c], d_e")
        'a \\\\*b\\\\* \\\\[c\\\\], d\\\\_e'
    """
    return re.sub(r"([\\`*_\[\]<>{}$|#~])", r"\\\1", text)


def bullets(lines: Sequence[str | tuple[str, str]]) -> str:
    """Sentences as a Markdown list, in which the names of groups are no markup; a pair begins with its first in bold.

    Example:
        >>> print(bullets(["the group *b*", ("Who", "all")]))
        - the group \\*b\\*
        - **Who.** all
    """
    written = [plain(line) if isinstance(line, str) else f"**{plain(line[0])}.** {plain(line[1])}" for line in lines]
    return "\n".join(f"- {line}" for line in written)
