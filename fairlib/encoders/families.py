"""Forward passes of the families: utterances to every layer's frames, batched where that is exact; and log-mel."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fairlib.corpora.audio import SAMPLE_RATE
from fairlib.encoders.checkpoints import BATCHED, LOGMEL, LOGMEL_COSINES, EncoderError, preprocessing

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig

    Layers = dict[str, list[torch.Tensor]]
    Run = Callable[[list[np.ndarray]], Layers]

# Seconds of speech, padding counted, that pass the convolutions at once: their values take most of the memory.
CONVOLVED_SECONDS = {"cpu": 20.0, "gpu": 120.0}


def batches_exactly(config) -> bool:
    """Whether a padded batch gives each utterance the layers that it has alone.

    A batch norm before the positional convolution makes something of the zeros behind an utterance's end, which the
    convolution then carries into it.
    """
    return config.model_type in BATCHED and not getattr(config, "conv_pos_batch_norm", False)


def _record_layers(blocks: torch.nn.ModuleList, kept: dict[str, torch.Tensor]) -> None:
    """Hook the transformer's blocks, so that a forward pass leaves its layers in ``kept``."""

    def entering(_module, arguments, keywords):
        kept["0"] = arguments[0] if arguments else keywords["hidden_states"]

    blocks[0].register_forward_pre_hook(entering, with_kwargs=True)
    for number, block in enumerate(blocks, start=1):

        def leaving(_module, _arguments, output, layer=str(number)):
            kept[layer] = output[0] if isinstance(output, tuple) else output

        block.register_forward_hook(leaving)


def convolutional(model, folder: Path) -> tuple[tuple[str, ...], Run]:
    """wav2vec 2.0 and its relatives: convolutions, then the transformer, each batched where that is exact."""
    import torch

    convolve = _convolutions(model)

    normalise = normalises(folder, model.config)
    blocks = model.encoder.layers
    layers = ("cnn", "0", *(str(n) for n in range(1, len(blocks) + 1)))
    kept: dict[str, torch.Tensor] = {}
    _record_layers(blocks, kept)

    def project(features: torch.Tensor) -> torch.Tensor:
        if model.config.model_type == "sew":  # SEW normalises and projects in the model itself
            features = model.layer_norm(features)
            return model.feature_projection(features) if model.project_features else features
        projected = model.feature_projection(features)
        return projected[0] if isinstance(projected, tuple) else projected

    def transform(projected: list[torch.Tensor]) -> Layers:
        lengths = [len(p) for p in projected]
        batch = torch.nn.utils.rnn.pad_sequence(projected, batch_first=True)
        mask = None
        if min(lengths) < max(lengths):
            positions = torch.arange(max(lengths), device=batch.device)
            mask = positions[None] < torch.tensor(lengths, device=batch.device)[:, None]
        kept[layers[-1]] = model.encoder(batch, attention_mask=mask).last_hidden_state
        if mask is None:  # SEW's squeezed layers have lengths of their own
            return {layer: list(kept[layer].float()) for layer in layers[1:]}
        return {layer: [h[:n] for h, n in zip(kept[layer].float(), lengths)] for layer in layers[1:]}

    def run(utterances: list[np.ndarray]) -> Layers:
        cnn = convolve([normalised(audio) if normalise else audio for audio in utterances])
        projected = [project(features[None])[0] for features in cnn]
        batches = [projected] if batches_exactly(model.config) else [[one] for one in projected]
        try:
            parts = [transform(batch) for batch in batches]
        finally:  # also where the memory did not suffice: it would be short of these, too
            kept.clear()
        result = {layer: [frames for part in parts for frames in part[layer]] for layer in layers[1:]}
        return {"cnn": [features.float() for features in cnn], **result}

    return layers, run


