"""The prepared study: who may be used for what, decided once and kept on disk."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial import KDTree

from soilnb._validation import check_int
from soilnb.datasets import SpectralLibrary
from soilnb.preprocessing import absorbance, snv, working_grid
from soilnb.quality import duplicated_spectra
from soilnb.selection import kennard_stone, random_folds

N_TEST_MIN = 5  # fewer test samples say nothing
LIBRARY_ROWS_MIN = 50  # a smaller library is not used
MAX_GAP_NM = 50  # over wider ones, spectra would be invented by interpolation
# Reflectance: rounding in a file changes a spectrum by less; the nearest spectra of two
# farms of LimeSoDa differ by three times as much.
SAME_SPECTRUM = 5e-3
# In a large library other soils are that near by chance: a row is the site's if it is
# as near as rounding to three decimals leaves it, or if its group holds so much of the
# site. SOC has no say: that of a test sample must decide nothing.
SAME_ROW = 1.2e-3
SAME_SITE_SHARE = 0.5


@dataclass(frozen=True)
class Study:
    """One site, one library, one split.

    Attributes
    ----------
    library : SpectralLibrary
        The global library: rows that share no `group` with the site, cover the
        working grid and are no copies of an earlier row.
    site : SpectralLibrary
        The site on the working grid, all N samples.
    local : ndarray of shape (n_local,)
        Rows of `site` in the order in which Kennard-Stone selected them.
    test : ndarray of shape (n_test,)
        The other rows of `site`, in their own order.
    local_folds, library_folds, country_folds : ndarray of int
        Fold of each local, library and country row.
    n_folds : int
        Number of folds.
    seed : int
        Seed of the folds and of every model.
    notes : tuple of str
        What was left out on the way, in sentences.
    """

    library: SpectralLibrary
    site: SpectralLibrary
    local: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]
    local_folds: npt.NDArray[np.int64]
    library_folds: npt.NDArray[np.int64]
    country_folds: npt.NDArray[np.int64]
    n_folds: int
    seed: int
    notes: tuple[str, ...] = ()

    @property
    def wavelengths(self) -> npt.NDArray[np.float64]:
        """Working grid, nm, shape (n_wavelengths,)."""
        return self.site.wavelengths

    @cached_property
    def country_rows(self) -> npt.NDArray[np.int64]:
        """Rows of `library` from the site's country; empty where too few."""
        return _country_rows(self.library, self.site)

    @cached_property
    def X_site(self) -> npt.NDArray[np.float64]:
        """SNV absorbance of all N samples of the site."""
        return snv(absorbance(self.site.reflectance))

    @property
    def X_local(self) -> npt.NDArray[np.float64]:
        """SNV absorbance of the local samples, in order of selection."""
        return self.X_site[self.local]

    @property
    def y_local(self) -> npt.NDArray[np.float64]:
        """SOC in % of the local samples."""
        return self.site.soc[self.local]

    @property
    def X_test(self) -> npt.NDArray[np.float64]:
        """SNV absorbance of the test samples. Their SOC is asked for by `Fits` only."""
        return self.X_site[self.test]

    @cached_property
    def X_library(self) -> npt.NDArray[np.float64]:
        """SNV absorbance of the global library."""
        return snv(absorbance(self.library.reflectance))

    @property
    def y_library(self) -> npt.NDArray[np.float64]:
        """SOC in % of the global library."""
        return self.library.soc

    @property
    def X_country(self) -> npt.NDArray[np.float64]:
        """SNV absorbance of the country library."""
        return self.X_library[self.country_rows]

    @property
    def y_country(self) -> npt.NDArray[np.float64]:
        """SOC in % of the country library."""
        return self.y_library[self.country_rows]

    @property
    def is_synthetic(self) -> bool:
        """Whether the library or the site was made, not measured."""
        return self.library.is_synthetic or self.site.is_synthetic

    def sample_rows(
        self, rows: npt.NDArray[np.int64], n_most: int
    ) -> npt.NDArray[np.int64]:
        """At most `n_most` of some library rows, drawn at random, increasing."""
        if len(rows) <= n_most:
            return rows
        rng = np.random.default_rng(self.seed)
        return np.sort(rng.choice(rows, n_most, replace=False))

    def localised_folds(self, n_selected: int) -> npt.NDArray[np.int64]:
        """Folds of the k + n localised data: selected rows first, then local ones."""
        return random_folds(n_selected + len(self.local), self.n_folds, self.seed + 3)

    def split(self) -> pd.DataFrame:
        """One row per sample of the site: local ones in order, then the test ones."""
        ids = self.site.info["sample_id"].to_numpy()
        local = pd.DataFrame(
            {
                "sample_id": ids[self.local],
                "set": "local",
                "order": np.arange(1, len(self.local) + 1),
                "fold": self.local_folds,
            }
        )
        test = pd.DataFrame({"sample_id": ids[self.test], "set": "test"})
        both = pd.concat([local, test], ignore_index=True)
        return both.astype({"order": "Int64", "fold": "Int64"})

    def save(self, folder: Path) -> None:
        """Write the study as plain tables and one JSON file."""
        library = _table(self.library)
        country_fold = pd.array([pd.NA] * len(library), dtype="Int64")
        country_fold[self.country_rows] = self.country_folds
        place = library.columns.get_loc("soc")
        library.insert(place, "fold", self.library_folds)
        library.insert(place + 1, "country_fold", country_fold)
        library.to_parquet(folder / "library.parquet")
        _table(self.site).to_parquet(folder / "site.parquet")
        self.split().to_csv(folder / "split.csv", index=False)
        facts = {
            "library": self.library.name,
            "site": self.site.name,
            "n_folds": self.n_folds,
            "seed": self.seed,
            "notes": list(self.notes),
            "site_notes": list(self.site.notes),
            "fingerprint": self.fingerprint,
        }
        (folder / "study.json").write_text(json.dumps(facts, indent=1))

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the spectra, SOC, split, folds and seed."""
        digest = hashlib.sha256(f"{self.n_folds} {self.seed}".encode())
        for part in (self.library, self.site):
            digest.update("\n".join(part.info["sample_id"]).encode())
            digest.update(part.reflectance.tobytes())
            digest.update(part.soc.tobytes())
        for rows in (self.local, self.local_folds, self.library_folds):
            digest.update(rows.astype(np.int64).tobytes())
        return digest.hexdigest()[:16]

    @classmethod
    def load(cls, folder: Path) -> Study:
        """Read a study that `save` wrote."""
        facts = json.loads((folder / "study.json").read_text())
        library = pd.read_parquet(folder / "library.parquet")
        site = pd.read_parquet(folder / "site.parquet")
        split = pd.read_csv(  # a sample may be called NA
            folder / "split.csv",
            dtype={"sample_id": str},
            keep_default_na=False,
            na_values={"order": [""], "fold": [""]},
        )
        rows = pd.Series(range(len(site)), index=site["sample_id"])
        is_local = (split["set"] == "local").to_numpy()
        ids = split["sample_id"].to_numpy()
        country_fold = library.pop("country_fold").dropna()
        return cls(
            library_folds=library.pop("fold").to_numpy(np.int64),
            country_folds=country_fold.to_numpy(np.int64),
            library=_from_table(library, facts["library"]),
            site=_from_table(site, facts["site"], tuple(facts["site_notes"])),
            local=rows[ids[is_local]].to_numpy(np.int64),
            test=rows[ids[~is_local]].to_numpy(np.int64),
            local_folds=split.loc[is_local, "fold"].to_numpy(np.int64),
            n_folds=facts["n_folds"],
            seed=facts["seed"],
            notes=tuple(facts["notes"]),
        )


def _table(part: SpectralLibrary) -> pd.DataFrame:
    """Return identity, SOC and spectra of a library as one wide table."""
    spectra = pd.DataFrame(
        part.reflectance, columns=[f"{value:g}" for value in part.wavelengths]
    )
    return pd.concat([part.info, pd.Series(part.soc, name="soc"), spectra], axis=1)


def _from_table(
    table: pd.DataFrame, name: str, notes: tuple[str, ...] = ()
) -> SpectralLibrary:
    """Return the library that `_table` wrote."""
    info = table.iloc[:, : table.columns.get_loc("soc")]
    spectra = table.iloc[:, table.columns.get_loc("soc") + 1 :]
    return SpectralLibrary(
        name=name,
        reflectance=spectra.to_numpy(np.float32),
        wavelengths=spectra.columns.to_numpy().astype(np.float64),
        soc=table["soc"].to_numpy(np.float64),
        info=info,
        notes=notes,
    )


def _country_rows(
    library: SpectralLibrary, site: SpectralLibrary
) -> npt.NDArray[np.int64]:
    """Return the library rows of the site's country, or none where too few."""
    countries = site.info["country"].unique()
    if len(countries) != 1 or not countries[0]:
        return np.array([], dtype=np.int64)
    of_rows = library.info["country"].str.casefold()
    rows = np.flatnonzero(of_rows == countries[0].casefold())
    return rows if len(rows) >= LIBRARY_ROWS_MIN else rows[:0]


