"""L2-ARCTIC: the sentences of CMU ARCTIC, read by 24 learners of English with six first languages.

Layout: ``SPEAKER/wav/arctic_a0001.wav`` and ``SPEAKER/transcript/arctic_a0001.txt``; the speakers' sex and first
language stand in the corpus's README. Its retold stories (``suitcase_corpus``) are left out.
"""

from __future__ import annotations

from pathlib import Path

from fairlib.corpora.corpus import RECORDED_SEX, Caution, Groups, Size
from fairlib.corpora.published import published
from fairlib.corpora.table import CorpusError

SPEAKERS = {
    name: (sex, language)
    for language, named in {
        "Arabic": "ABA:m SKA:f YBAA:m ZHAA:f",
        "Chinese": "BWC:m LXC:f NCC:f TXHC:m",
        "Hindi": "ASI:m RRBI:m SVBI:f TNI:f",
        "Korean": "HJK:f HKK:m YDCK:f YKWK:m",
        "Spanish": "EBVS:m ERMS:m MBMPS:f NJS:f",
        "Vietnamese": "HQTV:m PNV:f THV:f TLV:m",
    }.items()
    for name, _, sex in (one.partition(":") for one in named.split())
}


def rows(folder: Path):
    found = sorted(path for path in folder.rglob("wav") if path.is_dir() and path.parent.name in SPEAKERS)
    if not found:
        raise CorpusError(f"{folder} has no folder SPEAKER/wav of a speaker such as ABA: unpack the speakers there.")
    for wav in found:
        speaker = wav.parent.name
        sex, language = SPEAKERS[speaker]
        for text in sorted((wav.parent / "transcript").glob("*.txt")):
            yield {
                "utterance_id": f"{speaker}-{text.stem}",
                "audio": wav / f"{text.stem}.wav",
                "where": str(text.parent),
                "speaker_id": speaker,
                "text": text.read_text(encoding="utf-8").strip(),
                "sex": sex,
                "first_language": language,
            }


ABOUT = published(
    rows,
    name="l2arctic",
    title="L2-ARCTIC",
    cite="zhao2018",
    folder="l2arctic*",
    size=Size(26867, 27.1, 24),
    on_request=(
        "Texas A&M University gives L2-ARCTIC out through the form at https://psi.engr.tamu.edu/l2-arctic-corpus/:"
        " unpack the speakers into FAIRLIB_DATA/l2arctic"
    ),
    groups={"first_language": Groups(), "sex": RECORDED_SEX},
    own_halves=False,
    cautions=(
        Caution("**Four people a first language.** A gap between languages may be one person's; intervals say so."),
        Caution("**Learners' English.** The sentences are the same for all, the speakers' practice in it is not."),
    ),
)
