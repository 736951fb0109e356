"""Speech Accent Archive: one English paragraph, read by over 2,000 people with over 200 first languages.

Layout (as Kaggle packs it): ``speakers_all.csv``, ``reading-passage.txt`` and ``recordings/recordings/NAME.mp3``.
"""

from __future__ import annotations

from pathlib import Path

from fairlib.corpora.corpus import RECORDED_SEX, Caution, Groups
from fairlib.corpora.published import published, read_table, require
from fairlib.corpora.table import read_lines


def rows(folder: Path):
    audio = require(folder, "recordings/recordings", "recordings")
    passage = folder / "reading-passage.txt"
    text = " ".join(line.strip() for _, line in read_lines(passage)) if passage.is_file() else None
    needed = ("filename", "native_language", "sex", "speakerid", "age")
    for where, line in read_table(folder / "speakers_all.csv", needed, ","):
        if line.get("file_missing?", "").casefold() == "true":  # the list says so itself
            continue
        yield {
            "utterance_id": line["filename"],
            "audio": audio / f"{line['filename']}.mp3",
            "where": where,
            "speaker_id": line["speakerid"],
            "text": text,
            "sex": {"famale": "female"}.get(line["sex"], line["sex"]),  # the list's own slip
            "age": line["age"],
            "first_language": line["native_language"],
        }


ABOUT = published(
    rows,
    name="speech-accent-archive",
    title="Speech Accent Archive",
    cite="accentarchive",
    folder="speech-accent-archive",
    licence="CC BY-NC-SA",
    on_request=(
        "George Mason University holds the Speech Accent Archive at https://accent.gmu.edu, and Kaggle a copy"
        " (rtatman/speech-accent-archive): unpack that into FAIRLIB_DATA/speech-accent-archive"
    ),
    groups={"first_language": Groups(), "sex": RECORDED_SEX},
    own_halves=False,
    cautions=(
        Caution("**One recording a person.** Speakers cannot be identified; a speaker is a room and a microphone."),
        Caution("**One paragraph.** Everybody reads the same words, so words explain no gap, and few are heard."),
    ),
)
