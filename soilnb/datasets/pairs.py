"""Places that are seen in two ways: RaCA, Edgeroi, and a user's own two tables."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilnb._validation import Floats, check_choice
from soilnb.datasets.profiles import edgeroi_windows, load_profiles
from soilnb.datasets.regions import load_sites
from soilnb.datasets.sets import read_own

Views = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]

WINDOW = 16  # cells of a side, 1.44 km
IMAGE, TERRAIN = (3, 4, 2), (0, 1)  # Landsat bands 3 and 4, radK; elevation, wetness
UNLABELLED_STEP = 6  # cells between the middles of windows without a profile
BLOCK_M = 10_000.0
HARMONICS = (1, 2, 4, 8)
N_BLOCKS = 6  # of a user's places, along the longer side of their extent
MIN_PAIRS, MIN_LABELLED = 100, 60
PLACES = (("latitude", "longitude"), ("northing", "easting"))


@dataclass(frozen=True, eq=False)
class Pairs:
    """Places with two views of each, and a property that some of them have.

    `name` is that of the data set, or of the first file. The two `views`, (n_places,
    ...), called `names`, are features, series or images. `y` (n_places,) is the
    property, as a logarithm where its `label` says so, NaN where it is not known;
    `block` (n_places,) the block of a map that a place lies in, None where places are
    not known; `facts` what the first view knows, to be read out of its embedding: text
    or numbers; `notes` what was done to the data, in sentences.
    """

    name: str
    views: Views
    names: tuple[str, str]
    y: Floats
    label: str
    block: npt.NDArray[np.intp] | None
    facts: dict[str, npt.NDArray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of places."""
        return len(self.y)

    @property
    def labelled(self) -> npt.NDArray[np.intp]:
        """Places whose property is known."""
        return np.flatnonzero(~np.isnan(self.y))

    def flat(self) -> Floats:
        """Return all values of both views, a row for each place."""
        parts = [view.reshape(len(self), -1) for view in self.views]
        return np.concatenate(parts, axis=1).astype(np.float64)

    def plain(self) -> Floats:
        """Return a few features of both views, a row for each place.

        Of a series mean, sd, lowest and highest; of an image, middle cell, mean and sd.
        """
        return np.concatenate([_plain(view) for view in self.views], axis=1)


