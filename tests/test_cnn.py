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
    PUBLISHED,
    SMALL,
    Architecture,
    ConvBlock,
    FCBlock,
    FoldModels,
    NetworkTooBigError,
    Scaling,
    build,
    check_fit,
    cross_validate,
    feasible,
    layer_shapes,
    memory,
    n_weights,
)
from soilnb.cnn._tensorflow import keras, tf
from soilnb.cnn.architecture import ACTIVATIONS, OPTIMISERS
from soilnb.cnn.folds import (
    INITIAL,
    SHUFFLE,
    epoch_rows,
    generator,
    initial_weights,
    make_folds,
)
from soilnb.cnn.layers import drop
from soilnb.cnn.training import _Run

N_WAVELENGTHS = 31
# Keras converts its own variables in a way that NumPy 2 warns about.
keras_save_warns = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
TINY = Architecture(
    conv=(ConvBlock(4, kernel=7, stride=3),), fc=(FCBlock(6),), learning_rate=0.01
)
# Every layer there is, but dropout.
FULL = Architecture(
    conv=(
        ConvBlock(6, 7, 2, batch_normalisation=True, pooling="max"),
        ConvBlock(
            5,
            4,
            2,
            padding="same",
            activation="elu",
            pooling="average",
            pool_size=3,
            pool_stride=1,
        ),
    ),
    fc=(FCBlock(6, "selu", batch_normalisation=True), FCBlock(5, "leaky_relu")),
    learning_rate=0.003,
)


def planted(n_samples, seed=0, n_wavelengths=N_WAVELENGTHS):
    """Return smooth spectra and a property that is linear in two of their bands."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, n_wavelengths)).cumsum(axis=1) / 5
    X = X.astype(np.float32).astype(np.float64)
    return X, 2.0 + X[:, 20] - X[:, 8] + 0.05 * rng.normal(size=n_samples)


def folds_of_sizes(*sizes, seed=3):
    """Return fold numbers in random order, fold k having sizes[k] samples."""
    folds = np.repeat(np.arange(len(sizes)), sizes)
    return np.random.default_rng(seed).permutation(folds)


def keras_rule(architecture, model):
    """Compile a model with Keras's own optimiser; return what resets both."""
    rule = {
        "class_name": architecture.optimiser,
        "config": {"learning_rate": architecture.learning_rate},
    }
    optimiser = keras.optimizers.get(rule)
    model.compile(optimiser, "mse", jit_compile=False)
    optimiser.build(model.trainable_variables)
    fresh = [variable.numpy() for variable in optimiser.variables]

    def reset(weights):
        model.set_weights(list(weights))
        for variable, values in zip(optimiser.variables, fresh, strict=True):
            variable.assign(values)

    return reset


def train_in_keras(
    architecture, model, reset, Xs, ys, fold, seed, n_epochs, use_fit=False
):
    """Watched RMSE of plain Keras after each epoch: same weights, same batches."""
    size = architecture.batch_size
    rng = generator(seed, fold.position, INITIAL)
    reset(initial_weights(architecture, Xs.shape[1], rng))
    shuffler = generator(seed, fold.position, SHUFFLE)
    history = []
    for _ in range(n_epochs):
        rows = epoch_rows(fold, size, shuffler).ravel()
        rows = rows[rows >= 0]
        if use_fit:
            model.fit(Xs[rows], ys[rows], batch_size=size, shuffle=False, verbose=0)
        else:
            for start in range(0, len(rows), size):
                batch = rows[start : start + size]
                model.train_on_batch(Xs[batch], ys[batch])
        predicted = np.asarray(model(Xs[fold.watched]))[:, 0]
        history.append(np.sqrt(np.mean((predicted - ys[fold.watched]) ** 2)))
    return np.array(history)


