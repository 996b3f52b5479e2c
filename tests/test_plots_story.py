"""The figures of the first page, and colours by farm in those of a library."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from soilnb import plots


def test_a_farm_is_a_row_and_what_is_compared_stands_in_it():
    table = pd.DataFrame({"a": [0.2, 0.4], "b": [0.3, np.nan]}, index=["x", "y"])
    axes = plots.plot_by_farm(table, label="RMSE / % SOC", line=1, is_log=True).axes[0]
    a, b, line = axes.lines
    assert a.get_xdata().tolist() == [0.2, 0.4]
    assert a.get_ydata().tolist() == [0, 1]
    assert np.isnan(b.get_xdata()[1])
    assert line.get_xdata()[0] == 1
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["x", "y"]
    assert axes.get_ylim() == (1.5, -0.5)  # the first farm on top
    assert axes.get_xscale() == "log"


def test_curve_over_farms_has_a_line_and_bars_for_each_method():
    curve = pd.DataFrame(
        {
            "method": ["dtl_i_global"] * 2 + ["dtl_r_global"] * 2,
            "n_local": [20, 10, 10, 20],
            "ratio": [1.0, 0.9, 0.8, 1.1],
            "low": [0.9, 0.7, 0.6, 1.0],
            "high": [1.1, 1.0, 1.0, 1.3],
        }
    )
    axes = plots.plot_curve_over_farms(curve).axes[0]
    instances = axes.containers[0]
    assert instances.lines[0].get_ydata().tolist() == [0.9, 1.0]  # by n_local
    (bars,) = instances.lines[2]
    np.testing.assert_allclose(bars.get_segments()[0][:, 1], [0.7, 1.0])
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["DTL-I global", "DTL-R global"]


def test_card_of_a_farm_leaves_out_what_is_not_measured():
    soc = np.array([1.0, 2.0, np.nan])
    figure = plots.plot_farm_card([400, 500], np.full((3, 2), 0.2), soc)
    left, right = figure.axes
    assert left.get_xlabel() == "wavelength / nm"
    assert sum(bar.get_height() for bar in right.patches) == 2


def test_a_library_has_a_colour_for_each_of_its_commonest_farms(rng):
    scores = {"library": rng.normal(size=(40, 3)), "local": rng.normal(size=(5, 3))}
    groups = np.repeat([f"farm {n}" for n in range(8)], 5)
    figure = plots.plot_scores_pairs(scores, [0.6, 0.3, 0.1], groups)
    drawn = figure.axes[0].collections
    assert len(drawn) == 7 + 1 + 1  # seven farms, the others, the local samples
    colours = {to_hex(one.get_facecolor()[0]) for one in drawn[:7]}
    assert len(colours) == 7
    assert to_hex(drawn[7].get_facecolor()[0]) == plots.COLOURS["library"]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[-1] == "local"
    assert "others of the library" in names


def test_parsimonious_choice_is_a_ring_beside_the_minimum():
    curves = {"plsr_local": np.array([3.0, 1.1, 1.0, 2.0])}
    axes = plots.plot_components(curves, {"plsr_local": 2}).axes[0]
    _, minimum, ring = axes.lines
    assert minimum.get_xdata().tolist() == [3]
    assert (ring.get_xdata().item(), ring.get_ydata().item()) == (2, 1.1)
    assert ring.get_markerfacecolor() == "none"


def test_one_fold_far_off_does_not_stretch_the_axis_of_the_training():
    rmse = np.tile(np.linspace(1.0, 0.5, 20)[:, None], 40)
    rmse[:, 0] *= 50
    axes = plots.plot_training({"local": rmse}).axes[0]
    low, high = axes.get_ylim()
    assert low < 0.5
    # The mean of the best so far begins at (39 + 50) / 40 = 2.2; the fold at 50.
    assert 2.2 < high < 3


def test_map_has_outlines_of_countries_and_stays_where_its_samples_are():
    pytest.importorskip("countryinfo")
    places = {"longitude": [16.0, 17.0], "latitude": [60.0, 61.0], "source": "a"}
    figure = plots.plot_map(pd.DataFrame(places), {})
    axes = figure.axes[0]
    assert len(axes.lines) > 100
    assert axes.get_xlim()[0] > 0
    assert axes.get_ylim()[1] < 80
