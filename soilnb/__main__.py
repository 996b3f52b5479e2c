"""The command ``soilnb``."""

import argparse
import os
import sys
from typing import NoReturn


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
    n_strata = "number of strata"
    add("--strata", dest="n_strata", type=int, default=0, metavar="N", help=n_strata)
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


def main() -> None:
    """Run the command; a problem is one sentence on standard error and exit code 1."""
    given = _parser().parse_args()
    try:
        from soilnb.workflow import commands  # takes long, so --help does without

        name = given.verb if given.command == "data" else given.command
        for line in getattr(commands, f"do_{name}")(given):
            print(line, flush=True)
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
