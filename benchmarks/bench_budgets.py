"""What a search is worth by the number of its trials, on all farms.

    nice python benchmarks/bench_budgets.py networks --trials 8 20 40
    nice python benchmarks/bench_budgets.py selection --settings 50x5 200x5 50x20 800x5
    nice python benchmarks/bench_budgets.py dtl_i --settings 50x5 200x5 800x5
    python benchmarks/bench_budgets.py report           # the table, of what is there

Networks: one search for each site, guided from its fifth trial on, of which the first
trials are the smaller budgets; beside it the small network with five seeds. Selection:
RS-LOCAL with other numbers of draws and of searches, 50x5 for instance, and PLSR and
the small network (`dtl_i`) on what it selects.
Every result is a line of the CSV beside `--report` and not computed again; predictions
of every trial are kept in `--keep`. One thread, and CPU seconds: other work on the
machine does not count.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import bench_search
import dask
import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits

from soilnb.cnn import SMALL, CrossValidation, cross_validate
from soilnb.cnn.tuning import Trial, search, trials
from soilnb.cnn.tuning.log import COMPLETED
from soilnb.cnn.tuning.result import MARGIN, SearchResult
from soilnb.datasets import TWIN_SITES, load_library, load_site
from soilnb.metrics import rmse
from soilnb.rslocal import selection_size
from soilnb.study import Study, predict_with, prepare, select_rows

ROOT = Path(__file__).resolve().parents[1]
FARMS = (
    "skane", "uppsala", "vaud", "santa-catarina", "sao-paulo", "saxony-anhalt",
    "rhineland",
)  # fmt: skip
COLUMNS = [
    "part", "site", "budget", "way", "score", "of_small", "precision", "test_rmse",
    "cpu_seconds",
]  # fmt: skip
N_INITIAL = 4  # trials before the first guided one: those of 8 trials begin all others
CLEANED = 1 / 4  # of the trials, at least 4, the best by cross-validation: scored anew
N_SEEDS = 5  # of the small network
TWIN_ROWS = 2_000  # of the library of the twin's site
SEEDS = "small, mean over seeds"
USUAL = "50x5"  # draws and searches of the profile `quick`

Predictions = npt.NDArray[np.float64]


# What is kept -------------------------------------------------------------------------


class Report:
    """Lines of finished runs, kept in a CSV."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.table = pd.DataFrame(columns=COLUMNS)
        if file.exists():
            self.table = pd.read_csv(file, dtype={"budget": str})

    def has(self, part: str, site: str, budget: str) -> bool:
        """Return whether the lines of a run are there."""
        table = self.table
        same = (table["part"] == part) & (table["site"] == site)
        return bool((same & (table["budget"] == budget)).any())

    def add(self, part: str, site: str, budget: str, rows: list[dict]) -> None:
        """Append the lines of a run that is complete."""
        of_run = {"part": part, "site": site, "budget": budget}
        new = pd.DataFrame([of_run | row for row in rows], columns=COLUMNS)
        frames = [one for one in (self.table, new) if len(one)]
        self.table = pd.concat(frames, ignore_index=True)
        self.table.round(5).to_csv(self.file, index=False)
        print(new.to_string(index=False, header=False), flush=True)


class Kept:
    """Networks trained for one site: scores and test predictions, each computed once.

    A file is named by architecture, seed and stopping.
    """

    def __init__(self, study: Study, folder: Path) -> None:
        self.study, self.folder = study, folder
        folder.mkdir(parents=True, exist_ok=True)

    def get(
        self, values: Mapping[str, Any], stopping: str, train: Callable, seed: int = 1
    ) -> dict[str, Any]:
        """Return what is kept of a network, which is trained where nothing is."""
        text = json.dumps([values, seed], sort_keys=True, default=float)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        file = self.folder / f"{stopping}-{digest}.npz"
        if not file.exists():
            begun = time.process_time()
            result: CrossValidation = train()
            is_whole = stopping == "validation" and np.isfinite(result.rmse)
            kept = {"score": result.rmse, "trained": time.process_time() - begun}
            # Of networks that an inner part stopped only the score is of use here.
            kept["test"] = result.predict(self.study.X_test) if is_whole else []
            kept["seconds"] = time.process_time() - begun
            np.savez(file, **kept)
        with np.load(file) as arrays:
            return {name: arrays[name] for name in arrays}


