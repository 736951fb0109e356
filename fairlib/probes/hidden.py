"""The larger softmax probe: one hidden layer."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional


def fit_hidden(
    matrix: np.ndarray, labels: np.ndarray, train: np.ndarray, *, hidden: int, steps: int, batch: int,
    learning_rate: float, l2: float, seed: int, device: str = "cpu",
) -> np.ndarray:  # fmt: skip
    """Fit a softmax probe with a hidden layer of GELU units, by Adam on random batches, and score every row.

    Args:
        matrix, labels, train, l2: as `fairlib.probes.softmax.fit_softmax`.
        hidden: units of the hidden layer.
        seed: of the initial weights and the batches; equal for all layers, so that they differ by features only.

    Returns:
        Scores (logits), float32 ``[rows, classes]``.

    Example:
        >>> x = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]); y = np.array([0, 1, 1, 0])  # no line parts these
        >>> settings = {"hidden": 8, "steps": 300, "batch": 4, "learning_rate": 0.03, "l2": 0.0, "seed": 0}
        >>> fit_hidden(x, y, np.ones(4, bool), **settings).argmax(axis=1)
        array([0, 1, 1, 0])
    """
    rows = torch.from_numpy(np.asarray(matrix)).to(device, torch.float32)
    chosen = torch.from_numpy(np.flatnonzero(train)).to(device)
    target = torch.from_numpy(labels.astype(np.int64)).to(device)
    rows = (rows - rows[chosen].mean(dim=0)) / rows[chosen].std(dim=0, correction=0).clamp(min=1e-6)
    draw = torch.Generator().manual_seed(seed)
    sizes = (rows.shape[1], hidden, int(labels.max()) + 1)
    weights, biases = [], []
    for inputs, outputs in zip(sizes, sizes[1:]):
        drawn = ((2 * torch.rand(inputs + 1, outputs, generator=draw) - 1) * inputs**-0.5).to(device)
        weights.append(drawn[:-1].clone().requires_grad_())
        biases.append(drawn[-1].clone().requires_grad_())

    def scores(x: torch.Tensor) -> torch.Tensor:
        return torch.addmm(biases[1], functional.gelu(torch.addmm(biases[0], x, weights[0])), weights[1])

    # Adam's weight decay is the gradient of the penalty.
    groups = [{"params": weights, "weight_decay": l2}, {"params": biases}]
    optimizer = torch.optim.Adam(groups, lr=learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        picked = chosen[torch.randint(len(chosen), (min(batch, len(chosen)),), generator=draw).to(device)]
        loss = functional.cross_entropy(scores(rows[picked]), target[picked])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return torch.cat([scores(part) for part in rows.split(65536)]).cpu().numpy()
