"""Sizes and weights of an architecture, counted without TensorFlow."""

from __future__ import annotations

import math
from typing import NamedTuple

from soilnb._validation import check_int
from soilnb.cnn.architecture import Architecture, ConvBlock, FCBlock

Shape = tuple[int, ...]
NORMALISATION = "Batch normalisation"


class LayerShape(NamedTuple):
    """One layer: its block, its name, what it puts out and its weights."""

    block: str
    layer: str
    output: Shape  # (positions, filters) up to "Flatten", (nodes,) from there on
    # In Keras's order: kernel (length, channels, filters) or (inputs, nodes) and bias;
    # of a batch normalisation scale, shift, moving mean, moving variance.
    weights: tuple[Shape, ...] = ()

    @property
    def normalises(self) -> bool:
        """Whether this is a batch normalisation."""
        return self.layer == NORMALISATION


def layer_shapes(architecture: Architecture, n_wavelengths: int) -> list[LayerShape]:
    """Return the layers that have weights or change the size, in order.

    Convolutions, batch normalisations, poolings, "Flatten", fully connected layers. A
    ValueError names the filter or pool that is longer than what reaches it.

    >>> from soilnb.cnn import Architecture, ConvBlock
    >>> for layer in layer_shapes(Architecture((ConvBlock(4, 9, 3),), ()), 21):
    ...     print(layer.layer, layer.output, layer.weights)
    Convolutional (5, 4) ((9, 1, 4), (4,))
    Flatten (20,) ()
    Fully-connected (1,) ((20, 1), (1,))
    """
    check_int(n_wavelengths, "n_wavelengths", 1)
    layers: list[LayerShape] = []
    shape: Shape = (int(n_wavelengths), 1)
    names, n_conv = architecture.block_names, len(architecture.conv)
    for name, conv in zip(names[:n_conv], architecture.conv, strict=True):
        layers += _conv_layers(name, conv, shape, n_wavelengths)
        shape = layers[-1].output
    shape = (math.prod(shape),)
    layers.append(LayerShape("", "Flatten", shape))
    for name, fc in zip(names[n_conv:], architecture.fc, strict=True):
        layers += _fc_layers(name, fc, shape)
        shape = layers[-1].output
    output = ((*shape, 1), (1,))
    return [*layers, LayerShape("Output-block", "Fully-connected", (1,), output)]


def _conv_layers(
    name: str, block: ConvBlock, shape: Shape, n_wavelengths: int
) -> list[LayerShape]:
    """Return the layers of a Conv-block that gets (positions, channels)."""
    length, channels = shape
    positions = block.conv_length(length)
    if not positions:
        what = f"a kernel of {block.kernel}"
        raise ValueError(_misfit(name, what, length, n_wavelengths))
    output = (positions, block.filters)
    weights = ((block.kernel, channels, block.filters), (block.filters,))
    layers = [LayerShape(name, "Convolutional", output, weights)]
    layers += _normalisation(name, block, output)
    if block.pooling != "none":
        pools = block.pool_length(positions)
        if not pools:
            what = f"{block.pooling} pooling over {block.pool_size}"
            raise ValueError(_misfit(name, what, positions, n_wavelengths))
        layer = f"{block.pooling.capitalize()} pooling"
        layers.append(LayerShape(name, layer, (pools, block.filters)))
    return layers


def _fc_layers(name: str, block: FCBlock, shape: Shape) -> list[LayerShape]:
    """Return the layers of an FC-block that gets (inputs,)."""
    output = (block.nodes,)
    layer = LayerShape(name, "Fully-connected", output, ((*shape, block.nodes), output))
    return [layer, *_normalisation(name, block, output)]


def _normalisation(
    name: str, block: ConvBlock | FCBlock, output: Shape
) -> list[LayerShape]:
    """Return the batch normalisation of a block, if it has one."""
    weights = 4 * (output[-1:],)
    layer = LayerShape(name, NORMALISATION, output, weights)
    return [layer] if block.batch_normalisation else []


def _misfit(name: str, what: str, length: int, n_wavelengths: int) -> str:
    """Return the message for a filter or pool that is too long."""
    return (
        f"{name} has {what} but only {length} values reach it (of {n_wavelengths} "
        "wavelengths). Make it shorter, or the strides before it smaller."
    )


def tail_shapes(
    architecture: Architecture, n_wavelengths: int, n_frozen: int
) -> tuple[Shape, list[LayerShape]]:
    """Return the shape that reaches what follows the first blocks, and its layers."""
    check_int(n_frozen, "n_frozen", 0, len(architecture.blocks), " (blocks)")
    layers = layer_shapes(architecture, n_wavelengths)
    frozen = architecture.block_names[:n_frozen]
    before = [layer.output for layer in layers if layer.block in frozen]
    names = (*architecture.block_names[n_frozen:], "", "Output-block")
    after = [layer for layer in layers if layer.block in names]
    return (before[-1] if before else (int(n_wavelengths), 1)), after


def n_weights(architecture: Architecture, n_wavelengths: int) -> int:
    """Return the number of weights for spectra of so many bands, as Keras counts them.

    Kernels, biases (one in every layer) and batch normalisations. A ValueError if the
    architecture does not fit the number of wavelengths.

    >>> from soilnb.cnn import Architecture, ConvBlock, FCBlock
    >>> tiny = Architecture(conv=(ConvBlock(4, 9, stride=3),), fc=(FCBlock(2),))
    >>> n_weights(tiny, n_wavelengths=21)  # 4*9+4, then 5*4*2+2, then 2+1
    85
    """
    layers = layer_shapes(architecture, n_wavelengths)
    return sum(math.prod(shape) for layer in layers for shape in layer.weights)


def check_fit(architecture: Architecture, n_wavelengths: int) -> None:
    """Raise ValueError, naming layer and reason, unless spectra are long enough."""
    layer_shapes(architecture, n_wavelengths)


def feasible(architecture: Architecture, n_wavelengths: int) -> bool:
    """Return whether spectra of `n_wavelengths` bands are long enough for all layers.

    >>> from soilnb.cnn import Architecture, ConvBlock
    >>> [feasible(Architecture((ConvBlock(4, 9),), ()), n) for n in (8, 9)]
    [False, True]
    """
    check_int(n_wavelengths, "n_wavelengths", 1)
    try:
        check_fit(architecture, n_wavelengths)
    except ValueError:
        return False
    return True
