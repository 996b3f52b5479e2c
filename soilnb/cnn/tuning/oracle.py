"""keras-tuner's Bayesian oracle: quicker proposals, and a log that survives a kill.

What differs from `keras_tuner.oracles.BayesianOptimizationOracle`: the Gaussian process
(see `surrogate`); its bound is minimised over many architectures at a time instead of
along finite differences; only feasible, new architectures are proposed; a proposal
depends on the seed, its number and the finished trials, on nothing else; a failed trial
counts as a bad one; each trial is kept in a file that is never half-written.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessRegressor
from threadpoolctl import threadpool_limits

from soilnb.cnn.tuning.log import FAILED, MOST_TRIALS, RUNNING, Trial, TrialLog
from soilnb.cnn.tuning.space import Points, Space, Values, kt
from soilnb.cnn.tuning.surrogate import make_surrogate, observations

POOL, ROUNDS, KEPT, PARENTS = 300, 15, 20, 10  # of the minimisation of the bound
CHANGES, STEP = 3.0, 0.1  # coordinates that a child changes on average, and how far

KerasTrial: TypeAlias = Any  # keras_tuner.engine.trial.Trial: it has no types
_STATUS = {RUNNING: "RUNNING", FAILED: "FAILED"}  # the others: "COMPLETED"


class ArchitectureOracle(kt.oracles.BayesianOptimizationOracle):
    """Proposes architectures and remembers, in memory and in files, how they did."""

    def __init__(
        self,
        space: Space,
        log: TrialLog,
        *,
        seed: int,
        n_initial: int,  # drawn at random before the first guided one
        start: Sequence[Values] = (),
    ) -> None:
        self.space, self.log, self.start = space, log, start
        self.known: dict[int, Trial] = {}
        self._names = map(str, itertools.count())  # keras-tuner wants one per request
        super().__init__(
            objective=kt.Objective("rmse", "min"),
            max_trials=MOST_TRIALS,
            num_initial_points=n_initial,
            seed=seed + 1,  # 0 would mean none
            hyperparameters=space.hyperparameters,
            tune_new_entries=False,
            allow_new_entries=False,
            max_consecutive_failed_trials=MOST_TRIALS + 1,  # never give up
        )
        self.verbose = 0
        self.reload()

    def ask(self, n_trials: int) -> Trial | None:
        """Return a trial to run, or None if `n_trials` are finished or under way."""
        if not self._retry_queue and len(self.trials) >= n_trials:
            return None
        with _quiet():
            trial = self.create_trial(next(self._names))
        return self.known[_number(trial.trial_id)]

    def tell(self, trial: Trial) -> None:
        """Note how a trial ended."""
        self.known[trial.number] = trial
        ended = self.trials[_trial_id(trial.number)]
        ended.status = _STATUS.get(trial.status, "COMPLETED")
        ended.message = trial.cause
        with _quiet():
            self.end_trial(ended)

    def ended(self) -> tuple[Trial, ...]:
        """Return the trials that have ended, by number."""
        trials = [trial for trial in self.known.values() if trial.status != RUNNING]
        return tuple(sorted(trials, key=lambda trial: trial.number))

    # What keras-tuner calls -----------------------------------------------------------

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Return the values of a new trial."""
        number = _number(trial_id)
        rng = np.random.default_rng([self.seed, number])
        if number <= len(self.start):
            values = self.start[number - 1]
        elif number <= self.num_initial_points or len(self.ended()) < 2:
            values = self._draw(rng)
        else:
            values = self.propose(rng)[1]
        return {"status": "RUNNING", "values": values}

    def score_trial(self, trial: KerasTrial) -> None:
        """Hand the score that `tell` got to keras-tuner."""
        trial.score = self.known[_number(trial.trial_id)].score

    def save(self) -> None:
        """Do nothing: the files of the trials tell everything."""

    def reload(self) -> None:
        """Learn the trials of the log."""
        for trial in self.log.read():
            self.known[trial.number] = trial
            self._remember(trial)

    def _save_trial(self, trial: KerasTrial) -> None:
        """Write the file of a trial that begins or has ended."""
        number = _number(trial.trial_id)
        if number not in self.known:
            self.known[number] = Trial(number, dict(trial.hyperparameters.values))
        self.log.write(self.known[number])

    def _make_gpr(self) -> GaussianProcessRegressor:
        """Return the Gaussian process."""
        return make_surrogate(self.space.names, self.space.is_category)

    def _vectorize_trials(self) -> tuple[Points, npt.NDArray[np.float64]]:
        """Return points and logarithms of the scores of the finished trials."""
        return observations(self.space, self.ended())

    # Proposals ------------------------------------------------------------------------

    def _remember(self, trial: Trial) -> None:
        """Make a trial of the log one of keras-tuner's."""
        hyperparameters = self.hyperparameters.copy()
        hyperparameters.values = dict(trial.values)
        trial_id = _trial_id(trial.number)
        status = _STATUS.get(trial.status, "COMPLETED")
        known = kt.engine.trial.Trial(hyperparameters, trial_id, status, trial.cause)
        known.score = trial.score
        self.trials[trial_id] = known
        self._record_values(known)
        self.start_order.append(trial_id)
        if trial.status == RUNNING:
            self._retry_queue.insert(0, trial_id)  # taken from the end: lowest first
        else:
            self.end_order.append(trial_id)

    def _draw(self, rng: np.random.Generator) -> Values:
        """Return an architecture that was not tried."""
        while True:
            values = self.space.draw(rng)
            if not self._duplicate(values):
                return values

    def propose(self, rng: np.random.Generator) -> tuple[float, Values]:
        """Return the lowest bound that was found (mean - `beta` sd), and where."""
        points, scores = self._vectorize_trials()
        # One thread: on matrices this small others only get in the way, and sums would
        # depend on their number.
        with threadpool_limits(limits=1, user_api="blas"):
            gpr = self._with_running(self.gpr.fit(points, scores))

            def bound(candidates: Points) -> npt.NDArray[np.float64]:
                mean, sd = gpr.predict(candidates, return_std=True)
                return mean - self.beta * sd

            parents = points[np.argsort(scores, kind="stable")[:PARENTS]]
            found = minimise(bound, self.space, parents, rng, self._duplicate)
        return found or (math.nan, self._draw(rng))

    def _with_running(self, gpr: GaussianProcessRegressor) -> GaussianProcessRegressor:
        """Return the process as if running trials ended a bit worse than expected."""
        running = [trial for trial in self.known.values() if trial.status == RUNNING]
        if not running:
            return gpr
        points = np.array([self.space.point(trial.values) for trial in running])
        mean, sd = gpr.predict(points, return_std=True)
        done, scores = self._vectorize_trials()
        fixed = clone(gpr).set_params(kernel=gpr.kernel_, optimizer=None)
        return fixed.fit(np.vstack([done, points]), np.append(scores, mean + sd))


