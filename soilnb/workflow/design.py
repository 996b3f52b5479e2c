"""What to measure, and where to sample: scans or places in, a list of them out."""

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilnb import sampling
from soilnb._files import replacing
from soilnb._validation import check_choice, check_int
from soilnb.datasets import OPTIONS, SITES, folder_name, read_candidates
from soilnb.datasets.coordinates import metres_from_degrees
from soilnb.methods import DESIGNS
from soilnb.preprocessing import snv_absorbance, working_grid
from soilnb.selection import draw_samples
from soilnb.study.split import N_LOCAL_MIN
from soilnb.workflow.data import read_site
from soilnb.workflow.params import check_parameters
from soilnb.workflow.report import write_geojson
from soilnb.workflow.steps import by_role

# What may change the spectra that are chosen from, and where results go.
_OF_SCANS = (*OPTIONS, "wavelength_range", "library", "results")
N_CLASSES = 5  # of predictions: more gain little (Cochran 1977, section 5A.8)
PER_PART = 4  # samples of each part of the space
STRATA = (*sampling.STRATA_BY, "column")


def choose_samples(
    given: dict[str, Any], n_samples: int, design: str, seed: int, out: Path
) -> list[str]:
    """Write which samples of a file to measure; return what to say of the draw."""
    file = given["site"]
    _check_choice(given, n_samples, out)
    values = check_parameters(by_role("prepares"), given)
    site = read_site(values).by_soil()
    grid = working_grid(site.wavelengths, tuple(values["wavelength_range"]))
    X = snv_absorbance(site.on_grid(grid).reflectance)
    try:
        drawn = draw_samples(X, n_samples, design=design, seed=seed)
    except ValueError as error:  # it speaks of n_samples and X
        text = str(error).replace("'n_samples'", "'-n'").replace("rows of 'X'", "scans")
        raise ValueError(text) from error
    ids = site.info["sample_id"].to_numpy()[drawn["row"]]
    table = drawn.drop(columns="row").assign(soc="")
    table.insert(0, "sample_id", ids)
    with replacing(out) as partial:
        table.to_csv(partial, index=False)
    n_known = int(np.isfinite(site.soc[drawn["row"]]).sum())
    known = f" {n_known} of them are measured already: leave their cells empty."
    words = ["soilnb", "estimate", file, "--measured", str(out)]
    for name in sorted(set(given) - {"site"}):
        words += ["-p", f"{name}={given[name]}"]
    return [
        f"{n_samples} of the {len(site)} samples of {folder_name(file)} are listed in "
        f"{out}.{known * bool(n_known)}",
        DESIGNS[design].says,
        f"Fill in its column soc, then: {shlex.join(words)}",
    ]


def _check_choice(given: dict[str, Any], n_samples: int, out: Path) -> None:
    """Raise where there is nothing to choose from, or a file would be lost."""
    file = given["site"]
    if file in SITES:
        msg = (
            f"'FILE' must be a CSV or Parquet file, got the site {file!r}, which is "
            f"measured throughout. Its answer: soilnb estimate {file}"
        )
        raise ValueError(msg)
    for name in given:
        if name not in ("site", *_OF_SCANS):
            msg = (
                f"'-p' takes {', '.join(_OF_SCANS)} here, got {name!r}, which changes "
                "nothing in a draw. Leave it out."
            )
            raise ValueError(msg)
    if n_samples < N_LOCAL_MIN:
        msg = (
            f"'-n' must be at least {N_LOCAL_MIN}, which soilnb estimate needs, got "
            f"{n_samples}. Give more."
        )
        raise ValueError(msg)
    _check_out(out, Path(file))


def design_places(
    file: str,
    budget: int,
    out: Path,
    *,
    by: str = "",
    n_strata: int = 0,
    allocation: str = "",
    target: float = 20.0,
    seed: int = 1,
) -> list[str]:
    """Write which places of a table to sample; return what to say of the design.

    Writes `out` and, where there are degrees, the same with the ending .geojson: the
    table's columns with order, design, stratum, inclusion_probability,
    expected_half_width (of the mean's 95 % interval, in the unit of the prediction)
    and soc, to be filled in. What is "" or 0 is chosen by what the table holds.
    """
    _check_out(out, Path(file))
    if not 0 < target < 100:
        msg = f"'--target' must be above 0 and below 100 percent, got {target:g}."
        raise ValueError(msg)
    places = read_candidates(file)
    kinds = {"stratum": "column", "prediction": "quantiles"}
    by = by or next((kinds[name] for name in kinds if name in places), "space")
    rule = allocation or ("neyman" if "spread" in places else "proportional")
    _check_columns(places, by, rule)
    check_int(budget, "--budget", 2, len(places), " (candidates)")
    strata = _strata(places, budget, by, n_strata, seed)
    names, sizes = np.unique(strata, return_counts=True)
    _check_sizes(names, sizes, budget)
    sd, half_width = None, np.nan
    if "prediction" in places:
        spread = places.get("spread", 0.0)
        sd = sampling.stratum_sd(strata, places["prediction"], spread)
    n_drawn = sampling.allocate(sizes, budget, sd=sd, rule=rule)
    if sd is not None:
        half_width = sampling.expected_half_width(sizes, n_drawn, sd)
    drawn = sampling.draw_from_strata(strata, n_drawn, seed=seed)
    drawn.insert(2, "design", "stratified" if len(names) > 1 else "random")
    told = places.iloc[drawn["row"]].drop(columns="stratum", errors="ignore")
    table = told.reset_index(drop=True).join(drawn.drop(columns="row"))
    table = table.assign(expected_half_width=half_width, soc="")
    with replacing(out) as partial:
        table.to_csv(partial, index=False)
    lines = [
        f"{budget} of the {len(places):,} places of {Path(file).name} are listed in "
        f"{out}: {len(names)} strata by {by}, allocation {rule}.",
        _precision(places, sizes, budget, sd, half_width, target),
    ]
    if "latitude" in places:
        write_geojson(out.with_suffix(".geojson"), table.drop(columns="soc"))
        lines.append(f"A map of them: {out.with_suffix('.geojson')}")
    elif "easting" in places:
        lines.append("No GeoJSON: it needs columns latitude and longitude (WGS 84).")
    if places["sample_id"].tolist() == [f"{row + 1}" for row in range(len(places))]:
        lines.append("Places are numbered by row: name them in a column sample_id.")
    return lines


