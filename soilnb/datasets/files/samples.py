"""The samples of a user's file: their cells, carbon and ids, and scans of one soil."""

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import chain

import numpy as np
import pandas as pd

from soilnb.datasets.files.columns import MIN_WAVELENGTHS, Floats, Mask, Singles
from soilnb.datasets.files.roles import Told
from soilnb.datasets.files.rows import SOC_CELL, Rows
from soilnb.datasets.library import SOM_PER_SOC, describe
from soilnb.preprocessing import DEFAULT_RANGE_NM, snv

OF_PERCENT = {"%": 1, "g/kg": 10, "g/100g": 1, "mg/kg": 10_000}  # one percent in each
OF_KIND: dict[str, tuple[Callable[[Floats], Floats], str]] = {
    "ln": (np.exp, "SOC was taken from its logarithm (ln)."),
    "log10": (lambda v: 10**v, "SOC was taken from its logarithm (log10)."),
    "organic_matter": (
        lambda v: v / SOM_PER_SOC,
        f"Organic matter was divided by {SOM_PER_SOC} to give SOC.",
    ),
}
LIMIT = re.compile(r"[<≤]=? ?(\d+(?:[.,]\d+)?)( ?[%/a-zA-Z]+)?")
NOT_DETECTED = re.compile(
    r"n\.? ?d\.?|b\.?d\.?l\.?|traces?|not det.*|(<|below) ?(lo[dq]|m?dl|ld|det.*)",
    re.IGNORECASE,
)
SAY_LIMIT = "Say below_detection='half' or below_detection='unmeasured'."
MAX_SOC_PERCENT = 60.0  # pure organic matter is 58 % carbon
MAX_MEDIAN_SOC_PERCENT = 8.0  # a farm above it is rare, one in g/kg is not
DARK_REFLECTANCE = 0.10  # near 600 nm; mineral soils are mostly brighter
MIN_MEDIAN_SOC_PERCENT = 0.05  # a farm below it is bare sand, or SOC is a fraction
VISIBLE_NM = (550, 650)
MIN_TENFOLD, MAX_TENFOLD = 0.02, 0.3  # shares of the values in another unit
MIN_DIFFERENT_TENFOLD = 3  # one rich soil may have been scanned several times
MIN_GAP_TENFOLD = 0.1  # log10, between them and the rest
STATISTICS = r"mean|average|avg|sd|std|stdev|median|min|max|minimum|maximum|sum|total"
STATISTICS += r"|stddev|standarddeviation|mittelwert|stabw|standardabweichung|moyenne"
STATISTICS += r"|écarttype|media|promedio|mediana|medelvärde"
MAX_STATISTICS = 10  # of a table: more are names that someone gave
# A1_2, A1-scan3, A1 (2), A1rep2 or A1b of a soil A1
STEM = re.compile(
    r"^(.*?\w)(?:[\W_]+(?:rep|scan|spec|r|s)?[\W_]*\d{1,5}\)?|[\W_]*(?:rep|scan)\d+"
    r"|(?<=\d)[\W_]?[a-z])$",
    re.IGNORECASE,
)
MIN_SHARE = 0.1  # of the rows in groups: fewer have the same SOC by chance
MIN_SHARE_RUNS = 0.5  # the same where only their order and SOC, no ids, tell of groups
# The scatter of scans within soils, relative to that of all rows. In the farms of
# LimeSoDa, rows that follow one another are above 0.6.
MAX_SCATTER = 0.5
MIN_SOILS = 10  # of which every one has rows of one SOC: not by chance


def half_of(text: str) -> str:
    """Return half of a limit of detection such as "<0.2"; "" for other texts."""
    match = LIMIT.fullmatch(text.strip())
    return f"{float(match[1].replace(',', '.')) / 2:g}" if match else ""


def is_limit(text: str) -> bool:
    """Return whether a text says that something is below detection."""
    return bool(half_of(text) or NOT_DETECTED.fullmatch(text))


