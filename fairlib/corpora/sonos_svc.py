"""Sonos Voice Control Bias Assessment Dataset: music commands by 1,038 people of the United States.

Layout: ``metadata/{train,dev,test}_metadata.json`` by audio id, each with ``speaker`` and ``transcript``, and
``audios/{train,dev,test}/ID.wav``.
"""

from __future__ import annotations

from pathlib import Path

from fairlib.corpora.corpus import RECORDED_SEX, Groups, Size
from fairlib.corpora.published import published, read_json, require


def rows(folder: Path):
    for listing in sorted(require(folder, "metadata").glob("*_metadata.json")):
        split = listing.name.removesuffix("_metadata.json")
        for name, about in read_json(listing).items():
            speaker, said = about.get("speaker") or {}, about.get("transcript") or {}
            if not speaker.get("user_id"):
                yield f"{listing}: utterance {name!r} has no speaker with a user_id: correct it or leave it out."
                continue
            yield {
                "utterance_id": name,
                "audio": folder / "audios" / split / f"{name}.wav",
                "where": str(listing),
                "speaker_id": str(speaker["user_id"]),
                "text": said.get("normalized_text") or said.get("text"),
                "split": split,
                "sex": speaker.get("gender"),
                "age": speaker.get("age"),
                "age_group": speaker.get("age_group"),
                # Two spellings of one region, as Sonos' own code joins them.
                "accent": "LatinX" if speaker.get("dialectal_region") == "Latino" else speaker.get("dialectal_region"),
                "ethnicity": speaker.get("ethnicity"),
            }


ABOUT = published(
    rows,
    name="sonos-svc",
    title="Sonos Voice Control Bias Assessment Dataset",
    cite="sekkat2024",
    folder="sonos-svc",
    licence="for research",
    size=Size(170000, 166, 1038),
    on_request=(
        "Sonos gives its Voice Control Bias Assessment Dataset out through the form that"
        " https://github.com/sonos/svc-demographic-bias-assessment names: unpack it into FAIRLIB_DATA as sonos-svc,"
        " with metadata and audios in it"
    ),
    groups={"accent": Groups(), "sex": RECORDED_SEX, "age_group": Groups(), "ethnicity": Groups()},
)
