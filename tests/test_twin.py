"""The twin: its statistics, its physics, its known truth and its bytes."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_helpers import python

from soilnb.datasets import INFO_COLUMNS, SpectralLibrary, load_farms
from soilnb.datasets.twin import (
    TABLE_1,
    TWIN_RANGE_NM,
    TWIN_SITES,
    beside,
    make_library,
    make_site,
)
from soilnb.datasets.twin.carbon import carbon_curve, scores_in_province
from soilnb.datasets.twin.laboratories import LABORATORIES, measured, true_carbon
from soilnb.datasets.twin.optics import (
    END_MEMBERS,
    ORGANIC,
    Soils,
    absorption,
    kubelka_munk,
    soil_reflectance,
)
from soilnb.datasets.twin.provinces import (
    MINERALS,
    PROVINCES,
    SOIL_MINERALS,
    SOIL_ORGANIC,
    SOIL_TYPES,
    provinces_of,
    rows_per_province,
)
from soilnb.datasets.twin.sites import SITES, draw_carbon_scores, draw_positions
from soilnb.datasets.twin.soils import draw_relation, draw_soils

SEEDS = (1, 7)


@pytest.fixture(scope="module")
def libraries():
    """The twin of two seeds."""
    return {seed: make_library(seed) for seed in SEEDS}


@pytest.fixture(scope="module")
def library(libraries):
    """The twin of seed 1."""
    return libraries[1]


def rows_of(library, column, value):
    return (library.info[column] == value).to_numpy()


def digest(library):
    """Return a hash of everything in a library."""
    content = hashlib.sha256(library.reflectance.tobytes())
    content.update(library.soc.tobytes())
    content.update(library.info.to_csv(index=False).encode())
    return content.hexdigest()


# Table 1


@pytest.mark.parametrize("seed", SEEDS)
def test_soc_has_the_statistics_of_table_1_within_5_percent_of_the_sd(seed, libraries):
    sites = {name: make_site(name, seed) for name in TWIN_SITES}
    table = beside.compare_carbon(libraries[seed], sites)
    assert table["n"].to_dict() == {name: row.n for name, row in TABLE_1.items()}
    assert (table["worst error / sd"] < 0.05).all()
    usa, paper = sites["twin-usa"], TABLE_1["twin-usa"]
    assert table.loc["twin-usa", "q1"] == pytest.approx(np.quantile(usa.soc, 0.25))
    spoilt = {"twin-usa": replace(usa, soc=usa.soc + paper.sd)}
    worst = beside.compare_carbon(libraries[seed], sites | spoilt)["worst error / sd"]
    assert worst["twin-usa"] == pytest.approx(1, abs=0.05)


def test_table_1_is_the_papers():
    # Shen et al. (2022), Table 1: rows of the global library, area of the sites.
    assert [TABLE_1[name].n for name in ("global", "China", "Sweden", "USA")] == [
        50_422,
        5_183,
        2_319,
        4_155,
    ]
    assert [TABLE_1[name].area_km2 for name in TWIN_SITES] == [164.7, 0.8, 0.1]


@pytest.mark.parametrize("name", ["China", "Sweden", "USA", "rest of the world"])
def test_density_of_soc_has_no_steps(name):
    # The slope of log SOC over normal scores is (up to the normal density) one over
    # the density. It must change little from one twentieth of an sd to the next.
    log_soc = carbon_curve(name).log_soc
    slope = log_soc.derivative()(np.arange(-2, 2, 0.05))
    assert (slope > 0).all()
    assert np.abs(np.diff(np.log(slope))).max() < 0.25


def test_share_below_is_the_inverse_of_the_curve():
    curve = carbon_curve("Sweden")
    shares = np.array([0.01, 0.25, 0.5, 0.99])
    np.testing.assert_allclose(curve.share_below(curve.soc(shares)), shares, atol=1e-4)
    assert curve.soc(np.array([0.25, 0.5, 0.75])).round(1).tolist() == [2.1, 3.6, 6.5]


def test_score_in_province_finds_the_score_that_ranked_the_library(library):
    # A library row's score was drawn from a standard normal distribution.
    for name in ("China-3", "Sweden-2", "USA-2"):
        own = library.soc[rows_of(library, "province", name)]
        scores = scores_in_province(own, name, name.partition("-")[0])
        assert scores.mean() == pytest.approx(0, abs=0.15)
        assert scores.std() == pytest.approx(1, abs=0.1)


# Layout


def test_library_has_the_bands_and_columns_of_the_paper(library):
    np.testing.assert_array_equal(library.wavelengths, np.arange(400, 2501, 10))
    assert (library.wavelengths[0], library.wavelengths[-1]) == TWIN_RANGE_NM
    assert library.reflectance.shape == (50_422, 211)
    assert library.name == "twin"
    assert {*INFO_COLUMNS, "province", "soil_type", "laboratory"} <= set(library.info)
    assert set(library.info["country"]) == {
        "China",
        "Sweden",
        "USA",
        "rest of the world",
    }


def test_everything_says_that_it_is_synthetic(library):
    for made in (library, make_site("twin-china")):
        assert "synthetic" in made.notes[0]
        assert set(made.info["source"]) == {"synthetic"}
        assert made.info["carbon_kind"].str.contains("synthetic").all()
        assert (made.info["licence"] == "none needed (made from a seed)").all()


def test_no_two_spectra_are_equal(library):
    spectra = [library.reflectance, *(make_site(name).reflectance for name in SITES)]
    rows = np.concatenate(spectra)
    # Two equal rows would have equal values at any few bands as well.
    assert len(np.unique(rows[:, [20, 100, 170]], axis=0)) == len(rows)


def test_every_soil_type_of_a_province_has_its_constants():
    for table in (SOIL_MINERALS, SOIL_ORGANIC):
        assert set(table) == set(SOIL_TYPES)
    for province in PROVINCES.values():
        assert province.soil_type in SOIL_TYPES
        assert set(province.laboratories) <= set(LABORATORIES)
    assert all(len(masses) == len(MINERALS) for masses in SOIL_MINERALS.values())
    assert set(MINERALS) | set(ORGANIC) | {"water"} == set(END_MEMBERS)


# The known truth


@pytest.mark.parametrize("name", TWIN_SITES)
def test_site_belongs_to_a_province_with_a_fifth_of_its_country(name, library):
    site = make_site(name)
    country = TWIN_SITES[name]
    (province,) = set(site.info["province"])
    own = rows_of(library, "province", province)
    assert set(library.info["country"][own]) == {country}
    share = own.sum() / TABLE_1[country].n
    assert share == pytest.approx(provinces_of(country)[province].share, abs=0.001)
    assert 0.18 < share < 0.24
    # Measured by a laboratory that measured the province, too.
    assert set(site.info["laboratory"]) <= set(library.info["laboratory"][own])
    told = beside.own_provinces(library, {name: site}).loc[name]
    assert told[["province", "rows of the province"]].tolist() == [province, own.sum()]
    assert told["share of the country"] == f"{share:.0%}"
    assert told["share of the library"] == f"{own.mean():.1%}"


def test_leaving_out_a_sites_group_takes_no_row_from_the_library(library):
    for name in TWIN_SITES:
        assert set(make_site(name).info["group"]) == {name}
    assert not set(library.info["group"]) & set(TWIN_SITES)
    assert (library.info["group"] == library.info["province"]).all()


def test_nearest_spectra_of_a_site_are_often_of_its_own_province(library):
    # By chance 1-2 % would be.
    bands = np.ascontiguousarray(library.reflectance[:, ::10])
    provinces = library.info["province"].to_numpy()
    own = []
    for name in TWIN_SITES:
        for spectrum in make_site(name).reflectance[::3, ::10]:
            nearest = np.abs(bands - spectrum).max(axis=1).argmin()
            own.append(provinces[nearest] == SITES[name].province)
    assert np.mean(own) > 0.2


def test_organic_matter_darkens_black_earth_more_than_tropical_soils(library):
    red = library.reflectance[:, 20]  # 600 nm

    def slope(soil_type):
        rows = rows_of(library, "soil_type", soil_type)
        return np.polyfit(np.log(library.soc[rows]), np.log(red[rows]), 1)[0]

    assert slope("Chernozem") < 2 * slope("Ferralsol") < 0


def test_relation_of_soc_to_reflectance_differs_between_provinces(library):
    log_soc = np.log(library.soc)
    log_red = np.log(library.reflectance[:, 20].astype(np.float64))
    slopes, errors = [], []
    for name in PROVINCES:
        rows = rows_of(library, "province", name)
        fit, covariance = np.polyfit(log_soc[rows], log_red[rows], 1, cov=True)
        slopes.append(fit[0])
        errors.append(np.sqrt(covariance[0, 0]))
    assert max(slopes) < 0  # SOC darkens everywhere ...
    assert np.std(slopes) > 5 * np.mean(errors)  # ... but not alike
    # What ten times the SOC multiplies R by, as the notebook shows it.
    factors = beside.darkening(library)
    np.testing.assert_allclose(factors[list(PROVINCES)], 10 ** np.array(slopes), 1e-4)
    (everywhere,) = set(factors.index) - set(PROVINCES)
    assert everywhere == "everywhere"


def test_numbers_of_spectra_that_are_planted_are_found(rng):
    # Flat spectra, darker with SOC, a band of depth 0.1 at 2210 nm and noise of 1e-4.
    nm = np.arange(400.0, 2501.0, 10.0)
    soc = np.linspace(1, 3, 60)
    spectra = np.full((60, len(nm)), 0.5) - 0.05 * soc[:, None]
    spectra[:, nm == 2210] *= 0.9
    spectra += rng.normal(0, 1e-4, spectra.shape)
    info = {column: [f"{column}-{i}" for i in range(60)] for column in INFO_COLUMNS}
    made = SpectralLibrary("made", spectra, nm, soc, pd.DataFrame(info))
    found = beside.describe_spectra(made)
    assert found["samples"] == 60
    assert found["r(SOC, R at 600 nm)"] == pytest.approx(-1, abs=1e-3)
    assert found["depth at 2210 nm"] == pytest.approx(0.1, abs=1e-3)
    assert found["depth at 1920 nm"] == pytest.approx(0, abs=1e-3)
    assert found["noise 1500-1750 nm / 1e-5"] == pytest.approx(10, rel=0.2)
    names = ("components for 99 %", "for 99.9 %", "for 99.99 %")
    counts = [found[name] for name in names]
    assert counts == sorted(counts)


# Physics


def test_kubelka_munk_is_the_inverse_of_its_remission_function():
    reflectance = np.array([0.03, 0.2, 0.5, 0.9])
    ratio = (1 - reflectance) ** 2 / (2 * reflectance)
    np.testing.assert_allclose(kubelka_munk(ratio), reflectance, rtol=1e-12)


@pytest.mark.parametrize(
    ("mineral", "amount", "ends", "low", "high"),
    [
        ("kaolinite", 0.3, (1350, 1480), 1410, 1420),
        ("smectite", 0.3, (1350, 1480), 1410, 1420),
        ("water", 0.03, (1800, 2120), 1900, 1930),
        ("kaolinite", 0.3, (2120, 2250), 2200, 2210),
        ("illite", 0.3, (2120, 2270), 2200, 2210),
        ("carbonate", 0.3, (2240, 2400), 2330, 2345),
        ("illite", 0.3, (2300, 2400), 2340, 2350),
        ("goethite", 0.03, (780, 1200), 890, 960),
        ("haematite", 0.03, (780, 1100), 850, 890),
        ("gibbsite", 0.1, (2230, 2310), 2255, 2275),
        ("fresh", 5.0, (1690, 1800), 1720, 1740),
    ],
)
def test_bands_lie_where_their_mineral_absorbs(mineral, amount, ends, low, high):
    nm = np.arange(ends[0], ends[1] + 1, dtype=np.float64)
    one = np.ones(1)
    amounts = {"quartz": 0.7 * one, mineral: amount * one}
    spectrum = soil_reflectance(Soils(amounts, one, 0.3 * one), nm)[0]
    continuum = np.interp(nm, nm[[0, -1]], spectrum[[0, -1]])
    assert low <= nm[np.argmin(spectrum / continuum)] <= high


def test_sand_is_bright_but_in_the_blue_and_in_the_band_of_water():
    one = np.ones(1)
    sand = Soils({"quartz": one, "water": 0.01 * one}, one, 0.3 * one)
    found = soil_reflectance(sand, [400, 1000, 1800, 1915]).round(2)
    assert found.tolist() == [[0.23, 0.64, 0.67, 0.52]]


@pytest.mark.parametrize("kind", ORGANIC)
def test_organic_matter_darkens_the_visible_more_than_the_infrared(kind):
    nm = np.array([600.0, 2000.0])
    amounts = {"quartz": np.ones(2), kind: np.array([0.5, 3.0])}
    soils = Soils(amounts, np.ones(2), np.full(2, 0.3))
    poor, rich = soil_reflectance(soils, nm)
    darker = rich / poor
    assert darker[0] < darker[1] < 1


def test_haematite_is_red_and_smectite_holds_most_water():
    ratio = absorption("haematite", [540.0]) / absorption("haematite", [640.0])
    assert ratio > 4
    soils = {}
    for name in ("World-20", "World-17"):  # a Vertisol, an Arenosol
        relation = draw_relation(name, np.random.default_rng(1))
        zeros = np.zeros(500)
        rng = np.random.default_rng(2)
        soils[name] = draw_soils(relation, zeros, zeros + 1, 1.0, rng).amounts
    assert soils["World-20"]["water"].mean() > 3 * soils["World-17"]["water"].mean()


def test_minerals_of_a_soil_sum_to_one():
    relation = draw_relation("China-5", np.random.default_rng(3))
    rng = np.random.default_rng(4)
    amounts = draw_soils(relation, np.zeros(50), np.ones(50), 1.0, rng).amounts
    total = np.sum([amounts[mineral] for mineral in MINERALS], axis=0)
    np.testing.assert_allclose(total, 1)


def test_samples_of_a_farm_differ_less_than_those_of_its_province():
    relation = draw_relation("USA-2", np.random.default_rng(5))
    spreads = []
    for spread in (0.5, 1.0):
        rng = np.random.default_rng(6)
        zeros = np.zeros(4000)
        soils = draw_soils(relation, zeros, zeros + 1, 1.0, rng, spread)
        spreads.append(np.log(soils.scattering).std())
    assert spreads[0] == pytest.approx(0.5 * spreads[1], rel=0.1)


@pytest.mark.parametrize("country", ["China", "Sweden", "USA", "rest of the world"])
def test_mean_reflectance_rises_from_400_to_1000_nm(country, library):
    rows = rows_of(library, "country", country)
    mean = library.reflectance[rows].mean(axis=0, dtype=np.float64)
    assert (np.diff(mean[library.wavelengths <= 1000]) > 0).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_organic_soils_are_dark_but_reflect(seed, libraries):
    library = libraries[seed]
    peat = np.median(library.reflectance[library.soc > 25], axis=0)
    others = np.median(library.reflectance[library.soc < 2], axis=0)
    assert 0.04 < peat[20] < 0.12  # 600 nm
    assert 0.2 < peat[140] < 0.4  # 1800 nm
    assert (peat < others).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_median_spectrum_has_the_brightness_of_dry_ground_soil(seed, libraries):
    # Bounds as in Stenberg et al. (2010) and in real libraries: dark in the blue,
    # brightest at 1800-2100 nm, falling towards 2500 nm, a hollow of water at 1920.
    library = libraries[seed]
    spectrum = np.median(library.reflectance, axis=0)
    median = dict(zip(library.wavelengths, spectrum, strict=True))
    assert 0.03 < median[400] < 0.12
    assert 0.1 < median[600] < 0.3
    assert 0.25 < median[1800] < 0.5
    assert median[1800] > median[1000] > median[600] > median[400]
    assert 1.05 < median[2130] / median[1920] < 1.4
    assert 0.65 < median[2500] / median[2130] < 0.9


def test_noise_and_bands_are_of_the_order_of_those_of_real_farms(library):
    grid = np.arange(430.0, 2471.0, 10.0)
    rows = np.random.default_rng(1).permutation(len(library))[:2000]
    twin = library.take(rows).on_grid(grid).reflectance.astype(np.float64)
    real = load_farms().on_grid(grid).reflectance.astype(np.float64)

    def clay(spectra):
        at = {nm: spectra[:, grid == nm] for nm in (2130, 2210, 2250)}
        return np.median(1 - at[2210] / (at[2130] / 3 + 2 * at[2250] / 3))

    def noise(spectra):
        third = np.diff(spectra[:, (grid > 1500) & (grid < 1750)], 3, axis=1)
        return np.median(np.abs(third - np.median(third, axis=0)))

    assert 1 / 3 < clay(twin) / clay(real) < 3
    assert 1 / 3 < noise(twin) / noise(real) < 3


# Laboratories


def test_a_laboratory_adds_its_gain_offset_and_steps_at_the_detector_joints():
    wavelengths = np.array([990.0, 1000.0, 1010.0, 1830.0, 1840.0])
    flat = np.full((20_000, 5), 0.5)
    laboratory = LABORATORIES["H"]
    scans = measured(flat, wavelengths, laboratory, np.random.default_rng(1))
    mean = scans.mean(axis=0, dtype=np.float64)
    middle = 0.5 * laboratory.gain + laboratory.offset  # second detector: no step
    first, third = (0.5 * laboratory.gain * step for step in laboratory.steps)
    expected = [middle + first, middle + first, middle, middle, middle + third]
    np.testing.assert_allclose(mean, expected, atol=3e-4)


def test_noise_is_greatest_at_both_ends():
    wavelengths = np.array([400.0, 1500.0, 2500.0])
    flat = np.full((5000, 3), 0.5)
    noise = measured(flat, wavelengths, LABORATORIES["A"], np.random.default_rng(2))
    # Brightness is common to all bands of a scan, noise is not.
    sd = (noise - noise[:, 1:2]).std(axis=0)
    quiet = np.full((5000, 2), 0.5)
    middle = measured(
        quiet, np.array([1500.0, 1510.0]), LABORATORIES["A"], np.random.default_rng(3)
    )
    assert (sd[[0, 2]] > 3 * np.diff(middle, axis=1).std()).all()


def test_wet_oxidation_reports_less_carbon_than_colours_the_soil():
    reported = np.full(10_000, 2.0)
    true = true_carbon(reported, LABORATORIES["G"], np.random.default_rng(3))
    # 80 % is found: 2.0 / 0.8 = 2.5.
    assert np.median(true) == pytest.approx(2.5, rel=0.01)
    assert np.log(true).std() == pytest.approx(0.10, rel=0.05)


# Fields


@pytest.mark.parametrize("name", TWIN_SITES)
def test_samples_lie_on_a_field_of_the_published_area(name):
    info = make_site(name).info
    north = np.ptp(info["latitude"]) * 111.2
    east = np.ptp(info["longitude"]) * 111.2 * np.cos(np.radians(info["latitude"][0]))
    assert 0.7 < north * east / TABLE_1[name].area_km2 < 1.0
    assert not info.duplicated(["latitude", "longitude"]).any()


def test_carbon_of_neighbours_in_the_field_is_alike():
    rng = np.random.default_rng(1)
    correlations = []
    for _ in range(20):
        east, north = draw_positions("twin-usa", rng)
        scores = draw_carbon_scores("twin-usa", east, north, rng)
        distance = np.hypot(east[:, None] - east, north[:, None] - north)
        np.fill_diagonal(distance, np.inf)
        correlations.append(np.corrcoef(scores, scores[distance.argmin(axis=0)])[0, 1])
    assert np.mean(correlations) > 0.4


# Reproducibility


def test_same_seed_gives_the_same_bytes_in_another_process(library):
    code = (
        "from test_twin import digest, make_library, make_site\n"
        "print(digest(make_site('twin-sweden')), digest(make_library(1)))"
    )
    threads = {f"{kind}_NUM_THREADS": "1" for kind in ("OMP", "OPENBLAS", "MKL")}
    other = python(code, cwd=Path(__file__).parent, env={**os.environ, **threads})
    # Here the library was made first; there the site was.
    assert other.stdout.split() == [digest(make_site("twin-sweden")), digest(library)]


def test_another_seed_gives_another_library_and_site(libraries):
    first, second = (libraries[seed] for seed in SEEDS)
    assert np.abs(first.reflectance - second.reflectance).max(axis=1).min() > 0
    assert (make_site("twin-usa", 1).soc != make_site("twin-usa", 2).soc).any()


def test_rows_of_provinces_are_all_given_out():
    # Shares 1 : 1 : 2 of ten rows end at 2.5, 5 and 10, rounded to even: 2, 3, 5.
    provinces = dict(zip("abc", list(PROVINCES.values())[:3], strict=True))
    shares = [1.0, 1.0, 2.0]
    provinces = {
        name: type(province)(province.soil_type, share, 0.0, "A")
        for (name, province), share in zip(provinces.items(), shares, strict=True)
    }
    assert rows_per_province(provinces, 10).tolist() == [2, 3, 5]
