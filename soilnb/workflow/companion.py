"""Companion chapters: their data sets, or the reference tables in their place."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from soilnb import datasets
from soilnb._files import digest_file, digest_files
from soilnb.workflow import show
from soilnb.workflow.steps import ROOT, STEPS

REFERENCE = ROOT / "data" / "reference_results"
# What reads a user's table in the place of a data set, or refuses it in one sentence.
READERS: dict[str, Callable[..., object]] = {
    "raca": datasets.load_sites,
    "edgeroi": datasets.load_profiles,
}


def is_own(values: Mapping[str, Any]) -> bool:
    """Return whether the parameter `data` names a user's table."""
    is_set = values.get("data", "raca") in datasets.data_sets()
    return not is_set or bool(values.get("second_view"))


def fetch_data(step: str, values: Mapping[str, Any]) -> str:
    """Fetch the data sets that a step needs, and check a user's table.

    Return nothing, or a sentence where a data set cannot be had: the step then shows
    its reference results. A ValueError or OSError for a user's unusable table.
    """
    needed = STEPS[step].data
    if is_own(values):
        names = ("target", "region", "key")
        told = {name: values.get(f"{name}_column") for name in names}
        columns = {name: column for name, column in told.items() if column}
        if "second_view" in values:
            datasets.load_pairs(values["data"], values["second_view"], **columns)
        else:
            READERS[needed[0]](values["data"], **columns)
        return ""
    for name in needed:
        try:
            datasets.fetch_set(name, show.Progress(f"downloading {name}"))
        except ConnectionError:
            return (
                f"{step} shows its reference results: the data set {name!r} is not on "
                "this computer and could not be downloaded. With a network, fetch it "
                f"and run again: soilnb data fetch {name}"
            )
    return ""


def origins(step: str, values: Mapping[str, Any]) -> dict[str, str]:
    """Return what identifies the data sets of a step, or what stands for them."""
    if not STEPS[step].data:
        return {}
    if is_own(values):
        files = [values[key] for key in ("data", "second_view") if values.get(key)]
        return {
            f"data {Path(file).name}": f"SHA-256 {digest_file(Path(file))}"
            for file in files
        }
    sets = [datasets.data_sets()[name] for name in STEPS[step].data]
    if all(one.is_there for one in sets):
        return {f"data set {one.name}": f"SHA-256 {one.sha256}" for one in sets}
    _, _, subject = step.partition("_")
    tables = digest_files(REFERENCE.glob(f"{subject}*.csv"), REFERENCE)
    return {"reference results": f"SHA-256 {tables}"}


def read_reference(name: str) -> pd.DataFrame:
    """Return a companion's table of the reference results."""
    return pd.read_csv(REFERENCE / f"{name}.csv")
