"""Transcripts: plain text, and the errors of a hypothesis."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import pandas as pd


def plain_text(text) -> str:
    """Upper case letters and apostrophes, accents removed, words apart by one space; empty for a missing text.

    Example:
        >>> plain_text("Voilà: it's 'fine', really…")
        "VOILA IT'S FINE REALLY"
    """
    if not isinstance(text, str):
        return ""
    letters = "".join(
        c for c in unicodedata.normalize("NFKD", text.replace("’", "'")) if not unicodedata.combining(c)
    ).upper()
    words = re.sub(r"[^\w' ]|[\d_]", " ", letters).split()
    return " ".join(word for word in (w.strip("'") for w in words) if word)


def greedy_text(path, alphabet) -> str:
    """The text of a CTC path ``[T]``: repeats are one letter, 0 is the blank, letter n is ``alphabet[n - 1]``.

    Example:
        >>> greedy_text(np.array([1, 1, 0, 2, 2, 0, 2]), "AB")
        'ABB'
    """
    changes = path[np.flatnonzero(np.diff(path, prepend=-1))]
    return "".join(alphabet[code - 1] for code in changes if code > 0)


def count_errors(references: list[str], hypotheses: list[str], unit: str) -> pd.DataFrame:
    """Errors of each utterance by jiwer's alignment, in characters (``char``) or words (``word``).

    Example:
        >>> count_errors(["A CAT"], ["A BAT S"], "word").to_dict("records")
        [{'errors': 2, 'length': 2, 'substitutions': 1, 'deletions': 0, 'insertions': 1}]
    """
    import jiwer

    process = jiwer.process_characters if unit == "char" else jiwer.process_words
    result = process(references, hypotheses)
    rows = []
    for alignment, reference in zip(result.alignments, result.references):
        counts = {"substitute": 0, "delete": 0, "insert": 0}
        for chunk in alignment:
            if chunk.type != "equal":
                size = max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
                counts[chunk.type] += size
        rows.append([sum(counts.values()), len(reference), *counts.values()])
    return pd.DataFrame(rows, columns=["errors", "length", "substitutions", "deletions", "insertions"])
