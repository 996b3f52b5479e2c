"""Layer transfer: what other depths teach a network of a layer that is sparsely known.

After Han et al. (2025), Frontiers in Environmental Science 13, 1580085: one network is
trained on all layers pooled, then on the layer that is asked for.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial import KDTree
from sklearn.cluster import AgglomerativeClustering
from sklearn.ensemble import RandomForestRegressor

from soilnb._files import replacing
from soilnb._validation import Floats, Progress, Rows, check_int
from soilnb.cnn.windows import Fit, WindowStack
from soilnb.datasets.profiles import Profiles, edgeroi_windows
from soilnb.metrics import r2
from soilnb.selection import block_cells, group_folds

FORESTS = ("forest", "forest_pooled")
NETWORKS = ("cnn", "multi_task", "pooled", "transfer")
MODELS = (*FORESTS, "kriging", *NETWORKS)
# The models that see more layers than one, so that those of a test profile can leak.
POOLING = ("forest_pooled", "multi_task", "pooled", "transfer")
N_FOLDS = 5
WATCHED = 0.15  # of the training profiles: they stop the training
MIN_KNOWN = 30  # values of a layer that is a target
SIZES = (20, 40, 80)  # profiles at which a sparse layer is known
SPARSE_CM = ((30, 60), (100, 200))  # layers that are sparse in turn
BLOCKS_KM = (1.0, 10.0)
CHUNK = 2000  # cells of a map that networks are asked at once: bounds the memory
FINE_RATE = 5e-4  # learning rate of the target layer: a quarter of the first one


@dataclass(frozen=True)
class Budget:
    """How much work a model is."""

    n_starts: int = 3  # networks whose predictions are averaged
    n_steps: int = 400  # batches that train a network, at most
    n_trees: int = 100  # of a forest


@dataclass(frozen=True)
class Case:
    """One setting, in which every layer of `layers` is the target in turn.

    Settings: "all", "sparse", "leak_layers" (the other layers of the test profiles
    train, too), "leak_rows" (rows are dealt to folds, not profiles) or "blocked".
    """

    setting: str
    repeat: int  # from 1; deals the folds
    layers: tuple[int, ...]
    n_known: int = 0  # training profiles with the target layer; 0: all of them
    block_km: float = 0.0  # what is in one fold, see `deal_folds`

    @property
    def models(self) -> tuple[str, ...]:
        """The models that the setting is about."""
        leaks = {"leak_layers": POOLING, "leak_rows": ("forest_pooled",)}
        return leaks.get(self.setting, MODELS)


@dataclass(frozen=True, eq=False)
class _Task:
    """One target layer and fold: what may be seen, and who is asked."""

    layer: int
    known: npt.NDArray[np.bool_]  # (n_profiles, n_layers): values that may be seen
    train: Rows  # profiles whose covariates may be seen
    test: Rows  # profiles

    def samples(self, pooled: bool) -> Rows:
        """Return the samples that may be seen, of all layers or of the target."""
        rows = np.flatnonzero(self.known)
        return rows if pooled else rows[rows % self.known.shape[1] == self.layer]


def deal_folds(profiles: Profiles, seed: int, block_km: float = 0.0) -> Rows:
    """Return the fold of each profile, from 0, in which all its layers are.

    With `block_km`, profiles that a chain of steps below this length joins are in one
    fold; from 2 km on, where such a chain would join all, those of a square.
    """
    block = np.arange(len(profiles))
    if block_km:
        if profiles.places is None:
            msg = (
                "'block_km' needs places, got a table without the columns easting and "
                "northing. Add them, in metres."
            )
            raise ValueError(msg)
        block = _blocks(profiles.places, 1000 * block_km)
    n_blocks = block.max() + 1
    if n_blocks < N_FOLDS:
        msg = (
            f"'block_km' must leave {N_FOLDS} blocks or more, got {n_blocks} of "
            f"{block_km:g} km. Give a smaller one."
        )
        raise ValueError(msg)
    return group_folds(block, N_FOLDS, seed)


def _blocks(places: Floats, size: float) -> Rows:
    """Return the number of the cluster or square of each place."""
    if size > 2000:
        return block_cells(*places.T, size=size)
    options = {"distance_threshold": size, "linkage": "single"}
    return AgglomerativeClustering(n_clusters=None, **options).fit_predict(places)


def plan_cases(profiles: Profiles, n_repeats: int) -> list[Case]:
    """Return the cases of the chapter, as far as the profiles allow them.

    Without places there are no blocks. A layer with fewer than `MIN_KNOWN` values is no
    target; the sparse ones are those of `SPARSE_CM`, or else the deepest.
    """
    check_int(n_repeats, "n_repeats", 1)
    counts = (~np.isnan(profiles.soc)).sum(axis=0)
    every = tuple(map(int, np.flatnonzero(counts >= MIN_KNOWN)))
    repeats = range(1, n_repeats + 1)
    some = tuple(i for i in every if profiles.layers[i] in SPARSE_CM) or every[-1:]
    sizes = [n for n in SIZES if n <= _least_known(profiles, some, repeats)]
    if not sizes:
        msg = (
            f"'profiles' must have a layer that is known at {MIN_KNOWN} of them, got "
            f"at most {counts.max()}. Give more profiles."
        )
        raise ValueError(msg)
    blocks = [
        km
        for km in BLOCKS_KM
        if profiles.places is not None
        if _blocks(profiles.places, 1000 * km).max() >= N_FOLDS - 1
    ]
    cases = []
    for repeat in repeats:
        cases += [Case("sparse", repeat, some, n) for n in sizes]
        cases.append(Case("leak_layers", repeat, some, sizes[len(sizes) // 2]))
        cases += [Case("all", repeat, every), Case("leak_rows", repeat, every)]
        cases += [Case("blocked", repeat, some, block_km=km) for km in blocks]
    return cases


def _least_known(
    profiles: Profiles, layers: tuple[int, ...], repeats: Iterable[int]
) -> int:
    """Return the fewest training profiles of a fold at which a layer is known."""
    known = ~np.isnan(profiles.soc[:, layers])
    dealt = [deal_folds(profiles, repeat) for repeat in repeats]
    counts = [known[folds != k].sum(axis=0) for folds in dealt for k in range(N_FOLDS)]
    return int(np.min(counts)) if layers else 0


def run_cases(
    profiles: Profiles,
    cases: Sequence[Case],
    folder: Path,
    *,
    budget: Budget | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Return the out-of-fold predictions of some cases.

    Columns: setting, block_km, layer, n, model, repeat, profile; measured and predicted
    logarithms. Each case leaves a file in `folder`, of these profiles and this budget
    alone, and is not computed again; `progress` is called as progress(done, total,
    text), in cases.
    """
    parts = []
    for done, case in enumerate(cases):
        facts = asdict(case) | {"layers": "-".join(map(str, case.layers))}
        file = folder / f"{'_'.join(map(str, facts.values()))}.parquet"
        if not file.exists():
            if progress:
                words = f"{case.setting.replace('_', ' ')}, repeat {case.repeat}"
                progress(done, len(cases), f"{words} ({done + 1} of {len(cases)})")
            with replacing(file) as partial:
                predict_case(profiles, case, budget).to_parquet(partial, index=False)
        parts.append(pd.read_parquet(file))
    if progress:
        progress(len(cases), len(cases), "")
    return pd.concat(parts, ignore_index=True)


