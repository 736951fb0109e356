"""VoxCeleb1: celebrities in interviews on YouTube, for speaker identification; nothing is transcribed.

Layout: ``vox1_meta.csv`` (with tabs) and ``wav/SPEAKER/VIDEO/NNNNN.wav``, in one folder or in ``dev`` and ``test``.
"""

from __future__ import annotations

from pathlib import Path

from fairlib.corpora.corpus import RECORDED_SEX, Caution, Groups, Size
from fairlib.corpora.published import published, read_table
from fairlib.corpora.table import CorpusError


def rows(folder: Path):
    people = {
        line["VoxCeleb1 ID"]: {"sex": line["Gender"], "nationality": line["Nationality"]}
        for _, line in read_table(folder / "vox1_meta.csv", ("VoxCeleb1 ID", "Gender", "Nationality"))
    }
    tops = [top for top in (folder / "wav", folder / "dev" / "wav", folder / "test" / "wav") if top.is_dir()]
    if not tops:
        raise CorpusError(f"{folder} has no folder wav, dev/wav or test/wav: unpack vox1_dev_wav and vox1_test_wav.")
    for audio in sorted(path for top in tops for path in top.glob("*/*/*.*") if path.suffix != ".txt"):
        speaker = audio.parts[-3]
        if speaker not in people:
            yield f"{folder / 'vox1_meta.csv'} has no line for speaker {speaker!r}, of {audio}: add one."
            continue
        yield {
            "utterance_id": f"{speaker}-{audio.parts[-2]}-{audio.stem}",
            "audio": audio,
            "where": str(audio.parent),
            "speaker_id": speaker,
            **people[speaker],
        }


ABOUT = published(
    rows,
    name="voxceleb1",
    title="VoxCeleb1",
    cite="nagrani2017",
    folder="VoxCeleb1",
    size=Size(153516, 351, 1251),
    on_request=(
        "The University of Oxford describes VoxCeleb1 at https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html and"
        " says there how to ask: unpack vox1_dev_wav and vox1_test_wav into FAIRLIB_DATA/VoxCeleb1, with vox1_meta.csv"
    ),
    groups={"sex": RECORDED_SEX, "nationality": Groups()},
    own_halves=False,
    cautions=(
        Caution("**No transcripts.** Speaker identification alone can be asked."),
        Caution("**Nationality is not accent**, and was looked up, not asked; most people are from two countries."),
        Caution("**A video is a session.** Utterances of one video share its room and microphone.", task="sid"),
    ),
)
