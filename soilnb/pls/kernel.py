"""The compiled fit of PLS1: one gives the regression for every number of components.

The algorithm is the Golub-Kahan bidiagonalisation of the centred spectra, started from
their covariance with the property, which spans the same components as NIPALS.
"""

from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

# Sums may be reordered, hence vectorised, but NaN and infinity keep their meaning.
COMPILE: dict[str, Any] = {
    "nogil": True,
    "cache": True,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "arcp", "nsz"},
}
# A direction this many rounding errors long, relative to the spectra, is noise.
_NOISE_ROUNDINGS = 10
_CACHE_LINE = 64  # bytes; any other size would only cost time


class Block(NamedTuple):
    """Samples to be fitted, centred, and room for the fit.

    Columns are padded with zeros so that each row begins on a cache line.
    """

    X: npt.NDArray
    y: npt.NDArray
    X_mean: npt.NDArray
    weights: npt.NDArray  # X.T @ y at first
    scores: npt.NDArray
    previous_scores: npt.NDArray
    basis: npt.NDArray  # weights of length 1, one row per component
    rotations: npt.NDArray  # row a: of component a; row 0 is zero
    coef: npt.NDArray  # row a: of a components
    intercept: npt.NDArray


@numba.njit(**COMPILE)
def _dot(first, second):
    """Return the inner product of two vectors."""
    total = first.dtype.type(0)
    for i in range(first.size):
        total += first[i] * second[i]
    return total


@numba.njit(**COMPILE)
def _add(target, factor, vector):
    """Add `factor` times `vector` to `target`."""
    for i in range(target.size):
        target[i] += factor * vector[i]


@numba.njit(**COMPILE)
def project(X, direction, scores):
    """Fill `scores` with X @ direction."""
    n, p = X.shape
    i = 0
    while i + 4 <= n:  # four rows at a time read `direction` once
        s0 = s1 = s2 = s3 = X.dtype.type(0)
        for j in range(p):
            weight = direction[j]
            s0 += X[i, j] * weight
            s1 += X[i + 1, j] * weight
            s2 += X[i + 2, j] * weight
            s3 += X[i + 3, j] * weight
        scores[i], scores[i + 1], scores[i + 2], scores[i + 3] = s0, s1, s2, s3
        i += 4
    for row in range(i, n):
        scores[row] = _dot(X[row], direction)


@numba.njit(**COMPILE)
def _project_and_return(X, direction, link, previous, scores, weights):
    """Fill `scores` with X @ direction - link * previous, `weights` with X.T @ scores.

    In one pass over X: four rows are used twice while they are in the first cache.
    """
    n, p = X.shape
    weights[:] = 0
    i = 0
    while i + 4 <= n:
        s0, s1 = -link * previous[i], -link * previous[i + 1]
        s2, s3 = -link * previous[i + 2], -link * previous[i + 3]
        for j in range(p):
            weight = direction[j]
            s0 += X[i, j] * weight
            s1 += X[i + 1, j] * weight
            s2 += X[i + 2, j] * weight
            s3 += X[i + 3, j] * weight
        scores[i], scores[i + 1], scores[i + 2], scores[i + 3] = s0, s1, s2, s3
        for j in range(p):
            weights[j] += (
                s0 * X[i, j] + s1 * X[i + 1, j] + s2 * X[i + 2, j] + s3 * X[i + 3, j]
            )
        i += 4
    for row in range(i, n):
        scores[row] = _dot(X[row], direction) - link * previous[row]
        _add(weights, scores[row], X[row])


@numba.njit(**COMPILE)
def _orthogonalise(weights, basis):
    """Remove from `weights` its part along each row of `basis`."""
    for b in range(len(basis)):
        _add(weights, -_dot(basis[b], weights), basis[b])


@numba.njit(**COMPILE)
def _zeros_on_cache_lines(n_rows, n_columns, like):
    """Return zeros of the type of `like`, at least `n_columns` wide."""
    per_line = _CACHE_LINE // like.itemsize
    width = (n_columns + per_line - 1) // per_line * per_line
    memory = np.zeros(n_rows * width + per_line, like.dtype)
    first = -memory.ctypes.data % _CACHE_LINE // like.itemsize
    return memory[first : first + n_rows * width].reshape((n_rows, width))


@numba.njit(**COMPILE)
def make_block(n_rows, n_components, like):
    """Return room for `n_rows` rows of a matrix like `like`."""
    p = like.shape[1]
    vectors = _zeros_on_cache_lines(2, p, like)
    scores = np.zeros((2, n_rows), like.dtype)
    return Block(
        X=_zeros_on_cache_lines(n_rows, p, like),
        y=np.empty(n_rows, like.dtype),
        X_mean=vectors[0],
        weights=vectors[1],
        scores=scores[0],
        previous_scores=scores[1],
        basis=_zeros_on_cache_lines(n_components, p, like),
        rotations=_zeros_on_cache_lines(n_components + 1, p, like),
        coef=_zeros_on_cache_lines(n_components + 1, p, like),
        intercept=np.empty(n_components + 1, like.dtype),
    )


@numba.njit(**COMPILE)
def fill_block(block, X, y, rows):
    """Copy some rows of `X` and `y` into a block, centred; rows left over are zero."""
    n, p = rows.size, X.shape[1]
    share = X.dtype.type(1) / X.dtype.type(n)
    first, y_mean = rows[0], y.dtype.type(0)
    block.X_mean[:] = 0
    for i in range(n):
        row = rows[i]
        block.y[i] = y[row] - y[first]
        y_mean += block.y[i] * share
        for j in range(p):
            # Differences from one sample: their sums lose fewer digits.
            difference = X[row, j] - X[first, j]
            block.X[i, j] = difference
            block.X_mean[j] += difference
    for j in range(block.X_mean.size):
        block.X_mean[j] *= share
    block.weights[:] = 0
    for i in range(n):
        block.y[i] -= y_mean
        for j in range(block.X_mean.size):
            block.X[i, j] -= block.X_mean[j]
            block.weights[j] += block.y[i] * block.X[i, j]
    for i in range(n, block.y.size):
        block.y[i] = 0
        block.X[i] = 0
    _add(block.X_mean[:p], X.dtype.type(1), X[first])
    block.intercept[0] = y_mean + y[first]


