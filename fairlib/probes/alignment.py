"""Forced alignment: which phone sounds when, by pocketsphinx's English model and dictionary.

Alignments of the published study's corpora come with the package: making them takes half an hour of a processor.
``python -m fairlib.probes.alignment CORPUS`` makes them again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pandas as pd

from fairlib.base.files import ASSETS, cache_folder, replace
from fairlib.base.progress import steps
from fairlib.corpora import corpus_fingerprint, load_corpus
from fairlib.corpora.audio import read_audio, to_int16
from fairlib.probes.text import plain_text

Segments = list[tuple[str, float, float]]
PUBLISHED = ASSETS / "alignments"

# Learners' and children's speech fits an adult native model poorly: try wider beams before giving up.
BEAMS: tuple[dict[str, float], ...] = (
    {},
    {"beam": 1e-80, "wbeam": 1e-60, "pbeam": 1e-80},
    {"beam": 1e-150, "wbeam": 1e-120, "pbeam": 1e-150},
)
_SILENCE = ("SIL", "+NSN+", "+SPN+")
_VERSION = 3  # of what is kept in the cache

# One common sound of each spelling, longest spellings first.
_SOUNDS = {
    "tch": "CH", "igh": "AY", "sch": "SH", "ch": "CH", "sh": "SH", "th": "TH", "ph": "F", "wh": "W", "ck": "K",
    "qu": "K W", "ng": "NG", "kn": "N", "ee": "IY", "ea": "IY", "oo": "UW", "ou": "AW", "ow": "OW", "oi": "OY",
    "oy": "OY", "ai": "EY", "ay": "EY", "ei": "EY", "ey": "IY", "ie": "IY", "oa": "OW", "au": "AO", "aw": "AO",
    "ew": "UW", "ue": "UW", "er": "ER", "ir": "ER", "ur": "ER", "ar": "AA R", "or": "AO R", "a": "AE", "b": "B",
    "c": "K", "d": "D", "e": "EH", "f": "F", "g": "G", "h": "HH", "i": "IH", "j": "JH", "k": "K", "l": "L", "m": "M",
    "n": "N", "o": "AA", "p": "P", "q": "K", "r": "R", "s": "S", "t": "T", "u": "AH", "v": "V", "w": "W", "x": "K S",
    "y": "IY", "z": "Z",
}  # fmt: skip


def align(corpus: pd.DataFrame) -> dict[str, Segments]:
    """Align every English utterance with its transcript; published, or kept in the user's cache, for it takes a while.

    Returns:
        ``{utterance_id: [(phone, start, end), ...]}`` in seconds. Silence is left out, and so are words that the
        dictionary lacks: a rough guess at their sound lets the others be aligned, but labels nothing. Single words
        that cannot be aligned are left out too. Utterances of which nothing can be aligned at any beam are absent;
        their number goes to standard error.
    """
    folder = cache_folder() / "alignments"
    path = folder / f"{corpus['corpus'].iloc[0]}-{corpus_fingerprint(corpus)[:16]}-{_VERSION}.json"
    aligned = _published(corpus)
    if aligned is None and not path.exists():
        jobs = [(row.path, plain_text(row.text)) for row in corpus.itertuples()]
        with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
            results = pool.map(_align_one, jobs, chunksize=16)
            results = steps("aligning phones", results, len(jobs), "utterances")
            made = {name: segments for name, segments in zip(corpus["utterance_id"], results) if segments}
        folder.mkdir(parents=True, exist_ok=True)
        replace(path, lambda temporary: temporary.write_text(json.dumps(made)))
    if aligned is None:
        aligned = json.loads(path.read_text())
    if len(aligned) < len(corpus):
        print(f"{len(corpus) - len(aligned)} of {len(corpus)} utterances could not be aligned.", file=sys.stderr)
    return aligned


def publish(corpus: pd.DataFrame) -> Path:
    """Write a corpus's alignments into the package: an utterance a row, times in hundredths of a second.

    In place of its transcript stands a digest of it, by which an alignment of another text is told.
    """
    aligned = align(corpus)
    rows = []
    for row in corpus.itertuples():
        segments = aligned.get(row.utterance_id, [])
        times = {"start": [round(100 * s) for _, s, _ in segments], "end": [round(100 * e) for *_, e in segments]}
        phones = [phone for phone, _, _ in segments]
        rows.append({"utterance_id": row.utterance_id, "text": _digest(row.text), "phone": phones, **times})
    path = PUBLISHED / f"{corpus['corpus'].iloc[0]}.parquet"
    path.parent.mkdir(exist_ok=True)
    replace(path, lambda temporary: pd.DataFrame(rows).to_parquet(temporary, compression="zstd"))
    return path


def _published(corpus: pd.DataFrame) -> dict[str, Segments] | None:
    """The published alignments of these utterances, or None if one of them, its transcript or its length is another.

    These are by utterance, so that part of a corpus has them too; for whole ones see `fairlib.corpora.identity`.
    """
    path = PUBLISHED / f"{corpus['corpus'].iloc[0]}.parquet"
    if not path.exists():
        return None
    table = pd.read_parquet(path).set_index("utterance_id").reindex(corpus["utterance_id"])
    if list(table["text"]) != [_digest(text) for text in corpus["text"]]:
        return None
    ends = table["end"].map(lambda times: times[-1] / 100 if len(times) else 0.0).to_numpy()
    if (ends > corpus["duration_s"].to_numpy() + 0.1).any():
        return None
    return {
        name: [(phone, start / 100, end / 100) for phone, start, end in zip(phones, starts, ends)]
        for name, phones, starts, ends in zip(table.index, table["phone"], table["start"], table["end"])
        if len(phones)
    }


def _digest(text: str) -> str:
    return hashlib.sha256(plain_text(text).encode()).hexdigest()[:16]


def _align_one(job: tuple[str, str]) -> Segments | None:
    path, text = job
    audio = to_int16(read_audio(path)).tobytes()
    return align_utterance(audio, text.lower()) if text else None


def align_utterance(audio: bytes, text: str) -> Segments | None:
    """Align one utterance: 16 kHz 16-bit samples and lower-case words; None if it cannot be done."""
    for beams in BEAMS:
        segments = _align_words(audio, text.split(), beams)
        if segments:
            return segments
    return None


def _align_words(audio: bytes, words: list[str], beams: dict) -> Segments:
    """Two passes, words and then their phones; where the second fails, as it often does in long utterances, each half
    of the words for itself, between the times of the first."""
    import pocketsphinx

    decoder = pocketsphinx.Decoder(lm=None, loglevel="FATAL", **beams)
    unknown = {word for word in words if decoder.lookup_word(word) is None}
    for word in unknown:
        sounds = guess_sounds(word)
        if not sounds:
            return []
        decoder.add_word(word, sounds, True)
    try:
        decoder.set_align_text(" ".join(words))
        _decode(decoder, audio)
    except RuntimeError:
        return []
    # Pauses and noises come in brackets; "read(2)" is a word's second pronunciation.
    found = [one for one in decoder.seg() or () if one.word[0] not in "<[+("]
    if len(found) != len(words):
        return []
    times = [(one.start_frame, one.end_frame + 1) for one in found]
    try:
        decoder.set_alignment()
        _decode(decoder, audio)
        aligned = decoder.get_alignment()
    except RuntimeError:
        aligned = None
    if aligned is not None:
        return [
            (phone.name, phone.start / 100, (phone.start + phone.duration) / 100)
            for word in aligned
            if word.name.split("(")[0] not in unknown
            for phone in word
            if phone.name not in _SILENCE
        ]
    if len(words) == 1:
        return []
    segments, middle = [], len(words) // 2
    for part in (slice(0, middle), slice(middle, None)):
        first, last = times[part][0][0], times[part][-1][1]
        clip = audio[2 * 160 * first : 2 * 160 * last]
        segments += [(p, s + first / 100, e + first / 100) for p, s, e in _align_words(clip, words[part], beams)]
    return segments


def guess_sounds(word: str) -> str:
    """A rough pronunciation by spelling, letters that no English word has left out: good enough to find a word's place.

    Example:
        >>> guess_sounds("ronicky")
        'R AA N IH K IY'
    """
    # An e at the end of a longer word is mostly silent; doubled consonants sound once.
    word = re.sub(r"([b-df-np-z])\1", r"\1", re.sub(r"(?<=[a-z]{2}[^aeiou])e$", "", word))
    spellings = "|".join(sorted(_SOUNDS, key=len, reverse=True))
    return " ".join(_SOUNDS[found] for found in re.findall(spellings, word))


def _decode(decoder, audio: bytes) -> None:
    decoder.start_utt()
    decoder.process_raw(audio, full_utt=True)
    decoder.end_utt()


if __name__ == "__main__":
    print(publish(load_corpus(sys.argv[1])))
