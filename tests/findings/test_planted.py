"""What chapter 4 tabulates: figures of the calibration, and which disadvantages of synthetic voices are found."""

import pandas as pd
import pytest

from fairlib.bias import group_errors
from fairlib.bias.simulation import simulate_outcomes
from fairlib.findings.calibration import association_table, crossed_table, design_table, family_table, value
from fairlib.findings.cells import Number
from fairlib.findings.planted import layers_that_show, voices_table


@pytest.fixture(scope="module")
def voices():
    """One group that is wronged at the second of two layers, and one that fares better there."""
    errors = {"clear": [0.2, 0.2], "very_noisy": [0.2, 0.6], "noisy": [0.2, 0.03]}
    return simulate_outcomes(errors, speakers=40, seed=2)


def test_a_disadvantage_is_found_where_it_was_planted_and_no_advantage_counts_as_one(voices):
    found = layers_that_show(voices, ["very_noisy", "noisy"])
    assert found["disadvantage"].tolist() == ["very noisy", "noisy"]
    assert found["layers that show it"].tolist() == [1, 0] and found["layers"].tolist() == [2, 2]
    assert set(found["task"]) == {"speech recognition"}
    assert layers_that_show(voices, ["noisy"], whichever_way=True)["layers that show it"].tolist() == [1]


def test_voices_stand_in_the_order_of_the_corpus(voices):
    errors = group_errors(voices, by="group", resamples=50).query("layer == '1'")
    table = voices_table(errors)
    assert table["group"].tolist() == ["clear", "clear too", "hurried", "telephone", "noisy", "very noisy"]
    cell = table.set_index("group").loc["very noisy", "speech recognition, simulated"]
    row = errors.set_index("group").loc["very_noisy"]
    assert cell == Number("share", row["error"], row["low"], row["high"])
    assert pd.isna(table.set_index("group").loc["hurried", "speech recognition, simulated"])


def test_tables_hold_the_figures_of_the_calibration():
    usual = association_table().set_index(["planted", "test"])
    figure = value("association", "rank test over layers, as usual", condition="constant odds")
    assert usual.loc[("nothing (constant odds)", "usual test"), "difference"] == Number("share", figure)
    crossed = crossed_table().set_index(["world", "people tested in each group"])
    figure = value("teaching", "penalty of both", "log_odds", "shifted", 30)
    assert crossed.loc[("the second is shifted", 30), "a penalty of both is shown"] == Number("share", figure)
    assert design_table()["instrument"].unique().tolist() == ["speakers", "characters"]
    assert "" in family_table()["100 people"].tolist()  # not every design was simulated at every size
