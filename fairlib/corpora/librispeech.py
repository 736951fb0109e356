"""LibriSpeech and mini LibriSpeech: English audio books read by volunteers (OpenSLR 12 and 31).

Layout: ``SPEAKERS.TXT`` beside subset folders such as ``train-clean-100``, each with
``SPEAKER/CHAPTER/SPEAKER-CHAPTER-NNNN.flac`` and one ``SPEAKER-CHAPTER.trans.txt`` per chapter. The subset's
name becomes the split. SPEAKERS.TXT records each reader's sex, and nothing else about them that is used here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fairlib.corpora.corpus import RECORDED_SEX, Archive, Corpus, Size
from fairlib.corpora.table import (
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

if TYPE_CHECKING:
    import pandas as pd

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
    folder = find_root(ABOUT, root)
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


ABOUT = Corpus(
    name=NAME,
    title="LibriSpeech",
    load=load,
    folder="LibriSpeech",
    licence="CC BY 4.0",
    cite="panayotov2015",
    size=Size(1519, 5.3, 28),  # of train-clean-5
    # Of the parts of OpenSLR 12 the SHA-256 that torchaudio checks; of OpenSLR 31 the MD5 that the publisher gives.
    archives={
        part: Archive(f"{resource}/{part}.tar.gz", checksum, megabytes)
        for part, resource, megabytes, checksum in (
            ("train-clean-5", 31, 333, "md5:5df7d4e78065366204ca6845bb08f490"),
            ("dev-clean-2", 31, 126, "md5:6d7ab67ac6a1d2c993d050e16d61080d"),
            ("dev-clean", 12, 338, "sha256:76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3"),
            ("dev-other", 12, 314, "sha256:12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365"),
            ("test-clean", 12, 347, "sha256:39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23"),
            ("test-other", 12, 329, "sha256:d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29"),
            ("train-clean-100", 12, 6387, "sha256:d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2"),
            ("train-clean-360", 12, 23049, "sha256:146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf"),
            ("train-other-500", 12, 30593, "sha256:ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2"),
        )
    },
    usual_parts=("train-clean-5",),  # what the published study used
    groups={"sex": RECORDED_SEX},
    own_halves=False,
    people="volunteers who read English audio books aloud; their ages are not recorded",
    consent="Its readers gave their recordings for LibriVox to the public domain. That somebody would compare groups"
    " of them is nothing they were asked about.",
    described="LibriSpeech `train-clean-5`, {part}: adult readers of English",
)
