"""Sites of the twin: three fields, where their samples lie and how carbon varies."""

from dataclasses import dataclass

import numpy as np

from soilnb._validation import Floats
from soilnb.datasets.twin.table_1 import TABLE_1


@dataclass(frozen=True)
class Site:
    """One site: a field or farming district in a province of the library."""

    province: str  # whose minerals and relations it shares
    laboratory: str  # letter, one of the province's
    latitude: float  # of the south-western corner, degrees
    longitude: float
    spread: float  # variation of its minerals relative to that of the province


# A larger area holds more of the variation of its province.
SITES = {
    "twin-china": Site("China-3", "B", 28.20, 116.80, 0.6),  # hills of red clay
    "twin-sweden": Site("Sweden-3", "C", 59.60, 16.60, 0.5),  # a farm on glacial clay
    "twin-usa": Site("USA-2", "E", 39.20, -92.10, 0.5),  # one claypan field
}
ASPECT = 1.5  # width (east) over height (north) of the field
JITTER = 0.35  # largest distance of a sample from the middle of its grid cell, in cells
KM_PER_DEGREE = 111.2
RANGE = 0.15  # distance at which carbon is no longer alike, in sides of the field
NUGGET = 0.25  # share of the variance of carbon that neighbours do not share
N_WAVES = 64


def draw_positions(name: str, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return how far (km) east and north of the corner the samples of a site lie."""
    row = TABLE_1[name]
    columns = int(np.ceil(np.sqrt(row.n * ASPECT)))
    rows = int(np.ceil(row.n / columns))
    cells = np.sort(rng.permutation(columns * rows)[: row.n])
    place = rng.uniform(0.5 - JITTER, 0.5 + JITTER, size=(2, row.n))
    east = (cells % columns + place[0]) / columns * np.sqrt(row.area_km2 * ASPECT)
    north = (cells // columns + place[1]) / rows * np.sqrt(row.area_km2 / ASPECT)
    return east, north


def draw_carbon_scores(
    name: str, east: Floats, north: Floats, rng: np.random.Generator
) -> Floats:
    """Return scores of carbon in which near samples are alike: random waves."""
    length = RANGE * np.sqrt(TABLE_1[name].area_km2)
    field = np.zeros(len(east))
    for _ in range(N_WAVES):
        to_east, to_north = rng.normal(size=2) / length
        phase = rng.uniform(0, 2 * np.pi)
        field += np.cos(to_east * east + to_north * north + phase)
    field *= np.sqrt(2 / N_WAVES)
    return np.sqrt(1 - NUGGET) * field + np.sqrt(NUGGET) * rng.normal(size=len(east))


def degrees(site: Site, east: Floats, north: Floats) -> tuple[Floats, Floats]:
    """Return latitude and longitude of positions in km from the corner of a site."""
    latitude = site.latitude + north / KM_PER_DEGREE
    per_degree = KM_PER_DEGREE * np.cos(np.radians(site.latitude))
    return latitude, site.longitude + east / per_degree