def _check_gaps(
    measured: npt.NDArray[np.float64], grid: npt.NDArray[np.float64]
) -> None:
    """Raise ValueError where the grid would be interpolated over a wide gap."""
    edges = measured[(measured > grid[0]) & (measured < grid[-1])]
    edges = np.concatenate([grid[:1], edges, grid[-1:]])
    widest = int(np.diff(edges).argmax())
    if edges[widest + 1] - edges[widest] > MAX_GAP_NM:
        msg = (
            f"The site's wavelengths must be at most {MAX_GAP_NM} nm apart, got none "
            f"between {edges[widest]:g} and {edges[widest + 1]:g} nm. Choose a "
            "'wavelength_range' without the gap."
        )
        raise ValueError(msg)


def _no_country(library: SpectralLibrary, site: SpectralLibrary) -> str:
    """Return why there is no country library."""
    of_site = set(site.info["country"])
    name = f"({of_site.pop()}) " if len(of_site) == 1 and "" not in of_site else ""
    known = sorted(set(library.info["country"]) - {""})
    return (
        f"The country models are not run: fewer than {LIBRARY_ROWS_MIN} library rows "
        f"are known to come from the site's country {name}"
        f"among {', '.join(known) or 'none named'}."
    )


def _shared_rows(
    library: SpectralLibrary, site: SpectralLibrary
) -> npt.NDArray[np.bool_]:
    """Return which library rows are also in the site, by spectrum.

    A group that holds the spectra of most of the site is the site, and all of it goes.
    A library without groups is one group; of it only the shared rows are meant.
    """
    bands = np.linspace(0, library.reflectance.shape[1] - 1, 8).astype(int)
    tree = KDTree(library.reflectance[:, bands])  # few bands find candidates quickly
    near = tree.query_ball_point(site.reflectance[:, bands], SAME_SPECTRUM, p=np.inf)
    alike, shared = np.zeros((2, len(library)), dtype=bool)
    groups = library.info["group"].to_numpy()
    found_in: Counter[str] = Counter()
    for spectrum, rows in zip(site.reflectance, near, strict=True):
        candidates = np.array(rows, dtype=np.intp)
        gaps = np.abs(library.reflectance[candidates] - spectrum).max(axis=1)
        same = candidates[gaps <= SAME_SPECTRUM]
        alike[same] = True
        shared[candidates[gaps <= SAME_ROW]] = True
        found_in.update(set(groups[same]))
    least = SAME_SITE_SHARE * len(site)
    own = [group for group, count in found_in.items() if count >= least]
    of_site = np.isin(groups, own)
    shared |= of_site if len(set(groups)) > 1 else of_site & alike
    return shared


