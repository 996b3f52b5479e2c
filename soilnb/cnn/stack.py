"""The networks of some folds as one: every weight has a leading fold axis.

The loss is the sum over folds of each fold's own mean squared error, and optimisers
work element by element, so the folds train exactly as they would one by one. Shapes in
comments: K folds, B samples in a batch, p wavelengths.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from soilnb.cnn import layers
from soilnb.cnn._tensorflow import JIT_COMPILE, tf
from soilnb.cnn.architecture import Architecture, ConvBlock, FCBlock
from soilnb.cnn.folds import Fold
from soilnb.cnn.optimisers import Optimiser
from soilnb.cnn.shapes import LayerShape, tail_shapes

WATCHED_ROWS = 128  # samples of a fold predicted at once: bounds the memory
MOST_IDLE, MOST_IDLE_BYTES = 6, 17e6  # stacks kept for another training; each one
_OPEN_AXES = {"X": (0,), "y": (0,), "watched": (0, 2)}  # of any length

_idle: list[FoldStack] = []  # the one that has waited longest first
_lock = threading.Lock()


def begin_stack(
    architecture: Architecture,
    n_wavelengths: int,
    X: npt.NDArray,
    y: npt.NDArray,
    folds: Sequence[Fold],
    weights: Iterable[npt.NDArray],
    seeds: npt.NDArray[np.int64],
    n_frozen: int = 0,
) -> FoldStack:
    """Return a stack, one that has ended where there is one: its graph is made.

    Tracing and optimising a graph takes half a second, as long as many a training.
    """
    key = (architecture, n_wavelengths, n_frozen, len(folds), X.dtype.name)
    training = X, y, folds, weights, seeds
    with _lock:
        place = next((i for i, one in enumerate(_idle) if one.key == key), None)
        stack = None if place is None else _idle.pop(place)
    if stack is None:
        return FoldStack(architecture, n_wavelengths, *training, n_frozen)
    stack.begin_again(*training)
    return stack


def end_stack(stack: FoldStack) -> None:
    """Keep a small stack for another training; what was read of it does not change."""
    n_values = sum(weight.shape.num_elements() for weight in stack.weights)
    if n_values * stack.weights[0].dtype.size < MOST_IDLE_BYTES:
        stack.leave_samples()
        with _lock:
            _idle.append(stack)
            del _idle[:-MOST_IDLE]


def _batches(rows: Sequence[npt.NDArray[np.intp]]) -> npt.NDArray[np.int32]:
    """Return the rows of K folds, shape (batches, K, rows), filled up with -1."""
    longest = max(len(some) for some in rows)
    size = min(longest, WATCHED_ROWS)
    n_batches = -(-longest // size)
    filled = np.full((len(rows), n_batches * size), -1, np.int32)
    for line, some in zip(filled, rows, strict=True):
        line[: len(some)] = some
    return filled.reshape(len(rows), n_batches, size).transpose(1, 0, 2)


class FoldStack:
    """The networks of some folds, or what follows their first blocks, as one."""

    def __init__(
        self,
        architecture: Architecture,
        n_wavelengths: int,
        X: npt.NDArray,
        y: npt.NDArray,
        folds: Sequence[Fold],  # as many batches in each: their steps are counted once
        weights: Iterable[npt.NDArray],  # in Keras's order, each with K first
        seeds: npt.NDArray[np.int64],  # of the dropout of each block
        n_frozen: int = 0,  # blocks that are not here: `X` is what they put out
    ) -> None:
        self.architecture = architecture
        self.n_folds = len(folds)
        self.key = (architecture, n_wavelengths, n_frozen, len(folds), X.dtype.name)
        self._n_frozen = n_frozen
        self._blocks = architecture.blocks[n_frozen:]
        self._shape, layers = tail_shapes(architecture, n_wavelengths, n_frozen)
        self.weights = [tf.Variable(values) for values in weights]
        self._dtype = self.weights[0].dtype
        self.best_weights = [tf.Variable(weight) for weight in self.weights]
        self._data: dict[str, tf.Variable] = {}
        self._set_data(X, y, folds, seeds)
        self._set_training(layers)
        rows = [None, None, self.n_folds, architecture.batch_size]
        # Traced once, whatever the number of epochs, of steps and of samples.
        self._train = tf.function(
            self._train_epochs,
            input_signature=[tf.TensorSpec(rows, tf.int32)],
            jit_compile=JIT_COMPILE,
            autograph=False,  # it does not work on Python 3.13: loops are written out
        ).get_concrete_function()

    def begin_again(
        self,
        X: npt.NDArray,
        y: npt.NDArray,
        folds: Sequence[Fold],
        weights: Iterable[npt.NDArray],
        seeds: npt.NDArray[np.int64],
    ) -> None:
        """Forget what was learned; begin with other samples, folds and weights."""
        for place, values in enumerate(weights):
            self.weights[place].assign(values)
            self.best_weights[place].assign(values)
        self._set_data(X, y, folds, seeds)
        self._optimiser.begin_again()
        self._best_rmse.assign(tf.zeros_like(self._best_rmse) + np.inf)
        for counted in (self._waited, self._diverged, self._n_epochs):
            counted.assign(tf.zeros_like(counted))

    def leave_samples(self) -> None:
        """Give their memory back."""
        self._data["X"].assign(self._get("X")[:0])

    def _set_data(
        self,
        X: npt.NDArray,
        y: npt.NDArray,
        folds: Sequence[Fold],
        seeds: npt.NDArray[np.int64],
    ) -> None:
        """Keep the samples once, and each fold's scaling and watched rows."""
        scalings = [fold.scaling for fold in folds]
        floats: dict[str, npt.NDArray] = {
            "X": X,
            "y": y,
            "band_mean": np.stack([one.band_mean for one in scalings])[:, None],
            "band_sd": np.stack([one.band_sd for one in scalings])[:, None],
            "y_mean": np.array([[one.y_mean] for one in scalings]),
            "y_sd": np.array([[one.y_sd] for one in scalings]),
        }
        whole: dict[str, npt.NDArray] = {
            "watched": _batches([fold.watched for fold in folds]),
            "last": np.array([fold.n_epochs for fold in folds]),
            "seeds": seeds[self._n_frozen :],
        }
        dtype = self._dtype.as_numpy_dtype
        for name, values in floats.items():
            self._set(name, values.astype(dtype, copy=False))
        for name, values in whole.items():
            self._set(name, values.astype(np.int64))  # GPUs hold no int32

    def _set(self, name: str, values: npt.NDArray) -> None:
        """Put values into a variable, made where there is none yet."""
        if name in self._data:
            self._data[name].assign(values)
            return
        shape = list(values.shape)
        for axis in _OPEN_AXES.get(name, ()):
            shape[axis] = None
        self._data[name] = tf.Variable(values, shape=tf.TensorShape(shape))

    def _get(self, name: str) -> tf.Tensor:
        """Return one of the data as a tensor, for the reason of `_read`."""
        return tf.convert_to_tensor(self._data[name])

    def _set_training(self, layers: Sequence[LayerShape]) -> None:
        """Choose the weights that train, and begin the bookkeeping of each fold."""
        trained: list[bool] = []
        for layer in layers:
            if layer.normalises:
                # The bias before it has no effect and no gradient but rounding, which
                # some optimisers blow up: held at 0, as by a constraint in `build`.
                trained[-1] = False
                trained += [True, True, False, False]
            else:
                trained += [True] * len(layer.weights)
        self._trained = np.flatnonzero(trained)
        self._optimiser = Optimiser(
            self.architecture.optimiser,
            self.architecture.learning_rate,
            [self.weights[i] for i in self._trained],
        )
        zeros = tf.zeros([self.n_folds], self._dtype)
        self._best_rmse = tf.Variable(zeros + np.inf)
        self._waited = tf.Variable(tf.zeros([self.n_folds], tf.int64))
        self._diverged = tf.Variable(tf.zeros([self.n_folds], tf.bool))
        self._n_epochs = tf.Variable(0, dtype=tf.int64)

    @property
    def all_stopped(self) -> bool:
        """Whether every fold has run out of patience or diverged."""
        return bool(np.all(self._waited.numpy() >= self.architecture.patience))

    @property
    def diverged(self) -> npt.NDArray[np.bool_]:
        """Whether a fold stopped because its RMSE was not finite any more."""
        return self._diverged.numpy()

    def train(self, rows: npt.NDArray[np.int32]) -> npt.NDArray[np.floating]:
        """Train on rows (epochs, steps, K, B); -1 fills a batch up.

        Return the watched RMSE (epochs, K) in sd of y; NaN after a fold has stopped.
        """
        return self._train(tf.constant(rows)).numpy()

    def predict_best(
        self, rows: Sequence[npt.NDArray[np.intp]]
    ) -> list[npt.NDArray[np.float64]]:
        """Predict some rows of each fold with its best weights, which it keeps."""
        for weight, best in zip(self.weights, self.best_weights, strict=True):
            weight.assign(best)
        batches = [self._samples(tf.constant(batch))[0] for batch in _batches(rows)]
        scaled = tf.concat([self._predict(spectra) for spectra in batches], axis=1)
        predicted = (scaled * self._get("y_sd") + self._get("y_mean")).numpy()
        return [
            line[: len(some)].astype(np.float64)
            for line, some in zip(predicted, rows, strict=True)
        ]

    def read_weights(self) -> list[npt.NDArray[np.floating]]:
        """Return the weights as they are, read-only; after `predict_best` the best.

        What the tensors hold, not a copy of it: they may be hundreds of megabytes.
        """
        return [np.asarray(memoryview(one.read_value())) for one in self.weights]

    def _train_epochs(self, rows: tf.Tensor) -> tf.Tensor:
        """Run the epochs of `train` in the graph."""
        n_epochs, n_steps = tf.shape(rows)[0], tf.shape(rows)[1]

        def take_step(epoch: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            self._train_step(rows[epoch, step])
            return epoch, step + 1

        def run_epoch(
            epoch: tf.Tensor, history: tf.TensorArray
        ) -> tuple[tf.Tensor, tf.TensorArray]:
            tf.while_loop(lambda _, step: step < n_steps, take_step, [epoch, 0])
            return epoch + 1, history.write(epoch, self._finish_epoch())

        history = tf.TensorArray(self._dtype, n_epochs, element_shape=[self.n_folds])
        _, history = tf.while_loop(
            lambda epoch, _: epoch < n_epochs, run_epoch, [0, history]
        )
        return history.stack()

    def _train_step(self, rows: tf.Tensor) -> None:
        """Take one step of the optimiser in every fold; `rows` is (K, B)."""
        spectra, target, present = self._samples(rows)
        share = present / tf.reduce_sum(present, axis=1, keepdims=True)
        with tf.GradientTape() as tape:
            predicted = self._predict(spectra, present)
            loss = tf.reduce_sum(share * tf.square(predicted - target))
        trained = [self.weights[i] for i in self._trained]
        gradients = tape.gradient(loss, trained)
        # A weight that is still being read would be copied to be changed.
        with tf.control_dependencies(gradients):
            self._optimiser.apply(gradients)

    def _samples(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return scaled spectra (K, B, p), scaled targets and presence (K, B)."""
        present = tf.cast(rows >= 0, self._dtype)
        # What fills a batch up is one of its own samples: it cannot overflow alone.
        rows = tf.maximum(tf.where(rows < 0, rows[:, :1], rows), 0)
        spectra = tf.gather(self._get("X"), rows) - self._get("band_mean")
        target = tf.gather(self._get("y"), rows) - self._get("y_mean")
        return spectra / self._get("band_sd"), target / self._get("y_sd"), present

    def _predict(
        self, spectra: tf.Tensor, present: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Return scaled predictions (K, B) for scaled spectra (K, B, p).

        `present` (K, B), given in training only, marks the samples that are no filling.
        """
        values = tf.reshape(spectra, [self.n_folds, -1, *self._shape])
        place = 0
        for number, block in enumerate(self._blocks):
            if isinstance(block, ConvBlock):
                values = layers.convolve(values, self._read(place), block)
            else:
                values = tf.matmul(self._flat(values), self._read(place))
            values = self._add_or_normalise(values, place + 1, block, present)
            place += 6 if block.batch_normalisation else 2
            values = layers.activate(values, block.activation)
            if isinstance(block, ConvBlock):
                values = layers.pool(values, block)
            if present is not None:
                seed = self._get("seeds")[number]
                seed = tf.stack([seed, self._optimiser.n_taken])
                values = layers.drop(values, block.dropout, seed)
        output = tf.matmul(self._flat(values), self._read(place))
        return layers.add_bias(output, self._read(place + 1))[..., 0]

    def _read(self, place: int) -> tf.Tensor:
        """Return one weight as a tensor: a slice of a variable stays for good."""
        return tf.convert_to_tensor(self.weights[place])

    def _flat(self, values: tf.Tensor) -> tf.Tensor:
        """Return values (K, B, nodes)."""
        return tf.reshape(values, [self.n_folds, -1, np.prod(values.shape[2:])])

    def _add_or_normalise(
        self,
        values: tf.Tensor,
        place: int,
        block: ConvBlock | FCBlock,
        present: tf.Tensor | None,
    ) -> tf.Tensor:
        """Add the bias at `place`, or instead of it normalise and note the moments."""
        if not block.batch_normalisation:
            return layers.add_bias(values, self._read(place))
        scale, shift, *moving = (self._read(place + i) for i in range(1, 5))
        if present is None:
            return layers.normalise(values, moving[0], moving[1], scale, shift)
        moments = layers.batch_moments(values, present)
        for number, (old, new) in enumerate(zip(moving, moments, strict=True)):
            kept = old * layers.BN_MOMENTUM + new * (1 - layers.BN_MOMENTUM)
            self.weights[place + 3 + number].assign(kept)
        return layers.normalise(values, moments[0], moments[1], scale, shift)

    def _finish_epoch(self) -> tf.Tensor:
        """Keep what improved and return the RMSE of the folds still training."""
        rmse = self._watched_rmse()
        running = self._waited < self.architecture.patience
        finite = tf.math.is_finite(rmse)
        last = self._get("last")
        until = self._n_epochs.assign_add(1) <= last
        better = tf.where(last > 0, until & finite, rmse < self._best_rmse)
        improved = running & better
        which = tf.where(improved)[:, 0]
        for best, weight in zip(self.best_weights, self.weights, strict=True):
            # Of the tensor: a variable that was gathered from is copied at every read.
            values = tf.gather(tf.convert_to_tensor(weight), which)
            best.scatter_update(tf.IndexedSlices(values, which))
        self._best_rmse.assign(tf.where(improved, rmse, self._best_rmse))
        # No later step mends a weight that is not a number: such a fold stops at once.
        given_up = tf.fill([self.n_folds], np.int64(self.architecture.patience))
        waited = tf.where(finite, self._waited + 1, given_up)
        self._waited.assign(tf.where(improved, tf.zeros_like(waited), waited))
        self._diverged.assign(self._diverged | (running & ~finite))
        return tf.where(running, rmse, np.nan)

    def _watched_rmse(self) -> tf.Tensor:
        """Return the RMSE of each fold's watched rows (K,), scaled."""
        watched = tf.cast(self._get("watched"), tf.int32)

        def add_batch(
            number: tf.Tensor, squares: tf.Tensor, count: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            spectra, target, present = self._samples(watched[number])
            errors = tf.square(self._predict(spectra) - target)
            squares += tf.reduce_sum(tf.where(present > 0, errors, 0.0), axis=1)
            return number + 1, squares, count + tf.reduce_sum(present, axis=1)

        n_batches, zeros = tf.shape(watched)[0], tf.zeros([self.n_folds], self._dtype)
        _, squares, count = tf.while_loop(
            lambda number, *_: number < n_batches, add_batch, [0, zeros, zeros]
        )
        return tf.sqrt(squares / count)
