"""CTC probes of all layers at once: training, greedy decoding."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from fairlib.base.progress import steps
from fairlib.encoders.devices import half_precision_of_gradients
from fairlib.encoders.extraction import length_batches
from fairlib.probes.frames import STATISTICS_FROM, StoredFrames, StreamedFrames
from fairlib.probes.text import greedy_text, letters

LEAST_STEPS = 600  # a small corpus is passed over more often: CTC needs some hundred steps to get off the ground
_RENORMALISE = 4  # time steps between two rescalings of the forward and backward probabilities


def fit_ctc(
    frames: StoredFrames | StreamedFrames | list[list[np.ndarray]], texts: list[str], *, training: int, context: bool,
    seed: int, passes: int, seconds_per_batch: float, learning_rate: float, warm_up: float, clip: float, width: int,
    kernel: int, stride: int, device: str = "cpu",
) -> list[list[str]]:  # fmt: skip
    """Train one CTC probe a layer, all at once, on the first ``training`` utterances; decode the others.

    Args:
        frames: of every layer and utterance (frames of 20 ms); a list is per layer and utterance, ``[T, D]``.
        texts: one a utterance, from `plain_text`.
        stride: frames that are averaged into one before the head with context sees them.

    Returns:
        Per layer, the decoded text of each utterance after the first ``training``.
    """
    frames = StoredFrames(frames).held_on(device) if isinstance(frames, list) else frames
    stride = stride if context else 1
    spelled = [letters(text) for text in texts[:training]]
    alphabet = sorted(set().union(*spelled))
    codes = {letter: code for code, letter in enumerate(alphabet, start=1)}  # 0 is CTC's blank
    means, deviations = frames.statistics(np.linspace(0, training - 1, min(training, STATISTICS_FROM)).astype(int))
    scales = [1 / one.clamp(min=1e-4) for one in deviations]
    stack = CTCStack(frames.widths, len(alphabet) + 1, context, width, kernel, seed).to(device)
    optimizer = torch.optim.Adam(stack.parameters(), lr=learning_rate)
    lengths = -(-frames.lengths // stride)
    half = half_precision_of_gradients(device) or torch.float32

    def scores(rows: list[int], time: int, packed: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        held = torch.from_numpy(lengths[rows]).to(device)
        packed = [layer.to(device, non_blocking=True) for layer in packed]
        return stack(_batch(packed, frames.lengths[rows], time, stride, means, scales, half), held).float(), held

    batches = _batches(lengths[:training], frames_per_batch(seconds_per_batch, stride))
    passes = max(passes, -(-LEAST_STEPS // len(batches)))
    total, step = passes * len(batches), 0
    for number in steps(f"training CTC probes of {len(frames.widths)} layers", range(passes), unit="passes"):
        order = [batches[index] for index in np.random.default_rng([seed, number]).permutation(len(batches))]
        for (rows, time), packed in zip(order, frames.batches([rows for rows, _ in order])):
            step += 1
            progress = step / total
            rate = progress / warm_up if progress < warm_up else (1 - progress) / (1 - warm_up)
            optimizer.param_groups[0]["lr"] = learning_rate * rate
            spoken = [torch.tensor([codes[letter] for letter in spelled[row]]) for row in rows]
            targets, target_lengths = pad_sequence(spoken, batch_first=True), torch.tensor([len(t) for t in spoken])
            logits, held = scores(rows, time, packed)
            _, gradient = ctc_loss(logits.detach(), targets.to(device), held, target_lengths.to(device))
            optimizer.zero_grad()
            logits.backward(gradient / target_lengths.sum())
            stack.clip_gradients(clip)
            optimizer.step()

    testing = _batches(lengths[training:], frames_per_batch(seconds_per_batch, stride))
    testing = [([training + row for row in rows], time) for rows, time in testing]
    decoded: list[list[str]] = [[""] * (len(texts) - training) for _ in frames.widths]
    with torch.inference_mode():
        for (rows, time), packed in zip(testing, frames.batches([rows for rows, _ in testing])):
            for layer, found in enumerate(_read(*scores(rows, time, packed), alphabet)):
                for row, text in zip(rows, found):
                    decoded[layer][row - training] = text
    return decoded


def _read(logits: torch.Tensor, lengths: torch.Tensor, alphabet: list[str]) -> list[list[str]]:
    """Each layer's text of every utterance of a batch, from logits ``[layers, B, T, V]``."""
    best, held = logits.argmax(dim=-1).cpu().numpy(), lengths.tolist()
    return [[greedy_text(path[:time], alphabet) for path, time in zip(paths, held)] for paths in best]


