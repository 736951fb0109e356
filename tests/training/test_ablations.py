"""Ablations change what they say, and nothing else."""

import pandas as pd
import pytest

from bench import ablations
from bench.ablations import ABLATIONS, changed
from fairlib.findings.layers import ablations_table
from fairlib.training.recipe import read_recipe


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_is_a_recipe_that_changes_what_it_names(name):
    recipes = changed(ABLATIONS[name]), read_recipe("pocket-hubert")
    mine, shipped = (recipe.model_dump(exclude_none=True) for recipe in recipes)
    named = {change.split(".")[0] for change in ABLATIONS[name]} | {"schedule"}
    assert {part for part in mine | shipped if mine.get(part) != shipped.get(part)} <= named
    assert len(set(map(str, map(changed, ABLATIONS.values())))) == len(ABLATIONS)


@pytest.mark.parametrize("name", ["mini-hubert", "mini-wavlm", "mini-hubert-learners"])
def test_a_shipped_encoder_among_them_has_the_same_recipe(name):
    (changes,) = (changes for told, changes in ABLATIONS.items() if told.endswith(f"({name})"))
    assert changed(changes).model_copy(update={"name": name}) == read_recipe(name)


def test_what_is_published_can_be_trained_again():
    published = [told.partition("\n")[0] for told in ablations_table()["training"]]
    assert published == list(ABLATIONS)
    hours = ablations_table()["training"].str.extract(r"(\d+) hours")[0].astype(float)
    for name, heard in zip(published, hours, strict=True):
        recipe = changed(ABLATIONS[name])
        assert recipe.schedule.steps * recipe.batches.seconds / 3600 == pytest.approx(heard, abs=1)


def test_ablations_that_share_their_speech_are_trained_in_a_folder_that_was_not_there(monkeypatch, tmp_path):
    small = {
        "data": [{"corpus": "synthetic"}], "targets.features": "mfcc", "targets.layer": None, "targets.clusters": 4,
        "schedule.steps": 2, "batches.seconds": 6, "batches.longest_crop_s": 3, "model.num_hidden_layers": 1,
        "model.hidden_size": 12, "model.num_attention_heads": 2, "model.intermediate_size": 12,
        "model.conv_dim": [8] * 7, "model.num_conv_pos_embeddings": 2, "model.num_conv_pos_embedding_groups": 2,
    }  # fmt: skip
    monkeypatch.setitem(ABLATIONS, "small", small)
    monkeypatch.setitem(ABLATIONS, "small, more masked", small | {"batches.mask_share": 0.6})
    probed = []

    def yardstick(layers_of, device):
        probed.append(layers_of)
        return pd.DataFrame({"layer": ["0", "1"], "phones_librispeech": [0.5, 0.25]})

    monkeypatch.setattr(ablations, "yardstick", yardstick)
    folder = tmp_path / "not" / "yet"
    for name in ("small", "small, more masked", "small"):
        table = ablations.measured(name, folder)
        assert list(table["ablation"]) == [name] * 2
        assert table["hours_heard"].gt(0).all() and table["phones_librispeech"].tolist() == [0.5, 0.25]
    assert len(probed) == 2, "what is finished is not done again"
    assert len(list(folder.glob("speech-*"))) == 1
