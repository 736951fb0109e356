"""The two sizes of classification probe."""

from __future__ import annotations

from typing import Any

import numpy as np

from fairlib.encoders.devices import one_thread_if
from fairlib.probes.hidden import fit_hidden
from fairlib.probes.softmax import fit_softmax

_LITTLE = 2e5  # numbers in a matrix, about 500 utterances of a small encoder
# Of the probes with a hidden layer; the weight of their squared weights is the linear ones'.
HIDDEN: dict[str, dict[str, Any]] = {
    "sid": {"hidden": 256, "steps": 300, "batch": 512, "learning_rate": 2e-3},
    "phone": {"hidden": 128, "steps": 1500, "batch": 4096, "learning_rate": 2e-3},
}


def fit(probe, matrix: np.ndarray, labels: np.ndarray, train: np.ndarray, seed: int, device: str) -> np.ndarray:
    """Scores of every row by a `SpeakerProbe` or `PhoneProbe`, trained on one layer's ``[rows, D]``."""
    with one_thread_if(matrix.size < _LITTLE):
        if probe.size == "hidden":
            return fit_hidden(matrix, labels, train, seed=seed, device=device, l2=probe.l2, **HIDDEN[probe.task])
        end: dict[str, Any] = (
            {"tolerance": probe.tolerance} if probe.iterations is None else {"iterations": probe.iterations}
        )
        return fit_softmax(matrix, labels, train, l2=probe.l2, device=device, **end)
