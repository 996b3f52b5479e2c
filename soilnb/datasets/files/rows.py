"""The rows of a user's table as samples with numbers.

They are read block by block and kept in single precision: a library of 60,000 spectra
needs little more memory than its numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from soilnb.datasets.files.columns import (
    NUMBER_COLUMNS,
    REQUIRED,
    Layout,
    TableError,
    find_columns,
)
from soilnb.datasets.files.kinds import turn
from soilnb.datasets.files.layouts import (
    SOC_FIELDS,
    TEXT_FIELDS,
    Published,
    add_plotcode,
    recognise,
)
from soilnb.datasets.files.table import (
    MISSING_WORDS,
    EncodingError,
    Source,
    as_texts,
    find_files,
    open_table,
    parse_numbers,
    parse_texts,
)
from soilnb.datasets.files.told import Told

SOC_CELL = -1  # stands for the column soc where a band's number is expected
BLOCK_ROWS = 2048  # treated at once, so that a large table is not there twice
ROWS_PER_CALL = 500  # between two calls of `progress`: a fraction of a second

# Reasons to leave a row of a library out, as they are counted
NO_SOC = "have no SOC"
NO_SPECTRUM = "have no spectrum"
NO_ID = "have no id"
REPEATED_ID = "repeat the id of an earlier row"

Progress = Callable[[int, int, str], object]
Record = dict[str, str]  # the cells of a row that are no spectrum, by their field
Joined = dict[str, dict[str, Record]]  # by the field that joins, and its value
Text = tuple[int, int, str]  # row, band or SOC_CELL, and what stands there


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a table that are used; NaN for what is not a number.

    `numbers` are those of the rows in the file, from 1, which has `n_rows`; `spectra`
    (float32) and `soc` are in the units of the file; `texts` are the cells that should
    be numbers and are not; `left_out` counts the rows that are not used, by reason.
    """

    layout: Layout
    every_row: bool  # counts, as in a site, and a bad one is a problem of the file
    n_rows: int
    numbers: list[int]
    sample_ids: list[str]
    soc: npt.NDArray[np.float64]
    spectra: npt.NDArray[np.float32]
    extra: dict[str, list]  # further columns of `info`, such as country and group
    texts: list[Text]
    left_out: Counter[str]
    files: tuple[str, ...]  # that were read, the one with the spectra last
    notes: tuple[str, ...]  # on what was joined

    def place(self, row: int) -> str:
        """Return how a user finds a row: its sample and its number from 1."""
        return f"sample {self.sample_ids[row]!r}, data row {self.numbers[row]}"

    def place_of(self, bad: npt.NDArray[np.bool_], start: int = 0) -> str:
        """Return where the first marked value of the spectra from `start` on is."""
        row, column = divmod(int(bad.argmax()), bad.shape[1])
        name = self.layout.spectral_names[column]
        return f"{self.place(start + row)}, column {name!r}"


def nothing_left(n_rows: int, left_out: Mapping[str, int]) -> str:
    """Return the message for a library of which no row can be used."""
    counts = ", ".join(f"{n:,} {reason}" for reason, n in left_out.items())
    return (
        f"None of {n_rows:,} rows can be used: {counts}. A library needs rows "
        "with both SOC and a spectrum."
    )


def row_blocks(n_rows: int) -> Iterator[slice]:
    """Yield slices of as many rows as are treated at once."""
    for start in range(0, n_rows, BLOCK_ROWS):
        yield slice(start, min(start + BLOCK_ROWS, n_rows))


