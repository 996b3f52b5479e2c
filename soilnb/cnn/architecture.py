"""The architecture of a 1D-CNN as data: blocks, sizes and training settings."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, asdict, dataclass, fields
from typing import Any

import numpy as np
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
PADDINGS = ("valid", "same")
POOLINGS = ("none", "max", "average")
OPTIMISERS = ("adam", "nadam", "adamax", "rmsprop", "sgd")

EMPTY = "–"  # as the paper's tables mark what a layer does not have
COLUMNS = [
    "block",
    "layer",
    "kernel/pool size",
    "filters/nodes",
    "padding",
    "strides",
    "activation",
]
Row = tuple[str | int, ...]  # layer, then the columns after it


def _check_number(value: object, name: str, rule: str, low: float, high: float) -> None:
    """Raise unless `value` is a real number with low <= value < high."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        msg = f"{name!r} must be a number, {rule}, got {value!r}."
        raise TypeError(msg)
    if not low <= float(value) < high:
        msg = f"{name!r} must be {rule}, got {value}."
        raise ValueError(msg)


def _check_bool(value: object, name: str) -> None:
    """Raise TypeError unless `value` is True or False."""
    if not isinstance(value, bool | np.bool_):
        msg = f"{name!r} must be True or False, got {value!r}."
        raise TypeError(msg)


def _check_shared(block: ConvBlock | FCBlock) -> None:
    """Check what both kinds of block have."""
    check_choice(block.activation, "activation", ACTIVATIONS)
    _check_bool(block.batch_normalisation, "batch_normalisation")
    rule = "at least 0 and below 1"
    _check_number(block.dropout, "dropout", rule, 0.0, 1.0)


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
    """Convolution, batch normalisation, activation, pooling, dropout, in this order.

    A TypeError or ValueError says which setting is of the wrong kind or out of its
    range.

    Parameters
    ----------
    filters : int
        Number of filters, at least 1.
    kernel : int
        Length of a filter, in bands (first block) or values (later blocks).
    stride : int, default 1
        Step between two positions of the filter, in bands or values.
    padding : str, default "valid"
        "valid": the filter stays within the values; "same": zeros around them give
        ceil(length / stride) positions.
    activation : str, default "silu"
        One of "relu", "leaky_relu" (slope 0.2), "elu", "selu", "silu" (Swish).
    batch_normalisation : bool, default False
        Whether each filter's values are normalised before the activation.
    pooling : str, default "none"
        "none", "max" or "average", over neighbouring positions, without padding.
    pool_size, pool_stride : int, default 2
        Positions pooled into one, and the step between two pools.
    dropout : float, default 0.0
        Share of the outputs set to zero in training, at least 0 and below 1.
    """

    filters: int
    kernel: int
    stride: int = 1
    _: KW_ONLY
    padding: str = "valid"
    activation: str = "silu"
    batch_normalisation: bool = False
    pooling: str = "none"
    pool_size: int = 2
    pool_stride: int = 2
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Check the settings."""
        sizes = ("filters", "kernel", "stride", "pool_size", "pool_stride")
        for name in sizes:
            check_int(getattr(self, name), name, 1)
        check_choice(self.padding, "padding", PADDINGS)
        check_choice(self.pooling, "pooling", POOLINGS)
        _check_shared(self)
        _store(self, int, *sizes)
        _store(self, float, "dropout")
        _store(self, bool, "batch_normalisation")

    def conv_length(self, length: int) -> int:
        """Return the number of positions of the filter on `length` values."""
        if self.padding == "same":
            return -(-length // self.stride)
        return max(0, (length - self.kernel) // self.stride + 1)

    def pool_length(self, length: int) -> int:
        """Return the number of pools in `length` positions."""
        if self.pooling == "none":
            return length
        return max(0, (length - self.pool_size) // self.pool_stride + 1)

    def _rows(self) -> list[Row]:
        """Return the layers as rows of the summary."""
        padding, name = self.padding.capitalize(), ACTIVATIONS[self.activation]
        sizes = (f"{self.kernel} × 1", self.filters, padding, f"{self.stride} × 1")
        rows: list[Row] = [("Convolutional", *sizes, name), *_normalisation_row(self)]
        if self.pooling != "none":
            layer = f"{self.pooling.capitalize()} pooling"
            size, stride = f"{self.pool_size} × 1", f"{self.pool_stride} × 1"
            rows.append((layer, size, EMPTY, "Valid", stride, EMPTY))
        return rows + _dropout_row(self)


@dataclass(frozen=True)
class FCBlock:
    """Fully connected layer, batch normalisation, activation, dropout, in this order.

    Parameters
    ----------
    nodes : int
        Number of nodes, at least 1.
    activation, batch_normalisation, dropout
        As of `ConvBlock`, which also says what is raised.
    """

    nodes: int
    activation: str = "silu"
    _: KW_ONLY
    batch_normalisation: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Check the settings."""
        check_int(self.nodes, "nodes", 1)
        _check_shared(self)
        _store(self, int, "nodes")
        _store(self, float, "dropout")
        _store(self, bool, "batch_normalisation")

    def _rows(self) -> list[Row]:
        """Return the layers as rows of the summary."""
        name = ACTIVATIONS[self.activation]
        first: Row = ("Fully-connected", EMPTY, self.nodes, EMPTY, EMPTY, name)
        return [first, *_normalisation_row(self), *_dropout_row(self)]


