"""Memory-based methods: each sample is predicted from its own neighbours."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.utils.validation import check_is_fitted

from soilnb._blocks import is_large, row_blocks
from soilnb._validation import Rows, check_int, check_matrix, check_rows, check_vector
from soilnb.baselines.inputs import Floats, Pair, check_pair
from soilnb.pls import Products, add_up, check_columns, fit_path, products_by_fold
from soilnb.pls.kernel import Block, fit_all

EXPLAINED_VARIANCE = 0.99  # by the principal components that are kept


class _Memory(BaseEstimator, ABC):
    """What the methods share: the memory, its validation, the prediction of rows.

    The memory is a library and the local samples together. How many neighbours are best
    is found on the local samples, each predicted without itself.
    """

    n_neighbours: Sequence[int]
    max_components: int
    n_neighbours_: int

    def fit(self, library: Pair, local: Pair) -> Self:
        """Store library and local samples (X, y); choose sizes by the latter."""
        check_int(self.max_components, "max_components", 1)
        self._check_parameters()
        (X_library, y_library), (X_local, y_local) = _check_memory(library, local)
        self._X = _Stack(X_library, X_local)
        self._y = np.concatenate([y_library, y_local])
        sizes = check_sizes(self.n_neighbours, len(self._y))
        self._places = self._learn_places(X_library, X_local)
        errors = []
        for row in range(len(y_library), len(self._y)):
            nearest = self._neighbours(self._places[row], sizes[-1] + 1)
            nearest = nearest[nearest != row]
            predicted = [self._predict(self._X[row], nearest[:n]) for n in sizes]
            errors.append(np.array(predicted) - self._y[row])
        self._choose(sizes, np.sqrt(sum(e**2 for e in errors) / len(errors)))
        return self

    def predict(self, X: npt.ArrayLike) -> Floats:
        """Predict samples (n_samples, n_wavelengths), each from its own neighbours."""
        check_is_fitted(self, "n_neighbours_")
        spectra = check_matrix(X, "X")
        check_columns(spectra, "X", self._X.parts[1], "X_library")
        predicted = np.empty(len(spectra))
        for i, place in enumerate(self._find_places(spectra)):
            nearest = self._neighbours(place, self.n_neighbours_)
            predicted[i] = self._one(self._predict(spectra[i], nearest))
        return predicted

    def _check_parameters(self) -> None:
        """Raise where a parameter of the method is out of range."""

    @abstractmethod
    def _learn_places(self, X_library: Floats, X_local: Floats) -> Floats | _Shapes:
        """Return where the spectra of the memory lie, one row each."""

    @abstractmethod
    def _find_places(self, spectra: Floats) -> Floats:
        """Return where other spectra lie."""

    @abstractmethod
    def _neighbours(self, place: Floats, n: int) -> Rows:
        """Return the n nearest rows of the memory, in order, ties lowest row first."""

    @abstractmethod
    def _predict(self, spectrum: Floats, rows: Rows) -> Floats | np.float64:
        """Predict one spectrum from rows of the memory, in all variants at once."""

    @abstractmethod
    def _choose(self, sizes: list[int], rmse: Floats) -> None:
        """Keep the sizes with the lowest RMSE, the first among ties."""

    def _one(self, predicted: Floats | np.float64) -> float:
        """Return the prediction of the variant chosen."""
        return float(predicted)


class _Stack:
    """The rows of a library, then the local ones, without a copy of a large library."""

    def __init__(self, library: npt.NDArray, local: Floats) -> None:
        self.parts = library, local
        self.shape = len(library) + len(local), local.shape[1]

    def __getitem__(self, rows: Rows | int) -> Floats:
        """Return some rows, or one of them, in double precision."""
        library, local = self.parts
        if np.ndim(rows) == 0:
            return self[np.array([rows])][0]
        rows = np.asarray(rows)
        of_library = rows < len(library)
        found = np.empty((len(rows), self.shape[1]))
        found[of_library] = library[rows[of_library]]
        found[~of_library] = local[rows[~of_library] - len(library)]
        return found


def _check_memory(
    library: Pair, local: Pair
) -> tuple[tuple[npt.NDArray, Floats], tuple[Floats, Floats]]:
    """Return (X, y) of library and local samples; a large library is not copied."""
    if not is_large(getattr(library[0], "shape", ())):
        return check_pair(library, local)
    X, y = np.asarray(library[0]), check_vector(library[1], "y_library")
    check_rows(X, "X_library", y, "y_library")
    _, of_local = check_pair((X[:1], y[:1]), local)
    if not all(np.isfinite(X[rows]).all() for rows in row_blocks(len(X))):
        check_matrix(X, "X_library")  # says where
    return (X, y), of_local


def _nearest(distances: Floats, n: int) -> Rows:
    """Return the n lowest places of a vector, in order, ties lowest place first."""
    if n < len(distances):
        bound = np.partition(distances, n - 1)[n - 1]
        near = np.flatnonzero(distances <= bound)
        return near[np.argsort(distances[near], kind="stable")[:n]]
    return np.argsort(distances, kind="stable")


def check_sizes(n_neighbours: Sequence[int], n_rows: int) -> list[int]:
    """Return the numbers of neighbours, each at least 2 and below the rows."""
    if not len(n_neighbours):
        msg = (
            "'n_neighbours' must hold at least one number, got none. "
            "Try (50, 100, 150, 200)."
        )
        raise ValueError(msg)
    for size in n_neighbours:
        check_int(size, "n_neighbours", 2)
    return sorted({size for size in n_neighbours if size < n_rows}) or [n_rows - 1]


class MemoryBasedLearner(_Memory):
    """Predict each sample by a PLSR of its spectral neighbours only.

    Neighbours are the rows nearest in the space of principal components, each divided
    by its standard deviation (Mahalanobis distance between scores); the fewest are kept
    that explain 99 % of the variance of the memory. The number of neighbours and of PLS
    components are chosen together: every local sample is predicted from its neighbours
    without itself, and the pair with the lowest RMSE is kept (ties: fewer neighbours,
    then fewer components).

    Parameters
    ----------
    n_neighbours : sequence of int, default (50, 100, 150, 200)
        Numbers of neighbours to try; those above the rows at hand less one are
        left out, and all rows less one are tried where none remains.
    max_components : int, default 15
        Largest number of PLS components to try.

    Attributes
    ----------
    n_neighbours_, n_components_ : int
        Numbers of neighbours and of PLS components chosen.
    validation_rmse_ : pandas.DataFrame
        RMSE of the local samples, in the unit of the property; one row per
        number of neighbours, one column per number of components.
    pca_ : sklearn.decomposition.PCA
        The principal components, fitted on the memory.

    Notes
    -----
    A spectrum-based learner in the manner of Ramirez-Lopez et al. (2013), Geoderma
    195-196, 268-279, with a fixed rule for the number of principal components in place
    of their search with side information, and unweighted PLSR.

    Examples
    --------
    >>> X = np.column_stack([np.arange(12.0), np.arange(12.0) ** 2])
    >>> learner = MemoryBasedLearner(n_neighbours=(4, 6), max_components=2)
    >>> learner = learner.fit((X[:8], X[:8, 0]), (X[8:], X[8:, 0]))
    >>> learner.predict([[5.5, 30.25]]).round(6).tolist()
    [5.5]
    """

    def __init__(
        self,
        n_neighbours: Sequence[int] = (50, 100, 150, 200),
        max_components: int = 15,
    ) -> None:
        self.n_neighbours = n_neighbours
        self.max_components = max_components

    def _learn_places(self, X_library: Floats, X_local: Floats) -> Floats:
        self.pca_ = PCA(EXPLAINED_VARIANCE, whiten=True, svd_solver="full")
        if not is_large(X_library.shape):
            return self.pca_.fit_transform(np.vstack([X_library, X_local]))
        self.pca_ = _pca_of_large(X_library, X_local)
        blocks = [X_library[rows] for rows in row_blocks(len(X_library))]
        places = [self.pca_.transform(block) for block in (*blocks, X_local)]
        return np.concatenate(places)

    def _find_places(self, spectra: Floats) -> Floats:
        return self.pca_.transform(spectra)

    def _neighbours(self, place: Floats, n: int) -> Rows:
        return _nearest(cdist(place[np.newaxis], self._places)[0], n)

    def _predict(self, spectrum: Floats, rows: Rows) -> Floats:
        """Return the predictions with 1 to `max_components`."""
        centre, X = self._X[rows].mean(axis=0), self._X[rows]
        coef, intercept, _ = fit_path(X - centre, self._y[rows], self.max_components)
        return coef @ (spectrum - centre) + intercept

    def _choose(self, sizes: list[int], rmse: Floats) -> None:
        best, component = np.unravel_index(np.argmin(rmse), rmse.shape)
        self.n_neighbours_ = sizes[int(best)]
        self.n_components_ = int(component) + 1
        tried = pd.RangeIndex(1, self.max_components + 1, name="n_components")
        named = pd.Index(sizes, name="n_neighbours")
        self.validation_rmse_ = pd.DataFrame(rmse, index=named, columns=tried)

    def _one(self, predicted: Floats | np.float64) -> float:
        return float(np.asarray(predicted)[self.n_components_ - 1])


class Local(_Memory):
    """Predict each sample by LOCAL: PLS models of the best correlated spectra.

    The neighbours of a sample are the rows whose spectra correlate best with its own.
    One partial least squares (PLS) fit of them gives a prediction for every number of
    components, and the answer is the weighted mean of those from `min_components` to
    `max_components`. The number of neighbours is chosen on the local samples, each
    predicted without itself (ties: fewer neighbours).

    Parameters
    ----------
    n_neighbours : sequence of int, default (50, 100, 150, 200)
        As of `MemoryBasedLearner`.
    min_components, max_components : int, default 3 and 15
        Smallest and largest number of PLS components in the mean; where the neighbours
        allow fewer, it ends there.

    Attributes
    ----------
    n_neighbours_, validation_rmse_ : int, pandas.Series
        Number of neighbours chosen; RMSE of the local samples for each number, in the
        unit of the property.

    Notes
    -----
    The weight of j components is 1 / (s g) (Shenk, Westerhaus and Berzaghi 1997,
    Journal of Near Infrared Spectroscopy 5(4), 223-232): s is the root mean square of
    what j components leave of the sample's spectrum, g that of their regression
    coefficients. Few components describe the sample badly, many make coefficients
    large. Spectra are centred, not scaled. After SNV, the best correlated are the
    nearest.

    Examples
    --------
    >>> X = np.column_stack([np.arange(12.0), np.arange(12.0) ** 2, np.ones(12) / 2])
    >>> learner = Local(n_neighbours=(4, 6), min_components=2, max_components=2)
    >>> learner = learner.fit((X[:8], X[:8, 0]), (X[8:], X[8:, 0]))
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

    def _check_parameters(self) -> None:
        high, what = self.max_components, " (max_components)"
        check_int(self.min_components, "min_components", 1, high, what)

    def _learn_places(self, X_library: Floats, X_local: Floats) -> Floats | _Shapes:
        if is_large(X_library.shape):
            return _Shapes(X_library, X_local)
        of_library = _shapes(X_library, "X_library")
        return np.vstack([of_library, _shapes(X_local, "X_local")])

    def _find_places(self, spectra: Floats) -> Floats:
        return _shapes(spectra, "X")

    def _neighbours(self, place: Floats, n: int) -> Rows:
        return _nearest(-(self._places @ place), n)

    def _predict(self, spectrum: Floats, rows: Rows) -> np.float64:
        """Return the weighted mean over the numbers of components."""
        block, n_fitted = fit_all(self._X[rows], self._y[rows], self.max_components)
        if n_fitted == 0:  # the neighbours do not vary: their mean
            return np.float64(block.intercept[0])
        used = slice(min(self.min_components, n_fitted), n_fitted + 1)
        coef = block.coef[used, : len(spectrum)]
        predicted = coef @ spectrum + block.intercept[used]
        left = _residual_rms(block, n_fitted, spectrum)[used.start - 1 :]
        weights = _weights(left * np.sqrt(np.mean(coef**2, axis=1)))
        return weights @ predicted

    def _choose(self, sizes: list[int], rmse: Floats) -> None:
        self.n_neighbours_ = sizes[int(np.argmin(rmse))]
        named = pd.Index(sizes, name="n_neighbours")
        self.validation_rmse_ = pd.Series(rmse, index=named, name="rmse")


