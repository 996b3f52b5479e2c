"""The search for an architecture: space, proposals, log, failures, workers."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import dask
import numpy as np
import pytest
from dask.distributed import Client, LocalCluster
from scipy.stats import ttest_rel
from sklearn.gaussian_process.kernels import Matern

from soilnb.cnn import PUBLISHED, SMALL, ConvBlock, cross_validate, feasible, n_weights
from soilnb.cnn.memory import NetworkTooBigError
from soilnb.cnn.tuning import Trial, search, trials
from soilnb.cnn.tuning import oracle as oracle_module
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
from soilnb.preprocessing import snv
from soilnb.selection import random_folds

N_WAVELENGTHS = 207
RNG = np.random.default_rng(5)
X = RNG.normal(size=(12, 60)).cumsum(axis=1)
Y = 2.0 + X[:, 40] - X[:, 10]
FOLDS = np.arange(12) % 3


def quick_rmse(values):
    """A cheap RMSE with a best optimiser, learning rate, depth and pooling."""
    rate = np.log10(values["learning_rate"]) + 3
    penalty = 0.5 * rate**2 + 0.2 * (values["optimiser"] != "nadam")
    penalty += 0.15 * (values["n_fc"] - 1) + 0.1 * abs(values["n_conv"] - 2)
    penalty += 0.2 * (values["conv1_pooling"] != "max")
    return float(0.3 * np.exp(penalty + 0.1 * np.log(values["conv1_filters"] / 16)))


def quick_training(task, values, rungs):
    """Stand in for the cross-validation of a network."""
    return SimpleNamespace(rmse=quick_rmse(values), best_epoch=np.ones(3, int))


@pytest.fixture
def quick(monkeypatch):
    """Train nothing: every trial scores by `quick_rmse` at once."""
    monkeypatch.setattr(trials, "_cross_validate", quick_training)
    monkeypatch.setattr(trials.keras.backend, "clear_session", lambda: None)


def path(result):
    """What was tried and how it did, in order."""
    return [(one.number, one.values, one.status, one.score) for one in result.tried]


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 0.5}, "learning_rate = 0.5, outside the Float"),
        ({"fc": ()}, "n_fc = 0, outside the Int"),
        ({"conv": (ConvBlock(32, kernel=20),)}, "conv1_kernel = 20, outside the Int"),
        ({"patience": 5}, "patience = 5, but the search trains with 30"),
    ],
)
def test_a_start_outside_the_space_is_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        search(X, Y, FOLDS, 2, tmp_path, start=[replace(SMALL, **change)])


# ---- Gaussian process ------------------------------------------------------------


def test_kernel_of_one_ordered_group_is_the_matern_of_scikit_learn():
    points = np.random.default_rng(1).random((9, 4))
    ours = BlockMatern(["a"] * 4, np.zeros(4, bool), np.array([0.7]))
    theirs = Matern(length_scale=0.7 * 4**0.5, nu=2.5)  # of the sum, not of the mean
    np.testing.assert_allclose(ours(points), theirs(points), rtol=1e-12)


def test_choices_are_the_same_or_not_however_far_apart_in_their_list():
    kernel = BlockMatern(["a", "b"], np.array([True, False]), np.array([1.0, 1.0]))
    near, far = kernel(np.array([[0.1, 0.5]]), np.array([[0.3, 0.5], [0.9, 0.5]]))[0]
    assert near == far < 1


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


def test_same_seed_same_path_and_another_seed_another(quick, tmp_path):
    first, again, other = (
        search(X, Y, FOLDS, 14, tmp_path / name, seed=seed)
        for name, seed in [("a", 4), ("b", 4), ("c", 5)]
    )
    assert path(first) == path(again)
    assert first.tried[0].values != other.tried[0].values


def test_guided_search_begins_as_the_random_one(quick, tmp_path):
    guided = search(X, Y, FOLDS, 12, tmp_path / "a", n_initial=10)
    random = search(X, Y, FOLDS, 12, tmp_path / "b", method="random")
    assert path(guided)[:10] == path(random)[:10]
    assert path(guided)[10] != path(random)[10]


def test_start_is_tried_first_with_no_more_epochs_than_allowed(quick, tmp_path):
    found = search(X, Y, FOLDS, 3, tmp_path, start=[SMALL], max_epochs=60)
    architecture = found.architecture(found.tried[0])
    assert architecture == replace(SMALL, epochs=60)


def test_bayesian_search_beats_random_search(quick, tmp_path, monkeypatch):
    # Six seeds, 24 trials each; the ten first are the same for both.
    monkeypatch.setattr(oracle_module, "ROUNDS", 5)
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


# ---- log -------------------------------------------------------------------------


def test_search_continues_where_it_ended_on_the_path_of_an_unbroken_one(
    quick, tmp_path
):
    search(X, Y, FOLDS, 4, tmp_path / "broken")
    search(X, Y, FOLDS, 13, tmp_path / "broken")
    continued = search(X, Y, FOLDS, 15, tmp_path / "broken")
    assert path(continued) == path(search(X, Y, FOLDS, 15, tmp_path / "whole"))


def test_enough_trials_are_returned_at_once(quick, tmp_path, monkeypatch):
    before = search(X, Y, FOLDS, 4, tmp_path)
    monkeypatch.setattr(trials, "_cross_validate", None)  # nothing may be trained
    reported = []
    again = search(X, Y, FOLDS, 3, tmp_path, progress=lambda *a: reported.append(a))
    assert path(again) == path(before)
    assert [(done, total) for done, total, _ in reported] == [(1, 1)]


KILLED = """
    import os, random, signal, sys, time
    import numpy as np
    sys.path.insert(0, {tests!r})
    import test_search
    from soilnb.cnn.tuning import search, trials

    def slow(*args):
        time.sleep(0.03)
        return test_search.quick_training(*args)

    trials._cross_validate = slow
    random.seed(1)
    for attempt in range({n_kills} + 1):
        child = os.fork()
        if not child:
            search(test_search.X, test_search.Y, test_search.FOLDS, 18, {directory!r})
            os._exit(0)
        wanted = len(os.listdir({directory!r})) + random.choice([1, 1, 2, 3])
        ended, status = 0, 0
        while attempt < {n_kills} and not ended:  # whatever the machine's speed
            if len(os.listdir({directory!r})) >= wanted:
                time.sleep(random.uniform(0, 0.05))
                os.kill(child, signal.SIGKILL)
                break
            time.sleep(0.002)
            ended, status = os.waitpid(child, os.WNOHANG)
        if not ended:
            _, status = os.waitpid(child, 0)
        print(os.WTERMSIG(status), len(os.listdir({directory!r})), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_search_killed_ten_times_has_the_log_of_an_unbroken_one(quick, tmp_path):
    directory = tmp_path / "killed"
    directory.mkdir()
    script = textwrap.dedent(KILLED).format(
        tests=str(Path(__file__).parent), n_kills=10, directory=str(directory)
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    ends = [line.split() for line in done.stdout.splitlines()]
    killed = [int(n_files) for code, n_files in ends if int(code) == signal.SIGKILL]
    assert len(killed) >= 5  # the last ones may have come too late
    assert len(set(killed)) >= 3  # at different points
    files = sorted(directory.glob("trial_*.json"))
    numbers = [json.loads(file.read_text())["number"] for file in files]
    assert numbers == list(range(1, 19))
    unbroken = search(X, Y, FOLDS, 18, tmp_path / "whole")
    assert path(search(X, Y, FOLDS, 18, directory)) == path(unbroken)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"y": Y + 1}, "data"),
        ({"seed": 2}, "seed = 1, not 2"),
        ({"method": "random"}, 'method = "bayesian", not "random"'),
        ({"max_weights": 10_000}, "max_weights = null, not 10000"),
        ({"max_epochs": 100}, "max_epochs = 500, not 100"),
        ({"start": [SMALL]}, "start = "),
        ({"stopping": "inner"}, 'stopping = "validation", not "inner"'),
    ],
)
def test_another_search_in_the_same_directory_is_refused(quick, tmp_path, change, name):
    search(X, Y, FOLDS, 2, tmp_path)
    arguments = {"X": X, "y": Y, "folds": FOLDS, "n_trials": 2, "directory": tmp_path}
    with pytest.raises(ValueError, match=f"holds a search with .*{name}"):
        search(**(arguments | change))


