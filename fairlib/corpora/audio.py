"""Reading audio: any file that libsndfile decodes, as 16 kHz mono. Every sample of the project comes from here.

A file gives the same samples whoever reads it and whatever lies beside it. One whose header announces another length
than it holds is refused, and so are joined files, rates beyond 4 to 192 kHz and samples that are no numbers; one whose
header announces none (streamed WAV and FLAC, mp3 without a Xing header) is read to its end, and lasts as long as that.
"""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from math import gcd
from pathlib import Path

import numpy as np
import soundfile

from fairlib.corpora.containers import JOINED, complaint, count_mp3, cut_short, is_joined, more_than_told, with_length

SAMPLE_RATE = 16_000
EXTENSIONS = (".wav", ".flac", ".ogg", ".opus", ".mp3")
LEAST_SAMPLES = 400  # one frame of the encoders, 25 ms

_RATES = (4_000, 192_000)  # Hz
_LOSSY = ("VORBIS", "OPUS", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III")
_BLOCK = 1 << 24  # frames read at once
_ENDLESS = 1 << 60  # what libsndfile tells as length where the header tells none
_STREAMED = 0x7FFF_0000  # bytes from which the length of a WAV means "not known yet"
_SLACK_S = 0.1  # by which headers are wrong without harm: their own bytes counted, a padded last frame
_CANCELLED = 0.01  # of the channels' power that is left in their mean: less, and they are in antiphase
_STEADY = 2 / 32767  # between the least and the largest sample: an offset, with one bit of dither, is silence too
_LARGEST_KERNEL = 1_000_000  # taps of torchaudio's filter bank: 44.1 kHz needs 80,000, 16,001 Hz 256 million


class AudioError(ValueError):
    """An audio file is absent, empty or cannot be decoded; the message names it."""


class _File(soundfile.SoundFile):
    """A file that is read from its beginning to its end: soundfile would seek to ends that a header invented."""

    def seekable(self) -> bool:
        return False


def read_audio(path: str | Path, channel: int | None = None) -> np.ndarray:
    """Read one file as mono float32 at 16 kHz, shape ``[samples]``, full scale at -1 and 1.

    Channels are averaged; where that cancels them (antiphase), the loudest is taken alone, with a warning. Other
    sampling rates are resampled. Lossy formats (mp3, Vorbis, Opus) come rounded to 16 bits, as their decoders' users
    know them, so that they can be kept decoded; lossless ones keep whatever precision and range they have.

    Args:
        path: the file.
        channel: the only one to read, counted from 0; None for the mean of all.

    Raises:
        AudioError: the file is absent, empty, cut short, joined from several, no audio that libsndfile can decode, of
            a sampling rate outside 4 to 192 kHz, not finite, or without that channel.

    Example:
        >>> import soundfile, tempfile
        >>> path = Path(tempfile.mkdtemp()) / "tone.wav"
        >>> soundfile.write(path, np.sin(np.arange(8000) / 10), 8000)
        >>> read_audio(path).shape
        (16000,)
    """
    samples, rate, lossy = _decode(path)
    if channel is not None:
        if channel >= samples.shape[1]:
            raise AudioError(f"{path} has {samples.shape[1]} channels, counted from 0, and none is {channel}.")
        samples = samples[:, [channel]]
    if _in_antiphase(samples):
        _say_antiphase()
    return _as_read(samples, rate, lossy)


def audio_header(path: str | Path) -> tuple[float, int]:
    """Duration in seconds and sampling rate in Hz, from the file's header alone where that tells the length.

    Raises:
        AudioError: the file cannot be read, is cut short, joined of several, or empty, as far as a header shows it.
    """
    with _open(path) as (file, frames):
        rate = file.samplerate
    return (len(_decode(path)[0]) if frames is None else frames) / rate, rate


def audio_faults(path: str | Path) -> list[str]:
    """What is wrong with a file's sound, or odd about it, one phrase each; reads the file once, whole.

    Of a file that `read_audio` refuses, its sentence alone. Of others: silence, fewer samples than one frame of the
    encoders, channels in antiphase, samples at full scale or beyond.

    Example:
        >>> import soundfile, tempfile
        >>> path = Path(tempfile.mkdtemp()) / "nothing.wav"
        >>> soundfile.write(path, np.zeros(160), 16000)
        >>> audio_faults(path)
        ['silent throughout', 'shorter than one frame of the encoders (0.010 s of 0.025 s)']
    """
    try:
        channels, rate, lossy = _decode(path)
    except AudioError as error:
        return [str(error)]
    samples, faults = _as_read(channels, rate, lossy), []
    loudness = np.abs(samples)
    if np.ptp(samples) <= _STEADY:
        faults.append("silent throughout")
    if len(samples) < LEAST_SAMPLES:
        lasts, least = len(samples) / SAMPLE_RATE, LEAST_SAMPLES / SAMPLE_RATE
        faults.append(f"shorter than one frame of the encoders ({lasts:.3f} s of {least:.3f} s)")
    if _in_antiphase(channels):
        faults.append("channels cancel each other (antiphase): the loudest alone is read")
    at_full_scale = (loudness >= 0.999).mean()
    if loudness.max() > 2:
        faults.append(f"its peak is {loudness.max():,.0f} times full scale")
    elif at_full_scale > 0.001:
        faults.append(f"clipped ({at_full_scale:.1%} of its samples at full scale)")
    return faults


def unreadable_name(path: str | Path) -> str:
    """What is wrong with a file's name whose bytes are no UTF-8, as old archives leave them; empty if nothing is.

    Example:
        >>> unreadable_name("Müller.wav"), unreadable_name(os.fsdecode(b"M\\xfcller.wav"))
        ('', 'M\\\\xfcller.wav has a name that is not UTF-8: rename it, or leave it out of the corpus.')
    """
    shown = os.fsencode(path).decode("utf-8", "backslashreplace")
    told = f"{shown} has a name that is not UTF-8: rename it, or leave it out of the corpus."
    return "" if shown == str(path) else told


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Samples in [-1, 1] as rounded 16-bit integers; what is beyond is clipped.

    Example:
        >>> to_int16(np.array([0, 0.5, -1, 1.2])).tolist()
        [0, 16384, -32767, 32767]
    """
    return np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)


def from_int16(integers: np.ndarray) -> np.ndarray:
    """The float32 samples that `to_int16` makes these of.

    Example:
        >>> from_int16(np.array([0, -32767], np.int16)).tolist()
        [0.0, -1.0]
    """
    return integers.astype(np.float32) / 32767


def _decode(path: str | Path) -> tuple[np.ndarray, int, bool]:
    """All samples ``[frames, channels]`` at their own rate, and whether their format is a lossy one."""
    with _open(path) as (file, frames):
        left, blocks = frames or _ENDLESS, list[np.ndarray]()
        while not blocks or left and len(blocks[-1]) == _BLOCK:
            blocks.append(file.read(min(left, _BLOCK), dtype="float32", always_2d=True))
            left -= len(blocks[-1])
        rate, lossy = file.samplerate, file.subtype in _LOSSY
        if not lossy and is_joined(path):
            raise AudioError(_broken(path, JOINED))
    samples = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    if len(samples) == 0:
        raise AudioError(_broken(path, "holds no audio samples, or its header tells of none"))
    if frames is not None and abs(frames - len(samples)) > _SLACK_S * rate:
        raise AudioError(_broken(path, cut_short(frames / rate, len(samples) / rate)))
    wrong = samples.size - np.isfinite(samples).sum()
    if wrong:
        raise AudioError(
            f"{path} holds NaN or infinite values ({wrong:,} of {samples.size:,} samples): make it again, or leave it "
            "out of the corpus."
        )
    return samples, rate, lossy


@contextmanager
def _open(path: str | Path) -> Iterator[tuple[_File, int | None]]:
    """The file, with its length in frames (None if no header tells it), once its bookkeeping was found in order."""
    try:
        source, counted = _unguessed(path)
        with _File(source) as file:
            frames = counted or (file.frames if file.frames < _ENDLESS else None)
            if frames is not None and frames <= 0:
                raise AudioError(_broken(path, "holds no audio samples, or its header tells of none"))
            if not _RATES[0] <= file.samplerate <= _RATES[1]:
                raise AudioError(
                    f"{path} has a sampling rate of {file.samplerate:,} Hz, outside {_RATES[0]:,} to {_RATES[1]:,} Hz: "
                    "correct its header, resample it, or leave it out of the corpus."
                )
            fault = _fault_of_wav(file, path) if file.format in ("WAV", "WAVEX", "RF64") else None
            if fault:
                raise AudioError(_broken(path, fault))
            yield file, frames
    except (soundfile.LibsndfileError, OSError, UnicodeEncodeError) as error:
        raise AudioError(unreadable_name(path) or _explain(path, error)) from None


def _fault_of_wav(file: _File, path: str | Path) -> str | None:
    """What libsndfile found wrong with the length of a WAV: it sets it right in silence, and tells its log alone."""
    log, there = file.extra_info, file.frames / file.samplerate
    data = re.search(r"^data : (\d+)(?: \(should be (\d+)\))?", log, re.MULTILINE)
    if data and data[2] and int(data[1]) < _STREAMED:
        announced = there * int(data[1]) / int(data[2])
        return cut_short(announced, there) if announced - there > _SLACK_S else None
    long = re.search(r"Calculated frame count \d+ does not match value from 'ds64' chunk of (\d+)", log)
    if long and int(long[1]) / file.samplerate - there > _SLACK_S:
        return cut_short(int(long[1]) / file.samplerate, there)
    rest = re.search(r"Unknown chunk marker \(\w+\) at position (\d+)\. Exiting parser", log)
    if data and rest:
        more = there * (os.path.getsize(path) - int(rest[1])) / int(data[1])
        return more_than_told(there, more) if more > _SLACK_S else None
    return None


def _unguessed(path: str | Path) -> tuple[str | io.BytesIO, int | None]:
    """What to open, and the frames in it where libsndfile would guess them; mp3 and Ogg that are not whole are refused
    here."""
    with open(path, "rb") as file:
        start = file.read(4)
        if not (start == b"OggS" or start[:3] == b"ID3" or start[:1] == b"\xff" or str(path).lower().endswith(".mp3")):
            return str(path), None
        data = start + file.read()
    fault = complaint(data)
    if fault:
        raise AudioError(_broken(path, fault))
    mp3 = count_mp3(data)
    if mp3 is None or mp3.announced is not None:
        return str(path), None
    frames = mp3.counted * mp3.samples_per_frame
    if frames > soundfile.info(str(path)).frames:  # a variable bit rate, of which the first frame's is no measure
        return io.BytesIO(with_length(data, mp3)), None
    return str(path), frames


def _as_read(samples: np.ndarray, rate: int, lossy: bool) -> np.ndarray:
    """Channels as one, at 16 kHz, in the precision that the format has."""
    loudest = np.square(samples, dtype=np.float64).mean(axis=0).argmax() if _in_antiphase(samples) else None
    mono = _resample(samples.mean(axis=1) if loudest is None else np.ascontiguousarray(samples[:, loudest]), rate)
    return from_int16(to_int16(mono)) if lossy else mono


def _in_antiphase(samples: np.ndarray) -> bool:
    if samples.shape[1] == 1:
        return False
    mean = np.square(samples.mean(axis=1), dtype=np.float64).mean()
    return bool(mean < _CANCELLED * np.square(samples, dtype=np.float64).mean())


@cache  # once a process: `audio_faults` names the files
def _say_antiphase() -> None:
    warnings.warn(
        "Audio whose channels cancel each other (antiphase) is read by its loudest channel alone.", stacklevel=3
    )


def _resample(samples: np.ndarray, rate: int) -> np.ndarray:
    if rate == SAMPLE_RATE:
        return samples
    up, down = SAMPLE_RATE // gcd(rate, SAMPLE_RATE), rate // gcd(rate, SAMPLE_RATE)
    if up * down > _LARGEST_KERNEL:  # a rate with few factors: by a filter of which only the taps in use are touched
        from scipy.signal import resample_poly

        return resample_poly(samples, up, down, window=_taps(max(up, down)))
    # Imported here: torch takes seconds to load, and most corpora are at 16 kHz already.
    import torch
    from torchaudio.functional import resample

    return resample(torch.from_numpy(samples), rate, SAMPLE_RATE).numpy()


@lru_cache(2)  # a corpus has few odd rates, and making the taps takes longer than using them
def _taps(factor: int) -> np.ndarray:
    from scipy.signal import firwin

    return firwin(20 * factor + 1, 1 / factor, window=("kaiser", 5.0)).astype(np.float32)


def _broken(path: str | Path, fault: str) -> str:
    advice = "split it" if fault == JOINED else "fetch it again"
    return f"{path} {fault}: {advice}, or leave it out of the corpus."


def _explain(path: str | Path, error: Exception) -> str:
    path = Path(path)
    if not path.exists():
        return f"{path} does not exist: check the corpus folder, or fetch the corpus again."
    if path.is_dir():
        return f"{path} is a folder, not an audio file: correct the list."
    if not os.access(path, os.R_OK):
        return f"{path} may not be read by you: change its permissions, or leave it out of the corpus."
    if path.stat().st_size == 0:
        return _broken(path, "is empty (0 bytes)")
    if is_joined(path):
        return _broken(path, JOINED)
    if "regular file" in str(error) or "not recognised" in str(error):
        kinds = ", ".join(EXTENSIONS)
        return _broken(path, f"cannot be decoded as audio (whatever its name, it is none of {kinds})")
    return _broken(path, f"cannot be decoded as audio ({error})")
