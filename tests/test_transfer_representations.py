"""Deep transfer learning of representations: what is frozen, retrained and chosen."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from soilnb.cnn import (
    Architecture,
    ConvBlock,
    FCBlock,
    Scaling,
    build,
)
from soilnb.cnn._tensorflow import keras
from soilnb.cnn.folds import (
    SHUFFLE,
    epoch_rows,
    generator,
    initial_weights,
    make_folds,
)
from soilnb.cnn.shapes import layer_shapes, tail_shapes
from soilnb.cnn.training import Start, collect_result, train_folds
from soilnb.transfer.representations import FrozenNetwork

N_WAVELENGTHS = 31
SEED = 5
DEEP = Architecture(
    conv=(
        ConvBlock(6, 7, 2, batch_normalisation=True, pooling="max", dropout=0.3),
        ConvBlock(5, 4, 2, padding="same", activation="elu", dropout=0.2),
    ),
    fc=(
        FCBlock(6, "selu", batch_normalisation=True, dropout=0.2),
        FCBlock(4, "leaky_relu", dropout=0.3),
    ),
    learning_rate=0.003,
    patience=50,
)
FOLLOWING = ["conv_1", "conv_2", "fc_1", "fc_2", "output"]  # first layer after each cut
every_cut = pytest.mark.parametrize("n_frozen", range(5))


def planted(n_samples, seed, offset):
    """Return smooth spectra and a property, about 50, linear in two of their bands."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, N_WAVELENGTHS)).cumsum(axis=1) / 5 + offset
    X = X.astype(np.float32).astype(np.float64)
    return X, 50.0 + 8 * (X[:, 20] - X[:, 8]) + rng.normal(size=n_samples)


def keeping_dropout(which):
    """Return DEEP with the dropout of the blocks that `which` slices only."""
    kept = DEEP.blocks[which]
    blocks = [one if one in kept else replace(one, dropout=0.0) for one in DEEP.blocks]
    return replace(DEEP, conv=tuple(blocks[:2]), fc=tuple(blocks[2:]))


@pytest.fixture(scope="module")
def site():
    """Thirty local samples, in three folds, whose property lies above the library's."""
    X, y = planted(30, seed=1, offset=0.5)
    folds = np.random.default_rng(0).permutation(np.arange(30) % 3)
    return SimpleNamespace(X=X, y=y + 5.0, folds=folds)


@pytest.fixture(scope="module")
def library():
    """Scaling of a library, and weights and moments as training might leave them."""
    rng = np.random.default_rng(3)
    drawn = initial_weights(DEEP, N_WAVELENGTHS, rng)
    weights = [weight + rng.uniform(-0.3, 0.3, weight.shape) for weight in drawn]
    for place in (1, 9):  # biases that feed a batch normalisation
        weights[place] *= 0
    X, y = planted(80, seed=2, offset=0.0)
    return SimpleNamespace(scaling=Scaling.learn(X, y), weights=weights)


def as_model(architecture, library):
    """Return the library network, its dropout being that of an architecture."""
    model = build(architecture, N_WAVELENGTHS, library.scaling)
    model.set_weights(library.weights)
    return model


@pytest.fixture(scope="module")
def cuts(library, site):
    """The base retrained after every depth, with dropout below the cut only."""
    parts = make_folds(site.X, site.y, site.folds)
    X = site.X.astype(np.float32)

    def retrain(n_frozen):
        architecture = keeping_dropout(slice(n_frozen))
        base = as_model(architecture, library)
        network = FrozenNetwork(architecture, base, n_frozen)
        trained = network.retrain(X, site.y, parts, seed=SEED, max_epochs=10)
        return SimpleNamespace(base=base, network=network, parts=parts, trained=trained)

    return [retrain(n_frozen) for n_frozen in range(5)]


