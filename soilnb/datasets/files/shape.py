"""Reflectance or absorbance, told by the shape of the spectra.

Water takes light away near 1414 and 1915 nm, and soils reflect the more the longer the
wavelength is in the visible. So both bands are dips and the visible rises where the
spectra are reflectance; where they are absorbance all three are the other way round.
"""

from __future__ import annotations

import numpy as np

from soilnb.datasets.files.columns import Floats, Ints, Numbers
from soilnb.preprocessing import resample

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


def tell_by_shape(spectra: Numbers, wavelengths: Floats) -> tuple[str, str]:
    """Return "reflectance" or "absorbance" and what shows it; "" where it is unclear.

    It is unclear where no feature is covered and clear, where two contradict, and in
    spectra that were scaled (to one mean, length or maximum), which are neither.
    """
    some = spectra[:: 1 + len(spectra) // MAX_ROWS].astype(np.float64)
    some[~np.isfinite(some)] = np.nan
    measured = np.isfinite(some).any(axis=0)
    some, wavelengths = some[:, measured], wavelengths[measured]
    if len(wavelengths) < MIN_BANDS or are_scaled(some):
        return "", ""
    signs = _signs(np.nanmedian(some, axis=0)[np.newaxis], wavelengths)
    found = {name: int(sign[0]) for name, sign in signs.items() if sign[0]}
    if len({*found.values()}) != 1:
        return "", ""
    is_reflectance = 1 in found.values()
    shown = " and ".join(name for name in found if name != "visible")
    words = ("dip", "rises") if is_reflectance else ("peak", "falls")
    seen = [f"water near {shown} nm is a {words[0]}"] * bool(shown)
    seen += [f"the visible {words[1]}"] * ("visible" in found)
    return "reflectance" if is_reflectance else "absorbance", ", ".join(seen)


def tell_each(spectra: Numbers, wavelengths: Floats) -> Ints:
    """Return 1 for each spectrum that is clearly reflectance, -1 for absorbance, or 0.

    Of 2,824 real spectra in either quantity none is told wrongly.
    """
    if len(wavelengths) < MIN_BANDS:
        return np.zeros(len(spectra), dtype=int)
    spectra = np.where(np.isfinite(spectra), spectra, np.nan).astype(np.float64)
    signs = np.array([*_signs(spectra, wavelengths).values()])
    return np.clip(signs.max(axis=0) + signs.min(axis=0), -1, 1)


def are_scaled(spectra: Numbers) -> str:
    """Return which of mean, length or maximum several spectra share, or ""."""
    filled = spectra[np.isfinite(spectra).all(axis=1)].astype(np.float64)
    if len(np.unique(filled[:, 0])) <= 2:  # copies of one
        return ""
    sizes = {
        "mean": filled.mean(axis=1),
        "length": np.sqrt((filled**2).mean(axis=1)),
        "maximum": filled.max(axis=1),
    }
    same = (
        what
        for what, size in sizes.items()
        if np.ptp(size) <= MAX_SPREAD_SCALED * abs(np.mean(size))
    )
    return next(same, "")


def _noise(spectra: Floats) -> Floats:
    """Return the noise of one band, relative: of a straight line the rest is noise."""
    rest = np.diff(spectra, 2, axis=1)
    # 1.48 times the median deviation is the SD; of x - 2 y + z it is that of x times
    # the root of 6.
    deviation = np.abs(rest - np.median(rest, axis=1, keepdims=True))
    noise = 1.48 * np.median(deviation, axis=1) / np.sqrt(6)
    return noise / np.maximum(np.median(np.abs(spectra), axis=1), np.finfo(float).tiny)


def _signs(spectra: Floats, wavelengths: Floats) -> dict[str, Ints]:
    """Return for each feature and spectrum 1 as in reflectance, -1, or 0 if unclear."""
    noise, signs = MIN_NOISE_RATIO * _noise(spectra), {}
    for name, (places, least) in FEATURES.items():
        signs[name] = np.zeros(len(spectra), dtype=int)
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
        clear = np.abs(difference) > np.maximum(least, noise) * np.abs(whole)
        signs[name][clear] = np.sign(difference[clear])
    return signs
