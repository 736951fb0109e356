"""Whether stronger character probes find another gap."""

import pandas as pd
import pytest

from fairlib.bias import group_bias
from fairlib.findings.instrument import HEADS, stronger_table
from fairlib.outcomes import published_outcomes
from fairlib.probes import CharacterProbe


def test_the_usual_probe_stands_first_with_what_is_published_of_it():
    table = stronger_table("pocket-hubert", "speechocean762", "age_group")
    usual, twice = table.iloc[0], table.iloc[1]
    assert usual["probe"] == "two convolutions, 6 passes" and twice["probe"] == "two convolutions, 12 passes"
    outcomes = published_outcomes("pocket-hubert", "speechocean762", "asr", CharacterProbe().name)
    outcomes = outcomes[(outcomes["layer"] == "4") & (outcomes["unit"] == "char")]
    assert usual["character error rate"].value == pytest.approx(outcomes["errors"].sum() / outcomes["length"].sum())
    gap = group_bias(outcomes, by="age_group", permutations=10).query("scale == 'log_odds'")["estimate"].iloc[0]
    assert usual["log odds ratio, child vs adult"].value == pytest.approx(gap)


def test_stronger_probes_err_less_and_are_as_they_were_measured():
    table = stronger_table("pocket-hubert", "speechocean762", "sex")
    measured = pd.read_csv(HEADS)
    mine = table[table["encoder"] == "pocket-hubert"]
    errors = [cell.value for cell in mine["character error rate"]]
    assert errors[2:] == measured.loc[measured["encoder"] == "pocket-hubert", "char"].tolist()
    assert max(errors[2:]) < 0.5 < min(errors[:2])


def test_nothing_is_said_of_other_people_or_encoders():
    assert stronger_table("pocket-hubert", "librispeech", "sex").empty
    assert stronger_table("pocket-wavlm", "speechocean762", "sex").empty
    assert stronger_table("pocket-hubert", "speechocean762", "accent").empty
