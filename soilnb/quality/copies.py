"""Spectra that are in a library more than once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial import KDTree

from soilnb.quality.checks import check_measured

# Two copies rounded to 4 decimals differ by 0 or 1e-4: halfway to the next, 2e-4.
SAME_REFLECTANCE = 1.5e-4

_PREFILTER_BANDS = 8  # a tree on more is slower and leaves out hardly any more pairs
_MAX_PAIRS = 20_000_000  # 320 MB of row numbers
_CHUNK_PAIRS = 16_384  # 28 MB of differences at 211 bands

Floats = npt.NDArray[np.float64]


def duplicated_spectra(reflectance: npt.ArrayLike) -> npt.NDArray[np.intp]:
    """Return, for each row, the first earlier row that holds the same spectrum.

    Parameters
    ----------
    reflectance : array-like of shape (n_samples, n_wavelengths)
        Reflectance as a fraction; NaN where a row was not measured. A ValueError if it
        is not 2D or has infinite values, or so many spectra are alike that they cannot
        be told apart.

    Returns
    -------
    ndarray of shape (n_samples,)
        Row number of the first spectrum that differs by at most 1.5e-4 at any band,
        -1 where no earlier row does.

    Notes
    -----
    Rows are compared only if they are measured at the same bands. The result is exact:
    a tree on a few bands finds the pairs that can be copies, and all bands decide. Two
    roundings of one spectrum to 4 decimals differ by at most 1e-4; a copy rounded to 3
    decimals is not found: different soils can be as close as 4e-4. Being a copy is not
    transitive: c may be a copy of b, and b of a, but not c of a.

    Examples
    --------
    >>> duplicated_spectra([[0.1, 0.2], [0.3, 0.4], [0.1001, 0.2]]).tolist()
    [-1, -1, 0]
    """
    spectra = check_measured(reflectance, "reflectance")
    measured = np.isfinite(spectra)
    range_of_row, _ = _factorize_rows(np.packbits(measured, axis=1))
    earlier = np.full(len(spectra), -1)
    for rows in pd.Series(range_of_row).groupby(range_of_row).indices.values():
        bands = measured[rows[0]]
        if bands.any():
            first = rows[_first_copies(spectra[np.ix_(rows, bands)])]
            earlier[rows] = np.where(first < rows, first, -1)
    return earlier


def _factorize_rows(
    rows: npt.NDArray,
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return which distinct row each row is, and where each distinct row is first."""
    keys = np.array([row.tobytes() for row in np.ascontiguousarray(rows)], dtype=object)
    codes, _ = pd.factorize(keys)
    return codes, np.unique(codes, return_index=True)[1]


def _first_copies(spectra: Floats) -> npt.NDArray[np.intp]:
    """Return for each row the first row, itself included, that holds the same."""
    codes, first = _factorize_rows(spectra)  # else identical rows make too many pairs
    distinct = spectra[first]
    bands = np.linspace(0, spectra.shape[1] - 1, _PREFILTER_BANDS).astype(np.intp)
    tree = KDTree(distinct[:, np.unique(bands)])
    n_near = tree.count_neighbors(tree, SAME_REFLECTANCE, p=np.inf)
    n_pairs = (n_near - len(distinct)) // 2
    if n_pairs > _MAX_PAIRS:
        msg = (
            f"{SAME_REFLECTANCE:g} cannot tell the rows of 'reflectance' apart: "
            f"{n_pairs} pairs may be copies. Check that reflectance is a fraction."
        )
        raise ValueError(msg)
    pairs = tree.query_pairs(SAME_REFLECTANCE, p=np.inf, output_type="ndarray")
    lowest = np.arange(len(distinct))
    for start in range(0, len(pairs), _CHUNK_PAIRS):
        low, high = pairs[start : start + _CHUNK_PAIRS].T
        same = (np.abs(distinct[low] - distinct[high]) <= SAME_REFLECTANCE).all(axis=1)
        np.minimum.at(lowest, high[same], low[same])
    return first[lowest[codes]]
