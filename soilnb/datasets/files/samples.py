"""The samples of a user's file: their cells and ids, and several scans of one soil."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from soilnb._blocks import row_blocks
from soilnb.datasets.files.carbon import NOT_DETECTED, SAY_LIMIT, half_of
from soilnb.datasets.files.columns import MIN_WAVELENGTHS, Floats
from soilnb.datasets.files.rows import SOC_CELL, Rows
from soilnb.datasets.files.told import Told
from soilnb.preprocessing import DEFAULT_RANGE_NM

STATISTICS = r"mean|average|avg|sd|std|stdev|median|min|max|minimum|maximum|sum|total"
MAX_STATISTICS = 10  # of a table: more are names that someone gave
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


def leave_out_bands(rows: Rows) -> None:
    """Leave out bands that are empty, or bad where no model looks at them.

    These are bands beyond the working grid with missing, zero or negative values.
    """
    nm, (low, high) = rows.layout.wavelengths, DEFAULT_RANGE_NM
    bad = ((nm < low) | (nm > high)) & ~(rows.spectra > 0).all(axis=0)
    bad |= np.isnan(rows.spectra).all(axis=0)
    bad[[band for _, band, _ in rows.texts if band != SOC_CELL]] = False
    if not rows.every_row or not bad.any() or (~bad).sum() < MIN_WAVELENGTHS:
        return
    kept = np.flatnonzero(~bad)
    place_of = {band: n for n, band in enumerate(kept)} | {SOC_CELL: SOC_CELL}
    spectral = tuple(rows.layout.spectral[band] for band in kept)
    rows.layout = replace(rows.layout, spectral=spectral, wavelengths=nm[kept])
    rows.texts = [(row, place_of[band], text) for row, band, text in rows.texts]
    rows.spectra = rows.spectra[:, kept]
    rows.notes.append(
        f"{int(bad.sum())} bands ({nm[bad][0]:g} to {nm[bad][-1]:g} nm) have missing, "
        f"zero or negative values and are left out: they are empty or beyond {low}-"
        f"{high} nm."
    )


def check_cells(rows: Rows) -> None:
    """Report text where a number should be, and missing or infinite values."""
    if rows.texts:
        (row, band, text), *others = rows.texts
        names = [*rows.layout.spectral_names, rows.layout.column("soc")]  # SOC_CELL: -1
        place = rows.first(np.arange(len(rows.soc)) == row)
        if rows.every_row or not rows.layout.published:
            more = f"; {len(others)} more such cells" if others else ""
            remedy = "Write numbers with a decimal point, and nothing else in the cell."
            if band == SOC_CELL and (half_of(text) or NOT_DETECTED.fullmatch(text)):
                remedy = f"{SAY_LIMIT} Else leave the cell empty."
            rows.problems.append(
                f"Column {names[band]!r} must hold numbers, got the text {text!r} "
                f"({place}{more}). {remedy}"
            )
        else:  # not a problem, as in a user's own table
            rows.notes.append(
                f"{len(rows.texts):,} cells of the spectra hold text and count as not "
                f"measured (first: {text!r}, {place}, column {names[band]!r})."
            )
    (_check_missing if rows.every_row else _count_missing)(rows)


def _check_missing(rows: Rows) -> None:
    """Report what is missing in a site, where every value but SOC counts."""
    no_value, unknown = ~np.isfinite(rows.spectra), np.isnan(rows.soc)
    for row, band, _ in rows.texts:
        if band == SOC_CELL:
            unknown[row] = False
        else:
            no_value[row, band] = False
    column = rows.layout.column("soc")
    n_known, n_unknown = int(np.isfinite(rows.soc).sum()), int(unknown.sum())
    if n_unknown == len(rows.soc):
        what = "There is no column of SOC"
        if "soc" in rows.layout.known:
            what = f"Column {column!r} is empty"
        rows.notes.append(f"{what}: all {n_unknown} samples are to be estimated.")
    elif n_unknown:
        rows.notes.append(f"{n_known} samples are measured, {n_unknown} have no SOC.")
    rows.blame(
        np.isinf(rows.soc),
        "Column {soc!r} has {n} infinite values (first: {first}). Remove these samples "
        "or fill in their SOC.",
    )
    rows.blame(
        no_value,
        "The spectra have {n} missing or infinite values (first: {first}). Remove "
        "these samples or wavelengths.",
    )
    rows.facts["measured"] = f"{n_known} samples, {n_unknown} are to be estimated"


def _count_missing(rows: Rows) -> None:
    """Count what is missing in a library; what is infinite is so, too."""
    missing, n_rows = 0, 0
    for block in row_blocks(len(rows.spectra)):
        bad = ~np.isfinite(rows.spectra[block])
        rows.spectra[block][bad] = np.nan
        missing += int(bad.sum())
        n_rows += int(bad.any(axis=1).sum())
    if missing:
        many = f"({missing:,} values are missing)"
        rows.notes.append(
            f"{n_rows:,} rows were not measured at every wavelength {many}."
        )


def check_ids(rows: Rows) -> None:
    """Report samples without an id and ids that are used twice."""
    ids, numbers = pd.Series(rows.sample_ids), rows.numbers
    column = rows.layout.column("sample_id")
    of_all = ids[ids.str.fullmatch(STATISTICS, case=False)]
    if rows.every_row and 0 < len(of_all) <= MAX_STATISTICS:
        rows.problems.append(
            f"Column {column!r} names {of_all.iloc[0]!r} (data row "
            f"{numbers[of_all.index[0]]}; {len(of_all)} such rows): they look like "
            "statistics of the samples above. Remove these rows."
        )
    if (empty := ids == "").any():
        rows.problems.append(
            f"Column {column!r} has {empty.sum()} empty cells (first: data row "
            f"{numbers[empty.argmax()]}). Give each sample its own id."
        )
    if len(again := ids[ids.duplicated(keep=False) & ~empty]):
        first, second = again.index[again == again.iloc[0]][:2]
        of_id = pd.Series(rows.soc[again.index]).groupby(again.to_numpy())
        scans = ", such as with its depth: rows of one id have different SOC."
        if (of_id.nunique() > 1).mean() <= 0.5:
            scans = "; of repeated scans, say replicates='average' or "
            scans += "replicates='separate'."
        rows.problems.append(
            f"Column {column!r} has {again.nunique()} ids that are used more than once "
            f"(first: {again.iloc[0]!r} in data rows {numbers[first]} and "
            f"{numbers[second]}). Give each sample its own id{scans}"
        )


def find_soils(rows: Rows, told: Told) -> pd.Series:
    """Return the soil of each row, and add a question or a note; ids become unique."""
    ids = pd.Series(rows.sample_ids)
    is_repeated = ids.duplicated().any() and (ids != "").all()
    if not (told.replicates or (rows.every_row and not is_repeated)):
        return ids  # that ids are repeated is a problem
    if is_repeated:
        numbers = (ids.groupby(ids).cumcount() + 1).astype(str)
        rows.sample_ids = (ids + "_" + numbers).tolist()
        return _settle(rows, ids, "", told)
    stems = ids.map(lambda name: STEM.sub(r"\1", name))
    runs = pd.Series(np.cumsum(np.r_[True, rows.soc[1:] != rows.soc[:-1]]), dtype=str)
    for keys, share in ((stems, MIN_SHARE), (runs, MIN_SHARE_RUNS)):
        soils = _unite(rows, keys, of_stem=keys is stems)
        if _are_scans(rows, soils, share):
            return _settle(rows, soils, "are nearly equal, with the same SOC", told)
    for keys in (stems, *_patterns(len(ids))):
        if _share_soc(rows.soc, keys):
            soils = _unite(rows, keys, of_stem=keys is stems)
            return _settle(rows, soils, "have the same SOC, soil by soil", told)
    if told.replicates:
        rows.notes.append("No sample seems to have more than one scan.")
    return ids


def _settle(rows: Rows, names: pd.Series, alike: str, told: Told) -> pd.Series:
    """Return the soils with what was told of them, or ask."""
    many = names.groupby(names).transform("size") > 1
    n_scans, n_soils = int(many.sum()), names[many].nunique()
    what = f"{n_scans} spectra are scans of {n_soils} soils"
    if told.replicates == "average":
        what += f": their mean is used, so there are {names.nunique()} samples."
    elif told.replicates:
        what += ": all scans of a soil stay on one side of every split."
    else:
        first, second = np.flatnonzero(names == names[many].iloc[0])[:2]
        rows.problems.append(
            f"{n_scans} spectra look like repeated scans of {n_soils} soils: they "
            f"{alike} (first: {rows.sample_ids[first]!r} and "
            f"{rows.sample_ids[second]!r}). Say replicates='average' to use their "
            "mean, or replicates='separate' to keep them, those of a soil on one side "
            "of every split."
        )
        return pd.Series(rows.sample_ids)
    rows.notes.append(what)
    return names


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
