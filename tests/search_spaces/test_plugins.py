"""A user's own modules: loading, naming, and how mistakes in them are answered."""

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from search_spaces import Architecture, load_plugins, plugins
from search_spaces.attention import create, entry, names, registry
from search_spaces.errors import InputError
from search_spaces.plugins import Plugin, load_recorded, plugins_of

Write = Callable[..., Path]

GATE = '''
"""A gate."""

from torch import nn

from search_spaces.attention import register


@register("{name}", kind="gate", paper="nobody")
class Mine(nn.Module):
    """Weigh the channels."""

    def __init__(self, channels: int, *, size: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, size, padding="same")

    def forward(self, x):
        return x * self.conv(x).sigmoid()
'''
PLACE = {"bridge": {"source_channels": (4, 4)}}


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test starts without plugins, and leaves none behind."""
    monkeypatch.setattr(plugins, "_LOADED", {})
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    modules = dict(sys.modules)
    yield
    for name in set(sys.modules) - set(modules):
        del sys.modules[name]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Return `write(path, text)`, which writes a file into the current folder."""
    monkeypatch.chdir(tmp_path)

    def write(path: str, text: str) -> Path:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
        return file

    return write


def test_a_file_registers_its_modules(write: Write) -> None:
    write("mine_one.py", GATE.format(name="mine_one"))
    before = list(sys.path)
    (plugin,) = load_plugins(["mine_one.py"])
    assert (plugin.module, plugin.given, list(plugin.sources)) == ("mine_one", "mine_one.py", ["mine_one"])
    assert sys.path == before
    knob = entry("mine_one").knobs["size"]
    assert (knob.type_text, knob.default, knob.description) == ("int", 1, "")
    assert create("mine_one", channels=8, size=3)(torch.randn(2, 8, 5, 5)).shape == (2, 8, 5, 5)
    placement = {"*/branch": {"module": "mine_one"}}
    assert Architecture.from_dict({"host": {"name": "resnet20"}, "placement": placement}).build()


def test_the_module_of_the_readme_works(write: Write) -> None:
    readme = Path(__file__).parents[2] / "README.md"
    section = readme.read_text().partition("## Your own module")[2].partition("\n## ")[0]
    write("readme_module.py", section.partition("```python\n")[2].partition("```")[0])
    load_plugins(["readme_module.py"])
    x = torch.ones(1, 4, 2, 2)
    torch.testing.assert_close(create("shift", channels=4, start=0.5)(x), 1.5 * x)


CLASSES = {
    "gate": ("channels, *, size: int = 1", "x", "x * 2"),
    "merge": ("channels", "branch, shortcut", "branch + shortcut"),
    "recurrent": ("channels", "x, state", "(x, (x, x))"),
    "bridge": ("channels, source_channels", "x, sources", "x * sources[0].mean()"),
}


@pytest.mark.parametrize("kind", CLASSES)
def test_a_class_is_named_by_its_file_and_its_kind_is_seen(write: Write, kind: str) -> None:
    taken, given, answer = CLASSES[kind]
    write(
        f"of_{kind}.py",
        f'''
        from torch import nn

        class Own(nn.Module):
            """One of its kind."""

            def __init__(self, {taken}):
                super().__init__()

            def forward(self, {given}):
                return {answer}
        ''',
    )
    load_plugins([f"of_{kind}"])
    found = entry(f"of_{kind}:Own")
    assert (found.kind, found.summary) == (kind, "One of its kind.")
    place: dict[str, Any] = {"channels": 8, **PLACE.get(kind, {})}
    assert type(create(found.name, **place)).__name__ == "Own"
    assert found.name in names()


def test_weights_stand_for_a_convolution_and_keep_its_parameters(write: Write) -> None:
    text = '''
    from torch import nn

    class Twice(nn.Module):
        """Twice a convolution."""

        def __init__(self, conv: nn.Conv2d) -> None:
            super().__init__()
            self.weight, self.bias, self.kept = {weight}, conv.bias, conv.padding

        def forward(self, x):
            return 2 * nn.functional.conv2d(x, self.weight, self.bias, padding=self.kept)
    '''
    write("twice.py", text.format(weight="conv.weight"))
    write("loses.py", text.format(weight="conv.weight * 1"))
    load_plugins(["twice", "loses"])
    assert entry("twice:Twice").kind == "weights"
    conv = nn.Conv2d(4, 4, 3, padding=1)
    assert create("twice:Twice", conv=conv).weight is conv.weight
    with pytest.raises(InputError, match=r"loses.py: class Twice: it must keep the convolution's parameters"):
        entry("loses:Twice")


