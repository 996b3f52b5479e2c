"""What the carbon of a user's file is: its kind and unit, and what it cannot be."""

import re
from collections.abc import Callable

import numpy as np

from soilnb.datasets.files.columns import Floats, Mask, Singles
from soilnb.datasets.files.rows import SOC_CELL, Rows
from soilnb.datasets.files.told import Told
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
LIMIT = re.compile(r"[<≤]=? ?(\d+(?:[.,]\d+)?)( ?[%/a-zA-Z]+)?")
NOT_DETECTED = re.compile(
    r"n\.? ?d\.?|b\.?d\.?l\.?|traces?|not det.*|(<|below) ?(lo[dq]|m?dl|ld|det.*)",
    re.IGNORECASE,
)
SAY_LIMIT = "Say below_detection='half' or below_detection='unmeasured'."
MAX_SOC_PERCENT = 60.0  # pure organic matter is 58 % carbon
MAX_MEDIAN_SOC_PERCENT = 8.0  # a farm above it is rare, one in g/kg is not
DARK_REFLECTANCE = 0.10  # near 600 nm; mineral soils are mostly brighter
MIN_MEDIAN_SOC_PERCENT = 0.05  # a farm below it is bare sand, or SOC is a fraction
VISIBLE_NM = (550, 650)
MIN_TENFOLD, MAX_TENFOLD = 0.02, 0.3  # shares of the values in another unit
MIN_DIFFERENT_TENFOLD = 3  # one rich soil may have been scanned several times
MIN_GAP_TENFOLD = 0.1  # log10, between them and the rest


def half_of(text: str) -> str:
    """Return half of a limit of detection such as "<0.2"; "" for other texts.

    >>> half_of("< 0.2"), half_of("n.d.")
    ('0.1', '')
    """
    match = LIMIT.fullmatch(text.strip())
    return f"{float(match[1].replace(',', '.')) / 2:g}" if match else ""


def settle_limits(rows: Rows, told: Told) -> None:
    """Settle the SOC below detection, and zeros, as they were told, or ask."""
    texts = [(row, text) for row, band, text in rows.texts if band == SOC_CELL]
    limits = {row: float(half) for row, text in texts if (half := half_of(text))}
    unknown = [row for row, text in texts if NOT_DETECTED.fullmatch(text)]
    matters = rows.every_row or told.below_detection
    zeros = (rows.soc == 0) & bool(
        matters and rows.layout.soc_kind not in ("ln", "log10")
    )
    if not told.below_detection:  # texts are a problem anyway
        rows.blame(
            zeros,
            "Column {soc!r} has {n} values of 0 (first: {first}): no soil is without "
            "carbon, so they are missing or below detection. " + SAY_LIMIT,
        )
        return
    zeros[unknown] = True
    if not (limits or zeros.any()):
        return
    rows.soc = np.where(zeros, np.nan, rows.soc)
    how = "count as not measured"
    if told.below_detection == "half":
        rows.soc[zeros] = np.min(rows.soc[rows.soc > 0], initial=np.inf) / 2
        rows.soc[[*limits]] = [*limits.values()]
        how = "were taken as half of the limit"
        how += ", or of the smallest value" * bool(zeros.any())
    done = {*limits, *unknown}
    rows.texts = [t for t in rows.texts if t[1] != SOC_CELL or t[0] not in done]
    n, column = len(limits) + int(zeros.sum()), rows.layout.column("soc")
    rows.notes.append(f"{n} values of {column!r} that are 0 or below detection {how}.")


