"""From facts to words: one template for each thing that the book can say, in ``fairlib/assets/sentences.toml``.

Findings, and what displays them, choose a template and hand it facts; all English stands in that file, in which it can
be read and changed.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, pass_context
from jinja2.runtime import Context

from fairlib.base import writing
from fairlib.base.files import ASSETS
from fairlib.bias.contrasts import people, sides
from fairlib.encoders.names import encoder_label
from fairlib.findings.cells import ESTIMATE
from fairlib.findings.rules import NUMBERS

SENTENCES = ASSETS / "sentences.toml"


def say(name: str, **facts: Any) -> str:
    """Facts in words.

    Args:
        name: of the template: its table and its key.
        facts: what the template names. With ``by`` and ``contrast`` it may also name ``first`` and ``second``, the
            people on either side; the numbers of the rules (``margin``) are there, too.

    Raises:
        jinja2.TemplateNotFound: there is no such template.
        jinja2.UndefinedError: it names a fact that is not given.

    Example:
        >>> say("parts.fares", side=-1, by="age_group", contrast="child vs adult")
        'children have the lower error'
    """
    return re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", unbound(name, **facts))


def unbound(name: str, **facts: Any) -> str:
    """As `say`, but where a template has a space between a number and its percent sign, a line may end.

    Example:
        >>> unbound("readable_chart.notes", chance=50.0)
        'Groups are weighted equally. Line at 50 %: chance level.'
    """
    if facts.get("contrast"):
        facts["first"], facts["second"] = sides(facts["by"], facts["contrast"])
    return re.sub(r"[ \n]+", " ", _environment().get_template(name).render(facts)).strip()


def of_chart(name: str, **facts: Any) -> dict[str, Any]:
    """What is said of a chart: its title, description and notes, whichever of them its table of templates has.

    Charts break their lines themselves, so nothing is bound (see `unbound`).

    Example:
        >>> of_chart("encoders_by_layer", cut=True)
        {'notes': 'Bands: 95 % intervals over speakers. The axis does not start at zero.'}
    """
    parts = [part for part in ("title", "description", "notes") if f"{name}.{part}" in templates()]
    return {part: unbound(f"{name}.{part}", **facts) for part in parts}


def estimate_of(row: Mapping[str, Any], names: Sequence[str] = ESTIMATE) -> list[float]:
    """A row's estimate and interval, as templates take them (``{{ gap|interval }}``).

    Example:
        >>> estimate_of({"estimate": 0.5, "low": 0.2, "high": 0.8})
        [0.5, 0.2, 0.8]
    """
    return [float(row[name]) for name in names]


@cache
def templates() -> dict[str, str]:
    """Every template by its table and key.

    Example:
        >>> sorted(name for name in templates() if name.startswith("depth."))
        ['depth.apart', 'depth.lacking', 'depth.one']
    """
    tables = tomllib.loads(SENTENCES.read_text(encoding="utf-8"))
    return {f"{table}.{key}": text for table, texts in tables.items() for key, text in texts.items()}


@pass_context
def _layers(context: Context, chosen: Sequence[str], every: Sequence[str] | None = None) -> str:
    return writing.layers_named(every or context["layers"], chosen)


@pass_context
def _spans(context: Context, chosen: Sequence[str]) -> str:
    return writing.spans(context["layers"], chosen)


@pass_context
def _people(context: Context, group: str) -> str:
    return people(context["by"], group)


def _sep(loop: Any) -> str:
    """What stands after this part of an English list."""
    return "" if loop.last else " and " if loop.revindex == 2 else ", "


def _listing(words: Iterable[str]) -> str:
    return writing.listing(list(words))


@cache
def _environment() -> Environment:
    room = Environment(loader=FunctionLoader(templates().get), undefined=StrictUndefined, autoescape=False)
    room.globals.update(NUMBERS)
    room.filters |= {
        "capital": writing.capital, "label": encoder_label,
        "interval": lambda three, digits=2: writing.interval(three[0], three[1], three[2], digits),
        "layers": _layers, "listing": _listing, "p": writing.p_words, "people": _people,
        "percent": writing.percent, "sep": _sep, "signed": lambda value, digits=2: writing.number(value, digits),
        "count": lambda number: f"{number:,}", "size": writing.size, "spans": _spans,
    }  # fmt: skip
    return room
