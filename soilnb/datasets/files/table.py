"""The files of a user's table: which they are, their cells, and tables to be turned."""

import csv
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from soilnb.datasets.files.columns import (
    MIN_WAVELENGTHS,
    SAY_CONVERT,
    Floats,
    reach,
    wavelength_columns,
)
from soilnb.datasets.files.layouts import SOC_FIELDS, recognise
from soilnb.datasets.files.roles import TableError, read_name, refuse

TEXTS = (".csv", ".csv.gz", ".tab", ".tsv", ".txt", ".txt.gz", ".zip")
OF_ONE = (".asd", ".dpt", ".sed", ".sig", ".0")  # one spectrum each
WORKBOOKS = (".xlsx", ".ods", ".xls")
SUFFIXES = (*TEXTS, ".parquet", *WORKBOOKS)
LISTED = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
OF_GZIP = (gzip.BadGzipFile, EOFError, zlib.error)  # errors
GZIP_START = b"\x1f\x8b"
UTF16_STARTS = (b"\xff\xfe", b"\xfe\xff")  # as Excel writes "Unicode text"
BLOCK_CELLS = 400_000  # of text that are read at once
EMPTY = "{!r} is empty. Save a header and one row per sample in it."
LINES_AHEAD = 100  # among which the header is looked for
MARKS = ";\t,|"  # between cells
COMMA = re.compile(r"-?\d+,\d+")
IN_QUOTES = re.compile(r'(?<![^,;\t|\r\n])"[^"]{0,200}"(?=[,;\t|\r\n])')
OF_THOUSANDS = re.compile(r"[1-9]\d{0,2},\d{3}")
BATCH_ROWS = 1024  # of a Parquet file that are read at once
MISSING_WORDS = {"", "na", "n/a", "n.a.", "nan", "null", "none", "missing", "<na>"}
MISSING_WORDS |= {"#n/a", "#value!", "#div/0!", "-", "--", "–", "—", "."}
Batch = list[pa.Array]  # some rows, column by column
T = TypeVar("T")


def is_table(path: str | Path) -> bool:
    """Return whether a path is named like a table, or is a folder that has tables.

    It need not exist.

    >>> is_table("soils/ossl_all_L1_v1.2.csv.gz"), is_table("farms")
    (True, False)
    """
    path = Path(path)
    files = path.iterdir() if path.is_dir() else ()
    return has_suffix(path) or any(f.is_file() and has_suffix(f) for f in files)


def stem(path: str | Path) -> str:
    """Return the name of a file without the suffix of a table, or of a folder."""
    name = Path(path).name
    cut = max((len(end) for end in SUFFIXES if name.lower().endswith(end)), default=0)
    return name[: len(name) - cut]


def has_suffix(path: Path) -> bool:
    """Return whether a name ends like that of a table."""
    return path.name.lower().endswith(SUFFIXES)


def find_files(path: Path) -> tuple[Path, list[Path]]:
    """Return the file with the spectra and those that give SOC or places to them.

    `path` is a table, or a folder with the tables of a published library; a ValueError
    if it is neither.
    """
    if path.is_dir():
        found = [
            file
            for file, names in _tables_in(path).items()
            if (published := recognise(names)) and published.has_spectra(names)
        ]
        if len(found) != 1:
            what, which = "out the spectra of OSSL or ICRAF-ISRIC", "a file"
            if found:
                listed, which = ", ".join(file.name for file in found), "one of them"
                what = f" {len(found)} tables of spectra ({listed})"
            refuse(f"{path.name!r} is a folder with{what}. Give the path of {which}.")
        path = found[0]
    elif not has_suffix(path):
        say = SAY_CONVERT if path.suffix.lower() in OF_ONE else "Save it as CSV."
        refuse(f"A file of spectra must end in {LISTED}, got {path.name!r}. {say}")
    with open_table(path) as source:
        names = source.names
    published = recognise(names)
    if published is None or {*SOC_FIELDS} & set(published.find_fields(names)):
        return path, []
    return path, [
        file
        for file, names in _tables_in(path.parent).items()
        if file != path
        and not published.has_spectra(names)
        and published.completes(names)
    ]


