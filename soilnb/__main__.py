"""The command ``soilnb``."""

import argparse
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

_SHARED = ("library", "profile", "scheduler")  # options that are parameters of steps


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence and exit code 1, as all others."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where to look."""
        self.exit(1, f"{self.prog}: {message}. See {self.prog} --help.\n")


def _parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = _Parser(prog="soilnb", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    given = _Parser(add_help=False)
    given.add_argument(
        "-p", action="append", default=[], metavar="NAME=VALUE", help="a parameter"
    )
    computing = _Parser(add_help=False, parents=[given])
    add = computing.add_argument
    add("--library", default="farms", help="name or file")
    add("--profile", default="quick", help="tiny, quick or full")
    where = "where searches compute: local (processes) or tcp://HOST:PORT"
    add("--scheduler", default="", help=where)

    what = "run steps; what is fresh is skipped"
    add = commands.add_parser("run", help=what, parents=[computing]).add_argument
    names = "names, all (the default) or companions"
    add("steps", nargs="*", default=["all"], metavar="STEP", help=names)
    add("--site", action="append", help="name or CSV/Parquet file; may be repeated")
    add("-j", type=int, default=2, metavar="N", help="steps at once (2)")

    what = "say which samples to send to the laboratory"
    add = commands.add_parser("choose", help=what, parents=[given]).add_argument
    add("file", help="CSV/Parquet file of spectra")
    add("-n", type=int, default=30, help="how many (30)")
    designs = "stratified, random or kennard_stone"
    add("--design", default="stratified", help=designs)
    add("--seed", type=int, default=1, help="of the draw (1)")
    add("-o", metavar="OUT.csv", help="FILE-chosen.csv by default")

    what = "say which places to sample, and how sure the mean will be"
    add = commands.add_parser("design", help=what).add_argument
    add("file", help="CSV/Parquet file of candidate places")
    add("--budget", type=int, default=50, help="samples in all (50)")
    add("--by", default="", help="quantiles, cum_sqrt, space, both or column")
    add("--strata", type=int, default=0, metavar="N", help="number of strata")
    add("--allocation", default="", help="neyman, proportional or equal")
    target = "relative error asked for, %% (20)"
    add("--target", type=float, default=20, help=target)
    add("--seed", type=int, default=1, help="of the draw (1)")
    add("-o", metavar="OUT.csv", help="FILE-design.csv by default")

    what = "estimate what is not measured, and the farm's mean"
    add = commands.add_parser("estimate", help=what, parents=[computing]).add_argument
    add("file", help="CSV/Parquet file, or the name of a site")
    values = "values of the laboratory"
    add("--measured", default="", metavar="LAB.csv", help=values)

    what = "build the book of one site"
    add = commands.add_parser("book", help=what, parents=[given]).add_argument
    add("--site", default="skane")
    add("--library", default="farms")
    edition = "without solutions; with notebooks whose answers are checked"
    add("--student", action="store_true", help=edition)
    add("--pdf", action="store_true", help="print it, too (Chromium)")

    data = commands.add_parser("data", help="what data there is; fetch or check a file")
    verbs = data.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list", help="libraries and sites by name")
    fetch = verbs.add_parser("fetch", help="download an open file; licence, citation")
    fetch.add_argument("name", help="a set of soilnb data list")
    check = verbs.add_parser(
        "check",
        help="say what is understood of a file",
        description="-p: soc_column, soc_unit or another of the first step.",
        parents=[given],
    )
    add = check.add_argument
    add("file")
    add("--as-library", action="store_true", help="the file is a library, not a site")
    add("--verbose", action="store_true", help="also what is said of the library")
    add("--plot", default="", metavar="FILE.png", help="draw the spectra")
    told = "make one table of a folder of spectra, one in each file"
    add = verbs.add_parser("convert", help=told).add_argument
    add("folder", help="ASD, OPUS or text files, one spectrum each")
    add("--table", default="", metavar="LAB.csv", help=values)
    add("-o", required=True, metavar="FARM.csv", help="the table")
    return parser


def _run(arguments: argparse.Namespace) -> None:
    """Run steps."""
    from soilnb._validation import check_int
    from soilnb.workflow.run import plan

    check_int(arguments.j, "-j", 1)
    shared = {name: getattr(arguments, name) for name in _SHARED}
    sites = arguments.site or ["skane"]
    _run_jobs(plan(arguments.steps, sites, shared, arguments.p), arguments)


def _choose(arguments: argparse.Namespace) -> None:
    """Choose samples for the laboratory."""
    from soilnb.datasets import folder_name
    from soilnb.workflow.answer import choose_samples
    from soilnb.workflow.params import parse_assignments
    from soilnb.workflow.steps import by_role

    step = by_role("prepares")
    given = parse_assignments(arguments.p, [step])[step] | {"site": arguments.file}
    name = f"{folder_name(arguments.file)}-chosen.csv"
    out = Path(arguments.o or Path(arguments.file).with_name(name))
    options = (arguments.n, arguments.design, arguments.seed, out)
    print("\n".join(choose_samples(given, *options)))


def _design(arguments: argparse.Namespace) -> None:
    """Choose places for the field."""
    from soilnb.datasets.files import stem
    from soilnb.workflow.design import design_places

    name = f"{stem(arguments.file)}-design.csv"
    out = Path(arguments.o or Path(arguments.file).with_name(name))
    names = ("by", "allocation", "target", "seed")
    options = {name: getattr(arguments, name) for name in names}
    options["n_strata"] = arguments.strata
    print("\n".join(design_places(arguments.file, arguments.budget, out, **options)))


def _estimate(arguments: argparse.Namespace) -> None:
    """Answer for a farm."""
    from soilnb.workflow.answer import read_answer
    from soilnb.workflow.run import plan
    from soilnb.workflow.steps import by_role

    shared = {name: getattr(arguments, name) for name in _SHARED}
    if arguments.measured:
        shared["measured"] = arguments.measured
    jobs = plan([by_role("answers")], [arguments.file], shared, arguments.p)
    place = next(job.place for job in jobs if job.step == by_role("answers"))
    _run_jobs(jobs, arguments)
    print("\n".join(read_answer(place)))


def _run_jobs(jobs: list, arguments: argparse.Namespace) -> None:
    """Check the data of jobs, then run them, on one cluster where one is asked for."""
    from soilnb.workflow.cluster import connect
    from soilnb.workflow.run import check_data, run

    n_parallel = getattr(arguments, "j", 1)
    with TemporaryDirectory() as kept, ExitStack() as stack:
        named = [job for job in jobs if "scheduler" in job.values]  # by -p, too
        scheduler = named[0].values["scheduler"] if named else arguments.scheduler
        if client := connect(scheduler):  # one for the whole run, and it ends with it
            stack.enter_context(client)
            for job in named:
                job.values["scheduler"] = client.scheduler_info()["address"]
        for line in check_data(jobs, Path(kept)):
            print(line, flush=True)
        run(jobs, Path(kept), n_parallel=n_parallel)


def _book(arguments: argparse.Namespace) -> None:
    """Build the book."""
    from soilnb.workflow.book import BUILD, build_book
    from soilnb.workflow.params import check_parameters, parse_assignments
    from soilnb.workflow.steps import by_role

    step = by_role("merges")
    given = parse_assignments(arguments.p, [step])[step]
    values = {"site": arguments.site, "library": arguments.library} | given
    folder = BUILD / "student" if arguments.student else BUILD
    checked = check_parameters(step, values)
    page = build_book(checked, folder, is_student=arguments.student)
    print(f"The book of {arguments.site} is at {page}")
    if arguments.student:
        print(f"The notebooks for students are in {folder / 'notebooks'}")
    if arguments.pdf:
        from soilnb.workflow.printed import print_book

        print(f"Printed, it is at {print_book(page)}")


def _data(arguments: argparse.Namespace) -> None:
    """List the data, fetch an open file, or check a user's."""
    usable = True
    if arguments.verb == "convert":
        from soilnb.datasets import convert_folder

        table = Path(arguments.table) if arguments.table else None
        out = Path(arguments.o)
        lines = convert_folder(Path(arguments.folder), out, table=table)
    else:
        from soilnb.workflow import data

        if arguments.verb == "check":
            lines, usable = _check(arguments)
        elif arguments.verb == "fetch":
            lines = data.fetch_file(arguments.name)
        else:
            lines = data.describe_data()
    print("\n".join(lines))
    if not usable:
        sys.exit(1)


def _check(arguments: argparse.Namespace) -> tuple[list[str], bool]:
    """Return what is understood of a file, and whether it can be used."""
    from soilnb.workflow.data import check_file, check_library
    from soilnb.workflow.params import check_parameters, parse_assignments
    from soilnb.workflow.steps import by_role

    step = by_role("prepares")
    given = parse_assignments(arguments.p, [step])[step]
    if arguments.as_library:
        return check_library(arguments.file, check_parameters(step, given))
    values = check_parameters(step, given | {"site": arguments.file})
    return check_file(values, verbose=arguments.verbose, plot=arguments.plot)


def main() -> None:
    """Run the command; a problem is one sentence on standard error and exit code 1."""
    arguments = _parser().parse_args()
    commands = (_run, _choose, _design, _estimate, _book, _data)
    known = {command.__name__[1:]: command for command in commands}
    try:
        known[arguments.command](arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print(
            "\nInterrupted. Finished steps are kept; the same command goes on.",
            file=sys.stderr,
        )
        sys.exit(130)
    except (ValueError, TypeError, RuntimeError, OSError, ImportError) as error:
        print(f"soilnb: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
