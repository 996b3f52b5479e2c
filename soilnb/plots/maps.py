"""Maps: where libraries and sites lie, and what is estimated where on a site."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from soilnb._validation import Floats
from soilnb.datasets import place_label
from soilnb.plots import style

DEGREES = ["longitude", "latitude"]
METRES = ["easting", "northing"]
M_PER_DEGREE = 111_195.0  # of latitude, on a sphere with a radius of 6371 km
LARGE_M = 5000.0  # a site wider than this is drawn in km
NARROWEST, WIDEST = 1.2, 2.4  # width of a map relative to its height
N_COLOURS = 5  # values that have a colour of their own; the others share grey


def plot_map(
    library: pd.DataFrame,
    sites: Mapping[str, pd.DataFrame],
    *,
    colour_by: str = "source",
) -> Figure:
    """Plot where the samples of a library and the sites lie on Earth (Fig. 1a).

    `library` and `sites` (tables by name, each a star in its middle) have longitude and
    latitude in degrees (WGS 84); one of them must have some. What has no coordinates is
    not drawn but told below the map. Discs have the colours of the five commonest
    values of the column `colour_by`. On the graticule a degree of longitude has its
    true length at the middle latitude. Outlines of countries are those of the package
    countryinfo, coarse; without it there are none.
    """
    known = _with(library, DEGREES)
    located = {name: _with(table, DEGREES) for name, table in sites.items()}
    stars = {n: t[DEGREES].mean().to_numpy() for n, t in located.items() if len(t)}
    if known.empty and not stars:
        msg = (
            "No sample of 'library' or 'sites' has coordinates (columns longitude and "
            "latitude, degrees). Leave the map out."
        )
        raise ValueError(msg)
    figure, axes = style.make_figure(9, 4.8)
    if len(known):
        _draw_discs(axes, known, known[colour_by])
    for name, place in stars.items():
        axes.plot(*place, "*", ms=13, mfc="#D55E00", mec="white", zorder=3)
        halo = [patheffects.withStroke(linewidth=3, foreground="white")]
        look: dict[str, Any] = {"fontsize": 9, "zorder": 4, "path_effects": halo}
        style.write_at(axes, place_label(name), place, (6, 4), **look)
    _graticule(axes, np.array([*known[DEGREES].to_numpy(), *stars.values()]))
    for outline in _outlines():
        look = {"color": "#888888", "lw": 0.6, "zorder": 0.9}
        axes.plot(*outline.T, scalex=False, scaley=False, **look)
    without = [place_label(name) for name in sites if name not in stars]
    axes.set_xlabel(_count(len(known), len(library), without), fontsize=9)
    if len(known):
        style.legend_below(axes, 3)
    return figure


def has_coordinates(table: pd.DataFrame) -> bool:
    """Return whether samples have longitude and latitude, or easting and northing.

    >>> has_coordinates(pd.DataFrame({"longitude": [16.1], "latitude": [60.0]}))
    True
    >>> has_coordinates(pd.DataFrame({"longitude": [16.1]}))
    False
    """
    return bool(len(_with(table, DEGREES)) or len(_with(table, METRES)))


def _with(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Return the rows that have all of some coordinates."""
    columns = dict.fromkeys([*table, *names])
    return table.reindex(columns=list(columns)).dropna(subset=list(names))


def _draw_discs(axes: Axes, known: pd.DataFrame, values: pd.Series) -> None:
    """Draw the samples of a library, a colour for each of the commonest values."""
    own = values.value_counts().index[:N_COLOURS]
    groups = values.where(values.isin(own), "other")
    colours = (*style.SITE_COLOURS[:4], style.SITE_COLOURS[5])  # stars have the fifth
    palette = dict(zip(own, colours, strict=False)) | {"other": "#999999"}
    size = 10 if len(known) > style.MANY_POINTS else 22
    for name, colour in palette.items():
        rows = known[groups == name]
        if len(rows):
            look = {"color": colour, "label": f"{name} ({len(rows):,})", "s": size}
            look |= {"rasterized": len(rows) > style.MANY_POINTS, "lw": 0, "alpha": 0.6}
            axes.scatter(rows["longitude"], rows["latitude"], **look)


def _graticule(axes: Axes, places: npt.NDArray) -> None:
    """Give a map room around its places, a grid and degrees with their side."""
    (west, south), (east, north) = places.min(axis=0), places.max(axis=0)
    shorter = np.cos(np.radians((south + north) / 2))  # a degree of longitude
    width, height = 1.2 * (east - west) * shorter, 1.2 * (north - south)
    smallest = 2.0 if max(width, height) > 0.2 else 40.0  # one place needs more around
    half_height = max(height, width / WIDEST, smallest) / 2
    half_width = max(width, half_height * 2 * NARROWEST) / 2 / shorter
    middle = (west + east) / 2, (south + north) / 2
    axes.set_xlim(max(middle[0] - half_width, -180), min(middle[0] + half_width, 180))
    axes.set_ylim(max(middle[1] - half_height, -90), min(middle[1] + half_height, 90))
    axes.set_aspect(1 / shorter)
    for axis, sides in ((axes.xaxis, "EW"), (axes.yaxis, "NS")):
        axis.set_major_locator(MaxNLocator(6, steps=[1, 1.5, 2, 3, 4, 5, 6, 9, 10]))
        axis.set_major_formatter(FuncFormatter(_degrees_of(sides)))
    axes.grid(visible=True, color="#BBBBBB", lw=0.6, alpha=1)
    axes.axhline(0, color="#777777", lw=0.9, zorder=1)  # the equator, where in view
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(True)


