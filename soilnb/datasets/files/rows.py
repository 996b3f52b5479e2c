"""The rows of a user's table as samples with numbers, and what is found in them."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from soilnb._blocks import row_blocks
from soilnb._validation import Floats, Progress
from soilnb._validation import Rows as Ints
from soilnb.datasets.files.columns import (
    COORDINATES,
    NUMBER,
    NUMBER_COLUMNS,
    REQUIRED,
    Layout,
    Mask,
    Numbers,
    Singles,
    find_columns,
    reach,
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
    Source,
    as_texts,
    find_files,
    in_its_encoding,
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

Text = tuple[int, int, str]  # row, band or SOC_CELL, and what stands there


@dataclass(eq=False)
class Rows:
    """The rows of a table that are used, NaN for what is not a number, and findings."""

    layout: Layout
    every_row: bool  # counts, as in a site, and a bad one is a problem of the file
    numbers: Ints  # of the rows in the file, from 1
    sample_ids: list[str]
    soc: Floats  # in units of the file
    spectra: Singles
    extra: pd.DataFrame  # further columns of info
    texts: list[Text]  # where numbers should be
    n_rows: int  # of the file
    skipped: Counter[str] = field(default_factory=Counter)  # rows, by reason
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

    def sort_out(self, reasons: dict[str, Mask]) -> Mask:
        """Count rows by the first reason against them; return those without."""
        used = np.ones(len(self.numbers), dtype=bool)
        for reason, bad in reasons.items():
            self.skipped[reason] += int((bad & used).sum())
            used &= ~bad
        return used

    def nothing_left(self) -> str:
        """Return the message for a library of which no row can be used."""
        counts = ", ".join(f"{n:,} {reason}" for reason, n in (+self.skipped).items())
        return (
            f"None of {self.n_rows:,} rows can be used: {counts}. A library needs rows "
            "with both SOC and a spectrum, a site a spectrum in each."
        )


def read_rows(
    path: Path, told: Told, *, every_row: bool, progress: Progress | None = None
) -> Rows:
    """Return the rows of a table, or of the tables of a published library."""
    folder = path.is_dir()
    path, others = find_files(path)
    follow = partial(_follow, [*others, path], progress or (lambda *_: None))
    try:
        return in_its_encoding(_read_rows, path, others, told, every_row, follow)
    except TableError as error:
        if folder and path.name not in error.problems[0]:
            named = f"{path.name}: {error.problems[0]}"
            raise TableError(named, *error.problems[1:]) from error
        raise


def _read_rows(
    path: Path,
    others: list[Path],
    told: Told,
    every_row: bool,
    follow: Callable[..., Iterator[Batch]],
    encoding: str,
) -> Rows:
    """Return the rows of a table, which others of a published library complete."""
    joined: dict[str, pd.DataFrame] = {}  # by the field that joins; it is their index
    known: set[str] = set()
    notes: list[str] = []
    with open_table(path, encoding) as source:
        if published := recognise(source.names):
            for file in others:
                known |= _join(file, published, joined, notes, follow)
        else:
            source = turn(take_units(source), told)
        layout = find_columns(
            source.names, known, soc_required=not every_row, told=told
        )
        comma = source.decimal_comma
        rows = _gather(
            _read_batch(batch, layout, every_row, comma, joined)
            for batch in follow(path, source)
        )
    if rows is None or not rows.n_rows:
        refuse(f"{path.name!r} has a header but no samples. Add one row per sample.")
    if not len(rows.soc):
        refuse(rows.nothing_left())
    rows.extra = _describe(rows.extra, layout, comma)
    said = [f"{path.name!r} is not UTF-8: it was read as Windows-1252."]
    said *= encoding == "cp1252"
    rows.notes = [*notes, *source.notes, *said, *layout.notes]
    rows.facts["layout"] = layout.published.name if layout.published else ""
    rows.facts["files"] = ", ".join(f.name for f in (*others, path)) * bool(others)
    return rows


def _read_batch(
    batch: Batch,
    layout: Layout,
    every_row: bool,
    comma: bool,
    joined: dict[str, pd.DataFrame],
) -> Rows:
    """Return some rows of a table, numbered from 1."""
    table = to_frame([batch], layout.known).astype(object)
    if layout.published:
        table = _complete(table, layout.published, comma, joined)
    parsed = [parse_numbers(batch[place], comma) for place in layout.bands.index]
    with np.errstate(over="ignore"):  # absurd values become infinite
        spectra = np.column_stack([values for values, _ in parsed]).astype(np.float32)
    texts = [
        (row, band, text)
        for band, (_, found) in enumerate(parsed)
        for row, text in found
    ]
    soc = np.full(len(table), np.nan)
    for name in [name for name in SOC_FIELDS if name in table]:  # the first number
        cells = table[name].fillna("").tolist()
        numbers, found = parse_numbers(cells, comma)
        soc = np.where(np.isnan(soc), numbers, soc)
        texts += [(row, SOC_CELL, cells[row]) for row, _ in found]
    texts = sorted(text for text in texts if text[1] >= 0 or np.isnan(soc[text[0]]))
    ids, places = table["sample_id"].fillna("").tolist(), np.arange(1, len(soc) + 1)
    return Rows(layout, every_row, places, ids, soc, spectra, table, texts, len(soc))


def _gather(parts: Iterator[Rows]) -> Rows | None:
    """Return the parts of a table as one, of a library without the rows to skip."""
    some: list[Rows] = []
    seen: set[str] = set()
    spectra, texts, n_rows, n = np.empty((256, 0), np.float32), [], 0, 0
    for part in parts:
        part.numbers += n_rows
        n_rows += part.n_rows
        _skip(part, seen)
        texts += [(n + row, band, text) for row, band, text in part.texts]
        n, before = n + len(part.soc), n
        if not some:
            spectra = np.empty((256, part.spectra.shape[1]), np.float32)
        if n > len(spectra):  # grown in place: no copy is made
            spectra.resize((n * 5 // 4, spectra.shape[1]), refcheck=False)
        spectra[before:n], part.spectra = part.spectra, spectra[:0]
        some.append(part)
    if not some:
        return None
    spectra.resize((n, spectra.shape[1]), refcheck=False)
    return replace(
        some[0],
        numbers=np.concatenate([part.numbers for part in some]),
        sample_ids=[*chain.from_iterable(part.sample_ids for part in some)],
        soc=np.concatenate([part.soc for part in some]),
        spectra=spectra,
        extra=pd.concat([part.extra for part in some], ignore_index=True),
        texts=texts,
        n_rows=n_rows,
        skipped=Counter({r: sum(p.skipped[r] for p in some) for r in some[0].skipped}),
    )


def _skip(rows: Rows, seen: set[str]) -> None:
    """Drop the rows of a library that have no SOC, spectrum or id of their own.

    `seen` are the ids of earlier rows, to which those of the rows that stay are added.
    Of a site drop those with neither SOC nor spectrum, such as a note below the table.
    """
    published, soc = rows.layout.published, rows.soc
    is_text = np.zeros((2, len(soc)), dtype=bool)
    for row, band, _ in () if published else rows.texts:
        is_text[int(band == SOC_CELL), row] = True  # wrong, and no reason to skip a row
    reasons = {
        "have no SOC": ~np.isfinite(soc) & ~is_text[1],
        "have no spectrum": np.isnan(rows.spectra).all(axis=1) & ~is_text[0],
    }
    if rows.every_row:
        both = np.all([*reasons.values()], axis=0)
        reasons = {"have neither SOC nor a spectrum": both}
    elif published:
        ids = rows.extra["sample_id"]
        reasons["have no id"] = ids.isna().to_numpy()
        ids = ids.where(~np.any([*reasons.values()], axis=0))
        is_known = (ids.duplicated() | ids.isin(seen)).to_numpy()
        reasons["repeat the id of an earlier row"] = is_known
        seen.update(ids.dropna())
    if (used := rows.sort_out(reasons)).all():
        return
    places = {row: n for n, row in enumerate(np.flatnonzero(used).tolist())}
    rows.texts = [(places[r], b, t) for r, b, t in rows.texts if r in places]
    rows.sample_ids = [rows.sample_ids[row] for row in places]
    rows.numbers, rows.soc = rows.numbers[used], soc[used]
    rows.spectra, rows.extra = rows.spectra[used], rows.extra[used]


def turn(source: Source, told: Told) -> Source:
    """Return a table with a row per sample, whatever the file has."""
    bands, problems, _ = wavelength_columns(source.names, told.axis)
    has_carbon = any(read_name(name).kind for name in source.names)
    if len(source.names) < 3 or (has_carbon and not problems):
        return source
    if (first := next(source.batches, None)) is None:
        return source
    source = replace(source, batches=chain([first], source.batches))
    if not problems and reach(as_texts(first[0]), told.axis) <= np.ptp(bands):
        return source
    batches = list(source.batches)
    table = to_frame(batches, {n: n for n in range(len(source.names))})
    turned = _transposed(source, table, told) or _long(source, table, told)
    if turned is None:
        return replace(source, batches=iter(batches))
    made, note = turned
    rows = to_batches(made.astype(str).to_numpy().tolist())
    names, notes = [*map(str, made)], (*source.notes, note)
    return replace(source, names=names, batches=rows, notes=notes)


def _transposed(
    source: Source, table: pd.DataFrame, told: Told
) -> tuple[pd.DataFrame, str] | None:
    """Turn a table with a column per sample: its first column has the wavelengths."""
    first = table[0].tolist()
    if not reach(first, told.axis) or len({*first}) < len(first):
        return None
    turned = table.drop(columns=0).T
    turned.columns = pd.Index(first)
    if find_ids(dict(enumerate(first)), Told())[0] is None:
        turned.insert(0, "sample_id", source.names[1:])
    n = len(turned)
    return turned, f"The table is transposed: its {n} columns were read as samples."


def _long(
    source: Source, table: pd.DataFrame, told: Told
) -> tuple[pd.DataFrame, str] | None:
    """Turn a table with a row per sample and wavelength."""
    plain = [
        re.sub(r"[\W_]*(([nuµ]m|cm.?1)[\W_]*$)?", "", n.lower()) for n in source.names
    ]
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
    scan = table.groupby([ids, "nm"]).cumcount()
    table["scan"] = table.groupby([table[ids], scan], sort=False).ngroup()
    wide = table.pivot(index="scan", columns="nm", values=value[0]).fillna("")
    wide.columns = pd.Index([f"{band:g}" for band in wide.columns])
    info = table.drop_duplicates("scan").set_index("scan")[keys]
    info.columns = pd.Index([source.names[n] for n in keys])
    made = pd.concat([info, wide], axis=1)
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
    files: list[Path], progress: Progress, file: Path, source: Source
) -> Iterator[Batch]:
    """Yield the rows of one of some files; say now and then how far all were read."""
    sizes, n_rows = [one.stat().st_size for one in files], 0
    total, before = sum(sizes), sum(sizes[: files.index(file)])
    for batch in source.batches:
        next_call, n_rows = n_rows // ROWS_PER_CALL + 1, n_rows + len(batch[0])
        done = min(before + source.position(n_rows), total - 1)
        for number in range(next_call, n_rows // ROWS_PER_CALL + 1):
            progress(done, total, f"{number * ROWS_PER_CALL:,} rows of {file.name}")
        yield batch
    if file == files[-1]:
        progress(total, total, "")


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
    """Return degrees, minutes and seconds as decimal degrees, other text as it is."""
    sides, numbers = re.findall(r"[NSEW]", text.upper()), NUMBER.findall(text)
    if len(sides) != 1 or not 1 <= len(numbers) <= 3:
        return text.replace(",", ".")
    value = sum(float(n.replace(",", ".")) / 60**k for k, n in enumerate(numbers))
    return f"{-value if sides[0] in 'SW' else value:.10g}"


def _complete(
    fields: pd.DataFrame,
    published: Published,
    comma: bool,
    joined: dict[str, pd.DataFrame],
) -> pd.DataFrame:
    """Return the text of a published table, NaN for none, and of those joined to it."""
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


def _join(
    file: Path,
    published: Published,
    joined: dict[str, pd.DataFrame],
    notes: list[str],
    follow: Callable[..., Iterator[Batch]],
) -> set[str]:
    """Add the samples of a table without spectra; return its fields."""
    with open_table(file) as source:
        known = published.find_fields(source.names)
        table = to_frame(follow(file, source), known).astype(object)
    table = _complete(table, published, source.decimal_comma, {})
    key = published.key_of(known)
    if table.empty or key not in table:
        return {*known}
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
    return {*known}
