"""What a global model is worth in a region that it has not seen, and how sure it is.

Each region is left out in turn; what is computed for one is kept in a file of its own,
so that an interrupted study goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilnb._files import digest, replacing
from soilnb.baselines import fit_random_forest
from soilnb.datasets import Sites
from soilnb.metrics import ccc, r2, rmse
from soilnb.selection import (
    adjacent_region,
    block_cells,
    group_folds,
    hold_out,
    random_folds,
    stratified_folds,
)
from soilnb.study.intervals import conformal_size, cv_plus
from soilnb.transfer import regional as transfer
from soilnb.transfer.regional import Base, Task

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

SIZES = (5, 10, 20, 50, 100)  # regional samples of the learning curves
INTERVAL_SIZES = (20, 50, 100, 300)
N_FOLDS, N_FOLDS_PLUS = 5, 10
GLOBAL_EPOCHS, EPOCHS, FIXED_EPOCHS = 12, 40, 20
LONGEST_PATH = 20  # regional samples up to which the path is kept
N_STARTS = 5  # networks of the deep ensemble; the first is the global network
N_TREES, FOLD_TREES, POOLED_TREES = 60, 20, 30
N_POOLED, POOLED_WEIGHT = 500, 10.0  # sites of elsewhere; of a regional one
LEVEL, NORMAL = 0.9, 1.6449  # of intervals; standard deviations of a normal one
N_MENDING = 20
SCHEMES = ("random", "stratified", "blocked", "regions")
TABLES = ("scores", "path", "weights", "coverage")
N_NEIGHBOURS = 5


class Draw(NamedTuple):
    """Regional samples of one size from one draw, and the draw's test sites."""

    number: int
    rows: Rows
    test: Rows

    @property
    def facts(self) -> dict[str, int]:
        """What names it in a table."""
        return {"n": len(self.rows), "draw": self.number}


class Global(NamedTuple):
    """What networks of all other regions say of one region."""

    others: Rows
    bases: list[Base]  # of all other regions; the first is the global network
    predicted: Floats  # (n_starts, n_sites), NaN outside the region
    split: tuple[Floats, Floats]  # |residuals| of a fifth, predictions of the region
    members: tuple[Floats, Rows, Floats]  # residuals, folds, predictions of the region
    prior_sd: float  # of regions' mean residuals


def study_regions(
    sites: Sites,
    table: str,
    *,
    folder: Path,
    n_regions: int,
    n_draws: int,
    seed: int = 1,
    progress: Callable[[int, int, str], object] | None = None,
) -> pd.DataFrame:
    """Return one table of all regions, computed region by region.

    Parameters
    ----------
    sites : Sites
        Covariates and property of all regions.
    table : str
        "scores" (region, model, n, draw, rmse, r2, ccc), "path" (RMSE of the test by
        epoch of fine-tuning), "weights" (of the global model) or "coverage" (of
        intervals).
    folder : Path
        Where each region's tables are kept; what is there is not computed again.
    n_regions : int
        The first so many regions.
    n_draws : int
        Splits of each region into samples and test.
    seed : int, default 1
        Of draws and networks.
    progress : callable, optional
        Called as progress(done, total, text), in regions.

    Returns
    -------
    DataFrame

    Notes
    -----
    Half of a region's sites are its test; a draw's samples of different size are
    nested. Only the model that says so in its name is stopped by the test.
    """
    parts = []
    chosen = sites.regions[:n_regions]
    for done, region in enumerate(chosen, start=1):
        file = folder / f"{digest(region)[:8]}.json"
        if not file.is_file():
            found = study_region(sites, region, n_draws=n_draws, seed=seed)
            with replacing(file) as partial:
                partial.write_text(json.dumps(found))
        if progress is not None:
            progress(done, len(chosen), f"{done} of {len(chosen)} regions")
        parts.append(pd.DataFrame(json.loads(file.read_text())[table]))
    return pd.concat(parts, ignore_index=True)


