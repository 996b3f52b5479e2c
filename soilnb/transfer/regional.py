"""From a global network to a region: fine-tune it, correct its bias, blend it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from soilnb._validation import Floats, Rows, check_matrix, check_vector, check_xy
from soilnb.cnn import Architecture, FCBlock, Scaling, n_weights
from soilnb.cnn.folds import Fold

if TYPE_CHECKING:
    import keras

    from soilnb.cnn.result import TrainedFold


# Of covariates, which have no order: a network without convolutions.
_NODES = (FCBlock(64, dropout=0.1), FCBlock(32, dropout=0.1))
NETWORK = Architecture(conv=(), fc=_NODES, batch_size=20)
HEAD = len(NETWORK.blocks)  # blocks that are frozen where only the output trains
GLOBAL_RATE = 2e-3  # of training on thousands of samples, in batches of 128
FINE_RATE = 3e-4  # of fine-tuning all layers: of a trained network small steps suffice
STEPS = 10  # of the optimiser, that count as one epoch however few the samples are
GSOILCPM_GROUPS = (7, 2, 19, 3, 1)  # covariates of each of its five branches
GSOILCPM_BRANCH = 32  # values that a branch puts out
MAX_SLOPE = 5.0  # of the gate, per standard deviation: steeper is a step


def gsoilcpm_weights() -> int:
    """Return the number of weights of GSoilCPM (Zhang et al. 2025), counted anew.

    Five groups of covariates each go through a 1 x 1 convolution of their own, which
    for one pixel is a fully connected layer; what follows is one network (Zhang et al.
    2025, Geoderma 461, 117466).

    >>> gsoilcpm_weights()
    87841
    """
    branches = sum((n + 1) * GSOILCPM_BRANCH for n in GSOILCPM_GROUPS)
    nodes = (FCBlock(128), FCBlock(256, dropout=0.2), FCBlock(128, dropout=0.5))
    trunk = Architecture(conv=(), fc=nodes)
    return branches + n_weights(trunk, len(GSOILCPM_GROUPS) * GSOILCPM_BRANCH)


@dataclass(frozen=True, eq=False)
class Task:
    """A network to train: rows that it learns from, and rows that it predicts."""

    train: Rows
    predict: Rows
    watch: Rows | None = None  # whose RMSE is noted; else, the first training row
    n_epochs: int = 0  # that are kept; 0: those of the lowest RMSE of `watch`
    start: int = 0  # which of the given networks it begins with


@dataclass(frozen=True, eq=False)
class Base:
    """Weights of a trained network in Keras's order, and the scaling it learned."""

    weights: Sequence[npt.NDArray]
    scaling: Scaling


def train_networks(
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    tasks: Sequence[Task],
    *,
    n_epochs: int,
    bases: Sequence[Base] = (),
    n_frozen: int = 0,
    scaling: Scaling | None = None,
    large: bool = False,
    seed: int = 1,
) -> list[TrainedFold]:
    """Train one network for each task, all of them together.

    `X` (n_rows, n_covariates) and `y` (n_rows,) are those of all rows that tasks name.
    With `bases` tasks begin with these networks and keep their scaling; without them
    each task draws its weights and learns its scaling, or takes `scaling` for the
    covariates. The first `n_frozen` blocks keep their weights (of a single base). An
    epoch is `STEPS` batches of 20 or, if `large`, a pass over thousands of samples in
    batches of 128; for every task as many steps, so that tasks of five and of a hundred
    samples train in one compiled step. `seed` is that of weights, batches and dropout.

    In the order of the tasks: predicted (of `Task.predict`), history (RMSE of
    `Task.watch`, an epoch each), weights.
    """
    from soilnb.cnn.training import Start, train_folds

    X, y = check_xy(X, y)
    X = X.astype(np.float32)
    n_covariates = X.shape[1]
    start, fixed = None, None
    if bases:
        fixed = bases[0].scaling
        if n_frozen:
            X, fixed = frozen_features(bases[0], X, n_frozen)
        n_kept = 2 * n_frozen  # kernel and bias of each block
        starts = (bases[task.start].weights[n_kept:] for task in tasks)
        begun = {number: list(weights) for number, weights in enumerate(starts)}
        start = Start(begun, n_frozen)
    parts, longest = [], max(len(task.train) for task in tasks)
    n_rows = longest if large else STEPS * NETWORK.batch_size
    for number, task in enumerate(tasks):
        own = fixed or Scaling.learn(X[task.train], y[task.train])
        if scaling is not None:
            own = replace(scaling, y_mean=own.y_mean, y_sd=own.y_sd)
        rows = np.resize(task.train, n_rows)
        watch = task.train[:1] if task.watch is None else task.watch
        parts.append(Fold(number, rows, watch, task.predict, own, task.n_epochs))
    rate = FINE_RATE if bases and not n_frozen else NETWORK.learning_rate
    architecture = replace(
        NETWORK,
        epochs=n_epochs,
        patience=n_epochs,
        batch_size=128 if large else NETWORK.batch_size,
        learning_rate=GLOBAL_RATE if large else rate,
    )
    options = {"n_wavelengths": n_covariates, "start": start, "seed": seed}
    return train_folds(architecture, X, y, parts, **options)


def frozen_features(
    base: Base, X: npt.NDArray, n_frozen: int
) -> tuple[npt.NDArray[np.float32], Scaling]:
    """Return what the first blocks of a network make of covariates, not scaled anew."""
    from soilnb.transfer.representations import FrozenNetwork

    network = FrozenNetwork(NETWORK, keras_model(base, X.shape[1]), n_frozen)
    features = network.features(X)
    plain = Scaling.none(features.shape[1])
    y_mean, y_sd = base.scaling.y_mean, base.scaling.y_sd
    return features, replace(plain, y_mean=y_mean, y_sd=y_sd)


