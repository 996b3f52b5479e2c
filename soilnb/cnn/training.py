"""Cross-validation of a 1D-CNN, the networks of all folds trained together."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from soilnb._validation import check_int, check_matrix, check_rows, check_vector
from soilnb.cnn.architecture import Architecture
from soilnb.cnn.network import FoldModels, Scaling, build, predict_one
from soilnb.cnn.stack import Fold, FoldStack, epoch_rows, initial_weights

__all__ = ["CrossValidation", "FoldModels", "Progress", "build", "cross_validate"]

CHUNK_EPOCHS = 10  # epochs between two looks at early stopping and two reports
INITIAL, SHUFFLE, DROPOUT = 1, 2, 3  # each has its own generator in each fold

Progress = Callable[[int, int, str], object]


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """Result of a cross-validation.

    Parameters
    ----------
    fold_rmse : array of shape (n_folds,)
        RMSE of each fold's held-out samples, in the unit of the soil property.
    rmse : float
        RMSE over all held-out samples together, same unit.
    out_of_fold : array of shape (n_samples,)
        Each sample predicted by the one network that has not seen it, same unit.
    history : array of shape (n_epochs, n_folds)
        RMSE of the held-out samples after each epoch, same unit; NaN after a fold has
        stopped.
    best_epoch : array of shape (n_folds,)
        Epoch, from 1, whose weights were kept; 0 if no RMSE was finite.
    models : FoldModels
        The networks, one per fold number in increasing order.
    seconds : float
        Duration of the whole call, in seconds.
    """

    fold_rmse: npt.NDArray[np.float64]
    rmse: float
    out_of_fold: npt.NDArray[np.float64]
    history: npt.NDArray[np.float64]
    best_epoch: npt.NDArray[np.intp]
    models: FoldModels
    seconds: float

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the mean of the fold-models' predictions; see `FoldModels.predict`."""
        return self.models.predict(X)


@dataclass(frozen=True, eq=False)
class _Trained:
    """One fold after training: its best weights and its history, in the unit of y."""

    weights: list[npt.NDArray[np.float32]]
    history: npt.NDArray[np.float64]


def cross_validate(
    architecture: Architecture,
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    folds: npt.ArrayLike,
    *,
    seed: int = 1,
    max_epochs: int | None = None,
    progress: Progress | None = None,
) -> CrossValidation:
    """Train one network per fold, each on the samples of the other folds.

    Each network minimises the mean squared error with Adam on shuffled batches, stops
    when its held-out RMSE has not fallen for `architecture.patience` epochs, and keeps
    the weights of its best epoch.

    Parameters
    ----------
    architecture : Architecture
        Blocks and training settings.
    X : array-like of shape (n_samples, n_wavelengths)
        SNV absorbance.
    y : array-like of shape (n_samples,)
        Soil property, in its own unit.
    folds : array-like of int, shape (n_samples,)
        Fold number of each sample; the folds may differ in size.
    seed : int, default 1
        Seed of initial weights, order of the batches and dropout, at least 0.
    max_epochs : int, optional
        Fewer epochs than `architecture.epochs`, for a quick run.
    progress : callable, optional
        Called as progress(done, total, text), in epochs, several times on the way.

    Returns
    -------
    CrossValidation
        Errors, held-out predictions, histories and models.

    Raises
    ------
    TypeError
        If `folds` are not whole numbers.
    ValueError
        If shapes disagree, values are not finite, there are fewer than 2 folds, or the
        architecture does not fit the number of wavelengths.

    Notes
    -----
    Bands and targets are standardised with the training samples of each fold only, and
    each model holds its own scaling. The epoch is chosen on the samples that give the
    RMSE, so the RMSE is optimistic: report an independent test set. Folds with as many
    batches in an epoch share one graph; the rare cross-validation with two numbers of
    batches trains two of them, one after the other.

    Examples
    --------
    >>> import numpy as np
    >>> from soilnb.cnn import Architecture, ConvBlock, cross_validate
    >>> rng = np.random.default_rng(1)
    >>> X = rng.normal(size=(12, 10))
    >>> tiny = Architecture(conv=(ConvBlock(2, kernel=3),), fc=())
    >>> result = cross_validate(tiny, X, X[:, 0], np.arange(12) % 2, max_epochs=2)
    >>> result.history.shape
    (2, 2)
    """
    started = time.perf_counter()
    X, y, folds = _check_samples(X, y, folds)
    architecture.conv_lengths(X.shape[1])
    check_int(seed, "seed", 0)
    if max_epochs is not None:
        check_int(max_epochs, "max_epochs", 1)
    n_epochs = min(architecture.epochs, max_epochs or architecture.epochs)
    parts = _make_folds(X, y, folds)
    trained = _train_all(architecture, X, y, parts, n_epochs, seed, progress)
    return _result(architecture, X, y, parts, trained, started)


def _check_samples(
    X: npt.ArrayLike, y: npt.ArrayLike, folds: npt.ArrayLike
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64], npt.NDArray]:
    """Return checked spectra, property and fold numbers."""
    X = check_matrix(X, "X").astype(np.float32)
    y = check_vector(y, "y")
    folds = np.asarray(folds)
    check_rows(X, "X", y, "y")
    if folds.ndim != 1 or not np.issubdtype(folds.dtype, np.integer):
        msg = (
            "'folds' must be a 1D array of whole numbers, "
            f"got shape {folds.shape} of {folds.dtype}."
        )
        raise TypeError(msg)
    check_rows(X, "X", folds, "folds")
    if len(np.unique(folds)) < 2:
        msg = f"'folds' must hold at least 2 different numbers, got only {folds[0]}."
        raise ValueError(msg)
    return X, y, folds


