"""Mozilla Common Voice: sentences read by volunteers, with what they chose to say about themselves.

Layout: a folder per language with ``validated.tsv``, ``train.tsv``, ``dev.tsv``, ``test.tsv`` and ``clips/``.
Releases spell the columns and codes differently (accent or accents; male or male_masculine; "fourties"); they
come out the same here. `sex` holds the answer to the release's question on gender, which is asked of the
volunteer and may be left open; `age_group` is a band of ten years, such as "thirties"; `accent` is the
release's own code or words, and only means something within one language. A speaker is a client_id. A volunteer who
answered in some clips and not in others keeps that answer in all; one with two answers has none, which is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fairlib.corpora.corpus import RECORDED_SEX, Corpus, Groups, Size
from fairlib.corpora.table import (
    AudioFinder,
    CorpusError,
    Problems,
    decode,
    find_root,
    finish_table,
    read_lines,
    stem,
)

if TYPE_CHECKING:
    import pandas as pd

NAME = "commonvoice"
SPLITS = ("train", "dev", "test")
SEX = {
    "female": "female",
    "female_feminine": "female",
    "male": "male",
    "male_masculine": "male",
    "other": "other",
    "transgender": "transgender",
    "non-binary": "non-binary",
    "intersex": "intersex",
    "do_not_wish_to_say": None,
}
AGES = {
    band: band for band in "teens twenties thirties forties fifties sixties seventies eighties nineties".split()
} | {"fourties": "forties"}


def load(
    root: str | Path | None = None,
    on_error: str = "raise",
    languages: str | Sequence[str] | None = None,
    splits: str | Sequence[str] | None = None,
) -> pd.DataFrame:
    """The corpus table with sex, age_group, accent and language.

    Args:
        root: one language's folder, or a release with several of them.
        on_error: "raise" stops at the first utterance that cannot be used; "skip" leaves such utterances out, warns,
            and lists them in ``corpus.attrs["skipped"]``.
        languages: one or more language folders of the release; None takes all.
        splits: "train", "dev" or "test", or several: only what these lists name. None takes every validated
            clip; its split is missing if it is in none of the three lists.

    Example:
        >>> load("cv-corpus-17.0", languages="en", splits="test")["sex"].value_counts()  # doctest: +SKIP
    """
    folder = find_root(ABOUT, root)
    wanted = SPLITS if splits is None else (splits,) if isinstance(splits, str) else tuple(splits)
    for split in wanted:
        if split not in SPLITS:
            raise CorpusError(f"Common Voice has no split {split!r}; it has {', '.join(SPLITS)}.")
    problems, audio, rows = Problems(on_error), AudioFinder(), []
    columns: set[str] = set()
    for language in _language_folders(folder, languages):
        for clip, split, line in _clips(language, wanted, everything=splits is None, problems=problems):
            columns.update(line.values)
            with problems.per_utterance():
                rows.append(_row(clip, split, line, language, audio))
    recorded = {"sex": "gender", "age_group": "age", "accent": "accent"}
    return finish_table(rows, NAME, tuple(c for c, source in recorded.items() if source in columns), problems)


class _Line:
    """One line of a list: its file and number, and its values by column (accents is called accent)."""

    def __init__(self, path: Path, number: int, values: dict[str, str]) -> None:
        self.where = f"{path} line {number}"
        self.values = values


def _row(clip: str, split: str | None, line: _Line, language: Path, audio: AudioFinder) -> dict:
    path = audio.find(language / "clips" / clip, line.where)
    speaker = line.values["client_id"]
    if not speaker:
        raise CorpusError(f"{line.where} has no client_id, so {clip} has no speaker: correct or remove that line.")
    return {
        "utterance_id": stem(clip),
        "path": path,
        "speaker_id": speaker,
        "text": line.values["sentence"] or None,
        "split": split,
        "sex": decode(line.values.get("gender"), SEX, f"{line.where}, gender"),
        "age_group": decode(line.values.get("age"), AGES, f"{line.where}, age"),
        "accent": line.values.get("accent") or None,
        "language": line.values.get("locale") or language.name,
    }


def _clips(language: Path, splits: tuple[str, ...], everything: bool, problems: Problems) -> list[tuple]:
    """(clip, split or None, line) for each clip that the asked-for lists of one language name."""
    lists: dict[str | None, Path] = {split: language / f"{split}.tsv" for split in splits}
    if everything:
        # validated.tsv names every clip; the three lists say which of them are in a published split.
        lists = {split: path for split, path in lists.items() if path.exists()}
        if (language / "validated.tsv").exists() or not lists:
            lists[None] = language / "validated.tsv"
    clips: dict[str, tuple[str | None, _Line]] = {}
    for split, path in lists.items():
        for clip, line in _read_list(path, problems).items():
            if clip not in clips:
                clips[clip] = (split, line)
            elif split is not None:
                with problems.per_utterance():
                    raise CorpusError(
                        f"{line.where} lists {clip}, which is also in {clips[clip][0]}.tsv: keep one of them."
                    )
    return [(clip, split, line) for clip, (split, line) in clips.items()]


def _read_list(path: Path, problems: Problems) -> dict[str, _Line]:
    (_, header), *lines = read_lines(path) or [(1, "")]
    # Quotation marks are part of the sentences here, and quote nothing.
    names = ["accent" if name == "accents" else name for name in header.split("\t")]
    for name in ("client_id", "path", "sentence"):
        if name not in names:
            raise CorpusError(
                f"{path} has no column {name!r} in its first line: it is no Common Voice list; fetch it again."
            )
    clips: dict[str, _Line] = {}
    for number, text in lines:
        with problems.per_utterance():
            fields = [field.strip() for field in text.split("\t")]
            if len(fields) != len(names):
                raise CorpusError(
                    f"{path} line {number} is malformed: it has {len(fields)} fields where the first line "
                    f"has {len(names)}; correct or remove it."
                )
            line = _Line(path, number, dict(zip(names, fields, strict=True)))
            clip = line.values["path"]
            if not clip:
                raise CorpusError(f"{line.where} names no audio file in its column 'path': correct or remove it.")
            if clip in clips:
                raise CorpusError(f"{line.where} lists {clip} a second time: keep one of the lines.")
            clips[clip] = line
    return clips


def _language_folders(folder: Path, languages: str | Sequence[str] | None) -> list[Path]:
    names = [f"{name}.tsv" for name in (*SPLITS, "validated")]

    def is_language(path: Path) -> bool:
        return (path / "clips").is_dir() or any((path / name).exists() for name in names)

    if is_language(folder):
        there = [folder]
    else:
        there = sorted(path for path in folder.iterdir() if path.is_dir() and is_language(path))
    if not there:
        raise CorpusError(
            f"{folder} has no Common Voice list ({', '.join(names)}), nor a language folder that has one."
        )
    if languages is None:
        return there
    wanted = [languages] if isinstance(languages, str) else list(languages)
    by_name = {path.name: path for path in there}
    for name in wanted:
        if name not in by_name:
            raise CorpusError(
                f"{folder / name} is missing: unpack that language there, or ask for one of {list(by_name)}."
            )
    return [by_name[name] for name in wanted]


ABOUT = Corpus(
    name=NAME,
    title="Common Voice",
    load=load,
    folder="cv-corpus-*",
    licence="CC0",
    cite="ardila2020",
    size=Size(5000, 7.4, 2357),
    on_request=(
        "Mozilla gives Common Voice out at https://mozilladatacollective.com to who has an account there: choose a"
        " release and languages, and unpack each into FAIRLIB_DATA as cv-corpus-VERSION/LANGUAGE"
    ),
    groups={"sex": RECORDED_SEX, "age_group": Groups(), "accent": Groups()},
    people="volunteers who read sentences in many languages, with what they chose to say of themselves",
    consent="Its volunteers gave their clips to the public under CC0, and chose whether to state gender, age and"
    " accent. Whoever downloads the clips agrees not to try to find out who a speaker is.",
    described="Common Voice 6.1, {part} of a sample of up to 100 clips in each of 59 languages",
)
