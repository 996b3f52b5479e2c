"""The data that parameters name: read, prepared, listed and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from soilnb._validation import check_choice
from soilnb.datasets import (
    FARM_SITES,
    OPEN_SITES,
    TWIN_SITES,
    DataSet,
    OpenFile,
    SpectralLibrary,
    data_folder,
    data_sets,
    fetch,
    fetch_set,
    folder_name,
    inspect_file,
    load_library,
    load_site,
    open_files,
)
from soilnb.study import Study, prepare
from soilnb.workflow.places import resolve
from soilnb.workflow.show import Progress

if TYPE_CHECKING:
    from soilnb.workflow.step import Step

LIBRARY_TEXTS = {
    "farms": "real farms of LimeSoDa, installed with soilnb",
    "open": "real spectra in four open files, downloaded at first use (5 MB)",
    "farms+open": "both",
    "twin": "synthetic, 50,422 rows, made from a seed",
}


def prepare_study(values: Mapping[str, Any], progress: Any = None) -> Study:
    """Return the study that the parameters of the first step describe."""
    return prepare(
        read_library(values, progress),
        read_site(values),
        n_local=values["n_local"],
        n_folds=values["n_folds"],
        wavelength_range=tuple(values["wavelength_range"]),
        seed=values["seed"],
    )


def read_library(values: Mapping[str, Any], progress: Any = None) -> SpectralLibrary:
    """Return the library as it was measured."""
    try:
        return load_library(
            resolve(values["library"]),
            quantity=values["library_quantity"],
            soc_unit=values["library_soc_unit"],
            progress=progress,
        )
    except ValueError as error:  # the reader speaks of quantity and soc_unit
        text = re.sub(r"\b(quantity|soc_unit)(?=['=])", r"library_\1", str(error))
        msg = f"Library {values['library']!r}: {text}"
        raise ValueError(msg) from error


def read_site(values: Mapping[str, Any]) -> SpectralLibrary:
    """Return the site as it was measured."""
    return load_site(
        resolve(values["site"]),
        quantity=values["quantity"],
        soc_unit=values["soc_unit"],
        country=values["country"],
        measured=resolve(values["measured"]),
    )


def measured_site(step: Step) -> SpectralLibrary:
    """Return the samples of a step's study at the wavelengths of measurement."""
    site = read_site(step.values)
    used = site.info["sample_id"].isin(set(step.study.site.info["sample_id"]))
    return site.take(used.to_numpy())


def describe_data() -> list[str]:
    """Return the built-in libraries, then a line for each set of spectra."""
    lines = ["library      what"]
    lines += [f"{name:<12} {text}" for name, text in LIBRARY_TEXTS.items()]
    form = "{:<18} {:<16} {:>7}  {:<12} {}"
    lines += ["", form.format("set", "site", "samples", "country", "licence")]
    sites = {set_name: site for site, set_name in FARM_SITES.items()}
    for group, rows in load_library("farms").info.groupby("group", sort=False):
        country, licence = rows.iloc[0][["country", "licence"]]
        site = sites.get(group, "-")
        lines.append(form.format(group, site, len(rows), country, licence))
    for name, file in open_files().items():
        site = name if name in OPEN_SITES else "-"
        lines.append(form.format(name, site, file.samples, file.country, file.licence))
    for name, country in TWIN_SITES.items():
        rows = len(load_site(name))
        lines.append(form.format("twin", name, rows, country, "synthetic"))
    for name, one in data_sets().items():
        lines.append(form.format(name, "-", one.samples, one.country, one.licence))
    folder = data_folder()
    files = open_files().items()
    found = [name for name, file in files if (folder / file.file).exists()]
    there = ", ".join(found + [n for n, one in data_sets().items() if one.is_there])
    return [*lines, "", f"Downloaded files are kept in {folder}: {there or 'none'}."]


def fetch_file(name: str) -> list[str]:
    """Download an open file or a data set if it is not there yet; return what it is."""
    file: OpenFile | DataSet
    check_choice(name, "data set", (*open_files(), *data_sets()))
    if name in data_sets():
        fetch_set(name, Progress(f"downloading {name}"))
        path, file = data_folder(), data_sets()[name]
    else:
        path, file = fetch(name), open_files()[name]
    return [
        f"{name} is at {path}",
        f"  {'what:':<9} {file.what}",
        f"  {'licence:':<9} {file.licence}",
        *(f"  {'cite:':<9} {text}" for text in file.cite),
    ]


def check_library(path: str, values: dict[str, Any]) -> tuple[list[str], bool]:
    """Return what is understood of a library's file, and whether it can be used."""
    report = inspect_file(
        path,
        quantity=values["library_quantity"],
        soc_unit=values["library_soc_unit"],
        soc_required=False,
    )
    return report.lines(), not report.problems


def check_file(values: dict[str, Any]) -> tuple[list[str], bool]:
    """Return what is understood of a site's file, and whether a study can use it."""
    told = ("quantity", "soc_unit", "country", "measured")
    options: dict[str, Any] = {key: resolve(values[key]) for key in told}
    report = inspect_file(values["site"], **options)
    *lines, verdict = report.lines()
    if report.library is None:
        return [*lines, verdict], False
    try:
        folder_name(values["site"])
        if np.isnan(report.library.soc).all():  # the laboratory has not begun
            read_library(values)
            lines.append("  A study can be made as soon as some samples have SOC.")
            return [*lines, verdict], True
        study = prepare_study(values)
    except ValueError as error:
        return [*lines, "Wrong:", f"  {error}"], False
    first, last = study.wavelengths[[0, -1]]
    lines.append(
        f"  A study with library {study.library.name!r}: {len(study.local)} local and "
        f"{len(study.test)} test samples, {len(study.wavelengths)} bands from "
        f"{first:g} to {last:g} nm, {len(study.library)} library rows, "
        f"{len(study.country_rows)} of them from the site's country."
    )
    lines += [f"  {note}" for note in study.notes]
    return [*lines, verdict], True
