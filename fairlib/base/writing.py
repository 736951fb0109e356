"""How numbers, lists and layers are written, wherever they stand: in a table, a sentence or a chart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def percent(value: float) -> str:
    """A share as a percentage, with a digit more where it is small.

    Example:
        >>> percent(0.1234), percent(0.0123), percent(float("nan"))
        ('12\\xa0%', '1.2\\xa0%', 'unknown')
    """
    if not np.isfinite(value):
        return "unknown"
    digits = 1 if abs(value) < 0.0995 else 0
    return f"{size(100 * value, digits)}\N{NO-BREAK SPACE}%"


def interval(estimate: float, low: float, high: float, digits: int = 2) -> str:
    """Estimate and interval, signed.

    Example:
        >>> interval(0.5, 0.25, 0.75)
        '+0.50 [+0.25, +0.75]'
    """
    return " ".join((number(estimate, digits), f"[{number(low, digits)}, {number(high, digits)}]"))


def p_value(p: float) -> str:
    """A p value for a table; none of so many resamples is not a probability of zero.

    Example:
        >>> p_value(0.03125), p_value(0.0), p_value(float("nan"))
        ('0.031', '< 0.001', 'unknown')
    """
    if np.isnan(p):
        return "unknown"
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def p_words(p: float) -> str:
    """A p value for a sentence.

    Example:
        >>> p_words(0.03125), p_words(0.0)
        ('p = 0.031', 'p < 0.001')
    """
    written = p_value(p)
    return f"p {written}" if written.startswith("<") else f"p = {written}"


def number(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "−") if np.isfinite(value) else "unknown"


def size(value: float, digits: int = 2) -> str:
    """A number without a plus; what rounds to zero has no sign.

    Example:
        >>> size(0.5), size(-0.5), size(-0.001)
        ('0.50', '−0.50', '0.00')
    """
    return number(value, digits).lstrip("+") if not np.isfinite(value) or round(value, digits) else f"{0:.{digits}f}"


def in_points(points: float) -> str:
    """A smallest gap, given in points, in words that say where there can be none so large.

    Example:
        >>> in_points(4.24), in_points(290.7), in_points(float("nan"))
        ('4.2', 'none (it would have to be over 100)', 'unknown')
    """
    if points > 100:
        return "none (it would have to be over 100)"
    return size(points, 1)


def spans(layers: Sequence[str], chosen: Sequence[str]) -> str:
    """Name the chosen layers, runs of neighbours shortened.

    Example:
        >>> layers = ["cnn", "0", "1", "2", "3"]
        >>> spans(layers, ["cnn", "0", "1", "3"]), spans(layers, ["cnn", "1", "2"])
        ('cnn to 1 and 3', 'cnn, 1 and 2')
    """
    runs: list[list[str]] = []
    for place, layer in enumerate(layers):
        if layer not in chosen:
            continue
        if runs and layers[place - 1] == runs[-1][-1]:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return listing([name for run in runs for name in ([f"{run[0]} to {run[-1]}"] if len(run) > 2 else run)])


def layers_named(layers: Sequence[str], chosen: Sequence[str]) -> str:
    kind = {0: "no layer", 1: "layer "}.get(len(chosen), "layers ")
    return kind + (spans(layers, chosen) if len(chosen) else "")


def listing(words: Sequence[str]) -> str:
    """Words as an English list.

    Example:
        >>> listing(["a", "b", "c"]), listing([])
        ('a, b and c', 'none')
    """
    words = list(words)
    if not words:
        return "none"
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def capital(words: str) -> str:
    return words[:1].upper() + words[1:]
