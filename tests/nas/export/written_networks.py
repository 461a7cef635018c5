"""Networks written as files of their own, loaded in this process and compared with those that they were written of."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from nas.export.code.network_file import Facts, NetworkFile, write_network
from search_spaces import Architecture, HostConfig, InputError, find_sites
from search_spaces.attention import entry, names
from search_spaces.fitting import ModuleSpec, check_fit, make_spec

MAY_IMPORT = {"torch", "timm", *sys.stdlib_module_names}


def write(architecture: Architecture, folder: Path) -> tuple[NetworkFile, nn.Module]:
    """Write the file and weights of a network, which is returned with weights that are at no special point."""
    host = architecture.host
    facts = Facts(
        "A network.\n\nOf a test.",
        "weights.safetensors",
        [0.5] * host.channels,
        [0.25] * host.channels,
        [f"class {number}" for number in range(host.classes)],
        {"accuracy": 0.5},
    )
    file = write_network(architecture, facts)
    network, generator = architecture.build(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    (folder / "network.py").write_text(file.text)
    tensors = {name: value.contiguous().clone() for name, value in network.state_dict().items()}
    save_file(tensors, folder / "weights.safetensors")
    return file, network


def load(folder: Path) -> ModuleType:
    """Import a file that was written."""
    name = f"network_of_{folder.name}"
    spec = importlib.util.spec_from_file_location(name, folder / "network.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def images(host: HostConfig, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, host.channels, host.input, host.input, generator=generator)


def answer(network: nn.Module, x: Tensor) -> Tensor:
    """Return the logits, with the same dropout and stochastic depth each time."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(2)
        return network(x)


def difference(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference, relative to the largest value."""
    return float((found - expected).abs().max() / expected.abs().max())


def imported(source: str) -> set[str]:
    """Return the packages that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


def check(architecture: Architecture, folder: Path) -> NetworkFile:
    """Write a network and compare it in both modes; check what the file imports, and its format."""
    file, network = write(architecture, folder)
    written = load(folder).BUILDER(weights="DEFAULT")
    assert {k: v.shape for k, v in written.state_dict().items()} == {
        k: v.shape for k, v in network.state_dict().items()
    }
    x = images(architecture.host, 8)
    assert difference(answer(written.eval(), x), answer(network.eval(), x)) < 1e-5
    assert difference(answer(written.train(), x), answer(network.train(), x)) < 1e-3
    assert imported(file.text) <= MAY_IMPORT
    if "timm" not in architecture.host.name:  # whose own functions are copied as timm formats them
        config = Path(__file__).parents[3] / "pyproject.toml"
        command = [sys.executable, "-m", "ruff", "format", "--check", "--config", config, folder / "network.py"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
    return file


def filled(host: HostConfig, seed: int) -> Architecture:
    """Return an architecture with a module at two thirds of the sites, drawn from all that fit."""
    rng = np.random.default_rng(seed)
    placed: dict[str, list[ModuleSpec]] = {}
    for site in find_sites(host):
        for _ in range(3 if rng.random() < 2 / 3 else 0):
            name = str(rng.choice(names()))
            knobs = {"reduction": 4} if "reduction" in entry(name).knobs else {}
            spec = make_spec({"module": name, "init": str(rng.choice(["paper", "identity"])), **knobs})
            if fits(host, site, spec):
                placed[site.name] = [spec]
                break
    return Architecture.of(host, placed)


def fits(host: HostConfig, site, spec: ModuleSpec) -> bool:  # type: ignore[no-untyped-def]
    try:
        check_fit(host, site, [spec])
    except InputError:
        return False
    return spec.init == "paper" or entry(spec.module).kind != "removal"
