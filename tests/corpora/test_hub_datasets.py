"""A dataset from a hub on this machine: what is fetched, what never is, which commit it was, and what failure says."""

import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from hub_server import serve

from fairlib.corpora import CorpusError
from fairlib.corpora.hub import _chosen, hub_folder

COMMITS = {"main": "1" * 40, "v1": "2" * 40}


def sound(pitch: float) -> bytes:
    made = io.BytesIO()
    soundfile.write(made, 0.3 * np.sin(2 * np.pi * pitch * np.arange(16000) / 16000), 16000, format="WAV")
    return made.getvalue()


def parquet(speakers: dict[str, str]) -> bytes:
    """A Parquet file as datasets writes it: audio as bytes, who speaks and where from."""
    import pyarrow
    import pyarrow.parquet

    rows = [
        {
            "audio": {"bytes": sound(200 + 40 * place + take), "path": f"{who}-{take}.wav"},
            "speaker_id": who,
            "region": at,
        }
        for place, (who, at) in enumerate(speakers.items())
        for take in range(4)
    ]
    made = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), made)
    return made.getvalue()


@pytest.fixture
def hub():
    """Serves the dataset ``lab/voices`` in the hub's protocol; yields its address, its files and what was asked for."""
    files = {
        "data/train-00000-of-00001.parquet": parquet({"anna": "north", "ben": "south"}),
        "data/test-00000-of-00001.parquet": parquet({"carl": "north", "dora": "south"}),
        "voices.py": b"raise SystemExit('code from a dataset was run')",
        "README.md": b"about",
        "data/extra.zip": b"an archive that nobody should fetch",
    }
    with serve("datasets", "lab/voices", lambda: files, COMMITS) as (address, asked):
        yield address, files, asked


def run(address: str, tmp_path, code: str) -> subprocess.CompletedProcess:
    # In a process of its own: the hub's client reads its settings once, when it is imported.
    settings = {
        "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "models"), "HF_HUB_DISABLE_XET": "1",
        "FAIRLIB_CACHE": str(tmp_path / "cache"), "FAIRLIB_STORE": str(tmp_path / "store"),
        "FAIRLIB_RUNS": str(tmp_path / "runs"),
    }  # fmt: skip
    environment = {**os.environ, **settings}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)


def load(address: str, tmp_path, name: str = "hf:lab/voices") -> dict:
    said = run(
        address,
        tmp_path,
        "import json\nfrom fairlib.corpora import corpus_fingerprint, load_corpus\n"
        f"table = load_corpus({name!r})\n"
        "print(json.dumps({'fingerprint': corpus_fingerprint(table), 'revision': table.attrs['revision'],\n"
        "    'corpus': table['corpus'].iloc[0], 'split': dict(zip(table['speaker_id'], table['split'])),\n"
        "    'region': sorted(table['region'].unique()), 'rows': len(table)}))",
    )
    assert said.returncode == 0, said.stderr
    return json.loads(said.stdout.splitlines()[-1])


def test_a_dataset_is_fetched_once_without_its_code_and_names_its_commit(hub, tmp_path):
    address, _, asked = hub
    first = load(address, tmp_path)
    assert first["rows"] == 16 and first["region"] == ["north", "south"]
    assert first["split"] == {"anna": "train", "ben": "train", "carl": "test", "dora": "test"}
    assert first["revision"] == f"hf:lab/voices@{COMMITS['main']}"
    assert first["corpus"] == f"own-lab-voices-{COMMITS['main'][:12]}"
    fetched = {path.split("/")[-1] for path in asked if "/resolve/" in path}
    assert fetched == {"train-00000-of-00001.parquet", "test-00000-of-00001.parquet"}
    asked.clear()
    assert load(address, tmp_path) == first
    assert not [path for path in asked if "/resolve/" in path]


def test_without_a_network_what_was_fetched_is_read_again_and_anything_else_gets_one_sentence(hub, tmp_path):
    first = load(hub[0], tmp_path)
    nowhere = "http://127.0.0.1:9"
    assert load(nowhere, tmp_path) == first
    assert load(nowhere, tmp_path, first["revision"]) == first  # as a run names it
    never = "from fairlib import cli\nraise SystemExit(cli.main(['check', 'hf:lab/others']))"
    said = run(nowhere, tmp_path, never)
    assert said.returncode == 2 and "hf:lab/others cannot be fetched from the Hugging Face hub (" in said.stderr
    assert "was not fetched before: check the name and the network" in said.stderr and "Traceback" not in said.stderr


def test_another_revision_is_another_corpus_and_a_changed_file_another_fingerprint(hub, tmp_path):
    address, files, _ = hub
    first = load(address, tmp_path)
    files["data/test-00000-of-00001.parquet"] = parquet({"carl": "north", "dora": "north"})
    other = load(address, tmp_path, "hf:lab/voices@v1")
    assert other["revision"].endswith(COMMITS["v1"]) and other["corpus"] != first["corpus"]
    assert other["fingerprint"] != first["fingerprint"]


def test_a_chapter_runs_on_it_and_its_command_names_the_commit(hub, tmp_path):
    said = run(
        hub[0],
        tmp_path,
        "from fairlib.book.chapters import check, command\n"
        "one = check('your-own-model', {'corpus': 'hf:lab/voices', 'encoder': 'pocket-hubert'})\n"
        "print(one.group, command('your-own-model', one))\n"
        "import fairlib\n"
        "from fairlib import cli\n"
        "assert cli.main(['check', 'hf:lab/voices']) == 0\n"
        "print(len(fairlib.probe_speakers('logmel', 'hf:lab/voices', seeds=1)), 'outcomes')",
    )
    assert said.returncode == 0, said.stderr
    assert "region fairlib run your-own-model" in said.stdout and "4 outcomes" in said.stdout
    assert "4 speakers, 16 utterances" in said.stdout
    assert f"hf:lab/voices@{COMMITS['main']}" in said.stdout


def test_what_the_hub_lacks_gets_one_sentence(hub, tmp_path):
    said = run(hub[0], tmp_path, "from fairlib import cli\nraise SystemExit(cli.main(['check', 'hf:lab/none']))")
    assert said.returncode == 2 and "hf:lab/none cannot be fetched from the Hugging Face hub" in said.stderr
    assert "Traceback" not in said.stderr
    with pytest.raises(CorpusError, match="names no dataset on the hub: write hf:owner/name"):
        hub_folder("hf:voices")


def test_of_a_dataset_only_what_can_be_read_is_chosen():
    assert _chosen("n/n", "", ["all.parquet", "x.py"]) == ["all.parquet"]
    assert _chosen("n/n", "en", ["en/train-00000-of-00001.parquet", "train-00000-of-00001.parquet"]) == [
        "en/train-00000-of-00001.parquet"
    ]
    hashed = [f"data/{split}-00000-of-00001-0123456789abcdef.parquet" for split in ("test", "train")]
    assert _chosen("n/n", "", hashed) == hashed
    audio = ["metadata.csv", "train/anna/1.wav", "train/anna/1.txt", "x.zip"]
    assert _chosen("n/n", "", audio) == ["metadata.csv", "train/anna/1.wav"]
    for files, words in (
        (["a.parquet", "b.parquet"], r"several Parquet files .* \(a.parquet and b.parquet\)"),
        (["voices.py", "all.tar.gz"], "holds neither Parquet files nor audio: a dataset that a script makes"),
        ([f"{letter}/data/a-00000-of-00001.parquet" for letter in "abcdefg"], "hf:n/n/e or another"),
    ):
        with pytest.raises(CorpusError, match=words):
            _chosen("n/n", "", files)
