"""Carbon of the twin: SOC values that have the statistics of a published table."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.interpolate import PchipInterpolator
from scipy.optimize import least_squares
from scipy.special import ndtr, ndtri

from soilnb._validation import Floats
from soilnb.datasets.twin.provinces import LEVEL_SPREAD, provinces_of
from soilnb.datasets.twin.table_1 import NAMED_COUNTRIES, REST, TABLE_1, CarbonTable

N_KNOTS = 24
CLOSENESS = 0.003  # error of a statistic, in sd, that weighs as much as ...
ROUGHNESS = 0.15  # ... this change of the logarithm of the slope from knot to knot
DECIMALS = 3  # of reported SOC: fine enough for a logarithmic axis without a comb


@dataclass(frozen=True)
class CarbonCurve:
    """The natural logarithm of SOC (%) as an increasing curve over normal scores."""

    n: int  # samples that it describes
    log_soc: PchipInterpolator

    def soc(self, shares: Floats) -> Floats:
        """Return the SOC (%) that a share of the samples lies below."""
        low, high = self.log_soc.x[[0, -1]]
        return np.exp(self.log_soc(np.clip(ndtri(shares), low, high)))

    def share_below(self, soc: npt.ArrayLike) -> Floats:
        """Return the share of the samples below a SOC (%), the inverse of `soc`."""
        scores = np.linspace(self.log_soc.x[0], self.log_soc.x[-1], 5001)
        return ndtr(np.interp(np.log(soc), self.log_soc(scores), scores))

    def draw(self, rng: np.random.Generator) -> Floats:
        """Return `n` values in increasing order: one from each of n equal shares."""
        soc = self.soc((np.arange(self.n) + rng.uniform(size=self.n)) / self.n)
        soc[[0, -1]] = np.exp(self.log_soc(self.log_soc.x[[0, -1]]))
        return soc.round(DECIMALS)


@lru_cache
def carbon_curve(name: str) -> CarbonCurve:
    """Return the curve of a country or site, the smoothest with its row of Table 1."""
    if name == REST:
        return _rest_of_the_world()
    return _fit(TABLE_1[name], quartile_shares(TABLE_1[name].n))


def scores_in_province(soc: Floats, province: str, country: str) -> Floats:
    """Return the standard scores, in their province, of samples with some SOC."""
    sums = np.linspace(-8, 8, 3201)
    below = np.zeros(len(sums))
    for other in provinces_of(country).values():
        below += other.share * ndtr((sums - other.level) / LEVEL_SPREAD)
    shares = carbon_curve(country).share_below(soc)
    level = provinces_of(country)[province].level
    return (np.interp(shares, below / below[-1], sums) - level) / LEVEL_SPREAD


def quartile_shares(n: int) -> Floats:
    """Return the shares at the linear quartiles of n values at (i + 1/2) / n."""
    return ((n - 1) * np.array([0.25, 0.5, 0.75]) + 0.5) / n


def _rest_of_the_world() -> CarbonCurve:
    """Return the curve that makes the four parts together the global library."""
    whole = TABLE_1["global"]
    parts = [TABLE_1[country] for country in NAMED_COUNTRIES]
    n = whole.n - sum(part.n for part in parts)
    mean = (whole.n * whole.mean - sum(part.n * part.mean for part in parts)) / n
    squares = _sum_of_squares(whole) - sum(_sum_of_squares(part) for part in parts)
    sd = float(np.sqrt((squares - n * mean**2) / (n - 1)))
    quartiles = [whole.q1, whole.median, whole.q3]
    below = whole.n * quartile_shares(whole.n)
    for country in NAMED_COUNTRIES:
        curve = carbon_curve(country)
        below = below - curve.n * curve.share_below(quartiles)
    # Its quartiles stay those of the whole: below them lie other shares of the rest.
    row = replace(whole, n=n, mean=mean, sd=sd)
    return _fit(row, below / n)


def _sum_of_squares(row: CarbonTable) -> float:
    """Return the sum of the squared values from their mean and sd."""
    return (row.n - 1) * row.sd**2 + row.n * row.mean**2


def _fit(row: CarbonTable, shares: Floats) -> CarbonCurve:
    """Return the smoothest curve with the mean, sd and quartiles of a row."""
    middle = ndtri((np.arange(row.n) + 0.5) / row.n)
    quartiles = ndtri(shares)
    wanted = np.array([row.mean, row.sd, row.q1, row.median, row.q3])

    def misfit(steps: Floats) -> Floats:
        log_soc = _curve(row, steps).log_soc
        soc = np.exp(log_soc(middle))
        got = np.r_[soc.mean(), soc.std(ddof=1), np.exp(log_soc(quartiles))]
        errors = (got - wanted) / row.sd / CLOSENESS
        return np.concatenate([errors, np.diff(steps, 2) / ROUGHNESS])

    # Rounded, so that the last digits of a solver never reach the data.
    return _curve(row, least_squares(misfit, np.zeros(N_KNOTS - 1)).x.round(3))


def _curve(row: CarbonTable, steps: Floats) -> CarbonCurve:
    """Return the curve from min to max whose knots rise in proportion to exp(steps)."""
    rise = np.concatenate([[0], np.cumsum(np.exp(steps - steps.max()))])
    log_soc = np.log(row.min) + np.log(row.max / row.min) * rise / rise[-1]
    scores = np.linspace(ndtri(0.5 / row.n), ndtri(1 - 0.5 / row.n), N_KNOTS)
    return CarbonCurve(row.n, PchipInterpolator(scores, log_soc))
