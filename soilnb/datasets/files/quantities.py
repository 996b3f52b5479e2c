"""What the spectra of a user's file are: reflectance, percent or absorbance."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from soilnb._blocks import row_blocks
from soilnb.datasets.files.columns import Floats, Mask, Numbers, Singles
from soilnb.datasets.files.rows import Rows
from soilnb.datasets.files.shape import are_scaled, tell_by_shape, tell_each
from soilnb.preprocessing import MAX_REFLECTANCE

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

# The brightest soil of a file reflects about ten times as much as the darkest.
MAX_BRIGHTNESS_RATIO = 50
MIN_SHARE_PRETREATED = 0.05  # of values below zero: not noise, but treated spectra
MIN_ROWS_SCALED = 5  # of one size: chance makes fewer
MAX_ROWS_SCALED = 100  # of a larger table, rows at equal distances
MIN_WHITE = 0.85  # at every band: a white panel, no soil is so bright and so flat
MAX_WHITE_RANGE = 0.2
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
    left_out: tuple[tuple[str, Mask], ...] = ()

    def __add__(self, other: Findings) -> Findings:
        """Return the findings of two steps."""
        names = [field.name for field in fields(self)]
        return Findings(*(getattr(self, n) + getattr(other, n) for n in names))

    def keep(self, n_rows: int) -> Mask:
        """Return which of the rows of a table are still used."""
        return ~np.any([np.zeros(n_rows, bool), *(out for _, out in self.left_out)], 0)


def to_reflectance(rows: Rows, quantity: str) -> tuple[Singles, Findings]:
    """Return reflectance as a fraction, all NaN if the quantity is not clear.

    The spectra of `rows` are converted in place. Where not every row counts, values
    out of range become NaN and odd rows are left out.
    """
    spectra, published = rows.spectra, rows.layout.published
    values = spectra[:: 1 + spectra.size // MAX_DECIDING_VALUES]
    finite = values[np.isfinite(values)]
    if not finite.size:
        return spectra, Findings()
    problem = _pretreated(spectra, finite) or _odd_row(rows) or _mixed(rows)
    limits = np.percentile(finite, DECIDING_PERCENTILES, overwrite_input=True)
    low, median, high = (float(value) for value in limits)
    shape, seen = tell_by_shape(spectra, rows.layout.wavelengths)
    how = "as told" if quantity else f"as in {published.name}" if published else ""
    if how:
        decided, by = quantity or (published.quantity if published else ""), how
        doubt = _contradiction(decided, how, low, high, shape, seen)
    else:
        decided, by, doubt = _decide(low, high, shape, seen)
    if problem := problem or doubt or _scale_problem(decided, median):
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
    return spectra, found + _convert(spectra, decided) + _find_panels(rows)


def _pretreated(spectra: Singles, finite: Numbers) -> str:
    """Return why spectra that are negative, or of one size, cannot be raw, or ""."""
    share = float(np.mean(finite < 0))
    some = spectra[:: 1 + len(spectra) // MAX_ROWS_SCALED]
    like, remedy = (
        "they look like pre-treated spectra",
        "Give reflectance or absorbance",
    )
    if share > MIN_SHARE_PRETREATED:
        what = f"{share:.0%} of the values of the spectra are negative"
        return f"{what}: {like} (SNV, derivative). {remedy}."
    if one := are_scaled(some) if len(some) >= MIN_ROWS_SCALED else "":
        what = f"All spectra have the same {one}"
        return f"{what}: {like} (normalised, scaled). {remedy}."
    return ""


def _odd_row(rows: Rows) -> str:
    """Return why these rows cannot be raw spectra of one quantity, or ""."""
    if not rows.every_row:
        return ""
    medians, flat = _row_facts(rows.spectra)
    n, first = int(flat.sum()), int(flat.argmax())
    if n and (rows.spectra[flat] < 0).any():
        return (
            f"The spectra of {n} samples are the same negative value at every "
            f"wavelength (first: {rows.spectra[first, 0]:g}, {rows.place(first)}), "
            "which may stand for a missing one. Remove these samples."
        )
    if np.nanmax(medians) > MAX_BRIGHTNESS_RATIO * np.nanmin(medians) > 0:
        return _different_quantities(rows, medians)
    constant = (
        f"The spectra of {n} samples are constant (first: {rows.place(first)}). "
        "Remove these samples."
    )
    return constant if n else ""


def _mixed(rows: Rows) -> str:
    """Return why some rows are of another quantity than the others, or ""."""
    signs = np.zeros(len(rows.spectra), dtype=int)
    if rows.every_row:
        signs = tell_each(rows.spectra, rows.layout.wavelengths)
    are = {"reflectance": np.equal(signs, 1), "absorbance": np.equal(signs, -1)}
    (few, rare), (most, usual) = sorted(are.items(), key=lambda item: item[1].sum())
    if not rare.any():
        return ""
    return (
        f"The spectra of {int(rare.sum())} samples have the shape of {few} (first: "
        f"{rows.first(rare)}), those of {int(usual.sum())} that of {most}. Give one "
        "quantity in one file."
    )


def _find_odd_rows(rows: Rows) -> Findings:
    """Leave out rows that cannot be spectra; many of them are a problem of the file."""
    medians, flat = _row_facts(rows.spectra)
    found = Findings(left_out=(("have no value in the range", np.isnan(medians)),))
    if np.isnan(medians).all():
        return found
    ratio = medians / float(np.nanmedian(medians))
    odd = (ratio > MAX_BRIGHTNESS_RATIO) | (ratio * MAX_BRIGHTNESS_RATIO < 1)
    many = odd.mean() > MAX_SHARE_ODD
    different = f"are {MAX_BRIGHTNESS_RATIO} times darker or brighter than others"
    return found + Findings(
        problems=(_different_quantities(rows, medians),) if many else (),
        left_out=(("have the same value at every wavelength", flat), (different, odd)),
    )


def _find_panels(rows: Rows) -> Findings:
    """Find scans of a white panel among the reflectances of soils."""
    white = np.zeros(len(rows.spectra), dtype=bool)
    for part in row_blocks(len(white)):
        low, high = rows.spectra[part].min(axis=1), rows.spectra[part].max(axis=1)
        white[part] = (low > MIN_WHITE) & (high - low < MAX_WHITE_RANGE)
    what = "look like scans of a white panel"
    problem = (
        f"The spectra of {int(white.sum())} samples {what}, not of a soil (first: "
        f"{rows.first(white)}): above {MIN_WHITE:.0%} at every "
        "wavelength. Remove these rows."
    )
    if rows.every_row:
        return Findings((problem,) if white.any() else ())
    return Findings(left_out=((what, white),))


def _row_facts(
    spectra: Singles,
) -> tuple[Floats, Mask]:
    """Return the size of each row's median, NaN without value, and who is constant."""
    medians = np.full(len(spectra), np.nan)
    flat = np.zeros(len(spectra), dtype=bool)
    for part in row_blocks(len(spectra)):
        block = spectra[part]
        some = np.flatnonzero(np.isfinite(block).any(axis=1))
        block = block[some]
        median = np.nanmedian if np.isnan(block).any() else np.median  # is faster
        with np.errstate(over="ignore"):  # absurd values are reported
            medians[part][some] = np.abs(median(block, axis=1))
        flat[part][some] = np.nanmax(block, axis=1) == np.nanmin(block, axis=1)
    return medians, flat


