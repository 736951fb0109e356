"""LibriSpeech and mini LibriSpeech: English audio books read by volunteers (OpenSLR 12 and 31).

Layout: ``SPEAKERS.TXT`` beside subset folders such as ``train-clean-100``, each with
``SPEAKER/CHAPTER/SPEAKER-CHAPTER-NNNN.flac`` and one ``SPEAKER-CHAPTER.trans.txt`` per chapter. The subset's
name becomes the split. SPEAKERS.TXT records each reader's sex, and nothing else about them that is used here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fairlib.corpora.table import (
    FOLDERS,
    AudioFinder,
    CorpusError,
    KaldiFile,
    Problems,
    audio_by_stem,
    decode,
    find_root,
    finish_table,
    read_lines,
)

NAME = "librispeech"
SEX = {"F": "female", "M": "male"}


def load(
    root: str | Path | None = None, on_error: str = "raise", subsets: str | Sequence[str] | None = None
) -> pd.DataFrame:
    """The corpus table with sex.

    Args:
        root: the folder that holds SPEAKERS.TXT and the subset folders, or the folder that holds it as
            ``LibriSpeech``.
        on_error: "raise" stops at the first utterance that cannot be used; "skip" leaves such utterances out, warns,
            and lists them in ``corpus.attrs["skipped"]``.
        subsets: one or more subset folders; None takes every folder named train-..., dev-... or test-....

    Example:
        >>> load("LibriSpeech", subsets="dev-clean")["speaker_id"].nunique()  # doctest: +SKIP
        40
    """
    folder = find_root(NAME, FOLDERS[NAME], root)
    sexes = _read_speakers(folder / "SPEAKERS.TXT")
    problems, audio, rows = Problems(on_error), AudioFinder(), []
    for subset in _subset_folders(folder, subsets):
        for chapter in _subfolders(subset, depth=2):
            speaker = chapter.parent.name
            found = audio_by_stem(chapter)
            transcript = chapter / f"{speaker}-{chapter.name}.trans.txt"
            # A chapter without a transcript file is speech all the same; it is left out where text is needed.
            texts = KaldiFile(transcript) if transcript.exists() or not found else None
            for utterance in sorted({*found, *(texts.keys() if texts else ())}):
                with problems.per_utterance():
                    path = audio.find(chapter / utterance, str(transcript))
                    if not utterance.startswith(f"{speaker}-{chapter.name}-"):
                        raise CorpusError(
                            f"{path}: the name does not begin with {speaker}-{chapter.name}-, as the folders "
                            "say it should: move or rename the file."
                        )
                    if speaker not in sexes:
                        raise CorpusError(f"{folder / 'SPEAKERS.TXT'} has no line for speaker {speaker!r}: add one.")
                    rows.append(
                        {
                            "utterance_id": utterance,
                            "path": path,
                            "speaker_id": speaker,
                            "text": texts.get(utterance) if texts else None,
                            "split": subset.name,
                            "sex": decode(*sexes[speaker]),
                        }
                    )
    return finish_table(rows, NAME, ("sex",), problems)


def _read_speakers(path: Path) -> dict[str, tuple[str, dict[str, str], str]]:
    """For each reader what `decode` needs: it complains only about readers whose speech is loaded."""
    speakers = {}
    for number, line in read_lines(path):
        if line.startswith(";"):
            continue
        fields = [field.strip() for field in line.split("|")]
        where = f"{path} line {number}"
        if len(fields) < 5:
            raise CorpusError(
                f"{where} is malformed: it has {len(fields)} fields between '|' where 5 should be; correct it."
            )
        if fields[0] in speakers:
            raise CorpusError(f"{where} lists speaker {fields[0]!r} a second time: keep one of the lines.")
        speakers[fields[0]] = (fields[1], SEX, where)
    return speakers


def _subset_folders(folder: Path, subsets: str | Sequence[str] | None) -> list[Path]:
    there = [path for path in _subfolders(folder, depth=1) if path.name.startswith(("train-", "dev-", "test-"))]
    if subsets is None:
        if not there:
            raise CorpusError(f"{folder} has no subset folder (train-..., dev-..., test-...): unpack one there.")
        return there
    wanted = [folder / name for name in ([subsets] if isinstance(subsets, str) else subsets)]
    for path in wanted:
        if not path.is_dir():
            names = ", ".join(subset.name for subset in there) or "none"
            raise CorpusError(
                f"{path} is missing: unpack that subset there, or ask for one of those that are: {names}."
            )
    return wanted


def _subfolders(folder: Path, depth: int) -> list[Path]:
    folders = [folder]
    for _ in range(depth):
        folders = [p for parent in folders for p in sorted(parent.iterdir()) if p.is_dir() and p.name[0] != "."]
    return folders
