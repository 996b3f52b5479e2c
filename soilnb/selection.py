"""Which samples to measure, and which to hold out: designs of a draw, and folds."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.linalg import eigh
from scipy.spatial.distance import cdist

from soilnb._validation import check_choice, check_int, check_matrix, check_vector
from soilnb.sampling import draw_from_strata

DESIGNS = ("stratified", "random", "kennard_stone")  # of a draw; first, the default
_N_COMPONENTS = 5  # that strata are cut on: few enough that each still says something
_CHUNK_ROWS = 512  # of the distance matrix at once; 512 x 5,000 distances are 20 MB


class Samples(NamedTuple):
    """What a model learns from: spectra as it sees them, soil property, folds.

    `X`, SNV absorbance, is (n_samples, n_wavelengths); `y`, in its own unit, and
    `folds` are (n_samples,).
    """

    X: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    folds: npt.NDArray[np.integer]


def kennard_stone(X: npt.ArrayLike, n_samples: int) -> npt.NDArray[np.intp]:
    """Select samples that cover the spectra evenly, by Kennard-Stone.

    The first two are the samples farthest apart, each next one that whose nearest
    selected sample is farthest away (Kennard and Stone 1969, Technometrics 11(1),
    137-148).

    Parameters
    ----------
    X : array-like of shape (n_rows, n_wavelengths)
        Spectra, or scores on principal components, finite, of any unit. Distances are
        Euclidean; for Mahalanobis give scores divided by their standard deviations.
    n_samples : int
        How many to select, from 2 to n_rows; else, a ValueError.

    Returns
    -------
    ndarray of shape (n_samples,)
        Row indices in order of selection; of ties the lowest row first.

    Examples
    --------
    >>> kennard_stone([[0.0], [1.0], [4.0], [10.0]], 3).tolist()
    [0, 3, 2]
    """
    spectra = check_matrix(X, "X")
    check_int(n_samples, "n_samples", 2, len(spectra), " (rows of 'X')")
    selected = np.empty(n_samples, dtype=np.intp)
    selected[:2] = _farthest_pair(spectra)
    to_selected = cdist(spectra, spectra[selected[:2]]).min(axis=1)
    # Below any distance: a selected row is not taken again, duplicates or not.
    to_selected[selected[:2]] = -1
    for position in range(2, n_samples):
        newest = np.argmax(to_selected)
        selected[position] = newest
        to_newest = cdist(spectra, spectra[[newest]])[:, 0]
        np.minimum(to_selected, to_newest, out=to_selected)
        to_selected[newest] = -1
    return selected


def _farthest_pair(spectra: npt.NDArray[np.float64]) -> tuple[int, int]:
    """Return the two rows farthest apart, lower index first."""
    pair, largest = (0, 1), 0.0
    for start in range(0, len(spectra), _CHUNK_ROWS):
        distances = cdist(spectra[start : start + _CHUNK_ROWS], spectra[start:])
        row, column = np.unravel_index(np.argmax(distances), distances.shape)
        if distances[row, column] > largest:
            largest = distances[row, column]
            pair = (start + int(row), start + int(column))
    return pair


def spectral_strata(X: npt.ArrayLike, n_strata: int) -> npt.NDArray[np.intp]:
    """Divide samples into strata of equal size whose spectra are alike.

    All samples are cut in two along the principal component on which they differ
    most, then each part along the one on which *it* differs most, and so on.

    Parameters
    ----------
    X : array-like of shape (n_rows, n_wavelengths)
        Spectra as models see them, SNV absorbance. Cuts are made on five principal
        components (fewer if the data have fewer), centred, not scaled.
    n_strata : int
        Number of strata, from 1 to n_rows; else, a ValueError.

    Returns
    -------
    ndarray of int, shape (n_rows,)
        Stratum of each row, 1 to n_strata. Sizes differ by at most one and are fixed
        before the first cut: a group for H strata is cut into H // 2 and the rest.

    Examples
    --------
    >>> spectral_strata([[0.0], [9.0], [1.0], [8.0], [5.0]], 2).tolist()
    [1, 2, 1, 2, 1]
    """
    spectra = check_matrix(X, "X")
    check_int(n_strata, "n_strata", 1, len(spectra), " (rows of 'X')")
    scores = _scores(spectra)
    sizes = np.full(n_strata, len(spectra) // n_strata)
    sizes[: len(spectra) % n_strata] += 1
    strata = np.empty(len(spectra), dtype=np.intp)
    groups = [(np.arange(len(spectra)), 0, n_strata)]  # rows, first stratum, end
    while groups:
        rows, first, end = groups.pop()
        if end - first == 1:
            strata[rows] = end
            continue
        middle = first + (end - first) // 2
        widest = np.argmax(scores[rows].var(axis=0))
        ordered = rows[np.argsort(scores[rows, widest], kind="stable")]
        # In row order again, so that ties of the next cut are in row order too.
        low, high = np.split(ordered, [sizes[first:middle].sum()])
        groups += [(np.sort(low), first, middle), (np.sort(high), middle, end)]
    return strata


def _scores(spectra: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the first principal components' scores; largest loadings are positive."""
    centred = spectra - spectra.mean(axis=0)
    # The smaller product: a few hundred rows need no decomposition of 2,151 bands.
    by_rows = len(centred) <= centred.shape[1]
    product = centred @ centred.T if by_rows else centred.T @ centred
    size = len(product)
    few = [max(size - _N_COMPONENTS, 0), size - 1]
    variances, vectors = eigh(product, subset_by_index=few)
    if by_rows:
        loadings = centred.T @ vectors
        scores = vectors * np.sqrt(np.maximum(variances, 0))
    else:
        loadings, scores = vectors, centred @ vectors
    largest = np.abs(loadings).argmax(axis=0)
    # The sign of a component is arbitrary: without a rule it differs by machine.
    signs = np.sign(loadings[largest, np.arange(loadings.shape[1])])
    return (scores * signs)[:, ::-1]