def to_percent(rows: Rows, reflectance: Singles, soc_unit: str) -> Floats:
    """Return soil organic carbon (SOC) in % of mass, NaN where it was not measured.

    Without a unit it is that of the column's name, of the published library or, of
    other tables, % if the values look like it: dark soils may be as rich in carbon as
    they seem.
    """
    layout, published = rows.layout, rows.layout.published
    used = np.isfinite(rows.soc) & rows.keep
    if not used.any():
        return rows.soc
    unit = soc_unit or layout.soc_unit or "%" * bool(published)
    how = f"as in {published.name}" if published else "as its name says"
    how = "as told" if soc_unit else how if unit else "found from the values"
    with np.errstate(over="ignore"):  # absurd values are reported
        to_carbon, note = OF_KIND.get(layout.soc_kind, (np.asarray, ""))
        values = to_carbon(rows.soc)
    median = float(np.median(values[used]))
    problem, notes = "", [note] * bool(note)
    if not unit:
        problem = _unit_problem(median, reflectance, layout.wavelengths)
        notes.append(
            f"SOC was taken as % (its median is {median:.3g}); if it is in g/kg, say "
            "soc_unit='g/kg'."
        )
    elif layout.soc_unit and not soc_unit:
        problem = (
            f"'soc_unit' is needed, SOC has a median of {median:.3g} {unit}, {how}: no "
            "farm has so little. Look for marks of thousands in the cells, or say "
            "soc_unit='%' or soc_unit='g/kg'."
        ) * (0 < median < MIN_MEDIAN_SOC_PERCENT * OF_PERCENT[unit])
    if problem:
        rows.problems.append(problem)
        return values
    unit = unit or "%"
    soc = values / OF_PERCENT[unit]
    in_unit = f"SOC in {unit} was divided by {OF_PERCENT[unit]:,} to give %."
    rows.notes += [*notes, *[in_unit] * (OF_PERCENT[unit] > 1)]
    if not rows.every_row:
        reason = f"have a SOC below 0 or above {MAX_SOC_PERCENT:g} %"
        rows.left_out[reason] = (soc < 0) | (soc > MAX_SOC_PERCENT)
    _blame_soc(rows, soc, unit)
    used = np.isfinite(soc) & rows.keep
    if not used.any():
        return soc
    if problem := _tenfold_problem(rows, soc, used):
        (rows.notes if soc_unit else rows.problems).append(problem)
    with np.errstate(over="ignore", invalid="ignore"):  # absurd values are reported
        statistics = describe(soc[used])[1:]
    rows.facts["SOC unit"] = f"{unit}, {how}"
    summary = [f"{name} {value:.3g}" for name, value in statistics.items()]
    rows.facts["SOC / %"] = ", ".join(summary)
    return soc


def _tenfold_problem(rows: Rows, soc: Floats, used: Mask) -> str:
    """Return the question where a few values are ten times the rest, or ""."""
    places = np.flatnonzero(used & (soc > 0))
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
    rich = np.isin(np.arange(len(soc)), places[order[cut:]])
    return rows.say(
        rich,
        "{n} of {n_all} values of {soc!r} are about ten times the rest (medians "
        "{more:.3g} and {less:.3g} %; first: {first}): they may be in g/kg among "
        "percent. Correct them, or say soc_unit='%' or soc_unit='g/kg' if all are in "
        "it.",
        n_all=len(values),
        less=medians[0],
        more=medians[1],
    )


def _unit_problem(median: float, reflectance: Singles, wavelengths: Floats) -> str:
    """Return why SOC with this median may not be %, or ""."""
    if median > MAX_MEDIAN_SOC_PERCENT:
        visible = (wavelengths >= VISIBLE_NM[0]) & (wavelengths <= VISIBLE_NM[1])
        values = reflectance[:, visible]
        values = values[np.isfinite(values)]
        is_dark = not values.size or values.mean() < DARK_REFLECTANCE
        guess = "looks like g/kg. Say soc_unit='g/kg' or"
        if visible.any() and is_dark:  # or of unknown brightness
            guess = "could be g/kg or the percent of an organic soil. Say "
            guess += "soc_unit='g/kg' or"
    elif 0 < median < MIN_MEDIAN_SOC_PERCENT:
        guess = "looks like a fraction of mass. Multiply it by 100, or say"
    else:
        return ""
    text = f"'soc_unit' is needed, SOC has a median of {median:.3g}: this "
    return f"{text}{guess} soc_unit='%'."


def _blame_soc(rows: Rows, soc: Floats, unit: str) -> None:
    """Report SOC that is negative, above that of organic matter, or constant."""
    high = (
        f"above {MAX_SOC_PERCENT * OF_PERCENT[unit]:g} {unit} (pure organic matter is "
    )
    for what, out, remedy in (
        ("negative", soc < 0, "Correct or remove these samples."),
        (
            high + "58 % carbon)",
            soc > MAX_SOC_PERCENT,
            "Check the unit (soc_unit='g/kg') or remove these samples.",
        ),
    ):
        text = "Column {soc!r} has {n} values that are {what} (first: {value:g}, "
        text += "{first}). {remedy}"
        used = out & rows.keep & np.isfinite(soc)  # what is infinite has been reported
        rows.blame(used, text, rows.soc, what=what, remedy=remedy)
    known = rows.soc[rows.keep & ~np.isnan(rows.soc)]
    if len(known) > 1 and (known == known[0]).all():
        rows.problems.append(
            f"Column {rows.layout.column('soc')!r} is {known[0]:g} for every sample. A "
            "model needs samples that differ."
        )
