"""A user's own spectra: what the file holds, what is wrong with it, and reading it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from soilnb._blocks import row_blocks
from soilnb.datasets.files.columns import (
    COORDINATES,
    NUMBER_COLUMNS,
    SOIL_COLUMNS,
    Floats,
    Singles,
)
from soilnb.datasets.files.quantities import to_reflectance
from soilnb.datasets.files.roles import TableError, Told
from soilnb.datasets.files.rows import Progress, Rows, read_rows
from soilnb.datasets.files.samples import (
    check_cells,
    check_ids,
    find_soils,
    leave_out_bands,
    settle_limits,
    to_percent,
)
from soilnb.datasets.files.table import stem
from soilnb.datasets.files.tables import add_measured
from soilnb.datasets.library import SpectralLibrary, own_grid
from soilnb.preprocessing import GRID_STEP_NM, resample

# A larger library is kept at every 10 nm only: 10,000 spectra of 2,000 bands.
MAX_VALUES_KEPT = 20_000_000
CARBON_KINDS = {  # of the table of samples, where they are not organic carbon
    "organic_matter": "organic matter / 1.724",
    "total_carbon": "total carbon",
}
NO_FILE = "There is no file"
_IN_FACTS = re.compile(r"^The spectra were taken as|samples are measured, \d+ have no")


@dataclass(frozen=True, eq=False)
class FileReport:
    """What a file of spectra holds and what is wrong with it.

    `problems` and `notes` are sentences: why the file at `path` cannot be used; what
    was converted, kept or ignored. `library` has the contents, None if there is a
    problem; `facts` are label and value of what was found, for as far as the file could
    be read.
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
    "SOC (g/kg)") and of the samples ("SampleID") are found and said. Transposed tables
    and long ones (a row per sample and wavelength) are turned. The tables of the Open
    Soil Spectral Library (OSSL) v1.2 and of ICRAF-ISRIC are recognised by the names of
    their columns, joined or as separate tables in one folder.

    Parameters
    ----------
    path : str or Path
        A table (text, Parquet or a workbook); of OSSL and ICRAF-ISRIC also the folder.
    soc_required : bool, default True
        Whether every row counts, as in a site: an impossible value or a gap in a
        spectrum is then a problem of the file, and rows without SOC are kept with NaN.
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
        What the file does not say itself: quantity ("reflectance", a fraction,
        "percent" or "absorbance"); axis of the bands' names ("wavelength", nm,
        "wavenumber", cm-1, or "micrometre"); soc_column and id_column; soc_kind
        ("organic_carbon", "organic_matter", which is divided by 1.724, "total_carbon",
        taken as it is, or the logarithm "ln" or "log10"); soc_unit of mass ("%",
        "g/kg", "g/100g" or "mg/kg"); replicates, scans of one soil ("average", or
        "separate", all on one side of every split); below_detection, of SOC such as
        "<0.2" or 0 ("half" of the limit, of the smallest value where none is given, or
        "unmeasured"); country of all samples, in place of the column.

    Returns
    -------
    SpectralLibrary
        Reflectance as a fraction, SOC in % (NaN where not measured), wavelengths
        sorted; `notes` says what was converted, left out and ignored. The group is the
        file's name (of a library with "(library)" behind it), unless there is a column
        `group`; in OSSL and ICRAF-ISRIC it is the profile or else the data set. A
        library of more than 20 million values is brought to every 10 nm. With
        `measured`, info has design, stratum and inclusion_probability.

    Raises
    ------
    ValueError
        If an option is unknown or the file has a problem; the message is the first of
        those that `inspect_file` returns.
    FileNotFoundError
        If a file does not exist.
    """
    given = {"soc_required": soc_required, "measured": measured, "progress": progress}
    report = inspect_file(path, **given, **told)  # type: ignore[arg-type]
    if report.library is not None:
        return report.library
    first, *others = report.problems
    if first.startswith(NO_FILE):
        raise FileNotFoundError(first)
    name = report.path.name
    more = f" (and {len(others)} more: soilnb data check {name})" if others else ""
    msg = f"{name}: {first}{more}"
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

    Parameters are those of `read_file`. A ValueError says if an option is unknown;
    nothing is raised for the contents of the file.
    """
    known, path = Told(**told), Path(path)
    for file in (path, measured or path):
        if not Path(file).exists():
            return FileReport(path, (f"{NO_FILE} '{file}'. Check the path.",))
    drawn: dict[str, Any] = {}
    try:
        rows = read_rows(path, known, every_row=soc_required, progress=progress)
        n_notes = len(rows.notes)
        leave_out_bands(rows)
        soils = find_soils(rows, known)
        if measured:
            drawn = add_measured(rows, Path(measured), known, soils)
    except TableError as error:
        return FileReport(path, error.problems)
    rows.notes[n_notes:n_notes] = _describe_columns(rows)
    settle_limits(rows, known)
    check_cells(rows)
    check_ids(rows)
    reflectance = to_reflectance(rows, known.quantity)
    soc = to_percent(rows, reflectance, known.soc_unit)
    # A library and a site of one file name are not the same soils for that.
    group = stem(path) if soc_required else f"{stem(path)} (library)"
    info = _sample_info(rows, stem(path), group, known.country).assign(**drawn)
    _count_rows(rows)
    library, keep = None, rows.keep
    if soils.duplicated().any():
        info["soil"] = [*soils]
    if not rows.problems:
        wavelengths, reflectance = _coarsen(reflectance, rows)
        library = SpectralLibrary(
            name=stem(path),
            reflectance=reflectance if keep.all() else reflectance[keep],
            wavelengths=wavelengths,
            soc=soc[keep],
            info=info[keep],
            notes=tuple(rows.notes),
        )
        library = library.by_soil() if known.replicates == "average" else library
    facts = tuple((label, value) for label, value in rows.facts.items() if value)
    return FileReport(path, tuple(rows.problems), tuple(rows.notes), library, facts)


