"""Who is trained on and who is tested: a corpus's own splits, under whatever name, or a quarter of its speakers."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pandas as pd

from fairlib.corpora.labels import tidy
from fairlib.corpora.table import CorpusError, CorpusWarning

ONE_IN = 4  # speakers is tested, where a corpus has no halves of its own
DRAWN_FROM = 0  # the seed that draws them
_SIDES = {
    "train": r"tr|trn|train(ing|set)?",
    "dev": r"dt|dev(el|set|elopment)?|val(id|idation|set)?",
    "test": r"te|et|tst|test(ing|set)?|eval(uation|set)?",
}


def side_of(split: object) -> str:
    """What a split is for, "train", "dev" or "test", by the usual names; empty where its name does not say.

    Example:
        >>> [side_of(name) for name in ("TRAIN", "train-clean-100", "Validation", "eval", "validated", None)]
        ['train', 'train', 'dev', 'test', '', '']
    """
    word = re.split(r"[^a-z]", tidy(split).casefold(), maxsplit=1)[0] if isinstance(split, str) else ""
    return next((side for side, names in _SIDES.items() if re.fullmatch(names, word)), "")


def halves(corpus: pd.DataFrame) -> pd.Series:
    """Each utterance's half, "train" or "test"; the two share no speaker, and one rule serves all training here.

    The corpus's own halves where it has them, under their usual names (a development or validation split is the test
    half where there is no other, and "neither" where there is), else a quarter of its speakers, drawn once and for all,
    for testing. A split that is not used is said.

    Raises:
        CorpusError: the corpus has no halves of its own and one speaker, or every tested speaker is trained on too.

    Example:
        >>> halves(pd.DataFrame({"speaker_id": ["a", "b", "c", "d", "a"]})).tolist()
        ['train', 'train', 'test', 'train', 'train']
        >>> halves(pd.DataFrame({"speaker_id": ["a", "b"], "split": ["Training", "validation"]})).tolist()
        ['train', 'test']
    """
    name = repr(corpus["corpus"].iloc[0]) if "corpus" in corpus else "given"
    if "split" in corpus:
        sides = _sides(corpus)
        if "train" in set(sides) and {"dev", "test"} & set(sides):
            return _own_halves(corpus, sides, name)
        if corpus["split"].nunique(dropna=False) > 1:
            splits = ", ".join(map(str, corpus["split"].dropna().unique()[:6]))
            warnings.warn(
                f"Corpus {name}: its split ({splits}) is not used, since nothing in it is called train and test: a "
                "quarter of the speakers is drawn for testing.",
                CorpusWarning,
                stacklevel=2,
            )
    speakers = np.sort(corpus["speaker_id"].unique())
    if len(speakers) < 2:
        raise CorpusError(f"Corpus {name} has one speaker: training and testing need two or more.")
    tested = np.random.default_rng(DRAWN_FROM).permutation(speakers)[: max(1, len(speakers) // ONE_IN)]
    return pd.Series(np.where(corpus["speaker_id"].isin(tested), "test", "train"), index=corpus.index)


def _own_halves(corpus: pd.DataFrame, sides: pd.Series, name: str) -> pd.Series:
    tested = sides == ("test" if "test" in set(sides) else "dev")
    half = pd.Series(np.where(sides == "train", "train", np.where(tested, "test", "neither")), index=corpus.index)
    both = in_both_halves(corpus)
    half[tested & corpus["speaker_id"].isin(both)] = "neither"
    if not (half == "test").any():
        raise CorpusError(f"Corpus {name}: every speaker of the test split is in train too: no speaker may be in both.")
    left_out = int((half == "neither").sum())
    if left_out:
        also = f" ({len(both)} speakers of the test split are in train too, {both[0]} first)" if both else ""
        warnings.warn(
            f"Corpus {name}: {left_out:,} of {len(corpus):,} utterances are in neither half, for they are in another "
            f"split than train and test or their speaker is in both{also}.",
            CorpusWarning,
            stacklevel=3,
        )
    return half


def in_both_halves(corpus: pd.DataFrame) -> list[str]:
    """Speakers whom the corpus's own splits would have in training and in testing.

    Example:
        >>> in_both_halves(pd.DataFrame({"speaker_id": ["a", "a", "b"], "split": ["Train", "eval", "train"]}))
        ['a']
    """
    sides = _sides(corpus)
    tested = "test" if (sides == "test").any() else "dev"
    speakers = [set(corpus.loc[sides == side, "speaker_id"]) for side in ("train", tested)]
    return sorted(speakers[0] & speakers[1])


def _sides(corpus: pd.DataFrame) -> pd.Series:
    of_split = {split: side_of(split) for split in corpus["split"].dropna().unique()}
    return corpus["split"].map(lambda split: of_split.get(split, "")).astype("str")
