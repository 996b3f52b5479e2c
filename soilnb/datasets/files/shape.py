"""Reflectance or absorbance, told by the shape of the spectra.

Water takes light away near 1414 and 1915 nm, and soils reflect the more the longer the
wavelength is in the visible. So both bands are dips and the visible rises where the
spectra are reflectance; where they are absorbance all three are the other way round.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from soilnb.preprocessing import resample

# Left shoulder, centre and right shoulder of a water band, each a mean of three bands:
# the shoulders are where dry and moist soils are still out of the band.
WATER_NM = {
    1414: ((1350, 1360, 1370), (1410, 1425, 1440), (1540, 1550, 1560)),
    1915: ((1850, 1860, 1870), (1910, 1925, 1940), (2080, 2090, 2100)),
}
VISIBLE_NM = ((450, 460, 470), (780, 790, 800))
# Relative to the line between the shoulders, or to the brighter end of the visible. Of
# 16 real sets of soils, dry and wet, in either quantity, the smallest are 0.013, 0.049
# and 0.18.
MIN_DEPTH = {1414: 0.008, 1915: 0.02}
MIN_RISE = 0.08
MIN_NOISE_RATIO = 3  # to the noise of one band, below which a feature says nothing
MIN_BANDS = 4  # inside a feature: a coarser table does not show it
MAX_ROWS = 100  # of a larger table, rows at equal distances
MAX_SPREAD_SCALED = 1e-3  # of the size of spectra that were divided by their size

Floats = npt.NDArray[np.float64]


def tell_by_shape(
    spectra: npt.NDArray[np.float32], wavelengths: Floats
) -> tuple[str, str]:
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
    median = np.nanmedian(some, axis=0)
    least = MIN_NOISE_RATIO * _noise(median)
    water = {
        centre: _dip(median, wavelengths, places, max(MIN_DEPTH[centre], least))
        for centre, places in WATER_NM.items()
    }
    rise = _rise(median, wavelengths, max(MIN_RISE, least))
    signs = {*water.values(), rise} - {0}
    if len(signs) != 1:
        return "", ""
    is_reflectance = signs == {1}
    shown = " and ".join(f"{centre}" for centre, sign in water.items() if sign)
    seen = []
    if shown:
        seen.append(f"water near {shown} nm is a {'dip' if is_reflectance else 'peak'}")
    if rise:
        seen.append(f"the visible {'rises' if is_reflectance else 'falls'}")
    return "reflectance" if is_reflectance else "absorbance", ", ".join(seen)


def are_scaled(spectra: npt.NDArray) -> str:
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


def _noise(median: Floats) -> float:
    """Return the noise of one band, relative: of a straight line the rest is noise."""
    rest = np.diff(median, 2)
    # 1.48 times the median deviation is the SD; of x - 2 y + z it is that of x times
    # the root of 6.
    noise = 1.48 * np.median(np.abs(rest - np.median(rest))) / np.sqrt(6)
    return float(noise / max(np.median(np.abs(median)), np.finfo(np.float64).tiny))


def _dip(
    median: Floats,
    wavelengths: Floats,
    places: tuple[tuple[int, ...], ...],
    least: float,
) -> int:
    """Return 1 for a dip, -1 for a peak, 0 where neither is covered and clear."""
    if not _is_covered(wavelengths, places):
        return 0
    left, centre, right = _means(median, wavelengths, places)
    start, middle, end = (np.mean(place) for place in places)
    line = left + (right - left) * (middle - start) / (end - start)
    return _sign(line - centre, line, least)


def _rise(median: Floats, wavelengths: Floats, least: float) -> int:
    """Return 1 where the visible rises, -1 where it falls, 0 where that is unclear."""
    if not _is_covered(wavelengths, VISIBLE_NM):
        return 0
    blue, red = _means(median, wavelengths, VISIBLE_NM)
    return _sign(red - blue, max(red, blue), least)


def _sign(difference: float, whole: float, least: float) -> int:
    """Return the sign of a difference, 0 if it is less than a share of the whole."""
    return int(np.sign(difference)) if abs(difference) > least * abs(whole) else 0


def _is_covered(wavelengths: Floats, places: tuple[tuple[int, ...], ...]) -> bool:
    """Return whether a table reaches from the first to the last of some places."""
    first, last = places[0][0], places[-1][-1]
    inside = (wavelengths >= first) & (wavelengths <= last)
    reaches = wavelengths[0] <= first and wavelengths[-1] >= last
    return bool(reaches and inside.sum() >= MIN_BANDS)


def _means(
    median: Floats, wavelengths: Floats, places: tuple[tuple[int, ...], ...]
) -> Floats:
    """Return the mean of a spectrum at each of some places."""
    points = [nm for place in places for nm in place]
    values = resample(median[np.newaxis], wavelengths, points)[0]
    return values.reshape(len(places), -1).mean(axis=1)