class FrozenInKeras(keras.Model):
    """Layers of a network up to `following` frozen and called as in prediction.

    What it puts out is scaled. A functional model would call them as in training.
    """

    def __init__(self, base, following):
        super().__init__()
        twin = keras.models.clone_model(base)
        twin.set_weights(base.get_weights())
        cut = [layer.name for layer in twin.layers].index(following)
        self.frozen, self.others = twin.layers[:cut], twin.layers[cut:-1]
        for layer in self.frozen:
            layer.trainable = False

    def call(self, values, training=None):
        for layer in self.frozen:
            values = layer(values, training=False)
        for layer in self.others:
            values = layer(values, training=training)
        return values


def train_in_keras(model, X, y, fold, scaling, n_epochs):
    """Watched RMSE of plain Keras after each epoch, on the batches of a fold."""
    X, scaled = X.astype(np.float32), ((y - scaling.y_mean) / scaling.y_sd)
    shuffler = generator(SEED, fold.position, SHUFFLE)
    history = []
    for _ in range(n_epochs):
        for batch in epoch_rows(fold, DEEP.batch_size, shuffler):
            rows = batch[batch >= 0]
            model.train_on_batch(X[rows], scaled[rows].astype(np.float32))
        errors = np.asarray(model(X[fold.watched]))[:, 0] - scaled[fold.watched]
        history.append(np.sqrt(np.mean(errors**2)) * scaling.y_sd)
    return np.array(history)


# ---- what follows a cut ----------------------------------------------------------


def test_what_reaches_the_layers_after_each_cut_is_counted_by_hand():
    # 31 bands, kernel 7, stride 2: 13 positions; pools of 2: 6. "same", stride 2: 3.
    reaches = [tail_shapes(DEEP, 31, n_frozen)[0] for n_frozen in range(5)]
    assert reaches == [(31, 1), (6, 6), (3, 5), (6,), (4,)]
    after = [layer.layer for layer in tail_shapes(DEEP, 31, 3)[1] if layer.weights]
    assert after == ["Fully-connected", "Fully-connected"]
    assert tail_shapes(DEEP, 31, 0)[1] == layer_shapes(DEEP, 31)
    for n_frozen in range(5):  # layers before and after a cut are all layers
        names = DEEP.block_names[:n_frozen]
        before = [layer for layer in layer_shapes(DEEP, 31) if layer.block in names]
        after = tail_shapes(DEEP, 31, n_frozen)[1]
        assert len(before) + len(after) == len(layer_shapes(DEEP, 31))


# ---- one depth -------------------------------------------------------------------


@every_cut
def test_features_are_those_of_the_keras_layers_in_prediction(cuts, site, n_frozen):
    cut = cuts[n_frozen]
    names = [layer.name for layer in cut.base.layers]
    last = cut.base.layers[names.index(FOLLOWING[n_frozen]) - 1]
    part = keras.Model(cut.base.inputs[0], last.output)
    expected = np.asarray(part(site.X.astype(np.float32), training=False))
    np.testing.assert_allclose(
        cut.network.features(site.X), expected.reshape(30, -1), rtol=1e-5, atol=1e-6
    )


@every_cut
def test_retraining_is_that_of_plain_keras_with_frozen_layers(cuts, site, n_frozen):
    cut, position = cuts[n_frozen], n_frozen % 3
    fold, trained = cut.parts[position], cut.trained[position]
    model = FrozenInKeras(cut.base, FOLLOWING[n_frozen])
    optimiser = keras.optimizers.Adam(DEEP.learning_rate)
    model.compile(optimiser, "mse", jit_compile=False)
    scaling = trained.fold.scaling
    expected = train_in_keras(model, site.X, site.y, fold, scaling, n_epochs=10)
    np.testing.assert_allclose(trained.history, expected, rtol=1e-4)
    assert n_weights_that_train(model) == cut.network.n_trained


