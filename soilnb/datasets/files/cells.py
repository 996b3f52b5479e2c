"""The cells of a user's file: text, gaps and ids that a table must not have."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import numpy as np

from soilnb.datasets.files.columns import MIN_WAVELENGTHS
from soilnb.datasets.files.quantities import Findings
from soilnb.datasets.files.rows import SOC_CELL, Rows, row_blocks
from soilnb.datasets.files.told import Told
from soilnb.preprocessing import DEFAULT_RANGE_NM

LIMIT = re.compile(r"[<≤]=? ?(\d+(?:[.,]\d+)?)( ?[%/a-zA-Z]+)?")
SAY_LIMIT = "Say below_detection='half' or below_detection='unmeasured'."


def half_of(text: str) -> str:
    """Return half of a limit of detection such as "<0.2"; "" for other texts.

    >>> half_of("< 0.2"), half_of("n.d.")
    ('0.1', '')
    """
    match = LIMIT.fullmatch(text.strip())
    return f"{float(match[1].replace(',', '.')) / 2:g}" if match else ""


def settle_limits(rows: Rows, told: Told) -> tuple[Rows, Findings]:
    """Return rows whose SOC below detection, and zeros, are as they were told."""
    limits = {r: half_of(t) for r, band, t in rows.texts if band == SOC_CELL}
    limits = {row: half for row, half in limits.items() if half}
    is_log = rows.layout.soc_kind in ("ln", "log10")
    zeros = np.zeros(len(rows.soc), bool) if is_log else rows.soc == 0
    if not (rows.every_row or told.below_detection):
        zeros[:] = False  # of a library
    n = len(limits) + int(zeros.sum())
    if not n:
        return rows, Findings()
    column = rows.layout.column("soc")
    if not told.below_detection:
        if not zeros.any():
            return rows, Findings()  # the texts are a problem
        row = int(zeros.argmax())
        question = (
            f"Column {column!r} has {int(zeros.sum())} values of 0 (first: "
            f"{rows.place(row)}): no soil is without carbon, so they are missing or "
            f"below detection. {SAY_LIMIT}"
        )
        return rows, Findings((question,))
    soc = rows.soc.copy()
    soc[zeros] = np.nan
    least = np.nanmin(soc[soc > 0]) if (soc > 0).any() else np.nan
    if told.below_detection == "half":
        soc[zeros] = least / 2
        for row, half in limits.items():
            soc[row] = float(half)
        how = "were taken as half of the limit"
        if zeros.any():
            how = "were taken as half of the limit, or of the smallest value"
    else:
        how = "count as not measured"
    texts = [t for t in rows.texts if not (t[1] == SOC_CELL and t[0] in limits)]
    note = f"{n} values of {column!r} that are 0 or below detection {how}."
    return replace(rows, soc=soc, texts=texts), Findings(notes=(note,))


def leave_out_bands(rows: Rows) -> tuple[Rows, Findings]:
    """Return rows without bands that are empty, or bad where no model looks at them.

    These are bands beyond the working grid with missing, zero or negative values.
    """
    spectra, nm = rows.spectra, rows.layout.wavelengths
    low, high = DEFAULT_RANGE_NM
    empty = np.isnan(spectra).all(axis=0)
    outside = (nm < low) | (nm > high)
    bad = outside & ~(spectra > 0).all(axis=0)
    bad |= empty
    bad[[band for _, band, _ in rows.texts if band != SOC_CELL]] = False
    if not rows.every_row or not bad.any() or (~bad).sum() < MIN_WAVELENGTHS:
        return rows, Findings()
    kept = np.flatnonzero(~bad)
    place_of = {band: n for n, band in enumerate(kept)} | {SOC_CELL: SOC_CELL}
    spectral = tuple(rows.layout.spectral[band] for band in kept)
    layout = replace(rows.layout, spectral=spectral, wavelengths=nm[kept])
    texts = [(row, place_of[band], text) for row, band, text in rows.texts]
    made = replace(rows, layout=layout, spectra=spectra[:, kept], texts=texts)
    note = (
        f"{int(bad.sum())} bands ({nm[bad][0]:g} to {nm[bad][-1]:g} nm) have missing, "
        f"zero or negative values and are left out: they are empty or beyond {low}-"
        f"{high} nm."
    )
    return made, Findings(notes=(note,))


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
        + (
            f"{SAY_LIMIT} Else leave the cell empty."
            if half_of(text) and band == SOC_CELL
            else "Write numbers with a decimal point, and nothing else in the cell."
        )
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
            f"{numbers[second]}). Give each sample its own id; of repeated scans, say "
            "replicates='average' or replicates='separate'."
        )
    return Findings(tuple(problems))
