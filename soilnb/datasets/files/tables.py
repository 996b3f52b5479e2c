"""Tables beside the spectra: the laboratory's answer, and places to choose from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from soilnb._validation import check_choice
from soilnb.datasets.files.columns import COORDINATES, REQUIRED, Floats, Mask, repeated
from soilnb.datasets.files.roles import (
    Carbon,
    TableError,
    Told,
    find_carbon,
    find_ids,
    refuse,
)
from soilnb.datasets.files.rows import Rows, take_units
from soilnb.datasets.files.samples import NOT_DETECTED, SAY_LIMIT, half_of, is_limit
from soilnb.datasets.files.table import (
    LISTED,
    has_suffix,
    in_its_encoding,
    is_missing,
    open_table,
    parse_numbers,
    to_frame,
)

FIELDS = (*REQUIRED, "design", "stratum", "inclusion_probability")
NOT_DRAWN = ("next", "")  # picked by someone, or not said
ROUNDING = 0.01  # relative, by which two copies of a value may differ
# Two lists of one farm in one unit differ less in their medians; % and g/kg by ten.
MAX_MEDIAN_RATIO = 5
MIN_VALUES_FOR_UNIT = 5
METRES = ("easting", "northing")
CANDIDATE_NUMBERS = ("prediction", "spread", *COORDINATES, *METRES)
MAP_M = 10_000  # coordinates of a map are as large; those from a farm's corner are not


@dataclass
class Table:
    """The cells of a table as text, a column for each field, "" for missing ones."""

    names: list[str]
    cells: pd.DataFrame
    decimal_comma: bool

    def numbers(self, field: str) -> Floats:
        """Return a column as numbers, NaN where it is empty or not there."""
        if field not in self.cells:
            return np.full(len(self.cells), np.nan)
        numbers, texts = parse_numbers(self.cells[field], self.decimal_comma)
        for row, text in texts[:1]:
            limit = f" {SAY_LIMIT}" * (field == "soc" and is_limit(text))
            refuse(
                f"Column {field!r} must hold numbers, got the text {text!r} (sample "
                f"{self.cells['sample_id'].iloc[row]!r}). Write a number, or leave the "
                f"cell empty.{limit}"
            )
        return numbers

    def check(
        self, bad: Mask, field: str, rule: str, remedy: str = "leave the cell empty"
    ) -> None:
        """Raise TableError with the first cell that breaks a rule."""
        if bad.any():
            first = self.cells.iloc[int(bad.argmax())]
            refuse(
                f"Column {field!r} must {rule}, got {first[field] or 'none'} "
                f"(sample {first['sample_id']!r}). Correct it, or {remedy}."
            )


def _read(path: Path, encoding: str) -> Table:
    """Return the cells of a table, all as text."""
    if not has_suffix(path):
        refuse(f"A table must end in {LISTED}, got {path.name!r}. Save it as CSV.")
    with open_table(path, encoding) as source:
        source = take_units(source)
        names = [name.strip() for name in source.names]
        cells = to_frame(source.batches, {n: n for n in range(len(names))})
        return Table(names, cells, source.decimal_comma)


def _take(
    table: Table, fields: Sequence[str], places: dict[str, int], problems: Sequence[str]
) -> None:
    """Keep the fields of a table that have a place; without ids number its rows."""
    known = (name for name in map(str.lower, table.names) if name in fields)
    if problems := [*problems, *repeated(sorted(known, key=fields.index))]:
        refuse(*problems)
    if table.cells.empty:
        refuse("It has a header but no samples. Add one row per sample.")
    cells = {n: table.cells[places[n]] for n in fields if places.get(n) is not None}
    for name in {*cells} - {"sample_id"}:  # a sample may be called NA
        cells[name] = cells[name].mask(is_missing(cells[name]), "")
    rows = [f"{row}" for row in range(1, len(table.cells) + 1)]
    table.cells = pd.DataFrame({"sample_id": rows} | cells)


def add_measured(
    rows: Rows, path: Path, told: Told, soils: Sequence[str]
) -> pd.DataFrame:
    """Add the SOC of a table to that of rows; return its draw as columns for `info`."""
    try:
        table, carbon = read_laboratory(path, told)
        places = _find_scans(table, rows, soils)
        table.cells = table.cells.loc[places.index]
        soc, own = table.numbers("soc"), rows.soc[places]
        table.check((soc < 0) | np.isinf(soc), "soc", "be at least 0 and finite")
        drawn = _read_draw(table)
        _check_same_soc(table, soc, own)
        if not told.soc_unit:
            _check_same_unit(soc, rows.soc)
        _check_carbon(carbon, rows)
    except ValueError as error:
        msg = f"'measured' ({path.name}): {error}"
        raise TableError(msg) from error
    rows.soc[places] = np.where(np.isnan(soc), own, soc)
    name = drawn["design"].max()
    how = f"drawn as {name!r}" if name else "not of a known draw"
    n = f"{np.isfinite(soc).sum()} have SOC."
    rows.notes.append(f"Of {len(soc)} samples in {path.name}, {how}, {n}")
    drawn = drawn.set_axis(places).reindex(range(len(rows.soc)))
    return drawn.assign(design=drawn["design"].fillna(""))


def read_laboratory(path: Path, told: Told) -> tuple[Table, Carbon]:
    """Return a laboratory's table and its SOC; limits of detection are as told."""
    table = in_its_encoding(_read, path)
    columns = {name: getattr(told, name) for name in ("soc_column", "id_column")}
    own = {name: value * (value in table.names) for name, value in columns.items()}
    by_place = dict(enumerate(table.names))
    carbon = find_carbon(by_place, replace(told, **own))
    ids, no_ids, _ = find_ids(by_place, replace(told, **own))
    places = {name.lower(): n for n, name in by_place.items()}
    places |= {"sample_id": ids, "soc": carbon.position}  # type: ignore[dict-item]
    _take(table, FIELDS, places, [*filter(None, (no_ids, carbon.problem))])
    if told.below_detection:
        is_half = told.below_detection == "half"
        texts = {*table.cells["soc"]}  # 0 will be half of the smallest value
        halves = {text: half_of(text) for text in texts}
        halves |= {text: "0" for text in texts if NOT_DETECTED.fullmatch(text)}
        halves = {text: half * is_half for text, half in halves.items() if half}
        table.cells["soc"] = table.cells["soc"].replace(halves)
    return table, carbon


