"""The laboratory's answer as a table of its own: SOC and how the samples were drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from soilnb._validation import check_choice
from soilnb.datasets.files.cells import SAY_LIMIT, half_of
from soilnb.datasets.files.columns import REQUIRED, Floats, Layout, Mask, TableError
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

Find = Callable[[Sequence[str]], tuple[dict[str, int], list[str]]]


@dataclass(frozen=True)
class Table:
    """The cells of a table as text, a column for each field, "" for missing ones."""

    cells: pd.DataFrame
    decimal_comma: bool

    def numbers(self, field: str) -> Floats:
        """Return a column as numbers, NaN where it is empty or not there."""
        if field not in self.cells:
            return np.full(len(self.cells), np.nan)
        cells = pa.array(self.cells[field].tolist(), pa.string())
        numbers, texts = parse_numbers(cells, self.decimal_comma)
        for row, text in texts[:1]:
            msg = (
                f"Column {field!r} must hold numbers, got the text {text!r} (sample "
                f"{self.cells['sample_id'].iloc[row]!r}). Write a number, or leave the "
                "cell empty." + f" {SAY_LIMIT}" * bool(field == "soc" and half_of(text))
            )
            raise TableError(msg)
        return numbers

    def check(
        self,
        bad: Mask,
        field: str,
        rule: str,
        remedy: str = "or leave the cell empty",
    ) -> None:
        """Raise TableError with the first cell that breaks a rule."""
        if bad.any():
            first = self.cells.iloc[int(bad.argmax())]
            msg = (
                f"Column {field!r} must {rule}, got {first[field] or 'none'} "
                f"(sample {first['sample_id']!r}). Correct it, {remedy}."
            )
            raise TableError(msg)


def add_measured(
    rows: Rows, path: Path, told: Told, soils: Sequence[str]
) -> tuple[Rows, dict[str, Any], str]:
    """Return rows with the SOC of a table, columns of the draw for `info`, and a note.

    A row without SOC in the table keeps its own. TableError says what is wrong.
    """
    try:
        table, carbon = _read(path, told)
        places = _find_scans(table, rows, soils)
        table = replace(table, cells=table.cells.loc[[*places.index]])
        soc, own = table.numbers("soc"), rows.soc[places]
        table.check((soc < 0) | np.isinf(soc), "soc", "be at least 0 and finite")
        drawn = _read_draw(table)
        _check_agreement(table, soc, own)
        if not told.soc_unit:
            _check_same_unit(soc, rows.soc)
    except ValueError as error:
        msg = f"'measured' ({path.name}): {error}"
        raise TableError(msg) from error
    filled = rows.soc.copy()
    filled[places] = np.where(np.isnan(soc), own, soc)
    name = drawn["design"].max()
    how = f"drawn as {name!r}" if name else "not of a known draw"
    note = f"Of {len(soc)} samples in {path.name}, {how}, {np.isfinite(soc).sum()} "
    drawn = drawn.set_axis(places).reindex(range(len(filled)))
    columns = {**drawn, "design": drawn["design"].fillna("")}
    layout = _check_carbon(carbon, rows, path)
    return replace(rows, soc=filled, layout=layout), columns, f"{note}have SOC."


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


def read_cells(path: Path, fields: Sequence[str], find: Find) -> Table:
    """Return the cells of those fields that a table has.

    `find` gets the names of its columns, and returns the place of each field that is
    there and what is wrong with the names. Without ids the rows are numbered.
    """
    if not has_suffix(path):
        msg = f"A table must end in {LISTED}. Save it as CSV."
        raise TableError(msg)
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
        there = [name for name in fields if name in places]
        parts = [
            {name: as_texts(batch.column(places[name])) for name in there}
            | {"": [""] * len(batch)}
            for batch in source.batches
        ]
    cells = pd.concat([pd.DataFrame(), *map(pd.DataFrame, parts)], ignore_index=True)
    if cells.empty:
        msg = "It has a header but no samples. Add one row per sample."
        raise TableError(msg)
    for name in {*there} - {"sample_id"}:  # a sample may be called NA
        cells[name] = cells[name].mask(cells[name].str.lower().isin(MISSING_WORDS), "")
    if "sample_id" not in cells:
        cells["sample_id"] = [f"{row}" for row in range(1, len(cells) + 1)]
    return Table(cells, source.decimal_comma)


def _read(path: Path, told: Told) -> tuple[Table, Carbon]:
    """Return a laboratory's table and its SOC; limits of detection are as told."""
    found: list[Carbon] = []

    def find(names: Sequence[str]) -> tuple[dict[str, int], list[str]]:
        columns = {name: getattr(told, name) for name in ("soc_column", "id_column")}
        own = {name: value * (value in names) for name, value in columns.items()}
        by_place = dict(enumerate(names))
        carbon = find_carbon(by_place, replace(told, **own))
        ids, no_ids, _ = find_ids(by_place, replace(told, **own))
        found.append(carbon)
        places = {name.lower(): n for n, name in enumerate(names)}
        places |= {"sample_id": ids, "soc": carbon.position}  # type: ignore[dict-item]
        return places, [problem for problem in (no_ids, carbon.problem) if problem]

    table = read_cells(path, FIELDS, find)
    if told.below_detection:
        is_half = told.below_detection == "half"
        halves = {text: half_of(text) for text in table.cells["soc"]}
        halves = {text: half * is_half for text, half in halves.items() if half}
        table.cells["soc"] = table.cells["soc"].replace(halves)
    return table, found[0]


