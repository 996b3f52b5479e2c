"""The rule of the relative error: what reaches it, and what comes of stopping at it."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilnb._validation import check_int, check_rows, check_vector
from soilnb.sampling.allocation import allocate, check_sd
from soilnb.sampling.intervals import (
    expected_half_width,
    n_for_half_width,
    t_quantile,
)

N_FEW, R2_WEAK = 10, 0.5  # below these a stratum is flagged
# Ways to draw from a population whose truth is known.
SAMPLING_DESIGNS = ("simple", "proportional", "neyman_model", "neyman_true")


def assess_strata(
    y: npt.ArrayLike,
    strata: npt.ArrayLike,
    sizes: Mapping[int, int],
    *,
    r2: Mapping[int, float] | None = None,
    target: float = 20.0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Say of each stratum how well its mean is known, and what it lacks.

    `y` and `strata` (n,) are the measured values and their stratum, two of each at
    least, with a mean above 0 (a ValueError if not); `sizes` the candidates in each
    stratum, not fewer; `r2` that of a model in each stratum, on samples that it has not
    seen; `target` the relative error that is asked for, half-width of the interval (of
    `level`) in percent of the mean. By stratum: n, mean, sd, lower (the conservative
    estimate), relative_error (%), n_more (further samples to plan for) and flags, in
    words.
    """
    values, groups = check_vector(y, "y"), np.asarray(strata)
    check_rows(groups, "strata", values, "y")
    rows = {}
    for name, part in pd.Series(values).groupby(groups):
        n, mean, sd, size = len(part), part.mean(), part.std(ddof=1), sizes[name]
        if not (2 <= n <= size and mean > 0):
            msg = (
                f"Stratum {name} must have from 2 samples to its size, {size}, and a "
                f"mean above 0, got {n} with mean {mean:.3g}. Join it with another."
            )
            raise ValueError(msg)
        half_width = t_quantile(n - 1, level) * sd * np.sqrt((1 - n / size) / n)
        enough = n_for_half_width(sd, size, target / 100 * mean, level=level)
        told = {
            f"fewer than {N_FEW} samples": n < N_FEW,
            f"R2 below {R2_WEAK:g}": (r2 or {}).get(name, 1) < R2_WEAK,
            f"error above {target:g} %": half_width > target / 100 * mean,
        }
        rows[name] = {
            "n": n,
            "mean": mean,
            "sd": sd,
            "lower": max(mean - half_width, 0),
            "relative_error": 100 * half_width / mean,
            "n_more": max(enough - n, 0),
            "flags": ", ".join(words for words, is_so in told.items() if is_so),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("stratum")


def simulate_draws(
    y: npt.ArrayLike,
    strata: npt.ArrayLike,
    n_drawn: npt.ArrayLike,
    *,
    n_draws: int = 2000,
    level: float = 0.95,
    seed: int = 1,
) -> pd.DataFrame:
    """Draw again and again from a population whose values are all known.

    `y` and `strata` (n_population,) are the true values and the stratum of each, one
    for simple draws; `n_drawn` (n_strata,) the samples of each stratum, at least 2, by
    increasing stratum; `level` is that of the interval, `seed` that of all `n_draws`.
    A row a draw: mean, half_width (of its t interval), is_covered (whether it holds the
    true mean) and relative_error (half-width in percent of the draw's mean).
    """
    check_int(n_draws, "n_draws", 1)
    values, rng = check_vector(y, "y"), np.random.default_rng(seed)
    names, counts = np.unique(strata, return_counts=True)
    mean, variance = np.zeros(n_draws), np.zeros(n_draws)
    for name, size, n in zip(names, counts, np.asarray(n_drawn), strict=True):
        keys = rng.random((n_draws, size))
        found = values[np.asarray(strata) == name][keys.argpartition(n - 1)[:, :n]]
        share = size / len(values)
        mean += share * found.mean(axis=1)
        variance += share**2 * (1 - n / size) * found.var(axis=1, ddof=1) / n
    half_width = t_quantile(np.sum(n_drawn) - len(names), level) * np.sqrt(variance)
    table = pd.DataFrame({"mean": mean, "half_width": half_width})
    table["is_covered"] = np.abs(mean - values.mean()) <= half_width
    return table.assign(relative_error=100 * half_width / mean)


def judge_stopping(draws: pd.DataFrame, truth: float, target: float = 20.0) -> dict:
    """Return what becomes of draws, and of those at which one stops as they pass.

    `draws` are those of `simulate_draws`, `truth` is the true mean and `target` the
    relative error in percent at which a draw passes. All in percent: passed, covered,
    covered_passed, and the mean error of the means, bias and bias_passed; NaN where
    none passes.
    """
    passed = draws[draws["relative_error"] <= target]
    return {
        "passed": 100 * len(passed) / len(draws),
        "covered": 100 * draws["is_covered"].mean(),
        "covered_passed": 100 * passed["is_covered"].mean(),
        "bias": 100 * (draws["mean"].mean() / truth - 1),
        "bias_passed": 100 * (passed["mean"].mean() / truth - 1),
    }


def describe_strata(
    y: npt.ArrayLike, strata: npt.ArrayLike, planned_sd: npt.ArrayLike
) -> pd.DataFrame:
    """Return the strata of a population whose values are all known.

    `y` and `strata` (n_population,) are the true values and the stratum of each,
    `planned_sd` (n_strata,) what a model expects, as of `stratum_sd`. The table's index
    is stratum; columns size, mean, sd (divided by N_h - 1) and planned_sd.
    """
    groups = pd.Series(check_vector(y, "y")).groupby(np.asarray(strata))
    table = groups.agg(size="size", mean="mean", sd="std").rename_axis("stratum")
    return table.assign(planned_sd=check_sd(planned_sd, len(table)))


def compare_designs(
    strata: pd.DataFrame,
    *,
    target: float = 20.0,
    at: Sequence[int] = (),
    level: float = 0.95,
) -> pd.DataFrame:
    """Return how many samples each design needs in a population that is known.

    `strata` are as of `describe_strata`; `target` is the half-width that is asked for,
    in percent of the mean, of the interval of `level`; `at` are numbers of samples
    whose relative error is wanted, too. By design, of `SAMPLING_DESIGNS`
    ("neyman_model" is allocated by `planned_sd`, "neyman_true" by the truth: a bound):
    n_needed, and the expected relative error in percent at each number of `at`, NaN
    below two a stratum and above the population.

    >>> table = describe_strata([4, 5, 6, 10, 20, 30], [1, 1, 1, 2, 2, 2], [1, 9])
    >>> compare_designs(table, target=60)["n_needed"].tolist()
    [5, 5, 5, 5]
    """
    sizes, mean, sd, model = strata[["size", "mean", "sd", "planned_sd"]].T.to_numpy()
    n_h, n_all = sizes.astype(int), np.array([sizes.sum()], dtype=int)
    grand = sizes @ mean / sizes.sum()
    squares = (sizes - 1) @ sd**2 + sizes @ (mean - grand) ** 2
    whole = np.sqrt(squares / (n_all - 1))
    plans = (  # of each design: its strata, their truth, what they are allocated by
        (n_all, whole, whole),
        (n_h, sd, np.ones(len(n_h))),
        (n_h, sd, model),
        (n_h, sd, sd),
    )
    rows = {}
    for name, (known, truth, planned) in zip(SAMPLING_DESIGNS, plans, strict=True):
        options = {"planned_sd": planned, "level": level}
        n = n_for_half_width(truth, known, target / 100 * grand, **options)
        rows[name] = {"n_needed": n} | dict.fromkeys(at, np.nan)
        for k in (k for k in at if 2 * len(known) <= k <= known.sum()):
            drawn = allocate(known, k, sd=planned)
            found = expected_half_width(known, drawn, truth, level)
            rows[name][k] = 100 * found / grand
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("design")
