"""Where speakers lie in a layer: how much their phones vary and are shifted, and how near the next speaker is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from fairlib.corpora import halves
from fairlib.encoders import Encoder
from fairlib.encoders.features import Features
from fairlib.probes.phones import PhoneFrames
from fairlib.probes.splits import ProbeError, corpus_name
from fairlib.probes.stored import Work, stored, with_left_out

WITHIN, SHIFT = "variance within phones", "shift of phones"
NEAREST, SCATTER = "distance to the nearest speaker", "scatter of utterances"
FEWEST_FRAMES = 5  # of a phone by a speaker
_PARTS = 1000


def speaker_geometry(
    encoder: str | Encoder | Features,
    corpus: str | pd.DataFrame | None = None,
    task: str = "phone",
    force: bool = False,
) -> pd.DataFrame:
    """Measures of each test speaker at every layer, in thousandths: ``errors`` of a ``length`` of 1000.

    Features are standardised on the train half, dimension by dimension, and measures are means over the dimensions, so
    that layers of any width compare: 1 is the variance over everybody.

    Args:
        encoder, corpus, force: as `fairlib.probe`'s ``what`` and ``corpus``.
        task: ``phone``: the variance of a speaker's frames within each phone (unit ``variance within phones``: what a
            probe meets as random error), and the squared distance of the speaker's mean of a phone from the training
            speakers' mean of it, less what chance gives so few frames (``shift of phones``), both meaned over the
            phones that the speaker says in five frames or more. ``sid``: of pooled utterances, the root mean square
            distance from the speaker's mean to the nearest other test speaker's (``distance to the nearest speaker``),
            and of the speaker's utterances from their mean (``scatter of utterances``).

    Returns:
        Outcomes, a row a test speaker, layer and unit; ``errors`` are no errors here but the measures.

    Example:
        >>> where = speaker_geometry("pocket-hubert", "speechocean762")  # doctest: +SKIP
        >>> where.groupby(["unit", "layer", "age_group"])["errors"].mean() / 1000  # doctest: +SKIP
    """
    known = {"phone": _of_phones, "sid": _of_utterances}
    if task not in known:
        raise ProbeError(f"Unknown task {task!r}: choose {' or '.join(known)}.")

    def compute(work: Work, seed: int) -> tuple[pd.DataFrame, dict]:
        tables = []
        for layer, speakers, units in known[task](work):
            people = work.table.drop_duplicates("speaker_id").set_index("speaker_id").loc[speakers].reset_index()
            for unit, values in units.items():
                there = np.isfinite(values)
                parts = np.maximum(np.round(_PARTS * values[there]), 0).astype(int)
                tables.append(people[there].assign(layer=layer, unit=unit, errors=parts))
        rows = pd.concat(tables)
        return with_left_out(rows.assign(utterance_id=rows["speaker_id"], length=_PARTS, predicted=""))

    return stored(task, "geometry", encoder, corpus, (), {"geometry": 1}, 1, force, compute)


def _of_phones(work: Work) -> Iterator[tuple[str, np.ndarray, dict[str, np.ndarray]]]:
    frames = PhoneFrames(work)
    train = (frames.half == "train")[frames.owner]
    tested = frames.table["speaker_id"].where(frames.half == "test")
    codes, names = pd.factorize(tested, use_na_sentinel=True)
    speaker, phones = codes[frames.owner], int(frames.codes.max()) + 1
    mine = speaker >= 0
    place = speaker[mine] * phones + frames.codes[mine]
    counts = np.bincount(place, minlength=len(names) * phones).reshape(len(names), phones)
    enough = counts >= FEWEST_FRAMES
    for layer in frames.features.layers:
        matrix = frames.matrix(layer).astype(np.float32)
        matrix = (matrix - matrix[train].mean(axis=0)) / np.maximum(matrix[train].std(axis=0), 1e-6)
        usual = _sums(matrix[train], frames.codes[train], phones) / np.bincount(frames.codes[train], minlength=phones)[
            :, None
        ].clip(1)
        sums = _sums(matrix[mine], place, len(counts) * phones).reshape(len(names), phones, -1)
        squares = np.bincount(place, (matrix[mine] ** 2).mean(axis=1), counts.size).reshape(counts.shape)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = sums / counts[:, :, None]
            within = (squares - counts * (means**2).mean(axis=2)) / (counts - 1)
            shift = ((means - usual) ** 2).mean(axis=2) - within / counts
        yield layer, np.asarray(names), {WITHIN: _mean(within, enough), SHIFT: _mean(shift, enough)}


def _of_utterances(work: Work) -> Iterator[tuple[str, np.ndarray, dict[str, np.ndarray]]]:
    half = halves(work.table).to_numpy()
    train, test = half == "train", half == "test"
    codes, names = pd.factorize(work.table["speaker_id"][test])
    counts = np.bincount(codes)
    if len(names) < 2:
        raise ProbeError(f"Distances need two test speakers; {corpus_name(work.table)} has fewer.")
    features = work.features(work.table)
    for layer in features.layers:
        matrix = features.pooled(layer).astype(float)
        matrix = (matrix - matrix[train].mean(axis=0)) / np.maximum(matrix[train].std(axis=0), 1e-6)
        matrix = matrix[test]
        means = _sums(matrix, codes, len(names)) / counts[:, None]
        apart = ((means[:, None] - means[None]) ** 2).mean(axis=2)
        np.fill_diagonal(apart, np.inf)
        scatter = np.bincount(codes, ((matrix - means[codes]) ** 2).mean(axis=1)) / (counts - 1).clip(1)
        scatter = np.where(counts > 1, scatter, np.nan)
        yield layer, np.asarray(names), {NEAREST: np.sqrt(apart.min(axis=1)), SCATTER: np.sqrt(scatter)}


def _sums(matrix: np.ndarray, place: np.ndarray, places: int) -> np.ndarray:
    """Sums of the rows at each place, ``[places, D]``."""
    order = np.argsort(place, kind="stable")
    there, starts = np.unique(place[order], return_index=True)
    sums = np.zeros((places, matrix.shape[1]))
    sums[there] = np.add.reduceat(matrix[order].astype(float), starts, axis=0)
    return sums


def _mean(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Mean over the phones of each speaker that are known; missing where none is."""
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(axis=1) / known.sum(axis=1)
