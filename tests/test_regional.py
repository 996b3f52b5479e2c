"""From a global network to a region: worked values, leaks, schemes."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from soilnb import plots
from soilnb.cnn import Scaling
from soilnb.datasets import Sites
from soilnb.methods import REGIONAL
from soilnb.selection import (
    adjacent_region,
    block_cells,
    group_folds,
    hold_out,
    stratified_folds,
)
from soilnb.study import coverage, regional, schemes
from soilnb.study.intervals import conformal_size, cv_plus
from soilnb.transfer import (
    bayesian_update,
    ensemble_weight,
    gsoilcpm_weights,
    regional_bias,
)
from soilnb.transfer import regional as transfer
from soilnb.transfer.regional import Base, Task, fit_gate, gate_weights
from soilnb.workflow.data import REFERENCE


@pytest.fixture
def sites(rng):
    """Three regions of 60 sites; the property is a covariate plus the region's bias."""
    n = 180
    region = np.repeat(["a", "b", "c"], 60)
    X = rng.normal(size=(n, 4))
    y = X[:, 0] + 0.3 * rng.normal(size=n) + np.repeat([0.0, 0.5, 1.0], 60)
    place = {
        "latitude": rng.uniform(40, 50, n),
        "longitude": np.repeat([-120.0, -100, -80], 60) + rng.uniform(0, 15, n),
    }
    info = pd.DataFrame(place | {"region": region})
    return Sites("made", X, y, ("w", "x", "y", "z"), info, "soc", True)


@pytest.fixture
def brief(monkeypatch):
    """Few epochs, trees and sizes, so that a region takes seconds."""
    for name, value in {
        "SIZES": (5, 20),
        "GLOBAL_EPOCHS": 3,
        "EPOCHS": 3,
        "N_TREES": 10,
        "N_POOLED": 50,
        "N_FOLDS": 3,
        "N_STARTS": 2,
    }.items():
        monkeypatch.setattr(regional, name, value)
    for name, value in {"SIZES": (20,), "N_EPOCHS": 2, "N_STARTS": 2}.items():
        monkeypatch.setattr(coverage, name, value)


# Worked values


def test_bayesian_update_weights_by_precision():
    # Precisions 1/4 and 1: (5/4 + 3) / (5/4) = 3.4, sd = sqrt(1 / 1.25) = 0.8944.
    mean, sd = bayesian_update(5, 2, 3, 1)
    assert mean == pytest.approx(3.4)
    assert sd == pytest.approx(0.8944, abs=5e-5)


def test_gsoilcpm_has_as_many_weights_as_its_released_file_holds():
    # Five branches (n + 1) * 32; 160 to 128 to 256 to 128 to 1, each with its biases.
    by_hand = (32 + 5) * 32 + 161 * 128 + 129 * 256 + 257 * 128 + 129
    assert gsoilcpm_weights() == by_hand == 87_841
    assert gsoilcpm_weights() * 4 < 356_894  # bytes of that file, with its names


def test_mean_residual_is_shrunk_by_what_other_regions_show():
    # Mean 0.5, sd 0.31623, error 0.14142: precisions 25 and 50, so 2/3 of 0.5.
    residuals = [0.5, 0.3, 0.7, 0.1, 0.9]
    assert regional_bias(residuals) == pytest.approx(0.5)
    assert regional_bias(residuals, prior_sd=0.2) == pytest.approx(1 / 3)
    assert regional_bias(residuals, prior_sd=100.0) == pytest.approx(0.5, abs=1e-5)
    assert regional_bias([0.7], prior_sd=0.2) == 0  # one residual has no error


def test_ensemble_weight_is_least_squares_within_its_bounds(rng):
    y, first, second = rng.normal(size=(3, 30))
    grid = np.linspace(0, 1, 100_001)
    errors = [(y - w * first - (1 - w) * second) ** 2 for w in grid[::100]]
    best = grid[::100][np.argmin([error.sum() for error in errors])]
    assert ensemble_weight(y, first, second) == pytest.approx(best, abs=1e-3)
    assert ensemble_weight(y, y, second) == 1
    assert ensemble_weight(y, first, y) == 0
    assert ensemble_weight(y, first, first) == 0.5


def test_gate_finds_where_the_global_model_is_right(rng):
    Z = rng.normal(size=(200, 2))
    y = rng.normal(size=200)
    wrong = y + rng.normal(size=200)
    is_right = Z[:, 0] > 0
    of_global = np.where(is_right, y, wrong)
    of_regional = np.where(is_right, wrong, y)
    weights = gate_weights(fit_gate(y, of_global, of_regional, Z, penalty=0.01), Z)
    assert weights[is_right].mean() > 0.75
    assert weights[~is_right].mean() < 0.25
    flat = gate_weights(fit_gate(y, of_global, of_regional, Z, penalty=1e6), Z)
    assert np.ptp(flat) < 1e-3


