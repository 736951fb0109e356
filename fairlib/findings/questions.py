"""What can be asked of a corpus: which tasks, and about which groups. What cannot is said, in a sentence each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from fairlib.base.tasks import TASKS, task_named
from fairlib.bias import FEWEST_SHOWN, BiasError, contrasts_between, groups_of_speakers, only_groups
from fairlib.bias.dose import bands_of, number_of
from fairlib.corpora import CorpusError, halves, is_synthetic
from fairlib.corpora.labels import is_number
from fairlib.findings.wording import say
from fairlib.outcomes import provenance, published_outcomes

IDENTIFIES = ("encoders-and-layers",)  # chapters in which verification does not stand in for identification
CROSSED = ("why",)  # chapters that train probes on either group alone
DESCRIBES = ("speakers-and-groups", "your-own-model")  # chapters that say who is in a corpus, whatever can be asked


class QuestionError(ValueError):
    """Nothing of what a chapter asks can be asked of the corpus; the message says why."""


@dataclass(frozen=True)
class Asked:
    """Outcomes by task, of the groups that can be compared.

    Attributes:
        outcomes: by task; whoever belongs to no group with enough people has none here.
        groups: those that are compared, in every task the same.
        contrast: the one to lead with; empty where no two groups can be compared.
        refused: by task, why it is not asked.
        said: what is left out, and what stands in its place, in sentences.
        runs: the tables that the outcomes were put together from.
    """

    outcomes: dict[str, pd.DataFrame]
    groups: list[str]
    contrast: str
    refused: dict[str, str]
    said: list[str]
    runs: list[pd.DataFrame]

    def or_stop(self) -> Asked:
        """Itself, if anything can be asked.

        Raises:
            QuestionError: says why not.
        """
        if not self.outcomes:
            raise QuestionError(" ".join(self.refused.values()))
        return self


def ask(asks: Mapping[str, Callable[[], Sequence[pd.DataFrame]]], by: str = "") -> Asked:
    """Ask each task in turn, and keep the groups with enough people in all of them.

    Args:
        asks: by a key of `fairlib.base.tasks.TASKS`, what gives the outcomes of its encoders.
        by: the speaker column whose groups are compared; without it everybody is kept.

    Example:
        >>> from fairlib.bias.simulation import simulate_outcomes
        >>> outcomes = simulate_outcomes({"child": [0.3], "adult": [0.2]}, speakers=6, by="age_group")
        >>> ask({"asr": lambda: [outcomes]}, by="age_group").contrast
        'child vs adult'
    """
    from fairlib.probes import ProbeError  # brings torch, which a look at the corpus does without

    tables, refused = {}, {}
    for task, outcomes in asks.items():
        try:
            tables[task] = list(outcomes())
        except (CorpusError, ProbeError, BiasError) as error:
            refused[task] = str(error)
    joined = {task: pd.concat(several, ignore_index=True) for task, several in tables.items()}
    said = [line for task, several in tables.items() for line in _about(task, several)]
    groups: list[str] = []
    contrast = ""
    if by and joined:
        joined = in_bands(joined, by)
        groups, sizes, lacking = _comparable(joined, by)
        least = min(map(fewest_compared, joined.values()), default=FEWEST_SHOWN)
        refused |= {task: _no_groups(by, sizes[task], least) for task in lacking}
        joined = {task: only_groups(table, by, groups) for task, table in joined.items() if task not in lacking}
        said += _left_out(sizes, groups, by, least)
        contrast = leading({group: sizes[next(iter(joined))][group] for group in groups}, by) if joined else ""
    said += [say("questions.not_run", task=task_named(task).heading, why=why) for task, why in refused.items()]
    runs = [table for task in joined for table in tables[task]]
    return Asked(joined, groups, contrast, refused, said, runs)


def in_bands(tables: Mapping[str, pd.DataFrame], by: str) -> dict[str, pd.DataFrame]:
    """The tables; where ``by`` holds numbers, each speaker's band stands in their place, the same in every table, and
    the number beside it (`number_of`)."""
    known = pd.concat([table[["speaker_id", by]] for table in tables.values() if by in table] or [pd.DataFrame()])
    if known.empty or not is_number(known[by]):
        return dict(tables)
    known = known.dropna().drop_duplicates("speaker_id").set_index("speaker_id")[by].astype(float)
    bands = bands_of(known.rename(by))
    return {
        task: table.assign(**{number_of(by): table[by].astype(float), by: table["speaker_id"].map(bands)})
        for task, table in tables.items()
    }


def leading(sizes: Mapping[str, int], by: str) -> str:
    """The contrast whose smaller side has most people, whatever the gaps; empty where there are no two groups.

    Example:
        >>> leading({"north": 9, "south": 30, "west": 20}, "region"), leading({"north": 9}, "region")
        ('south vs all others', '')
    """
    if len(sizes) < 2:
        return ""
    contrasts = sorted(contrasts_between(sizes, by))  # equal sizes: by name
    return max(contrasts, key=lambda it: min(sizes[it[1]], sum(sizes[other] for other in it[2])))[0]


def group_sizes(table: pd.DataFrame, by: str) -> dict[str, int]:
    """People in each group, by name."""
    return groups_of_speakers(table, by).value_counts().sort_index().astype(int).to_dict() if by in table else {}


def left_out(table: pd.DataFrame, by: str) -> list[str]:
    """Whom a comparison by this column leaves out of a table of people or outcomes, in sentences.

    Example:
        >>> left_out(pd.DataFrame({"speaker_id": list("abc"), "region": ["north", "north", None]}), "region")
        ['Groups with fewer than 5 speakers are not compared: speakers with region “north” (2).',
         'For 1 of 3 speakers region is not recorded; they are in no comparison.']
    """
    sizes = group_sizes(table, by)
    lines = _left_out({"": sizes}, [group for group, size in sizes.items() if size >= FEWEST_SHOWN], by)
    everybody = table["speaker_id"].nunique()
    if unknown := everybody - sum(sizes.values()):
        lines.append(say("questions.unknown", unknown=unknown, people=everybody, column=by))
    return lines


def _comparable(tables: dict[str, pd.DataFrame], by: str) -> tuple[list[str], dict[str, dict[str, int]], list[str]]:
    """Groups with enough people in every task that has two of them; everybody's sizes; the tasks that have not."""
    sizes = {task: group_sizes(table, by) for task, table in tables.items()}
    kept: list[str] = []
    lacking = []
    for task, mine in sizes.items():
        large = [group for group, size in mine.items() if size >= fewest_compared(tables[task])]
        both = [group for group in large if group in kept] if kept else large
        if len(both) < 2:
            lacking.append(task)
        else:
            kept = both
    return kept, sizes, lacking


