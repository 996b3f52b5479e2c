"""The laboratory's answer as a table of its own: SOC and how the samples were drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from soilnb._validation import check_choice
from soilnb.datasets.files.cells import SAY_LIMIT, half_of
from soilnb.datasets.files.columns import REQUIRED, Layout, TableError
from soilnb.datasets.files.roles import Carbon, find_carbon, find_ids
from soilnb.datasets.files.rows import Rows
from soilnb.datasets.files.table import (
    LISTED,
    MISSING_WORDS,
    as_texts,
    has_suffix,
    open_table,
    parse_numbers,
)
from soilnb.datasets.files.told import Told

NOT_DRAWN = ("next", "")  # picked by someone, or not said
FIELDS = (*REQUIRED, "design", "stratum", "inclusion_probability")
ROUNDING = 0.01  # relative, by which two copies of a value may differ
# Two lists of one farm in one unit differ less in their medians; % and g/kg by ten.
MAX_MEDIAN_RATIO = 5
MIN_VALUES_FOR_UNIT = 5

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """The cells of a table by field, "" for those that are missing."""

    cells: dict[str, list[str]]
    decimal_comma: bool

    @property
    def ids(self) -> list[str]:
        """The samples, in the order of the table."""
        return self.cells["sample_id"]

    def texts(self, field: str) -> list[str]:
        """Return a column as it is read as numbers."""
        return self.cells[field]

    def numbers(self, field: str) -> Floats:
        """Return a column as numbers, NaN where it is empty or not there."""
        if field not in self.cells:
            return np.full(len(self.ids), np.nan)
        cells = pa.array(self.texts(field), pa.string())
        numbers, texts = parse_numbers(cells, self.decimal_comma)
        if texts:
            row, text = texts[0]
            msg = (
                f"Column {field!r} must hold numbers, got the text {text!r} (sample "
                f"{self.ids[row]!r}). Write a number, or leave the cell empty."
                + f" {SAY_LIMIT}"
                * bool(field == "soc" and half_of(text))
            )
            raise TableError(msg)
        return numbers

    def check(
        self,
        bad: npt.NDArray[np.bool_],
        field: str,
        rule: str,
        remedy: str = "or leave the cell empty",
    ) -> None:
        """Raise TableError with the first cell that breaks a rule."""
        if bad.any():
            row = int(bad.argmax())
            msg = (
                f"Column {field!r} must {rule}, got {self.cells[field][row] or 'none'} "
                f"(sample {self.ids[row]!r}). Correct it, {remedy}."
            )
            raise TableError(msg)


@dataclass(frozen=True)
class _Laboratory(Table):
    """A laboratory's table: its SOC, as the table names it, and what was told of it."""

    carbon: Carbon
    told: Told
    soc_name: str

    def texts(self, field: str) -> list[str]:
        """Return a column as it is read as numbers; what is below detection as told."""
        plain = self.cells[field]
        if field != "soc" or not self.told.below_detection:
            return plain
        is_half = self.told.below_detection == "half"
        halves = [half_of(text) for text in plain]
        return [
            (half if is_half else "") if half else text
            for half, text in zip(halves, plain, strict=True)
        ]


def add_measured(
    rows: Rows, path: Path, told: Told, soils: Sequence[str]
) -> tuple[Rows, dict[str, Any], str]:
    """Return rows with the SOC of a table, columns of the draw for `info`, and a note.

    A row without SOC in the table keeps its own. TableError says what is wrong.
    """
    try:
        table = _read(path, told)
        table, places = _find_scans(table, rows, soils)
        soc = table.numbers("soc")
        table.check((soc < 0) | np.isinf(soc), "soc", "be at least 0 and finite")
        design = _check_draw(table)
        own = rows.soc[places]
        _check_agreement(table, soc, own)
        if not told.soc_unit:
            _check_same_unit(soc, rows.soc)
    except ValueError as error:
        msg = f"'measured' ({path.name}): {error}"
        raise TableError(msg) from error
    filled = rows.soc.copy()
    filled[places] = np.where(np.isnan(soc), own, soc)
    columns = _columns(table, places, design, len(filled))
    drawn = [name for name in dict.fromkeys(design) if name]
    how = f"drawn as {drawn[0]!r}" if drawn else "not of a known draw"
    n_known = int(np.isfinite(soc).sum())
    note = f"Of {len(soc)} samples in {path.name}, {how}, {n_known} have SOC."
    layout = _check_carbon(table.carbon, rows, path)
    return replace(rows, soc=filled, layout=layout), columns, note


