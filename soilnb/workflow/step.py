"""One step: what a notebook is given and where it leaves its results.

Results are written to a hidden folder beside their place and moved there whole when
the step finishes, so a reader never meets half of them.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilnb.cnn import Architecture
from soilnb.datasets import (
    LIBRARIES,
    SITES,
    SpectralLibrary,
    describe_origin,
    find_files,
    folder_name,
    is_table,
    load_library,
    load_site,
)
from soilnb.study import (
    Study,
    fit_network,
    library_samples,
    network_key,
    prepare,
)
from soilnb.workflow import show
from soilnb.workflow.params import ROOT, STEPS, assigned, check_parameters, declared

if TYPE_CHECKING:
    from soilnb.cnn import CrossValidation

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
# What a step must have in common with those that it reads.
_SHARED = ("profile", "seed", "library_epochs", "n_library")
LARGE_LIBRARY = 2_000  # rows; more are trained in larger batches
_PLAIN = (str, int, float, bool, list, dict, tuple, type(None))


def results_folder(parameters: Mapping[str, Any]) -> Path:
    """Return results/<library>/<site>, below the repository unless absolute."""
    library, site = (folder_name(parameters[key], key) for key in ("library", "site"))
    return ROOT / Path(parameters["results"]).expanduser() / library / site


def check_writable(folder: Path) -> None:
    """Raise ValueError where results cannot be written, before anything is computed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        msg = (
            f"'results' must be a folder that can be written, got {folder} "
            f"({error.strerror}). Choose another with results=FOLDER."
        )
        raise ValueError(msg) from error


