"""The cells of a user's file: text, gaps and ids that a table must not have."""

from __future__ import annotations

from collections import Counter

import numpy as np

from soilnb.datasets.files.quantities import Findings
from soilnb.datasets.files.rows import SOC_CELL, Rows, row_blocks


def check_cells(rows: Rows) -> Findings:
    """Report text where a number should be, and missing or infinite values."""
    if rows.every_row:
        return _check_missing(rows)
    missing = Findings(notes=_count_missing(rows))
    if not rows.texts:
        return missing
    if rows.layout.published is None:  # text is wrong in a user's own table
        return Findings((_text_problem(rows),)) + missing
    row, band, text = rows.texts[0]
    column = rows.layout.spectral_names[band]
    note = (
        f"{len(rows.texts):,} cells of the spectra hold text and count as not "
        f"measured (first: {text!r}, {rows.place(row)}, column {column!r})."
    )
    return Findings(notes=(note,)) + missing


def _check_missing(rows: Rows) -> Findings:
    """Report what is missing in a site, where every value but SOC counts."""
    infinite, no_value = np.isinf(rows.soc), ~np.isfinite(rows.spectra)
    unknown = np.isnan(rows.soc)
    for row, band, _ in rows.texts:
        if band == SOC_CELL:
            unknown[row] = False
        else:
            no_value[row, band] = False
    problems, notes = [_text_problem(rows)] if rows.texts else [], []
    n_all, column = len(rows.soc), rows.layout.column("soc")
    n_known, n_unknown = int(np.isfinite(rows.soc).sum()), int(unknown.sum())
    if n_unknown == n_all:
        what = f"Column {column!r} is empty"
        if "soc" not in rows.layout.known:
            what = "There is no column of SOC"
        notes.append(f"{what}: all {n_all} samples are to be estimated.")
    elif n_unknown:
        notes.append(f"{n_known} samples are measured, {n_unknown} have no SOC.")
    if infinite.any():
        problems.append(
            f"Column {column!r} has {int(infinite.sum())} infinite "
            f"values (first: {rows.place(int(np.argmax(infinite)))}). Remove these "
            "samples or fill in their SOC."
        )
    if no_value.any():
        problems.append(
            f"The spectra have {int(no_value.sum())} missing or infinite values "
            f"(first: {rows.place_of(no_value)}). Remove these samples or wavelengths."
        )
    facts = (("measured", f"{n_known} samples, {n_unknown} are to be estimated"),)
    return Findings(tuple(problems), tuple(notes), facts)


def _count_missing(rows: Rows) -> tuple[str, ...]:
    """Count what is missing in a library; what is infinite is so, too."""
    missing, n_rows = 0, 0
    for block in row_blocks(len(rows.spectra)):
        bad = ~np.isfinite(rows.spectra[block])
        rows.spectra[block][bad] = np.nan
        missing += int(bad.sum())
        n_rows += int(bad.any(axis=1).sum())
    if not missing:
        return ()
    return (
        f"{n_rows:,} rows were not measured at every wavelength ({missing:,} values "
        "are missing).",
    )


def _text_problem(rows: Rows) -> str:
    """Return the message for text where a number should be."""
    row, band, text = rows.texts[0]
    layout = rows.layout
    names = [*layout.spectral_names, layout.column("soc")]  # SOC_CELL is -1
    column = names[band]
    more = len(rows.texts) - 1
    return (
        f"Column {column!r} must hold numbers, got the text {text!r} "
        f"({rows.place(row)}{f'; {more} more such cells' if more else ''}). "
        "Write numbers with a decimal point, and nothing else in the cell."
    )


def check_ids(rows: Rows) -> Findings:
    """Report samples without an id and ids that are used twice."""
    ids, numbers = rows.sample_ids, rows.numbers
    column = rows.layout.column("sample_id")
    problems = []
    if empty := ids.count(""):
        problems.append(
            f"Column {column!r} has {empty} empty cells (first: data row "
            f"{numbers[ids.index('')]}). Give each sample its own id."
        )
    repeated = [name for name, count in Counter(ids).items() if name and count > 1]
    if repeated:
        first = ids.index(repeated[0])
        second = ids.index(repeated[0], first + 1)
        problems.append(
            f"Column {column!r} has {len(repeated)} ids that are used more than once "
            f"(first: {repeated[0]!r} in data rows {numbers[first]} and "
            f"{numbers[second]}). Give each sample its own id."
        )
    return Findings(tuple(problems))
