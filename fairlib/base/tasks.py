"""What each task is called, what its errors are counted in, and which probe leads: one entry a task.

A task is what outcomes say in their column ``task``, a unit what they say in ``unit``. Whoever adds a task writes one
entry of `TASKS`; charts, tables, sentences and the command line take their words from there.
"""

from __future__ import annotations

from dataclasses import dataclass

SAME_MIX = "phone, same mix"  # every group's frames weigh as all people's phones and durations do
PERTURBED = "speaker, channel perturbed"  # every utterance through a channel of its own, beside those as recorded


@dataclass(frozen=True)
class Unit:
    """What errors are counted in.

    Attributes:
        name: in outcomes.
        one, many: what it is called, in singular and plural.
        error: its error, in the field's words.
        axis: the same for a chart's axis, where it can be said more precisely; else as ``error``.
        wrong: ends a share: "12 % of characters wrong".
        plainly: what happens to people, for a reader who knows no term; ``{}`` is the share.
        saturates: whether a gap means little once most is wrong for everybody. Of hundreds of speakers named at random
            nearly all are wrong, and an error well below that still separates layers.
    """

    name: str
    one: str
    many: str
    error: str = "error rate"
    axis: str = ""
    wrong: str = "wrong"
    plainly: str = "are misrecognised in {} of cases"
    saturates: bool = False

    @property
    def on_axis(self) -> str:
        """What a chart's axis calls its error."""
        return self.axis or self.error


@dataclass(frozen=True)
class Task:
    """What is read from the layers.

    Attributes:
        name: in outcomes.
        title: in the field's words.
        command: on the command line, for `fairlib probe`; in tables, what is probed for.
        units: what its errors are counted in, the main one first.
        probe: the one whose outcomes the chapters lead with.
        mistaken: what happens to people in an error.
        c2: what claim C2 says: 1, bias rises with error from layer to layer; -1, it falls; 0, nothing.
        cautions: what could be wrong with any answer, in Markdown.

    Example:
        >>> task = TASKS["asr"]
        >>> task.heading, task.main, task.units[1].error
        ('Speech recognition', ('asr', 'char', 'context'), 'word error rate')
    """

    name: str
    title: str
    command: str
    units: tuple[Unit, ...]
    probe: str = "linear"
    mistaken: str = "are misrecognised"
    c2: int = 0
    cautions: tuple[str, ...] = ()

    @property
    def heading(self) -> str:
        """Its title, to begin a line with."""
        return self.title[:1].upper() + self.title[1:]

    @property
    def main(self) -> tuple[str, str, str]:
        """Task, unit and probe of the chapters' main figures, as outcomes name them."""
        return self.name, self.units[0].name, self.probe

    @property
    def c2_claim(self) -> str:
        """What claim C2 says of it, as a sentence."""
        end = "lowest" if self.c2 > 0 else "highest"
        return f"In {self.title}, bias is {end} in the layers where the error is lowest."


TASKS = {
    task.name: task
    for task in (
        Task(
            "sid", "speaker identification", "speakers", mistaken="are misidentified", c2=1,
            units=(
                Unit("speaker", "speaker", "speakers", "speaker identification error rate",
                     axis="misidentified utterances", wrong="of utterances misidentified",
                     plainly="are misidentified in {} of their utterances"),
                Unit(PERTURBED, PERTURBED, "speakers, channel perturbed", "speaker identification error rate",
                     axis="misidentified utterances",
                     wrong="of utterances misidentified, each through a random channel",
                     plainly="are misidentified in {} of their utterances"),
                Unit("target", "pair of one person's utterances", "pairs of one person's utterances",  # in verification
                     "equal error rate", wrong="of one person's pairs of utterances rejected",
                     plainly="are rejected as two people in {} of their pairs of utterances"),
            ),
            cautions=(
                "**Competitors.** Whether a speaker is identified depends on how many similar voices there are to"
                " choose from. The main charts use all speakers of the corpus; equal shares of each group are tested"
                " further down.",
            ),
        ),
        Task(
            "asr", "speech recognition", "characters", probe="context", mistaken="are misrecognised", c2=-1,
            units=(
                Unit("char", "character", "characters", "character error rate", wrong="of characters wrong",
                     plainly="are misrecognised in {} of their characters", saturates=True),
                Unit("word", "word", "words", "word error rate", wrong="of words wrong",
                     plainly="are misrecognised in {} of their words", saturates=True),
            ),
            cautions=(
                "**Saturation and training.** Where most characters are wrong for everybody, a gap means little;"
                " those layers are marked. How many hours of each group the probe was trained on can itself create"
                " a gap.",
            ),
        ),
        Task(
            "phone", "phone classification", "phones", mistaken="have their phones misclassified",
            units=(
                Unit("phone", "phone", "phones", "phone error rate", saturates=True, axis="misclassified frames",
                     wrong="of frames misclassified", plainly="have {} of their sounds misclassified"),
                Unit(SAME_MIX, "phone", "phones at the same mix", "phone error rate", saturates=True,
                     axis="misclassified frames", wrong="of frames misclassified, at one mix of phones and durations",
                     plainly="have {} of their sounds misclassified"),
            ),
            cautions=(
                "**Phones as the dictionary has them.** The phone labels come from a program that aligned the text,"
                " using a dictionary of adults' American English. Where a speaker pronounces a word differently, the"
                " label is wrong, and a more accurate probe is penalised for it.",
                "**One kind of probe.** A layer may hold information that these probes cannot extract. They are the"
                " same for every layer and control, so layers can be compared; the lowest error means the best access,"
                " not the most information.",
            ),
        ),
    )
}  # fmt: skip


def task_named(name: str) -> Task:
    """The entry of a task; of one that has none, its name serves.

    Example:
        >>> task_named("phone").title, task_named("tone classification").title
        ('phone classification', 'tone classification')
    """
    return TASKS.get(name) or Task(name, name, name, (Unit(name, name, name),))


def unit_named(name: str) -> Unit:
    """The entry of a unit, whichever task's it is; of one that has none, its name serves.

    Example:
        >>> unit_named("char").error, unit_named("tone").error
        ('character error rate', 'error rate')
    """
    known = (unit for task in TASKS.values() for unit in task.units if unit.name == name)
    return next(known, None) or Unit(name, name, name)
