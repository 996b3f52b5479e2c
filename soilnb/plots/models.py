"""Figures of models: selections, errors, predictions, gains."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from soilnb import methods, metrics
from soilnb._validation import check_choice
from soilnb.plots.style import (
    RMSE_LABEL,
    SOC_LABEL,
    legend_below,
    make_figure,
    make_panels,
    name_sides,
)


def plot_components(
    curves: Mapping[str, npt.NDArray], parsimonious: Mapping[str, int] | None = None
) -> Figure:
    """Plot cross-validated RMSE against the number of PLS components.

    `curves` are RMSE in % SOC for 1, 2, ... components, by method; the minimum is a
    dot. `parsimonious` has the number that the parsimonious rule takes, a ring.
    """
    figure, axes = make_figure(6, 3.4)
    palette = sns.color_palette("colorblind", len(curves))
    for colour, (name, errors) in zip(palette, curves.items(), strict=True):
        components = np.arange(1, len(errors) + 1)
        best = int(np.argmin(errors))
        axes.plot(components, errors, color=colour, label=methods.label(name))
        axes.plot(components[best], errors[best], "o", color=colour)
        if few := (parsimonious or {}).get(name):
            ring = {"mfc": "none", "mec": colour, "ms": 10, "mew": 1.5}
            axes.plot(few, errors[few - 1], "o", label="parsimonious", **ring)
    axes.set(xlabel="number of PLS components", ylabel="cross-validated RMSE / % SOC")
    axes.legend()
    return figure


def plot_rmse(scores: pd.DataFrame, reference: str | None = None) -> Figure:
    """Plot the RMSE of each method as a bar, the smallest on top.

    `scores` has the columns method and rmse (% SOC); that of `reference`, one of the
    methods, is drawn as a line.
    """
    ordered = scores.sort_values("rmse", ascending=False)
    figure, axes = make_figure(6.5, 0.8 + 0.32 * len(ordered))
    names = ordered["method"].map(methods.label)
    bars = axes.barh(names, ordered["rmse"], color="#0072B2", alpha=0.8)
    white = {"facecolor": "white", "alpha": 0.85, "lw": 0, "pad": 0.5}
    axes.bar_label(bars, fmt="%.2f", padding=3, bbox=white)
    if reference is not None:
        value = scores.loc[scores["method"] == reference, "rmse"].iloc[0]
        line = {"color": "#D55E00", "ls": "--", "lw": 1}
        axes.axvline(value, label=methods.label(reference), **line)
        axes.legend(loc="upper right")
    axes.set(xlabel=RMSE_LABEL)
    axes.grid(axis="y", visible=False)
    return figure


def plot_measured_predicted(predictions: pd.DataFrame, names: list[str]) -> Figure:
    """Plot predicted against measured SOC, a panel per method (Fig. 4b).

    With the 1:1 line, equal axes, RMSE and concordance (CCC). `predictions` has the
    columns method, measured and predicted (% SOC); `names` are the methods to show, in
    order.
    """
    for name in names:
        check_choice(name, "method", predictions["method"].unique())
    shown = predictions[predictions["method"].isin(names)]
    values = shown[["measured", "predicted"]].to_numpy()
    pad = 0.05 * np.ptp(values) or 0.1
    limits = float(values.min() - pad), float(values.max() + pad)
    figure, panels = make_panels(len(names), 3, 3.3)
    for axes, name in zip(panels, names, strict=True):
        rows = shown[shown["method"] == name]
        axes.plot(limits, limits, color="black", lw=0.8)
        axes.scatter(rows["measured"], rows["predicted"], s=16, color="#0072B2", lw=0)
        title = methods.label(name)
        axes.set(xlim=limits, ylim=limits, aspect="equal", title=title)
        axes.set(xlabel="measured " + SOC_LABEL, ylabel="predicted " + SOC_LABEL)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(5))
        place: Any = {"transform": axes.transAxes, "va": "top", "fontsize": 8}
        axes.text(0.04, 0.96, _scores(rows), **place)
    return figure


def _scores(rows: pd.DataFrame) -> str:
    """Return what is written into a panel of measured against predicted values."""
    measured, predicted = rows["measured"], rows["predicted"]
    text = f"n = {len(rows)}\nRMSE {metrics.rmse(measured, predicted):.2f} % SOC"
    if np.ptp(rows[["measured", "predicted"]].to_numpy()):
        text += f"\nCCC {metrics.ccc(measured, predicted):.2f}".replace("-", "−")
    return text


def plot_frequency(frequency: npt.NDArray, n_selected: int) -> Figure:
    """Plot in what share of the searches the most often selected rows were chosen.

    `frequency`, (n_library,), is that share for each row; a search selects
    `n_selected`.
    """
    ordered = np.sort(frequency)[::-1]
    ordered = ordered[: max(int((ordered > 0).sum()), n_selected)]
    figure, axes = make_figure(6, 3.2)
    axes.step(np.arange(1, len(ordered) + 1), ordered, where="mid", color="#D55E00")
    axes.axvline(n_selected, color="black", lw=0.8, ls="--")
    axes.text(n_selected, 1.0, " one search selects this many", va="top", fontsize=9)
    axes.set(xlabel="library samples, most often selected first", ylim=(0, 1.05))
    axes.set_ylabel("share of the searches")
    return figure


def plot_history(
    history: pd.DataFrame, x: str, y: str, labels: tuple[str, str]
) -> Figure:
    """Plot how the searches went: one line per search.

    `history` has the columns search, `x` and `y`; `labels` are those of the axes, with
    units.
    """
    figure, axes = make_figure(6, 3.4)
    for _, rows in history.groupby("search"):
        axes.plot(rows[x], rows[y], color="#D55E00", alpha=0.6, lw=1)
    axes.set(xlabel=labels[0], ylabel=labels[1], xscale="log")
    for axis in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        axis(ScalarFormatter())
    axes.invert_xaxis()
    return figure


def plot_crews(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Plot what each crew of workers made of the rounds of one search.

    `histories` are tables by the name of the crew: iteration, n_tasks and seconds.
    """
    figure, (left, right) = make_figure(8, 3.2, ncols=2)
    for (name, rows), look in zip(histories.items(), ("o-", "s--"), strict=False):
        left.plot(rows["iteration"], rows["seconds"], look, ms=4, label=name)
        right.plot(rows["iteration"], rows["n_tasks"], look, ms=4, label=name)
    left.set(xlabel="round", ylabel="time of the round / s", yscale="log")
    right.set(xlabel="round", ylabel="tasks")
    right.set_ylim(bottom=0)
    left.legend()
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def plot_gain(gains: pd.DataFrame) -> Figure:
    """Plot each method's gain over the reference with its 95 % interval.

    `gains` are those of `soilnb.study.compare`: gain, low and high (% SOC), by method.
    """
    ordered = gains.iloc[::-1]
    figure, axes = make_figure(6.5, 0.8 + 0.34 * len(ordered))
    spread = np.abs(ordered[["low", "high"]].sub(ordered["gain"], axis=0)).to_numpy().T
    names = ordered.index.map(methods.label)
    style = {"fmt": "o", "ms": 4, "color": "#0072B2", "capsize": 3}
    axes.errorbar(ordered["gain"], names, xerr=spread, **style)
    axes.axvline(0, color="black", lw=0.8)
    name_sides(axes, 0, "worse", "better")
    axes.set(xlabel="RMSE of CNN local minus RMSE / % SOC")
    return figure