class _Shapes:
    """The shapes of a large library, of which only the lengths are kept, and a site."""

    def __init__(self, library: npt.NDArray, local: Floats) -> None:
        blocks = (library[rows] for rows in row_blocks(len(library)))
        self.library, self.of_local = library, _shapes(local, "X_local")
        self.lengths = np.concatenate([_lengths(block) for block in blocks])
        if not self.lengths.all():
            _shapes(library[self.lengths == 0][:1], "X_library")  # raises

    def __getitem__(self, row: int) -> Floats:
        """Return the shape of a local sample."""
        return self.of_local[row - len(self.library)]

    def __matmul__(self, place: Floats) -> Floats:
        """Return the correlation of every row with a shape, whose sum is 0."""
        products = self.library @ place.astype(self.library.dtype)
        return np.concatenate([products / self.lengths, self.of_local @ place])


def _lengths(spectra: npt.NDArray) -> Floats:
    """Return the length of each centred spectrum, 0 of one that is constant."""
    values = np.asarray(spectra, np.float64)
    constant = values.max(axis=1) == values.min(axis=1)
    centred = values - values.mean(axis=1, keepdims=True)
    return np.where(constant, 0.0, np.linalg.norm(centred, axis=1))


def _pca_of_large(library: npt.NDArray, local: Floats) -> PCA:
    """Return the principal components of a large library and a site, whitened."""
    parts = products_by_fold(library, np.zeros(len(library)), np.zeros(len(library)))
    both = add_up([*parts.values(), Products.of(local, np.zeros(len(local)))])
    variances, axes = np.linalg.eigh(both.sums[:-1, :-1] / (both.n - 1))
    variances, axes = variances[::-1], axes[:, ::-1].T
    shares = variances / variances.sum()
    size = int(np.searchsorted(np.cumsum(shares), EXPLAINED_VARIANCE, "right")) + 1
    pca = PCA(size, whiten=True)
    pca.mean_, pca.components_ = both.mean[:-1], axes[:size]
    pca.explained_variance_ = variances[:size]
    pca.explained_variance_ratio_ = shares[:size]
    pca.n_components_, pca.n_features_in_ = size, len(axes)
    return pca


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
