"""The corpus table: what every loader shares, from finding the folder to the finished DataFrame.

One row is one utterance. The columns are ``corpus, utterance_id, path, speaker_id, text, duration_s, split``
and then those of `SPEAKER_COLUMNS` that the corpus records, and columns of its own. What a corpus did not record stays
missing: nothing is guessed.
"""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from tqdm import tqdm

from fairlib.corpora.audio import EXTENSIONS, AudioError, audio_header
from fairlib.corpora.corpus import SPEAKER_COLUMNS, Corpus

if TYPE_CHECKING:  # loaded when a table is made: the command line lists corpora without it
    import pandas as pd

UTTERANCE_COLUMNS = ("corpus", "utterance_id", "path", "speaker_id", "text", "duration_s", "split")
# What cannot be the name of a speaker column: what utterances and outcomes are described by, the language that Common
# Voice gives for a clip, and which of eSpeak's voices speaks.
RESERVED_COLUMNS = (
    *UTTERANCE_COLUMNS, "language", "variant", "encoder", "layer", "task", "unit", "probe", "seed", "errors", "length",
    "substitutions", "deletions", "insertions", "predicted", "entry",
)  # fmt: skip

# Reading a header is a little decoding and much waiting for the disk, so a few more threads than cores pay.
_THREADS = 8
_OFF_S = 0.25  # by which a list may miss how long a file lasts: decoders differ on the padding of an mp3


class CorpusError(ValueError):
    """A corpus cannot be read as it lies on disk; the message names the file and says what to do."""


class CorpusWarning(UserWarning):
    """Something in a corpus was altered, left out, or should be looked at; the message says what, and how many."""


class Problems:
    """What to do with an utterance that cannot be used: stop at once, or leave it out and say so.

    Example:
        >>> problems = Problems("skip")
        >>> with problems.per_utterance():
        ...     raise CorpusError("u1 has no speaker.")
        >>> problems.skipped
        ['u1 has no speaker.']
    """

    def __init__(self, on_error: str) -> None:
        if on_error not in ("raise", "skip"):
            raise CorpusError(f"on_error is {on_error!r}; it must be 'raise' or 'skip'.")
        self.on_error = on_error
        self.skipped: list[str] = []

    @contextmanager
    def per_utterance(self) -> Iterator[None]:
        """Run the block for one utterance; if it cannot be used, stop or leave it out."""
        try:
            yield
        except (CorpusError, AudioError) as error:
            if self.on_error == "raise":
                raise CorpusError(str(error)) from None
            self.skipped.append(str(error))


def find_root(about: Corpus, root: str | Path | None = None) -> Path:
    """The corpus's folder: `root`, or the one folder in it that its publisher names so, or else in FAIRLIB_DATA.

    Raises:
        CorpusError: nothing is there, or several folders fit; the message says what was looked for and what
            to set.
    """
    corpus, pattern = about.name, about.folder
    if root is None:
        data = os.environ.get("FAIRLIB_DATA")
        if not data:
            raise CorpusError(
                f"Corpus {corpus!r}: no root was given and FAIRLIB_DATA is not set: set FAIRLIB_DATA to the "
                f"folder that holds {pattern} (in Python, root= does the same)."
            )
        base, source = Path(data).expanduser(), "FAIRLIB_DATA"
    else:
        base, source = Path(root).expanduser(), "root"
    if not base.is_dir():
        raise CorpusError(f"Corpus {corpus!r}: {source} is {base}, which is not a folder: set {source} to where it is.")
    found = sorted(path for path in base.glob(pattern) if path.is_dir())
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise CorpusError(
            f"Corpus {corpus!r}: {base} holds several folders {pattern} ({names}): leave one there (in Python, root= "
            "names one)."
        )
    if not found and root is None:
        raise CorpusError(
            f"Corpus {corpus!r}: {base / pattern} is not there: put the corpus into FAIRLIB_DATA (now "
            f"{base}) under that name (in Python, root= names its folder)."
        )
    return (found[0] if found else base).absolute()


def read_lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a metadata file that are not blank, each with its number from 1.

    Raises:
        CorpusError: the file is absent or is not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise CorpusError(f"{path} is missing: fetch the corpus again (in Python, root= names its folder).") from None
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}): fetch it again.") from None
    # Not splitlines(): it also breaks at characters that may stand inside a sentence, such as U+2028.
    lines = enumerate(text.replace("\r\n", "\n").split("\n"), start=1)
    return [(number, line) for number, line in lines if line.strip()]


