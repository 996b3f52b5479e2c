"""Who computes the models of an iteration: threads of this process or a cluster."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Self

import dask
import numpy as np
import numpy.typing as npt
from dask.system import CPU_COUNT

from soilnb.rslocal.mapped import ElsewhereError, MappedFile
from soilnb.rslocal.subsets import Draw, Spectra, Tally, tally_task

# A fit takes some 15 microseconds. On threads a task lasts 0.3 ms or more, and 0.3 s
# or less, because Ctrl-C waits for it. On a cluster a task costs a few milliseconds
# beside its fits, and an iteration at least ten: shorter ones are computed here.
_FEWEST_FITS_PER_TASK = 20
_MOST_FITS_PER_TASK = 20_000
_TASKS_PER_THREAD = 4
_FEWEST_FITS_PER_REMOTE_TASK = 2_500
_TASKS_PER_REMOTE_THREAD = 2
_FEWEST_FITS_FOR_CLUSTER = 4_000
# Tallies that are fetched at once.
_MOST_BYTES_FETCHED = 64_000_000
# What travels with each task; more is sent before.
_MOST_BYTES_OF_ARGUMENT = 50_000
# How often the workers may lose the spectra within one iteration.
_MOST_LOSSES = 5


def _tasks(
    n_models: int, n_threads: int, per_thread: int, bounds: range
) -> list[range]:
    """Share out an iteration's models, as many tasks to each thread within `bounds`."""
    n_rounds = max(per_thread, -(-n_models // (n_threads * bounds.stop)))
    chunk = max(1, bounds.start, -(-n_models // (n_threads * n_rounds)))
    return [
        range(first, min(first + chunk, n_models))
        for first in range(0, n_models, chunk)
    ]


def _add_up(
    tasks: list[range], parts: Iterable[Tally], pool_size: int, n_models: int
) -> Tally:
    """Return one tally of all; its sums are whole numbers, in whatever order."""
    total = Tally.zeros(pool_size, n_models)
    for models, part in zip(tasks, parts, strict=True):
        np.add(total.sums, part.sums, out=total.sums)
        np.add(total.counts, part.counts, out=total.counts)
        total.rmse[models.start : models.stop] = part.rmse
        total.n_components[models.start : models.stop] = part.n_components
    return total


class Crew:
    """Computes on threads of this process; the kernel releases the interpreter."""

    def __init__(self, spectra: Spectra) -> None:
        self.spectra = spectra
        self.n_tasks = 0  # of the last iteration
        self.n_threads = dask.config.get("num_workers", None) or CPU_COUNT
        self.threads = ThreadPoolExecutor(self.n_threads)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Leave nothing behind that still computes, whatever has happened."""
        self.threads.shutdown(cancel_futures=True)

    def tally(self, pool: npt.NDArray[np.int32], draw: Draw, n_models: int) -> Tally:
        """Return what all models of one iteration say."""
        fits = 1 + draw.n_folds
        tasks = _tasks(
            n_models,
            self.n_threads,
            _TASKS_PER_THREAD,
            range(_FEWEST_FITS_PER_TASK // fits, _MOST_FITS_PER_TASK // fits),
        )
        self.n_tasks = len(tasks)
        futures = deque(
            self.threads.submit(tally_task, self.spectra, pool, draw, models)
            for models in tasks
        )
        # One that is added up is forgotten: all at once may be larger than the library.
        parts = (futures.popleft().result() for _ in tasks)
        return _add_up(tasks, parts, len(pool), n_models)


def _remote_task(
    models: range,
    spectra: Spectra,
    file: MappedFile | None,
    members: npt.NDArray[np.uint8],
    draw: Draw,
) -> Tally:
    """Do a task on a worker, to which the pool travels as one bit per library row."""
    if file is not None:
        spectra = spectra._replace(X_library=file.open())
    is_member = np.unpackbits(members, count=len(spectra.y_library))
    return tally_task(spectra, np.flatnonzero(is_member).astype(np.int32), draw, models)


class ClusterCrew(Crew):
    """Computes on the workers of a dask client; short iterations on threads here.

    Of spectra in a file only its path travels, as long as every worker can open it.
    """

    def __init__(
        self, spectra: Spectra, client: Any, file: MappedFile | None = None
    ) -> None:
        super().__init__(spectra)
        self.client, self.file = client, file
        self.remote: Any = None

    def __exit__(self, *error: object) -> None:
        """Let the workers forget the spectra, even where a traceback holds them."""
        super().__exit__(*error)
        if self.remote is not None:
            self.remote.release()

    def tally(self, pool: npt.NDArray[np.int32], draw: Draw, n_models: int) -> Tally:
        """Return what all models of one iteration say."""
        if n_models * (1 + draw.n_folds) < _FEWEST_FITS_FOR_CLUSTER:
            return super().tally(pool, draw, n_models)
        from distributed import KilledWorker

        error: Exception | None = None
        for _ in range(_MOST_LOSSES):
            try:
                return self._tally_remotely(pool, draw, n_models)
            except CancelledError as loss:
                error, self.remote = loss, None
            except ElsewhereError as loss:  # the arrays travel, then
                error, self.remote, self.file = loss, None, None
            except (KilledWorker, OSError) as loss:  # a timeout is an OSError
                error = loss
                break
        msg = (
            "The workers of 'client' are lost. Start a cluster whose workers have "
            f"memory for {sum(part.nbytes for part in self.spectra) / 1e6:,.0f} MB of "
            "spectra and search again: the same seed gives the same rows."
        )
        raise RuntimeError(msg) from error

    def _tally_remotely(
        self, pool: npt.NDArray[np.int32], draw: Draw, n_models: int
    ) -> Tally:
        """Return what the models say; CancelledError where the spectra are lost."""
        from distributed import wait

        if self.client.status != "running":
            msg = f"The client is {self.client.status}."
            raise ConnectionError(msg)
        if self.remote is None:
            # In a list, because scatter would send the members of a tuple one by one.
            sent = self.spectra
            if self.file is not None:
                sent = sent._replace(X_library=np.empty((0, 0), np.float32))
            scattered = self.client.scatter([sent], broadcast=True, hash=False)
            self.remote = scattered[0]
        is_member = np.zeros(len(self.spectra.y_library), np.uint8)
        is_member[pool] = 1
        fits = 1 + draw.n_folds
        tasks = _tasks(
            n_models,
            max(1, sum(self.client.nthreads().values())),
            _TASKS_PER_REMOTE_THREAD,
            range(_FEWEST_FITS_PER_REMOTE_TASK // fits, _MOST_FITS_PER_TASK // fits),
        )
        self.n_tasks = len(tasks)
        futures = self.client.map(
            _remote_task,
            tasks,
            spectra=self.remote,
            file=self.file,
            members=self._send(np.packbits(is_member)),
            draw=draw,
            pure=False,
        )
        try:
            wait(futures)  # gather alone would log each future that is lost
            return _add_up(tasks, self._fetch(futures, len(pool)), len(pool), n_models)
        except BaseException:  # also Ctrl-C
            with suppress(Exception):  # of a client that is no more
                self.client.cancel(futures)
            raise

    def _send(self, members: npt.NDArray[np.uint8]) -> Any:
        """Return the bits of the pool as tasks are given them: many are sent once.

        Of larger arguments `Client.map` makes tasks of its own, all of one name.
        """
        if members.nbytes <= _MOST_BYTES_OF_ARGUMENT:
            return members
        return self.client.scatter([members], broadcast=True, hash=False)[0]

    def _fetch(self, futures: list[Any], pool_size: int) -> Iterator[Tally]:
        """Yield the tallies of the workers, and forget those that were fetched."""
        at_once = max(1, _MOST_BYTES_FETCHED // (12 * pool_size))
        while futures:
            some, futures[:at_once] = futures[:at_once], []
            yield from self.client.gather(some)