def frames_per_batch(seconds: float, stride: int) -> int:
    return int(seconds * 50) // stride


def passes_of(durations_s: np.ndarray, passes: int, seconds_per_batch: float) -> int:
    """How often `fit_ctc` passes over training speech of these durations."""
    batches = _batches(np.ceil(durations_s * 50).astype(int), frames_per_batch(seconds_per_batch, 1))
    return max(passes, -(-LEAST_STEPS // len(batches)))


class CTCStack(torch.nn.Module):
    """CTC heads of all layers, nothing shared: every parameter is ``[layers, ...]``.

    Linear: one frame to character scores. Context: two convolutions over time, each with GELU, then the scores. Layers
    of equal width start from equal weights (uniform within one over the root of the fan-in, as torch's convolutions
    do), so that they differ by their features only.

    Args:
        widths: of each layer's features; narrower layers come padded to the widest.
    """

    def __init__(self, widths: list[int], outputs: int, context: bool, width: int, kernel: int, seed: int):
        super().__init__()
        self.layers, self.widest, self.kernel = len(widths), max(widths), kernel if context else 1
        sizes = (
            [(kernel, None, width), (kernel, width, width), (1, width, outputs)] if context else [(1, None, outputs)]
        )
        self.weights, self.biases = torch.nn.ParameterList(), torch.nn.ParameterList()
        for number, (taps, inputs, results) in enumerate(sizes):
            weight = torch.zeros(self.layers, taps, inputs or self.widest, results)
            bias = torch.zeros(self.layers, 1, results)
            for layer, own in enumerate(widths):
                fan = inputs or own
                draw = torch.Generator().manual_seed(1000 * seed + number)
                bound = (taps * fan) ** -0.5
                weight[layer, :, :fan] = (2 * torch.rand(taps, fan, results, generator=draw) - 1) * bound
                bias[layer] = (2 * torch.rand(results, generator=draw) - 1) * bound
            self.weights.append(torch.nn.Parameter(weight.flatten(1, 2)))  # [L, taps * inputs, results]
            self.biases.append(torch.nn.Parameter(bias))

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Standardised frames ``[L, B, T, widest D]``, zero beyond their lengths, to scores ``[L, B, T, outputs]``."""
        layers, batch, time, _ = frames.shape
        inside = (torch.arange(time, device=frames.device) < lengths[:, None])[None, :, :, None].to(frames.dtype)
        hidden = frames
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases)):
            last = number == len(self.weights) - 1
            if not last:  # a convolution is a product with the neighbouring frames side by side
                padded = functional.pad(hidden, (0, 0, self.kernel // 2, self.kernel // 2))
                hidden = torch.cat([padded[:, :, tap : tap + time] for tap in range(self.kernel)], dim=3)
            product = torch.baddbmm(bias.to(hidden.dtype), hidden.flatten(1, 2), weight.to(hidden.dtype))
            hidden = product.view(layers, batch, time, -1)
            if not last:
                # Zero again beyond the end, so that an utterance ends alike in any batch.
                hidden = functional.gelu(hidden) * inside
        return hidden

    @torch.no_grad()
    def clip_gradients(self, largest: float) -> None:
        """Clip each layer's gradient by its own norm: clipping them together would couple the probes."""
        grads = [parameter.grad.view(self.layers, -1) for parameter in self.parameters()]
        norm = sum(grad.square().sum(dim=1) for grad in grads).sqrt()
        for grad in grads:
            grad.mul_((largest / (norm + 1e-6)).clamp(max=1.0)[:, None])


@torch.no_grad()
def ctc_loss(
    logits: torch.Tensor, targets: torch.Tensor, lengths: torch.Tensor, target_lengths: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """CTC loss and its gradient, for layers that share their targets.

    Graves et al. 2006, equations 6 to 16, with rescaled probabilities instead of logarithms, all utterances and layers
    side by side: on a processor several times faster than torch's, which goes state by state. A text that does not fit
    its frames has no loss and no gradient.

    Unlearned scores would let the likely beginnings run ahead of the likely ends, or lag behind, until their products
    leave single precision. So each step to the next state is weighed by a constant that brings the beginnings to their
    end in time; all paths take as many of these steps, so that nothing else changes.

    Args:
        logits: ``[L, B, T, V]``; 0 is the blank.
        targets: ``[B, S]``, padded with anything.
        lengths: frames of each utterance ``[B]``.
        target_lengths: characters of each text ``[B]``.

    Returns:
        Negative log-likelihoods ``[L, B]`` and their gradients by the logits ``[L, B, T, V]``.

    Example:
        >>> frames, length = torch.tensor([2]), torch.tensor([1])
        >>> loss, gradient = ctc_loss(torch.zeros(1, 1, 2, 2), torch.tensor([[1]]), frames, length)
        >>> loss.exp()  # of the four paths, three spell the character
        tensor([[1.3333]])
    """
    if logits.is_cuda:
        return _torch_ctc_loss(logits, targets, lengths, target_lengths)
    steps, classes = logits.shape[2:]
    targets = torch.where(torch.arange(targets.shape[1], device=targets.device) < target_lengths[:, None], targets, 0)
    probabilities = logits.softmax(dim=-1).transpose(0, 1)  # [B, L, T, V]
    beyond = (torch.arange(steps, device=lengths.device) >= lengths[:, None])[:, None, :, None]
    # Frames beyond the end are certain blanks: they lead every finished path, and no other, to the last blank.
    certain = functional.one_hot(torch.zeros((), dtype=torch.long, device=logits.device), classes).float()
    extended = torch.where(beyond, certain, probabilities).transpose(1, 2)  # [B, T, L, V]
    loss, occupancy = _forward_backward(extended, targets, target_lengths)
    total = occupancy.sum(dim=-1, keepdim=True)
    faint = torch.nonzero((total <= 1e-30).flatten(1).any(dim=1))[:, 0]
    if len(faint):
        # Where the constant did not help, double precision does.
        loss[faint], exact = _forward_backward(extended[faint].double(), targets[faint], target_lengths[faint])
        exact_total = exact.sum(dim=-1, keepdim=True)
        occupancy[faint] = (exact / exact_total.clamp(min=1e-300)).float()
        total[faint] = (exact_total > 0).float()
    possible = (total > 0).all(dim=1, keepdim=True)
    occupancy = (occupancy / total.clamp(min=torch.finfo(total.dtype).tiny)).float().transpose(1, 2)
    gradient = torch.where(possible.transpose(1, 2) & ~beyond, probabilities - occupancy, 0)
    return torch.where(possible[:, 0, :, 0], loss, 0).T.float(), gradient.transpose(0, 1)


def _torch_ctc_loss(logits, targets, lengths, target_lengths) -> tuple[torch.Tensor, torch.Tensor]:
    """The same by torch, which on a GPU goes through all states at once."""
    layers, batch = logits.shape[:2]
    with torch.enable_grad():
        scores = logits.detach().flatten(0, 1).requires_grad_()
        loss = functional.ctc_loss(
            scores.log_softmax(dim=-1).transpose(0, 1), targets.repeat(layers, 1), lengths.repeat(layers),
            target_lengths.repeat(layers), reduction="none", zero_infinity=True,
        )  # fmt: skip
        (gradient,) = torch.autograd.grad(loss.sum(), scores)
    return loss.detach().view(layers, batch), gradient.view_as(logits)


def _forward_backward(probabilities, targets, target_lengths) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses ``[B, L]``, and the weight of the paths through each character, up to a factor, ``[B, T, L, V]``."""
    batch, steps, layers, classes = probabilities.shape
    states = 2 * targets.shape[1] + 1  # blank, character, blank, ..., blank
    kind = {"dtype": probabilities.dtype, "device": probabilities.device}
    smallest = 1e-300 if probabilities.dtype == torch.float64 else 1e-37
    symbols = torch.zeros(batch, states, dtype=torch.long, device=probabilities.device)
    symbols[:, 1::2] = targets
    there = torch.arange(states, device=symbols.device) <= 2 * target_lengths[:, None]
    to_symbols = (functional.one_hot(symbols, classes) * there[:, :, None]).to(kind["dtype"])  # [B, states, V]
    skip = torch.zeros(batch, 1, states, **kind)  # from the character before: not into a blank, nor between equals
    skip[:, 0, 2:] = ((symbols[:, 2:] != 0) & (symbols[:, 2:] != symbols[:, :-2])).to(kind["dtype"])
    emitted = torch.bmm(probabilities.flatten(1, 2), to_symbols.transpose(1, 2))
    emitted = emitted.view(batch, steps, layers, states).unbind(1)

    weight = _step_weight(probabilities, to_symbols, target_lengths)[:, :, None]  # [B, L, 1], of one step
    skip = skip * weight**2

    now = torch.zeros(batch, layers, states + 2, **kind)  # two empty states before the first
    now[:, :, 1] = 1
    inner, nearer, farther = now[:, :, 2:], now[:, :, 1:-1], now[:, :, :-2]
    start = skip.clone()
    start[:, :, 1:2] = weight**2
    reach = torch.empty(batch, layers, states, **kind)
    forward = torch.empty(batch, steps, layers, states, **kind)
    log_scale = torch.zeros(batch, layers, dtype=torch.float64, device=symbols.device)
    for step, (emission, kept) in enumerate(zip(emitted, forward.unbind(1))):
        torch.addcmul(inner, nearer, weight, out=reach)
        reach.addcmul_(farther, skip if step else start)
        torch.mul(reach, emission, out=inner)
        if step == 0:
            now[:, :, 1] = 0
        if step % _RENORMALISE == 0:
            scale = inner.sum(dim=-1, keepdim=True).clamp_(min=smallest)
            inner.div_(scale)
            log_scale += scale[:, :, 0].double().log()
        kept.copy_(inner)

    last, ends = _ends(inner, weight, target_lengths)
    loss = -(log_scale + (inner * ends).sum(dim=-1).double().log())
    loss += (last[:, :, 0] + 1) * weight[:, :, 0].double().log()
    _backward(emitted, forward, ends, weight, skip, smallest)
    return loss, torch.bmm(forward.flatten(1, 2), to_symbols).view(batch, steps, layers, classes)


def _ends(now, weight, target_lengths) -> tuple[torch.Tensor, torch.Tensor]:
    """Where paths may end, ``[B, L, 1]`` the last blank, and how much each state ``[B, L, S]`` counts as an end."""
    batch, layers, _ = now.shape
    ends = torch.zeros_like(now)
    last = target_lengths[:, None, None].expand(batch, layers, 1) * 2
    ends.scatter_(2, last, 1.0)
    ends.scatter_(2, (last - 1).clamp(min=0), weight)  # one step short of the last blank
    return last, ends


def _backward(emitted, forward, reach, weight, skip, smallest: float) -> None:
    """Multiply the forward weights ``[B, T, L, S]``, in place, by those of all paths that go on from a state."""
    batch, layers, states = reach.shape
    after = reach.new_zeros(batch, layers, states + 2)  # two empty states behind the last
    inner, nearer, farther = after[:, :, :-2], after[:, :, 1:-1], after[:, :, 2:]
    skip = functional.pad(skip[:, :, 2:], (0, 2))
    for step, (emission, kept) in enumerate(zip(reversed(emitted), reversed(forward.unbind(1)))):
        kept.mul_(reach)
        torch.mul(reach, emission, out=inner)
        if step % _RENORMALISE == 0:
            inner.div_(inner.sum(dim=-1, keepdim=True).clamp_(min=smallest))
        torch.addcmul(inner, nearer, weight, out=reach)
        reach.addcmul_(farther, skip)


def _step_weight(probabilities, to_symbols, target_lengths) -> torch.Tensor:
    """The constant for which paths among average frames come to the last state with the last frame, ``[B, L]``.

    With blanks of probability b and characters of probability c at every frame, and w for a step, the weight of all
    paths grows by the largest eigenvalue of [[b, b w], [c w, c (1 + w w)]] a frame, and they advance by its logarithm's
    derivative with respect to log w states a frame.
    """
    average = probabilities.mean(dim=1)  # [B, L, V]
    texts = to_symbols[:, 1::2].sum(dim=1)
    blank = average[:, :, :1].clamp(min=1e-6)
    character = (average * texts[:, None]).sum(dim=-1, keepdim=True) / target_lengths[:, None, None].clamp(min=1)
    character = character.clamp(min=1e-6)
    log_weights = torch.linspace(-8, 12, 81, device=average.device, dtype=average.dtype)
    weights = log_weights.exp()
    trace = blank + character * (1 + weights**2)
    determinant = blank * character
    growth = ((trace + (trace**2 - 4 * determinant).clamp(min=0).sqrt()) / 2).log()  # [B, L, weights], convex
    speed = (growth[:, :, 2:] - growth[:, :, :-2]) / (log_weights[2] - log_weights[0])
    wanted = (2 * target_lengths / probabilities.shape[1])[:, None, None]
    return weights[1 + (speed - wanted).abs().argmin(dim=-1)]


def _batch(packed, lengths: np.ndarray, time: int, stride: int, means, scales, dtype: torch.dtype) -> torch.Tensor:
    """Standardised ``[L, B, time, widest D]``, zeros where an utterance or a layer's width ends.

    Each ``stride`` frames are averaged; a rest at the end is completed with its last frame.
    """
    device, widest = packed[0].device, max(len(mean) for mean in means)
    starts = np.cumsum([0, *lengths[:-1]])
    within = np.minimum(np.arange(time * stride), lengths[:, None] - 1)
    place = torch.from_numpy(starts[:, None] + within).to(device)
    inside = torch.from_numpy(np.arange(time) < -(-lengths[:, None] // stride)).to(device)[:, :, None]
    batch = torch.zeros(len(packed), len(lengths), time, widest, dtype=dtype, device=device)
    for index, layer in enumerate(packed):
        values = layer[place].float().view(len(lengths), time, stride, -1).mean(dim=2)
        values = (values - means[index].to(device)) * scales[index].to(device)
        batch[index, :, :, : values.shape[2]] = torch.where(inside, values, 0.0)
    return batch


def _batches(lengths: np.ndarray, per_batch: int) -> list[tuple[list[int], int]]:
    """Rows of similar length and the length they are padded to; at most ``per_batch`` frames (one utterance at least).

    Padded lengths come from a coarse scale: matrix kernels are prepared anew for each shape, which costs more than some
    frames of padding.
    """
    scale = np.unique(np.ceil(lengths.max() / 1.08 ** np.arange(60)).astype(int))
    padded = scale[np.searchsorted(scale, lengths)]
    order = np.argsort(lengths, kind="stable")
    return [
        (rows[batch].tolist(), int(time))
        for time in np.unique(padded)
        for rows in [order[padded[order] == time]]
        for batch in length_batches(padded[rows], per_batch)
    ]
