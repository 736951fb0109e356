"""What can be known before a chapter's kernel starts: that its corpus, groups, encoder, layer and folders are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairlib.base.files import cache_folder, require_room
from fairlib.base.tasks import TASKS
from fairlib.book.chapters import Chapter, ChapterError, chapter_named
from fairlib.book.parameters import (
    AlongPretraining,
    EncoderParameters,
    FineTuning,
    Parameters,
    StudyParameters,
    Why,
)
from fairlib.corpora import CORPORA, is_synthetic
from fairlib.encoders import (
    HUB_ID,
    EncoderError,
    check_folder,
    configuration,
    encoder_fingerprint,
    encoder_folder,
    encoder_layers,
    finetuned_from,
)
from fairlib.encoders.names import is_logmel, is_untrained, without_random

if TYPE_CHECKING:
    import pandas as pd


def require(chapter: str, chosen: Parameters) -> None:
    """Refuse, before any kernel starts, a chapter that could not come to its end.

    What is published needs neither speech nor encoder; of everything else it is looked whether it is there.

    Raises:
        ChapterError: one sentence on the first thing that is wrong.
        fairlib.base.files.FolderError: a folder that is to be written cannot be, or its disk is full.
    """
    from fairlib.outcomes import store_folder

    about = chapter_named(chapter)
    if not isinstance(chosen, EncoderParameters):
        return
    lacking, corpus = _not_published(about, chosen), None
    if lacking or chosen.force:
        for folder in (cache_folder(), store_folder()):
            require_room(folder)
        corpus = _require_speech(chapter, chosen, lacking)
        again = [chosen.encoder] if chosen.force else []
        for encoder in dict.fromkeys([*again, *(encoder for encoder, _ in lacking)]):
            _require_encoder(chapter, encoder)
        _require_groups(chapter, chosen, corpus)
    _require_a_question(about, chosen, corpus)
    if isinstance(chosen, AlongPretraining):
        _require_an_exchange(chapter, chosen)
    if isinstance(chosen, Why) and chosen.between and corpus is not None:
        _require_two_groups(chapter, chosen, corpus)
    layer, there = getattr(chosen, "layer", ""), encoder_layers(chosen.encoder)
    if layer and there and layer not in there:  # of a hub id it may be known only now
        raise ChapterError(
            f"{chapter}: layer: {chosen.encoder} has no layer {layer!r}, it has {there[0]}, {there[1]} to {there[-1]}."
        )


def _not_published(about: Chapter, chosen: EncoderParameters) -> list[tuple[str, str]]:
    """Encoders and tasks of which a chapter has no published outcomes.

    Their names tell in no time what surely is not; a view that is missing beside them (a perturbed channel, say) is
    found by the chapter itself.
    """
    from fairlib.findings import controls
    from fairlib.outcomes import anything_published

    if not about.tasks:
        return []
    encoders = [chosen.encoder]
    if isinstance(chosen, FineTuning):
        encoders.append(chosen.pretrained or (finetuned_from(chosen.encoder) or ("",))[0])
    if about.controls:
        encoders += controls(chosen.encoder)

    def is_there(encoder: str, task: str) -> bool:
        if isinstance(chosen, Why) and chosen.between:  # published are the two groups with most training speakers
            return False
        weights = encoder_fingerprint(encoder) if is_untrained(encoder) and configuration(encoder) else None
        seed, probe = _seeds(about, chosen, task) - 1, _probe(chosen, task)
        return anything_published(encoder, chosen.corpus, task, seed, probe, weights)

    return [(encoder, task) for encoder in encoders for task in about.tasks if not is_there(encoder, task)]


def _probe(chosen: EncoderParameters, task: str) -> str | None:
    """The probe of recognition, of which others are published for other seeds; of other tasks, whichever there is."""
    return getattr(chosen, "probe", TASKS[task].main[2]) if task == "asr" else None


def _seeds(about: Chapter, chosen: EncoderParameters, task: str) -> int:
    """Probe trainings of a task; the number that a chapter is given holds for its main task alone."""
    return getattr(chosen, "seeds", 1) if task == (about.task or "sid") else 1


def _require_speech(chapter: str, chosen: EncoderParameters, lacking: list[tuple[str, str]]) -> pd.DataFrame | None:
    """The corpus, after what is odd about it was said; None of synthetic speech, which is made when it is needed."""
    if is_synthetic(chosen.corpus):
        return None
    from fairlib.book.check import look_over
    from fairlib.corpora import CorpusError

    try:
        return look_over(chosen.corpus)
    except CorpusError as error:
        why = f"of {lacking[0][0]} there are no published outcomes ({lacking[0][1]})" if lacking else "force was given"
        raise ChapterError(f"{chapter}: {why}, so the speech itself is needed. {error}") from None


def _require_groups(chapter: str, chosen: EncoderParameters, corpus: pd.DataFrame | None) -> None:
    """What a corpus could record, a release or a part of it need not."""
    if corpus is None or not isinstance(chosen, StudyParameters):
        return
    people = corpus.drop_duplicates("speaker_id")
    groups = {
        column: people[column].nunique()
        for column in (CORPORA[chosen.corpus].groups if chosen.corpus in CORPORA else ())
        if column in people
    }
    if chosen.group in people:
        groups[chosen.group] = people[chosen.group].nunique()
    if groups.get(chosen.group, 0) < 2:
        usable = [column for column, number in groups.items() if number > 1]
        has = "only one group" if groups.get(chosen.group) else "no groups"
        raise ChapterError(
            f"{chapter}: group: the {chosen.corpus} that is there has {has} by {chosen.group!r}; it has groups by"
            f" {', '.join(usable) or 'nothing'}."
        )


def _require_a_question(about: Chapter, chosen: EncoderParameters, corpus: pd.DataFrame | None) -> None:
    """People, transcripts and groups enough for one of the chapter's tasks."""
    from fairlib.findings.questions import refusal

    tasks = [about.task] if about.task else about.tasks
    why = refusal(about.name, tasks, chosen.corpus, getattr(chosen, "group", ""), corpus)
    if why:
        raise ChapterError(f"{about.name} has nothing to ask of {chosen.corpus}: {why}")


