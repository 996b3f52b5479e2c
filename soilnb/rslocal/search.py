"""The search of RS-LOCAL: rounds of models, each of which shrinks the library."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilnb._validation import Floats, Progress, Rows, check_int
from soilnb.pls import check_columns
from soilnb.rslocal.crew import ClusterCrew, Crew
from soilnb.rslocal.inputs import (
    Settings,
    check_bands_vary,
    check_samples,
    check_settings,
    standardise,
)
from soilnb.rslocal.mapped import MappedFile
from soilnb.rslocal.subsets import UNITS_PER_SD, Draw, Spectra, Tally


@dataclass(frozen=True, eq=False)
class Selection:
    """The library rows that RS-LOCAL selected.

    `indices` (n_selected,) are the selected rows, increasing; `frequency` (n_library,)
    the share of the searches that selected each row; `searches` (n_searches,
    n_selected) the rows of each search. `scores` (n_library,) are the mean RMSE, in the
    unit of y, of the models that held each row in the last iteration that drew it, mean
    over searches, NaN where never drawn. `history` has one row per iteration: search
    (row of `searches`), iteration (from 1), pool_size (rows before the drop), n_models,
    rmse_q05, rmse_median, rmse_q95 (of the models, in the unit of y), n_components
    (median of the models), n_tasks (parts that the models were handed out in), seconds.
    """

    indices: Rows
    frequency: Floats
    searches: Rows
    scores: Floats
    history: pd.DataFrame


def _mean_rmse(tally: Tally) -> Floats:
    """Return the mean RMSE of each row of the pool, NaN where it was not drawn."""
    drawn = tally.counts > 0
    means = np.full(len(drawn), np.nan)
    means[drawn] = tally.sums[drawn] / tally.counts[drawn] / UNITS_PER_SD
    return means


def _keep_best(means: Floats, n_dropped: int) -> Rows:
    """Return the positions that stay, increasing; never-drawn rows all stay."""
    order = np.argsort(np.where(np.isnan(means), -np.inf, means), kind="stable")
    n_dropped = min(n_dropped, int(np.count_nonzero(~np.isnan(means))))
    return np.sort(order[: len(means) - n_dropped])


def _history_row(tally: Tally, y_sd: float, **facts: float) -> dict[str, float]:
    """Return one row of the history, with the RMSE in the unit of y."""
    quantiles = np.nanquantile(tally.rmse * y_sd, [0.05, 0.5, 0.95])
    names = ("rmse_q05", "rmse_median", "rmse_q95")
    return {
        **facts,
        "n_models": len(tally.rmse),
        **dict(zip(names, quantiles, strict=True)),
        "n_components": float(np.median(tally.n_components)),
    }


def _search(
    crew: Crew,
    settings: Settings,
    search: int,
    y_sd: float,
    report: Callable[[int, int], object],
) -> tuple[npt.NDArray[np.int32], Floats, list[dict[str, float]]]:
    """Return the rows left, the last mean RMSE of every row, and the history."""
    n_library = len(crew.spectra.y_library)
    pool = np.arange(n_library, dtype=np.int32)
    scores = np.full(n_library, np.nan)
    history: list[dict[str, float]] = []
    while len(pool) > settings.n_selected:
        start, iteration = time.perf_counter(), len(history)
        sizes = settings.subset_size, settings.n_components, settings.n_folds
        draw = Draw(settings.seed, search, iteration, *sizes)
        tally = crew.tally(pool, draw, settings.n_models(len(pool)))
        means = _mean_rmse(tally)
        if np.isnan(means).all():
            msg = (
                f"All {len(tally.rmse)} models of iteration {iteration + 1} failed: "
                "their RMSE is not finite. Check the size of the values in 'y_local'."
            )
            raise ValueError(msg)
        scores[pool] = np.where(np.isnan(means), scores[pool], means * y_sd)
        facts = {"search": search, "iteration": iteration + 1, "pool_size": len(pool)}
        history.append(_history_row(tally, y_sd, **facts))
        pool = pool[_keep_best(means, settings.n_dropped(len(pool)))]
        history[-1]["n_tasks"] = crew.n_tasks
        history[-1]["seconds"] = time.perf_counter() - start
        report(len(tally.rmse), len(pool))
    return pool, scores, history


def _combine(
    pools: Sequence[npt.NDArray[np.int32]],
    scores: Sequence[Floats],
    history: list[dict[str, float]],
) -> Selection:
    """Return the rows that most searches selected, and what is known of all."""
    searches = np.array(pools, dtype=np.intp)
    n_library, n_selected = len(scores[0]), searches.shape[1]
    frequency = np.bincount(searches.ravel(), minlength=n_library) / len(searches)
    stacked = np.array(scores)
    n_known = np.count_nonzero(~np.isnan(stacked), axis=0)
    mean_scores = np.full(n_library, np.nan)
    np.divide(np.nansum(stacked, axis=0), n_known, out=mean_scores, where=n_known > 0)
    # Ties: lower score first, then lower row (the sort is stable).
    best = np.lexsort((mean_scores, -frequency))[:n_selected]
    table = pd.DataFrame(history).astype({"search": int, "iteration": int})
    return Selection(np.sort(best), frequency, searches, mean_scores, table)


def _crew(spectra: Spectra, client: Any, X_library: npt.NDArray) -> Crew:
    """Return who computes: threads here, or the workers of a client."""
    if client is None:
        return Crew(spectra)
    return ClusterCrew(spectra, client, MappedFile.of(X_library))


class _Reporter:
    """Passes on how far the searches are, counted in models."""

    def __init__(
        self, progress: Progress | None, settings: Settings, n_library: int, n: int
    ) -> None:
        self.progress = progress
        self.done, self.n_searches = 0, n
        models = [settings.n_models(size) for size in settings.pool_sizes(n_library)]
        self.total = n * sum(models)

    def report(self, search: int, n_models: int, pool_size: int) -> None:
        """Count the models of one iteration and tell."""
        self.done += n_models
        # More only where rows never drawn were kept and made the search longer.
        self.total = max(self.total, self.done)
        if self.progress is not None:
            text = f"search {search + 1} of {self.n_searches}, {pool_size} rows left"
            self.progress(self.done, self.total, text)


def selection_size(n_library: int, n_selected: int = 100) -> int:
    """Return how many rows RS-LOCAL should take from a library.

    They are `n_selected` (the paper's k), or half of the library's `n_library` (at
    least 4) where it has fewer than twice that. TypeError or ValueError for other
    numbers.

    >>> selection_size(50_422), selection_size(120)
    (100, 60)
    """
    check_int(n_library, "n_library", 4)
    check_int(n_selected, "n_selected", 2)
    return min(n_selected, n_library // 2)


def select_instances(
    X_library: npt.ArrayLike,
    y_library: npt.ArrayLike,
    X_local: npt.ArrayLike,
    y_local: npt.ArrayLike,
    *,
    n_selected: int = 100,
    subset_size: int | None = None,
    n_repeats: int = 50,
    drop_fraction: float = 0.05,
    n_components: int | Literal["cv"] = 10,
    n_searches: int = 1,
    seed: int = 1,
    client: Any = None,
    progress: Progress | None = None,
) -> Selection:
    """Select the library samples that best model the local ones, by RS-LOCAL.

    Each iteration draws random subsets of the remaining library rows, fits a PLSR on
    each and predicts the local samples. The score of a row is the mean RMSE of the
    models that held it; the rows with the highest are dropped (Lobsey et al. 2017,
    European Journal of Soil Science 68(6), 840-852; Shen et al. 2022, ISPRS Journal of
    Photogrammetry and Remote Sensing 188, 190-200).

    Parameters
    ----------
    X_library, y_library : array-like of shape (n_library, n_wavelengths), (n_library,)
        Spectra, not scaled, and soil property of the soil spectral library.
    X_local, y_local : array-like of shape (n_local, n_wavelengths), (n_local,)
        Those of the local samples, same unit. They are never among the rows returned.
    n_selected : int, default 100
        Rows to select, from 2 to one less than the library has.
    subset_size : int, optional
        Rows each model is fitted on (the paper's k), from 2 to `n_selected`;
        `n_selected` by default.
    n_repeats : int, default 50
        Times each row is drawn per iteration, on average (the paper's b).
    drop_fraction : float, default 0.05
        Share of the rows dropped per iteration (the paper's r), between 0 and 1.
    n_components : int or "cv", default 10
        PLS components of each model, up to one less than `subset_size`. With "cv",
        each model takes the number, up to 15, with the lowest RMSE in a ten-fold
        cross-validation of its subset (ties: the smallest), and a search takes some
        fourteen times as long.
    n_searches : int, default 1
        Independent searches. With several, the rows returned are those selected
        most often (ties: lower score, then lower row).
    seed : int, default 1
        Seed of all draws, at least 0.
    client : dask.distributed.Client, optional
        Cluster to compute on; by default the threads of this process, as many as dask's
        setting ``num_workers`` or the machine has. The answer is the same, to the last
        bit where the workers have the same kind of processor. A worker lost on the way
        costs time only; a RuntimeError if all are lost and none comes back.
    progress : callable, optional
        Called after each iteration as progress(models done, models in all, text).

    Returns
    -------
    Selection
        The rows, how often each was selected, its score, and the history. A TypeError
        or ValueError if a number is of the wrong kind or out of range, values are
        missing or infinite, shapes do not match, or a property or a column of
        `X_library` is constant.

    Notes
    -----
    An iteration fits round(pool x b / k) models and drops
    max(1, round(pool x r)) rows, fewer in the last one, so that exactly
    `n_selected` remain. Scores start anew in every iteration. Rows that no model
    held are kept; ties keep the lower row; models that fail are skipped.
    Models are fitted in single precision on one centred copy of the library, or, where
    `X_library` is a float32 map of a file (`numpy.memmap`), on that as it is: threads
    share it, and so do workers of a cluster that find the same file at its path. One
    search may differ much from the next (two may share hardly more rows than chance
    would give), though their predictions are alike: hence `n_searches`.

    The local samples choose the rows: an error estimated on them is optimistic.

    An interrupted search leaves nothing behind that computes. In a terminal, Ctrl-C
    also ends the workers of a LocalCluster, which then has to be started again.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> X = rng.normal(size=(60, 4))
    >>> y = np.where(np.arange(60) < 20, 1, -1) * X[:, 0]  # the site follows +1
    >>> chosen = select_instances(X, y, X[:10], X[:10, 0], n_selected=10,
    ...     n_components=2)
    >>> len(chosen.indices), int((chosen.indices < 20).sum())
    (10, 10)
    """
    library = check_samples(X_library, y_library, "library")
    local = check_samples(X_local, y_local, "local")
    check_columns(local[0], "X_local", library[0], "X_library")
    check_bands_vary(library[0])
    sizes = n_selected, subset_size, n_repeats, drop_fraction, n_components
    settings = check_settings(library[0].shape, *sizes, seed)
    check_int(n_searches, "n_searches", 1)
    reporter = _Reporter(progress, settings, len(library[1]), n_searches)
    spectra, y_sd = standardise(*library, *local), float(library[1].std())
    with _crew(spectra, client, library[0]) as crew:
        results = [
            _search(crew, settings, search, y_sd, partial(reporter.report, search))
            for search in range(n_searches)
        ]
    pools, scores, histories = zip(*results, strict=True)
    return _combine(pools, scores, [row for part in histories for row in part])
