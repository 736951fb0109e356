"""Running a preregistered test: every encoder's outcomes, every verdict, and what went otherwise than registered.

Outcomes are kept in the store as they are computed, so a stopped test goes on where it was, and the same command writes
the whole report again from what is there. An encoder that cannot be computed is reported and the others go on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from fairlib.bias import BiasError, layer_order
from fairlib.book.grids import told_error
from fairlib.book.registration import (
    REGISTERED,
    Pair,
    Registration,
    RegistrationError,
    Statement,
    changed_since,
    read_registration,
)
from fairlib.book.studies import call
from fairlib.corpora import CorpusError
from fairlib.encoders import EncoderError
from fairlib.encoders.names import untrained_twin
from fairlib.findings import Finding
from fairlib.findings.jointly import Judged, jointly, judged
from fairlib.outcomes import provenance
from fairlib.probes import kept_features

Outcomes = dict[tuple[str, str, str], pd.DataFrame]  # by encoder, task and corpus


class Lost(NamedTuple):
    """Why there are no outcomes, and whether the file's rules of exclusion foresee it."""

    why: str
    foreseen: bool


Failures = dict[tuple[str, str, str], Lost]


@dataclass(frozen=True)
class Tested:
    """A statement over all encoders; of an exploratory one there is no verdict over all."""

    statement: Statement
    finding: Finding | None
    each: list[Judged]


@dataclass
class Result:
    """What a preregistered test gave.

    Attributes:
        file, digest: of the preregistration, the digest of the whole file.
        confirmatory, exploratory: its statements, judged.
        used: what each encoder's outcomes came from.
        failures: by encoder, what could not be computed though no rule of exclusion foresees it.
        excluded: by encoder, why it is out by the file's own rules.
        not_run: encoders that were not asked for this time.
        changed: what is no longer as registered.
    """

    about: Registration
    file: Path
    digest: str
    confirmatory: list[Tested] = field(default_factory=list)
    exploratory: list[Tested] = field(default_factory=list)
    used: list[dict] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    excluded: dict[str, str] = field(default_factory=dict)
    not_run: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)


def run_registered(
    path: str | Path = REGISTERED,
    encoders: Sequence[str] = (),
    compute: Callable[[dict], pd.DataFrame] = call,
    tell: Callable[[str], None] = print,
) -> Result:
    """Compute what a preregistration asks for and judge it.

    Args:
        path: of the preregistration.
        encoders: only the pairs of these (a pretrained or a fine-tuned encoder's name); all by default.
        compute: makes one call of a study, `fairlib.book.studies.call`.
        tell: is given a line for each encoder.

    Raises:
        RegistrationError: the file cannot be read, or has no such encoder.
        fairlib.corpora.CorpusError: a corpus is not here.
    """
    path = Path(path)
    about = read_registration(path)
    chosen = pairs_of(about, encoders)
    result = Result(about, path, hashlib.sha256(path.read_bytes()).hexdigest(), changed=changed_since(about))
    result.not_run = [name for pair in about.pairs if pair not in chosen for name in (pair.pretrained, pair.finetuned)]
    statements = [*about.tests, *about.exploratory]
    calls = about.calls()
    found: dict[int, list[Judged]] = {place: [] for place in range(len(statements))}
    shared: tuple[Outcomes, Failures] = ({}, {})
    if "logmel" in set(calls["encoder"]):
        shared = _computed(["logmel"], calls, compute, tell)
    for pair in about.pairs:
        if pair not in chosen:
            for place, statement in enumerate(statements):
                found[place].append(Judged(_subject(statement, pair), None, excluded="not run yet"))
            continue
        outcomes, failures = _computed(pair.encoders, calls, compute, tell)
        _check_layers(pair, outcomes, failures)
        result.used += [_facts(name, task, table) for (name, task, _), table in outcomes.items()]
        for place, statement in enumerate(statements):
            found[place].append(_judge(statement, pair, shared[0] | outcomes, shared[1] | failures))
        _sort_out(failures, result)
    result.used += [_facts(name, task, table) for (name, task, _), table in shared[0].items()]
    _sort_out(shared[1], result)
    for place, statement in enumerate(statements):
        finding, each = jointly(statement.states, found[place], about.joint.level)
        decides = place < len(about.tests)
        tested = Tested(statement, finding if decides else None, each if decides else found[place])
        (result.confirmatory if decides else result.exploratory).append(tested)
    return result