def test_a_leftover_of_a_write_that_was_killed_is_cleared_away(quick, tmp_path):
    search(X, Y, FOLDS, 2, tmp_path)
    leftover = tmp_path / "trial_0003.part"
    leftover.write_text('{"number": 3, "val')
    found = search(X, Y, FOLDS, 3, tmp_path)
    assert not leftover.exists()
    assert len(found.tried) == 3


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda file: file.unlink(), "'trial_0001.json' is missing"),
        (lambda file: file.write_text("{"), "trial_0001.json' is no whole JSON"),
    ],
)
def test_a_log_with_a_hole_or_a_damaged_trial_is_refused(
    quick, tmp_path, spoil, message
):
    search(X, Y, FOLDS, 2, tmp_path)
    spoil(tmp_path / "trial_0001.json")
    with pytest.raises(ValueError, match=message):
        search(X, Y, FOLDS, 3, tmp_path)


def test_trials_are_read_as_they_were_written(tmp_path):
    log = TrialLog(tmp_path)
    trial = Trial(1, {"a": 1}, "stopped", 0.1 + 0.2, "why", 1.5, {10: 0.4, 30: 0.3})
    log.write(trial)
    assert log.read() == [trial]


# ---- failures --------------------------------------------------------------------


def failing(errors):
    """Raise or return the next of `errors`, then score as `quick_rmse`."""
    left = iter(errors)

    def training(task, values, rungs):
        error = next(left, None)
        if isinstance(error, BaseException):
            raise error
        return error or quick_training(task, values, rungs)

    return training


