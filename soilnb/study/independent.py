"""Which library rows a study may use: those that are independent of its site."""

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from soilnb._blocks import row_blocks
from soilnb.datasets import SpectralLibrary
from soilnb.preprocessing import snv_absorbance
from soilnb.quality import duplicated_spectra

LIBRARY_ROWS_MIN = 50  # a smaller library is not used
# Largest difference at any band between two files' spectra of one sample, in
# reflectance and in SNV absorbance, which does not change with the white reference.
# Rounding changes a spectrum by less; the nearest spectra of two farms of LimeSoDa
# differ by three times as much.
SAME_SPECTRUM = {"reflectance": 5e-3, "snv": 3e-2}
# In a large library other soils are that near by chance: a row is the site's if it is
# as near as rounding to three decimals leaves it (in SNV absorbance, to four), or if
# its group holds so much of the site. SOC has no say: that of a test sample must decide
# nothing.
SAME_ROW = {"reflectance": 1.2e-3, "snv": 1e-2}
SAME_SITE_SHARE = 0.5


def country_rows(
    library: SpectralLibrary, site: SpectralLibrary
) -> npt.NDArray[np.int64]:
    """Return the library rows of the site's country, or none where too few."""
    countries = _countries(site)
    if len(countries) != 1:
        return np.array([], dtype=np.int64)
    of_rows = library.info["country"].str.strip().str.casefold()
    rows = np.flatnonzero(of_rows == countries[0].casefold())
    return rows if len(rows) >= LIBRARY_ROWS_MIN else rows[:0]


def why_no_country(library: SpectralLibrary, site: SpectralLibrary) -> str:
    """Return why there is no country library."""
    of_site = _countries(site)
    if len(of_site) > 1:
        return (
            "The country models are not run: the site's rows name several countries: "
            f"{', '.join(sorted(of_site))}."
        )
    name = f"({of_site[0]}) " if of_site else ""
    known = sorted(_countries(library))
    return (
        f"The country models are not run: fewer than {LIBRARY_ROWS_MIN} library rows "
        f"are known to come from the site's country {name}"
        f"among {', '.join(known) or 'none named'}."
    )


def _countries(part: SpectralLibrary) -> list[str]:
    """Return the countries that rows name, each once, as it is spelt first."""
    named = part.info["country"].str.strip()
    named = named[named != ""]
    return list(named[~named.str.casefold().duplicated()])


def _shared_rows(
    library: SpectralLibrary, site: SpectralLibrary
) -> npt.NDArray[np.bool_]:
    """Return which library rows are also in the site, by spectrum.

    A group that holds most of the site is the site: all of it goes, but without groups.
    """
    alike, shared = np.zeros((2, len(library)), dtype=bool)
    groups = library.info["group"].to_numpy()
    found_in: list[set[str]] = [set() for _ in range(len(site))]
    spaces: dict[str, Callable[[npt.NDArray], npt.NDArray]] = {
        "reflectance": np.asarray,
        "snv": snv_absorbance,
    }
    for space, seen in spaces.items():
        near = _near(library, site, seen, SAME_SPECTRUM[space])
        for found, (rows, gaps) in zip(found_in, near, strict=True):
            alike[rows] = True
            shared[rows[gaps <= SAME_ROW[space]]] = True
            found.update(groups[rows])
    counts = Counter(group for found in found_in for group in found)
    least = SAME_SITE_SHARE * len(site)
    own = [group for group, count in counts.items() if count >= least]
    is_own = np.isin(groups, own)
    shared |= is_own if len(set(groups)) > 1 else is_own & alike
    return shared


def _near(
    library: SpectralLibrary,
    site: SpectralLibrary,
    seen: Callable[[npt.NDArray], npt.NDArray],
    tolerance: float,
) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray]]:
    """Yield the library rows near each spectrum of the site, and their largest gaps.

    `seen` turns reflectance into what is compared.
    """
    known, of_site = library.reflectance, seen(site.reflectance)
    bands = np.linspace(0, known.shape[1] - 1, 8).astype(int)
    blocks = (seen(known[rows])[:, bands] for rows in row_blocks(len(known)))
    tree = KDTree(np.concatenate([*blocks]))  # few bands find candidates quickly
    near = tree.query_ball_point(of_site[:, bands], tolerance, p=np.inf)
    for spectrum, rows in zip(of_site, near, strict=True):
        candidates = np.array(rows, dtype=np.intp)
        if not len(candidates):
            yield candidates, np.array([])
            continue
        gaps = np.abs(seen(known[candidates]) - spectrum).max(axis=1)
        yield candidates[gaps <= tolerance], gaps[gaps <= tolerance]


def without_copies(
    part: SpectralLibrary, what: str
) -> tuple[SpectralLibrary, list[str]]:
    """Return a part without copies of earlier rows, which a model might have seen."""
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


def independent_library(
    library: SpectralLibrary, site: SpectralLibrary
) -> tuple[SpectralLibrary, list[str]]:
    """Return the library without the site, on the site's grid, and what was left."""
    grid, notes = site.wavelengths, []
    own = library.info["group"].isin(set(site.info["group"])).to_numpy()
    independent = library.take(~own)
    on_grid = independent.on_grid(grid)
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
        on_grid, note = without_copies(on_grid, "Library rows")
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
