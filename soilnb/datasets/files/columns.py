"""Telling the columns of a user's file apart by their names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from soilnb.datasets.files.layouts import SOC_FIELDS, Published, recognise
from soilnb.datasets.files.roles import find_carbon, find_ids
from soilnb.datasets.files.told import Told

MIN_WAVELENGTHS = 10
WAVELENGTH_LIMITS_NM = (300, 2600)  # vis-NIR spectrometers measure 350-2500
MAX_MICROMETRES = 30  # no vis-NIR band in nm is as low as this
MAX_FIRST_INDEX = 5  # names that count bands begin with 0 or 1, or after other columns
MAX_GRID_NM = 2750  # a few bands too far, as of NeoSpectra; no mid-infrared ends there
MIN_MANGLED = 0.4  # of the names are a copy of another, such as 420.1 of 420
MIN_ALONE_NM = 50  # from the next band on either side: no band of the same spectrum
MIN_SHARE_REGULAR = 0.9  # of the distances are the same: the rest are off the grid
REQUIRED = ("sample_id", "soc")
TEXT_COLUMNS = ("country", "group")
COORDINATES = {"latitude": 90, "longitude": 180}  # and the most degrees of each
SOIL_COLUMNS = ("bulk_density", "depth_cm")  # what a stock needs, g/cm3 and cm
NUMBER_COLUMNS = (*COORDINATES, *SOIL_COLUMNS)
KNOWN_COLUMNS = (*REQUIRED, *TEXT_COLUMNS, *NUMBER_COLUMNS)
PLACES = {"lat": "latitude", "lon": "longitude", "lng": "longitude"}
PLACES |= {"long": "longitude", **{name: name for name in COORDINATES}}
NOT_OF_PLACE = re.compile(r"[^a-z]|gps|wgs|dd$|deg(rees?)?|decimal")
SAY_CONVERT = (
    "Make one table of a folder of such files: soilnb data convert FOLDER -o FARM.csv."
)
ONE_SPECTRUM = f"A wavelength and a value in each line are one spectrum. {SAY_CONVERT}"
NUMBER = re.compile(r"\d+(?:[.,]\d+)?")
TO_NM = {  # by what the names of the bands are
    "": lambda value: value,
    "wavelength": lambda value: value,
    "wavenumber": lambda value: 1e7 / value if value else 0.0,
    "micrometre": lambda value: 1000 * value,
}
Bands = list[tuple[int, float]]  # position and wavelength of each


class TableError(ValueError):
    """A file that cannot be read as a table of spectra; `problems` says why."""

    def __init__(self, *problems: str) -> None:
        """Keep every problem; the message is the first."""
        super().__init__(problems[0])
        self.problems = problems


@dataclass(frozen=True)
class Layout:
    """Which column of a file is what.

    `known` has the positions of sample_id, soc, country, ..., or of the fields of a
    published library; `spectral` those of the bands, by increasing wavelength.
    """

    names: tuple[str, ...]
    known: dict[str, int]
    spectral: tuple[int, ...]
    wavelengths: npt.NDArray[np.float64]
    was_sorted: bool
    published: Published | None = None
    soc_kind: str = ""
    soc_unit: str = ""
    notes: tuple[str, ...] = ()

    def column(self, field: str) -> str:
        """Return the name of the column with the ids or SOC, for messages."""
        name = self.names[self.known[field]] if field in self.known else field
        return field if name.lower() == field else name

    @property
    def spectral_names(self) -> list[str]:
        """Names of the wavelength columns, by increasing wavelength."""
        return [self.names[position] for position in self.spectral]

    @property
    def ignored(self) -> list[str]:
        """Names of the columns that are not used."""
        used = {*self.spectral, *self.known.values()}
        return [name for i, name in enumerate(self.names) if i not in used and name]


def find_columns(
    names: Sequence[str],
    joined: Collection[str] = (),
    *,
    soc_required: bool = True,
    told: Told | None = None,
) -> Layout:
    """Tell the columns of a file apart by their names, or raise TableError.

    `joined` are fields that other tables of the same published library have. Where SOC
    is not required there may be no column of it, but none under another name either.

    >>> find_columns(["ID", "sample_id", "SOC", *map(str, range(400, 500, 5))]).ignored
    ['ID']
    """
    told = told or Told()
    names = tuple(str(name).strip() for name in names)
    known = {
        name.lower(): position
        for position, name in enumerate(names)
        if name.lower() in KNOWN_COLUMNS
    }
    said = []
    for position, name in enumerate(names):
        field = PLACES.get(NOT_OF_PLACE.sub("", name.lower()), "")
        if field and field not in known:
            known[field] = position
            said.append(f"Column {name!r} was taken as {field}.")
    own = told.soc_column or told.id_column or set(REQUIRED) <= set(known)
    if not own and (published := recognise(names)):
        return _find_published(names, published, joined)
    spectral, problems, notes = wavelength_columns(names, told.axis)
    bands = {position for position, _ in spectral}
    if len(names) == 2 and all(NUMBER.match(name) or "wave" in name for name in names):
        raise TableError(ONE_SPECTRUM)
    others = {p: name for p, name in enumerate(names) if p not in bands}
    carbon = find_carbon(others, told, required=soc_required)
    ids, no_ids, id_note = find_ids(others, told)
    missing = [problem for problem in (carbon.problem, no_ids) if problem]
    problems = [*missing, *_repeated_columns(names, spectral), *problems]
    if problems:
        raise TableError(*problems)
    known |= {"sample_id": ids} if ids is not None else {}
    known |= {"soc": carbon.position} if carbon.position is not None else {}
    ordered = sorted(known.items(), key=itemgetter(1))
    layout = _make_layout(names, dict(ordered), spectral)
    notes += [note for note in (id_note, carbon.note, *said) if note]
    return replace(
        layout, soc_kind=carbon.kind, soc_unit=carbon.unit, notes=tuple(notes)
    )


def _find_published(
    names: tuple[str, ...], published: Published, joined: Collection[str]
) -> Layout:
    """Tell the columns of a published library apart by its own names."""
    known = published.find_fields(names)
    missing = ""
    if not published.has_spectra(names):
        missing = "vis-NIR spectra"
    elif "sample_id" not in known:
        missing = f"column {published.columns['sample_id'][0]!r}"
    elif not {*SOC_FIELDS} & {*known, *joined}:
        missing = "SOC beside its spectra"
    if missing:
        msg = f"This table of {published.name} has no {missing}. {published.tables}"
        raise TableError(msg)
    bands = published.find_bands(names)
    spectral, problems, _ = wavelength_columns(bands)
    only_spectral = [name if nm else "" for name, nm in zip(names, bands, strict=True)]
    problems = [*_repeated_columns(only_spectral, spectral), *problems]
    if problems:
        raise TableError(*problems)
    return _make_layout(names, known, spectral, published)


def _make_layout(
    names: tuple[str, ...],
    known: dict[str, int],
    spectral: Bands,
    published: Published | None = None,
) -> Layout:
    """Return the layout of a table, its wavelengths sorted."""
    ordered = sorted(spectral, key=itemgetter(1))
    return Layout(
        names=names,
        known=known,
        spectral=tuple(position for position, _ in ordered),
        wavelengths=np.array([wavelength for _, wavelength in ordered]),
        was_sorted=ordered == spectral,
        published=published,
    )


def wavelength_columns(
    names: Sequence[str], axis: str = ""
) -> tuple[Bands, list[str], list[str]]:
    """Return position and wavelength of the bands, what is wrong, and what to say.

    All are named in one style, the same words around one number that differs; of 420
    and depth_30 it is the style with the most columns.
    """
    low, high = WAVELENGTH_LIMITS_NM
    styles = [*_find_styles(names, axis).values()]
    inside = [sum(low <= nm <= high for _, nm in bands) for bands in styles]
    spectra = [
        bands for bands, n in zip(styles, inside, strict=True) if n >= MIN_WAVELENGTHS
    ]
    if len(spectra) > 1:
        first, second = (names[bands[0][0]] for bands in spectra[:2])
        return spectra[0], [_two_sets(first, second)], []
    bands = max(spectra or styles, key=len, default=[])
    if axis in ("wavenumber", "micrometre") and spectra:
        kept = [(position, nm) for position, nm in bands if low <= nm <= high]
        if 2 * len(kept) >= len(bands):
            note = f"The bands were converted from {axis}s to nm"
            less = f", {len(bands) - len(kept)} outside of {low}-{high} nm left out"
            note += less * (len(kept) < len(bands)) + "."
            return kept, _set_problems(names, kept), [note]
    return bands, _wavelength_problems(names, bands, axis), []


def _find_styles(names: Sequence[str], axis: str) -> dict[tuple[str, ...], Bands]:
    """Return the columns whose names differ in one number only, by their words."""
    found: dict[tuple[str, ...], list[tuple[int, list[float]]]] = {}
    for position, name in enumerate(names):
        if texts := NUMBER.findall(name):
            numbers = [float(text.replace(",", ".")) for text in texts]
            words = tuple(word.strip() for word in NUMBER.split(name.lower()))
            found.setdefault(words, []).append((position, numbers))
    low, high = WAVELENGTH_LIMITS_NM
    styles = {}
    for words, columns in found.items():
        table = np.array([numbers for _, numbers in columns])
        nm = np.array([[TO_NM[axis](value) for value in row] for row in table])
        varied = [len({*column}) for column in table.T]
        inside = ((nm >= low) & (nm <= high)).sum(axis=0)
        slot = max(range(len(varied)), key=lambda n: (inside[n] * varied[n], varied[n]))
        styles[words] = [(columns[n][0], float(nm[n, slot])) for n in range(len(nm))]
    return styles


def _two_sets(first: str, second: str) -> str:
    """Return the message for two sets of bands."""
    return (
        f"There are two sets of wavelength columns, from {first!r} and from "
        f"{second!r}. Keep one of them."
    )


def _wavelength_problems(names: Sequence[str], bands: Bands, axis: str) -> list[str]:
    """Return what is wrong with the wavelengths in the column names."""
    if len(bands) < MIN_WAVELENGTHS:
        listed = ", ".join(repr(name) for name in names[:8]) or "none"
        more = ", ..." if len(names) > 8 else ""
        return [
            f"A file needs at least {MIN_WAVELENGTHS} wavelength columns, named by nm "
            f"such as '420' or 'wl_420', got {len(bands)}. The columns are "
            f"{listed}{more}. Give each sample one row, with a column per wavelength."
        ]
    values = [wavelength for _, wavelength in bands]
    least, most = min(values), max(values)
    low, high = WAVELENGTH_LIMITS_NM
    if least <= MAX_FIRST_INDEX and np.all(np.diff(values) == 1):
        first, last = names[bands[0][0]], names[bands[-1][0]]
        return [
            f"Wavelength columns must lie in {low}-{high} nm, got {least:g} to "
            f"{most:g}. The columns {first!r} to {last!r} are numbered, not named by "
            "their wavelength. Name them by nm; of a transposed table, give each "
            "sample one row."
        ]
    if low <= least and most <= high:
        return _set_problems(names, bands)
    return [
        f"Wavelength columns must lie in {low}-{high} nm, got {least:g} to {most:g}. "
        f"{_axis_advice(least, most, axis)}"
    ]


def _axis_advice(least: float, most: float, axis: str) -> str:
    """Return what bands out of the limits may be, and what to do."""
    low, high = WAVELENGTH_LIMITS_NM
    if most < MAX_MICROMETRES:
        nm = [1000 * least, 1000 * most]
        if nm[0] > high or nm[1] > 2 * high:
            return _mid_infrared(*nm)
        return "They look like micrometres: say axis='micrometre', or multiply by 1000."
    if least >= low and most > MAX_GRID_NM and not axis:
        nm = [1e7 / most, 1e7 / least]
        if nm[1] - max(high, nm[0]) > min(high, nm[1]) - nm[0]:  # most lies beyond
            return _mid_infrared(*nm)
        return (
            "They look like wavenumbers in cm-1: wavelength in nm = 10,000,000 / "
            "wavenumber. Say axis='wavenumber' to convert them."
        )
    if least > high or (axis and most > 2 * high):
        return _mid_infrared(least, most)
    return "Remove the columns outside."


def _mid_infrared(least: float, most: float) -> str:
    """Return the sentence for bands that are of no use here."""
    return (
        f"They look like the mid-infrared, {least:.0f} to {most:.0f} nm, which cannot "
        "be used: the method needs visible and near-infrared spectra."
    )


def _set_problems(names: Sequence[str], bands: Bands) -> list[str]:
    """Return what is wrong with bands as one set: copies between, or a stranger."""
    ordered = sorted(bands, key=itemgetter(1))
    nm = np.array([wavelength for _, wavelength in ordered])
    base = {value for value in nm if value % 1 == 0}
    copies = [n for n, value in enumerate(nm) if round(value - 0.1, 6) in base]
    tenths = len({round(value % 1, 6) for value in nm})
    if len(copies) >= MIN_MANGLED * len(nm) and tenths < 10:
        return [_two_sets(names[ordered[0][0]], names[ordered[copies[0]][0]])]
    return [
        f"Column {names[ordered[n][0]]!r} is off the grid of the other wavelengths. "
        "If it is something else than a band, rename it; else remove it."
        for n in off_grid(nm)
    ]


def off_grid(nm: npt.NDArray[np.float64]) -> list[int]:
    """Return the bands, at most three, that a regular grid would not have.

    >>> off_grid(np.array([400.0, 410, 420, 423, 430, 440, 450, 460, 470, 480, 490]))
    [3]
    """
    steps = np.diff(nm)
    values, counts = np.unique(steps.round(3), return_counts=True)
    usual = float(values[counts.argmax()])
    before, after = np.r_[np.inf, steps], np.r_[steps, np.inf]
    far = max(MIN_ALONE_NM, 5 * usual)
    odd = (before > far) & (after > far)
    splits = np.isclose(before + after, usual, atol=1e-3)
    if np.isclose(steps, usual, atol=1e-3).sum() >= MIN_SHARE_REGULAR * len(steps) - 2:
        odd |= splits
    places = np.flatnonzero(odd)
    return places.tolist() if len(places) <= 3 else []


def _repeated_columns(names: Sequence[str], spectral: Bands) -> list[str]:
    """Return a sentence for every column name or wavelength that is there twice."""
    keys = [name.lower() if name.lower() in KNOWN_COLUMNS else name for name in names]
    problems = [
        f"Column {key!r} is there {count} times. Keep one of them."
        for key, count in Counter(keys).items()
        if key and count > 1
    ]
    seen: dict[float, str] = {}
    for position, wavelength in spectral:
        name = seen.setdefault(wavelength, names[position])
        if name != names[position]:
            problems.append(
                f"Columns {name!r} and {names[position]!r} are the same wavelength. "
                "Keep one of them."
            )
    return problems
