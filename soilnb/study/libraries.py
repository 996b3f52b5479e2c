"""What a study takes from a library: samples, the rows selected, a network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from soilnb import cnn
from soilnb._validation import check_choice
from soilnb.rslocal import Selection, select_instances, selection_size
from soilnb.study.prepared import Study

if TYPE_CHECKING:
    from soilnb.cnn import Architecture, CrossValidation

LIBRARIES = ("global", "country")

Progress = Callable[[int, int, str], object]
Samples = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]


def library_samples(
    study: Study, library: str, *, n_library: int | None = None
) -> Samples:
    """Return spectra, SOC and folds of one library of a study.

    Parameters
    ----------
    study : Study
        The prepared study.
    library : str
        "global" or "country".
    n_library : int, optional
        At most so many rows, drawn by the study's seed.

    Returns
    -------
    X : ndarray of shape (n_rows, n_wavelengths)
        SNV absorbance.
    y : ndarray of shape (n_rows,)
        SOC in %.
    folds : ndarray of shape (n_rows,)
        Fold of each row.

    Raises
    ------
    ValueError
        If the study has no such library.
    """
    check_has_library(study, library)
    X, y, folds = study.X_library, study.y_library, study.library_folds
    if library == "country":
        X, y, folds = study.X_country, study.y_country, study.country_folds
    if n_library is None or n_library >= len(y):
        return X, y, folds
    rows = study.sample_rows(np.arange(len(y)), n_library)
    return X[rows], y[rows], folds[rows]


def check_has_library(study: Study, library: str) -> None:
    """Raise ValueError where the study has no such library."""
    check_choice(library, "library", LIBRARIES)
    if library == "country" and not len(study.country_rows):
        msg = (
            f"'library' must be 'global' for the site {study.site.name!r}, got "
            "'country': it has no country library. Leave the country models out."
        )
        raise ValueError(msg)


def select_rows(
    study: Study, library: str, *, n_selected: int = 100, **options: Any
) -> Selection:
    """Select the rows of a library that best model the local samples, by RS-LOCAL.

    Parameters
    ----------
    study : Study
        The prepared study; its seed is that of the draws.
    library : str
        "global" or "country".
    n_selected : int, default 100
        Rows wanted; of a library with fewer than twice that, half is taken.
    **options
        As of `soilnb.rslocal.select_instances`, for instance `n_repeats`.

    Returns
    -------
    Selection
        Its indices are rows of `library_samples(study, library)`, all of them.

    Raises
    ------
    ValueError
        If the study has no such library.
    """
    X, y, _ = library_samples(study, library)
    return select_instances(
        X,
        y,
        study.X_local,
        study.y_local,
        n_selected=selection_size(len(y), n_selected),
        seed=study.seed,
        **options,
    )


def fit_network(
    study: Study,
    library: str,
    architecture: Architecture,
    *,
    max_epochs: int | None = None,
    n_library: int | None = None,
    progress: Progress | None = None,
) -> CrossValidation:
    """Train the network of a library, one for each of its folds.

    Parameters
    ----------
    study : Study
        The prepared study; its seed is that of the training.
    library : str
        "global" or "country".
    architecture : Architecture
        Blocks and training settings.
    max_epochs : int, optional
        Fewer epochs than `architecture.epochs`.
    n_library : int, optional
        At most so many rows, drawn by the study's seed.
    progress : callable, optional
        Called as progress(done, total, text), in epochs.

    Returns
    -------
    CrossValidation

    Raises
    ------
    ValueError
        If the study has no such library.

    See Also
    --------
    network_key : Whether a network that was trained before is the same.
    """
    return cnn.cross_validate(
        architecture,
        *library_samples(study, library, n_library=n_library),
        seed=study.seed,
        max_epochs=max_epochs,
        progress=progress,
    )


def network_key(
    study: Study,
    library: str,
    architecture: Architecture,
    *,
    max_epochs: int | None = None,
    n_library: int | None = None,
) -> str:
    """Return what the network of a library depends on, as a short digest.

    Two calls of `fit_network` with the same key train the same network. The local and
    the test samples are not in it: other splits of a site, fewer local samples, and
    sites that leave the same rows and bands of the library, share their networks.

    Parameters
    ----------
    study, library, architecture, max_epochs, n_library
        As of `fit_network`.

    Returns
    -------
    str
        16 hexadecimal digits.

    Raises
    ------
    ValueError
        If the study has no such library.
    """
    settings = {
        "architecture": architecture.to_dict(),
        "max_epochs": max_epochs,
        "seed": study.seed,
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for part in library_samples(study, library, n_library=n_library):
        digest.update(f"{part.shape} {part.dtype}".encode())
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()[:16]
