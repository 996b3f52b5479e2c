"""What the numbers of a user's file are: reflectance or absorbance, % or g/kg."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from soilnb.datasets.files.rows import Table, row_blocks
from soilnb.datasets.library import describe
from soilnb.preprocessing import MAX_REFLECTANCE

QUANTITIES = ("reflectance", "percent", "absorbance")
SOC_UNITS = ("%", "g/kg")

# What a value may be. Absorbance follows from reflectance up to 1.5; above 4 less
# than 0.01 % of the light comes back, which no instrument tells from none.
MAX_ABSORBANCE = 4.0
MIN_REFLECTANCE = 1e-12  # zero for any instrument, and nearly so in single precision
LIMITS = {
    "reflectance": (MIN_REFLECTANCE, MAX_REFLECTANCE),
    "percent": (100 * MIN_REFLECTANCE, 100 * MAX_REFLECTANCE),
    "absorbance": (-float(np.log10(MAX_REFLECTANCE)), MAX_ABSORBANCE),
}
NAMES = {
    "reflectance": "reflectance (fraction)",
    "percent": "reflectance in percent",
    "absorbance": "absorbance",
}
# The quantity is decided without the lowest and highest 1 % of all values, so that
# a few noisy bands at the edges do not decide it.
DECIDING_PERCENTILES = (1, 50, 99)
MIN_TYPICAL_PERCENT = 1.0  # the darkest organic soils reflect more than twice that
LOW_ABSORBANCE = 0.1  # below it a soil would reflect more than 79 %

MAX_SOC_PERCENT = 60.0  # pure organic matter is 58 % carbon
MAX_MEDIAN_SOC_PERCENT = 8.0  # a farm above it is rare, one in g/kg is not
DARK_REFLECTANCE = 0.10  # near 600 nm; mineral soils are mostly brighter
MIN_MEDIAN_SOC_PERCENT = 0.05  # a farm below it is bare sand, or SOC is a fraction
VISIBLE_NM = (550, 650)
# The brightest soil of a file reflects about ten times as much as the darkest.
MAX_BRIGHTNESS_RATIO = 50
MIN_SHARE_PRETREATED = 0.05  # of values below zero: not noise, but treated spectra
MAX_SHARE_ODD = 0.05  # of rows of another quantity: not mistakes, but half the file
MAX_DECIDING_VALUES = 10_000_000  # of a larger table, every second or later row decides


@dataclass
class Findings:
    """What is gathered on the way through a table.

    Attributes
    ----------
    problems, notes : list of str
        Sentences.
    facts : list of (str, str)
        Label and value.
    """

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)


def to_reflectance(
    table: Table, quantity: str, found: Findings
) -> npt.NDArray[np.float32]:
    """Return the spectra of a table as reflectance.

    Parameters
    ----------
    table : Table
        Spectra in the quantity of the file; they are converted in place. Where not
        every row counts, values out of range become NaN and odd rows are dropped.
    quantity : str
        One of `QUANTITIES`, or "" to take that of the published library or, of other
        tables, to decide from the values.
    found : Findings
        Takes what is found, converted and wrong.

    Returns
    -------
    ndarray of shape (n_samples, n_wavelengths)
        Reflectance as a fraction; all NaN if the quantity is not clear.
    """
    finite = _deciding_values(table.spectra)
    if not finite.size:
        return table.spectra
    problem = _sign_problem(finite)
    if table.every_row and not problem:
        problem = _check_every_row(table)
    limits = np.percentile(finite, DECIDING_PERCENTILES, overwrite_input=True)
    low, median, high = (float(value) for value in limits)
    published = table.layout.published
    expected = quantity or (published.quantity if published else "")
    how = "as told" if quantity else f"as in {published.name}" if published else ""
    decided = expected or _decide_quantity(low, high)
    problem = problem or _quantity_problem(decided, how, low, high)
    if problem := problem or _scale_problem(decided, median):
        found.problems.append(problem)
        return np.full_like(table.spectra, np.nan)
    found.facts.append(
        (
            "quantity",
            f"{NAMES[decided]}, {how or 'found from the values'} "
            f"({low:.3g} to {high:.3g})",
        )
    )
    if not how:
        found.notes.append(f"The spectra were taken as {NAMES[decided]}.")
    if table.every_row:
        _check_limits(table, decided, found)
    else:
        _remove_values(table, decided, found)
        _drop_odd_rows(table, found)
    _convert(table.spectra, decided, found)
    return table.spectra


def _deciding_values(spectra: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the finite values, of a large table those of rows at equal distances."""
    step = 1 + spectra.size // MAX_DECIDING_VALUES
    values = spectra[::step]
    return values[np.isfinite(values)]


