"""The book: executed notebooks and prose, staged side by side and built strictly."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import nbformat
import yaml

from soilnb._files import digest_files, replace_folder
from soilnb.workflow.package import describe_package
from soilnb.workflow.run import StepError, only_run
from soilnb.workflow.show import ANSWERS, duration
from soilnb.workflow.stamps import find_mismatch, read_stamp, run_command
from soilnb.workflow.steps import (
    COMPANIONS,
    OF_SITE,
    ROOT,
    STEPS,
    Job,
    by_role,
    notebook_path,
)
from soilnb.workflow.student import answers_of, for_students, without_solutions

BUILD = ROOT / "_build"
# What the first page shows of a step's folder: the files, by the role of the step.
SHOWN = {"answers": ("answer.png",), "collects": ("turn_*.png", "farm_*.png")}


def build_book(
    parameters: Mapping[str, Any], folder: Path = BUILD, *, is_student: bool = False
) -> Path:
    """Build the book of one site from its results, if need be; return the first page.

    The student edition (`is_student`) has no solutions. Its notebooks to work in are in
    `folder`/notebooks, with the answers that they are checked by.
    """
    jobs = [Job(step, dict(parameters)) for step in STEPS]
    _check_results(jobs)
    folder.mkdir(parents=True, exist_ok=True)
    html, stage, partial = (folder / n for n in ("html", "stage", ".stage.partial"))
    stamp = html / ".stage"  # what the pages were made from
    with only_run(jobs[0].site_folder), only_run(folder):
        shutil.rmtree(partial, ignore_errors=True)
        _fill_stage(partial, jobs)
        if is_student:
            for page in (partial / "book").rglob("*.md"):
                page.write_text(without_solutions(page.read_text()))
            for page in (partial / "notebooks").glob("*.ipynb"):
                nbformat.write(for_students(_read(page)), page)
        digest = digest_files(filter(Path.is_file, partial.rglob("*")), partial)
        if not (stamp.is_file() and stamp.read_text() == digest):
            replace_folder(partial, stage)
            _build(stage, html)
            stamp.write_text(digest)
        shutil.rmtree(partial, ignore_errors=True)
        if is_student:
            _hand_out(jobs, folder)
    return html / "index.html"


def _check_results(jobs: list[Job]) -> None:
    """Raise where results are missing or do not belong together."""
    problem = None
    for folder, group in groupby(filter(_is_run, jobs), lambda job: job.site_folder):
        executed = {job.step: job.executed for job in group}
        problem = problem or find_mismatch(folder, executed)
        for step, notebook in executed.items():
            if not problem and not notebook.is_file():
                problem = step, f"there is no executed notebook of {step}"
    if problem:
        values = jobs[0].values
        given = {key: values[key] for key in ("site", "library", "results")}
        steps = COMPANIONS if STEPS[problem[0]].role == "companion" else "all"
        again = run_command(steps, given)
        msg = f"The book cannot be built: {problem[1]}. Run it first: {again}"
        raise StepError(msg)


def _is_run(job: Job) -> bool:
    """Return whether there are results: not without test samples that a step needs."""
    if job.entry.role == "companion":
        return job.executed.is_file()
    if not (job.entry.site and job.entry.tests):
        return True
    return read_stamp(job.place.with_name(OF_SITE[0])).get("n_test") != 0


def _read(file: Path) -> nbformat.NotebookNode:
    """Return a notebook."""
    return nbformat.read(file, as_version=4)


def _fill_stage(stage: Path, jobs: list[Job]) -> None:
    """Copy the prose and the executed notebooks, made ready for the book."""
    (stage / "notebooks").mkdir(parents=True)
    shutil.copytree(ROOT / "book", stage / "book")
    (stage / "benchmarks").mkdir()
    for table in (ROOT / "benchmarks").glob("*.md"):
        shutil.copy(table, stage / "benchmarks")
    for folder in {job.entry.files for job in jobs if job.entry.files}:
        shutil.copytree(ROOT / folder, stage / folder)
    shutil.copy(ROOT / "_toc.yml", stage)
    with (stage / "book" / "package.md").open("a", encoding="utf-8") as members:
        members.write("\n" + describe_package())
    _write_times(stage / "book", jobs)
    _write_config(stage)
    for job in jobs:
        for pattern in SHOWN.get(job.entry.role, ()):
            for file in job.place.glob(pattern):
                shutil.copy(file, stage / "book" / "assets")
        page = stage / "notebooks" / f"{job.step}.ipynb"
        if _is_run(job):
            nbformat.write(_ready(_read(job.executed), read_stamp(job.place)), page)
            continue
        nbformat.write(_left_out(job.step), page)
        number = re.compile(rf"{{glue:text}}`[^`]*/{job.step}\.ipynb::[^`]*`")
        for prose in (stage / "book").rglob("*.md"):
            prose.write_text(number.sub("–", prose.read_text()))


def _hand_out(jobs: list[Job], folder: Path) -> None:
    """Leave the notebooks that students work in, and what their answers are held to."""
    notebooks = folder / "notebooks"
    shutil.rmtree(notebooks, ignore_errors=True)
    notebooks.mkdir()
    answers: dict[str, Any] = {}
    for job in jobs:
        page = for_students(_read(notebook_path(job.step)))
        nbformat.write(page, notebooks / f"{job.step}.ipynb")
        if _is_run(job):
            answers |= answers_of(_read(job.executed))
    (notebooks / ANSWERS).write_text(json.dumps(answers, indent=1, ensure_ascii=False))
    assets = folder / "book" / "assets"  # where the notebooks look for diagrams
    shutil.copytree(ROOT / "book" / "assets", assets, dirs_exist_ok=True)


def _left_out(step: str) -> nbformat.NotebookNode:
    """Return the page of a step that was not run: its words, and why."""
    notebook = _read(notebook_path(step))
    cells = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    title, why = (
        "for this farm",
        "This chapter scores models on test samples, and too few samples of this farm "
        "are measured to keep some for a test. Its numbers and figures are left out; "
        f"{{doc}}`{by_role('answers')}` estimates the samples that are not measured.",
    )
    if STEPS[step].role == "companion":
        title, why = (
            "yet",
            "This chapter needs no farm and is run on its own. Its numbers and figures "
            f"are left out until then: `soilnb run {step}`.",
        )
    text = f"```{{admonition}} Not run {title}\n:class: warning\n{why}\n```"
    cells.insert(1, nbformat.v4.new_markdown_cell(text, id="left-out"))
    notebook.cells = cells
    return notebook


def _write_times(folder: Path, jobs: list[Job]) -> None:
    """Write how long the steps that ran took where a page asks {run-time}`A_STEP`."""
    ran = {job.step: read_stamp(job.place)["seconds"] for job in jobs if _is_run(job)}

    def told(asked: re.Match[str]) -> str:
        seconds = [ran[step] for step in asked[1].split() if step in ran]
        return duration(sum(seconds)) if seconds else "–"

    for page in folder.rglob("*.md"):
        page.write_text(re.sub(r"{run-time}`([\w ]+)`", told, page.read_text()))


def _write_config(stage: Path) -> None:
    """Copy the settings; where the repository is known, add its buttons."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    if name := os.environ.get("GITHUB_REPOSITORY"):
        config["repository"] = {"url": f"https://github.com/{name}", "branch": "main"}
        buttons = ("repository", "edit_page", "issues")
        config["html"] |= {f"use_{button}_button": True for button in buttons}
        config["launch_buttons"] = {
            "notebook_interface": "jupyterlab",
            "binderhub_url": "https://mybinder.org",
        }
    (stage / "_config.yml").write_text(yaml.safe_dump(config, sort_keys=False))


