"""Deep transfer learning from a soil spectral library to a local site."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from soilnb import cnn

if TYPE_CHECKING:
    from soilnb.cnn import Architecture, CrossValidation


def dtl_i(
    architecture: Architecture,
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    folds: npt.ArrayLike,
    **options: Any,
) -> CrossValidation:
    """Deep transfer learning of instances (DTL-I): train on selected and local samples.

    The cross-validated RMSE mixes library and local rows, and the selection has seen
    the local values already: it does not tell how well the site is predicted. A test
    set of the site does.

    `X` (k + n, n_wavelengths), `y` and `folds` (k + n,) are SNV absorbance, soil
    property and fold of the instances selected from the library, as by RS-LOCAL, then
    of the local samples: those of `Study.localised`. Shen et al. (2022), ISPRS Journal
    of Photogrammetry and Remote Sensing 188, 190-200, split all rows at random into ten
    folds. `options` (seed, max_epochs, progress) are those of
    `soilnb.cnn.cross_validate`, which also says what is raised.
    """
    return cnn.cross_validate(architecture, X, y, folds, **options)
