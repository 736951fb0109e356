"""Code written for the first edition still finds its modules."""

import importlib
import subprocess
import sys

import pytest

import fairlib
from fairlib.base.moved import MOVED, RENAMED


@pytest.mark.parametrize("old", [*MOVED, "probing.text", "pretraining.recipe"])
def test_an_old_name_gives_the_module_that_is_there_now(old):
    with pytest.warns(DeprecationWarning, match=f"fairlib.{old} is fairlib"):
        sys.modules.pop(f"fairlib.{old}", None)
        module = importlib.import_module(f"fairlib.{old}")
    now = importlib.import_module(module.__spec__.origin)
    public = [name for name in vars(now) if not name.startswith("_")]
    assert public and all(getattr(module, name) is getattr(now, name) for name in public)
    assert now.__name__ == now.__spec__.name  # which stays what it was


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_old_function_is_the_one_that_is_there_now(old, new):
    with pytest.warns(DeprecationWarning, match=f"fairlib.{old} is fairlib.{new} now"):
        assert getattr(fairlib, old) is getattr(fairlib, new)


def test_names_that_never_were_are_not_found():
    with pytest.raises(ModuleNotFoundError, match="fairlib.nowhere"):
        importlib.import_module("fairlib.nowhere")


def test_the_package_itself_uses_no_old_name():
    code = "import fairlib.cli, fairlib.display.charts, fairlib.probes.probing, fairlib.training.pretraining"
    subprocess.run([sys.executable, "-W", "error::DeprecationWarning:fairlib", "-c", code], check=True)
