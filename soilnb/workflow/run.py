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
from itertools import islice
from pathlib import Path
from typing import Any

from soilnb._files import digest, locked
from soilnb._validation import check_int
from soilnb.datasets import OPTIONS, SITES, data_folder
from soilnb.rslocal import selection_size
from soilnb.study import N_TEST_MIN, Study, make_farm, stock_of
from soilnb.workflow import places, stamps
from soilnb.workflow.companion import fetch_data
from soilnb.workflow.data import prepare_study
from soilnb.workflow.params import check_parameters, declared, parse_assignments
from soilnb.workflow.show import Progress, duration
from soilnb.workflow.step import PREPARED
from soilnb.workflow.steps import ROOT, STEPS, notebook_path, plan_steps, read_cells

_FOR_FILES = (*OPTIONS, "measured")
# Run as a file: it needs nothing of the package, which takes seconds to import.
_EXECUTE = Path(__file__).with_name("execute.py")


class StepError(RuntimeError):
    """A step that did not finish; the message says which cell, why and what next."""


@dataclass(frozen=True)
class Job:
    """One step for one site, with all its parameters, checked."""

    step: str
    values: dict[str, Any] = field(hash=False)

    @property
    def site_folder(self) -> Path:
        """results/<library>/<site>."""
        return places.results_folder(self.step, self.values)

    @property
    def place(self) -> Path:
        """Where the step leaves its results."""
        return self.site_folder / self.step

    @property
    def notebook(self) -> Path:
        """Where papermill writes the executed notebook meanwhile."""
        return self.site_folder / f".{self.step}.ipynb"

    @property
    def progress(self) -> Path:
        """The file in which the running notebook says how far it is."""
        return self.site_folder / f".{self.step}.progress"


def plan(
    names: list[str], sites: list[str], shared: dict[str, Any], assignments: list[str]
) -> list[Job]:
    """Return the jobs of a run, every parameter checked: site by site, in order."""
    steps = plan_steps(names)
    given = parse_assignments(assignments, steps)
    jobs: dict[tuple[Path, str], Job] = {}
    owners: dict[Path, str] = {}
    for site in dict.fromkeys(places.resolve(site) for site in sites):
        for step in steps:
            common = {"site": site} | shared
            values = {k: v for k, v in common.items() if k in declared(step)}
            values |= given[step]
            if site in SITES and len(sites) > 1:  # then these are for the files
                values = {k: v for k, v in values.items() if k not in _FOR_FILES}
            checked = check_parameters(step, values)
            for key in places.PATHS & set(checked):
                checked[key] = places.resolve(checked[key])
            job = Job(step, checked)
            jobs.setdefault((job.site_folder, step), job)
            if STEPS[step].site and owners.setdefault(job.site_folder, site) != site:
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
    first = [job for job in jobs if STEPS[job.step].role == "prepares"]
    lines = [line for job in first for line in _check_site(job, jobs, keep)]
    lines += [line for job in jobs if (line := fetch_data(job.step, job.values))]
    for job in jobs:  # makes folders, so only when all data can be used
        places.check_writable(job.site_folder)
    for folder in dict.fromkeys(job.site_folder for job in jobs):
        if old := places.unknown_folders(folder):
            lines.append(
                f"{folder.name}: {', '.join(old)} are of an earlier numbering of the "
                "steps. They are not read and may be deleted."
            )
    return lines


def _check_site(job: Job, jobs: list[Job], keep: Path) -> list[str]:
    """Prepare the study of a site and check its jobs; return what was understood."""
    stamps.check_owner(job.values)
    if is_fresh(job):
        study = Study.load(job.place)
    else:
        study = prepare_study(job.values, Progress("reading the library"))
        _keep_study(study, job, keep)
    lines = [] if job.values["site"] in SITES else list(study.site.notes)
    own = [other for other in jobs if other.site_folder == job.site_folder]
    for other in own:
        if "n_selected" in other.values:
            _check_components(study, other.values)
        if STEPS[other.step].role == "answers":
            farm = make_farm(study, design=other.values["design"])
            stock_of(farm, other.values)  # refuses half of what a stock needs
            lines += farm.notes if job.values["site"] not in SITES else ()
    lines = [f"{job.site_folder.name}: {line}" for line in lines]
    if not len(study.test) and (out := [job for job in own if STEPS[job.step].tests]):
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
    shared = places.spectra_folder(job.step, job.values)
    if study.is_large:
        places.check_writable(shared)
    study.save(folder, shared)
    now = stamps.expected(job.step, job.values)
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


def is_fresh(job: Job) -> bool:
    """Return whether a job's results are there and would be the same again."""
    return stamps.is_fresh(job.step, job.values)


