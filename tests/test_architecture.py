"""The 1D-CNN: its architecture as data, and the Keras model made of it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from cnn_helpers import FULL, N_WAVELENGTHS, TINY, keras_rule, planted

from soilnb.cnn import (
    PUBLISHED,
    SMALL,
    Architecture,
    ConvBlock,
    Scaling,
    build,
    check_fit,
    feasible,
    layer_shapes,
    n_weights,
)
from soilnb.cnn.folds import initial_weights

# ---- architecture ----------------------------------------------------------------


def test_small_has_the_weights_counted_by_hand():
    # 207 bands, kernel 9, stride 3: (207 - 9) // 3 + 1 = 67 positions.
    # Conv 9*1*32 + 32 = 320; FC 67*32*64 + 64 = 137,280; output 64 + 1 = 65.
    assert layer_shapes(SMALL, 207)[0].output == (67, 32)
    assert n_weights(SMALL, 207) == 320 + 137_280 + 65
    assert build(SMALL, 207).count_params() == 137_665
    assert set(PUBLISHED) == set(PUBLISHED_SIZES)


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
    # Lists of blocks become tuples.
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


def test_a_kernel_that_does_not_fit_names_its_block():
    deep = Architecture(conv=(ConvBlock(8, 9, stride=4), ConvBlock(8, 6)), fc=())
    message = "Conv-block 2 has a kernel of 6 but only 3 values reach it .of 20"
    for use in (n_weights, check_fit, build):
        with pytest.raises(ValueError, match=message):
            use(deep, 20)
    assert [feasible(deep, n) for n in (20, 28, 29)] == [False, False, True]
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
