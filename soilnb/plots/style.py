"""One style for all figures; a set of samples has one colour (Okabe and Ito 2008)."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation

from soilnb import methods

COLOURS = {
    "library": "#999999",
    "country": "#009E73",
    "selected": "#D55E00",
    "site": "#0072B2",
    "local": "#0072B2",
    "test": "#E69F00",
}
# Sites of one figure: a colour and, where they are many, a marker of their own.
SITE_COLOURS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#D55E00",
    "#56B4E9",
    "#332288",
)
SITE_MARKERS = ("o", "s", "^", "D", "v", "P")
MANY_POINTS = 2000  # more are one image in a vector file, so that it stays small
SOC_LABEL = "SOC / %"
RMSE_LABEL = "RMSE of the test samples / % SOC"
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
            "pdf.fonttype": 42,  # letters stay letters: journals ask for it
        }
    )
    return plt.subplots(figsize=(width, height), **options)


def make_panels(n: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure of `n` panels, three in a row; four are a square."""
    n_columns = 2 if n == 4 else min(3, n)
    n_rows = -(-n // n_columns)
    figure, panels = make_figure(
        width * n_columns, height * n_rows, nrows=n_rows, ncols=n_columns, squeeze=False
    )
    for axes in panels.flat[n:]:
        axes.set_visible(False)
    return figure, list(panels.flat[:n])


def method_rows(axes: Axes, names: Sequence[str]) -> None:
    """Give each method a row, the first on top, with its name beside it."""
    axes.set_yticks(range(len(names)), [methods.label(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)


def beside(axes: Axes, row: float, text: str) -> None:
    """Write a number right of a row, or at row -0.5 a heading above them."""
    style: Any = {"xycoords": ("axes fraction", "data")}
    style |= {"va": "bottom" if row < 0 else "center"}
    offset = (6, 3 if row < 0 else 0)
    write_at(axes, text.replace("-", "−"), (1, row), offset, **style)


def write_at(axes: Axes, text: str, at: Any, offset: Any, **style: Any) -> None:
    """Write a text some points away from a place."""
    options: Any = {"textcoords": "offset points", "fontsize": 8} | style
    axes.annotate(text, at, xytext=offset, **options)


def apart(wide: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return how far from the middle of a row the point of each site lies."""
    n_sites = len(wide.columns)
    return 0.6 * (np.arange(n_sites) - (n_sites - 1) / 2) / max(n_sites - 1, 1)


def site_marker(place: int) -> str:
    """Return a marker; two sites of one colour have different ones."""
    turn = place // len(SITE_COLOURS)
    return SITE_MARKERS[(place + turn) % len(SITE_MARKERS)]


def name_sides(axes: Axes, at: float, left: str, right: str) -> None:
    """Write above a vertical line at `at` what lies left and right of it."""
    style = {"xycoords": axes.get_xaxis_transform(), "va": "bottom"}
    write_at(axes, f"← {left}", (at, 1), (-4, 3), ha="right", **style)
    write_at(axes, f"{right} →", (at, 1), (4, 3), ha="left", **style)


def legend_below(axes: Axes, n_columns: int) -> None:
    """Put the legend below the axis label, so that it covers no data."""
    down = ScaledTranslation(0, -38 / 72, axes.figure.dpi_scale_trans)
    style = {"columnspacing": 1.2, "handletextpad": 0.5, "fontsize": 8.5}
    place = {"bbox_to_anchor": (0.5, 0), "bbox_transform": axes.transAxes + down}
    axes.legend(loc="upper center", ncols=n_columns, **place, **style)


def legend_under(figure: Figure, axes: Axes, n_columns: int, **style: Any) -> Figure:
    """Put the legend of one panel below all of them; return the figure."""
    options: Any = {"loc": "outside lower center", "fontsize": 8.5} | style
    figure.legend(*axes.get_legend_handles_labels(), ncols=n_columns, **options)
    return figure


def plain_numbers(axis: Axis, ticks: Sequence[float]) -> None:
    """Label a logarithmic axis with plain numbers at the given places."""
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def mark_features(axes: Any, wavelengths: npt.ArrayLike) -> None:
    """Mark the absorption features within a range above a plot."""
    low, high = np.min(wavelengths), np.max(wavelengths)
    for name, nm in FEATURES_NM.items():
        if low <= nm <= high:
            axes.axvline(nm, color="black", lw=0.7, ls=":")
            style = {"xycoords": ("data", "axes fraction"), "rotation": 60}
            style |= {"va": "bottom", "fontsize": 7}
            write_at(axes, name.strip(), (nm, 1), (0, 2), **style)
