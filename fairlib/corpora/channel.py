"""Recording channels: one utterance as another microphone, room and codec would have passed it on.

Where every speaker was recorded once, a speaker and a recording are the same thing to a probe. With another channel for
each utterance, the recording no longer says who speaks.
"""

from __future__ import annotations

import hashlib

import numpy as np

from fairlib.corpora.audio import SAMPLE_RATE

LEVEL_DB = -26.0  # of the root mean square, under full scale
BANDS_HZ = np.geomspace(80, 7600, 9)  # where the equaliser's random gains stand
EQUALISER_DB = 4.0  # their standard deviation; twice this is the most
LOW_CUT_HZ, HIGH_CUT_HZ = (60, 250), (3600, 7800)
SNR_DB = (15, 35)
GAIN_DB = (-12, 6)  # before the codec, whose quantisation hurts quiet speech more
CODEC_BITS = (7, 8, 10, 12)


def level(audio: np.ndarray) -> np.ndarray:
    """The utterance at a root mean square of `LEVEL_DB`; silence stays silence.

    Example:
        >>> round(float(level(np.ones(100, np.float32))[0]), 4)
        0.0501
    """
    power = np.sqrt(np.mean(np.square(audio, dtype=np.float64)))
    return audio if power < 1e-7 else (audio * (10 ** (LEVEL_DB / 20) / power)).astype(np.float32)


def perturb(audio: np.ndarray, utterance_id: str, seed: int = 0) -> np.ndarray:
    """Pass one utterance through a random channel of its own, at equal level.

    A gentle equaliser, low and high cuts, coloured noise at 15 to 35 dB under the speech, gain, and a mu-law codec of 7
    to 12 bits; level normalised at the end.

    Args:
        audio: float32 ``[samples]`` at 16 kHz.
        utterance_id, seed: all that chance depends on.

    Returns:
        float32, as many samples.

    Example:
        >>> speech = np.sin(np.arange(1600) / 5).astype(np.float32)
        >>> bool((perturb(speech, "u1") == perturb(speech, "u1")).all())
        True
        >>> bool((perturb(speech, "u1") == perturb(speech, "u2")).any())
        False
    """
    rng = np.random.default_rng(list(hashlib.sha256(f"{seed} {utterance_id}".encode()).digest()[:16]))
    audio = level(audio)
    frequencies = np.fft.rfftfreq(len(audio), 1 / SAMPLE_RATE)
    logs = np.log(np.maximum(frequencies, 20.0))
    gains = rng.normal(0, EQUALISER_DB, len(BANDS_HZ)).clip(-2 * EQUALISER_DB, 2 * EQUALISER_DB)
    low, high = rng.uniform(*np.log(LOW_CUT_HZ)), rng.uniform(*np.log(HIGH_CUT_HZ))
    # Second-order slopes: 12 dB an octave beyond the cuts.
    cuts = -10 * np.log10(1 + np.exp(4 * (low - logs))) - 10 * np.log10(1 + np.exp(8 * (logs - high)))
    response = 10 ** ((np.interp(logs, np.log(BANDS_HZ), gains) + cuts) / 20)
    speech = np.fft.irfft(np.fft.rfft(audio) * response, len(audio))

    noise = np.fft.rfft(rng.standard_normal(len(audio))) * np.exp(-0.5 * rng.uniform(0, 2) * logs)  # white to brown
    noise = np.fft.irfft(noise, len(audio))
    power, noise_power = np.mean(speech**2), np.mean(noise**2)
    mixed = speech + noise * np.sqrt(power / np.maximum(noise_power, 1e-20) * 10 ** (-rng.uniform(*SNR_DB) / 10))

    mixed = (level(mixed) * 10 ** (rng.uniform(*GAIN_DB) / 20)).clip(-1, 1)
    steps = 2.0 ** (rng.choice(CODEC_BITS) - 1)
    squeezed = np.sign(mixed) * np.log1p(255 * np.abs(mixed)) / np.log(256)
    squeezed = np.round(squeezed * steps) / steps
    return level((np.sign(squeezed) * (256 ** np.abs(squeezed) - 1) / 255).astype(np.float32))


def crop(audio: np.ndarray, seconds: float) -> np.ndarray:
    """The middle ``seconds`` of an utterance, or all of a shorter one.

    Example:
        >>> crop(np.zeros(32000), 1.5).shape
        (24000,)
    """
    samples = round(seconds * SAMPLE_RATE)
    start = max(0, (len(audio) - samples) // 2)
    return audio[start : start + samples]