def test_conformal_size_is_the_ordered_residual_of_its_level():
    # ceil(0.9 * 10) = 9-th of nine; of eight there is none.
    residuals = [-0.9, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    assert conformal_size(residuals) == 0.9
    assert conformal_size(residuals[1:]) == np.inf


def test_cv_plus_of_a_logarithm_may_be_below_zero():
    lower, _ = cv_plus([0.1] * 9, [0] * 9, [[-1.0]], lowest=-np.inf)
    assert lower.tolist() == [-1.1]
    assert cv_plus([0.1] * 9, [0] * 9, [[-1.0]])[0].tolist() == [0]


def test_best_epoch_counts_from_the_untouched_network():
    falling, rising = np.array([1.0, 0.5, 0.8]), np.array([1.0, 1.5, 2.0])
    assert transfer.best_epoch([falling, falling], [1, 1], 2.0) == 2
    assert transfer.best_epoch([rising], [1], 0.9) == 0
    # Squares weighted by samples: (0.25 * 3 + 2.25) / 4 = 0.75 is lowest.
    assert transfer.best_epoch([falling, rising], [3, 1], np.inf) == 2


# Schemes of validation


def test_blocked_folds_split_no_cell_and_stratified_ones_split_all(rng):
    latitude, longitude = rng.uniform(30, 50, 400), rng.uniform(-120, -70, 400)
    cells = block_cells(latitude, longitude)
    assert len(np.unique(cells)) == 40
    for cell in np.unique(cells):
        inside = cells == cell
        assert np.ptp(latitude[inside]) < 5
        assert np.ptp(longitude[inside]) < 5
    blocked, strata = group_folds(cells, 5, seed=1), stratified_folds(cells, 5, seed=1)
    table = pd.crosstab(cells, blocked)
    assert ((table > 0).sum(axis=1) == 1).all()
    assert np.ptp(np.bincount(blocked)) <= 10
    of_strata = pd.crosstab(cells, strata)
    assert (of_strata.max(axis=1) - of_strata.min(axis=1) <= 1).all()
    assert np.ptp(np.bincount(strata)) <= 1


def test_hold_out_is_the_share_and_another_one_with_another_seed():
    assert hold_out(101, seed=1).sum() == 20
    assert (hold_out(101, seed=1) != hold_out(101, seed=2)).any()
    with pytest.raises(ValueError, match=r"'share' must be above 0 .* got 1"):
        hold_out(10, 1, seed=1)


def test_adjacent_region_is_nearest_on_the_sphere():
    # At 60 degrees north, 8 degrees of longitude are shorter than 5 of latitude.
    places = [60, 60, 65], [0, 8, 0], ["here", "east", "north"]
    assert adjacent_region(*places, "here") == "east"
    places = [0, 0, 5], [0, 8, 0], ["here", "east", "north"]
    assert adjacent_region(*places, "here") == "north"
    with pytest.raises(ValueError, match="Unknown region 'west'"):
        adjacent_region(*places, "west")


# Networks


def test_kept_epoch_is_the_one_asked_for_and_others_train_beside_it(rng):
    X = rng.normal(size=(40, 4))
    y = X @ [1.0, 0.5, 0, 0]
    train, test = np.arange(20), np.arange(20, 40)
    tasks = [
        Task(train, test, watch=test),
        Task(train, test, n_epochs=2, watch=test),
        Task(train, test, n_epochs=4, watch=test),
    ]
    best, two, four = transfer.train_networks(X, y, tasks, n_epochs=6)
    for one, epoch in ((two, 2), (four, 4), (best, 1 + best.history.argmin())):
        error = np.sqrt(np.mean((one.predicted - y[test]) ** 2))
        assert error == pytest.approx(one.history[epoch - 1], rel=1e-4)


def test_frozen_head_trains_the_output_only_and_begins_at_the_base(rng):
    X = rng.normal(size=(30, 4))
    y, rows = X[:, 0], np.arange(30)
    (made,) = transfer.train_networks(X, y, [Task(rows, rows, n_epochs=3)], n_epochs=3)
    base = Base(made.weights, made.fold.scaling)
    keras_own = transfer.keras_model(base, 4)(X.astype(np.float32)).numpy()[:, 0]
    np.testing.assert_allclose(keras_own, made.predicted, atol=1e-5)
    features, scaling = transfer.frozen_features(base, X, transfer.HEAD)
    kernel, bias = made.weights[-2:]
    by_hand = (features @ kernel + bias)[:, 0] * scaling.y_sd + scaling.y_mean
    np.testing.assert_allclose(by_hand, made.predicted, atol=1e-5)
    task = [Task(rows[:5], rows, n_epochs=1)]
    options = {"n_epochs": 1, "bases": [base], "n_frozen": transfer.HEAD}
    (tuned,) = transfer.train_networks(X, y, task, **options)
    assert len(tuned.weights) == 2
    assert 0 < np.abs(tuned.weights[0] - kernel).max() < 0.05


def test_dropout_passes_spread_around_the_prediction(rng):
    X = rng.normal(size=(50, 4))
    rows = np.arange(50)
    (made,) = transfer.train_networks(
        X, X[:, 0], [Task(rows, rows, n_epochs=20)], n_epochs=20
    )
    base = Base(made.weights, made.fold.scaling)
    mean, sd = transfer.dropout_passes(base, X, n_passes=200)
    assert (sd > 0).all()
    assert np.abs(mean - made.predicted).mean() < sd.mean()
    again, other = (
        transfer.dropout_passes(base, X, n_passes=200, seed=seed)[0] for seed in (1, 2)
    )
    np.testing.assert_array_equal(again, mean)
    assert np.abs(other - mean).max() > 0


def test_a_test_site_made_absurd_changes_no_prediction_but_the_fake_one(sites, brief):
    inside = np.flatnonzero(sites.region == "b")
    draws = regional._draws(inside, 1, np.random.default_rng(1))
    assert set(draws[0].rows) < set(draws[1].rows)  # nested
    assert not set(draws[1].rows) & set(draws[1].test)
    y = sites.y.copy()
    y[draws[0].test[0]] = 1e3
    absurd = Sites(**(vars(sites) | {"y": y}))
    models = regional.learn_globally(sites, inside)
    changed = regional.learn_globally(absurd, inside)  # all of region b is a test
    np.testing.assert_array_equal(models.predicted, changed.predicted)
    assert models.prior_sd == changed.prior_sd
    made = []
    components = regional._scores(sites.X, inside)
    for one in (sites, absurd):
        rng = np.random.default_rng(2)
        (found, _), _ = regional._tuned(one, draws, models, rng, 1)
        found |= regional._corrected(one, draws[0], models)
        regional._blended(one, components, draws[0], models, rng, found)
        made.append(found)
    assert set(made[0]) == set(REGIONAL)
    for model in set(REGIONAL) - {"fine_tuned_test_stop"}:
        np.testing.assert_array_equal(made[0][model], made[1][model], err_msg=model)


def test_study_goes_on_where_it_was_interrupted(sites, tmp_path, monkeypatch):
    options = {"folder": tmp_path, "n_regions": 3, "n_draws": 1}
    computed = []

    def study(sites, region, **settings):
        if region == "b" and "b" not in computed:
            computed.append(region)
            raise KeyboardInterrupt
        computed.append(region)
        return {"scores": [{"region": region, "rmse": 1.0}], "weights": []}

    monkeypatch.setattr(regional, "study_region", study)
    with pytest.raises(KeyboardInterrupt):
        regional.study_regions(sites, "scores", **options)
    assert len(list(tmp_path.iterdir())) == 1  # whole or not at all
    scores = regional.study_regions(sites, "scores", **options)
    assert computed == ["a", "b", "b", "c"]
    assert scores["region"].tolist() == ["a", "b", "c"]


def test_intervals_of_a_region_are_calibrated_or_not(sites, brief):
    found = pd.DataFrame(regional.study_region(sites, "b", n_draws=1)["coverage"])
    assert set(found["setting"]) == {"within", "shift", "mended"}
    assert found.groupby("setting")["method"].nunique().eq(4).all()
    assert found["coverage"].between(0, 1).all()
    assert (found["width"] > 0).all()
    table = coverage.summarise_coverage(found).set_index(["setting", "method"])
    assert (table["lowest"] <= table["highest"]).all()
    mended = table.loc["mended", "coverage"]
    assert mended["split_conformal"] > 0.6  # of 40 sites, after 20


def test_schemes_score_a_place_lower_where_it_is_left_out(rng, monkeypatch):
    # The property is a smooth field over the map: only neighbours tell it.
    for name, value in {
        "N_EPOCHS": 2,
        "N_FOLDS": 3,
        "SCHEMES": ("random", "stratified", "blocked"),
    }.items():
        monkeypatch.setattr(schemes, name, value)
    latitude, longitude = rng.uniform(30, 50, 500), rng.uniform(-120, -80, 500)
    y = np.sin(latitude / 2) + np.cos(longitude / 2)
    region = [f"r{int(cell)}" for cell in np.floor(longitude / 8)]
    info = pd.DataFrame(
        {"latitude": latitude, "longitude": longitude, "region": region}
    )
    X = np.column_stack([latitude, longitude])
    made = Sites("field", X, y, ("latitude", "longitude"), info, "soc", False)
    folds = schemes.compare_schemes(made, n_trees=10)
    assert set(folds["scheme"]) == set(schemes.SCHEMES)
    near = folds[folds["model"] == "neighbours"].set_index("scheme")["r2"]
    assert abs(near["random"] - near["stratified"]) < 0.05
    assert near["blocked"] < near["random"] - 0.3


def test_gains_are_those_of_a_table_worked_by_hand():
    scores = pd.DataFrame(
        {
            "region": ["a"] * 4,
            "n": [5] * 4,
            "draw": [1, 2, 1, 2],
            "model": ["regional_forest"] * 2 + ["fine_tuned"] * 2,
            "rmse": [3.0, 4.0, 3.0, 0.0],
        }
    )
    # sqrt(12.5) = 3.5355 and sqrt(4.5) = 2.1213: 40 % lower.
    changes = regional.gains(scores).set_index("model")["change"]
    assert changes["fine_tuned"] == pytest.approx(-40)
    assert changes["regional_forest"] == 0
    means = pd.DataFrame(
        {
            "model": ["fine_tuned"] * 3 + ["global_network"] * 3,
            "n": [5, 20, 50] * 2,
            "change": [-5.0, -9, -8, -10, -8, -4],
        }
    )
    assert regional.crossing(means, "fine_tuned") == 20
    assert regional.crossing(means, "global_network", than="fine_tuned") is None


# The companion, without its data


def test_without_network_and_cache_the_reference_results_are_shown(tmp_path):
    script = (
        "import socket, os, sys;"
        "os.environ['SOILNB_DATA'] = sys.argv[1] + '/none';"
        "from soilnb.datasets import open as o;"
        "o._retrieve = lambda *a: (_ for _ in ()).throw("
        "__import__('requests').exceptions.ConnectionError());"
        "from soilnb.workflow import step;"
        "one = step.begin('13_regional', {'results': sys.argv[1], 'profile': 'tiny'});"
        "print(one.missing);"
        "table = one.table('regional', None, None);"
        "one.finish();"
        "print(len(table))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "13_regional shows its reference results: the data set 'raca'" in done.stdout
    assert "soilnb data fetch raca" in done.stdout
    place = tmp_path / "companions" / "13_regional"
    facts = json.loads((place / "step.json").read_text())
    assert list(facts["data"]) == ["reference results"]
    table = pd.read_csv(place / "regional.csv")
    assert {"region", "model", "n", "draw", "rmse", "r2", "ccc"} <= set(table)


def test_page_of_a_companion_that_was_not_run_keeps_its_words_and_says_so():
    from soilnb.workflow.book import _left_out

    cells = _left_out("13_regional").cells
    assert {cell.cell_type for cell in cells} == {"markdown"}
    assert "Not run yet" in cells[1].source
    assert "soilnb run 13_regional" in cells[1].source
    assert any("Stratifying is not blocking" in cell.source for cell in cells)


def test_figures_are_drawn_from_the_reference_tables():
    def read(name):
        return pd.read_csv(REFERENCE / f"{name}.csv")

    changes = regional.gains(read("regional"))
    means = regional.mean_gains(changes)
    assert (means["low"] <= means["change"]).all()
    lines = plots.plot_gains(means, ["global_network", "fine_tuned"]).axes[0].lines
    assert lines[1].get_linestyle() == "--"
    own = changes[changes["model"] == "fine_tuned"]
    skill = read("regional").groupby(["region", "n"])["r2"].mean().reset_index()
    for figure in (
        plots.plot_gain_by_skill(own, skill),
        plots.plot_regions(read("regional_map"), "ln"),
        plots.plot_schemes(read("regional_folds")),
        plots.plot_levels(read("regional_levels")),
        plots.plot_paths(read("regional_path")),
        plots.plot_ensemble_weights(read("regional_weights")),
        plots.plot_coverage(read("regional_coverage")),
    ):
        assert figure.axes[0].get_ylabel() or figure.axes[0].get_xlabel()
    plt.close("all")


def test_scaling_of_a_network_of_its_own_is_of_its_own_samples(rng):
    X = rng.normal(3, 2, size=(30, 4))
    y, rows = 5 + X[:, 0], np.arange(10)
    (made,) = transfer.train_networks(X, y, [Task(rows, rows, n_epochs=1)], n_epochs=1)
    assert made.fold.scaling.y_mean == pytest.approx(y[:10].mean())
    given = Scaling.learn(X, y)
    (made,) = transfer.train_networks(
        X, y, [Task(rows, rows, n_epochs=1)], n_epochs=1, scaling=given
    )
    assert made.fold.scaling.y_mean == pytest.approx(y[:10].mean())
    np.testing.assert_allclose(made.fold.scaling.band_mean, X.mean(axis=0))
