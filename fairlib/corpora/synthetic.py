"""A synthetic corpus with planted truth: eSpeak NG's voices in groups, some given a disadvantage.

It needs no download and says nothing about people. It exists to run everything live, and to ask whether a
method finds what was planted and finds nothing where nothing was. A voice has no sex, so the corpus has no
such column.

How speakers are made. Every group has the same slots. A slot is an accent of English and one of eSpeak's
voice variants; it fixes the sentences, and how pitch, rate, level and tone wander from one sentence to the
next. So accent, variant, text and recording are the same in every group. Two slots that follow one another
make a pair with one variant, in two accents and a step of pitch and rate apart: every speaker has someone of
their own group to be mistaken for. The speakers of one slot in different groups stand further apart in pitch
and rate, in an order that goes round from pair to pair: where the number of pairs is a multiple of the number
of groups, no group is higher or faster than another.

What is recorded. Speech is brought to one level (give or take 3 dB), gets a spectral tilt of up to 2 dB,
other in each recording, and white noise 40 dB below it. Then comes the group's `Disadvantage`. Audio is 16
kHz mono 16-bit WAV.

The last third of the pairs (at least one; of a single pair, its second speaker) is the split "test", the
others are "train": no speaker is on both sides, every group is, and the two sides read different sentences.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from fairlib.base.files import cache_folder
from fairlib.base.progress import steps
from fairlib.corpora.corpus import Caution, Corpus, Groups
from fairlib.corpora.table import CorpusError, Problems, finish_table
from fairlib.corpora.voices import Disadvantage, plan_speakers, record, speak

if TYPE_CHECKING:
    import pandas as pd

_VERSION = 1  # of how the audio is made; raise it with any change that one could hear or measure
NAME = "synthetic"


DEFAULT_DISADVANTAGES = {
    "clear": Disadvantage(),
    "clear_too": Disadvantage(),
    "noisy": Disadvantage(snr_db=-5.0),
}

# The calibration corpus: two groups alike and four with a disadvantage each, enough voices for an interval.
PLANTED = {
    "clear": Disadvantage(),
    "clear_too": Disadvantage(),
    "hurried": Disadvantage(rate_factor=1.8),
    "telephone": Disadvantage(low_pass_hz=1200),
    "noisy": Disadvantage(snr_db=0.0),
    "very_noisy": Disadvantage(snr_db=-8.0),
}


def load_planted(root: str | Path | None = None, on_error: str = "raise") -> pd.DataFrame:
    """The calibration corpus: `load` with 24 voices in each group of `PLANTED`, and 12 utterances each.

    Args:
        root: where to keep the audio; None keeps it in FAIRLIB_CACHE, or else in the user's cache folder.
        on_error: "raise" or "skip", as of every corpus; damaged audio is simply spoken again.

    Example:
        >>> load_planted().groupby("group")["speaker_id"].nunique()  # doctest: +SKIP
    """
    table = load(root, on_error, speakers_per_group=24, utterances_per_speaker=12, disadvantages=PLANTED)
    return table.assign(corpus="planted")


def examples(root: str | Path | None = None) -> dict[str, str]:
    """One sentence by a voice of each group of `PLANTED`: paths of the audio by group, spoken when first asked for.

    All are the same accent and voice variant of the program, so that what differs is the group's disadvantage.

    Example:
        >>> list(examples())  # doctest: +SKIP
        ['clear', 'clear_too', 'hurried', 'telephone', 'noisy', 'very_noisy']
    """
    voices = load(root, speakers_per_group=2, utterances_per_speaker=1, disadvantages=PLANTED)
    paths = voices.drop_duplicates("group").set_index("group")["path"]
    return {group: paths[group] for group in PLANTED}


def load(
    root: str | Path | None = None,
    on_error: str = "raise",
    seed: int = 1,
    speakers_per_group: int = 6,
    utterances_per_speaker: int = 10,
    disadvantages: Mapping[str, Disadvantage | Mapping] | None = None,
) -> pd.DataFrame:
    """The corpus table with accent and group; the audio is spoken on the first call and kept for the next.

    The same settings give the same audio, byte for byte. ``corpus.attrs["planted"]`` holds each group's
    disadvantage.

    Args:
        root: where to keep the audio; None keeps it in FAIRLIB_CACHE, or else in the user's cache folder.
        on_error: "raise" or "skip", as of every corpus; damaged audio is simply spoken again.
        seed: draws accents, variants, pitches, rates, sentences and noise.
        speakers_per_group: at least 2, so that every group has speakers on both sides of the split.
        utterances_per_speaker: at least 1; sentences come again when a speaker has read them all.
        disadvantages: for each group a `Disadvantage`, or a dict with some of its attributes; ``{}`` is none.
            None plants nothing on "clear" and "clear_too", and noise at -5 dB on "noisy".

    Raises:
        CorpusError: a setting that cannot be had, or a folder that cannot be written.

    Example:
        >>> corpus = load(disadvantages={"plain": {}, "telephone": {"low_pass_hz": 3400}})  # doctest: +SKIP
        >>> corpus.groupby("group")["speaker_id"].nunique()  # doctest: +SKIP
    """
    problems = Problems(on_error)
    planted = _check_groups(DEFAULT_DISADVANTAGES if disadvantages is None else disadvantages)
    if speakers_per_group < 2:
        raise CorpusError(
            f"speakers_per_group is {speakers_per_group}; it must be at least 2, one for each side of the split."
        )
    if seed < 0:
        raise CorpusError(f"seed is {seed}; it must be 0 or more.")
    if utterances_per_speaker < 1:
        raise CorpusError(f"utterances_per_speaker is {utterances_per_speaker}; it must be at least 1.")
    settings = {
        "seed": int(seed),
        "speakers_per_group": int(speakers_per_group),
        "utterances_per_speaker": int(utterances_per_speaker),
        "disadvantages": {group: asdict(disadvantage) for group, disadvantage in planted.items()},
    }
    key = hashlib.sha256(json.dumps(settings).encode() + _recipe()).hexdigest()[:16]
    folder = (Path(root).expanduser().absolute() if root is not None else cache_folder()) / NAME / key
    rows = _read(folder)
    if rows is None:
        rows = _make(folder, settings, planted)
    rows = [{**row, "path": str(folder / row["path"])} for row in rows]
    table = finish_table(rows, NAME, ("accent", "group"), problems)
    table.attrs["planted"] = settings["disadvantages"]
    return table


def _recipe() -> bytes:
    """What makes the audio, besides the settings: audio of an older version is not used again."""
    try:
        return f"{_VERSION} {version('espeakng-loader')}".encode()
    except PackageNotFoundError:
        return str(_VERSION).encode()  # `speak` says what is missing


def _check_groups(disadvantages: Mapping[str, Disadvantage | Mapping]) -> dict[str, Disadvantage]:
    known = [field.name for field in fields(Disadvantage)]
    planted = {}
    for group, given in disadvantages.items():
        if not str(group).replace("_", "").isalnum():
            raise CorpusError(f"Group name {group!r} is not made of letters, digits and '_' alone: rename it.")
        if not isinstance(given, Disadvantage):
            for name in given:
                if name not in known:
                    raise CorpusError(
                        f"Group {group!r}: no disadvantage is called {name!r}; there are {', '.join(known)}."
                    )
            given = Disadvantage(**given)
        # 5 and 5.0 are one setting, and one stored corpus.
        values = {name: value if value is None else float(value) for name, value in asdict(given).items()}
        given = Disadvantage(**values)  # type: ignore[arg-type]  # None stays only where it was
        planted[str(group)] = given
    if not planted:
        raise CorpusError("disadvantages names no group: name at least one, such as {'plain': {}}.")
    return planted


# --- stored audio ---------------------------------------------------------------------------------


def _read(folder: Path) -> list[dict] | None:
    """The rows of a stored corpus, or None if it is not there, or not just as it was written."""
    try:
        rows = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))["rows"]
        for row in rows:
            if hashlib.sha256((folder / row["path"]).read_bytes()).hexdigest() != row.pop("sha256"):
                return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return rows


def _make(folder: Path, settings: dict, planted: dict[str, Disadvantage]) -> list[dict]:
    """Speak the corpus into a temporary folder and put that in its place."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    except OSError as error:
        raise CorpusError(
            f"The synthetic corpus cannot be kept in {folder.parent} ({error.strerror}): set FAIRLIB_CACHE "
            "to a folder that can be written."
        ) from None
    try:
        new, old = scratch / "new", scratch / "old"
        new.mkdir()
        speakers = plan_speakers(settings, planted)
        with (
            ThreadPoolExecutor(2) as pool,  # eSpeak speaks in other processes meanwhile
            closing(steps("speaking synthetic speech", pool.map(speak, speakers), len(speakers), "voices")) as spoken,
        ):
            rows = [row for speaker, waves in zip(speakers, spoken, strict=True) for row in record(new, speaker, waves)]
        manifest = {"settings": settings, "rows": rows}
        (new / "corpus.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        if folder.exists() and _read(folder) is None:  # damaged
            folder.rename(old)
        try:
            new.rename(folder)
        except OSError:
            # Another process was quicker; what it wrote is the same.
            if _read(folder) is None:
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return _read(folder) or []


# --- speakers -------------------------------------------------------------------------------------


# --- audio ----------------------------------------------------------------------------------------


ABOUT = Corpus(
    name=NAME,
    title="synthetic voices",
    load=load,
    cite="espeak",
    synthetic=True,
    people="nobody: the voices of a program, eSpeak NG",
    consent="None is needed.",
    groups={"group": Groups(reference="clear", otherwise="voices of group “{}”")},
    cautions=(
        Caution(
            "**Synthetic speech.** These voices were made by a program, and their groups differ by what was"
            " planted in them. The page shows that the method works; it says nothing about people."
        ),
    ),
)
ABOUT_PLANTED = replace(ABOUT, name="planted", title="synthetic voices with planted gaps", load=load_planted)
