"""Matrices of many rows: which are large, and some of their rows at a time."""

from collections.abc import Iterator

BLOCK_ROWS = 2048  # treated at once, so that a large table is not there twice
# A matrix of more values is large: it is held once, in single precision. In double
# this is 256 MB, three times the library of the paper (50,422 rows, 211 bands).
LARGE_VALUES = 32_000_000


def is_large(shape: tuple[int, ...]) -> bool:
    """Return whether a matrix of this shape is large."""
    return len(shape) == 2 and shape[0] * shape[1] > LARGE_VALUES


def row_blocks(n_rows: int, n_at_once: int | None = None) -> Iterator[slice]:
    """Yield slices of as many rows as are treated at once."""
    n_at_once = n_at_once or BLOCK_ROWS
    for start in range(0, n_rows, n_at_once):
        yield slice(start, min(start + n_at_once, n_rows))
