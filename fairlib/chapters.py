"""Chapters: their parameters, how one is run, and how the book is put together from them.

A chapter is one notebook, kept as text in ``notebooks/``. Its parameters are declared here, once: the help of
the command line, the checks, the notebook's parameters cell (a test compares them) and the provenance box all
follow from these models. Nothing heavy is imported before it is needed, so a typo is answered at once.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import html
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fairlib.encoders import finetuned_from, shipped_encoders

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import HTML
    from nbformat import NotebookNode

    from fairlib.findings import Finding

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
RUNS = ROOT / "_runs"
BUILD = ROOT / "_build"

# The speaker columns each corpus can be compared by, the one to start from first.
GROUPS = {
    "speechocean762": ("age_group", "sex"),
    "librispeech": ("sex",),
    "commonvoice": ("sex", "age_group", "accent"),
    "synthetic": ("group",),
    "planted": ("group",),
}
KERNEL_STARTS = 3  # several kernels starting at once can claim the same port; nothing else is tried again
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


class ChapterError(ValueError):
    """A chapter or one of its parameters is not what it may be; the message says what is allowed."""


class ChapterStopped(RuntimeError):
    """A chapter's notebook stopped before its end; the message names the error and the notebook so far."""


class BookError(RuntimeError):
    """The book could not be built; the message says why."""


class Parameters(BaseModel):
    """What every chapter can be rerun with."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    force: bool = Field(False, description="compute the encoder's outcomes again, whatever is stored or published")


class MeasuringBias(Parameters):
    """Parameters of chapter 4."""

    speakers: int = Field(30, ge=2, le=1000, description="people in each group of the chapter's made-up study")
    planted: float = Field(0.0, ge=-2, le=2, description="log odds ratio planted in the made-up study; zero is no gap")
    seed: int = Field(0, ge=0, description="of the made-up study: another number is another study")


class EncoderParameters(Parameters):
    """What a chapter about an encoder's layers can be rerun with."""

    encoder: str = Field(
        "pocket-hubert",
        description="encoder: a shipped name, a hub id such as facebook/hubert-base-ls960, or a folder",
    )
    corpus: Literal["speechocean762", "librispeech", "commonvoice", "synthetic", "planted"] = Field(
        "speechocean762", description="corpus, looked for under FAIRLIB_DATA; synthetic and planted need no data"
    )

    @field_validator("encoder")
    @classmethod
    def _encoder_can_be_found(cls, encoder: str) -> str:
        name, known = encoder.removeprefix("random:"), known_encoders()
        if name == "logmel":
            raise ValueError("logmel is the control beside every encoder: choose the encoder")
        if name in known:
            return encoder
        if Path(name).is_dir():
            # The notebook runs in the repository's root, which need not be where the command was given.
            return encoder.removesuffix(name) + str(Path(name).resolve())
        if HUB_ID.fullmatch(name) and not name.startswith("."):
            return encoder
        raise ValueError(
            f"{encoder!r} is no shipped encoder ({', '.join(known)}), no hub id (owner/name) "
            f"and no folder{_nearest(name, known)}"
        )


class EncodersAndLayers(EncoderParameters):
    """Parameters of chapter 3."""

    seeds: int = Field(5, ge=1, le=100, description="number of speaker probes, each with its own seed")


