"""A user's CSV or Parquet file as a table of numbers."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import TextIO

import numpy as np
import numpy.typing as npt

from soilnb.datasets.columns import (
    COORDINATES,
    REQUIRED,
    Layout,
    TableError,
    find_columns,
)

SUFFIXES = (".csv", ".parquet")
SOC_CELL = -1  # stands for the column soc where a band's number is expected
MISSING_WORDS = frozenset({"", "na", "n/a", "nan", "null", "none", "<na>", "#n/a"})


@dataclass(frozen=True)
class Table:
    """The contents of a file: one row per sample, NaN for what is not a number.

    Attributes
    ----------
    layout : Layout
        Which column was what.
    sample_ids : list of str
        As written in the file.
    soc : ndarray of shape (n_samples,)
        In the unit of the file.
    spectra : ndarray of shape (n_samples, n_wavelengths)
        In the quantity of the file, by increasing wavelength.
    extra : dict of str to list
        The cells of country, group, latitude and longitude, if there.
    texts : list of (int, int, str)
        Row, band (column of `spectra`, or `SOC_CELL`) and content of the cells that
        should be numbers and are not.
    """

    layout: Layout
    sample_ids: list[str]
    soc: npt.NDArray[np.float64]
    spectra: npt.NDArray[np.float64]
    extra: dict[str, list]
    texts: list[tuple[int, int, str]]

    def place(self, row: int) -> str:
        """Return how a user finds a row: its sample and its number from 1."""
        return f"sample {self.sample_ids[row]!r}, data row {row + 1}"

    def place_of(self, bad: npt.NDArray[np.bool_]) -> str:
        """Return where the first marked value of the spectra is."""
        row, column = (int(index) for index in np.argwhere(bad)[0])
        return f"{self.place(row)}, column {self.layout.spectral_names[column]!r}"


def read_table(path: Path) -> Table:
    """Return the contents of a CSV or Parquet file of spectra.

    Parameters
    ----------
    path : Path
        A .csv or .parquet file with sample_id, soc and one column per wavelength.

    Returns
    -------
    Table
        Its columns, told apart, and its numbers.

    Raises
    ------
    TableError
        If the file is no such table; `problems` has everything found wrong.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        msg = (
            f"A file of spectra must end in .csv or .parquet, got {path.name!r}. "
            "Save it as CSV."
        )
        raise TableError(msg)
    if not path.is_file():
        msg = f"{path.name!r} is a folder. Give the path of a file."
        raise TableError(msg)
    if not path.stat().st_size:
        raise TableError(_empty(path))
    table = _read_csv(path) if suffix == ".csv" else _read_parquet(path)
    if not table.sample_ids:
        msg = f"{path.name!r} has a header but no samples. Add one row per sample."
        raise TableError(msg)
    return table


def _empty(path: Path) -> str:
    """Return the message for a file without content."""
    return f"{path.name!r} is empty. Save a header and one row per sample in it."


def _read_csv(path: Path) -> Table:
    """Return the contents of a CSV file: UTF-8; comma, semicolon or tab."""
    with path.open("rb") as stream:
        if b"\0" in stream.read(8192):
            msg = (
                f"{path.name!r} is not a CSV text file (it holds binary data). "
                "Export it as 'CSV UTF-8'."
            )
            raise TableError(msg)
    try:
        with path.open(encoding="utf-8-sig", newline="") as text:
            header, delimiter = _read_header(text)
            if not header:
                raise TableError(_empty(path))
            layout = find_columns(header)
            rows = _even_rows(csv.reader(text, delimiter=delimiter), header, delimiter)
            return _parse_rows(rows, layout, decimal_comma=delimiter != ",")
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


def _read_header(text: TextIO) -> tuple[list[str], str]:
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
                "per column; with decimal commas, separate the cells by ';'."
            )
            raise TableError(msg)
        yield row


def _read_parquet(path: Path) -> Table:
    """Return the contents of a Parquet file."""
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        msg = f"{path.name!r} is not a Parquet file. Save the table again, or as CSV."
        raise TableError(msg) from error
    columns = [column.to_pylist() for column in table.columns]
    rows = zip(*columns, strict=True)
    return _parse_rows(rows, find_columns(table.column_names), decimal_comma=False)


def _parse_rows(
    rows: Iterable[Sequence], layout: Layout, *, decimal_comma: bool
) -> Table:
    """Return the rows as numbers; what is no number becomes NaN and is listed."""
    id_position = layout.known["sample_id"]
    pick_numbers = itemgetter(layout.known["soc"], *layout.spectral)
    extra: dict[str, list] = {name: [] for name in layout.known if name not in REQUIRED}
    sample_ids, numbers, texts = [], [], []
    for row_number, row in enumerate(rows):
        sample_ids.append(_text(row[id_position]))
        for name, column in extra.items():
            column.append(_extra(name, row[layout.known[name]], decimal_comma))
        cells = pick_numbers(row)
        try:
            values = [float(cell) for cell in cells]
        except (TypeError, ValueError):
            parsed = [parse_number(cell, decimal_comma) for cell in cells]
            texts += [
                (row_number, band, str(cell))
                for band, (cell, value) in enumerate(
                    zip(cells, parsed, strict=True), start=SOC_CELL
                )
                if value is None
            ]
            values = [np.nan if value is None else value for value in parsed]
        numbers.append(np.array(values))
    matrix = np.array(numbers).reshape(len(numbers), 1 + len(layout.spectral))
    return Table(layout, sample_ids, matrix[:, 0], matrix[:, 1:], extra, texts)


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
    text = _text(cell)
    if text.lower() in MISSING_WORDS:
        return np.nan
    try:
        return float(text.replace(",", ".") if decimal_comma else text)
    except ValueError:
        return None


def _extra(name: str, cell: object, decimal_comma: bool) -> str | float:
    """Return a coordinate as a number (NaN where it is none), other cells as text."""
    if name not in COORDINATES:
        return _text(cell)
    value = parse_number(cell, decimal_comma)
    return np.nan if value is None else value


def _text(cell: object) -> str:
    """Return a cell as text, without spaces around it; "" for none."""
    return "" if cell is None else str(cell).strip()
