"""Linear softmax probes of all layers at once."""

from __future__ import annotations

import sys

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm


def fit_softmax(
    matrices: list[np.ndarray], labels: np.ndarray, train: np.ndarray, *, steps: int, learning_rate: float, l2: float,
    batch: int | None = None, seed: int = 0, device: str = "cpu",
) -> list[np.ndarray]:  # fmt: skip
    """Fit one multinomial logistic regression a layer, all at once, and predict every row.

    Features are standardised on the training rows. Adam from zero weights with a cosine schedule, on all training rows
    or on random batches.

    Args:
        matrices: per layer, ``[rows, D]``; D may differ.
        labels: class numbers ``[rows]``.
        train: the training rows, boolean ``[rows]``.
        l2: weight of the squared weights in the loss, per training row.

    Returns:
        Per layer, the predicted class of every row.

    Example:
        >>> x = np.array([[-2.0], [-1.0], [1.0], [2.0]]); y = np.array([0, 0, 1, 1])
        >>> fit_softmax([x], y, np.ones(4, bool), steps=50, learning_rate=0.1, l2=1e-4)[0]
        array([0, 0, 1, 1])
    """
    stacked = torch.from_numpy(_stack_standardised(matrices, train)).to(device)  # [L, rows, D]
    target = torch.from_numpy(labels.astype(np.int64)).to(device)
    rows = torch.from_numpy(np.flatnonzero(train)).to(device)
    classes = int(labels.max()) + 1
    weight = torch.zeros(len(matrices), stacked.shape[2], classes, device=device, requires_grad=True)
    bias = torch.zeros(len(matrices), 1, classes, device=device, requires_grad=True)
    optimizer = torch.optim.Adam([weight, bias], lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    whole = None if batch is not None and batch < len(rows) else stacked[:, rows]
    for _ in tqdm(range(steps), desc="fit", disable=not sys.stderr.isatty(), leave=False):
        chosen = rows
        if whole is None:
            chosen = rows[torch.randint(len(rows), (batch,), generator=generator).to(device)]
        logits = torch.baddbmm(bias, stacked[:, chosen] if whole is None else whole, weight)
        # The sum over layers keeps every layer's gradient what it would be alone.
        loss = functional.cross_entropy(logits.flatten(0, 1), target[chosen].repeat(len(matrices)), reduction="sum")
        loss = loss / len(chosen) + l2 * weight.square().sum() / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        predicted = [(stacked[i] @ weight[i] + bias[i]).argmax(dim=1) for i in range(len(matrices))]
    return [guess.cpu().numpy() for guess in predicted]


def _stack_standardised(matrices: list[np.ndarray], train: np.ndarray) -> np.ndarray:
    """``[L, rows, widest D]``, zero mean and unit variance on the training rows; narrower layers end in zeros."""
    stacked = np.zeros((len(matrices), len(train), max(m.shape[1] for m in matrices)), np.float32)
    for index, matrix in enumerate(matrices):
        mean, deviation = matrix[train].mean(axis=0), matrix[train].std(axis=0)
        stacked[index, :, : matrix.shape[1]] = (matrix - mean) / np.maximum(deviation, 1e-6)
    return stacked
