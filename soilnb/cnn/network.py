"""An architecture as an ordinary Keras model."""

from __future__ import annotations

from soilnb._validation import check_choice
from soilnb.cnn._tensorflow import keras
from soilnb.cnn.architecture import Architecture, ConvBlock, FCBlock
from soilnb.cnn.folds import Scaling
from soilnb.cnn.shapes import check_fit

DTYPES = ("float32", "float64")
_POOLINGS = {"max": keras.layers.MaxPooling1D, "average": keras.layers.AveragePooling1D}


def build(
    architecture: Architecture,
    n_wavelengths: int,
    scaling: Scaling | None = None,
    *,
    dtype: str = "float32",
) -> keras.Sequential:
    """Return the Keras model of an architecture, with its scaling inside.

    Every layer has a bias. One that feeds a batch normalisation has no effect, which
    subtracts it again, and no gradient but rounding: a constraint holds it at 0.

    Parameters
    ----------
    architecture, n_wavelengths : Architecture, int
        Blocks of the network, and bands of a spectrum; a ValueError if they do not fit.
    scaling : Scaling, optional
        Learned from the training samples. Without it the model works on spectra and
        property as they are.
    dtype : str, default "float32"
        Of weights and values: "float32" or "float64".

    Returns
    -------
    keras.Sequential
        From SNV absorbance, shape (n_samples, n_wavelengths), to the soil property in
        its own unit, shape (n_samples, 1). Not compiled.

    Examples
    --------
    >>> from soilnb.cnn import SMALL
    >>> build(SMALL, n_wavelengths=207).output_shape
    (None, 1)
    """
    check_fit(architecture, n_wavelengths)
    check_choice(dtype, "dtype", DTYPES)
    scaling = scaling or Scaling.none(n_wavelengths)
    layers = keras.layers
    first = [
        layers.Normalization(
            mean=scaling.band_mean,
            variance=scaling.band_sd**2,
            name="scale_bands",
            dtype=dtype,
        ),
        layers.Reshape((n_wavelengths, 1), name="one_channel", dtype=dtype),
    ]
    last = [
        layers.Dense(1, name="output", dtype=dtype),
        layers.Rescaling(
            scaling.y_sd, offset=scaling.y_mean, name="unscale_y", dtype=dtype
        ),
    ]
    spectrum = layers.Input((n_wavelengths,), name="spectrum", dtype=dtype)
    blocks = _block_layers(architecture, dtype)
    return keras.Sequential([spectrum, *first, *blocks, *last])


def _block_layers(architecture: Architecture, dtype: str) -> list[keras.Layer]:
    """Return the layers of all blocks."""
    stack: list[keras.Layer] = []
    for number, conv in enumerate(architecture.conv, start=1):
        stack += _conv_layers(conv, f"conv_{number}", dtype)
    stack.append(keras.layers.Flatten(name="flatten", dtype=dtype))
    for number, fc in enumerate(architecture.fc, start=1):
        layer = keras.layers.Dense(
            fc.nodes, name=f"fc_{number}", dtype=dtype, **_inner_settings(fc)
        )
        stack += [layer, *_after(fc, layer.name, dtype)]
        stack += _dropout(fc, layer.name, dtype)
    return stack


def _conv_layers(block: ConvBlock, name: str, dtype: str) -> list[keras.Layer]:
    """Return the layers of a Conv-block."""
    layer = keras.layers.Conv1D(
        block.filters,
        block.kernel,
        strides=block.stride,
        padding=block.padding,
        name=name,
        dtype=dtype,
        **_inner_settings(block),
    )
    stack = [layer, *_after(block, name, dtype)]
    if block.pooling != "none":
        pooling = _POOLINGS[block.pooling]
        sizes = (block.pool_size, block.pool_stride)
        stack.append(pooling(*sizes, name=f"{name}_pooling", dtype=dtype))
    return stack + _dropout(block, name, dtype)


def _inner_settings(block: ConvBlock | FCBlock) -> dict[str, object]:
    """Return the activation of a layer, or what it needs before a normalisation."""
    if not block.batch_normalisation:
        return {"activation": block.activation}
    return {"bias_constraint": keras.constraints.MaxNorm(0)}  # holds it at 0


def _after(block: ConvBlock | FCBlock, name: str, dtype: str) -> list[keras.Layer]:
    """Return batch normalisation and activation, if they are layers of their own."""
    if not block.batch_normalisation:
        return []
    return [
        keras.layers.BatchNormalization(name=f"{name}_normalisation", dtype=dtype),
        keras.layers.Activation(
            block.activation, name=f"{name}_activation", dtype=dtype
        ),
    ]


def _dropout(block: ConvBlock | FCBlock, name: str, dtype: str) -> list[keras.Layer]:
    """Return the dropout of a block, if it has one."""
    if not block.dropout:
        return []
    return [keras.layers.Dropout(block.dropout, name=f"{name}_dropout", dtype=dtype)]
