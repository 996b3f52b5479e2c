"""Where results are, and how a finished folder gets there whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from soilnb.datasets import LIBRARIES, SITES, folder_name, is_table
from soilnb.workflow.params import ROOT


def results_folder(parameters: Mapping[str, Any]) -> Path:
    """Return results/<library>/<site>, below the repository unless absolute."""
    library, site = (folder_name(parameters[key], key) for key in ("library", "site"))
    return ROOT / Path(parameters["results"]).expanduser() / library / site


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


def replace_folder(new: Path, place: Path) -> None:
    """Move a finished folder to its place; whatever was there goes."""
    old = place.with_name(f".{place.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    new.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def resolve(name_or_path: str) -> str:
    """Return a path as absolute: first below here, then below the repository."""
    if name_or_path in (*SITES, *LIBRARIES) or not name_or_path.strip():
        return name_or_path
    for base in (Path.cwd(), ROOT):
        path = base / Path(name_or_path).expanduser()
        if is_table(path) and path.exists():
            return str(path)
    return name_or_path
