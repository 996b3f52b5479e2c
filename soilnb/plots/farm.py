"""Figures of a farm's answer: a map, the estimates, the means, what made them."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from soilnb import methods
from soilnb.datasets import place_label
from soilnb.plots import style
from soilnb.plots.maps import lay_out

POPULATIONS = {"scans": "scanned samples", "field": "whole field"}
# From a column of the table of the farm's means to what it is called.
SOURCES = {"lab_": "laboratory alone", "": "with spectra"}
SOURCE_COLOURS = {"lab_": "#E69F00", "": style.COLOURS["site"]}
DRAW_COLOURS = {"random": "#E69F00", "stratified": style.COLOURS["site"]}
MEASURED, TRUE, MISSED = "#E69F00", "#444444", "#D55E00"
RING: dict[str, Any] = {"facecolor": "none", "edgecolor": "#D55E00", "lw": 1.3}
GREY: dict[str, Any] = {"s": 8, "color": "#BBBBBB", "lw": 0}


def plot_farm_map(estimates: pd.DataFrame) -> Figure:
    """Plot measured SOC, estimate and uncertainty of each sample where it was taken.

    Three panels; the first two share one scale of colours. Distances are from the
    western and southern edge of the samples. A ring: outside the domain. A number: the
    place in the order to be measured next. `estimates` has a row per sample: soc,
    estimate, lower, upper (% SOC, NaN where there is none), in_domain (bool), next (NA
    of those not to be measured next), and longitude and latitude in degrees or easting
    and northing in metres (at least one sample has them).
    """
    figure, panels = style.make_figure(9.6, 4.0, ncols=3, sharex=True, sharey=True)
    for axes in panels:
        rows, x, y = lay_out(axes, estimates)
    height = 2.85 * np.ptp(y) / max(np.ptp(x), 1e-9)
    figure.set_size_inches(9.6, 1.6 + np.clip(height, 1.3, 3.6))
    half_width = (rows["upper"] - rows["lower"]) / 2
    both = rows[["soc", "estimate"]].to_numpy(dtype=np.float64)
    shared = {"vmin": np.nanmin(both), "vmax": np.nanmax(both), "cmap": "cividis"}
    _draw_values(panels[0], x, y, rows["soc"], **shared)
    points = _draw_values(panels[1], x, y, rows["estimate"], **shared)
    widths = _draw_values(panels[2], x, y, half_width, cmap="Purples", vmin=0)
    known = bool(half_width.notna().any())
    bar: dict[str, Any] = {"location": "bottom", "pad": 0.03, "shrink": 0.7}
    under = panels[:2] if known else panels
    figure.colorbar(points, ax=under, label=style.SOC_LABEL, aspect=36, **bar)
    if known:
        label = "half-width of the interval / % SOC"
        figure.colorbar(widths, ax=panels[2], label=label, aspect=18, **bar)
    _ring_and_number(panels, x, y, rows)
    has_place = f" ({len(rows)} of {len(estimates)} have a place)"
    panels[0].set_title(f"measured in the laboratory (n = {rows['soc'].count()})")
    panels[1].set_title("estimated" + has_place * (len(rows) < len(estimates)))
    panels[2].set_title("uncertainty" if known else "no intervals")
    for axes in panels:
        axes.title.set_size(10)
        axes.label_outer()
        axes.margins(0.08)
    panels[0].scatter([], [], label="no value", **GREY)
    figure.legend(loc="outside upper center", ncols=3, fontsize=8.5)
    return figure


def _draw_values(
    axes: Axes, x: npt.NDArray, y: npt.NDArray, values: pd.Series, **options: Any
) -> ScalarMappable:
    """Draw samples in the colour of their value, those without one small and grey."""
    known = values.notna().to_numpy()
    look: dict[str, Any] = {"rasterized": len(values) > style.MANY_POINTS}
    axes.scatter(x[~known], y[~known], **GREY, **look)
    look |= {"s": 24, "lw": 0.4, "edgecolor": "#666666", "zorder": 2}
    return axes.scatter(x[known], y[known], c=values[known], **look, **options)


def _ring_and_number(
    panels: npt.NDArray, x: npt.NDArray, y: npt.NDArray, rows: pd.DataFrame
) -> None:
    """Ring what is outside the domain; number what is to be measured next."""
    outside = ~rows["in_domain"].to_numpy(dtype=bool)
    if outside.any():
        for axes in panels[1:]:
            axes.scatter(x[outside], y[outside], s=62, zorder=3, **RING)
        panels[0].scatter([], [], s=62, label="outside the domain", **RING)
    wanted = rows["next"].notna().to_numpy()
    if not wanted.any():
        return
    panels[0].plot([], [], ls="", marker="$1$", color="black", label="measure next")
    places = np.column_stack([x[wanted], y[wanted]])
    halo = [patheffects.withStroke(linewidth=2.2, foreground="white")]
    look: dict[str, Any] = {"fontsize": 9, "fontweight": "bold", "zorder": 4}
    look |= {"ha": "center", "va": "center", "path_effects": halo}
    sides = _free_sides(places)
    for number, at, side in zip(rows["next"][wanted], places, sides, strict=True):
        style.write_at(panels[2], f"{number:.0f}", at, side * [7, 6], **look)


def _free_sides(places: npt.NDArray) -> npt.NDArray[np.float64]:
    """Return for each place the side, +-1 in x and y, away from its nearest other."""
    gaps = places[:, None] - places[None]
    distances = np.linalg.norm(gaps, axis=2)
    distances[distances == 0] = np.inf
    nearest = gaps[np.arange(len(places)), distances.argmin(axis=1)]
    return np.where(nearest >= 0, 1.0, -1.0)


def plot_estimates(estimates: pd.DataFrame, truth: pd.Series | None = None) -> Figure:
    """Plot the estimates in increasing order, with their intervals.

    `estimates` has a row per sample: sample_id, soc, estimate, lower, upper (% SOC, NaN
    where there is none), level (share of true values that intervals are made to hold)
    and in_domain (bool). A measured sample stands where its estimate would. `truth` is
    SOC in % by sample_id, where it is known after all: a cross for each sample without
    a measurement, in another colour where its interval misses it.
    """
    rows = estimates.sort_values("estimate", kind="stable").reset_index(drop=True)
    rows.index += 1
    figure, axes = style.make_figure(7.6, 3.8)
    measured = rows["soc"].notna()
    bars = rows[rows["lower"].notna() & ~measured]
    if len(bars):
        label = f"{100 * bars['level'].iloc[0]:.0f} % interval"
        limits = bars["lower"], bars["upper"]
        axes.vlines(bars.index, *limits, color="#56B4E9", lw=1.6, label=label)
    look: dict[str, Any] = {"s": 16, "lw": 0, "color": style.COLOURS["site"]}
    for label, chosen, own in (
        ("estimate", ~measured & rows["in_domain"], look),
        ("estimate, outside the domain", ~measured & ~rows["in_domain"], RING),
    ):
        if chosen.any():
            at = rows.index[chosen], rows.loc[chosen, "estimate"]
            axes.scatter(*at, label=label, zorder=3, **own)
    look |= {"zorder": 3, "s": 20, "lw": 0.5, "color": MEASURED, "edgecolor": "black"}
    label = "measured in the laboratory"
    at = rows.index[measured], rows.loc[measured, "soc"]
    axes.scatter(*at, marker="s", label=label, **look)
    if truth is not None:
        _draw_truth(axes, rows[~measured], truth)
    axes.set(xlabel="samples, in the order of their estimates", ylabel=style.SOC_LABEL)
    axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
    style.legend_below(axes, 3)
    return figure


def _draw_truth(axes: Axes, rows: pd.DataFrame, truth: pd.Series) -> None:
    """Draw true values as crosses, those outside their interval in another colour."""
    values = rows["sample_id"].map(truth)
    missed = (values < rows["lower"]) | (values > rows["upper"])
    for chosen, colour, label in (
        (~missed & values.notna(), TRUE, "true value"),
        (missed, MISSED, "true value outside the interval"),
    ):
        if chosen.any():
            look: dict[str, Any] = {"marker": "x", "s": 14, "lw": 0.9, "zorder": 4}
            look |= {"color": colour, "label": label}
            axes.scatter(rows.index[chosen], values[chosen], **look)


def plot_farm_mean(farm: pd.DataFrame) -> Figure:
    """Plot the means of the scanned samples and of the field with 95 % intervals.

    `farm` has rows "scans" and "field" (column population): mean, lower, upper,
    lab_mean, lab_lower, lab_upper (% SOC, NaN where there is none) and design, how the
    measured samples were chosen. A mean without an interval is the point alone.
    """
    figure, axes = style.make_figure(5.4, 2.7)
    names = []
    for row in farm.to_dict("records"):
        for source, name in SOURCES.items():
            names.append(f"{POPULATIONS[row['population']]},\n{name}")
            _draw_mean(axes, len(names) - 1, row, source)
    style.method_rows(axes, names)
    low, high = axes.dataLim.intervalx
    room = max(0.15 * (high - low), 0.05 * high)  # points alone are no axis
    axes.set_xlim(low - room, high + room)
    axes.set_xlabel("mean " + style.SOC_LABEL)
    return figure


def _draw_mean(axes: Axes, place: int, row: dict[Any, Any], source: str) -> None:
    """Draw one mean and its interval, or write that it has none."""
    mean, lower, upper = (row[source + name] for name in ("mean", "lower", "upper"))
    colour = SOURCE_COLOURS[source]
    axes.plot(mean, place, "o", ms=7, color=colour, zorder=3)
    if np.isfinite(lower) and np.isfinite(upper):
        axes.hlines(place, lower, upper, color=colour, lw=2.5)
        return
    known = methods.DESIGNS.get(row["design"])
    text = f"no interval: {known.label if known else row['design']}"
    style.write_at(axes, text, (mean, place), (8, 0), va="center")


def plot_blend_weights(weights: pd.DataFrame) -> Figure:
    """Plot what share each candidate has in the estimates, the largest on top.

    `weights` has the columns candidate, weight (share, they sum to 1) and nested_rmse
    (% SOC), which stands beside the bars.
    """
    by = ["weight", "nested_rmse"]
    rows = weights.sort_values(by, ascending=[False, True], ignore_index=True)
    figure, axes = style.make_figure(6, 1.1 + 0.3 * len(rows))
    axes.barh(rows.index, rows["weight"], height=0.6, color=style.COLOURS["site"])
    style.method_rows(axes, rows["candidate"].tolist())
    style.beside(axes, -0.5, "nested RMSE / % SOC")
    for place, rmse in enumerate(rows["nested_rmse"]):
        style.beside(axes, place, "–" if np.isnan(rmse) else f"{rmse:.2f}")
    axes.set_xlim(0, 1.05 * max(rows["weight"].max(), 0.05))
    axes.set_xlabel("weight in the estimates (all sum to 1)")
    return figure


def plot_draws(draws: pd.DataFrame) -> Figure:
    """Plot how the answer for each farm fares over many draws.

    Three panels with a row for each farm: RMSE of the blend over that of the local
    network (a dot for each draw, a diamond for their geometric mean), the share of
    intervals that hold a sample, and that of intervals that hold the farm's mean, with
    spectra and by the laboratory alone. `draws` is the table of
    `soilnb.study.repeat_draws`.
    """
    rmse = draws.pivot_table("rmse", ["site", "design", "draw"], "method").dropna()
    ratios = rmse["blend"] / rmse["local"]
    sites = list(ratios.index.unique("site"))
    figure, panels = style.make_figure(
        9.5, 1.4 + 0.36 * len(sites), ncols=3, sharey=True
    )
    blended = draws[draws["method"] == "blend"]
    plain = draws[draws["method"] == "plsr_one_se"]
    for place, (design, colour) in enumerate(DRAW_COLOURS.items()):
        of_design = ratios.xs(design, level="design")
        for row, site in enumerate(sites):
            own, at = of_design[site], row + 0.3 * (place - 0.5)
            panels[0].scatter(own, np.full(len(own), at), s=10, color=colour, lw=0)
            name = {"label": design} if row == 0 else {}
            diamond: dict[str, Any] = {"marker": "D", "s": 34, "color": colour}
            panels[0].scatter(np.exp(np.log(own).mean()), at, **diamond, **name)
            held = _percent(blended, site, design, "coverage")
            panels[1].scatter(held, at, **diamond)
            for column, face in (("mean_covered", colour), ("lab_covered", "none")):
                held = _percent(plain, site, design, column)
                panels[2].scatter(held, at, s=34, color=face, ec=colour)
    titles = (
        "RMSE of the blend /\nRMSE of CNN local",
        "90 % intervals of samples\nthat hold, %",
        "95 % intervals of the mean\nthat hold, %",
    )
    for axes, title, line in zip(panels, titles, (1, 90, 95), strict=True):
        axes.axvline(line, color="#666666", lw=1, ls="--")
        axes.set_xlabel(title)
    panels[0].set_yticks(range(len(sites)), map(place_label, sites))
    panels[0].invert_yaxis()
    style.legend_below(panels[0], 2)
    return figure


def _percent(part: pd.DataFrame, site: str, design: str, column: str) -> float:
    """Return the mean of a column over the draws of a farm, in percent."""
    own = part[(part["site"] == site) & (part["design"] == design)]
    return 100 * float(own[column].mean())
