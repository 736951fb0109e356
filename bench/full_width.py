"""Whether full-size encoders fit: ``python -m bench.full_width``, part f of ``make bench``.

One encoder of base shape and one of large shape, as public checkpoints have them but with random weights, go the whole
way from audio to outcomes (speakers and characters of all layers), each in a process of its own. Its peak memory stands
beside what `fairlib.book.prediction` foretold, and the layers in half precision beside those in single.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

LARGE = {
    "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
    "feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True,
}  # fmt: skip
SHAPES = {  # by name, what their config.json says; the rest is the family's default
    "base, 12 × 768": {"model_type": "hubert"},
    "large, 24 × 1024": {"model_type": "hubert", **LARGE},
}


def speech(folder: Path, speakers: int = 4, utterances: int = 8) -> Path:
    """A list of synthetic utterances, as a corpus of one's own, so that a prediction and probes can name it."""
    from fairlib.corpora import load_corpus

    table = load_corpus("synthetic")
    table = table[table["speaker_id"].isin(table["speaker_id"].unique()[:speakers])].groupby("speaker_id")
    rows = table.head(utterances)[["path", "speaker_id", "text"]]
    rows = rows.assign(split=(rows["speaker_id"] == rows["speaker_id"].iloc[0]).map({True: "test", False: "train"}))
    rows.to_csv(folder / "speech.csv", index=False)
    return folder / "speech.csv"


def encoder(folder: Path, config: dict) -> str:
    """The untrained encoder of a configuration, by a name that fairlib takes."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return f"random:{folder}"


def predicted(name: str, corpus: Path) -> dict:
    """What `fairlib reproduce --dry-run` says of this encoder, of speakers' and characters' probes."""
    from fairlib.book.prediction import predict

    calls = [("probe_speakers", {"seeds": 1}), ("probe_characters", {})]
    rows = [{"encoder": name, "corpus": str(corpus), "call": call, "settings": said} for call, said in calls]
    return predict(pd.DataFrame(rows), {}, device="cpu").iloc[0].to_dict()


def whole_path(name: str, corpus: Path, work: Path, steps: int = 8) -> dict:
    """From audio to outcomes of speakers and of characters: what it took, in this process.

    Args:
        steps: of the character probes' training; what more of them take is time, not memory.
    """
    os.environ["FAIRLIB_STORE"], os.environ["FAIRLIB_CACHE"] = str(work / "store"), str(work / "cache")
    import torch

    from fairlib import probe_characters, probe_speakers
    from fairlib.corpora import load_corpus
    from fairlib.probes import ctc, kept_features

    torch.set_num_threads(1)
    ctc.LEAST_STEPS = steps
    begun = time.process_time()
    with kept_features():
        outcomes = [probe_speakers(name, str(corpus), seeds=1), probe_characters(name, str(corpus))]
    return {
        "processor_s": time.process_time() - begun,
        "memory_gb": high_water() / 1e9,
        "speech_s": float(load_corpus(str(corpus))["duration_s"].sum()),
        "layers": [sorted(table["layer"].unique()) for table in outcomes],
        "rows": sum(map(len, outcomes)),
    }


def high_water() -> int:
    """Peak memory of this process alone: what getrusage says would count its parent's, from before it began."""
    import psutil

    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1])
    return getattr(psutil.Process().memory_info(), "peak_wset", psutil.Process().memory_info().rss)


def in_half_precision(name: str, corpus: Path, dtype: str = "bfloat16") -> pd.Series:
    """By layer, how far one utterance's frames in half precision are from those in single: the largest difference of a
    frame, over that frame's length."""
    from fairlib.corpora import load_corpus
    from fairlib.corpora.audio import read_audio
    from fairlib.encoders import load_encoder

    audio = read_audio(load_corpus(str(corpus))["path"].iloc[0])
    single = {layer: frames[0] for layer, frames in load_encoder(name, "cpu").layers_of([audio]).items()}
    half = load_encoder(name, "cpu", dtype=dtype).layers_of([audio])
    apart = {
        layer: (half[layer][0].float() - frames).norm(dim=1) / frames.norm(dim=1) for layer, frames in single.items()
    }
    return pd.Series({layer: float(each.max()) for layer, each in apart.items()})


def alone(what: str, *arguments: str) -> dict:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "bench.full_width", "--alone", what, *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SystemExit(ran.stderr)
    return json.loads(ran.stdout.splitlines()[-1])


def side_by_side(work: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Of every shape, what was predicted beside what was measured; and by layer, what half precision changes."""
    rows, apart = {}, {}
    corpus = speech(work)
    for shape, config in SHAPES.items():
        name = encoder(work / re.sub(r"\W+", "-", shape), config)
        foretold, went = predicted(name, corpus), alone("whole path", name, str(corpus), str(work))
        rows[shape] = {
            "parameters": f"{foretold['parameters'] / 1e6:.0f} M",
            "layers": len(went["layers"][0]),
            "speech, s": f"{went['speech_s']:.0f}",
            "outcomes": f"{went['rows']:,}",
            "processor seconds": f"{went['processor_s']:.0f}",
            "memory predicted, GB": f"{foretold['memory_gb']:.2f}",
            "memory measured, GB": f"{went['memory_gb']:.2f}",
            "measured over predicted": f"{went['memory_gb'] / foretold['memory_gb']:.2f}",
        }
        half = pd.Series(alone("half", name, str(corpus)))
        blocks = half.drop(["cnn", "0"])
        apart[shape] = {
            "cnn": f"{half['cnn']:.1%}", "0": f"{half['0']:.1%}", "first block": f"{blocks.iloc[0]:.1%}",
            "last block": f"{blocks.iloc[-1]:.1%}", "worst layer": f"{half.idxmax()}: {half.max():.1%}",
        }  # fmt: skip
    return pd.DataFrame(rows).T, pd.DataFrame(apart).T


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alone", nargs="+", help=argparse.SUPPRESS)
    chosen = parser.parse_args().alone
    if not chosen:
        with tempfile.TemporaryDirectory() as folder:
            for table in side_by_side(Path(folder)):
                print(table.to_string(), end="\n\n")
        return
    what, name, corpus, *work = chosen
    said = whole_path(name, Path(corpus), Path(work[0])) if work else in_half_precision(name, Path(corpus)).to_dict()
    print(json.dumps(said))


if __name__ == "__main__":
    main()
