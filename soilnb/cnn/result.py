"""What a cross-validation of a 1D-CNN leaves: errors, histories, models."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from soilnb._files import replacing
from soilnb._validation import check_choice
from soilnb.cnn.architecture import Architecture
from soilnb.cnn.folds import Fold, Scaling
from soilnb.cnn.models import FoldModels
from soilnb.cnn.network import build


@dataclass(frozen=True, eq=False)
class TrainedFold:
    """One fold after training."""

    fold: Fold
    weights: list[npt.NDArray[np.floating]]  # of the best epoch, in Keras's order
    history: npt.NDArray[np.float64]  # RMSE of the watched rows, in the unit of y
    predicted: npt.NDArray[np.float64]  # the held-out rows, in the unit of y
    diverged: bool  # whether training ended because the RMSE was not finite any more


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """Result of a cross-validation; errors are in the unit of the soil property.

    Parameters
    ----------
    architecture, n_wavelengths : Architecture, int
        What was trained, and bands of a spectrum.
    trained : list of TrainedFold
        One per fold number, in increasing order.
    out_of_fold : array of shape (n_samples,)
        Each sample predicted by the one network that has not seen it.
    fold_rmse, rmse : array of shape (n_folds,), float
        RMSE of each fold's held-out samples, and of all of them together.
    seconds : float
        Duration of the whole call, in seconds.
    """

    architecture: Architecture
    n_wavelengths: int
    trained: list[TrainedFold]
    out_of_fold: npt.NDArray[np.float64]
    fold_rmse: npt.NDArray[np.float64]
    rmse: float
    seconds: float

    @property
    def history(self) -> npt.NDArray[np.float64]:
        """RMSE that decides when to stop, after each epoch (n_epochs, n_folds).

        In the unit of the soil property; NaN after a fold has stopped.
        """
        return _side_by_side([one.history for one in self.trained])

    @property
    def best_epoch(self) -> npt.NDArray[np.intp]:
        """Epoch, from 1, whose weights were kept; 0 if no RMSE was finite."""
        return np.array([_best_epoch(one.history) for one in self.trained])

    @property
    def diverged(self) -> npt.NDArray[np.bool_]:
        """Whether a fold ended because its RMSE was not finite any more.

        It has the weights of its best epoch before that; the other folds are untouched.
        """
        return np.array([one.diverged for one in self.trained])

    @cached_property
    def models(self) -> FoldModels:
        """The networks as ordinary Keras models, built when first asked for."""
        models = []
        for one in self.trained:
            dtype = one.weights[0].dtype.name
            scaling = one.fold.scaling
            model = build(self.architecture, self.n_wavelengths, scaling, dtype=dtype)
            model.set_weights(one.weights)
            models.append(model)
        return FoldModels(models)

    def predict(
        self, X: npt.ArrayLike, *, rule: str = "mean"
    ) -> npt.NDArray[np.float64]:
        """Return the prediction of the fold-models together, in the unit of y.

        `rule` is "mean", as everywhere here, or "best": the one with the lowest RMSE of
        its own held-out samples. The paper does not say which it takes.
        """
        check_choice(rule, "rule", ("mean", "best"))
        if rule == "mean":
            return self.models.predict(X)
        best = self.models.models[int(np.nanargmin(self.fold_rmse))]
        return FoldModels([best]).predict(X)

    def save(self, file: str | Path) -> None:
        """Write everything into one .npz file, whole or not at all."""
        arrays: dict[str, Any] = {
            "out_of_fold": self.out_of_fold,
            "fold_rmse": self.fold_rmse,
        }
        for number, one in enumerate(self.trained):
            arrays |= {f"{number}/{key}": part for key, part in _arrays(one).items()}
        facts = {
            "architecture": self.architecture.to_dict(),
            "n_wavelengths": self.n_wavelengths,
            "rmse": self.rmse,
            "seconds": self.seconds,
            "n_weights": [len(one.weights) for one in self.trained],
        }
        with replacing(Path(file)) as new, new.open("wb") as stream:
            np.savez(stream, facts=np.array(json.dumps(facts)), **arrays)

    @classmethod
    def load(cls, file: str | Path) -> CrossValidation:
        """Return the result that `save` wrote."""
        with np.load(file) as arrays:
            facts = json.loads(str(arrays["facts"]))
            trained = [
                _trained_fold(arrays, f"{number}/", n_weights)
                for number, n_weights in enumerate(facts.pop("n_weights"))
            ]
            architecture = Architecture.from_dict(facts.pop("architecture"))
            errors = {key: arrays[key] for key in ("out_of_fold", "fold_rmse")}
        return cls(architecture=architecture, trained=trained, **errors, **facts)


def _arrays(one: TrainedFold) -> dict[str, npt.NDArray]:
    """Return all that a trained fold holds, as arrays."""
    fold, scaling = one.fold, one.fold.scaling
    arrays: dict[str, npt.ArrayLike] = {
        "position": fold.position,
        "train": fold.train,
        "watched": fold.watched,
        "held_out": fold.held_out,
        "band_mean": scaling.band_mean,
        "band_sd": scaling.band_sd,
        "y": (scaling.y_mean, scaling.y_sd),
        "history": one.history,
        "predicted": one.predicted,
        "diverged": one.diverged,
    }
    arrays |= {f"weight_{i}": weight for i, weight in enumerate(one.weights)}
    return {key: np.asarray(value) for key, value in arrays.items()}


def _trained_fold(
    arrays: Mapping[str, npt.NDArray], prefix: str, n_weights: int
) -> TrainedFold:
    """Return the trained fold that `_arrays` took apart."""
    own = {
        key.removeprefix(prefix): arrays[key]
        for key in arrays
        if key.startswith(prefix)
    }
    y_mean, y_sd = own["y"].tolist()
    scaling = Scaling(own["band_mean"], own["band_sd"], y_mean, y_sd)
    rows = (own["train"], own["watched"], own["held_out"])
    return TrainedFold(
        fold=Fold(int(own["position"]), *rows, scaling),
        weights=[own[f"weight_{i}"] for i in range(n_weights)],
        history=own["history"],
        predicted=own["predicted"],
        diverged=bool(own["diverged"]),
    )


def _best_epoch(history: npt.NDArray) -> int:
    """Return the first epoch, from 1, of the lowest RMSE; 0 if none is finite."""
    finite = np.where(np.isfinite(history), history, np.inf)
    best = int(finite.argmin())
    return best + 1 if np.isfinite(finite[best]) else 0


def _side_by_side(histories: Sequence[npt.NDArray]) -> npt.NDArray[np.float64]:
    """Return histories as columns, without epochs in which no fold was training."""
    longest = max(len(history) for history in histories)
    columns = np.full((longest, len(histories)), np.nan)
    for column, history in zip(columns.T, histories, strict=True):
        column[: len(history)] = history
    ran = np.flatnonzero(np.isfinite(columns).any(axis=1))
    return columns[: ran[-1] + 1] if len(ran) else columns
