"""Speaks sentences with eSpeak NG in a process of its own: ``python _espeak.py < request > samples``.

eSpeak keeps state that nothing resets, not even espeak_Terminate (the phase of the pitch's flutter runs on
from one sentence to the next), so the same sentence sounds different the second time. A fresh process for
each speaker makes the audio depend on the request alone. The request is JSON: library, data, voice, and per
sentence text, pitch and rate. The answer is, for each sentence, its number of samples (4 bytes) and the
samples (int16), both little-endian, at 22,050 Hz. Standard library only.
"""

import array
import ctypes
import json
import struct
import sys

SYNCHRONOUS = 2  # hand the samples to the callback, play nothing, and return when all is spoken
POS_CHARACTER, CHARS_UTF8 = 1, 1
PARAMETER_RATE, PARAMETER_PITCH = 1, 3
SAMPLE_RATE = 22_050


def main() -> None:
    """Read a request from standard input, write the samples to standard output."""
    request = json.load(sys.stdin)
    espeak = ctypes.CDLL(request["library"])
    if espeak.espeak_Initialize(SYNCHRONOUS, 0, request["data"].encode(), 0) != SAMPLE_RATE:
        sys.exit(f"eSpeak NG does not start with the data in {request['data']}")
    # The breath of some voices is random.
    espeak.espeak_ng_SetRandSeed(ctypes.c_long(0))
    if espeak.espeak_SetVoiceByName(request["voice"].encode()) != 0:
        sys.exit(f"eSpeak NG has no voice {request['voice']!r}")

    samples = array.array("h")

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    def collect(wave, count, events):  # noqa: ARG001 (the library's signature)
        if wave and count > 0:
            samples.frombytes(ctypes.string_at(wave, 2 * count))
        return 0

    espeak.espeak_SetSynthCallback(collect)
    for sentence in request["sentences"]:
        del samples[:]
        espeak.espeak_SetParameter(PARAMETER_RATE, sentence["rate"], 0)
        espeak.espeak_SetParameter(PARAMETER_PITCH, sentence["pitch"], 0)
        text = sentence["text"].encode()
        done = espeak.espeak_Synth(text, ctypes.c_size_t(len(text) + 1), 0, POS_CHARACTER, 0, CHARS_UTF8, None, None)
        if done != 0 or not samples:
            sys.exit(f"eSpeak NG could not speak {sentence['text']!r}")
        if sys.byteorder == "big":
            samples.byteswap()
        sys.stdout.buffer.write(struct.pack("<I", len(samples)) + samples.tobytes())


if __name__ == "__main__":
    main()
