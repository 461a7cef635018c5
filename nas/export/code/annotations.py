"""Annotations as a copy of code has them: the plain types, without the descriptions that a registry reads."""

import ast
from collections.abc import Callable

from nas.export.code.parsed_modules import ParsedModule, parsed

_BUILTIN = ("int", "float", "bool", "str", "bytes", "object", "list", "dict", "tuple", "set", "type", "None")


def simplified(annotation: ast.expr, source: ParsedModule, resolve: Callable[[str], str | None]) -> str:
    """Return an annotation of a module's as text: aliases written out, `Annotated` and `Literal` as their types.

    Args:
        annotation: what stands in the module's source.
        source: the module.
        resolve: gives the name that a class or an import of the module has in the file; None for no such.
    """
    if isinstance(annotation, ast.Subscript):
        outer = annotation.value.id if isinstance(annotation.value, ast.Name) else ""
        inner = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
        if outer == "Annotated":
            return simplified(inner[0], source, resolve)
        if outer == "Literal":
            kinds = dict.fromkeys(type(each.value).__name__ for each in inner if isinstance(each, ast.Constant))
            return " | ".join(kinds)
        parts = ", ".join(simplified(each, source, resolve) for each in inner)
        return f"{simplified(annotation.value, source, resolve)}[{parts}]"
    if isinstance(annotation, ast.BinOp):
        both = (simplified(each, source, resolve) for each in (annotation.left, annotation.right))
        return " | ".join(both)
    if isinstance(annotation, ast.List):
        return f"[{', '.join(simplified(each, source, resolve) for each in annotation.elts)}]"
    if isinstance(annotation, ast.Name):
        return _named(annotation.id, source, resolve)
    if isinstance(annotation, ast.Attribute):
        root = annotation
        while isinstance(root.value, ast.Attribute):
            root = root.value
        if isinstance(root.value, ast.Name):
            resolve(root.value.id)
    return ast.unparse(annotation).replace("'", '"')


def _named(name: str, source: ParsedModule, resolve: Callable[[str], str | None]) -> str:
    if name in _BUILTIN:
        return name
    home = source
    while name in home.imports and home.imports[name].module.startswith(source.name.split(".")[0] + "."):
        imported = home.imports[name]
        home, name = parsed(imported.module), imported.name or name
    definition = home.definitions.get(name)
    if isinstance(definition, ast.Assign) and _describes(definition.value):
        return simplified(definition.value, home, resolve)
    return resolve(name) or name


def _describes(value: ast.expr) -> bool:
    """Return whether an alias says more than a type: a description, or the values that are allowed."""
    return any(isinstance(node, ast.Name) and node.id in ("Annotated", "Literal") for node in ast.walk(value))