def test_a_class_of_a_plugin_that_is_not_loaded_says_what_to_pass() -> None:
    placement = {"*/branch": {"module": "my_package.my_file:Own"}}
    with pytest.raises(InputError, match=r"my_package.my_file:Own' is not loaded; pass --plugins my_package.my_file"):
        Architecture.from_dict({"host": {"name": "resnet20"}, "placement": placement})
    with pytest.raises(InputError, match=r"unknown module 'own'; .*one of your own needs --plugins"):
        entry("own")


def test_a_package_is_loaded_with_what_it_imports(write: Write) -> None:
    write("bundle/__init__.py", '"""A package."""\n')
    write("bundle/helper.py", "FACTOR = 2\n")
    gate = GATE.format(name="bundled")
    write("bundle/gates.py", gate + "\n\nfrom bundle.helper import FACTOR\n\n\nclass Plain(Mine):\n    '''A gate.'''\n")
    (plugin,) = load_plugins(["bundle"])
    assert set(plugin.sources) == {"bundle"}
    assert entry("bundle.gates:Plain").kind == "gate"
    (plugin,) = plugins_of(["bundle.gates:Plain", "se"])
    assert set(plugin.sources) == {"bundle", "bundle.helper", "bundle.gates"}
    assert plugin.in_package
    with pytest.raises(InputError, match=r"bundle.gates:Mine is registered as 'bundled'; use that name"):
        entry("bundle.gates:Mine")
    with pytest.raises(InputError, match=r"unknown class in bundle.gates .*'Plan'; .*did you mean 'Plain'"):
        entry("bundle.gates:Plan")


@pytest.mark.parametrize("given", ["inner_box/gates.py", "inner_box.gates", "inner_box"])
def test_a_file_of_a_package_is_imported_as_part_of_it(write: Write, given: str) -> None:
    write("inner_box/__init__.py", "")
    write("inner_box/gates.py", GATE.format(name="inner").replace("@register", "# "))
    load_plugins([given])
    assert entry("inner_box.gates:Mine").cls.__module__ == "inner_box.gates"


def test_files_beside_a_plugin_belong_to_it(write: Write) -> None:
    write("beside_helper.py", "FACTOR = 2\n")
    write("with_helper.py", "from beside_helper import FACTOR\n" + GATE.format(name="helped"))
    (plugin,) = load_plugins(["with_helper.py"])
    assert set(plugin.sources) == {"with_helper", "beside_helper"}


def test_loading_again_is_no_mistake_but_another_file_of_that_name_is(write: Write) -> None:
    path = write("again.py", GATE.format(name="again"))
    write("elsewhere/again.py", GATE.format(name="again"))
    write("changed/again.py", GATE.format(name="again") + "# changed\n")
    assert load_plugins([path, "again", "again.py", "elsewhere/again.py"]) == 4 * load_plugins(["again"])
    with pytest.raises(InputError, match=r"another plugin is loaded under the name 'again': again.py; rename one"):
        load_plugins(["changed/again.py"])


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("missing.py", "missing.py: no such file"),
        ("missing", r"no module 'missing' can be imported from .*a file is given by its path, as in my.py"),
        ("random.py", "another module is called 'random'; rename it"),
        ("pytest.py", "another module is called 'pytest'; rename it"),
        ("my-gate.py", "'my-gate' is no name that Python can import"),
    ],
)
def test_a_file_that_cannot_be_a_plugin_is_refused(write: Write, given: str, reason: str) -> None:
    for path in ("random.py", "pytest.py", "my-gate.py"):
        write(path, GATE.format(name="odd"))
    with pytest.raises(InputError, match=reason):
        load_plugins([given])


