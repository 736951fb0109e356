"""Trials of speakers: identification among few candidates, and verification."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln

DIRECTIONS, SHRINKAGE = 100, 0.1  # of the linear discriminants: how many at most, and how far towards the identity


def among_candidates(scores: np.ndarray, labels: np.ndarray, groups: np.ndarray, size: int) -> np.ndarray | None:
    """Probability that an utterance's speaker is not named among ``size`` candidates, as many of each group.

    The other candidates are drawn at random. The speaker is named if no candidate scores higher; so with ``b`` better
    of ``n`` speakers in a group of which ``k`` are drawn, the group lets the speaker pass with probability
    C(n - b, k) / C(n, k), and the groups' probabilities multiply. No draw is made.

    Args:
        scores: ``[utterances, speakers]``.
        labels: the speaker's column of each utterance.
        groups: of each speaker, empty for no candidate.
        size: candidates, the speaker among them.

    Returns:
        ``[utterances]``, NaN for utterances of speakers without a group; None if the size is no multiple of the number
        of groups or a group has too few speakers.

    Example:
        >>> scores = np.array([[2.0, 3.0, 1.0, 0.0]])  # one of three others is better, and he is of the other group
        >>> among_candidates(scores, np.array([0]), np.array(["f", "m", "m", "f"]), size=2)
        array([0.5])
    """
    names = sorted(set(groups) - {""})
    share = size // len(names)
    if size % len(names) or share < 1 or min((groups == name).sum() for name in names) < share:
        return None
    own_group = groups[labels]
    better = scores > np.take_along_axis(scores, labels[:, None], axis=1)
    log_right = np.zeros(len(scores))
    for name in names:
        members = groups == name
        mine = own_group == name
        n, k = members.sum() - mine, share - mine
        log_right += _log_choose(n - better[:, members].sum(axis=1), k) - _log_choose(n, k)
    return np.where(own_group == "", np.nan, 1 - np.exp(log_right))


def _log_choose(n: np.ndarray, k: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        value = gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(np.maximum(n - k, 0) + 1.0)
    return np.where(k > n, -np.inf, value)


def lda_directions(
    matrix: np.ndarray, labels: np.ndarray, most: int = DIRECTIONS, shrinkage: float = SHRINKAGE
) -> np.ndarray:
    """Linear discriminants ``[D, K]``: directions in which speakers differ most against what varies within each.

    Fisher 1936; the within-speaker covariance is drawn towards a multiple of the identity by ``shrinkage``, for there
    are few utterances to a speaker. K is at most ``most``, the classes less one, and D.
    """
    _, labels = np.unique(labels, return_inverse=True)
    counts = np.bincount(labels)
    means = np.zeros((len(counts), matrix.shape[1]))
    np.add.at(means, labels, matrix)
    means /= counts[:, None]
    within = matrix - means[labels]
    within = within.T @ within / len(matrix)
    within = (1 - shrinkage) * within + shrinkage * np.trace(within) / len(within) * np.eye(len(within))
    values, vectors = np.linalg.eigh(within)
    whiten = vectors / np.sqrt(values)
    between = (means - matrix.mean(axis=0)) @ whiten * np.sqrt(counts)[:, None]
    _, _, axes = np.linalg.svd(between, full_matrices=False)
    return whiten @ axes[: min(most, len(counts) - 1)].T


def equal_error_threshold(targets: np.ndarray, impostors: np.ndarray) -> tuple[float, float]:
    """The threshold at which as large a share of targets falls below as of impostors not, and that share.

    Example:
        >>> equal_error_threshold(np.array([2.0, 3.0, 4.0, 1.0]), np.array([0.0, 0.5, 2.5, -1.0]))
        (2.0, 0.25)
    """
    targets = np.sort(targets)
    rejected = np.arange(len(targets)) / len(targets)
    accepted = 1 - np.searchsorted(np.sort(impostors), targets, side="left") / len(impostors)
    best = int(np.argmin(np.abs(rejected - accepted)))
    return float(targets[best]), float((rejected[best] + accepted[best]) / 2)


def verification_trials(matrix: np.ndarray, speakers: np.ndarray, groups: np.ndarray):
    """Errors of all pairs of utterances at the equal-error threshold of all, utterance by utterance.

    Args:
        matrix: embeddings ``[utterances, D]``, compared by cosine.
        speakers, groups: of each utterance; utterances without a group (empty) are in no trial.

    Yields:
        ``(unit, errors, trials)`` for the units ``target``, ``impostor of own group`` and ``impostor of other group``,
        the counts ``[utterances]``. Each pair counts for both of its utterances.
    """
    unit = matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)
    scores = unit.astype(np.float32) @ unit.astype(np.float32).T
    known = groups != ""
    pairs = known[:, None] & known[None]
    np.fill_diagonal(pairs, False)
    same = speakers[:, None] == speakers[None]
    alike = groups[:, None] == groups[None]
    threshold, _ = equal_error_threshold(scores[pairs & same], scores[pairs & ~same])
    accepted = scores >= threshold
    for name, trials, wrong in (
        ("target", pairs & same, ~accepted),
        ("impostor of own group", pairs & ~same & alike, accepted),
        ("impostor of other group", pairs & ~same & ~alike, accepted),
    ):
        yield name, (trials & wrong).sum(axis=1), trials.sum(axis=1)
