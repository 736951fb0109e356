"""The house in order: small functions and modules, tests that mirror the rooms, nothing private used from outside."""

import ast
import re
from pathlib import Path

import pytest

import fairlib

HOUSE = Path(fairlib.__file__).parent
ROOT = HOUSE.parent
ROOMS = {folder.name for folder in HOUSE.iterdir() if (folder / "__init__.py").is_file()}
MODULES = sorted(path for path in HOUSE.rglob("*.py") if "assets" not in path.parts)
OUTSIDE = [*sorted((ROOT / "bench").glob("*.py")), *sorted((ROOT / "book" / "_ext").glob("*.py")),
           *sorted((ROOT / "notebooks").glob("*.py"))]  # fmt: skip
BESIDE_ROOMS = {"golden"}  # what the tests compare with


def lines_of(function) -> int:
    """Lines without the docstring."""
    first = function.body[0]
    described = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return function.end_lineno - function.lineno + 1 - described * (first.end_lineno - first.lineno + 1)


def private(tree: ast.Module) -> list[str]:
    """Names of fairlib that begin with an underscore, imported or reached through an imported module."""
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    ours = [node for node in imports if node.module.split(".")[0] == "fairlib"]
    names = [name for node in ours for name in (*node.module.split("."), *(alias.name for alias in node.names))]
    known = {alias.asname or alias.name for node in ours for alias in node.names} | {"fairlib"}
    names += [
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in known
    ]
    return [name for name in names if re.match(r"_(?!_)", name)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(HOUSE).as_posix())
def test_functions_and_modules_are_small(path):
    text = path.read_text(encoding="utf-8")
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert len(text.splitlines()) <= 450
    assert not [(one.name, lines_of(one)) for one in functions if lines_of(one) > 50]


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: path.stem)
def test_nothing_private_is_used_from_outside(path):
    assert not private(ast.parse(path.read_text(encoding="utf-8")))


def test_what_is_private_would_be_found():
    assert private(ast.parse("from fairlib.bias import sums\nfrom fairlib.base import _FULL\nsums._drawn(1)")) == [
        "_FULL",
        "_drawn",
    ]


def test_tests_mirror_the_rooms():
    folders = {path.parent.relative_to(ROOT / "tests").parts[:1] for path in (ROOT / "tests").rglob("test_*.py")}
    assert {parts[0] for parts in folders if parts} - {"node_modules"} <= ROOMS
    assert ROOMS - {parts[0] for parts in folders if parts} == set()


def test_every_room_and_module_says_what_it_is_for():
    assert not [path for path in MODULES if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]


def test_who_opens_the_house_sees_a_dozen_entries():
    entries = {path.name for path in HOUSE.iterdir()} - {"__init__.py", "__main__.py", "py.typed", "__pycache__"}
    assert len(entries) <= 12, sorted(entries)
