"""A preregistered test from its file to its report, with pocket encoders and tiny ones in the checkpoints' place."""

import hashlib
import json
import re

import jsonschema
import numpy as np
import pandas as pd
import pytest
import soundfile
from tiny import save_tiny

from fairlib.book import prediction, registration
from fairlib.book.export import SCHEMA
from fairlib.book.preregistered import run_registered
from fairlib.book.preregistered_report import write_report
from fairlib.book.registration import REGISTERED, RegistrationError, changed_since, read_registration
from fairlib.book.studies import call, load_study, study_file
from fairlib.cli import main
from fairlib.encoders import EncoderError
from fairlib.findings.jointly import JOINT_RULE
from fairlib.findings.rules import NUMBERS
from fairlib.probes import ctc

AS_REGISTERED = "35c323a2a46a06125d6feba7fdb199f947e62d68e6955c012e329c2fda22db60"

STATEMENT = """
[[{kind}]]
claim = "{claim}"
states = "A statement by {rule} about {task} on {on}."
rule = "{rule}"
on = "{on}"
task = "{task}"
corpus = "{corpus}"
by = "{by}"
contrast = "{contrast}"
"""


def registered(pairs, statements, corpus="speechocean762", by="age_group", contrast="child vs adult") -> str:
    """The shipped file with other pairs and statements; statements are (kind, claim, rule, on, task)."""
    text = REGISTERED.read_text()
    head, rest = text[: text.index("[[pairs]]")], text[text.index("[probes.sid]") :]
    probes, rest = rest[: rest.index("[[tests]]")], rest[rest.index("[joint]") :]
    of_pairs = "".join(
        f'[[pairs]]\npretrained = "{before}"\nfinetuned = "{after}"\nlayers = {layers}\n\n'
        for before, after, layers in pairs
    )
    names = ("kind", "claim", "rule", "on", "task")
    said = "".join(
        STATEMENT.format(**dict(zip(names, one)), corpus=corpus, by=by, contrast=contrast) for one in statements
    )
    return head + of_pairs + probes + said + rest


POCKETS = [
    ("pocket-hubert", "pocket-hubert-asr-librispeech", 7),
    ("pocket-wavlm", "pocket-wavlm-asr-librispeech", 7),
    ("lab/gated", "lab/gated-asr", 13),
]
TWO = [("tests", "C1", "begins", "pretrained", "sid"), ("tests", "C3", "pattern", "finetuned", "asr")]


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRLIB_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("FAIRLIB_DATA", raising=False)  # published outcomes answer
    path = tmp_path / "registered.toml"
    path.write_text(registered(POCKETS, TWO))
    return path


def published_only(row):
    """Calls of pocket encoders; the hub refuses one checkpoint, and one fine-tuned encoder needs too much memory."""
    if "gated" in row["encoder"]:
        raise EncoderError("lab/gated cannot be fetched from the model hub (403 Forbidden)")
    if row["encoder"] == "pocket-wavlm-asr-librispeech":
        raise MemoryError("no room")
    return call(row)


def test_the_shipped_file_is_as_it_was_registered():
    """Whoever changes it makes another preregistration. A rule may change: then its sentence is expected here."""
    assert hashlib.sha256(REGISTERED.read_bytes()).hexdigest() == AS_REGISTERED
    about = read_registration()
    assert changed_since(about) == [] and {name: NUMBERS[name] for name in about.numbers} == about.numbers
    study = load_study(study_file("full-size"))[0]
    groups = {tuple(names) for group, names in study.encoders.items() if group in study.shapes}
    assert {(pair.pretrained, pair.finetuned) for pair in about.pairs} == groups
    for pair in about.pairs:
        assert pair.layers == study.shape_of()[pair.pretrained].get("num_hidden_layers", 12) + 1


