"""Ablations change what they say, and nothing else."""

import pytest

from bench.ablations import ABLATIONS, changed
from fairlib.training.recipe import read_recipe


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_is_a_recipe_that_changes_what_it_names(name):
    recipes = changed(ABLATIONS[name]), read_recipe("pocket-hubert")
    mine, shipped = (recipe.model_dump(exclude_none=True) for recipe in recipes)
    named = {change.split(".")[0] for change in ABLATIONS[name]} | {"schedule"}
    assert {part for part in mine | shipped if mine.get(part) != shipped.get(part)} <= named
    assert len(set(map(str, map(changed, ABLATIONS.values())))) == len(ABLATIONS)
