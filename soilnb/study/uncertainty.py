"""How sure a result is, as far as other samples of a farm and other farms go."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from soilnb._validation import check_int, check_vector
from soilnb.study.scoring import compare

SIGN_FLIP_MOST = 17  # values; of more, 2^17 patterns of signs are drawn
LEVEL = 0.95  # of the interval over sites

# What is averaged over: the seeds. What is kept apart: all of these, where known.
_APART = ("library", "site", "kind", "n_local", "profile")


def paired(
    predictions: pd.DataFrame, *, reference: str = "local", seed: int = 1
) -> pd.DataFrame:
    """Return each method's gain over a reference at every site, over several seeds.

    As `compare`, for every site, number of local samples and kind of repetition. The
    seeds are averaged inside: a sample's squared error is its mean over the seeds, and
    the bootstrap draws samples, not predictions. Five predictions of one sample are
    one sample; to count them as five would make the interval too narrow.

    `predictions` has the columns site, seed, method, sample_id, measured, predicted;
    where there are library, kind, n_local and profile, each of theirs is compared by
    itself. A ValueError if a method has other test samples or seeds than the
    `reference`. `seed` is that of the bootstrap.

    One row per group and method: library, site, kind, n_local, profile (those there
    are), method, rmse (root of the mean square over samples and seeds), gain, low, high
    (its 95 % interval), delta_rmse, as of `compare`, n_test, n_seeds. The interval says
    how sure the gain is for other samples of the same farm, not for other local samples
    (see "random_splits") or other farms (`over_sites`). With random splits every seed
    has its own test samples, and a sample's error is averaged over the splits that
    tested it.

    """
    needed = ["site", "seed", "method", "sample_id", "measured", "predicted"]
    _check_columns(predictions, "predictions", needed)
    tables = []
    for names, part in _groups(predictions, _APART):
        _check_pairs(part, reference)
        squared = part.assign(squared=(part["predicted"] - part["measured"]) ** 2)
        of_sample = squared.groupby(["method", "sample_id"], as_index=False, sort=False)
        means = of_sample.agg({"measured": "first", "squared": "mean"})
        means["predicted"] = means["measured"] + np.sqrt(means["squared"])
        table = compare(means, reference=reference, seed=seed).reset_index()
        table["n_seeds"] = part["seed"].nunique()
        tables.append(table.assign(**names)[[*names, *table]])
    return pd.concat(tables, ignore_index=True)


def _check_columns(table: pd.DataFrame, name: str, needed: Iterable[str]) -> None:
    """Raise ValueError where a table lacks a column or has no row."""
    missing = [column for column in needed if column not in table]
    if missing:
        msg = f"{name!r} must have the column {missing[0]!r}, got {list(table)}."
        raise ValueError(msg)
    if table.empty:
        msg = f"{name!r} must have at least one row, got none."
        raise ValueError(msg)


def _groups(
    table: pd.DataFrame, keys: Iterable[str]
) -> Iterable[tuple[dict[str, Any], pd.DataFrame]]:
    """Yield what is kept apart, with its names; all at once where nothing is."""
    present = [key for key in keys if key in table]
    if not present:
        yield {}, table
        return
    for names, part in table.groupby(present, sort=False):
        yield dict(zip(present, names, strict=True)), part


def _check_pairs(part: pd.DataFrame, reference: str) -> None:
    """Raise ValueError unless all methods have the reference's samples, once a seed."""
    site = part["site"].iloc[0]
    rows = part.groupby("method")[["seed", "sample_id"]].agg(list)
    if reference not in rows.index:
        known = ", ".join(rows.index)
        msg = f"'reference' must be one of {known} at {site!r}, got {reference!r}."
        raise ValueError(msg)
    pairs = {
        method: sorted(zip(one["seed"], one["sample_id"], strict=True))
        for method, one in rows.iterrows()
    }
    for method, have in pairs.items():
        if have != pairs[reference] or len(set(have)) < len(have):
            msg = (
                f"'predictions' of {method!r} at {site!r} must be of the samples and "
                f"seeds of {reference!r}, each once, got {len(have)} rows for "
                f"{len(set(pairs[reference]))}. Keep the seeds that all methods have."
            )
            raise ValueError(msg)


