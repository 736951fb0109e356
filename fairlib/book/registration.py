"""A preregistration: what is tested on which encoders and by which rules, from a TOML file that was written before."""

from __future__ import annotations

import hashlib
import json
import tomllib
from datetime import date
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fairlib.base.files import ASSETS
from fairlib.base.tasks import TASKS
from fairlib.encoders.names import untrained_twin
from fairlib.findings.jointly import JOINT_RULE, JUDGES
from fairlib.findings.rules import NUMBERS, RULES
from fairlib.probes import CharacterProbe, PhoneProbe, SpeakerProbe

REGISTERED = ASSETS / "preregistration.toml"
PROBES = {"sid": SpeakerProbe, "asr": CharacterProbe, "phone": PhoneProbe}


class RegistrationError(ValueError):
    """A preregistration cannot be read, or does not hold what is asked of it; the message says what is wrong."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Pair(_Strict):
    pretrained: str
    finetuned: str
    layers: int = Field(gt=1)  # of the transformer, with what enters it

    @property
    def encoders(self) -> list[str]:
        return [self.pretrained, self.finetuned, untrained_twin(self.pretrained)]


class Pinned(_Strict):
    """What a probe or the joint rule was, by the digest of all that it says."""

    seeds: int = Field(default=1, gt=0)
    digest: str


class PinnedRule(_Strict):
    written: date
    digest: str
    p: str = ""  # what counts as the p of its verdicts


class Joint(_Strict):
    level: float = Field(gt=0, lt=1)
    digest: str


class Statement(_Strict):
    """One statement that is judged for every encoder, and then over all."""

    claim: str
    states: str
    rule: Literal["begins", "pattern", "tuned", "whose"]
    on: Literal["pretrained", "finetuned"]
    task: Literal["sid", "asr", "phone"]
    corpus: str
    by: str
    contrast: str


class Exclusions(_Strict):
    rules: list[str]


class Registration(_Strict):
    title: str
    registered: date
    seen: str
    pairs: list[Pair] = Field(min_length=1)
    probes: dict[Literal["sid", "asr", "phone"], Pinned]
    tests: list[Statement] = Field(min_length=1)
    exploratory: list[Statement] = []
    joint: Joint
    exclusions: Exclusions
    rules: dict[str, PinnedRule]
    numbers: dict[str, float]

    @model_validator(mode="after")
    def _all_is_there(self) -> Registration:
        for test in (*self.tests, *self.exploratory):
            if test.task not in self.probes:
                raise ValueError(f"a test asks for {test.task}, of which [probes] says nothing")
            if test.rule not in self.rules:
                raise ValueError(f"a test asks for the rule {test.rule}, of which [rules] says nothing")
            if test.rule == "tuned" and test.on != "finetuned":
                raise ValueError("the rule tuned judges fine-tuned encoders")
            if test.rule == "pattern" and not TASKS[test.task].c2:
                raise ValueError(f"the rule pattern says nothing of {TASKS[test.task].title}")
        return self

    def calls(self) -> pd.DataFrame:
        """One row for each call of a probe, as `fairlib.book.studies.read_study` gives them, pair by pair."""
        tests = [*self.tests, *self.exploratory]
        asked = list(dict.fromkeys((test.task, test.corpus) for test in tests))
        logmel = ["logmel"] if any(test.rule == "whose" for test in tests) else []
        names = list(dict.fromkeys([*(name for pair in self.pairs for name in pair.encoders), *logmel]))
        rows = [
            {
                "encoder": name,
                "corpus": corpus,
                "call": f"probe_{TASKS[task].command}",
                "settings": {"seeds": self.probes[task].seeds},
            }
            for name in names
            for task, corpus in asked
        ]
        return pd.DataFrame(rows)


def read_registration(path: str | Path = REGISTERED) -> Registration:
    """A preregistration as its file says it.

    Raises:
        RegistrationError: not TOML, or something in it is missing or not known.

    Example:
        >>> about = read_registration()
        >>> len(about.pairs), [test.claim for test in about.tests]
        (9, ['C1', 'C1', 'C2', 'C2', 'C3', 'C3'])
    """
    try:
        return Registration(**tomllib.loads(Path(path).read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RegistrationError(f"The preregistration {path} cannot be read: {error}.") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "whole"
        raise RegistrationError(f"The preregistration {path} is wrong at {place}: {first['msg']}.") from None


def digest(text: str) -> str:
    """The first 16 characters of a text's SHA-256.

    Example:
        >>> digest("a rule")
        'f8a062528d72a832'
    """
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def digests() -> dict[str, dict[str, str]]:
    """What rules, probes and the joint rule are now, by the digests that a preregistration holds.

    Example:
        >>> sorted(digests()["probes"])
        ['asr', 'phone', 'sid']
    """
    probes = {task: digest(json.dumps(probe().key(), sort_keys=True)) for task, probe in PROBES.items()}
    written = tomllib.loads(RULES.read_text(encoding="utf-8"))
    rules = {name: digest(f"{written[name]['written']} {written[name]['rule']}") for name in JUDGES if name in written}
    return {"probes": probes, "rules": rules, "joint": {"rule": digest(JOINT_RULE)}}


def changed_since(about: Registration) -> list[str]:
    """What is no longer as the preregistration says: one sentence for each rule, number or probe.

    Example:
        >>> changed_since(read_registration())  # doctest: +SKIP
        ['The number “margin” was registered as 0.2 and is now 0.3.']
    """
    now, said = digests(), []
    for name, pinned in about.rules.items():
        if now["rules"].get(name) != pinned.digest:
            said.append(
                f"The rule “{name}” is not the one of {pinned.written} that was registered (digest {pinned.digest}, now"
                f" {now['rules'].get(name, 'none: there is no such rule')})."
            )
    for name, number in about.numbers.items():
        if NUMBERS.get(name) != number:
            said.append(f"The number “{name}” was registered as {number:g} and is now {NUMBERS.get(name)}.")
    for task, probe in about.probes.items():
        if now["probes"][task] != probe.digest:
            said.append(
                f"The probe of {TASKS[task].title} is not the one registered (digest {probe.digest}, now"
                f" {now['probes'][task]}): its settings or its method changed."
            )
    if now["joint"]["rule"] != about.joint.digest:
        said.append(
            f"The rule over all encoders is not the one registered (digest {about.joint.digest}, now"
            f" {now['joint']['rule']})."
        )
    return said
