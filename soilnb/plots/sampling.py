"""Designs of sampling: strata, allocations, samples needed, and stopping too early."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from soilnb.datasets import place_label
from soilnb.plots.maps import lay_out
from soilnb.plots.style import legend_below, make_figure, make_panels

_DESIGNS = {  # label, colour, marker
    "simple": ("simple random", "#333333", "o"),
    "space": ("strata of space", "#CC79A7", "P"),
    "spectra": ("strata of spectra", "#56B4E9", "X"),
    "proportional": ("strata of the model, proportional", "#E69F00", "s"),
    "neyman_model": ("strata of the model, Neyman", "#0072B2", "D"),
    "neyman_true": ("Neyman, true spread (bound)", "#009E73", "|"),
}
DESIGN_LABELS = {name: label for name, (label, _, _) in _DESIGNS.items()}


def plot_strata(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Plot the strata of places, a panel for each way to make them.

    `tables` by name have longitude and latitude or easting and northing, stratum, and
    is_drawn: these have a ring.
    """
    figure, panels = make_panels(len(tables), 3.4, 3.2)
    for axes, (name, table) in zip(panels, tables.items(), strict=True):
        rows, x, y = lay_out(axes, table)
        axes.scatter(x, y, c=rows["stratum"], cmap="viridis", s=26, lw=0)
        drawn = rows["is_drawn"].to_numpy(bool)
        ring: dict[str, Any] = {"s": 60, "facecolor": "none", "edgecolor": "#D55E00"}
        axes.scatter(x[drawn], y[drawn], **ring)
        axes.set_title(name)
    return figure


def plot_allocation(strata: pd.DataFrame, allocations: pd.DataFrame) -> Figure:
    """Plot the spread in each stratum, expected and true, and its share of samples.

    `strata`, by stratum, has sd and planned_sd, `allocations` a column of samples for
    each design, as in `DESIGN_LABELS`.
    """
    figure, (left, right) = make_figure(8, 3.2, ncols=2)
    for name, label, colour in (
        ("planned_sd", "expected by the model", "#0072B2"),
        ("sd", "true", "#009E73"),
    ):
        left.plot(strata.index, strata[name], "o-", color=colour, label=label)
    left.set(ylabel="standard deviation", ylim=(0, None))
    width = 0.8 / allocations.shape[1]
    for place, (name, counts) in enumerate(allocations.items()):
        x = counts.index + (place - (allocations.shape[1] - 1) / 2) * width
        label, colour, _ = _DESIGNS[str(name)]
        right.bar(x, counts, width, color=colour, label=label)
    right.set(ylabel="samples")
    for axes in (left, right):
        axes.set(xlabel="stratum, by prediction", xticks=strata.index)
        legend_below(axes, 1)
    return figure


def plot_design_errors(compared: pd.DataFrame, target: float) -> Figure:
    """Plot the expected relative error against the number of samples, by design.

    `compared` is of `soilnb.sampling.compare_designs` with `at`, `target` the relative
    error that is asked for, percent.
    """
    figure, axes = make_figure(6, 3.8)
    for name, row in compared.drop(columns="n_needed").iterrows():
        label, colour, _ = _DESIGNS[str(name)]
        line = "--" if name == "neyman_true" else "-"
        axes.plot(row.index, row, line, color=colour, label=label)
    axes.axhline(target, color="black", lw=0.8, ls=":")
    axes.set(xlabel="samples", ylabel="half-width of the mean / %", ylim=(0, None))
    legend_below(axes, 2)
    return figure


def plot_needed(needed: pd.DataFrame, target: float) -> Figure:
    """Plot the samples that each design needs, a row for each region (a dumbbell).

    `needed` has region, design and n_needed, of which a median is taken where a design
    of a region comes more than once; `target` is the relative error, percent.
    """
    wide = needed.pivot_table("n_needed", "region", "design", aggfunc="median")
    wide = wide.sort_values("simple")
    figure, axes = make_figure(6.6, 1.3 + 0.24 * len(wide))
    rows = np.arange(len(wide))
    axes.hlines(rows, wide.min(axis=1), wide.max(axis=1), color="#BBBBBB", lw=2)
    for name in (name for name in _DESIGNS if name in wide):
        label, colour, marker = _DESIGNS[name]
        style: dict[str, Any] = {"s": 110 if marker == "|" else 34, "marker": marker}
        axes.scatter(wide[name], rows, color=colour, label=label, zorder=3, **style)
    axes.set_yticks(rows, map(place_label, wide.index))
    axes.set(xlabel=f"samples for a half-width of {target:g} % of the mean")
    axes.set_xlim(0, None)
    legend_below(axes, 2)
    return figure


def plot_stops(stops: pd.DataFrame, level: float = 0.95) -> Figure:
    """Plot what becomes of draws that pass a rule: how many, their bias and coverage.

    `stops` has a row a region: passed, covered, covered_passed, bias and bias_passed,
    percent; `level` is that of the intervals.
    """
    figure, (left, right) = make_figure(8, 3.4, ncols=2, sharex=True)
    for axes, name, label in (
        (left, "covered", "intervals that hold the mean / %"),
        (right, "bias", "error of the mean / %"),
    ):
        axes.scatter(stops["passed"], stops[name], color="#0072B2", label="all draws")
        style = {"color": "#D55E00", "marker": "s", "label": "draws that pass"}
        axes.scatter(stops["passed"], stops[f"{name}_passed"], **style)
        axes.set(xlabel="draws that pass the rule / %", ylabel=label)
        axes.axhline(100 * level * (name == "covered"), color="black", lw=0.8, ls=":")
        legend_below(axes, 2)
    left.set_ylim(0, 102)
    return figure


def plot_worth(worth: pd.DataFrame) -> Figure:
    """Plot what a model saves against how well it predicts.

    `worth` has a row a region or field: correlation (of prediction and truth), saving
    (percent of the samples of a simple draw) and where ("region" or "field").
    """
    figure, axes = make_figure(5.6, 3.6)
    looks = ({"color": "#E69F00", "marker": "s"}, {"color": "#0072B2", "marker": "o"})
    for (name, rows), look in zip(worth.groupby("where"), looks, strict=False):
        label = f"{name} ({len(rows)})"
        axes.scatter(rows["correlation"], rows["saving"], label=label, **look)
    axes.axhline(0, color="black", lw=0.8)
    axes.set(xlabel="correlation of prediction and truth", ylabel="samples saved / %")
    legend_below(axes, 2)
    return figure