def mine(**parts: str) -> str:
    """Return a file with one gate in which some parts are others."""
    lines = {
        "doc": '"""Weigh."""',
        "head": "def __init__(self, channels: int, *, size: int = 3) -> None:",
        "build": "self.conv = nn.Conv2d(channels, channels, 1)",
        "forward": "def forward(self, x):",
        "answer": "return x * self.conv(x)",
        "more": "",
    } | parts
    return (
        "from torch import nn\nfrom search_spaces.attention import register\n\n\n"
        f"@register({parts.get('name', 'mistaken')!r}, kind='gate', paper='nobody')\nclass Mine(nn.Module):\n"
        f"    {lines['doc']}\n    {lines['head']}\n        super().__init__()\n        {lines['build']}\n"
        f"    {lines['forward']}\n        {lines['answer']}\n{lines['more']}\n"
    )


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"doc": ""}, "class Mine: it needs a docstring"),
        ({"head": "def __init__(self, channels, *, size: int):"}, "class Mine: knob size needs a default"),
        ({"head": "def __init__(self, channels, *, size=3):"}, "class Mine: knob size needs a type"),
        ({"head": "def __init__(self, dim):"}, r"takes \(dim\) by position, it must take \(channels\)"),
        (
            {"head": "def __init__(self, channels, size: int = 3):"},
            r"come after a star: def __init__\(self, channels, \*",
        ),
        (
            {"head": "def __init__(self, channels, *, size: nn.Module = None):"},
            "knob 'size': a file cannot give values",
        ),
        ({"head": "def __init__(self, channels, *, size: list[int] = [1]):"}, r"\[1\] cannot stand in a file"),
        ({"head": "def __init__(self, channels, *, size: int = 0.5):"}, "knob 'size' of mistaken: .*integer, got 0.5"),
        ({"answer": "return x.mean((2, 3))"}, r"a map like its input, .*\(2, 64, 14, 14\), got .* \(2, 64\)"),
        ({"answer": "return x, x"}, r"forward must return a map like its input.*got a tuple"),
        ({"answer": "return x * self.gone"}, r"class Mine: AttributeError: .*'gone' \(line 12\)"),
        ({"build": "self.conv = nn.Conv2d(channels, 'many', 1)"}, r"class Mine: TypeError: .*\(line 10\)"),
        ({"name": "se"}, "two modules are registered as 'se': .*se.py: class SE and .*rename one"),
        ({"more": "    effective = staticmethod(lambda knobs, **_: [1])"}, "effective must return a dict"),
        ({"more": "print(undefined)"}, r"mistaken_\d+.py cannot be loaded: NameError: .*line 13\)"),
        ({"more": "def ("}, r"cannot be loaded: SyntaxError"),
    ],
)
def test_a_mistake_in_a_file_is_answered_with_file_and_reason_and_leaves_nothing(
    write: Write, parts: dict[str, str], reason: str, request: pytest.FixtureRequest
) -> None:
    name = f"mistaken_{abs(hash(request.node.name)) % 10**6}"
    path = write(f"{name}.py", mine(**parts))
    before = names()
    with pytest.raises(InputError, match=reason) as caught:
        load_plugins([path])
    assert path.name in str(caught.value)
    assert names() == before
    path.write_text(mine() + "# mended\n")
    load_plugins([path])
    assert entry("mistaken").knobs["size"].default == 3


def test_a_module_that_refuses_a_width_is_no_mistake(write: Write) -> None:
    refuse = "from search_spaces import InputError\n        if channels != {}: raise InputError('too wide')\n        "
    write("narrow.py", mine(build=refuse.format(16) + "self.conv = nn.Conv2d(channels, channels, 1)"))
    write("never.py", mine(build=refuse.format(-1) + "pass", name="never"))
    load_plugins(["narrow"])
    with pytest.raises(InputError, match=r"class Mine: it refuses maps of 64, 256, 16 channels, .*too wide"):
        load_plugins(["never"])


def test_a_class_of_no_kind_is_answered_with_the_kinds(write: Write) -> None:
    write("odd_kind.py", mine(forward="def forward(self, x, y, z):").replace("@register", "# "))
    load_plugins(["odd_kind"])
    with pytest.raises(InputError, match=r"\(channels\) and forward \(x, y, z\) are of no kind: a gate has"):
        entry("odd_kind:Mine")


def test_loading_leaves_the_generator_as_it_was(write: Write) -> None:
    write("quiet_gate.py", GATE.format(name="quiet"))
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    load_plugins(["quiet_gate"])
    assert torch.equal(torch.rand(3), expected)


def test_another_process_refuses_a_plugin_whose_source_changed(write: Write) -> None:
    write("recorded.py", GATE.format(name="recorded"))
    (plugin,) = load_plugins(["recorded.py"])
    load_recorded(Plugin.from_dict(plugin.to_dict()))
    changed = Plugin(plugin.module, plugin.path, {"recorded": "0" * 64, "lost": "1" * 64})
    digest = plugin.sources["recorded"][:8]
    with pytest.raises(InputError, match=rf"lost: .* 11111111, it is gone; recorded: .* was 00000000, is {digest}"):
        load_recorded(changed)


def test_a_module_that_other_processes_cannot_find_has_no_plugin() -> None:
    class Here(nn.Module):
        """A gate."""

        def __init__(self, channels: int) -> None: ...

    registry.register("here", kind="gate", paper="nobody")(Here)
    with pytest.raises(InputError, match=r"the module here was registered by .*test_plugins, .*--plugins"):
        plugins_of(["se", "here"])
