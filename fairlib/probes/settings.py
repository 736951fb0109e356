"""What the probes' dataclasses share: their settings are checked, named, and made into a key of the outcome store."""

from __future__ import annotations

import dataclasses
import numbers
from typing import Any, ClassVar

from fairlib.outcomes import METHOD
from fairlib.probes.splits import ProbeError, check_probe, columns_of, listed

_NAMED = {
    "perturbed": "perturbed channel", "shuffled": "shuffled labels", "control": "control task", "by_phone": "by phone"
}  # fmt: skip
_NO_SETTINGS = ("size", "seeds", "frames")  # first in the name; one entry each; the outcomes are the same


class Probe:
    """A probe with its settings: a frozen dataclass, so that two with the same settings are equal."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    task: ClassVar[str]
    sizes: ClassVar[dict[str, tuple[str, ...]]]  # with the settings that only this size has
    size: str
    seeds: int
    balance: Any

    def __post_init__(self) -> None:
        check_probe(self.size, self.sizes)
        object.__setattr__(self, "balance", tuple(columns_of(self.balance)))
        for field in dataclasses.fields(self):
            value: Any = getattr(self, field.name)
            kind = type(field.default) if field.default is not None else int  # a number, or None for none
            if kind in (int, float) and (value is not None or field.default is not None):
                real = isinstance(value, numbers.Real)
                fits = real and kind(value) == value and value >= (kind is int)
                if not fits:
                    least = "a whole number of 1 or more" if kind is int else "a number of 0 or more"
                    raise ProbeError(f"{type(self).__name__} has {field.name}={value!r}: it must be {least}.")
                object.__setattr__(self, field.name, kind(value))
            only = [size for size, names in self.sizes.items() if field.name in names]
            if only and self.size not in only and value != field.default:
                raise ProbeError(f"A probe of the size {self.size!r} has no {field.name}; {only[0]!r} has.")

    @property
    def name(self) -> str:
        """The size and all that departs from the defaults, as outcomes and plots call it."""
        said = [self.size]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in _NO_SETTINGS or value == field.default:
                continue
            if field.name == "balance":
                said.append(f"balanced by {listed(value)}")
            elif field.name in _NAMED:
                said.append(_NAMED[field.name])
            elif field.name in ("iterations", "passes"):
                said.append(f"{value} {field.name}")
            else:
                said.append(f"{field.name.replace('_', ' ')} {value:g}")
        return ", ".join(said)

    def settings(self) -> dict[str, Any]:
        """All that changes the outcomes, as plain values: part of their key."""
        raise NotImplementedError

    def key(self) -> dict[str, Any]:
        """The probe's part of the key under which outcomes are stored: ``task, probe, settings, method``."""
        return {"task": self.task, "probe": self.name, "settings": self.settings(), "method": METHOD[self.task]}

    def _values(self, *names: str) -> dict[str, Any]:
        return {name: getattr(self, name) for name in names} | ({"balance": list(self.balance)} if self.balance else {})
