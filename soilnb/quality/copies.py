"""Spectra that are in a library more than once."""

import hashlib

import numba
import numpy as np
import numpy.typing as npt
import pandas as pd

from soilnb._blocks import row_blocks
from soilnb._validation import Floats, Rows
from soilnb.quality.checks import check_measured

# Two copies rounded to 4 decimals differ by 0 or 1e-4: halfway to the next, 2e-4.
SAME_REFLECTANCE = 1.5e-4

_PREFILTER_BANDS = 8  # more leave out hardly any more pairs
_MAX_PAIRS = 20_000_000  # 320 MB of row numbers
_CHUNK_PAIRS = 16_384  # 28 MB of differences at 211 bands

Numbers = npt.NDArray[np.floating]


def duplicated_spectra(reflectance: npt.ArrayLike) -> Rows:
    """Return, for each row, the first earlier row that holds the same spectrum.

    It is the row number, (n_samples,), of the first spectrum that differs by at most
    1.5e-4 at any band, -1 where no earlier row does. `reflectance` (n_samples,
    n_wavelengths) is a fraction, NaN where a row was not measured; a ValueError if it
    is not 2D or has infinite values, or so many spectra are alike that they cannot be
    told apart.

    Rows are compared only if they are measured at the same bands. The result is exact:
    a few bands find the pairs that can be copies, and all bands decide. Two
    roundings of one spectrum to 4 decimals differ by at most 1e-4; a copy rounded to 3
    decimals is not found: different soils can be as close as 4e-4. Being a copy is not
    transitive: c may be a copy of b, and b of a, but not c of a.

    Examples
    --------
    >>> duplicated_spectra([[0.1, 0.2], [0.3, 0.4], [0.1001, 0.2]]).tolist()
    [-1, -1, 0]
    """
    spectra = check_measured(reflectance, "reflectance", keep_single=True)
    blocks = (spectra[rows] for rows in row_blocks(len(spectra)))
    packed = [np.packbits(np.isfinite(block), axis=1) for block in blocks]
    range_of_row, _ = _factorize_rows(np.concatenate(packed))
    earlier = np.full(len(spectra), -1)
    for rows in pd.Series(range_of_row).groupby(range_of_row).indices.values():
        bands = np.isfinite(spectra[rows[0]])
        if bands.any():
            is_all = len(rows) == len(spectra) and bands.all()
            part = spectra if is_all else spectra[np.ix_(rows, bands)]
            first = rows[_first_copies(part)]
            earlier[rows] = np.where(first < rows, first, -1)
    return earlier


def _factorize_rows(rows: npt.NDArray) -> tuple[Rows, Rows]:
    """Return which distinct row each row is, and where each distinct row is first."""
    keys = np.empty(len(rows), dtype=object)  # digests: a tenth of the rows themselves
    for number, row in enumerate(np.ascontiguousarray(rows)):
        keys[number] = hashlib.blake2b(row, digest_size=16).digest()
    codes, _ = pd.factorize(keys)
    return codes, np.unique(codes, return_index=True)[1]


def _first_copies(spectra: Numbers) -> Rows:
    """Return for each row the first row, itself included, that holds the same."""
    codes, first = _factorize_rows(spectra)  # else identical rows make too many pairs
    distinct = spectra if len(first) == len(spectra) else spectra[first]
    bands = np.linspace(0, spectra.shape[1] - 1, _PREFILTER_BANDS).astype(np.intp)
    pairs = _near_pairs(distinct[:, np.unique(bands)].astype(np.float64))
    lowest = np.arange(len(distinct))
    for start in range(0, len(pairs), _CHUNK_PAIRS):
        low, high = pairs[start : start + _CHUNK_PAIRS].T
        apart = np.subtract(distinct[low], distinct[high], dtype=np.float64)
        same = (np.abs(apart) <= SAME_REFLECTANCE).all(axis=1)
        np.minimum.at(lowest, high[same], low[same])
    return first[lowest[codes]]


def _near_pairs(values: Floats) -> Rows:
    """Return pairs of rows, lower row first, that are near in every column.

    In the order of the column that varies most, rows that are near are not far apart.
    """
    by_spread = np.argsort(-values.std(axis=0), kind="stable")
    order = np.argsort(values[:, by_spread[0]], kind="stable")
    values = np.ascontiguousarray(values[order][:, by_spread])
    none = np.empty((0, 2), np.intp)
    n_pairs = _find_pairs(values, SAME_REFLECTANCE, none, _MAX_PAIRS)
    if n_pairs > _MAX_PAIRS:
        msg = (
            f"{SAME_REFLECTANCE:g} cannot tell the rows of 'reflectance' apart: more "
            f"than {_MAX_PAIRS:,} pairs may be copies. Check that reflectance is a "
            "fraction."
        )
        raise ValueError(msg)
    pairs = np.empty((n_pairs, 2), np.intp)
    _find_pairs(values, SAME_REFLECTANCE, pairs, _MAX_PAIRS)
    return np.sort(order[pairs], axis=1)


@numba.njit(cache=True, nogil=True)
def _find_pairs(values, tolerance, pairs, most):
    """Count the pairs of near rows of a table sorted by its first column; fill `pairs`.

    Stop counting above `most`.
    """
    n, p = values.shape
    found = 0
    for first in range(n):
        second = first + 1
        while second < n and values[second, 0] - values[first, 0] <= tolerance:
            near = True
            for band in range(1, p):
                if abs(values[second, band] - values[first, band]) > tolerance:
                    near = False
                    break
            if near:
                if len(pairs):
                    pairs[found, 0], pairs[found, 1] = first, second
                found += 1
                if found > most:
                    return found
            second += 1
    return found
