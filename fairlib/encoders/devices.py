"""Where to compute, and in which precision."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator

import torch


def best_device() -> str:
    """``cuda``, ``mps`` or ``cpu``, whichever is there, in that order."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def with_float64(device: str) -> str:
    """The device, or ``cpu`` where it has no double precision, as MPS has none.

    Example:
        >>> with_float64("mps"), with_float64("cuda:1")
        ('cpu', 'cuda:1')
    """
    return "cpu" if torch.device(device).type == "mps" else device


def attention(family: str) -> str | None:
    """Which of transformers' attentions trains an encoder of this family fastest here."""
    if family == "wavlm":
        return None  # it has one of its own
    # On a processor, at a pocket encoder's width, the plain attention takes two thirds of the fused one's time.
    return "sdpa" if torch.cuda.is_available() else "eager"


def half_precision(device: str) -> torch.dtype | None:
    """The half precision that the device computes in at speed, or None where it would only emulate it."""
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if kind == "cpu":
        return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else None
    return None


def half_precision_of_gradients(device: str) -> torch.dtype | None:
    """`half_precision` if gradients fit its range: those in float16 vanish or overflow where nobody scales them."""
    half = half_precision(device)
    return None if half == torch.float16 else half


class Stopwatch:
    """Seconds for which the device computed within it; on a GPU by its own clock, without waiting for it.

    Example:
        >>> stopwatch = Stopwatch("cpu")
        >>> with stopwatch:
        ...     _ = torch.ones(3).sum()
        >>> stopwatch.seconds() > 0
        True
    """

    def __init__(self, device: str) -> None:
        self._device, self._seconds = torch.device(device), 0.0
        self._cuda = self._device.type == "cuda"
        self._spans: list[tuple] = []

    def mark(self) -> torch.cuda.Event | None:
        """Now: on a GPU, in its order of work."""
        if not self._cuda:
            return None
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))  # without it, of the first GPU, whichever computes
        return event

    def __enter__(self) -> None:
        self._begun = self.mark() or time.perf_counter()

    def __exit__(self, *_) -> None:
        if self._cuda:
            self._spans.append((self._begun, self.mark()))
        else:
            self._seconds += time.perf_counter() - self._begun

    def seconds(self) -> float:
        if self._cuda:
            torch.cuda.synchronize(self._device)
        return self._seconds + sum(begun.elapsed_time(ended) for begun, ended in self._spans) / 1000


@contextlib.contextmanager
def one_thread_if(little: bool) -> Iterator[None]:
    """Within it torch computes in one thread, if there is little to compute: several would wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if little else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def exact_grouped_convolutions(model: torch.nn.Module) -> None:
    """Have a model's grouped convolutions, as the positional one, compute in single precision, whatever the rest does.

    For processors: on those with AMX, oneDNN (of torch 2.14) gives garbage for grouped one-dimensional convolutions in
    bfloat16. Training then goes on, slowly, to a bad end.
    """
    for convolution in model.modules():
        if isinstance(convolution, torch.nn.Conv1d) and convolution.groups > 1:
            convolution.float()
            convolution.forward = functools.partial(_exact, convolution.forward)


def _exact(forward: Callable, frames: torch.Tensor) -> torch.Tensor:
    with torch.autocast(frames.device.type, enabled=False):
        return forward(frames.float()).to(frames.dtype)
