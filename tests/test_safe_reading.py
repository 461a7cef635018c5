"""What is read from files and stores makes plain data, and no text becomes a shell's command."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("search_spaces", "trials", "reports", "nas")
FORBIDDEN = {
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "joblib.load", "cloudpickle.load", "cloudpickle.loads"),
    *("yaml.load_all", "yaml.unsafe_load", "yaml.full_load", "os.system", "os.popen", "eval", "exec"),
}


def test_nothing_in_the_packages_unpickles_or_starts_a_shell() -> None:
    found = []
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and (reason := _reason(node)):
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {reason}")
    assert found == []


def _reason(call: ast.Call) -> str | None:
    name, given = ast.unparse(call.func), {word.arg: ast.unparse(word.value) for word in call.keywords}
    if name in FORBIDDEN or given.get("shell", "False") != "False":
        return f"{name} runs what it reads"
    if name == "torch.load" and given.get("weights_only") != "True":
        return "torch.load without weights_only=True"
    if name in ("np.load", "numpy.load") and given.get("allow_pickle", "False") != "False":
        return "np.load with allow_pickle"
    loader = given.get("Loader", ast.unparse(call.args[1]) if len(call.args) > 1 else "")
    return f"yaml.load with {loader}" if name == "yaml.load" and "_Loader" not in loader else None
