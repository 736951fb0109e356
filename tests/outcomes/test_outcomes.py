"""The outcome store: strict keys, whole files, damage noticed."""

import numpy as np
import pandas as pd
import pytest

from fairlib import outcomes as store
from fairlib.outcomes import (
    check_outcomes,
    copy_entry,
    entry_name,
    publish_entries,
    published_names,
    published_outcomes,
    read_outcomes,
    read_published,
    write_outcomes,
)
from fairlib.outcomes.shipped import LONGEST

KEY = {
    "task": "sid", "probe": "linear", "encoder": "random:pocket-hubert", "encoder_fingerprint": "aa", "corpus": "c",
    "corpus_fingerprint": "bb", "extra": [], "extra_fingerprints": [], "settings": {"steps": 5}, "method": 1, "seed": 0,
}  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRLIB_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(store, "PUBLISHED", tmp_path / "published")
    return tmp_path / "store"


@pytest.fixture
def table():
    rows = pd.DataFrame({"utterance_id": ["u1", "u2"], "speaker_id": ["s1", "s2"], "errors": [0, 1], "length": [1, 1]})
    rows = rows.assign(
        encoder="random:pocket-hubert", layer="1", task="sid", unit="speaker", probe="linear", seed=0, corpus="c",
        substitutions=0, deletions=0, insertions=0, predicted=["s1", "s1"], duration_s=1.5, sex=["female", None],
    )  # fmt: skip
    return rows[[*store.COLUMNS, "sex"]]


def test_what_is_written_is_read(table):
    write_outcomes(table, KEY, {"device": "cpu"})
    entry = read_outcomes(KEY)
    pd.testing.assert_frame_equal(entry.outcomes, table, check_dtype=False)
    assert (entry.key, entry.about) == (KEY, {"device": "cpu"})


@pytest.mark.parametrize("field", list(KEY))
def test_a_key_that_differs_anywhere_finds_nothing(table, field):
    write_outcomes(table, KEY, {})
    value = KEY[field]
    if isinstance(value, dict):
        other = {**value, "more": 1}
    else:
        other = value + (1 if isinstance(value, int) else type(value)("x"))
    assert read_outcomes({**KEY, field: other}) is None


def test_damage_is_noticed(table, folder):
    path = write_outcomes(table, KEY, {})
    whole = path.read_bytes()
    for position in np.linspace(4, len(whole) - 12, 25).astype(int):
        broken = bytearray(whole)
        broken[position] ^= 0xFF
        path.write_bytes(bytes(broken))
        with pytest.warns(UserWarning, match=r"(?s)is damaged .* computed again") if _unreadable(path) else _nothing():
            entry = read_outcomes(KEY)
        # Where the flipped byte changed nothing that is read, the table must be what it was.
        if entry is not None:
            pd.testing.assert_frame_equal(entry.outcomes, table, check_dtype=False)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.warns(UserWarning, match="is damaged"):
        assert read_outcomes(KEY) is None


def _unreadable(path) -> bool:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return store._read(path) is None


def _nothing():
    from contextlib import nullcontext

    return nullcontext()


