"""The steps of data/steps.toml, their notebooks, and where they leave their results."""

import json
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from soilnb._validation import check_choice
from soilnb.datasets import LIBRARIES, SITES, folder_name, is_table

ROOT = Path(__file__).resolve().parents[2]
COMPANIONS = "companions"  # folder of what needs no farm; group of chapters of its own
# Parameters that may name a file.
PATHS = {"site", "library", "measured", "data", "second_view"}


@dataclass(frozen=True)
class Entry:
    """One step as the registry has it; data/steps.toml explains the fields."""

    reads: Sequence[str] = ()
    uses: Sequence[str] = ()
    data: Sequence[str] = ()
    site: bool = True
    tests: bool = True
    waits: bool = False
    files: str = ""
    role: str = ""

    @property
    def sources(self) -> tuple[str, ...]:
        """The steps that it reads, and those that it takes where they are there."""
        return (*self.reads, *self.uses)


_TABLE = tomllib.loads((ROOT / "data" / "steps.toml").read_text())
STEPS = {name: Entry(**row) for name, row in _TABLE.items()}  # in their order
OF_SITE = tuple(name for name, entry in STEPS.items() if entry.site)


def by_role(role: str) -> str:
    """Return the step that has a role."""
    return next(name for name, entry in STEPS.items() if entry.role == role)


@dataclass(eq=False)
class Job:
    """One step with its parameters, and where it leaves its results."""

    step: str
    values: dict[str, Any]

    @property
    def entry(self) -> Entry:
        """What the registry says of the step."""
        return STEPS[self.step]

    @property
    def site_folder(self) -> Path:
        """results/<library>/<site>, or results/companions of a step without a site."""
        results = ROOT / Path(self.values["results"]).expanduser()
        if not self.entry.site:
            return results / COMPANIONS
        names = (folder_name(self.values[key], key) for key in ("library", "site"))
        return results.joinpath(*names)

    @property
    def place(self) -> Path:
        """Where the step's results appear when it has finished."""
        return self.site_folder / self.step

    @property
    def executed(self) -> Path:
        """The executed notebook of a run that has finished."""
        return self.place / f"{self.step}.ipynb"

    @property
    def spectra(self) -> Path:
        """Where all sites of a library share its spectra, if it is a large one."""
        return self.site_folder.with_name(".spectra")


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


def unknown_folders(folder: Path) -> list[str]:
    """Return the folders of an earlier numbering of the steps, which nothing reads."""
    named = (path.name for path in folder.glob("*/"))
    steps = (name for name in named if re.fullmatch(r"\d\d_\w+", name))
    return sorted(set(steps) - set(STEPS))


def check_writable(folder: Path) -> None:
    """Raise ValueError where results cannot be written, before anything is computed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()
    except OSError as error:
        msg = (
            f"'results' must be a folder that can be written, got {folder} "
            f"({error.strerror}). Choose another with results=FOLDER."
        )
        raise ValueError(msg) from error


def resolve(name_or_path: str) -> str:
    """Return a path as absolute: first below here, then below the repository."""
    if name_or_path in (*SITES, *LIBRARIES) or not name_or_path.strip():
        return name_or_path
    for base in (Path.cwd(), ROOT):
        path = base / Path(name_or_path).expanduser()
        if is_table(path) and path.exists():
            return str(path)
    return name_or_path
