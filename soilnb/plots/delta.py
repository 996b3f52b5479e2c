"""Change in RMSE against local modelling, beside what the paper reports (Fig. 4a)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from soilnb import methods
from soilnb.datasets import place_label
from soilnb.plots import style

PAPER_TITLE = "from Table 3 of Shen et al. (2022)"
PAPER_COLOURS = ("#444444", "#888888", "#BBBBBB")  # those of no site of ours
MOST_BARS = 4  # sites; bars of more are too thin to be told apart
LIMIT = 100.0  # percent; what is worse lies in a strip
WITH_STRIP = 142.0  # percent, up to which the strip of what is off the scale goes


def plot_delta(table: pd.DataFrame, *, paper: pd.DataFrame | None = None) -> Figure:
    """Plot the change in RMSE against local modelling, by method and site (Fig. 4a).

    Bars for up to four sites, points for more; the black line is the mean over the
    sites, which is also written beside each row, with the number of sites where some
    lack the method. What is worse than 100 percent, an RMSE twice that of `local`, lies
    in the grey strip, with its number.

    `table` has the columns site, method, delta_rmse (percent, positive where better
    than `local`, which is not drawn), one row for each pair; NaN counts as not run.
    `paper`, the same of Shen et al. (2022), gets a panel of its own on the same scale;
    methods that only the paper has are left out.
    """
    ours = methods.by_site(table, "delta_rmse").drop(index="local", errors="ignore")
    ours = ours.dropna(how="all")
    if ours.empty:
        msg = "'table' must have a method besides 'local', got none. Run one first."
        raise ValueError(msg)
    parts = {"": ours}
    if paper is not None:
        theirs = methods.by_site(paper, "delta_rmse").reindex(index=ours.index)
        parts = {"This study": ours, PAPER_TITLE: theirs}
    n_bars = max(len(part.columns) for part in parts.values())
    row_height = 0.16 + 0.11 * (n_bars if n_bars <= MOST_BARS else 3)
    values = np.hstack(list(parts.values()))
    low, high = 1.08 * np.nanmin(values), 1.08 * np.nanmax(values)
    low = min(low, -0.2 * LIMIT) if np.nanmin(values) >= -LIMIT else -WITH_STRIP
    scale = low, max(high, 0.2 * LIMIT)
    size = 2.2 + 3.6 * len(parts), 1.6 + row_height * len(ours)
    figure, panels = style.make_figure(*size, ncols=len(parts), squeeze=False)
    for axes, (title, part) in zip(panels[0], parts.items(), strict=True):
        colours = PAPER_COLOURS if title == PAPER_TITLE else style.SITE_COLOURS
        _draw_delta(axes, part, colours)
        _finish_delta(axes, part, scale)
        axes.set_title(title, pad=20, fontsize=11)
    for axes in panels[0][1:]:
        axes.set_yticklabels([])
    return figure


def _draw_delta(axes: Axes, wide: pd.DataFrame, colours: Sequence[str]) -> None:
    """Draw the sites of one panel and their means, where there are several sites."""
    draw = _bars if len(wide.columns) <= MOST_BARS else _points
    draw(axes, wide, colours)
    outline = [patheffects.withStroke(linewidth=3.5, foreground="white")]
    look: dict[str, Any] = {"color": "black", "lw": 2}
    look |= {"path_effects": outline} if draw is _bars else {"zorder": 1.5}
    has_means = len(wide.columns) > 1
    for row, values in enumerate(wide.to_numpy()):
        known = values[np.isfinite(values)]
        if not len(known):
            style.beside(axes, row, "–")
            continue
        if (mean := known.mean()) >= -LIMIT and has_means:
            axes.plot([mean, mean], [row - 0.43, row + 0.43], **look)
        count = f" ({len(known)})" if len(known) < len(values) else ""
        style.beside(axes, row, f"{mean:+.1f}{count}")
    style.beside(axes, -0.5, "mean" if has_means else "value")
    if has_means:
        axes.plot([], [], color="black", lw=2, label="mean of the sites")


def _finish_delta(axes: Axes, wide: pd.DataFrame, scale: tuple[float, float]) -> None:
    """Give one panel its rows, scale, strip, headings and legend."""
    style.method_rows(axes, list(wide.index))
    axes.axvline(0, color="black", lw=0.8)
    style.name_sides(axes, 0, "worse", "better")
    axes.set_xlim(scale)
    if scale[0] < -LIMIT:
        axes.axvspan(scale[0], -LIMIT, color="#EEEEEE", lw=0, zorder=0)
        axes.set_xticks(np.arange(-LIMIT, scale[1], LIMIT / 4))
    axes.set_xlabel("ΔRMSE against CNN local / percent")
    style.legend_below(axes, 4 if len(wide.columns) < MOST_BARS else 3)


def _off_scale(axes: Axes, row: float, values: Sequence[float]) -> None:
    """Write in the strip of a row the worst value beyond the limit, and how many."""
    more = f" (+{len(values) - 1})" if len(values) > 1 else ""
    text = f"← {min(values):.0f}{more}".replace("-", "−")
    axes.text(-LIMIT * 1.02, row, text, ha="right", va="center", fontsize=7)


def _bars(axes: Axes, wide: pd.DataFrame, colours: Sequence[str]) -> None:
    """Draw a bar for each method and site, cut at the limit."""
    height = 0.8 / len(wide.columns)
    has_method = wide.notna().any(axis=1)
    white = {"facecolor": "white", "lw": 0, "pad": 0.5}
    for place, (site, values) in enumerate(wide.items()):
        rows = np.arange(len(wide)) - 0.4 + height * (place + 0.5)
        look: Any = {"color": colours[place], "label": place_label(site)}
        axes.barh(rows, values.clip(lower=-LIMIT), 0.9 * height, **look)
        for row, value, some in zip(rows, values, has_method, strict=True):
            if np.isnan(value) and some:
                axes.text(2, row, "not run", bbox=white, va="center", fontsize=7)
            elif value < -LIMIT:
                _off_scale(axes, row, [value])


def _points(axes: Axes, wide: pd.DataFrame, colours: Sequence[str]) -> None:
    """Draw a point for each method and site, a little apart in their row."""
    steps = style.apart(wide)
    for place, (site, values) in enumerate(wide.items()):
        look: dict[str, Any] = {"color": colours[place % len(colours)], "s": 24}
        look |= {"marker": style.site_marker(place), "label": place_label(site)}
        at = np.arange(len(wide)) + steps[place]
        axes.scatter(values.where(values >= -LIMIT), at, lw=0, zorder=2, **look)
    for row, values in enumerate(wide.to_numpy()):
        if (values < -LIMIT).any():
            _off_scale(axes, row, values[values < -LIMIT])
        axes.axhline(row + 0.5, color="#DDDDDD", lw=0.6)
