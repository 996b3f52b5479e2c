"""The chain: which steps are fresh, and running the others in order.

A step is fresh when its notebook, its parameters, the package, the data, the results
it reads and the results it left are all as they were when it last finished.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from soilnb._validation import check_int
from soilnb.datasets import SITES, data_folder
from soilnb.rslocal import selection_size
from soilnb.study import Study
from soilnb.workflow.folders import check_writable, resolve, results_folder
from soilnb.workflow.params import (
    ROOT,
    STEPS,
    check_parameters,
    notebook_path,
    parse_assignments,
    read_cells,
)
from soilnb.workflow.show import duration
from soilnb.workflow.stamps import (
    check_owner,
    data_digests,
    digest_files,
    package_digest,
    versions,
)
from soilnb.workflow.step import prepare_study

_RUN_STAMP = "run.json"
_FOR_FILES = ("quantity", "soc_unit", "country")


class StepError(RuntimeError):
    """A step that did not finish; the message says which cell, why and what next."""


@dataclass(frozen=True)
class Job:
    """One step for one site.

    Attributes
    ----------
    step : str
        Name of the step.
    values : dict
        All its parameters, checked.
    """

    step: str
    values: dict[str, Any] = field(hash=False)

    @property
    def site_folder(self) -> Path:
        """results/<library>/<site>."""
        return results_folder(self.values)

    @property
    def place(self) -> Path:
        """Where the step leaves its results."""
        return self.site_folder / self.step

    @property
    def notebook(self) -> Path:
        """Where papermill writes the executed notebook meanwhile."""
        return self.site_folder / f".{self.step}.ipynb"


def plan_steps(names: list[str]) -> list[str]:
    """Return the steps that are asked for and all that they read, in order.

    Examples
    --------
    >>> plan_steps(["03_rs_local"])
    ['01_data', '03_rs_local']
    """
    wanted = set(STEPS) if "all" in names else set(names)
    wanted |= {earlier for name in tuple(wanted) for earlier in STEPS[name]}
    return [step for step in STEPS if step in wanted]


def plan(
    names: list[str], sites: list[str], shared: dict[str, Any], assignments: list[str]
) -> list[Job]:
    """Return the jobs of a run, with every parameter checked.

    Parameters
    ----------
    names : list of str
        Steps, or "all".
    sites : list of str
        Names or paths.
    shared : dict
        Parameters of every step: library, profile.
    assignments : list of str
        ``name=value`` texts.

    Returns
    -------
    list of Job
        Site by site, each in the order of the steps.

    Raises
    ------
    ValueError, TypeError
        Whatever is wrong with a parameter.
    """
    steps = plan_steps(names)
    given = parse_assignments(assignments, steps)
    jobs: list[Job] = []
    owners: dict[Path, str] = {}
    for site in dict.fromkeys(resolve(site) for site in sites):
        common = {"site": site} | shared
        for step in steps:
            values = common | given[step]
            if site in SITES and len(sites) > 1:  # then these are for the files
                values = {k: v for k, v in values.items() if k not in _FOR_FILES}
            checked = check_parameters(step, values)
            checked |= {key: resolve(checked[key]) for key in ("site", "library")}
            jobs.append(Job(step, checked))
        folder = jobs[-1].site_folder
        if owners.setdefault(folder, site) != site:
            msg = (
                f"The files {owners[folder]!r} and {site!r} would share the results "
                f"folder {folder.name!r}. Rename one of them."
            )
            raise ValueError(msg)
    return jobs


def check_data(jobs: list[Job]) -> list[str]:
    """Raise, before hours of work, where a site or its library cannot be used.

    Parameters
    ----------
    jobs : list of Job
        From `plan`.

    Returns
    -------
    list of str
        What was understood of the sites' files, a line for each note.

    Raises
    ------
    ValueError
        If data, a parameter that depends on them, or the results folder are unfit.
    """
    first = [job for job in jobs if job.step == "01_data"]
    lines = []
    for job in first:
        check_owner(job.values)
        study = prepare_study(job.values)
        if job.values["site"] not in SITES:
            lines += [f"{job.site_folder.name}: {note}" for note in study.site.notes]
        for other in jobs:
            if other.site_folder == job.site_folder and other.step == "03_rs_local":
                _check_components(study, other.values)
    for job in first:  # makes folders, so only when all data can be used
        check_writable(job.site_folder)
    return lines


def _check_components(study: Study, values: dict[str, Any]) -> None:
    """Raise where RS-LOCAL could not fit so many components."""
    for library in ("global", "country"):
        n_rows = len(study.library if library == "global" else study.country_rows)
        if n_rows:
            size = selection_size(n_rows, values["n_selected"])
            most = min(size - 1, len(study.wavelengths))
            what = f" (selected rows of the {library} library - 1, or bands if fewer)"
            check_int(values["n_components"], "n_components", 1, most, what)


def _results_digest(place: Path) -> str:
    """Return a digest of what a step left, without the notebook and the stamp."""
    skip = (_RUN_STAMP, f"{place.name}.ipynb")
    files = [p for p in place.rglob("*") if p.is_file() and p.name not in skip]
    merged = place.with_name("scores.csv")  # what 09_compare leaves one floor up
    if place.name == "09_compare" and merged.is_file():
        files.append(merged)
    return digest_files(files, place.parent)


def _source_digest(job: Job) -> str:
    """Return a digest of the notebook and the package."""
    cells = json.dumps(
        [
            [cell["cell_type"], cell["source"]]
            for cell in read_cells(notebook_path(job.step))
        ]
    )
    return hashlib.sha256((cells + package_digest()).encode()).hexdigest()


def other_sites(site_folder: Path) -> list[Path]:
    """Return the folders of the other sites of the same library that have scores."""
    found = site_folder.parent.glob("*/0*/scores.csv")
    return sorted({file.parents[1] for file in found} - {site_folder})


def fingerprint(job: Job) -> dict[str, Any]:
    """Return everything that a step's results depend on."""
    upstream = {
        step: _results_digest(job.site_folder / step) for step in STEPS[job.step]
    }
    if job.step == "09_compare":
        upstream |= {
            f"{folder.name} of all": digest_files(sorted(files), folder)
            for folder in [job.site_folder, *other_sites(job.site_folder)]
            if (files := [*folder.glob("08_repeats/repeats.csv")])
        }
        for folder in other_sites(job.site_folder):
            files = sorted(folder.glob("0*/predictions.parquet"))
            upstream[folder.name] = digest_files(files, folder)
    return {
        "source": _source_digest(job),
        "parameters": {k: v for k, v in job.values.items() if k != "results"},
        "data": data_digests(job.values),
        "versions": versions(),
        "upstream": upstream,
    }


