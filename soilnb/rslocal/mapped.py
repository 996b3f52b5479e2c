"""Spectra in a file, which processes of one machine map instead of copying."""

from __future__ import annotations

import mmap
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from soilnb._files import digest_file


def is_mapped(X: npt.ArrayLike) -> bool:
    """Return whether spectra are the map of a file, row by row in single precision."""
    if not isinstance(X, np.memmap) or not isinstance(X.base, mmap.mmap):
        return False  # a part of a map does not know where in the file it begins
    return bool(X.filename and X.dtype == np.float32 and X.flags.c_contiguous)


class ElsewhereError(Exception):
    """A worker does not find the file, or another one, at its path."""


class MappedFile(NamedTuple):
    """A file that holds spectra (float32, row by row), and how it is told from others.

    Who shares the disk of the one that made it maps it; its pages are in memory once.
    """

    path: str
    offset: int
    shape: tuple[int, ...]
    digest: str

    @classmethod
    def of(cls, X: npt.NDArray) -> MappedFile | None:
        """Return the file of a map, None of other arrays."""
        if not is_mapped(X):
            return None
        path = Path(str(X.filename)).resolve()  # type: ignore[attr-defined]
        return cls(str(path), X.offset, X.shape, digest_file(path))  # type: ignore[attr-defined]

    def open(self) -> npt.NDArray[np.float32]:
        """Return the spectra; ElsewhereError where this is not the same file."""
        return _open(self)


@lru_cache(maxsize=1)  # a worker has one search at a time, of many tasks
def _open(file: MappedFile) -> npt.NDArray[np.float32]:
    """Map a file and read it once, to be sure that it is the same."""
    try:
        if digest_file(Path(file.path)) == file.digest:
            map_of = np.memmap(file.path, np.float32, "r", file.offset, file.shape)
            return np.asarray(map_of)
    except OSError as error:
        raise ElsewhereError(file.path) from error
    raise ElsewhereError(file.path)
