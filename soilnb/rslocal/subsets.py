"""The models of RS-LOCAL: a PLSR on a random subset, tried on the local samples.

This part is compiled and releases the interpreter; threads and workers run it.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from soilnb.pls.kernel import COMPILE, fetch, fill_block, fit_block, make_block, project

# The sums of RMSE are whole numbers, so their order cannot change the answer.
# The unit is 2**-32 standard deviations of the library's y; an RMSE above 2**14
# of them counts as that many, which leaves room for 2**17 draws of one row.
UNITS_PER_SD = 2.0**32
_LARGEST_RMSE = 2.0**14
MOST_REPEATS = 2**16
# The rows of a pool of fewer bytes are in the cache anyhow.
_CACHED_BYTES = 6_000_000


class Spectra(NamedTuple):
    """Standardised library and local samples; the arrays are read-only."""

    X_library: npt.NDArray[np.float32]
    y_library: npt.NDArray[np.float32]
    X_local: npt.NDArray[np.float32]
    y_local: npt.NDArray[np.float32]


class Draw(NamedTuple):
    """What decides the models of an iteration."""

    seed: int
    search: int
    iteration: int
    subset_size: int
    n_components: int  # the largest number tried, where there are folds
    n_folds: int  # 0: always `n_components`


class Tally(NamedTuple):
    """What models say of the pool's rows."""

    sums: npt.NDArray[np.int64]  # of RMSE, per row of the pool, in units
    counts: npt.NDArray[np.int32]  # of models that held the row
    rmse: npt.NDArray[np.float64]  # per model, in standard deviations; NaN: failed
    n_components: npt.NDArray[np.int16]  # per model

    @classmethod
    def zeros(cls, pool_size: int, n_models: int) -> Tally:
        """Return the tally of no model yet."""
        return cls(
            np.zeros(pool_size, np.int64),
            np.zeros(pool_size, np.int32),
            np.zeros(n_models),
            np.zeros(n_models, np.int16),
        )


@numba.njit(**COMPILE)
def _mix(state):
    """Return the next state and a random uint64 (SplitMix64)."""
    state = np.uint64(state) + np.uint64(0x9E3779B97F4A7C15)
    z = state
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state, z ^ (z >> np.uint64(31))


@numba.njit(**COMPILE)
def _make_moved(size):
    """Return room for what `_draw` remembers while it draws so many positions."""
    n_slots = 1
    while n_slots < 4 * size:
        n_slots *= 2
    return np.empty((2, n_slots), np.int64)


@numba.njit(**COMPILE)
def _draw(seed, search, iteration, model, pool_size, moved, drawn):
    """Fill `drawn` with distinct positions of the pool.

    Each model has a generator of its own, whoever computes it and when. These are the
    first steps of a Fisher-Yates shuffle of all positions, of which only those that
    have moved are written down: `drawn` and, behind it, a table of position and member.
    """
    state, size = np.uint64(0), drawn.size
    for part in (seed, search, iteration, model):
        state = _mix(state ^ np.uint64(part))[1]
    places, members = moved
    places[:] = -1
    for i in range(size):
        drawn[i] = i
    for i in range(size):
        state, z = _mix(state)
        left = np.uint64(pool_size - i)
        j = i + np.int64(((z >> np.uint64(32)) * left) >> np.uint64(32))
        if j < size:
            drawn[i], drawn[j] = drawn[j], drawn[i]
            continue
        slot = j & (places.size - 1)
        while places[slot] != j and places[slot] >= 0:
            slot = (slot + 1) & (places.size - 1)
        member = members[slot] if places[slot] == j else j
        places[slot], members[slot], drawn[i] = j, drawn[i], member


def draw_subset(
    seed: int, search: int, iteration: int, model: int, pool_size: int, size: int
) -> npt.NDArray[np.int64]:
    """Return the positions in the pool that one model is fitted on."""
    drawn = np.empty(size, np.int64)
    _draw(seed, search, iteration, model, pool_size, _make_moved(size), drawn)
    return drawn


