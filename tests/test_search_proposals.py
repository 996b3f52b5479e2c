"""What a search may propose and proposes: space, Gaussian process, next trial."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ttest_rel
from search_helpers import FOLDS, X, Y, path, quick_rmse
from sklearn.gaussian_process.kernels import Matern

from soilnb.cnn import PUBLISHED, SMALL, feasible, n_weights
from soilnb.cnn.tuning import Trial, search
from soilnb.cnn.tuning.log import TrialLog
from soilnb.cnn.tuning.oracle import ArchitectureOracle, minimise
from soilnb.cnn.tuning.space import Space, to_architecture, to_values
from soilnb.cnn.tuning.surrogate import (
    BlockMatern,
    group_names,
    left_out_r2,
    make_surrogate,
    observations,
    total_effects,
)

N_WAVELENGTHS = 207


# ---- space -----------------------------------------------------------------------


def test_space_has_the_64_hyperparameters_of_three_conv_and_five_fc_blocks():
    # 3 x 11 of Conv-blocks, 5 x 5 of FC-blocks, two numbers of blocks, 4 of training.
    assert len(Space(N_WAVELENGTHS)) == 3 * 11 + 5 * 5 + 2 + 4


def test_every_draw_is_feasible_small_enough_and_survives_both_ways():
    space = Space(N_WAVELENGTHS, max_epochs=200, max_weights=300_000)
    rng = np.random.default_rng(1)
    for _ in range(300):
        values = space.draw(rng)
        architecture = to_architecture(values)
        assert feasible(architecture, N_WAVELENGTHS)
        assert n_weights(architecture, N_WAVELENGTHS) <= 300_000
        assert 20 <= architecture.epochs <= 200
        assert to_values(architecture) == values
        assert space.values(space.point(values)) == values


def test_active_hyperparameters_are_those_that_keras_tuner_calls_active():
    space = Space(N_WAVELENGTHS)
    rng = np.random.default_rng(2)
    for _ in range(50):
        values = space.draw(rng)
        hyperparameters = space.hyperparameters.copy()
        hyperparameters.values = values
        active = {
            hp.name
            for hp in space.hyperparameters.space
            if hyperparameters.is_active(hp)
        }
        assert set(values) == active


def test_a_quarter_of_the_raw_space_does_not_fit():
    space = Space(211)
    points = space.snap(np.random.default_rng(3).random((1000, len(space))))
    fits = np.mean([space.feasible(space.values(point)) for point in points])
    assert 0.7 < fits < 0.8  # keras-tuner's own random draws: 0.74 of 1,500


def test_published_architectures_lie_in_the_space():
    for architecture in [SMALL, *PUBLISHED.values()]:
        values = Space(211).check(architecture)
        assert to_architecture(values) == architecture


# ---- Gaussian process ------------------------------------------------------------


def test_kernel_of_one_ordered_group_is_the_matern_of_scikit_learn():
    points = np.random.default_rng(1).random((9, 4))
    ours = BlockMatern(["a"] * 4, np.zeros(4, bool), np.array([0.7]))
    theirs = Matern(length_scale=0.7 * 4**0.5, nu=2.5)  # of the sum, not of the mean
    np.testing.assert_allclose(ours(points), theirs(points), rtol=1e-12)
    # Choices are the same or not, however far apart in their list.
    kernel = BlockMatern(["a", "b"], np.array([True, False]), np.array([1.0, 1.0]))
    near, far = kernel(np.array([[0.1, 0.5]]), np.array([[0.3, 0.5], [0.9, 0.5]]))[0]
    assert near == far < 1
    # All Conv-blocks share a length scale.
    names = ["n_conv", "n_fc", "conv1_filters", "conv2_rate", "fc1_nodes", "epochs"]
    groups = ["blocks", "blocks", "conv", "conv", "fc", "epochs"]
    assert group_names(names) == groups


def test_gradient_of_the_kernel_is_that_of_finite_differences():
    names = Space(N_WAVELENGTHS).names
    is_category = Space(N_WAVELENGTHS).is_category
    points = np.random.default_rng(2).random((6, len(names)))
    scales = np.linspace(0.5, 2.0, 7)
    kernel = BlockMatern(group_names(names), is_category, scales)
    _, gradient = kernel(points, eval_gradient=True)
    for number in range(7):
        step = np.exp(1e-6 * (np.arange(7) == number))
        above = BlockMatern(group_names(names), is_category, scales * step)(points)
        below = BlockMatern(group_names(names), is_category, scales / step)(points)
        expected = (above - below) / 2e-6
        np.testing.assert_allclose(gradient[..., number], expected, atol=1e-8)


def made_up_trials(space, n_trials, seed=1):
    rng = np.random.default_rng(seed)
    drawn = [space.draw(rng) for _ in range(n_trials)]
    return [
        Trial(number, values, "completed", quick_rmse(values))
        for number, values in enumerate(drawn, start=1)
    ]


def test_left_out_r2_is_that_of_fitting_again_without_each_trial():
    space = Space(N_WAVELENGTHS)
    points, scores = observations(space, made_up_trials(space, 15))
    fitted = make_surrogate(space.names, space.is_category).fit(points, scores)
    again = make_surrogate(space.names, space.is_category)
    again.set_params(kernel=fitted.kernel_, optimizer=None, normalize_y=False)
    errors = []
    scaled = fitted.y_train_
    for row in range(15):
        others = np.arange(15) != row
        again.fit(points[others], scaled[others])
        errors.append(scaled[row] - again.predict(points[[row]])[0])
    expected = 1 - np.mean(np.square(errors)) / np.var(scaled)
    assert left_out_r2(fitted) == pytest.approx(expected)


def test_a_failed_trial_counts_as_twice_the_median_and_so_does_a_terrible_one():
    space = Space(N_WAVELENGTHS)
    tried = made_up_trials(space, 5)
    for trial, score in zip(range(5), [1.0, 2.0, 3.0, 900.0, None], strict=True):
        tried[trial] = replace(tried[trial], score=score)
    _, scores = observations(space, tried)
    # The median of 1, 2, 3, 900 is 2.5.
    np.testing.assert_allclose(np.exp(scores), [1, 2, 3, 5, 5])


def test_total_effects_are_the_shares_of_a_sum():
    # The variance of 2 u + v, both even on 0 to 1, is 4/12 + 1/12.
    space = Space(N_WAVELENGTHS)
    rate, epochs = space.names.index("learning_rate"), space.names.index("epochs")
    shares = total_effects(
        lambda points: 2 * points[:, rate] + points[:, epochs],
        space,
        4000,
        np.random.default_rng(1),
    )
    assert shares[rate] == pytest.approx(0.8, abs=0.03)
    assert shares[epochs] == pytest.approx(0.2, abs=0.03)
    assert np.count_nonzero(shares) == 2


# ---- proposals -------------------------------------------------------------------


def test_minimised_bound_is_below_that_of_thousands_of_random_architectures():
    space = Space(N_WAVELENGTHS, max_weights=300_000)
    points, scores = observations(space, made_up_trials(space, 30))
    gpr = make_surrogate(space.names, space.is_category).fit(points, scores)

    def bound(candidates):
        mean, sd = gpr.predict(candidates, return_std=True)
        return mean - 2.6 * sd

    rng = np.random.default_rng(1)
    found, values = minimise(bound, space, points[:10], rng, lambda _: False)
    assert found < bound(space.snap(rng.random((9_000, len(space))))).min()
    assert space.feasible(values)
    assert found == pytest.approx(bound(space.point(values)[None])[0], abs=1e-3)


def test_known_architectures_are_not_proposed():
    space = Space(N_WAVELENGTHS)
    points, _ = observations(space, made_up_trials(space, 5))
    rng = np.random.default_rng(1)
    assert minimise(lambda p: p[:, 0], space, points, rng, lambda _: True) is None


def test_a_trial_under_way_is_not_proposed_again(tmp_path):
    space = Space(N_WAVELENGTHS)
    log = TrialLog(tmp_path)
    for trial in made_up_trials(space, 12):
        log.write(trial)
    oracle = ArchitectureOracle(space, log, seed=1, n_initial=5)
    gpr = oracle.gpr.fit(*observations(space, oracle.ended()))
    first = oracle.ask(20)
    point = space.point(first.values)[None]
    mean, sd = gpr.predict(point, return_std=True)
    mean_then, sd_then = oracle._with_running(gpr).predict(point, return_std=True)
    assert mean_then - oracle.beta * sd_then > mean - oracle.beta * sd
    assert oracle.ask(20).values != first.values


@pytest.mark.parametrize("method", ["bayesian", "random"])
def test_no_trial_is_infeasible_or_tried_twice(quick, tmp_path, method):
    found = search(X, Y, FOLDS, 25, tmp_path, method=method, max_weights=100_000)
    assert found.trials["number"].tolist() == list(range(1, 26))
    assert found.trials["n_weights"].max() <= 100_000
    assert found.trials["architecture"].nunique() == 25
    assert found.best_trial.score == found.trials["score"].min()
    assert found.trials["best"].iloc[-1] == found.score


def test_guided_search_begins_as_the_random_one(quick, tmp_path):
    guided = search(X, Y, FOLDS, 12, tmp_path / "a", n_initial=10)
    random = search(X, Y, FOLDS, 12, tmp_path / "b", method="random")
    assert path(guided)[:10] == path(random)[:10]
    assert path(guided)[10] != path(random)[10]


def test_start_is_tried_first_with_no_more_epochs_than_allowed(quick, tmp_path):
    found = search(X, Y, FOLDS, 3, tmp_path, start=[SMALL], max_epochs=60)
    architecture = found.architecture(found.tried[0])
    assert architecture == replace(SMALL, epochs=60)


def test_bayesian_search_beats_random_search(quick, tmp_path):
    # Six seeds, 24 trials each; the ten first are the same for both.
    scores = {
        method: [
            search(
                X, Y, FOLDS, 24, tmp_path / f"{method}{seed}", method=method, seed=seed
            ).score
            for seed in range(6)
        ]
        for method in ("bayesian", "random")
    }
    test = ttest_rel(np.log(scores["random"]), np.log(scores["bayesian"]))
    assert test.statistic > 0
    assert test.pvalue < 0.01
