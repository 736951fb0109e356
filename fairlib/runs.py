"""Runs: a chapter executed by papermill into a folder of its own, with its findings and its provenance."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairlib.chapters import (
    ROOT,
    Chapter,
    ChapterError,
    EncoderParameters,
    FineTuning,
    Parameters,
    StudyParameters,
    chapter_named,
    check,
    command,
)
from fairlib.encoders import finetuned_from
from fairlib.folders import write_text
from fairlib.notebooks import number_cells, read_notebook, write_notebook
from fairlib.provenance import code_version, package_versions

if TYPE_CHECKING:
    from nbformat import NotebookNode

RUNS = ROOT / "_runs"

KERNEL_STARTS = 3  # several kernels starting at once can claim the same port; nothing else is tried again


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
    stopped, partial, done = (folder / f"{name}.ipynb" for name in ("stopped", "partial", "chapter"))
    stopped.unlink(missing_ok=True)
    try:
        notebook = _papermill(chapter, read_notebook(source), partial, chosen.model_dump())
    except ChapterStopped:
        if partial.exists():
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

    The folder is named after the chapter, the parameters that differ from the defaults, and a hash of
    everything that is known to change the result (parameters, notebook, fairlib's code and shipped data, pinned
    packages, the files of a local encoder). Audio is not part of it: after changing a corpus, give ``force``.
    It holds ``chapter.ipynb``, ``findings.json`` (claim, criterion, verdict, sentence and evidence of each) and
    ``provenance.json``, the latter written last.

    Raises:
        ChapterError, ChapterStopped: as `execute`.
    """
    chosen = check(chapter, values or {})
    if force and not chosen.force:
        chosen = chosen.model_copy(update={"force": True})
    folder = RUNS / run_name(chapter, chosen)
    record = folder / "provenance.json"
    if not chosen.force and record.exists() and (folder / "chapter.ipynb").exists():
        return folder
    require_speech(chapter, chosen)
    record.unlink(missing_ok=True)
    started = time.time()
    notebook = execute(chapter, chosen.model_dump(), folder=folder)
    found = facts_in(notebook).get("findings", [])
    write_text(folder / "findings.json", json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    provenance = _provenance(chapter, chosen, notebook, started)
    write_text(record, json.dumps(provenance, indent=2, ensure_ascii=False) + "\n")
    return folder


def require_speech(chapter: str, chosen: Parameters) -> None:
    """Refuse, before any kernel starts, a chapter that needs a corpus which is not there.

    It is not needed where its outcomes are published. Their names tell in no time what surely is not; a view that is
    missing beside them (a perturbed channel, say) is found by the chapter itself.

    Raises:
        ChapterError: in the words of `fairlib.corpora.load_corpus`.
    """
    from fairlib.corpora import CorpusError, require_corpus
    from fairlib.findings import controls
    from fairlib.outcomes import anything_published

    about = chapter_named(chapter)
    if not isinstance(chosen, EncoderParameters) or not about.tasks:
        return
    encoders = [chosen.encoder]
    if isinstance(chosen, FineTuning):
        encoders.append(chosen.pretrained or finetuned_from(chosen.encoder)[0])
    if about.controls:
        encoders += controls(chosen.encoder)
    lacking = [
        (encoder, task) for encoder in encoders for task in about.tasks
        if not anything_published(encoder, chosen.corpus, task, _seeds(about, chosen, task) - 1)
    ]  # fmt: skip
    if not lacking and not chosen.force:
        return
    try:
        require_corpus(chosen.corpus)
    except CorpusError as error:
        why = f"of {lacking[0][0]} there are no published outcomes ({lacking[0][1]})" if lacking else "force was given"
        raise ChapterError(f"{chapter}: {why}, so the speech itself is needed. {error}") from None


def _seeds(about: Chapter, chosen: EncoderParameters, task: str) -> int:
    """Probe trainings of a task; the number that a chapter is given holds for its main task alone."""
    return chosen.seeds if task == (about.task or "sid") else 1


def run_name(chapter: str, chosen: Parameters) -> str:
    """Name of a run's folder: ``<chapter>[__<parameter>-<value>...]__<8 hex digits>``.

    Example:
        >>> chosen = check("speaker-identification", {"corpus": "synthetic", "seeds": 2})
        >>> name = run_name("speaker-identification", chosen)
        >>> name.rpartition("__")[0]
        'speaker-identification__corpus-synthetic__seeds-2'
    """
    usual = type(chosen)().model_dump()
    if isinstance(chosen, StudyParameters):  # a corpus brings its own main group
        usual |= {"group": type(chosen)(corpus=chosen.corpus).group}
    parts = [chapter]
    for name, value in chosen.model_dump(exclude={"force"}).items():
        if value != usual[name]:
            slug = re.sub(r"[^A-Za-z0-9.]+", "-", str(value)).strip("-.")
            parts.append(f"{name}-{slug[-40:]}")
    return "__".join([*parts, key(chapter, chosen)[:8]])


def key(chapter: str, chosen: Parameters) -> str:
    """Hash of what a run's result follows from, audio aside (see `run`); hexadecimal."""
    files = [chapter_named(chapter).source, ROOT / "constraints.txt", *_library_files()]
    digest = hashlib.sha256()
    digest.update(chosen.model_dump_json(exclude={"force"}).encode())
    digest.update(platform.python_version().encode())
    for path in files:
        if path.exists():
            digest.update(f"\n{path.parent.name}/{path.name}\n".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    if isinstance(chosen, EncoderParameters):
        for own in (Path(chosen.encoder.removeprefix("random:")), Path(chosen.corpus)):
            if not own.is_absolute():  # a name, not a folder or file of one's own
                continue
            for path in _files(own) if own.is_dir() else [own]:
                # A full-size checkpoint takes long to read: its size and time of change stand for its content.
                state = path.stat()
                digest.update(f"\n{path.name} {state.st_size} {state.st_mtime_ns}".encode())
    return digest.hexdigest()


@contextlib.contextmanager
def _kernel_environment() -> Iterator[None]:
    """What a chapter's kernel inherits: no progress bars, absolute folders, this environment's kernel."""
    before = dict(os.environ)
    os.environ["TQDM_DISABLE"] = "1"
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # a package would like to draw bars of its own
    for folder in ("FAIRLIB_DATA", "FAIRLIB_STORE", "FAIRLIB_CACHE"):
        if os.environ.get(folder):
            os.environ[folder] = str(Path(os.environ[folder]).expanduser().resolve())
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _papermill(chapter: str, notebook: NotebookNode, output: Path, values: dict[str, Any]) -> NotebookNode:
    import papermill
    from nbclient.exceptions import DeadKernelError
    from traitlets.config import Config

    # Else anyone on the same machine could listen in on the kernel, and it says so on every start.
    config = Config({"KernelManager": {"transport_encryption": "auto"}})
    for _ in range(KERNEL_STARTS):
        try:
            with _kernel_environment():
                return papermill.execute_notebook(
                    notebook,
                    output,
                    parameters=values,
                    kernel_name="python3",
                    cwd=ROOT,
                    progress_bar=sys.stderr.isatty(),
                    config=config,
                )
        except papermill.PapermillExecutionError as error:
            raise ChapterStopped(
                f"{chapter} stopped with {error.ename}: {error.evalue} "
                f"(the notebook up to there: {output.with_name('stopped.ipynb')})"
            ) from None
        except DeadKernelError:
            raise ChapterStopped(f"{chapter} stopped: its kernel died, often for want of memory.") from None
        except RuntimeError as error:
            if "Kernel died before replying to kernel_info" not in str(error):
                raise
    raise ChapterStopped(f"{chapter}: its kernel did not start, {KERNEL_STARTS} times; look for full memory or disk.")


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


def _provenance(chapter: str, chosen: Parameters, notebook: Path, started: float) -> dict[str, Any]:
    facts = facts_in(notebook)
    devices = sorted({str(table["device"]) for table in facts.get("outcomes", []) if table.get("device")})
    return {
        "chapter": chapter,
        "parameters": chosen.model_dump(exclude={"force"}),
        "command": command(chapter, chosen),
        "seeds": facts.get("seeds", []),
        "outcomes": facts.get("outcomes", []),
        "code": code_version(),
        "key": key(chapter, chosen),
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


def _library_files() -> list[Path]:
    """fairlib's code and shipped data; neither the command line nor Python's byte code changes a result."""
    return [path for path in _files(ROOT / "fairlib") if path.name != "cli.py" and path.suffix != ".pyc"]


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
