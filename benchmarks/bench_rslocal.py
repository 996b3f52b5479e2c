"""Models per second of RS-LOCAL's kernel against scikit-learn, in the same run.

Both fit PLSR on the same kind of random subsets and predict the local samples,
on one core. Run: python benchmarks/bench_rslocal.py --library-size 5000
"""

import argparse
import time

import numpy as np
from sklearn.cross_decomposition import PLSRegression

from soilnb.rslocal import search, subsets


def make_spectra(n_rows: int, n_bands: int, rng: np.random.Generator) -> np.ndarray:
    """Return smooth random spectra of 20 constituents with a little noise."""
    constituents = np.cumsum(rng.normal(size=(20, n_bands)), axis=1) / n_bands**0.5
    noise = 0.01 * rng.normal(size=(n_rows, n_bands))
    return rng.normal(size=(n_rows, 20)) @ constituents + noise


def time_kernel(spectra, pool, draw, n_models: int) -> float:
    """Return the models per second of one kernel call."""
    start = time.perf_counter()
    subsets.tally_task(spectra, pool, draw, 0, n_models)
    return n_models / (time.perf_counter() - start)


def time_scikit_learn(spectra, draw, n_models: int) -> float:
    """Return the models per second of a plain loop over the same draws."""
    seed, search, iteration, size, n_components = draw
    start = time.perf_counter()
    for model in range(n_models):
        rows = subsets.draw_subset(
            seed, search, iteration, model, len(spectra.y_library), size
        )
        pls = PLSRegression(n_components=n_components, scale=False)
        pls.fit(spectra.X_library[rows], spectra.y_library[rows])
        errors = pls.predict(spectra.X_local).ravel() - spectra.y_local
        np.sqrt(np.mean(errors**2))
    return n_models / (time.perf_counter() - start)


def main() -> None:
    """Time both and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--library-size", type=int, default=5_000)
    parser.add_argument("--bands", type=int, default=211)
    parser.add_argument("--subset-size", type=int, default=100)
    parser.add_argument("--components", type=int, default=10)
    parser.add_argument("--models", type=int, default=10_000)
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    X = make_spectra(options.library_size + 30, options.bands, rng)
    y = X[:, options.bands // 2] + 0.1 * rng.normal(size=len(X))
    single = search._standardise(X[30:], y[30:], X[:30], y[:30])
    double = subsets.Spectra(*(part.astype(np.float64) for part in single))
    pool = np.arange(options.library_size, dtype=np.int32)
    draw = (1, 0, 0, options.subset_size, options.components)
    for spectra in (single, double):
        subsets.tally_task(spectra, pool, draw, 0, 1)  # compile
    rates = {"scikit-learn": [], "kernel, float64": [], "kernel, float32": []}
    for _ in range(3):
        rates["scikit-learn"].append(time_scikit_learn(double, draw, 200))
        rates["kernel, float64"].append(time_kernel(double, pool, draw, options.models))
        rates["kernel, float32"].append(time_kernel(single, pool, draw, options.models))
    plain = np.median(rates["scikit-learn"])
    print(f"{'one core, median of 3':24}{'models/s':>10}{'ratio':>8}")
    for name, measured in rates.items():
        rate = np.median(measured)
        print(f"{name:24}{rate:10,.0f}{rate / plain:8.0f}")


if __name__ == "__main__":
    main()
