"""Sites of many regions with covariates, not spectra: RaCA, and a user's table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilnb._validation import Floats, check_choice
from soilnb.datasets.files.columns import COORDINATES
from soilnb.datasets.sets import fetch_set, read_own

# TerraClimate stores whole numbers; the unit of each variable after this factor.
CLIMATE = {
    "aet": (0.1, "mm"),
    "def": (0.1, "mm"),
    "pdsi": (0.01, ""),
    "pet": (0.1, "mm"),
    "pr": (1.0, "mm"),
    "ro": (1.0, "mm"),
    "soil": (0.1, "mm"),
    "srad": (0.1, "W/m2"),
    "swe": (1.0, "mm"),
    "tmmn": (0.1, "degree C"),
    "tmmx": (0.1, "degree C"),
    "vap": (0.001, "kPa"),
    "vpd": (0.01, "kPa"),
}
FILLED = -999  # what the extraction wrote for zero, and for nothing at all
LAND_USES = {
    "C": "cropland",
    "F": "forest",
    "P": "pasture",
    "R": "rangeland",
    "W": "wetland",
    "X": "conservation reserve",
}
MIN_SITES = 40  # of a region that is studied: half of them are its test


@dataclass(frozen=True, eq=False)
class Sites:
    """Soil sites with covariates, each in a region.

    `name` is that of the data set or file. `X` (n_sites, n_covariates) are the
    `covariates`, of any unit, with latitude and longitude among them; `y` (n_sites,) is
    the natural logarithm of the property, or itself where `is_log` is False, and `unit`
    the property and its unit before the logarithm. `info` has latitude, longitude
    (degrees, WGS 84), region (text), and what else is known; `monthly` (n_sites,
    n_months, n_variables), or None, climate series in the order of time, variables in
    that of `CLIMATE`; `notes` say what was done to the data, in sentences.
    """

    name: str
    X: Floats
    y: Floats
    covariates: tuple[str, ...]
    info: pd.DataFrame
    unit: str
    is_log: bool
    monthly: npt.NDArray[np.float32] | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of sites."""
        return len(self.y)

    @property
    def label(self) -> str:
        """What `y` is, for the axes of a figure."""
        return f"ln of {self.unit}" if self.is_log else self.unit

    def thin(self, n_sites: int, *, seed: int = 1) -> Sites:
        """Return so many sites at random, in their order; all where they are fewer."""
        if n_sites >= len(self):
            return self
        shuffled = np.random.default_rng(seed).permutation(len(self))
        rows = np.sort(shuffled[:n_sites])
        return replace(
            self,
            X=self.X[rows],
            y=self.y[rows],
            info=self.info.iloc[rows].reset_index(drop=True),
            monthly=None if self.monthly is None else self.monthly[rows],
            notes=(*self.notes, f"{n_sites} of {len(self)} sites at random are used."),
        )

    @property
    def region(self) -> npt.NDArray[np.str_]:
        """Region of each site."""
        return self.info["region"].to_numpy(str)

    @property
    def regions(self) -> list[str]:
        """Regions of at least `MIN_SITES` sites, by name."""
        names, counts = np.unique(self.region, return_counts=True)
        return [str(name) for name in names[counts >= MIN_SITES]]


def load_sites(
    name_or_path: str | Path = "raca",
    *,
    target: str = "soc",
    region: str = "region",
    progress: Callable[[int, int], object] | None = None,
) -> Sites:
    """Return the sites of a data set or of a user's table.

    `name_or_path` is "raca", or the path of a CSV file with a column for the property
    (`target`), `latitude` and `longitude` (degrees), the `region`, and numeric
    covariates. Of a file, text columns beside the region are left out and named in the
    notes; the property is taken as its logarithm where all its values are above 0.
    `progress` is called as progress(done, total) while files are downloaded. A
    ValueError if a file lacks a column, or a value is missing, no number or out of
    range; an OSError if the data set cannot be downloaded, or there is no such file.
    """
    if str(name_or_path) == "raca":
        return _load_raca(progress)
    return _read_table(Path(name_or_path), target, region)


def _load_raca(progress: Callable[[int, int], object] | None) -> Sites:
    """Return the sites of the Rapid Carbon Assessment with their climate."""
    files = fetch_set("raca", progress)
    pedons = pd.read_csv(files["raca-soc-pedons.csv"], na_values="NA")
    places = pd.read_csv(files["raca-general-location.csv"])
    names, months, monthly, notes = _climate(files)
    doubled = int(places["RaCA_Id"].duplicated().sum())
    places = places.drop_duplicates("RaCA_Id").set_index("RaCA_Id")
    pedons = pedons.dropna(subset=["SOCstock30"])
    is_placed = pedons["rcasiteid"].isin(places.index)
    has_climate = pedons["rcasiteid"].isin(names)
    kept = pedons[is_placed & has_climate].reset_index(drop=True)
    notes += [
        f"{doubled} sites have two locations: the first is kept.",
        f"{len(kept)} of {len(pedons)} pedons with a stock have location and climate.",
        "the stock is taken as its natural logarithm; stocks rest largely on spectra.",
    ]
    series = monthly[pd.Index(names).get_indexer(pedons_ids := kept["rcasiteid"])]
    at = places.loc[pedons_ids, ["Gen_lat", "Gen_long"]].to_numpy(np.float64)
    info = pd.DataFrame(
        {
            "site_id": pedons_ids,
            "latitude": at[:, 0],
            "longitude": at[:, 1],
            "region": [f"MO {number:02d}" for number in kept["MO"]],
            "land_use": kept["LU"].map(LAND_USES),
            "stock_mg_per_ha": kept["SOCstock30"],
        }
    )
    climate = climate_features(series, months)
    use = pd.get_dummies(info["land_use"], dtype=np.float64)
    covariates = pd.concat([info[["latitude", "longitude"]], use, climate], axis=1)
    return Sites(
        name="raca",
        X=covariates.to_numpy(np.float64),
        y=np.log(info["stock_mg_per_ha"].to_numpy(np.float64)),
        covariates=tuple(covariates.columns),
        info=info,
        unit="SOC stock 0-30 cm in Mg/ha",
        is_log=True,
        monthly=series,
        notes=tuple(f"RaCA: {note}" for note in notes),
    )


