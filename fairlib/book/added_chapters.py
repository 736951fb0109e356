"""Chapters that were added to a clone, each by a file beside its source (``notebooks/NN_name.toml``).

The file declares what `fairlib.book.chapters` declares of the book's own: title, tasks, parameters; and the rules by
which the chapter's claims are judged. `fairlib.book.new_chapter` writes one; no Python needs to be edited.
"""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo

from fairlib.book.chapters import Chapter, ChapterError
from fairlib.book.parameters import StudyParameters

_Value = bool | int | float | str


class _OwnParameter(BaseModel):
    """A parameter that only this chapter has."""

    model_config = ConfigDict(strict=True, extra="forbid")
    default: _Value
    about: str
    least: int | float | None = None
    most: int | float | None = None


class _Declaration(BaseModel):
    """What the file of an added chapter holds."""

    model_config = ConfigDict(strict=True, extra="forbid")
    title: str
    tasks: list[Literal["sid", "asr", "phone"]] = []
    controls: bool = False
    parameters: dict[str, _Value | _OwnParameter] = {}
    rules: dict[str, dict[str, Any]] = {}


def added_chapters(notebooks: Path) -> list[Chapter]:
    """The chapters that a folder of notebooks declares in files, in the order of their numbers.

    Raises:
        ChapterError: names the file, and what is wrong in it.
    """
    return [_chapter(path, path.read_text(encoding="utf-8")) for path in sorted(notebooks.glob("[0-9][0-9]_*.toml"))]


@functools.cache  # by its text, so that a chapter is one object as long as its file stays as it is
def _chapter(path: Path, text: str) -> Chapter:
    try:
        declared = _Declaration.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ChapterError(f"{path}: this is not TOML: {error}.") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise ChapterError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}.") from None
    tasks = tuple(declared.tasks)
    return Chapter(
        name=path.stem[3:].replace("_", "-"),
        notebook=path.stem,
        title=declared.title,
        task=tasks[0] if len(tasks) == 1 else "",
        parameters=_parameters(path, declared.parameters),
        tasks=tasks,
        controls=declared.controls,
    )


def _parameters(path: Path, declared: dict[str, _Value | _OwnParameter]) -> type[StudyParameters]:
    """`StudyParameters` with other defaults, and with the parameters that only this chapter has."""
    usual: dict[str, FieldInfo] = StudyParameters.model_fields
    fields: dict[str, Any] = {}
    kind: Any
    about: str | None
    for name, given in declared.items():
        if isinstance(given, _OwnParameter) and name not in usual:
            limits = {"ge": given.least, "le": given.most}
            kind, default, about = type(given.default), given.default, given.about
        elif not isinstance(given, _OwnParameter) and name in usual:
            metadata = usual[name].metadata
            limits = {kind: getattr(it, kind) for it in metadata for kind in ("ge", "le") if hasattr(it, kind)}
            kind, default, about = usual[name].annotation, given, usual[name].description
        else:
            raise ChapterError(
                f"{path}: parameters.{name}: of {', '.join(usual)} a default can be given; a parameter of the chapter's"
                f" own has another name, and a table [parameters.{name}] with default and about."
            )
        some: dict[str, Any] = {side: limit for side, limit in limits.items() if limit is not None}
        fields[name] = (kind, Field(default, description=about, validate_default=True, **some))
    return create_model(path.stem, __base__=StudyParameters, __doc__="Parameters of an added chapter.", **fields)
