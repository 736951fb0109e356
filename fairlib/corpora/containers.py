"""What a file's own bookkeeping says of its length, against what is there: decoders stop in silence at either.

libsndfile believes an mp3's header, guesses where there is none, ends an Ogg where its pages end and reads the first
only of files that were joined. So the frames of an mp3 and the pages of an Ogg are counted here, undecoded.
"""

from __future__ import annotations

import mmap
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

JOINED = "holds several recordings, one behind the other, of which a decoder reads the first or all"
_STARTS = re.compile(rb"fLaC[\0\x80]\0\0\x22|RIFF....WAVE", re.DOTALL)

_KBPS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)  # of MPEG 1, layer III
_KBPS_LOW = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)  # of MPEG 2 and 2.5
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_SLACK = 2  # frames: encoders count their header, or their last frame, or do not


class Mp3(NamedTuple):
    """An mp3 by its frames."""

    first: bytes  # header of the first frame
    start: int  # of the first frame with sound: a Xing, Info or VBRI header stands in one before it
    rate: int
    samples_per_frame: int
    announced: int | None  # frames that such a header tells of
    counted: int  # frames with sound that are there
    whole: bool  # whether the last one is


def complaint(data: bytes) -> str | None:
    """What is wrong with the length of an mp3 or an Ogg file, in words that follow its name; None if nothing is.

    Example:
        >>> print(complaint(b"RIFF is another's business"))
        None
    """
    if data.startswith(b"OggS"):
        return _complaint_of_ogg(data)
    mp3 = count_mp3(data)
    if mp3 is None:
        return None
    seconds = mp3.samples_per_frame / mp3.rate
    if mp3.announced is not None and mp3.counted > mp3.announced + _SLACK:
        return JOINED
    if mp3.announced is not None and mp3.counted < mp3.announced - _SLACK:
        return cut_short(mp3.announced * seconds, mp3.counted * seconds)
    return None if mp3.whole or mp3.announced is not None else "is cut short, in the middle of a frame"


