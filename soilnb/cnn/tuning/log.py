"""The log of a search: a folder with its settings and one small file per trial.

A file is written beside its place and then renamed: whenever the search is killed,
every file is whole. A trial has its file, and its number, from the moment it starts, so
a search that goes on later finds what it was about to do.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from soilnb._files import replacing

SETTINGS = "search.json"
MOST_TRIALS = 9_999  # the names of the files have four digits
RUNNING, COMPLETED, STOPPED, FAILED = "running", "completed", "stopped", "failed"


@dataclass(frozen=True)
class Trial:
    """One architecture that is or was tried."""

    number: int  # from 1, in the order of the proposals
    values: dict[str, Any]  # of each active hyperparameter
    status: str = RUNNING  # "stopped": before its last epoch, for others were better
    score: float | None = None  # cross-validated RMSE, in the unit of the property
    cause: str = ""  # why it failed or was stopped
    seconds: float | None = None
    rungs: dict[int, float] = field(default_factory=dict)  # RMSE by epoch, for halving


class TrialLog:
    """The files of one search, in a directory of its own."""

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)

    def _file(self, number: int) -> Path:
        """Return the file of a trial."""
        return self.directory / f"trial_{number:04d}.json"

    def settings(self) -> dict[str, Any]:
        """Return the settings of the search that is there, none where no trial is."""
        begun = any(self.directory.glob("trial_*.json"))
        return _read(self.directory / SETTINGS) if begun else {}

    def claim(self, settings: Mapping[str, Any]) -> None:
        """Write the settings of a new search; ValueError unless those there agree."""
        for leftover in self.directory.glob(".*.json.*"):  # of a write that was killed
            leftover.unlink()
        file = self.directory / SETTINGS
        if not any(self.directory.glob("trial_*.json")):
            _write(file, settings)  # new, or it never came to a trial
        there, wanted = _read(file), json.loads(json.dumps(settings, default=int))
        for name in sorted(there.keys() | wanted.keys()):
            one, other = there.get(name), wanted.get(name)
            if one != other:
                msg = (
                    f"'directory' {str(self.directory)!r} holds a search with "
                    f"{name} = {_short(one)}, not {_short(other)}."
                )
                raise ValueError(msg + _REMEDY)

    def write(self, trial: Trial) -> None:
        """Write a trial in place of what was known of it."""
        _write(self._file(trial.number), asdict(trial))

    def read(self) -> list[Trial]:
        """Return the trials by number; ValueError if one is missing or unreadable."""
        count = len(list(self.directory.glob("trial_*.json")))
        trials = []
        for number in range(1, count + 1):
            found = _read(self._file(number))
            rungs = {int(epoch): rmse for epoch, rmse in found["rungs"].items()}
            trials.append(Trial(**(found | {"rungs": rungs})))
        return trials


_REMEDY = " Use another directory, or delete this one to begin anew."


def digest(arrays: Sequence[npt.NDArray]) -> str:
    """Return a short fingerprint of arrays: their shapes and values."""
    hashed = hashlib.sha256()
    for array in arrays:
        hashed.update(repr((array.shape, array.dtype.str)).encode())
        hashed.update(np.ascontiguousarray(array).tobytes())
    return hashed.hexdigest()[:16]


def _short(value: object) -> str:
    """Return a value as text that fits into a message."""
    text = json.dumps(value)
    return text if len(text) < 60 else f"{text[:56]} ..."


def _write(file: Path, content: Mapping[str, Any]) -> None:
    """Write JSON so that the file is either the old one or the whole new one."""
    with replacing(file) as part, part.open("w", encoding="utf-8") as stream:
        json.dump(content, stream, indent=1, default=int)  # NumPy's numbers
        stream.flush()
        os.fsync(stream.fileno())  # else a power cut may leave the new name empty


def _read(file: Path) -> dict[str, Any]:
    """Return what `_write` wrote."""
    if not file.exists():
        msg = f"{file.name!r} is missing in {str(file.parent)!r}.{_REMEDY}"
        raise ValueError(msg)
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except ValueError as error:
        msg = f"{str(file)!r} is no whole JSON: {error}.{_REMEDY}"
        raise ValueError(msg) from error
