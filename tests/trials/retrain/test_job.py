"""A job as it travels to other processes."""

import subprocess
import sys
from pathlib import Path

import pytest

from search_spaces import Architecture, load_plugins, plugins
from search_spaces.attention import registry
from trials.retrain import Job, load_recipe

PLUGIN = '''
import torch
from search_spaces.attention import register

@register("halved", kind="gate", paper="made for a test")
class Halved(torch.nn.Module):
    """Halve the maps, at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.full((channels, 1, 1), 0.5))

    def forward(self, x):
        return x * self.scale
'''
READ = """
import sys
from trials.retrain import Job
job = Job.from_json(sys.stdin.read())
print(job.architecture.id, job.recipe.hash, job.seed, job.out)
"""


def read_elsewhere(text: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", READ], input=text, capture_output=True, text=True, check=False)


def test_another_process_reads_it_with_the_users_own_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_LOADED", {})
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    file = tmp_path / "halved_of_jobs.py"
    file.write_text(PLUGIN)
    load_plugins([file])
    architecture = Architecture.from_dict(
        {"host": {"name": "resnet20"}, "placement": {"layer1.0/branch": {"module": "halved"}}}
    )
    job = Job(architecture, load_recipe("cifar10-resnet"), "cifar10-resnet", 3, tmp_path / "out")
    read = read_elsewhere(job.to_json())
    assert read.stdout.split() == [architecture.id, job.recipe.hash, "3", str(tmp_path / "out")], read.stderr
    file.write_text(PLUGIN.replace("0.5", "0.25"))
    assert "changed after it was loaded" in read_elsewhere(job.to_json()).stderr
