"""Every method, and every design of a draw: names in files, words for people."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd


@dataclass(frozen=True)
class Method:
    """A way to estimate soil organic carbon: name in files, label for people, kind.

    Kinds: "plain" (no network), "fixed" and "network" (architecture given or searched
    for), "transfer" (from such a network or with selected rows), "chosen" (of the
    others).
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
_KINDS = ("plsr_", "rf_", "")
FOREIGN = tuple(kind + name for name in ("global", "country") for kind in _KINDS)
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


class Design(NamedTuple):
    """How samples were drawn: its label, what was done, and what holds after it."""

    label: str
    words: str
    says: str


DESIGNS = {
    "stratified": Design(
        "stratified",
        "chosen by chance within groups of similar spectra (stratified)",
        "The draw is random within strata of similar spectra. It serves the models and "
        "the mean, and its intervals hold, unless a few samples are far richer.",
    ),
    "random": Design(
        "random",
        "chosen by chance (random)",
        "The draw is simply random. Its intervals hold, unless a few samples are far "
        "richer; spectra help its mean most.",
    ),
    "kennard_stone": Design(
        "Kennard-Stone",
        "chosen to be unlike each other (Kennard-Stone)",
        "Kennard-Stone covers the spectra evenly, without chance. That is good for a "
        "model; the mean has no interval after it, and those of the samples tend to be "
        "too wide and are not guaranteed.",
    ),
    "unknown": Design(
        "unknown design",
        "chosen in a way that is not known",
        "How the measured samples were drawn is not known. The mean has no interval, "
        "and those of the samples hold only if they are like the others.",
    ),
}


def label(name: str) -> str:
    """Return a method as people name it; a name that is not known stays.

    >>> label("dtl_i_global"), label("mine")
    ('DTL-I global', 'mine')
    """
    return METHODS[name].label if name in METHODS else name


def in_order(names: Iterable[str]) -> list[str]:
    """Return methods once each, known ones in their order, then the unknown ones.

    >>> in_order(["mine", "dtl_i_global", "mbl", "mine"])
    ['mbl', 'dtl_i_global', 'mine']
    """
    found = list(dict.fromkeys(names))
    known = [name for name in METHODS if name in found]
    return known + [name for name in found if name not in METHODS]


def labelled(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table to be shown: methods by their labels.

    They stand in the column, the index or the level of the index named "method" or
    "candidate".

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
    """Return a column of a table (method, site, `column`): methods by sites.

    Raises ValueError, which calls the table `name`, if a method is there twice at a
    site.
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
