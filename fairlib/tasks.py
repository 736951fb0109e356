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
        question: what is asked of a layer.
        saturates: whether a gap means little once most is wrong for everybody. Of hundreds of speakers named at random
            nearly all are wrong, and an error well below that still separates layers.
    """

    name: str
    one: str
    many: str
    error: str = "error rate"
    axis: str = ""
    wrong: str = "wrong"
    plainly: str = "are misheard in {} of cases"
    question: str = "What is asked"
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
    mistaken: str = "are misheard"
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
                     axis="utterances given to a wrong speaker", wrong="of utterances a wrong speaker",
                     plainly="are taken for somebody else in {} of their utterances", question="Who speaks"),
                Unit(PERTURBED, PERTURBED, "speakers, channel perturbed", "speaker identification error rate",
                     axis="utterances given to a wrong speaker",
                     wrong="of utterances a wrong speaker, each through a channel of its own",
                     plainly="are taken for somebody else in {} of their utterances", question="Who speaks"),
                Unit("target", "pair of one person's utterances", "pairs of one person's utterances",  # in verification
                     "equal error rate", wrong="of one person's pairs of utterances taken for two people's",
                     plainly="are taken for two people in {} of their pairs of utterances",
                     question="Whether one person speaks"),
            ),
            cautions=(
                "**Competitors.** Whether a speaker is found depends on how many similar voices stand beside"
                " them. The main charts stand on all speakers of the corpus; with equal shares of each group the"
                " question is asked further down.",
            ),
        ),
        Task(
            "asr", "speech recognition", "characters", probe="context", mistaken="are misrecognised", c2=-1,
            units=(
                Unit("char", "character", "characters", "character error rate", wrong="of characters wrong",
                     plainly="are misheard in {} of their characters", question="What is said", saturates=True),
                Unit("word", "word", "words", "word error rate", wrong="of words wrong",
                     plainly="are misheard in {} of their words", question="What is said", saturates=True),
            ),
            cautions=(
                "**Saturation and training.** Where most characters are wrong for everybody, a gap means little;"
                " those layers are marked. How many hours of which group the probe was trained on can itself make"
                " a gap.",
            ),
        ),
        Task(
            "phone", "phone classification", "phones",
            units=(
                Unit("phone", "phone", "phones", "phone error rate", saturates=True,
                     axis="frames given a wrong phone",
                     wrong="of frames a wrong phone", plainly="are misheard in {} of their sounds",
                     question="Which phone sounds"),
                Unit(SAME_MIX, "phone", "phones at the same mix", "phone error rate", saturates=True,
                     axis="frames given a wrong phone",
                     wrong="of frames a wrong phone, phones and durations weighed alike",
                     plainly="are misheard in {} of their sounds", question="Which phone sounds"),
            ),
            cautions=(
                "**Phones as the dictionary has them.** Which phone sounds when is what a program made of the text"
                " and a dictionary of adults' American English. Where a speaker says it otherwise, the label is wrong,"
                " and a probe that hears better is punished for it.",
                "**One kind of probe.** A layer may hold what these probes cannot read. They are the same for every"
                " layer and control, so that layers can be compared; what is lowest here is best read, not best held.",
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