def _coarsen(reflectance: Singles, rows: Rows) -> tuple[Floats, Singles]:
    """Return wavelengths and spectra; of a large library at every 10 nm."""
    wavelengths = rows.layout.wavelengths
    grid = own_grid(wavelengths)
    large = reflectance.size > MAX_VALUES_KEPT and not rows.every_row
    if not large or not 1 < len(grid) < len(wavelengths):
        return wavelengths, reflectance
    coarse = np.empty((len(reflectance), len(grid)), dtype=np.float32)
    for block in row_blocks(len(reflectance)):
        coarse[block] = resample(reflectance[block], wavelengths, grid)
    rows.notes.append(f"The spectra were brought to every {GRID_STEP_NM} nm.")
    return grid, coarse


def _describe_columns(rows: Rows) -> list[str]:
    """Return which columns are used, in notes."""
    layout, nm = rows.layout, rows.layout.wavelengths
    steps = np.unique(np.diff(nm).round(3))
    every = " to ".join(f"{step:g}" for step in sorted({steps[0], steps[-1]}))
    bands = f"{len(nm)}, from {nm[0]:g} to {nm[-1]:g} nm, every {every} nm"
    rows.facts["wavelengths"] = bands
    listed, more = ", ".join(layout.ignored[:10]), ", ..." * (len(layout.ignored) > 10)
    kept = ", ".join(rows.extra) * (layout.published is None)
    notes = [f"Columns kept: {kept}."] if kept else []
    return notes + ([f"Columns ignored: {listed}{more}."] if listed else [])


def _count_rows(rows: Rows) -> None:
    """Note how many rows are used, and why others are not."""
    used = rows.sort_out(rows.left_out)
    of_all = f"{rows.n_rows:,} rows"
    rows.notes += [
        f"{count:,} of {of_all} {reason} and are left out."
        for reason, count in (+rows.skipped).items()
    ]
    kept = np.flatnonzero(used)
    repeated = len(kept) - len({hash(rows.spectra[row].tobytes()) for row in kept})
    if repeated:
        rows.notes.append(f"Spectra equal to that of an earlier sample: {repeated}.")
    if not len(kept):
        rows.problems.append(rows.nothing_left())
    counted = f"{len(kept)}" + f" of {of_all}" * (len(kept) < rows.n_rows)
    rows.facts = {"samples": counted, **rows.facts}


def _sample_info(rows: Rows, name: str, group: str, country: str) -> pd.DataFrame:
    """Return what is known of the samples."""
    info = rows.extra
    if country and "country" in info:
        rows.notes.append(f"The column country was replaced by {country!r}.")
    limits = {axis: (-float(most), float(most)) for axis, most in COORDINATES.items()}
    if rows.every_row and {*SOIL_COLUMNS} & {*info}:
        from soilnb.sampling import BULK_DENSITIES_G_CM3, DEPTHS_CM  # loads SciPy

        limits |= {"bulk_density": BULK_DENSITIES_G_CM3, "depth_cm": DEPTHS_CM}
    for axis in [name for name in NUMBER_COLUMNS if name in info]:
        if count := int(info[axis].isna()[rows.keep].sum()):
            rows.notes.append(f"{axis} is not a number in {count} samples.")
        if axis in limits:
            _check_range(rows, axis, *limits[axis])
    own = info.get("group", pd.Series("", info.index))
    columns = {
        "sample_id": rows.sample_ids,
        "source": info.get("source", name),
        "group": own.where(own != "", group),
        "country": country or info.get("country", ""),
        "carbon_kind": CARBON_KINDS.get(rows.layout.soc_kind, "organic carbon"),
        "licence": info.get("licence", "not stated"),
    }
    others = info.drop(columns=[*columns], errors="ignore")
    return pd.DataFrame({**columns, **others})


def _check_range(rows: Rows, name: str, low: float, high: float) -> None:
    """Report values of a column out of its range; in a library they become NaN."""
    rule = f"from {low:g} to {high:g} degrees (WGS 84)"
    remedy = "Convert metres to degrees, or leave these cells empty."
    if name in SOIL_COLUMNS:
        unit = "cm" if name == "depth_cm" else "g/cm3"
        rule, remedy = (
            f"between {low:g} and {high:g} {unit}",
            "Correct it, or leave it empty.",
        )
    values = rows.extra[name].to_numpy(np.float64)
    off = rows.keep & ((values < low) | (values > high))
    text = "{name} must be {rule}, got {value:g} ({first}), and {n} such values in all."
    text = rows.say(off, text, values, name=name, rule=rule)
    if text and rows.every_row:
        is_kg = name == "bulk_density" and values[off][0] > 100
        rows.problems.append(f"{text} {'Divide kg/m3 by 1000.' if is_kg else remedy}")
    elif text:
        rows.extra[name] = np.where(off, np.nan, values)
        rows.notes.append(f"{text} They count as not known.")