def read_laboratory(path: Path) -> tuple[str, list[tuple[str, str]]]:
    """Return the name of a laboratory's SOC, and the samples with it as text."""
    table, carbon = _read(path, Told(soc_kind="organic_carbon"))
    return carbon.name, [
        *zip(table.cells["sample_id"], table.cells["soc"], strict=True)
    ]


def _find_scans(table: Table, rows: Rows, soils: Sequence[str]) -> pd.Series:
    """Return the rows of the spectra that a table's samples have, by its own rows."""
    ids = table.cells["sample_id"]
    places_of: dict[str, Sequence[int]] = {}
    for names in (soils, rows.sample_ids):
        places_of |= pd.Series(names).groupby([*names]).groups
    twice, lacking = ids[ids.duplicated()].unique(), [*ids[~ids.isin([*places_of])]]
    if len(twice):
        what, remedy = f"{_some(twice)} more than once", "Give each sample one row."
    elif lacking:
        what = f"{_some(lacking)} that the scans lack"
        remedy = "Write each id as in the file of the spectra, or remove the row."
    else:
        return ids.map(lambda name: [*places_of[name]]).explode().astype(np.intp)
    msg = f"Column 'sample_id' has {what}. {remedy}"
    raise TableError(msg)


def _some(names: Sequence[str]) -> str:
    """Return how many ids there are, and up to three of them."""
    listed = ", ".join(map(repr, names[:3])) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} id{'s' if len(names) > 1 else ''} ({listed})"


def _check_agreement(table: Table, soc: Floats, own: Floats) -> None:
    """Raise TableError where the scans' file has another SOC of the same sample."""
    other = np.abs(soc - own) > ROUNDING * np.maximum(np.abs(soc), np.abs(own))
    if other.any():
        row = int(other.argmax())
        msg = (
            f"Column 'soc' must agree with the file of the spectra, got {soc[row]:g} "
            f"against {own[row]:g} there (sample {table.cells['sample_id'].iloc[row]!r}"
            f"; {int(other.sum())} in all). Correct one of them."
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


def _read_draw(table: Table) -> pd.DataFrame:
    """Return how each sample was drawn, design "" where it was not, or raise."""
    from soilnb.selection import DESIGNS  # loads SciPy

    stratum, share = (table.numbers(field) for field in FIELDS[3:])
    table.check((stratum % 1 != 0) & ~np.isnan(stratum), "stratum", "be whole numbers")
    rule = "be above 0 and at most 1"
    table.check((share <= 0) | (share > 1), "inclusion_probability", rule)
    design = table.cells.get("design", pd.Series("", table.cells.index)).str.lower()
    for name in design:
        check_choice(name, "design", (*DESIGNS, *NOT_DRAWN))
    design = design.mask(design.isin(NOT_DRAWN), "")
    if len(drawn := sorted({*design} - {""})) > 1:
        msg = (
            f"Column 'design' must name one draw, got {' and '.join(map(repr, drawn))}."
            " Write 'next' for samples that were not of the draw."
        )
        raise TableError(msg)
    lacks = (design == "stratified") & (np.isnan(stratum) | np.isnan(share))
    if lacks.any():
        first = table.cells["sample_id"][lacks].iloc[0]
        msg = (
            "Samples of the design 'stratified' must have a stratum and an "
            f"inclusion_probability, got none for {first!r} "
            f"({int(lacks.sum())} in all). Copy them from the table of the draw."
        )
        raise TableError(msg)
    strata = pd.array(stratum, dtype="Int64")
    columns = {"design": design, "stratum": strata, "inclusion_probability": share}
    return pd.DataFrame(columns)