def read_rows(
    path: Path,
    told: Told | None = None,
    *,
    every_row: bool = True,
    progress: Progress | None = None,
) -> Rows:
    """Return the rows of a table, or of the tables of a published library.

    Where not every row counts, rows without SOC or a spectrum are left out, and of a
    published library rows without an id or with that of an earlier row. Where each
    does, the table may have no SOC at all.
    """
    folder = path.is_dir()
    path, others = find_files(path)
    tracker = _Tracker(progress, [*others, path])
    made = (told or Told(), others, tracker, every_row)
    try:
        try:
            return _read_rows(path, "utf-8-sig", *made)
        except EncodingError:
            tracker.before = 0
            return _read_rows(path, "cp1252", *made)
    except TableError as error:
        if folder and path.name not in error.problems[0]:
            first, *more = error.problems
            msg = f"{path.name}: {first}"
            raise TableError(msg, *more) from error
        raise


def _read_rows(
    path: Path,
    encoding: str,
    told: Told,
    others: list[Path],
    tracker: _Tracker,
    every_row: bool,
) -> Rows:
    """Return the rows of a table and of the others that complete it."""
    joined: Joined = {}
    fields: set[str] = set()
    notes: list[str] = []
    with open_table(path, encoding=encoding) as source:
        if published := recognise(source.names):
            for file in others:
                try:
                    found, note = _join(file, published, joined, tracker)
                except TableError as error:
                    msg = f"{file.name}: {error}".replace(
                        f"{file.name}: {file.name}", file.name
                    )
                    raise TableError(msg) from error
                fields |= found
                notes += note
        else:
            source = turn(source, told)
        notes += source.notes
        required = not every_row
        layout = find_columns(source.names, fields, soc_required=required, told=told)
        gathered = _Gathered(layout, joined, source.decimal_comma, every_row)
        for batch in tracker.follow(path, source):
            gathered.add(batch)
    tracker.finish()
    if encoding == "cp1252":
        notes.append(f"{path.name!r} is not UTF-8: it was read as Windows-1252.")
    files = tuple(file.name for file in (*others, path))
    rows = gathered.finish(files, (*notes, *layout.notes))
    if not rows.n_rows:
        msg = f"{path.name!r} has a header but no samples. Add one row per sample."
        raise TableError(msg)
    if not rows.sample_ids:
        raise TableError(nothing_left(rows.n_rows, rows.left_out))
    return rows


