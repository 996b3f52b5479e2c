"""Libraries and sites by name or path, and what their results are called."""

import re
from collections.abc import Callable, Collection, Mapping
from importlib.metadata import version
from pathlib import Path

from soilnb._validation import Progress, suggestion
from soilnb.datasets.farms import FARM_SITES, FARMS, load_farm, load_farms
from soilnb.datasets.files import LISTED, is_table, read_file, stem
from soilnb.datasets.library import SpectralLibrary, concatenate
from soilnb.datasets.open import OPEN_SITES, load_open, load_open_files, open_files
from soilnb.datasets.twin import TWIN_RANGE_NM, TWIN_SITES, make_library, make_site
from soilnb.preprocessing import DEFAULT_RANGE_NM

LIBRARIES = ("farms", "open", "farms+open", "twin")
SITES = (*FARM_SITES, *OPEN_SITES, *TWIN_SITES)
# For people: files and commands have the names on the left.
PLACES = (
    {farm.set_name: farm.place for farm in FARMS}
    | {farm.site: farm.place for farm in FARMS if farm.site}
    | {name: f"{country} (twin)" for name, country in TWIN_SITES.items()}
    | {"wheatbelt": "Wheatbelt", "csiro": "CSIRO"}
    | {"raca": "RaCA", "edgeroi": "Edgeroi"}
)


def place_label(name: str) -> str:
    """Return a site, farm or data set as people name it; one not known stays.

    >>> place_label("sao-paulo"), place_label("SSP.460"), place_label("my-farm")
    ('São Paulo', 'São Paulo', 'my-farm')
    """
    return PLACES.get(name, name)


def load_library(
    name_or_path: str | Path = "farms", *, progress: Progress | None = None, **told: str
) -> SpectralLibrary:
    """Return a soil spectral library, by its name or from a file.

    "farms" are the farms of LimeSoDa, "open" the files of `open_files`, "farms+open"
    both, "twin" a synthetic library of 50,422 rows; of a file, rows without SOC are
    left out. `progress` and `told` are for a file only, as for `read_file`. A
    ValueError if the name is unknown, an option is given with a name, or the file has a
    problem; a FileNotFoundError if there is none.

    >>> len(load_library("farms"))
    1301
    """
    if _is_built_in(name_or_path, "library", told):
        return _BUILT_IN[str(name_or_path)]()
    return read_file(name_or_path, soc_required=False, progress=progress, **told)


_BUILT_IN: dict[str, Callable[[], SpectralLibrary]] = {
    "farms": load_farms,
    "open": load_open_files,
    "farms+open": lambda: concatenate([load_farms(), load_open_files()], "farms+open"),
    "twin": make_library,
}


def load_site(
    name_or_path: str | Path, *, measured: str | Path = "", **told: str
) -> SpectralLibrary:
    """Return the samples of one site, by its name or from a file.

    `measured` and `told` are for a file only, as for `read_file`: it may have no SOC,
    and `measured` is a table with that of the samples that were sent to the laboratory.
    The spectra are at the wavelengths of measurement; soil organic carbon is NaN in the
    rows of a file that have none; with `measured`, info has design, stratum and
    inclusion_probability. Errors are those of `load_library`.

    >>> len(load_site("skane"))
    125
    """
    if _is_built_in(name_or_path, "site", told | {"measured": str(measured)}):
        name = str(name_or_path)
        if name in TWIN_SITES:
            return make_site(name)
        return load_open(name) if name in OPEN_SITES else load_farm(FARM_SITES[name])
    return read_file(name_or_path, measured=measured, **told)  # type: ignore[arg-type]


def wavelength_range(site: str | Path, library: str | Path) -> tuple[int, int]:
    """Return the range of the working grid that suits a site and a library, in nm.

    That of the paper for the twin and its sites; otherwise what every full-range farm
    covers.

    >>> wavelength_range("twin-usa", "twin"), wavelength_range("twin-usa", "farms")
    ((400, 2500), (420, 2480))
    """
    made = site in TWIN_SITES and library == "twin"
    return TWIN_RANGE_NM if made else DEFAULT_RANGE_NM


def describe_origin(name: str) -> str:
    """Return what identifies a built-in library or site: version, digest or seed.

    >>> describe_origin("twin")
    'synthetic, seed 1'
    """
    if name == "twin" or name in TWIN_SITES:
        return "synthetic, seed 1"
    files = [name] if name in OPEN_SITES else list(open_files()) * ("open" in name)
    parts = [f"{file} SHA-256 {open_files()[file].sha256}" for file in files]
    if name in FARM_SITES or "farms" in name:
        parts.insert(0, f"LimeSoDa {version('LimeSoDa')}")
    return ", ".join(parts)


def folder_name(name_or_path: str | Path, kind: str = "site") -> str:
    """Return the name of the folder for the results of a site or library (`kind`).

    It is the name itself, or the file's name without its suffix, in which characters
    other than letters, digits, "-", "_" and "." are replaced by "-". A ValueError if
    the name is unknown, or the file is called like a built-in site or library, or has
    no letter or digit in its name.

    >>> folder_name("skane"), folder_name("soils/my farm.csv")
    ('skane', 'my-farm')
    """
    if _is_built_in(name_or_path, kind):
        return str(name_or_path)
    path = Path(name_or_path)
    folder = re.sub(r"[^\w.-]", "-", stem(path))
    if folder.lower() in (*SITES, *LIBRARIES):
        msg = (
            f"The file {path.name!r} would share its results with the built-in "
            f"{folder.lower()!r}. Rename the file."
        )
        raise ValueError(msg)
    if not re.search(r"[^\W_]", folder):
        msg = (
            f"The name of the file {path.name!r} has no letter or digit to name its "
            "results by. Rename the file."
        )
        raise ValueError(msg)
    return folder


def _is_built_in(
    value: str | Path, kind: str, options: Mapping[str, str] | None = None
) -> bool:
    """Return whether `value` is a built-in name, for which no option is allowed."""
    names, others = (LIBRARIES, SITES) if kind == "library" else (SITES, LIBRARIES)
    if value not in names:
        _check_path(value, kind, names, others)
        return False
    for option, given in (options or {}).items():
        if given:
            msg = (
                f"{option!r} is for files only, got {given!r} with the built-in "
                f"{str(value)!r}, which needs none. Leave it out."
            )
            raise ValueError(msg)
    return True


def _check_path(
    value: str | Path, kind: str, names: Collection[str], others: Collection[str]
) -> None:
    """Raise ValueError if `value` is neither a path nor a file name."""
    if isinstance(value, Path) or re.search(r"[/\\]", str(value)):
        return
    if is_table(str(value)):
        return
    hint = suggestion(value, names)
    if value in others:
        hint = f" It is a {'library' if kind == 'site' else 'site'}."
    listed = ", ".join(repr(name) for name in names)
    msg = (
        f"Unknown {kind} {value!r}.{hint} Use {listed}, or the path of a file that "
        f"ends in {LISTED}."
    )
    raise ValueError(msg)
