"""Tables that are turned before they are read: transposed ones, and long ones.

A kind of table is one function in `KINDS`: it returns the table with a row per sample
and a sentence, or None where the table is of another kind.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import chain

import numpy as np
import pandas as pd

from soilnb.datasets.files.columns import (
    TableError,
    wavelength_columns,
)
from soilnb.datasets.files.roles import find_ids, read_name
from soilnb.datasets.files.table import Source, as_texts, make_batch, parse_texts
from soilnb.datasets.files.told import Told

AXIS_NAMES = {"wavelength", "wavelengths", "wl", "nm", "lambda", "wavenumber"}
AXIS_NAMES |= {"wavenumbers", "wave"}
UNIT_WORDS = {
    "",
    "-",
    "--",
    "nm",
    "text",
    "fraction",
    "no unit",
    "unit",
    "units",
    "a.u.",
}
VALUE_NAMES = {"reflectance", "refl", "value", "values", "absorbance", "spectrum"}
VALUE_NAMES |= {"spectra", "r", "intensity", "percent"}


def turn(source: Source, told: Told) -> Source:
    """Return a table with a row per sample, whatever the file has."""
    _, problems, _ = wavelength_columns(source.names, told.axis)
    if not problems or len(source.names) < 3:
        return source
    batches = list(source.batches)
    columns = [
        [text for batch in batches for text in as_texts(batch.column(position))]
        for position in range(len(source.names))
    ]
    table = pd.DataFrame(dict(enumerate(columns)))
    for kind in KINDS:
        if (turned := kind(source, table, told)) is not None:
            made, note = turned
            names = [str(name) for name in made.columns]
            batch = make_batch(made.astype(str).to_numpy().tolist(), len(names))
            notes = (*source.notes, note)
            return replace(source, names=names, batches=iter([batch]), notes=notes)
    return replace(source, batches=iter(batches))


def _transposed(
    source: Source, table: pd.DataFrame, told: Told
) -> tuple[pd.DataFrame, str] | None:
    """Turn a table with a column per sample: its first column has the wavelengths."""
    first = table[0].tolist()
    named = [text for text in first if re.search(r"\d", text)]
    bands, problems, _ = wavelength_columns(named, told.axis)
    nm = np.array([value for _, value in bands])
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
    axis = [n for n, name in enumerate(plain) if name in AXIS_NAMES]
    value = [n for n, name in enumerate(plain) if name in VALUE_NAMES]
    ids = find_ids(dict(enumerate(source.names)), told)[0]
    if len(axis) != 1 or len(value) != 1 or ids is None:
        return None
    nm = parse_texts(table[axis[0]].tolist(), source.decimal_comma)
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
    made = info.join(wide)
    return made, (
        f"The table is long: its {len(table)} rows were read as {len(made)} samples "
        f"of {wide.shape[1]} bands."
    )


KINDS = (_transposed, _long)


def take_units(source: Source) -> Source:
    """Return a table without a row of units beneath its header.

    The unit of carbon becomes a part of the column's name.
    """
    first = next(source.batches, None)
    if first is None or not len(first):
        return source
    cells = [as_texts(column)[0] for column in first.slice(0, 1).columns]
    units = {cell: read_name(f"soc {cell}").unit for cell in {*cells}}
    plain = {cell for cell in units if cell.lower().strip("[]()") in UNIT_WORDS}
    if not all(cell in plain or unit for cell, unit in units.items()):
        return replace(source, batches=chain([first], source.batches))
    names = [
        f"{name} ({cell})" if units[cell] and read_name(name).kind else name
        for name, cell in zip(source.names, cells, strict=True)
    ]
    notes = (*source.notes, "The row of units beneath the header was read.")
    batches = chain([first.slice(1)], source.batches)
    return replace(source, names=names, batches=batches, notes=notes)