class KaldiFile:
    """A file of ``key value`` lines, such as wav.scp. A bad line matters only when its key is asked for.

    So one bad line costs one utterance, and not the corpus, when utterances that cannot be used are left out.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._values: dict[str, str] = {}
        self._complaints: dict[str, str] = {}
        for number, line in read_lines(path):
            key, *rest = line.split(maxsplit=1)
            if not rest:
                self._complaints[key] = (
                    f"{path} line {number} is malformed: it has only {key!r} where a key and a value should "
                    "stand; correct that line."
                )
            elif key in self._values or key in self._complaints:
                self._complaints[key] = f"{path} line {number} lists {key!r} a second time: keep one of the lines."
            else:
                self._values[key] = rest[0].strip()

    def keys(self) -> list[str]:
        """Every key, those of bad lines included."""
        return list(dict.fromkeys([*self._values, *self._complaints]))

    def get(self, key: str) -> str | None:
        """The key's value, or None if there is no such line. Raises `CorpusError` for a bad line."""
        if key in self._complaints:
            raise CorpusError(self._complaints[key])
        return self._values.get(key)


def decode(value: str | None, codes: Mapping[str, str | None], where: str) -> str | None:
    """Translate a metadata code; an empty one is missing, an unknown one a `CorpusError` naming the known.

    Example:
        >>> decode("f", {"f": "female", "m": "male"}, "spk2gender, speaker 7")
        'female'
    """
    if not value:
        return None
    if value not in codes:
        allowed = ", ".join(repr(code) for code in codes)
        raise CorpusError(f"{where}: unknown code {value!r}; known are {allowed}: correct that entry.")
    return codes[value]


def stem(name: str) -> str:
    """A file's name without an audio extension.

    Example:
        >>> stem("WAVE/0001.WAV"), stem("a.b")
        ('0001', 'a.b')
    """
    path = PurePath(name)
    return path.stem if path.suffix.lower() in EXTENSIONS else path.name


def audio_by_stem(folder: Path) -> dict[str, str]:
    """The audio files of one folder: absolute path by stem, whatever the extension.

    Where two files share a stem, the extension that comes first in `EXTENSIONS` wins. Names are compared in one Unicode
    form, since a Mac writes another one than most lists.
    """
    found: dict[str, str] = {}
    if os.path.isdir(folder):
        with os.scandir(folder) as entries:
            files = (entry.name for entry in entries if entry.is_file())
            names = [name for name in files if PurePath(name).suffix.lower() in EXTENSIONS]
        for name in sorted(names, key=lambda name: EXTENSIONS.index(PurePath(name).suffix.lower()), reverse=True):
            found[_nfc(stem(name))] = str(folder / name)
    return found


def _nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)


class AudioFinder:
    """Finds listed audio files by folder and stem; each folder is read once."""

    def __init__(self) -> None:
        self._stems = cache(audio_by_stem)
        self._names = cache(lambda at: {_nfc(name): name for name in os.listdir(at)} if os.path.isdir(at) else {})
        self._folder = cache(self._as_spelled)

    def find(self, listed: Path, listing: str, advice: str = "fetch the corpus again, or correct the list") -> str:
        """The absolute path of the audio file that `listing` calls `listed`: that very file, else one with its stem.

        Raises:
            CorpusError: there is none.
        """
        if os.path.isfile(listed):
            return str(listed)
        folder = self._folder(listed.parent)
        named = folder / self._names(folder).get(_nfc(listed.name), listed.name)
        if os.path.isfile(named):
            return str(named)
        path = self._stems(folder).get(_nfc(stem(listed.name)))
        if path is None:
            raise CorpusError(
                f"{listed} is listed in {listing} but is not there with any extension "
                f"({', '.join(EXTENSIONS)}){self._other_case(folder, listed.name)}: {advice}."
            )
        return path

    def _as_spelled(self, folder: Path) -> Path:
        """The folder as the disk spells its name, whichever Unicode form the list has."""
        if os.path.isdir(folder) or folder.parent == folder:
            return folder
        parent = self._folder(folder.parent)
        return parent / self._names(parent).get(_nfc(folder.name), folder.name)

    def _other_case(self, folder: Path, name: str) -> str:
        while not os.path.isdir(folder) and folder.parent != folder:
            folder, name = folder.parent, folder.name
        near = [there for there in self._names(folder) if there.casefold() == name.casefold() and there != name]
        return f"; there is {str(folder / near[0])!r}, in other capitals" if near else ""


