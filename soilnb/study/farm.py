"""The answer for a farm: what its unmeasured samples hold, how sure, and the mean."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilnb import sampling
from soilnb._validation import check_choice
from soilnb.sampling import Draw
from soilnb.selection import DESIGNS, draw_samples
from soilnb.study.blend import Blend
from soilnb.study.domain import find_domain
from soilnb.study.drawn import UNKNOWN, new_draw, read_draw
from soilnb.study.intervals import cv_plus
from soilnb.study.prepared import Study
from soilnb.study.split import N_LOCAL_MIN, N_TEST_MIN, folds_of

N_DRAWN = 30  # samples whose SOC a farm keeps where all are known
N_NEXT = 10  # samples that are named to be measured next
OF_LIBRARY = ("plsr_weighted_cv", "plsr_rs_local", "dtl_i_global", "dtl_r_global")
DEGREES, METRES = ["latitude", "longitude"], ["easting", "northing"]


@dataclass(frozen=True, eq=False)
class Farm:
    """A farm whose samples are mostly unmeasured.

    The local samples of its `study` are all measured ones, the test samples all others,
    whose SOC is not in it. `draw` and `alone` say how the measured samples were drawn:
    those measured beside the draw are known by their value in the first, and count as
    not measured in the second (they were picked for being unusual, and without
    predictions would pull the mean). `truth` is the SOC (%) of the samples that were
    hidden, by sample_id, empty where all others are truly unmeasured; `notes` what was
    understood of the draw, in sentences.
    """

    study: Study
    draw: Draw
    alone: Draw
    truth: pd.Series
    notes: tuple[str, ...] = ()


def make_farm(study: Study, *, design: str = "", seed: int | None = None) -> Farm:
    """Return a site as a farm: measured samples to learn from, others to estimate.

    Parameters
    ----------
    study : Study
        The prepared study; at least 10 samples are measured. Of a site that is measured
        throughout, all SOC but that of 30 samples (fewer where it has fewer than 35) is
        hidden. Of a site of several scans of each soil the mean scan is the sample.
    design : str, default ""
        How the measured samples were drawn: "stratified", "random", "kennard_stone"
        or "unknown". By default what the file of measured samples says, "unknown" where
        it says nothing, and "stratified" for the draw of a site measured throughout. A
        ValueError where it does not fit what the file says.
    seed : int, optional
        Seed of the draw and the folds; by default that of the study, which stays that
        of the models.
    """
    if design:
        check_choice(design, "design", sampling.DRAWN_BY)
    seed = study.seed if seed is None else seed
    site = study.site.by_soil()  # draws, strata and the mean count soils, not scans
    averaged = [f"The {len(study.site)} scans were averaged to {len(site)} soils."]
    averaged *= len(site) < len(study.site)
    study = replace(study, site=site) if averaged else study
    told = site.info["design"] != "" if "design" in site.info else np.array([False])
    if len(study.unmeasured) or told.any():
        is_known = np.isfinite(site.soc)
        local = np.flatnonzero(is_known if len(study.unmeasured) else told)
        draw, alone, notes = read_draw(study, local, design)
    else:
        n_drawn = min(N_DRAWN, (len(site) - N_TEST_MIN) // 2 * 2)  # even, for strata
        how = DESIGNS[0] if design in ("", UNKNOWN) else design
        table = draw_samples(study.X_site, n_drawn, design=how, seed=seed)
        local = table["row"].to_numpy()
        draw = alone = new_draw(table, len(site))
        notes = (f"All samples are measured: all but {n_drawn} of them are hidden.",)
    hidden = np.setdiff1d(np.flatnonzero(np.isfinite(site.soc)), local)
    ids = site.info["sample_id"].to_numpy()
    truth = pd.Series(site.soc[hidden], index=ids[hidden], dtype=np.float64)
    if len(local) < N_LOCAL_MIN:
        msg = (
            f"'site' {study.site.name!r} must have at least {N_LOCAL_MIN} measured "
            f"samples, got {len(local)}. Choose some with: soilnb choose"
        )
        raise ValueError(msg)
    soc = np.full(len(site), np.nan)
    soc[local] = site.soc[local]
    n_folds = min(study.n_folds, len(np.unique(study.soils[local])))
    farm = study.with_split(
        site=replace(site, soc=soc),
        local=local,
        test=np.setdiff1d(np.arange(len(site)), local),
        local_folds=folds_of(study.soils[local], n_folds, seed),
        n_folds=n_folds,
    )
    return Farm(farm, draw, alone, truth, (*averaged, *notes))


def estimate_samples(farm: Farm, mix: Blend, *, level: float = 0.9) -> pd.DataFrame:
    """Return an estimate of every sample, with an interval, and which to measure next.

    `mix` is the blend of the farm's study, `level` (0.5 to 0.99) the share of intervals
    (`cv_plus`) that shall hold the truth.

    One row per sample of the site: sample_id, soc (%; NaN where not measured), estimate
    (%; of a measured sample by models made without it), lower and upper (NaN for
    measured samples, and for all where too few of a draw are measured), level,
    in_domain and reason (`find_domain`), next (1 for the first sample to measure next,
    ten in all), latitude and longitude (degrees, NaN where not known) and, where a
    source has hidden its place, easting and northing (m).
    """
    study = farm.study
    is_drawn = np.isin(study.local, farm.draw.rows)
    residuals = (study.samples("local").y - mix.local)[is_drawn]
    places = np.searchsorted(np.unique(study.local_folds), study.local_folds)
    lower, upper = cv_plus(residuals, places[is_drawn], mix.test, level=level)
    unlike = find_domain(study, farm.draw.rows)
    info = study.site.info.reset_index(drop=True)
    table = pd.DataFrame({"sample_id": info["sample_id"], "soc": study.site.soc})
    table["estimate"] = _predictions(farm, mix)
    table["lower"] = table["upper"] = np.nan
    # A fold's models may disagree so much that their mean lies beyond an end.
    table.loc[study.test, "lower"] = np.minimum(lower, mix.estimates)
    table.loc[study.test, "upper"] = np.maximum(upper, mix.estimates)
    table = table.assign(level=level, in_domain=True, reason="")
    for name in ("in_domain", "reason"):
        table.loc[study.test, name] = unlike[name].to_numpy()
    table["next"] = _rank_next(table, unlike["distance"].to_numpy(), study.test)
    chosen = table["next"].notna() & table["in_domain"]
    is_wide = table.loc[chosen, "upper"].notna()
    words = ("wide interval", "least like the measured spectra")
    table.loc[chosen, "reason"] = np.where(is_wide, *words)
    metres = [name for name in METRES if name in info]
    return table.join(info.reindex(columns=[*DEGREES, *metres]))


def _rank_next(
    table: pd.DataFrame, distance: npt.NDArray[np.float64], test: npt.NDArray[np.int64]
) -> pd.Series:
    """Return the order in which to measure: outside the domain first, then by width."""
    rest = table.loc[test].assign(distance=distance)
    rest["width"] = (rest["upper"] - rest["lower"]).fillna(rest["distance"])
    rest["far"] = np.where(rest["in_domain"], 0.0, rest["distance"])
    ordered = rest.sort_values(["far", "width"], ascending=False, kind="stable")
    order = pd.Series(pd.NA, index=table.index, dtype="Int64")
    first = ordered.index[:N_NEXT]
    order[first] = np.arange(1, len(first) + 1)
    return order


def estimate_farm(farm: Farm, estimates: pd.DataFrame, **stock: float) -> pd.DataFrame:
    """Return the farm's mean SOC and its stock, with and without spectra.

    `estimates` is the table of `estimate_samples`; `stock` what `stock_of` takes:
    without bulk density there is no stock.

    A row for each population, "scans" (the scanned samples) and "field" (the field of
    which these are a sample): population, n_samples, n_measured, design, mean, lower
    and upper (%, 95 %), lab_mean, lab_lower and lab_upper (the laboratory values of the
    draw alone), relative_error (half-width in percent of the mean), stock, stock_lower,
    stock_upper (Mg/ha).
    """
    rows, stock = [], stock_of(farm, stock)
    soc, predicted = (estimates[name].to_numpy() for name in ("soc", "estimate"))
    for population in sampling.POPULATIONS:
        both = sampling.estimate_mean(farm.draw, soc, predicted, population=population)
        alone = sampling.estimate_mean(farm.alone, soc, population=population)
        row: dict[str, Any] = {
            "population": population,
            "n_samples": len(soc),
            "n_measured": int(np.isfinite(soc).sum()),
            "design": farm.draw.design,
            **{name: getattr(both, name) for name in ("mean", "lower", "upper")},
            **{f"lab_{n}": getattr(alone, n) for n in ("mean", "lower", "upper")},
            "relative_error": sampling.relative_error(both),
        }
        names = ("stock", "stock_lower", "stock_upper")
        values = (np.nan, np.nan, np.nan)
        if stock.get("bulk_density"):
            freedom = both.degrees_of_freedom
            of_mean = (both.mean, both.standard_error)
            values = sampling.stock(*of_mean, degrees_of_freedom=freedom, **stock)  # type: ignore[arg-type]
        rows.append(row | dict(zip(names, values, strict=True)))
    return pd.DataFrame(rows)


def stock_of(farm: Farm, given: Mapping[str, Any]) -> dict[str, float]:
    """Return what a stock needs, from what is given and from the site's columns.

    `given` has bulk_density, bulk_density_sd, depth_cm, depth_sd as of
    `soilnb.sampling.stock`. What is 0 or left out is the mean of the site's column
    bulk_density (g/cm3) or depth_cm, or its standard error; a ValueError if there is a
    bulk density and no depth.
    """
    names = ("bulk_density", "bulk_density_sd", "depth_cm", "depth_sd")
    found = {name: float(given[name]) for name in names if name in given}
    info = farm.study.site.info
    for name, sd in (("bulk_density", "bulk_density_sd"), ("depth_cm", "depth_sd")):
        if given.get(name) or name not in info or info[name].isna().all():
            continue
        found[name] = float(info[name].mean())
        if not given.get(sd):
            n = info[name].count()
            found[sd] = float(info[name].std(ddof=1) / np.sqrt(n)) if n > 1 else 0.0
    if found.get("bulk_density") and not found.get("depth_cm"):
        msg = (
            "'depth_cm' must be given for a stock, got 'bulk_density' "
            f"{found['bulk_density']:g} alone. Give the depth, or neither."
        )
        raise ValueError(msg)
    return found


def summarise_farm(
    farm: Farm, mix: Blend, table: pd.DataFrame, *, target: float = 20.0
) -> dict[str, float]:
    """Return what to say of a farm's answer in numbers.

    `table` is that of `estimate_farm`; `target`, percent, the relative error of the
    mean that shall be reached. The numbers are nested_rmse (% SOC, of the blend on
    samples it was made without), library_weight (of candidates that use the library),
    and, NaN where the design gives no interval, n_alone (values that a simple random
    draw without spectra needs for the same half-width) and n_more (further values,
    drawn and predicted alike, that reach the target).
    """
    y = farm.study.samples("local").y
    draw, scans = farm.draw, table.iloc[0]
    weights = mix.table["weight"]
    found = {
        "nested_rmse": float(np.sqrt(np.mean((mix.local - y) ** 2))),
        "library_weight": float(weights[weights.index.isin(OF_LIBRARY)].sum()),
        "n_alone": np.nan,
        "n_more": np.nan,
    }
    half_width = scans["upper"] - scans["mean"]
    if not np.isfinite(half_width) or half_width <= 0:
        return found
    n_left = draw.n_population - len(draw.certain)
    scale = draw.n_population / n_left  # what is certain is known without error
    spread = float(np.std(farm.study.site.soc[draw.rows], ddof=1))
    found["n_alone"] = sampling.n_for_half_width(spread, n_left, scale * half_width)
    both = sampling.estimate_mean(draw, farm.study.site.soc, _predictions(farm, mix))
    unit = sampling.unit_sd(scale * both.standard_error, draw.n_drawn, n_left)
    wanted = scale * target / 100 * scans["mean"]
    enough = sampling.n_for_half_width(unit, n_left, wanted)
    is_reached = scans["relative_error"] <= target
    found["n_more"] = 0 if is_reached else max(1, enough - draw.n_drawn)
    return found


def _predictions(farm: Farm, mix: Blend) -> npt.NDArray[np.float64]:
    """Return the estimate of every sample of the site, made without it."""
    predicted = np.empty(len(farm.study.site))
    predicted[farm.study.local], predicted[farm.study.test] = mix.local, mix.estimates
    return predicted
