"""One step: what a notebook is given and where it leaves its results.

Results are written to a hidden folder beside their place and moved there whole when
the step finishes, so a reader never meets half of them.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilnb.cnn import Architecture
from soilnb.datasets import SpectralLibrary, load_library, load_site
from soilnb.study import Study, library_network, prepare, search_library_network
from soilnb.workflow import show
from soilnb.workflow.folders import (
    check_writable,
    replace_folder,
    resolve,
    results_folder,
)
from soilnb.workflow.params import STEPS, assigned, check_parameters, declared
from soilnb.workflow.stamps import (
    check_owner,
    code_digest,
    data_digests,
    find_mismatch,
    read_parameters,
    run_command,
    stamp_digest,
    versions,
)

if TYPE_CHECKING:
    from soilnb.cnn import CrossValidation
    from soilnb.cnn.tuning.result import SearchResult

# What a step must have in common with those that it reads.
_SHARED = ("profile", "seed", "library_epochs", "n_library")
_held: dict[Path, IO[str]] = {}  # locks of the steps that this process has begun
_PLAIN = (str, int, float, bool, list, dict, tuple, type(None))


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


@dataclass
class Step:
    """A running step.

    Attributes
    ----------
    name : str
        Name of the step, for example "03_rs_local".
    values : dict
        All parameters, with the profile's values filled in.
    upstream : dict
        Digest of each result that the step reads, as it was when the step began.
    """

    name: str
    values: dict[str, Any]
    start: float = field(default_factory=time.perf_counter)
    upstream: dict[str, str] = field(default_factory=dict)

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
    def data(self) -> dict[str, str]:
        """What identifies the data, as it was when the step began."""
        return data_digests(self.values)

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
        needs, values = STEPS[self.name], self.values
        problem = find_mismatch(self.place.parent, needs)
        if problem:
            msg = f"{self.name} cannot run: {problem[1]}. {self._again(problem[0])}"
            raise ValueError(msg)
        facts = json.loads(self.read("01_data", "step.json").read_text())
        if facts["data"] != self.data:
            msg = f"{self.name} cannot run: 01_data was made from other data. "
            raise ValueError(msg + self._again("01_data"))
        for step in needs:
            found = read_parameters(self.place.parent, step)
            for key in _SHARED:
                if key in values and found.get(key, values[key]) != values[key]:
                    msg = (
                        f"{key!r} is {values[key]!r}, but the results of {step} were "
                        f"made with {found[key]!r}. {self._again('all')}"
                    )
                    raise ValueError(msg)

    def _again(self, steps: str) -> str:
        """Return how to run steps that this one needs."""
        own = {
            name: value
            for name, value in self.values.items()
            if name in (*_SHARED, "site", "library", "results")
        }
        return f"Run it: {run_command(steps, own)}"

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

        parts = [*settings, self.study.fingerprint, code_digest()]
        text = json.dumps(parts, sort_keys=True, default=plain)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        return self.place.parent / ".searches" / f"{name}-{digest}"

    @property
    def selection_settings(self) -> dict[str, Any]:
        """How 03_rs_local selected: k, b, r, components and searches."""
        facts = json.loads(self.read("03_rs_local", "step.json").read_text())
        names = "n_selected n_repeats drop_fraction n_components n_searches"
        return {name: facts["parameters"][name] for name in names.split()}

    @property
    def networks(self) -> Path:
        """Where the networks of a library are kept, for all its sites."""
        return self.place.parents[1] / ".networks"

    def train_network(
        self, library: str, architecture: Architecture, **options: Any
    ) -> CrossValidation:
        """Return the network of a library, as `soilnb.study.library_network`."""
        study = options.pop("study", self.study)
        return library_network(
            study, library, architecture, folder=self.networks, **options
        )

    def search_network(
        self, library: str, n_trials: int, **options: Any
    ) -> SearchResult:
        """Return a search for its architecture, as `search_library_network`."""
        return search_library_network(
            self.study, library, n_trials, folder=self.networks, **options
        )

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

    def hold(self) -> None:
        """Keep other processes from the step until it finishes or this one ends.

        Raises
        ------
        ValueError
            If another process is at it.
        """
        file = self.place.with_name(f".{self.name}.lock")
        if file in _held:
            return  # begun a second time in one kernel
        lock = file.open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            msg = (
                f"{self.name} of {self.place.parent} is being run by another process. "
                "Wait until it has ended; a notebook that is open: end its kernel."
            )
            raise ValueError(msg) from error
        _held[file] = lock

    def finish(self) -> None:
        """Note how the results were made and move them to their place."""
        facts = {
            "step": self.name,
            "study": self.study.fingerprint,
            "parameters": self.values,
            "data": self.data,
            "upstream": self.upstream,
            "versions": versions(),
            "seconds": round(time.perf_counter() - self.start, 1),
        }
        (self.folder / "step.json").write_text(json.dumps(facts, indent=1))
        merged = self.place.with_name("scores.csv")
        if self.name in (*STEPS["09_compare"], "09_compare"):
            merged.unlink(missing_ok=True)  # of what is replaced now
        replace_folder(self.folder, self.place)
        if self.name == "09_compare":
            partial = merged.with_name(".scores.csv")
            shutil.copy(self.place / "scores.csv", partial)
            partial.replace(merged)
        lock = _held.pop(self.place.with_name(f".{self.name}.lock"), None)
        if lock:
            lock.close()


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
    step.values |= {key: resolve(step.values[key]) for key in ("site", "library")}
    if name == "01_data":
        check_owner(step.values)
        _ = step.data, step.study
    step._check_upstream()
    check_writable(step.place.parent)
    step.hold()
    step.upstream = {one: stamp_digest(step.place.parent, one) for one in STEPS[name]}
    shutil.rmtree(step.folder, ignore_errors=True)
    step.folder.mkdir()
    show.label_synthetic(step.study.is_synthetic)
    return step