def _ready(
    notebook: nbformat.NotebookNode, facts: Mapping[str, Any]
) -> nbformat.NotebookNode:
    """Return an executed notebook as the book wants it, with how it was made."""
    cells = [
        cell
        for cell in notebook.cells
        if "injected-parameters" not in cell.metadata.get("tags", [])
    ]
    for number, cell in enumerate(cells):
        if cell.cell_type == "code":
            _move_alt_text(cell, f"{facts['step']}-{number}")
    note = nbformat.v4.new_markdown_cell(_provenance(facts), id="provenance")
    notebook.cells = [*cells, note]
    notebook.metadata.pop("papermill", None)
    return notebook


def _move_alt_text(cell: nbformat.NotebookNode, name: str) -> None:
    """Give the book a figure's alt text and caption; refuse a figure without."""
    cell.outputs = [
        output
        for output in cell.outputs
        if output.get("metadata", {}).get("soilnb") not in ("caption", "answer")
    ]
    for output in cell.outputs:
        if "image/png" not in output.get("data", {}):
            continue
        texts = output.metadata.get("image/png", {})
        says = ""
        if not texts.get("alt"):
            says = "A figure of cell {} has no alt text. Show it with show.figure()."
        elif len(cell.outputs) > 1:  # the book would give each of them the caption
            says = "Cell {} shows more than its figure. Give the figure its own cell."
        if says:
            raise StepError(says.format(name))
        cell.metadata["mystnb"] = {
            "image": {"alt": texts["alt"]},
            "figure": {"caption": texts["caption"], "name": f"fig-{name}"},
        }


def _provenance(facts: Mapping[str, Any]) -> str:
    """Return the note at the foot of a notebook's page."""
    lists = {
        "Parameters": facts["parameters"],
        "Data": facts["data"] | facts.get("files", {}),
        "Versions": facts["versions"],
    }
    lines = [
        "```{admonition} How this page was made",
        ":class: made dropdown",
        f"The notebook ran in {duration(facts['seconds'])}"
        + (f", from prepared study `{facts['study']}`." if facts["study"] else "."),
    ]
    for title, values in lists.items():
        named = {  # of a file the name only, of nothing a dash
            key: Path(value).name or "–" if isinstance(value, str) else value
            for key, value in values.items()
        }
        text = ", ".join(f"{key} `{value}`" for key, value in named.items())
        lines += ["", f"**{title}:** {text}."]
    return "\n".join([*lines, "```"])


def _build(stage: Path, html: Path) -> None:
    """Run Jupyter Book, warnings as errors, and put the pages in their place."""
    made = stage.with_name("book")
    shutil.rmtree(made, ignore_errors=True)
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", str(stage)]
    options = ["--path-output", str(made), "--all", "-W", "-n", "--keep-going", "-q"]
    command += options
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()
        problems = [line for line in lines if "WARNING" in line or "ERROR" in line]
        msg = "The book did not build:\n" + "\n".join(problems or lines[-20:])
        raise StepError(msg)
    replace_folder(made / "_build" / "html", html)
    shutil.rmtree(made)
