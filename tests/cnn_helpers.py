"""Small networks and data that the tests of the 1D-CNN share."""

import numpy as np

from soilnb.cnn import Architecture, ConvBlock, FCBlock
from soilnb.cnn._tensorflow import keras

N_WAVELENGTHS = 31
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