def pairs_of(about: Registration, encoders: Sequence[str]) -> list[Pair]:
    """The pairs that hold one of these encoders; all if none is named.

    Raises:
        RegistrationError: an encoder is in no pair.
    """
    known = [name for pair in about.pairs for name in (pair.pretrained, pair.finetuned)]
    for name in encoders:
        if name not in known:
            raise RegistrationError(f"the preregistration has no encoder {name!r}: {', '.join(known)}.")
    return [pair for pair in about.pairs if not encoders or {pair.pretrained, pair.finetuned} & set(encoders)]


def _computed(
    names: Sequence[str], calls: pd.DataFrame, compute: Callable, tell: Callable[[str], None]
) -> tuple[Outcomes, Failures]:
    """Outcomes of some encoders, and why some could not be had; each passes over each corpus once."""
    outcomes: Outcomes = {}
    failures: Failures = {}
    for name in dict.fromkeys(names):
        with kept_features():
            for row in calls[calls["encoder"] == name].to_dict("records"):
                task = {"probe_speakers": "sid", "probe_characters": "asr", "probe_phones": "phone"}[row["call"]]
                key = (name, task, row["corpus"])
                try:
                    outcomes[key] = compute(row)
                except CorpusError:  # it is everybody's
                    raise
                except EncoderError as error:
                    failures[key] = Lost(f"cannot be fetched or loaded: {error}", True)
                except Exception as error:  # whatever it is, the others go on, and the report tells
                    failures[key] = Lost(f"could not be computed: {told_error(error)}", False)
        lost = next((each.why for (encoder, *_), each in failures.items() if encoder == name), "done")
        tell(f"{name}: {lost}")
    return outcomes, failures


def _check_layers(pair: Pair, outcomes: Outcomes, failures: Failures) -> None:
    """Take out encoders of another shape than was registered."""
    for key in list(outcomes):
        layers = [layer for layer in layer_order(outcomes[key]["layer"].unique()) if layer != "cnn"]
        if len(layers) != pair.layers:
            failures[key] = Lost(f"has {len(layers)} layers, not the {pair.layers} registered", True)
            del outcomes[key]


def _sort_out(failures: Failures, result: Result) -> None:
    """What the file's rules foresee is an exclusion, all else a failure; an encoder that is out has no failures."""
    for (name, *_), lost in sorted(failures.items(), key=lambda each: not each[1].foreseen):
        if lost.foreseen:
            result.excluded[name] = lost.why
        elif name not in result.excluded:
            result.failures[name] = lost.why


def _subject(statement: Statement, pair: Pair) -> str:
    return pair.pretrained if statement.on == "pretrained" else pair.finetuned


def _judge(statement: Statement, pair: Pair, outcomes: Outcomes, failures: Failures) -> Judged:
    """One statement on one pair; the untrained twin of the pretrained encoder is the fine-tuned one's too."""
    encoder, twin = _subject(statement, pair), untrained_twin(pair.pretrained)
    needed = {
        "begins": [encoder],
        "pattern": [encoder, twin],
        "tuned": [encoder, pair.pretrained],
        "whose": [encoder, twin, "logmel"],
    }[statement.rule]
    tables = []
    for name in needed:
        key = (name, statement.task, statement.corpus)
        if key in failures:
            return Judged(
                encoder, None, excluded=failures[key].why if name == encoder else f"{name} {failures[key].why}"
            )
        table = outcomes[key]
        tables.append(table.assign(encoder=untrained_twin(encoder)) if name == twin else table)
    together = pd.concat(tables, ignore_index=True)
    try:
        return judged(
            statement.rule, encoder, together, statement.task, statement.by, statement.contrast, pair.pretrained
        )
    except BiasError as error:
        return Judged(encoder, None, excluded=f"cannot be judged: {error}", here_alone=True)


def _facts(name: str, task: str, table: pd.DataFrame) -> dict:
    facts = provenance(table)
    kept = ("origin", "encoder_fingerprint", "corpus_fingerprint", "device", "duration_s")
    return {
        "encoder": name,
        "corpus": str(table["corpus"].iloc[0]),
        "task": task,
        **{each: facts.get(each) for each in kept},
        "utterances_left_out": facts.get("utterances_left_out") or {},
    }