def test_a_report_counts_excludes_and_goes_on(file, tmp_path, capsys):
    result = run_registered(file, compute=published_only)
    begins, pattern = result.confirmatory
    assert [one.verdict for one in begins.each] == ["supported", "supported", "not judged"]
    assert begins.finding.verdict == "supported"  # two of three, .001 × 3 and × 2
    assert begins.each[0].holm == pytest.approx(3 * min(one.p for one in begins.each))
    assert [one.verdict for one in pattern.each][1:] == ["not judged", "not judged"]
    assert result.excluded["lab/gated"] == (
        "cannot be fetched or loaded: lab/gated cannot be fetched from the model hub (403 Forbidden)"
    )
    assert result.failures == {"pocket-wavlm-asr-librispeech": "could not be computed: MemoryError: no room"}

    page = write_report(result, tmp_path / "report", "fairlib preregistered", 0.0).read_text()
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert digest in page and "Registered on 29 November 2026" in page and "Interim" not in page
    assert "**Supported.** 2 of 3 encoders count for the claim (pocket-hubert and pocket-wavlm)" in page
    assert re.search(r"\| pocket-hubert \| 11.% \| cnn: \+0\.\d\d \[\+0\.", page)
    assert "lab/gated cannot be fetched or loaded" in page and "(foreseen: excluded)" in page
    assert "pocket-wavlm-asr-librispeech could not be computed: MemoryError: no room (not foreseen)." in page
    assert "- **C1: supported**" in page and "- **C3: inconclusive**" in page
    assert JOINT_RULE.format(level=0.05, planned=3) in page

    said = json.loads((tmp_path / "report/findings.json").read_text())
    jsonschema.validate(said, json.loads(SCHEMA.read_text()))
    assert [one["about"] for one in said["findings"]][0].endswith("over all encoders")
    assert said["provenance"]["made_from"]["preregistration"] == digest
    table = pd.read_csv(tmp_path / "report/verdicts.csv")
    assert len(table) == 6 and table["verdict"].tolist()[:3] == ["supported", "supported", "not judged"]
    assert (tmp_path / "report/preregistration.toml").read_bytes() == file.read_bytes()


def test_a_rule_a_number_or_a_probe_that_changed_since_is_said(file, tmp_path, monkeypatch):
    nothing_computed = {"compute": lambda row: (_ for _ in ()).throw(EncoderError("not here"))}
    write_report(run_registered(file, **nothing_computed), tmp_path / "report", "again", 0.0)
    rules = registration.RULES.read_text().replace("if both of the first layers", "if one of the first layers")
    (tmp_path / "rules.toml").write_text(rules)
    monkeypatch.setattr(registration, "RULES", tmp_path / "rules.toml")
    monkeypatch.setitem(NUMBERS, "margin", 0.3)
    monkeypatch.setattr(registration.CharacterProbe, "settings", lambda self: {"passes": 7})
    file.write_text(file.read_text().replace("level = 0.05", "level = 0.1"))
    page = write_report(run_registered(file, **nothing_computed), tmp_path / "report", "again", 0.0).read_text()
    assert "The rule “begins” is not the one of 2026-11-26 that was registered (digest 221c7f42" in page
    assert "The number “margin” was registered as 0.2 and is now 0.3." in page
    assert "The probe of speech recognition is not the one registered" in page
    assert "The preregistration itself was changed after the first report was written into this folder" in page
    assert "the rule “pattern”" not in page.lower()
    assert "level = 0.05" in (tmp_path / "report/begun-preregistration.toml").read_text()
    said = json.loads((tmp_path / "report/findings.json").read_text())
    assert len([name for name in said["provenance"]["made_from"] if name.startswith("deviation")]) == 4


def test_one_pair_alone_is_an_interim_report(file, tmp_path, capsys):
    file.write_text(registered(POCKETS, TWO[:1]))
    assert main(["preregistered", str(file), "--encoder", "pocket-hubert", "--output", str(tmp_path / "r")]) == 0
    page = (tmp_path / "r/report.md").read_text()
    assert "**Interim: 1 of 3 pairs of encoders were run.**" in page
    assert "| pocket-wavlm |  |  | not judged: not run yet |  |" in page
    assert "C1: inconclusive" in capsys.readouterr().out  # one of three
    assert main(["preregistered", str(file), "--encoder", "wav2vec9"]) == 2
    assert "the preregistration has no encoder 'wav2vec9': pocket-hubert" in capsys.readouterr().err


