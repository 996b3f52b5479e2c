"""What the numbers of a user's file are: reflectance or absorbance, % or g/kg."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from soilnb.datasets.files.rows import Rows, row_blocks
from soilnb.datasets.files.shape import are_scaled, tell_by_shape, tell_each
from soilnb.datasets.library import describe
from soilnb.preprocessing import MAX_REFLECTANCE

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

OF_PERCENT = {"%": 1, "g/kg": 10, "g/100g": 1, "mg/kg": 10_000}  # one percent in each
OF_KIND: dict[str, tuple[Callable[[Floats], Floats], str]] = {
    "ln": (np.exp, "SOC was taken from its logarithm (ln)."),
    "log10": (lambda v: 10**v, "SOC was taken from its logarithm (log10)."),
    "organic_matter": (  # is taken to be 58 % carbon
        lambda v: v / 1.724,
        "Organic matter was divided by 1.724 to give SOC.",
    ),
}

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

OR_ORGANIC = "could be g/kg or the percent of an organic soil"
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
    left_out: tuple[tuple[str, Mask], ...] = ()

    def __add__(self, other: Findings) -> Findings:
        """Return the findings of two steps."""
        names = [field.name for field in fields(self)]
        return Findings(*(getattr(self, n) + getattr(other, n) for n in names))

    def keep(self, n_rows: int) -> Mask:
        """Return which of the rows of a table are still used."""
        return ~np.any([np.zeros(n_rows, bool), *(out for _, out in self.left_out)], 0)


def to_reflectance(
    rows: Rows, quantity: str
) -> tuple[npt.NDArray[np.float32], Findings]:
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


def _pretreated(spectra: npt.NDArray[np.float32], finite: npt.NDArray) -> str:
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
    spectra: npt.NDArray[np.float32],
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


def _convert(spectra: npt.NDArray[np.float32], quantity: str) -> Findings:
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


def _out_of_range(values: npt.NDArray[np.float32], quantity: str) -> tuple[Mask, Mask]:
    """Return which values are too low and which too high; infinite ones are missing."""
    low, high = LIMITS[quantity]
    too_low = values < low if quantity == "absorbance" else values <= low
    return too_low, np.isfinite(values) & (values > high)


def to_percent(
    rows: Rows, reflectance: npt.NDArray[np.float32], keep: Mask, soc_unit: str
) -> tuple[Floats, Findings]:
    """Return soil organic carbon (SOC) in % of mass, NaN where it was not measured.

    Without a unit it is that of the column's name, of the published library or, of
    other tables, % if the values look like it: dark soils may be as rich in carbon as
    they seem.
    """
    layout, published = rows.layout, rows.layout.published
    if not (np.isfinite(rows.soc) & keep).any():
        return rows.soc, Findings()
    unit = soc_unit or layout.soc_unit or (published.soc_unit if published else "")
    how = f"as in {published.name}" if published else "as its name says"
    how = "as told" if soc_unit else how if unit else "found from the values"
    with np.errstate(over="ignore"):  # absurd values are reported
        to_carbon, note = OF_KIND.get(layout.soc_kind, (np.asarray, ""))
        values = to_carbon(rows.soc)
    notes = [note] if note else []
    if not unit:
        median = float(np.median(values[np.isfinite(rows.soc) & keep]))
        organic = _may_be_organic(reflectance, layout.wavelengths)
        if problem := _unit_problem(median, organic):
            return values, Findings((problem,))
        notes.append(
            f"SOC was taken as % (its median is {median:.3g}); if it is in g/kg, say "
            "soc_unit='g/kg'."
        )
    elif layout.soc_unit and not soc_unit:
        median = float(np.median(values[np.isfinite(rows.soc) & keep]))
        if 0 < median < MIN_MEDIAN_SOC_PERCENT * OF_PERCENT[unit]:
            problem = (
                f"'soc_unit' is needed, SOC has a median of {median:.3g} {unit}, "
                f"{how}: no farm has so little. Look for marks of thousands in the "
                "cells, or say soc_unit='%' or soc_unit='g/kg'."
            )
            return values, Findings((problem,))
    soc = values / OF_PERCENT[unit or "%"]
    if OF_PERCENT[unit or "%"] > 1:
        notes.append(f"SOC in {unit} was divided by {OF_PERCENT[unit]:,} to give %.")
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
        found += Findings(notes=(problem,)) if soc_unit else Findings((problem,))
    with np.errstate(over="ignore", invalid="ignore"):  # absurd values are reported
        statistics = describe(known)
    summary = ", ".join(f"{name} {value:.3g}" for name, value in statistics[1:].items())
    facts = (("SOC unit", f"{unit or '%'}, {how}"), ("SOC / %", summary))
    return soc, found + Findings(facts=facts)


def _tenfold_problem(rows: Rows, soc: Floats, keep: Mask) -> str:
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
    medians = 10 ** np.median(low), 10 ** np.median(high)
    is_apart = gaps[cut - 1] > MIN_GAP_TENFOLD and 7 <= medians[1] / medians[0] <= 14
    if not (fits and is_apart) or len({*high}) < MIN_DIFFERENT_TENFOLD:
        return ""
    return (
        f"{len(high)} of {len(values)} values of {rows.layout.column('soc')!r} are "
        f"about ten times the rest (medians {medians[1]:.3g} and {medians[0]:.3g} %; "
        f"first: {rows.place(int(places[order[cut:]].min()))}): they may be in g/kg "
        "among percent. Correct them, or say soc_unit='%' or soc_unit='g/kg' if all "
        "are in it."
    )


def _unit_problem(median: float, organic: bool) -> str:
    """Return why SOC with this median may not be %, or ""."""
    if median > MAX_MEDIAN_SOC_PERCENT:
        guess = "looks like g/kg. Say soc_unit='g/kg' or"
        if organic:
            guess = guess.replace("looks like g/kg", OR_ORGANIC)
    elif 0 < median < MIN_MEDIAN_SOC_PERCENT:
        guess = "looks like a fraction of mass. Multiply it by 100, or say"
    else:
        return ""
    text = f"'soc_unit' is needed, SOC has a median of {median:.3g}: this "
    return f"{text}{guess} soc_unit='%'."


def _may_be_organic(reflectance: npt.NDArray[np.float32], wavelengths: Floats) -> bool:
    """Return whether the soils may be organic: dark, or of unknown brightness."""
    visible = (wavelengths >= VISIBLE_NM[0]) & (wavelengths <= VISIBLE_NM[1])
    values = reflectance[:, visible]
    values = values[np.isfinite(values)]
    dark = not values.size or bool(values.mean() < DARK_REFLECTANCE)
    return bool(visible.any()) and dark


def _soc_problems(rows: Rows, soc: Floats, keep: Mask, unit: str) -> tuple[str, ...]:
    """Return the problems with SOC: negative, above organic matter's, or constant."""
    column = rows.layout.column("soc")
    limit = f"{MAX_SOC_PERCENT * OF_PERCENT[unit]:g} {unit}"
    high = f"above {limit} (pure organic matter is 58 % carbon)"
    say = "Check the unit (soc_unit='g/kg') or remove these samples."
    problems = []
    for what, out, remedy in (
        ("negative", soc < 0, "Correct or remove these samples."),
        (high, soc > MAX_SOC_PERCENT, say),
    ):
        out &= keep & np.isfinite(soc)  # what is infinite has been reported
        if out.any():
            problems.append(
                f"Column {column!r} has {int(out.sum())} values that are {what} "
                f"(first: {rows.soc[out][0]:g}, {rows.first(out)}). {remedy}"
            )
    known = rows.soc[keep & ~np.isnan(rows.soc)]
    if len(known) > 1 and (known == known[0]).all():
        problems.append(
            f"Column {column!r} is {known[0]:g} for every sample. A model needs "
            "samples that differ."
        )
    return tuple(problems)
