"""Checks of what the methods that join library and local samples are given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from soilnb._validation import check_int, check_matrix, check_rows, check_vector
from soilnb.pls import check_columns

Floats = npt.NDArray[np.float64]


def check_pair(
    X_library: npt.ArrayLike,
    y_library: npt.ArrayLike,
    X_local: npt.ArrayLike,
    y_local: npt.ArrayLike,
) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Return (X, y) of library and local samples, checked against each other.

    Parameters
    ----------
    X_library, X_local : array-like of shape (n_samples, n_wavelengths)
        Spectra.
    y_library, y_local : array-like of shape (n_samples,)
        Soil property, one unit.

    Returns
    -------
    tuple
        X and y of the library, then X and y of the local samples, all float64.

    Raises
    ------
    ValueError
        If they are not finite or do not match.

    Examples
    --------
    >>> library, local = check_pair([[1], [2]], [3, 4], [[5]], [6])
    >>> library[1].tolist(), local[0].tolist()
    ([3.0, 4.0], [[5.0]])
    """
    library = check_matrix(X_library, "X_library"), check_vector(y_library, "y_library")
    local = check_matrix(X_local, "X_local"), check_vector(y_local, "y_local")
    check_rows(library[0], "X_library", library[1], "y_library")
    check_rows(local[0], "X_local", local[1], "y_local")
    check_columns(local[0], "X_local", library[0], "X_library")
    return library, local


def check_sizes(n_neighbours: Sequence[int], n_rows: int) -> list[int]:
    """Return the numbers of neighbours that the rows allow, increasing.

    Parameters
    ----------
    n_neighbours : sequence of int
        Numbers to try, each at least 2.
    n_rows : int
        Rows of the memory; a row is never its own neighbour.

    Returns
    -------
    list of int
        Those below `n_rows`, or `n_rows` - 1 where there are none.

    Raises
    ------
    TypeError
        If a number is not whole.
    ValueError
        If there is none, or one is below 2.

    Examples
    --------
    >>> check_sizes((50, 20, 200), 80), check_sizes((50,), 30)
    ([20, 50], [29])
    """
    if not len(n_neighbours):
        msg = (
            "'n_neighbours' must hold at least one number, got none. "
            "Try (50, 100, 150, 200)."
        )
        raise ValueError(msg)
    for size in n_neighbours:
        check_int(size, "n_neighbours", 2)
    allowed = {size for size in n_neighbours if size < n_rows}
    return sorted(allowed) or [n_rows - 1]
