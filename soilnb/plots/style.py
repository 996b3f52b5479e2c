"""One style for all figures, and colours that all readers can tell apart.

The colours are those of Okabe and Ito (2008); a set of samples has the same colour in
every figure.
"""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

COLOURS = {
    "library": "#999999",
    "country": "#56B4E9",
    "selected": "#D55E00",
    "site": "#0072B2",
    "local": "#0072B2",
    "test": "#E69F00",
}
SOC_LABEL = "SOC / %"
# Absorption features of soil, nm (Stenberg et al. 2010, Advances in Agronomy 107).
FEATURES_NM = {
    "iron": 480,
    "iron ": 900,
    "OH, water": 1414,
    "C-H": 1730,
    "water": 1915,
    "clay": 2205,
    "C-H ": 2310,
}


def make_figure(width: float, height: float, **options: Any) -> tuple[Figure, Any]:
    """Return a figure and its axes in the project's style."""
    mpl.rcParams.update(
        {
            "figure.dpi": 110,
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "legend.frameon": False,
            "font.size": 10,
        }
    )
    return plt.subplots(figsize=(width, height), **options)


def mark_features(axes: Any, wavelengths: npt.ArrayLike) -> None:
    """Mark the absorption features within a range above a plot."""
    low, high = np.min(wavelengths), np.max(wavelengths)
    for name, nm in FEATURES_NM.items():
        if low <= nm <= high:
            axes.axvline(nm, color="black", lw=0.7, ls=":")
            axes.annotate(
                name.strip(),
                (nm, 1),
                xycoords=("data", "axes fraction"),
                xytext=(0, 2),
                textcoords="offset points",
                rotation=60,
                va="bottom",
                fontsize=7,
            )
