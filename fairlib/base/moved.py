"""Modules and functions of the first edition by their names of then: they are found where they are now, with a warning.

Goes with the next edition.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "adjustment": "bias.adjustment", "alignment": "probes.alignment", "along": "findings.pretraining",
    "association": "bias.association", "audio": "corpora.audio", "calibration": "findings.calibration",
    "cards": "book.cards", "channel": "corpora.channel", "chapters": "book.chapters", "charts": "display.charts",
    "claims": "findings.claims", "comparison": "book.comparison", "devices": "encoders.devices",
    "executors": "encoders.workers", "extraction": "encoders.extraction", "features": "encoders.features",
    "finetuning": "training.finetuning", "grids": "book.grids", "layers": "findings.layers",
    "multiverse": "findings.robustness", "notebooks": "book.pairs", "pages": "book.pages", "picture": "book.picture",
    "power": "bias.power", "prediction": "book.prediction", "pretraining": "training.pretraining",
    "printing": "book.printing", "probing": "probes", "provenance": "book.provenance", "published": "findings.survey",
    "recordings": "corpora.recordings", "rendering": "display.rendering", "runs": "book.runs",
    "sentences": "display.sentences", "simulation": "bias.simulation", "speakers": "findings.speakers",
    "study": "book.studies", "summary": "book.summary", "views": "findings.views", "words": "display.words",
    "corpora.fetch": "corpora.download", "corpora.own": "corpora.custom", "findings.ruler": "findings.reference",
    "bias.teaching": "bias.training_groups", "findings.taught": "findings.training_groups",
    "outcomes.taught": "outcomes.training_groups", "probes.teaching": "probes.training_groups",
    "files": "base.files", "progress": "base.progress", "tasks": "base.tasks", "writing": "base.writing",
}  # fmt: skip
ROOMS = {"probing": "probes", "pretraining": "training"}  # what stood in these packages, and was named alike
RENAMED = {"cross_teach": "train_across_groups", "taught_gaps": "training_group_gaps"}  # functions of `fairlib`


class _Finder(MetaPathFinder, Loader):
    def find_spec(self, name, path=None, target=None):
        old = name.removeprefix("fairlib.")
        package, _, rest = old.partition(".")
        new = MOVED.get(old) or (f"{ROOMS[package]}.{rest}" if rest and package in ROOMS else None)
        if new is None or name == old:
            return None
        return ModuleSpec(name, self, origin=f"fairlib.{new}", is_package=old in ROOMS)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None and module.__spec__.origin is not None  # as find_spec made it
        now = module.__spec__.origin
        warnings.warn(f"{module.__name__} is {now} now: import it by that name.", DeprecationWarning, stacklevel=2)
        real = importlib.import_module(now)
        module.__dict__.update({name: value for name, value in vars(real).items() if not name.startswith("__")})


def find_moved_modules() -> None:
    """Let imports by the old names be found; asked last, so that a module that is there comes first."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())


def name_now(name: str) -> str:
    """What a function of `fairlib` is called now.

    Example:
        >>> name_now("probe_phones")
        'probe_phones'
    """
    if name in RENAMED:
        warnings.warn(f"fairlib.{name} is fairlib.{RENAMED[name]} now.", DeprecationWarning, stacklevel=3)
    return RENAMED.get(name, name)
