"""Ablations change what they say, and nothing else."""

import pytest

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
