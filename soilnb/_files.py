"""Files that processes share: held, replaced whole, told apart by their content."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

PACKAGE = Path(__file__).parent
GIVES_NUMBERS = ("numpy", "scipy", "scikit-learn", "numba", "tensorflow", "keras")


@contextmanager
def locked(file: Path, busy: str = "") -> Iterator[None]:
    """Hold a lock; where another process has it, wait, or raise ValueError(busy)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
        except OSError as error:
            raise ValueError(busy) from error
        yield


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Yield a path to write to; without an error it takes the place of `file`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        yield partial
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def replace_folder(new: Path, place: Path) -> None:
    """Move a finished folder to its place; whatever was there goes."""
    old = place.with_name(f".{place.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    new.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def digest(*texts: str) -> str:
    """Return the SHA-256 of texts."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def digest_file(file: Path) -> str:
    """Return the SHA-256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_files(files: Iterable[Path], root: Path) -> str:
    """Return one digest of the names below `root` and the contents of files."""
    pairs = [(str(file.relative_to(root)), digest_file(file)) for file in sorted(files)]
    return digest(*(text for pair in pairs for text in pair))


def digest_code(*parts: str) -> str:
    """Return a digest of parts of the package (by default all) and its versions."""
    files: list[Path] = []
    for place in [PACKAGE / part for part in parts] or [PACKAGE]:
        inside = [file for kind in ("py", "toml") for file in place.rglob(f"*.{kind}")]
        files += inside if place.is_dir() else [place.with_suffix(".py")]
    return digest(digest_files(files, PACKAGE), *map(version, GIVES_NUMBERS))
