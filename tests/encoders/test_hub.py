"""Downloading an encoder from a hub on this machine: what is fetched, what never is, and what failure says."""

import os
import subprocess
import sys

import pytest
import torch
from hub_server import serve
from tiny import save_tiny
from transformers import HubertModel

COMMIT = "0123456789012345678901234567890123456789"


@pytest.fixture
def hub(tmp_path):
    """Serves ``lab/tiny-hubert`` in the hub's own protocol; yields its address and the list of paths asked for."""
    folder = tmp_path / "repository"
    save_tiny(folder, layers=1)
    (folder / "modeling_tiny.py").write_text("raise SystemExit('code from a model repository was run')")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle that nobody should fetch")
    for other in ("adapter.fra.safetensors", "model.fp16.safetensors", "generation_config.json", "tf_model.h5"):
        (folder / other).write_bytes(b"what transformers would not load")
    (folder / "processor_config.json").write_text('{"feature_extractor": {"do_normalize": true}}')

    def files() -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in folder.iterdir()}

    with serve("models", "lab/tiny-hubert", files, {"main": COMMIT}) as served:
        yield served


def load(address: str, name: str, tmp_path) -> subprocess.CompletedProcess:
    # In a process of its own: the hub's client reads its settings once, when it is imported.
    code = (
        "import sys, numpy as np\n"
        "from fairlib.encoders import EncoderError, load_encoder\n"
        "try:\n"
        f"    encoder = load_encoder({name!r}, device='cpu')\n"
        "except EncoderError as error:\n"
        "    sys.exit(str(error))\n"
        "print(sorted(encoder.layers_of([np.ones(16000, np.float32)])))"
    )
    settings = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_XET": "1"}
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **settings}, capture_output=True, text=True, timeout=120
    )


def test_an_encoder_is_fetched_once_without_pickles_or_code(hub, tmp_path):
    address, asked = hub
    first = load(address, "lab/tiny-hubert", tmp_path)
    assert "['0', '1', 'cnn']" in first.stdout, first.stderr
    fetched = {path.split("/")[-1] for path in asked if "/resolve/" in path}
    assert fetched == {"config.json", "processor_config.json", "model.safetensors"}
    asked.clear()
    again = load(address, "lab/tiny-hubert", tmp_path)
    assert "['0', '1', 'cnn']" in again.stdout, again.stderr
    assert not [path for path in asked if path.endswith("model.safetensors")]


def test_an_untrained_twin_needs_no_weights(hub, tmp_path):
    address, asked = hub
    twin = load(address, "random:lab/tiny-hubert", tmp_path)
    assert "['0', '1', 'cnn']" in twin.stdout, twin.stderr
    assert {path.split("/")[-1] for path in asked if "/resolve/" in path} == {"config.json", "processor_config.json"}


def test_older_weights_are_fetched_where_there_are_no_others(hub, tmp_path):
    """As of MMS in its first form: adapters in safetensors, the weights themselves in a pickle of tensors."""
    address, asked = hub
    folder = tmp_path / "repository"
    torch.save(HubertModel.from_pretrained(folder).state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    (folder / "model.fp16.safetensors").unlink()
    result = load(address, "lab/tiny-hubert", tmp_path)
    assert "['0', '1', 'cnn']" in result.stdout, result.stderr
    fetched = {path.split("/")[-1] for path in asked if "/resolve/" in path}
    assert fetched == {"config.json", "processor_config.json", "pytorch_model.bin"}


@pytest.mark.parametrize("name", ["lab/no-such-model", "random:lab/no-such-model", "no--such/model"])
def test_an_encoder_that_the_hub_lacks_gets_one_sentence(hub, tmp_path, name):
    result = load(hub[0], name, tmp_path)
    assert f"{name.removeprefix('random:')} cannot be fetched from the model hub" in result.stderr
    assert "Traceback" not in result.stderr


def test_without_a_network_the_answer_is_one_sentence(tmp_path):
    result = load("http://127.0.0.1:9", "lab/tiny-hubert", tmp_path)
    assert "cannot be fetched from the model hub" in result.stderr
    assert "Traceback" not in result.stderr
