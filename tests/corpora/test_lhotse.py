"""lhotse's manifests and cuts in the place of a corpus's name: what is made of them, and what is said of wrong ones.

The lines are as lhotse 1.3 writes them, checked against its source.
"""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from own_speech import complaint, in_folders_of_their_own  # noqa: F401 (a fixture)

import fairlib
from fairlib.book import chapters, runs
from fairlib.corpora import load_corpus, own_groups
from fairlib.corpora.audio import read_audio

PEOPLE = {"anna": ("F", "north", 31), "ben": ("M", "north", 40), "cleo": ("F", "south", 52), "dan": ("M", "south", 67)}


def sound(file: Path, pitches: list[int], seconds: float = 1.0) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(round(16_000 * seconds)) / 16_000
    noise = np.random.default_rng(pitches).standard_normal((len(time), len(pitches))) / 100
    soundfile.write(file, 0.1 * np.sin(2 * np.pi * np.outer(time, pitches)) + noise, 16_000)


def recording(name: str, source: str, channels=(0,), seconds: float = 1.0, **other) -> dict:
    sources = [{"type": "file", "channels": list(channels), "source": source}]
    lasts = {"sampling_rate": 16_000, "num_samples": round(16_000 * seconds), "duration": seconds}
    return {"id": name, "sources": sources, **lasts, "channel_ids": list(channels)} | other


def supervision(name: str, of: str, start: float, duration: float, who: str = "anna", **other) -> dict:
    gender, region, age = PEOPLE[who]
    said = {"channel": 0, "text": f"WELL {name.upper()}", "language": "English", "speaker": who, "gender": gender}
    custom = {"region": region, "age": age, "snr": 10 + start, "words": [1, 2]}
    return {"id": name, "recording_id": of, "start": start, "duration": duration, **said, "custom": custom} | other