def _require_an_exchange(chapter: str, chosen: AlongPretraining) -> None:
    """A counterpart that was chosen has heard such speakers; where the usual one has not, the page itself says so."""
    from fairlib.findings.exchanged import compared_with, no_such_exchange

    if chosen.counterpart != AlongPretraining.model_fields["counterpart"].default:
        compared = compared_with(chosen.counterpart, chosen.encoder)
        if why := no_such_exchange(compared, chosen.counterpart, chosen.corpus):
            raise ChapterError(f"{chapter}: counterpart: {why}")


def _require_two_groups(chapter: str, chosen: Why, corpus: pd.DataFrame) -> None:
    """The groups that probes are trained on, if they were chosen: they are there, with people enough."""
    from fairlib.corpora import halves
    from fairlib.probes.training_groups import two_groups

    why = two_groups(corpus, halves(corpus).to_numpy(), [chosen.group], chosen.between.split(","))[1]
    if why:
        raise ChapterError(f"{chapter}: between: {why}")


def _require_encoder(chapter: str, encoder: str) -> None:
    """Its weights are there; of a hub id that was never fetched only the settings are fetched: they are small, and
    tell whether it can be used."""
    name = without_random(encoder)
    if is_logmel(name) or HUB_ID.fullmatch(name) and configuration(name) is not None:
        return
    try:
        folder = encoder_folder(name, weights=False)
        if not HUB_ID.fullmatch(name):
            check_folder(folder, untrained=is_untrained(encoder))
    except EncoderError as error:
        raise ChapterError(f"{chapter}: {error}") from None
