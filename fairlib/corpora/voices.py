"""Synthetic voices: who they are, what they say, and the recordings made of them."""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from fairlib.corpora import _espeak
from fairlib.corpora.audio import SAMPLE_RATE
from fairlib.corpora.table import CorpusError

if TYPE_CHECKING:
    pass


# What eSpeak calls each accent (its own name for British English is not a voice's name).
ACCENTS = {
    "en-us": "en-us",
    "en-gb": "en",
    "en-gb-scotland": "en-gb-scotland",
    "en-029": "en-029",
    "en-gb-x-gbclan": "en-gb-x-gbclan",
    "en-us-nyc": "en-us-nyc",
    "en-gb-x-rp": "en-gb-x-rp",
    "en-gb-x-gbcwmd": "en-gb-x-gbcwmd",
}


# The lowest and highest pitch in Hz that each variant's file in eSpeak's voices gives it; none has a wide
# range.
VARIANTS = {
    "m1": (75, 109),
    "f1": (140, 200),
    "m2": (88, 115),
    "f2": (142, 220),
    "m3": (80, 122),
    "m4": (70, 110),
    "f4": (142, 200),
    "m5": (82, 118),
    "f5": (160, 228),
    "m6": (82, 117),
    "linda": (200, 247),
    "m8": (65, 102),
    "steph": (166, 200),
    "Lee": (85, 110),
    "belinda": (200, 247),
    "Alicia": (180, 275),
}


TRAIN_SENTENCES = """
The river runs past the old mill.
She put the bread on the kitchen table.
We walked home under a clear sky.
My brother fixed the broken window.
The train was late again this morning.
A small dog slept by the fire.
They planted beans along the fence.
The lamp on my desk gives a soft light.
He forgot his keys at the office.
Snow fell on the roofs all night.
The children sang a song about the sea.
I would like a cup of black tea.
The bus stops in front of the library.
Her garden is full of yellow roses.
We bought fresh fish at the harbour.
The clock in the hall struck seven.
A letter came from my aunt in May.
The farmer sold three brown horses.
Please close the gate behind you.
The soup needs a little more salt.
Our team won the match by two points.
The painter chose a bright shade of green.
You can see the hills from this bridge.
The baker opens his shop at dawn.
I read the whole book in one day.
The wind blew the leaves across the road.
He keeps his tools in a wooden box.
The doctor asked me a few questions.
We found a path through the forest.
The cat jumped over the garden wall.
She wrote her name in large letters.
The market is busy on Saturday mornings.
A heavy rain filled the ditch with water.
The boys built a raft from old planks.
There is honey in the blue jar.
The judge gave a short and careful answer.
My shoes were wet after the long walk.
The ship left the port before noon.
Every room had a view of the lake.
The teacher drew a circle on the board.
""".strip().splitlines()


TEST_SENTENCES = """
The guests arrived just after supper.
A thin mist covered the valley.
He carried the basket up the stairs.
The phone rang twice and then stopped.
We painted the front door dark red.
The old man told us a funny story.
Her uncle works at the paper factory.
The stars were bright over the desert.
I left my coat on the back seat.
The goat ate the apples from the tree.
They moved to a house near the beach.
The engine made a strange noise.
She learned to swim when she was five.
The museum is closed on Mondays.
Two birds sat on the telephone wire.
The cheese comes from a village in the north.
We shared the last piece of cake.
The road turns left after the church.
His voice was calm and very quiet.
A yellow van stood outside the bank.
""".strip().splitlines()


LEVEL = 10 ** (-26 / 20)  # root mean square of full scale: leaves room for peaks


ROOM_SNR_DB = 40.0


NOISE_SHAPE_DB = 20.0  # either way