def settle_limits(rows: Rows, told: Told) -> None:
    """Settle the SOC below detection, and zeros, as they were told, or ask."""
    texts = [(row, text) for row, band, text in rows.texts if band == SOC_CELL]
    limits = {row: float(half) for row, text in texts if (half := half_of(text))}
    unknown = [row for row, text in texts if NOT_DETECTED.fullmatch(text)]
    is_log = rows.layout.soc_kind in ("ln", "log10")
    matters = bool(rows.every_row or told.below_detection) and not is_log
    zeros = (rows.soc == 0) & matters
    if not told.below_detection:  # texts are a problem anyway
        rows.blame(
            zeros,
            "Column {soc!r} has {n} values of 0 (first: {first}): no soil is without "
            "carbon, so they are missing or below detection. " + SAY_LIMIT,
        )
        return
    zeros[unknown] = True
    if not (limits or zeros.any()):
        return
    rows.soc = np.where(zeros, np.nan, rows.soc)
    how = "count as not measured"
    if told.below_detection == "half":
        rows.soc[zeros] = np.min(rows.soc[rows.soc > 0], initial=np.inf) / 2
        rows.soc[[*limits]] = [*limits.values()]
        how = "were taken as half of the limit"
        how += ", or of the smallest value" * bool(zeros.any())
    done = {*limits, *unknown}
    rows.texts = [t for t in rows.texts if t[1] != SOC_CELL or t[0] not in done]
    n, column = len(limits) + int(zeros.sum()), rows.layout.column("soc")
    rows.notes.append(f"{n} values of {column!r} that are 0 or below detection {how}.")


def to_percent(rows: Rows, reflectance: Singles, soc_unit: str) -> Floats:
    """Return soil organic carbon (SOC) in % of mass, NaN where it was not measured.

    The unit is told, the column's or a library's, else % where values look like it.
    """
    layout, published = rows.layout, rows.layout.published
    used = np.isfinite(rows.soc) & rows.keep
    if not used.any():
        return rows.soc
    unit = soc_unit or layout.soc_unit or "%" * bool(published)
    how = f"as in {published.name}" if published else "as its name says"
    how = "as told" if soc_unit else how if unit else "found from the values"
    with np.errstate(over="ignore"):  # absurd values are reported
        to_carbon, note = OF_KIND.get(layout.soc_kind, (np.asarray, ""))
        values = to_carbon(rows.soc)
    median = float(np.median(values[used]))
    problem, notes = "", [note] * bool(note)
    if not unit:
        problem = _unit_problem(median, reflectance, layout.wavelengths)
        notes.append(
            f"SOC was taken as % (its median is {median:.3g}); if it is in g/kg, say "
            "soc_unit='g/kg'."
        )
    elif layout.soc_unit and not soc_unit:
        problem = (
            f"'soc_unit' is needed, SOC has a median of {median:.3g} {unit}, {how}: no "
            "farm has so little. Look for marks of thousands in the cells, or say "
            "soc_unit='%' or soc_unit='g/kg'."
        ) * (0 < median < MIN_MEDIAN_SOC_PERCENT * OF_PERCENT[unit])
    if problem:
        rows.problems.append(problem)
        return values
    unit = unit or "%"
    soc = values / OF_PERCENT[unit]
    in_unit = f"SOC in {unit} was divided by {OF_PERCENT[unit]:,} to give %."
    rows.notes += [*notes, *[in_unit] * (OF_PERCENT[unit] > 1)]
    if not rows.every_row:
        reason = f"have a SOC below 0 or above {MAX_SOC_PERCENT:g} %"
        rows.left_out[reason] = (soc < 0) | (soc > MAX_SOC_PERCENT)
    _blame_soc(rows, soc, unit)
    used = np.isfinite(soc) & rows.keep
    if not used.any():
        return soc
    if problem := _tenfold_problem(rows, soc, used):
        (rows.notes if soc_unit else rows.problems).append(problem)
    with np.errstate(over="ignore", invalid="ignore"):  # absurd values are reported
        statistics = describe(soc[used])[1:]
    rows.facts["SOC unit"] = f"{unit}, {how}"
    summary = [f"{name} {value:.3g}" for name, value in statistics.items()]
    rows.facts["SOC / %"] = ", ".join(summary)
    return soc