class StudyParameters(EncoderParameters):
    """What a chapter that compares groups at an encoder's layers can be rerun with."""

    group: str = Field(
        "age_group",
        description="speaker column whose groups are compared; left out, the corpus's own main column",
    )
    seeds: int = Field(5, ge=1, le=100, description="number of probe trainings, each with its own seed")

    @model_validator(mode="before")
    @classmethod
    def _main_group_of_the_corpus(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and "group" not in values and values.get("corpus") in GROUPS:
            return {**values, "group": GROUPS[values["corpus"]][0]}
        return values

    @model_validator(mode="after")
    def _corpus_records_the_group(self) -> StudyParameters:
        if self.group not in GROUPS[self.corpus]:
            raise ValueError(
                f"group: {self.corpus} has no groups by {self.group!r}, only by "
                f"{', '.join(GROUPS[self.corpus])}{_nearest(self.group, GROUPS[self.corpus])}"
            )
        return self


class SpeakerIdentification(StudyParameters):
    """Parameters of chapter 5."""


class SpeechRecognition(StudyParameters):
    """Parameters of chapter 6."""

    seeds: int = Field(1, ge=1, le=100, description="number of probe trainings, each with its own seed")
    probe: Literal["linear", "context"] = Field(
        "context", description="recognition probe: linear, or a small head that sees neighbouring frames"
    )


class OppositePatterns(StudyParameters):
    """Parameters of chapter 7."""


class FineTuning(StudyParameters):
    """Parameters of chapter 8."""

    encoder: str = Field(
        "pocket-hubert-asr-librispeech",
        description="fine-tuned encoder: a shipped name, a hub id such as facebook/hubert-large-ls960-ft, or a folder",
    )
    pretrained: str = Field(
        "", description="the encoder it was made from; may be left out for shipped ones, whose records say it"
    )

    @model_validator(mode="after")
    def _what_it_was_made_from_is_known(self) -> FineTuning:
        known = self.pretrained or (not HUB_ID.fullmatch(self.encoder) and finetuned_from(self.encoder))
        if not known:
            raise ValueError(
                f"pretrained: nothing here says what {self.encoder} was made from: name the pretrained encoder too, or"
                " choose a fine-tuned one from fairlib encoders"
            )
        return self


@dataclass(frozen=True)
class Chapter:
    """One chapter: its name on the command line, its notebook's name, its task and its parameters."""

    name: str
    notebook: str
    title: str
    task: str
    parameters: type[Parameters]

    @property
    def source(self) -> Path:
        """The notebook's text source (py:percent)."""
        return NOTEBOOKS / f"{self.notebook}.py"


_CHAPTERS = (
    Chapter(
        "encoders-and-layers",
        "03_encoders_and_layers",
        "Encoders and layers",
        "",
        EncodersAndLayers,
    ),
    Chapter(
        "measuring-bias",
        "04_measuring_bias",
        "Measuring bias",
        "",
        MeasuringBias,
    ),
    Chapter(
        "speaker-identification",
        "05_speaker_identification",
        "Speaker identification, layer by layer",
        "sid",
        SpeakerIdentification,
    ),
    Chapter(
        "speech-recognition",
        "06_speech_recognition",
        "Speech recognition, layer by layer",
        "asr",
        SpeechRecognition,
    ),
    Chapter(
        "opposite-patterns",
        "07_opposite_patterns",
        "Opposite patterns?",
        "",
        OppositePatterns,
    ),
    Chapter(
        "fine-tuning",
        "08_fine_tuning",
        "After fine-tuning",
        "",
        FineTuning,
    ),
)


def chapters() -> dict[str, Chapter]:
    """Every chapter that can be run, by name, in the book's order.

    Example:
        >>> list(chapters())
        ['encoders-and-layers', 'measuring-bias', 'speaker-identification', 'speech-recognition', 'opposite-patterns',
         'fine-tuning']
    """
    return {chapter.name: chapter for chapter in _CHAPTERS}


def parameters(chapter: str) -> type[Parameters]:
    """The parameters of one chapter, as a pydantic model.

    Raises:
        ChapterError: there is no such chapter.

    Example:
        >>> parameters("speech-recognition")().probe
        'context'
    """
    return _chapter(chapter).parameters


def check(chapter: str, values: Mapping[str, Any], as_text: bool = False) -> Parameters:
    """Check parameter values against a chapter's declaration; ``as_text``: all text, as on a command line.

    Raises:
        ChapterError: an unknown chapter or name, or a value that is not allowed; one sentence.

    Example:
        >>> check("speaker-identification", {"corpus": "synthetic"}).group
        'group'
        >>> check("speaker-identification", {"seeds": "3"}, as_text=True).seeds
        3
        >>> check("speech-recognition", {"prob": "linear"})
        Traceback (most recent call last):
        ...
        fairlib.chapters.ChapterError: speech-recognition has no parameter 'prob': did you mean 'probe'?
    """
    model = parameters(chapter)
    try:
        if as_text:
            return model.model_validate_strings(dict(values), strict=False)
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise ChapterError(_sentence(chapter, model, error)) from None


def known_encoders() -> list[str]:
    """Names of the encoders that a chapter can be run with and that need no download.

    Example:
        >>> "pocket-hubert" in known_encoders()
        True
    """
    return sorted({"pocket-hubert", *shipped_encoders()})


def command(chapter: str, chosen: Parameters) -> str:
    """The command that runs a chapter with these parameters, all of them written out.

    Example:
        >>> command("speaker-identification", SpeakerIdentification(corpus="librispeech", group="sex"))
        'fairlib run speaker-identification --encoder pocket-hubert --corpus librispeech --group sex --seeds 5'
    """
    words = ["fairlib", "run", chapter]
    for name, value in chosen.model_dump(exclude={"force"}).items():
        if value == "":  # left out
            continue
        words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words + ["--force"] * chosen.force)


