"""The rows of a user's table as samples with numbers.

They are read block by block and kept in single precision: a library of 60,000 spectra
needs little more memory than its numbers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from soilnb.datasets.files.columns import (
    COORDINATES,
    NUMBER,
    NUMBER_COLUMNS,
    REQUIRED,
    Floats,
    Layout,
    Mask,
    Singles,
    TableError,
    find_columns,
)
from soilnb.datasets.files.kinds import take_units, turn
from soilnb.datasets.files.layouts import (
    SOC_FIELDS,
    TEXT_FIELDS,
    Published,
    recognise,
    with_plotcode,
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
ROWS_PER_CALL = 500  # between two calls of `progress`: a fraction of a second

Progress = Callable[[int, int, str], object]
Joined = dict[str, pd.DataFrame]  # by the field that joins; its values are the index
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
    soc: Floats
    spectra: Singles
    extra: pd.DataFrame  # further columns of `info`, such as country and group
    texts: list[Text]
    left_out: Counter[str]
    files: tuple[str, ...]  # that were read, the one with the spectra last
    notes: tuple[str, ...]  # on what was joined

    def place(self, row: int) -> str:
        """Return how a user finds a row: its sample and its number from 1."""
        return f"sample {self.sample_ids[row]!r}, data row {self.numbers[row]}"

    def first(self, bad: Mask) -> str:
        """Return where the first marked row is."""
        return self.place(int(bad.argmax()))

    def place_of(self, bad: Mask, start: int = 0) -> str:
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
    given = (told or Told(), others, every_row)
    try:
        tracker = _Tracker(progress, [*others, path])
        try:
            return _read_rows(path, "utf-8-sig", tracker, *given)
        except EncodingError:
            tracker = _Tracker(progress, [*others, path])
            return _read_rows(path, "cp1252", tracker, *given)
    except TableError as error:
        if folder and path.name not in error.problems[0]:
            named = f"{path.name}: {error.problems[0]}"
            raise TableError(named, *error.problems[1:]) from error
        raise


def _read_rows(
    path: Path,
    encoding: str,
    tracker: _Tracker,
    told: Told,
    others: list[Path],
    every_row: bool,
) -> Rows:
    """Return the rows of a table and of the others that complete it."""
    joined: Joined = {}
    fields: set[str] = set()
    notes: list[str] = []
    with open_table(path, encoding=encoding) as source:
        if published := recognise(source.names):
            for file in others:
                fields |= _join(file, published, joined, notes, tracker)
        else:
            source = turn(take_units(source), told)
        notes += source.notes
        layout = find_columns(
            source.names, fields, soc_required=not every_row, told=told
        )
        gathered = _Gathered(layout, joined, source.decimal_comma, every_row)
        for batch in tracker.follow(path, source):
            gathered.add(batch)
    tracker.finish()
    if encoding == "cp1252":
        notes.append(f"{path.name!r} is not UTF-8: it was read as Windows-1252.")
    if not gathered.n_rows:
        msg = f"{path.name!r} has a header but no samples. Add one row per sample."
        raise TableError(msg)
    if not gathered.soc:
        raise TableError(nothing_left(gathered.n_rows, +gathered.left_out))
    files = tuple(file.name for file in (*others, path))
    return gathered.finish(files, (*notes, *layout.notes))


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
        self.layout, self.joined = layout, joined
        self.decimal_comma, self.every_row = decimal_comma, every_row
        self.n_rows = 0
        self.numbers: list[int] = []
        self.fields: list[pd.DataFrame] = []
        self.seen: set[str] = set()
        self.soc: list[float] = []
        self.spectra = np.empty((256, len(layout.spectral)), dtype=np.float32)
        self.texts: list[Text] = []
        self.left_out: Counter[str] = Counter()

    def add(self, batch: pa.RecordBatch) -> None:
        """Take some rows, but those that there is a reason to leave out."""
        layout, n_before = self.layout, len(self.soc)
        fields = _fields(batch, layout.known)
        if layout.published:
            fields = _complete(_clean(fields, self.decimal_comma), layout, self.joined)
        soc, texts = _parse_soc(fields, self.decimal_comma)
        spectra, more = self._parse_spectra(batch)
        texts += more
        kept = np.arange(len(batch))
        if not self.every_row:
            kept = np.flatnonzero(~self._leave_out(fields, soc, spectra, texts))
        places = {int(row): n for n, row in enumerate(kept, n_before)}
        self.texts += [(places[r], b, text) for r, b, text in texts if r in places]
        self.numbers += (self.n_rows + 1 + kept).tolist()
        self.fields.append(fields.iloc[kept])
        self.n_rows += len(batch)
        self.soc += soc[kept].tolist()
        if len(self.soc) > len(self.spectra):  # grown in place: no copy is made
            shape = (len(self.soc) * 5 // 4, self.spectra.shape[1])
            self.spectra.resize(shape, refcheck=False)
        with np.errstate(over="ignore"):  # absurd values become infinite
            self.spectra[n_before : len(self.soc)] = spectra[kept]

    def finish(self, files: tuple[str, ...], notes: tuple[str, ...]) -> Rows:
        """Return what has come."""
        self.spectra.resize((len(self.soc), self.spectra.shape[1]), refcheck=False)
        fields = pd.concat(self.fields, ignore_index=True)
        ids = fields.get("sample_id", pd.Series("", fields.index)).fillna("")
        return Rows(
            layout=self.layout,
            every_row=self.every_row,
            n_rows=self.n_rows,
            numbers=self.numbers,
            sample_ids=ids.tolist(),
            soc=np.array(self.soc, dtype=np.float64),
            spectra=self.spectra,
            extra=self._describe(fields),
            texts=sorted(self.texts),
            left_out=+self.left_out,
            files=files,
            notes=notes,
        )

    def _parse_spectra(self, batch: pa.RecordBatch) -> tuple[Floats, list[Text]]:
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

    def _leave_out(
        self,
        fields: pd.DataFrame,
        soc: Floats,
        spectra: Floats,
        texts: list[Text],
    ) -> Mask:
        """Return which rows of a library are not used, and count them by reason."""
        is_text = np.zeros((2, len(soc)), dtype=bool)
        if not (published := self.layout.published):
            for row, band, _ in texts:  # wrong, and no reason to leave a row out
                is_text[int(band == SOC_CELL), row] = True
        no_value = np.isnan(spectra).all(axis=1)
        reasons = {
            "have no SOC": ~np.isfinite(soc) & ~is_text[1],
            "have no spectrum": no_value & ~is_text[0],
        }
        if published:
            reasons["have no id"] = fields["sample_id"].isna().to_numpy()
        out = np.zeros(len(soc), dtype=bool)
        for reason, bad in reasons.items():
            self.left_out[reason] += int((bad & ~out).sum())
            out |= bad
        if published:
            ids = fields["sample_id"].where(~out)
            again = ~out & (ids.duplicated() | ids.isin(self.seen)).to_numpy()
            self.left_out["repeat the id of an earlier row"] += int(again.sum())
            out |= again
            self.seen |= {*ids[~out]}
        return out

    def _describe(self, fields: pd.DataFrame) -> pd.DataFrame:
        """Return what is known of the samples beside their ids and SOC."""
        if published := self.layout.published:
            columns = published.describe(fields).items()
            return pd.DataFrame({name: [*values] for name, values in columns})
        described = fields.drop(columns=[*REQUIRED], errors="ignore")
        for name, texts in described.items():
            if name in NUMBER_COLUMNS:
                plain = [
                    decimal_degrees(t) if name in COORDINATES else t for t in texts
                ]
                described[name] = parse_texts(plain, self.decimal_comma)
            else:
                described[name] = texts.mask(_is_missing(texts), "").tolist()
        return described


def decimal_degrees(text: str) -> str:
    """Return degrees, minutes and seconds as decimal degrees, other text as it is.

    >>> decimal_degrees("13 30'18 W"), decimal_degrees("5,7")
    ('-13.505', '5.7')
    """
    sides, numbers = re.findall(r"[NSEW]", text.upper()), NUMBER.findall(text)
    if len(sides) != 1 or not 1 <= len(numbers) <= 3:
        return text.replace(",", ".")
    value = sum(float(n.replace(",", ".")) / 60**k for k, n in enumerate(numbers))
    return f"{-value if sides[0] in 'SW' else value:.10g}"


def _fields(batch: pa.RecordBatch, known: Mapping[str, int]) -> pd.DataFrame:
    """Return the cells of some rows that are no spectrum, as text, by their field."""
    texts = {name: as_texts(batch.column(position)) for name, position in known.items()}
    return pd.DataFrame(texts, range(len(batch)), dtype=object)


def _is_missing(texts: pd.Series) -> pd.Series:
    """Return which cells are empty or say that they are missing."""
    return texts.str.lower().isin(MISSING_WORDS)


def _clean(fields: pd.DataFrame, decimal_comma: bool) -> pd.DataFrame:
    """Return the fields of a published library, NaN for those that are missing."""
    for name, texts in fields.items():
        # Namibia's code is NA
        missing = texts == "" if name == "iso" else _is_missing(texts)
        fields[name] = texts.mask(missing)
        if decimal_comma and name not in TEXT_FIELDS:
            fields[name] = fields[name].str.replace(",", ".")
    return with_plotcode(fields)


def _join_values(texts: pd.Series) -> pd.Series:
    """Return the values by which tables are joined: 12.0 is 12."""
    return texts.str.removesuffix(".0")


def _complete(fields: pd.DataFrame, layout: Layout, joined: Joined) -> pd.DataFrame:
    """Return fields with those of other tables where a row lacks them."""
    for key in layout.published.keys if layout.published else ():
        if key in joined and key in fields:
            found = joined[key].reindex(_join_values(fields[key]))
            fields = fields.combine_first(found.set_axis(fields.index)).astype(object)
    return fields


def _parse_soc(fields: pd.DataFrame, decimal_comma: bool) -> tuple[Floats, list[Text]]:
    """Return the first number for SOC, or NaN and the texts that stand in its place."""
    soc = np.full(len(fields), np.nan)
    texts: list[Text] = []
    for name in SOC_FIELDS:
        if name in fields:
            cells = fields[name].fillna("").tolist()
            numbers, found = parse_numbers(pa.array(cells, pa.string()), decimal_comma)
            soc = np.where(np.isnan(soc), numbers, soc)
            texts += [(row, SOC_CELL, cells[row]) for row, _ in found]
    return soc, [text for text in texts if np.isnan(soc[text[0]])]


def _join(
    file: Path,
    published: Published,
    joined: Joined,
    notes: list[str],
    tracker: _Tracker,
) -> set[str]:
    """Add the samples of a table without spectra; return its fields."""
    with open_table(file, errors="replace") as source:
        known = published.find_fields(source.names)
        batches = [
            _clean(_fields(batch, known), source.decimal_comma)
            for batch in tracker.follow(file, source)
        ]
    key = published.key_of(known) or ""
    table = pd.concat(batches, ignore_index=True) if batches else pd.DataFrame()
    if key not in table:
        return set(known)
    table = table.assign(**{key: _join_values(table[key])}).dropna(subset=key)
    measured = [name for name in SOC_FIELDS if name in table]
    different = table.groupby(key)[measured].nunique(dropna=False).gt(1).any(axis=1)
    first = table.drop_duplicates(key).set_index(key, drop=False)
    contradictory = different.index[different]
    first.loc[contradictory, measured] = np.nan
    if len(contradictory):
        notes.append(
            f"{file.name} has {len(contradictory)} samples more than once with "
            "different SOC: it is not used."
        )
    others = joined.get(key, first)
    _check_agreement(file, first, others)
    joined[key] = others.combine_first(first).astype(object)
    return set(known)


def _check_agreement(file: Path, first: pd.DataFrame, others: pd.DataFrame) -> None:
    """Raise TableError where two tables have different SOC of the same sample."""
    both = first.index.intersection(others.index, sort=False)
    names = [name for name in SOC_FIELDS if name in first and name in others]
    here, there = first.loc[both, names], others.loc[both, names]
    different = ((here != there) & here.notna() & there.notna()).any(axis=1)
    if different.any():
        msg = (
            f"{file.name} and another table of the folder give "
            f"{int(different.sum())} samples different SOC (first: "
            f"{different.idxmax()!r}). Keep one of them."
        )
        raise TableError(msg)
