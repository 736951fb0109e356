"""Runs: a chapter executed by papermill into a folder of its own, with its findings and its provenance."""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairlib.base.files import require_room, write_text, writing
from fairlib.base.progress import listening
from fairlib.book.chapters import ROOT, ChapterError, chapter_named, check, command
from fairlib.book.pages import chapter_page
from fairlib.book.pairs import number_cells, read_notebook, write_notebook
from fairlib.book.parameters import Parameters
from fairlib.book.preflight import require
from fairlib.book.provenance import code_version, commit_and_changes, package_versions
from fairlib.book.run_keys import changes, files_below, key, made_from, run_name, sha256_of

if TYPE_CHECKING:
    import pandas as pd
    from nbformat import NotebookNode

RUNS = Path(os.environ.get("FAIRLIB_RUNS") or ROOT / "_runs").expanduser().absolute()


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
        fairlib.base.files.FolderError: a folder cannot be written, or its disk is full.
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
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in files_below(folder)
        if path.name != "stopped.ipynb"
    }
    write_text(record, json.dumps(provenance, indent=2, ensure_ascii=False) + "\n")


def plan(chapter: str, values: Mapping[str, Any] | None = None, force: bool = False) -> tuple[Path, str]:
    """What `run` would do: the folder, and why the chapter would be executed; empty where the run would be reused.

    Raises:
        ChapterError: an unknown chapter, parameters that are not allowed, or something that it needs is not there.
        fairlib.base.files.FolderError: as `run`.
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
        if sha256_of(path) != digest:
            raise RunError(f"{folder} is damaged: {name} is not as the run left it.")
    return provenance


def find_run(name: str | Path) -> Path:
    """The folder of a run that is named by its path, or by its name under ``_runs`` (the beginning is enough).

    Raises:
        RunError: no run, or several, are called so.
    """
    if os.path.isdir(name):  # of text that no path can be, too, it says no
        return Path(name).resolve()
    found = sorted(path for path in RUNS.glob("*") if path.name.startswith(str(name)) and path.is_dir())
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


def _keep_outcomes(entries: Iterable[str], folder: Path) -> None:
    """Copy the store's entries that a chapter used."""
    from fairlib.outcomes import copy_entry

    folder.mkdir(parents=True, exist_ok=True)
    for name in entries:
        copy_entry(name, folder)


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
