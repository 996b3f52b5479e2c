"""What the numbers of a user's file are: reflectance or absorbance, % or g/kg."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from soilnb.datasets.files.rows import Rows, row_blocks
from soilnb.datasets.files.shape import are_scaled, tell_by_shape
from soilnb.datasets.library import describe
from soilnb.preprocessing import MAX_REFLECTANCE

OF_PERCENT = {"%": 1, "g/kg": 10, "g/100g": 1, "mg/kg": 10_000}  # one percent in each
MATTER_OF_CARBON = 1.724  # organic matter is taken to be 58 % carbon

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
MIN_ROWS_SCALED = 5  # of one size: chance makes fewer
MAX_ROWS_SCALED = 100  # of a larger table, rows at equal distances
MIN_WHITE = 0.85  # at every band: a white panel, no soil is so bright and so flat
MAX_WHITE_RANGE = 0.2
MIN_TENFOLD, MAX_TENFOLD = 0.02, 0.3  # shares of the values in another unit
MIN_DIFFERENT_TENFOLD = 3  # one rich soil may have been scanned several times
MIN_GAP_TENFOLD = 0.1  # log10, between them and the rest
MAX_SHARE_ODD = 0.05  # of rows of another quantity: not mistakes, but half the file
MAX_DECIDING_VALUES = 10_000_000  # of a larger table, every second or later row decides


@dataclass(frozen=True)
class Findings:
    """What a step finds in a table: sentences, facts (label and value), and rows.

    `left_out` are reasons to use rows no more, each with a mask of them.
    """

    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    left_out: tuple[tuple[str, npt.NDArray[np.bool_]], ...] = ()

    def __add__(self, other: Findings) -> Findings:
        """Return the findings of two steps."""
        return Findings(
            self.problems + other.problems,
            self.notes + other.notes,
            self.facts + other.facts,
            self.left_out + other.left_out,
        )

    def keep(self, n_rows: int) -> npt.NDArray[np.bool_]:
        """Return which of the rows of a table are still used."""
        keep = np.ones(n_rows, dtype=bool)
        for _, rows in self.left_out:
            keep &= ~rows
        return keep


def to_reflectance(
    rows: Rows, quantity: str
) -> tuple[npt.NDArray[np.float32], Findings]:
    """Return reflectance as a fraction, all NaN if the quantity is not clear.

    The spectra of `rows` are converted in place. Where not every row counts, values
    out of range become NaN and odd rows are left out.
    """
    spectra = rows.spectra
    finite = _deciding_values(spectra)
    if not finite.size:
        return spectra, Findings()
    problem = _sign_problem(finite) or _scaled_problem(spectra)
    if rows.every_row and not problem:
        problem = _check_every_row(rows)
    limits = np.percentile(finite, DECIDING_PERCENTILES, overwrite_input=True)
    low, median, high = (float(value) for value in limits)
    published = rows.layout.published
    expected = quantity or (published.quantity if published else "")
    how = "as told" if quantity else f"as in {published.name}" if published else ""
    decided, by, doubt = expected, how, ""
    if not expected:
        decided, by, doubt = _decide_quantity(rows, low, high)
    problem = problem or doubt or _quantity_problem(decided, how, low, high)
    if how:
        problem = problem or _shape_problem(rows, decided, how)
    if problem := problem or _scale_problem(decided, median):
        return np.full_like(spectra, np.nan), Findings((problem,))
    said = f"{NAMES[decided]}, {by}"
    found = Findings(
        notes=() if how else (f"The spectra were taken as {said}.",),
        facts=(("quantity", f"{said} ({low:.3g} to {high:.3g})"),),
    )
    if rows.every_row:
        found += Findings(_limit_problems(rows, decided))
    else:
        found += Findings(notes=_remove_values(rows, decided)) + _find_odd_rows(rows)
    found += Findings(notes=_convert(spectra, decided))
    return spectra, found + _find_panels(rows)


def _shape_problem(rows: Rows, quantity: str, how: str) -> str:
    """Return why the shape of the spectra is not that of the quantity, or ""."""
    shape, seen = tell_by_shape(rows.spectra, rows.layout.wavelengths)
    if (
        not shape
        or shape == quantity
        or {shape, quantity} == {"reflectance", "percent"}
    ):
        return ""
    told = "was told to be" if how == "as told" else f"should be, {how},"
    return (
        f"'quantity' {told} {quantity!r}, but {seen}, as in {shape}: say "
        f"quantity='{shape}'."
    )


def _find_panels(rows: Rows) -> Findings:
    """Find scans of a white panel among the reflectances of soils."""
    white = np.zeros(len(rows.spectra), dtype=bool)
    for part in row_blocks(len(white)):
        low, high = rows.spectra[part].min(axis=1), rows.spectra[part].max(axis=1)
        white[part] = (low > MIN_WHITE) & (high - low < MAX_WHITE_RANGE)
    what = "look like scans of a white panel"
    if not white.any() or not rows.every_row:
        return Findings(left_out=((what, white),))
    return Findings(
        (
            f"The spectra of {int(white.sum())} samples {what}, not of a soil (first: "
            f"{rows.place(int(white.argmax()))}): above {MIN_WHITE:.0%} at every "
            "wavelength. Remove these rows.",
        )
    )


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


def _scaled_problem(spectra: npt.NDArray[np.float32]) -> str:
    """Return why spectra that have one size cannot be raw, or ""."""
    some = spectra[:: 1 + len(spectra) // MAX_ROWS_SCALED]
    what = are_scaled(some) if len(some) >= MIN_ROWS_SCALED else ""
    if not what:
        return ""
    return (
        f"All spectra have the same {what}: they look like pre-treated spectra "
        "(normalised, scaled). Give reflectance or absorbance."
    )


def _check_every_row(rows: Rows) -> str:
    """Return why these rows cannot be raw spectra of one quantity, or ""."""
    medians, flat = _row_facts(rows.spectra)
    if flat.any() and (rows.spectra[flat] < 0).any():
        row = int(flat.argmax())
        return (
            f"The spectra of {int(flat.sum())} samples are the same negative value at "
            f"every wavelength (first: {rows.spectra[row, 0]:g}, {rows.place(row)}), "
            "which may stand for a missing one. Remove these samples."
        )
    if np.nanmax(medians) > MAX_BRIGHTNESS_RATIO * np.nanmin(medians) > 0:
        return _different_quantities(rows, medians)
    if flat.any():
        return (
            f"The spectra of {int(flat.sum())} samples are constant (first: "
            f"{rows.place(int(flat.argmax()))}). Remove these samples."
        )
    return ""


def _find_odd_rows(rows: Rows) -> Findings:
    """Leave out rows that cannot be spectra; many of them are a problem of the file."""
    medians, flat = _row_facts(rows.spectra)
    empty = np.isnan(medians)
    found = Findings(left_out=(("have no value in the range", empty),))
    if empty.all():
        return found
    typical = float(np.nanmedian(medians))
    odd = (medians > MAX_BRIGHTNESS_RATIO * typical) | (
        medians * MAX_BRIGHTNESS_RATIO < typical
    )
    many = odd.mean() > MAX_SHARE_ODD
    different = f"are {MAX_BRIGHTNESS_RATIO} times darker or brighter than others"
    return found + Findings(
        problems=(_different_quantities(rows, medians),) if many else (),
        left_out=(
            ("have the same value at every wavelength", flat),
            (different, odd),
        ),
    )


def _row_facts(
    spectra: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return the size of each row's median, NaN without value, and who is constant."""
    medians = np.full(len(spectra), np.nan)
    flat = np.zeros(len(spectra), dtype=bool)
    for part in row_blocks(len(spectra)):
        block = spectra[part]
        some = np.flatnonzero(np.isfinite(block).any(axis=1))
        block = block[some]
        with np.errstate(over="ignore"):  # absurd values are reported
            medians[part][some] = np.abs(
                np.nanmedian(block, axis=1)
                if np.isnan(block).any()
                else np.median(block, axis=1)
            )
        flat[part][some] = np.nanmax(block, axis=1) == np.nanmin(block, axis=1)
    return medians, flat


