"""What the numbers of a user's file are: reflectance or absorbance, % or g/kg."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from soilnb.datasets.library import describe
from soilnb.datasets.tables import Table
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
DECIDING_PERCENTILES = (1, 99)
LOW_ABSORBANCE = 0.1  # below it a soil would reflect more than 79 %

MAX_SOC_PERCENT = 60.0  # pure organic matter is 58 % carbon
MAX_MEDIAN_SOC_PERCENT = 8.0  # a farm above it is rare, one in g/kg is not
DARK_REFLECTANCE = 0.10  # near 600 nm; mineral soils are mostly brighter
MIN_MEDIAN_SOC_PERCENT = 0.05  # a farm below it is bare sand, or SOC is a fraction
VISIBLE_NM = (550, 650)
# The brightest soil of a file reflects about ten times as much as the darkest.
MAX_BRIGHTNESS_RATIO = 50
MIN_SHARE_PRETREATED = 0.05  # of values below zero: not noise, but treated spectra


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
) -> npt.NDArray[np.float64]:
    """Return the spectra of a table as reflectance.

    Parameters
    ----------
    table : Table
        Spectra in the quantity of the file.
    quantity : str
        One of `QUANTITIES`, or "" to decide from the values.
    found : Findings
        Takes what is found, converted and wrong.

    Returns
    -------
    ndarray of shape (n_samples, n_wavelengths)
        Reflectance as a fraction; all NaN if the quantity is not clear.
    """
    finite = table.spectra[np.isfinite(table.spectra)]
    if not finite.size:
        return table.spectra
    if problem := _raw_problem(table, finite):
        found.problems.append(problem)
        return np.full(table.spectra.shape, np.nan)
    low, high = (float(value) for value in np.percentile(finite, DECIDING_PERCENTILES))
    decided = quantity or _decide_quantity(low, high)
    if problem := _quantity_problem(decided, low, high):
        found.problems.append(problem)
        return np.full(table.spectra.shape, np.nan)
    how = "as told" if quantity else "found from the values"
    found.facts.append(
        ("quantity", f"{NAMES[decided]}, {how} ({low:.3g} to {high:.3g})")
    )
    if not quantity:
        found.notes.append(f"The spectra were taken as {NAMES[decided]}.")
    _check_limits(table, decided, found)
    if decided == "percent":
        found.notes.append("Reflectance in percent was divided by 100.")
        return table.spectra / 100
    if decided == "absorbance":
        found.notes.append("Absorbance was converted to reflectance.")
        with np.errstate(over="ignore"):  # absurd values are reported
            return 10.0**-table.spectra
    return table.spectra


def _raw_problem(table: Table, finite: npt.NDArray[np.float64]) -> str:
    """Return why these cannot be raw spectra of one quantity, or ""."""
    share = float(np.mean(finite < 0))
    if share > MIN_SHARE_PRETREATED:
        return (
            f"{share:.0%} of the values of the spectra are negative: they look like "
            "pre-treated spectra (SNV, derivative). Give reflectance or absorbance."
        )
    rows = np.flatnonzero(np.isfinite(table.spectra).any(axis=1))
    medians = np.abs(np.nanmedian(table.spectra[rows], axis=1))
    darkest, brightest = int(rows[medians.argmin()]), int(rows[medians.argmax()])
    if medians.max() > MAX_BRIGHTNESS_RATIO * medians.min() > 0:
        return (
            "The spectra seem to be of different quantities (medians "
            f"{medians.min():.3g} at {table.place(darkest)} and {medians.max():.3g} at "
            f"{table.place(brightest)}). Give one quantity in one file."
        )
    flat = rows[np.nanmax(table.spectra[rows], 1) == np.nanmin(table.spectra[rows], 1)]
    if len(flat):
        return (
            f"The spectra of {len(flat)} samples are constant (first: "
            f"{table.place(int(flat[0]))}). Remove these samples."
        )
    return ""


def _decide_quantity(low: float, high: float) -> str:
    """Return what values from `low` to `high` must be, or "" if that is not clear."""
    if high > MAX_ABSORBANCE:
        return "percent"
    if high > MAX_REFLECTANCE:  # as percent no soil is as dark
        return "absorbance"
    if low < LOW_ABSORBANCE and high <= 1:
        return "reflectance"
    return ""


def _quantity_problem(quantity: str, low: float, high: float) -> str:
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
    return (
        f"'quantity' was told to be {quantity!r}, {NAMES[quantity]}, but it looks "
        f"like {likely} ({values}): say {remedy}."
    )


def _check_limits(table: Table, quantity: str, found: Findings) -> None:
    """Report the values that the quantity cannot have."""
    low, high = LIMITS[quantity]
    if quantity == "absorbance":
        too_low, rule = table.spectra < low, f"below {low:.2f}"
    else:
        too_low, rule = table.spectra <= low, "zero or negative"
    too_high = np.isfinite(table.spectra) & (table.spectra > high)
    for bad, what in ((too_low, rule), (too_high, f"above {high:g}")):
        if bad.any():
            value = table.spectra[bad][0]
            found.problems.append(
                f"The spectra have {int(bad.sum())} values of {NAMES[quantity]} that "
                f"are {what} (first: {value:.3g}, {table.place_of(bad)}). "
                "Remove these samples or wavelengths."
            )


def to_percent(
    table: Table,
    reflectance: npt.NDArray[np.float64],
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
        One of `SOC_UNITS`, or "" for % if the values look like it.
    found : Findings
        Takes what is found, converted and wrong.

    Returns
    -------
    ndarray of shape (n_samples,)
        SOC in % of mass.
    """
    finite = table.soc[np.isfinite(table.soc)]
    if not finite.size:
        return table.soc
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
        found.notes.append(f"SOC was taken as % (its median is {median:.3g}).")
    soc = table.soc / 10 if soc_unit == "g/kg" else table.soc
    if soc_unit == "g/kg":
        found.notes.append("SOC in g/kg was divided by 10 to give %.")
    _check_soc(table, soc, soc_unit or "%", found)
    with np.errstate(over="ignore", invalid="ignore"):  # absurd values are reported
        statistics = describe(soc[np.isfinite(soc)])
    summary = ", ".join(f"{name} {value:.3g}" for name, value in statistics[1:].items())
    found.facts += [
        (
            "SOC unit",
            f"{soc_unit or '%'}, {'as told' if soc_unit else 'found from the values'}",
        ),
        ("SOC / %", summary),
    ]
    return soc


def _may_be_organic(
    reflectance: npt.NDArray[np.float64], wavelengths: npt.NDArray[np.float64]
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
    factor = 10 if unit == "g/kg" else 1
    limit = f"{MAX_SOC_PERCENT * factor:g} {unit}"
    remedies = {
        "negative": (soc < 0, "Correct or remove these samples."),
        f"above {limit} (pure organic matter is 58 % carbon)": (
            soc > MAX_SOC_PERCENT,
            "Check the unit (soc_unit='g/kg') or remove these samples.",
        ),
    }
    for what, (bad, remedy) in remedies.items():
        if bad.any():
            row = int(np.argmax(bad))
            found.problems.append(
                f"Column 'soc' has {int(bad.sum())} values that are {what} (first: "
                f"{table.soc[row]:g}, {table.place(row)}). {remedy}"
            )
    if len(soc) > 1 and (soc == soc[0]).all():
        found.problems.append(
            f"Column 'soc' is {table.soc[0]:g} for every sample. A model needs "
            "samples that differ."
        )
