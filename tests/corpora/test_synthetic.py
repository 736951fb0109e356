"""The synthetic corpus: the same settings give the same audio, and what is planted, and nothing else, is "
"there."""

import itertools
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy.signal import welch

from fairlib.corpora import CorpusError, Disadvantage, corpus_fingerprint, load_corpus, synthetic, voices
from fairlib.corpora.voices import TEST_SENTENCES, TRAIN_SENTENCES

PLAIN_AND_OTHER = {"plain": {}, "other": {}}
SMALL = {"speakers_per_group": 2, "utterances_per_speaker": 2}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def default(cache: Path) -> pd.DataFrame:
    before = os.times()
    corpus = load_corpus("synthetic", cache)
    # The processor's time, with that of eSpeak's processes: a busy machine must not fail it.
    assert sum(os.times()[:4]) - sum(before[:4]) < 20, "the embedded default has become slow"
    return corpus


def samples_of(corpus: pd.DataFrame, group: str) -> dict[str, np.ndarray]:
    """Samples in [-1, 1] by what follows the group in the utterance's id."""
    rows = corpus[corpus["group"] == group]
    return {
        utterance.removeprefix(group): soundfile.read(path)[0]
        for utterance, path in zip(rows["utterance_id"], rows["path"], strict=True)
    }


