"""What the spectra of a user's file are: reflectance, percent or absorbance."""

import numpy as np

from soilnb._blocks import row_blocks
from soilnb.datasets.files.columns import Floats, Ints, Mask, Numbers, Singles
from soilnb.datasets.files.rows import Rows
from soilnb.preprocessing import MAX_REFLECTANCE, resample

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
MIN_WHITE = 0.85  # at every band: a white panel, no soil is so bright and so flat
MAX_WHITE_RANGE = 0.2
MAX_SHARE_ODD = 0.05  # of rows of another quantity: not mistakes, but half the file
MAX_DECIDING_VALUES = 10_000_000  # of a larger table, every second or later row decides

# Water takes light away near 1414 and 1915 nm, and in the visible soils reflect the
# more the longer the wavelength: dips and a rise in reflectance, else in absorbance.
# Left shoulder, centre and right shoulder of a water band, each a mean of three bands
# (the shoulders are where dry and moist soils are still out of the band), or the ends
# of the visible. Then what a feature is at least, relative to the line between the
# shoulders or to the brighter end: of 16 real sets of soils, dry and wet, in either
# quantity, the smallest are 0.013, 0.049 and 0.18.
FEATURES = {
    "1414": (((1350, 1360, 1370), (1410, 1425, 1440), (1540, 1550, 1560)), 0.008),
    "1915": (((1850, 1860, 1870), (1910, 1925, 1940), (2080, 2090, 2100)), 0.02),
    "visible": (((450, 460, 470), (780, 790, 800)), 0.08),
}
MIN_NOISE_RATIO = 3  # to the noise of one band, below which a feature says nothing
MIN_BANDS = 4  # inside a feature: a coarser table does not show it
MAX_ROWS = 100  # of a larger table, rows at equal distances
MAX_SPREAD_SCALED = 1e-3  # of the size of spectra that were divided by their size


