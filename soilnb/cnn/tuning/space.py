"""The search space: architectures as 64 hyperparameters, some of them conditional.

The structure (Conv-blocks, FC-blocks, activations, dropout, batch normalisation) is
that of Shen et al. (2022); the ranges cover what they found, with a margin, and are
ours: the paper does not print its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt

from soilnb._files import digest
from soilnb.cnn import _tensorflow  # noqa: F401  first, for its quiet import
from soilnb.cnn.architecture import (
    ACTIVATIONS,
    OPTIMISERS,
    PADDINGS,
    POOLINGS,
    Architecture,
    ConvBlock,
    FCBlock,
)
from soilnb.cnn.shapes import feasible as fits
from soilnb.cnn.shapes import n_weights

import keras_tuner as kt  # isort: skip  after TensorFlow, which it imports

MAX_CONV, MAX_FC = 3, 5
MIN_EPOCHS, MAX_EPOCHS = 20, 500
TRAINING = ("epochs", "batch_size", "optimiser", "learning_rate")
_MOST_DRAWS = 2_000  # in vain, before it is said that nothing is feasible

Values = dict[str, Any]
Points = npt.NDArray[np.float64]


def declare(max_epochs: int = MAX_EPOCHS) -> kt.HyperParameters:
    """Return the hyperparameters; blocks beyond the first depend on their number."""
    hp = kt.HyperParameters()
    # The default of a number, the middle of its range, stands for it in absent blocks.
    hp.Int("n_conv", 1, MAX_CONV)
    hp.Int("n_fc", 1, MAX_FC)
    for number in range(1, MAX_CONV + 1):
        with hp.conditional_scope("n_conv", list(range(number, MAX_CONV + 1))):
            _declare_conv(hp, f"conv{number}_")
    for number in range(1, MAX_FC + 1):
        with hp.conditional_scope("n_fc", list(range(number, MAX_FC + 1))):
            hp.Int(f"fc{number}_nodes", 16, 1024, sampling="log", default=128)
            _declare_shared(hp, f"fc{number}_")
    hp.Int("epochs", min(MIN_EPOCHS, max_epochs), max_epochs, sampling="log")
    hp.Choice("batch_size", [8, 16, 32, 64])
    hp.Choice("optimiser", list(OPTIMISERS))
    hp.Float("learning_rate", 1e-4, 1e-2, sampling="log")
    return hp


def _declare_conv(hp: kt.HyperParameters, prefix: str) -> None:
    """Declare what a Conv-block has."""
    hp.Int(prefix + "filters", 16, 256, sampling="log", default=64)
    hp.Int(prefix + "kernel", 3, 11, default=7)
    hp.Int(prefix + "stride", 1, 8, default=4)
    hp.Choice(prefix + "padding", list(PADDINGS))
    hp.Choice(prefix + "pooling", list(POOLINGS))
    with hp.conditional_scope(prefix + "pooling", list(POOLINGS[1:])):
        hp.Int(prefix + "pool_size", 2, 5, default=3)
        hp.Int(prefix + "pool_stride", 1, 4, default=2)
    _declare_shared(hp, prefix)


def _declare_shared(hp: kt.HyperParameters, prefix: str) -> None:
    """Declare what both kinds of block have."""
    hp.Choice(prefix + "activation", list(ACTIVATIONS))
    hp.Boolean(prefix + "batch_normalisation")
    hp.Boolean(prefix + "dropout")
    with hp.conditional_scope(prefix + "dropout", [True]):
        hp.Float(prefix + "rate", 1e-3, 0.5, sampling="log", default=0.02)


def to_architecture(values: Mapping[str, Any]) -> Architecture:
    """Return the architecture that values of active hyperparameters describe."""
    conv = tuple(
        ConvBlock(**_settings(values, f"conv{number}_", ConvBlock))
        for number in range(1, values["n_conv"] + 1)
    )
    fc = tuple(
        FCBlock(**_settings(values, f"fc{number}_", FCBlock))
        for number in range(1, values["n_fc"] + 1)
    )
    return Architecture(conv, fc, **{name: values[name] for name in TRAINING})


def _settings(values: Mapping[str, Any], prefix: str, kind: type) -> dict[str, Any]:
    """Return the settings of one block; those of an absent pooling stay at default."""
    names = [field.name for field in fields(kind)]
    found = {name: values[prefix + name] for name in names if prefix + name in values}
    return found | {"dropout": values[prefix + "rate"] if found["dropout"] else 0.0}


def to_values(architecture: Architecture) -> Values:
    """Return the values of active hyperparameters, the inverse of `to_architecture`."""
    values: Values = {"n_conv": len(architecture.conv), "n_fc": len(architecture.fc)}
    for kind in ("conv", "fc"):
        for number, block in enumerate(getattr(architecture, kind), start=1):
            prefix = f"{kind}{number}_"
            for field in fields(block):
                values[prefix + field.name] = getattr(block, field.name)
            values[prefix + "dropout"] = block.dropout > 0
            if block.dropout:
                values[prefix + "rate"] = block.dropout
            if values.get(prefix + "pooling") == "none":
                del values[prefix + "pool_size"], values[prefix + "pool_stride"]
    for name in TRAINING:
        values[name] = getattr(architecture, name)
    return values


class _Axis:
    """A hyperparameter as a place from 0 to 1, where keras-tuner puts its values."""

    def __init__(self, hp: Any) -> None:
        self.hp = hp
        self.options = _options(hp)
        self.places = np.array([hp.value_to_prob(value) for value in self.options])
        self.default: float = hp.value_to_prob(hp.default)
        self.is_category = isinstance(hp.default, str | bool)

    def snap(self, places: Points) -> Points:
        """Return the nearest place of an option, for each of some places."""
        if not self.options:
            return places
        middles = (self.places[1:] + self.places[:-1]) / 2
        return self.places[np.searchsorted(middles, places)]

    def value(self, place: float) -> Any:
        """Return the value at a place; of a continuous one three digits will do."""
        if not self.options:
            return float(f"{self.hp.prob_to_value(place):.3g}")
        return self.options[int(np.abs(self.places - place).argmin())]

    def __contains__(self, value: object) -> bool:
        """Return whether the hyperparameter may have this value."""
        if self.options:
            return value in self.options
        return isinstance(value, float) and (
            self.hp.min_value <= value <= self.hp.max_value
        )


def _options(hp: Any) -> tuple[Any, ...]:
    """Return the values of a hyperparameter in order, none if it is continuous."""
    if isinstance(hp, kt.engine.hyperparameters.Float):
        return ()
    if isinstance(hp, kt.engine.hyperparameters.Int):
        return tuple(range(hp.min_value, hp.max_value + 1))
    return tuple(sorted(hp.values, key=hp.value_to_prob))


class Space:
    """Architectures in range and not too big: dicts of values, or points (64,)."""

    def __init__(
        self,
        n_wavelengths: int,
        *,
        max_epochs: int = MAX_EPOCHS,
        max_weights: int | None = None,
    ) -> None:
        self.n_wavelengths = n_wavelengths
        self.max_weights = max_weights
        self.hyperparameters = declare(max_epochs)
        self._axes = [_Axis(hp) for hp in self.hyperparameters.space]
        self.names = [axis.hp.name for axis in self._axes]
        self.is_category = np.array([axis.is_category for axis in self._axes])
        self._defaults = np.array([axis.default for axis in self._axes])
        self._conditions = [self._condition_places(axis) for axis in self._axes]

    def __len__(self) -> int:
        """Return the number of hyperparameters."""
        return len(self._axes)

    @property
    def digest(self) -> str:
        """Fingerprint of the hyperparameters and of what is feasible."""
        declared = self.hyperparameters.get_config()["space"]
        text = json.dumps([declared, self.n_wavelengths, self.max_weights], default=int)
        return digest(text)[:16]

    def _condition_places(self, axis: _Axis) -> list[tuple[int, Points]]:
        """Return which coordinates must have which places for this one to be active."""
        places = []
        for condition in axis.hp.conditions:
            column = self.names.index(condition.name)
            parent = self._axes[column].hp
            allowed = [parent.value_to_prob(value) for value in condition.values]
            places.append((column, np.array(allowed)))
        return places

    def snap(self, points: Points) -> Points:
        """Return the points (n, 64) of the architectures nearest to some points."""
        snapped = np.empty_like(points)
        for column, axis in enumerate(self._axes):
            places = axis.snap(points[:, column])
            for parent, allowed in self._conditions[column]:
                active = np.isin(snapped[:, parent], allowed)
                places = np.where(active, places, axis.default)
            snapped[:, column] = places
        return snapped

    def values(self, point: Points) -> Values:
        """Return the hyperparameters that are active at a snapped point."""
        found: Values = {}
        for axis, place in zip(self._axes, point, strict=True):
            if all(found.get(c.name) in c.values for c in axis.hp.conditions):
                found[axis.hp.name] = axis.value(place)
        return found

    def point(self, values: Mapping[str, Any]) -> Points:
        """Return the point (64,) of some values."""
        point = self._defaults.copy()
        for column, axis in enumerate(self._axes):
            if axis.hp.name in values:
                point[column] = axis.hp.value_to_prob(values[axis.hp.name])
        return point

    def feasible(self, values: Mapping[str, Any]) -> bool:
        """Return whether spectra are long enough and the network small enough."""
        architecture = to_architecture(values)
        if not fits(architecture, self.n_wavelengths):
            return False
        if self.max_weights is None:
            return True
        return n_weights(architecture, self.n_wavelengths) <= self.max_weights

    def draw(self, rng: np.random.Generator) -> Values:
        """Return an architecture, each feasible one of the space being as likely."""
        for _ in range(_MOST_DRAWS):
            values = self.values(self.snap(rng.random((1, len(self))))[0])
            if self.feasible(values):
                return values
        msg = (
            f"None of {_MOST_DRAWS:,} architectures drawn fits {self.n_wavelengths} "
            f"wavelengths with at most {self.max_weights} weights ('max_weights'). "
            "Allow more."
        )
        raise ValueError(msg)

    def check(self, architecture: Architecture) -> Values:
        """Return the values of an architecture to be tried; raise if it may not be."""
        values = to_values(architecture)
        for axis in self._axes:
            name = axis.hp.name
            if name in values and values[name] not in axis:
                msg = f"'start' has {name} = {values[name]!r}, outside the {axis.hp}."
                raise ValueError(msg)
        if to_architecture(values) != architecture:
            patience = to_architecture(values).patience
            msg = (
                f"'start' has patience = {architecture.patience}, but the search "
                f"trains with {patience}. Use that."
            )
            raise ValueError(msg)
        size = n_weights(architecture, self.n_wavelengths)
        if self.max_weights is not None and size > self.max_weights:
            msg = (
                f"'start' has an architecture of {size:,} weights, but 'max_weights' "
                f"is {self.max_weights:,}. Allow more or leave it out."
            )
            raise ValueError(msg)
        return values
