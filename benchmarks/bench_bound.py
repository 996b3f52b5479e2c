"""What bounds the largest network, arithmetic or the way to memory.

    python benchmarks/bench_bound.py --table benchmarks/bound.md

Measures in one run the rate of a large matrix product, one pass of Adam over the
weights of all folds, and epochs of these folds trained together; says on paper how long
the arithmetic and the memory of an epoch take at these rates. All times are CPU time of
all threads, which hardly depends on what else the machine does. Two minutes and 6 GB.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from bench_cnn import N_WAVELENGTHS, NETWORKS
from bench_rslocal import machine, markdown

from soilnb.cnn import Architecture, cross_validate
from soilnb.cnn._tensorflow import tf
from soilnb.cnn.optimisers import Optimiser
from soilnb.cnn.shapes import layer_shapes

N_SAMPLES, N_FOLDS = 130, 10
FEW, MORE = 1, 3  # epochs: their difference has no setting up
# What a step moves for each weight beside Adam, in bytes: it is read by the prediction
# and by the gradient of what is before it, and its own gradient is written.
BYTES_MODEL = 4 + 4 + 4
BYTES_ADAM = (
    4 * 4 + 3 * 4
)  # reads weight, two moments, gradient; writes the first three


def seconds(work: Callable[[], object], n_times: int = 5) -> float:
    """Return the least CPU time of some runs, after one that is not counted."""
    work()
    found = []
    for _ in range(n_times):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def flop_of_epoch(architecture: Architecture) -> float:
    """Return the operations of an epoch of all folds: two for each weight and place.

    Once forward, twice backward: for the weights and for what is before them.
    """
    layers = layer_shapes(architecture, N_WAVELENGTHS)
    kernels = [layer for layer in layers if layer.layer in LEARNING]
    products = sum(math.prod(one.weights[0]) * places(one.output) for one in kernels)
    return 6.0 * products * N_FOLDS * (N_SAMPLES - N_SAMPLES // N_FOLDS)


LEARNING = ("Convolutional", "Fully-connected")


def places(output: tuple[int, ...]) -> int:
    """Return how often a kernel is used for one sample."""
    return output[0] if len(output) == 2 else 1


def rate_of_products(size: int = 3000) -> float:
    """Return GFLOP per CPU-second of a large matrix product in single precision."""
    A = np.random.default_rng(1).normal(size=(size, size)).astype(np.float32)
    return 2 * size**3 / seconds(lambda: A @ A) / 1e9


def pass_of_adam(n_weights: int) -> float:
    """Return seconds of one step of Adam alone for so many weights."""
    weight, gradient = tf.Variable(tf.zeros([n_weights])), tf.ones([n_weights])
    optimiser = Optimiser("adam", 1e-3, [weight])
    step = tf.function(lambda: optimiser.apply([gradient]), autograph=False)
    return seconds(step)


def epoch_together(architecture: Architecture) -> float:
    """Return seconds of one epoch of all folds, without setting up."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(N_SAMPLES, N_WAVELENGTHS)).cumsum(axis=1).astype(np.float32)
    y, folds = X[:, 150] - X[:, 60], rng.permutation(N_SAMPLES) % N_FOLDS
    taken = []
    for epochs in (FEW, MORE):
        one = replace(architecture, epochs=epochs, patience=epochs)
        start = time.process_time()
        cross_validate(one, X, y, folds)
        taken.append(time.process_time() - start)
    return (taken[1] - taken[0]) / (MORE - FEW)


def main() -> None:
    """Measure, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=Path, help="file to write")
    table = parser.parse_args().table
    architecture = NETWORKS["usa"]
    shapes = [
        s for one in layer_shapes(architecture, N_WAVELENGTHS) for s in one.weights
    ]
    n_weights = N_FOLDS * sum(map(math.prod, shapes))
    n_trained = N_SAMPLES - N_SAMPLES // N_FOLDS
    n_steps = -(-n_trained // architecture.batch_size)
    rate, flop = rate_of_products(), flop_of_epoch(architecture)
    adam = pass_of_adam(n_weights)
    speed = n_weights * BYTES_ADAM / adam
    rest = n_weights * BYTES_MODEL / speed
    measured = epoch_together(architecture)
    arithmetic, memory = flop / rate / 1e9, n_steps * (adam + rest)
    rows = {
        "matrix product, GFLOP per CPU-second": f"{rate:.0f}",
        "arithmetic of an epoch, TFLOP": f"{flop / 1e12:.2f}",
        "at that rate, CPU-seconds": f"{arithmetic:.2f}",
        "one pass of Adam, CPU-seconds": f"{adam:.2f}",
        "its way to memory, GB per CPU-second": f"{speed / 1e9:.1f}",
        "Adam, all steps of an epoch": f"{n_steps * adam:.2f}",
        "weights read and gradients written": f"{n_steps * rest:.2f}",
        "epoch, arithmetic and memory": f"{arithmetic + memory:.2f}",
        "epoch, measured": f"{measured:.2f}",
        "measured over both": f"{measured / (arithmetic + memory):.2f}",
    }
    lines = pd.DataFrame({"what": rows.keys(), "value": rows.values()})
    text = (
        f"{machine().split(';')[0]}; {N_FOLDS} folds of the network of the USA row, "
        f"{n_weights:,} weights, {n_steps} steps an epoch.\n\n{markdown(lines)}\n"
    )
    print(text)
    if table:
        table.write_text(text)


if __name__ == "__main__":
    main()