def study_region(
    sites: Sites, region: str, *, n_draws: int, seed: int = 1
) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of all `TABLES` of one region; see `study_regions`."""
    inside = np.flatnonzero(sites.region == region)
    rng = np.random.default_rng([seed, *region.encode()])
    draws = _draws(inside, n_draws, rng)
    models = learn_globally(sites, inside, seed=seed)
    predictions, path = _tuned(sites, draws, models, rng, seed)
    weights, components = [], _scores(sites.X, inside)
    for draw, found in zip(draws, predictions, strict=True):
        found |= _corrected(sites, draw, models)
        weights.append(_blended(sites, components, draw, models, rng, found))
    scores = [
        draw.facts | {"model": model} | _errors(sites.y[draw.test], predicted)
        for draw, found in zip(draws, predictions, strict=True)
        for model, predicted in found.items()
    ]
    coverage = _shifted(sites, inside, models, rng)
    for number in range(1, min(n_draws, 2) + 1):
        coverage += _within(sites, inside, models, rng, number, seed)
    tables = dict(zip(TABLES, (scores, path, weights, coverage), strict=True))
    return {
        name: [{"region": region} | row for row in rows]
        for name, rows in tables.items()
    }


def _draws(inside: Rows, n_draws: int, rng: np.random.Generator) -> list[Draw]:
    """Return the samples of each draw and size; of a draw they are nested."""
    draws = []
    for number in range(1, n_draws + 1):
        shuffled = rng.permutation(inside)
        test, pool = np.split(shuffled, [len(inside) // 2])
        sizes = [n for n in SIZES if n <= len(pool)]
        draws += [Draw(number, pool[:n], test) for n in sizes]
    return draws


def _errors(y: Floats, predicted: Floats) -> dict[str, float]:
    """Return the scores of the test sites."""
    return {
        "rmse": rmse(y, predicted),
        "r2": r2(y, predicted),
        "ccc": ccc(y, predicted),
    }


def learn_globally(sites: Sites, inside: Rows, *, seed: int = 1) -> Global:
    """Train on all other regions, with the epochs that suit regions left out."""
    others = np.setdiff1d(np.arange(len(sites)), inside)
    if len(np.unique(sites.region[others])) < N_FOLDS:
        folds = random_folds(len(others), N_FOLDS, seed)
    else:
        folds = group_folds(sites.region[others], N_FOLDS, seed)
    left = [others[folds == k] for k in range(N_FOLDS)]
    tasks = [
        Task(np.setdiff1d(others, rows), np.r_[rows, inside], watch=rows)
        for rows in left
    ]
    settings: dict[str, Any] = {"n_epochs": GLOBAL_EPOCHS, "large": True, "seed": seed}
    members = transfer.train_networks(sites.X, sites.y, tasks, **settings)
    n_epochs = max(1, int(np.median([1 + one.history.argmin() for one in members])))
    residuals = np.concatenate(
        [
            sites.y[rows] - one.predicted[: len(rows)]
            for rows, one in zip(left, members, strict=True)
        ]
    )
    seen = np.concatenate(left)
    held = hold_out(len(others), seed=seed)
    tasks = [Task(others, inside, n_epochs=n_epochs) for _ in range(N_STARTS)]
    fifth = others[held]
    tasks.append(Task(others[~held], np.r_[fifth, inside], n_epochs=n_epochs))
    settings["n_epochs"] = n_epochs
    *starts, split = transfer.train_networks(sites.X, sites.y, tasks, **settings)
    predicted = np.full((N_STARTS, len(sites)), np.nan)
    predicted[:, inside] = [one.predicted for one in starts]
    sizes = np.abs(sites.y[fifth] - split.predicted[: len(fifth)])
    places = np.repeat(np.arange(N_FOLDS), [len(rows) for rows in left])
    of_region = np.stack([one.predicted[-len(inside) :] for one in members])
    return Global(
        others,
        [Base(one.weights, one.fold.scaling) for one in starts],
        predicted,
        (sizes, split.predicted[-len(inside) :]),
        (residuals, places, of_region),
        _prior_sd(residuals, sites.region[seen]),
    )


def _prior_sd(residuals: Floats, region: npt.NDArray) -> float:
    """Return how far the mean residuals of regions lie apart, beyond their errors."""
    by_region = pd.Series(residuals).groupby(region)
    errors = by_region.var() / by_region.size()
    return float(max(by_region.mean().pow(2).mean() - errors.mean(), 0.0) ** 0.5)


def _tuned(
    sites: Sites,
    draws: Sequence[Draw],
    models: Global,
    rng: np.random.Generator,
    seed: int,
) -> tuple[list[dict[str, Floats]], list[dict[str, Any]]]:
    """Return what each draw's own networks predict, and the path of fine-tuning."""
    folds = [transfer.split_rows(draw.rows, N_FOLDS, rng) for draw in draws]
    first = models.predicted[0]
    kinds: dict[str, dict[str, Any]] = {
        "fine_tuned": {"bases": models.bases[:1]},
        "fine_tuned_head": {"bases": models.bases[:1], "n_frozen": transfer.HEAD},
        "regional_network": {"scaling": models.bases[0].scaling},
    }
    found: list[dict[str, Floats]] = [{} for _ in draws]
    path: list[dict[str, Any]] = []
    for kind, options in kinds.items():
        options |= {"n_epochs": EPOCHS, "seed": seed}
        tasks = [Task(a, b, watch=b) for parts in folds for a, b in parts]
        tried = iter(transfer.train_networks(sites.X, sites.y, tasks, **options))
        epochs = []
        for draw, parts in zip(draws, folds, strict=True):
            histories = [next(tried).history for _ in parts]
            base = rmse(sites.y[draw.rows], first[draw.rows])
            base = base if "bases" in options else np.inf
            sizes = [len(b) for _, b in parts]
            epochs.append(transfer.best_epoch(histories, sizes, base))
        tasks = [
            Task(draw.rows, draw.test, n_epochs=max(epoch, 1))
            for draw, epoch in zip(draws, epochs, strict=True)
        ]
        if kind == "fine_tuned":
            tasks += [Task(draw.rows, draw.test, n_epochs=EPOCHS) for draw in draws]
            tasks += [Task(draw.rows, draw.test, watch=draw.test) for draw in draws]
        trained = transfer.train_networks(sites.X, sites.y, tasks, **options)
        for place, (draw, epoch) in enumerate(zip(draws, epochs, strict=True)):
            stopped = trained[place].predicted if epoch else first[draw.test]
            found[place][kind] = stopped
            if kind == "fine_tuned":
                free, faked = (trained[place + i * len(draws)] for i in (1, 2))
                found[place]["fine_tuned_no_stop"] = free.predicted
                untouched = rmse(sites.y[draw.test], first[draw.test])
                is_worse = untouched <= faked.history.min()
                best = first[draw.test] if is_worse else faked.predicted
                found[place]["fine_tuned_test_stop"] = best
                rows = enumerate([untouched, *faked.history])
                if len(draw.rows) > LONGEST_PATH:
                    continue
                facts = draw.facts | {"stop": epoch}
                path += [facts | {"epoch": i, "rmse": float(v)} for i, v in rows]
    return found, path


