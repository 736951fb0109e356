"""Cross-group training, erasure and geometry on features in which the truth was planted."""

import numpy as np
import pandas as pd
import pytest

from fairlib.base.tasks import SAME_MIX
from fairlib.bias.training_groups import OWN_GAP, PENALTY, RANDOM_PENALTY, training_group_gaps
from fairlib.encoders.features import Features
from fairlib.encoders.simulated import simulate_voices
from fairlib.probes import ProbeError, alignment
from fairlib.probes.erasure import (
    ERASED,
    GROUP,
    KEPT,
    RANDOM_DIRECTION,
    RANDOM_GROUP,
    RANDOM_LABELS,
    RANDOM_YEARS,
    YEARS,
    erase_group,
)
from fairlib.probes.geometry import NEAREST, SCATTER, SHIFT, WITHIN, speaker_geometry
from fairlib.probes.speakers import verify_speakers
from fairlib.probes.stored import Work
from fairlib.probes.training_groups import train_across_groups

PHONES, WIDTH, FRAMES = 6, 12, 60


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRLIB_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("FAIRLIB_CACHE", str(tmp_path / "cache"))


def people(speakers=24, utterances=4):
    """Two groups, half of each in the train half."""
    names = [f"{group}{number:02d}" for group in ("child", "adult") for number in range(speakers)]
    table = pd.DataFrame({"speaker_id": np.repeat(names, utterances)})
    table["utterance_id"] = [f"{name}-{row}" for row, name in enumerate(table["speaker_id"])]
    table["age_group"] = table["speaker_id"].str[:5].str.rstrip("0123456789")
    table["split"] = np.where(table["speaker_id"].str[-2:].astype(int) % 2 == 0, "train", "test")
    # Any file: features are given, and nobody reads it.
    return table.assign(corpus="made", path=__file__, duration_s=FRAMES / 50, text="one")


