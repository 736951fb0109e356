"""The command line: ``fairlib --help``.

A mistake in what was asked for is answered with one sentence and exit status 2; work that failed, with one
sentence and exit status 1. Heavy packages are imported inside the commands that need them, so that help and
mistakes are answered at once.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from fairlib.base import files, progress
from fairlib.base.tasks import TASKS
from fairlib.book import chapters, grids
from fairlib.book.preregistered_command import preregistered
from fairlib.book.run_command import STOPPED, complain, run_jobs, runs, tell_plans

app = typer.Typer(
    name="fairlib",
    help="Where do self-supervised speech models become unfair? Run the book's chapters, and their parts.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _tell_version(asked: bool) -> None:
    if asked:
        from fairlib.book.provenance import code_version

        print(code_version())
        raise typer.Exit


@app.callback()
def fairlib(
    version: Annotated[
        bool, typer.Option("--version", help="say the version and stop", callback=_tell_version, is_eager=True)
    ] = False,
) -> None:
    """Where do self-supervised speech models become unfair? Run the book's chapters, and their parts."""


app.add_typer(runs, name="run")
app.command("preregistered")(preregistered)


Task = StrEnum("Task", [task.command for task in TASKS.values()])  # type: ignore[misc]  # what a probe reads


@app.command("chapters")
def list_chapters() -> None:
    """List the chapters that can be run."""
    for chapter in chapters.chapters().values():
        print(f"{chapter.name:24}{chapter.title}")


corpora = typer.Typer(help="List the corpora, which of them are there, and what each allows; or fetch one.")
app.add_typer(corpora, name="corpora")


@corpora.callback(invoke_without_command=True)
def list_corpora(ctx: typer.Context) -> None:
    """List the corpora, which of them are found under FAIRLIB_DATA, and what each allows or would allow."""
    if ctx.invoked_subcommand:
        return
    from fairlib.corpora import CORPORA, CorpusError, load_corpus
    from fairlib.corpora.table import find_root

    for name, about in CORPORA.items():
        groups = ", ".join(about.groups)
        if about.synthetic:
            print(f"{name:22}synthetic speech, made on first use, no data needed; groups by {groups}")
            continue
        try:
            if about.long_recordings:  # to load it cuts hours of speech
                print(f"{name:22}found in {find_root(about)}, cut into utterances when loaded; groups by {groups}")
                continue
            table = load_corpus(name, on_error="skip")
        except CorpusError as error:
            how = f"{about.on_request}." if about.on_request else ""
            if about.archives:
                size = sum(archive.megabytes for archive in about.to_fetch().values())
                how = f"Or have it fetched: fairlib corpora fetch {name} ({size} MB)."
            print(f"{name:22}not found; it would allow groups by {groups}. {error} {how}")
            continue
        recorded = [column for column in about.groups if column in table]
        there = [column for column in recorded if table[column].nunique() > 1]
        print(
            f"{name:22}{table['speaker_id'].nunique():,} speakers, {len(table):,} utterances, "
            f"{table['duration_s'].sum() / 3600:.1f} h; groups by {', '.join(there) or 'nothing recorded'}"
        )
    print(
        f"{'your own':22}a list (.csv, .tsv, .jsonl, .parquet), a folder of audio by speaker, lhotse manifests or "
        "cuts, a Kaldi folder, one of datasets, or hf:owner/name; groups by its own columns"
    )


@corpora.command()
def fetch(
    corpus: Annotated[str, typer.Argument(help="which corpus, see fairlib corpora")],
    parts: Annotated[list[str] | None, typer.Argument(help="only these parts, such as dev-clean")] = None,
    source: Annotated[str, typer.Option(help="the publisher's address, or a mirror's")] = "",
) -> None:
    """Fetch a corpus from its publisher into FAIRLIB_DATA; a stopped download goes on where it was."""
    from fairlib.corpora import download as fetching

    for folder in fetching.fetch(corpus, parts or (), source=source or fetching.OPENSLR):
        print(folder)


@app.command()
def check(
    corpus: Annotated[str, typer.Argument(help="corpus name, see fairlib corpora; or your own list or folder")],
) -> int:
    """Say who is in a corpus, what is odd about its lists and its audio, and which chapters can be run on it."""
    from fairlib.book.check import check_corpus, of_chapters, written

    found = check_corpus(corpus)
    print(written(found, of_chapters(found)))
    return 1 if found.unreadable else 0


