"""Online code length: bits that the labels cost, sent to somebody who has the features and trains as they arrive."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax

from fairlib.probes.softmax import fit_softmax

# Shares of the labels after which the probe is trained anew (Voita and Titov 2020 start at a thousandth; the labels of
# a small corpus begin to be learned much later).
BLOCKS = (0.03125, 0.0625, 0.125, 0.25, 0.5, 1.0)


def online_code(
    matrix: np.ndarray, labels: np.ndarray, *, groups: np.ndarray, seed: int, l2: float, iterations: int,
    device: str = "cpu",
) -> np.ndarray:  # fmt: skip
    """Bits of each label under the online code of a linear probe.

    The labels come in random order, in blocks. The first block costs log2(classes) bits a label; each later one is
    coded by a probe trained on all before. An overconfident probe would pay more than the uniform code, so its scores
    are tempered: a third of what came before is set aside to choose by which factor from 0 (uniform) to 1.

    Args:
        matrix: one layer's features ``[rows, D]``.
        labels: class numbers ``[rows]``.
        groups: what must not be torn between blocks, such as the utterances of frames, ``[rows]``.
        seed: of the order.
        l2, iterations: as `fairlib.probes.softmax.fit_softmax`.

    Returns:
        Bits, ``[rows]``.

    Example:
        >>> x = np.repeat(np.eye(2), 50, axis=0); y = np.repeat([0, 1], 50)
        >>> bits = online_code(x, y, groups=np.arange(100), seed=0, l2=1e-3, iterations=20)
        >>> bits.mean() < 0.2  # a fair coin's labels would cost a bit each
        np.True_
    """
    uniform = np.log2(labels.max() + 1)
    names, group = np.unique(groups, return_inverse=True)
    rank = np.random.default_rng(seed).permutation(len(names))[group]
    bits = np.full(len(labels), uniform)
    for first, last in zip(BLOCKS, BLOCKS[1:]):
        known, coded = rank < first * len(names), (rank >= first * len(names)) & (rank < last * len(names))
        if not coded.any() or known.sum() < 3:
            continue
        aside = known & (rank % 3 == 0)
        rows = np.flatnonzero(known | coded)
        scores = np.zeros((len(labels), labels.max() + 1), np.float32)
        factors = np.linspace(0, 1, 21)
        fit = {"iterations": iterations, "l2": l2, "device": device}
        if (known & ~aside).any() and aside.any():
            # Classes not met yet need a score too: all that the corpus has are known to exist.
            trial = _scores(matrix, labels, known & ~aside, rows, fit)
            costs = [-_log2_probability(factor * trial[aside[rows]], labels[aside]).mean() for factor in factors]
            factor = factors[int(np.argmin(costs))]
        else:
            factor = 0.0
        scores[rows] = _scores(matrix, labels, known, rows, fit) if factor else 0
        bits[coded] = -_log2_probability(factor * scores[coded], labels[coded])
    return bits


def _scores(matrix, labels, train, rows, fit) -> np.ndarray:
    # One row with the last class's number keeps the number of classes, and is no training row.
    last = int(np.argmax(labels))
    chosen = np.append(rows, last)
    mask = np.append(train[rows], False)
    return fit_softmax(matrix[chosen], labels[chosen], mask, **fit)[:-1]


def _log2_probability(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return log_softmax(scores.astype(float), axis=1)[np.arange(len(labels)), labels] / np.log(2)
