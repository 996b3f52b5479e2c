"""Transfer of representations: a library network keeps its first layers."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilnb._validation import Floats, check_choice, check_int, check_xy
from soilnb.cnn.folds import STOPPINGS, Fold, Scaling, make_folds
from soilnb.cnn.shapes import tail_shapes

if TYPE_CHECKING:
    import keras

    from soilnb.cnn import Architecture, CrossValidation, FoldModels
    from soilnb.cnn.result import TrainedFold
    from soilnb.cnn.training import Progress


@dataclass(frozen=True, eq=False)
class Retraining:
    """A library network retrained after every depth, and the depth that did best.

    `base` is the place of the library's fold-model that was retrained, from 0, and
    `base_rmse` the RMSE of each of them on the local samples, in the unit of the
    property. `depths` has one row per depth: n_frozen (weighted layers), frozen (the
    last one's name), n_trained (weights that train), rmse (cross-validated); its last
    row, with every layer frozen, is the base as it is: a reference, never chosen.
    `n_frozen` is the depth with the lowest RMSE (of equal ones the first, never a NaN),
    `result` the retrained networks of that depth, whole, with the base's scaling.
    """

    base: int
    base_rmse: Floats
    depths: pd.DataFrame
    n_frozen: int
    result: CrossValidation

    @property
    def rmse(self) -> float:
        """Cross-validated RMSE of the chosen depth."""
        return self.result.rmse

    @property
    def history(self) -> Floats:
        """RMSE that decides when to stop, after each epoch (n_epochs, n_folds)."""
        return self.result.history

    @property
    def models(self) -> FoldModels:
        """The retrained networks as ordinary Keras models."""
        return self.result.models

    def predict(self, X: npt.ArrayLike, *, rule: str = "mean") -> Floats:
        """Return the fold-models' prediction; see `CrossValidation.predict`."""
        return self.result.predict(X, rule=rule)


def choose_base(
    library_models: FoldModels, X_local: npt.ArrayLike, y_local: npt.ArrayLike
) -> tuple[int, Floats]:
    """Return which fold-model predicts the local samples best, and the RMSE of each.

    `X_local` is SNV absorbance (n, n_wavelengths), `y_local` the soil property (n,), in
    the unit of the library; a ValueError if shapes disagree or values are not finite.
    The model is told by its place, from 0, of equal ones the first.
    """
    X_local, y_local = check_xy(X_local, y_local, "X_local", "y_local")
    errors = library_models.predict_each(X_local) - y_local
    rmse = np.sqrt(np.mean(errors**2, axis=1))
    return int(rmse.argmin()), rmse


def dtl_r(
    architecture: Architecture,
    library_models: FoldModels,
    X_local: npt.ArrayLike,
    y_local: npt.ArrayLike,
    folds: npt.ArrayLike,
    *,
    seed: int = 1,
    max_epochs: int | None = None,
    stopping: str = "validation",
    progress: Progress | None = None,
) -> Retraining:
    """Deep transfer learning of representations (DTL-R): retrain a library network.

    The base is the library's fold-model with the lowest RMSE on the local samples. For
    every number of frozen weighted layers, from none to all but the output, the other
    layers are retrained on the local folds, and the depth with the lowest
    cross-validated RMSE is kept (Shen et al. 2022, ISPRS Journal of Photogrammetry and
    Remote Sensing 188, 190-200).

    Parameters
    ----------
    architecture : Architecture
        Of the library networks; its training settings are those of the retraining.
    library_models : FoldModels
        Networks of the library, one per fold.
    X_local, y_local, folds : array-like of shape (n, n_wavelengths), (n,) and (n,)
        SNV absorbance, soil property, in the unit of the library, and fold of each
        local sample; those of the local network.
    seed, max_epochs, stopping, progress
        As of `soilnb.cnn.cross_validate`, which also says what is raised; a ValueError,
        too, where the models are not of the architecture.

    Notes
    -----
    Training starts from the library's weights, with a fresh optimiser. The scaling of
    the base travels with it: neither bands nor property are scaled anew. Frozen layers
    work as in prediction: their batch normalisation keeps the library's moments and
    their dropout is off (Keras, with `trainable=False`, would leave it on).
    """
    base, rmse = choose_base(library_models, X_local, y_local)
    model = library_models.models[base]
    settings = (folds, stopping, seed, max_epochs, progress)
    tried = _try_depths(architecture, model, X_local, y_local, *settings)
    return Retraining(base, rmse, *tried)


def dtl_ir(
    architecture: Architecture,
    library_models: FoldModels,
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    folds: npt.ArrayLike,
    *,
    n_local: int,
    seed: int = 1,
    max_epochs: int | None = None,
    stopping: str = "validation",
    progress: Progress | None = None,
) -> Retraining:
    """Deep transfer learning of instances and representations (DTL-IR).

    As `dtl_r`, but retrained on the selected library instances and the local samples:
    `X`, `y` and `folds` are as of `dtl_i`, the `n_local` local samples last. The base
    is still chosen on the local samples alone.
    """
    spectra, values = check_xy(X, y)
    check_int(n_local, "n_local", 1, len(values), " (rows of 'X')")
    base, rmse = choose_base(library_models, spectra[-n_local:], values[-n_local:])
    model = library_models.models[base]
    settings = (folds, stopping, seed, max_epochs, progress)
    tried = _try_depths(architecture, model, spectra, values, *settings)
    return Retraining(base, rmse, *tried)


class FrozenNetwork:
    """A library network cut after some blocks: what they put out, and what follows."""

    def __init__(
        self, architecture: Architecture, model: keras.Model, n_frozen: int
    ) -> None:
        self.architecture, self.model, self.n_frozen = architecture, model, n_frozen
        self.n_wavelengths = int(model.input_shape[1])
        self.dtype = model.inputs[0].dtype
        _check_layers(architecture, model)
        weights = model.get_weights()
        _, after = tail_shapes(architecture, self.n_wavelengths, n_frozen)
        cut = len(weights) - sum(len(layer.weights) for layer in after)
        self.frozen, self.start = weights[:cut], weights[cut:]
        # Not the moments of a batch normalisation, its last two.
        trained = [shape for layer in after for shape in layer.weights[:2]]
        self.n_trained = sum(math.prod(shape) for shape in trained)

    def features(self, X: npt.ArrayLike) -> npt.NDArray[np.floating]:
        """Return what the frozen blocks make of spectra, one flat row for each."""
        n_conv, n_blocks = len(self.architecture.conv), len(self.architecture.blocks)
        following = "output"
        if self.n_frozen < n_blocks:
            kinds = [f"conv_{i + 1}" for i in range(n_conv)]
            kinds += [f"fc_{i + 1}" for i in range(n_blocks - n_conv)]
            following = kinds[self.n_frozen]
        values = np.asarray(X, dtype=self.dtype)
        for layer in self.model.layers:
            if layer.name == following:
                break
            values = layer(values, training=False)
        return np.asarray(values).reshape(len(values), -1)

    def retrain(
        self,
        X: npt.NDArray,
        y: Floats,
        parts: Sequence[Fold],
        *,
        seed: int = 1,
        max_epochs: int | None = None,
        progress: Progress | None = None,
    ) -> list[TrainedFold]:
        """Train what follows the cut, from the library's weights, to whole networks."""
        from soilnb.cnn.training import Start, train_folds

        features = self.features(X)
        n_features = features.shape[1]
        untouched = replace(  # the features are not scaled again
            self._scaling(), band_mean=np.zeros(n_features), band_sd=np.ones(n_features)
        )
        trained = train_folds(
            self.architecture,
            features,
            y,
            [replace(fold, scaling=untouched) for fold in parts],
            n_wavelengths=self.n_wavelengths,
            start=Start({fold.position: self.start for fold in parts}, self.n_frozen),
            seed=seed,
            max_epochs=max_epochs,
            progress=progress,
        )
        return [
            replace(
                one,
                fold=replace(one.fold, scaling=self._scaling()),
                weights=[*self.frozen, *one.weights],
            )
            for one in trained
        ]

    def _scaling(self) -> Scaling:
        """Return the scaling that the network carries."""
        bands, y = map(self.model.get_layer, ("scale_bands", "unscale_y"))
        return Scaling(
            band_mean=np.asarray(bands.mean, dtype=np.float64).reshape(-1),
            band_sd=np.sqrt(np.asarray(bands.variance, dtype=np.float64)).reshape(-1),
            y_mean=float(y.offset),
            y_sd=float(y.scale),
        )


def _check_layers(architecture: Architecture, model: keras.Model) -> None:
    """Raise ValueError unless a model has the layers of the architecture."""
    found = [layer.get_config() for layer in _inner_layers(model)]
    n_wavelengths, dtype = int(model.input_shape[1]), str(model.inputs[0].dtype)
    if found != _layer_settings(architecture, n_wavelengths, dtype):
        msg = (
            "'library_models' are not of 'architecture': their layers are others. "
            "Give the architecture that they were trained with."
        )
        raise ValueError(msg)


@lru_cache(maxsize=32)  # asked for at every depth of every fold
def _layer_settings(
    architecture: Architecture, n_wavelengths: int, dtype: str
) -> list[dict[str, Any]]:
    """Return the settings of an architecture's layers, built for no more than that."""
    from soilnb.cnn.network import build

    model = build(architecture, n_wavelengths, dtype=dtype)
    return [layer.get_config() for layer in _inner_layers(model)]


def _inner_layers(model: keras.Model) -> list[keras.Layer]:
    """Return the layers but the first and the last: each model's own scaling."""
    return model.layers[1:-1]


def _try_depths(
    architecture: Architecture,
    model: keras.Model,
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    folds: npt.ArrayLike,
    stopping: str,
    seed: int,
    max_epochs: int | None,
    progress: Progress | None,
) -> tuple[pd.DataFrame, int, CrossValidation]:
    """Return the table of depths, the best depth and its result."""
    from soilnb.cnn.models import predict_one
    from soilnb.cnn.training import check_samples, collect_result

    check_choice(stopping, "stopping", STOPPINGS)
    check_int(seed, "seed", 0)
    if max_epochs is not None:
        check_int(max_epochs, "max_epochs", 1)
    spectra, y, folds = check_samples(X, y, folds, model.inputs[0].dtype)
    parts = make_folds(spectra, y, folds, stopping=stopping, seed=seed)
    names = ("nothing", *architecture.block_names)
    rows: list[tuple[int, str, int, float]] = []
    best: list[CrossValidation] = []  # at most one: networks may be large
    best_depth, lowest = 0, math.inf
    for n_frozen, name in enumerate(names):
        started = time.perf_counter()
        cut = FrozenNetwork(architecture, model, n_frozen)
        trained = cut.retrain(
            spectra,
            y,
            parts,
            seed=seed,
            max_epochs=max_epochs,
            progress=_share(progress, n_frozen, len(names)),
        )
        result = collect_result(architecture, spectra, y, trained, started)
        rows.append((n_frozen, name, cut.n_trained, result.rmse))
        if not best or result.rmse < lowest:
            best, best_depth = [result], n_frozen
            lowest = math.inf if math.isnan(result.rmse) else result.rmse  # never wins
    errors = predict_one(model, spectra) - y
    everything = (len(names), "Output-block", 0, float(np.sqrt(np.mean(errors**2))))
    columns = ["n_frozen", "frozen", "n_trained", "rmse"]
    table = pd.DataFrame([*rows, everything], columns=columns)
    return table, best_depth, best[0]


def _share(progress: Progress | None, number: int, n_all: int) -> Progress | None:
    """Return the progress of one of several equal parts."""
    if progress is None:
        return None
    return lambda n, total, text: progress(number * total + n, n_all * total, text)