def _outlines() -> Iterator[Floats]:
    """Yield longitude and latitude along the outlines of all countries."""
    if not find_spec("countryinfo"):
        return
    from countryinfo import CountryInfo

    for country in CountryInfo.all().values():
        for feature in country.get("geoJSON", {}).get("features", []):
            shape = feature["geometry"]
            parts = shape["coordinates"]
            for polygon in parts if shape["type"] == "MultiPolygon" else [parts]:
                yield from (np.array(ring)[:, :2] for ring in polygon)


def _degrees_of(sides: str) -> Callable[[float, int], str]:
    """Return a formatter of degrees with the letter of their side."""

    def name(value: float, _: int) -> str:
        side = "" if abs(value) < 1e-9 else sides[int(value < 0)]
        return f"{abs(value):g}°{side}"

    return name


def _count(n_known: int, n_all: int, without: Sequence[str]) -> str:
    """Return in words what the map does not show."""
    text = f"{n_known:,} of {n_all:,} library samples have coordinates"
    return text + (f"; not on the map: {', '.join(without)}" if without else "")


def plot_fields(sites: Mapping[str, pd.DataFrame]) -> Figure:
    """Plot where the samples of each site lie, coloured by measured SOC.

    `sites` are tables by name, with longitude and latitude in degrees and soc in %.
    """
    figure, panels = style.make_figure(
        3.3 * len(sites), 3, ncols=len(sites), squeeze=False
    )
    for axes, (name, table) in zip(panels[0], sites.items(), strict=True):
        at = table["longitude"], table["latitude"]
        points = axes.scatter(*at, c=table["soc"], cmap="cividis", s=14)
        # A degree of longitude is shorter than one of latitude.
        axes.set_aspect(1 / np.cos(np.radians(table["latitude"].mean())))
        axes.set(title=place_label(name), xlabel="longitude / °", ylabel="latitude / °")
        axes.ticklabel_format(useOffset=False)
        axes.locator_params(nbins=3)
        figure.colorbar(points, ax=axes, label=style.SOC_LABEL, shrink=0.7)
    return figure


def plot_point_map(
    tables: Mapping[str, pd.DataFrame] | pd.DataFrame,
    *,
    value: str = "predicted",
    label: str = "estimated " + style.SOC_LABEL,
) -> Figure:
    """Plot the estimate of each sample where it was taken, a panel per site (Fig. 4c).

    Distances are from the western and southern edge of the samples, so that the map
    holds also where a source has moved a farm to hide it. Colours are each panel's own.
    `tables`, one or several by name, have longitude and latitude in degrees, or easting
    and northing in metres (at least one sample has them), and the column `value`, which
    `label` names with its unit. Samples with is_local, used for modelling, have a ring.
    """
    if isinstance(tables, pd.DataFrame):
        tables = {"": tables}
    size = (7.4, 5.2) if len(tables) == 1 else (3.6, 3.1)
    figure, panels = style.make_panels(len(tables), *size)
    for axes, (name, table) in zip(panels, tables.items(), strict=True):
        rows, x, y = lay_out(axes, table, name)
        points = axes.scatter(x, y, c=rows[value], cmap="cividis", s=22, lw=0)
        if "is_local" in rows:
            ringed = rows["is_local"].to_numpy(dtype=bool)
            ring: dict[str, Any] = {"facecolor": "none", "edgecolor": "#D55E00"}
            ring |= {"s": 42, "label": "used for modelling"}
            axes.scatter(x[ringed], y[ringed], **ring)
            style.legend_below(axes, 1)
        title = name = place_label(name)
        if len(rows) < len(table):
            title = f"{name} ({len(rows)} of {len(table)} samples)".strip()
        axes.set_title(title)
        figure.colorbar(points, ax=axes, label=label, shrink=0.8)
    return figure


def lay_out(
    axes: Axes, table: pd.DataFrame, name: str = ""
) -> tuple[pd.DataFrame, Floats, Floats]:
    """Give a panel a map's axes; return the rows with coordinates and their x and y."""
    rows, places = _distances(table, name)
    unit, factor = ("km", 1000) if np.ptp(places) > LARGE_M else ("m", 1)
    axes.set(xlabel=f"east / {unit}", ylabel=f"north / {unit}")
    axes.set_aspect("equal")
    axes.locator_params(nbins=4)
    x, y = places.T / factor
    return rows, x, y


def _distances(table: pd.DataFrame, name: str) -> tuple[pd.DataFrame, Floats]:
    """Return the rows with coordinates and how far (m) east and north they lie."""
    columns = METRES if set(METRES) <= set(table) else DEGREES
    rows = _with(table, columns)
    if rows.empty:
        msg = (
            f"No sample{f' of {name!r}' if name else ''} has coordinates (columns "
            "longitude and latitude in degrees, or easting and northing in metres). "
            "Leave the map out."
        )
        raise ValueError(msg)
    places = rows[columns].to_numpy(dtype=np.float64)
    if columns is DEGREES:
        # A degree of longitude is shorter than one of latitude.
        shorter = np.cos(np.radians(places[:, 1].mean()))
        places = places * M_PER_DEGREE * [shorter, 1]
    return rows, places - places.min(axis=0)
