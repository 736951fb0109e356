"""Reading audio: what is there is read whole, as it is, or refused by one sentence that names the file."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from fairlib.corpora import audio
from fairlib.corpora.audio import AudioError, audio_faults, audio_header, from_int16, read_audio, to_int16
from fairlib.corpora.containers import count_mp3
from fairlib.corpora.table import AudioFinder, CorpusError
from fairlib.encoders.extraction import reader

FORMATS = {
    "wav": {}, "flac": {}, "vorbis": {"format": "OGG", "subtype": "VORBIS"},
    "opus": {"format": "OGG", "subtype": "OPUS"}, "mp3": {}, "rf64": {"format": "RF64"},
}  # fmt: skip
ENDINGS = {"vorbis": "ogg", "opus": "ogg", "rf64": "wav"}


def speech(seconds: float, rate: int = 16000, gain: float = 0.1, seed: int = 0) -> np.ndarray:
    return gain * np.random.default_rng(seed).standard_normal(int(seconds * rate))


def written(folder: Path, kind: str, seconds: float = 6, rate: int = 16000, name: str = "u", **more) -> Path:
    path = folder / f"{name}.{ENDINGS.get(kind, kind)}"
    soundfile.write(path, speech(seconds, rate), rate, **(FORMATS[kind] | more))
    return path


def refusal(path: Path, call=read_audio) -> str:
    with pytest.raises(AudioError) as caught:
        call(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and audio_faults(path) == [message]
    return message


def assert_lasts(path: Path, seconds: float, within: float = 0) -> None:
    """Header and samples agree, and with the truth."""
    told, rate = audio_header(path)
    assert told == pytest.approx(seconds, abs=max(within, 1e-9))
    assert len(read_audio(path)) == int(np.ceil(told * rate * 16000 / rate - 1e-6))


def without_header(path: Path) -> None:
    """Take from an mp3 the frame that tells its length, as streams and cutters do."""
    data = path.read_bytes()
    path.write_bytes(data[count_mp3(data).start :])


def streamed_wav(path: Path, size: int) -> None:
    data = bytearray(path.read_bytes())
    place = data.find(b"data") + 4
    data[4:8] = data[place : place + 4] = struct.pack("<I", size)
    path.write_bytes(data)


def streamed_flac(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    path.write_bytes(data)


def ogg_pages(data: bytes) -> list[bytes]:
    pages, place = [], 0
    while place < len(data):
        segments = data[place + 27 : place + 27 + data[place + 26]]
        pages.append(data[place : place + 27 + len(segments) + sum(segments)])
        place += len(pages[-1])
    return pages


# Lengths


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
@pytest.mark.parametrize("kind", ["wav", "flac", "vorbis", "opus", "mp3", "rf64"])
def test_a_whole_file_lasts_as_long_as_its_header_says(tmp_path, kind, rate):
    if (kind, rate) == ("opus", 44100):
        pytest.skip("Opus knows no such rate")
    assert_lasts(written(tmp_path, kind, 1.3, rate), 1.3)


@pytest.mark.parametrize("kind", ["wav", "flac", "vorbis", "opus", "mp3", "rf64"])
def test_a_file_cut_anywhere_is_refused(tmp_path, kind):
    path = written(tmp_path, kind)
    data, rng = path.read_bytes(), np.random.default_rng(0)
    for end in rng.integers(len(data) // 20, len(data) * 9 // 10, 12):
        path.write_bytes(data[:end])
        message = refusal(path)
        assert "cut short" in message or kind == "flac"
        if kind != "flac":  # whose frames would all have to be decoded: that is for reading it, and for a check
            assert refusal(path, audio_header) == message


def test_an_mp3_without_a_header_cut_within_a_frame_is_refused(tmp_path):
    path = written(tmp_path, "mp3")
    without_header(path)
    path.write_bytes(path.read_bytes()[:9001])
    assert "cut short, in the middle of a frame" in refusal(path, audio_header)


@pytest.mark.parametrize("header", ["absent", "without a count", "counts none"])
@pytest.mark.parametrize("loud_first", [False, True])
def test_an_mp3_of_variable_bit_rate_is_read_to_its_end_whatever_its_first_frame(tmp_path, header, loud_first):
    path = tmp_path / "u.mp3"
    parts = [speech(8, gain=1e-4), speech(8, gain=0.3)]
    sound = np.concatenate(parts[::-1] if loud_first else parts)
    soundfile.write(path, sound, 16000, bitrate_mode="VARIABLE", compression_level=0.2)
    whole, data = read_audio(path), bytearray(path.read_bytes())
    place = data.find(b"Xing")
    if header == "absent":
        without_header(path)
        assert soundfile.info(path).duration < 12  # what a reader that trusts libsndfile would take
    else:
        data[place + 7 : place + 12] = b"\0" * 5 if header == "without a count" else b"\1" + b"\0" * 4
        path.write_bytes(data)
    assert_lasts(path, 16, within=0.2)
    for part in (slice(16_000, 112_000), slice(-112_000, -16_000)):  # both halves are there, each at its own level
        assert read_audio(path)[part].std() == pytest.approx(whole[part].std(), rel=0.05)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x80000000, 0x7FFFFFFF - 36])
def test_a_streamed_wav_is_read_to_its_end(tmp_path, size):
    path = written(tmp_path, "wav", 2)
    streamed_wav(path, size)
    assert_lasts(path, 2)


def test_a_wav_that_counts_its_own_header_is_whole(tmp_path):
    path = written(tmp_path, "wav", 2)
    streamed_wav(path, path.stat().st_size)
    assert_lasts(path, 2)


def test_a_wav_that_holds_more_than_its_header_tells_is_refused(tmp_path):
    path = written(tmp_path, "wav", 5)
    streamed_wav(path, 64_000)
    assert "another 3.00 s behind the 2.00 s" in refusal(path, audio_header)
    path = written(tmp_path, "wav", 2)
    for tail in (b"LIST\x10\x27\0\0" + bytes(10_000), b"TAG" + bytes(125), bytes(10_000), b"a few bytes of junk"):
        path.write_bytes(written(tmp_path, "wav", 2).read_bytes() + tail)
        assert_lasts(path, 2)


def test_a_wav_that_was_never_finished_is_refused(tmp_path):
    path = written(tmp_path, "wav", 2)
    streamed_wav(path, 0)
    assert "its header tells of none" in refusal(path, audio_header)


def test_a_flac_of_unknown_length_is_counted(tmp_path):
    path = written(tmp_path, "flac", 2)
    whole = read_audio(path)
    streamed_flac(path)
    assert_lasts(path, 2)
    np.testing.assert_array_equal(read_audio(path), whole)
    path.write_bytes(path.read_bytes()[:40_000])
    assert "cannot be decoded" in refusal(path, audio_header)


@pytest.mark.parametrize("kind", ["wav", "flac", "vorbis", "opus", "mp3"])
def test_joined_files_are_refused(tmp_path, kind):
    parts = [written(tmp_path, kind, seconds, name=str(seconds)).read_bytes() for seconds in (2, 3)]
    path = tmp_path / f"u.{ENDINGS.get(kind, kind)}"
    path.write_bytes(parts[0] + parts[1])
    message = refusal(path)
    assert "several recordings" in message and "split it" in message


def test_joined_streams_are_refused(tmp_path):
    path = written(tmp_path, "wav", 2)
    streamed_wav(path, 0xFFFFFFFF)
    path.write_bytes(2 * path.read_bytes())
    assert "several recordings" in refusal(path)


@pytest.mark.parametrize("kind", ["opus", "vorbis"])
def test_ogg_pages(tmp_path, kind):
    path = written(tmp_path, kind, 12)
    pages, whole = ogg_pages(path.read_bytes()), read_audio(path)
    path.write_bytes(b"".join(pages[:4] + pages[5:]))
    assert "pages are missing" in refusal(path, audio_header)
    spoilt = bytearray(pages[4])
    spoilt[-9] ^= 64
    path.write_bytes(b"".join([*pages[:4], spoilt, *pages[5:]]))
    assert "checksum" in refusal(path, audio_header)
    path.write_bytes(b"".join(pages) + b"junk of some tagger")
    np.testing.assert_array_equal(read_audio(path), whole)
    path.write_bytes(b"".join(pages[:-2]))  # a live stream that was left: nothing tells of more
    seconds = audio_header(path)[0]
    assert 6 < seconds < 12
    assert_lasts(path, seconds)


def test_tags_around_the_sound_change_nothing(tmp_path):
    tag = b"ID3\x04\0\0\0\0\x02\x01" + bytes(257)
    mp3, flac = written(tmp_path, "mp3", 2), written(tmp_path, "flac", 2)
    plain = {path: read_audio(path) for path in (mp3, flac)}
    mp3.write_bytes(tag + mp3.read_bytes() + b"APETAGEX" + bytes(range(256)) * 12 + b"TAG" + bytes(125))
    flac.write_bytes(tag + flac.read_bytes())
    for path, samples in plain.items():
        np.testing.assert_array_equal(read_audio(path), samples)
        assert audio_header(path) == (2, 16000)


@pytest.mark.parametrize("tail", [b"APETAGEX" + bytes(range(256)) * 99, bytes(30_000), b"TAG" + bytes(125)])
def test_what_stands_behind_an_mp3_without_a_header_is_not_taken_for_speech(tmp_path, tail):
    path = written(tmp_path, "mp3", 3, bitrate_mode="CONSTANT", compression_level=0.5)
    without_header(path)
    whole, seconds = read_audio(path), audio_header(path)[0]
    path.write_bytes(path.read_bytes() + tail)
    assert_lasts(path, seconds)
    np.testing.assert_array_equal(read_audio(path), whole)


def test_what_looks_like_an_mp3_within_another_file_is_not_counted():
    frames = (b"\xff\xfb\x54\xc4" + bytes(188)) * 10
    assert count_mp3(frames).counted == 10
    assert count_mp3(b"OggS" + frames) is None
    junk = np.random.default_rng(0).integers(0, 256, 1_000_000, np.uint8).tobytes()
    assert count_mp3(junk) is None


# Values


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channels", [1, 2])
def test_what_is_not_finite_is_refused_by_name(tmp_path, value, channels):
    samples = np.tile(speech(1)[:, None], channels)
    samples[70, -1] = value
    path = tmp_path / "u.wav"
    soundfile.write(path, samples, 16000, subtype="FLOAT")
    assert f"NaN or infinite values (1 of {16000 * channels:,} samples)" in refusal(path)
    soundfile.write(tmp_path / "other.mp3", speech(1), 16000)
    rows = pd.DataFrame({"path": [str(tmp_path / "other.mp3"), str(path)], "duration_s": 1.0})
    with pytest.raises(AudioError, match="NaN or infinite"):
        reader(rows)(1)


def test_sixteen_bits_come_back_as_they_were():
    every = np.arange(-32767, 32768, dtype=np.int16)
    np.testing.assert_array_equal(to_int16(from_int16(every)), every)
    assert to_int16(np.array([0.6, 1.4, -0.6]) / 32767).tolist() == [1, 1, -1]  # rounded, towards neither side


def test_a_file_gives_the_same_samples_beside_any_other(tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRLIB_CACHE", str(tmp_path / "cache"))
    sound, files = speech(1), {
        "quiet.wav": dict(gain=3e-4, subtype="PCM_24"), "quiet.flac": dict(gain=3e-4, subtype="PCM_24"),
        "hot.wav": dict(gain=80, subtype="FLOAT"), "plain.wav": {}, "eight.wav": dict(subtype="PCM_U8"),
        "law.wav": dict(subtype="ULAW"), "a.mp3": dict(gain=2), "b.ogg": FORMATS["opus"], "c.ogg": FORMATS["vorbis"],
        "odd.wav": dict(rate=11127), "odd.mp3": dict(rate=48000),
        "wav.mp3": dict(gain=3e-4, format="WAV", subtype="PCM_24"),
    }  # fmt: skip
    for name, how in files.items():
        how = dict(how)
        soundfile.write(tmp_path / name, sound * how.pop("gain", 1), how.pop("rate", 16000), **how)
    alone = {name: read_audio(tmp_path / name) for name in files}
    assert alone["hot.wav"].max() > 10 and 1000 < len(np.unique(alone["quiet.wav"]))
    np.testing.assert_array_equal(alone["a.mp3"], from_int16(to_int16(alone["a.mp3"])))
    for order in (list(files), list(files)[::-1], list(files)[::3]):
        rows = pd.DataFrame({"path": [str(tmp_path / name) for name in order], "duration_s": 1.0})
        for keep in (True, True, False):  # made, found, and read each time
            read = reader(rows, keep_audio=keep)
            for row, name in enumerate(order):
                np.testing.assert_array_equal(read(row), alone[name], err_msg=name)
    assert any((tmp_path / "cache" / "audio").iterdir())


def test_lossy_audio_is_decoded_once(tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRLIB_CACHE", str(tmp_path / "cache"))
    paths = [written(tmp_path, kind, 1) for kind in ("opus", "wav")]
    rows = pd.DataFrame({"path": [str(path) for path in paths], "duration_s": 1.0})
    reader(rows)
    monkeypatch.setattr("fairlib.encoders.extraction.read_audio", lambda path: np.array([float(path.endswith("wav"))]))
    assert len(reader(rows)(0)) == 16000 and reader(rows)(1).tolist() == [1.0]


# Channels


def test_antiphase_is_read_by_its_loudest_channel_and_that_is_said_once(tmp_path):
    sound = speech(1)
    for name, other in (("a", -0.97 * sound), ("b", -sound)):
        soundfile.write(tmp_path / f"{name}.wav", np.stack([other, sound], 1), 16000)
    audio._say_antiphase.cache_clear()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        read = [read_audio(tmp_path / f"{name}.wav") for name in "ab"]
    assert [str(one.message) for one in seen if "antiphase" in str(one.message)] == [str(seen[0].message)]
    assert abs(np.corrcoef(read[0], sound)[0, 1]) > 0.999 and read[0].std() == pytest.approx(0.1, rel=0.05)
    assert abs(np.corrcoef(read[1], sound)[0, 1]) > 0.999
    assert "antiphase" in audio_faults(tmp_path / "a.wav")[0]


@pytest.mark.parametrize("channels", [2, 6, 16])
@pytest.mark.parametrize("kind", ["equal", "one alive", "unlike"])
def test_other_channels_are_averaged(tmp_path, channels, kind):
    sound = np.tile(speech(0.5)[:, None], channels)
    if kind == "one alive":
        sound[:, 1:] = 0
    if kind == "unlike":
        sound = np.random.default_rng(1).normal(scale=0.1, size=sound.shape)
    soundfile.write(tmp_path / "u.wav", sound, 16000, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(tmp_path / "u.wav"), sound.mean(axis=1), atol=1e-6)
    assert audio_faults(tmp_path / "u.wav") == []


# Rates


@pytest.mark.parametrize("rate", [4000, 8000, 11127, 16001, 22050, 44056, 44100, 48000, 96000, 192000])
def test_a_tone_keeps_its_pitch_and_level_at_any_rate(tmp_path, rate):
    time = np.arange(rate) / rate
    soundfile.write(tmp_path / "u.wav", 0.5 * np.sin(2 * np.pi * 440 * time), rate, subtype="FLOAT")
    samples = read_audio(tmp_path / "u.wav")
    assert samples.dtype == np.float32 and len(samples) == 16000
    true = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert np.abs(samples - true)[500:-500].max() < 2e-3


def test_usual_rates_are_resampled_as_ever(tmp_path):
    import torch
    from torchaudio.functional import resample

    for rate in (8000, 22050, 24000, 32000, 44100, 48000, 96000):
        soundfile.write(tmp_path / "u.wav", speech(0.3, rate), rate, subtype="FLOAT")
        samples = torch.from_numpy(soundfile.read(tmp_path / "u.wav", dtype="float32")[0])
        np.testing.assert_array_equal(read_audio(tmp_path / "u.wav"), resample(samples, rate, 16000).numpy())


def test_odd_rates_need_little_memory(tmp_path):
    rates = (16001, 44057)
    for rate in rates:
        soundfile.write(tmp_path / f"{rate}.wav", speech(2, rate), rate)
    code = (
        "import resource, sys, scipy.signal\nfrom fairlib.corpora.audio import read_audio\n"
        "top = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\nbefore = top()\n"
        "assert all(len(read_audio(path)) == 32000 for path in sys.argv[1:])\nprint((top() - before) / 1e6)"
    )
    run = [sys.executable, "-c", code, *(str(tmp_path / f"{rate}.wav") for rate in rates)]
    assert float(subprocess.run(run, capture_output=True, text=True, check=True).stdout) < 0.3  # GB


@pytest.mark.parametrize("rate", [1, 3999, 192_001, 384_000])
def test_impossible_rates_are_refused_at_once(tmp_path, rate):
    soundfile.write(tmp_path / "u.wav", speech(1, 16000), rate)
    assert f"{rate:,} Hz, outside 4,000 to 192,000 Hz" in refusal(tmp_path / "u.wav", audio_header)


# What a check is told, and what is no audio


def test_faults(tmp_path):
    def faults(samples, **how) -> list[str]:
        soundfile.write(tmp_path / "u.wav", samples, 16000, **how)
        return audio_faults(tmp_path / "u.wav")

    assert faults(speech(1)) == []
    assert faults(np.zeros(16000)) == faults(np.full(16000, 0.2)) == ["silent throughout"]
    assert faults(1e-4 * speech(1), subtype="PCM_24") == []  # quiet is not silent
    assert faults(speech(0.02)) == ["shorter than one frame of the encoders (0.020 s of 0.025 s)"]
    assert faults(speech(0.025)) == []
    assert faults(10 * speech(1))[0].startswith("clipped (3")
    assert faults(3e5 * speech(1), subtype="FLOAT")[0].startswith("its peak is 1")


@pytest.mark.parametrize("content", [b"<html>404</html>", b"\0\0\0\x20ftypM4A ", b"\x1aE\xdf\xa3webm", bytes(9000)])
@pytest.mark.parametrize("ending", ["wav", "ogg", "flac", "mp3"])
def test_what_is_no_audio_is_told_as_such_whatever_its_name(tmp_path, content, ending):
    path = tmp_path / f"u.{ending}"
    path.write_bytes(content + b"more of it" * 300)
    assert "cannot be decoded as audio (whatever its name" in refusal(path, audio_header)


def test_a_name_may_belie_the_format(tmp_path):
    for kind in ("wav", "flac", "opus", "mp3"):
        whole = written(tmp_path, kind, 1, name="right")
        for ending in ("wav", "flac", "ogg", "mp3"):
            other = tmp_path / f"wrong.{ending}"
            other.write_bytes(whole.read_bytes())
            np.testing.assert_array_equal(read_audio(other), read_audio(whole))


def test_folders_absent_and_forbidden_files_are_told_as_such(tmp_path):
    (tmp_path / "folder.wav").mkdir()
    assert "is a folder" in refusal(tmp_path / "folder.wav", audio_header)
    assert "does not exist" in refusal(tmp_path / "absent.wav", audio_header)
    if os.geteuid():  # the superuser may read all
        path = written(tmp_path, "wav", 1)
        path.chmod(0)
        assert "may not be read by you" in refusal(path, audio_header)


# Which file


def test_the_listed_file_comes_before_others_of_its_stem(tmp_path):
    for ending in ("wav", "mp3", "ogg"):
        (tmp_path / f"u.{ending}").touch()
    (tmp_path / "v.wav").mkdir()
    (tmp_path / "v.mp3").touch()
    finder = AudioFinder()
    assert finder.find(tmp_path / "u.mp3", "list") == str(tmp_path / "u.mp3")
    assert finder.find(tmp_path / "u.ogg", "list") == str(tmp_path / "u.ogg")
    assert finder.find(tmp_path / "u.flac", "list") == str(tmp_path / "u.wav")
    assert finder.find(tmp_path / "v.wav", "list") == str(tmp_path / "v.mp3")
    with pytest.raises(CorpusError, match="not there with any extension"):
        finder.find(tmp_path / "w.mp3", "list")
