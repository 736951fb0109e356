"""Kernels: a notebook executed by papermill in a kernel of its own, which is told, stopped and ended properly.

Three things are ours, for neither papermill nor nbclient does them:

- Ctrl-C reaches the kernel, which is in a process group of its own, and is answered when the kernel has gone.
- A kernel that is idle is not interrupted at its end. `jupyter_client` begins every shutdown with an interrupt; a
  kernel that has only just sent its last reply, and is not back in its loop, prints it as an error.
- What a kernel writes to its own standard error (not that of its cells) is told at its end, and is the reason where it
  dies.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError

from fairlib.base import progress

if TYPE_CHECKING:
    from nbformat import NotebookNode

KERNEL_STARTS = 3  # several kernels starting at once can claim the same port; nothing else is tried again
GRACE_S = 5.0  # from an interrupt to the end of a kernel that does not heed it


class KernelError(RuntimeError):
    """A kernel did not start, or died; the message says what is known of it."""


class Stopped(Exception):
    """Ends the execution of a notebook between two cells, after Ctrl-C."""


class _Kernel(AsyncKernelManager):
    """A kernel that knows whether it is computing, and where its standard error goes."""

    words: IO[bytes] | None = None
    busy = False

    async def start_kernel(self, **settings: Any) -> None:  # type: ignore[override]  # as the class above has it
        await super().start_kernel(**settings, stderr=self.words)

    async def _async_interrupt_kernel(self) -> None:
        if self.busy:
            await super()._async_interrupt_kernel()

    def send(self, number: int) -> None:
        """Send the kernel's process group a signal, if there is one."""
        group = getattr(self.provisioner, "pgid", None)
        if group and self.has_kernel:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, number)


def execute_in_kernel(
    notebook: NotebookNode, output: Path, values: Mapping[str, Any], folder: Path, name: str
) -> NotebookNode:
    """Execute a notebook with these parameters, in ``folder``, and return it; ``output`` is written on the way.

    Args:
        name: of what is executed, for the lines that tell how far it is.

    Raises:
        KernelError: the kernel did not start, or died.
        papermill.PapermillExecutionError: a cell raised an error.
        KeyboardInterrupt: after Ctrl-C, when the kernel has gone.
    """
    logging.getLogger("papermill").addHandler(logging.NullHandler())  # what it would say of a kernel, we do
    for _ in range(KERNEL_STARTS):
        with tempfile.TemporaryFile() as words, _environment():
            try:
                done = _once(notebook, output, values, folder, name, words)
                sys.stderr.write(_all_words(words))
                return done
            except DeadKernelError:
                raise KernelError(f"its kernel died, often for want of memory{_last_words(words)}") from None
            except RuntimeError as error:
                if "Kernel died before replying to kernel_info" not in str(error):
                    raise
                told = _last_words(words)
    raise KernelError(f"its kernel did not start, {KERNEL_STARTS} times{told or '; look for full memory or disk'}")


def _once(notebook, output: Path, values, folder: Path, name: str, words: IO[bytes]) -> NotebookNode:
    import papermill
    from traitlets.config import Config

    kernels: list[_Kernel] = []

    class Kernel(_Kernel):  # nbclient makes it, and does not hand it out
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self.words = words
            kernels.append(self)

    with _interrupts(kernels) as asked, contextlib.ExitStack() as told:

        def begin(cell, cell_index: int) -> None:
            if asked:
                raise Stopped
            kernels[0].busy = True
            what = f"{name}, {_heading(notebook, cell_index)} (cell {cell_index + 1} of {len(notebook.cells) + 1})"
            told.enter_context(progress.stage(what))

        def end(cell, cell_index: int, execute_reply) -> None:
            kernels[0].busy = False
            told.close()

        try:
            return papermill.execute_notebook(
                notebook,
                output,
                parameters=dict(values),
                kernel_name="python3",
                cwd=folder,
                progress_bar=False,
                kernel_manager_class=Kernel,
                on_cell_execute=begin,
                on_cell_executed=end,
                # Else anyone on the same machine could listen in on the kernel, and it says so on every start.
                config=Config({"KernelManager": {"transport_encryption": "auto"}}),
            )
        except Exception:
            if asked:
                raise KeyboardInterrupt from None
            raise


def _heading(notebook: NotebookNode, index: int) -> str:
    """The heading under which a cell stands; papermill puts the parameters into a cell of their own."""
    texts = [cell.source for cell in notebook.cells[:index] if cell.cell_type == "markdown"]
    headings = re.findall(r"(?m)^#+ +(.*)", "\n".join(texts))
    return headings[-1] if headings else "beginning"


@contextlib.contextmanager
def _interrupts(kernels: list[_Kernel]) -> Iterator[list[int]]:
    """Pass Ctrl-C on to the kernel and note that it was asked for; a kernel that does not heed it is killed."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # signals are none of its business
        yield asked
        return

    def handle(number: int, frame: object) -> None:
        running = [kernel for kernel in kernels if kernel.has_kernel]
        if not running:
            raise KeyboardInterrupt
        if asked:
            return
        asked.append(number)
        for kernel in running:
            kernel.send(signal.SIGINT if kernel.busy else signal.SIGKILL)
            killers.append(threading.Timer(GRACE_S, kernel.send, (signal.SIGKILL,)))
            killers[-1].daemon = True
            killers[-1].start()

    killers: list[threading.Timer] = []
    before = signal.signal(signal.SIGINT, handle)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
        for killer in killers:
            killer.cancel()


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """What a chapter's kernel inherits: no progress bars, absolute folders, this environment's kernel."""
    before = dict(os.environ)
    os.environ["TQDM_DISABLE"] = "1"
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as `fairlib.__main__`
    os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # a package would like to draw bars of its own
    for folder in ("FAIRLIB_DATA", "FAIRLIB_STORE", "FAIRLIB_CACHE"):
        if os.environ.get(folder):
            os.environ[folder] = str(Path(os.environ[folder]).expanduser().resolve())
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _last_words(words: IO[bytes]) -> str:
    """The last line that a kernel wrote to its standard error: of a traceback, the error itself."""
    said = [line.strip() for line in _all_words(words).split("\n") if line.strip()]
    return f"; it said last: {said[-1]}" if said else ""


def _all_words(words: IO[bytes]) -> str:
    words.seek(0)
    return words.read().decode(errors="replace")
