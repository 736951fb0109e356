"""Half precision gives what single precision gives: also on processors whose grouped convolutions do not."""

import copy

import pytest
import torch

from fairlib.encoders import load_encoder
from fairlib.encoders.devices import exact_grouped_convolutions


class Positional(torch.nn.Module):
    """An encoder's positional convolution, its weight parametrised as `transformers` has it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.utils.parametrizations.weight_norm(
            torch.nn.Conv1d(192, 192, 32, padding=16, groups=16), dim=2
        )

    def forward(self, frames):
        return self.conv(frames)


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
