"""Deep transfer learning of instances, of representations and of both.

What one cut of a network does is tested in test_transfer_representations.py.
"""

from dataclasses import replace

import numpy as np
import pytest

from soilnb.cnn import (
    Architecture,
    ConvBlock,
    FCBlock,
    FoldModels,
    build,
    cross_validate,
)
from soilnb.cnn.training import collect_result
from soilnb.transfer import choose_base, dtl_i, dtl_ir, dtl_r

N_WAVELENGTHS = 21
TINY = Architecture(conv=(ConvBlock(3, kernel=5, stride=2),), fc=(FCBlock(4),))
QUICK = replace(TINY, learning_rate=0.02)


# Keras converts its own variables in a way that NumPy 2 warns about.
keras_save_warns = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)


# ---- instances -------------------------------------------------------------------


def test_dtl_i_is_the_cross_validation_of_the_pooled_rows():
    X = np.random.default_rng(0).normal(size=(16, 21))
    samples, calls = (X, X[:, 4] + 2.0, np.arange(16) % 4), []
    how = {"seed": 7, "max_epochs": 2}
    result = dtl_i(TINY, *samples, progress=lambda *call: calls.append(call), **how)
    expected = cross_validate(TINY, *samples, **how)
    np.testing.assert_array_equal(result.history, expected.history)
    np.testing.assert_array_equal(result.out_of_fold, expected.out_of_fold)
    assert [call[:2] for call in calls] == [(2, 2)]
    with pytest.raises(ValueError, match="'X' has 16 rows but 'folds' has 6"):
        dtl_i(TINY, X, samples[1], np.arange(6))


# ---- the base --------------------------------------------------------------------


def constant(value):
    """Return a network that predicts one value, whatever the spectrum."""
    model = build(TINY, N_WAVELENGTHS)
    weights = [np.zeros_like(weight) for weight in model.get_weights()]
    weights[-1][:] = value
    model.set_weights(weights)
    return model


def test_the_base_is_the_fold_model_of_lowest_rmse():
    # Measured 1 and 3. Errors of 0: -1, -3; of 2: 1, -1; of 5: 4, 2.
    models = FoldModels([constant(value) for value in (0.0, 2.0, 5.0)])
    base, rmse = choose_base(models, np.ones((2, N_WAVELENGTHS)), [1.0, 3.0])
    assert base == 1
    np.testing.assert_allclose(rmse, np.sqrt([5.0, 1.0, 10.0]))
    # Of equally good ones the first.
    models = FoldModels([constant(value) for value in (7.0, 3.0, 1.0)])
    assert choose_base(models, np.ones((2, N_WAVELENGTHS)), [1.0, 3.0])[0] == 1


# ---- representations -------------------------------------------------------------


def planted(n_samples, seed, mean):
    """Return spectra and a property that is linear in two of their bands."""
    X = np.random.default_rng(seed).normal(size=(n_samples, N_WAVELENGTHS))
    return X, mean + 5 * (X[:, 4] - X[:, 9])


@pytest.fixture(scope="module")
def library():
    """Two networks of a library whose property is 20 on average."""
    X, y = planted(60, seed=1, mean=20.0)
    result = cross_validate(QUICK, X, y, np.arange(60) % 2, max_epochs=40)
    return result.models


@pytest.fixture(scope="module")
def local():
    """Thirty local samples, 26 on average, in folds of any numbers."""
    X, y = planted(30, seed=2, mean=26.0)
    return X, y, np.random.default_rng(3).permutation(np.arange(30) % 3) * 7 + 3


@pytest.fixture(scope="module")
def retrained(library, local):
    """The library retrained on the local samples, and the calls of its progress."""
    X, y, folds = local
    calls = []
    result = dtl_r(
        QUICK,
        library,
        X,
        y,
        folds=folds,
        seed=7,
        max_epochs=12,
        progress=lambda *call: calls.append(call),
    )
    return result, calls


