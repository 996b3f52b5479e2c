"""What data there is, and what is understood of a file before a study is made of it."""

from __future__ import annotations

from typing import Any

from soilnb.datasets import SITES, folder_name, inspect_file, load_library
from soilnb.workflow.step import prepare_study


def describe_data() -> list[str]:
    """Return a line for the built-in library and one for each of its farms."""
    library = load_library("farms")
    sites = {group: name for name, group in SITES.items()}
    lines = [f"library farms: {len(library)} samples of these farms", ""]
    lines.append(f"{'site':<15} {'farm':<8} {'samples':>7}  {'country':<12} licence")
    for group, rows in library.info.groupby("group", sort=False):
        country, licence = rows.iloc[0][["country", "licence"]]
        lines.append(
            f"{sites.get(group, '-'):<15} {group:<8} {len(rows):>7}  {country:<12} "
            f"{licence}"
        )
    return lines


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
