"""The architecture of a 1D-CNN as data: blocks, sizes and training settings."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import pandas as pd

from soilnb._validation import check_choice, check_int, suggestion

# Keras's names and those of Shen et al. (2022).
ACTIVATIONS = {
    "relu": "ReLU",
    "leaky_relu": "LeakyReLU",
    "elu": "ELU",
    "selu": "SELU",
    "silu": "Swish",
}


def _check_number(value: object, name: str, rule: str, low: float, high: float) -> None:
    """Raise unless `value` is a real number with low <= value < high."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        msg = f"{name!r} must be a number, {rule}, got {value!r}."
        raise TypeError(msg)
    if not low <= float(value) < high:
        msg = f"{name!r} must be {rule}, got {value}."
        raise ValueError(msg)


def _check_dropout(rate: object) -> None:
    """Raise unless `rate` is a share of nodes that leaves some."""
    _check_number(rate, "dropout", "at least 0 and below 1", 0.0, 1.0)


def _store(block: object, kind: type, *names: str) -> None:
    """Turn NumPy's numbers into plain ones, which JSON can hold."""
    for name in names:
        object.__setattr__(block, name, kind(getattr(block, name)))


def _check_names(data: Mapping[str, Any], kind: type) -> None:
    """Raise ValueError for a name that the dataclass `kind` does not have."""
    known = [field.name for field in fields(kind)]
    for name in data:
        if name not in known:
            msg = (
                f"{kind.__name__} has no setting {name!r}.{suggestion(name, known)} "
                f"Use {', '.join(known)}."
            )
            raise ValueError(msg)


@dataclass(frozen=True)
class ConvBlock:
    """Convolution along the spectrum, activation, dropout.

    Parameters
    ----------
    filters : int
        Number of filters, at least 1.
    kernel : int
        Length of a filter, in bands (first block) or values (later blocks).
    stride : int, default 1
        Step between two positions of the filter, in bands or values.
    activation : str, default "silu"
        One of "relu", "leaky_relu", "elu", "selu", "silu" (Swish).
    dropout : float, default 0.0
        Share of the outputs set to zero in training, at least 0 and below 1.

    Raises
    ------
    TypeError
        If a setting is of the wrong kind.
    ValueError
        If a setting is out of its range.
    """

    filters: int
    kernel: int
    stride: int = 1
    activation: str = "silu"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Check the settings."""
        check_int(self.filters, "filters", 1)
        check_int(self.kernel, "kernel", 1)
        check_int(self.stride, "stride", 1)
        check_choice(self.activation, "activation", ACTIVATIONS)
        _check_dropout(self.dropout)
        _store(self, int, "filters", "kernel", "stride")
        _store(self, float, "dropout")

    def output_length(self, length: int) -> int:
        """Return the number of positions of the filter on `length` values."""
        return (length - self.kernel) // self.stride + 1


@dataclass(frozen=True)
class FCBlock:
    """Fully connected layer, activation, dropout.

    Parameters
    ----------
    nodes : int
        Number of nodes, at least 1.
    activation : str, default "silu"
        One of "relu", "leaky_relu", "elu", "selu", "silu" (Swish).
    dropout : float, default 0.0
        Share of the outputs set to zero in training, at least 0 and below 1.

    Raises
    ------
    TypeError
        If a setting is of the wrong kind.
    ValueError
        If a setting is out of its range.
    """

    nodes: int
    activation: str = "silu"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Check the settings."""
        check_int(self.nodes, "nodes", 1)
        check_choice(self.activation, "activation", ACTIVATIONS)
        _check_dropout(self.dropout)
        _store(self, int, "nodes")
        _store(self, float, "dropout")


def _check_blocks(blocks: object, name: str, kind: type) -> None:
    """Raise TypeError unless `blocks` is a list or tuple of `kind`."""
    if not isinstance(blocks, list | tuple):
        msg = f"{name!r} must be a tuple of {kind.__name__}, got {blocks!r}."
        raise TypeError(msg)
    for block in blocks:
        if not isinstance(block, kind):
            msg = f"{name!r} must hold only {kind.__name__}, got {block!r}."
            raise TypeError(msg)


