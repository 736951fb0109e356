"""Real engines, each with a worker killed in the middle: nothing is lost and nothing is done twice.

``make test-cluster`` runs these. Dask: a scheduler and three worker processes. Slurm: one node, two processors, five
daemons from Debian's packages (tests/slurm.py), jobs through submitit. The workers are killed by SIGKILL, as the
kernel does it to a process that takes too much memory: Dask's scheduler gives what they did to another worker, Slurm
reports the job as failed and `run_calls` submits it again.
"""

import functools
import os
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from slurm import one_node_slurm, why_not
from test_probing import tones  # noqa: F401 (a fixture)
from tiny import noises, tiny_encoder

from fairlib import probe_speakers
from fairlib.encoders import extraction
from fairlib.encoders.extraction import extract
from fairlib.encoders.workers import WorkerError, local_processes, run_calls

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


@pytest.fixture(scope="module", params=["dask", "slurm"])
def engine(request, tmp_path_factory):
    """An executor on a cluster that was started for it."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp(request.param)
        patch.setenv("FAIRLIB_STORE", str(home / "store"))
        patch.setenv("FAIRLIB_CACHE", str(home / "cache"))
        if request.param == "dask":
            distributed = pytest.importorskip("distributed", reason="Dask is not here (pip install distributed)")
            with (
                distributed.LocalCluster(3, threads_per_worker=1, dashboard_address=None) as cluster,
                distributed.Client(cluster) as client,
            ):
                yield client.get_executor()
        else:
            submitit = pytest.importorskip("submitit", reason="submitit is not here (pip install submitit)")
            if why_not():
                pytest.skip(why_not())
            with one_node_slurm(cpus=2) as environment:
                for name, value in environment.items():
                    patch.setenv(name, value)
                executor = submitit.AutoExecutor(home / "jobs", cluster="slurm")
                executor.update_parameters(timeout_min=10, cpus_per_task=1)
                yield executor


@contextmanager
def killer(marks):
    """Kills the first process that leaves a mark named ``victim.PID``, and says so."""
    ended = threading.Event()

    def watch():
        while not ended.wait(0.05):
            for mark in marks.glob("victim.*"):
                os.kill(int(mark.suffix[1:]), signal.SIGKILL)
                (marks / "killed").write_text(mark.suffix[1:])
                return

    thread = threading.Thread(target=watch)
    thread.start()
    yield
    ended.set()
    thread.join()


def marker(marks, victim):
    """A function that notes what it is called with, and at ``victim`` waits for its end, the first time.

    Made within a function, so that it is sent to the workers whole: they cannot import this module.
    """

    def mark(name):
        import os
        import time
        import uuid

        (marks / f"{name}.{uuid.uuid4().hex}.done").touch()
        if name == victim and not (marks / "killed").exists():
            (marks / f"victim.{os.getpid()}").touch()
            while not (marks / "killed").exists():
                time.sleep(0.05)
            time.sleep(5)  # SIGKILL is on its way

    return mark


def marked(audio, utterance_id, marks, victim):
    marker(Path(marks), victim)(utterance_id)
    return audio


def counted(marks):
    return Counter(path.name.split(".")[0] for path in marks.glob("*.done"))


def test_a_worker_killed_in_the_middle_costs_its_shard_alone(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(extraction, "SHARD_UTTERANCES", 4)
    encoder, corpus = tiny_encoder(tmp_path / "encoder"), noises(tmp_path, 20)
    marks = tmp_path / "marks"
    marks.mkdir()
    # Sent whole, too: its module is one that the workers cannot import.
    pytest.importorskip("cloudpickle").register_pickle_by_value(sys.modules[__name__])
    alter = functools.partial(marked, marks=str(marks), victim="u09")
    with killer(marks):
        there = extract(encoder, corpus, tmp_path / "there", frames=True, alter=alter, executor=engine)
    here = extract(encoder, corpus, tmp_path / "here", frames=True)
    assert (marks / "killed").exists()
    assert sorted(path.name for path in (tmp_path / "there").iterdir() if path.is_dir()) == [
        f"{number:05d}" for number in range(5)
    ]
    for layer in encoder.layers:
        np.testing.assert_allclose(there.pooled(layer), here.pooled(layer), atol=1e-5)
        for one, other in zip(there.utterances(layer), here.utterances(layer), strict=True):
            np.testing.assert_allclose(one, other, atol=2e-3)
    encoded = counted(marks)
    lost = {f"u{number:02d}" for number in range(8, 12)}
    assert set(encoded) == set(corpus["utterance_id"])
    assert {name for name, times in encoded.items() if times > 1} <= lost, "more than the current shard was lost"
    assert encoded["u09"] == 2


def test_probes_are_trained_once_each_though_a_worker_is_killed(engine, tones, tmp_path):  # noqa: F811
    marks = tmp_path / "marks"
    marks.mkdir()
    mark = marker(marks, "s1")

    def probe(speaker):
        import uuid

        mark(speaker)
        before = set(os.listdir(store)) if (store := os.environ["FAIRLIB_STORE"]) and os.path.isdir(store) else set()
        outcomes = probe_speakers("logmel", tones[tones["speaker_id"] != speaker], 1)
        if not before.issuperset(outcomes["entry"]):
            (marks / f"trained {speaker}.{uuid.uuid4().hex}.done").touch()
        return outcomes

    calls = [(f"s{number}",) for number in range(4)]
    shutil.rmtree(os.environ["FAIRLIB_STORE"], ignore_errors=True)
    with killer(marks):
        there = run_calls(probe, calls, engine)
    assert (marks / "killed").exists()
    # A result that waited on the killed worker is asked for again, by Dask: the store has it.
    assert {name: times for name, times in counted(marks).items() if name.startswith("trained")} == {
        f"trained {speaker}": 1 for (speaker,) in calls
    }
    assert counted(marks)["s1"] == 2
    assert len(os.listdir(os.environ["FAIRLIB_STORE"])) == 4
    for (speaker,), outcomes in zip(calls, there, strict=True):
        assert speaker not in set(outcomes["speaker_id"])
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FAIRLIB_STORE", str(tmp_path / "here"))
            here = probe_speakers("logmel", tones[tones["speaker_id"] != speaker], 1)
        pd.testing.assert_frame_equal(outcomes, here, check_dtype=False)


def test_a_killed_process_is_named_and_the_next_call_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(extraction, "SHARD_UTTERANCES", 4)
    encoder, corpus = tiny_encoder(tmp_path / "encoder"), noises(tmp_path, 12)
    folder = tmp_path / "features"
    with local_processes(1) as executor:
        pid = executor.submit(os.getpid).result()

        def kill_after_the_first_shard():
            while not (folder / "00000" / "manifest.json").exists():
                time.sleep(0.01)
            os.kill(pid, signal.SIGKILL)

        thread = threading.Thread(target=kill_after_the_first_shard)
        thread.start()
        slow = [str(tmp_path / "pipe")] * 2  # a read that does not end
        os.mkfifo(slow[0])
        stuck = corpus.assign(path=[*corpus["path"][:10], *slow])
        with pytest.raises(
            WorkerError, match="of 3 calls were lost with their workers .* what the others made is kept"
        ):
            extract(encoder, stuck, folder, frames=False, executor=executor)
        thread.join()
    finished = {path.name: path.stat().st_mtime_ns for path in folder.glob("0000?")}
    assert "00000" in finished and "00002" not in finished
    with local_processes(1) as executor:
        there = extract(encoder, corpus, folder, frames=False, executor=executor)
    assert all((folder / name).stat().st_mtime_ns == at for name, at in finished.items())
    here = extract(encoder, corpus, tmp_path / "here", frames=False)
    np.testing.assert_allclose(there.pooled("2"), here.pooled("2"), atol=1e-5)
