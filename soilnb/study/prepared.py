"""The prepared study: who may be used for what, decided once and kept on disk."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilnb._validation import check_choice, check_int
from soilnb.datasets import SpectralLibrary
from soilnb.preprocessing import absorbance, snv, working_grid
from soilnb.selection import kennard_stone, random_folds
from soilnb.study.independent import (
    country_rows,
    independent_library,
    why_no_country,
    without_copies,
)

SPLITS = ("kennard_stone", "random")
SPLIT_STREAM = 4  # of the study's seed, apart from those of the folds
N_LOCAL_MIN = 10
N_TEST_MIN = 5  # fewer test samples say nothing
MAX_GAP_NM = 50  # over wider ones, spectra would be invented by interpolation


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
        Rows of `site` in the order in which they were selected.
    test : ndarray of shape (n_test,)
        The other rows of `site`, in their own order; of a study that `first_local`
        made, those of the study it was made from.
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
        return country_rows(self.library, self.site)

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

    def first_local(self, n: int) -> Study:
        """Return the same study with fewer local samples and the same test samples.

        One point of a learning curve: what would the models be worth if only so many
        samples had been measured?

        Parameters
        ----------
        n : int
            Local samples to keep, the first ones that were selected; at least 10 and
            the number of folds, at most as many as there are.

        Returns
        -------
        Study
            With fresh local folds. The samples that are left over are in neither set.

        Raises
        ------
        TypeError
            If `n` is not a whole number.
        ValueError
            If it is out of range, or the SOC of the samples kept does not vary.

        Notes
        -----
        Kennard-Stone selects one sample after the other, so its first n are the n it
        would have selected; the first n of a random order are a random sample too.
        """
        n_local = len(self.local)
        lowest = max(N_LOCAL_MIN, self.n_folds)
        check_int(n, "n", lowest, n_local, " (the local samples)")
        if n == n_local:
            return self
        local = self.local[:n]
        _check_soc_varies(self.site, local, "local")
        note = f"Of {n_local} local samples only the first {n} are used."
        return replace(
            self,
            local=local,
            local_folds=random_folds(n, self.n_folds, self.seed),
            notes=(note, *self.notes),
        )

    def split(self) -> pd.DataFrame:
        """One row per local sample, in order of selection, then per test sample."""
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
        """Digest of the spectra, SOC, countries, split, folds and seed."""
        digest = hashlib.sha256(f"{self.n_folds} {self.seed}".encode())
        for part in (self.library, self.site):
            for column in ("sample_id", "country"):
                digest.update("\n".join(part.info[column]).encode())
            digest.update(part.reflectance.tobytes())
            digest.update(part.soc.tobytes())
        for rows in (self.local, self.test, self.local_folds, self.library_folds):
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


def _select_local(
    site: SpectralLibrary, n_local: int, split: str, seed: int
) -> npt.NDArray[np.intp]:
    """Return the local rows of a site in order of selection; SOC has no say."""
    if split == "random":
        rng = np.random.default_rng([seed, SPLIT_STREAM])
        return rng.permutation(len(site))[:n_local]
    return kennard_stone(snv(absorbance(site.reflectance)), n_local)


class ConstantSocError(ValueError):
    """All local or all test samples have the same SOC: nothing to model or to score."""


def _check_soc_varies(
    site: SpectralLibrary, rows: npt.NDArray[np.integer], which: str
) -> None:
    """Raise ConstantSocError where all these samples have the same SOC."""
    if np.ptp(site.soc[rows]) == 0:
        msg = (
            f"'soc' must vary among the {len(rows)} {which} samples, got "
            f"{site.soc[rows][0]:g} % for all of them. Check the column."
        )
        raise ConstantSocError(msg)


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


def prepare(
    library: SpectralLibrary,
    site: SpectralLibrary,
    *,
    n_local: int = 30,
    n_folds: int = 10,
    wavelength_range: tuple[float, float] = (420, 2480),
    split: str = "kennard_stone",
    seed: int = 1,
) -> Study:
    """Return the study of one site with one library.

    The site is put on the working grid and split into `n_local` local and
    N - `n_local` test samples, without a look at their SOC. The global library is
    every library row that shares no group and no spectrum with the site and covers
    the grid; the country library is its rows from the site's country, where there are
    at least 50.

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
    split : str, default "kennard_stone"
        How the local samples are selected. "kennard_stone": the same ones for every
        seed, spread evenly over the spectra (Euclidean, SNV absorbance). "random":
        drawn by the seed, to see how much a result owes to one split.
    seed : int, default 1
        Seed of the folds, and of the random split.

    Returns
    -------
    Study

    Raises
    ------
    ValueError
        Too few samples, SOC that does not vary, no common range, an unknown split.

    See Also
    --------
    Study.first_local : Fewer local samples, the same test samples.
    """
    check_choice(split, "split", SPLITS)
    check_int(n_local, "n_local", N_LOCAL_MIN)
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
    site, site_notes = without_copies(site, "Samples of the site")
    if len(site) < n_local + N_TEST_MIN:
        msg = (
            f"'site' {site.name!r} must have at least {n_local + N_TEST_MIN} different "
            f"spectra, got {len(site)} among {n_samples} samples. Remove the copies."
        )
        raise ValueError(msg)
    independent, library_notes = independent_library(library, site)
    notes = [*library.notes, *site_notes, *library_notes]
    local = _select_local(site, n_local, split, seed)
    test = np.setdiff1d(np.arange(len(site)), local)
    _check_soc_varies(site, local, "local")
    _check_soc_varies(site, test, "test")
    if split == "random":
        notes.append("The local samples were drawn at random, not by Kennard-Stone.")
    n_country = len(country_rows(independent, site))
    if not n_country:
        notes.append(why_no_country(independent, site))
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
