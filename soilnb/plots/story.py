"""Figures of the first page: what all farms say, one turn of the plot in each."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from soilnb import methods
from soilnb.datasets import place_label
from soilnb.plots.style import (
    COLOURS,
    SITE_COLOURS,
    SOC_LABEL,
    legend_below,
    make_figure,
    plain_numbers,
    site_marker,
)

TICKS = (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10)


def plot_by_farm(
    table: pd.DataFrame, *, label: str, line: float | None = None, is_log: bool = False
) -> Figure:
    """Plot some values of each farm in its row, joined by a thin line.

    `table` has farms as index and what is compared in columns, in the unit that `label`
    names; NaN is left out. `line` is drawn dashed, where there is a value to compare
    with; `is_log` gives a logarithmic axis, of positive values only.
    """
    figure, axes = make_figure(7, 1.5 + 0.36 * len(table))
    rows = np.arange(len(table))
    axes.hlines(rows, table.min(axis=1), table.max(axis=1), color="#BBBBBB", lw=1.2)
    for place, (name, values) in enumerate(table.items()):
        style = {"color": SITE_COLOURS[place], "label": str(name), "ls": "", "ms": 7}
        axes.plot(values, rows, marker=site_marker(place), **style)
    if line is not None:
        axes.axvline(line, color="#666666", lw=1, ls="--", zorder=0)
    axes.set_yticks(rows, [place_label(name) for name in table.index])
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    if is_log:
        axes.set_xscale("log")
        low, high = 0.9 * float(np.nanmin(table)), 1.1 * float(np.nanmax(table))
        axes.set_xlim(low, high)
        plain_numbers(axes.xaxis, [tick for tick in TICKS if low <= tick <= high])
    axes.set_xlabel(label)
    legend_below(axes, 3)
    return figure


def plot_curve_over_farms(curve: pd.DataFrame) -> Figure:
    """Plot the mean ratio of RMSE to that of `local` against the local samples.

    `curve` has method, n_local, ratio, low and high, of `soilnb.study.over_sites`; bars
    are the 95 % intervals over the farms.
    """
    figure, axes = make_figure(7, 3.4)
    names = methods.in_order(curve["method"])
    for place, name in enumerate(names):
        rows = curve[curve["method"] == name].sort_values("n_local")
        ends = np.abs(rows[["low", "high"]].sub(rows["ratio"], axis=0)).to_numpy().T
        style: Any = {"color": SITE_COLOURS[place], "label": methods.label(name)}
        style |= {"marker": site_marker(place), "ms": 6, "capsize": 3}
        at = rows["n_local"] + 0.7 * (place - (len(names) - 1) / 2)
        axes.errorbar(at, rows["ratio"], yerr=ends, **style)
    axes.axhline(1, color="#666666", lw=1, ls="--", zorder=0)
    axes.set_xticks(sorted(curve["n_local"].unique()))
    axes.set(xlabel="local samples", ylabel="RMSE / RMSE of CNN local")
    legend_below(axes, 3)
    return figure


def plot_farm_card(
    wavelengths: npt.ArrayLike, reflectance: npt.NDArray, soc: npt.NDArray
) -> Figure:
    """Plot a farm in small: the middle 90 % of its spectra, and its SOC.

    `reflectance`, a fraction, is (n_samples, n_wavelengths), `wavelengths` are in nm,
    `soc` (n_samples,) is in %, NaN where it is not measured.
    """
    figure, (left, right) = make_figure(5.2, 2.3, ncols=2, width_ratios=[1.4, 1])
    low, high = np.nanquantile(reflectance, [0.05, 0.95], axis=0)
    left.fill_between(wavelengths, low, high, color=COLOURS["site"], alpha=0.25, lw=0)
    left.plot(wavelengths, np.nanmean(reflectance, axis=0), color=COLOURS["site"])
    left.set(xlabel="wavelength / nm", ylabel="reflectance", xlim=(350, 2500))
    left.set_ylim(0, 0.7)
    right.hist(soc[np.isfinite(soc)], bins=12, color="#E69F00")
    right.set(xlabel=SOC_LABEL, ylabel="samples")
    return figure
