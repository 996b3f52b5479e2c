"""Figures that compare methods: over sites, over local samples, before a choice."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from soilnb import methods
from soilnb.plots import style


def plot_sites(scores: pd.DataFrame, *, summary: pd.DataFrame) -> Figure:
    """Plot the RMSE of each method relative to `local`, one dot for each site.

    Beside each row stands at how many sites the method is better than `local`, and at
    how many it is `local` (`recommended` may be). `scores` has the columns site,
    method, rmse and, where there are several, seed, over which the logarithms of the
    ratios are averaged; a site without `local` is left out. `summary`, of
    `soilnb.study.over_sites`, has method, ratio, low and high: the mean ratio (diamond)
    and its 95 % interval (line).
    """
    ratios = _site_ratios(scores)
    if summary["method"].duplicated().any():
        method = summary["method"][summary["method"].duplicated()].iloc[0]
        msg = (
            f"'summary' must have one row for each method, got {method!r} twice. "
            "Select one kind of repetition."
        )
        raise ValueError(msg)
    means = summary.set_index("method").reindex(ratios.index)[["low", "ratio", "high"]]
    figure, axes = style.make_figure(6.5, 1.3 + 0.34 * len(ratios))
    rows = np.arange(len(ratios))
    for step, (_, values) in zip(style.apart(ratios), ratios.items(), strict=True):
        axes.scatter(values, rows + step, s=16, color="#56B4E9", lw=0)
    axes.axvline(1, color="#D55E00", lw=1, ls="--")
    axes.set_xscale("log")
    low, high = _ratio_axis(axes, ratios.to_numpy())
    _draw_means(axes, means, low, high)
    style.method_rows(axes, list(ratios.index))
    style.name_sides(axes, 1, "better", "worse")
    style.beside(axes, -0.5, "better at")
    for row, values in enumerate(ratios.to_numpy()):
        text = f"{(values < 1).sum()} of {np.isfinite(values).sum()}"
        n_equal = (values == 1).sum()
        style.beside(axes, row, f"{text}, {n_equal} equal" if n_equal else text)
    axes.set_xlabel("RMSE / RMSE of CNN local (logarithmic axis)")
    style.legend_below(axes, 2)
    return figure


def _site_ratios(scores: pd.DataFrame) -> pd.DataFrame:
    """Return RMSE / RMSE of `local`: methods in rows, sites in columns."""
    known = methods.in_order(scores["method"])
    if "local" not in known:
        msg = f"'scores' must have the method 'local', got {', '.join(known)}."
        raise ValueError(msg)
    seeds = scores["seed"] if "seed" in scores else np.ones(len(scores), dtype=int)
    parts = []
    for _, part in scores.groupby(np.asarray(seeds)):
        rmse = methods.by_site(part, "rmse")  # NaN at sites without `local`
        parts.append(np.log(rmse / rmse.reindex(["local"]).iloc[0]))
    logs = pd.concat(parts).groupby(level=0).mean().drop(index="local")
    ratios = np.exp(logs.dropna(axis="columns", how="all"))
    return ratios.reindex(index=methods.in_order(ratios.index))


def _draw_means(axes: Axes, means: pd.DataFrame, low: float, high: float) -> None:
    """Draw means and intervals; an interval that leaves the axis ends in an arrow."""
    rows = np.arange(len(means))
    label = "mean of the sites"
    label += ", 95 % interval" if means["low"].notna().any() else ""
    axes.plot(means["ratio"], rows, "D", ms=5, color="black", label=label)
    axes.plot([], [], "o", ms=4, color="#56B4E9", label="one site")
    axes.hlines(rows, means["low"], means["high"], color="black", lw=1.6)
    for row, (lower, _, upper) in enumerate(means.to_numpy()):
        if lower < low:
            axes.plot(low * 1.02, row, "<", ms=5, color="black")
        if upper > high:
            axes.plot(high / 1.02, row, ">", ms=5, color="black")


def _ratio_axis(axes: Axes, ratios: npt.NDArray) -> tuple[float, float]:
    """Give a logarithmic axis limits around the sites and plain labels; return them."""
    ticks = np.array([0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20, 50])
    low = float(min(np.nanmin(ratios), 0.9) / 1.25)
    high = float(max(np.nanmax(ratios), 1.1) * 1.25)
    axes.set_xlim(low, high)
    style.plain_numbers(axes.xaxis, ticks[(ticks >= low) & (ticks <= high)].tolist())
    return low, high


def plot_learning_curve(table: pd.DataFrame) -> Figure:
    """Plot RMSE against the number of local samples, for each method.

    `table` has the columns method, n_local, seed and rmse (% SOC of one fixed test
    set), a row for each run. Lines join the means over the seeds; dots are the runs,
    the band is their range.
    """
    figure, axes = style.make_figure(6.2, 3.8)
    for place, method in enumerate(methods.in_order(table["method"])):
        runs = table[table["method"] == method]
        over = runs.groupby("n_local")["rmse"].agg(["mean", "min", "max"])
        look: dict[str, Any] = {
            "color": style.SITE_COLOURS[place % len(style.SITE_COLOURS)]
        }
        ends = over.index, over["min"], over["max"]
        axes.fill_between(*ends, alpha=0.15, lw=0, **look)
        axes.scatter(runs["n_local"], runs["rmse"], s=7, lw=0, **look)
        look |= {"marker": style.site_marker(place), "label": methods.label(method)}
        axes.plot(over.index, over["mean"], **look)
    axes.set_xticks(sorted(table["n_local"].unique()))
    axes.set(xlabel="local samples for modelling", ylabel=style.RMSE_LABEL)
    style.legend_below(axes, 3)
    return figure


def plot_choice(table: pd.DataFrame, *, chosen: str, margin: float) -> Figure:
    """Plot what a method is chosen on: its nested cross-validated RMSE.

    `table` has the columns method and rmse (% SOC), on held-out local samples, with
    every choice repeated without them, and maybe test_rmse, that of the test samples,
    which decided nothing. `chosen`, the method that was recommended, is filled.
    `margin`, from 0 to below 1, is the share by which one must be below `local`; the
    dashed line.
    """
    rows = table.set_index("method").pipe(lambda t: t.loc[methods.in_order(t.index)])
    if "local" not in rows.index:
        msg = f"'table' must have the method 'local', got {', '.join(rows.index)}."
        raise ValueError(msg)
    if chosen not in rows.index:
        msg = f"'chosen' must be one of {', '.join(rows.index)}, got {chosen!r}."
        raise ValueError(msg)
    if not 0 <= margin < 1:
        msg = f"'margin' must be from 0 to below 1, got {margin:g}. Use a share."
        raise ValueError(msg)
    base = rows.loc["local", "rmse"]
    needed = (1 - margin) * base
    place = rows.index.get_loc(chosen)
    figure, axes = style.make_figure(6.5, 1.5 + 0.34 * len(rows))
    axes.axvspan(needed, base, color="#EEEEEE", lw=0, zorder=0)
    axes.axvline(base, color="black", lw=1, label="CNN local, nested")
    label = f"needed: {100 * margin:g} percent lower"
    axes.axvline(needed, color="black", lw=1, ls="--", label=label)
    dots: dict[str, Any] = {"marker": "o", "ms": 7, "ls": "", "color": "#0072B2"}
    label = "nested RMSE of local samples"
    axes.plot(rows["rmse"], range(len(rows)), mfc="white", label=label, **dots)
    label = f"chosen: {methods.label(chosen)}"
    axes.plot(rows["rmse"].iloc[place], place, label=label, **dots)
    if "test_rmse" in rows:
        red, label = {"color": "#D55E00"}, "RMSE of the test samples, not used"
        axes.plot(rows["test_rmse"], range(len(rows)), "x", label=label, **red)
        label = "CNN local, test samples"
        axes.axvline(rows.loc["local", "test_rmse"], lw=0.8, label=label, **red)
    style.method_rows(axes, list(rows.index))
    columns = [name for name in ("rmse", "test_rmse") if name in rows]
    shown = np.append(rows[columns].to_numpy(dtype=np.float64), needed)
    low, high = np.nanmin(shown), np.nanmax(shown)
    axes.set_xlim(low - 0.08 * (high - low), high + 0.08 * (high - low))
    axes.set_xlabel("RMSE / % SOC")
    style.legend_below(axes, 2)
    return figure
