"""A user's own spectra: what the file holds, what is wrong with it, and reading it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilnb.datasets.files.cells import (
    check_cells,
    check_ids,
    leave_out_bands,
    settle_limits,
)
from soilnb.datasets.files.columns import COORDINATES, SOIL_COLUMNS, TableError
from soilnb.datasets.files.measured import add_measured
from soilnb.datasets.files.quantities import Findings, to_percent, to_reflectance
from soilnb.datasets.files.replicates import Soils, find_soils
from soilnb.datasets.files.rows import (
    Progress,
    Rows,
    nothing_left,
    read_rows,
    row_blocks,
)
from soilnb.datasets.files.table import stem
from soilnb.datasets.files.told import Told
from soilnb.datasets.library import SpectralLibrary
from soilnb.preprocessing import GRID_STEP_NM, resample

# A larger library is kept at every 10 nm only: 10,000 spectra of 2,000 bands.
MAX_VALUES_KEPT = 20_000_000
CARBON_KINDS = {  # of the table of samples, where they are not organic carbon
    "organic_matter": "organic matter / 1.724",
    "total_carbon": "total carbon",
}


_IN_FACTS = re.compile(r"^The spectra were taken as|samples are measured, \d+ have no")


@dataclass(frozen=True, eq=False)
class FileReport:
    """What a file of spectra holds and what is wrong with it.

    Attributes
    ----------
    path : Path
        The file.
    problems, notes : tuple of str
        Sentences: why it cannot be used; what was converted, kept or ignored.
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

    def understood(self) -> list[str]:
        """Return what was understood as lines of text, each thing once."""
        lines = [self.path.name]
        lines += [f"  {label + ':':<13} {value}" for label, value in self.facts]
        return lines + [f"  {n}" for n in self.notes if not _IN_FACTS.search(n)]

    def lines(self) -> list[str]:
        """Return the report as lines of text, what is wrong last."""
        lines = self.understood()
        if not self.problems:
            return [*lines, "Nothing is wrong."]
        return [*lines, "Wrong:", *(f"  {problem}" for problem in self.problems)]


def read_file(
    path: str | Path,
    *,
    soc_required: bool = True,
    measured: str | Path = "",
    progress: Progress | None = None,
    **told: str,
) -> SpectralLibrary:
    """Return the spectra and soil organic carbon (SOC) of a table.

    One row per sample: `sample_id` (kept as text), `soc`, and one column per
    wavelength, named by its nm in one style ("420", "wl_420", "VNIR_refl_420"), in
    any order. `country`, `group`, `latitude`, `longitude`, `bulk_density` (g/cm3) and
    `depth_cm` are kept, other columns ignored. Other names of organic carbon ("OC",
    "SOC (g/kg)") and of the samples ("SampleID") are found and said. Text is UTF-8 or
    Windows-1252, separated by comma, semicolon or tab; with the last two numbers may
    have a decimal comma. It may be packed with gzip. Transposed tables and long ones
    (a row per sample and wavelength) are turned.

    The tables of the Open Soil Spectral Library (OSSL) v1.2 and of ICRAF-ISRIC are
    recognised by the names of their columns, joined or as separate tables in one
    folder.

    Parameters
    ----------
    path : str or Path
        A .csv, .csv.gz, .tab, .tsv, .txt, .parquet, .xlsx or .xls file; of OSSL and
        ICRAF-ISRIC also the folder with its tables.
    soc_required : bool, default True
        Whether every row counts, as in a site: an impossible value or a gap in a
        spectrum is then a problem of the file, and rows without SOC are kept with NaN;
        there may be no SOC at all.
        Else, as in a library, rows without SOC or spectrum are left out, and single
        values that are missing or out of range become NaN; the notes count all.
    measured : str or Path
        For a site, a table with the laboratory's values: columns sample_id and soc, in
        the unit of the file's own SOC, empty where there is none; of a draw also
        design ("stratified", "random", "kennard_stone"; "next" or empty if the sample
        was not drawn), stratum and inclusion_probability. "" for none.
    progress : callable, optional
        Called with bytes read, bytes in all and a text, several times a second.
    **told : str
        What the file does not say itself: quantity, axis, soc_column, soc_kind,
        soc_unit, id_column, replicates, below_detection, country (see the attributes
        of `Told`).

    Returns
    -------
    SpectralLibrary
        Reflectance as a fraction, SOC in % (NaN where not measured), wavelengths
        sorted; `notes` says what
        was converted, left out and ignored. The group is the file's name without its
        suffix (of a library with "(library)" behind it), unless there is a column
        `group`; in OSSL and ICRAF-ISRIC it is the
        profile or, where that is unknown, the data set. A library of more than 20
        million values is brought to every 10 nm. With `measured`, info has design
        (str, "" if not drawn), stratum (Int64) and inclusion_probability (float), of
        the samples in that table also where they have no SOC.

    Raises
    ------
    ValueError
        If an option is unknown or the file has a problem; the message is the first.
    FileNotFoundError
        If a file does not exist.

    See Also
    --------
    inspect_file : All problems of a file at once.
    """
    report = inspect_file(
        path,
        soc_required=soc_required,
        measured=measured,
        progress=progress,
        **told,
    )
    if report.library is not None:
        return report.library
    if _missing_file(path, measured):
        raise FileNotFoundError(report.problems[0])
    name = report.path.name
    msg = f"{name}: {report.problems[0]}"
    more = len(report.problems) - 1
    if more:
        msg += f" (and {more} more: soilnb data check {name})"
    raise ValueError(msg)


