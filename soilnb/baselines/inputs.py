"""Checks of what the methods that join library and local samples are given."""

from typing import Any

import numpy as np
import numpy.typing as npt

from soilnb._validation import Floats, check_rows, check_xy
from soilnb.pls import check_columns
from soilnb.selection import Samples

Pair = Samples | tuple[Any, Any]


def check_pair(
    library: Pair, local: Pair
) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Return (X, y) of library and local samples, checked against each other."""
    checked = []
    for part, name in ((library, "library"), (local, "local")):
        checked.append(check_xy(part[0], part[1], f"X_{name}", f"y_{name}"))
    check_columns(checked[1][0], "X_local", checked[0][0], "X_library")
    return checked[0], checked[1]


def check_folds(part: Samples, X: Floats, name: str) -> npt.NDArray:
    """Return the folds of library or local samples, one for each of them."""
    folds = np.asarray(part[2])
    check_rows(folds, f"{name}_folds", X, f"X_{name}")
    return folds
