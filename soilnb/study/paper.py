"""What Shen et al. (2022) report, and their Table 3 as a layout for ours."""

import pandas as pd

from soilnb.methods import METHODS, by_site, label
from soilnb.metrics import delta_rmse
from soilnb.study.uncertainty import over_sites

# Shown as theirs: made with other libraries, farms and networks, never mixed with ours.
CITATION = (
    "Shen et al. (2022), ISPRS Journal of Photogrammetry and Remote Sensing 188, "
    "190-200, Table 3, doi:10.1016/j.isprsjprs.2022.04.009"
)
SITES = ("China", "Sweden", "USA")
STATISTICS = {"rmse": "RMSE / %", "mean_error": "ME / %", "ccc": "CCC"}

# RMSE, mean error (both in % SOC) and concordance, at the three sites of `SITES`. The
# text at hand of the published table has lost two values of the USA.
_LOST = float("nan")
_TABLE_3 = {
    "local": ((0.46, 0.24, 0.47), (-0.02, -0.05, -0.07), (0.59, 0.90, 0.70)),
    "global": ((0.77, 1.06, 1.02), (-0.15, -0.95, _LOST), (0.54, 0.33, _LOST)),
    "country": ((0.51, 1.10, 2.89), (-0.21, -0.56, 1.98), (0.62, -0.30, 0.23)),
    "dtl_i_global": ((0.28, 0.23, 0.31), (-0.11, 0.04, -0.09), (0.84, 0.90, 0.84)),
    "dtl_r_global": ((0.45, 0.28, 0.35), (0.05, -0.01, -0.05), (0.42, 0.81, 0.80)),
    "dtl_ir_global": ((0.31, 0.33, 0.31), (0.01, -0.14, -0.09), (0.80, 0.82, 0.85)),
    "dtl_i_country": ((0.36, 0.39, 0.33), (0.09, -0.29, 0.05), (0.72, 0.73, 0.82)),
    "dtl_r_country": ((0.42, 1.10, 0.55), (0.11, 0.18, 0.17), (0.52, -0.54, 0.75)),
    "dtl_ir_country": ((0.45, 0.86, 0.32), (0.11, -0.59, -0.01), (0.48, 0.05, 0.86)),
}


def reported() -> pd.DataFrame:
    """Return the scores of nine methods at three sites, as of the paper's Table 3.

    Columns method, site, rmse and mean_error (% SOC; the paper does not say of which
    sign), ccc, and delta_rmse (percent, Eq. 1), computed from the two decimals of the
    table. The mean error and the concordance of `global` in the USA are missing.

    >>> table = reported()
    >>> table[table["method"] == "dtl_i_global"]["delta_rmse"].round(2).tolist()
    [39.13, 4.17, 34.04]
    """
    table = pd.DataFrame(
        [
            (method, *values)
            for method, statistics in _TABLE_3.items()
            for values in zip(SITES, *statistics, strict=True)
        ],
        columns=["method", "site", *STATISTICS],
    )
    local = table["site"].map(dict(zip(SITES, _TABLE_3["local"][0], strict=True)))
    return table.assign(delta_rmse=delta_rmse(local, table["rmse"]))


def average_delta(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the change in RMSE of each method, averaged over sites in two ways.

    `scores` has the columns method, site and rmse, one row for each pair, `local` at
    every site; a ValueError if not. The columns, without `local`, are mean (of the
    sites' ratios, as in the paper), pooled (the same ratio of summed RMSE, so that a
    site with larger errors counts more), both in percent and positive where better than
    `local`, and n_sites, those that have the method.

    >>> average_delta(reported()).loc["dtl_i_global"].round(2).tolist()
    [25.78, 29.91, 3.0]
    """
    rmse = by_site(scores, "rmse", "scores")
    without = rmse.columns[rmse.reindex(["local"]).loc["local"].isna()]
    if len(without):
        msg = (
            "'scores' must have the method 'local' at every site, it is missing at "
            f"{', '.join(without)}. Leave out sites that were not run to the end."
        )
        raise ValueError(msg)
    others = rmse.drop(index="local")
    local = others.notna() * rmse.loc["local"]
    ratios = others.div(rmse.loc["local"])
    return pd.DataFrame(
        {
            "mean": 100 * (1 - ratios.mean(axis=1)),
            "pooled": 100 * (1 - others.sum(axis=1) / local.sum(axis=1)),
            "n_sites": others.notna().sum(axis=1),
        }
    )


def table_3(scores: pd.DataFrame) -> pd.DataFrame:
    """Return scores in the layout of the paper's Table 3, to be shown.

    `scores` has the columns method, site, rmse, mean_error (% SOC) and ccc, one row for
    each pair: those of this project, or of `reported`. Rows are RMSE, then ME, then
    CCC, of every method; columns are sites, missing where one has no such method.

    >>> table_3(reported()).loc["RMSE / %"].loc["dtl_i_global"].tolist()
    [0.28, 0.23, 0.31]
    """
    parts = {
        name: by_site(scores, column, "scores").dropna(how="all")
        for column, name in STATISTICS.items()
    }
    return pd.concat(parts).rename_axis([None, "method"]).rename_axis(columns=None)


def compare_transfers(scores: pd.DataFrame) -> pd.DataFrame:
    """Return what all farms say of the paper's hypothesis, by pairs of methods.

    Index "RMSE of" and "over that of" (labels); columns of `over_sites`, which takes
    the same scores. DTL-IR over DTL-R, DTL-I over DTL-IR and over `local`, for each
    library.
    """
    networks = [n for n, m in METHODS.items() if m.kind in ("network", "transfer")]
    nine = scores[scores["method"].isin(networks)]
    rows = {}
    for library in ("global", "country"):
        both, layers, instances = (f"dtl_{kind}_{library}" for kind in ("ir", "r", "i"))
        for one, other in ((both, layers), (instances, both), (instances, "local")):
            if {one, other} <= set(nine["method"]):
                table = over_sites(nine, reference=other).set_index("method")
                rows[label(one), label(other)] = table.loc[one]
    return pd.DataFrame(rows).T.rename_axis(["RMSE of", "over that of"])