def inspect_file(
    path: str | Path,
    *,
    soc_required: bool = True,
    measured: str | Path = "",
    progress: Progress | None = None,
    **told: str,
) -> FileReport:
    """Return what a file of spectra holds and everything that is wrong with it.

    Parameters
    ----------
    path, soc_required, measured, progress, **told
        As for `read_file`.

    Returns
    -------
    FileReport
        With the library if nothing is wrong.

    Raises
    ------
    ValueError
        If an option is unknown; never for the contents of the file.
    """
    known = Told(**told)
    path = Path(path)
    if missing := _missing_file(path, measured):
        return FileReport(path, (missing,))
    of_draw: dict[str, Any] = {}
    note = ""
    try:
        rows = read_rows(path, known, every_row=soc_required, progress=progress)
        rows, found = leave_out_bands(rows)
        rows, soils, more = find_soils(rows, known)
        found += more
        if measured:
            rows, of_draw, note = add_measured(rows, Path(measured), known, soils.names)
    except TableError as error:
        return FileReport(path, error.problems)
    rows, more = settle_limits(rows, known)
    found = _describe_columns(rows) + found + more
    found += Findings(notes=(note,) if note else ())
    found += check_cells(rows) + check_ids(rows)
    reflectance, more = to_reflectance(rows, known.quantity)
    found += more
    keep = found.keep(len(rows.soc))
    soc, more = to_percent(rows, reflectance, keep, known.soc_unit)
    found += more
    keep = found.keep(len(rows.soc))
    # A library and a site of one file name are not the same soils for that.
    group = stem(path) if soc_required else f"{stem(path)} (library)"
    info, more = _sample_info(rows, stem(path), group, known.country, keep)
    found += more + _count_rows(rows, found, keep)
    library = None
    if not found.problems:
        wavelengths, reflectance, more = _coarsen(reflectance, rows)
        found += more
        library = SpectralLibrary(
            name=stem(path),
            reflectance=reflectance if keep.all() else reflectance[keep],
            wavelengths=wavelengths,
            soc=soc[keep],
            info=info.assign(**of_draw)[keep],
            notes=found.notes,
        )
        if soils.repeated:
            soils = replace(soils, names=[soils.names[n] for n in np.flatnonzero(keep)])
            library = _unite(library, soils, known.replicates)
    facts = (*found.facts[-1:], *found.facts[:-1])  # the number of samples first
    return FileReport(path, found.problems, found.notes, library, facts)


def _unite(library: SpectralLibrary, soils: Soils, replicates: str) -> SpectralLibrary:
    """Return the mean scan of each soil, or all scans with the soil they are of."""
    if replicates == "separate":
        return replace(library, info=library.info.assign(soil=soils.names))
    first = soils.first()
    names = [soils.names[row] for row in first]
    return replace(
        library,
        reflectance=soils.average(library.reflectance),
        soc=soils.average(library.soc),
        info=library.info.iloc[first].assign(sample_id=names),
    )


def _missing_file(path: str | Path, measured: str | Path) -> str:
    """Return the message for a file that does not exist, or ""."""
    for name in (path, measured):
        if name and not Path(name).exists():
            return f"There is no file '{name}'. Check the path."
    return ""


def _coarsen(
    reflectance: npt.NDArray[np.float32], rows: Rows
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32], Findings]:
    """Return wavelengths and spectra; of a large library at every 10 nm."""
    wavelengths = rows.layout.wavelengths
    first, last = wavelengths[[0, -1]] / GRID_STEP_NM
    grid = GRID_STEP_NM * np.arange(np.ceil(first), np.floor(last) + 1)
    large = reflectance.size > MAX_VALUES_KEPT and not rows.every_row
    if not large or not 1 < len(grid) < len(wavelengths):
        return wavelengths, reflectance, Findings()
    coarse = np.empty((len(reflectance), len(grid)), dtype=np.float32)
    for block in row_blocks(len(reflectance)):
        coarse[block] = resample(reflectance[block], wavelengths, grid)
    note = f"The spectra were brought to every {GRID_STEP_NM} nm."
    return grid, coarse, Findings(notes=(note,))