def _without_copies(
    part: SpectralLibrary, what: str
) -> tuple[SpectralLibrary, list[str]]:
    """Return a library or site without copies of earlier rows, and a note on them.

    A copy in another fold, or in the test, would be a sample that the model has seen.
    """
    earlier = duplicated_spectra(part.reflectance)
    copies = np.flatnonzero(earlier >= 0)
    if not len(copies):
        return part, []
    differ = int(np.sum(part.soc[copies] != part.soc[earlier[copies]]))
    first = copies[0]
    ids = part.info["sample_id"]
    note = (
        f"{what} that copy an earlier spectrum, left out: {len(copies)}, {differ} of "
        f"them with another SOC (first: {ids[first]!r}, {part.soc[first]:.3g} %, a "
        f"copy of {ids[earlier[first]]!r}, {part.soc[earlier[first]]:.3g} %)."
    )
    return part.take(earlier < 0), [note]


def _global_library(
    library: SpectralLibrary, site: SpectralLibrary
) -> tuple[SpectralLibrary, list[str]]:
    """Return the library without the site, on the site's grid, and what was left."""
    grid = site.wavelengths
    own = library.info["group"].isin(set(site.info["group"])).to_numpy()
    independent = library.take(~own)
    on_grid = independent.on_grid(grid)
    notes = []
    if own.any():
        notes.append(f"{own.sum()} library rows are the site itself and are left out.")
    if len(on_grid) < len(independent):
        notes.append(
            f"{len(independent) - len(on_grid)} library rows do not cover "
            f"{grid[0]:g}-{grid[-1]:g} nm and are left out."
        )
    if len(on_grid):
        shared = _shared_rows(on_grid, site)
        if shared.any():
            named = ", ".join(sorted(set(on_grid.info["group"][shared])))
            notes.append(
                f"Library rows that are samples of the site, by spectrum, left "
                f"out: {shared.sum()} ({named})."
            )
            on_grid = on_grid.take(~shared)
    if len(on_grid):
        on_grid, note = _without_copies(on_grid, "Library rows")
        notes += note
    if len(on_grid) < LIBRARY_ROWS_MIN:
        msg = (
            f"'library' {library.name!r} must have at least {LIBRARY_ROWS_MIN} rows "
            f"that cover the site's working grid, {grid[0]:g}-{grid[-1]:g} nm, got "
            f"{len(on_grid)}. Narrow 'wavelength_range' or use another library. "
            + " ".join(notes)
        )
        raise ValueError(msg.rstrip())
    return on_grid, notes