def _check_columns(places: pd.DataFrame, by: str, rule: str) -> None:
    """Raise where a table lacks what strata or allocation need."""
    check_choice(by, "--by", STRATA)
    check_choice(rule, "--allocation", sampling.ALLOCATIONS)
    coordinates = "latitude" if "latitude" in places else "easting"
    needs = {"column": ["stratum"], "space": [coordinates]}
    needs["both"] = ["prediction", coordinates]
    wanted = [(f"--by {by}", name) for name in needs.get(by, ["prediction"])]
    if rule == "neyman":
        wanted.append(("--allocation neyman", "prediction"))
    for option, column in wanted:
        if column not in places:
            msg = f"{option!r} needs a column {column}, got none. Add it."
            raise ValueError(msg)


def _check_sizes(names: npt.NDArray, sizes: npt.NDArray, budget: int) -> None:
    """Raise where a stratum has one candidate, or a budget is not two of each."""
    if sizes.min() < 2:
        msg = (
            f"Stratum {names[sizes.argmin()]!s} must have at least 2 candidates, got "
            "1. Join it with another."
        )
        raise ValueError(msg)
    if not 2 * len(names) <= budget <= sizes.sum():
        msg = (
            f"'--budget' must be between {2 * len(names)} (two of each of {len(names)} "
            f"strata) and {sizes.sum()} (candidates), got {budget}. Change it, or "
            "--strata."
        )
        raise ValueError(msg)


def _strata(
    places: pd.DataFrame, budget: int, by: str, n_strata: int, seed: int
) -> npt.NDArray:
    """Return the stratum of each place."""
    if by == "column":
        return places["stratum"].to_numpy(str)
    if not n_strata:
        n_strata = max(1, budget // PER_PART) if by == "space" else N_CLASSES
    check_int(n_strata, "--strata", 1, len(places) // 2, " (two candidates in each)")
    xy = None
    if "latitude" in places:
        degrees = places["latitude"], places["longitude"]
        xy = np.column_stack(metres_from_degrees(*degrees))
    elif "easting" in places:
        xy = places[["easting", "northing"]].to_numpy()
    told = {"prediction": places.get("prediction"), "places": xy}
    return sampling.make_strata(n_strata, **told, by=by, seed=seed)


def _precision(
    places: pd.DataFrame,
    sizes: npt.NDArray,
    budget: int,
    sd: npt.NDArray[np.float64] | None,
    half_width: float,
    target: float,
) -> str:
    """Return in words how sure the mean will be."""
    if sd is None:
        one = sampling.expected_half_width([sizes.sum()], [budget], [1.0])
        return (
            "Nothing is known of the property's spread: without any help of the strata "
            f"the mean's 95 % interval is ± {one:.2f} standard deviations of it."
        )
    text = f"Expected 95 % interval of the mean: ± {half_width:.3g}"
    if (mean := places["prediction"].mean()) > 0:
        enough = sampling.n_for_half_width(sd, sizes, target / 100 * mean)
        text += (
            f", {100 * half_width / mean:.1f} % of the predicted mean; "
            f"{target:g} % would take {enough} samples by Neyman allocation"
        )
    if "spread" not in places:
        text += (
            ". There is no column spread: predictions vary less than the truth, so "
            "the interval will be wider"
        )
    return text + "."


def _check_out(out: Path, file: Path) -> None:
    """Raise where a draw would be written over something else, or to no table."""
    if out.suffix != ".csv":
        msg = f"'-o' must end in .csv, got {str(out)!r}. Give another name."
        raise ValueError(msg)
    if out.exists():
        known = pd.read_csv(out, nrows=0 if out == file else None)
        is_draw = "inclusion_probability" in known
        if not is_draw or known["soc"].notna().any():
            held = "laboratory values" if is_draw else "something else"
            msg = f"'-o' {str(out)!r} holds {held}. Give another name with -o."
            raise ValueError(msg)
