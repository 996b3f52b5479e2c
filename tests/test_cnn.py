"""The 1D-CNN: architecture as data, Keras models, folds trained together."""

import gc
import json
import os
import subprocess
import sys
import weakref
from dataclasses import replace

import numpy as np
import pytest

from soilnb.cnn import (
    SMALL,
    Architecture,
    ConvBlock,
    FCBlock,
    FoldModels,
    Scaling,
    build,
    cross_validate,
)
from soilnb.cnn._tensorflow import keras
from soilnb.cnn.architecture import ACTIVATIONS
from soilnb.cnn.stack import FoldStack, epoch_rows, initial_weights
from soilnb.cnn.training import _generator, _make_folds, _make_stack

N_WAVELENGTHS = 31
# Keras converts its own variables in a way that NumPy 2 warns about.
keras_save_warns = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
TINY = Architecture(
    conv=(ConvBlock(4, kernel=7, stride=3),), fc=(FCBlock(6),), learning_rate=0.01
)


def planted(n_samples, seed=0, n_wavelengths=N_WAVELENGTHS):
    """Return smooth spectra and a property that is linear in two of their bands."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, n_wavelengths)).cumsum(axis=1) / 5
    return X, 2.0 + X[:, 20] - X[:, 8] + 0.05 * rng.normal(size=n_samples)


def folds_of_sizes(*sizes, seed=3):
    """Return fold numbers in random order, fold k having sizes[k] samples."""
    folds = np.repeat(np.arange(len(sizes)), sizes)
    return np.random.default_rng(seed).permutation(folds)


def keras_history(architecture, X, y, fold, seed, n_epochs):
    """Validation RMSE of plain Keras `fit`: same weights, same batches."""
    scale = fold.scaling
    Xs = ((X - scale.band_mean) / scale.band_sd).astype(np.float32)
    ys = ((y - scale.y_mean) / scale.y_sd).astype(np.float32)
    model = build(architecture, X.shape[1])
    model.set_weights(
        initial_weights(architecture, X.shape[1], _generator(seed, fold, 1))
    )
    model.compile(
        keras.optimizers.Adam(architecture.learning_rate), "mse", jit_compile=False
    )
    shuffler = _generator(seed, fold, 2)
    history = []
    for _ in range(n_epochs):
        rows = epoch_rows(fold, architecture.batch_size, shuffler).ravel()
        rows = rows[rows >= 0]
        size = architecture.batch_size
        model.fit(Xs[rows], ys[rows], batch_size=size, shuffle=False, verbose=0)
        predicted = np.asarray(model(Xs[fold.held_out]))[:, 0]
        history.append(np.sqrt(np.mean((predicted - ys[fold.held_out]) ** 2)))
    return np.array(history) * scale.y_sd


def assert_agrees_with_keras(architecture, folds, n_epochs=4):
    X, y = planted(len(folds))
    X = X.astype(np.float32).astype(np.float64)
    result = cross_validate(architecture, X, y, folds, seed=5, max_epochs=n_epochs)
    for fold in _make_folds(X.astype(np.float32), y, folds):
        expected = keras_history(architecture, X, y, fold, 5, n_epochs)
        np.testing.assert_allclose(
            result.history[:, fold.position], expected, rtol=1e-4
        )


# ---- architecture ----------------------------------------------------------------


def test_small_has_the_parameters_counted_by_hand():
    # 207 bands, kernel 9, stride 3: (207 - 9) // 3 + 1 = 67 positions.
    # Conv 9*1*32 + 32 = 320; FC 67*32*64 + 64 = 137,280; output 64 + 1 = 65.
    assert SMALL.conv_lengths(207) == [67]
    assert SMALL.n_parameters(207) == 320 + 137_280 + 65
    assert build(SMALL, 207).count_params() == 137_665


def test_published_architecture_has_the_counts_of_211_bands():
    # Shen et al. (2022), Table 2, China. Outputs (211 - 7) // 7 + 1 = 30, then
    # (30 - 8) // 3 + 1 = 8, then (8 - 5) // 4 + 1 = 1; 457,510 weights and biases.
    china = Architecture(
        conv=(ConvBlock(25, 7, 7), ConvBlock(248, 8, 3), ConvBlock(238, 5, 4)),
        fc=(FCBlock(212), FCBlock(140), FCBlock(165), FCBlock(50)),
    )
    assert china.conv_lengths(211) == [30, 8, 1]
    assert china.n_parameters(211) == 457_510


def test_architecture_survives_json():
    original = replace(SMALL, epochs=np.int64(7), patience=3)
    text = json.dumps(original.to_dict())
    assert Architecture.from_dict(json.loads(text)) == original


def test_lists_of_blocks_become_tuples():
    assert Architecture(conv=[ConvBlock(4, 3)], fc=[]).conv == (ConvBlock(4, 3),)


def test_summary_has_one_row_per_layer():
    table = SMALL.summary()
    assert table["block"].tolist() == ["Conv-block 1", "FC-block 1", "Output-block"]
    assert table["filters/nodes"].tolist() == [32, 64, 1]
    assert table["activation"].tolist() == ["Swish", "Swish", "Linear"]
    assert table["dropout"].tolist() == [0.1, 0.2, 0.0]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ConvBlock(0, 9), ValueError, "'filters' must be at least 1, got 0"),
        (lambda: ConvBlock(8, 2.5), TypeError, "'kernel' must be a whole number"),
        (lambda: ConvBlock(8, 9, stride=0), ValueError, "'stride' must be at least 1"),
        (lambda: FCBlock(8, "rely"), ValueError, "Did you mean 'relu'"),
        (lambda: FCBlock(8, dropout=1.0), ValueError, "'dropout' must be at least 0"),
        (lambda: FCBlock(8, dropout="a"), TypeError, "'dropout' must be a number"),
        (lambda: Architecture((), ()), ValueError, "at least one ConvBlock"),
        (lambda: Architecture(ConvBlock(8, 9), ()), TypeError, "tuple of ConvBlock"),
        (lambda: Architecture((FCBlock(8),), ()), TypeError, "only ConvBlock, got FC"),
        (lambda: replace(SMALL, epochs=0), ValueError, "'epochs' must be at least 1"),
        (lambda: replace(SMALL, learning_rate=0), ValueError, "must be above 0, got 0"),
        (
            lambda: Architecture.from_dict({"conv": [{"filter": 8}]}),
            ValueError,
            "ConvBlock has no setting 'filter'. Did you mean 'filters'",
        ),
        (
            lambda: Architecture.from_dict(SMALL.to_dict() | {"batch": 8}),
            ValueError,
            "Architecture has no setting 'batch'",
        ),
    ],
)
def test_wrong_settings_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_kernel_that_does_not_fit_names_its_block():
    deep = Architecture(conv=(ConvBlock(8, 9, stride=4), ConvBlock(8, 6)), fc=())
    message = "Conv-block 2 has a kernel of 6 but only 3 values reach it .of 20"
    for use in (deep.n_parameters, lambda n: build(deep, n)):
        with pytest.raises(ValueError, match=message):
            use(20)


# ---- the Keras model -------------------------------------------------------------


def test_scaling_is_the_training_mean_and_sd_and_leaves_constant_bands():
    X = np.array([[1.0, 5.0], [3.0, 5.0]])
    scaling = Scaling.learn(X, np.array([2.0, 6.0]))
    np.testing.assert_array_equal(scaling.band_mean, [2.0, 5.0])
    np.testing.assert_array_equal(scaling.band_sd, [1.0, 1.0])  # second: constant
    assert (scaling.y_mean, scaling.y_sd) == (4.0, 2.0)


def test_model_with_scaling_is_the_plain_model_on_scaled_data():
    X, y = planted(12)
    scaling = Scaling.learn(X, y)
    plain, scaled = build(TINY, N_WAVELENGTHS), build(TINY, N_WAVELENGTHS, scaling)
    scaled.set_weights(plain.get_weights())
    standard = ((X - scaling.band_mean) / scaling.band_sd).astype(np.float32)
    expected = np.asarray(plain(standard)) * scaling.y_sd + scaling.y_mean
    np.testing.assert_allclose(np.asarray(scaled(X)), expected, rtol=1e-4)


def test_initial_kernels_fill_the_glorot_interval_and_biases_are_zero():
    kernel, bias, dense, *_ = initial_weights(SMALL, 207, np.random.default_rng(0))
    # limit = sqrt(6 / (fan_in + fan_out)): conv 9 + 9*32 = 297, FC 2144 + 64 = 2208.
    for values, fans in ((kernel, 297), (dense, 2208)):
        limit = np.sqrt(6 / fans)
        assert 0.95 * limit < np.abs(values).max() <= limit
    assert not bias.any()


# ---- the same as Keras -----------------------------------------------------------


def test_equal_folds_train_as_plain_keras():
    # 20 training samples a fold: batches of 16 and 4.
    assert_agrees_with_keras(TINY, folds_of_sizes(20, 20))


def test_unequal_folds_straddling_a_full_batch_train_as_plain_keras():
    # n = 42: 30, 31, 32, 33 training samples, so 2, 2, 2 and 3 batches of at most 16.
    assert_agrees_with_keras(TINY, folds_of_sizes(12, 11, 10, 9))


def test_one_sample_in_the_last_batch_beside_full_ones_trains_as_plain_keras():
    # n = 33: 17 training samples in batches of 16 and 1, and 16 in a single one.
    assert_agrees_with_keras(TINY, folds_of_sizes(16, 17))


def test_several_channels_and_other_activations_train_as_plain_keras():
    blocks = (ConvBlock(4, 5, 2, "elu"), ConvBlock(3, 3, 2, "leaky_relu"))
    deep = Architecture(conv=blocks, fc=(FCBlock(5, "selu"), FCBlock(4, "relu")))
    assert_agrees_with_keras(deep, folds_of_sizes(9, 9), n_epochs=3)


def test_many_held_out_rows_are_scored_in_several_batches(monkeypatch):
    X, y = planted(40)
    folds = folds_of_sizes(23, 17)
    whole = cross_validate(TINY, X, y, folds, max_epochs=1)
    monkeypatch.setattr("soilnb.cnn.stack.HELD_OUT_ROWS", 5)
    parts = cross_validate(TINY, X, y, folds, max_epochs=1)
    np.testing.assert_allclose(parts.history, whole.history, rtol=1e-5)


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


def test_a_planted_linear_law_is_learned_better_than_the_mean(learned):
    _, y, _, result, _ = learned
    assert result.rmse < 0.6 * y.std()


def test_each_model_makes_the_error_that_is_reported_for_its_fold(learned):
    X, y, folds, result, _ = learned
    each = result.models.predict_each(X)
    for number in range(3):
        rows = folds == number
        rmse = np.sqrt(np.mean((each[number, rows] - y[rows]) ** 2))
        assert rmse == pytest.approx(result.fold_rmse[number])
        np.testing.assert_allclose(result.out_of_fold[rows], each[number, rows])
    pooled = np.sqrt(np.mean((result.out_of_fold - y) ** 2))
    assert result.rmse == pytest.approx(pooled)


def test_the_best_epoch_is_restored_and_each_fold_stops_by_itself(learned):
    *_, result, _ = learned
    assert len(result.history) < 120
    for number, best in enumerate(result.best_epoch):
        history = result.history[:, number]
        # float32 graph against float32 Keras model: equal to rounding
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
    assert calls[0][2].startswith("epoch 10, held-out RMSE")


def test_prediction_is_the_mean_of_the_models(learned):
    X, *_, result, _ = learned
    each = result.models.predict_each(X)
    assert each.shape == (3, 48)
    np.testing.assert_allclose(result.models.predict(X), each.mean(axis=0))


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


def test_a_fold_that_never_gives_a_number_keeps_its_initial_weights():
    X, y = planted(20)
    wild = replace(TINY, learning_rate=1e38)
    result = cross_validate(wild, X, y, np.arange(20) % 2, max_epochs=2)
    assert result.best_epoch.tolist() == [0, 0]
    assert np.isfinite(result.rmse)


def test_another_seed_gives_other_networks():
    X, y = planted(20)
    one, other = (
        cross_validate(TINY, X, y, np.arange(20) % 2, seed=seed, max_epochs=1)
        for seed in (1, 2)
    )
    assert not np.allclose(one.history, other.history)


def test_dropout_drops_the_stated_share_and_keeps_the_mean():
    X, y = planted(8)
    folds = _make_folds(X, y, np.arange(8) % 2)
    block = ConvBlock(200, kernel=1, activation="relu", dropout=0.3)
    wide = Architecture(conv=(block,), fc=())
    shapes = wide.weight_shapes(N_WAVELENGTHS)
    weights = [np.ones((2, *shape), np.float32) for shape in shapes]
    stack = FoldStack(wide, X, y, folds, weights, np.random.default_rng(0))
    ones = np.ones((2, 16, N_WAVELENGTHS, 200), np.float32)
    values = stack._activate(keras.ops.convert_to_tensor(ones), 0, True).numpy()
    assert (values == 0).mean() == pytest.approx(0.3, abs=0.01)
    assert values.mean() == pytest.approx(1.0, abs=0.01)
    assert values.max() == pytest.approx(1 / 0.7)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_search_of_many_architectures_does_not_fill_the_memory(activation):
    X, y = planted(8)
    folds = _make_folds(X, y, np.arange(8) % 2)
    blocks = (ConvBlock(2, 5, 2, activation, 0.1), ConvBlock(2, 3, 1, activation))
    tiny = Architecture(conv=blocks, fc=(FCBlock(2, activation),))
    stack = _make_stack(tiny, X, y, folds, seed=1)
    graph = weakref.ref(stack._train.graph)
    del stack
    gc.collect()
    assert graph() is None


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"folds": np.zeros(12, int)}, ValueError, "at least 2 different numbers"),
        ({"folds": np.arange(12) / 2}, TypeError, "1D array of whole numbers"),
        ({"folds": np.arange(11)}, ValueError, "'X' has 12 rows but 'folds' has 11"),
        ({"y": np.arange(11.0)}, ValueError, "'X' has 12 rows but 'y' has 11"),
        ({"seed": -1}, ValueError, "'seed' must be at least 0"),
        ({"max_epochs": 0}, ValueError, "'max_epochs' must be at least 1"),
        ({"X": np.ones((12, 5))}, ValueError, "kernel of 7 but only 5 values"),
    ],
)
def test_wrong_samples_are_refused(change, error, message):
    X, y = planted(12)
    samples = {"X": X, "y": y, "folds": np.arange(12) % 3} | change
    with pytest.raises(error, match=message):
        cross_validate(TINY, **samples)


def test_models_refuse_other_spectra_and_empty_folders(learned, tmp_path):
    with pytest.raises(ValueError, match=r"'X' has 5 wavelengths but .* 31"):
        learned[3].models.predict(np.ones((2, 5)))
    with pytest.raises(FileNotFoundError, match=r"No 'fold_01.keras' in"):
        FoldModels.load(tmp_path)
    with pytest.raises(ValueError, match="at least one model"):
        FoldModels([])


# ---- separate processes ----------------------------------------------------------


def run_python(code):
    """Run `code` in a new process; return what it wrote to stdout and stderr."""
    environment = {k: v for k, v in os.environ.items() if "TF_CPP" not in k}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return done.stdout, done.stderr


TRAIN = """
import numpy as np
from soilnb.cnn import SMALL, cross_validate
rng = np.random.default_rng(0)
X = rng.normal(size=(36, 40))
result = cross_validate(SMALL, X, X[:, 3], np.arange(36) % 4, max_epochs=3)
print(result.out_of_fold.tobytes().hex())
"""


def test_two_processes_agree_to_the_last_bit_and_write_nothing_to_stderr():
    first, second = run_python(TRAIN), run_python(TRAIN)
    assert len(first[0]) > 100
    assert first == second
    assert first[1] == ""


def test_tensorflow_is_imported_only_when_needed():
    code = """
import sys
import soilnb
import soilnb.transfer
from soilnb.cnn import SMALL
SMALL.n_parameters(207)
print([name for name in ("tensorflow", "keras") if name in sys.modules])
"""
    assert run_python(code) == ("[]\n", "")


def test_an_unknown_name_is_an_attribute_error():
    import soilnb.cnn

    assert "cross_validate" in dir(soilnb.cnn)
    with pytest.raises(AttributeError, match="no attribute 'train'"):
        _ = soilnb.cnn.train
