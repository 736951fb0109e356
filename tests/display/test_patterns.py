"""Chapter 7's charts and tables hold what its slopes are."""

import pandas as pd

from fairlib.bias import group_bias
from fairlib.bias.association import error_slopes
from fairlib.bias.simulation import constant_odds, simulate_outcomes
from fairlib.display import patterns
from fairlib.findings import mark_saturated, opposite

LEVELS = [0.05, 0.1, 0.2, 0.3, 0.4]
CONTRAST = "child vs adult"


def made() -> pd.DataFrame:
    """Of five layers with one odds ratio, and of a twin."""
    child, adult = constant_odds(LEVELS, 0.7)
    outcomes = simulate_outcomes({"child": child, "adult": adult}, 60, by="age_group")
    outcomes = outcomes.assign(task="sid", unit="speaker", probe="linear")
    return pd.concat([outcomes.assign(encoder=name) for name in ("e", "random:e")], ignore_index=True)


def test_each_layer_stands_over_its_error():
    outcomes = made()
    bias = mark_saturated(group_bias(outcomes, by="age_group", resamples=200), outcomes)
    spec = patterns.gap_over_error("sid", bias, "e", CONTRAST).to_dict()
    assert " ".join(spec["title"]["text"]).startswith("Speaker identification: the gap at each layer over")
    drawn = max(spec["datasets"].values(), key=len)
    assert [row["layer"] for row in drawn] == list("01234")  # the lowest error first
    assert spec["description"].startswith("One dot for each layer of e, speaker identification. Line chart of the gap")


def test_slopes_are_drawn_and_tabled_with_their_intervals():
    slopes = error_slopes(made(), by="age_group", twins={"e": "random:e"}, resamples=200)
    rows = opposite.slope_rows(slopes, "sid", CONTRAST)
    spec = patterns.slopes_chart("sid", rows, "what is seen").to_dict()
    assert " ".join(spec["title"]["text"]) == "Speaker identification: what is seen"
    assert all(name in spec["description"] for name in rows["name"])

    table = opposite.slopes_table({"sid": slopes[slopes["encoder"] == "e"]}, CONTRAST)
    assert table["scale"].tolist() == ["difference", "ratio", "log odds ratio"]
    judged = opposite.primary(slopes[slopes["encoder"] == "e"], "sid", CONTRAST)
    assert [cell.value for cell in table["beyond it"]] == judged["excess"].tolist()


def test_families_are_tabled_on_one_scale():
    rows = {"task": "sid", "contrast": CONTRAST, "layers": "all layers", "scale": ["ratio", "log_odds"], "encoders": 3}
    rows |= {"twin": ["random", None], "excess": 0.2, "excess_low": 0.1, "excess_high": 0.3, "p": 0.01}
    table = opposite.families_table(pd.DataFrame(rows | {"detectable": 0.15}), CONTRAST)
    assert table["less their twins"].tolist() == ["no"] and table["mean slope"].iloc[0].low == 0.1
