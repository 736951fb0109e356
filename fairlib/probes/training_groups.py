"""Cross-group training: probes trained on one speaker group alone, on another and on both, tested on everybody.

What a probe trained on the own group does better than one trained on the other is what a shift between the groups costs
(systematic error); what the groups still differ by, each under its own probe, is not a shift.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd

from fairlib.base.tasks import SAME_MIX
from fairlib.corpora import halves
from fairlib.encoders import Encoder
from fairlib.encoders.features import Features
from fairlib.outcomes.mix import same_mix
from fairlib.outcomes.training_groups import MIXED, OTHER_HALF, OWN_HALF, trained_on
from fairlib.probes.classifiers import fit
from fairlib.probes.phones import PhoneFrames, PhoneProbe
from fairlib.probes.splits import ProbeError, check_columns, columns_of, corpus_name, group_of, listed
from fairlib.probes.stored import Work, stored, with_left_out
from fairlib.probes.trials import lda_directions

FEWEST_TRAINING_SPEAKERS = 4  # training speakers of either group
DRAWS = 5  # of the training speakers
FOLDS = 4  # of each test speaker's utterances: each is asked about while the others are enrolled


def train_across_groups(
    encoder: str | Encoder | Features, corpus: str | pd.DataFrame | None = None,
    by: str | Sequence[str] = ("age_group",), groups: Sequence[str] = (), task: str = "phone", draws: int = DRAWS,
    force: bool = False,
) -> pd.DataFrame:  # fmt: skip
    """Errors on all test speakers of two groups, by probes trained on either group alone and on both.

    In each draw, half of the train half's speakers of the smaller group, and as many of the other, are trained on: so
    many that the draws scatter about as studies with all of them would (the variance of a mean of half of n things is
    that of n). All probes of a draw are trained on as many frames, or utterances.

    Args:
        encoder, corpus, force: as `fairlib.probe`'s ``what`` and ``corpus``.
        by: speaker columns that make the groups.
        groups: two of them; left out, the two with most training speakers.
        task: ``phone``: linear `PhoneProbe`. ``sid``: the test half's speakers are enrolled with three quarters of
            their utterances and identified in the others, each quarter in turn, by cosine after linear discriminants
            trained on the train half's speakers.
        draws: of the training speakers; the outcomes' seeds.

    Returns:
        Outcomes, a row a test speaker and layer. ``probe`` is "taught on" a group, on "mixed speakers" (half of either
        group), and, as the null, on the "own random half" or the "other random half", where speakers were parted at
        random. Phones are counted as they come (unit ``phone``) and with all groups' frames weighed to one mix of
        phones and durations (unit ``phone, same mix``, in thousandths).

    Raises:
        ProbeError: an unknown column, group or task, or too few training speakers of a group.

    Example:
        >>> crossed = train_across_groups("pocket-hubert", "speechocean762", by="age_group")  # doctest: +SKIP
        >>> crossed.groupby(["probe", "age_group"])[["errors", "length"]].sum()  # doctest: +SKIP
    """
    by, known = columns_of(by), {"phone": _cross_phones, "sid": _cross_speakers}
    if task not in known:
        raise ProbeError(f"Unknown task {task!r}: choose {' or '.join(known)}.")
    settings = {"by": by, "groups": sorted(groups), "folds": FOLDS} if task == "sid" else {
        **PhoneProbe().settings(), "by": by, "groups": sorted(groups)
    }  # fmt: skip

    def compute(work: Work, seed: int) -> tuple[pd.DataFrame, dict]:
        check_columns(work.table, by)
        _, why = two_groups(work.table, halves(work.table).to_numpy(), by, groups)  # before anything is encoded
        if why:
            raise ProbeError(why)
        return known[task](work, by, groups, seed)

    between = f"{listed(by)}{': ' + listed(sorted(groups)) if groups else ''}"
    return stored(task, f"cross-taught by {between}", encoder, corpus, (), settings, draws, force, compute)


def _cross_phones(work: Work, by: list[str], groups: Sequence[str], seed: int) -> tuple[pd.DataFrame, dict]:
    frames = PhoneFrames(work)
    people = _People(frames.table, frames.half, by, groups, seed)
    of_frame = people.of_row[frames.owner]  # place among people, -1 for others
    tested = np.flatnonzero(np.isin(of_frame, people.tested))
    sets = people.training(lambda who: np.flatnonzero(np.isin(of_frame, who)))
    spoken = pd.DataFrame({"phone": frames.phones[frames.codes[tested]], "duration": frames.durations[tested]})
    tables = []
    for layer in frames.features.layers:
        matrix = frames.matrix(layer)

        def wrong(chosen: np.ndarray, matrix: np.ndarray = matrix) -> np.ndarray:
            rows = np.concatenate([chosen, tested])
            train = np.arange(len(rows)) < len(chosen)
            scores = fit(PhoneProbe(), matrix[rows], frames.codes[rows], train, seed, work.device)[len(chosen) :]
            return (scores.argmax(axis=1) != frames.codes[tested]).astype(int)

        for name, errors in people.crossed(sets, wrong, of_frame[tested]):
            cells = spoken.assign(place=of_frame[tested], errors=errors, length=1)
            cells = cells.groupby(["place", "phone", "duration"], as_index=False).sum()
            cells["group"] = people.group[cells["place"]]
            mixed = same_mix(cells, "group", ["phone", "duration"])
            for unit, counts, times in (("phone", cells, 1), (SAME_MIX, mixed, 1000)):
                sums = counts.groupby("place")[["errors", "length"]].sum()
                tables.append(_of_people(people, sums, times).assign(layer=layer, probe=trained_on(name), unit=unit))
    return with_left_out(pd.concat(tables).assign(predicted=""), utterances=frames.left_out)


def _cross_speakers(work: Work, by: list[str], groups: Sequence[str], seed: int) -> tuple[pd.DataFrame, dict]:
    table, features = work.table, work.features(work.table)
    half = halves(table).to_numpy()
    used = np.isin(half, ("train", "test"))
    counts = pd.Series(used).groupby(table["speaker_id"].to_numpy()).transform("sum").to_numpy()
    kept = used & (counts >= 2)
    table = table[kept].reset_index(drop=True)
    people = _People(table, half[kept], by, groups, seed)
    tested = np.flatnonzero(np.isin(people.of_row, people.tested))
    fold = _folds(people.of_row[tested], seed)
    sets = people.training(lambda who: np.flatnonzero(np.isin(people.of_row, who)))
    tables = []
    for layer in features.layers:
        matrix = features.pooled(layer)[kept].astype(float)

        def wrong(chosen: np.ndarray, matrix: np.ndarray = matrix) -> np.ndarray:
            mean, deviation = matrix[chosen].mean(axis=0), np.maximum(matrix[chosen].std(axis=0), 1e-6)
            standard = (matrix - mean) / deviation
            directions = lda_directions(standard[chosen], people.of_row[chosen])
            seen, speaker = standard[tested] @ directions, people.of_row[tested]
            errors = np.zeros(len(tested), int)
            for number in range(FOLDS):
                asked = fold == number
                enrolled = np.stack([seen[(speaker == who) & ~asked].mean(axis=0) for who in people.tested])
                named = people.tested[(_unit(seen[asked]) @ _unit(enrolled).T).argmax(axis=1)]
                errors[asked] = named != speaker[asked]
            return errors

        for name, errors in people.crossed(sets, wrong, people.of_row[tested]):
            rows = pd.DataFrame({"place": people.of_row[tested], "errors": errors, "length": 1})
            sums = rows.groupby("place")[["errors", "length"]].sum()
            tables.append(_of_people(people, sums).assign(layer=layer, probe=trained_on(name), unit="speaker"))
    few = sorted(work.table["speaker_id"][used & (counts < 2)].unique())
    return with_left_out(pd.concat(tables).assign(predicted=""), few)


def _folds(speaker: np.ndarray, seed: int) -> np.ndarray:
    """A fold for each row, a speaker's rows being dealt out evenly in random order."""
    order = np.random.default_rng(seed).permutation(len(speaker))
    fold = np.empty(len(speaker), int)
    fold[order] = pd.Series(speaker[order]).groupby(speaker[order]).cumcount().to_numpy() % FOLDS
    return fold


