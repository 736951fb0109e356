"""Beyond one process: calls that any `concurrent.futures` executor makes, and that outlive a worker.

Local processes (`local_processes`, one a device), Slurm through ``submitit.AutoExecutor``, Dask through
``Client.get_executor()``. What is called must be idempotent, as everything here is that leaves its result in a file: a
call whose worker died is made once more.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor
from contextlib import nullcontext
from typing import Any

from fairlib.base.progress import stage

TRIES = 3


class WorkerError(RuntimeError):
    """Workers died, and no other made their calls; the message says what to do."""


def run_calls(function: Callable, calls: Sequence[Sequence], executor: Executor | None = None, what: str = "") -> list:
    """Make ``function(*arguments)`` for each of ``calls``, and give the results in their order.

    Probes and chapters go the same way as shards, for their outcomes lie in the store:
    ``run_calls(fairlib.probe_speakers, [("pocket-hubert", "speechocean762"), ...], executor)``.

    Args:
        function: of a module that the workers can import.
        calls: the arguments of each call.
        executor: whatever has ``submit``; without one the calls are made here, one after the other. With submitit all
            calls become one job array.
        what: names the calls where their progress is told.

    Raises:
        WorkerError: a call was lost with its worker three times, or there are no workers left.
        Exception: the first that a call itself raised, after all others have come to their end.

    Example:
        >>> run_calls(max, [(1, 2), (4, 3)])
        [2, 4]
    """
    with stage(what or "calls", len(calls)) as done:
        return _run_calls(function, calls, executor, done)


def _run_calls(function: Callable, calls: Sequence[Sequence], executor: Executor | None, done: Callable) -> list:
    if executor is None:
        results = []
        for arguments in calls:
            results.append(function(*arguments))
            done()
        return results
    results, waiting, failure = [None] * len(calls), list(range(len(calls))), None
    for _ in range(TRIES):
        lost: list[int] = []
        try:
            with getattr(executor, "batch", nullcontext)():
                futures = [(number, executor.submit(function, *calls[number])) for number in waiting]
        except BrokenExecutor as error:
            raise WorkerError(_told(len(waiting), len(calls), error)) from error
        for number, future in futures:
            try:
                results[number] = future.result()
                done()
            except Exception as error:
                if _worker_died(error):
                    lost.append(number)
                    reason: Any = error
                else:
                    failure = failure or error
        if failure is not None:
            raise failure
        if not lost:
            return results
        print(f"{len(lost)} of {len(calls)} calls were lost with their workers and are made again.", file=sys.stderr)
        waiting = lost
    raise WorkerError(_told(len(waiting), len(calls), reason)) from reason


def _worker_died(error: Exception) -> bool:
    """Whether the worker is to blame and not the call: the engines' own errors, by name, for they need not be here."""
    # FailedJobError is submitit's word for a call that raised, a subclass of its word for a job that died.
    names = [kind.__name__ for kind in type(error).__mro__]
    died = {"KilledWorker", "UncompletedJobError", "CancelledError", "FutureCancelledError"}
    return isinstance(error, BrokenExecutor) or (bool(died & set(names)) and "FailedJobError" not in names)


def _told(lost: int, of: int, error: Exception) -> str:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return (
        f"{lost} of {of} calls were lost with their workers ({reason}); what the others made is kept: give the workers "
        "more memory or time, and make the same call again."
    )


def local_processes(number: int | None = None) -> ProcessPoolExecutor:
    """An executor of worker processes on this machine: one a CUDA device, each of which sees its own alone.

    Args:
        number: processes; by default as many as there are devices. Without a GPU, processes share the cores.

    Example:
        >>> with local_processes(1) as executor:  # doctest: +SKIP
        ...     fairlib.extract(encoder, corpus, folder, frames=True, executor=executor)
    """
    import torch

    devices = torch.cuda.device_count()
    number = number or max(1, devices)
    context = multiprocessing.get_context("spawn")  # CUDA does not outlive a fork
    places = context.Queue()
    for place in range(number):
        places.put(place)
    threads = max(1, torch.get_num_threads() // number)
    return ProcessPoolExecutor(number, context, _settle, (places, devices, threads))


def _settle(places, devices: int, threads: int) -> None:
    """Begin a worker: take a device, before torch looks for them, and a share of the cores."""
    import os

    place = places.get()
    if devices:
        given = os.environ.get("CUDA_VISIBLE_DEVICES")  # Slurm's, say: others are other jobs'
        names = given.split(",") if given else [str(device) for device in range(devices)]
        os.environ["CUDA_VISIBLE_DEVICES"] = names[place % devices]
    import torch

    torch.set_num_threads(threads)
