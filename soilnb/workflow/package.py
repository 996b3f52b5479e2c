"""The page on the package: what is public, from docstrings, without importing it."""

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
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, Member) and not node.name.startswith("_"):
            yield node
        elif isinstance(node, ast.ImportFrom) and file.name == "__init__.py":
            place = file.parents[2].joinpath(*(node.module or "").split("."))
            source = place.with_suffix(".py")
            names = {alias.name for alias in node.names}
            for member in _members(source) if source.is_file() else ():
                if member.name in names:
                    yield member


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
