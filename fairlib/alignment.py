"""Forced alignment: which phone sounds when, by pocketsphinx's English model and dictionary."""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pandas as pd
from tqdm import tqdm

from fairlib.audio import read_audio
from fairlib.corpora import corpus_fingerprint
from fairlib.folders import cache_folder
from fairlib.probing.text import plain_text

Segments = list[tuple[str, float, float]]

# Learners' and children's speech fits an adult native model poorly: try wider beams before giving up.
_BEAMS = ({}, {"beam": 1e-80, "wbeam": 1e-60, "pbeam": 1e-80}, {"beam": 1e-150, "wbeam": 1e-120, "pbeam": 1e-150})
_SILENCE = ("SIL", "+NSN+", "+SPN+")


def align(corpus: pd.DataFrame) -> dict[str, Segments]:
    """Align every English utterance with its transcript; kept in the user's cache, for it takes a while.

    Returns:
        ``{utterance_id: [(phone, start, end), ...]}`` in seconds, silence left out. Utterances with a word that the
        dictionary lacks, or that cannot be aligned at any beam, are absent; their number goes to standard error.
    """
    folder = cache_folder() / "alignments"
    path = folder / f"{corpus['corpus'].iloc[0]}-{corpus_fingerprint(corpus)[:16]}.json"
    if not path.exists():
        jobs = [(row.path, plain_text(row.text)) for row in corpus.itertuples()]
        with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
            results = pool.map(_align_one, jobs, chunksize=16)
            bar = tqdm(results, total=len(jobs), desc="align", unit="utt", disable=not sys.stderr.isatty())
            aligned = dict(zip(corpus["utterance_id"], bar))
        folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".partial")
        temporary.write_text(json.dumps({k: v for k, v in aligned.items() if v}))
        temporary.replace(path)
    aligned = json.loads(path.read_text())
    if len(aligned) < len(corpus):
        print(f"{len(corpus) - len(aligned)} of {len(corpus)} utterances could not be aligned.", file=sys.stderr)
    return aligned


def _align_one(job: tuple[str, str]) -> Segments | None:
    path, text = job
    audio = (np.clip(read_audio(path), -1, 1) * 32767).astype(np.int16).tobytes()
    return align_utterance(audio, text.lower()) if text else None


def align_utterance(audio: bytes, text: str) -> Segments | None:
    """Align one utterance: 16 kHz 16-bit samples and lower-case words; None if it cannot be done."""
    import pocketsphinx

    for beams in _BEAMS:
        decoder = pocketsphinx.Decoder(lm=None, loglevel="FATAL", **beams)
        if any(decoder.lookup_word(word) is None for word in text.split()):
            return None
        try:
            decoder.set_align_text(text)
            _decode(decoder, audio)
            decoder.set_alignment()  # the second pass goes down to phones
            _decode(decoder, audio)
            words = decoder.get_alignment()
        except RuntimeError:
            continue
        if words is not None:
            return [
                (phone.name, phone.start / 100, (phone.start + phone.duration) / 100)
                for word in words
                for phone in word
                if phone.name not in _SILENCE
            ]
    return None


def _decode(decoder, audio: bytes) -> None:
    decoder.start_utt()
    decoder.process_raw(audio, full_utt=True)
    decoder.end_utt()
