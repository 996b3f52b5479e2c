"""RS-LOCAL's speed, growth and memory beside plain loops, all in one run.

Writes the tables that the book shows; every figure in them is measured here. Run on a
quiet machine: python benchmarks/bench_rslocal.py --full
"""

import argparse
import importlib.metadata
import importlib.util
import platform
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import dask
import numpy as np
import pandas as pd
from dask.distributed import Client, LocalCluster
from dask.system import CPU_COUNT
from sklearn.cross_decomposition import PLSRegression
from threadpoolctl import threadpool_limits

from soilnb.rslocal import crew, select_instances
from soilnb.rslocal.inputs import MOST_COMPONENTS, N_FOLDS, Settings, standardise
from soilnb.rslocal.subsets import Draw, Spectra, draw_subset, tally_task

N_BANDS, N_LOCAL = 211, 30
PAPER = {"K": 50_422, "k": 100, "b": 50, "components": 10}
LARGE = {**PAPER, "K": 200_000, "b": 10}
SMALL = {**PAPER, "K": 5_000}
ONE_DRAW = Draw(1, 0, 0, PAPER["k"], PAPER["components"], 0)
Score = Callable[[Spectra, int], object]


def make_samples(n_library: int) -> tuple[np.ndarray, ...]:
    """Return library and local samples: smooth spectra of 20 constituents, noise."""
    rng = np.random.default_rng(1)
    parts = rng.normal(size=(n_library + N_LOCAL, 20)).astype(np.float32)
    constituents = np.cumsum(rng.normal(size=(20, N_BANDS)), axis=1) / N_BANDS**0.5
    X = parts @ constituents.astype(np.float32)
    X += 0.01 * rng.normal(size=X.shape).astype(np.float32)
    y = X[:, N_BANDS // 2] + 0.1 * rng.normal(size=len(X))
    return X[N_LOCAL:], y[N_LOCAL:], X[:N_LOCAL], y[:N_LOCAL]


def plain_loop(predict: Callable[..., np.ndarray]) -> Score:
    """Return the loop that anyone would write, over some PLS."""

    def score(spectra: Spectra, n_models: int) -> None:
        for model in range(n_models):
            n_library = len(spectra.y_library)
            rows = draw_subset(1, 0, 0, model, n_library, ONE_DRAW.subset_size)
            X, y = spectra.X_library[rows], spectra.y_library[rows]
            errors = predict(X, y, spectra.X_local).ravel() - spectra.y_local
            np.sqrt(np.mean(errors**2))

    return score


def scikit_learn(X: np.ndarray, y: np.ndarray, X_new: np.ndarray) -> np.ndarray:
    """Predict by scikit-learn's PLS."""
    pls = PLSRegression(n_components=PAPER["components"], scale=False)
    return pls.fit(X, y).predict(X_new)


def ikpls(X: np.ndarray, y: np.ndarray, X_new: np.ndarray) -> np.ndarray:
    """Predict by the PLS of ikpls."""
    from ikpls.numpy import PLS

    pls = PLS(algorithm=2, scale_X=False, scale_Y=False)
    pls.fit(X, y[:, np.newaxis], PAPER["components"])
    return pls.predict(X_new, n_components=PAPER["components"])


def kernel(draw: Draw) -> Score:
    """Return soilnb's kernel."""

    def score(spectra: Spectra, n_models: int) -> None:
        pool = np.arange(len(spectra.y_library), dtype=np.int32)
        tally_task(spectra, pool, draw, range(n_models))

    return score


def models_per_second(n_library: int, n_rounds: int = 5) -> dict[str, float]:
    """Return models per second of one core's CPU time: medians of rounds in turn."""
    single = standardise(*make_samples(n_library))
    double = Spectra(*(part.astype(np.float64) for part in single))
    by_cv = ONE_DRAW._replace(n_components=MOST_COMPONENTS, n_folds=N_FOLDS)
    timed: dict[str, tuple[Score, Spectra, int]] = {
        "scikit-learn, float64": (plain_loop(scikit_learn), double, 300),
        "ikpls, float64": (plain_loop(ikpls), double, 300),
        "soilnb, float64": (kernel(ONE_DRAW), double, 10_000),
        "soilnb, float32": (kernel(ONE_DRAW), single, 20_000),
        'soilnb, float32, "cv"': (kernel(by_cv), single, 1_000),
    }
    if importlib.util.find_spec("ikpls") is None:
        del timed["ikpls, float64"]
    rates: dict[str, list[float]] = {name: [] for name in timed}
    with threadpool_limits(1):
        for score, spectra, _ in timed.values():
            score(spectra, 1)  # compile
        for _ in range(n_rounds):
            for name, (score, spectra, n_models) in timed.items():
                start = time.thread_time()
                score(spectra, n_models)
                rates[name].append(n_models / (time.thread_time() - start))
    return {name: float(np.median(rate)) for name, rate in rates.items()}


def kernel_table(full: bool) -> pd.DataFrame:
    """Return models per second, and how many times scikit-learn's that is."""
    table = {}
    for n_library in [SMALL["K"], *([PAPER["K"]] if full else [])]:
        rates = pd.Series(models_per_second(n_library))
        ratios = rates / rates["scikit-learn, float64"]
        table[f"models/s, K = {n_library:,}"] = rates.map("{:,.0f}".format)
        table[f"ratio, K = {n_library:,}"] = ratios.map("{:.1f}".format)
    return pd.DataFrame(table).rename_axis("one core").reset_index()


def search(case: dict, samples: tuple[np.ndarray, ...]) -> pd.DataFrame:
    """Return the history of a whole search."""
    return select_instances(
        *samples,
        n_selected=case["k"],
        n_repeats=case["b"],
        n_components=case["components"],
    ).history


def peak_memory(n_library: int) -> float:
    """Return the peak memory of a search, the library included, in libraries."""
    tracemalloc.start()
    samples = make_samples(n_library)
    before = tracemalloc.get_traced_memory()[0] - samples[0].nbytes
    tracemalloc.reset_peak()
    search({**PAPER, "b": 1}, samples)
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    return peak / samples[0].nbytes


def growth_table(full: bool) -> pd.DataFrame:
    """Return how a search grows with the library K, k, b and the components."""
    changes: list[dict] = [{}, {"K": 2_500}, {"K": 10_000}, {"k": 50}, {"k": 200}]
    changes += [{"b": 10}, {"b": 200}, {"components": 5}, {"components": 20}]
    changes += [{"b": 10, "components": "cv"}, *([PAPER, LARGE] if full else [])]
    rows = []
    for case in ({**SMALL, **change} for change in changes):
        samples = make_samples(case["K"])
        start, start_cpu = time.perf_counter(), time.process_time()
        history = search(case, samples)
        seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
        n_models = int(history["n_models"].sum())
        rows.append(
            {
                **case,
                "K": f"{case['K']:,}",
                "iterations": len(history),
                "models": f"{n_models:,}",
                "wall / s": f"{seconds:.1f}",
                "CPU / s": f"{cpu:.1f}",
                "models/s": f"{n_models / seconds:,.0f}",
            }
        )
    return pd.DataFrame(rows)


def memory_table(full: bool) -> pd.DataFrame:
    """Return the peak memory of searches."""
    sizes = [SMALL["K"], *([PAPER["K"], LARGE["K"]] if full else [])]
    return pd.DataFrame(
        {
            "K": [f"{size:,}" for size in sizes],
            "library in float32 / MB": [
                f"{size * N_BANDS * 4e-6:,.0f}" for size in sizes
            ],
            "peak memory / library": [f"{peak_memory(size):.1f}" for size in sizes],
        }
    )


def crews(spectra: Spectra) -> Iterator[tuple[str, str, crew.Crew]]:
    """Yield threads and processes, one and two of each."""
    for n, name in ((1, "1 thread"), (2, "2 threads")):
        with dask.config.set(num_workers=n), crew.Crew(spectra) as threads:
            yield "threads", name, threads
    for n, name in ((1, "1 process"), (2, "2 processes")):
        with (
            LocalCluster(
                n_workers=n, threads_per_worker=1, dashboard_address="127.0.0.1:0"
            ) as cluster,
            Client(cluster) as client,
            crew.ClusterCrew(spectra, client) as processes,
        ):
            yield "processes", name, processes


def median_seconds(workers: crew.Crew, n_models: int, n_rounds: int) -> float:
    """Return the seconds of one iteration over the whole library."""
    pool, times = np.arange(len(workers.spectra.y_library), dtype=np.int32), []
    for _ in range(n_rounds + 1):  # the first one compiles and scatters
        start = time.perf_counter()
        workers.tally(pool, ONE_DRAW, n_models)
        times.append(time.perf_counter() - start)
    return float(np.median(times[1:]))


def workers_table() -> tuple[pd.DataFrame, dict[str, float]]:
    """Return the seconds of iterations by workers, and the costs that they imply."""
    spectra = standardise(*make_samples(20_000))
    rows, first, costs = [], {}, {}
    for kind, name, workers in crews(spectra):
        taken = [median_seconds(workers, size, 7) for size in (10_000, 100_000)]
        one = first.setdefault(kind, taken)
        rows.append(
            {
                "workers": name,
                "10,000 models / s": f"{taken[0]:.3f}",
                "speed-up": f"{one[0] / taken[0]:.2f}",
                "100,000 models / s": f"{taken[1]:.2f}",
                "speed-up ": f"{one[1] / taken[1]:.2f}",
            }
        )
        if kind == "processes":  # of one model each, so that only the tasks cost
            with_4, with_40 = (median_tasks(workers, n) for n in (4, 40))
            costs["per_task"] = max(0.0, (with_40 - with_4) / 36)
            costs["per_iteration"] = with_4 - 4 * costs["per_task"]
    costs["per_model"] = first["threads"][1] / 100_000
    return pd.DataFrame(rows), costs


def median_tasks(workers: crew.Crew, n_tasks: int) -> float:
    """Return the seconds of an iteration of tasks with one model each."""
    names = ["_FEWEST_FITS_FOR_CLUSTER", "_FEWEST_FITS_PER_REMOTE_TASK"]
    names += ["_MOST_FITS_PER_TASK"]
    usual = {name: getattr(crew, name) for name in names}
    for name in names:
        setattr(crew, name, 1)
    try:
        return median_seconds(workers, n_tasks, 15)
    finally:
        for name, value in usual.items():
            setattr(crew, name, value)


def planned_seconds(sizes: list[int], n_cores: int, costs: dict[str, float]) -> float:
    """Return the seconds of a search on paper, from the models of its iterations."""
    total = 0.0
    for n_models in sizes:
        work = n_models * costs["per_model"]
        n_tasks = min(
            crew._TASKS_PER_REMOTE_THREAD * n_cores,
            n_models / crew._FEWEST_FITS_PER_REMOTE_TASK,
        )
        if n_cores == 1 or n_models < crew._FEWEST_FITS_FOR_CLUSTER:
            total += work / min(n_cores, 2)  # on two threads beside the cluster
        else:
            total += work / min(n_cores, n_tasks)
            total += costs["per_iteration"] + n_tasks * costs["per_task"]
    return total


def plan_table(costs: dict[str, float]) -> pd.DataFrame:
    """Return what 1 to 50 cores would take for searches of the paper's size."""
    rows = []
    for b in (50, 500, 5_000):
        settings = Settings(PAPER["k"], PAPER["k"], b, 0.05, PAPER["components"], 0, 1)
        sizes = [settings.n_models(size) for size in settings.pool_sizes(PAPER["K"])]
        seconds = {n: planned_seconds(sizes, n, costs) for n in (1, 2, 10, 50)}
        row = {f"{n} cores / s": f"{value:.1f}" for n, value in seconds.items()}
        gain = f"{seconds[1] / seconds[50]:.0f}"
        rows.append({"b": b, "models": f"{sum(sizes):,}", **row, "50 against 1": gain})
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame) -> str:
    """Return a table as Markdown."""
    lines = [list(table), ["---"] * table.shape[1], *table.astype(str).to_numpy()]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def machine() -> str:
    """Say what the figures were measured on."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    models = [line.split(":")[1].strip() for line in lines if "model name" in line]
    packages = ["numpy", "numba", "scikit-learn", "dask"]
    if importlib.util.find_spec("ikpls"):
        packages.append("ikpls")
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in packages
    )
    return (
        f"Measured on {CPU_COUNT} cores ({models[0] if models else platform.machine()})"
        f" with Python {platform.python_version()}, {versions}; {N_BANDS} bands, "
        f"n = {N_LOCAL}, r = 0.05; k = 100, b = 50 and 10 components unless stated."
    )


def main() -> None:
    """Measure, and print or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="also the paper's size")
    table = Path(__file__).with_name("rslocal.md")
    parser.add_argument("--table", type=Path, default=table, help="file to write")
    options = parser.parse_args()
    workers, costs = workers_table()
    parts = [
        machine(),
        "**Models per second of CPU time** (draw, copy, fit, predict, score):",
        markdown(kernel_table(options.full)),
        f"**Whole searches** on {CPU_COUNT} threads:",
        markdown(growth_table(options.full)),
        "**Memory** of a search, the library in float32 included:",
        markdown(memory_table(options.full)),
        "**Workers**: one iteration over 20,000 rows.",
        markdown(workers),
        f"**On paper**, K = {PAPER['K']:,}: {1e6 * costs['per_model']:.1f} "
        f"microseconds a model, {1e3 * costs['per_iteration']:.1f} ms an iteration "
        f"and {1e3 * costs['per_task']:.2f} ms a task on a cluster, as measured with "
        "two processes.",
        markdown(plan_table(costs)),
    ]
    text = "\n\n".join(parts) + "\n"
    print(text)
    options.table.write_text(text)


if __name__ == "__main__":
    main()