def _make_folds(X: npt.NDArray, y: npt.NDArray, folds: npt.NDArray) -> list[Fold]:
    """Return the folds in the order of their numbers, each with its own scaling."""
    parts = []
    for position, number in enumerate(np.unique(folds)):
        train = np.flatnonzero(folds != number)
        held_out = np.flatnonzero(folds == number)
        scaling = Scaling.learn(X[train], y[train])
        parts.append(Fold(position, train, held_out, scaling))
    return parts


def _train_all(
    architecture: Architecture,
    X: npt.NDArray,
    y: npt.NDArray,
    parts: Sequence[Fold],
    n_epochs: int,
    seed: int,
    progress: Progress | None,
) -> list[_Trained]:
    """Train the folds in groups with equally many batches; return them in order."""
    batch_size = architecture.batch_size
    sizes = sorted({fold.n_steps(batch_size) for fold in parts})
    total = n_epochs * len(sizes)
    trained: dict[int, _Trained] = {}
    for number, n_steps in enumerate(sizes):
        group = [fold for fold in parts if fold.n_steps(batch_size) == n_steps]
        stack = _make_stack(architecture, X, y, group, seed)

        def report(done: int, text: str, before: int = number * n_epochs) -> None:
            if progress is not None:
                progress(before + done, total, text)

        history = _train_group(stack, group, n_epochs, seed, report)
        best = [weight.numpy() for weight in stack.best_weights]
        for place, fold in enumerate(group):
            weights = [weight[place] for weight in best]
            trained[fold.position] = _Trained(weights, history[:, place])
    return [trained[fold.position] for fold in parts]


def _make_stack(
    architecture: Architecture,
    X: npt.NDArray,
    y: npt.NDArray,
    group: Sequence[Fold],
    seed: int,
) -> FoldStack:
    """Return the networks of a group of folds, each with its own initial weights."""
    drawn = [
        initial_weights(architecture, X.shape[1], _generator(seed, fold, INITIAL))
        for fold in group
    ]
    weights = [np.stack(layer) for layer in zip(*drawn, strict=True)]
    rng = _generator(seed, group[0], DROPOUT)  # one draw of dropout for all folds
    return FoldStack(architecture, X, y, group, weights, rng)


def _generator(seed: int, fold: Fold, purpose: int) -> np.random.Generator:
    """Return the generator of one fold: the same whatever else is trained with it."""
    return np.random.default_rng([seed, purpose, fold.position])


def _train_group(
    stack: FoldStack,
    group: Sequence[Fold],
    n_epochs: int,
    seed: int,
    report: Callable[[int, str], None],
) -> npt.NDArray[np.float64]:
    """Train until the last epoch or until all have stopped; return (epochs, K) RMSE."""
    batch_size = stack.architecture.batch_size
    shufflers = [_generator(seed, fold, SHUFFLE) for fold in group]
    y_sd = np.array([fold.scaling.y_sd for fold in group])
    history = np.empty((0, len(group)))
    while len(history) < n_epochs and not stack.all_stopped:
        chunk = min(CHUNK_EPOCHS, n_epochs - len(history))
        rows = [
            [
                epoch_rows(fold, batch_size, rng)
                for fold, rng in zip(group, shufflers, strict=True)
            ]
            for _ in range(chunk)
        ]
        rmse = stack.train(np.array(rows).transpose(0, 2, 1, 3)) * y_sd
        history = np.concatenate([history, rmse])
        done = n_epochs if stack.all_stopped else len(history)
        report(done, _progress_text(history))
    return history


def _progress_text(history: npt.NDArray) -> str:
    """Return the epochs run and the mean of the folds' lowest RMSE so far."""
    lowest = np.fmin.reduce(history, axis=0).mean()
    return f"epoch {len(history)}, held-out RMSE {lowest:.3g}"


def _result(
    architecture: Architecture,
    X: npt.NDArray,
    y: npt.NDArray,
    parts: Sequence[Fold],
    trained: Sequence[_Trained],
    started: float,
) -> CrossValidation:
    """Return the models, and the errors that these very models make."""
    models = []
    out_of_fold = np.empty(len(y))
    for fold, one in zip(parts, trained, strict=True):
        model = build(architecture, X.shape[1], fold.scaling)
        model.set_weights(one.weights)
        models.append(model)
        out_of_fold[fold.held_out] = predict_one(model, X[fold.held_out])
    squares = (out_of_fold - y) ** 2
    return CrossValidation(
        fold_rmse=np.array([np.sqrt(squares[fold.held_out].mean()) for fold in parts]),
        rmse=float(np.sqrt(squares.mean())),
        out_of_fold=out_of_fold,
        history=_side_by_side([one.history for one in trained]),
        best_epoch=np.array([_best_epoch(one.history) for one in trained]),
        models=FoldModels(models),
        seconds=time.perf_counter() - started,
    )


def _best_epoch(history: npt.NDArray) -> int:
    """Return the first epoch, from 1, of the lowest RMSE; 0 if none is finite."""
    finite = np.where(np.isfinite(history), history, np.inf)
    best = int(finite.argmin())
    return best + 1 if np.isfinite(finite[best]) else 0


def _side_by_side(histories: Sequence[npt.NDArray]) -> npt.NDArray[np.float64]:
    """Return histories as columns, without epochs in which no fold was training."""
    longest = max(len(history) for history in histories)
    columns = np.full((longest, len(histories)), np.nan)
    for column, history in zip(columns.T, histories, strict=True):
        column[: len(history)] = history
    ran = np.flatnonzero(np.isfinite(columns).any(axis=1))
    return columns[: ran[-1] + 1] if len(ran) else columns
