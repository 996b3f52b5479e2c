"""From percent of organic carbon to its stock."""

import numpy as np

from soilnb._validation import check_int
from soilnb.sampling.intervals import check_at_least_0, check_level, t_quantile

# From peat to quartz, whose density is 2.65.
BULK_DENSITIES_G_CM3 = (0.1, 2.7)
DEPTHS_CM = (1.0, 300.0)


def stock(
    mean_percent: float,
    standard_error: float,
    bulk_density: float,
    depth_cm: float,
    *,
    degrees_of_freedom: float,
    bulk_density_sd: float = 0.0,
    depth_sd: float = 0.0,
    coarse_fraction: float = 0.0,
    coarse_sd: float = 0.0,
    level: float = 0.95,
    n_simulated: int = 0,
    seed: int = 1,
) -> tuple[float, float, float]:
    """Return the stock of organic carbon in the soil down to a depth.

    Parameters
    ----------
    mean_percent : float
        Mean SOC of that depth, percent of fine soil (1 % is 10 g/kg).
    standard_error : float
        Of that mean, percent; NaN if it is not known.
    bulk_density : float
        Dry mass of fine soil per volume without stones, g/cm3, from 0.1 to 2.7.
    depth_cm : float
        Depth, cm, from 1 to 300.
    degrees_of_freedom : float
        Of the mean's interval; inf for the normal distribution.
    bulk_density_sd, depth_sd : float, default 0
    bulk_density_sd, depth_sd : float, default 0
        Standard errors of bulk density (g/cm3) and depth (cm), as means of the farm.
    coarse_fraction, coarse_sd : float, default 0
        Share of the volume that is stones, at most 0.95, and its standard error; 0
        where `bulk_density` is of fine soil per volume of all.
    level : float, default 0.95
        Level of the interval, above 0 and below 1.
    n_simulated, seed : int, default 0 and 1
        Draws of all factors, whose quantiles are the interval; with 0 it is to first
        order.

    Returns
    -------
    stock, lower, upper : float
        Mg/ha, with a t interval that does not go below 0; NaN ends if
        `standard_error` is NaN. A ValueError where a value is out of range.

    Notes
    -----
    Percent times g/cm3 times cm, times 1 - stones, is Mg/ha. Errors are independent. To
    first order relative variances add, with the t of the mean for all. Draws take t for
    the mean and normal errors for the others; they differ where an error is a fifth of
    its factor or more, since a product of errors is skewed.

    Examples
    --------
    >>> [round(end, 2) for end in stock(2.0, 0.1, 1.2, 30, degrees_of_freedom=15)]
    [72.0, 64.33, 79.67]
    """
    _check_soil(mean_percent, bulk_density, depth_cm, coarse_fraction)
    check_level(level)
    check_int(n_simulated, "n_simulated", 0)
    check_at_least_0(np.nan_to_num(standard_error), "standard_error")
    others = {"bulk_density": bulk_density_sd, "depth": depth_sd, "coarse": coarse_sd}
    for name, value in others.items():
        check_at_least_0(value, f"{name}_sd")
    if not degrees_of_freedom > 0:
        msg = f"'degrees_of_freedom' must be above 0, got {degrees_of_freedom}."
        raise ValueError(msg)
    factors = np.array([mean_percent, bulk_density, depth_cm, 1 - coarse_fraction])
    errors = np.array([standard_error, bulk_density_sd, depth_sd, coarse_sd])
    carbon = factors.prod()
    rest = [np.delete(factors, place).prod() for place in range(4)]
    t = t_quantile(degrees_of_freedom, level)
    half_width = t * np.hypot.reduce(errors * rest)
    lower, upper = carbon - half_width, carbon + half_width
    if n_simulated:
        rng = np.random.default_rng(seed)
        noise = rng.standard_normal((4, n_simulated))
        if np.isfinite(degrees_of_freedom):
            noise[0] = rng.standard_t(degrees_of_freedom, n_simulated)
        drawn = (factors[:, None] + errors[:, None] * noise).prod(axis=0)
        lower, upper = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(carbon), float(np.maximum(lower, 0)), float(upper)


def _check_soil(
    mean_percent: float, bulk_density: float, depth_cm: float, coarse_fraction: float
) -> None:
    """Raise ValueError where a value is none of soil, naming the likely unit."""
    kg_per_m3 = " Divide kg/m3 by 1000." if bulk_density > 100 else ""
    for name, value, unit, (low, high), hint in (
        ("mean_percent", mean_percent, "%", (0, 100), " Divide g/kg by 10."),
        ("bulk_density", bulk_density, "g/cm3", BULK_DENSITIES_G_CM3, kg_per_m3),
        ("depth_cm", depth_cm, "cm", DEPTHS_CM, ""),
        ("coarse_fraction", coarse_fraction, "", (0, 0.95), " Divide percent by 100."),
    ):
        if not low <= value <= high:
            msg = f"{name!r} must be between {low:g} and {high:g} {unit}"
            msg = f"{msg.rstrip()}, got {value}."
            raise ValueError(msg + hint)
