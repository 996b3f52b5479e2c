"""An architecture as an ordinary Keras model, and the models of the folds together."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from soilnb._validation import check_matrix
from soilnb.cnn._tensorflow import keras
from soilnb.cnn.architecture import Architecture

CONSTANT_SD = 1e-6  # a smaller spread is float32 rounding of SNV values, which are ~1
PREDICT_ROWS = 1024  # spectra predicted at once: some tens of MB of activations


@dataclass(frozen=True, eq=False)
class Scaling:
    """Mean and standard deviation of each band and of the soil property.

    Parameters
    ----------
    band_mean, band_sd : array of shape (n_wavelengths,)
        In the unit of the spectra (SNV: none).
    y_mean, y_sd : float
        In the unit of the soil property.
    """

    band_mean: npt.NDArray[np.float64]
    band_sd: npt.NDArray[np.float64]
    y_mean: float
    y_sd: float

    @classmethod
    def learn(cls, X: npt.NDArray, y: npt.NDArray) -> Scaling:
        """Return the scaling of training samples.

        Parameters
        ----------
        X : array of shape (n_samples, n_wavelengths)
            Training spectra.
        y : array of shape (n_samples,)
            Training values of the soil property.

        Returns
        -------
        Scaling
            Standard deviations divide by n.

        Notes
        -----
        What is constant (standard deviation below 1e-6) is only centred: its standard
        deviation is taken as 1, so that another value met later is not blown up.
        """
        band_sd = np.std(X, axis=0, dtype=np.float64)
        y_sd = float(np.std(y))
        return cls(
            band_mean=np.mean(X, axis=0, dtype=np.float64),
            band_sd=np.where(band_sd < CONSTANT_SD, 1.0, band_sd),
            y_mean=float(np.mean(y)),
            y_sd=1.0 if y_sd < CONSTANT_SD else y_sd,
        )

    @classmethod
    def none(cls, n_wavelengths: int) -> Scaling:
        """Return the scaling that changes nothing."""
        return cls(np.zeros(n_wavelengths), np.ones(n_wavelengths), 0.0, 1.0)


def build(
    architecture: Architecture, n_wavelengths: int, scaling: Scaling | None = None
) -> keras.Sequential:
    """Return the Keras model of an architecture, with its scaling inside.

    Parameters
    ----------
    architecture : Architecture
        Blocks of the network.
    n_wavelengths : int
        Bands of a spectrum.
    scaling : Scaling, optional
        Learned from the training samples. Without it the model works on spectra and
        property as they are.

    Returns
    -------
    keras.Sequential
        From SNV absorbance, shape (n_samples, n_wavelengths), to the soil property in
        its own unit, shape (n_samples, 1). Not compiled.

    Raises
    ------
    ValueError
        If the architecture does not fit the number of wavelengths.

    Examples
    --------
    >>> from soilnb.cnn import SMALL
    >>> build(SMALL, n_wavelengths=207).output_shape
    (None, 1)
    """
    architecture.conv_lengths(n_wavelengths)
    scaling = scaling or Scaling.none(n_wavelengths)
    layers = keras.layers
    variance = scaling.band_sd**2
    return keras.Sequential(
        [
            layers.Input((n_wavelengths,), name="spectrum"),
            layers.Normalization(
                mean=scaling.band_mean, variance=variance, name="scale_bands"
            ),
            layers.Reshape((n_wavelengths, 1), name="one_channel"),
            *_conv_layers(architecture),
            layers.Flatten(name="flatten"),
            *_fc_layers(architecture),
            layers.Dense(1, name="output"),
            layers.Rescaling(scaling.y_sd, offset=scaling.y_mean, name="unscale_y"),
        ]
    )


def _conv_layers(architecture: Architecture) -> list[keras.Layer]:
    """Return the layers of the Conv-blocks."""
    stack: list[keras.Layer] = []
    for number, block in enumerate(architecture.conv, start=1):
        stack.append(
            keras.layers.Conv1D(
                block.filters,
                block.kernel,
                strides=block.stride,
                activation=block.activation,
                name=f"conv_{number}",
            )
        )
        if block.dropout:
            name = f"conv_{number}_dropout"
            stack.append(keras.layers.Dropout(block.dropout, name=name))
    return stack


def _fc_layers(architecture: Architecture) -> list[keras.Layer]:
    """Return the layers of the FC-blocks."""
    stack: list[keras.Layer] = []
    for number, block in enumerate(architecture.fc, start=1):
        name = f"fc_{number}"
        stack.append(
            keras.layers.Dense(block.nodes, activation=block.activation, name=name)
        )
        if block.dropout:
            stack.append(keras.layers.Dropout(block.dropout, name=f"{name}_dropout"))
    return stack


def predict_one(model: keras.Model, X: npt.NDArray) -> npt.NDArray[np.float64]:
    """Return one model's predictions, shape (n_samples,), in the unit of the property.

    Calls the model directly: `model.predict` costs far more than a small network.
    """
    batches = [
        np.asarray(model(X[start : start + PREDICT_ROWS], training=False))[:, 0]
        for start in range(0, len(X), PREDICT_ROWS)
    ]
    return np.concatenate(batches).astype(np.float64)


@dataclass(frozen=True, eq=False)
class FoldModels:
    """The models of the folds; their mean is the prediction.

    Parameters
    ----------
    models : list of keras.Model
        One per fold, in the order of the fold numbers, all for the same wavelengths.

    Raises
    ------
    ValueError
        If there is no model.
    """

    models: list[keras.Model]

    def __post_init__(self) -> None:
        """Check that there is a model."""
        if not self.models:
            msg = "'models' must hold at least one model, got none."
            raise ValueError(msg)

    @property
    def n_wavelengths(self) -> int:
        """Bands of the spectra that the models read."""
        return int(self.models[0].input_shape[1])

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the mean prediction of the models.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_wavelengths)
            SNV absorbance.

        Returns
        -------
        array of shape (n_samples,)
            In the unit of the soil property.

        Raises
        ------
        ValueError
            If `X` has another number of wavelengths or values that are not finite.
        """
        return self.predict_each(X).mean(axis=0)

    def predict_each(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the prediction of every model, as `predict` but not averaged.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_wavelengths)
            SNV absorbance.

        Returns
        -------
        array of shape (n_folds, n_samples)
            In the unit of the soil property.

        Raises
        ------
        ValueError
            If `X` has another number of wavelengths or values that are not finite.
        """
        X = check_matrix(X, "X").astype(np.float32)
        if X.shape[1] != self.n_wavelengths:
            msg = (
                f"'X' has {X.shape[1]} wavelengths but the models were trained on "
                f"{self.n_wavelengths}."
            )
            raise ValueError(msg)
        return np.stack([predict_one(model, X) for model in self.models])

    def save(self, folder: str | Path) -> None:
        """Write fold_01.keras, fold_02.keras, ... into `folder`, all or none.

        Parameters
        ----------
        folder : path
            Made if missing; models saved there before are replaced.

        Raises
        ------
        ValueError
            If `folder` holds anything but saved models.

        Notes
        -----
        The models are written into a temporary folder beside it, which is then renamed.
        """
        folder = Path(folder).absolute()
        _check_replaceable(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        digits = max(2, len(str(len(self.models))))
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as temporary:
            new = Path(temporary) / "new"
            new.mkdir()
            for number, model in enumerate(self.models, start=1):
                model.save(new / f"fold_{number:0{digits}d}.keras")
            if folder.exists():
                folder.rename(Path(temporary) / "old")
            new.rename(folder)

    @classmethod
    def load(cls, folder: str | Path) -> FoldModels:
        """Return the models that `save` wrote.

        Parameters
        ----------
        folder : path
            With fold_01.keras, fold_02.keras, ...

        Returns
        -------
        FoldModels
            Predicting the same.

        Raises
        ------
        FileNotFoundError
            If `folder` holds no saved model.
        """
        files = sorted(Path(folder).glob("fold_*.keras"))
        if not files:
            msg = f"No 'fold_01.keras' in {str(folder)!r}. Train and save models first."
            raise FileNotFoundError(msg)
        return cls([keras.saving.load_model(file, compile=False) for file in files])


def _check_replaceable(folder: Path) -> None:
    """Raise ValueError if replacing `folder` would remove anything but models."""
    if not folder.exists():
        return
    others = [] if folder.is_dir() else [folder]
    if folder.is_dir():
        models = set(folder.glob("fold_*.keras"))
        others = sorted(path for path in folder.iterdir() if path not in models)
    if others:
        msg = (
            f"{str(folder)!r} holds {others[0].name!r}, which is no saved model, "
            "and would be replaced. Save into a folder of its own."
        )
        raise ValueError(msg)