def test_failed_trials_are_logged_and_the_search_goes_on(tmp_path, monkeypatch):
    from soilnb.cnn._tensorflow import tf

    lost = SimpleNamespace(rmse=float("nan"), best_epoch=np.array([3, 0, 0]))
    exhausted = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")
    errors = [MemoryError("no room"), NetworkTooBigError("big"), lost, exhausted, lost]
    monkeypatch.setattr(trials, "_cross_validate", failing(errors))
    reported = []
    found = search(
        X, Y, FOLDS, 8, tmp_path, n_initial=2, progress=lambda *a: reported.append(a)
    )
    assert found.trials["status"].tolist() == 5 * ["failed"] + 3 * ["completed"]
    assert found.trials["cause"].tolist()[:5] == [
        "MemoryError: no room",
        "NetworkTooBigError: big",
        "diverged: no finite RMSE in 2 of 3 folds",
        "ResourceExhaustedError: OOM when allocating",
        "diverged: no finite RMSE in 2 of 3 folds",
    ]
    assert found.trials["score"].isna().tolist() == 5 * [True] + 3 * [False]
    best = found.score
    assert reported[-1] == (8, 8, f"trial 8 of 8, best RMSE {best:.3g}, 5 failed")


def test_a_bug_ends_the_search_with_its_own_error_and_costs_no_trial(
    quick, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        bug = failing([None, None, TypeError("'int' object is not iterable")])
        patch.setattr(trials, "_cross_validate", bug)
        with pytest.raises(TypeError, match="'int' object is not iterable"):
            search(X, Y, FOLDS, 5, tmp_path)
    assert [one.status for one in TrialLog(tmp_path).read()] == [
        "completed",
        "completed",
        "running",
    ]
    mended = search(X, Y, FOLDS, 5, tmp_path)
    assert path(mended) == path(search(X, Y, FOLDS, 5, tmp_path / "whole"))


def test_a_search_without_any_success_says_why(tmp_path, monkeypatch):
    errors = [MemoryError("no room"), MemoryError("no room at all")]
    monkeypatch.setattr(trials, "_cross_validate", failing(errors))
    found = search(X, Y, FOLDS, 2, tmp_path, seed=np.int64(1))
    assert found.trials["cause"].tolist() == [
        "MemoryError: no room",
        "MemoryError: no room at all",
    ]
    with pytest.raises(RuntimeError, match=r"None of 2 trials .* no room at all"):
        _ = found.best


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"n_trials": 0}, ValueError, "'n_trials' must be between 1 and 9999, got 0"),
        ({"folds": np.zeros(12, int)}, ValueError, "at least 2 different numbers"),
        ({"method": "bayes"}, ValueError, "Did you mean 'bayesian'"),
        ({"n_initial": 1}, ValueError, "'n_initial' must be at least 2"),
        ({"max_weights": 20}, ValueError, "None of 2,000 architectures .* 20 weights"),
        ({"seed": 1.5}, TypeError, "'seed' must be a whole number"),
    ],
)
def test_unfit_arguments_are_refused_and_leave_no_trial(
    tmp_path, change, error, message
):
    arguments = {"X": X, "y": Y, "folds": FOLDS, "n_trials": 2, "directory": tmp_path}
    with pytest.raises(error, match=message):
        search(**(arguments | change))
    assert not any(tmp_path.iterdir())


# ---- successive halving ----------------------------------------------------------


def test_thresholds_let_a_third_go_on():
    tried = [Trial(i, {}, rungs={10: rmse}) for i, rmse in enumerate([5.0, 3, 4, 1, 2])]
    # Of the first two and a third one, one goes on; of five and a sixth one, two.
    assert trials.thresholds(tried[:1]) == {}
    assert trials.thresholds(tried[:2]) == {10: 3.0}
    assert trials.thresholds(tried) == {10: 2.0}


def test_a_trial_is_stopped_at_a_rung_that_it_does_not_beat():
    rungs = trials.Rungs({10: 0.5, 30: 0.2})
    assert not rungs(10, 0.4)
    assert not rungs(20, 0.3)
    assert rungs(30, 0.25)
    assert rungs.stopped_at == 30
    assert rungs.all() == {10: 0.4, 30: 0.25}