def prepared(site: str) -> Study:
    """Return the study of a site."""
    if site not in TWIN_SITES:
        return prepare(load_library("farms"), load_site(site))
    twin = load_library("twin")
    of_country = np.flatnonzero(twin.info["country"] == TWIN_SITES[site])
    rng = np.random.default_rng(1)
    some = rng.permutation(of_country)[:TWIN_ROWS]
    return prepare(twin.take(np.sort(some)), load_site(site))


# Networks -----------------------------------------------------------------------------


def run_networks(study: Study, options: argparse.Namespace, report: Report) -> None:
    """Search, and add the lines of every number of trials that is not there."""
    site = study.site.name
    kept = Kept(study, options.keep / site)
    if not report.has("networks", site, "0"):
        report.add("networks", site, "0", small_networks(kept, options.epochs))
    for n_trials in sorted(options.trials):
        if not report.has("networks", site, str(n_trials)):
            found = kept_search(kept, n_trials, options)
            report.add("networks", site, str(n_trials), ways_of(found, kept))


def small_networks(kept: Kept, epochs: int) -> list[dict[str, Any]]:
    """Return the lines of the small network: its seeds' mean, their predictions'."""
    samples, measured = kept.study.samples("local"), measured_of(kept.study)
    runs = [
        kept.get(
            {"small": epochs}, "validation",
            partial(cross_validate, SMALL, *samples, seed=seed, max_epochs=epochs),
            seed,
        )
        for seed in range(1, N_SEEDS + 1)
    ]  # fmt: skip
    errors = [rmse(measured, run["test"]) for run in runs]
    both = {
        SEEDS: float(np.mean(errors)),
        "small, mean prediction": rmse(measured, np.mean([r["test"] for r in runs], 0)),
    }
    facts = {
        "score": np.mean([run["score"] for run in runs]),
        "cpu_seconds": sum(run["seconds"] for run in runs),
    }
    return [facts | {"way": way, "test_rmse": error} for way, error in both.items()]


def kept_search(kept: Kept, n_trials: int, options: argparse.Namespace) -> SearchResult:
    """Return the search of chapter 4 after some trials, whose networks all predict."""
    samples = kept.study.samples("local")
    train = trials._cross_validate

    def training(
        task: trials.Task, values: Mapping[str, Any], rungs: trials.Rungs
    ) -> CrossValidation:
        results = []

        def once() -> CrossValidation:
            results.append(train(task, values, rungs))
            return results[0]

        kept.get(values, "validation", once)
        return results[0] if results else train(task, values, rungs)

    with mock.patch.object(trials, "_cross_validate", training):
        return search(
            *samples, n_trials, kept.folder / "search",
            n_initial=N_INITIAL, start=(SMALL,),
            max_epochs=options.epochs, max_weights=options.max_weights,
        )  # fmt: skip


def ways_of(found: SearchResult, kept: Kept) -> list[dict[str, Any]]:
    """Return a line for each way to take networks from the trials of a search."""
    measured = measured_of(kept.study)
    ended = [trial for trial in found.tried if trial.status == COMPLETED]
    by_cv = sorted(ended, key=lambda trial: trial.score)
    small, n_cleaned = found.tried[0], max(4, round(CLEANED * len(found.tried)))
    clean = {
        trial.number: cleaned(found, trial, kept)
        for trial in [small, *by_cv[:n_cleaned]]
    }
    by_clean = sorted(
        (trial for trial in ended if trial.number in clean),
        key=lambda trial: clean[trial.number],
    )
    tests = {trial.number: of_trial(trial, kept)["test"] for trial in by_cv}
    seconds = sum(float(of_trial(trial, kept)["trained"]) for trial in ended)
    rows = []
    for name, ranked, score, sizes in (
        (
            "cross-validation",
            by_cv,
            {one.number: one.score for one in ended},
            (1, 3, 5),
        ),
        ("clean score", by_clean, clean, (1, 3)),
    ):
        for size in sizes:
            some = [tests[trial.number] for trial in ranked[:size]]
            way = f"best by {name}" if size == 1 else f"mean of {size} by {name}"
            row = {"way": way, "score": score[ranked[0].number]}
            row |= {"of_small": score[small.number], "cpu_seconds": seconds}
            rows.append(row | {"test_rmse": rmse(measured, np.mean(some, axis=0))})
    return rows


