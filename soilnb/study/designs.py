"""What a design of sampling is worth where every value is known: regions and fields."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import cross_val_predict

from soilnb import sampling
from soilnb._validation import Floats, Progress
from soilnb.datasets import Sites, SpectralLibrary, load_site
from soilnb.datasets.coordinates import metres_from_degrees
from soilnb.pls import PLS1
from soilnb.preprocessing import snv_absorbance, working_grid
from soilnb.selection import spectral_strata

CAP = 0.99  # what lies above this quantile of a region is cut to it: peat, mostly
N_TREES = 100
N_PILOT, PILOT_COMPONENTS = 20, 4  # of a field: samples that a first map is made of


def values_of(sites: Sites, region: str, cap: float = CAP) -> Floats:
    """Return the property in a region, in its own unit, cut to a quantile of it."""
    y = sites.y[sites.region == region]
    y = np.exp(y) if sites.is_log else y
    return np.minimum(y, np.quantile(y, cap))


def predict_region(
    sites: Sites, region: str, *, n_trees: int = N_TREES, seed: int = 1
) -> tuple[Floats, Floats]:
    """Return what a forest of all other regions expects in a region, and its spread.

    The spread is the error out of the bag; that of a logarithm is taken as normal.
    """
    is_here = sites.region == region
    forest = RandomForestRegressor(
        n_trees,
        max_features=1 / 3,
        min_samples_leaf=3,
        oob_score=True,
        n_jobs=-1,
        random_state=seed,
    ).fit(sites.X[~is_here], sites.y[~is_here])
    variance = np.mean((forest.oob_prediction_ - sites.y[~is_here]) ** 2)
    mean = forest.predict(sites.X[is_here])
    if not sites.is_log:
        return mean, np.full(len(mean), np.sqrt(variance))
    prediction = np.exp(mean + variance / 2)
    return prediction, prediction * np.sqrt(np.expm1(variance))


def strata_of_regions(
    sites: Sites,
    regions: Iterable[str],
    *,
    n_strata: int = 5,
    seed: int = 1,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Return the strata of regions, cut by a model that has not seen them.

    Columns: region, stratum (quantiles of the prediction), correlation (of prediction
    and truth in the region, logarithms where the property is one), those of
    `soilnb.sampling.describe_strata` for values cut at `CAP`, and mean_uncut and
    sd_uncut for all as they are.
    """
    tables, regions = [], list(regions)
    for number, region in enumerate(regions, start=1):
        told, spread = predict_region(sites, region, seed=seed)
        strata = sampling.make_strata(n_strata, prediction=told)
        planned = sampling.stratum_sd(strata, told, spread)
        cut, uncut = (
            sampling.describe_strata(values_of(sites, region, cap), strata, planned)
            for cap in (CAP, 1.0)
        )
        table = cut.join(uncut[["mean", "sd"]], rsuffix="_uncut").reset_index()
        truth = sites.y[sites.region == region]
        expected = np.log(told) if sites.is_log else told
        table.insert(0, "region", region)
        table.insert(2, "correlation", np.corrcoef(expected, truth)[0, 1])
        tables.append(table)
        if progress is not None:
            progress(number, len(regions), region)
    return pd.concat(tables, ignore_index=True)


def needed_in(strata: pd.DataFrame, *, target: float = 20.0) -> pd.DataFrame:
    """Return region, design, n_needed and n_population of `strata_of_regions`."""
    tables = []
    for region, rows in strata.groupby("region", sort=False):
        table = sampling.compare_designs(rows, target=target).reset_index()
        table.insert(0, "region", region)
        tables.append(table.assign(n_population=rows["size"].sum()))
    return pd.concat(tables, ignore_index=True)


