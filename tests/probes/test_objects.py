"""Objects that compose: probes as dataclasses, encoders and features in the place of names, own arrays and tables."""

import dataclasses
import os

import numpy as np
import pandas as pd
import pytest
from tiny import noises, tiny_encoder

import fairlib
from fairlib.bias import BiasError, bias_differences, group_bias
from fairlib.encoders.features import Features
from fairlib.findings import main_contrast
from fairlib.outcomes import provenance
from fairlib.probes import CharacterProbe, PhoneProbe, ProbeError, SpeakerProbe, identify_among, probe_of
from fairlib.probes.stored import Work

CUSTOM = [
    SpeakerProbe(l2=1e-3, iterations=40, perturbed=True, balance="sex", shuffled=True, test_share=0.5),
    SpeakerProbe("hidden", l2=1e-2),
    SpeakerProbe(tolerance=1e-4),
    SpeakerProbe(iterations=20),
    CharacterProbe("linear", passes=3, clip=1.0),
    CharacterProbe(width=64, balance=["sex", "age_group"]),
    PhoneProbe("hidden", control=True),
    PhoneProbe(iterations=5, l2=1, by_phone=True),
]


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRLIB_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("FAIRLIB_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    table = noises(tmp_path_factory.mktemp("noises"), 24)
    table["speaker_id"] = [f"s{row % 6}" for row in range(len(table))]
    table["group"] = np.where(table["speaker_id"] < "s3", "one", "other")
    return table.assign(corpus="noises", text="", split=None)


@pytest.mark.parametrize("probe", CUSTOM, ids=lambda probe: probe.name)
def test_what_departs_from_the_published_probe_stands_in_its_name_and_key(probe):
    plain = type(probe)(probe.size)
    assert probe.name.startswith(f"{plain.name}, ") and probe.key()["settings"] != plain.key()["settings"]
    assert probe_of(probe.key()) == dataclasses.replace(probe, seeds=1)
    for field in dataclasses.fields(probe):
        value = getattr(probe, field.name)
        if field.name not in ("size", "seeds", "frames") and value != field.default:
            reset = dataclasses.replace(probe, **{field.name: field.default})
            assert reset.name != probe.name and reset.key()["settings"] != probe.key()["settings"]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: SpeakerProbe("big"), "Unknown probe 'big'"),
        (lambda: SpeakerProbe(seeds=0), "SpeakerProbe has seeds=0: it must be a whole number of 1 or more"),
        (lambda: SpeakerProbe(l2=-1), "l2=-1: it must be a number of 0 or more"),
        (lambda: SpeakerProbe(l2=0), "l2=0 and tolerance=1e-05: both must be above 0"),
        (lambda: SpeakerProbe(iterations=0), "iterations=0: it must be a whole number of 1 or more"),
        (lambda: SpeakerProbe(test_share=1), "test_share=1.0: it must be above 0 and below 1"),
        (lambda: PhoneProbe(l2="small"), "l2='small'"),
        (lambda: PhoneProbe("hidden", iterations=30), "the size 'hidden' has no iterations; 'linear' has"),
        (lambda: CharacterProbe("linear", width=64), "the size 'linear' has no width; 'context' has"),
        (lambda: CharacterProbe(frames="ram"), "not 'ram'"),
    ],
)
def test_settings_that_cannot_be_are_refused(make, told):
    with pytest.raises(ProbeError, match=told):
        make()


def test_probes_are_trained_on_the_processor_where_the_device_has_no_double_precision(corpus, monkeypatch):
    """As Apple's have none; the encoder computes there nonetheless."""
    monkeypatch.setattr("fairlib.encoders.devices.best_device", lambda: "mps")
    monkeypatch.setattr("fairlib.probes.stored.best_device", lambda: "mps")
    monkeypatch.setattr("fairlib.encoders.families.logmel", lambda device: device)
    work = Work("logmel", corpus, [], {"encoder": "logmel"})
    assert work.device == "cpu" and work.encoder.device == "mps"


def test_names_encoders_and_features_are_one_to_a_probe(encoder, corpus, monkeypatch):
    probe = SpeakerProbe(seeds=1)
    by_name = fairlib.probe(encoder.name, probe, corpus)
    monkeypatch.setattr(Work, "features", lambda *_, **__: pytest.fail("computed again"))
    features = fairlib.extract(encoder, corpus)
    for what in (encoder, features):
        pd.testing.assert_frame_equal(fairlib.probe(what, probe, corpus), by_name)
    pd.testing.assert_frame_equal(fairlib.probe_speakers(features, seeds=1), by_name)
    monkeypatch.undo()


