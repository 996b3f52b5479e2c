"""What a search is asked: samples, checked and standardised, and its settings."""

import numbers
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from soilnb._blocks import row_blocks
from soilnb._validation import (
    Floats,
    check_choice,
    check_int,
    check_matrix,
    check_rows,
    check_vector,
)
from soilnb.rslocal.mapped import is_mapped
from soilnb.rslocal.subsets import MOST_REPEATS, Spectra

# What n_components="cv" tries, and in how many folds of each subset.
MOST_COMPONENTS = 15
N_FOLDS = 10


@dataclass(frozen=True)
class Settings:
    """The numbers that steer a search."""

    n_selected: int
    subset_size: int
    n_repeats: int
    drop_fraction: float
    n_components: int  # the largest number tried, where there are folds
    n_folds: int
    seed: int

    def n_models(self, pool_size: int) -> int:
        """Return how many models draw each of the pool's rows b times on average."""
        return max(1, round(pool_size * self.n_repeats / self.subset_size))

    def n_dropped(self, pool_size: int) -> int:
        """Return how many rows an iteration drops: never none, never too many."""
        worst = max(1, round(pool_size * self.drop_fraction))
        return min(worst, pool_size - self.n_selected)

    def pool_sizes(self, n_library: int) -> Iterator[int]:
        """Yield the pool size of each iteration."""
        while n_library > self.n_selected:
            yield n_library
            n_library -= self.n_dropped(n_library)


def _single_precision(X: npt.NDArray, mean: npt.NDArray, scale: float) -> npt.NDArray:
    """Return (X - mean) / scale in float32, without a large array in between."""
    result = np.empty(X.shape, np.float32)
    for rows in row_blocks(len(X)):
        result[rows] = (X[rows] - mean) / scale
    return result


def standardise(
    X_library: npt.NDArray, y_library: Floats, X_local: npt.NDArray, y_local: Floats
) -> Spectra:
    """Centre all and scale it by one number each, so that float32 suffices.

    Spectra that are the map of a file are used as they are, not copied.
    """
    y_mean, y_sd = y_library.mean(), y_library.std()
    if is_mapped(X_library):
        return Spectra(
            np.asarray(X_library),
            ((y_library - y_mean) / y_sd).astype(np.float32),
            X_local.astype(np.float32),
            ((y_local - y_mean) / y_sd).astype(np.float32),
        )
    mean = X_library.mean(axis=0, dtype=np.float64)
    highest, lowest = X_library.max(axis=0) - mean, X_library.min(axis=0) - mean
    scale = float(max(highest.max(), -lowest.min()))
    with np.errstate(over="ignore"):  # infinite errors are met in the search
        return Spectra(
            _single_precision(X_library, mean, scale),
            ((y_library - y_mean) / y_sd).astype(np.float32),
            _single_precision(X_local, mean, scale),
            ((y_local - y_mean) / y_sd).astype(np.float32),
        )


def _check_spectra(X: npt.ArrayLike, name: str) -> npt.NDArray:
    """Return spectra, checked; single precision is not blown up to double."""
    spectra = np.asanyarray(X) if is_mapped(X) else np.asarray(X)
    is_single = spectra.dtype == np.float32 and spectra.ndim == 2 and spectra.size > 0
    blocks = row_blocks(len(spectra)) if is_single else ()
    if is_single and all(np.isfinite(spectra[rows]).all() for rows in blocks):
        return spectra
    return check_matrix(spectra, name)


def check_samples(
    X: npt.ArrayLike, y: npt.ArrayLike, kind: str
) -> tuple[npt.NDArray, Floats]:
    """Return spectra and property of the library or the site, checked."""
    spectra, values = _check_spectra(X, f"X_{kind}"), check_vector(y, f"y_{kind}")
    check_rows(spectra, f"X_{kind}", values, f"y_{kind}")
    if np.ptp(values) == 0:
        msg = (
            f"'y_{kind}' is the constant {values[0]:.3g}: no model can be scored. "
            "Use samples that differ."
        )
        raise ValueError(msg)
    return spectra, values


def check_bands_vary(X_library: npt.NDArray) -> None:
    """Raise ValueError where a wavelength has the same value in the whole library."""
    constant = np.flatnonzero(X_library.max(axis=0) == X_library.min(axis=0))
    if len(constant):
        msg = (
            f"'X_library' has {len(constant)} constant columns (first: column "
            f"{constant[0]}), which no measured spectrum has. Drop them here and in "
            "'X_local'."
        )
        raise ValueError(msg)


def _check_n_components(
    n_components: Any, subset_size: int, n_wavelengths: int
) -> tuple[int, int]:
    """Return the (largest) number of components and the number of folds."""
    if isinstance(n_components, str):
        check_choice(n_components, "n_components", ["cv"])
        n_folds = min(N_FOLDS, subset_size)
        smallest_training = subset_size - -(-subset_size // n_folds)
        largest = min(MOST_COMPONENTS, smallest_training - 1, n_wavelengths)
        return max(1, largest), n_folds
    most = min(subset_size - 1, n_wavelengths)
    what = " (rows of a subset - 1, or wavelengths if fewer)"
    check_int(n_components, "n_components", 1, most, what)
    return n_components, 0


def _check_drop_fraction(drop_fraction: Any) -> None:
    """Raise unless it is a number above 0 and below 1."""
    rule = f"'drop_fraction' must be above 0 and below 1, got {drop_fraction!r}."
    if not isinstance(drop_fraction, numbers.Real):
        raise TypeError(rule)
    if not 0 < float(drop_fraction) < 1:
        msg = f"{rule} 0.05 drops 5 % of the rows at a time."
        raise ValueError(msg)


def check_settings(
    shape: tuple[int, int],
    n_selected: int,
    subset_size: int | None,
    n_repeats: int,
    drop_fraction: float,
    n_components: Any,
    seed: int,
) -> Settings:
    """Return the settings, if every number is of its kind and within its range."""
    n_library, n_wavelengths = shape
    check_int(n_library, "X_library rows", 3)
    what = " (rows of 'X_library' - 1)"
    check_int(n_selected, "n_selected", 2, n_library - 1, what)
    size = n_selected if subset_size is None else subset_size
    check_int(size, "subset_size", 2, n_selected, " ('n_selected')")
    check_int(n_repeats, "n_repeats", 1, MOST_REPEATS)
    _check_drop_fraction(drop_fraction)
    largest, n_folds = _check_n_components(n_components, size, n_wavelengths)
    check_int(seed, "seed", 0, 2**63 - 1)
    return Settings(n_selected, size, n_repeats, drop_fraction, largest, n_folds, seed)
