"""The search: asks for architectures, has them trained, tells how they did."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from soilnb._files import locked
from soilnb._validation import check_choice, check_int
from soilnb.cnn.architecture import Architecture
from soilnb.cnn.folds import STOPPINGS
from soilnb.cnn.tuning.crew import Cluster, Crew, Here
from soilnb.cnn.tuning.log import (
    COMPLETED,
    FAILED,
    MOST_TRIALS,
    Trial,
    TrialLog,
    digest,
)
from soilnb.cnn.tuning.result import SearchResult

if TYPE_CHECKING:
    from soilnb.cnn.tuning.oracle import ArchitectureOracle

# Whether proposals are guided by the trials so far; whether bad trials end early.
METHODS = {
    "bayesian": (True, False),
    "random": (False, False),
    "halving": (False, True),
    "bayesian_halving": (True, True),
}
FORMAT = 1  # of the log; another one cannot be continued

Progress = Callable[[int, int, str], object]


def initial_trials(n_trials: int) -> int:
    """Return how many trials come before a guided one: half, at least 2, at most 10.

    >>> initial_trials(8), initial_trials(200)
    (4, 10)
    """
    return min(10, max(2, n_trials // 2))


def search(
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    folds: npt.ArrayLike,
    n_trials: int,
    directory: str | Path,
    *,
    method: str = "bayesian",
    seed: int = 1,
    client: Any = None,
    start: Sequence[Architecture] = (),
    n_initial: int | None = None,
    max_epochs: int = 500,
    max_weights: int | None = None,
    stopping: str = "validation",
    progress: Progress | None = None,
) -> SearchResult:
    """Search for the architecture with the lowest cross-validated RMSE.

    Every trial is written to `directory` when it begins and when it ends. A search that
    was killed goes on when it is called again: it trains anew what was being trained,
    and nothing else.

    Parameters
    ----------
    X, y, folds : array-like
        As of `soilnb.cnn.cross_validate`.
    n_trials : int
        Architectures to try in all, those already in `directory` included, 1 to 9999.
    directory : path
        Belongs to this search; made if missing.
    method : str, default "bayesian"
        "bayesian": a Gaussian process fitted to the trials so far proposes the next
        one. "random": all are drawn evenly from the space. "halving": as "random", but
        at epochs 10, 30, 90 and 270 only those among the best third so far go on
        (asynchronous successive halving, Li et al. 2020, Proceedings of Machine
        Learning and Systems 2, 230-246). "bayesian_halving": both.
    seed : int, default 1
        Seed of the proposals, with the number of the trial, and of every training.
    client : dask.distributed.Client, optional
        Trains one architecture on each worker at a time; without it, here.
    start : sequence of Architecture, default ()
        Tried first; with more epochs than `max_epochs`, for that many.
    n_initial : int, optional
        Trials, those of `start` included, before the first guided one. By default
        `initial_trials` of those wanted; a search that goes on keeps its number.
    max_epochs : int, default 500
        Upper end of the epochs.
    max_weights : int, optional
        Larger networks are never tried.
    stopping : str, default "validation"
        Which samples stop the training; see `soilnb.cnn.cross_validate`. "inner" gives
        scores that are not flattered by it.
    progress : callable, optional
        Called after each trial as progress(done, total, text), counting the trials of
        this call.

    Returns
    -------
    SearchResult
        Best architecture, its score, table of all trials. Where all of them failed, the
        table says why, and the best is an error.

    Raises
    ------
    TypeError, ValueError
        If the samples are unfit for `soilnb.cnn.cross_validate`, a setting is of the
        wrong kind or out of range, or `directory` holds another search or is in use.

    Notes
    -----
    The score is the RMSE over all held-out samples together; `cross_validate` with
    `best` and `seed` gives it, and the networks, again. A trial whose RMSE becomes
    infinite, or that needs more memory than there is, fails; its cause is noted and the
    search goes on. Any other error is a bug and ends the search. With one worker, the
    trials depend on the arguments only, whether or not the search was interrupted. With
    several, proposals also depend on which trial ended first.

    The framework is that of `Architecture`; the ranges of the space are ours.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from soilnb.cnn.tuning import search
    >>> X = np.random.default_rng(1).normal(size=(12, 60))
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     found = search(X, X[:, 9], np.arange(12) % 2, 2, directory,
    ...         max_epochs=2, max_weights=20_000)
    >>> found.trials["status"].tolist()
    ['completed', 'completed']
    """
    check_int(n_trials, "n_trials", 1, MOST_TRIALS)
    log = TrialLog(directory)
    if n_initial is None:
        n_initial = log.settings().get("n_initial", initial_trials(n_trials))
    settings = _Settings(method, seed, n_initial, max_epochs, max_weights, stopping)
    # Here, for they import TensorFlow and keras-tuner.
    from soilnb.cnn.training import check_samples
    from soilnb.cnn.tuning.oracle import ArchitectureOracle
    from soilnb.cnn.tuning.space import Space
    from soilnb.cnn.tuning.trials import Task

    X, y, folds = check_samples(X, y, folds, "float64")
    space = Space(X.shape[1], max_epochs=max_epochs, max_weights=max_weights)
    space.draw(np.random.default_rng(seed))  # raises if there is nothing to try
    start = [replace(one, epochs=min(one.epochs, max_epochs)) for one in start]
    first = [space.check(one) for one in start]
    data = digest([X, y, folds.astype(np.int64)])
    n_random = n_initial if settings.is_guided else MOST_TRIALS
    task = Task(X, y, folds, {"seed": seed, "stopping": stopping})
    crew = Here(task) if client is None else Cluster(task, client)
    busy = (
        f"'directory' {str(directory)!r} is in use by another search. Wait "
        "until it has ended, or give this one a directory of its own."
    )
    # Held: two searches would train and note the same trials.
    with locked(Path(directory) / ".lock", busy):
        log.claim(
            asdict(settings)
            | {"format": FORMAT, "data": data, "start": first, "space": space.digest}
        )
        oracle = ArchitectureOracle(
            space, log, seed=seed, n_initial=n_random, start=first
        )
        _run(oracle, crew, n_trials, settings.is_halving, progress)
    return SearchResult(oracle.ended(), space)


@dataclass(frozen=True)
class _Settings:
    """What the trials depend on beside the data, checked."""

    method: str
    seed: int
    n_initial: int
    max_epochs: int
    max_weights: int | None
    stopping: str

    def __post_init__(self) -> None:
        """Check the settings."""
        check_choice(self.method, "method", METHODS)
        check_int(self.seed, "seed", 0)
        check_int(self.n_initial, "n_initial", 2)
        check_int(self.max_epochs, "max_epochs", 1)
        if self.max_weights is not None:
            check_int(self.max_weights, "max_weights", 1)
        check_choice(self.stopping, "stopping", STOPPINGS)

    @property
    def is_guided(self) -> bool:
        """Whether the trials so far guide the next one."""
        return METHODS[self.method][0]

    @property
    def is_halving(self) -> bool:
        """Whether bad trials end early."""
        return METHODS[self.method][1]


def _run(
    oracle: ArchitectureOracle,
    crew: Crew,
    n_trials: int,
    is_halving: bool,
    progress: Progress | None,
) -> None:
    """Keep the crew busy until the trials are done."""
    from soilnb.cnn.tuning.trials import thresholds

    n_before = len(oracle.ended())
    n_to_do = max(0, n_trials - n_before)  # of this call: the others took no time
    running: dict[Hashable, Trial] = {}
    with contextlib.closing(crew):
        while True:
            while len(running) < crew.size:
                trial = oracle.ask(n_trials)
                if trial is None:
                    break
                limits = thresholds(oracle.known.values()) if is_halving else {}
                running[crew.submit(trial.values, limits)] = trial
            if not running:
                break
            key, outcome = crew.wait()
            oracle.tell(replace(running.pop(key), **outcome))
            ended = oracle.ended()
            if progress is not None:
                done = len(ended) - n_before
                progress(done, max(done, n_to_do), _progress_text(ended, n_trials))
    if progress is not None and not n_to_do:
        progress(1, 1, _progress_text(oracle.ended(), n_trials))


def _progress_text(ended: Sequence[Trial], n_trials: int) -> str:
    """Return how many trials have ended, the best score and the failures."""
    parts = [f"trial {len(ended)} of {max(len(ended), n_trials)}"]
    scores = [trial.score for trial in ended if trial.status == COMPLETED]
    if scores:
        parts.append(f"best RMSE {min(filter(None, scores)):.3g}")
    n_failed = sum(trial.status == FAILED for trial in ended)
    return ", ".join([*parts, *([f"{n_failed} failed"] if n_failed else [])])
