"""Partial least squares for one soil property (PLS1), compiled.

One fit gives the regression for every number of components. The algorithm is
the Golub-Kahan bidiagonalisation of the centred spectra, started from their
covariance with the property, which spans the same components as NIPALS.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from soilnb._validation import check_int, check_matrix, check_rows, check_vector

# Sums may be reordered, hence vectorised, but NaN and infinity keep their meaning.
COMPILE: dict[str, Any] = {
    "nogil": True,
    "cache": True,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "arcp", "nsz"},
}
# A direction this many rounding errors long, relative to the spectra, is noise.
_NOISE_ROUNDINGS = 10


@numba.njit(**COMPILE)
def _dot(first, second):
    """Return the inner product of two vectors."""
    total = first.dtype.type(0)
    for i in range(first.size):
        total += first[i] * second[i]
    return total


@numba.njit(**COMPILE)
def _add(target, factor, vector):
    """Add `factor` times `vector` to `target`."""
    for i in range(target.size):
        target[i] += factor * vector[i]


@numba.njit(**COMPILE)
def _divide(target, vector, divisor):
    """Fill `target` with `vector` / `divisor`, faster than a slice assignment."""
    for i in range(target.size):
        target[i] = vector[i] / divisor


@numba.njit(**COMPILE)
def _centred_scores(X, direction, scores):
    """Fill `scores` with X @ direction less its mean; return mean and length."""
    n, p = X.shape
    zero = X.dtype.type(0)
    i = 0
    while i + 4 <= n:  # four rows at a time read `direction` once
        s0 = s1 = s2 = s3 = zero
        for j in range(p):
            weight = direction[j]
            s0 += X[i, j] * weight
            s1 += X[i + 1, j] * weight
            s2 += X[i + 2, j] * weight
            s3 += X[i + 3, j] * weight
        scores[i], scores[i + 1], scores[i + 2], scores[i + 3] = s0, s1, s2, s3
        i += 4
    for row in range(i, n):
        scores[row] = _dot(X[row], direction)
    length = np.sqrt(_dot(scores, scores))
    mean = zero
    for row in range(n):
        mean += scores[row]
    mean /= n
    for row in range(n):
        scores[row] -= mean
    return X.dtype.type(mean), length


@numba.njit(**COMPILE)
def _covariances(X, left, weights):
    """Fill `weights` with X.T @ left; `left` has mean 0, so X need not."""
    n, p = X.shape
    weights[:] = 0
    i = 0
    while i + 4 <= n:
        u0, u1, u2, u3 = left[i], left[i + 1], left[i + 2], left[i + 3]
        for j in range(p):
            weights[j] += (
                u0 * X[i, j] + u1 * X[i + 1, j] + u2 * X[i + 2, j] + u3 * X[i + 3, j]
            )
        i += 4
    for row in range(i, n):
        _add(weights, left[row], X[row])


@numba.njit(**COMPILE)
def _orthogonalise(weights, basis, n_basis):
    """Remove from `weights` its part along each of the first rows of `basis`."""
    for b in range(n_basis):
        _add(weights, -_dot(basis[b], weights), basis[b])


@numba.njit(**COMPILE)
def fit_path(X, y, n_components):
    """Fit PLS1 once and return the regression for every number of components.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_wavelengths), float32 or float64
        Spectra, C-contiguous. Centred on the fly; means of the size of the
        spread, or smaller, keep full precision.
    y : ndarray of shape (n_samples,), dtype of `X`
        Soil property; centred on the fly.
    n_components : int
        Largest number of components, at least 1.

    Returns
    -------
    coef : ndarray of shape (n_components, n_wavelengths)
        Row a - 1 holds the coefficients of a components.
    intercept : ndarray of shape (n_components,)
        Prediction = X @ coef[a - 1] + intercept[a - 1].
    n_fitted : int
        Components that the data allow, up to n_components. Later rows repeat
        the last one fitted; with none, predictions are the mean of `y`.

    Notes
    -----
    Golub-Kahan bidiagonalisation, with the right vectors orthogonalised
    against all earlier ones [1]_. No input is checked or modified.

    References
    ----------
    .. [1] Eldén (2004), Computational Statistics & Data Analysis 46(1), 11-31.

    Examples
    --------
    >>> X = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 4.0]])
    >>> coef, intercept, n_fitted = fit_path(X, X @ np.array([1.0, 2.0]), 3)
    >>> n_fitted, coef.round(6)[-1].tolist()
    (2, [1.0, 2.0])
    """
    n, p = X.shape
    dtype = X.dtype.type
    coef = np.zeros((n_components + 1, p), X.dtype)  # row a: of a components
    intercept = np.empty(n_components + 1, X.dtype)
    basis = np.empty((n_components, p), X.dtype)  # the right vectors
    left, scores = np.zeros(n, X.dtype), np.empty(n, X.dtype)
    weights, step = np.empty(p, X.dtype), np.zeros(p, X.dtype)
    y_mean = dtype(y.mean())
    y_centred = y - y_mean
    intercept[0] = y_mean
    tolerance = dtype(_NOISE_ROUNDINGS * np.finfo(X.dtype).eps)
    link = scale = step_mean = dtype(0)  # link: to the previous left vector
    n_fitted = 0
    _covariances(X, y_centred, weights)
    for a in range(n_components):
        theta = np.sqrt(_dot(weights, weights))
        if not theta > tolerance * scale:
            break
        _divide(basis[a], weights, theta)
        link = theta if a > 0 else link
        mean, length = _centred_scores(X, basis[a], scores)
        scale = max(scale, length)
        _add(scores, -link, left)
        rho = np.sqrt(_dot(scores, scores))
        if not rho > tolerance * scale:
            break
        _divide(left, scores, rho)
        height = _dot(left, y_centred)
        step_mean = (mean - link * step_mean) / rho
        # `step` is the change of the coefficients per unit of `height`.
        for j in range(p):
            step[j] = (basis[a, j] - link * step[j]) / rho
            coef[a + 1, j] = coef[a, j] + height * step[j]
        intercept[a + 1] = intercept[a] - height * step_mean
        n_fitted = a + 1
        _covariances(X, left, weights)
        _add(weights, -rho, basis[a])
        _orthogonalise(weights, basis, n_fitted)
    coef[n_fitted + 1 :] = coef[n_fitted]
    intercept[n_fitted + 1 :] = intercept[n_fitted]
    return coef[1:], intercept[1:], n_fitted


class PLS1(RegressorMixin, BaseEstimator):
    """Partial least squares regression of one property on unscaled spectra.

    Parameters
    ----------
    n_components : int, default 10
        Number of components (latent variables), at least 1. Where the data
        allow fewer, all that they allow are fitted.

    Attributes
    ----------
    coef_ : ndarray of shape (n_wavelengths,)
        Regression coefficients of all components.
    intercept_ : float
        Prediction = X @ coef_ + intercept_.
    coef_path_ : ndarray of shape (n_components, n_wavelengths)
        Row a - 1 holds the coefficients of a components; rows beyond
        `n_components_fitted_` repeat the last one fitted.
    intercept_path_ : ndarray of shape (n_components,)
        The intercepts that belong to `coef_path_`.
    n_components_fitted_ : int
        Components that the data allowed; 0 where the spectra or the property
        do not vary.
    n_features_in_ : int
        Number of wavelengths.

    See Also
    --------
    choose_n_components : The number with the lowest cross-validated RMSE.

    Notes
    -----
    Computed in float64. X and y are centred, not scaled. Predictions equal
    those of scikit-learn's ``PLSRegression(scale=False)`` to rounding.

    References
    ----------
    .. [1] Eldén (2004), Computational Statistics & Data Analysis 46(1), 11-31.
    .. [2] Wold, Sjöström and Eriksson (2001), Chemometrics and Intelligent
       Laboratory Systems 58(2), 109-130.

    Examples
    --------
    >>> X = [[0.0, 1.0], [1.0, 1.0], [2.0, 4.0], [3.0, 2.0]]
    >>> model = PLS1(n_components=2).fit(X, [2.0, 3.0, 10.0, 7.0])
    >>> model.predict([[1.0, 0.0]]).round(6).tolist()
    [1.0]
    """

    def __init__(self, n_components: int = 10) -> None:
        self.n_components = n_components

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> PLS1:
        """Fit the regression for 1 to `n_components` components.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_wavelengths)
            Spectra; at least two samples.
        y : array-like of shape (n_samples,)
            Soil property.

        Returns
        -------
        PLS1
            Itself, fitted.

        Raises
        ------
        TypeError
            If `n_components` is not a whole number.
        ValueError
            If `n_components` is below 1, or `X` and `y` are not finite, differ
            in length or have fewer than two samples.

        Examples
        --------
        >>> PLS1(1).fit([[0.0], [2.0]], [1.0, 5.0]).coef_.round(6).tolist()
        [2.0]
        """
        check_int(self.n_components, "n_components", 1)
        spectra, values = validate_data(
            self, X, y, dtype=np.float64, y_numeric=True, ensure_min_samples=2
        )
        centre = spectra.mean(axis=0)
        self.coef_path_, at_centre, self.n_components_fitted_ = fit_path(
            np.ascontiguousarray(spectra - centre),
            np.ascontiguousarray(values, dtype=np.float64),
            self.n_components,
        )
        self.intercept_path_ = at_centre - self.coef_path_ @ centre
        self.coef_ = self.coef_path_[-1]
        self.intercept_ = float(self.intercept_path_[-1])
        return self

    def predict(
        self, X: npt.ArrayLike, n_components: int | None = None
    ) -> npt.NDArray[np.float64]:
        """Predict the property.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_wavelengths)
            Spectra.
        n_components : int, optional
            Use only that many components; all by default.

        Returns
        -------
        ndarray of shape (n_samples,)
            Predictions, in the unit of the property.

        Raises
        ------
        TypeError
            If `n_components` is not a whole number.
        ValueError
            If `X` does not match the spectra fitted, or `n_components` is not
            between 1 and the number fitted with.

        Examples
        --------
        >>> PLS1(1).fit([[0.0], [2.0]], [1.0, 5.0]).predict([[1.0]]).tolist()
        [3.0]
        """
        check_is_fitted(self)
        highest = len(self.coef_path_)
        used = highest if n_components is None else n_components
        check_int(used, "n_components", 1, highest)
        spectra = validate_data(self, X, dtype=np.float64, reset=False)
        return spectra @ self.coef_path_[used - 1] + self.intercept_path_[used - 1]

    def predict_all(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Predict the property with every number of components.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_wavelengths)
            Spectra.

        Returns
        -------
        ndarray of shape (n_components, n_samples)
            Row a - 1 holds the predictions of a components.

        Raises
        ------
        ValueError
            If `X` does not match the spectra fitted.

        Examples
        --------
        >>> model = PLS1(2).fit([[0.0, 1.0], [2.0, 0.0], [1.0, 1.0]], [1.0, 5.0, 3.0])
        >>> model.predict_all([[2.0, 0.0]]).round(6).tolist()
        [[5.105263], [5.0]]
        """
        check_is_fitted(self)
        spectra = validate_data(self, X, dtype=np.float64, reset=False)
        return self.coef_path_ @ spectra.T + self.intercept_path_[:, np.newaxis]


