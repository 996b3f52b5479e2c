"""Folds trained together against plain Keras `fit` fold by fold, in one run.

    python benchmarks/bench_cnn.py --epochs 30 --samples 30 130

Both train the same architecture on the same rows with early stopping off; set-up
(building and tracing) is included, as every candidate of a search pays it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from soilnb.cnn import SMALL, Architecture, Scaling, build, cross_validate
from soilnb.cnn._tensorflow import keras


def fit_each_fold(
    architecture: Architecture, X: np.ndarray, y: np.ndarray, folds: np.ndarray
) -> None:
    """Train one Keras model per fold, as a loop would."""
    for number in np.unique(folds):
        train = folds != number
        scaling = Scaling.learn(X[train], y[train])
        model = build(architecture, X.shape[1], replace(scaling, y_mean=0.0, y_sd=1.0))
        scaled = ((y - scaling.y_mean) / scaling.y_sd).astype(np.float32)
        adam = keras.optimizers.Adam(architecture.learning_rate)
        model.compile(adam, "mse", jit_compile=False)
        model.fit(
            X[train],
            scaled[train],
            validation_data=(X[~train], scaled[~train]),
            batch_size=architecture.batch_size,
            epochs=architecture.epochs,
            verbose=0,
        )


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Return wall and CPU seconds of `work`."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def compare(n_samples: int, n_folds: int, epochs: int) -> None:
    """Print both durations and their ratios for one number of samples."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(n_samples, 207)).cumsum(axis=1).astype(np.float32)
    y = X[:, 150] - X[:, 60]
    folds = rng.permutation(n_samples) % n_folds
    architecture = replace(SMALL, epochs=epochs, patience=epochs)
    together = seconds(lambda: cross_validate(architecture, X, y, folds))
    plain = seconds(lambda: fit_each_fold(architecture, X, y, folds))
    print(
        f"n={n_samples}, {n_folds} folds x {epochs} epochs: "
        f"together {together[0]:.1f} s wall, {together[1]:.1f} s CPU; "
        f"Keras fit {plain[0]:.1f} s wall, {plain[1]:.1f} s CPU; "
        f"ratio {plain[0] / together[0]:.1f} wall, {plain[1] / together[1]:.1f} CPU"
    )


def main() -> None:
    """Read the sizes and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, nargs="+", default=[30, 130])
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=100)
    options = parser.parse_args()
    for n_samples in options.samples:
        compare(n_samples, options.folds, options.epochs)


if __name__ == "__main__":
    main()
