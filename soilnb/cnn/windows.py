"""Small networks that look at windows of rasters, many of them trained as one.

Every weight has a leading axis of networks, so that one compiled step trains them all.
Shapes in comments: K networks, B samples of a batch, L layers of soil.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from soilnb.cnn._tensorflow import JIT_COMPILE, keras, tf

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.intp]

N_FILTERS, N_NODES, DROPOUT = 16, 32, 0.2
WEIGHT_DECAY = 0.1  # decoupled: the share of a step by which weights shrink
BATCH_SIZE = 64
CHECK_STEPS, PATIENCE = 10, 10  # steps between two looks; looks without improvement


@dataclass(frozen=True, eq=False)
class Fit:
    """What trains one network.

    A sample is a profile and a layer: row profile * L + layer.
    """

    profiles: Rows  # whose windows the inputs are scaled by
    train: Rows  # samples
    watched: Rows  # samples whose error chooses the step
    layer: int  # that it is asked for


class _Known(NamedTuple):
    """What a step needs of the samples, as tensors."""

    turned: tf.Tensor  # (8, n_profiles, w, w, c), in the eight positions of a square
    flat: tf.Tensor  # target of each sample
    centre: tf.Tensor  # of the covariates, (K, 1, 1, 1, c)
    spread: tf.Tensor
    mean: tf.Tensor  # of the target, (K, L)
    sd: tf.Tensor


class _Stacked(keras.layers.Layer):
    """A dense layer for each of K networks, (K, n, inputs) to (K, n, units)."""

    def __init__(self, units: int, activation: str | None = None) -> None:
        super().__init__()
        self.units, self.activation = units, keras.activations.get(activation)

    def build(self, shape: tuple[int, ...]) -> None:
        self.kernel = self.add_weight(shape=(shape[0], shape[-1], self.units))
        self.bias = self.add_weight(shape=(shape[0], 1, self.units))

    def call(self, values: Any) -> Any:
        return self.activation(keras.ops.matmul(values, self.kernel) + self.bias)


def build_stack(
    n_networks: int, window: int, n_covariates: int, n_layers: int, *, heads: bool
) -> keras.Model:
    """Return K networks as one Keras model of windows and layers.

    3 x 3 convolutions without padding lead to one cell; the middle cell goes beside
    them. With `heads` each layer of soil has its own output, otherwise the layer is an
    input.
    """
    cells = keras.Input(
        batch_shape=(n_networks, None, window, window, n_covariates), name="windows"
    )
    layer = keras.Input(batch_shape=(n_networks, None, n_layers), name="layer")
    values, middle = cells, window // 2
    for size in range(window, 1, -2):
        n = values.shape[-1]
        values = keras.ops.reshape(values, (-1, size, size, n))
        values = keras.ops.image.extract_patches(values, 3, 1, padding="valid")
        values = keras.ops.reshape(values, (n_networks, -1, 9 * n))
        values = _Stacked(N_FILTERS, "relu")(values)
        values = keras.ops.reshape(
            values, (n_networks, -1, size - 2, size - 2, N_FILTERS)
        )
    parts = [cells[:, :, middle, middle]]
    parts += [values[:, :, 0, 0]] if window > 1 else []
    parts += [] if heads else [layer]
    values = _Stacked(N_NODES, "relu")(keras.ops.concatenate(parts, axis=-1))
    values = keras.layers.Dropout(DROPOUT, seed=1)(values)
    output = _Stacked(n_layers if heads else 1)(values)
    if heads:
        output = keras.ops.sum(output * layer, axis=-1, keepdims=True)
    return keras.Model([cells, layer], output[..., 0])


class _Network:
    """K networks as one compiled model, which stacks of one shape use in turn.

    What a stack knows is given to each step, so that nothing is traced anew.
    """

    def __init__(self, *shape: int, heads: bool) -> None:
        self.model = build_stack(*shape, heads=heads)
        self.n_layers = shape[-1]
        self.optimiser = keras.optimizers.AdamW(weight_decay=WEIGHT_DECAY)
        self.optimiser.build(self.model.trainable_variables)
        others = (*self.optimiser.variables, *self.model.non_trainable_variables)
        self._at_first = [(variable, variable.numpy()) for variable in others]
        traced = {"autograph": False, "reduce_retracing": True}
        self.take_step = tf.function(self._take_step, jit_compile=JIT_COMPILE, **traced)
        self.watch = tf.function(self._watch, **traced)

    def begin(self, weights: Sequence[Floats], learning_rate: float) -> None:
        """Forget an earlier training: moments, the draws of dropout, weights."""
        for variable, value in self._at_first:
            variable.assign(value)
        self.optimiser.learning_rate = learning_rate
        self.set_weights(weights)

    def weights(self) -> list[Floats]:
        """Return the weights, K first."""
        return [weight.numpy() for weight in self.model.trainable_variables]

    def set_weights(self, weights: Sequence[Floats]) -> None:
        """Take other weights."""
        for weight, values in zip(self.model.trainable_variables, weights, strict=True):
            weight.assign(values)

    def _take_step(self, known: _Known, rows: tf.Tensor, symmetry: tf.Tensor) -> None:
        """Take one step of the optimiser with (K, B) rows."""
        variables = self.model.trainable_variables
        cells, layer, target = self._samples(known, rows, symmetry)
        with tf.GradientTape() as tape:
            predicted = self.model([cells, layer], training=True)
            loss = tf.reduce_sum(tf.reduce_mean(tf.square(predicted - target), axis=1))
        self.optimiser.apply(tape.gradient(loss, variables), variables)

    def _watch(self, known: _Known, watched: tf.Tensor) -> tf.Tensor:
        """Return the mean squared error of each network's samples, -1 for none."""
        is_there = tf.cast(watched >= 0, tf.float32)
        cells, layer, target = self._samples(
            known, tf.maximum(watched, 0), tf.zeros_like(watched)
        )
        errors = tf.square(self.model([cells, layer], training=False) - target)
        return tf.reduce_sum(tf.where(watched >= 0, errors, 0.0), 1) / (
            tf.reduce_sum(is_there, 1)
        )

    def _samples(
        self, known: _Known, rows: tf.Tensor, symmetry: tf.Tensor
    ) -> tuple[Any, Any, Any]:
        """Return scaled windows, layers (one-hot) and scaled targets of (K, B) rows."""
        layer = rows % self.n_layers
        place = tf.stack([symmetry + tf.zeros_like(rows), rows // self.n_layers], -1)
        cells = (tf.gather_nd(known.turned, place) - known.centre) / known.spread
        mean, sd = (
            tf.gather(part, layer, batch_dims=1) for part in (known.mean, known.sd)
        )
        target = (tf.gather(known.flat, rows) - mean) / sd
        return cells, tf.one_hot(layer, self.n_layers), target


_network = lru_cache(maxsize=6)(_Network)


class WindowStack:
    """K networks, their scalings and their best weights.

    Parameters
    ----------
    windows : array of shape (n_profiles, window, window, n_covariates)
    target : array of shape (n_profiles, L)
        NaN where it is not known; such a sample must be in no fit.
    fits : sequence of Fit
    heads : bool, default False
        Whether each layer has its own output.
    seed : int, default 1
        Network k draws from (seed, k): what it is beside does not matter, but for
        dropout.
    """

    def __init__(
        self,
        windows: Floats,
        target: npt.NDArray[np.floating],
        fits: Sequence[Fit],
        *,
        heads: bool = False,
        seed: int = 1,
    ) -> None:
        self.fits, self.n_layers = fits, target.shape[1]
        self._rngs = [np.random.default_rng([seed, k]) for k in range(len(fits))]
        inputs = [_moments(windows[fit.profiles], (0, 1, 2)) for fit in fits]
        centre, spread = (
            tf.constant(np.stack(part)[:, None, None, None], tf.float32)
            for part in zip(*inputs, strict=True)
        )
        known = [np.concatenate([fit.train, fit.watched]) for fit in fits]
        self._scales = np.stack([self._by_layer(target, rows) for rows in known], 1)
        own = [
            target[rows // self.n_layers, fit.layer][rows % self.n_layers == fit.layer]
            for rows, fit in zip(known, fits, strict=True)
        ]
        self._limits = np.array([[part.min(), part.max()] for part in own]).T
        self._known = _Known(
            tf.constant(_symmetries(windows)),
            tf.constant(np.nan_to_num(target).ravel(), tf.float32),
            centre,
            spread,
            *(tf.constant(part, tf.float32) for part in self._scales),
        )
        _, size, _, n_covariates = windows.shape
        shape = (len(fits), size, n_covariates, self.n_layers)
        self._network = _network(*shape, heads=heads)
        self.weights = self._draw_weights()  # K first
        self._watched = tf.constant(_filled([fit.watched for fit in fits]))

    def _by_layer(self, target: npt.NDArray, rows: Rows) -> npt.NDArray[np.float64]:
        """Return mean and standard deviation of each layer among some samples."""
        values, layers = target.ravel()[rows], rows % self.n_layers
        found = [_moments(values[layers == i], 0) for i in range(self.n_layers)]
        return np.array(found).T

    def _draw_weights(self) -> list[Floats]:
        """Return weights for each network: Glorot-uniform kernels, no bias."""
        weights = []
        for weight in self._network.model.trainable_variables:
            _, n_in, n_out = weight.shape
            limit = np.sqrt(6 / (n_in + n_out)) if n_in > 1 else 0.0
            drawn = [rng.uniform(-limit, limit, (n_in, n_out)) for rng in self._rngs]
            weights.append(np.stack(drawn).astype(np.float32))
        return weights

    def train(self, n_steps: int, *, learning_rate: float = 2e-3) -> WindowStack:
        """Train by AdamW; keep of each network the weights of its best look.

        The weights at the start count as the first look, so that training that does
        not help changes nothing.
        """
        network, known = self._network, self._known
        network.begin(self.weights, learning_rate)
        rows = np.stack(
            [
                _batches(rng, fit.train, n_steps)
                for rng, fit in zip(self._rngs, self.fits, strict=True)
            ],
            axis=1,
        )
        turns = np.stack(
            [rng.integers(0, 8, (n_steps, 1), np.int32) for rng in self._rngs], 1
        )
        best, best_error = network.weights(), self._error()
        waited = np.zeros(len(self.fits))
        for step in range(n_steps):
            network.take_step(known, tf.constant(rows[step]), tf.constant(turns[step]))
            if (step + 1) % CHECK_STEPS:
                continue
            error = self._error()
            improved = (error < best_error) & (waited < PATIENCE)
            waited = np.where(improved, 0, waited + 1)
            best_error = np.where(improved, error, best_error)
            for kept, now in zip(best, network.weights(), strict=True):
                kept[improved] = now[improved]
            if (waited >= PATIENCE).all():
                break
        self.weights = best
        return self

    def _error(self) -> Floats:
        """Return the mean squared error of the watched samples of each network."""
        return self._network.watch(self._known, self._watched).numpy()

    def predict(self, windows: Floats) -> npt.NDArray[np.float64]:
        """Return (K, n) predictions, each network's of its own layer, of windows.

        The mean over the eight symmetries; not outside what the network was trained on.
        """
        layers = np.array([fit.layer for fit in self.fits])
        one_hot = np.eye(self.n_layers, dtype=np.float32)[layers][:, None]
        shape = (len(layers), len(windows), self.n_layers)
        layer = tf.broadcast_to(tf.constant(one_hot), shape)
        turned = _symmetries(windows)
        turned = turned[:1] if windows.shape[1] == 1 else turned
        self._network.set_weights(self.weights)
        centre, spread, model = (
            self._known.centre,
            self._known.spread,
            self._network.model,
        )
        scaled = [
            model([(part[None] - centre) / spread, layer]).numpy() for part in turned
        ]
        k = np.arange(len(layers))
        mean, sd = self._scales[:, k, layers, None]
        predicted = np.mean(scaled, axis=0, dtype=np.float64) * sd + mean
        return np.clip(predicted, *self._limits[:, :, None])


def _moments(values: npt.NDArray, axis: int | tuple[int, ...]) -> tuple[Any, Any]:
    """Return mean and standard deviation; 0 and 1 of nothing, 1 of what is constant."""
    if not values.size:
        return 0.0, 1.0
    sd = values.std(axis=axis, dtype=np.float64)
    return values.mean(axis=axis, dtype=np.float64), np.where(sd < 1e-6, 1.0, sd)


def _symmetries(windows: Floats) -> Floats:
    """Return the windows in the eight positions of a square, (8, n, w, w, c)."""
    quarter = [np.rot90(windows, turns, axes=(1, 2)) for turns in range(4)]
    return np.stack([*quarter, *(part[:, :, ::-1] for part in quarter)])


def _batches(rng: np.random.Generator, rows: Rows, n_steps: int) -> npt.NDArray:
    """Return shuffled rows, again and again, as (n_steps, B)."""
    n_rounds = -(-n_steps * BATCH_SIZE // len(rows))
    drawn = np.concatenate([rng.permutation(rows) for _ in range(n_rounds)])
    return drawn[: n_steps * BATCH_SIZE].reshape(n_steps, -1).astype(np.int32)


def _filled(rows: Sequence[Rows]) -> npt.NDArray[np.int32]:
    """Return rows of different lengths as (K, longest), filled up with -1."""
    filled = np.full((len(rows), max(map(len, rows))), -1, np.int32)
    for line, some in zip(filled, rows, strict=True):
        line[: len(some)] = some
    return filled
