"""The study made anew without each fold of its local samples, to predict that fold.

A fold is held out of everything: of the selection of library rows, of the choice of the
base network and of its depth, of scaling, training and early stopping.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilnb import cnn
from soilnb.cnn.folds import Fold, Scaling
from soilnb.selection import random_folds
from soilnb.study.networks import select_rows
from soilnb.study.prepared import LIBRARIES, Study
from soilnb.transfer.representations import FrozenNetwork, choose_base

if TYPE_CHECKING:
    from soilnb.cnn import Architecture, FoldModels
    from soilnb.cnn.result import TrainedFold

Progress = Callable[[int, int, str], object]


def parse(candidate: str) -> tuple[str, str]:
    """Return kind and library: of "dtl_ir_global" dtl_ir and global; of `local`, ""."""
    kind, _, library = candidate.rpartition("_")
    return (kind, library) if library in LIBRARIES else (candidate, "")


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
class _Rows:
    """Samples, local ones first, and which of them each network uses."""

    X: npt.NDArray[np.float32]
    y: npt.NDArray[np.float64]
    parts: Sequence[Fold]


@dataclass
class Nest:
    """Everything that predicts the folds of a study from outside of them.

    All networks of a candidate and depth are trained together. The position of one is
    the place of its fold times `study.n_folds`, plus its number in the fold.
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
        self._done = self._total = 0

    def predict(self, candidates: Sequence[str]) -> pd.DataFrame:
        """Return the predictions of all candidates, one below the other."""
        kinds = [parse(candidate) for candidate in candidates]
        selecting = {library for kind, library in kinds if kind in ("dtl_i", "dtl_ir")}
        self._total = len(self.inner) * len(selecting)
        self._total += sum(self._n_trainings(*one) for one in kinds)
        tables = [self._tidy(candidate) for candidate in candidates]
        return pd.concat(tables, ignore_index=True)

    def _tidy(self, candidate: str) -> pd.DataFrame:
        """Return the predictions of one candidate as a table."""
        study = self.study
        return pd.DataFrame(
            {
                "candidate": candidate,
                "sample_id": study.site.info["sample_id"].to_numpy()[study.local],
                "fold": study.local_folds,
                "measured": study.samples("local").y,
                "predicted": self._predict(candidate, *parse(candidate)),
            }
        )

    def _predict(
        self, candidate: str, kind: str, library: str
    ) -> npt.NDArray[np.float64]:
        """Return what one candidate predicts for each local sample."""
        rows = self._local if kind in ("local", "dtl_r") else self._localised(library)
        if kind in ("local", "dtl_i"):
            return self._train(candidate, rows)
        return self._retrain(candidate, library, rows)

    def _architecture(self, name: str) -> Architecture:
        """Return the architecture given, or the small one."""
        return self.architectures.get(name, cnn.SMALL)

    def _n_trainings(self, kind: str, library: str) -> int:
        """Return how often networks are trained for a candidate: once per depth."""
        if kind in ("local", "dtl_i"):
            return 1
        return len(self._architecture(library).blocks) + 1

    def _tell(self, text: str) -> None:
        """Count one step and tell."""
        self._done += 1
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

    def _localise(self, library: str) -> _Rows:
        """Select rows for each fold; put them after the local samples."""
        X, y, _ = self.study.samples(library)
        selected = [self._select(inner, library) for inner in self.inner]
        used = np.unique(np.concatenate(selected))
        n_local = len(self.study.local)
        rows = [
            np.concatenate([n_local + np.searchsorted(used, chosen), kept])
            for chosen, kept in zip(selected, self._kept, strict=True)
        ]
        folds = [
            inner.localised_folds(len(chosen))
            for inner, chosen in zip(self.inner, selected, strict=True)
        ]
        local = self.study.samples("local")
        X, y = np.concatenate([local.X, X[used]]), np.concatenate([local.y, y[used]])
        return self._divide(X, y, rows, folds)

    def _select(self, inner: Study, library: str) -> npt.NDArray[np.intp]:
        """Return the rows of a library that the samples outside of a fold select."""
        chosen = select_rows(inner, library, **self.selection)
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
        spectra, parts = X.astype(np.float32), []
        for place, (own, inner) in enumerate(zip(rows, folds, strict=True)):
            held_out = np.flatnonzero(self.study.local_folds == self.numbers[place])
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
        self._tell(candidate)
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
            self._tell(f"{candidate}, {n_frozen} layers frozen")
        watched, predicted = map(np.array, zip(*outcomes, strict=True))
        fold = np.searchsorted(self.numbers, self.study.local_folds)
        return predicted[watched.argmin(axis=0)[fold], np.arange(len(fold))]

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
        """Return RMSE of each fold's watched rows, and mean prediction of every row."""
        squares, n_watched = np.zeros((2, len(self.numbers)))
        sums, n_networks = np.zeros((2, len(self.study.local)))
        for one in trained:
            place, n_rows = self._place(one.fold), len(one.fold.watched)
            lowest = np.fmin.reduce(one.history)  # NaN where none is finite
            squares[place] += n_rows * (lowest**2 if np.isfinite(lowest) else np.inf)
            n_watched[place] += n_rows
            sums[one.fold.held_out] += one.predicted
            n_networks[one.fold.held_out] += 1
        return np.sqrt(squares / n_watched), sums / n_networks
