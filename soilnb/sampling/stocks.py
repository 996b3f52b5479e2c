"""From percent of organic carbon to its stock."""

from __future__ import annotations

import numpy as np

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
    level: float = 0.95,
) -> tuple[float, float, float]:
    """Return the stock of organic carbon in the soil down to a depth.

    Parameters
    ----------
    mean_percent : float
        Mean SOC of that depth, percent of fine soil (1 % is 10 g/kg).
    standard_error : float
        Of that mean, percent; NaN if it is not known.
    bulk_density : float
        Dry fine soil per volume, g/cm3, from 0.1 to 2.7.
    depth_cm : float
        Depth, cm, from 1 to 300.
    degrees_of_freedom : float
        Of the mean's interval; inf for the normal distribution.
    bulk_density_sd, depth_sd : float, default 0
        Standard errors of bulk density (g/cm3) and depth (cm), as means of the farm.
    level : float, default 0.95
        Level of the interval, above 0 and below 1.

    Returns
    -------
    stock, lower, upper : float
        Mg/ha, with a t interval that does not go below 0; NaN ends if
        `standard_error` is NaN.

    Raises
    ------
    ValueError
        If a value is out of range.

    Notes
    -----
    Percent times g/cm3 times cm is Mg/ha. Errors are independent and propagated to
    first order: relative variances add. Where stones are not in `bulk_density`,
    multiply by 1 - their share of the volume.

    Examples
    --------
    >>> [round(end, 2) for end in stock(2.0, 0.1, 1.2, 30, degrees_of_freedom=15)]
    [72.0, 64.33, 79.67]
    """
    _check_soil(mean_percent, bulk_density, depth_cm)
    check_level(level)
    check_at_least_0(np.nan_to_num(standard_error), "standard_error")
    check_at_least_0(bulk_density_sd, "bulk_density_sd")
    check_at_least_0(depth_sd, "depth_sd")
    if not degrees_of_freedom > 0:
        msg = f"'degrees_of_freedom' must be above 0, got {degrees_of_freedom}."
        raise ValueError(msg)
    carbon = mean_percent * bulk_density * depth_cm
    errors = (
        standard_error * bulk_density * depth_cm,
        bulk_density_sd * mean_percent * depth_cm,
        depth_sd * mean_percent * bulk_density,
    )
    half_width = t_quantile(degrees_of_freedom, level) * np.hypot.reduce(errors)
    lower, upper = np.maximum(carbon - half_width, 0), carbon + half_width
    return float(carbon), float(lower), float(upper)


def _check_soil(mean_percent: float, bulk_density: float, depth_cm: float) -> None:
    """Raise ValueError where a value is none of soil, naming the likely unit."""
    kg_per_m3 = " Divide kg/m3 by 1000." if bulk_density > 100 else ""
    for name, value, unit, (low, high), hint in (
        ("mean_percent", mean_percent, "%", (0, 100), " Divide g/kg by 10."),
        ("bulk_density", bulk_density, "g/cm3", BULK_DENSITIES_G_CM3, kg_per_m3),
        ("depth_cm", depth_cm, "cm", DEPTHS_CM, ""),
    ):
        if not low <= value <= high:
            msg = f"{name!r} must be between {low:g} and {high:g} {unit}, got {value}."
            raise ValueError(msg + hint)
