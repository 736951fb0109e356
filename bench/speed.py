"""How fast extraction and probing are: ``make bench``, or ``python -m bench.speed [--peers FOLDER] [--book]``.

Everything is compared within one run, in turns (A B C, B C A, ...), on one thread; ratios are of processor seconds,
which do not count the waiting for a busy core, round by round, with their median and range. The tables are written into
bench/README.md. Peers are run if FOLDER holds an environment for each (FOLDER/lfeats/bin/python, ssl-kaldi-feats,
s3prl; see bench/README.md).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

README = Path(__file__).parent / "README.md"
PEERS = ("lfeats", "ssl-kaldi-feats", "s3prl")
ENCODER = "pocket-hubert"


def in_turns(candidates: dict[str, Callable], rounds: int) -> pd.DataFrame:
    """Processor seconds of each candidate (columns) in each round (rows), after a round that does not count.

    A candidate may give its own processor seconds, as one in another process does.
    """
    rows, names = [], list(candidates)
    for number in range(-1, rounds):
        turn = {}
        for name in names[number % len(names) :] + names[: number % len(names)]:
            begun = time.process_time()
            told = candidates[name]()
            turn[name] = told if isinstance(told, float) else time.process_time() - begun
        if number >= 0:
            rows.append(turn)
    return pd.DataFrame(rows)[names]


def compared(seconds: pd.DataFrame, against: str, per_hour: float = 0) -> pd.DataFrame:
    """One row a candidate: median seconds and their range, and the ratio to one of them, round by round."""
    ratio = seconds.div(seconds[against], axis=0)
    table = pd.DataFrame({"processor seconds": [_spread(seconds[name], 2) for name in seconds]}, index=seconds.columns)
    if per_hour:
        table["times real time"] = [f"{per_hour * 3600 / seconds[name].median():.0f}" for name in seconds]
    table[f"over “{against}”"] = [_spread(ratio[name], 2) for name in seconds]
    return table


def _spread(values: pd.Series, digits: int) -> str:
    return f"{values.median():.{digits}f} ({values.min():.{digits}f} to {values.max():.{digits}f})"


def markdown(table: pd.DataFrame, first: str) -> str:
    lines = [f"| {' | '.join([first, *table.columns])} |", f"|{'---|' * (1 + len(table.columns))}"]
    lines += [f"| {' | '.join([str(name), *map(str, row)])} |" for name, row in zip(table.index, table.to_numpy())]
    return "\n".join(lines)


def speech(number: int) -> pd.DataFrame:
    """Utterances of the synthetic corpus of many lengths, of several speakers."""
    from fairlib.corpora import load_corpus

    table = load_corpus("synthetic")
    return table.iloc[np.linspace(0, len(table) - 1, number).astype(int)].reset_index(drop=True)


# ------------------------------------------------------------------------------------------------- (a) extraction


def extraction(work: Path, peers: Path | None, number: int, rounds: int) -> str:
    import torch

    from fairlib.corpora.audio import read_audio
    from fairlib.encoders import load_encoder
    from fairlib.encoders.extraction import BATCH_SECONDS, extract, length_batches

    encoder, table = load_encoder(ENCODER, device="cpu"), speech(number)
    audio = [read_audio(path) for path in table["path"]]
    batches = length_batches(table["duration_s"].to_numpy(), BATCH_SECONDS["cpu"])
    fresh = iter(range(10_000))

    @torch.inference_mode()
    def bare(groups):
        for rows in groups:
            waves = [torch.from_numpy(audio[row]) for row in rows]
            encoder.model(torch.nn.utils.rnn.pad_sequence(waves, batch_first=True))

    @torch.inference_mode()
    def as_a_user_would():
        kept = []
        for one in audio:
            states = encoder.model(torch.from_numpy(one)[None], output_hidden_states=True).hidden_states
            kept.append([layer[0].numpy() for layer in states])
        return kept

    def ours(frames):
        extract(encoder, table, work / f"a{next(fresh)}", frames=frames)

    bare_name = "bare forward pass, padded batches (not exact)"
    candidates: dict[str, Callable] = {
        bare_name: lambda: bare(batches),
        "bare forward pass, one utterance at a time": lambda: bare([[row] for row in range(len(audio))]),
        "fairlib's forward pass, exact": lambda: [encoder.layers_of([audio[row] for row in rows]) for rows in batches],
        "fairlib.extract, pooled": lambda: ours(False),
        "fairlib.extract, all frames to disk": lambda: ours(True),
        "one utterance at a time, output_hidden_states=True": as_a_user_would,
    }
    processes, absent = _start_peers(work, peers, encoder, audio)
    candidates |= {name: lambda process=process: _turn_of(process) for name, process in processes.items()}
    seconds = in_turns(candidates, rounds)
    for process in processes.values():
        process.stdin.close()
        process.wait()
    hours = table["duration_s"].sum() / 3600
    text = markdown(compared(seconds, bare_name, hours), f"{len(table)} utterances, {hours * 60:.1f} min")
    return text + "".join(f"\n\n{name}: {why}." for name, why in absent.items())


def _start_peers(work: Path, peers: Path | None, encoder, audio) -> tuple[dict, dict]:
    from transformers import Wav2Vec2FeatureExtractor

    folder = work / "encoder"
    encoder.model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(folder)
    np.savez(work / "audio.npz", **{f"{row:04d}": one for row, one in enumerate(audio)})
    started, absent = {}, {}
    for name in PEERS:
        python = (peers or Path("/nowhere")) / name / "bin" / "python"
        if not python.exists():
            absent[name] = "not run, for it has no environment here"
            continue
        command = [python, str(Path(__file__).with_name("peer.py")), name, folder, work / "audio.npz"]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
        errors = (work / f"{name}.log").open("w")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors, "text": True}
        process = subprocess.Popen([str(part) for part in command], env=environment, **pipes)
        line = process.stdout.readline()
        while line and line.strip() != "ready":
            line = process.stdout.readline()
        if line:
            started[name] = process
        else:
            said = (work / f"{name}.log").read_text().strip().splitlines() or ["no word"]
            absent[name] = f"installed, but it did not start ({said[-1][:160]})"
    return started, absent


def _turn_of(process: subprocess.Popen) -> float:
    process.stdin.write("go\n")
    process.stdin.flush()
    while True:
        try:
            return float(process.stdout.readline().split()[0])
        except ValueError:  # a line that a library printed
            continue


# ---------------------------------------------------------------------------------------------------- (b), (c) probes


def speaker_probes(work: Path, rounds: int) -> str:
    """On pooled features of real layers: made-up independent ones would be easier to fit than any layer is.

    Of real speech if it is at hand, else of synthetic voices, of which there are fewer.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    from fairlib import extract, load_corpus, load_encoder
    from fairlib.corpora import CorpusError
    from fairlib.probes import SpeakerProbe, held_out
    from fairlib.probes.softmax import fit_softmax

    try:
        table = load_corpus("speechocean762")
    except CorpusError:
        table = load_corpus("synthetic", speakers_per_group=30, utterances_per_speaker=20)
    name = table["corpus"].iloc[0]
    features = extract(load_encoder(ENCODER, device="cpu"), table, work / "b", frames=False)
    labels, speakers = pd.factorize(table["speaker_id"])
    train = ~held_out(table["speaker_id"], SpeakerProbe().test_share, 0)
    matrices = [features.pooled(layer) for layer in features.layers]
    settings = {name: value for name, value in SpeakerProbe().settings().items() if name != "test_share"}

    def error(guesses):
        return float(np.mean([(guess != labels)[~train].mean() for guess in guesses]))

    def ours():
        return [fit_softmax(matrix, labels, train, **settings).argmax(axis=1) for matrix in matrices]

    def theirs(iterations):
        guesses = []
        for matrix in matrices:
            x = StandardScaler().fit(matrix[train]).transform(matrix)
            model = LogisticRegression(C=1 / (settings["l2"] * train.sum()), max_iter=iterations)
            guesses.append(model.fit(x[train], labels[train]).predict(x))
        return guesses

    import warnings

    warnings.simplefilter("ignore")  # it says that it could go on
    reached = error(ours())
    for iterations in (20, 50, 500):  # the fewest that reach our error, if any do
        if error(theirs(iterations)) <= reached:
            break
    names = [
        "fairlib",
        f"scikit-learn, at most {iterations} iterations",
        "scikit-learn, at most 100 iterations (default)",
    ]
    runs = [ours, lambda: theirs(iterations), lambda: theirs(100)]
    table = compared(in_turns(dict(zip(names, runs)), rounds), "fairlib")
    table["error"] = [f"{error(run()):.3f}" for run in runs]
    return markdown(table, f"{name}: {len(matrices)} layers, {len(speakers)} speakers, {len(labels):,} utterances")


