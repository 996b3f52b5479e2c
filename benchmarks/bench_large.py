"""RS-LOCAL over libraries of a million rows and more, on the map of a file.

    python benchmarks/bench_large.py --rows 5000 1000000 10000000 --table TABLE

Writes spectra of so many rows to a file, fits models of the first iteration on threads,
removes the file, and says on paper what a whole search takes at that rate. Ten million
rows need 8.5 GB of disk for some minutes; memory holds as much of the file as is free.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from bench_rslocal import N_BANDS, ONE_DRAW, PAPER, machine, make_samples, markdown

from soilnb.rslocal import crew
from soilnb.rslocal.inputs import Settings
from soilnb.rslocal.subsets import Spectra

ROWS_AT_ONCE = 100_000
N_MODELS = 100_000  # of one iteration that are fitted
SHARE_DROPPED = 0.05


def write_library(file: Path, n_rows: int) -> np.ndarray:
    """Write spectra of so many rows, a part at a time; return the property."""
    y = []
    with file.open("wb") as stream:
        for start in range(0, n_rows, ROWS_AT_ONCE):
            n = min(ROWS_AT_ONCE, n_rows - start)
            X, part, _, _ = make_samples(n)
            rng = np.random.default_rng(start)
            X += 0.01 * rng.standard_normal(X.shape, dtype=np.float32)
            stream.write(X.astype("<f4"))
            y.append(part)
    return np.concatenate(y)


def anonymous_bytes() -> int:
    """Return what this process has in memory beside the maps of files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(x.split()[1]) for x in lines if x.startswith("RssAnon"))


def fit_some(file: Path, n_rows: int) -> dict[str, float]:
    """Return models per second of CPU time, and the memory beside the map."""
    y = write_library(file, n_rows)
    X = np.asarray(np.memmap(file, np.float32, "r", shape=(n_rows, N_BANDS)))
    _, _, X_local, y_local = make_samples(1000)
    scaled = [((v - y.mean()) / y.std()).astype(np.float32) for v in (y, y_local)]
    spectra = Spectra(X, scaled[0], X_local, scaled[1])
    pool = np.arange(n_rows, dtype=np.int32)
    with crew.Crew(spectra) as workers:
        workers.tally(pool, ONE_DRAW, 100)  # compile
        start = time.process_time()
        workers.tally(pool, ONE_DRAW, N_MODELS)
        taken = time.process_time() - start
    return {"cpu": N_MODELS / taken, "own": anonymous_bytes()}


def on_paper(n_rows: int) -> tuple[int, int]:
    """Return how many iterations and models a search has."""
    k, b = PAPER["k"], PAPER["b"]
    settings = Settings(k, k, b, SHARE_DROPPED, PAPER["components"], 0, 1)
    sizes = [*settings.pool_sizes(n_rows)]
    return len(sizes), sum(map(settings.n_models, sizes))


def main() -> None:
    """Measure for each number of rows, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[5_000, 1_000_000])
    parser.add_argument("--folder", help="of the file; a temporary one if left out")
    parser.add_argument("--table", type=Path, help="file to write")
    options, lines = parser.parse_args(), []
    for n_rows in options.rows:
        with TemporaryDirectory(dir=options.folder) as folder:
            found = fit_some(Path(folder) / "library", n_rows)
        iterations, models = on_paper(n_rows)
        row = {
            "K": f"{n_rows:,}",
            "file / GB": f"{4e-9 * n_rows * N_BANDS:.2f}",
            "beside it / GB": f"{found['own'] / 1e9:.2f}",
            "models per CPU-second": f"{found['cpu']:,.0f}",
            "iterations": iterations,
            "models": f"{models:,}",
            "a search, CPU / min": f"{models / found['cpu'] / 60:.2f}",
            "on 50 cores / min": f"{models / found['cpu'] / 50 / 60:.2f}",
        }
        lines.append(row)
        print(row, flush=True)
    text = (
        f"{machine()} {N_MODELS:,} models of the first iteration were fitted on the "
        "map of a file; the last four columns are on paper, at the rate of CPU time."
        f"\n\n{markdown(pd.DataFrame(lines))}\n"
    )
    if options.table:
        options.table.write_text(text)


if __name__ == "__main__":
    main()
