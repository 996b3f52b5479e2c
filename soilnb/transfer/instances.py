"""Deep transfer learning from a soil spectral library to a local site."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy.typing as npt

from soilnb import cnn

if TYPE_CHECKING:
    from soilnb.cnn import Architecture, CrossValidation


def dtl_i(
    architecture: Architecture,
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    folds: npt.ArrayLike,
    *,
    seed: int = 1,
    max_epochs: int | None = None,
    progress: Callable[[int, int, str], object] | None = None,
) -> CrossValidation:
    """Deep transfer learning of instances (DTL-I): train on selected and local samples.

    Parameters
    ----------
    architecture : Architecture
        Blocks and training settings of the network.
    X : array-like of shape (k + n, n_wavelengths)
        SNV absorbance of the instances selected from the library, as by RS-LOCAL, then
        of the local samples; with `y` and `folds`, as `Study.localised` returns them.
    y : array-like of shape (k + n,)
        Their soil property, in one unit.
    folds : array-like of int, shape (k + n,)
        Fold number of each row; Shen et al. [1]_ split the k + n rows at random into
        ten folds.
    seed : int, default 1
        Seed of initial weights, order of the batches and dropout.
    max_epochs : int, optional
        Fewer epochs than `architecture.epochs`, for a quick run.
    progress : callable, optional
        Called as progress(done, total, text), in epochs.

    Returns
    -------
    CrossValidation
        Errors and models; rows in the order given.

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
    return cnn.cross_validate(
        architecture, X, y, folds, seed=seed, max_epochs=max_epochs, progress=progress
    )
