"""Runs: a chapter executed by papermill into a folder of its own, with its findings and its provenance."""

from __future__ import annotations

import contextlib
import difflib
import glob
import hashlib
import json
import os
import platform
import re
import shutil
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairlib.book.chapters import (
    ROOT,
    ChapterError,
    EncoderParameters,
    Parameters,
    StudyParameters,
    chapter_named,
    check,
    command,
)
from fairlib.book.pages import chapter_page
from fairlib.book.pairs import number_cells, read_notebook, write_notebook
from fairlib.book.preflight import require
from fairlib.book.provenance import code_version, commit_and_changes, package_versions
from fairlib.corpora import CORPORA, CorpusError, is_synthetic, load_corpus
from fairlib.corpora.table import find_root
from fairlib.files import require_room, write_text, writing
from fairlib.progress import listening

if TYPE_CHECKING:
    import pandas as pd
    from nbformat import NotebookNode

RUNS = Path(os.environ.get("FAIRLIB_RUNS") or ROOT / "_runs").expanduser().absolute()

# A run's result follows from the rooms to the left of the book's, and from what writes the box at its end.
_IN_EVERY_PAGE = ("book/provenance.py",)
_BEGIN_RUNS = ("cli.py", "__main__.py")


class RunError(ValueError):
    """A run's folder is not there, or not whole; the message names it."""


class ChapterStopped(RuntimeError):
    """A chapter's notebook stopped before its end; the message names the error and the notebook so far."""


def execute(chapter: str, values: Mapping[str, Any] | None = None, *, folder: str | Path) -> Path:
    """Run a chapter's notebook in a fresh kernel and write it, with its outputs, as ``folder/chapter.ipynb``.

    The kernel is this interpreter, in the repository's root. The file appears only when the notebook reached
    its end; a notebook that stopped is kept beside it as ``stopped.ipynb``.

    Raises:
        ChapterError: an unknown chapter, or parameters that are not allowed (no kernel is started).
        ChapterStopped: the notebook raised an error, or its kernel died.
    """
    chosen = check(chapter, values or {})
    source = chapter_named(chapter).source
    if not source.exists():
        raise ChapterError(
            f"the notebook {source} does not exist: run chapters from a clone of the project, set up by make book"
        )
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    import nbformat

    stopped, partial, done = (folder / f"{name}.ipynb" for name in ("stopped", "partial", "chapter"))
    stopped.unlink(missing_ok=True)
    try:
        notebook = _papermill(chapter, read_notebook(source), partial, chosen.model_dump())
    except (ChapterStopped, KeyboardInterrupt):
        with contextlib.suppress(OSError, ValueError):  # nothing of it was written yet
            write_notebook(partial, _tidy(nbformat.read(partial, nbformat.NO_CONVERT)))
            partial.replace(stopped)
        raise
    else:
        write_notebook(partial, _tidy(notebook))
        partial.replace(done)
    finally:
        partial.unlink(missing_ok=True)
    return done