def cleaned(found: SearchResult, trial: Trial, kept: Kept) -> float:
    """Return the RMSE of a trial on folds that did not stop its training."""
    train = partial(
        cross_validate, found.architecture(trial), *kept.study.samples("local"),
        seed=1, stopping="inner",
    )  # fmt: skip
    score = float(kept.get(trial.values, "inner", train)["score"])
    return score if np.isfinite(score) else np.inf


def of_trial(trial: Trial, kept: Kept) -> dict[str, Any]:
    """Return what is kept of a trial's networks."""

    def missing() -> CrossValidation:
        msg = f"The networks of trial {trial.number} are not in {str(kept.folder)!r}."
        raise RuntimeError(msg)

    return kept.get(trial.values, "validation", missing)


def measured_of(study: Study) -> Predictions:
    """Return SOC of the test samples."""
    return study.site.soc[study.test]


# Selection ----------------------------------------------------------------------------


def run_selection(study: Study, options: argparse.Namespace, report: Report) -> None:
    """Add the lines of PLSR on what every setting of RS-LOCAL selects."""
    site = study.site.name
    if not report.has("selection", site, "0"):
        report.add("selection", site, "0", without_selection(study))
    for budget in options.settings:
        if not report.has("selection", site, budget):
            found = selected(study, budget, options.keep / site)
            facts = {"cpu_seconds": float(found["seconds"])}
            if site in TWIN_SITES:
                province = study.site.info["province"].iloc[0]
                own = (study.library.info["province"] == province).to_numpy()
                facts["precision"] = own[found["indices"]].mean()
            each = [predict_with(study, rows) for rows in found["searches"]]
            ways = {
                "plsr": predict_with(study, found["indices"]),
                "plsr, average": np.mean(each, axis=0),
            }
            measured = measured_of(study)
            rows = [
                facts | {"way": way, "test_rmse": rmse(measured, predicted)}
                for way, predicted in ways.items()
            ]
            report.add("selection", site, budget, rows)


