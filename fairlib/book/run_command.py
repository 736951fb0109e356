"""The command line's ``fairlib run``: a command for each chapter, and several runs side by side."""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from fairlib.base import files
from fairlib.book import chapters, grids
from fairlib.book import runs as runs_module

STOPPED = 130  # exit status after Ctrl-C, as shells have it

# What every run command takes besides the chapter's own parameters.
_RUN_OPTIONS = (
    ("dry_run", bool, False, typer.Option("--dry-run", help="say what would be run, and why; run nothing")),
    ("workers", int, 1, typer.Option("--workers", min=1, help="of several combinations, how many at once")),
)


class _ChapterGroup(TyperGroup):
    """Chapters as commands; an unknown one is answered with the nearest name."""

    def get_command(self, ctx, cmd_name):
        return super().get_command(ctx, cmd_name) or chapters.parameters(cmd_name)


runs = typer.Typer(
    cls=_ChapterGroup,
    help="Run a chapter with its own parameters (fairlib run CHAPTER --help lists them).",
    no_args_is_help=True,
)


def _add_command(chapter: chapters.Chapter) -> None:
    """Make ``fairlib run CHAPTER`` from the chapter's declaration: an option for each parameter."""

    def run(ctx: typer.Context, **_: object) -> int | None:
        given = {
            name: str(value)
            for name, value in ctx.params.items()
            if (source := ctx.get_parameter_source(name)) and source.name == "COMMANDLINE"
        }
        # What no option is called: let the chapter's own check answer, it knows the nearest name.
        given |= {word.lstrip("-").split("=")[0].replace("-", "_"): "" for word in ctx.args[:1]}
        dry_run, workers = given.pop("dry_run", None) == "True", int(given.pop("workers", 1))
        chosen = grids.combinations(chapter.name, given)
        jobs = [(chapter.name, one.model_dump()) for one in chosen]
        if dry_run:
            return tell_plans(jobs)
        if len(jobs) > 1:
            return run_jobs(jobs, workers)
        print(runs_module.run(chapter.name, chosen[0].model_dump(), chosen[0].force))
        return None

    options = _options(chapter)
    context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    run.__signature__ = inspect.Signature([context, *options])  # type: ignore[attr-defined]  # typer reads it
    run.__annotations__ = {option.name: option.annotation for option in [context, *options]}
    runs.command(
        chapter.name,
        help=f"Run the chapter “{chapter.title}” and print the folder of the run; a finished run is reused. Several"
        " values of a parameter, with commas between them, are run in all combinations.",
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )(run)


def _options(chapter: chapters.Chapter) -> list[inspect.Parameter]:
    """One for each of the chapter's parameters, and those of every chapter."""
    options = []
    for name, field in chapter.parameters.model_fields.items():
        # All but switches are taken as text, so that the chapter's own check is the only one.
        kind = bool if field.annotation is bool else str
        flag = f"--{name.replace('_', '-')}"
        if kind is bool and name != "force":  # one whose default is true can be turned off
            flag = f"{flag}/--no-{flag.removeprefix('--')}"
        option = typer.Option(
            flag,
            help=field.description,
            metavar=None if kind is bool else chapters.allowed(field),
            show_default=name != "group",  # which is the corpus's own, as its help says
        )
        options.append(
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=kind(field.default),
                annotation=Annotated[kind, option],
            )
        )
    for name, of, default, option in _RUN_OPTIONS:
        options.append(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[of, option])
        )
    return options


def tell_plans(jobs: Sequence[grids.Job]) -> int:
    """Print what would become of each job; 2 where one of them could not be run."""
    status = 0
    for chapter, values in jobs:
        try:
            folder, why = runs_module.plan(chapter, values)
        except (chapters.ChapterError, files.FolderError) as error:
            status = complain(str(error), 2)
        else:
            print(f"{'run' if why else 'reuse':7}{folder.name}{f'  ({why})' if why else ''}")
    return status


def run_jobs(jobs: Sequence[grids.Job], workers: int) -> int:
    """Run them; folders go to standard output, what happens to standard error; 1 where one failed."""
    place = iter(range(1, len(jobs) + 1))

    def report(row: dict) -> None:
        where = Path(row["folder"]).name if row["folder"] else row["why"]
        print(f"{next(place)}/{len(jobs)} {row['status']} in {row['duration_s']:.0f} s: {where}", file=sys.stderr)
        if row["folder"]:
            print(row["folder"], flush=True)

    rows = grids.run_all(jobs, workers=workers, report=report)
    failed = grids.failures(rows)
    if failed:
        print(failed, file=sys.stderr)
    return 1 if failed else 0


def complain(message: str, status: int) -> int:
    print(f"fairlib: {message}", file=sys.stderr)
    return status


with contextlib.suppress(chapters.ChapterError):  # a declaration that is wrong: said when a chapter is asked for
    for _each in chapters.chapters().values():
        _add_command(_each)
