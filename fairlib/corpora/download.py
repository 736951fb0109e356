"""Corpora from their publishers: fetched, checked and unpacked into FAIRLIB_DATA, or where to ask for them.

A download that stops goes on where it was, a file whose checksum differs is thrown away, and an archive is unpacked
beside its place and moved there when it is whole. Only plain files and folders under the corpus's own folder are taken
out of an archive: one that holds anything else (a link, a path that leads elsewhere) is refused as a whole.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import os
import shutil
import tarfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import filelock
from tqdm import tqdm

from fairlib.base.files import write_text
from fairlib.corpora import CORPORA
from fairlib.corpora.corpus import Archive

OPENSLR = "https://www.openslr.org/resources"
TRIES = 5  # for a connection that breaks; each goes on where the last one stopped
_WAIT_S = 2.0
_BLOCK = 1 << 20


class FetchError(RuntimeError):
    """A corpus could not be fetched; the message says why, and what is kept."""


class FetchRequestError(ValueError):
    """There is no such corpus or part, no place for it, or it is not given out freely; the message says what to do."""


def fetch(corpus: str, parts: Sequence[str] = (), root: str | Path | None = None, source: str = OPENSLR) -> list[Path]:
    """Fetch a corpus, or some parts of it, and return their folders; what is there already is left alone.

    Args:
        corpus: one that its publisher gives out freely.
        parts: of librispeech, such as "dev-clean"; by default the usual ones, or all.
        root: where corpora lie; by default FAIRLIB_DATA.
        source: the publisher's address, or a mirror's.

    Raises:
        FetchRequestError: no such corpus or part, no folder to put it in, too little room, or it must be asked for.
        FetchError: the publisher does not answer, the file is not what it should be, or the archive holds what it
            should not; or another process is fetching the same.

    Example:
        >>> fetch("librispeech", ["dev-clean"])  # doctest: +SKIP
        [PosixPath('data/LibriSpeech/dev-clean')]
    """
    wanted = _wanted(corpus, parts)
    base = _root(root)
    top = base / CORPORA[corpus].folder
    folders = []
    for part, archive in wanted.items():
        # The parts of librispeech lie under one folder; speechocean762 has no parts.
        folder = top if part == corpus else top / part
        if not folder.exists():
            _fetch_one(archive, part, folder, top, base, source)
        folders.append(folder)
    return folders


def _wanted(corpus: str, parts: Sequence[str]) -> dict[str, Archive]:
    to_ask = {name: about.on_request for name, about in CORPORA.items() if about.on_request}
    if corpus in to_ask:
        raise FetchRequestError(f"{corpus} cannot be fetched by a program. {to_ask[corpus]}.")
    free = [name for name, about in CORPORA.items() if about.archives]
    if corpus not in free:
        raise FetchRequestError(f"there is no corpus {corpus!r} to fetch: there are {', '.join([*free, *to_ask])}.")
    about = CORPORA[corpus]
    for part in parts:
        if part not in about.archives:
            raise FetchRequestError(f"{corpus} has no part {part!r}: it has {', '.join(about.archives)}.")
    return about.to_fetch(tuple(parts))


def _root(root: str | Path | None) -> Path:
    chosen = root or os.environ.get("FAIRLIB_DATA")
    if not chosen:
        raise FetchRequestError("FAIRLIB_DATA is not set: set it to the folder that corpora are to be put in.")
    return Path(chosen).expanduser().absolute()


def _fetch_one(archive: Archive, part: str, folder: Path, top: Path, base: Path, source: str) -> None:
    work = base / ".fetch"
    work.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(work / f"{part}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:  # both would write the same file
        raise FetchError(f"another process is fetching {part} into {base}: wait for it, or stop it.") from None
    try:
        if not folder.exists():
            _fetch_here(archive, part, folder, top, base, source)
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
    with contextlib.suppress(OSError):  # another part's is still there
        work.rmdir()


def _fetch_here(archive: Archive, part: str, folder: Path, top: Path, base: Path, source: str) -> None:
    work = base / ".fetch"
    file, unpacked = work / f"{part}.tar.gz", work / part
    needed = archive.megabytes * 1_000_000 * 5 // 2  # the archive, and what is in it
    if shutil.disk_usage(base).free < needed - (file.stat().st_size if file.exists() else 0):
        raise FetchRequestError(
            f"{part} needs {needed / 1e9:.1f} GB, and {base} has {shutil.disk_usage(base).free / 1e9:.1f} GB left."
        )
    _download(f"{source.rstrip('/')}/{archive.address}", file)
    _check(file, archive.checksum)
    shutil.rmtree(unpacked, ignore_errors=True)
    try:
        _unpack(file, unpacked, top.name)
        if not (unpacked / folder.relative_to(base)).is_dir():
            file.unlink()  # or the next try would take it for what it should be
            lacking = f"{file.name} does not hold {folder.relative_to(base)}"
            raise FetchError(f"{lacking}: it is another archive, and was thrown away; fetch it again.")
        _put(unpacked / top.name, folder, top)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    file.unlink()
    Path(f"{file}.version").unlink(missing_ok=True)


def _download(address: str, file: Path) -> None:
    """Download to ``file``, going on with what an earlier download left in ``file.partial``."""
    if file.exists():
        return
    partial, version = Path(f"{file}.partial"), Path(f"{file}.version")
    for attempt in range(TRIES):
        try:
            if _download_rest(address, partial, version):
                partial.replace(file)
                return
            reason = "the connection closed early"
        except urllib.error.HTTPError as error:
            if error.code < 500:
                told = f"{address} answers {error.code} ({error.reason})"
                raise FetchError(f"{told}: try a mirror with --source.") from None
            reason = f"it answers {error.code}"
        except (OSError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        if attempt + 1 < TRIES:
            time.sleep(_WAIT_S * 2**attempt)
    kept = partial.stat().st_size / 1e6 if partial.exists() else 0
    raise FetchError(
        f"{address} cannot be fetched ({reason}); {kept:,.1f} MB are kept, and the same command goes on from there."
    )


def _download_rest(address: str, partial: Path, version: Path) -> bool:
    """One connection's worth; true if the file is then whole."""
    have = partial.stat().st_size if partial.exists() else 0
    headers = {}
    if have and version.exists():
        # Only if it is still the same file: else the server sends the new one from its beginning.
        headers = {"Range": f"bytes={have}-", "If-Range": version.read_text(encoding="utf-8")}
    try:
        answer = urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=60)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        partial.unlink()  # it is longer than the file, or another one: begin anew
        return False
    with answer:
        if address.startswith("https:") and not answer.url.startswith("https:"):
            raise FetchError(f"{address} leads to {answer.url}, which is not encrypted: it was not followed.")
        go_on = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if not go_on:
            have = 0
            known = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
            version.unlink(missing_ok=True)
            if known and not known.startswith("W/"):
                write_text(version, known)
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        bar = tqdm(desc=partial.stem, initial=have, total=total, unit="B", unit_scale=True, disable=None)
        with bar, partial.open("ab" if go_on else "wb") as stream:
            while block := answer.read(_BLOCK):
                stream.write(block)
                bar.update(len(block))
    return total is None or partial.stat().st_size == total


