"""Packaging: every version stands in constraints.txt, and everything else agrees with it."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
DIRECT = [
    Requirement(line) for line in [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
]
PINS = {
    canonicalize_name(name): version
    for name, version in re.findall(r"(?m)^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text())
}


@pytest.mark.parametrize("requirement", DIRECT, ids=lambda requirement: requirement.name)
def test_every_direct_dependency_is_pinned_within_its_range(requirement):
    version = PINS.get(canonicalize_name(requirement.name))
    assert version, f"{requirement.name} is not in constraints.txt"
    assert requirement.specifier.contains(version, prereleases=True)


def test_constraints_are_exact_versions_and_name_no_address():
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[\w.-]+==[\w.+!]+", line), line


def test_torch_and_torchaudio_are_the_pair_that_was_tried():
    assert (PINS["torch"], PINS["torchaudio"]) == ("2.14.1", "2.11.0")


def test_conda_environment_installs_the_same_versions():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    plain = [line for line in environment["dependencies"] if isinstance(line, str)]
    [pip] = [line["pip"] for line in environment["dependencies"] if isinstance(line, dict)]
    [python] = [line.removeprefix("python=") for line in plain if line.startswith("python=")]
    assert SpecifierSet(PROJECT["requires-python"]).contains(f"{python}.0")
    assert pip == ["-c constraints.txt", "-e .[book,test]"]
    assert set(plain) == {f"python={python}", "pip"}, "versions of other packages belong into constraints.txt"


def test_make_installs_the_same_versions():
    makefile = (ROOT / "Makefile").read_text()
    assert "-c constraints.txt -e '.[book,test]'" in makefile
    [low, high] = re.search(r"\((\d, \d+)\) <= sys.version_info < \((\d, \d+)\)", makefile).groups()
    assert PROJECT["requires-python"] == f">={low},<{high}".replace(", ", ".")


def test_every_import_is_a_declared_dependency():
    # What makes pages is imported where it is used, and comes with the extra.
    declared = {canonicalize_name(Requirement(line).name) for line in [*PROJECT["dependencies"], *EXTRAS["book"]]}
    distributions = packages_distributions()
    for path in (ROOT / "fairlib").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            for name in {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"fairlib"}:
                owners = {canonicalize_name(owner) for owner in distributions.get(name, [name])}
                assert owners & declared, f"{path.relative_to(ROOT)} imports {name}: name it in pyproject.toml"


def test_ci_runs_the_tests():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().splitlines()[-1] == "make test-all"
    subprocess.run(["bash", "-n", script], check=True)