def _find_scans(table: Table, rows: Rows, soils: Sequence[str]) -> pd.Series:
    """Return the rows of the spectra that a table's samples have, by its own rows."""
    ids = table.cells["sample_id"]
    places_of: dict[str, Sequence[int]] = {}
    for names in (soils, rows.sample_ids):
        places_of |= pd.Series(range(len(rows.soc))).groupby([*names]).groups
    what, names = "more than once. Give each sample one row.", ids[ids.duplicated()]
    if names.empty:
        names = ids[~ids.isin([*places_of])]
        what = "that the scans lack. Write each id as in the file of the spectra, or "
        what += "remove the row."
    if n := names.nunique():
        listed = ", ".join(map(repr, names.unique()[:3])) + ", ..." * (n > 3)
        refuse(f"Column 'sample_id' has {n} id{'s' * (n > 1)} ({listed}) {what}")
    return ids.map(lambda name: [*places_of[name]]).explode().astype(np.intp)


def _check_same_soc(table: Table, soc: Floats, own: Floats) -> None:
    """Raise TableError where the scans' file has another SOC of the same sample."""
    other = np.abs(soc - own) > ROUNDING * np.maximum(np.abs(soc), np.abs(own))
    if other.any():
        row = int(other.argmax())
        refuse(
            f"Column 'soc' must agree with the file of the spectra, got {soc[row]:g} "
            f"against {own[row]:g} there (sample {table.cells['sample_id'].iloc[row]!r}"
            f"; {int(other.sum())} in all). Correct one of them."
        )


def _check_same_unit(soc: Floats, own: Floats) -> None:
    """Raise TableError where the two files' SOC seem to be in different units."""
    parts = [part[np.isfinite(part)] for part in (soc, own)]
    if min(map(len, parts)) < MIN_VALUES_FOR_UNIT:
        return
    here, there = (float(np.median(part)) for part in parts)
    if max(here, there) > MAX_MEDIAN_RATIO * min(here, there) > 0:
        refuse(
            "Column 'soc' must be in the unit of the file of the spectra, got a median "
            f"of {here:.3g} against {there:.3g} there. Convert one of them, or say "
            "soc_unit='g/kg' or soc_unit='%' if both are in it."
        )


