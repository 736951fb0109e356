"""Extraction: all layers on disk, the same whatever the shards and batches, and nothing lost by a stop or a fault."""

import dataclasses
import errno
import functools
import subprocess
import threading

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from tiny import noises, tiny_encoder

from fairlib.corpora.audio import AudioError, read_audio
from fairlib.encoders import extraction, features, load_encoder
from fairlib.encoders.extraction import ExtractionError, extract, predicted_bytes
from fairlib.encoders.features import DiskError, read_manifest


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return noises(tmp_path_factory.mktemp("audio"))


def test_frames_and_pooled_agree_with_one_utterance_at_a_time(encoder, corpus, tmp_path):
    stored = extract(encoder, corpus, tmp_path, frames=True)
    for row, path in enumerate(corpus["path"]):
        alone = encoder.layers_of([read_audio(path)])
        for layer in encoder.layers:
            expected = alone[layer][0].numpy()
            np.testing.assert_allclose(stored.utterances(layer)[row], expected, atol=2e-3, rtol=2e-3)  # half precision
            statistics = np.concatenate([expected.mean(axis=0), expected.std(axis=0)])
            np.testing.assert_allclose(stored.pooled(layer)[row], statistics, atol=1e-4)
            assert stored.counts(layer)[row] == len(expected)


def test_shards_and_batches_change_nothing(encoder, corpus, tmp_path, monkeypatch):
    whole = extract(encoder, corpus, tmp_path / "whole", frames=False)
    monkeypatch.setattr(extraction, "SHARD_UTTERANCES", 3)
    monkeypatch.setitem(extraction.BATCH_SECONDS, "cpu", 2.0)
    pieces = extract(encoder, corpus, tmp_path / "pieces", frames=False)
    assert len(pieces.shards) == 4
    for layer in encoder.layers:
        np.testing.assert_allclose(pieces.pooled(layer), whole.pooled(layer), atol=1e-5)


