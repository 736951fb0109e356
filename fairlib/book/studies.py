"""A study: which probes run on which encoders and corpora, from a TOML file; computing it again, and publishing it."""

from __future__ import annotations

import itertools
import json
import tomllib
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

import fairlib
from fairlib.base.files import ASSETS, is_there, replace
from fairlib.book.chapters import ChapterError, check
from fairlib.book.grids import Job, told_error
from fairlib.corpora.identity import publish_corpora
from fairlib.encoders import CHECKPOINTS, encoder_fingerprint
from fairlib.outcomes import is_published, publish_entries, without_published
from fairlib.probes import kept_features

PUBLISHED_STUDY = ASSETS / "study.toml"


class StudyError(ValueError):
    """A study's file cannot be read, or nothing of it is asked for; the message names what is wrong."""


class Probes(BaseModel):
    """Calls of one public function of fairlib, one for each encoder and corpus."""

    model_config = ConfigDict(extra="forbid")

    call: Literal[
        "probe_speakers", "identify_among", "verify_speakers", "probe_characters", "probe_phones", "description_length",
        "train_across_groups", "speaker_geometry", "erase_group",
    ]  # fmt: skip
    encoders: list[str] = Field(min_length=1)  # names of the study's groups of encoders
    corpora: list[str] = Field(min_length=1)
    seeds: int | None = Field(default=None, gt=0)  # the function's own number by default
    options: dict = {}

    @model_validator(mode="after")
    def _seeds_are_given_once(self) -> Probes:
        if self.seeds is not None and "seeds" in self.options:
            raise ValueError("seeds stands in options, too: give it once")
        return self


class Chapters(BaseModel):
    """Runs of one chapter for every combination of its parameters: each a value or a list of them."""

    model_config = ConfigDict(extra="allow")

    chapter: str
    encoders: list[str] = []  # names of the study's groups of encoders; the chapter's own encoder by default

    def jobs(self, groups: dict[str, list[str]]) -> list[Job]:
        lists = {
            name: value if isinstance(value, list) else [value] for name, value in (self.model_extra or {}).items()
        }
        if self.encoders:
            lists["encoder"] = list(dict.fromkeys(name for group in self.encoders for name in groups[group]))
        combinations = [dict(zip(lists, values)) for values in itertools.product(*lists.values())]
        return [(self.chapter, check(self.chapter, values).model_dump()) for values in combinations]


class Study(BaseModel):
    model_config = ConfigDict(extra="forbid")

    title: str
    encoders: dict[str, list[str]] = {}
    shapes: dict[str, dict] = {}  # of a group's encoders, as in their config.json
    probes: list[Probes] = []
    chapters: list[Chapters] = []

    @model_validator(mode="after")
    def _groups_are_known(self) -> Study:
        for probes in self.probes:
            if probes.encoders == ["*"]:
                probes.encoders = list(self.encoders)
        parts: list[Probes | Chapters] = [*self.probes, *self.chapters]
        asked = [name for part in parts for name in part.encoders]
        for name in (*asked, *self.shapes):
            if name not in self.encoders:
                raise ValueError(f"unknown group of encoders {name!r}, there are: {', '.join(self.encoders)}")
        if not self.probes and not self.chapters:
            raise ValueError("it asks for nothing: give it [[probes]] or [[chapters]]")
        return self

    def shape_of(self) -> dict[str, dict]:
        """Configurations by encoder, of those that the study gives."""
        return {name: shape for group, shape in self.shapes.items() for name in self.encoders[group]}


def study_file(name: str | Path) -> Path:
    """A study's file: that of a shipped study (study, full-size), or a file of one's own.

    Example:
        >>> study_file("full-size").name
        'full-size.toml'
    """
    shipped = ASSETS / f"{name}.toml"
    return shipped if not is_there(name) and shipped.is_file() else Path(name)


def load_study(path: str | Path = PUBLISHED_STUDY) -> tuple[Study, pd.DataFrame, list[Job]]:
    """A study: what its file says, its calls as in `read_study`, and its runs of chapters, all of them checked.

    Raises:
        StudyError: as `read_study`; or a chapter or parameter that is not there.
    """
    study, calls = _read(path)
    try:
        return study, calls, [job for part in study.chapters for job in part.jobs(study.encoders)]
    except ChapterError as error:
        raise StudyError(f"The study {path} is wrong: {error}") from None


def read_study(path: str | Path = PUBLISHED_STUDY) -> pd.DataFrame:
    """One row for each call that a study makes, an encoder's rows together.

    Returns:
        Columns ``encoder, corpus, call, settings``: ``getattr(fairlib, call)(encoder, corpus, **settings)``.

    Raises:
        StudyError: not TOML, or an unknown key, function or group of encoders.

    Example:
        >>> read_study()[["encoder", "corpus", "call"]].iloc[0].to_list()
        ['mini-hubert-long', 'speechocean762', 'probe_speakers']
    """
    return _read(path)[1]