def two_groups(
    table: pd.DataFrame, half: np.ndarray, by: Sequence[str], groups: Sequence[str] = (), tested: int = 2
) -> tuple[list[str], str]:
    """The two groups to train on, and why they cannot; without it, they can.

    Args:
        half: of each row, ``train`` or ``test``.
        groups: two of them; by default those with most training speakers.
        tested: the fewest people of either group in the test half.

    Example:
        >>> table = pd.DataFrame({"speaker_id": list("aabbccdd"), "sex": list("ffmmffmm"), "corpus": "mine"})
        >>> two_groups(table, np.array(["train"] * 4 + ["test"] * 4), ["sex"])[1].partition(";")[0]
        'Cross-group training by sex needs 4 training speakers and 2 test speakers of each group'
    """
    known = pd.Series(group_of(table, by), index=table["speaker_id"].to_numpy())
    sizes = {}
    for part in ("train", "test"):
        people = known[half == part].groupby(level=0).first()
        sizes[part] = people[people != ""].value_counts().sort_index()
    names = sorted(groups) if groups else sorted(sizes["train"].nlargest(2).index)
    there = sorted(set(known) - {""})
    lacking = [name for name in names if name not in there]
    if lacking or (groups and len(names) != 2):
        what = f"there is no {lacking[0]!r}" if lacking else f"{len(names)} were given"
        return names, (
            f"Cross-group training compares two groups by {listed(by)}; {what}: name two of"
            f" {', '.join(there) or 'none'}."
        )
    least = [min((int(sizes[part].get(name, 0)) for name in names), default=0) for part in ("train", "test")]
    if len(names) == 2 and least[0] >= FEWEST_TRAINING_SPEAKERS and least[1] >= tested:
        return names, ""
    counts = " and ".join(f"{sizes['train'].get(name, 0)} and {sizes['test'].get(name, 0)} of {name}" for name in names)
    return names, (
        f"Cross-group training by {listed(by)} needs {FEWEST_TRAINING_SPEAKERS} training speakers and {tested} test"
        f" speakers of each group; {corpus_name(table)} has {counts or 'none'}."
    )


