"""Artie Bias Corpus: clips of Common Voice's English test set, checked by hand, with what their speakers said of
themselves.

Layout: ``artie-bias-corpus.tsv`` and the clips beside it or in ``clips``, as mp3 or WAV. NA is not recorded.
"""

from __future__ import annotations

from pathlib import Path

from fairlib.corpora.commonvoice import AGES
from fairlib.corpora.corpus import RECORDED_SEX, Caution, Groups, Size
from fairlib.corpora.published import published, read_table

NEEDED = ("client_id", "path", "sentence", "age", "gender", "accent")


def rows(folder: Path):
    listing = next((path for path in (folder / "artie-bias-corpus.tsv", folder / "data" / "artie-bias-corpus.tsv")
                    if path.is_file()), folder / "artie-bias-corpus.tsv")  # fmt: skip
    clips = folder / "clips" if (folder / "clips").is_dir() else listing.parent
    for where, line in read_table(listing, NEEDED):
        yield {
            "utterance_id": Path(line["path"]).stem,
            "audio": clips / line["path"],
            "where": where,
            "speaker_id": line["client_id"],
            "text": line["sentence"],
            **{
                column: None if line[source] == "NA" else line[source]
                for column, source in (("sex", "gender"), ("accent", "accent"))
            },
            "age_group": AGES.get(line["age"]),
        }


ABOUT = published(
    rows,
    name="artie-bias",
    title="Artie Bias Corpus",
    cite="meyer2020",
    folder="artie-bias-corpus*",
    licence="CC0",
    size=Size(1712, 2.4, 970),
    on_request=(
        "https://github.com/artie-inc/artie-bias-corpus holds the list and says where the audio is: unpack both into"
        " FAIRLIB_DATA/artie-bias-corpus"
    ),
    groups={"sex": RECORDED_SEX, "age_group": Groups(), "accent": Groups()},
    own_halves=False,
    cautions=(
        Caution("**Fewer than two clips a person.** Speakers cannot be identified, hardly verified.", task="sid"),
        Caution("**Five men for each woman.** Gaps by sex rest on the women's number."),
    ),
)
