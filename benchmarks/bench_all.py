"""The two hot loops beside their plain alternatives, in one table of three minutes.

    make benchmark

Each line is measured in the same run, one after the other; where the plain way would
take longer than a reader waits, a part of it is timed and scaled up, which the line
says. Writes the table that the book shows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import bench_cnn
import bench_rslocal
import bench_search
import bench_transfer
import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

Pair = tuple[np.ndarray, np.ndarray]  # wall and CPU seconds: ours, the plain way's


def search_rows() -> Pair:
    """Time a search of 5,000 rows, and 300 of its models by scikit-learn."""
    samples = bench_rslocal.make_samples(bench_rslocal.SMALL["K"])
    bench_rslocal.search({**bench_rslocal.SMALL, "b": 1}, samples)  # compile
    found = []
    ours = bench_cnn.seconds(
        lambda: found.append(bench_rslocal.search(bench_rslocal.SMALL, samples))
    )
    spectra = bench_rslocal.standardise(*samples)
    loop = bench_rslocal.plain_loop(bench_rslocal.scikit_learn)
    with threadpool_limits(1):  # threads only slow so small a model
        plain = bench_cnn.seconds(lambda: loop(spectra, 300))
    return ours, plain * found[0]["n_models"].sum() / 300


def networks(name: str, n_samples: int, n_plain: int) -> Pair:
    """Time ten folds of a network, and some of them by Keras."""
    epochs = bench_cnn.EPOCHS[name]
    settings = {"n_folds": 10, "n_plain": n_plain, "epochs": epochs}
    return bench_cnn.measure(name, n_samples, **settings)


LINES: dict[tuple[str, str], Callable[[], Pair]] = {
    (
        "RS-LOCAL, K = 5,000, k = 100, b = 50",
        "scikit-learn's PLS, 300 models scaled up",
    ): search_rows,
    (
        "small network, 30 samples, 10 folds",
        "Keras `fit`, 2 folds scaled up",
    ): lambda: networks("small", 30, 2),
    (
        "medium network, 130 samples, 10 folds",
        "Keras `fit`, 2 folds scaled up",
    ): lambda: networks("medium", 130, 2),
    (
        "network of the USA row, 130 samples, 10 folds",
        "Keras `fit`, 2 folds scaled up",
    ): lambda: networks("usa", 130, 2),
    (
        "DTL-R, small network, all depths, 10 folds",
        "Keras, frozen layers, 1 fold scaled up",
    ): lambda: bench_transfer.measure("small", 30, n_folds=10, n_plain=1, epochs=40),
    (
        "one Bayesian proposal after 50 trials",
        "keras-tuner's own",
    ): lambda: bench_search.compare_proposals(50),
}


def main() -> None:
    """Measure line by line, and write the table."""
    begun, rows = time.perf_counter(), []
    for number, ((what, beside), measure) in enumerate(LINES.items(), start=1):
        ours, plain = measure()
        times = {
            "soilnb, wall / s": ours[0],
            "CPU / s": ours[1],
            "plain, wall / s": plain[0],
            "CPU / s ": plain[1],
            "ratio, wall": plain[0] / ours[0],
            "ratio, CPU": plain[1] / ours[1],
        }
        rounded = {name: f"{value:.1f}" for name, value in times.items()}
        row = {"what": what, "beside": beside, **rounded}
        rows.append(row)
        minutes = (time.perf_counter() - begun) / 60
        print(f"{number} of {len(LINES)}, {minutes:.1f} min: {row}", flush=True)
    text = (
        f"{bench_rslocal.machine()}\n\n{bench_rslocal.markdown(pd.DataFrame(rows))}\n"
    )
    Path(__file__).with_name("all.md").write_text(text)


if __name__ == "__main__":
    main()
