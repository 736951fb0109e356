"""FLEURS: sentences of Wikipedia, read in 102 languages; its speakers are not told apart.

Layout (of its hub's ``data`` folder): ``LANGUAGE/{train,dev,test}.tsv`` without a line of names, and
``LANGUAGE/audio/{train,dev,test}/NAME.wav``; or lhotse's, ``metadata/LANGUAGE/{...}.tsv`` and
``LANGUAGE/{...}/NAME.wav``.
"""

from __future__ import annotations

from pathlib import Path

from fairlib.corpora.corpus import RECORDED_SEX, Caution
from fairlib.corpora.published import NO_SPEAKERS, published
from fairlib.corpora.table import CorpusError, read_lines


def rows(folder: Path):
    lists = sorted(path for split in ("train", "dev", "test") for path in folder.rglob(f"{split}.tsv"))
    if not lists:
        raise CorpusError(f"{folder} has no LANGUAGE/train.tsv, dev.tsv or test.tsv: unpack a language there.")
    for listing in lists:
        language, split = listing.parent.name, listing.stem
        of_lhotse = listing.parent.parent.name == "metadata"
        audio = folder / language / split if of_lhotse else listing.parent / "audio" / split
        for number, line in read_lines(listing):
            fields = line.split("\t")
            if len(fields) != 7:
                yield f"{listing} line {number} has {len(fields)} fields where 7 should be: correct or remove it."
                continue
            _, file, _, text, _, _, sex = fields
            name = f"{language}-{split}-{Path(file).stem}"
            yield {
                "utterance_id": name,
                "audio": audio / file,
                "where": f"{listing} line {number}",
                "speaker_id": name,  # nobody's name: each utterance stands for itself
                "text": text,
                "split": split,
                "sex": sex,
                "language": language.split("_")[0],
            }


ABOUT = published(
    rows,
    says=NO_SPEAKERS,
    name="fleurs",
    title="FLEURS",
    cite="conneau2022",
    folder="fleurs",
    licence="CC BY 4.0",
    on_request=(
        "https://huggingface.co/datasets/google/fleurs holds FLEURS: put the languages of its folder data into"
        " FAIRLIB_DATA/fleurs, their audio unpacked"
    ),
    groups={"sex": RECORDED_SEX},
    cautions=(
        Caution(
            "**Nobody knows who spoke what.** The corpus names no speakers: speaker identification cannot be asked, and"
            " intervals hold for these recordings, not for other people."
        ),
    ),
)
