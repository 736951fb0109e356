"""Where fairlib keeps what it makes, and how a file is written so that a stop never leaves half of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """``$FAIRLIB_CACHE``, or the user's cache: synthetic speech, decoded audio, alignments, layer
    features, pretraining runs, computed outcomes."""
    return Path(os.environ.get("FAIRLIB_CACHE") or platformdirs.user_cache_dir("fairlib")).expanduser().absolute()


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write`` with a temporary name beside ``path``, then rename: a stop never leaves half a file."""
    temporary = path.with_name(path.name + ".partial")
    write(temporary)
    temporary.replace(path)


def write_text(path: Path, text: str) -> None:
    """`Path.write_text` that a stop never leaves half done."""
    replace(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