def test_every_depth_is_a_row_and_the_lowest_rmse_wins(retrained):
    result, _ = retrained
    depths = result.depths
    assert depths["n_frozen"].tolist() == [0, 1, 2, 3]
    names = ["nothing", "Conv-block", "FC-block", "Output-block"]
    assert depths["frozen"].tolist() == names
    # Conv 5 * 3 + 3 = 18; 9 positions * 3 filters, so FC 27 * 4 + 4 = 112; output 5.
    assert depths["n_trained"].tolist() == [135, 117, 5, 0]
    assert result.rmse == depths["rmse"].min() == depths["rmse"][result.n_frozen]


def test_the_base_does_best_on_the_local_samples_and_is_the_reference(
    retrained, library, local
):
    result, _ = retrained
    X, y, _ = local
    rmse = [
        np.sqrt(np.mean((FoldModels([model]).predict(X) - y) ** 2))
        for model in library.models
    ]
    np.testing.assert_allclose(result.base_rmse, rmse)
    assert result.base == np.argmin(rmse)
    assert result.depths["rmse"].iloc[-1] == pytest.approx(min(rmse))


def test_retraining_moves_predictions_to_the_site(retrained, local):
    result, _ = retrained
    X, y, _ = local
    assert result.rmse < result.base_rmse.min()
    assert abs(result.predict(X).mean() - y.mean()) < abs(20.0 - y.mean())
    each = result.models.predict_each(X)
    np.testing.assert_allclose(result.predict(X), each.mean(axis=0))


def test_the_folds_are_those_given(retrained, local):
    result, _ = retrained
    X, y, folds = local
    each = result.models.predict_each(X)
    for position, number in enumerate((3, 10, 17)):
        rows, fold = np.flatnonzero(folds == number), result.result.trained[position]
        np.testing.assert_array_equal(fold.fold.held_out, rows)
        predicted = result.result.out_of_fold[rows]
        np.testing.assert_allclose(predicted, each[position, rows], rtol=1e-5)
    errors = result.result.out_of_fold - y
    assert result.rmse == pytest.approx(np.sqrt(np.mean(errors**2)))
    assert result.history.shape == (12, 3)


def test_the_scaling_of_the_base_travels_with_it(retrained, library):
    result, _ = retrained
    base = library.models[result.base]
    for model in result.models.models:
        old, new = (one.get_layer("scale_bands") for one in (base, model))
        np.testing.assert_array_equal(new.mean, old.mean)
        np.testing.assert_array_equal(new.variance, old.variance)
        old, new = (one.get_layer("unscale_y") for one in (base, model))
        assert (new.offset, new.scale) == (old.offset, old.scale)
    assert old.offset == pytest.approx(20.0, abs=2.0)  # not the site's 26


def test_progress_counts_up_over_all_depths(retrained):
    _, calls = retrained
    # 20 training rows in each fold: one group, 12 epochs a depth, told after 10 and 12.
    assert [call[:2] for call in calls] == [
        (done, 36) for done in (10, 12, 22, 24, 34, 36)
    ]


@keras_save_warns
def test_seed_and_saved_models_decide_everything(retrained, library, local, tmp_path):
    result, _ = retrained
    X, y, folds = local
    library.save(tmp_path / "library")
    loaded = FoldModels.load(tmp_path / "library")
    again = dtl_r(QUICK, loaded, X, y, folds=folds, seed=7, max_epochs=12)
    np.testing.assert_array_equal(again.result.out_of_fold, result.result.out_of_fold)
    np.testing.assert_array_equal(again.depths["rmse"], result.depths["rmse"])
    np.testing.assert_array_equal(again.predict(X), result.predict(X))
    other = dtl_r(QUICK, loaded, X, y, folds=folds, seed=8, max_epochs=12)
    assert (other.depths["rmse"][:3] != again.depths["rmse"][:3]).all()


def test_a_base_that_needs_no_retraining_is_still_only_the_reference(library, local):
    X, _, folds = local
    y = library.predict_each(X)[1]  # the second model makes no error at all
    wild = replace(QUICK, learning_rate=0.3)
    result = dtl_r(wild, library, X, y, folds=folds, max_epochs=1)
    assert result.base == 1
    assert result.depths["rmse"].iloc[-1] < 1e-5 < result.depths["rmse"].iloc[:-1].min()
    assert result.n_frozen < 3