def prepare(
    library: SpectralLibrary,
    site: SpectralLibrary,
    *,
    n_local: int = 30,
    n_folds: int = 10,
    wavelength_range: tuple[float, float] = (420, 2480),
    seed: int = 1,
) -> Study:
    """Return the study of one site with one library.

    The site is put on the working grid and split by Kennard-Stone (Euclidean, on
    SNV absorbance, spectra only) into `n_local` local and N - `n_local` test
    samples. The global library is every library row that shares no group and no
    spectrum with the site and covers the grid; the country library is its rows from
    the site's country, where there are at least 50.

    Parameters
    ----------
    library, site : SpectralLibrary
        Any wavelengths; both are brought to the working grid here.
    n_local : int, default 30
        Local samples, at least 10; at least 5 must be left for the test.
    n_folds : int, default 10
        Folds of the cross-validation, from 2 to `n_local`.
    wavelength_range : tuple of two floats, default (420, 2480)
        Wanted range, nm; it is cut to the site's own range.
    seed : int, default 1
        Seed of the folds.

    Returns
    -------
    Study

    Raises
    ------
    ValueError
        Too few samples, SOC that does not vary, no common range.
    """
    check_int(n_local, "n_local", 10)
    check_int(n_folds, "n_folds", 2, n_local, " (n_local)")
    check_int(seed, "seed", 1)
    if len(site) < n_local + N_TEST_MIN:
        msg = (
            f"'site' {site.name!r} must have at least n_local + {N_TEST_MIN} = "
            f"{n_local + N_TEST_MIN} samples, got {len(site)}. Add samples or lower "
            f"'n_local' (now {n_local})."
        )
        raise ValueError(msg)
    grid = working_grid(site.wavelengths, wavelength_range)
    _check_gaps(site.wavelengths, grid)
    site = site.on_grid(grid)
    n_samples = len(site)
    site, site_notes = _without_copies(site, "Samples of the site")
    if len(site) < n_local + N_TEST_MIN:
        msg = (
            f"'site' {site.name!r} must have at least {n_local + N_TEST_MIN} different "
            f"spectra, got {len(site)} among {n_samples} samples. Remove the copies."
        )
        raise ValueError(msg)
    independent, library_notes = _global_library(library, site)
    notes = [*library.notes, *site_notes, *library_notes]
    local = kennard_stone(snv(absorbance(site.reflectance)), n_local)
    test = np.setdiff1d(np.arange(len(site)), local)
    for rows, which in ((local, "local"), (test, "test")):
        if np.ptp(site.soc[rows]) == 0:
            msg = (
                f"'soc' must vary among the {len(rows)} {which} samples, got "
                f"{site.soc[rows][0]:g} % for all of them. Check the column."
            )
            raise ValueError(msg)
    n_country = len(_country_rows(independent, site))
    if not n_country:
        notes.append(_no_country(independent, site))
    return Study(
        library=independent,
        site=site,
        local=local,
        test=test,
        local_folds=random_folds(n_local, n_folds, seed),
        library_folds=random_folds(len(independent), n_folds, seed + 1),
        country_folds=(
            random_folds(n_country, n_folds, seed + 2)
            if n_country
            else np.array([], dtype=np.int64)
        ),
        n_folds=n_folds,
        seed=seed,
        notes=tuple(notes),
    )