def test_features_are_given_as_arrays_and_used_as_they_are(encoder, corpus, monkeypatch, tmp_path):
    monkeypatch.setenv("FAIRLIB_STORE", str(tmp_path / "elsewhere"))
    features = fairlib.extract(encoder.name, corpus, frames=True)
    assert features.utterance_ids == corpus["utterance_id"].tolist() and len(features.shards) == 1
    frames = features.frames("1", "u05")
    assert np.array_equal(frames, features.utterances("1")[5])
    pooled = np.concatenate([frames.astype(float).mean(axis=0), frames.astype(float).std(axis=0)])
    np.testing.assert_allclose(features.pooled("1")[5], pooled, atol=2e-3)
    with pytest.raises(ValueError, match="no layer '9' here; there are cnn, 0, 1, 2"):
        features.pooled("9")
    with pytest.raises(ValueError, match="no utterance 'x'"):
        features.frames("1", "x")
    with pytest.raises(ValueError, match="frames=True"):
        fairlib.extract(encoder, corpus, tmp_path / "pooled").frames("1", "u05")

    monkeypatch.setattr("fairlib.probes.stored.extract", lambda *_, **__: pytest.fail("extracted again"))
    outcomes = fairlib.probe(features, SpeakerProbe(seeds=1))
    assert set(outcomes["layer"]) == set(features.layers) and set(outcomes["encoder"]) == {encoder.name}
    with pytest.raises(ProbeError, match="alters the speech"):
        fairlib.probe(features, SpeakerProbe(perturbed=True))
    with pytest.raises(ValueError, match="not the one that the features are of"):
        fairlib.probe(features, SpeakerProbe(seeds=1), corpus.iloc[::-1])
    with pytest.raises(ProbeError, match="Name the corpus"):
        fairlib.probe(encoder, SpeakerProbe())


def test_features_of_audio_that_was_changed_since_are_not_probed(encoder, tmp_path):
    """Their outcomes would be kept as those of the new audio."""
    corpus = noises(tmp_path, 4).assign(speaker_id=list("abab"))
    features = fairlib.extract(encoder, corpus)
    os.utime(corpus["path"][0], ns=(0, 0))
    with pytest.raises(ValueError, match="Audio was changed since .* encoded it: extract its features again"):
        fairlib.probe(features, SpeakerProbe(seeds=1))


def quiet(audio, utterance_id):
    return audio / 10


def test_altered_speech_is_never_taken_for_the_encoders_own_features(encoder, corpus, tmp_path):
    plain = fairlib.extract(encoder, corpus)
    altered = fairlib.extract(encoder, corpus, tmp_path / "quiet", alter=quiet)
    assert altered.own and altered.name == f"{encoder.name}, {__name__}.quiet"
    assert altered.fingerprint != plain.fingerprint
    one, other = (fairlib.probe(features, SpeakerProbe(seeds=1)) for features in (plain, altered))
    assert set(one["entry"]).isdisjoint(other["entry"])
    with pytest.raises(ValueError, match="folder of its own"):
        fairlib.extract(encoder, corpus, alter=quiet)


