"""Speaker identification done fairly: every view of it on a problem whose answer is known."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import soundfile

from fairlib.corpora.audio import read_audio
from fairlib.corpora.channel import LEVEL_DB, crop, level, perturb
from fairlib.findings.views import PLAIN, speaker_views, views_bias
from fairlib.outcomes import provenance
from fairlib.probes import (
    ProbeError,
    balanced_seconds,
    balanced_speech,
    confusions,
    identify_among,
    kept_features,
    probe_speakers,
    verify_speakers,
)
from fairlib.probes import stored as stored_module
from fairlib.probes.trials import (
    among_candidates,
    equal_error_threshold,
    lda_directions,
    verification_trials,
)


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRLIB_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("FAIRLIB_CACHE", str(tmp_path / "cache"))


# ------------------------------------------------------------------------------------------------------------- channel


def _noise(seconds: float = 1.0, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(int(16000 * seconds))).astype(np.float32)


def test_channels_depend_on_utterance_and_seed_alone():
    audio = _noise()
    once = perturb(audio, "u1", seed=0)
    np.testing.assert_array_equal(once, perturb(audio, "u1", seed=0))
    for other in (perturb(audio, "u2", seed=0), perturb(audio, "u1", seed=1)):
        assert np.abs(once - other).max() > 0.01
    assert once.dtype == np.float32 and once.shape == audio.shape and np.isfinite(once).all()


@pytest.mark.parametrize("gain", [0.01, 1.0, 9.0])
def test_channels_leave_one_level(gain):
    for name in "abcde":
        out = perturb(gain * _noise(), name)
        assert 10 * np.log10(np.mean(out.astype(float) ** 2)) == pytest.approx(LEVEL_DB, abs=0.01)


def test_channels_are_gentle_and_differ_in_colour():
    """A tone in the speech band stays where it is; the long-term spectra differ by some decibels between utterances."""
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000).astype(np.float32)
    spectra = []
    for number in range(30):
        assert np.abs(np.fft.rfft(perturb(tone, str(number)))).argmax() == 1000
        power = np.abs(np.fft.rfft(perturb(_noise(seed=number), str(number)))) ** 2
        bands = np.array([power[low : 2 * low].mean() for low in (200, 400, 800, 1600)])
        spectra.append(10 * np.log10(bands / bands.mean()))
    assert 1.5 < np.std(spectra, axis=0).mean() < 5


def test_silence_and_crops():
    silence = np.zeros(1600, np.float32)
    assert (level(silence) == 0).all()
    assert np.isfinite(perturb(silence, "u")).all()
    np.testing.assert_array_equal(crop(np.arange(32000), 1.0), np.arange(8000, 24000))
    assert len(crop(np.arange(100), 1.0)) == 100


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    """Speakers who are all the same noise, each recorded once, through a microphone of their own."""
    folder = tmp_path_factory.mktemp("sessions")
    return _corpus(folder, [_coloured] * 8)


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    """Speakers who are combs of their own spacing, all in one and the same recording session."""
    folder = tmp_path_factory.mktemp("voices")
    return _corpus(folder, [_comb] * 8)


def _corpus(folder, speakers, takes: int = 16) -> pd.DataFrame:
    rows = []
    for number, speak in enumerate(speakers):
        for take in range(takes):
            audio = speak(np.random.default_rng([number, take]), number)
            path = folder / f"s{number}-{take:02d}.wav"
            soundfile.write(path, audio, 16000)
            rows.append((path.stem, str(path), f"s{number}", len(audio) / 16000))
    table = pd.DataFrame(rows, columns=["utterance_id", "path", "speaker_id", "duration_s"])
    table["group"] = np.where(table["speaker_id"] < "s4", "a", "b")
    table["split"] = np.where(table["speaker_id"].isin(["s0", "s1", "s4", "s5"]), "train", "test")
    return table.assign(corpus=folder.name, text="")


def _coloured(rng, number: int) -> np.ndarray:
    spectrum = np.fft.rfft(0.1 * rng.standard_normal(36000))
    frequencies = np.log(np.linspace(20, 8000, len(spectrum)))
    knots = np.random.default_rng(number).normal(0, 2.5, 7)  # decibels: the microphone, the same in all takes
    gain = 10 ** (np.interp(frequencies, np.linspace(np.log(80), np.log(7600), 7), knots) / 20)
    return np.fft.irfft(spectrum * gain)


def _comb(rng, number: int) -> np.ndarray:
    pitch = 300 * 1.22**number * (1 + 0.01 * rng.standard_normal())
    t = np.arange(36000) / 16000
    tones = sum(np.sin(2 * np.pi * k * pitch * t + rng.uniform(0, 6)) for k in range(1, int(3500 / pitch) + 1))
    return 0.05 * tones + 0.01 * rng.standard_normal(len(t))


def _error(outcomes: pd.DataFrame) -> float:
    return outcomes["errors"].sum() / outcomes["length"].sum()


def test_a_session_taken_for_a_speaker_is_found_out_by_other_channels(sessions):
    plain, perturbed = (probe_speakers("logmel", sessions, seeds=2, perturbed=p) for p in (False, True))
    assert _error(plain) < 0.05
    assert _error(perturbed) > 0.6  # chance is 7/8
    assert set(perturbed["probe"]) == {"linear, perturbed channel"}
    assert provenance(perturbed)["settings"]["channel"] == 1


def test_a_voice_stays_known_through_other_channels(voices):
    assert _error(probe_speakers("logmel", voices, seeds=2, perturbed=True)) < 0.15


def test_shuffled_labels_leave_chance(voices):
    assert _error(probe_speakers("logmel", voices, seeds=4, shuffled=True)) == pytest.approx(7 / 8, abs=0.09)


def test_every_view_is_asked_and_one_that_the_corpus_does_not_allow_is_left_out(voices):
    views = speaker_views("logmel", voices, "group", seeds=1)  # eight speakers are too few for ten candidates
    trials = {"verification: missed", "verification: own group"}
    assert set(views) == {PLAIN, "channel perturbed", "equal shares"} | trials
    bias = views_bias([views], "group")
    assert set(bias["view"]) == set(views) and bias["error"].between(0, 1).all()


def test_features_are_extracted_once_for_all_probes_and_removed(voices, tmp_path, monkeypatch):
    passes = []
    extract = stored_module.extract
    monkeypatch.setattr(stored_module, "extract", lambda *a: passes.append(a[2]) or extract(*a))
    with kept_features():
        probe_speakers("logmel", voices, seeds=1)
        verify_speakers("logmel", voices, by="group")
        assert len(set(passes)) == 1 and len(list(passes[0].glob("0*/logmel.npy"))) == 1
    assert not passes[0].exists()

    passes.clear()
    probe_speakers("logmel", voices, seeds=1, force=True)
    verify_speakers("logmel", voices, by="group", force=True)
    assert len(passes) == 1 and passes[0].exists()  # pooled alone they are small: they stay until the process ends
    stored_module._remove(stored_module._pooled_folders)
    assert not list((tmp_path / "cache" / "features").glob("*/*"))


# ------------------------------------------------------------------------------------------------------------- balance


def _people(groups: dict[str, int], utterances: int) -> pd.DataFrame:
    rows = [(f"{group}{n}", group) for group, size in groups.items() for n in range(size) for _ in range(utterances)]
    return pd.DataFrame(rows, columns=["speaker_id", "sex"]).assign(duration_s=1.0)


def test_balanced_speech_has_equal_speakers_and_utterances():
    table = pd.concat([_people({"f": 9, "m": 4}, 6), _people({"g": 5}, 8), _people({"m": 1}, 2).assign(sex=None)])
    rows = table.iloc[balanced_speech(table, ["sex"], seed=0)]
    assert rows.groupby("sex")["speaker_id"].nunique().to_dict() == {"f": 4, "g": 4, "m": 4}
    assert set(rows.groupby("speaker_id").size()) == {6}
    others = table.iloc[balanced_speech(table, ["sex"], seed=1)]
    assert set(others["speaker_id"]) != set(rows["speaker_id"])
    with pytest.raises(ProbeError, match="needs two groups"):
        balanced_speech(_people({"f": 3}, 4), ["sex"], seed=0)


def test_balanced_seconds_are_equal_to_within_an_utterance():
    table = _people({"f": 9, "m": 4}, 6)
    table["duration_s"] = np.random.default_rng(0).uniform(1, 3, len(table))
    rows = table.iloc[balanced_seconds(table, ["sex"], seed=0)]
    seconds = rows.groupby("sex")["duration_s"].sum()
    assert seconds["m"] == pytest.approx(table.loc[table["sex"] == "m", "duration_s"].sum())
    assert seconds["m"] - 3 < seconds["f"] <= seconds["m"] + 1e-6


def test_balanced_identification_hears_as_much_of_each_group(voices):
    few = voices[~voices["speaker_id"].isin(["s6", "s7"])]
    outcomes = probe_speakers("logmel", few, seeds=1, balance="group")
    assert outcomes.groupby("group")["speaker_id"].nunique().to_dict() == {"a": 2, "b": 2}
    assert set(outcomes["probe"]) == {"linear, balanced by group"}
    with pytest.raises(ProbeError, match="no speaker group column 'sx' here; there are: group"):
        probe_speakers("logmel", few, seeds=1, balance="sx")


# ---------------------------------------------------------------------------------------------------------- candidates


def test_expected_errors_among_candidates_are_those_of_all_draws():
    rng = np.random.default_rng(0)
    groups = np.array(["f", "m", "f", "m", "f", "m", "m", ""])
    scores, labels = rng.standard_normal((12, 8)), np.r_[np.arange(7), 0, 1, 2, 3, 7]
    got = among_candidates(scores, labels, groups, size=4)
    for row, label in enumerate(labels[:-1]):
        wrong = []
        women, men = (np.flatnonzero(groups == name) for name in "fm")
        for drawn in combinations(range(8), 4):
            drawn = np.array(drawn)
            if label in drawn and np.isin(drawn, women).sum() == 2 and np.isin(drawn, men).sum() == 2:
                wrong.append(scores[row, drawn].max() > scores[row, label])
        assert got[row] == pytest.approx(np.mean(wrong)), row
    assert np.isnan(got[-1])
    assert among_candidates(scores, labels, groups, size=8) is None  # there are three women
    assert among_candidates(scores, labels, groups, size=3) is None


def test_error_rises_with_the_number_of_candidates(sessions):
    outcomes = identify_among("logmel", sessions, by="group", sizes=(2, 4, 8, 50), seeds=1, perturbed=True)
    error = outcomes.groupby("probe")[["errors", "length"]].sum().pipe(lambda t: t["errors"] / t["length"])
    names = [f"linear, perturbed channel, {size} candidates by group" for size in (2, 4, 8)]
    assert set(error.index) == set(names)
    assert error[names].is_monotonic_increasing
    # Among all speakers it is the plain probe's error.
    assert error[names[-1]] == pytest.approx(_error(probe_speakers("logmel", sessions, seeds=1, perturbed=True)))
    with pytest.raises(ProbeError, match="No size among 7"):
        identify_among("logmel", sessions, by="group", sizes=(7,), seeds=1)


# ---------------------------------------------------------------------------------------------------------- confusions


def test_confusions_sum_to_the_errors_and_chance_is_by_the_others_share():
    rng = np.random.default_rng(0)
    people = np.array([f"s{n}" for n in range(10)])
    sex = pd.Series(["f"] * 4 + ["m"] * 6, index=people)
    said = rng.choice(people, 4000)
    rows = pd.DataFrame({"speaker_id": said, "predicted": rng.choice(people, 4000)})
    rows["errors"] = (rows["speaker_id"] != rows["predicted"]).astype(int)
    rows = rows.assign(sex=rows["speaker_id"].map(sex), task="sid", encoder="e", probe="linear", layer="1", seed=0)
    split = confusions(rows, "sex")
    assert split["errors"].sum() == rows["errors"].sum()
    shares = split.groupby(["sex", "unit"])[["errors", "chance"]].mean()
    assert shares.loc[("f", "own group"), "chance"] == pytest.approx(3 / 9)
    assert shares.loc[("m", "own group"), "chance"] == pytest.approx(5 / 9)
    # Errors that do not mind groups fall where the other speakers are.
    for name in "fm":
        of_errors = shares.loc[(name, "own group"), "errors"] / shares.loc[name, "errors"].sum()
        assert of_errors == pytest.approx(shares.loc[(name, "own group"), "chance"], abs=0.03)
    with pytest.raises(ProbeError, match="no speaker group column 'accent'"):
        confusions(rows, "accent")


# -------------------------------------------------------------------------------------------------------- verification


def test_equal_error_rate_of_two_normals():
    rng = np.random.default_rng(0)
    # Means two deviations apart: the rate is the normal's tail beyond one deviation.
    threshold, rate = equal_error_threshold(rng.normal(2, 1, 100_000), rng.normal(0, 1, 200_000))
    assert threshold == pytest.approx(1.0, abs=0.02)
    assert rate == pytest.approx(0.1587, abs=0.003)


def _embeddings(signal: float, worse: float = 1.0):
    rng = np.random.default_rng(0)
    speakers = np.repeat(np.arange(30), 10)
    groups = np.where(speakers < 15, "a", "b")
    spread = np.where(groups == "b", worse, 1.0)[:, None]
    return signal * rng.standard_normal((30, 24))[speakers] + spread * rng.standard_normal((300, 24)), speakers, groups


def test_verification_of_separable_random_and_unequal_embeddings():
    def rates(*data):
        return {unit: errors.sum() / trials.sum() for unit, errors, trials in verification_trials(*data)}

    assert max(rates(*_embeddings(20.0)).values()) < 0.01
    assert rates(*_embeddings(0.0))["target"] == pytest.approx(0.5, abs=0.03)
    # The threshold is where targets and impostors fail alike, over all groups.
    counts = {unit: (e.sum(), t.sum()) for unit, e, t in verification_trials(*_embeddings(1.0))}
    impostors = [counts[f"impostor of {whose} group"] for whose in ("own", "other")]
    assert counts["target"][1] == 30 * 10 * 9 and sum(t for _, t in impostors) == 300 * 290
    assert counts["target"][0] / counts["target"][1] == pytest.approx(
        sum(e for e, _ in impostors) / sum(t for _, t in impostors), abs=0.002
    )
    # One threshold for all: the group with noisier embeddings is rejected more often.
    data = _embeddings(1.0, worse=2.0)
    errors, trials = next((e, t) for unit, e, t in verification_trials(*data) if unit == "target")
    rejected = {name: errors[data[2] == name].sum() / trials[data[2] == name].sum() for name in "ab"}
    assert rejected["b"] > rejected["a"] + 0.1


def test_discriminants_span_what_scikit_learn_finds():
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    matrix, speakers, _ = _embeddings(1.0)
    matrix = matrix * np.geomspace(0.1, 10, 24)
    mine = matrix @ lda_directions(matrix, speakers, shrinkage=0.0)
    theirs = LinearDiscriminantAnalysis(solver="eigen").fit(matrix, speakers).transform(matrix)
    for index in range(5):
        assert abs(np.corrcoef(mine[:, index], theirs[:, index])[0, 1]) > 0.999


def test_verify_speakers_knows_voices_of_strangers(voices):
    outcomes = verify_speakers("logmel", voices, by="group", back_end="cosine")
    assert set(outcomes["unit"]) == {"target", "impostor of own group", "impostor of other group"}
    assert set(outcomes["speaker_id"]) == {"s2", "s3", "s6", "s7"}  # the test half
    by_unit = outcomes.groupby("unit")[["errors", "length"]].sum()
    assert by_unit.loc["target", "length"] == 4 * 16 * 15
    assert by_unit.loc["target", "errors"] / by_unit.loc["target", "length"] < 0.2
    with pytest.raises(ProbeError, match="choose lda or cosine"):
        verify_speakers("logmel", voices, by="group", back_end="plda")


def test_decoded_audio_is_what_was_read(voices, tmp_path):
    from fairlib.encoders.extraction import _reader

    soundfile.write(tmp_path / "a.ogg", _noise(), 16000)
    rows = pd.DataFrame({"path": [str(tmp_path / "a.ogg"), voices["path"].iloc[0]]})
    for _ in range(2):  # made, then found
        read = _reader(rows, keep_audio=True)
        for row in range(2):
            np.testing.assert_allclose(read(row), np.clip(read_audio(rows["path"][row]), -1, 1), atol=2e-5)
    assert len(list((tmp_path / "cache" / "audio").iterdir())) == 1
    soundfile.write(tmp_path / "a.ogg", _noise(2.0, seed=1), 16000)  # another recording under the same name
    assert len(_reader(rows, keep_audio=True)(0)) == 32000
