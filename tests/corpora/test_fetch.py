"""Fetching corpora, from a server on this machine that breaks off, changes its mind, or means harm."""

import hashlib
import io
import subprocess
import sys
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile

from fairlib import cli
from fairlib.corpora import CORPORA, load_corpus
from fairlib.corpora import download as fetching
from fairlib.corpora.corpus import Archive
from fairlib.corpora.download import FetchError, FetchRequestError, fetch


class Server:
    """Serves files by path, with Range; `breaks` says after how many bytes each connection ends."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.breaks: list[int | None] = []
        self.asked: list[tuple[str, str | None]] = []
        self.ranges = True
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def answer(self, handler) -> None:
        wanted = handler.headers.get("Range")
        self.asked.append((handler.path, wanted))
        content = self.files.get(handler.path)
        if content is None:
            handler.send_error(404)
            return
        tag = f'"{hashlib.md5(content).hexdigest()}"'
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.ranges else 0
        if handler.headers.get("If-Range", tag) != tag:
            start = 0
        if start >= len(content):
            handler.send_error(416)
            return
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        handler.send_header("Content-Length", str(len(content) - start))
        handler.send_header("ETag", tag)
        handler.end_headers()
        limit = self.breaks.pop(0) if self.breaks else None
        handler.wfile.write(content[start:] if limit is None else content[start : start + limit])


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(fetching, "_WAIT_S", 0.0)
    one = Server()
    yield one
    one.http.shutdown()


def packed(files: dict[str, bytes], *members: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in members:
            archive.addfile(member)
    return buffer.getvalue()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def librispeech(part: str, speaker: str, sex: str) -> dict[str, bytes]:
    sound = io.BytesIO()
    soundfile.write(sound, np.random.default_rng(int(speaker)).normal(scale=0.1, size=160_000), 16_000, format="FLAC")
    folder = f"LibriSpeech/{part}/{speaker}/1"
    return {
        "LibriSpeech/SPEAKERS.TXT": f"{speaker} | {sex} | {part} | 1 | somebody\n".encode(),
        f"{folder}/{speaker}-1-0000.flac": sound.getvalue(),
        f"{folder}/{speaker}-1.trans.txt": f"{speaker}-1-0000 HELLO\n".encode(),
    }


def publish(server: Server, monkeypatch, part: str, content: bytes, checksum: str | None = None) -> None:
    if checksum is None:
        checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
    server.files[f"/12/{part}.tar.gz"] = content
    monkeypatch.setitem(CORPORA["librispeech"].archives, part, Archive(f"12/{part}.tar.gz", checksum, 1))


def everything_under(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_corpus_is_fetched_and_can_be_loaded(server, tmp_path, monkeypatch):
    publish(server, monkeypatch, "dev-clean", packed(librispeech("dev-clean", "14", "F")))
    [folder] = fetch("librispeech", ["dev-clean"], tmp_path, server.address)
    assert folder == tmp_path / "LibriSpeech" / "dev-clean"
    corpus = load_corpus("librispeech", tmp_path)
    assert corpus["sex"].tolist() == ["female"] and corpus["text"].tolist() == ["HELLO"]
    assert not (tmp_path / ".fetch").exists()
    assert fetch("librispeech", ["dev-clean"], tmp_path, server.address) == [folder] and len(server.asked) == 1


def test_parts_share_a_folder_and_the_longer_list_of_speakers_stays(server, tmp_path, monkeypatch):
    long = librispeech("dev-clean", "14", "F")
    long["LibriSpeech/SPEAKERS.TXT"] += librispeech("test-clean", "17", "M")["LibriSpeech/SPEAKERS.TXT"]
    publish(server, monkeypatch, "dev-clean", packed(long))
    publish(server, monkeypatch, "test-clean", packed(librispeech("test-clean", "17", "M")))
    fetch("librispeech", ["dev-clean", "test-clean"], tmp_path, server.address)
    assert load_corpus("librispeech", tmp_path)["sex"].tolist() == ["female", "male"]


def test_a_download_that_breaks_off_goes_on_where_it_was(server, tmp_path, monkeypatch):
    content = packed(librispeech("dev-clean", "14", "F"))
    publish(server, monkeypatch, "dev-clean", content)
    server.breaks = [10_000, 20_000]
    fetch("librispeech", ["dev-clean"], tmp_path, server.address)
    assert [wanted for _, wanted in server.asked] == [None, "bytes=10000-", "bytes=30000-"]
    assert len(load_corpus("librispeech", tmp_path)) == 1


def test_a_command_that_was_stopped_goes_on_with_the_next(server, tmp_path, monkeypatch):
    publish(server, monkeypatch, "dev-clean", packed(librispeech("dev-clean", "14", "F")))
    server.breaks = [5_000] * fetching.TRIES
    with pytest.raises(FetchError, match=r"cannot be fetched .*kept, and the same command goes on from there"):
        fetch("librispeech", ["dev-clean"], tmp_path, server.address)
    assert not (tmp_path / "LibriSpeech").exists()
    server.asked.clear()
    fetch("librispeech", ["dev-clean"], tmp_path, server.address)
    assert [wanted for _, wanted in server.asked] == [f"bytes={5_000 * fetching.TRIES}-"]


def test_a_part_that_another_process_fetches_is_left_to_it_until_that_one_ends(server, tmp_path, monkeypatch):
    publish(server, monkeypatch, "dev-clean", packed(librispeech("dev-clean", "14", "F")))
    wait = "import sys; from fairlib.corpora import download; from fairlib.corpora.download import fetch\n"
    wait += "download._download = lambda *_: (print('in', flush=True), sys.stdin.read())\n"
    wait += "fetch('librispeech', ['dev-clean'], sys.argv[1])"
    with subprocess.Popen(
        [sys.executable, "-c", wait, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "in\n"
        with pytest.raises(FetchError, match="another process is fetching dev-clean"):
            fetch("librispeech", ["dev-clean"], tmp_path, server.address)
        assert not server.asked
        other.kill()  # a lock is not left behind by one that dies
    fetch("librispeech", ["dev-clean"], tmp_path, server.address)
    assert not (tmp_path / ".fetch").exists()


@pytest.mark.parametrize("how", ["another file since", "no ranges"])
def test_a_server_that_does_not_go_on_begins_anew(server, tmp_path, monkeypatch, how):
    publish(server, monkeypatch, "dev-clean", packed({"LibriSpeech/other": bytes(range(256)) * 200}))
    server.breaks = [100] * fetching.TRIES
    with pytest.raises(FetchError):
        fetch("librispeech", ["dev-clean"], tmp_path, server.address)
    publish(server, monkeypatch, "dev-clean", packed(librispeech("dev-clean", "14", "F")))
    server.ranges = how != "no ranges"
    fetch("librispeech", ["dev-clean"], tmp_path, server.address)
    assert len(load_corpus("librispeech", tmp_path)) == 1


def test_a_wrong_checksum_is_thrown_away(server, tmp_path, monkeypatch):
    publish(server, monkeypatch, "dev-clean", packed(librispeech("dev-clean", "14", "F")), "md5:" + "0" * 32)
    with pytest.raises(FetchError, match="not the publisher's file: its md5 is .*, not 0000"):
        fetch("librispeech", ["dev-clean"], tmp_path, server.address)
    assert not [name for name in everything_under(tmp_path) if not name.endswith(".version")]


@pytest.mark.parametrize(
    "harm",
    [
        packed({"../outside": b"x"}),
        packed({"LibriSpeech/../../outside": b"x"}),
        packed({"/tmp/fairlib-outside": b"x"}),
        packed({"OtherCorpus/file": b"x"}),
        packed({}, link("LibriSpeech/dev-clean", "/etc")),
        packed({}, link("LibriSpeech/a", "../../outside", tarfile.LNKTYPE)),
        packed({}, link("LibriSpeech/pipe", "", tarfile.FIFOTYPE)),
    ],
    ids=["dots", "dots within", "absolute", "other folder", "link", "hard link", "pipe"],
)
def test_an_archive_that_reaches_outside_is_refused_as_a_whole(server, tmp_path, monkeypatch, harm):
    data = tmp_path / "data"
    publish(server, monkeypatch, "dev-clean", harm)
    with pytest.raises(FetchError, match="nothing of it was kept"):
        fetch("librispeech", ["dev-clean"], data, server.address)
    assert not [name for name in everything_under(tmp_path) if not name.endswith(".version")]
    assert not (data / "LibriSpeech").exists() and not Path("/tmp/fairlib-outside").exists()


def test_a_damaged_or_other_archive_is_told(server, tmp_path, monkeypatch):
    whole = packed(librispeech("dev-clean", "14", "F"))
    # Cut short; with another checksum than gzip's own, behind the last file; a page of a network that wants a login.
    for content in (whole[:-40_000], whole[:-8] + bytes(4) + whole[-4:], b"<html>Welcome</html>"):
        publish(server, monkeypatch, "dev-clean", content, "")
        with pytest.raises(FetchError, match="is damaged [(][^\\n]*[)]; it was thrown away"):
            fetch("librispeech", ["dev-clean"], tmp_path, server.address)
    publish(server, monkeypatch, "dev-clean", packed(librispeech("test-clean", "17", "M")))
    with pytest.raises(FetchError, match="does not hold LibriSpeech/dev-clean"):
        fetch("librispeech", ["dev-clean"], tmp_path, server.address)
    assert not (tmp_path / "LibriSpeech").exists()
    publish(server, monkeypatch, "dev-clean", whole)  # the publisher sets it right, and the next try fetches that
    assert fetch("librispeech", ["dev-clean"], tmp_path, server.address) == [tmp_path / "LibriSpeech" / "dev-clean"]


def test_what_cannot_be_fetched_is_said_before_anything_is_asked(server, tmp_path, monkeypatch):
    monkeypatch.delenv("FAIRLIB_DATA", raising=False)
    for arguments, words in (
        (("libri",), "no corpus 'libri' to fetch: there are speechocean762, librispeech"),
        (("librispeech", ["dev"]), "no part 'dev': it has train-clean-5"),
        (("librispeech",), "FAIRLIB_DATA is not set: set it to the folder"),
        (("commonvoice",), "mozilladatacollective.com.*cv-corpus-VERSION/LANGUAGE"),
        (("fair-speech",), "ai.meta.com.*FAIRLIB_DATA as fair-speech"),
        (("sonos-svc",), "github.com/sonos.*FAIRLIB_DATA as sonos-svc"),
    ):
        with pytest.raises(FetchRequestError, match=words):
            fetch(*arguments)
    monkeypatch.setitem(CORPORA["librispeech"].archives, "dev-clean", Archive("x", "", 10**9))
    with pytest.raises(FetchRequestError, match="dev-clean needs 2500000.0 GB"):
        fetch("librispeech", ["dev-clean"], tmp_path, server.address)
    assert not server.asked


def test_a_publisher_that_does_not_have_it_is_told_at_once(server, tmp_path):
    with pytest.raises(FetchError, match="answers 404.*try a mirror"):
        fetch("speechocean762", (), tmp_path, server.address)
    assert len(server.asked) == 1


def test_the_command_fetches_and_then_lists(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FAIRLIB_DATA", str(tmp_path))
    publish(server, monkeypatch, "train-clean-5", packed(librispeech("train-clean-5", "14", "F")))
    assert cli.main(["corpora"]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert "would allow groups by age_group, sex" in lines["speechocean762"]
    assert "fairlib corpora fetch librispeech (1 MB)" in lines["librispeech"]
    assert "ai.meta.com" in lines["fair-speech"] and "mozilladatacollective" in lines["commonvoice"]
    assert cli.main(["corpora", "fetch", "librispeech", "--source", server.address]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "LibriSpeech" / "train-clean-5")
    assert cli.main(["corpora"]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["librispeech"] == "1 speakers, 1 utterances, 0.0 h; groups by nothing recorded"
    assert cli.main(["corpora", "fetch", "libri"]) == 2
    assert cli.main(["corpora", "fetch", "speechocean762", "--source", server.address]) == 1
    assert capsys.readouterr().err.count("\n") == 2
