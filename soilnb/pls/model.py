"""PLS1 as a scikit-learn estimator, and the choice of its number of components."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    RegressorMixin,
    TransformerMixin,
)
from sklearn.utils.validation import check_is_fitted, validate_data

from soilnb._blocks import is_large
from soilnb._validation import (
    check_choice,
    check_int,
    check_matrix,
    check_rows,
    check_vector,
    check_xy,
)
from soilnb.pls.kernel import fit_all
from soilnb.pls.products import Products, add_up, cross_validated, products_by_fold


class PLS1(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, RegressorMixin, BaseEstimator
):
    """Partial least squares regression of one property on unscaled spectra.

    Parameters
    ----------
    n_components : int, default 10
        Number of components (latent variables), at least 1. Where the data
        allow fewer, all that they allow are fitted.

    Attributes
    ----------
    coef_, intercept_ : ndarray of shape (n_wavelengths,), float
        Prediction = X @ coef_ + intercept_, of all components.
    coef_path_, intercept_path_ : ndarray (n_components, n_wavelengths), (n_components,)
        Row a - 1 holds those of a components; rows beyond `n_components_fitted_` repeat
        the last one fitted.
    rotations_ : ndarray of shape (n_components_fitted_, n_wavelengths)
        Row a - 1 turns centred spectra into the scores of component a.
    X_mean_ : ndarray of shape (n_wavelengths,)
        Mean spectrum.
    n_components_fitted_, n_features_in_ : int
        Components that the data allowed, 0 where the spectra or the property do not
        vary; number of wavelengths.

    Notes
    -----
    Computed in float64, after Eldén (2004), Computational Statistics & Data Analysis
    46(1), 11-31. X and y are centred, not scaled. Predictions equal those of
    scikit-learn's ``PLSRegression(scale=False)`` to rounding, scores too but for their
    sign. Where `n_components` exceeds the rank of the spectra, where samples are
    duplicates, or where y is constant, the components that exist are fitted and nothing
    is raised; with none, the prediction is the mean of y.

    A large matrix (32 million values and more) is read once, some rows at a time, and
    fitted from its squares and products: to nine digits the same, without a copy of it.

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

        A TypeError or ValueError if what is given, of two rows at least, is unfit.
        """
        check_int(self.n_components, "n_components", 1)
        if is_large(getattr(X, "shape", ())):
            whole = np.zeros(len(check_vector(y, "y")), np.int64)
            parts = _large_products(np.asarray(X), y, whole)
            return self._take(add_up(parts.values()))
        spectra, values = validate_data(
            self, X, y, dtype=np.float64, y_numeric=True, ensure_min_samples=2
        )
        block, n_fitted = fit_all(
            np.ascontiguousarray(spectra),
            np.ascontiguousarray(values, dtype=np.float64),
            self.n_components,
        )
        p = spectra.shape[1]
        rotations, basis = block.rotations[1 : n_fitted + 1], block.basis[:n_fitted]
        # Scaled as in NIPALS: weights of length 1, not scores.
        lengths = np.sum(rotations * basis, axis=1, keepdims=True)
        self.rotations_ = rotations[:, :p] / lengths
        self.X_mean_ = block.X_mean[:p].copy()
        self.n_components_fitted_ = self._n_features_out = n_fitted
        self.coef_path_ = block.coef[1:, :p].copy()
        self.intercept_path_ = block.intercept[1:].copy()
        self.coef_ = self.coef_path_[-1]
        self.intercept_ = float(self.intercept_path_[-1])
        return self

    @classmethod
    def from_products(cls, products: Products, n_components: int) -> PLS1:
        """Return the regression of samples of which only the products are known."""
        return cls(n_components)._take(products)

    def _take(self, products: Products) -> PLS1:
        """Fit to the products of samples."""
        found = products.fit(self.n_components)
        self.coef_path_, self.intercept_path_, self.rotations_ = found
        self.X_mean_ = products.mean[:-1].copy()
        self.n_components_fitted_ = self._n_features_out = len(self.rotations_)
        self.n_features_in_ = len(self.X_mean_)
        self.coef_ = self.coef_path_[-1]
        self.intercept_ = float(self.intercept_path_[-1])
        return self

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return predictions (n_samples,) with all components, in the unit of y."""
        check_is_fitted(self)
        spectra = validate_data(self, X, dtype=np.float64, reset=False)
        return spectra @ self.coef_path_[-1] + self.intercept_path_[-1]

    def transform(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the scores (n_samples, n_components_fitted_), orthogonal, mean 0."""
        check_is_fitted(self)
        spectra = validate_data(self, X, dtype=np.float64, reset=False)
        return (spectra - self.X_mean_) @ self.rotations_.T

    def predict_all(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return predictions (n_components, n_samples); row a - 1: a components."""
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


def _large_products(
    X: npt.NDArray, y: npt.ArrayLike, folds: npt.NDArray[np.integer]
) -> dict[int, Products]:
    """Return the products of each fold of a large matrix, checked on the way."""
    values = check_vector(y, "y")
    check_rows(X, "X", values, "y")
    parts = products_by_fold(X, values, folds)
    if not all(np.isfinite(part.sums).all() for part in parts.values()):
        check_matrix(X, "X")  # says where
    return parts


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
    y, folds : array-like of shape (n_samples,)
        Soil property, and the fold (int) of each row. A ValueError if the inputs are
        not finite or do not match, a training set has fewer than two rows, or there is
        only one fold.
    max_components : int
        Largest number of components to try, at least 1.

    Notes
    -----
    It is of 1, 2, ... components, in the unit of the property: `max_components`, or
    fewer where there are fewer wavelengths or where the smallest training set (of m
    rows) allows only m - 1.

    Examples
    --------
    >>> X = [[0.0], [1.0], [2.0], [3.0]]
    >>> errors = cross_validated_rmse(X, [1.0, 3.0, 5.0, 7.0], [0, 1, 0, 1], 5)
    >>> errors.round(6).tolist()
    [0.0]
    """
    return np.sqrt(_mean_squares(X, y, folds, max_components))


def _mean_squares(
    X: npt.ArrayLike, y: npt.ArrayLike, folds: npt.ArrayLike, max_components: int
) -> npt.NDArray[np.float64]:
    """Return the mean squared cross-validated error of each size."""
    if not is_large(getattr(X, "shape", ())):
        return _squared_errors(X, y, folds, max_components).mean(axis=1)
    check_int(max_components, "max_components", 1)
    spectra = np.asarray(X)
    labels = _check_folds(folds, len(spectra))
    parts = _large_products(spectra, y, labels)
    smallest_training = len(labels) - int(max(part.n for part in parts.values()))
    n_tried = _n_tried(max_components, smallest_training, spectra.shape[1])
    return cross_validated(parts, n_tried) / len(labels)


def _n_tried(max_components: int, smallest_training: int, n_wavelengths: int) -> int:
    """Return how many components are tried."""
    return min(max_components, max(1, smallest_training - 1), n_wavelengths)


def _squared_errors(
    X: npt.ArrayLike, y: npt.ArrayLike, folds: npt.ArrayLike, max_components: int
) -> npt.NDArray[np.float64]:
    """Return the squared cross-validated error of each size (row) and sample."""
    spectra, values = check_xy(X, y)
    check_int(max_components, "max_components", 1)
    labels = _check_folds(folds, len(values))
    fold_names, sizes = np.unique(labels, return_counts=True)
    smallest_training = len(values) - int(sizes.max())
    n_tried = _n_tried(max_components, smallest_training, spectra.shape[1])
    squares = np.empty((n_tried, len(values)))
    for fold in fold_names:
        held_out = labels == fold
        model = PLS1(n_tried).fit(spectra[~held_out], values[~held_out])
        errors = model.predict_all(spectra[held_out]) - values[held_out]
        squares[:, held_out] = errors**2
    return squares


def choose_n_components(
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    folds: npt.ArrayLike,
    max_components: int,
    *,
    rule: str = "lowest",
) -> int:
    """Return the number of components that cross-validation chooses.

    Parameters
    ----------
    X, y, folds, max_components
        As of `cross_validated_rmse`, which raises where they are unfit.
    rule : str, default "lowest"
        "lowest": that of the lowest RMSE. "one_se": the smallest number whose mean
        squared error is within one standard error of the lowest, which is fairer to
        few samples (Breiman et al. 1984, Classification and Regression Trees). Of ties
        the smallest number.

    Examples
    --------
    >>> X = [[0.0], [1.0], [2.0], [3.0]]
    >>> choose_n_components(X, [1.0, 3.0, 5.0, 7.0], [0, 1, 0, 1], 5)
    1
    """
    check_choice(rule, "rule", ("lowest", "one_se"))
    if rule == "lowest":
        return int(np.argmin(_mean_squares(X, y, folds, max_components))) + 1
    squares = _squared_errors(X, y, folds, max_components)
    means = squares.mean(axis=1)
    lowest = int(np.argmin(means))
    error = squares[lowest].std(ddof=1) / np.sqrt(squares.shape[1])
    return int(np.argmax(means <= means[lowest] + error)) + 1
