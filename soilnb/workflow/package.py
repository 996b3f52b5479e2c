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


def describe_package() -> str:
    """Return a page (MyST): a section for each module, an entry for each member."""
    parts = []
    for name in MODULES:
        place = ROOT / "soilnb" / name
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        about = inspect.cleandoc(ast.get_docstring(ast.parse(file.read_text())) or "")
        entries = map(_entry, _members(file))
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
        for node in ast.walk(member.args):
            if isinstance(node, ast.arg):
                node.annotation = None
        call += f"({ast.unparse(member.args)})"
    return (
        f"::::{{dropdown}} **{member.name}**: {first}\n:class-container: docstring\n"
        f"{FENCE}text\n{call}\n\n{text}\n{FENCE}\n::::"
    )