def _check(file: Path, checksum: str) -> None:
    if not checksum:
        return
    algorithm, _, digest = checksum.partition(":")
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, algorithm).hexdigest()
    if found != digest:
        file.unlink()
        raise FetchError(
            f"{file.name} is not the publisher's file: its {algorithm} is {found}, not {digest}; it was thrown away, "
            "fetch it again."
        )


def _unpack(file: Path, place: Path, top: str) -> None:
    """Unpack an archive whose files all lie under the folder ``top``; refuse it if anything else is in it."""

    def plain(member: tarfile.TarInfo, destination: str) -> tarfile.TarInfo:
        parts = PurePosixPath(member.name).parts
        if not (member.isreg() or member.isdir()) or not parts or ".." in parts or parts[0] != top:
            what = "a link or device" if parts and parts[0] == top and ".." not in parts else "outside its folder"
            raise FetchError(f"{file.name} holds {member.name!r}, {what}: nothing of it was kept; tell its publisher.")
        return tarfile.data_filter(member, destination)

    place.mkdir(parents=True)
    try:
        with gzip.open(file) as packed:
            with tarfile.open(fileobj=packed, mode="r:") as archive:
                for member in tqdm(archive, desc=f"unpacking {file.name}", unit="file", disable=None):
                    archive.extract(member, place, filter=plain)
            while packed.read(_BLOCK):  # to its end, where gzip's checksum stands: some archives have no other
                pass
    except FetchError:
        file.unlink()
        raise
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # no room, no permission: the archive may be sound
            raise FetchError(f"{file.name} cannot be unpacked into {place.parent}: {error.strerror}.") from None
        file.unlink()
        raise FetchError(f"{file.name} is damaged ({error}); it was thrown away, fetch it again.") from None


def _put(unpacked: Path, folder: Path, top: Path) -> None:
    """Move what was unpacked to its place, the corpus's folder last; lists beside it are added to those there are."""
    if folder == top:
        unpacked.replace(folder)
        return
    top.mkdir(exist_ok=True)
    for file in sorted(path for path in unpacked.iterdir() if path.is_file()):
        # A part's list of speakers may name that part's only: keep the longer one.
        if not (top / file.name).exists() or (top / file.name).stat().st_size < file.stat().st_size:
            file.replace(top / file.name)
    (unpacked / folder.name).replace(folder)