def with_and_without(folder: Path, **disadvantage: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The same small corpus twice: with this disadvantage of the group "other", and with none."""
    planted = load_corpus("synthetic", folder, **SMALL, disadvantages={"plain": {}, "other": disadvantage})
    return planted, load_corpus("synthetic", folder, **SMALL, disadvantages=PLAIN_AND_OTHER)


# --- the table ----------------------------------------------------------------------------------------------


def test_table(default: pd.DataFrame) -> None:
    assert default.columns.tolist() == [
        *["corpus", "utterance_id", "path", "speaker_id", "text", "duration_s", "split"],
        *["accent", "group", "variant"],
    ]
    assert len(default) == 180 and default["utterance_id"].is_unique
    assert default["utterance_id"].is_monotonic_increasing
    assert set(default["corpus"]) == {"synthetic"}
    assert default.groupby("group")["speaker_id"].nunique().to_dict() == {
        "clear": 6,
        "clear_too": 6,
        "noisy": 6,
    }
    assert (default.groupby("speaker_id").size() == 10).all()
    assert 180 < default["duration_s"].sum() < 600
    assert default.attrs["planted"]["noisy"]["snr_db"] == -5
    assert default.attrs["planted"]["clear"] == default.attrs["planted"]["clear_too"]
    assert default.attrs["skipped"] == []


def test_audio_is_16_khz_mono_speech_that_is_not_clipped(default: pd.DataFrame) -> None:
    for path, duration in zip(default["path"], default["duration_s"], strict=True):
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
        assert info.frames / info.samplerate == pytest.approx(duration)
        samples = soundfile.read(path)[0]
        assert 0.01 < np.sqrt(np.mean(samples**2)) < 0.3
        assert np.mean(np.abs(samples) > 0.999) < 1e-4


def test_voices_texts_and_splits_are_the_same_in_every_group(default: pd.DataFrame) -> None:
    for column in ("accent", "variant", "split", "text"):
        counts = pd.crosstab(default[column], default["group"])
        assert counts.eq(counts["clear"], axis=0).all(axis=None), column
    assert default["accent"].nunique() == 6 and default["variant"].nunique() == 3


def test_no_group_is_higher_or_faster_by_design() -> None:
    # With as many pairs as groups the steps have gone round once.
    planted = {group: Disadvantage() for group in ("a", "b", "c")}
    settings = {"speakers_per_group": 6, "utterances_per_speaker": 10}
    for seed in range(3):
        speakers = voices.plan_speakers(settings | {"seed": seed}, planted)
        means = pd.DataFrame(
            [{"group": s.group, **pd.DataFrame(s.sentences)[["pitch", "rate"]].mean()} for s in speakers]
        )
        means = means.groupby("group").mean()
        # What is left is rounding to eSpeak's whole numbers.
        assert (means.max() - means.min()).max() < 0.2
        assert len({tuple(x["pitch"] for x in s.sentences) for s in speakers}) == len(speakers)


def test_splits_share_neither_speaker_nor_sentence_and_have_every_group(default: pd.DataFrame) -> None:
    for column in ("speaker_id", "text"):
        sides = default.groupby("split")[column].agg(set)
        assert sides["train"].isdisjoint(sides["test"]), column
    speakers = default.groupby(["group", "split"])["speaker_id"].nunique().unstack()
    assert speakers["train"].tolist() == [4, 4, 4] and speakers["test"].tolist() == [2, 2, 2]
    assert set(TRAIN_SENTENCES).isdisjoint(TEST_SENTENCES)


@pytest.mark.parametrize("speakers", range(2, 10))
def test_every_size_has_both_splits(speakers: int) -> None:
    settings = {"seed": 1, "speakers_per_group": speakers, "utterances_per_speaker": 45}
    plan = voices.plan_speakers(settings, {"a": Disadvantage(), "b": Disadvantage()})
    assert {(s.group, s.split) for s in plan} == set(itertools.product("ab", ("train", "test")))
    # More sentences than there are: each comes again only when all have been read.
    counts = pd.Series([sentence["text"] for sentence in plan[0].sentences]).value_counts()
    assert counts.max() - counts.min() <= 1 and counts.sum() == 45


# --- the same again -----------------------------------------------------------------------------------------


def test_same_settings_same_bytes_in_another_process(tmp_path: Path) -> None:
    here = load_corpus("synthetic", tmp_path / "here", **SMALL)
    code = (
        "import sys; from fairlib.corpora import corpus_fingerprint, load_corpus;"
        # Something else is spoken first: eSpeak's own state must not carry over.
        "load_corpus('synthetic', sys.argv[1], seed=9, speakers_per_group=2, utterances_per_speaker=1);"
        "corpus = load_corpus('synthetic', sys.argv[1], speakers_per_group=2, utterances_per_speaker=2);"
        "print(corpus_fingerprint(corpus))"
    )
    root = Path(__file__).parents[2]
    there = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "there")],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.strip() == corpus_fingerprint(here)
    again = load_corpus("synthetic", tmp_path / "again", **SMALL)
    assert corpus_fingerprint(again) == corpus_fingerprint(here)


def test_another_seed_speaks_other_audio(tmp_path: Path) -> None:
    one, two = (load_corpus("synthetic", tmp_path, **SMALL, seed=seed) for seed in (1, 2))
    assert {Path(p).read_bytes() for p in one["path"]}.isdisjoint(Path(p).read_bytes() for p in two["path"])


def test_stored_audio_is_used_again_and_damaged_audio_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_corpus("synthetic", tmp_path, **SMALL)
    fingerprint = corpus_fingerprint(first)

    def silent(speaker: object) -> list:
        raise AssertionError("spoken again")

    with monkeypatch.context() as patch:
        patch.setattr(synthetic, "speak", silent)
        pd.testing.assert_frame_equal(load_corpus("synthetic", tmp_path, **SMALL), first)

    folder = Path(first["path"][0]).parent
    manifest = (folder / "corpus.json").read_text()
    sound = Path(first["path"][3]).read_bytes()
    damages = {
        "a byte of audio": lambda: Path(first["path"][3]).write_bytes(sound[:-1] + bytes([sound[-1] ^ 1])),
        "audio gone": lambda: Path(first["path"][3]).unlink(),
        "table cut off": lambda: (folder / "corpus.json").write_text(manifest[:100]),
        "table of another kind": lambda: (folder / "corpus.json").write_text("[1, 2]"),
        "table gone": lambda: (folder / "corpus.json").unlink(),
    }
    for damage, do in damages.items():
        do()
        assert corpus_fingerprint(load_corpus("synthetic", tmp_path, **SMALL)) == fingerprint, damage
    # Nothing is left lying about.
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_stopped_run_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(synthetic, "record", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            load_corpus("synthetic", tmp_path, **SMALL)
    assert list((tmp_path / "synthetic").iterdir()) == []


def test_the_cache_is_where_it_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRLIB_CACHE", str(tmp_path / "cache"))
    corpus = load_corpus("synthetic", **SMALL)
    assert all(Path(path).is_relative_to(tmp_path / "cache" / "synthetic") for path in corpus["path"])
    manifest = json.loads((Path(corpus["path"][0]).parent / "corpus.json").read_text())
    assert manifest["settings"]["seed"] == 1

    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("FAIRLIB_CACHE", str(tmp_path / "file"))
    with pytest.raises(CorpusError, match="set FAIRLIB_CACHE to a folder that can be written"):
        load_corpus("synthetic", **SMALL)


def test_no_network_and_no_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.delenv("FAIRLIB_DATA", raising=False)
    assert len(load_corpus("synthetic", tmp_path, **SMALL)) == 12


# --- what is planted ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("snr_db", [-5, 0, 5, 20])
def test_noise_has_the_stated_power_and_other_groups_are_untouched(tmp_path: Path, snr_db: float) -> None:
    planted, clean = with_and_without(tmp_path, snr_db=snr_db)
    before, after = samples_of(clean, "other"), samples_of(planted, "other")
    assert before.keys() == after.keys() and len(before) == 4
    for name, speech in before.items():
        # A loud mixture is turned down to fit: the speech in it is found by projection.
        gain = np.dot(after[name], speech) / np.dot(speech, speech)
        noise = after[name] - gain * speech
        measured = 10 * np.log10(np.mean((gain * speech) ** 2) / np.mean(noise**2))
        assert measured == pytest.approx(snr_db, abs=0.3)
    for name, samples in samples_of(clean, "plain").items():
        assert np.array_equal(samples, samples_of(planted, "plain")[name])


def test_noise_differs_from_recording_to_recording(tmp_path: Path) -> None:
    planted, clean = with_and_without(tmp_path, snr_db=0)
    before, after = samples_of(clean, "other"), samples_of(planted, "other")
    spectra = [10 * np.log10(welch(after[name] - before[name], 16_000, nperseg=512)[1][5:-5]) for name in before]
    for one, two in itertools.combinations(spectra, 2):
        difference = one - two
        assert np.std(difference) > 3


def test_low_pass(tmp_path: Path) -> None:
    planted, clean = with_and_without(tmp_path, low_pass_hz=2000)
    before, after = samples_of(clean, "other"), samples_of(planted, "other")
    for name, speech in before.items():
        frequency, wide = welch(speech, 16_000, nperseg=512)
        _, narrow = welch(after[name], 16_000, nperseg=512)
        change = 10 * np.log10(narrow / wide)
        assert np.abs(change[(frequency > 100) & (frequency < 1500)]).max() < 1.5
        assert change[frequency > 3000].mean() < -20


def test_rate(tmp_path: Path) -> None:
    planted, clean = with_and_without(tmp_path, rate_factor=1.6)
    ratio = total(clean) / total(planted)
    assert 1.3 < ratio < 1.7


def test_pitch(tmp_path: Path) -> None:
    planted, clean = with_and_without(tmp_path, pitch_semitones=3)
    rise = 12 * np.log2(pitch_of(planted) / pitch_of(clean))
    assert rise == pytest.approx(3, abs=0.7)


def test_vowel_shift_moves_resonances_and_leaves_pitch_and_duration(tmp_path: Path) -> None:
    planted, clean = with_and_without(tmp_path, vowel_shift=1.2)
    assert total(planted) / total(clean) == pytest.approx(1, abs=0.06)
    assert abs(12 * np.log2(pitch_of(planted) / pitch_of(clean))) < 1
    assert centroid(planted) / centroid(clean) > 1.08


def total(corpus: pd.DataFrame) -> float:
    return corpus.loc[corpus["group"] == "other", "duration_s"].sum()


def pitch_of(corpus: pd.DataFrame) -> float:
    """Median pitch in Hz of the group "other", by autocorrelation of its louder frames."""
    pitches = []
    for samples in samples_of(corpus, "other").values():
        frames = np.lib.stride_tricks.sliding_window_view(samples, 1024)[::512]
        frames = frames - frames.mean(axis=1, keepdims=True)
        for frame in frames[frames.std(axis=1) > np.median(frames.std(axis=1))]:
            correlation = np.correlate(frame, frame, "full")[1023:]
            lags = np.arange(40, 267)  # 400 to 60 Hz
            best = lags[np.argmax(correlation[lags] / (1024 - lags))]
            if correlation[best] > 0.5 * correlation[0]:
                pitches.append(16_000 / best)
    return float(np.median(pitches))


def centroid(corpus: pd.DataFrame) -> float:
    """Mean spectral centre of gravity in Hz of the group "other"."""
    centres = []
    for samples in samples_of(corpus, "other").values():
        frequency, power = welch(samples, 16_000, nperseg=512)
        centres.append(np.sum(frequency * power) / np.sum(power))
    return float(np.mean(centres))


def test_speaker_identification_finds_what_is_planted_and_nothing_else(cache: Path) -> None:
    # A linear probe on the mean and deviation of log spectra, over three corpora: the noisy group is worse
    # off, the two clear groups are alike, and neither is without error or full of it.
    from sklearn.linear_model import RidgeClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    errors = []
    for seed in (1, 2, 3):
        corpus = load_corpus("synthetic", cache, seed=seed)
        features = np.array([log_spectrum_statistics(path) for path in corpus["path"]])
        fold = np.arange(len(corpus)) % 10 % 5
        wrong = np.zeros(len(corpus))
        for held_out in range(5):
            train, test = fold != held_out, fold == held_out
            probe = make_pipeline(StandardScaler(), RidgeClassifier(alpha=10))
            probe.fit(features[train], corpus["speaker_id"][train])
            wrong[test] = probe.predict(features[test]) != corpus["speaker_id"][test]
        errors.append(pd.Series(wrong).groupby(corpus["group"]).mean())
    error = pd.concat(errors, axis=1).mean(axis=1)
    assert abs(error["clear"] - error["clear_too"]) < 0.1, error
    assert error["noisy"] > max(error["clear"], error["clear_too"]) + 0.15, error
    assert 0.02 < error["clear"] < 0.6 and error["noisy"] < 0.8, error


def log_spectrum_statistics(path: str) -> np.ndarray:
    samples = soundfile.read(path)[0]
    frames = np.lib.stride_tricks.sliding_window_view(samples / samples.std(), 512)[::160] * np.hanning(512)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    # Bands of equal width in the cube root of frequency: a rough ear.
    edges = np.unique((np.linspace(0.15, 1, 41) ** 3 * 257).astype(int))
    bands = np.log(np.add.reduceat(power, edges[:-1], axis=1) + 1e-1)
    return np.concatenate([bands.mean(axis=0), bands.std(axis=0)])


# --- settings that cannot be had ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"speakers_per_group": 1}, "speakers_per_group is 1; it must be at least 2"),
        ({"utterances_per_speaker": 0}, "utterances_per_speaker is 0; it must be at least 1"),
        ({"seed": -1}, "seed is -1; it must be 0 or more"),
        ({"disadvantages": {}}, "names no group"),
        ({"disadvantages": {"a b": {}}}, "'a b' is not made of letters"),
        ({"disadvantages": {"a": {"snr": 5}}}, "no disadvantage is called 'snr'; there are snr_db,"),
        ({"disadvantages": {"a": {"snr_db": "5"}}}, "snr_db is 5; it must lie between -20 and 60"),
        ({"disadvantages": {"a": {"low_pass_hz": 9000}}}, "low_pass_hz is 9000; it must lie between 300"),
        ({"disadvantages": {"a": {"rate_factor": float("nan")}}}, "rate_factor is nan"),
        ({"disadvantages": {"a": {"vowel_shift": None}}}, "vowel_shift is None"),
        (
            {"disadvantages": {"a": {"pitch_semitones": -3, "vowel_shift": 1.2}, "b": {}}},
            "together go beyond what eSpeak NG speaks",
        ),
        ({"speakers": 3}, "no setting 'speakers'; it has seed, speakers_per_group"),
        ({"on_error": "ignore"}, "must be 'raise' or 'skip'"),
    ],
)
def test_bad_settings(settings: dict, said: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError) as caught:
        load_corpus("synthetic", tmp_path, **settings)
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert not list(tmp_path.glob("synthetic/*"))


def test_every_default_disadvantage_can_be_spoken_at_its_limits() -> None:
    settings = {"seed": 0, "speakers_per_group": 8, "utterances_per_speaker": 10}
    for field, values in {
        "pitch_semitones": (-3, 3),
        "rate_factor": (0.6, 2.0),
        "vowel_shift": (0.85, 1.2),
    }.items():
        for value in values:
            for seed in range(5):
                groups = {"a": Disadvantage(**{field: value}), "b": Disadvantage()}
                voices.plan_speakers(settings | {"seed": seed}, groups)


def test_int_and_float_are_one_setting(tmp_path: Path) -> None:
    one = load_corpus("synthetic", tmp_path, **SMALL, disadvantages={"a": {"snr_db": 5}})
    two = load_corpus("synthetic", tmp_path, **SMALL, disadvantages={"a": Disadvantage(snr_db=5.0)})
    assert one["path"].tolist() == two["path"].tolist()
