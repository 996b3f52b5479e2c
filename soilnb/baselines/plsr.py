"""PLSR of cross-validated size, on one data set or on a library spiked with a site."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from soilnb._blocks import is_large
from soilnb._validation import check_int
from soilnb.baselines.inputs import Floats, check_folds, check_pair
from soilnb.baselines.summary import Summary, summarise
from soilnb.pls import PLS1, choose_n_components
from soilnb.selection import Samples

# Copies of a local row, from one voice among many to a library that hardly counts.
SPIKING_WEIGHTS = (1, 3, 10, 30, 100, 300, 1000, 3000)


def fit_plsr(
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    folds: npt.ArrayLike,
    *,
    max_components: int = 15,
    rule: str = "lowest",
) -> PLS1:
    """Fit a partial least squares regression (PLSR) of cross-validated size.

    `X` (n_samples, n_wavelengths) are spectra as the model shall see them, here SNV
    absorbance, not scaled; `y` and `folds` (n_samples,) soil property and fold (int) of
    each row; `max_components` is the largest number to try (25 is usual for a library),
    `rule` how it is chosen, as of `soilnb.pls.choose_n_components`. The model, of all
    rows, has it as `n_components`.

    >>> X = [[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [3.0, 0.0]]
    >>> model = fit_plsr(X, [0.0, 1.0, 2.0, 3.0], [0, 1, 2, 3])
    >>> model.n_components, model.predict([[4.0, 1.0]]).round(6).tolist()
    (2, [4.0])
    """
    if rule == "lowest" and is_large(getattr(X, "shape", ())):
        known = summarise(Samples(np.asanyarray(X), np.asarray(y), np.asarray(folds)))
        if isinstance(known, Summary):  # read once for the choice and the fit
            return known.fit(max_components)
    n_components = choose_n_components(X, y, folds, max_components, rule=rule)
    return PLS1(n_components).fit(X, y)


def fit_plsr_spiked(
    library: Samples | Summary,
    local: Samples,
    *,
    weight: int = 1,
    max_components: int = 25,
) -> PLS1:
    """Fit PLSR on a library spiked with local samples.

    All copies of a row stay in its fold, so none is predicted by its own copy; the
    pooled RMSE that chooses the number of components counts every copy.

    Parameters
    ----------
    library, local : Samples
        Spectra, soil property (one unit) and folds (numbered alike) of the soil
        spectral library and of the site. A large library may be what `summarise` makes
        of it.
    weight : int, default 1
        Copies of each local row: 1 is plain spiking (Wetterlind and Stenberg 2010,
        European Journal of Soil Science 61(6), 823-843), more is extra-weighted
        (Guerrero et al. 2014, ibid. 65(2), 248-263).
    max_components : int, default 25
        Largest number of components to try.

    Examples
    --------
    >>> library = Samples([[0.0], [1.0], [2.0]], [0.0, 1.0, 2.0], [0, 1, 0])
    >>> local = Samples([[4.0], [5.0]], [4.0, 5.0], [0, 1])
    >>> fit_plsr_spiked(library, local, weight=2).predict([[3.0]]).round(6).tolist()
    [3.0]
    """
    check_int(weight, "weight", 1)
    library = summarise(library)
    if isinstance(library, Summary):
        return library.fit_spiked(local, weight, max_components)
    (X_library, y_library), (X_local, y_local) = check_pair(library, local)
    library_folds = check_folds(library, X_library, "library")
    local_folds = check_folds(local, X_local, "local")
    names, counts = np.unique([*library_folds, *local_folds], return_counts=True)
    if len(names) < 2:
        msg = "'folds' must hold at least 2 different folds, got 1."
        raise ValueError(msg)
    n_trained = len(y_library) + len(y_local) - counts.max()  # rows, each once
    most = min(max_components, X_library.shape[1], max(1, n_trained - 1))
    squares = np.zeros(most)
    for fold in names:
        out, own = library_folds == fold, local_folds == fold
        part = (X_library[~out], y_library[~out])
        rows = np.flatnonzero(~own)
        model = _fit_spiked(part, (X_local, y_local), rows, weight, most)
        for X, y, vote in (
            (X_library[out], y_library[out], 1),
            (X_local[own], y_local[own], weight),
        ):
            if len(y):
                squares += vote * np.sum((model.predict_all(X) - y) ** 2, axis=1)
    size = int(squares.argmin()) + 1
    every = np.arange(len(y_local))
    both = (X_library, y_library), (X_local, y_local)
    return _fit_spiked(*both, every, weight, size)


def fit_plsr_weighted(
    library: Samples,
    local: Samples,
    *,
    weights: Sequence[int] = SPIKING_WEIGHTS,
    max_components: int = 25,
) -> PLS1:
    """Fit PLSR on a spiked library, weight and size chosen on local samples held out.

    Each local fold in turn is predicted by PLSR on the whole library and the copies of
    the other local samples; weight and number of components have the lowest RMSE
    together. So they suit the site, not the library.

    `weights` are the copies of each local row to try; the others are as of
    `fit_plsr_spiked`, but the library's folds are not used.

    >>> library = Samples([[0.0], [1.0], [2.0]], [0.0, 1.0, 2.0], [0, 1, 0])
    >>> local = Samples([[4.0], [5.0]], [4.0, 5.0], [0, 1])
    >>> fit_plsr_weighted(library, local).predict([[3.0]]).round(6).tolist()
    [3.0]
    """
    squares = {w: _held_out_squares(library, local, w, max_components) for w in weights}
    weight = min(squares, key=lambda w: squares[w].min())
    size = int(squares[weight].argmin()) + 1
    pair = check_pair(library, local)
    return _fit_spiked(*pair, np.arange(len(pair[1][1])), weight, size)


def _fit_spiked(
    library: tuple[Floats, Floats],
    local: tuple[Floats, Floats],
    rows: npt.NDArray[np.intp],
    weight: int,
    size: int,
) -> PLS1:
    """Fit PLSR on a library and some local rows, each counted so many times.

    A row of w votes is its distance from the weighted mean, times the root of w; twice,
    with either sign, so that the mean is 0 and PLS1 takes none off.
    """
    X = np.vstack([library[0], local[0][rows]])
    y = np.concatenate([library[1], local[1][rows]])
    votes = np.concatenate([np.ones(len(library[1])), np.full(len(rows), weight)])
    X_mean, y_mean = np.average(X, axis=0, weights=votes), np.average(y, weights=votes)
    root = np.sqrt(votes)
    Z, values = root[:, np.newaxis] * (X - X_mean), root * (y - y_mean)
    model = PLS1(size).fit(np.vstack([Z, -Z]), np.concatenate([values, -values]))
    model.X_mean_ = X_mean
    model.intercept_path_ = y_mean - model.coef_path_ @ X_mean
    model.intercept_ = float(model.intercept_path_[-1])
    return model


def _held_out_squares(
    library: Samples, local: Samples, weight: int, max_components: int
) -> Floats:
    """Return, for each size, the mean squared error of the local samples held out."""
    of_library, of_local = check_pair(library, local)
    folds = check_folds(local, of_local[0], "local")
    most = min(max_components, of_library[0].shape[1], len(of_library[1]) - 1)
    squares = np.zeros(most)
    for fold in np.unique(folds):
        held_out = folds == fold
        rows = np.flatnonzero(~held_out)
        model = _fit_spiked(of_library, of_local, rows, weight, most)
        errors = model.predict_all(of_local[0][held_out]) - of_local[1][held_out]
        squares += np.sum(errors**2, axis=1)
    return squares / len(folds)


def spiked_local_rmse(
    library: Samples | Summary, local: Samples, *, weight: int = 1, n_components: int
) -> float:
    """Return the RMSE of the local samples, each held out of the spiking.

    Each local fold in turn is predicted by PLSR on the whole library and `weight`
    copies of the other local samples. No library row is held out: only the local rows
    stand for the site. With `n_components` chosen on all of them, as `fit_plsr_spiked`
    does, the result is slightly too low.

    `library`, `local` and `weight` are as of `fit_plsr_spiked`, but the library's folds
    are not used. The RMSE is pooled over the local samples, each counted once, in the
    unit of the property.

    >>> library = Samples([[0.0], [1.0]], [0.0, 1.0], [0, 1])
    >>> local = Samples([[4.0], [5.0]], [4.0, 5.0], [0, 1])
    >>> round(spiked_local_rmse(library, local, n_components=1), 6)
    0.0
    """
    check_int(weight, "weight", 1)
    library = summarise(library)
    if isinstance(library, Summary):
        squares = library.held_out_squares(local, weight, n_components)
    else:
        squares = _held_out_squares(library, local, weight, n_components)
    return float(squares[-1] ** 0.5)