def test_a_trial_that_ends_by_itself_keeps_its_last_rmse_at_later_rungs():
    rungs = trials.Rungs({})
    for epoch, rmse in [(10, 0.4), (20, 0.35), (25, 0.3)]:
        assert not rungs(epoch, rmse)
    assert rungs.all() == {10: 0.4, 30: 0.3, 90: 0.3, 270: 0.3}


def test_halving_spends_fewer_epochs_and_its_best_was_trained_to_the_end(
    tmp_path, monkeypatch
):
    epochs = []

    def training(task, values, rungs):
        rmse = quick_rmse(values)
        for epoch in range(10, 301, 10):
            if rungs(epoch, rmse * (1 + 3 / epoch)):
                break
        epochs.append(epoch)
        return SimpleNamespace(rmse=rmse * (1 + 3 / epoch), best_epoch=np.ones(3))

    monkeypatch.setattr(trials, "_cross_validate", training)
    found = search(X, Y, FOLDS, 20, tmp_path, method="halving")
    status = found.trials["status"]
    assert status.value_counts()["stopped"] > 10
    assert sum(epochs) < 20 * 300 / 2
    assert found.best_trial.status == "completed"
    assert found.trials["cause"][status == "stopped"].str.match("not among the").all()


# ---- real networks and workers ---------------------------------------------------


def real_task(nirsoil):
    """30 samples of NIRsoil at 70 bands."""
    rows = np.flatnonzero(np.isfinite(nirsoil["Ciso"]))[::20][:30]
    spectra = snv(nirsoil["absorbance"][rows][:, ::10])
    return spectra, nirsoil["Ciso"][rows], random_folds(30, 5, 1)


@pytest.mark.parametrize("method", ["bayesian", "bayesian_halving"])
def test_score_of_real_networks_is_that_of_cross_validate(nirsoil, tmp_path, method):
    spectra, carbon, folds = real_task(nirsoil)
    found = search(
        spectra,
        carbon,
        folds,
        4,
        tmp_path,
        method=method,
        n_initial=3,
        max_epochs=20,
        max_weights=30_000,
        seed=3,
    )
    assert set(found.trials["status"]) <= {"completed", "stopped"}
    assert (found.trials["seconds"] > 0).all()
    again = cross_validate(found.best, spectra, carbon, folds, seed=3)
    assert again.rmse == pytest.approx(found.score, rel=1e-6)


def test_importance_finds_what_the_score_depends_on(quick, tmp_path):
    found = search(X, Y, FOLDS, 60, tmp_path, method="random", max_weights=10**6)
    importance = found.importance()
    # Variances: n_fc 0.15 squared x 2 = 0.045, learning rate 0.5 squared x 4/45 =
    # 0.022; the next one, a pooling, 0.2 squared x 2/9 = 0.009.
    assert importance.index[:2].tolist() == ["n_fc", "learning_rate"]
    assert importance["n_fc"] > 5 * importance["fc2_nodes"]
    assert importance.attrs["r2"] > 0.3
    with pytest.raises(ValueError, match="at least 10 trials, got 9"):
        replace(found, tried=found.tried[:9]).importance()


def die_once(flag):
    """Let a worker die of its first trial, if no other has."""

    def training(task, values, rungs):
        if not Path(flag).exists():
            Path(flag).touch()
            os._exit(1)
        return quick_training(task, values, rungs)

    trials._cross_validate = training


def test_two_workers_share_the_trials_and_one_may_die(tmp_path):
    settings = {"distributed.scheduler.allowed-failures": 0}
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        client.run(die_once, str(tmp_path / "flag"))
        found = search(
            X,
            Y,
            FOLDS,
            10,
            tmp_path / "log",
            client=client,
            max_epochs=2,
            max_weights=20_000,
            n_initial=4,
        )
    assert found.trials["number"].tolist() == list(range(1, 11))
    assert found.trials["architecture"].nunique() == 10
    failed = found.trials[found.trials["status"] == "failed"]
    assert failed["cause"].str.match("its worker died, 1 times").all()
    assert len(failed) == 1


def test_the_package_of_the_search_loads_no_tensorflow():
    code = (
        "import sys, soilnb.cnn.tuning; "
        "sys.exit(bool({'tensorflow', 'keras_tuner', 'keras'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_directory_that_another_search_uses_is_refused(quick, tmp_path):
    second = []

    def search_again(*_):
        with pytest.raises(ValueError, match="in use by another search") as refusal:
            search(X, Y, FOLDS, 5, tmp_path)
        second.append(refusal)

    found = search(X, Y, FOLDS, 2, tmp_path, progress=search_again)
    assert len(second) == 2
    assert len(found.tried) == 2
    assert len(search(X, Y, FOLDS, 3, tmp_path).tried) == 3