def is_joined(path: str | Path) -> bool:
    """Whether a FLAC or a WAV begins a second time within the file; the whole of it is looked at."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return len(_STARTS.findall(data)) > 1


def cut_short(announced_s: float, found_s: float) -> str:
    """The complaint about a file that holds less than its header announces.

    Example:
        >>> cut_short(6, 2.88)
        'is cut short: its header announces 6.00 s, and 2.88 s are there'
    """
    return f"is cut short: its header announces {announced_s:.2f} s, and {found_s:.2f} s are there"


def more_than_told(announced_s: float, more_s: float) -> str:
    """The complaint about a file that goes on behind what its header announces, as a recorder leaves it that died.

    Example:
        >>> more_than_told(3, 2.5)
        'goes on for another 2.50 s behind the 3.00 s that its header announces, unread'
    """
    return f"goes on for another {more_s:.2f} s behind the {announced_s:.2f} s that its header announces, unread"


def count_mp3(data: bytes) -> Mp3 | None:
    """Count an mp3's frames; None if this is no mp3 of layer III with bit rates that are told.

    Example:
        >>> frame = b"\\xff\\xfb\\x54\\xc4" + bytes(188)  # 64 kbit/s at 48 kHz
        >>> count_mp3(frame * 10 + frame[:100])[2:]
        (48000, 1152, None, 10, False)
    """
    if data.startswith((b"OggS", b"RIFF", b"fLaC")):
        return None
    first, start, announced, counted, whole = None, 0, None, 0, True
    for position, size in _mp3_frames(data):
        if first is None:
            first, start = data[position : position + 4], position
            count = _header_count(data[position : position + size])
            if count is not None:
                start, announced = position + size, count or None  # some encoders leave it at zero
                continue
        whole = position + size <= len(data)
        counted += whole
    if first is None:
        return None
    _, rate, samples = _frame_of(first)
    return Mp3(first, start, rate, samples, announced, counted, whole)


def with_length(data: bytes, mp3: Mp3) -> bytes:
    """An mp3 that tells its length: libsndfile guesses that of one without a header from the first frame's bit rate,
    and reads no further."""
    size, _, _ = _frame_of(mp3.first)
    # The most bits of a frame with these settings: a Xing header needs room behind the (empty) side information.
    first = mp3.first if size >= 64 else mp3.first[:2] + bytes([mp3.first[2] & 0x0F | 0xE0]) + mp3.first[3:]
    size, _, _ = _frame_of(first)
    header = first + bytes(_side_information(first)) + b"Xing\0\0\0\1" + mp3.counted.to_bytes(4, "big")
    return header.ljust(size, b"\0") + data[mp3.start :]


def _header_count(frame: bytes) -> int | None:
    """The frames that a Xing, Info or VBRI header tells of, 0 if it does not; None where this frame holds sound."""
    place = 4 + _side_information(frame)
    if frame[place : place + 4] in (b"Xing", b"Info"):
        return int.from_bytes(frame[place + 8 : place + 12], "big") if frame[place + 7] & 1 else 0
    return int.from_bytes(frame[50:54], "big") if frame[36:40] == b"VBRI" else None


def _side_information(frame: bytes) -> int:
    low, mono = frame[1] >> 3 & 3 != 3, frame[3] >> 6 == 3
    return (9 if mono else 17) if low else (17 if mono else 32)


def _mp3_frames(data: bytes) -> Iterator[tuple[int, int]]:
    """Place and size of each frame; the last may reach beyond the end."""
    position, kind = _after_tag(data, 0), None
    in_step = False
    while 0 <= position <= len(data) - 4:
        size = _size_of(data, position, kind) if in_step else _in_row(data, position, kind)
        if size:
            yield position, size
            kind = kind or _kind(data, position)
            position, in_step = _after_tag(data, position + size), True
        else:
            position, in_step = data.find(b"\xff", position + 1), False


def _in_row(data: bytes, position: int, kind: tuple | None) -> int | None:
    """Size of the frame here, if two more of its kind follow, or the end: one alone is soon found in any junk."""
    size, kind, here = _size_of(data, position, kind), kind or _kind(data, position), position
    for _ in range(3):
        step = _size_of(data, here, kind)
        if step is None or here + step > len(data):
            return None
        here = _after_tag(data, here + step)
        if here > len(data) - 4 or data[here : here + 3] == b"TAG":
            break
    return size


def _kind(data: bytes, position: int) -> tuple[int, int]:
    """What all frames of an mp3 have in common: version, layer and sampling rate."""
    return data[position + 1] & 0xFE, data[position + 2] & 0x0C


def _size_of(data: bytes, position: int, kind: tuple | None) -> int | None:
    frame = _mp3_frame(data, position) if position <= len(data) - 4 else None
    return frame[0] if frame and kind in (None, _kind(data, position)) else None


def _after_tag(data: bytes, position: int) -> int:
    """Where an ID3v2 tag ends that begins here; here, if none does."""
    while data[position : position + 3] == b"ID3" and len(data) >= position + 10:
        a, b, c, d = data[position + 6 : position + 10]
        position += 10 + (a << 21 | b << 14 | c << 7 | d)
    return position


def _mp3_frame(data: bytes, position: int) -> tuple[int, int, int] | None:
    """Bytes, sampling rate and samples of the layer III frame whose header stands here, if one does."""
    sync, second, third = data[position : position + 3]
    version, layer, kbps, rate = second >> 3 & 3, second >> 1 & 3, third >> 4, third >> 2 & 3
    if sync != 0xFF or second < 0xE0 or version == 1 or layer != 1 or kbps in (0, 15) or rate == 3:
        return None
    rate = (44100, 48000, 32000)[rate] >> (0, 1, 2)[(3, 2, 0).index(version)]
    bits, samples = (_KBPS[kbps], 1152) if version == 3 else (_KBPS_LOW[kbps], 576)
    return samples * 125 * bits // rate + (third >> 1 & 1), rate, samples


def _frame_of(header: bytes) -> tuple[int, int, int]:
    """The same of a header that is known to be one."""
    frame = _mp3_frame(header, 0)
    assert frame is not None
    return frame


def _complaint_of_ogg(data: bytes) -> str | None:
    position, begun, ended = 0, False, False
    numbers: dict[bytes, int] = {}
    while position >= 0:
        if position + 27 > len(data):
            return "is cut short, in the middle of a page"
        flags, stream = data[position + 5], data[position + 14 : position + 18]
        number = int.from_bytes(data[position + 18 : position + 22], "little")
        if flags & 2 and begun:  # a first page, behind others than first pages
            return JOINED
        if number != numbers.get(stream, number - 1) + 1:
            return "is damaged: pages are missing from its middle"
        begun, ended, numbers[stream] = begun or not flags & 2, bool(flags & 4), number
        segments = data[position + 27 : position + 27 + data[position + 26]]
        end = position + 27 + len(segments) + sum(segments)
        if end > len(data):
            return "is cut short, in the middle of a page"
        if _ogg_checksum(data[position:end]) != data[position + 22 : position + 26]:
            return "is damaged: a page of it does not agree with its checksum, and decoders leave it out"
        position = data.find(b"OggS", end)
    return None if ended or end == len(data) else "is cut short, in the middle of a page"


def _ogg_checksum(page: bytes) -> bytes:
    """Ogg's CRC takes the bits of a byte in the other order than zlib's, and inverts nothing."""
    plain = (page[:22] + bytes(4) + page[26:]).translate(_MIRRORED)
    mirrored = zlib.crc32(plain, 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return mirrored.to_bytes(4, "big").translate(_MIRRORED)
