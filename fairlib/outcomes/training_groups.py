"""Names of the probes in outcomes of `fairlib.train_across_groups`: they say on whom a probe was trained."""

from __future__ import annotations

MIXED, OWN_HALF, OTHER_HALF = "mixed speakers", "own random half", "other random half"


def trained_on(whom: str) -> str:
    """The name of a probe that was trained on a group, or on one of `MIXED`, `OWN_HALF`, `OTHER_HALF`.

    Outcomes were published under it as the first edition called it, so it stays.

    Example:
        >>> trained_on("child")
        'taught on child'
    """
    return f"taught on {whom}"
