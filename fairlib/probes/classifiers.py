"""The two sizes of classification probe, and what each task sets them to."""

from __future__ import annotations

import numpy as np

from fairlib.probes.hidden import fit_hidden
from fairlib.probes.softmax import fit_softmax

SPEAKER_PROBE = {"test_share": 0.25, "iterations": 20, "l2": 3e-4}
PHONE_PROBE = {"iterations": 20, "l2": 1e-5}
HIDDEN = {
    "sid": {"hidden": 256, "steps": 300, "batch": 512, "learning_rate": 2e-3, "l2": 3e-4},
    "phone": {"hidden": 128, "steps": 1500, "batch": 4096, "learning_rate": 2e-3, "l2": 1e-5},
}


def fit(task: str, probe: str, matrix, labels, train, seed: int, device: str) -> np.ndarray:
    """Scores of every row by one layer's probe of either size."""
    if probe == "hidden":
        return fit_hidden(matrix, labels, train, seed=seed, device=device, **HIDDEN[task])
    settings = SPEAKER_PROBE if task == "sid" else PHONE_PROBE
    return fit_softmax(matrix, labels, train, iterations=settings["iterations"], l2=settings["l2"], device=device)
