"""Corpora as tables: one row per utterance, with what each corpus records about its speakers.

`load_corpus` reads a corpus in its own published layout. See `fairlib.corpora.table` for the columns.
"""

from __future__ import annotations

import difflib
import inspect
from pathlib import Path

import pandas as pd

from fairlib.corpora import commonvoice, custom, librispeech, speechocean762, synthetic
from fairlib.corpora.custom import is_own, own_groups, own_name, why_no_groups
from fairlib.corpora.handed_over import as_corpus
from fairlib.corpora.splits import halves
from fairlib.corpora.synthetic import Disadvantage
from fairlib.corpora.table import (
    SPEAKER_COLUMNS,
    CorpusError,
    CorpusWarning,
    corpus_fingerprint,
    require_text,
    speaker_columns,
)

__all__ = [
    "CORPUS_NAMES",
    "SPEAKER_COLUMNS",
    "CorpusError",
    "CorpusWarning",
    "Disadvantage",
    "as_corpus",
    "corpus_fingerprint",
    "halves",
    "is_own",
    "load_corpus",
    "own_groups",
    "own_name",
    "require_text",
    "speaker_columns",
    "why_no_groups",
]

_LOADERS = {
    "speechocean762": speechocean762.load,
    "librispeech": librispeech.load,
    "commonvoice": commonvoice.load,
    "synthetic": synthetic.load,
    "planted": synthetic.load_planted,
}
CORPUS_NAMES = tuple(_LOADERS)
_LOADERS |= {"csv": custom.load, "datasets": custom.load}


def load_corpus(name: str, root: str | Path | None = None, on_error: str = "raise", **settings) -> pd.DataFrame:
    """Load a corpus as a table, one row per utterance, sorted by utterance_id.

    The columns are corpus, utterance_id, path, speaker_id, text, duration_s (seconds), split, and those of
    `SPEAKER_COLUMNS` that the corpus records; a value that it does not record is missing.

    Args:
        name: speechocean762, librispeech, commonvoice, synthetic, or planted (a larger synthetic corpus, whose
            groups' disadvantages are known); csv or datasets for one of your own (see `fairlib.corpora.custom`), whose
            CSV file or folder may also stand in the name's place.
        root: the corpus's folder, or the folder that holds it; None looks in the folder that FAIRLIB_DATA
            names. For the synthetic corpora: where to keep their audio; None keeps it in the user's cache.
        on_error: "raise" stops at the first utterance that cannot be used; "skip" leaves such utterances out,
            warns, and lists them in ``corpus.attrs["skipped"]``, one sentence each.
        settings: what the corpus's own loader takes besides: `subsets` (librispeech), `languages` and
            `splits` (commonvoice), `seed`, `speakers_per_group`, `utterances_per_speaker` and `disadvantages`
            (synthetic).

    Raises:
        CorpusError: one sentence that names what is wrong, where, and what to do.

    Example:
        >>> corpus = load_corpus("speechocean762", root="data/speechocean762")  # doctest: +SKIP
        >>> corpus.groupby(["sex", "age_group"])["speaker_id"].nunique()  # doctest: +SKIP
    """
    if name not in _LOADERS and root is None and is_own(name):
        name, root = "csv", name
    if name not in _LOADERS:
        near = difflib.get_close_matches(str(name).lower(), CORPUS_NAMES, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? Known" if near else "known"
        raise CorpusError(
            f"There is no corpus {name!r}; {hint} are {', '.join(CORPUS_NAMES)}, and csv for one of your own."
        )
    loader = _LOADERS[name]
    allowed = list(inspect.signature(loader).parameters)[2:]
    for setting in settings:
        if setting not in allowed:
            raise CorpusError(f"Corpus {name!r} has no setting {setting!r}; it has {', '.join(allowed) or 'none'}.")
    return loader(root, on_error, **settings)
