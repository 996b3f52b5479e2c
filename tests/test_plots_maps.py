"""Maps: honest distances, and a refusal where nothing is known of a place."""

import numpy as np
import pandas as pd
import pytest

from soilnb import plots


@pytest.fixture
def library():
    """Seven sources; the commonest has most samples, one sample has no coordinates."""
    sources = (
        ["a"] * 8 + ["b"] * 7 + ["c"] * 6 + ["d"] * 5 + ["e"] * 4 + ["f", "g", "g"]
    )
    rng = np.random.default_rng(2)
    table = pd.DataFrame(
        {
            "source": sources,
            "longitude": rng.uniform(-60, 140, len(sources)),
            "latitude": rng.uniform(-30, 60, len(sources)),
        }
    )
    table.loc[0, "latitude"] = np.nan
    return table


@pytest.fixture
def field():
    return pd.DataFrame({"longitude": [16.0, 16.2], "latitude": [60.0, 60.1]})


def test_map_shows_sources_by_colour_and_counts_what_it_cannot_show(library, field):
    axes = plots.plot_map(library, {"farm": field, "vaud": pd.DataFrame()}).axes[0]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["a (7)", "b (7)", "c (6)", "d (5)", "e (4)", "other (3)"]
    assert sum(len(dots.get_offsets()) for dots in axes.collections) == 32
    assert axes.get_xlabel() == (
        "32 of 33 library samples have coordinates; not on the map: Vaud"
    )
    star = next(line for line in axes.lines if line.get_marker() == "*")
    np.testing.assert_allclose(star.get_xydata(), [[16.1, 60.05]])
    assert axes.texts[0].get_text() == "farm"
    table = library.assign(group="one farm")
    axes = plots.plot_map(table, {"farm": field}, colour_by="group").axes[0]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["one farm (32)"]


def test_map_of_a_field_is_as_wide_as_it_is_and_names_the_sides(field):
    axes = plots.plot_map(pd.DataFrame(), {"farm": field}).axes[0]
    # One degree of longitude at 60 degrees north is half as long as one of latitude.
    assert axes.get_aspect() == pytest.approx(2.0, rel=0.01)
    degrees = axes.yaxis.get_major_formatter()
    assert [degrees(value, 0) for value in (60.5, 0, -30)] == ["60.5°N", "0°", "30°S"]
    assert axes.xaxis.get_major_formatter()(-45, 0) == "45°W"


def test_map_of_the_whole_earth_stays_on_it(field):
    table = pd.DataFrame(
        {"source": "a", "longitude": [-179.0, 179.0], "latitude": [-80.0, 85.0]}
    )
    axes = plots.plot_map(table, {"farm": field}).axes[0]
    assert axes.get_xlim() == (-180, 180)
    assert axes.get_ylim() == (-90, 90)


def test_points_lie_in_metres_from_the_south_western_edge(field):
    table = field.assign(predicted=[1.0, 2.0])
    figure = plots.plot_point_map({"farm": table})
    axes = figure.axes[0]
    # 0.1 degrees of latitude are 11.12 km, 0.2 of longitude at 60.05 degrees 11.10 km.
    places = axes.collections[0].get_offsets()
    np.testing.assert_allclose(places, [[0, 0], [11.10, 11.12]], atol=0.01)
    assert axes.collections[0].get_array().tolist() == [1.0, 2.0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("east / km", "north / km")
    assert axes.get_aspect() == 1.0
    assert figure.axes[1].get_ylabel() == "estimated SOC / %"


def test_points_of_a_projected_grid_are_taken_as_metres():
    table = pd.DataFrame(
        {"easting": [5e5, 5.003e5], "northing": [6.9e6, 6.9004e6], "soc": 1.0}
    )
    figure = plots.plot_point_map(table, value="soc", label="measured SOC / %")
    axes, bar = figure.axes
    np.testing.assert_allclose(axes.collections[0].get_offsets(), [[0, 0], [300, 400]])
    assert (axes.get_title(), bar.get_ylabel()) == ("", "measured SOC / %")
    assert axes.get_xlabel() == "east / m"


def test_points_used_for_modelling_have_a_ring(field):
    table = field.assign(predicted=[1.0, 2.0], is_local=[False, True])
    axes = plots.plot_point_map({"farm": table, "again": table}).axes[0]
    points, rings = axes.collections
    np.testing.assert_array_equal(rings.get_offsets(), points.get_offsets()[1:])
    assert rings.get_label() == "used for modelling"


def test_points_without_coordinates_are_counted_or_refused(field):
    table = field.assign(predicted=1.0)
    table.loc[2] = [np.nan, np.nan, 2.0]
    axes = plots.plot_point_map({"farm": table}).axes[0]
    assert axes.get_title() == "farm (2 of 3 samples)"
    none = pd.DataFrame({"predicted": [1.0], "soc": 1.0, "source": "a"})
    for plot, given, message in (
        (plots.plot_point_map, [{"vaud": none}], "No sample of 'vaud' has coordinates"),
        (plots.plot_point_map, [none], r"^No sample has coordinates.*Leave the map"),
        (plots.plot_map, [none, {"vaud": none}], r"has coordinates.*Leave the map out"),
    ):
        with pytest.raises(ValueError, match=message):
            plot(*given)


def test_one_located_sample_is_enough_for_a_map(library, field):
    grid = pd.DataFrame({"easting": [np.nan, 5e5], "northing": [1.0, 6.9e6]})
    assert all(plots.has_coordinates(table) for table in (library, field, grid))
    assert not plots.has_coordinates(library[["source", "longitude"]])
    assert not plots.has_coordinates(library.iloc[:1])  # its latitude is missing
    assert not plots.has_coordinates(grid.iloc[:1])


def test_fields_are_coloured_by_soc_and_as_wide_as_they_are(field):
    figure = plots.plot_fields({"field": field.assign(soc=[1.0, 2.0])})
    axes = figure.axes[0]
    assert axes.collections[0].get_array().tolist() == [1.0, 2.0]
    assert axes.get_aspect() == pytest.approx(2.0, rel=0.01)
    assert figure.axes[1].get_ylabel() == "SOC / %"