def test_an_encoder_of_another_shape_is_excluded(file):
    file.write_text(registered([("pocket-hubert", "pocket-hubert-asr-librispeech", 13)], TWO[:1]))
    result = run_registered(file)
    assert result.excluded["pocket-hubert"] == "has 7 layers, not the 13 registered"
    assert result.confirmatory[0].each[0].excluded == "has 7 layers, not the 13 registered" and not result.failures


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('rule = "begins"', 'rule = "begin"', r"wrong at tests\.0\.rule"),
        ("layers = 7", "layers = 1", r"wrong at pairs\.0\.layers"),
        ("[rules.begins]", "[rules.began]", r"a test asks for the rule begins, of which \[rules\] says nothing"),
        ('on = "pretrained"', "on = 3", r"wrong at tests\.0\.on"),
        ("[joint]", "[joint", "cannot be read"),
    ],
)
def test_a_wrong_file_gets_one_sentence(file, old, new, sentence):
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(RegistrationError, match=sentence):
        read_registration(file)


def test_a_dry_run_says_what_it_takes_on_a_gpu_that_is_not_here(monkeypatch, capsys):
    monkeypatch.delenv("FAIRLIB_DATA", raising=False)
    monkeypatch.setattr(prediction, "measured_speed", lambda *_, **__: 1e12)
    assert main(["preregistered", "--dry-run", "--tflops", "100"]) == 0
    fast = capsys.readouterr().out
    assert "facebook/wav2vec2-large " in fast and "on a GPU of 100 TFLOPS" in fast and "Not as" not in fast
    assert main(["preregistered", "--dry-run", "--encoder", "microsoft/wavlm-large"]) == 0
    one = capsys.readouterr().out
    assert "random:microsoft/wavlm-large" in one and "wav2vec2" not in one and "logmel" in one
    assert main(["preregistered", "--tflops", "100"]) == 2


@pytest.mark.slow
def test_tiny_encoders_go_from_audio_to_the_report_and_a_stopped_test_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FAIRLIB_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("FAIRLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ctc, "LEAST_STEPS", 4)
    for seed, name in enumerate(("before", "after")):
        save_tiny(tmp_path / name, layers=4, seed=seed)
    rng, rows = np.random.default_rng(0), []
    for speaker in range(8):
        for take in range(4):
            path = tmp_path / f"{speaker}{take}.wav"
            soundfile.write(path, 0.1 * rng.standard_normal(14000), 16000)
            group, split = ("a", "b")[speaker % 2], ("train", "test")[speaker // 4]
            rows.append((str(path), f"s{speaker}", "GOOD DAY", group, split))
    columns = ["path", "speaker_id", "text", "group", "split"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "voices.csv", index=False)
    file = tmp_path / "registered.toml"
    tuned, whose = ("tests", "C3", "tuned", "finetuned", "sid"), ("exploratory", "C1", "whose", "pretrained", "sid")
    pairs = [(str(tmp_path / "before"), str(tmp_path / "after"), 5), (str(tmp_path / "no"), str(tmp_path / "such"), 5)]
    file.write_text(registered(pairs, [*TWO, tuned, whose], str(tmp_path / "voices.csv"), "group", "a vs b"))

    assert main(["preregistered", str(file), "--output", str(tmp_path / "report")]) == 0
    page = (tmp_path / "report/report.md").read_text()
    assert f"{tmp_path}/no cannot be fetched or loaded: There is no encoder" in page
    assert "### C3:" in page and "## Exploratory" in page and "| before |" in page
    entries = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").glob("*.parquet")}
    assert len(entries) == 4 * (5 + 1)  # three encoders and log-mel, five seeds of speakers and one of characters

    for path in list(entries)[:2]:  # as after a stop
        path.unlink()
    assert main(["preregistered", str(file), "--output", str(tmp_path / "report")]) == 0
    again = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").glob("*.parquet")}
    assert set(again) == set(entries) and sum(again[path] != entries[path] for path in entries) == 2
    now = (tmp_path / "report/report.md").read_text()
    assert now.partition("## What was run")[0] == page.partition("## What was run")[0]
