"""The multiverse: what is planted comes out under every choice, and the rule tells when one of them leads elsewhere."""

import pandas as pd
import pytest

from fairlib.bias.simulation import simulate_outcomes
from fairlib.display.choices import choices_chart
from fairlib.findings import robustness
from fairlib.findings.robustness import BOOK, does_it_hold, gaps_of, in_order

CONTRAST = "child vs adult"


def made(child: float, seed: int = 0, speakers: int = 60) -> pd.DataFrame:
    rates = {"child": [0.5, child], "adult": [0.5, 0.3]}
    table = simulate_outcomes(rates, speakers=speakers, by="age_group", seed=seed)
    return table.assign(layer=table["layer"].map({"0": "cnn", "1": "1"}))


@pytest.mark.parametrize(
    ("book", "others", "verdict"),
    [
        (0.42, [0.42, 0.40], "supported"),
        (0.42, [0.42, 0.20], "contradicted"),  # turned round
        (0.42, [0.42, 0.30], "inconclusive"),  # one that cannot tell
        (0.30, [0.30, 0.42], "contradicted"),  # found where the book finds none
        (0.42, [], "inconclusive"),
    ],
)
def test_the_rule_tells_whether_a_choice_leads_elsewhere(book, others, verdict):
    choices = {BOOK: made(book)} | {f"way {place}": made(child, place + 1) for place, child in enumerate(others)}
    table = gaps_of(choices, "age_group", CONTRAST)
    found = does_it_hold(table, "age_group", CONTRAST, "In a made-up task")
    assert found.verdict == verdict
    assert found.sentence.startswith("In a made-up task, the book’s own analysis ")
    assert set(table.loc[table["at"] == "best", "layer"]) == {"1"}  # cnn has the higher error throughout
    assert in_order(table)[0] == table[table["at"] == "best"].sort_values("estimate")["name"].iloc[-1]


def test_choices_are_drawn_in_order_and_the_farthest_is_named():
    ways = {BOOK: 0.42, "near": 0.43, "far": 0.7, "turned": 0.2}
    table = gaps_of({name: made(child, seed) for seed, (name, child) in enumerate(ways.items())}, "age_group", CONTRAST)
    said = robustness.farthest_sentence("sid", table)
    assert said.startswith("**Speaker identification.** Farthest from the book’s own choice are far (+")
    assert said.index("turned (−") < said.index("near (")
    assert robustness.farthest_sentence("sid", table[table["name"] == BOOK]) == ""
    assert robustness.farthest_sentence("sid", table[table["name"] != BOOK]) == ""

    table["saturated"] = table["name"] == "near"
    spec = choices_chart("sid", table, "age_group", CONTRAST).to_dict()
    assert " ".join(spec["title"]["text"]) == (
        "Speaker identification: of 4 ways to ask, 3 find that children have more errors than adults, 1 that they have "
        "fewer, 0 are inconclusive"
    )
    drawn = max(spec["datasets"].values(), key=len)
    assert list(dict.fromkeys(row["name"] for row in drawn))[::3] == ["far", "turned"]
    assert "near *" in {row["name"] for row in drawn} and "Starred" in " ".join(spec["title"]["subtitle"])


def test_a_choice_with_too_few_people_is_left_out():
    few = made(0.42)
    few = few[few["speaker_id"].isin(["child-0000", *(f"adult-{number:04d}" for number in range(9))])]
    assert set(gaps_of({BOOK: made(0.42), "few": few}, "age_group", CONTRAST)["name"]) == {BOOK}


def test_other_encoders_stand_in_as_far_as_they_are_published():
    choices = robustness.speech_choices("pocket-hubert", "speechocean762")
    assert list(choices)[:3] == [BOOK, "counted in words", "phones instead of characters"]
    assert "pocket-wav2vec2 instead" in choices and choices["pocket-wav2vec2 instead"]["unit"].unique() == ["char"]
    assert all(
        mine["corpus"].eq("speechocean762").all() and mine["encoder"].nunique() == 1 for mine in choices.values()
    )


def test_people_whom_another_encoder_has_heard_are_left_out():
    choices = robustness.speaker_choices("pocket-hubert", "speechocean762", "age_group")
    everybody, strangers = (set(choices[name]["speaker_id"]) for name in (BOOK, "pocket-hubert-children instead"))
    assert strangers < everybody == set(choices["pocket-wav2vec2 instead"]["speaker_id"])
