"""One step: what a notebook is given and where it leaves its results."""

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from IPython import get_ipython

from soilnb._files import digest, digest_code, locked, replace_folder, replacing
from soilnb.cnn import Architecture
from soilnb.datasets import SpectralLibrary
from soilnb.study import N_TEST_MIN, Study
from soilnb.workflow import show, stamps
from soilnb.workflow.cluster import check_reachable
from soilnb.workflow.data import (
    fetch_data,
    prepare_study,
    read_reference,
    read_site,
)
from soilnb.workflow.params import assigned, check_parameters, declared
from soilnb.workflow.steps import STEPS, Job, by_role, check_writable

PREPARED = "SOILNB_PREPARED"  # where a run has left the study that it checked
# What a step must have in common with those that it reads.
_SHARED = ("profile", "seed", "library_epochs", "n_library")
_held: dict[Path, ExitStack] = {}  # locks of the steps that this process has begun
_PLAIN = (str, int, float, bool, list, dict, tuple, type(None))


@dataclass(eq=False)
class Step(Job):
    """A running step: its name, all its parameters, all that its results depend on.

    Results are written beside their place and moved there whole when it finishes.
    """

    start: float = field(default_factory=time.perf_counter)
    facts: dict[str, Any] = field(default_factory=dict)
    missing: str = ""

    @property
    def parameters(self) -> SimpleNamespace:
        """The parameters as attributes."""
        return SimpleNamespace(**self.values)

    @property
    def folder(self) -> Path:
        """Where the step writes meanwhile."""
        return self.place.with_name(f".{self.step}.partial")

    @property
    def networks(self) -> Path:
        """Where the networks that the sites of a library share are kept."""
        return self.site_folder.with_name(".networks")

    @cached_property
    def study(self) -> Study:
        """The study: prepared in the step that does so, read in every other one."""
        if self.entry.role != "prepares":
            return Study.load(self.read(by_role("prepares")))
        checked = Path(os.environ.get(PREPARED, "/"))
        made = stamps.read_stamp(checked)
        if all(made.get(key) == self.facts[key] for key in ("parameters", "data")):
            return Study.load(checked)
        return prepare_study(self.values, show.Progress("reading the library"))

    def read(self, step: str, file: str = "") -> Path:
        """Return the path of another step's file, or of its folder."""
        return self.place.with_name(step) / file

    def settings_of(self, step: str, *names: str) -> dict[str, Any]:
        """Return some parameters that another step was run with."""
        values = stamps.read_stamp(self.read(step))["parameters"]
        return {name: values[name] for name in names}

    def search_folder(self, name: str, *settings: Any, code: str = "cnn") -> Path:
        """Return where long work is kept, so that an interrupted run goes on.

        `settings` (plain values, arrays, architectures) are all that it depends on
        beside the study and the `code`, the parts of the package that compute it.
        """

        def plain(value: Any) -> Any:
            return value.tolist() if hasattr(value, "tolist") else value.to_dict()

        rests_on = ("cnn", "pls", "preprocessing", "rslocal", "selection", "transfer")
        code = digest_code(*{*code.split(), *rests_on})
        data = self.study.fingerprint if self.entry.site else self.facts["data"]
        text = json.dumps([*settings, data, code], sort_keys=True, default=plain)
        return self.site_folder / ".searches" / f"{name}-{digest(text)[:12]}"

    def table(
        self, name: str, compute: Callable[..., pd.DataFrame], *given: Any, **more: Any
    ) -> pd.DataFrame:
        """Return a table of a companion and leave it as name.csv.

        `compute` makes it of the other arguments. Where the data sets are not there it
        is not called, and the table is that of data/reference_results.
        """
        made = read_reference(name) if self.missing else compute(*given, **more)
        made.to_csv(self.folder / f"{name}.csv", index=False)
        return made

    def write_architectures(self, architectures: Mapping[str, Architecture]) -> None:
        """Leave architectures.json, by model."""
        plain = {name: one.to_dict() for name, one in architectures.items()}
        text = json.dumps(plain, indent=1)
        (self.folder / "architectures.json").write_text(text)

    def read_architectures(self, *steps: str) -> dict[str, Architecture]:
        """Return the architectures that other steps left, by model."""
        texts = (self.read(step, "architectures.json").read_text() for step in steps)
        plain = {name: one for text in texts for name, one in json.loads(text).items()}
        return {name: Architecture.from_dict(one) for name, one in plain.items()}

    def read_selections(self) -> dict[str, npt.NDArray[np.int64]]:
        """Return the library rows that were selected, by library."""
        files = {"global": "localised.csv", "country": "localised_country.csv"}
        found = {}
        for library, name in files.items():
            if (file := self.read(by_role("selects"), name)).exists():
                rows = pd.read_csv(file)["library_row"].dropna()
                found[library] = rows.to_numpy(np.int64)
        return found

    def _hold(self) -> None:
        """Keep other processes from the step until it finishes or this one ends."""
        if self.place in _held:
            return  # begun a second time in one kernel
        busy = (
            f"{self.step} of {self.site_folder} is being run by another process. "
            "Wait until it has ended; a notebook that is open: end its kernel."
        )
        lock = ExitStack()
        lock.enter_context(locked(self.place.with_name(f".{self.step}.lock"), busy))
        _held[self.place] = lock

    def finish(
        self,
        scores: pd.DataFrame | None = None,
        predictions: pd.DataFrame | None = None,
        **numbers: str | float,
    ) -> None:
        """Leave the results in their place, with a stamp of how they were made.

        `scores` and `predictions` become scores.csv and predictions.parquet; `numbers`
        are values that pages of the book show, so their names begin with the notebook's
        subject.
        """
        if scores is not None:
            scores.to_csv(self.folder / "scores.csv", index=False)
        if predictions is not None:
            predictions.to_parquet(self.folder / "predictions.parquet", index=False)
        of_site = self.entry.site
        made = {
            "study": self.study.fingerprint if of_site else "",
            "n_test": len(self.study.test) if of_site else 0,
            "seconds": round(time.perf_counter() - self.start, 1),
        }
        stamps.write_stamp(self.folder, self.facts | made)
        merges, merged = by_role("merges"), self.place.with_name("scores.csv")
        if self.step in (*STEPS[merges].reads, merges):
            merged.unlink(missing_ok=True)  # of what is replaced now
        replace_folder(self.folder, self.place)
        if self.step == merges:
            with replacing(merged) as partial:
                shutil.copy(self.place / "scores.csv", partial)
        if lock := _held.pop(self.place, None):
            lock.close()
        for key, value in numbers.items():
            show.glue(key, value.item() if isinstance(value, np.generic) else value)


