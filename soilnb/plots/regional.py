"""Figures of regions: what a global model is worth there, and how sure it is."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from soilnb.methods import REGIONAL
from soilnb.plots.style import (
    SITE_COLOURS,
    legend_below,
    make_figure,
    make_panels,
    name_sides,
    plain_numbers,
    site_marker,
)

SCHEMES = {
    "random": "random",
    "stratified": "stratified by\n5° cells",
    "blocked": "blocked by\n5° cells",
    "regions": "whole\nregions out",
}
FOLD_MODELS = {
    "forest": "random forest",
    "boosting": "gradient boosting",
    "network": "network",
    "neighbours": "neighbours on the map",
}
INTERVALS = {
    "mc_dropout": "MC dropout",
    "deep_ensemble": "deep ensemble",
    "split_conformal": "split conformal",
    "cv_plus": "CV+",
}
CHANGE_LABEL = "change of RMSE against the regional forest / %"


def plot_regions(cells: pd.DataFrame, label: str) -> Figure:
    """Plot cells of a map, coloured by their mean, with the regions' names.

    `cells` has latitude, longitude (degrees), region, sites and y, a row for each cell;
    `label` says what y is. A degree of longitude has its true length in the middle.
    """
    figure, axes = make_figure(7.2, 4.2)
    low, high = cells["y"].quantile([0.02, 0.98])
    style: dict[str, Any] = {"vmin": low, "vmax": high, "cmap": "cividis_r", "lw": 0}
    style |= {"s": 8 + 3 * np.sqrt(cells["sites"]), "marker": "s"}
    places = cells["longitude"], cells["latitude"]
    dots = axes.scatter(*places, c=cells["y"], **style)
    for name, part in cells.groupby("region"):
        middle = part[["longitude", "latitude"]].median()
        box: dict[str, Any] = {"fc": "white", "ec": "none", "alpha": 0.75, "pad": 1}
        axes.annotate(name, middle, ha="center", va="center", fontsize=8, bbox=box)
    middle = np.radians(cells["latitude"].mean())
    axes.set_aspect(1 / np.cos(middle))
    axes.set(xlabel="longitude / degrees", ylabel="latitude / degrees")
    figure.colorbar(dots, ax=axes, label=label, shrink=0.8)
    return figure


def plot_schemes(folds: pd.DataFrame, claimed: str = "stratified") -> Figure:
    """Plot R2 by validation scheme, a line for each model.

    `folds` has scheme, model and r2. `claimed` is the scheme whose column is shaded.
    """
    figure, axes = make_figure(6.4, 3.6)
    schemes = [name for name in SCHEMES if name in set(folds["scheme"])]
    for place, (model, label) in enumerate(FOLD_MODELS.items()):
        own = folds[folds["model"] == model].set_index("scheme")["r2"].reindex(schemes)
        style = {"color": SITE_COLOURS[place], "marker": site_marker(place)}
        axes.plot(range(len(schemes)), own, label=label, **style)
    at = schemes.index(claimed)
    axes.axvspan(at - 0.3, at + 0.3, color="#999999", alpha=0.15, lw=0)
    axes.set_xticks(range(len(schemes)), [SCHEMES[name] for name in schemes])
    axes.set_ylabel("R² of all predictions out of fold")
    axes.legend(fontsize=8.5)
    return figure


def plot_gains(means: pd.DataFrame, models: Sequence[str]) -> Figure:
    """Plot the mean change of RMSE by number of samples, with intervals.

    `means` has model, n, change, low and high (%). The global network, which has seen
    no sample of the region, is a dashed line.
    """
    figure, axes = make_figure(6.8, 4.2)
    axes.axhline(0, color="black", lw=1)
    sizes = sorted(means["n"].unique())
    for place, model in enumerate(models):
        own = means[means["model"] == model].sort_values("n")
        is_line = model == "global_network"
        colour = "black" if is_line else SITE_COLOURS[place % len(SITE_COLOURS)]
        shifted = own["n"] * 1.02 ** (place - len(models) / 2)
        dots: dict[str, Any] = {"marker": site_marker(place), "ms": 5}
        style = {"ls": "--"} if is_line else dots
        axes.plot(shifted, own["change"], color=colour, label=REGIONAL[model], **style)
        axes.vlines(shifted, own["low"], own["high"], color=colour, lw=1, alpha=0.6)
    axes.set_xscale("log")
    plain_numbers(axes.xaxis, sizes)
    axes.set(xlabel="samples of the region", ylabel=CHANGE_LABEL)
    legend_below(axes, 2)
    return figure


def plot_gain_by_skill(changes: pd.DataFrame, skill: pd.DataFrame) -> Figure:
    """Plot the change of each region against the R2 of its forest, a panel for each n.

    `changes` has region, n and change (%) of one model, `skill` region, n and r2.
    """
    joined = changes.merge(skill, on=["region", "n"])
    sizes = sorted(joined["n"].unique())
    figure, panels = make_panels(len(sizes), 2.7, 2.7)
    for axes, n in zip(panels, sizes, strict=True):
        own = joined[joined["n"] == n]
        axes.axhline(0, color="black", lw=1)
        axes.scatter(own["r2"], own["change"], s=22, color=SITE_COLOURS[0])
        text = f"n = {n}"
        if len(own) > 2:
            rank = own[["r2", "change"]].rank().corr().iloc[0, 1]
            text += f", rank correlation {rank:.2f}"
        axes.set_title(text.replace("-", "−"), fontsize=9)
        axes.set_xlabel("R² of the regional forest")
    panels[0].set_ylabel("change of RMSE / %")
    return figure


def plot_paths(path: pd.DataFrame, *, n_panels: int = 3) -> Figure:
    """Plot how the test RMSE goes with the epochs of fine-tuning.

    `path` has region, n, draw, epoch, stop (chosen by cross-validation) and rmse (of
    the test). Each RMSE is relative to the untouched network's; the line is the mean.
    """
    keys = ["region", "n", "draw"]
    first = path[path["epoch"] == 0].set_index(keys)["rmse"].rename("first")
    table = path.join(first, on=keys)
    table["ratio"] = table["rmse"] / table["first"]
    sizes = sorted(table["n"].unique())[:n_panels]
    figure, panels = make_panels(len(sizes), 2.8, 2.8)
    for axes, n in zip(panels, sizes, strict=True):
        own = table[table["n"] == n]
        mean = own.groupby("epoch")["ratio"].mean()
        axes.axhline(1, color="black", lw=1, ls="--")
        axes.plot(mean.index, mean, color=SITE_COLOURS[0])
        stopped = own[own["epoch"] == own["stop"]]
        picked = own.loc[own.groupby(keys)["ratio"].idxmin()]
        for part, marker, colour, label in (
            (stopped, "o", SITE_COLOURS[1], "honest stop"),
            (picked, "X", SITE_COLOURS[4], "picked on the test"),
        ):
            place = (part["epoch"].mean(), part["ratio"].mean())
            style: dict[str, Any] = {"ms": 9, "color": colour, "ls": "none"}
            axes.plot(*place, marker=marker, label=label, **style)
        axes.set_title(f"n = {n}", fontsize=9)
        axes.set_xlabel("epochs of ten steps")
    panels[0].set_ylabel("test RMSE / untouched network's")
    panels[0].legend(fontsize=8)
    return figure


def plot_ensemble_weights(weights: pd.DataFrame) -> Figure:
    """Plot the weight of the global model, out of fold against in sample.

    `weights` has n, ensemble_out_of_fold and ensemble_in_sample, a row for each fit.
    """
    figure, axes = make_figure(4.6, 4.2)
    style: dict[str, Any] = {"s": 14, "alpha": 0.7, "lw": 0}
    for place, (n, part) in enumerate(weights.groupby("n")):
        jitter = np.random.default_rng(int(n)).uniform(-0.012, 0.012, (2, len(part)))
        at = part[["ensemble_in_sample", "ensemble_out_of_fold"]].to_numpy().T + jitter
        colour = SITE_COLOURS[place % len(SITE_COLOURS)]
        axes.scatter(*at, color=colour, label=f"n = {n}", **style)
    axes.plot([0, 1], [0, 1], color="black", lw=1, ls="--")
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    axes.set(xlabel="weight fitted in sample", ylabel="weight fitted out of fold")
    axes.set_aspect("equal")
    legend_below(axes, 5)
    for handle in axes.get_legend().legend_handles:
        handle.set_sizes([36])
    return figure


def plot_coverage(coverage: pd.DataFrame, *, level: float = 0.9) -> Figure:
    """Plot how many intervals hold the truth, by method and setting.

    `coverage` has setting (within, shift, mended), method, n, coverage, and the lowest
    and highest of the regions.
    """
    figure, panels = make_figure(8.2, 3.8, ncols=2, sharey=True, width_ratios=(1.35, 1))
    for axes in panels:
        axes.axhline(level, color="black", lw=1, ls="--")
    within = coverage[coverage["setting"] == "within"]
    for place, (method, label) in enumerate(INTERVALS.items()):
        own = within[within["method"] == method].sort_values("n")
        at = own["n"] * 1.05 ** (place - 1.5)
        _draw_range(panels[0], at, own, place, label)
    panels[0].set_xscale("log")
    plain_numbers(panels[0].xaxis, sorted(within["n"].unique()))
    panels[0].set(xlabel="samples of the region")
    panels[0].set_ylabel("intervals that hold the truth")
    shift, mended = "no sample\nof the region", "20 samples\nto calibrate"
    names = {"shift": shift, "mended": mended}
    for place, method in enumerate(INTERVALS):
        own = coverage[coverage["setting"].isin(names) & (coverage["method"] == method)]
        own = own.set_index("setting").reindex(list(names))
        _draw_range(panels[1], np.arange(2) + 0.1 * (place - 1.5), own, place, "")
    panels[1].set_xticks(range(2), list(names.values()))
    panels[1].set_xlim(-0.5, 1.5)
    panels[0].set_title("fine-tuned within the region", fontsize=9)
    panels[1].set_title("a region never seen", fontsize=9)
    legend_below(panels[0], 4)
    return figure


def _draw_range(
    axes: Axes, at: pd.Series, own: pd.DataFrame, place: int, label: str
) -> None:
    """Draw the mean over regions as a point, and the range of the regions."""
    style: dict[str, Any] = {"color": SITE_COLOURS[place]}
    axes.vlines(at, own["lowest"], own["highest"], lw=1.2, alpha=0.5, **style)
    options: dict[str, Any] = {"ls": "none", "marker": site_marker(place), "ms": 6}
    axes.plot(at, own["coverage"], label=label, **options, **style)


def plot_levels(levels: pd.DataFrame) -> Figure:
    """Plot R2 of each region's forest at home and next door.

    `levels` has region, hold_out and elsewhere (R2). Below −1 a point is drawn at −1.
    """
    figure, axes = make_figure(5.6, 1.2 + 0.24 * len(levels))
    ordered = levels.sort_values("hold_out").reset_index(drop=True)
    home, away = (ordered[key].clip(lower=-1) for key in ("hold_out", "elsewhere"))
    axes.hlines(ordered.index, away, home, color="#999999", lw=1)
    axes.plot(home, ordered.index, "o", color=SITE_COLOURS[0], label="20 % held out")
    axes.plot(away, ordered.index, "D", color=SITE_COLOURS[4], label="adjacent region")
    axes.axvline(0, color="black", lw=1)
    axes.set_yticks(ordered.index, ordered["region"])
    name_sides(axes, 0, "worse than the mean", "better")
    axes.set_xlabel("R² of the forest of the region")
    legend_below(axes, 2)
    return figure
