"""Which samples of a site are local and which are test; SOC has no say in it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilnb._validation import Floats, Rows, check_choice, check_int
from soilnb.datasets import SpectralLibrary
from soilnb.selection import kennard_stone, random_folds

if TYPE_CHECKING:
    from soilnb.study.prepared import Study

SPLITS = ("kennard_stone", "random")
SPLIT_STREAM = 4  # of the study's seed, apart from those of the folds
N_LOCAL_MIN = 10
N_TEST_MIN = 5  # fewer test samples say nothing
N_TESTED = 35  # with fewer measured samples, others unmeasured, none is kept for a test
DRAWN = "The local samples were drawn at random, not by Kennard-Stone."
UNTESTED = (
    "All measured samples are local: too few are measured for a test, so no model is "
    "scored."
)
# Notes on the split, which another split does not have.
OF_A_SPLIT = re.compile(
    rf"{re.escape(DRAWN)}|{re.escape(UNTESTED)}|"
    r"Of \d+ local samples only the first \d+ are used\."
)


class ConstantSocError(ValueError):
    """All local or all test samples have the same SOC: nothing to model or to score."""


def soils_of(site: SpectralLibrary) -> npt.NDArray[np.int64]:
    """Return a number for each row's soil: of its scans, or of many small groups."""
    is_scans = "soil" in site.info
    codes = pd.factorize(site.info["soil" if is_scans else "group"])[0]
    if is_scans or codes.max(initial=0) + 1 >= N_LOCAL_MIN + N_TEST_MIN:
        return codes.astype(np.int64)
    return np.arange(len(site))


def folds_of(
    soils: npt.NDArray[np.integer], n_folds: int, seed: int
) -> npt.NDArray[np.int64]:
    """Return the fold of each row, the same for all rows of a soil."""
    codes = pd.factorize(soils)[0]
    return random_folds(int(codes.max()) + 1, n_folds, seed)[codes]


def divide(study: Study, *, split: str, n_local: int, seed: int) -> tuple[Rows, Rows]:
    """Return the local rows of a study's site in order of selection, and the test."""
    site = study.site
    check_split(site, split, n_local, study.n_folds, seed)
    measured = np.flatnonzero(np.isfinite(site.soc))
    soils = pd.factorize(study.soils[measured])[0]
    n_soils = int(soils.max()) + 1
    n_local = min(n_local, n_soils)
    if n_soils < n_local + N_TEST_MIN:
        n_local = n_soils  # none is left for a test
    spectra = pd.DataFrame(study.X_site[measured]).groupby(soils).mean().to_numpy()
    selected = select_local(spectra, n_local, split, seed)
    local = np.concatenate([measured[soils == soil] for soil in selected])
    test = np.setdiff1d(measured, local)
    check_soc_varies(site, local, "local")
    if len(test):
        check_soc_varies(site, test, "test")
    return local, test


def select_local(X: Floats, n_local: int, split: str, seed: int) -> Rows:
    """Return the local rows of a site in order of selection; SOC has no say."""
    if split == "random":
        rng = np.random.default_rng([seed, SPLIT_STREAM])
        return rng.permutation(len(X))[:n_local]
    return kennard_stone(X, n_local)


def check_split(
    site: SpectralLibrary, split: str, n_local: int, n_folds: int, seed: int
) -> None:
    """Raise unless a site can be split so; samples without SOC do not count."""
    check_choice(split, "split", SPLITS)
    check_int(n_local, "n_local", N_LOCAL_MIN)
    check_int(n_folds, "n_folds", 2, n_local, " (n_local)")
    check_int(seed, "seed", 1)
    n_measured = len(np.unique(soils_of(site)[np.isfinite(site.soc)]))
    if n_measured < min(len(site), N_TESTED):
        if n_measured < N_LOCAL_MIN:
            msg = (
                f"'site' {site.name!r} must have at least {N_LOCAL_MIN} measured "
                f"samples, got {n_measured} with SOC among {len(site)}. Choose some "
                "with soilnb choose, fill in the column soc, give it with --measured."
            )
            raise ValueError(msg)
    elif n_measured < n_local + N_TEST_MIN:
        among = f" with SOC among {len(site)}" if n_measured < len(site) else ""
        msg = (
            f"'site' {site.name!r} must have at least n_local + {N_TEST_MIN} = "
            f"{n_local + N_TEST_MIN} samples, got {n_measured}{among}. Add samples or "
            f"lower 'n_local' (now {n_local})."
        )
        raise ValueError(msg)


def check_soc_varies(
    site: SpectralLibrary, rows: npt.NDArray[np.integer], which: str
) -> None:
    """Raise ConstantSocError where all these samples have the same SOC."""
    if np.ptp(site.soc[rows]) == 0:
        msg = (
            f"'soc' must vary among the {len(rows)} {which} samples, got "
            f"{site.soc[rows][0]:g} % for all of them. Check the column."
        )
        raise ConstantSocError(msg)