def selected(study: Study, budget: str, folder: Path) -> dict[str, Any]:
    """Return the rows that RS-LOCAL selects, consensus and of each search."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"selected-{budget}.npz"
    if not file.exists():
        n_repeats, n_searches = map(int, budget.split("x"))
        begun = time.process_time()
        found = select_rows(study, "global", n_repeats=n_repeats, n_searches=n_searches)
        seconds = time.process_time() - begun
        np.savez(file, indices=found.indices, searches=found.searches, seconds=seconds)
    with np.load(file) as arrays:
        return {name: arrays[name] for name in arrays}


def without_selection(study: Study) -> list[dict[str, Any]]:
    """Return the lines of PLSR without a search: local samples alone, random rows."""
    rng = np.random.default_rng(1)
    n_library = len(study.library)
    size = selection_size(n_library)
    draws = [rng.choice(n_library, size, replace=False) for _ in range(5)]
    measured = measured_of(study)
    errors = [rmse(measured, predict_with(study, rows)) for rows in draws]
    alone = {
        "plsr, local alone": rmse(measured, predict_with(study, [])),
        "plsr, random rows": float(np.mean(errors)),
    }
    return [{"way": way, "test_rmse": error} for way, error in alone.items()]


def run_dtl_i(study: Study, options: argparse.Namespace, report: Report) -> None:
    """Add the lines of the small network on what every setting selects."""
    site = study.site.name
    for budget in options.settings:
        if not report.has("dtl_i", site, budget):
            rows = selected(study, budget, options.keep / site)["indices"]
            samples, begun = study.localised(rows), time.process_time()
            result = cross_validate(SMALL, *samples, max_epochs=options.epochs)
            error = rmse(measured_of(study), result.predict(study.X_test))
            facts = {"way": "small", "cpu_seconds": time.process_time() - begun}
            report.add("dtl_i", site, budget, [facts | {"test_rmse": error}])


# The table ----------------------------------------------------------------------------


def as_markdown(table: pd.DataFrame) -> str:
    """Return what came out, as tables."""
    networks = table[table["part"] == "networks"]
    base = networks[networks["way"] == SEEDS].set_index("site")["test_rmse"]
    taken = [
        networks[networks["budget"] != "0"].pipe(taken_by, way, base)
        for way in ("best by cross-validation", "best by clean score")
    ]
    networks = pd.concat([networks, *taken]).sort_values(
        "budget", key=lambda budget: budget.astype(int), kind="stable"
    )
    parts = [
        "**Networks**: test RMSE over that of the small network (mean of five seeds), "
        "with a 95 % interval of the mean over the real farms; where the best is the "
        "small network itself, the ratio is that of its first seed. Clean score: of "
        "folds that did not stop the training, for the small network and the best "
        "quarter by cross-validation, at least four. Taken: the best where its score "
        f"is at least {MARGIN:.0%} below that of the small network, else that one.\n",
        ratios(networks, base, ["budget", "way"], "trials | networks"),
    ]
    for part, words in (("selection", "PLSR"), ("dtl_i", "the small network")):
        of_part = table[table["part"] == part].sort_values("way", kind="stable")
        usual = of_part[of_part["budget"] == USUAL].drop_duplicates("site")
        if len(usual):
            parts += [
                f"\n**Selection**: test RMSE of {words} on localised data over that of "
                f"*b* x searches = {USUAL}.\n",
                ratios(
                    of_part,
                    usual.set_index("site")["test_rmse"],
                    ["budget", "way"],
                    "*b* x searches | model",
                ),
            ]
    known = table.dropna(subset="precision").drop_duplicates(["site", "budget"])
    for site, rows in known.groupby("site"):
        told = ", ".join(
            f"{value:.2f} ({budget})"
            for budget, value in zip(rows["budget"], rows["precision"], strict=True)
        )
        parts.append(f"\n**Precision** where the truth is known, {site}: {told}.")
    return "\n".join(parts)


def taken_by(networks: pd.DataFrame, way: str, small: pd.Series) -> pd.DataFrame:
    """Return the lines of the rule: the best, where it is clearly better, or small."""
    rows = networks[networks["way"] == way]
    is_clear = rows["score"] <= (1 - MARGIN) * rows["of_small"]
    error = rows["test_rmse"].where(is_clear, rows["site"].map(small))
    return rows.assign(way=way.replace("best", "taken"), test_rmse=error)


def ratios(table: pd.DataFrame, base: pd.Series, by: list[str], head: str) -> str:
    """Return test RMSE over that of a base, by site, and the mean over real farms."""
    sites = [site for site in (*FARMS, *TWIN_SITES) if site in set(table["site"])]
    lines = [
        f"| {head} | {' | '.join(sites)} | mean of the real farms |",
        "|---" * (len(by) + len(sites) + 1) + "|",
    ]
    table = table.assign(ratio=table["test_rmse"] / table["site"].map(base))
    for key, rows in table.groupby(by, sort=False):
        found = rows.set_index("site")["ratio"].reindex(sites)
        of_farms = np.log(found.reindex(list(FARMS))).dropna()
        shown = ["–" if np.isnan(one) else f"{one:.2f}" for one in found]
        mean = bench_search.mean_ratio(of_farms) if len(of_farms) > 2 else "–"
        cells = [*key, *shown, mean]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


PARTS = {"networks": run_networks, "selection": run_selection, "dtl_i": run_dtl_i}


def main() -> None:
    """Read what to measure and measure it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=[*PARTS, "report"])
    parser.add_argument("--sites", nargs="+", default=FARMS)
    parser.add_argument("--trials", type=int, nargs="+", default=[8, 40])
    parser.add_argument("--settings", nargs="+", default=["50x5", "200x5", "50x20"])
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--max-weights", type=int, default=300_000)
    parser.add_argument("--keep", type=Path, default=ROOT / "_build" / "budgets")
    here = Path(__file__).parent
    parser.add_argument("--report", type=Path, default=here / "budgets.md")
    options = parser.parse_args()
    report = Report(options.report.with_suffix(".csv"))
    run = PARTS.get(options.part)
    from soilnb.cnn._tensorflow import tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    with threadpool_limits(1), dask.config.set(num_workers=1):
        for site in options.sites if run else ():
            run(prepared(site), options, report)
    options.report.write_text(as_markdown(report.table), encoding="utf-8")
    print(f"wrote {options.report}")


if __name__ == "__main__":
    main()
