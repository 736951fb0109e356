"""Age within groups: what was planted is found and told, what was not recorded is not made up."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from fairlib.display.tables import written
from fairlib.display.words import percent
from fairlib.findings import ages


@pytest.fixture(scope="module")
def outcomes():
    """Sixty children, whose errors fall with age, and sixty adults, whose do not; girls err less than boys."""
    rng = np.random.default_rng(1)
    rows = []
    for number in range(120):
        child, sex = number < 60, "female" if number % 2 else "male"
        age = int(rng.integers(6, 16) if child else rng.integers(20, 40))
        person = 0.2 * rng.normal() - (0.15 * (age - 10) if child else 0) - (0.3 if sex == "female" else 0)
        for layer in ("cnn", "0"):
            wrong = rng.binomial(400, expit(-0.5 + person))
            left_out = rng.binomial(wrong, 0.7 if child else 0.3)
            rows.append((f"s{number:03d}", layer, age, "child" if child else "adult", sex, wrong, left_out))
    names = ["speaker_id", "layer", "age", "age_group", "sex", "errors", "deletions"]
    table = pd.DataFrame(rows, columns=names)
    return table.assign(
        encoder="e", task="asr", unit="char", probe="p", seed=0, corpus="c", length=400, insertions=0,
        utterance_id=table["speaker_id"], substitutions=table["errors"] - table["deletions"],
    )  # fmt: skip


def test_errors_that_fall_with_age_are_told_of_the_group_whose_do(outcomes):
    slopes = ages.age_slopes(outcomes, "age_group")
    odds = slopes[slopes["scale"] == "log_odds"].set_index(["group", "layer"])
    assert ((odds.loc["child", "low"] < -0.15) & (odds.loc["child", "high"] > -0.15)).all()
    sentence = ages.ages_sentence(slopes)
    assert sentence.startswith("Among children of 6 to 15 years, the odds of an error fall with each year")
    assert "Among adults of 20 to 39 years, no change with age is shown" in sentence
    bands = ages.by_age_band(outcomes, "age_group")
    assert set(bands["group"]) == {"child"} and (bands["estimate"] > 0.4).all()  # the younger err more
    table = ages.ages_table(slopes, bands)
    assert list(table["layer"]) == ["cnn", "0"]
    (younger,) = (column for column in table if "under 10" in column)
    assert all(cell.starred for cell in table[younger])
    (adults,) = (column for column in table if column.startswith("adults"))
    assert not any(cell.starred for cell in table[adults])


def test_ages_that_are_not_recorded_give_nothing(outcomes):
    without = outcomes.drop(columns="age")
    assert ages.ages_sentence(ages.age_slopes(without, "age_group")) == "The corpus does not record ages."
    assert ages.age_slopes(without, "age_group").empty and ages.by_age_band(without, "age_group").empty
    few = outcomes[outcomes["speaker_id"] < "s005"]
    assert ages.age_slopes(few, "age_group").empty


def test_pairs_of_groups_are_those_of_people_and_small_ones_are_not_shown(outcomes):
    table = ages.intersections_table(outcomes, "age_group")
    assert set(table["speakers"]) == {30} and len(table) == 4
    assert ages.intersections_table(outcomes.drop(columns="sex"), "age_group").empty
    rare = outcomes.assign(sex=outcomes["sex"].where(outcomes["speaker_id"] != "s000", "other"))
    with pytest.warns(UserWarning):  # of a group of one
        assert "other × child" not in set(ages.intersections_table(rare, "age_group")["sex and age_group"])


def test_kinds_of_errors_differ_where_all_errors_do_not_tell(outcomes):
    table = ages.kinds_table(outcomes, "age_group", "child vs adult").set_index("layer")
    whole = outcomes.groupby(["layer", "age_group"])[["deletions", "length"]].sum()
    share = whole["deletions"] / whole["length"]
    told = written(table.loc["cnn", "deletions"])
    assert told.startswith(f"{percent(share['cnn', 'child'])}, {percent(share['cnn', 'adult'])}\n+")
    assert written(table.loc["cnn", "substitutions"]).split("\n")[1].startswith("−")