def finish_table(rows: list[dict], corpus: str, speaker_columns: tuple[str, ...], problems: Problems) -> pd.DataFrame:
    """Turn a loader's rows into the corpus table: durations from audio headers, types, order, warnings.

    Args:
        rows: one dict per utterance with utterance_id, path, speaker_id, text, split and the speaker columns;
            columns beyond these are kept, last. A row may bring its own duration_s: then its audio is not
            opened; or ``lasts``, the seconds that its audio must last.
        corpus: the corpus's name.
        speaker_columns: those of `SPEAKER_COLUMNS` that the corpus records (they may still be missing for
            some speakers).
        problems: how the loader treats utterances that cannot be used.

    Returns:
        The table; its ``attrs`` hold ``skipped`` and ``sample_rates`` (utterances by sampling rate in Hz).

    Raises:
        CorpusError: an audio file is absent, empty or corrupt, an id comes twice, or no utterance is left.
    """
    import pandas as pd

    kept: list[dict] = []
    seen: dict[str, str] = {}
    rates: Counter[int] = Counter()
    for row, header in zip(rows, headers(rows), strict=True):
        with problems.per_utterance():
            if isinstance(header, AudioError):
                raise header
            duration, rate = header
            lasts = row.pop("lasts", duration)
            if abs(lasts - duration) > _OFF_S:
                told = f"{row['path']} lasts {duration:.2f} s, and {lasts:.2f} s by its list"
                raise CorpusError(f"{told}: fetch that recording again, or correct the list.")
            if row["utterance_id"] in seen:
                raise CorpusError(
                    f"Utterance {row['utterance_id']!r} comes twice, as {seen[row['utterance_id']]} and "
                    f"{row['path']}: keep one of them."
                )
            seen[row["utterance_id"]] = row["path"]
            kept.append(row | {"corpus": corpus, "duration_s": duration})
            rates[rate] += 1
    if not kept:
        why = f"; the first problem: {problems.skipped[0]}" if problems.skipped else ""
        raise CorpusError(f"Corpus {corpus!r}: no utterance could be read{why}")

    speaker_columns = tuple(column for column in SPEAKER_COLUMNS if column in speaker_columns)
    extra = [column for column in kept[0] if column not in UTTERANCE_COLUMNS + speaker_columns]
    numbers = ("duration_s", "age")
    table = pd.DataFrame(
        {
            column: pd.Series([row.get(column) for row in kept], dtype="float64" if column in numbers else "str")
            for column in [*UTTERANCE_COLUMNS, *speaker_columns, *extra]
        }
    )
    table = checked(table.sort_values("utterance_id", kind="stable", ignore_index=True), stacklevel=4)
    table.attrs["skipped"] = problems.skipped
    table.attrs["sample_rates"] = {rate: count for rate, count in rates.most_common() if rate}
    if problems.skipped:
        warnings.warn(
            f"Corpus {corpus!r}: {len(problems.skipped)} left out of {len(problems.skipped) + len(kept)} "
            "utterances; corpus.attrs['skipped'] says which and why.",
            CorpusWarning,
            stacklevel=4,
        )
    return table


def checked(table: pd.DataFrame, stacklevel: int = 3) -> pd.DataFrame:
    """A corpus table with its speakers and what is recorded of them checked (`fairlib.corpora.labels`), and said."""
    name = table["corpus"].iloc[0]
    from fairlib.corpora.labels import odd_speakers, settle, tidy

    speakers = table["speaker_id"].map(lambda speaker: tidy(str(speaker)))
    table, remarks = settle(table.assign(speaker_id=speakers.astype("str")), described(table))
    for remark in [*remarks, *odd_speakers(speakers)]:
        warnings.warn(f"Corpus {name!r}: {remark}", CorpusWarning, stacklevel=stacklevel)
    return table


def described(table: pd.DataFrame) -> list[str]:
    """Columns of a corpus table, whatever their type, that are to describe its speakers."""
    return [column for column in table.columns if column not in RESERVED_COLUMNS]


