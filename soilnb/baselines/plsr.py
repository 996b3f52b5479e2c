"""PLSR of cross-validated size, on one data set or on a library spiked with a site."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from soilnb._validation import check_int
from soilnb.baselines.inputs import check_folds, check_pair
from soilnb.pls import PLS1, choose_n_components
from soilnb.selection import Samples


def fit_plsr(
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    folds: npt.ArrayLike,
    *,
    max_components: int = 15,
) -> PLS1:
    """Fit a partial least squares regression (PLSR) of cross-validated size.

    The number of components is the one with the lowest pooled cross-validated
    RMSE; the model is then fitted on all rows.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_wavelengths)
        Spectra as the model shall see them, here SNV absorbance; not scaled.
    y : array-like of shape (n_samples,)
        Soil property.
    folds : array-like of int, shape (n_samples,)
        Fold of each row.
    max_components : int, default 15
        Largest number of components to try; 25 is usual for a library.

    Returns
    -------
    PLS1
        Its `n_components` is the number chosen.

    Raises
    ------
    TypeError, ValueError
        If `max_components` is not a whole number, or the inputs are not finite or do
        not match.

    Examples
    --------
    >>> X = [[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [3.0, 0.0]]
    >>> model = fit_plsr(X, [0.0, 1.0, 2.0, 3.0], [0, 1, 2, 3])
    >>> model.n_components, model.predict([[4.0, 1.0]]).round(6).tolist()
    (2, [4.0])
    """
    n_components = choose_n_components(X, y, folds, max_components)
    return PLS1(n_components).fit(X, y)


def fit_plsr_spiked(
    library: Samples, local: Samples, *, weight: int = 1, max_components: int = 25
) -> PLS1:
    """Fit PLSR on a library spiked with local samples.

    Parameters
    ----------
    library, local : Samples
        Spectra, soil property (one unit) and folds (numbered alike) of the soil
        spectral library and of the site.
    weight : int, default 1
        Copies of each local row: 1 is plain spiking (Wetterlind and Stenberg 2010,
        European Journal of Soil Science 61(6), 823-843), more is extra-weighted
        (Guerrero et al. 2014, ibid. 65(2), 248-263).
    max_components : int, default 25
        Largest number of components to try.

    Returns
    -------
    PLS1
        Fitted on the library and all copies.

    Raises
    ------
    TypeError, ValueError
        If a number is not whole or out of range, or the inputs are not finite or do not
        match.

    Notes
    -----
    All copies of a row stay in its fold, so none is predicted by its own copy; the
    pooled RMSE that chooses the number of components counts every copy.

    Examples
    --------
    >>> library = Samples([[0.0], [1.0], [2.0]], [0.0, 1.0, 2.0], [0, 1, 0])
    >>> local = Samples([[4.0], [5.0]], [4.0, 5.0], [0, 1])
    >>> fit_plsr_spiked(library, local, weight=2).predict([[3.0]]).round(6).tolist()
    [3.0]
    """
    check_int(weight, "weight", 1)
    (X_library, y_library), (X_local, y_local) = check_pair(library, local)
    library_folds = check_folds(library, X_library, "library")
    local_folds = check_folds(local, X_local, "local")
    X = np.vstack([X_library, np.repeat(X_local, weight, axis=0)])
    y = np.concatenate([y_library, np.repeat(y_local, weight)])
    folds = np.concatenate([library_folds, np.repeat(local_folds, weight)])
    return fit_plsr(X, y, folds, max_components=max_components)


def spiked_local_rmse(
    library: Samples, local: Samples, *, weight: int = 1, n_components: int
) -> float:
    """Return the RMSE of the local samples, each held out of the spiking.

    Each local fold in turn is predicted by PLSR on the whole library and `weight`
    copies of the other local samples.

    Parameters
    ----------
    library, local, weight
        As of `fit_plsr_spiked`; the library's folds are not used.
    n_components : int
        Number of components, at least 1.

    Returns
    -------
    float
        Pooled over the local samples, each counted once, in the unit of the property.

    Notes
    -----
    No library row is held out: only the local rows stand for the site. With
    `n_components` chosen on all of them, as `fit_plsr_spiked` does, the result is
    slightly too low.

    Examples
    --------
    >>> library = Samples([[0.0], [1.0]], [0.0, 1.0], [0, 1])
    >>> local = Samples([[4.0], [5.0]], [4.0, 5.0], [0, 1])
    >>> round(spiked_local_rmse(library, local, n_components=1), 6)
    0.0
    """
    check_int(weight, "weight", 1)
    (X_library, y_library), (X_local, y_local) = check_pair(library, local)
    folds = check_folds(local, X_local, "local")
    errors = np.empty(len(folds))
    for fold in np.unique(folds):
        held_out = folds == fold
        kept = np.repeat(np.flatnonzero(~held_out), weight)
        X = np.vstack([X_library, X_local[kept]])
        y = np.concatenate([y_library, y_local[kept]])
        model = PLS1(n_components).fit(X, y)
        errors[held_out] = model.predict(X_local[held_out]) - y_local[held_out]
    return float(np.sqrt(np.mean(errors**2)))
