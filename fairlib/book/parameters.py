"""What each chapter can be rerun with: one model of parameters each, with what their values may be.

The help of the command line, the checks, a notebook's parameters cell (a test compares them) and the provenance box all
follow from these models. Nothing heavy is imported before it is needed, so a typo is answered at once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from fairlib.base.files import is_there
from fairlib.book.refusals import nearest
from fairlib.corpora import CORPORA, is_synthetic
from fairlib.corpora.hub import is_on_hub, pinned
from fairlib.encoders import HUB_ID, check_folder, encoder_layers, finetuned_from, our_encoders
from fairlib.encoders.names import without_random


def groups_of(corpus: str) -> tuple[str, ...]:
    """The speaker columns that a corpus can be compared by; of one's own, those that divide its speakers.

    Raises:
        CorpusError: a corpus of one's own cannot be read, or no column divides its speakers.
    """
    if corpus in CORPORA:
        return tuple(CORPORA[corpus].groups)
    from fairlib.corpora import own_groups  # brings pandas, which those above do without

    return tuple(own_groups(corpus))


def numbers_of(corpus: str) -> tuple[str, ...]:
    """The speaker columns that hold numbers, such as age, of which a corpus can be compared by bands."""
    if corpus in CORPORA:
        return CORPORA[corpus].numbers
    from fairlib.corpora.custom import own_numbers

    return tuple(own_numbers(corpus))


def known_encoders() -> list[str]:
    """Names of the encoders that a chapter can be run with and that need no download: of each, outcomes are published.

    Example:
        >>> "pocket-hubert" in known_encoders()
        True
    """
    return sorted({LEAD, *our_encoders()})


LEAD = "mini-hubert-long"  # the encoder that the book is about; the others are compared with it

_CORPUS = (
    f"corpus: {', '.join(CORPORA)}, looked for under FAIRLIB_DATA ({' and '.join(filter(is_synthetic, CORPORA))} need"
    " no data); or one of your own: a list (.csv, .tsv, .jsonl or .parquet), a folder of audio for each speaker,"
    " lhotse manifests or cuts, a Kaldi data folder, a folder that datasets saved, or hf:owner/name for a dataset on"
    " the Hugging Face hub"
)


class Parameters(BaseModel):
    """What every chapter can be rerun with."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    lists: ClassVar[tuple[str, ...]] = ()  # parameters of which one value has commas in it
    force: bool = Field(False, description="recompute the encoder's outcomes even if they are stored or published")


class MeasuringBias(Parameters):
    """Parameters of chapter 4."""

    speakers: int = Field(30, ge=2, le=1000, description="speakers in each group of the chapter's simulated study")
    planted: float = Field(
        0.0, ge=-2, le=2, description="log odds ratio planted in the simulated study; zero is no gap"
    )
    seed: int = Field(0, ge=0, description="of the simulated study: another number gives another study")


_ENCODER = "encoder: a shipped name, a hub id such as facebook/hubert-base-ls960, or a folder"


class EncoderParameters(Parameters):
    """What a chapter about an encoder's layers can be rerun with."""

    encoder: str = Field(LEAD, description=_ENCODER)
    corpus: str = Field("speechocean762", description=_CORPUS)

    @field_validator("corpus")
    @classmethod
    def _corpus_can_be_found(cls, corpus: str) -> str:
        if corpus in CORPORA:
            return corpus
        if is_on_hub(corpus):
            return pinned(corpus)  # so that the run, and its command, name what was read
        if is_there(corpus):  # which formats there are, its reader says
            # Not resolved: a link need not point to a name with an extension.
            return os.path.abspath(os.path.expanduser(corpus))
        allowed = f"one of {', '.join(CORPORA)}, a list or a folder of your own that is there, or hf:owner/name"
        raise ValueError(f"it must be {allowed}, not {corpus!r}{nearest(corpus, CORPORA)}")

    @field_validator("encoder", "pretrained", "counterpart", check_fields=False)
    @classmethod
    def _encoder_can_be_found(cls, encoder: str, field: ValidationInfo) -> str:
        name, known = without_random(encoder), known_encoders()
        if name in known or (name == "" and field.field_name == "pretrained"):
            return encoder
        if name == "logmel":
            raise ValueError("logmel is the control beside every encoder: choose the encoder")
        folder = Path(os.path.expanduser(name))
        if name and os.path.isdir(folder):
            check_folder(folder, untrained=name != encoder)
            # The notebook runs in the repository's root, which need not be where the command was given.
            return encoder.removesuffix(name) + str(folder.resolve())
        if HUB_ID.fullmatch(name) and not name.startswith("."):
            return encoder
        beside = [str(other.parent) for other in folder.parent.glob("*/config.json")] if folder.name != name else []
        raise ValueError(
            f"{encoder!r} is no shipped encoder ({', '.join(known)}), no hub id (owner/name) "
            f"and no folder{nearest(str(folder), [*known, *beside])}"
        )

    @model_validator(mode="after")
    def _encoder_has_the_layer(self) -> EncoderParameters:
        # Of a hub id that was never fetched no layer is known yet: the chapter itself will say it.
        layer = getattr(self, "layer", "")
        there = layer and encoder_layers(self.encoder)
        if there and layer not in there:
            raise ValueError(
                f"layer: {self.encoder} has no layer {layer!r}, it has {there[0]}, {there[1]} to {there[-1]}"
                f"{nearest(layer, there)}"
            )
        return self


