"""A user's own spectra: what the file holds, what is wrong with it, and reading it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilnb._validation import check_choice
from soilnb.datasets.files.columns import COORDINATES, TableError
from soilnb.datasets.files.quantities import (
    QUANTITIES,
    SOC_UNITS,
    Findings,
    to_percent,
    to_reflectance,
)
from soilnb.datasets.files.rows import SOC_CELL, Progress, Table, read_table, row_blocks
from soilnb.datasets.files.table import stem
from soilnb.datasets.library import SpectralLibrary
from soilnb.preprocessing import GRID_STEP_NM, resample

# A larger library is kept at every 10 nm only: 10,000 spectra of 2,000 bands.
MAX_VALUES_KEPT = 20_000_000


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
    path: str | Path,
    *,
    quantity: str = "",
    soc_unit: str = "",
    country: str = "",
    soc_required: bool = True,
    progress: Progress | None = None,
) -> SpectralLibrary:
    """Return the spectra and soil organic carbon (SOC) of a CSV or Parquet file.

    One row per sample: `sample_id` (kept as text), `soc`, and one column per
    wavelength, named by its nm in one style ("420", "420nm", "wl_420", "X420"), in
    any order. `country`, `group`, `latitude` and `longitude` are kept, other columns
    ignored. CSV is UTF-8, separated by comma, semicolon or tab; with the last two
    numbers may have a decimal comma. It may be packed with gzip.

    The tables of the Open Soil Spectral Library (OSSL) v1.2 and of ICRAF-ISRIC are
    recognised by the names of their columns, joined or as separate tables in one
    folder.

    Parameters
    ----------
    path : str or Path
        A .csv, .csv.gz, .tab or .parquet file; of OSSL and ICRAF-ISRIC also the
        folder with its tables.
    quantity : str
        "reflectance" (fraction), "percent" (reflectance in percent), "absorbance",
        or "" to decide from the values.
    soc_unit : str
        "%" or "g/kg", of mass; "" means % if the values look like it.
    country : str
        Country of all samples, in place of the column; "" where unknown.
    soc_required : bool, default True
        Whether every row counts, as in a site: a missing or impossible value is then
        a problem of the file. Else, as in a library, rows without SOC or spectrum are
        left out, and single values that are missing or out of range become NaN; the
        notes count both.
    progress : callable, optional
        Called with bytes read, bytes in all and a text, several times a second.

    Returns
    -------
    SpectralLibrary
        Reflectance as a fraction, SOC in %, wavelengths sorted; `notes` says what
        was converted, left out and ignored. The group is the file's name without its
        suffix (of a library with "(library)" behind it), unless there is a column
        `group`; in OSSL and ICRAF-ISRIC it is the
        profile or, where that is unknown, the data set. A library of more than 20
        million values is brought to every 10 nm.

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
    report = inspect_file(
        path,
        quantity=quantity,
        soc_unit=soc_unit,
        country=country,
        soc_required=soc_required,
        progress=progress,
    )
    if report.library is None:
        msg = f"{path.name}: {report.problems[0]}"
        more = len(report.problems) - 1
        if more:
            msg += f" (and {more} more: soilnb data check {path.name})"
        raise ValueError(msg)
    return report.library