def keras_model(base: Base, n_covariates: int) -> keras.Model:
    """Return a trained network as an ordinary Keras model."""
    from soilnb.cnn import build

    model = build(NETWORK, n_covariates, base.scaling)
    model.set_weights(list(base.weights))
    return model


def dropout_passes(
    base: Base, X: npt.ArrayLike, *, n_passes: int = 50, seed: int = 1
) -> tuple[Floats, Floats]:
    """Return mean and standard deviation of predictions with dropout left on.

    MC dropout (Gal and Ghahramani 2016, ICML 48, 1050-1059).
    """
    X = check_matrix(X, "X").astype(np.float32)
    model = keras_model(base, X.shape[1])
    dropped = [layer for layer in model.layers if hasattr(layer, "seed_generator")]
    for number, layer in enumerate(dropped):  # Keras draws them from global state
        layer.seed_generator.state.assign([seed, number])
    passes = np.asarray(model(np.tile(X, (n_passes, 1)), training=True))
    passes = passes.reshape(n_passes, len(X)).astype(np.float64)
    return passes.mean(axis=0), passes.std(axis=0, ddof=1)


def bayesian_update(
    mean: float, sd: float, new_mean: float, new_sd: float
) -> tuple[float, float]:
    """Return mean and standard deviation of a normal belief after new knowledge.

    Each is weighted by its precision, one over its variance.

    >>> [round(value, 4) for value in bayesian_update(5, 2, 3, 1)]
    [3.4, 0.8944]
    """
    precisions = 1 / sd**2, 1 / new_sd**2
    total = sum(precisions)
    return (precisions[0] * mean + precisions[1] * new_mean) / total, total**-0.5


def regional_bias(residuals: npt.ArrayLike, *, prior_sd: float | None = None) -> float:
    """Return what to add to a global model's predictions in a region.

    It is the mean of their `residuals`, measured minus predicted. With `prior_sd`, how
    far regions' mean residuals lie from zero, as seen in other regions, it is drawn to
    zero by `bayesian_update`, the more the fewer samples.
    """
    values = check_vector(residuals, "residuals")
    mean = float(values.mean())
    if prior_sd is None:
        return mean
    if len(values) < 2 or prior_sd == 0:
        return 0.0
    error = max(float(values.std(ddof=1)) / len(values) ** 0.5, 1e-9)
    return bayesian_update(0.0, prior_sd, mean, error)[0]


def ensemble_weight(
    y: npt.ArrayLike, of_global: npt.ArrayLike, of_regional: npt.ArrayLike
) -> float:
    """Return the weight of the global model that has the least squared error, 0 to 1.

    The predictions of samples that a model was fitted on flatter it: give those made
    out of fold.

    >>> ensemble_weight([1.0, 2.0], [1.5, 2.5], [0.5, 1.5])
    0.5
    """
    y, first = check_vector(y, "y"), check_vector(of_global, "of_global")
    second = check_vector(of_regional, "of_regional")
    apart = first - second
    if not np.any(apart):
        return 0.5
    return float(np.clip(apart @ (y - second) / (apart @ apart), 0, 1))


def fit_gate(
    y: npt.ArrayLike,
    of_global: npt.ArrayLike,
    of_regional: npt.ArrayLike,
    Z: npt.ArrayLike,
    *,
    penalty: float = 1.0,
) -> Floats:
    """Return the coefficients, intercept first, of a weight that depends on covariates.

    `of_global` and `of_regional` are predictions of `y` out of fold, `Z` (n, k) few
    standardised covariates; `penalty`, on the squares of the slopes in variances of
    `y`, keeps the weight of few samples constant.
    """
    from scipy.optimize import minimize

    y, first = check_vector(y, "y"), check_vector(of_global, "of_global")
    second, Z = check_vector(of_regional, "of_regional"), check_matrix(Z, "Z")
    constant = np.clip(ensemble_weight(y, first, second), 0.02, 0.98)
    begin = np.r_[np.log(constant / (1 - constant)), np.zeros(Z.shape[1])]
    scale = max(float(y.var()), 1e-12)

    def loss(coefficients: Floats) -> float:
        weight = gate_weights(coefficients, Z)
        error = y - weight * first - (1 - weight) * second
        shrinking = penalty * np.sum(coefficients[1:] ** 2)
        return float(error @ error / scale + shrinking)

    bounds = [(-MAX_SLOPE, MAX_SLOPE)] * len(begin)
    return minimize(loss, begin, method="L-BFGS-B", bounds=bounds).x


def gate_weights(coefficients: Floats, Z: npt.ArrayLike) -> Floats:
    """Return the weight of the global model for rows of covariates, 0 to 1."""
    return 1 / (1 + np.exp(-(coefficients[0] + np.asarray(Z) @ coefficients[1:])))


def best_epoch(histories: Sequence[Floats], weights: Sequence[int], base: float) -> int:
    """Return the epoch of the lowest cross-validated RMSE; 0 if the base's is lower.

    `weights` are the numbers of samples that each fold's history is of.
    """
    squares = np.average(np.square(histories), axis=0, weights=weights)
    path = np.r_[base**2, squares]
    return int(np.nanargmin(path))


def split_rows(
    rows: Rows, n_folds: int, rng: np.random.Generator
) -> list[tuple[Rows, Rows]]:
    """Return the rows that train and that are left out, of each random fold."""
    parts = np.array_split(rng.permutation(rows), min(n_folds, len(rows)))
    return [(np.setdiff1d(rows, part), part) for part in parts]