def replace_folder(new: Path, place: Path) -> None:
    """Move a finished folder to its place; whatever was there goes."""
    old = place.with_name(f".{place.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    new.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def resolve(name_or_path: str) -> str:
    """Return a path as absolute: first below here, then below the repository."""
    if name_or_path in (*SITES, *LIBRARIES):
        return name_or_path
    for base in (Path.cwd(), ROOT):
        path = base / Path(name_or_path).expanduser()
        if is_table(path) and path.exists():
            return str(path)
    return name_or_path


def prepare_study(values: Mapping[str, Any], progress: Any = None) -> Study:
    """Return the study that the parameters of 01_data describe."""
    return prepare(
        read_library(values, progress),
        read_site(values),
        n_local=values["n_local"],
        n_folds=values["n_folds"],
        wavelength_range=tuple(values["wavelength_range"]),
        seed=values["seed"],
    )


def read_library(values: Mapping[str, Any], progress: Any = None) -> SpectralLibrary:
    """Return the library as it was measured."""
    try:
        return load_library(
            resolve(values["library"]),
            quantity=values["library_quantity"],
            soc_unit=values["library_soc_unit"],
            progress=progress,
        )
    except ValueError as error:  # the reader speaks of quantity and soc_unit
        text = re.sub(r"\b(quantity|soc_unit)(?=['=])", r"library_\1", str(error))
        msg = f"Library {values['library']!r}: {text}"
        raise ValueError(msg) from error


def read_site(values: Mapping[str, Any]) -> SpectralLibrary:
    """Return the site as it was measured."""
    return load_site(
        resolve(values["site"]),
        quantity=values["quantity"],
        soc_unit=values["soc_unit"],
        country=values["country"],
    )


def data_digests(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return what identifies the data: a file's SHA-256, or a name's origin."""
    found = {}
    for key in ("library", "site"):
        folder_name(parameters[key], key)  # raises where there is no such name
        path = Path(resolve(parameters[key]))
        if is_table(path):
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


def _stamp_digest(site_folder: Path, step: str) -> str:
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
            if digest != _stamp_digest(site_folder, earlier):
                return step, f"{earlier} was run again after {step}"
    return None


@dataclass
class Step:
    """A running step.

    Attributes
    ----------
    name : str
        Name of the step, for example "03_rs_local".
    values : dict
        All parameters, with the profile's values filled in.
    """

    name: str
    values: dict[str, Any]
    start: float = field(default_factory=time.perf_counter)

    @property
    def parameters(self) -> SimpleNamespace:
        """The parameters as attributes."""
        return SimpleNamespace(**self.values)

    @property
    def place(self) -> Path:
        """Where the step's results appear when it finishes."""
        return results_folder(self.values) / self.name

    @property
    def folder(self) -> Path:
        """Where the step writes meanwhile."""
        return self.place.with_name(f".{self.name}.partial")

    @cached_property
    def study(self) -> Study:
        """The study: prepared here in 01_data, read in every other step."""
        if self.name == "01_data":
            return prepare_study(self.values, show.Progress("reading the library"))
        return Study.load(self.read("01_data"))

    def read(self, step: str, file: str = "") -> Path:
        """Return the path of another step's result.

        Parameters
        ----------
        step : str
            A step that this one reads.
        file : str, default ""
            Name of the file; empty for the step's folder.

        Returns
        -------
        Path
        """
        return self.place.with_name(step) / file

    def _check_upstream(self) -> None:
        """Raise where an earlier step is missing or belongs to another study."""
        if self.name == "01_data":
            return
        needs = STEPS[self.name]
        values, site_folder = self.values, self.place.parent
        options = [f"--{key} {values[key]}" for key in ("site", "library", "profile")]
        options += [f"-p {key}={values[key]}" for key in ("seed", "results")]
        again = f"Run it: soilnb run {{}} {' '.join(options)}"
        problem = find_mismatch(site_folder, needs)
        if problem:
            msg = f"{self.name} cannot run: {problem[1]}. {again.format(problem[0])}"
            raise ValueError(msg)
        facts = json.loads(self.read(needs[-1], "step.json").read_text())
        if facts["data"] != data_digests(values):
            msg = f"{self.name} cannot run: 01_data was made from other data. "
            raise ValueError(msg + again.format("01_data"))
        for step in needs:
            found = json.loads(self.read(step, "step.json").read_text())["parameters"]
            for key in _SHARED:
                if key in values and found.get(key, values[key]) != values[key]:
                    msg = (
                        f"{key!r} is {values[key]!r}, but the results of {step} were "
                        f"made with {found[key]!r}. {again.format('all')}"
                    )
                    raise ValueError(msg)

    @property
    def measured_site(self) -> SpectralLibrary:
        """The samples of the study's site at the wavelengths of measurement."""
        site = read_site(self.values)
        used = site.info["sample_id"].isin(set(self.study.site.info["sample_id"]))
        return site.take(used.to_numpy())

    @cached_property
    def sources(self) -> tuple[SpectralLibrary, SpectralLibrary, dict[str, Any]]:
        """Library and site as they were read for 01_data, and the study's options."""
        facts = json.loads(self.read("01_data", "step.json").read_text())
        values = facts["parameters"]
        options = {
            "n_folds": values["n_folds"],
            "wavelength_range": tuple(values["wavelength_range"]),
        }
        return read_library(values), read_site(values), options

    def search_folder(self, name: str, *settings: Any) -> Path:
        """Where long work is kept while it lasts, so that an interrupted run goes on.

        Another study, other settings or other code begin anew.

        Parameters
        ----------
        name : str
            What is computed.
        *settings : plain values, arrays, architectures
            All that it depends on beside the study.

        Returns
        -------
        Path
        """

        def plain(value: Any) -> Any:
            is_array = isinstance(value, np.ndarray)
            return value.tolist() if is_array else value.to_dict()

        parts = [*settings, self.study.fingerprint, package_digest()]
        text = json.dumps(parts, sort_keys=True, default=plain)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        return self.place.parent / ".searches" / f"{name}-{digest}"

    @property
    def selection_settings(self) -> dict[str, Any]:
        """How 03_rs_local selected: k, b, r, components and searches."""
        facts = json.loads(self.read("03_rs_local", "step.json").read_text())
        names = "n_selected n_repeats drop_fraction n_components n_searches"
        return {name: facts["parameters"][name] for name in names.split()}

    def train_network(
        self,
        library: str,
        architecture: Architecture,
        *,
        max_epochs: int,
        n_library: int,
        study: Study | None = None,
        progress: Any = None,
    ) -> CrossValidation:
        """Return the network of a library; one trained before is taken again.

        Networks are kept beside the sites, in results/<library>/.networks: sites that
        leave the same rows and bands of a library share its network. More than 2,000
        rows are trained in batches of 128 with a patience of 10 epochs.

        Parameters
        ----------
        library : str
            "global" or "country".
        architecture, max_epochs, n_library, progress
            As of `soilnb.study.fit_network`.
        study : Study, optional
            Another than the step's own, as of another seed.

        Returns
        -------
        CrossValidation
            Its `seconds` are those of the training, whenever that was.
        """
        from soilnb.cnn import CrossValidation

        study = study or self.study
        how = {"max_epochs": max_epochs, "n_library": n_library}
        n_rows = len(library_samples(study, library, n_library=n_library)[1])
        if n_rows > LARGE_LIBRARY:
            architecture = replace(architecture, batch_size=128, patience=10)
        key = network_key(study, library, architecture, **how)
        name = f"{library}-{key}-{package_digest()[:8]}.npz"
        file = self.place.parents[1] / ".networks" / name
        file.parent.mkdir(exist_ok=True)
        with file.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another site may be training it
            if not file.exists():
                network = fit_network(
                    study, library, architecture, progress=progress, **how
                )
                network.save(file)
                return network
        if progress is not None:
            show.say(f"The {library} network was trained before and is used again.")
        return CrossValidation.load(file)

    def write_architectures(self, architectures: Mapping[str, Architecture]) -> None:
        """Leave architectures.json, by model."""
        plain = {name: one.to_dict() for name, one in architectures.items()}
        text = json.dumps(plain, indent=1)
        (self.folder / "architectures.json").write_text(text)

    def read_architectures(self, *steps: str) -> dict[str, Architecture]:
        """Return the architectures that other steps left, by model."""
        return {
            name: Architecture.from_dict(plain)
            for step in steps
            for name, plain in json.loads(
                self.read(step, "architectures.json").read_text()
            ).items()
        }

    def read_selections(self) -> dict[str, npt.NDArray[np.int64]]:
        """Return the library rows that 03_rs_local selected, by library."""
        files = {"global": "localised.csv", "country": "localised_country.csv"}
        found = {}
        for library, name in files.items():
            if (file := self.read("03_rs_local", name)).exists():
                rows = pd.read_csv(file)["library_row"].dropna()
                found[library] = rows.to_numpy(np.int64)
        return found

    def write_scores(self, scores: pd.DataFrame, predictions: pd.DataFrame) -> None:
        """Leave scores.csv and predictions.parquet."""
        scores.to_csv(self.folder / "scores.csv", index=False)
        predictions.to_parquet(self.folder / "predictions.parquet", index=False)

    def finish(self) -> None:
        """Note how the results were made and move them to their place."""
        facts = {
            "step": self.name,
            "study": self.study.fingerprint,
            "parameters": self.values,
            "data": data_digests(self.values),
            "upstream": {
                step: _stamp_digest(self.place.parent, step)
                for step in STEPS[self.name]
            },
            "versions": versions(),
            "seconds": round(time.perf_counter() - self.start, 1),
        }
        (self.folder / "step.json").write_text(json.dumps(facts, indent=1))
        merged = self.place.with_name("scores.csv")
        if self.name in (*STEPS["08_compare"], "08_compare"):
            merged.unlink(missing_ok=True)  # of what is replaced now
        replace_folder(self.folder, self.place)
        if self.name == "08_compare":
            partial = merged.with_name(".scores.csv")
            shutil.copy(self.place / "scores.csv", partial)
            partial.replace(merged)


def begin(name: str, namespace: Mapping[str, Any]) -> Step:
    """Check a notebook's parameters and open its step.

    Parameters
    ----------
    name : str
        Name of the step, which is the notebook's.
    namespace : mapping
        The notebook's `globals()`, in which papermill has put the parameters.

    Returns
    -------
    Step

    Raises
    ------
    ValueError, TypeError
        A parameter that is wrong, data that cannot be used, results that cannot be
        written or that another step must make first. Nothing is written then.
    """
    given = {
        key: value
        for key, value in namespace.items()
        if not key.startswith("_") and key not in ("In", "Out")
        if isinstance(value, _PLAIN)
        if key in declared(name) or key not in assigned(name)
    }
    step = Step(name, check_parameters(name, given))
    if name == "01_data":
        _ = step.study
    step._check_upstream()
    check_writable(step.place.parent)
    shutil.rmtree(step.folder, ignore_errors=True)
    step.folder.mkdir()
    show.label_synthetic(step.study.is_synthetic)
    return step