def to_reflectance(rows: Rows, quantity: str) -> Singles:
    """Return reflectance as a fraction, all NaN if the quantity is not clear.

    The spectra of `rows` are converted in place. Where not every row counts, values
    out of range become NaN and odd rows are left out.
    """
    spectra, published = rows.spectra, rows.layout.published
    values = spectra[:: 1 + spectra.size // MAX_DECIDING_VALUES]
    finite = values[np.isfinite(values)]
    if not finite.size:
        return spectra
    problem = _pretreated(spectra, finite) or _odd_row(rows)
    limits = np.percentile(finite, DECIDING_PERCENTILES, overwrite_input=True)
    low, median, high = (float(value) for value in limits)
    shape, seen = tell_by_shape(spectra, rows.layout.wavelengths)
    how = "as told" if quantity else f"as in {published.name}" if published else ""
    if is_known := bool(how):
        quantity = quantity or "reflectance"
        doubt = _contradiction(quantity, how, low, high, shape, seen)
    else:
        quantity, how, doubt = _decide(low, high, shape, seen)
    if problem := problem or doubt or _scale_problem(quantity, median):
        rows.problems.append(problem)
        return np.full_like(spectra, np.nan)
    said = f"{NAMES[quantity]}, {how}"
    rows.notes += [] if is_known else [f"The spectra were taken as {said}."]
    rows.facts["quantity"] = f"{said} ({low:.3g} to {high:.3g})"
    if rows.every_row:
        lowest, highest = LIMITS[quantity]
        too_low = f"below {lowest:.2f}" if lowest < 0 else "zero or negative"
        rules = (too_low, f"above {highest:g}")
        text = "The spectra have {n} values of {name} that are {rule} (first: "
        text += "{value:.3g}, {first}). Remove these samples or wavelengths."
        for bad, rule in zip(_out_of_range(spectra, quantity), rules, strict=True):
            rows.blame(bad, text, spectra, name=NAMES[quantity], rule=rule)
    else:
        n_values, n_rows, first = rows.blank(
            lambda values: np.logical_or(*_out_of_range(values, quantity))
        )
        if n_values:
            rows.notes.append(
                f"{n_values:,} values in {n_rows:,} rows are out of the range of "
                f"{NAMES[quantity]} and count as not measured (first: {first})."
            )
        _leave_out_odd_rows(rows)
    if quantity == "percent":
        spectra /= 100
        rows.notes.append("Reflectance in percent was divided by 100.")
    elif quantity == "absorbance":
        np.negative(spectra, out=spectra)
        with np.errstate(over="ignore"):  # absurd values are reported
            np.power(np.float32(10), spectra, out=spectra)
        np.minimum(spectra, np.float32(MAX_REFLECTANCE), out=spectra)  # rounding
        rows.notes.append("Absorbance was converted to reflectance.")
    _find_panels(rows)
    return spectra


def _pretreated(spectra: Singles, finite: Numbers) -> str:
    """Return why spectra that are negative, or of one size, cannot be raw, or ""."""
    share, some = float(np.mean(finite < 0)), spectra[:: 1 + len(spectra) // MAX_ROWS]
    if share > MIN_SHARE_PRETREATED:
        what, how = (
            f"{share:.0%} of the values of the spectra are negative",
            "SNV, derivative",
        )
    elif len(some) >= MIN_ROWS_SCALED and (one := are_scaled(some)):
        what, how = f"All spectra have the same {one}", "normalised, scaled"
    else:
        return ""
    said = f"{what}: they look like pre-treated spectra ({how})."
    return f"{said} Give reflectance or absorbance."


def _odd_row(rows: Rows) -> str:
    """Return why these rows cannot be raw spectra of one quantity, or ""."""
    if not rows.every_row:
        return ""
    spectra, (medians, flat) = rows.spectra, _row_facts(rows.spectra)
    if (spectra[flat] < 0).any():
        text = "The spectra of {n} samples are the same negative value at every "
        text += "wavelength (first: {value:g}, {first}), which may stand for a missing "
        return rows.say(flat, text + "one. Remove these samples.", spectra[:, 0])
    if np.nanmax(medians) > MAX_BRIGHTNESS_RATIO * np.nanmin(medians) > 0:
        return _different_quantities(rows, medians)
    if flat.any():
        constant = "The spectra of {n} samples are constant (first: {first})."
        return rows.say(flat, f"{constant} Remove these samples.")
    signs = tell_each(spectra, rows.layout.wavelengths)
    few, most, rare = "absorbance", "reflectance", -1
    if signs.sum() <= 0:
        few, most, rare = most, few, 1
    text = "The spectra of {n} samples have the shape of {few} (first: {first}), those "
    text += "of {n_usual} that of {most}. Give one quantity in one file."
    n_usual = int((signs == -rare).sum())
    return rows.say(signs == rare, text, few=few, most=most, n_usual=n_usual)


def _leave_out_odd_rows(rows: Rows) -> None:
    """Leave out rows that cannot be spectra; many of them are a problem of the file."""
    medians, flat = _row_facts(rows.spectra)
    rows.left_out["have no value in the range"] = np.isnan(medians)
    if np.isnan(medians).all():
        return
    ratio = medians / float(np.nanmedian(medians))
    odd = (ratio > MAX_BRIGHTNESS_RATIO) | (ratio * MAX_BRIGHTNESS_RATIO < 1)
    if odd.mean() > MAX_SHARE_ODD:
        rows.problems.append(_different_quantities(rows, medians))
    rows.left_out["have the same value at every wavelength"] = flat
    different = f"are {MAX_BRIGHTNESS_RATIO} times darker or brighter than others"
    rows.left_out[different] = odd


def _find_panels(rows: Rows) -> None:
    """Find scans of a white panel among the reflectances of soils."""
    low, high = rows.spectra.min(axis=1), rows.spectra.max(axis=1)
    white = (low > MIN_WHITE) & (high - low < MAX_WHITE_RANGE)
    what = "look like scans of a white panel"
    if not rows.every_row:
        rows.left_out[what] = white
        return
    text = "The spectra of {n} samples {what}, not of a soil (first: {first}): "
    text += f"above {MIN_WHITE:.0%} at every wavelength. Remove these rows."
    rows.blame(white, text, what=what)


def _row_facts(spectra: Singles) -> tuple[Floats, Mask]:
    """Return the size of each row's median, NaN without value, and who is constant."""
    low, high = np.fmin.reduce(spectra, axis=1), np.fmax.reduce(spectra, axis=1)
    flat = (low == high) & np.isfinite(high)
    medians = np.full(len(spectra), np.nan)
    for part in row_blocks(len(spectra)):
        some = np.isfinite(spectra[part]).any(axis=1)
        block = spectra[part][some]
        median = np.nanmedian if np.isnan(block).any() else np.median  # is faster
        with np.errstate(over="ignore"):  # absurd values are reported
            medians[part][some] = np.abs(median(block, axis=1))
    return medians, flat


def _different_quantities(rows: Rows, medians: Floats) -> str:
    """Return the message for rows that are too different in brightness."""
    darkest, brightest = np.nanmin(medians), np.nanmax(medians)
    return (
        f"The spectra seem to be of different quantities (medians {darkest:.3g} at "
        f"{rows.first(medians == darkest)} and {brightest:.3g} at "
        f"{rows.first(medians == brightest)}). Give one quantity in one file."
    )


def _decide(low: float, high: float, shape: str, seen: str) -> tuple[str, str, str]:
    """Return what values are, by themselves or their shape, and a question if any."""
    by_values = "found from the values"
    if high > MAX_ABSORBANCE and shape != "absorbance":
        return "percent", by_values, ""
    if high > MAX_REFLECTANCE and shape != "reflectance":  # as percent none is so dark
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


def _out_of_range(values: Singles, quantity: str) -> tuple[Mask, Mask]:
    """Return which values are too low and which too high; infinite ones are missing."""
    low, high = LIMITS[quantity]
    too_low = values < low if quantity == "absorbance" else values <= low
    return too_low, np.isfinite(values) & (values > high)


def tell_by_shape(spectra: Numbers, wavelengths: Floats) -> tuple[str, str]:
    """Return "reflectance" or "absorbance" and what shows it; "" where it is unclear.

    So it is where no feature is clear, two contradict, or all were scaled to a size.
    """
    some = spectra[:: 1 + len(spectra) // MAX_ROWS].astype(np.float64)
    some[~np.isfinite(some)] = np.nan
    measured = np.isfinite(some).any(axis=0)
    some, wavelengths = some[:, measured], wavelengths[measured]
    signs = _signs(np.nanmedian(some, axis=0)[np.newaxis], wavelengths)
    found = {name: int(sign[0]) for name, sign in signs.items() if sign[0]}
    if len({*found.values()}) != 1 or are_scaled(some):
        return "", ""
    is_reflectance = 1 in found.values()
    shown = " and ".join(name for name in found if name != "visible")
    words = ("dip", "rises") if is_reflectance else ("peak", "falls")
    seen = [f"water near {shown} nm is a {words[0]}"] * bool(shown)
    seen += [f"the visible {words[1]}"] * ("visible" in found)
    return "reflectance" if is_reflectance else "absorbance", ", ".join(seen)


def tell_each(spectra: Numbers, wavelengths: Floats) -> Ints:
    """Return 1 for spectra that are clearly reflectance, -1 for absorbance, or 0."""
    signs = np.array([*_signs(spectra, wavelengths).values()])
    return np.clip(signs.max(axis=0) + signs.min(axis=0), -1, 1)


def are_scaled(spectra: Numbers) -> str:
    """Return which of mean, length or maximum several spectra share, or ""."""
    filled = spectra[np.isfinite(spectra).all(axis=1)].astype(np.float64)
    if len(np.unique(filled, axis=0)) <= 2:  # copies of one
        return ""
    sizes = {
        "mean": filled.mean(axis=1),
        "length": np.sqrt((filled**2).mean(axis=1)),
        "maximum": filled.max(axis=1),
    }
    if not np.isclose(filled.max(), (1, 100)).any():  # but a faulty band
        del sizes["maximum"]
    for what, size in sizes.items():
        if np.ptp(size) <= MAX_SPREAD_SCALED * abs(np.mean(size)):
            return what
    return ""


def _signs(spectra: Floats, wavelengths: Floats) -> dict[str, Ints]:
    """Return for each feature and spectrum 1 as in reflectance, -1, or 0 if unclear."""
    signs = {name: np.zeros(len(spectra), dtype=int) for name in FEATURES}
    if len(wavelengths) < MIN_BANDS:
        return signs
    spectra = np.where(np.isfinite(spectra), spectra, np.nan).astype(np.float64)
    # Noise of a band: 1.48 times the median deviation is the SD; of x - 2 y + z, which
    # is 0 on a straight line, it is that of x times the root of 6.
    rest = np.diff(spectra, 2, axis=1)
    deviation = np.abs(rest - np.median(rest, axis=1, keepdims=True))
    noise = 1.48 * np.median(deviation, axis=1) / np.sqrt(6)
    size = np.maximum(np.median(np.abs(spectra), axis=1), np.finfo(float).tiny)
    unclear = MIN_NOISE_RATIO * (noise / size)
    for name, (places, least) in FEATURES.items():
        first, last = places[0][0], places[-1][-1]
        inside = (wavelengths >= first) & (wavelengths <= last)
        reaches = wavelengths[0] <= first and wavelengths[-1] >= last
        if not reaches or inside.sum() < MIN_BANDS:
            continue
        points = [nm for place in places for nm in place]
        values = resample(spectra, wavelengths, points)
        left, *centre, right = values.reshape(len(spectra), len(places), -1).mean(2).T
        difference, whole = right - left, np.maximum(left, right)
        if centre:
            start, middle, end = (np.mean(place) for place in places)
            whole = left + (right - left) * (middle - start) / (end - start)
            difference = whole - centre[0]
        clear = np.abs(difference) > np.maximum(least, unclear) * np.abs(whole)
        signs[name][clear] = np.sign(difference[clear])
    return signs
