"""Figures that compare methods: nothing hidden, nothing mixed with the paper's."""

import numpy as np
import pandas as pd
import pytest

from soilnb import plots
from soilnb.plots.delta import PAPER_TITLE
from soilnb.study import over_sites
from soilnb.study.paper import reported


def _table(values, column):
    """Return a row for each method and site of {method: {site: value}}."""
    return pd.DataFrame(
        [
            (method, site, value)
            for method, sites in values.items()
            for site, value in sites.items()
        ],
        columns=["method", "site", column],
    )


def _texts(axes):
    return [text.get_text() for text in axes.texts]


def _rows(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


@pytest.fixture
def delta():
    """Two sites; the second has no country library; DTL-R is far off at the first."""
    return _table(
        {
            "dtl_r_global": {"skane": -250.0, "uppsala": -20.0},
            "local": {"skane": 0.0, "uppsala": 0.0},
            "dtl_i_global": {"skane": 30.0, "uppsala": 10.0},
            "dtl_i_country": {"skane": 12.0, "uppsala": np.nan},
        },
        "delta_rmse",
    )


def test_bars_are_the_changes_in_the_order_of_the_methods(delta):
    axes = plots.plot_delta(delta).axes[0]
    assert _rows(axes) == ["DTL-I global", "DTL-R global", "DTL-I country"]
    skane, uppsala = axes.containers
    assert [bar.get_width() for bar in skane] == [30.0, -100.0, 12.0]
    assert [bar.get_width() for bar in uppsala][:2] == [10.0, -20.0]
    assert "percent" in axes.get_xlabel()
    # What is off the scale is cut; an arrow says how far it goes.
    assert "← −250" in _texts(axes)
    assert axes.get_xlim()[0] < -100
    assert min(axes.get_xticks()) == -100  # the strip has no scale
    # What a site lacks is no bar of zero.
    assert _texts(axes).count("not run") == 1


def test_one_site_has_no_mean_and_the_paper_no_bar_for_what_it_lacks():
    table = {"mbl": {"skane": 5.0}, "dtl_i_global": {"skane": 9.0}}
    _, theirs = plots.plot_delta(_table(table, "delta_rmse"), paper=reported()).axes
    assert np.isnan([bars[0].get_width() for bars in theirs.containers]).all()
    assert "not run" not in _texts(theirs)
    alone = plots.plot_delta(_table(table, "delta_rmse")).axes[0]
    labels = [text.get_text() for text in alone.get_legend().get_texts()]
    assert labels == ["Skåne"]
    assert "mean" not in _texts(alone)


def test_mean_over_sites_is_a_line_and_a_number_with_its_count(delta):
    axes = plots.plot_delta(delta).axes[0]
    # (30 + 10) / 2, (-250 - 20) / 2 and, at one of two sites, 12
    assert [text for text in _texts(axes) if text[0] in "+−"] == [
        "+20.0",
        "−135.0",
        "+12.0 (1)",
    ]
    means = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 2]
    assert {20.0, 12.0} <= set(means)
    assert -135.0 not in means  # off the scale: the number alone


def test_paper_has_its_own_panel_title_and_colours_on_the_same_scale(delta):
    ours, theirs = plots.plot_delta(delta, paper=reported()).axes
    assert (ours.get_title(), theirs.get_title()) == ("This study", PAPER_TITLE)
    assert "Shen et al. (2022)" in PAPER_TITLE
    assert ours.get_xlim() == theirs.get_xlim()
    assert ours.get_ylim() == theirs.get_ylim()
    # Highest of the paper's: 39.13 percent, China.
    assert theirs.get_xlim()[1] > 39.13
    names = [[bars.get_label() for bars in axes.containers] for axes in (ours, theirs)]
    assert names == [["Skåne", "Uppsala"], ["China", "Sweden", "USA"]]
    colours = [
        {bars[0].get_facecolor() for bars in axes.containers} for axes in (ours, theirs)
    ]
    assert not colours[0] & colours[1]
    assert "+25.8" in _texts(theirs)
    assert "+25.8" not in _texts(ours)


def test_more_than_four_sites_are_points_each_with_a_look_of_its_own():
    sites = {
        f"site {number}": 5.0 * number - 200.0 * (number > 9) for number in range(12)
    }
    axes = plots.plot_delta(_table({"mbl": sites}, "delta_rmse")).axes[0]
    assert not axes.containers
    points = [dots for dots in axes.collections if dots.get_label() in sites]
    assert [dots.get_offsets()[0, 0] for dots in points[:10]] == list(sites.values())[
        :10
    ]
    looks = {
        (dots.get_facecolor().tobytes(), dots.get_paths()[0].vertices.tobytes())
        for dots in points
    }
    assert len(looks) == 12
    assert "← −150 (+1)" in _texts(
        axes
    )  # 50 - 200 and 55 - 200: the worst, and one more


