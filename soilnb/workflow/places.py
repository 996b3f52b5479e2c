"""Where data and results are."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from soilnb.datasets import LIBRARIES, SITES, folder_name, is_table
from soilnb.workflow.steps import COMPANIONS, ROOT, STEPS

# Parameters that may name a file.
PATHS = {"site", "library", "measured", "data", "second_view"}


def results_folder(step: str, values: Mapping[str, Any]) -> Path:
    """Return results/<library>/<site>, or results/companions of a step without one."""
    results = ROOT / Path(values["results"]).expanduser()
    if not STEPS[step].site:
        return results / COMPANIONS
    library, site = (folder_name(values[key], key) for key in ("library", "site"))
    return results / library / site


def unknown_folders(folder: Path) -> list[str]:
    """Return the folders of an earlier numbering of the steps, which nothing reads."""
    named = (path.name for path in folder.glob("*/"))
    steps = (name for name in named if re.fullmatch(r"\d\d_\w+", name))
    return sorted(set(steps) - set(STEPS))


def spectra_folder(step: str, values: Mapping[str, Any]) -> Path:
    """Return where all sites of a library share its spectra, if it is a large one."""
    return results_folder(step, values).parent / ".spectra"


def check_writable(folder: Path) -> None:
    """Raise ValueError where results cannot be written, before anything is computed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
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
