"""The draw behind the measured samples of a farm, as it was made or as a file says."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial.distance import cdist

from soilnb._validation import Rows
from soilnb.sampling import Draw
from soilnb.selection import DESIGNS
from soilnb.study.prepared import Study

UNKNOWN = "unknown"  # design of measured samples that nobody has told
# The scans that a draw's probabilities stand for, against those at hand: some of the
# draw may have been left out as copies.
SIZE_TOLERANCE = 0.15
_NONE = np.array([], np.intp)


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
    """Return the draw of a file, that without samples beside it, and notes."""
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
    if len(rows) < 2:  # too few to tell anything of the spread
        msg = (
            "'measured' must have the SOC of at least 2 samples of the draw, got "
            f"{len(rows)} of {len(drawn)}. Leave its column 'design' out to use the "
            "other samples alone."
        )
        raise ValueError(msg)
    certain = np.setdiff1d(local, rows)
    notes = []
    if len(certain):
        notes.append(
            f"{len(certain)} measured samples are not of the draw: they are known by "
            "value and say nothing of the others' spread."
        )
    if named:
        n_listed = len(drawn) + _check_listed(info.iloc[drawn], design, study)
        if missing := n_listed - len(rows):
            notes.append(f"{missing} samples of the draw came back without SOC.")
    elif design == UNKNOWN:
        notes.append(
            "How the measured samples were drawn is not said: the mean gets no "
            "interval. If you know it: -p design=random"
        )
    draws = []
    for beside in (certain, _NONE):
        strata, sizes = np.zeros(len(rows), np.int64), {0: n_population - len(beside)}
        joined: list[str] = []
        if design == "stratified":
            strata, sizes, joined = _read_strata(study, drawn, rows, beside)
        notes += [note for note in joined if note not in notes]
        draws.append(Draw(n_population, rows, strata, sizes, beside, design))
    return draws[0], draws[1], tuple(notes)


def _check_listed(listed: pd.DataFrame, design: str, study: Study) -> int:
    """Raise unless what is said of a draw fits; return how many are not listed."""
    probabilities, strata = listed["inclusion_probability"], listed["stratum"]
    if design == "kennard_stone":
        return 0
    if design == "random":
        if n_strata := int(strata.notna().sum()):
            rule = "no stratum for the samples of a random draw"
            _refuse(rule, f"one for {n_strata}", study)
        if probabilities.nunique() > 1:
            rule = "one inclusion probability for all samples of a random draw"
            _refuse(rule, f"{probabilities.nunique()} different ones", study)
        if probabilities.notna().any():
            _check_size(len(listed) / probabilities.mean(), study)
        return 0
    if n_missing := int((strata.isna() | probabilities.isna()).sum()):
        rule = "stratum and inclusion probability of each sample of the draw"
        _refuse(rule, f"{n_missing} of {len(listed)} without", study)
    of_stratum = probabilities.groupby(strata.to_numpy(np.int64))
    if of_stratum.nunique().max() > 1 or of_stratum.size().max() > 2:
        rule = "two samples of one inclusion probability in each stratum"
        _refuse(rule, "others", study)
    _check_size((2 / of_stratum.first()).sum(), study)
    return 2 * of_stratum.ngroups - len(listed)


def _check_size(n_scans: float, study: Study) -> None:
    """Raise unless a draw was from as many scans as there are, copies aside."""
    n_here = len(study.site)
    if abs(n_scans - n_here) > max(2, SIZE_TOLERANCE * n_here):
        rule = f"the inclusion probabilities of a draw from the {n_here} scans"
        _refuse(rule, f"those of a draw from {n_scans:.0f}", study)


def _refuse(rule: str, got: str, study: Study) -> None:
    """Raise ValueError: the columns of the draw do not fit the design."""
    msg = (
        f"'measured' must have {rule} of {study.site.name!r}, got {got}. Give the file "
        "that soilnb choose wrote for these scans, with all its rows: soc is empty "
        "where the laboratory returned nothing."
    )
    raise ValueError(msg)


def _read_strata(
    study: Study, drawn: Rows, rows: Rows, certain: Rows
) -> tuple[npt.NDArray[np.int64], dict[int, int], list[str]]:
    """Return the stratum of each row, the strata's sizes and notes on those joined."""
    info = study.site.info.iloc[drawn]
    probabilities = info["inclusion_probability"].to_numpy(np.float64)
    of_drawn = info["stratum"].to_numpy(np.int64)
    names = np.unique(of_drawn)
    sizes = {int(name): 2 / probabilities[of_drawn == name][0] for name in names}
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
