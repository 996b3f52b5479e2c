"""The draw behind the measured samples of a farm, as it was made or as a file says."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial.distance import cdist

from soilnb.sampling import Draw
from soilnb.selection import DESIGNS
from soilnb.study.prepared import Study

UNKNOWN = "unknown"  # design of measured samples that nobody has told
# The scans that a draw's probabilities stand for, against those at hand: some of the
# draw may have been left out as copies.
SIZE_TOLERANCE = 0.15
_NONE = np.array([], np.intp)

Rows = npt.NDArray[np.intp]


def new_draw(table: pd.DataFrame, n_population: int) -> Draw:
    """Return the draw that `draw_samples` has just made."""
    design, rows = table["design"].iloc[0], table["row"].to_numpy()
    strata = table["stratum"].fillna(0).to_numpy(np.int64)
    sizes = {0: n_population}
    if design == "stratified":
        first = table.drop_duplicates("stratum").set_index("stratum")
        found = 2 / first["inclusion_probability"]
        sizes = {int(name): round(size) for name, size in found.items()}
    return Draw(n_population, rows, strata, sizes, _NONE, design)


def read_draw(
    study: Study, local: Rows, design: str
) -> tuple[Draw, Draw, tuple[str, ...]]:
    """Return the draw that a file of measured samples describes, and notes on it.

    The second draw takes samples that were measured beside it as not measured.
    """
    info, n_population = study.site.info, len(study.site)
    told = info["design"].to_numpy(str) if "design" in info else np.full(len(info), "")
    named = [name for name in DESIGNS if (told == name).any()]
    if design and named and named != [design]:
        msg = (
            f"'design' must be {named[0]!r}, as the file of measured samples says, got "
            f"{design!r}. Leave 'design' out."
        )
        raise ValueError(msg)
    if design == "stratified" and not named:
        msg = (
            "'design' can be 'stratified' only with the strata of the draw, got none. "
            "Give the file that soilnb choose wrote: -p measured=FILE"
        )
        raise ValueError(msg)
    design = design or (named[0] if named else UNKNOWN)
    drawn = np.flatnonzero(told == design) if named else local
    rows = np.intersect1d(drawn, local)
    _check_returned(rows, drawn)
    certain = np.setdiff1d(local, rows)
    notes = []
    if len(certain):
        notes.append(
            f"{len(certain)} measured samples are not of the draw: they are known by "
            "value and say nothing of the others' spread."
        )
    if missing := len(drawn) - len(rows):
        notes.append(f"{missing} samples of the draw came back without SOC.")
    if named and design != "kennard_stone":
        _check_size(info["inclusion_probability"].to_numpy(float)[drawn], study)
    draws = []
    for beside in (certain, _NONE):
        strata, sizes = np.zeros(len(rows), np.int64), {0: n_population - len(beside)}
        if design == "stratified":
            strata, sizes, joined = _read_strata(study, drawn, rows, beside)
        draws.append(Draw(n_population, rows, strata, sizes, beside, design))
    if design == "stratified":
        notes += joined
    return draws[0], draws[1], tuple(notes)


def _check_returned(rows: npt.NDArray[np.intp], drawn: npt.NDArray[np.intp]) -> None:
    """Raise where a draw has too few values to tell anything of its spread."""
    if len(rows) < 2:
        msg = (
            "'measured' must have the SOC of at least 2 samples of the draw, got "
            f"{len(rows)} of {len(drawn)}. Leave its column 'design' out to use the "
            "other samples alone."
        )
        raise ValueError(msg)


def _check_size(probabilities: npt.NDArray, study: Study) -> None:
    """Raise unless the inclusion probabilities are those of a draw from these scans."""
    n_scans = len(study.site)
    n_missing = int(np.sum(~np.isfinite(probabilities)))
    if not n_missing:
        found = float(np.sum(1 / probabilities))
        if abs(found - n_scans) <= max(2, SIZE_TOLERANCE * n_scans):
            return
        what = f"probabilities of a draw from {found:.0f}"
    else:
        what = (
            f"{np.sum(~np.isfinite(probabilities))} of {len(probabilities)} without one"
        )
    msg = (
        "'measured' must have the inclusion probabilities of a draw from the "
        f"{n_scans} scans of {study.site.name!r}, got {what}. Give the file that "
        "soilnb choose wrote for these scans."
    )
    raise ValueError(msg)


def _read_strata(
    study: Study,
    drawn: npt.NDArray[np.intp],
    rows: npt.NDArray[np.intp],
    certain: npt.NDArray[np.intp],
) -> tuple[npt.NDArray[np.int64], dict[int, int], list[str]]:
    """Return the stratum of each row, the strata's sizes and notes on those joined."""
    info = study.site.info.iloc[drawn]
    probabilities = info["inclusion_probability"].to_numpy(np.float64)
    if n_missing := int(info["stratum"].isna().sum()):
        msg = (
            f"'measured' must have the stratum of each sample of the draw, got "
            f"{n_missing} of {len(drawn)} without one. Give the file that soilnb "
            "choose wrote."
        )
        raise ValueError(msg)
    of_drawn = info["stratum"].to_numpy(np.int64)
    names = np.unique(of_drawn)
    sizes = {
        int(name): float((1 / probabilities[of_drawn == name]).sum()) for name in names
    }
    # What was measured for another reason lies in the stratum of its nearest spectrum.
    X = study.X_site
    for row in certain:
        nearest = cdist(X[[row]], X[drawn]).argmin()
        sizes[int(of_drawn[nearest])] -= 1
    joined, notes = {int(name): int(name) for name in names}, []
    returned = np.isin(drawn, rows)
    centres = {int(n): X[drawn[of_drawn == n]].mean(axis=0) for n in names}
    while len(sizes) > 1:
        current = np.array([joined[int(name)] for name in of_drawn])
        counts = {name: int(np.sum(returned & (current == name))) for name in sizes}
        few = [name for name in sizes if counts[name] < 2 or sizes[name] < counts[name]]
        if not few:
            break
        name = few[0]
        others = [other for other in sizes if other != name]
        gaps = [np.linalg.norm(centres[name] - centres[other]) for other in others]
        target = others[int(np.argmin(gaps))]
        sizes[target] += sizes.pop(name)
        joined = {key: target if old == name else old for key, old in joined.items()}
        notes.append(f"Stratum {name} has fewer than two values: joined to {target}.")
    of_rows = dict(zip(drawn, of_drawn, strict=True))
    strata = np.array([joined[int(of_rows[row])] for row in rows], np.int64)
    return strata, _whole_sizes(sizes, len(study.site) - len(certain)), notes


def _whole_sizes(sizes: Mapping[int, float], total: int) -> dict[int, int]:
    """Return sizes in whole numbers with this sum, by largest remainders."""
    names = list(sizes)
    exact = np.array([sizes[name] for name in names])
    exact *= total / exact.sum()
    whole = np.floor(exact + 1e-9).astype(int)
    largest = np.argsort(whole - exact, kind="stable")[: total - whole.sum()]
    whole[largest] += 1
    return dict(zip(names, map(int, whole), strict=True))
