"""What the explorer page travels with: errors and units of each speaker, and the seeds of their random numbers.

The page computes intervals and p values in the reader's browser (``book/_static/explorer/statistics.js``), with the
very random numbers that `fairlib.bias.sums.random_numbers` gives each speaker, so that they are those of `group_bias`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd

from fairlib.base.files import write_text
from fairlib.base.tasks import TASKS, unit_named
from fairlib.bias.contrasts import people
from fairlib.bias.sums import everybody
from fairlib.book.parameters import LEAD
from fairlib.corpora import CORPORA, is_synthetic, speaker_columns
from fairlib.encoders import LOGMEL_AROUND, encoder_fingerprint, finetuned_from, heard, our_encoders
from fairlib.encoders.names import encoder_label, is_untrained, untrained_twin, without_random
from fairlib.findings.survey import published, published_twin, strangers


def write_explorer(folder: Path) -> None:
    """Write the explorer's data into a folder of the book's static files, as a script: pages are read without a server,
    where no page may read a file of data."""
    data = json.dumps(explorer_data(), ensure_ascii=False, separators=(",", ":"))
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "data.js", f"window.ExplorerData = {data};\n")


def explorer_data() -> dict:
    """Every published encoder's sums over speakers, by corpus and task, as plain values.

    Returns:
        ``tasks`` (what they are called), ``lead`` (the encoder shown first) and ``corpora``: of each the ``columns``
        recorded of its speakers, the seeds of their random numbers, and its ``sets``: one for each encoder and task,
        with ``errors`` ``[speakers, seeds, layers]`` and ``units`` ``[speakers, seeds]``, in base 64, and the name of
        the set that holds its untrained ``twin``.
    """
    tasks = {}
    for task in TASKS.values():
        unit = unit_named(task.main[1])
        tasks[task.name] = {"title": task.heading, "axis": unit.on_axis, "bounded": task.name != "asr"}
    corpora = {name: _corpus(name) for name in CORPORA if not is_synthetic(name)}
    return {"tasks": tasks, "lead": LEAD, "corpora": {name: one for name, one in corpora.items() if one["sets"]}}


def _corpus(corpus: str) -> dict:
    sets, tables, unheard = [], [], strangers(corpus)
    trained = {name: _twin(name) for name in our_encoders()}
    for task in TASKS.values():
        for encoder, outcomes in _published(corpus, task.main):
            if outcomes.empty:
                continue
            for sums in everybody(outcomes):
                if (sums.lengths != sums.lengths[:, :, :1]).any() or sums.errors.max() > 65535:
                    continue  # the page holds units once for all layers
                tables.append(outcomes.drop_duplicates("speaker_id"))
                sets.append(
                    {
                        "encoder": encoder, "label": _label(encoder), "task": task.name, "twin": trained.get(encoder),
                        "heard": encoder in trained and corpus in heard(encoder) and not set(sums.speakers) <= unheard,
                        "layers": sums.cells["layer"].tolist(), "seeds": len(sums.seeds), "names": list(sums.speakers),
                        "errors": _packed(sums.errors), "units": _packed(sums.lengths[:, :, 0]),
                    }
                )  # fmt: skip
    if not sets:
        return {"sets": []}
    speakers = pd.concat(tables).drop_duplicates("speaker_id").set_index("speaker_id").sort_index()
    place = {name: number for number, name in enumerate(speakers.index)}
    for one in sets:
        one["speakers"] = [place[name] for name in one.pop("names")]
    columns = {
        column: [None if pd.isna(value) else value for value in speakers[column]]
        for column in speaker_columns(speakers.reset_index())
        if speakers[column].nunique() > 1
    }
    if "age" in speakers and speakers["age"].notna().any():
        columns["age"] = [None if pd.isna(value) else float(value) for value in speakers["age"]]
    called = {
        column: {str(value): people(column, str(value)) for value in set(values) - {None}}
        for column, values in columns.items() if column != "age"
    }  # fmt: skip
    return {
        "sets": sets, "columns": columns, "people": called, "count": len(speakers),
        "resample": [_words(f"resample:{name}") for name in speakers.index],
        "permute": [_words(f"permute:{name}") for name in speakers.index],
        "seeds": [_words(f"resample:seed {seed}") for seed in range(5)],
    }  # fmt: skip


def _published(corpus: str, main: tuple[str, str, str]) -> list[tuple[str, pd.DataFrame]]:
    """Outcomes of every encoder by the task's leading probe, pretrained ones first; twins that several share, once."""
    named = sorted(our_encoders(), key=lambda name: (finetuned_from(name) is not None, name))
    trained = [(name, published(name, corpus, *main)) for name in named]
    twins = {_twin(name): published_twin(name, corpus, *main) for name in named if finetuned_from(name) is None}
    signals = [(name, published(name, corpus, *main)) for name in ("logmel", "logmel-25ms", *LOGMEL_AROUND)]
    return [*trained, *sorted(twins.items()), *dict(signals).items()]


def _twin(encoder: str) -> str:
    """The name under which the page holds an encoder's untrained twin: that of the first encoder of this shape."""
    before = finetuned_from(encoder)
    twin = untrained_twin(before[0] if before else encoder)
    alike = (untrained_twin(name) for name in sorted(our_encoders()) if finetuned_from(name) is None)
    return next(other for other in alike if encoder_fingerprint(other) == encoder_fingerprint(twin))


def _label(encoder: str) -> str:
    return f"{without_random(encoder)}, randomly initialised" if is_untrained(encoder) else encoder_label(encoder)


def _packed(values: np.ndarray) -> dict:
    """Whole numbers in base 64, in as few bytes each as they need."""
    bits = 8 if values.max() < 256 else 16
    return {"bits": bits, "values": base64.b64encode(values.astype(f"<u{bits // 8}").tobytes()).decode()}


def _words(purpose: str) -> str:
    """The seed of a generator, as numpy's makes it of a name (see `fairlib.bias.sums.random_numbers`)."""
    seed = int.from_bytes(hashlib.blake2b(purpose.encode(), digest_size=16).digest())
    return "".join(f"{int(word):016x}" for word in np.random.SeedSequence(seed).generate_state(4, np.uint64))
