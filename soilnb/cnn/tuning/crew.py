"""Who trains the architectures: this process, or the workers of dask."""

from __future__ import annotations

import contextlib
import multiprocessing
import warnings
from collections.abc import Hashable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import psutil

from soilnb.cnn.tuning.log import FAILED

if TYPE_CHECKING:
    from soilnb.cnn.tuning.trials import Task

WORKER_SHARE = 0.8  # of the memory that a worker has left: dask ends one that takes all

Values = dict[str, Any]
Thresholds = dict[int, float]
Outcome = dict[str, Any]


class Crew(Protocol):
    """Trains architectures, `size` of them at a time."""

    size: int

    def submit(self, values: Values, thresholds: Thresholds) -> Hashable:
        """Begin a trial; return a key to know it by."""

    def wait(self) -> tuple[Hashable, Outcome]:
        """Return the key of the next trial to end, and how it went."""

    def close(self) -> None:
        """Give up what has not ended."""


class Here:
    """Trains in this process, one architecture at a time."""

    size = 1

    def __init__(self, task: Task) -> None:
        self.task = task
        self.next: tuple[Values, Thresholds] = ({}, {})

    def submit(self, values: Values, thresholds: Thresholds) -> Hashable:
        """Note what is to be trained."""
        self.next = (values, thresholds)
        return 0

    def wait(self) -> tuple[Hashable, Outcome]:
        """Train it."""
        from soilnb.cnn.tuning.trials import run_trial

        return 0, run_trial(self.task, *self.next)

    def close(self) -> None:
        """Do nothing."""


class Cluster:
    """Trains on the workers that dask has now, one architecture on each at a time."""

    def __init__(self, task: Task, client: Any) -> None:
        from dask.distributed import as_completed

        self.task, self.client = task, client
        self.size = max(1, len(client.nthreads()))
        self.under_way = as_completed()

    def submit(self, values: Values, thresholds: Thresholds) -> Hashable:
        """Send a trial to a worker."""
        # The data go with it: scattered ones keep trials on the workers that hold them
        # and are lost when these die.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that they are large
            future = self.client.submit(
                run_on_worker, self.task, values, thresholds, pure=False
            )
        self.under_way.add(future)
        return future.key

    def wait(self) -> tuple[Hashable, Outcome]:
        """Wait for the next trial to end; dask tries it again where a worker dies."""
        from dask.distributed import KilledWorker

        future = next(self.under_way)
        try:
            return future.key, future.result()
        except KilledWorker as error:
            cause = (
                f"its worker died, {error.allowed_failures + 1} times, perhaps for "
                "lack of memory"
            )
            return future.key, {"status": FAILED, "cause": cause}

    def close(self) -> None:
        """Cancel what has not ended."""
        self.client.cancel(list(self.under_way.futures))


def run_on_worker(task: Task, values: Values, thresholds: Thresholds) -> Outcome:
    """Train one architecture within the threads and the memory of a dask worker."""
    from dask.distributed import get_worker

    worker = get_worker()
    if multiprocessing.parent_process() is not None:  # not the user's own process
        _limit_threads(worker.state.nthreads)
    from soilnb.cnn.tuning.trials import run_trial

    limit = worker.memory_manager.memory_limit
    if limit:
        left = max(0, limit - psutil.Process().memory_info().rss)
        options = task.options | {"memory_bytes": int(WORKER_SHARE * left)}
        task = replace(task, options=options)
    return run_trial(task, values, thresholds)


def _limit_threads(n_threads: int) -> None:
    """Let TensorFlow use so many threads, unless it has already begun."""
    from soilnb.cnn._tensorflow import tf

    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(n_threads)
        tf.config.threading.set_inter_op_parallelism_threads(n_threads)
