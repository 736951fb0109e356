"""Executors: results in order, a lost call made again, a call's own mistake raised, and features the same."""

import os
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from queue import SimpleQueue

import numpy as np
import pytest
import torch
from tiny import noises, tiny_encoder

from fairlib.encoders import extraction, load_encoder
from fairlib.encoders.extraction import ExtractionError, extract
from fairlib.encoders.workers import WorkerError, _settle, local_processes, run_calls


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return noises(tmp_path_factory.mktemp("audio"))


class KilledWorker(Exception):
    """As Dask's, which is known by its name."""


class Unsure:
    """An executor whose workers die at the calls that it is told; it makes the others at once."""

    def __init__(self, deaths: dict) -> None:
        self.deaths, self.made = deaths, []

    def submit(self, function, *arguments):
        future = Future()
        if self.deaths.get(arguments[0], 0) > 0:
            self.deaths[arguments[0]] -= 1
            future.set_exception(KilledWorker("the worker of this call was killed"))
        else:
            self.made.append(arguments[0])
            try:
                future.set_result(function(*arguments))
            except Exception as error:
                future.set_exception(error)
        return future


def test_a_lost_call_is_made_again_and_the_others_are_not(capsys):
    executor = Unsure({2: 1, 3: 2})
    assert run_calls(pow, [(number, 2) for number in range(5)], executor) == [0, 1, 4, 9, 16]
    assert sorted(executor.made) == list(range(5))
    assert "2 of 5 calls were lost with their workers and are made again." in capsys.readouterr().err


def test_a_call_that_kills_every_worker_is_given_up_in_one_sentence():
    with pytest.raises(WorkerError, match=r"1 of 3 calls were lost .*\(the worker of this call was killed\).*kept"):
        run_calls(pow, [(0, 2), (1, 2), (2, 2)], Unsure({1: 99}))


def test_a_pool_without_workers_is_given_up_in_one_sentence():
    class Broken:
        def submit(self, *_):
            raise BrokenProcessPool("A child process terminated abruptly")

    with pytest.raises(WorkerError, match="2 of 2 calls were lost .*terminated abruptly"):
        run_calls(pow, [(0, 2), (1, 2)], Broken())


def test_a_calls_own_mistake_is_raised_when_the_others_are_done():
    executor = Unsure({})
    with pytest.raises(ZeroDivisionError):
        run_calls(divmod, [(4, 2), (1, 0), (9, 3)], executor)
    assert executor.made == [4, 1, 9]


def _features(encoder, corpus, folder, **how):
    stored = extract(encoder, corpus, folder, frames=True, **how)
    return [frames for layer in encoder.layers for frames in stored.utterances(layer)]


def test_features_from_an_executor_are_the_same(encoder, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(extraction, "SHARD_UTTERANCES", 3)
    here = _features(encoder, corpus, tmp_path / "here")
    # One thread: the worker's encoder, which it loads by its name, is one for the whole process.
    with ThreadPoolExecutor(1) as executor:
        there = _features(encoder, corpus, tmp_path / "there", executor=executor)
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(list((tmp_path / "there").glob("0*/manifest.json"))) == 4


def test_a_worker_with_another_encoder_or_no_common_folder_is_found_out(
    encoder,
    corpus,
    tmp_path,
    monkeypatch,
):
    other = load_encoder("logmel", device="cpu")
    monkeypatch.setattr(extraction, "_encoder_of_this_process", lambda name, dtype: other)
    with ThreadPoolExecutor(1) as executor:
        with pytest.raises(ExtractionError, match="not the one here: give both the same weights"):
            extract(encoder, corpus, tmp_path, frames=False, executor=executor)
        monkeypatch.setattr(extraction, "_make_shard_there", lambda *_: None)  # it wrote to a disk of its own
        with pytest.raises(ExtractionError, match="its worker does not see this folder"):
            extract(encoder, corpus, tmp_path, frames=False, executor=executor)


@pytest.mark.parametrize(("given", "taken"), [("3,GPU-5", ["3", "GPU-5", "3"]), ("", ["0", "1", "0"])])
def test_each_worker_takes_one_of_the_devices_that_this_job_was_given(given, taken, monkeypatch):
    places = SimpleQueue()
    for place, device in enumerate(taken):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
        places.put(place)
        _settle(places, 2, torch.get_num_threads())
        assert os.environ["CUDA_VISIBLE_DEVICES"] == device


@pytest.mark.slow
def test_local_processes_make_the_same_features(encoder, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(extraction, "SHARD_UTTERANCES", 6)
    here = _features(encoder, corpus, tmp_path / "here")
    with local_processes(1) as executor:
        assert executor.submit(sys.getrefcount, None).result() > 0
        there = _features(encoder, corpus, tmp_path / "there", executor=executor)
    for one, other in zip(here, there, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)