def write(path: Path, lines: list) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", encoding="utf-8") as file:
        file.write("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> tuple[list[dict], list[dict]]:
    """Four people: two recordings of one utterance each, and two of two, written as seen from a folder above."""
    recordings, supervisions = [], []
    for place, who in enumerate(PEOPLE):
        sound(tmp_path / "download" / f"{who}.wav", [200 + 40 * place])
        recordings.append(recording(who, f"download/{who}.wav"))
        parts = [(0, 1.0)] if place < 2 else [(0, 0.5), (0.5, 0.5)]
        supervisions += [supervision(f"{who}-{n}", who, *part, who) for n, part in enumerate(parts)]
    return recordings, supervisions


def manifests(folder: Path, recordings: list, supervisions: list) -> Path:
    write(folder / "mini_recordings_train-clean-5.jsonl.gz", recordings)
    write(folder / "mini_supervisions_train-clean-5.jsonl.gz", supervisions)
    return folder


CSV = """path,speaker_id,text,language,utterance_id,start,end,sex,region,age
anna.wav,anna,WELL ANNA-0,en,anna-0,0,1,female,north,31
ben.wav,ben,WELL BEN-0,en,ben-0,0,1,male,north,40
cleo.wav,cleo,WELL CLEO-0,en,cleo-0,0,0.5,female,south,52
cleo.wav,cleo,WELL CLEO-1,en,cleo-1,0.5,1,female,south,52
dan.wav,dan,WELL DAN-0,en,dan-0,0,0.5,male,south,67
dan.wav,dan,WELL DAN-1,en,dan-1,0.5,1,male,south,67
"""


def test_manifests_are_the_same_corpus_as_a_csv(corpus, tmp_path: Path) -> None:
    folder = manifests(tmp_path / "data" / "manifests", *corpus)
    with pytest.warns(UserWarning, match="snr differs within a speaker"):
        table = load_corpus(str(folder))
    listed = tmp_path / "download" / "list.csv"
    listed.write_text(CSV)
    same = load_corpus(str(listed))
    others = [column for column in same.columns if column not in ("corpus", "path")]
    assert table[others].equals(same[others]) and set(table.columns) == set(same.columns)
    assert all(np.abs(read_audio(a) - read_audio(b)).max() < 1e-4 for a, b in zip(table["path"], same["path"]))
    assert table["path"][0] == str(tmp_path / "download" / "anna.wav")  # the whole of it is not cut
    assert own_groups(folder) == {"sex": ["female", "male"], "region": ["north", "south"]}


def cut(recordings: list[dict], of: list[dict], start: float, duration: float, **other) -> dict:
    """A cut of the recording that some supervisions are of, in which they stand as seen from its start."""
    [whole] = [each for each in recordings if each["id"] == of[0]["recording_id"]]
    inside = [each | {"start": each["start"] - start} for each in of]
    own = {"id": f"cut-{of[0]['id']}", "start": start, "duration": duration, "channel": 0, "supervisions": inside}
    return {**own, "recording": whole, "type": "MonoCut"} | other


def test_cuts_hold_the_same_utterances_and_what_is_no_single_recording_is_counted(corpus, tmp_path: Path) -> None:
    recordings, supervisions = corpus
    cuts = [cut(recordings, [one], one["start"], one["duration"]) for one in supervisions[:3]]
    cuts += [cut(recordings, supervisions[3:4], 0.25, 0.75), cut(recordings, supervisions[4:], 0, 1)]
    mixed = [{"id": "m", "type": "MixedCut", "tracks": []}, {"id": "p", "type": "PaddingCut", "duration": 1}]
    altered = cut([one | {"transforms": [{"name": "Speed"}]} for one in recordings], supervisions[:1], 0, 1)
    path = write(tmp_path / "fbank" / "mini_cuts.jsonl.gz", [*mixed, *cuts, altered, cuts[0] | {"supervisions": []}])
    with pytest.warns(
        UserWarning, match=r"left out are cuts of type MixedCut \(1\); cuts of type PaddingCut \(1\); cuts of"
    ):
        table = load_corpus(str(path))
    with pytest.warns(UserWarning, match="snr differs"):
        same = load_corpus(str(manifests(tmp_path / "manifests", *corpus)))
    assert table.drop(columns="corpus").equals(same.drop(columns="corpus"))  # down to the files that were cut
    assert load_corpus(str(path.parent)).drop(columns="corpus").equals(table.drop(columns="corpus"))
    write(path, mixed)
    assert "lists no utterance that can be used: left out are cuts of type MixedCut" in complaint(path)


@pytest.mark.parametrize("lasts", [0.5, 2.0])
def test_a_file_that_is_not_the_recording_that_was_transcribed_is_left_out(tmp_path: Path, lasts: float) -> None:
    for who in ("anna", "ben"):
        sound(tmp_path / f"{who}.wav", [200])
    recordings = [recording("anna", "anna.wav"), recording("ben", "ben.wav", duration=lasts)]
    said = [supervision("anna-0", "anna", 0, 1, "anna"), supervision("ben-0", "ben", 0, lasts, "ben")]
    folder = manifests(tmp_path, recordings, said)
    assert f"ben.wav lasts 1.00 s, and {lasts:.2f} s by its list: fetch that recording" in complaint(folder)
    with pytest.warns(UserWarning, match="1 left out of 2 utterances"):
        assert load_corpus(str(folder), on_error="skip")["speaker_id"].tolist() == ["anna"]


def test_a_channel_of_its_own_is_read_alone(tmp_path: Path) -> None:
    sound(tmp_path / "call.wav", [200, 900])
    sound(tmp_path / "far.wav", [400])
    sources = [recording("call", "call.wav", (0, 1))["sources"][0], recording("call", "far.wav", (2,))["sources"][0]]
    said = [supervision(f"{who}-0", "call", 0, 1, who, channel=place) for place, who in enumerate(PEOPLE) if place < 3]
    said.append(supervision("dan-0", "call", 0, 1, "dan", channel=[0, 1]))
    folder = manifests(tmp_path, [recording("call", "call.wav", (0, 1), sources=sources)], said)
    table = load_corpus(str(folder)).set_index("utterance_id")
    both = soundfile.read(tmp_path / "call.wav")[0]
    for name, samples in (("anna-0", both[:, 0]), ("ben-0", both[:, 1]), ("dan-0", both.mean(axis=1))):
        assert np.abs(read_audio(table.loc[name, "path"]) - samples).max() < 1e-4
    assert table.loc["cleo-0", "path"] == str(tmp_path / "far.wav")
    for channel, words in ((3, "channel 3 of recording 'call' lies nowhere"), ([1, 2], "lies over 2 files")):
        write(folder / "mini_supervisions_train-clean-5.jsonl.gz", [*said[1:], said[0] | {"channel": channel}])
        assert words in complaint(folder)


def test_files_are_told_apart_by_what_they_hold(corpus, tmp_path: Path) -> None:
    folder = manifests(tmp_path / "manifests", *corpus)
    write(folder / "mini_recordings_dev.jsonl", corpus[0])
    dev = write(folder / "mini_supervisions_dev.jsonl", corpus[1][:4])
    message = complaint(folder)
    assert "2 of lhotse's pairs of manifests (mini_supervisions_dev.jsonl, mini_supervisions_train-clean" in message
    assert message.endswith("give one of these files in the folder's place.")
    assert len(load_corpus(str(dev))) == 4 and set(load_corpus(str(dev))["corpus"]) == {"own-mini-supervisions-dev"}
    dev.unlink()
    alone = folder / "mini_recordings_dev.jsonl"
    assert f"{alone} holds lhotse's recordings, but beside it {dev.name} is missing" in complaint(alone)
    other = write(folder / "said.jsonl", corpus[1])
    assert "supervisions, but beside it a file of recordings that is named alike is missing" in complaint(other)


def change(lines: list, place: int, **values) -> list:
    return [line | values if at == place else line for at, line in enumerate(lines)]


BROKEN = {
    "broken JSON": (lambda r, s: (r, [*s[:1], '{"id": ']), "line 2 is no JSON (Expecting value at character 9)"),
    "no object": (lambda r, s: (r, [*s[:1], "[1]"]), "line 2 is no JSON object"),
    "no recording": (lambda r, s: (r[:3], s), "line 5: recording 'dan' is not in "),
    "beyond the end": (lambda r, s: (r, change(s, 3, duration=3)), "line 4: supervision 'cleo-1' ends at 3.50 s, but"),
    "no time": (lambda r, s: (r, change(s, 3, start="0")), "line 4: the start '0' of 'cleo-1' must be a number"),
    "before the start": (lambda r, s: (r, change(s, 3, start=-2)), "'cleo-1' goes from -2 s to -1.5 s: it must begin"),
    "an id twice": (lambda r, s: (r, [*s, s[0]]), "line 7 lists utterance 'anna-0' a second time, after"),
    "a recording twice": (lambda r, s: ([*r, r[0]], s), "line 5 lists recording 'anna' a second time, after"),
    "no speaker": (lambda r, s: (r, change(s, 1, speaker=None)), "line 2: supervision 'ben-0' has no speaker: add"),
    "no audio there": (
        lambda r, s: (change(r, 0, sources=recording("anna", "away/anna.wav")["sources"]), s),
        "away/anna.wav is listed in ",
    ),
    "a command": (
        lambda r, s: (change(r, 0, sources=[{"type": "command", "channels": [0], "source": "touch run"}]), s),
        "line 1: the audio of recording 'anna' is of type command (touch run...), which is neither run nor fetched",
    ),
    "an address": (
        lambda r, s: (change(r, 0, sources=[{"type": "url", "channels": [0], "source": "https://a/b.wav"}]), s),
        "is of type url (https://a/b.wav...)",
    ),
    "another layout": (lambda r, s: (change(r, 0, sources=["anna.wav"]), s), "is not as lhotse writes it"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_wrong_gets_one_sentence(case: str, corpus, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    broken, words = BROKEN[case]
    folder = manifests(tmp_path / "manifests", *broken(*corpus))
    message = complaint(folder)
    assert words in message and "jsonl.gz line " in message
    assert not (tmp_path / "run").exists() and not (tmp_path / "FAIRLIB_CACHE" / "segments").exists()


def test_a_damaged_file_and_a_supervision_beyond_its_cut_get_one_sentence(corpus, tmp_path: Path) -> None:
    folder = manifests(tmp_path / "manifests", *corpus)
    packed = folder / "mini_supervisions_train-clean-5.jsonl.gz"
    packed.write_bytes(packed.read_bytes()[:-20])
    assert f"{packed} cannot be read" in complaint(folder)
    recordings, supervisions = corpus
    path = write(tmp_path / "cuts.jsonl", [cut(recordings, supervisions[:1], 0, 0.6)])
    assert "line 1: supervision 'anna-0' goes beyond its cut 'cut-anna-0'" in complaint(path)
    write(path, ["{", cut(recordings, supervisions[:1], 0, 1)])
    assert "cuts.jsonl line 1 is no JSON (Expecting property" in complaint(path) == complaint(tmp_path)
    write(path, [cut(recordings, supervisions[:1], 0, 1) | {"supervisions": ["anna-0"]}])
    assert "line 1 is no cut as lhotse writes it" in complaint(path)
    write(path, [cut(recordings, supervisions[:1], 0, 1, recording=None)])
    assert "line 1: its cut has no recording, so no audio" in complaint(path)


def test_what_cannot_be_used_can_be_left_out_and_names_that_mean_something_else_are_counted(corpus, tmp_path: Path):
    recordings, supervisions = corpus
    supervisions = change(supervisions, 1, speaker=None, custom={"text": "no", "entry": 7})
    supervisions = change(supervisions, 0, language="Klingon", gender="Nonbinary")
    folder = manifests(tmp_path / "manifests", recordings, supervisions)
    with pytest.warns(UserWarning) as said:
        table = load_corpus(str(folder), on_error="skip")
    told = " ".join(str(one.message) for one in said)
    assert "custom fields 'text', a name that means something else here (1); custom fields 'entry'" in told
    assert "names of a language, 'Klingon', for which no code is known here (1)" in told
    assert len(table) == 5 and "supervision 'ben-0' has no speaker" in table.attrs["skipped"][0]
    assert table["language"].isna().tolist() == [True, False, False, False, False]
    assert table["sex"].tolist() == ["Nonbinary", "female", "female", "male", "male"]


def test_probes_and_chapters_run_on_manifests(tmp_path: Path, monkeypatch) -> None:
    recordings, supervisions = [], []
    for place, who in enumerate(PEOPLE):
        sound(tmp_path / f"{who}.wav", [200 + 40 * place], seconds=2)
        recordings.append(recording(who, f"{who}.wav", seconds=2))
        supervisions += [supervision(f"{who}-{n}", who, n / 2, 0.5, who) for n in range(4)]
    folder = manifests(tmp_path / "voices", recordings, supervisions)
    outcomes = fairlib.probe("logmel", fairlib.SpeakerProbe(seeds=1, iterations=20), str(folder))
    assert set(outcomes["corpus"]) == {"own-voices"} and set(outcomes["region"]) == {"north", "south"}
    chosen = chapters.check("speaker-identification", {"corpus": str(folder), "group": "region"})
    before = runs.made_from("speaker-identification", chosen)
    sound(tmp_path / "ben.wav", [321], seconds=2)  # the manifests' folder stays as it was
    assert runs.changes(before, runs.made_from("speaker-identification", chosen)) == ["the corpus's files"]