class _Tracker:
    """Counts the bytes that were read, for the progress."""

    def __init__(self, progress: Progress | None, files: list[Path]) -> None:
        self.progress = progress or (lambda *_: None)
        self.total = sum(file.stat().st_size for file in files)
        self.before = 0

    def follow(self, path: Path, source: Source) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a file, and say now and then how far it was read."""
        n_rows = 0
        for batch in source.batches:
            before, n_rows = n_rows, n_rows + len(batch)
            done = min(self.before + source.position(), self.total - 1)
            for number in range(before // ROWS_PER_CALL, n_rows // ROWS_PER_CALL):
                text = f"{(number + 1) * ROWS_PER_CALL:,} rows of {path.name}"
                self.progress(done, self.total, text)
            yield batch
        self.before += path.stat().st_size

    def finish(self) -> None:
        """Say that everything was read."""
        self.progress(self.total, self.total, "")


class _Gathered:
    """The rows of a table while they come in."""

    def __init__(
        self, layout: Layout, joined: Joined, decimal_comma: bool, every_row: bool
    ) -> None:
        self.layout = layout
        self.joined = joined
        self.decimal_comma = decimal_comma
        self.every_row = every_row
        self.n_rows = 0
        self.numbers: list[int] = []
        self.records: list[Record] = []
        self.seen: set[str] = set()
        self.soc: list[float] = []
        self.spectra = np.empty((256, len(layout.spectral)), dtype=np.float32)
        self.texts: list[Text] = []
        self.left_out: Counter[str] = Counter()

    def add(self, batch: pa.RecordBatch) -> None:
        """Take some rows, but those that there is a reason to leave out."""
        records = self._records(batch)
        soc, soc_texts = _parse_soc(records, self.decimal_comma)
        spectra, texts = self._parse_spectra(batch)
        lacking = np.asarray(np.isnan(spectra).all(axis=1))
        # Text in a user's own table is wrong, and no reason to leave a row out.
        bad_soc = set() if self.layout.published else {row for row, *_ in soc_texts}
        bad = bad_soc | (set() if self.layout.published else {row for row, *_ in texts})
        places = {}
        for row, record in enumerate(records):
            self.n_rows += 1
            reason = ""
            if not self.every_row:
                no_soc = not np.isfinite(soc[row]) and row not in bad_soc
                reason = self._reason(record, no_soc, lacking[row] and row not in bad)
            if reason:
                self.left_out[reason] += 1
                continue
            places[row] = len(self.numbers)
            self.numbers.append(self.n_rows)
            self.records.append(record)
            self.seen.add(record.get("sample_id", ""))
        self.texts += [
            (places[row], band, text)
            for row, band, text in soc_texts + texts
            if row in places
        ]
        self._put(soc[[*places]], spectra[[*places]])

    def finish(self, files: tuple[str, ...], notes: tuple[str, ...]) -> Rows:
        """Return what has come."""
        self.spectra.resize((len(self.soc), self.spectra.shape[1]), refcheck=False)
        return Rows(
            layout=self.layout,
            every_row=self.every_row,
            n_rows=self.n_rows,
            numbers=self.numbers,
            sample_ids=[record.get("sample_id", "") for record in self.records],
            soc=np.array(self.soc, dtype=np.float64),
            spectra=self.spectra,
            extra=self._describe(),
            texts=sorted(self.texts),
            left_out=self.left_out,
            files=files,
            notes=notes,
        )

    def _records(self, batch: pa.RecordBatch) -> list[Record]:
        """Return the cells that are no spectrum, with those of joined tables."""
        known, published = self.layout.known, self.layout.published
        if published is None:
            texts = [as_texts(batch.column(position)) for position in known.values()]
            return [
                dict(zip(known, row, strict=True)) for row in zip(*texts, strict=True)
            ]
        records = _published_records(batch, known, self.decimal_comma)
        for key in published.keys:
            others = self.joined.get(key, {})
            records = [
                {**others.get(_join_value(record.get(key, "")), {}), **record}
                for record in records
            ]
        return records

    def _parse_spectra(
        self, batch: pa.RecordBatch
    ) -> tuple[npt.NDArray[np.float64], list[Text]]:
        """Return the spectra of some rows, and the cells in them that are text."""
        chosen = [batch.column(position) for position in self.layout.spectral]
        n_rows, parts = len(batch), []
        texts: list[Text] = []
        first_band = 0
        for _, group in groupby(chosen, key=lambda column: column.type):
            cells = pa.concat_arrays([*group])
            numbers, found = parse_numbers(cells, self.decimal_comma)
            parts.append(numbers.reshape(-1, n_rows))
            texts += [(n % n_rows, first_band + n // n_rows, text) for n, text in found]
            first_band += len(parts[-1])
        return (parts[0] if len(parts) == 1 else np.concatenate(parts)).T, texts

    def _reason(self, record: Record, no_soc: bool, empty: bool) -> str:
        """Return why a row of a library is left out, or ""."""
        if no_soc:
            return NO_SOC
        if empty:
            return NO_SPECTRUM
        if self.layout.published and "sample_id" not in record:
            return NO_ID
        if self.layout.published and record["sample_id"] in self.seen:
            return REPEATED_ID
        return ""

    def _put(self, soc: npt.NDArray, spectra: npt.NDArray) -> None:
        """Store the numbers of some rows after the others."""
        start, width = len(self.soc), self.spectra.shape[1]
        self.soc += soc.tolist()
        if len(self.soc) > len(self.spectra):  # grown in place: no copy is made
            self.spectra.resize((len(self.soc) * 5 // 4, width), refcheck=False)
        with np.errstate(over="ignore"):  # absurd values become infinite
            self.spectra[start : len(self.soc)] = spectra

    def _describe(self) -> dict[str, list]:
        """Return what is known of the samples beside their ids and numbers."""
        if published := self.layout.published:
            rows = [published.describe(record) for record in self.records]
            return {name: [row[name] for row in rows] for name in (rows or [{}])[0]}
        described = {}
        for name in self.layout.known:
            texts = [record[name] for record in self.records]
            if name in NUMBER_COLUMNS:
                described[name] = parse_texts(texts, self.decimal_comma).tolist()
            elif name not in REQUIRED:
                described[name] = ["" if _is_missing(text) else text for text in texts]
        return described


def _parse_soc(
    records: Sequence[Record], decimal_comma: bool
) -> tuple[npt.NDArray[np.float64], list[Text]]:
    """Return the first number for SOC, or NaN and the texts that stand in its place."""
    soc = np.full(len(records), np.nan)
    texts: list[Text] = []
    for name in SOC_FIELDS:
        cells = [record.get(name, "") for record in records]
        if not any(cells):
            continue
        numbers, found = parse_numbers(pa.array(cells, pa.string()), decimal_comma)
        soc = np.where(np.isnan(soc), numbers, soc)
        texts += [(row, SOC_CELL, cells[row]) for row, _ in found]
    return soc, [text for text in texts if np.isnan(soc[text[0]])]


def _join(
    file: Path, published: Published, joined: Joined, tracker: _Tracker
) -> tuple[set[str], list[str]]:
    """Add the samples of a table without spectra; return its fields and a note."""
    first: dict[str, Record] = {}
    contradictory = set()
    with open_table(file, errors="replace") as source:
        known = published.find_fields(source.names)
        key = published.key_of(known) or ""
        for batch in tracker.follow(file, source):
            for record in _published_records(batch, known, source.decimal_comma):
                value = _join_value(record.get(key, ""))
                earlier = first.setdefault(value, record)
                if any(earlier.get(name) != record.get(name) for name in SOC_FIELDS):
                    contradictory.add(value)
    first.pop("", None)
    for value in contradictory & set(first):
        for name in SOC_FIELDS:
            first[value].pop(name, None)
    others = joined.setdefault(key, {})
    _check_agreement(file, first, others)
    for value, record in first.items():
        others[value] = {**record, **others.get(value, {})}
    if not contradictory:
        return set(known), []
    return set(known), [
        f"{file.name} has {len(contradictory)} samples more than once with "
        "different SOC: it is not used."
    ]


def _check_agreement(
    file: Path, first: dict[str, Record], others: dict[str, Record]
) -> None:
    """Raise TableError where two tables have different SOC of the same sample."""
    different = [
        value
        for value, record in first.items()
        if any(
            name in record and others.get(value, record).get(name, "") != record[name]
            for name in SOC_FIELDS
            if name in others.get(value, {})
        )
    ]
    if different:
        value = different[0]
        msg = (
            f"{file.name} and another table of the folder give {len(different)} "
            f"samples different SOC (first: {value!r}). Keep one of them."
        )
        raise TableError(msg)


def _published_records(
    batch: pa.RecordBatch, known: Mapping[str, int], decimal_comma: bool
) -> list[Record]:
    """Return the fields of the rows of a published library that are not missing."""
    texts = {name: as_texts(batch.column(position)) for name, position in known.items()}
    records: list[Record] = [{} for _ in range(len(batch))]
    for name, column in texts.items():
        is_number = decimal_comma and name not in TEXT_FIELDS
        for record, text in zip(records, column, strict=True):
            # Namibia's code is NA
            if not _is_missing(text) or (name == "iso" and text):
                record[name] = text.replace(",", ".") if is_number else text
    return [add_plotcode(record) for record in records]


def _is_missing(text: str) -> bool:
    """Return whether a cell is empty or says that it is missing."""
    return text.lower() in MISSING_WORDS


def _join_value(value: str) -> str:
    """Return a value by which tables are joined: 12.0 is 12."""
    return value.removesuffix(".0")