def plot_runs(runs: pd.DataFrame, reference: float) -> Figure:
    """Plot the RMSE of every run as a dot, a row for each kind of run.

    `runs` has the columns kind and rmse (% SOC), in the order of the kinds;
    `reference`, the RMSE of the local samples alone, is a dashed line.
    """
    kinds = list(dict.fromkeys(runs["kind"]))
    figure, axes = make_figure(6.5, 1 + 0.4 * len(kinds))
    sns.swarmplot(runs, x="rmse", y="kind", order=kinds, color="#0072B2", ax=axes)
    axes.axvline(reference, color="#D55E00", ls="--", lw=1, label="local samples alone")
    axes.margins(x=0.08)
    axes.set(xlabel=RMSE_LABEL, ylabel="")
    legend_below(axes, 1)
    return figure


def plot_weights(sweep: pd.DataFrame, reference: float) -> Figure:
    """Plot RMSE against the weight of the local samples in spiking.

    `sweep` has the index weight and a column for each kind of RMSE (% SOC), whose
    lowest is marked; `reference`, the RMSE of the local samples alone, is a dashed
    line.
    """
    figure, axes = make_figure(6, 3.4)
    palette = sns.color_palette("colorblind", sweep.shape[1])
    for colour, (name, rmse) in zip(palette, sweep.items(), strict=True):
        axes.plot(rmse.index, rmse, ".-", color=colour, label=name)
        axes.plot(rmse.idxmin(), rmse.min(), "o", color=colour)
    line = {"color": "#D55E00", "ls": "--", "lw": 1}
    axes.axhline(reference, label="local samples alone, test", **line)
    axes.set(xlabel="weight of each local sample", ylabel="RMSE / % SOC", xscale="log")
    axes.set_xticks(sweep.index, labels=[f"{weight:g}" for weight in sweep.index])
    axes.minorticks_off()
    axes.legend()
    return figure
