"""Where samples were taken: degrees on Earth, metres on a map."""

import numpy as np
import numpy.typing as npt
import utm

from soilnb._validation import Floats, check_int

RADIUS_M, FLATTENING = 6_378_137.0, 1 / 298.257223563  # the ellipsoid WGS 84
N_ZONES = 60


def degrees_from_utm(
    easting: npt.ArrayLike, northing: npt.ArrayLike, zone: int, *, is_south: bool
) -> tuple[Floats, Floats]:
    """Return latitude and longitude (WGS 84) of UTM coordinates in metres.

    South of the equator, northings count from 10,000,000 m.

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
    """Return how far east and north of their own corner the samples of a farm lie.

    The Earth is taken as flat, and a degree as long as at the middle latitude.

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
