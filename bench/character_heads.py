"""What brings the character error of one layer down: a recurrent probe, masked features, a language model in decoding.

    OMP_NUM_THREADS=1 python -m bench.character_heads FOLDER ENCODER LAYER [--masked]

Trains a probe of two bidirectional LSTM layers where `fairlib.CharacterProbe` has two convolutions: twelve passes over
the same speech, on one layer, half an hour of a core. What is finished is read from FOLDER. Prints, and appends to
FOLDER/heads.csv, error and gaps of greedy decoding and of a beam search with a character language model, which is
counted on the probe's own training texts. The published table is `fairlib/assets/heads.csv`.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

import fairlib
from fairlib.base.files import replace
from fairlib.base.progress import steps
from fairlib.corpora import borrowed, halves, load_corpus
from fairlib.encoders.extraction import length_batches
from fairlib.probes.ctc import ctc_loss
from fairlib.probes.text import count_errors, greedy_text, letters
from fairlib.probes.transcripts import transcripts

CORPUS, GROUPS = "speechocean762", ("age_group", "sex")
PASSES, RATE, WARM_UP, CLIP, SECONDS, STRIDE = 12, 3e-3, 0.05, 5.0, 64, 2
ORDER, LM_WEIGHT, LETTER_BONUS, BEAM, LEAST_LOG_P = 6, 0.5, 1.0, 16, -6.0


class Recurrent(nn.Module):
    """Frames side by side in pairs, one projection, two bidirectional LSTM layers, scores of characters."""

    def __init__(self, inputs: int, outputs: int, width: int = 128, dropout: float = 0.1):
        super().__init__()
        self.front, self.dropout = nn.Linear(inputs * STRIDE, 2 * width), dropout
        self.rnn = nn.LSTM(2 * width, width, 2, bidirectional=True, batch_first=True, dropout=dropout)
        self.out = nn.Linear(2 * width, outputs)

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Standardised frames ``[B, STRIDE * T, D]`` to scores ``[B, T, outputs]``."""
        pairs = frames.reshape(len(frames), frames.shape[1] // STRIDE, -1)
        hidden = functional.dropout(functional.gelu(self.front(pairs)), self.dropout, self.training)
        packed = pack_padded_sequence(hidden, lengths, batch_first=True, enforce_sorted=False)
        hidden, _ = pad_packed_sequence(self.rnn(packed)[0], batch_first=True, total_length=pairs.shape[1])
        return self.out(functional.dropout(hidden, self.dropout, self.training))


def train(frames: list[torch.Tensor], texts: list[str], training: int, masked: bool) -> tuple[list[np.ndarray], str]:
    """Log probabilities ``[T, characters]`` of the utterances after the first ``training``, and the alphabet."""
    spelled = [letters(text) for text in texts[:training]]
    alphabet = sorted(set().union(*spelled))
    codes = {letter: code for code, letter in enumerate(alphabet, start=1)}
    draws = np.random.default_rng(0)
    some = torch.cat([frames[row].float() for row in draws.choice(training, min(training, 800), replace=False)])
    mean, deviation = some.mean(0), some.std(0).clamp(min=1e-4)
    torch.manual_seed(0)
    net = Recurrent(len(mean), len(alphabet) + 1)
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE)
    lengths = np.array([-(-len(one) // STRIDE) for one in frames])

    def batch(rows: np.ndarray, hide: bool) -> tuple[torch.Tensor, torch.Tensor]:
        packed = torch.zeros(len(rows), int(lengths[rows].max()) * STRIDE, len(mean))
        for place, row in enumerate(rows):
            one = (frames[row].float() - mean) / deviation
            packed[place, : len(one)] = hidden_spans(one, draws) if hide else one
            packed[place, len(one) : lengths[row] * STRIDE] = one[-1]
        return packed, torch.from_numpy(lengths[rows])

    def batches(first: int, last: int) -> list[np.ndarray]:
        order = first + np.argsort(lengths[first:last], kind="stable")
        return [order[one] for one in length_batches(lengths[order], SECONDS * 50 // STRIDE)]

    mine, step = batches(0, training), 0
    for number in steps("training a recurrent probe", range(PASSES), unit="passes"):
        net.train()
        for place in np.random.default_rng([0, number]).permutation(len(mine)):
            rows, step = mine[place], step + 1
            progress = step / (PASSES * len(mine))
            optimizer.param_groups[0]["lr"] = RATE * (
                progress / WARM_UP if progress < WARM_UP else (1 - progress) / (1 - WARM_UP)
            )
            packed, held = batch(rows, masked)
            scores = net(packed, held)[None]
            spoken = [torch.tensor([codes[letter] for letter in spelled[row]]) for row in rows]
            counts = torch.tensor([len(one) for one in spoken])
            _, gradient = ctc_loss(scores.detach(), pad_sequence(spoken, batch_first=True), held, counts)
            optimizer.zero_grad()
            scores.backward(gradient / counts.sum())
            nn.utils.clip_grad_norm_(net.parameters(), CLIP)
            optimizer.step()
    net.eval()
    found: dict[int, np.ndarray] = {}
    with torch.inference_mode():
        for rows in batches(training, len(frames)):
            packed, held = batch(rows, False)
            for row, one, time in zip(rows, net(packed, held).log_softmax(-1), held):
                found[row] = one[: int(time)].numpy()
    return [found[row] for row in range(training, len(frames))], "".join(alphabet)


def hidden_spans(frames: torch.Tensor, draws: np.random.Generator) -> torch.Tensor:
    """SpecAugment (Park et al. 2019): a tenth or so of the frames and two bands of the features become zero."""
    frames, (time, width) = frames.clone(), frames.shape
    for _ in range(max(1, time // 100)):
        start = int(draws.integers(0, time))
        frames[start : start + int(draws.integers(0, 21))] = 0
    for _ in range(2):
        start = int(draws.integers(0, width))
        frames[:, start : start + int(draws.integers(0, width // 8 + 1))] = 0
    return frames


def count_letters(texts: list[str]) -> dict[str, Counter]:
    """How often each letter follows each run of up to `ORDER` - 1 letters."""
    counts: dict[str, Counter] = defaultdict(Counter)
    for text in texts:
        padded = " " * (ORDER - 1) + text + " "
        for place in range(ORDER - 1, len(padded)):
            for length in range(ORDER):
                counts[padded[place - length : place]][padded[place]] += 1
    return counts


def letter_log_p(counts: dict[str, Counter], before: str, letter: str, alphabet: str, known: dict) -> float:
    """Witten and Bell's interpolation (1991): a longer run counts for more where it was seen more often."""
    key = (before[-(ORDER - 1) :], letter)
    if key not in known:
        p = 1 / len(alphabet)
        for length in range(ORDER):
            seen = counts.get(key[0][len(key[0]) - length :])
            if seen:
                total = sum(seen.values())
                p = (seen[letter] + len(seen) * p) / (total + len(seen))
        known[key] = math.log(p)
    return known[key]


def beam_text(log_p: np.ndarray, alphabet: str, counts: dict[str, Counter], known: dict) -> str:
    """CTC prefix beam search (Hannun et al. 2014) with the language model: the best text."""
    beams = {"": (0.0, -math.inf)}  # log p of paths that end in a blank, and in the last letter
    join = np.logaddexp
    for frame in log_p:
        likely = [code for code in np.flatnonzero(frame > LEAST_LOG_P) if code]
        found: dict[str, tuple[float, float]] = {}

        def add(text: str, blank: float, letter: float, found=found) -> None:
            old = found.get(text, (-math.inf, -math.inf))
            found[text] = (join(old[0], blank), join(old[1], letter))

        for text, (blank, letter) in beams.items():
            add(text, join(blank, letter) + frame[0], -math.inf)
            for code in likely:
                new = alphabet[code - 1]
                bonus = LETTER_BONUS + LM_WEIGHT * letter_log_p(counts, " " * ORDER + text, new, alphabet, known)
                if text and text[-1] == new:
                    add(text, -math.inf, letter + frame[code])
                    add(text + new, -math.inf, blank + frame[code] + bonus)
                else:
                    add(text + new, -math.inf, join(blank, letter) + frame[code] + bonus)
        beams = dict(sorted(found.items(), key=lambda one: -join(*one[1]))[:BEAM])
    return next(iter(beams))


def judged(rows: pd.DataFrame, references: list[str], hypotheses: list[str]) -> dict:
    """Error rates, and the gaps by each column in log odds."""
    units = {unit: count_errors(references, hypotheses, unit) for unit in ("char", "word")}
    row = {unit: one["errors"].sum() / one["length"].sum() for unit, one in units.items()}
    row["deletions"] = units["char"]["deletions"].sum() / units["char"]["length"].sum()
    outcomes = pd.concat([rows.reset_index(drop=True), units["char"]], axis=1)
    outcomes = outcomes.assign(encoder="e", task="asr", unit="char", probe="p", layer="0", seed=0)
    for by in GROUPS:
        gap = fairlib.group_bias(outcomes, by=by).query("scale == 'log_odds'").iloc[0]
        row |= {f"{by}": gap["contrast"], **{f"{by}_{name}": gap[name] for name in ("estimate", "low", "high")}}
    return row


def savez(path: Path, found: list[np.ndarray], alphabet: str) -> None:
    with open(path, "wb") as file:  # to a name, numpy would add its own ending
        np.savez(file, *found, alphabet=np.array(alphabet))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("encoder")
    parser.add_argument("layer")
    parser.add_argument("--masked", action="store_true")
    given = parser.parse_args()
    tables = [load_corpus(name) for name in (CORPUS, *borrowed(CORPUS))]
    texts, half = [transcripts(table).texts for table in tables], halves(tables[0]).to_numpy()
    places = [(0, row) for row in np.flatnonzero(half == "train") if texts[0][row]]
    places += [(number, row) for number in range(1, len(tables)) for row, text in enumerate(texts[number]) if text]
    training = len(places)
    testing = [row for row in np.flatnonzero(half == "test") if texts[0][row]]
    places += [(0, row) for row in testing]
    spoken = [texts[number][row] for number, row in places]
    name = "recurrent, masked" if given.masked else "recurrent"
    kept = given.folder / f"{given.encoder}-{given.layer}-{name.replace(', ', '-')}.npz".replace(":", "-")
    if not kept.exists():
        views = [fairlib.extract(given.encoder, table, frames=True).utterances(given.layer) for table in tables]
        frames = [torch.tensor(np.array(views[number][row])) for number, row in places]
        found, alphabet = train(frames, spoken, training, given.masked)
        given.folder.mkdir(parents=True, exist_ok=True)
        replace(kept, lambda partial: savez(partial, found, alphabet))
    held = np.load(kept, allow_pickle=False)
    alphabet, found = str(held["alphabet"]), [held[f"arr_{place}"].astype(float) for place in range(len(testing))]
    references, rows = spoken[training:], tables[0].iloc[testing]
    counts, known = count_letters(spoken[:training]), {}
    greedy = [greedy_text(one.argmax(axis=1), alphabet) for one in found]
    beam = [beam_text(one, alphabet, counts, known) for one in steps("decoding", found, unit="utterances")]
    table = pd.DataFrame(
        [
            {
                "encoder": given.encoder,
                "corpus": CORPUS,
                "layer": given.layer,
                "probe": probe,
                "passes": PASSES,
                **judged(rows, references, texts),
            }
            for probe, texts in ((name, greedy), (f"{name}, language model", beam))
        ]
    )
    print(table.round(3).to_string())
    out = given.folder / "heads.csv"
    before = [pd.read_csv(out, dtype={"layer": str})] if out.exists() else []
    every = pd.concat([*before, table]).drop_duplicates(["encoder", "layer", "probe"], keep="last")
    replace(out, lambda partial: every.to_csv(partial, index=False))


if __name__ == "__main__":
    main()