def test_no_half_written_entry_is_left(table, folder, monkeypatch):
    def stopped(*_args, **_settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(store.pyarrow.parquet, "write_table", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_outcomes(table, KEY, {})
    assert list(folder.glob("*.parquet")) == []


def test_published_outcomes_are_found_without_the_corpus(table):
    publish_entries([write_outcomes(table, KEY, {}).name])
    without = {name: value for name, value in KEY.items() if name not in ("corpus_fingerprint", "extra_fingerprints")}
    assert read_published(without) is not None
    assert read_published({**without, "settings": {"steps": 6}}) is None
    assert read_published({**without, "encoder_fingerprint": "other weights"}) is None


def test_published_outcomes_of_the_same_weights_are_found_by_another_name(table):
    """Encoders of one shape share their untrained twin, which is published once."""
    twin = {**KEY, "encoder": "random:one", "encoder_fingerprint": "shared"}
    publish_entries([write_outcomes(table.assign(encoder="random:one"), twin, {}).name])
    asked = {**twin, "encoder": "random:other"}
    about = ("random:other", KEY["corpus"], KEY["task"], KEY["seed"], None)
    assert store.anything_published(*about, "shared")
    assert not store.anything_published(*about) and not store.anything_published(*about, "else")
    longer = {**twin, "corpus": f"{KEY['corpus']}-more", "seed": 9}
    publish_entries([write_outcomes(table.assign(corpus=longer["corpus"]), longer, {}).name])
    assert store.anything_published("random:other", longer["corpus"], KEY["task"], 9, None, "shared")
    assert not store.anything_published("random:other", KEY["corpus"], KEY["task"], 9, None, "shared")
    entry = read_outcomes(asked)
    assert set(entry.outcomes["encoder"]) == {"random:other"} and entry.outcomes["errors"].equals(table["errors"])
    assert entry.key == twin and list(store.together([entry])["entry"].unique()) == [entry_name(twin)]
    assert read_published({name: asked[name] for name in asked if name not in store._FINGERPRINTS}).key == twin
    assert read_outcomes({**asked, "encoder_fingerprint": "else"}) is None


def test_published_outcomes_do_not_answer_for_a_name_that_is_spelt_alike(table):
    publish_entries([write_outcomes(table, KEY, {}).name])
    about = (KEY["corpus"], KEY["task"], KEY["seed"])
    assert store.anything_published(KEY["encoder"], *about)
    assert not store.anything_published("random/pocket-hubert", *about)
    assert store.anything_published("random/pocket-hubert", *about, None, KEY["encoder_fingerprint"])
    assert read_outcomes({**KEY, "encoder": "random/pocket-hubert"}).key == KEY


def test_what_is_published_anew_takes_the_place_of_what_answered_before(table):
    other_probe, other_seed = {**KEY, "probe": "hidden"}, {**KEY, "seed": 1}
    publish_entries(write_outcomes(table, key, {}).name for key in (KEY, other_probe, other_seed))
    again = {**KEY, "settings": {"steps": 6}, "corpus_fingerprint": "cc"}
    publish_entries([write_outcomes(table, again, {}).name])
    assert published_names() == sorted(entry_name(key) for key in (again, other_probe, other_seed))


def test_what_is_published_is_what_was_stored(table, folder, tmp_path):
    """All seeds and probes of one encoder and corpus share a file; each comes out as it went in."""
    keys = [{**KEY, "probe": probe, "seed": seed} for probe in ("linear", "hidden") for seed in (0, 1)]
    tables = [
        table.assign(errors=[number, 1], **({} if number else {"age": [30.0, None]})) for number in range(len(keys))
    ]
    publish_entries(write_outcomes(rows, key, {"left_out": [key["probe"]]}).name for rows, key in zip(tables, keys))
    for path in folder.iterdir():
        path.unlink()
    assert len(list((tmp_path / "published").iterdir())) == 1
    for rows, key in zip(tables, keys):
        entry = read_outcomes(key)
        pd.testing.assert_frame_equal(entry.outcomes[rows.columns], rows, check_dtype=False)
        assert (entry.key, entry.about) == (key, {"left_out": [key["probe"]]})
        copy_entry(entry_name(key), tmp_path / "run")
        copied = pd.read_parquet(tmp_path / "run" / entry_name(key))
        pd.testing.assert_frame_equal(copied[rows.columns], rows, check_dtype=False)
    assert published_outcomes(KEY["encoder"], "c", "sid", "hidden")["errors"].tolist() == [2, 1, 3, 1]
    (file,) = (tmp_path / "published").iterdir()
    assert set(pd.read_parquet(file)["key"]) == {store.canonical(key) for key in keys}


def test_a_damaged_file_of_published_outcomes_is_said(table, folder, tmp_path):
    publish_entries([write_outcomes(table, KEY, {}).name])
    for path in folder.iterdir():
        path.unlink()
    path = next((tmp_path / "published").iterdir())
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.warns(UserWarning, match="is damaged"):
        assert read_outcomes(KEY) is None
    # What stands in it must not be lost by publishing something beside it.
    spoilt = bytearray(whole)
    spoilt[40] ^= 0xFF
    for content in (whole[:-20], bytes(spoilt)):
        path.write_bytes(content)
        with pytest.warns(UserWarning, match="is damaged"), pytest.raises(ValueError, match="restore it"):
            publish_entries([write_outcomes(table, {**KEY, "seed": 1}, {}).name])
        assert path.read_bytes() == content


def test_a_table_that_is_not_outcomes_is_refused(table):
    with pytest.raises(ValueError, match="missing: length"):
        check_outcomes(table.drop(columns="length"))
    with pytest.raises(ValueError, match="u2 has -1 errors"):
        check_outcomes(table.assign(errors=[0, -1]))
    with pytest.raises(ValueError, match="u1 has 0 errors in 0 units"):
        check_outcomes(table.assign(length=[0, 1]))
    with pytest.raises(ValueError, match="u2 has nan errors"):
        check_outcomes(table.assign(errors=[0, np.nan]))
    with pytest.raises(ValueError, match="in nan units"):
        check_outcomes(table.assign(length=[np.nan, 1]))


def test_entry_names_are_safe_file_names():
    name = entry_name({**KEY, "encoder": "../some folder/Model_1"})
    assert "/" not in name and " " not in name and not name.startswith(".")


def test_a_long_path_of_an_encoder_is_cut_and_still_tells_entries_apart(table):
    keys = [{**KEY, "encoder": f"/{'a folder/' * 30}{name}"} for name in ("one", "other")]
    for errors, key in enumerate(keys):
        write_outcomes(table.assign(errors=errors), key, {})
    assert [read_outcomes(key).outcomes["errors"].sum() for key in keys] == [0, 2]  # and nothing is said to be damaged
    publish_entries([entry_name(key) for key in keys])
    assert [read_outcomes(key).outcomes["errors"].sum() for key in keys] == [0, 2]
    longest = {**KEY, "encoder": "e" * (LONGEST - len("sid--c-seed0"))}
    assert entry_name(longest).startswith(f"sid-{longest['encoder']}-c-seed0-")