def speaker_columns(table: pd.DataFrame) -> list[str]:
    """Columns of a corpus table, or of outcomes, that say something about speakers: those known here, then others.

    Example:
        >>> import pandas as pd
        >>> speaker_columns(pd.DataFrame({"speaker_id": ["a"], "region": ["north"], "sex": ["female"], "errors": [0]}))
        ['sex', 'region']
    """
    import pandas as pd

    types = pd.api.types
    numeric = {c for c in table.columns if types.is_numeric_dtype(table[c]) and not types.is_bool_dtype(table[c])}
    words = [c for c in table.columns if c not in RESERVED_COLUMNS and c not in numeric]
    return [*(c for c in SPEAKER_COLUMNS if c in table), *(c for c in words if c not in SPEAKER_COLUMNS)]


def require_text(corpus: pd.DataFrame) -> None:
    """Refuse a corpus of which nobody knows what is said; call it before any long work that needs to.

    Raises:
        CorpusError: names the corpus.

    Example:
        >>> import pandas as pd
        >>> require_text(pd.DataFrame({"utterance_id": ["u1", "u2"], "text": ["hello", None]}))
    """
    if "text" not in corpus.columns or not corpus["text"].fillna("").astype(str).str.strip().any():
        name = f"Corpus {corpus['corpus'].iloc[0]!r}" if "corpus" in corpus and len(corpus) else "The corpus"
        raise CorpusError(
            f"{name} has no transcripts, which speech recognition and phone classification need: give it a column text "
            "with what is said, or ask about speakers alone."
        )


def corpus_fingerprint(corpus: pd.DataFrame) -> str:
    """SHA-256 (hex) of the ids, speakers, texts, splits, speaker columns and audio bytes of a corpus.

    It is the same wherever the corpus lies and in whatever order its rows stand, and another one as soon as a
    label or one byte of audio changes. A column that is absent counts as one that is missing throughout, path too.

    Raises:
        CorpusError: an audio file cannot be read.

    Example:
        >>> corpus_fingerprint(load_corpus("synthetic"))  # doctest: +SKIP
        '51bd...'
    """
    if "path" not in corpus:  # features of one's own need no audio
        return table_fingerprint(corpus)
    with ThreadPoolExecutor(_THREADS) as pool:
        digests = list(pool.map(_file_digest, corpus["path"]))
    return _digest(row | {"audio": digest} for row, digest in zip(_described(corpus), digests, strict=True))


def table_fingerprint(corpus: pd.DataFrame) -> str:
    """`corpus_fingerprint` without the audio: equal for two copies of one corpus in different formats.

    Example:
        >>> import pandas as pd
        >>> voices = pd.DataFrame({"utterance_id": ["u1"], "speaker_id": ["a"], "text": ["hello"], "path": ["u1.wav"]})
        >>> table_fingerprint(voices) == table_fingerprint(voices.assign(path="u1.flac"))
        True
    """
    return _digest(_described(corpus))


def _described(corpus: pd.DataFrame) -> list[dict]:
    """What is known of each utterance, its audio aside."""
    import pandas as pd

    columns = ["utterance_id", "speaker_id", "text", "split", *speaker_columns(corpus)]
    columns = [column for column in columns if column in corpus.columns]
    return [
        {column: value for column, value in zip(columns, values, strict=True) if not pd.isna(value)}
        for values in corpus[columns].itertuples(index=False, name=None)
    ]


def _digest(rows: Iterable[dict]) -> str:
    lines = sorted(json.dumps(row, sort_keys=True) for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _file_digest(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CorpusError(f"{path} cannot be read ({error.strerror}): load the corpus again.") from None


def headers(rows: list[dict]) -> list[tuple[float, int] | AudioError]:
    """Seconds and sampling rate of each row's audio; no rate where a row brings its duration."""

    def one(row: dict) -> tuple[float, int] | AudioError:
        if "duration_s" in row:
            return row["duration_s"], 0
        try:
            return audio_header(row["path"])
        except AudioError as error:
            return error

    with ThreadPoolExecutor(_THREADS) as pool:
        # Some 3,000 headers a second: no bar for a small corpus; none at all where nobody watches a terminal.
        return list(
            tqdm(
                pool.map(one, rows),
                total=len(rows),
                desc="reading audio headers",
                delay=3,
                disable=None,
                leave=False,
            )
        )
