"""What trained networks look at: bands that move a prediction, and first filters."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilnb._validation import check_int, check_matrix, check_vector
from soilnb.cnn._tensorflow import keras
from soilnb.cnn.models import FoldModels

RANGE_NM = 100  # bands that are shuffled together


def band_importance(
    models: FoldModels,
    X: npt.ArrayLike,
    wavelengths: npt.ArrayLike,
    *,
    n_repeats: int = 20,
    seed: int = 1,
) -> pd.DataFrame:
    """Return how much the prediction changes when a range of bands is shuffled.

    The bands of a range of 100 nm are exchanged between the samples, all others stay,
    after the permutation importance of Breiman (2001, Machine Learning 45, 5-32). No
    measured value is needed, so the samples may be any. Neighbouring bands say nearly
    the same, so the importance of one range is what the others cannot make up for.

    Parameters
    ----------
    models : FoldModels
        Networks whose mean is the prediction.
    X, wavelengths : array-like of shape (n_samples, n_wavelengths), (n_wavelengths,)
        SNV absorbance of at least two samples, and nm, strictly increasing; a
        ValueError if shapes do not match.
    n_repeats, seed : int, default 20 and 1
        Shuffles of each range, and their seed.

    Returns
    -------
    DataFrame
        One row per range: first_nm, last_nm, and change, the root mean square change
        of the prediction in the unit of the soil property.
    """
    spectra = check_matrix(X, "X")
    nm = _check_wavelengths(wavelengths, spectra)
    check_int(n_repeats, "n_repeats", 1)
    generator = np.random.default_rng(seed)
    before = models.predict(spectra)
    rows = []
    for first in np.arange(nm[0], nm[-1] + 1e-9, RANGE_NM):
        bands = np.flatnonzero((nm >= first) & (nm < first + RANGE_NM))
        if len(bands):
            change = _change(models, spectra, bands, before, n_repeats, generator)
            rows.append((nm[bands[0]], nm[bands[-1]], change))
    return pd.DataFrame(rows, columns=["first_nm", "last_nm", "change"])


def _change(
    models: FoldModels,
    spectra: npt.NDArray[np.float64],
    bands: npt.NDArray[np.intp],
    before: npt.NDArray[np.float64],
    n_repeats: int,
    generator: np.random.Generator,
) -> float:
    """Return the root mean square change when some bands are exchanged."""
    shuffled = np.tile(spectra, (n_repeats, 1, 1))
    for repeat in shuffled:
        repeat[:, bands] = repeat[generator.permutation(len(spectra))][:, bands]
    after = models.predict(shuffled.reshape(-1, spectra.shape[1]))
    return float(np.sqrt(np.mean((after - np.tile(before, n_repeats)) ** 2)))


def first_filters(
    model: keras.Model, X: npt.ArrayLike, wavelengths: npt.ArrayLike
) -> pd.DataFrame:
    """Return where on the spectrum the first filters tell samples apart.

    Parameters
    ----------
    model : keras.Model
        One network, as `build` makes it; a ValueError if it has no convolution.
    X, wavelengths : array-like of shape (n_samples, n_wavelengths), (n_wavelengths,)
        As of `band_importance`.

    Returns
    -------
    DataFrame
        A row per filter and a column per position, named by the wavelength (nm) in
        the middle of the window: standard deviation over the samples of what the first
        convolution puts out there, after its activation unless a batch normalisation
        comes between.
    """
    spectra = check_matrix(X, "X")
    nm = _check_wavelengths(wavelengths, spectra)
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv1D)]
    if not layers:
        msg = "'model' must have a convolution, got one of fully connected layers only."
        raise ValueError(msg)
    first = layers[0]
    part = keras.Model(model.inputs[0], first.output)
    output = np.asarray(part(spectra.astype(part.inputs[0].dtype), training=False))
    window, stride = first.kernel_size[0], first.strides[0]
    middle = np.arange(output.shape[1]) * stride + (window - 1) / 2
    if first.padding == "same":
        padded = (output.shape[1] - 1) * stride + window - len(nm)
        middle -= max(padded, 0) // 2
    at = np.interp(middle, np.arange(len(nm)), nm)
    return pd.DataFrame(output.std(axis=0).T, columns=at)


def _check_wavelengths(
    wavelengths: npt.ArrayLike, spectra: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the wavelengths; raise unless there is one for each column."""
    nm = check_vector(wavelengths, "wavelengths")
    if len(nm) != spectra.shape[1]:
        msg = f"'X' has {spectra.shape[1]} columns but 'wavelengths' has {len(nm)}."
        raise ValueError(msg)
    return nm
