"""Where a gap's uncertainty comes from."""

import numpy as np
import pandas as pd
import pytest

from fairlib.bias import group_bias
from fairlib.findings.survey import published
from fairlib.findings.variance import ENCODER_SEED, PEOPLE, PROBE_SEED, TRAINERS, spread, variance_sources
from fairlib.probes import SpeakerProbe


def test_draws_within_sets_show_their_standard_deviation_whatever_the_sets_means():
    rng = np.random.default_rng(0)
    sets = rng.normal(0, 0.3, (4000, 3)) + rng.normal(0, 5, (4000, 1))
    sd, freedom = spread(sets)
    assert freedom == 8000 and sd == pytest.approx(0.3, rel=0.02)


@pytest.fixture(scope="module")
def sources():
    return variance_sources("pocket-hubert", "speechocean762", "age_group").set_index(["task", "source"])


def test_speakers_seeds_and_draws_are_each_measured(sources):
    assert set(sources.loc["sid"].index) == {PEOPLE, TRAINERS, PROBE_SEED, ENCODER_SEED}
    assert {PEOPLE, TRAINERS, ENCODER_SEED} <= set(sources.loc["phone"].index)
    assert ((sources["low"] < sources["sd"]) & (sources["sd"] < sources["high"])).all()


def test_the_probe_seed_is_what_one_seed_less_another_shows(sources):
    outcomes = published("pocket-hubert", "speechocean762", "sid", "speaker", SpeakerProbe().name)
    gaps = []
    for seed, mine in outcomes.groupby("seed"):
        bias = group_bias(mine, by="age_group", resamples=10, permutations=10)
        gaps.append(bias[bias["scale"] == "log_odds"].set_index("layer")["estimate"].rename(seed))
    by_hand = np.sqrt(pd.concat(gaps, axis=1).var(axis=1, ddof=1).mean())
    assert sources.loc[("sid", PROBE_SEED), "sd"] == pytest.approx(by_hand)


def test_nothing_is_made_up_where_nothing_is_published():
    assert variance_sources("pocket-hubert", "mine", "age_group").empty
    planted = variance_sources("pocket-hubert", "planted", "group")
    assert set(planted["source"]) <= {PEOPLE, PROBE_SEED}