def score(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return R2 of the logarithms, from all out-of-fold predictions of a layer at once.

    Columns: setting, layer, n, model, repeat, r2_log, block_km.
    """
    keys = ["setting", "layer", "n", "model", "repeat", "block_km"]
    scores = predictions.groupby(keys, sort=False)[["measured", "predicted"]].apply(
        lambda part: r2(part["measured"], part["predicted"])
    )
    table = scores.rename("r2_log").reset_index()
    return table[[*keys[:5], "r2_log", "block_km"]].round(4)


def predict_case(
    profiles: Profiles, case: Case, budget: Budget | None = None
) -> pd.DataFrame:
    """Return the out-of-fold predictions of one case, as `run_cases` does."""
    budget = budget or Budget()
    log = np.log(profiles.soc)
    if case.setting == "leak_rows":
        dealt = _deal_rows(profiles, log, case, budget)
        found = [("forest_pooled", *one) for one in dealt]
    else:
        tasks = list(_tasks(profiles, log, case))
        found = [
            (model, task.layer, task.test, values)
            for model, predicted in _predict(profiles, log, tasks, case, budget)
            for task, values in zip(tasks, predicted, strict=True)
        ]
    n_all = len(profiles) - len(profiles) // N_FOLDS
    return pd.concat(
        pd.DataFrame(
            {
                "setting": case.setting,
                "block_km": case.block_km,
                "layer": profiles.layer_names[layer],
                "n": case.n_known or n_all,
                "model": model,
                "repeat": case.repeat,
                "profile": profiles.ids[test],
                "measured": log[test, layer],
                "predicted": values,
            }
        )
        for model, layer, test, values in found
    )


def compare_models(
    predictions: pd.DataFrame, *, n_resamples: int = 2000, seed: int = 1
) -> pd.DataFrame:
    """Return what layer transfer gains over each other model for a sparse layer.

    Columns: layer, n, model, gain (difference of R2 of the logarithms, mean over
    repeats), low and high (its 95 % interval, from `n_resamples` bootstrap samples of
    the profiles).
    """
    rng, found = np.random.default_rng(seed), []
    sparse = predictions[predictions["setting"] == "sparse"]
    squares = sparse.assign(error=(sparse["predicted"] - sparse["measured"]) ** 2)
    for (layer, n), part in squares.groupby(["layer", "n"], sort=False):
        errors = part.pivot_table("error", "profile", "model")  # mean over repeats
        measured = part.groupby("profile")["measured"].first()[errors.index]
        spread = ((measured - measured.mean()) ** 2).to_numpy()
        draws = rng.integers(len(errors), size=(n_resamples, len(errors)))
        lost = errors.to_numpy()[draws].mean(axis=1)
        lost /= spread[draws].mean(axis=1)[:, None]
        gains = lost - lost[:, [errors.columns.get_loc("transfer")]]
        low, high = np.quantile(gains, [0.025, 0.975], axis=0)
        mean = (errors.mean() - errors["transfer"].mean()) / spread.mean()
        facts = {"layer": layer, "n": n, "gain": mean, "low": low, "high": high}
        found.append(pd.DataFrame(facts).rename_axis("model").reset_index())
    table = pd.concat(found).query("model != 'transfer'").reset_index(drop=True)
    return table[["layer", "n", "model", "gain", "low", "high"]].round(4)


def map_layer(
    profiles: Profiles, *, every: int = 5, budget: Budget | None = None
) -> pd.DataFrame:
    """Return estimates of the sparse layer by a forest of it alone and by transfer.

    The layer is the first sparse one of `plan_cases`, known at as many profiles as for
    the leak. Of the raster every so many cells are estimated; in a table without one,
    the profiles are, and the layer is known at all. Columns: easting, northing (m),
    forest and transfer (exponential of the estimated logarithm: a median, unit of
    `profiles`), is_known (the layer, at a profile of which this is the nearest cell),
    is_inside (every covariate is within the range of the profiles).
    """
    if profiles.places is None:
        msg = "'profiles' need places for a map. Add the columns easting and northing."
        raise ValueError(msg)
    budget, log = budget or Budget(), np.log(profiles.soc)
    case = next(c for c in plan_cases(profiles, 1) if c.setting == "leak_layers")
    layer, size = case.layers[0], case.n_known
    windows, places = profiles.windows, profiles.places
    if windows.shape[1] > 1:
        windows, places = edgeroi_windows(None, windows.shape[1], step=every)
    else:
        size = 0
    whole = np.isfinite(windows).all(axis=(1, 2, 3))
    windows, places = windows[whole], places[whole]
    everyone = np.arange(len(profiles))
    known = _sparse(~np.isnan(log), layer, size, [1, layer])
    task = _Task(layer, known, everyone, everyone)
    rows = task.samples(pooled=False)
    forest = _forest(profiles, log, rows, budget, pooled=False)
    case = Case("sparse", 1, (layer,), size)
    ask = dict(_networks(profiles.windows, log, [task], case, budget))["transfer"]
    parts = np.split(windows, range(CHUNK, len(windows), CHUNK))
    asked = np.arange(len(windows)) * len(profiles.layers) + layer
    middle = windows.shape[1] // 2
    cells, seen = windows[:, middle, middle], profiles.windows[:, middle, middle]
    _, nearest = KDTree(places).query(profiles.places[known[:, layer]])
    table = pd.DataFrame(places.round().astype(int), columns=["easting", "northing"])
    return table.assign(
        forest=np.exp(forest(windows, asked)).round(3),
        transfer=np.exp(np.concatenate([ask(part)[0] for part in parts])).round(3),
        is_known=np.isin(np.arange(len(windows)), nearest),
        is_inside=((cells >= seen.min(0)) & (cells <= seen.max(0))).all(axis=1),
    )


def correlate_layers(profiles: Profiles) -> pd.DataFrame:
    """Return the correlations of the logarithms of SOC between layers."""
    return pd.DataFrame(np.log(profiles.soc), columns=profiles.layer_names).corr()


def _tasks(profiles: Profiles, log: Floats, case: Case) -> Iterator[_Task]:
    """Yield the tasks of a case."""
    folds = deal_folds(profiles, case.repeat, case.block_km)
    for layer in case.layers:
        for fold in range(N_FOLDS):
            is_train, is_known = folds != fold, ~np.isnan(log)
            known = is_known & is_train[:, None]
            if case.setting == "leak_layers":
                known = is_known.copy()  # also of the test profiles, but for the target
                known[:, layer] &= is_train
            seeds = [case.repeat, layer, fold]
            known = _sparse(known, layer, case.n_known, seeds)
            test = np.flatnonzero(~is_train & is_known[:, layer])
            yield _Task(layer, known, np.flatnonzero(is_train), test)


def _sparse(
    known: npt.NDArray[np.bool_], layer: int, n_known: int, seeds: list[int]
) -> npt.NDArray[np.bool_]:
    """Return what is known where one layer is so at `n_known` profiles (0: at all)."""
    rows = np.random.default_rng(seeds).permutation(np.flatnonzero(known[:, layer]))
    if len(rows) < n_known:
        msg = (
            f"'n_known' must be at most {len(rows)}, the training profiles with the "
            f"target layer, got {n_known}. Give a smaller one."
        )
        raise ValueError(msg)
    sparse = known.copy()
    sparse[rows[n_known:] if n_known else [], layer] = False
    return sparse


def _predict(
    profiles: Profiles, log: Floats, tasks: Sequence[_Task], case: Case, budget: Budget
) -> Iterator[tuple[str, list[Floats]]]:
    """Yield each model of a case with its predictions of the tests of all tasks."""
    fitted: dict[bytes, Callable[..., Floats]] = {}  # one for all layers if all known

    def forest(task: _Task, pooled: bool) -> Floats:
        rows = task.samples(pooled)
        key = rows.tobytes()
        if key not in fitted:
            fitted[key] = _forest(profiles, log, rows, budget, pooled=pooled)
        asked = task.test * len(profiles.layers) + task.layer
        return fitted[key](profiles.windows, asked)

    for model in case.models:
        if model in FORESTS:
            yield model, [forest(task, model == "forest_pooled") for task in tasks]
    if "kriging" in case.models and profiles.places is not None:
        yield "kriging", [_krige(profiles.places, log, task) for task in tasks]
    for model, ask in _networks(profiles.windows, log, tasks, case, budget):
        at = zip(tasks, ask(profiles.windows), strict=True)
        yield model, [values[task.test] for task, values in at]


def _forest(
    profiles: Profiles, log: Floats, rows: Rows, budget: Budget, *, pooled: bool
) -> Callable[[npt.NDArray[np.float32], Rows], Floats]:
    """Fit a forest to samples; return what predicts samples of some windows.

    It sees the window's cells and, pooled, the depth; targets are scaled by layer.
    """
    depths, n_layers = np.mean(profiles.layers, axis=1), len(profiles.layers)

    def inputs(windows: npt.NDArray[np.float32], rows: Rows) -> npt.NDArray:
        cells = windows.reshape(len(windows), -1)[rows // n_layers]
        return np.c_[cells, depths[rows % n_layers]] if pooled else cells

    by_layer = pd.Series(log.ravel()[rows]).groupby(rows % n_layers)
    scales = by_layer.agg(["mean", "std"]).reindex(range(n_layers)).to_numpy()
    mean, sd = scales[:, 0], np.where(scales[:, 1] > 0, scales[:, 1], 1.0)
    forest = RandomForestRegressor(
        budget.n_trees, max_features=1 / 3, min_samples_leaf=3, random_state=1, n_jobs=2
    )
    layer = rows % n_layers
    target = (log.ravel()[rows] - mean[layer]) / sd[layer]
    forest.fit(inputs(profiles.windows, rows), target)

    def predict(windows: npt.NDArray[np.float32], rows: Rows) -> Floats:
        layer = rows % n_layers
        return forest.predict(inputs(windows, rows)) * sd[layer] + mean[layer]

    return predict


def _krige(places: Floats, log: Floats, task: _Task) -> Floats:
    """Return the target layer at the test profiles by ordinary kriging."""
    from pykrige.ok import OrdinaryKriging

    known = np.flatnonzero(task.known[:, task.layer])
    values = log[known, task.layer]
    if np.ptp(values) == 0:
        return np.full(len(task.test), values[0])
    kriging = OrdinaryKriging(
        *places[known].T,
        values,
        variogram_model="exponential",
        nlags=8,
        weight=True,
        exact_values=False,  # the nugget is noise: two profiles may share a place
        pseudo_inv=True,
    )
    found, _ = kriging.execute("points", *places[task.test].T)
    return np.clip(np.asarray(found), values.min(), values.max())


def _networks(
    windows: npt.NDArray[np.float32],
    log: Floats,
    tasks: Sequence[_Task],
    case: Case,
    budget: Budget,
) -> Iterator[tuple[str, Callable[[npt.NDArray[np.float32]], Floats]]]:
    """Yield each kind of network, and what predicts windows, (tasks, windows)."""

    def asking(stack: WindowStack) -> Callable[[npt.NDArray[np.float32]], Floats]:
        shape = (len(tasks), budget.n_starts, -1)
        return lambda cells: stack.predict(cells).reshape(shape).mean(axis=1)

    def trained(fits: list[Fit], heads: bool = False) -> WindowStack:
        stack = WindowStack(windows, log, fits, heads=heads, seed=case.repeat)
        return stack.train(budget.n_steps)

    own = _fits(tasks, case, budget, pooled=False)
    every = _fits(tasks, case, budget, pooled=True)
    if "cnn" in case.models:
        yield "cnn", asking(trained(own))
    if "multi_task" in case.models:
        yield "multi_task", asking(trained(every, heads=True))
    if "pooled" in case.models:
        pooled = trained(every)
        yield "pooled", asking(pooled)
        tuned = WindowStack(windows, log, own, seed=case.repeat)
        tuned.weights = pooled.weights
        yield "transfer", asking(tuned.train(budget.n_steps, learning_rate=FINE_RATE))


def _fits(
    tasks: Sequence[_Task], case: Case, budget: Budget, *, pooled: bool
) -> list[Fit]:
    """Return the fits of all tasks and starts; the same profiles stop both kinds."""
    fits = []
    for task in tasks:
        n_layers, rows = task.known.shape[1], task.samples(pooled)
        has_target = task.known[:, task.layer]
        others = np.flatnonzero(task.known.any(axis=1) & ~has_target)
        for start in range(budget.n_starts):
            rng = np.random.default_rng([case.repeat, task.layer, task.test[0], start])
            groups = [rng.permutation(g) for g in (np.flatnonzero(has_target), others)]
            first = [group[: int(np.ceil(WATCHED * len(group)))] for group in groups]
            is_watched = np.isin(rows // n_layers, np.concatenate(first))
            fit = Fit(task.train, rows[~is_watched], rows[is_watched], task.layer)
            fits.append(fit)
    return fits


def _deal_rows(
    profiles: Profiles, log: Floats, case: Case, budget: Budget
) -> Iterator[tuple[int, Rows, Floats]]:
    """Yield layer, profiles and predictions where folds are dealt row by row."""
    rows = np.flatnonzero(~np.isnan(log))
    n_layers = len(profiles.layers)
    fold = np.random.default_rng(case.repeat).permutation(len(rows)) % N_FOLDS
    for one in range(N_FOLDS):
        train, test = rows[fold != one], rows[fold == one]
        forest = _forest(profiles, log, train, budget, pooled=True)
        predicted = forest(profiles.windows, test)
        for layer in range(n_layers):
            of_layer = test % n_layers == layer
            yield layer, test[of_layer] // n_layers, predicted[of_layer]
