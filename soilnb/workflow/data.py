"""The data that parameters name: read, prepared, listed and checked."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from soilnb import datasets
from soilnb._files import replacing
from soilnb._validation import check_choice
from soilnb.study import LIBRARY_ROWS_MIN, Study, prepare, why_unrelated
from soilnb.workflow.places import resolve
from soilnb.workflow.show import Progress
from soilnb.workflow.steps import STEPS

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


def read_library(
    values: Mapping[str, Any], progress: Any = None
) -> datasets.SpectralLibrary:
    """Return the library as it was measured."""
    try:
        return datasets.load_library(
            resolve(values["library"]),
            progress=progress,
            **datasets.parse_options(values["library_file"]),
        )
    except ValueError as error:  # the reader speaks of quantity and soc_unit
        line = " ".join(_say_it([str(error)], of_library=True))
        msg = f"Library {values['library']!r}: {error} {line}".strip()
        raise ValueError(msg) from error


def read_site(values: Mapping[str, Any]) -> datasets.SpectralLibrary:
    """Return the site as it was measured."""
    return datasets.load_site(
        resolve(values["site"]),
        measured=resolve(values["measured"]),
        **{name: values[name] for name in datasets.OPTIONS},
    )


def measured_site(step: Step) -> datasets.SpectralLibrary:
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
    sites = {set_name: site for site, set_name in datasets.FARM_SITES.items()}
    for group, rows in datasets.load_library("farms").info.groupby("group", sort=False):
        country, licence = rows.iloc[0][["country", "licence"]]
        site = sites.get(group, "-")
        lines.append(form.format(group, site, len(rows), country, licence))
    for name, file in datasets.open_files().items():
        site = name if name in datasets.OPEN_SITES else "-"
        lines.append(form.format(name, site, file.samples, file.country, file.licence))
    for name, country in datasets.TWIN_SITES.items():
        rows = len(datasets.load_site(name))
        lines.append(form.format("twin", name, rows, country, "synthetic"))
    for name, one in datasets.data_sets().items():
        lines.append(form.format(name, "-", one.samples, one.country, one.licence))
    folder = datasets.data_folder()
    files = datasets.open_files().items()
    found = [name for name, file in files if (folder / file.file).exists()]
    found += [name for name, one in datasets.data_sets().items() if one.is_there]
    there = ", ".join(found)
    return [*lines, "", f"Downloaded files are kept in {folder}: {there or 'none'}."]


def fetch_file(name: str) -> list[str]:
    """Download an open file or a data set if it is not there yet; return what it is."""
    file: datasets.OpenFile | datasets.DataSet
    check_choice(name, "data set", (*datasets.open_files(), *datasets.data_sets()))
    if name in datasets.data_sets():
        datasets.fetch_set(name, Progress(f"downloading {name}"))
        path, file = datasets.data_folder(), datasets.data_sets()[name]
    else:
        path, file = datasets.fetch(name), datasets.open_files()[name]
    return [
        f"{name} is at {path}",
        f"  {'what:':<9} {file.what}",
        f"  {'licence:':<9} {file.licence}",
        *(f"  {'cite:':<9} {text}" for text in file.cite),
    ]


def check_library(path: str, values: dict[str, Any]) -> tuple[list[str], bool]:
    """Return what is understood of a library's file, and whether it can be used."""
    told: dict[str, Any] = {name: values[name] for name in datasets.OPTIONS}
    told |= datasets.parse_options(values["library_file"])
    report = datasets.inspect_file(path, soc_required=False, **told)
    problems = [*report.problems]
    n_rows = len(report.library) if report.library is not None else LIBRARY_ROWS_MIN
    if n_rows < LIBRARY_ROWS_MIN:
        problems.append(
            f"A library must have at least {LIBRARY_ROWS_MIN} rows for a run, got "
            f"{n_rows}. Add samples, or use another library."
        )
    return _conclude(report.understood(), problems, of_library=True), not problems


