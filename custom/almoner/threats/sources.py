"""What a checkout's Python files define, and which threats its tests carry out, read as text and never imported."""

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from almoner.errors import DocumentError

_MARK = "pytest.mark.threat"
_MENTION = re.compile(r"\bT-\d{2,3}\b")


@dataclass(frozen=True)
class MarkedTest:
    """A test, by pytest's name without parameters, and the threats that it is marked with."""

    name: str
    threats: frozenset[str]


def defines(root: Path, reference: str) -> bool:
    """Tell whether `module:Class.name` is a function, class, assigned or imported name of the package in a checkout.

    Raises:
        DocumentError: the module is not Python.
    """
    module, _, name = reference.partition(":")
    folder = (root / "custom").joinpath(*module.split("."))
    path = next((path for path in (folder.with_suffix(".py"), folder / "__init__.py") if path.is_file()), None)
    if path is None:
        return False
    body: list[ast.stmt] = _parse(path).body
    *owners, last = name.split(".")
    for owner in owners:
        found = [node for node in body if isinstance(node, ast.ClassDef) and node.name == owner]
        if not found:
            return False
        body = found[0].body
    return any(last in _names(node) for node in body)


def tests_of(root: Path) -> dict[str, MarkedTest]:
    """Return every test below tests/, by pytest's name without parameters, with the threats of its marks.

    Raises:
        DocumentError: a file is not Python.
    """
    found = {}
    for path in sorted((root / "tests").rglob("test_*.py")):
        tree, name = _parse(path), path.relative_to(root).as_posix()
        everywhere = _marks(_pytestmarks(tree.body))
        for prefix, function, around in _functions(tree):
            threats = everywhere | around | _marks(function.decorator_list)
            found[f"{name}::{prefix}{function.name}"] = MarkedTest(f"{name}::{prefix}{function.name}", threats)
    return found


def mentions(root: Path) -> dict[str, set[str]]:
    """Return each threat that the package's code mentions, with the files that do."""
    found: dict[str, set[str]] = {}
    for path in sorted((root / "custom").rglob("*.py")):
        for threat in _MENTION.findall(path.read_text()):
            found.setdefault(threat, set()).add(path.relative_to(root).as_posix())
    return found


@cache
def _parse(path: Path) -> ast.Module:
    """Read a file as Python."""
    try:
        return ast.parse(path.read_text())
    except (SyntaxError, UnicodeDecodeError, OSError):
        raise DocumentError(f"{path}: cannot be read as Python → correct it") from None


def _names(node: ast.stmt) -> set[str]:
    """Return the names that a statement defines or imports."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.ImportFrom):
        return {alias.asname or alias.name for alias in node.names}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)}


def _pytestmarks(body: list[ast.stmt]) -> list[ast.expr]:
    """Return what marks all of a module or class."""
    return [node.value for node in body if isinstance(node, ast.Assign) and "pytestmark" in _names(node)]


def _marks(expressions: list[ast.expr]) -> frozenset[str]:
    """Return the threats that marks in these expressions name."""
    calls = [node for expression in expressions for node in ast.walk(expression) if isinstance(node, ast.Call)]
    named = [argument for call in calls if ast.unparse(call.func) == _MARK for argument in call.args]
    return frozenset(str(argument.value) for argument in named if isinstance(argument, ast.Constant))


def _functions(tree: ast.Module) -> list[tuple[str, ast.FunctionDef, frozenset[str]]]:
    """Return a file's tests, with the prefix and the marks of the class that each is in."""
    found = [("", node, frozenset[str]()) for node in tree.body if isinstance(node, ast.FunctionDef)]
    for owner in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        marks = _marks(owner.decorator_list) | _marks(_pytestmarks(owner.body))
        found += [(f"{owner.name}::", node, marks) for node in owner.body if isinstance(node, ast.FunctionDef)]
    return [entry for entry in found if entry[1].name.startswith("test")]
