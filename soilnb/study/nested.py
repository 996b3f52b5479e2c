"""The study made anew without each fold of its local samples, to predict that fold.

A fold is held out of everything: of the selection of library rows, of the choice of the
base network and of its depth, of a spiking weight, of scaling, training and early
stopping. The same models predict the test samples, so that nothing is trained again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from dask.system import CPU_COUNT
from sklearn.dummy import DummyRegressor

from soilnb import cnn
from soilnb.baselines import (
    fit_gaussian_process,
    fit_plsr,
    fit_plsr_weighted,
    fit_support_vectors,
)
from soilnb.cnn.folds import Fold, Scaling
from soilnb.methods import label
from soilnb.selection import random_folds
from soilnb.study.networks import LARGE_LIBRARY, select_rows
from soilnb.study.prepared import LIBRARIES, Study
from soilnb.transfer.representations import FrozenNetwork, choose_base

if TYPE_CHECKING:
    from soilnb.cnn import Architecture, FoldModels
    from soilnb.cnn.result import TrainedFold

Progress = Callable[[int, int, str], object]

# Rows of a library among which each fold selects: ten searches of a million would take
# longer than all else together.
NESTED_MOST = 20_000
AT_ONCE = min(4, CPU_COUNT)  # trainings side by side: a small network keeps one core


@contextlib.contextmanager
def side_by_side() -> Iterator[ThreadPoolExecutor]:
    """Yield threads; what still waits at an error or Ctrl-C is not begun."""
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def parse(candidate: str) -> tuple[str, str]:
    """Return kind and library: of "dtl_ir_global" dtl_ir and global; of `local`, ""."""
    kind, _, library = candidate.rpartition("_")
    return (kind, library) if library in LIBRARIES else (candidate, "")


SELECTING = ("dtl_i", "dtl_ir")  # train on library rows, too

# Plain candidates: how each is fitted on a study, given the rows that were selected.
PLAIN: dict[str, Callable[[Study, npt.NDArray[np.intp]], Any]] = {
    "null_model": lambda study, _: DummyRegressor().fit(*study.samples("local")[:2]),
    "plsr_one_se": lambda study, _: fit_plsr(*study.samples("local"), rule="one_se"),
    "gp_local": lambda study, _: fit_gaussian_process(*study.samples("local")[:2]),
    "svr_local": lambda study, _: fit_support_vectors(
        *study.samples("local")[:2], seed=study.seed
    ),
    "plsr_weighted_cv": lambda study, _: fit_plsr_weighted(
        study.samples("global", LARGE_LIBRARY), study.samples("local")
    ),
    "plsr_rs_local": lambda study, rows: fit_plsr(*study.localised(rows)),
}


def without_fold(study: Study, number: int) -> Study:
    """Return the study without a fold of local samples, which are its test samples."""
    held_out = study.local_folds == number
    n_kept = int(np.count_nonzero(~held_out))
    n_folds = min(study.n_folds, n_kept)
    return study.with_split(
        local=study.local[~held_out],
        test=study.local[held_out],
        local_folds=random_folds(n_kept, n_folds, study.seed),
        n_folds=n_folds,
    )


@dataclass(frozen=True, eq=False)
class Nested:
    """What each candidate predicts (SOC, %) by models made without each fold.

    `local` has a row for each local sample of `study`, in order of selection, and a
    column for each candidate; `test`, by candidate, the test samples (n_folds, n_test).
    """

    study: Study
    local: pd.DataFrame
    test: dict[str, npt.NDArray[np.float64]]

    def table(self, candidates: Sequence[str] | None = None) -> pd.DataFrame:
        """Return rows of candidate, sample_id, fold, measured, predicted (% SOC)."""
        study = self.study
        ids = study.site.info["sample_id"].to_numpy()[study.local]
        known = {"fold": study.local_folds, "measured": study.samples("local").y}
        wanted = [name for name in self.local if not candidates or name in candidates]
        tables = [
            pd.DataFrame({"candidate": name, "sample_id": ids, **known}).assign(
                predicted=self.local[name].to_numpy()
            )
            for name in wanted
        ]
        return pd.concat(tables, ignore_index=True)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Samples, local ones first and those to be predicted only last, and their use."""

    X: npt.NDArray[np.float32]
    y: npt.NDArray[np.float64]
    parts: Sequence[Fold]


