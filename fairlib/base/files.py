"""Where fairlib keeps what it makes, and how a file is written so that a stop never leaves half of it."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import platformdirs

try:
    import fcntl
except ImportError:  # Windows, where nobody removes what another has open
    fcntl = None  # type: ignore[assignment]


_FULL = (errno.ENOSPC, errno.EDQUOT)
_UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOENT, errno.EIO)
_LEAST_BYTES = 10e6  # free, below which nothing is begun


class FolderError(RuntimeError):
    """A folder cannot be written, or is full; the message says what to do."""


ASSETS = Path(__file__).parents[1] / "assets"  # what ships as data


def cache_folder() -> Path:
    """``$FAIRLIB_CACHE``, or the user's cache: synthetic speech, decoded audio, alignments, layer
    features, pretraining runs, computed outcomes."""
    return Path(os.environ.get("FAIRLIB_CACHE") or platformdirs.user_cache_dir("fairlib")).expanduser().absolute()


def is_there(path: str | Path) -> bool:
    """Whether a path leads to something; text that can be no path, or begins with an unknown ``~name``, does not.

    Example:
        >>> is_there("~"), is_there("~no-one/list.csv"), is_there("one,other," * 100)
        (True, False, False)
    """
    return os.path.exists(os.path.expanduser(path))


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write`` with a temporary name beside ``path``, then rename: a stop never leaves half a file, and two
    processes that write the same do not write into each other's."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with writing(path.parent):
        try:
            write(temporary)
            temporary.replace(path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Within it, a disk that is full and a folder that cannot be written are told in one sentence.

    Raises:
        FolderError: names the folder.
    """
    try:
        yield
    except OSError as error:
        said = told_disk_error(error, folder)
        if not said:
            raise
        raise FolderError(said) from None


def told_disk_error(error: OSError, folder: Path | None = None) -> str:
    """What a disk's error means, and what to do; empty for other errors.

    Example:
        >>> told_disk_error(OSError(errno.ENOSPC, "No space left on device"), Path("/data/mine"))
        'the disk of /data/mine is full: free some space there.'
    """
    if isinstance(error.filename, str | Path) and (folder is None or error.errno not in _FULL):
        folder = Path(error.filename)
    if error.errno in _FULL:
        return f"the disk{f' of {folder}' if folder else ''} is full: free some space there{_or_elsewhere(folder)}."
    if error.errno in _UNWRITABLE and folder is not None and not _can_write(folder):
        return f"{folder} cannot be written ({error.strerror}): change its permissions{_or_elsewhere(folder)}."
    return ""


def require_room(folder: Path) -> None:
    """Refuse a folder that could not be made or written, or whose disk is full, before any work is begun; makes none.

    Raises:
        FolderError: names the folder.
    """
    if not _can_write(folder):
        raise FolderError(f"{folder} cannot be written: change its permissions{_or_elsewhere(folder)}.")
    if shutil.disk_usage(_there(folder)).free < _LEAST_BYTES:
        raise FolderError(f"the disk of {folder} is full: free some space there{_or_elsewhere(folder)}.")


def _there(path: Path) -> Path:
    """A path, or what of it is there."""
    return next((one for one in (path, *path.parents) if os.path.lexists(one)), Path.cwd())


def _can_write(path: Path) -> bool:
    there = _there(path)
    return os.access(there, os.W_OK | os.X_OK if there.is_dir() else os.W_OK) and (there == path or there.is_dir())


def _or_elsewhere(folder: Path | None) -> str:
    """The variable that names the folder in which another lies."""
    roots = {name: os.environ.get(name) for name in ("FAIRLIB_STORE", "FAIRLIB_RUNS", "FAIRLIB_CACHE")}
    roots["FAIRLIB_CACHE"] = roots["FAIRLIB_CACHE"] or str(cache_folder())
    roots["FAIRLIB_RUNS"] = roots["FAIRLIB_RUNS"] or str(Path(__file__).resolve().parents[2] / "_runs")
    for name, root in roots.items():
        if folder and root and folder.absolute().is_relative_to(Path(root).expanduser().absolute()):
            return f", or name another folder by {name}"
    return ""


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
    with writing(mark.parent):
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
    if not mark.parent.is_dir():
        return True  # somebody removed the whole cache
    with mark.open("w") as held:
        try:
            if fcntl is not None:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        shutil.rmtree(folder, ignore_errors=True)
        mark.unlink(missing_ok=True)
    return True
