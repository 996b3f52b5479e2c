"""Soils of the twin: what the samples of a province consist of."""

from dataclasses import dataclass

import numpy as np

from soilnb._validation import Floats
from soilnb.datasets.twin.optics import ORGANIC, Soils
from soilnb.datasets.twin.provinces import (
    CLAY,
    MINERALS,
    PROVINCES,
    SOIL_MINERALS,
    SOIL_ORGANIC,
)

# Standard deviations. Between provinces of one soil type (parent material, age):
DEPARTURE = 0.3  # of the logarithm of each mineral, and of fresh and charred matter
COLOUR_DEPARTURE = 0.3  # of the logarithm of the colour of organic matter
SCATTERING_DEPARTURE = 0.2  # of the logarithm of scattering
LINK_DEPARTURE = 0.15  # of the correlations of SOC
# Between the samples of a province; each linked score is shared by what it moves.
LINKED = {
    "clay": {"kaolinite": 0.45, "smectite": 0.45, "illite": 0.35, "gibbsite": 0.3},
    "iron": {"goethite": 0.3, "haematite": 0.35},
    "carbonate": {"carbonate": 0.9},
}
OWN_SPREAD = {
    "quartz": 0.0,
    "mafic": 0.4,
    "kaolinite": 0.2,
    "smectite": 0.3,
    "illite": 0.2,
    "gibbsite": 0.4,
    "goethite": 0.35,
    "haematite": 0.55,
    "carbonate": 0.4,
}
ORGANIC_SPREAD = 0.3  # of the logarithm of each kind of organic matter
FRESH_WITH_CARBON = 0.2  # rise of the logarithm of fresh matter per score of carbon
COLOUR_SPREAD = 0.15  # of the logarithm of the colour of organic matter
MOISTURE_SPREAD = 0.15  # of the logarithm of hygroscopic water
SCATTERING_SPREAD = 0.22  # of the logarithm of scattering: aggregates, grinding
EXPONENT, EXPONENT_SPREAD = 0.30, 0.05  # of the fall of scattering with wavelength

MATTER_PER_CARBON = 1.724  # van Bemmelen: organic matter is 58 % carbon
COATING = 0.75  # power of organic matter: the more there is, the less is in the light
SURFACE = 0.2  # power of clay: the finer the soil, the more it scatters ...
COVER = -0.15  # ... and the less a gram of organic matter covers of it
LOAM_CLAY = 0.2  # mass fraction of clay at which both are 1
# Hygroscopic water at 50 % relative humidity, mass fraction of each constituent.
WATER_HELD = {
    "kaolinite": 0.012,
    "smectite": 0.11,
    "illite": 0.03,
    "gibbsite": 0.01,
    "goethite": 0.05,
    "haematite": 0.03,
}
WATER_FREE = 0.004  # held by any soil
WATER_PER_MATTER = 0.0012  # per % of organic matter


@dataclass(frozen=True)
class Relation:
    """What a seed makes of a province: its minerals and how SOC goes with them."""

    log_minerals: Floats  # logarithm of the typical mass (%) of each of `MINERALS`
    log_organic: Floats  # logarithm of the share of fresh, humified and charred matter
    colour: float  # how strongly a gram of organic matter colours
    scattering: float  # of a loam, relative to that of other provinces
    links: Floats  # correlation of SOC with clay, iron, carbonate and moisture


def draw_relation(province: str, rng: np.random.Generator) -> Relation:
    """Return what makes a province differ from others of its soil type."""
    soil_type = PROVINCES[province].soil_type
    organic = SOIL_ORGANIC[soil_type]
    minerals = np.log(SOIL_MINERALS[soil_type])
    links = np.array(organic.links) + LINK_DEPARTURE * rng.normal(size=4)
    return Relation(
        log_minerals=minerals + DEPARTURE * rng.normal(size=len(MINERALS)),
        log_organic=np.log(organic.shares) + DEPARTURE * rng.normal(size=3),
        colour=organic.colour * float(np.exp(COLOUR_DEPARTURE * rng.normal())),
        scattering=float(np.exp(SCATTERING_DEPARTURE * rng.normal())),
        links=np.clip(links, -0.8, 0.8),
    )


def draw_soils(
    relation: Relation,
    scores: Floats,
    carbon: Floats,
    humidity: float,
    rng: np.random.Generator,
    spread: float = 1.0,
) -> Soils:
    """Return samples with standard scores in their province and true carbon, %."""
    names = (*LINKED, "moisture", *MINERALS, *ORGANIC, "colour", "size", "exponent")
    shared = np.sqrt(1 - spread**2) * rng.normal(size=len(names))
    own = spread * rng.normal(size=(len(scores), len(names))) + shared
    drawn = dict(zip(names, own.T, strict=True))
    for name, link in zip((*LINKED, "moisture"), relation.links, strict=True):
        drawn[name] = link * scores + np.sqrt(1 - link**2) * drawn[name]
    minerals = _minerals(relation, drawn)
    clay = np.sum([minerals[name] for name in CLAY], axis=0)
    matter = MATTER_PER_CARBON * carbon
    held = [share * minerals[name] for name, share in WATER_HELD.items()]
    water = WATER_FREE + np.sum(held, axis=0) + WATER_PER_MATTER * matter
    water *= humidity * np.exp(MOISTURE_SPREAD * drawn["moisture"])
    shows = matter**COATING * (clay / LOAM_CLAY) ** COVER
    organic = _organic(relation, drawn, scores, shows)
    scattering = relation.scattering * (clay / LOAM_CLAY) ** SURFACE
    scattering *= np.exp(SCATTERING_SPREAD * drawn["size"])
    exponent = EXPONENT + EXPONENT_SPREAD * drawn["exponent"]
    return Soils({**minerals, "water": water, **organic}, scattering, exponent)


def _minerals(relation: Relation, drawn: dict[str, Floats]) -> dict[str, Floats]:
    """Return the mass fractions of the minerals, which sum to one."""
    masses = {}
    for name, log_mass in zip(MINERALS, relation.log_minerals, strict=True):
        log_ratio = log_mass + OWN_SPREAD[name] * drawn[name]
        for score, moved in LINKED.items():
            log_ratio = log_ratio + moved.get(name, 0.0) * drawn[score]
        masses[name] = np.exp(log_ratio)
    total = np.sum(list(masses.values()), axis=0)
    return {name: mass / total for name, mass in masses.items()}


def _organic(
    relation: Relation, drawn: dict[str, Floats], scores: Floats, shows: Floats
) -> dict[str, Floats]:
    """Return how much fresh, humified and charred organic matter shows."""
    masses = {
        name: np.exp(log_share + ORGANIC_SPREAD * drawn[name])
        for name, log_share in zip(ORGANIC, relation.log_organic, strict=True)
    }
    masses["fresh"] *= np.exp(FRESH_WITH_CARBON * scores)
    total = np.sum(list(masses.values()), axis=0)
    shows = shows * relation.colour * np.exp(COLOUR_SPREAD * drawn["colour"])
    return {name: mass / total * shows for name, mass in masses.items()}
