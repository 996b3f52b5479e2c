"""Which samples are unlike those that were measured, fold by fold."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial.distance import cdist
from sklearn.metrics import pairwise_distances_argmin_min

from soilnb._blocks import is_large, row_blocks
from soilnb._validation import Floats
from soilnb.quality import SpectralOutliers
from soilnb.study.prepared import Study

MARKED = 0.05  # share of a random draw that is marked
MAX_COMPONENTS = 5
REASONS = {
    "nearest": "far from every measured spectrum",
    "t2": "an extreme mixture of the measured spectra",
    "q": "a shape that the measured spectra do not have",
}


def find_domain(study: Study, rows: npt.ArrayLike | None = None) -> pd.DataFrame:
    """Tell, for each test sample, whether measured samples can vouch for it.

    The study's local samples are the measured ones; `rows`, rows of the site, are those
    that set the limit, those of a draw, by default all. Returned is a row per test
    sample: distance (1 at the limit), in_domain, reason ("" in the domain).

    Notes
    -----
    Three measures of a spectrum (SNV absorbance) against the measured ones: the
    distance to the nearest, T2 and Q on at most five principal components. Each local
    sample is measured against those of the other folds, each test sample against all of
    these sets in turn, and their logarithms averaged. A measure is put in standard
    deviations from its mean over the local samples; the largest of the three decides.
    Its limit is the 95 % quantile of the local samples' (Weibull's: that of n + 1), or,
    of fewer than 19, their largest. Of random draws of 30 at three farms it marked 3 to
    4 %.
    """
    of_local, of_test = _measures(study)
    drawn = np.isin(study.local, study.local if rows is None else np.asarray(rows))
    centre, spread = of_local[drawn].mean(axis=0), of_local[drawn].std(axis=0, ddof=1)
    spread = np.where(spread > 0, spread, 1.0)
    own = ((of_local[drawn] - centre) / spread).max(axis=1)
    limit = float(np.quantile(own, 1 - MARKED, method="weibull"))
    scores = (of_test - centre) / spread
    outside = scores.max(axis=1) > limit
    names = np.array([*REASONS.values()])[scores.argmax(axis=1)]
    return pd.DataFrame(
        {
            "distance": np.exp(scores.max(axis=1) - limit),
            "in_domain": ~outside,
            "reason": np.where(outside, names, ""),
        }
    )


def nearest_in_library(study: Study, n_most: int = 2_000) -> pd.DataFrame:
    """Return how near the spectra of a site are to those of the global library.

    A row per sample of the site: group (the farm or set of the nearest library row),
    distance (Euclidean, SNV absorbance) and ratio (to the median distance from a
    library row, of `n_most` drawn by chance, to the nearest one of another group; NaN
    where there is one group only). A box or an ellipse around a library of several
    clusters is mostly empty, and what lies in its gaps counts as inside: the nearest
    neighbour does not overlook gaps.
    """
    X = study.spectra()
    groups = study.library.info["group"].to_numpy()
    part = study.draw(len(X), n_most)
    if is_large(X.shape):
        codes = pd.factorize(groups)[0]
        row, distance = _nearest_of_large(study.X_site, X)
        usual = [_nearest_of_large(study.spectra(part), X, codes[part], codes)[1]]
    else:
        row, distance = pairwise_distances_argmin_min(study.X_site, X)
        usual = [
            pairwise_distances_argmin_min(X[part[own]], X[groups != group])[1]
            for group in np.unique(groups[part])
            if (own := groups[part] == group).any() and (groups != group).any()
        ]
    median = np.median(np.concatenate(usual)) if usual else np.nan
    found = pd.DataFrame({"group": groups[row], "distance": distance})
    return found.assign(ratio=distance / median)


def _nearest_of_large(
    X: npt.NDArray,
    whole: npt.NDArray,
    own: npt.NDArray | None = None,
    groups: npt.NDArray | None = None,
) -> tuple[npt.NDArray[np.intp], Floats]:
    """Return the nearest row of a large library, and how far it is, for each spectrum.

    With `own`, the group of each spectrum, it is the nearest of another group. Single
    precision finds it; the distance is in double.
    """
    centre = X.mean(axis=0)
    wanted = (X - centre).astype(np.float32)
    nearest, lowest = np.zeros(len(X), np.intp), np.full(len(X), np.inf, np.float32)
    for rows in row_blocks(len(whole)):
        block = (whole[rows] - centre).astype(np.float32)
        squares = wanted @ block.T
        squares *= -2
        squares += np.einsum("ij,ij->i", block, block)
        if own is not None and groups is not None:
            squares[own[:, np.newaxis] == groups[rows]] = np.inf
        found = squares.argmin(axis=1)
        least = squares[np.arange(len(X)), found]
        closer = least < lowest
        nearest[closer], lowest[closer] = rows.start + found[closer], least[closer]
    distances = np.linalg.norm(X - whole[nearest], axis=1)
    return nearest, np.where(np.isfinite(lowest), distances, np.nan)


def _measures(study: Study) -> tuple[Floats, Floats]:
    """Return logarithms of the measures (nearest, T2, Q) of local and test samples."""
    X, _, folds = study.samples("local")
    of_local, of_test = np.empty((len(X), 3)), []
    for number in np.unique(folds):
        held_out = folds == number
        of_local[held_out] = _measure(X[~held_out], X[held_out])
        of_test.append(_measure(X[~held_out], study.X_test))
    return of_local, np.mean(of_test, axis=0)


def _measure(known: Floats, new: Floats) -> Floats:
    """Return the logarithms of the measures of new spectra against known ones."""
    size = min(MAX_COMPONENTS, len(known) - 2, known.shape[1] - 1)
    found = SpectralOutliers(n_components=size).fit(known).measure(new)
    nearest = cdist(new, known).min(axis=1)
    values = np.column_stack([nearest, found["t2"], found["q"]])
    return np.log(np.maximum(values, np.finfo(np.float64).tiny))
