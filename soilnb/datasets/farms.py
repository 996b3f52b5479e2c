"""The farms of LimeSoDa, real fields with laboratory carbon and measured spectra."""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from soilnb._validation import Floats, check_choice
from soilnb.datasets.coordinates import degrees_from_utm, metres_from_degrees
from soilnb.datasets.library import SOM_PER_SOC, SpectralLibrary, concatenate
from soilnb.preprocessing import MAX_REFLECTANCE

LICENCE = "CC BY-SA 4.0"
MOIST = "measured moist or on the go"
UTM_COLUMN = re.compile(r"x_32(?P<half>[67])(?P<zone>\d\d)")  # north is 6, south 7
SHIFTED_COLUMN = "x_dummy_4326"  # degrees, moved by the source to hide the farm


@dataclass(frozen=True)
class Farm:
    """One farm of LimeSoDa.

    `set_name` ends with its count of samples; `place` is where it lies, for people;
    `site` is "" if it is part of the library only; `condition` is what differs from dry
    soil in a laboratory, or "".
    """

    set_name: str
    place: str
    country: str
    site: str = ""
    condition: str = ""


FARMS = (
    Farm("SL.125", "Skåne", "Sweden", "skane"),
    Farm("UL.120", "Uppsala", "Sweden", "uppsala"),
    Farm("CV.98", "Vaud", "Switzerland", "vaud", MOIST),
    Farm("SC.93", "Santa Catarina", "Brazil", "santa-catarina"),
    Farm("SSP.460", "São Paulo", "Brazil", "sao-paulo"),
    Farm("SA.112", "Saxony-Anhalt", "Germany", "saxony-anhalt", MOIST),
    Farm("RP.62", "Rhineland", "Germany", "rhineland", MOIST),
    Farm("SP.231", "Saitama", "Japan", condition=MOIST),
)

FARM_SITES = {farm.site: farm.set_name for farm in FARMS if farm.site}


def load_farm(set_name: str) -> SpectralLibrary:
    """Return one farm of LimeSoDa at the wavelengths it was measured at.

    LimeSoDa (Schmidinger et al. 2025, Geoderma) gives reflectance in percent, and for
    some farms soil organic matter (% by loss on ignition), which is divided by 1.724.

    `set_name` is one of those in `FARMS`. All rows are one group. Where the farm's
    place is public, `info` has latitude and longitude in degrees (WGS 84); where the
    source has moved the farm to hide it, easting and northing in metres from its own
    corner; of the other farms nothing.

    >>> farm = load_farm("CV.98")
    >>> len(farm), farm.wavelengths[[0, -1]], farm.info["sample_id"][0]
    (98, array([ 350., 2500.]), 'CV.98-001')
    """
    farms = {farm.set_name: farm for farm in FARMS}
    check_choice(set_name, "farm", farms)
    farm = farms[set_name]
    table, coordinates = _read_limesoda(set_name)
    bands = [column for column in table if column.startswith("wl_")]
    reflectance = table[bands].to_numpy(np.float64) / 100
    notes = [f"{set_name}: reflectance in percent was divided by 100."]
    if farm.condition:
        notes.append(f"{set_name}: spectra were {farm.condition}.")
    unusable = ~((reflectance > 0) & (reflectance <= MAX_REFLECTANCE))
    if unusable.any():
        reflectance[unusable] = np.nan
        notes.append(
            f"{set_name}: {int(unusable.sum())} reflectances that are no fraction "
            "above 0 count as not measured."
        )
    if "SOC_target" in table:
        soc, carbon_kind = table["SOC_target"].to_numpy(np.float64), "organic carbon"
    else:
        soc = table["SOM_target"].to_numpy(np.float64) / SOM_PER_SOC
        carbon_kind = f"organic matter / {SOM_PER_SOC}"
        notes.append(
            f"{set_name}: organic matter by loss on ignition was divided by "
            f"{SOM_PER_SOC} to give organic carbon."
        )
    place, note = _place(coordinates)
    if note:
        notes.append(f"{set_name}: {note}")
    return SpectralLibrary(
        name=farm.site or set_name,
        reflectance=reflectance.astype(np.float32),
        wavelengths=np.array([float(band.removeprefix("wl_")) for band in bands]),
        soc=soc,
        info=_info(farm, len(table), carbon_kind).assign(**place),
        notes=tuple(notes),
    )


def load_farms() -> SpectralLibrary:
    """Return the library "farms" of all `FARMS`, every 10 nm."""
    return concatenate([load_farm(farm.set_name) for farm in FARMS], "farms")


def _read_limesoda(set_name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return targets and wl_... columns of a data set, and its coordinates."""
    try:
        from LimeSoDa import load_dataset
    except ImportError as error:
        msg = "The farms come with the package LimeSoDa: pip install LimeSoDa."
        raise ImportError(msg) from error
    parts = load_dataset(set_name)
    # A set without coordinates has a NaN in their place.
    known = isinstance(parts["Coordinates"], pd.DataFrame)
    return parts["Dataset"], parts["Coordinates"] if known else pd.DataFrame()


def _place(coordinates: pd.DataFrame) -> tuple[dict[str, Floats], str]:
    """Return the columns that say where samples were taken, and what was converted."""
    if coordinates.empty:
        return {}, ""
    system = coordinates.columns[0]
    x, y = coordinates.to_numpy(np.float64).T
    if system == SHIFTED_COLUMN:
        easting, northing = metres_from_degrees(y, x)
        return {"easting": easting, "northing": northing}, (
            "the source has moved the coordinates to hide the farm; they are kept as "
            "metres from its own corner."
        )
    utm = UTM_COLUMN.fullmatch(system)
    if not utm:
        return {}, f"coordinates named {system!r} are not known and were left out."
    zone, is_south = int(utm["zone"]), utm["half"] == "7"
    latitude, longitude = degrees_from_utm(x, y, zone, is_south=is_south)
    columns = {"latitude": latitude, "longitude": longitude}
    return columns, "UTM coordinates were converted to degrees (WGS 84)."


def _info(farm: Farm, n_samples: int, carbon_kind: str) -> pd.DataFrame:
    """Return what is known of the samples of a farm."""
    numbers = range(1, n_samples + 1)
    return pd.DataFrame(
        {
            "sample_id": [f"{farm.set_name}-{number:03d}" for number in numbers],
            "source": "LimeSoDa",
            "group": farm.set_name,
            "country": farm.country,
            "carbon_kind": carbon_kind,
            "licence": LICENCE,
        }
    )
