"""CORAAL, the Corpus of Regional African American Language: interviews from several cities of the United States.

Layout: of each component ``*_metadata_*.txt`` (with tabs), transcripts ``NAME.txt`` with Line, Spkr, StTime, Content
and EnTime, and ``NAME.wav``, in any folders. Of each interview the main speaker's lines are used.
"""

from __future__ import annotations

import re
from pathlib import Path

from fairlib.corpora.audio import EXTENSIONS
from fairlib.corpora.corpus import RECORDED_SEX, Caution, Groups
from fairlib.corpora.published import below, published, read_table
from fairlib.corpora.table import CorpusError

_NO_WORDS = re.compile(r"\(.*?\)|<.*?>|/|\[|\]")  # pauses, sounds, redactions; words within the marks stay


def rows(folder: Path):
    files = below(folder, ".txt")
    audio = {path.stem: path for path in below(folder, EXTENSIONS)}
    people = {}
    for listing in (path for path in files if "_metadata_" in path.name):
        for _, line in read_table(listing, ("CORAAL.Spkr", "CORAAL.File", "Gender", "Age")):
            people[line["CORAAL.File"]] = line
    if not people:
        raise CorpusError(f"{folder} has no *_metadata_*.txt: fetch each component's metadata, too.")
    for listing in (path for path in files if path.stem in people):
        about = people[listing.stem]
        for where, line in read_table(listing, ("Line", "Spkr", "StTime", "Content", "EnTime")):
            text = " ".join(_NO_WORDS.sub(" ", line["Content"]).split())
            if line["Spkr"] != about["CORAAL.Spkr"] or not text:
                continue
            yield {
                "utterance_id": f"{listing.stem}-{line['Line']}",
                "audio": audio.get(listing.stem, listing.with_suffix(".wav")),
                "where": where,
                "speaker_id": about["CORAAL.Spkr"],
                "text": text,
                "start": float(line["StTime"]),
                "end": float(line["EnTime"]),
                "sex": about["Gender"],
                "age": about["Age"],
                "age_group": about.get("Age.Group") or None,
                "socioeconomic": about.get("CORAAL.SEC.Group") or None,
                "component": listing.stem.split("_")[0],
            }


ABOUT = published(
    rows,
    name="coraal",
    title="Corpus of Regional African American Language",
    cite="coraal2020",
    folder="CORAAL*",
    long_recordings=True,
    on_request=(
        "The University of Oregon gives CORAAL out at https://oraal.uoregon.edu/coraal: unpack each component's audio,"
        " text and metadata into FAIRLIB_DATA/CORAAL"
    ),
    groups={"sex": RECORDED_SEX, "age_group": Groups(), "socioeconomic": Groups()},
    own_halves=False,
    cautions=(
        Caution(
            "**African American speakers alone.** Groups within them can be compared. Set beside another corpus, what"
            " differs is also the year, the room, the microphone and the topic, and no gap can be put down to speech."
        ),
        Caution("**Components differ.** Cities were recorded in different years and by different rules."),
    ),
)