def _different_quantities(rows: Rows, medians: Floats) -> str:
    """Return the message for rows that are too different in brightness."""
    darkest, brightest = int(np.nanargmin(medians)), int(np.nanargmax(medians))
    return (
        "The spectra seem to be of different quantities (medians "
        f"{medians[darkest]:.3g} at {rows.place(darkest)} and "
        f"{medians[brightest]:.3g} at {rows.place(brightest)}). "
        "Give one quantity in one file."
    )


def _convert(spectra: Singles, quantity: str) -> Findings:
    """Turn spectra into reflectance, in place; say what was done."""
    if quantity == "percent":
        spectra /= 100
        return Findings(notes=("Reflectance in percent was divided by 100.",))
    if quantity == "absorbance":
        np.negative(spectra, out=spectra)
        with np.errstate(over="ignore"):  # absurd values are reported
            np.power(np.float32(10), spectra, out=spectra)
        np.minimum(spectra, np.float32(MAX_REFLECTANCE), out=spectra)  # rounding
        return Findings(notes=("Absorbance was converted to reflectance.",))
    return Findings()


def _decide(low: float, high: float, shape: str, seen: str) -> tuple[str, str, str]:
    """Return what values from `low` to `high` are, by what, and a question if unclear.

    Values decide where only one quantity can have them; else the shape has a say.
    """
    by_values = "found from the values"
    if high > MAX_ABSORBANCE:
        return "percent", by_values, ""
    if high > MAX_REFLECTANCE:  # as percent no soil is as dark
        return "absorbance", by_values, ""
    why = f"values from {low:.3g} to {high:.3g}"
    if low < LOW_ABSORBANCE and high <= 1:
        if shape != "absorbance":
            return "reflectance", by_values, ""
        why += f" look like reflectance, but {seen} as in absorbance"
    elif shape:
        return shape, f"by the shape: {seen}", ""
    else:
        why += ", and no shape that tells"
    question = (
        f"'quantity' could be reflectance or absorbance ({why}): say "
        "quantity='reflectance' or quantity='absorbance'."
    )
    return "", "", question


