"""The spectra of a large library, kept once for all sites, steps and processes.

A folder holds two arrays, reflectance and what models see of it, in single precision.
It is named by the digest of its contents: studies that leave the same rows of a library
on the same grid share it, and each process maps it instead of reading it.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt

from soilnb._blocks import row_blocks
from soilnb._files import locked
from soilnb.datasets import SpectralLibrary
from soilnb.preprocessing import absorbance, snv

REFLECTANCE, SEEN = "reflectance.npy", "snv_absorbance.npy"

Singles = npt.NDArray[np.float32]


def keep_spectra(library: SpectralLibrary, folder: Path) -> Path:
    """Return where the spectra of a large library are, written there if they are not.

    They appear whole or not at all; who finds another process at them waits for it.
    """
    key = hashlib.sha256(library.wavelengths.tobytes())
    key.update(library.reflectance.data)
    place = folder / key.hexdigest()[:16]
    with locked(folder / f".{place.name}.lock"):
        if not place.exists():
            partial = folder / f".{place.name}.partial"
            shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
            partial.mkdir()
            _write(partial / REFLECTANCE, library.reflectance, seen=False)
            _write(partial / SEEN, library.reflectance, seen=True)
            partial.rename(place)
    return place


def map_spectra(folder: Path, name: str) -> Singles:
    """Return one of the arrays, read from the file as it is needed."""
    if not (folder / name).is_file():
        msg = (
            f"The spectra of the library are not at {folder}, where the study has left "
            "them. Run 01_data again."
        )
        raise FileNotFoundError(msg)
    return np.load(folder / name, mmap_mode="r")


def _write(file: Path, reflectance: Singles, *, seen: bool) -> None:
    """Write an array some rows at a time, without it or a map of it in memory."""
    known = {"descr": "<f4", "fortran_order": False, "shape": reflectance.shape}
    with file.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, known)
        for rows in row_blocks(len(reflectance)):
            block = reflectance[rows]
            made = snv(absorbance(block)) if seen else block
            stream.write(made.astype("<f4", copy=False).data)