def character_probes(layers: int, rounds: int, context: bool) -> str:
    from fairlib.probes import CharacterProbe, ctc

    rng = np.random.default_rng(0)
    lengths = rng.integers(100, 300, 96)
    frames = [
        [rng.standard_normal((length, 192), np.float32).astype(np.float16) for length in lengths] for _ in range(layers)
    ]
    texts = ["".join(rng.choice(list("ABCDEFGHIJKLMNOPQRSTUVWXYZ "), length // 6)) for length in lengths]
    before, ctc.LEAST_STEPS = ctc.LEAST_STEPS, 1
    probe = {**CharacterProbe().settings(), "passes": 2}

    def fit(some):
        ctc.fit_ctc(some, texts, training=80, context=context, seed=0, **probe)

    seconds = in_turns(
        {
            "one layer": lambda: fit(frames[:1]),
            f"{layers} layers at once": lambda: fit(frames),
            f"{layers} layers one by one": lambda: [fit([one]) for one in frames],
        },
        rounds,
    )
    ctc.LEAST_STEPS = before
    return markdown(compared(seconds, "one layer"), f"{'context' if context else 'linear'} probe, width 192")


# --------------------------------------------------------------------------------------------------------- (d) growth


def growth(work: Path, number: int) -> str:
    """Each size in a process of its own, which tells its processor seconds and its peak memory."""
    rows = {}
    for times in (1, 2, 4, 8):
        rows[f"{times} × the speech"] = _alone("extract", str(work), ENCODER, str(number), str(times))
    import torch
    from transformers import AutoConfig, AutoModel

    from fairlib.encoders import encoder_folder

    for layers in (3, 6, 12):
        config = AutoConfig.from_pretrained(encoder_folder(ENCODER))
        config.num_hidden_layers = layers
        torch.manual_seed(0)
        AutoModel.from_config(config).save_pretrained(work / f"layers{layers}")
        rows[f"{layers} transformer layers"] = _alone(
            "extract", str(work), str(work / f"layers{layers}"), str(number), "2"
        )
    table = pd.DataFrame(rows).T
    first, few = table.iloc[0], table.loc["3 transformer layers"]
    base = [first] * 4 + [few] * 3
    shown = pd.DataFrame(
        {
            "hours": table["hours"].map("{:.3f}".format),
            "processor seconds": table["seconds"].map("{:.1f}".format),
            "seconds per hour, over the first": [
                f"{one.seconds / one.hours / (b.seconds / b.hours):.2f}" for (_, one), b in zip(table.iterrows(), base)
            ],
            "peak memory, MB": table["peak"].map("{:.0f}".format),
            "over the first": [f"{one.peak / b.peak:.2f}" for (_, one), b in zip(table.iterrows(), base)],
        }
    )
    return markdown(shown, "all frames to disk")


def _alone(*arguments: str) -> dict:
    command = [sys.executable, "-m", "bench.speed", "--alone", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SystemExit(ran.stderr)
    return json.loads(ran.stdout.splitlines()[-1])


def alone(what: str, work: str, encoder_name: str, number: str, times: str) -> dict:
    import torch

    from bench.full_width import high_water
    from fairlib.encoders import load_encoder
    from fairlib.encoders.extraction import extract

    torch.set_num_threads(1)
    table = speech(int(number))
    table = pd.concat([table] * int(times), ignore_index=True)
    table["utterance_id"] = [f"u{row:06d}" for row in range(len(table))]
    encoder = load_encoder(encoder_name, device="cpu")
    encoder.layers_of([np.zeros(16000, np.float32)])
    folder = tempfile.mkdtemp(dir=work)
    begun = time.process_time()
    extract(encoder, table, folder, frames=True)
    seconds = time.process_time() - begun
    return {"hours": table["duration_s"].sum() / 3600, "seconds": seconds, "peak": high_water() / 1e6}


def full_width(work: Path) -> str:
    from bench.full_width import side_by_side

    sizes, halves = side_by_side(work)
    return f"{markdown(sizes, 'random weights, float32')}\n\n{markdown(halves, 'bfloat16 against float32')}"


# ------------------------------------------------------------------------------------------------------ (e), the whole


def book(work: Path) -> str:
    begun, before = time.perf_counter(), os.times()
    subprocess.run(
        [sys.executable, "-m", "fairlib.cli", "book", "--output", str(work / "html")], check=True, capture_output=True
    )
    after = os.times()
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    clock = time.perf_counter() - begun
    return f"The book from the published outcomes: {seconds:.0f} processor seconds, {clock:.0f} by the clock."


def machine() -> str:
    import psutil
    import torch
    import transformers

    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        name = next((line.split(": ")[1] for line in cpuinfo.read_text().splitlines() if "model name" in line), name)
    load = os.getloadavg()[0]
    return (
        f"{datetime.now(UTC):%d %B %Y}; {name}, {os.cpu_count()} cores, {psutil.virtual_memory().total / 1e9:.0f} GB, "
        f"{platform.system()}, Python {platform.python_version()}, torch {torch.__version__.split('+')[0]}, "
        f"transformers {transformers.__version__}; one thread. Mean number of processes that wanted to run in the "
        f"minute before: {load:.1f}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, help="folder with an environment for each peer")
    parser.add_argument("--book", action="store_true", help="build the book, too")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="abcdef", help="letters of the parts to run")
    parser.add_argument("--alone", nargs="+", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.alone:
        print(json.dumps(alone(*chosen.alone)))
        return
    import torch

    torch.set_num_threads(1)
    parts = [f"*{machine()}*"]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for letter, title, run in (
            ("a", "Extraction of all layers", lambda: extraction(work, chosen.peers, 128, chosen.rounds)),
            ("b", "Speaker probes of all layers", lambda: speaker_probes(work, chosen.rounds)),
            ("c", "Character probes of all layers, linear", lambda: character_probes(8, chosen.rounds, False)),
            ("c", "Character probes of all layers, with context", lambda: character_probes(8, 2, True)),
            ("d", "Growth with hours and layers", lambda: growth(work, 32)),
            ("e", "The book", lambda: book(work) if chosen.book else "Not built in this run (`--book`)."),
            ("f", "Full width", lambda: full_width(work)),
        ):
            if letter in chosen.only:
                begun = time.perf_counter()
                parts.append(f"### {title}\n\n{run()}")
                print(f"{parts[-1]}\n\n[{time.perf_counter() - begun:.0f} s]\n", flush=True)
    if chosen.only == "abcdef":
        text = README.read_text()
        marks = ("<!-- results -->", "<!-- end of results -->")
        whole = re.compile(f"{marks[0]}.*{marks[1]}", re.S)
        README.write_text(whole.sub(lambda _: "\n\n".join([marks[0], *parts, marks[1]]), text))


if __name__ == "__main__":
    main()