def spoken(monkeypatch, corpus, rng, shift=0.0, noise=1.0):
    """Frames of six phones, each of ten frames; children's phones lie elsewhere but as far apart, or vary more."""
    usual, skew = rng.normal(0, 1, (PHONES, WIDTH)), shift * rng.normal(0, 1, (WIDTH, WIDTH))
    skew -= skew.T
    turn = np.linalg.solve(np.eye(WIDTH) + skew, np.eye(WIDTH) - skew)  # a rotation (Cayley)
    names = [f"P{number}" for number in range(PHONES)]
    segments = [(name, 0.2 * place, 0.2 * (place + 1)) for place, name in enumerate(names)]
    monkeypatch.setattr(alignment, "align", lambda table: {one: segments for one in table["utterance_id"]})
    said, arrays = np.repeat(np.arange(PHONES), FRAMES // PHONES), []
    for child in corpus["age_group"] == "child":
        frames = usual[said] @ (turn if child else np.eye(WIDTH))
        arrays.append((frames + (noise if child else 1.0) * rng.normal(0, 1.2, frames.shape)).astype(np.float32))
    return Features.of_arrays({"0": arrays}, corpus)


def estimates(crossed, scale="log_odds"):
    table = training_group_gaps(crossed, by="age_group").query("scale == @scale")
    return table.set_index(["unit", "quantity", "group"])[["estimate", "low", "high", "p"]]


def test_a_shift_is_told_from_noise_in_phones(monkeypatch):
    rng, corpus = np.random.default_rng(0), people()
    shifted = estimates(train_across_groups(spoken(monkeypatch, corpus, rng, shift=0.06), task="phone", draws=3))
    noisy = estimates(train_across_groups(spoken(monkeypatch, corpus, rng, noise=1.5), task="phone", draws=3))
    for unit in ("phone", SAME_MIX):
        for group in ("child", "adult"):
            assert shifted.loc[(unit, PENALTY, group), "low"] > 0.2
            assert abs(noisy.loc[(unit, PENALTY, group), "estimate"]) < 0.1
            assert abs(shifted.loc[(unit, RANDOM_PENALTY, group), "estimate"]) < 0.1
        assert abs(shifted.loc[(unit, OWN_GAP, ""), "estimate"]) < 0.15
        assert noisy.loc[(unit, OWN_GAP, ""), "low"] > 0.3


def test_a_shift_is_told_from_noise_in_voices():
    def crossed(**planted):
        crossed = train_across_groups(simulate_voices(60, **planted), by="group", task="sid", draws=3)
        table = training_group_gaps(crossed, by="group").query("scale == 'difference'")
        return table.set_index(["quantity", "group"])[["estimate", "low", "high"]]

    alike, shifted, noisy = crossed(), crossed(shift=0.5), crossed(noise=2.0)
    for group in ("first", "second"):
        assert shifted.loc[(PENALTY, group), "low"] > 0.03
        assert shifted.loc[(RANDOM_PENALTY, group), "low"] < 0 < shifted.loc[(RANDOM_PENALTY, group), "high"]
        assert abs(alike.loc[(PENALTY, group), "estimate"]) < 0.05
    # A probe trained on clearer speech is better, whoever is tested: one group's penalty is then the other's gain.
    assert abs(noisy.loc[PENALTY, "estimate"].mean()) < 0.05
    assert abs(shifted.loc[(OWN_GAP, ""), "estimate"]) < 0.1 and abs(alike.loc[(OWN_GAP, ""), "estimate"]) < 0.1
    assert noisy.loc[(OWN_GAP, ""), "high"] < -0.05


@pytest.mark.parametrize(
    "outcomes_of",
    [
        lambda features: train_across_groups(features, by="age_group", task="phone", draws=2),
        lambda features: train_across_groups(features, by="age_group", task="sid", draws=2),
        # Whom a speaker is taken for is asked among all of them; what is read of a speaker is not.
        lambda features: erase_group(features, by="age_group", task="sid").query("unit != 'speaker'"),
        lambda features: erase_group(features, by="age_group", task="phone"),
        lambda features: speaker_geometry(features, task="sid"),
        lambda features: verify_speakers(features, features.corpus, by="age_group"),
        lambda features: verify_speakers(features, features.corpus, by="age_group", back_end="cosine"),
    ],
    ids=["across phones", "across voices", "erased voices", "erased phones", "geometry", "lda", "cosine"],
)
@pytest.mark.filterwarnings("ignore:Corpus 'made'. .* are in neither half")
def test_people_of_a_third_split_are_neither_trained_on_nor_tested(outcomes_of, monkeypatch):
    corpus = people(16, 5)
    number = corpus["speaker_id"].str[-2:].astype(int)
    corpus["split"] = np.select([number % 4 == 0, number == 1], ["dev", None], corpus["split"])
    # Some utterances of people in the halves are in neither, too.
    corpus.loc[corpus["utterance_id"].isin(["child02-10", "adult03-95"]), "split"] = "dev"
    features = spoken(monkeypatch, corpus, np.random.default_rng(0))
    kept = np.flatnonzero(corpus["split"].isin(["train", "test"]))
    frames = features.utterances("0")
    halves_alone = Features.of_arrays({"0": [frames[row] for row in kept]}, corpus.iloc[kept].reset_index(drop=True))
    found, wanted = (
        one.drop(columns="entry").reset_index(drop=True) for one in (outcomes_of(features), outcomes_of(halves_alone))
    )
    pd.testing.assert_frame_equal(found, wanted)


def test_only_two_groups_are_compared(monkeypatch):
    corpus = people().assign(age_group=lambda table: table["speaker_id"].str[-1])
    features = Features.of_arrays({"0": np.random.default_rng(0).normal(0, 1, (len(corpus), 8))}, corpus)
    with pytest.raises(ProbeError, match="3 were given: name two of 0, 1, 2"):
        train_across_groups(features, groups=["1", "2", "3"], task="sid", draws=1)
    # Refused before anything is encoded or read.
    monkeypatch.setattr(Work, "features", lambda *_, **__: pytest.fail("features were asked for"))
    with pytest.raises(ProbeError, match="there is no 'z'"):
        train_across_groups(features, groups=["1", "z"], task="sid", draws=1)
    with pytest.raises(ProbeError, match="needs 4 training speakers and 2 test speakers of each group; made has "):
        train_across_groups(features, groups=["1", "2"], task="sid", draws=1)


def test_an_erased_group_is_read_no_more_and_the_speakers_still_are():
    made = simulate_voices(40)
    vectors = made.pooled("0")
    vectors[:, 0] += 2.0 * (made.corpus["group"] == "second")
    erased = erase_group(Features.of_arrays({"0": vectors}, made.corpus), by="group", task="sid")
    sums = erased.groupby(["unit", "probe", "group"])[["errors", "length"]].sum()
    wrong = (sums["errors"] / sums["length"]).groupby(["unit", "probe"]).mean()
    assert wrong[GROUP, KEPT] < 0.25 and wrong[GROUP, RANDOM_LABELS] < 0.4 and wrong[GROUP, RANDOM_DIRECTION] < 0.3
    assert wrong[GROUP, ERASED] == pytest.approx(0.5, abs=0.08)
    assert wrong[RANDOM_GROUP, KEPT] == pytest.approx(0.5, abs=0.12)  # nobody's label can be read from a new voice
    assert abs(wrong["speaker", ERASED] - wrong["speaker", KEPT]) < 0.1


def test_an_erased_number_is_read_no_more():
    made, rng = simulate_voices(40), np.random.default_rng(1)
    names = made.corpus["speaker_id"].unique()
    ages = made.corpus["speaker_id"].map(dict(zip(names, rng.uniform(6, 16, len(names)))))
    vectors = made.pooled("0")
    vectors[:, 1] += 0.5 * ages
    erased = erase_group(Features.of_arrays({"0": vectors}, made.corpus.assign(age=ages)), by="age", task="sid")
    sums = erased.groupby(["unit", "probe"])[["errors", "length"]].sum()
    off = sums["errors"] / sums["length"]  # years
    assert off[YEARS, KEPT] < 2 and off[YEARS, RANDOM_DIRECTION] < 2.2
    assert off[YEARS, ERASED] == pytest.approx(2.5, abs=0.4)  # as for who names the mean: a quarter of the span
    assert off[RANDOM_YEARS, KEPT] == pytest.approx(2.6, abs=0.5)


def test_geometry_gives_what_was_planted(monkeypatch):
    rng, corpus = np.random.default_rng(0), people()
    plain = speaker_geometry(spoken(monkeypatch, corpus, rng), task="phone")
    noisy = speaker_geometry(spoken(monkeypatch, corpus, rng, noise=1.5), task="phone")
    shifted = speaker_geometry(spoken(monkeypatch, corpus, rng, shift=0.06), task="phone")

    def of_groups(table, unit):
        return table[table["unit"] == unit].groupby("age_group")["errors"].mean()

    alike = of_groups(plain, WITHIN)
    assert alike["child"] == pytest.approx(alike["adult"], rel=0.05)
    # Thousandths of the variance; the usual means are of both groups, so that adults lie away from them too.
    apart = of_groups(noisy, WITHIN)
    assert apart["child"] / apart["adult"] == pytest.approx(1.5**2, rel=0.05)
    assert of_groups(shifted, SHIFT)["child"] > 20 and of_groups(plain, SHIFT).max() < 5


def test_distances_between_speakers_are_those_counted_by_hand():
    corpus = people(4, 3)
    vectors = np.random.default_rng(0).normal(0, 1, (len(corpus), 5)).astype(np.float32)
    table = speaker_geometry(Features.of_arrays({"0": vectors}, corpus), task="sid")
    train = (corpus["split"] == "train").to_numpy()
    standard = (vectors - vectors[train].mean(axis=0)) / vectors[train].std(axis=0)
    means = pd.DataFrame(standard[~train]).groupby(corpus["speaker_id"][~train].to_numpy()).mean()
    nearest = min(
        np.sqrt(((means.loc["child01"] - means.loc[name]) ** 2).mean()) for name in means.index if name != "child01"
    )
    own = standard[(corpus["speaker_id"] == "child01").to_numpy()]
    scatter = np.sqrt(((own - own.mean(axis=0)) ** 2).mean(axis=1).sum() / 2)
    found = table[table["speaker_id"] == "child01"].set_index("unit")["errors"]
    assert found[NEAREST] == pytest.approx(1000 * nearest, abs=1)
    assert found[SCATTER] == pytest.approx(1000 * scatter, abs=1)
