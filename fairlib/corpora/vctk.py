"""VCTK 0.92: newspaper sentences read in a studio by 110 speakers of English with various accents.

Layout: ``speaker-info.txt``, ``txt/SPEAKER/SPEAKER_NNN.txt`` and
``wav48_silence_trimmed/SPEAKER/SPEAKER_NNN_mic1.flac`` (``wav48/SPEAKER/SPEAKER_NNN.wav`` in older releases). The first
microphone is used, since speaker p280 lacks the second.
"""

from __future__ import annotations

import re
from pathlib import Path

from fairlib.corpora.audio import EXTENSIONS
from fairlib.corpora.corpus import RECORDED_SEX, Caution, Groups, Size
from fairlib.corpora.published import below, published, require
from fairlib.corpora.table import read_lines


def rows(folder: Path):
    people = {}
    for _, line in read_lines(folder / "speaker-info.txt")[1:]:
        fields = re.sub(r"\(.*", "", line).split()  # a comment in brackets ends some lines
        who = fields[0] if fields[0][0].isalpha() else f"p{fields[0]}"
        people[who] = {"sex": fields[2], "age": fields[1], "accent": fields[3] if len(fields) > 3 else None}
    for audio in below(require(folder, "wav48_silence_trimmed", "wav48"), EXTENSIONS):
        name, speaker = audio.stem.removesuffix("_mic1"), audio.parent.name
        if name.endswith("_mic2"):
            continue
        text = folder / "txt" / speaker / f"{name}.txt"
        yield {
            "utterance_id": name,
            "audio": audio,
            "where": str(audio.parent),
            "speaker_id": speaker,
            "text": text.read_text(encoding="utf-8").strip() if text.is_file() else None,  # none of p315
            **people.get(speaker, {"sex": None, "age": None, "accent": None}),  # s5 stands in no list
        }


ABOUT = published(
    rows,
    name="vctk",
    title="VCTK",
    cite="vctk2019",
    folder="VCTK-Corpus*",
    licence="CC BY 4.0",
    size=Size(44000, 44, 110),
    on_request=(
        "The University of Edinburgh gives VCTK out at https://datashare.ed.ac.uk/handle/10283/3443: unpack it into"
        " FAIRLIB_DATA as VCTK-Corpus-0.92, with speaker-info.txt in it"
    ),
    groups={"accent": Groups(), "sex": RECORDED_SEX},
    own_halves=False,
    cautions=(
        Caution("**A speaker is also a recording session.** Everybody was recorded once, in one studio.", task="sid"),
        Caution("**Sentences differ between speakers**, but for a passage that all read."),
    ),
)