@app.command()
def encoders() -> None:
    """List the encoders that need no download."""
    from fairlib.encoders import finetuned_from, our_encoders, shipped_encoders
    from fairlib.encoders.checkpoints import training_command

    for name in our_encoders():
        made = finetuned_from(name)
        what = f"fine-tuned from {made[0]} on {made[1]}" if made else f"pretrained; control: random:{name}"
        absent = "" if name in shipped_encoders() else f"; its weights do not ship: {training_command(name)}"
        print(f"{name:34}{what}{absent}")
    print(f"{'logmel':34}control: a plain spectrogram, no encoder at all")
    print("Any folder or hub id in the transformers format works too, such as facebook/hubert-base-ls960.")


@app.command()
def pretrain(
    recipe: Annotated[str, typer.Argument(help="a shipped recipe's name, or a TOML file")],
    output: Annotated[Path | None, typer.Option(help="folder for the run; by default one in the user's cache")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="in place of the recipe's")] = None,
) -> None:
    """Pretrain an encoder from a recipe; a stopped pretraining goes on from its last checkpoint."""
    from fairlib.training.pretraining import pretrain

    files.require_room(output or files.cache_folder())
    print(pretrain(recipe, output, seed))


@app.command()
def finetune(
    encoder: Annotated[str, typer.Argument(help="shipped name, hub id or folder of a pretrained encoder")],
    corpus: Annotated[str, typer.Option(help="corpus name; its train half is used")],
    output: Annotated[Path, typer.Option(help="folder for the run")],
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Fine-tune an encoder for speech recognition (CTC over characters); a stopped run goes on."""
    from fairlib.training.finetuning import finetune

    files.require_room(output)
    print(finetune(encoder, corpus, output, seed))


@app.command()
def extract(
    encoder: Annotated[str, typer.Argument(help="shipped name, hub id, folder, logmel, or random:<encoder>")],
    corpus: Annotated[str, typer.Option(help="corpus name, see fairlib corpora")],
    output: Annotated[Path, typer.Option(help="folder for the features; what is whole there is kept")],
    frames: Annotated[bool, typer.Option("--frames", help="keep every frame, not only mean and deviation")] = False,
    processes: Annotated[
        int | None, typer.Option(min=1, help="worker processes, one a GPU if there are any; by default none")
    ] = None,
) -> None:
    """Run an encoder once over a corpus and keep every layer; a stopped extraction goes on where it was."""
    from contextlib import nullcontext

    import fairlib
    from fairlib.encoders.workers import local_processes

    files.require_room(output)
    loaded, table = fairlib.load_encoder(encoder), fairlib.load_corpus(corpus)
    with local_processes(processes) if processes else nullcontext() as executor:
        features = fairlib.extract(loaded, table, output, frames, executor=executor)
    went = features.report()
    print(
        f"{len(features.layers)} layers of {went['hours']:.2f} h of speech in {output}. A worker encoded "
        f"{went['hours_per_hour']:.0f} hours an hour; {went['padding']:.0%} of its batches was padding; the device was "
        f"busy {went['busy']:.0%} of the time."
    )


@app.command()
def probe(
    task: Annotated[Task, typer.Argument(help="what to read from the layers")],
    encoder: Annotated[str, typer.Option(help="shipped name, hub id, folder, logmel, or random:<encoder>")],
    corpus: Annotated[str, typer.Option(help="corpus name, see fairlib corpora")],
    seeds: Annotated[int | None, typer.Option(min=1, help="probe trainings")] = None,
    perturbed: Annotated[
        bool, typer.Option("--perturbed", help="speakers: give every utterance a random channel of its own")
    ] = False,
    frames: Annotated[
        str, typer.Option(help="characters: stored on disk, streamed (no room needed), or cheaper (what costs less)")
    ] = "stored",
    force: Annotated[bool, typer.Option("--force", help="compute again, whatever is stored")] = False,
) -> None:
    """Probe every layer of an encoder and keep the outcomes in the store, where chapters find them."""
    import fairlib
    from fairlib.outcomes import provenance, store_folder

    settings: dict[str, Any] = {"force": force} | ({} if seeds is None else {"seeds": seeds})
    if perturbed:
        if task != "speakers":
            raise typer.BadParameter("--perturbed is for the task speakers")
        settings["perturbed"] = True
    if frames != "stored":
        if task != "characters":
            raise typer.BadParameter("--frames is for the task characters")
        settings["frames"] = frames
    for folder in (files.cache_folder(), store_folder()):
        files.require_room(folder)
    outcomes = getattr(fairlib, f"probe_{task}")(encoder, corpus, **settings)
    origin = provenance(outcomes)["origin"]
    print(f"{len(outcomes):,} outcomes ({origin}). Error by layer:")
    for (unit, layer), rows in outcomes.groupby(["unit", "layer"], sort=False):
        print(f"  {unit:8}{layer:8}{rows['errors'].sum() / rows['length'].sum():7.1%}")


@app.command()
def reproduce(
    study: Annotated[str, typer.Argument(help="study (the published one), full-size, or a study's file")] = "study",
    encoder: Annotated[list[str] | None, typer.Option(help="only this one; may be given several times")] = None,
    corpus: Annotated[list[str] | None, typer.Option(help="only this one; may be given several times")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="list what would be computed, and what it takes")] = False,
    publish: Annotated[bool, typer.Option("--publish", help="copy the outcomes into the package")] = False,
    workers: Annotated[int, typer.Option(min=1, help="of the study's chapters, how many at once")] = 1,
) -> int:
    """Compute a study from audio and say where it deviates from what is published, then run its chapters.

    What cannot be done does not stop the rest, and is told at the end; a stopped study goes on where it was.
    """
    from fairlib.book import prediction
    from fairlib.book import studies as studies

    about, calls, jobs = studies.load_study(studies.study_file(study))
    for column, chosen in (("encoder", encoder), ("corpus", corpus)):
        there = dict.fromkeys([*calls[column], *(values[column] for _, values in jobs if column in values)])
        unknown = sorted(set(chosen or []) - set(there))
        if unknown:
            raise typer.BadParameter(f"the study has no {column} {unknown[0]!r}: {', '.join(there)}")
        if chosen:
            calls = calls[calls[column].isin(chosen)]
            jobs = [job for job in jobs if job[1].get(column) in chosen]
    if dry_run:
        for row in calls.to_dict("records"):
            print(f"{row['encoder']:36} {row['corpus']:16}{studies.told(row)}")
        tell_plans(jobs)
        if len(calls):
            print(prediction.told(prediction.predict(calls, about.shape_of())))
        return 0
    failed = False
    if len(calls):
        reproduced = studies.reproduce(calls)
        if publish:
            studies.publish(reproduced)
        lost = reproduced[reproduced["failed"] != ""]
        deviation = (
            f"; largest deviation {reproduced['deviation'].max():.2f}" if reproduced["deviation"].notna().any() else ""
        )
        print(f"{len(reproduced) - len(lost)} of {len(calls)} calls computed{deviation}.")
        for row in lost.to_dict("records"):
            print(f"failed: {row['encoder']} {row['corpus']} {studies.told(row)}: {row['failed']}", file=sys.stderr)
        failed = bool(len(lost))
    return (run_jobs(jobs, workers) if jobs else 0) or int(failed)


@app.command()
def compare(
    a: Annotated[str, typer.Argument(help="a run's folder, or the beginning of its name under _runs")],
    b: Annotated[str, typer.Argument(help="another run of the same chapter")],
    output: Annotated[Path | None, typer.Option(help="the page; by default one in _runs/comparisons")] = None,
) -> None:
    """Compare two runs of a chapter: verdicts, what they were made from, outcomes, layers and gaps."""
    from fairlib.book import comparison

    compared = comparison.compare(a, b)
    print(comparison.told(compared))
    print(f"\nThe same with charts: {comparison.write_page(compared, output)}")


@app.command()
def show(run: Annotated[str, typer.Argument(help="a run's folder, or the beginning of its name under _runs")]) -> None:
    """Show a run: verdicts, the sentences behind them, and what it was made from."""
    from fairlib.book.show import shown

    print(shown(run))


@app.command("export")
def export_run(
    run: Annotated[str, typer.Argument(help="a run's folder, or the beginning of its name under _runs")],
    folder: Annotated[Path, typer.Argument(help="a new folder, or an earlier export, which is replaced")],
    tables: Annotated[str, typer.Option(help="of csv, tex and md, with commas between them")] = "csv,tex,md",
    charts: Annotated[str, typer.Option(help="of svg, pdf and png, with commas between them")] = "svg,pdf,png",
) -> None:
    """Export a run for a paper's supplement: its tables, charts, findings, provenance and references in one folder."""
    from fairlib.book import export

    kinds = [[kind.strip() for kind in chosen.split(",") if kind.strip()] for chosen in (tables, charts)]
    said = export.export(run, folder, *kinds)
    counts = {what: len(said[what]) for what in ("findings", "tables", "figures", "references")}
    told = [f"{number} {what[:-1] if number == 1 else what}" for what, number in counts.items()]
    print(f"{folder}: {', '.join(told)}; index.md lists them.")


@app.command()
def book(
    runs: Annotated[list[str] | None, typer.Argument(help="one's own runs, or a study: a book of these")] = None,
    output: Annotated[Path | None, typer.Option(help="folder for the HTML; by default in _build")] = None,
    pdf: Annotated[Path | None, typer.Option(help="print the whole book into this file, too; needs Chromium")] = None,
) -> None:
    """Build the book; chapters whose code and data have not changed are not executed again.

    With runs (their folders, or the beginnings of their names) or a study, a book of these is built instead: with the
    same chapters, a title and contents of its own, and without executing anything.
    """
    from fairlib.book import build as books

    files.require_room(output or books.BUILD)
    where = {} if output is None else {"output": output}
    if not runs:
        built = books.build_book(**where)
    else:
        title = ""
        if len(runs) == 1:
            from fairlib.book import studies as studies

            file = studies.study_file(runs[0])
            if file.suffix == ".toml" and file.is_file():
                about, _, jobs = studies.load_study(file)
                title, runs = about.title, [str(folder) for folder in grids.finished(jobs)]
        built = books.build_book_of_runs(runs, title, **where)
    print(built)
    if pdf:
        from fairlib.book.printing import link_pdf, print_book

        print(print_book(built.parent, pdf))
        link_pdf(built.parent, pdf)


@app.command("new-chapter")
def make_chapter(
    name: Annotated[str, typer.Argument(help="on the command line, such as accents-in-noise")],
    title: Annotated[str, typer.Option(help="of its page; by default the name's words")] = "",
    folder: Annotated[
        Path, typer.Option(help="a clone of the project; by default the one that runs this")
    ] = chapters.ROOT,
) -> None:
    """Make a chapter of your own, with its test and its place in the book; it runs at once, on synthetic speech."""
    from fairlib.book.new_chapter import new_chapter

    made = new_chapter(name, title, folder)
    print(*made, sep="\n")
    print(
        f"\nRun it: fairlib run {name}. Write its claim and rule ({made[3].name}), commit them, and then look at"
        " results. After a change of the source: make notebooks."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0, 1 (the work failed) or 2 (the request was wrong).

    Example:
        >>> main(["chapters"])
        speakers-and-groups     Speakers and groups
        ...
        0
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that lacks a sign shows another, rather than none of the text
            stream.reconfigure(errors="replace")
    try:
        with progress.listening():
            status = _status(lambda: app(args=arguments, prog_name="fairlib", standalone_mode=False))
        sys.stdout.flush()
    except KeyboardInterrupt:
        status = STOPPED
    except BrokenPipeError:  # as head does; nobody reads on, and Python is not to say so at its end
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if status == STOPPED:  # of typer too, which answers Ctrl-C without a word
        return complain("stopped; what was computed so far is kept.", STOPPED)
    return status


def _status(call: Callable[[], Any]) -> int:
    try:
        status = call()
    except Exception as error:
        if hasattr(error, "format_message"):  # the command line's own complaints: a missing option, say
            message = error.format_message().replace("Value error, ", "")
            return complain(message, 2) if message else 2
        if isinstance(error, ValueError) and type(error).__module__.startswith("fairlib"):
            return complain(str(error), 2)
        if isinstance(error, RuntimeError) and type(error).__module__.startswith("fairlib"):
            return complain(str(error), 1)
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            said = files.told_disk_error(error)
            if said:
                return complain(said, 1)
        raise
    return status if isinstance(status, int) else 0


if __name__ == "__main__":
    sys.exit(main())