# Chosen so that a linear probe on log-mel statistics names the wrong speaker one time in four to ten in a
# group without a disadvantage: with no errors, or hardly anything else, no gap could be seen.
# Pitch in eSpeak's units (50 to the octave), rate in words a minute: how far the groups' speakers of one pair
# stand from their middle, how far the two speakers of a pair stand apart, and how far a speaker wanders from
# one sentence to the next.
GROUP_STEPS = (14, 10)


TWIN_STEPS = (12, 12)


WANDER = (3, 6, 3, 2)  # pitch, rate, level in dB, tilt in dB, each either way


@dataclass(frozen=True)
class Disadvantage:
    """What is done to every recording of a group. The default does nothing.

    Attributes:
        snr_db: noise is added so that speech power over noise power is this, over the whole recording. Its
            colour is other in each recording: a steady noise would mark its group, and so help to tell these
            speakers from all the others.
        low_pass_hz: frequencies above this are removed (8th-order Butterworth), as on a telephone line.
        pitch_semitones: the voice is higher (or lower) by this much.
        rate_factor: words come this many times as fast.
        vowel_shift: every resonance of the voice is this many times as high, as in a shorter vocal tract;
            pitch and rate stay.

    Raises:
        CorpusError: a value outside what can be spoken or heard.

    Example:
        >>> Disadvantage(snr_db=5)
        Disadvantage(snr_db=5, low_pass_hz=None, pitch_semitones=0.0, rate_factor=1.0, vowel_shift=1.0)
    """

    snr_db: float | None = None
    low_pass_hz: float | None = None
    pitch_semitones: float = 0.0
    rate_factor: float = 1.0
    vowel_shift: float = 1.0

    def __post_init__(self) -> None:
        allowed = {
            "snr_db": (-20, 60),
            "low_pass_hz": (300, 7900),
            "pitch_semitones": (-3, 3),
            "rate_factor": (0.6, 2.0),
            "vowel_shift": (0.85, 1.2),
        }
        for name, (low, high) in allowed.items():
            value = getattr(self, name)
            off = value is None and name in ("snr_db", "low_pass_hz")
            if not off and not (isinstance(value, int | float) and low <= value <= high):
                raise CorpusError(f"Disadvantage {name} is {value}; it must lie between {low} and {high}.")


@dataclass(frozen=True)
class Speaker:
    speaker_id: str
    group: str
    accent: str
    variant: str
    split: str
    disadvantage: Disadvantage
    sentences: list[dict]  # text, pitch, rate for eSpeak; level_db, tilt_db of the recording
    seed: list[int]  # of this speaker's noise