def execute(chapter: str, values: Mapping[str, Any] | None = None, *, folder: str | Path) -> Path:
    """Run a chapter's notebook in a fresh kernel and write it, with its outputs, as ``folder/chapter.ipynb``.

    The kernel is this interpreter, in the repository's root. The file appears only when the notebook reached
    its end; a notebook that stopped is kept beside it as ``stopped.ipynb``.

    Raises:
        ChapterError: an unknown chapter, or parameters that are not allowed (no kernel is started).
        ChapterStopped: the notebook raised an error, or its kernel died.
    """
    chosen = check(chapter, values or {})
    source = _chapter(chapter).source
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
        _write(partial, _tidy(notebook))
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
    record.unlink(missing_ok=True)
    started = time.time()
    notebook = execute(chapter, chosen.model_dump(), folder=folder)
    found = _facts_in(notebook).get("findings", [])
    _replace_text(folder / "findings.json", json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    provenance = _provenance(chapter, chosen, notebook, started)
    _replace_text(record, json.dumps(provenance, indent=2, ensure_ascii=False) + "\n")
    return folder


def run_name(chapter: str, chosen: Parameters) -> str:
    """Name of a run's folder: ``<chapter>[__<parameter>-<value>...]__<8 hex digits>``.

    Example:
        >>> name = run_name("speaker-identification", SpeakerIdentification(corpus="synthetic", seeds=2))
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
    files = [_chapter(chapter).source, ROOT / "constraints.txt", *_library_files()]
    digest = hashlib.sha256()
    digest.update(chosen.model_dump_json(exclude={"force"}).encode())
    digest.update(platform.python_version().encode())
    for path in files:
        if path.exists():
            digest.update(f"\n{path.parent.name}/{path.name}\n".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    local_encoder = Path(chosen.encoder.removeprefix("random:")) if isinstance(chosen, EncoderParameters) else None
    if local_encoder and local_encoder.is_dir():
        for path in _files(local_encoder):
            # A full-size checkpoint takes long to read: its size and time of change stand for its content.
            state = path.stat()
            digest.update(f"\n{path.name} {state.st_size} {state.st_mtime_ns}".encode())
    return digest.hexdigest()


def build_book(output: str | Path = BUILD / "html") -> Path:
    """Build the book as HTML into ``output`` and return the path of its first page.

    Chapters are executed with their default parameters, or taken from the last build when nothing they follow
    from has changed; Sphinx itself executes nothing. Any warning fails the build, and a failed build leaves
    the last good ``output`` in place.

    Raises:
        BookError: Sphinx failed, or the packages that build a book are not installed.
        ChapterStopped: a chapter failed.
    """
    if importlib.util.find_spec("jupyter_book") is None:
        raise BookError("jupyter-book is not installed: run make book, or install fairlib's extra, .[book].")
    executed = {chapter.notebook: _executed(chapter) for chapter in _CHAPTERS}
    source = _stage(executed)
    work = BUILD / "work"
    shutil.rmtree(work / "_build" / "html", ignore_errors=True)
    log = BUILD / "book.log"
    arguments = ["build", str(source), "--path-output", str(work), "--all", "-W", "-n", "--keep-going"]
    with log.open("w", encoding="utf-8") as stream:
        done = subprocess.run(
            [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", *arguments],
            stdout=stream,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
        )
    index = work / "_build" / "html" / "index.html"
    if done.returncode != 0 or not index.exists():
        raise BookError(f"the book was not built; the whole log is {log}:\n{_complaints(log)}")
    output = Path(output).resolve()
    output.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(output, ignore_errors=True)
    shutil.move(work / "_build" / "html", output)
    return output / "index.html"


def read_notebook(source: str | Path) -> NotebookNode:
    """Read a notebook's text source; cell ids follow from the cells' order, so that nothing is random."""
    import jupytext

    notebook = jupytext.read(source, fmt="py:percent")
    _number_cells(notebook)
    return notebook


def paired_notebook(source: str | Path) -> str:
    """The .ipynb paired with a text source, without outputs, as the text of its file.

    The same source gives the same text, always; ``tests/test_notebooks.py`` compares it with the file.
    """
    import nbformat

    return nbformat.writes(read_notebook(source), version=nbformat.NO_CONVERT) + "\n"


def write_pairs() -> list[Path]:
    """Write the .ipynb beside every text source in ``notebooks/``; returns those that changed."""
    changed = []
    for source in sorted(NOTEBOOKS.glob("*.py")):
        pair, text = source.with_suffix(".ipynb"), paired_notebook(source)
        if not pair.exists() or pair.read_text(encoding="utf-8") != text:
            _replace_text(pair, text)
            changed.append(pair)
    return changed


def provenance_box(
    outcomes: pd.DataFrame | Sequence[pd.DataFrame],
    parameters: Mapping[str, Any] | Parameters,
    chapter: str | None = None,
    findings: Sequence[Finding] = (),
) -> HTML:
    """The box at a chapter's end: parameters, seeds, fingerprints, code version, duration, device, command.

    ``outcomes`` are the tables the chapter used, ``parameters`` the values of its parameters cell; the chapter
    follows from the outcomes' task if it is not named. `run` finds the same facts in the notebook and writes them
    to ``provenance.json``, and the findings to ``findings.json``.
    """
    from IPython.display import HTML

    tables = outcomes if isinstance(outcomes, Sequence) else [outcomes]
    if not tables:
        raise ChapterError("provenance_box needs at least one outcomes table: give it those of the chapter.")
    tasks = {str(task) for table in tables for task in table["task"].unique()}
    chapter = chapter or next((chapter.name for chapter in _CHAPTERS if chapter.task in tasks), None)
    if chapter is None:
        raise ChapterError(f"no chapter is about the tasks of these outcomes ({', '.join(sorted(tasks))}).")
    chosen = parameters if isinstance(parameters, Parameters) else check(chapter, parameters)
    facts = {
        "chapter": chapter,
        "parameters": chosen.model_dump(exclude={"force"}),
        "seeds": sorted({int(seed) for table in tables for seed in table["seed"].unique()}),
        "outcomes": [_outcomes_facts(table) for table in tables],
        "code": code_version(),
        "duration_s": round(_seconds_since_start(), 1),
        "command": command(chapter, chosen.model_copy(update={"force": False})),
        "findings": [finding.record() for finding in findings],
    }
    return HTML(_box(facts), metadata={"fairlib": facts})


def code_version() -> str:
    """Version of the code: fairlib's own, the commit where there is one, and whether files differ from it."""
    version = f"fairlib {importlib.metadata.version('fairlib')}"
    commit = _git("rev-parse", "--short=12", "HEAD")
    if not commit:
        return version
    changed = _git("status", "--porcelain", "--", "fairlib", "notebooks")
    return f"{version}, commit {commit}" + (", with changes not committed" if changed else "")


def _chapter(name: str) -> Chapter:
    if name not in chapters():
        hint = _nearest(name, chapters()) or f": the chapters are {', '.join(chapters())}."
        raise ChapterError(f"there is no chapter {name!r}{hint}")
    return chapters()[name]


def _nearest(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(name), [str(each) for each in names], n=1, cutoff=0.5)
    return f": did you mean {close[0]!r}?" if close else ""


def _sentence(chapter: str, model: type[Parameters], error: ValidationError) -> str:
    """One sentence on the first thing that is wrong."""
    first = error.errors()[0]
    name, given = ".".join(str(part) for part in first["loc"]), first["input"]
    if first["type"] == "extra_forbidden":
        names = sorted(model.model_fields, key=lambda name: name == "force")  # what all share comes last
        hint = _nearest(name, names) or f": it has {', '.join(names)}."
        return f"{chapter} has no parameter {name!r}{hint}"
    if first["type"] == "literal_error":
        allowed = model.model_fields[name].annotation.__args__
        hint = _nearest(given, allowed)
        return f"{chapter}: {name} must be one of {', '.join(allowed)}, not {given!r}{hint or '.'}"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return f"{chapter}: {name + ': ' if name else ''}{message}{'' if message.endswith('?') else '.'}"
    kinds = {"int": "a whole number", "bool": "true or false", "string": "text"}
    limits = {"greater_than_equal": "at least {ge}", "less_than_equal": "at most {le}"}
    limit = limits.get(first["type"], message).format(**first.get("ctx", {}))
    return f"{chapter}: {name} must be {kinds.get(first['type'].split('_')[0], limit)}, not {given!r}."


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
    _number_cells(notebook)
    return notebook


def _number_cells(notebook: NotebookNode) -> None:
    # Ids are part of the format from 4.5 on; numbered, they are equal from one reading to the next.
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:03d}"