@numba.njit(**COMPILE)
def _draw_rows(draw, model, pool, moved, drawn, rows):
    """Fill `drawn` with a model's positions in the pool, `rows` with library rows."""
    _draw(draw.seed, draw.search, draw.iteration, model, pool.size, moved, drawn)
    for i in range(drawn.size):
        rows[i] = pool[drawn[i]]


@numba.njit(**COMPILE)
def _choose_n_components(block, n_folds, most, training):
    """Return the number of components with the lowest cross-validated RMSE.

    Every n_folds-th row of the subset, in random order as it is, makes a fold.
    """
    n = block.y.size
    errors, rows = np.zeros(most), np.empty(n, np.int64)
    predicted = np.empty(len(training.coef), block.y.dtype)
    for fold in range(n_folds):
        kept = 0
        for i in range(n):
            if i % n_folds != fold:
                rows[kept] = i
                kept += 1
        fill_block(training, block.X, block.y, rows[:kept])
        fit_block(training, most, block.X, rows[:0])
        for i in range(fold, n, n_folds):
            project(training.coef, block.X[i], predicted)
            for a in range(most):
                error = predicted[a + 1] + training.intercept[a + 1] - block.y[i]
                errors[a] += np.float64(error) ** 2
    return np.argmin(errors) + 1  # ties: the smallest number


@numba.njit(**COMPILE)
def _local_rmse(block, a, X_local, y_local, predicted):
    """Return the RMSE of a fitted block with `a` components on the local samples."""
    project(X_local, block.coef[a], predicted)
    total = 0.0
    for i in range(y_local.size):
        error = predicted[i] + block.intercept[a] - y_local[i]
        total += np.float64(error) ** 2
    return np.sqrt(total / y_local.size)


@numba.njit(**COMPILE)
def _tally_models(spectra, pool, draw, first, last, tally):
    """Fit models `first` to `last` - 1 and add what they say to the tally."""
    X, y, X_local, y_local = spectra
    size, most, n_folds = draw.subset_size, draw.n_components, draw.n_folds
    moved, predicted = _make_moved(size), np.empty(y_local.size, X.dtype)
    block = make_block(size, most, X)
    training = make_block(size - size // n_folds if n_folds else 0, most, X)
    # Drawn one model ahead, to fetch what it needs from memory while another is fitted.
    drawn, rows = np.empty((2, size), np.int64), np.empty((2, size), np.int64)
    n_fetched = size if pool.size * X.shape[1] * X.itemsize > _CACHED_BYTES else 0
    _draw_rows(draw, first, pool, moved, drawn[0], rows[0])
    for model in range(first, last):
        this, following = (model - first) % 2, (model - first + 1) % 2
        _draw_rows(draw, model + 1, pool, moved, drawn[following], rows[following])
        fetch(y, rows[following, :n_fetched])
        fetch(tally.sums, drawn[following, :n_fetched])
        fetch(tally.counts, drawn[following, :n_fetched])
        fill_block(block, X, y, rows[this])
        a = _choose_n_components(block, n_folds, most, training) if n_folds else most
        fit_block(block, a, X, rows[following, :n_fetched])
        rmse = _local_rmse(block, a, X_local, y_local, predicted)
        tally.rmse[model - first] = rmse if np.isfinite(rmse) else np.nan
        tally.n_components[model - first] = a
        if np.isfinite(rmse):
            units = np.int64(min(rmse, _LARGEST_RMSE) * UNITS_PER_SD)
            for position in drawn[this]:
                tally.sums[position] += units
                tally.counts[position] += 1


def _read_only(array: npt.NDArray) -> npt.NDArray:
    """Return a read-only view, so that one compiled kernel serves everywhere."""
    view = np.require(array, requirements=["C", "A"]).view()
    view.flags.writeable = False
    return view


def tally_task(
    spectra: Spectra, pool: npt.NDArray[np.int32], draw: Draw, models: range
) -> Tally:
    """Fit some models of one iteration: the task that threads and workers do."""
    tally = Tally.zeros(len(pool), len(models))
    arrays = Spectra(*(_read_only(array) for array in spectra))
    _tally_models(arrays, _read_only(pool), draw, models.start, models.stop, tally)
    return tally
