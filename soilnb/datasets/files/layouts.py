"""Published libraries that are recognised by the names of their columns.

The names are those of the Open Soil Spectral Library (OSSL) v1.2 [1]_ and of the
ICRAF-ISRIC library in both of its editions: the tables of its repository [2]_, and one
table of spectra with one of reference data.

References
----------
.. [1] Safanelli et al. (2025), Open Soil Spectral Library, PLoS ONE 20(1), e0296545,
   doi:10.1371/journal.pone.0296545; columns in https://docs.soilspectroscopy.org.
.. [2] World Agroforestry (ICRAF) and ISRIC, ICRAF-ISRIC Soil VNIR Spectral Library,
   doi:10.34725/DVN/MFHA9C.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

SOC_FIELDS = ("soc", "soc_2", "soc_3")  # the first that has a number counts
# in which a comma is a comma
TEXT_FIELDS = {"sample_id", "sampleno", "site", "plotcode", "iso", "country"}
TEXT_FIELDS |= {"source", "licence"}
MIN_BANDS = 10
SEE_LICENCE = "see the data set's own"

# The only codes in OSSL v1.2; elsewhere it leaves the country empty. ICRAF-ISRIC
# writes names.
COUNTRY_NAMES = {
    "CAN": "Canada",
    "NZL": "New Zealand",
    "SRB": "Serbia",
    "United States": "USA",
    "United States of America": "USA",
}


@dataclass(frozen=True)
class Published:
    """How a published library names its columns.

    `columns` has the names of a field in the editions of the library; `spectral` the
    group nm; `keys` join its tables, one after the other; `tables` says in messages
    which belong together; `describe` makes columns of `info` of the samples' fields.
    """

    name: str
    columns: Mapping[str, tuple[str, ...]]
    spectral: re.Pattern[str]
    keys: tuple[str, ...]
    tables: str
    describe: Callable[[pd.DataFrame], dict[str, pd.Series]]
    quantity: str = "reflectance"
    soc_unit: str = "%"

    def find_fields(self, names: Sequence[str]) -> dict[str, int]:
        """Return the position of every field; the first column of a field counts."""
        fields = {
            _plain(name): field for field, some in self.columns.items() for name in some
        }
        found: dict[str, int] = {}
        for position, name in enumerate(names):
            if field := fields.get(_plain(name)):
                found.setdefault(field, position)
        return found

    def find_bands(self, names: Iterable[str]) -> list[str]:
        """Return the nm of each wavelength column as text, "" for other columns."""
        matches = [self.spectral.fullmatch(name.strip()) for name in names]
        return [match["nm"] if match else "" for match in matches]

    def has_spectra(self, names: Iterable[str]) -> bool:
        """Return whether a table with these columns holds vis-NIR spectra."""
        return sum(map(bool, self.find_bands(names))) >= MIN_BANDS

    def completes(self, names: Sequence[str]) -> bool:
        """Return whether a table without spectra has something to add to them."""
        found = self.find_fields(names)
        adds = {*SOC_FIELDS, "latitude", "latitude_degrees"} & set(found)
        leads_on = {"sample_id", "sampleno"} <= set(found)
        return bool(adds or leads_on) and self.key_of(found) is not None

    def key_of(self, fields: Iterable[str]) -> str | None:
        """Return the field by which a table is joined; None if it has none."""
        found = set(fields)
        if {"iso", "profile"} <= found:
            found.add("plotcode")
        return next((key for key in self.keys if key in found), None)


def recognise(names: Sequence[str]) -> Published | None:
    """Return the library that has these columns, by its sample ids or spectra."""
    for library in (OSSL, ICRAF_ISRIC):
        if "sample_id" in library.find_fields(names):
            return library
    return OSSL if OSSL.has_spectra(names) else None


def plotcode(code: str) -> str:
    """Return a plot code in one style.

    >>> plotcode("br-012.0")
    'BR 12'
    """
    match = re.fullmatch(r"([a-z]+)\W*0*(\d+)(\.0)?", code, re.IGNORECASE)
    return f"{match[1].upper()} {match[2]}" if match else code


def with_plotcode(fields: pd.DataFrame) -> pd.DataFrame:
    """Return the fields of samples with a plot code in one style, if any."""
    if {"iso", "profile"} <= {*fields}:
        own = fields["iso"] + " " + fields["profile"]
        fields["plotcode"] = fields.get("plotcode", own).fillna(own)
    if "plotcode" in fields:
        fields["plotcode"] = fields["plotcode"].map(plotcode, na_action="ignore")
    return fields


def _plain(name: str) -> str:
    """Return a column name without marks and in lower case."""
    return re.sub(r"[\W_]+", "", name).lower()


def _text(fields: pd.DataFrame, name: str, default: str | pd.Series) -> pd.Series:
    """Return a field as text, the default where it is not known."""
    empty = pd.Series(np.nan, fields.index, dtype=object)
    return fields.get(name, empty).fillna(default)


def _number(fields: pd.DataFrame, name: str) -> pd.Series:
    """Return a field as numbers, NaN where it is none."""
    return pd.to_numeric(_text(fields, name, "nan"), errors="coerce")


def _depth(fields: pd.DataFrame) -> pd.Series:
    """Return the depths of samples, such as "0-20 cm", or ""."""
    depths = zip(_number(fields, "top"), _number(fields, "bottom"), strict=True)
    texts = ["" if np.isnan(a + b) else f"{a:g}-{b:g} cm" for a, b in depths]
    return pd.Series(texts, fields.index)


def _degrees(fields: pd.DataFrame, name: str, negative: str) -> pd.Series:
    """Return decimal degrees from degrees, minutes, seconds and N/S or E/W."""
    whole, *parts = (
        _number(fields, f"{name}_{part}") for part in ("degrees", "minutes", "seconds")
    )
    value = whole + parts[0].fillna(0) / 60 + parts[1].fillna(0) / 3600
    side = _text(fields, f"{name}_side", "").str.lower()
    return value.mask(side.str.startswith(negative), -value)


def _describe_ossl(fields: pd.DataFrame) -> dict[str, pd.Series]:
    """Return the columns of `info` of OSSL; a group is a profile or a point."""
    source = _text(fields, "source", OSSL.name)
    return {
        "source": source,
        "group": (source + " " + _text(fields, "site", np.nan)).fillna(source),
        "country": _text(fields, "country", "").replace(COUNTRY_NAMES),
        "licence": _text(fields, "licence", SEE_LICENCE),
        "latitude": _number(fields, "latitude"),
        "longitude": _number(fields, "longitude"),
        "depth": _depth(fields),
    }


def _describe_icraf(fields: pd.DataFrame) -> dict[str, pd.Series]:
    """Return the columns of `info` of ICRAF-ISRIC; a group is a profile."""
    return {
        "source": _text(fields, "", ICRAF_ISRIC.name),
        "group": _text(fields, "plotcode", ICRAF_ISRIC.name),
        "country": _text(fields, "country", "").replace(COUNTRY_NAMES),
        "licence": _text(fields, "", SEE_LICENCE),
        "latitude": _degrees(fields, "latitude", "s"),
        "longitude": _degrees(fields, "longitude", "w"),
        "depth": _depth(fields),
    }


# Level 0 of OSSL names SOC by its method; level 1 has all of it in the first column.
OSSL = Published(
    name="OSSL",
    columns={
        "sample_id": ("id.layer_uuid_txt",),
        "source": ("dataset.code_ascii_txt",),
        "site": ("id.dataset.site_ascii_txt",),
        "country": ("location.country_iso.3166_txt",),
        "latitude": ("latitude.point_wgs84_dd",),
        "longitude": ("longitude.point_wgs84_dd",),
        "top": ("layer.upper.depth_usda_cm",),
        "bottom": ("layer.lower.depth_usda_cm",),
        "licence": ("dataset.license.title_ascii_txt",),
        "soc": ("oc_usda.c729_w.pct",),
        "soc_2": ("oc_iso.10694_w.pct",),
        "soc_3": ("oc_usda.c1059_w.pct",),
    },
    spectral=re.compile(r"scan_visnir[._](?P<nm>\d+)_ref"),
    keys=("sample_id",),
    tables="Put ossl_visnir_L0, ossl_soillab_L1 and ossl_soilsite_L0 into one folder, "
    "or give the joined ossl_all_L1.",
    describe=_describe_ossl,
)

ICRAF_ISRIC = Published(
    name="ICRAF-ISRIC",
    columns={
        "sample_id": ("Batch_Labid", "Batch and labid"),
        "sampleno": ("SAMPLENO", "ICRAF sample codes.SAMPLENO"),
        "plotcode": ("Plotcode",),
        "iso": ("ISO",),
        "profile": ("ID",),
        "country": ("COUNTRY", "Country name"),
        "top": ("BTOP",),
        "bottom": ("BBOT",),
        "soc": ("ORGC", "Org C"),
        "latitude_side": ("LATNS", "N / S"),
        "latitude_degrees": ("LATD", "Lat: degr"),
        "latitude_minutes": ("LATM", "Lat: min"),
        "latitude_seconds": ("LATS", "Lat: sec"),
        "longitude_side": ("LONEW", "E / W"),
        "longitude_degrees": ("LOND", "Long: degr"),
        "longitude_minutes": ("LONM", "Long: min"),
        "longitude_seconds": ("LONS", "Long: sec"),
    },
    spectral=re.compile(r"[wx](?P<nm>\d+)", re.IGNORECASE),
    keys=("sample_id", "sampleno", "plotcode"),
    tables="Put 'ASD Spectra', 'ICRAF sample codes', Chemical_properties and "
    "Site_description (or the spectra and the reference data) into one folder.",
    describe=_describe_icraf,
)
