"""Checks that all modules share, each with a message that says what to do."""

import difflib
import numbers
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]
Progress = Callable[[int, int, str], object]  # done, total, what


def suggestion(value: object, choices: Iterable[str]) -> str:
    """Return ' Did you mean ...?' for the closest choice, or an empty string."""
    lower = {str(choice).lower(): str(choice) for choice in choices}
    close = difflib.get_close_matches(str(value).lower(), lower, n=1)
    return f" Did you mean {lower[close[0]]!r}?" if close else ""


def check_choice(value: object, name: str, choices: Iterable[str]) -> None:
    """Raise ValueError unless `value` is one of `choices`."""
    choices = list(choices)
    if value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        msg = f"Unknown {name} {value!r}.{suggestion(value, choices)} Use {listed}."
        raise ValueError(msg)


def check_int(
    value: object, name: str, low: int, high: int | None = None, what: str = ""
) -> None:
    """Raise unless `value` is a whole number from `low` to `high`."""
    rule = f"at least {low}" if high is None else f"between {low} and {high}{what}"
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        msg = f"{name!r} must be a whole number, {rule}, got {value!r}."
        raise TypeError(msg)
    if int(value) < low or (high is not None and int(value) > high):
        msg = f"{name!r} must be {rule}, got {value}."
        raise ValueError(msg)


def _check_finite(values: npt.NDArray, name: str) -> None:
    """Raise ValueError on NaN or infinite values: how many, and the first row."""
    bad = ~np.isfinite(values)
    if bad.any():
        first = int(np.argwhere(bad)[0][0])
        msg = (
            f"{name!r} has {int(bad.sum())} missing or infinite values "
            f"(first at row {first}). Drop or impute them first."
        )
        raise ValueError(msg)


def check_vector(values: npt.ArrayLike, name: str) -> npt.NDArray[np.float64]:
    """Return `values` as a finite 1D float64 array with at least one element."""
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1 or not len(vector):
        msg = f"{name!r} must be 1D and not empty, got shape {vector.shape}."
        raise ValueError(msg)
    _check_finite(vector, name)
    return vector


def check_matrix(values: npt.ArrayLike, name: str) -> npt.NDArray[np.float64]:
    """Return `values` as a finite 2D float64 array with rows and columns."""
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.ndim != 2 or 0 in matrix.shape:
        msg = f"{name!r} must be 2D (samples, wavelengths), got shape {matrix.shape}."
        raise ValueError(msg)
    _check_finite(matrix, name)
    return matrix


def check_rows(first: npt.NDArray, name: str, second: npt.NDArray, other: str) -> None:
    """Raise ValueError unless both arrays have the same number of rows."""
    if len(first) != len(second):
        msg = f"{name!r} has {len(first)} rows but {other!r} has {len(second)}."
        raise ValueError(msg)


def check_xy(
    X: npt.ArrayLike, y: npt.ArrayLike, X_name: str = "X", y_name: str = "y"
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return spectra and property, finite and of as many samples."""
    spectra, values = check_matrix(X, X_name), check_vector(y, y_name)
    check_rows(spectra, X_name, values, y_name)
    return spectra, values