def plan_speakers(settings: dict, planted: dict[str, Disadvantage]) -> list[Speaker]:
    """Who speaks what and how; draws nothing by group, so that groups differ by their disadvantage alone."""
    seed, slots, groups = settings["seed"], settings["speakers_per_group"], len(planted)
    draw = np.random.default_rng([seed, 0])
    accents = draw.permutation(list(ACCENTS))
    variants = draw.permutation(list(VARIANTS))
    places = draw.permutation(groups)
    pairs = (slots + 1) // 2
    first_test = 1 if pairs == 1 else 2 * (pairs - max(1, pairs // 3))
    speakers = []
    for slot in range(slots):
        pair, twin = divmod(slot, 2)
        variant = str(variants[pair % len(variants)])
        split = "test" if slot >= first_test else "train"
        # The pair has one middle; everything else is drawn for each slot, and the same for each group.
        base_pitch, base_rate = np.random.default_rng([seed, 1, pair]).uniform((52, 155), (56, 170))
        draw = np.random.default_rng([seed, 2, slot])
        texts = _draw_sentences(TEST_SENTENCES if split == "test" else TRAIN_SENTENCES, settings, draw)
        pitches, rates, levels, tilts = (draw.uniform(-limit, limit, len(texts)) for limit in WANDER)
        for index, (group, disadvantage) in enumerate(planted.items()):
            pitch_step = _step(places[index] + pair, groups)
            rate_step = _step(places[index] - pair, groups)
            pitch = base_pitch + GROUP_STEPS[0] * pitch_step + TWIN_STEPS[0] * (twin - 0.5)
            rate = base_rate + GROUP_STEPS[1] * rate_step + TWIN_STEPS[1] * (twin - 0.5)
            # A vowel shift plays the speech faster, so pitch and rate are first turned down.
            rate_factor = disadvantage.rate_factor / disadvantage.vowel_shift
            pitch_factor = 2 ** (disadvantage.pitch_semitones / 12) / disadvantage.vowel_shift
            sentences = [
                {
                    "text": text,
                    "pitch": round(_shifted(pitch + pitches[i], pitch_factor, variant)),
                    "rate": round((rate + rates[i]) * rate_factor),
                    "level_db": float(levels[i]),
                    "tilt_db": float(tilts[i]),
                }
                for i, text in enumerate(texts)
            ]
            _require_speakable(group, sentences)
            speakers.append(
                Speaker(
                    speaker_id=f"{group}-{slot:02d}",
                    group=group,
                    accent=str(accents[slot % len(accents)]),
                    variant=variant,
                    split=split,
                    disadvantage=disadvantage,
                    sentences=sentences,
                    seed=[seed, 3, slot, index],
                )
            )
    return speakers


def _require_speakable(group: str, sentences: list[dict]) -> None:
    # Beyond these eSpeak would take its nearest value, and less would be planted than stated.
    if not all(0 <= sentence["pitch"] <= 99 and 80 <= sentence["rate"] <= 450 for sentence in sentences):
        raise CorpusError(
            f"Group {group!r}: its pitch_semitones, rate_factor and vowel_shift together go beyond "
            "what eSpeak NG speaks: make one of them milder."
        )


def _shifted(pitch: float, factor: float, variant: str) -> float:
    """The setting of eSpeak's pitch at which a variant's mean pitch is `factor` times as high."""
    # The setting scales only the variant's lowest pitch, by two over 50 units. What the sentence's rise adds
    # to it stays as it is, about the variant's whole range in the louder frames, and has to be made up for.
    lowest, highest = VARIANTS[variant]
    rise = (highest - lowest) / lowest
    scale = factor * 2 ** ((pitch - 50) / 50) + (factor - 1) * rise
    return 50 + 50 * np.log2(scale)


def _step(place: int, groups: int) -> float:
    """Where a group stands in this pair: evenly from -1 to 1, going round from pair to pair."""
    return 2 * (place % groups) / (groups - 1) - 1 if groups > 1 else 0.0


def _draw_sentences(pool: list[str], settings: dict, draw: np.random.Generator) -> list[str]:
    """Each sentence once, in random order, then again, until there are enough."""
    count, texts = settings["utterances_per_speaker"], list[str]()
    while len(texts) < count:
        texts += [str(text) for text in draw.permutation(pool)]
    return texts[:count]


def speak(speaker: Speaker) -> list[np.ndarray]:
    """One float array at 22,050 Hz per sentence, from eSpeak NG in a process of its own."""
    try:
        import espeakng_loader

        request = {"library": espeakng_loader.get_library_path(), "data": espeakng_loader.get_data_path()}
    except (ImportError, RuntimeError) as error:
        raise CorpusError(f"The synthetic corpus needs eSpeak NG ({error}): pip install espeakng-loader.") from None
    request["voice"] = f"{ACCENTS[speaker.accent]}+{speaker.variant}"
    request["sentences"] = [{name: s[name] for name in ("text", "pitch", "rate")} for s in speaker.sentences]
    # Isolated and without site-packages: quick to start, and nothing there can get in its way.
    done = subprocess.run(
        [sys.executable, "-I", "-S", _espeak.__file__],
        input=json.dumps(request).encode(),
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit status {done.returncode}"]
        raise CorpusError(f"eSpeak NG could not speak ({reason[-1]}): pip install --force-reinstall espeakng-loader.")
    waves, start = [], 0
    for _ in speaker.sentences:
        (length,) = struct.unpack_from("<I", done.stdout, start)
        waves.append(np.frombuffer(done.stdout, "<i2", length, start + 4) / 32768)
        start += 4 + 2 * length
    return waves


def record(folder: Path, speaker: Speaker, waves: list[np.ndarray]) -> list[dict]:
    """Write one speaker's recordings; a row for each."""
    rows = []
    for number, (sentence, wave) in enumerate(zip(speaker.sentences, waves, strict=True)):
        samples = _recording(wave, sentence, speaker.disadvantage, np.random.default_rng([*speaker.seed, number]))
        utterance = f"{speaker.speaker_id}-{number:03d}"
        path = folder / f"{utterance}.wav"
        soundfile.write(path, samples, SAMPLE_RATE, subtype="PCM_16")
        rows.append(
            {
                "utterance_id": utterance,
                "path": path.name,
                "speaker_id": speaker.speaker_id,
                "text": sentence["text"],
                "split": speaker.split,
                "accent": speaker.accent,
                "group": speaker.group,
                "variant": speaker.variant,
                "duration_s": len(samples) / SAMPLE_RATE,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            }
        )
    return rows


def _recording(wave: np.ndarray, sentence: dict, disadvantage: Disadvantage, draw: np.random.Generator) -> np.ndarray:
    """int16 samples at 16 kHz: resampled, with tone, level and room, then the disadvantage."""
    # Imported here: only speaking the corpus needs it.
    from scipy.signal import butter, resample_poly, sosfiltfilt

    ratio = Fraction(SAMPLE_RATE / (_espeak.SAMPLE_RATE * disadvantage.vowel_shift)).limit_denominator(1000)
    samples = resample_poly(wave, ratio.numerator, ratio.denominator)
    samples = _tilt(samples, sentence["tilt_db"])
    samples *= LEVEL * 10 ** (sentence["level_db"] / 20) / _rms(samples)
    # Always drawn, both, so that a disadvantage of one group changes nothing else.
    shape = draw.uniform(-NOISE_SHAPE_DB, NOISE_SHAPE_DB, 8)
    room, noise = draw.standard_normal((2, len(samples)))
    samples += room * _rms(samples) / _rms(room) * 10 ** (-ROOM_SNR_DB / 20)
    if disadvantage.low_pass_hz is not None:
        # Forwards and backwards: twice a 4th-order filter, and no delay.
        samples = sosfiltfilt(butter(4, disadvantage.low_pass_hz, fs=SAMPLE_RATE, output="sos"), samples)
    if disadvantage.snr_db is not None:
        noise = _shape(noise, shape)
        samples = samples + noise * _rms(samples) / _rms(noise) * 10 ** (-disadvantage.snr_db / 20)
    samples = samples / max(
        1.0, np.abs(samples).max()
    )  # turned down, not clipped: clipping would be one more disadvantage
    return np.round(samples * 32767).astype(np.int16)


def _tilt(samples: np.ndarray, decibels: float) -> np.ndarray:
    """Raise the highest frequency by `decibels` over the lowest, along a straight line over frequency."""
    spectrum = np.fft.rfft(samples)
    spectrum *= 10 ** (np.linspace(-decibels / 2, decibels / 2, len(spectrum)) / 20)
    return np.fft.irfft(spectrum, len(samples))


def _shape(samples: np.ndarray, decibels: np.ndarray) -> np.ndarray:
    """Give each part of the spectrum its gain: decibels at even steps of frequency's cube root."""
    spectrum = np.fft.rfft(samples)
    places = np.linspace(0, 1, len(spectrum)) ** (1 / 3)
    spectrum *= 10 ** (np.interp(places, np.linspace(0, 1, len(decibels)), decibels) / 20)
    return np.fft.irfft(spectrum, len(samples))


def _rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(samples**2)))
