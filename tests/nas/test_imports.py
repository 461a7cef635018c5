"""Of what is slow to import, a command takes what it needs: seconds and hundreds of megabytes of each process."""

import subprocess
import sys

import pytest

SPACE = {
    "host": {"name": "resnet20"},
    "choices": [{"at": "layer*.*/branch", "modules": {"none": {}, "se": {}, "cbam": {}, "eca": {}}}],
}


@pytest.mark.parametrize(
    "code",
    [
        "import nas.cli",
        f"from search_spaces import SearchSpace; SearchSpace.from_dict({SPACE!r}, tried=True)",
    ],
)
def test_neither_commands_nor_a_studys_space_import_what_only_trainings_and_other_hosts_need(code: str) -> None:
    slow = "torchvision", "scipy.stats", "torch._dynamo", "triton", "ray", "timm", "sklearn", "pandas", "onnx"
    told = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print([name for name in {slow!r} if name in sys.modules])"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert told.stdout.strip() == "[]"
