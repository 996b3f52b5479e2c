"""The data that parameters name: read, prepared, fetched, listed and checked."""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from soilnb import datasets, plots
from soilnb._files import digest_file, digest_files, replacing
from soilnb._validation import check_choice
from soilnb.study import LIBRARY_ROWS_MIN, Study, prepare, why_unrelated
from soilnb.workflow.show import Progress
from soilnb.workflow.steps import ROOT, STEPS, Job, by_role

LIBRARY_TEXTS = {
    "farms": "real farms of LimeSoDa, installed with soilnb",
    "open": "real spectra in four open files, downloaded at first use (5 MB)",
    "farms+open": "both",
    "twin": "synthetic, 50,422 rows, made from a seed",
}
REFERENCE = ROOT / STEPS[by_role("collects")].files
_SCORES = ("library", "site", "kind", "method", "seed", "n_local", "n_test", "rmse")
# What reads a user's table in the place of a data set, or refuses it in one sentence.
READERS: dict[str, Callable[..., object]] = {
    "raca": datasets.load_sites,
    "edgeroi": datasets.load_profiles,
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
            values["library"],
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
        values["site"],
        measured=values["measured"],
        **{name: values[name] for name in datasets.OPTIONS},
    )


def describe_data() -> list[str]:
    """Return the built-in libraries, then a line for each set of spectra."""
    sites = {set_name: site for site, set_name in datasets.FARM_SITES.items()}
    farms = datasets.load_library("farms").info.groupby("group", sort=False)
    files, sets = datasets.open_files(), datasets.data_sets()
    rows: list[tuple] = [("set", "site", "samples", "country", "licence")]
    for name, info in farms:
        told = info.iloc[0][["country", "licence"]]
        rows.append((name, sites.get(name, "-"), len(info), *told))
    for name, file in files.items():
        site = name if name in datasets.OPEN_SITES else "-"
        rows.append((name, site, file.samples, file.country, file.licence))
    for name, country in datasets.TWIN_SITES.items():
        n_samples = len(datasets.load_site(name))
        rows.append(("twin", name, n_samples, country, "synthetic"))
    for name, one in sets.items():
        rows.append((name, "-", one.samples, one.country, one.licence))
    folder = datasets.data_folder()
    found = [name for name, file in files.items() if (folder / file.file).exists()]
    found += [name for name, one in sets.items() if one.is_there]
    return [
        "library      what",
        *(f"{name:<12} {text}" for name, text in LIBRARY_TEXTS.items()),
        "",
        *("{:<18} {:<16} {:>7}  {:<12} {}".format(*row) for row in rows),
        "",
        f"Downloaded files are kept in {folder}: {', '.join(found) or 'none'}.",
    ]


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
    return _conclude(report.understood(), problems, of_library=True)


def check_file(
    values: dict[str, Any], *, verbose: bool = False, plot: str = ""
) -> tuple[list[str], bool]:
    """Return what is understood of a site's file, and whether a study can use it.

    With `verbose`, also what was left out of the library. `plot` is the name of a
    picture of the spectra that is made.
    """
    options: dict[str, Any] = {name: values[name] for name in datasets.OPTIONS}
    measured = values["measured"]
    report = datasets.inspect_file(values["site"], measured=measured, **options)
    lines = report.understood()
    if report.library is None:
        return _conclude(lines, report.problems)
    if plot:
        _plot_spectra(report.library, plot)
        lines.append(f"  The spectra are drawn in {plot}.")
    try:
        datasets.folder_name(values["site"])
        if np.isnan(report.library.soc).all():  # the laboratory has not begun
            read_library(values)
            lines.append("  A study can be made as soon as some samples have SOC.")
            return _conclude(lines, ())
        study = prepare_study(values)
    except ValueError as error:
        return _conclude(lines, [str(error)])
    lines += [f"  {line}" for line in _describe_study(study, verbose)]
    return _conclude(lines, ())


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
    of_library = re.compile(r"\b(library|country)\b", re.IGNORECASE)
    own = [note for note in study.notes if note not in study.library.notes]
    told = [note for note in own if not of_library.search(note)]
    notes = study.notes if verbose else told
    return [*lines, *notes, *filter(None, [why_unrelated(study)])]


def _conclude(
    lines: list[str], problems: Sequence[str], *, of_library: bool = False
) -> tuple[list[str], bool]:
    """Return the lines with what is wrong and may mend it, and whether nothing is."""
    if not problems:
        return [*lines, "Nothing is wrong."], True
    wrong = [f"  {problem}" for problem in problems]
    mend = _say_it(problems, of_library=of_library)
    return [*lines, "Wrong:", *wrong, *mend], False


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
    path = Path(name)
    if path.suffix.lower() != ".png":
        msg = f"'--plot' must end in .png, got {name!r}. Give another name."
        raise ValueError(msg)
    figure = plots.plot_spectra(site.wavelengths, {"site": site.reflectance})
    with replacing(path) as partial:
        figure.savefig(partial, format="png")


def _is_own(values: Mapping[str, Any]) -> bool:
    """Return whether the parameter `data` names a user's table."""
    is_set = values.get("data", "raca") in datasets.data_sets()
    return not is_set or bool(values.get("second_view"))


def fetch_data(job: Job) -> str:
    """Fetch the data sets that a step needs, and check a user's table.

    Return nothing, or a sentence where a data set cannot be had: the step then shows
    its reference results. A ValueError or OSError for a user's unusable table.
    """
    needed, values = job.entry.data, job.values
    if _is_own(values):
        told = {key: values.get(f"{key}_column") for key in ("target", "region", "key")}
        columns = {key: column for key, column in told.items() if column}
        if "second_view" in values:
            datasets.load_pairs(values["data"], values["second_view"], **columns)
        else:
            READERS[needed[0]](values["data"], **columns)
        return ""
    for name in needed:
        try:
            datasets.fetch_set(name, Progress(f"downloading {name}"))
        except ConnectionError:
            return (
                f"{job.step} shows its reference results: the data set {name!r} is not "
                "on this computer and could not be downloaded. With a network, fetch "
                f"it and run again: soilnb data fetch {name}"
            )
    return ""


def origins(job: Job) -> dict[str, str]:
    """Return what identifies the data sets of a step, or what stands for them."""
    if not job.entry.data:
        return {}
    if _is_own(job.values):
        given = (job.values.get(key) for key in ("data", "second_view"))
        files = [Path(file) for file in given if file]
        return {f"data {one.name}": f"SHA-256 {digest_file(one)}" for one in files}
    sets = [datasets.data_sets()[name] for name in job.entry.data]
    if all(one.is_there for one in sets):
        return {f"data set {one.name}": f"SHA-256 {one.sha256}" for one in sets}
    _, _, subject = job.step.partition("_")
    tables = digest_files(REFERENCE.glob(f"{subject}*.csv"), REFERENCE)
    return {"reference results": f"SHA-256 {tables}"}


def read_reference(name: str) -> pd.DataFrame:
    """Return a table of the reference results, which come with the notebooks."""
    file = REFERENCE / f"{name}.csv"
    if not file.is_file():
        msg = (
            f"There are no reference results in this copy of the repository, got no "
            f"{file.name} in {REFERENCE}. Make them with: make reference"
        )
        raise ValueError(msg)
    table = pd.read_csv(file)
    for column in _SCORES if name == "scores" else ():
        if column not in table:
            msg = (
                f"'scores.csv' of the reference results must have the column "
                f"{column!r}, got {', '.join(table)}. Make the file again."
            )
            raise ValueError(msg)
    return table
