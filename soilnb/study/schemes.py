"""Validation schemes: random or blocked folds, whole regions, next door."""

from typing import Any

import numpy as np
import pandas as pd

from soilnb import selection
from soilnb._validation import Floats, Progress, Rows
from soilnb.baselines import fit_random_forest
from soilnb.datasets import Sites
from soilnb.metrics import r2
from soilnb.transfer import regional as transfer
from soilnb.transfer.regional import Task

SCHEMES = ("random", "stratified", "blocked", "regions")
N_FOLDS, N_EPOCHS, N_TREES, N_NEIGHBOURS = 5, 12, 60, 5


def map_cells(sites: Sites, *, size: float = 1.0) -> pd.DataFrame:
    """Return the sites by cells of a degree: place, region, sites, mean of `y`."""
    info = sites.info.assign(y=sites.y)
    corners = np.floor(info[["latitude", "longitude"]] / size) * size + size / 2
    keys = [corners["latitude"], corners["longitude"], info["region"]]
    found = info.groupby(keys)["y"].agg(["size", "mean"]).reset_index()
    return found.rename(columns={"size": "sites", "mean": "y"}).round(3)


def scheme_folds(sites: Sites, scheme: str, seed: int) -> Rows:
    """Return the folds of one of `SCHEMES`."""
    cells = selection.block_cells(sites.info["latitude"], sites.info["longitude"])
    if scheme == "random":
        return selection.random_folds(len(sites), N_FOLDS, seed)
    if scheme == "stratified":
        return selection.stratified_folds(cells, N_FOLDS, seed)
    groups = cells if scheme == "blocked" else sites.region
    n_groups = len(np.unique(groups))
    return selection.group_folds(groups, min(N_FOLDS, n_groups), seed)


def compare_schemes(
    sites: Sites,
    *,
    seed: int = 1,
    n_trees: int = N_TREES,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Return R2 of all held-out predictions by validation scheme and model."""
    folds = {scheme: scheme_folds(sites, scheme, seed) for scheme in SCHEMES}
    parts = [
        (scheme, np.flatnonzero(of != k), np.flatnonzero(of == k))
        for scheme, of in folds.items()
        for k in np.unique(of)
    ]
    tasks = [Task(train, left, n_epochs=N_EPOCHS) for _, train, left in parts]
    options: dict[str, Any] = {"n_epochs": N_EPOCHS, "large": True, "seed": seed}
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
        forest = fit_random_forest(X, y, **options)
    settings = {"max_iter": 200, "learning_rate": 0.06}
    boosting = HistGradientBoostingRegressor(**settings, random_state=seed)
    places = sites.info[["latitude", "longitude"]].to_numpy(np.float64)
    near = KNeighborsRegressor(N_NEIGHBOURS).fit(places[train], y)
    with threadpool_limits(1, user_api="openmp"):  # threads that wait for a busy core
        boosted = boosting.fit(X, y).predict(sites.X[left])
    return {
        "forest": forest.predict(sites.X[left]),  # threads add in any order
        "boosting": boosted,
        "neighbours": near.predict(places[left]),
    }


def compare_levels(sites: Sites, *, n_regions: int, seed: int = 1) -> pd.DataFrame:
    """Return R2 of each region's forest at home and in the adjacent region.

    Columns: region, adjacent (its name), hold_out (a fifth of its sites), elsewhere.
    """
    rows = []
    latitude, longitude = (sites.info[key] for key in ("latitude", "longitude"))
    options: dict[str, Any] = {"n_trees": N_TREES, "max_features": 1 / 3, "seed": seed}
    for region in sites.regions[:n_regions]:
        inside = np.flatnonzero(sites.region == region)
        held = selection.hold_out(len(inside), seed=seed)
        train, test = inside[~held], inside[held]
        other = selection.adjacent_region(latitude, longitude, sites.region, region)
        there = np.flatnonzero(sites.region == other)
        forest = fit_random_forest(sites.X[train], sites.y[train], **options)
        scores = (r2(sites.y[i], forest.predict(sites.X[i])) for i in (test, there))
        rows.append((region, other, *scores))
    return pd.DataFrame(rows, columns=["region", "adjacent", "hold_out", "elsewhere"])
