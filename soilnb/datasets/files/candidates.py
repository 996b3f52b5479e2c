"""A table of candidate places: what is expected there, and where they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from soilnb.datasets.files.columns import COORDINATES, TableError
from soilnb.datasets.files.measured import Table, read_cells

METRES = ("easting", "northing")
CANDIDATE_NUMBERS = ("prediction", "spread", *COORDINATES, *METRES)
_FIELDS = ("sample_id", "stratum", *CANDIDATE_NUMBERS)
_REMEDY = "or leave the place out"
_MAP_M = 10_000  # coordinates of a map are as large; those from a farm's corner are not


def read_candidates(path: str | Path) -> pd.DataFrame:
    """Return a table of places that may be sampled.

    Parameters
    ----------
    path : str or Path
        CSV or Parquet file. Columns, as far as they are there: sample_id (by default
        the number of the row), prediction and spread (its standard deviation, same
        unit), stratum (a name), latitude and longitude (degrees, WGS 84) or easting
        and northing (metres). Others are not read.

    Returns
    -------
    DataFrame
        The columns that are there, one row a place; numbers are complete and finite.

    Raises
    ------
    ValueError
        If the file is no table, has neither prediction nor coordinates, or a cell is
        missing, negative (spread) or not on Earth, or coordinates are of two kinds.
    """
    path = Path(path)
    if not path.exists():
        msg = f"There is no file '{path}'. Check the path."
        raise ValueError(msg)
    table = read_cells(path, _FIELDS, _find_columns)
    ids = table.cells["sample_id"]
    if (twice := ids[ids.duplicated()]).size:
        msg = f"Column 'sample_id' has {twice.iloc[0]!r} twice. Name each place once."
        raise TableError(msg)
    found: dict[str, object] = {"sample_id": ids}
    if "stratum" in table.cells:
        names = table.cells["stratum"].to_numpy(object)
        table.check(names == "", "stratum", "be filled in for every place", _REMEDY)
        found["stratum"] = names
    for name in CANDIDATE_NUMBERS:
        if name in table.cells:
            values = found[name] = table.numbers(name)
            bad = ~np.isfinite(values)
            table.check(bad, name, "hold a number for every place", _REMEDY)
    _check_ranges(table, found)
    return pd.DataFrame(found)


def _find_columns(names: Sequence[str]) -> tuple[dict[str, int], list[str]]:
    """Return the places of the columns, and what is wrong with them, in sentences."""
    known = {name.lower(): place for place, name in enumerate(names)}
    degrees, metres = ([n in known for n in pair] for pair in (COORDINATES, METRES))
    if any(degrees) != all(degrees) or any(metres) != all(metres):
        there = [name for name in (*COORDINATES, *METRES) if name in known]
        problem = (
            "Coordinates must be the columns latitude and longitude (degrees), or "
            f"easting and northing (metres), got {' and '.join(there)}. Give a pair."
        )
    elif "prediction" in known or any(degrees) or any(metres):
        return known, []
    else:
        problem = (
            "There must be a column prediction, or latitude and longitude (degrees), "
            f"or easting and northing (metres), got {', '.join(names[:5])}. Rename or "
            "add them; for scans without either: soilnb choose FILE"
        )
    return known, [problem]


def _check_ranges(table: Table, found: dict) -> None:
    """Raise where a spread is negative or coordinates are of two kinds."""
    if "spread" in found:
        rule = "be at least 0, a standard deviation"
        table.check(found["spread"] < 0, "spread", rule, _REMEDY)
    for axis, most in COORDINATES.items():
        if axis in found:
            rule = f"be from -{most} to {most} degrees, not metres"
            table.check(np.abs(found[axis]) > most, axis, rule, _REMEDY)
    if "easting" in found:
        east, north = (np.abs(found[name]) for name in METRES)
        like_degrees = (east <= 180) & (north <= 90)
        if not like_degrees.all() and north[~like_degrees].min() > _MAP_M:
            rule = "be metres for every place, not degrees"
            table.check(like_degrees, "easting", rule, _REMEDY)
        elif max(np.ptp(found["easting"]), np.ptp(found["northing"])) < 1:
            rule = "be metres, which differ by more than one (are these degrees?)"
            table.check(np.ones(len(east), bool), "easting", rule, _REMEDY)
