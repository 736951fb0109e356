"""Chapters: which there are, and whether given parameters are what they may be.

A chapter is one notebook, kept as text in ``notebooks/``. Its parameters are declared once, in
`fairlib.book.parameters` or, of a chapter that somebody added, in a file beside its source
(`fairlib.book.added_chapters`).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from fairlib.book.parameters import (
    AlongPretraining,
    EncodersAndLayers,
    FineTuning,
    MeasuringBias,
    OppositePatterns,
    Parameters,
    Robustness,
    SpeakerIdentification,
    SpeakersAndGroups,
    SpeechRecognition,
    Why,
    YourOwnModel,
)
from fairlib.book.refusals import nearest, what_is_wrong

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"


class ChapterError(ValueError):
    """A chapter or one of its parameters is not what it may be; the message says what is allowed."""


@dataclass(frozen=True)
class Chapter:
    """One chapter: its name on the command line, its notebook's name, its task and its parameters."""

    name: str
    notebook: str
    title: str
    task: str
    parameters: type[Parameters]
    tasks: tuple[str, ...] = ()  # of the outcomes that it cannot do without
    controls: bool = False  # whether log-mel and the untrained twin stand beside the encoder

    @property
    def source(self) -> Path:
        """The notebook's text source (py:percent)."""
        return NOTEBOOKS / f"{self.notebook}.py"

    @property
    def declaration(self) -> Path:
        """Of a chapter that `fairlib.book.new_chapter` added: the file beside its source, with its rules."""
        return self.source.with_suffix(".toml")


_CHAPTERS = (
    Chapter(
        "speakers-and-groups",
        "02_speakers_and_groups",
        "Speakers and groups",
        "",
        SpeakersAndGroups,
        ("sid", "asr", "phone"),
    ),
    Chapter(
        "encoders-and-layers",
        "03_encoders_and_layers",
        "Encoders and layers",
        "",
        EncodersAndLayers,
        ("phone", "sid", "asr"),
        controls=True,
    ),
    Chapter(
        "measuring-bias",
        "04_measuring_bias",
        "Measuring bias",
        "",
        MeasuringBias,
    ),
    Chapter(
        "speaker-identification",
        "05_speaker_identification",
        "Speaker identification, layer by layer",
        "sid",
        SpeakerIdentification,
        ("sid",),
        controls=True,
    ),
    Chapter(
        "speech-recognition",
        "06_speech_recognition",
        "Speech recognition, layer by layer",
        "asr",
        SpeechRecognition,
        ("asr", "phone"),
        controls=True,
    ),
    Chapter(
        "opposite-patterns",
        "07_opposite_patterns",
        "Opposite patterns?",
        "",
        OppositePatterns,
        ("sid", "asr"),
    ),
    Chapter(
        "fine-tuning",
        "08_fine_tuning",
        "After fine-tuning",
        "",
        FineTuning,
        ("sid", "asr"),
    ),
    Chapter(
        "along-pretraining",
        "09_along_pretraining",
        "When: bias along pretraining",
        "",
        AlongPretraining,
        ("sid", "phone"),
    ),
    Chapter(
        "why",
        "10_why",
        "Why: random errors, or a shift?",
        "",
        Why,
        ("phone", "sid"),
        controls=True,
    ),
    Chapter(
        "robustness",
        "11_robustness",
        "Robustness",
        "",
        Robustness,
        ("sid", "asr", "phone"),
    ),
    Chapter(
        "your-own-model",
        "12_your_own_model",
        "Your own model and corpus",
        "",
        YourOwnModel,
        ("sid",),
        controls=True,
    ),
)


def chapters() -> dict[str, Chapter]:
    """Every chapter that can be run, by name, in the book's order; then those that were added to this clone.

    Raises:
        ChapterError: the declaration of an added chapter is not what it may be.

    Example:
        >>> list(chapters())
        ['speakers-and-groups', 'encoders-and-layers', 'measuring-bias', 'speaker-identification', 'speech-recognition',
         'opposite-patterns', 'fine-tuning', 'along-pretraining', 'why', 'robustness', 'your-own-model'...]
    """
    from fairlib.book.added_chapters import added_chapters  # which builds on the models above

    return {chapter.name: chapter for chapter in (*_CHAPTERS, *added_chapters(NOTEBOOKS))}


def parameters(chapter: str) -> type[Parameters]:
    """The parameters of one chapter, as a pydantic model.

    Raises:
        ChapterError: there is no such chapter.

    Example:
        >>> parameters("speech-recognition")().probe
        'context'
    """
    return chapter_named(chapter).parameters


def check(chapter: str, values: Mapping[str, Any], as_text: bool = False) -> Parameters:
    """Check parameter values against a chapter's declaration; ``as_text``: all text, as on a command line.

    Raises:
        ChapterError: an unknown chapter or name, or a value that is not allowed; one sentence.

    Example:
        >>> check("speaker-identification", {"corpus": "synthetic"}).group
        'group'
        >>> check("speaker-identification", {"seeds": "3"}, as_text=True).seeds
        3
        >>> check("speech-recognition", {"prob": "linear"})
        Traceback (most recent call last):
        ...
        fairlib.book.chapters.ChapterError: speech-recognition has no parameter 'prob': did you mean 'probe'?
    """
    model = parameters(chapter)
    try:
        if as_text:
            return model.model_validate_strings(dict(values), strict=False)
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise ChapterError(what_is_wrong(chapter, model, error)) from None


def command(chapter: str, chosen: Parameters) -> str:
    """The command that runs a chapter with these parameters, all of them written out.

    Example:
        >>> command("speaker-identification", SpeakerIdentification(corpus="librispeech", group="sex"))
        'fairlib run speaker-identification --encoder mini-hubert-long --corpus librispeech --group sex --seeds 5'
    """
    words = ["fairlib", "run", chapter]
    for name, value in chosen.model_dump(exclude={"force"}).items():
        words += option(name, value)
    return shlex.join(words + ["--force"] * chosen.force)


def option(name: str, value: Any) -> list[str]:
    """A parameter as words of a command; a switch has no value, and one that is left out has no words.

    Example:
        >>> option("seeds", 5), option("by_phone", False), option("layer", "")
        (['--seeds', '5'], ['--no-by-phone'], [])
    """
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    return [] if value == "" else [f"--{flag}", str(value)]


def allowed(field: FieldInfo) -> str:
    """What values a parameter may have, in short.

    Example:
        >>> allowed(SpeechRecognition.model_fields["seeds"]), allowed(SpeechRecognition.model_fields["probe"])
        ('1 to 100', 'linear|context')
    """
    if get_origin(field.annotation) is Literal:
        return "|".join(get_args(field.annotation))
    limits = {kind: getattr(limit, kind) for limit in field.metadata for kind in ("ge", "le") if hasattr(limit, kind)}
    if "le" in limits:
        return f"{limits['ge']} to {limits['le']}"
    if "ge" in limits:
        return f"{limits['ge']} or more"
    kinds: dict[Any, str] = {bool: "true or false", int: "a whole number", float: "a number"}
    return kinds.get(field.annotation, "text")


def chapter_named(name: str) -> Chapter:
    if name not in chapters():
        hint = nearest(name, chapters()) or f": the chapters are {', '.join(chapters())}."
        raise ChapterError(f"there is no chapter {name!r}{hint}")
    return chapters()[name]
