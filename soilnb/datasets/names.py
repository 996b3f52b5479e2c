"""Libraries and sites by name or path, and what their results are called."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from importlib.metadata import version
from pathlib import Path

from soilnb._validation import suggestion
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
    name_or_path: str | Path = "farms",
    *,
    progress: Callable[[int, int, str], object] | None = None,
    **told: str,
) -> SpectralLibrary:
    """Return a soil spectral library, by its name or from a file.

    "farms" are the farms of LimeSoDa, "open" the files of `open_files`, "farms+open"
    both, "twin" a synthetic library of 50,422 rows. Of a file, rows without SOC are
    left out.

    Parameters
    ----------
    name_or_path : str or Path
        One of `LIBRARIES`, or the path of a file.
    progress, **told
        For a file only, as for `read_file`.

    Returns
    -------
    SpectralLibrary
        Reflectance as a fraction, soil organic carbon in %.

    Raises
    ------
    ValueError
        If the name is unknown, an option is given with a name, or the file has a
        problem.
    FileNotFoundError
        If the file does not exist.

    Examples
    --------
    >>> len(load_library("farms"))
    1301
    """
    if _is_built_in(name_or_path, "library", told):
        return _built_in_library(str(name_or_path))
    return read_file(name_or_path, soc_required=False, progress=progress, **told)


def _built_in_library(name: str) -> SpectralLibrary:
    """Return one of `LIBRARIES`."""
    if name == "twin":
        return make_library()
    if name == "farms":
        return load_farms()
    if name == "open":
        return load_open_files()
    return concatenate([load_farms(), load_open_files()], name)


def load_site(
    name_or_path: str | Path,
    *,
    measured: str | Path = "",
    **told: str,
) -> SpectralLibrary:
    """Return the samples of one site, by its name or from a file.

    Parameters
    ----------
    name_or_path : str or Path
        One of `SITES`, or the path of a file.
    measured, **told
        For a file only, as for `read_file`. A file may have no SOC; `measured` is a
        table with that of the samples that were sent to the laboratory.

    Returns
    -------
    SpectralLibrary
        Reflectance as a fraction, at the wavelengths of measurement; soil organic
        carbon in %, NaN in the rows of a file that have none. With `measured`, info
        has design, stratum and inclusion_probability.

    Raises
    ------
    ValueError, FileNotFoundError
        As `load_library`.

    Examples
    --------
    >>> len(load_site("skane"))
    125
    """
    if _is_built_in(name_or_path, "site", told | {"measured": str(measured)}):
        return _built_in_site(str(name_or_path))
    return read_file(name_or_path, measured=measured, **told)  # type: ignore[arg-type]


def _built_in_site(name: str) -> SpectralLibrary:
    """Return one of `SITES`."""
    if name in TWIN_SITES:
        return make_site(name)
    if name in OPEN_SITES:
        return load_open(name)
    return load_farm(FARM_SITES[name])


def wavelength_range(site: str | Path, library: str | Path) -> tuple[int, int]:
    """Return the range of the working grid that suits a site and a library, in nm.

    Parameters
    ----------
    site, library : str or Path
        A built-in name, or the path of a file.

    Returns
    -------
    tuple of two int
        That of the paper for the twin and its sites; otherwise what every full-range
        farm covers.

    Examples
    --------
    >>> wavelength_range("twin-usa", "twin"), wavelength_range("twin-usa", "farms")
    ((400, 2500), (420, 2480))
    """
    made = site in TWIN_SITES and library == "twin"
    return TWIN_RANGE_NM if made else DEFAULT_RANGE_NM


def describe_origin(name: str) -> str:
    """Return what identifies a built-in library or site: version, digest or seed.

    Parameters
    ----------
    name : str
        One of `LIBRARIES` or `SITES`.

    Examples
    --------
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
    """Return the name of the folder for the results of a site or library.

    Parameters
    ----------
    name_or_path : str or Path
        A built-in name, or the path of a file.
    kind : str, default "site"
        "site" or "library".

    Returns
    -------
    str
        The name itself, or the file's name without its suffix, in which characters
        other than letters, digits, "-", "_" and "." are replaced by "-".

    Raises
    ------
    ValueError
        If the name is unknown, or the file is called like a built-in site or
        library, or has no letter or digit in its name.

    Examples
    --------
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
    """Return whether `value` is a built-in name, for which no option is allowed.

    Raise ValueError where it is neither that nor a path or file name.
    """
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
