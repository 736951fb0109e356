"""Where fairlib keeps what it makes, and how a file is written so that a stop never leaves half of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO

import platformdirs

try:
    import fcntl
except ImportError:  # Windows, where nobody removes what another has open
    fcntl = None


def cache_folder() -> Path:
    """``$FAIRLIB_CACHE``, or the user's cache: synthetic speech, decoded audio, alignments, layer
    features, pretraining runs, computed outcomes."""
    return Path(os.environ.get("FAIRLIB_CACHE") or platformdirs.user_cache_dir("fairlib")).expanduser().absolute()


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write`` with a temporary name beside ``path``, then rename: a stop never leaves half a file, and two
    processes that write the same do not write into each other's."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """`Path.write_text` that a stop never leaves half done."""
    replace(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def hold(folder: Path) -> IO:
    """Keep `remove_unheld` of any process from removing a folder, until the returned file is closed or we die.

    Example:
        >>> folder = Path(__import__("tempfile").mkdtemp()) / "features"
        >>> folder.mkdir()
        >>> held = hold(folder)
        >>> remove_unheld(folder)
        False
        >>> held.close()
        >>> remove_unheld(folder), folder.exists()
        (True, False)
    """
    mark = folder.with_name(folder.name + ".users")
    mark.parent.mkdir(parents=True, exist_ok=True)
    while True:
        held = mark.open("w")
        if fcntl is None:
            return held
        fcntl.flock(held, fcntl.LOCK_SH)
        if mark.exists() and os.path.samestat(os.fstat(held.fileno()), mark.stat()):
            return held
        held.close()  # it was removed, with the folder, while we waited


def remove_unheld(folder: Path) -> bool:
    """Remove a folder, unless a process holds it: that one will."""
    mark = folder.with_name(folder.name + ".users")
    with mark.open("w") as held:
        try:
            if fcntl is not None:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        shutil.rmtree(folder, ignore_errors=True)
        mark.unlink(missing_ok=True)
    return True
