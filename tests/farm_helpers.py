"""The answer of a real farm, from plain estimates, for tests of what draws it."""

import numpy as np
import pandas as pd

from soilnb.datasets import load_site

LEVEL = 0.9
BULK_DENSITY, DEPTH = 1.4, 20.0  # g/cm3, cm


def farm_answer(site, n_measured=30):
    """Return estimates, farm, weights and the true SOC of a farm of LimeSoDa.

    The estimate is that of the nearest measured spectrum, so it is poor, and real.
    """
    library = load_site(site)
    rng = np.random.default_rng(5)
    n_samples = len(library.soc)
    measured = np.zeros(n_samples, dtype=bool)
    measured[rng.choice(n_samples, n_measured, replace=False)] = True
    spectra = library.reflectance - library.reflectance.mean(axis=1, keepdims=True)
    distance = np.linalg.norm(spectra[:, None] - spectra[measured][None], axis=2)
    distance[distance == 0] = np.inf
    estimate = library.soc[measured][distance.argmin(axis=1)]
    nearest = distance.min(axis=1)
    far = ~measured & (nearest > np.quantile(nearest, 0.93))
    error = (library.soc - estimate)[measured]
    half = np.quantile(np.abs(error), LEVEL) * (0.6 + nearest / nearest.mean() / 2)
    half[measured] = np.nan
    order = np.argsort(np.where(measured, -1, half))[::-1][:10]
    places = pd.array([pd.NA] * n_samples, dtype="Int64")
    places[order] = np.arange(1, 11)
    estimates = pd.DataFrame(
        {
            "sample_id": library.info["sample_id"].astype(str),
            "soc": np.where(measured, library.soc, np.nan),
            "estimate": estimate,
            "lower": np.maximum(estimate - half, 0),
            "upper": estimate + half,
            "level": LEVEL,
            "in_domain": ~far,
            "reason": np.where(far, "far from every measured spectrum", ""),
            "next": places,
        }
    )
    for column in ("latitude", "longitude", "easting", "northing"):
        if column in library.info:
            estimates[column] = library.info[column]
    if "easting" not in estimates and "latitude" not in estimates:
        estimates[["latitude", "longitude"]] = np.nan
    truth = pd.Series(library.soc, index=estimates["sample_id"])
    return estimates, _means(estimates), _weights(), truth


def _means(estimates):
    soc = estimates["soc"].dropna()
    laboratory = soc.mean()
    error = (estimates["soc"] - estimates["estimate"]).dropna()
    mean = estimates["estimate"].mean() + error.mean()
    rows = []
    for population, more in (("scans", 0.9), ("field", 1.0)):
        half = 1.96 * more * error.std() / np.sqrt(len(error))
        lab_half = 1.96 * more * soc.std() / np.sqrt(len(soc))
        per_percent = BULK_DENSITY * DEPTH  # Mg/ha
        rows.append(
            {
                "population": population,
                "n_samples": len(estimates),
                "n_measured": len(soc),
                "design": "random",
                "mean": mean,
                "lower": mean - half,
                "upper": mean + half,
                "lab_mean": laboratory,
                "lab_lower": laboratory - lab_half,
                "lab_upper": laboratory + lab_half,
                "relative_error": 100 * half / mean,
                "stock": mean * per_percent,
                "stock_lower": (mean - half) * per_percent,
                "stock_upper": (mean + half) * per_percent,
            }
        )
    return pd.DataFrame(rows)


def _weights():
    names = (
        "null_model plsr_one_se gp_local svr_local plsr_weighted_cv plsr_rs_local "
        "local dtl_i_global dtl_r_global"
    )
    rmse = [0.61, 0.42, 0.39, 0.4, 0.45, 0.44, 0.41, 0.38, 0.43]
    weights = [0.0, 0.12, 0.3, 0.18, 0.0, 0.02, 0.1, 0.28, 0.0]
    return pd.DataFrame(
        {"candidate": names.split(), "nested_rmse": rmse, "weight": weights}
    )


def without_intervals(farm, design):
    """Return a farm whose design allows no interval."""
    farm = farm.assign(design=design, relative_error=np.nan)
    ends = [c for c in farm if c.endswith(("lower", "upper"))]
    return farm.assign(**dict.fromkeys(ends, np.nan))
