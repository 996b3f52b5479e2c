"""The files of a user's table: which they are, and their cells block by block."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from soilnb.datasets.files.columns import TableError, wavelength_columns
from soilnb.datasets.files.layouts import SOC_FIELDS, recognise

SUFFIXES = (".csv", ".csv.gz", ".tab", ".tsv", ".txt", ".parquet", ".xlsx", ".xls")
LISTED = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
GZIP_START = b"\x1f\x8b"
CELL_BYTES = 2048  # for each column: text that is read at once, of 200 rows or so
UTF16_STARTS = (b"\xff\xfe", b"\xfe\xff")  # as Excel writes "Unicode text"
MIN_BLOCK_BYTES = 1 << 20
BATCH_ROWS = 1024  # of a Parquet file that are read at once
MISSING_WORDS = frozenset(
    {"", "na", "n/a", "n.a.", "nan", "null", "none", "missing", "<na>", "#n/a", "-"}
    | {"."}
)


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
    return has_suffix(path) or (path.is_dir() and bool(_tables_in(path)))


def stem(path: str | Path) -> str:
    """Return the name of a file without the suffix of a table, or of a folder.

    >>> stem("soils/ossl_all_L1_v1.2.csv.gz"), stem("ossl_v1.2")
    ('ossl_all_L1_v1.2', 'ossl_v1.2')
    """
    name = Path(path).name
    cut = max((len(end) for end in SUFFIXES if name.lower().endswith(end)), default=0)
    return name[: len(name) - cut]


def has_suffix(path: Path) -> bool:
    """Return whether a name ends like that of a table."""
    return path.name.lower().endswith(SUFFIXES)


def find_files(path: Path) -> tuple[Path, list[Path]]:
    """Return the file with the spectra and the files that complete it.

    Parameters
    ----------
    path : Path
        A table, or a folder with the tables of a published library.

    Returns
    -------
    spectra : Path
        The table of spectra.
    others : list of Path
        Tables beside it that give SOC or places to the spectra.

    Raises
    ------
    ValueError
        If it is no table, or a folder without one table of spectra.
    """
    if path.is_dir():
        path = _find_spectra(path)
    elif not has_suffix(path):
        msg = (
            f"A file of spectra must end in {LISTED}, got {path.name!r}. Save it as "
            "CSV."
        )
        raise TableError(msg)
    with open_table(path, errors="replace") as source:
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
    return sorted(filter(has_suffix, files))


def _names_of(path: Path) -> list[str]:
    """Return the column names of a table, none of a file that is no table."""
    try:
        with open_table(path, errors="replace") as source:
            return source.names
    except TableError:
        return []


@dataclass(frozen=True)
class Source:
    """An open table: its column names, blocks of rows and how far it was read."""

    names: list[str]
    batches: Iterator[pa.RecordBatch]
    position: Callable[[], int]
    decimal_comma: bool = False
    notes: tuple[str, ...] = ()


class EncodingError(TableError):
    """Text that is not UTF-8, but may be Windows-1252."""


@contextmanager
def open_table(
    path: Path, errors: str = "strict", encoding: str = "utf-8-sig"
) -> Iterator[Source]:
    """Open a table; what is wrong with it while it is read becomes a TableError."""
    if not path.stat().st_size:
        raise TableError(_empty(path))
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        opened = _open_parquet(path)
    elif suffix in (".xlsx", ".xls"):
        opened = _open_excel(path)
    else:
        opened = _open_csv(path, errors, encoding)
    with opened as source:
        yield source


def _empty(path: Path) -> str:
    """Return the message for a file without content."""
    return f"{path.name!r} is empty. Save a header and one row per sample in it."


@contextmanager
def _open_csv(path: Path, errors: str, encoding: str) -> Iterator[Source]:
    """Open a text file: comma, semicolon or tab; plain or gzip."""
    try:
        with path.open("rb") as raw:
            text = _open_text(raw, path, errors, encoding)
            header = _read_header(text)
            if not header.names:
                raise TableError(_empty(path))
            batches = _read_batches(text, header, path)
            names, comma = header.names, header.delimiter != ","
            yield Source(names, batches, raw.tell, comma, header.notes)
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        msg = (
            f"{path.name!r} is not UTF-8 text (byte 0x{byte:02x}). "
            "Save it as 'CSV UTF-8'."
        )
        letter = bytes([byte]).decode("cp1252", "replace")
        kind = EncodingError if letter.isalpha() or letter in "°²³" else TableError
        raise kind(msg) from error
    except (csv.Error, pa.ArrowInvalid) as error:
        msg = f"{path.name!r} is not a CSV file ({error}). Export it as 'CSV UTF-8'."
        raise TableError(msg) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        msg = f"{path.name!r} is not a whole gzip file ({error}). Fetch it again."
        raise TableError(msg) from error


def _open_text(
    raw: io.BufferedReader, path: Path, errors: str, encoding: str
) -> io.TextIOWrapper:
    """Return the text of a file, unpacked if it is gzip, whatever it is called."""
    packed = raw.peek(2).startswith(GZIP_START)
    stream = gzip.GzipFile(fileobj=raw) if packed else raw
    start = stream.peek(8192)[:8192]
    if start[:2] in UTF16_STARTS:
        encoding = "utf-16"
    elif b"\0" in start:
        msg = (
            f"{path.name!r} is not a CSV text file (it holds binary data). "
            "Export it as 'CSV UTF-8'."
        )
        raise TableError(msg)
    return io.TextIOWrapper(
        stream,  # type: ignore[type-var]
        encoding=encoding,
        errors=errors,
        newline="",
    )


@dataclass(frozen=True)
class _Header:
    """The names of the columns, the mark between them, and the line that follows."""

    names: list[str]
    delimiter: str
    next_line: str
    notes: tuple[str, ...]


def _read_header(text: Iterable[str]) -> _Header:
    """Return the header: that which has most columns, below comments.

    The last comment is the header itself if it has as many columns as the next line;
    R writes none for the names of the rows.
    """
    lines = (line for line in text if line.strip() and not line.startswith("sep="))
    comments = []
    line = next(lines, "")
    while line.startswith("#"):
        comments.append(line)
        line = next(lines, "")
    if comments and not line:
        line = comments.pop()
    delimiter = max(";\t,", key=lambda mark: len(_split(line, mark)))
    names, following = _split(line, delimiter), ""
    if comments and 1 < len(names) == len(_split(comments[-1], delimiter)):
        names, following = _split(comments.pop()[1:], delimiter), line
    elif len(_split(following := next(lines, ""), delimiter)) == len(names) + 1 > 2:
        row = _split(following, delimiter)
        names = names if row[-1].strip() in ("", '"') else ["", *names]
    n = len(comments)
    note = f"{n} comment line{'s' if n > 1 else ''} above the header were skipped."
    return _Header(names, delimiter, following, (note,) if n else ())


def _split(line: str, delimiter: str) -> list[str]:
    """Return the cells of a line."""
    return next(csv.reader([line], delimiter=delimiter), [])


class _Utf8(io.RawIOBase):
    """Text as bytes of UTF-8, as pyarrow reads them."""

    def __init__(self, text: io.TextIOWrapper, first: str = "") -> None:
        self.text = text
        self.first = first

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes: a character has up to four."""
        most = max(size // 4, 1)
        if self.first:
            part, self.first = self.first[:most], self.first[most:]
            return part.encode()
        return self.text.read(most).encode()


def _read_batches(
    text: io.TextIOWrapper, header: _Header, path: Path
) -> Iterator[pa.RecordBatch]:
    """Yield the rows below the header that are not blank, as text."""
    n_columns, delimiter = len(header.names), header.delimiter
    names = [str(number) for number in range(n_columns)]
    if not header.next_line:
        return
    try:
        with pyarrow.csv.open_csv(
            pa.PythonFile(_Utf8(text, header.next_line), mode="r"),
            read_options=pyarrow.csv.ReadOptions(
                column_names=names,
                block_size=max(MIN_BLOCK_BYTES, CELL_BYTES * n_columns),
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=delimiter,
                newlines_in_values=True,
                invalid_row_handler=lambda row: (
                    "error" if row.text.strip(f'{delimiter}" \t') else "skip"
                ),
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                check_utf8=False, column_types=dict.fromkeys(names, pa.string())
            ),
        ) as reader:
            for batch in reader:
                yield _drop_blank(batch)
    except pa.ArrowInvalid:
        if _check_lengths(path, text.errors or "", text.encoding):
            raise


def _drop_blank(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Leave out the rows that have nothing but spaces."""
    blank = np.ones(len(batch), dtype=bool)
    for position in range(batch.num_columns):
        trimmed = pc.utf8_trim_whitespace(batch.column(position))
        blank &= pc.equal(trimmed, "").to_numpy(zero_copy_only=False)
        if not blank.any():
            return batch
    return batch.filter(pa.array(~blank))


def _check_lengths(path: Path, errors: str, encoding: str) -> int:
    """Return the number of rows; raise TableError unless all have as many cells."""
    number = 0
    with path.open("rb") as raw:
        text = _open_text(raw, path, errors, encoding)
        header = _read_header(text)
        names, delimiter = header.names, header.delimiter
        rows = csv.reader(chain([header.next_line], text), delimiter=delimiter)
        filled = (row for row in rows if any(cell.strip() for cell in row))
        for number, row in enumerate(filled, 1):
            if len(row) != len(names):
                msg = (
                    f"Data row {number} has {len(row)} cells but the header has "
                    f"{len(names)} (separated by {delimiter!r}). Give every row one "
                    "cell per column; with decimal commas, separate the cells by ';'. "
                    "A file that was whole before may be damaged: fetch it again."
                )
                raise TableError(msg)
    return number


@contextmanager
def _open_parquet(path: Path) -> Iterator[Source]:
    """Open a Parquet file; it is read by batches of rows."""
    from pyarrow.parquet import ParquetFile  # 30 MiB that a CSV file need not have

    n_read = 0

    def read_batches(file: ParquetFile) -> Iterator[pa.RecordBatch]:
        nonlocal n_read
        for batch in file.iter_batches(batch_size=BATCH_ROWS):
            n_read += len(batch)
            yield batch

    try:
        with ParquetFile(path) as file:
            share = path.stat().st_size / max(file.metadata.num_rows, 1)
            names, batches = file.schema_arrow.names, read_batches(file)
            yield Source(names, batches, lambda: int(n_read * share))
    except (pa.ArrowException, OSError) as error:
        msg = f"{path.name!r} is not a Parquet file. Save the table again, or as CSV."
        raise TableError(msg) from error


@contextmanager
def _open_excel(path: Path) -> Iterator[Source]:
    """Open a workbook: its first sheet with wavelengths, else its first with cells."""
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        with CalamineWorkbook.from_path(str(path)) as book:
            found = {
                name: _table_in(book.get_sheet_by_name(name).to_python())
                for name in book.sheet_names
            }
    except (CalamineError, OSError, ValueError) as error:
        msg = f"{path.name!r} is not an Excel file ({error}). Save it as CSV."
        raise TableError(msg) from error
    sheets = {name: rows for name, rows in found.items() if rows}
    if not sheets:
        raise TableError(_empty(path))
    spectral = (n for n, rows in sheets.items() if not wavelength_columns(rows[0])[1])
    name = next(spectral, next(iter(sheets)))
    names, *rows = sheets[name]
    of = f", one of {len(found)}" if len(found) > 1 else ""
    note = f"The sheet {name!r} was read{of}."
    size = path.stat().st_size
    yield Source(
        names, iter([make_batch(rows, len(names))]), lambda: size, False, (note,)
    )


def _table_in(cells: Iterable[Iterable[object]]) -> list[list[str]]:
    """Return the table of a sheet as text, without the lines above and between."""
    texts = [[_as_text(cell) for cell in row] for row in cells]
    filled = [row for row in texts if any(row)]
    widest = max((sum(map(bool, row)) for row in filled), default=0)
    first = next((n for n, r in enumerate(filled) if 2 * sum(map(bool, r)) > widest), 0)
    return filled[first:]


def make_batch(rows: Iterable[Sequence[str]], n_columns: int) -> pa.RecordBatch:
    """Return rows of texts as columns."""
    columns = list(zip(*rows, strict=True)) or [()] * n_columns
    names = [str(number) for number in range(n_columns)]
    arrays = [pa.array(column, pa.string()) for column in columns]
    return pa.RecordBatch.from_arrays(arrays, names)


def parse_numbers(
    cells: pa.Array, decimal_comma: bool = False
) -> tuple[npt.NDArray[np.float64], list[tuple[int, str]]]:
    """Return cells as numbers, NaN for missing ones, and place and text of the others.

    >>> parse_numbers(pa.array(["0.5", "NA", "low"]))
    (array([0.5, nan, nan]), [(2, 'low')])
    """
    if not pa.types.is_string(cells.type):
        with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return _to_numpy(cells), []
        cells = pa.array(as_texts(cells), pa.string())
    if decimal_comma:
        cells = pc.replace_substring(cells, ",", ".")
    with suppress(pa.ArrowInvalid):
        return _strictly(cells), []
    cells = pc.utf8_trim_whitespace(cells)
    words = pa.array(MISSING_WORDS, pa.string())
    is_missing = pc.is_in(pc.utf8_lower(cells), value_set=words)
    cells = pc.if_else(is_missing, None, cells)
    with suppress(pa.ArrowInvalid):
        return _strictly(cells), []
    numbers, texts = np.full(len(cells), np.nan), []
    for place, cell in enumerate(cells.to_pylist()):
        try:
            numbers[place] = np.nan if cell is None else float(cell)
        except ValueError:
            texts.append((place, cell))
    return numbers, texts


def _to_numpy(cells: pa.Array) -> npt.NDArray[np.float64]:
    """Return cells as numbers, or raise what pyarrow raises."""
    return pc.cast(cells, pa.float64()).to_numpy(zero_copy_only=False)


def _strictly(cells: pa.Array) -> npt.NDArray[np.float64]:
    """Return texts as numbers, or raise: to pyarrow "nan(low)" is a number, too."""
    numbers = _to_numpy(cells)
    if np.isnan(numbers).sum() > cells.null_count:
        raise pa.ArrowInvalid
    return numbers


def as_texts(cells: pa.Array) -> list[str]:
    """Return cells as text, without spaces around it; "" for none."""
    return [_as_text(cell) for cell in cells.to_pylist()]


def _as_text(cell: object) -> str:
    """Return a cell as text; a whole number that is a float for its table's sake."""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return "" if cell is None else str(cell).strip()


def parse_texts(texts: Sequence[str], decimal_comma: bool = False) -> npt.NDArray:
    """Return texts as numbers, NaN for those that are none."""
    return parse_numbers(pa.array(texts, pa.string()), decimal_comma)[0]
