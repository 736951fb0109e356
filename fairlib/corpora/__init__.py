"""Corpora as tables: one row per utterance, with what each corpus records about its speakers.

`load_corpus` reads a corpus in its own published layout. See `fairlib.corpora.table` for the columns.
"""

from __future__ import annotations

import difflib
import inspect
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from fairlib.corpora import (
    artie_bias,
    audiomnist,
    casual_conversations,
    commonvoice,
    coraal,
    crema_d,
    edacc,
    fair_speech,
    fleurs,
    l2arctic,
    librispeech,
    sonos_svc,
    speech_accent_archive,
    speechocean762,
    synthetic,
    timit,
    vctk,
    voxceleb1,
)
from fairlib.corpora.corpus import SPEAKER_COLUMNS, Corpus, Groups
from fairlib.corpora.synthetic import Disadvantage
from fairlib.corpora.table import (
    CorpusError,
    CorpusWarning,
    corpus_fingerprint,
    require_text,
    speaker_columns,
)

__all__ = [
    "CORPORA",
    "Corpus",
    "SPEAKER_COLUMNS",
    "CorpusError",
    "CorpusWarning",
    "Disadvantage",
    "as_corpus",
    "borrowed",
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

# A new corpus is a file of its own, and its name here.
CORPORA: dict[str, Corpus] = {
    about.name: about
    for about in (
        speechocean762.ABOUT,
        librispeech.ABOUT,
        commonvoice.ABOUT,
        synthetic.ABOUT,
        synthetic.ABOUT_PLANTED,
        fair_speech.ABOUT,
        sonos_svc.ABOUT,
        vctk.ABOUT,
        l2arctic.ABOUT,
        edacc.ABOUT,
        coraal.ABOUT,
        voxceleb1.ABOUT,
        speech_accent_archive.ABOUT,
        crema_d.ABOUT,
        audiomnist.ABOUT,
        timit.ABOUT,
        fleurs.ABOUT,
        casual_conversations.ABOUT,
        artie_bias.ABOUT,
    )
}

# Loaded when first asked for, with pandas: the command line's answers need the facts above and no table.
_HOME = {
    "as_corpus": "fairlib.corpora.handed_over",
    "halves": "fairlib.corpora.splits",
    "is_own": "fairlib.corpora.custom",
    "own_groups": "fairlib.corpora.custom",
    "own_name": "fairlib.corpora.custom",
    "why_no_groups": "fairlib.corpora.custom",
}
if TYPE_CHECKING:
    import pandas as pd

    from fairlib.corpora.custom import is_own, own_groups, own_name, why_no_groups
    from fairlib.corpora.handed_over import as_corpus
    from fairlib.corpora.splits import halves


def __getattr__(name: str):
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'fairlib.corpora' has no attribute {name!r}")


def is_synthetic(corpus: str) -> bool:
    """Whether a corpus's speech is made by a program, and says nothing about people.

    Example:
        >>> is_synthetic("planted"), is_synthetic("librispeech"), is_synthetic("mine.csv")
        (True, False, False)
    """
    return corpus in CORPORA and CORPORA[corpus].synthetic


def borrowed(corpus: str) -> tuple[str, ...]:
    """The corpora that lend one their transcribed speech, for its character probes to be trained on too.

    Example:
        >>> borrowed("speechocean762"), borrowed("mine.csv")
        (('librispeech',), ())
    """
    return CORPORA[corpus].borrows if corpus in CORPORA else ()


def groups_by(column: str) -> list[Groups]:
    """What each corpus that can be compared by a speaker column says of its groups; corpora share their columns' names.

    Example:
        >>> {groups.reference for groups in groups_by("sex")}
        {'male'}
    """
    return [about.groups[column] for about in CORPORA.values() if column in about.groups]


def load_corpus(name: str, root: str | Path | None = None, on_error: str = "raise", **settings) -> pd.DataFrame:
    """Load a corpus as a table, one row per utterance, sorted by utterance_id.

    The columns are corpus, utterance_id, path, speaker_id, text, duration_s (seconds), split, and those of
    `SPEAKER_COLUMNS` that the corpus records; a value that it does not record is missing.

    Args:
        name: speechocean762, librispeech, commonvoice, synthetic, planted (a larger synthetic corpus, whose groups'
            disadvantages are known), or another one that `fairlib corpora` lists; or one of your own, by its place: a
            list (.csv, .tsv, .jsonl, .parquet), a folder of audio by speaker, lhotse manifests or cuts, a Kaldi folder,
            one that datasets saved (see `fairlib.corpora.custom.load`), or ``hf:owner/name`` for a dataset on the
            Hugging Face hub.
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
        >>> load_corpus("data/manifests/librispeech_supervisions_dev-clean.jsonl.gz")  # doctest: +SKIP
    """
    from fairlib.corpora import custom

    own = name in ("csv", "datasets")
    if name not in CORPORA and not own and root is None and custom.is_own(name):
        own, root = True, name
    if name not in CORPORA and not own:
        near = difflib.get_close_matches(str(name).lower(), CORPORA, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? Known" if near else "known"
        known = ", ".join(CORPORA)
        raise CorpusError(f"There is no corpus {name!r}; {hint} are {known}, and a list or folder of your own.")
    loader = custom.load if own else CORPORA[name].load
    allowed = list(inspect.signature(loader).parameters)[2:]
    for setting in settings:
        if setting not in allowed:
            raise CorpusError(f"Corpus {name!r} has no setting {setting!r}; it has {', '.join(allowed) or 'none'}.")
    return loader(root, on_error, **settings)
