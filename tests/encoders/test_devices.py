"""Half precision gives what single precision gives: also on processors whose grouped convolutions do not."""

import copy
from types import SimpleNamespace

import pytest
import torch

from fairlib.encoders import load_encoder
from fairlib.encoders.devices import Stopwatch, exact_grouped_convolutions, half_precision, half_precision_of_gradients


class Positional(torch.nn.Module):
    """An encoder's positional convolution, its weight parametrised as `transformers` has it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.utils.parametrizations.weight_norm(
            torch.nn.Conv1d(192, 192, 32, padding=16, groups=16), dim=2
        )

    def forward(self, frames):
        return self.conv(frames)


def test_a_stopwatch_asks_the_gpu_that_computes(monkeypatch):
    """Stands in for a machine with two: on the first, copies from the second would seem to have arrived at once."""
    asked = []
    event = SimpleNamespace(record=lambda stream=None: asked.append(stream), elapsed_time=lambda other: 2000)
    monkeypatch.setattr(torch.cuda, "Event", lambda enable_timing: event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: f"stream of {device}")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device=None: asked.append(str(device)))
    with (stopwatch := Stopwatch("cuda:1")):
        pass
    assert stopwatch.seconds() == 2
    assert asked == ["stream of cuda:1", "stream of cuda:1", "cuda:1"]


def test_a_gpu_that_would_emulate_bfloat16_computes_in_float16(monkeypatch):
    """As V100 and T4 would."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert half_precision("cuda:0") == torch.float16
    assert half_precision_of_gradients("cuda:0") is None


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    one, other = one.detach().float(), other.detach().float()
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16], ids=["autocast", "half weights"])
def test_a_grouped_convolution_and_its_gradient_are_right_in_half_precision(weights):
    torch.manual_seed(0)
    plain, frames = Positional(), torch.randn(2, 192, 100)
    ours = copy.deepcopy(plain).to(weights)
    exact_grouped_convolutions(ours)
    with torch.autocast("cpu", torch.bfloat16, enabled=weights == torch.float32):
        given = ours(frames.to(weights))
    assert given.dtype == weights and distance(given, plain(frames)) < 0.02
    given.float().square().sum().backward()
    plain(frames).square().sum().backward()
    for mine, theirs in zip(ours.parameters(), plain.parameters()):
        assert distance(mine.grad, theirs.grad) < 0.05


def test_an_encoder_in_half_precision_gives_its_layers_on_a_processor():
    audio = torch.randn(16000, generator=torch.Generator().manual_seed(0)).numpy() * 0.1
    single, half = (
        load_encoder("pocket-hubert", device="cpu", dtype=dtype).layers_of([audio]) for dtype in ("float32", "bfloat16")
    )
    assert distance(half["0"][0], single["0"][0]) < 0.1
