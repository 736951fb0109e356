"""Casual Conversations (version 1): paid people who answer questions before a camera.

Layout: ``CasualConversations.json`` (also in ``CC_annotations``), by subject its ``files`` (videos) and ``label``: age,
gender, skin-type. libsndfile decodes no video: the sound of each stands beside it, as ``FILE.wav`` (made with
``ffmpeg -i FILE.MP4 -ac 1 FILE.wav``). Transcripts are given out apart, in a form that is not public: here they are
read from ``transcripts.tsv``, with the columns file and text.
"""

from __future__ import annotations

from pathlib import Path

from fairlib.corpora.corpus import RECORDED_SEX, Caution
from fairlib.corpora.published import published, read_json, read_table, require


def rows(folder: Path):
    listing = require(folder, "CasualConversations.json", "CC_annotations/CasualConversations.json")
    people = read_json(listing)
    said = folder / "transcripts.tsv"
    texts = {line["file"]: line["text"] for _, line in read_table(said, ("file", "text"))} if said.is_file() else {}
    for person, about in people.items():
        label = about.get("label", {})
        for file in dict.fromkeys(about.get("files", [])):  # some are listed twice
            yield {
                "utterance_id": Path(file).stem,
                "audio": (folder / file).with_suffix(".wav"),
                "where": str(listing),
                "speaker_id": person,
                "text": texts.get(file),
                "sex": label.get("gender"),
                "age": label.get("age"),
                "skin_type": label.get("skin-type"),
            }


ABOUT = published(
    rows,
    name="casual-conversations",
    title="Casual Conversations",
    cite="hazirbas2021",
    folder="CasualConversations",
    on_request=(
        "Meta gives Casual Conversations out at https://ai.meta.com/datasets/casual-conversations-dataset/ to who"
        " accepts its terms: unpack it into FAIRLIB_DATA/CasualConversations, make a .wav beside each video (ffmpeg -i"
        " FILE.MP4 -ac 1 FILE.wav), and write its transcripts into transcripts.tsv (file, text)"
    ),
    groups={"sex": RECORDED_SEX},
    own_halves=False,
    cautions=(
        Caution("**Skin type was judged by annotators** (Fitzpatrick's scale); it is no accent and no ethnicity."),
        Caution("**Several videos, one session.** A speaker is also a place and a telephone.", task="sid"),
    ),
)