@pytest.mark.parametrize(
    ("rmse", "chosen"),
    [([np.nan, 2.0, 1.0], 2), ([2.0, np.nan, 3.0], 0), ([np.nan] * 3, 0)],
)
def test_a_depth_without_an_rmse_never_wins(monkeypatch, library, local, rmse, chosen):
    X, y, folds = local
    given = iter(rmse)

    def collect(*args):
        return replace(collect_result(*args), rmse=next(given))

    monkeypatch.setattr("soilnb.cnn.training.collect_result", collect)
    result = dtl_r(QUICK, library, X, y, folds=folds, max_epochs=1)
    assert result.n_frozen == chosen
    np.testing.assert_equal(result.rmse, rmse[chosen])


def test_inner_stopping_watches_no_held_out_row(library, local):
    X, y, folds = local
    result = dtl_r(
        QUICK, library, X, y, folds=folds, max_epochs=1, stopping="inner"
    ).result
    for one in result.trained:
        rows = (one.fold.train, one.fold.watched, one.fold.held_out)
        np.testing.assert_array_equal(np.sort(np.concatenate(rows)), np.arange(30))


# ---- both ------------------------------------------------------------------------


def test_selected_rows_train_but_do_not_choose_the_base(library, local):
    X_local, y_local, _ = local
    base, rmse = choose_base(library, X_local, y_local)
    # Absurd instances that the other model predicts without error.
    X_selected = 50 * planted(16, seed=4, mean=0.0)[0]
    y_selected = library.predict_each(X_selected)[1 - base]
    X, y = np.vstack([X_selected, X_local]), np.concatenate([y_selected, y_local])
    assert choose_base(library, X, y)[0] == 1 - base

    folds = np.arange(46) % 4
    both = dtl_ir(QUICK, library, X, y, folds, n_local=30, max_epochs=2)
    assert both.base == base
    np.testing.assert_array_equal(both.base_rmse, rmse)

    alone = FoldModels([library.models[base]])
    expected = dtl_r(QUICK, alone, X, y, folds, max_epochs=2)
    np.testing.assert_array_equal(both.result.out_of_fold, expected.result.out_of_fold)
    np.testing.assert_array_equal(both.depths["rmse"], expected.depths["rmse"])


# ---- refusals --------------------------------------------------------------------


def spoiled(values):
    """Return a copy whose third row is missing."""
    values = values.copy()
    values[2] = np.nan
    return values


LONGER = replace(QUICK, conv=(ConvBlock(3, kernel=6, stride=2),))
SMOOTH = replace(QUICK, fc=(FCBlock(4, "elu"),))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"architecture": LONGER}, ValueError, "are not of 'architecture': their la"),
        ({"architecture": SMOOTH}, ValueError, "are not of 'architecture': their la"),
        ({"X": lambda X: X[:, 1:]}, ValueError, "20 wavelengths but .* trained on 21"),
        ({"X": spoiled}, ValueError, "'X_local' has 21 missing .*first at row 2"),
        ({"y": spoiled}, ValueError, "'y_local' has 1 missing .*first at row 2"),
        ({"y": lambda y: y[1:]}, ValueError, "30 rows but 'y_local' has 29"),
        ({"folds": np.arange(29) % 3}, ValueError, "30 rows but 'folds' has 29"),
    ],
)
def test_wrong_samples_are_refused(library, local, change, error, message):
    X, y, folds = local
    change = dict(change)
    architecture = change.pop("architecture", QUICK)
    X, y = change.pop("X", np.array)(X), change.pop("y", np.array)(y)
    with pytest.raises(error, match=message):
        dtl_r(architecture, library, X, y, **{"folds": folds} | change)
    for n_local in (0, 31):
        with pytest.raises(ValueError, match=r"between 1 and 30 .rows of 'X'., got"):
            dtl_ir(QUICK, library, *local, n_local=n_local)
