"""The search for an architecture: how quick its proposals are, and whether it pays.

    python benchmarks/bench_search.py                     # proposals, and keras-tuner's
    python benchmarks/bench_search.py --memory            # growth over 40 trials
    python benchmarks/bench_search.py --memory --trials 200 --max-weights 3000000
    python benchmarks/bench_search.py --compare           # searches on real farms

`--compare` searches on the 30 local samples of real farms: the Bayesian search for
`--trials` trials, the others for the CPU time that it took, each with several seeds;
then, on the same folds, the published networks, the small one, PLSR and random forest.
Every finished run is a line of the CSV beside `--report`; runs found there are not
repeated. CPU time, because other work on the machine does not count in it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import t as student
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from soilnb.baselines import fit_plsr, fit_random_forest
from soilnb.cnn import PUBLISHED, SMALL, Architecture, cross_validate, n_weights
from soilnb.cnn.tuning import Trial, search
from soilnb.cnn.tuning.log import COMPLETED, TrialLog
from soilnb.cnn.tuning.oracle import PARENTS, ArchitectureOracle, minimise
from soilnb.cnn.tuning.space import Space, Values, kt, to_architecture
from soilnb.datasets import load_library, load_site
from soilnb.pls import cross_validated_rmse
from soilnb.study import Study, prepare

N_WAVELENGTHS = 207
COLUMNS = [
    "site", "method", "seed", "trial", "cpu_seconds", "cv_rmse", "test_rmse",
    "n_weights",
]  # fmt: skip


# Proposals ----------------------------------------------------------------------------


def made_up_score(values: Values) -> float:
    """Return a score that a few hyperparameters decide, the others a little."""
    architecture = to_architecture(values)
    rate = np.log10(architecture.learning_rate) + 3
    size = np.log(n_weights(architecture, N_WAVELENGTHS)) / 10
    dropout = sum(block.dropout for block in architecture.blocks)
    penalty = 0.3 * rate**2 + 0.1 * len(architecture.fc) + 0.2 * (size - 1) ** 2
    return float(0.3 * np.exp(penalty + 0.2 * dropout))


def made_up_trials(space: Space, n_trials: int) -> list[Trial]:
    """Return trials drawn at random, with made-up scores."""
    rng = np.random.default_rng(1)
    drawn = [space.draw(rng) for _ in range(n_trials)]
    noise = np.exp(0.08 * rng.standard_normal(n_trials))  # as of real networks
    return [
        Trial(number, values, COMPLETED, made_up_score(values) * factor)
        for number, (values, factor) in enumerate(zip(drawn, noise, strict=True), 1)
    ]


def keras_tuner_oracle(space: Space, trials: list[Trial]) -> kt.Oracle:
    """Return keras-tuner's own oracle that knows the trials."""
    oracle = kt.oracles.BayesianOptimizationOracle(
        objective=kt.Objective("rmse", "min"),
        max_trials=1_000,
        num_initial_points=2,
        hyperparameters=space.hyperparameters,
        seed=1,
    )
    for trial in trials:
        hyperparameters = space.hyperparameters.copy()
        hyperparameters.values = trial.values
        known = kt.engine.trial.Trial(hyperparameters, str(trial.number), "COMPLETED")
        known.score = trial.score
        oracle.trials[known.trial_id] = known
    return oracle


def timed(work: Callable[[], object]) -> tuple[object, float, float]:
    """Return what `work` returns, and its wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def compare_proposals(
    n_trials: int, *, n_repeats: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Print the time of a proposal, and the bound at it by keras-tuner's process.

    Return wall and CPU seconds of ours and of keras-tuner's own.
    """
    space = Space(N_WAVELENGTHS)
    trials = made_up_trials(space, n_trials)
    with tempfile.TemporaryDirectory() as directory:
        log = TrialLog(directory)
        for trial in trials:
            log.write(trial)
        ours = ArchitectureOracle(space, log, seed=1, n_initial=10)
        times = [
            timed(lambda seed=seed: ours.propose(np.random.default_rng(seed)))[1:]
            for seed in range(n_repeats)
        ]
    wall, cpu = np.median(times, axis=0)
    theirs = keras_tuner_oracle(space, trials)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that its length scale is at its bound
        proposal, their_wall, their_cpu = timed(lambda: theirs.populate_space("x"))
    values = proposal["values"]
    bound = bound_of(theirs.gpr, theirs.beta)
    points, scores = theirs._vectorize_trials()
    parents = points[np.argsort(scores)[:PARENTS]]
    rng = np.random.default_rng(1)
    found, search_wall, _ = timed(
        lambda: minimise(bound, space, parents, rng, lambda _: False)
    )
    fits = "feasible" if space.feasible(values) else "not feasible"
    print(
        f"{n_trials} trials: ours {wall:.2f} s wall, {cpu:.2f} s CPU (median of "
        f"{n_repeats}); keras-tuner {their_wall:.1f} s wall, {their_cpu:.1f} s CPU\n"
        f"  bound by keras-tuner's own Gaussian process, lower is better: our search "
        f"{found[0]:.4f} in {search_wall:.2f} s, its search "
        f"{bound(space.point(values)[None])[0]:.4f} ({fits})",
        flush=True,
    )
    return np.array([wall, cpu]), np.array([their_wall, their_cpu])


