"""Figures of models: selections, errors, predictions, gains."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from soilnb.plots.style import (
    SOC_LABEL,
    make_figure,
)


def plot_components(curves: Mapping[str, npt.NDArray]) -> Figure:
    """Plot cross-validated RMSE against the number of PLS components.

    Parameters
    ----------
    curves : mapping
        Method to RMSE in % SOC for 1, 2, ... components; the minimum is marked.

    Returns
    -------
    Figure
    """
    figure, axes = make_figure(6, 3.4)
    palette = sns.color_palette("colorblind", len(curves))
    for colour, (name, rmse) in zip(palette, curves.items(), strict=True):
        components = np.arange(1, len(rmse) + 1)
        best = int(np.argmin(rmse))
        axes.plot(components, rmse, color=colour, label=name)
        axes.plot(components[best], rmse[best], "o", color=colour)
    axes.set(xlabel="number of PLS components", ylabel="cross-validated RMSE / %")
    axes.legend()
    return figure


def plot_rmse(scores: pd.DataFrame, reference: str | None = None) -> Figure:
    """Plot the RMSE of each method as a bar, the smallest on top.

    Parameters
    ----------
    scores : DataFrame
        Columns method and rmse (% SOC).
    reference : str, optional
        Method whose RMSE is drawn as a line.

    Returns
    -------
    Figure
    """
    ordered = scores.sort_values("rmse", ascending=False)
    figure, axes = make_figure(6.5, 0.8 + 0.32 * len(ordered))
    bars = axes.barh(ordered["method"], ordered["rmse"], color="#0072B2", alpha=0.8)
    axes.bar_label(bars, fmt="%.2f", padding=3)
    if reference is not None:
        value = scores.loc[scores["method"] == reference, "rmse"].iloc[0]
        axes.axvline(value, color="#D55E00", ls="--", lw=1, label=reference)
        axes.legend(loc="upper right")
    axes.set(xlabel="RMSE of the test samples / %")
    axes.grid(axis="y", visible=False)
    return figure


def plot_measured_predicted(predictions: pd.DataFrame, methods: list[str]) -> Figure:
    """Plot predicted against measured SOC, a panel per method (Fig. 4b).

    Parameters
    ----------
    predictions : DataFrame
        Columns method, measured, predicted (% SOC).
    methods : list of str
        Methods to show, in order.

    Returns
    -------
    Figure
    """
    n_columns = min(3, len(methods))
    n_rows = -(-len(methods) // n_columns)
    figure, panels = make_figure(
        3 * n_columns, 3 * n_rows, nrows=n_rows, ncols=n_columns, squeeze=False
    )
    shown = predictions[predictions["method"].isin(methods)]
    values = shown[["measured", "predicted"]].to_numpy()
    pad = 0.05 * np.ptp(values)
    limits = (values.min() - pad, values.max() + pad)
    for axes, method in zip(panels.flat, methods, strict=False):
        rows = shown[shown["method"] == method]
        axes.plot(limits, limits, color="black", lw=0.8)
        axes.scatter(rows["measured"], rows["predicted"], s=16, color="#0072B2", lw=0)
        axes.set(xlim=limits, ylim=limits, aspect="equal", title=method)
        axes.set(xlabel="measured " + SOC_LABEL, ylabel="predicted " + SOC_LABEL)
    for axes in panels.flat[len(methods) :]:
        axes.set_visible(False)
    return figure


def plot_frequency(frequency: npt.NDArray, n_selected: int) -> Figure:
    """Plot in what share of the searches the most often selected rows were chosen.

    Parameters
    ----------
    frequency : ndarray of shape (n_library,)
        Share of the searches that selected each row.
    n_selected : int
        Rows that one search selects.

    Returns
    -------
    Figure
    """
    ordered = np.sort(frequency)[::-1]
    ordered = ordered[: max(int((ordered > 0).sum()), n_selected)]
    figure, axes = make_figure(6, 3.2)
    axes.step(np.arange(1, len(ordered) + 1), ordered, where="mid", color="#D55E00")
    axes.axvline(n_selected, color="black", lw=0.8, ls="--")
    axes.text(n_selected, 1.0, " one search selects this many", va="top", fontsize=9)
    axes.set(
        xlabel="library samples, most often selected first",
        ylabel="share of the searches",
        ylim=(0, 1.05),
    )
    return figure


def plot_history(
    history: pd.DataFrame, x: str, y: str, labels: tuple[str, str]
) -> Figure:
    """Plot how the searches went: one line per search.

    Parameters
    ----------
    history : DataFrame
        Columns search, `x` and `y`.
    x, y : str
        Columns to draw.
    labels : tuple of str
        Axis labels with units.

    Returns
    -------
    Figure
    """
    figure, axes = make_figure(6, 3.4)
    for _, rows in history.groupby("search"):
        axes.plot(rows[x], rows[y], color="#D55E00", alpha=0.6, lw=1)
    axes.set(xlabel=labels[0], ylabel=labels[1], xscale="log")
    for axis in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        axis(ScalarFormatter())
    axes.invert_xaxis()
    return figure


def plot_gain(gains: pd.DataFrame) -> Figure:
    """Plot each method's gain over the reference with its 95 % interval.

    Parameters
    ----------
    gains : DataFrame
        Index method; columns gain, low, high (% SOC), from `soilnb.study.compare`.

    Returns
    -------
    Figure
    """
    ordered = gains.iloc[::-1]
    figure, axes = make_figure(6.5, 0.8 + 0.34 * len(ordered))
    spread = np.abs(ordered[["low", "high"]].sub(ordered["gain"], axis=0)).to_numpy().T
    axes.errorbar(
        ordered["gain"], ordered.index, xerr=spread, fmt="o", color="#0072B2", capsize=3
    )
    axes.axvline(0, color="black", lw=0.8)
    axes.set(xlabel="RMSE of local minus RMSE / %   (right of 0: better than local)")
    return figure


def plot_delta(table: pd.DataFrame) -> Figure:
    """Plot the change in RMSE against local modelling, by method and site (Fig. 4a).

    Parameters
    ----------
    table : DataFrame
        Columns site, method, delta_rmse (percent).

    Returns
    -------
    Figure
    """
    figure, axes = make_figure(7.5, 3.6)
    sns.barplot(
        table, x="method", y="delta_rmse", hue="site", palette="colorblind", ax=axes
    )
    axes.axhline(0, color="black", lw=0.8)
    axes.set(xlabel="", ylabel="ΔRMSE against local / percent")
    axes.tick_params(axis="x", rotation=35)
    plt.setp(axes.get_xticklabels(), ha="right")
    return figure


def plot_runs(runs: pd.DataFrame, reference: float) -> Figure:
    """Plot the RMSE of every run as a dot, a row for each kind of run.

    Parameters
    ----------
    runs : DataFrame
        Columns kind and rmse (% SOC), a row for each run; kinds in this order.
    reference : float
        RMSE drawn as a dashed line, that of the local samples alone.

    Returns
    -------
    Figure
    """
    kinds = list(dict.fromkeys(runs["kind"]))
    figure, axes = make_figure(6.5, 1 + 0.4 * len(kinds))
    sns.stripplot(
        runs, x="rmse", y="kind", order=kinds, ax=axes, color="#0072B2", jitter=0.15
    )
    axes.axvline(reference, color="#D55E00", ls="--", lw=1)
    axes.set(xlabel="RMSE of the test samples / %", ylabel="")
    return figure