def fewest_compared(table: pd.DataFrame) -> int:
    """Fewest people of a group that is compared; synthetic voices show how a chapter works, and are nobody."""
    synthetic = len(table) and "corpus" in table and is_synthetic(table["corpus"].iloc[0])
    return 2 if synthetic else FEWEST_SHOWN


def _no_groups(by: str, sizes: dict[str, int], least: int = FEWEST_SHOWN) -> str:
    return say("questions.no_groups", column=by, least=least, sizes=sizes)


def _left_out(
    sizes: Mapping[str, dict[str, int]], kept: Sequence[str], by: str, least: int = FEWEST_SHOWN
) -> list[str]:
    smallest: dict[str, int] = {}
    for mine in sizes.values():
        smallest |= {group: min(size, smallest.get(group, size)) for group, size in mine.items() if group not in kept}
    if not smallest:
        return []
    largest_first = dict(sorted(smallest.items(), key=lambda it: -it[1]))
    return [say("questions.left_out", by=by, least=least, sizes=largest_first)]


def _about(task: str, tables: Sequence[pd.DataFrame]) -> list[str]:
    """What a page should say of a task's outcomes before it shows them."""
    from fairlib.probes.speakers import FEWEST_UTTERANCES

    title, verified = task_named(task).title, task == "sid" and bool((tables[0]["unit"] == "target").any())
    lines = [say("questions.verified", least=FEWEST_UTTERANCES)] if verified else []
    from_store = provenance(tables[0])
    few, gone = from_store.get("left_out"), from_store.get("utterances_left_out")
    if task == "sid" and few:
        least = 2 if verified else FEWEST_UTTERANCES
        lines.append(say("questions.few_utterances", few=len(few), least=least, task=title))
    if gone:
        lines.append(say("questions.utterances_left_out", gone=gone, task=title))
    return lines