def bound_of(gpr: GaussianProcessRegressor, beta: float) -> Callable:
    """Return the lower confidence bound of a Gaussian process."""

    def bound(points: np.ndarray) -> np.ndarray:
        mean, sd = gpr.predict(points, return_std=True)
        return mean - beta * sd

    return bound


# Memory -------------------------------------------------------------------------------


def measure_memory(n_trials: int, max_weights: int, method: str) -> None:
    """Print the process's memory on the way through a search.

    Of a few epochs, for what a trial leaves behind does not depend on their number.
    """
    import psutil

    rng = np.random.default_rng(1)
    X = rng.normal(size=(30, N_WAVELENGTHS)).cumsum(axis=1)
    sizes = []

    def note(*_: object) -> None:
        sizes.append(psutil.Process().memory_info().rss / 2**20)

    with tempfile.TemporaryDirectory() as directory:
        search(
            X, X[:, 150], np.arange(30) % 10, n_trials, directory,
            method=method, max_epochs=3, max_weights=max_weights, progress=note,
        )  # fmt: skip
    parts = np.array_split(np.array(sizes), 5)
    lowest = ", ".join(f"{part.min():.0f}" for part in parts)
    growth = (parts[-1].min() - parts[1].min()) / (n_trials * 3 / 5)
    print(
        f"{n_trials} trials of up to {max_weights:,} weights; memory after the first "
        f"{sizes[0]:.0f} MB, lowest in each fifth of the trials {lowest} MB, at most "
        f"{max(sizes):.0f} MB: it grows by {growth:.2f} MB per trial"
    )


# Searches on real farms ---------------------------------------------------------------