def keras_histories(architecture, X, y, folds, seed, n_epochs, dtype, use_fit):
    """Histories of `train_in_keras` by fold position, in the unit of y."""
    model = build(architecture, X.shape[1], dtype=dtype)
    reset = keras_rule(architecture, model)
    histories = {}
    for fold in folds:
        scale = fold.scaling
        Xs = ((X - scale.band_mean) / scale.band_sd).astype(dtype)
        ys = ((y - scale.y_mean) / scale.y_sd).astype(dtype)
        history = train_in_keras(
            architecture, model, reset, Xs, ys, fold, seed, n_epochs, use_fit
        )
        histories[fold.position] = history * scale.y_sd
    return histories


def assert_agrees_with_keras(
    architecture, folds, n_epochs=10, dtype="float32", which=None, use_fit=False
):
    """Compare the RMSE after every epoch: 1e-4 in float32, 1e-6 in float64."""
    tolerance = 1e-4 if dtype == "float32" else 1e-6
    if architecture.optimiser == "nadam":
        tolerance = 1e-4  # Keras rounds its constants to float32, in float64 too
    X, y = planted(len(folds))
    before = keras.config.floatx()
    keras.config.set_floatx(dtype)  # the precision of the optimiser's own numbers
    try:
        result = cross_validate(
            replace(architecture, patience=n_epochs),
            X,
            y,
            folds,
            seed=5,
            max_epochs=n_epochs,
            dtype=dtype,
        )
        parts = make_folds(X.astype(dtype), y, folds)[slice(None, None, which)]
        histories = keras_histories(
            architecture, X, y, parts, 5, n_epochs, dtype, use_fit
        )
    finally:
        keras.config.set_floatx(before)
    for position, expected in histories.items():
        np.testing.assert_allclose(
            result.history[:, position], expected, rtol=tolerance
        )


# ---- architecture ----------------------------------------------------------------


def test_small_has_the_weights_counted_by_hand():
    # 207 bands, kernel 9, stride 3: (207 - 9) // 3 + 1 = 67 positions.
    # Conv 9*1*32 + 32 = 320; FC 67*32*64 + 64 = 137,280; output 64 + 1 = 65.
    assert layer_shapes(SMALL, 207)[0].output == (67, 32)
    assert n_weights(SMALL, 207) == 320 + 137_280 + 65
    assert build(SMALL, 207).count_params() == 137_665


# Outputs of the convolutions, inputs of the first FC-block, weights, trainable ones.
PUBLISHED_SIZES = {
    "global": ([(51, 148)], 7548, 7_224_624, 7_220_248),
    "china": ([(30, 25), (8, 248), (1, 238)], 238, 457_510, 457_510),
    "sweden": ([(69, 161)], 11109, 10_386_659, 10_383_919),
    "usa": ([(30, 216), (4, 216), (1, 252)], 252, 686_876, 685_582),
    "dtl_i_china": ([(105, 232)], 24360, 536_893, 536_893),
    "dtl_i_sweden": ([(36, 214)], 7704, 3_533_753, 3_532_861),
    "dtl_i_usa": ([(71, 212)], 15052, 16_152_067, 16_152_067),
}


def test_there_are_seven_published_architectures():
    assert set(PUBLISHED) == set(PUBLISHED_SIZES)


@pytest.mark.parametrize("name", PUBLISHED_SIZES)
def test_published_architecture_has_the_counts_of_211_bands(name):
    convolutions, flat, total, trainable = PUBLISHED_SIZES[name]
    shapes = layer_shapes(PUBLISHED[name], 211)
    outputs = {"Convolutional": [], "Flatten": []}
    for shape in shapes:
        outputs.setdefault(shape.layer, []).append(shape.output)
    assert outputs["Convolutional"] == convolutions
    assert outputs["Flatten"] == [(flat,)]
    assert n_weights(PUBLISHED[name], 211) == total
    assert n_weights(PUBLISHED[name], 211, trainable_only=True) == trainable
    model = build(PUBLISHED[name], 211)
    assert model.count_params() == total
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == trainable
    weights = [shape for layer in shapes for shape in layer.weights]
    assert [tuple(w.shape) for w in model.weights] == weights


