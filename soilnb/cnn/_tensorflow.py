"""TensorFlow and Keras, imported without the notes they write, and set for us."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

# Both are read at import only; what the user has set stays.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Send the process's stderr, C++ included, to nowhere for a while."""
    saved = os.dup(2)
    try:
        with Path(os.devnull).open("w") as null:
            os.dup2(null.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


with _silent_stderr(), warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import keras
    import tensorflow as tf

    GPUS = tf.config.list_physical_devices("GPU")  # its first call is the one that logs

# XLA: many times slower than the plain graph on a CPU; on a GPU a search would compile
# every candidate anew for seconds, to train it for seconds.
JIT_COMPILE = False

# TensorFloat-32 rounds the factors of GPU products to 10 bits: off, so that a GPU
# trains what a CPU trains. These small networks would gain little from it.
tf.config.experimental.enable_tensor_float_32_execution(False)

# Memory by need, so that several workers can share a GPU.
for _gpu in GPUS:
    with contextlib.suppress(RuntimeError):  # too late where TensorFlow has begun
        tf.config.experimental.set_memory_growth(_gpu, True)

__all__ = ["GPUS", "JIT_COMPILE", "keras", "tf"]