def _climate(
    files: dict[str, Path],
) -> tuple[list[str], list[int], npt.NDArray[np.float32], list[str]]:
    """Return site ids, calendar months, series (n, months, variables) and notes."""
    tables = []
    for name, (factor, _) in CLIMATE.items():
        table = pd.read_csv(files[f"raca-climate/{name}.csv"])
        dates = sorted(column for column in table.columns if column.isdigit())
        tables.append(table.set_index("rcasiteid")[dates] * factor)
    stacked = np.stack([table.to_numpy(np.float32) for table in tables], axis=2)
    factors = np.array([factor for factor, _ in CLIMATE.values()], np.float32)
    filled = np.isclose(stacked, FILLED * factors)
    is_empty = filled.all(axis=(1, 2))
    is_second = tables[0].index.duplicated() & ~is_empty
    kept = ~is_empty & ~is_second
    notes = [
        f"{filled[kept].mean():.1%} of the climate values are {FILLED}, which stands "
        "for zero here.",
        f"{int(is_empty.sum())} sites have no climate at all: left out.",
        f"{int(is_second.sum())} sites are there twice: the first is kept.",
    ]
    months = [int(date[4:6]) for date in dates]
    series = np.where(filled, np.float32(0), stacked)[kept]
    return list(tables[0].index[kept]), months, series, notes


def climate_features(
    monthly: npt.NDArray[np.floating], months: list[int]
) -> pd.DataFrame:
    """Return the mean, winter, summer and range of each climate variable, 52 columns.

    Of the mean year, so that a month that is there once more weighs no more.
    """
    calendar = np.asarray(months)
    year = np.stack([monthly[:, calendar == m].mean(axis=1) for m in range(1, 13)], 1)
    parts = {
        "mean": year.mean(axis=1),
        "winter": year[:, [11, 0, 1]].mean(axis=1),
        "summer": year[:, 5:8].mean(axis=1),
        "range": np.ptp(year, axis=1),
    }
    return pd.DataFrame(
        {
            f"{name}_{part}": values[:, place].astype(np.float64)
            for place, name in enumerate(CLIMATE)
            for part, values in parts.items()
        }
    )


def _read_table(path: Path, target: str, region: str) -> Sites:
    """Return the sites of a user's table, or raise one sentence."""
    table = read_own(path)
    numeric = _check_columns(path, table, target, region)
    others = [name for name in table if name not in (*numeric, region)]
    y = numeric[target].to_numpy(np.float64)
    covariates = numeric.drop(columns=target)
    notes = [f"{', '.join(others)} hold text: left out."] if others else []
    if is_log := bool((y > 0).all()):
        y = np.log(y)
        notes.append(f"{target} is above 0 throughout: its natural logarithm is taken.")
    sites = Sites(
        name=path.stem,
        X=covariates.to_numpy(np.float64),
        y=y,
        covariates=tuple(covariates.columns),
        info=table[[*COORDINATES]].assign(region=table[region].astype(str)),
        unit=target,
        is_log=is_log,
        notes=tuple(f"{path.name}: {note}" for note in notes),
    )
    if len(sites.regions) < 2:
        rule = f"must name two regions of at least {MIN_SITES} sites"
        _refuse(path, region, rule, str(len(sites.regions)))
    return sites


def _check_columns(
    path: Path, table: pd.DataFrame, target: str, region: str
) -> pd.DataFrame:
    """Return the numeric columns of a user's table, or raise one sentence."""
    for column in (target, *COORDINATES, region):
        if column not in table:
            check_choice(column, f"column of '{path.name}', which has no", table)
    numeric = table.drop(columns=region).select_dtypes("number")
    for column in (target, *COORDINATES):
        if column not in numeric:
            _refuse(path, column, "must hold numbers", repr(table[column].iloc[0]))
    for column in (*numeric, region):
        if n_missing := int(table[column].isna().sum()):
            _refuse(path, column, "must have a value in each row", f"{n_missing} empty")
    for column, most in COORDINATES.items():
        if (beyond := numeric[column].abs().max()) > most:
            rule = f"must be in degrees, at most {most}"
            _refuse(path, column, rule, f"{beyond:g}")
    return numeric


def _refuse(path: Path, column: str, rule: str, got: object) -> None:
    """Raise ValueError for a column of a user's table."""
    msg = f"Column {column!r} of '{path.name}' {rule}, got {got}. Mend the file."
    raise ValueError(msg)
