"""How much a mean has changed between two dates, and what change would be seen."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from soilnb._validation import check_int
from soilnb.sampling.draws import Draw
from soilnb.sampling.intervals import check_at_least_0, check_level, t_quantile
from soilnb.sampling.mean import MeanEstimate, estimate_mean


class Change(NamedTuple):
    """A change of a mean, later less earlier, with its t interval.

    All but the degrees of freedom are in the unit of the property.
    """

    change: float
    lower: float
    upper: float
    standard_error: float
    degrees_of_freedom: float


def paired_change(
    draw: Draw, before: npt.ArrayLike, after: npt.ArrayLike, *, level: float = 0.95
) -> Change:
    """Return the change of the mean where the same places are measured twice.

    `draw` says which places were measured at both dates; `before` and `after`
    (n_population,) are the values, NaN where none. `level` and errors are those of
    `estimate_mean`.

    >>> draw = Draw(9, [0, 1, 2], [0, 0, 0], {0: 9}, design="random")
    >>> before, after = np.full((2, 9), np.nan)
    >>> before[:3], after[:3] = [9, 5, 1], [10, 7, 4]
    >>> paired_change(draw, before, after).change
    2.0
    """
    both = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    mean = estimate_mean(draw, both, level=level)
    return _change(mean.mean, mean.standard_error, mean.degrees_of_freedom, level)


def independent_change(
    before: MeanEstimate, after: MeanEstimate, *, level: float = 0.95
) -> Change:
    """Return the change between the means of two draws that know nothing of each other.

    Variances add; degrees of freedom by Welch and Satterthwaite. `level`, of the
    interval, is above 0 and below 1.
    """
    check_level(level)
    parts = np.array([before.standard_error, after.standard_error]) ** 2
    freedoms = [before.degrees_of_freedom, after.degrees_of_freedom]
    inverse = (parts**2 / freedoms).sum()
    freedom = parts.sum() ** 2 / inverse if inverse else min(freedoms)
    error = np.sqrt(parts.sum())
    return _change(after.mean - before.mean, float(error), float(freedom), level)


def _change(change: float, error: float, freedom: float, level: float) -> Change:
    """Return a change with its interval, which may lie on either side of 0."""
    half_width = t_quantile(freedom, level) * error
    return Change(change, change - half_width, change + half_width, error, freedom)


def detectable_change(
    standard_deviation: float,
    n: int,
    *,
    correlation: float | None = None,
    level: float = 0.95,
    power: float = 0.8,
) -> float:
    """Return the smallest change of a mean that a plan is likely to show.

    Parameters
    ----------
    standard_deviation : float
        Of the values at either date; for a stratified draw its `unit_sd`.
    n : int
        Samples at each date, at least 2.
    correlation : float, optional
        Between the dates, where the same places are measured again (-1 to 1). By
        default the draws are independent.
    level : float, default 0.95
        Of the interval that shall leave out 0.
    power : float, default 0.8
        Chance that it does, 0.5 to below 1.

    Notes
    -----
    It is, in the same unit, (t of level + t of power) times the standard error,
    s sqrt(2 (1 - r) / n); t with n - 1, independent 2 (n - 1) degrees of freedom.

    Examples
    --------
    >>> alone, again = (detectable_change(1.0, 50, correlation=r) for r in (None, 0.75))
    >>> round(alone, 2), round(again, 2)
    (0.57, 0.29)
    """
    check_at_least_0(standard_deviation, "standard_deviation")
    check_int(n, "n", 2)
    check_level(level)
    if not (0.5 <= power < 1 and -1 <= (correlation or 0) <= 1):
        msg = (
            "'power' must be from 0.5 to below 1 and 'correlation' from -1 to 1, got "
            f"{power} and {correlation}. Divide percent by 100."
        )
        raise ValueError(msg)
    freedom = 2 * (n - 1) if correlation is None else n - 1
    error = standard_deviation * np.sqrt(2 * (1 - (correlation or 0)) / n)
    seen = t_quantile(freedom, level) + t_quantile(freedom, 2 * power - 1)
    return float(seen * error)
