"""Provinces of the twin: which soils a country has, and why they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from soilnb.datasets.twin.table_1 import NAMED_COUNTRIES

MINERALS = (
    "quartz",
    "mafic",
    "kaolinite",
    "smectite",
    "illite",
    "gibbsite",
    "goethite",
    "haematite",
    "carbonate",
)
CLAY = ("kaolinite", "smectite", "illite", "gibbsite", "goethite", "haematite")


# Reference soil groups of the World Reference Base, and what makes them.
SOIL_TYPES = {
    "Podzol": "sand leached by cold forests",
    "Cambisol": "young, on glacial till and clay",
    "Planosol": "flat land, washed-out topsoil",
    "Luvisol": "loess whose clay moved down",
    "Chernozem": "loess under dry grassland",
    "Phaeozem": "loess under moist grassland",
    "Calcisol": "dry: carbonate stays",
    "Leptosol": "thin, on limestone or rock",
    "Gleysol": "wet: iron is reduced",
    "Andosol": "volcanic ash and glass",
    "Acrisol": "humid subtropics, acid",
    "Lixisol": "seasonally dry tropics",
    "Ferralsol": "old soils of wet tropics",
    "Vertisol": "swelling clay of basalt",
    "Arenosol": "dry sand, coated red",
    "Histosol": "peat, and till beneath",
}

# Typical mass, %, of each mineral (before it is made to sum to 100); feldspar counts
# as quartz. Weathering runs from illite and smectite (cold, dry or young soils) to
# kaolinite and gibbsite (humid tropics); haematite marks warm and seasonally dry
# climates, goethite cool or moist ones; carbonate stays where little rain drains.
# fmt: off
SOIL_MINERALS = {
    # in the order of MINERALS
    "Podzol":    (84,   3,   2,   1,   7, 0.05,   1, 0.03, 0.02),
    "Cambisol":  (71,   4,   3,   4,  15, 0.05, 1.7, 0.08, 0.15),
    "Planosol":  (69,   2,   5,   9,  12, 0.05, 1.4, 0.08,  0.1),
    "Luvisol":   (65,   2,   6,   8,  15, 0.05,   2,  0.2,  0.8),
    "Chernozem": (56,   3,   3,  18,  14, 0.05, 1.3,  0.1,    4),
    "Phaeozem":  (60,   3,   4,  17,  13, 0.05, 1.5, 0.12,  0.6),
    "Calcisol":  (50,   2,   3,   8,  13, 0.05, 1.1,  0.3,   21),
    "Leptosol":  (56,   3,  10,   7,  14,  0.3, 2.2,  0.8,    7),
    "Gleysol":   (63,   3,   8,  10,  14,  0.1, 1.2, 0.04,  0.4),
    "Andosol":   (55,  15,   8,   4,   4,    3, 3.2,  0.4, 0.05),
    "Acrisol":   (62, 1.5,  22, 1.5,   7,    1, 2.8,  0.8, 0.02),
    "Lixisol":   (74, 1.5,  14,   2,   4,  0.3, 1.6,  0.9, 0.08),
    "Ferralsol": (50,   4,  31, 0.5,   2,    4,   4,  2.8, 0.02),
    "Vertisol":  (44,   6,   7,  34,   5, 0.05, 1.3,  0.2,  2.5),
    "Arenosol":  (92,   1,   3, 0.8, 1.2, 0.05, 0.7, 0.35,  0.3),
    "Histosol":  (68,   3,   4,   5,  14, 0.05, 1.2, 0.05,  0.2),
}
# fmt: on


@dataclass(frozen=True)
class OrganicMatter:
    """The organic matter of a soil type, and what else goes with it."""

    shares: tuple[float, float, float]  # fresh, humified and charred, %
    colour: float  # how strongly a gram colours, relative to the mean of soils
    # Correlation of SOC with clay, iron, carbonate and moisture within a province.
    links: tuple[float, float, float, float]


# Cold and wet soils keep fresh, brown organic matter; grassland on loess and swelling
# clays have humus bound to calcium, black and partly charred by fires; in the tropics
# it is pale. It sits on clay in most soils, above all in the tropics, but not where
# the topsoil lost its clay (Planosol, Luvisol). It is high where iron was washed out
# or reduced (Podzol, Gleysol) and where carbonate was dissolved: signs of the topsoil.
# fmt: off
SOIL_ORGANIC = {
    "Podzol":    OrganicMatter((50, 47,  3), 0.95, ( 0.1, -0.3,  0.0,  0.3)),
    "Cambisol":  OrganicMatter((32, 62,  6), 1.00, ( 0.3,  0.1, -0.1,  0.3)),
    "Planosol":  OrganicMatter((28, 64,  8), 1.10, (-0.1, -0.2,  0.0,  0.3)),
    "Luvisol":   OrganicMatter((25, 67,  8), 1.00, (-0.2, -0.2, -0.2,  0.2)),
    "Chernozem": OrganicMatter((12, 60, 28), 1.35, ( 0.3,  0.0, -0.5,  0.3)),
    "Phaeozem":  OrganicMatter((18, 62, 20), 1.25, ( 0.3,  0.0, -0.2,  0.3)),
    "Calcisol":  OrganicMatter((30, 60, 10), 0.80, ( 0.3,  0.2, -0.3,  0.2)),
    "Leptosol":  OrganicMatter((38, 54,  8), 0.95, ( 0.2,  0.1, -0.4,  0.3)),
    "Gleysol":   OrganicMatter((36, 60,  4), 1.05, ( 0.3, -0.3, -0.1,  0.5)),
    "Andosol":   OrganicMatter((22, 70,  8), 1.20, ( 0.2,  0.2,  0.0,  0.4)),
    "Acrisol":   OrganicMatter((34, 62,  4), 0.80, ( 0.2, -0.1,  0.0,  0.2)),
    "Lixisol":   OrganicMatter((30, 62,  8), 0.85, ( 0.4,  0.2,  0.0,  0.2)),
    "Ferralsol": OrganicMatter((30, 66,  4), 0.70, ( 0.5,  0.2,  0.0,  0.3)),
    "Vertisol":  OrganicMatter((15, 65, 20), 1.15, ( 0.3,  0.0, -0.3,  0.3)),
    "Arenosol":  OrganicMatter((38, 56,  6), 0.90, ( 0.5,  0.2,  0.0,  0.3)),
    "Histosol":  OrganicMatter((55, 43,  2), 1.10, (-0.2, -0.2,  0.0,  0.5)),
}
# fmt: on


@dataclass(frozen=True)
class Province:
    """A region whose soils formed alike: one survey of a library."""

    soil_type: str  # one of `SOIL_TYPES`
    share: float  # of the rows of its country, before shares are made to sum to one
    level: float  # of its carbon within its country, in standard scores
    laboratories: str  # letters of the one or two that measured it


LEVEL_SPREAD = 0.8  # sd of the scores of carbon within a province

PROVINCES = {
    "China-1": Province("Phaeozem", 0.14, 0.9, "A"),  # north-east plain
    "China-2": Province("Luvisol", 0.22, -0.3, "AB"),  # loess and north plain
    "China-3": Province("Acrisol", 0.20, 0.3, "B"),  # southern red soils: the site
    "China-4": Province("Gleysol", 0.18, 0.7, "AB"),  # paddies of the lower Yangtze
    "China-5": Province("Calcisol", 0.16, -0.9, "A"),  # arid north-west
    "China-6": Province("Leptosol", 0.10, 0.6, "B"),  # Tibetan plateau
    "Sweden-1": Province("Podzol", 0.32, 0.3, "D"),  # northern forest
    "Sweden-2": Province("Histosol", 0.16, 1.6, "CD"),  # mires and wet forest
    "Sweden-3": Province("Cambisol", 0.22, -0.7, "C"),  # central plains: the site
    "Sweden-4": Province("Cambisol", 0.30, -0.1, "CD"),  # till of the south
    "USA-1": Province("Phaeozem", 0.20, 0.6, "E"),  # corn belt
    "USA-2": Province("Planosol", 0.20, 0.4, "E"),  # claypan of the midwest: the site
    "USA-3": Province("Calcisol", 0.18, -0.7, "E"),  # south-western deserts
    "USA-4": Province("Acrisol", 0.20, -0.4, "EG"),  # south-eastern piedmont
    "USA-5": Province("Andosol", 0.08, 1.0, "E"),  # north-western volcanoes
    "USA-6": Province("Vertisol", 0.14, 0.1, "EG"),  # Texas blackland
    "World-1": Province("Podzol", 0.06, 0.9, "F"),  # Finland and the Baltic
    "World-2": Province("Cambisol", 0.08, 0.3, "F"),  # central Europe
    "World-3": Province("Luvisol", 0.09, 0.0, "F"),  # loess of western Europe
    "World-4": Province("Chernozem", 0.05, 0.4, "FG"),  # Danube and Ukraine
    "World-5": Province("Calcisol", 0.09, -0.2, "F"),  # Spain
    "World-6": Province("Leptosol", 0.06, 0.1, "FH"),  # red soils on limestone
    "World-7": Province("Histosol", 0.03, 2.0, "F"),  # bogs of the Atlantic
    "World-8": Province("Gleysol", 0.05, 0.7, "F"),  # lowlands of the North Sea
    "World-9": Province("Planosol", 0.03, 0.2, "F"),  # Poland
    "World-10": Province("Andosol", 0.02, 1.3, "FG"),  # Iceland and Italy
    "World-11": Province("Ferralsol", 0.06, 0.1, "H"),  # central Brazil
    "World-12": Province("Acrisol", 0.04, 0.1, "GH"),  # Amazon
    "World-13": Province("Phaeozem", 0.03, 0.5, "H"),  # pampas
    "World-14": Province("Lixisol", 0.06, -0.7, "G"),  # west Africa
    "World-15": Province("Ferralsol", 0.04, 0.2, "G"),  # east Africa
    "World-16": Province("Vertisol", 0.03, -0.1, "G"),  # Ethiopia and Sudan
    "World-17": Province("Arenosol", 0.04, -1.3, "G"),  # Sahel and Kalahari
    "World-18": Province("Andosol", 0.02, 1.2, "GH"),  # Kenya and Java
    "World-19": Province("Calcisol", 0.03, -0.8, "GH"),  # near East
    "World-20": Province("Vertisol", 0.03, -0.5, "H"),  # Deccan
    "World-21": Province("Acrisol", 0.03, 0.0, "GH"),  # south-east Asia
    "World-22": Province("Lixisol", 0.04, -0.6, "H"),  # southern Australia
}


def provinces_of(country: str) -> dict[str, Province]:
    """Return the provinces of a country, by name."""
    prefix = country if country in NAMED_COUNTRIES else "World"
    return {
        name: province
        for name, province in PROVINCES.items()
        if name.startswith(f"{prefix}-")
    }


def rows_per_province(
    provinces: Mapping[str, Province], n: int
) -> npt.NDArray[np.intp]:
    """Return how many of n rows each province has, by its share."""
    ends = np.cumsum([province.share for province in provinces.values()])
    ends = np.round(n * ends / ends[-1])
    return np.diff(ends, prepend=0).astype(np.intp)
