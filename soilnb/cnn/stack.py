"""The networks of all folds as one: every weight has a leading fold axis.

The loss is the sum over folds of each fold's own mean squared error, and Adam works
element by element, so the folds train exactly as they would one by one. Shapes in
comments: K folds, B samples in a batch, p wavelengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from soilnb.cnn._tensorflow import keras, tf
from soilnb.cnn.architecture import Architecture, ConvBlock
from soilnb.cnn.network import Scaling

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7  # Adam, as Keras sets them
HELD_OUT_ROWS = 128  # held-out samples of a fold predicted at once: bounds the memory


@dataclass(frozen=True, eq=False)
class Fold:
    """One fold: which rows train its network, which are held out, and its scaling.

    Parameters
    ----------
    position : int
        Place among the folds, from 0; seeds what is random in this fold.
    train, held_out : array of int
        Row numbers.
    scaling : Scaling
        Learned from the training rows only.
    """

    position: int
    train: npt.NDArray[np.intp]
    held_out: npt.NDArray[np.intp]
    scaling: Scaling

    def n_steps(self, batch_size: int) -> int:
        """Return the number of batches in an epoch, the last one possibly smaller."""
        return -(-len(self.train) // batch_size)


def initial_weights(
    architecture: Architecture, n_wavelengths: int, rng: np.random.Generator
) -> list[npt.NDArray[np.float32]]:
    """Return weights as Keras initialises them: Glorot-uniform kernels, zero biases.

    Parameters
    ----------
    architecture : Architecture
        Blocks of the network.
    n_wavelengths : int
        Bands of a spectrum.
    rng : numpy.random.Generator
        Source of the kernels.

    Returns
    -------
    list of array
        Kernel and bias of each layer, in the order of `keras.Model.get_weights`.
    """
    weights = []
    for shape in architecture.weight_shapes(n_wavelengths):
        if len(shape) == 1:
            weights.append(np.zeros(shape, np.float32))
            continue
        fans = int(np.prod(shape[:-2])) * (shape[-2] + shape[-1])
        limit = np.sqrt(6.0 / fans)
        weights.append(rng.uniform(-limit, limit, shape).astype(np.float32))
    return weights


def epoch_rows(
    fold: Fold, batch_size: int, rng: np.random.Generator
) -> npt.NDArray[np.int32]:
    """Return the shuffled training rows of one epoch, as batches.

    Parameters
    ----------
    fold : Fold
        Gives the training rows.
    batch_size : int
        Rows in a batch.
    rng : numpy.random.Generator
        Source of the order.

    Returns
    -------
    array of shape (n_steps, batch_size)
        Row numbers; -1 fills the last batch up.
    """
    n_steps = fold.n_steps(batch_size)
    rows = np.full(n_steps * batch_size, -1, np.int32)
    rows[: len(fold.train)] = rng.permutation(fold.train)
    return rows.reshape(n_steps, batch_size)


def _held_out_batches(folds: Sequence[Fold]) -> npt.NDArray[np.int32]:
    """Return held-out rows, shape (batches, K, rows), filled up with -1."""
    longest = max(len(fold.held_out) for fold in folds)
    size = min(longest, HELD_OUT_ROWS)
    n_batches = -(-longest // size)
    rows = np.full((len(folds), n_batches * size), -1, np.int32)
    for filled, fold in zip(rows, folds, strict=True):
        filled[: len(fold.held_out)] = fold.held_out
    return rows.reshape(len(folds), n_batches, size).transpose(1, 0, 2)


def _convolve(
    values: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, block: ConvBlock
) -> tf.Tensor:
    """Convolve (K, B, length, channels) with (K, kernel, channels, filters)."""
    folds, length, channels = values.shape[0], values.shape[2], values.shape[3]
    if channels > 1:  # ten native convolutions are faster than one on gathered frames
        convolved = [
            tf.nn.conv1d(one, weights, block.stride, "VALID")
            for one, weights in zip(tf.unstack(values), tf.unstack(kernel), strict=True)
        ]
        return tf.stack(convolved) + bias[:, None, None]
    n_out = block.output_length(length)
    starts = block.stride * np.arange(n_out)
    frames = tf.gather(
        values[..., 0], starts[:, None] + np.arange(block.kernel), axis=2
    )
    flat = tf.matmul(tf.reshape(frames, [folds, -1, block.kernel]), kernel[:, :, 0])
    return tf.reshape(flat + bias[:, None], [folds, -1, n_out, block.filters])


def _apply_activation(values: tf.Tensor, name: str) -> tf.Tensor:
    """Return the activation that Keras calls `name`."""
    if name == "silu":
        # Not Keras's: its custom gradient keeps every graph in memory for good.
        return values * tf.sigmoid(values)
    return keras.activations.get(name)(values)


class FoldStack:
    """The networks of some folds, trained together.

    Parameters
    ----------
    architecture : Architecture
        Blocks and training settings.
    X : array of shape (n_samples, n_wavelengths)
        SNV absorbance of all samples.
    y : array of shape (n_samples,)
        Soil property of all samples.
    folds : sequence of Fold
        All with the same number of batches in an epoch: Adam counts steps once for all
        of them.
    weights : list of array
        Initial weights, each with a leading fold axis.
    rng : numpy.random.Generator
        Source of the seeds of the dropout.
    """

    def __init__(
        self,
        architecture: Architecture,
        X: npt.NDArray,
        y: npt.NDArray,
        folds: Sequence[Fold],
        weights: Sequence[npt.NDArray],
        rng: np.random.Generator,
    ) -> None:
        self.architecture = architecture
        self.n_folds = len(folds)
        self._set_data(X, y, folds)
        seeds = rng.integers(2**31, size=len(architecture.blocks))
        self._dropout_seeds = seeds.astype(np.int32)
        self.weights = [tf.Variable(values) for values in weights]
        self.best_weights = [tf.Variable(values) for values in weights]
        self._means = [tf.Variable(tf.zeros_like(values)) for values in weights]
        self._squares = [tf.Variable(tf.zeros_like(values)) for values in weights]
        self._step = tf.Variable(0)
        self._best_rmse = tf.Variable(tf.fill([self.n_folds], np.float32(np.inf)))
        self._waited = tf.Variable(tf.zeros([self.n_folds], tf.int32))
        batch_size = architecture.batch_size
        rows = [None, folds[0].n_steps(batch_size), self.n_folds, batch_size]
        # Traced once, whatever the number of epochs asked for. XLA is many times
        # slower than the plain graph on a CPU.
        self._train = tf.function(
            self._train_epochs,
            input_signature=[tf.TensorSpec(rows, tf.int32)],
            jit_compile=False,
            autograph=False,  # it does not work on Python 3.13: loops are written out
        ).get_concrete_function()

    def _set_data(self, X: npt.NDArray, y: npt.NDArray, folds: Sequence[Fold]) -> None:
        """Keep the samples once, and each fold's scaling and held-out rows."""

        def stacked(values: list[npt.NDArray]) -> tf.Tensor:
            return tf.constant(np.stack(values)[:, None], tf.float32)

        scalings = [fold.scaling for fold in folds]
        self._X = tf.constant(X, tf.float32)
        self._y = tf.constant(y, tf.float32)
        self._band_mean = stacked([scaling.band_mean for scaling in scalings])
        self._band_sd = stacked([scaling.band_sd for scaling in scalings])
        self._y_mean = stacked([np.array(scaling.y_mean) for scaling in scalings])
        self._y_sd = stacked([np.array(scaling.y_sd) for scaling in scalings])
        self._held_out = tf.constant(_held_out_batches(folds))

    @property
    def all_stopped(self) -> bool:
        """Whether every fold has run out of patience."""
        return bool(np.all(self._waited.numpy() >= self.architecture.patience))

    def train(self, rows: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
        """Train for some epochs; each fold's best weights are kept.

        Parameters
        ----------
        rows : array of shape (n_epochs, n_steps, n_folds, batch_size)
            Training rows of each batch, -1 where a batch is not full.

        Returns
        -------
        array of shape (n_epochs, n_folds)
            RMSE of the held-out rows after each epoch, in standard deviations of the
            training values; NaN after a fold has run out of patience.
        """
        return self._train(tf.constant(rows)).numpy()

    def _train_epochs(self, rows: tf.Tensor) -> tf.Tensor:
        """Run the epochs of `train` in the graph."""
        n_epochs, n_steps = tf.shape(rows)[0], rows.shape[1]

        def take_step(epoch: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            self._train_step(rows[epoch, step])
            return epoch, step + 1

        def run_epoch(
            epoch: tf.Tensor, history: tf.TensorArray
        ) -> tuple[tf.Tensor, tf.TensorArray]:
            tf.while_loop(lambda _, step: step < n_steps, take_step, [epoch, 0])
            return epoch + 1, history.write(epoch, self._finish_epoch())

        history = tf.TensorArray(tf.float32, n_epochs, element_shape=[self.n_folds])
        _, history = tf.while_loop(
            lambda epoch, _: epoch < n_epochs, run_epoch, [0, history]
        )
        return history.stack()

    def _train_step(self, rows: tf.Tensor) -> None:
        """Take one step of Adam in every fold; `rows` is (K, B)."""
        spectra, target, present = self._samples(rows)
        share = present / tf.reduce_sum(present, axis=1, keepdims=True)
        with tf.GradientTape() as tape:
            predicted = self._predict(spectra, training=True)
            loss = tf.reduce_sum(share * tf.square(predicted - target))
        self._apply_adam(tape.gradient(loss, self.weights))

    def _samples(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return scaled spectra (K, B, p), scaled targets and presence (K, B)."""
        present = tf.cast(rows >= 0, tf.float32)
        rows = tf.maximum(rows, 0)
        spectra = (tf.gather(self._X, rows) - self._band_mean) / self._band_sd
        target = (tf.gather(self._y, rows) - self._y_mean) / self._y_sd
        return spectra, target, present

    def _predict(self, spectra: tf.Tensor, *, training: bool) -> tf.Tensor:
        """Return scaled predictions (K, B) for scaled spectra (K, B, p)."""
        # Tensors, since a slice of a variable would keep it in memory for good.
        weights = [tf.convert_to_tensor(weight) for weight in self.weights]
        layers = list(zip(weights[::2], weights[1::2], strict=True))
        n_conv = len(self.architecture.conv)
        values = spectra[..., None]
        for number, block in enumerate(self.architecture.conv):
            values = _convolve(values, *layers[number], block)
            values = self._activate(values, number, training)
        values = tf.reshape(values, [self.n_folds, -1, np.prod(values.shape[2:])])
        for number in range(n_conv, len(layers)):
            kernel, bias = layers[number]
            values = tf.matmul(values, kernel) + bias[:, None]
            if number < len(layers) - 1:
                values = self._activate(values, number, training)
        return values[..., 0]

    def _activate(self, values: tf.Tensor, number: int, training: bool) -> tf.Tensor:
        """Apply activation and, in training, dropout of block `number`."""
        block = self.architecture.blocks[number]
        values = _apply_activation(values, block.activation)
        if not (training and block.dropout):
            return values
        seed = tf.stack([self._dropout_seeds[number], self._step])
        return tf.nn.experimental.stateless_dropout(values, block.dropout, seed)

    def _apply_adam(self, gradients: Sequence[tf.Tensor]) -> None:
        """Update the weights; one fused operation per weight, as Keras's formula."""
        step = tf.cast(self._step.assign_add(1), tf.float32)
        for weight, mean, square, gradient in zip(
            self.weights, self._means, self._squares, gradients, strict=True
        ):
            tf.raw_ops.ResourceApplyAdam(
                var=weight.handle,
                m=mean.handle,
                v=square.handle,
                beta1_power=tf.pow(BETA_1, step),
                beta2_power=tf.pow(BETA_2, step),
                lr=self.architecture.learning_rate,
                beta1=BETA_1,
                beta2=BETA_2,
                epsilon=EPSILON,
                grad=gradient,
            )

    def _finish_epoch(self) -> tf.Tensor:
        """Keep what improved and return the RMSE of the folds still training."""
        rmse = self._held_out_rmse()
        running = self._waited < self.architecture.patience
        improved = running & (rmse < self._best_rmse)
        which = tf.where(improved)[:, 0]
        for best, weight in zip(self.best_weights, self.weights, strict=True):
            best.scatter_update(tf.IndexedSlices(tf.gather(weight, which), which))
        self._best_rmse.assign(tf.where(improved, rmse, self._best_rmse))
        self._waited.assign(tf.where(improved, 0, self._waited + 1))
        return tf.where(running, rmse, np.nan)

    def _held_out_rmse(self) -> tf.Tensor:
        """Return the RMSE of each fold's held-out rows (K,), scaled."""

        def add_batch(
            number: tf.Tensor, squares: tf.Tensor, count: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            spectra, target, present = self._samples(self._held_out[number])
            errors = self._predict(spectra, training=False) - target
            squares += tf.reduce_sum(present * tf.square(errors), axis=1)
            return number + 1, squares, count + tf.reduce_sum(present, axis=1)

        n_batches, zeros = self._held_out.shape[0], tf.zeros([self.n_folds])
        _, squares, count = tf.while_loop(
            lambda number, *_: number < n_batches, add_batch, [0, zeros, zeros]
        )
        return tf.sqrt(squares / count)
