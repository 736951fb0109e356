"""What outcomes of `fairlib.cross_teach` say in their column ``probe``: the speakers that a probe was taught on."""

from __future__ import annotations

MIXED, OWN_HALF, OTHER_HALF = "mixed speakers", "own random half", "other random half"


def taught_on(whom: str) -> str:
    """The name of a probe that was taught on a group, or on one of `MIXED`, `OWN_HALF`, `OTHER_HALF`.

    Example:
        >>> taught_on("child")
        'taught on child'
    """
    return f"taught on {whom}"