def stops_of_regions(
    sites: Sites,
    regions: Iterable[str],
    *,
    n: int = 20,
    target: float = 20.0,
    n_draws: int = 2000,
    seed: int = 1,
) -> pd.DataFrame:
    """Return `soilnb.sampling.judge_stopping` of simple draws of `n`, by region."""
    rows = []
    for region in regions:
        y = values_of(sites, region)
        options = {"n_draws": n_draws, "seed": seed}
        draws = sampling.simulate_draws(y, np.ones(len(y)), [n], **options)
        judged = sampling.judge_stopping(draws, y.mean(), target)
        rows.append({"region": region, **judged})
    return pd.DataFrame(rows)


def pilot_map(site: SpectralLibrary, *, seed: int = 1) -> pd.DataFrame:
    """Return what a pilot of 20 samples expects of the rest of a field.

    The model is PLSR on the spectra of a simple draw; its spread is the error of the
    pilot, each predicted without itself. To the rest's rows of `site.info` come soc,
    prediction, spread and, where a place is known, easting and northing in metres.
    """
    X = _seen(site)
    order = np.random.default_rng(seed).permutation(len(X))
    pilot, rest = order[:N_PILOT], np.sort(order[N_PILOT:])
    model, y = PLS1(PILOT_COMPONENTS), site.soc[pilot]
    errors = cross_val_predict(model, X[pilot], y, cv=N_PILOT) - y
    told = model.fit(X[pilot], y).predict(X[rest])
    info = site.info.reset_index(drop=True)
    if "latitude" in info and info["latitude"].notna().all():
        places = metres_from_degrees(info["latitude"], info["longitude"])
        info["easting"], info["northing"] = places
    spread = np.sqrt(np.mean(errors**2))
    return info.iloc[rest].assign(soc=site.soc[rest], prediction=told, spread=spread)


def _seen(site: SpectralLibrary) -> npt.NDArray[np.floating]:
    """Return the spectra of a site as models see them."""
    grid = working_grid(site.wavelengths, (420, 2480))
    return snv_absorbance(site.on_grid(grid).reflectance)


def needed_in_fields(
    names: Iterable[str],
    *,
    n_strata: int = 5,
    target: float = 10.0,
    n_pilots: int = 10,
    seed: int = 1,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Return the samples that each design needs in fields that are measured throughout.

    The population is what a pilot has left (`pilot_map`), which is not counted.
    Columns: region (the field), design, pilot, n_needed, n_population and correlation
    (of the pilot's map). Beside the designs of `soilnb.sampling.compare_designs`,
    "spectra" and, where places are known, "space": proportional draws from strata
    that need no pilot.
    """
    sites, tables, even = [load_site(name) for name in names], [], np.ones(n_strata)
    cases = [(site, pilot) for site in sites for pilot in range(n_pilots)]
    for number, (site, pilot) in enumerate(cases, start=1):
        table = pilot_map(site, seed=seed + pilot)
        told, y = table["prediction"], table["soc"]
        strata = sampling.make_strata(n_strata, prediction=told)
        planned = sampling.stratum_sd(strata, told, table["spread"])
        found = {**_needed(y, strata, planned, target)}
        free = {"spectra": spectral_strata(_seen(site)[table.index], n_strata)}
        if "easting" in table and table["easting"].notna().all():
            places = table[["easting", "northing"]]
            free["space"] = sampling.make_strata(n_strata, places=places, by="space")
        for kind, strata in free.items():
            found[kind] = _needed(y, strata, even, target)["proportional"]
        rows = pd.DataFrame({"design": [*found], "n_needed": [*found.values()]})
        rows.insert(0, "region", site.name)
        match = np.corrcoef(told, y)[0, 1]
        rows = rows.assign(pilot=pilot, n_population=len(y), correlation=match)
        tables.append(rows)
        if progress is not None:
            progress(number, len(cases), site.name)
    return pd.concat(tables, ignore_index=True)


def _needed(
    y: npt.ArrayLike, strata: npt.NDArray, planned: Floats, target: float
) -> pd.Series:
    """Return the samples that each design needs in one population."""
    described = sampling.describe_strata(y, strata, planned)
    return sampling.compare_designs(described, target=target)["n_needed"]