def execute(job: Job, state: _State) -> None:
    """Run one notebook in a process of its own and file what it made."""
    job.notebook.unlink(missing_ok=True)  # of an earlier attempt
    order = {
        "input": str(notebook_path(job.step)),
        "output": str(job.notebook),
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
                "SOILNB_PROGRESS": str(job.progress),
                PREPARED: str(_kept_study(job, state.kept)),
            },
        ) as process,
    ):
        state.processes.append(process)
        if state.interrupted.is_set():  # before the process was there
            process.terminate()
        code = process.wait()
        state.processes.remove(process)
        job.progress.unlink(missing_ok=True)
        if code:
            errors.seek(0)
            raise StepError(_failure(job, code, errors.read()))
    job.notebook.rename(job.place / f"{job.step}.ipynb")


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


def only_run(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Hold a site's folder, so that two runs do not write to it at once."""
    busy = f"Another run is writing to {folder}. Wait until it has ended."
    return locked(folder / ".lock", busy)


@dataclass
class _State:
    """What a run is at: running jobs, their processes, kept studies, an interrupt.

    The terminal shows a line per finished step, and one that moves.
    """

    kept: Path
    jobs: list[Job] = field(default_factory=list)
    processes: list[subprocess.Popen] = field(default_factory=list)
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
                parts.append(f"{job.step}: {job.progress.read_text()}")
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
    folders = dict.fromkeys(job.site_folder for job in jobs if STEPS[job.step].site)
    last = [job for job in jobs if STEPS[job.step].waits]
    last.sort(key=lambda job: list(STEPS).index(job.step))
    with contextlib.ExitStack() as stack:
        for folder in sorted(folders):
            stack.enter_context(only_run(folder))
        first = [job for job in jobs if job not in last]
        failed = _run_graph(first, state, n_parallel)
        for job in last:  # one after the other: each may read the one before
            if job.site_folder not in failed:
                failed |= _run_graph([job], state, 1)
    if failed:
        raise StepError("\n".join(failed.values()))


def _run_graph(jobs: list[Job], state: _State, n_parallel: int) -> dict[Path, str]:
    """Run jobs site by site, first what most others wait for; return what failed."""
    order = list(dict.fromkeys(job.site_folder for job in jobs))
    waiting = list(jobs)
    if n_parallel > 1:
        waiting.sort(key=lambda j: (order.index(j.site_folder), -_way_to_go(j.step)))
    running: dict[Future, Job] = {}
    failed: dict[Path, str] = {}
    pool = ThreadPoolExecutor(n_parallel)
    try:
        while waiting or running:
            ready = (job for job in waiting if not _blockers(job, waiting, running))
            for job in list(islice(ready, n_parallel - len(running))):
                waiting.remove(job)
                running[pool.submit(_run_job, job, state)] = job
            done, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
            state.move()
            for job, error in [(running.pop(one), one.exception()) for one in done]:
                if isinstance(error, StepError):
                    failed[job.site_folder] = str(error)
                    waiting = [j for j in waiting if j.site_folder not in failed]
                elif error:
                    raise error
    except KeyboardInterrupt:
        state.interrupted.set()
        for process in state.processes:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    return failed


def _blockers(job: Job, waiting: list[Job], running: dict[Future, Job]) -> list[Job]:
    """Return the jobs of a run that must end before this one begins."""
    entry, others = STEPS[job.step], [*waiting, *running.values()]
    return [
        other
        for other in others
        if other.site_folder == job.site_folder
        if other.step in (*entry.reads, *entry.uses)
    ]


@cache
def _way_to_go(step: str) -> int:
    """Return how many steps come after one, at most, each of which reads the former."""
    after = [n for n, entry in STEPS.items() if step in (*entry.reads, *entry.uses)]
    return 1 + max(map(_way_to_go, after), default=0)


def _run_job(job: Job, state: _State) -> None:
    """Run one job unless it is fresh; tell how long it took."""
    folder, of_site = job.site_folder, STEPS[job.step].site
    label = f"{folder.parent.name}/{folder.name}" if of_site else folder.name
    # What is not a site's is shared by all runs, which take their turns.
    turn = folder / f".{job.step}.turn"
    with contextlib.nullcontext() if of_site else locked(turn):
        is_done = is_fresh(job)  # takes a while where much data is read
        if state.interrupted.is_set():
            return
        start = time.perf_counter()
        state.jobs.append(job)
        try:
            if not is_done:
                execute(job, state)
        except StepError:
            if not state.interrupted.is_set():
                state.line(f"{job.step:<18} {label:<24} failed")
            raise
        finally:
            state.jobs.remove(job)
    took = "fresh" if is_done else duration(time.perf_counter() - start)
    state.line(f"{job.step:<18} {label:<24} {took}")