class Report:
    """Lines of finished runs, kept in a CSV."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.table = pd.DataFrame(columns=COLUMNS)
        if file.exists():
            self.table = pd.read_csv(file)

    def has(self, site: str, method: str, seed: int) -> bool:
        """Return whether a run is there."""
        return bool(len(self.rows(site, method, seed)))

    def rows(self, site: str, method: str, seed: int) -> pd.DataFrame:
        """Return the lines of a run."""
        table = self.table
        same = (table["site"] == site) & (table["method"] == method)
        return table[same & (table["seed"] == seed)]

    def add(self, rows: list[dict[str, object]]) -> None:
        """Append the lines of a run that is complete."""
        frames = [self.table, pd.DataFrame(rows, columns=COLUMNS)]
        self.table = pd.concat([one for one in frames if len(one)], ignore_index=True)
        self.table.to_csv(self.file, index=False)
        print(pd.DataFrame(rows[-1:]).to_string(index=False, header=False), flush=True)


def root_mean_square(errors: np.ndarray) -> float:
    """Return the RMSE of some errors."""
    return float(np.sqrt(np.mean(np.square(errors))))


def run_search(
    study: Study, method: str, seed: int, options: argparse.Namespace, budget: float
) -> list[dict[str, object]]:
    """Search until the trials are done or the CPU seconds spent; test the best."""
    rows: list[dict[str, object]] = []
    spent = 0.0
    with tempfile.TemporaryDirectory() as directory:
        continued = partial(
            search, *study.samples("local"),
            directory=directory, method=method, seed=seed, max_epochs=options.epochs,
            max_weights=options.max_weights, stopping=options.stopping,
        )  # fmt: skip
        while len(rows) < options.trials or np.isfinite(budget):
            found, _, cpu = timed(partial(continued, n_trials=len(rows) + 1))
            spent += cpu
            if spent > budget and rows:
                break  # over time: the trial does not count
            row = {"site": study.site.name, "method": method, "seed": seed}
            row |= {"trial": len(rows) + 1, "cpu_seconds": round(spent, 2)}
            rows.append(row | {"cv_rmse": found.score})
            best = found.best
    rows[-1] |= tested(study, best, seed, options)
    return rows


def tested(
    study: Study, architecture: Architecture, seed: int, options: argparse.Namespace
) -> dict[str, object]:
    """Return cross-validated and test RMSE of an architecture."""
    result = cross_validate(
        architecture, *study.samples("local"), seed=seed,
        stopping=options.stopping,
    )  # fmt: skip
    errors = result.predict(study.X_test) - study.site.soc[study.test]
    return {
        "cv_rmse": result.rmse,
        "test_rmse": root_mean_square(errors),
        "n_weights": n_weights(architecture, study.samples("local").X.shape[1]),
    }


def plain_models(study: Study, seed: int) -> dict[str, dict[str, float]]:
    """Return both RMSE of PLSR and random forest on the same folds."""
    X, y, folds = study.samples("local")
    plsr, forest = fit_plsr(X, y, folds), fit_random_forest(X, y, seed=seed)
    curve = cross_validated_rmse(X, y, folds, 15)
    held_out = cross_val_predict(clone(forest), X, y, cv=PredefinedSplit(folds))
    cv_rmse = {"plsr": float(min(curve)), "forest": root_mean_square(held_out - y)}
    measured = study.site.soc[study.test]
    return {
        name: {
            "cv_rmse": cv_rmse[name],
            "test_rmse": root_mean_square(model.predict(study.X_test) - measured),
        }
        for name, model in {"plsr": plsr, "forest": forest}.items()
    }


def compare_searches(options: argparse.Namespace) -> None:
    """Run all searches and models that the report does not hold, then write it."""
    report = Report(options.report.with_suffix(".csv"))
    library = load_library("farms")
    for site in options.sites:
        study = prepare(library, load_site(site))
        name = study.site.name
        for seed in range(1, options.seeds + 1):
            for method in options.methods:  # "bayesian" first: it sets the budget
                if report.has(name, method, seed):
                    continue
                budget = np.inf
                if method != options.methods[0]:
                    first = report.rows(name, options.methods[0], seed)
                    budget = float(first["cpu_seconds"].max())
                report.add(run_search(study, method, seed, options, budget))
        fixed = {"small": SMALL} | (dict(PUBLISHED) if options.published else {})
        for method, architecture in fixed.items():
            if not report.has(name, method, 1):
                row = {"site": name, "method": method, "seed": 1, "trial": 1}
                both, _, cpu = timed(partial(tested, study, architecture, 1, options))
                report.add([row | {"cpu_seconds": round(cpu, 2)} | both])
        for method, both in plain_models(study, 1).items():
            if not report.has(name, method, 1):
                row = {"site": name, "method": method, "seed": 1, "trial": 1}
                report.add([row | both])
    options.report.write_text(as_markdown(report.table, options), encoding="utf-8")
    print(f"wrote {options.report}")


def as_markdown(table: pd.DataFrame, options: argparse.Namespace) -> str:
    """Return what came out, as tables."""
    table = table.sort_values("site", kind="stable")
    parts = [
        "30 local samples, 10 folds, RMSE in % soil organic carbon (SOC). CV: pooled "
        f"over the held-out samples, stopping on {options.stopping!r}, which is "
        "optimistic for every network here and more so for the best of many; test: the "
        "samples of the farm that no model has seen. Mean (standard deviation) over "
        "seeds of search and training. All searches of a seed had the CPU time that "
        f"{options.trials} trials took with {options.methods[0]!r}.\n",
        "**At the end:**\n", _final_table(table),
        "\n**Best CV RMSE against the CPU time spent:**\n", _curves(table, options),
        "\n**Ratio to random search**, same farm and seed, with its 95 % interval:\n",
        _pairs(table, options),
    ]  # fmt: skip
    return "\n".join(parts) + "\n"


def _final_table(table: pd.DataFrame) -> str:
    """Return one line per farm and method."""
    lines = [
        "| farm | method | runs | trials | CPU s | weights | CV RMSE | test RMSE |",
        "|---|---|---|---|---|---|---|---|",
    ]
    last = table.groupby(["site", "method", "seed"], sort=False).tail(1)
    for (site, method), rows in last.groupby(["site", "method"], sort=False):
        numbers = [
            f"{rows['trial'].mean():.0f}",
            f"{rows['cpu_seconds'].mean():.0f}",
            f"{rows['n_weights'].median():,.0f}",
            *(_spread(rows[name]) for name in ("cv_rmse", "test_rmse")),
        ]
        cells = [site, method, str(len(rows)), *numbers]
        lines.append(f"| {' | '.join(cells)} |".replace("nan", "–"))
    return "\n".join(lines)


def _curves(table: pd.DataFrame, options: argparse.Namespace) -> str:
    """Return the best score at shares of the time, per farm and method."""
    shares = (0.25, 0.5, 0.75, 1.0)
    lines = [
        "| farm | method | " + " | ".join(f"{share:.0%}" for share in shares) + " |",
        "|---|---|" + "---|" * len(shares),
    ]
    searches = table[table["method"].isin(options.methods)]
    for (site, method), rows in searches.groupby(["site", "method"], sort=False):
        cells = []
        for share in shares:
            best = [
                _best_by(run, share * _budget(table, site, seed, options))
                for seed, run in rows.groupby("seed")
            ]
            cells.append(_spread(pd.Series(best)))
        lines.append(f"| {site} | {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _pairs(table: pd.DataFrame, options: argparse.Namespace) -> str:
    """Return the mean ratio to random search, with a 95 % interval over the pairs."""
    last = table.groupby(["site", "method", "seed"]).last().reset_index()
    lines = ["| method | pairs | CV RMSE | test RMSE |", "|---|---|---|---|"]
    for method in options.methods:
        cells = []
        for name in ("cv_rmse", "test_rmse"):
            wide = last.pivot(index=["site", "seed"], columns="method", values=name)
            if method == "random" or "random" not in wide:
                continue
            ratios = np.log(wide[method] / wide["random"]).dropna()
            cells.append(mean_ratio(ratios))
        if cells:
            lines.append(f"| {method} | {len(ratios)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def mean_ratio(logarithms: pd.Series) -> str:
    """Return the mean ratio and, of several, its 95 % interval."""
    mean, n_pairs = logarithms.mean(), len(logarithms)
    if n_pairs < 2:
        return f"× {np.exp(mean):.3f}"
    half = student.ppf(0.975, n_pairs - 1) * logarithms.std() / n_pairs**0.5
    low, high = np.exp([mean - half, mean + half])
    return f"× {np.exp(mean):.3f} ({low:.3f} to {high:.3f})"


def _budget(
    table: pd.DataFrame, site: str, seed: int, options: argparse.Namespace
) -> float:
    """Return the CPU seconds of the search that sets them."""
    same = (table["site"] == site) & (table["seed"] == seed)
    first = table[same & (table["method"] == options.methods[0])]
    return float(first["cpu_seconds"].max())


def _best_by(run: pd.DataFrame, seconds: float) -> float:
    """Return the lowest score after some CPU seconds, NaN before the first trial."""
    return float(run.loc[run["cpu_seconds"] <= seconds, "cv_rmse"].min())


def _spread(values: pd.Series) -> str:
    """Return mean and standard deviation as text."""
    sd = f" ({values.std():.3f})" if len(values) > 1 else ""
    return f"{values.mean():.3f}{sd}"


def main() -> None:
    """Read what to measure and measure it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--proposals", type=int, nargs="+", default=[50, 200])
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--compare", action="store_true")
    parser.add_argument("--sites", nargs="+", default=["skane", "uppsala"])
    parser.add_argument(
        "--methods",
        nargs="+",
        default=["bayesian", "random", "halving", "bayesian_halving"],
    )
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--max-weights", type=int, default=300_000)
    parser.add_argument("--stopping", default="validation")
    parser.add_argument("--no-published", dest="published", action="store_false")
    here = Path(__file__).parent
    parser.add_argument("--report", type=Path, default=here / "search.md")
    options = parser.parse_args()
    if options.compare:
        compare_searches(options)
    elif options.memory:
        measure_memory(options.trials, options.max_weights, options.methods[0])
    else:
        for n_trials in options.proposals:
            compare_proposals(n_trials)


if __name__ == "__main__":
    main()
