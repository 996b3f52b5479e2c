"""The models of RS-LOCAL: a PLSR on a random subset, tried on the local samples.

This part is compiled and releases the interpreter; threads and workers run it.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from soilnb.pls import COMPILE, fit_path

# The sums of RMSE are whole numbers, so their order cannot change the answer.
# The unit is 2**-32 standard deviations of the library's y; an RMSE above 2**14
# of them counts as that many, which leaves room for 2**17 draws of one row.
UNITS_PER_SD = 2.0**32
_LARGEST_RMSE = 2.0**14
MOST_REPEATS = 2**16


class Spectra(NamedTuple):
    """Standardised library and local samples; the arrays are read-only."""

    X_library: npt.NDArray[np.float32]
    y_library: npt.NDArray[np.float32]
    X_local: npt.NDArray[np.float32]
    y_local: npt.NDArray[np.float32]


class Tally(NamedTuple):
    """What models say of the pool's rows."""

    sums: npt.NDArray[np.int64]  # of RMSE, per row of the pool, in units
    counts: npt.NDArray[np.int64]  # of models that held the row
    rmse: npt.NDArray[np.float64]  # per model, in standard deviations; NaN: failed


@numba.njit(**COMPILE)
def _mix(state):
    """Return the next state and a random uint64 (SplitMix64)."""
    state = np.uint64(state) + np.uint64(0x9E3779B97F4A7C15)
    z = state
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state, z ^ (z >> np.uint64(31))


@numba.njit(**COMPILE)
def _draw(seed, search, iteration, model, pool, swaps, drawn):
    """Fill `drawn` with distinct members of `pool`, and leave `pool` as it was.

    Each model has a generator of its own, whoever computes it and when.
    """
    state = np.uint64(0)
    for part in (seed, search, iteration, model):
        state = _mix(state ^ np.uint64(part))[1]
    for i in range(drawn.size):  # the first steps of a Fisher-Yates shuffle
        state, z = _mix(state)
        left = np.uint64(pool.size - i)
        j = i + np.int64(((z >> np.uint64(32)) * left) >> np.uint64(32))
        pool[i], pool[j] = pool[j], pool[i]
        swaps[i] = j
        drawn[i] = pool[i]
    for i in range(drawn.size - 1, -1, -1):
        j = swaps[i]
        pool[i], pool[j] = pool[j], pool[i]


def draw_subset(
    seed: int, search: int, iteration: int, model: int, pool_size: int, size: int
) -> npt.NDArray[np.int64]:
    """Return the positions in the pool that one model is fitted on."""
    drawn, swaps = np.empty(size, np.int64), np.empty(size, np.int64)
    _draw(seed, search, iteration, model, np.arange(pool_size), swaps, drawn)
    return drawn


@numba.njit(**COMPILE)
def _local_rmse(X, y, X_local, y_local, n_components):
    """Return the RMSE on the local samples of a PLSR fitted on X and y."""
    coef, intercept, _ = fit_path(X, y, n_components)
    total = 0.0
    for i in range(y_local.size):
        predicted = intercept[-1]
        for j in range(X_local.shape[1]):
            predicted += coef[-1, j] * X_local[i, j]
        total += np.float64(predicted - y_local[i]) ** 2
    return np.sqrt(total / y_local.size)


@numba.njit(**COMPILE)
def _tally_models(
    X_library, y_library, X_local, y_local, pool, draw, first, last, sums, counts, rmse
):
    """Fit models `first` to `last` - 1 and add what they say to the last three.

    `draw` holds seed, search, iteration, subset size and number of components.
    """
    seed, search, iteration, size, n_components = draw
    positions = np.arange(pool.size).astype(np.int32)  # small: it stays in cache
    drawn, swaps = np.empty(size, np.int64), np.empty(size, np.int64)
    X = np.empty((size, X_library.shape[1]), X_library.dtype)
    y = np.empty(size, y_library.dtype)
    for model in range(first, last):
        _draw(seed, search, iteration, model, positions, swaps, drawn)
        for i in range(size):
            row = pool[drawn[i]]
            for j in range(X.shape[1]):
                X[i, j] = X_library[row, j]
            y[i] = y_library[row]
        error = _local_rmse(X, y, X_local, y_local, n_components)
        rmse[model - first] = error
        if np.isfinite(error):
            units = np.int64(min(error, _LARGEST_RMSE) * UNITS_PER_SD)
            for i in range(size):
                sums[drawn[i]] += units
                counts[drawn[i]] += 1


def _read_only(array: npt.NDArray) -> npt.NDArray:
    """Return a read-only view, so that one compiled kernel serves everywhere."""
    view = np.require(array, requirements=["C", "A"]).view()
    view.flags.writeable = False
    return view


def tally_task(
    spectra: Spectra,
    pool: npt.NDArray[np.int32],
    draw: tuple[int, int, int, int, int],
    first: int,
    last: int,
) -> Tally:
    """Fit some models of one iteration: the task that threads and workers do."""
    sums, counts = np.zeros(len(pool), np.int64), np.zeros(len(pool), np.int64)
    rmse = np.empty(last - first)
    arrays = [_read_only(array) for array in (*spectra, pool)]
    _tally_models(*arrays, draw, first, last, sums, counts, rmse)
    return Tally(sums, counts, np.where(np.isfinite(rmse), rmse, np.nan))