@pytest.mark.parametrize("n_wavelengths", [27, 31, 64, 65])
def test_lengths_are_those_that_keras_finds(n_wavelengths):
    # FULL has both paddings and both poolings.
    model = build(FULL, n_wavelengths)
    names = ("conv_1", "conv_1_pooling", "conv_2", "conv_2_pooling", "flatten")
    kinds = {"Convolutional", "Max pooling", "Average pooling", "Flatten"}
    ours = [
        shape.output
        for shape in layer_shapes(FULL, n_wavelengths)
        if shape.layer in kinds
    ]
    assert ours == [model.get_layer(name).output.shape[1:] for name in names]


def test_architecture_survives_json():
    original = replace(FULL, epochs=np.int64(7), patience=3, optimiser="nadam")
    text = json.dumps(original.to_dict())
    assert Architecture.from_dict(json.loads(text)) == original


def test_lists_of_blocks_become_tuples():
    assert Architecture(conv=[ConvBlock(4, 3)], fc=[]).conv == (ConvBlock(4, 3),)


def test_summary_prints_as_table_4_of_the_paper():
    table = PUBLISHED["dtl_i_sweden"].summary()
    rows = [
        "Conv-block|Convolutional|10 × 1|214|Same|6 × 1|SELU",
        "|Dropout (0.2)|–|–|–|–|–",
        "–|Flatten|–|–|–|–|–",
        "FC-block 1|Fully-connected|–|446|–|–|LeakyReLU",
        "|Batch normalisation|–|–|–|–|–",
        "FC-block 2|Fully-connected|–|208|–|–|Swish",
        "|Dropout (0.48)|–|–|–|–|–",
        "Output-block|Fully-connected|–|1|–|–|Linear",
    ]
    assert ["|".join(map(str, row)) for row in table.to_numpy()] == rows
    assert list(table)[:4] == ["block", "layer", "kernel/pool size", "filters/nodes"]


def test_summary_shows_pooling_after_the_convolution():
    table = FULL.summary()
    pooling = table[table["layer"] == "Average pooling"].to_numpy().tolist()
    assert pooling == [["", "Average pooling", "3 × 1", "–", "Valid", "1 × 1", "–"]]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ConvBlock(0, 9), ValueError, "'filters' must be at least 1, got 0"),
        (lambda: ConvBlock(8, 2.5), TypeError, "'kernel' must be a whole number"),
        (lambda: ConvBlock(8, 9, stride=0), ValueError, "'stride' must be at least 1"),
        (lambda: ConvBlock(8, 9, padding="full"), ValueError, "Unknown padding 'full'"),
        (lambda: ConvBlock(8, 9, pooling="mean"), ValueError, "Unknown pooling 'mean'"),
        (lambda: ConvBlock(8, 9, pool_size=0), ValueError, "'pool_size' must be at"),
        (
            lambda: FCBlock(8, batch_normalisation="no"),
            TypeError,
            "'batch_normalisation' must be True or False, got 'no'",
        ),
        (lambda: FCBlock(8, "rely"), ValueError, "Did you mean 'relu'"),
        (lambda: FCBlock(8, dropout=1.0), ValueError, "'dropout' must be at least 0"),
        (lambda: FCBlock(8, dropout="a"), TypeError, "'dropout' must be a number"),
        (lambda: Architecture((), ()), ValueError, "at least one ConvBlock"),
        (lambda: Architecture(ConvBlock(8, 9), ()), TypeError, "tuple of ConvBlock"),
        (lambda: Architecture((FCBlock(8),), ()), TypeError, "only ConvBlock, got FC"),
        (lambda: replace(SMALL, epochs=0), ValueError, "'epochs' must be at least 1"),
        (lambda: replace(SMALL, optimiser="adm"), ValueError, "Did you mean 'adam'"),
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
    for use in (n_weights, check_fit, build):
        with pytest.raises(ValueError, match=message):
            use(deep, 20)
    assert [feasible(deep, n) for n in (20, 28, 29)] == [False, False, True]


