"""The page on the package: what is public, from the docstrings, without importing it.

Importing would load TensorFlow, which reading and building a book do without.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

from soilnb.workflow.steps import ROOT

# From the ground up; the plumbing of notebooks is no interface.
MODULES = (
    "datasets",
    "preprocessing",
    "quality",
    "selection",
    "sampling",
    "metrics",
    "methods",
    "pls",
    "rslocal",
    "cnn",
    "transfer",
    "baselines",
    "study",
    "plots",
)
FENCE = "`````"  # longer than any in a docstring

Member = ast.FunctionDef | ast.ClassDef


def describe_package(root: Path = ROOT / "soilnb") -> str:
    """Return a page (MyST): a section for each module, an entry for each member."""
    parts = []
    for name in MODULES:
        file = root / name / "__init__.py"
        file = file if file.is_file() else root / f"{name}.py"
        entries = [_entry(member) for member in _members(file)]
        about = inspect.cleandoc(ast.get_docstring(ast.parse(file.read_text())) or "")
        parts.append("\n\n".join([f"## `soilnb.{name}`", about, *entries]))
    return "\n\n".join(parts) + "\n"


def _members(file: Path) -> Iterator[Member]:
    """Yield the public functions and classes of a module, or those it exports."""
    tree = ast.parse(file.read_text())
    if file.name != "__init__.py":
        found = [node for node in tree.body if isinstance(node, Member)]
        yield from (node for node in found if not node.name.startswith("_"))
        return
    for node in tree.body:
        if not isinstance(node, ast.ImportFrom):
            continue
        source = _file_of(node.module or "", file.parents[1].parent)
        names = {alias.name for alias in node.names}
        for member in ast.parse(source.read_text()).body if source.is_file() else ():
            if isinstance(member, Member) and member.name in names:
                yield member


def _file_of(module: str, root: Path) -> Path:
    """Return the file of a module by its name."""
    place = root.joinpath(*module.split("."))
    package = place / "__init__.py"
    return package if package.is_file() else place.with_suffix(".py")


def _entry(member: Member) -> str:
    """Return a member as a box that unfolds: its call, its first line, its page."""
    text = inspect.cleandoc(ast.get_docstring(member) or "")
    first = text.partition("\n")[0].rstrip(".")
    call = member.name
    if isinstance(member, ast.FunctionDef):
        call += f"({', '.join(_arguments(member.args))})"
    return (
        f"::::{{dropdown}} **{member.name}**: {first}\n:class-container: docstring\n"
        f"{FENCE}text\n{call}\n\n{text}\n{FENCE}\n::::"
    )


def _arguments(given: ast.arguments) -> Iterator[str]:
    """Yield the arguments of a function as they are called, with their defaults."""
    plain = [*given.posonlyargs, *given.args]
    for place, one in enumerate(plain, start=len(given.defaults) - len(plain)):
        default = f"={ast.unparse(given.defaults[place])}" if place >= 0 else ""
        yield one.arg + default
    if given.vararg or given.kwonlyargs:
        yield f"*{given.vararg.arg if given.vararg else ''}"
    for one, value in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        yield one.arg + (f"={ast.unparse(value)}" if value else "")
    if given.kwarg:
        yield f"**{given.kwarg.arg}"
