"""Several scans of one soil: found, asked about, averaged or kept together."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilnb.datasets.files.quantities import Findings
from soilnb.datasets.files.rows import Rows
from soilnb.datasets.files.told import Told

# A1_2, A1-scan3, A1 (2), A1rep2 or A1b of a soil A1
STEM = re.compile(
    r"(.*?\w)(?:[\W_]+(?:rep|scan|spec|r|s)?[\W_]*\d{1,5}\)?|[\W_]*(?:rep|scan)\d+"
    r"|(?<=\d)[\W_]?[a-z])",
    re.IGNORECASE,
)
MIN_SHARE = 0.1  # of the rows in groups: fewer have the same SOC by chance
MIN_SHARE_RUNS = 0.5  # the same where only their order and SOC, no ids, tell of groups
# The scatter of scans within soils, relative to that of all rows. In the farms of
# LimeSoDa, rows that follow one another are above 0.6.
MAX_SCATTER = 0.5


@dataclass(frozen=True)
class Soils:
    """The soil of each row, and whether any has several rows."""

    names: list[str]
    repeated: bool

    def average(self, values: npt.NDArray) -> npt.NDArray:
        """Return the mean of the rows of each soil, without those that are NaN."""
        codes = pd.factorize(np.array(self.names))[0]
        means = pd.DataFrame(values).groupby(codes).mean().to_numpy(values.dtype)
        return means.reshape(-1, *values.shape[1:])

    def first(self) -> npt.NDArray[np.intp]:
        """Return the first row of each soil."""
        return np.flatnonzero(~pd.Series(self.names).duplicated())


def find_soils(rows: Rows, told: Told) -> tuple[Rows, Soils, Findings]:
    """Return rows with an id each, the soil of each row, and a question or a note."""
    ids = rows.sample_ids
    same = Soils(ids, repeated=False)
    if not (rows.every_row or told.replicates):
        return rows, same, Findings()
    if len({*ids}) < len(ids) and "" not in ids:
        if not told.replicates:
            return rows, same, Findings()  # the ids are a problem
        seen: Counter[str] = Counter()
        numbered = []
        for name in ids:
            seen[name] += 1
            numbered.append(f"{name}_{seen[name]}")
        return replace(rows, sample_ids=numbered), *_settle(rows, ids, told)
    for keys, share in ((_by_stem(rows), MIN_SHARE), (_by_order(rows), MIN_SHARE_RUNS)):
        if _are_scans(rows, keys, share):
            return rows, *_settle(rows, keys, told)
    note = "No sample seems to have more than one scan."
    return rows, same, Findings(notes=(note,) if told.replicates else ())


def _settle(rows: Rows, names: list[str], told: Told) -> tuple[Soils, Findings]:
    """Return the soils with what was told of them, or ask."""
    counts = Counter(names)
    n_scans = sum(n for n in counts.values() if n > 1)
    n_soils = sum(n > 1 for n in counts.values())
    what = f"{n_scans} spectra are scans of {n_soils} soils"
    if told.replicates == "average":
        note = f"{what}: their mean is used, so there are {len(counts)} samples."
    elif told.replicates:
        note = f"{what}: all scans of a soil stay on one side of every split."
    else:
        soil = next(name for name, n in counts.items() if n > 1)
        first, second = [n for n, name in enumerate(names) if name == soil][:2]
        ids = rows.sample_ids
        question = (
            f"{n_scans} spectra look like repeated scans of {n_soils} soils: they are "
            f"nearly equal, with the same SOC (first: {ids[first]!r} and "
            f"{ids[second]!r}). Say replicates='average' to use their mean, or "
            "replicates='separate' to keep them, those of a soil on one side of every "
            "split."
        )
        return Soils(rows.sample_ids, repeated=False), Findings((question,))
    return Soils(names, repeated=True), Findings(notes=(note,))


def _by_stem(rows: Rows) -> list[str]:
    """Return each row's soil: that of rows with one stem of the id and one SOC."""
    matches = [STEM.fullmatch(name) for name in rows.sample_ids]
    stems = [
        match[1] if match else name
        for match, name in zip(matches, rows.sample_ids, strict=True)
    ]
    return _unite(rows, stems)


def _by_order(rows: Rows) -> list[str]:
    """Return each row's soil: that of rows in succession with one SOC."""
    changes = np.r_[True, rows.soc[1:] != rows.soc[:-1]]
    runs = np.cumsum(changes)
    return _unite(rows, [str(run) for run in runs], by_first=True)


def _unite(rows: Rows, keys: Sequence[str], *, by_first: bool = False) -> list[str]:
    """Return names of soils from keys and SOC: the key, or an id where it is used."""
    pairs = [(key, f"{soc:g}") for key, soc in zip(keys, rows.soc, strict=True)]
    counts, of_key = Counter(pairs), Counter(key for key, _ in {*pairs})
    first: dict[tuple[str, str], str] = {}
    names = []
    for pair, name in zip(pairs, rows.sample_ids, strict=True):
        is_plain = counts[pair] > 1 and of_key[pair[0]] == 1 and not by_first
        names.append(first.setdefault(pair, pair[0] if is_plain else name))
    return names


def _are_scans(rows: Rows, names: list[str], share: float) -> bool:
    """Return whether rows of one name are nearly equal, and enough of them."""
    codes = pd.factorize(np.array(names))[0]
    many = np.bincount(codes)[codes] > 1
    if many.sum() < max(share * len(codes), 2):
        return False
    spectra = rows.spectra.astype(np.float64)
    measured = np.isfinite(spectra).all(axis=0)
    spectra = spectra[:, measured]
    sizes = spectra.std(axis=1, keepdims=True) if measured.any() else np.zeros((1, 1))
    if not (sizes > 0).all() or not np.isfinite(sizes).all():
        return False
    spectra = (spectra - spectra.mean(axis=1, keepdims=True)) / sizes
    means = pd.DataFrame(spectra).groupby(codes).transform("mean").to_numpy()
    n = np.bincount(codes)[codes]
    within = np.sqrt(((spectra - means) ** 2).sum(axis=1) * n / np.maximum(n - 1, 1))
    whole = np.sqrt(((spectra - spectra.mean(axis=0)) ** 2).sum(axis=1))
    return bool(np.median(within[many]) < MAX_SCATTER * np.median(whole))
