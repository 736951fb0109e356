"""Features of made-up voices of two groups, in which the second group's disadvantage was planted."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fairlib.encoders.features import Features

_WIDTH, _ROOMS = 16, 3  # dimensions of a voice, and of what varies between a speaker's utterances
_VARIES, _REST = 1.5, 0.4  # deviations along these directions and in all others; voices have 1


def simulate_voices(
    speakers: int = 40, utterances: int = 8, shift: float = 0.0, noise: float = 1.0, seed: int = 0
) -> Features:
    """Pooled features of utterances, half of the speakers of either group in the train half.

    A speaker's utterances vary about the speaker's own vector, mostly along three directions, as rooms and moods would
    have it. A probe learns from its training speakers which directions these are, and leaves them out.

    Args:
        speakers: of each group, ``first`` and ``second``.
        utterances: of each speaker.
        shift: how far the directions along which the second group varies are turned towards others, from 0 to 1. That
            is a systematic disadvantage: a probe taught on the first group does not know them, one taught on the second
            does.
        noise: how many times as much the second group varies, along the same directions. That is a random one: no
            teaching helps.
        seed: of the voices.

    Example:
        >>> features = simulate_voices(speakers=4, utterances=2)
        >>> features.pooled("0").shape, features.corpus["group"].unique().tolist()
        ((16, 16), ['first', 'second'])
    """
    rng = np.random.default_rng(seed)
    names = [f"{group}{number:03d}" for group in ("first", "second") for number in range(speakers)]
    people = pd.DataFrame({"speaker_id": np.repeat(names, utterances)})
    people["utterance_id"] = [f"{name}-{row}" for row, name in enumerate(people["speaker_id"])]
    people["group"] = people["speaker_id"].str.rstrip("0123456789")
    people["split"] = np.where(people["speaker_id"].str[-1].astype(int) % 2 == 0, "train", "test")
    second = (people["group"] == "second").to_numpy()
    own = np.repeat(rng.normal(0, 1, (2 * speakers, _WIDTH)), utterances, axis=0)
    usual, others = rng.normal(0, 1, (2, _ROOMS, _WIDTH))
    rooms = np.where(second[:, None, None], (1 - shift) * usual + shift * others, usual)
    along = np.einsum("ur,urd->ud", rng.normal(0, _VARIES, (len(people), _ROOMS)), rooms)
    varies = along + rng.normal(0, _REST, own.shape)
    vectors = own + np.where(second, noise, 1.0)[:, None] * varies
    return Features.of_arrays({"0": vectors.astype(np.float32)}, people.assign(corpus="made up"), name="made up")
