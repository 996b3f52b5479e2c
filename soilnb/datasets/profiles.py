"""Soil profiles with covariates at every depth: Edgeroi, and a user's own table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilnb._validation import Floats, check_int
from soilnb.datasets.sets import fetch_set, read_own

Layers = Sequence[tuple[float, float]]

# Upper and lower depths of GlobalSoilMap, cm (Arrouays et al. 2014, Advances in
# Agronomy 125, 93-134).
LAYERS_CM = ((0, 5), (5, 15), (15, 30), (30, 60), (60, 100), (100, 200))
SMOOTHING = 0.1  # lambda that Bishop et al. (1999) found best for most properties
RASTERS = ("elevation", "twi", "radK", "landsat-b3", "landsat-b4")
DERIVED = ("log slope", "position", "ndvi")
NEIGHBOURHOOD = 21  # cells of the topographic position: 1.9 km
PIXEL_SCALE, TIE_POINT = 33550, 33922  # tags of GeoTIFF
NEEDED = ("profile", "top", "bottom", "soc")
PLACES = ("easting", "northing")
MIN_PROFILES = 30  # of five folds, four with 20 at least


@dataclass(frozen=True, eq=False)
class Profiles:
    """Soil profiles: carbon by layer, and what is known around each.

    `name` is that of the data set or file, `ids` those of the profiles. `soc`
    (n_profiles, n_layers), in its `unit`, is the mean carbon of each layer, above 0,
    NaN where it is not known; `layers` are upper and lower depths, cm. `windows`
    (n_profiles, size, size, n_covariates) are the `covariates` of the cells around each
    profile; size 1 where there is no raster. `places` (n_profiles, 2) are easting and
    northing, m, or None; `notes` say what was done to the data, in sentences.
    """

    name: str
    ids: npt.NDArray[np.str_]
    soc: Floats
    layers: tuple[tuple[float, float], ...]
    windows: npt.NDArray[np.float32]
    covariates: tuple[str, ...]
    places: Floats | None
    unit: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of profiles."""
        return len(self.soc)

    @property
    def layer_names(self) -> list[str]:
        """Depths of the layers in words, as 30-60."""
        return [f"{top:g}-{bottom:g}" for top, bottom in self.layers]


def equal_area_spline(
    top: npt.ArrayLike,
    bottom: npt.ArrayLike,
    values: npt.ArrayLike,
    layers: Layers = LAYERS_CM,
    *,
    smoothing: float = SMOOTHING,
) -> Floats:
    """Return the means of some layers from those of the horizons of one profile.

    A smooth curve over depth is fitted whose means over the horizons are near those
    measured, so that carbon is moved between layers but kept in sum.

    Parameters
    ----------
    top, bottom : array-like of shape (n_horizons,)
        Depths, cm, in any order; gaps are allowed, overlaps are not.
    values : array-like of shape (n_horizons,)
        Mean of the property over each horizon.
    layers : sequence of (float, float), default `LAYERS_CM`
        Upper and lower depths of the layers, cm.
    smoothing : float, default 0.1
        Weight of the roughness, above 0; the smaller, the closer to the horizons.

    Returns
    -------
    array of shape (n_layers,)
        A layer that reaches below the last horizon has the mean of what is known of
        it; one that begins there is NaN, as is one that ends above the first horizon.
        A ValueError if a horizon has no thickness or value or overlaps another.

    Notes
    -----
    The curve f minimises the mean squared difference of its horizon means from the
    values plus `smoothing` times the integral of f'^2 (Bishop, McBratney and Laslett
    1999, Geoderma 91(1-2), 27-45). So f' is continuous, linear within horizons,
    constant in gaps and 0 at both ends: its values where horizons meet and the level of
    f are found by linear equations.

    Examples
    --------
    >>> equal_area_spline([0, 10], [10, 20], [9, 5], [(0, 20), (20, 30)]).round(2)
    array([ 7., nan])
    """
    from scipy.interpolate import make_interp_spline

    top, bottom, values = (np.asarray(a, np.float64) for a in (top, bottom, values))
    _check_horizons(top, bottom, values)
    knots = np.unique([top, bottom])
    n_knots = len(knots)
    twice = make_interp_spline(knots, np.eye(n_knots), k=1).antiderivative(2)

    def means(upper: Floats, lower: Floats) -> Floats:
        rises = (twice(lower) - twice(upper)) / (lower - upper)[:, None]
        return np.c_[np.ones(len(upper)), rises @ shared]

    # Knots at both ends of a gap share a slope; it is 0 at the first and the last.
    middles = (knots[1:] + knots[:-1]) / 2
    in_horizon = ((top < middles[:, None]) & (middles[:, None] < bottom)).any(axis=1)
    group = np.r_[0, np.cumsum(in_horizon)]
    shared = (group[:, None] == np.arange(1, group[-1])).astype(np.float64)
    widths = np.diff(knots)
    mass = np.zeros((n_knots, n_knots))  # of the integral of f'^2
    for place, width in enumerate(widths):
        mass[place : place + 2, place : place + 2] += width / 6 * (np.eye(2) + 1)
    system = means(top, bottom)
    normal = system.T @ system / len(values)
    normal[1:, 1:] += smoothing * shared.T @ mass @ shared
    found = np.linalg.solve(normal, system.T @ values / len(values))
    wanted = np.clip(np.asarray(layers, np.float64), knots[0], knots[-1])
    known = wanted[:, 0] < wanted[:, 1]
    result = np.full(len(wanted), np.nan)
    result[known] = means(*wanted[known].T) @ found
    return result


