"""Four open files of soil spectra: downloaded once, and read only if unchanged."""

import os
import tomllib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from soilnb._files import digest_file
from soilnb._validation import Floats, check_choice
from soilnb.datasets.files.quantities import LIMITS
from soilnb.datasets.library import INFO_COLUMNS, SpectralLibrary, concatenate

REGISTRY = Path(__file__).resolve().parents[2] / "data" / "registry.toml"
FOLDER_VARIABLE = "SOILNB_DATA"
OPEN_SITES = ("wheatbelt", "csiro")
TIMEOUT_S = (3, 15)  # to connect, and between two parts of the answer

Content = tuple[Floats, Floats, pd.DataFrame]  # spectra, wavelengths, rows

# The three matrices of the moisture series; "drying" is wet soil after a day in air.
MOISTURE_STATES = {"spectra0": "air-dry", "spectra1": "wet", "spectra2": "drying"}


class Remote(NamedTuple):
    """A file to download: its name in the data folder, its address, its SHA-256."""

    file: str
    url: str
    sha256: str


@dataclass(frozen=True)
class OpenFile:
    """What ``data/registry.toml`` says of one open file, and explains."""

    name: str
    file: str
    url: str
    sha256: str
    licence: str
    cite: tuple[str, ...]
    what: str
    country: str
    samples: int
    quantity: str
    source: str
    group: str
    carbon_kind: str
    site: bool
    notes: tuple[str, ...]


def open_files() -> dict[str, OpenFile]:
    """Return what the registry says of the open files, by name and in its order.

    >>> open_files()["csiro"].licence
    'GPL-3'
    """
    tables = tomllib.loads(REGISTRY.read_text(encoding="utf-8"))
    for name, table in tables.items():
        table["name"] = name
        table |= {key: tuple(table[key]) for key in ("cite", "notes")}
    return {name: OpenFile(**table) for name, table in tables.items()}


def data_folder() -> Path:
    """Return the folder that holds the downloaded files.

    What the environment variable SOILNB_DATA says (a ValueError if that is a file), or
    the user's cache folder.
    """
    if value := os.environ.get(FOLDER_VARIABLE, "").strip():
        folder = Path(value).expanduser().absolute()
    else:
        import pooch

        folder = Path(pooch.os_cache("soilnb"))
    if folder.exists() and not folder.is_dir():
        msg = (
            f"{FOLDER_VARIABLE!r} must name a folder for downloaded files, got the "
            f"file '{folder}'. Set the environment variable to a folder."
        )
        raise ValueError(msg)
    return folder


def fetch(name: str) -> Path:
    """Return the path of one of `open_files`, after downloading it where it is missing.

    A file that is in the folder is only read, so the folder may be read-only. A
    ValueError if the SHA-256 is not that of the registry: what was downloaded is not
    kept, what was in the folder is neither read nor replaced. An OSError if the file
    cannot be downloaded (ConnectionError) or written.
    """
    files = open_files()
    check_choice(name, "open file", files)
    one = files[name]
    remote = Remote(one.file, one.url, one.sha256)
    return fetch_remote(remote, "the libraries 'farms' and 'twin' need no download")


def fetch_remote(remote: Remote, otherwise: str) -> Path:
    """Return the path of a file, downloaded if missing; `otherwise` ends a refusal."""
    path = data_folder() / remote.file
    if not path.exists():
        _download(remote, path, otherwise)
    _check_sha256(path, remote.sha256)
    return path


