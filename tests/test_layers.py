"""How the packages may depend on each other, and how large a file may be."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = ("search_spaces", "trials", "reports", "nas")
"""From the bottom up; a package imports itself and those before it."""
FILES = [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]
WRAPPED = {
    "optuna",
    "ray",
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "yaml",
    "pydantic",
    "typer",
    "plotly",
    "matplotlib",
}
MOST_LINES = 400

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))


def imports(path: Path) -> Iterator[str]:
    """Yield the packages that a file imports, also inside functions and as strings."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import in line {node.lineno}"
            yield (node.module or "").split(".")[0]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (each.value.split(".")[0] for each in node.args[:1] if isinstance(each, ast.Constant))


@each_file
def test_imports_go_down_only(path: Path) -> None:
    layer = LAYERS.index(path.relative_to(ROOT).parts[0])
    assert set(imports(path)) & set(LAYERS[layer + 1 :]) == set()


@each_file
def test_what_can_be_built_trained_and_reported_knows_no_search_library(path: Path) -> None:
    if path.relative_to(ROOT).parts[0] != "nas":
        assert set(imports(path)) & {"optuna", "ray"} == set()


@each_file
def test_a_file_is_not_too_long(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MOST_LINES


@each_file
def test_no_file_is_named_after_what_it_wraps_or_after_the_standard_library(path: Path) -> None:
    assert path.stem not in WRAPPED | set(sys.stdlib_module_names)


def test_every_package_is_there() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(LAYERS)
