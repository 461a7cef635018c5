"""The YAML of the document about clusters is what the program takes."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from nas.cli.search_options import ray_settings
from nas.experiment import Resources

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "cluster.md").read_text(), re.S)


def block_with(key: str) -> tuple[str, Any]:
    ((text, data),) = ((text, data) for text in BLOCKS if key in (data := yaml.safe_load(text)))
    return text, data


def test_resources_are_resources() -> None:
    _, data = block_with("resources")
    assert Resources(**data["resources"]) == Resources(gpu=0.25, cpu=2)


def test_the_runtime_environment_is_one_and_its_folders_are_the_packages(tmp_path: Path) -> None:
    runtime_env = pytest.importorskip("ray.runtime_env")
    text, data = block_with("py_modules")
    (tmp_path / "env.yaml").write_text(text)
    settings = ray_settings("ray", "auto", tmp_path / "env.yaml")
    assert settings
    assert dict(runtime_env.RuntimeEnv(**settings.runtime_env)) == data
    assert all((ROOT / name / "__init__.py").is_file() for name in data["py_modules"])


def test_every_file_beside_the_document_is_named_in_it() -> None:
    text = (ROOT / "docs" / "cluster.md").read_text()
    assert [path.name for path in (ROOT / "docs" / "cluster").iterdir() if f"cluster/{path.name}" not in text] == []