def run(chapter: str, values: Mapping[str, Any] | None = None, force: bool = False) -> Path:
    """Run a chapter into its own folder under ``_runs`` and return the folder; a finished run is reused.

    The folder is named after the chapter, the parameters that differ from the defaults, and a hash of `made_from`:
    everything that is known to change the result. Of the audio these are the files' sizes and times of change. Two
    equal runs at once are one: the second waits for the first, and is answered from its folder. A folder holds

    - ``chapter.ipynb``, the executed notebook, and ``chapter.html``, the same as one page that opens without a network;
    - ``outcomes/``, the entries of the store that the chapter used (``pandas.read_parquet`` reads the folder);
    - ``findings.json``: claim, criterion, verdict, sentence and evidence of each;
    - ``provenance.json``, written last: what all this was made from, and the files' checksums.

    Raises:
        ChapterError, ChapterStopped: as `execute`.
        fairlib.files.FolderError: a folder cannot be written, or its disk is full.
    """
    chosen = _chosen(chapter, values, force)
    sources = made_from(chapter, chosen)
    folder = RUNS / run_name(chapter, chosen, sources)
    if not _why(folder, chapter, chosen, sources):
        return folder
    require(chapter, chosen)
    require_room(folder)
    with writing(folder), _alone(folder):
        why = _why(folder, chapter, chosen, sources)
        if why.startswith("damaged"):
            print(f"{folder.name} is {why}; the chapter is run again.", file=sys.stderr)
        if why:
            _run(chapter, chosen, sources, folder)
        else:
            print(f"{folder.name} is finished; it is reused.", file=sys.stderr)
    return folder


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Within it no other process makes this run; one that is at it is waited for. Who dies lets go by that."""
    import filelock

    (RUNS / "locks").mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(RUNS / "locks" / f"{folder.name}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        print(f"another process is running {folder.name}: waiting for it.", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _run(chapter: str, chosen: Parameters, sources: Mapping[str, str], folder: Path) -> None:
    record = folder / "provenance.json"
    record.unlink(missing_ok=True)
    shutil.rmtree(folder / "outcomes", ignore_errors=True)
    started = time.time()
    notebook = execute(chapter, chosen.model_dump(), folder=folder)
    facts = facts_in(notebook)
    write_text(folder / "findings.json", json.dumps(facts.get("findings", []), indent=2, ensure_ascii=False) + "\n")
    _keep_outcomes(facts.get("entries", []), folder / "outcomes")
    write_text(folder / "chapter.html", chapter_page(notebook))
    provenance = _provenance(chapter, chosen, facts, sources, started)
    provenance["files"] = {
        path.relative_to(folder).as_posix(): _sha256(path) for path in _files(folder) if path.name != "stopped.ipynb"
    }
    write_text(record, json.dumps(provenance, indent=2, ensure_ascii=False) + "\n")


def plan(chapter: str, values: Mapping[str, Any] | None = None, force: bool = False) -> tuple[Path, str]:
    """What `run` would do: the folder, and why the chapter would be executed; empty where the run would be reused.

    Raises:
        ChapterError: an unknown chapter, parameters that are not allowed, or something that it needs is not there.
        fairlib.files.FolderError: as `run`.
    """
    chosen = _chosen(chapter, values, force)
    sources = made_from(chapter, chosen)
    folder = RUNS / run_name(chapter, chosen, sources)
    why = _why(folder, chapter, chosen, sources)
    if why:
        require(chapter, chosen)
        require_room(folder)
    return folder, why


def read_run(folder: str | Path) -> dict[str, Any]:
    """The provenance of a finished run, after a look at whether its folder is whole.

    Args:
        folder: a run's folder, or its name under ``_runs``.

    Raises:
        RunError: there is no finished run, or it is damaged; names the file.
    """
    folder = find_run(folder)
    try:
        provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        files = dict(provenance["files"])
    except FileNotFoundError:
        raise RunError(f"{folder} holds no finished run: it has no provenance.json.") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise RunError(f"{folder} is damaged: its provenance.json is not what a run writes.") from None
    for name, digest in files.items():
        path = folder / name
        if not path.is_file():
            raise RunError(f"{folder} is damaged: {name} is missing.")
        if _sha256(path) != digest:
            raise RunError(f"{folder} is damaged: {name} is not as the run left it.")
    return provenance


def find_run(name: str | Path) -> Path:
    """The folder of a run that is named by its path, or by its name under ``_runs`` (the beginning is enough).

    Raises:
        RunError: no run, or several, are called so.
    """
    if Path(name).is_dir():
        return Path(name).resolve()
    found = sorted(path for path in RUNS.glob(f"{glob.escape(str(name))}*") if path.is_dir())
    exact = [path for path in found if path.name == str(name)]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if found:
        raise RunError(f"several runs begin with {str(name)!r}: {', '.join(path.name for path in found)}.")
    there = sorted(path.name for path in RUNS.glob("*__*")) if RUNS.is_dir() else []
    near = difflib.get_close_matches(str(name), there, n=1)
    raise RunError(f"there is no run {str(name)!r} in {RUNS}" + (f": did you mean {near[0]!r}?" if near else "."))


def run_outcomes(folder: str | Path) -> pd.DataFrame:
    """All outcomes that a run used, with a column ``entry`` that names where each row comes from."""
    import pandas as pd

    paths = sorted(find_run(folder).glob("outcomes/*.parquet"))
    tables = [pd.read_parquet(path).assign(entry=path.name) for path in paths]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _chosen(chapter: str, values: Mapping[str, Any] | None, force: bool) -> Parameters:
    chosen = check(chapter, values or {})
    return chosen.model_copy(update={"force": True}) if force else chosen


def _why(folder: Path, chapter: str, chosen: Parameters, sources: Mapping[str, str]) -> str:
    """Why a chapter is to be executed; empty where its run is there and whole."""
    if chosen.force:
        return "force was given"
    if folder.is_dir():
        try:
            read_run(folder)
            return ""
        except RunError as error:
            return str(error).removeprefix(f"{folder} ").removeprefix("is ").rstrip(".")
    before = [one for one in _records(chapter) if one.get("parameters") == chosen.model_dump(exclude={"force"})]
    if not before:
        return "new: no run with these parameters yet"
    last = max(before, key=lambda one: str(one.get("started")))
    return f"since the last run {last.get('started')}: {'; '.join(changes(last.get('made_from', {}), sources))}"


def _records(chapter: str) -> Iterator[dict[str, Any]]:
    for path in RUNS.glob(f"{chapter}__*/provenance.json"):
        with contextlib.suppress(OSError, ValueError):
            yield json.loads(path.read_text(encoding="utf-8"))


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


def _keep_outcomes(entries: Iterable[str], folder: Path) -> None:
    """Copy the store's entries that a chapter used."""
    from fairlib.outcomes import copy_entry

    folder.mkdir(parents=True, exist_ok=True)
    for name in entries:
        copy_entry(name, folder)