def _tenfold_problem(rows: Rows, soc: Floats, used: Mask) -> str:
    """Return the question where a few values are ten times the rest, or ""."""
    places = np.flatnonzero(used & (soc > 0))
    places = places[np.argsort(soc[places])]
    values = np.log10(soc[places])
    gaps, shares = np.diff(values), 1 - np.arange(1, len(values)) / max(len(values), 1)
    if not (few := (shares >= MIN_TENFOLD) & (shares <= MAX_TENFOLD)).any():
        return ""
    cut = int(np.where(few, gaps, -1).argmax()) + 1
    low, high = values[:cut], values[cut:]
    fits = low.min() <= high.min() - 1 and high.max() - 1 <= low.max()
    medians = 10 ** np.median(low), 10 ** np.median(high)
    is_apart = gaps[cut - 1] > MIN_GAP_TENFOLD and 7 <= medians[1] / medians[0] <= 14
    if not (fits and is_apart) or len({*high}) < MIN_DIFFERENT_TENFOLD:
        return ""
    return rows.say(
        np.isin(np.arange(len(soc)), places[cut:]),
        "{n} of {n_all} values of {soc!r} are about ten times the rest (medians "
        "{more:.3g} and {less:.3g} %; first: {first}): they may be in g/kg among "
        "percent. Correct them, or say soc_unit='%' or soc_unit='g/kg' if all are in "
        "it.",
        n_all=len(values),
        less=medians[0],
        more=medians[1],
    )


def _unit_problem(median: float, reflectance: Singles, wavelengths: Floats) -> str:
    """Return why SOC with this median may not be %, or ""."""
    guess = "looks like a fraction of mass. Multiply it by 100, or say"
    if median > MAX_MEDIAN_SOC_PERCENT:
        visible = (wavelengths >= VISIBLE_NM[0]) & (wavelengths <= VISIBLE_NM[1])
        values = reflectance[:, visible]
        values = values[np.isfinite(values)]
        is_dark = not values.size or values.mean() < DARK_REFLECTANCE  # or not known
        may_be = "could be g/kg or the percent of an organic soil"
        may_be = may_be if visible.any() and is_dark else "looks like g/kg"
        guess = f"{may_be}. Say soc_unit='g/kg' or"
    elif not 0 < median < MIN_MEDIAN_SOC_PERCENT:
        return ""
    text = f"'soc_unit' is needed, SOC has a median of {median:.3g}: this "
    return f"{text}{guess} soc_unit='%'."


def _blame_soc(rows: Rows, soc: Floats, unit: str) -> None:
    """Report SOC that is negative, above that of organic matter, or constant."""
    limit = f"{MAX_SOC_PERCENT * OF_PERCENT[unit]:g} {unit}"
    text = "Column {soc!r} has {n} values that are {what} (first: {value:g}, {first}). "
    used = rows.keep & np.isfinite(soc)  # what is infinite has been reported
    remedy = "Correct them, or leave the cells empty where nothing was measured."
    rows.blame(used & (soc < 0), text + remedy, rows.soc, what="negative")
    high = f"above {limit} (pure organic matter is 58 % carbon)"
    remedy = "Check the unit (soc_unit='g/kg') or remove these samples."
    rows.blame(used & (soc > MAX_SOC_PERCENT), text + remedy, rows.soc, what=high)
    known = rows.soc[rows.keep & ~np.isnan(rows.soc)]
    if len(known) > 1 and (known == known[0]).all():
        rows.problems.append(
            f"Column {rows.layout.column('soc')!r} is {known[0]:g} for every sample. A "
            "model needs samples that differ."
        )


def leave_out_bands(rows: Rows) -> None:
    """Leave out bands that are empty, or bad beyond the grid that models look at."""
    nm, (low, high) = rows.layout.wavelengths, DEFAULT_RANGE_NM
    bad = ((nm < low) | (nm > high)) & ~(rows.spectra > 0).all(axis=0)
    bad |= np.isnan(rows.spectra).all(axis=0)
    bad[[band for _, band, _ in rows.texts if band != SOC_CELL]] = False
    if not rows.every_row or not bad.any() or (~bad).sum() < MIN_WAVELENGTHS:
        return
    kept = np.flatnonzero(~bad)
    place_of = {band: n for n, band in enumerate(kept)} | {SOC_CELL: SOC_CELL}
    rows.layout = replace(rows.layout, bands=rows.layout.bands.iloc[kept])
    rows.texts = [(row, place_of[band], text) for row, band, text in rows.texts]
    rows.spectra = rows.spectra[:, kept]
    rows.notes.append(
        f"{int(bad.sum())} bands ({nm[bad][0]:g} to {nm[bad][-1]:g} nm) have missing, "
        f"zero or negative values and are left out: they are empty or beyond {low}-"
        f"{high} nm."
    )


