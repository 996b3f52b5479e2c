"""The files of a user's table: which they are, and their rows as they stand there."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soilnb.datasets.files.columns import TableError
from soilnb.datasets.files.layouts import SOC_FIELDS, recognise

SUFFIXES = (".csv", ".csv.gz", ".tab", ".parquet")
GZIP_START = b"\x1f\x8b"
MISSING_WORDS = frozenset(
    (
        "",
        "na",
        "n/a",
        "n.a.",
        "nan",
        "null",
        "none",
        "missing",
        "<na>",
        "#n/a",
        "-",
        ".",
    )
)
AS_WRITTEN = frozenset({"", "NA", "NaN", None})  # for a first look, which is quick


def is_table(path: str | Path) -> bool:
    """Return whether a path is named like a table, or is a folder that has tables.

    Parameters
    ----------
    path : str or Path
        It need not exist.

    Returns
    -------
    bool
        Whether `read_file` may be able to read it.

    Examples
    --------
    >>> is_table("soils/ossl_all_L1_v1.2.csv.gz"), is_table("farms")
    (True, False)
    """
    path = Path(path)
    return _has_suffix(path) or (path.is_dir() and bool(_tables_in(path)))


def stem(path: str | Path) -> str:
    """Return the name of a file without the suffix of a table, or of a folder.

    Parameters
    ----------
    path : str or Path
        It need not exist.

    Returns
    -------
    str
        Without ".csv", ".csv.gz", ".tab" or ".parquet".

    Examples
    --------
    >>> stem("soils/ossl_all_L1_v1.2.csv.gz"), stem("ossl_v1.2")
    ('ossl_all_L1_v1.2', 'ossl_v1.2')
    """
    name = Path(path).name
    cut = max((len(end) for end in SUFFIXES if name.lower().endswith(end)), default=0)
    return name[: len(name) - cut]


def _has_suffix(path: Path) -> bool:
    """Return whether a name ends like that of a table."""
    return path.name.lower().endswith(SUFFIXES)


def find_files(path: Path) -> tuple[Path, list[Path]]:
    """Return the file with the spectra and the files that complete it."""
    if path.is_dir():
        path = _find_spectra(path)
    elif not _has_suffix(path):
        msg = (
            "A file of spectra must end in .csv, .csv.gz, .tab or .parquet, got "
            f"{path.name!r}. Save it as CSV."
        )
        raise TableError(msg)
    with open_table(path) as source:
        names = source.names
    published = recognise(names)
    if published is None or {*SOC_FIELDS} & set(published.find_fields(names)):
        return path, []
    others = {file: _names_of(file) for file in _tables_in(path.parent) if file != path}
    return path, [
        file
        for file, names in others.items()
        if not published.has_spectra(names) and published.completes(names)
    ]


def _find_spectra(folder: Path) -> Path:
    """Return the one table of spectra of a published library in a folder."""
    found = []
    for file in _tables_in(folder):
        names = _names_of(file)
        published = recognise(names)
        if published is not None and published.has_spectra(names):
            found.append(file)
    if len(found) == 1:
        return found[0]
    msg = (
        f"{folder.name!r} is a folder without the spectra of OSSL or ICRAF-ISRIC. "
        "Give the path of a file."
    )
    if found:
        listed = ", ".join(file.name for file in found)
        msg = (
            f"{folder.name!r} is a folder with {len(found)} tables of spectra "
            f"({listed}). Give the path of one of them."
        )
    raise TableError(msg)


def _tables_in(folder: Path) -> list[Path]:
    """Return the tables in a folder, by name."""
    files = (file for file in folder.iterdir() if file.is_file())
    return sorted(filter(_has_suffix, files))


def _names_of(path: Path) -> list[str]:
    """Return the column names of a table, none of a file that is no table."""
    try:
        with open_table(path, errors="replace") as source:
            return source.names
    except TableError:
        return []


@dataclass
class Source:
    """An open table: its column names, its rows and how far it was read."""

    names: list[str]
    rows: Iterable[Sequence]
    position: Callable[[], int]
    decimal_comma: bool = False


@contextmanager
def open_table(path: Path, errors: str = "strict") -> Iterator[Source]:
    """Open a table; what is wrong with it while it is read becomes a TableError."""
    if not path.stat().st_size:
        raise TableError(_empty(path))
    is_parquet = path.suffix.lower() == ".parquet"
    with _open_parquet(path) if is_parquet else _open_csv(path, errors) as source:
        yield source


def _empty(path: Path) -> str:
    """Return the message for a file without content."""
    return f"{path.name!r} is empty. Save a header and one row per sample in it."


@contextmanager
def _open_csv(path: Path, errors: str) -> Iterator[Source]:
    """Open a CSV file: UTF-8; comma, semicolon or tab; plain or gzip."""
    try:
        with path.open("rb") as raw:
            packed = raw.peek(2).startswith(GZIP_START)  # whatever it is called
            stream = gzip.GzipFile(fileobj=raw) if packed else raw
            if b"\0" in stream.peek(8192)[:8192]:
                msg = (
                    f"{path.name!r} is not a CSV text file (it holds binary data). "
                    "Export it as 'CSV UTF-8'."
                )
                raise TableError(msg)
            text = io.TextIOWrapper(
                stream,  # type: ignore[type-var]
                encoding="utf-8-sig",
                errors=errors,
                newline="",
            )
            names, delimiter = _read_header(text)
            if not names:
                raise TableError(_empty(path))
            rows = _even_rows(csv.reader(text, delimiter=delimiter), names, delimiter)
            yield Source(names, rows, raw.tell, delimiter != ",")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        msg = (
            f"{path.name!r} is not UTF-8 text (byte 0x{byte:02x}). "
            "Save it as 'CSV UTF-8'."
        )
        raise TableError(msg) from error
    except csv.Error as error:
        msg = f"{path.name!r} is not a CSV file ({error}). Export it as 'CSV UTF-8'."
        raise TableError(msg) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        msg = f"{path.name!r} is not a whole gzip file ({error}). Fetch it again."
        raise TableError(msg) from error


def _read_header(text: Iterable[str]) -> tuple[list[str], str]:
    """Return the column names, and the delimiter that finds the most of them."""
    lines = (line for line in text if line.strip() and not line.startswith("sep="))
    line = next(lines, "")
    headers = {mark: next(csv.reader([line], delimiter=mark), []) for mark in ";\t,"}
    delimiter = max(headers, key=lambda mark: len(headers[mark]))
    return headers[delimiter], delimiter


def _even_rows(
    rows: Iterable[list[str]], header: list[str], delimiter: str
) -> Iterator[list[str]]:
    """Yield the rows that are not blank; raise unless as long as the header."""
    filled = (row for row in rows if any(cell.strip() for cell in row))
    for number, row in enumerate(filled, 1):
        if len(row) != len(header):
            msg = (
                f"Data row {number} has {len(row)} cells but the header has "
                f"{len(header)} (separated by {delimiter!r}). Give every row one cell "
                "per column; with decimal commas, separate the cells by ';'. A file "
                "that was whole before may be damaged: fetch it again."
            )
            raise TableError(msg)
        yield row


@contextmanager
def _open_parquet(path: Path) -> Iterator[Source]:
    """Open a Parquet file; it is read by batches of rows."""
    import pyarrow
    import pyarrow.parquet

    n_read = 0

    def read_rows(file: pyarrow.parquet.ParquetFile) -> Iterator[tuple]:
        nonlocal n_read
        for batch in file.iter_batches(batch_size=1024):
            columns = [column.to_pylist() for column in batch.columns]
            for row in zip(*columns, strict=True):
                n_read += 1
                yield row

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            share = path.stat().st_size / max(file.metadata.num_rows, 1)
            yield Source(
                file.schema_arrow.names, read_rows(file), lambda: int(n_read * share)
            )
    except (pyarrow.ArrowException, OSError) as error:
        msg = f"{path.name!r} is not a Parquet file. Save the table again, or as CSV."
        raise TableError(msg) from error


def parse_numbers(cells: Sequence) -> tuple[list[float], list[tuple[int, str]]]:
    """Return the cells as numbers, NaN for missing ones, and those that are text.

    Parameters
    ----------
    cells : sequence
        Text of a CSV file or values of a Parquet file, with decimal points.

    Returns
    -------
    numbers : list of float
        One for each cell.
    texts : list of (int, str)
        Place and content of the cells that should be numbers and are not.

    Examples
    --------
    >>> parse_numbers(["0.5", "NA", "low"])
    ([0.5, nan, nan], [(2, 'low')])
    """
    with suppress(TypeError, ValueError):
        return [float(cell) for cell in cells], []
    with suppress(TypeError, ValueError):
        return [np.nan if cell in AS_WRITTEN else float(cell) for cell in cells], []
    numbers, texts = [], []
    for band, cell in enumerate(cells):
        number = parse_number(cell)
        if number is None:
            texts.append((band, str(cell)))
        numbers.append(np.nan if number is None else number)
    return numbers, texts


def parse_number(cell: object, decimal_comma: bool = False) -> float | None:
    """Return the number in a cell: NaN for an empty one, None for text.

    Parameters
    ----------
    cell : object
        Text of a CSV file or value of a Parquet file.
    decimal_comma : bool
        Whether 0,25 is a quarter.

    Returns
    -------
    float or None
        The number; NaN if the cell is empty or says that it is missing.

    Examples
    --------
    >>> parse_number("0,25", decimal_comma=True), parse_number("n/a"), parse_number("x")
    (0.25, nan, None)
    """
    text = as_text(cell)
    if text.lower() in MISSING_WORDS:
        return np.nan
    try:
        return float(text.replace(",", ".") if decimal_comma else text)
    except ValueError:
        return None


def as_text(cell: object) -> str:
    """Return a cell as text, without spaces around it; "" for none."""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)  # a whole number that a table of floats has made one
    return "" if cell is None else str(cell).strip()
