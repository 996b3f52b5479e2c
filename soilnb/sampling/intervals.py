"""How wide the interval of a mean is, and how many samples make it narrower."""

import bisect

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from soilnb._validation import check_int
from soilnb.sampling.allocation import allocate, check_sd, check_sizes, mean_variance


def t_quantile(degrees_of_freedom: float, level: float) -> float:
    """Return the t whose plus and minus enclose `level`; the normal one for inf."""
    return float(stdtrit(degrees_of_freedom, (1 + level) / 2))


def check_level(level: float) -> None:
    """Raise ValueError unless the level of an interval is a fraction."""
    if not 0 < level < 1:
        rule = "'level' must be above 0 and below 1"
        msg = f"{rule}, got {level}. Divide percent by 100."
        raise ValueError(msg)


def check_at_least_0(value: float, name: str) -> None:
    """Raise ValueError if a standard deviation is negative or not finite."""
    if not 0 <= value < np.inf:
        msg = f"{name!r} must be at least 0 and finite, got {value}."
        raise ValueError(msg)


def expected_half_width(
    sizes: npt.ArrayLike, n_drawn: npt.ArrayLike, sd: npt.ArrayLike, level: float = 0.95
) -> float:
    """Return the half-width that the mean of a draw is expected to have.

    `sizes`, `n_drawn` and `sd` are as of `mean_variance`, `level` is its interval's.

    >>> round(expected_half_width([400], [16], [1.0]), 3)  # 2.131 / 4 * sqrt(0.96)
    0.522
    """
    drawn = np.atleast_1d(n_drawn)
    t = t_quantile(drawn.sum() - len(drawn), level)
    return t * float(np.sqrt(mean_variance(sizes, drawn, sd)))


def n_for_half_width(
    standard_deviation: npt.ArrayLike,
    n_population: npt.ArrayLike,
    half_width: float,
    *,
    planned_sd: npt.ArrayLike | None = None,
    level: float = 0.95,
    n_most: int | None = None,
) -> int:
    """Return how many samples make the interval of the mean narrow enough.

    Parameters
    ----------
    standard_deviation : float or array-like of shape (n_strata,)
        Of the values, or `unit_sd` of an estimate that predictions or strata help; for
        a stratified draw that of each stratum.
    n_population : int or array-like of int, shape (n_strata,)
        Number of samples to draw from, at least 2, in each stratum.
    half_width : float
        Half-width asked for, above 0, in the unit of `standard_deviation`.
    planned_sd : array-like of shape (n_strata,), optional
        Standard deviations that the samples are allocated by (`allocate`): what a model
        expects, or ones for a proportional draw. By default `standard_deviation`.
    level : float, default 0.95
        Level of the interval, above 0 and below 1.
    n_most : int, optional
        Where to stop looking; by default at the whole population.

    Returns
    -------
    int
        The smallest number, from two a stratum on, `n_most` if none below it is enough.
        It is for planning: who measures until the interval passes stops at lucky draws.
        t has n less the number of strata degrees of freedom, the variance is that of
        `mean_variance`. What is out of range, above, is a ValueError.

    Examples
    --------
    >>> n_for_half_width(1.0, 400, 0.5), n_for_half_width(1.0, 400, 1e-6)
    (18, 400)
    >>> n_for_half_width([4, 2, 1], [100, 300, 600], 0.45)
    49
    """
    if np.ndim(n_population) == 0:
        check_at_least_0(standard_deviation, "standard_deviation")  # type: ignore[arg-type]
        check_int(n_population, "n_population", 2)
    check_level(level)
    sizes = check_sizes(n_population)
    sd = check_sd(standard_deviation, len(sizes))
    planned = sd if planned_sd is None else check_sd(planned_sd, len(sizes))
    least, n_all = 2 * len(sizes), int(sizes.sum())
    n_most = n_all if n_most is None else n_most
    check_int(n_most, "n_most", least, n_all, " ('n_population')")
    if not half_width > 0:
        msg = f"'half_width' must be above 0, got {half_width}."
        raise ValueError(msg)

    def is_enough(n_samples: int) -> bool:
        """Tell whether a draw of this size is; more samples always do better."""
        n_drawn = allocate(sizes, n_samples, sd=planned)
        return expected_half_width(sizes, n_drawn, sd, level) <= half_width

    return least + bisect.bisect_left(range(least, n_most), True, key=is_enough)


def unit_sd(standard_error: float, n_drawn: int, n_population: int) -> float:
    """Return the standard deviation with which a simple draw would be as precise.

    It puts an estimate with strata or predictions into `n_for_half_width`: "how many
    more, drawn and predicted in the same way". That takes t with n - 1 degrees of
    freedom; in pairs of a stratum there are n / 2, and the interval is a few percent
    wider than planned.

    `standard_error` is that of the mean of the scans, not of the field; `n_drawn` and
    `n_population` leave certain rows out. It is standard_error * sqrt(n / (1 - n / N)),
    in the same unit; NaN stays NaN; a ValueError if n is not from 2 to N - 1.

    >>> round(unit_sd(0.1, 25, 100), 3)  # 0.1 * sqrt(25 / 0.75)
    0.577
    """
    check_int(n_population, "n_population", 3)
    check_int(n_drawn, "n_drawn", 2, n_population - 1, " (one less than all)")
    return float(standard_error * np.sqrt(n_drawn / (1 - n_drawn / n_population)))