# fmt: off
REFUSED = {
    "besides 'local', got none": lambda delta, *_:
        plots.plot_delta(delta[delta["method"] == "local"]),
    "'local' at 'skane' has more": lambda delta, *_:
        plots.plot_delta(pd.concat([delta, delta[delta["method"] == "local"]])),
    "'scores' must have the method 'local', got": lambda _, rmse, __:
        plots.plot_sites(rmse[rmse["method"] != "local"], summary=over_sites(rmse)),
    "got 'mbl' twice": lambda _, rmse, __:
        plots.plot_sites(rmse, summary=pd.concat([over_sites(rmse)] * 2)),
    "'chosen' must be one of local, dtl_i_global": lambda *given:
        plots.plot_choice(given[2], chosen="mbl", margin=0.05),
    "'table' must have the method 'local', got": lambda *given:
        plots.plot_choice(given[2][:1], chosen="dtl_i_global", margin=0),
    r"below 1, got 5\. Use a share": lambda *given:
        plots.plot_choice(given[2], chosen="local", margin=5),
}
# fmt: on


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_drawn_is_refused(delta, rmse, nested, message):
    with pytest.raises(ValueError, match=message):
        REFUSED[message](delta, rmse, nested)


@pytest.fixture
def rmse():
    """RMSE of two methods at three sites and two seeds; `local` is 1 or 2."""
    local = {"a": 1.0, "b": 2.0, "c": 1.0}
    first = _table({"local": local, "mbl": {"a": 0.5, "b": 4.0, "c": 0.8}}, "rmse")
    return pd.concat([first.assign(seed=1), first.assign(seed=2)])


def test_sites_are_dots_of_their_ratio_averaged_over_seeds(rmse):
    scores = rmse.copy()
    is_first = (scores["method"] == "mbl") & (scores["site"] == "a")
    scores.loc[is_first, "rmse"] = [0.25, 1.0]  # geometric mean 0.5
    axes = plots.plot_sites(scores, summary=over_sites(scores)).axes[0]
    ratios = [dots.get_offsets()[0, 0] for dots in axes.collections[:3]]
    np.testing.assert_allclose(ratios, [0.5, 2.0, 0.8])
    assert axes.get_xscale() == "log"
    assert _rows(axes) == ["memory-based"]
    assert "2 of 3" in _texts(axes)
    # The diamond is the geometric mean: (0.5 x 2 x 0.8)^(1/3).
    diamond = next(line for line in axes.lines if line.get_marker() == "D")
    assert diamond.get_xdata()[0] == pytest.approx(0.8 ** (1 / 3))


def test_sites_show_the_interval_they_are_given_and_where_it_leaves_the_axis(rmse):
    summary = over_sites(rmse)
    axes = plots.plot_sites(rmse, summary=summary).axes[0]
    segment = axes.collections[-1].get_segments()[0]
    np.testing.assert_allclose(segment[:, 0], summary[["low", "high"]].iloc[0])
    low, high = axes.get_xlim()
    assert low < 0.5 < 2.0 < high  # of the sites, not of the interval
    arrows = {line.get_marker() for line in axes.lines} & {"<", ">"}
    assert arrows == {"<", ">"}
    assert summary["low"].item() < low
    assert summary["high"].item() > high


def test_site_without_the_reference_is_left_out_of_the_ratios(rmse):
    only = rmse[~((rmse["method"] == "local") & (rmse["site"] == "c"))]
    axes = plots.plot_sites(only, summary=over_sites(rmse)).axes[0]
    assert "1 of 2" in _texts(axes)


def test_learning_curve_joins_means_and_shows_every_run():
    table = pd.DataFrame(
        {
            "method": "local",
            "n_local": [10, 10, 30, 30],
            "seed": [1, 2, 1, 2],
            "rmse": [0.8, 1.0, 0.4, 0.5],
        }
    )
    axes = plots.plot_learning_curve(table).axes[0]
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[10, 0.9], [30, 0.45]])
    band, runs = axes.collections
    assert runs.get_offsets().shape == (4, 2)
    assert band.get_datalim(axes.transData).intervaly.tolist() == [0.4, 1.0]
    assert axes.get_xticks().tolist() == [10, 30]
    assert axes.get_ylabel().endswith("/ % SOC")


@pytest.fixture
def nested():
    return pd.DataFrame(
        {
            "method": ["dtl_i_global", "local"],
            "rmse": [0.45, 0.50],
            "test_rmse": [0.3, 0.6],
        }
    )


def test_choice_shows_the_margin_and_what_was_chosen(nested):
    axes = plots.plot_choice(nested, chosen="local", margin=0.2).axes[0]
    base, needed, all_of_them, chosen, tested, base_tested = axes.lines
    assert base_tested.get_xdata()[0] == 0.6  # of local, on the test samples
    assert base.get_xdata()[0] == 0.5
    assert needed.get_xdata()[0] == pytest.approx(0.4)  # 20 percent below 0.5
    assert all_of_them.get_xdata().tolist() == [0.5, 0.45]  # local comes first
    assert (chosen.get_xdata().item(), chosen.get_ydata().item()) == (0.5, 0)
    assert tested.get_xdata().tolist() == [0.6, 0.3]
    assert "not used" in tested.get_label()
    low, high = axes.get_xlim()
    assert low < 0.3 < 0.6 < high


def test_choice_without_test_samples_shows_none(nested):
    table = nested.drop(columns="test_rmse").assign(delta_rmse=[10.0, 0.0])
    axes = plots.plot_choice(table, chosen="dtl_i_global", margin=0.05).axes[0]
    assert not [line for line in axes.lines if "test" in str(line.get_label())]
    assert axes.get_xlim()[1] < 0.6  # other columns do not widen it