def _voices(speakers=6, takes=8, seed=0):
    """Embeddings and labels alone: no audio, no durations, no texts."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"speaker_id": np.repeat([f"s{number}" for number in range(speakers)], takes)})
    table["utterance_id"] = [f"u{row}" for row in range(len(table))]
    centres = 3 * rng.standard_normal((speakers, 10))
    return table, np.repeat(centres, takes, axis=0) + rng.standard_normal((len(table), 10))


def test_arrays_of_ones_own_go_into_our_probes():
    table, matrix = _voices()
    noise = np.random.default_rng(1).standard_normal(matrix.shape)
    outcomes = fairlib.probe(Features.of_arrays({"0": noise, "1": matrix}, table), SpeakerProbe(seeds=2))
    error = outcomes.groupby("layer")["errors"].mean()
    assert error["1"] < 0.05 and error["0"] > 0.5
    assert set(outcomes["encoder"]) == {"mine"} and set(outcomes["corpus"]) == {"own-table"}
    # Other arrays of the same name are others, equal ones are the same.
    again = fairlib.probe(Features.of_arrays({"0": noise, "1": matrix}, table), SpeakerProbe(seeds=2))
    other = fairlib.probe(Features.of_arrays({"0": noise, "1": matrix + 1e-3}, table), SpeakerProbe(seeds=2))
    assert set(again["entry"]) == set(outcomes["entry"]) and set(other["entry"]).isdisjoint(outcomes["entry"])
    # Frames give the statistics that the encoders' give.
    frames = [np.stack([row, row + 1, row - 1]) for row in matrix]
    of_frames = Features.of_arrays({"1": frames}, table)
    np.testing.assert_allclose(of_frames.pooled("1")[:, :10], matrix, atol=1e-5)
    assert fairlib.probe(of_frames, SpeakerProbe(seeds=1))["errors"].mean() < 0.05


@pytest.mark.parametrize("name", ["mine", "pocket-hubert"])
def test_characters_are_read_from_arrays_layer_by_their_layer(name):
    """Whatever they are called: no encoder of that name is asked for its layers."""
    table, _ = _voices(speakers=4, takes=2)
    table = table.assign(text="a b", split=np.where(table["speaker_id"] < "s2", "train", "test"), duration_s=0.6)
    frames = [np.random.default_rng(row).standard_normal((30, 4)) for row in range(len(table))]
    mine = Features.of_arrays({"early": frames, "late": frames}, table, name)
    outcomes = fairlib.probe(mine, CharacterProbe("linear", passes=1))
    assert outcomes["layer"].unique().tolist() == ["early", "late"]


def test_phones_are_read_from_layers_that_have_half_as_many_frames(monkeypatch):
    """As SEW's blocks have; the last of an odd number is lost there."""
    spoken = [("AA", 0.0, 0.4), ("B", 0.4, 0.9)]
    monkeypatch.setattr("fairlib.probes.alignment.align", lambda table: dict.fromkeys(table["utterance_id"], spoken))
    table, _ = _voices(speakers=4, takes=2)
    table = table.assign(text="a b", split=np.where(table["speaker_id"] < "s2", "train", "test"))
    rng = np.random.default_rng(0)
    frames = [(np.arange(49) >= 20)[:, None] + 0.1 * rng.standard_normal((49, 4)) for _ in range(len(table))]
    squeezed = Features.of_arrays({"cnn": frames, "1": [one[:-1:2] for one in frames]}, table)
    outcomes = fairlib.probe(squeezed, PhoneProbe())
    assert outcomes.groupby("layer")["length"].sum().nunique() == 1
    error = outcomes.groupby("layer")["errors"].sum() / outcomes.groupby("layer")["length"].sum()
    assert error["cnn"] < 0.03 and error["1"] < 0.05


