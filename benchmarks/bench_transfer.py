"""DTL-R over all depths against plain Keras with frozen layers, in one run.

    python benchmarks/bench_transfer.py                          # all, minutes
    python benchmarks/bench_transfer.py --networks small --samples 30
    python benchmarks/bench_transfer.py --plain-folds 1          # Keras scaled up

Both retrain one library network on the same local rows, for every number of frozen
blocks but the last and for every fold, with early stopping off, and end with Keras
models. `dtl_r` computes what the frozen blocks put out once for each depth and trains
the folds together; plain Keras sets `trainable = False` and fits fold by fold. Building
and tracing are included. With --plain-folds fewer folds are trained by Keras and their
time is scaled up, which is marked. CPU time is that of all threads.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from bench_cnn import N_WAVELENGTHS, NETWORKS, seconds

from soilnb.cnn import Architecture, FoldModels, Scaling, build, n_weights
from soilnb.cnn._tensorflow import keras
from soilnb.transfer import dtl_r


def draw(n_samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return synthetic spectra and a property of two of their bands."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, N_WAVELENGTHS)).cumsum(axis=1).astype(np.float32)
    return X, X[:, 150] - X[:, 60]


def freeze(model: keras.Model, n_frozen: int) -> None:
    """Freeze the layers of the first blocks."""
    kinds = (keras.layers.Conv1D, keras.layers.Dense)
    n_passed = 0
    for layer in model.layers:
        n_passed += isinstance(layer, kinds)
        layer.trainable = n_passed > n_frozen


def fit_each(
    architecture: Architecture,
    base: keras.Model,
    scaling: Scaling,
    X: np.ndarray,
    y: np.ndarray,
    folds: np.ndarray,
    numbers: np.ndarray,
) -> list[keras.Model]:
    """Retrain one Keras model for every depth and some folds, as a loop would."""
    models = []
    scaled = ((y - scaling.y_mean) / scaling.y_sd).astype(np.float32)
    for n_frozen in range(len(architecture.blocks) + 1):
        for number in numbers:
            train = folds != number
            model = build(
                architecture, N_WAVELENGTHS, replace(scaling, y_mean=0.0, y_sd=1.0)
            )
            model.set_weights(base.get_weights())
            freeze(model, n_frozen)
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


def measure(
    name: str, n_samples: int, *, n_folds: int, n_plain: int, epochs: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return wall and CPU seconds of `dtl_r` over all depths, and of plain Keras."""
    architecture = replace(NETWORKS[name], epochs=epochs, patience=epochs)
    scaling = Scaling.learn(*draw(1000, seed=1))
    base = build(architecture, N_WAVELENGTHS, scaling)
    X, y = draw(n_samples, seed=2)
    folds = np.random.default_rng(3).permutation(n_samples) % n_folds
    numbers = np.arange(n_plain)
    library = FoldModels([base])
    together = seconds(lambda: dtl_r(architecture, library, X, y, folds=folds).models)
    plain = seconds(lambda: fit_each(architecture, base, scaling, X, y, folds, numbers))
    return together, plain * n_folds / n_plain


def compare(name: str, n_samples: int, options: argparse.Namespace) -> None:
    """Print both durations and their ratios for one network and number of samples."""
    n_plain = options.plain_folds or options.folds
    settings = {"n_folds": options.folds, "epochs": options.epochs}
    together, plain = measure(name, n_samples, n_plain=n_plain, **settings)
    ratio = plain / together
    scaled = "" if n_plain == options.folds else f" (from {n_plain} folds)"
    network = NETWORKS[name]
    print(
        f"{name}, {n_weights(network, N_WAVELENGTHS):,} weights, n={n_samples}, "
        f"{len(network.blocks) + 1} depths x {options.folds} folds x {options.epochs} "
        f"epochs: dtl_r {together[0]:.1f} s wall, {together[1]:.1f} s CPU; Keras fit "
        f"{plain[0]:.1f} s wall, {plain[1]:.1f} s CPU{scaled}; ratio {ratio[0]:.1f} "
        f"wall, {ratio[1]:.1f} CPU",
        flush=True,
    )


def main() -> None:
    """Read the sizes and compare."""
    names = ["small", "medium"]  # the published networks have nothing new to tell
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=names)
    parser.add_argument("--samples", type=int, nargs="+", default=[30, 130])
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--plain-folds", type=int, help="folds for Keras, scaled up")
    options = parser.parse_args()
    for name in options.networks:
        for n_samples in options.samples:
            compare(name, n_samples, options)


if __name__ == "__main__":
    main()
