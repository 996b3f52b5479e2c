"""Telling the columns of a user's file apart by their names."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from soilnb.datasets.files.layouts import SOC_FIELDS, Published, recognise

MIN_WAVELENGTHS = 10
WAVELENGTH_LIMITS_NM = (300, 2600)  # vis-NIR spectrometers measure 350-2500
MAX_MICROMETRES = 30  # no vis-NIR band in nm is as low as this
REQUIRED = ("sample_id", "soc")
TEXT_COLUMNS = ("country", "group")
COORDINATES = {"latitude": 90, "longitude": 180}  # and the most degrees of each
SOIL_COLUMNS = ("bulk_density", "depth_cm")  # what a stock needs, g/cm3 and cm
NUMBER_COLUMNS = (*COORDINATES, *SOIL_COLUMNS)
KNOWN_COLUMNS = (*REQUIRED, *TEXT_COLUMNS, *NUMBER_COLUMNS)
# Words of names that may mean the SOC of the laboratory, if only by organic matter or
# total carbon, and parts of such words.
SOC_WORDS = {"soc", "oc", "toc", "corg", "orgc", "tc", "ct", "ctot", "totc", "cox"}
ORGANIC_MATTER_WORDS = {"som", "om", "mos", "loi", "mull"}
SOC_PARTS = re.compile(r"soc|carbon(?!ate)|organic|humus|kohlenstoff")
CARBON_SYMBOL = re.compile(r"((tot(al)?|org)[\W_]*)?c([\W_].*)?")

# A number, with at most one word before it and "nm" after it: 420, wl_420, 420nm.
WAVELENGTH_NAME = re.compile(
    r"(?P<prefix>[a-z]*[_. -]?)(?P<nm>\d+(?:[.,]\d+)?)(?P<suffix>[_ ]?nm)?", re.I
)


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

    def column(self, field: str) -> str:
        """Return the name of the column with the ids or SOC, for messages."""
        if self.published and field in self.known:
            return self.names[self.known[field]]
        return field

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
    names: Sequence[str], joined: Collection[str] = (), *, soc_required: bool = True
) -> Layout:
    """Tell the columns of a file apart by their names, or raise TableError.

    `joined` are fields that other tables of the same published library have. Where SOC
    is not required there may be no column of it, but none under another name either.

    >>> find_columns(["ID", "sample_id", "SOC", *map(str, range(400, 500, 5))]).ignored
    ['ID']
    """
    names = tuple(str(name).strip() for name in names)
    known = {
        name.lower(): position
        for position, name in enumerate(names)
        if name.lower() in KNOWN_COLUMNS
    }
    if not set(REQUIRED) <= set(known) and (published := recognise(names)):
        return _find_published(names, published, joined)
    spectral, problems = _wavelength_columns(names)
    spectral_names = {names[position] for position, _ in spectral}
    others = [name for name in names if name and name not in spectral_names]
    missing = missing_columns(others, known, soc_required=soc_required)
    problems = [*missing, *_repeated_columns(names, spectral), *problems]
    if problems:
        raise TableError(*problems)
    return _make_layout(names, known, spectral)


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
    spectral, problems = _wavelength_columns(bands)
    only_spectral = [name if nm else "" for name, nm in zip(names, bands, strict=True)]
    problems = [*_repeated_columns(only_spectral, spectral), *problems]
    if problems:
        raise TableError(*problems)
    return _make_layout(names, known, spectral, published)


def _make_layout(
    names: tuple[str, ...],
    known: dict[str, int],
    spectral: list[tuple[int, float]],
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


def _wavelength_columns(
    names: Sequence[str],
) -> tuple[list[tuple[int, float]], list[str]]:
    """Return position and wavelength of the spectral columns, and what is wrong.

    All are in one style; of 420 and depth_30 it is that with the most columns.
    """
    styles: dict[tuple[str, bool], list[tuple[int, float]]] = {}
    for position, name in enumerate(names):
        if match := WAVELENGTH_NAME.fullmatch(name):
            style = (match["prefix"].lower(), match["suffix"] is not None)
            wavelength = float(match["nm"].replace(",", "."))
            styles.setdefault(style, []).append((position, wavelength))
    low, high = WAVELENGTH_LIMITS_NM
    spectra = [
        columns
        for columns in styles.values()
        if sum(low <= nm <= high for _, nm in columns) >= MIN_WAVELENGTHS
    ]
    if len(spectra) > 1:
        first, second = (names[columns[0][0]] for columns in spectra[:2])
        return spectra[0], [
            f"There are two sets of wavelength columns, from {first!r} and from "
            f"{second!r}. Keep one of them."
        ]
    columns = max(spectra or styles.values(), key=len, default=[])
    return columns, _wavelength_problems(names, columns)


def _wavelength_problems(
    names: Sequence[str], columns: list[tuple[int, float]]
) -> list[str]:
    """Return what is wrong with the wavelengths in the column names."""
    if len(columns) < MIN_WAVELENGTHS:
        listed = ", ".join(repr(name) for name in names[:8]) or "none"
        more = ", ..." if len(names) > 8 else ""
        return [
            f"A file needs at least {MIN_WAVELENGTHS} wavelength columns, named by nm "
            f"such as '420' or 'wl_420', got {len(columns)}. The columns are "
            f"{listed}{more}. Give each sample one row, with a column per wavelength."
        ]
    values = [wavelength for _, wavelength in columns]
    least, most = min(values), max(values)
    low, high = WAVELENGTH_LIMITS_NM
    if low <= least and most <= high:
        return []
    if most < MAX_MICROMETRES:
        advice = "They look like micrometres: multiply by 1000."
    elif most > high:
        advice = (
            "They look like wavenumbers in cm-1: "
            "wavelength in nm = 10,000,000 / wavenumber."
        )
    else:
        advice = "Remove the columns outside."
    return [
        f"Wavelength columns must lie in {low}-{high} nm, got {least:g} to {most:g}. "
        f"{advice}"
    ]


def _repeated_columns(
    names: Sequence[str], spectral: list[tuple[int, float]]
) -> list[str]:
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


def missing_columns(
    names: Sequence[str], known: Collection[str], *, soc_required: bool = True
) -> list[str]:
    """Return a sentence for each required column that is not known."""
    what = {"soc": "soil organic carbon", "sample_id": "one name per sample"}
    problems = []
    for wanted in REQUIRED:
        close = _close_names(wanted, names)
        if wanted in known or (wanted == "soc" and not (close or soc_required)):
            continue
        listed = " or ".join(repr(name) for name in close[:3])
        hint = f"Did you mean {listed}? Rename it" if close else "Add it"
        if wanted == "soc" and not soc_required:
            hint += ", or remove it if no sample was measured"
        problems.append(f"There is no column {wanted!r} ({what[wanted]}). {hint}.")
    return problems


def _close_names(wanted: str, names: Sequence[str]) -> list[str]:
    """Return the names that may be meant by a required column.

    >>> _close_names("soc", ["pH", "N_tot", "TotalCarbon", "log_SOC", "C_percent"])
    ['TotalCarbon', 'log_SOC', 'C_percent']
    """
    words = {
        "soc": SOC_WORDS | ORGANIC_MATTER_WORDS,
        "sample_id": {"sample", "id"},
    }[wanted]
    return [
        name
        for name in names
        if words & set(re.split(r"[\W_\d]+", name.lower()))
        or difflib.get_close_matches(name.lower(), [wanted])
        or (wanted == "soc" and _sounds_like_carbon(name))
    ]


def _sounds_like_carbon(name: str) -> bool:
    """Return whether a name has carbon or humus in it, or begins with carbon's C."""
    name = name.lower()
    return bool(SOC_PARTS.search(name) or CARBON_SYMBOL.fullmatch(name))
