"""What people, encoders, layers and numbers are called in the book."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from fairlib.bias.contrasts import contrast_groups
from fairlib.corpora import groups_by

SECOND_SEED = "-seed1"  # ends the name of an encoder trained once more; its weights do not ship, its outcomes do
SCALE_WORDS = {"difference": "difference", "ratio": "ratio", "log_odds": "log odds ratio"}


def encoder_label(encoder: str) -> str:
    """Short name of an encoder for people: controls by what they are, folders and hub ids by their last part.

    Example:
        >>> [encoder_label(name) for name in ("logmel", "random:pocket-hubert", "facebook/hubert-base-ls960")]
        ['log-mel', 'untrained twin', 'hubert-base-ls960']
        >>> [encoder_label(name) for name in ("pocket-hubert@400", "pocket-hubert-seed1@10000")]
        ['pocket-hubert after 400 steps', 'pocket-hubert, second seed, after 10000 steps']
        >>> encoder_label("logmel-645ms")
        'log-mel of 645 ms'
    """
    if encoder == "logmel":
        return "log-mel"
    if context := re.fullmatch(r"logmel-(\d+)ms", encoder):
        return f"log-mel of {context[1]} ms"
    if encoder.startswith("random:"):
        return "untrained twin"
    name, _, step = encoder.rstrip("/").rsplit("/", 1)[-1].partition("@")
    if name.endswith(SECOND_SEED):
        name = f"{name.removesuffix(SECOND_SEED)}, second seed"
        return f"{name}, after {step} steps" if step else name
    return f"{name} after {step} steps" if step else name


def people(by: str, group: str) -> str:
    """What to call the speakers of a group: people, named by what the corpus records.

    Example:
        >>> people("age_group", "child"), people("accent", "scottish"), people("sex", "other")
        ('children', 'speakers with accent “scottish”', 'speakers with sex “other”')
    """
    known = groups_by(by)
    named = (groups.people[group] for groups in known if group in groups.people)
    others = (groups.otherwise.format(group) for groups in known if groups.otherwise)
    return next(named, None) or next(others, f"speakers with {by.replace('_', ' ')} “{group}”")


def percent(value: float) -> str:
    """A share as a percentage, with a digit more where it is small.

    Example:
        >>> percent(0.1234), percent(0.0123), percent(float("nan"))
        ('12\\xa0%', '1.2\\xa0%', 'unknown')
    """
    if not np.isfinite(value):
        return "unknown"
    digits = 1 if abs(value) < 0.0995 else 0
    return f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%"


def interval(estimate: float, low: float, high: float, digits: int = 2) -> str:
    """Estimate and interval, signed.

    Example:
        >>> interval(0.5, 0.25, 0.75)
        '+0.50 [+0.25, +0.75]'
    """
    return " ".join((number(estimate, digits), f"[{number(low, digits)}, {number(high, digits)}]"))


def p_value(p: float) -> str:
    """A p value for a table: zero of so many resamples is not zero.

    Example:
        >>> p_value(0.03125), p_value(0.0), p_value(float("nan"))
        ('0.031', '< 0.001', 'unknown')
    """
    if np.isnan(p):
        return "unknown"
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def two_lines(estimate: float, low: float, high: float, digits: int = 2) -> str:
    """For a table's cell: the estimate, and its interval on a second line."""
    return f"{number(estimate, digits)}\n{number(low, digits)} to {number(high, digits)}"


def number(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "−") if np.isfinite(value) else "unknown"


def short(value: float) -> str:
    """A number below ten, signed, in as few letters as two digits need.

    Example:
        >>> short(0.157), short(-0.03), short(1.06)
        ('+.16', '−.03', '+1.1')
    """
    digits = 1 if abs(value) >= 0.995 else 2
    return number(value, digits).replace("0.", ".", 1) if digits == 2 else number(value, digits)


def spans(layers: Sequence[str], chosen: Sequence[str]) -> str:
    """Name the chosen layers, runs of neighbours shortened.

    Example:
        >>> spans(["cnn", "0", "1", "2", "3", "4"], ["cnn", "0", "1", "4"])
        'cnn to 1 and 4'
    """
    runs: list[list[str]] = []
    for place, layer in enumerate(layers):
        if layer not in chosen:
            continue
        if runs and layers[place - 1] == runs[-1][-1]:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    names = [
        (" to ".join((run[0], run[-1])) if len(run) > 2 else " and ".join(run) if len(runs) == 1 else ", ".join(run))
        for run in runs
    ]
    return listing(names)


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


def sides(by: str, contrast: str) -> tuple[str, str]:
    """What to call the people on either side of a contrast.

    Example:
        >>> sides("age_group", "child vs adult"), sides("sex", "other vs all others")
        (('children', 'adults'), ('speakers with sex “other”', 'all other speakers'))
    """
    first, second = contrast_groups(contrast)
    return people(by, first), "all other speakers" if second is None else people(by, second)


def capital(words: str) -> str:
    return words[:1].upper() + words[1:]


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
    told = [plain(line) if isinstance(line, str) else f"**{plain(line[0])}.** {plain(line[1])}" for line in lines]
    return "\n".join(f"- {line}" for line in told)
