"""Figures: labelled with units, showing what they were given."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from soilnb import plots

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_spectra_show_the_median_of_each_set():
    wavelengths = np.arange(400, 500, 10)
    spectra = np.linspace(0.1, 0.5, 5)[:, None] + np.zeros(10)
    figure = plots.plot_spectra(wavelengths, {"local": spectra})
    axes = figure.axes[0]
    assert axes.get_xlabel() == "wavelength / nm"
    np.testing.assert_allclose(axes.lines[0].get_ydata(), 0.3)


def test_measured_predicted_has_one_to_one_line_and_equal_axes():
    predictions = pd.DataFrame(
        {"method": "local", "measured": [1.0, 2.0], "predicted": [1.5, 1.8]}
    )
    axes = plots.plot_measured_predicted(predictions, ["local"]).axes[0]
    assert axes.get_xlim() == axes.get_ylim()
    x, y = axes.lines[0].get_data()
    np.testing.assert_array_equal(x, y)
    assert "%" in axes.get_xlabel()


def test_bars_are_ordered_with_the_smallest_rmse_on_top():
    scores = pd.DataFrame({"method": ["a", "b", "c"], "rmse": [2.0, 1.0, 3.0]})
    axes = plots.plot_rmse(scores, reference="a").axes[0]
    assert [bar.get_width() for bar in axes.patches] == [3.0, 2.0, 1.0]


def test_gain_bars_span_the_interval():
    gains = pd.DataFrame(
        {"gain": [0.1], "low": [-0.2], "high": [0.3]}, index=["dtl_i_global"]
    )
    segments = plots.plot_gain(gains).axes[0].collections[0].get_segments()
    np.testing.assert_allclose(segments[0][:, 0], [-0.2, 0.3])


def test_curves_mark_the_chosen_number_of_components():
    axes = plots.plot_components({"plsr": np.array([3.0, 1.0, 2.0])}).axes[0]
    assert axes.lines[1].get_xdata().tolist() == [2]


def test_frequency_shows_every_row_that_was_ever_selected():
    axes = plots.plot_frequency(np.array([0, 0.5, 1.0, 0.25]), 2).axes[0]
    assert axes.lines[0].get_ydata().tolist() == [1.0, 0.5, 0.25]


def test_training_keeps_the_best_of_each_fold_also_of_one_that_has_stopped():
    history = np.array([[2.0, 2.0], [1.0, np.nan], [3.0, np.nan]])
    axes = plots.plot_training({"local": history}).axes[0]
    np.testing.assert_allclose(axes.lines[-1].get_ydata(), [2.0, 1.5, 1.5])


def test_outliers_lie_right_of_the_limit_of_t2_and_above_that_of_q():
    library = pd.DataFrame({"t2": [1.0, 2.0, 30.0], "q": [0.1, 0.9, 0.2]})
    site = pd.DataFrame({"t2": [40.0], "q": [5.0]})
    figure = plots.plot_outliers({"library": library, "site": site}, 9.2, 0.5)
    axes = figure.axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    points = [np.asarray(drawn.get_offsets()) for drawn in axes.collections]
    np.testing.assert_array_equal(points[0], library)
    np.testing.assert_array_equal(points[1], site)
    vertical, horizontal = axes.lines
    assert list(vertical.get_xdata()) == [9.2, 9.2]
    assert list(horizontal.get_ydata()) == [0.5, 0.5]
    assert "(SNV absorbance)²" in axes.get_ylabel()


def test_noise_marks_where_detectors_meet_and_leaves_out_zero():
    wavelengths = np.arange(400, 2500, 10)
    level = np.full(len(wavelengths), 1e-3)
    level[0] = 0
    figure = plots.plot_noise(wavelengths, {"site": level, "vaud": 2 * level})
    axes = figure.axes[0]
    assert axes.get_yscale() == "log"
    assert axes.get_xlabel() == "wavelength / nm"
    site, vaud, *joints = axes.lines
    np.testing.assert_array_equal(site.get_ydata()[1:], 1e-3)
    assert np.isnan(site.get_ydata()[0])
    assert site.get_color() == plots.COLOURS["site"]
    assert vaud.get_color() != site.get_color()
    assert [line.get_xdata()[0] for line in joints] == [1000, 1830]


def test_curves_are_what_was_given_and_the_first_is_the_reference():
    nm = [400, 500, 600]
    given = {"soil": np.array([0.1, 0.2, 0.3]), "wet": np.array([0.05, 0.1, 0.2])}
    axes = plots.plot_curves(nm, given).axes[0]
    for line, curve in zip(axes.lines, given.values(), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), curve)
    assert axes.lines[0].get_linewidth() > axes.lines[1].get_linewidth()


def test_fields_are_coloured_by_soc_and_as_wide_as_they_are():
    table = pd.DataFrame({"longitude": [16.0, 16.2], "latitude": [60.0, 60.1]})
    figure = plots.plot_fields({"field": table.assign(soc=[1.0, 2.0])})
    axes = figure.axes[0]
    assert axes.collections[0].get_array().tolist() == [1.0, 2.0]
    # One degree of longitude at 60 degrees north is half as long as one of latitude.
    assert axes.get_aspect() == pytest.approx(2.0, rel=0.01)
    assert figure.axes[1].get_ylabel() == "SOC / %"


def test_runs_are_dots_in_the_row_of_their_kind():
    runs = pd.DataFrame({"kind": ["a", "b", "b"], "rmse": [0.3, 0.4, 0.5]})
    axes = plots.plot_runs(runs, reference=0.35).axes[0]
    found = [np.sort(dots.get_offsets()[:, 0]) for dots in axes.collections]
    np.testing.assert_allclose(found[0], [0.3])
    np.testing.assert_allclose(found[1], [0.4, 0.5])
    assert axes.lines[-1].get_xdata()[0] == 0.35


def test_importance_is_a_step_over_each_range_of_bands():
    table = pd.DataFrame(
        {"first_nm": [400, 500], "last_nm": [490, 590], "change": [0.1, 0.3]}
    )
    axes = plots.plot_band_importance({"local": table}).axes[0]
    values, edges, _ = axes.patches[0].get_data()
    assert values.tolist() == [0.1, 0.3]
    assert edges.tolist() == [400, 500, 590]
    assert [text.get_text() for text in axes.texts] == ["iron"]  # only 480 is inside


def test_filters_are_sorted_by_where_they_answer_and_scaled_by_their_maximum():
    filters = pd.DataFrame([[1.0, 4.0], [2.0, 1.0], [0.0, 0.0]], columns=[500, 600])
    axes = plots.plot_filters(filters).axes[0]
    drawn = axes.collections[0].get_array().reshape(2, 2)  # a dead filter is left out
    assert drawn.tolist() == [[1.0, 0.5], [0.25, 1.0]]


def test_trials_show_scores_and_the_best_so_far():
    trials = pd.DataFrame(
        {
            "number": [1, 2, 3],
            "score": [0.5, np.nan, 0.4],
            "best": [0.5, 0.5, 0.4],
            "status": ["completed", "failed", "completed"],
        }
    )
    axes = plots.plot_trials(trials).axes[0]
    assert axes.collections[0].get_offsets()[:, 1].tolist() == [0.5, 0.4]
    assert axes.lines[0].get_ydata().tolist() == [0.5, 0.5, 0.4]
    assert axes.lines[1].get_xdata().tolist() == [2]
