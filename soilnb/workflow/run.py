"""The chain: which steps are fresh, and running the others in order."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from soilnb._files import digest, locked
from soilnb._validation import check_int
from soilnb.datasets import OPTIONS, SITES, data_folder
from soilnb.rslocal import selection_size
from soilnb.study import N_TEST_MIN, Study, make_farm, stock_of
from soilnb.workflow import stamps
from soilnb.workflow.data import fetch_data, prepare_study
from soilnb.workflow.params import check_parameters, declared, parse_assignments
from soilnb.workflow.show import Progress, duration
from soilnb.workflow.stamps import is_fresh
from soilnb.workflow.step import PREPARED
from soilnb.workflow.steps import (
    ROOT,
    STEPS,
    Job,
    check_writable,
    notebook_path,
    plan_steps,
    read_cells,
    resolve,
    unknown_folders,
)

_FOR_FILES = (*OPTIONS, "measured")
# Run as a file: it needs nothing of the package, which takes seconds to import.
_EXECUTE = Path(__file__).with_name("execute.py")


class StepError(RuntimeError):
    """A step that did not finish; the message says which cell, why and what next."""


def plan(
    names: list[str], sites: list[str], shared: dict[str, Any], assignments: list[str]
) -> list[Job]:
    """Return the jobs of a run, every parameter checked: site by site, in order."""
    steps = plan_steps(names)
    given = parse_assignments(assignments, steps)
    jobs: dict[tuple[Path, str], Job] = {}
    owners: dict[Path, str] = {}
    for site in dict.fromkeys(map(resolve, sites)):
        for step in steps:
            common = {"site": site} | shared
            values = {k: v for k, v in common.items() if k in declared(step)}
            values |= given[step]
            if site in SITES and len(sites) > 1:  # then these are for the files
                values = {k: v for k, v in values.items() if k not in _FOR_FILES}
            job = Job(step, check_parameters(step, values))
            jobs.setdefault((job.site_folder, step), job)
            if job.entry.site and owners.setdefault(job.site_folder, site) != site:
                msg = (
                    f"The files {owners[job.site_folder]!r} and {site!r} would share "
                    f"the results folder {job.site_folder.name!r}. Rename one of them."
                )
                raise ValueError(msg)
    return list(jobs.values())


def check_data(jobs: list[Job], keep: Path) -> list[str]:
    """Raise, before hours of work, where a site or its library cannot be used.

    Prepared studies are left in `keep`; jobs without test samples are taken out of
    `jobs`.
    """
    first = [job for job in jobs if job.entry.role == "prepares"]
    lines = [line for job in first for line in _check_site(job, jobs, keep)]
    lines += filter(None, map(fetch_data, jobs))
    folders = dict.fromkeys(job.site_folder for job in jobs)
    for folder in folders:  # made here, so only when all data can be used
        check_writable(folder)
    for folder in folders:
        if old := unknown_folders(folder):
            lines.append(
                f"{folder.name}: {', '.join(old)} are of an earlier numbering of the "
                "steps. They are not read and may be deleted."
            )
    return lines


def _check_site(job: Job, jobs: list[Job], keep: Path) -> list[str]:
    """Prepare the study of a site and check its jobs; return what was understood."""
    stamps.check_owner(job)
    if is_fresh(job):
        study = Study.load(job.place)
    else:
        study = prepare_study(job.values, Progress("reading the library"))
        _keep_study(study, job, keep)
    is_file = job.values["site"] not in SITES
    lines = [*study.site.notes] if is_file else []
    own = [other for other in jobs if other.site_folder == job.site_folder]
    for other in own:
        if "n_selected" in other.values:
            _check_components(study, other.values)
        if other.entry.role == "answers":
            farm = make_farm(study, design=other.values["design"])
            stock_of(farm, other.values)  # refuses half of what a stock needs
            lines += farm.notes if is_file else ()
    lines = [f"{job.site_folder.name}: {line}" for line in lines]
    if not len(study.test) and (out := [job for job in own if job.entry.tests]):
        for job in out:
            jobs.remove(job)
        lines.append(
            f"{study.site.name}: {len(study.local)} samples are measured, and a test "
            f"needs n_local + {N_TEST_MIN}. Left out: "
            f"{', '.join(job.step for job in out)}."
        )
    return lines


def _keep_study(study: Study, job: Job, keep: Path) -> None:
    """Leave a prepared study for the step that would prepare it again."""
    folder = _kept_study(job, keep)
    folder.mkdir()
    if study.is_large:
        check_writable(job.spectra)
    study.save(folder, job.spectra)
    now = stamps.expected(job)
    stamps.write_stamp(folder, {key: now[key] for key in ("parameters", "data")})


def _kept_study(job: Job, keep: Path) -> Path:
    """Return where the prepared study of a site is left."""
    return keep / digest(str(job.site_folder))[:16]


def _check_components(study: Study, values: dict[str, Any]) -> None:
    """Raise where RS-LOCAL could not fit so many components."""
    for library in ("global", "country"):
        if n_rows := study.n_rows(library):
            size = selection_size(n_rows, values["n_selected"])
            most = min(size - 1, len(study.wavelengths))
            what = f" (selected rows of the {library} library - 1, or bands if fewer)"
            check_int(values["n_components"], "n_components", 1, most, what)


def execute(job: Job, state: _State) -> None:
    """Run one notebook in a process of its own and file what it made."""
    made, progress = (_meanwhile(job, ending) for ending in ("ipynb", "progress"))
    for file in (made, progress):  # of an earlier attempt
        file.unlink(missing_ok=True)
    order = {
        "input_path": str(notebook_path(job.step)),
        "output_path": str(made),
        "parameters": job.values,
    }
    with (
        tempfile.TemporaryFile("w+") as errors,
        # The open pipe to its standard input tells the process that we are alive.
        subprocess.Popen(
            [sys.executable, "-P", str(_EXECUTE), json.dumps(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            cwd=ROOT,
            env=os.environ
            | stamps.handed_over()
            | {
                "SOILNB_DATA": str(data_folder()),  # may be relative to here
                "SOILNB_PROGRESS": str(progress),
                PREPARED: str(_kept_study(job, state.kept)),
            },
        ) as process,
    ):
        state.processes.append(process)
        if state.interrupted.is_set():  # before the process was there
            process.terminate()
        code = process.wait()
        state.processes.remove(process)
        progress.unlink(missing_ok=True)
        if code:
            errors.seek(0)
            raise StepError(_failure(job, made, code, errors.read()))
    made.rename(job.executed)


def _meanwhile(job: Job, ending: str) -> Path:
    """Return where a running notebook writes itself (ipynb), or how far it is."""
    return job.site_folder / f".{job.step}.{ending}"


def _failure(job: Job, notebook: Path, code: int, errors: str) -> str:
    """Return what failed, where, why and how to go on."""
    where = f"{job.step}.ipynb"
    last = errors.strip().splitlines()[-1:] or ["it said nothing"]
    cause = f"stopped by signal {-code}" if code < 0 else last[0]
    with contextlib.suppress(OSError, json.JSONDecodeError):
        cells = [cell for cell in read_cells(notebook) if cell["cell_type"] == "code"]
        for number, cell in enumerate(cells, start=1):
            for output in cell["outputs"]:
                if output["output_type"] == "error":
                    cause = f"{output['ename']}: {output['evalue']}"
                    where = f"code cell {number} of {job.step}.ipynb"
    return (
        f"{job.step} failed for {job.site_folder.name} in {where}: {cause}\n"
        "Finished steps are kept. Mend the cause and run the same command again; "
        f"the notebook as far as it came is {notebook}."
    )


def only_run(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Hold a site's folder, so that two runs do not write to it at once."""
    busy = f"Another run is writing to {folder}. Wait until it has ended."
    return locked(folder / ".lock", busy)