def _tables_in(folder: Path) -> dict[Path, list[str]]:
    """Return the column names of the tables in a folder, none of what is no table."""
    tables: dict[Path, list[str]] = {}
    for file in sorted(folder.iterdir()):
        if file.is_file() and has_suffix(file):
            tables[file] = []
            with suppress(TableError), open_table(file) as source:
                tables[file] = source.names
    return tables


@dataclass(frozen=True)
class Source:
    """An open table: its column names, blocks of rows, and bytes by rows read."""

    names: list[str]
    batches: Iterator[Batch]
    position: Callable[[int], int]
    decimal_comma: bool = False
    notes: tuple[str, ...] = ()


class EncodingError(TableError):
    """Text that is not UTF-8, but may be Windows-1252."""


@contextmanager
def open_table(path: Path, encoding: str = "") -> Iterator[Source]:
    """Open a table; what is wrong with it while it is read becomes a TableError.

    Bytes that are no text are replaced where no encoding is asked for.
    """
    if not path.stat().st_size:
        refuse(EMPTY.format(path.name))
    if (suffix := path.suffix.lower()) in WORKBOOKS:
        yield _read_workbook(path)
    elif suffix == ".parquet":
        yield from _read_parquet(path)
    else:
        yield from _read_text(path, encoding)


def _read_text(path: Path, encoding: str) -> Iterator[Source]:
    """Yield a text file: comma, semicolon, tab, bar or spaces; plain, gzip or zip."""
    try:
        with path.open("rb") as raw:
            text = _open_text(raw, path, encoding)
            yield _read_csv(text, path, lambda _: raw.tell())
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        msg = (
            f"{path.name!r} is not UTF-8 text (byte 0x{byte:02x}). "
            "Save it as 'CSV UTF-8'."
        )
        letter = bytes([byte]).decode("cp1252", "replace")
        is_letter = letter.isalpha() or letter in "°²³"
        raise (EncodingError if is_letter else TableError)(msg) from error
    except csv.Error as error:
        msg = f"{path.name!r} is not a CSV file ({error}). Export it as 'CSV UTF-8'."
        raise TableError(msg) from error
    except (zipfile.BadZipFile, *OF_GZIP) as error:
        kind = "gzip" if isinstance(error, OF_GZIP) else "zip"
        msg = f"{path.name!r} is not a whole {kind} file ({error}). Fetch it again."
        raise TableError(msg) from error


def _open_text(raw: io.BufferedReader, path: Path, encoding: str) -> io.TextIOWrapper:
    """Return the text of a file, unpacked if it is packed, whatever it is called."""
    packed: Any = raw
    if raw.peek(2).startswith(GZIP_START):
        packed = gzip.GzipFile(fileobj=raw)
    elif zipfile.is_zipfile(raw):
        archive = zipfile.ZipFile(raw)
        inside = [name for name in archive.namelist() if has_suffix(Path(name))]
        inside = [name for name in inside if not name.startswith("__MACOSX")]
        if len(inside) > 1:
            refuse(
                f"{path.name!r} is a packed file with {len(inside)} tables in it. "
                "Unpack it and give the path of one table."
            )
        packed = archive.open(inside[0]) if inside else raw
    if packed is raw:
        raw.seek(0)
    start, errors = packed.peek(8192)[:8192], "strict" if encoding else "replace"
    if start[:2] in UTF16_STARTS:
        encoding = "utf-16"
    elif b"\0" in start:
        refuse(
            f"{path.name!r} is not a CSV text file (it holds binary data). "
            "Export it as 'CSV UTF-8'."
        )
    encoding = encoding or "utf-8-sig"
    return io.TextIOWrapper(packed, encoding=encoding, errors=errors, newline="")


