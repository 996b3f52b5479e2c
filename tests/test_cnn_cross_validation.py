"""Cross-validation of a 1D-CNN: its scores, models, files, and where it stops."""

from dataclasses import replace

import numpy as np
import pytest
from cnn_helpers import FULL, N_WAVELENGTHS, TINY, folds_of_sizes, planted

from soilnb.cnn import (
    Architecture,
    ConvBlock,
    FCBlock,
    FoldModels,
    Scaling,
    cross_validate,
)
from soilnb.cnn.folds import epoch_rows, make_folds
from soilnb.cnn.training import _Run

# Keras converts its own variables in a way that NumPy 2 warns about.
keras_save_warns = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)


# ---- what cross-validation promises ----------------------------------------------


@pytest.fixture(scope="module")
def learned():
    """A run long enough to learn and to stop early, with data and folds."""
    X, y = planted(48)
    folds = folds_of_sizes(17, 16, 15)
    stopping = replace(TINY, epochs=120, patience=5, learning_rate=0.03)
    calls = []
    result = cross_validate(
        stopping, X, y, folds, progress=lambda *call: calls.append(call)
    )
    return X, y, folds, result, calls


def test_each_model_makes_the_error_that_is_reported_for_its_fold(learned):
    X, y, folds, result, _ = learned
    each = result.models.predict_each(X)
    for number in range(3):
        rows = folds == number
        rmse = np.sqrt(np.mean((each[number, rows] - y[rows]) ** 2))
        # float32 graph against float32 Keras model: equal to rounding
        assert rmse == pytest.approx(result.fold_rmse[number], rel=1e-5)
        predicted = result.out_of_fold[rows]
        np.testing.assert_allclose(predicted, each[number, rows], rtol=1e-5)
    pooled = np.sqrt(np.mean((result.out_of_fold - y) ** 2))
    assert result.rmse == pytest.approx(pooled)
    assert result.rmse < 0.6 * y.std()  # a planted law is learned
    np.testing.assert_allclose(result.models.predict(X), each.mean(axis=0))


def test_the_best_epoch_is_restored_and_each_fold_stops_by_itself(learned):
    *_, result, _ = learned
    assert len(result.history) < 120
    for number, best in enumerate(result.best_epoch):
        history = result.history[:, number]
        assert history[best - 1] == pytest.approx(result.fold_rmse[number], rel=1e-4)
        assert np.nanargmin(history) == best - 1
        assert np.isfinite(history[: best + 5]).all()  # patience 5
        assert np.isnan(history[best + 5 :]).all()
    assert len(result.history) == result.best_epoch.max() + 5
    assert len(set(result.best_epoch)) > 1


def test_progress_counts_up_to_its_total(learned):
    *_, calls = learned
    done = [call[0] for call in calls]
    assert done == sorted(done)
    assert {call[1] for call in calls} == {240}  # 31 or 32, and 33 rows: two groups
    assert done[-1] == 240
    assert calls[0][2].startswith("epoch 10, validation RMSE")


@keras_save_warns
def test_saved_models_predict_the_same(learned, tmp_path):
    X, *_, result, _ = learned
    folder = tmp_path / "new" / "models"
    for _ in range(2):  # the second time replaces the first
        result.models.save(folder)
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["fold_01.keras", "fold_02.keras", "fold_03.keras"]
    assert [path.name for path in folder.parent.iterdir()] == ["models"]
    loaded = FoldModels.load(folder)
    np.testing.assert_array_equal(loaded.predict(X), result.models.predict(X))


@keras_save_warns
def test_saved_models_keep_their_moving_statistics_and_train_on(tmp_path):
    X, y = planted(30)
    folds = np.arange(30) % 3
    result = cross_validate(FULL, X, y, folds, max_epochs=5)
    result.models.save(tmp_path / "models")
    loaded = FoldModels.load(tmp_path / "models")
    each = loaded.predict_each(X)
    np.testing.assert_allclose(
        each[folds, np.arange(30)], result.out_of_fold, rtol=1e-5
    )
    model = loaded.models[0]
    *_, mean, variance = model.get_layer("conv_1_normalisation").get_weights()
    assert mean.all()
    assert (variance != 1).all()
    model.compile("adam", "mse", jit_compile=False)
    before = model.get_layer("fc_2").get_weights()[0]
    model.fit(X, y, epochs=1, verbose=0)
    assert (model.get_layer("fc_2").get_weights()[0] != before).any()
    np.testing.assert_array_equal(model.get_layer("conv_1").get_weights()[1], 0)