def _check_horizons(top: Floats, bottom: Floats, values: Floats) -> None:
    """Raise ValueError for horizons that no curve can be fitted to."""
    order = np.argsort(top)
    rule = ""
    if not (len(values) and np.isfinite([top, bottom, values]).all()):
        rule = "be at least one, with numbers"
    elif (top >= bottom).any():
        rule = "end below their top"
    elif (bottom[order][:-1] > top[order][1:]).any():
        rule = "not overlap"
    if rule:
        got = ", ".join(f"{t:g}-{b:g} cm" for t, b in zip(top, bottom, strict=True))
        msg = f"The horizons of a profile must {rule}, got {got or 'none'}. Mend them."
        raise ValueError(msg)


def load_profiles(name_or_path: str | Path = "edgeroi", *, window: int = 3) -> Profiles:
    """Return the profiles of a data set or of a user's table.

    `name_or_path` is "edgeroi" (Malone, McBratney, Minasny and Laslett 2009, Geoderma
    154(1-2), 138-152), or the path of a CSV file with one row per horizon: `profile`
    (its id), `top` and `bottom` (cm), `soc` (above 0, any unit) and numeric covariates,
    of which each profile has one value; `easting` and `northing` (m) where known. Its
    horizons become the layers of `LAYERS_CM` by `equal_area_spline`, text columns are
    left out and named in the notes. `window`, odd, are the cells of a side of the
    windows, of "edgeroi" only, where a cell is 90 m. A ValueError if a file lacks a
    column or profiles, or a value cannot be used; an OSError if the data set cannot be
    downloaded, or there is no such file.
    """
    check_int(window, "window", 1)
    if window % 2 == 0:
        msg = f"'window' must be odd, got {window}. Try 3."
        raise ValueError(msg)
    if str(name_or_path) != "edgeroi":
        return _read_table(Path(name_or_path))
    import rdata

    file = fetch_set("edgeroi")["edgeroi/spline-carbon.rda"]
    table = rdata.read_rda(file)["edgeroi_splineCarbon"]
    places = table[["east", "north"]].to_numpy(np.float64)
    windows, _ = edgeroi_windows(places, window)
    whole = np.isfinite(windows).all(axis=(1, 2, 3))
    notes = [f"{len(table)} profiles; carbon by layer is the file's own spline."]
    if not whole.all():
        notes.append(f"{int((~whole).sum())} lie at the edge of the rasters: left out.")
    columns = [f"X{top}.{bottom}.cm" for top, bottom in LAYERS_CM]
    soc = table[columns].to_numpy(np.float64, na_value=np.nan)
    return Profiles(
        name="edgeroi",
        ids=table["id"].to_numpy(str)[whole],
        soc=np.where(soc > 0, soc, np.nan)[whole],
        layers=LAYERS_CM,
        windows=windows[whole],
        covariates=(*RASTERS, *DERIVED),
        places=places[whole],
        unit="kg/m3",
        notes=tuple(f"Edgeroi: {note}" for note in notes),
    )


