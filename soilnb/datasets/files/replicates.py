"""Several scans of one soil: found, asked about, averaged or kept together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from soilnb.datasets.files.columns import Floats, Ints, Mask, Numbers
from soilnb.datasets.files.quantities import Findings
from soilnb.datasets.files.rows import Rows
from soilnb.datasets.files.told import Told

# A1_2, A1-scan3, A1 (2), A1rep2 or A1b of a soil A1
STEM = re.compile(
    r"^(.*?\w)(?:[\W_]+(?:rep|scan|spec|r|s)?[\W_]*\d{1,5}\)?|[\W_]*(?:rep|scan)\d+"
    r"|(?<=\d)[\W_]?[a-z])$",
    re.IGNORECASE,
)
MIN_SHARE = 0.1  # of the rows in groups: fewer have the same SOC by chance
MIN_SHARE_RUNS = 0.5  # the same where only their order and SOC, no ids, tell of groups
# The scatter of scans within soils, relative to that of all rows. In the farms of
# LimeSoDa, rows that follow one another are above 0.6.
MAX_SCATTER = 0.5
MIN_SOILS = 10  # of which every one has rows of one SOC: not by chance
ALIKE = "are nearly equal, with the same SOC"


@dataclass(frozen=True)
class Soils:
    """The soil of each row, and whether any has several rows."""

    names: list[str]
    repeated: bool

    def take(self, keep: Mask) -> Soils:
        """Return the soils of some rows."""
        return Soils(np.array(self.names)[keep].tolist(), self.repeated)

    def average(self, values: Numbers) -> Numbers:
        """Return the mean of the rows of each soil, without those that are NaN."""
        codes = pd.factorize(np.array(self.names))[0]
        means = pd.DataFrame(values).groupby(codes).mean().to_numpy(values.dtype)
        return means.reshape(-1, *values.shape[1:])

    def first(self) -> Ints:
        """Return the first row of each soil."""
        return np.flatnonzero(~pd.Series(self.names).duplicated())


def find_soils(rows: Rows, told: Told) -> tuple[Rows, Soils, Findings]:
    """Return rows with an id each, the soil of each row, and a question or a note."""
    ids = pd.Series(rows.sample_ids)
    same = Soils(rows.sample_ids, repeated=False)
    if not (rows.every_row or told.replicates):
        return rows, same, Findings()
    if ids.duplicated().any() and (ids != "").all():
        if not told.replicates:
            return rows, same, Findings()  # the ids are a problem
        numbers = (ids.groupby(ids).cumcount() + 1).astype(str)
        numbered = replace(rows, sample_ids=(ids + "_" + numbers).tolist())
        return numbered, *_settle(rows, ids, ALIKE, told)
    stems = ids.map(lambda name: STEM.sub(r"\1", name))
    runs = pd.Series(np.cumsum(np.r_[True, rows.soc[1:] != rows.soc[:-1]]), dtype=str)
    for keys, share in ((stems, MIN_SHARE), (runs, MIN_SHARE_RUNS)):
        soils = _unite(rows, keys, of_stem=keys is stems)
        if _are_scans(rows, soils, share):
            return rows, *_settle(rows, soils, ALIKE, told)
    for keys in (stems, *_patterns(len(ids))):
        if _share_soc(rows.soc, keys):
            soils = _unite(rows, keys, of_stem=keys is stems)
            return rows, *_settle(rows, soils, "have the same SOC, soil by soil", told)
    note = "No sample seems to have more than one scan."
    return rows, same, Findings(notes=(note,) if told.replicates else ())


def _settle(
    rows: Rows, names: pd.Series, alike: str, told: Told
) -> tuple[Soils, Findings]:
    """Return the soils with what was told of them, or ask."""
    many = names.groupby(names).transform("size") > 1
    n_scans, n_soils = int(many.sum()), names[many].nunique()
    what = f"{n_scans} spectra are scans of {n_soils} soils"
    if told.replicates == "average":
        note = f"{what}: their mean is used, so there are {names.nunique()} samples."
    elif told.replicates:
        note = f"{what}: all scans of a soil stay on one side of every split."
    else:
        first, second = np.flatnonzero(names == names[many].iloc[0])[:2]
        question = (
            f"{n_scans} spectra look like repeated scans of {n_soils} soils: they "
            f"{alike} (first: {rows.sample_ids[first]!r} and "
            f"{rows.sample_ids[second]!r}). Say replicates='average' to use their "
            "mean, or replicates='separate' to keep them, those of a soil on one side "
            "of every split."
        )
        return Soils(rows.sample_ids, repeated=False), Findings((question,))
    return Soils(names.tolist(), repeated=True), Findings(notes=(note,))


def _unite(rows: Rows, keys: pd.Series, *, of_stem: bool) -> pd.Series:
    """Return a name for each soil, of one key and SOC: its stem, or its first id."""
    table = pd.DataFrame({"key": keys, "soc": rows.soc, "id": rows.sample_ids})
    table["soc"] = table["soc"].map("{:g}".format)
    soils = table.groupby(["key", "soc"], sort=False)["id"]
    of_key = table.groupby("key")["soc"].transform("nunique")
    is_plain = (soils.transform("size") > 1) & (of_key == 1) & of_stem
    return soils.transform("first").mask(is_plain, keys)


def _patterns(n: int) -> Iterator[pd.Series]:
    """Yield the soils of rows where each has as many: in a row, or by turns."""
    for n_each in range(n // MIN_SOILS, 1, -1):
        if n % n_each == 0:
            yield pd.Series(np.arange(n) // n_each, dtype=str)
            yield pd.Series(np.arange(n) % (n // n_each), dtype=str)


def _share_soc(soc: Floats, keys: pd.Series) -> bool:
    """Return whether the rows of each of many keys have one SOC, of many values.

    So are states of moisture, whose spectra differ more than those of soils.
    """
    soc = np.nan_to_num(soc, nan=-1.0)
    of_soil = pd.Series(soc).groupby(keys.to_numpy())
    many = of_soil.transform("size") > 1
    is_one = bool((of_soil.transform("nunique")[many] == 1).all())
    return is_one and len({*soc[many]}) >= MIN_SOILS


def _are_scans(rows: Rows, names: pd.Series, share: float) -> bool:
    """Return whether rows of one name are nearly equal, and enough of them."""
    codes = pd.factorize(names)[0]
    n = np.bincount(codes)[codes]
    if (n > 1).sum() < max(share * len(codes), 2):
        return False
    spectra = rows.spectra.astype(np.float64)
    spectra = spectra[:, np.isfinite(spectra).all(axis=0)]
    sizes = spectra.std(axis=1, keepdims=True) if spectra.size else np.zeros((1, 1))
    if not (sizes > 0).all() or not np.isfinite(sizes).all():
        return False
    spectra = (spectra - spectra.mean(axis=1, keepdims=True)) / sizes
    means = pd.DataFrame(spectra).groupby(codes).transform("mean").to_numpy()
    within = np.sqrt(((spectra - means) ** 2).sum(axis=1) * n / np.maximum(n - 1, 1))
    whole = np.sqrt(((spectra - spectra.mean(axis=0)) ** 2).sum(axis=1))
    return bool(np.median(within[n > 1]) < MAX_SCATTER * np.median(whole))
