"""Strata: parts of a population whose values are alike, by prediction or by place."""

import numpy as np
import numpy.typing as npt

from soilnb._validation import (
    Floats,
    check_choice,
    check_int,
    check_matrix,
    check_vector,
)

STRATA_BY = ("quantiles", "cum_sqrt", "space", "both")
_BINS_PER_STRATUM = 15  # of the histogram whose square roots are added up
_N_STARTS = 4  # of k-means


def make_strata(
    n_strata: int,
    *,
    prediction: npt.ArrayLike | None = None,
    places: npt.ArrayLike | None = None,
    by: str = "quantiles",
    seed: int = 1,
) -> npt.NDArray[np.intp]:
    """Divide a population into strata.

    Parameters
    ----------
    n_strata : int
        Number of strata, at least 1.
    prediction : array-like of shape (n_population,), optional
        What a model expects, in any unit; not needed for "space".
    places : array-like of shape (n_population, 2), optional
        Coordinates in metres; needed for "space" and "both".
    by : str, default "quantiles"
        "quantiles" (classes of the prediction with as many members each), "cum_sqrt"
        (classes between equal steps of the cumulative square root of its histogram
        (classes between equal steps of the cumulative square root of its histogram,
        Dalenius and Hodges 1959, J. Am. Stat. Assoc. 54, 88-101: narrower where many
        are), "space" (compact parts, by k-means: Walvoort, Brus and de Gruijter 2010,
        Computers & Geosciences 36, 1261-1267) or "both" (k-means on places and
        prediction, each axis with a mean variance of 1).
    seed : int, default 1
        Of k-means, at least 0.

    Returns
    -------
    ndarray of int, shape (n_population,)
        Stratum of each member, 1 to n_strata, in the order of the mean prediction
        or, for "space", of the mean first coordinate. A ValueError if what `by` needs
        is missing or not finite, or a stratum would be empty.

    Examples
    --------
    >>> make_strata(2, prediction=[1.0, 9.0, 2.0, 3.0]).tolist()
    [1, 2, 1, 2]
    >>> make_strata(2, places=[[0, 0], [90, 5], [1, 1], [95, 0]], by="space").tolist()
    [1, 2, 1, 2]
    """
    check_choice(by, "by", STRATA_BY)
    check_int(n_strata, "n_strata", 1)
    columns = []
    if by != "space":
        columns.append(_needed(prediction, "prediction", by)[:, None])
    if by in ("space", "both"):
        check_int(seed, "seed", 0)
        columns.append(_needed(places, "places", by))
    if by == "quantiles":
        edges = np.quantile(columns[0], np.arange(1, n_strata) / n_strata)
    elif by == "cum_sqrt":
        edges = _cum_sqrt_edges(columns[0], n_strata)
    else:
        return _compact(columns, n_strata, seed)
    strata = np.searchsorted(edges, columns[0][:, 0], side="right") + 1
    if len(empty := np.setdiff1d(np.arange(1, n_strata + 1), strata)):
        msg = (
            f"Stratum {empty[0]} of {n_strata} has no candidates: 'prediction' has too "
            "few different values there. Give a lower number of strata."
        )
        raise ValueError(msg)
    return strata


def _needed(values: npt.ArrayLike | None, name: str, by: str) -> Floats:
    """Return an input of `make_strata`, or say that strata of this kind need it."""
    if values is None:
        msg = f"{name!r} is needed for strata by {by!r}, got none. Give it."
        raise ValueError(msg)
    return (check_vector if name == "prediction" else check_matrix)(values, name)


def _cum_sqrt_edges(values: Floats, n_strata: int) -> Floats:
    """Return the ends of bins where the sum of square roots is nearest to its steps."""
    n_bins = min(_BINS_PER_STRATUM * n_strata, len(values))
    counts, ends = np.histogram(values, n_bins)
    total = np.sqrt(counts).cumsum()
    steps = total[-1] * np.arange(1, n_strata) / n_strata
    return ends[1 + np.abs(total - steps[:, None]).argmin(axis=1)]


def _compact(columns: list[Floats], n_strata: int, seed: int) -> npt.NDArray[np.intp]:
    """Return the clusters of k-means, numbered by the mean of the first column."""
    from sklearn.cluster import KMeans  # seconds that other strata need not wait

    spreads = [np.sqrt(part.var(axis=0).mean()) or 1.0 for part in columns]
    scaled = np.hstack([p / s for p, s in zip(columns, spreads, strict=True)])
    n_different = len(np.unique(scaled, axis=0))
    if n_strata > n_different:
        msg = (
            f"'n_strata' must be at most {n_different} (different candidates), got "
            f"{n_strata}. Give a lower number."
        )
        raise ValueError(msg)
    scaled -= scaled.mean(axis=0)  # map coordinates are large numbers
    means = KMeans(n_strata, n_init=_N_STARTS, random_state=seed)
    found = means.fit_predict(scaled)
    return means.cluster_centers_[:, 0].argsort().argsort()[found] + 1


def stratum_sd(
    strata: npt.ArrayLike, prediction: npt.ArrayLike, spread: npt.ArrayLike = 0.0
) -> Floats:
    """Return the standard deviation that a model expects in each stratum.

    By increasing stratum, the root of the variance of the predictions plus the mean
    squared spread. `strata`, `prediction` and `spread` (n_population,) are the stratum
    of each member, what a model expects, and the standard deviation of the truth about
    that, same unit. Predictions alone vary less than the truth.

    >>> stratum_sd([1, 1, 2, 2], [4, 10, 5, 5], [4, 4, 2, 2]).tolist()
    [5.0, 2.0]
    """
    values = check_vector(prediction, "prediction")
    spreads = np.broadcast_to(np.asarray(spread, dtype=np.float64), values.shape)
    if (spreads < 0).any():
        row = int(np.argmax(spreads < 0))
        msg = (
            f"'spread' must be at least 0, got {spreads[row]:g} (row {row}). "
            "Give standard deviations."
        )
        raise ValueError(msg)
    _, groups, sizes = np.unique(strata, return_inverse=True, return_counts=True)
    mean = np.bincount(groups, values) / sizes
    squares = (values - mean[groups]) ** 2 + check_vector(spreads, "spread") ** 2
    return np.sqrt(np.bincount(groups, squares) / sizes)
