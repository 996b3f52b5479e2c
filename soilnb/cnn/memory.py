"""How much memory the training of a network takes, and how much there is."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import psutil

from soilnb.cnn._tensorflow import GPUS, tf
from soilnb.cnn.architecture import Architecture
from soilnb.cnn.optimisers import N_SLOTS
from soilnb.cnn.shapes import layer_shapes, n_weights
from soilnb.cnn.stack import WATCHED_ROWS

SHARE = 0.8  # of the free memory is used: the estimate is rough, and others need some
VALUES_PER_OUTPUT = 4  # kept on the way forwards and back: 2.2 to 3.7 measured
GAPS = 1.4  # what TensorFlow's pool of memory takes over what is in it, as measured
CGROUP = Path("/sys/fs/cgroup")  # a container's limit and use, in files


class NetworkTooBigError(ValueError):
    """Training even one fold of a network would take more memory than there is."""


def folds_at_once(
    architecture: Architecture,
    n_wavelengths: int,
    n_folds: int,
    *,
    dtype: str = "float32",
    memory_bytes: int | None = None,
) -> int:
    """Return how many folds fit into memory; a NetworkTooBigError if none does."""
    size = np.dtype(dtype).itemsize
    kept = n_folds * n_weights(architecture, n_wavelengths) * size
    each = fold_bytes(architecture, n_wavelengths, dtype=dtype)
    limit = int(SHARE * free_bytes()) if memory_bytes is None else memory_bytes
    if kept + each > limit:
        msg = (
            f"The network has {n_weights(architecture, n_wavelengths):,} weights for "
            f"{n_wavelengths} wavelengths: training one of {n_folds} folds takes about "
            f"{_gigabytes(kept + each)}, more than the {_gigabytes(limit)} there are "
            "for it. Use fewer filters or nodes, larger strides, pooling or a smaller "
            "batch size."
        )
        raise NetworkTooBigError(msg)
    return min(n_folds, (limit - kept) // each)


def fold_bytes(
    architecture: Architecture, n_wavelengths: int, *, dtype: str = "float32"
) -> int:
    """Return about how many bytes the training of one fold takes."""
    outputs = [math.prod(x.output) for x in layer_shapes(architecture, n_wavelengths)]
    training = VALUES_PER_OUTPUT * architecture.batch_size * sum(outputs)
    watching = VALUES_PER_OUTPUT * WATCHED_ROWS * max(outputs)
    size = np.dtype(dtype).itemsize
    weights = weight_bytes(architecture, n_wavelengths, size)
    return int(GAPS * (weights + max(training, watching) * size))


def weight_bytes(architecture: Architecture, n_wavelengths: int, size: int) -> int:
    """Return the bytes of one fold's weights, and of what trains them, each `size`."""
    copies = 3 + N_SLOTS[architecture.optimiser]
    return copies * n_weights(architecture, n_wavelengths) * size


def free_bytes() -> int:
    """Return the memory that training may still take: of the GPU, if there is one."""
    if GPUS:
        pool = tf.config.experimental.get_memory_info("GPU:0")
        return _gpu_bytes() - pool["current"]
    try:
        pool = tf.config.experimental.get_memory_info("CPU:0")
    except ValueError:  # TensorFlow without oneDNN keeps no account
        return _unused_bytes()
    return _unused_bytes() + pool["peak"] - pool["current"]


def _unused_bytes() -> int:
    """Return the free memory of the machine, or of the container it is."""
    free = psutil.virtual_memory().available
    try:
        limit = int((CGROUP / "memory.max").read_text())
        used = int((CGROUP / "memory.current").read_text())
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return free
    return max(0, min(free, limit - used))


def _gpu_bytes() -> int:
    """Return the memory of the first GPU that TensorFlow may use."""
    from tensorflow.python.client import device_lib

    devices = device_lib.list_local_devices()
    return next(one.memory_limit for one in devices if one.device_type == "GPU")


def _gigabytes(n_bytes: int) -> str:
    """Return a number of bytes for a message."""
    return f"{n_bytes / 1e9:,.1f} GB"