def inspect_file(
    path: str | Path,
    *,
    quantity: str = "",
    soc_unit: str = "",
    country: str = "",
    soc_required: bool = True,
    progress: Progress | None = None,
) -> FileReport:
    """Return what a file of spectra holds and everything that is wrong with it.

    Parameters
    ----------
    path : str or Path
        A file or folder, as for `read_file`.
    quantity, soc_unit, country : str
        As for `read_file`.
    soc_required : bool, default True
        As for `read_file`: True for a site, False for a library.
    progress : callable, optional
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
        table = read_table(path, soc_required=soc_required, progress=progress)
    except TableError as error:
        return FileReport(path, error.problems)
    found = Findings()
    _describe_table(table, found)
    _check_cells(table, found)
    _check_sample_ids(table, found)
    reflectance = to_reflectance(table, quantity, found)
    soc = to_percent(table, reflectance, soc_unit, found)
    # A library and a site of one file name are not the same soils for that.
    group = stem(path) if soc_required else f"{stem(path)} (library)"
    info = _sample_info(table, stem(path), group, country, found)
    _describe_rows(table, found)
    library = None
    if not found.problems:
        library = _make_library(stem(path), table, reflectance, soc, info, found)
    return FileReport(
        path, tuple(found.problems), tuple(found.notes), library, tuple(found.facts)
    )


def _make_library(
    name: str,
    table: Table,
    reflectance: npt.NDArray[np.float32],
    soc: npt.NDArray[np.float64],
    info: pd.DataFrame,
    found: Findings,
) -> SpectralLibrary:
    """Return the rows that are kept; of a large library at every 10 nm."""
    wavelengths = table.layout.wavelengths
    first, last = wavelengths[[0, -1]] / GRID_STEP_NM
    grid = GRID_STEP_NM * np.arange(np.ceil(first), np.floor(last) + 1)
    large = reflectance.size > MAX_VALUES_KEPT and not table.every_row
    if large and 1 < len(grid) < len(wavelengths):
        coarse = np.empty((len(reflectance), len(grid)), dtype=np.float32)
        for rows in row_blocks(len(reflectance)):
            coarse[rows] = resample(reflectance[rows], wavelengths, grid)
        reflectance, wavelengths = coarse, grid
        found.notes.append(f"The spectra were brought to every {GRID_STEP_NM} nm.")
    return SpectralLibrary(
        name=name,
        reflectance=reflectance if table.keep.all() else reflectance[table.keep],
        wavelengths=wavelengths,
        soc=soc[table.keep],
        info=info[table.keep],
        notes=tuple(found.notes),
    )


def _describe_table(table: Table, found: Findings) -> None:
    """Note which columns are used."""
    layout = table.layout
    if layout.published:
        found.facts.append(("layout", layout.published.name))
    if len(table.files) > 1:
        found.facts.append(("files", ", ".join(table.files)))
    wavelengths = layout.wavelengths
    steps = np.unique(np.diff(wavelengths).round(3))
    every = " to ".join(f"{step:g}" for step in sorted({steps[0], steps[-1]}))
    found.facts.append(
        (
            "wavelengths",
            f"{len(wavelengths)}, from {wavelengths[0]:g} to {wavelengths[-1]:g} nm, "
            f"every {every} nm",
        )
    )
    found.notes += table.notes
    if not layout.was_sorted:
        found.notes.append("The wavelength columns were sorted by increasing nm.")
    if table.extra and not layout.published:
        found.notes.append(f"Columns kept: {', '.join(table.extra)}.")
    if layout.ignored:
        listed = ", ".join(layout.ignored[:10])
        more = ", ..." if len(layout.ignored) > 10 else ""
        found.notes.append(f"Columns ignored: {listed}{more}.")


def _describe_rows(table: Table, found: Findings) -> None:
    """Note how many rows are used, and why others are not."""
    n_kept = int(table.keep.sum())
    of_all = f" of {table.n_rows:,} rows" if n_kept < table.n_rows else ""
    found.facts.insert(0, ("samples", f"{n_kept}{of_all}"))
    found.notes += [
        f"{count:,} of {table.n_rows:,} rows {reason} and are left out."
        for reason, count in table.left_out.items()
    ]
    if not n_kept:
        found.problems.append(table.nothing_left())
    kept = np.flatnonzero(table.keep)
    repeated = len(kept) - len({hash(table.spectra[row].tobytes()) for row in kept})
    if repeated:
        found.notes.append(f"Spectra equal to that of an earlier sample: {repeated}.")


def _check_cells(table: Table, found: Findings) -> None:
    """Report text where a number should be, and missing or infinite values."""
    if table.every_row:
        _check_missing(table, found)
    else:
        _count_missing(table, found)


def _check_missing(table: Table, found: Findings) -> None:
    """Report what is missing in a site, where every value counts."""
    no_soc, no_value = ~np.isfinite(table.soc), ~np.isfinite(table.spectra)
    for row, band, _ in table.texts:
        if band == SOC_CELL:
            no_soc[row] = False
        else:
            no_value[row, band] = False
    if table.texts:
        found.problems.append(_text_problem(table))
    if no_soc.any():
        found.problems.append(
            f"Column {table.layout.column('soc')!r} has {int(no_soc.sum())} missing or "
            f"infinite values (first: {table.place(int(np.argmax(no_soc)))}). Remove "
            "these samples or fill in their SOC."
        )
    if no_value.any():
        found.problems.append(
            f"The spectra have {int(no_value.sum())} missing or infinite values "
            f"(first: {table.place_of(no_value)}). Remove these samples or wavelengths."
        )


def _count_missing(table: Table, found: Findings) -> None:
    """Count what is missing in a library; text is wrong in a user's own table."""
    if table.texts and table.layout.published is None:
        found.problems.append(_text_problem(table))
    elif table.texts:
        row, band, text = table.texts[0]
        column = table.layout.spectral_names[band]
        found.notes.append(
            f"{len(table.texts):,} cells of the spectra hold text and count as not "
            f"measured (first: {text!r}, {table.place(row)}, column {column!r})."
        )
    missing, rows = 0, 0
    for block in row_blocks(len(table.spectra)):
        bad = ~np.isfinite(table.spectra[block])
        table.spectra[block][bad] = np.nan
        missing += int(bad.sum())
        rows += int(bad.any(axis=1).sum())
    if missing:
        found.notes.append(
            f"{rows:,} rows were not measured at every wavelength ({missing:,} values "
            "are missing)."
        )


