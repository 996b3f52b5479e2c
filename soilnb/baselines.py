"""The methods to beat: PLSR, spiking, random forest and memory-based learning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestRegressor
from sklearn.utils.validation import check_is_fitted

from soilnb._validation import check_int, check_matrix, check_rows, check_vector
from soilnb.pls import PLS1, check_columns, choose_n_components, fit_path


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
        Fitted on all rows; its `n_components` is the number chosen.

    Raises
    ------
    TypeError
        If `max_components` is not a whole number.
    ValueError
        If the inputs are not finite or do not match.

    See Also
    --------
    soilnb.pls.cross_validated_rmse : The curve behind the choice.

    References
    ----------
    .. [1] Wold, Sjöström and Eriksson (2001), Chemometrics and Intelligent
       Laboratory Systems 58(2), 109-130.

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
    X_library: npt.ArrayLike,
    y_library: npt.ArrayLike,
    library_folds: npt.ArrayLike,
    X_local: npt.ArrayLike,
    y_local: npt.ArrayLike,
    local_folds: npt.ArrayLike,
    *,
    weight: int = 1,
    max_components: int = 25,
) -> PLS1:
    """Fit PLSR on a library spiked with local samples.

    Parameters
    ----------
    X_library : array-like of shape (n_library, n_wavelengths)
        Spectra of the soil spectral library.
    y_library : array-like of shape (n_library,)
        Soil property of the library.
    library_folds : array-like of int, shape (n_library,)
        Fold of each library row.
    X_local : array-like of shape (n_local, n_wavelengths)
        Spectra of the local samples.
    y_local : array-like of shape (n_local,)
        Their soil property, same unit.
    local_folds : array-like of int, shape (n_local,)
        Fold of each local row, numbered as those of the library.
    weight : int, default 1
        Copies of each local row: 1 is plain spiking, more is extra-weighted.
    max_components : int, default 25
        Largest number of components to try.

    Returns
    -------
    PLS1
        Fitted on the library and all copies.

    Raises
    ------
    TypeError
        If `weight` or `max_components` is not a whole number.
    ValueError
        If the inputs are not finite or do not match.

    Notes
    -----
    Spiking after [1]_, extra weight after [2]_. All copies of a row stay in its
    fold, so none is predicted by its own copy; the pooled RMSE that chooses the
    number of components counts every copy.

    References
    ----------
    .. [1] Wetterlind and Stenberg (2010), European Journal of Soil Science
       61(6), 823-843.
    .. [2] Guerrero et al. (2014), European Journal of Soil Science 65(2),
       248-263.

    Examples
    --------
    >>> model = fit_plsr_spiked(
    ...     [[0.0], [1.0], [2.0]], [0.0, 1.0, 2.0], [0, 1, 0],
    ...     [[4.0], [5.0]], [4.0, 5.0], [0, 1], weight=2)
    >>> model.predict([[3.0]]).round(6).tolist()
    [3.0]
    """
    check_int(weight, "weight", 1)
    library, local = _check_pair(X_library, y_library, X_local, y_local)
    folds_of_library, folds_of_local = (
        np.asarray(library_folds),
        np.asarray(local_folds),
    )
    check_rows(folds_of_library, "library_folds", library[0], "X_library")
    check_rows(folds_of_local, "local_folds", local[0], "X_local")
    X = np.vstack([library[0], np.repeat(local[0], weight, axis=0)])
    y = np.concatenate([library[1], np.repeat(local[1], weight)])
    folds = np.concatenate([folds_of_library, np.repeat(folds_of_local, weight)])
    return fit_plsr(X, y, folds, max_components=max_components)


def _check_pair(
    X_library: npt.ArrayLike,
    y_library: npt.ArrayLike,
    X_local: npt.ArrayLike,
    y_local: npt.ArrayLike,
) -> tuple[tuple[npt.NDArray, npt.NDArray], tuple[npt.NDArray, npt.NDArray]]:
    """Return (X, y) of library and local samples, checked against each other."""
    library = check_matrix(X_library, "X_library"), check_vector(y_library, "y_library")
    local = check_matrix(X_local, "X_local"), check_vector(y_local, "y_local")
    check_rows(library[0], "X_library", library[1], "y_library")
    check_rows(local[0], "X_local", local[1], "y_local")
    check_columns(local[0], "X_local", library[0], "X_library")
    return library, local


def fit_random_forest(
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    seed: int,
    n_trees: int = 500,
    n_jobs: int | None = None,
) -> RandomForestRegressor:
    """Fit a random forest.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_wavelengths)
        Spectra.
    y : array-like of shape (n_samples,)
        Soil property.
    seed : int
        Seed of the trees, at least 0.
    n_trees : int, default 500
        Number of trees.
    n_jobs : int, optional
        Threads; they do not change the forest.

    Returns
    -------
    sklearn.ensemble.RandomForestRegressor
        Fitted; everything else as scikit-learn's defaults, so every tree may
        use all wavelengths at each split.

    Raises
    ------
    TypeError
        If `seed` or `n_trees` is not a whole number.
    ValueError
        If the inputs are not finite or do not match.

    References
    ----------
    .. [1] Breiman (2001), Machine Learning 45(1), 5-32.

    Examples
    --------
    >>> forest = fit_random_forest([[0.0], [1.0]], [1.0, 1.0], seed=1, n_trees=5)
    >>> forest.predict([[0.5]]).tolist()
    [1.0]
    """
    check_int(seed, "seed", 0)
    check_int(n_trees, "n_trees", 1)
    spectra, values = check_matrix(X, "X"), check_vector(y, "y")
    check_rows(spectra, "X", values, "y")
    forest = RandomForestRegressor(
        n_estimators=n_trees, random_state=seed, n_jobs=n_jobs
    )
    return forest.fit(spectra, values)


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
        library, local = _check_pair(X_library, y_library, X_local, y_local)
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
        if not len(self.n_neighbours):
            msg = "'n_neighbours' must hold at least one number, got none."
            raise ValueError(msg)
        for size in self.n_neighbours:
            check_int(size, "n_neighbours", 2)
        allowed = {size for size in self.n_neighbours if size < n_rows}
        return sorted(allowed) or [n_rows - 1]

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
