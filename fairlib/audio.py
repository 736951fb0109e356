"""Reading audio: any file that libsndfile decodes, as 16 kHz mono."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

SAMPLE_RATE = 16_000
EXTENSIONS = (".wav", ".flac", ".ogg", ".opus", ".mp3")


class AudioError(ValueError):
    """An audio file is absent, empty or cannot be decoded; the message names it."""


def read_audio(path: str | Path) -> np.ndarray:
    """Read one file as mono float32 at 16 kHz, shape ``[samples]``, in [-1, 1].

    Channels are averaged; other sampling rates are resampled (windowed sinc, torchaudio).

    Raises:
        AudioError: the file is absent, empty, or no audio that libsndfile can decode.

    Example:
        >>> import soundfile, tempfile
        >>> path = Path(tempfile.mkdtemp()) / "tone.wav"
        >>> soundfile.write(path, np.sin(np.arange(8000) / 10), 8000)
        >>> read_audio(path).shape
        (16000,)
    """
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError(_explain(path, error)) from None
    if len(samples) == 0:
        raise AudioError(f"{path} holds no audio samples: fetch it again, or leave it out of the corpus.")
    mono = samples.mean(axis=1)
    if rate == SAMPLE_RATE:
        return mono
    # Imported here: torch takes seconds to load, and most corpora are at 16 kHz already.
    import torch
    from torchaudio.functional import resample

    return resample(torch.from_numpy(mono), rate, SAMPLE_RATE).numpy()


def audio_header(path: str | Path) -> tuple[float, int]:
    """Duration in seconds and sampling rate in Hz, from the file's header alone.

    Raises:
        AudioError: as `read_audio`.
    """
    try:
        info = soundfile.info(path)
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError(_explain(path, error)) from None
    if info.frames <= 0:
        raise AudioError(f"{path} holds no audio samples: fetch it again, or leave it out of the corpus.")
    return info.frames / info.samplerate, info.samplerate


def _explain(path: str | Path, error: Exception) -> str:
    path = Path(path)
    if not path.exists():
        return f"{path} does not exist: check the corpus folder, or fetch the corpus again."
    if path.stat().st_size == 0:
        return f"{path} is empty (0 bytes): fetch it again, or leave it out of the corpus."
    return f"{path} cannot be decoded as audio ({error}): fetch it again, or leave it out of the corpus."