def check_cells(rows: Rows) -> None:
    """Report text where a number should be, and missing or infinite values."""
    if rows.texts:
        (row, band, text), *others = rows.texts
        names = [*rows.layout.spectral_names, rows.layout.column("soc")]  # SOC_CELL: -1
        place = rows.first(np.arange(len(rows.soc)) == row)
        if rows.every_row or not rows.layout.published:
            more = f"; {len(others)} more such cells" if others else ""
            remedy = "Write numbers with a decimal point, and nothing else in the cell."
            if band == SOC_CELL and is_limit(text):
                remedy = f"{SAY_LIMIT} Else leave the cell empty."
            rows.problems.append(
                f"Column {names[band]!r} must hold numbers, got the text {text!r} "
                f"({place}{more}). {remedy}"
            )
        else:  # not a problem, as in a user's own table
            rows.notes.append(
                f"{len(rows.texts):,} cells of the spectra hold text and count as not "
                f"measured (first: {text!r}, {place}, column {names[band]!r})."
            )
    if rows.every_row:
        _check_missing(rows)
        return
    missing, n_rows, _ = rows.blank(lambda values: ~np.isfinite(values))
    if missing:  # what is infinite is so, too
        what = "rows were not measured at every wavelength"
        rows.notes.append(f"{n_rows:,} {what} ({missing:,} values are missing).")


def _check_missing(rows: Rows) -> None:
    """Report what is missing in a site, where every value but SOC counts."""
    # A text is reported as such; SOC_CELL is the last column.
    missing = ~np.isfinite(np.column_stack([rows.spectra, rows.soc]))
    missing[[t[0] for t in rows.texts], [t[1] for t in rows.texts]] = False
    unknown = missing[:, SOC_CELL] & np.isnan(rows.soc)
    n_known, n_unknown = int(np.isfinite(rows.soc).sum()), int(unknown.sum())
    if n_unknown == len(rows.soc):
        what = f"Column {rows.layout.column('soc')!r} is empty"
        what = what if "soc" in rows.layout.known else "There is no column of SOC"
        rows.notes.append(f"{what}: all {n_unknown} samples are to be estimated.")
    elif n_unknown:
        rows.notes.append(f"{n_known} samples are measured, {n_unknown} have no SOC.")
    rows.blame(
        np.isinf(rows.soc),
        "Column {soc!r} has {n} infinite values (first: {first}). Remove these samples "
        "or fill in their SOC.",
    )
    rows.blame(
        missing[:, :SOC_CELL],
        "The spectra have {n} missing or infinite values (first: {first}). Remove "
        "these samples or wavelengths.",
    )
    rows.facts["measured"] = f"{n_known} samples, {n_unknown} are to be estimated"