def _different_quantities(rows: Rows, medians: npt.NDArray[np.float64]) -> str:
    """Return the message for rows that are too different in brightness."""
    darkest, brightest = int(np.nanargmin(medians)), int(np.nanargmax(medians))
    return (
        "The spectra seem to be of different quantities (medians "
        f"{medians[darkest]:.3g} at {rows.place(darkest)} and "
        f"{medians[brightest]:.3g} at {rows.place(brightest)}). "
        "Give one quantity in one file."
    )


def _convert(spectra: npt.NDArray[np.float32], quantity: str) -> tuple[str, ...]:
    """Turn spectra into reflectance, in place; return what was done."""
    if quantity == "percent":
        spectra /= 100
        return ("Reflectance in percent was divided by 100.",)
    if quantity == "absorbance":
        np.negative(spectra, out=spectra)
        with np.errstate(over="ignore"):  # absurd values are reported
            np.power(np.float32(10), spectra, out=spectra)
        np.minimum(spectra, np.float32(MAX_REFLECTANCE), out=spectra)  # rounding
        return ("Absorbance was converted to reflectance.",)
    return ()


def _decide_quantity(rows: Rows, low: float, high: float) -> tuple[str, str, str]:
    """Return what values from `low` to `high` are, by what, and a question if unclear.

    Values decide where only one quantity can have them; else the shape has a say.
    """
    by_values = "found from the values"
    if high > MAX_ABSORBANCE:
        return "percent", by_values, ""
    if high > MAX_REFLECTANCE:  # as percent no soil is as dark
        return "absorbance", by_values, ""
    shape, seen = tell_by_shape(rows.spectra, rows.layout.wavelengths)
    values = f"values from {low:.3g} to {high:.3g}"
    if low < LOW_ABSORBANCE and high <= 1:
        if shape != "absorbance":
            return "reflectance", by_values, ""
        why = f"{values} look like reflectance, but {seen} as in absorbance"
    elif shape:
        return shape, f"by the shape: {seen}", ""
    else:
        why = f"{values}, and no shape that tells"
    return (
        "",
        "",
        (
            f"'quantity' could be reflectance or absorbance ({why}): say "
            "quantity='reflectance' or quantity='absorbance'."
        ),
    )


