"""The mean of a population from the measured samples, and from predictions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilnb._validation import check_choice, check_rows, check_vector
from soilnb.sampling.draws import Draw, Drawn, Floats
from soilnb.sampling.intervals import check_level, t_quantile

POPULATIONS = ("scans", "field")


@dataclass(frozen=True)
class MeanEstimate:
    """The mean of a population ("scans" or "field") with its interval.

    `mean`, its ends `lower` and `upper` and its `standard_error` are in the unit of the
    property, the last three NaN where the draw has no chance in it. The degrees of
    freedom are those of t, drawn rows less strata; `weight` is the share of the
    predictions that is used, lambda (0 is the laboratory alone); `n_measured` counts
    the rows whose value is known, drawn or certain.
    """

    mean: float
    lower: float
    upper: float
    standard_error: float
    degrees_of_freedom: int
    weight: float
    n_measured: int
    population: str

    def times(self, factor: float) -> MeanEstimate:
        """Return the total: the mean times the size of what it is the mean of.

        `factor`, such as N samples or hectares, is known without error.
        """
        parts = ("mean", "lower", "upper", "standard_error")
        return replace(self, **{name: factor * getattr(self, name) for name in parts})


def estimate_mean(
    draw: Draw,
    y: npt.ArrayLike,
    predicted: npt.ArrayLike | None = None,
    *,
    population: str = "scans",
    level: float = 0.95,
) -> MeanEstimate:
    """Estimate the mean of all samples from the measured ones, and from predictions.

    Predictions say what the samples that were not measured add; the measured ones
    say how far predictions are off, so that wrong ones widen the interval but do not
    shift the mean.

    Parameters
    ----------
    draw : Draw
        Which rows were measured, and how they were chosen.
    y : array-like of shape (n_population,)
        Measured values, NaN where none; those of rows not in `draw` are not used.
    predicted : array-like of shape (n_population,), optional
        Predictions in the unit of `y`: of measured rows by models that were made
        without them, of the others by any. By default the laboratory alone.
    population : str, default "scans"
        "scans": the mean of the N samples. "field": of the field that they are a
        random sample of, which adds their own variance.
    level : float, default 0.95
        Level of the interval, above 0 and below 1. A ValueError says what is out of
        range, of another length or lacks a value that is needed.

    Returns
    -------
    MeanEstimate
        Mean and t interval, whose lower end is not below 0; without chance in the draw
        there is no interval, and lambda is 1.

    Notes
    -----
    With W_h = N_h / sum N_h, f predictions and r = y - lambda f, the mean of rows that
    are not certain is lambda mean(f) + sum W_h mean_h(r), its variance sum W_h^2
    (1 - n_h / N_h) s_h^2(r) / n_h, the difference estimator (Särndal, Swensson and
    Wretman 1992, Model Assisted Survey Sampling), also known as cross-prediction-
    powered inference (Angelopoulos et al. 2023, Science 382, 669-674; Zrnic and Candès
    2024, PNAS 121(15), e2322083121). lambda, from 0 to 1, is the one of lowest
    estimated variance (PPI++, arXiv 2311.01453); learned from the same rows, it costs a
    bias of order 1 / n, a tenth of the standard error at n = 20. Certain rows enter by
    value, and take their part N - c of N out of the error.

    For the field, s^2(y) / N is added. s^2(y) is the mean square of y about the mean
    of the laboratory alone, each drawn row weighted by N_h / n_h, plus the variance of
    that mean, times N / (N - 1): without bias, and s^2 itself for a simple draw.

    Examples
    --------
    >>> draw = Draw(4, [0, 2], [0, 0], {0: 4}, design="random")
    >>> y = [1.0, np.nan, 3.0, np.nan]
    >>> estimate_mean(draw, y).mean
    2.0
    >>> estimate_mean(draw, y, [1.5, 2.5, 3.5, 4.5]).mean
    2.5
    """
    check_choice(population, "population", POPULATIONS)
    check_level(level)
    known = _measured_values(draw, y)
    f, weight = np.zeros(len(known)), 0.0
    if predicted is not None:
        f = check_vector(predicted, "predicted")
        check_rows(f, "predicted", known, "y")
        weight = _tuned_weight(draw, known, f)
    drawn = Drawn.of(draw)
    residuals = (known - weight * f)[draw.rows]
    rest = weight * np.delete(f, draw.certain).mean() + drawn.mean(residuals)
    share = 1 - len(draw.certain) / draw.n_population
    mean = known[draw.certain].sum() / draw.n_population + share * rest
    variance = np.nan
    if draw.is_probability:
        variance = share**2 * drawn.covariance(residuals, residuals)
        if population == "field":
            variance += _population_variance(draw, known) / draw.n_population
    freedom = draw.n_drawn - len(draw.stratum_sizes)
    half_width = t_quantile(freedom, level) * np.sqrt(variance)
    return MeanEstimate(
        mean=float(mean),
        lower=float(np.maximum(mean - half_width, 0)),
        upper=float(mean + half_width),
        standard_error=float(np.sqrt(variance)),
        degrees_of_freedom=freedom,
        weight=float(weight),
        n_measured=draw.n_drawn + len(draw.certain),
        population=population,
    )


def estimate_listed(table: pd.DataFrame, *, level: float = 0.95) -> MeanEstimate:
    """Estimate the mean of all candidates from a list of `soilnb design`.

    `table` has all places of the list: stratum, inclusion_probability and soc, in any
    unit; NaN where a place could not be measured, which is taken as chance, and a
    ValueError where a whole stratum was not. `level` is as of `estimate_mean`.

    >>> table = pd.DataFrame({"stratum": ["a", "a", "b", "b"], "soc": [1, 3, 4, 8]})
    >>> table["inclusion_probability"] = [1 / 3, 1 / 3, 1 / 2, 1 / 2]  # of 6 and 4
    >>> round(estimate_listed(table).mean, 1)  # 0.6 * 2 + 0.4 * 6
    3.6
    """
    listed = table.groupby("stratum")["inclusion_probability"]
    sizes = (listed.size() / listed.first()).round().astype(int)
    done = table[table["soc"].notna()]
    if len(lost := sizes.index.difference(done["stratum"])):
        msg = f"Stratum {lost[0]} has no 'soc'. Measure two of its places at least."
        raise ValueError(msg)
    y = np.full(sizes.sum(), np.nan)
    y[: len(done)] = done["soc"]
    codes = sizes.index.get_indexer(done["stratum"])
    by_code = dict(enumerate(sizes.tolist()))
    draw = Draw(len(y), np.arange(len(done)), codes, by_code, design="stratified")
    return estimate_mean(draw, y, level=level)


def _measured_values(draw: Draw, y: npt.ArrayLike) -> Floats:
    """Return `y` in full length, and refuse it if a measured row has no value."""
    known = np.asarray(y, dtype=np.float64)
    if known.shape != (draw.n_population,):
        msg = f"'y' must have shape ({draw.n_population},), got {known.shape}."
        raise ValueError(msg)
    measured = np.sort(np.r_[draw.rows, draw.certain])
    missing = measured[~np.isfinite(known[measured])]
    if len(missing):
        msg = (
            f"'y' lacks {len(missing)} values of rows that 'draw' holds as measured "
            f"(first at row {missing[0]}). Leave out of 'draw' what has no value."
        )
        raise ValueError(msg)
    return known


def _tuned_weight(draw: Draw, known: Floats, f: Floats) -> float:
    """Return lambda: 1 without chance; 0 where predictions do not differ or matter."""
    if not draw.is_probability:
        return 1.0
    drawn, f_drawn = Drawn.of(draw), f[draw.rows]
    variance = drawn.covariance(f_drawn, f_drawn)
    if variance == 0:
        return 0.0
    return float(np.clip(drawn.covariance(known[draw.rows], f_drawn) / variance, 0, 1))


def _population_variance(draw: Draw, known: Floats) -> float:
    """Return the variance of y over the population, by the rule in `estimate_mean`."""
    drawn, n_population = Drawn.of(draw), draw.n_population
    weights = (drawn.sizes / drawn.n_drawn)[drawn.places]
    weights = np.r_[weights, np.ones(len(draw.certain))]
    values, y_drawn = known[np.r_[draw.rows, draw.certain]], known[draw.rows]
    share = 1 - len(draw.certain) / n_population
    of_mean = share**2 * drawn.covariance(y_drawn, y_drawn)
    mean = weights @ values / n_population
    spread = weights @ (values - mean) ** 2 / n_population
    return float((spread + of_mean) * n_population / (n_population - 1))


def relative_error(estimate: MeanEstimate) -> float:
    """Return the half-width of a mean's interval in percent of the mean.

    From the upper end, since the lower one is cut at 0; NaN without an interval, and a
    ValueError if the mean is not above 0.

    >>> draw = Draw(400, [0, 1, 2], [0, 0, 0], {0: 400}, design="random")
    >>> y = np.full(400, np.nan)
    >>> y[:3] = [1.9, 2.0, 2.1]  # 4.303 * 0.1 * sqrt((1 - 3 / 400) / 3) = 0.248
    >>> round(relative_error(estimate_mean(draw, y)), 1)
    12.4
    """
    if not estimate.mean > 0:
        msg = f"The mean must be above 0 for a relative error, got {estimate.mean:.3g}."
        raise ValueError(msg)
    return 100 * (estimate.upper - estimate.mean) / estimate.mean
