"""CTC probes of all layers at once: training, greedy decoding."""

from __future__ import annotations

import sys

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from fairlib.devices import half_precision

LEAST_STEPS = 600  # a small corpus is passed over more often: CTC needs some hundred steps to get off the ground


def fit_ctc(
    frames: list[list[np.ndarray]], texts: list[str], *, training: int, context: bool, seed: int, passes: int,
    seconds_per_batch: float, learning_rate: float, warm_up: float, clip: float, width: int, kernel: int, stride: int,
    device: str = "cpu",
) -> list[list[str]]:  # fmt: skip
    """Train one CTC probe a layer, all at once, on the first ``training`` utterances; decode the others.

    Args:
        frames: per layer and utterance, ``[T, D]``; all layers have the same T (frames of 20 ms).
        texts: one a utterance, from `plain_text`.

    Returns:
        Per layer, the decoded text of each utterance after the first ``training``.
    """
    frames = _same_rate(frames)
    alphabet = sorted(set("".join(texts[:training])))
    codes = {character: code for code, character in enumerate(alphabet, start=1)}  # 0 is CTC's blank
    torch.manual_seed(seed)
    means, scales = _frame_statistics(frames, training)
    stack = CTCStack(
        [f[0].shape[1] for f in frames], len(alphabet) + 1, means, scales, context, width, kernel, stride
    ).to(device)
    optimizer = torch.optim.Adam(stack.parameters(), lr=learning_rate)
    lengths = np.array([len(utterance) for utterance in frames[0]])
    per_batch = int(seconds_per_batch * 50)
    half = half_precision(device)

    def forward(rows: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        batch = _pad(frames, rows).to(device, non_blocking=True)
        with torch.autocast(torch.device(device).type, half or torch.bfloat16, enabled=half is not None):
            logits = stack(batch)  # [L, B, T', V]
        return logits.float(), torch.from_numpy(stack.output_lengths(lengths[rows]))

    batches = _batches(lengths[:training], per_batch)
    passes = max(passes, -(-LEAST_STEPS // len(batches)))
    total, step = passes * len(batches), 0
    bar = tqdm(total=total, desc="train CTC probes", disable=not sys.stderr.isatty(), leave=False)
    for number in range(passes):
        for index in np.random.default_rng([seed, number]).permutation(len(batches)):
            rows = batches[index]
            step += 1
            progress = step / total
            rate = progress / warm_up if progress < warm_up else (1 - progress) / (1 - warm_up)
            optimizer.param_groups[0]["lr"] = learning_rate * rate
            logits, output_lengths = forward(rows)
            targets = [torch.tensor([codes[c] for c in texts[row] if c in codes]) for row in rows]
            target_lengths = torch.tensor([len(t) for t in targets])
            layers = len(frames)
            # Layers become part of the batch: one CTC call for all of them.
            loss = functional.ctc_loss(
                logits.log_softmax(dim=-1).flatten(0, 1).transpose(0, 1),
                torch.cat(targets).repeat(layers).to(device),
                output_lengths.repeat(layers),
                target_lengths.repeat(layers),
                reduction="none",
                zero_infinity=True,  # a text longer than its frames teaches nothing
            )
            loss = loss.sum() / target_lengths.sum()
            optimizer.zero_grad()
            loss.backward()
            stack.clip_gradients(clip)
            optimizer.step()
            bar.update()
    bar.close()

    decoded: list[list[str]] = [[""] * (len(texts) - training) for _ in frames]
    with torch.inference_mode():
        for rows in _batches(lengths[training:], per_batch):
            rows = [training + row for row in rows]
            logits, output_lengths = forward(rows)
            best = logits.argmax(dim=-1).cpu().numpy()
            for layer in range(len(frames)):
                for position, row in enumerate(rows):
                    path = best[layer, position, : output_lengths[position]]
                    changes = path[np.flatnonzero(np.diff(path, prepend=-1))]
                    decoded[layer][row - training] = "".join(alphabet[code - 1] for code in changes if code > 0)
    return decoded


class CTCStack(torch.nn.Module):
    """CTC heads of all layers as grouped convolutions: one group a layer, nothing shared.

    Linear: one frame to character scores. Context: a convolution that halves the frame rate, a second one, then the
    scores.
    """

    def __init__(self, widths, outputs, means, scales, context, width, kernel, stride):
        super().__init__()
        layers, self.widest = len(widths), max(widths)
        self.layers = layers
        self.register_buffer("mean", means)
        self.register_buffer("scale", scales)
        self.stride = stride if context else 1
        self.first = self.second = None
        hidden = self.widest
        if context:
            conv = torch.nn.Conv1d
            self.first = conv(layers * self.widest, layers * width, kernel, stride, kernel // 2, groups=layers)
            self.second = conv(layers * width, layers * width, kernel, 1, kernel // 2, groups=layers)
            hidden = width
        self.scores = torch.nn.Conv1d(layers * hidden, layers * outputs, 1, groups=layers)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """``[B, T, L, D]`` to ``[L, B, T', outputs]``."""
        batch, time = frames.shape[:2]
        hidden = (frames - self.mean) * self.scale
        # Padding is zero after standardising too, so that the end of a short utterance looks the same in any batch.
        hidden = hidden * (frames.abs().amax(dim=(2, 3), keepdim=True) > 0)
        hidden = hidden.reshape(batch, time, -1).transpose(1, 2)
        if self.first is not None:
            hidden = functional.gelu(self.second(functional.gelu(self.first(hidden))))
        return self.scores(hidden).reshape(batch, self.layers, -1, hidden.shape[2]).permute(1, 0, 3, 2)

    def output_lengths(self, lengths: np.ndarray) -> np.ndarray:
        return (lengths + self.stride - 1) // self.stride

    @torch.no_grad()
    def clip_gradients(self, largest: float) -> None:
        """Clip each layer's gradient by its own norm: clipping them together would couple the probes."""
        grads = [parameter.grad.view(self.layers, -1) for parameter in self.parameters()]
        norm = sum(grad.square().sum(dim=1) for grad in grads).sqrt()
        for grad in grads:
            grad.mul_((largest / (norm + 1e-6)).clamp(max=1.0)[:, None])


def _same_rate(frames: list[list[np.ndarray]]) -> list[list[np.ndarray]]:
    """Give every layer the frames of the longest: SEW's squeezed ones are repeated, a missing frame is made up."""
    longest = [max(len(layer[row]) for layer in frames) for row in range(len(frames[0]))]
    return [
        [
            utterance if len(utterance) == target else utterance[np.arange(target) * len(utterance) // target]
            for utterance, target in zip(layer, longest)
        ]
        for layer in frames
    ]


def _frame_statistics(frames: list[list[np.ndarray]], training: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and one over the deviation of each layer's training frames, ``[L, widest D]``, from up to 500 utterances."""
    widest = max(layer[0].shape[1] for layer in frames)
    means, scales = np.zeros((2, len(frames), widest), np.float32)
    rows = np.linspace(0, training - 1, min(training, 500)).astype(int)
    for index, layer in enumerate(frames):
        sample = np.concatenate([layer[row] for row in rows]).astype(np.float32)
        means[index, : sample.shape[1]] = sample.mean(axis=0)
        scales[index, : sample.shape[1]] = 1 / np.maximum(sample.std(axis=0), 1e-4)
    return torch.from_numpy(means), torch.from_numpy(scales)


def _pad(frames: list[list[np.ndarray]], rows: list[int]) -> torch.Tensor:
    """Float32 ``[B, longest T, L, widest D]``, zeros where an utterance or a layer's width ends."""
    longest, widest = max(len(frames[0][row]) for row in rows), max(layer[0].shape[1] for layer in frames)
    batch = torch.zeros(len(rows), longest, len(frames), widest)
    for index, layer in enumerate(frames):
        for position, row in enumerate(rows):
            utterance = layer[row]
            batch[position, : len(utterance), index, : utterance.shape[1]] = torch.from_numpy(np.array(utterance))
    return batch


def _batches(lengths: np.ndarray, per_batch: int) -> list[list[int]]:
    """Rows of similar length, at most ``per_batch`` frames with padding (one utterance at least)."""
    groups: list[list[int]] = []
    for row in np.argsort(lengths, kind="stable"):
        if groups and lengths[row] * (len(groups[-1]) + 1) <= per_batch:
            groups[-1].append(int(row))
        else:
            groups.append([int(row)])
    return groups