@dataclass(frozen=True)
class Architecture:
    """Blocks of a 1D-CNN, from spectrum to soil property, and how to train them.

    The blocks are Conv-blocks, then FC-blocks, then one output node, as in the
    framework of [1]_ and [2]_.

    Parameters
    ----------
    conv : tuple of ConvBlock
        At least one Conv-block, in order.
    fc : tuple of FCBlock
        FC-blocks, in order; may be empty.
    epochs : int, default 150
        Most passes over the training samples.
    batch_size : int, default 16
        Samples in a step of the optimiser.
    learning_rate : float, default 1e-3
        Of Adam.
    patience : int, default 30
        Epochs without a lower validation RMSE after which training stops.

    Raises
    ------
    TypeError
        If a setting is of the wrong kind.
    ValueError
        If a setting is out of its range or there is no Conv-block.

    References
    ----------
    .. [1] Shen and Viscarra Rossel (2021), Scientific Reports 11,
       doi:10.1038/s41598-020-80486-9.
    .. [2] Shen et al. (2022), ISPRS Journal of Photogrammetry and Remote
           Sensing 188, 190-200.

    Examples
    --------
    >>> small = Architecture(conv=(ConvBlock(4, 9, stride=3),), fc=(FCBlock(2),))
    >>> small.n_parameters(n_wavelengths=21)  # 4*9+4, then 5*4*2+2, then 2+1
    85
    """

    conv: tuple[ConvBlock, ...]
    fc: tuple[FCBlock, ...]
    epochs: int = 150
    batch_size: int = 16
    learning_rate: float = 1e-3
    patience: int = 30

    def __post_init__(self) -> None:
        """Check the settings; lists of blocks become tuples."""
        _check_blocks(self.conv, "conv", ConvBlock)
        _check_blocks(self.fc, "fc", FCBlock)
        object.__setattr__(self, "conv", tuple(self.conv))
        object.__setattr__(self, "fc", tuple(self.fc))
        if not self.conv:
            msg = "'conv' must hold at least one ConvBlock, got none."
            raise ValueError(msg)
        check_int(self.epochs, "epochs", 1)
        check_int(self.batch_size, "batch_size", 1)
        check_int(self.patience, "patience", 1)
        rate = self.learning_rate
        _check_number(rate, "learning_rate", "above 0", math.ulp(0.0), math.inf)
        _store(self, int, "epochs", "batch_size", "patience")
        _store(self, float, "learning_rate")

    @property
    def blocks(self) -> tuple[ConvBlock | FCBlock, ...]:
        """All blocks, Conv-blocks first."""
        return (*self.conv, *self.fc)

    def conv_lengths(self, n_wavelengths: int) -> list[int]:
        """Return the number of positions left after each Conv-block.

        Parameters
        ----------
        n_wavelengths : int
            Bands of a spectrum.

        Returns
        -------
        list of int
            One length per Conv-block.

        Raises
        ------
        ValueError
            If a filter is longer than what reaches it; the message names the block.
        """
        check_int(n_wavelengths, "n_wavelengths", 1)
        lengths = [int(n_wavelengths)]
        for number, block in enumerate(self.conv, start=1):
            if block.kernel > lengths[-1]:
                msg = (
                    f"Conv-block {number} has a kernel of {block.kernel} but only "
                    f"{lengths[-1]} values reach it (of {n_wavelengths} wavelengths). "
                    "Use a shorter kernel, or smaller strides before it."
                )
                raise ValueError(msg)
            lengths.append(block.output_length(lengths[-1]))
        return lengths[1:]

    def weight_shapes(self, n_wavelengths: int) -> list[tuple[int, ...]]:
        """Return the shapes of kernel and bias of each layer, in Keras's order.

        Parameters
        ----------
        n_wavelengths : int
            Bands of a spectrum.

        Returns
        -------
        list of tuple of int
            Kernels are (length, channels, filters) or (inputs, nodes).

        Raises
        ------
        ValueError
            If the architecture does not fit the number of wavelengths.
        """
        length = self.conv_lengths(n_wavelengths)[-1]
        shapes: list[tuple[int, ...]] = []
        channels = 1
        for block in self.conv:
            shapes += [(block.kernel, channels, block.filters), (block.filters,)]
            channels = block.filters
        inputs = length * channels
        for nodes in [*(block.nodes for block in self.fc), 1]:
            shapes += [(inputs, nodes), (nodes,)]
            inputs = nodes
        return shapes

    def n_parameters(self, n_wavelengths: int) -> int:
        """Return the number of weights and biases for spectra of `n_wavelengths`."""
        return sum(math.prod(shape) for shape in self.weight_shapes(n_wavelengths))

    def to_dict(self) -> dict[str, Any]:
        """Return the architecture as nested dicts and lists, ready for JSON."""
        data = asdict(self)
        return data | {"conv": list(data["conv"]), "fc": list(data["fc"])}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Architecture:
        """Return the architecture that `to_dict` wrote.

        Parameters
        ----------
        data : mapping
            Settings by name; "conv" and "fc" are lists of mappings.

        Returns
        -------
        Architecture
            Equal to the one written.

        Raises
        ------
        ValueError
            If a setting is unknown.
        """
        _check_names(data, cls)
        blocks = {
            "conv": _blocks_from(data.get("conv", ()), ConvBlock),
            "fc": _blocks_from(data.get("fc", ()), FCBlock),
        }
        return cls(**(dict(data) | blocks))

    def summary(self) -> pd.DataFrame:
        """Return the blocks as a table, one row per layer, as Table 2 of Shen et al.

        Returns
        -------
        DataFrame
            Columns block, layer, kernel, filters/nodes, stride, activation, dropout;
            empty text where a layer has no such setting.
        """
        rows: list[tuple[object, ...]] = []
        for number, conv in enumerate(self.conv, start=1):
            name = (f"Conv-block {number}", "Convolutional")
            sizes: tuple[object, ...] = (conv.kernel, conv.filters, conv.stride)
            rows.append((*name, *sizes, ACTIVATIONS[conv.activation], conv.dropout))
        for number, fc in enumerate(self.fc, start=1):
            name = (f"FC-block {number}", "Fully-connected")
            sizes = ("", fc.nodes, "")
            rows.append((*name, *sizes, ACTIVATIONS[fc.activation], fc.dropout))
        rows.append(("Output-block", "Fully-connected", "", 1, "", "Linear", 0.0))
        columns = ["block", "layer", "kernel", "filters/nodes", "stride"]
        return pd.DataFrame(rows, columns=[*columns, "activation", "dropout"])


def _blocks_from(blocks: Iterable[Mapping[str, Any]], kind: type) -> tuple[Any, ...]:
    """Return the blocks of one kind from their mappings."""
    blocks = tuple(blocks)
    for block in blocks:
        _check_names(block, kind)
    return tuple(kind(**block) for block in blocks)


# A small network with settings that suit 30 to a few hundred samples; not searched.
SMALL = Architecture(
    conv=(ConvBlock(filters=32, kernel=9, stride=3, dropout=0.1),),
    fc=(FCBlock(nodes=64, dropout=0.2),),
)
