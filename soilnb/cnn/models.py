"""The trained models of the folds: predict with their mean, save, load."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from soilnb._files import replace_folder
from soilnb._validation import check_matrix
from soilnb.cnn._tensorflow import keras

PREDICT_ROWS = 1024  # spectra predicted at once: some tens of MB of activations


def predict_one(model: keras.Model, X: npt.NDArray) -> npt.NDArray[np.float64]:
    """Return a model's predictions (n_samples,); `model.predict` costs far more."""
    batches = [
        np.asarray(model(X[start : start + PREDICT_ROWS], training=False))[:, 0]
        for start in range(0, len(X), PREDICT_ROWS)
    ]
    return np.concatenate(batches).astype(np.float64)


@dataclass(frozen=True, eq=False)
class FoldModels:
    """The models of the folds, in their order, for the same wavelengths; at least one.

    Their mean is the prediction.
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
        """Return the mean prediction (n_samples,) for SNV absorbance, in y's unit.

        Raises ValueError for another number of wavelengths or values that are not
        finite.
        """
        return self.predict_each(X).mean(axis=0)

    def predict_each(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return what every model predicts (n_folds, n_samples), as `predict`."""
        X = check_matrix(X, "X").astype(self.models[0].inputs[0].dtype)
        if X.shape[1] != self.n_wavelengths:
            msg = (
                f"'X' has {X.shape[1]} wavelengths but the models were trained on "
                f"{self.n_wavelengths}."
            )
            raise ValueError(msg)
        return np.stack([predict_one(model, X) for model in self.models])

    def save(self, folder: str | Path) -> None:
        """Write fold_01.keras, fold_02.keras, ... into `folder`, all or none.

        Models saved there before are replaced; ValueError if it holds anything else.
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
            replace_folder(new, folder)

    @classmethod
    def load(cls, folder: str | Path) -> FoldModels:
        """Return the models that `save` wrote; FileNotFoundError if there is none."""
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