def _plain(view: npt.NDArray[np.float32]) -> Floats:
    """Return the features of one view; see `Pairs.plain`."""
    axes = tuple(range(1, view.ndim - 1))
    if not axes:
        return view.astype(np.float64)
    parts = [view.mean(axes, dtype=np.float64), view.std(axes, dtype=np.float64)]
    if len(axes) == 1:
        return np.concatenate([*parts, view.min(1), view.max(1)], axis=1)
    middle = view[:, view.shape[1] // 2, view.shape[2] // 2]
    return np.concatenate([middle, *parts], axis=1)


def load_pairs(
    name_or_path: str | Path = "raca",
    second_view: str | Path = "",
    *,
    key: str = "id",
    target: str = "soc",
    n_places: int = 10**6,
) -> Pairs:
    """Return the pairs of a data set or of a user's two tables.

    Parameters
    ----------
    name_or_path : str or Path
        "raca" (place, land use and office against 61 months of climate), "edgeroi"
        (windows of an image against windows of the terrain), or the path of a CSV file
        with the key, the property (it may have gaps) and numeric features. Its
        `latitude` and `longitude`, or `northing` and `easting`, are what blocks are
        made of.
    second_view, key, target : str or Path, str, str
        Of a file of one's own: the CSV file with the same key and other features, and
        the columns of key ("id") and property ("soc"). A ValueError says what is wrong
        with them, an OSError that a file is not there, or not to be downloaded.
    n_places : int, optional
        Of a data set: so many at random, where they are more; of "edgeroi" beside the
        profiles.
    """
    is_set = str(name_or_path) in ("raca", "edgeroi")
    if is_set and str(second_view):
        msg = (
            "'second_view' belongs to a file of your own in 'data', got "
            f"{name_or_path!r} there. Give both files, or none."
        )
        raise ValueError(msg)
    if is_set:
        load = _load_raca if str(name_or_path) == "raca" else _load_edgeroi
        return load(n_places)
    if not str(second_view):
        msg = (
            "'second_view' must be a CSV file with the key of 'data', got none. Give "
            "its path."
        )
        raise ValueError(msg)
    return _read_pair(Path(name_or_path), second_view, key, target)


def _load_raca(n_places: int) -> Pairs:
    """Return place, land use and office of the sites against their climate."""
    from soilnb.selection import block_cells  # which loads SciPy

    sites = load_sites("raca").thin(n_places)
    at = np.radians(sites.info[["latitude", "longitude"]].to_numpy(np.float64))
    waves = [wave(k * at) for k in HARMONICS for wave in (np.sin, np.cos)]
    columns = sites.info[["land_use", "region"]]
    named = pd.get_dummies(columns, dtype=np.float64).to_numpy()
    static = np.concatenate([*waves, named], axis=1).astype(np.float32)
    series = sites.monthly if sites.monthly is not None else static
    _, n_sharing = np.unique(series.reshape(len(sites), -1), axis=0, return_counts=True)
    shared = int(n_sharing[n_sharing > 1].sum())
    note = f"RaCA: {shared} sites have the climate series of another one, too."
    return Pairs(
        name="raca",
        views=(static, series),
        names=("place and land use", "climate series"),
        y=sites.y,
        label=sites.label,
        block=block_cells(sites.info["latitude"], sites.info["longitude"]),
        facts={
            "land use": sites.info["land_use"].to_numpy(str),
            "latitude": sites.info["latitude"].to_numpy(np.float64),
        },
        notes=(*sites.notes, note),
    )


def _load_edgeroi(n_places: int) -> Pairs:
    """Return windows of image and terrain, of profiles and of the whole district."""
    from soilnb.selection import block_cells

    profiles = load_profiles("edgeroi", window=WINDOW + 1)
    others, _ = edgeroi_windows(None, WINDOW + 1, step=UNLABELLED_STEP)
    others = others[np.isfinite(others).all(axis=(1, 2, 3))]
    rows = np.random.default_rng(1).permutation(len(others))[:n_places]
    others = others[np.sort(rows)]
    windows = np.concatenate([profiles.windows, others])[:, :WINDOW, :WINDOW]
    n_others = len(others)
    y = np.concatenate([np.log(profiles.soc[:, 0]), np.full(n_others, np.nan)])
    block = np.full(len(y), -1)
    if profiles.places is not None:
        numbers = block_cells(*profiles.places.T, size=BLOCK_M)
        block[: len(numbers)] = numbers
    size = f"{WINDOW} x {WINDOW}"
    note = f"Edgeroi: {n_others} windows of {size} cells have no profile, no label."
    return Pairs(
        name="edgeroi",
        views=(windows[..., IMAGE], windows[..., TERRAIN]),
        names=("satellite and gamma image", "terrain"),
        y=y,
        label="ln of SOC density 0-5 cm in kg/m3",
        block=block,
        notes=(*profiles.notes, note),
    )


def _read_pair(path: Path, second_view: str | Path, key: str, target: str) -> Pairs:
    """Return the pairs of a user's two tables, or raise one sentence."""
    second = Path(second_view)
    first, other = _read_view(path, "data", key), _read_view(second, "second_view", key)
    if target not in first:
        check_choice(target, f"column of '{path.name}', which has no", first)
    both = first.index.intersection(other.index, sort=False)
    n_labelled = int(first.loc[both, target].notna().sum())
    if len(both) < MIN_PAIRS or n_labelled < MIN_LABELLED:
        least = f"{MIN_PAIRS} keys or more, {MIN_LABELLED} of them with {target!r}"
        names = f"'{path.name}' and '{second.name}'"
        _refuse(names, f"must share {least}", f"{len(both)}, {n_labelled}")
    first, other = first.loc[both], other.loc[both]
    y = first.pop(target)
    if not pd.api.types.is_numeric_dtype(y):
        got = repr(y.iloc[0])
        _refuse(f"Column {target!r} of '{path.name}'", "must hold numbers", got)
    views, notes = [], []
    facts = first.select_dtypes(exclude="number")
    for file, table in ((path, first), (second, other)):
        numeric = table.select_dtypes("number")
        if numeric.empty or (gaps := numeric.isna().sum()).any():
            has_some = not numeric.empty
            got = f"{gaps.max()} gaps in {gaps.idxmax()!r}" if has_some else "none"
            _refuse(f"'{file.name}'", "must have numeric features without gaps", got)
        views.append(numeric.to_numpy(np.float32))
        left_out = [name for name in table if name not in numeric]
        if left_out:
            notes.append(f"{file.name}: {', '.join(left_out)} hold text: left out.")
    values = y.to_numpy(np.float64)
    if is_log := bool((y.dropna() > 0).all()):
        values = np.log(values)
    return Pairs(
        name=path.stem,
        views=(views[0], views[1]),
        names=(path.stem, second.stem),
        y=values,
        label=f"ln of {target}" if is_log else target,
        block=_blocks(first),
        facts={name: facts[name].to_numpy(str) for name in facts},
        notes=(*notes, f"{len(both)} places are in both files."),
    )


def _read_view(path: Path, parameter: str, key: str) -> pd.DataFrame:
    """Return a user's table by its key."""
    table = read_own(path, parameter, dtype={key: str})
    if key not in table:
        check_choice(key, f"column of '{path.name}', which has no", table)
    if (twice := table[key].duplicated() | table[key].isna()).any():
        what, got = f"Column {key!r} of '{path.name}'", repr(table[key][twice].iloc[0])
        _refuse(what, "must have each key once", got)
    return table.set_index(key)


def _blocks(table: pd.DataFrame) -> npt.NDArray[np.intp] | None:
    """Return the blocks of a user's places; nothing where these are not known."""
    from soilnb.selection import block_cells

    for names in PLACES:
        if set(names) <= set(table.select_dtypes("number")):
            at = table[list(names)].to_numpy(np.float64)
            size = max(float(np.ptp(at, axis=0).max()) / N_BLOCKS, 1e-9)
            return block_cells(*at.T, size=size)
    return None


def _refuse(what: str, rule: str, got: object) -> None:
    """Raise ValueError for a user's table."""
    msg = f"{what} {rule}, got {got}. Mend the file."
    raise ValueError(msg)