def test_a_pool_that_does_not_fit_names_its_block():
    pooled = Architecture(conv=(ConvBlock(8, 9, pooling="max", pool_size=4),), fc=())
    message = "Conv-block has max pooling over 4 but only 3 values reach it .of 11"
    with pytest.raises(ValueError, match=message):
        check_fit(pooled, 11)
    check_fit(pooled, 12)


def test_padding_lets_any_kernel_fit():
    padded = Architecture(conv=(ConvBlock(2, 9, 2, padding="same"),), fc=())
    assert layer_shapes(padded, 3)[0].output == (2, 2)  # ceil(3 / 2)
    assert build(padded, 3).get_layer("conv_1").output.shape == (None, 2, 2)


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


def test_initial_weights_but_kernels_are_those_of_keras():
    drawn = list(initial_weights(FULL, N_WAVELENGTHS, np.random.default_rng(0)))
    expected = build(FULL, N_WAVELENGTHS).get_weights()
    assert [one.shape for one in drawn] == [one.shape for one in expected]
    for one, other in zip(drawn, expected, strict=True):
        if one.ndim == 1:
            np.testing.assert_array_equal(one, other)


def test_a_bias_before_batch_normalisation_stays_zero_in_keras_too():
    X, y = planted(16)
    model = build(FULL, N_WAVELENGTHS)
    keras_rule(FULL, model)
    model.train_on_batch(X, y)
    for name in ("conv_1", "fc_1"):
        np.testing.assert_array_equal(model.get_layer(name).get_weights()[1], 0)
    assert model.get_layer("conv_2").get_weights()[1].any()


# ---- the same as Keras -----------------------------------------------------------


def test_equal_folds_train_as_keras_fit():
    # 20 training samples a fold: batches of 16 and 4.
    assert_agrees_with_keras(TINY, folds_of_sizes(20, 20), use_fit=True)


def test_equal_folds_train_as_keras_fit_with_batch_normalisation_and_pooling():
    assert_agrees_with_keras(FULL, folds_of_sizes(10, 10, 10), which=2, use_fit=True)


def test_unequal_folds_straddling_a_full_batch_train_as_plain_keras():
    # n = 42: 30, 31, 32, 33 training samples, so 2, 2, 2 and 3 batches of at most 16.
    for architecture in (TINY, FULL):
        assert_agrees_with_keras(architecture, folds_of_sizes(12, 11, 10, 9))


def test_one_sample_in_the_last_batch_beside_full_ones_trains_as_plain_keras():
    # n = 33: 17 training samples in batches of 16 and 1, and 16 in a single one.
    assert_agrees_with_keras(TINY, folds_of_sizes(16, 17))


def test_several_channels_and_other_activations_train_as_plain_keras():
    blocks = (
        ConvBlock(4, 5, 2, activation="elu"),
        ConvBlock(3, 4, 3, activation="leaky_relu", padding="same"),
    )
    deep = Architecture(conv=blocks, fc=(FCBlock(5, "selu"), FCBlock(4, "relu")))
    assert_agrees_with_keras(deep, folds_of_sizes(9, 9))


