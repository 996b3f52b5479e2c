"""Soil layers: how they go together, what teaches a sparse one, leaks, and a map."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from soilnb.plots.style import legend_below, legend_under, make_figure

LAYER_MODELS = {  # label, colour, line
    "forest": ("forest, layer alone", "#999999", "--"),
    "forest_pooled": ("forest, all layers", "#333333", "-"),
    "kriging": ("kriging, layer alone", "#009E73", "--"),
    "cnn": ("CNN, layer alone", "#56B4E9", "--"),
    "multi_task": ("multi-task CNN", "#CC79A7", "-"),
    "pooled": ("pooled CNN", "#E69F00", "-"),
    "transfer": ("layer transfer", "#D55E00", "-"),
}
HONEST, LEAKY = "#0072B2", "#D55E00"
R2_LABEL = "R² of log SOC, out of fold"


def plot_layer_correlations(table: pd.DataFrame) -> Figure:
    """Plot how the logarithms of SOC of all pairs of layers correlate.

    `table` has a column per layer, named by its depths in cm, and a row for each.
    """
    values = table.to_numpy(dtype=np.float64)
    figure, axes = make_figure(5.6, 4.6)
    image = axes.imshow(values, cmap="cividis", vmin=0, vmax=1)
    for (row, column), value in np.ndenumerate(values):
        colour = "white" if value < 0.6 else "black"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour)
    names = list(table.columns)
    axes.set_xticks(range(len(names)), names, fontsize=9)
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.grid(visible=False)
    axes.set(xlabel="layer / cm", ylabel="layer / cm")
    figure.colorbar(image, ax=axes, label="correlation of log SOC", shrink=0.8)
    return figure


def plot_sparse_layers(scores: pd.DataFrame) -> Figure:
    """Plot R2 against the profiles at which a layer is known, a panel per layer.

    `scores` is of `soilnb.transfer.layers.score`; the setting "sparse" is drawn. Points
    are means over the repeats, bars their range.
    """
    sparse = scores[scores["setting"] == "sparse"]
    layers = list(sparse["layer"].unique())
    shape = {"ncols": len(layers), "sharey": True, "squeeze": False}
    figure, panels = make_figure(4.2 * len(layers), 4.4, **shape)
    sizes = sorted(sparse["n"].unique())
    for axes, layer in zip(panels[0], layers, strict=True):
        of_layer = sparse[sparse["layer"] == layer]
        for place, (name, (label, colour, line)) in enumerate(LAYER_MODELS.items()):
            found = of_layer[of_layer["model"] == name].groupby("n")["r2_log"]
            if not found.ngroups:
                continue
            mean = found.mean()
            x = np.searchsorted(sizes, mean.index) + 0.03 * (place - 3)
            spread = np.abs([mean - found.min(), found.max() - mean])
            style = {"color": colour, "ls": line, "marker": "o", "ms": 4, "lw": 1.5}
            axes.errorbar(x, mean, spread, label=label, elinewidth=0.8, **style)
        axes.axhline(0, color="black", lw=0.8)
        axes.set_xticks(range(len(sizes)), [str(n) for n in sizes])
        axes.set(title=f"{layer} cm", xlabel="profiles with this layer")
    panels[0][0].set_ylabel(R2_LABEL)
    return legend_under(figure, panels[0][0], 4)


def plot_layer_leaks(scores: pd.DataFrame) -> Figure:
    """Plot what a leak feigns beside the honest value of the same model.

    `scores` is of `soilnb.transfer.layers.score`. Left the models that see all layers,
    when they see those of the test profiles, too; right the pooled forest, by how its
    folds were dealt. Means over the layers of the setting "leak_layers".
    """
    leaky = scores[scores["setting"] == "leak_layers"]
    scores = scores[scores["layer"].isin(leaky["layer"])]
    n = leaky["n"].iloc[0]
    figure, (left, right) = make_figure(9.2, 3.8, ncols=2, sharey=True)
    honest = scores[(scores["setting"] == "sparse") & (scores["n"] == n)]
    names = [name for name in LAYER_MODELS if name in set(leaky["model"])]
    for place, (part, label, colour) in enumerate(
        ((honest, "honest", HONEST), (leaky, "sees their other layers", LEAKY))
    ):
        means = part.groupby("model")["r2_log"].mean()[names]
        x = np.arange(len(names)) + 0.4 * (place - 0.5)
        _bars(left, x, means.to_numpy(), colour, label, 0.38)
    labels = [LAYER_MODELS[name][0].replace(" ", "\n", 1) for name in names]
    left.set_xticks(range(len(names)), labels, fontsize=8.5)
    left.set(title=f"layer known at {n} profiles", ylabel=R2_LABEL)
    legend_below(left, 2)
    forest = scores[scores["model"] == "forest_pooled"]
    kinds = {
        "rows\nat random": forest[forest["setting"] == "leak_rows"],
        "whole\nprofiles": forest[forest["setting"] == "all"],
    }
    for km, part in forest[forest["setting"] == "blocked"].groupby("block_km"):
        kinds[f"blocks of\n{km:g} km"] = part
    for place, part in enumerate(kinds.values()):
        mean = np.array([part["r2_log"].mean()])
        _bars(right, np.array([place]), mean, HONEST if place else LEAKY, "", 0.6)
    right.set_xticks(range(len(kinds)), kinds, fontsize=8.5)
    right.set(title="forest, all layers: folds dealt by")
    return figure


def _bars(
    axes: Axes,
    x: np.ndarray,
    heights: np.ndarray,
    colour: str,
    label: str,
    width: float,
) -> None:
    """Draw bars with their values above them."""
    drawn = axes.bar(x, heights, width, color=colour, label=label)
    texts = [f"{value:.2f}".replace("-", "−") for value in heights]
    axes.bar_label(drawn, texts, fontsize=8, padding=2)
    axes.axhline(0, color="black", lw=0.8)
    axes.grid(axis="x", visible=False)
    axes.margins(y=0.12)


def plot_layer_map(table: pd.DataFrame, label: str) -> Figure:
    """Plot the estimates of one layer by two models, and where they may not be trusted.

    `table` is of `soilnb.transfer.layers.map_layer`; `label` says what the values are.
    """
    figure, panels = make_figure(9.6, 4.2, ncols=2, sharex=True, sharey=True)
    inside = table[table["is_inside"]]
    low, high = np.quantile(inside[["forest", "transfer"]], [0.01, 0.99])
    corner = table[["easting", "northing"]].min()
    place = (table[["easting", "northing"]] - corner) / 1000
    steps = np.diff(np.unique(place["easting"]))
    is_grid = bool(len(steps)) and len(table) > 1000
    size = 1.15 * 72 * 4.0 * steps.min() / np.ptp(place["easting"]) if is_grid else 5
    shared = {"marker": "s" if is_grid else "o", "lw": 0, "rasterized": is_grid}
    for axes, name in zip(panels, ("forest", "transfer"), strict=True):
        outside = place[~table["is_inside"]]
        axes.scatter(*outside.T.to_numpy(), s=size**2, color="#DDDDDD", **shared)
        style = {"s": size**2, "cmap": "cividis", "vmin": low, "vmax": high, **shared}
        at = place[table["is_inside"]].T.to_numpy()
        points = axes.scatter(*at, c=inside[name], **style)
        known = place[table["is_known"]]
        ring = {"facecolor": "none", "edgecolor": "#D55E00", "lw": 1.0}
        axes.scatter(*known.T.to_numpy(), s=22, label="layer known here", **ring)
        axes.set_title(LAYER_MODELS[name][0])
        axes.set(xlabel="east / km", aspect="equal")
        axes.grid(visible=False)
    panels[0].set_ylabel("north / km")
    legend_below(panels[0], 1)
    figure.colorbar(points, ax=panels, label=label, shrink=0.7)
    return figure