def draw_samples(
    X: npt.ArrayLike, n_samples: int, *, design: str = "stratified", seed: int = 1
) -> pd.DataFrame:
    """Draw the samples to send to the laboratory.

    Parameters
    ----------
    X : array-like of shape (n_rows, n_wavelengths)
        Spectra of all samples as models see them, SNV absorbance.
    n_samples : int
        How many to draw, from 2 to n_rows; "stratified": even, from 4.
    design : str, default "stratified"
        "stratified" (two at random from each of n_samples / 2 spectral strata, the
        fewest that tell the variance of the mean: Särndal, Swensson and Wretman 1992,
        Model Assisted Survey Sampling), "random" (a simple random draw) or
        "kennard_stone" (by spectra alone: its mean is not that of the farm).
    seed : int, default 1
        Seed of the draw, at least 0; "kennard_stone" has no chance in it. What is
        out of range, here and above, is a ValueError.

    Returns
    -------
    DataFrame
        One row per drawn sample, in the order to measure: row (of `X`, from 0), order
        (from 1), design, stratum (from 1; NA unless "stratified") and
        inclusion_probability (NaN if "kennard_stone"). The first half of a stratified
        draw holds one sample of each stratum: whoever stops there has covered all.

    Examples
    --------
    >>> draw = draw_samples([[1.0], [2.0], [3.0], [7.0], [8.0], [9.0]], 4)
    >>> draw["inclusion_probability"].round(2).tolist()
    [0.67, 0.67, 0.67, 0.67]
    """
    spectra = check_matrix(X, "X")
    check_choice(design, "design", DESIGNS)
    check_int(n_samples, "n_samples", 2, len(spectra), " (rows of 'X')")
    check_int(seed, "seed", 0)
    if design == "stratified":
        if n_samples < 4 or n_samples % 2:
            msg = (
                "'n_samples' must be even and at least 4 for the design 'stratified' "
                f"(two of each stratum), got {n_samples}. Give an even number, or use "
                "the design 'random'."
            )
            raise ValueError(msg)
        strata = spectral_strata(spectra, n_samples // 2)
        two_each = np.full(n_samples // 2, 2)
        table = draw_from_strata(strata, two_each, seed=seed)
    else:
        if design == "random":
            rng = np.random.default_rng(seed)
            rows = rng.permutation(len(spectra))[:n_samples]
            probability = n_samples / len(spectra)
        else:
            rows, probability = kennard_stone(spectra, n_samples), np.nan
        table = pd.DataFrame({"row": rows, "order": np.arange(1, n_samples + 1)})
        table = table.assign(stratum=pd.NA, inclusion_probability=probability)
    table.insert(2, "design", design)
    return table.astype({"stratum": "Int64"})


def random_folds(n_samples: int, n_folds: int, seed: int) -> npt.NDArray[np.intp]:
    """Assign samples to folds at random.

    Parameters
    ----------
    n_samples, n_folds, seed : int
        At least 2; from 2 to n_samples; and at least 0: else, a ValueError.

    Returns
    -------
    ndarray of shape (n_samples,)
        Fold of each sample, 0 to n_folds - 1. Fold sizes differ by at most one.

    Examples
    --------
    >>> folds = random_folds(7, 3, seed=1)
    >>> np.bincount(folds).tolist()
    [3, 2, 2]
    """
    check_int(n_samples, "n_samples", 2)
    check_int(n_folds, "n_folds", 2, n_samples, " (the number of samples)")
    check_int(seed, "seed", 0)
    rng = np.random.default_rng(seed)
    return rng.permutation(np.arange(n_samples) % n_folds)


def block_cells(
    latitude: npt.ArrayLike, longitude: npt.ArrayLike, *, size: float = 5.0
) -> npt.NDArray[np.intp]:
    """Return the cell of a grid of degrees that each site lies in, from 0.

    `latitude` and `longitude` of the sites, and the `size` of a cell, are in degrees.

    Examples
    --------
    >>> block_cells([41.0, 44.0, 46.0], [-99.0, -96.0, -96.0]).tolist()
    [0, 0, 1]
    """
    places = np.stack([check_vector(latitude, "latitude"), longitude], axis=1)
    corners = np.floor(np.asarray(places, np.float64) / size)
    return np.unique(corners, axis=0, return_inverse=True)[1].ravel()


def stratified_folds(
    groups: npt.ArrayLike, n_folds: int, seed: int
) -> npt.NDArray[np.intp]:
    """Assign samples to folds so that each group is spread evenly over all folds.

    Cells of a map may be the groups. A test sample then has training samples in its own
    cell: the score is that of a map between samples, and not of a new place.

    Parameters
    ----------
    groups, n_folds, seed : array-like of shape (n_samples,), int, int
        Group of each sample, as from `block_cells`; the others as of `random_folds`.

    Returns
    -------
    ndarray of shape (n_samples,)
        Fold of each sample, 0 to n_folds - 1; sizes differ by at most one.

    Examples
    --------
    >>> folds = stratified_folds([0, 0, 1, 1, 1, 1], 2, seed=1)
    >>> int(folds[:2].sum()), int(folds[2:].sum())
    (1, 2)
    """
    groups = np.asarray(groups)
    check_int(n_folds, "n_folds", 2, len(groups), " (the number of samples)")
    shuffled = np.random.default_rng(seed).permutation(len(groups))
    by_group = shuffled[np.argsort(groups[shuffled], kind="stable")]
    folds = np.empty(len(groups), dtype=np.intp)
    folds[by_group] = np.arange(len(groups)) % n_folds
    return folds


def group_folds(groups: npt.ArrayLike, n_folds: int, seed: int) -> npt.NDArray[np.intp]:
    """Assign whole groups to folds, so that no group is on both sides of a split.

    Cells of a map (blocked folds) or regions may be the groups. The largest group goes
    first, each into the fold that has the fewest samples so far; of equal groups, the
    seed says which goes first.

    Parameters
    ----------
    groups, n_folds, seed : array-like of shape (n_samples,), int, int
        At least `n_folds` different ones; the others as of `random_folds`.

    Returns
    -------
    ndarray of shape (n_samples,)
        Fold of each sample, 0 to n_folds - 1.

    Examples
    --------
    >>> group_folds(["a", "a", "b", "c"], 2, seed=1).tolist()
    [0, 0, 1, 1]
    """
    _, number, counts = np.unique(groups, return_inverse=True, return_counts=True)
    check_int(n_folds, "n_folds", 2, len(counts), " (the number of groups)")
    shuffled = np.random.default_rng(seed).permutation(len(counts))
    of_group, sizes = np.empty(len(counts), np.intp), np.zeros(n_folds)
    for group in shuffled[np.argsort(-counts[shuffled], kind="stable")]:
        of_group[group] = sizes.argmin()
        sizes[of_group[group]] += counts[group]
    return of_group[number.ravel()]


def hold_out(n_samples: int, share: float = 0.2, *, seed: int) -> npt.NDArray[np.bool_]:
    """Return which samples are held out for the test, a share of all at random.

    Examples
    --------
    >>> int(hold_out(10, seed=1).sum())
    2
    """
    check_int(n_samples, "n_samples", 2)
    if not 0 < share < 1:
        msg = f"'share' must be above 0 and below 1, got {share}. Try 0.2."
        raise ValueError(msg)
    n_held = min(max(1, round(share * n_samples)), n_samples - 1)
    return np.random.default_rng(seed).permutation(n_samples) < n_held


def adjacent_region(
    latitude: npt.ArrayLike, longitude: npt.ArrayLike, region: npt.ArrayLike, of: str
) -> str:
    """Return the region whose middle is nearest to that of another one.

    The middle is the mean latitude and longitude; distances are on the sphere.

    Examples
    --------
    >>> adjacent_region([40, 41, 50], [-90, -90, -90], ["a", "b", "c"], "c")
    'b'
    """
    places = pd.DataFrame({"lat": latitude, "lon": longitude}, dtype=np.float64)
    middle = np.radians(places.groupby(np.asarray(region, str)).mean())
    check_choice(of, "region", middle.index)
    here, others = middle.loc[of], middle.drop(of)
    latitudes = np.sin(here["lat"]) * np.sin(others["lat"])
    on_circles = np.cos(here["lat"]) * np.cos(others["lat"])
    cosine = latitudes + on_circles * np.cos(others["lon"] - here["lon"])
    return str(cosine.idxmax())
