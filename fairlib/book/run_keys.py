"""What a run is made from: parameters, code, data, and the key and name that follow from them."""

from __future__ import annotations

import functools
import hashlib
import json
import platform
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairlib.book.chapters import ROOT, chapter_named
from fairlib.book.parameters import EncoderParameters, Parameters, StudyParameters
from fairlib.book.provenance import package_versions
from fairlib.corpora import CORPORA, CorpusError, is_synthetic, load_corpus
from fairlib.corpora.hub import hub_folder, is_on_hub
from fairlib.corpora.kaldi import is_kaldi
from fairlib.corpora.table import find_root
from fairlib.encoders import HUB_ID, EncoderError, encoder_folder
from fairlib.encoders.names import without_random

if TYPE_CHECKING:
    pass


# A run's result follows from the rooms to the left of the book's, and from what writes the box at its end.
_IN_EVERY_PAGE = ("book/provenance.py",)

# What begins a run, and what writes it out afterwards.
_BESIDE_RUNS = ("cli.py", "__main__.py", "display/formats.py", "assets/findings.schema.json")


def changes(before: Mapping[str, str], now: Mapping[str, str], sides: tuple[str, str] = ("", " now")) -> list[str]:
    """What differs between two results of `made_from`, in words; ``sides`` says which version is whose.

    Example:
        >>> changes({"package torch": "2.13", "fairlib/bias/gaps.py": "a"}, {"package torch": "2.14"})
        ['code: fairlib/bias/gaps.py', 'package torch: 2.13, 2.14 now']
    """
    differing = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    code = [name for name in differing if name.endswith(".py")]
    told = [f"code: {', '.join(code[:5])}{f' and {len(code) - 5} more' if len(code) > 5 else ''}"] if code else []
    for name in differing:
        if name.startswith(("package ", "python")):
            told.append(f"{name}: {before.get(name, 'absent')}{sides[0]}, {now.get(name, 'absent')}{sides[1]}")
        elif name not in code:
            told.append(name)
    return told


def run_name(chapter: str, chosen: Parameters, sources: Mapping[str, str] | None = None) -> str:
    """Name of a run's folder: ``<chapter>[__<parameter>-<value>...]__<8 hex digits>``.

    Example:
        >>> from fairlib.book.chapters import check
        >>> chosen = check("speaker-identification", {"corpus": "synthetic", "seeds": 2})
        >>> name = run_name("speaker-identification", chosen)
        >>> name.rpartition("__")[0]
        'speaker-identification__corpus-synthetic__seeds-2'
    """
    parts = [chapter]
    parts += [f"{name}-{_slug(str(value))}" for name, value in differing(chosen).items()]
    return "__".join([*parts, key(chapter, chosen, sources)[:8]])


def _slug(value: str) -> str:
    """A value for a folder's name; of a path its last part, and of what is cut four digits that tell it from others.

    Example:
        >>> _slug("facebook/hubert-base-ls960"), _slug("/home/anna/speech/Our voices.csv")
        ('facebook-hubert-base-ls960', 'Our-voices.csv-2181')
    """
    last = Path(value).name if Path(value).is_absolute() else value
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", last)[:40].strip("-.")
    cut = last != value or len(last) > 40
    return f"{slug}-{hashlib.sha256(value.encode()).hexdigest()[:4]}" if cut else slug


def differing(chosen: Parameters) -> dict[str, Any]:
    """The parameters that are not what the chapter would have without them.

    Example:
        >>> from fairlib.book.chapters import check
        >>> differing(check("speaker-identification", {"corpus": "librispeech", "group": "sex", "seeds": 2}))
        {'corpus': 'librispeech', 'seeds': 2}
    """
    usual = type(chosen)().model_dump()
    if isinstance(chosen, StudyParameters):  # a corpus brings its own main group
        usual |= {"group": type(chosen)(corpus=chosen.corpus).group}
    return {name: value for name, value in chosen.model_dump(exclude={"force"}).items() if value != usual[name]}


