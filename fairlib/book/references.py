"""Whom to cite for a run: entries of the book's list of references, and the book's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairlib.book.chapters import ROOT
from fairlib.corpora import CORPORA
from fairlib.encoders.catalogue import configuration, finetuned_from, heard, pretraining_task
from fairlib.encoders.checkpoints import CITE, our_encoders
from fairlib.encoders.names import parsed


def references(
    folder: Path, record: Mapping[str, Any], notebook: Mapping[str, Any]
) -> tuple[dict[str, str], list[str]]:
    """Whom to cite for a run.

    Args:
        folder: of the run; its outcomes name encoders and corpora that its record may not.
        record, notebook: its provenance and its executed notebook.

    Returns:
        BibTeX entries by key: the book, the paper whose claims it tests, what the chapter cites, the encoders' families
        and the corpora (those that a shipped encoder was trained on too); and what of these has no entry.
    """
    text = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    parts = re.split(r"(?m)^(?=@)", text)
    known = {part[part.index("{") + 1 : part.index(",")].strip(): part.strip() + "\n" for part in parts if "@" in part}
    cited = [
        key.strip()
        for cell in notebook["cells"]
        if cell["cell_type"] == "markdown"
        for keys in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", "".join(cell["source"]))
        for key in keys.split(",")
    ]
    families, corpora = _used(folder, record)
    keys = ["herron2026", *cited]
    missing: list[str] = []
    for name, key in [(name, CITE.get(name, "")) for name in families] + [
        (name, CORPORA[name].cite if name in CORPORA else "") for name in corpora
    ]:
        (keys if key else missing).append(key or name)
    return {"fairlib": _book(record)} | {key: known[key] for key in dict.fromkeys(keys) if key in known}, missing


def _used(folder: Path, record: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Families of the run's encoders, and the corpora that it, or a shipped encoder's training, used; in order."""
    import pandas as pd

    chosen, facts = record["parameters"], record["outcomes"]
    corpora = [chosen.get("corpus", ""), *(each["corpus"] for each in [*facts, *record.get("speech", [])])]
    names = [chosen.get(which, "") for which in ("encoder", "pretrained", "counterpart")]
    names += [name for each in facts for name in each["encoder"].split(", ")]
    for path in sorted(folder.glob("outcomes/*.parquet")):
        rows = pd.read_parquet(path, columns=["encoder", "corpus"])
        names += rows["encoder"].unique().tolist()
        corpora += rows["corpus"].unique().tolist()
    families: list[str] = []
    for name in dict.fromkeys(filter(None, names)):
        plain = parsed(name).plain
        if parsed(name).is_logmel:
            continue
        families.append((configuration(plain) or {}).get("model_type") or plain)
        if plain in our_encoders():
            families.append(str(pretraining_task((finetuned_from(plain) or (plain,))[0])))
            corpora += sorted(heard(plain))
    return list(dict.fromkeys(families)), list(dict.fromkeys(filter(None, ", ".join(corpora).split(", "))))


def _book(record: Mapping[str, Any]) -> str:
    """The book's own entry, from CITATION.cff; its year is that of the run."""
    import yaml

    about = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    authors = " and ".join(f"{{{author['name']}}}" for author in about["authors"])
    return (
        f"@misc{{fairlib,\n  author = {{{authors}}},\n  title = {{{about['title']}}},\n"
        f"  year = {{{str(record.get('started', ''))[:4]}}}, howpublished = {{book and software}},"
        f" note = {{{record.get('code', '')}}}\n}}\n"
    )
