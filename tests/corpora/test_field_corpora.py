"""The field's corpora: each is loaded from a small tree in its published layout, and says what is wrong with one."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

from fairlib.corpora import CORPORA, CorpusError, load_corpus
from fairlib.corpora.published import read_table


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRLIB_CACHE", str(tmp_path / "cache"))


def sound(path: Path, seconds: float = 0.5, rate: int = 16_000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(str(path))).standard_normal(round(seconds * rate)) / 50
    soundfile.write(path, noise, rate, format=None if path.suffix.islower() else "WAV")


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_a_line_s_end_within_quotation_marks_parts_two_words(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text('who,"Which\r\naccent?"\r\na,"Scottish\n\nEnglish"\r\nb,none\r\n')
    rows = list(read_table(tmp_path / "list.csv", ("who", "Which\naccent?"), ","))
    assert [tuple(row.values()) for _, row in rows] == [("a", "Scottish\nEnglish"), ("b", "none")]
    assert [where.rsplit(" ", 1)[1] for where, _ in rows] == ["5", "6"]


def fair_speech(root: Path) -> None:
    head = "hash_name transcription age gender first_language socioeconomic_bkgd ethnicity".split()
    lines = [head, ["aa", 'hey "play', "18 - 22", "female", "English", "Low", "White"]]
    lines += [["bb", "call home", "46 - 65", "male", "Hindi", "Affluent", "Asian, South Asian or Asian American"]]
    write(root / "downloaded_file.tsv", *map("\t".join, lines))
    for name in ("aa", "bb"):
        sound(root / "asr_fairness_audio" / f"{name}.wav")


def sonos_svc(root: Path) -> None:
    for split, name, region in (("train", "u1", "Latino"), ("test", "u2", "Asian")):
        speaker = {"user_id": f"s{name}", "gender": "female", "age": 30, "age_group": "29-41", "ethnicity": None}
        speaker["dialectal_region"] = region
        about = {name: {"speaker": speaker, "transcript": {"text": "Play!", "normalized_text": "play"}}}
        write(root / "metadata" / f"{split}_metadata.json", json.dumps(about))
        sound(root / "audios" / split / f"{name}.wav")


def vctk(root: Path) -> None:
    write(
        root / "speaker-info.txt",
        "ID  AGE  GENDER  ACCENTS  REGION COMMENTS",
        "p225  23  F    English    Southern  England",
        "p315  18  M    American   (no text files)",
        "p362  29  F    American",
    )
    for name in ("p225/p225_001_mic1", "p225/p225_001_mic2", "p315/p315_001_mic1", "s5/s5_001_mic1"):
        sound(root / "wav48_silence_trimmed" / f"{name}.flac")
    write(root / "txt" / "p225" / "p225_001.txt", "Please call Stella.")


def l2arctic(root: Path) -> None:
    for speaker in ("ABA", "HJK"):
        sound(root / speaker / "wav" / "arctic_a0001.wav")
        write(root / speaker / "transcript" / "arctic_a0001.txt", "Author of the danger trail")
    sound(root / "suitcase_corpus" / "wav" / "aba.wav")


def edacc(root: Path) -> None:
    asked = "What is your gender?,How would you describe your accent in English? (e.g. Italian, Glaswegian)"
    quoted = f'PARTICIPANT_ID,What is your gender?,"{asked.split(",", 1)[1]}"'
    write(root / "linguistic_background.csv", quoted, "C1-A,Female,Glaswegian", 'C1-B,Male,"Lagos, Nigeria"')
    sound(root / "data" / "C1.wav", 3, rate=32_000)
    write(root / "dev" / "segments", "C1-1 C1 0.0 1.0", "C1-2 C1 1.5 2.25")
    write(root / "dev" / "text", "C1-1 HELLO", "C1-2 YES WELL")
    write(root / "dev" / "utt2spk", "C1-1 C1-A", "C1-2 C1-B")


def coraal(root: Path) -> None:
    name = "DCB_se1_ag1_f_01_1"
    head = "CORAAL.Spkr CORAAL.File Gender Age Age.Group CORAAL.SEC.Group".split()
    people = ["DCB_se1_ag1_f_01", name, "Female", "23", "20 to 29", "1"]
    write(root / "DCB_metadata_2018.10.06.txt", "\t".join(head), "\t".join(people))
    lines = [["1", "DCB_int_01", "0.0", "So.", "0.4"], ["2", people[0], "0.5", "Yeah, (pause 0.3) [I] was.", "1.5"]]
    lines += [["3", people[0], "1.6", "(pause 0.4)", "2.0"]]
    write(root / "DCB" / f"{name}.txt", "Line\tSpkr\tStTime\tContent\tEnTime", *map("\t".join, lines))
    sound(root / "DCB" / f"{name}.wav", 2, rate=44_100)


def voxceleb1(root: Path) -> None:
    head = ["VoxCeleb1 ID", "VGGFace1 ID", "Gender", "Nationality", "Set"]
    write(
        root / "vox1_meta.csv", "\t".join(head), "id10001\tA.J._Buckley\tm\tIreland\tdev", "id10270\tEar\tf\tUK\ttest"
    )
    sound(root / "dev" / "wav" / "id10001" / "1zcIwhmdeo4" / "00001.wav")
    sound(root / "test" / "wav" / "id10270" / "5r0dWxy17C8" / "00001.wav")


def speech_accent_archive(root: Path) -> None:
    head = "age,age_onset,birthplace,filename,native_language,sex,speakerid,country,file_missing?,,,"
    lines = ["24,12,'x',balanta,balanta,male,788,senegal,TRUE,,,", '18,10,"a, b",zulu1,zulu,famale,1,usa,FALSE,,,']
    write(root / "speakers_all.csv", head, *lines)
    write(root / "reading-passage.txt", "Please call Stella.", "Ask her.")
    sound(root / "recordings" / "recordings" / "zulu1.wav")


def crema_d(root: Path) -> None:
    write(root / "VideoDemographics.csv", "ActorID,Age,Sex,Race,Ethnicity", "1001,51,Male,Caucasian,Not Hispanic")
    sound(root / "AudioWAV" / "1001_DFA_ANG_XX.wav")


def audiomnist(root: Path) -> None:
    people = {
        "01": {"accent": "german", "age": "30", "gender": "male", "native speaker": "no", "recordingroom": "vr-romm"},
        "02": {"accent": "German", "age": 1234, "gender": "female", "native speaker": "no", "recordingroom": "Kino"},
    }
    write(root / "data" / "audioMNIST_meta.txt", json.dumps(people))
    for speaker in people:
        sound(root / "data" / speaker / f"7_{speaker}_0.wav", rate=48_000)


def timit(root: Path) -> None:
    write(
        root / "DOC" / "SPKRINFO.TXT",
        "; a comment",
        "CJF0  F   1  TRN  03/05/86  08/07/61  5'4\"   WHT  BS",
        "ABC0  M   6  TST  02/05/86  ??/??/??  5'9\"   ???  ??",
    )
    for place in ("TRAIN/DR1/FCJF0", "TEST/DR6/MABC0"):
        sound(root / place / "SA1.WAV")
        write(root / place / "SA1.TXT", "0 46797 She had your dark suit.")


def fleurs(root: Path) -> None:
    for split, sex in (("train", "FEMALE"), ("test", "MALE")):
        line = ["7", "1001.wav", "Größe, ja!", "größe ja", "g r |", "8000", sex]
        write(root / "data" / "de_de" / f"{split}.tsv", "\t".join(line))
        sound(root / "data" / "de_de" / "audio" / split / "1001.wav")


def casual_conversations(root: Path) -> None:
    label = {"age": "N/A", "gender": "Female", "skin-type": "3"}
    files = ["CasualConversationsA/0001/0001_00.MP4"] * 2
    write(root / "CasualConversations.json", json.dumps({"0001": {"files": files, "dark_files": [], "label": label}}))
    sound(root / "CasualConversationsA" / "0001" / "0001_00.wav")
    write(root / "transcripts.tsv", "file\ttext", f"{files[0]}\ti am from ohio")


def artie_bias(root: Path) -> None:
    head = "client_id path sentence up_votes down_votes age gender accent".split()
    lines = [["a1", "cv_1.mp3", "This fiscal year.", "2", "0", "fourties", "male", "NA"]]
    lines += [["b2", "cv_2.mp3", 'He said "no', "2", "1", "NA", "female", "england"]]
    write(root / "artie-bias-corpus.tsv", "\t".join(head), *map("\t".join, lines))
    for name in ("cv_1", "cv_2"):
        sound(root / "clips" / f"{name}.wav")


# What each tree is loaded as: utterance_id, speaker_id, text, split, and columns of its speakers ("" is missing).
LOADED = {
    "fair-speech": (fair_speech, ["aa aa", "bb bb"], {"text": ['hey "play', "call home"],
        "age_group": ["18 - 22", "46 - 65"],
        "sex": ["female", "male"], "socioeconomic": ["Low", "Affluent"], "first_language": ["English", "Hindi"]}),
    "sonos-svc": (sonos_svc, ["u1 su1", "u2 su2"], {"text": ["play"] * 2, "split": ["train", "test"], "age": [30, 30],
        "accent": ["LatinX", "Asian"], "ethnicity": ["", ""]}),
    "vctk": (vctk, ["p225_001 p225", "p315_001 p315", "s5_001 s5"], {"text": ["Please call Stella.", "", ""],
        "sex": ["female", "male", ""], "accent": ["English", "American", ""], "age": [23, 18, ""]}),
    "l2arctic": (l2arctic, ["ABA-arctic_a0001 ABA", "HJK-arctic_a0001 HJK"], {"sex": ["male", "female"],
        "first_language": ["Arabic", "Korean"], "text": ["Author of the danger trail"] * 2}),
    "edacc": (edacc, ["C1-1 C1-A", "C1-2 C1-B"], {"duration_s": [1.0, 0.75], "text": ["HELLO", "YES WELL"],
        "split": ["dev"] * 2, "sex": ["female", "male"], "accent": ["Glaswegian", "Lagos, Nigeria"]}),
    "coraal": (coraal, ["DCB_se1_ag1_f_01_1-2 DCB_se1_ag1_f_01"], {"text": ["Yeah, I was."], "duration_s": [1.0],
        "sex": ["female"], "age": [23], "age_group": ["20 to 29"], "socioeconomic": ["1"], "component": ["DCB"]}),
    "voxceleb1": (voxceleb1, ["id10001-1zcIwhmdeo4-00001 id10001", "id10270-5r0dWxy17C8-00001 id10270"],
        {"text": ["", ""], "sex": ["male", "female"], "nationality": ["Ireland", "UK"]}),
    "speech-accent-archive": (speech_accent_archive, ["zulu1 1"], {"text": ["Please call Stella. Ask her."],
        "sex": ["female"], "age": [18], "first_language": ["zulu"]}),
    "crema-d": (crema_d, ["1001_DFA_ANG_XX 1001"], {"text": ["Don't forget a jacket"], "sex": ["male"], "age": [51],
        "ethnicity": ["Caucasian"], "hispanic": ["Not Hispanic"]}),
    "audiomnist": (audiomnist, ["7_01_0 01", "7_02_0 02"], {"text": ["seven"] * 2, "sex": ["male", "female"],
        "age": [30, ""], "room": ["vr-room", "kino"]}),
    "timit": (timit, ["FCJF0-SA1 FCJF0", "MABC0-SA1 MABC0"], {"text": ["She had your dark suit."] * 2, "age": [24, ""],
        "split": ["train", "test"], "accent": ["New England", "New York City"], "ethnicity": ["White", ""]}),
    "fleurs": (fleurs, ["de_de-test-1001 de_de-test-1001", "de_de-train-1001 de_de-train-1001"],
        {"text": ["größe ja"] * 2, "split": ["test", "train"], "sex": ["male", "female"], "language": ["de"] * 2}),
    "casual-conversations": (casual_conversations, ["0001_00 0001"], {"text": ["i am from ohio"], "sex": ["female"],
        "age": [""], "skin_type": ["3"]}),
    "artie-bias": (artie_bias, ["cv_1 a1", "cv_2 b2"], {"text": ["This fiscal year.", 'He said "no'],
        "sex": ["male", "female"], "age_group": ["forties", ""], "accent": ["", "england"]}),
}  # fmt: skip


def quiet(name: str, root: Path, **settings):
    with warnings.catch_warnings(action="ignore"):
        return load_corpus(name, root, **settings)


@pytest.mark.parametrize("name", LOADED)
def test_a_tree_in_the_published_layout_becomes_a_table(name: str, tmp_path: Path) -> None:
    make, utterances, columns = LOADED[name]
    make(tmp_path / CORPORA[name].folder.replace("*", ""))
    table = quiet(name, tmp_path)  # the folder that holds it will do
    assert (table["utterance_id"] + " " + table["speaker_id"]).tolist() == utterances
    for column, values in columns.items():
        assert table[column].astype(object).where(table[column].notna(), "").tolist() == values, column
    assert set(CORPORA[name].groups) <= set(table.columns) and set(table["corpus"]) == {name}
    assert all(Path(path).is_file() for path in table["path"])


@pytest.mark.parametrize("name", LOADED)
def test_an_empty_folder_and_lost_audio_are_said_in_one_sentence(name: str, tmp_path: Path) -> None:
    make, utterances, _ = LOADED[name]
    root = tmp_path / CORPORA[name].folder.replace("*", "")
    root.mkdir()
    with pytest.raises(CorpusError) as caught:
        quiet(name, root)
    assert str(root) in str(caught.value) and "\n" not in str(caught.value)
    make(root)
    lost = sorted(path for path in root.rglob("*") if path.suffix.lower() in (".wav", ".flac"))[0]
    lost.write_bytes(b"")
    with pytest.raises(CorpusError, match=lost.name):
        quiet(name, root)
    if len(utterances) > 1 and not CORPORA[name].long_recordings:
        assert len(quiet(name, root, on_error="skip")) < len(utterances)


@pytest.mark.parametrize("name", LOADED)
def test_each_says_what_to_do_and_what_to_beware_of(name: str) -> None:
    about = CORPORA[name]
    assert "http" in about.on_request and "FAIRLIB_DATA" in about.on_request and not about.on_request.endswith(".")
    assert about.groups and (about.cautions or name == "sonos-svc")


def test_who_cannot_be_told_apart_and_ages_that_cannot_be_are_warned_of(tmp_path: Path) -> None:
    fair_speech(tmp_path / "fair-speech")
    audiomnist(tmp_path / "AudioMNIST")
    with pytest.warns(UserWarning, match="no speaker ids.*intervals are too narrow"):
        load_corpus("fair-speech", tmp_path)
    with pytest.warns(UserWarning, match=r"taken as not recorded: '1234' \(1 utterances\)"):
        load_corpus("audiomnist", tmp_path)


def test_a_segment_beyond_its_recording_is_refused_and_others_are_cut_once(tmp_path: Path, monkeypatch) -> None:
    root = tmp_path / "edacc_v1.0"
    edacc(root)
    first = quiet("edacc", root)
    monkeypatch.setattr("fairlib.corpora.segments.read_audio", None)  # read no second time
    assert quiet("edacc", root)["path"].tolist() == first["path"].tolist()
    monkeypatch.undo()
    monkeypatch.setenv("FAIRLIB_CACHE", str(tmp_path / "other"))
    for wrong, words in (
        ("C1-1 C1 0.0 9.0", "ends at 9.00 s, but .* lasts 3.00 s"),
        ("C1-1 C1 2 1", "goes from 2 s to 1"),
    ):
        write(root / "dev" / "segments", wrong, "C1-2 C1 1.5 2.25")
        with pytest.raises(CorpusError, match=words):
            quiet("edacc", root)
        assert quiet("edacc", root, on_error="skip")["utterance_id"].tolist() == ["C1-2"]


@pytest.mark.parametrize(
    ("name", "make", "file", "line"),
    [
        ("edacc", edacc, "edacc_v1.0/dev/segments", "C1-1 C1 zero 1.0"),
        ("edacc", edacc, "edacc_v1.0/dev/segments", "C1-1 C1"),
        ("vctk", vctk, "VCTK-Corpus/speaker-info.txt", "ID  AGE\np225  23"),
    ],
)
def test_a_malformed_line_is_said_in_words(name: str, make, file: str, line: str, tmp_path: Path) -> None:
    make(tmp_path / file.split("/")[0])
    write(tmp_path / file, line)
    with pytest.raises(CorpusError, match="a list is not as its publisher has it"):
        quiet(name, tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[]", "is not a JSON object of objects"),
        ('{"u1": "Anna"}', "is not a JSON object of objects"),
        ('{"u1": {"speaker": "Anna"}}', "a list is not as its publisher has it"),
        ("{", "is no JSON"),
    ],
)
def test_json_of_another_form_is_said_in_a_sentence(tmp_path, content, words):
    sonos_svc(tmp_path)
    write(tmp_path / "metadata" / "train_metadata.json", content)
    with pytest.raises(CorpusError, match=words):
        load_corpus("sonos-svc", root=tmp_path)
