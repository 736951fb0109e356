"""The linear softmax probe, by a second-order method: its regularised optimum, or an early stop on the way to it."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch

from fairlib.encoders.devices import half_precision_of_gradients

_LARGE = 1e8  # multiplications in one pass over the rows above which half precision pays
MOST_STEPS = 1000
MEMORY = 10  # steps that L-BFGS remembers
DECREASE, SHORTEST = 1e-4, 1e-3  # of the line search: what a step must gain of what its slope promises; least step
_RENEWED = 15  # steps after which the curvature is taken anew
_HEAVIEST = 20  # rows of a class that its curvature holds exactly


def fit_softmax(
    matrix: np.ndarray, labels: np.ndarray, train: np.ndarray, *, l2: float, tolerance: float = 1e-5,
    iterations: int | None = None, device: str = "cpu",
) -> np.ndarray:  # fmt: skip
    """Fit a multinomial logistic regression and score every row.

    Features are standardised on the training rows. The loss is the mean cross-entropy of the training rows plus ``l2 /
    2`` times the sum of squared weights (the bias is free), minimised from zero weights by L-BFGS (Nocedal and Wright,
    Numerical Optimization, 2006, algorithm 7.4).

    It ends when the loss is within ``tolerance`` of its minimum. How far that is, is known without the minimum: the
    loss is at least as curved as the penalty, so that it lies at most ``|gradient|^2 / (2 l2)`` above it. (Biases have
    no penalty. Where ``l2`` is large, 1e-2 say, and the classes are parted well, they are the flattest direction, and
    the loss can be ten times as far above.) At 1e-5 and the published ``l2``, on real features, it is about a millionth
    above, and 999 and more of 1,000 rows get the label that the minimum itself gives them.

    Args:
        matrix: one layer's features, ``[rows, D]``, any real type.
        labels: class numbers from 0, ``[rows]``.
        train: the training rows, boolean ``[rows]``.
        l2: weight of the squared weights, above 0.
        tolerance: how far above its minimum the loss may be, in nats.
        iterations: an early stop instead of the optimum: so many steps, in half precision where that pays. Where it
            ends depends a little on the processor. Probes of phones stop so, and speaker probes that must be compared
            with outcomes made before the optimum was sought.

    Returns:
        Scores (logits), float32 ``[rows, classes]``.

    Example:
        >>> x = np.array([[-2.0], [-1.0], [1.0], [2.0]]); y = np.array([0, 0, 1, 1])
        >>> fit_softmax(x, y, np.ones(4, bool), l2=1e-4).argmax(axis=1)
        array([0, 0, 1, 1])
    """
    if iterations is None and l2 <= 0:
        raise ValueError(f"l2 is {l2}: without a penalty the loss of classes that can be separated has no minimum.")
    classes = int(labels.max()) + 1
    chosen = torch.from_numpy(np.flatnonzero(train))
    target = torch.from_numpy(labels[train].astype(np.int64)).to(device)
    rows = torch.from_numpy(matrix).to(device, torch.float32)
    mean, deviation = rows[chosen].mean(dim=0), rows[chosen].std(dim=0, correction=0).clamp(min=1e-6)
    rows = (rows - mean) / deviation
    if iterations is None:
        rows = rows @ _principal_axes(rows[chosen])
    rows = torch.cat([rows, torch.ones(len(rows), 1, device=device)], dim=1)
    if iterations is None:
        weight = _optimum(rows[chosen], target, classes, l2, tolerance)
    else:
        weight = _minimise(rows[chosen], target, classes, iterations, l2)
    return (rows @ weight).cpu().numpy()


def _principal_axes(rows: torch.Tensor) -> torch.Tensor:
    """Axes ``[D, k]`` along which the curvature is nearly diagonal: of all the space, or, where rows are few, of what
    they span, which the weights at the minimum do not leave."""
    few = len(rows) < rows.shape[1]
    spread, axes = torch.linalg.eigh((rows @ rows.T if few else rows.T @ rows).double())
    if few:
        axes = rows.double().T @ (axes / spread.clamp(min=1e-9).sqrt())[:, spread > 1e-6 * spread[-1]]
    return axes.float()


def _optimum(rows: torch.Tensor, target: torch.Tensor, classes: int, l2: float, tolerance: float) -> torch.Tensor:
    """Weights ``[D, classes]`` whose loss is within ``tolerance`` of the minimum; ``rows`` end in the bias's ones."""
    n, width = rows.shape
    penalty = torch.full((width, 1), l2, device=rows.device)
    penalty[-1] = 0
    transposed, index = rows.T.contiguous(), torch.arange(n, device=rows.device)

    def look(weight: torch.Tensor) -> tuple[float, torch.Tensor, torch.Tensor]:
        """Loss, gradient, and each row's probabilities."""
        logits = rows @ weight
        logits -= logits.amax(dim=1, keepdim=True)
        right = logits[index, target].double()
        shares = logits.exp_()
        total = shares.sum(dim=1, keepdim=True)
        loss = (total[:, 0].double().log() - right).mean() + (penalty * weight.square()).sum(dtype=torch.float64) / 2
        shares /= total
        residual = shares.clone()
        residual[index, target] -= 1
        return loss.item(), (transposed @ residual) / n + penalty * weight, shares

    weight = torch.zeros(width, classes, device=rows.device)
    loss, gradient, shares = look(weight)
    solve = _curvature(rows, shares, l2)
    history: list[tuple[torch.Tensor, torch.Tensor, float]] = []  # steps, changes of gradient, 1 / their product
    for steps in range(1, MOST_STEPS + 1):
        direction = _direction(gradient, history, solve)
        slope, size = _product(direction, gradient), 1.0
        while True:
            candidate = weight + size * direction
            new_loss, new_gradient, shares = look(candidate)
            if new_loss <= loss + DECREASE * size * slope or size < SHORTEST:
                break
            size /= 2
        if not new_loss < loss:  # as low as single precision can see
            break
        step, change = candidate - weight, new_gradient - gradient
        product = _product(step, change)
        if product > 0:
            history = [*history[1 - MEMORY :], (step, change, 1 / product)]
        weight, loss, gradient = candidate, new_loss, new_gradient
        if _excess(gradient, l2) <= tolerance:
            return weight
        if steps % _RENEWED == 0:
            solve = _curvature(rows, shares, l2)
    if _excess(gradient, l2) > tolerance:
        warnings.warn(
            f"A softmax probe ended up to {_excess(gradient, l2):.1e} above the minimum of its loss; {tolerance:.1e} "
            "was asked for.",
            stacklevel=3,
        )
    return weight