def is_fresh(job: Job) -> bool:
    """Return whether a step's results are there and nothing has changed since."""
    stamp = job.place / _RUN_STAMP
    notebook = job.place / f"{job.step}.ipynb"
    if not (stamp.is_file() and notebook.is_file()):
        return False
    try:
        facts = json.loads(stamp.read_text())
    except json.JSONDecodeError:
        return False
    left = facts.pop("results", None)
    return left == _results_digest(job.place) and facts == fingerprint(job)


def execute(job: Job, state: _State) -> None:
    """Run one notebook in a process of its own and file what it made.

    Parameters
    ----------
    job : Job
        The step to run.
    state : _State
        Of the run: holds the process, so that an interrupt can end it.

    Raises
    ------
    StepError
        With notebook, cell, cause and how to resume.
    """
    before = fingerprint(job)
    job.notebook.unlink(missing_ok=True)  # of an earlier attempt
    order = {
        "input": str(notebook_path(job.step)),
        "output": str(job.notebook),
        "parameters": job.values,
    }
    with tempfile.TemporaryFile("w+") as errors:
        # The open pipe to its standard input tells the process that we are alive.
        process = subprocess.Popen(
            [sys.executable, "-m", "soilnb.workflow.execute", json.dumps(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            cwd=ROOT,
            env=os.environ
            | {
                "SOILNB_DATA": str(data_folder()),  # may be relative to here
                "SOILNB_PROGRESS": str(_progress_file(job)),
            },
        )
        state.processes.append(process)
        if state.interrupted.is_set():  # before the process was there
            process.terminate()
        code = process.wait()
        state.processes.remove(process)
        _progress_file(job).unlink(missing_ok=True)
        if code:
            errors.seek(0)
            raise StepError(_failure(job, code, errors.read()))
    job.notebook.rename(job.place / f"{job.step}.ipynb")
    stamp = before | {"results": _results_digest(job.place)}
    partial = job.place / f".{_RUN_STAMP}"
    partial.write_text(json.dumps(stamp, indent=1))
    partial.rename(job.place / _RUN_STAMP)


def _progress_file(job: Job) -> Path:
    """Return the file in which a running notebook says how far it is."""
    return job.site_folder / f".{job.step}.progress"


def _failure(job: Job, code: int, errors: str) -> str:
    """Return what failed, where, why and how to go on."""
    cause, cell = "", 0
    with contextlib.suppress(OSError, json.JSONDecodeError):
        code_cells = [c for c in read_cells(job.notebook) if c["cell_type"] == "code"]
        for number, candidate in enumerate(code_cells, start=1):
            for output in candidate["outputs"]:
                if output["output_type"] == "error" and not cause:
                    cause, cell = f"{output['ename']}: {output['evalue']}", number
    if not cause:
        last = errors.strip().splitlines()[-1:] or ["it said nothing"]
        cause = f"stopped by signal {-code}" if code < 0 else last[0]
    where = f"code cell {cell} of {job.step}.ipynb" if cell else f"{job.step}.ipynb"
    return (
        f"{job.step} failed for {job.site_folder.name} in {where}: {cause}\n"
        "Finished steps are kept. Mend the cause and run the same command again; "
        f"the notebook as far as it came is {job.notebook}."
    )


@contextlib.contextmanager
def only_run(folder: Path) -> Iterator[None]:
    """Hold a site's folder, so that two runs do not write to it at once."""
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            msg = f"Another run is writing to {folder}. Wait until it has ended."
            raise StepError(msg) from error
        yield


@dataclass
class _State:
    """What a run is at.

    Attributes
    ----------
    jobs : list of Job
        Now running.
    processes : list of Popen
        Theirs.
    interrupted : Event
        Set when no further job is to begin.
    """

    jobs: list[Job] = field(default_factory=list)
    processes: list[subprocess.Popen] = field(default_factory=list)
    interrupted: threading.Event = field(default_factory=threading.Event)


class _Board:
    """What the terminal shows: a line per finished step, and one that moves."""

    def __init__(self) -> None:
        self.moving = sys.stdout.isatty()

    def line(self, text: str) -> None:
        """Print a line that stays."""
        sys.stdout.write(("\r\033[K" if self.moving else "") + text + "\n")
        sys.stdout.flush()

    def move(self, running: list[Job]) -> None:
        """Rewrite the line that says what the running steps are at."""
        if not self.moving or not running:
            return
        parts = []
        for job in running:
            with contextlib.suppress(OSError):
                parts.append(f"{job.step}: {_progress_file(job).read_text()}")
        text = " | ".join(parts) or ", ".join(job.step for job in running)
        width = shutil.get_terminal_size().columns - 3
        sys.stdout.write(f"\r\033[K  {text[:width]}")
        sys.stdout.flush()


def run(jobs: list[Job], *, n_parallel: int = 1) -> None:
    """Run what is not fresh: each site's steps in order, sites side by side.

    09_compare reads all sites, so it waits until the other steps of every site in
    this run have finished.

    Parameters
    ----------
    jobs : list of Job
        From `plan`.
    n_parallel : int, default 1
        Sites at once.

    Raises
    ------
    StepError
        A step failed; the other sites are finished first.
    """
    board = _Board()
    chains: dict[Path, list[Job]] = {}
    for job in jobs:
        chains.setdefault(job.site_folder, []).append(job)
    with contextlib.ExitStack() as stack:
        for folder in sorted(chains):
            stack.enter_context(only_run(folder))
        first = [
            [job for job in chain if job.step != "09_compare"]
            for chain in chains.values()
        ]
        failed = _run_chains(first, n_parallel, board)
        last = [
            [job]
            for job in jobs
            if job.step == "09_compare" and job.site_folder not in failed
        ]
        failed |= _run_chains(last, 1, board)
    if failed:
        raise StepError("\n".join(failed.values()))


def _run_chains(
    chains: list[list[Job]], n_parallel: int, board: _Board
) -> dict[Path, str]:
    """Run chains of jobs side by side; return what failed, by site folder."""
    state = _State()
    pool = ThreadPoolExecutor(n_parallel)
    futures: dict[Future, Path] = {}
    try:
        for chain in filter(None, chains):
            future = pool.submit(_run_chain, chain, state, board)
            futures[future] = chain[0].site_folder
        waiting = set(futures)
        while waiting:
            _, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
            board.move(state.jobs)
    except KeyboardInterrupt:
        state.interrupted.set()
        for process in state.processes:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    failed = {}
    for future, folder in futures.items():
        try:
            future.result()
        except StepError as error:
            failed[folder] = str(error)
    return failed


def _run_chain(chain: list[Job], state: _State, board: _Board) -> None:
    """Run the jobs of one site in order, skipping the fresh ones."""
    for job in chain:
        label = f"{job.site_folder.parent.name}/{job.site_folder.name}"
        is_done = is_fresh(job)  # takes a while where much data is read
        if state.interrupted.is_set():
            return
        if is_done:
            board.line(f"{job.step:<18} {label:<24} fresh")
            continue
        start = time.perf_counter()
        state.jobs.append(job)
        try:
            execute(job, state)
        except StepError:
            if not state.interrupted.is_set():
                board.line(f"{job.step:<18} {label:<24} failed")
            raise
        finally:
            state.jobs.remove(job)
        board.line(
            f"{job.step:<18} {label:<24} {duration(time.perf_counter() - start)}"
        )