def load_open(name: str) -> SpectralLibrary:
    """Return one of `open_files` at the wavelengths it was measured at.

    Absorbance is converted to reflectance. Values that are no reflectance count as not
    measured, rows without carbon are left out; both are counted in the notes. If the
    file cannot be had, see `fetch`.

    Reflectance is a fraction and SOC in %; info has clay_percent, silt_percent and
    sand_percent where the file has them. All rows are one group; the files of the
    wheat-belt share one, as their soils are the same. For the moisture series (Minasny
    et al. 2011), info has soil_id, the same for the three spectra of a soil, and
    moisture: air-dry, wet, or drying, which is wet soil after a day in air.

    >>> load_open("wheatbelt").soc.mean().round(2)  # doctest: +SKIP
    1.17
    """
    path = fetch(name)
    file = open_files()[name]
    spectra, wavelengths, rows = READERS[name](_read_r(path))
    has_carbon = rows["soc"].notna().to_numpy()
    reflectance, notes = _reflectance(spectra[has_carbon], file.quantity)
    if not has_carbon.all():
        missing = int((~has_carbon).sum())
        notes.append(f"{missing} of {len(rows)} samples have no carbon: left out.")
    return SpectralLibrary(
        name=name,
        reflectance=reflectance.astype(np.float32),
        wavelengths=wavelengths,
        soc=rows["soc"].to_numpy()[has_carbon],
        info=_info(file, rows)[has_carbon],
        notes=tuple(f"{name}: {note}" for note in (*file.notes, *notes)),
    )


def load_open_files() -> SpectralLibrary:
    """Return the library of all open files, every 10 nm, named "open"."""
    return concatenate([load_open(name) for name in open_files()], "open")


def _download(file: Remote, path: Path, otherwise: str) -> None:
    """Download a file, or raise one sentence; nothing is left of a failed attempt."""
    from requests.exceptions import RequestException

    try:
        _retrieve(file, path)
    except RequestException as error:
        msg = (
            f"{file.file!r} is not in the folder '{path.parent}' and could not be "
            f"downloaded from {file.url}: {_cause(error)}. Try again with a network, "
            f"or put the file there; {otherwise}."
        )
        raise ConnectionError(msg) from error
    except OSError as error:
        reason = error.strerror or "permission denied"  # pooch's own has none
        msg = (
            f"The folder '{path.parent}' cannot take {file.file!r} ({reason}). Set the "
            f"environment variable {FOLDER_VARIABLE} to a folder that can be written."
        )
        raise OSError(msg) from error
    except ValueError as error:
        msg = (
            f"What {file.url} sent for {file.file!r} does not have the SHA-256 "
            f"{file.sha256[:8]}... and was not kept. Try again, and look at the "
            "address in a browser if it stays so."
        )
        raise ValueError(msg) from error


def _retrieve(file: Remote, path: Path) -> None:
    """Download by pooch: under another name, renamed if the SHA-256 is right."""
    import pooch

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # it announces every download
    try:
        pooch.retrieve(
            file.url,
            f"sha256:{file.sha256}",
            fname=path.name,
            path=path.parent,
            downloader=pooch.HTTPDownloader(timeout=TIMEOUT_S),
        )
    finally:
        logger.setLevel(level)
    path.chmod(0o644)  # pooch's are for their owner only; a folder may be shared


def _cause(error: OSError) -> str:
    """Return in a few words why a download failed."""
    from requests import exceptions

    response = getattr(error, "response", None)
    if response is not None:
        response.close()  # pooch leaves it open
        return f"the server answered {response.status_code} {response.reason}"
    causes = {
        exceptions.SSLError: "its certificate is not trusted here",
        exceptions.Timeout: "no answer in time",
        exceptions.ChunkedEncodingError: "the download broke off",
        exceptions.ConnectionError: "no connection",
    }
    known = [cause for kind, cause in causes.items() if isinstance(error, kind)]
    return known[0] if known else type(error).__name__


def _check_sha256(path: Path, expected: str) -> None:
    """Raise ValueError unless a file is the one of the registry."""
    found = digest_file(path)
    if found != expected:
        msg = (
            f"SHA-256 of {path.name!r} is {found[:8]}..., expected {expected[:8]}.... "
            f"Delete '{path}' and fetch it again."
        )
        raise ValueError(msg)


def _read_r(path: Path) -> dict[str, Any]:
    """Return the objects of a file of R; a data frame is a dict of its columns."""
    import rdata

    with warnings.catch_warnings():
        # The list of left-out rows that na.omit adds, of which there is no need.
        warnings.filterwarnings("ignore", 'Missing constructor for R class "omit"')
        # A column may be a matrix, which a DataFrame of pandas cannot hold.
        as_it_is: Any = {"data.frame": lambda columns, _: columns}
        return rdata.read_rda(path, constructor_dict=as_it_is)