def _read_csv(
    text: Iterable[str], path: Path, position: Callable[[int], int]
) -> Source:
    """Return a text as a table; lines above its header, such as a title, are left out.

    The last comment is the header itself if it has as many columns as the line below,
    as NumPy writes it. R writes no name for the column of the names of the rows.
    """
    text = iter(text)
    some = "".join(islice(text, LINES_AHEAD))
    some = IN_QUOTES.sub(lambda cell: re.sub(r"[\r\n]+", " ", cell[0]), some)
    lines = [line for line in io.StringIO(some, newline="") if line.strip()]
    lines = [line for line in lines if not line.startswith("sep=")]
    plain = [line for line in lines if line[0] != "#"] or lines[-1:]
    if not plain:
        refuse(EMPTY.format(path.name))
    start = lines.index(plain[0])
    width = {mark: max(len(_split(line, mark)) for line in plain) for mark in MARKS}
    mark = max(width, key=width.__getitem__)
    if width[mark] == 1 and len(plain[-1].split()) > MIN_WAVELENGTHS:
        lines, mark = [" ".join(line.split()) for line in lines], " "
        text = (" ".join(line.split()) for line in text)
    rows = [_split(line, mark) for line in lines]
    place, names = _find_header(rows, start)
    above, rows = lines[:place], rows[place + 1 :]
    if above and above[-1][0] == "#" and 1 < len(names) == len(_split(above[-1], mark)):
        rows.insert(0, names)
        names = _split(above.pop()[1:], mark)
    following = lines[-len(rows) :] if rows else []
    if rows and len(rows[0]) == len(names) + 1 > 2:
        ends = {row[-1].strip() for row in rows if len(row) == len(names) + 1}
        names = [*names, ""] if ends == {""} else ["", *names]
    elif rows and not names[-1] and len(rows[0]) == len(names) - 1:
        names.pop()
    what = "comment line" if all(line[0] == "#" for line in above) else "line"
    many = "s above the header were" if len(above) > 1 else " above the header was"
    notes = (f"{len(above)} {what}{many} skipped.",) if above else ()
    batches = _read_batches(chain(following, text), mark, len(names))
    decimal_comma = mark not in ", |" or _have_commas(rows)
    return Source(names, batches, position, decimal_comma, notes)


def _split(line: str, mark: str) -> list[str]:
    """Return the cells of a line."""
    return next(csv.reader([line], delimiter=mark, skipinitialspace=True), [])


def _find_header(rows: Sequence[list[str]], start: int = 0) -> tuple[int, list[str]]:
    """Return the place and names of the first row of more than half the most cells.

    It is the next if that has the wavelengths. What is blank in it may stand above.
    """
    n_filled = [sum(map(bool, row)) for row in rows]
    half = max(n_filled[start:]) / 2
    place = next(n for n in range(start, len(rows)) if n_filled[n] > half)
    if rows[place + 1 :] and not reach(rows[place]) and reach(rows[place + 1]):
        place += 1
    names = above = [*rows[place]]
    if place and n_filled[place - 1] > 1 and len(rows[place - 1]) == len(names):
        above = [*rows[place - 1]]
    return place, [name or other for name, other in zip(names, above, strict=True)]


