"""Intervals of regional networks: how many hold the truth, within and under shift."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from soilnb._validation import Floats, Rows
from soilnb.datasets import Sites
from soilnb.study.intervals import conformal_size, cv_plus
from soilnb.transfer import regional as transfer
from soilnb.transfer.regional import Base, Task

if TYPE_CHECKING:
    from soilnb.study.regional import Global

Ends = tuple[Floats, Floats]  # lower, upper

SIZES = (20, 50, 100, 300)  # regional samples
N_FOLDS, N_EPOCHS, N_MENDING = 10, 20, 20
N_STARTS = 5  # networks of the deep ensemble; the first is the global network
LEVEL, NORMAL = 0.9, 1.6449  # of intervals; standard deviations of a normal one


def shifted_intervals(
    sites: Sites, inside: Rows, models: Global, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Return the intervals of the global models, and with 20 regional samples."""
    y, starts = sites.y[inside], models.predicted[:, inside]
    spreads = {
        "mc_dropout": transfer.dropout_passes(models.bases[0], sites.X[inside]),
        "deep_ensemble": _spread(starts),
    }
    ends = {name: _around(m, NORMAL * s) for name, (m, s) in spreads.items()}
    sizes, of_split = models.split
    ends["split_conformal"] = _around(of_split, conformal_size(sizes, level=LEVEL))
    ends["cv_plus"] = cv_plus(*models.members, level=LEVEL, lowest=-np.inf)
    facts = {"setting": "shift", "n": len(models.others), "draw": 1}
    found = _count(y, ends, facts)

    few, test = np.split(rng.permutation(len(inside)), [N_MENDING])
    missed, ends = y - starts[0], {}
    for name, (mean, sd) in spreads.items():
        share = conformal_size((y - mean)[few] / sd[few], level=LEVEL)
        ends[name] = _around(mean[test], share * sd[test])
    size = conformal_size(missed[few], level=LEVEL)
    ends["split_conformal"] = _around(starts[0][test], size)
    parts = transfer.split_rows(few, N_FOLDS, rng)
    biases = np.array([transfer.regional_bias(missed[train]) for train, _ in parts])
    left = [missed[b] - bias for (_, b), bias in zip(parts, biases, strict=True)]
    ends["cv_plus"] = _plus(left, starts[0][test] + biases[:, None])
    return found + _count(y[test], ends, facts | {"setting": "mended", "n": N_MENDING})


def regional_intervals(
    sites: Sites,
    inside: Rows,
    models: Global,
    rng: np.random.Generator,
    number: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Return the intervals of networks fine-tuned with n samples of the region."""
    shuffled = rng.permutation(inside)
    spare = max(len(inside) - SIZES[-1], 40)  # so that the largest n fits
    n_test = max(min(len(inside) // 5, spare), min(40, len(inside) // 2))
    test = shuffled[-n_test:]
    tasks: list[Task] = []
    left: dict[int, list[tuple[Rows, Rows]]] = {}
    for n in [n for n in SIZES if n <= len(inside) - n_test]:
        rows = shuffled[:n]
        n_kept = n - max(9, n // 3)  # 9 residuals are the fewest for a level of 0.9
        left[n] = [(rows[:n_kept], rows[n_kept:])]
        left[n] += transfer.split_rows(rows, N_FOLDS, rng)
        tasks += [Task(rows, test, n_epochs=N_EPOCHS, start=i) for i in range(N_STARTS)]
        tasks += [Task(a, np.r_[b, test], n_epochs=N_EPOCHS) for a, b in left[n]]
    options: dict[str, Any] = {"n_epochs": N_EPOCHS, "seed": seed}
    options["bases"] = models.bases
    trained = iter(transfer.train_networks(sites.X, sites.y, tasks, **options))
    found = []
    for n, parts in left.items():
        starts = [next(trained) for _ in range(N_STARTS)]
        halves = [np.split(next(trained).predicted, [len(b)]) for _, b in parts]
        both = zip(parts, halves, strict=True)
        missed = [sites.y[b] - own for (_, b), (own, _) in both]
        tuned = Base(starts[0].weights, starts[0].fold.scaling)
        spreads = {
            "mc_dropout": transfer.dropout_passes(tuned, sites.X[test], seed=seed),
            "deep_ensemble": _spread(np.stack([one.predicted for one in starts])),
        }
        ends = {name: _around(m, NORMAL * s) for name, (m, s) in spreads.items()}
        size = conformal_size(missed[0], level=LEVEL)
        ends["split_conformal"] = _around(halves[0][1], size)
        ends["cv_plus"] = _plus(missed[1:], np.stack([on for _, on in halves[1:]]))
        facts = {"setting": "within", "n": n, "draw": number}
        found += _count(sites.y[test], ends, facts)
    return found


def _spread(starts: Floats) -> Ends:
    """Return mean and standard deviation of networks with other first weights."""
    return starts.mean(axis=0), starts.std(axis=0, ddof=1)


def _around(middle: Floats, size: Floats | float) -> Ends:
    """Return the ends of symmetric intervals."""
    return middle - size, middle + size


def _plus(residuals: list[Floats], each: Floats) -> Ends:
    """Return CV+ intervals from the residuals and the predictions of each fold."""
    places = np.repeat(np.arange(len(residuals)), [len(part) for part in residuals])
    joined = np.concatenate(residuals)
    return cv_plus(joined, places, each, level=LEVEL, lowest=-np.inf)


def _count(
    y: Floats, ends: Mapping[str, Ends], facts: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return of each method how many intervals hold the truth, and their width."""
    rows = []
    for method, (lower, upper) in ends.items():
        held, width = np.mean((lower <= y) & (y <= upper)), np.mean(upper - lower)
        found = {"coverage": float(held), "width": float(width)}
        rows.append({"method": method} | facts | found)
    return rows


def summarise_coverage(coverage: pd.DataFrame) -> pd.DataFrame:
    """Return the coverage and width of intervals, a row for setting, method and n.

    `lowest` and `highest` are the coverage of the worst and the best region; under
    shift n is the mean number of sites elsewhere.
    """
    table = coverage.copy()
    is_shift = table["setting"] == "shift"
    table.loc[is_shift, "n"] = round(table.loc[is_shift, "n"].mean())
    keys = ["setting", "method", "n"]
    regional = table.groupby([*keys, "region"])[["coverage", "width"]].mean()
    over = regional.groupby(keys, sort=False)
    most = over["coverage"].agg(lowest="min", highest="max")
    return over.mean().join(most).assign(regions=over.size()).reset_index()
