"""What could not be aligned is counted by group, and bounds the gap whatever it holds."""

import pandas as pd
import pytest
from scipy.special import logit

from fairlib.findings.unaligned import unaligned_sentence, unaligned_table


def made():
    tested = pd.DataFrame({"utterance_id": [f"u{n}" for n in range(20)], "age_group": ["child"] * 10 + ["adult"] * 10})
    phones = tested.iloc[[*range(8), *range(10, 20)]].assign(errors=50, length=100)
    return phones, tested


def test_bounds_hold_whatever_is_missing():
    phones, tested = made()
    table = unaligned_table(phones, tested, "age_group").set_index("group")
    assert table.loc["child", ["tested", "missing", "unheard"]].tolist() == [10, 2, 200]
    assert table.loc["adult", "missing"] == 0
    sentence = unaligned_sentence(table.reset_index(), "age_group", "child vs adult", "pocket-hubert", "3")
    assert "2 of 10 of children (20" in sentence and "0 of 10 of adults (0" in sentence
    worst, best = logit(600.5 / 1001), logit(400.5 / 1001)
    assert f"+{worst:.2f} or \N{MINUS SIGN}{-best:.2f} instead of" in sentence
    # Any truth lies between: the missing ones, once known, cannot take the gap further.
    for errors in (0, 30, 100):
        known = pd.concat([phones, tested.iloc[8:10].assign(errors=errors, length=100)])
        child = known[known["age_group"] == "child"]
        rate = (child["errors"].sum() + 0.5) / (child["length"].sum() + 1)
        assert best - 1e-9 <= logit(rate) <= worst + 1e-9


def test_nothing_missing_is_said_so():
    phones, tested = made()
    table = unaligned_table(phones, tested[tested["utterance_id"].isin(phones["utterance_id"])], "age_group")
    assert (
        unaligned_sentence(table, "age_group", "child vs adult", "e", "0") == "Every test utterance could be aligned."
    )
    assert table["missing"].sum() == pytest.approx(0)
