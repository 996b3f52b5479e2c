"""What a global model is worth in a region that it has not seen, and how sure it is."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilnb._files import digest, replacing
from soilnb._validation import Floats, Rows
from soilnb.baselines import fit_random_forest
from soilnb.datasets import Sites
from soilnb.metrics import ccc, r2, rmse
from soilnb.selection import group_folds, hold_out, random_folds
from soilnb.study.coverage import N_STARTS, regional_intervals, shifted_intervals
from soilnb.transfer import regional as transfer
from soilnb.transfer.regional import Base, Task

SIZES = (5, 10, 20, 50, 100)  # regional samples of the learning curves
N_FOLDS = 5
GLOBAL_EPOCHS, EPOCHS = 12, 40
LONGEST_PATH = 20  # regional samples up to which the path is kept
N_TREES, FOLD_TREES, POOLED_TREES = 60, 20, 30
N_POOLED, POOLED_WEIGHT = 500, 10.0  # sites of elsewhere; of a regional one
TABLES = ("scores", "path", "weights", "coverage")


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
    """Return one table of all regions, each left out in turn.

    `table` is "scores" (region, model, n, draw, rmse, r2, ccc), "path" (RMSE of the
    test by epoch of fine-tuning), "weights" (of the global model) or "coverage" (of
    intervals). What is computed for one of the first `n_regions` is kept in a file of
    `folder` and not computed again; `progress` is called as progress(done, total,
    text), in regions.

    Half of a region's sites are its test, in `n_draws` splits; a draw's samples of
    different size are nested. Only the model that says so is stopped by the test.
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
    scores = []
    for draw, found in zip(draws, predictions, strict=True):
        for model, predicted in found.items():
            pair = sites.y[draw.test], predicted
            errors = {score.__name__: score(*pair) for score in (rmse, r2, ccc)}
            scores.append(draw.facts | {"model": model} | errors)
    coverage = shifted_intervals(sites, inside, models, rng)
    for number in range(1, min(n_draws, 2) + 1):
        coverage += regional_intervals(sites, inside, models, rng, number, seed)
    named = zip(TABLES, (scores, path, weights, coverage), strict=True)
    return {name: [{"region": region} | row for row in rows] for name, rows in named}


def _draws(inside: Rows, n_draws: int, rng: np.random.Generator) -> list[Draw]:
    """Return the samples of each draw and size; of a draw they are nested."""
    draws = []
    for number in range(1, n_draws + 1):
        shuffled = rng.permutation(inside)
        test, pool = np.split(shuffled, [len(inside) // 2])
        sizes = [n for n in SIZES if n <= len(pool)]
        draws += [Draw(number, pool[:n], test) for n in sizes]
    return draws


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
    sizes = [len(rows) for rows in left]
    own = [one.predicted[:n] for one, n in zip(members, sizes, strict=True)]
    seen = np.concatenate(left)
    residuals = sites.y[seen] - np.concatenate(own)
    held = hold_out(len(others), seed=seed)
    tasks = [Task(others, inside, n_epochs=n_epochs) for _ in range(N_STARTS)]
    fifth = others[held]
    tasks.append(Task(others[~held], np.r_[fifth, inside], n_epochs=n_epochs))
    settings["n_epochs"] = n_epochs
    *starts, split = transfer.train_networks(sites.X, sites.y, tasks, **settings)
    predicted = np.full((N_STARTS, len(sites)), np.nan)
    predicted[:, inside] = [one.predicted for one in starts]
    missed = np.abs(sites.y[fifth] - split.predicted[: len(fifth)])
    places = np.repeat(np.arange(N_FOLDS), sizes)
    of_region = np.stack([one.predicted[-len(inside) :] for one in members])
    return Global(
        others,
        [Base(one.weights, one.fold.scaling) for one in starts],
        predicted,
        (missed, split.predicted[-len(inside) :]),
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
            if kind != "fine_tuned":
                continue
            free, faked = (trained[place + i * len(draws)] for i in (1, 2))
            untouched = rmse(sites.y[draw.test], first[draw.test])
            is_worse = untouched <= faked.history.min()
            found[place]["fine_tuned_no_stop"] = free.predicted
            best = first[draw.test] if is_worse else faked.predicted
            found[place]["fine_tuned_test_stop"] = best
            if len(draw.rows) <= LONGEST_PATH:
                facts = draw.facts | {"stop": epoch}
                rows = enumerate([untouched, *faked.history])
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
    options: dict[str, Any] = {"n_trees": POOLED_TREES, "max_features": 1 / 3}
    options |= {"weights": weights, "seed": int(rng.integers(2**31))}
    forest = fit_random_forest(sites.X[rows], sites.y[rows], **options)
    return forest.predict(sites.X[draw.test])


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
    """Return the mean change over regions by model and n.

    Columns: model, n, change, low, high (95 %, bootstrap over regions), better (share).
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
