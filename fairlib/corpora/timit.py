"""TIMIT: ten sentences each, read by 630 people from eight dialect regions of the United States.

Layout: ``{TRAIN,TEST}/DRn/SPEAKER/SENTENCE.WAV`` with ``.TXT`` beside it, and ``DOC/SPKRINFO.TXT``, in capitals or not.
"""

from __future__ import annotations

from pathlib import Path

from fairlib.corpora.corpus import RECORDED_SEX, Caution, Groups, Size
from fairlib.corpora.published import below, published
from fairlib.corpora.table import CorpusError, read_lines

REGIONS = ("New England", "Northern", "North Midland", "South Midland", "Southern", "New York City", "Western",
           "Army Brat")  # fmt: skip
# As SPKRINFO.TXT codes them; ORN, an outdated word in the corpus, is written Asian here.
RACES = {"WHT": "White", "BLK": "Black", "AMR": "American Indian", "SPN": "Spanish-American", "ORN": "Asian",
         "HIS": "Hispanic"}  # fmt: skip


def rows(folder: Path):
    about = {path.name.casefold(): path for path in below(folder, ".txt") if path.parent.name.casefold() != "wav"}
    if "spkrinfo.txt" not in about:
        raise CorpusError(f"{folder} has no DOC/SPKRINFO.TXT: unpack all of the corpus there.")
    people = dict(_people(about["spkrinfo.txt"]))
    for audio in below(folder, ".wav"):
        if audio.name.casefold().endswith(".wav.wav"):  # some copies hold each file twice
            continue
        split, speaker = audio.parts[-4].casefold(), audio.parent.name.upper()
        if split not in ("train", "test") or speaker not in people:
            yield f"{audio} lies in no TRAIN or TEST, DRn and speaker of SPKRINFO.TXT: move it, or leave it out."
            continue
        text = next((path for path in (audio.with_suffix(".TXT"), audio.with_suffix(".txt")) if path.is_file()), None)
        yield {
            "utterance_id": f"{speaker}-{audio.stem.upper()}",
            "audio": audio,
            "where": str(audio.parent),
            "speaker_id": speaker,
            "text": text.read_text(encoding="utf-8").split(maxsplit=2)[2].strip() if text else None,
            "split": split,
            **people[speaker],
        }


def _people(path: Path):
    for _, line in read_lines(path):
        fields = line.split()
        if line.startswith(";") or len(fields) < 8:
            continue
        name, sex, region, _, recorded, born, _, race = fields[:8]
        yield (
            f"{sex}{name}".upper(),
            {
                "sex": sex,
                "age": _age(recorded, born),
                "accent": REGIONS[int(region) - 1],
                "ethnicity": RACES.get(race),
            },
        )


def _age(recorded: str, born: str) -> int | None:
    """In years, from dates such as 03/05/86."""
    try:
        (month, day, year), (m, d, y) = (tuple(map(int, date.split("/"))) for date in (recorded, born))
    except ValueError:
        return None
    return year - y - ((month, day) < (m, d))


ABOUT = published(
    rows,
    name="timit",
    title="TIMIT",
    cite="timit1993",
    folder="TIMIT*",
    licence="of the LDC, paid",
    size=Size(6300, 5.4, 630),
    on_request=(
        "The Linguistic Data Consortium sells TIMIT at https://catalog.ldc.upenn.edu/LDC93S1: unpack it into"
        " FAIRLIB_DATA/TIMIT, with TRAIN, TEST and DOC in it"
    ),
    groups={"sex": RECORDED_SEX, "accent": Groups(), "ethnicity": Groups()},
    cautions=(
        Caution("**Seven of ten speakers are men, and nearly all are White.** Few groups have enough people."),
        Caution("**Two sentences are everybody's** (SA1 and SA2), in training and in testing.", task="asr"),
        Caution("**Ten sentences, one session.** A speaker is also a recording session.", task="sid"),
    ),
)
