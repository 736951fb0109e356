"""Every number with an interval that a finding's sentence states is a row of the table that it speaks of."""

import re
from pathlib import Path

import pytest

from fairlib import error_slopes, findings, gap_profile, group_bias
from fairlib.book.chapters import ROOT, chapters
from fairlib.book.runs import facts_in
from fairlib.findings.gap_tables import main_contrast
from fairlib.findings.opposite import c2_finding
from fairlib.findings.survey import every_encoder
from fairlib.findings.where import do_layers_differ

NUMBER = r"[-−+]?\d+(?:\.\d+)?"
STATED = re.compile(rf"({NUMBER})(?:\s?%)? \[({NUMBER}), ({NUMBER})\]")
PEOPLE = re.compile(r"(?:With|Compared:|and) (\d+) (?:children|adults|speakers recorded|recorded)\b")
P_VALUE = re.compile(r"\bp ([=<]) (0\.\d+)")
COUNTED = re.compile(r"at (\d+) of (\d+) layers")


def value(text: str) -> float:
    return float(text.replace("−", "-").replace(",", ""))


def digits(text: str) -> int:
    return len(text.partition(".")[2])


def spans(rows: list[dict]):
    """Estimate, low and high of each row, under whatever name: ``estimate, low, high``, or with one stem."""
    for row in rows:
        for low in (name for name in row if name.endswith("low") and isinstance(row[name], float)):
            high, stem = low[: -len("low")] + "high", low[: -len("low")]
            for middle in (stem + "estimate", stem.rstrip("_"), "estimate", "slope"):
                if isinstance(row.get(middle), float) and isinstance(row.get(high), float):
                    yield str(row.get("layer", "")), (row[middle], row[low], row[high])


def wrong_numbers(sentence: str, rows: list[dict]) -> list[str]:
    """What a sentence states that no row holds, to the digits that it states."""
    missing = []
    for found in STATED.finditer(sentence):
        stated, places = [value(text) for text in found.groups()], digits(found[1])
        before = re.search(r"(?:layer |, |\()(cnn|\d+) $", sentence[: found.start()])  # "layer 4 +0.73 [...]"

        def fits(span, stated=stated, places=places) -> bool:
            low, high = sorted(span[1:])
            return any(
                all(abs(sign * unit * a - b) <= 0.5001 * 10**-places for a, b in zip(order, stated))
                for unit in (1, 100)
                for sign, order in ((1, (span[0], low, high)), (-1, (span[0], high, low)))
            )

        if not any(fits(span) for layer, span in spans(rows) if not before or layer in ("", before[1])):
            missing.append(found[0])
    known = [row[name] for row in rows for name in ("p", "p_joint") if isinstance(row.get(name), float)]
    for found in P_VALUE.finditer(sentence) if known else ():
        close = (
            (lambda p, x=found: p < value(x[2])) if found[1] == "<" else (lambda p, x=found: round(p, 3) == value(x[2]))
        )
        if not any(map(close, known)):
            missing.append(found[0])
    return missing


@pytest.mark.parametrize("chapter", [chapter.notebook for chapter in chapters().values()])
def test_a_built_chapter_states_what_its_evidence_holds(chapter):
    notebook = ROOT / "_build" / "source" / "notebooks" / f"{chapter}.ipynb"
    if not notebook.exists():
        pytest.skip(f"the book is not built ({Path(notebook).name} is not there): run make book")
    for finding in facts_in(notebook).get("findings", []):
        assert not wrong_numbers(finding["sentence"], finding["evidence"]), finding["sentence"]


@pytest.fixture(scope="module")
def published():
    return every_encoder("speechocean762")


@pytest.mark.parametrize("by", ["age_group", "sex"])
@pytest.mark.parametrize("unit", ["speaker", "char", "phone"])
@pytest.mark.parametrize("encoder", ["pocket-hubert", "pocket-wavlm-asr-librispeech", "mini-hubert"])
def test_sentences_state_what_an_independent_table_holds(published, encoder, unit, by):
    outcomes = published[encoder]
    outcomes = outcomes[outcomes["unit"] == unit]
    if outcomes.empty:
        pytest.skip(f"{unit} of {encoder} is not published")
    bias = findings.mark_saturated(group_bias(outcomes, by=by, permutations=500), outcomes)
    contrast = main_contrast(bias, encoder)
    rows = bias[bias["contrast"] == contrast].to_dict("records")
    begins = findings.where_bias_begins(bias, encoder, contrast)
    where = do_layers_differ(outcomes, by, encoder, contrast)
    profile = gap_profile(outcomes[outcomes["encoder"] == encoder], by=by).to_dict("records")
    twin = f"random:{encoder}"
    twins = {encoder: twin} if twin in set(outcomes["encoder"]) else {}
    slopes = error_slopes(outcomes[outcomes["encoder"].isin([encoder, *twins.values()])], by, twins)
    slopes = slopes[slopes["encoder"] == encoder]
    c2 = c2_finding(slopes, outcomes["task"].iloc[0], contrast) if unit != "phone" else None
    assert not wrong_numbers(begins.sentence, rows), begins.sentence
    assert not wrong_numbers(where.sentence, profile), where.sentence
    assert c2 is None or not wrong_numbers(c2.sentence, slopes.to_dict("records")), c2.sentence
    people = outcomes.drop_duplicates("speaker_id").groupby(by).size()
    for finding in filter(None, (begins, where, c2)):
        stated = [int(found[1]) for found in PEOPLE.finditer(finding.sentence)]
        assert len(stated) >= 2 and set(stated) <= set(people), finding.sentence
    mine = bias[(bias["encoder"] == encoder) & (bias["contrast"] == contrast) & (bias["scale"] == "log_odds")]
    for found in COUNTED.finditer(begins.sentence):
        assert int(found[1]) in (int((mine["p_familywise"] < 0.05).sum()), len(mine)) and int(found[2]) == len(mine)


def test_a_number_that_is_off_by_one_digit_is_found():
    rows = [{"layer": "4", "estimate": 0.734, "low": 0.491, "high": 1.004, "p": 0.031}]
    true = "cnn to 6, layer 4 +0.73 [+0.49, +1.00] (p = 0.031)"
    assert not wrong_numbers(true, rows)
    for wrong in (
        "layer 4 +0.74 [+0.49, +1.00]", "layer 4 +0.73 [+0.49, +1.01]", "layer 5 +0.73 [+0.49, +1.00]",
        "−0.73 [+0.49, +1.00]", "+0.73 [+0.49, +1.00] (p = 0.032)", "+0.73 [+0.49, +1.00] (p < 0.001)",
    ):  # fmt: skip
        assert wrong_numbers(wrong, rows), wrong