@intrinsic
def _prefetch(_, table, position):
    """Ask for the cache line at a position of a flat array, and do not wait for it."""

    def generate(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer, number = cgutils.voidptr_t, ir.IntType(32)
        address = builder.bitcast(builder.gep(array.data, [arguments[1]]), pointer)
        kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
        # To read; into the second-level cache; data.
        builder.call(prefetch, [address, number(0), number(2), number(1)])
        return context.get_dummy_value()

    return types.void(table, position), generate


@numba.njit(**COMPILE)
def fetch(table, rows, part=0, n_parts=1):
    """Start to bring some rows of a table or list near, or one of `n_parts` shares."""
    flat, p = table.reshape(-1), table.size // len(table)
    for i in range(part * rows.size // n_parts, (part + 1) * rows.size // n_parts):
        for j in range(0, p, _CACHE_LINE // table.itemsize):
            _prefetch(flat, np.int64(rows[i]) * p + j)  # type: ignore[call-arg]


@numba.njit(**COMPILE)
def fit_block(block, n_components, table, next_rows):
    """Fit a filled block with 1 to `n_components` components; return how many it has.

    The block holds the result; `next_rows` of `table` are brought near meanwhile.
    """
    X, weights, basis, coef = block.X, block.weights, block.basis, block.coef
    rotations, scores, previous = block.rotations, block.scores, block.previous_scores
    n, p = X.shape
    one, y_mean = X.dtype.type(1), block.intercept[0]
    previous[:] = 0
    tolerance = _NOISE_ROUNDINGS * X.dtype.type(np.finfo(X.dtype).eps)
    # What centring leaves of spectra that are all the same is noise, and so for y.
    scale = np.sqrt(n * _dot(block.X_mean, block.X_mean))
    rho = np.sqrt(_dot(block.y, block.y))
    if rho <= tolerance * np.sqrt(X.dtype.type(n)) * abs(y_mean):
        n_components = 0
    height, n_fitted = -rho, 0
    for a in range(n_components):
        fetch(table, next_rows, a, n_components)
        length = np.sqrt(_dot(weights, weights))
        theta = length / rho
        if theta <= tolerance * scale:
            break
        shorten = one / length
        for j in range(p):
            basis[a, j] = weights[j] * shorten
        if a + 1 < n_components:
            link = theta / rho
            _project_and_return(X, basis[a], link, previous, scores, weights)
        else:
            project(X, basis[a], scores)
            _add(scores, -theta / rho, previous)
        rho = np.sqrt(_dot(scores, scores))
        scale = max(scale, rho, theta)
        if rho <= tolerance * scale:
            break
        height *= -theta / rho
        shorten = one / rho
        for j in range(p):
            rotations[a + 1, j] = (basis[a, j] - theta * rotations[a, j]) * shorten
            coef[a + 1, j] = coef[a, j] + height * rotations[a + 1, j]
        scores, previous = previous, scores
        n_fitted = a + 1
        if n_fitted < n_components:
            _add(weights, -rho * rho, basis[a])
            _orthogonalise(weights, basis[:n_fitted])
    coef[n_fitted + 1 :] = coef[n_fitted]
    project(coef, block.X_mean, block.intercept)
    for a in range(len(coef)):
        block.intercept[a] = y_mean - block.intercept[a]
    return n_fitted


@numba.njit(**COMPILE)
def fit_all(X, y, n_components):
    """Fit all rows; return the block and the number of components fitted."""
    rows = np.arange(len(X))
    block = make_block(len(X), n_components, X)
    fill_block(block, X, y, rows)
    return block, fit_block(block, n_components, block.X, rows[:0])


@numba.njit(**COMPILE)
def fit_path(X, y, n_components):
    """Fit PLS1 once and return the regression for every number of components.

    `X` are spectra (n_samples, n_wavelengths), float32 or float64, of which a centred
    copy is fitted, `y` the soil property, (n_samples,), of the same dtype;
    `n_components`, at least 1, is the largest number. No input is checked or modified;
    NaN or infinite input gives NaN.

    Returns
    -------
    coef : ndarray of shape (n_components, n_wavelengths)
        Row a - 1 holds the coefficients of a components.
    intercept : ndarray of shape (n_components,)
        Prediction = X @ coef[a - 1] + intercept[a - 1].
    n_fitted : int
        Components that the data allow, up to n_components. Later rows repeat
        the last one fitted; with none, predictions are the mean of `y`.

    Notes
    -----
    Golub-Kahan bidiagonalisation, with the right vectors orthogonalised against all
    earlier ones (Eldén 2004, Computational Statistics & Data Analysis 46(1), 11-31). A
    direction shorter than ten rounding errors of the spectra ends the fit: constant
    spectra or a constant property give no component, one sample neither, and duplicate
    samples add none.

    Examples
    --------
    >>> X = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 4.0]])
    >>> coef, intercept, n_fitted = fit_path(X, X @ np.array([1.0, 2.0]), 3)
    >>> n_fitted, coef.round(6)[-1].tolist()
    (2, [1.0, 2.0])
    """
    block, n_fitted = fit_all(X, y, n_components)
    coef = block.coef[1:, : X.shape[1]].copy()
    return coef, block.intercept[1:].copy(), n_fitted