def _wheatbelt(contents: dict[str, Any]) -> Content:
    """Return spectra, wavelengths and rows of the 391 soils of the wheat-belt."""
    soils = contents["datsoilspc"]
    rows = {"number": _numbers(soils["spc"]), "soc": soils["TotalCarbon"]}
    texture = {f"{part}_percent": soils[part] for part in ("clay", "silt", "sand")}
    return *_matrix(soils["spc"]), pd.DataFrame(rows | texture)


def _moisture(contents: dict[str, Any]) -> Content:
    """Return the moisture series: all soils air-dry, then wet, then drying."""
    series = contents["datEPO"]
    carbon, states = series["soilC"]["TotalC"], MOISTURE_STATES.values()
    rows = pd.DataFrame(
        {
            "number": [f"{n}-{state}" for state in states for n in _numbers(carbon)],
            "soc": np.tile(carbon, len(states)),
            "soil_id": np.tile(_numbers(carbon), len(states)),
            "moisture": np.repeat(list(states), len(carbon)),
        }
    )
    spectra = np.concatenate([series[key].to_numpy() for key in MOISTURE_STATES])
    return spectra, _matrix(series["spectra0"])[1], rows


def _nirsoil(contents: dict[str, Any]) -> Content:
    """Return the 825 soils of Wallonia; of 93 the carbon is missing."""
    soils = contents["NIRsoil"]
    rows = {"number": _numbers(soils["spc"]), "soc": soils["Ciso"]}
    return *_matrix(soils["spc"]), pd.DataFrame(rows)


def _csiro(contents: dict[str, Any]) -> Content:
    """Return the 100 soils of CSIRO; a band is a column, X350 to X2500."""
    soils = contents["australia"]
    bands = [str(name) for name in soils if name.startswith("X")]
    numbers = [f"{number:04d}" for number in soils["sr_no"]]
    rows = {"number": numbers, "soc": soils["carbon"], "clay_percent": soils["clay"]}
    wavelengths = np.array([float(band[1:]) for band in bands])
    return np.column_stack([soils[x] for x in bands]), wavelengths, pd.DataFrame(rows)


READERS: dict[str, Callable[[dict[str, Any]], Content]] = {
    "wheatbelt": _wheatbelt,
    "wheatbelt-moisture": _moisture,
    "nirsoil": _nirsoil,
    "csiro": _csiro,
}


def _matrix(matrix: Any) -> tuple[Floats, Floats]:
    """Return the values of a matrix of R and the wavelengths that name its columns."""
    return matrix.to_numpy(), matrix.coords["dim_1"].to_numpy().astype(np.float64)


def _numbers(rows: Any) -> list[str]:
    """Return the numbers of the rows of the file, from 001."""
    return [f"{number:03d}" for number in range(1, len(rows) + 1)]


def _reflectance(spectra: Floats, quantity: str) -> tuple[Floats, list[str]]:
    """Return reflectance as a fraction, NaN for what cannot be, and what was done."""
    low, high = LIMITS[quantity]
    valid = (spectra >= low) & (spectra <= high)
    notes = []
    if quantity == "absorbance":
        spectra = 10.0**-spectra
        notes.append("absorbance was converted to reflectance.")
    if not valid.all():
        notes.append(
            f"{int((~valid).sum())} values of {quantity} outside {low:.2g} to {high:g} "
            "count as not measured."
        )
    return np.where(valid, spectra, np.nan), notes


def _info(file: OpenFile, rows: pd.DataFrame) -> pd.DataFrame:
    """Return what is known of the rows of a file."""
    info = pd.DataFrame({"sample_id": file.name + "-" + rows["number"]})
    for column in INFO_COLUMNS[1:]:
        info[column] = getattr(file, column)
    return info.join(rows.drop(columns=["number", "soc"]))
