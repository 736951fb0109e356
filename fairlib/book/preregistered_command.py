"""The command line's ``fairlib preregistered``."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Annotated

import typer

from fairlib.base import files


def preregistered(
    file: Annotated[Path | None, typer.Argument(help="a preregistration; by default the one that is shipped")] = None,
    encoder: Annotated[
        list[str] | None, typer.Option(help="only the pair of this one, for a report in the making; several times")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="folder for the report; by default among the runs")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what it would take, encoder by encoder")] = False,
    tflops: Annotated[
        float | None,
        typer.Option(min=0.1, help="with --dry-run: for a GPU that multiplies matrices so fast, in half precision"),
    ] = None,
) -> int:
    """Test the paper's claims on public checkpoints by rules that were fixed before, and write the report.

    A stopped test goes on where it was. An encoder that cannot be had is reported, and the others go on.
    """
    from fairlib.book import registration

    path = file or registration.REGISTERED
    if tflops is not None and not dry_run:
        raise typer.BadParameter("--tflops is for --dry-run: a test runs on what is here")
    if dry_run:
        print(_foretold(path, encoder or [], tflops))
        return 0
    from fairlib.book.preregistered import run_registered
    from fairlib.book.preregistered_report import write_report
    from fairlib.book.runs import RUNS
    from fairlib.outcomes import store_folder

    folder = output or RUNS / "preregistered"
    for place in (folder, files.cache_folder(), store_folder()):
        files.require_room(place)
    started = time.time()
    words = [
        "fairlib",
        "preregistered",
        *([str(file)] if file else []),
        *(f"--encoder={name}" for name in encoder or []),
    ]
    result = run_registered(path, encoder or ())
    print(write_report(result, folder, shlex.join(words), started))
    for tested in result.confirmatory:
        if tested.finding is not None:
            print(f"{tested.statement.claim}: {tested.finding.verdict}: {tested.statement.states}")
    return 1 if result.failures else 0


def _foretold(path: Path, encoders: list[str], tflops: float | None) -> str:
    """What a test would take, and what is not as registered."""
    from fairlib.book.prediction import predict, told
    from fairlib.book.preregistered import pairs_of
    from fairlib.book.registration import changed_since, read_registration
    from fairlib.book.studies import load_study, study_file

    about = read_registration(path)
    calls = about.calls()
    asked = {name for pair in pairs_of(about, encoders) for name in pair.encoders} | {"logmel"}
    shapes = load_study(study_file("full-size"))[0].shape_of()
    speed = None if tflops is None else 1e12 * tflops
    device = None if tflops is None else f"a GPU of {tflops:g} TFLOPS"
    text = told(predict(calls[calls["encoder"].isin(asked)], shapes, speed=speed), device)
    return "\n".join([text, *(f"Not as registered: {one}" for one in changed_since(about))])