def _corrected(sites: Sites, draw: Draw, models: Global) -> dict[str, Floats]:
    """Return the global network's predictions, as they are and less their bias."""
    first = models.predicted[0]
    residuals = sites.y[draw.rows] - first[draw.rows]
    shrunk = transfer.regional_bias(residuals, prior_sd=models.prior_sd)
    return {
        "global_network": first[draw.test],
        "bias_corrected": first[draw.test] + transfer.regional_bias(residuals),
        "bias_shrunk": first[draw.test] + shrunk,
    }


def _blended(
    sites: Sites,
    scores: Floats,
    draw: Draw,
    models: Global,
    rng: np.random.Generator,
    found: dict[str, Floats],
) -> dict[str, Any]:
    """Add the forests and the ensembles to `found`; return the ensembles' weights."""
    seed = int(rng.integers(2**31))
    first, y, rows = models.predicted[0], sites.y[draw.rows], draw.rows
    forest = fit_random_forest(sites.X[rows], y, seed=seed, n_trees=N_TREES)
    regional = forest.predict(sites.X[draw.test])
    left_out = np.empty(len(rows))
    for train, part in transfer.split_rows(np.arange(len(rows)), N_FOLDS, rng):
        of_fold = sites.X[rows[train]], y[train]
        fold = fit_random_forest(*of_fold, seed=seed, n_trees=FOLD_TREES)
        left_out[part] = fold.predict(sites.X[rows[part]])
    honest = transfer.ensemble_weight(y, first[rows], left_out)
    fitted = transfer.ensemble_weight(y, first[rows], forest.predict(sites.X[rows]))
    gate = transfer.fit_gate(y, first[rows], left_out, scores[rows])
    by_place = transfer.gate_weights(gate, scores[draw.test])
    found["regional_forest"] = regional
    found["pooled_forest"] = _pooled(sites, draw, models.others, rng)
    weights: dict[str, Any] = {
        "ensemble_out_of_fold": honest,
        "ensemble_gated": by_place,
        "ensemble_in_sample": fitted,
    }
    for model, weight in weights.items():
        found[model] = weight * first[draw.test] + (1 - weight) * regional
    return draw.facts | {key: float(np.mean(value)) for key, value in weights.items()}


