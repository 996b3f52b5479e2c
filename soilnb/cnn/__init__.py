"""One-dimensional convolutional neural networks (1D-CNN) for soil spectra.

An architecture is plain data and needs no TensorFlow. The functions that build and
train networks do, so they are imported at their first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from soilnb.cnn.architecture import Architecture, ConvBlock, FCBlock
from soilnb.cnn.folds import Scaling
from soilnb.cnn.published import PUBLISHED, SMALL
from soilnb.cnn.shapes import check_fit, feasible, layer_shapes, n_weights
from soilnb.cnn.tuning import SearchResult, initial_trials, search

if TYPE_CHECKING:
    from soilnb.cnn.explain import band_importance, first_filters
    from soilnb.cnn.memory import NetworkTooBigError
    from soilnb.cnn.models import FoldModels
    from soilnb.cnn.network import build
    from soilnb.cnn.result import CrossValidation
    from soilnb.cnn.training import cross_validate

_NEEDS_TENSORFLOW = {
    "CrossValidation": "soilnb.cnn.result",
    "FoldModels": "soilnb.cnn.models",
    "NetworkTooBigError": "soilnb.cnn.memory",
    "band_importance": "soilnb.cnn.explain",
    "build": "soilnb.cnn.network",
    "cross_validate": "soilnb.cnn.training",
    "first_filters": "soilnb.cnn.explain",
}

__all__ = [
    "PUBLISHED",
    "SMALL",
    "Architecture",
    "ConvBlock",
    "CrossValidation",
    "FCBlock",
    "FoldModels",
    "NetworkTooBigError",
    "Scaling",
    "SearchResult",
    "band_importance",
    "build",
    "check_fit",
    "cross_validate",
    "feasible",
    "first_filters",
    "initial_trials",
    "layer_shapes",
    "n_weights",
    "search",
]


def __getattr__(name: str) -> Any:
    """Import TensorFlow only when a name that needs it is asked for."""
    if name not in _NEEDS_TENSORFLOW:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(_NEEDS_TENSORFLOW[name]), name)


def __dir__() -> list[str]:
    """List the names that are imported later, too."""
    return sorted(set(globals()) | set(__all__))