def _sign_problem(finite: npt.NDArray[np.float32]) -> str:
    """Return why so many negative values cannot be raw spectra, or ""."""
    share = float(np.mean(finite < 0))
    if share <= MIN_SHARE_PRETREATED:
        return ""
    return (
        f"{share:.0%} of the values of the spectra are negative: they look like "
        "pre-treated spectra (SNV, derivative). Give reflectance or absorbance."
    )


def _check_every_row(table: Table) -> str:
    """Return why these rows cannot be raw spectra of one quantity, or ""."""
    medians, flat = _row_facts(table.spectra)
    if flat.any() and (table.spectra[flat] < 0).any():
        row = int(flat.argmax())
        return (
            f"The spectra of {int(flat.sum())} samples are the same negative value at "
            f"every wavelength (first: {table.spectra[row, 0]:g}, {table.place(row)}), "
            "which may stand for a missing one. Remove these samples."
        )
    if np.nanmax(medians) > MAX_BRIGHTNESS_RATIO * np.nanmin(medians) > 0:
        return _different_quantities(table, medians)
    if flat.any():
        return (
            f"The spectra of {int(flat.sum())} samples are constant (first: "
            f"{table.place(int(flat.argmax()))}). Remove these samples."
        )
    return ""


def _drop_odd_rows(table: Table, found: Findings) -> None:
    """Drop rows that cannot be spectra; many of them are a problem of the file."""
    medians, flat = _row_facts(table.spectra)
    empty = np.isnan(medians)
    table.drop(empty, "have no value in the range")
    if empty.all():
        return
    typical = float(np.nanmedian(medians))
    odd = (medians > MAX_BRIGHTNESS_RATIO * typical) | (
        medians * MAX_BRIGHTNESS_RATIO < typical
    )
    if odd.mean() > MAX_SHARE_ODD:
        found.problems.append(_different_quantities(table, medians))
    table.drop(flat, "have the same value at every wavelength")
    table.drop(odd, f"are {MAX_BRIGHTNESS_RATIO} times darker or brighter than others")


