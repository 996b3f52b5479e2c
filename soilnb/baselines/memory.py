"""Memory-based learning: a regression of the spectral neighbours of each sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.utils.validation import check_is_fitted

from soilnb._validation import check_int, check_matrix
from soilnb.baselines.inputs import check_pair, check_sizes
from soilnb.pls import check_columns, fit_path


class MemoryBasedLearner(BaseEstimator):
    """Predict each sample by a PLSR of its spectral neighbours only.

    The memory is the library and the local samples together. Neighbours are
    the rows nearest in the space of principal components, each divided by its
    standard deviation (Mahalanobis distance between scores). The number of
    neighbours and of PLS components are chosen together: every local sample is
    predicted from its neighbours without itself, and the pair with the lowest
    RMSE is kept (ties: fewer neighbours, then fewer components).

    Parameters
    ----------
    n_neighbours : sequence of int, default (50, 100, 150, 200)
        Numbers of neighbours to try; those above the rows at hand less one are
        left out, and all rows less one are tried where none remains.
    max_components : int, default 15
        Largest number of PLS components to try.
    explained_variance : float, default 0.99
        Keep the fewest principal components that explain this share of the
        variance of the memory, above 0 and below 1.

    Attributes
    ----------
    n_neighbours_ : int
        Number of neighbours chosen.
    n_components_ : int
        Number of PLS components chosen.
    validation_rmse_ : pandas.DataFrame
        RMSE of the local samples, in the unit of the property; one row per
        number of neighbours, one column per number of components.
    pca_ : sklearn.decomposition.PCA
        The principal components, fitted on the memory.

    Notes
    -----
    A spectrum-based learner in the manner of [1]_, with a fixed rule for the
    number of principal components in place of their search with side
    information, and unweighted PLSR.

    References
    ----------
    .. [1] Ramirez-Lopez et al. (2013), Geoderma 195-196, 268-279.

    Examples
    --------
    >>> X = np.column_stack([np.arange(12.0), np.arange(12.0) ** 2])
    >>> learner = MemoryBasedLearner(n_neighbours=(4, 6), max_components=2)
    >>> learner = learner.fit(X[:8], X[:8, 0], X[8:], X[8:, 0])
    >>> learner.predict([[5.5, 30.25]]).round(6).tolist()
    [5.5]
    """

    def __init__(
        self,
        n_neighbours: Sequence[int] = (50, 100, 150, 200),
        max_components: int = 15,
        explained_variance: float = 0.99,
    ) -> None:
        self.n_neighbours = n_neighbours
        self.max_components = max_components
        self.explained_variance = explained_variance

    def fit(
        self,
        X_library: npt.ArrayLike,
        y_library: npt.ArrayLike,
        X_local: npt.ArrayLike,
        y_local: npt.ArrayLike,
    ) -> MemoryBasedLearner:
        """Store the memory and choose the sizes on the local samples.

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
        MemoryBasedLearner
            Itself, fitted.

        Raises
        ------
        TypeError
            If a size is not a whole number.
        ValueError
            If a parameter is out of range, or the inputs are not finite or do
            not match.
        """
        library, local = check_pair(X_library, y_library, X_local, y_local)
        self._X = np.vstack([library[0], local[0]])
        self._y = np.concatenate([library[1], local[1]])
        candidates = self._check_parameters(len(self._y))
        self.pca_ = PCA(self.explained_variance, whiten=True, svd_solver="full")
        self._scores = self.pca_.fit_transform(self._X)
        squared_errors = np.zeros((len(candidates), self.max_components))
        for row in range(len(library[1]), len(self._y)):
            nearest = self._neighbours(self._scores[row], excluded=row)
            for c, size in enumerate(candidates):
                predicted = self._predict_path(self._X[row], nearest[:size])
                squared_errors[c] += (predicted - self._y[row]) ** 2
        self._choose(candidates, np.sqrt(squared_errors / len(local[1])))
        return self

    def _check_parameters(self, n_rows: int) -> list[int]:
        """Return the numbers of neighbours that the rows allow, increasing."""
        check_int(self.max_components, "max_components", 1)
        if not 0 < self.explained_variance < 1:
            msg = (
                "'explained_variance' must be above 0 and below 1, "
                f"got {self.explained_variance!r}."
            )
            raise ValueError(msg)
        return check_sizes(self.n_neighbours, n_rows)

    def _choose(self, candidates: list[int], rmse: npt.NDArray[np.float64]) -> None:
        """Keep the pair of sizes with the lowest RMSE, the first among ties."""
        best, component = np.unravel_index(np.argmin(rmse), rmse.shape)
        self.n_neighbours_ = candidates[int(best)]
        self.n_components_ = int(component) + 1
        self.validation_rmse_ = pd.DataFrame(
            rmse,
            index=pd.Index(candidates, name="n_neighbours"),
            columns=pd.RangeIndex(1, self.max_components + 1, name="n_components"),
        )

    def _neighbours(
        self, scores: npt.NDArray[np.float64], excluded: int | None = None
    ) -> npt.NDArray[np.intp]:
        """Return the rows of the memory, nearest first, ties lowest row first."""
        distances = cdist(scores[np.newaxis], self._scores)[0]
        order = np.argsort(distances, kind="stable")
        return order if excluded is None else order[order != excluded]

    def _predict_path(
        self, spectrum: npt.NDArray[np.float64], rows: npt.NDArray[np.intp]
    ) -> npt.NDArray[np.float64]:
        """Predict one spectrum from some rows with 1 to `max_components`."""
        centre = self._X[rows].mean(axis=0)
        coef, intercept, _ = fit_path(
            self._X[rows] - centre, self._y[rows], self.max_components
        )
        return coef @ (spectrum - centre) + intercept

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
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
            If `X` does not match the spectra of the memory.
        """
        check_is_fitted(self, "n_neighbours_")
        spectra = check_matrix(X, "X")
        check_columns(spectra, "X", self._X, "X_library")
        predicted = np.empty(len(spectra))
        for i, scores in enumerate(self.pca_.transform(spectra)):
            nearest = self._neighbours(scores)[: self.n_neighbours_]
            predicted[i] = self._predict_path(spectra[i], nearest)[
                self.n_components_ - 1
            ]
        return predicted
