"""Which group a layer shows its speakers to be of, and what becomes of the errors when that is erased."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch

from fairlib.corpora import halves
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
_L2 = 1e-2  # of the probe that reads groups: few speakers, wide vectors


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
        by: speaker columns that make the groups; speakers for whom one is missing do not fit the eraser.
        task: ``sid``: pooled utterances and `SpeakerProbe`. ``phone``: frames and `PhoneProbe`.
        seeds: of the probe, of the random labels and directions.

    Returns:
        Outcomes whose ``probe`` says what was erased: ``nothing erased``, ``group erased``, and as controls the
        ``random labels`` of as many speakers a group and a ``random direction`` (as many of them as there are groups
        less one). Units are the task's, and with ``sid`` also ``group``: which group a linear probe, trained on the
        train half's speakers, reads from the utterances of the test half's, and ``random group``: the same of random
        labels of the speakers, which no probe can read from a new speaker's voice.

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
    settings = {**probe.settings(), "by": by, "leace": 1, "group_l2": _L2}

    def compute(work: Work, seed: int) -> tuple[pd.DataFrame, dict]:
        check_columns(work.table, by)
        return compute_task(work, by, seed)

    return stored(task, f"erased {listed(by)}", encoder, corpus, (), settings, seeds, force, compute)


def _speakers(work: Work, by: list[str], seed: int) -> tuple[pd.DataFrame, dict]:
    chosen, few = enough(work.table, FEWEST_UTTERANCES)
    rows = work.table.iloc[chosen].reset_index(drop=True)
    groups = _Groups(rows, (halves(work.table).to_numpy() == "train")[chosen], by, seed)
    features, probe = work.features(work.table), SpeakerProbe()
    labels, names = pd.factorize(rows["speaker_id"])
    test = held_out(rows["speaker_id"], probe.test_share, seed)
    tables = []
    for layer in features.layers:
        for what, matrix in groups.erased(features.pooled(layer)[chosen].astype(np.float32)).items():
            guess = fit(probe, matrix, labels, ~test, seed, work.device)[test].argmax(axis=1)
            table = rows[test].assign(predicted=np.asarray(names)[guess], unit="speaker")
            table["errors"] = (table["predicted"] != table["speaker_id"]).astype(int)
            for unit, wrong in groups.read(matrix, work.device).items():
                of_group = rows[groups.tested].assign(predicted="", unit=unit, errors=wrong)
                table = pd.concat([table, of_group])
            tables.append(_of_speakers(table).assign(layer=layer, probe=what))
    return with_left_out(pd.concat(tables).assign(predicted=""), few)


def _phones(work: Work, by: list[str], seed: int) -> tuple[pd.DataFrame, dict]:
    frames = PhoneFrames(work)
    train, test = ((frames.half == half)[frames.owner] for half in ("train", "test"))
    groups = _Groups(frames.table, frames.half == "train", by, seed, frames.owner)
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
    if "length" not in rows:
        rows = rows.assign(length=1)
    sums = rows.groupby(["speaker_id", "unit"], as_index=False)[["errors", "length"]].sum()
    people = rows.drop_duplicates("speaker_id").drop(columns=["errors", "length", "unit"])
    return sums.merge(people, on="speaker_id").assign(utterance_id=sums["speaker_id"].to_numpy())


class _Groups:
    """The groups of rows' speakers, as they are and at random, and the erasers of them.

    Args:
        owner: row of the table that each row of features is of; as they stand, where left out.
    """

    def __init__(
        self, table: pd.DataFrame, train: np.ndarray, by: list[str], seed: int, owner: np.ndarray | None = None
    ) -> None:
        owner = np.arange(len(table)) if owner is None else owner
        group = pd.Series(group_of(table, by), index=table["speaker_id"].to_numpy())
        people = group.groupby(level=0).first().sort_index()
        in_train = pd.Series(train, index=table["speaker_id"].to_numpy()).groupby(level=0).first().loc[people.index]
        counts = people[in_train & (people != "")].value_counts()
        if (counts >= 2).sum() < 2:
            raise ProbeError(
                f"Erasing {listed(by)} needs two groups with two training speakers each; {corpus_name(table)} has "
                f"{', '.join(f'{count} of {name}' for name, count in counts.items()) or 'none'}."
            )
        self._rng = np.random.default_rng(seed)
        shuffled = people.copy()
        for half in (True, False):  # each half keeps its numbers
            mine = (in_train == half) & (people != "")
            shuffled[mine] = self._rng.permutation(people[mine])
        names = sorted(counts.index)
        place = {name: number for number, name in enumerate(names)}
        of_row = table["speaker_id"].iloc[owner]
        self._codes = {
            GROUP: people.map(place).reindex(of_row).fillna(-1).to_numpy(int),
            RANDOM_GROUP: shuffled.map(place).reindex(of_row).fillna(-1).to_numpy(int),
        }
        known = self._codes[GROUP] >= 0
        self._taught, self.tested, self._rank = train[owner] & known, ~train[owner] & known, len(names) - 1

    def erased(self, matrix: np.ndarray) -> dict[str, np.ndarray]:
        """The features as they are, without the group, without random labels and without a random direction."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # it compiles what is not used here, in a way torch leaves
            from concept_erasure import LeaceEraser

        taught = torch.from_numpy(np.asarray(matrix[self._taught], np.float32)).double()
        spread = taught.std(dim=0).clamp(min=1e-6)
        made = {KEPT: matrix}
        for what, unit in ((ERASED, GROUP), (RANDOM_LABELS, RANDOM_GROUP)):
            codes = torch.from_numpy(self._codes[unit][self._taught])
            eraser = LeaceEraser.fit(taught / spread, torch.nn.functional.one_hot(codes).double())
            made[what] = _applied(matrix, spread, eraser)
        axes = torch.from_numpy(np.linalg.qr(self._rng.standard_normal((matrix.shape[1], self._rank)))[0])
        made[RANDOM_DIRECTION] = _applied(matrix, spread, lambda rows: rows - (rows @ axes) @ axes.T)
        return made

    def read(self, matrix: np.ndarray, device: str) -> dict[str, np.ndarray]:
        """Whether the group of each tested row, and its random one, is read wrongly, 0 or 1."""
        rows, found = np.flatnonzero(self._taught | self.tested), {}
        train = self._taught[rows]
        for unit, codes in self._codes.items():
            guess = fit_softmax(matrix[rows], codes[rows], train, l2=_L2, device=device)[~train].argmax(axis=1)
            found[unit] = (guess != codes[rows][~train]).astype(int)
        return found


def _applied(matrix: np.ndarray, spread: torch.Tensor, change: Callable) -> np.ndarray:
    """Features changed in units of their deviations, a part at a time."""
    parts = [
        torch.from_numpy(np.asarray(part, np.float32)).double()
        for part in np.array_split(matrix, max(1, len(matrix) // 50_000))
    ]
    return torch.cat([(change(part / spread) * spread).float() for part in parts]).numpy()