@dataclass
class _State:
    """What a run is at: running jobs, their processes, what failed, an interrupt.

    The terminal shows a line per finished step, and one that moves.
    """

    kept: Path
    jobs: list[Job] = field(default_factory=list)
    processes: list[subprocess.Popen] = field(default_factory=list)
    failed: dict[Path, str] = field(default_factory=dict)  # by site: why
    interrupted: threading.Event = field(default_factory=threading.Event)
    moving: bool = field(default_factory=sys.stdout.isatty)

    def line(self, text: str) -> None:
        """Print a line that stays."""
        sys.stdout.write(("\r\033[K" if self.moving else "") + text + "\n")
        sys.stdout.flush()

    def move(self) -> None:
        """Rewrite the line that says what the running steps are at."""
        running = list(self.jobs)
        if not self.moving or not running:
            return
        parts = []
        for job in running:
            with contextlib.suppress(OSError):
                parts.append(f"{job.step}: {_meanwhile(job, 'progress').read_text()}")
        text = " | ".join(parts) or ", ".join(job.step for job in running)
        width = shutil.get_terminal_size().columns - 3
        sys.stdout.write(f"\r\033[K  {text[:width]}")
        sys.stdout.flush()


def run(jobs: list[Job], kept: Path, *, n_parallel: int = 1) -> None:
    """Run what is not fresh, so many steps at once, each after those that it reads.

    `kept` is the folder given to `check_data`. A StepError comes when all that can be
    run is through.
    """
    state = _State(kept)
    folders = {job.site_folder for job in jobs if job.entry.site}
    with contextlib.ExitStack() as stack:
        for folder in sorted(folders):
            stack.enter_context(only_run(folder))
        _run_graph(jobs, state, n_parallel)
    if state.failed:
        raise StepError("\n".join(state.failed.values()))


