"""A search for an architecture as a whole: log, failures, halving, workers."""

import json
import os
import signal
import textwrap
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import dask
import numpy as np
import pytest
from command_helpers import python
from dask.distributed import Client, LocalCluster
from search_helpers import FOLDS, X, Y, path, quick_rmse, quick_training

from soilnb.cnn import SMALL, cross_validate
from soilnb.cnn.memory import NetworkTooBigError
from soilnb.cnn.tuning import SearchResult, Trial, initial_trials, search, trials
from soilnb.cnn.tuning.log import TrialLog, digest
from soilnb.cnn.tuning.space import Space
from soilnb.preprocessing import snv
from soilnb.selection import random_folds

# ---- log -------------------------------------------------------------------------


def test_search_continues_where_it_ended_on_the_path_of_an_unbroken_one(
    quick, tmp_path
):
    how = {"n_initial": 10}
    search(X, Y, FOLDS, 4, tmp_path / "broken", **how)
    search(X, Y, FOLDS, 13, tmp_path / "broken", **how)
    continued = search(X, Y, FOLDS, 15, tmp_path / "broken")
    assert path(continued) == path(search(X, Y, FOLDS, 15, tmp_path / "whole", **how))


def test_half_of_the_trials_come_before_the_first_guided_one(quick, tmp_path):
    assert [initial_trials(n) for n in (1, 8, 20, 200)] == [2, 4, 10, 10]
    found = search(X, Y, FOLDS, 8, tmp_path / "a")
    assert path(found) == path(search(X, Y, FOLDS, 8, tmp_path / "b", n_initial=4))


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
    from soilnb.cnn.tuning import oracle, search, trials

    def slow(*args):
        time.sleep(0.03)
        return test_search.quick_training(*args)

    trials._cross_validate, oracle.ROUNDS = slow, 5
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
    done = python(script)
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
    leftover = tmp_path / ".trial_0003.json.4711"
    leftover.write_text('{"number": 3, "val')
    found = search(X, Y, FOLDS, 3, tmp_path)
    assert not leftover.exists()
    assert len(found.tried) == 3
    # Trials are read as they were written, and arrays of other shapes told apart.
    log = TrialLog(tmp_path)
    trial = Trial(4, {"a": 1}, "stopped", 0.1 + 0.2, "why", 1.5, {10: 0.4, 30: 0.3})
    log.write(trial)
    assert log.read()[-1] == trial
    assert digest([np.zeros(2)]) == digest([np.zeros(2)]) != digest([np.zeros(3)])


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


def test_failed_trials_are_logged_and_the_search_goes_on(quick, tmp_path, monkeypatch):
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


def test_a_search_without_any_success_says_why(quick, tmp_path, monkeypatch):
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


# ---- what is taken ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "taken"),
    [
        ([0.30, 0.40, 0.271], 1),  # 0.271 is above 0.9 x 0.30 = 0.27: the first stays
        ([0.30, 0.40, 0.269], 3),
        ([0.30, 0.25, 0.20], 3),  # two are clearly better: the best of them
        ([0.20, 0.25, 0.30], 1),  # the first is the best
        ([None, 0.50, 0.40], 3),  # the first could not be trained
        ([0.30, None, None], 1),
    ],
)
def test_the_first_architecture_stays_unless_another_is_better_by_a_tenth(
    scores, taken
):
    space = Space(60, max_weights=200_000)
    rng = np.random.default_rng(1)
    tried = [
        Trial(
            number, space.draw(rng), "failed" if score is None else "completed", score
        )
        for number, score in enumerate(scores, 1)
    ]
    found = SearchResult(tuple(tried), space)
    assert found.taken_trial.number == taken
    assert found.taken == found.architecture(tried[taken - 1])


def test_a_first_trial_that_was_stopped_early_gives_way(quick):
    space = Space(60)
    values = space.draw(np.random.default_rng(1))
    tried = (Trial(1, values, "stopped", 0.2), Trial(2, values, "completed", 0.3))
    assert SearchResult(tried, space).taken_trial.number == 2


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
    # One that ends by itself keeps its last RMSE at later rungs.
    rungs = trials.Rungs({})
    for epoch, rmse in [(10, 0.4), (20, 0.35), (25, 0.3)]:
        assert not rungs(epoch, rmse)
    assert rungs.all() == {10: 0.4, 30: 0.3, 90: 0.3, 270: 0.3}


def test_halving_spends_fewer_epochs_and_its_best_was_trained_to_the_end(
    quick, tmp_path, monkeypatch
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
    settings = {"n_initial": 2, "max_epochs": 20, "max_weights": 30_000, "seed": 3}
    found = search(spectra, carbon, folds, 3, tmp_path, method=method, **settings)
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
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster) as client,
    ):
        client.run(die_once, str(tmp_path / "flag"))
        settings = {"max_epochs": 2, "max_weights": 20_000, "n_initial": 4}
        found = search(X, Y, FOLDS, 10, tmp_path / "log", client=client, **settings)
    assert found.trials["number"].tolist() == list(range(1, 11))
    assert found.trials["architecture"].nunique() == 10
    failed = found.trials[found.trials["status"] == "failed"]
    assert failed["cause"].str.match("its worker died, 1 times").all()
    assert len(failed) == 1


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