def n_weights_that_train(model):
    """Return the number of weights that Keras would train."""
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@every_cut
def test_frozen_weights_and_moments_stay_and_all_others_change(cuts, site, n_frozen):
    cut = cuts[n_frozen]
    result = collect_result(cut.network.architecture, site.X, site.y, cut.trained, 0.0)
    for model in result.models.models:
        frozen = True
        for layer, old in zip(model.layers, cut.base.layers, strict=True):
            frozen = frozen and layer.name != FOLLOWING[n_frozen]
            for new, before in zip(layer.get_weights(), old.get_weights(), strict=True):
                held = not before.any()  # a bias that feeds a batch normalisation
                assert np.array_equal(new, before) == (frozen or held)


@every_cut
def test_the_whole_models_predict_what_the_layers_after_the_cut_did(
    cuts, site, n_frozen
):
    cut = cuts[n_frozen]
    result = collect_result(cut.network.architecture, site.X, site.y, cut.trained, 0.0)
    each = result.models.predict_each(site.X)
    np.testing.assert_allclose(
        result.out_of_fold, each[site.folds, np.arange(30)], rtol=1e-5
    )


def test_nothing_frozen_is_the_whole_network_trained_on(cuts, site, library):
    cut = cuts[0]
    assert cut.network.n_trained == n_weights_that_train(cut.base)
    # FC-block 2 has 6 * 4 + 4 weights; the output 4 and a bias.
    assert [cuts[n].network.n_trained for n in (3, 4)] == [28 + 5, 5]
    parts = [replace(fold, scaling=library.scaling) for fold in cut.parts]
    whole = train_folds(
        cut.network.architecture,
        site.X.astype(np.float32),
        site.y,
        parts,
        start=Start({fold.position: library.weights for fold in parts}),
        seed=SEED,
        max_epochs=10,
    )
    for one, other in zip(cut.trained, whole, strict=True):
        np.testing.assert_allclose(one.history, other.history, rtol=1e-4)
        np.testing.assert_allclose(one.predicted, other.predicted, rtol=1e-4)


def test_dropout_works_above_the_cut_only(library, site):
    def history(which):
        architecture = keeping_dropout(which)
        network = FrozenNetwork(architecture, as_model(architecture, library), 3)
        parts = make_folds(site.X, site.y, site.folds)
        X = site.X.astype(np.float32)
        return network.retrain(X, site.y, parts, max_epochs=3)[0].history

    everywhere, above, below = map(history, (slice(4), slice(3, 4), slice(3)))
    np.testing.assert_array_equal(everywhere, above)
    assert (everywhere != below).all()


def test_units_do_not_matter_where_the_scaling_of_the_base_has_them(library, site):
    """Spectra in other units and SOC in g/kg instead of % train the same network."""
    architecture, scaling = keeping_dropout(slice(3)), library.scaling
    other = Scaling(
        band_mean=scaling.band_mean * 128,
        band_sd=scaling.band_sd * 128,
        y_mean=scaling.y_mean * 10,
        y_sd=scaling.y_sd * 10,
    )
    runs = []
    for scale, unit, factor in ((scaling, 1, 1), (other, 128, 10)):
        model = build(architecture, N_WAVELENGTHS, scale)
        model.set_weights(library.weights)
        X, y = (site.X * unit).astype(np.float32), site.y * factor
        parts = make_folds(X, y, site.folds)
        network = FrozenNetwork(architecture, model, 3)
        runs.append(network.retrain(X, y, parts, max_epochs=5))
    for one, ten in zip(*runs, strict=True):
        np.testing.assert_allclose(ten.predicted, one.predicted * 10, rtol=1e-4)
        np.testing.assert_allclose(ten.history, one.history * 10, rtol=1e-4)


def test_a_model_of_double_precision_is_retrained_in_it(site):
    model = build(keeping_dropout(slice(0)), N_WAVELENGTHS, dtype="float64")
    network = FrozenNetwork(keeping_dropout(slice(0)), model, 4)
    assert network.features(site.X).dtype == np.float64
    parts = make_folds(site.X, site.y, site.folds)
    trained = network.retrain(site.X, site.y, parts, max_epochs=1)
    assert {weight.dtype.name for weight in trained[0].weights} == {"float64"}
