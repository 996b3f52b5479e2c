"""The soil spectral library: spectra, soil organic carbon and where they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilnb._blocks import row_blocks
from soilnb._validation import Floats, check_rows, check_vector
from soilnb.preprocessing import (
    GRID_STEP_NM,
    MAX_REFLECTANCE,
    check_wavelengths,
    resample,
)

SYNTHETIC = "synthetic"  # the source of rows that were made, not measured
SOM_PER_SOC = 1.724  # van Bemmelen: organic matter is 58 % carbon
INFO_COLUMNS = ("sample_id", "source", "group", "country", "carbon_kind", "licence")


@dataclass(frozen=True, eq=False)
class SpectralLibrary:
    """Spectra with their soil organic carbon (SOC): a library, or one site.

    `reflectance` (n_samples, n_wavelengths) is a fraction, float32, NaN where a row was
    not measured; `wavelengths` are in nm, float64, strictly increasing; `soc`
    (n_samples,) in % of mass, float64, NaN where not measured. `info` has one row per
    sample: sample_id (unique within its source), source, group (library rows that share
    a group with the site are left out), country ("" where unknown), carbon_kind,
    licence; further columns are kept. `notes` are sentences: what was understood,
    converted or ignored. A ValueError says if shapes do not match, a value is outside
    its range or a sample id is repeated within its source.

    >>> info = pd.DataFrame({column: ["a", "b"] for column in INFO_COLUMNS})
    >>> library = SpectralLibrary("two", [[0.1, 0.2], [0.3, 0.4]], [400, 500],
    ...                           [1.0, 2.0], info)
    >>> len(library), library.take([1]).soc
    (2, array([2.]))
    """

    name: str
    reflectance: npt.NDArray[np.float32]
    wavelengths: Floats
    soc: Floats
    info: pd.DataFrame
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Bring every field to its documented type and check it."""
        fields = {
            "reflectance": np.ascontiguousarray(self.reflectance, dtype=np.float32),
            "wavelengths": check_wavelengths(self.wavelengths),
            "soc": np.asarray(self.soc, dtype=np.float64),
            "info": self.info.reset_index(drop=True),
            "notes": tuple(self.notes),
        }
        for field, value in fields.items():
            object.__setattr__(self, field, value)
        _check_reflectance(self.reflectance, self.wavelengths)
        _check_soc(self.soc)
        check_rows(self.soc, "soc", self.reflectance, "reflectance")
        _check_info(self.info, self.reflectance)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.soc)

    @property
    def is_synthetic(self) -> bool:
        """Whether any sample was made, not measured."""
        return bool((self.info["source"] == SYNTHETIC).any())

    def take(self, rows: npt.ArrayLike) -> SpectralLibrary:
        """Return the library of some rows: numbers, in the order wanted, or a mask."""
        rows = np.asarray(rows)
        if rows.dtype == bool and rows.all():
            return self  # a large library is not there twice
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.intp)
        parts = {"reflectance": self.reflectance[rows], "soc": self.soc[rows]}
        return replace(self, info=self.info.iloc[rows], **parts)  # type: ignore[arg-type]

    def by_soil(self) -> SpectralLibrary:
        """Return the mean scan of each soil, where info has the column `soil`.

        The sample is called as the soil, what else is known of it is that of its first
        scan.
        """
        if "soil" not in self.info:
            return self
        codes, names = pd.factorize(self.info["soil"])

        def average(values: npt.NDArray) -> npt.NDArray:  # without those that are NaN
            means = pd.DataFrame(values).groupby(codes).mean().to_numpy(values.dtype)
            return means.reshape(-1, *values.shape[1:])

        info = self.info[~self.info["soil"].duplicated()].drop(columns="soil")
        return replace(
            self,
            reflectance=average(self.reflectance),
            soc=average(self.soc),
            info=info.assign(sample_id=[*names]),
        )

    def on_grid(self, grid: npt.ArrayLike) -> SpectralLibrary:
        """Return the library on a grid (nm, increasing), without rows not on all of it.

        No value is missing then; it may have no rows.
        """
        spectra = np.empty((len(self), np.size(grid)), np.float32)
        covered = np.empty(len(self), dtype=bool)
        for rows in row_blocks(len(self)):
            spectra[rows] = resample(self.reflectance[rows], self.wavelengths, grid)
            covered[rows] = np.isfinite(spectra[rows]).all(axis=1)
        resampled = replace(self, reflectance=spectra, wavelengths=grid)  # type: ignore[arg-type]
        return resampled.take(covered)


