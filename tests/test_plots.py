"""Figures: labelled with units, showing what they were given."""

import numpy as np
import pandas as pd
import pytest

from soilnb import plots


def test_spectra_show_the_mean_and_the_middle_nine_tenths_of_each_set():
    wavelengths = np.arange(400, 500, 10)
    # 0, 0.01, ... 1: mean 0.5; squared: 0.335, which is not the median, 0.25.
    levels = np.linspace(0, 1, 101)[:, None] + np.zeros(10)
    sets = {"library": levels, "country": levels[:0], "site": levels**2}
    axes = plots.plot_spectra(wavelengths, sets).axes[0]
    assert axes.get_xlabel() == "wavelength / nm"
    bands = [drawn.get_datalim(axes.transData).intervaly for drawn in axes.collections]
    np.testing.assert_allclose(bands, [[0.05, 0.95], [0.05**2, 0.95**2]])
    means = [line for line in axes.lines if "n = 101" in line.get_label()]
    np.testing.assert_allclose([line.get_ydata()[0] for line in means], [0.5, 0.335])
    assert axes.get_xlim() == (400, 490)
    assert axes.get_ylim()[0] == 0  # there is no reflectance below


def test_measured_predicted_has_one_to_one_line_and_equal_axes():
    predictions = pd.DataFrame(
        {"method": "local", "measured": [1.0, 2.0], "predicted": [1.5, 1.8]}
    )
    axes = plots.plot_measured_predicted(predictions, ["local"]).axes[0]
    assert axes.get_xlim() == axes.get_ylim()
    x, y = axes.lines[0].get_data()
    np.testing.assert_array_equal(x, y)
    assert axes.get_aspect() == 1.0
    assert axes.get_xticks().tolist() == axes.get_yticks().tolist()
    assert axes.get_xlabel() == "measured SOC / %"
    assert axes.get_ylabel() == "predicted SOC / %"
    # Errors 0.5 and -0.2: RMSE sqrt((0.25 + 0.04) / 2) = 0.38.
    assert axes.texts[0].get_text().startswith("n = 2\nRMSE 0.38 % SOC\nCCC")
    # One constant has room, and no concordance.
    one = predictions[:1].assign(predicted=1.0)
    axes = plots.plot_measured_predicted(one, ["local"]).axes[0]
    assert axes.get_xlim() == (0.9, 1.1)
    assert "CCC" not in axes.texts[0].get_text()
    with pytest.raises(ValueError, match="Unknown method 'c'"):
        plots.plot_measured_predicted(predictions, ["c"])


def test_lines_and_bars_are_in_order_and_mark_the_best():
    scores = pd.DataFrame({"method": ["a", "b", "c"], "rmse": [2.0, 1.0, 3.0]})
    axes = plots.plot_rmse(scores, reference="a").axes[0]
    assert [bar.get_width() for bar in axes.patches] == [3.0, 2.0, 1.0]  # 1 on top
    ends = {"gain": [0.1], "low": [-0.2], "high": [0.3]}
    axes = plots.plot_gain(pd.DataFrame(ends, index=["dtl_i_global"])).axes[0]
    (segment,) = axes.collections[0].get_segments()
    np.testing.assert_allclose(segment[:, 0], [-0.2, 0.3])
    axes = plots.plot_components({"plsr": np.array([3.0, 1.0, 2.0])}).axes[0]
    assert axes.lines[1].get_xdata().tolist() == [2]  # the number that is chosen
    axes = plots.plot_frequency(np.array([0, 0.5, 1.0, 0.25]), 2).axes[0]
    assert axes.lines[0].get_ydata().tolist() == [1.0, 0.5, 0.25]
    # The best of each fold so far, also of one that has stopped.
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
    measures = {"library": library, "site": site}
    figure = plots.plot_outliers(measures, 9.2, 0.5, ["SL.125", "mine", "mine"])
    _, labels = figure.axes[0].get_legend_handles_labels()
    assert labels == ["library: mine", "library: Skåne", "site (n = 1)", "limits"]


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


def test_runs_are_dots_in_the_row_of_their_kind():
    runs = pd.DataFrame({"kind": ["a", "b", "b"], "rmse": [0.3, 0.4, 0.5]})
    axes = plots.plot_runs(runs, reference=0.35).axes[0]
    found = [np.sort(dots.get_offsets()[:, 0]) for dots in axes.collections]
    np.testing.assert_allclose(found[0], [0.3])
    np.testing.assert_allclose(found[1], [0.4, 0.5])
    assert axes.lines[-1].get_xdata()[0] == 0.35


def test_crews_are_lines_of_time_and_of_tasks():
    rows = pd.DataFrame({"iteration": [1, 2], "n_tasks": [4, 2], "seconds": [2.0, 1]})
    left, right = plots.plot_crews({"a": rows, "b": 2 * rows}).axes
    assert [line.get_ydata().tolist() for line in left.lines] == [[2, 1], [4, 2]]
    assert [line.get_ydata().tolist() for line in right.lines] == [[4, 2], [8, 4]]


@pytest.fixture
def depths():
    """A network of three layers; all frozen, it is far off."""
    return pd.DataFrame(
        {
            "n_frozen": [0, 1, 2, 3],
            "frozen": ["", "Conv-block 1", "FC-block 1", "Output-block"],
            "n_trained": [90, 50, 9, 0],
            "rmse": [0.5, 0.4, 0.45, 0.55],
        }
    )


def test_depths_mark_the_lowest_rmse_and_set_the_library_network_apart(depths):
    figure = plots.plot_depths({"dtl_r_global": depths})
    axes = figure.axes[0]
    retrained, chosen, whole = axes.lines
    assert retrained.get_ydata().tolist() == [0.5, 0.4, 0.45]
    assert (chosen.get_xdata().item(), chosen.get_ydata().item()) == (1, 0.4)
    assert (whole.get_xdata().item(), whole.get_ydata().item()) == (3, 0.55)
    assert whole.get_marker() == "s"
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == ["none", "Conv-block 1", "FC-block 1", "Output-block"]
    assert axes.get_title() == "DTL-R global"
    # The network that was not retrained is never ringed.
    depths.loc[3, "rmse"] = 0.1
    axes = plots.plot_depths({"dtl_r_global": depths}).axes[0]
    assert axes.lines[1].get_ydata().item() == 0.4
    # One off the scale is an arrow and its number.
    depths.loc[3, "rmse"] = 3.0
    axes = plots.plot_depths({"a": depths, "b": depths}).axes[0]
    whole = axes.lines[2]
    assert whole.get_marker() == "^"
    assert whole.get_ydata().item() == pytest.approx(1.3 * 0.5)
    assert [text.get_text() for text in axes.texts] == ["3.00"]


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


def test_weights_are_a_curve_for_each_rmse_with_the_lowest_marked():
    sweep = pd.DataFrame(
        {"test": [0.5, 0.3, 0.4], "held out": [0.6, 0.5, 0.2]}, index=[1, 5, 20]
    )
    axes = plots.plot_weights(sweep, reference=0.35).axes[0]
    test, marked, _, other, reference = axes.lines
    assert test.get_xdata().tolist() == [1, 5, 20]
    assert (marked.get_xdata()[0], marked.get_ydata()[0]) == (5, 0.3)
    assert other.get_xdata()[0] == 20
    assert set(reference.get_ydata()) == {0.35}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "5", "20"]