def _have_commas(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the numbers of a table have decimal commas."""
    return sum(map(bool, map(COMMA.fullmatch, chain(*rows[:1])))) >= MIN_WAVELENGTHS


def _read_batches(lines: Iterable[str], mark: str, n_columns: int) -> Iterator[Batch]:
    """Yield the rows below the header that are not blank, as text."""
    rows = csv.reader(lines, delimiter=mark, skipinitialspace=True)
    filled = enumerate((row for row in rows if any(map(str.strip, row))), 1)
    while block := list(islice(filled, 1 + BLOCK_CELLS // n_columns)):
        for number, row in block:
            if len(row) == 1 < number:  # a note below the table
                row += [""] * (n_columns - 1)
            if len(row) != n_columns:
                refuse(
                    f"Data row {number} has {len(row)} cells but the header has "
                    f"{n_columns} (separated by {mark!r}). Give every row one "
                    "cell per column; with decimal commas, separate the cells by ';'. "
                    "A file that was whole before may be damaged: fetch it again."
                )
        yield from to_batches([row for _, row in block])


def _read_parquet(path: Path) -> Iterator[Source]:
    """Yield a Parquet file; it is read by batches of rows."""
    from pyarrow.parquet import ParquetFile  # 30 MiB that a CSV file need not have

    try:
        with ParquetFile(path) as file:
            share = path.stat().st_size / max(file.metadata.num_rows, 1)
            batches = (batch.columns for batch in file.iter_batches(BATCH_ROWS))
            yield Source(file.schema_arrow.names, batches, lambda n: int(n * share))
    except (pa.ArrowException, OSError) as error:
        msg = f"{path.name!r} is not a Parquet file. Save the table again, or as CSV."
        raise TableError(msg) from error


def _read_workbook(path: Path) -> Source:
    """Return the first sheet with wavelengths of a workbook, else that with cells."""
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
        refuse(EMPTY.format(path.name))
    spectral = (n for n, rows in sheets.items() if not wavelength_columns(rows[0])[1])
    name = next(spectral, next(iter(sheets)))
    names, *rows = sheets[name]
    of = f", one of {len(found)}" if len(found) > 1 else ""
    note = f"The sheet {name!r} was read{of}."
    soc = [(s, c) for s, rows in sheets.items() for c in rows[0] if read_name(c).kind]
    if soc and name not in dict(soc):
        note += " The sheet {!r} has {!r}, which is not read: ".format(*soc[0])
        note += "copy it, or save that sheet as a CSV file and give it as 'measured'."
    size = path.stat().st_size
    comma, batches = _have_commas(rows), to_batches(rows)
    return Source(names, batches, lambda _: size, comma, notes=(note,))


def _table_in(cells: Iterable[Iterable[object]]) -> list[list[str]]:
    """Return the table of a sheet as text, without the lines above and between."""
    texts = [[_as_text(cell) for cell in row] for row in cells]
    if not (filled := [row for row in texts if any(row)]):
        return []
    place, names = _find_header(filled)
    return [names, *filled[place + 1 :]]


def to_batches(rows: Sequence[Sequence[str]]) -> Iterator[Batch]:
    """Yield rows of texts as columns, if there are any."""
    if rows:
        yield [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]


def parse_numbers(
    cells: pa.Array | Iterable[str], decimal_comma: bool = False
) -> tuple[Floats, list[tuple[int, str]]]:
    """Return cells as numbers, NaN for missing ones, and place and text of others."""
    if not isinstance(cells, pa.Array):
        cells = pa.array(cells, pa.string())
    if not pa.types.is_string(cells.type):
        with suppress(pa.ArrowException):  # no numbers, or of a type without a cast
            return _strictly(cells), []
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
    filled = [cell for cell in cells.to_pylist() if cell]
    commas = [cell for cell in filled if "," in cell]
    is_other = "." in "".join(filled) or all(map(OF_THOUSANDS.fullmatch, commas))
    if len(commas) > 1 and all(map(COMMA.fullmatch, commas)) and not is_other:
        return parse_numbers(cells, decimal_comma=True)
    numbers, texts = np.full(len(cells), np.nan), []
    for place, cell in enumerate(cells.to_pylist()):
        try:
            numbers[place] = np.nan if cell is None else float(cell)
        except ValueError:
            texts.append((place, cell))
    return numbers, texts


def _strictly(cells: pa.Array) -> Floats:
    """Return cells as numbers, or raise: to pyarrow "nan(low)" is a number, too."""
    numbers = pc.cast(cells, pa.float64()).to_numpy(zero_copy_only=False)
    if pa.types.is_string(cells.type) and np.isnan(numbers).sum() > cells.null_count:
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


def is_missing(texts: pd.Series) -> pd.Series:
    """Return which cells are empty or say that they are missing."""
    return texts.str.lower().isin(MISSING_WORDS)


def in_its_encoding(read: Callable[..., T], *given: Any) -> T:
    """Return what `read` makes of a table in UTF-8, or else in Windows-1252."""
    with suppress(EncodingError):
        return read(*given, "utf-8-sig")
    return read(*given, "cp1252")


def to_frame(batches: Iterable[Batch], places: Mapping[Any, int]) -> pd.DataFrame:
    """Return columns of a table as text, by what they are called in `places`."""
    parts = [
        pd.DataFrame({name: as_texts(batch[place]) for name, place in places.items()})
        for batch in batches
    ]
    return pd.concat(parts or [pd.DataFrame(columns=[*places])], ignore_index=True)
