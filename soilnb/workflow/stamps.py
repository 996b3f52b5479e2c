"""How results were made: the stamp of a step, and whether results fit together."""

import json
import os
import platform
import shlex
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from soilnb._files import (
    GIVES_NUMBERS,
    digest,
    digest_code,
    digest_file,
    digest_files,
)
from soilnb.datasets import describe_origin, find_files, folder_name, is_table
from soilnb.study import is_whole
from soilnb.workflow.data import origins
from soilnb.workflow.params import check_parameters
from soilnb.workflow.steps import (
    OF_SITE,
    ROOT,
    STEPS,
    Job,
    by_role,
    notebook_path,
    read_cells,
)

STAMP = "step.json"
PACKAGES = (*GIVES_NUMBERS, "pandas", "dask", "LimeSoDa")
NO_MATTER = {"results", "scheduler"}  # parameters that change where, never what
_HANDED_OVER = "SOILNB_DIGESTS"  # file digests, from a run to the steps it starts
_digests: dict[str, str] = json.loads(os.environ.get(_HANDED_OVER, "{}"))


def handed_over() -> dict[str, str]:
    """Return the environment by which another process knows the digests of this one."""
    return {_HANDED_OVER: json.dumps(_digests)}


def data_digests(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return what identifies the data: a file's SHA-256, or a name's origin."""
    found = {}
    for key in ("library", "site"):
        if key not in parameters:
            continue
        folder_name(parameters[key], key)  # raises where there is no such name
        path, name = Path(parameters[key]), parameters[key]
        origin = _identify(path, key) if is_table(path) else describe_origin(name)
        found[f"{key} {path.name}"] = origin
    return found


def _identify(path: Path, key: str) -> str:
    """Return what identifies a file, or raise where there is none."""
    if not path.exists():
        msg = f"There is no file '{path}'. Check the path of {key!r}."
        raise FileNotFoundError(msg)
    first, others = find_files(path)
    digests = [_digest_once(file) for file in (first, *others)]
    return f"SHA-256 {digest(*digests) if others else digests[0]}"


def _digest_once(file: Path) -> str:
    """Return the SHA-256 of a file, read once as long as it is not written to."""
    state = file.stat()
    key = f"{file.resolve()} {state.st_size} {state.st_mtime_ns}"
    if key not in _digests:
        _digests[key] = digest_file(file)
    return _digests[key]


def expected(job: Job) -> dict[str, Any]:
    """Return all that the results of a step will depend on, if it is run now."""
    values, files = job.values, ROOT / job.entry.files
    notebook = read_cells(notebook_path(job.step))
    cells = [[cell["cell_type"], cell["source"]] for cell in notebook]
    shown = sorted(p for p in files.rglob("*") if p.is_file()) if files != ROOT else []
    of_files = {f.name: f"SHA-256 {digest_file(f)}" for f in shown}
    if values.get("measured"):
        path = Path(values["measured"])
        of_files[path.name] = _identify(path, "measured")
    facts = {
        "step": job.step,
        "parameters": {k: v for k, v in values.items() if k not in NO_MATTER},
        "data": data_digests(values) | origins(job),
        "files": of_files,
        "source": digest(json.dumps(cells), digest_code()),
        "versions": versions(),
        "upstream": _upstream(job),
    }
    return json.loads(json.dumps(facts))  # as it will be read


def _upstream(job: Job) -> dict[str, str]:
    """Return the digest of the results of each step, and other site, that one reads."""
    entry, folder = job.entry, job.site_folder
    found = {
        name: stamp["results"]
        for name in entry.sources
        if "results" in (stamp := read_stamp(folder / name))
    }
    if entry.waits:
        names = entry.sources if entry.site else OF_SITE
        for other in sites(folder.parent, "*" if entry.site else "*/*"):
            stamps = (read_stamp(other / name) for name in names)
            if other != folder:
                name = str(other.relative_to(folder.parent))
                found[name] = digest(*(stamp.get("results", "") for stamp in stamps))
    return found


def sites(folder: Path, pattern: str) -> list[Path]:
    """Return the folders of sites below one, by name."""
    first = by_role("prepares")
    found = folder.glob(f"{pattern}/{first}/{STAMP}")
    return sorted(file.parents[1] for file in found)


def results_digest(folder: Path) -> str:
    """Return a digest of what a step left, without its notebook and its stamp."""
    skip = (STAMP, f"{folder.name}.ipynb")
    files = (path for path in folder.rglob("*") if path.name not in skip)
    return digest_files(filter(Path.is_file, files), folder)


def write_stamp(folder: Path, facts: Mapping[str, Any]) -> None:
    """Note all that the results in a folder depend on, and a digest of them."""
    stamp = {**facts, "results": results_digest(folder)}
    (folder / STAMP).write_text(json.dumps(stamp, indent=1))


def read_stamp(place: Path) -> dict[str, Any]:
    """Return how the results in a folder were made; nothing if that is not known."""
    try:
        return json.loads((place / STAMP).read_text())
    except (OSError, json.JSONDecodeError):
        return {}


def is_fresh(job: Job) -> bool:
    """Return whether a job's results are there and would be the same again."""
    place, role = job.place, job.entry.role
    stamp = read_stamp(place)
    merged = place.with_name("scores.csv")  # what the step that merges leaves, too
    if (
        not (stamp and job.executed.is_file())
        or (role == "prepares" and not is_whole(place))
        or (role == "merges" and not merged.is_file())
    ):
        return False
    now = expected(job)
    made = {key: stamp.get(key) for key in now}
    return made == now and stamp.get("results") == results_digest(place)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that the results rest on."""
    from soilnb import __version__

    found = {"python": platform.python_version(), "soilnb": __version__}
    return found | {name: version(name) for name in PACKAGES}


def find_mismatch(folder: Path, steps: Iterable[str]) -> tuple[str, str] | None:
    """Return the first step whose results are missing or do not fit, and why."""
    first: dict[str, Any] = {}
    for step in steps:
        if not (folder / step / STAMP).is_file():
            return step, f"there are no results of {step}"
        stamp = read_stamp(folder / step)
        if not {"study", "data", "upstream", "results"} <= set(stamp):
            return step, f"the notes of {step} ({STAMP}) cannot be read"
        if step not in STEPS or STEPS[step].site:
            first = first or stamp
            if (stamp["study"], stamp["data"]) != (first["study"], first["data"]):
                return step, f"the results of {step} belong to another study"
        for earlier in STEPS[step].reads:
            now = read_stamp(folder / earlier)["results"]
            if stamp["upstream"].get(earlier) != now:
                return step, f"{earlier} was run again after {step}"
    return None


def run_command(steps: str, values: Mapping[str, Any]) -> str:
    """Return the command that runs steps again as they were run, without defaults."""
    folder = Job(OF_SITE[0], dict(values)).site_folder
    earlier = {s: read_stamp(folder / s).get("parameters", {}) for s in OF_SITE}
    first = {"profile": earlier[OF_SITE[0]].get("profile", "quick")} | dict(values)
    first = {key: first[key] for key in ("site", "library", "profile")}
    given: dict[str, Any] = {}
    for step, found in earlier.items():
        own = {key: found[key] for key in first if key in found}
        then, now = (check_parameters(step, one) for one in (first | own, first))
        old = {k: v for k, v in found.items() if k in then and k not in values}
        new = {k: v for k, v in values.items() if k in now}
        given |= {k: v for k, v in old.items() if v != then[k]}
        given |= {k: v for k, v in new.items() if v != now[k]}
    words = ["soilnb", "run", steps]
    for name, value in first.items():
        words += [f"--{name}", str(value)]
    for name in sorted(set(given) - set(first)):
        words += ["-p", f"{name}={given[name]}"]
    return shlex.join(words)


def check_owner(job: Job) -> None:
    """Raise ValueError where the results of another file of the same name would go."""
    stamp = read_stamp(job.place)
    if not stamp.get("parameters"):
        return
    now = data_digests(job.values)
    for key in ("site", "library"):
        old, new = (Path(one[key]) for one in (stamp["parameters"], job.values))
        if old == new or not is_table(new) or not old.is_file():
            continue  # the same file, or one that was moved
        if stamp["data"].get(f"{key} {new.name}") != now[f"{key} {new.name}"]:
            msg = (
                f"{key!r} must have a results folder of its own, got {str(new)!r}, but "
                f"{job.site_folder} holds the results of {str(old)!r}. Rename one of "
                "the files, or give another folder with -p results=FOLDER."
            )
            raise ValueError(msg)
