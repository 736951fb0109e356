"""Fair-Speech (Meta, 2024): commands to an assistant by 593 people of the United States, who are not told apart.

Layout: ``downloaded_file.tsv`` and ``asr_fairness_audio/HASH.wav``. What people said of themselves stands beside every
utterance; nobody knows which utterances are one person's.
"""

from __future__ import annotations

from pathlib import Path

from fairlib.corpora.corpus import RECORDED_SEX, Caution, Groups, Size
from fairlib.corpora.published import NO_SPEAKERS, published, read_table

NAMED = {
    "sex": "gender",
    "age_group": "age",
    "ethnicity": "ethnicity",
    "socioeconomic": "socioeconomic_bkgd",
    "first_language": "first_language",
}


def rows(folder: Path):
    for where, line in read_table(folder / "downloaded_file.tsv", ("hash_name", "transcription", *NAMED.values())):
        name = line["hash_name"]
        yield {
            "utterance_id": name,
            "audio": folder / "asr_fairness_audio" / f"{name}.wav",
            "where": where,
            "speaker_id": name,  # nobody's name: each utterance stands for itself
            "text": line["transcription"],
            **{column: line[source] for column, source in NAMED.items()},
        }


ABOUT = published(
    rows,
    says=NO_SPEAKERS,
    name="fair-speech",
    title="Fair-Speech",
    cite="veliche2024",
    folder="fair-speech",
    size=Size(26471, 55.6, 593),
    on_request=(
        "Meta gives Fair-Speech out at https://ai.meta.com/datasets/speech-fairness-dataset/ to who accepts its terms:"
        " unpack it into FAIRLIB_DATA as fair-speech, with downloaded_file.tsv and asr_fairness_audio in it"
    ),
    groups={
        "ethnicity": Groups(),
        "sex": RECORDED_SEX,
        "age_group": Groups(),
        "socioeconomic": Groups(),
        "first_language": Groups(),
    },
    own_halves=False,
    cautions=(
        Caution(
            "**Nobody knows who spoke what.** The corpus names no speakers. A layer's error rate and the size of a gap"
            " can be read; speaker identification cannot be asked, a speaker may be both trained on and tested, and the"
            " intervals hold for these recordings, not for other people: with some 45 utterances a person they are"
            " several times too narrow."
        ),
    ),
)