def _quantity_problem(quantity: str, how: str, low: float, high: float) -> str:
    """Return why values from `low` to `high` cannot be `quantity`, or ""."""
    values = f"values from {low:.3g} to {high:.3g}"
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


def _limit_problems(rows: Rows, quantity: str) -> tuple[str, ...]:
    """Return the problems with values that the quantity cannot have."""
    high = LIMITS[quantity][1]
    too_low, too_high = _out_of_range(rows.spectra, quantity)
    low = LIMITS[quantity][0]
    rule = f"below {low:.2f}" if quantity == "absorbance" else "zero or negative"
    return tuple(
        f"The spectra have {int(bad.sum())} values of {NAMES[quantity]} that "
        f"are {what} (first: {rows.spectra[bad][0]:.3g}, {rows.place_of(bad)}). "
        "Remove these samples or wavelengths."
        for bad, what in ((too_low, rule), (too_high, f"above {high:g}"))
        if bad.any()
    )


def _remove_values(rows: Rows, quantity: str) -> tuple[str, ...]:
    """Count the values that the quantity cannot have as not measured."""
    n_values, n_rows, first = 0, 0, ""
    for block in row_blocks(len(rows.spectra)):
        values = rows.spectra[block]
        bad = np.logical_or(*_out_of_range(values, quantity))
        if bad.any():
            first = first or f"{values[bad][0]:.3g}, {rows.place_of(bad, block.start)}"
            n_values += int(bad.sum())
            n_rows += int(bad.any(axis=1).sum())
            values[bad] = np.nan
    if not n_values:
        return ()
    return (
        f"{n_values:,} values in {n_rows:,} rows are out of the range of "
        f"{NAMES[quantity]} and count as not measured (first: {first}).",
    )


