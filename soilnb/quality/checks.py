"""Checks of spectra that may have gaps, with messages that say what to do."""

import numbers

import numpy as np
import numpy.typing as npt

from soilnb._blocks import row_blocks
from soilnb._validation import Floats, check_vector


def check_share(value: object, name: str) -> None:
    """Raise ValueError unless `value` is a number between 0 and 1."""
    if not isinstance(value, numbers.Real) or not 0 < float(value) < 1:
        msg = f"{name!r} must be a number between 0 and 1, got {value!r}."
        raise ValueError(msg)


def check_measured(
    values: npt.ArrayLike, name: str, *, keep_single: bool = False
) -> npt.NDArray:
    """Return spectra as a 2D float64 array, in which NaN is not measured.

    Single precision may be kept: a large library need not be there in double.
    """
    spectra = np.asarray(values)
    if not (keep_single and spectra.dtype == np.float32):
        spectra = spectra.astype(np.float64, copy=False)
    if spectra.ndim != 2 or 0 in spectra.shape:
        msg = f"{name!r} must be 2D (samples, wavelengths), got shape {spectra.shape}."
        raise ValueError(msg)
    if any(np.isinf(spectra[rows]).any() for rows in row_blocks(len(spectra))):
        infinite = np.isinf(spectra)
        msg = (
            f"{name!r} has {int(infinite.sum())} infinite values (first at row "
            f"{int(np.argwhere(infinite)[0][0])}). Use NaN for what was not measured."
        )
        raise ValueError(msg)
    return spectra


def check_on_wavelengths(
    values: npt.ArrayLike, wavelengths: npt.ArrayLike, n_least: int, name: str
) -> tuple[Floats, Floats]:
    """Return spectra and their wavelengths, increasing and at least `n_least`."""
    spectra = check_measured(values, name)
    nm = check_vector(wavelengths, "wavelengths")
    if spectra.shape[1] != len(nm):
        msg = (
            f"{name!r} has shape {spectra.shape} but 'wavelengths' has {len(nm)} "
            "values: one column for each is needed."
        )
        raise ValueError(msg)
    if len(nm) < n_least or (np.diff(nm) <= 0).any():
        msg = (
            f"'wavelengths' must be at least {n_least} strictly increasing values in "
            f"nm, got {len(nm)}, from {nm[0]:g} to {nm[-1]:g}. Sort the bands."
        )
        raise ValueError(msg)
    return spectra, nm