class EncodersAndLayers(EncoderParameters):
    """Parameters of chapter 3."""

    seeds: int = Field(5, ge=1, le=100, description="number of speaker probes, each with its own seed")


class StudyParameters(EncoderParameters):
    """What a chapter that compares groups at an encoder's layers can be rerun with."""

    bands: ClassVar[bool] = False  # whether the chapter takes a number, such as age, and compares bands of it
    group: str = Field(
        "age_group",
        description="speaker column whose groups are compared; by default the corpus's main column",
    )
    seeds: int = Field(5, ge=1, le=100, description="number of probe trainings, each with its own seed")

    @model_validator(mode="before")
    @classmethod
    def _main_group_of_the_corpus(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and "group" not in values and isinstance(values.get("corpus"), str):
            corpus = values["corpus"]
            if corpus in CORPORA or is_on_hub(corpus) or is_there(corpus):
                return {**values, "group": groups_of(corpus)[0]}
        return values

    @model_validator(mode="after")
    def _corpus_records_the_group(self) -> StudyParameters:
        groups = groups_of(self.corpus)
        if self.group not in groups and self.group not in (numbers_of(self.corpus) if self.bands else ()):
            from fairlib.corpora import why_no_groups

            why = why_no_groups(self.corpus, self.group)
            raise ValueError(
                f"group: {self.corpus} has no groups by {self.group!r}, only by "
                f"{', '.join(groups)}{f' ({why})' if why else nearest(self.group, groups)}"
            )
        return self


class SpeakersAndGroups(StudyParameters):
    """Parameters of chapter 2; the smallest gap that could show is worked out for its encoder."""


class SpeakerIdentification(StudyParameters):
    """Parameters of chapter 5."""

    bands = True
    layer: str = Field("", description="layer of the closer look; by default the one that identifies speakers best")


class SpeechRecognition(StudyParameters):
    """Parameters of chapter 6."""

    bands = True
    seeds: int = Field(1, ge=1, le=100, description="number of probe trainings, each with its own seed")
    probe: Literal["linear", "context"] = Field(
        "context", description="recognition probe: linear, or a small head that sees neighbouring frames"
    )


class OppositePatterns(StudyParameters):
    """Parameters of chapter 7."""


class FineTuning(StudyParameters):
    """Parameters of chapter 8."""

    encoder: str = Field(
        f"{LEAD}-asr-librispeech",
        description="fine-tuned encoder: a shipped name, a hub id such as facebook/hubert-large-ls960-ft, or a folder",
    )
    pretrained: str = Field(
        "", description="the encoder it was fine-tuned from; not needed for shipped ones, whose records say so"
    )

    @model_validator(mode="after")
    def _what_it_was_made_from_is_known(self) -> FineTuning:
        known = self.pretrained or (not HUB_ID.fullmatch(self.encoder) and finetuned_from(self.encoder))
        if not known:
            raise ValueError(
                f"pretrained: nothing here says what {self.encoder} was made from: name the pretrained encoder too, or"
                " choose a fine-tuned one from fairlib encoders"
            )
        return self


class Robustness(StudyParameters):
    """Parameters of chapter 11."""


class AlongPretraining(StudyParameters):
    """Parameters of chapter 9."""

    counterpart: str = Field(
        "pocket-hubert-children",
        min_length=1,
        description="an encoder that heard speech of the corpus: one of ours is compared with the one that it was"
        " trained like, any other with the encoder",
    )


class Why(StudyParameters):
    """Parameters of chapter 10."""

    lists = ("between",)
    between: str = Field(
        "", description="two of the column's groups, as in child,adult; by default those with most training speakers"
    )
    seeds: int = Field(5, ge=1, le=100, description="number of draws of training speakers")

    @field_validator("between")
    @classmethod
    def _two_groups(cls, between: str) -> str:
        names = [name.strip() for name in between.split(",")]
        if between and (len(names) != 2 or "" in names or names[0] == names[1]):
            raise ValueError(f"it must be two groups with a comma between them, as in child,adult, not {between!r}")
        return ",".join(names)


class YourOwnModel(StudyParameters):
    """Parameters of chapter 12; by default it runs on synthetic speech, which needs no data."""

    corpus: str = Field("planted", description=_CORPUS)
    group: str = Field(
        "group", description="speaker column whose groups are compared; by default the first that divides the speakers"
    )
