"""Cross-validation of a 1D-CNN, the networks of all folds trained together."""

from __future__ import annotations

import contextlib
import gc
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from soilnb._validation import (
    check_choice,
    check_int,
    check_matrix,
    check_rows,
    check_vector,
)
from soilnb.cnn.architecture import Architecture
from soilnb.cnn.folds import (
    DROPOUT,
    INITIAL,
    SHUFFLE,
    STOPPINGS,
    Fold,
    epoch_rows,
    generator,
    initial_weights,
    make_folds,
)
from soilnb.cnn.memory import fold_bytes, folds_at_once, weight_bytes
from soilnb.cnn.network import DTYPES
from soilnb.cnn.result import CrossValidation, TrainedFold
from soilnb.cnn.shapes import check_fit
from soilnb.cnn.stack import FoldStack, begin_stack, end_stack

CHUNK_EPOCHS = 10  # epochs between two looks at early stopping and two reports
ALONE_BYTES = 1e9  # of a training that no other large one of the process runs beside
LARGE_BYTES = 100e6  # of a group of folds: not left to Python's own next collection

_turn = threading.Lock()

Progress = Callable[[int, int, str], object]
Prune = Callable[[int, float], bool]


def cross_validate(
    architecture: Architecture,
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    folds: npt.ArrayLike,
    *,
    seed: int = 1,
    max_epochs: int | None = None,
    stopping: str = "validation",
    dtype: str = "float32",
    memory_bytes: int | None = None,
    prune: Prune | None = None,
    progress: Progress | None = None,
) -> CrossValidation:
    """Train one network per fold, each on the samples of the other folds.

    Each network minimises the mean squared error on shuffled batches, stops when the
    RMSE of its watched samples has not fallen for `architecture.patience` epochs, and
    keeps the weights of its best epoch.

    Parameters
    ----------
    architecture : Architecture
        Blocks and training settings.
    X, y, folds : array-like (n_samples, n_wavelengths), (n_samples,), (n_samples,)
        SNV absorbance, soil property, in its own unit, and fold number of each sample;
        the folds may differ in size.
    seed : int, default 1
        Seed of initial weights, order of the batches and dropout, at least 0.
    max_epochs : int, optional
        Fewer epochs than `architecture.epochs`, for a quick run.
    stopping : str, default "validation"
        Which samples are watched. "validation": those of the fold itself, the paper's
        protocol, which makes the RMSE optimistic, because they choose the epoch that
        they then score. "inner": a random fifth of the other folds' samples, which
        then does not train; the fold itself only scores, so the RMSE is clean.
    dtype : str, default "float32"
        Of weights and values; "float64" is slower and for comparisons.
    memory_bytes : int, optional
        Memory to use at most; without it four fifths of what is free. Folds that do not
        fit into it together are trained in turn.
    prune : callable, optional
        Asked as prune(epoch, rmse) every 10 epochs, with the mean over the folds of the
        lowest RMSE so far (NaN if a fold has none); True makes this epoch the last one
        of all folds. Where folds are trained in turn, those of the first turn decide.
    progress : callable, optional
        Called as progress(done, total, text), in epochs, several times on the way.

    Returns
    -------
    CrossValidation
        Errors, held-out predictions, histories and, when asked for, models.

    Raises
    ------
    TypeError, ValueError
        If `folds` are not whole numbers or fewer than 2, shapes disagree, values are
        not finite, or the architecture does not fit the number of wavelengths; a
        NetworkTooBigError if not even one fold fits into the memory.

    Notes
    -----
    Bands and targets are standardised with the training samples of each fold only, and
    each model holds its own scaling. Even a clean RMSE is optimistic once it has chosen
    between architectures: report an independent test set.

    Everything random depends on seed and fold only, not on what is trained together.
    The same machine and the same versions give the same numbers. Float32 training is
    chaotic: on another machine, which rounds in another way, expect differences as
    between two seeds. Without dropout the same can be had from Keras alone, fold by
    fold: `soilnb.cnn.folds` gives the rows, scaling, initial weights and batches of
    each.

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
    check_choice(dtype, "dtype", DTYPES)
    check_choice(stopping, "stopping", STOPPINGS)
    X, y, folds = check_samples(X, y, folds, dtype)
    check_fit(architecture, X.shape[1])
    check_int(seed, "seed", 0)
    if max_epochs is not None:
        check_int(max_epochs, "max_epochs", 1)
    if memory_bytes is not None:
        check_int(memory_bytes, "memory_bytes", 1)
    parts = make_folds(X, y, folds, stopping=stopping, seed=seed)
    trained = train_folds(
        architecture,
        X,
        y,
        parts,
        seed=seed,
        max_epochs=max_epochs,
        memory_bytes=memory_bytes,
        prune=prune,
        progress=progress,
    )
    return collect_result(architecture, X, y, trained, started)


@dataclass(frozen=True, eq=False)
class Start:
    """Weights that a training begins with, and the blocks that it leaves alone."""

    weights: Mapping[int, Sequence[npt.NDArray]]  # by position; after the frozen blocks
    n_frozen: int = 0  # first blocks: the training's "spectra" are what they put out


def train_folds(
    architecture: Architecture,
    X: npt.NDArray[np.floating],
    y: npt.NDArray[np.float64],
    parts: Sequence[Fold],
    *,
    n_wavelengths: int | None = None,
    start: Start | None = None,
    seed: int = 1,
    max_epochs: int | None = None,
    memory_bytes: int | None = None,
    prune: Prune | None = None,
    progress: Progress | None = None,
) -> list[TrainedFold]:
    """Train a network per fold; with `start`, on what its frozen blocks put out."""
    n_wavelengths = n_wavelengths or X.shape[1]
    n_epochs = min(architecture.epochs, max_epochs or architecture.epochs)
    run = _Run(
        architecture, n_wavelengths, X, y, start, seed, n_epochs, prune, progress
    )
    n_bytes = fold_bytes(architecture, n_wavelengths, dtype=X.dtype.name) * len(parts)
    # Large ones of several threads train in turn: each may take what memory is free.
    with _turn if n_bytes > ALONE_BYTES else contextlib.nullcontext():
        n_at_once = folds_at_once(
            architecture,
            n_wavelengths,
            len(parts),
            dtype=X.dtype.name,
            memory_bytes=memory_bytes,
        )
        return run.train(_groups(parts, architecture.batch_size, n_at_once))


def check_samples(
    X: npt.ArrayLike, y: npt.ArrayLike, folds: npt.ArrayLike, dtype: str
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.float64], npt.NDArray]:
    """Return checked spectra, property and fold numbers."""
    X = check_matrix(X, "X").astype(dtype)
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


def _groups(parts: Sequence[Fold], batch_size: int, n_at_once: int) -> list[list[Fold]]:
    """Return folds that are trained together: as many batches, and not too many."""
    groups = []
    for n_steps in sorted({fold.n_steps(batch_size) for fold in parts}):
        alike = [fold for fold in parts if fold.n_steps(batch_size) == n_steps]
        n_turns = -(-len(alike) // n_at_once)
        groups += [alike[turn::n_turns] for turn in range(n_turns)]
    return groups


@dataclass
class _Run:
    """The training of all folds, group by group."""

    architecture: Architecture
    n_wavelengths: int
    X: npt.NDArray[np.floating]
    y: npt.NDArray[np.float64]
    start: Start | None
    seed: int
    n_epochs: int
    prune: Prune | None
    progress: Progress | None

    def train(self, groups: Sequence[Sequence[Fold]]) -> list[TrainedFold]:
        """Train every group; return the folds in order."""
        trained = []
        for number, group in enumerate(groups):

            def report(done: int, text: str, number: int = number) -> None:
                if self.progress is not None:
                    before = number * self.n_epochs
                    self.progress(before + done, len(groups) * self.n_epochs, text)

            trained += self._train_group(group, report)
            self._give_back(len(group))
            self.prune = None  # the first group has decided for all
        return sorted(trained, key=lambda one: one.fold.position)

    def _train_group(
        self, group: Sequence[Fold], report: Callable[[int, str], None]
    ) -> list[TrainedFold]:
        """Train one group until the last epoch or until all its folds have stopped."""
        stack = self._make_stack(group)
        shufflers = [generator(self.seed, fold.position, SHUFFLE) for fold in group]
        history = np.empty((0, len(group)))
        trained = []
        live = list(range(len(group)))  # places in the group of what is in the stack
        while live:
            n_epochs = min(CHUNK_EPOCHS, self.n_epochs - len(history))
            rows = self._rows([(group[i], shufflers[i]) for i in live], n_epochs)
            chunk = np.full((n_epochs, len(group)), np.nan)
            chunk[:, live] = stack.train(rows)
            chunk *= [fold.scaling.y_sd for fold in group]
            history = np.concatenate([history, chunk])
            lowest = float(np.fmin.reduce(history, axis=0).mean())
            if self.prune is not None and self.prune(len(history), lowest):
                self.n_epochs = len(history)
            leaving = self._leaving(stack.stopped, len(history))
            done = self.n_epochs if leaving.all() else len(history)
            report(done, f"epoch {len(history)}, validation RMSE {lowest:.3g}")
            if not leaving.any():
                continue
            left = stack.take_out(leaving, [group[i].held_out for i in live])
            places = [i for i, gone in zip(live, leaving, strict=True) if gone]
            for i, (weights, predicted, diverged) in zip(places, left, strict=True):
                past = history[:, i]
                one = TrainedFold(group[i], weights, past, predicted, diverged)
                trained.append(one)
            live = [i for i in live if i not in places]
        end_stack(stack)
        return trained

    def _leaving(
        self, stopped: npt.NDArray[np.bool_], n_done: int
    ) -> npt.NDArray[np.bool_]:
        """Return which folds leave the stack: all at the end, half when these stop."""
        if stopped.all() or n_done == self.n_epochs:
            return np.full_like(stopped, True)
        half = -(-len(stopped) // 2)
        n_frozen = self.start.n_frozen if self.start else 0
        # TensorFlow's own convolutions round in another way beside fewer folds.
        has_native = len(self.architecture.conv) > max(1, n_frozen)
        if has_native or stopped.sum() < half:
            return np.full_like(stopped, False)
        return stopped & (np.cumsum(stopped) <= half)

    def _give_back(self, n_folds: int) -> None:
        """Free a group's weights now, if they are many: their graph holds them."""
        size = self.X.dtype.itemsize
        each = weight_bytes(self.architecture, self.n_wavelengths, size)
        if n_folds * each > LARGE_BYTES:  # the collection takes some tenths of a second
            gc.collect()

    def _make_stack(self, group: Sequence[Fold]) -> FoldStack:
        """Return the networks of a group, each with its own first weights."""
        drawn = [self._first_weights(fold.position) for fold in group]
        # One layer of all folds at a time: millions of weights are not held twice.
        dtype = self.X.dtype
        weights = (
            np.stack(layer).astype(dtype, copy=False)
            for layer in zip(*drawn, strict=True)
        )
        n_blocks = len(self.architecture.blocks)
        seeds = generator(self.seed, 0, DROPOUT).integers(2**31, size=n_blocks)
        return begin_stack(
            self.architecture,
            self.n_wavelengths,
            self.X,
            self.y,
            group,
            weights,
            seeds,
            self.start.n_frozen if self.start else 0,
        )

    def _first_weights(self, position: int) -> Iterable[npt.NDArray]:
        """Return the weights that a fold begins with."""
        if self.start is not None:
            return self.start.weights[position]
        rng = generator(self.seed, position, INITIAL)
        return initial_weights(self.architecture, self.n_wavelengths, rng)

    def _rows(
        self, folds: Sequence[tuple[Fold, np.random.Generator]], n_epochs: int
    ) -> npt.NDArray[np.int32]:
        """Return the training rows of some epochs (epochs, steps, K, B)."""
        size = self.architecture.batch_size
        rows = [
            [epoch_rows(fold, size, rng) for fold, rng in folds]
            for _ in range(n_epochs)
        ]
        return np.array(rows).transpose(0, 2, 1, 3)


def collect_result(
    architecture: Architecture,
    X: npt.NDArray,
    y: npt.NDArray,
    trained: list[TrainedFold],
    started: float,
) -> CrossValidation:
    """Return the folds and the errors of their held-out predictions."""
    out_of_fold = np.empty(len(y))
    for one in trained:
        out_of_fold[one.fold.held_out] = one.predicted
    squares = (out_of_fold - y) ** 2
    return CrossValidation(
        architecture=architecture,
        n_wavelengths=X.shape[1],
        trained=trained,
        out_of_fold=out_of_fold,
        fold_rmse=np.sqrt([squares[one.fold.held_out].mean() for one in trained]),
        rmse=float(np.sqrt(squares.mean())),
        seconds=time.perf_counter() - started,
    )
