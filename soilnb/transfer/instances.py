"""Deep transfer learning from a soil spectral library to a local site."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from soilnb import cnn
from soilnb._validation import check_matrix, check_rows, check_vector

if TYPE_CHECKING:
    from soilnb.cnn import Architecture, CrossValidation


@dataclass(frozen=True, eq=False)
class LocalisedData:
    """Library instances selected for a site, followed by the site's local samples.

    Parameters
    ----------
    X : array of shape (k + n, n_wavelengths)
        SNV absorbance.
    y : array of shape (k + n,)
        Soil property, in its own unit.
    is_local : array of bool, shape (k + n,)
        Whether a row is one of the n local samples.
    """

    X: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    is_local: npt.NDArray[np.bool_]


def localised_data(
    X_selected: npt.ArrayLike,
    y_selected: npt.ArrayLike,
    X_local: npt.ArrayLike,
    y_local: npt.ArrayLike,
) -> LocalisedData:
    """Put the selected instances and the local samples together, selected first.

    Parameters
    ----------
    X_selected : array-like of shape (k, n_wavelengths)
        SNV absorbance of the instances selected from the library.
    y_selected : array-like of shape (k,)
        Their soil property.
    X_local : array-like of shape (n, n_wavelengths)
        SNV absorbance of the local samples.
    y_local : array-like of shape (n,)
        Their soil property, in the same unit.

    Returns
    -------
    LocalisedData
        The k + n rows, and which of them are local.

    Raises
    ------
    ValueError
        If shapes disagree or values are not finite.

    Examples
    --------
    >>> localised_data([[1, 2], [3, 4]], [1, 2], [[5, 6]], [3]).is_local.tolist()
    [False, False, True]
    """
    X_selected = check_matrix(X_selected, "X_selected")
    X_local = check_matrix(X_local, "X_local")
    y_selected = check_vector(y_selected, "y_selected")
    y_local = check_vector(y_local, "y_local")
    check_rows(X_selected, "X_selected", y_selected, "y_selected")
    check_rows(X_local, "X_local", y_local, "y_local")
    if X_selected.shape[1] != X_local.shape[1]:
        msg = (
            f"'X_selected' has {X_selected.shape[1]} wavelengths but 'X_local' has "
            f"{X_local.shape[1]}. Bring both to one grid first."
        )
        raise ValueError(msg)
    return LocalisedData(
        X=np.concatenate([X_selected, X_local]),
        y=np.concatenate([y_selected, y_local]),
        is_local=np.arange(len(y_selected) + len(y_local)) >= len(y_selected),
    )


def dtl_i(
    architecture: Architecture,
    X_selected: npt.ArrayLike,
    y_selected: npt.ArrayLike,
    X_local: npt.ArrayLike,
    y_local: npt.ArrayLike,
    *,
    folds: npt.ArrayLike,
    seed: int = 1,
    max_epochs: int | None = None,
    progress: Callable[[int, int, str], object] | None = None,
) -> CrossValidation:
    """Deep transfer learning of instances (DTL-I): train on selected and local samples.

    Parameters
    ----------
    architecture : Architecture
        Blocks and training settings of the network.
    X_selected : array-like of shape (k, n_wavelengths)
        SNV absorbance of the instances selected from the library, as by RS-LOCAL.
    y_selected : array-like of shape (k,)
        Their soil property.
    X_local : array-like of shape (n, n_wavelengths)
        SNV absorbance of the local samples.
    y_local : array-like of shape (n,)
        Their soil property, in the same unit.
    folds : array-like of int, shape (k + n,)
        Fold number of each row, selected instances first; Shen et al. split the k + n
        rows at random into ten folds.
    seed : int, default 1
        Seed of initial weights, order of the batches and dropout.
    max_epochs : int, optional
        Fewer epochs than `architecture.epochs`, for a quick run.
    progress : callable, optional
        Called as progress(done, total, text), in epochs.

    Returns
    -------
    CrossValidation
        Errors and models; rows in the order selected, then local.

    Raises
    ------
    TypeError
        If `folds` are not whole numbers.
    ValueError
        If shapes disagree or values are not finite.

    See Also
    --------
    soilnb.cnn.cross_validate : The training.

    Notes
    -----
    The cross-validated RMSE mixes library and local rows, and the selection has seen
    the local values already: it does not tell how well the site is predicted. A test
    set of the site does.

    References
    ----------
    .. [1] Shen et al. (2022), ISPRS Journal of Photogrammetry and Remote
           Sensing 188, 190-200.
    """
    pooled = localised_data(X_selected, y_selected, X_local, y_local)
    return cnn.cross_validate(
        architecture,
        pooled.X,
        pooled.y,
        folds,
        seed=seed,
        max_epochs=max_epochs,
        progress=progress,
    )
