"""How much an encoder's layers differ: the yardstick that a training is judged by before any group gap is looked at.

    OMP_NUM_THREADS=1 python -m bench.yardstick NAME_OR_FOLDER ... --output FOLDER

For every layer: linear phone error on people whom no recipe has heard (LibriSpeech's seven, speechocean762's test
half), speaker identification error on speechocean762, and how like the layers are (linear CKA). Beside it stands
log-mel with 25, 105, 345 and 645 ms of context, of which one is near what an encoder's layer 0 hears. Everything is
measured on fixed samples of utterances, so that encoders can be compared, and takes about five minutes of a core for
each; it is meant to be quick, and its errors are a little above those of the published probes, which train on all of
the speech.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.special import logit

from fairlib import load_corpus, load_encoder
from fairlib.base.files import write_text
from fairlib.corpora import halves
from fairlib.encoders.checkpoints import LOGMEL_AROUND
from fairlib.encoders.devices import best_device
from fairlib.encoders.extraction import BATCH_SECONDS, length_batches, reader
from fairlib.probes.alignment import align
from fairlib.probes.phones import phone_labels
from fairlib.probes.softmax import fit_softmax
from fairlib.probes.splits import held_out

# Utterances of the training and of the test half whose phones are classified; of speechocean762 all are identified.
SAMPLES = {"librispeech": (450, 1000), "speechocean762": (1200, 1200)}
LADDER = tuple(LOGMEL_AROUND)
_KEPT_FRAMES = 8000  # for CKA

Layers = Callable[[list[np.ndarray]], dict[str, list[np.ndarray]]]


def yardstick(layers_of: Layers, device: str = "cpu") -> pd.DataFrame:
    """One row a layer: ``layer, phones_librispeech, phones_speechocean762, speakers`` (error rates) and, for each other
    layer, ``cka_LAYER``.

    Args:
        layers_of: utterances (16 kHz) to every layer's frames ``[T, D]``, one frame every 20 ms.
        device: where the probes are fitted.
    """
    errors: dict[str, dict[str, float]] = {}
    kept: dict[str, np.ndarray] = {}
    for corpus, (training, testing) in SAMPLES.items():
        table = load_corpus(corpus).reset_index(drop=True)
        speakers = corpus == "speechocean762"
        phones = align(table)
        half = halves(table).to_numpy()
        aligned = table["utterance_id"].isin(phones).to_numpy()
        rng = np.random.default_rng(0)
        chosen = {side: rng.permutation(np.flatnonzero(aligned & (half == side)))[:n]
                  for side, n in (("train", training), ("test", testing))}  # fmt: skip
        labelled = np.zeros(len(table), bool)
        labelled[np.concatenate(list(chosen.values()))] = True
        rows = np.arange(len(table)) if speakers else np.flatnonzero(labelled)
        pooled: dict[str, dict[int, np.ndarray]] = {}
        frames: dict[str, list[np.ndarray]] = {}
        labels, tested = [], []
        for row, layers in _passes(table, rows, layers_of, device):
            count = min(len(values) for values in layers.values())
            names = phone_labels(phones[table["utterance_id"][row]], count) if labelled[row] else None
            for layer, values in layers.items():
                if speakers:
                    pooled.setdefault(layer, {})[row] = np.concatenate([values.mean(axis=0), values.std(axis=0)])
                if names is not None:
                    frames.setdefault(layer, []).append(values[:count][names != ""].clip(-6e4, 6e4).astype(np.float16))
            if names is not None:
                labels.append(names[names != ""])
                tested.append(np.full(len(labels[-1]), half[row] == "test"))
        codes, test = pd.factorize(np.concatenate(labels))[0], np.concatenate(tested)
        for layer, parts in frames.items():
            matrix = np.concatenate(parts)
            scores = fit_softmax(matrix, codes, ~test, iterations=20, l2=1e-5, device=device)
            wrong = float((scores.argmax(axis=1) != codes)[test].mean())
            errors.setdefault(layer, {})[f"phones_{corpus}"] = wrong
            if not speakers:
                kept[layer] = matrix[rng.permutation(len(matrix))[:_KEPT_FRAMES]].astype(np.float32)
                rng = np.random.default_rng(0)  # the same frames of every layer
        if speakers:
            codes = pd.factorize(table["speaker_id"])[0]
            test = held_out(table["speaker_id"], 0.25, 0)
            for layer, vectors in pooled.items():
                matrix = np.stack([vectors[row] for row in range(len(table))])
                scores = fit_softmax(matrix, codes, ~test, iterations=100, l2=3e-4, device=device)
                errors[layer]["speakers"] = float((scores.argmax(axis=1) != codes)[test].mean())
    table = pd.DataFrame(errors).T.rename_axis("layer").reset_index()
    for layer in kept:
        table[f"cka_{layer}"] = [round(cka(kept[layer], kept[other]), 3) for other in table["layer"]]
    return table.round(4)


def _passes(
    table: pd.DataFrame, rows: np.ndarray, layers_of: Layers, device: str
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    read = reader(table)
    for batch in length_batches(table["duration_s"].to_numpy()[rows], BATCH_SECONDS[torch.device(device).type]):
        layers = layers_of([read(rows[place]) for place in batch])
        for number, place in enumerate(batch):
            yield rows[place], {layer: _array(values[number]) for layer, values in layers.items()}


def _array(frames: np.ndarray | torch.Tensor) -> np.ndarray:
    return frames.float().cpu().numpy() if isinstance(frames, torch.Tensor) else frames


def cka(one: np.ndarray, other: np.ndarray) -> float:
    """Linear centred kernel alignment of two layers' frames ``[frames, D]`` (Kornblith et al. 2019).

    Example:
        >>> x = np.random.default_rng(0).normal(size=(500, 4))
        >>> round(cka(x, 3 * x @ np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]), 6)
        1.0
    """
    one, other = one - one.mean(axis=0), other - other.mean(axis=0)
    return float(np.linalg.norm(one.T @ other) ** 2 / (np.linalg.norm(one.T @ one) * np.linalg.norm(other.T @ other)))


def gate(table: pd.DataFrame, context: float, corpus: str) -> dict[str, float | str]:
    """The gate's figures of one encoder on one corpus.

    Args:
        table: from `yardstick`.
        context: phone error of log-mel with the context of layer 0, on the same corpus.
    """
    phones = table.set_index("layer")[f"phones_{corpus}"]
    blocks = phones.drop(["cnn", "0"])
    speakers = table.set_index("layer")["speakers"]
    return {
        "best_block": str(blocks.idxmin()),
        "points_below_layer_0": round(100 * (phones["0"] - blocks.min()), 2),
        "below_logmel_percent": round(100 * (1 - blocks.min() / context), 1),
        "spread_logit": round(float(np.ptp(logit(phones))), 3),
        "speakers_best": str(speakers.idxmin()),
        "speakers_spread_logit": round(float(np.ptp(logit(speakers))), 3),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("encoders", nargs="*", help="names or folders; 'logmel' for the controls")
    arguments.add_argument("--output", type=Path, required=True)
    chosen = arguments.parse_args()
    chosen.output.mkdir(parents=True, exist_ok=True)
    for name in chosen.encoders:
        folder = Path(name)  # of a run, NAME/encoder; or an encoder's own
        label = name if not folder.is_dir() else folder.parent.name if folder.name == "encoder" else folder.name
        if name == "logmel":
            parts = [
                yardstick(load_encoder(step, device=best_device()).layers_of).assign(layer=step) for step in LADDER
            ]
            table = pd.concat(parts, ignore_index=True).filter(regex="^(?!cka_)")
        else:
            encoder = load_encoder(name, device=best_device())
            table = yardstick(encoder.layers_of, encoder.device)
        write_text(chosen.output / f"{label.replace('/', '-').replace(':', '-')}.csv", table.to_csv(index=False))
        print(label, table.filter(regex="^(?!cka_)").to_string(index=False), sep="\n", flush=True)
        controls = chosen.output / "logmel.csv"
        if name != "logmel" and controls.exists():
            logmel = pd.read_csv(controls).set_index("layer")
            for corpus in SAMPLES:
                for step in LADDER:
                    figures = gate(table, logmel.loc[step, f"phones_{corpus}"], corpus)
                    print(corpus, f"against {step}:", json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
