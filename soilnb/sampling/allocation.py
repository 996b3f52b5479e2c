"""How many samples each stratum gets, and how sure the mean then is."""

import numpy as np
import numpy.typing as npt

from soilnb._validation import Floats, check_choice, check_int

ALLOCATIONS = ("neyman", "proportional", "equal")


def allocate(
    sizes: npt.ArrayLike,
    n: int,
    *,
    sd: npt.ArrayLike | None = None,
    rule: str = "neyman",
    whole: bool = True,
) -> npt.NDArray:
    """Divide a number of samples among strata, at least two to each.

    Parameters
    ----------
    sizes : array-like of int, shape (n_strata,)
        Candidates in each stratum, N_h, at least 2.
    n : int
        Samples in all, from two a stratum to all candidates.
    sd : array-like of shape (n_strata,), optional
        Standard deviation in each, at least 0, any unit; needed for "neyman".
    rule : str, default "neyman"
        "neyman" (in proportion to N_h times `sd`), "proportional" (to N_h) or "equal".
    whole : bool, default True
        Whether to return whole numbers.

    Returns
    -------
    ndarray of shape (n_strata,)
        Samples of each stratum, which sum to n; none has more than its candidates, and
        a ValueError where that cannot be or `sd` is missing. Whole numbers are those of
        the lowest variance, not rounded ones: each further sample goes where
        w_h / sqrt(n_h (n_h + 1)) is largest (Wright 2017, Statistics & Probability
        Letters 129, 50-57), w_h being what the rule is in proportion to.

    Examples
    --------
    >>> allocate([100, 300, 600], sd=[4, 2, 1], n=50, whole=False).tolist()
    [12.5, 18.75, 18.75]
    >>> allocate([100, 300, 600], sd=[4, 2, 1], n=50).tolist()
    [12, 19, 19]
    """
    check_choice(rule, "rule", ALLOCATIONS)
    sizes = check_sizes(sizes)
    total, least = int(sizes.sum()), 2 * len(sizes)
    check_int(n, "n", least, total, f" (two of each of {len(sizes)} strata, and all)")
    weights = np.ones(len(sizes)) if rule == "equal" else sizes.astype(np.float64)
    if rule == "neyman":
        weights = sizes * check_sd(sd, len(sizes))
        weights = weights if weights.any() else sizes.astype(np.float64)
    weights = np.maximum(weights / weights.max(), 1e-9)  # what is full makes way
    # The sum of clipped shares is a line between the factors at which one is clipped.
    factors = np.sort(np.r_[2 / weights, sizes / weights])
    sums = np.clip(np.outer(factors, weights), 2, sizes).sum(axis=1)
    shares = np.clip(np.interp(n, sums, factors) * weights, 2, sizes)
    if not whole:
        return shares
    # The best whole numbers lie at most n_strata below the shares (Hochbaum 1994).
    found = np.clip(np.floor(shares) - len(sizes), 2, sizes).astype(np.intp)
    while found.sum() < n:
        gains = weights / np.sqrt(found * (found + 1))
        found[np.where(found < sizes, gains, -1).argmax()] += 1
    return found


def check_sizes(sizes: npt.ArrayLike) -> npt.NDArray[np.intp]:
    """Return the sizes of strata; refuse one that cannot tell its own variance."""
    found = np.atleast_1d(np.asarray(sizes))
    if found.ndim != 1 or found.dtype.kind not in "iu" or not found.size:
        msg = f"'sizes' must be 1D whole numbers, got {sizes!r}."
        raise ValueError(msg)
    if found.min() < 2:
        place = int(found.argmin())
        msg = (
            f"Stratum {place + 1} must have at least 2 candidates, got {found[place]}. "
            "Join it with another."
        )
        raise ValueError(msg)
    return found.astype(np.intp)


def check_sd(sd: npt.ArrayLike | None, n_strata: int) -> Floats:
    """Return standard deviations, one a stratum, at least 0 and finite."""
    if sd is None:
        msg = "'sd' is needed for the rule 'neyman', got none. Use 'proportional'."
        raise ValueError(msg)
    found = np.atleast_1d(np.asarray(sd, dtype=np.float64))
    if found.shape != (n_strata,):
        msg = f"'sd' must have shape ({n_strata},), one a stratum, got {found.shape}."
        raise ValueError(msg)
    if not ((found >= 0) & (found < np.inf)).all():
        msg = f"'sd' must be at least 0 and finite, got {found.tolist()}."
        raise ValueError(msg)
    return found


def mean_variance(
    sizes: npt.ArrayLike, n_drawn: npt.ArrayLike, sd: npt.ArrayLike, *, finite=True
) -> float:
    """Return the variance of the stratified mean before anything is measured.

    `sizes` (at least 2), `n_drawn` and `sd` (divided by N_h - 1; at least 0), one a
    stratum, are as of `allocate`. It is the sum of W_h^2 (1 - n_h / N_h) s_h^2 / n_h,
    W_h = N_h / N, in squared units; with `finite` False without the correction by which
    a population that is measured in whole leaves no doubt.

    >>> n = allocate([100, 300, 600], sd=[4, 2, 1], n=50, whole=False)
    >>> [round(mean_variance([100, 300, 600], n, [4, 2, 1], finite=f), 4)
    ...  for f in (False, True)]
    [0.0512, 0.0478]
    """
    sizes = check_sizes(sizes)
    drawn = np.asarray(n_drawn, dtype=np.float64)
    unseen = 1 - drawn / sizes if finite else 1.0
    parts = (sizes / sizes.sum() * check_sd(sd, len(sizes))) ** 2 * unseen / drawn
    return float(parts.sum())
