"""Which samples to measure, and which to hold out: Kennard-Stone and folds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from soilnb._validation import check_int, check_matrix

# Rows of the distance matrix held at once; 512 x 5,000 distances are 20 MB.
_CHUNK_ROWS = 512


class Samples(NamedTuple):
    """What a model learns from.

    Parameters
    ----------
    X : array of shape (n_samples, n_wavelengths)
        Spectra as models see them, SNV absorbance.
    y : array of shape (n_samples,)
        Soil property, in its own unit.
    folds : array of int, shape (n_samples,)
        Fold of each row.
    """

    X: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    folds: npt.NDArray[np.integer]


def kennard_stone(X: npt.ArrayLike, n_samples: int) -> npt.NDArray[np.intp]:
    """Select samples that cover the spectra evenly, by Kennard-Stone.

    The first two are the samples farthest apart. Each next one is the sample
    whose nearest selected sample is farthest away.

    Parameters
    ----------
    X : array-like of shape (n_rows, n_wavelengths)
        Spectra, or scores on principal components, of any unit.
    n_samples : int
        How many to select, from 2 to n_rows.

    Returns
    -------
    ndarray of shape (n_samples,)
        Row indices in order of selection.

    Raises
    ------
    TypeError
        If `n_samples` is not a whole number.
    ValueError
        If `X` is not 2D or not finite, or `n_samples` is out of range.

    Notes
    -----
    Euclidean distance [1]_; for Mahalanobis distance give scores divided by
    their standard deviations. Ties: lowest index first, so a rerun selects the
    same rows. The distance matrix is never held in whole.

    References
    ----------
    .. [1] Kennard and Stone (1969), Technometrics 11(1), 137-148.

    Examples
    --------
    >>> kennard_stone([[0.0], [1.0], [4.0], [10.0]], 3).tolist()
    [0, 3, 2]
    """
    spectra = check_matrix(X, "X")
    check_int(n_samples, "n_samples", 2, len(spectra), " (rows of 'X')")
    selected = np.empty(n_samples, dtype=np.intp)
    selected[:2] = _farthest_pair(spectra)
    to_selected = cdist(spectra, spectra[selected[:2]]).min(axis=1)
    # Below any distance: a selected row is not taken again, duplicates or not.
    to_selected[selected[:2]] = -1
    for position in range(2, n_samples):
        newest = np.argmax(to_selected)
        selected[position] = newest
        to_newest = cdist(spectra, spectra[[newest]])[:, 0]
        np.minimum(to_selected, to_newest, out=to_selected)
        to_selected[newest] = -1
    return selected


def _farthest_pair(spectra: npt.NDArray[np.float64]) -> tuple[int, int]:
    """Return the two rows farthest apart, lower index first."""
    pair, largest = (0, 1), 0.0
    for start in range(0, len(spectra), _CHUNK_ROWS):
        distances = cdist(spectra[start : start + _CHUNK_ROWS], spectra[start:])
        row, column = np.unravel_index(np.argmax(distances), distances.shape)
        if distances[row, column] > largest:
            largest = distances[row, column]
            pair = (start + int(row), start + int(column))
    return pair


def random_folds(n_samples: int, n_folds: int, seed: int) -> npt.NDArray[np.intp]:
    """Assign samples to folds at random.

    Parameters
    ----------
    n_samples : int
        Number of samples, at least 2.
    n_folds : int
        Number of folds, from 2 to n_samples.
    seed : int
        Seed of the assignment, at least 0.

    Returns
    -------
    ndarray of shape (n_samples,)
        Fold of each sample, 0 to n_folds - 1. Fold sizes differ by at most one.

    Raises
    ------
    TypeError
        If an argument is not a whole number.
    ValueError
        If `n_folds` is out of range or `seed` negative.

    Examples
    --------
    >>> folds = random_folds(7, 3, seed=1)
    >>> np.bincount(folds).tolist()
    [3, 2, 2]
    """
    check_int(n_samples, "n_samples", 2)
    check_int(n_folds, "n_folds", 2, n_samples, " (the number of samples)")
    check_int(seed, "seed", 0)
    rng = np.random.default_rng(seed)
    return rng.permutation(np.arange(n_samples) % n_folds)