def _read(path: str | Path) -> tuple[Study, pd.DataFrame]:
    try:
        study = Study(**tomllib.loads(Path(path).read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise StudyError(f"The study {path} cannot be read: {error}.") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "whole"
        raise StudyError(f"The study {path} is wrong at {place}: {first['msg']}.") from None
    rows = []
    for probes in study.probes:
        settings = {**({} if probes.seeds is None else {"seeds": probes.seeds}), **probes.options}
        for corpus in probes.corpora:
            for encoder in dict.fromkeys(name for group in probes.encoders for name in study.encoders[group]):
                rows.append({"encoder": encoder, "corpus": corpus, "call": probes.call, "settings": settings})
    order = {name: place for place, name in enumerate(dict.fromkeys(row["encoder"] for row in rows))}
    columns = ["encoder", "corpus", "call", "settings"]
    return study, pd.DataFrame(sorted(rows, key=lambda row: order[row["encoder"]]), columns=columns)


def reproduce(calls: pd.DataFrame) -> pd.DataFrame:
    """Compute a study's outcomes from audio and compare them with the published ones.

    What a stopped run has put in the store is not computed again (delete the store, or name another by
    ``FAIRLIB_STORE``, to begin anew). Each encoder passes over each corpus once.

    Args:
        calls: rows of `read_study`.

    Returns:
        ``calls`` with ``lowest`` and ``highest`` (errors of any layer, by unit, in per cent), ``deviation`` (the
        largest difference from the published error at any layer; missing where nothing is published), ``entries``, the
        names of the store's files, and ``failed``, why a call could not be made (the others go on), else empty.
    """
    rows = []
    for _, mine in calls.groupby("encoder", sort=False):
        with kept_features():
            for row in mine.to_dict("records"):
                rows.append(row | {"lowest": {}, "highest": {}, "deviation": float("nan"), "entries": [], "failed": ""})
                try:
                    rows[-1] |= _reproduced(row)
                except Exception as error:  # whatever it is, the others go on, and the last lines tell
                    rows[-1]["failed"] = told_error(error)
                    print(f"{row['encoder']} {row['corpus']} {told(row)} failed: {rows[-1]['failed']}", flush=True)
    return pd.DataFrame(rows)


def _reproduced(row: dict) -> dict:
    with without_published():
        outcomes = call(row)
    again = call(row)  # the published ones, or the store's once more
    published = all(map(is_published, again["entry"].unique()))
    errors, shipped = (_errors(table) for table in (outcomes, again))
    result = {
        "lowest": errors.groupby("unit").min().to_dict(),
        "highest": errors.groupby("unit").max().to_dict(),
        "deviation": float((errors - shipped).abs().max()) if published else float("nan"),
        "entries": list(outcomes["entry"].unique()),
    }
    span = ", ".join(
        f"{unit} {result['lowest'][unit]:.1f} to {result['highest'][unit]:.1f}" for unit in result["lowest"]
    )
    against = f"at most {result['deviation']:.2f} off what is published" if published else "not published"
    print(f"{row['encoder']} {row['corpus']} {told(row)}: {span}; {against}", flush=True)
    return result


def call(row: dict) -> pd.DataFrame:
    """Make one call of a study."""
    return getattr(fairlib, row["call"])(row["encoder"], row["corpus"], **row["settings"])


def told(row: dict) -> str:
    """A call as a person would write it.

    Example:
        >>> told({"call": "probe_speakers", "settings": {"seeds": 5, "perturbed": True}})
        'probe_speakers(seeds=5, perturbed=True)'
    """
    return f"{row['call']}({', '.join(f'{name}={value!r}' for name, value in row['settings'].items())})"


def publish(reproduced: pd.DataFrame) -> None:
    """Copy what `reproduce` computed from the store into the package, and note of which copies of the corpora it is.

    Of encoders along pretraining, whose weights do not ship, the fingerprints are kept: by these their outcomes are
    found.
    """
    publish_entries(reproduced["entries"].explode().dropna())
    done = reproduced[reproduced["entries"].map(len) > 0]
    publish_corpora(done["corpus"].unique())
    along = {name: encoder_fingerprint(name) for name in done["encoder"].unique() if "@" in name}
    if along:
        known = json.loads(CHECKPOINTS.read_text()) if CHECKPOINTS.exists() else {}
        replace(CHECKPOINTS, lambda path: path.write_text(json.dumps(known | along, indent=1) + "\n"))


def _errors(outcomes: pd.DataFrame) -> pd.Series:
    sums = outcomes.groupby(["unit", "probe", "layer"])[["errors", "length"]].sum()
    return 100 * sums["errors"] / sums["length"]