def _check_reflectance(
    reflectance: npt.NDArray[np.float32], wavelengths: Floats
) -> None:
    """Raise ValueError unless there is one column per wavelength, of fractions."""
    if reflectance.ndim != 2 or reflectance.shape[1] != len(wavelengths):
        msg = (
            f"'reflectance' has shape {reflectance.shape} but 'wavelengths' has "
            f"{len(wavelengths)} values: one column for each is needed."
        )
        raise ValueError(msg)
    for rows in row_blocks(len(reflectance)):
        bad = (reflectance[rows] <= 0) | (reflectance[rows] > MAX_REFLECTANCE)
        if bad.any():
            row, column = np.argwhere(bad)[0] + [rows.start, 0]
            msg = (
                "'reflectance' must be a fraction above 0 and at most "
                f"{MAX_REFLECTANCE}, got {reflectance[row, column]:.3g} at row {row}. "
                "Divide percent by 100; use NaN for what was not measured."
            )
            raise ValueError(msg)


def _check_soc(soc: Floats) -> None:
    """Raise ValueError unless `soc` is a vector of percentages, or NaN."""
    if soc.ndim != 1:
        msg = f"'soc' must be 1D, got shape {soc.shape}."
        raise ValueError(msg)
    bad = (soc < 0) | (soc > 100)
    if bad.any():
        row = int(np.argmax(bad))
        msg = (
            f"'soc' must be % of mass between 0 and 100, got {soc[row]:g} at row "
            f"{row}. Divide g/kg by 10; use NaN for what was not measured."
        )
        raise ValueError(msg)


def _check_info(info: pd.DataFrame, reflectance: npt.NDArray[np.float32]) -> None:
    """Raise ValueError unless `info` describes every sample once."""
    missing = [column for column in INFO_COLUMNS if column not in info]
    if missing:
        msg = f"'info' has no column {', '.join(map(repr, missing))}. Add it."
        raise ValueError(msg)
    check_rows(info.index.to_numpy(), "info", reflectance, "reflectance")
    repeated = info.duplicated(["source", "sample_id"])
    if repeated.any():
        row = int(np.argmax(repeated))
        msg = (
            "'sample_id' must be unique within its source, got "
            f"{info['sample_id'][row]!r} again at row {row}. Rename it."
        )
        raise ValueError(msg)


def concatenate(libraries: Sequence[SpectralLibrary], name: str) -> SpectralLibrary:
    """Return several libraries as one, at the multiples of 10 nm that any covers.

    Rows are in the order given, NaN at the wavelengths a part was not measured at, with
    the notes of all parts, each sentence once. A ValueError if there is no library, or
    two parts share a source and a sample id.
    """
    if not libraries:
        msg = "'libraries' must have at least one library, got none."
        raise ValueError(msg)
    grids = [own_grid(part.wavelengths) for part in libraries]
    grid = np.unique(np.concatenate(grids))
    spectra = [resample(part.reflectance, part.wavelengths, grid) for part in libraries]
    return SpectralLibrary(
        name=name,
        reflectance=np.concatenate(spectra).astype(np.float32),
        wavelengths=grid,
        soc=np.concatenate([part.soc for part in libraries]),
        info=pd.concat([part.info for part in libraries], ignore_index=True),
        notes=tuple(dict.fromkeys(note for part in libraries for note in part.notes)),
    )


def own_grid(wavelengths: Floats) -> Floats:
    """Return the multiples of 10 nm within some wavelengths."""
    first, last = wavelengths[[0, -1]] / GRID_STEP_NM
    return GRID_STEP_NM * np.arange(np.ceil(first), np.floor(last) + 1)


def describe(soc: npt.ArrayLike) -> pd.Series:
    """Return the statistics of soil organic carbon (% of mass), as in Table 1.

    n (number of samples), mean, sd (divides by n - 1; NaN for one sample), min, q1,
    median, q3, max; quartiles are linear. A ValueError if `soc` is not 1D, is empty or
    has missing values. Table 1: Shen et al. (2022),
    doi:10.1016/j.isprsjprs.2022.04.009.

    >>> describe([1.0, 2.0, 3.0])[["n", "sd", "q1"]].to_list()
    [3.0, 1.0, 1.5]
    """
    values = pd.Series(check_vector(soc, "soc"))
    found = values.describe().rename({"count": "n", "std": "sd", "50%": "median"})
    return found.rename({"25%": "q1", "75%": "q3"}).rename("soc")
