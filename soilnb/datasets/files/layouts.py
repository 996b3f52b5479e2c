"""Published libraries that are recognised by the names of their columns."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

SOC_FIELDS = ("soc", "soc_2", "soc_3")  # the first that has a number counts
TEXT_FIELDS = {"sample_id", "sampleno", "site", "plotcode", "iso", "country"}
TEXT_FIELDS |= {"source", "licence"}  # in which a comma is a comma
MIN_BANDS = 10
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
    """How a published library names its columns."""

    name: str
    columns: Mapping[str, tuple[str, ...]]  # of a field, in all editions
    spectral: re.Pattern[str]  # its group nm is the wavelength
    keys: tuple[str, ...]  # that join its tables, one after the other
    tables: str  # that belong together, in messages

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
        found = {*self.find_fields(names)}
        adds = {*SOC_FIELDS, "latitude", "latitude_degrees"} & found
        leads_on = {"sample_id", "sampleno"} <= found
        return bool((adds or leads_on) and self.key_of(found))

    def key_of(self, fields: Iterable[str]) -> str:
        """Return the field by which a table is joined, "" if it has none."""
        found = set(fields)
        if {"iso", "profile"} <= found:
            found.add("plotcode")
        return next((key for key in self.keys if key in found), "")

    def describe(self, fields: pd.DataFrame) -> pd.DataFrame:
        """Return the columns of `info`; a group is a profile, a point or a data set."""

        def text(name: str, default: str | float = np.nan) -> pd.Series:
            empty = pd.Series(np.nan, fields.index, dtype=object)
            return fields.get(name, empty).fillna(default)

        def number(name: str) -> pd.Series:
            return pd.to_numeric(text(name, "nan"), errors="coerce")

        def degrees(name: str, negative: str) -> pd.Series:
            value = number(f"{name}_degrees") + number(f"{name}_minutes").fillna(0) / 60
            value = value + number(f"{name}_seconds").fillna(0) / 3600
            other = text(f"{name}_side", "").str.lower().str.startswith(negative)
            return number(name).fillna(value.mask(other, -value))

        source = text("source", self.name)
        ends = zip(number("top"), number("bottom"), strict=True)
        described = {
            "source": source,
            "group": text("plotcode")
            .fillna(source + " " + text("site"))
            .fillna(source),
            "country": text("country", "").replace(COUNTRY_NAMES),
            "licence": text("licence", "see the data set's own"),
            "latitude": degrees("latitude", "s"),
            "longitude": degrees("longitude", "w"),
            "depth": ["" if np.isnan(a + b) else f"{a:g}-{b:g} cm" for a, b in ends],
        }
        return pd.DataFrame({name: [*values] for name, values in described.items()})


def recognise(names: Sequence[str]) -> Published | None:
    """Return the library that has these columns, by its sample ids or spectra."""
    for library in (OSSL, ICRAF_ISRIC):
        if "sample_id" in library.find_fields(names):
            return library
    return OSSL if OSSL.has_spectra(names) else None


def plotcode(code: str) -> str:
    """Return a plot code such as "BR 12", "br012" or "BR-12" in one style."""
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


# Open Soil Spectral Library v1.2, Safanelli et al. (2025), PLoS ONE 20(1), e0296545,
# doi:10.1371/journal.pone.0296545; columns in https://docs.soilspectroscopy.org.
# Level 0 names SOC by its method; level 1 has all of it in the first column.
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
)

# World Agroforestry (ICRAF) and ISRIC, ICRAF-ISRIC Soil VNIR Spectral Library,
# doi:10.34725/DVN/MFHA9C: the tables of its repository, and the edition of two tables.
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
)