# ---- before anything is computed ----


def reasons_against(table: pd.DataFrame, by: str = "", verify: bool = True) -> dict[str, str]:
    """Why a task cannot be asked of a corpus, by task; empty where it can. Reads no audio.

    Args:
        table: a corpus table.
        by: the speaker column whose groups are to be compared.
        verify: where nobody can be identified, to verify speakers will do.

    Example:
        >>> table = pd.DataFrame({"speaker_id": ["a", "b"] * 4, "text": None, "corpus": "mine"})
        >>> [task for task, why in reasons_against(table).items() if not why]
        ['sid']
    """
    from fairlib.probes.speakers import FEWEST_UTTERANCES

    counts = table.groupby("speaker_id").size()
    known = table["text"].fillna("").astype(str).str.strip() != "" if "text" in table else pd.Series(False, table.index)
    identified = counts.index[counts >= FEWEST_UTTERANCES]
    try:
        test = halves(table) == "test"
        tested = table[test & table["speaker_id"].isin(counts.index[counts >= 2])]
        alone = ""
    except CorpusError as error:
        test, tested, alone = pd.Series(False, table.index), table.iloc[:0], str(error)
    spoken = table[table["speaker_id"].isin(identified)]
    few = say("questions.few", least=FEWEST_UTTERANCES, verify=verify)
    if verify:
        spoken = spoken if len(identified) >= 2 else tested
    unknown = alone or say("questions.no_transcripts", half="test")
    whys = {}
    for task, asked, why in (("sid", spoken, few), ("asr", table[test & known], unknown)):
        whys[task] = "" if asked["speaker_id"].nunique() >= (2 if task == "sid" else 1) else why
        if by and not whys[task]:
            sizes = group_sizes(asked, by)
            if sum(size >= FEWEST_SHOWN for size in sizes.values()) < 2:
                whys[task] = _no_groups(by, sizes)
    if not whys["asr"] and not (~test & known).any():
        whys["asr"] = say("questions.no_transcripts", half="training")
    return whys | {"phone": whys["asr"]}


def _uncrossed(table: pd.DataFrame, by: str) -> str:
    from fairlib.probes.training_groups import two_groups

    try:
        half = halves(table).to_numpy()
    except CorpusError as error:
        return str(error)
    return two_groups(table, half, [by], tested=FEWEST_SHOWN)[1]


def refusal(chapter: str, tasks: Sequence[str], corpus: str, by: str = "", table: pd.DataFrame | None = None) -> str:
    """Why a chapter would come to nothing on a corpus; empty where it would not.

    Args:
        tasks: those without all of which it has nothing to say.
        corpus: its name, or where one's own lies.
        by: the speaker column whose groups are to be compared.
        table: the corpus; without it the published outcomes are looked at, which the chapter will be made from.

    Example:
        >>> refusal("speech-recognition", ["asr"], "librispeech", "sex")
        'comparing sex needs two groups of at least 5 speakers; there are female (4) and male (3).'
    """
    if chapter in DESCRIBES or is_synthetic(corpus):
        return ""
    try:
        if table is None:
            asked = (
                (["phone"] if chapter in CROSSED else tasks) if by else ()
            )  # it tests the test half's speakers alone
            tested = {task: published_outcomes("logmel", corpus, task, TASKS[task].probe) for task in asked}
            tested = in_bands(tested, by) if by else tested
            _, sizes, lacking = _comparable(tested, by)
            whys = [_no_groups(by, sizes[task]) if task in lacking else "" for task in tested]
        else:
            table = in_bands({"": table}, by)[""] if by else table
            reasons = reasons_against(table, by, verify=chapter not in IDENTIFIES)
            whys = [reasons[task] for task in tasks]
            if chapter in CROSSED and not all(whys):
                whys = [_uncrossed(table, by)]
    except BiasError as error:
        return str(error)
    return " ".join(dict.fromkeys(whys)) if whys and all(whys) else ""
