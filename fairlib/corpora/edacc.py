"""EdAcc, the Edinburgh International Accents of English Corpus: friends who talk in video calls.

Layout: ``{dev,test}/`` with Kaldi's segments, text and utt2spk; ``data/CONVERSATION.wav``; and
``linguistic_background.csv``, whose columns are named by the questions that the speakers were asked.
"""

from __future__ import annotations

from pathlib import Path

from fairlib.corpora.corpus import RECORDED_SEX, Caution, Groups
from fairlib.corpora.published import published, read_table, require
from fairlib.corpora.table import KaldiFile

ASKED = {"sex": "What is your gender", "accent": "How would you describe your accent", "ethnicity": "ethnic background"}


def rows(folder: Path):
    people = {}
    for _, line in read_table(folder / "linguistic_background.csv", ("PARTICIPANT_ID",), ","):
        answers = {column: _answer(line, question) for column, question in ASKED.items()}
        people[line["PARTICIPANT_ID"]] = answers
    nothing = dict.fromkeys(ASKED)
    require(folder, "dev", "test")
    for split in ("dev", "test"):
        if not (folder / split).is_dir():
            continue
        segments, texts, speakers = (KaldiFile(folder / split / name) for name in ("segments", "text", "utt2spk"))
        for name in segments.keys():
            recording, start, end = str(segments.get(name)).split()
            speaker = speakers.get(name)
            if speaker is None:
                yield f"{speakers.path} has no line for utterance {name!r}: add its speaker there."
                continue
            yield {
                "utterance_id": name,
                "audio": folder / "data" / f"{recording}.wav",
                "where": str(segments.path),
                "speaker_id": speaker,
                "text": texts.get(name),
                "split": split,
                "start": float(start),
                "end": float(end),
                **people.get(speaker, nothing),
            }


def _answer(line: dict[str, str], question: str) -> str | None:
    return next((answer for asked, answer in line.items() if question in asked), None) or None


ABOUT = published(
    rows,
    name="edacc",
    title="Edinburgh International Accents of English Corpus",
    cite="sanabria2023",
    folder="edacc_v1*",
    licence="CC BY-SA 4.0",
    long_recordings=True,
    on_request=(
        "The University of Edinburgh gives EdAcc out at https://datashare.ed.ac.uk/handle/10283/4836: unpack"
        " edacc_v1.0.tar.gz into FAIRLIB_DATA"
    ),
    groups={"accent": Groups(), "sex": RECORDED_SEX, "ethnicity": Groups()},
    own_halves=False,
    cautions=(
        Caution("**Accents in people's own words.** Many are one person's; only groups with enough people compare."),
        Caution("**A conversation is two people in two rooms.** Who talks to whom, and over what line, differs."),
    ),
)
