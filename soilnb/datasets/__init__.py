"""Where spectra come from: built-in libraries and sites, and a user's own files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from soilnb._validation import suggestion
from soilnb.datasets.farms import FARMS, SITES, Farm, load_farm, load_farms
from soilnb.datasets.library import (
    INFO_COLUMNS,
    SpectralLibrary,
    concatenate,
    describe,
)
from soilnb.datasets.readers import FileReport, inspect_file, read_file
from soilnb.datasets.tables import SUFFIXES

LIBRARIES = ("farms",)

__all__ = [
    "FARMS",
    "INFO_COLUMNS",
    "LIBRARIES",
    "SITES",
    "Farm",
    "FileReport",
    "SpectralLibrary",
    "concatenate",
    "describe",
    "folder_name",
    "inspect_file",
    "load_farm",
    "load_library",
    "load_site",
    "read_file",
]


def load_library(
    name_or_path: str | Path = "farms",
    *,
    quantity: str = "",
    soc_unit: str = "",
    country: str = "",
) -> SpectralLibrary:
    """Return a soil spectral library, by its name or from a file.

    Parameters
    ----------
    name_or_path : str or Path
        One of `LIBRARIES`, or the path of a CSV or Parquet file.
    quantity, soc_unit, country : str
        For a file only, see `read_file`.

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
    options = {"quantity": quantity, "soc_unit": soc_unit, "country": country}
    if name_or_path in LIBRARIES:
        _refuse_options(name_or_path, options)
        return load_farms()
    _check_path(name_or_path, "library", LIBRARIES)
    return read_file(name_or_path, **options)


def load_site(
    name_or_path: str | Path,
    *,
    quantity: str = "",
    soc_unit: str = "",
    country: str = "",
) -> SpectralLibrary:
    """Return the samples of one site, by its name or from a file.

    Parameters
    ----------
    name_or_path : str or Path
        One of `SITES`, or the path of a CSV or Parquet file.
    quantity, soc_unit, country : str
        For a file only, see `read_file`.

    Returns
    -------
    SpectralLibrary
        Reflectance as a fraction, at the wavelengths of measurement; soil organic
        carbon in %.

    Raises
    ------
    ValueError
        If the name is unknown, an option is given with a name, or the file has a
        problem.
    FileNotFoundError
        If the file does not exist.

    Examples
    --------
    >>> len(load_site("skane"))
    125
    """
    options = {"quantity": quantity, "soc_unit": soc_unit, "country": country}
    if name_or_path in SITES:
        _refuse_options(name_or_path, options)
        return load_farm(SITES[str(name_or_path)])
    _check_path(name_or_path, "site", SITES)
    return read_file(name_or_path, **options)


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
    own = {"site": SITES, "library": LIBRARIES}[kind]
    if name_or_path in own:
        return str(name_or_path)
    _check_path(name_or_path, kind, own)
    path = Path(name_or_path)
    stem = re.sub(r"[^\w.-]", "-", path.stem)
    if stem.lower() in (*SITES, *LIBRARIES):
        msg = (
            f"The file {path.name!r} would share its results with the built-in "
            f"{stem.lower()!r}. Rename the file."
        )
        raise ValueError(msg)
    if not re.search(r"[^\W_]", stem):
        msg = (
            f"The name of the file {path.name!r} has no letter or digit to name its "
            "results by. Rename the file."
        )
        raise ValueError(msg)
    return stem


def _refuse_options(name: str | Path, options: dict[str, str]) -> None:
    """Raise ValueError if an option for files is given with a built-in name."""
    for option, value in options.items():
        if value:
            msg = (
                f"{option!r} is for files only, got {value!r} with the built-in "
                f"{str(name)!r}, which needs none. Leave it out."
            )
            raise ValueError(msg)


def _check_path(value: str | Path, kind: str, names: Iterable[str]) -> None:
    """Raise ValueError if `value` is neither a path nor a file name."""
    if isinstance(value, Path) or re.search(r"[/\\]", str(value)):
        return
    if Path(str(value)).suffix.lower() in SUFFIXES:
        return
    elsewhere = {"site": LIBRARIES, "library": SITES}[kind]
    hint = suggestion(value, names)
    if value in elsewhere:
        hint = f" It is a {'library' if kind == 'site' else 'site'}."
    listed = ", ".join(repr(name) for name in names)
    msg = (
        f"Unknown {kind} {value!r}.{hint} Use {listed}, or the path of a .csv or "
        ".parquet file."
    )
    raise ValueError(msg)