def _out_of_range(
    values: npt.NDArray[np.float32], quantity: str
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return which values are too low and which too high; infinite ones are missing."""
    low, high = LIMITS[quantity]
    too_low = values < low if quantity == "absorbance" else values <= low
    return too_low, np.isfinite(values) & (values > high)


def to_percent(
    rows: Rows,
    reflectance: npt.NDArray[np.float32],
    keep: npt.NDArray[np.bool_],
    soc_unit: str,
) -> tuple[npt.NDArray[np.float64], Findings]:
    """Return soil organic carbon (SOC) in % of mass, NaN where it was not measured.

    Without a unit it is that of the column's name, of the published library or, of
    other tables, % if the values look like it: dark soils may be as rich in carbon as
    they seem.
    """
    layout, values = rows.layout, rows.soc
    finite = np.isfinite(values) & keep
    if not finite.any():
        return values, Findings()
    published = layout.published
    unit = soc_unit or layout.soc_unit or (published.soc_unit if published else "")
    how = f"as in {published.name}" if published else "as its name says"
    how = "as told" if soc_unit else how if unit else "found from the values"
    values, notes = _to_carbon(values, layout.soc_kind)
    if not unit:
        median = float(np.median(values[finite]))
        organic = _may_be_organic(reflectance, layout.wavelengths)
        if problem := _unit_problem(median, organic):
            return values, Findings((problem,))
        notes.append(
            f"SOC was taken as % (its median is {median:.3g}); if it is in g/kg, say "
            "soc_unit='g/kg'."
        )
    soc = values / OF_PERCENT[unit or "%"]
    if unit == "g/kg":
        notes.append("SOC in g/kg was divided by 10 to give %.")
    elif unit == "mg/kg":
        notes.append("SOC in mg/kg was divided by 10,000 to give %.")
    found = Findings(notes=tuple(notes))
    if not rows.every_row:
        reason = f"have a SOC below 0 or above {MAX_SOC_PERCENT:g} %"
        out = (soc < 0) | (soc > MAX_SOC_PERCENT)
        found += Findings(left_out=((reason, out),))
        keep = keep & ~out
    found += Findings(_soc_problems(rows, soc, keep, unit or "%"))
    known = soc[np.isfinite(soc) & keep]
    if not known.size:
        return soc, found
    if problem := _tenfold_problem(rows, soc, keep):
        told = bool(soc_unit)
        found += Findings(() if told else (problem,), (problem,) if told else ())
    with np.errstate(over="ignore", invalid="ignore"):  # absurd values are reported
        statistics = describe(known)
    summary = ", ".join(f"{name} {value:.3g}" for name, value in statistics[1:].items())
    facts = (("SOC unit", f"{unit or '%'}, {how}"), ("SOC / %", summary))
    return soc, found + Findings(facts=facts)


def _to_carbon(
    values: npt.NDArray[np.float64], kind: str
) -> tuple[npt.NDArray[np.float64], list[str]]:
    """Return the organic carbon of values of a kind, in their unit, and what to say."""
    if kind in ("ln", "log10"):
        with np.errstate(over="ignore"):  # absurd values are reported
            carbon = np.exp(values) if kind == "ln" else 10**values
        return carbon, [f"SOC was taken from its logarithm ({kind})."]
    if kind == "organic_matter":
        note = "Organic matter was divided by 1.724 to give SOC."
        return values / MATTER_OF_CARBON, [note]
    return values, []


def _tenfold_problem(
    rows: Rows, soc: npt.NDArray[np.float64], keep: npt.NDArray[np.bool_]
) -> str:
    """Return the question where a few values are ten times the rest, or ""."""
    places = np.flatnonzero(keep & (soc > 0) & np.isfinite(soc))
    values = np.log10(soc[places])
    order = np.argsort(values)
    gaps = np.diff(values[order])
    shares = 1 - np.arange(1, len(values)) / max(len(values), 1)
    if not (few := (shares >= MIN_TENFOLD) & (shares <= MAX_TENFOLD)).any():
        return ""
    cut = int(np.where(few, gaps, -1).argmax()) + 1
    low, high = values[order[:cut]], values[order[cut:]]
    fits = low.min() <= high.min() - 1 and high.max() - 1 <= low.max()
    times = 10 ** (np.median(high) - np.median(low))
    is_apart = gaps[cut - 1] > MIN_GAP_TENFOLD and 7 <= times <= 14
    if not (fits and is_apart) or len({*high}) < MIN_DIFFERENT_TENFOLD:
        return ""
    first = places[order[cut:]].min()
    return (
        f"{len(high)} of {len(values)} values of {rows.layout.column('soc')!r} are "
        f"about ten times the rest (medians {10 ** np.median(high):.3g} and "
        f"{10 ** np.median(low):.3g} %; first: {rows.place(int(first))}): they may be "
        "in g/kg among percent. Correct them, or say soc_unit='%' or soc_unit='g/kg' "
        "if all are in it."
    )


def _unit_problem(median: float, organic: bool) -> str:
    """Return why SOC with this median may not be %, or ""."""
    text = f"'soc_unit' is needed, SOC has a median of {median:.3g}: "
    if median > MAX_MEDIAN_SOC_PERCENT:
        guess = "this looks like g/kg"
        if organic:
            guess = "this could be g/kg or the percent of an organic soil"
        return f"{text}{guess}. Say soc_unit='g/kg' or soc_unit='%'."
    if 0 < median < MIN_MEDIAN_SOC_PERCENT:
        return (
            f"{text}this looks like a fraction of mass. Multiply it by 100, or say "
            "soc_unit='%'."
        )
    return ""


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


def _soc_problems(
    rows: Rows, soc: npt.NDArray[np.float64], keep: npt.NDArray[np.bool_], unit: str
) -> tuple[str, ...]:
    """Return the problems with SOC: negative, above organic matter's, or constant."""
    column = rows.layout.column("soc")
    limit = f"{MAX_SOC_PERCENT * OF_PERCENT[unit]:g} {unit}"
    remedies = {
        "negative": (soc < 0, "Correct or remove these samples."),
        f"above {limit} (pure organic matter is 58 % carbon)": (
            soc > MAX_SOC_PERCENT,
            "Check the unit (soc_unit='g/kg') or remove these samples.",
        ),
    }
    problems = []
    finite = keep & np.isfinite(soc)  # what is infinite has been reported
    for what, (out, remedy) in remedies.items():
        if count := int((out & finite).sum()):
            row = int(np.argmax(out & finite))
            problems.append(
                f"Column {column!r} has {count} values that are {what} (first: "
                f"{rows.soc[row]:g}, {rows.place(row)}). {remedy}"
            )
    known = rows.soc[keep & ~np.isnan(rows.soc)]
    if len(known) > 1 and (known == known[0]).all():
        problems.append(
            f"Column {column!r} is {known[0]:g} for every sample. A model needs "
            "samples that differ."
        )
    return tuple(problems)
