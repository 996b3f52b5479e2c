"""LOCAL: a weighted mean of PLS models of the best correlated spectra."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from soilnb._validation import check_int, check_matrix
from soilnb.baselines.inputs import Floats, check_pair, check_sizes
from soilnb.pls import check_columns
from soilnb.pls.kernel import Block, fit_all


class Local(BaseEstimator):
    """Predict each sample by LOCAL: PLS models of the best correlated spectra.

    The memory is the library and the local samples together. The neighbours of a
    sample are the rows whose spectra correlate best with its own. One partial
    least squares (PLS) fit of them gives a prediction for every number of
    components, and the answer is the weighted mean of those from
    `min_components` to `max_components`. The number of neighbours is chosen on the
    local samples, each predicted without itself (ties: fewer neighbours).

    Parameters
    ----------
    n_neighbours : sequence of int, default (50, 100, 150, 200)
        Numbers of neighbours to try; those above the rows at hand less one are
        left out, and all rows less one are tried where none remains.
    min_components : int, default 3
        Smallest number of PLS components in the mean.
    max_components : int, default 15
        Largest number; where the neighbours allow fewer, the mean ends there.

    Attributes
    ----------
    n_neighbours_ : int
        Number of neighbours chosen.
    validation_rmse_ : pandas.Series
        RMSE of the local samples for each number of neighbours, in the unit of
        the property.

    See Also
    --------
    MemoryBasedLearner : Neighbours by distance, one number of components.

    Notes
    -----
    The weight of j components is 1 / (s g) [1]_: s is the root mean square of what
    j components leave of the sample's spectrum, g that of their regression
    coefficients. Few components describe the sample badly, many make coefficients
    large; both count less. Spectra are centred, not scaled. On spectra after the
    standard normal variate transformation, the best correlated are the nearest.

    References
    ----------
    .. [1] Shenk, Westerhaus and Berzaghi (1997), Journal of Near Infrared
       Spectroscopy 5(4), 223-232.

    Examples
    --------
    >>> X = np.column_stack([np.arange(12.0), np.arange(12.0) ** 2, np.ones(12) / 2])
    >>> learner = Local(n_neighbours=(4, 6), min_components=2, max_components=2)
    >>> learner = learner.fit(X[:8], X[:8, 0], X[8:], X[8:, 0])
    >>> learner.predict([[5.5, 30.25, 0.5]]).round(6).tolist()
    [5.5]
    """

    def __init__(
        self,
        n_neighbours: Sequence[int] = (50, 100, 150, 200),
        min_components: int = 3,
        max_components: int = 15,
    ) -> None:
        self.n_neighbours = n_neighbours
        self.min_components = min_components
        self.max_components = max_components

    def fit(
        self,
        X_library: npt.ArrayLike,
        y_library: npt.ArrayLike,
        X_local: npt.ArrayLike,
        y_local: npt.ArrayLike,
    ) -> Local:
        """Store the memory and choose the number of neighbours.

        Parameters
        ----------
        X_library : array-like of shape (n_library, n_wavelengths)
            Spectra of the soil spectral library.
        y_library : array-like of shape (n_library,)
            Soil property of the library.
        X_local : array-like of shape (n_local, n_wavelengths)
            Spectra of the local samples.
        y_local : array-like of shape (n_local,)
            Their soil property, same unit.

        Returns
        -------
        Local
            Itself, fitted.

        Raises
        ------
        TypeError
            If a size is not a whole number.
        ValueError
            If a parameter is out of range, a spectrum is constant, or the inputs
            are not finite or do not match.
        """
        check_int(self.max_components, "max_components", 1)
        highest = self.max_components
        check_int(
            self.min_components, "min_components", 1, highest, " (max_components)"
        )
        library, local = check_pair(X_library, y_library, X_local, y_local)
        self._X = np.vstack([library[0], local[0]])
        self._y = np.concatenate([library[1], local[1]])
        self._shapes = np.vstack(
            [_shapes(library[0], "X_library"), _shapes(local[0], "X_local")]
        )
        sizes = check_sizes(self.n_neighbours, len(self._y))
        squared_errors = np.zeros(len(sizes))
        for row in range(len(library[1]), len(self._y)):
            nearest = self._neighbours(self._shapes[row], excluded=row)
            predicted = [self._predict_one(self._X[row], nearest[:n]) for n in sizes]
            squared_errors += (np.array(predicted) - self._y[row]) ** 2
        rmse = np.sqrt(squared_errors / len(local[1]))
        self.n_neighbours_ = sizes[int(np.argmin(rmse))]
        self.validation_rmse_ = pd.Series(
            rmse, index=pd.Index(sizes, name="n_neighbours"), name="rmse"
        )
        return self

    def _neighbours(
        self, shape: Floats, excluded: int | None = None
    ) -> npt.NDArray[np.intp]:
        """Return the rows of the memory, best correlated first."""
        order = np.argsort(-(self._shapes @ shape), kind="stable")
        return order if excluded is None else order[order != excluded]

    def _predict_one(self, spectrum: Floats, rows: npt.NDArray[np.intp]) -> float:
        """Predict one spectrum from some rows of the memory."""
        block, n_fitted = fit_all(self._X[rows], self._y[rows], self.max_components)
        if n_fitted == 0:  # the neighbours do not vary: their mean
            return float(block.intercept[0])
        used = slice(min(self.min_components, n_fitted), n_fitted + 1)
        coef = block.coef[used, : len(spectrum)]
        predicted = coef @ spectrum + block.intercept[used]
        left = _residual_rms(block, n_fitted, spectrum)[used.start - 1 :]
        weights = _weights(left * np.sqrt(np.mean(coef**2, axis=1)))
        return float(weights @ predicted)

    def predict(self, X: npt.ArrayLike) -> Floats:
        """Predict each sample from its own neighbours.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_wavelengths)
            Spectra.

        Returns
        -------
        ndarray of shape (n_samples,)
            Predictions, in the unit of the property.

        Raises
        ------
        ValueError
            If `X` does not match the spectra of the memory or has a constant row.
        """
        check_is_fitted(self, "n_neighbours_")
        spectra = check_matrix(X, "X")
        check_columns(spectra, "X", self._X, "X_library")
        predicted = np.empty(len(spectra))
        for i, shape in enumerate(_shapes(spectra, "X")):
            nearest = self._neighbours(shape)[: self.n_neighbours_]
            predicted[i] = self._predict_one(spectra[i], nearest)
        return predicted


def _shapes(spectra: Floats, name: str) -> Floats:
    """Return spectra centred and of length 1: their products are correlations."""
    constant = spectra.max(axis=1) == spectra.min(axis=1)
    if constant.any():
        msg = (
            f"{name!r} has {int(constant.sum())} constant rows (first at row "
            f"{int(np.argmax(constant))}), which correlate with nothing. Remove them."
        )
        raise ValueError(msg)
    centred = spectra - spectra.mean(axis=1, keepdims=True)
    return centred / np.linalg.norm(centred, axis=1, keepdims=True)


def _residual_rms(block: Block, n_fitted: int, spectrum: Floats) -> Floats:
    """Return what 1, 2, ... components leave of a spectrum, as root mean square."""
    p = len(spectrum)
    rotations, X = block.rotations[1 : n_fitted + 1, :p], block.X[:, :p]
    # The scores of the samples have length 1, so products with them are loadings.
    loadings = (X @ rotations.T).T @ X
    centred = spectrum - block.X_mean[:p]
    explained = np.cumsum((rotations @ centred)[:, np.newaxis] * loadings, axis=0)
    return np.sqrt(np.mean((centred - explained) ** 2, axis=1))


def _weights(products: Floats) -> Floats:
    """Return 1 / products, scaled to a sum of one; a product of zero takes all."""
    smallest = products.min()
    weights = smallest / products if smallest > 0 else (products == 0).astype(float)
    return weights / weights.sum()