def _scores(X: Floats, inside: Rows) -> Floats:
    """Return two standardised principal components of a region's covariates."""
    centred = X[inside] - X[inside].mean(axis=0)
    spread = centred.std(axis=0)
    scaled = centred / np.where(spread > 0, spread, 1.0)
    _, axes = np.linalg.eigh(scaled.T @ scaled)
    projected = scaled @ axes[:, -2:]
    scores = np.full((len(X), 2), np.nan)
    scores[inside] = projected / np.maximum(projected.std(axis=0), 1e-9)
    return scores


def _pooled(sites: Sites, draw: Draw, others: Rows, rng: np.random.Generator) -> Floats:
    """Return the predictions of a forest of all, in which the region weighs more."""
    few = rng.choice(others, min(N_POOLED, len(others)), replace=False)
    rows = np.r_[few, draw.rows]
    weights = np.r_[np.ones(len(few)), np.full(len(draw.rows), POOLED_WEIGHT)]
    options: dict[str, Any] = {
        "n_trees": POOLED_TREES,
        "max_features": 1 / 3,
        "weights": weights,
    }
    seed = int(rng.integers(2**31))
    forest = fit_random_forest(sites.X[rows], sites.y[rows], seed=seed, **options)
    return forest.predict(sites.X[draw.test])


def _interval(y: Floats, lower: Floats, upper: Floats, **facts: Any) -> dict[str, Any]:
    """Return how many intervals hold the truth, and how wide they are."""
    held = (lower <= y) & (y <= upper)
    width = float(np.mean(upper - lower))
    return facts | {"coverage": float(held.mean()), "width": width}