def edgeroi_windows(
    places: npt.ArrayLike | None = None, window: int = 3, *, step: int = 1
) -> tuple[npt.NDArray[np.float32], Floats]:
    """Return windows of the district of Edgeroi around places, and these.

    `places` (n_places, 2) are easting and northing, m (UTM zone 55 south), by default
    the middles of every `step`-th cell. Of the windows' eight covariates five are read,
    three derived (log slope, position, NDVI); NaN beyond the rasters.
    """
    stack, (west, north), size = _read_rasters()
    if places is None:
        rows, columns = (np.arange(step // 2, n, step) + 0.5 for n in stack.shape[:2])
        x, y = np.meshgrid(west + columns * size, north - rows * size)
        places = np.c_[x.ravel(), y.ravel()]
    at = np.asarray(places, np.float64)
    reach = window // 2
    around = [(reach, reach), (reach, reach), (0, 0)]
    padded = np.pad(stack, around, constant_values=np.nan)
    column, row = ((at - [west, north]) * [1, -1] // size).astype(int).T
    inside = (row >= 0) & (row < stack.shape[0])
    inside &= (column >= 0) & (column < stack.shape[1])
    found = np.full((len(at), window, window, stack.shape[2]), np.nan, np.float32)
    cells = np.lib.stride_tricks.sliding_window_view(padded, (window, window), (0, 1))
    found[inside] = cells[row[inside], column[inside]].transpose(0, 2, 3, 1)
    return found, at


def _read_rasters() -> tuple[npt.NDArray[np.float32], Floats, float]:
    """Return the eight rasters (rows, columns, 8), their north-western corner, a cell.

    What has no data in one of the five files has none in any.
    """
    from PIL import Image
    from scipy.ndimage import uniform_filter

    files, bands = fetch_set("edgeroi"), []
    for name in RASTERS:
        with Image.open(files[f"edgeroi/{name}.tif"]) as image:
            bands.append(np.array(image, dtype=np.float64))
            tags = dict(image.tag_v2)  # type: ignore[attr-defined]
    no_data = np.any([band < -1e30 for band in bands], axis=0)
    elevation, *_, red, infrared = bands
    elevation[no_data] = np.nan
    size = float(tags[PIXEL_SCALE][0])
    south, east = np.gradient(elevation, size)
    filled = np.where(no_data, 0.0, elevation)
    share = uniform_filter((~no_data).astype(np.float64), NEIGHBOURHOOD)
    near = uniform_filter(filled, NEIGHBOURHOOD) / np.maximum(share, 1e-6)
    derived = [
        np.log1p(100 * np.hypot(south, east)),
        elevation - near,
        (infrared - red) / np.where(no_data, 1.0, infrared + red),
    ]
    stack = np.stack([*bands, *derived], axis=2).astype(np.float32)
    stack[no_data] = np.nan
    return stack, np.array(tags[TIE_POINT][3:5], np.float64), size


def _read_table(path: Path) -> Profiles:
    """Return the profiles of a user's table, or raise one sentence."""
    table = read_own(path, dtype={"profile": str})
    if missing := [name for name in NEEDED if name not in table]:
        rule = f"must have the columns {', '.join(NEEDED)}"
        _refuse(path, rule, f"none named {missing[0]!r} among {', '.join(table)}")
    numeric = table.drop(columns="profile").select_dtypes("number")
    _check_columns(path, table, numeric)
    by_profile = table.groupby("profile", sort=False)
    at = [name for name in PLACES if name in numeric]
    covariates = [name for name in numeric if name not in (*NEEDED, *PLACES)]
    for name in (*covariates, *at):
        if (varied := by_profile[name].nunique() > 1).any():
            rule = f"must have one value of {name!r} for each profile"
            _refuse(path, rule, f"several in profile {varied.idxmax()!r}")
    if not covariates or by_profile.ngroups < MIN_PROFILES:
        rule = f"must have {MIN_PROFILES} profiles or more and a numeric covariate"
        _refuse(path, rule, f"{by_profile.ngroups} and {len(covariates)}")
    first = by_profile[[*covariates, *at]].first()
    left_out = [name for name in table if name not in ("profile", *numeric)]
    notes = ["horizons became layers by an equal-area spline."]
    notes += [f"{', '.join(left_out)} hold text: left out."] if left_out else []
    return Profiles(
        name=path.stem,
        ids=first.index.to_numpy(str),
        soc=np.array([_by_layer(path, *one) for one in by_profile]),
        layers=LAYERS_CM,
        windows=first[covariates].to_numpy(np.float32)[:, None, None, :],
        covariates=tuple(covariates),
        places=first[at].to_numpy(np.float64) if len(at) == len(PLACES) else None,
        unit="as in the file",
        notes=tuple(f"{path.name}: {note}" for note in notes),
    )


def _check_columns(path: Path, table: pd.DataFrame, numeric: pd.DataFrame) -> None:
    """Raise ValueError for text or gaps in a user's table, or carbon that is not."""
    for name in (*NEEDED[1:], *PLACES):
        if name in table and name not in numeric:
            rule = f"must have numbers in column {name!r}"
            _refuse(path, rule, repr(table[name].iloc[0]))
    for name in ("profile", *numeric):
        if n_empty := int(table[name].isna().sum()):
            rule = f"must have a value in each row of column {name!r}"
            _refuse(path, rule, f"{n_empty} empty cells")
    if (low := numeric["soc"].min()) <= 0:
        rule = "must have 'soc' above 0 (for none found, half the detection limit)"
        _refuse(path, rule, f"{low:g}")


def _by_layer(path: Path, name: str, rows: pd.DataFrame) -> Floats:
    """Return the layers of one profile; a curve that dips too low is cut there."""
    try:
        means = equal_area_spline(rows["top"], rows["bottom"], rows["soc"])
    except ValueError as error:
        msg = f"Profile {name!r} of '{path.name}': {error}"
        raise ValueError(msg) from error
    return np.maximum(means, rows["soc"].min() / 2)  # NaN stays NaN


def _refuse(path: Path, rule: str, got: object) -> None:
    """Raise ValueError for a user's table."""
    msg = f"'{path.name}' {rule}, got {got}. Mend the file."
    raise ValueError(msg)
