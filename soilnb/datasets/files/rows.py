"""The rows of a user's table as samples with numbers, and what is found in them."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from soilnb._blocks import row_blocks
from soilnb.datasets.files.columns import (
    COORDINATES,
    NUMBER,
    NUMBER_COLUMNS,
    REQUIRED,
    Floats,
    Layout,
    Mask,
    Numbers,
    Singles,
    find_columns,
    wavelength_columns,
)
from soilnb.datasets.files.layouts import (
    SOC_FIELDS,
    TEXT_FIELDS,
    Published,
    recognise,
    with_plotcode,
)
from soilnb.datasets.files.roles import (
    WORDS,
    TableError,
    Told,
    find_ids,
    read_name,
    refuse,
)
from soilnb.datasets.files.table import (
    Batch,
    EncodingError,
    Source,
    as_texts,
    find_files,
    is_missing,
    open_table,
    parse_numbers,
    to_batches,
    to_frame,
)

SOC_CELL = -1  # stands for the column soc where a band's number is expected
UNIT_WORDS = {"", "-", "--", "nm", "text", "fraction", "no unit", "unit", "units"}
UNIT_WORDS |= {"a.u."}
ROWS_PER_CALL = 500  # between two calls of `progress`: a fraction of a second

Progress = Callable[[int, int, str], object]
Places = Mapping[str, int]  # of columns, by field
Joined = dict[str, pd.DataFrame]  # by the field that joins; its values are the index
Text = tuple[int, int, str]  # row, band or SOC_CELL, and what stands there


@dataclass(eq=False)
class Rows:
    """The rows of a table that are used, NaN for what is not a number, and findings.

    They come block by block and are kept in single precision: a library of 60,000
    spectra needs little more memory than its numbers.
    """

    layout: Layout
    every_row: bool  # counts, as in a site, and a bad one is a problem of the file
    n_rows: int = 0  # of the file
    numbers: list[int] = field(default_factory=list)  # of the rows in the file, from 1
    sample_ids: list[str] = field(default_factory=list)
    soc: Floats = field(default_factory=lambda: np.empty(0))  # in units of the file
    spectra: Singles = field(default_factory=lambda: np.empty((0, 0), np.float32))
    extra: pd.DataFrame = field(default_factory=pd.DataFrame)  # further columns of info
    texts: list[Text] = field(default_factory=list)  # where numbers should be
    skipped: Counter[str] = field(default_factory=Counter)  # rows not read, by reason
    left_out: dict[str, Mask] = field(default_factory=dict)  # rows used no more
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def keep(self) -> Mask:
        """Which of the rows are still used."""
        none = np.zeros(len(self.numbers), dtype=bool)
        return ~np.any([none, *self.left_out.values()], axis=0)

    def blank(self, find: Callable[[Singles], Mask]) -> tuple[int, int, str]:
        """Count values as not measured: how many, in how many rows, and the first."""
        n_values, n_rows, first = 0, 0, ""
        for block in row_blocks(len(self.spectra)):
            values = self.spectra[block]
            bad = find(values)
            if bad.any():
                first = first or f"{values[bad][0]:.3g}, {self.first(bad, block.start)}"
                n_values += int(bad.sum())
                n_rows += int(bad.any(axis=1).sum())
                values[bad] = np.nan
        return n_values, n_rows, first

    def first(self, bad: Mask, start: int = 0) -> str:
        """Return how a user finds the first marked row, or value, from `start` on."""
        row, band = divmod(int(bad.argmax()), bad[0].size)
        row += start
        place = f"sample {self.sample_ids[row]!r}, data row {self.numbers[row]}"
        name = self.layout.spectral_names[band]
        return place + f", column {name!r}" * (bad.ndim > 1)

    def say(
        self, bad: Mask, text: str, values: Numbers | None = None, **more: Any
    ) -> str:
        """Return a sentence on what is marked, if anything: how many, and the first."""
        if not bad.any():
            return ""
        more |= {"n": int(bad.sum()), "first": self.first(bad)}
        value = None if values is None else values[bad][0]
        return text.format(soc=self.layout.column("soc"), value=value, **more)

    def blame(self, *said: Any, **more: Any) -> None:
        """Add what `say` says to the problems."""
        self.problems += filter(None, [self.say(*said, **more)])

    def nothing_left(self) -> str:
        """Return the message for a library of which no row can be used."""
        counts = ", ".join(f"{n:,} {reason}" for reason, n in (+self.skipped).items())
        return (
            f"None of {self.n_rows:,} rows can be used: {counts}. A library needs rows "
            "with both SOC and a spectrum."
        )


def read_rows(
    path: Path, told: Told, *, every_row: bool, progress: Progress | None = None
) -> Rows:
    """Return the rows of a table, or of the tables of a published library."""
    folder = path.is_dir()
    path, others = find_files(path)
    given = ([*others, path], told, every_row, progress or (lambda *_: None))
    try:
        with suppress(EncodingError):
            return _read_rows(*given)
        return _read_rows(*given, encoding="cp1252")
    except TableError as error:
        if folder and path.name not in error.problems[0]:
            named = f"{path.name}: {error.problems[0]}"
            raise TableError(named, *error.problems[1:]) from error
        raise


def _read_rows(
    files: list[Path],
    told: Told,
    every_row: bool,
    progress: Progress,
    encoding: str = "utf-8-sig",
) -> Rows:
    """Return the rows of the last of some tables, which the others complete."""
    *others, path = files
    joined: Joined = {}
    known: set[str] = set()
    notes: list[str] = []
    with open_table(path, encoding=encoding) as source:
        if published := recognise(source.names):
            for file in others:
                known |= {*_join(file, published, joined, notes, (files, progress))}
        else:
            source = turn(take_units(source), told)
        layout = find_columns(
            source.names, known, soc_required=not every_row, told=told
        )
        rows, fields = Rows(layout, every_row), []
        rows.spectra = np.empty((256, len(layout.bands)), dtype=np.float32)
        for batch in _follow(source, path, files, progress):
            comma = source.decimal_comma
            some = _fields(batch, layout.known, layout.published, comma, joined)
            fields.append(_add(rows, batch, some, comma))
    said = [f"{path.name!r} is not UTF-8: it was read as Windows-1252."]
    said *= encoding == "cp1252"
    rows.notes = [*notes, *source.notes, *said, *layout.notes]
    if not rows.n_rows:
        refuse(f"{path.name!r} has a header but no samples. Add one row per sample.")
    if not len(rows.soc):
        refuse(rows.nothing_left())
    rows.facts = {
        "samples": "",  # is said when they have been counted
        "layout": layout.published.name if layout.published else "",
        "files": ", ".join(file.name for file in files) * (len(files) > 1),
    }
    rows.spectra.resize((len(rows.soc), len(layout.bands)), refcheck=False)
    table = pd.concat(fields, ignore_index=True)
    rows.texts.sort()
    rows.extra = _describe(table, layout, source.decimal_comma)
    return rows


def turn(source: Source, told: Told) -> Source:
    """Return a table with a row per sample, whatever the file has."""
    _, problems, _ = wavelength_columns(source.names, told.axis)
    if not problems or len(source.names) < 3:
        return source
    batches = list(source.batches)
    table = to_frame(replace(source, batches=iter(batches)))
    for kind in (_transposed, _long):
        if (turned := kind(source, table, told)) is not None:
            made, note = turned
            names = [str(name) for name in made.columns]
            rows = to_batches(made.astype(str).to_numpy().tolist())
            notes = (*source.notes, note)
            return replace(source, names=names, batches=rows, notes=notes)
    return replace(source, batches=iter(batches))


def _transposed(
    source: Source, table: pd.DataFrame, told: Told
) -> tuple[pd.DataFrame, str] | None:
    """Turn a table with a column per sample: its first column has the wavelengths."""
    first = table[0].tolist()
    named = [text for text in first if re.search(r"\d", text)]
    bands, problems, _ = wavelength_columns(named, told.axis)
    nm = bands.to_numpy()
    is_sorted = len(nm) > 1 and (np.all(np.diff(nm) > 0) or np.all(np.diff(nm) < 0))
    if problems or not is_sorted or len({*first}) < len(first):
        return None
    turned = table.drop(columns=0).T
    turned.columns = pd.Index(first)
    is_id = find_ids(dict(enumerate(first)), Told())[0] is not None
    if not is_id:
        turned.insert(0, "sample_id", source.names[1:])
    n = len(turned)
    note = f"The table is transposed: its {n} columns were read as samples."
    return turned, note


def _long(
    source: Source, table: pd.DataFrame, told: Told
) -> tuple[pd.DataFrame, str] | None:
    """Turn a table with a row per sample and wavelength."""
    plain = [re.sub(r"[\W_]*(nm|cm.?1)?[\W_]*$", "", n.lower()) for n in source.names]
    axis = [n for n, name in enumerate(plain) if name in WORDS["axis"]]
    value = [n for n, name in enumerate(plain) if name in WORDS["value"]]
    ids = find_ids(dict(enumerate(source.names)), told)[0]
    if len(axis) != 1 or len(value) != 1 or ids is None:
        return None
    nm, _ = parse_numbers(table[axis[0]], source.decimal_comma)
    table = table[np.isfinite(nm)].assign(nm=nm[np.isfinite(nm)])
    keys = [n for n in range(len(plain)) if n not in (axis[0], value[0])]
    constant = table.groupby(ids, sort=False)[keys].nunique().max()
    keys = [n for n in keys if constant[n] <= 1]
    if table.duplicated([ids, "nm"]).any():
        row = table[table.duplicated([ids, "nm"])].iloc[0]
        msg = (
            f"Sample {row[ids]!r} has more than one value at {row['nm']:g} nm. Give "
            "each scan an id of its own, such as A1_1 and A1_2."
        )
        raise TableError(msg)
    wide = table.pivot(index=ids, columns="nm", values=value[0]).fillna("")
    wide.columns = pd.Index([f"{band:g}" for band in wide.columns])
    info = table.drop_duplicates(ids).set_index(ids, drop=False)[keys]
    info.columns = pd.Index([source.names[n] for n in keys])
    made = pd.concat([info, wide.reindex(info.index)], axis=1)
    return made, (
        f"The table is long: its {len(table)} rows were read as {len(made)} samples "
        f"of {wide.shape[1]} bands."
    )


def take_units(source: Source) -> Source:
    """Return a table without a row of units beneath its header.

    The unit of carbon becomes a part of the column's name.
    """
    first = next(source.batches, None)
    if first is None or not len(first[0]):
        return source
    cells = [as_texts(column[:1])[0] for column in first]
    units = {cell: read_name(f"soc {cell}").unit for cell in {*cells}}
    plain = {cell for cell in units if cell.lower().strip("[]()") in UNIT_WORDS}
    if not all(cell in plain or unit for cell, unit in units.items()):
        return replace(source, batches=chain([first], source.batches))
    names = [
        f"{name} ({cell})" if units[cell] and read_name(name).kind else name
        for name, cell in zip(source.names, cells, strict=True)
    ]
    notes = (*source.notes, "The row of units beneath the header was read.")
    batches = chain([[column[1:] for column in first]], source.batches)
    return replace(source, names=names, batches=batches, notes=notes)


def _follow(
    source: Source, file: Path, files: list[Path], progress: Progress
) -> Iterator[Batch]:
    """Yield the rows of one of some files; say now and then how far all were read."""
    sizes, n_rows = [one.stat().st_size for one in files], 0
    total, before = sum(sizes), sum(sizes[: files.index(file)])
    for batch in source.batches:
        n_before, n_rows = n_rows // ROWS_PER_CALL, n_rows + len(batch[0])
        done = min(before + source.position(n_rows), total - 1)
        for number in range(n_before, n_rows // ROWS_PER_CALL):
            text = f"{(number + 1) * ROWS_PER_CALL:,} rows of {file.name}"
            progress(done, total, text)
        yield batch
    if file == files[-1]:
        progress(total, total, "")


def _add(rows: Rows, batch: Batch, fields: pd.DataFrame, comma: bool) -> pd.DataFrame:
    """Add some rows, but those that there is a reason to skip; return their fields."""
    soc, texts = _parse_soc(fields, comma)
    parsed = [parse_numbers(batch[place], comma) for place in rows.layout.bands.index]
    spectra = np.column_stack([numbers for numbers, _ in parsed])
    for band, (_, found) in enumerate(parsed):
        texts += [(row, band, text) for row, text in found]
    kept = np.arange(len(soc))
    if not rows.every_row:
        kept = np.flatnonzero(~_skip(rows, fields, soc, spectra, texts))
    n_before, n_now = len(rows.soc), len(rows.soc) + len(kept)
    places = {int(row): n for n, row in enumerate(kept, n_before)}
    rows.texts += [(places[r], b, text) for r, b, text in texts if r in places]
    rows.numbers += (rows.n_rows + 1 + kept).tolist()
    rows.n_rows += len(soc)
    rows.soc = np.append(rows.soc, soc[kept])
    fields = fields.iloc[kept]
    rows.sample_ids += [*fields.get("sample_id", pd.Series("", kept)).fillna("")]
    if n_now > len(rows.spectra):  # grown in place: no copy is made
        rows.spectra.resize((n_now * 5 // 4, spectra.shape[1]), refcheck=False)
    with np.errstate(over="ignore"):  # absurd values become infinite
        rows.spectra[n_before:n_now] = spectra[kept]
    return fields


def _skip(
    rows: Rows, fields: pd.DataFrame, soc: Floats, spectra: Floats, texts: list[Text]
) -> Mask:
    """Return which rows of a library are not used, and count them by reason."""
    is_text, published = np.zeros((2, len(soc)), dtype=bool), rows.layout.published
    for row, band, _ in () if published else texts:
        is_text[int(band == SOC_CELL), row] = True  # wrong, and no reason to skip a row
    reasons = {
        "have no SOC": ~np.isfinite(soc) & ~is_text[1],
        "have no spectrum": np.isnan(spectra).all(axis=1) & ~is_text[0],
    }
    if published:
        ids = fields["sample_id"]
        reasons["have no id"] = ids.isna().to_numpy()
        ids = ids.where(~np.any([*reasons.values()], axis=0))
        again = ids.duplicated() | ids.isin(rows.sample_ids)
        reasons["repeat the id of an earlier row"] = again.to_numpy()
    out = np.zeros(len(soc), dtype=bool)
    for reason, bad in reasons.items():
        rows.skipped[reason] += int((bad & ~out).sum())
        out |= bad
    return out


def _describe(fields: pd.DataFrame, layout: Layout, comma: bool) -> pd.DataFrame:
    """Return what is known of the samples beside their ids and SOC."""
    if layout.published:
        return layout.published.describe(fields)
    described = fields.drop(columns=[*REQUIRED], errors="ignore")
    for name, texts in described.items():
        if name in NUMBER_COLUMNS:
            plain = [decimal_degrees(t) if name in COORDINATES else t for t in texts]
            described[name] = parse_numbers(plain, comma)[0]
        else:
            described[name] = texts.mask(is_missing(texts), "").tolist()
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


def _fields(
    batch: Batch,
    known: Places,
    published: Published | None,
    comma: bool,
    joined: Joined,
) -> pd.DataFrame:
    """Return the text of some rows by field; NaN where a published library has none."""
    cells = {name: as_texts(batch[position]) for name, position in known.items()}
    fields = pd.DataFrame(cells, range(len(batch[0])), dtype=object)
    if not published:
        return fields
    for name, texts in fields.items():
        # Namibia's code is NA
        fields[name] = texts.mask(texts == "" if name == "iso" else is_missing(texts))
        if comma and name not in TEXT_FIELDS:
            fields[name] = fields[name].str.replace(",", ".")
    fields = with_plotcode(fields)
    for key in published.keys:
        if key in joined and key in fields:
            found = joined[key].reindex(fields[key].str.removesuffix(".0"))
            fields = fields.combine_first(found.set_axis(fields.index)).astype(object)
    return fields


def _parse_soc(fields: pd.DataFrame, comma: bool) -> tuple[Floats, list[Text]]:
    """Return the first number for SOC, or NaN and the texts that stand in its place."""
    soc = np.full(len(fields), np.nan)
    texts: list[Text] = []
    for name in [name for name in SOC_FIELDS if name in fields]:
        cells = fields[name].fillna("").tolist()
        numbers, found = parse_numbers(cells, comma)
        soc = np.where(np.isnan(soc), numbers, soc)
        texts += [(row, SOC_CELL, cells[row]) for row, _ in found]
    return soc, [text for text in texts if np.isnan(soc[text[0]])]


def _join(
    file: Path,
    published: Published,
    joined: Joined,
    notes: list[str],
    tracked: tuple[list[Path], Progress],
) -> dict[str, int]:
    """Add the samples of a table without spectra; return its fields."""
    with open_table(file, errors="replace") as source:
        known = published.find_fields(source.names)
        parts = [
            _fields(batch, known, published, source.decimal_comma, {})
            for batch in _follow(source, file, *tracked)
        ]
    key = published.key_of(known)
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if key not in table:
        return known
    # Numbers that other software made 12.0 of 12 are the same.
    table = table.assign(**{key: table[key].str.removesuffix(".0")}).dropna(subset=key)
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
    both = first.index.intersection(others.index, sort=False)
    names = [name for name in measured if name in others]
    here, there = first.loc[both, names], others.loc[both, names]
    different = ((here != there) & here.notna() & there.notna()).any(axis=1)
    if different.any():
        refuse(
            f"{file.name} and another table of the folder give "
            f"{int(different.sum())} samples different SOC (first: "
            f"{different.idxmax()!r}). Keep one of them."
        )
    joined[key] = others.combine_first(first).astype(object)
    return known