def minimise(
    bound: Callable[[Points], npt.NDArray[np.float64]],
    space: Space,
    parents: Points,
    rng: np.random.Generator,
    is_known: Callable[[Values], bool],
) -> tuple[float, Values] | None:
    """Return the lowest bound found among new, feasible architectures, and where."""
    refused: set[bytes] = set()

    def is_allowed(point: Points) -> bool:
        values = space.values(point)
        return not is_known(values) and space.feasible(values)

    best: list[tuple[float, Points]] = []
    candidates = rng.random((POOL, len(space)))
    for _ in range(ROUNDS):
        candidates = np.vstack([candidates, _children(parents, rng)])
        candidates = np.unique(space.snap(candidates), axis=0)
        best = _best_of(best, candidates, bound(candidates), is_allowed, refused)
        candidates = np.empty((0, len(space)))
        if best:
            parents = np.array([point for _, point in best[:PARENTS]])
    return (best[0][0], space.values(best[0][1])) if best else None


def _best_of(
    best: list[tuple[float, Points]],
    candidates: Points,
    bounds: npt.NDArray[np.float64],
    is_allowed: Callable[[Points], bool],
    refused: set[bytes],
) -> list[tuple[float, Points]]:
    """Return the lowest of old and new bounds; add to `refused` what is not allowed."""
    best = list(best)
    for place in np.argsort(bounds, kind="stable"):
        if len(best) == KEPT and bounds[place] >= best[-1][0]:
            break
        point = candidates[place]
        key = point.tobytes()
        if key in refused or any((old == point).all() for _, old in best):
            continue
        if is_allowed(point):
            best.append((float(bounds[place]), point))
            best = sorted(best, key=lambda one: one[0])[:KEPT]
        else:
            refused.add(key)
    return best


def _children(parents: Points, rng: np.random.Generator) -> Points:
    """Return copies of points, each with a few coordinates drawn anew or moved."""
    children = parents[rng.integers(len(parents), size=POOL)]
    drawn = rng.random(children.shape)
    moved = np.clip(children + STEP * rng.standard_normal(children.shape), 0, 1)
    changed = np.where(rng.random(children.shape) < 0.5, drawn, moved)
    which = rng.random(children.shape) < CHANGES / children.shape[1]
    return np.where(which, changed, children)


def _trial_id(number: int) -> str:
    """Return keras-tuner's name of a trial, which it counts from 0."""
    return f"{number - 1:04d}"


def _number(trial_id: str) -> int:
    """Return the number, from 1, of a trial."""
    return int(trial_id) + 1


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide that keras-tuner uses names of `threading` that will go."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
