"""Which group a layer shows its speakers to be of, and what becomes of the errors when that is erased."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold

from fairlib.corpora import halves
from fairlib.corpora.labels import is_number
from fairlib.encoders import Encoder
from fairlib.encoders.features import Features
from fairlib.probes.classifiers import fit
from fairlib.probes.phones import PhoneFrames, PhoneProbe
from fairlib.probes.softmax import fit_softmax
from fairlib.probes.speakers import FEWEST_UTTERANCES, SpeakerProbe
from fairlib.probes.splits import ProbeError, check_columns, columns_of, corpus_name, enough, group_of, held_out, listed
from fairlib.probes.stored import Work, stored, with_left_out

KEPT, ERASED, RANDOM_LABELS, RANDOM_DIRECTION = "nothing erased", "group erased", "random labels", "random direction"
GROUP, RANDOM_GROUP = "group", "random group"  # units: what is read of the speaker
YEARS, RANDOM_YEARS = "year", "random year"  # the same where a number is read; errors count how far it is off
GROUP_L2 = 1e-2  # of the probe that reads groups: few speakers, wide vectors
RIDGE_FOLDS = 5  # of the training speakers, to choose the penalty of the regression that reads a number
RIDGE_PENALTIES, RIDGE_CHOICES = (1, 1e5), 11  # least and most, and how many from one to the other
_PARTS = 10  # of a year, in which errors are counted


def erase_group(
    encoder: str | Encoder | Features, corpus: str | pd.DataFrame | None = None,
    by: str | Sequence[str] = ("age_group",), task: str = "sid", seeds: int = 1, force: bool = False,
) -> pd.DataFrame:  # fmt: skip
    """Errors with the speakers' group erased from every layer, and which group the layer then still shows.

    LEACE (Belrose et al. 2023, arXiv 2306.03819; the package concept-erasure) changes features as little as possible so
    that no linear probe can read the group from them. It is fitted on the train half's speakers alone and applied to
    everybody's features; then the task's linear probe is trained anew.

    Args:
        encoder, corpus, force: as `fairlib.probe`'s ``what`` and ``corpus``.
        by: speaker columns that make the groups, or one that is a number, such as age; speakers for whom one is missing
            do not fit the eraser.
        task: ``sid``: pooled utterances and `SpeakerProbe`. ``phone``: frames and `PhoneProbe`.
        seeds: of the probe, of the random labels and directions.

    Returns:
        Outcomes whose ``probe`` says what was erased: ``nothing erased``, ``group erased``, and as controls the
        ``random labels`` of as many speakers a group and a ``random direction`` (as many of them as there are groups
        less one). Units are the task's, and with ``sid`` also ``group``: which group a linear probe, trained on the
        train half's speakers, reads from the utterances of the test half's, and ``random group``: the same of random
        labels of the speakers, which no probe can read from a new speaker's voice. Of a number these units are ``year``
        and ``random year``: a ridge regression's absolute error, in tenths.

    Raises:
        ProbeError: an unknown task or column, or fewer than two groups with two training speakers.

    Example:
        >>> erased = erase_group("pocket-hubert", "speechocean762", by="age_group")  # doctest: +SKIP
        >>> erased.query("unit == 'speaker'").groupby(["probe", "layer"])["errors"].mean()  # doctest: +SKIP
    """
    by, known = columns_of(by), {"sid": (_speakers, SpeakerProbe()), "phone": (_phones, PhoneProbe())}
    if task not in known:
        raise ProbeError(f"Unknown task {task!r}: choose {' or '.join(known)}.")
    compute_task, probe = known[task]
    settings = {**probe.settings(), "by": by, "leace": 1, "group_l2": GROUP_L2}

    def compute(work: Work, seed: int) -> tuple[pd.DataFrame, dict]:
        if not _is_number(work.table, by):
            check_columns(work.table, by)
        return compute_task(work, by, seed)

    return stored(task, f"erased {listed(by)}", encoder, corpus, (), settings, seeds, force, compute)


def _speakers(work: Work, by: list[str], seed: int) -> tuple[pd.DataFrame, dict]:
    chosen, few = enough(work.table, FEWEST_UTTERANCES)
    rows = work.table.iloc[chosen].reset_index(drop=True)
    groups = _Groups(rows, halves(work.table).to_numpy()[chosen], by, seed)
    features, probe = work.features(work.table), SpeakerProbe()
    labels, names = pd.factorize(rows["speaker_id"])
    test = held_out(rows["speaker_id"], probe.test_share, seed)
    tables = []
    for layer in features.layers:
        for what, matrix in groups.erased(features.pooled(layer)[chosen].astype(np.float32)).items():
            guess = fit(probe, matrix, labels, ~test, seed, work.device)[test].argmax(axis=1)
            table = rows[test].assign(predicted=np.asarray(names)[guess], unit="speaker", length=1)
            table["errors"] = (table["predicted"] != table["speaker_id"]).astype(int)
            for unit, wrong in groups.read(matrix, work.device).items():
                read = rows[groups.tested].assign(predicted="", unit=unit, errors=wrong, length=groups.parts)
                table = pd.concat([table, read])
            tables.append(_of_speakers(table).assign(layer=layer, probe=what))
    return with_left_out(pd.concat(tables).assign(predicted=""), few)


def _phones(work: Work, by: list[str], seed: int) -> tuple[pd.DataFrame, dict]:
    frames = PhoneFrames(work)
    train, test = ((frames.half == half)[frames.owner] for half in ("train", "test"))
    groups = _Groups(frames.table, frames.half, by, seed, frames.owner)
    tables = []
    for layer in frames.features.layers:
        for what, matrix in groups.erased(frames.matrix(layer)).items():
            scores = fit(PhoneProbe(), matrix, frames.codes, train, seed, work.device)
            wrong = (scores.argmax(axis=1) != frames.codes)[test].astype(int)
            counted = frames.by_utterance(wrong, test).assign(unit="phone")
            tables.append(_of_speakers(counted).assign(layer=layer, probe=what))
    return with_left_out(pd.concat(tables).assign(predicted=""), utterances=frames.left_out)


def _of_speakers(rows: pd.DataFrame) -> pd.DataFrame:
    """A row a speaker and unit."""
    sums = rows.groupby(["speaker_id", "unit"], as_index=False)[["errors", "length"]].sum()
    people = rows.drop_duplicates("speaker_id").drop(columns=["errors", "length", "unit"])
    return sums.merge(people, on="speaker_id").assign(utterance_id=sums["speaker_id"].to_numpy())


def _is_number(table: pd.DataFrame, by: list[str]) -> bool:
    return len(by) == 1 and by[0] in table and is_number(table[by[0]])


class _Groups:
    """The groups of rows' speakers, or a number of theirs, as they are and at random, and the erasers of them.

    Args:
        half: of each row of the table; of people in neither half no group is known here.
        owner: row of the table that each row of features is of; as they stand, where left out.
    """

    def __init__(
        self, table: pd.DataFrame, half: np.ndarray, by: list[str], seed: int, owner: np.ndarray | None = None
    ) -> None:
        owner = np.arange(len(table)) if owner is None else owner
        self._number = _is_number(table, by)
        self.parts = _PARTS if self._number else 1
        values = table[by[0]].astype(float).to_numpy() if self._number else group_of(table, by)
        known = (np.isfinite(values) if self._number else values != "") & np.isin(half, ("train", "test"))
        people = pd.Series(values[known], index=table["speaker_id"].to_numpy()[known]).groupby(level=0).first()
        in_train = pd.Series(half == "train", index=table["speaker_id"].to_numpy())[known].groupby(level=0).first()
        counts = people[in_train].value_counts()
        if (counts >= (1 if self._number else 2)).sum() < 2:
            raise ProbeError(
                f"Erasing {listed(by)} needs two groups with two training speakers each; {corpus_name(table)} has "
                f"{', '.join(f'{count} of {name}' for name, count in counts.items()) or 'none'}."
            )
        self._rng = np.random.default_rng(seed)
        shuffled = people.copy()
        for side in (in_train, ~in_train):  # each half keeps its numbers
            shuffled[side] = self._rng.permutation(people[side])
        if not self._number:
            names = {name: number for number, name in enumerate(sorted(counts.index))}
            people, shuffled = people.map(names), shuffled.map(names)
        of_row = table["speaker_id"].iloc[owner]
        units = (YEARS, RANDOM_YEARS) if self._number else (GROUP, RANDOM_GROUP)
        self._values = {unit: of.reindex(of_row).to_numpy(float) for unit, of in zip(units, (people, shuffled))}
        self._speaker = pd.factorize(of_row)[0]
        there = np.isfinite(self._values[units[0]])
        self._taught, self.tested = ((half == one)[owner] & there for one in ("train", "test"))
        self._rank = 1 if self._number else len(names) - 1

    def erased(self, matrix: np.ndarray) -> dict[str, np.ndarray]:
        """The features as they are, without the group, without random labels and without a random direction."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # it compiles what is not used here, in a way torch leaves
            from concept_erasure import LeaceEraser

        taught = torch.from_numpy(np.asarray(matrix[self._taught], np.float32)).double()
        spread = taught.std(dim=0).clamp(min=1e-6)
        made = {KEPT: matrix}
        for what, values in zip((ERASED, RANDOM_LABELS), self._values.values()):
            concept = torch.from_numpy(values[self._taught])
            concept = concept[:, None] if self._number else torch.nn.functional.one_hot(concept.long()).double()
            made[what] = _applied(matrix, spread, LeaceEraser.fit(taught / spread, concept))
        axes = torch.from_numpy(np.linalg.qr(self._rng.standard_normal((matrix.shape[1], self._rank)))[0])
        made[RANDOM_DIRECTION] = _applied(matrix, spread, lambda rows: rows - (rows @ axes) @ axes.T)
        return made

    def read(self, matrix: np.ndarray, device: str) -> dict[str, np.ndarray]:
        """How wrongly each tested row's group or number, and its random one, are read: 0 or 1, or tenths of a year."""
        return {unit: self._misread(matrix, values, device) for unit, values in self._values.items()}

    def _misread(self, matrix: np.ndarray, values: np.ndarray, device: str) -> np.ndarray:
        if self._number:
            mean, deviation = matrix[self._taught].mean(axis=0), matrix[self._taught].std(axis=0)
            standard = (matrix - mean) / np.maximum(deviation, 1e-6)
            taught, tested = standard[self._taught], standard[self.tested]
            folds = GroupKFold(RIDGE_FOLDS).split(taught, groups=self._speaker[self._taught])
            ridge = RidgeCV(np.geomspace(*RIDGE_PENALTIES, RIDGE_CHOICES), cv=list(folds)).fit(
                taught, values[self._taught]
            )
            return np.round(_PARTS * np.abs(ridge.predict(tested) - values[self.tested])).astype(int)
        rows = np.flatnonzero(self._taught | self.tested)
        train, codes = self._taught[rows], values[rows].astype(int)
        guess = fit_softmax(matrix[rows], codes, train, l2=GROUP_L2, device=device)[~train].argmax(axis=1)
        return (guess != codes[~train]).astype(int)


def _applied(matrix: np.ndarray, spread: torch.Tensor, change: Callable) -> np.ndarray:
    """Features changed in units of their deviations, a part at a time."""
    parts = [
        torch.from_numpy(np.asarray(part, np.float32)).double()
        for part in np.array_split(matrix, max(1, len(matrix) // 50_000))
    ]
    return torch.cat([(change(part / spread) * spread).float() for part in parts]).numpy()
