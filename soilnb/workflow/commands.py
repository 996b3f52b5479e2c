"""What the command does: each function here yields the lines that it has to say."""

import sys
from argparse import Namespace
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from soilnb._validation import check_int
from soilnb.datasets import convert_folder, folder_name
from soilnb.datasets.files import stem
from soilnb.workflow import data
from soilnb.workflow.answer import read_answer
from soilnb.workflow.cluster import connect
from soilnb.workflow.design import choose_samples, design_places
from soilnb.workflow.params import check_parameters, parse_assignments
from soilnb.workflow.run import check_data, plan, run
from soilnb.workflow.steps import Job, by_role


def _named(given: Namespace, *names: str) -> dict[str, Any]:
    """Return those of some options that a command has."""
    return {name: getattr(given, name) for name in names if name in given}


def _out(given: Namespace, stem: str) -> Path:
    """Return where a table goes: where it is told, or beside the file."""
    return Path(given.o or Path(given.file).with_name(f"{stem}.csv"))


def do_run(given: Namespace) -> Generator[str, None, list[Job]]:
    """Check the data of steps, then run them, on one cluster where one is asked for."""
    check_int(given.j, "-j", 1)
    shared = _named(given, "library", "profile", "scheduler", "measured")
    jobs = plan(given.steps, given.site or ["skane"], shared, given.p)
    with TemporaryDirectory() as kept, ExitStack() as stack:
        named = [job for job in jobs if "scheduler" in job.values]  # by -p, too
        scheduler = named[0].values["scheduler"] if named else given.scheduler
        if client := connect(scheduler):  # one for the whole run, and it ends with it
            stack.enter_context(client)
            for job in named:
                job.values["scheduler"] = client.scheduler_info()["address"]
        yield from check_data(jobs, Path(kept))
        run(jobs, Path(kept), n_parallel=given.j)
    return jobs


def do_estimate(given: Namespace) -> Iterator[str]:
    """Run the step that answers, and say what it found."""
    given.steps, given.site, given.j = [by_role("answers")], [given.file], 1
    jobs = yield from do_run(given)
    yield from read_answer(jobs[-1].place)


def do_choose(given: Namespace) -> Iterator[str]:
    """Choose samples for the laboratory."""
    step = by_role("prepares")
    values = parse_assignments(given.p, [step])[step] | {"site": given.file}
    out = _out(given, f"{folder_name(given.file)}-chosen")
    yield from choose_samples(values, given.n, given.design, given.seed, out)


def do_design(given: Namespace) -> Iterator[str]:
    """Choose places for the field."""
    out = _out(given, f"{stem(given.file)}-design")
    options = _named(given, "by", "n_strata", "allocation", "target", "seed")
    yield from design_places(given.file, given.budget, out, **options)


def do_book(given: Namespace) -> Iterator[str]:
    """Build the book, and print it."""
    from soilnb.workflow.book import BUILD, build_book  # they take long to import
    from soilnb.workflow.printed import print_book

    step = by_role("merges")
    values = _named(given, "site", "library")
    values |= parse_assignments(given.p, [step])[step]
    folder = BUILD / "student" if given.student else BUILD
    checked = check_parameters(step, values)
    page = build_book(checked, folder, is_student=given.student)
    yield f"The book of {given.site} is at {page}"
    if given.student:
        yield f"The notebooks for students are in {folder / 'notebooks'}"
    if given.pdf:
        yield f"Printed, it is at {print_book(page)}"


def do_list(_: Namespace) -> Iterator[str]:
    """List the data."""
    yield from data.describe_data()


def do_fetch(given: Namespace) -> Iterator[str]:
    """Download an open file."""
    yield from data.fetch_file(given.name)


def do_check(given: Namespace) -> Iterator[str]:
    """Say what is understood of a file; exit code 1 where it cannot be used."""
    step = by_role("prepares")
    values = parse_assignments(given.p, [step])[step]
    if given.as_library:
        checked = check_parameters(step, values)
        lines, is_usable = data.check_library(given.file, checked)
    else:
        checked = check_parameters(step, values | {"site": given.file})
        told = _named(given, "verbose", "plot")
        lines, is_usable = data.check_file(checked, **told)
    yield from lines
    if not is_usable:
        sys.exit(1)


def do_convert(given: Namespace) -> Iterator[str]:
    """Make one table of a folder of spectra."""
    table = Path(given.table) if given.table else None
    yield from convert_folder(Path(given.folder), Path(given.o), table=table)
