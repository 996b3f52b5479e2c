"""The cells of a user's file: text, gaps and ids that a table must not have."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd

from soilnb._blocks import row_blocks
from soilnb.datasets.files.columns import MIN_WAVELENGTHS
from soilnb.datasets.files.quantities import Findings
from soilnb.datasets.files.rows import SOC_CELL, Rows
from soilnb.datasets.files.told import Told
from soilnb.preprocessing import DEFAULT_RANGE_NM

LIMIT = re.compile(r"[<≤]=? ?(\d+(?:[.,]\d+)?)( ?[%/a-zA-Z]+)?")
NOT_DETECTED = re.compile(
    r"n\.? ?d\.?|b\.?d\.?l\.?|traces?|not det.*|(<|below) ?(lo[dq]|m?dl|ld|det.*)",
    re.IGNORECASE,
)
STATISTICS = r"mean|average|avg|sd|std|stdev|median|min|max|minimum|maximum|sum|total"
MAX_STATISTICS = 10  # of a table: more are names that someone gave
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
    halves = {r: half_of(t) for r, band, t in rows.texts if band == SOC_CELL}
    limits = {row: float(half) for row, half in halves.items() if half}
    unknown = [
        r for r, b, t in rows.texts if b == SOC_CELL and NOT_DETECTED.fullmatch(t)
    ]
    is_log = rows.layout.soc_kind in ("ln", "log10")
    matters = (rows.every_row or told.below_detection) and not is_log
    zeros = (rows.soc == 0) & bool(matters)
    column = repr(rows.layout.column("soc"))
    if not told.below_detection:  # texts are a problem anyway
        question = (
            f"Column {column} has {int(zeros.sum())} values of 0 (first: "
            f"{rows.first(zeros)}): no soil is without carbon, so they are missing or "
            f"below detection. {SAY_LIMIT}"
        )
        return rows, Findings((question,) if zeros.any() else ())
    zeros[unknown] = True
    if not (limits or zeros.any()):
        return rows, Findings()
    soc = np.where(zeros, np.nan, rows.soc)
    how = "count as not measured"
    if told.below_detection == "half":
        soc[zeros] = np.min(soc[soc > 0], initial=np.inf) / 2
        soc[[*limits]] = [*limits.values()]
        how = "were taken as half of the limit"
        how += ", or of the smallest value" * bool(zeros.any())
    done = {*limits, *unknown}
    texts = [t for t in rows.texts if not (t[1] == SOC_CELL and t[0] in done)]
    n = len(limits) + int(zeros.sum())
    note = f"{n} values of {column} that are 0 or below detection {how}."
    return replace(rows, soc=soc, texts=texts), Findings(notes=(note,))


def leave_out_bands(rows: Rows) -> tuple[Rows, Findings]:
    """Return rows without bands that are empty, or bad where no model looks at them.

    These are bands beyond the working grid with missing, zero or negative values.
    """
    nm, (low, high) = rows.layout.wavelengths, DEFAULT_RANGE_NM
    bad = ((nm < low) | (nm > high)) & ~(rows.spectra > 0).all(axis=0)
    bad |= np.isnan(rows.spectra).all(axis=0)
    bad[[band for _, band, _ in rows.texts if band != SOC_CELL]] = False
    if not rows.every_row or not bad.any() or (~bad).sum() < MIN_WAVELENGTHS:
        return rows, Findings()
    kept = np.flatnonzero(~bad)
    place_of = {band: n for n, band in enumerate(kept)} | {SOC_CELL: SOC_CELL}
    spectral = tuple(rows.layout.spectral[band] for band in kept)
    layout = replace(rows.layout, spectral=spectral, wavelengths=nm[kept])
    texts = [(row, place_of[band], text) for row, band, text in rows.texts]
    made = replace(rows, layout=layout, spectra=rows.spectra[:, kept], texts=texts)
    note = (
        f"{int(bad.sum())} bands ({nm[bad][0]:g} to {nm[bad][-1]:g} nm) have missing, "
        f"zero or negative values and are left out: they are empty or beyond {low}-"
        f"{high} nm."
    )
    return made, Findings(notes=(note,))


def check_cells(rows: Rows) -> Findings:
    """Report text where a number should be, and missing or infinite values."""
    of_own = Findings((_text_problem(rows),) if rows.texts else ())
    if rows.every_row:
        return of_own + _check_missing(rows)
    if rows.texts and rows.layout.published:  # not a problem, as in a user's own table
        row, band, text = rows.texts[0]
        note = (
            f"{len(rows.texts):,} cells of the spectra hold text and count as not "
            f"measured (first: {text!r}, {rows.place(row)}, column "
            f"{rows.layout.spectral_names[band]!r})."
        )
        of_own = Findings(notes=(note,))
    return of_own + _count_missing(rows)


def _check_missing(rows: Rows) -> Findings:
    """Report what is missing in a site, where every value but SOC counts."""
    no_value, unknown = ~np.isfinite(rows.spectra), np.isnan(rows.soc)
    for row, band, _ in rows.texts:
        if band == SOC_CELL:
            unknown[row] = False
        else:
            no_value[row, band] = False
    problems, notes, infinite = [], [], np.isinf(rows.soc)
    n_all, column = len(rows.soc), rows.layout.column("soc")
    n_known, n_unknown = int(np.isfinite(rows.soc).sum()), int(unknown.sum())
    if n_unknown == n_all:
        what = "There is no column of SOC"
        if "soc" in rows.layout.known:
            what = f"Column {column!r} is empty"
        notes.append(f"{what}: all {n_all} samples are to be estimated.")
    elif n_unknown:
        notes.append(f"{n_known} samples are measured, {n_unknown} have no SOC.")
    if infinite.any():
        problems.append(
            f"Column {column!r} has {int(infinite.sum())} infinite values (first: "
            f"{rows.first(infinite)}). Remove these samples or fill in their SOC."
        )
    if no_value.any():
        problems.append(
            f"The spectra have {int(no_value.sum())} missing or infinite values "
            f"(first: {rows.place_of(no_value)}). Remove these samples or wavelengths."
        )
    facts = (("measured", f"{n_known} samples, {n_unknown} are to be estimated"),)
    return Findings(tuple(problems), tuple(notes), facts)


def _count_missing(rows: Rows) -> Findings:
    """Count what is missing in a library; what is infinite is so, too."""
    missing, n_rows = 0, 0
    for block in row_blocks(len(rows.spectra)):
        bad = ~np.isfinite(rows.spectra[block])
        rows.spectra[block][bad] = np.nan
        missing += int(bad.sum())
        n_rows += int(bad.any(axis=1).sum())
    note = (
        f"{n_rows:,} rows were not measured at every wavelength ({missing:,} values "
        "are missing)."
    )
    return Findings(notes=(note,) if missing else ())


def _text_problem(rows: Rows) -> str:
    """Return the message for text where a number should be."""
    (row, band, text), *others = rows.texts
    names = [*rows.layout.spectral_names, rows.layout.column("soc")]  # SOC_CELL is -1
    more = f"; {len(others)} more such cells" if others else ""
    remedy = "Write numbers with a decimal point, and nothing else in the cell."
    if band == SOC_CELL and (half_of(text) or NOT_DETECTED.fullmatch(text)):
        remedy = f"{SAY_LIMIT} Else leave the cell empty."
    return (
        f"Column {names[band]!r} must hold numbers, got the text {text!r} "
        f"({rows.place(row)}{more}). {remedy}"
    )


def check_ids(rows: Rows) -> Findings:
    """Report samples without an id and ids that are used twice."""
    ids, numbers = pd.Series(rows.sample_ids), rows.numbers
    column, problems = rows.layout.column("sample_id"), []
    of_all = ids[ids.str.fullmatch(STATISTICS, case=False)]
    if rows.every_row and 0 < len(of_all) <= MAX_STATISTICS:
        problems.append(
            f"Column {column!r} names {of_all.iloc[0]!r} (data row "
            f"{numbers[of_all.index[0]]}; {len(of_all)} such rows): they look like "
            "statistics of the samples above. Remove these rows."
        )
    if (empty := ids == "").any():
        problems.append(
            f"Column {column!r} has {empty.sum()} empty cells (first: data row "
            f"{numbers[empty.argmax()]}). Give each sample its own id."
        )
    if len(again := ids[ids.duplicated(keep=False) & ~empty]):
        first, second = again.index[again == again.iloc[0]][:2]
        of_id = pd.Series(rows.soc[again.index]).groupby(again.to_numpy())
        scans = ", such as with its depth: rows of one id have different SOC."
        if (of_id.nunique() > 1).mean() <= 0.5:
            scans = "; of repeated scans, say replicates='average' or "
            scans += "replicates='separate'."
        problems.append(
            f"Column {column!r} has {again.nunique()} ids that are used more than once "
            f"(first: {again.iloc[0]!r} in data rows {numbers[first]} and "
            f"{numbers[second]}). Give each sample its own id{scans}"
        )
    return Findings(tuple(problems))
