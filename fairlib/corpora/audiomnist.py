"""AudioMNIST: ten digits, spoken fifty times each by 60 people in offices.

Layout: ``data/audioMNIST_meta.txt`` (JSON by speaker) and ``data/SPEAKER/DIGIT_SPEAKER_TAKE.wav``. What is recorded of
the speakers is not clean: an age of 1234, numbers beside texts, a room in two spellings.
"""

from __future__ import annotations

from pathlib import Path

from fairlib.corpora.audio import EXTENSIONS
from fairlib.corpora.corpus import RECORDED_SEX, Caution, Groups, Size
from fairlib.corpora.published import below, published, read_json, require

DIGITS = "zero one two three four five six seven eight nine".split()


def rows(folder: Path):
    listing = require(folder, "data/audioMNIST_meta.txt", "audioMNIST_meta.txt")
    people = read_json(listing)
    for audio in below(listing.parent, EXTENSIONS):
        digit, speaker, *_ = [*audio.stem.split("_"), ""]
        if speaker not in people or not digit.isdigit() or len(digit) > 1:
            yield f"{audio}: its name is not DIGIT_SPEAKER_TAKE with a speaker of {listing}: leave it out."
            continue
        about = people[speaker]
        yield {
            "utterance_id": audio.stem,
            "audio": audio,
            "where": str(listing),
            "speaker_id": speaker,
            "text": DIGITS[int(digit)],
            "sex": about.get("gender"),
            "age": about.get("age"),
            "accent": str(about.get("accent") or "").strip().capitalize() or None,  # German and german
            "native_speaker": about.get("native speaker"),
            "room": {"vr-romm": "vr-room"}.get(room := str(about.get("recordingroom", "")).casefold(), room),
        }


ABOUT = published(
    rows,
    name="audiomnist",
    title="AudioMNIST",
    cite="becker2018",
    folder="AudioMNIST",
    licence="MIT",
    size=Size(30000, 9.5, 60),
    on_request="https://github.com/soerenab/AudioMNIST holds AudioMNIST: clone it into FAIRLIB_DATA/AudioMNIST",
    groups={"sex": RECORDED_SEX, "accent": Groups()},
    own_halves=False,
    cautions=(
        Caution("**Room and sex are tied together.** Some rooms recorded hardly any women: a gap may be the room's."),
        Caution("**Twelve women, 48 men**, most with German as their first language, saying ten words."),
    ),
)
