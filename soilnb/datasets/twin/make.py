"""Makes the library and the sites of the twin, one laboratory at a time."""

import numpy as np
import pandas as pd

from soilnb._validation import Floats, check_choice, check_int
from soilnb.datasets.library import SpectralLibrary
from soilnb.datasets.twin import sites
from soilnb.datasets.twin.laboratories import LABORATORIES, measured, true_carbon
from soilnb.datasets.twin.optics import soil_reflectance
from soilnb.datasets.twin.provinces import (
    LEVEL_SPREAD,
    PROVINCES,
    provinces_of,
    rows_per_province,
)
from soilnb.datasets.twin.soils import draw_relation, draw_soils
from soilnb.datasets.twin.table_1 import COUNTRIES, TWIN_SITES
from soilnb.preprocessing import GRID_STEP_NM

TWIN_RANGE_NM = (400, 2500)
CARBON_KIND = "organic carbon (synthetic)"
LICENCE = "none needed (made from a seed)"

# First number of the spawn key of a generator: what it is used for.
COUNTRY, RELATION, SAMPLES, FIELD, SITE_SAMPLES = range(5)


def make_library(seed: int = 1) -> SpectralLibrary:
    """Return the synthetic library of 50,422 soils of 38 provinces.

    It takes a few seconds and about 0.3 GB. The same `seed`, at least 1, gives the same
    bytes; on another kind of processor the last digit of a reflectance may differ.
    It is named "twin" and has 211 bands, 400-2500 nm. `info` has beside the usual
    columns `province` (also the group), `soil_type` and `laboratory`; country is China,
    Sweden, USA or "rest of the world".
    """
    check_int(seed, "seed", 1)
    samples = [_library_samples(country, seed) for country in COUNTRIES]
    return _scanned("twin", pd.concat(samples, ignore_index=True), seed, SAMPLES)


def make_site(name: str, seed: int = 1) -> SpectralLibrary:
    """Return a synthetic site, without making the library it belongs to.

    `name` is one of `TWIN_SITES`; the `seed`, at least 1, is that of the library. The
    rows are one group, the name of the site. `info` has beside the usual columns
    `province` (the library's rows of that province share its minerals and its relation
    of SOC to spectra), `soil_type`, `laboratory`, `latitude` and `longitude` (degrees,
    on a field of the paper's area).

    >>> site = make_site("twin-sweden")
    >>> site.reflectance.shape, site.info["province"][0], float(site.soc.max())
    ((108, 211), 'Sweden-3', 4.47)
    """
    check_choice(name, "site of the twin", TWIN_SITES)
    check_int(seed, "seed", 1)
    samples = _site_samples(name, seed)
    return _scanned(name, samples, seed, SITE_SAMPLES, sites.SITES[name].spread)


def _library_samples(country: str, seed: int) -> pd.DataFrame:
    """Return info, reported SOC and score of carbon of a country's samples."""
    # Loads SciPy, which takes longer than a site does.
    from soilnb.datasets.twin.carbon import carbon_curve

    provinces = provinces_of(country)
    curve = carbon_curve(country)
    n_rows = rows_per_province(provinces, curve.n)
    rng = _rng(seed, COUNTRY, COUNTRIES.index(country))
    scores = rng.normal(size=curve.n)
    levels = np.repeat([province.level for province in provinces.values()], n_rows)
    soc = _ranked(curve.draw(rng), levels + LEVEL_SPREAD * scores)
    info = [
        _info(name, n, group=name, country=country, province=name)
        for name, n in zip(provinces, n_rows, strict=True)
    ]
    return pd.concat(info, ignore_index=True).assign(soc=soc, score=scores)


def _site_samples(name: str, seed: int) -> pd.DataFrame:
    """Return info with positions, reported SOC and score of carbon of a site."""
    from soilnb.datasets.twin.carbon import carbon_curve, scores_in_province

    site, country = sites.SITES[name], TWIN_SITES[name]
    rng = _rng(seed, FIELD, list(sites.SITES).index(name))
    east, north = sites.draw_positions(name, rng)
    field = sites.draw_carbon_scores(name, east, north, rng)
    soc = _ranked(carbon_curve(name).draw(rng), field)
    scores = scores_in_province(soc, site.province, country)
    info = _info(name, len(soc), group=name, country=country, province=site.province)
    info["laboratory"] = site.laboratory
    info["latitude"], info["longitude"] = sites.degrees(site, east, north)
    return info.assign(soc=soc, score=scores)


def _ranked(increasing: Floats, scores: Floats) -> Floats:
    """Return values such that the highest score has the highest value, and so on."""
    values = np.empty(len(scores))
    values[scores.argsort(kind="stable")] = increasing
    return values


def _info(
    prefix: str, n: int, *, group: str, country: str, province: str
) -> pd.DataFrame:
    """Return what is known of n samples; a province's laboratories share them."""
    numbers = np.arange(n)
    letters = np.array(list(PROVINCES[province].laboratories))
    return pd.DataFrame(
        {
            "sample_id": [f"{prefix}-{number + 1:05d}" for number in numbers],
            "source": "synthetic",
            "group": group,
            "country": country,
            "carbon_kind": CARBON_KIND,
            "licence": LICENCE,
            "province": province,
            "soil_type": PROVINCES[province].soil_type,
            "laboratory": letters[numbers * len(letters) // n],
        }
    )


def _scanned(
    name: str, samples: pd.DataFrame, seed: int, use: int, spread: float = 1.0
) -> SpectralLibrary:
    """Return samples with their spectra, one province and laboratory at a time."""
    first, last = TWIN_RANGE_NM
    wavelengths = np.arange(first, last + 1, GRID_STEP_NM, dtype=np.float64)
    reflectance = np.empty((len(samples), len(wavelengths)), dtype=np.float32)
    soc, scores = samples["soc"].to_numpy(), samples["score"].to_numpy()
    batches = samples.groupby(["province", "laboratory"]).indices
    for (province, letter), rows in batches.items():
        number = list(PROVINCES).index(province)
        relation = draw_relation(province, _rng(seed, RELATION, number))
        rng = _rng(seed, use, number, list(LABORATORIES).index(letter))
        laboratory = LABORATORIES[letter]
        carbon = true_carbon(soc[rows], laboratory, rng)
        humidity = laboratory.humidity
        soils = draw_soils(relation, scores[rows], carbon, humidity, rng, spread)
        seen = soil_reflectance(soils, wavelengths + laboratory.shift_nm)
        reflectance[rows] = measured(seen, wavelengths, laboratory, rng)
    return SpectralLibrary(
        name=name,
        reflectance=reflectance,
        wavelengths=wavelengths,
        soc=soc,
        info=samples.drop(columns=["soc", "score"]),
        notes=(f"{name}: synthetic, made from seed {seed}; no soil was measured.",),
    )


def _rng(seed: int, *key: int) -> np.random.Generator:
    """Return the generator of one use: all are branches of one tree of seeds."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
