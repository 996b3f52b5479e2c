"""What a study makes of a library: rows selected, a network trained or searched for.

Networks and searches of a library can be kept in a folder: another site that leaves the
same rows and bands of it takes them from there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from soilnb import cnn
from soilnb._files import digest_code, locked
from soilnb.datasets import TWIN_SITES
from soilnb.rslocal import Selection, select_instances, selection_size
from soilnb.study.prepared import LIBRARIES, Study

if TYPE_CHECKING:
    from dask.distributed import Client

    from soilnb.cnn import Architecture, CrossValidation
    from soilnb.cnn.tuning.result import SearchResult

LARGE_LIBRARY = 2_000  # rows; more are trained in larger batches, and none is searched

Progress = Callable[[int, int, str], object]


def select_rows(
    study: Study,
    library: str,
    *,
    n_selected: int = 100,
    n_most: int | None = None,
    **options: Any,
) -> Selection:
    """Let RS-LOCAL select rows of a library.

    Parameters
    ----------
    study, library : Study, str
        The prepared study, whose seed is that of the draws, and "global" or "country".
    n_selected : int, default 100
        Rows wanted; of a library with fewer than twice that, half is taken.
    n_most : int, optional
        Rows among which is selected at most, drawn by the study's seed.
    **options
        As of `soilnb.rslocal.select_instances`, for instance `n_repeats`.

    Returns
    -------
    Selection
        Of `study.samples(library)`. Rows that were not drawn have no score and the
        frequency 0.
    """
    X, y, _ = study.samples(library, n_most)
    found = select_instances(
        X,
        y,
        *study.samples("local")[:2],
        n_selected=selection_size(len(y), n_selected),
        seed=study.seed,
        **options,
    )
    n_rows = study.n_rows(library)
    if len(y) == n_rows:
        return found
    drawn = study.draw(n_rows, len(y))
    frequency, scores = np.zeros(n_rows), np.full(n_rows, np.nan)
    frequency[drawn], scores[drawn] = found.frequency, found.scores
    rows = {"indices": drawn[found.indices], "searches": drawn[found.searches]}
    return replace(found, **rows, frequency=frequency, scores=scores)


def fit_network(
    study: Study,
    library: str,
    architecture: Architecture,
    *,
    max_epochs: int | None = None,
    n_library: int | None = None,
    progress: Progress | None = None,
) -> CrossValidation:
    """Train a network of this very architecture for each fold of a library."""
    return cnn.cross_validate(
        architecture,
        *study.samples(library, n_library),
        seed=study.seed,
        max_epochs=max_epochs,
        progress=progress,
    )


def network_key(
    study: Study, library: str, n_library: int | None = None, **settings: Any
) -> str:
    """Return a digest of what a library's network depends on: no sample of the site."""
    settings |= {"seed": study.seed}
    text = json.dumps(settings, sort_keys=True, default=lambda one: one.to_dict())
    key = hashlib.sha256(f"{digest_code('cnn')} {text}".encode())
    for part in study.samples(library, n_library):
        key.update(f"{part.shape} {part.dtype}".encode())
        key.update(np.ascontiguousarray(part).tobytes())
    return key.hexdigest()[:16]


def library_network(
    study: Study,
    library: str,
    architecture: Architecture,
    *,
    folder: Path,
    max_epochs: int | None = None,
    n_library: int | None = None,
    progress: Progress | None = None,
) -> CrossValidation:
    """Return the network of a library; one trained before is taken from the folder.

    Parameters
    ----------
    study, library : Study, str
        The prepared study, whose seed is that of the training, and "global" or
        "country".
    architecture : Architecture
        Blocks and training settings. More than 2,000 rows are trained in batches of 128
        with a patience of 10 epochs.
    folder : Path
        Where networks are kept, for all sites of a library; made where missing. Who
        finds another process at the same network waits for it.
    max_epochs : int, optional
        Fewer epochs than `architecture.epochs`.
    n_library : int, optional
        At most so many rows, drawn by the study's seed.
    progress : callable, optional
        Called as progress(done, total, text), in epochs; once where it was trained
        before.

    Returns
    -------
    CrossValidation
        Its `seconds` are those of the training, whenever that was.
    """
    n_rows = study.n_rows(library)
    if min(n_rows, n_library or n_rows) > LARGE_LIBRARY:
        architecture = replace(architecture, batch_size=128, patience=10)
    how: dict[str, Any] = {"max_epochs": max_epochs, "n_library": n_library}
    key = network_key(study, library, architecture=architecture, **how)
    file = folder / f"{library}-{key}.npz"
    with locked(file.with_suffix(".lock")):  # another site may be at it
        if not file.exists():
            network = fit_network(
                study, library, architecture, progress=progress, **how
            )
            network.save(file)
            return network
    if progress is not None:
        progress(1, 1, f"the {library} network was trained before and is used again")
    return cnn.CrossValidation.load(file)


