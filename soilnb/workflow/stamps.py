"""How results were made: what a step notes of it, and whether results fit together."""

from __future__ import annotations

import hashlib
import json
import platform
import shlex
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from soilnb.datasets import describe_origin, find_files, folder_name, is_table
from soilnb.workflow.folders import resolve, results_folder
from soilnb.workflow.params import ROOT, STEPS, check_parameters

PACKAGES = (
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "numba",
    "tensorflow",
    "keras",
    "dask",
    "LimeSoDa",
)


def data_digests(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return what identifies the data: a file's SHA-256, or a name's origin."""
    found = {}
    for key in ("library", "site"):
        folder_name(parameters[key], key)  # raises where there is no such name
        path = Path(resolve(parameters[key]))
        if is_table(path):
            if not path.exists():
                msg = f"There is no file '{path}'. Check the path of {key!r}."
                raise FileNotFoundError(msg)
            found[f"{key} {path.name}"] = f"SHA-256 {_digest(path)}"
        else:
            found[f"{key} {parameters[key]}"] = describe_origin(parameters[key])
    return found


def _digest(path: Path) -> str:
    """Return the SHA-256 of a table, or of that of all files that belong to it."""
    first, others = find_files(path)
    digests = []
    for file in (first, *others):
        with file.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    if not others:
        return digests[0]
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def digest_files(files: list[Path], root: Path) -> str:
    """Return one digest of the names and contents of files."""
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(str(file.relative_to(root)).encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def package_digest() -> str:
    """Return a digest of the package: with other code, results are other results."""
    return digest_files(list((ROOT / "soilnb").rglob("*.py")), ROOT)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that the results rest on."""
    from soilnb import __version__

    found = {"python": platform.python_version(), "soilnb": __version__}
    return found | {name: version(name) for name in PACKAGES}


def stamp_digest(site_folder: Path, step: str) -> str:
    """Return a digest of how a step's results were made."""
    return hashlib.sha256((site_folder / step / "step.json").read_bytes()).hexdigest()


def find_mismatch(site_folder: Path, steps: Iterable[str]) -> tuple[str, str] | None:
    """Return the first step whose results are missing or do not fit the others.

    Parameters
    ----------
    site_folder : Path
        results/<library>/<site>.
    steps : iterable of str
        Steps to look at, in order, with all that they read.

    Returns
    -------
    tuple of str or None
        The step to run again and why; None where all results belong together.
    """
    first: dict[str, Any] = {}
    for step in steps:
        stamp = site_folder / step / "step.json"
        if not stamp.is_file():
            return step, f"there are no results of {step}"
        try:
            facts = json.loads(stamp.read_text())
            study, data, upstream = (
                facts[key] for key in ("study", "data", "upstream")
            )
        except (KeyError, json.JSONDecodeError):
            return step, f"the notes of {step} ({stamp.name}) cannot be read"
        first = first or facts
        if (study, data) != (first["study"], first["data"]):
            return step, f"the results of {step} belong to another study"
        for earlier, digest in upstream.items():
            if digest != stamp_digest(site_folder, earlier):
                return step, f"{earlier} was run again after {step}"
    return None


def code_digest() -> str:
    """Return a digest of the package and of what its networks are trained with."""
    parts = [package_digest(), *(version(name) for name in ("tensorflow", "keras"))]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def _read_notes(site_folder: Path, step: str) -> dict[str, Any]:
    """Return what a step noted; no data and parameters where that cannot be read."""
    nothing: dict[str, Any] = {"parameters": {}, "data": {}}
    try:
        return nothing | json.loads((site_folder / step / "step.json").read_text())
    except (OSError, json.JSONDecodeError):
        return nothing


def read_parameters(site_folder: Path, step: str) -> dict[str, Any]:
    """Return the parameters that a step was run with; none where it left none."""
    return _read_notes(site_folder, step)["parameters"]


def run_command(steps: str, values: Mapping[str, Any]) -> str:
    """Return the command that runs steps again as they were run.

    Parameters
    ----------
    steps : str
        A step, or "all".
    values : mapping
        Parameters that go before those of earlier runs: site, library, results and,
        where they are known, others.

    Returns
    -------
    str
        With every parameter, of any step that was run, that is not its default.
    """
    folder = results_folder(values)
    earlier = {step: read_parameters(folder, step) for step in STEPS}
    first = {"profile": earlier["01_data"].get("profile", "quick")} | dict(values)
    first = {key: first[key] for key in ("site", "library", "profile")}
    given: dict[str, Any] = {}
    for step, found in earlier.items():
        usual = check_parameters(
            step, first | {k: found[k] for k in first if k in found}
        )
        given |= {k: v for k, v in found.items() if k in usual and v != usual[k]}
    for step in STEPS:
        for name, usual_value in check_parameters(step, first).items():
            if name in values:
                given.pop(name, None)
                given |= {name: values[name]} if values[name] != usual_value else {}
    words = ["soilnb", "run", steps]
    for name, value in first.items():
        words += [f"--{name}", str(value)]
    for name in sorted(set(given) - set(first)):
        words += ["-p", f"{name}={given[name]}"]
    return shlex.join(words)


def check_owner(values: Mapping[str, Any]) -> None:
    """Raise ValueError where the results of another file of the same name would go."""
    folder = results_folder(values)
    notes = _read_notes(folder, "01_data")
    if not notes["parameters"]:
        return
    now = data_digests(values)
    for key in ("site", "library"):
        old, new = (Path(resolve(one[key])) for one in (notes["parameters"], values))
        if old == new or not is_table(new) or not old.is_file():
            continue  # the same file, or one that was moved
        if notes["data"].get(f"{key} {new.name}") != now[f"{key} {new.name}"]:
            msg = (
                f"{key!r} must have a results folder of its own, got {str(new)!r}, but "
                f"{folder} holds the results of {str(old)!r}. Rename one of the files, "
                "or give another folder with -p results=FOLDER."
            )
            raise ValueError(msg)
