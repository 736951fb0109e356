"""Grids: chapters for every combination of parameters, a few at a time; one that fails does not stop the others."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from typing import Any

from fairlib.base.files import is_there
from fairlib.book import runs
from fairlib.book.chapters import check, option, parameters
from fairlib.book.parameters import Parameters

Job = tuple[str, dict[str, Any]]  # a chapter's name, and its parameters


def combinations(chapter: str, given: Mapping[str, str]) -> list[Parameters]:
    """Every combination of parameters that are given as text, several values of one with commas between them; of one
    that is itself a list, such as two groups, there is one value.

    All of them are checked, so that a mistake in the last is known before the first is run.

    Raises:
        fairlib.book.chapters.ChapterError: as `fairlib.book.chapters.check`.

    Example:
        >>> grid = combinations("speech-recognition", {"probe": "linear,context", "group": "sex, age_group"})
        >>> [(one.probe, one.group) for one in grid]
        [('linear', 'sex'), ('linear', 'age_group'), ('context', 'sex'), ('context', 'age_group')]
    """
    lists = parameters(chapter).lists
    values = [[(name, each) for each in ([text] if name in lists else _several(text))] for name, text in given.items()]
    chosen = [check(chapter, dict(pairs), as_text=True) for pairs in itertools.product(*values)]
    return list(dict.fromkeys(chosen))


def _several(text: str) -> list[str]:
    if is_there(text):  # a path may have commas of its own
        return [text]
    return [part.strip() for part in text.split(",")]


def run_all(
    jobs: Sequence[Job],
    force: bool = False,
    workers: int = 1,
    executor: Executor | None = None,
    report: Callable[[dict], None] | None = None,
) -> list[dict]:
    """Run chapters, each into a folder of its own (`fairlib.book.runs.run`), and say what became of each.

    Args:
        jobs: from `combinations` or a study. Those whose run is there already are reused.
        force: run them all anew.
        workers: how many chapters at once, each with a kernel of its own, where no executor is given.
        executor: any `concurrent.futures` executor, Dask's and submitit's among them. It must allow one chapter at a
            time in each process.
        report: called with each result, in the order of the jobs.

    Returns:
        One row a job: ``chapter, parameters, status`` (reused, run or failed), ``folder`` (empty where it failed),
        ``why`` (it was run, or it failed) and ``duration_s``.
    """
    rows = []
    with contextlib.ExitStack() as stack:
        # Forked processes would share what threads of this one hold; fresh ones take a second and share nothing.
        fresh = multiprocessing.get_context("spawn")
        number = min(workers, len(jobs) or 1)
        pool = executor or stack.enter_context(ProcessPoolExecutor(number, fresh, _begin_worker, (number,)))
        with _undisturbed():
            futures = [pool.submit(_run, chapter, values, force) for chapter, values in jobs]
        for (chapter, values), future in zip(jobs, futures):
            try:
                done = future.result()
            except KeyboardInterrupt:
                pool.shutdown(wait=False, cancel_futures=True)
                if executor is None:
                    _stop_workers()
                raise
            except Exception as error:  # the worker itself is gone, for want of memory say
                done = {"status": "failed", "folder": "", "why": told_error(error), "duration_s": 0.0}
            rows.append({"chapter": chapter, "parameters": values, **done})
            if report:
                report(rows[-1])
    return rows


def each_in_a_process(call: Callable[[str], None], names: Sequence[str], workers: int) -> None:
    """Make a call for each name, several at once in processes of their own; the first that fails ends all of it.

    Args:
        call: a function of a module, since fresh processes must find it. With one worker it is called here.
    """
    if workers < 2:
        for name in names:
            call(name)
        return
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, fresh, _begin_worker, (workers,)) as pool:
        with _undisturbed():
            futures = [pool.submit(call, name) for name in names]
        try:
            for future in futures:
                future.result()
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            if isinstance(error, KeyboardInterrupt):
                _stop_workers()
            raise


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Processes that are started within it do not mind Ctrl-C until they say what it shall do to them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _begin_worker(workers: int) -> None:
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # between notebooks; in one, `fairlib.book.kernels` stops it
    _share_cores(workers)


def _stop_workers() -> None:
    while workers := multiprocessing.active_children():  # one that is only just starting does not listen yet
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                if worker.pid:
                    os.kill(worker.pid, signal.SIGINT)
        time.sleep(0.2)


def _share_cores(workers: int) -> None:
    """A worker's kernels take a share of the cores, unless whoever called has said how many to take."""
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))


def finished(jobs: Sequence[Job]) -> list[Path]:
    """The folders of jobs that were all run, with the code as it is now.

    Raises:
        fairlib.book.runs.RunError: some were not; the message says how many, and which is the first.
    """
    plans = [(job, *runs.plan(*job)) for job in jobs]
    missing = [(job, folder, why) for job, folder, why in plans if why]
    if missing or not jobs:
        first = f": {missing[0][1].name} ({missing[0][2]})" if missing else ""
        raise runs.RunError(
            f"{len(missing)} of the study's {len(jobs)} runs are not there{first}. Run the study first."
        )
    return [folder for _, folder, _ in plans]


def _run(chapter: str, values: dict[str, Any], force: bool) -> dict[str, Any]:
    started = time.monotonic()
    try:
        folder, why = runs.plan(chapter, values, force)
        if why:
            folder = runs.run(chapter, values, force)
        result = {"status": "run" if why else "reused", "folder": str(folder), "why": why}
    except KeyboardInterrupt:
        if multiprocessing.parent_process() is None:
            raise
        os._exit(130)  # else a worker would go on with the next
    except Exception as error:  # whatever it is, the others go on, and the table tells
        result = {"status": "failed", "folder": "", "why": told_error(error)}
    return {**result, "duration_s": round(time.monotonic() - started, 1)}


def told_error(error: Exception) -> str:
    """An error in one line: a sentence of fairlib's own as it is, another with its kind."""
    words = " ".join(str(error).split())
    return words if type(error).__module__.startswith("fairlib") else f"{type(error).__name__}: {words}"


def failures(rows: Sequence[Mapping[str, Any]]) -> str:
    """What failed and why, as a table for a terminal; empty where nothing did.

    Example:
        >>> print(failures([{"chapter": "c", "parameters": {"seeds": 1, "force": False}, "status": "failed",
        ...                  "why": "no such layer"}]))
        1 of 1 failed:
          c --seeds 1
            no such layer
    """
    failed = [row for row in rows if row["status"] == "failed"]
    if not failed:
        return ""
    lines = [f"{len(failed)} of {len(rows)} failed:"]
    for row in failed:
        words = [word for name, value in row["parameters"].items() if name != "force" for word in option(name, value)]
        lines += [f"  {' '.join([row['chapter'], *words])}", f"    {row['why']}"]
    return "\n".join(lines)