def over_sites(scores: pd.DataFrame, *, reference: str = "local") -> pd.DataFrame:
    """Return how each method compares with a reference over all sites.

    The unit is the site: a farm with 400 test samples says no more about the next farm
    than one with 70. For every site and seed the logarithm of RMSE / RMSE of the
    reference is taken, averaged over the seeds, then over the sites.

    `scores` has the columns site, seed, method, rmse; where there are library, kind,
    n_local and profile, each of theirs is compared by itself. A ValueError if an RMSE
    is not above 0, or a method has two scores of one site and seed; a site without the
    `reference` is left out.

    One row per group and other method: library, kind, n_local, profile (those there
    are); method; ratio, the geometric mean of the sites' RMSE ratios (below 1 is
    better); low, high, its 95 % interval, from Student's t with the sites as the sample
    (NaN for one site); n_sites, n_better, sites with the method, and with a ratio below
    1; p_value, two-sided, of `sign_flip_test`; smallest_p, the smallest that so many
    sites could have given.

    Notes
    -----
    What few sites can show: if a method is truly no better and no worse, each site is
    as likely to favour it as not, so three sites never give a p-value below 0.25, and
    six are needed to go below 0.05. Sites also are no random sample of farms, and
    several methods are compared: a p-value here describes, it does not prove.

    Examples
    --------
    >>> scores = pd.DataFrame({
    ...     "site": ["a", "a", "b", "b"], "seed": 1,
    ...     "method": ["local", "global"] * 2, "rmse": [1.0, 2.0, 1.0, 0.5]})
    >>> table = over_sites(scores)
    >>> table[["method", "ratio", "n_sites", "n_better", "p_value"]].values.tolist()
    [['global', 1.0, 2, 1, 1.0]]
    """
    _check_columns(scores, "scores", ["site", "seed", "method", "rmse"])
    if not (scores["rmse"] > 0).all():
        msg = f"'rmse' must be above 0, got {scores['rmse'].min():g}."
        raise ValueError(msg)
    rows = []
    apart = [name for name in _APART if name != "site"]
    for names, part in _groups(scores, apart):
        ratios = _log_ratios(part, reference)
        rows += [
            names | {"method": method} | _summary(ratios[method].dropna().to_numpy())
            for method in dict.fromkeys(part["method"])
            if method != reference and ratios[method].notna().any()
        ]
    return pd.DataFrame(rows)


def _log_ratios(part: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Return a row for each site and a column for each method, seeds averaged."""
    keys = ["site", "seed", "method"]
    twice = part[part.duplicated(keys)]
    if len(twice):
        site, seed, method = twice.iloc[0][keys]
        msg = (
            f"'scores' must have one row per site, seed and method, got two of "
            f"{method!r} at {site!r} with seed {seed}. Drop one."
        )
        raise ValueError(msg)
    logs = np.log(part.pivot(index=["site", "seed"], columns="method", values="rmse"))
    if reference not in logs:
        msg = f"'reference' must be one of {', '.join(logs)}, got {reference!r}."
        raise ValueError(msg)
    return logs.sub(logs[reference], axis=0).groupby("site", sort=False).mean()


def _summary(logs: npt.NDArray[np.float64]) -> dict[str, float]:
    """Return mean ratio, interval, counts and p-values of the sites' log ratios."""
    n_sites, mean = len(logs), logs.mean()
    half = np.nan
    if n_sites > 1:
        quantile = stats.t.ppf((1 + LEVEL) / 2, n_sites - 1)
        half = quantile * logs.std(ddof=1) / np.sqrt(n_sites)
    ratio, low, high = np.exp([mean, mean - half, mean + half])
    return {
        "ratio": ratio,
        "low": low,
        "high": high,
        "n_sites": n_sites,
        "n_better": int((logs < 0).sum()),
        "p_value": sign_flip_test(logs),
        "smallest_p": smallest_p(n_sites),
    }


def sign_flip_test(values: npt.ArrayLike) -> float:
    """Return the two-sided p-value of the sign-flip test of a mean of zero.

    The share of all patterns of signs whose mean is at least as far from zero as the
    one seen, from `smallest_p` to 1: Fisher's randomisation test of paired differences
    (The Design of Experiments, 1935). `values`, (n,), are finite, independent and,
    without an effect, symmetric around zero. Exact for up to 17 of them; for more, 2^17
    random patterns stand for all.

    Of the eight sums of +-1, +-2 and +-3, two are as far from zero as 6.

    >>> sign_flip_test([1, 2, 3]), sign_flip_test([1, 2, -3])
    (0.25, 1.0)
    """
    differences = check_vector(values, "values")
    if len(differences) == 1:
        return 1.0  # either sign is as far from zero
    found = stats.permutation_test(
        (differences,),
        lambda sample, axis: sample.mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=2**SIGN_FLIP_MOST,
        batch=2**14,
        rng=1,
    )
    return float(found.pvalue)


def smallest_p(n_sites: int) -> float:
    """Return the smallest p-value that `sign_flip_test` can give for so many sites.

    Two of the 2^n patterns of signs are the most extreme ones.

    >>> smallest_p(3), smallest_p(6)
    (0.25, 0.03125)
    """
    check_int(n_sites, "n_sites", 1)
    return 2.0 ** (1 - n_sites)
