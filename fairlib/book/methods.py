"""The page of methods: its words are a template (``book/methods.md``), its numbers come from the code that uses them.

A place in the template, ``{{probes.speakers.SpeakerProbe.l2}}``, is the path of an object in `fairlib`: a constant, a
key of a table, a field of a dataclass (its default), or a function without arguments, such as those of
`fairlib.book.methods_tables`. After a colon stands how a number is written, as Python has it:
``{{bias.sums.CONFIDENCE:.0%}}``.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairlib.base.files import write_text
from fairlib.book.methods_tables import shown

PAGE = "methods.md"
PLACE = re.compile(r"\{\{([\w.-]+)(?::([^{}]+))?\}\}")


def write_methods(folder: str | Path) -> None:
    """Fill the template ``methods.md`` in a folder, in place, if it is there."""
    page = Path(folder) / PAGE
    if page.exists():
        write_text(page, filled(page.read_text(encoding="utf-8")))


def filled(template: str) -> str:
    """A template with a value in each of its places.

    Example:
        >>> filled("{{probes.speakers.FEWEST_UTTERANCES}} utterances, {{bias.sums.CONFIDENCE:.0%}} intervals")
        '4 utterances, 95\\xa0% intervals'
    """
    return PLACE.sub(lambda place: shown(value_at(place[1]), place[2] or ""), template)


def value_at(path: str) -> Any:
    """What a path in `fairlib` leads to.

    Raises:
        LookupError: it leads nowhere.

    Example:
        >>> value_at("probes.phones.PhoneProbe.iterations"), value_at("probes.classifiers.HIDDEN.sid.hidden")
        (20, 256)
    """
    value: Any = importlib.import_module("fairlib")
    for name in path.split("."):
        if inspect.isfunction(value):
            value = value()
        value = _step(value, name, path)
    return value() if inspect.isfunction(value) else value


def _step(value: Any, name: str, path: str) -> Any:
    if inspect.ismodule(value):
        if hasattr(value, "__path__") and importlib.util.find_spec(f"{value.__name__}.{name}"):
            return importlib.import_module(f"{value.__name__}.{name}")
        if name in vars(value):
            return vars(value)[name]
    elif isinstance(value, Mapping) and name in value:
        return value[name]
    elif isinstance(value, type) and dataclasses.is_dataclass(value):
        if name in value.__dataclass_fields__:
            return value.__dataclass_fields__[name].default
    elif hasattr(value, name):
        return getattr(value, name)
    raise LookupError(f"The page of methods asks for {path}, in which there is no {name}.")