def _shifted(
    sites: Sites, inside: Rows, models: Global, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Return the intervals of the global models, and with 20 regional samples."""
    y = sites.y[inside]
    starts = models.predicted[:, inside]
    passes = transfer.dropout_passes(models.bases[0], sites.X[inside])
    spreads = {
        "mc_dropout": passes,
        "deep_ensemble": (starts.mean(axis=0), starts.std(axis=0, ddof=1)),
    }
    size = conformal_size(models.split[0], level=LEVEL)
    ends = {name: (m - NORMAL * s, m + NORMAL * s) for name, (m, s) in spreads.items()}
    ends["split_conformal"] = (models.split[1] - size, models.split[1] + size)
    ends["cv_plus"] = cv_plus(*models.members, level=LEVEL, lowest=-np.inf)
    facts: dict[str, Any] = {"setting": "shift", "n": len(models.others), "draw": 1}
    found = [_interval(y, *two, method=name, **facts) for name, two in ends.items()]
    few, test = np.split(rng.permutation(len(inside)), [N_MENDING])
    mended = {}
    for name, (mean, sd) in spreads.items():
        share = conformal_size((y - mean)[few] / sd[few], level=LEVEL)
        mended[name] = (mean - share * sd)[test], (mean + share * sd)[test]
    size = conformal_size((y - starts[0])[few], level=LEVEL)
    mended["split_conformal"] = (starts[0] - size)[test], (starts[0] + size)[test]
    parts = transfer.split_rows(few, N_FOLDS_PLUS, rng)
    missed = y - starts[0]
    biases = [transfer.regional_bias(missed[train]) for train, _ in parts]
    residuals = [missed[b] - o for (_, b), o in zip(parts, biases, strict=True)]
    places = np.repeat(np.arange(len(parts)), [len(b) for _, b in parts])
    each = starts[0][test] + np.array(biases)[:, None]
    plus = cv_plus(np.concatenate(residuals), places, each, level=LEVEL, lowest=-np.inf)
    mended["cv_plus"] = plus
    facts |= {"setting": "mended", "n": N_MENDING}
    return found + [
        _interval(y[test], *two, method=name, **facts) for name, two in mended.items()
    ]


def _within(
    sites: Sites,
    inside: Rows,
    models: Global,
    rng: np.random.Generator,
    number: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Return the intervals of networks fine-tuned with n samples of the region."""
    shuffled = rng.permutation(inside)
    spare = max(len(inside) - INTERVAL_SIZES[-1], 40)  # so that the largest n fits
    n_test = max(min(len(inside) // 5, spare), min(40, len(inside) // 2))
    test = shuffled[-n_test:]
    sizes = [n for n in INTERVAL_SIZES if n <= len(inside) - n_test]
    tasks: list[Task] = []
    left: list[list[tuple[Rows, Rows]]] = []
    for n in sizes:
        rows = shuffled[:n]
        n_kept = n - max(9, n // 3)  # 9 residuals are the fewest for a level of 0.9
        own = [(rows[:n_kept], rows[n_kept:])]
        left.append(own + transfer.split_rows(rows, N_FOLDS_PLUS, rng))
        tasks += [
            Task(rows, test, n_epochs=FIXED_EPOCHS, start=i) for i in range(N_STARTS)
        ]
        tasks += [Task(a, np.r_[b, test], n_epochs=FIXED_EPOCHS) for a, b in left[-1]]
    options: dict[str, Any] = {
        "bases": models.bases,
        "n_epochs": FIXED_EPOCHS,
        "seed": seed,
    }
    trained = iter(transfer.train_networks(sites.X, sites.y, tasks, **options))
    y, found = sites.y[test], []
    for n, parts in zip(sizes, left, strict=True):
        starts = [next(trained) for _ in range(N_STARTS)]
        split, *folds = [next(trained) for _ in parts]
        tuned = Base(starts[0].weights, starts[0].fold.scaling)
        passes = transfer.dropout_passes(tuned, sites.X[test])
        each = np.stack([one.predicted for one in starts])
        ends = {
            name: (mean - NORMAL * sd, mean + NORMAL * sd)
            for name, (mean, sd) in {
                "mc_dropout": passes,
                "deep_ensemble": (each.mean(axis=0), each.std(axis=0, ddof=1)),
            }.items()
        }
        missed = [
            sites.y[b] - one.predicted[: len(b)]
            for (_, b), one in zip(parts, [split, *folds], strict=True)
        ]
        size = conformal_size(missed[0], level=LEVEL)
        middle = split.predicted[-n_test:]
        ends["split_conformal"] = (middle - size, middle + size)
        places = np.repeat(np.arange(len(folds)), [len(m) for m in missed[1:]])
        of_test = np.stack([one.predicted[-n_test:] for one in folds])
        residuals = np.concatenate(missed[1:])
        ends["cv_plus"] = cv_plus(
            residuals, places, of_test, level=LEVEL, lowest=-np.inf
        )
        facts: dict[str, Any] = {"setting": "within", "n": n, "draw": number}
        found += [_interval(y, *two, method=m, **facts) for m, two in ends.items()]
    return found


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
    found = over.mean()
    found["lowest"] = over["coverage"].min()
    found["highest"] = over["coverage"].max()
    found["regions"] = over.size()
    return found.reset_index()


def scheme_folds(sites: Sites, scheme: str, seed: int) -> npt.NDArray[np.intp]:
    """Return the folds of one of `SCHEMES`."""
    cells = block_cells(sites.info["latitude"], sites.info["longitude"])
    if scheme == "random":
        return random_folds(len(sites), N_FOLDS, seed)
    if scheme == "stratified":
        return stratified_folds(cells, N_FOLDS, seed)
    groups = cells if scheme == "blocked" else sites.region
    n_groups = len(np.unique(groups))
    return group_folds(groups, min(N_FOLDS, n_groups), seed)


def compare_schemes(
    sites: Sites,
    *,
    seed: int = 1,
    n_trees: int = N_TREES,
    progress: Callable[[int, int, str], object] | None = None,
) -> pd.DataFrame:
    """Return R2 by validation scheme and model: scheme, model, r2.

    R2 is of all predictions together, each made by models of the other folds.
    """
    folds = {scheme: scheme_folds(sites, scheme, seed) for scheme in SCHEMES}
    parts = [
        (scheme, np.flatnonzero(of != k), np.flatnonzero(of == k))
        for scheme, of in folds.items()
        for k in np.unique(of)
    ]
    tasks = [Task(train, left, n_epochs=GLOBAL_EPOCHS) for _, train, left in parts]
    options: dict[str, Any] = {"n_epochs": GLOBAL_EPOCHS, "large": True, "seed": seed}
    trained = transfer.train_networks(sites.X, sites.y, tasks, **options)
    predicted: dict[tuple[str, str], Floats] = {}
    for done, net in enumerate(trained):
        scheme, train, left = parts[done]
        made = _plain_models(sites, train, left, seed, n_trees)
        for model, values in (made | {"network": net.predicted}).items():
            key = (scheme, model)
            predicted.setdefault(key, np.empty(len(sites)))[left] = values
        if progress is not None:
            progress(done + 1, len(parts), f"{done + 1} of {len(parts)} folds")
    rows = [(*key, r2(sites.y, values)) for key, values in predicted.items()]
    return pd.DataFrame(rows, columns=["scheme", "model", "r2"])


def _plain_models(
    sites: Sites, train: Rows, left: Rows, seed: int, n_trees: int
) -> dict[str, Floats]:
    """Return the predictions of forest, boosting and nearest neighbours."""
    import joblib
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.neighbors import KNeighborsRegressor
    from threadpoolctl import threadpool_limits

    X, y = sites.X[train], sites.y[train]
    options: dict[str, Any] = {"n_trees": n_trees, "max_features": 1 / 3, "seed": seed}
    with joblib.parallel_config(backend="threading", n_jobs=2):
        forest = fit_random_forest(X, y, **options).predict(sites.X[left])
    boosting = HistGradientBoostingRegressor(
        max_iter=200, learning_rate=0.06, random_state=seed
    )
    places = sites.info[["latitude", "longitude"]].to_numpy(np.float64)
    near = KNeighborsRegressor(N_NEIGHBOURS).fit(places[train], y)
    with threadpool_limits(1, user_api="openmp"):  # threads that wait for a busy core
        boosted = boosting.fit(X, y).predict(sites.X[left])
    return {
        "forest": forest,
        "boosting": boosted,
        "neighbours": near.predict(places[left]),
    }


def compare_levels(sites: Sites, *, n_regions: int, seed: int = 1) -> pd.DataFrame:
    """Return R2 of each region's forest at home and in the adjacent region.

    Columns: region, adjacent (its name), hold_out (R2 of a fifth of the region's own
    sites), elsewhere (R2 of all sites of the adjacent region, same forest).
    """
    rows = []
    latitude, longitude = (sites.info[key] for key in ("latitude", "longitude"))
    for region in sites.regions[:n_regions]:
        inside = np.flatnonzero(sites.region == region)
        held = hold_out(len(inside), seed=seed)
        train, test = inside[~held], inside[held]
        other = adjacent_region(latitude, longitude, sites.region, region)
        there = np.flatnonzero(sites.region == other)
        options: dict[str, Any] = {
            "seed": seed,
            "n_trees": N_TREES,
            "max_features": 1 / 3,
        }
        forest = fit_random_forest(sites.X[train], sites.y[train], **options)
        home, away = (
            r2(sites.y[some], forest.predict(sites.X[some])) for some in (test, there)
        )
        rows.append((region, other, home, away))
    return pd.DataFrame(rows, columns=["region", "adjacent", "hold_out", "elsewhere"])


def map_cells(sites: Sites, *, size: float = 1.0) -> pd.DataFrame:
    """Return the sites by cells of a degree: place, region, sites, mean of `y`."""
    info = sites.info.assign(y=sites.y)
    corners = np.floor(info[["latitude", "longitude"]] / size) * size + size / 2
    keys = [corners["latitude"], corners["longitude"], info["region"]]
    found = info.groupby(keys)["y"].agg(["size", "mean"]).reset_index()
    return found.rename(columns={"size": "sites", "mean": "y"}).round(3)


def gains(scores: pd.DataFrame, baseline: str = "regional_forest") -> pd.DataFrame:
    """Return the change of RMSE in % against a baseline, by region, model and n.

    RMSE is the square root of the mean square over the draws; below zero is better.
    """
    squares = scores.assign(rmse=scores["rmse"] ** 2)
    means = squares.groupby(["region", "n", "model"])["rmse"].mean() ** 0.5
    wide = means.unstack("model")
    ratio = wide.div(wide[baseline], axis=0) - 1
    long = 100 * ratio.stack().rename("change")
    return long.reset_index()


def mean_gains(changes: pd.DataFrame, *, seed: int = 1) -> pd.DataFrame:
    """Return the mean change over regions by model and n, with its 95 % interval.

    Columns: model, n, change, low, high (bootstrap over regions), better (share of
    regions in which the model is better).
    """
    rng = np.random.default_rng(seed)
    rows = []
    for (model, n), part in changes.groupby(["model", "n"], sort=False):
        values = part["change"].to_numpy()
        means = rng.choice(values, (2000, len(values))).mean(axis=1)
        low, high = np.percentile(means, [2.5, 97.5])
        better = float((values < 0).mean())
        rows.append((model, n, values.mean(), low, high, better))
    columns = ["model", "n", "change", "low", "high", "better"]
    return pd.DataFrame(rows, columns=columns)


def crossing(means: pd.DataFrame, model: str, than: str = "global_network") -> Any:
    """Return the fewest samples from which on a model's mean is below another's."""
    wide = means.pivot_table(index="n", columns="model", values="change").sort_index()
    below = (wide[model] < wide[than]).to_numpy()[::-1]
    n_last = len(below) if below.all() else int(np.argmin(below))
    return wide.index[-n_last].item() if n_last else None