def key(chapter: str, chosen: Parameters, sources: Mapping[str, str] | None = None) -> str:
    """Hash of what a run's result follows from (see `run`); hexadecimal."""
    sources = sources or made_from(chapter, chosen)
    return hashlib.sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest()


def made_from(chapter: str, chosen: Parameters) -> dict[str, str]:
    """What a run's result follows from: each file of code, packages, the encoder's and the corpus's files, parameters.

    Returns:
        Names, and the hash or version of each; `changes` tells in words how two of them differ.
    """
    source = chapter_named(chapter).source
    sources = {"parameters": chosen.model_dump_json(exclude={"force"}), "python": platform.python_version()}
    sources |= {f"package {name}": version for name, version in package_versions().items()}
    if source.exists():
        sources[f"notebooks/{source.name}"] = sha256_of(source)[:16]
    shipped = hashlib.sha256()
    for name, path in _library_files().items():
        if path.suffix == ".py":
            sources[name] = sha256_of(path)[:16]
        else:
            shipped.update(f"{path.name} {sha256_of(path)}\n".encode())
    sources["shipped encoders and outcomes"] = shipped.hexdigest()[:16]
    if isinstance(chosen, EncoderParameters):
        for what in ("encoder", "pretrained", "counterpart"):
            name = without_random(getattr(chosen, what, ""))
            if Path(name).is_absolute():  # a folder, not a name
                sources[f"the {what}'s files"] = _states(files_below(Path(name)))
            elif commit := _commit(name):
                sources[f"the {what}'s commit"] = commit
        speech = _speech_files(chosen.corpus)
        if speech:
            sources["the corpus's files"] = _states(speech)
    return sources


@functools.cache  # as a corpus on the hub is asked for: once a process
def _commit(encoder: str) -> str:
    """The commit of a hub id that would be loaded; empty of other names, and where the hub does not answer and nothing
    was fetched before."""
    try:
        return encoder_folder(encoder, weights=False).name if HUB_ID.fullmatch(encoder) else ""
    except EncoderError:  # the chapter says it, if it needs the encoder
        return ""


def _states(files: Iterable[Path]) -> str:
    """Hash of files' names, sizes and times of change: a checkpoint or a corpus takes long to read."""
    lines = [f"{path.name} {state.st_size} {state.st_mtime_ns}" for path in files for state in [path.stat()]]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _speech_files(corpus: str) -> list[Path]:
    """The files of a corpus, as far as it is there; none of synthetic speech, which follows from the code."""
    if is_synthetic(corpus):
        return []
    try:
        own = hub_folder(corpus) if is_on_hub(corpus) else Path(corpus)
        if corpus in CORPORA:
            return files_below(find_root(CORPORA[corpus]))
        if not own.is_absolute():
            return files_below(own) if own.is_dir() else []
        from fairlib.corpora.lhotse import lhotse_files  # brings pandas

        manifests = lhotse_files(own)
        if own.is_dir() and not (manifests or is_kaldi(own)):
            return files_below(own)
        lists = manifests or (files_below(own) if own.is_dir() else [own])  # their audio may lie anywhere
        with warnings.catch_warnings(action="ignore"):  # the chapter's own look at it says them
            return [*lists, *(Path(path) for path in load_corpus(corpus, on_error="skip")["path"])]
    except CorpusError:  # the chapter says it, if it needs the speech
        return [] if is_on_hub(corpus) or not Path(corpus).is_absolute() else [Path(corpus)]


def _library_files() -> dict[str, Path]:
    """fairlib's code and shipped data from which a chapter's result follows, by their names in the repository."""
    found = {path.relative_to(ROOT / "fairlib").as_posix(): path for path in files_below(ROOT / "fairlib")}
    return {
        f"fairlib/{name}": path
        for name, path in found.items()
        if path.suffix != ".pyc"
        and (name in _IN_EVERY_PAGE or not name.startswith("book/") and name not in _BESIDE_RUNS)
    }


def sha256_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