def _convolutions(model) -> Callable[[list[np.ndarray]], list[torch.Tensor]]:
    """Waveforms to frames ``[T, D]`` each, several at once, as if each were alone.

    Convolutions without padding of their own give the same frames however long the silence after the utterance. A group
    norm does not, for it takes its statistics over all time: it is given each utterance's own stretch.
    """
    import torch

    norm = getattr(model.feature_extractor.conv_layers[0], "layer_norm", None)
    stretches: list[int] = []  # frames of each utterance where the norm stands

    def own_statistics(hidden: torch.Tensor) -> torch.Tensor:
        if not stretches:  # somebody else runs the model
            return whole(hidden)
        normed = torch.zeros_like(hidden)
        for row, length in enumerate(stretches):
            normed[row, :, :length] = whole(hidden[row : row + 1, :, :length])[0]
        return normed

    if isinstance(norm, torch.nn.GroupNorm):
        whole, norm.forward = norm.forward, own_statistics
    most = SAMPLE_RATE * CONVOLVED_SECONDS["cpu" if model.device.type == "cpu" else "gpu"]

    def convolve(utterances: list[np.ndarray]) -> list[torch.Tensor]:
        frames: list[torch.Tensor] = []
        for part in _parts([len(audio) for audio in utterances], most):
            waveforms = [torch.from_numpy(audio) for audio in utterances[part]]
            lengths = [[len(waveform) for waveform in waveforms]]
            for kernel, stride in zip(model.config.conv_kernel, model.config.conv_stride):
                lengths.append([(length - kernel) // stride + 1 for length in lengths[-1]])
            stretches[:] = lengths[1]
            batch = _sent(torch.nn.utils.rnn.pad_sequence(waveforms, batch_first=True), model)
            try:
                hidden = model.feature_extractor(batch)
            finally:  # also where the memory does not suffice, and fewer will be tried
                stretches.clear()
            frames += [one[:, :length].T for one, length in zip(hidden, lengths[-1])]
        return frames

    return convolve


def _parts(lengths: list[int], most: float) -> list[slice]:
    """Neighbours that together, padded to the longest of them, are no longer than ``most``; one at least.

    Example:
        >>> _parts([2, 3, 3, 9, 1], 9)
        [slice(0, 3, None), slice(3, 4, None), slice(4, 5, None)]
    """
    starts, longest = [0], 0
    for at, length in enumerate(lengths):
        longest = max(longest, length)
        if at > starts[-1] and longest * (at + 1 - starts[-1]) > most:
            starts.append(at)
            longest = length
    return [slice(one, other) for one, other in zip(starts, [*starts[1:], len(lengths)])]


def whisper(model, folder: Path) -> tuple[tuple[str, ...], Run]:
    """Whisper's encoder, a supervised contrast: 30 s windows, of which the frames that hold speech are kept."""
    import torch
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(**preprocessing(folder))
    layers = ("cnn", "0", *(str(n) for n in range(1, len(model.layers) + 1)))
    kept: dict[str, torch.Tensor] = {}
    _record_layers(model.layers, kept)

    def stem(_module, _arguments, output):
        kept["cnn"] = torch.nn.functional.gelu(output).transpose(1, 2)

    model.conv2.register_forward_hook(stem)

    def run(utterances: list[np.ndarray]) -> Layers:
        longest = max(len(audio) for audio in utterances) / SAMPLE_RATE
        if longest > extractor.chunk_length:
            raise EncoderError(
                f"Whisper hears at most {extractor.chunk_length} s; an utterance of {longest:.1f} s was given."
            )
        features = extractor(utterances, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features
        lengths = [-(-len(audio) // (2 * extractor.hop_length)) for audio in utterances]
        try:
            kept[layers[-1]] = model(_sent(features, model)).last_hidden_state
            return {layer: [h[:n] for h, n in zip(kept[layer].float(), lengths)] for layer in layers}
        finally:
            kept.clear()

    return layers, run


def w2v_bert(model, folder: Path) -> tuple[tuple[str, ...], Run]:
    """w2v-BERT 2.0: filter banks instead of convolutions on the waveform, so there is no layer ``cnn``."""
    from transformers import SeamlessM4TFeatureExtractor

    extractor = SeamlessM4TFeatureExtractor(**preprocessing(folder))
    layers = tuple(str(n) for n in range(len(model.encoder.layers) + 1))
    kept: dict[str, torch.Tensor] = {}
    _record_layers(model.encoder.layers, kept)

    def run(utterances: list[np.ndarray]) -> Layers:
        result: Layers = {layer: [] for layer in layers}
        try:
            for audio in utterances:
                features = extractor(audio, sampling_rate=SAMPLE_RATE, return_tensors="pt")
                frames = int(features.attention_mask.sum())
                projected = model.feature_projection(_sent(features.input_features[:, :frames], model))[0]
                model.encoder(projected)  # whose last block's output is its own; what add_adapter adds is no layer
                for layer in layers:
                    result[layer].append(kept[layer][0].float())
        finally:
            kept.clear()
        return result

    return layers, run


def logmel(device: str) -> Run:
    """Log-mel energies, two 10 ms frames side by side, so that a frame lasts 20 ms as the encoders' do."""
    import torch
    from torchaudio.transforms import MelSpectrogram

    step = round(LOGMEL["step_s"] * SAMPLE_RATE)
    mel = MelSpectrogram(
        SAMPLE_RATE,
        n_fft=512,
        win_length=round(LOGMEL["window_s"] * SAMPLE_RATE),
        hop_length=step,
        n_mels=LOGMEL["mels"],
    ).to(device)

    @torch.inference_mode()
    def layers_of(utterances: list[np.ndarray]) -> Layers:
        frames = []
        for audio in utterances:
            log = (mel(torch.from_numpy(audio).to(device)) + LOGMEL["floor"]).log().T
            pairs = len(log) // LOGMEL["stacked"]
            frames.append(log[: pairs * LOGMEL["stacked"]].reshape(pairs, -1))
        return {"logmel": frames}

    return layers_of


def logmel_around(steps: int, device: str) -> Run:
    """Log-mel on the encoders' own frames, with its course over ``steps`` of 10 ms to either side: the first cosine
    coefficients over time of each mel band. Frame i is centred where an encoder's is, on sample ``320 i + 200``."""
    import torch
    from scipy.fft import dct
    from torchaudio.transforms import MelSpectrogram

    hop, window, transform = round(LOGMEL["step_s"] * SAMPLE_RATE), round(LOGMEL["window_s"] * SAMPLE_RATE), 512
    mel = MelSpectrogram(
        SAMPLE_RATE, n_fft=transform, win_length=window, hop_length=hop, n_mels=LOGMEL["mels"], center=False
    ).to(device)
    basis = dct(np.eye(2 * steps + 1), axis=0, norm="ortho")[:LOGMEL_COSINES]
    basis = torch.from_numpy(basis.astype(np.float32)).to(device)
    ahead = (transform - window) // 2

    @torch.inference_mode()
    def layers_of(utterances: list[np.ndarray]) -> Layers:
        frames = []
        for audio in utterances:
            count = max(0, (len(audio) - window) // (2 * hop) + 1)
            if not count:
                frames.append(torch.empty(0, LOGMEL["mels"] * len(basis), device=device))
                continue
            padded = torch.nn.functional.pad(torch.from_numpy(audio).to(device), (ahead, transform))
            log = (mel(padded)[:, : (len(audio) - window) // hop + 1] + LOGMEL["floor"]).log()
            around = torch.arange(-steps, steps + 1, device=device) + 2 * torch.arange(count, device=device)[:, None]
            course = log[:, around.clamp(0, log.shape[1] - 1)]  # [mels, frames, steps]; the ends go on as they are
            frames.append(torch.einsum("mft,ct->fmc", course, basis).flatten(1))
        return {"logmel": frames}

    return layers_of


def _sent(values: torch.Tensor, model) -> torch.Tensor:
    """On the model's device and in its precision; to a GPU from pinned memory, so that nobody waits for the copy."""
    pinned = values.pin_memory() if model.device.type == "cuda" else values
    return pinned.to(model.device, non_blocking=True).to(model.dtype)


def normalised(audio: np.ndarray) -> np.ndarray:
    """Zero mean and unit variance, as wav2vec 2.0's feature extractor does it.

    Example:
        >>> normalised(np.array([0.1, 0.3], np.float32)).round(2)
        array([-1.,  1.], dtype=float32)
    """
    return ((audio - audio.mean()) / np.sqrt(audio.var() + 1e-7)).astype(np.float32)


def normalises(folder: Path, config: PretrainedConfig) -> bool:
    """Whether a checkpoint wants normalised waveforms.

    Where none of its files says so, the rule of wav2vec 2.0's authors is followed: with layer norm in the convolutions
    yes, with group norm no.

    Example:
        >>> from fairlib.encoders import configuration, encoder_folder
        >>> normalises(encoder_folder("pocket-hubert"), configuration("pocket-hubert"))
        False
    """
    settings = preprocessing(folder)
    if settings:
        return settings.get("do_normalize", True)  # the feature extractor's own default
    guessed = getattr(config, "feat_extract_norm", "layer") == "layer"
    warnings.warn(
        f"{folder} has no preprocessor_config.json to say whether waveforms are normalised (do_normalize): taken as "
        f"{str(guessed).lower()}, from the norm of its convolutions.",
        stacklevel=4,
    )
    return guessed
