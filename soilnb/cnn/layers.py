"""The layers of a 1D-CNN for several folds at once.

Shapes in this module: K folds, B samples in a batch; values are (K, B, positions,
channels) up to flattening and (K, B, nodes) after it; weights have a leading K.
"""

from __future__ import annotations

import numpy as np

from soilnb.cnn._tensorflow import keras, tf
from soilnb.cnn.architecture import ConvBlock

BN_MOMENTUM, BN_EPSILON = 0.99, 1e-3  # Keras's batch normalisation


def add_bias(values: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Add a bias (K, units) to values (K, ..., units)."""
    return values + _along(bias, values)


def _along(values: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """Return (K, units) with axes of length 1 between, to match `other`."""
    folds, units = values.shape
    return tf.reshape(values, [folds, *[1] * (other.shape.rank - 2), units])


def convolve(values: tf.Tensor, kernel: tf.Tensor, block: ConvBlock) -> tf.Tensor:
    """Convolve (K, B, length, channels) with (K, kernel, channels, filters)."""
    if values.shape[3] > 1:  # native convolutions beat one product of gathered frames
        padding = block.padding.upper()
        convolved = [
            tf.nn.conv1d(one, weights, block.stride, padding)
            for one, weights in zip(tf.unstack(values), tf.unstack(kernel), strict=True)
        ]
        return tf.stack(convolved)
    length, n_out = values.shape[2], block.conv_length(values.shape[2])
    positions = block.stride * np.arange(n_out)[:, None] + np.arange(block.kernel)
    missing = max(0, int(positions.max()) + 1 - length)  # none unless padding is "same"
    # Keras puts the odd zero of the padding at the end.
    zeros = [[0, 0], [0, 0], [missing // 2, missing - missing // 2]]
    frames = tf.gather(tf.pad(values[..., 0], zeros), positions, axis=2)
    flat = tf.matmul(
        tf.reshape(frames, [values.shape[0], -1, block.kernel]), kernel[:, :, 0]
    )
    return tf.reshape(flat, [values.shape[0], -1, n_out, block.filters])


def batch_moments(values: tf.Tensor, present: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return mean and variance (K, units), by n, where `present` (K, B) is 1."""
    shape, axes = values.shape, list(range(1, values.shape.rank - 1))
    count = tf.reduce_sum(present, 1, keepdims=True) * float(np.prod(shape[2:-1]))
    share = tf.reshape(present / count, [shape[0], -1, *[1] * (shape.rank - 2)])
    mean = tf.reduce_sum(share * values, axes)
    # The variance has no gradient in the mean: deviations add up to zero.
    deviation = values - _along(tf.stop_gradient(mean), values)
    return mean, tf.reduce_sum(share * tf.square(deviation), axes)


def normalise(
    values: tf.Tensor,
    mean: tf.Tensor,
    variance: tf.Tensor,
    scale: tf.Tensor,
    shift: tf.Tensor,
) -> tf.Tensor:
    """Return values with mean 0 and variance 1, then scaled and shifted."""
    factor = scale * tf.math.rsqrt(variance + BN_EPSILON)
    return values * _along(factor, values) + _along(shift - mean * factor, values)


def activate(values: tf.Tensor, name: str) -> tf.Tensor:
    """Return the activation that Keras calls `name`."""
    if name == "silu":
        # Not Keras's: its custom gradient keeps every graph in memory for good.
        return values * tf.sigmoid(values)
    return keras.activations.get(name)(values)


def pool(values: tf.Tensor, block: ConvBlock) -> tf.Tensor:
    """Return the largest or mean of neighbouring positions, or all of them."""
    if block.pooling == "none":
        return values
    folds, _, length, channels = values.shape
    pooling = tf.nn.max_pool1d if block.pooling == "max" else tf.nn.avg_pool1d
    flat = tf.reshape(values, [-1, length, channels])
    pooled = pooling(flat, block.pool_size, block.pool_stride, "VALID")
    return tf.reshape(pooled, [folds, -1, *pooled.shape[1:]])


def drop(values: tf.Tensor, rate: float, seed: tf.Tensor) -> tf.Tensor:
    """Set some values, the same in all folds, to zero and scale up the rest."""
    if not rate:
        return values
    pattern = tf.concat([[1], tf.shape(values)[1:]], axis=0)
    return tf.nn.experimental.stateless_dropout(values, rate, seed, noise_shape=pattern)
