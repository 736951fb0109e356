"""Charts of who the speakers are say in their titles what the table of speakers holds."""

import pandas as pd
import pytest

from fairlib.display.people import ages_chart, differences_chart, lengths_chart
from fairlib.findings.speakers import differences


@pytest.fixture
def speakers() -> pd.DataFrame:
    """Twenty children of 6 to 10 years and twenty adults from 25 on, who speak twice as long; of one, nothing."""
    ages = [6 + number % 5 for number in range(20)] + [25 + number for number in range(20)]
    table = pd.DataFrame({"age": [*ages, None], "age_group": ["child"] * 20 + ["adult"] * 20 + [None]})
    lengths = [2.0 if age < 20 else 4.0 for age in ages]
    return table.assign(seconds=[*lengths, 9.0], sex=["female", "male"] * 20 + ["male"])


def title(chart) -> str:
    return " ".join(chart.title.text)


def test_a_hole_in_the_ages_is_named(speakers):
    chart = ages_chart(speakers, "sex")
    assert title(chart) == "40 people from 6 to 44 years of age, nobody between 10 and 25"
    assert chart.description.endswith("female: 6 to 43 years; male: 6 to 44 years")
    assert title(ages_chart(speakers[:20], "sex")) == "20 people from 6 to 10 years of age"
    assert ages_chart(speakers, "accent").description.endswith("people: 6 to 44 years")


def test_one_person_who_gives_an_age_is_drawn(speakers):
    """As where, of two who do, one is in no recorded group."""
    chart = ages_chart(speakers[:1], "sex")
    assert title(chart) == "1 person of 6 years" and chart.description.endswith("female: 6 years")


def test_lengths_are_named_by_group_and_those_of_many_groups_as_a_span(speakers):
    assert title(lengths_chart(speakers, "age_group")) == "An utterance lasts 4.0 s with adults and 2.0 s with children"
    many = speakers.assign(accent=[f"accent {number % 8}" for number in range(41)])
    assert title(lengths_chart(many, "accent")).endswith("s in the mean of a group")


@pytest.mark.parametrize(
    ("differ", "said"),
    [(True, "differ most in speaking rate"), (False, "do not differ detectably in anything else")],
)
def test_the_title_says_what_was_judged(speakers, differ, said):
    known = speakers.dropna().assign(rate=speakers["seconds"] + 0.1 * speakers["age"] % 1)
    apart = differences(known[["age_group", "rate"]], "age_group", "child vs adult")
    assert title(differences_chart(apart, "age_group", "child vs adult", differ)) == f"Children and adults {said}"
