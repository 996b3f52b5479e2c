"""A user's own spectra: what the file holds, what is wrong with it, and reading it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from soilnb._validation import check_choice
from soilnb.datasets.columns import COORDINATES, TableError
from soilnb.datasets.library import SpectralLibrary
from soilnb.datasets.quantities import (
    QUANTITIES,
    SOC_UNITS,
    Findings,
    to_percent,
    to_reflectance,
)
from soilnb.datasets.tables import SOC_CELL, Table, read_table


@dataclass(frozen=True, eq=False)
class FileReport:
    """What a file of spectra holds and what is wrong with it.

    Attributes
    ----------
    path : Path
        The file.
    problems : tuple of str
        Sentences; a file with any cannot be used.
    notes : tuple of str
        Sentences: what was converted, kept or ignored.
    library : SpectralLibrary or None
        The contents, if there is no problem.
    facts : tuple of (str, str)
        Label and value of what was found, for as far as the file could be read.
    """

    path: Path
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()
    library: SpectralLibrary | None = None
    facts: tuple[tuple[str, str], ...] = ()

    def lines(self) -> list[str]:
        """Return the report as lines of text, what is wrong last.

        Returns
        -------
        list of str
            One line each for the file, its facts, its notes and its problems.
        """
        lines = [self.path.name]
        lines += [f"  {label + ':':<13} {value}" for label, value in self.facts]
        lines += [f"  {note}" for note in self.notes]
        if not self.problems:
            return [*lines, "Nothing is wrong."]
        return [*lines, "Wrong:", *(f"  {problem}" for problem in self.problems)]


def read_file(
    path: str | Path, *, quantity: str = "", soc_unit: str = "", country: str = ""
) -> SpectralLibrary:
    """Return the spectra and soil organic carbon (SOC) of a CSV or Parquet file.

    One row per sample: `sample_id` (kept as text), `soc`, and one column per
    wavelength, named by its nm in one style ("420", "420nm", "wl_420", "X420"), in
    any order. `country`, `group`, `latitude` and `longitude` are kept, other columns
    ignored. CSV is UTF-8, separated by comma, semicolon or tab; with the last two
    numbers may have a decimal comma.

    Parameters
    ----------
    path : str or Path
        A .csv or .parquet file.
    quantity : str
        "reflectance" (fraction), "percent" (reflectance in percent), "absorbance",
        or "" to decide from the values.
    soc_unit : str
        "%" or "g/kg", of mass; "" means % if the values look like it.
    country : str
        Country of all samples, in place of the column; "" where unknown.

    Returns
    -------
    SpectralLibrary
        Reflectance as a fraction, SOC in %, wavelengths sorted; `notes` says what
        was converted and ignored. The group is the file's name without its suffix,
        unless there is a column `group`.

    Raises
    ------
    ValueError
        If an option is unknown or the file has a problem; the message is the first.
    FileNotFoundError
        If the file does not exist.

    See Also
    --------
    inspect_file : All problems of a file at once.
    """
    path = Path(path)
    if not path.exists():
        msg = f"There is no file '{path}'. Check the path."
        raise FileNotFoundError(msg)
    report = inspect_file(path, quantity=quantity, soc_unit=soc_unit, country=country)
    if report.library is None:
        msg = f"{path.name}: {report.problems[0]}"
        more = len(report.problems) - 1
        if more:
            msg += f" (and {more} more: soilnb data check {path.name})"
        raise ValueError(msg)
    return report.library


def inspect_file(
    path: str | Path, *, quantity: str = "", soc_unit: str = "", country: str = ""
) -> FileReport:
    """Return what a file of spectra holds and everything that is wrong with it.

    Parameters
    ----------
    path : str or Path
        A .csv or .parquet file.
    quantity, soc_unit, country : str
        As for `read_file`.

    Returns
    -------
    FileReport
        With the library if nothing is wrong.

    Raises
    ------
    ValueError
        If an option is unknown; never for the contents of the file.

    See Also
    --------
    read_file : The layout of the file, and its contents.
    """
    check_choice(quantity, "quantity", ("", *QUANTITIES))
    check_choice(soc_unit, "soc_unit", ("", *SOC_UNITS))
    path = Path(path)
    if not path.exists():
        return FileReport(path, (f"There is no file '{path}'. Check the path.",))
    try:
        table = read_table(path)
    except TableError as error:
        return FileReport(path, error.problems)
    found = Findings()
    _describe_table(table, found)
    _check_cells(table, found)
    _check_sample_ids(table, found)
    reflectance = to_reflectance(table, quantity, found)
    soc = to_percent(table, reflectance, soc_unit, found)
    info = _sample_info(table, path.stem, country, found)
    library = None
    if not found.problems:
        library = SpectralLibrary(
            name=path.stem,
            reflectance=reflectance.astype(np.float32),
            wavelengths=table.layout.wavelengths,
            soc=soc,
            info=info,
            notes=tuple(found.notes),
        )
    return FileReport(
        path, tuple(found.problems), tuple(found.notes), library, tuple(found.facts)
    )


def _describe_table(table: Table, found: Findings) -> None:
    """Note the size of the table and which columns are used."""
    wavelengths = table.layout.wavelengths
    steps = np.unique(np.diff(wavelengths).round(3))
    every = " to ".join(f"{step:g}" for step in sorted({steps[0], steps[-1]}))
    found.facts += [
        ("samples", str(len(table.sample_ids))),
        (
            "wavelengths",
            f"{len(wavelengths)}, from {wavelengths[0]:g} to {wavelengths[-1]:g} nm, "
            f"every {every} nm",
        ),
    ]
    if not table.layout.was_sorted:
        found.notes.append("The wavelength columns were sorted by increasing nm.")
    if table.extra:
        found.notes.append(f"Columns kept: {', '.join(table.extra)}.")
    if ignored := table.layout.ignored:
        listed = ", ".join(ignored[:10]) + (", ..." if len(ignored) > 10 else "")
        found.notes.append(f"Columns ignored: {listed}.")
    repeated = len(table.spectra) - len({row.tobytes() for row in table.spectra})
    if repeated:
        found.notes.append(f"Spectra equal to that of an earlier sample: {repeated}.")


def _check_cells(table: Table, found: Findings) -> None:
    """Report text where a number should be, and missing or infinite values."""
    no_soc, no_value = ~np.isfinite(table.soc), ~np.isfinite(table.spectra)
    for row, band, _ in table.texts:
        if band == SOC_CELL:
            no_soc[row] = False
        else:
            no_value[row, band] = False
    if table.texts:
        row, band, text = table.texts[0]
        column = "soc" if band == SOC_CELL else table.layout.spectral_names[band]
        more = len(table.texts) - 1
        found.problems.append(
            f"Column {column!r} must hold numbers, got the text {text!r} "
            f"({table.place(row)}{f'; {more} more such cells' if more else ''}). "
            "Write numbers with a decimal point, and nothing else in the cell."
        )
    if no_soc.any():
        found.problems.append(
            f"Column 'soc' has {int(no_soc.sum())} missing or infinite values (first: "
            f"{table.place(int(np.argmax(no_soc)))}). Remove these samples or fill in "
            "their SOC."
        )
    if no_value.any():
        found.problems.append(
            f"The spectra have {int(no_value.sum())} missing or infinite values "
            f"(first: {table.place_of(no_value)}). Remove these samples or wavelengths."
        )


def _check_sample_ids(table: Table, found: Findings) -> None:
    """Report samples without an id and ids that are used twice."""
    ids = table.sample_ids
    if empty := ids.count(""):
        found.problems.append(
            f"Column 'sample_id' has {empty} empty cells (first: data row "
            f"{ids.index('') + 1}). Give each sample its own id."
        )
    repeated = [name for name, count in Counter(ids).items() if name and count > 1]
    if repeated:
        first = ids.index(repeated[0])
        second = ids.index(repeated[0], first + 1)
        found.problems.append(
            f"Column 'sample_id' has {len(repeated)} ids that are used more than once "
            f"(first: {repeated[0]!r} in data rows {first + 1} and {second + 1}). "
            "Give each sample its own id."
        )


def _sample_info(
    table: Table, stem: str, country: str, found: Findings
) -> pd.DataFrame:
    """Return what is known of the samples."""
    n_samples = len(table.sample_ids)
    groups = table.extra.get("group", [""] * n_samples)
    countries = table.extra.get("country", [""] * n_samples)
    if country and "country" in table.extra:
        found.notes.append(f"The column country was replaced by {country!r}.")
    columns = {
        "sample_id": table.sample_ids,
        "source": stem,
        "group": [group or stem for group in groups],
        "country": country or countries,
        "carbon_kind": "organic carbon",
        "licence": "not stated",
    }
    for name in COORDINATES:
        if name in table.extra:
            columns[name] = table.extra[name]
            missing = int(np.isnan(table.extra[name]).sum())
            if missing:
                found.notes.append(f"{name} is not a number in {missing} samples.")
    return pd.DataFrame(columns)
