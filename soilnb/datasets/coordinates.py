"""Where samples were taken: degrees on Earth, metres on a map."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import utm

from soilnb._validation import check_int

Floats = npt.NDArray[np.float64]

RADIUS_M, FLATTENING = 6_378_137.0, 1 / 298.257223563  # the ellipsoid WGS 84
N_ZONES = 60


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

    Examples
    --------
    >>> latitude, longitude = degrees_from_utm([448252], [5411933], 31, is_south=False)
    >>> round(float(latitude[0]), 4), round(float(longitude[0]), 4)
    (48.8582, 2.2945)
    """
    check_int(zone, "zone", 1, N_ZONES)
    return utm.to_latlon(
        np.asarray(easting, dtype=np.float64),
        np.asarray(northing, dtype=np.float64),
        int(zone),
        northern=not is_south,
        strict=False,  # a farm may reach over the edge of its zone
    )


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
