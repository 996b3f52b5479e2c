"""The rows of a user's table as samples with numbers.

Rows are taken one by one and kept in single precision: a library of 60,000 spectra
needs little more memory than its numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path

import numpy as np
import numpy.typing as npt

from soilnb.datasets.files.columns import (
    COORDINATES,
    REQUIRED,
    Layout,
    TableError,
    find_columns,
)
from soilnb.datasets.files.layouts import (
    SOC_FIELDS,
    TEXT_FIELDS,
    Published,
    add_plotcode,
    recognise,
)
from soilnb.datasets.files.table import (
    AS_WRITTEN,
    MISSING_WORDS,
    Source,
    as_text,
    find_files,
    open_table,
    parse_number,
    parse_numbers,
)

SOC_CELL = -1  # stands for the column soc where a band's number is expected
BLOCK_ROWS = 2048  # treated at once, so that a large table is not there twice
ROWS_PER_CALL = 500  # between two calls of `progress`: a fraction of a second

# Reasons to leave a row of a library out, as they are counted
NO_SOC = "have no SOC"
NO_SPECTRUM = "have no spectrum"
NO_ID = "have no id"
REPEATED_ID = "repeat the id of an earlier row"

Progress = Callable[[int, int, str], object]
Joined = dict[str, dict[str, dict[str, str]]]  # by the field that joins, and its value


@dataclass
class Table:
    """The rows of a table that are used; NaN for what is not a number.

    Attributes
    ----------
    layout : Layout
        Which column was what.
    every_row : bool
        Whether every row counts, and a bad one is a problem of the file.
    n_rows : int
        Data rows of the file, used or not.
    row_numbers : list of int
        Number of each used row in the file, from 1.
    sample_ids : list of str
        As written in the file.
    soc : ndarray of shape (n_samples,)
        In the unit of the file.
    spectra : ndarray of shape (n_samples, n_wavelengths)
        In the quantity of the file, by increasing wavelength; float32.
    extra : dict of str to list
        Further columns of `info`, such as country and group, if there.
    texts : list of (int, int, str)
        Row, band (column of `spectra`, or `SOC_CELL`) and content of the cells that
        should be numbers and are not.
    left_out : dict of str to int
        How many rows are not used, by the reason.
    keep : ndarray of shape (n_samples,)
        Whether a row is still used.
    files : list of str
        Names of the files that were read, the one with the spectra last.
    notes : list of str
        Sentences on what was joined.
    """

    layout: Layout
    every_row: bool = True
    n_rows: int = 0
    row_numbers: list[int] = field(default_factory=list)
    sample_ids: list[str] = field(default_factory=list)
    soc: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    spectra: npt.NDArray[np.float32] = field(
        default_factory=lambda: np.empty((0, 0), dtype=np.float32)
    )
    extra: dict[str, list] = field(default_factory=dict)
    texts: list[tuple[int, int, str]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    keep: npt.NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, dtype=bool))
    files: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def place(self, row: int) -> str:
        """Return how a user finds a row: its sample and its number from 1."""
        return f"sample {self.sample_ids[row]!r}, data row {self.row_numbers[row]}"

    def place_of(self, bad: npt.NDArray[np.bool_], start: int = 0) -> str:
        """Return where the first marked value of the spectra from `start` on is."""
        row, column = divmod(int(bad.argmax()), bad.shape[1])
        name = self.layout.spectral_names[column]
        return f"{self.place(start + row)}, column {name!r}"

    def drop(self, rows: npt.NDArray[np.bool_], reason: str) -> None:
        """Use the marked rows no more, and count them under the reason."""
        if count := int((rows & self.keep).sum()):
            self.left_out[reason] += count
            self.keep &= ~rows

    def nothing_left(self) -> str:
        """Return the message for a library of which no row can be used."""
        counts = ", ".join(f"{n:,} {reason}" for reason, n in self.left_out.items())
        return (
            f"None of {self.n_rows:,} rows can be used: {counts}. A library needs rows "
            "with both SOC and a spectrum."
        )


def row_blocks(n_rows: int) -> Iterator[slice]:
    """Yield slices of as many rows as are treated at once.

    Parameters
    ----------
    n_rows : int
        Number of rows in all.

    Yields
    ------
    slice
        At most `BLOCK_ROWS` rows.

    Examples
    --------
    >>> [block.stop for block in row_blocks(5000)]
    [2048, 4096, 5000]
    """
    for start in range(0, n_rows, BLOCK_ROWS):
        yield slice(start, min(start + BLOCK_ROWS, n_rows))


def read_table(
    path: Path, *, soc_required: bool = True, progress: Progress | None = None
) -> Table:
    """Return the rows of a table of spectra.

    Parameters
    ----------
    path : Path
        A CSV or Parquet file with sample_id, soc and one column per wavelength; or a
        table of a published library, with the tables that complete it beside it; or
        the folder that has these.
    soc_required : bool, default True
        Whether every row counts. Else rows without SOC or spectrum are left out, and
        of a published library rows without an id or with that of an earlier row.
    progress : callable, optional
        Called with bytes read, bytes in all and a text, several times a second.

    Returns
    -------
    Table
        Its columns, told apart, and its numbers.

    Raises
    ------
    TableError
        If the file is no such table, or no row is left; `problems` has everything
        found wrong.
    """
    path, others = find_files(path)
    tracker = _Tracker(progress, [*others, path])
    joined: Joined = {}
    fields: set[str] = set()
    notes: list[str] = []
    with open_table(path) as source:
        if published := recognise(source.names):
            for file in others:
                fields |= _join(file, published, joined, notes, tracker)
        layout = find_columns(source.names, fields)
        filling = _Filling(layout, joined, source.decimal_comma, soc_required)
        for row in tracker.follow(path, source):
            filling.add(row)
    tracker.finish()
    table = filling.finish()
    table.files = [file.name for file in (*others, path)]
    table.notes = notes
    if not table.n_rows:
        msg = f"{path.name!r} has a header but no samples. Add one row per sample."
        raise TableError(msg)
    if not table.sample_ids:
        raise TableError(table.nothing_left())
    return table


class _Tracker:
    """Counts the bytes that were read, for the progress."""

    def __init__(self, progress: Progress | None, files: list[Path]) -> None:
        self.progress = progress or (lambda *_: None)
        self.total = sum(file.stat().st_size for file in files)
        self.before = 0

    def follow(self, path: Path, source: Source) -> Iterator[Sequence]:
        """Yield the rows of a file, and say now and then how far it was read."""
        for number, row in enumerate(source.rows, 1):
            if number % ROWS_PER_CALL == 0:
                done = min(self.before + source.position(), self.total - 1)
                self.progress(done, self.total, f"{number:,} rows of {path.name}")
            yield row
        self.before += path.stat().st_size

    def finish(self) -> None:
        """Say that everything was read."""
        self.progress(self.total, self.total, "")


class _Filling:
    """A table while its rows come in."""

    def __init__(
        self, layout: Layout, joined: Joined, decimal_comma: bool, soc_required: bool
    ) -> None:
        self.table = Table(layout, every_row=soc_required)
        self.published = layout.published
        self.joined = joined
        self.decimal_comma = decimal_comma
        self.pick_spectrum = itemgetter(*layout.spectral)
        self.soc: list[float] = []
        self.seen: set[str] = set()
        self.spectra = np.empty((256, len(layout.spectral)), dtype=np.float32)

    def add(self, row: Sequence) -> None:
        """Take a row, unless there is a reason to leave it out."""
        table = self.table
        table.n_rows += 1
        fields = self._fields(row)
        soc, texts = self._soc(fields)
        cells = self.pick_spectrum(row)
        reason = self._reason(fields, soc, texts, cells)
        if not reason:
            texts += self._put_spectrum(cells)
            if self._lacks_spectrum(texts):
                reason = NO_SPECTRUM
        if reason:
            table.left_out[reason] += 1
            return
        table.texts += [(len(self.soc), band, text) for band, text in texts]
        table.row_numbers.append(table.n_rows)
        table.sample_ids.append(fields.get("sample_id", ""))
        self.seen.add(table.sample_ids[-1])
        self.soc.append(soc)
        for name, value in self._describe(fields).items():
            table.extra.setdefault(name, []).append(value)

    def finish(self) -> Table:
        """Return the table."""
        self.spectra.resize((len(self.soc), self.spectra.shape[1]), refcheck=False)
        self.table.spectra = self.spectra
        self.table.soc = np.array(self.soc, dtype=np.float64)
        self.table.keep = np.ones(len(self.soc), dtype=bool)
        return self.table

    def _fields(self, row: Sequence) -> dict[str, str]:
        """Return the cells that are no spectrum, with those of joined tables."""
        known = self.table.layout.known
        if self.published is None:
            return {name: as_text(row[position]) for name, position in known.items()}
        fields = _published_fields(row, known, self.decimal_comma)
        for key in self.published.keys:
            records = self.joined.get(key, {})
            fields = {**records.get(_join_value(fields.get(key, "")), {}), **fields}
        return fields

    def _describe(self, fields: dict[str, str]) -> Mapping[str, str | float]:
        """Return what is known of the sample beside its id and its numbers."""
        if self.published:
            return self.published.describe(fields)
        described: dict[str, str | float] = {}
        for name, text in fields.items():
            if name in COORDINATES:
                number = parse_number(text, self.decimal_comma)
                described[name] = np.nan if number is None else number
            elif name not in REQUIRED:
                described[name] = "" if text.lower() in MISSING_WORDS else text
        return described

    def _soc(self, fields: dict[str, str]) -> tuple[float, list[tuple[int, str]]]:
        """Return SOC, or NaN and the texts that stand in its place."""
        texts = []
        for name in SOC_FIELDS:
            number = parse_number(fields.get(name), self.decimal_comma)
            if number is None:
                texts.append((SOC_CELL, fields[name]))
            elif not np.isnan(number):
                return number, []
        return np.nan, texts

    def _reason(
        self,
        fields: dict[str, str],
        soc: float,
        texts: list[tuple[int, str]],
        cells: Sequence,
    ) -> str:
        """Return why a row is left out before its spectrum is read, or ""."""
        if self.table.every_row:
            return ""
        if not np.isfinite(soc) and (self.published or not texts):
            return NO_SOC
        if AS_WRITTEN.issuperset(cells):
            return NO_SPECTRUM
        if self.published and "sample_id" not in fields:
            return NO_ID
        if self.published and fields["sample_id"] in self.seen:
            return REPEATED_ID
        return ""

    def _put_spectrum(self, cells: Sequence) -> list[tuple[int, str]]:
        """Store a spectrum after the others; return the cells that are text."""
        place, width = len(self.soc), self.spectra.shape[1]
        if place == len(self.spectra):  # grown in place, so that no copy is made
            self.spectra.resize((place * 5 // 4, width), refcheck=False)
        if self.decimal_comma:
            cells = [cell.replace(",", ".") for cell in cells]
        numbers, texts = parse_numbers(cells)
        with np.errstate(over="ignore"):  # absurd values become infinite
            self.spectra[place] = numbers
        return texts

    def _lacks_spectrum(self, texts: list[tuple[int, str]]) -> bool:
        """Return whether the last spectrum is empty and its row not needed."""
        if self.table.every_row or (texts and not self.published):
            return False
        return bool(np.isnan(self.spectra[len(self.soc)]).all())


def _join(
    file: Path,
    published: Published,
    joined: Joined,
    notes: list[str],
    tracker: _Tracker,
) -> set[str]:
    """Add the samples of a table without spectra to `joined`; return its fields."""
    records: dict[str, dict[str, str]] = {}
    contradictory = set()
    with open_table(file, errors="replace") as source:
        known = published.find_fields(source.names)
        key = published.key_of(known) or ""
        for row in tracker.follow(file, source):
            fields = _published_fields(row, known, source.decimal_comma)
            value = _join_value(fields.get(key, ""))
            first = records.setdefault(value, fields)
            if any(first.get(name) != fields.get(name) for name in SOC_FIELDS):
                contradictory.add(value)
    records.pop("", None)
    for value in contradictory & set(records):
        for name in SOC_FIELDS:
            records[value].pop(name, None)
    if contradictory:
        notes.append(
            f"{file.name} has {len(contradictory)} samples more than once with "
            "different SOC: it is not used."
        )
    others = joined.setdefault(key, {})
    for value, fields in records.items():
        others[value] = {**fields, **others.get(value, {})}
    return set(known)


def _published_fields(
    row: Sequence, known: Mapping[str, int], decimal_comma: bool
) -> dict[str, str]:
    """Return the fields of a row of a published library that are not missing."""
    fields = {}
    for name, position in known.items():
        text = as_text(row[position])
        # Namibia's code is NA
        if text.lower() not in MISSING_WORDS or (name == "iso" and text):
            is_number = decimal_comma and name not in TEXT_FIELDS
            fields[name] = text.replace(",", ".") if is_number else text
    return add_plotcode(fields)


def _join_value(value: str) -> str:
    """Return a value by which tables are joined: 12.0 is 12."""
    return value.removesuffix(".0")