def _row_facts(
    spectra: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return the size of each row's median, NaN without value, and who is constant."""
    medians = np.full(len(spectra), np.nan)
    flat = np.zeros(len(spectra), dtype=bool)
    for rows in row_blocks(len(spectra)):
        block = spectra[rows]
        some = np.flatnonzero(np.isfinite(block).any(axis=1))
        block = block[some]
        with np.errstate(over="ignore"):  # absurd values are reported
            medians[rows][some] = np.abs(
                np.nanmedian(block, axis=1)
                if np.isnan(block).any()
                else np.median(block, axis=1)
            )
        flat[rows][some] = np.nanmax(block, axis=1) == np.nanmin(block, axis=1)
    return medians, flat


def _different_quantities(table: Table, medians: npt.NDArray[np.float64]) -> str:
    """Return the message for rows that are too different in brightness."""
    darkest, brightest = int(np.nanargmin(medians)), int(np.nanargmax(medians))
    return (
        "The spectra seem to be of different quantities (medians "
        f"{medians[darkest]:.3g} at {table.place(darkest)} and "
        f"{medians[brightest]:.3g} at {table.place(brightest)}). "
        "Give one quantity in one file."
    )


def _convert(spectra: npt.NDArray[np.float32], quantity: str, found: Findings) -> None:
    """Turn spectra into reflectance, in place."""
    if quantity == "percent":
        found.notes.append("Reflectance in percent was divided by 100.")
        spectra /= 100
    elif quantity == "absorbance":
        found.notes.append("Absorbance was converted to reflectance.")
        np.negative(spectra, out=spectra)
        with np.errstate(over="ignore"):  # absurd values are reported
            np.power(np.float32(10), spectra, out=spectra)
        np.minimum(spectra, np.float32(MAX_REFLECTANCE), out=spectra)  # rounding


def _decide_quantity(low: float, high: float) -> str:
    """Return what values from `low` to `high` must be, or "" if that is not clear."""
    if high > MAX_ABSORBANCE:
        return "percent"
    if high > MAX_REFLECTANCE:  # as percent no soil is as dark
        return "absorbance"
    if low < LOW_ABSORBANCE and high <= 1:
        return "reflectance"
    return ""


def _quantity_problem(quantity: str, how: str, low: float, high: float) -> str:
    """Return why values from `low` to `high` cannot be `quantity`, or ""."""
    values = f"values from {low:.3g} to {high:.3g}"
    if not quantity:
        return (
            f"'quantity' could be reflectance or absorbance ({values}): say "
            "quantity='reflectance' or quantity='absorbance'."
        )
    if quantity == "reflectance" and high > MAX_REFLECTANCE:
        likely, remedy = "percent", "quantity='percent'"
        if high <= MAX_ABSORBANCE:
            likely, remedy = "percent or absorbance", f"{remedy} or 'absorbance'"
    elif quantity == "percent" and high <= MAX_REFLECTANCE:
        likely, remedy = "a fraction", "quantity='reflectance'"
    elif quantity == "absorbance" and high > MAX_ABSORBANCE:
        likely, remedy = "percent", "quantity='percent'"
    else:
        return ""
    told = "was told to be" if how == "as told" else f"should be, {how},"
    return (
        f"'quantity' {told} {quantity!r}, {NAMES[quantity]}, but it looks "
        f"like {likely} ({values}): say {remedy}."
    )


def _scale_problem(quantity: str, median: float) -> str:
    """Return why half of the values cannot be those of a soil, or ""."""
    in_percent = {"reflectance": 100.0, "percent": 1.0}
    if quantity not in in_percent:
        return ""
    typical = median * in_percent[quantity]
    if MIN_TYPICAL_PERCENT <= typical <= 100 * MAX_REFLECTANCE:
        return ""
    return (
        f"The median of the spectra is {median:.3g}, as {NAMES[quantity]}: no soil "
        f"reflects {typical:.3g} %. They seem to be multiplied by a number, such as "
        "10,000. Divide by it, so that the white reference is 1 or 100."
    )


def _check_limits(table: Table, quantity: str, found: Findings) -> None:
    """Report the values that the quantity cannot have."""
    low, high = LIMITS[quantity]
    too_low, too_high = _out_of_range(table.spectra, quantity)
    rule = f"below {low:.2f}" if quantity == "absorbance" else "zero or negative"
    for bad, what in ((too_low, rule), (too_high, f"above {high:g}")):
        if bad.any():
            value = table.spectra[bad][0]
            found.problems.append(
                f"The spectra have {int(bad.sum())} values of {NAMES[quantity]} that "
                f"are {what} (first: {value:.3g}, {table.place_of(bad)}). "
                "Remove these samples or wavelengths."
            )


def _remove_values(table: Table, quantity: str, found: Findings) -> None:
    """Count the values that the quantity cannot have as not measured."""
    n_values, n_rows, first = 0, 0, ""
    for block in row_blocks(len(table.spectra)):
        values = table.spectra[block]
        bad = np.logical_or(*_out_of_range(values, quantity))
        if bad.any():
            first = first or f"{values[bad][0]:.3g}, {table.place_of(bad, block.start)}"
            n_values += int(bad.sum())
            n_rows += int(bad.any(axis=1).sum())
            values[bad] = np.nan
    if n_values:
        found.notes.append(
            f"{n_values:,} values in {n_rows:,} rows are out of the range of "
            f"{NAMES[quantity]} and count as not measured (first: {first})."
        )


def _out_of_range(
    values: npt.NDArray[np.float32], quantity: str
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return which values are too low and which too high; infinite ones are missing."""
    low, high = LIMITS[quantity]
    too_low = values < low if quantity == "absorbance" else values <= low
    return too_low, np.isfinite(values) & (values > high)


def to_percent(
    table: Table,
    reflectance: npt.NDArray[np.float32],
    soc_unit: str,
    found: Findings,
) -> npt.NDArray[np.float64]:
    """Return the soil organic carbon (SOC) of a table in %.

    Parameters
    ----------
    table : Table
        SOC in the unit of the file.
    reflectance : ndarray of shape (n_samples, n_wavelengths)
        Fraction; dark soils may be organic, and as rich in carbon as they seem.
    soc_unit : str
        One of `SOC_UNITS`, or "" for that of the published library or, of other
        tables, for % if the values look like it.
    found : Findings
        Takes what is found, converted and wrong.

    Returns
    -------
    ndarray of shape (n_samples,)
        SOC in % of mass. Where not every row counts, those out of range are dropped.
    """
    finite = table.soc[np.isfinite(table.soc) & table.keep]
    if not finite.size:
        return table.soc
    published = table.layout.published
    how = "as told" if soc_unit else f"as in {published.name}" if published else ""
    soc_unit = soc_unit or (published.soc_unit if published else "")
    median = float(np.median(finite))
    if not soc_unit and median > MAX_MEDIAN_SOC_PERCENT:
        guess = "this looks like g/kg"
        if _may_be_organic(reflectance, table.layout.wavelengths):
            guess = "this could be g/kg or the percent of an organic soil"
        found.problems.append(
            f"'soc_unit' is needed, SOC has a median of {median:.3g}: {guess}. Say "
            "soc_unit='g/kg' or soc_unit='%'."
        )
        return table.soc
    if not soc_unit and 0 < median < MIN_MEDIAN_SOC_PERCENT:
        found.problems.append(
            f"'soc_unit' is needed, SOC has a median of {median:.3g}: this looks like "
            "a fraction of mass. Multiply it by 100, or say soc_unit='%'."
        )
        return table.soc
    if not soc_unit:
        found.notes.append(
            f"SOC was taken as % (its median is {median:.3g}); if it is in g/kg, say "
            "soc_unit='g/kg'."
        )
    soc = table.soc / 10 if soc_unit == "g/kg" else table.soc
    if soc_unit == "g/kg":
        found.notes.append("SOC in g/kg was divided by 10 to give %.")
    _check_soc(table, soc, soc_unit or "%", found)
    known = soc[np.isfinite(soc) & table.keep]
    if not known.size:
        return soc
    with np.errstate(over="ignore", invalid="ignore"):  # absurd values are reported
        statistics = describe(known)
    summary = ", ".join(f"{name} {value:.3g}" for name, value in statistics[1:].items())
    found.facts += [
        ("SOC unit", f"{soc_unit or '%'}, {how or 'found from the values'}"),
        ("SOC / %", summary),
    ]
    return soc


def _may_be_organic(
    reflectance: npt.NDArray[np.float32], wavelengths: npt.NDArray[np.float64]
) -> bool:
    """Return whether the soils may be organic: dark, or of unknown brightness."""
    visible = (wavelengths >= VISIBLE_NM[0]) & (wavelengths <= VISIBLE_NM[1])
    if not visible.any():
        return False
    values = reflectance[:, visible]
    values = values[np.isfinite(values)]
    return not values.size or bool(values.mean() < DARK_REFLECTANCE)


def _check_soc(
    table: Table, soc: npt.NDArray[np.float64], unit: str, found: Findings
) -> None:
    """Report SOC that is negative, above that of organic matter, or constant."""
    if not table.every_row:
        table.drop(
            (soc < 0) | (soc > MAX_SOC_PERCENT),
            f"have a SOC below 0 or above {MAX_SOC_PERCENT:g} %",
        )
    column = table.layout.column("soc")
    factor = 10 if unit == "g/kg" else 1
    limit = f"{MAX_SOC_PERCENT * factor:g} {unit}"
    remedies = {
        "negative": (soc < 0, "Correct or remove these samples."),
        f"above {limit} (pure organic matter is 58 % carbon)": (
            soc > MAX_SOC_PERCENT,
            "Check the unit (soc_unit='g/kg') or remove these samples.",
        ),
    }
    for what, (out, remedy) in remedies.items():
        if count := int((out & table.keep).sum()):
            row = int(np.argmax(out & table.keep))
            found.problems.append(
                f"Column {column!r} has {count} values that are {what} (first: "
                f"{table.soc[row]:g}, {table.place(row)}). {remedy}"
            )
    kept = table.soc[table.keep]
    if len(kept) > 1 and (kept == kept[0]).all():
        found.problems.append(
            f"Column {column!r} is {kept[0]:g} for every sample. A model needs "
            "samples that differ."
        )
