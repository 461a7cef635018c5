"""Thousands of JPEGs of real sizes: trained, killed, resumed, scored, exported, and reloaded where it is deployed."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from trials.retrain import load_retrained

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from make_imagenet import make_imagenet

CLASSES, TRAIN, VAL = 10, 200, 30
ARCHITECTURE = """
host: {name: resnet18, classes: 10, input: 32, stem: cifar, width: 0.5}
placement: {"*/branch": {module: se, reduction: 16}, layer1/end: {module: bam}}
"""
RECIPE = """
task: classification
source: made for tests
epochs: 2
batch_size: 50
optimizer: {lr: 0.1}
precision: fp32
data: {source: imagenet}
crop: {train_size: 96, eval_resize: 112, eval_size: 96}
checkpoint_s: 0.5
"""
RELOAD = """
import importlib.util, json, sys, torch
spec = importlib.util.spec_from_file_location("network", sys.argv[1])
network = importlib.util.module_from_spec(spec)
spec.loader.exec_module(network)
assert not {"search_spaces", "trials", "nas"} & set(sys.modules)
with torch.no_grad():
    print(json.dumps(getattr(network, sys.argv[2])(weights="DEFAULT").eval()(torch.ones(2, 3, 96, 96)).tolist()))
"""
"""Loads what is deployed where this package is not imported."""


def start(*arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "nas", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(*arguments: object) -> str:
    process = start(*arguments)
    out, told = process.communicate()
    assert process.returncode == 0, told
    return out


def newest(out: Path) -> str:
    return max((path.name for path in (out / "checkpoints").glob("step-*")), default="")


@pytest.mark.slow
def test_what_is_deployed_is_exactly_as_accurate_as_what_was_trained(tmp_path: Path) -> None:
    images, out = tmp_path / "imagenet", tmp_path / "retrained"
    make_imagenet(images, classes=CLASSES, train=TRAIN, val=VAL)
    (tmp_path / "proxy.yaml").write_text(ARCHITECTURE)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    command = ("retrain", tmp_path / "proxy.yaml", tmp_path / "recipe.yaml", "--data-dir", images, "--out", out)
    for _ in range(2):
        before, killed = newest(out), start(*command, "--device", "cpu")
        while newest(out) <= before and killed.poll() is None:
            time.sleep(0.01)
        os.kill(killed.pid, 9)
        killed.communicate()
    record = json.loads(run(*command, "--device", "cpu", "--json"))
    assert record["runs"] == 3
    assert record["metrics"]["top1"] > 2 / CLASSES  # twice chance
    scored = json.loads(run("retrain", out, "--evaluate", "--data-dir", images, "--device", "cpu", "--json"))
    assert scored["metrics"] == record["metrics"]
    formats, place = ("--format", "network", "--format", "onnx"), tmp_path / "deployed"
    exported = json.loads(run("export", out, *formats, "--data-dir", images, "--out", place, "--json"))
    assert exported["failed"] == {}
    assert exported["accuracy"]["value"] == record["metrics"]["top1"]
    builder = f"resnet18_{exported['id']}"
    isolated = [sys.executable, "-I", "-c", RELOAD, str(place / "network.py"), builder]
    reloaded = json.loads(subprocess.run(isolated, check=True, capture_output=True, text=True).stdout)
    with torch.no_grad():
        expected = load_retrained(out)(torch.ones(2, 3, 96, 96))
    assert torch.tensor(reloaded).sub(expected).abs().max() <= 1e-5 * expected.abs().max()
