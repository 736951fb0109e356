"""What an encoder's name says: read here, and nowhere else."""

from __future__ import annotations

import re
from dataclasses import dataclass

_UNTRAINED = "random:"
SECOND_SEED = "-seed1"  # ends the name of an encoder trained once more; its weights do not ship, its outcomes do


@dataclass(frozen=True)
class EncoderName:
    """A name, in its parts.

    Attributes:
        plain: what is left without the others: a shipped encoder, a folder, a hub id, or a log-mel.
        untrained: whether the name asks for random weights.
        second_seed: whether it is of the training once more, from another seed.
        step: of its pretraining; None at the end.
        heard_ms: of a log-mel that says so, how much speech a frame is made from; 0 of the others.
    """

    plain: str
    untrained: bool = False
    second_seed: bool = False
    step: int | None = None
    heard_ms: int = 0

    @property
    def is_logmel(self) -> bool:
        return self.plain == "logmel" or self.heard_ms > 0


def parsed(name: str) -> EncoderName:
    """The parts of an encoder's name.

    Example:
        >>> parsed("pocket-hubert-seed1@400")
        EncoderName(plain='pocket-hubert', untrained=False, second_seed=True, step=400, heard_ms=0)
        >>> parsed("random:/my/encoder").untrained, parsed("logmel-645ms").heard_ms
        (True, 645)
    """
    trained = without_random(name)
    beside = re.fullmatch(r"logmel-(\d+)ms", trained)
    plain, step = trained, re.fullmatch(r"(.+)@(\d+)", trained)
    if step:
        plain = step[1]
    return EncoderName(
        plain.removesuffix(SECOND_SEED),
        is_untrained(name),
        plain.endswith(SECOND_SEED),
        int(step[2]) if step else None,
        int(beside[1]) if beside else 0,
    )


def is_untrained(name: str) -> bool:
    """Whether a name asks for random weights."""
    return name.startswith(_UNTRAINED)


def is_logmel(name: str) -> bool:
    """Whether a name is one of the log-mels."""
    return parsed(name).is_logmel


def without_random(name: str) -> str:
    """The trained encoder's name, of its twin's too.

    Example:
        >>> without_random("random:pocket-hubert"), without_random("pocket-hubert")
        ('pocket-hubert', 'pocket-hubert')
    """
    return name.removeprefix(_UNTRAINED)


def without_step(name: str) -> str:
    """The name without the step of its pretraining, where that is not in question.

    Example:
        >>> encoder_label(without_step("pocket-hubert-seed1@10000"))
        'pocket-hubert, second seed'
    """
    return re.sub(r"@\d+$", "", name)


def untrained_twin(name: str) -> str:
    """The name of the same architecture with random weights.

    Example:
        >>> untrained_twin("pocket-hubert")
        'random:pocket-hubert'
    """
    return f"{_UNTRAINED}{name}"


def encoder_label(name: str) -> str:
    """Short name of an encoder for people: controls by what they are, folders and hub ids by their last part.

    Example:
        >>> [encoder_label(name) for name in ("logmel", "random:pocket-hubert", "facebook/hubert-base-ls960")]
        ['log-mel', 'untrained twin', 'hubert-base-ls960']
        >>> [encoder_label(name) for name in ("pocket-hubert@400", "pocket-hubert-seed1@10000")]
        ['pocket-hubert after 400 steps', 'pocket-hubert, second seed, after 10000 steps']
        >>> encoder_label("logmel-645ms")
        'log-mel of 645 ms'
    """
    said = parsed(name)
    if said.untrained:
        return "untrained twin"
    if said.is_logmel:
        return f"log-mel of {said.heard_ms} ms" if said.heard_ms else "log-mel"
    label = said.plain.rstrip("/").rsplit("/", 1)[-1]
    if said.second_seed:
        label = f"{label}, second seed" + ("," if said.step is not None else "")
    return label if said.step is None else f"{label} after {said.step} steps"
