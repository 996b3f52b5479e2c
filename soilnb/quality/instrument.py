"""What the instrument leaves in spectra: steps between its detectors, and noise."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilnb._validation import Floats, check_rows, check_vector
from soilnb.quality.checks import check_on_wavelengths

# Last bands of the first two detectors of a common field spectrometer; other
# instruments, also of the same maker, change elsewhere: see `find_joints`.
DETECTOR_JUMPS_NM = (1000, 1830)
STEP_LIMIT = 5.0  # times the size of the same statistic at neighbouring places
NOISY = 5.0  # times the noise in the middle of the spectrum

_NEIGHBOURS = (2, 6)  # nearest and farthest place that a step is compared with
_JOINT_SHARE = 0.4  # of the spectra in which a joint must stand out
_MIN_STEP = 2e-4  # smaller ones come from rounding to 4 decimals
_MAX_SPACING_NM = 2.0  # over wider ones, absorption bands are as sharp as steps
_ROUNDING_NOISE = 1e-4 / 12**0.5  # rounding to 4 decimals, spread evenly
_MIN_ROWS = 10  # a median of fewer deviations says little
_SINGLE_PRECISION = 1e-8  # of a reflectance in float32, about


def detector_steps(
    reflectance: npt.ArrayLike,
    wavelengths: npt.ArrayLike,
    *,
    at: Sequence[float] = DETECTOR_JUMPS_NM,
) -> pd.DataFrame:
    """Return the step in each spectrum where one detector hands over to the next.

    Parameters
    ----------
    reflectance : array-like of shape (n_samples, n_wavelengths)
        Reflectance as a fraction; NaN where a row was not measured.
    wavelengths : array-like of shape (n_wavelengths,)
        nm, strictly increasing, at least four; best those of the measurement.
    at : sequence of float, default (1000, 1830)
        Joints, nm: the last band of a detector, or the place after it.

    Returns
    -------
    DataFrame
        A row for each joint and spectrum: joint_nm, row, step (reflectance, positive
        where the longer wavelengths are brighter), limit (reflectance; smaller ones
        would not be told from curvature and noise) and is_step. Step and limit are
        NaN where one of the bands that they are made of is not measured.

    Notes
    -----
    Let a, b be the last two bands up to the joint and c, d the next two. Both lines
    are extended to the middle between b and c, and

    step = R(c) - R(b) - (c - b) / 2 * ((R(b) - R(a)) / (b - a)
    + (R(d) - R(c)) / (d - c)).

    At equal spacing this is minus half the third difference: 0 for a parabola, so
    curvature is not called a step; the noise of one band comes through 2.2 times
    larger. The limit is 5 times the root mean square of the same statistic at the 2nd
    to 6th place on either side in the same spectrum (the 1st uses bands of both
    detectors), or the median of that over all spectra, if that is larger. At 10 nm, the
    edge of the water band at 1915 nm is among the neighbours of 1830 nm and raises the
    limit there.

    Examples
    --------
    >>> nm = np.arange(990.0, 1012.0)
    >>> smooth = 0.3 + 1e-3 * np.sin(nm / 3)
    >>> found = detector_steps([smooth + 0.01 * (nm > 1000)], nm, at=[1000])
    >>> found[["joint_nm", "row", "step", "is_step"]].round(3)
       joint_nm  row  step  is_step
    0    1000.0    0  0.01     True
    """
    spectra, nm = check_on_wavelengths(reflectance, wavelengths, 4, "reflectance")
    steps = _steps(spectra, nm)
    tables = []
    for joint in check_vector(at, "at"):
        place = int(np.searchsorted(nm, joint, side="right")) - 2
        step, limit = _judge(steps, place)
        table = pd.DataFrame({"joint_nm": joint, "row": np.arange(len(steps))})
        is_step = np.abs(step) > limit
        tables.append(table.assign(step=step, limit=limit, is_step=is_step))
    return pd.concat(tables, ignore_index=True)


def find_joints(reflectance: npt.ArrayLike, wavelengths: npt.ArrayLike) -> pd.DataFrame:
    """Return where two fifths of the spectra of one instrument have a step.

    `reflectance` and `wavelengths` are as of `detector_steps`, as measured: a
    ValueError if more than 2 nm apart. One row for each joint: joint_nm (the last band
    before it), step (median of the absolute steps, reflectance; at least 2e-4), share.

    >>> nm = np.arange(960.0, 1040.0)
    >>> spectra = 0.3 + 1e-5 * np.random.default_rng(1).normal(size=(20, 80))
    >>> find_joints(spectra + 0.002 * (nm > 1000), nm).round(3)
       joint_nm   step  share
    0    1000.0  0.002    1.0
    """
    spectra, nm = check_on_wavelengths(reflectance, wavelengths, 4, "reflectance")
    spacing = float(np.median(np.diff(nm)))
    if spacing > _MAX_SPACING_NM:
        msg = (
            f"'wavelengths' must be at most {_MAX_SPACING_NM:g} nm apart, got "
            f"{spacing:g} nm, where absorption bands look like steps. Use the "
            "wavelengths of the measurement."
        )
        raise ValueError(msg)
    steps = _steps(spectra, nm)
    found = []
    for place in range(steps.shape[1]):
        step, limit = _judge(steps, place)
        judged = np.isfinite(limit)
        if not judged.any():
            continue
        size = float(np.median(np.abs(step[judged])))
        stands_out = float(np.mean(np.abs(step[judged]) > limit[judged]))
        if size >= _MIN_STEP and stands_out >= _JOINT_SHARE:
            found.append((nm[place + 1], size, stands_out))
    return pd.DataFrame(found, columns=["joint_nm", "step", "share"])


def _steps(spectra: Floats, nm: Floats) -> Floats:
    """Return the step between bands j + 1 and j + 2 in column j."""
    rise = np.diff(spectra, axis=1)
    slope = rise / np.diff(nm)
    half = np.diff(nm)[1:-1] / 2
    return rise[:, 1:-1] - half * (slope[:, :-2] + slope[:, 2:])


def _judge(steps: Floats, place: int) -> tuple[Floats, Floats]:
    """Return the steps at a place, and above which size they stand out there."""
    nearest, farthest = _NEIGHBOURS
    places = np.arange(steps.shape[1])
    away = np.abs(places - place)
    neighbours = places[(away >= nearest) & (away <= farthest)]
    step, limit = np.full((2, len(steps)), np.nan)
    if not 0 <= place < len(places) or len(neighbours) <= farthest - nearest:
        return step, limit  # no such place, or too near the end to be judged
    measured = np.isfinite(steps[:, [place, *neighbours]]).all(axis=1)
    if measured.any():
        around = steps[np.ix_(measured, neighbours)]
        size = np.sqrt((around**2).mean(axis=1))
        size = np.maximum(size, max(float(np.median(size)), _SINGLE_PRECISION))
        step[measured] = steps[measured, place]
        limit[measured] = STEP_LIMIT * size
    return step, limit


def noise(spectra: npt.ArrayLike, wavelengths: npt.ArrayLike) -> Floats:
    """Return the standard deviation of the noise at each band.

    Parameters
    ----------
    spectra : array-like of shape (n_samples, n_wavelengths)
        Reflectance or absorbance, at least 10 rows; NaN where a row was not measured.
    wavelengths : array-like of shape (n_wavelengths,)
        nm, strictly increasing, at least five; best those of the measurement.

    Returns
    -------
    ndarray of shape (n_wavelengths,)
        Standard deviation, in the unit of `spectra`; NaN where fewer than 10 rows
        are measured.

    Notes
    -----
    The fourth (divided) difference of five neighbouring bands is 0 for any cubic.
    Scaled so that its weights have sum of squares 1, it passes white noise on with its
    standard deviation, as does another filter in Immerkær (1996), Computer Vision and
    Image Understanding 64(2), 300-302. The median over the spectra, the curvature they
    share, is taken off, and the standard deviation is 1.4826 times the median absolute
    deviation: half of the spectra may be bad. In a file rounded so coarsely that half
    of the differences at a band are 0, it is 1.2533 times the mean one, at all bands.

    Absorption bands that differ between soils and are narrower than five bands (many,
    at 10 nm) and steps between detectors are not told apart from noise; noise that was
    smoothed away before is not seen.

    Examples
    --------
    >>> spectra = 0.3 + np.random.default_rng(1).normal(0, 0.002, (500, 30))
    >>> float(noise(spectra, np.arange(400, 430)).mean().round(4))
    0.002
    """
    values, nm = check_on_wavelengths(spectra, wavelengths, 5, "spectra")
    if len(values) < _MIN_ROWS:
        msg = (
            f"'spectra' must have at least {_MIN_ROWS} rows to tell noise from "
            f"curvature, got {len(values)}."
        )
        raise ValueError(msg)
    differences = _fourth_differences(values, nm)
    too_few = np.isfinite(differences).sum(axis=0) < _MIN_ROWS
    differences[:, too_few] = 0
    deviations = np.abs(differences - np.nanmedian(differences, axis=0))
    spread = 1.4826 * np.nanmedian(deviations, axis=0)
    if (spread[~too_few] < _SINGLE_PRECISION).any():
        spread = np.sqrt(np.pi / 2) * np.nanmean(deviations, axis=0)
    spread[too_few] = np.nan
    return np.pad(spread, 2, mode="edge")


def _fourth_differences(spectra: Floats, nm: Floats) -> Floats:
    """Return fourth divided differences with weights of unit length, p - 4 columns."""
    five = np.lib.stride_tricks.sliding_window_view(nm, 5)
    gaps = five[:, :, np.newaxis] - five[:, np.newaxis, :]
    gaps[:, range(5), range(5)] = 1
    weights = 1 / gaps.prod(axis=2)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    differences = np.zeros((len(spectra), len(five)))
    for band in range(5):
        differences += spectra[:, band : band + len(five)] * weights[:, band]
    return differences


def noisy_edges(
    noise: npt.ArrayLike, wavelengths: npt.ArrayLike
) -> tuple[float | None, float | None]:
    """Return the range that is left between noisy edges of the spectrum.

    `noise` is from the function, bands with NaN passed over (a ValueError if all are),
    `wavelengths` are in nm. Returned are the first and last wavelength between the
    edges, going inwards from either end to the first band that is not noisy; None at an
    end that is not noisy. A band is noisy above 5 times the median of the middle half,
    or above 3e-5, what rounding to 4 decimals leaves, if that is larger.

    >>> noisy_edges([9, 1, 1, 1, 1, 1, 1, 2], [400, 410, 420, 430, 440, 450, 460, 470])
    (410.0, None)
    """
    nm = check_vector(wavelengths, "wavelengths")
    level = np.asarray(noise, dtype=np.float64)
    check_rows(level, "noise", nm, "wavelengths")
    known = np.isfinite(level)
    if not known.any():
        msg = "'noise' must have a value at one band at least, got NaN only."
        raise ValueError(msg)
    level, nm = level[known], nm[known]
    quarter = len(level) // 4
    middle = np.median(level[quarter : len(level) - quarter])
    quiet = np.flatnonzero(level <= max(NOISY * middle, _ROUNDING_NOISE))
    first, last = quiet[0], quiet[-1]
    return (
        float(nm[first]) if first > 0 else None,
        float(nm[last]) if last < len(nm) - 1 else None,
    )
