"""What is known of a corpus, as one value that each corpus's own file holds (``ABOUT``).

Nothing heavy is imported here: the command line lists corpora before there is any table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

SPEAKER_COLUMNS = (
    "sex", "age", "age_group", "accent", "first_language", "ethnicity", "nationality", "socioeconomic", "group"
)  # fmt: skip


class Archive(NamedTuple):
    """One file of a publisher: where it is, its checksum ("algorithm:digest"; empty: none is published), its size."""

    address: str
    checksum: str
    megabytes: int


class Size(NamedTuple):
    """How large a corpus is, as published."""

    utterances: int
    hours: float
    speakers: int


class Caution(NamedTuple):
    """What could be wrong with an answer from a corpus, in Markdown; of one task (its name in outcomes), or of all."""

    text: str
    task: str = ""


@dataclass(frozen=True)
class Groups:
    """A speaker column by which people can be compared.

    Attributes:
        people: what to call the people of a group; charts keep a colour for each group named here.
        reference: the group that the other one is set against, where there are two. Fixed beforehand: an order that
            followed the results would turn every gap positive.
        otherwise: what to call the people of any other group, ``{}``; empty: speakers with that column's value.
    """

    people: Mapping[str, str] = field(default_factory=dict)
    reference: str = ""
    otherwise: str = ""


RECORDED_SEX = Groups({"male": "speakers recorded as male", "female": "speakers recorded as female"}, "male")


@dataclass(frozen=True)
class Corpus:
    """Everything that is known of a corpus before it is read.

    Attributes:
        name: what it is called here.
        title: what its publisher calls it.
        load: reads it; its first arguments are ``root`` and ``on_error``, others are settings of its own.
        groups: the speaker columns that it can be compared by; the first is the one to start from.
        numbers: the speaker columns that hold numbers, of which bands are compared.
        folder: the folder that its publisher gives it, which may hold ``*``; none of speech that is made here.
        synthetic: whether its speech is made by a program, and says nothing about people.
        licence: in a word or two.
        cite: key of what describes it in book/references.bib.
        size: as published, for what is reckoned before the corpus is at hand.
        archives: by part, what its publisher gives out freely; addresses are relative to the publisher's.
        usual_parts: what is fetched unless parts are named; else all there is.
        on_request: where to ask for it and where to put it, if it is given out on request.
        borrows: corpora whose transcribed speech its character probes are trained on too.
        own_halves: whether it comes in a train and a test half; else a quarter of its speakers is drawn for testing.
        long_recordings: whether its utterances are parts of long recordings, cut into the cache when it is loaded.
        people: who speaks, in a sentence without a full stop.
        consent: what is known of their consent, in a sentence or two.
        described: for the card of an encoder that heard it; ``{part}`` is how much of it.
        cautions: what could be wrong with an answer from it.
    """

    name: str
    title: str
    load: Callable
    groups: Mapping[str, Groups]
    numbers: tuple[str, ...] = ()
    folder: str = ""
    synthetic: bool = False
    licence: str = ""
    cite: str = ""
    size: Size | None = None
    archives: Mapping[str, Archive] = field(default_factory=dict)
    usual_parts: tuple[str, ...] = ()
    on_request: str = ""
    borrows: tuple[str, ...] = ()
    own_halves: bool = True
    long_recordings: bool = False
    people: str = ""
    consent: str = ""
    described: str = ""
    cautions: tuple[Caution, ...] = ()

    def to_fetch(self, parts: tuple[str, ...] = ()) -> dict[str, Archive]:
        """The archives of these parts, or of the usual ones, or of all."""
        return {part: self.archives[part] for part in parts or self.usual_parts or self.archives}