def _excess(gradient: torch.Tensor, l2: float) -> float:
    return gradient.square().sum().item() / (2 * l2)


def _product(a: torch.Tensor, b: torch.Tensor) -> float:
    return torch.dot(a.flatten(), b.flatten()).item()


def _direction(gradient: torch.Tensor, history: list, solve: Callable) -> torch.Tensor:
    """Where L-BFGS goes next, by its two loops over what it remembers."""
    direction, applied = -gradient, []
    for step, change, inverse in reversed(history):
        applied.append(inverse * _product(step, direction))
        direction = direction.sub(change, alpha=applied[-1])
    direction = solve(direction)
    if history:
        _, change, inverse = history[-1]
        direction *= min(max(1 / (inverse * _product(change, solve(change))), 0.1), 10.0)
    for (step, change, inverse), factor in zip(history, reversed(applied)):
        direction = direction.add(step, alpha=factor - inverse * _product(change, direction))
    return direction


def _curvature(rows: torch.Tensor, shares: torch.Tensor, l2: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """Solves for the curvature of each class, by itself: exact for the rows that weigh most, diagonal for the others.

    A row's weight in a class is ``p (1 - p)``; once the probe knows most rows, few weigh anything, and Woodbury's
    identity costs next to nothing.
    """
    n, classes = shares.shape
    weight = shares * (1 - shares)
    heaviest = weight.topk(min(_HEAVIEST, n), dim=0)
    rest = (rows.square().T @ weight.scatter(0, heaviest.indices, 0)) / n + l2  # [D, classes]
    diagonal = rest.T.contiguous()
    few = rows[heaviest.indices.T] * (heaviest.values.T / n).sqrt()[:, :, None]  # [classes, few, D]
    scaled = few / diagonal.sqrt()[:, None, :]
    identity = torch.eye(few.shape[1], device=rows.device).expand(classes, -1, -1)
    factor = torch.linalg.cholesky(torch.baddbmm(identity, scaled, scaled.mT))

    def solve(gradient: torch.Tensor) -> torch.Tensor:
        alone = gradient.T / diagonal
        within = torch.cholesky_solve(torch.bmm(few, alone[:, :, None]), factor)
        return (alone - torch.bmm(few.mT, within)[:, :, 0] / diagonal).T.contiguous()

    return solve


def _minimise(rows: torch.Tensor, target: torch.Tensor, classes: int, iterations: int, l2: float) -> torch.Tensor:
    """Weights ``[D, classes]`` after so many steps of L-BFGS; the last column of ``rows`` is the bias's ones.

    The first guess of the curvature is the exact one at zero weights: second moments of the features over the number of
    classes, plus l2. It stays as it is, to the last bit, as long as published outcomes rest on it.
    """
    n, width = rows.shape
    penalty = torch.full((width, 1), l2, device=rows.device)
    penalty[-1] = 0
    curvature = (rows.T @ rows).double() / (n * classes) + torch.diag(penalty[:, 0].double() + 1e-9)
    first_guess = torch.linalg.inv(curvature).float()
    half = half_precision_of_gradients(rows.device.type) if n * width * classes > _LARGE else None
    x = rows if half is None else rows.to(half)
    x_transposed = x.T.contiguous()
    index = torch.arange(n, device=rows.device)

    def loss_and_gradient(weight: torch.Tensor) -> tuple[float, torch.Tensor]:
        logits = (x @ weight.to(x.dtype)).float()
        norm = logits.logsumexp(dim=1)
        loss = (norm - logits[index, target]).mean() + (penalty * weight.square()).sum() / 2
        residual = (logits - norm[:, None]).exp_()
        residual[index, target] -= 1
        return loss.item(), (x_transposed @ residual.to(x.dtype)).float() / n + penalty * weight

    weight = torch.zeros(width, classes, device=rows.device)
    loss, gradient = loss_and_gradient(weight)
    history: list[tuple[torch.Tensor, torch.Tensor, float]] = []  # steps, changes of gradient, 1 / their product
    for _ in range(iterations):
        direction, applied = -gradient, []
        for step, change, inverse in reversed(history):
            applied.append(inverse * (step * direction).sum())
            direction = direction - applied[-1] * change
        scale = 1.0
        if history:
            step, change, inverse = history[-1]
            scale = 1 / (inverse * (change * (first_guess @ change)).sum())
        direction = scale * (first_guess @ direction)
        for (step, change, inverse), factor in zip(history, reversed(applied)):
            direction = direction + (factor - inverse * (change * direction).sum()) * step
        slope, size = (direction * gradient).sum().item(), 1.0
        while True:
            candidate = weight + size * direction
            new_loss, new_gradient = loss_and_gradient(candidate)
            if new_loss <= loss + DECREASE * size * slope or size < SHORTEST:
                break
            size /= 2
        if new_loss >= loss:  # as low as this precision can see
            break
        step, change = candidate - weight, new_gradient - gradient
        product = (step * change).sum().item()
        if product > 0:
            history = [*history[1 - MEMORY :], (step, change, 1 / product)]
        weight, loss, gradient = candidate, new_loss, new_gradient
    return weight
