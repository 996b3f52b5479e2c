import numpy as np
import pytest
from scipy.integrate import quad

from soilnb import plots
from soilnb.datasets import load_farm
from soilnb.datasets.coordinates import degrees_from_utm, metres_from_degrees
from soilnb.study import Study

RADIUS_M, FLATTENING = 6_378_137, 1 / 298.257223563  # WGS 84
ECCENTRICITY_2 = FLATTENING * (2 - FLATTENING)


def distances(x, y):
    return np.hypot(np.subtract.outer(x, x), np.subtract.outer(y, y))


@pytest.mark.parametrize(
    ("easting", "northing", "zone", "latitude", "longitude"),
    [
        # The Eiffel tower.
        (448_251.8, 5_411_932.7, 31, 48.8582, 2.2945),
        # The CN tower: 43 deg 38 min 33.24 s N, 79 deg 23 min 13.7 s W.
        (630_084, 4_833_438, 17, 43.642567, -79.387139),
    ],
)
def test_towers_stand_where_their_utm_coordinates_say(
    easting, northing, zone, latitude, longitude
):
    found = degrees_from_utm([easting], [northing], zone, is_south=False)
    assert found[0] == pytest.approx([latitude], abs=1e-5)  # 1 m
    assert found[1] == pytest.approx([longitude], abs=1e-5)


@pytest.mark.parametrize("latitude", [0.0, 27.9, 60.0, 84.0])
def test_northing_on_the_central_meridian_is_0_9996_of_the_meridians_length(latitude):
    # The length of the meridian, by integration of its radius of curvature.
    def radius(phi):
        flatter = 1 - ECCENTRICITY_2 * np.sin(phi) ** 2
        return RADIUS_M * (1 - ECCENTRICITY_2) / flatter**1.5

    length, _ = quad(radius, 0, np.radians(latitude), epsabs=1e-6, epsrel=1e-12)
    found = degrees_from_utm([500_000], [0.9996 * length], 33, is_south=False)
    assert found[0] == pytest.approx([latitude], abs=1e-8)  # 1 mm
    assert found[1] == pytest.approx([15])  # zone 33 is 12-18 degrees east


def test_south_mirrors_north_and_west_mirrors_east():
    easting, northing = np.array([320_000.0]), np.array([3_100_000.0])
    north = degrees_from_utm(easting, northing, 22, is_south=False)
    south = degrees_from_utm(easting, 1e7 - northing, 22, is_south=True)
    east = degrees_from_utm(1e6 - easting, northing, 22, is_south=False)
    assert south[0] == pytest.approx(-north[0])
    assert south[1] == pytest.approx(north[1])
    assert east[0] == pytest.approx(north[0])
    assert east[1] + 51 == pytest.approx(-51 - north[1])  # zone 22: 51 degrees west


def test_degree_of_latitude_and_longitude_have_the_lengths_of_the_ellipsoid():
    # At 60 degrees 111.412 km and 55.800 km (tables of WGS 84).
    easting, northing = metres_from_degrees([59.5, 60.5, 60], [16, 16, 17])
    assert northing.max() == pytest.approx(111_412, abs=2)
    assert easting.max() == pytest.approx(55_800, abs=2)
    assert (easting.min(), northing.min()) == (0, 0)


def test_metres_keep_the_distances_of_a_farm_that_utm_gives():
    from LimeSoDa import load_dataset

    x, y = load_dataset("SC.93")["Coordinates"].to_numpy().T
    easting, northing = metres_from_degrees(*degrees_from_utm(x, y, 22, is_south=True))
    expected = distances(x, y) / 0.9996  # the scale of the zone's middle
    assert np.abs(distances(easting, northing) - expected).max() < 0.1


def test_farms_whose_place_is_known_lie_in_their_country():
    # Santa Catarina lies in 25.9-29.4 S, 48.3-53.9 W; Saitama in 35.7-36.3 N.
    brazil, japan = load_farm("SC.93").info, load_farm("SP.231").info
    assert brazil["latitude"].between(-29.4, -25.9).all()
    assert brazil["longitude"].between(-53.9, -48.3).all()
    assert japan["latitude"].between(35.7, 36.3).all()
    assert japan["longitude"].between(138.7, 139.9).all()


@pytest.mark.parametrize(("set_name", "ha"), [("SL.125", 78), ("UL.120", 97)])
def test_hidden_farm_has_metres_of_the_right_size_and_no_place(set_name, ha):
    from scipy.spatial import ConvexHull

    farm = load_farm(set_name)
    assert not {"latitude", "longitude"} & set(farm.info)
    places = farm.info[["easting", "northing"]].to_numpy()
    assert places.min(axis=0).tolist() == [0, 0]
    # The source gives the area; a hull may hold more than the fields.
    assert 0.98 * ha < ConvexHull(places).volume / 1e4 < 1.25 * ha
    assert any("moved the coordinates" in note for note in farm.notes)


@pytest.mark.parametrize(
    ("set_name", "columns"),
    [
        ("SL.125", ["easting", "northing"]),
        ("UL.120", ["easting", "northing"]),
        ("SP.231", ["longitude", "latitude"]),
    ],
)
def test_neighbours_are_alike_so_coordinates_belong_to_their_samples(set_name, columns):
    farm = load_farm(set_name)
    apart = distances(*farm.info[columns].to_numpy().T)
    np.fill_diagonal(apart, np.inf)
    nearest = np.abs(farm.soc - farm.soc[apart.argmin(axis=1)]).mean()
    assert nearest < 0.7 * np.abs(np.subtract.outer(farm.soc, farm.soc)).mean()


def test_no_hidden_farm_is_on_the_map_of_a_library(farms):
    info = farms.info
    placed = info[info[["latitude", "longitude"]].notna().all(axis=1)]
    assert set(placed["group"]) == {"SC.93", "SP.231"}
    metric = info[info[["easting", "northing"]].notna().all(axis=1)]
    assert set(metric["group"]) == {"SL.125", "UL.120"}
    columns = set(load_farm("CV.98").info)  # without coordinates no columns for them
    assert not columns & {"latitude", "longitude", "easting", "northing"}


def test_coordinates_survive_saving_a_study_and_draw_its_map(skane, tmp_path):
    study = skane
    study.save(tmp_path)
    loaded = Study.load(tmp_path)
    for part in ("library", "site"):
        before, after = getattr(study, part).info, getattr(loaded, part).info
        columns = before.columns.intersection(
            ["latitude", "longitude", "easting", "northing"]
        )
        assert len(columns) == {"library": 4, "site": 2}[part]
        np.testing.assert_array_equal(before[columns], after[columns])
    figure = plots.plot_point_map(
        loaded.site.info.assign(soc=loaded.site.soc), value="soc", label="SOC / %"
    )
    assert figure.axes[0].get_xlabel() == "east / m"
    (sites,) = [item for item in figure.axes[0].collections if len(item.get_offsets())]
    assert len(sites.get_offsets()) == 125