@dataclass
class Nest:
    """Everything that predicts the folds of a study from outside of them.

    All networks of a candidate and depth are trained together, fold after fold.
    """

    study: Study
    architectures: Mapping[str, Architecture]
    networks: Mapping[str, FoldModels]
    n_networks: int
    max_epochs: int | None
    retrain_epochs: int | None
    selection: Mapping[str, Any]
    progress: Progress | None = None

    def __post_init__(self) -> None:
        """Divide the study; nothing is selected or trained yet."""
        self.study.samples("global")  # its spectra are made once for all folds
        self.numbers = np.unique(self.study.local_folds)
        self.inner = [without_fold(self.study, number) for number in self.numbers]
        self._selected: dict[str, _Rows] = {}
        self._chosen: dict[str, list[npt.NDArray[np.intp]]] = {}
        self._done = self._total = 0

    def predict(self, candidates: Sequence[str]) -> Nested:
        """Return the predictions of all candidates."""
        kinds = {name: parse(name) for name in candidates if name not in PLAIN}
        plain = [name for name in candidates if name in PLAIN]
        selecting = {library for kind, library in kinds.values() if kind in SELECTING}
        selecting |= {"global"} if "plsr_rs_local" in plain else set()
        n_steps = {name: self._n_trainings(*kinds[name]) for name in kinds}
        self._total = len(self.inner) * len(selecting) + sum(n_steps.values())
        self._total += len(plain)
        for library in sorted(selecting):  # once for all candidates
            self._localised(library)
        found = {name: self._fit_plain(name) for name in plain}
        with side_by_side() as threads:
            running = {threads.submit(self._predict, n, *kinds[n]): n for n in kinds}
            for future in as_completed(running):
                name = running[future]
                found[name] = future.result()
                self._tell(name, n_steps[name])
        found = {name: found[name] for name in candidates}
        n_local = len(self.study.local)
        own = np.searchsorted(self.numbers, self.study.local_folds), np.arange(n_local)
        local = {name: predicted[own] for name, predicted in found.items()}
        test = {name: predicted[:, n_local:] for name, predicted in found.items()}
        return Nested(self.study, pd.DataFrame(local), test)

    def _predict(
        self, candidate: str, kind: str, library: str
    ) -> npt.NDArray[np.float64]:
        """Return what networks predict for local and test samples, by fold."""
        rows = self._local if kind in ("local", "dtl_r") else self._localised(library)
        if kind in ("local", "dtl_i"):
            return self._train(candidate, rows)
        return self._retrain(candidate, library, rows)

    def _fit_plain(self, candidate: str) -> npt.NDArray[np.float64]:
        """Return the predictions of a plain candidate."""
        study, none = self.study, np.array([], dtype=np.intp)
        X = np.concatenate([study.samples("local").X, study.X_test])
        selecting = candidate == "plsr_rs_local"
        selected = self._rows_of("global") if selecting else [none] * len(self.inner)
        models = map(PLAIN[candidate], self.inner, selected)
        predicted = np.array([model.predict(X) for model in models])
        self._tell(label(candidate))
        return predicted

    def _architecture(self, name: str) -> Architecture:
        """Return the architecture given, or the small one."""
        return self.architectures.get(name, cnn.SMALL)

    def _n_trainings(self, kind: str, library: str) -> int:
        """Return how often networks are trained for a candidate: once per depth."""
        if kind in ("local", "dtl_i"):
            return 1
        return len(self._architecture(library).blocks) + 1

    def _tell(self, text: str, n_steps: int = 1) -> None:
        """Count steps and tell."""
        self._done += n_steps
        if self.progress is not None:
            self.progress(self._done, self._total, text)

    @cached_property
    def _kept(self) -> list[npt.NDArray[np.intp]]:
        """Places of the local samples outside of each fold."""
        folds = self.study.local_folds
        return [np.flatnonzero(folds != number) for number in self.numbers]

    @cached_property
    def _local(self) -> _Rows:
        """The local samples alone."""
        folds = [inner.local_folds for inner in self.inner]
        X, y, _ = self.study.samples("local")
        return self._divide(X, y, self._kept, folds)

    def _localised(self, library: str) -> _Rows:
        """Return the local samples and all rows that any fold has selected."""
        if library not in self._selected:
            self._selected[library] = self._localise(library)
        return self._selected[library]

    def _rows_of(self, library: str) -> list[npt.NDArray[np.intp]]:
        """Return the rows of a library that each fold selects, once for all."""
        if library not in self._chosen:
            self._chosen[library] = [self._select(one, library) for one in self.inner]
        return self._chosen[library]

    def _localise(self, library: str) -> _Rows:
        """Put the rows that each fold has selected after the local samples."""
        study = self.study
        selected = self._rows_of(library)
        used = np.unique(np.concatenate(selected))
        rows_used = study.country_rows[used] if library == "country" else used
        y = study.library.soc[rows_used]
        n_local = len(self.study.local)
        rows = [
            np.concatenate([n_local + np.searchsorted(used, chosen), kept])
            for chosen, kept in zip(selected, self._kept, strict=True)
        ]
        folds = [
            inner.localised_folds(len(chosen))
            for inner, chosen in zip(self.inner, selected, strict=True)
        ]
        local = study.samples("local")
        X = np.concatenate([local.X, study.spectra(rows_used)])
        y = np.concatenate([local.y, y])
        return self._divide(X, y, rows, folds)

    def _select(self, inner: Study, library: str) -> npt.NDArray[np.intp]:
        """Return the rows of a library that the samples outside of a fold select."""
        options = {**self.selection, "n_most": NESTED_MOST}
        chosen = select_rows(inner, library, **options)
        self._tell("selection of library rows")
        return chosen.indices

    def _divide(
        self,
        X: npt.NDArray[np.float64],
        y: npt.NDArray[np.float64],
        rows: Sequence[npt.NDArray[np.intp]],
        folds: Sequence[npt.NDArray[np.integer]],
    ) -> _Rows:
        """Return the samples, and of each network the rows to train and to watch."""
        spectra, parts = np.concatenate([X, self.study.X_test], dtype=np.float32), []
        n_test = len(self.study.test)
        last = np.arange(len(X), len(spectra))
        y = np.concatenate([y, np.zeros(n_test)])  # never trained or watched
        for place, (own, inner) in enumerate(zip(rows, folds, strict=True)):
            of_fold = np.flatnonzero(self.study.local_folds == self.numbers[place])
            held_out = np.concatenate([of_fold, last])
            for number in np.unique(inner)[: self.n_networks]:
                train, watched = own[inner != number], own[inner == number]
                scaling = Scaling.learn(spectra[train], y[train])
                position = place * self.study.n_folds + int(number)
                parts.append(Fold(position, train, watched, held_out, scaling))
        return _Rows(spectra, y, parts)

    def _train(self, candidate: str, rows: _Rows) -> npt.NDArray[np.float64]:
        """Return the predictions of networks trained from the start."""
        from soilnb.cnn.training import train_folds

        trained = train_folds(
            self._architecture(candidate),
            rows.X,
            rows.y,
            rows.parts,
            seed=self.study.seed,
            max_epochs=self.max_epochs,
        )
        return self._outcome(trained)[1]

    def _retrain(
        self, candidate: str, library: str, rows: _Rows
    ) -> npt.NDArray[np.float64]:
        """Return the predictions of networks retrained from each fold's own depth."""
        models = self.networks[library]
        kept = [inner.samples("local") for inner in self.inner]
        bases = [choose_base(models, X, y)[0] for X, y, _ in kept]
        outcomes = []
        for n_frozen in range(self._n_trainings(*parse(candidate))):
            trained = self._retrain_after(n_frozen, library, bases, rows)
            outcomes.append(self._outcome(trained))
        watched, predicted = map(np.array, zip(*outcomes, strict=True))
        return predicted[watched.argmin(axis=0), np.arange(len(self.numbers))]

    def _retrain_after(
        self, n_frozen: int, library: str, bases: Sequence[int], rows: _Rows
    ) -> list[TrainedFold]:
        """Return the networks of all folds with some blocks frozen."""
        architecture, trained = self._architecture(library), []
        for base in np.unique(bases):
            model = self.networks[library].models[base]
            trained += FrozenNetwork(architecture, model, n_frozen).retrain(
                rows.X,
                rows.y,
                [part for part in rows.parts if bases[self._place(part)] == base],
                seed=self.study.seed,
                max_epochs=self.retrain_epochs,
            )
        return trained

    def _place(self, part: Fold) -> int:
        """Return the place of the fold that a network predicts."""
        return part.position // self.study.n_folds

    def _outcome(
        self, trained: Sequence[TrainedFold]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return, by fold, RMSE of watched rows and mean prediction of every row."""
        squares, n_watched, n_networks = np.zeros((3, len(self.numbers)))
        n_local, n_test = len(self.study.local), len(self.study.test)
        sums = np.zeros((len(self.numbers), n_local + n_test))
        for one in trained:
            place, n_rows = self._place(one.fold), len(one.fold.watched)
            lowest = np.fmin.reduce(one.history)  # NaN where none is finite
            squares[place] += n_rows * (lowest**2 if np.isfinite(lowest) else np.inf)
            n_watched[place] += n_rows
            of_fold = one.fold.held_out[: len(one.fold.held_out) - n_test]
            columns = np.concatenate([of_fold, n_local + np.arange(n_test)])
            sums[place, columns] += one.predicted
            n_networks[place] += 1
        return np.sqrt(squares / n_watched), sums / n_networks[:, None]