def _executed(chapter: Chapter) -> Path:
    """A chapter's notebook executed with its defaults, from the last build where nothing has changed."""
    chosen = chapter.parameters()
    folder = BUILD / "executed" / chapter.notebook
    notebook, made_from = folder / "chapter.ipynb", folder / "key"
    current = key(chapter.name, chosen)
    if notebook.exists() and made_from.exists() and made_from.read_text() == current:
        return notebook
    made_from.unlink(missing_ok=True)
    execute(chapter.name, chosen.model_dump(), folder=folder)
    _replace_text(made_from, current)
    return notebook


def _stage(executed: Mapping[str, Path]) -> Path:
    """Lay out what Sphinx reads: prose pages, executed notebooks, configuration; nothing else."""
    source = BUILD / "source"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(ROOT / name, source / name)
    shutil.copytree(ROOT / "book", source / "book", ignore=shutil.ignore_patterns("__pycache__"))
    (source / "notebooks").mkdir()
    for name, notebook in executed.items():
        shutil.copy(notebook, source / "notebooks" / f"{name}.ipynb")
    return source


def _complaints(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    wrong = [line for line in lines if "WARNING" in line or "ERROR" in line]
    return "\n".join(wrong[:20] or lines[-20:])


def _provenance(chapter: str, chosen: Parameters, notebook: Path, started: float) -> dict[str, Any]:
    facts = _facts_in(notebook)
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
        "packages": _package_versions(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "device": ", ".join(devices) or "cpu",
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "duration_s": round(time.time() - started, 1),
    }


def _facts_in(notebook: Path) -> dict[str, Any]:
    """What the notebook's provenance box was made from; empty where it has none."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    for cell in reversed(content["cells"]):
        for output in cell.get("outputs", []):
            facts = output.get("metadata", {}).get("text/html", {}).get("fairlib")
            if facts:
                return facts
    return {}


def _outcomes_facts(table: pd.DataFrame) -> dict[str, Any]:
    facts = dict(table.attrs.get("provenance", {}))
    return {
        "encoder": ", ".join(sorted(str(name) for name in table["encoder"].unique())),
        "corpus": ", ".join(sorted(str(name) for name in table["corpus"].unique())),
        "task": ", ".join(sorted(str(name) for name in table["task"].unique())),
        **{
            name: facts.get(name)
            for name in ("origin", "encoder_fingerprint", "corpus_fingerprint", "device", "duration_s")
        },
    }


def _box(facts: Mapping[str, Any]) -> str:
    def text(value: Any) -> str:
        return html.escape(str(value))

    def row(name: str, value: str) -> str:
        style = "text-align:left;vertical-align:top"
        return f'<tr><th scope="row" style="{style}">{text(name)}</th><td>{value}</td></tr>'

    def short(fingerprint: Any) -> str:
        return f"<code>{text(str(fingerprint)[:12])}</code>" if fingerprint else "not recorded"

    rows = [row(name, text(value)) for name, value in facts["parameters"].items()]
    rows.append(row("seeds used", text(", ".join(map(str, facts["seeds"])))))
    for each in facts["outcomes"]:
        seconds = each["duration_s"]
        took = f", in {seconds:,.0f} s" if isinstance(seconds, int | float) else ""
        device = f" on {text(each['device'])}" if each["device"] else ""
        rows.append(
            row(
                f"outcomes of {each['encoder']}",
                f"{text(each['origin'] or 'computed')}; first computed{device}{took}; weights "
                f"{short(each['encoder_fingerprint'])}, corpus {short(each['corpus_fingerprint'])}",
            )
        )
    rows.append(row("code", text(facts["code"])))
    rows.append(row("this page", f"made in {facts['duration_s']:,.0f} s, Python {platform.python_version()}"))
    rows.append(row("run it again", f'<code style="overflow-wrap:anywhere">{text(facts["command"])}</code>'))
    return (
        '<table class="provenance" aria-label="Provenance: what this chapter was made from">'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _seconds_since_start() -> float:
    """Seconds since this process, a chapter's kernel, was started."""
    import psutil

    return time.time() - psutil.Process().create_time()


def _package_versions() -> dict[str, str]:
    """Installed versions of the packages that fairlib asks for itself."""
    wanted = [line for line in importlib.metadata.requires("fairlib") or [] if "extra ==" not in line]
    versions = {}
    for line in wanted:
        name = re.match(r"[\w.-]+", line).group()
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _git(*arguments: str) -> str:
    """Output of a git command in the project; empty where there is no git or no commit."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _library_files() -> list[Path]:
    """fairlib's code and shipped data; neither the command line nor Python's byte code changes a result."""
    return [path for path in _files(ROOT / "fairlib") if path.name != "cli.py" and path.suffix != ".pyc"]


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _write(path: Path, notebook: NotebookNode) -> None:
    import nbformat

    nbformat.write(notebook, path, version=nbformat.NO_CONVERT)


def _replace_text(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
