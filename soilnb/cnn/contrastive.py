"""Two encoders that learn without labels which two views are of the same place.

After SSL-SoilNet (Kakhani et al. 2024, IEEE Transactions on Geoscience and Remote
Sensing): a vision transformer reads an image, a transformer a climate series, and
NT-Xent pulls the two embeddings of a place together. A head makes a regression of both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from soilnb._validation import check_int
from soilnb.cnn._tensorflow import JIT_COMPILE, keras, tf

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.intp]

TEMPERATURE, BATCH_SIZE = 0.5, 128
RATE, TUNING_BATCH = 1e-3, 32
WATCHED = 0.2  # of the labelled samples: they choose the step of fine-tuning
CHECK_STEPS, PATIENCE = 10, 5  # between two looks at them; looks without a gain
CHUNK = 2048  # places that are embedded at once


@dataclass(frozen=True)
class EncoderSize:
    """How large an encoder is."""

    dim: int = 64  # width of a transformer
    depth: int = 2  # blocks
    heads: int = 4  # of attention
    feed: int = 128  # hidden nodes of a block
    n_out: int = 64  # length of the embedding
    patch: int = 4  # side of the squares that an image is cut into, cells
    dropout: float = 0.0  # share of nodes left out in training
    norm: str = "layer"  # or "batch": what normalises the series encoder


SMALL_ENCODER = EncoderSize()
# As the released code of SSL-SoilNet has them (github.com/moienr/SoilNet).
IMAGE_PUBLISHED = EncoderSize(768, 12, 12, 3072, 128, 8, 0.1)
SERIES_PUBLISHED = EncoderSize(512, 6, 8, 2048, 128, 8, 0.1, "batch")


def nt_xent(
    first: npt.ArrayLike, second: npt.ArrayLike, temperature: float = TEMPERATURE
) -> Any:
    """Return NT-Xent, the contrastive loss of two views of the same B places.

    Each of the 2B embeddings shall be nearer (cosine) to its partner than to all the
    others: the mean cross-entropy of choosing the partner among 2B - 1.

    Parameters
    ----------
    first, second : array-like of shape (B, n_out)
        Embeddings of any length; row i of both is place i.
    temperature : float, default 0.5
        Divides the cosines, above 0.

    Returns
    -------
    tensor, scalar
        Between `loss_floor` and infinity; about `loss_chance` for embeddings that know
        nothing.

    References
    ----------
    .. [1] Chen, Kornblith, Norouzi and Hinton (2020), ICML, PMLR 119, 1597-1607.

    Examples
    --------
    >>> round(float(nt_xent([[1.0, 0], [0, 1]], [[1.0, 0], [0, 1]])), 6)
    0.239545
    """
    both = tf.concat([tf.convert_to_tensor(first), tf.convert_to_tensor(second)], 0)
    unit = tf.math.l2_normalize(both, axis=1)
    cosines = tf.matmul(unit, unit, transpose_b=True) / temperature
    n = tf.shape(unit)[0]
    own = tf.eye(n, dtype=unit.dtype) * (2 / temperature + 1e4)  # none is its own
    partner = tf.reduce_sum(unit * tf.roll(unit, n // 2, 0), axis=1) / temperature
    return tf.reduce_mean(tf.reduce_logsumexp(cosines - own, axis=1) - partner)


def loss_floor(batch_size: int, temperature: float = TEMPERATURE) -> float:
    """Return the least NT-Xent that B places can have: it is not 0.

    Partners are the same vector there, and the B vectors the corners of a simplex, all
    cosines between places being -1 / (B - 1).

    Examples
    --------
    >>> round(loss_floor(128), 6)
    3.55071
    """
    check_int(batch_size, "batch_size", 2)
    gap = (1 + 1 / (batch_size - 1)) / temperature
    return float(np.log1p((2 * batch_size - 2) * np.exp(-gap)))


def loss_chance(batch_size: int) -> float:
    """Return the NT-Xent of embeddings that are all the same: log(2B - 1).

    Examples
    --------
    >>> round(loss_chance(128), 6)
    5.541264
    """
    return float(np.log(2 * batch_size - 1))


def retrieval(
    first: npt.ArrayLike, second: npt.ArrayLike, batch_size: int
) -> dict[str, float]:
    """Return how often the partner of a view is found among those of a batch.

    Parameters
    ----------
    first, second : array-like of shape (n_places, n_out)
        Embeddings; what does not fill a batch is left out.
    batch_size : int
        Candidates: chance finds 1 in so many.

    Returns
    -------
    dict
        top1 and top5 (shares), mean_rank (from 1), of both directions together.

    Examples
    --------
    >>> retrieval(np.eye(4), np.eye(4), 4)["top1"]
    1.0
    """
    a, b = (np.asarray(part, np.float64) for part in (first, second))
    check_int(batch_size, "batch_size", 2, len(a), " (the number of places)")
    n_used = len(a) // batch_size * batch_size
    a, b = (
        (part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12))[:n_used]
        for part in (a, b)
    )
    ranks = []
    for one, two in zip(
        a.reshape(-1, batch_size, a.shape[1]),
        b.reshape(-1, batch_size, b.shape[1]),
        strict=True,
    ):
        cosines = one @ two.T
        for matrix in (cosines, cosines.T):
            # Ties count as lost, so that a collapsed encoder finds nothing.
            ranks.append((matrix >= np.diag(matrix)[:, None]).sum(axis=1))
    rank = np.concatenate(ranks)
    shares = {f"top{k}": float((rank <= k).mean()) for k in (1, 5)}
    return shares | {"mean_rank": float(rank.mean())}


def build_encoder(
    shape: Sequence[int], size: EncoderSize = SMALL_ENCODER, *, head: bool = True
) -> keras.Model:
    """Return the encoder of a view, by the number of its axes.

    Parameters
    ----------
    shape : sequence of int
        Of one place: (rows, columns, bands), an image, for a vision transformer;
        (steps, variables), a series, for a transformer over time; (features,) for
        dense layers.
    size : EncoderSize, optional
    head : bool, default True
        Whether the series encoder ends in its embedding; otherwise in its steps.

    Returns
    -------
    keras.Model
        (n_places, *shape) to (n_places, n_out).

    Raises
    ------
    ValueError
        If an image cannot be cut into patches.
    """
    view = keras.Input(tuple(shape))
    if len(shape) == 1:
        values = view
        for _ in range(size.depth):
            values = keras.layers.Dense(size.feed, activation="gelu")(values)
        return keras.Model(view, keras.layers.Dense(size.n_out)(values))
    if len(shape) == 2:
        scale = size.dim**0.5
        values = keras.layers.Dense(size.dim)(view) * scale + _waves(shape[0], size.dim)
        values = _drop(values, size)
        for _ in range(size.depth):  # normalised after each sum
            values = _norm(values + _attend(values, size), size)
            values = _norm(values + _feed(values, size), size)
        if not head:
            return keras.Model(view, values)
        flat = keras.layers.Flatten()(keras.activations.gelu(values))
        return keras.Model(view, keras.layers.Dense(size.n_out)(flat))
    if shape[0] % size.patch or shape[1] % size.patch:
        msg = (
            f"'shape' must be a multiple of the patch of {size.patch} cells, got "
            f"{tuple(shape)}. Give another patch."
        )
        raise ValueError(msg)
    patches = keras.ops.image.extract_patches(view, size.patch)
    _, n_rows, n_columns, n_values = patches.shape
    patches = keras.ops.reshape(patches, (-1, n_rows * n_columns, n_values))
    values = _Tokens()(keras.layers.Dense(size.dim)(patches))
    values, size = _drop(values, size), replace(size, norm="layer")
    for _ in range(size.depth):  # normalised before each part
        values = values + _attend(_norm(values, size), size)
        values = values + _feed(_norm(values, size), size)
    return keras.Model(view, keras.layers.Dense(size.n_out)(_norm(values, size)[:, 0]))


class _Tokens(keras.layers.Layer):
    """Put a learned token before the patches and add a learned place to each."""

    def build(self, shape: tuple[int, ...]) -> None:
        _, n, dim = shape
        self.token = self.add_weight(shape=(1, 1, dim), name="token")
        self.places = self.add_weight(shape=(1, n + 1, dim), name="places")

    def call(self, values: Any) -> Any:
        token = keras.ops.repeat(self.token, keras.ops.shape(values)[0], axis=0)
        return keras.ops.concatenate([token, values], axis=1) + self.places


def _waves(n_steps: int, dim: int) -> Floats:
    """Return the fixed positions of a series: sines and cosines of falling pace."""
    pace = np.exp(-np.log(10_000) * np.arange(0, dim, 2) / dim)
    angle = np.arange(n_steps)[:, None] * pace
    return np.stack([np.sin(angle), np.cos(angle)], 2).reshape(n_steps, -1)[:, :dim]


def _norm(values: Any, size: EncoderSize) -> Any:
    """Return values normalised by sample, or by batch."""
    if size.norm == "batch":
        return keras.layers.BatchNormalization(epsilon=1e-5)(values)
    return keras.layers.LayerNormalization(epsilon=1e-5)(values)


def _drop(values: Any, size: EncoderSize) -> Any:
    """Return values with some left out in training."""
    return keras.layers.Dropout(size.dropout)(values) if size.dropout else values


def _attend(values: Any, size: EncoderSize) -> Any:
    """Return what each token takes from all tokens."""
    key_dim = size.dim // size.heads
    attention = keras.layers.MultiHeadAttention(size.heads, key_dim)
    return _drop(attention(values, values), size)


def _feed(values: Any, size: EncoderSize) -> Any:
    """Return what two dense layers make of each token."""
    wide = keras.layers.Dense(size.feed, activation="gelu")(values)
    return _drop(keras.layers.Dense(size.dim)(_drop(wide, size)), size)


def count_weights(model: keras.Model) -> int:
    """Return the number of weights that are trained."""
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_variables)


class Epoch(NamedTuple):
    """One epoch of pre-training; number 0 is before it."""

    number: int
    loss: float  # mean over the batches; NaN before the first
    validation_loss: float  # of places that did not train
    watched: tuple[Floats, Floats]  # their embeddings


class TwoEncoders:
    """The encoders of two views, a regression head, and their compiled steps.

    Parameters
    ----------
    views : pair of arrays of shape (n_places, ...)
        What is known of each place, twice; each is scaled by its own mean and standard
        deviation of each variable, without labels.
    size : EncoderSize, optional
        Of both. No dropout: a step then rests on the seed alone.
    """

    def __init__(
        self, views: tuple[Floats, Floats], size: EncoderSize = SMALL_ENCODER
    ) -> None:
        self.views = [tf.constant(standardise(view), tf.float32) for view in views]
        inputs = [keras.Input(view.shape[1:]) for view in views]
        encoders = [build_encoder(view.shape[1:], size) for view in views]
        parts = [one(view) for one, view in zip(encoders, inputs, strict=True)]
        self.encoder = keras.Model(inputs, parts)
        # The loss knows no scale, and embeddings grow: without this norm the two
        # encoders would reach the head at very different sizes.
        normed = [keras.layers.LayerNormalization()(part) for part in parts]
        dense = [keras.layers.Dense(size.n_out, "sigmoid")(part) for part in normed]
        joined = keras.ops.concatenate(dense, axis=1)
        joined = keras.layers.Dense(size.n_out, "sigmoid")(joined)
        self.regressor = keras.Model(inputs, keras.layers.Dense(1)(joined)[:, 0])
        self._embed = self._asking(self.encoder)
        self._predict = self._asking(self.regressor)
        self._pull = self._compile(self.encoder, self._contrast)
        self._fit = self._compile(self.regressor, self._miss)

    def draw(self, seed: int) -> list[Floats]:
        """Give all weights the first values that PyTorch would draw; return them."""
        rng, fan = np.random.default_rng(seed), 1.0
        for weight in self.regressor.trainable_variables:
            shape = tuple(weight.shape)
            if "kernel" in weight.name:
                # Kernels of attention have three axes, and as many nodes in as out.
                fan = shape[0] if len(shape) == 2 else np.prod(shape) ** 0.5
            weight.assign(_drawn(rng, weight.name, shape, fan))
        return self.weights()

    def weights(self) -> list[Floats]:
        """Return the weights of encoders and head."""
        return [weight.numpy() for weight in self.regressor.trainable_variables]

    def set_weights(self, weights: Sequence[Floats]) -> None:
        """Take weights that `weights` gave."""
        kept = self.regressor.trainable_variables
        for weight, values in zip(kept, weights, strict=True):
            weight.assign(values)

    def pretrain(
        self, train: Rows, watched: Rows, n_epochs: int, batch: int, *, seed: int = 1
    ) -> Iterator[Epoch]:
        """Train both encoders on some places without labels; yield each epoch.

        Images are flipped and turned by quarters at random, each view by itself, as
        what a place is does not depend on where north is. Places that are only watched
        are not. The rate falls to 0 as half a cosine.
        """
        rng = np.random.default_rng([seed, 1])
        step, optimiser, start = self._pull
        _restore(optimiser, start)
        yield self._look(0, np.nan, watched, batch)
        for epoch in range(n_epochs):
            rate = RATE * 0.5 * (1 + np.cos(np.pi * epoch / n_epochs))
            optimiser.learning_rate.assign(rate)
            shuffled = rng.permutation(train)[: len(train) // batch * batch]
            turns = rng.random((len(shuffled) // batch, batch, 2, 3)) < 0.5
            losses = [
                float(step(tf.constant(part), tf.constant(turn)))
                for part, turn in zip(shuffled.reshape(-1, batch), turns, strict=True)
            ]
            yield self._look(epoch + 1, float(np.mean(losses)), watched, batch)

    def _look(self, number: int, loss: float, rows: Rows, batch: int) -> Epoch:
        """Return an epoch with the mean NT-Xent of whole batches of some places."""
        first, second = self.embed(rows)
        parts = range(0, len(rows) - batch + 1, batch)
        losses = [
            float(nt_xent(first[one : one + batch], second[one : one + batch]))
            for one in parts
        ]
        return Epoch(number, loss, float(np.mean(losses)), (first, second))

    def embed(self, rows: Rows) -> tuple[Floats, Floats]:
        """Return the embeddings of both views of some places, (n, n_out) each."""
        first, second = zip(*map(self._embed, _parts(rows)), strict=True)
        return np.concatenate(first), np.concatenate(second)

    def tune(
        self, rows: Rows, y: npt.ArrayLike, n_steps: int, *, seed: int = 1
    ) -> TwoEncoders:
        """Train encoders and head on labelled places, from the weights they have.

        A fifth of the places choose the step whose weights are kept, which may be the
        first: what they are is never a matter of a test.

        Parameters
        ----------
        rows, y : array of shape (n_labelled,)
            Places and their values, standardised.
        n_steps : int
            Batches, at most.
        seed : int, default 1
            Of the split and the batches.
        """
        rng = np.random.default_rng([seed, 2])
        y = np.asarray(y, np.float32)
        order = rng.permutation(len(rows))
        watched, train = np.split(order, [int(np.ceil(WATCHED * len(rows)))])
        step, optimiser, start = self._fit
        _restore(optimiser, start)
        size = min(TUNING_BATCH, len(train))
        best, least, waited = self.weights(), np.inf, -1
        queue = np.array([], np.intp)
        for number in range(n_steps + 1):
            if number % CHECK_STEPS == 0:
                missed = self.predict(rows[watched]) - y[watched]
                waited += 1
                if (error := float(np.mean(missed**2))) < least:
                    best, least, waited = self.weights(), error, 0
                if waited == PATIENCE:
                    break
            if len(queue) < size:
                queue = rng.permutation(train)
            part, queue = queue[:size], queue[size:]
            step(tf.constant(rows[part]), tf.constant(y[part]))
        self.set_weights(best)
        return self

    def predict(self, rows: Rows) -> Floats:
        """Return what the head makes of some places."""
        return np.concatenate([self._predict(part) for part in _parts(rows)])

    def _asking(self, model: keras.Model) -> Any:
        """Return a model of rows, compiled for any number of them."""
        rows = tf.TensorSpec([None], tf.int64)
        return tf.function(
            lambda rows: model(self._at(rows)), input_signature=[rows], autograph=False
        )

    def _at(self, rows: tf.Tensor) -> list[tf.Tensor]:
        """Return both views of some places."""
        return [tf.gather(view, rows) for view in self.views]

    def _contrast(self, rows: tf.Tensor, turns: tf.Tensor) -> tf.Tensor:
        """Return the loss of pre-training."""
        views = [
            _turned(view, turns[:, place]) for place, view in enumerate(self._at(rows))
        ]
        return nt_xent(*self.encoder(views, training=True))

    def _miss(self, rows: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """Return the loss of fine-tuning."""
        predicted = self.regressor(self._at(rows), training=True)
        return tf.reduce_mean(tf.square(predicted - y))

    def _compile(self, model: keras.Model, loss: Any) -> tuple[Any, Any, list[Any]]:
        """Return a compiled step of a loss, its optimiser and how that begins."""
        variables, optimiser = model.trainable_variables, keras.optimizers.Adam(RATE)
        optimiser.build(variables)

        @tf.function(jit_compile=JIT_COMPILE, autograph=False, reduce_retracing=True)
        def step(rows: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                value = loss(rows, y)
            optimiser.apply(tape.gradient(value, variables), variables)
            return value

        return step, optimiser, [one.numpy() for one in optimiser.variables]


def standardise(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return a view with mean 0 and sd 1 of each variable; 0 where it is constant."""
    raw = np.asarray(values, np.float64)
    axes = tuple(range(raw.ndim - 1))
    spread = raw.std(axis=axes)
    return (raw - raw.mean(axis=axes)) / np.where(spread > 1e-9, spread, 1.0)


