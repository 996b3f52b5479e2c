"""Folds trained together against plain Keras `fit` fold by fold, in one run.

    python benchmarks/bench_cnn.py                                   # all: half an hour
    python benchmarks/bench_cnn.py --networks small medium --samples 30
    python benchmarks/bench_cnn.py --plain-folds 2 --table benchmarks/cnn.md

Both train the same architecture on the same rows with early stopping off and end with
one Keras model per fold; building and tracing are included, as every candidate of a
search pays them. With --plain-folds fewer folds are trained by Keras and their time is
scaled up, which is marked. CPU time is that of all threads: unlike wall time it hardly
depends on what else the machine does.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from soilnb.cnn import (
    PUBLISHED,
    Architecture,
    ConvBlock,
    FCBlock,
    Scaling,
    build,
    cross_validate,
    n_weights,
)
from soilnb.cnn._tensorflow import keras

N_WAVELENGTHS = 211
NETWORKS = {
    "small": Architecture(
        conv=(ConvBlock(25, 10, 6, activation="selu", dropout=0.05),),
        fc=(FCBlock(60, "leaky_relu"),),
    ),
    "medium": Architecture(
        conv=(
            ConvBlock(64, 7, 2, pooling="max", dropout=0.1),
            ConvBlock(
                48,
                5,
                2,
                padding="same",
                activation="elu",
                batch_normalisation=True,
                dropout=0.1,
            ),
        ),
        fc=(FCBlock(128, "relu", dropout=0.1), FCBlock(64)),
    ),
    "usa": PUBLISHED["dtl_i_usa"],
}
# Published USA network: its 16 million weights are not for 30 samples.
SAMPLES = {"small": [30, 130], "medium": [30, 130], "usa": [130]}
EPOCHS = {"small": 100, "medium": 100, "usa": 10}


def fit_each_fold(
    architecture: Architecture,
    X: np.ndarray,
    y: np.ndarray,
    folds: np.ndarray,
    numbers: np.ndarray,
) -> list[keras.Model]:
    """Train one Keras model for each of some folds, as a loop would."""
    models = []
    for number in numbers:
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
        models.append(model)
    return models


def seconds(work: Callable[[], object]) -> np.ndarray:
    """Return wall and CPU seconds of `work`."""
    start = np.array([time.perf_counter(), time.process_time()])
    work()
    return np.array([time.perf_counter(), time.process_time()]) - start


def measure(
    name: str, n_samples: int, *, n_folds: int, n_plain: int, epochs: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return wall and CPU seconds of all folds together, and of Keras fold by fold."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(n_samples, N_WAVELENGTHS)).cumsum(axis=1).astype(np.float32)
    y = X[:, 150] - X[:, 60]
    folds = rng.permutation(n_samples) % n_folds
    architecture = replace(NETWORKS[name], epochs=epochs, patience=epochs)
    numbers = np.arange(n_plain)
    together = seconds(lambda: cross_validate(architecture, X, y, folds).models)
    plain = seconds(lambda: fit_each_fold(architecture, X, y, folds, numbers))
    return together, plain * n_folds / n_plain


def compare(
    name: str, n_samples: int, options: argparse.Namespace
) -> dict[str, object]:
    """Return both durations and their ratios for one network and number of samples."""
    epochs = options.epochs or EPOCHS[name]
    together, plain = measure(
        name,
        n_samples,
        n_folds=options.folds,
        n_plain=options.plain_folds or options.folds,
        epochs=epochs,
    )
    wall, cpu = plain / together
    return {
        "network": name,
        "weights": f"{n_weights(NETWORKS[name], N_WAVELENGTHS):,}",
        "n": n_samples,
        "epochs": epochs,
        "together, wall / s": f"{together[0]:.1f}",
        "CPU / s": f"{together[1]:.1f}",
        "Keras, wall / s": f"{plain[0]:.1f}",
        "CPU / s ": f"{plain[1]:.1f}",
        "ratio, wall": f"{wall:.1f}",
        "ratio, CPU": f"{cpu:.1f}",
    }


def main() -> None:
    """Read the sizes, compare, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=[*NETWORKS])
    parser.add_argument("--samples", type=int, nargs="+", help="30 and 130 if left out")
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument(
        "--epochs", type=int, help="100, of the largest 10, if left out"
    )
    parser.add_argument("--plain-folds", type=int, help="folds for Keras, scaled up")
    parser.add_argument("--table", type=Path, help="file to write")
    options = parser.parse_args()
    rows = []
    for name in options.networks:
        for n_samples in options.samples or SAMPLES[name]:
            rows.append(compare(name, n_samples, options))
            print(rows[-1], flush=True)
    if options.table:
        options.table.write_text(as_markdown(rows, options))


def as_markdown(rows: list[dict[str, object]], options: argparse.Namespace) -> str:
    """Return the table, and what it was measured on."""
    models = Path("/proc/cpuinfo").read_text().split("model name")
    cpu = models[1].split(":")[1].split("\n")[0].strip() if models[1:] else "unknown"
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(row.values() for row in rows)]
    table = "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
    n_plain = options.plain_folds or options.folds
    return (
        f"Measured on {os.cpu_count()} cores ({cpu}) with TensorFlow "
        f"{version('tensorflow')} and Keras {version('keras')}; {options.folds} folds, "
        f"{N_WAVELENGTHS} bands; the time of Keras is that of {n_plain} folds, scaled "
        f"to {options.folds}.\n\n{table}\n"
    )


if __name__ == "__main__":
    main()