def _text_problem(table: Table) -> str:
    """Return the message for text where a number should be."""
    row, band, text = table.texts[0]
    layout = table.layout
    names = [*layout.spectral_names, layout.column("soc")]  # SOC_CELL is -1
    column = names[band]
    more = len(table.texts) - 1
    return (
        f"Column {column!r} must hold numbers, got the text {text!r} "
        f"({table.place(row)}{f'; {more} more such cells' if more else ''}). "
        "Write numbers with a decimal point, and nothing else in the cell."
    )


def _check_sample_ids(table: Table, found: Findings) -> None:
    """Report samples without an id and ids that are used twice."""
    ids, numbers = table.sample_ids, table.row_numbers
    column = table.layout.column("sample_id")
    if empty := ids.count(""):
        found.problems.append(
            f"Column {column!r} has {empty} empty cells (first: data row "
            f"{numbers[ids.index('')]}). Give each sample its own id."
        )
    repeated = [name for name, count in Counter(ids).items() if name and count > 1]
    if repeated:
        first = ids.index(repeated[0])
        second = ids.index(repeated[0], first + 1)
        found.problems.append(
            f"Column {column!r} has {len(repeated)} ids that are used more than once "
            f"(first: {repeated[0]!r} in data rows {numbers[first]} and "
            f"{numbers[second]}). Give each sample its own id."
        )


def _sample_info(
    table: Table, name: str, group: str, country: str, found: Findings
) -> pd.DataFrame:
    """Return what is known of the samples."""
    n_samples = len(table.sample_ids)
    extra = {**dict.fromkeys(("group", "country"), [""] * n_samples), **table.extra}
    if country and "country" in table.extra:
        found.notes.append(f"The column country was replaced by {country!r}.")
    columns = {
        "sample_id": table.sample_ids,
        "source": extra.pop("source", name),
        "group": [own or group for own in extra.pop("group")],
        "country": country or extra["country"],
        "carbon_kind": "organic carbon",
        "licence": extra.pop("licence", "not stated"),
    }
    del extra["country"]
    for axis, most in COORDINATES.items():
        values = np.asarray(extra.get(axis, [0.0] * n_samples), dtype=np.float64)
        if count := int(np.isnan(values)[table.keep].sum()):
            found.notes.append(f"{axis} is not a number in {count} samples.")
        off = table.keep & (np.abs(values) > most)
        if off.any():
            row = int(off.argmax())
            text = (
                f"{axis} must be from -{most} to {most} degrees (WGS 84), got "
                f"{values[row]:g} ({table.place(row)}), and {int(off.sum())} such "
                "values in all."
            )
            if table.every_row:
                found.problems.append(
                    f"{text} Convert metres to degrees, or leave these cells empty."
                )
            else:
                found.notes.append(f"{text} They count as not known.")
                extra[axis] = np.where(off, np.nan, values).tolist()
    return pd.DataFrame({**columns, **extra})