def test_a_stopped_run_goes_on_where_it_stopped(encoder, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(extraction, "SHARD_UTTERANCES", 3)
    decode, seen = extraction.read_audio, []

    def stops_after_seven(path):
        seen.append(path)
        if len(seen) > 7:
            raise KeyboardInterrupt
        return decode(path)

    monkeypatch.setattr(extraction, "read_audio", stops_after_seven)
    with pytest.raises(KeyboardInterrupt):
        extract(encoder, corpus, tmp_path, frames=False)
    finished = {shard.name: shard.stat().st_mtime_ns for shard in tmp_path.glob("0000?")}
    assert sorted(finished) == ["00000", "00001"]

    monkeypatch.setattr(extraction, "read_audio", decode)
    (tmp_path / "00002.99999.partial").mkdir()  # as a killed process leaves it
    stored = extract(encoder, corpus, tmp_path, frames=False)
    assert not list(tmp_path.glob("*.partial"))
    assert all((tmp_path / name).stat().st_mtime_ns == time for name, time in finished.items())
    assert len(stored.pooled("1")) == len(corpus)


def test_shards_of_other_utterances_are_not_taken_for_ours(encoder, corpus, tmp_path):
    extract(encoder, corpus, tmp_path, frames=False)
    others = corpus.iloc[::-1].reset_index(drop=True)
    stored = extract(encoder, others, tmp_path, frames=False)
    fresh = extract(encoder, others, tmp_path / "fresh", frames=False)
    np.testing.assert_array_equal(stored.pooled("1"), fresh.pooled("1"))


def test_shards_without_frames_do_not_do_where_frames_are_asked_for(encoder, corpus, tmp_path):
    pooled = extract(encoder, corpus, tmp_path, frames=False).pooled("1")
    stored = extract(encoder, corpus, tmp_path, frames=True)
    assert len(stored.utterances("1")) == len(corpus)
    np.testing.assert_allclose(stored.pooled("1"), pooled, atol=1e-6)


def test_bad_audio_is_named(encoder, corpus, tmp_path):
    short = corpus.assign(duration_s=[0.05, *corpus["duration_s"][1:]])
    with pytest.raises(ExtractionError, match="u00 lasts 0.050 s"):
        extract(encoder, short, tmp_path, frames=False)
    gone = corpus.assign(path=[*corpus["path"][:-1], str(tmp_path / "gone.wav")])
    with pytest.raises(AudioError, match=r"gone\.wav does not exist"):
        extract(encoder, gone, tmp_path / "b", frames=False)
    soundfile.write(tmp_path / "nan.wav", np.array([0.1, np.nan] * 8000), 16000, subtype="FLOAT")
    no_number = corpus.assign(path=[*corpus["path"][:-1], str(tmp_path / "nan.wav")])
    with pytest.raises(AudioError, match=r"nan\.wav holds NaN or infinite values"):  # not: half precision
        extract(encoder, no_number, tmp_path / "b", frames=True)
    assert not list((tmp_path / "b").glob("0000?"))


def test_corrupt_audio_in_the_middle_of_a_shard_is_named_and_leaves_nothing_half_made(
    encoder, corpus, tmp_path, monkeypatch
):
    monkeypatch.setattr(extraction, "SHARD_UTTERANCES", 4)
    (tmp_path / "torn.wav").write_bytes(b"RIFF" + b"no audio" * 40)
    torn = corpus.assign(path=[*corpus["path"][:6], str(tmp_path / "torn.wav"), *corpus["path"][7:]])
    with pytest.raises(AudioError, match=r"torn\.wav cannot be decoded as audio"):
        extract(encoder, torn, tmp_path / "out", frames=True)
    assert [path.name for path in (tmp_path / "out").iterdir() if path.is_dir()] == ["00000"]
    whole = extract(encoder, corpus, tmp_path / "out", frames=True)  # the file was fetched again
    fresh = extract(encoder, corpus, tmp_path / "fresh", frames=True)
    np.testing.assert_array_equal(whole.pooled("2"), fresh.pooled("2"))


@pytest.mark.parametrize(
    ("name", "how"), [("1.npy", "a flipped bit"), ("cnn.pooled.npy", "cut short"), ("2.index.npy", "gone")]
)
def test_a_damaged_shard_is_found_and_made_again(encoder, corpus, tmp_path, monkeypatch, capsys, name, how):
    monkeypatch.setattr(extraction, "SHARD_UTTERANCES", 6)
    before = extract(encoder, corpus, tmp_path, frames=True)
    expected = [one.copy() for one in before.utterances("1")]
    whole, hurt = tmp_path / "00000" / name, tmp_path / "00001" / name
    content, untouched = bytearray(hurt.read_bytes()), whole.stat().st_mtime_ns
    content[len(content) // 2 + 64] ^= 4
    hurt.unlink()
    if how != "gone":
        hurt.write_bytes(content if how == "a flipped bit" else content[:-8])
    extraction._known_whole.clear()  # as in another process
    after = extract(encoder, corpus, tmp_path, frames=True)
    assert f"{name} of shard 00001" in capsys.readouterr().err
    assert whole.stat().st_mtime_ns == untouched
    for one, other in zip(expected, after.utterances("1"), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_unreadable_manifest_counts_as_no_shard(encoder, corpus, tmp_path):
    extract(encoder, corpus, tmp_path, frames=False)
    (tmp_path / "00000" / "manifest.json").write_text('{"made_fr')
    extract(encoder, corpus, tmp_path, frames=False)
    assert read_manifest(tmp_path / "00000")["made_from"]["encoder"] == encoder.fingerprint


def shorter(audio, _utterance, samples=3000):
    return audio[:samples]


class Louder:
    def __call__(self, audio, _utterance):
        return 10 * audio


@pytest.mark.parametrize(
    "alter",
    [Louder(), lambda audio, _utterance: 10 * audio, functools.partial(shorter, samples=np.array(2000))],
    ids=["an object", "a lambda", "an array"],
)
def test_an_alteration_that_has_no_name_of_its_own_is_refused(encoder, corpus, tmp_path, alter):
    """Features of another such would be found in the folder and taken for its."""
    with pytest.raises(ExtractionError, match="could not be told from others: alter must be a function that a module"):
        extract(encoder, corpus, tmp_path, alter=alter)


def test_audio_that_was_changed_in_its_place_is_encoded_anew(encoder, tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRLIB_CACHE", str(tmp_path / "cache"))
    corpus = noises(tmp_path, 3)
    for folder in (None, tmp_path / "named"):
        before = extract(encoder, corpus, folder)
        values, heard = before.pooled("2"), read_audio(corpus["path"][1])
        soundfile.write(corpus["path"][1], heard[::-1] / 2, 16000)  # as long as it was
        after = extract(encoder, corpus, folder).pooled("2")
        assert np.abs(after - values).max(axis=1).round(3).astype(bool).tolist() == [False, True, False]
        if folder is None:
            np.testing.assert_array_equal(before.pooled("2"), values)  # somebody may be reading them


def test_shards_of_another_precision_or_alteration_are_not_taken_for_ours(encoder, corpus, tmp_path):
    plain = extract(encoder, corpus, tmp_path, frames=False).pooled("2")

    altered = extract(encoder, corpus, tmp_path, frames=False, alter=shorter).pooled("2")
    assert not np.allclose(altered, plain, atol=1e-3)
    least = functools.partial(shorter, samples=2000)
    assert not np.allclose(extract(encoder, corpus, tmp_path, alter=least).pooled("2"), altered, atol=1e-3)
    half = load_encoder(encoder.name, device="cpu", dtype="bfloat16")
    halved = extract(half, corpus, tmp_path, frames=False).pooled("2")
    assert not np.array_equal(halved, plain)
    assert np.abs(halved - plain).mean() < 0.02 * np.abs(plain).mean() + 0.02


def test_reading_one_layer_touches_that_layers_files_alone(encoder, corpus, tmp_path):
    stored = extract(encoder, corpus, tmp_path, frames=True)
    whole, wanted = stored.utterances("1"), stored.pooled("1")
    size = sum(path.stat().st_size for path in tmp_path.glob("0*/1.*npy"))
    for path in tmp_path.glob("0*/*.npy"):
        if not path.name.startswith("1."):
            path.unlink()
    again = dataclasses.replace(stored)
    for one, other in zip(again.utterances("1"), whole, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(again.pooled("1"), wanted)
    values = sum(one.nbytes for one in whole) + wanted.nbytes
    assert size < values + len(corpus) * 16 + 3 * 128 * len(stored.shards) + 1  # the values, an index and headers


@pytest.mark.parametrize("frames", [True, False])
def test_the_predicted_size_is_what_is_written(encoder, corpus, tmp_path, frames):
    extract(encoder, corpus, tmp_path, frames=frames)
    written = sum(path.stat().st_size for path in tmp_path.glob("0*/*.npy"))
    predicted = predicted_bytes(encoder, corpus["duration_s"].to_numpy(), frames)
    overhead = 128 * (3 if frames else 2) * len(encoder.layers) + 16 * len(corpus) * len(encoder.layers)
    assert predicted == pytest.approx(written - overhead, rel=0.05)


def test_too_little_space_is_said_before_anything_is_computed(encoder, corpus, tmp_path, monkeypatch):
    usage = features.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(features.shutil, "disk_usage", lambda path: usage._replace(free=10_000))
    monkeypatch.setattr(extraction, "read_audio", lambda path: pytest.fail("it began"))
    with pytest.raises(DiskError, match=r"Frames of all 4 layers .* need \d+ kB, and .* has 10 kB free: free some"):
        extract(encoder, corpus, tmp_path, frames=True)
    assert not list(tmp_path.glob("0*"))


def test_a_disk_that_becomes_full_leaves_whole_shards_only(encoder, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(extraction, "SHARD_UTTERANCES", 4)
    append, written = features._Growing.append, []

    def full_after_a_while(self, values):
        written.append(values.nbytes)
        if len(written) > 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        append(self, values)

    monkeypatch.setattr(features._Growing, "append", full_after_a_while)
    with pytest.raises(DiskError, match="became full while shard 00001"):
        extract(encoder, corpus, tmp_path, frames=True)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["00000"]
    monkeypatch.setattr(features._Growing, "append", append)
    assert len(extract(encoder, corpus, tmp_path, frames=True).pooled("1")) == len(corpus)


def test_a_small_file_system_that_is_really_full(encoder, corpus, tmp_path, monkeypatch):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("only root may mount a small file system")
    try:
        monkeypatch.setattr(extraction, "check_space", lambda *_: None)
        long = pd.concat([corpus] * 6, ignore_index=True)
        with pytest.raises(DiskError, match="became full while shard 00000"):
            extract(encoder, long, tmp_path, frames=True)
        assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_two_runs_on_one_folder_share_the_shards_out(encoder, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(extraction, "SHARD_UTTERANCES", 2)
    decode, decoded, results = extraction.read_audio, [], []
    first_begun, second_begun = threading.Event(), threading.Event()

    def watched(path):
        first_begun.set()
        second_begun.wait(20)
        decoded.append(path)
        return decode(path)

    monkeypatch.setattr(extraction, "read_audio", watched)

    def second():
        own = load_encoder(encoder.name, device="cpu")
        first_begun.wait(20)
        second_begun.set()
        results.append(extract(own, corpus, tmp_path / "shared", frames=True).pooled("2"))

    other = threading.Thread(target=second)
    other.start()
    results.append(extract(encoder, corpus, tmp_path / "shared", frames=True).pooled("2"))
    other.join()
    assert sorted(decoded) == sorted(corpus["path"]), "an utterance was read twice: a shard was made twice"
    np.testing.assert_array_equal(results[0], results[1])
    monkeypatch.setattr(extraction, "read_audio", decode)
    alone = extract(encoder, corpus, tmp_path / "alone", frames=True).pooled("2")
    np.testing.assert_allclose(results[0], alone, atol=1e-6)


def test_a_batch_too_large_for_the_memory_is_halved_and_that_is_said(encoder, corpus, tmp_path, capsys):
    sizes = []

    def small_memory(utterances):
        sizes.append(len(utterances))
        if len(utterances) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return encoder.layers_of(utterances)

    poor = dataclasses.replace(encoder, layers_of=small_memory)
    halved = extract(poor, corpus, tmp_path / "poor", frames=False)
    plain = extract(encoder, corpus, tmp_path / "plain", frames=False)
    np.testing.assert_allclose(halved.pooled("2"), plain.pooled("2"), atol=1e-5)
    assert sizes[1:] == [11, 6, 3, 3, 3, 2]  # the first tells the layers' sizes
    assert halved.report()["halved"] == 2
    assert "not the memory for 11 utterances of up to 1.2 s at once: going on with half as many" in (
        capsys.readouterr().err
    )

    def no_memory(utterances):
        if len(utterances[0]) == 16000 and not utterances[0].any():
            return encoder.layers_of(utterances)
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(ExtractionError, match=r"Utterance u\d\d of 0\.\d s is too long for the memory of cpu"):
        extract(dataclasses.replace(encoder, layers_of=no_memory), corpus, tmp_path / "none", frames=False)


def test_a_batch_whose_frames_do_not_fit_beside_it_is_halved_too(encoder, corpus, tmp_path, monkeypatch):
    to_host, sizes = extraction._to_host, []

    def small_memory(layers, *how):
        sizes.append(len(layers["2"]))
        if sizes[-1] > 6:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return to_host(layers, *how)

    monkeypatch.setattr(extraction, "_to_host", small_memory)
    assert extract(encoder, corpus, tmp_path, frames=True).report()["halved"] == 1
    assert sizes == [11, 6, 5]


def test_a_pass_reports_its_speed_and_its_waste(encoder, corpus, tmp_path):
    report = extract(encoder, corpus, tmp_path, frames=False).report()
    assert report["hours"] * 3600 == pytest.approx(corpus["duration_s"].sum())
    longest = corpus["duration_s"].max() * len(corpus)  # all in one batch
    assert report["padding"] == pytest.approx(1 - corpus["duration_s"].sum() / longest)
    assert report["hours_per_hour"] > 0 and 0 < report["busy"] <= 1 and report["halved"] == 0


def test_a_compiled_encoder_gives_the_same_layers(encoder, corpus, tmp_path, monkeypatch):
    # The graphs are captured and differentiated as always, but run without kernels, which take minutes to compile.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    graphs = extract(load_encoder(encoder.name, "cpu", compiled=True), corpus, tmp_path / "compiled", frames=False)
    plain = extract(encoder, corpus, tmp_path / "plain", frames=False)
    for layer in encoder.layers:
        np.testing.assert_allclose(graphs.pooled(layer), plain.pooled(layer), atol=1e-5)