def _turned(view: tf.Tensor, turns: tf.Tensor) -> tf.Tensor:
    """Return images in one of the eight positions of a square; other views as is."""
    if len(view.shape) != 4:
        return view
    others = (
        lambda one: tf.reverse(one, [1]),
        lambda one: tf.reverse(one, [2]),
        lambda one: tf.transpose(one, [0, 2, 1, 3]),
    )
    for place, other in enumerate(others):
        view = tf.where(turns[:, place, None, None, None], other(view), view)
    return view


def _restore(optimiser: Any, start: Sequence[Any]) -> None:
    """Let an optimiser forget all it has seen."""
    for variable, value in zip(optimiser.variables, start, strict=True):
        variable.assign(value)


def _drawn(
    rng: np.random.Generator, name: str, shape: tuple[int, ...], fan: float
) -> Any:
    """Return the first values of a weight of a layer with `fan` nodes before it."""
    if "gamma" in name:
        return np.ones(shape)
    if "kernel" not in name and "bias" not in name:
        return np.zeros(shape)  # a token and its places, too, as in the source's code
    return rng.uniform(-(fan**-0.5), fan**-0.5, shape)


def _parts(rows: Rows) -> list[tf.Tensor]:
    """Return rows in parts that fit into memory."""
    parts = np.split(rows, range(CHUNK, len(rows), CHUNK))
    return [tf.constant(part, tf.int64) for part in parts]