def begin(name: str, namespace: Mapping[str, Any] | None = None) -> Step:
    """Check a notebook's parameters and open its step, named as the notebook is.

    `namespace` holds the parameters; by default the notebook's own variables, among
    which papermill has put them. A ValueError or TypeError says which parameter is
    wrong, or that data cannot be used, results not be written or another step must be
    run first; nothing is written then.
    """
    shell = get_ipython()
    if namespace is None:
        namespace = shell.user_ns if shell else {}
    given = {
        key: value
        for key, value in namespace.items()
        if not key.startswith("_") and key not in ("In", "Out")
        if isinstance(value, _PLAIN)
        if key in declared(name) or key not in assigned(name)
    }
    step = Step(name, check_parameters(name, given))
    check_reachable(step.values.get("scheduler", ""))
    step.missing = fetch_data(step)
    if step.entry.role == "prepares":
        stamps.check_owner(step)
    step.facts = stamps.expected(step)
    if step.entry.site:
        _check_upstream(step)
        n_test = len(step.study.test)  # refuses unusable data, too
        if step.entry.tests and not n_test:
            msg = (
                f"{name} cannot run: it scores on test samples, and 'site' "
                f"{step.study.site.name!r} has {len(step.study.local)} measured ones, "
                f"where a test needs n_local + {N_TEST_MIN}. {by_role('answers')} "
                "estimates the others."
            )
            raise ValueError(msg)
    check_writable(step.site_folder)
    step._hold()
    shutil.rmtree(step.folder, ignore_errors=True)
    step.folder.mkdir()
    show.label_synthetic(step.entry.site and step.study.is_synthetic)
    if step.missing:
        show.say(step.missing)
    return step


def _check_upstream(step: Step) -> None:
    """Raise where an earlier step is missing or belongs to another study."""
    needs, values, folder = step.entry.reads, step.values, step.site_folder
    shared = {key: values[key] for key in _SHARED if key in values}
    own = shared | {key: values[key] for key in ("site", "library", "results")}
    problem = stamps.find_mismatch(folder, needs)
    made = stamps.read_stamp(folder / needs[0]) if needs else step.facts
    if not problem and made["data"] != step.facts["data"]:
        problem = needs[0], f"{needs[0]} was made from other data"
    if problem:
        again = f"Run it: {stamps.run_command(problem[0], own)}"
        msg = f"{step.step} cannot run: {problem[1]}. {again}"
        raise ValueError(msg)
    for earlier in needs:
        found = stamps.read_stamp(folder / earlier)["parameters"]
        for key, value in shared.items():
            if found.get(key, value) != value:
                again = stamps.run_command("all", own)
                msg = (
                    f"{key!r} is {value!r}, but the results of {earlier} were made "
                    f"with {found[key]!r}. Run it: {again}"
                )
                raise ValueError(msg)


def measured_site(step: Step) -> SpectralLibrary:
    """Return the samples of a step's study at the wavelengths of measurement."""
    site = read_site(step.values)
    used = site.info["sample_id"].isin(set(step.study.site.info["sample_id"]))
    return site.take(used.to_numpy())