def check_file(
    values: dict[str, Any], *, verbose: bool = False, plot: str = ""
) -> tuple[list[str], bool]:
    """Return what is understood of a site's file, and whether a study can use it.

    With `verbose`, also what was left out of the library. `plot` is the name of a
    picture of the spectra that is made.
    """
    options: dict[str, Any] = {name: values[name] for name in datasets.OPTIONS}
    measured = resolve(values["measured"])
    site = resolve(values["site"])
    report = datasets.inspect_file(site, measured=measured, **options)
    lines = report.understood()
    if report.library is None:
        return _conclude(lines, report.problems), False
    if plot:
        _plot_spectra(report.library, plot)
        lines.append(f"  The spectra are drawn in {plot}.")
    try:
        datasets.folder_name(values["site"])
        if np.isnan(report.library.soc).all():  # the laboratory has not begun
            read_library(values)
            lines.append("  A study can be made as soon as some samples have SOC.")
            return _conclude(lines, ()), True
        study = prepare_study(values)
    except ValueError as error:
        return _conclude(lines, [str(error)]), False
    lines += [f"  {line}" for line in _describe_study(study, verbose)]
    return _conclude(lines, ()), True


def _describe_study(study: Study, verbose: bool) -> list[str]:
    """Return what a study of a file will be, and what to know before it is run."""
    first, last = study.wavelengths[[0, -1]]
    lines = [
        f"A study with library {study.library.name!r}: {len(study.local)} local and "
        f"{len(study.test)} test samples, {len(study.wavelengths)} bands from "
        f"{first:g} to {last:g} nm, {len(study.library)} library rows, "
        f"{len(study.country_rows)} of them from the site's country."
    ]
    need_test = [name[:2] for name, step in STEPS.items() if step.site and step.tests]
    lines.append(
        "All chapters can run."
        if len(study.test)
        else f"The chapters {', '.join(need_test)} cannot run: too few samples are "
        "measured for a test."
    )
    if verbose:
        return [*lines, *study.notes, *filter(None, [why_unrelated(study)])]
    of_library = re.compile(r"\b(library|country)\b", re.IGNORECASE)
    own = [note for note in study.notes if note not in study.library.notes]
    lines += [note for note in own if not of_library.search(note)]
    return lines + [warning for warning in [why_unrelated(study)] if warning]


def _conclude(
    lines: list[str], problems: Sequence[str], *, of_library: bool = False
) -> list[str]:
    """Return the lines with what is wrong, and the parameters that may mend it."""
    if not problems:
        return [*lines, "Nothing is wrong."]
    wrong = [f"  {problem}" for problem in problems]
    return [*lines, "Wrong:", *wrong, *_say_it(problems, of_library=of_library)]


def _say_it(problems: Sequence[str], *, of_library: bool = False) -> list[str]:
    """Return the line with the parameters that problems name, if they name any."""
    found: dict[str, list[str]] = {}
    named = rf"\b({'|'.join(datasets.OPTIONS)})='([^']+)'"
    own = " ".join(text for text in problems if "library_file=" not in text)
    for name, value in dict.fromkeys(re.findall(named, own)):
        found.setdefault(name, []).append(value)
    parts = [f"{name}={values[0]}" for name, values in found.items()]
    others = [f" (or {', '.join(rest)})" * bool(rest) for _, *rest in found.values()]
    if of_library and parts:
        parts, others = [f"library_file={', '.join(parts)}"], ["".join(others)]
    given = [f"-p {shlex.quote(p)}{o}" for p, o in zip(parts, others, strict=True)]
    return [f"Say it with: {' '.join(given)}"] if given else []


def _plot_spectra(site: datasets.SpectralLibrary, name: str) -> None:
    """Leave a picture of the spectra of a file."""
    from soilnb import plots  # loads Matplotlib

    path = Path(name)
    if path.suffix.lower() != ".png":
        msg = f"'--plot' must end in .png, got {name!r}. Give another name."
        raise ValueError(msg)
    figure = plots.plot_spectra(site.wavelengths, {"site": site.reflectance})
    with replacing(path) as partial:
        figure.savefig(partial, format="png")
