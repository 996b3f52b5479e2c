"""What the carbon of a user's file is: its kind and unit, and what it cannot be."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from soilnb.datasets.files.columns import Floats, Mask, Singles
from soilnb.datasets.files.quantities import Findings
from soilnb.datasets.files.rows import Rows
from soilnb.datasets.library import SOM_PER_SOC, describe

OF_PERCENT = {"%": 1, "g/kg": 10, "g/100g": 1, "mg/kg": 10_000}  # one percent in each
OF_KIND: dict[str, tuple[Callable[[Floats], Floats], str]] = {
    "ln": (np.exp, "SOC was taken from its logarithm (ln)."),
    "log10": (lambda v: 10**v, "SOC was taken from its logarithm (log10)."),
    "organic_matter": (
        lambda v: v / SOM_PER_SOC,
        f"Organic matter was divided by {SOM_PER_SOC} to give SOC.",
    ),
}

OR_ORGANIC = "could be g/kg or the percent of an organic soil"
MAX_SOC_PERCENT = 60.0  # pure organic matter is 58 % carbon
MAX_MEDIAN_SOC_PERCENT = 8.0  # a farm above it is rare, one in g/kg is not
DARK_REFLECTANCE = 0.10  # near 600 nm; mineral soils are mostly brighter
MIN_MEDIAN_SOC_PERCENT = 0.05  # a farm below it is bare sand, or SOC is a fraction
VISIBLE_NM = (550, 650)
MIN_TENFOLD, MAX_TENFOLD = 0.02, 0.3  # shares of the values in another unit
MIN_DIFFERENT_TENFOLD = 3  # one rich soil may have been scanned several times
MIN_GAP_TENFOLD = 0.1  # log10, between them and the rest


def to_percent(
    rows: Rows, reflectance: Singles, keep: Mask, soc_unit: str
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


def _may_be_organic(reflectance: Singles, wavelengths: Floats) -> bool:
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
