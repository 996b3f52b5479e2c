"""One trial: an architecture trained on all folds, and why it may end early."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from soilnb.cnn._tensorflow import keras, tf
from soilnb.cnn.memory import NetworkTooBigError
from soilnb.cnn.result import CrossValidation
from soilnb.cnn.training import cross_validate
from soilnb.cnn.tuning.log import COMPLETED, FAILED, STOPPED, Trial
from soilnb.cnn.tuning.space import to_architecture

# Successive halving: at each of these epochs the best third of the trials goes on.
RUNGS = (10, 30, 90, 270)
SURVIVORS = 3
# The architecture's fault, not the program's.
FAILURES = (MemoryError, NetworkTooBigError, tf.errors.ResourceExhaustedError)
_MOST_LETTERS = 300  # of a cause
_ONE_AT_A_TIME = threading.Lock()  # clearing Keras's session is for the whole process


@dataclass(frozen=True, eq=False)
class Task:
    """What all trials of a search have in common."""

    X: npt.NDArray[np.floating]
    y: npt.NDArray[np.float64]
    folds: npt.NDArray[np.integer]
    options: dict[str, Any]  # keywords of `cross_validate`


@dataclass
class Rungs:
    """The RMSE of a trial at some epochs, and whether it may go on."""

    thresholds: Mapping[int, float]  # epoch to the RMSE to beat there
    reached: dict[int, float] = field(default_factory=dict)
    last: float = np.nan
    stopped_at: int | None = None

    def __call__(self, epoch: int, rmse: float) -> bool:
        """Note the RMSE; return whether this is the trial's last epoch."""
        self.last = rmse
        if epoch in RUNGS and np.isfinite(rmse):
            self.reached[epoch] = rmse
        if not rmse < self.thresholds.get(epoch, np.inf) and epoch in self.thresholds:
            self.stopped_at = epoch
        return self.stopped_at is not None

    def all(self) -> dict[int, float]:
        """Return the RMSE at the rungs; what ended by itself keeps its last one."""
        if self.stopped_at is not None or not np.isfinite(self.last):
            return self.reached
        return {epoch: self.reached.get(epoch, self.last) for epoch in RUNGS}


def thresholds(trials: Iterable[Trial]) -> dict[int, float]:
    """Return the RMSE that a new trial must beat at each rung that enough reached."""
    found = {}
    trials = list(trials)
    for epoch in RUNGS:
        reached = sorted(trial.rungs[epoch] for trial in trials if epoch in trial.rungs)
        n_going_on = (len(reached) + 1) // SURVIVORS
        if n_going_on:
            found[epoch] = reached[n_going_on - 1]
    return found


def run_trial(
    task: Task, values: Mapping[str, Any], thresholds: Mapping[int, float]
) -> dict[str, Any]:
    """Train one architecture and return how it went: fields of a `Trial`."""
    rungs = Rungs(thresholds)
    started = time.perf_counter()
    with _ONE_AT_A_TIME, _without_warnings():
        try:
            ended = _ended(_cross_validate(task, values, rungs), rungs)
        except FAILURES as error:
            cause = " ".join(f"{type(error).__name__}: {error}".split())
            ended = {"status": FAILED, "cause": cause[:_MOST_LETTERS]}
        finally:
            keras.backend.clear_session()
    seconds = round(time.perf_counter() - started, 3)
    return ended | {"seconds": seconds, "rungs": rungs.all()}


def _cross_validate(
    task: Task, values: Mapping[str, Any], rungs: Rungs
) -> CrossValidation:
    """Train one network per fold: the only place where a search trains anything."""
    architecture = to_architecture(values)
    return cross_validate(
        architecture, task.X, task.y, task.folds, prune=rungs, **task.options
    )


def _ended(result: CrossValidation, rungs: Rungs) -> dict[str, Any]:
    """Return status, score and cause of a trial that was trained."""
    lost = np.flatnonzero(result.best_epoch == 0)
    if len(lost) or not np.isfinite(result.rmse):
        cause = f"diverged: no finite RMSE in {len(lost)} of {len(result.best_epoch)}"
        return {"status": FAILED, "cause": f"{cause} folds"}
    if rungs.stopped_at is None:
        return {"status": COMPLETED, "score": float(result.rmse)}
    cause = (
        f"not among the best after {rungs.stopped_at} epochs: {rungs.last:.3g}, to "
        f"beat {rungs.thresholds[rungs.stopped_at]:.3g}"
    )
    return {"status": STOPPED, "score": float(result.rmse), "cause": cause}


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Hide TensorFlow's advice on tracing: every architecture is a new graph."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
