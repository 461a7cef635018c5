"""How every page is made of its template: all text escaped, nothing loaded from elsewhere."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup


def template(name: str, **functions: Any) -> Template:
    """Return a template of `reports/templates`, with functions and modules that it may call."""
    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(functions)
    return environment.get_template(name)


def plotly_js() -> Markup:
    """Return plotly.js as its Python package has it, without importing the package, which takes a second."""
    spec = find_spec("plotly")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "package_data" / "plotly.min.js"
    return Markup(path.read_text(encoding="utf-8"))