@pytest.mark.parametrize("architecture", [TINY, FULL], ids=["plain", "normalised"])
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_each_optimiser_trains_as_keras_in_float64(optimiser, architecture):
    # Sizes as above; the first and the last fold have 2 and 3 batches.
    assert_agrees_with_keras(
        replace(architecture, optimiser=optimiser),
        folds_of_sizes(12, 11, 10, 9),
        n_epochs=30,
        dtype="float64",
        which=3,
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


def test_a_planted_linear_law_is_learned_better_than_the_mean(learned):
    _, y, _, result, _ = learned
    assert result.rmse < 0.6 * y.std()


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


def test_another_seed_gives_other_networks():
    X, y = planted(20)
    one, other = (
        cross_validate(TINY, X, y, np.arange(20) % 2, seed=seed, max_epochs=1)
        for seed in (1, 2)
    )
    assert not np.allclose(one.history, other.history)


def test_dropout_drops_the_stated_share_and_keeps_the_mean():
    values = drop(tf.ones((3, 16, 31, 200)), 0.3, tf.constant([1, 2])).numpy()
    assert (values == 0).mean() == pytest.approx(0.3, abs=0.01)
    assert values.mean() == pytest.approx(1.0, abs=0.01)
    assert values.max() == pytest.approx(1 / 0.7)


def test_dropout_drops_the_same_in_all_folds_and_other_places_in_the_next_step():
    ones = tf.ones((3, 16, 200))
    first, again, following = (
        drop(ones, 0.3, tf.constant([1, step])).numpy() for step in (1, 1, 2)
    )
    np.testing.assert_array_equal(first[0], first[2])
    np.testing.assert_array_equal(first, again)
    # Alike where both keep or both drop: 0.7^2 + 0.3^2.
    assert (first == following).mean() == pytest.approx(0.58, abs=0.03)


def test_dropout_trains_as_in_keras_in_distribution():
    """Same starts and batches, other draws: the mean difference of RMSE is zero."""
    n_seeds, n_epochs = 24, 10
    X, y = planted(34)
    folds = np.arange(34) % 2
    fold = make_folds(X, y, folds)[0]
    Xs = (X - fold.scaling.band_mean) / fold.scaling.band_sd
    ys = (y - fold.scaling.y_mean) / fold.scaling.y_sd
    sure = replace(TINY, learning_rate=0.02)
    dropping = replace(
        sure, conv=(ConvBlock(4, 7, 3, dropout=0.3),), fc=(FCBlock(6, dropout=0.5),)
    )
    keras.utils.set_random_seed(1)
    model = build(dropping, N_WAVELENGTHS)
    reset = keras_rule(dropping, model)
    stack, without, plain = np.empty((3, n_seeds))
    for seed in range(n_seeds):
        stack[seed], without[seed] = (
            cross_validate(one, X, y, folds, seed=seed, max_epochs=n_epochs).history[
                -1, 0
            ]
            for one in (dropping, sure)
        )
        plain[seed] = train_in_keras(
            dropping, model, reset, Xs, ys, fold, seed, n_epochs
        )[-1]

    def t_value(differences):
        return differences.mean() / differences.std(ddof=1) * np.sqrt(n_seeds)

    assert abs(t_value(stack - plain * fold.scaling.y_sd)) < 3
    assert t_value(stack - without) > 4  # the same test sees dropout that is missing


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
    assert upset.diverged.tolist() == [False, True, False]
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


def test_validation_stopping_scores_with_the_rows_that_stopped_it():
    X, y = planted(40)
    result = cross_validate(TINY, X, y, np.arange(40) % 4, max_epochs=15)
    np.testing.assert_allclose(result.history.min(axis=0), result.fold_rmse, rtol=1e-5)


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


# ---- memory and devices ----------------------------------------------------------


def test_a_gpu_would_not_round_its_products():
    assert not tf.config.experimental.tensor_float_32_execution_enabled()


def test_folds_in_turns_train_as_together():
    X, y = planted(30)
    folds = np.arange(30) % 5
    dropping = replace(FULL, fc=(FCBlock(6, dropout=0.4),))
    together = cross_validate(dropping, X, y, folds, max_epochs=5)
    enough = memory.fold_bytes(dropping, N_WAVELENGTHS) * 2.5
    assert memory.folds_at_once(dropping, 31, 5, memory_bytes=int(enough)) == 2
    turns = cross_validate(
        dropping, X, y, folds, max_epochs=5, memory_bytes=int(enough)
    )
    np.testing.assert_allclose(turns.history, together.history, rtol=1e-5)
    np.testing.assert_allclose(turns.out_of_fold, together.out_of_fold, rtol=1e-5)


def test_a_network_too_big_for_the_memory_is_refused_before_training():
    X, y = planted(20, n_wavelengths=211)
    nodes = FCBlock(1_000_000)
    huge = Architecture(conv=(ConvBlock(256, 3),), fc=(nodes, nodes, nodes))
    # 209 * 256 * 1e6 + 2 * 1e12 weights of 4 bytes, five times: over 40,000 GB.
    message = r"2,0\d\d,[\d,]+ weights for 211 .* of 2 folds takes about \d+,\d+\.\d GB"
    with pytest.raises(NetworkTooBigError, match=message):
        cross_validate(huge, X, y, np.arange(20) % 2)


def test_memory_counts_what_the_optimiser_remembers():
    # 1000 * 1000 weights in all that matters; 3 copies for sgd, 5 for adam.
    wide = Architecture((ConvBlock(1, 1),), (FCBlock(1000), FCBlock(1000)))
    slim = replace(wide, optimiser="sgd")
    sizes = [memory.fold_bytes(one, 1) for one in (wide, slim)]
    assert sizes[0] / sizes[1] == pytest.approx(5 / 3, rel=0.2)
    double = memory.fold_bytes(wide, 1, dtype="float64")
    assert double == pytest.approx(2 * sizes[0], rel=1e-6)


def test_the_limit_of_a_container_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    whole = memory._unused_bytes()
    (tmp_path / "memory.current").write_text("1000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._unused_bytes() == pytest.approx(whole, rel=0.2)
    (tmp_path / "memory.max").write_text("5000\n")
    assert memory._unused_bytes() == 4000


def test_weights_are_given_back_after_a_candidate():
    def in_use():
        return tf.config.experimental.get_memory_info("CPU:0")["current"]

    X, y = planted(20)
    wide = Architecture((ConvBlock(8, 7),), (FCBlock(1000), FCBlock(1000)))
    gc.collect()
    before = in_use()
    cross_validate(wide, X, y, np.arange(20) % 4, max_epochs=1)
    assert in_use() - before < 1e6  # 1.2 million weights * 4 folds * 20 bytes


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_search_of_many_architectures_does_not_fill_the_memory(activation):
    X, y = planted(8)
    parts = make_folds(X, y, np.arange(8) % 2)
    first = ConvBlock(2, 5, 2, activation=activation, dropout=0.1, pooling="max")
    second = ConvBlock(2, 3, activation=activation, batch_normalisation=True)
    tiny = Architecture(conv=(first, second), fc=(FCBlock(2, activation),))
    stack = _Run(tiny, X.shape[1], X, y, None, 1, 1, None, None)._make_stack(parts)
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
        ({"memory_bytes": 0.5}, TypeError, "'memory_bytes' must be a whole number"),
        ({"stopping": "iner"}, ValueError, "Did you mean 'inner'"),
        ({"dtype": "float16"}, ValueError, "Unknown dtype 'float16'"),
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
from soilnb.cnn import Architecture, ConvBlock, FCBlock, cross_validate
rng = np.random.default_rng(0)
X = rng.normal(size=(36, 40))
first = ConvBlock(8, 7, 2, batch_normalisation=True, pooling="max", dropout=0.2)
second = ConvBlock(8, 3, padding="same", pooling="average")
network = Architecture((first, second), (FCBlock(16, dropout=0.2),))
result = cross_validate(network, X, X[:, 3], np.arange(36) % 4, max_epochs=3)
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
from soilnb.cnn import PUBLISHED, Scaling, feasible
assert feasible(PUBLISHED["usa"], 207)
print([name for name in ("tensorflow", "keras") if name in sys.modules])
"""
    assert run_python(code) == ("[]\n", "")


def test_an_unknown_name_is_an_attribute_error():
    import soilnb.cnn

    assert "cross_validate" in dir(soilnb.cnn)
    with pytest.raises(AttributeError, match="no attribute 'train'"):
        _ = soilnb.cnn.train
