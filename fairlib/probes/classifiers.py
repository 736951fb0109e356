"""The two sizes of classification probe."""

from __future__ import annotations

import numpy as np

from fairlib.probes.hidden import fit_hidden
from fairlib.probes.softmax import fit_softmax

# Of the probes with a hidden layer; the weight of their squared weights is the linear ones'.
HIDDEN = {
    "sid": {"hidden": 256, "steps": 300, "batch": 512, "learning_rate": 2e-3},
    "phone": {"hidden": 128, "steps": 1500, "batch": 4096, "learning_rate": 2e-3},
}


def fit(probe, matrix: np.ndarray, labels: np.ndarray, train: np.ndarray, seed: int, device: str) -> np.ndarray:
    """Scores of every row by a `SpeakerProbe` or `PhoneProbe`, trained on one layer's ``[rows, D]``."""
    if probe.size == "hidden":
        return fit_hidden(matrix, labels, train, seed=seed, device=device, l2=probe.l2, **HIDDEN[probe.task])
    return fit_softmax(matrix, labels, train, iterations=probe.iterations, l2=probe.l2, device=device)