def check_ids(rows: Rows) -> None:
    """Report samples without an id and ids that are used twice."""
    ids, numbers = pd.Series(rows.sample_ids), rows.numbers
    column = rows.layout.column("sample_id")
    of_all = ids.str.replace(r"[\W_]+", "", regex=True)
    of_all = ids[of_all.str.fullmatch(STATISTICS, case=False)]
    if rows.every_row and 0 < len(of_all) <= MAX_STATISTICS:
        rows.problems.append(
            f"Column {column!r} names {of_all.iloc[0]!r} (data row "
            f"{numbers[of_all.index[0]]}; {len(of_all)} such rows): they look like "
            "statistics of the samples above. Remove these rows."
        )
    if (empty := ids == "").any():
        rows.problems.append(
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
        rows.problems.append(
            f"Column {column!r} has {again.nunique()} ids that are used more than once "
            f"(first: {again.iloc[0]!r} in data rows {numbers[first]} and "
            f"{numbers[second]}). Give each sample its own id{scans}"
        )


def find_soils(rows: Rows, told: Told) -> pd.Series:
    """Return the soil of each row, and add a question or a note; ids become unique."""
    ids = pd.Series(rows.sample_ids)
    is_repeated = ids.duplicated().any() and (ids != "").all()
    if not (told.replicates or (rows.every_row and not is_repeated)):
        return ids  # that ids are repeated is a problem
    if is_repeated:
        numbers = (ids.groupby(ids).cumcount() + 1).astype(str)
        rows.sample_ids = (ids + "_" + numbers).tolist()
        return _settle(rows, ids, "", told)
    stems = ids.map(lambda name: STEM.sub(r"\1", name))
    runs = pd.Series(np.cumsum(np.r_[True, rows.soc[1:] != rows.soc[:-1]]), dtype=str)
    for keys, share in ((stems, MIN_SHARE), (runs, MIN_SHARE_RUNS)):
        soils = _unite(rows, keys, of_stem=keys is stems)
        if _are_scans(rows, soils, share):
            return _settle(rows, soils, "are nearly equal, with the same SOC", told)
    n, row = len(ids), np.arange(len(ids))  # of each soil as many: in a row, by turns
    each = [k for k in range(n // MIN_SOILS, 1, -1) if n % k == 0]
    runs_and_turns = (keys for k in each for keys in (row // k, row % (n // k)))
    for keys in chain([stems], (pd.Series(k, dtype=str) for k in runs_and_turns)):
        if _share_soc(rows.soc, keys):
            soils = _unite(rows, keys, of_stem=keys is stems)
            return _settle(rows, soils, "have the same SOC, soil by soil", told)
    if told.replicates:
        rows.notes.append("No sample seems to have more than one scan.")
    return ids


def _settle(rows: Rows, names: pd.Series, alike: str, told: Told) -> pd.Series:
    """Return the soils with what was told of them, or ask."""
    many = names.groupby(names).transform("size") > 1
    n_scans, n_soils = int(many.sum()), names[many].nunique()
    what = f"{n_scans} spectra are scans of {n_soils} soils"
    if told.replicates == "average":
        what += f": their mean is used, so there are {names.nunique()} samples."
    elif told.replicates:
        what += ": all scans of a soil stay on one side of every split."
    else:
        first, second = np.flatnonzero(names == names[many].iloc[0])[:2]
        rows.problems.append(
            f"{n_scans} spectra look like repeated scans of {n_soils} soils: they "
            f"{alike} (first: {rows.sample_ids[first]!r} and "
            f"{rows.sample_ids[second]!r}). Say replicates='average' to use their "
            "mean, or replicates='separate' to keep them, those of a soil on one side "
            "of every split."
        )
        return pd.Series(rows.sample_ids)
    rows.notes.append(what)
    return names


def _unite(rows: Rows, keys: pd.Series, *, of_stem: bool) -> pd.Series:
    """Return a name for each soil, of one key and SOC: its stem, or its first id."""
    table = pd.DataFrame({"key": keys, "soc": rows.soc, "id": rows.sample_ids})
    table["soc"] = table["soc"].map("{:g}".format)
    soils = table.groupby(["key", "soc"], sort=False)["id"]
    of_key = table.groupby("key")["soc"].transform("nunique")
    is_plain = (soils.transform("size") > 1) & (of_key == 1) & of_stem
    return soils.transform("first").mask(is_plain, keys)


def _share_soc(soc: Floats, keys: pd.Series) -> bool:
    """Return whether many keys, such as of states of moisture, have each one SOC."""
    soc = np.nan_to_num(soc, nan=-1.0)
    of_soil = pd.Series(soc).groupby(keys.to_numpy())
    many = of_soil.transform("size") > 1
    is_one = bool((of_soil.transform("nunique")[many] == 1).all())
    return is_one and len({*soc[many]}) >= MIN_SOILS


def _are_scans(rows: Rows, names: pd.Series, share: float) -> bool:
    """Return whether rows of one name are nearly equal, and enough of them."""
    codes = pd.factorize(names)[0]
    n = np.bincount(codes)[codes]
    if (n > 1).sum() < max(share * len(codes), 2):
        return False
    try:
        spectra = snv(rows.spectra[:, np.isfinite(rows.spectra).all(axis=0)])
    except ValueError:  # one is constant: it has no shape to compare
        return False
    means = pd.DataFrame(spectra).groupby(codes).transform("mean").to_numpy()
    within = np.sqrt(((spectra - means) ** 2).sum(axis=1) * n / np.maximum(n - 1, 1))
    whole = np.sqrt(((spectra - spectra.mean(axis=0)) ** 2).sum(axis=1))
    return bool(np.median(within[n > 1]) < MAX_SCATTER * np.median(whole))
