"""Every method of the study: its name in files, its label for people, its order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Method:
    """A way to estimate soil organic carbon.

    Parameters
    ----------
    name : str
        As files name it.
    label : str
        As tables and figures name it.
    kind : str
        "plain" (no network), "fixed" (a network of a given architecture), "network"
        (of an architecture that was searched for), "transfer" (from such a network or
        with selected rows) or "chosen" (one of the others).
    """

    name: str
    label: str
    kind: str


METHODS = {
    name: Method(name, label, kind)
    for name, label, kind in (
        ("null_model", "mean of the measured", "plain"),
        ("plsr_local", "PLSR local", "plain"),
        ("plsr_one_se", "PLSR local, parsimonious", "plain"),
        ("gp_local", "Gaussian process", "plain"),
        ("svr_local", "support vectors", "plain"),
        ("rf_local", "forest local", "plain"),
        ("cubist_local", "Cubist local", "plain"),
        ("plsr_global", "PLSR global", "plain"),
        ("rf_global", "forest global", "plain"),
        ("plsr_country", "PLSR country", "plain"),
        ("rf_country", "forest country", "plain"),
        ("plsr_spiked", "PLSR spiked", "plain"),
        ("plsr_weighted", "PLSR extra-weighted", "plain"),
        ("plsr_weighted_cv", "PLSR, weight chosen", "plain"),
        ("mbl", "memory-based", "plain"),
        ("shenk_local", "LOCAL (Shenk)", "plain"),
        ("plsr_rs_local", "PLSR, RS-LOCAL", "plain"),
        ("rf_rs_local", "forest, RS-LOCAL", "plain"),
        ("cnn_small", "CNN small", "fixed"),
        ("cnn_published", "CNN published", "fixed"),
        ("local", "CNN local", "network"),
        ("global", "CNN global", "network"),
        ("country", "CNN country", "network"),
        ("dtl_i_global", "DTL-I global", "transfer"),
        ("dtl_r_global", "DTL-R global", "transfer"),
        ("dtl_ir_global", "DTL-IR global", "transfer"),
        ("dtl_i_country", "DTL-I country", "transfer"),
        ("dtl_r_country", "DTL-R country", "transfer"),
        ("dtl_ir_country", "DTL-IR country", "transfer"),
        ("recommended", "recommended", "chosen"),
        ("blend", "blend", "chosen"),
    )
}
# Made of a library alone, without any sample of the farm.
FOREIGN = tuple(
    kind + library for library in ("global", "country") for kind in ("plsr_", "rf_", "")
)
# Made of the farm's own samples alone.
LOCAL = (
    "plsr_local",
    "plsr_one_se",
    "gp_local",
    "svr_local",
    "rf_local",
    "cubist_local",
    "cnn_small",
    "cnn_published",
    "local",
)


def label(name: str) -> str:
    """Return a method as people name it; a name that is not known stays.

    Examples
    --------
    >>> label("dtl_i_global"), label("mine")
    ('DTL-I global', 'mine')
    """
    return METHODS[name].label if name in METHODS else name


def in_order(names: Iterable[str]) -> list[str]:
    """Return methods once each, known ones in their order, then the unknown ones.

    Examples
    --------
    >>> in_order(["mine", "dtl_i_global", "mbl", "mine"])
    ['mbl', 'dtl_i_global', 'mine']
    """
    found = list(dict.fromkeys(names))
    known = [name for name in METHODS if name in found]
    return known + [name for name in found if name not in METHODS]


def labelled(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table to be shown: its methods by their labels.

    Parameters
    ----------
    table : DataFrame
        Methods in the column, the index or the level of the index named "method" or
        "candidate".

    Returns
    -------
    DataFrame

    Examples
    --------
    >>> labelled(pd.DataFrame({"method": ["mbl"], "rmse": [0.3]}))["method"].item()
    'memory-based'
    """
    shown = table.copy()
    for name in ("method", "candidate"):
        if name in shown:
            shown[name] = shown[name].map(label)
        if name in shown.index.names:
            level = name if shown.index.nlevels > 1 else None
            shown = shown.rename(index=label, level=level)
    return shown


def by_site(table: pd.DataFrame, column: str, name: str = "table") -> pd.DataFrame:
    """Return methods in rows, in their order, and sites in columns.

    Parameters
    ----------
    table : DataFrame
        Columns method, site and `column`, one row for each pair.
    column : str
        What to show.
    name : str, default "table"
        What the refusal calls the table.

    Raises
    ------
    ValueError
        If a method is there twice at a site.
    """
    twice = table.duplicated(["method", "site"])
    if twice.any():
        method, site = table.loc[twice, ["method", "site"]].iloc[0]
        msg = (
            f"{name!r} must have one row for each method and site, {method!r} at "
            f"{site!r} has more. Take one seed, or average over them."
        )
        raise ValueError(msg)
    wide = table.pivot(index="method", columns="site", values=column)
    return wide.reindex(index=in_order(wide.index), columns=table["site"].unique())


# The models of a region and how they are called, in the order of tables and figures.
REGIONAL = {
    "regional_forest": "regional forest",
    "regional_network": "regional network, no pre-training",
    "pooled_forest": "forest of all, the region weighted",
    "global_network": "global network, untouched",
    "bias_corrected": "global + mean residual",
    "bias_shrunk": "global + mean residual, shrunk",
    "fine_tuned": "fine-tuned, all layers, honest stop",
    "fine_tuned_head": "fine-tuned, output only, honest stop",
    "fine_tuned_no_stop": "fine-tuned, not stopped",
    "fine_tuned_test_stop": "fine-tuned, stopped by the test",
    "ensemble_out_of_fold": "ensemble, weight out of fold",
    "ensemble_gated": "ensemble, weight by covariates",
    "ensemble_in_sample": "ensemble, weight in sample",
}