def _contradiction(
    quantity: str, how: str, low: float, high: float, shape: str, seen: str
) -> str:
    """Return why values or shape cannot be those of `quantity`, or ""."""
    told = "was told to be" if how == "as told" else f"should be, {how},"
    told = f"'quantity' {told} {quantity!r}"
    likely, say = "percent", "quantity='percent'"
    is_out = high > LIMITS[quantity][1]
    if quantity == "percent":
        is_out = high <= MAX_REFLECTANCE
        likely, say = "a fraction", "quantity='reflectance'"
    elif quantity == "reflectance" and high <= MAX_ABSORBANCE:
        likely, say = "percent or absorbance", f"{say} or 'absorbance'"
    if is_out:
        return (
            f"{told}, {NAMES[quantity]}, but it looks like {likely} (values from "
            f"{low:.3g} to {high:.3g}): say {say}."
        )
    if shape in ("", quantity, quantity.replace("percent", "reflectance")):
        return ""
    return f"{told}, but {seen}, as in {shape}: say quantity='{shape}'."


def _scale_problem(quantity: str, median: float) -> str:
    """Return why half of the values cannot be those of a soil, or ""."""
    typical = median * {"reflectance": 100.0, "percent": 1.0}.get(quantity, np.nan)
    if not (typical < MIN_TYPICAL_PERCENT or typical > 100 * MAX_REFLECTANCE):
        return ""
    return (
        f"The median of the spectra is {median:.3g}, as {NAMES[quantity]}: no soil "
        f"reflects {typical:.3g} %. They seem to be multiplied by a number, such as "
        "10,000. Divide by it, so that the white reference is 1 or 100."
    )


def _limit_problems(rows: Rows, quantity: str) -> tuple[str, ...]:
    """Return the problems with values that the quantity cannot have."""
    low, high = LIMITS[quantity]
    rule = f"below {low:.2f}" if quantity == "absorbance" else "zero or negative"
    found = zip(
        _out_of_range(rows.spectra, quantity), (rule, f"above {high:g}"), strict=True
    )
    return tuple(
        f"The spectra have {int(bad.sum())} values of {NAMES[quantity]} that "
        f"are {what} (first: {rows.spectra[bad][0]:.3g}, {rows.place_of(bad)}). "
        "Remove these samples or wavelengths."
        for bad, what in found
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
    note = (
        f"{n_values:,} values in {n_rows:,} rows are out of the range of "
        f"{NAMES[quantity]} and count as not measured (first: {first})."
    )
    return (note,) if n_values else ()


def _out_of_range(values: Singles, quantity: str) -> tuple[Mask, Mask]:
    """Return which values are too low and which too high; infinite ones are missing."""
    low, high = LIMITS[quantity]
    too_low = values < low if quantity == "absorbance" else values <= low
    return too_low, np.isfinite(values) & (values > high)
