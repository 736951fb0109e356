"""CREMA-D: twelve sentences, acted in six emotions by 91 actors.

Layout: ``VideoDemographics.csv`` and ``AudioWAV/ACTOR_SENTENCE_EMOTION_LEVEL.wav`` (from git-lfs).
"""

from __future__ import annotations

from pathlib import Path

from fairlib.corpora.audio import EXTENSIONS
from fairlib.corpora.corpus import RECORDED_SEX, Caution, Groups, Size
from fairlib.corpora.published import below, published, read_table, require

SENTENCES = {
    "DFA": "Don't forget a jacket",
    "IEO": "It's eleven o'clock",
    "IOM": "I'm on my way to the meeting",
    "ITH": "I think I have a doctor's appointment",
    "ITS": "I think I've seen this before",
    "IWL": "I would like a new alarm clock",
    "IWW": "I wonder what this is about",
    "MTI": "Maybe tomorrow it will be cold",
    "TAI": "The airplane is almost full",
    "TIE": "That is exactly what happened",
    "TSI": "The surface is slick",
    "WSI": "We'll stop in a couple of minutes",
}


def rows(folder: Path):
    recorded = {"sex": "Sex", "age": "Age", "ethnicity": "Race", "hispanic": "Ethnicity"}
    listing = read_table(folder / "VideoDemographics.csv", ("ActorID", *recorded.values()), ",")
    people = {line["ActorID"]: {column: line[name] for column, name in recorded.items()} for _, line in listing}
    for audio in below(require(folder, "AudioWAV"), EXTENSIONS):
        actor, sentence, *_ = [*audio.stem.split("_"), ""]
        if actor not in people or sentence not in SENTENCES:
            yield f"{audio}: its name does not begin with an actor of VideoDemographics.csv and a sentence's code."
            continue
        yield {
            "utterance_id": audio.stem,
            "audio": audio,
            "where": str(audio.parent),
            "speaker_id": actor,
            "text": SENTENCES[sentence],
            **people[actor],
        }


ABOUT = published(
    rows,
    name="crema-d",
    title="CREMA-D",
    cite="cao2014",
    folder="CREMA-D",
    licence="ODbL 1.0",
    size=Size(7442, 5.3, 91),
    on_request=(
        "https://github.com/CheyneyComputerScience/CREMA-D holds CREMA-D in git-lfs: clone it into FAIRLIB_DATA/CREMA-D"
    ),
    groups={"sex": RECORDED_SEX, "ethnicity": Groups()},
    own_halves=False,
    cautions=(
        Caution("**Acted emotions.** Nobody speaks so at ease; loudness and pitch differ by emotion."),
        Caution("**Twelve sentences.** A recogniser that is trained on them learns them by heart.", task="asr"),
        Caution("**A speaker is also a recording session.**", task="sid"),
    ),
)