def _check_carbon(carbon: Carbon, rows: Rows) -> None:
    """Take the kind and unit of the SOC where the scans have none, or compare them."""
    layout = rows.layout
    if np.isnan(rows.soc).all():
        layout = replace(layout, soc_kind=carbon.kind, soc_unit=carbon.unit)
    kind, unit = layout.soc_kind, layout.soc_unit
    if carbon.kind != kind or (carbon.unit or unit) != unit:
        refuse(
            f"its SOC is {carbon.kind} in {carbon.unit or unit or '%'}, that of the "
            f"file of the spectra {kind} in {unit or '%'}. Convert one of them."
        )
    rows.layout = layout


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
        refuse(
            f"Column 'design' must name one draw, got {' and '.join(map(repr, drawn))}."
            " Write 'next' for samples that were not of the draw."
        )
    lacks = (design == "stratified") & (np.isnan(stratum) | np.isnan(share))
    if lacks.any():
        first = table.cells["sample_id"][lacks].iloc[0]
        refuse(
            "Samples of the design 'stratified' must have a stratum and an "
            f"inclusion_probability, got none for {first!r} "
            f"({int(lacks.sum())} in all). Copy them from the table of the draw."
        )
    strata = pd.array(stratum, dtype="Int64")
    columns = {"design": design, "stratum": strata, "inclusion_probability": share}
    return pd.DataFrame(columns)


def read_candidates(path: str | Path) -> pd.DataFrame:
    """Return a table of places that may be sampled.

    Columns of the file, as far as they are there, and of what is returned, one row a
    place: sample_id (by default the number of the row), prediction and spread (its
    standard deviation, same unit), stratum (a name), latitude and longitude (degrees,
    WGS 84) or easting and northing (metres). Numbers are complete and finite; other
    columns are not read. A ValueError if the file is no table, has neither prediction
    nor coordinates, or a cell is missing, negative (spread) or not on Earth, or
    coordinates are of two kinds.
    """
    path = Path(path)
    if not path.exists():
        msg = f"There is no file '{path}'. Check the path."
        raise ValueError(msg)
    table, remedy = in_its_encoding(_read, path), "leave the place out"
    known = {name.lower(): place for place, name in enumerate(table.names)}
    there = [[n for n in pair if n in known] for pair in (COORDINATES, METRES)]
    problems = []
    if any(len(pair) == 1 for pair in there):
        got = " and ".join(there[0] + there[1])
        problems = [
            "Coordinates must be the columns latitude and longitude (degrees), or "
            f"easting and northing (metres), got {got}. Give a pair."
        ]
    elif not ("prediction" in known or any(there)):
        problems = [
            "There must be a column prediction, or latitude and longitude (degrees), "
            f"or easting and northing (metres), got {', '.join(table.names[:5])}. "
            "Rename or add them; for scans without either: soilnb choose FILE"
        ]
    _take(table, ("sample_id", "stratum", *CANDIDATE_NUMBERS), known, problems)
    ids = table.cells["sample_id"]
    if (twice := ids[ids.duplicated()]).size:
        refuse(f"Column 'sample_id' has {twice.iloc[0]!r} twice. Name each place once.")
    found = table.cells.copy()
    if "stratum" in found:
        rule = "be filled in for every place"
        table.check(found["stratum"].eq("").to_numpy(), "stratum", rule, remedy)
    for name in [name for name in CANDIDATE_NUMBERS if name in found]:
        found[name] = table.numbers(name)
        bad = ~np.isfinite(found[name].to_numpy())
        table.check(bad, name, "hold a number for every place", remedy)
    _check_ranges(table, found, remedy)
    return found


def _check_ranges(table: Table, found: pd.DataFrame, remedy: str) -> None:
    """Raise where a spread is negative or coordinates are of two kinds."""
    for name in [name for name in ("spread", *COORDINATES) if name in found]:
        low, high, rule = 0.0, np.inf, "be at least 0, a standard deviation"
        if most := COORDINATES.get(name):
            low, high = -most, most
            rule = f"be from -{most} to {most} degrees, not metres"
        table.check(~found[name].between(low, high).to_numpy(), name, rule, remedy)
    if "easting" in found:
        east, north = (np.abs(found[name].to_numpy()) for name in METRES)
        bad = (east <= 180) & (north <= 90)
        rule = "be metres for every place, not degrees"
        if bad.all() or north[~bad].min() <= MAP_M:
            bad[:] = max(np.ptp(found[name]) for name in METRES) < 1
            rule = "be metres, which differ by more than one (are these degrees?)"
        table.check(bad, "easting", rule, remedy)