def check_columns(
    first: npt.NDArray, name: str, second: npt.NDArray, other: str
) -> None:
    """Raise ValueError unless both matrices have the same number of columns."""
    if first.shape[1] != second.shape[1]:
        msg = (
            f"{name!r} has {first.shape[1]} columns but {other!r} has "
            f"{second.shape[1]}. Resample them to the same wavelengths."
        )
        raise ValueError(msg)


def _check_folds(folds: npt.ArrayLike, n_samples: int) -> npt.NDArray[np.integer]:
    """Return the folds as whole numbers, one per sample, at least two different."""
    labels = np.asarray(folds)
    if labels.shape != (n_samples,) or labels.dtype.kind not in "iu":
        msg = (
            f"'folds' must be {n_samples} whole numbers, one per row of 'X', "
            f"got shape {labels.shape} of {labels.dtype}."
        )
        raise ValueError(msg)
    if len(np.unique(labels)) < 2:
        msg = "'folds' must hold at least 2 different folds, got 1."
        raise ValueError(msg)
    return labels


def cross_validated_rmse(
    X: npt.ArrayLike, y: npt.ArrayLike, folds: npt.ArrayLike, max_components: int
) -> npt.NDArray[np.float64]:
    """Return the cross-validated RMSE for every number of components.

    Each fold in turn is predicted by a model of all other rows; the RMSE is
    that of all held-out rows pooled, not a mean over folds.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_wavelengths)
        Spectra.
    y : array-like of shape (n_samples,)
        Soil property.
    folds : array-like of int, shape (n_samples,)
        Fold of each row.
    max_components : int
        Largest number of components to try, at least 1.

    Returns
    -------
    ndarray of shape (n_tried,)
        RMSE of 1, 2, ... components, in the unit of the property. `n_tried` is
        `max_components`, or fewer where there are fewer wavelengths or where
        the smallest training set (of m rows) allows only m - 1.

    Raises
    ------
    TypeError
        If `max_components` is not a whole number.
    ValueError
        If the inputs are not finite or do not match, a training set has fewer
        than two rows, or there is only one fold.

    Examples
    --------
    >>> X = [[0.0], [1.0], [2.0], [3.0]]
    >>> errors = cross_validated_rmse(X, [1.0, 3.0, 5.0, 7.0], [0, 1, 0, 1], 5)
    >>> errors.round(6).tolist()
    [0.0]
    """
    spectra, values = check_matrix(X, "X"), check_vector(y, "y")
    check_rows(spectra, "X", values, "y")
    check_int(max_components, "max_components", 1)
    labels = _check_folds(folds, len(values))
    fold_names, sizes = np.unique(labels, return_counts=True)
    smallest_training = len(values) - int(sizes.max())
    n_tried = min(max_components, max(1, smallest_training - 1), spectra.shape[1])
    squared_errors = np.zeros(n_tried)
    for fold in fold_names:
        held_out = labels == fold
        model = PLS1(n_tried).fit(spectra[~held_out], values[~held_out])
        errors = model.predict_all(spectra[held_out]) - values[held_out]
        squared_errors += np.sum(errors**2, axis=1)
    return np.sqrt(squared_errors / len(values))


def choose_n_components(
    X: npt.ArrayLike, y: npt.ArrayLike, folds: npt.ArrayLike, max_components: int
) -> int:
    """Return the number of components with the lowest cross-validated RMSE.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_wavelengths)
        Spectra.
    y : array-like of shape (n_samples,)
        Soil property.
    folds : array-like of int, shape (n_samples,)
        Fold of each row.
    max_components : int
        Largest number of components to try, at least 1.

    Returns
    -------
    int
        Between 1 and `max_components`; the smallest number among ties.

    Raises
    ------
    TypeError, ValueError
        As `cross_validated_rmse`.

    Examples
    --------
    >>> X = [[0.0], [1.0], [2.0], [3.0]]
    >>> choose_n_components(X, [1.0, 3.0, 5.0, 7.0], [0, 1, 0, 1], 5)
    1
    """
    return int(np.argmin(cross_validated_rmse(X, y, folds, max_components))) + 1
