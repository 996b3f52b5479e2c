"""Telling the columns of a user's file apart by their names."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilnb.datasets.files.layouts import SOC_FIELDS, Published, recognise
from soilnb.datasets.files.roles import Told, find_carbon, find_ids, refuse

MIN_WAVELENGTHS = 10
LOW, HIGH = 300, 2600  # nm; vis-NIR spectrometers measure 350-2500
MAX_MICROMETRES = 30  # no vis-NIR band in nm is as low as this
MAX_FIRST_INDEX = 99  # names that count bands begin with 0 or 1, or after other columns
MAX_GRID_NM = 2750  # a few bands too far, as of NeoSpectra; no mid-infrared ends there
MIN_MANGLED = 0.4  # of the names are a copy of another, such as 420.1 of 420
MIN_ALONE_NM = 50  # from the next band on either side: no band of the same spectrum
MIN_SHARE_REGULAR = 0.9  # of the distances are the same: the rest are off the grid
REQUIRED = ("sample_id", "soc")
COORDINATES = {"latitude": 90, "longitude": 180}  # and the most degrees of each
SOIL_COLUMNS = ("bulk_density", "depth_cm")  # what a stock needs, g/cm3 and cm
NUMBER_COLUMNS = (*COORDINATES, *SOIL_COLUMNS)
KNOWN_COLUMNS = (*REQUIRED, "country", "group", *NUMBER_COLUMNS)
PLACES = {"lat": "latitude", "lon": "longitude", "lng": "longitude"}
PLACES |= {"long": "longitude", **{name: name for name in COORDINATES}}
NOT_OF_PLACE = re.compile(r"[^a-z]|gps|wgs|dd$|deg(rees?)?|decimal")
SAY_CONVERT = (
    "Make one table of a folder of such files: soilnb data convert FOLDER -o FARM.csv."
)
TWO_SETS = (
    "There are two sets of wavelength columns, from {!r} and from {!r}. Keep one of "
    "them."
)
SAY_MIR = (
    "the mid-infrared, {:.0f} to {:.0f} nm, which cannot be used: the method needs "
    "visible and near-infrared spectra."
)
UNITS_OF_AXIS = {  # in the names of bands
    "wavenumber": re.compile(r"\d ?\W?cm\W{0,3}[1¹]"),
    "micrometre": re.compile(r"\d ?\W?([uµμ]m|micron)"),
}
MIN_EVEN = 0.999  # correlation with their number of bands even in wavenumber
MAX_MIR_START = 3000  # no vis-NIR goes to 3,333 nm; mid-infrared begins there or before
NUMBER = re.compile(r"\d+(?:[.,]\d+)?")
THOUSANDS = re.compile(r"(?<![\d.,])([12])[.,](\d{3})(?!\d)")
NOTHING = Told()
Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]  # spectra, to save memory
Ints = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[Any]
Bands: TypeAlias = pd.Series  # wavelengths by their position in the table


@dataclass(frozen=True)
class Layout:
    """Which column of a file is what."""

    names: tuple[str, ...]
    known: dict[str, int]  # by field: sample_id, soc, country, ...
    bands: Bands  # by increasing wavelength
    published: Published | None = None
    soc_kind: str = ""
    soc_unit: str = ""
    notes: tuple[str, ...] = ()

    def column(self, field: str) -> str:
        """Return the name of the column with the ids or SOC, for messages."""
        name = self.names[self.known[field]] if field in self.known else field
        return field if name.lower() == field else name

    @property
    def wavelengths(self) -> Floats:
        """Wavelengths of the bands in nm."""
        return self.bands.to_numpy()

    @property
    def spectral_names(self) -> list[str]:
        """Names of the wavelength columns, by increasing wavelength."""
        return [self.names[position] for position in self.bands.index]

    @property
    def ignored(self) -> list[str]:
        """Names of the columns that are not used."""
        used = {*self.bands.index, *self.known.values()}
        return [name for i, name in enumerate(self.names) if i not in used and name]


def find_columns(
    names: Sequence[str],
    joined: Collection[str] = (),
    told: Told = NOTHING,
    *,
    soc_required: bool = True,
) -> Layout:
    """Tell the columns of a file apart by their names, or raise TableError.

    `joined` are fields that other tables of the same published library have.
    """
    names = tuple(str(name).strip() for name in names)
    known = {n.lower(): p for p, n in enumerate(names) if n.lower() in KNOWN_COLUMNS}
    own = told.soc_column or told.id_column or set(REQUIRED) <= set(known)
    if not own and (published := recognise(names)):
        known = _published_fields(names, published, joined)
        of_bands = published.find_bands(names)
        bands, problems, _ = wavelength_columns(of_bands)
        spectral = [name * bool(nm) for name, nm in zip(names, of_bands, strict=True)]
        problems = [*_repeated_columns(spectral, bands), *problems]
        return _in_order(Layout(names, known, bands, published), problems)
    if len(names) == 2 and all(NUMBER.match(name) or "wave" in name for name in names):
        one = "A wavelength and a value in each line are one spectrum."
        refuse(f"{one} {SAY_CONVERT}")
    bands, problems, notes = wavelength_columns(names, told.axis)
    values = [float(name) for name in names if re.fullmatch(r"[01]?\.\d+", name)]
    if len(values) > MIN_WAVELENGTHS and sorted(values) not in (values, values[::-1]):
        refuse(
            f"The first line has values, such as {values[0]:g}, and no names. Write a "
            "header above it: sample_id, soc, and the nm of each band."
        )
    others = {place: name for place, name in enumerate(names) if place not in bands}
    carbon = find_carbon(others, told, required=soc_required)
    ids, no_ids, of_ids = find_ids(others, told)
    notes += filter(None, (of_ids, carbon.note))
    found = {"sample_id": ids, "soc": carbon.position}
    known |= {field: place for field, place in found.items() if place is not None}
    for place, name in others.items():
        field = PLACES.get(NOT_OF_PLACE.sub("", name.lower()), "")
        if field and field not in known:
            known[field] = place
            notes.append(f"Column {name!r} was taken as {field}.")
    missing = filter(None, (carbon.problem, no_ids))
    problems = [*missing, *_repeated_columns(names, bands), *problems]
    known = dict(sorted(known.items(), key=itemgetter(1)))
    layout = Layout(names, known, bands, None, carbon.kind, carbon.unit, tuple(notes))
    return _in_order(layout, problems)


def _published_fields(
    names: tuple[str, ...], published: Published, joined: Collection[str]
) -> dict[str, int]:
    """Return the columns of a published library, or raise for what it lacks."""
    known = published.find_fields(names)
    lacks = {
        "vis-NIR spectra": not published.has_spectra(names),
        f"column {published.columns['sample_id'][0]!r}": "sample_id" not in known,
        "SOC beside its spectra": not {*SOC_FIELDS} & {*known, *joined},
    }
    if missing := next((what for what, is_true in lacks.items() if is_true), ""):
        refuse(f"This table of {published.name} has no {missing}. {published.tables}")
    return known


def _in_order(layout: Layout, problems: Sequence[str]) -> Layout:
    """Return a layout with its wavelengths sorted, or raise what is wrong with it."""
    if problems:
        refuse(*problems)
    ordered = layout.bands.sort_values(kind="stable")
    if ordered.equals(layout.bands):
        return layout
    note = "The wavelength columns were sorted by increasing nm."
    return replace(layout, bands=ordered, notes=(*layout.notes, note))


def wavelength_columns(
    names: Sequence[str], axis: str = ""
) -> tuple[Bands, list[str], list[str]]:
    """Return the bands, all named in one style, what is wrong, and what to say."""
    found = {a: sum(map(bool, map(u.search, names))) for a, u in UNITS_OF_AXIS.items()}
    axis = axis or next((a for a, n in found.items() if n >= MIN_WAVELENGTHS), "")
    styles = _find_styles(names, axis)
    inside = [bands[bands.between(LOW, HIGH)] for bands in styles]
    spectra = [n for n, kept in enumerate(inside) if len(kept) >= MIN_WAVELENGTHS]
    if len(spectra) > 1:
        first_two = (names[styles[n].index[0]] for n in spectra[:2])
        return styles[spectra[0]], [TWO_SETS.format(*first_two)], []
    none = pd.Series(dtype=float)
    bands = max([styles[n] for n in spectra] or styles, key=len, default=none)
    if axis in ("wavenumber", "micrometre") and spectra:
        kept = inside[spectra[0]]
        if 2 * len(kept) >= len(bands):
            less = f", {len(bands) - len(kept)} outside of {LOW}-{HIGH} nm left out"
            less *= len(kept) < len(bands)
            note = f"The bands were converted from {axis}s to nm{less}."
            return kept, _set_problems(names, kept), [note]
    return bands, _wavelength_problems(names, bands, axis), []


def reach(texts: Sequence[str], axis: str = "") -> float:
    """Return how many nm texts reach, 0 if those with numbers are no ordered bands."""
    named = [text for text in texts if re.search(r"\d", text)]
    bands, problems, _ = wavelength_columns(named, axis)
    steps = np.diff(bands)
    is_axis = not problems and (np.all(steps > 0) or np.all(steps < 0))
    return float(np.ptp(bands)) if is_axis else 0.0


def _find_styles(names: Sequence[str], axis: str) -> list[Bands]:
    """Return the columns whose names differ in one number only, style by style."""
    found: dict[tuple[str, ...], dict[int, list[float]]] = {}
    if any(re.search(r"(?<![\d.,])[3-9]\d\d(?![\d.,])", name) for name in names):
        names = [THOUSANDS.sub(r"\1\2", name) for name in names]  # 990, 1,000, 1,010
    for place, name in enumerate(names):
        if texts := NUMBER.findall(name):
            words = tuple(word.strip() for word in NUMBER.split(name.lower()))
            values = [float(text.replace(",", ".")) for text in texts]
            found.setdefault(words, {})[place] = values
    styles = []
    for columns in found.values():
        table = pd.DataFrame.from_dict(columns, orient="index", dtype=float)
        if axis == "wavenumber":
            table = 1e7 / table.replace(0, np.inf)
        table = 1000 * table if axis == "micrometre" else table
        varied = table.nunique().to_numpy()
        inside = ((table >= LOW) & (table <= HIGH)).sum().to_numpy() * varied
        slot = np.lexsort((-np.arange(len(varied)), varied, inside))[-1]
        styles.append(table[slot])
    return styles


def _wavelength_problems(names: Sequence[str], bands: Bands, axis: str) -> list[str]:
    """Return what is wrong with the wavelengths in the column names."""
    if len(bands) < MIN_WAVELENGTHS:
        listed = ", ".join(map(repr, names[:8])) + ", ..." * (len(names) > 8) or "none"
        return [
            f"A file needs at least {MIN_WAVELENGTHS} wavelength columns, named by nm "
            f"such as '420' or 'wl_420', got {len(bands)}. The columns are {listed}. "
            "Give each sample one row, with a column per wavelength."
        ]
    least, most = bands.min(), bands.max()
    advice = _axis_advice(np.sort(bands), axis)
    if least <= MAX_FIRST_INDEX and bands.diff()[1:].eq(1).all():
        first, last = (names[place] for place in bands.index[[0, -1]])
        advice = (
            f"The columns {first!r} to {last!r} are numbered, not named by their "
            "wavelength. Name them by nm; of a transposed table, give each sample one "
            "row."
        )
    elif least >= LOW and most <= HIGH:
        return _set_problems(names, bands)
    rule = f"Wavelength columns must lie in {LOW}-{HIGH} nm, got {least:g} to {most:g}."
    return [f"{rule} {advice}"]


def _axis_advice(values: Floats, axis: str) -> str:
    """Return what bands out of the limits may be, and what to do."""
    least, most = nm = values[[0, -1]]
    advice = "Remove the columns outside."
    is_far = least > HIGH or (axis and most > 2 * HIGH)
    if most < MAX_MICROMETRES:
        nm, advice = 1000 * nm, "They look like micrometres: say axis='micrometre', or "
        advice += "multiply by 1000."
        is_far = nm[0] > HIGH or nm[1] > 2 * HIGH
    elif least >= LOW and most > MAX_GRID_NM and not axis:
        along = np.corrcoef([range(len(values)), values, 1 / values])
        straight, inverse = np.abs(along[0, 1:])
        if least > MAX_MIR_START or inverse <= max(straight, MIN_EVEN):
            nm, advice = 1e7 / nm[::-1], "They look like wavenumbers in cm-1: "
            advice += "wavelength in nm = 10,000,000 / wavenumber. Say "
            advice += "axis='wavenumber' to convert them."
        is_far = nm[1] - max(HIGH, nm[0]) > min(HIGH, nm[1]) - nm[0]  # mostly beyond
    return f"They look like {SAY_MIR.format(*nm)}" if is_far else advice


def _set_problems(names: Sequence[str], bands: Bands) -> list[str]:
    """Return what is wrong with bands as one set: copies between, or a stranger."""
    ordered = bands.sort_values()
    of, nm = [names[place] for place in ordered.index], ordered.to_numpy()
    copies = np.flatnonzero(np.isin((nm - 0.1).round(6), nm[nm % 1 == 0]))
    tenths = len(np.unique((nm % 1).round(6)))
    if len(copies) >= MIN_MANGLED * len(nm) and tenths < 10:
        return [TWO_SETS.format(of[0], of[copies[0]])]
    return [
        f"Column {of[n]!r} is off the grid of the other wavelengths. If it is "
        "something else than a band, rename it; else remove it."
        for n in off_grid(nm)
    ]


def off_grid(nm: Floats) -> list[int]:
    """Return the bands, at most three, that a regular grid would not have."""
    steps = np.diff(nm)
    values, counts = np.unique(steps.round(3), return_counts=True)
    usual = float(values[counts.argmax()])
    before, after = np.r_[np.inf, steps], np.r_[steps, np.inf]
    far = max(MIN_ALONE_NM, 5 * usual)
    odd = (before > far) & (after > far)
    if np.isclose(steps, usual, atol=1e-3).sum() >= MIN_SHARE_REGULAR * len(steps) - 2:
        odd |= np.isclose(before + after, usual, atol=1e-3)
    places = np.flatnonzero(odd)
    return places.tolist() if len(places) <= 3 else []


def repeated(names: Iterable[str]) -> list[str]:
    """Return a sentence for every name that is there more than once."""
    return [
        f"Column {name!r} is there {count} times. Keep one of them."
        for name, count in Counter(names).items()
        if name and count > 1
    ]


def _repeated_columns(names: Sequence[str], bands: Bands) -> list[str]:
    """Return a sentence for every column name or wavelength that is there twice."""
    keys = (name.lower() if name.lower() in KNOWN_COLUMNS else name for name in names)
    first = {nm: names[place] for place, nm in bands[::-1].items()}
    twice = [(first[nm], names[n]) for n, nm in bands.items() if names[n] != first[nm]]
    again = repeated(keys)
    if len(again) > MIN_WAVELENGTHS:
        again = [f"{again[0]} So are {len(again) - 1} more."]
    if len(twice) > MIN_WAVELENGTHS:
        return [TWO_SETS.format(*twice[0])]
    return again + [
        f"Columns {one!r} and {other!r} are the same wavelength. Keep one of them."
        for one, other in twice
    ]