def _normalisation_row(block: ConvBlock | FCBlock) -> list[Row]:
    """Return the row of the batch normalisation, if the block has one."""
    return [("Batch normalisation", *5 * [EMPTY])] * block.batch_normalisation


def _dropout_row(block: ConvBlock | FCBlock) -> list[Row]:
    """Return the row of the dropout, if the block has one."""
    return [(f"Dropout ({block.dropout:.2g})", *5 * [EMPTY])] if block.dropout else []


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

    The blocks are Conv-blocks, then FC-blocks, then one output node, as in Shen and
    Viscarra Rossel (2021, Scientific Reports 11, doi:10.1038/s41598-020-80486-9) and
    Shen et al. (2022, ISPRS Journal of Photogrammetry and Remote Sensing 188, 190-200).
    The tables of these do not tell on which side of the activation the batch
    normalisation works; here it comes first, as in Ioffe and Szegedy (2015, PMLR 37,
    448-456).

    Parameters
    ----------
    conv, fc : tuple of ConvBlock and tuple of FCBlock
        Conv-blocks, none for inputs without an order, as covariates, and FC-blocks, in
        order; at least one block.
    epochs : int, default 150
        Most passes over the training samples.
    batch_size : int, default 16
        Samples in a step of the optimiser.
    optimiser : str, default "adam"
        One of "adam", "nadam", "adamax", "rmsprop", "sgd" (without momentum), with
        Keras's settings.
    learning_rate : float, default 1e-3
        Of the optimiser.
    patience : int, default 30
        Epochs without a lower validation RMSE after which training stops.

    Examples
    --------
    >>> tiny = Architecture(conv=(ConvBlock(4, 9, stride=3),), fc=(FCBlock(2),))
    >>> Architecture.from_dict(tiny.to_dict()) == tiny
    True
    """

    conv: tuple[ConvBlock, ...]
    fc: tuple[FCBlock, ...]
    _: KW_ONLY
    epochs: int = 150
    batch_size: int = 16
    optimiser: str = "adam"
    learning_rate: float = 1e-3
    patience: int = 30

    def __post_init__(self) -> None:
        """Check the settings; lists of blocks become tuples."""
        _check_blocks(self.conv, "conv", ConvBlock)
        _check_blocks(self.fc, "fc", FCBlock)
        object.__setattr__(self, "conv", tuple(self.conv))
        object.__setattr__(self, "fc", tuple(self.fc))
        if not self.blocks:
            msg = "'conv' or 'fc' must hold at least one block, got none."
            raise ValueError(msg)
        for name in ("epochs", "batch_size", "patience"):
            check_int(getattr(self, name), name, 1)
        check_choice(self.optimiser, "optimiser", OPTIMISERS)
        rate = self.learning_rate
        _check_number(rate, "learning_rate", "above 0", math.ulp(0.0), math.inf)
        _store(self, int, "epochs", "batch_size", "patience")
        _store(self, float, "learning_rate")

    @property
    def blocks(self) -> tuple[ConvBlock | FCBlock, ...]:
        """All blocks, Conv-blocks first."""
        return (*self.conv, *self.fc)

    @property
    def block_names(self) -> tuple[str, ...]:
        """Names of `blocks`, as in the paper: numbered if there are several."""
        names: list[str] = []
        for kind, blocks in (("Conv-block", self.conv), ("FC-block", self.fc)):
            if len(blocks) == 1:
                names.append(kind)
            else:
                names += [f"{kind} {i}" for i in range(1, len(blocks) + 1)]
        return tuple(names)

    def to_dict(self) -> dict[str, Any]:
        """Return the architecture as nested dicts and lists, ready for JSON."""
        data = asdict(self)
        return data | {"conv": list(data["conv"]), "fc": list(data["fc"])}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Architecture:
        """Return what `to_dict` wrote; ValueError for an unknown setting."""
        _check_names(data, cls)
        blocks = {
            "conv": _blocks_from(data.get("conv", ()), ConvBlock),
            "fc": _blocks_from(data.get("fc", ()), FCBlock),
        }
        return cls(**(dict(data) | blocks))

    def summary(self) -> pd.DataFrame:
        """Return one row per layer, as Table 2 of Shen et al. (2022) prints them.

        A dash stands where a layer has no such setting.
        """
        parts = [block._rows() for block in self.blocks]
        rows = [
            (name if i == 0 else "", *row)
            for name, layers in zip(self.block_names, parts, strict=True)
            for i, row in enumerate(layers)
        ]
        flatten = sum(map(len, parts[: len(self.conv)]))
        rows.insert(flatten, (EMPTY, "Flatten", *5 * [EMPTY]))
        output = ("Fully-connected", EMPTY, 1, EMPTY, EMPTY, "Linear")
        return pd.DataFrame([*rows, ("Output-block", *output)], columns=COLUMNS)


def _blocks_from(blocks: Iterable[Mapping[str, Any]], kind: type) -> tuple[Any, ...]:
    """Return the blocks of one kind from their mappings."""
    blocks = tuple(blocks)
    for block in blocks:
        _check_names(block, kind)
    return tuple(kind(**block) for block in blocks)
