"""Where to sample: a table of candidate places in, a list of places out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilnb import sampling
from soilnb._files import replacing
from soilnb._validation import check_choice, check_int
from soilnb.datasets import read_candidates
from soilnb.datasets.coordinates import metres_from_degrees
from soilnb.workflow.answer import check_out
from soilnb.workflow.report import write_geojson

N_CLASSES = 5  # of predictions: more gain little (Cochran 1977, section 5A.8)
PER_PART = 4  # samples of each part of the space
STRATA = (*sampling.STRATA_BY, "column")


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
    check_out(out, Path(file))
    places = read_candidates(file)
    strata, how = _strata(places, budget, by, n_strata, seed)
    names, sizes = np.unique(strata, return_counts=True)
    if sizes.min() < 2:
        msg = (
            f"Stratum {names[sizes.argmin()]!s} must have at least 2 candidates, got "
            "1. Join it with another."
        )
        raise ValueError(msg)
    least = 2 * len(names)
    if budget < least or budget > len(places):
        msg = (
            f"'--budget' must be between {least} (two of each of {len(names)} strata) "
            f"and {len(places)} (candidates), got {budget}. Change it, or --strata."
        )
        raise ValueError(msg)
    sd = _expected_sd(places, strata)
    rule = allocation or ("neyman" if "spread" in places else "proportional")
    n_drawn = sampling.allocate(sizes, budget, sd=sd, rule=rule)
    drawn = sampling.draw_from_strata(strata, n_drawn, seed=seed)
    design = "stratified" if len(names) > 1 else "random"
    drawn.insert(2, "design", design)
    half_width = np.nan
    if sd is not None:
        half_width = sampling.expected_half_width(sizes, n_drawn, sd)
    told = places.iloc[drawn["row"]].drop(columns="stratum", errors="ignore")
    table = told.reset_index(drop=True).join(drawn.drop(columns="row"))
    table = table.assign(expected_half_width=half_width, soc="")
    with replacing(out) as partial:
        table.to_csv(partial, index=False)
    lines = [
        f"{budget} of the {len(places):,} places of {Path(file).name} are listed in "
        f"{out}: {how}, allocation {rule}.",
        _precision(places, sizes, n_drawn, sd, half_width, target),
    ]
    if "latitude" in places:
        write_geojson(out.with_suffix(".geojson"), table.drop(columns="soc"))
        lines.append(f"A map of them: {out.with_suffix('.geojson')}")
    elif "easting" in places:
        lines.append("No GeoJSON: it needs columns latitude and longitude (WGS 84).")
    return lines


def _strata(
    places: pd.DataFrame, budget: int, by: str, n_strata: int, seed: int
) -> tuple[npt.NDArray, str]:
    """Return the stratum of each place, and in words how they were made."""
    by = by or ("column" if "stratum" in places else "")
    by = by or ("quantiles" if "prediction" in places else "space")
    check_choice(by, "by", STRATA)
    if by == "column":
        if "stratum" not in places:
            msg = "'--by' column needs a column stratum, got none. Add it."
            raise ValueError(msg)
        return places["stratum"].to_numpy(str), "strata of the table"
    if not n_strata:
        n_strata = max(1, budget // PER_PART) if by == "space" else N_CLASSES
    check_int(n_strata, "--strata", 1, len(places) // 2, " (two candidates in each)")
    xy = None
    if "latitude" in places:
        degrees = (places[name].to_numpy() for name in ("latitude", "longitude"))
        xy = np.column_stack(metres_from_degrees(*degrees))
    elif "easting" in places:
        xy = places[["easting", "northing"]].to_numpy()
    prediction = places.get("prediction")
    strata = sampling.make_strata(
        n_strata, prediction=prediction, places=xy, by=by, seed=seed
    )
    return strata, f"{n_strata} strata by {by}"


def _expected_sd(
    places: pd.DataFrame, strata: npt.NDArray
) -> npt.NDArray[np.float64] | None:
    """Return the standard deviation expected in each stratum, none without a model."""
    if "prediction" not in places:
        return None
    spread = places.get("spread", pd.Series(0.0, index=places.index))
    return sampling.stratum_sd(strata, places["prediction"], spread)


def _precision(
    places: pd.DataFrame,
    sizes: npt.NDArray,
    n_drawn: npt.NDArray,
    sd: npt.NDArray[np.float64] | None,
    half_width: float,
    target: float,
) -> str:
    """Return in words how sure the mean will be."""
    if sd is None:
        one = sampling.expected_half_width([sizes.sum()], [n_drawn.sum()], [1.0])
        return (
            "Nothing is known of the property's spread: at worst the 95 % interval of "
            f"the mean is ± {one:.2f} standard deviations of it."
        )
    mean = places["prediction"].mean()
    text = f"Expected 95 % interval of the mean: ± {half_width:.3g}"
    if mean > 0:
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
