"""Figures of a farm's answer show the tables they were given, of real farms."""

import numpy as np
import pandas as pd
import pytest
from farm_helpers import farm_answer, without_intervals

from soilnb import plots


@pytest.fixture(scope="module")
def skane():
    return farm_answer("skane")


def _points(axes):
    return [np.asarray(drawn.get_offsets()) for drawn in axes.collections]


def _texts(axes):
    return [text.get_text() for text in axes.texts]


def test_map_has_measured_estimated_and_uncertainty_side_by_side(skane):
    estimates = skane[0]
    figure = plots.plot_farm_map(estimates)
    measured, estimated, uncertain = figure.axes[:3]
    # First what has no value, small and grey, then what has one.
    assert [len(points) for points in _points(measured)[:2]] == [95, 30]
    np.testing.assert_allclose(
        measured.collections[1].get_array(), estimates["soc"].dropna()
    )
    np.testing.assert_allclose(
        estimated.collections[1].get_array(), estimates["estimate"]
    )
    half = ((estimates["upper"] - estimates["lower"]) / 2).dropna()
    np.testing.assert_allclose(uncertain.collections[1].get_array(), half)
    assert measured.get_xlabel() == "east / m"
    assert measured.get_ylabel() == "north / m"
    assert measured.get_title() == "measured in the laboratory (n = 30)"
    labels = {axes.get_xlabel() for axes in figure.axes[3:]}
    assert labels == {"SOC / %", "half-width of the interval / % SOC"}


def test_map_shares_colours_between_measured_and_estimated_alone(skane):
    measured, estimated, uncertain = plots.plot_farm_map(skane[0]).axes[:3]
    limits = [axes.collections[1].get_clim() for axes in (measured, estimated)]
    both = skane[0][["soc", "estimate"]].to_numpy()
    assert limits == [(np.nanmin(both), np.nanmax(both))] * 2
    assert uncertain.collections[1].get_clim()[0] == 0


def test_map_rings_what_is_outside_and_numbers_what_is_next(skane):
    estimates = skane[0]
    _, estimated, uncertain = plots.plot_farm_map(estimates).axes[:3]
    rings = _points(estimated)[2]
    corner = estimates[["easting", "northing"]].min()
    outside = estimates.loc[~estimates["in_domain"], ["easting", "northing"]] - corner
    np.testing.assert_allclose(rings, outside)
    assert sorted(_texts(uncertain), key=int) == [str(n) for n in range(1, 11)]
    first = next(text for text in uncertain.texts if text.get_text() == "1")
    row = estimates.loc[estimates["next"] == 1, ["easting", "northing"]].iloc[0]
    np.testing.assert_allclose(first.xy, row - corner)


def test_map_without_intervals_says_so_and_one_of_degrees_counts_who_has_a_place():
    estimates = farm_answer("santa-catarina")[0].assign(lower=np.nan, upper=np.nan)
    estimates.loc[3, "latitude"] = np.nan
    figure = plots.plot_farm_map(estimates)
    titles = [axes.get_title() for axes in figure.axes[:3]]
    assert titles[1:] == ["estimated (92 of 93 have a place)", "no intervals"]
    assert [axes.get_xlabel() for axes in figure.axes[3:]] == ["SOC / %"]


def test_map_of_samples_without_a_place_is_refused():
    with pytest.raises(ValueError, match="No sample has coordinates"):
        plots.plot_farm_map(farm_answer("sao-paulo")[0])


def test_estimates_increase_and_true_values_tell_whether_the_interval_held(skane):
    estimates, _, _, truth = skane
    axes = plots.plot_estimates(estimates, truth).axes[0]
    found = {drawn.get_label(): drawn for drawn in axes.collections}
    inside = found["estimate"].get_offsets()
    assert (np.diff(inside[:, 1]) >= 0).all()
    unmeasured = estimates[estimates["soc"].isna()]
    n_outside = (~unmeasured["in_domain"]).sum()
    assert len(found["estimate, outside the domain"].get_offsets()) == n_outside
    assert len(inside) + n_outside == len(unmeasured)
    np.testing.assert_allclose(
        np.sort(found["measured in the laboratory"].get_offsets()[:, 1]),
        np.sort(estimates["soc"].dropna()),
    )
    assert len(found["90 % interval"].get_segments()) == len(unmeasured)
    true = unmeasured["sample_id"].map(truth)
    missed = ~true.between(unmeasured["lower"], unmeasured["upper"])
    crosses = found["true value outside the interval"].get_offsets()[:, 1]
    np.testing.assert_allclose(np.sort(crosses), np.sort(true[missed]))
    assert len(found["true value"].get_offsets()) == (~missed).sum()


def test_estimates_without_intervals_have_no_bars_and_miss_nothing(skane):
    estimates, _, _, truth = skane
    bare = estimates.assign(lower=np.nan, upper=np.nan)
    labels = [
        drawn.get_label()
        for drawn in plots.plot_estimates(bare, truth).axes[0].collections
    ]
    assert "90 % interval" not in labels
    assert "true value outside the interval" not in labels


def test_means_have_their_intervals(skane):
    farm = skane[1]
    axes = plots.plot_farm_mean(farm).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[0] == "scanned samples,\nlaboratory alone"
    assert names[3] == "whole field,\nwith spectra"
    spans = [bar.get_segments()[0][:, 0] for bar in axes.collections]
    columns = [["lab_lower", "lab_upper"], ["lower", "upper"]]
    expected = [row[pair].tolist() for _, row in farm.iterrows() for pair in columns]
    np.testing.assert_allclose(spans, expected)
    assert axes.get_xlabel() == "mean SOC / %"


def test_mean_without_interval_is_a_point_with_the_reason(skane):
    farm = without_intervals(skane[1], "kennard_stone")
    axes = plots.plot_farm_mean(farm).axes[0]
    assert _texts(axes) == ["no interval: Kennard-Stone"] * 4
    assert not axes.collections
    np.testing.assert_allclose(axes.lines[1].get_xdata(), farm["mean"].iloc[0])
    # Two means that agree are no axis of their own: it is 10 % of them at least.
    assert np.ptp(axes.get_xlim()) > 0.1 * farm["mean"].iloc[0]


def test_weights_are_in_order_with_their_rmse_beside():
    weights = pd.DataFrame(
        {
            "candidate": ["local", "mine", "dtl_i_global"],
            "nested_rmse": [0.5, np.nan, 0.314],
            "weight": [0.25, 0.0, 0.75],
        }
    )
    axes = plots.plot_blend_weights(weights).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [0.75, 0.25, 0.0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["DTL-I global", "CNN local", "mine"]
    assert _texts(axes) == ["nested RMSE / % SOC", "0.31", "0.50", "–"]
