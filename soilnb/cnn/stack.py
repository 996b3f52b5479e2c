"""The networks of some folds as one: every weight has a leading fold axis.

The loss is the sum over folds of each fold's own mean squared error, and optimisers
work element by element, so the folds train exactly as they would one by one. When half
of them have stopped, the others go on in a graph of half the size. Shapes in comments:
K folds, B samples in a batch, p wavelengths.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

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
_OF_ALL = ("X", "y", "seeds")  # data without an axis of folds, which else is the first
_OPEN_AXES = {"watched": (0, 1, 2), "seeds": ()}  # of any length; else the first

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
    key = (architecture, n_wavelengths, n_frozen, X.dtype.name)
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
    n_values = sum(int(tf.size(weight)) for weight in stack.weights)
    if n_values * stack.weights[0].dtype.size < MOST_IDLE_BYTES:
        stack.leave_samples()
        with _lock:
            _idle.append(stack)
            del _idle[:-MOST_IDLE]


def _variable(
    values: npt.NDArray | tf.Tensor, open_axes: Sequence[int] = (0,)
) -> tf.Variable:
    """Return a variable some of whose axes, that of folds first, may change length."""
    shape = [None if i in open_axes else n for i, n in enumerate(values.shape)]
    return tf.Variable(values, shape=tf.TensorShape(shape))


def _batches(rows: Sequence[npt.NDArray[np.intp]]) -> npt.NDArray[np.int32]:
    """Return the rows of K folds, shape (K, batches, rows), filled up with -1."""
    longest = max(len(some) for some in rows)
    size = min(longest, WATCHED_ROWS)
    n_batches = -(-longest // size)
    filled = np.full((len(rows), n_batches * size), -1, np.int32)
    for line, some in zip(filled, rows, strict=True):
        line[: len(some)] = some
    return filled.reshape(len(rows), n_batches, size)


class Left(NamedTuple):
    """What a fold has learned: its best weights, rows predicted, whether it failed."""

    weights: list[npt.NDArray[np.floating]]  # read-only
    predicted: npt.NDArray[np.float64]
    diverged: bool


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
        self.key = (architecture, n_wavelengths, n_frozen, X.dtype.name)
        self._n_frozen = n_frozen
        self._blocks = architecture.blocks[n_frozen:]
        self._shape, layers = tail_shapes(architecture, n_wavelengths, n_frozen)
        self.weights = [_variable(values) for values in weights]
        self._dtype = self.weights[0].dtype
        self.best_weights = [_variable(weight) for weight in self.weights]
        self._data: dict[str, tf.Variable] = {}
        self._set_data(X, y, folds, seeds)
        self._set_training(layers)
        self._graphs: dict[int, Any] = {}  # compiled, by K

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
        self._n_epochs.assign(0)

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
        self._n_folds = len(folds)
        scalings = [fold.scaling for fold in folds]
        floats: dict[str, npt.NDArray] = {
            "X": X,
            "y": y,
            "band_mean": np.stack([one.band_mean for one in scalings])[:, None],
            "band_sd": np.stack([one.band_sd for one in scalings])[:, None],
            "y_mean": np.array([[one.y_mean] for one in scalings]),
            "y_sd": np.array([[one.y_sd] for one in scalings]),
            "best_rmse": np.full(len(folds), np.inf),
        }
        whole: dict[str, npt.NDArray] = {
            "watched": _batches([fold.watched for fold in folds]),
            "last": np.array([fold.n_epochs for fold in folds]),
            "waited": np.zeros(len(folds)),
            "diverged": np.zeros(len(folds)),
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
        else:
            open_axes = _OPEN_AXES.get(name, (0,))
            self._data[name] = _variable(values, open_axes)

    def _get(self, name: str) -> tf.Tensor:
        """Return one of the data as a tensor, for the reason of `_read`."""
        if name in _OF_ALL:
            return tf.convert_to_tensor(self._data[name])
        return self._read(self._data[name])

    def _read(self, variable: tf.Variable) -> tf.Tensor:
        """Return a variable as a tensor of K folds: a slice of a variable stays."""
        shape = [self._n_folds, *variable.shape[1:]]
        return tf.ensure_shape(tf.convert_to_tensor(variable), shape)

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
            _variable,
        )
        self._n_epochs = tf.Variable(0, dtype=tf.int64)

    @property
    def stopped(self) -> npt.NDArray[np.bool_]:
        """Which folds have run out of patience or diverged (K,)."""
        return self._data["waited"].numpy() >= self.architecture.patience

    def train(self, rows: npt.NDArray[np.int32]) -> npt.NDArray[np.floating]:
        """Train on rows (epochs, steps, K, B); -1 fills a batch up.

        Return the watched RMSE (epochs, K) in sd of y; NaN after a fold has stopped.
        """
        return self.graph()(tf.constant(rows)).numpy()

    def graph(self) -> Any:
        """Return the graph for K folds and any number of epochs, steps and samples."""
        if self._n_folds not in self._graphs:
            rows = [None, None, self._n_folds, self.architecture.batch_size]
            self._graphs[self._n_folds] = tf.function(
                self._train_epochs,
                input_signature=[tf.TensorSpec(rows, tf.int32)],
                jit_compile=JIT_COMPILE,
                autograph=False,  # fails on Python 3.13: loops are written out
            ).get_concrete_function()
        return self._graphs[self._n_folds]

    def take_out(
        self, leaving: npt.NDArray[np.bool_], rows: Sequence[npt.NDArray[np.intp]]
    ) -> list[Left]:
        """Return what some folds have learned; the others train on without them.

        `rows` of each of the K folds are predicted. Where all leave, no weight, of
        which there may be hundreds of megabytes, is copied.
        """
        if leaving.all():
            return self._read_out(rows)
        staying = [tf.boolean_mask(weight, ~leaving) for weight in self.weights]
        read = self._read_out(rows)
        left = [
            read[i]._replace(weights=[weight.copy() for weight in read[i].weights])
            for i in np.flatnonzero(leaving)
        ]
        data = [self._data[name] for name in self._data if name not in _OF_ALL]
        for variable in (*self.best_weights, *self._optimiser.slots, *data):
            variable.assign(tf.boolean_mask(variable, ~leaving))
        for variable, values in zip(self.weights, staying, strict=True):
            variable.assign(values)
        self._n_folds -= len(left)
        return left

    def _read_out(self, rows: Sequence[npt.NDArray[np.intp]]) -> list[Left]:
        """Return the best weights of each fold, and its rows predicted with them."""
        for weight, best in zip(self.weights, self.best_weights, strict=True):
            weight.assign(best)
        batches = _batches(rows).swapaxes(0, 1)
        samples = [self._samples(tf.constant(batch))[0] for batch in batches]
        scaled = tf.concat([self._predict(spectra) for spectra in samples], axis=1)
        predicted = (scaled * self._get("y_sd") + self._get("y_mean")).numpy()
        weights = [np.asarray(memoryview(one.read_value())) for one in self.weights]
        diverged = self._data["diverged"].numpy()
        return [
            Left(
                [weight[place] for weight in weights],
                predicted[place, : len(some)].astype(np.float64),
                bool(diverged[place]),
            )
            for place, some in enumerate(rows)
        ]

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

        history = tf.TensorArray(self._dtype, n_epochs, element_shape=[self._n_folds])
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
        values = tf.reshape(spectra, [self._n_folds, -1, *self._shape])
        place = 0
        for number, block in enumerate(self._blocks):
            if isinstance(block, ConvBlock):
                values = layers.convolve(values, self._read(self.weights[place]), block)
            else:
                values = tf.matmul(self._flat(values), self._read(self.weights[place]))
            values = self._add_or_normalise(values, place + 1, block, present)
            place += 6 if block.batch_normalisation else 2
            values = layers.activate(values, block.activation)
            if isinstance(block, ConvBlock):
                values = layers.pool(values, block)
            if present is not None:
                seed = self._get("seeds")[number]
                seed = tf.stack([seed, self._optimiser.n_taken])
                values = layers.drop(values, block.dropout, seed)
        output = tf.matmul(self._flat(values), self._read(self.weights[place]))
        return layers.add_bias(output, self._read(self.weights[place + 1]))[..., 0]

    def _flat(self, values: tf.Tensor) -> tf.Tensor:
        """Return values (K, B, nodes)."""
        return tf.reshape(values, [self._n_folds, -1, np.prod(values.shape[2:])])

    def _add_or_normalise(
        self,
        values: tf.Tensor,
        place: int,
        block: ConvBlock | FCBlock,
        present: tf.Tensor | None,
    ) -> tf.Tensor:
        """Add the bias at `place`, or instead of it normalise and note the moments."""
        if not block.batch_normalisation:
            return layers.add_bias(values, self._read(self.weights[place]))
        scale, shift, *moving = map(self._read, self.weights[place + 1 : place + 5])
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
        waited, last = self._get("waited"), self._get("last")
        running = waited < self.architecture.patience
        finite = tf.math.is_finite(rmse)
        until = self._n_epochs.assign_add(1) <= last
        better = tf.where(last > 0, until & finite, rmse < self._get("best_rmse"))
        improved = running & better
        which = tf.where(improved)[:, 0]
        for best, weight in zip(self.best_weights, self.weights, strict=True):
            # Of the tensor: a variable that was gathered from is copied at every read.
            values = tf.gather(tf.convert_to_tensor(weight), which)
            best.scatter_update(tf.IndexedSlices(values, which))
        best_rmse = tf.where(improved, rmse, self._get("best_rmse"))
        self._data["best_rmse"].assign(best_rmse)
        # No later step mends a weight that is not a number: such a fold stops at once.
        given_up = tf.zeros_like(waited) + self.architecture.patience
        waited = tf.where(finite, waited + 1, given_up)
        self._data["waited"].assign(tf.where(improved, tf.zeros_like(waited), waited))
        gone = tf.cast(running & ~finite, tf.int64)
        self._data["diverged"].assign_add(gone)
        return tf.where(running, rmse, np.nan)

    def _watched_rmse(self) -> tf.Tensor:
        """Return the RMSE of each fold's watched rows (K,), scaled."""
        watched = tf.cast(self._get("watched"), tf.int32)

        def add_batch(
            number: tf.Tensor, squares: tf.Tensor, count: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            spectra, target, present = self._samples(watched[:, number])
            errors = tf.square(self._predict(spectra) - target)
            squares += tf.reduce_sum(tf.where(present > 0, errors, 0.0), axis=1)
            return number + 1, squares, count + tf.reduce_sum(present, axis=1)

        n_batches, zeros = tf.shape(watched)[1], tf.zeros_like(self._get("best_rmse"))
        _, squares, count = tf.while_loop(
            lambda number, *_: number < n_batches, add_batch, [0, zeros, zeros]
        )
        return tf.sqrt(squares / count)