def run_name(chapter: str, chosen: Parameters, sources: Mapping[str, str] | None = None) -> str:
    """Name of a run's folder: ``<chapter>[__<parameter>-<value>...]__<8 hex digits>``.

    Example:
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
        sources[f"notebooks/{source.name}"] = _sha256(source)[:16]
    shipped = hashlib.sha256()
    for name, path in _library_files().items():
        if path.suffix == ".py":
            sources[name] = _sha256(path)[:16]
        else:
            shipped.update(f"{path.name} {_sha256(path)}\n".encode())
    sources["shipped encoders and outcomes"] = shipped.hexdigest()[:16]
    if isinstance(chosen, EncoderParameters):
        for what in ("encoder", "pretrained", "counterpart"):
            own = Path(getattr(chosen, what, "").removeprefix("random:"))
            if own.is_absolute():  # a folder, not a name
                sources[f"the {what}'s files"] = _states(_files(own))
        speech = _speech_files(chosen.corpus)
        if speech:
            sources["the corpus's files"] = _states(speech)
    return sources


def _states(files: Iterable[Path]) -> str:
    """Hash of files' names, sizes and times of change: a checkpoint or a corpus takes long to read."""
    lines = [f"{path.name} {state.st_size} {state.st_mtime_ns}" for path in files for state in [path.stat()]]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _speech_files(corpus: str) -> list[Path]:
    """The files of a corpus, as far as it is there; none of synthetic speech, which follows from the code."""
    if is_synthetic(corpus):
        return []
    own = Path(corpus)
    try:
        if corpus in CORPORA:
            return _files(find_root(CORPORA[corpus]))
        if not own.is_absolute() or own.is_dir():
            return _files(own) if own.is_dir() else []
        with warnings.catch_warnings(action="ignore"):  # the chapter's own look at it says them
            return [own, *(Path(path) for path in load_corpus(corpus, on_error="skip")["path"])]
    except CorpusError:  # the chapter says it, if it needs the speech
        return [own] if own.is_absolute() else []


def _papermill(chapter: str, notebook: NotebookNode, output: Path, values: dict[str, Any]) -> NotebookNode:
    # Papermill and the kernel's client take a second to import.
    from papermill import PapermillExecutionError

    from fairlib.book.kernels import KernelError, execute_in_kernel

    try:
        with listening():
            return execute_in_kernel(notebook, output, values, ROOT, chapter)
    except PapermillExecutionError as error:
        said = " ".join(f"{error.ename}: {error.evalue}".split())
        raise ChapterStopped(
            f"{chapter} stopped with {said} (the notebook up to there: {output.with_name('stopped.ipynb')})"
        ) from None
    except KernelError as error:
        raise ChapterStopped(f"{chapter} stopped: {error}.") from None


def _tidy(notebook: NotebookNode) -> NotebookNode:
    """Hide the injected parameters, and drop what papermill notes beside the result (paths, times)."""
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        tags = cell.metadata.get("tags", [])
        if "injected-parameters" in tags and "remove-input" not in tags:
            cell.metadata["tags"] = [*tags, "remove-input"]
    number_cells(notebook)
    return notebook


def _provenance(
    chapter: str, chosen: Parameters, facts: Mapping[str, Any], sources: Mapping[str, str], started: float
) -> dict[str, Any]:
    devices = sorted({str(table["device"]) for table in facts.get("outcomes", []) if table.get("device")})
    commit, dirty = commit_and_changes()
    return {
        "chapter": chapter,
        "parameters": chosen.model_dump(exclude={"force"}),
        "command": command(chapter, chosen),
        "seeds": facts.get("seeds", []),
        "outcomes": facts.get("outcomes", []),
        "entries": facts.get("entries", []),
        "speech": facts.get("speech", []),
        "code": code_version(),
        "commit": commit,
        "dirty": dirty,
        "key": key(chapter, chosen, sources),
        "made_from": dict(sources),
        "python": platform.python_version(),
        "packages": package_versions(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "device": ", ".join(devices) or "cpu",
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "duration_s": round(time.time() - started, 1),
    }


def facts_in(notebook: Path) -> dict[str, Any]:
    """What the notebook's provenance box was made from; empty where it has none."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    for cell in reversed(content["cells"]):
        for output in cell.get("outputs", []):
            facts = output.get("metadata", {}).get("text/html", {}).get("fairlib")
            if facts:
                return facts
    return {}


def _library_files() -> dict[str, Path]:
    """fairlib's code and shipped data from which a chapter's result follows, by their names in the repository."""
    found = {path.relative_to(ROOT / "fairlib").as_posix(): path for path in _files(ROOT / "fairlib")}
    return {
        f"fairlib/{name}": path
        for name, path in found.items()
        if path.suffix != ".pyc"
        and (name in _IN_EVERY_PAGE or not name.startswith("book/") and name not in _BEGIN_RUNS)
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
