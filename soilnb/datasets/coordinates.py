"""Where samples were taken: degrees on Earth, metres on a map."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from soilnb._validation import check_int

Floats = npt.NDArray[np.float64]

# The ellipsoid WGS 84 and the constants of its UTM projection.
RADIUS_M = 6_378_137.0  # at the equator
FLATTENING = 1 / 298.257223563
SCALE = 0.9996  # on the central meridian of a zone
FALSE_EASTING_M = 500_000
FALSE_NORTHING_M = 10_000_000  # south of the equator only
N_ZONES = 60

# Third flattening, and Krueger's coefficients to its third power: less than 1 mm.
N = FLATTENING / (2 - FLATTENING)
MERIDIAN_RADIUS_M = RADIUS_M / (1 + N) * (1 + N**2 / 4 + N**4 / 64)
BETA = (
    N / 2 - 2 / 3 * N**2 + 37 / 96 * N**3,
    N**2 / 48 + N**3 / 15,
    17 / 480 * N**3,
)
DELTA = (
    2 * N - 2 / 3 * N**2 - 2 * N**3,
    7 / 3 * N**2 - 8 / 5 * N**3,
    56 / 15 * N**3,
)


def degrees_from_utm(
    easting: npt.ArrayLike, northing: npt.ArrayLike, zone: int, *, is_south: bool
) -> tuple[Floats, Floats]:
    """Return latitude and longitude of UTM coordinates, both on WGS 84.

    Parameters
    ----------
    easting, northing : array-like of shape (n_samples,)
        Metres, as on the map: 500,000 m east on the zone's central meridian.
    zone : int
        Zone, 1 to 60; the last two digits of the EPSG code.
    is_south : bool
        Whether the zone is that of the southern hemisphere (EPSG 327..), where
        northings count from 10,000,000 m at the equator.

    Returns
    -------
    latitude, longitude : ndarray of shape (n_samples,)
        Degrees; north and east are positive.

    Raises
    ------
    TypeError
        If `zone` is not a whole number.
    ValueError
        If it is not between 1 and 60.

    Notes
    -----
    Krueger's series to the third power of the third flattening, as in [1]_.

    References
    ----------
    .. [1] Karney (2011), Transverse Mercator with an accuracy of a few nanometers,
       J. Geodesy 85, 475-485, doi:10.1007/s00190-011-0445-3.

    Examples
    --------
    >>> latitude, longitude = degrees_from_utm([448252], [5411933], 31, is_south=False)
    >>> round(float(latitude[0]), 4), round(float(longitude[0]), 4)
    (48.8582, 2.2945)
    """
    check_int(zone, "zone", 1, N_ZONES)
    north = np.asarray(northing, dtype=np.float64) - FALSE_NORTHING_M * is_south
    east = np.asarray(easting, dtype=np.float64) - FALSE_EASTING_M
    xi, eta = north / (SCALE * MERIDIAN_RADIUS_M), east / (SCALE * MERIDIAN_RADIUS_M)
    x, y = xi.copy(), eta.copy()
    for order, beta in enumerate(BETA, start=1):
        x -= beta * np.sin(2 * order * xi) * np.cosh(2 * order * eta)
        y -= beta * np.cos(2 * order * xi) * np.sinh(2 * order * eta)
    conformal = np.arcsin(np.sin(x) / np.cosh(y))
    latitude = conformal.copy()
    for order, delta in enumerate(DELTA, start=1):
        latitude += delta * np.sin(2 * order * conformal)
    central_meridian = 6 * zone - 183
    longitude = central_meridian + np.degrees(np.arctan2(np.sinh(y), np.cos(x)))
    return np.degrees(latitude), longitude


def metres_from_degrees(
    latitude: npt.ArrayLike, longitude: npt.ArrayLike
) -> tuple[Floats, Floats]:
    """Return how far east and north of their own corner some samples lie.

    For a field or farm: the Earth is taken as flat, and a degree as long everywhere
    as at the middle latitude.

    Parameters
    ----------
    latitude, longitude : array-like of shape (n_samples,)
        Degrees (WGS 84).

    Returns
    -------
    easting, northing : ndarray of shape (n_samples,)
        Metres from the westernmost and from the southernmost sample.

    Examples
    --------
    >>> easting, northing = metres_from_degrees([60.0, 60.001], [16.0, 16.001])
    >>> easting.round(), northing.round()
    (array([ 0., 56.]), array([  0., 111.]))
    """
    latitude = np.asarray(latitude, dtype=np.float64)
    longitude = np.asarray(longitude, dtype=np.float64)
    middle = np.radians((latitude.min() + latitude.max()) / 2)
    eccentricity = FLATTENING * (2 - FLATTENING)  # squared
    flatter = 1 - eccentricity * np.sin(middle) ** 2
    to_east = RADIUS_M / np.sqrt(flatter) * np.cos(middle)
    to_north = RADIUS_M * (1 - eccentricity) / flatter**1.5
    return (
        to_east * np.radians(longitude - longitude.min()),
        to_north * np.radians(latitude - latitude.min()),
    )
