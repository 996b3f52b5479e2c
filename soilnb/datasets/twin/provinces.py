"""Provinces of the twin: which soils a country has, and why they differ."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from soilnb._validation import Rows
from soilnb.datasets.twin.table_1 import NAMED_COUNTRIES, TABLES

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

SOIL_TYPES, SOIL_MINERALS = TABLES["soil_types"], TABLES["soil_minerals"]


@dataclass(frozen=True)
class OrganicMatter:
    """The organic matter of a soil type; `twin.toml` explains the fields."""

    shares: tuple[float, float, float]
    colour: float
    links: tuple[float, float, float, float]


SOIL_ORGANIC = {key: OrganicMatter(*one) for key, one in TABLES["soil_organic"].items()}


@dataclass(frozen=True)
class Province:
    """A region whose soils formed alike: one survey of a library."""

    soil_type: str  # one of `SOIL_TYPES`
    share: float  # of the rows of its country, before shares are made to sum to one
    level: float  # of its carbon within its country, in standard scores
    laboratories: str  # letters of the one or two that measured it


LEVEL_SPREAD = 0.8  # sd of the scores of carbon within a province

PROVINCES = {name: Province(*one) for name, one in TABLES["provinces"].items()}


def provinces_of(country: str) -> dict[str, Province]:
    """Return the provinces of a country, by name."""
    prefix = country if country in NAMED_COUNTRIES else "World"
    return {
        name: province
        for name, province in PROVINCES.items()
        if name.startswith(f"{prefix}-")
    }


def rows_per_province(provinces: Mapping[str, Province], n: int) -> Rows:
    """Return how many of n rows each province has, by its share."""
    ends = np.cumsum([province.share for province in provinces.values()])
    ends = np.round(n * ends / ends[-1])
    return np.diff(ends, prepend=0).astype(np.intp)
