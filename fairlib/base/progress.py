"""Progress: which stage a long call is in, how far it is and how long it took, told on standard error meanwhile.

Whatever takes long says so by `stage` or `steps`. Nobody hears it, unless someone listens (`listening`): the command
line does, and a chapter's run. They name a file in ``FAIRLIB_PROGRESS``, to which kernels and worker processes add
their lines too, so that nothing of it gets into a notebook.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from pathlib import Path
from typing import IO, Any, TypeVar

FILE = "FAIRLIB_PROGRESS"
EVERY_S = 5.0  # between lines about one stage, where they cannot replace each other
LONG_S = 1.0  # a stage that took less is not worth a line of its own
TICK_S = 0.2

_T = TypeVar("_T")
_numbers = itertools.count()


@contextlib.contextmanager
def stage(what: str, total: int = 0, unit: str = "") -> Iterator[Callable[..., None]]:
    """A stage of something long; what is returned is called with each number of ``unit`` that is done, and a note.

    Example:
        >>> with stage("encoding", total=3, unit="utterances") as done:
        ...     done(2)
        ...     done()
    """
    file = os.environ.get(FILE)
    told: dict[str, Any] = {
        "stage": f"{os.getpid()}-{next(_numbers)}",
        "what": what,
        "total": total,
        "unit": unit,
        "done": 0,
    }

    def tell(**more: object) -> None:
        told.update(more)
        if file and (told["done"] == 0 or "end" in more or time.time() - told.get("written", 0) > TICK_S / 2):
            told["written"] = time.time()
            with contextlib.suppress(OSError):  # whoever listened is gone; the work goes on
                descriptor = os.open(file, os.O_WRONLY | os.O_APPEND)
                os.write(descriptor, f"{json.dumps(told)}\n".encode())  # in one piece, whoever else writes there
                os.close(descriptor)

    tell(started=time.time())
    try:
        yield lambda number=1, note="": tell(done=told["done"] + number, note=note or told.get("note", ""))
    except BaseException:
        tell(end="broken")
        raise
    tell(end="done", seconds=time.time() - told["started"])


def steps(what: str, things: Iterable[_T], total: int | None = None, unit: str = "") -> Generator[_T]:
    """Yield ``things``, and tell how many of them are done.

    Example:
        >>> [2 * number for number in steps("doubling", [1, 2])]
        [2, 4]
    """
    number = total if total is not None else len(things) if isinstance(things, Sized) else 0
    with stage(what, number, unit) as done:
        try:
            for thing in things:
                yield thing
                done()
        finally:  # of what a pool was given, the rest is not made when nobody goes on
            getattr(things, "close", lambda: None)()


@contextlib.contextmanager
def listening(stream: IO[str] | None = None) -> Iterator[None]:
    """Within it, stages of this process and of those that it starts are told on a stream, standard error by default.

    A terminal sees one line that goes on; elsewhere there is a line every few seconds. Each stage that took a second
    or more leaves one line when it ends. Within another `listening` it does nothing.
    """
    if os.environ.get(FILE):
        yield
        return
    descriptor, name = tempfile.mkstemp(prefix="fairlib-progress-")
    os.close(descriptor)
    os.environ[FILE] = name
    over = threading.Event()
    teller = Teller(stream or sys.stderr)

    def follow() -> None:
        with open(name, encoding="utf-8") as written:
            left = ""
            while True:
                last = over.wait(TICK_S)
                *lines, left = (left + written.read()).split("\n")
                for line in lines:
                    teller.hear(json.loads(line))
                teller.tick()
                if last:
                    return

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    try:
        yield
    finally:
        over.set()
        follower.join()
        teller.clear()
        os.environ.pop(FILE, None)
        Path(name).unlink(missing_ok=True)


class Teller:
    """Writes what it hears of stages on a stream."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream, self._live = stream, stream.isatty()
        self._open: dict[str, dict] = {}  # stages that have not ended, the one last heard of at the end
        self._shown, self._last = "", time.time()

    def hear(self, told: dict) -> None:
        self._open.pop(told["stage"], None)
        if "end" not in told:
            self._open[told["stage"]] = told
        elif told["end"] == "done" and told["seconds"] >= LONG_S:
            self.clear()
            self._write(f"{line(told, told['seconds'])}\n")

    def tick(self) -> None:
        """Tell of the stage last heard of, if it is time."""
        if not self._open:
            return self.clear()
        told = next(reversed(self._open.values()))
        now = time.time()
        text = line(told, now - told["started"])
        if self._live:
            text = text[: os.get_terminal_size(self._stream.fileno()).columns - 1] if self._stream.isatty() else text
            if text != self._shown:
                self._write(f"\r{text}{' ' * (len(self._shown) - len(text))}")
                self._shown = text
        elif now - self._last >= EVERY_S:
            self._write(f"{text}\n")

    def clear(self) -> None:
        """Take the line that goes on from the terminal."""
        if self._shown:
            self._write(f"\r{' ' * len(self._shown)}\r")
            self._shown = ""

    def _write(self, text: str) -> None:
        self._last = time.time()
        with contextlib.suppress(OSError, ValueError):  # whoever read it is gone; the work goes on
            self._stream.write(text)
            self._stream.flush()


def line(told: dict, seconds: float) -> str:
    """A stage in one line.

    Example:
        >>> line({"what": "encoding", "done": 2, "total": 3, "unit": "utterances"}, 4.4)
        'encoding: 2 of 3 utterances, 4 s'
    """
    far = f"{told['done']:,} of {told['total']:,}{told['unit'] and ' '}{told['unit']}, " if told["total"] else ""
    note = f"{told['note']}, " if told.get("note") else ""
    return f"{told['what']}: {far}{note}{seconds:.0f} s"
