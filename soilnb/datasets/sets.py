"""Data sets of the companion chapters: files downloaded together and checked."""

import csv
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from soilnb._files import digest
from soilnb._validation import check_choice
from soilnb.datasets.open import Remote, data_folder, fetch_remote

REGISTRY = Path(__file__).resolve().parents[2] / "data" / "sets.toml"


@dataclass(frozen=True)
class DataSet:
    """What ``data/sets.toml`` says of one data set, and explains."""

    name: str
    what: str
    samples: int
    country: str
    licence: str
    cite: tuple[str, ...]
    files: tuple[Remote, ...]

    @property
    def is_there(self) -> bool:
        """Whether all its files are in the data folder."""
        return all((data_folder() / one.file).exists() for one in self.files)

    @property
    def sha256(self) -> str:
        """One SHA-256 of those of all files."""
        return digest(*(one.sha256 for one in self.files))


def data_sets() -> dict[str, DataSet]:
    """Return what the registry says of the data sets, by name and in its order.

    >>> len(data_sets()["raca"].files)
    15
    """
    tables = tomllib.loads(REGISTRY.read_text(encoding="utf-8"))
    for name, table in tables.items():
        files = tuple(Remote(**one) for one in table["files"])
        table |= {"name": name, "cite": tuple(table["cite"]), "files": files}
    return {name: DataSet(**table) for name, table in tables.items()}


def fetch_set(
    name: str, progress: Callable[[int, int], object] | None = None
) -> dict[str, Path]:
    """Return the files of a data set by name, after downloading those that are missing.

    `progress` is called as progress(done, total), in files, where one is missing. A
    ValueError if the name is unknown or a file is another one, see
    `soilnb.datasets.fetch`; an OSError if a file cannot be downloaded (ConnectionError)
    or written.
    """
    sets = data_sets()
    check_choice(name, "data set", sets)
    report = progress if not sets[name].is_there else None
    found = {}
    for done, remote in enumerate(sets[name].files, start=1):
        otherwise = "its chapters show their reference results meanwhile"
        found[remote.file] = fetch_remote(remote, otherwise)
        if report is not None:
            report(done, len(sets[name].files))
    return found


def read_own(path: Path, parameter: str = "data", **options: Any) -> pd.DataFrame:
    """Return a user's table in place of a data set, or raise one sentence."""
    if not path.is_file():
        msg = f"There is no file '{path}'. Check the path of {parameter!r}."
        raise FileNotFoundError(msg)
    try:
        return pd.read_csv(path, sep=None, engine="python", **options)
    except (ValueError, csv.Error) as error:  # not of text, or of no columns
        msg = f"'{path.name}' must be a table in a CSV file, got: {error}. Mend it."
        raise ValueError(msg) from error
