"""The steps as data/steps.toml lists them, and where their notebooks are."""

import json
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soilnb._validation import check_choice

ROOT = Path(__file__).resolve().parents[2]
COMPANIONS = "companions"  # folder of what needs no farm; group of chapters of its own


@dataclass(frozen=True)
class Entry:
    """One step as the registry has it; data/steps.toml explains the fields."""

    reads: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    site: bool = True
    tests: bool = True
    waits: bool = False
    files: str = ""
    role: str = ""


_FILE = ROOT / "data" / "steps.toml"
_TABLE: dict[str, dict[str, Any]] = tomllib.loads(_FILE.read_text())
for _entry in _TABLE.values():
    _entry |= {k: tuple(v) for k, v in _entry.items() if isinstance(v, list)}
STEPS = {name: Entry(**entry) for name, entry in _TABLE.items()}  # in their order
OF_SITE = tuple(name for name, entry in STEPS.items() if entry.site)


def by_role(role: str) -> str:
    """Return the step that has a role."""
    return next(name for name, entry in STEPS.items() if entry.role == role)


def plan_steps(names: Iterable[str]) -> list[str]:
    """Return the steps that are asked for, and all that they read, in order."""
    groups: dict[str, list[str]] = {"all": [], COMPANIONS: []}
    for name, entry in STEPS.items():
        groups[COMPANIONS if entry.role == "companion" else "all"].append(name)
    wanted: set[str] = set()
    for name in names:
        check_choice(name, "step", (*groups, *STEPS))
        for step in groups.get(name, [name]):
            wanted |= {step, *STEPS[step].reads}
    return [step for step in STEPS if step in wanted]


def notebook_path(step: str) -> Path:
    """Return where the notebook of a step lives."""
    return ROOT / "notebooks" / f"{step}.ipynb"


def read_cells(path: Path) -> list[dict[str, Any]]:
    """Return the cells of a notebook; plain JSON, as nbformat takes long to import."""
    return json.loads(path.read_text())["cells"]
