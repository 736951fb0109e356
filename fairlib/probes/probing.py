"""Any probe on any encoder or features: outcomes, from the store if they are there, and their controls."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence

import pandas as pd

from fairlib.corpora import as_corpus, borrowed, corpus_fingerprint, load_corpus
from fairlib.encoders import Encoder, EncoderError, encoder_fingerprint
from fairlib.encoders.features import Features
from fairlib.encoders.names import is_untrained, untrained_twin
from fairlib.outcomes import entries_of, read_outcomes, together
from fairlib.probes.characters import CharacterProbe
from fairlib.probes.phones import PhoneProbe
from fairlib.probes.settings import Probe
from fairlib.probes.speakers import SpeakerProbe
from fairlib.probes.splits import ProbeError, corpus_name
from fairlib.probes.stored import stored


def probe(
    what: str | Encoder | Features,
    probe: SpeakerProbe | CharacterProbe | PhoneProbe,
    corpus: str | pd.DataFrame | None = None,
    force: bool = False,
) -> pd.DataFrame:
    """Outcomes of a probe on every layer.

    Args:
        what: an encoder's name (as `load_encoder` takes), an `Encoder`, or `Features` of it or of one's own.
        probe: a `SpeakerProbe`, `CharacterProbe` or `PhoneProbe` with its settings.
        corpus: a corpus's name or table; for a name, published outcomes are used if there are any. Features bring
            theirs; a table given beside them may hold other columns of the same utterances.
        force: compute, whatever is published or stored.

    Returns:
        Outcomes (see `fairlib.outcomes`). The column ``probe`` names all that departs from the plain probe, as in
        "linear, perturbed channel"; ``entry`` names the entry of the store that a row comes from.

    Raises:
        ProbeError: the corpus, or what was kept of the features, does not allow the probe.
        fairlib.corpora.CorpusError: the corpus has no transcripts, where they are needed.
        fairlib.encoders.features.DiskError: the frames do not fit the disk.

    Example:
        >>> outcomes = probe("logmel", SpeakerProbe(seeds=2), "planted")
        >>> outcomes["seed"].unique().tolist()
        [0, 1]
    """
    if not isinstance(probe, Probe):
        raise ProbeError(f"{probe!r} is no probe: give SpeakerProbe(), CharacterProbe() or PhoneProbe().")
    key = probe.key()
    extra: tuple[str, ...] = ()
    if probe.task == "asr":
        name = corpus_name(what.corpus if corpus is None and isinstance(what, Features) else corpus)
        extra = borrowed(name)
    return stored(key["task"], key["probe"], what, corpus, extra, key["settings"], probe.seeds, force, probe.compute)


_probe = probe  # below, the word stands for the size


def probe_speakers(
    encoder: str | Encoder | Features, corpus: str | pd.DataFrame | None = None, seeds: int = 5, force: bool = False, *,
    probe: str = "linear", perturbed: bool = False, balance: str | Sequence[str] = (), shuffled: bool = False,
    iterations: int | None = None,
) -> pd.DataFrame:  # fmt: skip
    """`fairlib.probe` with a `SpeakerProbe` of these settings; ``probe`` is its size.

    Example:
        >>> probe_speakers("logmel", "planted", seeds=2)["seed"].nunique()
        2
    """
    how = SpeakerProbe(probe, seeds, perturbed, balance, shuffled, iterations=iterations)
    return _probe(encoder, how, corpus, force)


def probe_characters(
    encoder: str | Encoder | Features, corpus: str | pd.DataFrame | None = None, probe: str = "context", seeds: int = 1,
    force: bool = False, *, balance: str | Sequence[str] = (), frames: str = "stored", passes: int = 6,
) -> pd.DataFrame:  # fmt: skip
    """`fairlib.probe` with a `CharacterProbe` of these settings; ``probe`` is its size.

    Example:
        >>> sorted(probe_characters("logmel", "planted")["unit"].unique())
        ['char', 'word']
    """
    return _probe(encoder, CharacterProbe(probe, seeds, balance, frames, passes), corpus, force)


def probe_phones(
    encoder: str | Encoder | Features, corpus: str | pd.DataFrame | None = None, seeds: int = 1, force: bool = False, *,
    probe: str = "linear", balance: str | Sequence[str] = (), control: bool = False, by_phone: bool = False,
) -> pd.DataFrame:  # fmt: skip
    """`fairlib.probe` with a `PhoneProbe` of these settings; ``probe`` is its size.

    Example:
        >>> probe_phones("logmel", "speechocean762")["unit"].unique()  # doctest: +SKIP
        ['phone']
    """
    return _probe(encoder, PhoneProbe(probe, seeds, balance, control, by_phone), corpus, force)


def probe_of(key: dict) -> SpeakerProbe | CharacterProbe | PhoneProbe | None:
    """The probe that made an entry, by the entry's key, with one seed; None for views that are no plain probe.

    Example:
        >>> probe_of(SpeakerProbe(perturbed=True, l2=0.01).key())
        SpeakerProbe(size='linear', seeds=1, perturbed=True, balance=(), ..., l2=0.01, ...)
    """
    kind = {"sid": SpeakerProbe, "asr": CharacterProbe, "phone": PhoneProbe}[key["task"]]
    settings = key["settings"]
    known = {field.name: settings[field.name] for field in dataclasses.fields(kind) if field.name in settings}
    if "hidden" in settings:
        known["size"] = "hidden"
    elif kind is CharacterProbe:
        known["size"] = "context" if "width" in settings else "linear"
    if "channel" in settings:
        known["perturbed"] = True
    found = kind(seeds=1, **known)
    mine = found.key()
    return found if all(mine[name] == key[name] for name in ("probe", "settings", "method")) else None


def with_controls(outcomes: pd.DataFrame, corpus: str | pd.DataFrame | None = None) -> pd.DataFrame:
    """The outcomes, and those of log-mel and of the encoder's untrained twin by the same probe, corpus and seeds.

    Args:
        outcomes: from `probe`; their column ``entry`` leads to their probe's settings. Controls that they hold already
            are not added again.
        corpus: the corpus they are of, where it has no name that `fairlib.load_corpus` takes and the controls' outcomes
            are neither published nor in the store.

    Raises:
        ProbeError: the outcomes have no entry that is known, or the corpus here is not the one that they are of.

    Example:
        >>> outcomes = with_controls(probe("pocket-hubert", SpeakerProbe(seeds=2), "planted"))
        >>> list(outcomes["encoder"].unique())
        ['pocket-hubert', 'random:pocket-hubert', 'logmel']
    """
    entries = entries_of(outcomes)
    if not entries:
        raise ProbeError(
            "These outcomes name no entry of the store (column 'entry'), so that their probe is not known: probe the "
            "controls yourself (fairlib.probe('logmel', ...)) and concatenate."
        )
    there, tables = set(outcomes["encoder"].unique()), [outcomes]
    wanted: dict[tuple, dict[int, dict]] = {}  # keys by seed, of each control and probe
    for entry in entries:
        for control in _controls(entry.key["encoder"], there):
            key = entry.key | {"encoder": control, "encoder_fingerprint": encoder_fingerprint(control)}
            wanted.setdefault((control, key["task"], key["probe"]), {})[key["seed"]] = key
    for (control, *_), keys in wanted.items():
        tables.append(_control(control, keys, corpus))
    return pd.concat(tables, ignore_index=True)


def _controls(encoder: str, there: set[str]) -> list[str]:
    if encoder == "logmel" or is_untrained(encoder):
        return [name for name in ("logmel",) if name not in there]
    names = [name for name in (untrained_twin(encoder), "logmel") if name not in there]
    try:
        encoder_fingerprint(untrained_twin(encoder))
        return names
    except EncoderError:
        warnings.warn(f"{encoder!r} has no untrained twin, for no encoder has this name.", stacklevel=3)
        return names[1:] if names[:1] != ["logmel"] else names


def _control(control: str, keys: dict[int, dict], corpus: str | pd.DataFrame | None) -> pd.DataFrame:
    """A control's outcomes of some seeds of one probe, read or computed."""
    entries = [entry for key in keys.values() if (entry := read_outcomes(key)) is not None]
    if len(entries) == len(keys):
        return together(entries)
    key = next(iter(keys.values()))
    plain = probe_of(key)
    if plain is None:
        raise ProbeError(f"Controls of {key['probe']!r} are not made here: call its function with {control!r}.")
    corpus = key["corpus"] if corpus is None else corpus
    if tuple(key["extra"]) != borrowed(key["corpus"]) and key["task"] == "asr":
        raise ProbeError(f"Controls of features that were trained on {key['corpus']!r} alone are not made here.")
    table = as_corpus(corpus) if isinstance(corpus, pd.DataFrame) else load_corpus(corpus)
    if corpus_fingerprint(table) != key["corpus_fingerprint"]:
        raise ProbeError(
            f"The corpus {key['corpus']!r} here is not the one that the outcomes are of: give with_controls its table."
        )
    outcomes = probe(control, dataclasses.replace(plain, seeds=max(keys) + 1), table)
    return outcomes[outcomes["seed"].isin(keys)].reset_index(drop=True)