def _unit(matrix: np.ndarray) -> np.ndarray:
    return matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)


class _People:
    """The speakers of the two groups: who is tested, and who is trained on in this draw.

    Attributes:
        group: of each speaker, by place.
        of_row: the place of each row's speaker; -1 for people of neither group, and for rows of neither half.
        tested: places of the test half's speakers.
    """

    def __init__(self, table: pd.DataFrame, half: np.ndarray, by: list[str], groups: Sequence[str], seed: int) -> None:
        names, why = two_groups(table, half, by, groups)
        if why:
            raise ProbeError(why)
        used = np.isin(half, ("train", "test"))
        known = pd.Series(group_of(table, by), index=table["speaker_id"].to_numpy())[used]
        known = known[known.isin(names)]
        self.rows = table[table["speaker_id"].isin(known.index)].drop_duplicates("speaker_id")
        self.rows = self.rows.sort_values("speaker_id").reset_index(drop=True)
        places = pd.Series(range(len(self.rows)), index=self.rows["speaker_id"])
        self.group = known.groupby(level=0).first().loc[places.index].to_numpy()
        self.of_row = np.where(used, places.reindex(table["speaker_id"]).fillna(-1).to_numpy(int), -1)
        in_train, in_test = (np.isin(np.arange(len(places)), self.of_row[half == one]) for one in ("train", "test"))
        self.names, self.tested = names, np.flatnonzero(in_test)
        rng = np.random.default_rng(seed)
        sides = [rng.permutation(np.flatnonzero(in_train & (self.group == name))) for name in names]
        most = min(map(len, sides)) // 2
        self._sides = [side[: most - most % 2] for side in sides]
        order = rng.permutation(len(places))
        self._in_first = np.zeros(len(places), bool)  # of two random halves of the people tested
        for name in names:
            mine = [place for place in order if in_test[place] and self.group[place] == name]
            self._in_first[mine[::2]] = True
        self._rng = rng

    def training(self, rows_of: Callable[[np.ndarray], np.ndarray]) -> list[np.ndarray]:
        """Rows to train on, as many in each: of either group alone, in the order of ``names``, and two mixed sets."""
        half = len(self._sides[0]) // 2
        parts = [
            (self._rng.permutation(rows_of(side[:half])), self._rng.permutation(rows_of(side[half:])))
            for side in self._sides
        ]
        size = min(len(part) for pair in parts for part in pair)
        (a1, a2), (b1, b2) = ((one[:size], two[:size]) for one, two in parts)
        return [np.concatenate(pair) for pair in ((a1, a2), (b1, b2), (a1, b1), (a2, b2))]

    def crossed(
        self, sets: Sequence[np.ndarray], wrong: Callable[[np.ndarray], np.ndarray], place: np.ndarray
    ) -> Iterator[tuple[str, np.ndarray]]:
        """Errors under each set of `training`, by whom it holds; ``place`` is that of each tested row's speaker."""
        *alone, mixed, other = (wrong(rows) for rows in sets)
        yield from zip(self.names, alone)
        yield MIXED, mixed
        mine = self._in_first[place]
        yield OWN_HALF, np.where(mine, mixed, other)
        yield OTHER_HALF, np.where(mine, other, mixed)


def _of_people(people: _People, sums: pd.DataFrame, times: int = 1) -> pd.DataFrame:
    """A row a speaker with these sums, in so many parts."""
    counts = (times * sums).round().astype(int)
    rows = people.rows.loc[counts.index]
    return rows.assign(utterance_id=rows["speaker_id"], errors=counts["errors"], length=counts["length"].clip(lower=1))
