"""How noisy each recording is: a covariate for gaps, since groups of speakers may have been recorded differently."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd

from fairlib.base.files import ASSETS, cache_folder, replace
from fairlib.base.progress import steps
from fairlib.corpora import corpus_fingerprint, load_corpus
from fairlib.corpora.audio import SAMPLE_RATE, read_audio
from fairlib.corpora.identity import OTHER, published_for

PUBLISHED = ASSETS / "recordings"

_FRAME = SAMPLE_RATE * 32 // 1000
_QUIETEST = 0.1  # share of the frames that are taken for pauses
_LEAST = 1e-10  # power of what a 16-bit recording cannot hold


def signal_to_noise(audio: np.ndarray) -> float:
    """Power of speech over power of noise, in decibels, estimated from one recording alone.

    Noise is what the quietest tenth of the frames holds (32 ms each, half overlapping), as if it were there all the
    time; speech is the rest of the power (the idea of minimum statistics, Martin 2001, IEEE Trans. Speech Audio Proc.
    9:504-512). Speech without a pause, or noise that comes and goes, is judged wrongly.

    Args:
        audio: 16 kHz samples.

    Returns:
        Between -20 and 80 dB.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> tone = np.sin(np.arange(32000) / 5) * (np.arange(32000) < 16000)  # one second of sound, one of silence
        >>> round(signal_to_noise(tone + 0.05 * rng.standard_normal(32000)))  # powers of 1/4 and 1/400
        20
    """
    if len(audio) < _FRAME:
        audio = np.pad(audio, (0, _FRAME - len(audio)))
    frames = np.lib.stride_tricks.sliding_window_view(audio, _FRAME)[:: _FRAME // 2]
    power = np.sort(np.square(frames, dtype=np.float64).mean(axis=1))
    noise = max(power[: max(1, int(_QUIETEST * len(power)))].mean(), _LEAST)
    speech = max(power.mean() - noise, _LEAST)
    return float(np.clip(10 * np.log10(speech / noise), -20, 80))


def recording_noise(corpus: str | pd.DataFrame) -> pd.Series:
    """`signal_to_noise` of every utterance of a corpus, by utterance_id: published, or measured once and cached.

    What is published answers for a corpus under the same rule as outcomes (`fairlib.corpora.identity`).

    Args:
        corpus: name of a corpus, or a corpus table.

    Raises:
        fairlib.corpora.CorpusError: the corpus is not there.
        fairlib.corpora.audio.AudioError: an audio file cannot be read.

    Example:
        >>> recording_noise("speechocean762").index[0]
        '000010011'
    """
    if isinstance(corpus, str) and (PUBLISHED / f"{corpus}.parquet").exists() and published_for(corpus) != OTHER:
        return pd.read_parquet(PUBLISHED / f"{corpus}.parquet")["snr_db"]
    table = load_corpus(corpus) if isinstance(corpus, str) else corpus
    kept = cache_folder() / "recordings" / f"{corpus_fingerprint(table)[:16]}.parquet"
    if not kept.exists():
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            measured = pool.map(lambda path: signal_to_noise(read_audio(path)), table["path"])
            measured = steps("measuring the noise of recordings", measured, len(table), "utterances")
            values = pd.DataFrame({"snr_db": list(measured)}, index=table["utterance_id"].astype(str)).round(1)
        kept.parent.mkdir(parents=True, exist_ok=True)
        replace(kept, values.to_parquet)
    return pd.read_parquet(kept)["snr_db"]
