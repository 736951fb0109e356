"""Where fairlib keeps what it makes."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """``$FAIRLIB_CACHE``, or the user's cache: synthetic speech, decoded audio, alignments, layer
    features, pretraining runs, computed outcomes."""
    return Path(os.environ.get("FAIRLIB_CACHE") or platformdirs.user_cache_dir("fairlib")).expanduser().absolute()
