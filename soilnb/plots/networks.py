"""Figures of networks: training, search, what they look at."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from soilnb import methods
from soilnb.plots import style

# Of a logarithmic axis of SOC errors.
TICKS = [m * 10.0**e for e in range(-3, 3) for m in (1, 1.5, 2, 3, 5, 7)]


def plot_training(histories: Mapping[str, npt.NDArray]) -> Figure:
    """Plot validation RMSE against epoch: thin the folds, thick what is kept of them.

    `histories` are validation RMSE in % SOC (epochs, n_folds), by method. The thick
    line is the mean over the folds of each fold's lowest RMSE so far. The axis holds
    that line and nine folds of ten; one fold far off may leave it.
    """
    n = len(histories)
    figure, panels = style.make_figure(3.2 * n, 3, ncols=n, squeeze=False)
    for axes, (name, rmse) in zip(panels[0], histories.items(), strict=True):
        epochs = np.arange(1, len(rmse) + 1)
        axes.plot(epochs, rmse, color="#0072B2", alpha=0.3, lw=0.7)
        best_so_far = np.fmin.accumulate(rmse)
        axes.plot(epochs, best_so_far.mean(axis=1), color="#0072B2", lw=2)
        axes.set(title=methods.label(name), xlabel="epoch", yscale="log")
        low, high = np.nanquantile(rmse, [0.05, 0.95])  # one fold may be far off
        low = 0.9 * min(low, best_so_far.mean(axis=1).min())
        high = 1.1 * max(high, best_so_far.mean(axis=1).max())
        axes.set_ylim(low, high)
        shown = [tick for tick in TICKS if low <= tick <= high]
        style.plain_numbers(axes.yaxis, shown or [low, high])
        axes.set_ylabel("validation RMSE / % SOC")
    return figure


def plot_depths(depths: Mapping[str, pd.DataFrame]) -> Figure:
    """Plot cross-validated RMSE against how many layers stay as the library made them.

    `depths` are those of `soilnb.transfer.Retraining` by method: n_frozen, frozen,
    n_trained, rmse (% SOC). The row in which no weight trains is the library's network
    as it is, a square (or, where it is off the scale, an arrow and its number); the
    lowest RMSE of the others has a ring.
    """
    shape = {"ncols": len(depths), "sharey": True, "squeeze": False}
    figure, panels = style.make_figure(0.6 + 3.4 * len(depths), 3.9, **shape)
    everything = pd.concat(depths.values())
    trained = everything["rmse"][everything["n_trained"] > 0]
    highest = 1.3 * trained.max()
    for axes, (name, table) in zip(panels[0], depths.items(), strict=True):
        _draw_depths(axes, table, highest)
        axes.set(title=methods.label(name), xlabel="frozen, up to and including")
    panels[0][0].set_ylabel("cross-validated RMSE / % SOC")
    return style.legend_under(figure, panels[0][0], 4, fontsize=None)


def _draw_depths(axes: Any, table: pd.DataFrame, highest: float) -> None:
    """Draw the depths of one library; what lies above `highest` is an arrow."""
    trained = table[table["n_trained"] > 0]
    blue = {"color": "#0072B2", "ms": 5}
    axes.plot(trained["n_frozen"], trained["rmse"], "o-", label="retrained", **blue)
    best = trained.loc[trained["rmse"].idxmin()]
    ring = {"ms": 13, "mfc": "none", "mec": "#D55E00", "mew": 2}
    axes.plot(best["n_frozen"], best["rmse"], "o", label="chosen", **ring)
    for row in table[table["n_trained"] == 0].itertuples():
        is_off = row.rmse > highest
        grey = {"color": "#555555", "label": "all frozen: the library's network"}
        axes.plot(row.n_frozen, min(row.rmse, highest), "^" if is_off else "s", **grey)
        if is_off:
            place = {"ha": "right", "va": "center", "fontsize": None}
            at = (row.n_frozen, highest)
            style.write_at(axes, f"{row.rmse:.2f}", at, (-8, 0), **place)
    names = [row.frozen if row.n_frozen else "none" for row in table.itertuples()]
    axes.set_xticks(table["n_frozen"], names, rotation=40, ha="right", fontsize=8)


def plot_trials(trials: pd.DataFrame) -> Figure:
    """Plot the score of each trial of a search and the best so far.

    `trials` are those of `soilnb.cnn.search`: number, score, status and best (% SOC).
    """
    figure, axes = style.make_figure(6.5, 3.4)
    ended = trials["status"] == "completed"
    axes.scatter(trials["number"][ended], trials["score"][ended], s=18, color="#0072B2")
    best = {"where": "post", "color": "#D55E00", "label": "best so far"}
    axes.step(trials["number"], trials["best"], **best)
    if not ended.all():
        at = trials["number"][~ended]
        floor = np.full(len(at), trials["best"].min())
        axes.plot(at, floor, "x", color="#999999", label="failed or stopped")
    axes.set(xlabel="trial", ylabel="cross-validated RMSE / % SOC")
    axes.legend()
    return figure


def plot_band_importance(changes: Mapping[str, pd.DataFrame]) -> Figure:
    """Plot how much each range of bands moves the prediction of networks.

    `changes` are tables of `soilnb.cnn.explain.band_importance` by name, in % SOC.
    """
    figure, axes = style.make_figure(7, 3.6)
    palette = sns.color_palette("colorblind", len(changes))
    for colour, (name, table) in zip(palette, changes.items(), strict=True):
        edges = np.append(table["first_nm"], table["last_nm"].iloc[-1])
        look = {"color": style.COLOURS.get(name, colour), "label": methods.label(name)}
        axes.stairs(table["change"], edges, lw=1.6, **look)
    style.mark_features(axes, edges)
    axes.set(xlabel="wavelength / nm", ylim=0)
    axes.set_ylabel("change of the prediction / % SOC")
    axes.legend(loc="best")
    return figure


def plot_filters(filters: pd.DataFrame) -> Figure:
    """Plot where on the spectrum the filters of a network tell samples apart.

    `filters` are those of `soilnb.cnn.explain.first_filters`, with wavelengths (nm) in
    columns; drawn by the wavelength of their maximum, each divided by it.
    """
    figure, axes = style.make_figure(7, 4)
    peaks = filters.max(axis=1)
    shown = filters[peaks > 0].div(peaks[peaks > 0], axis=0)
    shown = shown.iloc[np.argsort(shown.to_numpy().argmax(axis=1), kind="stable")]
    nm = shown.columns.to_numpy(dtype=np.float64)
    look = {"cmap": "cividis", "shading": "nearest", "vmin": 0}
    mesh = axes.pcolormesh(nm, np.arange(len(shown)), shown, **look)
    style.mark_features(axes, nm)
    axes.grid(visible=False)
    axes.set(xlabel="wavelength / nm", ylabel="filters, sorted by their maximum")
    figure.colorbar(mesh, label="spread between samples / its maximum")
    return figure