def library_networks(
    study: Study,
    architectures: Mapping[str, Architecture],
    *,
    folder: Path,
    max_epochs: int | None = None,
    n_library: int | None = None,
    progress: Progress | None = None,
) -> dict[str, CrossValidation]:
    """Return the networks of the libraries whose architecture is given, by library.

    `architectures` are by model, of which "global" and "country" count; the others are
    as of `library_network`, progress in percent of a network.
    """
    names = [name for name in LIBRARIES if name in architectures]
    return {
        name: library_network(
            study,
            name,
            architectures[name],
            folder=folder,
            max_epochs=max_epochs,
            n_library=n_library,
            progress=progress and within(progress, number, len(names), name),
        )
        for number, name in enumerate(names)
    }


def library_architectures(study: Study, *, is_small: bool = False) -> dict[str, Any]:
    """Return the architectures of "global" and "country" that need no search.

    That is the small network and, for the twin unless `is_small`, the published one,
    where the bands are enough for it. A study may have no country library.
    """
    country = TWIN_SITES.get(study.site.name, "").lower()
    published = {"global": "global", "country": country}
    found = {"global": cnn.SMALL}
    if len(study.country_rows):
        found["country"] = cnn.SMALL
    for name in found if study.library.name == "twin" and not is_small else ():
        one = cnn.PUBLISHED.get(published[name], cnn.SMALL)
        if cnn.feasible(one, len(study.wavelengths)):
            found[name] = one
    return found


def within(
    progress: Progress, number: int, n_models: int, name: str, *, counts: bool = True
) -> Progress:
    """Return the progress of one model, or of what it needs, as part of that of all."""

    def tell(done: int, total: int, text: str) -> None:
        here = 100 * done // max(total, 1) if counts else 0
        progress(100 * number + here, 100 * n_models, f"{name}, {text}")

    return tell


def search_library_network(
    study: Study,
    library: str,
    n_trials: int,
    *,
    folder: Path,
    max_epochs: int,
    max_weights: int,
    client: Client | None = None,
    progress: Progress | None = None,
) -> SearchResult:
    """Return a search for the architecture of a library's network.

    It sees 2,000 rows at most, drawn by chance, and tries the small network first; the
    rows that score do not stop the training. An interrupted one goes on. Arguments are
    those of `library_network` and, from `n_trials` on, of `soilnb.cnn.search`.
    """
    limits: dict[str, Any] = {"max_epochs": max_epochs, "max_weights": max_weights}
    limits |= {"n_initial": cnn.initial_trials(n_trials), "stopping": "inner"}
    key = network_key(study, library, LARGE_LIBRARY, **limits)
    place = folder / f"{library}-{key}.search"
    with locked(place.with_suffix(".lock")):
        return cnn.search(
            *study.samples(library, LARGE_LIBRARY),
            n_trials,
            place,
            seed=study.seed,
            start=(cnn.SMALL,),
            client=client,
            progress=progress,
            **limits,
        )


def describe_search(found: SearchResult) -> str:
    """Return in a sentence what a search begun with the small network found and took.

    Scores are RMSE in % SOC.
    """
    best, small = found.best_trial, found.tried[0]
    if best is small:
        return (
            f"None of {len(found.tried)} trials is better than the small network: "
            f"{found.score:.2f} % SOC, cross-validated."
        )
    size = cnn.n_weights(found.best, found.space.n_wavelengths)
    other = "failed" if small.score is None else f"has {small.score:.2f} % SOC"
    is_new = found.taken_trial is best
    return (
        f"Best of {len(found.tried)} trials: {found.score:.2f} % SOC, cross-validated, "
        f"with {size:,} weights; the small network {other}. Taken: "
        f"{'what was found' if is_new else 'the small network'}."
    )
