"""A dataset on the Hugging Face hub, in the place of a corpus's name: ``hf:owner/name``, a part of it, a revision.

Only Parquet files are fetched, or, of a dataset that has none, audio and the lists beside it; nothing that the dataset
brings is run. Files lie in the hub's own cache, in a folder named after the commit that they are of, so that what was
read can be named, and read again without a network.
"""

from __future__ import annotations

import functools
import glob
import hashlib
import json
import re
import shutil
from pathlib import Path, PurePosixPath

from fairlib.base.files import cache_folder, write_text
from fairlib.corpora.table import CorpusError

_NAMED = re.compile(r"hf:(?P<name>[\w.-]+/[\w.-]+)(?P<part>(/[\w.-]+)*)(@(?P<revision>[\w./-]+))?")
_SHARD = re.compile(r".+-\d{5}-of-\d{5}(-[0-9a-f]{16})?\.parquet", re.IGNORECASE)
_AUDIO = (".wav", ".flac", ".ogg", ".opus", ".mp3")
_LISTS = ("metadata.csv", "metadata.jsonl", "metadata.parquet", "speakers.csv")


def is_on_hub(corpus: str | Path) -> bool:
    """Whether a corpus is named by its place on the Hugging Face hub.

    Example:
        >>> is_on_hub("hf:lab/voices"), is_on_hub("hf:lab/voices/en@v1.0"), is_on_hub("lab/voices")
        (True, True, False)
    """
    return str(corpus).startswith("hf:")


def hub_folder(corpus: str) -> Path:
    """Where a dataset's files lie, a folder or its only Parquet file; fetched when first asked for in a process.

    Args:
        corpus: ``hf:owner/name``; ``hf:owner/name/en`` for one of its folders; ``@`` and a branch, tag or commit at the
            end for a revision, by default the newest.

    Raises:
        CorpusError: no such name, the hub does not answer, too little room, or neither Parquet nor audio.
    """
    return _fetched(corpus)[0]


def pinned(corpus: str) -> str:
    """The same dataset by the commit that its files are of, so that others read the same.

    Example:
        >>> pinned("hf:lab/voices")  # doctest: +SKIP
        'hf:lab/voices@0123456789012345678901234567890123456789'
    """
    return f"{corpus.partition('@')[0]}@{_fetched(corpus)[1]}"


@functools.cache
def _fetched(corpus: str) -> tuple[Path, str]:
    """Where the files lie, and their commit."""
    said = _NAMED.fullmatch(corpus)
    if said is None:
        raise CorpusError(
            f"{corpus!r} names no dataset on the hub: write hf:owner/name, hf:owner/name/folder for a part of it, and"
            " @revision behind it for a fixed one."
        )
    part = said["part"].lstrip("/")
    try:
        top, files = _download(corpus, said["name"], part, said["revision"])
        for name in {corpus, f"{corpus.partition('@')[0]}@{top.name}"}:  # for when there is no network
            _note(name).parent.mkdir(parents=True, exist_ok=True)
            write_text(_note(name), json.dumps({"top": str(top), "files": files}))
    except _Unreachable as error:
        known = json.loads(_note(corpus).read_text(encoding="utf-8")) if _note(corpus).is_file() else {}
        top, files = Path(known.get("top", "")), known.get("files", [])
        if not files or not all((top / file).is_file() for file in files):
            raise CorpusError(
                f"{corpus} cannot be fetched from the Hugging Face hub ({error}), and was not fetched before: check the"
                " name and the network, and whether its publisher asks you to agree to something first."
            ) from None
    alone = len(files) == 1 and files[0].endswith(".parquet") and not _SHARD.fullmatch(PurePosixPath(files[0]).name)
    return top / (files[0] if alone else part), top.name


def _note(corpus: str) -> Path:
    """Where it is kept what was fetched."""
    return cache_folder() / "hub" / f"{hashlib.sha256(corpus.encode()).hexdigest()[:16]}.json"


class _Unreachable(Exception):
    """The hub does not give the dataset; why, in a line."""


def _download(corpus: str, name: str, part: str, revision: str | None) -> tuple[Path, list[str]]:
    """Fetch what is to be read of a dataset: the folder of its commit, and the files' names in it."""
    from huggingface_hub import HfApi, snapshot_download

    try:
        about = HfApi().dataset_info(name, revision=revision, files_metadata=True)
        sizes = {file.rfilename: file.size or 0 for file in about.siblings or []}
        chosen = _chosen(name, part, list(sizes))
        needed, room = sum(sizes[file] for file in chosen), cache_folder()
        room.mkdir(parents=True, exist_ok=True)
        if needed > (free := shutil.disk_usage(room).free):
            raise CorpusError(
                f"{corpus} has {needed / 1e9:.1f} GB, and {room} has room for {free / 1e9:.1f} GB: name one of its"
                " folders, hf:owner/name/folder, or make room."
            )
        exactly = [glob.escape(file) for file in chosen]
        return Path(snapshot_download(name, repo_type="dataset", revision=about.sha, allow_patterns=exactly)), chosen
    except CorpusError:
        raise
    except Exception as error:  # the hub's client has errors of its own, and lets those of its network library through
        raise _Unreachable((str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".: ")) from None


def _chosen(name: str, part: str, files: list[str]) -> list[str]:
    """Of a dataset's files, those that are read: Parquet in a folder or in its ``data``, else audio and its lists.

    Example:
        >>> _chosen("lab/voices", "", ["data/train-00000-of-00001.parquet", "script.py", "README.md"])
        ['data/train-00000-of-00001.parquet']
        >>> _chosen("lab/voices", "", ["en/train-00000-of-00001.parquet", "fr/train-00000-of-00001.parquet"])
        Traceback (most recent call last):
        ...
        fairlib.corpora.table.CorpusError: The Parquet files of lab/voices on the hub lie in folders: give one of \
        them, hf:lab/voices/en or hf:lab/voices/fr.
    """
    from fairlib.base.writing import listing  # brings numpy, which whoever only asks for a name's kind does without

    parquet = [file for file in files if file.lower().endswith(".parquet") and PurePosixPath(file).name not in _LISTS]
    for folder in (part or ".", f"{part}/data".lstrip("/")):
        here = sorted(file for file in parquet if str(PurePosixPath(file).parent) == folder)
        shards = [file for file in here if _SHARD.fullmatch(PurePosixPath(file).name)]
        if shards or len(here) == 1:
            return shards or here
        if here:
            raise CorpusError(
                f"{name} on the hub has several Parquet files that are not named as parts of one dataset"
                f" ({listing(here)}): fetch the one that is meant, and give its path."
            )
    below = sorted(file for file in files if not part or file.startswith(f"{part}/"))
    sound = [file for file in below if file.lower().endswith(_AUDIO) or PurePosixPath(file).name in _LISTS]
    if any(file.lower().endswith(_AUDIO) for file in sound):
        return sound
    folders = dict.fromkeys(str(PurePosixPath(file).parent).removesuffix("/data") for file in parquet)
    if folders:
        each = [f"hf:{name}/{folder}" for folder in folders]
        which = " or ".join(each if len(each) < 6 else [*each[:5], "another"])
        raise CorpusError(f"The Parquet files of {name} on the hub lie in folders: give one of them, {which}.")
    raise CorpusError(
        f"{name} on the hub holds neither Parquet files nor audio{f' in its folder {part}' if part else ''}: a dataset"
        " that a script makes is not made here, nor is an archive unpacked."
    )