def _check_carbon(carbon: Carbon, rows: Rows, path: Path) -> Layout:
    """Return the layout with the kind and unit of the SOC, or raise TableError."""
    layout = rows.layout
    own = (layout.soc_kind, layout.soc_unit)
    if np.isnan(rows.soc).all():
        own = (carbon.kind, carbon.unit)
    unit = carbon.unit or own[1]
    if carbon.kind != own[0] or unit != own[1]:
        msg = (
            f"'measured' ({path.name}): its SOC is {carbon.kind} in {unit or '%'}, "
            f"that of the file of the spectra {own[0]} in {own[1] or '%'}. Convert "
            "one of them."
        )
        raise TableError(msg)
    notes = layout.notes + ((carbon.note,) if carbon.note else ())
    return replace(layout, soc_kind=own[0], soc_unit=own[1], notes=notes)


def read_cells(
    path: Path,
    fields: Sequence[str],
    find: Callable[[Sequence[str]], tuple[dict[str, int], list[str]]],
) -> Table:
    """Return the cells of those fields that a table has.

    `find` gets the names of its columns, and returns the place of each field that is
    there and what is wrong with the names. Without ids the rows are numbered.
    """
    if not has_suffix(path):
        msg = f"A table must end in {LISTED}. Save it as CSV."
        raise TableError(msg)
    n_rows = 0
    with open_table(path) as source:
        names = [name.strip() for name in source.names]
        places, problems = find(names)
        twice = Counter(name.lower() for name in names)
        problems = problems + [
            f"Column {name!r} is there {twice[name]} times. Keep one of them."
            for name in fields
            if twice[name] > 1
        ]
        if problems:
            raise TableError(*problems)
        cells: dict[str, list[str]] = {name: [] for name in fields if name in places}
        for batch in source.batches:
            n_rows += len(batch)
            for name in cells:
                cells[name] += as_texts(batch.column(places[name]))
    for name in set(cells) - {"sample_id"}:  # a sample may be called NA
        cells[name] = ["" if c.lower() in MISSING_WORDS else c for c in cells[name]]
    if not n_rows:
        msg = "It has a header but no samples. Add one row per sample."
        raise TableError(msg)
    cells.setdefault("sample_id", [f"{row}" for row in range(1, n_rows + 1)])
    return Table(cells, source.decimal_comma)


def _read(path: Path, told: Told) -> _Laboratory:
    """Return a laboratory's table; what it does not have was told of the spectra's."""
    found: dict[str, Any] = {}

    def find(names: Sequence[str]) -> tuple[dict[str, int], list[str]]:
        own = replace(
            told,
            soc_column=told.soc_column if told.soc_column in names else "",
            id_column=told.id_column if told.id_column in names else "",
        )
        by_place = dict(enumerate(names))
        carbon, (ids, no_ids, _) = find_carbon(by_place, own), find_ids(by_place, own)
        found.update(carbon=carbon, told=own, soc_name=names[carbon.position or 0])
        places = {name.lower(): n for n, name in enumerate(names)}
        places |= {"sample_id": ids, "soc": carbon.position}  # type: ignore[dict-item]
        return places, [problem for problem in (no_ids, carbon.problem) if problem]

    table = read_cells(path, FIELDS, find)
    return _Laboratory(table.cells, table.decimal_comma, **found)


def read_laboratory(path: Path) -> tuple[str, list[tuple[str, str]]]:
    """Return the name of a laboratory's SOC, and the samples with it as text."""
    table = _read(path, Told(soc_kind="organic_carbon"))
    return table.soc_name, list(zip(table.ids, table.cells["soc"], strict=True))


