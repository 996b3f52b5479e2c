"""Steps that turn measured spectra into predictors; nothing here learns from data."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from soilnb._blocks import is_large, row_blocks
from soilnb._validation import Floats, check_int, check_matrix, check_vector

GRID_STEP_NM = 10  # spacing of the working grid, as in Shen et al. (2022)
DEFAULT_RANGE_NM = (420, 2480)  # covered by every full-range farm
MIN_GRID_BANDS = 20  # fewer carry no shape of a spectrum worth learning
MAX_REFLECTANCE = 1.5  # above any noise, far below percent


def check_wavelengths(wavelengths: npt.ArrayLike) -> Floats:
    """Return wavelengths (nm) as a strictly increasing float64 vector.

    Raises ValueError if they are not 1D, not finite, fewer than two or not increasing.
    """
    vector = check_vector(wavelengths, "wavelengths")
    if len(vector) < 2:
        msg = f"'wavelengths' must have at least 2 values in nm, got {len(vector)}."
        raise ValueError(msg)
    steps = np.diff(vector)
    if (steps <= 0).any():
        first = int(np.argmax(steps <= 0))
        msg = (
            f"'wavelengths' must be strictly increasing, got {vector[first]:g} "
            f"followed by {vector[first + 1]:g} nm. Sort the bands and drop repeated "
            "ones."
        )
        raise ValueError(msg)
    return vector


def absorbance(reflectance: npt.ArrayLike) -> Floats:
    """Return apparent absorbance, the logarithm (base 10) of 1 / reflectance.

    Parameters
    ----------
    reflectance : array-like of shape (n_samples, n_wavelengths)
        Reflectance as a fraction, above 0 and at most 1.5; a ValueError if a value is
        missing, zero or negative, or looks like percent.

    Returns
    -------
    ndarray of shape (n_samples, n_wavelengths)
        Absorbance, dimensionless; negative where reflectance is above 1.

    Examples
    --------
    >>> absorbance([[0.1, 1.0]]).round(3) + 0.0
    array([[1., 0.]])
    """
    values = check_matrix(reflectance, "reflectance")
    if values.max() > MAX_REFLECTANCE:
        msg = (
            "'reflectance' must be a fraction, "
            f"got a maximum of {values.max():.3g}. Divide percent by 100."
        )
        raise ValueError(msg)
    bad = values <= 0
    if bad.any():
        first = int(np.argwhere(bad)[0][0])
        msg = (
            f"'reflectance' has {int(bad.sum())} zero or negative values (first at "
            f"row {first}), which have no logarithm. Leave out those rows or bands."
        )
        raise ValueError(msg)
    return -np.log10(values)


def reflectance(absorbance: npt.ArrayLike) -> Floats:
    """Return reflectance from apparent absorbance, 10 to the power of minus it.

    Absorbance, dimensionless, and reflectance, a fraction, are (n_samples,
    n_wavelengths); a ValueError if the input is not 2D or has missing values.

    >>> reflectance([[1.0, 0.0]])
    array([[0.1, 1. ]])
    """
    return 10.0 ** -check_matrix(absorbance, "absorbance")


def snv(spectra: npt.ArrayLike) -> Floats:
    """Return spectra after the standard normal variate (SNV) transformation.

    Each spectrum is centred on its own mean and divided by its own standard
    deviation, which removes most of the effect of particle size and brightness.

    Parameters
    ----------
    spectra : array-like of shape (n_samples, n_wavelengths)
        Reflectance or absorbance; a ValueError if a value is missing, a spectrum is
        constant or there are fewer than two wavelengths.

    Returns
    -------
    ndarray of shape (n_samples, n_wavelengths)
        Dimensionless; every row has mean 0 and standard deviation 1, which divides by
        n - 1, as in Barnes et al. (1989), Applied Spectroscopy 43(5), 772-777, and in
        the R package prospectr; dividing by n makes every value slightly larger.

    Examples
    --------
    >>> snv([[1.0, 2.0, 3.0]])
    array([[-1.,  0.,  1.]])
    """
    values = check_matrix(spectra, "spectra")
    if values.shape[1] < 2:
        msg = "'spectra' must have at least 2 wavelengths (columns), got 1."
        raise ValueError(msg)
    constant = values.max(axis=1) == values.min(axis=1)
    if constant.any():
        msg = (
            f"'spectra' has {int(constant.sum())} constant rows (first at row "
            f"{int(np.argmax(constant))}), which have no shape to scale. Remove them."
        )
        raise ValueError(msg)
    centred = values - values.mean(axis=1, keepdims=True)
    return centred / centred.std(axis=1, ddof=1, keepdims=True)


def snv_absorbance(reflectance: npt.ArrayLike) -> npt.NDArray[np.floating]:
    """Return spectra as models see them, SNV of absorbance.

    Parameters
    ----------
    reflectance : array-like of shape (n_samples, n_wavelengths)
        As of `absorbance`; a ValueError also where a spectrum is constant.

    Returns
    -------
    ndarray of shape (n_samples, n_wavelengths)
        Dimensionless, float64; of a large matrix (32 million values and more) float32,
        made of some rows at a time, so that it is never there in double precision.

    Examples
    --------
    >>> snv_absorbance([[0.1, 0.01, 0.001]])
    array([[-1.,  0.,  1.]])
    """
    values = np.asarray(reflectance)
    if not is_large(values.shape):
        return snv(absorbance(values))
    seen = np.empty(values.shape, np.float32)
    for rows in row_blocks(len(values)):
        seen[rows] = snv(absorbance(values[rows]))
    return seen


def derivative(
    spectra: npt.ArrayLike, *, window_length: int = 11, polyorder: int = 2
) -> Floats:
    """Return the first derivative of spectra, smoothed after Savitzky and Golay.

    A polynomial is fitted to the bands around each band; its slope there is the result
    (1964, Analytical Chemistry 36(8), 1627-1639). Offsets vanish, and narrow features
    stand out.

    Parameters
    ----------
    spectra : array-like of shape (n_samples, n_wavelengths)
        Reflectance or absorbance at evenly spaced wavelengths, without missing values.
    window_length : int, default 11
        Bands in the window, an odd number that they have; 11 are 100 nm of the working
        grid.
    polyorder : int, default 2
        Degree of the polynomial, at least 1 and below `window_length`.

    Returns
    -------
    ndarray of shape (n_samples, n_wavelengths)
        Change per band, in the unit of `spectra`. In the first and last half window it
        is that of the first or last whole window's polynomial, SciPy's mode "interp";
        the R package prospectr drops those bands.

    Examples
    --------
    >>> derivative([[1.0, 4.0, 9.0, 16.0]], window_length=3).round(6)
    array([[2., 4., 6., 8.]])
    """
    values = check_matrix(spectra, "spectra")
    n_bands = values.shape[1]
    check_int(window_length, "window_length", 3, n_bands, " (columns of 'spectra')")
    check_int(polyorder, "polyorder", 1, window_length - 1, " (window_length - 1)")
    if window_length % 2 == 0:
        msg = (
            "'window_length' must be odd, so that it has a middle band, "
            f"got {window_length}. Use {window_length - 1} or {window_length + 1}."
        )
        raise ValueError(msg)
    from scipy.signal import savgol_filter  # takes half a second to import

    return savgol_filter(values, window_length, polyorder, deriv=1, axis=1)


# What the comparison of preprocessings tries, each from reflectance.
PREPROCESSINGS: dict[str, Callable[[npt.ArrayLike], Floats]] = {
    "reflectance": lambda values: check_matrix(values, "reflectance"),
    "absorbance": absorbance,
    "SNV of absorbance": lambda values: snv(absorbance(values)),
    "first derivative of absorbance": lambda values: derivative(absorbance(values)),
}


def check_wavelength_range(
    wavelength_range: tuple[float, float],
) -> tuple[float, float]:
    """Return the two limits in nm, or raise ValueError unless they increase."""
    limits = np.asarray(wavelength_range)
    is_pair = limits.shape == (2,) and limits.dtype.kind in "iuf"
    if not is_pair or not np.isfinite(limits).all() or not 0 < limits[0] < limits[1]:
        msg = (
            "'wavelength_range' must be two increasing numbers in nm, such as "
            f"{DEFAULT_RANGE_NM}, got {wavelength_range!r}."
        )
        raise ValueError(msg)
    return float(limits[0]), float(limits[1])


def working_grid(
    wavelengths: npt.ArrayLike, wavelength_range: tuple[float, float] = DEFAULT_RANGE_NM
) -> Floats:
    """Return the multiples of 10 nm inside both a range and the site's own range.

    `wavelengths` are those of the site, nm, strictly increasing; `wavelength_range` the
    lowest and highest wanted, both included. A ValueError if they do not increase, or
    fewer than 20 bands remain.

    >>> working_grid([1000, 2400])[[0, 1, -1]]
    array([1000., 1010., 2400.])
    """
    measured = check_wavelengths(wavelengths)
    low, high = check_wavelength_range(wavelength_range)
    first = np.ceil(max(low, measured[0]) / GRID_STEP_NM)
    last = np.floor(min(high, measured[-1]) / GRID_STEP_NM)
    grid = GRID_STEP_NM * np.arange(first, last + 1)
    if len(grid) < MIN_GRID_BANDS:
        msg = (
            f"'wavelength_range' {low:g}-{high:g} nm and the site's own range "
            f"{measured[0]:g}-{measured[-1]:g} nm share {len(grid)} bands at "
            f"{GRID_STEP_NM} nm, at least {MIN_GRID_BANDS} are needed. "
            "Choose a range that the site covers."
        )
        raise ValueError(msg)
    return grid


def resample(
    spectra: npt.ArrayLike, wavelengths: npt.ArrayLike, grid: npt.ArrayLike
) -> Floats:
    """Return spectra at the wavelengths of a grid, by linear interpolation.

    Nothing is extrapolated: bands of the grid outside the measured range are NaN,
    and so are those next to a missing value.

    Parameters
    ----------
    spectra : array-like of shape (n_samples, n_wavelengths)
        Reflectance or absorbance; NaN where a row was not measured.
    wavelengths, grid : array-like of shape (n_wavelengths,) and (n_grid,)
        Those of the columns and those wanted, in nm, strictly increasing; a ValueError
        if not, or if the columns do not match.

    Returns
    -------
    ndarray of shape (n_samples, n_grid)
        Spectra on the grid, float64.

    Examples
    --------
    >>> resample([[1.0, 3.0]], [400, 420], [400, 410, 430])
    array([[ 1.,  2., nan]])
    """
    measured = check_wavelengths(wavelengths)
    wanted = check_vector(grid, "grid")
    values = np.asarray(spectra)
    if values.ndim != 2 or values.shape[1] != len(measured):
        msg = (
            f"'spectra' has shape {values.shape} but 'wavelengths' has "
            f"{len(measured)} values: one column for each is needed."
        )
        raise ValueError(msg)
    left = np.searchsorted(measured, wanted, side="right") - 1
    left = np.clip(left, 0, len(measured) - 2)
    weight = (wanted - measured[left]) / (measured[left + 1] - measured[left])
    before = values[:, left].astype(np.float64)
    after = values[:, left + 1].astype(np.float64)
    between = before + weight * (after - before)
    # A band that was measured keeps its value, even beside one that was not.
    between = np.where(weight == 0, before, np.where(weight == 1, after, between))
    between[:, (weight < 0) | (weight > 1)] = np.nan
    return between


def band_depth(
    reflectance: npt.ArrayLike,
    wavelengths: npt.ArrayLike,
    shoulders: tuple[float, float],
    centre: float,
) -> Floats:
    """Return how deep an absorption band is below the line between its shoulders.

    Parameters
    ----------
    reflectance : array-like of shape (n_samples, n_wavelengths)
        Fraction.
    wavelengths : array-like of shape (n_wavelengths,)
        Wavelengths of the columns, in nm, strictly increasing.
    shoulders, centre : tuple of two floats, float
        Wavelengths beside the band, one on each side, and that of the band, in nm; a
        ValueError if the three do not increase or were not measured.

    Returns
    -------
    ndarray of shape (n_samples,)
        1 - reflectance / line at the centre (Clark and Roush 1984, Journal of
        Geophysical Research 89, 6329-6340); negative where there is no band.

    Examples
    --------
    >>> band_depth([[0.4, 0.25, 0.6]], [2150, 2200, 2250], (2150, 2250), 2200)
    array([0.5])
    """
    left, right = shoulders
    if not left < centre < right:
        msg = f"'shoulders' must be on both sides of {centre:g} nm, got {shoulders}."
        raise ValueError(msg)
    at_left, at_centre, at_right = resample(
        reflectance, wavelengths, [left, centre, right]
    ).T
    if np.isnan([at_left, at_centre, at_right]).any():
        msg = (
            f"'reflectance' must be measured at {left:g}, {centre:g} and {right:g} nm, "
            "got spectra that are not. Choose a band within them."
        )
        raise ValueError(msg)
    weight = (centre - left) / (right - left)
    return 1 - at_centre / ((1 - weight) * at_left + weight * at_right)
