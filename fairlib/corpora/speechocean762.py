"""speechocean762: English read by learners whose first language is Mandarin, about half of them children.

It is OpenSLR 101. Layout: ``{train,test}/`` with wav.scp, utt2spk, text, spk2gender and spk2age, and
``WAVE/SPEAKER*/*.WAV``. The published halves become the splits "train" and "test"; they share no speaker. The
corpus records age in years and sex as f or m. Its speakers are at most 15 or at least 19 years old, so
`age_group` is "child" up to 15 and "adult" from 19, and missing in between.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fairlib.corpora.corpus import RECORDED_SEX, Archive, Caution, Corpus, Groups, Size
from fairlib.corpora.table import (
    AudioFinder,
    CorpusError,
    KaldiFile,
    Problems,
    decode,
    find_root,
    finish_table,
)

if TYPE_CHECKING:
    import pandas as pd

NAME = "speechocean762"
SPLITS = ("train", "test")
SEX = {"f": "female", "m": "male"}
OLDEST_CHILD, YOUNGEST_ADULT = 15, 19


def load(root: str | Path | None = None, on_error: str = "raise") -> pd.DataFrame:
    """The corpus table with sex, age, age_group and first_language.

    Args:
        root: the corpus's folder, or the folder that holds it; None looks in the folder that FAIRLIB_DATA names.
        on_error: "raise" stops at the first utterance that cannot be used; "skip" leaves such utterances out, warns,
            and lists them in ``corpus.attrs["skipped"]``.

    Raises:
        CorpusError: one sentence that names what is wrong, where, and what to do.

    Example:
        >>> load("data/speechocean762")["age_group"].unique()  # doctest: +SKIP
        ['child', 'adult']
    """
    folder = find_root(ABOUT, root)
    problems, audio, rows = Problems(on_error), AudioFinder(), []
    for split in SPLITS:
        wavs, speakers, texts, sexes, ages = (
            KaldiFile(folder / split / name) for name in ("wav.scp", "utt2spk", "text", "spk2gender", "spk2age")
        )
        for utterance in wavs.keys():
            with problems.per_utterance():
                path = audio.find(folder / str(wavs.get(utterance)), f"{split}/wav.scp")
                speaker = speakers.get(utterance)
                if speaker is None:
                    raise CorpusError(
                        f"{speakers.path} has no line for utterance {utterance!r}: add its speaker there."
                    )
                age = _age(_required(ages, speaker), f"{ages.path}, speaker {speaker}")
                rows.append(
                    {
                        "utterance_id": utterance,
                        "path": path,
                        "speaker_id": speaker,
                        "text": texts.get(utterance),
                        "split": split,
                        "sex": decode(_required(sexes, speaker), SEX, f"{sexes.path}, speaker {speaker}"),
                        "age": age,
                        "age_group": _age_group(age),
                        "first_language": "Mandarin",
                    }
                )
        for file in (speakers, texts):
            for utterance in sorted(set(file.keys()) - set(wavs.keys())):
                with problems.per_utterance():
                    raise CorpusError(
                        f"{file.path} has utterance {utterance!r}, which {wavs.path} does not list: add it "
                        "there or remove it."
                    )
    return finish_table(rows, NAME, ("sex", "age", "age_group", "first_language"), problems)


def _required(file: KaldiFile, speaker: str) -> str:
    value = file.get(speaker)
    if value is None:
        raise CorpusError(f"{file.path} has no line for speaker {speaker!r}: add one, or fetch the corpus again.")
    return value


def _age(value: str, where: str) -> float:
    if not value.isdigit() or not 0 < int(value) < 120:
        raise CorpusError(
            f"{where}: the age {value!r} is not a whole number of years between 1 and 119: correct that entry."
        )
    return float(value)


def _age_group(age: float) -> str | None:
    if age <= OLDEST_CHILD:
        return "child"
    return "adult" if age >= YOUNGEST_ADULT else None


ABOUT = Corpus(
    name=NAME,
    title="speechocean762",
    load=load,
    folder="speechocean762",
    licence="free for any use",
    cite="zhang2021",
    size=Size(5000, 5.6, 250),
    archives={NAME: Archive("101/speechocean762.tar.gz", "", 520)},
    groups={
        "age_group": Groups({"adult": "adults", "child": "children"}, reference="adult"),
        "sex": RECORDED_SEX,
    },
    numbers=("age",),
    borrows=("librispeech",),  # two to three hours are too few for a character probe
    people="learners of English whose first language is Mandarin, about half of them children",
    consent="Its authors, of Xiaomi and SpeechOcean, allow any use, commercial use too. Each speaker is published"
    " with a number, sex and age, and without a name. The corpus’s description, and the abstract of its paper,"
    " do not say how the speakers were found, what they were told, whether they were paid, or whether they can"
    " withdraw. Nor do they say whether a parent agreed for the children, of whom the youngest are six. We"
    " know of no place where this is written, and we have not read the whole paper. So nobody should take the"
    " licence for proof that these people agreed to being compared by sex or age.",
    described="speechocean762, {part}: Mandarin-speaking learners of English, half of them children",
    cautions=(
        Caution(
            "**A speaker is also a recording session.** Each person was recorded once, so a probe can"
            " find the session (microphone, room, level) instead of the voice. Log-mel alone shows how"
            " far that goes; a perturbed channel takes part of it away, not all.",
            task="sid",
        ),
        Caution(
            "**Children and adults.** The corpus records ages in years. We call those of up to 15 years children and"
            " those of 19 years or more adults; nobody in it is between."
        ),
        Caution(
            "**Age and sex are tied together.** Who is a child and who an adult is not spread evenly over"
            " recorded sex, so the gap of one carries part of the other. The adjusted gaps say"
            " what is left of it at equal values."
        ),
        Caution(
            "**Learners' English.** All speakers have Mandarin as their first language and read English;"
            " what they read is not the same for children and adults. The gaps here need not be those of"
            " other speakers or of free speech."
        ),
    ),
)
