"""How wide the interval of a mean is, and how many samples make it narrower."""

from __future__ import annotations

import bisect

import numpy as np
from scipy.special import stdtrit

from soilnb._validation import check_int


def t_quantile(degrees_of_freedom: float, level: float) -> float:
    """Return the t whose plus and minus enclose `level`; the normal one for inf."""
    return float(stdtrit(degrees_of_freedom, (1 + level) / 2))


def check_level(level: float) -> None:
    """Raise ValueError unless the level of an interval is a fraction."""
    if not 0 < level < 1:
        msg = (
            f"'level' must be above 0 and below 1, got {level}. Divide percent by 100."
        )
        raise ValueError(msg)


def check_at_least_0(value: float, name: str) -> None:
    """Raise ValueError if a standard deviation is negative or not finite."""
    if not 0 <= value < np.inf:
        msg = f"{name!r} must be at least 0 and finite, got {value}."
        raise ValueError(msg)


def n_for_half_width(
    standard_deviation: float,
    n_population: int,
    half_width: float,
    *,
    level: float = 0.95,
    n_most: int | None = None,
) -> int:
    """Return how many samples of a simple draw make the interval narrow enough.

    Parameters
    ----------
    standard_deviation : float
        Of the values, or `unit_sd` of an estimate that predictions or strata help.
    n_population : int
        Number of samples to draw from, at least 2.
    half_width : float
        Half-width asked for, above 0, in the unit of `standard_deviation`.
    level : float, default 0.95
        Level of the interval, above 0 and below 1.
    n_most : int, optional
        Where to stop looking; by default at `n_population`.

    Returns
    -------
    int
        The smallest number, from 2 on. `n_most` or `n_population` if none below it
        is enough; only the whole population is always enough.

    Raises
    ------
    TypeError
        If a number of samples is not a whole number.
    ValueError
        If a value is out of range.

    Notes
    -----
    t with n - 1 degrees of freedom, variance of the mean (1 - n / N) s^2 / n. It is
    for planning: who measures until the interval passes stops at lucky draws.

    Examples
    --------
    >>> n_for_half_width(1.0, 400, 0.5), n_for_half_width(1.0, 400, 1e-6)
    (18, 400)
    """
    check_at_least_0(standard_deviation, "standard_deviation")
    check_level(level)
    check_int(n_population, "n_population", 2)
    n_most = n_population if n_most is None else n_most
    check_int(n_most, "n_most", 2, n_population, " ('n_population')")
    if not half_width > 0:
        msg = f"'half_width' must be above 0, got {half_width}."
        raise ValueError(msg)

    def is_enough(n_samples: int) -> bool:
        """Tell whether a draw of this size is; more samples always do better."""
        error = np.sqrt((1 - n_samples / n_population) / n_samples)
        t = t_quantile(n_samples - 1, level)
        return bool(t * standard_deviation * error <= half_width)

    tried = range(2, n_most)
    return 2 + bisect.bisect_left(tried, True, key=is_enough)


def unit_sd(standard_error: float, n_drawn: int, n_population: int) -> float:
    """Return the standard deviation with which a simple draw would be as precise.

    It puts an estimate with strata or predictions into `n_for_half_width`: "how many
    more, drawn and predicted in the same way".

    Parameters
    ----------
    standard_error : float
        Of the mean of the scans, not of the field.
    n_drawn, n_population : int
        Drawn rows and all rows, certain ones left out of both.

    Returns
    -------
    float
        standard_error * sqrt(n / (1 - n / N)), in the same unit; NaN stays NaN.

    Raises
    ------
    TypeError
        If a number of rows is not a whole number.
    ValueError
        If `n_drawn` is not between 2 and n_population - 1.

    Notes
    -----
    `n_for_half_width` then takes t with n - 1 degrees of freedom; in pairs of a
    stratum there are n / 2, and the interval is a few percent wider than planned.

    Examples
    --------
    >>> round(unit_sd(0.1, 25, 100), 3)  # 0.1 * sqrt(25 / 0.75)
    0.577
    """
    check_int(n_population, "n_population", 3)
    check_int(n_drawn, "n_drawn", 2, n_population - 1, " (one less than all)")
    return float(standard_error * np.sqrt(n_drawn / (1 - n_drawn / n_population)))
