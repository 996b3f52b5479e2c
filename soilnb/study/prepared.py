"""The prepared study: who may be used for what, decided once and kept on disk."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilnb._blocks import is_large
from soilnb._validation import Floats, check_choice, check_int
from soilnb.datasets import SpectralLibrary
from soilnb.preprocessing import absorbance, snv, snv_absorbance, working_grid
from soilnb.quality import duplicated_spectra
from soilnb.selection import Samples, random_folds
from soilnb.study.independent import (
    country_rows,
    independent_library,
    why_no_country,
    without_copies,
)
from soilnb.study.kept import SEEN, map_spectra, read_study, write_study
from soilnb.study.split import (
    DRAWN,
    N_LOCAL_MIN,
    N_TEST_MIN,
    OF_A_SPLIT,
    UNTESTED,
    check_soc_varies,
    check_split,
    divide,
    folds_of,
    soils_of,
)

MAX_GAP_NM = 50  # over wider ones, spectra would be invented by interpolation
MAX_GAP_LEFT_NM = 100  # between detectors, where the bands of the gap are left out
LIBRARIES = ("global", "country")
NOWHERE = "they are estimated, and in no model"
GROUPED = "Samples of one group are on one side of the split and of every fold."


@dataclass(frozen=True)
class Study:
    """One site, one library, one split.

    `library` is the global library: rows that share no `group` with the site, cover the
    working grid and are no copies of an earlier row; `site` all N samples on that grid.
    `local` are rows of the site in the order in which they were selected, `test` its
    other measured rows, in their own order (of a study that `first_local` made, those
    of the study it was made from; none where too few are measured). `local_folds`,
    `library_folds` and `country_folds` are the fold of each such row, `n_folds` their
    number, `seed` that of the folds and of every model, `notes` what was left out on
    the way, in sentences, and `kept` the folder of the spectra of a large library,
    which several studies may share.
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
    kept: Path | None = None

    @property
    def wavelengths(self) -> Floats:
        """Working grid, nm, shape (n_wavelengths,)."""
        return self.site.wavelengths

    @cached_property
    def country_rows(self) -> npt.NDArray[np.int64]:
        """Rows of `library` from the site's country; empty where too few."""
        return country_rows(self.library, self.site)

    @cached_property
    def X_site(self) -> Floats:
        """SNV absorbance of all N samples of the site."""
        return snv(absorbance(self.site.reflectance))

    @property
    def X_test(self) -> Floats:
        """SNV absorbance of the test samples. Their SOC is asked for by `Fits` only."""
        return self.X_site[self.test]

    @cached_property
    def _X_library(self) -> npt.NDArray[np.floating]:
        """SNV absorbance of the global library; of a large one a map of its file."""
        if self.kept:
            return map_spectra(self.kept, SEEN)
        return snv_absorbance(self.library.reflectance)

    def spectra(
        self, rows: npt.NDArray[np.integer] | None = None
    ) -> npt.NDArray[np.floating]:
        """Return SNV absorbance of rows of the library, by default of all.

        Double precision, but of so many rows that they are a large matrix.
        """
        if rows is None:
            return self._X_library
        shape = (len(rows), len(self.wavelengths))
        is_made = "_X_library" in self.__dict__ and not self.is_large
        if is_large(shape) or is_made:
            return self._X_library[rows]
        if not len(rows):
            return np.empty(shape)
        return snv_absorbance(self.library.reflectance[rows])

    @cached_property
    def soils(self) -> npt.NDArray[np.int64]:
        """Number of each site row's soil: rows of one are never parted by a split."""
        return soils_of(self.site)

    @property
    def n_local(self) -> int:
        """Number of local soils; of local samples, where each is a soil of its own."""
        return len(np.unique(self.soils[self.local]))

    @property
    def n_measured(self) -> int:
        """Number of measured soils of the site."""
        return len(np.unique(self.soils[np.isfinite(self.site.soc)]))

    @property
    def unmeasured(self) -> npt.NDArray[np.int64]:
        """Rows of `site` without SOC: they are neither local nor test samples."""
        return np.flatnonzero(np.isnan(self.site.soc))

    @property
    def is_large(self) -> bool:
        """Whether the spectra of the library are kept once for all sites."""
        return is_large(self.library.reflectance.shape)

    @property
    def is_synthetic(self) -> bool:
        """Whether the library or the site was made, not measured."""
        return self.library.is_synthetic or self.site.is_synthetic

    def samples(self, part: str, n_most: int | None = None) -> Samples:
        """Return SNV absorbance, SOC in % and folds of samples that models learn from.

        `part` is "local", in order of selection, "global" or "country" (which a study
        may not have); more than `n_most` are drawn by the study's seed.
        """
        if part == "local":
            rows, folds = self.local, self.local_folds
        else:
            self.check_has(part)
            rows, folds = None, self.library_folds
        if part == "country":
            rows, folds = self.country_rows, self.country_folds
        if n_most is not None and n_most < len(folds):  # only these spectra are made
            drawn = self.draw(len(folds), n_most)
            rows = drawn if rows is None else rows[drawn]
            folds = folds[drawn]
        if part == "local":
            return Samples(self.X_site[rows], self.site.soc[rows], folds)
        y = self.library.soc if rows is None else self.library.soc[rows]
        return Samples(self.spectra(rows), y, folds)  # type: ignore[arg-type]

    def n_rows(self, library: str) -> int:
        """Return the number of rows of "global" or "country"; 0 of one not there."""
        return len(self.library if library == "global" else self.country_rows)

    def check_has(self, library: str) -> None:
        """Raise ValueError where the study has no such library."""
        check_choice(library, "library", LIBRARIES)
        if library == "country" and not len(self.country_rows):
            msg = (
                f"'library' must be 'global' for the site {self.site.name!r}, got "
                "'country': it has no country library. Leave the country models out."
            )
            raise ValueError(msg)

    def draw(self, n_rows: int, n_most: int) -> npt.NDArray[np.int64]:
        """Return at most `n_most` of so many rows, drawn by the seed, increasing."""
        if n_rows <= n_most:
            return np.arange(n_rows)
        rng = np.random.default_rng(self.seed)
        return np.sort(rng.choice(n_rows, n_most, replace=False))

    def localised(self, library_rows: npt.ArrayLike) -> Samples:
        """Return the k + n localised samples: selected library rows, then local ones.

        Rows are those of `library`, as RS-LOCAL selected them; the folds mix both.
        """
        rows = np.asarray(library_rows, dtype=np.intp)
        local = self.samples("local")
        return Samples(
            np.concatenate([self.spectra(rows), local.X]),
            np.concatenate([self.library.soc[rows], local.y]),
            self.localised_folds(len(rows)),
        )

    def localised_folds(self, n_selected: int) -> npt.NDArray[np.int64]:
        """Folds of the k + n localised data: selected rows first, then local ones."""
        folds = random_folds(n_selected + self.n_local, self.n_folds, self.seed + 3)
        own = pd.factorize(self.soils[self.local])[0]
        return np.concatenate([folds[:n_selected], folds[n_selected:][own]])

    def with_split(self, **changes: Any) -> Study:
        """Return the study of other rows; spectra as models see them stay."""
        made = replace(self, **changes)
        for name in ("X_site", "_X_library", "country_rows", "soils"):
            if name in self.__dict__:
                made.__dict__[name] = self.__dict__[name]
        return made

    def resplit(
        self,
        *,
        split: str = "kennard_stone",
        n_local: int | None = None,
        seed: int | None = None,
    ) -> Study:
        """Return the study that `prepare` would make with another split or seed.

        Site and library are those at hand: nothing is read or prepared again. What is
        left out is as in this study; options and refusals are those of `prepare`.
        """
        n_local = self.n_local if n_local is None else n_local
        seed = self.seed if seed is None else seed
        local, test = divide(self, split=split, n_local=n_local, seed=seed)
        notes = [note for note in self.notes if not OF_A_SPLIT.fullmatch(note)]
        if split == "random":
            notes.insert(0, DRAWN)
        if not len(test):
            notes.insert(0, UNTESTED)
        none = np.array([], dtype=np.int64)
        n_country = len(self.country_rows)
        return self.with_split(
            local=local,
            test=test,
            local_folds=folds_of(self.soils[local], self.n_folds, seed),
            library_folds=random_folds(len(self.library), self.n_folds, seed + 1),
            country_folds=random_folds(n_country, self.n_folds, seed + 2)
            if n_country
            else none,
            seed=seed,
            notes=tuple(notes),
        )

    def first_local(self, n: int) -> Study:
        """Return the same study with fewer local samples and the same test samples.

        The first `n` that were selected are kept, at least 10 and the number of folds:
        those that Kennard-Stone would have selected, or a random sample. Those that are
        left over are in neither set.
        """
        n_local = self.n_local
        lowest = max(N_LOCAL_MIN, self.n_folds)
        check_int(n, "n", lowest, n_local, " (the local samples)")
        if n == n_local:
            return self
        local = self.local[pd.factorize(self.soils[self.local])[0] < n]
        check_soc_varies(self.site, local, "local")
        note = f"Of {n_local} local samples only the first {n} are used."
        return self.with_split(
            local=local,
            local_folds=folds_of(self.soils[local], self.n_folds, self.seed),
            notes=(note, *self.notes),
        )

    def split(self) -> pd.DataFrame:
        """Return a row per local sample, in order of selection, then per other one."""
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
        rest = pd.DataFrame({"sample_id": ids[self.unmeasured], "set": "unmeasured"})
        parts = pd.concat([local, test, rest], ignore_index=True)
        return parts.astype({"order": "Int64", "fold": "Int64"})

    def save(self, folder: Path, shared: Path | None = None) -> None:
        """Write the study as plain tables and one JSON file.

        The spectra of a large library are in a folder of their own below `shared`, by
        default here, to which the study refers.
        """
        write_study(self, folder, shared or folder)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the spectra, SOC, countries, split, folds and seed."""
        digest = hashlib.sha256(f"{self.n_folds} {self.seed}".encode())
        for part in (self.library, self.site):
            for column in ("sample_id", "country"):
                digest.update("\n".join(part.info[column]).encode())
            digest.update(part.reflectance.data)
            digest.update(part.soc.tobytes())
        for rows in (self.local, self.test, self.local_folds, self.library_folds):
            digest.update(rows.astype(np.int64).tobytes())
        return digest.hexdigest()[:16]

    @classmethod
    def load(cls, folder: Path) -> Study:
        """Read a study that `save` wrote."""
        fields, fingerprint = read_study(folder)
        made = cls(**fields)
        if made.kept:  # named by its contents, which need not be read for it again
            made.__dict__["fingerprint"] = fingerprint
        return made


def _without_site_copies(
    site: SpectralLibrary, n_least: int
) -> tuple[SpectralLibrary, list[str]]:
    """Return a site without copies of measured samples; those without SOC all stay."""
    measured = np.flatnonzero(np.isfinite(site.soc))
    different, notes = without_copies(site.take(measured), "Samples of the site")
    if len(different) < n_least:
        msg = (
            f"'site' {site.name!r} must have at least {n_least} different "
            f"spectra, got {len(different)} among {len(measured)} samples. Remove the "
            "copies."
        )
        raise ValueError(msg)
    is_kept = np.isnan(site.soc)
    is_kept[measured] = duplicated_spectra(site.reflectance[measured]) < 0
    if len(measured) < len(site):
        n = len(site) - len(measured)
        notes.append(f"{n} samples of the site have no SOC: {NOWHERE}.")
    return site.take(is_kept), notes


def _without_gaps(measured: Floats, grid: Floats) -> tuple[Floats, list[str]]:
    """Return the grid without its bands in a detector's gap; refuse wider ones."""
    edges = measured[(measured > grid[0]) & (measured < grid[-1])]
    edges = np.concatenate([grid[:1], edges, grid[-1:]])
    kept, notes = np.ones(len(grid), dtype=bool), []
    for low, high in itertools.pairwise(edges):
        if high - low > MAX_GAP_LEFT_NM:
            msg = (
                f"The site's wavelengths must be at most {MAX_GAP_NM} nm apart, got "
                f"none between {low:g} and {high:g} nm. Choose a 'wavelength_range' "
                "without the gap."
            )
            raise ValueError(msg)
        if high - low > MAX_GAP_NM:
            kept &= (grid <= low) | (grid >= high)
            notes.append(
                f"Nothing was measured between {low:g} and {high:g} nm: these bands "
                "are left out."
            )
    return grid[kept], notes


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

    The site is put on the working grid and split into `n_local` local and N - `n_local`
    test samples, without a look at their SOC. The global library is every library row
    that shares no group and no spectrum with the site and covers the grid; the country
    library is its rows from the site's country, where there are at least 50. A
    ValueError says what is wrong: too few samples, SOC that does not vary, no common
    range, an option out of its own.

    Parameters
    ----------
    library, site : SpectralLibrary
        Any wavelengths; both are brought to the working grid here.
    n_local : int, default 30
        Local samples, at least 10; of soils with several scans (`soil` in the site's
        info, or 15 and more values of `group`) local soils, all scans of each. At
        least 5 others must have SOC, for the test. A site with fewer than 35 measured
        samples and others without SOC may have no test: all that are measured are
        local then.
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
    """
    check_split(site, split, n_local, n_folds, seed)
    grid = working_grid(site.wavelengths, wavelength_range)
    grid, gap_notes = _without_gaps(site.wavelengths, grid)
    is_measured = np.isfinite(site.soc).all()
    n_least = n_local + N_TEST_MIN if is_measured else N_LOCAL_MIN
    site, site_notes = _without_site_copies(site.on_grid(grid), n_least)
    is_known = np.isfinite(library.soc)
    if not is_known.all():
        note = f"{(~is_known).sum()} library rows have no SOC and are left out."
        library = replace(library.take(is_known), notes=(*library.notes, note))
    independent, library_notes = independent_library(library, site)
    notes = [*library.notes, *gap_notes, *site_notes, *library_notes]
    if len(np.unique(soils_of(site))) < len(site):
        notes.append(GROUPED)
    elif site.info["group"].nunique() > 1:
        n_groups = site.info["group"].nunique()
        notes.append(
            f"The {n_groups} groups of the site are too few to keep each on one side "
            "of the split: its samples are split one by one."
        )
    if not len(country_rows(independent, site)):
        notes.append(why_no_country(independent, site))
    parts = ("local", "test", "local_folds", "library_folds", "country_folds")
    undecided: Any = dict.fromkeys(parts, np.array([], dtype=np.int64))
    undivided = Study(
        library=independent,
        site=site,
        **undecided,
        n_folds=n_folds,
        seed=seed,
        notes=tuple(notes),
    )
    return undivided.resplit(split=split, n_local=n_local, seed=seed)