def test_saving_never_removes_other_files(learned, tmp_path):
    (tmp_path / "notes.txt").write_text("keep me")
    with pytest.raises(ValueError, match=r"holds 'notes.txt', which is no saved model"):
        learned[3].models.save(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "keep me"


@keras_save_warns
def test_failed_save_leaves_the_old_models(learned, tmp_path, monkeypatch):
    models = learned[3].models
    models.save(tmp_path / "models")
    before = (tmp_path / "models" / "fold_01.keras").read_bytes()

    def fail(path):
        raise OSError(path)

    monkeypatch.setattr(models.models[1], "save", fail)
    with pytest.raises(OSError, match="fold_02"):
        models.save(tmp_path / "models")
    assert (tmp_path / "models" / "fold_01.keras").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["models"]


def test_held_out_spectra_do_not_touch_their_own_fold():
    X, y = planted(24)
    folds = np.arange(24) % 2
    wild = X.copy()
    wild[0] += 1000.0  # row 0 is held out in fold 0 and trains fold 1
    dropping = replace(TINY, fc=(FCBlock(6, dropout=0.2),), patience=100)
    calm, upset = (
        cross_validate(dropping, spectra, y, folds, max_epochs=1)
        for spectra in (X, wild)
    )
    for one, other in zip(
        calm.models.models[0].get_weights(),
        upset.models.models[0].get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    same = calm.models.models[0].get_layer("scale_bands").get_config()["mean"]
    assert upset.models.models[0].get_layer("scale_bands").get_config()["mean"] == same
    assert upset.history[0, 1] != calm.history[0, 1]


def test_a_constant_band_does_no_harm():
    X, y = planted(20)
    X[:, 3] = 0.7
    X[0, 3] = 0.8  # constant only where row 0 is held out
    result = cross_validate(TINY, X, y, np.arange(20) % 4, max_epochs=2)
    assert np.isfinite(result.out_of_fold).all()
    assert np.abs(result.out_of_fold).max() < 20


def test_a_saved_result_loads_as_it_was(tmp_path):
    X, y = planted(20)
    result = cross_validate(FULL, X, y, np.arange(20) % 3, max_epochs=3)
    result.save(tmp_path / "network.npz")
    again = type(result).load(tmp_path / "network.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["network.npz"]
    assert again.architecture == result.architecture
    np.testing.assert_array_equal(again.predict(X), result.predict(X))
    np.testing.assert_array_equal(again.history, result.history)
    for name in ("rmse", "seconds", "n_wavelengths"):
        assert getattr(again, name) == getattr(result, name)
    for one, other in zip(again.trained, result.trained, strict=True):
        np.testing.assert_array_equal(one.fold.train, other.fold.train)
        np.testing.assert_array_equal(one.predicted, other.predicted)
        assert one.fold.scaling.y_sd == other.fold.scaling.y_sd


def test_one_fold_that_diverges_leaves_the_others_alone():
    X, y = planted(30)
    parts = make_folds(X, y, np.arange(30) % 3)
    calm, upset = (
        _Run(
            FULL, N_WAVELENGTHS, X.astype(np.float32), y, None, 1, 4, None, None
        )._make_stack(parts)
        for _ in range(2)
    )
    kernel = upset.weights[0].numpy()
    kernel[1] = np.nan
    upset.weights[0].assign(kernel)
    rows = np.array(
        [[epoch_rows(part, 16, np.random.default_rng(0)) for part in parts]] * 3
    ).transpose(0, 2, 1, 3)
    expected, got = calm.train(rows), upset.train(rows)
    np.testing.assert_array_equal(got[:, [0, 2]], expected[:, [0, 2]])
    assert np.isnan(got[:, 1]).all()
    left = upset.take_out(np.full(3, True), [part.held_out for part in parts])
    assert [one.diverged for one in left] == [False, True, False]
    for one, other in zip(upset.best_weights, calm.best_weights, strict=True):
        np.testing.assert_array_equal(one.numpy()[[0, 2]], other.numpy()[[0, 2]])


def test_a_fold_that_never_gives_a_number_keeps_its_initial_weights():
    X, y = planted(20)
    wild = replace(TINY, learning_rate=1e38)
    result = cross_validate(wild, X, y, np.arange(20) % 2, max_epochs=20)
    assert result.best_epoch.tolist() == [0, 0]
    assert result.diverged.tolist() == [True, True]
    assert len(result.history) == 10  # ended at the first look, not at the last epoch
    assert np.isfinite(result.rmse)


def test_prune_ends_a_candidate_where_it_was_asked():
    X, y = planted(42)
    folds = folds_of_sizes(12, 11, 10, 9)  # two groups: the first decides
    asked = []

    def prune(epoch, rmse):
        asked.append((epoch, rmse))
        return epoch == 20

    patient = replace(TINY, patience=100)
    result = cross_validate(patient, X, y, folds, max_epochs=60, prune=prune)
    short = cross_validate(patient, X, y, folds, max_epochs=20)
    np.testing.assert_array_equal(result.history, short.history)
    np.testing.assert_array_equal(result.out_of_fold, short.out_of_fold)
    assert [epoch for epoch, _ in asked] == [10, 20]
    lowest = short.history[:, :3].min(axis=0).mean()  # 30, 31, 32 rows: 2 batches
    assert asked[-1][1] == pytest.approx(lowest)


# ---- which rows stop the training ------------------------------------------------


def test_inner_stopping_never_looks_at_the_held_out_rows():
    X, y = planted(40)
    folds = np.arange(40) % 4
    other = y.copy()
    other[folds == 0] = 100.0
    runs = [
        cross_validate(TINY, X, values, folds, max_epochs=15, stopping="inner")
        for values in (y, other)
    ]
    first, second = (run.trained[0] for run in runs)
    np.testing.assert_array_equal(first.history, second.history)
    np.testing.assert_array_equal(first.predicted, second.predicted)
    assert runs[0].fold_rmse[0] < 10 < runs[1].fold_rmse[0]


def test_inner_rows_are_a_fifth_of_the_training_rows_and_train_nothing():
    X, y = planted(40)
    for fold in make_folds(X, y, np.arange(40) % 4, stopping="inner"):
        assert (len(fold.train), len(fold.watched), len(fold.held_out)) == (24, 6, 10)
        parts = (fold.train, fold.watched, fold.held_out)
        np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(40))
        expected = Scaling.learn(X[fold.train], y[fold.train])
        assert fold.scaling.y_mean == expected.y_mean


def test_choosing_the_epoch_by_the_scored_rows_is_optimistic():
    """On noise nothing can be learned, and still the chosen epoch looks better."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 12)), rng.normal(size=60)
    folds = np.arange(60) % 10
    quick = Architecture((ConvBlock(4, 3),), (), learning_rate=0.03, epochs=40)
    paper, clean = (
        cross_validate(quick, X, y, folds, stopping=stopping).rmse
        for stopping in ("validation", "inner")
    )
    assert paper < y.std() < clean