def _run_graph(jobs: list[Job], state: _State, n_parallel: int) -> None:
    """Run jobs site by site, first what most others wait for."""
    order = list(jobs)
    if n_parallel > 1:
        sites = list(dict.fromkeys(job.site_folder for job in jobs))
        order.sort(key=lambda j: (sites.index(j.site_folder), -_way_to_go(j.step)))
    graph = _blockers(jobs)
    graph.prepare()
    ready: list[Job] = []
    running: dict[Future, Job] = {}
    pool = ThreadPoolExecutor(n_parallel)
    try:
        while graph.is_active():
            ready = sorted([*ready, *graph.get_ready()], key=order.index)
            while ready and len(running) < n_parallel:
                job = ready.pop(0)
                running[pool.submit(_run_job, job, state)] = job
            done, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
            state.move()
            for one in done:
                one.result()  # raises what is no failure of a step
                graph.done(running.pop(one))
    except KeyboardInterrupt:
        state.interrupted.set()
        for process in state.processes:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _blockers(jobs: list[Job]) -> TopologicalSorter:
    """Return the jobs of a run with those that must end before each begins."""
    first = [job for job in jobs if not job.entry.waits]
    last = [job for job in jobs if job.entry.waits]
    last.sort(key=lambda job: list(STEPS).index(job.step))
    graph: TopologicalSorter = TopologicalSorter()
    for job in first:
        own = (other for other in first if other.site_folder == job.site_folder)
        graph.add(job, *(other for other in own if other.step in job.entry.sources))
    for number, job in enumerate(last):  # each may read the one before
        graph.add(job, *first, *last[:number])
    return graph


@cache
def _way_to_go(step: str) -> int:
    """Return how many steps come after one, at most, each of which reads the former."""
    after = [name for name, entry in STEPS.items() if step in entry.sources]
    return 1 + max(map(_way_to_go, after), default=0)


def _run_job(job: Job, state: _State) -> None:
    """Run one job unless it is fresh or its site has failed; tell how long it took."""
    folder, of_site = job.site_folder, job.entry.site
    label = f"{folder.parent.name}/{folder.name}" if of_site else folder.name
    # What is not a site's is shared by all runs, which take their turns.
    turn = folder / f".{job.step}.turn"
    if folder in state.failed:
        return
    with contextlib.nullcontext() if of_site else locked(turn):
        is_done = is_fresh(job)  # takes a while where much data is read
        if state.interrupted.is_set():
            return
        start = time.perf_counter()
        state.jobs.append(job)
        try:
            if not is_done:
                execute(job, state)
            took = "fresh" if is_done else duration(time.perf_counter() - start)
        except StepError as error:
            state.failed[folder] = str(error)
            took = "failed"
        finally:
            state.jobs.remove(job)
    if took != "failed" or not state.interrupted.is_set():
        state.line(f"{job.step:<18} {label:<24} {took}")
