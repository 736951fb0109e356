"""Sentences on what is wrong with what a chapter was given."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import get_args

from pydantic import BaseModel, ValidationError


def nearest(name: str, names: Iterable[str]) -> str:
    """A question after the name that was meant, if one is near."""
    close = difflib.get_close_matches(str(name), [str(each) for each in names], n=1, cutoff=0.5)
    return f": did you mean {close[0]!r}?" if close else ""


def what_is_wrong(chapter: str, model: type[BaseModel], error: ValidationError) -> str:
    """One sentence on the first thing that is wrong."""
    first = error.errors()[0]
    name, given = ".".join(str(part) for part in first["loc"]), first["input"]
    if first["type"] == "extra_forbidden":
        names = sorted(model.model_fields, key=lambda name: name == "force")  # what all share comes last
        hint = nearest(name, names) or f": it has {', '.join(names)}."
        return f"{chapter} has no parameter {name!r}{hint}"
    if first["type"] == "literal_error":
        allowed = get_args(model.model_fields[name].annotation)
        hint = nearest(given, allowed)
        return f"{chapter}: {name} must be one of {', '.join(allowed)}, not {given!r}{hint or '.'}"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return f"{chapter}: {name + ': ' if name else ''}{message}{'' if message.endswith(('?', '.')) else '.'}"
    kinds = {"int": "a whole number", "bool": "true or false", "string": "text"}
    limits = {"greater_than_equal": "at least {ge}", "less_than_equal": "at most {le}"}
    limit = limits.get(first["type"], message).format(**first.get("ctx", {}))
    return f"{chapter}: {name} must be {kinds.get(first['type'].split('_')[0], limit)}, not {given!r}."
