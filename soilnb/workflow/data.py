"""What data there is, and what is understood of a file before a study is made of it."""

from __future__ import annotations

from typing import Any

from soilnb.datasets import (
    FARM_SITES,
    OPEN_SITES,
    TWIN_SITES,
    data_folder,
    fetch,
    folder_name,
    inspect_file,
    load_library,
    load_site,
    open_files,
)
from soilnb.workflow.step import prepare_study

LIBRARY_TEXTS = {
    "farms": "real farms of LimeSoDa, installed with soilnb",
    "open": "real spectra in four open files, downloaded at first use (5 MB)",
    "farms+open": "both",
    "twin": "synthetic, 50,422 rows, made from a seed",
}


def describe_data() -> list[str]:
    """Return the built-in libraries, then a line for each set of spectra."""
    lines = ["library      what"]
    lines += [f"{name:<12} {text}" for name, text in LIBRARY_TEXTS.items()]
    form = "{:<18} {:<16} {:>7}  {:<12} {}"
    lines += ["", form.format("set", "site", "samples", "country", "licence")]
    sites = {set_name: site for site, set_name in FARM_SITES.items()}
    for group, rows in load_library("farms").info.groupby("group", sort=False):
        country, licence = rows.iloc[0][["country", "licence"]]
        lines.append(
            form.format(group, sites.get(group, "-"), len(rows), country, licence)
        )
    for name, file in open_files().items():
        site = name if name in OPEN_SITES else "-"
        lines.append(form.format(name, site, file.samples, file.country, file.licence))
    for name, country in TWIN_SITES.items():
        rows = len(load_site(name))
        lines.append(form.format("twin", name, rows, country, "synthetic"))
    folder = data_folder()
    there = [
        name for name, file in open_files().items() if (folder / file.file).exists()
    ]
    lines += [
        "",
        f"Downloaded files are kept in {folder}: {', '.join(there) or 'none'}.",
    ]
    return lines


def fetch_file(name: str) -> list[str]:
    """Download an open file where it is not there yet; return what it is.

    Parameters
    ----------
    name : str
        A name of `open_files`.

    Returns
    -------
    list of str
        Where the file is, what is in it, its licence and how to cite it.

    Raises
    ------
    ValueError
        If the name is unknown, or the file is not the one that was pinned.
    OSError
        If the file is not there and cannot be downloaded.
    """
    path = fetch(name)
    file = open_files()[name]
    return [
        f"{name} is at {path}",
        f"  {'what:':<9} {file.what}",
        f"  {'licence:':<9} {file.licence}",
        *(f"  {'cite:':<9} {text}" for text in file.cite),
    ]


def check_library(path: str, values: dict[str, Any]) -> tuple[list[str], bool]:
    """Return what is understood of a library's file, and whether it can be used.

    Parameters
    ----------
    path : str
        A table, or a folder with the tables of a published library.
    values : dict
        Parameters of 01_data; `library_quantity` and `library_soc_unit` are used.

    Returns
    -------
    lines : list of str
        The file, what was found and left out, then what is wrong.
    usable : bool
        Whether nothing is wrong.
    """
    report = inspect_file(
        path,
        quantity=values["library_quantity"],
        soc_unit=values["library_soc_unit"],
        soc_required=False,
    )
    return report.lines(), not report.problems


def check_file(values: dict[str, Any]) -> tuple[list[str], bool]:
    """Return what is understood of a site's file, and whether a study can use it.

    Parameters
    ----------
    values : dict
        Parameters of 01_data; `site` is the path.

    Returns
    -------
    lines : list of str
        The file, then the study that would be made of it, then what is wrong.
    usable : bool
        Whether nothing is wrong.
    """
    options = {key: values[key] for key in ("quantity", "soc_unit", "country")}
    report = inspect_file(values["site"], **options)
    *lines, verdict = report.lines()
    if report.problems:
        return [*lines, verdict], False
    try:
        folder_name(values["site"])
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