def test_labels_of_ones_own_stand_beside_features(encoder, corpus):
    features = fairlib.extract(encoder, corpus)
    labelled = corpus.assign(town=np.where(corpus["speaker_id"].isin(["s0", "s4", "s5"]), "north", "south"))
    outcomes = fairlib.probe(features, SpeakerProbe(seeds=1), labelled)
    assert set(outcomes["town"]) == {"north", "south"}
    # Joined to outcomes afterwards they do as well.
    joined = fairlib.probe(features, SpeakerProbe(seeds=1)).merge(
        labelled[["speaker_id", "town"]].drop_duplicates(), on="speaker_id"
    )
    one, other = (group_bias(table, by="town", min_speakers=2) for table in (outcomes, joined))
    pd.testing.assert_frame_equal(one, other, check_dtype=False)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda layers, table: (layers, table.drop(columns="speaker_id")), "lacks speaker_id"),
        (lambda layers, table: ({"0": layers["0"][1:]}, table), "Layer '0' has 47 rows, and the corpus 48"),
        (lambda layers, table: ({"0": layers["0"] * np.inf}, table), "utterance 'u0' holds what is no finite number"),
        (lambda layers, table: ({"0": [np.ones((3, 4))] * 47 + [np.ones((3, 5))]}, table), r"'u47' has the shape"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_by_name(spoil, told):
    table, matrix = _voices()
    layers, table = spoil({"0": matrix}, table)
    with pytest.raises(ValueError, match=told):
        Features.of_arrays(layers, table)


def test_pooled_features_are_not_taken_for_frames():
    table, matrix = _voices()
    table = table.assign(text="hello", split=np.where(table["speaker_id"] < "s3", "train", "test"))
    with pytest.raises(ProbeError, match="needs frames, and these features are pooled"):
        fairlib.probe(Features.of_arrays({"0": matrix}, table), CharacterProbe())


def test_controls_stand_beside_the_outcomes_of_the_same_probe(encoder, corpus):
    probe = SpeakerProbe(seeds=2, l2=1e-3)
    outcomes = fairlib.probe(encoder, probe, corpus)
    with pytest.raises(ValueError, match="no corpus 'noises'"):
        fairlib.with_controls(outcomes)
    with pytest.raises(ProbeError, match="give with_controls its table"):
        fairlib.with_controls(outcomes, corpus.iloc[:20])
    both = fairlib.with_controls(outcomes, corpus)
    assert set(both["encoder"]) == {encoder.name, f"random:{encoder.name}", "logmel"}
    assert set(both["probe"]) == {"linear, l2 0.001"} and set(both["seed"]) == {0, 1}
    cells = both.groupby(["encoder", "seed"])["utterance_id"].agg(set)
    assert all(len(set(map(frozenset, cells.xs(seed, level="seed")))) == 1 for seed in (0, 1)), "the same utterances"
    # They are in the store now, so that no corpus is asked for; what is there is not added again.
    pd.testing.assert_frame_equal(fairlib.with_controls(outcomes), both)
    pd.testing.assert_frame_equal(fairlib.with_controls(both), both)
    only = outcomes[outcomes["seed"] == 1]
    assert set(fairlib.with_controls(only)["seed"]) == {1}
    with pytest.raises(ProbeError, match="name no entry of the store"):
        fairlib.with_controls(outcomes.drop(columns="entry"))
    few = identify_among(encoder, corpus, by="group", sizes=[4], seeds=1)
    with pytest.raises(ProbeError, match="call its function with"):
        fairlib.with_controls(few, corpus)


def test_features_of_ones_own_have_no_untrained_twin(tmp_path):
    table, matrix = _voices()
    outcomes = fairlib.probe(Features.of_arrays({"0": matrix}, table), SpeakerProbe(seeds=1))
    with pytest.warns(UserWarning, match="'mine' has no untrained twin"), pytest.raises(ValueError, match="own-table"):
        fairlib.with_controls(outcomes)
    assert provenance(outcomes)["encoder"] == "mine" and provenance(outcomes.drop(columns="entry")) == {}


def _minimal(seed=0):
    """Outcomes from elsewhere: the documented columns and no others."""
    rng = np.random.default_rng(seed)
    people = [f"p{number:02d}" for number in range(24)]
    rows = [
        {"encoder": "theirs", "task": "asr", "unit": "word", "probe": "their own", "layer": layer,
         "utterance_id": f"{person}-{take}", "speaker_id": person, "length": 10,
         "errors": int(rng.binomial(10, 0.6 if person < "p12" and layer != "2" else 0.2)),
         "dialect": "north" if person < "p12" else "south"}
        for layer in ("cnn", "0", "1", "2") for person in people for take in range(6)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_a_minimal_table_of_outcomes_goes_through_to_verdict_and_chart():
    outcomes = _minimal()
    bias = group_bias(outcomes, by="dialect")
    finding = fairlib.where_bias_begins(bias)
    assert finding.verdict == "supported" and "12 " in finding.sentence
    chart = fairlib.charts.bias_by_layer(bias)
    assert "shows a gap between" in " ".join(chart.title.text) and "theirs" in chart.description
    assert " ".join(fairlib.charts.bias_by_layer(bias, title="Mine").title.text) == "Mine"
    apart = bias_differences(outcomes, "dialect", [(("theirs", "cnn"), ("theirs", "2"))])
    assert (apart["p_holm"] < 0.05).any()
    with pytest.raises(BiasError, match="these lack length"):
        group_bias(outcomes.drop(columns="length"), by="dialect")


def test_what_is_not_said_is_taken_only_where_there_is_one():
    bias = group_bias(_minimal(), by="dialect")
    two = pd.concat([bias, bias.assign(encoder="others")])
    for judge in (fairlib.where_bias_begins, fairlib.charts.bias_by_layer):
        with pytest.raises(ValueError, match="which encoder"):
            judge(two)
    beside = pd.concat(
        [bias, bias.assign(encoder="random:theirs"), bias.assign(encoder="logmel").query("layer == '0'")]
    )
    assert fairlib.where_bias_begins(beside).verdict == "supported"
    assert fairlib.charts.bias_by_layer(beside).title.text
    rows = _minimal()
    rows["town"] = rows["speaker_id"].str[-1].map(lambda digit: str(int(digit) % 3))
    three = group_bias(rows, by="town")
    assert fairlib.where_bias_begins(three).evidence[0]["contrast"] == main_contrast(three, "theirs")


def test_the_public_names_are_listed():
    assert set(fairlib.__all__) <= set(dir(fairlib))
    assert all(getattr(fairlib, name) for name in fairlib.__all__)