def _describe_columns(rows: Rows) -> Findings:
    """Note which columns are used."""
    layout, wavelengths = rows.layout, rows.layout.wavelengths
    facts, notes = [], [*rows.notes]
    if layout.published:
        facts.append(("layout", layout.published.name))
    if len(rows.files) > 1:
        facts.append(("files", ", ".join(rows.files)))
    steps = np.unique(np.diff(wavelengths).round(3))
    every = " to ".join(f"{step:g}" for step in sorted({steps[0], steps[-1]}))
    bands = f"{len(wavelengths)}, from {wavelengths[0]:g} to {wavelengths[-1]:g} nm"
    facts.append(("wavelengths", f"{bands}, every {every} nm"))
    if not layout.was_sorted:
        notes.append("The wavelength columns were sorted by increasing nm.")
    if rows.extra and not layout.published:
        notes.append(f"Columns kept: {', '.join(rows.extra)}.")
    if layout.ignored:
        listed = ", ".join(layout.ignored[:10])
        more = ", ..." if len(layout.ignored) > 10 else ""
        notes.append(f"Columns ignored: {listed}{more}.")
    return Findings(notes=tuple(notes), facts=tuple(facts))


def _count_rows(rows: Rows, found: Findings, keep: npt.NDArray[np.bool_]) -> Findings:
    """Note how many rows are used, and why others are not."""
    left_out, before = dict(rows.left_out), np.ones(len(keep), dtype=bool)
    for reason, which in found.left_out:
        if count := int((which & before).sum()):
            left_out[reason] = count
            before &= ~which
    n_kept = int(keep.sum())
    of_all = f" of {rows.n_rows:,} rows" if n_kept < rows.n_rows else ""
    notes = [
        f"{count:,} of {rows.n_rows:,} rows {reason} and are left out."
        for reason, count in left_out.items()
    ]
    kept = np.flatnonzero(keep)
    repeated = len(kept) - len({hash(rows.spectra[row].tobytes()) for row in kept})
    if repeated:
        notes.append(f"Spectra equal to that of an earlier sample: {repeated}.")
    return Findings(
        problems=() if n_kept else (nothing_left(rows.n_rows, left_out),),
        notes=tuple(notes),
        facts=(("samples", f"{n_kept}{of_all}"),),
    )


def _sample_info(
    rows: Rows, name: str, group: str, country: str, keep: npt.NDArray[np.bool_]
) -> tuple[pd.DataFrame, Findings]:
    """Return what is known of the samples."""
    n_samples = len(rows.sample_ids)
    extra: dict[str, Any] = dict.fromkeys(("group", "country"), [""] * n_samples)
    extra |= rows.extra
    found = Findings()
    if country and "country" in rows.extra:
        found += Findings(notes=(f"The column country was replaced by {country!r}.",))
    for axis in COORDINATES:
        if axis in extra:
            extra[axis], more = _check_degrees(rows, axis, keep)
            found += more
    for name in {*SOIL_COLUMNS} & {*extra}:
        found += _check_soil(rows, name)
    columns = {
        "sample_id": rows.sample_ids,
        "source": extra.pop("source", name),
        "group": [own or group for own in extra.pop("group")],
        "country": country or extra["country"],
        "carbon_kind": CARBON_KINDS.get(rows.layout.soc_kind, "organic carbon"),
        "licence": extra.pop("licence", "not stated"),
    }
    del extra["country"]
    return pd.DataFrame({**columns, **extra}), found


def _check_soil(rows: Rows, name: str) -> Findings:
    """Return the problem of bulk densities or depths that no soil has."""
    from soilnb.sampling import BULK_DENSITIES_G_CM3, DEPTHS_CM  # loads SciPy

    limits = {"bulk_density": BULK_DENSITIES_G_CM3, "depth_cm": DEPTHS_CM}
    values, (low, high) = np.asarray(rows.extra[name]), limits[name]
    unit = "g/cm3" if name == "bulk_density" else "cm"
    off = (values < low) | (values > high)
    if not off.any() or not rows.every_row:
        return Findings()
    row = int(off.argmax())
    is_kg = name == "bulk_density" and values[row] > 100
    return Findings(
        problems=(
            f"{name} must be between {low:g} and {high:g} {unit}, got {values[row]:g} "
            f"({rows.place(row)}), and {int(off.sum())} such values in all. "
            + ("Divide kg/m3 by 1000." if is_kg else "Correct it, or leave it empty."),
        )
    )


def _check_degrees(
    rows: Rows, axis: str, keep: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float64], Findings]:
    """Return latitudes or longitudes, in a library NaN for what is not on Earth."""
    values, most = np.asarray(rows.extra[axis], dtype=np.float64), COORDINATES[axis]
    notes = []
    if count := int(np.isnan(values)[keep].sum()):
        notes.append(f"{axis} is not a number in {count} samples.")
    off = keep & (np.abs(values) > most)
    if not off.any():
        return values, Findings(notes=tuple(notes))
    row = int(off.argmax())
    text = (
        f"{axis} must be from -{most} to {most} degrees (WGS 84), got "
        f"{values[row]:g} ({rows.place(row)}), and {int(off.sum())} such "
        "values in all."
    )
    if rows.every_row:
        problem = f"{text} Convert metres to degrees, or leave these cells empty."
        return values, Findings((problem,), tuple(notes))
    notes.append(f"{text} They count as not known.")
    return np.where(off, np.nan, values), Findings(notes=tuple(notes))