def _find_scans(
    table: _Laboratory, rows: Rows, soils: Sequence[str]
) -> tuple[_Laboratory, npt.NDArray[np.intp]]:
    """Return the table with a row for each scan of its samples, and their places."""
    places_of: dict[str, list[int]] = {}
    for names in (soils, rows.sample_ids):
        own: dict[str, list[int]] = {}
        for place, name in enumerate(names):
            own.setdefault(name, []).append(place)
        places_of |= own
    if twice := [name for name, count in Counter(table.ids).items() if count > 1]:
        msg = (
            f"Column 'sample_id' has {_some(twice)} more than once. "
            "Give each sample one row."
        )
        raise TableError(msg)
    if lacking := [name for name in table.ids if name not in places_of]:
        msg = (
            f"Column 'sample_id' has {_some(lacking)} that the scans lack. Write each "
            "id as in the file of the spectra, or remove the row."
        )
        raise TableError(msg)
    pairs = [(n, p) for n, name in enumerate(table.ids) for p in places_of[name]]
    cells = {
        field: [texts[n] for n, _ in pairs] for field, texts in table.cells.items()
    }
    places = np.array([place for _, place in pairs], dtype=np.intp)
    return replace(table, cells=cells), places


def _some(names: Sequence[str]) -> str:
    """Return how many ids there are, and up to three of them."""
    listed = ", ".join(map(repr, names[:3])) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} id{'s' if len(names) > 1 else ''} ({listed})"


def _check_agreement(table: _Laboratory, soc: Floats, own: Floats) -> None:
    """Raise TableError where the scans' file has another SOC of the same sample."""
    other = np.abs(soc - own) > ROUNDING * np.maximum(np.abs(soc), np.abs(own))
    if other.any():
        row = int(other.argmax())
        msg = (
            f"Column 'soc' must agree with the file of the spectra, got {soc[row]:g} "
            f"against {own[row]:g} there (sample {table.ids[row]!r}; "
            f"{int(other.sum())} in all). Correct one of them."
        )
        raise TableError(msg)


def _check_same_unit(soc: Floats, own: Floats) -> None:
    """Raise TableError where the two files' SOC seem to be in different units."""
    parts = [part[np.isfinite(part)] for part in (soc, own)]
    if min(map(len, parts)) < MIN_VALUES_FOR_UNIT:
        return
    here, there = (float(np.median(part)) for part in parts)
    if max(here, there) > MAX_MEDIAN_RATIO * min(here, there) > 0:
        msg = (
            "Column 'soc' must be in the unit of the file of the spectra, got a median "
            f"of {here:.3g} against {there:.3g} there. Convert one of them, or say "
            "soc_unit='g/kg' or soc_unit='%' if both are in it."
        )
        raise TableError(msg)


def _check_draw(table: _Laboratory) -> list[str]:
    """Return the design of each sample, "" where it was not drawn, or raise."""
    from soilnb.selection import DESIGNS  # loads SciPy

    stratum, share = (table.numbers(field) for field in FIELDS[3:])
    whole = "be whole numbers"
    table.check((stratum % 1 != 0) & ~np.isnan(stratum), "stratum", whole)
    rule = "be above 0 and at most 1"
    table.check((share <= 0) | (share > 1), "inclusion_probability", rule)
    names = [name.lower() for name in table.cells.get("design", [""] * len(share))]
    for name in names:
        check_choice(name, "design", (*DESIGNS, *NOT_DRAWN))
    design = ["" if name in NOT_DRAWN else name for name in names]
    drawn = sorted({*design} - {""})
    if len(drawn) > 1:
        msg = (
            f"Column 'design' must name one draw, got {' and '.join(map(repr, drawn))}."
            " Write 'next' for samples that were not of the draw."
        )
        raise TableError(msg)
    lacks = np.array([name == "stratified" for name in design])
    lacks &= np.isnan(stratum) | np.isnan(share)
    if lacks.any():
        msg = (
            "Samples of the design 'stratified' must have a stratum and an "
            f"inclusion_probability, got none for {table.ids[int(lacks.argmax())]!r} "
            f"({int(lacks.sum())} in all). Copy them from the table of the draw."
        )
        raise TableError(msg)
    return design


def _columns(
    table: _Laboratory, places: npt.NDArray[np.intp], design: list[str], n_rows: int
) -> dict[str, Any]:
    """Return the columns of `info` that say how each sample was drawn."""
    frame = pd.DataFrame(
        {
            "design": design,
            "stratum": pd.array(table.numbers("stratum"), dtype="Int64"),
            "inclusion_probability": table.numbers("inclusion_probability"),
        },
        index=places,
    ).reindex(range(n_rows))
    return {**frame, "design": frame["design"].fillna("")}
