"""Whether what is published of a corpus may answer for the corpus that lies here under its name.

Outcomes, alignments and noise that come with the package were made from one copy of each corpus. They answer

- where the corpus here has the same fingerprint, byte for byte (`SAME`);
- where its table is the same, that is, utterances, speakers, texts, splits and what is recorded of the speakers, and
  only the audio files differ: the publisher's own WAV, say, where ours were made from an Opus copy (`RECODED`; the page
  says so);
- where it is not here at all (`ABSENT`; the page says so).

They never answer for other utterances or speakers, whatever their folder is called (`OTHER`): then everything is
computed. A corpus that cannot be read is `OTHER` too, so that whoever asks for it meets the reason.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import warnings
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from fairlib.base.files import cache_folder, replace, write_text
from fairlib.corpora import CORPORA, load_corpus
from fairlib.corpora.table import CorpusError, corpus_fingerprint, find_root, table_fingerprint

PUBLISHED = Path(__file__).parents[1] / "assets" / "corpora.json"
_CODE = Path(__file__).parents[1]
SAME, RECODED, ABSENT, OTHER = "same", "recoded", "absent", "other"
ORIGIN = {
    SAME: "published",
    RECODED: "published (the audio files here are encoded otherwise)",
    ABSENT: "published (the corpus is not here)",
}


def published_for(corpus: str) -> str:
    """How a corpus's copy here stands to the one that is published of; asked once a process.

    Reading a whole corpus takes seconds, so the answer is kept in the cache for as long as no file in the corpus's
    folder, and none of fairlib's, changes its name, size or time.

    Args:
        corpus: a name that `fairlib.load_corpus` knows. Synthetic speech is made by this very code: `SAME`.

    Returns:
        `SAME`, `RECODED`, `ABSENT` or `OTHER`.

    Example:
        >>> published_for("planted")
        'same'
    """
    if corpus not in CORPORA or CORPORA[corpus].synthetic:
        return SAME
    return _published_for(corpus, os.environ.get("FAIRLIB_DATA"))


def known_corpora() -> dict[str, dict[str, str]]:
    """Fingerprints of the published copies by corpus: of the ``table`` alone, and of all with the audio ``files``."""
    return json.loads(PUBLISHED.read_text()) if PUBLISHED.exists() else {}


def publish_corpora(corpora: Iterable[str]) -> None:
    """Note that what is published of these corpora was made from their copies here."""
    tables = {name: load_corpus(name) for name in corpora if name in CORPORA and not CORPORA[name].synthetic}
    known = known_corpora() | {name: _fingerprints(table) for name, table in tables.items()}
    replace(PUBLISHED, lambda path: path.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n"))


@functools.cache
def _published_for(corpus: str, _data: str | None) -> str:
    try:
        folder = find_root(CORPORA[corpus])
    except CorpusError:
        return ABSENT
    published, here = known_corpora().get(corpus), _fingerprints_here(corpus, folder)
    if published is None or here is None or here["table"] != published["table"]:
        return OTHER
    return SAME if here["files"] == published["files"] else RECODED


def _fingerprints_here(corpus: str, folder: Path) -> dict[str, str] | None:
    """Fingerprints of a corpus's copy in a folder, from the cache if no file has changed; None if it cannot be read."""
    kept = cache_folder() / "corpora" / f"{corpus}-{_state(folder)[:16]}.json"
    try:
        return json.loads(kept.read_text())
    except (OSError, ValueError):
        pass
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # whoever loads it to work with it is warned
            found = _fingerprints(load_corpus(corpus))
    except CorpusError:
        return None
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_text(kept, json.dumps(found))
    return found


def _fingerprints(table: pd.DataFrame) -> dict[str, str]:
    return {"table": table_fingerprint(table), "files": corpus_fingerprint(table)}


def _state(folder: Path) -> str:
    """Hash of names, sizes and times of all files in a folder, none of them opened, and of the code that reads them."""
    files = [os.path.join(place, name) for place, _, names in os.walk(folder, followlinks=True) for name in names]
    told = []
    for path in [*files, *map(str, _CODE.rglob("*.py"))]:
        try:
            about = os.stat(path)
        except OSError:  # a link that leads nowhere
            continue
        told.append(f"{path}\0{about.st_size}\0{about.st_mtime_ns}\0{about.st_ctime_ns}")
    return hashlib.sha256("\n".join(sorted(told)).encode(errors="surrogateescape")).hexdigest()
