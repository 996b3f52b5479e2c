"""The folds of a cross-validation: their rows, their scaling, and what is random.

Everything random of a fold comes from its own generator, seeded by (seed, purpose, fold
position): a fold trains the same whatever else is trained beside it, in any process.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from soilnb.cnn.architecture import Architecture
from soilnb.cnn.shapes import layer_shapes

CONSTANT_SD = 1e-6  # a smaller spread is float32 rounding of SNV values, which are ~1
INNER_SHARE = 0.2  # of a fold's training rows, to stop by with stopping="inner"
STOPPINGS = ("validation", "inner")
INITIAL, SHUFFLE, DROPOUT, INNER = 1, 2, 3, 4  # purposes of the generators


@dataclass(frozen=True, eq=False)
class Scaling:
    """Mean and sd of each band and of the soil property, in their own units."""

    band_mean: npt.NDArray[np.float64]
    band_sd: npt.NDArray[np.float64]
    y_mean: float
    y_sd: float

    @classmethod
    def learn(cls, X: npt.NDArray, y: npt.NDArray) -> Scaling:
        """Return the scaling of training samples, X (n_samples, n_wavelengths), y.

        Standard deviations divide by n. What is constant (below 1e-6) is only centred,
        so that another value met later is not blown up.
        """
        band_sd = np.std(X, axis=0, dtype=np.float64)
        y_sd = float(np.std(y))
        return cls(
            band_mean=np.mean(X, axis=0, dtype=np.float64),
            band_sd=np.where(band_sd < CONSTANT_SD, 1.0, band_sd),
            y_mean=float(np.mean(y)),
            y_sd=1.0 if y_sd < CONSTANT_SD else y_sd,
        )

    @classmethod
    def none(cls, n_wavelengths: int) -> Scaling:
        """Return the scaling that changes nothing."""
        return cls(np.zeros(n_wavelengths), np.ones(n_wavelengths), 0.0, 1.0)


@dataclass(frozen=True, eq=False)
class Fold:
    """One fold: the rows that train its network, stop it and score it."""

    position: int  # among the folds, from 0; seeds what is random in this one
    train: npt.NDArray[np.intp]  # rows; the scaling is learned from them, too
    watched: npt.NDArray[np.intp]  # rows whose RMSE chooses the epoch
    held_out: npt.NDArray[np.intp]  # rows that score; the watched ones by default
    scaling: Scaling
    n_epochs: int = 0  # the weights after these are kept; 0: those of the best epoch

    def n_steps(self, batch_size: int) -> int:
        """Return the number of batches in an epoch, the last one possibly smaller."""
        return -(-len(self.train) // batch_size)


def make_folds(
    X: npt.NDArray,
    y: npt.NDArray,
    folds: npt.NDArray,
    *,
    stopping: str = "validation",
    seed: int = 1,
) -> list[Fold]:
    """Return the folds in the order of their numbers, each with its own scaling."""
    parts = []
    for position, number in enumerate(np.unique(folds)):
        train, held_out = (
            np.flatnonzero(folds != number),
            np.flatnonzero(folds == number),
        )
        watched = held_out
        if stopping == "inner":
            train, watched = _split(train, generator(seed, position, INNER))
        scaling = Scaling.learn(X[train], y[train])
        parts.append(Fold(position, train, watched, held_out, scaling))
    return parts


def _split(
    rows: npt.NDArray[np.intp], rng: np.random.Generator
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the rows that train and those, at least one, that are watched."""
    if len(rows) < 2:
        msg = (
            f"'stopping' is 'inner' but a fold leaves only {len(rows)} row to train "
            "and to stop by. Use stopping='validation' or other folds."
        )
        raise ValueError(msg)
    shuffled = rng.permutation(rows)
    n_watched = max(1, round(INNER_SHARE * len(rows)))
    return np.sort(shuffled[n_watched:]), np.sort(shuffled[:n_watched])


def generator(seed: int, position: int, purpose: int) -> np.random.Generator:
    """Return the generator of one fold for one purpose, as INITIAL or SHUFFLE."""
    return np.random.default_rng([seed, purpose, position])


def initial_weights(
    architecture: Architecture, n_wavelengths: int, rng: np.random.Generator
) -> Iterator[npt.NDArray[np.float32]]:
    """Yield first weights in Keras's order: Glorot-uniform kernels, zero biases."""
    for layer in layer_shapes(architecture, n_wavelengths):
        if layer.normalises:
            yield from (
                np.full(shape, value, np.float32)
                for shape, value in zip(layer.weights, (1, 0, 0, 1), strict=True)
            )
        elif layer.weights:
            kernel, bias = layer.weights
            fans = int(np.prod(kernel[:-2])) * (kernel[-2] + kernel[-1])
            drawn = rng.random(kernel, dtype=np.float32)  # in place: there are millions
            drawn -= 0.5
            drawn *= 2.0 * (6.0 / fans) ** 0.5
            yield drawn
            yield np.zeros(bias, np.float32)


def epoch_rows(
    fold: Fold, batch_size: int, rng: np.random.Generator
) -> npt.NDArray[np.int32]:
    """Return the shuffled training rows as batches; -1 fills the last one up."""
    n_steps = fold.n_steps(batch_size)
    rows = np.full(n_steps * batch_size, -1, np.int32)
    rows[: len(fold.train)] = rng.permutation(fold.train)
    return rows.reshape(n_steps, batch_size)
